"""Where pictures come from: examined folders, the sample photographs, and canvases that are a pure function of n."""

import importlib.util
import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import slow_twins
import torch

from wildsr import datasets, files, images
from wildsr.datasets import Canvases, Folders, Record, Source, photographs
from wildsr.datasets.folders import from_json
from wildsr.errors import UserError


def fill(folder: Path, *sizes: tuple[int, int]) -> Path:
    """A folder of pictures a.png, b.png, …, each (height, width)."""
    for i, (height, width) in enumerate(sizes):
        images.write(folder / f"{chr(97 + i)}.png", slow_twins.noise_picture(height, width, seed=i))
    return folder


def count_calls(monkeypatch: pytest.MonkeyPatch, name: str) -> list[str]:
    """The names of the files that a function of `images` is called with from now on."""
    calls: list[str] = []
    function = getattr(images, name)

    def counted(path, *arguments):
        calls.append(Path(path).name)
        return function(path, *arguments)

    monkeypatch.setattr(images, name, counted)
    return calls


def source(records: Sequence[Record], **options) -> Source:
    return Source([Folders(records, **options)])


# ------------------------------------------------------------------------------------------------------------------------- examine


def test_examine_tells_size_and_hash_of_every_picture_in_order(tmp_path):
    second, first = fill(tmp_path / "z", (20, 30), (7, 5)), fill(tmp_path / "a", (12, 12))
    records = datasets.examine([second, first])
    assert [Path(record.path).relative_to(tmp_path).as_posix() for record in records] == ["z/a.png", "z/b.png", "a/a.png"]
    assert [(record.width, record.height) for record in records] == [(30, 20), (5, 7), (12, 12)]
    for record in records:
        assert record.problem is None
        assert record.sha256 == files.sha256(Path(record.path).read_bytes())
        assert (record.size, record.modified) == (os.stat(record.path).st_size, os.stat(record.path).st_mtime_ns)


def test_examine_gives_a_turned_picture_its_upright_size(tmp_path):
    picture = images.to_pillow(slow_twins.noise_picture(20, 30))
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(tmp_path / "turned.png", exif=exif)
    (record,) = datasets.examine([tmp_path])
    assert (record.width, record.height) == (20, 30)


def test_a_picture_that_cannot_be_read_gets_a_record_with_its_problem(tmp_path):
    fill(tmp_path, (20, 30), (20, 30))
    (tmp_path / "b.png").write_bytes((tmp_path / "b.png").read_bytes()[:500])
    (tmp_path / "c.jpg").write_text("no picture")
    good, torn, text = datasets.examine([tmp_path])
    assert good.problem is None
    assert "b.png: the picture is damaged" in torn.problem
    assert "c.jpg: not a picture" in text.problem
    assert (torn.sha256, torn.width, torn.height) == ("", 0, 0)


def test_known_records_spare_unchanged_files_and_no_others(tmp_path, monkeypatch):
    fill(tmp_path, (20, 30), (20, 31), (20, 32))
    (tmp_path / "d.png").write_text("no picture")
    before = datasets.examine([tmp_path])
    calls = count_calls(monkeypatch, "open_picture")
    assert datasets.examine([tmp_path], before) == before
    assert calls == []
    # Another size; the same size at another time; a new file.
    images.write(tmp_path / "a.png", slow_twins.noise_picture(40, 30))
    os.utime(tmp_path / "b.png", ns=(0, before[1].modified + 1))
    images.write(tmp_path / "e.png", slow_twins.noise_picture(9, 9))
    after = datasets.examine([tmp_path], before)
    assert sorted(calls) == ["a.png", "b.png", "e.png"]
    assert after == datasets.examine([tmp_path])
    assert (after[0].height, after[1].sha256, after[2:4]) == (40, before[1].sha256, before[2:4])


def test_known_records_of_another_folder_are_not_taken(tmp_path):
    first = fill(tmp_path / "first", (20, 30))
    second = tmp_path / "second"
    shutil.copytree(first, second)
    (record,) = datasets.examine([second], datasets.examine([first]))
    assert Path(record.path) == (second / "a.png").resolve()


def test_examine_refuses_the_same_pictures_twice(tmp_path):
    fill(tmp_path / "outer" / "inner", (20, 30))
    for folders in (["outer", "outer"], ["outer", "outer/inner"], ["outer", "outer/../outer"]):
        with pytest.raises(UserError, match=r"hold the same pictures twice: name each folder once"):
            datasets.examine([tmp_path / folder for folder in folders])


