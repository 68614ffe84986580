"""Looking inside: what `wildsr explain` does."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import UInt8
from rich.console import Console
from rich.progress import track

from wildsr import benchmark, degrade, devices, explain, files, images, interpret, report, upscale
from wildsr.config import nearest
from wildsr.errors import UserError
from wildsr.explain import Options, Picture, Subject, Task
from wildsr.jobs.common import name_of, require, silent
from wildsr.jobs.pictures import expand

FIVE = ("clean", "blur", "noise", "jpeg", "b+n+j")
"""The degradations of clusters, of SRGA and of cosines. Which five the paper took is not known, but that noise is one."""
HR_SIDE = 128
"""Side of the ground truth of clusters in pixels, as SRGA's authors take it; LR is smaller by the scale."""


def subjects(models: Sequence[Path | str], device: str = "auto", *, snapshots: bool = False) -> list[list[Subject]]:
    """The networks of model files and run directories; of a directory with `snapshots`, those of its steps follow its own, in order.

    Raises UserError for two of one name, and where a model is not a network known here (a network of your own: `wildsr.explain`)."""
    found: list[list[Subject]] = []
    for model in models:
        path = Path(model)
        paths = [path, *(sorted((path / "snapshots").glob("*.safetensors")) if snapshots and path.is_dir() else [])]
        own = []
        for one in paths:
            loaded = upscale.load(one, device=device)
            label = name_of(path) if one is path else f"step-{int(one.stem):06d}"
            own.append(Subject(label, loaded.network, loaded.scale, loaded.weights_sha256))
        found.append(own)
    names = [own[0].name for own in found]
    if len(set(names)) < len(names):
        raise UserError(f"two models would have the same name: {', '.join(names)}: rename a file or folder")
    scales = {own[0].name: own[0].scale for own in found}
    if len(set(scales.values())) > 1:
        listed = ", ".join(f"{name} is ×{scale}" for name, scale in scales.items())
        raise UserError(f"models of several scales get other inputs, and cannot be compared: {listed}")
    return found


def explain_models(
    models: Sequence[Path | str],
    pictures: Sequence[Path],
    out: Path,
    *,
    what: Sequence[str] = ("all",),
    site: str = "last",
    rescale: str = "absolute",
    side: int = 192,
    hr_side: int | None = None,
    limit: int = 5,
    count: int = 100,
    orders: int = 20,
    seed: int = 0,
    snapshots: bool = False,
    spill: Path | None = None,
    device: str = "auto",
    console: Console | None = None,
) -> Path:
    """Looks inside models on pictures, and writes arrays/, rows.jsonl, figures/ and explain.html to `out`; returns the page.

    what: `explain.WHAT`, or "all". site: where channels are looked at. side: channels and attributions are of the middle side × side pixels
    of the first `limit` pictures. hr_side, count: clusters, SRGA and cosines are of as many pieces of that side (None: 128, or the next
    multiple of the scale below), more than one of a picture where there are fewer pictures. spill: a folder for features that do not fit
    into memory.

    The same arguments again go on where an interrupted start was; what earlier starts left of other models, pictures and kinds stays, and
    is shown too, but for figures of models that cannot be compared, which `console` is told. Raises UserError for a site that is not there,
    pictures that are too small or too few, models that cannot be compared, and where saliency is undefined."""
    asked = _asked(what)
    require(side >= 24, "side", side, "use 24 pixels at least")
    require(limit >= 1 and count >= 1, "limit", min(limit, count), "use 1 at least")
    explain.require_matplotlib()
    if devices.pick(device).type == "cpu":
        devices.keep_memory()
    found = subjects(models, device, snapshots=snapshots)
    scale = found[0][0].scale
    hr_side = HR_SIDE // scale * scale if hr_side is None else hr_side
    require(hr_side >= 12 * scale and hr_side % scale == 0, "hr-side", hr_side, f"use a multiple of {scale} from {12 * scale} on")
    options = Options(site, rescale, orders, seed=seed, folder=spill)  # pyright: ignore[reportArgumentType]
    paths = list(images.unique_stems(expand(pictures)).values())
    middles = [_picture(path, side, scale) for path in paths[:limit]]
    of_channels = [one for one in explain.OF_CHANNELS if one in asked]
    if of_channels and len(found) > 1:
        explain.require_alike([own[0] for own in found], middles[0], site)
    inputs, photographs = _inputs(paths, hr_side, count, scale, seed) if {"ddr", "srga", "cosine"} & set(asked) else ([], {})
    if inputs and "ddr" in asked and console is not None:
        needed = interpret.bytes_needed(found[0][0].net, [lr for _, _, lr in inputs], site)
        console.print(f"features of {len(inputs)} inputs at {site}: {needed / 1e9:.3g} GB", highlight=False)
    tasks = list(_tasks(found, middles, inputs, photographs, asked, options, side, hr_side))
    explain.require_one_protocol(out, tasks)
    rows: list[dict[str, Any]] = []
    for task in track(tasks, "looking inside", console=console, disable=silent(console)):
        rows += task.run(out)
    rows += explain.others(out, tasks)
    files.write_text(out / "rows.jsonl", "".join(files.to_line(row) for row in rows))
    explain.draw(out, tell=lambda line: console.print(line, highlight=False, markup=False, soft_wrap=True) if console else None)
    page = out / "explain.html"
    report.write_page(page, explain=[out])
    return page


