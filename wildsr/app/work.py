"""What the page does, without the page: it looks at a picture, plans the result, makes it within limits, and shows a part of it."""

import contextlib
import math
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from wildsr import checkpoint, images, upscale
from wildsr.app.preview import DETAIL, Preview, busiest, shown
from wildsr.errors import UserError

MAX_PIXELS = 16_000_000
"""Pixels that a picture on the page has at most, unless told otherwise."""

TIME_LIMIT = 600.0
"""Seconds that one picture may take, unless told otherwise."""

FORMATS = ("png", "jpeg", "webp", "tiff")
"""What the page writes; the first is chosen."""

_RESULT = 16
"""The result has at most this many times the pixels that an input may have: what a ×4 model makes of the largest."""

_KEPT = 3600
"""Seconds for which a finished result stays."""

_KINDS = {1: "grey", 2: "grey with transparency", 3: "colour", 4: "colour with transparency"}
_DEPTHS = {"uint8": "8 bit", "uint16": "16 bit", "float32": "32 bit float"}


class StoppedError(Exception):
    """Whoever asked for a picture does not want it any more."""


class Stops:
    """Who asked for a picture, and may not want it any more, also while it waits for its turn; by session."""

    def __init__(self) -> None:
        self._asked: dict[str, threading.Event] = {}

    def ask(self, session: str) -> None:
        """A picture is asked for: from now on it can be stopped."""
        if session not in self._asked or self._asked[session].is_set():
            self._asked[session] = threading.Event()

    @contextlib.contextmanager
    def turn(self, session: str) -> Iterator[threading.Event]:
        """It is its turn: yields what is set when it is stopped. Raises StoppedError where it was before."""
        event = self._asked.setdefault(session, threading.Event())
        try:
            if event.is_set():
                raise StoppedError
            yield event
        finally:
            if self._asked.get(session) is event:
                del self._asked[session]

    def stop(self, session: str) -> None:
        """What was asked for is not wanted any more; nothing, where nothing was."""
        if session in self._asked:
            self._asked[session].set()


@dataclass(frozen=True)
class Limits:
    """What one picture may cost: pixels of the input, and seconds."""

    max_pixels: int = MAX_PIXELS
    seconds: float = TIME_LIMIT

    @property
    def upload(self) -> int:
        """Bytes of the largest file that is taken: a picture of `max_pixels` without compression, four float samples a pixel."""
        return 16 * self.max_pixels + 2**20


@dataclass(frozen=True)
class Offer:
    """A model that can be chosen. scale: None where only loading tells."""

    name: str
    path: Path
    scale: int | None
    size: str

    @property
    def label(self) -> str:
        """The line in the list of models."""
        return f"{self.name}  ({', '.join([*([f'×{self.scale}'] if self.scale else []), self.size])})"


def offers(paths: Sequence[Path]) -> tuple[list[Offer], list[str]]:
    """The models of some files and run directories, with names that differ, and a line about each that cannot be read; of no paths, the
    model that comes with wildsr.

    Raises UserError when none can be read."""
    found, refused = [], []
    for path in dict.fromkeys(map(Path, paths or [checkpoint.DEFAULT])):
        try:
            scale, size = _facts(path)
        except UserError as error:
            refused.append(str(error))
            continue
        found.append((path, scale, size))
    if not found:
        raise UserError(refused[0])
    names = [path.name if path.is_dir() else path.stem for path, _, _ in found]
    taken = [name if names.count(name) == 1 else str(path) for name, (path, _, _) in zip(names, found, strict=True)]
    return [Offer(name, *facts) for name, facts in zip(taken, found, strict=True)], refused


def _facts(path: Path) -> tuple[int | None, str]:
    """Scale and size of a model, of a foreign one without building it."""
    try:
        held = checkpoint.load(path)
    except checkpoint.UnknownNetworkError:
        return None, f"{path.stat().st_size / 1e6:.1f} MB"
    count = checkpoint.parameter_count(held.weights)
    return held.network.scale, f"{count / 1e6:.1f} M weights" if count >= 1e5 else f"{count:,} weights"


@dataclass(frozen=True)
class Facts:
    """What a picture file is, as far as planning asks."""

    name: str
    height: int
    width: int
    channels: int
    dtype: str
    format: str
    carries: tuple[str, ...]
    """What belongs to it beside its samples, by name."""
    notes: tuple[str, ...]
    """What reading changed."""

    @property
    def text(self) -> str:
        """What the file is, in a line."""
        carried = f", with {' and '.join(self.carries)}" if self.carries else ""
        form = f"{self.format.upper()}, " if self.format else ""
        return f"{self.name}: {form}{_size(self.height, self.width)}, {_KINDS[self.channels]}, {_DEPTHS[self.dtype]}{carried}"


