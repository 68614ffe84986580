"""Where the pictures lie in the folders that other projects' tools and archives make: ground truth, and low resolution beside it.

Known are: a flat folder; BasicSR's `Set5/{GTmod12,LRbicx4,original}`; EDSR's and Reflash Dropout's `Set5/{HR[/x4],LR_bicubic/X4,LR_degra}`;
`HR/Set5/x4`; SelfExSR's `image_SRF_4/img_001_SRF_4_{HR,LR}.png`; DIV2K's `DIV2K_valid_HR` beside `DIV2K_valid_LR_bicubic/X4`; and a folder
of several sets. In any other folder, all pictures are one set."""

import difflib
import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from wildsr import images
from wildsr.datasets.named import NAMED, canonical_name, pixels_digest, require_whole
from wildsr.errors import UserError

_LR = re.compile(r"(^|[_-])(lr|lq)($|[_-]|x?\d|bic|bi$|bd|dn)", re.IGNORECASE)
_TIMES = re.compile(r"x(\d+)", re.IGNORECASE)
_PLAIN = re.compile(r"hr|gt|gtmod\d+|original|x\d+|image_srf_\d+", re.IGNORECASE)  # say nothing of the set
_LR_ENDING = re.compile(r"[_-]?(SRF_\d+_LR|LR(x?\d+)?|LQ|(LR(BI|BD|DN)[_-])?x\d+(?P<kind>[mdw](?P<number>\d*))?)$", re.IGNORECASE)
_HR_ENDING = re.compile(r"[_-]?(SRF_\d+_HR|HR|GT)$", re.IGNORECASE)


@dataclass(frozen=True)
class Found:
    """A set: its name, the layout it was found in, its folder, and its ground truth."""

    name: str
    layout: str
    folder: Path
    pictures: list[Path]


def ground_truths(folder: Path | str, scale: int) -> dict[str, list[Path]]:
    """Set -> its ground truth at a scale, in order, for a folder of one set or of several; never low resolution.

    A set is known by its folder's name (`canonical_name`), or the one above where that says no more than HR. Raises UserError for a folder
    that is missing, empty, or of low resolution, for a scale that a layout lacks, and for two sets of one name."""
    sets: dict[str, list[Path]] = {}
    for found in find_sets(Path(folder), scale):
        if found.name in sets:
            raise UserError(f"{folder}: two folders in it hold the set {found.name}: name one of them")
        sets[found.name] = found.pictures
    return sets


def pictures_of(folder: Path) -> list[Path]:
    """All ground truth in a folder, at the scale of which there is some."""
    found = find_sets(folder, _some_scale(folder))
    return [path for one in found for path in one.pictures]


def find_sets(folder: Path, scale: int) -> list[Found]:
    """The sets in a folder; a folder in no known layout is one. Raises UserError as `ground_truths` does."""
    images.find(folder)  # missing and empty folders are said
    name, above = folder.resolve().name, folder.resolve().parent.name
    if _is_lr(name) or (_TIMES.fullmatch(name) and _is_lr(above)) or above.casefold() == "lr_degra":
        raise UserError(f"{folder}: a folder of low resolution, by its name: name that of the ground truth")
    if _lacks_truth(name):
        raise UserError(f"{folder}: {canonical_name(name)} has no ground truth: name another set")
    return _known(folder, scale) or [Found(set_name(folder), "one folder", folder, _ground_truth(folder))]


def require_ground_truth(folder: Path) -> None:
    """Raises UserError where, below a folder, low resolution lies beside ground truth, in folders of that name or in one folder, told by
    its pictures' names: all of it would be taken for ground truth."""
    places: dict[bool, list[Path]] = {True: [], False: []}
    found = images.find(folder)
    for path in found:
        inner = path.relative_to(folder).parent
        places[any(map(_is_lr, inner.parts))].append(inner)
    if mixed := _beside_truth(found):
        raise UserError(f"{folder}: holds low resolution ({mixed[0]}), which would be taken for ground truth: move one of both away")
    if places[True] and places[False]:
        high = dict.fromkeys(Path(*inner.parts[:1]) for inner in places[False])
        better = " or ".join(str(folder / inner) for inner in high if inner.parts) or "a folder without it"
        raise UserError(f"{folder}: holds low resolution ({places[True][0]}), which would be taken for ground truth: name {better}")


def _lacks_truth(name: str) -> bool:
    known = NAMED.get(canonical_name(name))
    return known is not None and not known.ground_truth


def set_name(folder: Path) -> str:
    """The set that a folder holds, by its name or the one above."""
    folder = folder.resolve()
    while _PLAIN.fullmatch(folder.name) and folder.parent != folder:
        folder = folder.parent
    return canonical_name(folder.name)


