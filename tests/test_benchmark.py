"""The benchmark: every number against a slow twin, rows that carry their proof, and failures that spare the others."""

import json
import math
from pathlib import Path

import numpy as np
import PIL
import pytest
import slow_twins
import torch
from PIL import Image

from wildsr import benchmark, degrade, files, images
from wildsr.benchmark import SUITES, Contender, Suite, bicubic
from wildsr.errors import UserError

SUITE = SUITES["rdsr8"]
FEW = Suite("few", version="7", scale=2, crop=2, degradations=("clean", "n+j"))

KEYS = {
    *(
        "model",
        "weights_sha256",
        "weights_key",
        "scale",
        "suite",
        "suite_version",
        "set",
        "image",
        "degradation",
        "metric",
        "space",
        "crop",
    ),
    *("resizer", "tile", "hr_sha256", "lr_sha256", "value", "infinite", "dtype", "seed", "code_version", "protocol", "error"),
}


@pytest.fixture
def folder(tmp_path) -> Path:
    """A set of two pictures whose sides are no multiples of 12."""
    images.write(tmp_path / "mine" / "first.png", slow_twins.smooth_picture(50, 63, seed=1))
    images.write(tmp_path / "mine" / "second.png", slow_twins.smooth_picture(48, 37, seed=2))
    return tmp_path / "mine"


def rows_of(contenders, suite, folders, **how) -> list[dict]:
    return list(benchmark.run(contenders, suite, benchmark.read_sets(folders, suite), **how))


def nearest(scale: int, name: str = "nearest") -> Contender:
    return Contender(name, lambda lr: lr.repeat_interleave(scale, -1).repeat_interleave(scale, -2), scale)


# ---------------------------------------------------------------------------------------------------------------------------- rows


def test_bicubic_s_numbers_equal_their_slow_twin(folder):
    rows = rows_of([bicubic(4)], SUITE, [folder], seed=3)
    assert len(rows) == 2 * 8 * 4
    for row in rows:
        hr = images.read(folder / f"{row['image']}.png")
        height, width = (side - side % 12 for side in hr.shape[-2:])
        hr = hr[:, :height, :width].contiguous()
        lr = slow_twins.fixed(hr, degrade.PRESETS[row["degradation"]], row["degradation"], 3)
        sr = np.asarray(Image.fromarray(lr).resize((width, height), Image.Resampling.BICUBIC)).transpose(2, 0, 1)
        expected = getattr(slow_twins, row["metric"])(sr, hr.numpy(), 4, row["space"])
        assert row["value"] == pytest.approx(expected, abs=1e-9), row


def test_rows_come_for_every_picture_degradation_contender_metric_and_space(folder):
    rows = rows_of([bicubic(2), nearest(2)], FEW, [folder])
    found = [tuple(row[key] for key in ("image", "degradation", "model", "metric", "space")) for row in rows]
    assert len(set(found)) == len(found) == 2 * 2 * 2 * 2 * 2
    assert {row["set"] for row in rows} == {"mine"}
    assert found[:5] == [
        ("first", "clean", "bicubic", "psnr", "rgb"),
        ("first", "clean", "bicubic", "psnr", "y"),
        ("first", "clean", "bicubic", "ssim", "rgb"),
        ("first", "clean", "bicubic", "ssim", "y"),
        ("first", "clean", "nearest", "psnr", "rgb"),
    ]


def test_rows_hold_these_keys_and_what_they_say_is_so(folder):
    contender = Contender("mine", nearest(2).upscale, 2, weights_sha256="abc", weights_key="ema", tile=64, dtype="bfloat16")
    for row in rows_of([contender], FEW, [folder], seed=9):
        assert set(row) == KEYS
        assert (row["model"], row["weights_sha256"], row["weights_key"], row["tile"], row["dtype"]) == (
            "mine",
            "abc",
            "ema",
            64,
            "bfloat16",
        )
        assert (row["scale"], row["suite"], row["suite_version"], row["crop"], row["seed"]) == (2, "few", "7", 2, 9)
        assert row["resizer"] == f"Pillow {PIL.__version__} bicubic"
        assert row["protocol"] == f"{row['metric']}-{row['space']}-crop2-uint8/1"
        assert row["code_version"] == files.code_version()
        assert row["hr_sha256"] == images.pixels_sha256(benchmark.read_hr(folder / f"{row['image']}.png"))
        assert (row["infinite"], row["error"]) == (False, None)
        assert math.isfinite(row["value"])
        assert json.loads(files.to_line(row)) == row


