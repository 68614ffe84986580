"""Clips: frame by frame through a model, with the sound and every frame's time as they were. Needs PyAV (the extra `video`)."""

import contextlib
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from wildsr import files, images, upscale
from wildsr.errors import UserError

CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
"""Ending -> the container that is written. AVI is read, but keeps no times of frames, and is not written."""

SUFFIXES = frozenset({*CONTAINERS, ".avi"})
"""Files with these endings are clips."""

_H264 = ("libx264", {"crf": "18", "preset": "medium"})
_VP9 = ("libvpx-vp9", {"crf": "24", "b": "0", "row-mt": "1", "cpu-used": "4"})

# What a file may be. Playlists are not among them: those name other files and addresses, which would be opened.
_READ = {"format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,ogg"}

_CONTAINERS_OWN = ("major_brand", "minor_version", "compatible_brands", "encoder")


def suffix_for(source: Path) -> str:
    """The ending of a result beside its source: the source's own where it can be written."""
    return source.suffix if source.suffix.lower() in CONTAINERS else ".mkv"


def require_writable(target: Path) -> None:
    """Raises UserError for an ending that names no container, or one that keeps no times of frames, and where PyAV is missing."""
    _av()
    if target.suffix.lower() not in CONTAINERS:
        why = "AVI keeps no times of frames" if target.suffix.lower() == ".avi" else "not the ending of a clip"
        raise UserError(f"{target}: {why}: use one of {', '.join(CONTAINERS)}")


def enlarge_clip(
    model: upscale.Model,
    source: Path,
    target: Path,
    *,
    outscale: float | None = None,
    max_pixels: int = images.MAX_PIXELS,
    say: Callable[[str], None] | None = None,
    progress: Callable[[float, float | None], None] | None = None,
) -> tuple[str, ...]:
    """Upscales a clip to `target`, which appears whole or not at all; its ending names the container. Returns what changed, in plain words.

    Each frame goes through the model by itself, as 8-bit RGB, and keeps its time: a variable frame rate stays one. The time base is the
    source's (Matroska and WebM count milliseconds). Sound is copied packet by packet. A turned clip is turned upright; matrix, range,
    primaries and transfer of the colours are kept, and the shape of a pixel. Frames are encoded by libx264 (crf 18, yuv420p: its sides are
    even, and an odd result loses its last row or column), for WebM by libvpx-vp9. Memory: a few frames. `say`: notes of the model;
    `progress(done, of)` in seconds, `of` None where the file does not say how long it is.

    Raises UserError naming the file for one that is missing, no clip, without pictures, damaged, or of more than `max_pixels` a frame, for
    sound that the container cannot hold, and where PyAV is missing."""
    require_writable(target)
    if not source.is_file():
        raise UserError(f"{source}: no such file" if not source.exists() else f"{source}: is not a file")
    if source.stat().st_size == 0:
        raise UserError(f"{source}: the file is empty (0 bytes)")
    with open(source, "rb") as file:
        # As an open file, not by its name: libav would take a name such as "http:x" for an address.
        with _told(f"{source}: not a clip, or damaged"):
            clip = _av().open(file, options=_READ, metadata_errors="replace")
        with clip:
            return _enlarge(model, clip, source, target, outscale, max_pixels, say, progress)


