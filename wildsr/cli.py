"""The command line: verb -> function, nothing else.

Exit status: 0 done; 1 our fault, or a training that diverged or lost a process; 2 a user's mistake; 3 finished, but some items failed;
130 Ctrl-C; 143 SIGTERM."""

import io
import json
import math
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from wildsr import __version__
from wildsr.errors import OtherProcessError, TrainingDivergedError, UserError, no_memory

# What a verb needs is imported when it runs: `wildsr --help` must not wait for PyTorch.

app = typer.Typer(
    name="wildsr",
    help="Train super-resolution networks that hold up on degradations they never saw, measure that, and upscale pictures.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
data_app = typer.Typer(help="Pictures to train and measure on.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(data_app, name="data")

Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Places = Annotated[
    list[str],
    typer.Option("--data", help="Folder of pictures, packed file, or Parquet shards (also hf://datasets/OWNER/NAME); may be given again."),
]
Seed = Annotated[int, typer.Option(help="Seed of the noise.")]


@app.callback(invoke_without_command=True)
def _top(version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False) -> None:
    if version:
        print(__version__)
        raise typer.Exit


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for all that the demo makes.")] = Path("wildsr-demo"), device: Device = "auto"
) -> None:
    """Train three small networks, measure them on held-out photographs, and write one page to look at (3 to 7 minutes on two cores)."""
    from wildsr.demo import demo as run

    _finish(run(out, device=device))


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="A recipe's name, or a .toml or .yaml file.", metavar="RECIPE|FILE")] = "",
    data: Places = [],  # noqa: B006 (typer copies it)
    run_dir: Annotated[Path | None, typer.Option(help="Folder of the run; the same command again continues it.")] = None,
    val: Annotated[Path | None, typer.Option(help="Folder of pictures to score the run on.")] = None,
    init: Annotated[Path | None, typer.Option(help="Model to start from.")] = None,
    overrides: Annotated[list[str], typer.Option("--set", metavar="KEY.PATH=VALUE", help="Override; may be given again.")] = [],  # noqa: B006
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the resolved configuration as JSON and stop.")] = False,
    list_recipes: Annotated[bool, typer.Option("--list", help="Print the recipes and what they cost, and stop.")] = False,
    device: Device = "auto",
) -> None:
    """Train a network, or continue a run."""
    from wildsr import jobs, recipes

    if list_recipes:
        print(jobs.recipes_text())
        return
    if not recipe:
        raise UserError("no recipe: name one, or a .toml or .yaml file (wildsr train --list shows the recipes)")
    config, notes = recipes.load(recipe, overrides)
    first = os.environ.get("RANK", "0") == "0"  # of several processes, one speaks
    for note in notes if first else []:
        print(f"wildsr: {note}", file=sys.stderr)
    if dry_run:
        print(json.dumps(config.dump(), indent=1))
        return
    if not data:
        raise UserError("no pictures to train on: add --data FOLDER")
    if run_dir is None:
        raise UserError("no place for the run: add --run-dir FOLDER")
    model = jobs.train(config, data, run_dir, val=val, init=init, device=device)
    if first:
        print(model)


@app.command()
def bench(
    models: Annotated[
        list[str],
        typer.Argument(help="Model files, run directories, or the words default, bicubic, lanczos, nearest.", metavar="MODEL..."),
    ],
    suite: Annotated[
        list[str],
        typer.Option(help="rdsr8, rdsr8-rounded, rdsr8-x2, rdsr8-x3, unseen, resizers, paired or real; may be given again."),
    ],
    out: Annotated[Path, typer.Option(help="Folder for rows.jsonl, table.md, manifest.json, report.html and the pictures.")],
    data: Annotated[list[Path], typer.Option(help="Folder of a set, in any usual layout; may be given again.")] = [],  # noqa: B006
    lr: Annotated[list[Path], typer.Option(help="Suite paired: folder of low resolution; may be given again, each with its --hr.")] = [],  # noqa: B006
    hr: Annotated[list[Path], typer.Option(help="Suite paired: folder of high resolution.")] = [],  # noqa: B006
    align: Annotated[str, typer.Option(help="Suite paired: none, or subpixel where pairs are shifted.")] = "none",
    metric: Annotated[list[str], typer.Option(help="Perceptual measure of pyiqa's, beside our own; may be given again.")] = [],  # noqa: B006
    seed: Seed = 0,
    device: Device = "auto",
    precision: Annotated[str, typer.Option(help="fp32, bf16, or auto.")] = "fp32",
    pictures: Annotated[bool, typer.Option(help="Keep inputs and results as pictures.")] = True,
    page: Annotated[bool, typer.Option(help="Write report.html.")] = True,
    cache: Annotated[Path | None, typer.Option(help="Folder that keeps made inputs; by default that of the user.")] = None,
) -> None:
    """Measure models on suites of degradations. The same command again continues an interrupted one."""
    from rich.console import Console

    from wildsr import files, jobs

    rows = jobs.bench(
        models,
        suite,
        data,
        out,
        pairs=jobs.Pairs(lr, hr, align),
        also=metric,
        seed=seed,
        device=device,
        precision=precision,
        cache=cache or files.cache_folder(),
        pictures=pictures,
        page=page,
        console=Console(stderr=True),
    )
    print((out / "table.md").read_text(encoding="utf-8"))
    if page:
        print(out / "report.html")
    _finish(jobs.failures(rows))


