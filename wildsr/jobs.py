"""Whole jobs, made of the rooms: what each verb of the command line does."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from torch import nn

from wildsr import benchmark, checkpoint, datasets, degrade, devices, files, images, interpret, networks, recipes, report, upscale
from wildsr.config import nearest
from wildsr.errors import UserError
from wildsr.train import TrainConfig
from wildsr.train import train as run_training


def train(
    config: TrainConfig,
    data: Sequence[Path | str],
    run_dir: Path,
    *,
    val: Path | None = None,
    init: Path | None = None,
    device: str = "auto",
    console: Console | None = None,
) -> Path:
    """Trains or continues a run; with `val`, scores the averaged weights on the pictures there: PSNR, clean and under blur, noise and JPEG,
    and how much each test degradation turns the network's features (`feature_cosines`)."""
    suite = benchmark.Suite("validation", "1", config.scale, crop=config.scale, degradations=("clean", "b+n+j"))
    sets = benchmark.read_sets([val], suite) if val is not None else {}
    paths = [path for pictures in sets.values() for path in pictures.values()]

    def validate(net: networks.Network) -> dict[str, float]:
        averaged = benchmark.Contender("averaged", upscale.Model(net, config.scale, "", "ema"), config.scale)
        return {
            **benchmark.mean_psnr(averaged, suite, sets, seed=config.seed),
            **feature_cosines(net, paths, config.scale, seed=config.seed),
        }

    return run_training(config, data, run_dir, init=init, validate=validate if sets else None, device=device, console=console)


COSINE_SIDE = 192
"""Side of the HR pictures, cut from the middle, whose features are compared during training."""


def feature_cosines(net: nn.Module, paths: Sequence[Path], scale: int, *, seed: int = 0) -> dict[str, float]:
    """Mean cosine between the last features of clean inputs and those of each test degradation: "cosine noise" and so on, 1 where a
    degradation does not touch the features. Pictures are cut to their middle 192×192."""
    device = next(net.parameters()).device
    sums = dict.fromkeys((name for name in benchmark.EIGHT if name != "clean"), 0.0)
    for path in paths:
        hr = benchmark.read_hr(path)
        side = min(COSINE_SIDE, *hr.shape[-2:])
        top, left = (hr.shape[-2] - side) // 2, (hr.shape[-1] - side) // 2
        hr = hr[:, top : top + side, left : left + side]
        clean, *degraded = (images.to_float(degrade.fixed(hr, name, seed=seed, scale=scale)) for name in ("clean", *sums))
        cosines = interpret.feature_cosine(net, clean.unsqueeze(0).to(device), torch.stack(degraded).to(device))
        sums = {name: total + cosine for (name, total), cosine in zip(sums.items(), cosines.tolist(), strict=True)}
    return {f"cosine {name}": total / len(paths) for name, total in sums.items()}


def recipes_text() -> str:
    """The recipes: a sentence each, and what each costs, beside real-srresnet."""
    rows = recipes.table()
    whole = {row["name"]: row["macs"] * row["steps"] for row in rows}
    lines = [
        "Cost: parameters; multiply-adds of a step's forward (about a third of the step) x steps; LR patches a step; the whole training",
        "beside real-srresnet's. Values are changed with --set: target_usm=false trains towards unsharpened targets, schedule=restarts and",
        "betas=code are those of the papers' released code (schedule=cosine and betas=paper stand in the paper).",
    ]
    for row in rows:
        share = whole[row["name"]] / whole["real-srresnet"]
        size = f"{row['parameters'] / 1e6:.2f} M parameters, {row['macs'] / 1e9:.4g} GMAC x {row['steps']:,}, {row['patches']} patches"
        lines += [f"\n{row['name']}", f"  {row['sentence']}", f"  {size}, {share:.2g}x"]
    return "\n".join(lines)


def contender(model: Path | str, suite: benchmark.Suite, device: str = "auto") -> benchmark.Contender:
    """What a MODEL of the command line is: a model file, a run directory, or the word bicubic. Its name is that of the run or the file."""
    if str(model) == "bicubic":
        return benchmark.bicubic(suite.scale)
    path = Path(model)
    loaded = upscale.load(path, device=device)
    path = path.resolve()
    name = {"model": path.parent.name, "raw": f"{path.parent.name}-raw"}.get(path.stem, path.stem) if path.is_file() else path.name
    return benchmark.Contender(name, loaded, loaded.scale, loaded.weights_sha256, loaded.weights_key, loaded.tile, loaded.dtype)


def bench(
    models: Sequence[Path | str],
    suite_name: str,
    data: Sequence[Path],
    out: Path,
    *,
    seed: int = 0,
    device: str = "auto",
    pictures: bool = True,
    console: Console | None = None,
) -> list[dict[str, Any]]:
    """Measures models on a suite and writes rows.jsonl and table.md to `out`, and with `pictures` what the rows speak of, with
    manifest.json; returns the rows.

    Bicubic resizing is always among them."""
    _require(seed >= 0, "seed", seed, "use 0 or more")
    devices.pick(device)  # also where bicubic alone is measured, a mistake is said
    suite = benchmark.find_suite(suite_name)
    wanted = [str(model) for model in models]
    contenders = [contender(model, suite, device) for model in (wanted if "bicubic" in wanted else ["bicubic", *wanted])]
    sets = benchmark.read_sets(data, suite)
    total = 4 * len(contenders) * len(suite.degradations) * sum(len(pictures) for pictures in sets.values())
    rows = list(
        track(
            benchmark.run(contenders, suite, sets, seed=seed, out=out if pictures else None),
            "measuring",
            total,
            console=console,
            disable=_silent(console),
        )
    )
    files.write_text(out / "rows.jsonl", "".join(files.to_line(row) for row in rows))
    files.write_text(out / "table.md", report.table_markdown(rows))
    return rows


