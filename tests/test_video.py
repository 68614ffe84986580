"""Clips: frames, their times, sound and colours, against clips that are made here."""

import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from conftest import one_line

from wildsr import UserError, images, jobs, upscale, video

PTS = (0, 3000, 5000, 11000, 12000, 18000)
"""Times of six frames in 1/90000 s, no two alike in length."""

CODECS = {"mp4": ("mp4", "libx264", "aac"), "mov": ("mov", "libx264", "pcm_s16le"), "mkv": ("matroska", "libx264", "aac")} | {
    "webm": ("webm", "libvpx-vp9", "libopus"),
    "avi": ("avi", "mpeg4", "pcm_s16le"),
}


def frames_of(count: int, height: int, width: int) -> list[np.ndarray]:
    """Frames that differ from each other, and from themselves turned."""
    y, x = np.mgrid[:height, :width]
    return [
        np.stack([x * 160 // width + 40, y * 160 // height + 40, np.full_like(x, 60 + 25 * n)], -1).astype(np.uint8) for n in range(count)
    ]


def make(
    path: Path,
    *,
    size: tuple[int, int] = (16, 16),
    pts: tuple[int, ...] = PTS,
    base: Fraction = Fraction(1, 90000),
    sound: bool = True,
    turned: int = 0,
    colours: dict[str, int] | None = None,
) -> list[np.ndarray]:
    """Writes a clip with a sine for its sound; returns its frames as they were before encoding."""
    container, codec, audio = CODECS[path.suffix[1:].lower()]
    frames = frames_of(len(pts), *size)
    options = {"crf": "4", "b": "0"} if codec == "libvpx-vp9" else {"crf": "4"} if codec == "libx264" else {"qscale": "2"}
    with open(path, "wb") as file, av.open(file, "w", format=container) as out:
        out.metadata["title"] = "a clip"
        pictures: Any = out.add_stream(codec, rate=30, options=options)
        pictures.width, pictures.height, pictures.pix_fmt = size[1], size[0], "yuv420p"
        pictures.codec_context.time_base = base
        if turned:
            pictures.set_display_rotation(turned)
        for name, value in (colours or {}).items():
            setattr(pictures.codec_context, name, value)
        voice: Any = out.add_stream(audio, rate=48000, layout="mono") if sound else None
        for pixels, time in zip(frames, pts, strict=True):
            frame: Any = av.VideoFrame.from_ndarray(pixels, "rgb24")
            frame = frame.reformat(format="yuv420p", dst_colorspace=(colours or {}).get("colorspace"))
            for name, value in (colours or {}).items():
                setattr(frame, name, value)
            frame.pts, frame.time_base = time, base
            out.mux(pictures.encode(frame))
        if voice is not None:
            sine = (0.3 * np.sin(np.arange(9600) / 20)).astype(np.float32)
            for start in range(0, 9600, 960):
                piece: Any = av.AudioFrame.from_ndarray(sine[None, start : start + 960], format="fltp", layout="mono")
                piece.sample_rate, piece.pts, piece.time_base = 48000, start, Fraction(1, 48000)
                out.mux(voice.encode(piece))
            out.mux(voice.encode(None))
        out.mux(pictures.encode(None))
    return frames


def pictures_of(path: Path) -> list[Any]:
    with av.open(str(path)) as clip:
        return list(clip.decode(video=0))


def times(path: Path) -> list[Fraction]:
    return [frame.pts * frame.time_base for frame in pictures_of(path)]


def sound_of(path: Path) -> list[tuple[Fraction, bytes]]:
    with av.open(str(path)) as clip:
        packets: list[Any] = list(clip.demux(audio=0))
        return [(packet.pts * packet.time_base, bytes(packet)) for packet in packets if packet.size]


def pixels_of(path: Path) -> list[np.ndarray]:
    return [frame.to_ndarray(format="rgb24").astype(int) for frame in pictures_of(path)]


def samples(frame: Any, plane: int) -> np.ndarray:
    """One plane of a frame, without what fills its lines up."""
    part = frame.planes[plane]
    return np.frombuffer(part, np.uint8).reshape(part.height, part.line_size)[:, : part.width]


def grown(pixels: np.ndarray, factor: int = 4) -> np.ndarray:
    return pixels.repeat(factor, 0).repeat(factor, 1).astype(int)


@pytest.fixture
def nearest(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A model that repeats every pixel, four times or as `outscale` says."""

    def enlarge(model: Any, photo: images.Photo, *, outscale: float | None = None, **_: Any) -> upscale.Enlarged:
        height, width, channels = photo.pixels.shape
        factor = outscale or 4
        rows, columns = (np.arange(round(side * factor)) * side // round(side * factor) for side in (height, width))
        pixels = photo.pixels[rows][:, columns]
        return upscale.Enlarged(*pixels.shape[:2], channels, "uint8", photo.meta, iter([pixels[:7], pixels[7:]]))

    monkeypatch.setattr(upscale, "enlarge", enlarge)
    monkeypatch.setattr(upscale, "seams_of", lambda *_: None)


@pytest.mark.parametrize(
    ("source", "target"),
    [("a.mp4", "b.mp4"), ("a.mov", "b.mov"), ("a.mkv", "b.mkv"), ("a.webm", "b.webm"), ("a.mp4", "b.mov"), ("a.webm", "b.mkv")],
)
def test_frames_times_and_sound(nearest, tmp_path, source, target):
    frames = make(tmp_path / source)
    seen: list[tuple[float, float | None]] = []
    notes = video.enlarge_clip(None, tmp_path / source, tmp_path / target, progress=lambda *at: seen.append(at))  # pyright: ignore
    assert notes == ()
    assert times(tmp_path / target) == times(tmp_path / source)
    assert len(times(tmp_path / target)) == 6
    got = pixels_of(tmp_path / target)
    assert [pixels.shape for pixels in got] == [(64, 64, 3)] * 6
    for pixels, before in zip(got, frames, strict=True):
        assert np.abs(pixels - grown(before)).mean() < 6
        assert np.abs(pixels - grown(before[::-1])).mean() > 15
    was, now = sound_of(tmp_path / source), sound_of(tmp_path / target)
    assert b"".join(data for _, data in now) == b"".join(data for _, data in was)
    if not source.endswith(".mov"):  # plain samples are cut into packets by who reads them
        assert [data for _, data in now] == [data for _, data in was]
        assert [float(time) for time, _ in now] == pytest.approx([float(time) for time, _ in was], abs=1 / 1000)
    with av.open(str(tmp_path / target)) as clip:
        assert clip.metadata["title"] == "a clip"
    assert [round(done * 90000 / 90) for done, _ in seen] == pytest.approx([time / 90 for time in PTS], abs=1)
    assert all(of is not None and 0.2 <= of < 0.25 for _, of in seen)


def test_two_frames_at_one_time_are_one(nearest, tmp_path, monkeypatch):
    make(tmp_path / "a.mp4", sound=False)
    read = video._read

    def doubled(*arguments: Any) -> Any:
        for frame in read(*arguments):
            yield frame
            if frame.pts == PTS[2]:
                yield frame

    monkeypatch.setattr(video, "_read", doubled)
    notes = video.enlarge_clip(None, tmp_path / "a.mp4", tmp_path / "b.mp4")  # pyright: ignore[reportArgumentType]
    assert notes == ("1 frames that come at no later time than the one before left out",)
    assert times(tmp_path / "b.mp4") == times(tmp_path / "a.mp4")


def test_the_time_base_is_the_sources(nearest, tmp_path):
    pts = (7, 8, 11)
    make(tmp_path / "a.mp4", pts=pts, base=Fraction(1001, 30000), sound=False)
    video.enlarge_clip(None, tmp_path / "a.mp4", tmp_path / "b.mp4")  # pyright: ignore[reportArgumentType]
    assert times(tmp_path / "b.mp4") == times(tmp_path / "a.mp4")
    with av.open(str(tmp_path / "a.mp4")) as before, av.open(str(tmp_path / "b.mp4")) as after:
        assert before.streams.video[0].time_base == after.streams.video[0].time_base


def test_avi_is_read_and_becomes_matroska(nearest, tmp_path):
    frames = make(tmp_path / "a.avi", pts=tuple(range(6)), base=Fraction(1, 30))
    video.enlarge_clip(None, tmp_path / "a.avi", tmp_path / "a.mkv")  # pyright: ignore[reportArgumentType]
    assert [float(time) for time in times(tmp_path / "a.mkv")] == pytest.approx(
        [float(time) for time in times(tmp_path / "a.avi")], abs=1e-3
    )
    assert [data for _, data in sound_of(tmp_path / "a.mkv")] == [data for _, data in sound_of(tmp_path / "a.avi")]
    assert np.abs(pixels_of(tmp_path / "a.mkv")[5] - grown(frames[5])).mean() < 8


@pytest.mark.parametrize("turned", [90, 180, -90])
def test_turned_clips_are_turned_upright(nearest, tmp_path, turned):
    """As libav means it: the angle by which a frame is to be turned against the clock."""
    frames = make(tmp_path / "a.mp4", size=(16, 32), turned=turned, sound=False)
    assert video.enlarge_clip(None, tmp_path / "a.mp4", tmp_path / "b.mp4") == ("turned upright",)  # pyright: ignore[reportArgumentType]
    assert {frame.rotation for frame in pictures_of(tmp_path / "b.mp4")} == {0}
    for pixels, before in zip(pixels_of(tmp_path / "b.mp4"), frames, strict=True):
        assert np.abs(pixels - grown(np.rot90(before, turned // 90))).mean() < 6


def test_odd_sizes_lose_a_row_and_a_column(nearest, tmp_path):
    frames = make(tmp_path / "a.mkv", size=(18, 22), sound=False)
    notes = video.enlarge_clip(None, tmp_path / "a.mkv", tmp_path / "b.mkv", outscale=1.5)  # pyright: ignore[reportArgumentType]
    assert notes == ("33×27 cut to even sides",)
    got = pixels_of(tmp_path / "b.mkv")[0]
    assert got.shape == (26, 32, 3)
    rows, columns = np.arange(26) * 18 // 27, np.arange(32) * 22 // 33
    assert np.abs(got - frames[0].astype(int)[rows][:, columns]).mean() < 8


@pytest.mark.parametrize(("width", "matrix"), [(96, 6), (1280, 1)])
def test_colours_that_are_not_told_are_those_of_the_clip_s_own_size(nearest, tmp_path, width, matrix):
    """A player guesses them by the size, and the result is of another one."""
    make(tmp_path / "a.mp4", size=(16, width), pts=(0, 3000), sound=False)
    video.enlarge_clip(None, tmp_path / "a.mp4", tmp_path / "b.mp4")  # pyright: ignore[reportArgumentType]
    before, after = (pictures_of(tmp_path / name)[0] for name in ("a.mp4", "b.mp4"))
    assert (int(before.colorspace), int(after.colorspace)) == (2, matrix)
    for plane in range(3):
        assert samples(before, plane).mean() == pytest.approx(samples(after, plane).mean(), abs=2.5)


@pytest.mark.parametrize("target", ["b.mp4", "b.webm"])
def test_clips_of_rgb_become_yuv(nearest, tmp_path, target):
    red = np.zeros((64, 64, 3), np.uint8) + np.array([200, 40, 40], np.uint8)
    with av.open(str(tmp_path / "a.mkv"), "w") as out:
        stream: Any = out.add_stream("libx264rgb", rate=25, options={"crf": "4"})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "rgb24"
        frame: Any = av.VideoFrame.from_ndarray(red, "rgb24")
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    assert video.enlarge_clip(None, tmp_path / "a.mkv", tmp_path / target) == ()  # pyright: ignore[reportArgumentType]
    (made,) = pictures_of(tmp_path / target)
    assert (made.format.name, int(made.colorspace), int(made.color_range)) == ("yuv420p", 1, 1)
    assert np.abs(made.to_ndarray(format="rgb24").mean((0, 1)) - (200, 40, 40)).max() < 4


def test_transparency_is_left_out_and_that_is_said(nearest, tmp_path):
    with av.open(str(tmp_path / "a.mov"), "w") as out:
        stream: Any = out.add_stream("qtrle", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "argb"
        frame: Any = av.VideoFrame.from_ndarray(np.full((64, 64, 4), 90, np.uint8), "rgba")
        out.mux(stream.encode(frame.reformat(format="argb")))
        out.mux(stream.encode(None))
    assert video.enlarge_clip(None, tmp_path / "a.mov", tmp_path / "b.mov") == ("transparency left out",)  # pyright: ignore


def test_tracks_of_sound_keep_their_language_and_their_name(nearest, tmp_path):
    make(tmp_path / "plain.mkv")
    with av.open(str(tmp_path / "plain.mkv")) as plain, av.open(str(tmp_path / "a.mkv"), "w") as out:
        copies = {stream.index: out.add_stream_from_template(stream) for stream in (plain.streams.video[0], plain.streams.audio[0])}
        copies[1].metadata.update({"language": "deu", "title": "Ton"})
        for packet in plain.demux():
            if packet.size:
                packet.stream = copies[packet.stream.index]
                out.mux(packet)
    video.enlarge_clip(None, tmp_path / "a.mkv", tmp_path / "b.mkv")  # pyright: ignore[reportArgumentType]
    with av.open(str(tmp_path / "b.mkv")) as clip:
        told = clip.streams.audio[0].metadata
        assert (told["language"], told["title"]) == ("deu", "Ton")


@pytest.mark.parametrize("colours", [{}, {"colorspace": 1, "color_range": 1, "color_primaries": 1, "color_trc": 1}, {"colorspace": 6}])
def test_colours_stay_what_they_are(nearest, tmp_path, colours):
    make(tmp_path / "a.mp4", colours=colours, sound=False)
    video.enlarge_clip(None, tmp_path / "a.mp4", tmp_path / "b.mp4")  # pyright: ignore[reportArgumentType]
    untold = {} if colours else {"colorspace": 6, "color_range": 1}
    for before, after in zip(pictures_of(tmp_path / "a.mp4"), pictures_of(tmp_path / "b.mp4"), strict=True):
        for name in ("colorspace", "color_range", "color_primaries", "color_trc"):
            assert int(getattr(after, name)) == untold.get(name, int(getattr(before, name))), name
        for plane in range(3):  # the samples themselves, before any matrix
            means = [samples(frame, plane).mean() for frame in (before, after)]
            assert means[0] == pytest.approx(means[1], abs=2.5)


def test_a_clip_that_is_cut_off_is_said(nearest, tmp_path):
    make(tmp_path / "a.mkv", pts=tuple(90_000 * n for n in range(40)), sound=False)
    data = (tmp_path / "a.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: len(data) // 2])
    notes = video.enlarge_clip(None, tmp_path / "cut.mkv", tmp_path / "b.mkv")  # pyright: ignore[reportArgumentType]
    assert len(notes) == 1
    assert "the file may be cut off" in notes[0]
    assert times(tmp_path / "b.mkv") == times(tmp_path / "cut.mkv")
    assert video.enlarge_clip(None, tmp_path / "a.mkv", tmp_path / "b.mkv") == ()  # pyright: ignore[reportArgumentType]


def test_what_tiles_cost_is_noted(nearest, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(upscale, "seams_of", lambda model, photo, say: seen.append(photo.pixels.shape) or upscale.Seams(0.01, 8, 16, 20))
    make(tmp_path / "a.mp4", size=(16, 32), turned=90, sound=False)
    notes = video.enlarge_clip(None, tmp_path / "a.mp4", tmp_path / "b.mp4")  # pyright: ignore[reportArgumentType]
    assert notes == ("turned upright", str(upscale.Seams(0.01, 8, 16, 20)))
    assert seen == [(32, 16, 3)]


# ------------------------------------------------------------------------------------------------------------------- the verb


def test_the_verb(wildsr, model, tmp_path):
    make(tmp_path / "a.mp4")
    make(tmp_path / "b.MKV", sound=False)
    status, out, err = wildsr("upscale", tmp_path / "a.mp4", tmp_path / "b.MKV", "--model", model, "--device", "cpu")
    assert status == 0, err
    assert out.splitlines() == [f"{tmp_path}/a.mp4 -> {tmp_path}/a_x4.mp4", f"{tmp_path}/b.MKV -> {tmp_path}/b_x4.MKV"]
    assert times(tmp_path / "a_x4.mp4") == times(tmp_path / "a.mp4")
    assert sound_of(tmp_path / "a_x4.mp4") == sound_of(tmp_path / "a.mp4")
    net = upscale.load(model, device="cpu")
    for before, after in zip(pixels_of(tmp_path / "a.mp4"), pixels_of(tmp_path / "a_x4.mp4"), strict=True):
        result = upscale.enlarge(net, images.Photo(before.astype(np.uint8)))
        assert np.abs(np.concatenate(list(result.rows)) - after).mean() < 25  # yuv420p halves the colour of a noisy picture
    status, out, _ = wildsr("upscale", tmp_path / "a.mp4", "--model", model)
    assert out.strip() == "1 already there, skipped: --overwrite redoes it"


def test_options_of_pictures_are_kept_or_refused(wildsr, model, tmp_path):
    make(tmp_path / "a.mp4")
    status, _, err = wildsr("upscale", tmp_path / "a.mp4", "--model", model, "--max-pixels=100")
    assert status == 2
    assert "more than the bound of 100" in one_line(err)
    status, _, err = wildsr("upscale", tmp_path / "a.mp4", "--model", model, "--alpha=model")
    assert status == 2
    assert "--alpha model is for pictures" in one_line(err)
    assert [path.name for path in tmp_path.glob("a*")] == ["a.mp4"]


def bad_clips(folder: Path) -> dict[str, str]:
    make(folder / "whole.mp4")
    data = (folder / "whole.mp4").read_bytes()
    (folder / "half.mp4").write_bytes(data[: len(data) // 2])
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "text.mkv").write_text("no clip\n" * 100)
    (folder / "list.mp4").write_text(f"#EXTM3U\n#EXTINF:1,\n{folder / 'whole.mp4'}\n")
    (folder / "others.mp4").write_text("ffconcat version 1.0\nfile whole.mp4\n")
    with av.open(str(folder / "sound.mkv"), "w") as out:
        voice: Any = out.add_stream("aac", rate=48000, layout="mono")
        piece: Any = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        piece.sample_rate = 48000
        out.mux(voice.encode(piece))
        out.mux(voice.encode(None))
    return {
        "half.mp4": "not a clip, or damaged",
        "empty.mp4": "the file is empty (0 bytes)",
        "text.mkv": "not a clip, or damaged",
        "list.mp4": "not a clip, or damaged",
        "others.mp4": "not a clip, or damaged",  # libav would open the files that such a list names
        "sound.mkv": "holds no moving pictures",
        "none.mp4": "no such file",
    }


def test_bad_clips_are_a_line_each_and_the_rest_goes_on(nearest, wildsr, model, tmp_path):
    bad = bad_clips(tmp_path)
    status, _, err = wildsr(
        "upscale", *(tmp_path / name for name in bad), tmp_path / "whole.mp4", "--model", model, "--out", tmp_path / "up"
    )
    assert status == 3
    lines = err.strip().splitlines()
    assert len(lines) == len(bad)
    for line, (name, message) in zip(lines, bad.items(), strict=True):
        assert line.startswith(f"wildsr: {tmp_path / name}: {message}")
    assert [path.name for path in (tmp_path / "up").iterdir()] == ["whole.mp4"]


def test_a_clip_damaged_in_its_middle_leaves_nothing(nearest, tmp_path):
    make(tmp_path / "a.mp4", size=(64, 64), sound=False)
    data = bytearray((tmp_path / "a.mp4").read_bytes())
    start = data.index(b"mdat") + 4
    for place in range(start, data.index(b"moov") - 4):
        data[place] ^= 0xA5
    (tmp_path / "bad.mp4").write_bytes(data)
    with pytest.raises(UserError, match=r"bad\.mp4: (the clip is damaged|holds no picture)"):
        video.enlarge_clip(None, tmp_path / "bad.mp4", tmp_path / "up" / "b.mp4")  # pyright: ignore[reportArgumentType]
    assert not list(tmp_path.glob("up/*"))


@pytest.mark.parametrize("error", [UserError("spoilt"), KeyboardInterrupt()])
def test_what_fails_half_way_leaves_nothing(nearest, tmp_path, monkeypatch, error):
    make(tmp_path / "a.mp4")
    whole, calls = upscale.enlarge, []

    def failing(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 4:
            raise error
        return whole(*arguments, **options)

    monkeypatch.setattr(upscale, "enlarge", failing)
    with pytest.raises(type(error)):
        video.enlarge_clip(None, tmp_path / "a.mp4", tmp_path / "up" / "b.mp4")  # pyright: ignore[reportArgumentType]
    assert not list((tmp_path / "up").iterdir())


def test_sound_that_does_not_fit_is_said_and_nothing_is_written(nearest, tmp_path):
    make(tmp_path / "a.mp4")
    with pytest.raises(UserError, match=r"b\.webm: .*webm.*(\.mkv|cannot be written)"):
        video.enlarge_clip(None, tmp_path / "a.mp4", tmp_path / "b.webm")  # pyright: ignore[reportArgumentType]
    assert not list(tmp_path.glob("*b.webm*"))


@pytest.mark.parametrize("name", [b"http:x.mp4", b"two\nlines \xff.mp4", b"%03d.mp4"])
def test_any_file_name_is_a_file_name(nearest, model, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "a.mp4", sound=False)
    source = Path(name.decode(errors="surrogateescape"))
    (tmp_path / "a.mp4").rename(source)
    told: list[str] = []
    found = jobs.upscale_files([source], [model], device="cpu", say=told.append)
    assert (found.failed, len(found.done)) == ((), 1)
    one_line("wildsr: " + told[0])
    assert found.done[0].stat().st_size > 500


def test_without_pyav_the_extra_is_named(wildsr, model, tmp_path, monkeypatch):
    make(tmp_path / "a.mp4")
    monkeypatch.setitem(sys.modules, "av", None)
    status, _, err = wildsr("upscale", tmp_path / "a.mp4", "--model", model)
    assert status == 2
    assert "pip install 'wildsr[video]'" in one_line(err)
