"""Decoding, computing and encoding at the same time."""

import contextlib
import errno
import itertools
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import numpy as np
from rich.progress import Progress

from wildsr import files, images, upscale, video
from wildsr.errors import UserError
from wildsr.jobs.common import one_line
from wildsr.jobs.upscaling.plan import STDIN, Work, writable

READ_AHEAD = 2
"""Pictures that are decoded while another is computed."""

WAITING_BYTES = 2**30
"""Bytes of results that may wait for their encoding; a single larger one may still."""


class Run:
    """Decoding, computing and encoding at the same time, and what came of it, in the order of the inputs."""

    def __init__(
        self,
        model: upscale.Model,
        outscale: float | None,
        alpha: str,
        max_pixels: int,
        quality: int | None,
        piped: bytes,
        tell: Callable[[str], None],
        bars: Progress,
    ) -> None:
        self.model, self.outscale, self.alpha, self.max_pixels = model, outscale, alpha, max_pixels
        self.quality, self.piped, self.tell, self.bars = quality, piped, tell, bars
        self.done: list[Path] = []
        self.failed: list[str] = []
        self.seams: upscale.Seams | None = None
        self.full = False  # the disk: nothing more is begun
        # Results that are being encoded, or wait for those before them to be told of: work, notes of reading, notes of writing, bytes.
        self.waiting: deque[tuple[Work, tuple[str, ...], Future[tuple[str, ...]], int]] = deque()

    def all(self, works: Sequence[Work], jobs: int) -> None:
        """Does all works; a KeyboardInterrupt or a fault of ours leaves when the files that are being written are whole."""
        bar = self.bars.add_task("pictures", total=len(works), visible=len(works) > 1)
        with _threads(1) as reader, _threads(jobs) as encoders:
            for n, (work, photo) in enumerate(self._read_ahead(works, reader), 1):
                self._begin(work, photo, encoders, jobs)
                while self.waiting and self.waiting[0][2].done():
                    self._settle()
                self.bars.advance(bar)
                if self.full:
                    left = len(works) - n
                    break
            else:
                left = 0
            while self.waiting:
                self._settle()
        if left:
            self.failed.append(f"{left} more not begun: free some space, and start again")

    def _read_ahead(self, works: Sequence[Work], reader: ThreadPoolExecutor) -> Iterator[tuple[Work, Future[images.Photo] | None]]:
        def submit(work: Work) -> tuple[Work, Future[images.Photo] | None]:
            return work, None if work.format == "clip" else reader.submit(self._read, work)

        rest = iter(works)
        ahead = deque(submit(work) for work in itertools.islice(rest, READ_AHEAD))
        while ahead:
            following = ahead.popleft()
            ahead.extend(submit(work) for work in itertools.islice(rest, 1))
            yield following

    def _read(self, work: Work) -> images.Photo:
        if work.source is None:
            return images.read_photo(self.piped, name=STDIN, max_pixels=self.max_pixels)
        return images.read_photo(work.source, max_pixels=self.max_pixels)

    def _begin(self, work: Work, reading: Future[images.Photo] | None, encoders: ThreadPoolExecutor, jobs: int) -> None:
        """Computes a result, and has it encoded."""
        notes: tuple[str, ...] = ()
        size = 0
        try:
            if work.target is not None and work.target.is_dir():
                raise UserError(f"{work.target}: a folder stands where the result of {work.name} would: use another --out or --suffix")
            if reading is None:
                written = _finished(self._clip(work))
            else:
                photo = reading.result()
                notes = photo.notes
                form = _form(work, photo)
                if self.quality is not None and work.format == "same" and not images.FORMATS[form].lossy:
                    raise UserError(f"quality = {self.quality}: {form} keeps every pixel and has none: leave it out")
                with self._tiles(work) as progress:
                    self._tell_seams(work, photo)
                    result = upscale.enlarge(
                        self.model,
                        photo,
                        outscale=self.outscale,
                        alpha=self.alpha,
                        say=self._teller(work),
                        progress=progress,
                    )
                    images.require_writable(form, height=result.height, width=result.width, channels=result.channels, dtype=result.dtype)
                    if form == "tiff":
                        written = _finished(self._write(work, form, result, result.rows))
                    else:
                        size = result.height * result.width * result.channels * np.dtype(result.dtype).itemsize
                        while self.waiting and (len(self.waiting) > jobs or sum(one[3] for one in self.waiting) + size > WAITING_BYTES):
                            self._settle()
                        strips = deque(result.rows)
                        written = encoders.submit(self._write, work, form, result, strips)
        except (UserError, OSError, MemoryError) as error:
            written = Future()
            written.set_exception(error)
        self.waiting.append((work, notes, written, size))

    def _teller(self, work: Work) -> Callable[[str], None]:
        return lambda note: self.tell(one_line(f"{work.name}: {note}"))

    def _tell_seams(self, work: Work, photo: images.Photo) -> None:
        """Once, where a picture is cut into tiles that are not exact."""
        if not self.seams:
            self.seams = upscale.seams_of(self.model, photo, self._teller(work))
            if self.seams:
                self.tell(str(self.seams))

    @contextlib.contextmanager
    def _tiles(self, work: Work) -> Iterator[Callable[[float, float | None], None]]:
        """A bar for the parts of one picture or clip."""
        bar = self.bars.add_task(one_line(Path(work.name).name), total=None)
        try:
            yield lambda done, of: self.bars.update(bar, completed=done, total=of)
        finally:
            self.bars.remove_task(bar)

    def _clip(self, work: Work) -> tuple[str, ...]:
        assert work.source is not None
        assert work.target is not None
        with self._tiles(work) as progress:
            return video.enlarge_clip(
                self.model,
                work.source,
                work.target,
                outscale=self.outscale,
                max_pixels=self.max_pixels,
                say=self._teller(work),
                progress=progress,
            )

    def _write(
        self, work: Work, form: str, result: "upscale.Enlarged", strips: Iterator[np.ndarray] | deque[np.ndarray]
    ) -> tuple[str, ...]:
        target: Path | BinaryIO = sys.stdout.buffer if work.target is None else work.target
        quality = self.quality if images.FORMATS[form].lossy else None
        notes = images.write_photo(
            target,
            form,
            _taken(strips) if isinstance(strips, deque) else strips,
            height=result.height,
            width=result.width,
            channels=result.channels,
            dtype=result.dtype,
            meta=result.meta,
            quality=quality,
        )
        if work.target is None:
            sys.stdout.buffer.flush()
        return notes

    def _settle(self) -> None:
        """Tells what came of the oldest result, when it is written."""
        work, notes, written, _ = self.waiting[0]
        try:
            notes += written.result()
        except (UserError, OSError, MemoryError) as error:
            if isinstance(error, BrokenPipeError):
                raise
            self.full |= isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
            self.failed.append(_line(work, error))
        else:
            self.done.append(work.target or Path("-"))
            self.tell(str(work) + (f" [{one_line('; '.join(notes))}]" if notes else ""))
        self.waiting.popleft()


def _taken(strips: deque[np.ndarray]) -> Iterator[np.ndarray]:
    """Strips, each let go when it is taken, so that a picture is not held twice."""
    while strips:
        yield strips.popleft()


def _form(work: Work, photo: images.Photo) -> str:
    """The format of a result; where the input has no name, its content tells."""
    if work.format == "same":
        if photo.format not in images.FORMATS:
            raise UserError(f"{work.name}: --format same, and its format cannot be written: use {writable()}")
        return photo.format
    return work.format or ("tiff" if photo.pixels.dtype == np.float32 else "png")


def _line(work: Work, error: Exception) -> str:
    if isinstance(error, MemoryError):
        text = "not enough memory: use a smaller picture, or a smaller --tile"
    else:
        text = files.describe_error(error) if isinstance(error, OSError) else str(error)
    return one_line(text if work.name in text else f"{work.name}: {text}")


def _finished(notes: tuple[str, ...]) -> Future[tuple[str, ...]]:
    written: Future[tuple[str, ...]] = Future()
    written.set_result(notes)
    return written


@contextlib.contextmanager
def _threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that finish what they have begun, and begin nothing more after an error."""
    pool = ThreadPoolExecutor(count)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