def failures(rows: Sequence[dict[str, Any]]) -> list[str]:
    """What failed in a benchmark, a line each."""
    lines = (f"{row['model']} failed on {row['set']}/{row['image']} ({row['degradation']}): {row['error']}" for row in rows if row["error"])
    return list(dict.fromkeys(lines))


def degrade_files(sources: Sequence[Path], preset: str, out: Path, *, seed: int, scale: int) -> list[str]:
    """Degrades pictures to OUT/STEM.png; the fixed presets cut them to multiples of 12 first. Returns what failed, a line each.

    With two-order, the i-th picture is sample n = i of the pipeline."""
    if preset != "two-order" and preset not in degrade.PRESETS:
        raise UserError(f"unknown preset {preset!r}: {nearest(preset, [*degrade.PRESETS, 'two-order'])}")
    _require(seed >= 0, "seed", seed, "use 0 or more")
    _require(scale in (2, 3, 4), "scale", scale, "use 2, 3 or 4")
    targets = _targets(sources, lambda source: out / f"{source.stem}.png")
    order = {source: n for n, source in enumerate(sources)}

    def work(source: Path, target: Path) -> None:
        hr = images.read(source)
        if preset == "two-order":
            hr = images.crop_to_multiple(hr, scale)
            pipeline = degrade.TwoOrder()
            lr = pipeline.apply(images.to_float(hr).unsqueeze(0), pipeline.sample(seed, [order[source]]), scale)
            images.write(target, images.to_uint8(lr[0]))
        else:
            hr = images.crop_to_multiple(hr, benchmark.CROP_HR)
            images.write(target, degrade.fixed(hr, preset, seed=seed, scale=scale))

    return _each(targets, work)


def upscale_files(
    sources: Sequence[Path],
    model_path: Path,
    out: Path | None,
    *,
    device: str = "auto",
    tile: int | None = None,
    precision: str = "auto",
    max_pixels: int = images.MAX_PIXELS,
    console: Console | None = None,
) -> list[str]:
    """Upscales pictures to OUT/STEM.png, or to STEM_x4.png beside each without `out`. Returns what failed, a line each.

    tile, precision: as for `upscale.load`, but bf16 by default where the device computes in it."""
    _require(max_pixels > 0, "max-pixels", max_pixels, "use a positive number")
    model = upscale.load(model_path, device=device, tile=tile, precision=precision)
    targets = _targets(
        sources, lambda source: (out or source.parent) / (f"{source.stem}.png" if out else f"{source.stem}_x{model.scale}.png")
    )

    def work(source: Path, target: Path) -> None:
        upscale.upscale_file(model, source, target, max_pixels=max_pixels)
        if console is not None:
            console.print(f"{source} -> {target}", highlight=False, soft_wrap=True)

    return _each(targets, work)


def check(places: Sequence[Path | str]) -> tuple[list[datasets.Record], list[str]]:
    """Reads every picture of some places (`datasets.open`), as training would; returns what was found, and what is wrong with it, a line
    each."""
    records = list(datasets.open(places).check())
    return records, [record.problem for record in records if record.problem]


def info(path: Path) -> dict[str, Any]:
    """What a model file says of itself, as plain values."""
    found = checkpoint.load(path)
    return {
        "network": found.network.model_dump(mode="json"),
        "scale": found.network.scale,
        "parameters": checkpoint.parameter_count(found.weights),
        "weights_key": found.weights_key,
        "weights_sha256": found.weights_sha256,
        **found.metadata,
    }


def _require(sound: bool, name: str, value: object, mend: str) -> None:
    if not sound:
        raise UserError(f"{name} = {value}: {mend}")


def _targets(sources: Sequence[Path], name: Callable[[Path], Path]) -> dict[Path, Path]:
    """Source -> target. Raises UserError before any work when two sources share a target, or a target would overwrite a source."""
    targets: dict[Path, Path] = {}
    taken: dict[Path, Path] = {}
    originals = {source.resolve() for source in sources}
    for source in sources:
        target = name(source)
        # Some file systems do not tell "A.png" from "a.png".
        place = Path(str(target.resolve()).casefold())
        if place in taken:
            raise UserError(f"{taken[place]} and {source} would both be written to {target}: rename one")
        if target.resolve() in originals:
            raise UserError(f"{target} is one of the inputs and would be overwritten: use another --out")
        taken[place] = source
        targets[source] = target
    return targets


def _each(targets: dict[Path, Path], work: Callable[[Path, Path], None]) -> list[str]:
    failed: list[str] = []
    for source, target in targets.items():
        try:
            work(source, target)
        except UserError as error:
            failed.append(str(error) if str(source) in str(error) else f"{source}: {error}")
    return failed


def expand(inputs: Iterable[Path]) -> list[Path]:
    """Files as they are; folders as the pictures below them."""
    return [picture for path in inputs for picture in (images.find(path) if path.is_dir() else [path])]


def _silent(console: Console | None) -> bool:
    return console is None or not console.is_terminal