def _enlarge(
    model: upscale.Model,
    clip: Any,
    source: Path,
    target: Path,
    outscale: float | None,
    max_pixels: int,
    say: Callable[[str], None] | None,
    progress: Callable[[float, float | None], None] | None,
) -> tuple[str, ...]:
    av = _av()
    pictures, notes = _pictures(clip, source)
    sound = [stream for stream in clip.streams.audio if stream.codec_context is not None]
    read = _read(clip, pictures, sound, source)
    before = list(_until_frame(read))  # the first frame tells size and colours, before anything can be written
    if not before or not isinstance(before[-1], av.VideoFrame):
        raise UserError(f"{source}: holds no picture that can be read")
    first = before[-1]
    images.require_pixels(first.width, first.height, source, max_pixels)
    if _depth(first) > 8:
        notes.append(f"{_depth(first)} bits reduced to 8")
    if any(component.is_alpha for component in first.format.components):
        notes.append("transparency left out")
    if first.rotation % 360:
        notes.append("turned upright")

    cannot = f"{target}: the clip cannot be written"
    duration = None if clip.duration is None else clip.duration / av.time_base
    start = (clip.start_time or 0) / av.time_base
    container = CONTAINERS[target.suffix.lower()]
    codec, options = _VP9 if container == "webm" else _H264
    # Before anything is written: the file begins with what the encoder is told here.
    if seams := upscale.seams_of(model, images.Photo(_upright(first)), say):
        notes.append(str(seams))
    made_of_first = _through(model, first, outscale, say)
    size = made_of_first.shape[:2]
    if size[0] % 2 or size[1] % 2:
        notes.append(f"{size[1]}×{size[0]} cut to even sides")
    last, end, lost = None, 0.0, 0
    with files.atomic_write(target) as result:
        out = av.open(result, "w", format=container)
        try:
            with _told(cannot):
                out.metadata.update({name: text for name, text in clip.metadata.items() if name not in _CONTAINERS_OWN})
                made = out.add_stream(codec, options=dict(options))
                _prepare(made, first, pictures, size[0] // 2 * 2, size[1] // 2 * 2)
            copies = {}
            for stream in sound:
                with _told(f"{target}: the sound ({stream.codec_context.name}) does not fit into {container}: use an .mkv file"):
                    copies[stream.index] = out.add_stream_from_template(stream)
                    copies[stream.index].metadata.update(_language_and_name(stream))
                    copies[stream.index].disposition = stream.disposition
            for item in itertools.chain(before, read):
                if not isinstance(item, av.VideoFrame):
                    end = max(end, _end(item) - start)
                    item.stream = copies[item.stream.index]
                    with _told(cannot):
                        out.mux(item)
                    continue
                if last is not None and item.pts <= last:  # no container takes two pictures at one time
                    lost += 1
                    continue
                pixels = made_of_first if item is first else _through(model, item, outscale, say)
                if size != pixels.shape[:2]:
                    raise UserError(f"{source}: the pictures change their size at {item.time:.3f} s: cut the clip there")
                last = item.pts
                end = max(end, item.time - start)
                with _told(cannot):
                    for packet in made.encode(_frame(pixels, item)):
                        out.mux(packet)
                if progress is not None:
                    progress(item.time - start, duration)
            with _told(cannot):
                for packet in made.encode(None):
                    out.mux(packet)
                out.close()
        finally:
            # After an error there is no whole clip to close; the first error counts.
            with contextlib.suppress(av.FFmpegError, OSError, ValueError):
                out.close()
    if lost:
        notes.append(f"{lost} frames that come at no later time than the one before left out")
    if duration is not None and end < duration * 0.95 - 1:
        notes.append(f"ends at {end:.1f} s of {duration:.1f}: the file may be cut off")
    return tuple(notes)


def _av() -> Any:
    try:
        import av
    except ImportError:
        raise UserError("clips need PyAV: pip install 'wildsr[video]'") from None
    return av


@contextlib.contextmanager
def _told(what: str) -> Iterator[None]:
    """libav's errors as a user's, who is told `what` and why."""
    av = _av()
    try:
        yield
    except (av.FFmpegError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{what} ({getattr(error, 'strerror', None) or str(error) or type(error).__name__})") from None


def _pictures(clip: Any, source: Path) -> tuple[Any, list[str]]:
    """The stream of moving pictures, and a note on what is left out."""
    cover = _av().stream.Disposition.attached_pic
    moving = [stream for stream in clip.streams.video if not stream.disposition & cover and stream.codec_context is not None]
    if not moving:
        raise UserError(f"{source}: holds no moving pictures")
    best = clip.streams.best("video")
    chosen = next((stream for stream in moving if best is not None and stream.index == best.index), moving[0])
    left = {stream.type for stream in clip.streams if stream.type not in ("video", "audio")}
    if len(moving) > 1:
        left.add("other video")
    return chosen, [f"left out: {', '.join(sorted(left))}"] if left else []


def _read(clip: Any, pictures: Any, sound: list[Any], source: Path) -> Iterator[Any]:
    """Frames and packets of sound, in the order of the file."""
    with _told(f"{source}: the clip is damaged"):
        for packet in clip.demux([pictures, *sound]):
            if packet.stream.index == pictures.index:
                for frame in packet.decode():
                    if frame.pts is None:
                        raise UserError(f"{source}: its frames have no times: put it into another container first")
                    yield frame
            elif packet.size:
                yield packet


def _language_and_name(stream: Any) -> dict[str, str]:
    """What a track says of itself; MP4 and Matroska call its name differently."""
    told = {"language": stream.metadata.get("language"), "title": stream.metadata.get("title") or stream.metadata.get("name")}
    return {name: text for name, text in told.items() if text}


def _until_frame(read: Iterator[Any]) -> Iterator[Any]:
    frame = _av().VideoFrame
    for item in read:
        yield item
        if isinstance(item, frame):
            return


def _depth(frame: Any) -> int:
    return max(component.bits for component in frame.format.components)


def _end(packet: Any) -> float:
    return float(((packet.pts or 0) + (packet.duration or 0)) * packet.time_base)


def _through(model: upscale.Model, frame: Any, outscale: float | None, say: Callable[[str], None] | None) -> np.ndarray:
    """A frame through the model: (H, W, 3), uint8, upright."""
    result = upscale.enlarge(model, images.Photo(_upright(frame)), outscale=outscale, say=say)
    return np.concatenate(list(result.rows))


def _upright(frame: Any) -> np.ndarray:
    told = {} if frame.colorspace == _RGB else {"src_colorspace": _matrix(frame)}
    return np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24", **told), frame.rotation // 90))


_RGB, _BT709, _UNTOLD, _BT601 = 0, 1, 2, 6
"""Matrices between RGB and YUV (ITU-T H.273)."""


def _matrix(frame: Any) -> int:
    """The matrix of a frame, which its result has too. Where none is told, the one that players take for its size: they would take another
    one for the larger result. RGB becomes BT.709."""
    if frame.colorspace == _UNTOLD:
        return _BT709 if frame.width >= 1280 or frame.height > 576 else _BT601
    return _BT709 if frame.colorspace == _RGB else int(frame.colorspace)


def _colours(frame: Any) -> dict[str, int]:
    """What a result says of its colours."""
    told = {name: int(getattr(frame, name)) for name in ("color_range", "color_primaries", "color_trc")}
    return {"colorspace": _matrix(frame), **told, **({"color_range": 1} if frame.colorspace == _RGB else {})}


def _prepare(made: Any, frame: Any, pictures: Any, height: int, width: int) -> None:
    """Tells the encoder of size, time base and colours, which it writes into the file."""
    context = made.codec_context
    made.width, made.height, made.pix_fmt = width, height, "yuv420p"
    made.time_base = context.time_base = frame.time_base
    if pictures.average_rate:
        context.framerate = pictures.average_rate
    shape = pictures.sample_aspect_ratio
    if shape:
        context.sample_aspect_ratio = 1 / shape if frame.rotation % 180 else shape
    for name, value in _colours(frame).items():
        setattr(context, name, value)


def _frame(pixels: np.ndarray, like: Any) -> Any:
    """The frame of a result, with the time and the colours of the frame that it was made of."""
    height, width = (side // 2 * 2 for side in pixels.shape[:2])
    rgb = _av().VideoFrame.from_ndarray(np.ascontiguousarray(pixels[:height, :width]), "rgb24")
    colours = _colours(like)
    made = rgb.reformat(format="yuv420p", dst_colorspace=colours["colorspace"], dst_color_range=colours["color_range"] or None)
    for name, value in colours.items():
        setattr(made, name, value)
    made.pts, made.duration, made.time_base = like.pts, like.duration, like.time_base
    return made
