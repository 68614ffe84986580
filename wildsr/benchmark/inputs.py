"""Where inputs come from: made from ground truth, taken in pairs from two folders, or photographs alone."""

import contextlib
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from wildsr import datasets, degrade, files, images
from wildsr.benchmark.align import aligned, subpixel_shift
from wildsr.benchmark.suites import Suite
from wildsr.errors import UserError, first_few

CROP_HR = 12
"""HR pictures are cut to multiples of this before anything, so that ×2, ×3 and ×4 share them."""

Sets = Mapping[str, Mapping[str, Path]]
"""Set -> picture -> path."""


@dataclass(frozen=True)
class Case:
    """One input, and what its result is held against, with what its rows say of it.

    hr_sha256: of the ground truth before it was moved by `shift`, so that a picture's inputs agree on it. margin: pixels that SR loses on
    each side before it is compared, for what the ground truth does not show. problem: why it cannot be measured."""

    degradation: str
    words: str
    seen: str | None
    lr: UInt8[Tensor, "3 h w"]
    hr: UInt8[Tensor, "3 sh sw"] | None
    lr_sha256: str
    hr_sha256: str | None
    shift: tuple[float, float] | None = None
    margin: int = 0
    problem: str | None = None


@dataclass(frozen=True)
class Inputs(ABC):
    """The inputs of a suite. `places` are its pictures by (set, name). seed: of all chance in them."""

    suite: Suite
    seed: int = field(default=0, kw_only=True)

    @property
    @abstractmethod
    def places(self) -> list[tuple[str, str]]:
        """The pictures, in order."""

    @property
    @abstractmethod
    def sources(self) -> list[Path]:
        """The files that the pictures are read from."""

    @abstractmethod
    def cases(self, place: tuple[str, str]) -> list[Case]:
        """The inputs of one picture."""

    @property
    def facts(self) -> dict[str, Any]:
        """What every row says of them."""
        suite = self.suite
        return {
            "scale": suite.scale,
            "suite": suite.name,
            "suite_version": suite.version,
            "crop": suite.crop,
            "seed": self.seed,
            "resizer": "none",
        }

    @property
    def protocol(self) -> str:
        """What is added to the protocol of every score."""
        return ""


@dataclass(frozen=True)
class OfSets(Inputs):
    """Inputs each of which comes from one file."""

    sets: Sets

    @property
    def places(self) -> list[tuple[str, str]]:
        return [(name, stem) for name, pictures in self.sets.items() for stem in pictures]

    @property
    def sources(self) -> list[Path]:
        return [path for pictures in self.sets.values() for path in pictures.values()]


@dataclass(frozen=True)
class Made(OfSets):
    """Inputs made from ground truth. cache: a folder where each is kept under the hash of all that it is made from, to be made once."""

    cache: Path | None = None

    def cases(self, place: tuple[str, str]) -> list[Case]:
        hr = read_hr(self.sets[place[0]][place[1]])
        hr_sha256 = images.pixels_sha256(hr)
        found = []
        for degradation in self.suite.degradations:
            lr = self._kept(hr, hr_sha256, degradation)
            found.append(Case(degradation.name, degradation.words, degradation.seen, lr, hr, images.pixels_sha256(lr), hr_sha256))
        return found

    @property
    def facts(self) -> dict[str, Any]:
        return {**super().facts, "resizer": f"Pillow {PIL.__version__} bicubic"}

    def _kept(self, hr: UInt8[Tensor, "3 h w"], hr_sha256: str, degradation: degrade.Fixed) -> UInt8[Tensor, "3 lh lw"]:
        if self.cache is None:
            return degrade.fixed(hr, degradation, seed=self.seed, scale=self.suite.scale)
        versions = f"Pillow {PIL.__version__}, NumPy {np.__version__}, {files.code_version()}"
        parts = (self.suite.name, self.suite.version, degradation.name, self.suite.scale, self.seed, hr_sha256, versions)
        key = files.sha256("|".join(map(str, parts)).encode())
        path = self.cache / "lr" / key[:2] / f"{key}.png"
        with contextlib.suppress(UserError):
            return images.read(path)
        lr = degrade.fixed(hr, degradation, seed=self.seed, scale=self.suite.scale)
        with contextlib.suppress(OSError):  # a cache that cannot be written to is none
            images.write(path, lr)
        return lr


@dataclass(frozen=True)
class Paired(Inputs):
    """Low and high resolution from folders: set -> picture -> track (what the LR folder is called) -> (LR's path, HR's path).

    HR loses at right and bottom what LR does not show. align: "subpixel" moves HR to where LR's bicubic enlargement lies on it, which is
    the same for every model, and compares within what both show (NTIRE 2018's tracks are shifted against each other)."""

    pairs: Mapping[str, Mapping[str, Mapping[str, tuple[Path, Path]]]]
    align: str = "none"

    @property
    def places(self) -> list[tuple[str, str]]:
        return [(name, stem) for name, pictures in self.pairs.items() for stem in pictures]

    @property
    def sources(self) -> list[Path]:
        return [path for pictures in self.pairs.values() for tracks in pictures.values() for both in tracks.values() for path in both]

    def cases(self, place: tuple[str, str]) -> list[Case]:
        return [self._case(track, *paths) for track, paths in self.pairs[place[0]][place[1]].items()]

    def _case(self, track: str, lr_path: Path, hr_path: Path) -> Case:
        lr, whole = images.read(lr_path), images.read(hr_path)
        height, width = (side * self.suite.scale for side in lr.shape[-2:])
        hr = whole[:, :height, :width]
        case = Case(track, track, None, lr, hr, images.pixels_sha256(lr), images.pixels_sha256(hr))
        if self.align == "none":
            return case
        larger = images.from_pillow(images.to_pillow(lr).resize((width, height), Image.Resampling.BICUBIC))
        try:
            shift = subpixel_shift(larger, hr, most=LARGEST_SHIFT * self.suite.scale)
        except UserError as error:
            return replace(case, problem=str(error))
        moved, margin = aligned(hr, shift)
        return replace(case, hr=moved, shift=shift, margin=margin)

    @property
    def facts(self) -> dict[str, Any]:
        return {**super().facts, "align": self.align}

    @property
    def protocol(self) -> str:
        return "" if self.align == "none" else "+subpixel/1"