def _known(folder: Path, scale: int) -> list[Found]:
    """The sets in a folder that is in a known layout; none in any other."""
    inner = _layout(folder, scale)
    if inner is not None:
        return [Found(set_name(folder), inner[0], folder, inner[1])]
    name = folder.resolve().name
    if _has_pictures(folder):
        known = canonical_name(name) in NAMED or name.endswith("_HR") or name.startswith("image_SRF_")
        return [Found(set_name(folder), "one folder", folder, _ground_truth(folder))] if known else []
    children = [child for child in _children(folder) if not _is_lr(child.name) and not _lacks_truth(child.name)]
    above = next((child for child in children if child.name.casefold() in ("hr", "gt")), None)
    if above is not None:  # HR/Set5/x4 beside LR/LRBI/Set5/x4
        return _known(above, scale)
    within = {child: _known(child, scale) for child in children}
    found = [one for several in within.values() for one in several]
    if found:
        # Beside sets in known layouts, a folder of pictures is a set; parts of DIV2K that were cut from it are not.
        for child, several in within.items():
            if not several and _has_pictures(child) and not child.name.endswith("_sub"):
                found.append(Found(set_name(child), "one folder", child, _ground_truth(child)))
        return sorted(found, key=lambda one: str(one.folder))
    return [Found(set_name(folder), "folders within", folder, _ground_truth(folder))] if canonical_name(name) in NAMED else []


def _layout(folder: Path, scale: int) -> tuple[str, list[Path]] | None:
    """A known layout of one set, in words, and its ground truth. Raises UserError where that is there for other scales only."""
    children = {child.name.casefold(): child for child in _children(folder)}
    if srf := {name: child for name, child in children.items() if name.startswith("image_srf_")}:
        chosen = _of_scale(srf, [f"image_srf_{scale}"], folder, scale)
        return f"SelfExSR's layout, {chosen.name}", _ground_truth(chosen)
    if any(re.fullmatch(r"gtmod\d+|lrbicx\d+", name) for name in children):
        kept = {name: child for name, child in children.items() if name.startswith("gtmod") or name == "original"}
        chosen = _of_scale(kept, ["gtmod12", f"gtmod{scale}", "original"], folder, scale)
        return f"BasicSR's layout, {chosen.name}", images.find(chosen)
    high = children.get("hr") or children.get("gt")
    if high is not None:
        if _has_pictures(high):
            return f"EDSR's layout, {high.name}", _direct(high)
        if scales := _scale_folders(high):
            chosen = _of_scale(scales, [f"x{scale}"], high, scale)
            return f"EDSR's layout, {high.name}/{chosen.name}", images.find(chosen)
    elif (scales := _scale_folders(folder)) and not _has_pictures(folder):
        chosen = _of_scale(scales, [f"x{scale}"], folder, scale)
        return f"a folder a scale, {chosen.name}", images.find(chosen)
    return None


def _of_scale(folders: dict[str, Path], wanted: list[str], folder: Path, scale: int) -> Path:
    for name in wanted:
        if name in folders:
            return folders[name]
    there = "".join(f"{name}, " for name in sorted(child.name for child in folders.values()))
    raise UserError(f"{folder}: holds {there}{'and ' if there else ''}no ground truth for ×{scale}")


def _scale_folders(folder: Path) -> dict[str, Path]:
    """Folders x2, X4 and so on, where a folder holds no others."""
    children = {child.name.casefold(): child for child in _children(folder)}
    return children if all(map(_TIMES.fullmatch, children)) else {}


def _children(folder: Path) -> list[Path]:
    """The folders in a folder; not hidden ones, nor links that lead back."""
    here = folder.resolve()
    return sorted(
        child
        for child in folder.iterdir()
        if child.is_dir() and not child.name.startswith(".") and child.resolve() not in (here, *here.parents)
    )


def _direct(folder: Path) -> list[Path]:
    return [path for path in images.find(folder) if path.parent == folder]


def _has_pictures(folder: Path) -> bool:
    return any(child.suffix.lower() in images.SUFFIXES and not child.name.startswith(".") and child.is_file() for child in folder.iterdir())


def _is_lr(name: str) -> bool:
    return _LR.search(name) is not None


def _ground_truth(folder: Path) -> list[Path]:
    """All pictures below a folder but those of low resolution: in folders of that name, or beside their ground truth."""
    found = [path for path in images.find(folder) if not any(map(_is_lr, path.relative_to(folder).parts[:-1]))]
    low = set(_beside_truth(found))
    found = [path for path in found if path not in low]
    if not found:
        raise UserError(f"{folder}: holds low resolution only, and no ground truth")
    return found


