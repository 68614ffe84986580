"""Ground truth and low resolution in the folders that other projects make; pairs by name, and what is said of those that do not fit."""

import re
from pathlib import Path

import pytest
import slow_twins
from PIL import Image

from wildsr import datasets, images
from wildsr.datasets import NamedSet, layouts, named
from wildsr.errors import UserError

NAMES = ("baby", "bird", "butterfly", "head", "woman")


def fill(folder: Path, names=NAMES, side: int = 24, ending: str = "", suffix: str = ".png") -> Path:
    """A folder of small pictures."""
    for seed, name in enumerate(names):
        data = images.png(images.to_pillow(slow_twins.noise_picture(side, side, seed=seed)))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}{ending}{suffix}").write_bytes(data)
    return folder


def shown(root: Path, folder: Path, scale: int = 4) -> dict[str, list[str]]:
    return {name: [path.relative_to(root).as_posix() for path in found] for name, found in datasets.ground_truths(folder, scale).items()}


def paths(folder: str, ending: str = ".png", names=NAMES) -> list[str]:
    return [f"{folder}/{name}{ending}" for name in names]


# ------------------------------------------------------------------------------------------------------------------ ground truth


def test_a_flat_folder_is_itself(tmp_path):
    fill(tmp_path / "Photos" / "more")
    fill(tmp_path / "Photos", ["z"])
    assert datasets.ground_truths(tmp_path / "Photos", 4) == {"Photos": images.find(tmp_path / "Photos")}
    assert list(datasets.ground_truths(fill(tmp_path / "bsds100"), 4)) == ["B100"]


def test_folders_within_an_unknown_folder_are_one_set(tmp_path):
    fill(tmp_path / "Photos" / "a")
    fill(tmp_path / "Photos" / "b")
    assert datasets.ground_truths(tmp_path / "Photos", 4) == {"Photos": images.find(tmp_path / "Photos")}


@pytest.mark.parametrize(
    ("made", "chosen"),
    [
        (["GTmod12", "GTmod4", "original", "LRbicx2", "LRbicx3", "LRbicx4"], "GTmod12"),
        (["GTmod2", "GTmod3", "GTmod4", "LRbicx4"], "GTmod4"),
        (["original", "GTmod3", "LRbicx4"], "original"),
    ],
)
def test_basicsr(tmp_path, made, chosen):
    for name in made:
        fill(tmp_path / "Set5" / name)
    assert shown(tmp_path, tmp_path / "Set5") == {"Set5": paths(f"Set5/{chosen}")}
    assert shown(tmp_path, tmp_path / "Set5" / chosen) == {"Set5": paths(f"Set5/{chosen}")}


def test_edsr_and_reflash_dropout(tmp_path):
    for root, high in (("edsr", "HR"), ("rdsr", "HR/x4")):
        fill(tmp_path / root / "Set5" / high)
        fill(tmp_path / root / "Set5" / "LR_bicubic" / "X4", side=6, ending="x4")
        fill(tmp_path / root / "Set5" / "LR_degra" / "bicubic_noise20", side=6, ending="x4")
        assert shown(tmp_path, tmp_path / root / "Set5") == {"Set5": paths(f"{root}/Set5/{high}")}
        assert shown(tmp_path, tmp_path / root) == {"Set5": paths(f"{root}/Set5/{high}")}
        assert shown(tmp_path, tmp_path / root / "Set5" / high) == {"Set5": paths(f"{root}/Set5/{high}")}
    with pytest.raises(UserError, match=r"Set5/HR: holds x4, and no ground truth for ×3"):
        datasets.ground_truths(tmp_path / "rdsr", 3)


