"""Upscaling files: names, trees, what is skipped and refused, pipes, and work in several threads."""

import io
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from conftest import one_line, photograph
from PIL import Image

from wildsr import UserError, cli, images, jobs, upscale


def save(path: Path, side: int = 12, seed: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    photograph(side, seed).save(path)
    return path


def tree(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}


def size(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        return picture.size


def planned(inputs: list[Any], out: Any = None, **options: Any) -> list[tuple[str, str]]:
    """(input, result) of a start that computes nothing: names alone."""
    from wildsr.jobs.upscaling.plan import plan

    works = plan(inputs, out, *(options.pop(name, None) for name in ("format", "suffix", "quality")), options.pop("scale", 4))
    assert not options
    return [(work.name, "-" if work.target is None else str(work.target)) for work in works]


# ------------------------------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({}, "a_x4.png"),
        ({"scale": 2.5}, "a_x2.5.png"),
        ({"scale": 3.0}, "a_x3.png"),
        ({"suffix": "-large"}, "a-large.png"),
        ({"suffix": ""}, "a.png"),
        ({"format": "jpeg"}, "a_x4.jpg"),
        ({"format": "tiff", "suffix": "_t"}, "a_t.tif"),
        ({"format": "webp"}, "a_x4.webp"),
        ({"format": "same"}, "a_x4.JPG"),
        ({"out": "up"}, "up/a.png"),
        ({"out": "up", "suffix": "_x4"}, "up/a_x4.png"),
        ({"out": "up", "format": "same"}, "up/a.JPG"),
        ({"out": "up/b.webp"}, "up/b.webp"),
        ({"out": "up/b.tiff", "format": "tiff"}, "up/b.tiff"),
        ({"out": "up/b.png/"}, "up/b.png/a.png"),
        ({"out": "-"}, "-"),
    ],
)
def test_names(tmp_path, monkeypatch, options, name):
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "a.JPG")
    assert planned(["a.JPG"], **options) == [("a.JPG", name)]


def test_an_existing_folder_is_one_whatever_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "up.png").mkdir()
    assert planned(["a.jpg", "b.jpg"], "up.png") == [("a.jpg", "up.png/a.png"), ("b.jpg", "up.png/b.png")]


def test_folders_keep_their_trees_and_hidden_files_stay_out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("in/a.png", "in/below/deep/a.jpg", "in/.hidden.png", "in/.cache/b.png", "c.png"):
        save(tmp_path / name)
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    beside = [("in/a.png", "in/a_x4.png"), ("in/below/deep/a.jpg", "in/below/deep/a_x4.png"), ("c.png", "c_x4.png")]
    assert planned(["in", "c.png"]) == beside
    out = [("in/a.png", "up/a.png"), ("in/below/deep/a.jpg", "up/below/deep/a.png"), ("c.png", "up/c.png")]
    assert planned(["in", "c.png"], "up") == out


def test_floats_become_tiff_by_default_and_other_tiffs_png(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("float.tif", np.zeros((4, 4, 3), np.float32), photometric="rgb")
    tifffile.imwrite("bytes.tif", np.zeros((4, 4, 3), np.uint8), photometric="rgb")
    Path("torn.tif").write_bytes(Path("float.tif").read_bytes()[:6])
    names = [target for _, target in planned(["float.tif", "bytes.tif", "torn.tif"], "up")]
    assert names == ["up/float.tif", "up/bytes.png", "up/torn.png"]


def test_an_input_given_twice_is_done_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "in" / "a.png")
    assert planned(["in", "in/a.png", "./in/a.png"]) == [("in/a.png", "in/a_x4.png")]