def _beside_truth(paths: Sequence[Path]) -> list[Path]:
    """The pictures of low resolution among some of which others are their ground truth: 1_LR4.png beside 1_HR.png, and all that end in _LR
    where others end in _HR."""
    truths = {_HR_ENDING.sub("", path.stem) for path in paths if _HR_ENDING.search(path.stem)}
    named = any(path.stem.endswith("_HR") for path in paths)

    def is_low(stem: str) -> bool:
        ending = _LR_ENDING.search(stem)
        return (named and stem.endswith("_LR")) or (ending is not None and stem[: ending.start()] in truths)

    return [path for path in paths if is_low(path.stem)]


def _some_scale(folder: Path) -> int:
    """A scale for which a folder's layout has ground truth: 4 where it has."""
    for scale in (4, 2, 3, 8):
        try:
            find_sets(folder, scale)
        except UserError:
            continue
        return scale
    return 4


# ---------------------------------------------------------------------------------------------------------------------- pairs


def pairs(lr: Path | str, hr: Path | str, scale: int) -> list[tuple[str, Path, Path]]:
    """(name, LR picture, HR picture) of two folders, matched by name, in order of the names: that of the HR picture, or of the LR picture
    where several belong to one (x4w1 to x4w4). Of LR names, the usual endings do not count: x4, x4m, x4d, x4w, LR, LR4, SRF_4_LR.

    HR may be larger than `scale` times LR by less than `scale` pixels at right and bottom, to be cut off. Raises UserError naming the set
    and the pair: another number of pictures, a name without partner, two LR pictures of one name, sizes that do not fit."""
    lr, hr = Path(lr), Path(hr)
    name, high = _one_set(hr, scale)
    low = _low(lr, scale)
    truths: dict[str, Path] = {}
    for path in high:
        key = _HR_ENDING.sub("", path.stem)
        if truths.setdefault(key, path) is not path:
            raise UserError(f"set {name}: {truths[key].name} and {path.name} have one name: rename one")
    taken: dict[str, list[tuple[str, Path]]] = {}
    lost: list[str] = []
    for path in low:
        ending = _LR_ENDING.search(path.stem)
        key = path.stem if path.stem in truths or ending is None else path.stem[: ending.start()]
        if key not in truths:
            lost.append(path.stem)
            continue
        numbered = path.stem if key != path.stem and ending is not None and ending["number"] else ""
        others = taken.setdefault(key, [])
        if twin := next((other for one, other in others if not numbered or one in ("", numbered)), None):
            raise UserError(f"set {name}: {twin} and {path} are both the LR picture of {truths[key].name}: remove one")
        others.append((numbered, path))
    alone = [key for key in truths if key not in taken]
    if lost or alone:
        count = f"set {name}: {len(low)} LR pictures in {lr}, {len(high)} HR pictures in {hr}: "
        if lost:
            close = difflib.get_close_matches(lost[0], alone or list(truths), n=1, cutoff=0)
            raise UserError(f"{count}{lost[0]} has no HR picture{f' (the nearest name is {close[0]})' if close else ''}")
        raise UserError(f"{count}{alone[0]} has no LR picture{f', nor have {len(alone) - 1} others' if len(alone) > 1 else ''}")
    found = [(numbered or key, path, truths[key]) for key, several in sorted(taken.items()) for numbered, path in sorted(several)]
    for _, low_path, high_path in found:
        _require_fitting(name, low_path, high_path, scale)
    return found


def _one_set(hr: Path, scale: int) -> tuple[str, list[Path]]:
    sets = ground_truths(hr, scale)
    if len(sets) > 1:
        raise UserError(f"{hr}: holds the sets {', '.join(sets)}: name the folder of one")
    return next(iter(sets.items()))


def _low(lr: Path, scale: int) -> list[Path]:
    """The LR pictures in a folder, or in its folder X4."""
    found = images.find(lr)
    if not _has_pictures(lr) and (scales := _scale_folders(lr)):
        if f"x{scale}" not in scales:
            raise UserError(f"{lr}: holds {', '.join(sorted(child.name for child in scales.values()))}, and none for ×{scale}")
        return images.find(scales[f"x{scale}"])
    return _beside_truth(found) or found


def _require_fitting(name: str, lr: Path, hr: Path, scale: int) -> None:
    (w, h), (width, height) = _size(lr), _size(hr)
    if 0 <= width - scale * w < scale and 0 <= height - scale * h < scale:
        return
    both = f"set {name}: {lr.name} is {w}×{h}, {hr.name} is {width}×{height}"
    if (w, h) == (width, height):
        raise UserError(f"{both}: it is enlarged already; name the folder of the small pictures")
    other = next((s for s in range(2, 17) if 0 <= width - s * w < s and 0 <= height - s * h < s), None)
    raise UserError(f"{both}: not ×{scale}" + (f", but ×{other}" if other else "") + f" (HR should be {scale * w}×{scale * h})")