def test_selfexsr_is_read_at_its_scale_alone(tmp_path):
    for scale in (2, 4):
        folder = tmp_path / "Urban100" / f"image_SRF_{scale}"
        fill(folder, ["img_001", "img_002"], ending=f"_SRF_{scale}_HR")
        fill(folder, ["img_001", "img_002"], side=24 // scale, ending=f"_SRF_{scale}_LR")
    for scale in (2, 4):
        wanted = {"Urban100": [f"Urban100/image_SRF_{scale}/img_{i:03d}_SRF_{scale}_HR.png" for i in (1, 2)]}
        assert shown(tmp_path, tmp_path / "Urban100", scale) == wanted
        assert shown(tmp_path, tmp_path / "Urban100" / f"image_SRF_{scale}", scale) == wanted
    with pytest.raises(UserError, match="Urban100: holds image_SRF_2, image_SRF_4, and no ground truth for ×3"):
        datasets.ground_truths(tmp_path / "Urban100", 3)
    found = datasets.pairs(tmp_path / "Urban100" / "image_SRF_4", tmp_path / "Urban100", 4)
    assert [(name, low.name, high.name) for name, low, high in found] == [
        (name, f"{name}_SRF_4_LR.png", f"{name}_SRF_4_HR.png") for name in ("img_001", "img_002")
    ]


def test_low_resolution_beside_its_ground_truth_is_told_by_the_names(tmp_path):
    """RealSR's folders; what merely ends like a scale, without such a partner, is a name."""
    folder = tmp_path / "RealSR" / "Canon" / "Test" / "4"
    high = fill(folder, ["Canon_001", "Canon_002"], ending="_HR")
    assert shown(tmp_path, tmp_path / "RealSR")["RealSR"] == [
        f"RealSR/Canon/Test/4/{name}.png" for name in ("Canon_001_HR", "Canon_002_HR")
    ]
    fill(folder, ["Canon_001", "Canon_002"], side=6, ending="_LR4")
    fill(folder, ["box4"])
    wanted = ["Canon_001_HR.png", "Canon_002_HR.png", "box4.png"]
    assert [path.name for path in datasets.ground_truths(tmp_path / "RealSR", 4)["RealSR"]] == wanted
    with pytest.raises(UserError, match=r"RealSR: holds low resolution \(.*Canon_001_LR4.png\), which would be .*: move one of both away"):
        layouts.require_ground_truth(tmp_path / "RealSR")
    (folder / "box4.png").unlink()
    found = [(name, low.name) for name, low, _ in datasets.pairs(high, high, 4)]
    assert found == [(f"Canon_00{i}", f"Canon_00{i}_LR4.png") for i in (1, 2)]


def test_div2k(tmp_path):
    root = tmp_path / "DIV2K"
    for split, names in (("train", ["0001", "0002"]), ("valid", ["0801"])):
        fill(root / f"DIV2K_{split}_HR", names)
        fill(root / f"DIV2K_{split}_LR_bicubic" / "X4", names, side=6, ending="x4")
        fill(root / f"DIV2K_{split}_LR_mild", names, side=6, ending="x4m")
    fill(root / "DIV2K_train_HR_sub", ["0001_s001"])
    train, valid = ["DIV2K/DIV2K_train_HR/0001.png", "DIV2K/DIV2K_train_HR/0002.png"], ["DIV2K/DIV2K_valid_HR/0801.png"]
    assert shown(tmp_path, root) == {"DIV2K_train_HR": train, "DIV2K_valid_HR": valid}
    assert shown(tmp_path, root / "DIV2K_valid_HR") == {"DIV2K_valid_HR": valid}
    assert [name for name, *_ in datasets.pairs(root / "DIV2K_valid_LR_bicubic", root / "DIV2K_valid_HR", 4)] == ["0801"]
    assert [name for name, *_ in datasets.pairs(root / "DIV2K_valid_LR_mild", root / "DIV2K_valid_HR", 4)] == ["0801"]


def test_a_folder_a_scale_below_hr(tmp_path):
    for name in ("Set5", "B100"):
        for scale in (2, 4):
            fill(tmp_path / "Test" / "HR" / name / f"x{scale}")
            fill(tmp_path / "Test" / "LR" / "LRBI" / name / f"x{scale}", side=24 // scale, ending=f"_LRBI_x{scale}")
    assert shown(tmp_path, tmp_path / "Test") == {name: paths(f"Test/HR/{name}/x4") for name in ("B100", "Set5")}
    assert shown(tmp_path, tmp_path / "Test" / "HR" / "Set5" / "x2", 2) == {"Set5": paths("Test/HR/Set5/x2")}
    assert len(datasets.pairs(tmp_path / "Test" / "LR" / "LRBI" / "Set5" / "x4", tmp_path / "Test" / "HR" / "Set5", 4)) == 5


def test_a_root_of_several_sets(tmp_path):
    fill(tmp_path / "data" / "Set5")
    fill(tmp_path / "data" / "Set14" / "HR", ["a"])
    fill(tmp_path / "data" / "General100", ["b"])
    fill(tmp_path / "data" / "RealSRSet", ["real"])
    fill(tmp_path / "data" / ".Urban100.partial", ["half"])
    fill(tmp_path / "data" / "DIV2K_valid_LR_mild", ["0801x4m"])
    (tmp_path / "data" / "empty").mkdir()
    assert shown(tmp_path, tmp_path / "data") == {
        "General100": ["data/General100/b.png"],
        "Set14": ["data/Set14/HR/a.png"],
        "Set5": paths("data/Set5"),
    }
    fill(tmp_path / "data" / "BSD100", ["c"])
    fill(tmp_path / "data" / "B100", ["c"])
    with pytest.raises(UserError, match="two folders in it hold the set B100"):
        datasets.ground_truths(tmp_path / "data", 4)


def test_links_that_lead_back_are_not_followed(tmp_path):
    fill(tmp_path / "Photos" / "a")
    (tmp_path / "Photos" / "b").symlink_to(tmp_path / "Photos")
    assert datasets.ground_truths(tmp_path / "Photos", 4) == {"Photos": images.find(tmp_path / "Photos")}
    assert datasets.survey(tmp_path / "Photos") == ([], [])


def test_an_archives_own_folder_within_a_set_is_looked_into(tmp_path):
    fill(tmp_path / "Set14" / "Set14_HR", ["a"])
    fill(tmp_path / "Set14" / "LR", ["a"], side=6)
    assert shown(tmp_path, tmp_path / "Set14") == {"Set14": ["Set14/Set14_HR/a.png"]}


@pytest.mark.parametrize("folder", ["LR", "LRbicx4", "LR_bicubic/X4", "LR_degra/bicubic", "DIV2K_valid_LR_wild", "Set5_LR_x4", "lq"])
def test_low_resolution_is_never_ground_truth(tmp_path, folder):
    fill(tmp_path / folder)
    with pytest.raises(UserError, match=r"a folder of low resolution, by its name|has no ground truth"):
        datasets.ground_truths(tmp_path / folder, 4)


@pytest.mark.parametrize("folder", ["colour", "solr", "lrose", "LRGB photos", "Lr", "flr_x"])
def test_other_names_are_not_taken_for_low_resolution(folder):
    assert layouts._is_lr(folder) == (folder == "Lr")


def test_what_has_no_ground_truth_is_said(tmp_path):
    with pytest.raises(UserError, match="RealSRSet has no ground truth"):
        datasets.ground_truths(fill(tmp_path / "RealSRSet"), 4)
    fill(tmp_path / "Some" / "LR_x4")
    with pytest.raises(UserError, match="Some: holds low resolution only"):
        datasets.ground_truths(tmp_path / "Some", 4)
    fill(tmp_path / "Set5" / "LRbicx4")
    with pytest.raises(UserError, match="Set5: holds no ground truth for ×4"):
        datasets.ground_truths(tmp_path / "Set5", 4)
    with pytest.raises(UserError, match="absent: no such folder"):
        datasets.ground_truths(tmp_path / "absent", 4)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty: holds no picture"):
        datasets.ground_truths(tmp_path / "empty", 4)


def test_a_named_set_of_another_number_is_half_unpacked():
    datasets.require_whole("Set5", Path("a/Set5"), 5)
    datasets.require_whole("My photos", Path("a"), 7)
    datasets.require_whole("DIV2K_valid_LR_wild", Path("a"), 7)
    with pytest.raises(UserError, match=r"Set5 has 5 pictures, a/set5 holds 3: half unpacked\? .*rename the folder if it is a selection"):
        datasets.require_whole("set5", Path("a/set5"), 3)
    with pytest.raises(UserError, match="B100 has 100 pictures, a holds 101"):
        datasets.require_whole("BSD100", Path("a"), 101)


# ----------------------------------------------------------------------------------------------------------------------- pairs


@pytest.mark.parametrize(
    ("low", "high"),
    [
        ("", ""),
        ("x4", ""),
        ("x4m", ""),
        ("x4d", ""),
        ("x4w", ""),
        ("_LR", "_HR"),
        ("_LR4", "_HR"),
        ("_x4", ""),
        ("x4", "x4"),
        ("_LRBI_x4", ""),
    ],
)
def test_pairs_are_found_by_name(tmp_path, low, high):
    fill(tmp_path / "low", side=6, ending=low)
    fill(tmp_path / "Some" / "HR", ending=high, suffix=".PNG")
    found = datasets.pairs(tmp_path / "low", tmp_path / "Some" / "HR", 4)
    assert [(low_path.name, high_path.name) for _, low_path, high_path in found] == [
        (f"{name}{low}.png", f"{name}{high}.PNG") for name in NAMES
    ]
    assert [name for name, *_ in found] == [f"{name}x4" if low == high == "x4" else name for name in NAMES]


def test_several_inputs_may_belong_to_one_picture(tmp_path):
    for i in (1, 2, 3, 4):
        fill(tmp_path / "wild", ["0801", "0802"], side=6, ending=f"x4w{i}")
    fill(tmp_path / "HR", ["0801", "0802"])
    found = datasets.pairs(tmp_path / "wild", tmp_path / "HR", 4)
    assert [name for name, *_ in found] == [f"{name}x4w{i}" for name in ("0801", "0802") for i in (1, 2, 3, 4)]
    assert all(low.stem == name and high.stem == name[:4] for name, low, high in found)
    fill(tmp_path / "wild", ["0801"], side=6, ending="x4w")
    with pytest.raises(UserError, match=r"are both the LR picture of 0801\.png"):
        datasets.pairs(tmp_path / "wild", tmp_path / "HR", 4)


def test_a_name_that_ends_like_a_scale_is_a_name(tmp_path):
    fill(tmp_path / "low", ["max2", "max"], side=6)
    fill(tmp_path / "high", ["max2", "max"])
    assert [(low.name, high.name) for _, low, high in datasets.pairs(tmp_path / "low", tmp_path / "high", 4)] == [
        ("max.png", "max.png"),
        ("max2.png", "max2.png"),
    ]


def refused(low: Path, high: Path, scale: int = 4) -> str:
    with pytest.raises(UserError) as caught:
        datasets.pairs(low, high, scale)
    return str(caught.value)


def test_pairs_without_partner_are_named(tmp_path):
    low, high = fill(tmp_path / "low", side=6, ending="x4"), fill(tmp_path / "Set5" / "HR")
    (low / "headx4.png").unlink()
    counts = rf"set Set5: 4 LR pictures in {re.escape(str(low))}, 5 HR pictures in {re.escape(str(high))}: "
    assert re.fullmatch(counts + "head has no LR picture", refused(low, high))
    fill(low, ["heda"], side=6, ending="x4")
    assert re.fullmatch(counts.replace("4 LR", "5 LR") + r"hedax4 has no HR picture \(the nearest name is head\)", refused(low, high))
    for name in ("baby", "heda"):
        (low / f"{name}x4.png").unlink()
    assert refused(low, high).endswith("3 LR pictures in " + f"{low}, 5 HR pictures in {high}: baby has no LR picture, nor have 1 others")
    fill(low, ["baby", "head", "extra"], side=6, ending="x4")
    assert "6 LR pictures" in refused(low, high)
    assert "extrax4 has no HR picture" in refused(low, high)


def test_two_pictures_of_one_name_are_refused(tmp_path):
    low, high = fill(tmp_path / "low", side=6, ending="x4"), fill(tmp_path / "Set5" / "HR")
    fill(low, ["baby"], side=6)
    assert re.search(r"set Set5: .*baby\.png and .*babyx4\.png are both the LR picture of baby\.png", refused(low, high))
    (low / "baby.png").unlink()
    fill(high, ["baby"], suffix=".bmp")
    assert "baby.bmp and baby.png have one name" in refused(low, high)


def test_sizes_that_do_not_fit_are_said_with_the_pair(tmp_path):
    low, high = fill(tmp_path / "low", side=6, ending="x4"), fill(tmp_path / "Set5" / "HR")
    fill(low, ["head"], side=12, ending="x4")
    message = refused(low, high)
    assert message == "set Set5: headx4.png is 12×12, head.png is 24×24: not ×4, but ×2 (HR should be 48×48)"
    fill(low, ["head"], side=24, ending="x4")
    assert "headx4.png is 24×24, head.png is 24×24: it is enlarged already" in refused(low, high)
    fill(low, ["head"], side=5, ending="x4")
    assert "headx4.png is 5×5, head.png is 24×24: not ×4 (HR should be 20×20)" in refused(low, high)


@pytest.mark.parametrize(("width", "height", "fits"), [(24, 24, True), (27, 24, True), (24, 27, True), (28, 24, False), (24, 23, False)])
def test_ground_truth_may_be_larger_by_less_than_the_scale(tmp_path, width, height, fits):
    low = fill(tmp_path / "low", ["a"], side=6)
    (tmp_path / "high").mkdir()
    Image.new("RGB", (width, height)).save(tmp_path / "high" / "a.png")
    if fits:
        assert len(datasets.pairs(low, tmp_path / "high", 4)) == 1
    else:
        assert f"a.png is {width}×{height}: not ×4" in refused(low, tmp_path / "high")


def test_a_turned_picture_counts_upright_and_a_broken_one_is_named(tmp_path):
    low = fill(tmp_path / "low", ["a"], side=6)
    (tmp_path / "high").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (24, 27)).save(tmp_path / "high" / "a.png", exif=exif)
    Image.new("RGB", (6, 6)).save(low / "a.png")
    (_, _, path) = datasets.pairs(low, tmp_path / "high", 4)[0]
    assert layouts._size(path) == images.open_picture(path).size == (27, 24)
    (tmp_path / "high" / "a.png").write_bytes(b"words")
    assert "a.png: not a picture" in refused(low, tmp_path / "high")


def test_folders_of_other_scales_and_of_several_sets_are_said(tmp_path):
    fill(tmp_path / "Set5" / "HR")
    fill(tmp_path / "Set5" / "LR_bicubic" / "X2", side=12, ending="x2")
    assert "holds X2, and none for ×4" in refused(tmp_path / "Set5" / "LR_bicubic", tmp_path / "Set5")
    assert len(datasets.pairs(tmp_path / "Set5" / "LR_bicubic", tmp_path / "Set5", 2)) == 5
    fill(tmp_path / "Set14" / "HR")
    assert "holds the sets Set14, Set5: name the folder of one" in refused(tmp_path / "Set5" / "LR_bicubic", tmp_path, 2)


# ----------------------------------------------------------------------------------------------------------------------- check


@pytest.fixture
def set5(tmp_path, monkeypatch) -> Path:
    """A folder in EDSR's layout whose pixels are those of a set called Set5."""
    folder = tmp_path / "sets" / "Set5"
    fill(folder / "HR")
    for scale in (2, 4):
        fill(folder / "LR_bicubic" / f"X{scale}", side=24 // scale, ending=f"x{scale}")
    chosen = named.NAMED["Set5"]
    values = {name: getattr(chosen, name) for name in chosen.__dataclass_fields__}
    monkeypatch.setitem(named.NAMED, "Set5", NamedSet(**{**values, "pixels": datasets.pixels_digest(images.find(folder / "HR"))}))
    return folder


def test_the_check_tells_set_layout_pixels_and_low_resolution(wildsr, set5):
    status, out, err = wildsr("data", "check", set5)
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        "15 pictures, 0 unreadable; the shortest side is 6 pixels",
        "Set5: 5 pictures, EDSR's layout, HR; the pixels are those known",
        "  LR_bicubic/X2: 5 pairs, ×2",
        "  LR_bicubic/X4: 5 pairs, ×4",
    ]
    fill(set5 / "HR", ["baby"], side=36)
    (set5 / "LR_bicubic" / "X4" / "birdx4.png").unlink()
    status, out, err = wildsr("data", "check", set5.parent)
    assert status == 3
    assert "Set5: 5 pictures, EDSR's layout, HR; other pixels than those known" in out
    first, second = err.splitlines()
    assert first.startswith("wildsr: set Set5: babyx2.png is 12×12, baby.png is 36×36: not ×2")
    assert second.endswith("bird has no LR picture")
    (set5 / "HR" / "head.png").unlink()
    status, _, err = wildsr("data", "check", set5)
    assert status == 3
    assert re.search(r"wildsr: Set5 has 5 pictures, .*Set5 holds 4: half unpacked\?", err)


def test_the_check_says_nothing_of_unknown_folders(wildsr, tmp_path):
    fill(tmp_path / "photos")
    assert wildsr("data", "check", tmp_path / "photos")[1] == "5 pictures, 0 unreadable; the shortest side is 24 pixels\n"
    fill(tmp_path / "photos" / "more", ["torn"])
    (tmp_path / "photos" / "more" / "torn.png").write_bytes(b"")
    assert wildsr("data", "check", tmp_path / "photos")[0] == 3


def test_the_check_knows_low_resolution_that_stands_alone(tmp_path):
    low = fill(tmp_path / "DIV2K_valid_LR_wild", ["0801"], side=6, ending="x4w")
    lines, problems = datasets.survey(low)
    assert lines == [
        "DIV2K_valid_LR_wild: 1 pictures, without ground truth",
        "  DIV2K_valid_LR_wild: 1 pictures, ×4; no DIV2K_valid_HR beside it",
    ]
    assert problems == []
    fill(tmp_path / "DIV2K_valid_HR", ["0801"])
    assert datasets.survey(low)[0][1] == "  DIV2K_valid_LR_wild: 1 pairs, ×4"
    lines, problems = datasets.survey(tmp_path / "DIV2K_valid_HR")
    assert lines == ["DIV2K_valid_HR: 1 pictures, one folder", "  DIV2K_valid_LR_wild: 1 pairs, ×4"]
    assert [re.sub(r" \S+/", " ", line) for line in problems] == [
        "DIV2K_valid_HR has 100 pictures, DIV2K_valid_HR holds 1: half unpacked? Fetch or unpack it again, or rename the folder if it is a "
        "selection on purpose"
    ]
    lines, problems = datasets.survey(fill(tmp_path / "RealSRSet"))
    assert lines == ["RealSRSet: 5 pictures, without ground truth"]
    assert "RealSRSet has 20 pictures" in problems[0]


def test_the_check_reads_every_known_layout(tmp_path):
    folder = tmp_path / "Urban100"
    fill(folder / "image_SRF_4", ["img_001"], ending="_SRF_4_HR")
    fill(folder / "image_SRF_4", ["img_001"], side=6, ending="_SRF_4_LR")
    lines, problems = datasets.survey(folder)
    assert lines == ["Urban100: 1 pictures, SelfExSR's layout, image_SRF_4", "  image_SRF_4: 1 pairs, ×4"]
    assert len(problems) == 1
    fill(tmp_path / "Set5" / "GTmod12")
    fill(tmp_path / "Set5" / "LRbicx3", side=8)
    fill(tmp_path / "Set5" / "LR_other", side=8)
    lines, _ = datasets.survey(tmp_path / "Set5")
    assert lines[0].startswith("Set5: 5 pictures, BasicSR's layout, GTmod12; other pixels")
    assert lines[1:] == ["  LR_other: 5 pictures of low resolution, at a scale that its names do not say", "  LRbicx3: 5 pairs, ×3"]
    only = fill(tmp_path / "Set14" / "HR" / "x2", ["a"]).parents[1]
    assert datasets.survey(only)[0] == ["Set14: 1 pictures, EDSR's layout, HR/x2"]