@app.command()
def sweep(
    file: Annotated[Path, typer.Argument(help="The grid, a .toml or .yaml file.", metavar="FILE")],
    data: Places = [],  # noqa: B006 (typer copies it)
    test: Annotated[list[Path], typer.Option(help="Folder of pictures to measure on; may be given again.")] = [],  # noqa: B006
    out: Annotated[Path | None, typer.Option(help="Folder of the runs, their table and plot; the same command again continues.")] = None,
    overrides: Annotated[list[str], typer.Option("--set", metavar="KEY.PATH=VALUE", help="Override for all runs.")] = [],  # noqa: B006
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the runs and what they cost, and stop.")] = False,
    device: Device = "auto",
) -> None:
    """Train and measure a grid of configurations, and make one table and one plot of them.

    The same command again continues. Several processes of it share the runs, one for each GPU (CUDA_VISIBLE_DEVICES=0 wildsr sweep ...)."""
    from wildsr import sweep as sweeps
    from wildsr.config import parse_overrides

    asked = sweeps.read(file)
    runs = sweeps.plan(asked, parse_overrides(overrides))
    if dry_run:
        print(sweeps.plan_text(runs))
        return
    if not data:
        raise UserError("no pictures to train on: add --data FOLDER")
    if not test:
        raise UserError("no pictures to measure on: add --test FOLDER")
    if out is None:
        raise UserError("no place for the runs: add --out FOLDER")
    failed = sweeps.run(runs, asked.suite, data, test, out, device=device)
    print((out / "table.md").read_text(encoding="utf-8"))
    print(out / "report.html")
    _finish(failed)


@app.command()
def report(
    rows: Annotated[list[Path], typer.Argument(help="rows.jsonl of one or more benchmarks.", metavar="[ROWS.jsonl...]")] = [],  # noqa: B006
    out: Annotated[Path | None, typer.Option(help="The page to write.", metavar="PAGE.html")] = None,
    run: Annotated[list[Path], typer.Option(help="Run directory whose curves to show; may be given again.")] = [],  # noqa: B006
    inside: Annotated[list[Path], typer.Option("--explain", help="Folder of wildsr explain to show; may be given again.")] = [],  # noqa: B006
    baseline: Annotated[str | None, typer.Option(help="The model that gains are shown against; by default the first.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Tables in Markdown to write.", metavar="TABLES.md")] = None,
    latex: Annotated[Path | None, typer.Option(help="Tables in LaTeX (booktabs) to write.", metavar="TABLES.tex")] = None,
    intervals: Annotated[bool, typer.Option("--intervals", help="Intervals in these tables, too.")] = False,
) -> None:
    """Write one self-contained page, or tables, from benchmark rows."""
    from wildsr import files
    from wildsr import report as reports

    if out is None and markdown is None and latex is None:
        raise UserError("nothing to write: add --out PAGE.html, --markdown TABLES.md or --latex TABLES.tex")
    if not rows and not inside:
        raise UserError("nothing to report on: name the rows.jsonl of a benchmark, or --explain FOLDER")
    for option, given in (("--baseline", baseline), ("--run", run), ("--explain", inside)):
        if given and out is None:
            raise UserError(f"{option} is for the page: add --out PAGE.html")
    if intervals and markdown is None and latex is None:
        raise UserError("--intervals is for tables, and the page has them anyway: add --markdown TABLES.md or --latex TABLES.tex")
    if not rows and (markdown is not None or latex is not None):
        raise UserError("tables are of the rows of a benchmark: name its rows.jsonl, or the folder")
    if out is not None:
        reports.write_page(out, rows, run, explain=inside, baseline=baseline)
    for path, tables in ((markdown, reports.table_markdown), (latex, reports.table_latex)):
        if path is not None:
            files.write_text(path, tables(reports.read_rows(rows), intervals=intervals))
    for path in filter(None, (out, markdown, latex)):
        print(path)