LARGEST_SHIFT = 12
"""LR pixels by which a pair may be shifted and still be aligned."""


@dataclass(frozen=True)
class Alone(OfSets):
    """Photographs without ground truth, as they are."""

    def cases(self, place: tuple[str, str]) -> list[Case]:
        lr = images.read(self.sets[place[0]][place[1]])
        return [Case("as they are", "photographs as they are", None, lr, None, images.pixels_sha256(lr), None)]


def read_hr(path: Path | str) -> UInt8[Tensor, "3 h w"]:
    """A ground-truth picture: RGB, cut to multiples of 12."""
    return images.crop_to_multiple(images.read(path), CROP_HR)


def made(folders: Sequence[Path | str], suite: Suite, *, seed: int = 0, cache: Path | None = None) -> Made:
    """The inputs that a suite makes from the ground truth in some folders, in any of the usual layouts (`datasets.ground_truths`); every
    picture is read once, and is large enough to be scored.

    Raises UserError with the names for unreadable and small pictures, for sets or pictures of one name, and for a set of a known name
    with another number of pictures than it has."""
    sets: dict[str, dict[str, Path]] = {}
    for folder in folders:
        for name, paths in datasets.ground_truths(Path(folder), suite.scale).items():
            if name in sets:
                raise UserError(f"two folders are called {name!r}, and a set is known by its folder's name: rename one")
            datasets.require_whole(name, Path(folder), len(paths))
            sets[name] = images.unique_stems(paths)
    _require_measurable(sets, suite, smallest=CROP_HR * math.ceil((2 * suite.crop + 11) / CROP_HR))
    return Made(suite, sets, cache, seed=seed)


def alone(folders: Sequence[Path | str], suite: Suite, *, seed: int = 0) -> Alone:
    """Photographs without ground truth, from folders. Nothing is drawn; the seed is that of what stands beside them in a report.

    Raises UserError as `made` does."""
    sets: dict[str, dict[str, Path]] = {}
    for folder in folders:
        name = Path(folder).resolve().name
        if name in sets:
            raise UserError(f"two folders are called {name!r}, and a set is known by its folder's name: rename one")
        sets[name] = images.unique_stems(images.find(folder))
    _require_measurable(sets, suite, smallest=8)
    return Alone(suite, sets, seed=seed)


def paired(lr: Sequence[Path | str], hr: Sequence[Path | str], suite: Suite, *, align: str = "none", seed: int = 0) -> Paired:
    """Pairs from folders of low and of high resolution, the first with the first, matched by name (`datasets.pairs`).

    A set is known by the HR folder's name (or its parent's, where that says no more than HR), a degradation by the LR folder's. seed: as in
    `alone`. Raises UserError naming the set and the pair for a mismatch in number, name or scale."""
    if align not in ALIGNMENTS:
        raise UserError(f"unknown alignment {align!r}: there is {', '.join(ALIGNMENTS)}")
    if not lr or len(lr) != len(hr):
        raise UserError(f"{len(lr)} folders of low resolution and {len(hr)} of high: give --lr and --hr as often as each other")
    found: dict[str, dict[str, dict[str, tuple[Path, Path]]]] = {}
    for low, high in zip(map(Path, lr), map(Path, hr), strict=True):
        name, track = datasets.set_name(high), _track(low.resolve())
        for stem, lr_path, hr_path in datasets.pairs(low, high, suite.scale):
            tracks = found.setdefault(name, {}).setdefault(stem, {})
            if track in tracks:
                raise UserError(
                    f"set {name}: two folders of low resolution are called {track!r} ({tracks[track][0].parent} and {low}): rename one"
                )
            tracks[track] = (lr_path, hr_path)
    return Paired(suite, found, align, seed=seed)


ALIGNMENTS = ("none", "subpixel")


def _track(folder: Path) -> str:
    """What a folder of low resolution is called: LR_bicubic of LR_bicubic/X4."""
    return folder.parent.name if folder.name.casefold() in ("x2", "x3", "x4") else folder.name


def _require_measurable(sets: Sets, suite: Suite, smallest: int) -> None:
    paths = [path for pictures in sets.values() for path in pictures.values()]
    problems: list[str] = []
    for path in paths:
        try:
            picture = images.open_picture(path)
        except UserError as error:
            problems.append(str(error))
            continue
        if min(picture.size) < smallest:
            problems.append(f"{path}: {picture.width}×{picture.height} is too small for {suite.name}: {smallest} pixels a side are needed")
    if problems:
        raise UserError(f"{len(problems)} of {len(paths)} pictures cannot be measured on (remove or mend them): {first_few(problems)}")