def _size(path: Path) -> tuple[int, int]:
    """Width and height of a picture, upright, by its header alone."""
    exif = Image.Exif()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as picture:
                width, height = picture.size
                exif.load(picture.info.get("exif") or b"")
    except Exception as error:  # Hostile bytes meet the reader with whatever exception it happens to run into.
        raise UserError(f"{path}: not a picture, or a damaged one ({' '.join(str(error).split())})") from None
    return (height, width) if exif.get(0x0112) in (5, 6, 7, 8) else (width, height)


# ---------------------------------------------------------------------------------------------------------------------- check


def survey(folder: Path) -> tuple[list[str], list[str]]:
    """What there is to say of a folder beside its pictures, and what is wrong with it, a line each; nothing of one in no known layout.

    Of each set: its layout, its number of pictures and whether that is right, whether the pixels are known, and its low resolution."""
    try:
        images.find(folder)
    except UserError:  # Parquet shards, perhaps
        return [], []
    name = set_name(folder)
    if _lacks_truth(name):
        alone = Found(name, "without ground truth", folder, images.find(folder))
        line = f"{name}: {len(alone.pictures)} pictures, {alone.layout}{_recognise(alone)}"
        beside = [_check_lr(folder, folder.resolve().parent / needed) for needed in NAMED[name].needs]
        problems = [*_count_problem(name, folder, len(alone.pictures)), *(line for _, more in beside for line in more)]
        return [line, *(line for lines, _ in beside for line in lines)], problems
    try:
        sets = _known(folder, _some_scale(folder))
    except UserError as error:
        return [], [str(error)]
    lines, problems = [], []
    for found in sets:
        lines.append(f"{found.name}: {len(found.pictures)} pictures, {found.layout}{_recognise(found)}")
        problems += _count_problem(found.name, found.folder, len(found.pictures))
        for low in _lr_folders(found):
            more = _check_lr(low, found.folder)
            lines += more[0]
            problems += more[1]
    return lines, problems


def _recognise(found: Found) -> str:
    known = NAMED[found.name].pixels if found.name in NAMED else None
    if known is None or NAMED[found.name].count != len(found.pictures):
        return ""
    try:
        same = pixels_digest(found.pictures) == known
    except UserError:  # a picture that cannot be read is said elsewhere
        return ""
    return "; the pixels are those known" if same else "; other pixels than those known"


def _count_problem(name: str, folder: Path, count: int) -> list[str]:
    try:
        require_whole(name, folder, count)
    except UserError as error:
        return [str(error)]
    return []


def _lr_folders(found: Found) -> Iterable[Path]:
    """The folders of low resolution that belong to a set."""
    beside = found.folder.resolve().name.removesuffix("_HR")
    if found.folder.resolve().name.endswith("_HR"):
        above = [child for child in _children(found.folder.resolve().parent) if child.name.startswith(f"{beside}_LR")]
    else:
        above = [child for child in _children(found.folder) if _is_lr(child.name) or child.name.startswith("image_SRF_")]
    for folder in above:
        if _has_pictures(folder):
            yield folder
        else:
            yield from (child for child in _children(folder) if _has_pictures(child))


def _check_lr(low: Path, hr: Path) -> tuple[list[str], list[str]]:
    """A line on a folder of low resolution, and what is wrong with it."""
    shown = low.name if low.parent.resolve() in (hr.resolve(), hr.resolve().parent) else f"{low.parent.name}/{low.name}"
    try:
        scale = _scale_of(low)
        if scale is None:
            return [f"  {shown}: {len(images.find(low))} pictures of low resolution, at a scale that its names do not say"], []
        if not hr.is_dir():
            return [f"  {shown}: {len(images.find(low))} pictures, ×{scale}; no {hr.name} beside it"], []
        return [f"  {shown}: {len(pairs(low, hr, scale))} pairs, ×{scale}"], []
    except UserError as error:
        return [], [str(error)]


def _scale_of(low: Path) -> int | None:
    """The scale of a folder of low resolution, by its name or those of its pictures."""
    names = [low.name, *(path.stem for path in images.find(low)[:1])]
    for name in names:
        if match := re.search(r"(?:x|srf_)(\d+)(?:[mdw]\d*)?$", name, re.IGNORECASE) or re.search(r"srf_(\d+)_lr$", name, re.IGNORECASE):
            return int(match[1])
    return 4 if low.name.endswith(("_mild", "_difficult", "_wild")) else None