@app.command()
def explain(
    models: Annotated[list[Path], typer.Argument(help="Model files or run directories, of one width.", metavar="MODEL...")],
    pictures: Annotated[list[Path], typer.Option("--images", help="Picture, or folder of pictures; may be given again.")],
    out: Annotated[Path, typer.Option(help="Folder for arrays, rows.jsonl, figures and explain.html.")],
    what: Annotated[
        list[str],
        typer.Option(help="csm, ablation, cumulative, features, ddr, srga, lam, cosine or all; may be given again, or joined by commas."),
    ] = ["all"],  # noqa: B006
    site: Annotated[str, typer.Option(help="Where channels are looked at: a network's site, or a module's name.")] = "last",
    rescale: Annotated[str, typer.Option(help="What an ablation leaves is rescaled by absolute sums, plain sums, or none.")] = "absolute",
    side: Annotated[int, typer.Option(help="Channels are of the middle SIDE x SIDE pixels of a picture.")] = 192,
    limit: Annotated[int, typer.Option(help="Pictures whose channels are looked at.")] = 5,
    count: Annotated[int, typer.Option(help="Pieces of pictures that clusters are of, each in five degradations.")] = 100,
    hr_side: Annotated[int | None, typer.Option(help="Side of those pieces in HR pixels; by default 128, at x3 126.")] = None,
    orders: Annotated[int, typer.Option(help="Random orders of cumulative ablation.")] = 20,
    snapshots: Annotated[bool, typer.Option(help="Clusters of a run's snapshots too.")] = False,
    spill: Annotated[Path | None, typer.Option(help="Folder for features that do not fit into memory.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of noise, random orders and intervals.")] = 0,
    device: Device = "auto",
) -> None:
    """Look inside networks: channel saliency, ablation, feature maps, clusters of degradations. The same command again continues."""
    from rich.console import Console

    from wildsr import jobs

    print(
        jobs.explain_models(
            models,
            pictures,
            out,
            what=what,
            site=site,
            rescale=rescale,
            side=side,
            hr_side=hr_side,
            limit=limit,
            count=count,
            orders=orders,
            seed=seed,
            snapshots=snapshots,
            spill=spill,
            device=device,
            console=Console(stderr=True),
        )
    )


@app.command()
def upscale(
    inputs: Annotated[
        list[str],
        typer.Argument(help="Pictures, folders of them (searched recursively), clips, or - for standard input.", metavar="INPUT..."),
    ],
    model: Annotated[
        list[Path],
        typer.Option(help="Model file, run directory, or a model that comes with wildsr; a second one of the same network for --blend."),
    ] = [Path("default")],  # noqa: B006 (typer copies it)
    blend: Annotated[float | None, typer.Option(help="Weight of the second model's weights, from 0 to 1.")] = None,
    out: Annotated[
        str | None,
        typer.Option(
            help="Folder for the results, which keeps an input folder's tree; a picture's or clip's name for one input; - for standard "
            "output. Without it, STEM_x4.png beside each input.",
            metavar="FOLDER|FILE|-",
        ),
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            help="png, jpeg, webp, tiff, avif, bmp, or same: the input's. By default png, and tiff for float samples. What a format cannot "
            "hold (16 bits, transparency) is refused."
        ),
    ] = None,
    suffix: Annotated[str | None, typer.Option(help="Put at the end of a result's name, in place of _x4.", metavar="TEXT")] = None,
    quality: Annotated[int | None, typer.Option(help="1 to 100, of formats that lose something.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Make results again that are there already.")] = False,
    workers: Annotated[int | None, typer.Option("--jobs", help="Threads that encode results; by default 1 to 4.")] = None,
    tile: Annotated[int | None, typer.Option(help="Side in pixels of what is upscaled at once; by default what suits the network.")] = None,
    overlap: Annotated[int | None, typer.Option(help="Pixels of context around a tile; by default what the network needs.")] = None,
    precision: Annotated[str, typer.Option(help="fp32, bf16, fp16, or auto: bf16 where the device computes in it.")] = "auto",
    ensemble: Annotated[bool, typer.Option("--ensemble", help="Mean of eight turned and mirrored results: eight times the work.")] = False,
    outscale: Annotated[float | None, typer.Option(help="How many times larger, such as 2.5; by default the model's.")] = None,
    alpha: Annotated[str, typer.Option(help="How transparency is enlarged: premultiplied, or by the model.")] = "premultiplied",
    max_pixels: Annotated[int, typer.Option(help="Refuse larger inputs.")] = 178_956_970,
    device: Device = "auto",
) -> None:
    """Upscale pictures and clips. What is there already is skipped, so that the same command again goes on."""
    from rich.console import Console

    from wildsr import jobs

    piped = out == "-" or (out is None and "-" in inputs)
    outcome = jobs.upscale_files(
        inputs,
        model,
        out,
        blend=blend,
        format=format,
        suffix=suffix,
        quality=quality,
        overwrite=overwrite,
        jobs=workers,
        device=device,
        tile=tile,
        overlap=overlap,
        precision=precision,
        ensemble=ensemble,
        outscale=outscale,
        alpha=alpha,
        max_pixels=max_pixels,
        say=lambda line: print(line, file=sys.stderr if piped else sys.stdout, flush=True),
        console=Console(stderr=True),
    )
    _finish(list(outcome.failed), of=len(outcome.failed) + len(outcome.done) + len(outcome.skipped))


