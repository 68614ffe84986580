"""Pictures from packed files and Parquet shards: the same as from folders, in an order that is a pure function of n."""

import io
import json
import shutil
import sys
from collections import Counter
from pathlib import Path

import fsspec
import numpy as np
import pyarrow
import pytest
import slow_twins
import torch
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from pyarrow import parquet
from rich.console import Console
from safetensors.numpy import load_file, save_file

from wildsr import chance, datasets, files, images
from wildsr.datasets import Canvases, Packed, Shards, source
from wildsr.datasets.canvases import Order
from wildsr.errors import UserError
from wildsr.train import train

SIZES = [(20, 24), (31, 22), (22, 22), (25, 40), (40, 23), (24, 21), (22, 30), (30, 30), (21, 25), (26, 22), (23, 27)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Eleven pictures of different sizes, of 20 pixels at least."""
    where = tmp_path_factory.mktemp("sources") / "pictures"
    for i, (height, width) in enumerate(SIZES):
        images.write(where / f"{chr(97 + i)}.png", slow_twins.noise_picture(height, width, seed=i))
    return where


@pytest.fixture(scope="module")
def packed(folder) -> Path:
    datasets.pack([folder], folder.parent / "pictures.safetensors")
    return folder.parent / "pictures.safetensors"


@pytest.fixture(scope="module")
def shards(folder) -> Path:
    """Shards of 5, 5 and 1 pictures, in row groups of 2, 2, 1, 2, 2, 1 and 1."""
    assert datasets.write_shards([folder], folder.parent / "shards", rows=5, group_rows=2) == 3
    return folder.parent / "shards"


@pytest.fixture
def far(shards, monkeypatch) -> str:
    """The same shards at a far place."""
    system = fsspec.filesystem("memory")
    system.put(f"{shards}/", "/far/", recursive=True)
    opened = MemoryFileSystem._open

    def own(self, path, mode="rb", **options):
        # Its files share one cursor among all that read them, unlike those of any other file system.
        return io.BytesIO(opened(self, path, mode, **options).getvalue()) if mode == "rb" else opened(self, path, mode, **options)

    monkeypatch.setattr(MemoryFileSystem, "_open", own)
    yield "memory://far"
    system.rm("/far", recursive=True)


def write_column(path: Path, values: list, kind: pyarrow.DataType, name: str = "image", **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pyarrow.table({name: pyarrow.array(values, kind), "label": list(range(len(values)))}), path, **options)
    return path


STRUCT = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])


def test_a_folder_its_packed_file_and_its_shards_hold_the_same_pictures(folder, packed, shards, far):
    places = [datasets.open([place]) for place in (folder, packed, shards, far)]
    assert [len(place) for place in places] == [11] * 4
    for i, size in enumerate(SIZES):
        expected = images.read(folder / f"{chr(97 + i)}.png").numpy()
        assert expected.shape == (3, *size)
        for place in places:
            assert np.array_equal(place.read(i), expected)
            assert place.read(i).dtype == np.uint8
    assert places[2].fingerprint == places[3].fingerprint, "the same shards, wherever they lie"
    assert len({place.fingerprint for place in places}) == 3


def test_places_follow_one_another_folders_first(folder, packed, shards, tmp_path):
    shutil.copytree(folder, tmp_path / "other")
    both = datasets.open([packed, folder, shards / "00002-of-00003.parquet", tmp_path / "other"])
    assert len(both) == 34
    for i, (part, index) in {
        0: (folder, 0),
        11: (folder, 0),
        21: (folder, 10),
        22: (folder, 0),
        32: (folder, 10),
        33: (folder, 10),
    }.items():
        assert np.array_equal(both.read(i), images.read(part / f"{chr(97 + index)}.png").numpy())
    assert sorted(Canvases(both, 16, seed=0).index(n) for n in range(34, 68)) == list(range(34))


def test_known_values_spare_footers_and_pictures(folder, packed, shards, far, monkeypatch):
    for place in (shards, far):
        first = datasets.open([place, folder, packed])
        known = json.loads(files.to_json(first.to_json()))
        with monkeypatch.context() as patch:
            patch.setattr(MemoryFileSystem, "cat_file", lambda *_: pytest.fail("a footer was read"))
            patch.setattr(LocalFileSystem, "cat_file", lambda *_: pytest.fail("a footer was read"))
            patch.setattr(images, "open_picture", lambda *_: pytest.fail("a picture was read"))
            again = datasets.open([place, folder, packed], known)
        assert (again.fingerprint, again.to_json()) == (first.fingerprint, first.to_json())
        assert np.array_equal(again.read(20), first.read(20))
    assert datasets.open([shards], {"damaged": 1}).fingerprint == datasets.open([shards]).fingerprint


@pytest.mark.parametrize("kind", ["packed", "shards", "far"])
def test_a_place_named_twice_is_refused(kind, request):
    place = request.getfixturevalue(kind)
    with pytest.raises(UserError, match="is named twice: name each place once"):
        datasets.open([place, place])


def test_what_is_no_place_of_pictures_is_refused(folder, tmp_path):
    with pytest.raises(UserError, match=r"a\.png: is a file; name a folder of pictures, or a file in \.safetensors or \.parquet"):
        datasets.open([folder / "a.png"])
    for name in ("no.safetensors", "no/where.safetensors"):
        with pytest.raises(UserError, match="no such file"):
            datasets.open([tmp_path / name])
    for name in ("no.parquet", "memory://nowhere", "memory://no*where/*.parquet"):
        with pytest.raises(UserError, match=r"holds no \.parquet file"):
            datasets.open([name])
    with pytest.raises(UserError, match=r"nope://x: no such kind of place"):
        datasets.open(["nope://x"])
    with pytest.raises(UserError, match="there is no picture"):
        datasets.open([write_column(tmp_path / "empty.parquet", [], STRUCT)])


def test_a_folder_of_both_pictures_and_shards_is_a_folder_of_pictures(folder, shards, tmp_path):
    shutil.copytree(shards, tmp_path / "data" / "deep")
    assert isinstance(datasets.open([tmp_path]).parts[0], Shards)
    shutil.copyfile(folder / "a.png", tmp_path / "a.png")
    assert len(datasets.open([tmp_path])) == 1


# -------------------------------------------------------------------------------------------------------------------------- order


def dealt(sizes: list[int], window: int, seed: int, epoch: int) -> list[int]:
    """One epoch, dealt out like cards: the slow twin of `Order`."""
    order = chance.generator(seed, "order", epoch).permutation(len(sizes)).tolist()
    slots: list[list[int]] = [[] for _ in sizes]
    for j in range(window):
        for turn, group in enumerate(order):
            rows = list(range(sum(sizes[:group]), sum(sizes[: group + 1])))
            if len(rows) > 1:
                rows = [rows[k] for k in chance.generator(seed, "rows", epoch, group).permutation(len(rows))]
            share = [row for k, row in enumerate(rows) if (k * window + window - 1) // len(rows) == j]
            slots[(turn + j) % len(sizes)] += share
    for slot, members in enumerate(slots):
        if len(members) > 1:
            slots[slot] = [members[k] for k in chance.generator(seed, "slot", epoch, slot).permutation(len(members))]
    return [picture for members in slots for picture in members]


GROUPS = [([1] * 9, 1), ([4] * 6, 3), ([5, 1, 0, 7, 2, 2], 2), ([3, 8], 32), ([10], 4), ([100] * 20, 8)]


@pytest.mark.parametrize(("sizes", "window"), GROUPS)
def test_an_epoch_holds_every_picture_once(sizes, window):
    order, count = Order(sizes, window, seed=3), sum(sizes)
    epochs = [[order(n) for n in range(epoch * count, (epoch + 1) * count)] for epoch in range(3)]
    assert all(sorted(epoch) == list(range(count)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


@pytest.mark.parametrize(("sizes", "window"), GROUPS)
def test_the_order_is_that_of_its_slow_twin(sizes, window):
    order, count = Order(sizes, window, seed=5), sum(sizes)
    for epoch in (0, 4):
        assert [order(n) for n in range(epoch * count, (epoch + 1) * count)] == dealt(sizes, window, 5, epoch)
    assert [Order(sizes, window, seed=5)(n) for n in (4 * count + 1, 3)] == [order(4 * count + 1), order(3)], "no state"


def test_single_pictures_come_in_the_permutation_of_all_runs_so_far():
    order = Order([1] * 50, 1, seed=2)
    assert [order(n) for n in range(50, 100)] == chance.generator(2, "order", 1).permutation(50).tolist()


def test_pictures_come_from_the_groups_announced_and_each_is_read_about_once_an_epoch():
    sizes, window = [20] * 30, 6
    order = Order(sizes, window, seed=0)
    held: set[int] = set()
    loads = 0
    for n in range(600, 1200):
        soon = set(order.soon(n))
        assert order(n) // 20 in soon
        loads += len(soon - held)
        held = soon
        if 640 <= n < 1080:  # away from the borders of the epoch
            assert len(soon) == window + 4
            assert len(set(order.soon(n + 20)) - soon) == 1, "one new group a slot"
    assert loads <= 30 + 2 * window + 4


def test_a_picture_has_neighbours_of_all_groups_of_the_window():
    order = Order([100] * 40, 10, seed=0)
    batches = [[order(n) // 100 for n in range(start, start + 100)] for start in range(0, 4000, 100)]
    assert all(len(set(batch)) == 10 for batch in batches)
    assert all(max(Counter(batch).values()) == 10 for batch in batches)


def test_sample_n_of_shards_is_the_same_without_what_came_before(shards, far, folder):
    straight = Canvases(datasets.open([shards]), 16, seed=7)
    expected = [straight(n) for n in range(25)]
    for n in (24, 3, 11, 10):
        assert torch.equal(Canvases(datasets.open([far]), 16, seed=7)(n), expected[n])
    backwards = Canvases(datasets.open([shards]), 16, seed=7)
    assert all(torch.equal(backwards(n), expected[n]) for n in reversed(range(25)))
    assert sorted(straight.index(n) for n in range(11)) == list(range(11))


def test_a_packed_file_gives_the_canvases_of_its_folder(folder, packed):
    for side in (16, 24):
        first, second = (Canvases(datasets.open([place]), side, seed=1) for place in (folder, packed))
        for n in range(30):
            assert torch.equal(first(n), second(n))
            second(n).zero_()  # a canvas is a copy
            assert torch.equal(first(n), second(n))


@pytest.mark.parametrize("kind", ["folder", "packed", "shards"])
def test_preparing_canvases_changes_nothing(kind, request):
    place = request.getfixturevalue(kind)
    plain, prepared = (Canvases(datasets.open([place]), 16, seed=1) for _ in range(2))
    for n in range(0, 24, 4):
        prepared.prepare(range(n, n + 8))
        assert all(torch.equal(prepared(i), plain(i)) for i in (n + 1, n, n + 3, n + 2, 40 + n))


def test_canvases_that_other_parts_of_a_step_prepared_are_kept(folder, monkeypatch):
    """As accumulation asks: each part for its own pictures of this step and the next."""
    canvases, made = Canvases(datasets.open([folder]), 16, seed=1), []
    make = canvases._make
    monkeypatch.setattr(canvases, "_make", lambda n: made.append(n) or make(n))
    for step in range(3):
        for part in range(2):
            own = [4 * step + 2 * part, 4 * step + 2 * part + 1]
            canvases.prepare([*own, *(n + 4 for n in own)])
            for n in own:
                canvases(n)
    for started in canvases._ahead.values():
        started.result()
    assert sorted(made) == list(range(16)), "each once, and those of the next step are begun"
    canvases.prepare([100])
    assert list(canvases._ahead) == [100], "what came before is let go"


def test_a_row_group_is_read_once_however_many_of_its_pictures_are_wanted(shards, monkeypatch):
    reads: list[int] = []
    read_group = Shards._read_group

    def counted(self, group):
        reads.append(group)
        return read_group(self, group)

    monkeypatch.setattr(Shards, "_read_group", counted)
    canvases = Canvases(datasets.open([shards]), 16, seed=0)
    for n in range(11):
        canvases(n)
    assert sorted(reads) == list(range(7))
    reads.clear()
    assert sum(1 for _ in canvases.source.parts[0].check()) == 11
    # A window of two groups, and little memory: what is read again is at the borders of the epoch.
    monkeypatch.setattr(source, "WINDOW_BYTES", 1)
    reads.clear()
    canvases = Canvases(datasets.open([shards]), 16, seed=0)
    assert canvases.source.window == 2
    for n in range(11):
        canvases(n)
    assert set(reads) == set(range(7))
    assert len(reads) <= 7 + 2


# ------------------------------------------------------------------------------------------------------------------------- packed


def test_packing_twice_gives_the_same_bytes_which_any_reader_of_safetensors_knows(folder, packed, tmp_path):
    assert datasets.pack([folder], tmp_path / "again.safetensors") == (11, 11)
    assert (tmp_path / "again.safetensors").read_bytes() == packed.read_bytes()
    assert str(folder).encode() not in packed.read_bytes()
    tensors = load_file(packed)
    assert sorted(tensors)[1] == "000001 b.png"
    assert np.array_equal(tensors["000001 b.png"], images.read(folder / "b.png").numpy())


def test_pictures_of_a_packed_file_are_views_on_it(packed):
    part = Packed(packed)
    assert not part.read(3).flags.owndata
    assert not part.read(3).flags.writeable


@pytest.mark.parametrize("max_bytes", [3000, 10_000, 10_001, 16_000, 10**9])
def test_as_many_pictures_are_packed_as_fit(folder, tmp_path, max_bytes):
    out = tmp_path / "some.safetensors"
    taken, found = datasets.pack([folder], out, max_bytes=max_bytes, seed=4)
    assert found == 11
    assert taken == len(Packed(out)) <= 11
    assert out.stat().st_size <= max_bytes
    order = chance.generator(4, "pack").permutation(11)[:taken]
    assert [record.sha256 for record in Packed(out).records] == [
        images.pixels_sha256(images.read(folder / f"{chr(97 + i)}.png")) for i in sorted(order)
    ]
    if taken < 11:
        more = tmp_path / "more"
        for i in chance.generator(4, "pack").permutation(11)[: taken + 1]:
            more.mkdir(exist_ok=True)
            shutil.copyfile(folder / f"{chr(97 + i)}.png", more / f"{chr(97 + i)}.png")
        datasets.pack([more], out)
        assert out.stat().st_size > max_bytes
    else:
        assert max_bytes == 10**9


def test_a_side_keeps_the_middle_of_each_picture(folder, tmp_path):
    datasets.pack([folder], tmp_path / "cut.safetensors", side=23)
    cut = Packed(tmp_path / "cut.safetensors")
    assert [(record.height, record.width) for record in cut.records] == [(min(height, 23), min(width, 23)) for height, width in SIZES]
    assert np.array_equal(cut.read(3), images.read(folder / "d.png").numpy()[:, 1:24, 8:31])


def test_mistakes_in_packing(folder, tmp_path):
    with pytest.raises(UserError, match=r"out\.bin: the name of a packed file ends in \.safetensors"):
        datasets.pack([folder], tmp_path / "out.bin")
    out = tmp_path / "out.safetensors"
    with pytest.raises(UserError, match="side = 0: use a positive number"):
        datasets.pack([folder], out, side=0)
    with pytest.raises(UserError, match=r"max-bytes = 900: room for no picture, the first alone takes \d+: raise it, or set a --side"):
        datasets.pack([folder], out, max_bytes=900)
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "a.png").write_bytes((folder / "a.png").read_bytes()[:300])
    with pytest.raises(UserError, match=r"1 of 1 pictures cannot be used.*a\.png: the picture is damaged"):
        datasets.pack([tmp_path / "torn"], out)
    assert not out.exists()


def test_more_pictures_than_a_header_can_name_are_refused_before_they_are_decoded(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("wildsr.datasets.packed.LARGEST_HEADER", 1000)
    with pytest.raises(UserError, match=r"11 pictures are more than one packed file can name .*: pack them as several files"):
        datasets.pack([folder], tmp_path / "out.safetensors")
    assert not any(tmp_path.iterdir())


def test_packing_replaces_packed_files_and_no_others(folder, packed, tmp_path):
    out = tmp_path / "out.safetensors"
    shutil.copyfile(packed, out)
    assert datasets.pack([folder], out, side=8) == (11, 11)
    save_file({"weight": np.zeros(2)}, out)
    before = out.read_bytes()
    with pytest.raises(UserError, match=r"out.safetensors: is there already, and is no whole file of packed pictures"):
        datasets.pack([folder], out)
    assert out.read_bytes() == before


def test_packing_that_breaks_off_leaves_the_former_file(folder, packed, tmp_path, monkeypatch):
    out = tmp_path / "out.safetensors"
    shutil.copyfile(packed, out)
    read = images.read
    monkeypatch.setattr(images, "read", lambda path: 1 / 0 if path.endswith("f.png") else read(path))
    with pytest.raises(ZeroDivisionError):
        datasets.pack([folder], out, side=8)
    assert out.read_bytes() == packed.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["out.safetensors"]


def test_damaged_packed_files_are_refused(packed, tmp_path):
    path, whole = tmp_path / "damaged.safetensors", packed.read_bytes()
    for cut in (0, 5, 400, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(UserError, match=r"damaged\.safetensors: not a whole file of packed pictures .*: pack it again"):
            datasets.open([path])
    path.write_bytes(whole + b"x")
    with pytest.raises(UserError, match="not a whole file"):
        datasets.open([path])
    save_file({"weight": np.zeros((3, 4, 4), np.uint8)}, path)
    with pytest.raises(UserError, match="holds no packed pictures: make such a file with wildsr data pack"):
        datasets.open([path])
    save_file({"weight": np.zeros((3, 4, 4), np.uint8)}, path, {"wildsr.pictures": "2", "wildsr.sha256": "[]"})
    with pytest.raises(UserError, match="packed in format 2, this version reads 1: pack it again"):
        datasets.open([path])
    for shape, kind, hashes in (
        ((3, 4, 4), np.uint8, "[]"),
        ((3, 4), np.uint8, '[""]'),
        ((3, 4, 4), np.float32, '[""]'),
        ((3, 4, 4), np.uint8, "x"),
    ):
        save_file({"weight": np.zeros(shape, kind)}, path, {"wildsr.pictures": "1", "wildsr.sha256": hashes})
        with pytest.raises(UserError, match="its list of pictures is damaged: pack it again"):
            datasets.open([path])


def test_the_check_finds_a_changed_pixel_in_a_packed_file(packed, tmp_path):
    values = bytearray(packed.read_bytes())
    values[-1] ^= 1
    (tmp_path / "changed.safetensors").write_bytes(values)
    problems = [record.problem for record in datasets.open([tmp_path / "changed.safetensors"]).check()]
    assert problems[:-1] == [None] * 10
    assert problems[-1].endswith("changed.safetensors: 000010 k.png: the pixels are damaged: pack the file again")
    assert all(record.problem is None for record in datasets.open([packed]).check())


def test_small_pictures_of_a_packed_file_are_named_before_training(packed):
    place = datasets.open([packed])
    place.require_sound(20)
    with pytest.raises(UserError, match=r"3 of 11 pictures cannot .*000000 a\.png: 24×20 is smaller than the HR patch of 22×22.*i\.png"):
        datasets.open([packed]).require_sound(22)


# ------------------------------------------------------------------------------------------------------------------------- shards


def test_shards_keep_the_bytes_of_files_and_say_what_they_are(folder, shards):
    table = parquet.read_table(shards / "00001-of-00003.parquet")
    assert table.column("image").to_pylist() == [
        {"bytes": (folder / f"{name}.png").read_bytes(), "path": f"{name}.png"} for name in "fghij"
    ]
    assert json.loads(table.schema.metadata[b"huggingface"]) == {"info": {"features": {"image": {"_type": "Image"}}}}
    with pytest.raises(UserError, match="is there already: use another --out"):
        datasets.write_shards([folder], shards)
    with pytest.raises(UserError, match="rows = 0: use a positive number"):
        datasets.write_shards([folder], shards.parent / "none", rows=0)


@pytest.mark.parametrize("kind", [pyarrow.binary(), pyarrow.large_binary(), STRUCT])
def test_pictures_may_be_binary_or_a_struct_among_other_columns(folder, tmp_path, kind):
    data = [(folder / f"{name}.png").read_bytes() for name in "abc"]
    values = [{"bytes": value, "path": None} for value in data] if kind is STRUCT else data
    place = datasets.open([write_column(tmp_path / "x.parquet", values, kind, row_group_size=2)])
    assert place.groups.tolist() == [2, 1]
    assert np.array_equal(place.read(2), images.read(folder / "c.png").numpy())


def test_another_column_is_refused_with_those_that_are_there(folder, tmp_path):
    data = [(folder / "a.png").read_bytes()]
    with pytest.raises(
        UserError, match=r"x\.parquet: no column 'image' of pictures' bytes among its columns photo \(binary\), label \(int64\)"
    ):
        datasets.open([write_column(tmp_path / "x.parquet", data, pyarrow.binary(), "photo")])
    with pytest.raises(UserError, match=r"columns image \(string\)"):
        datasets.open([write_column(tmp_path / "y.parquet", ["a.png"], pyarrow.string())])


def test_what_is_wrong_in_a_shard_is_named_with_its_row(folder, tmp_path):
    data = [(folder / "a.png").read_bytes(), b"no picture", None, b"", (folder / "b.png").read_bytes()]
    path = write_column(tmp_path / "x.parquet", data, pyarrow.binary(), row_group_size=2)
    place = datasets.open([path])
    place.require_sound(20)
    assert place.read(0).shape == (3, 20, 24)
    for i, words in ((1, "not a picture"), (2, "the picture itself is missing"), (3, r"empty \(0 bytes\)")):
        with pytest.raises(UserError, match=rf"x\.parquet, row {i}: .*{words}"):
            place.read(i)
    place.require_sound(23)
    with pytest.raises(UserError, match=r"x\.parquet, row 0: 24×20 is smaller than the HR patch of 23×23"):
        place.read(0)
    found = list(place.check())
    assert [record.problem is None for record in found] == [True, False, False, False, True]
    assert (found[4].width, found[4].height, found[4].sha256) == (22, 31, files.sha256(data[4]))


def test_damaged_shards_are_refused(shards, tmp_path):
    path, whole = tmp_path / "x.parquet", (shards / "00000-of-00003.parquet").read_bytes()
    for damaged in (b"", b"x", whole[:-1], b"PAR1\xff\xff\xff\x7fPAR1"):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"x\.parquet: not a whole Parquet file"):
            datasets.open([path])
    length = int.from_bytes(whole[-8:-4], "little")
    path.write_bytes(whole[: -8 - length] + b"\xff" * length + whole[-8:])
    with pytest.raises(UserError, match=r"x\.parquet: its footer is damaged"):
        datasets.open([path])
    start = whole.index(b"\x89PNG")  # before it lies the header of its page
    path.write_bytes(whole[:4] + b"\xff" * (start - 4) + whole[start:])
    with pytest.raises(UserError, match=r"x\.parquet: cannot be read"):
        datasets.open([path]).read(0)


def test_a_long_footer_is_read_whole(folder, tmp_path):
    data = [(folder / "a.png").read_bytes()] * 40
    table = pyarrow.table({"image": pyarrow.array(data, pyarrow.binary())}).replace_schema_metadata({"long": "x" * 100_000})
    parquet.write_table(table, tmp_path / "x.parquet")
    assert len(datasets.open([tmp_path / "x.parquet"])) == 40


def test_other_contents_give_another_fingerprint(folder, shards, tmp_path):
    first = datasets.open([shards])
    shutil.copytree(folder, tmp_path / "changed")
    images.write(tmp_path / "changed" / "c.png", slow_twins.noise_picture(22, 22, seed=99))
    datasets.write_shards([tmp_path / "changed"], tmp_path / "shards", rows=5, group_rows=2)
    changed = datasets.open([tmp_path / "shards"], first.to_json())
    assert changed.fingerprint != first.fingerprint
    # Known values of a file that has changed since are not taken.
    shutil.copytree(shards, tmp_path / "moving")
    known = datasets.open([tmp_path / "moving"]).to_json()
    shutil.copyfile(tmp_path / "shards" / "00000-of-00003.parquet", tmp_path / "moving" / "00000-of-00003.parquet")
    assert datasets.open([tmp_path / "moving"], known).fingerprint == changed.fingerprint


@pytest.fixture
def flaky(monkeypatch):
    """A far place whose reading fails as often as the list says, and the waits that were made."""
    errors: list[Exception] = []
    waits: list[float] = []
    for name in ("cat_file", "open"):
        function = getattr(MemoryFileSystem, name)

        def fail_first(self, path, *rest, function=function, **options):
            if errors and str(path).endswith(".parquet"):
                raise errors.pop()
            return function(self, path, *rest, **options)

        monkeypatch.setattr(MemoryFileSystem, name, fail_first)
    monkeypatch.setattr("wildsr.datasets.shards.time.sleep", waits.append)
    return errors, waits


def test_what_fails_on_the_way_is_tried_again(far, flaky, folder):
    errors, waits = flaky
    errors += [ConnectionError("reset"), TimeoutError()]
    place = datasets.open([far + "/*-of-00003.parquet"])
    assert sum(waits) in (2, 5), "one shard twice, or two once each"
    errors += [RuntimeError("a file system's own")] * 3
    waits.clear()
    assert np.array_equal(place.read(10), images.read(folder / "k.png").numpy())
    assert waits == [1, 4, 15]


def test_what_fails_for_good_is_an_error_with_the_place(far, flaky):
    errors, waits = flaky
    place = datasets.open([far])
    errors += [ConnectionError("the line is dead")] * 9
    with pytest.raises(UserError, match=r"memory:///far/00000-of-00003\.parquet: cannot be read \(the line is dead\)"):
        place.read(0)
    assert waits == [1, 4, 15]
    refused = OSError("401 you may not")
    refused.response = type("Response", (), {"status_code": 401})()
    errors[:] = [refused]
    waits.clear()
    with pytest.raises(UserError, match="401 you may not"):
        datasets.open([far]).read(0)
    assert waits == []


@pytest.mark.parametrize(("missing", "place"), [("pyarrow", "shards"), ("pyarrow.parquet", "shards"), ("fsspec", "shards")])
def test_a_missing_package_is_named_with_the_command_that_installs_it(missing, place, request, folder, monkeypatch):
    place = request.getfixturevalue(place)
    monkeypatch.setitem(sys.modules, missing, None)
    message = rf"Parquet shards need {missing.split('.')[0]}: pip install 'wildsr\[parquet\]'"
    with pytest.raises(UserError, match=message):
        datasets.open([place])
    if missing != "fsspec":
        with pytest.raises(UserError, match=message):
            datasets.write_shards([folder], folder.parent / "never")
    assert len(datasets.open([folder])) == 11


def test_the_hub_needs_a_package_of_its_own(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r"hf://datasets/a/b: nothing installed reads such places: pip install 'wildsr\[parquet\]'"):
        datasets.open(["hf://datasets/a/b"])


# ------------------------------------------------------------------------------------------------------------------ the whole way


def test_a_run_on_every_kind_of_place_breaks_off_and_ends_the_same(tiny, pictures, tmp_path):
    datasets.pack([pictures], tmp_path / "packed.safetensors")
    shutil.copytree(pictures, tmp_path / "more")
    datasets.write_shards([tmp_path / "more"], tmp_path / "shards", rows=2, group_rows=1)
    data = [tmp_path / "packed.safetensors", tmp_path / "shards", pictures]

    def run(where, validate=None):
        return train(tiny, data, where, device="cpu", console=Console(quiet=True), validate=validate)

    whole = run(tmp_path / "whole")
    with pytest.raises(ZeroDivisionError):  # at step 3, one step after a save
        run(tmp_path / "broken", lambda _: 1 / 0)
    assert run(tmp_path / "broken").read_bytes() == whole.read_bytes()
    data.pop()
    with pytest.raises(UserError, match="was started on other pictures"):
        run(tmp_path / "whole")


def test_a_packed_folder_is_trained_on_as_the_folder(tiny, pictures, tmp_path):
    datasets.pack([pictures], tmp_path / "packed.safetensors")
    logs = []
    for name, place in (("folder", pictures), ("packed", tmp_path / "packed.safetensors")):
        train(tiny, [place], tmp_path / name, device="cpu", console=Console(quiet=True))
        logs.append([record["losses"] for record in files.read_jsonl(tmp_path / name / "log.jsonl") if record["event"] == "step"])
    assert logs[0] == logs[1]


def test_the_command_line_packs_writes_shards_and_checks_them(wildsr, pictures, tmp_path):
    out = tmp_path / "out.safetensors"
    status, said, _ = wildsr("data", "pack", pictures, "--out", out, "--max-bytes", 20_000, "--side", 64)
    assert (status, said) == (0, f"{out}: 1 of 3 pictures, {out.stat().st_size:,} bytes\n")
    assert wildsr("data", "check", out)[1] == "1 pictures, 0 unreadable; the shortest side is 64 pixels\n"
    (pictures / "tiny.png").write_bytes(images.png(images.to_pillow(slow_twins.noise_picture(9, 30))))
    assert wildsr("data", "shards", pictures, "--out", tmp_path / "shards", "--rows", 2)[:2] == (0, f"{tmp_path / 'shards'}: 2 shards\n")
    assert wildsr("data", "check", tmp_path / "shards")[1] == "4 pictures, 0 unreadable; the shortest side is 9 pixels\n"
    small = ["--set=steps=2", "--set=batch_size=2", "--set=lr_patch=8", "--set=network.channels=4", "--set=network.blocks=1"]
    status, _, err = wildsr("train", "quick", "--data", tmp_path / "shards", "--run-dir", tmp_path / "run", *small)
    assert status == 2
    assert "row 1: 30×9 is smaller than the HR patch of 32×32: remove it" in err
    assert wildsr("train", "quick", "--data", out, "--run-dir", tmp_path / "other", *small)[0] == 0