def test_low_resolution_is_not_taken_for_ground_truth(tmp_path):
    fill(tmp_path / "DIV2K" / "DIV2K_train_HR", (40, 60))
    fill(tmp_path / "DIV2K" / "DIV2K_train_LR_bicubic" / "X4", (10, 15))
    fill(tmp_path / "DIV2K" / "DIV2K_valid_HR", (40, 64))
    with pytest.raises(UserError) as caught:
        datasets.open([tmp_path / "DIV2K"])
    high = [str(tmp_path / "DIV2K" / f"DIV2K_{part}_HR") for part in ("train", "valid")]
    low = Path("DIV2K_train_LR_bicubic", "X4")
    wanted = f"DIV2K: holds low resolution ({low}), which would be taken for ground truth: name {' or '.join(high)}"
    assert str(caught.value).endswith(wanted)
    assert len(datasets.open([tmp_path / "DIV2K"], mixed=True)) == 3
    assert len(datasets.open(high)) == 2
    assert len(datasets.open([tmp_path / "DIV2K" / "DIV2K_train_LR_bicubic"])) == 1, "asked for by its name"


def test_low_resolution_in_the_same_folder_is_not_taken_for_ground_truth(tmp_path):
    fill(tmp_path / "Urban", (40, 60))
    for ending, side in (("HR", 40), ("LR", 20)):
        images.write(tmp_path / "Urban" / f"img_001_SRF_2_{ending}.png", torch.full((3, side, side), side, dtype=torch.uint8))
    with pytest.raises(UserError, match=r"Urban: holds low resolution \(.*img_001_SRF_2_LR.png\).*: move one of both away"):
        datasets.open([tmp_path / "Urban"])
    assert len(datasets.open([tmp_path / "Urban"], mixed=True)) == 3


@pytest.mark.skipif(os.name == "nt" or sys.platform == "darwin", reason="names there are always Unicode")
def test_a_name_that_is_not_utf_8_is_kept_and_packed(tmp_path):
    fill(tmp_path / "set", (20, 30))
    (tmp_path / "set" / "a.png").rename(tmp_path / "set" / os.fsdecode(b"caf\xe9.png"))
    records = datasets.examine([tmp_path / "set"])
    files.write_text(tmp_path / "data.json", files.to_json(Folders(records).to_json()))
    assert from_json(files.read_json(tmp_path / "data.json")) == records
    datasets.pack([tmp_path / "set"], tmp_path / "set.safetensors")
    assert np.array_equal(datasets.open([tmp_path / "set.safetensors"]).read(0), images.read(records[0].path).numpy())
    datasets.write_shards([tmp_path / "set"], tmp_path / "shards")
    assert np.array_equal(datasets.open([tmp_path / "shards"]).read(0), images.read(records[0].path).numpy())


def test_examine_refuses_missing_and_empty_folders(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="absent: no such folder"):
        datasets.examine([tmp_path / "absent"])
    with pytest.raises(UserError, match="empty: holds no picture"):
        datasets.examine([tmp_path / "empty"])


def test_records_survive_json(tmp_path):
    fill(tmp_path, (20, 30))
    (tmp_path / "b.png").write_text("no picture")
    records = datasets.examine([tmp_path])
    values = json.loads(files.to_json(Folders(records).to_json()))
    assert from_json(values) == records
    assert [value["problem"] is None for value in values] == [True, False]
    assert from_json([{"width": 3}]) == []


def record(name: str, width: int = 64, height: int = 64, problem: str | None = None) -> Record:
    return Record(path=name, size=1, modified=1, sha256=name, width=width, height=height, problem=problem)


def test_sound_pictures_are_not_complained_of():
    datasets.require_sound([record("a.png"), record("b.png", 48, 90)], smallest=48)


def test_unsound_pictures_are_counted_and_named():
    records = [record("good.png"), record("low.png", 90, 47), record("thin.png", 47, 90), record("torn.png", 0, 0, "torn.png: damaged")]
    with pytest.raises(UserError) as caught:
        datasets.require_sound(records, smallest=48)
    message = str(caught.value)
    assert message.startswith("3 of 4 pictures cannot be used (remove or mend them): ")
    assert "low.png: 90×47 is smaller than the HR patch of 48×48" in message
    assert "thin.png: 47×90" in message
    assert message.count("torn.png: damaged") == 1
    assert "torn.png: 0×0" not in message
    assert "good.png" not in message