@app.command("app")
def serve(
    model: Annotated[
        list[Path],
        typer.Option(help="Model file or run directory to choose; may be given again. Without one, the model that comes with wildsr."),
    ] = [],  # noqa: B006
    models: Annotated[Path | None, typer.Option(help="Folder whose model files can be chosen.")] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen at; others than this machine's open the page to everybody there.")
    ] = "127.0.0.1",
    port: Annotated[int | None, typer.Option(help="By default a free one from 7860 on.")] = None,
    max_megapixels: Annotated[float, typer.Option(help="Refuse larger pictures.")] = 16,
    time_limit: Annotated[float, typer.Option(help="Seconds that a picture may take.")] = 600,
    browser: Annotated[bool, typer.Option(help="Open the page in a browser.")] = True,
    device: Device = "auto",
) -> None:
    """Serve a page on this machine: drop a picture, choose a model, compare, download."""
    from wildsr import app as page
    from wildsr import jobs

    if not 0 < max_megapixels < math.inf:
        raise UserError(f"max-megapixels = {max_megapixels:g}: use a positive number, such as 64")
    limits = page.Limits(round(max_megapixels * 1e6), time_limit)
    page.serve([*model, *jobs.model_files(models)], host=host, port=port, limits=limits, device=device, browser=browser)


@app.command()
def degrade(
    inputs: Annotated[list[Path], typer.Argument(help="Pictures, or folders of them, for --preset.", metavar="[INPUT...]")] = [],  # noqa: B006
    preset: Annotated[str | None, typer.Option(help="A test degradation (clean, blur, b+n, ..., motion-2, ...), or two-order.")] = None,
    suite: Annotated[str | None, typer.Option(help="All inputs of a suite, in folders as other projects' tools read them.")] = None,
    data: Annotated[list[Path], typer.Option(help="Folder of a set, for --suite; may be given again.")] = [],  # noqa: B006
    out: Annotated[Path | None, typer.Option(help="Folder for the results, always PNG.")] = None,
    verify: Annotated[Path | None, typer.Option(help="Manifest to compare with; without --data, the files in --out are compared.")] = None,
    seed: Seed = 0,
    scale: Annotated[int, typer.Option(help="How many times smaller, for --preset: 2, 3 or 4.")] = 4,
) -> None:
    """Degrade pictures as the benchmark or the training does."""
    from rich.console import Console

    from wildsr import jobs

    if (preset is None) == (suite is None):
        raise UserError("what to make is not clear: give --preset NAME with pictures, or --suite NAME with --data FOLDER")
    if suite is not None:
        if inputs:
            raise UserError(f"a suite takes its pictures from --data FOLDER: {inputs[0]} is left over")
        done, problems = jobs.degrade_sets(suite, data, out, seed=seed, verify=verify, console=Console(stderr=True))
        print(f"{done} inputs as the manifest has them, {len(problems)} not" if verify else f"{out}: {done} inputs and manifest.json")
        _finish(problems)
        return
    if out is None or not inputs or data or verify:
        raise UserError("--preset takes pictures and --out FOLDER, and neither --data nor --verify")
    sources = jobs.expand(inputs)
    _finish(jobs.degrade_files(sources, preset or "", out, seed=seed, scale=scale), of=len(sources))