def test_a_perfect_contender_gets_infinite_rows(folder):
    hr = {path.stem: benchmark.read_hr(path) for path in images.find(folder)}
    by_size = {(picture.shape[-2] // 2, picture.shape[-1] // 2): images.to_float(picture)[None] for picture in hr.values()}
    perfect = Contender("perfect", lambda lr: by_size[tuple(lr.shape[-2:])], 2)
    for row in rows_of([perfect], FEW, [folder]):
        if row["metric"] == "psnr":
            assert (row["value"], row["infinite"]) == (None, True)
        else:
            assert row["value"] == pytest.approx(1, abs=1e-12)
            assert not row["infinite"]
        assert row["error"] is None
        # Infinity is no JSON.
        json.loads(files.to_line(row), parse_constant=pytest.fail)


def test_results_are_clamped_and_rounded_before_they_are_measured(folder):
    nudged = Contender("nudged", lambda lr: nearest(2).upscale(lr) + 0.4 / 255, 2)
    plain, almost = (rows_of([contender], FEW, [folder]) for contender in (nearest(2), nudged))
    assert [row["value"] for row in plain] == [row["value"] for row in almost]


def test_contenders_are_given_what_the_degradation_made(folder):
    seen = []

    def spy(lr: torch.Tensor) -> torch.Tensor:
        seen.append(lr)
        return nearest(2).upscale(lr)

    list(rows_of([Contender("spy", spy, 2)], FEW, [folder], seed=4))
    expected = [
        degrade.fixed(benchmark.read_hr(path), preset, seed=4, scale=2) for path in images.find(folder) for preset in FEW.degradations
    ]
    assert len(seen) == len(expected)
    for lr, degraded in zip(seen, expected, strict=True):
        assert torch.equal(lr, slow_twins.as_float(degraded))


# -------------------------------------------------------------------------------------------------------------------------- failures


def test_a_contender_that_fails_on_a_picture_gets_rows_with_the_error_and_spares_the_others(folder, tmp_path):
    def fail_on_the_second(lr: torch.Tensor) -> torch.Tensor:
        if lr.shape[-1] == 18:
            raise RuntimeError("out of memory")
        return nearest(2).upscale(lr)

    rows = rows_of([Contender("weak", fail_on_the_second, 2), bicubic(2)], FEW, [folder], out=tmp_path / "out")
    failed = [row for row in rows if row["error"] is not None]
    assert {(row["model"], row["image"]) for row in failed} == {("weak", "second")}
    assert len(failed) == 2 * 4
    for row in failed:
        assert row["error"] == "RuntimeError: out of memory"
        assert (row["value"], row["infinite"]) == (None, False)
        assert set(row) == KEYS
    assert all(row["value"] is not None for row in rows if row["error"] is None)
    assert not (tmp_path / "out/images/mine/clean/weak/second.png").exists()
    assert (tmp_path / "out/images/mine/clean/weak/first.png").exists()
    assert len(json.loads((tmp_path / "out/manifest.json").read_text())) == 4


@pytest.mark.parametrize(
    "upscale",
    [lambda lr: lr, lambda lr: nearest(2).upscale(lr)[..., :-1], lambda lr: nearest(2).upscale(lr)[:, :1]],
    ids=["not upscaled", "a column short", "one channel"],
)
def test_a_wrong_shape_is_an_error_row(folder, upscale):
    for row in rows_of([Contender("wrong", upscale, 2)], FEW, [folder]):
        assert row["error"].startswith("UserError: the result has the shape [")
        assert row["value"] is None


@pytest.mark.parametrize("upscale", [lambda lr: None, lambda lr: lr[0], lambda lr: 1 / 0], ids=["nothing", "no batch", "division"])
def test_any_failure_is_an_error_row(folder, upscale):
    rows = rows_of([Contender("wrong", upscale, 2), bicubic(2)], FEW, [folder])
    assert all((row["error"] is not None) == (row["model"] == "wrong") for row in rows)


def test_not_a_number_is_never_a_score(folder):
    rows = rows_of([Contender("nan", lambda lr: nearest(2).upscale(lr) * math.nan, 2)], FEW, [folder])
    assert all(row["value"] is None and row["error"] is not None for row in rows)


def test_another_scale_and_equal_names_are_refused_before_anything_is_measured(folder):
    sets = benchmark.read_sets([folder], FEW)
    with pytest.raises(UserError, match="bicubic upscales ×4, suite few is ×2"):
        next(benchmark.run([bicubic(4)], FEW, sets))
    with pytest.raises(UserError, match="two models would have the same name in the rows: a, b, a"):
        next(benchmark.run([nearest(2, "a"), nearest(2, "b"), nearest(2, "a")], FEW, sets))


def test_an_unknown_suite_is_refused():
    assert benchmark.find_suite("rdsr8") is SUITE
    with pytest.raises(UserError, match=r"unknown suite 'rdsr': did you mean 'rdsr8'\?"):
        benchmark.find_suite("rdsr")


# ----------------------------------------------------------------------------------------------------------------------------- sets


def test_sets_are_known_by_their_folders_and_pictures_by_their_stems(folder, tmp_path):
    images.write(tmp_path / "other" / "first.png", slow_twins.smooth_picture(30, 30))
    sets = benchmark.read_sets([folder, tmp_path / "other"], SUITE)
    assert {name: list(pictures) for name, pictures in sets.items()} == {"mine": ["first", "second"], "other": ["first"]}
    assert sets["other"]["first"] == tmp_path / "other" / "first.png"


def test_sets_of_one_name_are_refused(folder, tmp_path):
    images.write(tmp_path / "elsewhere" / "mine" / "third.png", slow_twins.smooth_picture(30, 30))
    for other in (tmp_path / "elsewhere" / "mine", folder / "."):
        with pytest.raises(UserError, match="two folders are called 'mine'"):
            benchmark.read_sets([folder, other], SUITE)


def test_pictures_of_one_stem_are_refused(folder):
    images.to_pillow(slow_twins.smooth_picture(30, 30)).save(folder / "first.jpg")
    with pytest.raises(UserError, match=r"first\.jpg and .*first\.png would both be written as 'first'"):
        benchmark.read_sets([folder], SUITE)


def test_small_and_bad_pictures_are_refused_all_at_once_and_by_name(folder):
    images.write(folder / "low.png", slow_twins.smooth_picture(23, 60))
    images.write(folder / "thin.png", slow_twins.smooth_picture(60, 23))
    (folder / "torn.png").write_bytes((folder / "first.png").read_bytes()[:200])
    with pytest.raises(UserError) as caught:
        benchmark.read_sets([folder], SUITE)
    message = str(caught.value)
    assert message.startswith("3 pictures cannot be measured on")
    assert "low.png: 60×23 is too small for rdsr8: 24 pixels a side are needed" in message
    assert "thin.png: 23×60 is too small" in message
    assert "torn.png: the picture is damaged" in message


def test_the_smallest_picture_that_is_let_in_can_be_measured(tmp_path):
    images.write(tmp_path / "set" / "small.png", slow_twins.smooth_picture(24, 35))
    rows = rows_of([bicubic(4)], SUITE, [tmp_path / "set"])
    assert len(rows) == 32
    assert all(row["error"] is None and row["value"] is not None for row in rows)


def test_ground_truth_is_cut_to_multiples_of_12(folder):
    picture = benchmark.read_hr(folder / "first.png")
    assert picture.shape == (3, 48, 60)
    assert torch.equal(picture, images.read(folder / "first.png")[:, :48, :60])


# ---------------------------------------------------------------------------------------------------------------- files and repetition


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_pictures_that_rows_speak_of_are_written(folder, tmp_path):
    out = tmp_path / "out"
    rows_of([bicubic(2), nearest(2)], FEW, [folder], out=out)
    expected = {"manifest.json"} | {f"hr/mine/{stem}.png" for stem in ("first", "second")}
    for stem in ("first", "second"):
        for degradation in ("clean", "n+j"):
            expected |= {f"lr/mine/{degradation}/{stem}.png"}
            expected |= {f"images/mine/{degradation}/{name}/{stem}.png" for name in ("bicubic", "nearest")}
    assert set(contents(out)) == expected
    lr = images.read(out / "lr/mine/n+j/first.png")
    hr = images.read(out / "hr/mine/first.png")
    assert torch.equal(hr, benchmark.read_hr(folder / "first.png"))
    assert torch.equal(lr, degrade.fixed(hr, "n+j", seed=0, scale=2))
    sr = images.read(out / "images/mine/n+j/nearest/first.png")
    assert torch.equal(sr, lr.repeat_interleave(2, -1).repeat_interleave(2, -2))


def test_the_manifest_and_the_rows_hold_the_hashes_of_the_files_on_disk(folder, tmp_path):
    out = tmp_path / "out"
    rows = rows_of([bicubic(2)], FEW, [folder], out=out)
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest == {name: files.sha256_file(out / "lr" / name) for name in manifest}
    assert set(manifest) == {path.relative_to(out / "lr").as_posix() for path in (out / "lr").rglob("*.png")}
    for row in rows:
        assert row["lr_sha256"] == manifest[f"{row['set']}/{row['degradation']}/{row['image']}.png"]
        assert row["hr_sha256"] == images.pixels_sha256(images.read(out / "hr" / row["set"] / f"{row['image']}.png"))


def test_rows_are_the_same_with_and_without_files(folder, tmp_path):
    assert rows_of([bicubic(2)], FEW, [folder]) == rows_of([bicubic(2)], FEW, [folder], out=tmp_path / "out")


def test_running_twice_gives_equal_bytes(folder, tmp_path):
    rows = [rows_of([bicubic(4), nearest(4)], SUITE, [folder], out=tmp_path / name) for name in ("once", "twice")]
    assert "".join(map(files.to_line, rows[0])) == "".join(map(files.to_line, rows[1]))
    assert contents(tmp_path / "once") == contents(tmp_path / "twice")


def test_noise_depends_on_the_seed_and_not_on_the_name_of_the_file(folder):
    (folder / "renamed.png").write_bytes((folder / "first.png").read_bytes())
    hashes = {
        (seed, row["image"], row["degradation"]): row["lr_sha256"]
        for seed in (0, 1)
        for row in rows_of([bicubic(2)], FEW, [folder], seed=seed)
    }
    assert hashes[0, "first", "n+j"] == hashes[0, "renamed", "n+j"] != hashes[1, "first", "n+j"]
    assert hashes[0, "first", "clean"] == hashes[1, "first", "clean"]


def test_mean_psnr_is_the_mean_of_the_rgb_rows(folder):
    sets = benchmark.read_sets([folder], FEW)
    rows = list(benchmark.run([bicubic(2)], FEW, sets, seed=2))
    means = benchmark.mean_psnr(bicubic(2), FEW, sets, seed=2)
    assert list(means) == ["psnr clean", "psnr n+j"]
    for degradation in FEW.degradations:
        values = [row["value"] for row in rows if (row["degradation"], row["metric"], row["space"]) == (degradation, "psnr", "rgb")]
        assert len(values) == 2
        assert means[f"psnr {degradation}"] == pytest.approx(sum(values) / 2, abs=1e-12)