@dataclass(frozen=True)
class Plan:
    """What the result will be."""

    name: str
    height: int
    width: int

    @property
    def text(self) -> str:
        """The result's name and size, in a line."""
        return f"{self.name}, {_size(self.height, self.width)}"


@dataclass(frozen=True)
class Made:
    """A finished picture: its file, pairs of pictures to compare (bicubic, model), and what is to be said."""

    file: Path
    height: int
    width: int
    seconds: float
    whole: tuple[Path, Path]
    reduced: int
    """How many pixels of the result, a side, are one of `whole`; 1: it is shown as it is."""
    detail: tuple[Path, Path] | None
    """A part of the result at full size; None where the whole is small."""
    notes: tuple[str, ...]

    @property
    def text(self) -> str:
        """The result and what it took, in a line."""
        spent = f"{self.seconds:.1f} seconds" if self.seconds < 10 else f"{self.seconds:,.0f} seconds"
        return f"{self.file.name}: {_size(self.height, self.width)}, {_bytes(self.file.stat().st_size)}, made in {spent}"


def _size(height: int, width: int) -> str:
    """17 × 16 pixels (0.3 megapixels)."""
    large = f" ({height * width / 1e6:.1f} megapixels)" if height * width >= 50_000 else ""
    return f"{width:,} × {height:,} pixels{large}"


def _bytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"