def test_results_of_an_earlier_start_are_no_inputs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("in/a.png", "in/a_x4.png", "in/b_x4.png", "in/up/a.png", "in/up/deep/c.png"):
        save(tmp_path / name)
    kept = ["in/a.png", "in/b_x4.png"]
    assert [source for source, _ in planned(["in"])] == [*kept, "in/up/a.png", "in/up/deep/c.png"]
    assert [source for source, _ in planned(["in"], "in/up")] == kept
    with pytest.raises(UserError, match=r"in/a_x4\.png is one of the inputs and would be overwritten"):
        planned(["in/a.png", "in/a_x4.png"])


def test_results_of_other_options_are_no_inputs_and_that_is_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("in/a.jpg", "in/a_x4.png", "in/a_x2.5.jpg", "in/b_x4.png", "in/up/a_x3.png"):
        save(tmp_path / name)
    from wildsr.jobs.upscaling.plan import plan

    said: list[str] = []
    for options in (("jpeg", None, None, 4), (None, "_big", None, 4), (None, None, None, 2)):
        works = plan(["in"], None, *options, said.append)
        assert [str(work.source) for work in works] == ["in/a.jpg", "in/b_x4.png", "in/up/a_x3.png"]
    assert said == ["2 results of an earlier start left out, by the name: in/a_x2.5.jpg ..."] * 3
    works = plan(["in"], "large", None, None, None, 4, said.append)
    assert [str(work.source) for work in works] == ["in/a.jpg", "in/b_x4.png", "in/up/a_x3.png"]
    assert len(said) == 4
    named = plan(["in/a.jpg", "in/a_x4.png"], None, "jpeg", None, None, 4, said.append)
    assert len(named) == 2, "what is named is wanted"


def test_clips_keep_their_container_where_it_can_be_written():
    assert planned(["a.mp4", "b.MKV", "c.avi"]) == [("a.mp4", "a_x4.mp4"), ("b.MKV", "b_x4.MKV"), ("c.avi", "c_x4.mkv")]
    assert planned(["a.mp4"], "b.webm") == [("a.mp4", "b.webm")]
    assert planned(["a.mp4", "a.png"], "up") == [("a.mp4", "up/a.mp4"), ("a.png", "up/a.png")]