def _asked(what: Sequence[str]) -> list[str]:
    words = [word for part in what for word in part.split(",") if word]
    for word in words:
        if word not in (*explain.WHAT, "all"):
            raise UserError(f"unknown --what {word!r}: {nearest(word, [*explain.WHAT, 'all'])}")
    return list(explain.WHAT) if "all" in words or not words else [one for one in explain.WHAT if one in words]


def _picture(path: Path, side: int, scale: int) -> Picture:
    """The middle of a picture, and its bicubic reduction."""
    hr = benchmark.read_hr(path)
    height, width = (min(side, length) // 12 * 12 for length in hr.shape[-2:])
    if min(height, width) < 24:
        raise UserError(f"{path}: {hr.shape[-1]}×{hr.shape[-2]} is too small: 24 pixels a side are needed")
    top, left = ((length - part) // 2 for length, part in zip(hr.shape[-2:], (height, width), strict=True))
    hr = hr[:, top : top + height, left : left + width].clone()
    return Picture(path.stem, hr, images.to_float(degrade.fixed(hr, "clean", seed=0, scale=scale)).unsqueeze(0))


def _inputs(
    paths: Sequence[Path], side: int, count: int, scale: int, seed: int
) -> tuple[list[tuple[str, str, torch.Tensor]], dict[str, str]]:
    """`count` pieces of side × side in the five degradations, and which photograph each is of; every picture gives its middle one before
    any gives a second."""
    most = 1 if len(paths) >= count else count  # of a picture; a second round is seldom needed, and then looked for
    pieces = _pieces(paths, side, count, most)
    if len(pieces) < count and most < count:
        pieces = _pieces(paths, side, count, count)
    if len(pieces) < count:
        raise UserError(
            f"there are {len(pieces)} pieces of {side}×{side} in {len(paths)} pictures, not {count}: "
            "give more pictures, or a smaller --count"
        )
    inputs = [
        (name, degradation, images.to_float(degrade.fixed(piece, degradation, seed=seed, scale=scale)).unsqueeze(0))
        for name, _, piece in pieces
        for degradation in FIVE
    ]
    return inputs, {name: photograph for name, photograph, _ in pieces}


def _pieces(paths: Sequence[Path], side: int, count: int, most: int) -> list[tuple[str, str, UInt8[torch.Tensor, "3 side side"]]]:
    """At most `count` pieces, and `most` of a picture: a name, the picture's, and the piece; all first ones, then all second ones."""
    found: list[tuple[int, str, str, torch.Tensor]] = []
    for path in paths:
        hr = images.read(path)
        for nth, (top, left) in enumerate(_places(hr.shape[-2], hr.shape[-1], side)[:most], 1):
            found.append((nth, f"{path.stem}-{nth}", path.stem, hr[:, top : top + side, left : left + side].clone()))
        if most == 1 and len(found) == count:
            break
    return [(name, photograph, piece) for _, name, photograph, piece in sorted(found, key=lambda piece: piece[0])[:count]]


def _places(height: int, width: int, side: int) -> list[tuple[int, int]]:
    """Where pieces that do not overlap lie in a picture, those near its middle first."""
    tops, lefts = (range((length % side) // 2, length - side + 1, side) for length in (height, width))
    middle = ((height - side) / 2, (width - side) / 2)
    return sorted(((top, left) for top in tops for left in lefts), key=lambda p: (abs(p[0] - middle[0]) + abs(p[1] - middle[1]), p))


def _tasks(
    found: Sequence[Sequence[Subject]],
    middles: Sequence[Picture],
    inputs: Sequence[tuple[str, str, torch.Tensor]],
    photographs: Mapping[str, str],
    asked: Sequence[str],
    options: Options,
    side: int,
    hr_side: int,
) -> Iterator[Task]:
    of_channels = [one for one in explain.OF_CHANNELS if one in asked]
    pieces = files.sha256("".join(images.pixels_sha256(images.to_uint8(lr[0])) for _, _, lr in inputs).encode())[:16]

    def task(
        kind: str, model: str, subject: Subject, name: str, image: str | None, extra: dict[str, Any], work: Any, parts: Sequence[str] = ()
    ) -> Task:
        about = {"kind": kind, "model": model, "weights_sha256": subject.weights_sha256, "image": image, "scale": subject.scale}
        return Task(kind, model, name, {**about, **options.facts, **extra, "code_version": files.code_version()}, work, tuple(parts))

    for own in found:
        main = own[0]
        for picture in middles:
            facts = {"side": side, "hr_sha256": images.pixels_sha256(picture.hr)}
            if of_channels:
                work = lambda parts, main=main, picture=picture: explain.channels(main, picture, parts, options)  # noqa: E731
                yield task("channels", main.name, main, picture.name, picture.name, facts, work, of_channels)
            if "lam" in asked:
                work = lambda _, main=main, picture=picture: explain.attribution(main, picture)  # noqa: E731
                yield task("lam", main.name, main, picture.name, picture.name, facts, work)
        facts = {"hr_side": hr_side, "inputs": len(inputs), "pieces": pieces}
        for subject in own if "ddr" in asked else []:
            work = lambda _, subject=subject: explain.clusters(subject, inputs, photographs, options)  # noqa: E731
            yield task("ddr", main.name, subject, "all" if subject is main else subject.name, None, facts, work)
        if "srga" in asked:
            yield task("srga", main.name, main, "all", None, facts, lambda _, main=main: explain.indices(main, inputs, options))
        if "cosine" in asked:
            yield task("cosine", main.name, main, "all", None, facts, lambda _, main=main: explain.cosines(main, inputs, options))