@app.command()
def info(
    model: Annotated[Path, typer.Argument(help="Model file of any network, run directory, or default, the model that comes with wildsr.")],
    key: Annotated[str | None, typer.Option(help="Which weights, where a file holds several.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON alone.")] = False,
) -> None:
    """Say what a model file is: its network, what tiles cost, which programs open it, what it says of itself."""
    from wildsr import export

    values = export.describe(model, key)
    if as_json:
        print(json.dumps(values, indent=1))
        return
    for name, value in values.items():
        if isinstance(value, dict) and value:
            print(name)
            for inner, told in value.items():
                print(f"  {inner:<25} {_shown(told)}")
        else:
            print(f"{name:<27} {_shown(value)}")


def _shown(value: Any) -> str:
    """A value on one line, whatever stands in a stranger's file."""
    text = str(value) if isinstance(value, str | int | float | None) else json.dumps(value, ensure_ascii=False)
    return "".join(char if char.isprintable() else " " for char in text)


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(help="Model file, run directory, or default.", metavar="IN")],
    target: Annotated[
        Path,
        typer.Argument(
            help="What to write, told by its ending: .safetensors, .pth, .onnx, .pt2 (torch.export), .json (OpenModelDB), .md (card).",
            metavar="OUT",
        ),
    ],
    key: Annotated[str | None, typer.Option(help="Which weights, where a file holds several.")] = None,
    dtype: Annotated[str, typer.Option(help="fp32 or fp16.")] = "fp32",
    opset: Annotated[int, typer.Option(help="Of ONNX's operators: 18 to 23.")] = 18,
    layout: Annotated[str, typer.Option(help="Key names of SRResNet in .pth: basicsr, or details (RDSR).")] = "basicsr",
    title: Annotated[str, typer.Option(help="The model's name; by default the source's.")] = "",
    author: Annotated[str, typer.Option(help="Who made the model.")] = "",
    license: Annotated[str, typer.Option(help="SPDX name, such as CC-BY-4.0.")] = "",
    description: Annotated[str, typer.Option(help="What the model is for.")] = "",
    tag: Annotated[list[str], typer.Option(help="Tag of catalogues; may be given again.")] = [],  # noqa: B006 (typer copies it)
    url: Annotated[list[str], typer.Option(help="Where the file can be fetched; may be given again.")] = [],  # noqa: B006
    image: Annotated[list[str], typer.Option(help="Address of a sample picture; may be given again.")] = [],  # noqa: B006
    date: Annotated[str, typer.Option(help="yyyy-mm-dd; by default today, in catalogue entries.")] = "",
    table: Annotated[Path | None, typer.Option(help="table.md of wildsr bench, for the card.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT.")] = False,
) -> None:
    """Write a model for other programs: weights, ONNX, torch.export, a catalogue entry, a model card."""
    from wildsr import export, files

    for line in export.convert(
        source,
        target,
        key=key,
        dtype=dtype,
        opset=opset,
        layout=layout,
        title=title,
        author=author,
        license=license,
        description=description,
        tags=tag,
        urls=url,
        images=image,
        date=date,
        table=files.read_text(table) if table is not None else "",
        overwrite=overwrite,
    ):
        print(line)


@data_app.command("list")
def data_list() -> None:
    """List the photographs that need no download, and the sets that can be fetched by name, or how to come by them."""
    from wildsr import datasets, images

    try:
        samples, missing = datasets.samples(), []
    except UserError as error:
        samples, missing = [], [str(error)]
    for path in samples:
        width, height = images.open_picture(path).size
        print(f"{path.stem:<20}{width:>5}×{height:<6}{'held out' if path.stem in datasets.HELD_OUT else 'training':<10}{path}")
    for chosen in datasets.NAMED.values():
        print(f"{chosen.name:<26}{chosen.count or '?':>4} pictures  {chosen.how:<32}{chosen.terms}")
    _finish(missing)


@data_app.command("fetch")
def data_fetch(
    name: Annotated[str, typer.Argument(help="A set that wildsr data list shows.", metavar="NAME")],
    root: Annotated[Path, typer.Option(help="Folder of the sets; this one becomes ROOT/NAME.")] = Path("data"),
    url: Annotated[str | None, typer.Option(help="Another place: an archive, or hf://datasets/OWNER/NAME[@REVISION][/PATH].")] = None,
) -> None:
    """Fetch a set by its name, verify and unpack it. The same command again continues what was interrupted."""
    from rich.console import Console

    from wildsr import datasets

    for line in datasets.fetch(name, root, url=url, console=Console(stderr=True))[1]:
        print(line)


