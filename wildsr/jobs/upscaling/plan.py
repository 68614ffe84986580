"""Which input becomes which file, settled before anything is computed."""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from wildsr import images, video
from wildsr.errors import UserError
from wildsr.jobs.common import one_line

STDIN, STDOUT = "standard input", "standard output"


@dataclass(frozen=True)
class Work:
    """One input and where its result goes. format: in `images.FORMATS`, "same" or "" where only reading tells; "clip" for one."""

    source: Path | None  # None: standard input
    target: Path | None  # None: standard output
    format: str
    found: bool = False  # in a folder, not named

    @property
    def name(self) -> str:
        return STDIN if self.source is None else str(self.source)

    def __str__(self) -> str:
        return one_line(f"{self.name} -> {STDOUT if self.target is None else self.target}")


def plan(
    inputs: Sequence[str | Path],
    out: str | Path | None,
    format: str | None,
    suffix: str | None,
    quality: int | None,
    scale: float,
    tell: Callable[[str], None] = lambda line: None,
) -> list[Work]:
    """What is to be done, in the order of the inputs; `tell` gets a line on what looks like a result of other options and is left out.
    Raises UserError for all that can be seen before anything is computed."""
    if out is not None and str(out) != "-" and Path(out).is_file() and not _names_file(out):
        raise UserError(one_line(f"--out {out} is a file: name a folder, or a result by an ending that can be written"))
    found = _find(inputs, out)
    if any(source is not None and _is_clip(source) for source, _, _ in found) and (format or quality):
        raise UserError("--format and --quality are for pictures: a clip's container is that of --out, or the clip's own")
    if suffix is not None and out is not None and (str(out) == "-" or _names_file(out)):
        raise UserError(one_line(f"--suffix {suffix}: --out {out} is the whole name already: leave one of them out"))
    if str(out) == "-":
        works = [_to_stdout(found, format)]
    elif out is not None and _names_file(out):
        works = [_to_file(found, Path(out), format)]
    else:
        text = suffix if suffix is not None else "" if out else f"_x{scale:g}"
        works = [
            Work(None, None, format or "")
            if source is None and out is None
            else _to_folder(source, inside, None if out is None else Path(out), format, text, is_found)
            for source, inside, is_found in found
        ]
        works = _without_results(works, text, tell)
    for work in works:
        if work.format == "clip" and work.target is not None:
            video.require_writable(work.target)
    formats = {work.format or "png" for work in works}  # standard input becomes png, or tiff, where nothing is said
    lossy = [name for name, form in images.FORMATS.items() if form.lossy]
    if quality is not None and not formats & {*lossy, "same"}:  # what "same" is for standard input, reading tells
        kept = f"{', '.join(sorted(formats))} keeps every pixel and has none"
        raise UserError(f"quality = {quality}: {kept}: use --format {' or '.join(lossy)}")
    return _without_clashes(works)


def _find(inputs: Sequence[str | Path], out: str | Path | None) -> list[tuple[Path | None, Path, bool]]:
    """(file or None for standard input, folders between it and the input, whether it was found in a folder)."""
    found: list[tuple[Path | None, Path, bool]] = []
    results = None if out is None or str(out) == "-" else Path(out).resolve()
    for one in inputs:
        path = Path(one)
        if str(one) == "-":
            found.append((None, Path(), False))
        elif path.is_dir():
            below = results is not None and results != path.resolve() and results.is_relative_to(path.resolve())
            for picture in images.find(path):
                if not (below and results is not None and picture.resolve().is_relative_to(results)):
                    found.append((picture, picture.parent.relative_to(path), True))
        else:
            found.append((path, Path(), False))
    if sum(source is None for source, _, _ in found) > 1:
        raise UserError("standard input can be read once: give - once")
    return found


def _is_clip(path: Path) -> bool:
    return path.suffix.lower() in video.SUFFIXES


def _names_file(out: str | Path) -> bool:
    path = Path(out)
    known = path.suffix.lower() in images.SUFFIXES | video.SUFFIXES or images.format_of(path) is not None
    return known and not path.is_dir() and not str(out).endswith(("/", os.sep))


def _alone(found: list[tuple[Path | None, Path, bool]], out: str) -> Path | None:
    if len(found) != 1 or found[0][2]:
        there = "a folder" if found and found[0][2] else f"{len(found)} inputs"
        raise UserError(one_line(f"--out {out} takes the result of one file, and there is {there}: name a folder by --out"))
    return found[0][0]


def _to_stdout(found: list[tuple[Path | None, Path, bool]], format: str | None) -> Work:
    source = _alone(found, "-")
    if source is None:
        return Work(None, None, format or "")
    if _is_clip(source):
        raise UserError(one_line(f"{source}: a clip does not go to standard output: name a file by --out"))
    return Work(source, None, _format_for(source, format))