def test_many_unsound_pictures_are_counted_and_the_first_ten_named():
    with pytest.raises(UserError, match=r"^14 of 14 pictures .*picture9.*; and 4 more$") as caught:
        datasets.require_sound([record(f"picture{i}.png", 9, 9) for i in range(14)], smallest=48)
    assert "picture10.png" not in str(caught.value)


def test_the_fingerprint_depends_on_contents_and_order_and_not_on_the_place(tmp_path):
    fill(tmp_path / "first", (20, 30), (20, 31))
    shutil.copytree(tmp_path / "first", tmp_path / "elsewhere" / "second")
    records = datasets.examine([tmp_path / "first"])
    fingerprint = datasets.open([tmp_path / "first"]).fingerprint
    assert fingerprint == files.sha256(f"{records[0].sha256}\n{records[1].sha256}".encode()), "that of all runs so far"
    assert datasets.open([tmp_path / "elsewhere"]).fingerprint == fingerprint
    assert source(records[::-1]).fingerprint != fingerprint
    assert source(records[:1]).fingerprint != fingerprint
    images.write(tmp_path / "first" / "a.png", slow_twins.noise_picture(20, 30, seed=9))
    assert datasets.open([tmp_path / "first"]).fingerprint != fingerprint


# ------------------------------------------------------------------------------------------------------------------------ canvases


@pytest.fixture(scope="module")
def records(tmp_path_factory) -> list[Record]:
    """Seven pictures: larger than a canvas of 16 both ways, one way, the other way, not at all, and of its very size."""
    return datasets.examine([fill(tmp_path_factory.mktemp("set"), (20, 20), (24, 17), (30, 10), (9, 40), (5, 3), (16, 16), (18, 22))])


def test_canvases_have_the_size_asked_for(records):
    canvases = Canvases(source(records), 16, seed=0)
    for n in range(20):
        canvas = canvases(n)
        assert canvas.shape == (3, 16, 16)
        assert canvas.dtype == torch.uint8
        assert canvas.is_contiguous()


def test_a_canvas_is_a_pure_function_of_n(records):
    first = Canvases(source(records), 16, seed=5)
    expected = [first(n) for n in range(40)]
    backwards = Canvases(source(records), 16, seed=5)
    without_memory = Canvases(source(records, cache_bytes=0), 16, seed=5)
    little_memory = Canvases(source(records, cache_bytes=2000), 16, seed=5)
    for n in reversed(range(40)):
        for canvases in (first, backwards, without_memory, little_memory):
            assert torch.equal(canvases(n), expected[n])
    assert torch.equal(Canvases(source(records), 16, seed=5)(33), expected[33])


def test_canvases_of_folders_are_those_of_all_runs_so_far(records):
    canvases = Canvases(source(records), 16, seed=5)
    assert [canvases.index(n) for n in range(21)] == [4, 6, 3, 2, 0, 1, 5, 6, 5, 1, 0, 4, 2, 3, 3, 1, 6, 5, 0, 2, 4]
    pixels = b"".join(canvases(n).numpy().tobytes() for n in range(21))
    assert files.sha256(pixels) == "af4b55976baf1a7fc6198f1ac8b9e70f15e1d2541492d9ec9506a00be45daf0d"


def test_canvases_differ_by_seed_and_by_epoch(records):
    first, other = Canvases(source(records), 16, seed=0), Canvases(source(records), 16, seed=1)
    assert any(not torch.equal(first(n), other(n)) for n in range(7))
    only = records[:1]
    same_picture = Canvases(source(only), 16, seed=0)
    assert len({images.pixels_sha256(same_picture(n)) for n in range(20)}) > 10


def test_changing_a_canvas_does_not_change_the_picture_in_memory(records):
    canvases = Canvases(source(records[5:6]), 16, seed=0)
    before = canvases(0).clone()
    canvases(0).zero_()
    assert torch.equal(canvases(0), before)