@data_app.command("check")
def data_check(
    place: Annotated[str, typer.Argument(help="Folder of pictures, packed file, or Parquet shards.", metavar="PLACE")],
) -> None:
    """Read every picture of a folder, a packed file or Parquet shards, and say which cannot be used, and which sets are there."""
    from wildsr import datasets, jobs

    records, problems = jobs.check([place])
    sides = [min(record.width, record.height) for record in records if not record.problem]
    print(f"{len(records)} pictures, {len(problems)} unreadable" + (f"; the shortest side is {min(sides)} pixels" if sides else ""))
    lines, wrong = datasets.survey(Path(place)) if Path(place).is_dir() else ([], [])
    for line in lines:
        print(line)
    _finish([*problems, *wrong], of=len(records) + len(wrong))


@data_app.command("pack")
def data_pack(
    folders: Annotated[list[Path], typer.Argument(help="Folders of pictures, searched recursively.", metavar="FOLDER...")],
    out: Annotated[Path, typer.Option(help="The file to write.", metavar="FILE.safetensors")],
    max_bytes: Annotated[int | None, typer.Option(help="Largest size of the file; of the pictures, as many are drawn as fit.")] = None,
    side: Annotated[int | None, typer.Option(help="Cut each picture to its middle SIDE x SIDE pixels at most.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the drawing.")] = 0,
) -> None:
    """Decode the pictures of folders into one file, from which training reads without decoding."""
    from wildsr import datasets

    taken, found = datasets.pack(folders, out, max_bytes=max_bytes, side=side, seed=seed)
    print(f"{out}: {taken} of {found} pictures, {out.stat().st_size:,} bytes")


@data_app.command("shards")
def data_shards(
    folders: Annotated[list[Path], typer.Argument(help="Folders of pictures, searched recursively.", metavar="FOLDER...")],
    out: Annotated[Path, typer.Option(help="Folder for the shards.")],
    rows: Annotated[int, typer.Option(help="Pictures a shard.")] = 1000,
) -> None:
    """Write the pictures of folders, unchanged, as Parquet shards, which training reads in sequence."""
    from wildsr import datasets

    print(f"{out}: {datasets.write_shards(folders, out, rows=rows)} shards")


def _finish(failed: list[str], of: int | None = None) -> None:
    """Prints what failed; exit status 3, or 2 when nothing succeeded."""
    for line in failed:
        print(f"wildsr: {line}", file=sys.stderr)
    if failed:
        raise typer.Exit(2 if len(failed) == of else 3)


def main() -> NoReturn:
    """Runs the command line and exits; every mistake of a user's is one plain line."""
    try:
        _run()
    except SystemExit as leaving:
        if "RANK" not in os.environ:
            raise
        # One of several processes: threads that talk to the others may outlive their group, wait for those that are gone, or abort us.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(leaving.code if isinstance(leaving.code, int) else 0)


def _run() -> NoReturn:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that has no "×" gets "?"
    # Typer carries Click inside in some versions and beside it in others; its public error is a sure way to Click's.
    click_exception: Any = typer.BadParameter.__bases__[0].__bases__[0]
    try:
        status = app(standalone_mode=False)
        sys.stdout.flush()
        sys.exit(status or 0)
    except click_exception as error:
        message = error.format_message()
        if message.startswith("Usage:"):  # a verb is missing, and the message is the help
            print(message, file=sys.stderr)
            sys.exit(2)
        _exit(2, message)
    except BrokenPipeError:
        # Nobody reads what we print (… | head). Python must not complain once more when it closes the pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except UserError as error:
        _exit(2, str(error))
    except OSError as error:
        from wildsr.files import describe_error

        _exit(2, describe_error(error))
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(130)
    except TrainingDivergedError as error:
        _exit(1, str(error))
    except OtherProcessError as error:
        if error.said:
            sys.exit(1)
        _exit(1, str(error))
    except Exception as error:
        if no_memory(error):
            _exit(2, "not enough memory: use smaller pictures, or a smaller --tile")
        traceback.print_exc()
        _exit(1, f"a fault of ours, please report it with the lines above: {type(error).__name__}: {error}")


def _exit(status: int, line: str) -> NoReturn:
    print("wildsr: " + " ".join(line.split()), file=sys.stderr)
    sys.exit(status)


if __name__ == "__main__":
    main()
