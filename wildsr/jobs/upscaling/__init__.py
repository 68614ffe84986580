"""Upscaling files: what `wildsr upscale` does."""

import math
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from wildsr import images, upscale
from wildsr.config import nearest
from wildsr.errors import UserError
from wildsr.jobs.common import require, silent
from wildsr.jobs.upscaling.plan import plan
from wildsr.jobs.upscaling.run import Run


@dataclass(frozen=True)
class Outcome:
    """What came of some inputs: files written, files that were there before, and what failed, a line each.

    Standard output stands as Path("-")."""

    done: tuple[Path, ...]
    skipped: tuple[Path, ...]
    failed: tuple[str, ...]


def upscale_files(
    inputs: Sequence[str | Path],
    models: Sequence[Path],
    out: str | Path | None = None,
    *,
    blend: float | None = None,
    format: str | None = None,
    suffix: str | None = None,
    quality: int | None = None,
    overwrite: bool = False,
    jobs: int | None = None,
    device: str = "auto",
    tile: int | None = None,
    overlap: int | None = None,
    precision: str = "auto",
    ensemble: bool = False,
    outscale: float | None = None,
    alpha: str = "premultiplied",
    max_pixels: int = images.MAX_PIXELS,
    say: Callable[[str], None] | None = None,
    console: Console | None = None,
) -> Outcome:
    """Upscales pictures, folders of them, clips, and what comes by standard input ("-").

    A result is OUT/STEM.png, with the tree of a folder kept below OUT; without `out`, STEM_x4.png beside its input. `out` with a picture's
    ending is one file, "-" standard output; there goes standard input too, unless `out` names a file. `suffix` takes the place of "_x4", or
    is added with `out`. format: a name in `images.FORMATS`, "same" as the input's ending, or None: png, and tiff for samples in float. What
    a format cannot hold is refused, never converted. A result that is there already is left alone without `overwrite`; in a folder, the
    results of an earlier start are no inputs.

    While one picture is computed, the next ones are decoded, and `jobs` threads encode results; a TIFF file is written while it is
    computed. models: one, or two of one network with `blend` (`upscale.load`, as are device, tile, overlap, precision and ensemble).
    outscale, alpha: as `upscale.enlarge`. `say` gets a line for each result, in the order of the inputs, and one for all that was there.
    A clip (`video.SUFFIXES`) goes through `video.enlarge_clip`.

    Raises UserError before any work for options that contradict each other, a result that would overwrite an input, and two inputs with
    one result; a picture that cannot be read, computed or written fails alone; after a full disk nothing more is begun."""
    tell = say or (lambda line: None)
    _require_sound(models, blend, format, suffix, quality, jobs, outscale, alpha, max_pixels)
    model = upscale.load(
        models[0],
        device=device,
        tile=tile,
        precision=precision,
        overlap=overlap,
        blend=(models[1], 0.5 if blend is None else blend) if len(models) == 2 else None,
        ensemble=ensemble,
    )
    planned = plan(inputs, out, format, suffix, quality, outscale or model.scale, tell)
    if alpha != "premultiplied" and any(work.format == "clip" for work in planned):
        raise UserError(f"--alpha {alpha} is for pictures: a clip's transparency is left out")
    there = {work.target: None for work in planned if work.target is not None and os.path.isfile(work.target)}
    skipped = [] if overwrite else list(there)
    works = planned if overwrite else [work for work in planned if work.target not in there]
    piped = _read_stdin() if any(work.source is None for work in works) else b""
    if any(work.target is None for work in works) and sys.stdout.isatty():
        raise UserError("standard output is a terminal: redirect it, or name a file by --out")
    columns = TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    # Lines come between the bars where both go to one terminal; what goes to a file or a pipe goes straight.
    bars = Progress(*columns, console=console, disable=silent(console), transient=True, redirect_stdout=sys.stdout.isatty())
    run = Run(model, outscale, alpha, max_pixels, quality, piped, tell, bars)
    with bars:
        run.all(works, jobs or max(1, min(4, (os.cpu_count() or 1) // 2)))
    if skipped:
        tell(f"{len(skipped)} already there, skipped: --overwrite redoes {'it' if len(skipped) == 1 else 'them'}")
    return Outcome(tuple(run.done), tuple(skipped), tuple(run.failed))


def _require_sound(
    models: Sequence[Path],
    blend: float | None,
    format: str | None,
    suffix: str | None,
    quality: int | None,
    jobs: int | None,
    outscale: float | None,
    alpha: str,
    max_pixels: int,
) -> None:
    if len(models) not in (1, 2):
        raise UserError(f"{len(models)} models: give one, or two with --blend")
    if len(models) == 2 and blend is None:
        raise UserError("two models: add --blend 0.5 to mix their weights half and half")
    if len(models) == 1 and blend is not None:
        raise UserError(f"blend = {blend:g}: give a second --model to blend with")
    require(blend is None or 0 <= blend <= 1, "blend", blend, "use a number from 0 to 1")
    if format not in (None, "same", *images.FORMATS):
        raise UserError(f"unknown format {format!r}: {nearest(str(format), [*images.FORMATS, 'same'])}")
    if suffix is not None and any(sign in suffix for sign in ("/", os.sep, "\0")):
        raise UserError(f"suffix = {suffix!r}: it is a part of a file's name, and holds no folder")
    require(quality is None or 1 <= quality <= 100, "quality", quality, "use 1 to 100")
    require(jobs is None or jobs >= 1, "jobs", jobs, "use 1 or more")
    require(outscale is None or (math.isfinite(outscale) and outscale > 0), "outscale", outscale, "use a positive number, such as 2.5")
    if alpha not in upscale.ALPHAS:
        raise UserError(f"unknown alpha {alpha!r}: {nearest(alpha, upscale.ALPHAS)}")
    require(max_pixels > 0, "max-pixels", max_pixels, "use a positive number")


def _read_stdin() -> bytes:
    if sys.stdin.isatty():
        raise UserError("standard input is a terminal: pipe a picture into it, as in: wildsr upscale - --model M < in.png > out.png")
    data = sys.stdin.buffer.read()
    if not data:
        raise UserError("standard input is empty (0 bytes): pipe a picture into it")
    return data
