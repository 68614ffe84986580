"""Pictures: degrading, checking."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from jaxtyping import UInt8
from rich.console import Console
from rich.progress import track
from torch import Tensor

from wildsr import benchmark, datasets, degrade, files, images
from wildsr.config import nearest
from wildsr.errors import UserError
from wildsr.jobs.common import require, silent


def degrade_files(sources: Sequence[Path], preset: str, out: Path, *, seed: int, scale: int) -> list[str]:
    """Degrades pictures to OUT/STEM.png; the fixed presets cut them to multiples of 12 first. Returns what failed, a line each, also where
    another picture is there already (`images.write_once`).

    With two-order, the i-th picture is sample n = i of the pipeline."""
    named = {one.name: one for one in (*degrade.UNSEEN, *degrade.PRESETS.values())}
    if preset != "two-order" and preset not in named:
        raise UserError(f"unknown preset {preset!r}: {nearest(preset, [*named, 'two-order'])}")
    require(seed >= 0, "seed", seed, "use 0 or more")
    require(scale in (2, 3, 4), "scale", scale, "use 2, 3 or 4")
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: is a file: name a folder by --out")
    targets = _targets(sources, lambda source: out / f"{source.stem}.png")
    order = {source: n for n, source in enumerate(sources)}

    def work(source: Path, target: Path) -> None:
        hr = images.read(source)
        if preset == "two-order":
            hr = _cut(hr, scale)
            pipeline = degrade.TwoOrder()
            lr = pipeline.apply(images.to_float(hr).unsqueeze(0), pipeline.sample(seed, [order[source]]), scale)
            images.write_once(target, images.to_uint8(lr[0]))
        else:
            hr = _cut(hr, benchmark.CROP_HR)
            images.write_once(target, degrade.fixed(hr, named[preset], seed=seed, scale=scale))

    return _each(targets, work)


def _cut(hr: UInt8[Tensor, "3 h w"], multiple: int) -> UInt8[Tensor, "3 ch cw"]:
    height, width = hr.shape[-2:]
    if min(height, width) < multiple:
        raise UserError(f"{width}×{height} is too small: use pictures of {multiple}×{multiple} or more")
    return images.crop_to_multiple(hr, multiple)


def check(places: Sequence[Path | str]) -> tuple[list[datasets.Record], list[str]]:
    """Reads every picture of some places (`datasets.open`), low resolution too, as training would; returns what was found, and what is
    wrong with it, a line each."""
    records = list(datasets.open(places, mixed=True).check())
    return records, [record.problem for record in records if record.problem]


def degrade_sets(
    suite_name: str, data: Sequence[Path], out: Path | None, *, seed: int = 0, verify: Path | None = None, console: Console | None = None
) -> tuple[int, list[str]]:
    """Makes a suite's inputs from sets of pictures: with `out`, writes them in the folders that other projects' tools read
    (`benchmark.write_layout`), with manifest.json; with `verify`, a manifest, compares them with it. Without `data`, the files that lie
    in `out` are compared. Returns how many inputs were written or agree, and what differs, a line each."""
    require(seed >= 0, "seed", seed, "use 0 or more")
    suite = benchmark.find_suite(suite_name)
    if suite.inputs != "made":
        raise UserError(
            f"suite {suite.name} makes no inputs: choose one of {', '.join(s.name for s in benchmark.SUITES.values() if s.degradations)}"
        )
    if not data:
        if verify is None or out is None:
            raise UserError("no pictures to degrade: add --data FOLDER")
        manifest = next((one for one in benchmark.read_manifest(verify) if one["suite"] == suite.name), None)
        if manifest is None:
            raise UserError(f"{verify}: not a manifest of suite {suite.name}")
        return benchmark.verify_folder(manifest, out)
    if out is None and verify is None:
        raise UserError("no place for the inputs: add --out FOLDER, or --verify MANIFEST to compare them alone")
    inputs = benchmark.made(data, suite, seed=seed)
    written = 0
    if out is not None:
        pictures = benchmark.write_layout(inputs, out)
        written = sum(
            len(suite.degradations) for _ in track(pictures, "degrading", len(inputs.places), console=console, disable=silent(console))
        )
    if verify is None:
        return written, []
    manifest = benchmark.find_manifest(verify, inputs)
    return benchmark.verify(manifest, inputs) if out is None else benchmark.verify_folder(manifest, out)


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
        except (UserError, OSError) as error:
            text = files.describe_error(error) if isinstance(error, OSError) else str(error)
            failed.append(text if str(source) in text else f"{source}: {text}")
    return failed


def expand(inputs: Iterable[Path]) -> list[Path]:
    """Files as they are; folders as the pictures below them."""
    return [picture for path in inputs for picture in (images.find(path) if path.is_dir() else [path])]