def test_every_epoch_is_a_permutation_and_no_two_are_alike(records):
    canvases = Canvases(source(records), 16, seed=0)
    epochs = [tuple(canvases.index(n) for n in range(7 * epoch, 7 * epoch + 7)) for epoch in range(8)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert len(set(epochs)) == 8
    assert canvases.index(10**9) in range(7)


def place_of(canvas: torch.Tensor, picture: np.ndarray) -> tuple[int, int, bool]:
    """Where in a picture (3, H, W) a canvas was cut, and whether it was flipped."""
    side = canvas.shape[-1]
    found = [
        (top, left, flipped)
        for top in range(picture.shape[1] - side + 1)
        for left in range(picture.shape[2] - side + 1)
        for flipped in (False, True)
        if np.array_equal(canvas.flip(-1).numpy() if flipped else canvas.numpy(), picture[:, top : top + side, left : left + side])
    ]
    assert len(found) == 1
    return found[0]


def test_crops_lie_everywhere_and_half_of_them_are_flipped(records):
    canvases = Canvases(source(records[:1]), 16, seed=0)
    picture = images.read(records[0].path).numpy()
    places = [place_of(canvases(n), picture) for n in range(400)]
    tops, lefts = Counter(place[0] for place in places), Counter(place[1] for place in places)
    for offsets in (tops, lefts):
        assert sorted(offsets) == [0, 1, 2, 3, 4]
        assert all(abs(hits - 80) < 4 * 8 for hits in offsets.values())
    assert len({place[:2] for place in places}) == 25
    assert abs(sum(place[2] for place in places) - 200) < 4 * 10


@pytest.mark.parametrize("index", [2, 3, 4, 5])
def test_small_pictures_are_reflected_at_right_and_bottom_as_numpy_does(records, index):
    picture = images.read(records[index].path).numpy()
    _, height, width = picture.shape
    padded = np.pad(picture, ((0, 0), (0, max(0, 16 - height)), (0, max(0, 16 - width))), mode="reflect")
    canvases = Canvases(source(records[index : index + 1]), 16, seed=0)
    places = [place_of(canvases(n), padded) for n in range(30)]
    assert {place[2] for place in places} == {False, True}


def test_a_picture_much_smaller_than_the_canvas_is_reflected_to_and_fro(tmp_path):
    counting = torch.arange(3, dtype=torch.uint8).view(1, 1, 3).repeat(3, 2, 1)
    images.write(tmp_path / "tiny.png", counting)
    canvases = Canvases(datasets.open([tmp_path]), 11, seed=0)
    expected = [0, 1, 2, 1, 0, 1, 2, 1, 0, 1, 2]
    for n in range(10):
        for line in canvases(n).reshape(-1, 11).tolist():
            assert line in (expected, expected[::-1])


def test_pictures_are_kept_in_memory_as_far_as_it_reaches(records, monkeypatch):
    calls = count_calls(monkeypatch, "read")
    canvases = Canvases(source(records), 16, seed=0)
    for n in range(21):
        canvases(n)
    assert sorted(calls) == [f"{letter}.png" for letter in "abcdefg"]
    # Room for the first three to the byte, and for one byte less.
    for cache_bytes, kept in ((3 * (20 * 20 + 24 * 17 + 30 * 10), "abc"), (3 * (20 * 20 + 24 * 17 + 30 * 10) - 1, "ab")):
        calls.clear()
        canvases = Canvases(source(records, cache_bytes=cache_bytes), 16, seed=0)
        for n in range(21):
            canvases(n)
        assert Counter(calls) == {f"{letter}.png": 1 if letter in kept else 3 for letter in "abcdefg"}


# ------------------------------------------------------------------------------------------------------------------------- samples


def test_the_eleven_sample_photographs_are_sorted_and_sound():
    paths = datasets.samples()
    names = [path.name for path in paths]
    assert len(names) == 11
    assert names == sorted(names)
    assert len(images.unique_stems(paths)) == 11
    for path in paths:
        picture = images.open_picture(path)
        assert picture.mode == "RGB"
        assert min(picture.size) >= 300


def test_the_held_out_photographs_are_samples_and_no_pair_is_torn():
    stems = {path.stem for path in datasets.samples()}
    held_out = set(datasets.HELD_OUT)
    assert held_out < stems
    # The two pictures of a stereo pair show the same thing: it must not be trained on and measured with.
    assert ("motorcycle_left" in held_out) == ("motorcycle_right" in held_out)
    assert {"motorcycle_left", "motorcycle_right"} < stems


def test_a_missing_package_is_named_with_the_mend(monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "sklearn" else find_spec(name, *rest))
    with pytest.raises(UserError, match=r"lie in sklearn, which is not installed: pip install 'wildsr\[demo\]'"):
        datasets.samples()


def test_a_missing_photograph_is_named(monkeypatch):
    monkeypatch.setattr(photographs, "_SAMPLES", {"skimage": ("data", "astronaut.png nowhere.png")})
    with pytest.raises(UserError, match=r"nowhere\.png is missing: reinstall"):
        datasets.samples()
