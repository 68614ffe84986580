"""Verbs that measure and explain."""

from pathlib import Path
from typing import Annotated

import typer

from wildsr.cli.parts import Device, Seed, app, finish
from wildsr.errors import UserError


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
    finish(jobs.failures(rows))


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
def degrade(
    inputs: Annotated[list[Path], typer.Argument(help="Pictures, or folders of them, for --preset.", metavar="[INPUT...]")] = [],  # noqa: B006
    preset: Annotated[str | None, typer.Option(help="A test degradation (clean, blur, b+n, ..., motion-2, ...), or two-order.")] = None,
    suite: Annotated[str | None, typer.Option(help="All inputs of a suite, in folders as other projects' tools read them.")] = None,
    data: Annotated[list[Path], typer.Option(help="Folder of a set, for --suite; may be given again.")] = [],  # noqa: B006
    out: Annotated[Path | None, typer.Option(help="Folder for the results, always PNG.")] = None,
    verify: Annotated[Path | None, typer.Option(help="Manifest to compare with; without --data, the files in --out are compared.")] = None,
    seed: Seed = 0,
    scale: Annotated[int | None, typer.Option(help="How many times smaller, for --preset: 2, 3 or 4, which is the default.")] = None,
) -> None:
    """Degrade pictures as the benchmark or the training does."""
    from rich.console import Console

    from wildsr import jobs

    if (preset is None) == (suite is None):
        raise UserError("what to make is not clear: give --preset NAME with pictures, or --suite NAME with --data FOLDER")
    if suite is not None:
        if inputs:
            raise UserError(f"a suite takes its pictures from --data FOLDER: {inputs[0]} is left over")
        if scale is not None:
            raise UserError("--scale is for --preset: a suite has its own, and rdsr8-x2 and rdsr8-x3 are suites")
        done, problems = jobs.degrade_sets(suite, data, out, seed=seed, verify=verify, console=Console(stderr=True))
        print(f"{done} inputs as the manifest has them, {len(problems)} not" if verify else f"{out}: {done} inputs and manifest.json")
        finish(problems)
        return
    if out is None or not inputs or data or verify:
        raise UserError("--preset takes pictures and --out FOLDER, and neither --data nor --verify")
    sources = jobs.expand(inputs)
    finish(jobs.degrade_files(sources, preset or "", out, seed=seed, scale=4 if scale is None else scale), of=len(sources))