class Workshop:
    """Models, limits and a folder for results: all that the page's buttons ask for.

    One picture is made at a time. A model is loaded when it is first used, and kept. Results that are older than an hour go when the next
    one is made, and all of them with the folder."""

    def __init__(self, choices: Sequence[Offer], limits: Limits, folder: Path, device: str = "auto") -> None:
        self.offers = list(choices)
        self.limits = limits
        self._by_name = {offer.name: offer for offer in self.offers}
        self.folder, self._device = folder, device
        self._loaded: dict[str, upscale.Model] = {}
        self._loading, self._working = threading.Lock(), threading.Lock()
        self._closed = threading.Event()

    def model(self, name: str, *, ensemble: bool = False) -> upscale.Model:
        """A model by its offer's name. Raises UserError for a name that is none, and as `upscale.load`."""
        if name not in self._by_name:
            raise UserError(f"no model {name!r} here: reload the page, and choose one")
        with self._loading:
            if name not in self._loaded:
                self._loaded[name] = upscale.load(self._by_name[name].path, device=self._device, precision="auto")
            return replace(self._loaded[name], ensemble=ensemble)

    def read(self, path: Path) -> images.Photo:
        """The picture of an uploaded file. Raises UserError with the name alone: where uploads lie is nobody's business."""
        with open(path, "rb") as file:
            data = file.read(self.limits.upload + 1)
        if len(data) > self.limits.upload:
            raise UserError(f"{path.name}: larger than {_bytes(self.limits.upload)}: start with a larger --max-megapixels")
        return images.read_photo(data, name=path.name, max_pixels=self.limits.max_pixels)

    def look(self, path: Path, thumbnail: Path | None = None) -> Facts:
        """What an uploaded file is; a small picture of it is written as PNG. Raises UserError for what cannot be read."""
        photo = self.read(path)
        if thumbnail is not None:
            small = shown(photo.pixels)
            small.thumbnail((1000, 1000))
            small.save(thumbnail, "PNG", **_profile(photo))
        return _facts_of(path.name, photo)

    def plan(self, facts: Facts, model: str, form: str, outscale: float | None) -> Plan:
        """What will come of a picture. Raises UserError for a result that is too large, or that the format cannot hold."""
        if form not in FORMATS:
            raise UserError(f"no format {form!r} here: use {', '.join(FORMATS)}")
        if outscale is not None and not (math.isfinite(outscale) and outscale > 0):
            raise UserError(f"a scale of {outscale:g} is none: use a number above 0, or leave it empty")
        offer = self._by_name.get(model)
        scale = outscale or (offer.scale if offer else None) or self.model(model).scale
        height, width = max(1, round(facts.height * scale)), max(1, round(facts.width * scale))
        most = _RESULT * self.limits.max_pixels
        if height * width > most:
            raise UserError(
                f"the result would have {_size(height, width)}, the page makes at most {most / 1e6:g} megapixels: "
                "use a smaller scale, or start it with a larger --max-megapixels"
            )
        images.require_writable(form, height=height, width=width, channels=facts.channels, dtype=facts.dtype)
        stem = Path(facts.name).stem or "picture"
        return Plan(f"{stem}_x{scale:g}{images.FORMATS[form].suffixes[0]}", height, width)

    def make(
        self,
        path: Path,
        model: str,
        *,
        form: str = FORMATS[0],
        outscale: float | None = None,
        ensemble: bool = False,
        stop: threading.Event | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Made:
        """Upscales an uploaded file. progress: tiles done, and of how many.

        Raises UserError for what cannot be read or written and when the time is over, and StoppedError once `stop` is set. Either leaves
        nothing behind."""
        with self._working:
            self._forget(_KEPT)
            self.folder.mkdir(parents=True, exist_ok=True)
            place = Path(tempfile.mkdtemp(prefix="made-", dir=self.folder))
            try:
                return self._make(place, path, model, form, outscale, ensemble, stop or threading.Event(), progress)
            except BaseException:
                shutil.rmtree(place, ignore_errors=True)
                raise

    def _make(
        self,
        place: Path,
        path: Path,
        model: str,
        form: str,
        outscale: float | None,
        ensemble: bool,
        stop: threading.Event,
        progress: Callable[[int, int], None] | None,
    ) -> Made:
        started = time.monotonic()
        photo = self.read(path)
        plan = self.plan(_facts_of(path.name, photo), model, form, outscale)
        network = self.model(model, ensemble=ensemble)
        notes = list(photo.notes)

        def go_on() -> None:
            if stop.is_set() or self._closed.is_set():
                raise StoppedError
            if time.monotonic() - started > self.limits.seconds:
                raise UserError(
                    f"stopped after {self.limits.seconds:g} seconds, the limit for one picture: use a smaller picture or model, "
                    "or start the page with a larger --time-limit"
                )

        def tell(done: int, total: int) -> None:
            if progress is not None:
                progress(done, total)
            go_on()

        go_on()
        result = upscale.enlarge(network, photo, outscale=outscale, say=notes.append, progress=tell)
        ratio = result.height / photo.pixels.shape[0]
        part = busiest(photo.pixels, max(8, round(DETAIL / ratio)))
        preview = Preview(result.height, result.width, tuple(round(edge * ratio) for edge in part))  # pyright: ignore[reportArgumentType]

        def strips() -> Iterator[np.ndarray]:
            for rows in result.rows:
                preview.take(rows)
                go_on()
                yield rows

        target = place / plan.name
        notes += images.write_photo(
            target,
            form,
            strips(),
            height=result.height,
            width=result.width,
            channels=result.channels,
            dtype=result.dtype,
            meta=result.meta,
        )
        before = shown(photo.pixels)
        detail = None
        if preview.factor > 1:
            top, left, bottom, right = part
            detail = _pair(place, "detail", before.crop((left, top, right, bottom)), preview.detail(), photo)
        whole = _pair(place, "whole", before, preview.whole(), photo)
        seconds = time.monotonic() - started
        return Made(target, result.height, result.width, seconds, whole, preview.factor, detail, tuple(dict.fromkeys(notes)))

    def _forget(self, age: float) -> None:
        """Removes results that are older than `age` seconds."""
        for place in self.folder.glob("made-*"):
            if time.time() - place.stat().st_mtime > age:
                shutil.rmtree(place, ignore_errors=True)

    def close(self) -> None:
        """Ends what is being made, and waits until it has ended."""
        self._closed.set()
        with self._working:
            self._forget(-1)


def _facts_of(name: str, photo: images.Photo) -> Facts:
    height, width, channels = photo.pixels.shape
    named = (("a colour profile", photo.meta.icc), ("EXIF", photo.meta.exif), ("XMP", photo.meta.xmp))
    return Facts(
        name, height, width, channels, photo.pixels.dtype.name, photo.format, tuple(name for name, held in named if held), photo.notes
    )


def _pair(place: Path, name: str, before: Image.Image, after: Image.Image, photo: images.Photo) -> tuple[Path, Path]:
    """Bicubic and the model's, of one size, as files."""
    both = (place / f"{name}-bicubic.png", place / f"{name}-model.png")
    for file, picture in zip(both, (before.resize(after.size, Image.Resampling.BICUBIC), after), strict=True):
        picture.save(file, "PNG", compress_level=1, **_profile(photo))
    return both


def _profile(photo: images.Photo) -> dict[str, bytes]:
    """A profile for what is shown, which is RGB."""
    return {"icc_profile": photo.meta.icc} if photo.meta.icc and photo.pixels.shape[2] > 2 else {}