@pytest.mark.parametrize(
    ("inputs", "options", "message"),
    [
        (["in"], {"out": "in"}, "in/a.jpg and in/a.png would both be written|in/a.png is one of the inputs"),
        (["in/a.png"], {"suffix": ""}, "in/a.png is one of the inputs and would be overwritten"),
        (["in/a.png"], {"out": "in/a.png"}, "would be overwritten"),
        (["in/a.png"], {"out": "other/../in/A.PNG"}, "would be overwritten"),
        (["in/a.png"], {"out": "link/a.png"}, "would be overwritten"),
        (["in/a.jpg", "in/a.png"], {"out": "up"}, "in/a.jpg and in/a.png would both be written to up/a.png: rename one"),
        (["in/a.png", "other/A.png"], {"out": "up"}, "in/a.png and other/A.png would both be written to up/A.png"),
        (["in"], {"out": "b.png"}, "takes the result of one file, and there is a folder"),
        (["in/a.png", "in/a.jpg"], {"out": "b.png"}, "takes the result of one file, and there is 2 inputs"),
        (["in/a.png", "in/a.jpg"], {"out": "-"}, "--out - takes the result of one file"),
        (["in/a.png"], {"out": "b.gif"}, r"--out b.gif: .gif cannot be written: use png, jpeg"),
        (["in/a.png"], {"out": "b.jpg", "format": "png"}, "--out b.jpg is jpeg, and --format png is not"),
        (["in/a.png"], {"out": "b.jpg", "format": "same"}, "--out b.jpg is jpeg, and --format same is not"),
        (["in/a.png"], {"out": "b.jpg", "suffix": "_s"}, "is the whole name already"),
        (["moving.gif"], {"format": "same"}, r"moving.gif: --format same, and .gif cannot be written: use png, jpeg"),
        (["-"], {"quality": 90}, "quality = 90: png keeps every pixel and has none: use --format jpeg"),
        (["in/a.png"], {"out": "notes.txt"}, "--out notes.txt is a file: name a folder"),
        (["in/a.png"], {"quality": 90}, "quality = 90: png keeps every pixel and has none: use --format jpeg"),
        (["-", "-"], {}, "standard input can be read once"),
        (["-"], {"out": "up"}, "standard input has no name to be given in up"),
        (["a.mp4"], {"out": "b.png"}, "a.mp4 is a clip, and --out b.png a picture"),
        (["in/a.png"], {"out": "b.mp4"}, "--out b.mp4 is a clip, and in/a.png a picture"),
        (["a.mp4"], {"out": "-"}, "a clip does not go to standard output"),
        (["a.mp4"], {"out": "b.avi"}, "AVI keeps no times of frames"),
        (["a.mp4"], {"format": "png"}, "--format and --quality are for pictures"),
        (["empty"], {}, "empty: holds no picture"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(tmp_path, monkeypatch, inputs, options, message):
    monkeypatch.chdir(tmp_path)
    for name in ("in/a.png", "in/a.jpg", "other/A.png"):
        save(tmp_path / name)
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "link").symlink_to("in")
    with pytest.raises(UserError, match=message):
        planned(inputs, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--format", "pgn"], "unknown format 'pgn': did you mean 'png'"),
        (["--alpha", "modell"], "unknown alpha 'modell': did you mean 'model'"),
        (["--suffix", "a/b"], "suffix = 'a/b'"),
        (["--quality", "0"], "quality = 0: use 1 to 100"),
        (["--jobs", "0"], "jobs = 0: use 1 or more"),
        (["--outscale", "0"], "outscale = 0"),
        (["--outscale", "inf"], "outscale = inf"),
        (["--max-pixels", "0"], "max-pixels = 0"),
        (["--blend", "0.5"], "blend = 0.5: give a second --model"),
        (["--model", "b"], "two models: add --blend 0.5"),
        (["--model", "b", "--blend", "2"], "blend = 2"),
        (["--model", "b", "--model", "c"], "3 models"),
    ],
)
def test_options_that_cannot_be_are_refused_in_one_line(wildsr, tmp_path, options, message):
    status, out, err = wildsr("upscale", save(tmp_path / "a.png"), "--model", tmp_path / "no", *options)
    assert (status, out) == (2, "")
    assert message in one_line(err)


# ------------------------------------------------------------------------------------------------------------------- done and skipped


def test_what_is_there_is_skipped_and_redone_on_request(wildsr, model, tmp_path):
    for name in ("in/a.png", "in/b.png", "in/below/c.png"):
        save(tmp_path / name)
    command = ["upscale", tmp_path / "in", "--model", model, "--out", tmp_path / "up"]
    status, out, err = wildsr(*command)
    assert status == 0, err
    assert tree(tmp_path / "up") == {"a.png", "b.png", "below/c.png"}
    assert [line.split(" -> ")[1] for line in out.splitlines()] == [str(tmp_path / "up" / n) for n in ("a.png", "b.png", "below/c.png")]
    assert size(tmp_path / "up" / "below" / "c.png") == (48, 48)
    (tmp_path / "up" / "b.png").unlink()
    (tmp_path / "up" / "a.png").write_bytes(b"mine")
    status, out, err = wildsr(*command)
    assert status == 0, err
    assert out.splitlines() == [
        f"{tmp_path}/in/b.png -> {tmp_path}/up/b.png",
        "2 already there, skipped: --overwrite redoes them",
    ]
    assert (tmp_path / "up" / "a.png").read_bytes() == b"mine"
    status, out, _ = wildsr(*command, "--overwrite")
    assert (status, len(out.splitlines())) == (0, 3)
    assert size(tmp_path / "up" / "a.png") == (48, 48)


def test_a_folder_upscaled_in_place_again_is_done(wildsr, model, tmp_path):
    save(tmp_path / "a.png")
    for expected in (f"{tmp_path}/a.png -> {tmp_path}/a_x4.png", "1 already there, skipped: --overwrite redoes it"):
        status, out, err = wildsr("upscale", tmp_path, "--model", model)
        assert (status, out.strip()) == (0, expected), err
        assert tree(tmp_path) == {"a.png", "a_x4.png"}


def test_from_python(model, tmp_path):
    a, torn = save(tmp_path / "a.png"), tmp_path / "torn.png"
    torn.write_bytes(a.read_bytes()[:200])
    told: list[str] = []
    found = jobs.upscale_files([a, torn], [model], tmp_path / "up", outscale=2.5, device="cpu", say=told.append)
    assert (found.done, found.skipped) == ((tmp_path / "up" / "a.png",), ())
    assert len(found.failed) == 1
    assert found.failed[0].startswith(f"{torn}: ")
    assert told == [f"{a} -> {tmp_path / 'up' / 'a.png'}"]
    assert size(tmp_path / "up" / "a.png") == (30, 30)
    again = jobs.upscale_files([a], [model], tmp_path / "up", device="cpu")
    assert (again.done, again.skipped, again.failed) == ((), found.done, ())


@pytest.mark.parametrize("form", ["png", "jpeg", "webp", "tiff", "bmp"])
def test_every_format_comes_from_the_same_pixels(model, tmp_path, form):
    a = save(tmp_path / "a.png", 20)
    found = jobs.upscale_files([a], [model], tmp_path / "up", format=form, quality=95 if form == "jpeg" else None, device="cpu")
    assert not found.failed
    want = upscale.enlarge(upscale.load(model, device="cpu", precision="auto"), images.read_photo(a))
    want = np.concatenate(list(want.rows))
    with Image.open(found.done[0]) as written:
        assert (written.format or "").lower() == form
        difference = np.abs(np.array(written).astype(int) - want)
        assert difference.max() == 0 if form in ("png", "tiff", "bmp") else difference.mean() < 20


def test_what_a_format_cannot_hold_is_refused_and_nothing_is_written(wildsr, model, tmp_path):
    Image.new("RGBA", (8, 8), (1, 2, 3, 100)).save(tmp_path / "clear.png")
    status, _, err = wildsr("upscale", tmp_path / "clear.png", save(tmp_path / "a.png"), "--model", model, "--format", "jpeg")
    assert status == 3
    assert "clear.png: " in one_line(err)
    assert "png" in err.split("clear.png: ")[1]
    assert tree(tmp_path) == {"a.png", "clear.png", "a_x4.jpg"}


def test_no_work_is_done_for_a_picture_that_cannot_be_written(model, tmp_path, monkeypatch):
    def rows() -> Iterator[np.ndarray]:
        raise AssertionError("computed")
        yield

    Image.new("RGBA", (8, 8)).save(tmp_path / "clear.png")
    monkeypatch.setattr(upscale, "enlarge", lambda model, photo, **_: upscale.Enlarged(32, 32, 4, "uint8", photo.meta, rows()))
    assert len(jobs.upscale_files([tmp_path / "clear.png"], [model], format="jpeg", device="cpu").failed) == 1


def test_notes_stand_in_brackets(model, tmp_path, monkeypatch):
    a = save(tmp_path / "a.png")
    photo = images.Photo(np.zeros((4, 4, 3), np.uint8), format="png", notes=("first of 12 frames", "odd"))
    monkeypatch.setattr(images, "read_photo", lambda *_, **__: photo)
    told: list[str] = []
    jobs.upscale_files([a], [model], device="cpu", say=told.append)
    assert told == [f"{a} -> {tmp_path / 'a_x4.png'} [first of 12 frames; odd]"]


NAMES = [
    b"with spaces.png",
    b"'quoted' \"twice\".png",
    b"two\nlines.png",
    b"not \xff utf-8.png",
    "日本 é.png".encode(),
    b"-.png",
    b"[red]a.png",
]


def test_any_file_name_works_and_is_printed_on_one_line(wildsr, model, tmp_path):
    folder = os.fsencode(tmp_path / "in")
    os.mkdir(folder)
    for name in NAMES:
        with open(os.path.join(folder, name), "wb") as file:
            photograph(6, 1).save(file, "PNG")
    with open(os.path.join(folder, b"bro\nken \xfe.png"), "wb") as file:
        file.write(b"no picture")
    status, out, err = wildsr("upscale", os.fsdecode(folder), "--model", model, "--out", tmp_path / "up", "--device", "cpu")
    assert status == 3
    assert sorted(os.listdir(os.fsencode(tmp_path / "up"))) == sorted(NAMES)
    assert len(out.splitlines()) == len(NAMES)
    for shown in ("with spaces", "two\\nlines", "not \\xff utf-8", "日本 é", "[red]a"):
        assert f"/{shown}.png" in out
    assert "bro\\nken \\xfe.png: not a picture" in one_line(err)


def test_a_name_that_is_too_long_costs_its_own_picture_alone(wildsr, model, tmp_path):
    names = ["a" * 251, "写" * 80, "ok"]
    for name in names:
        save(tmp_path / "in" / f"{name}.png")
    status, out, err = wildsr("upscale", tmp_path / "in", "--model", model)
    assert status == 3
    assert "_x4.png: File name too long" in one_line(err)
    assert len(out.splitlines()) == 2
    assert all((tmp_path / "in" / f"{name}_x4.png").is_file() for name in names[1:])


def test_a_result_that_cannot_be_written_is_named(wildsr, model, tmp_path):
    a, b = save(tmp_path / "a.png"), save(tmp_path / "b.png")
    (tmp_path / "up" / "a.png" / "in the way").mkdir(parents=True)
    status, _, err = wildsr("upscale", a, b, "--model", model, "--out", tmp_path / "up")
    assert status == 3
    assert "up/a.png" in one_line(err)
    assert {path.name for path in (tmp_path / "up").iterdir()} == {"a.png", "b.png"}


def test_after_a_full_disk_nothing_more_is_begun(model, tmp_path, monkeypatch):
    paths = [save(tmp_path / f"{n}.png") for n in range(6)]

    def full(*_: Any, **__: Any) -> Any:
        raise OSError(28, "No space left on device", str(paths[0]))

    monkeypatch.setattr(images, "write_photo", full)
    found = jobs.upscale_files(paths, [model], tmp_path / "up", jobs=1, device="cpu")
    assert found.done == ()
    assert "No space left" in found.failed[0]
    assert "more not begun" in found.failed[-1]
    assert len(found.failed) < 6


# ------------------------------------------------------------------------------------------------------------------- pipes


class Terminal(io.TextIOWrapper):
    def isatty(self) -> bool:
        return True


def piped(monkeypatch: pytest.MonkeyPatch, data: bytes, *arguments: Any, kind: Any = io.TextIOWrapper) -> tuple[int, bytes]:
    """The command line with bytes as standard input: (exit status, bytes of standard output)."""
    out = io.BytesIO()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        patch.setattr(sys, "stdout", kind(out, write_through=True))
        patch.setattr(sys, "argv", ["wildsr", *map(str, arguments)])
        patch.setattr("signal.signal", lambda *_: None)
        with pytest.raises(SystemExit) as exit:
            cli.main()
        return exit.value.code, out.getvalue()  # pyright: ignore[reportReturnType]


def encoded(side: int, form: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    photograph(side, 1).save(buffer, form)
    return buffer.getvalue()


@pytest.mark.parametrize(("options", "form"), [([], "PNG"), (["--format", "jpeg"], "JPEG"), (["--format", "tiff"], "TIFF")])
def test_standard_input_goes_to_standard_output(monkeypatch, capsys, model, options, form):
    status, out = piped(monkeypatch, encoded(10), "upscale", "-", "--model", model, *options)
    err = capsys.readouterr().err
    assert status == 0, err
    with Image.open(io.BytesIO(out)) as picture:
        assert (picture.format, picture.size) == (form, (40, 40))
        picture.load()
    assert err.strip() == "standard input -> standard output"


def test_standard_input_to_a_file_and_a_file_to_standard_output(monkeypatch, capsys, model, tmp_path):
    status, out = piped(monkeypatch, encoded(10), "upscale", "-", "--model", model, "--out", tmp_path / "b.png")
    assert (status, out.decode().strip()) == (0, f"standard input -> {tmp_path / 'b.png'}")
    status, out = piped(monkeypatch, b"", "upscale", save(tmp_path / "a.png", 10), "--model", model, "--out", "-")
    assert status == 0, capsys.readouterr().err
    assert out == (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize(
    ("data", "message"), [(b"", "standard input is empty (0 bytes)"), (b"nothing of ours", "standard input: not a picture")]
)
def test_bad_standard_input_is_one_line(monkeypatch, capsys, model, data, message):
    assert piped(monkeypatch, data, "upscale", "-", "--model", model) == (2, b"")
    assert message in one_line(capsys.readouterr().err)


def test_no_picture_is_written_to_a_terminal_or_read_from_one(monkeypatch, capsys, model):
    assert piped(monkeypatch, encoded(10), "upscale", "-", "--model", model, kind=Terminal) == (2, b"")
    assert "standard output is a terminal" in one_line(capsys.readouterr().err)
    monkeypatch.setattr(sys, "stdin", Terminal(io.BytesIO()))
    with pytest.raises(UserError, match="standard input is a terminal"):
        jobs.upscale_files(["-"], [model], device="cpu")


def test_a_real_pipe(model):
    command = [sys.executable, "-m", "wildsr", "upscale", "-", "--model", str(model), "--device", "cpu"]
    found = subprocess.run(command, input=encoded(10), capture_output=True, check=False)
    assert found.returncode == 0, found.stderr
    with Image.open(io.BytesIO(found.stdout)) as picture:
        assert picture.size == (40, 40)


# ------------------------------------------------------------------------------------------------------------------- threads


PATIENCE = 20  # seconds until a test gives up; none of them waits when all is well


class Stage:
    """Stands in for reading, computing and writing; notes who is where, and waits where it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lock = threading.Lock()
        self.changed = threading.Condition(self.lock)
        self.events: list[tuple[str, str]] = []
        self.waits: dict[tuple[str, str], tuple[str, str]] = {}
        self.raises: dict[tuple[str, str], BaseException] = {}
        monkeypatch.setattr(images, "read_photo", self.read)
        monkeypatch.setattr(upscale, "enlarge", self.enlarge)
        monkeypatch.setattr(images, "write_photo", self.write)

    def reach(self, kind: str, name: str) -> None:
        with self.changed:
            self.events.append((kind, name))
            self.changed.notify_all()
            before = self.waits.get((kind, name))
            if before is not None:
                assert self.changed.wait_for(lambda: before in self.events, PATIENCE), f"{kind} {name} never saw {before}: {self.events}"
        if (kind, name) in self.raises:
            raise self.raises[kind, name]

    def read(self, source: Path, **_: Any) -> images.Photo:
        self.reach("read", source.stem)
        return images.Photo(np.zeros((2, 2, 3), np.uint8), notes=(source.stem,))

    def enlarge(self, model: Any, photo: images.Photo, **_: Any) -> upscale.Enlarged:
        def rows() -> Iterator[np.ndarray]:
            self.reach("compute", photo.notes[0])
            yield np.zeros((8, 8, 3), np.uint8)
            self.reach("computed", photo.notes[0])

        return upscale.Enlarged(8, 8, 3, "uint8", photo.meta, rows())

    def write(self, target: Path, form: str, strips: Iterator[np.ndarray], **_: Any) -> tuple[str, ...]:
        self.reach("write", target.stem)
        for _rows in strips:
            self.reach("row", target.stem)
        self.reach("written", target.stem)
        return ()


@pytest.fixture
def stage(monkeypatch):
    return Stage(monkeypatch)


def run(model: Path, tmp_path: Path, names: str = "abcdefgh", **options: Any) -> tuple[jobs.Outcome, list[str]]:
    told: list[str] = []
    inputs = [tmp_path / f"{name}.png" for name in names]
    found = jobs.upscale_files(inputs, [model], tmp_path / "up", device="cpu", say=told.append, **options)
    return found, [line.split("[")[1].rstrip("]") for line in told]


def test_decoding_computing_and_encoding_overlap(stage, model, tmp_path):
    """b is computed while a is still encoded and c decoded: each waits for the others to have begun."""
    stage.waits = {
        ("compute", "b"): ("write", "a"),
        ("computed", "b"): ("read", "c"),
        ("written", "a"): ("compute", "b"),
        ("read", "c"): ("compute", "a"),
    }
    found, told = run(model, tmp_path, "abc", jobs=1)
    assert (len(found.done), told) == (3, ["a", "b", "c"])


def test_several_threads_encode_and_the_lines_keep_the_order(stage, model, tmp_path):
    """a is written last of three, and told first."""
    stage.waits = {("written", "a"): ("written", "c"), ("written", "c"): ("written", "b")}
    found, told = run(model, tmp_path, "abcd", jobs=3)
    assert told == ["a", "b", "c", "d"]
    assert [path.stem for path in found.done] == told


def test_reading_ahead_is_bounded(stage, model, tmp_path):
    from wildsr.jobs.upscaling.run import READ_AHEAD

    found, _ = run(model, tmp_path)
    assert len(found.done) == 8
    for n, name in enumerate("abcdefgh"):
        before = stage.events[: stage.events.index(("compute", name))]
        assert sum(kind == "read" for kind, _ in before) <= n + 1 + READ_AHEAD
    # And it is used: c is read though a is not computed yet.
    stage.events.clear()
    stage.waits = {("compute", "a"): ("read", "c")}
    assert len(run(model, tmp_path)[0].done) == 8


def test_results_that_wait_for_their_encoding_are_bounded(stage, model, tmp_path):
    """With two threads, three results are there while the first is not written yet, and a fourth is not begun."""
    stage.waits = {("written", "a"): ("computed", "c")}
    begun: list[bool] = []
    plain = stage.reach

    def reach(kind: str, name: str) -> None:
        plain(kind, name)
        if (kind, name) == ("written", "a"):
            with stage.changed:
                begun.append(stage.changed.wait_for(lambda: ("compute", "d") in stage.events, 0.3))

    stage.reach = reach
    assert len(run(model, tmp_path, jobs=2)[0].done) == 8
    assert begun == [False]


def test_tiff_is_written_while_it_is_computed(stage, model, tmp_path):
    run(model, tmp_path, "a", format="tiff")
    kinds = [kind for kind, _ in stage.events]
    assert kinds == ["read", "write", "compute", "row", "computed", "written"]


@pytest.mark.parametrize("kind", ["read", "compute", "write", "written"])
@pytest.mark.parametrize("error", [UserError("spoilt"), OSError(5, "spoilt", "b.png"), MemoryError()])
def test_what_fails_anywhere_is_told_and_the_rest_goes_on(stage, model, tmp_path, kind, error):
    stage.raises = {(kind, "b"): error}
    found, told = run(model, tmp_path, "abcd")
    assert told == ["a", "c", "d"]
    assert len(found.failed) == 1
    assert "b.png" in found.failed[0]
    assert ("not enough memory" if isinstance(error, MemoryError) else "spoilt") in found.failed[0]


@pytest.mark.parametrize("kind", ["read", "compute", "written"])
def test_a_fault_of_ours_is_not_hidden(stage, model, tmp_path, kind):
    stage.raises = {(kind, "b"): ZeroDivisionError("ours")}
    with pytest.raises(ZeroDivisionError, match="ours"):
        run(model, tmp_path)
    assert threading.active_count() == 1 or not [one for one in threading.enumerate() if "ThreadPool" in one.name]


def test_ctrl_c_leaves_whole_files_alone(wildsr, model, tmp_path, monkeypatch):
    for name in "abc":
        save(tmp_path / "in" / f"{name}.png")
    original = upscale.enlarge

    def interrupted(*arguments: Any, **options: Any) -> Any:
        result = original(*arguments, **options)
        if not list(tmp_path.glob("up/*")):
            return result

        def rows() -> Iterator[np.ndarray]:
            yield next(iter(result.rows))
            raise KeyboardInterrupt

        return upscale.Enlarged(result.height, result.width, result.channels, result.dtype, result.meta, rows())

    monkeypatch.setattr(upscale, "enlarge", interrupted)
    command = ["upscale", tmp_path / "in", "--model", model, "--out", tmp_path / "up", "--format", "tiff"]
    assert wildsr(*command)[0] == 130
    assert tree(tmp_path / "up") == {"a.tif"}
    monkeypatch.setattr(upscale, "enlarge", original)
    status, out, _ = wildsr(*command)
    assert (status, len(out.splitlines())) == (0, 3)
    assert tree(tmp_path / "up") == {"a.tif", "b.tif", "c.tif"}
    assert size(tmp_path / "up" / "a.tif") == (48, 48)


def test_models_and_options_reach_the_engine(wildsr, model, tmp_path, monkeypatch):
    seen: dict[str, Any] = {}
    load, enlarge = upscale.load, upscale.enlarge

    def spy_load(path: Any, **options: Any) -> Any:
        seen.update(options, model=path)
        return load(path, device="cpu")

    def spy_enlarge(net: Any, photo: Any, **options: Any) -> Any:
        seen.update(options)
        options["say"]("out of memory:\nsmaller tiles")
        return enlarge(net, photo, **options)

    monkeypatch.setattr(upscale, "load", spy_load)
    monkeypatch.setattr(upscale, "enlarge", spy_enlarge)
    a = save(tmp_path / "a.png")
    numbers = ["--blend=0.25", "--tile=32", "--overlap=8", "--outscale=3"]
    options = [*numbers, "--precision=fp32", "--ensemble", "--alpha=model", "--device=cpu"]
    status, out, err = wildsr("upscale", a, "--model", model, "--model", tmp_path / "second", *options)
    assert status == 0, err
    assert seen.pop("progress") is not None
    assert seen.pop("say") is not None
    assert seen == {
        "model": model,
        "blend": (tmp_path / "second", 0.25),
        "tile": 32,
        "overlap": 8,
        "precision": "fp32",
        "ensemble": True,
        "outscale": 3.0,
        "alpha": "model",
        "device": "cpu",
    }
    assert out.splitlines() == [f"{a}: out of memory:\\nsmaller tiles", f"{a} -> {tmp_path / 'a_x3.png'}"]


def test_a_bar_on_a_terminal_leaves_the_lines_alone(model, tmp_path):
    from rich.console import Console

    shown = io.StringIO()
    paths = [save(tmp_path / f"{name}.png") for name in ("[b]a", "b")]
    told: list[str] = []
    console = Console(file=shown, force_terminal=True, width=100)
    found = jobs.upscale_files(paths, [model], tmp_path / "up", device="cpu", say=told.append, console=console)
    assert len(found.done) == len(told) == 2
    assert "pictures" in shown.getvalue()
    assert torch.is_grad_enabled()