def _to_file(found: list[tuple[Path | None, Path, bool]], out: Path, format: str | None) -> Work:
    source = _alone(found, str(out))
    if source is not None and _is_clip(source):
        if not _is_clip(out):
            raise UserError(one_line(f"{source} is a clip, and --out {out} a picture: use {', '.join(video.CONTAINERS)}"))
        return Work(source, out, "clip")
    if _is_clip(out):
        raise UserError(one_line(f"--out {out} is a clip, and {source or STDIN} a picture: use {writable()}"))
    named = images.format_of(out)
    if named is None:
        raise UserError(one_line(f"--out {out}: {out.suffix} cannot be written: use {writable()}"))
    asked = images.format_of(source) if format == "same" and source is not None else format
    if asked not in (None, named):
        raise UserError(one_line(f"--out {out} is {named}, and --format {format} is not: leave one of them out"))
    return Work(source, out, named)


def _to_folder(source: Path | None, inside: Path, out: Path | None, format: str | None, text: str, found: bool) -> Work:
    if source is None:
        raise UserError(one_line(f"{STDIN} has no name to be given in {out}: name the result, such as --out photo.png"))
    if _is_clip(source):
        form, ending = "clip", video.suffix_for(source)
    else:
        form = _format_for(source, format)
        ending = source.suffix if format == "same" else images.FORMATS[form].suffixes[0]
    folder = source.parent if out is None else out / inside
    return Work(source, folder / f"{source.stem}{text}{ending}", form, found)


def _format_for(source: Path, format: str | None) -> str:
    if format is None:
        return "tiff" if _holds_floats(source) else "png"
    if format != "same":
        return format
    own = images.format_of(source)
    if own is None:
        raise UserError(one_line(f"{source}: --format same, and {source.suffix or 'its format'} cannot be written: use {writable()}"))
    return own


def writable() -> str:
    """The formats that a result can have, for the end of an error."""
    return f"{', '.join(images.FORMATS)} (--format)"


def _holds_floats(source: Path) -> bool:
    """Whether a TIFF file says that its samples are floats, which PNG does not hold; what cannot be read is told when it is its turn."""
    if source.suffix.lower() not in images.FORMATS["tiff"].suffixes:
        return False
    import tifffile

    try:
        with tifffile.TiffFile(source) as file:
            kind = file.pages[0].dtype  # pyright: ignore[reportAttributeAccessIssue]
    except Exception:  # tifffile meets hostile bytes with whatever exception it happens to run into.
        return False
    return kind is not None and kind.kind == "f"


def _place(path: Path) -> str:
    """What two names of one file share; some file systems do not tell "A.png" from "a.png"."""
    return str(path.resolve()).casefold()


def _without_results(works: list[Work], text: str, tell: Callable[[str], None]) -> list[Work]:
    """Without the results of an earlier start, which lie in the folder beside what they were made of: those of the same options, where
    `text` tells them from their inputs, and those that are named so (a_x4.png beside a.jpg)."""
    made = {_place(work.target): work for work in works if work.target is not None and text}
    there = {_place(work.source.with_suffix("")) for work in works if work.source is not None and work.found}
    kept, named = [], []
    for work in works:
        maker = made.get(_place(work.source)) if work.source is not None and work.found else None
        if maker is not None and maker is not work:
            continue
        of = _OF_EARLIER.fullmatch(work.source.stem) if work.source is not None and work.found else None
        if work.source is not None and of and _place(work.source.with_name(of[1])) in there:
            named.append(work.name)
        else:
            kept.append(work)
    if named:
        what = "1 result" if len(named) == 1 else f"{len(named)} results"
        tell(one_line(f"{what} of an earlier start left out, by the name: {named[0]}{' ...' if len(named) > 1 else ''}"))
    return kept


_OF_EARLIER = re.compile(r"(.+)_x\d+(?:\.\d+)?")


def _without_clashes(works: list[Work]) -> list[Work]:
    """Each work once. Raises UserError where a result would overwrite an input, or two inputs have one result."""
    sources = {_place(work.source): work.source for work in works if work.source is not None}
    taken: dict[str, Work] = {}
    kept: list[Work] = []
    for work in works:
        if work.target is None:
            kept.append(work)
            continue
        place = _place(work.target)
        if place in sources:
            raise UserError(one_line(f"{work.target} is one of the inputs and would be overwritten: use another --out or --suffix"))
        other = taken.setdefault(place, work)
        if other is work:
            kept.append(work)
        elif other.source is None or work.source is None or other.source.resolve() != work.source.resolve():
            raise UserError(one_line(f"{other.name} and {work.name} would both be written to {work.target}: rename one"))
    return kept
