"""The benchmark: every number against a slow twin, rows that carry their proof, and failures that spare the others."""

import itertools
import json
import math
from pathlib import Path

import numpy as np
import PIL
import pytest
import slow_twins
import torch
from PIL import Image

from wildsr import benchmark, degrade, files, images, report
from wildsr.benchmark import SUITES, Contender, Suite, bicubic, presets
from wildsr.errors import UserError

SUITE = SUITES["rdsr8"]
FEW = Suite("few", version="7", scale=2, crop=2, degradations=presets("clean", "n+j"))

MODEL = "model training training_seed weights_sha256 weights_key tile dtype"
INPUT = "suite suite_version scale seed resizer set image degradation words seen shift crop hr_sha256 lr_sha256"
SCORE = "metric space value infinite lower_better protocol error code_version"
KEYS = {*MODEL.split(" "), *INPUT.split(" "), *SCORE.split(" ")}


@pytest.fixture
def folder(tmp_path) -> Path:
    """A set of two pictures whose sides are no multiples of 12."""
    images.write(tmp_path / "mine" / "first.png", slow_twins.smooth_picture(50, 63, seed=1))
    images.write(tmp_path / "mine" / "second.png", slow_twins.smooth_picture(48, 37, seed=2))
    return tmp_path / "mine"


def rows_of(contenders, suite, folders, *, seed=0, out=None) -> list[dict]:
    return list(benchmark.run(contenders, benchmark.made(folders, suite, seed=seed), out=out))


def nearest(scale: int, name: str = "nearest") -> Contender:
    return Contender(name, lambda lr: lr.repeat_interleave(scale, -1).repeat_interleave(scale, -2), scale)


# ---------------------------------------------------------------------------------------------------------------------------- rows


def test_bicubic_s_numbers_equal_their_slow_twin(folder):
    rows = rows_of([bicubic(4)], SUITE, [folder], seed=3)
    plain = [row for row in rows if row["metric"] in ("psnr", "ssim")]
    assert len(plain) == 2 * 8 * 4
    for row in plain:
        hr = images.read(folder / f"{row['image']}.png")
        height, width = (side - side % 12 for side in hr.shape[-2:])
        hr = hr[:, :height, :width].contiguous()
        lr = slow_twins.fixed(hr, row["degradation"], 3)
        sr = np.asarray(Image.fromarray(lr).resize((width, height), Image.Resampling.BICUBIC)).transpose(2, 0, 1)
        expected = getattr(slow_twins, row["metric"])(sr, hr.numpy(), 4, row["space"])
        assert row["value"] == pytest.approx(expected, abs=1e-9), row


def test_rows_come_for_every_picture_degradation_contender_metric_and_space(folder):
    rows = rows_of([bicubic(2), nearest(2)], FEW, [folder])
    found = [tuple(row[key] for key in ("image", "model", "degradation", "metric", "space")) for row in rows]
    assert len(set(found)) == len(found)
    assert {row["set"] for row in rows} == {"mine"}
    cases = list(dict.fromkeys(key[:3] for key in found))
    assert cases == list(itertools.product(("first", "second"), ("bicubic", "nearest"), ("clean", "n+j")))
    for case in cases:
        measures = [key[3:] for key in found if key[:3] == case]
        assert measures[:4] == [("psnr", "rgb"), ("psnr", "y"), ("ssim", "rgb"), ("ssim", "y")]
        assert ("psnr-high", "y") in measures
        assert any(name.startswith("energy-") for name, _ in measures)
        assert all(name != "ms-ssim" for name, _ in measures), "these pictures are too small for it"


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
        assert (row["words"], row["seen"]) == (degrade.PRESETS[row["degradation"]].words, "seen")
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
        if row["metric"].startswith("psnr"):
            assert (row["value"], row["infinite"]) == (None, True)
        else:
            assert row["value"] == pytest.approx(0 if row["metric"].startswith("energy") else 1, abs=1e-12)
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
    assert {(row["metric"], row["space"]) for row in failed} >= {("psnr", "rgb"), ("psnr", "y"), ("ssim", "rgb"), ("ssim", "y")}
    for row in failed:
        assert row["error"] == "RuntimeError: out of memory"
        assert (row["value"], row["infinite"]) == (None, False)
        assert set(row) == KEYS
    assert all(row["value"] is not None for row in rows if row["error"] is None)
    assert not (tmp_path / "out/images/few/mine/clean/weak/second.png").exists()
    assert (tmp_path / "out/images/few/mine/clean/weak/first.png").exists()


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
    inputs = benchmark.made([folder], FEW)
    with pytest.raises(UserError, match="bicubic upscales ×4, suite few is ×2"):
        benchmark.run([bicubic(4)], inputs)
    with pytest.raises(UserError, match="two models would have the same name in the rows: a, b, a"):
        benchmark.run([nearest(2, "a"), nearest(2, "b"), nearest(2, "a")], inputs)


def test_an_unknown_suite_is_refused():
    assert benchmark.find_suite("rdsr8") is SUITE
    with pytest.raises(UserError, match=r"unknown suite 'rdsr': did you mean 'rdsr8'\?"):
        benchmark.find_suite("rdsr")


# ----------------------------------------------------------------------------------------------------------------------------- sets


def test_sets_are_known_by_their_folders_and_pictures_by_their_stems(folder, tmp_path):
    images.write(tmp_path / "other" / "first.png", slow_twins.smooth_picture(30, 30))
    sets = benchmark.made([folder, tmp_path / "other"], SUITE).sets
    assert {name: list(pictures) for name, pictures in sets.items()} == {"mine": ["first", "second"], "other": ["first"]}
    assert sets["other"]["first"] == tmp_path / "other" / "first.png"


def test_sets_of_one_name_are_refused(folder, tmp_path):
    images.write(tmp_path / "elsewhere" / "mine" / "third.png", slow_twins.smooth_picture(30, 30))
    for other in (tmp_path / "elsewhere" / "mine", folder / "."):
        with pytest.raises(UserError, match="two folders are called 'mine'"):
            benchmark.made([folder, other], SUITE)


def test_pictures_of_one_stem_are_refused(folder):
    images.to_pillow(slow_twins.smooth_picture(30, 30)).save(folder / "first.jpg")
    with pytest.raises(UserError, match=r"first\.jpg and .*first\.png would both be written as 'first'"):
        benchmark.made([folder], SUITE)


def test_small_and_bad_pictures_are_refused_all_at_once_and_by_name(folder):
    images.write(folder / "low.png", slow_twins.smooth_picture(23, 60))
    images.write(folder / "thin.png", slow_twins.smooth_picture(60, 23))
    (folder / "torn.png").write_bytes((folder / "first.png").read_bytes()[:200])
    with pytest.raises(UserError) as caught:
        benchmark.made([folder], SUITE)
    message = str(caught.value)
    assert message.startswith("3 of 5 pictures cannot be measured on")
    assert "low.png: 60×23 is too small for rdsr8: 24 pixels a side are needed" in message
    assert "thin.png: 23×60 is too small" in message
    assert "torn.png: the picture is damaged" in message


def test_the_smallest_picture_that_is_let_in_can_be_measured(tmp_path):
    images.write(tmp_path / "set" / "small.png", slow_twins.smooth_picture(24, 35))
    rows = rows_of([bicubic(4)], SUITE, [tmp_path / "set"])
    assert len([row for row in rows if row["metric"] in ("psnr", "ssim")]) == 32
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
    expected = {f"hr/mine/{stem}.png" for stem in ("first", "second")}
    for stem in ("first", "second"):
        for degradation in ("clean", "n+j"):
            expected |= {f"lr/few/mine/{degradation}/{stem}.png"}
            expected |= {f"images/few/mine/{degradation}/{name}/{stem}.png" for name in ("bicubic", "nearest")}
    assert set(contents(out)) == expected
    lr = images.read(out / "lr/few/mine/n+j/first.png")
    hr = images.read(out / "hr/mine/first.png")
    assert torch.equal(hr, benchmark.read_hr(folder / "first.png"))
    assert torch.equal(lr, degrade.fixed(hr, "n+j", seed=0, scale=2))
    sr = images.read(out / "images/few/mine/n+j/nearest/first.png")
    assert torch.equal(sr, lr.repeat_interleave(2, -1).repeat_interleave(2, -2))


def test_rows_hold_the_hashes_of_the_pictures_on_disk(folder, tmp_path):
    out = tmp_path / "out"
    for row in rows_of([bicubic(2)], FEW, [folder], out=out):
        lr, hr = out / "lr/few" / row["set"] / row["degradation"] / f"{row['image']}.png", out / "hr" / row["set"] / f"{row['image']}.png"
        assert (row["lr_sha256"], row["hr_sha256"]) == (images.pixels_sha256(images.read(lr)), images.pixels_sha256(images.read(hr)))


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
    inputs = benchmark.made([folder], FEW, seed=2)
    rows = list(benchmark.run([bicubic(2)], inputs))
    means = benchmark.mean_psnr(bicubic(2), inputs)
    assert list(means) == ["psnr clean", "psnr n+j"]
    for degradation in ("clean", "n+j"):
        values = [row["value"] for row in rows if (row["degradation"], row["metric"], row["space"]) == (degradation, "psnr", "rgb")]
        assert len(values) == 2
        assert means[f"psnr {degradation}"] == pytest.approx(sum(values) / 2, abs=1e-12)


# ------------------------------------------------------------------------------------------------------------------ batches and cache


def batched(seen: list[int], *, broken: int | None = None) -> Contender:
    """Nearest neighbours that take batches; with `broken`, a batch that holds a picture of that mean grey level fails."""

    def upscale(lr: torch.Tensor) -> torch.Tensor:
        seen.append(len(lr))
        if broken is not None and any(round(float(one.mean() * 255)) == broken for one in lr):
            raise RuntimeError("broken")
        return nearest(2).upscale(lr)

    return Contender("batched", upscale, 2, batched=True)


def test_a_picture_s_inputs_go_through_in_batches_with_the_same_rows(folder, monkeypatch):
    seen: list[int] = []
    together = rows_of([batched(seen)], FEW, [folder])
    assert seen == [2, 2]
    one_by_one = rows_of([nearest(2, "batched")], FEW, [folder])
    assert together == one_by_one
    monkeypatch.setattr("wildsr.benchmark.contenders.BATCH_PIXELS", 1)
    seen.clear()
    assert rows_of([batched(seen)], FEW, [folder]) == one_by_one
    assert seen == [1, 1, 1, 1]


def test_of_a_batch_that_fails_only_the_culprit_has_no_score():
    inputs = [torch.full((3, 4, 5), level, dtype=torch.uint8) for level in (10, 20, 30)]
    seen: list[int] = []
    found = benchmark.contenders.results(batched(seen, broken=20), inputs)
    assert seen == [3, 1, 1, 1]
    assert found[1] == "RuntimeError: broken"
    for lr, result in ((inputs[0], found[0]), (inputs[2], found[2])):
        assert torch.equal(result, lr.repeat_interleave(2, -1).repeat_interleave(2, -2))


def test_inputs_of_other_sizes_are_batches_of_their_own():
    seen: list[int] = []
    sizes = [(4, 5), (4, 5), (5, 4), (4, 5)]
    found = benchmark.contenders.results(batched(seen), [torch.zeros(3, *size, dtype=torch.uint8) for size in sizes])
    assert seen == [2, 1, 1]
    assert [tuple(result.shape) for result in found] == [(3, 2 * height, 2 * width) for height, width in sizes]


def test_resizers_are_pillow_s():
    lr = slow_twins.smooth_picture(9, 12)
    for name, method in (("bicubic", "BICUBIC"), ("lanczos", "LANCZOS"), ("nearest", "NEAREST")):
        expected = np.asarray(Image.fromarray(lr.permute(1, 2, 0).numpy()).resize((36, 27), getattr(Image.Resampling, method)))
        found = benchmark.resizer(name, 3).upscale(slow_twins.as_float(lr))
        assert np.array_equal(images.to_uint8(found[0]).permute(1, 2, 0).numpy(), expected)


def test_made_inputs_are_kept_under_the_hash_of_all_they_are_made_from(folder, tmp_path, monkeypatch):
    made: list[str] = []
    original = degrade.fixed

    def counted(hr, degradation, **how):
        made.append(degradation.name)
        return original(hr, degradation, **how)

    monkeypatch.setattr("wildsr.degrade.fixed", counted)

    def cases(seed: int = 0) -> list[str]:
        inputs = benchmark.made([folder], FEW, seed=seed, cache=tmp_path / "cache")
        return [case.lr_sha256 for place in inputs.places for case in inputs.cases(place)]

    first = cases()
    assert made == ["clean", "n+j"] * 2
    (folder / "first.png").rename(folder / "renamed.png")
    assert sorted(cases()) == sorted(first)
    assert len(made) == 4, "nothing was made again"
    cases(seed=1)
    assert len(made) == 8, "another seed is another input"
    # What is damaged there is made again.
    for path in (tmp_path / "cache").rglob("*.png"):
        path.write_bytes(path.read_bytes()[:50])
    assert sorted(cases()) == sorted(first)
    assert len(made) == 12


def test_a_cache_that_cannot_be_written_to_is_none(folder, tmp_path):
    (tmp_path / "cache").write_text("a file")
    inputs = benchmark.made([folder], FEW, cache=tmp_path / "cache")
    plain = benchmark.made([folder], FEW)
    for place in inputs.places:
        assert [case.lr_sha256 for case in inputs.cases(place)] == [case.lr_sha256 for case in plain.cases(place)]


# --------------------------------------------------------------------------------------------------------------------------- resuming


def spy(calls: list[int], name: str = "spy", **facts) -> Contender:
    def upscale(lr: torch.Tensor) -> torch.Tensor:
        calls.append(len(lr))
        return nearest(2).upscale(lr)

    return Contender(name, upscale, 2, batched=True, **facts)


def test_what_was_measured_before_is_taken_over(folder, tmp_path):
    inputs, calls = benchmark.made([folder], FEW), []
    rows = list(benchmark.run([spy(calls)], inputs))
    assert calls == [2, 2]
    known = benchmark.by_unit([row for row in rows if row["image"] == "first"])
    again = [row for found in benchmark.units(benchmark.Plan([spy(calls)], inputs, known=known)) for row in found]
    assert calls == [2, 2, 2], "the second picture alone was measured again"
    assert again == rows


@pytest.mark.parametrize(
    "changed",
    [
        {"code_version": "older"},
        {"seed": 1},
        {"weights_sha256": "other"},
        {"dtype": "bfloat16"},
        {"lr_sha256": "other"},
        {"error": "RuntimeError: out of memory", "value": None},
        {"suite_version": "6"},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_rows_of_other_conditions_are_measured_again(folder, changed):
    inputs, calls = benchmark.made([folder], FEW), []
    rows = list(benchmark.run([spy(calls)], inputs))
    calls.clear()
    known = benchmark.by_unit([{**row, **changed} if row["image"] == "first" else row for row in rows])
    again = [row for found in benchmark.units(benchmark.Plan([spy(calls)], inputs, known=known)) for row in found]
    assert calls == [2]
    assert again == rows


def test_a_picture_without_one_of_its_degradations_is_measured_again(folder):
    inputs, calls = benchmark.made([folder], FEW), []
    rows = list(benchmark.run([spy(calls)], inputs))
    calls.clear()
    known = benchmark.by_unit([row for row in rows if (row["image"], row["degradation"]) != ("first", "n+j")])
    list(benchmark.units(benchmark.Plan([spy(calls)], inputs, known=known)))
    assert calls == [2]


def test_rows_without_their_pictures_are_measured_again_where_pictures_are_asked_for(folder, tmp_path):
    inputs, calls, out = benchmark.made([folder], FEW), [], tmp_path / "out"
    known = benchmark.by_unit(list(benchmark.run([spy(calls)], inputs, out=out)))
    (out / "images/few/mine/clean/spy/second.png").unlink()
    calls.clear()
    list(benchmark.units(benchmark.Plan([spy(calls)], inputs, out=out, known=known)))
    assert calls == [2]
    assert (out / "images/few/mine/clean/spy/second.png").is_file()


@pytest.mark.parametrize("ahead", [0, 1, 5])
def test_waiting_for_scores_changes_neither_rows_nor_their_order(folder, ahead):
    inputs = benchmark.made([folder], FEW)
    plan = benchmark.Plan([bicubic(2), nearest(2)], inputs)
    assert [row for found in benchmark.units(plan, ahead=ahead) for row in found] == list(benchmark.run([bicubic(2), nearest(2)], inputs))


# ------------------------------------------------------------------------------------------------------------- pairs and photographs


def pairs(root: Path, shift: tuple[float, float] = (0, 0), scale: int = 4) -> tuple[Path, Path]:
    """LR and HR folders of one photograph; LR was taken where HR lies `shift` HR pixels farther down and to the right."""
    from scipy import ndimage

    photo = slow_twins.photo_crop("coffee", 200, 232, 60, 60).numpy().astype(np.float64)
    moved = ndimage.shift(photo, (0, *shift), order=3, mode="mirror").clip(0, 255).round().astype(np.uint8)
    hr, taken = photo[:, 20:180, 20:212].astype(np.uint8), moved[:, 20:180, 20:212]
    images.write(root / "DIV2K" / "HR" / "0801.png", torch.from_numpy(hr.copy()))
    lr = Image.fromarray(taken.transpose(1, 2, 0)).resize((192 // scale, 160 // scale), Image.Resampling.BICUBIC)
    images.write(root / "mild" / "0801x4m.png", images.from_pillow(lr))
    return root / "mild", root / "DIV2K" / "HR"


PAIRED = SUITES["paired"]


def test_pairs_are_measured_as_they_are(tmp_path):
    low, high = pairs(tmp_path)
    rows = list(benchmark.run([bicubic(4)], benchmark.paired([low], [high], PAIRED)))
    assert {(row["set"], row["degradation"], row["seen"], row["align"]) for row in rows} == {("DIV2K", "mild", None, "none")}
    lr, hr = images.read(low / "0801x4m.png"), images.read(high / "0801.png")
    sr = images.to_uint8(bicubic(4).upscale(slow_twins.as_float(lr))[0])
    for row in rows:
        if row["metric"] == "psnr":
            assert row["value"] == pytest.approx(slow_twins.psnr(sr.numpy(), hr.numpy(), 4, row["space"]), abs=1e-9)
            assert row["protocol"] == f"psnr-{row['space']}-crop4-uint8/1"


@pytest.mark.parametrize("shift", [(2.3, -1.6), (-7.25, 5.5)])
def test_shifted_pairs_are_aligned_to_a_fraction_of_a_pixel(tmp_path, shift):
    psnr = {}
    for name, moved in (("straight", (0, 0)), ("shifted", shift)):
        low, high = pairs(tmp_path / name, moved)
        for align in benchmark.ALIGNMENTS:
            rows = list(benchmark.run([bicubic(4)], benchmark.paired([low], [high], PAIRED, align=align)))
            psnr[name, align] = next(row["value"] for row in rows if (row["metric"], row["space"]) == ("psnr", "rgb"))
            if align == "subpixel":
                assert rows[0]["shift"] == pytest.approx(moved, abs=0.1)
                assert rows[0]["protocol"].endswith("-uint8/1+subpixel/1")
    # Of a pair that is not shifted, alignment changes little; of a shifted one, it brings back what the shift took.
    assert psnr["straight", "subpixel"] == pytest.approx(psnr["straight", "none"], abs=0.25)
    assert psnr["shifted", "none"] < psnr["straight", "none"] - 3
    assert psnr["shifted", "subpixel"] == pytest.approx(psnr["straight", "subpixel"], abs=0.5)


def test_a_pair_of_two_scenes_is_an_error_row(tmp_path, monkeypatch):
    low, high = pairs(tmp_path, (9.0, 0.0))
    monkeypatch.setattr("wildsr.benchmark.inputs.LARGEST_SHIFT", 2)
    rows = list(benchmark.run([bicubic(4)], benchmark.paired([low], [high], PAIRED, align="subpixel")))
    assert all("more than the bound of 8: is it one scene?" in str(row["error"]) and row["value"] is None for row in rows)


def test_tracks_of_one_set_are_degradations(tmp_path):
    low, high = pairs(tmp_path)
    (tmp_path / "wild").mkdir()
    (tmp_path / "wild" / "0801x4w.png").write_bytes((low / "0801x4m.png").read_bytes())
    rows = list(benchmark.run([bicubic(4)], benchmark.paired([low, tmp_path / "wild"], [high, high], PAIRED)))
    assert [*dict.fromkeys(row["degradation"] for row in rows)] == ["mild", "wild"]
    assert {row["set"] for row in rows} == {"DIV2K"}


def test_tracks_that_are_shifted_each_its_own_way_stand_on_one_page(tmp_path):
    """The ground truth of a picture is one; each track's is moved, written and shown by itself."""
    low, high = pairs(tmp_path)
    other, _ = pairs(tmp_path / "other", (2.3, -1.6))
    other = other.rename(tmp_path / "difficult")
    tracks = benchmark.paired([low, other], [high, high], PAIRED, align="subpixel")
    rows = list(benchmark.run([bicubic(4)], tracks, out=tmp_path / "out"))
    assert {row["hr_sha256"] for row in rows} == {images.pixels_sha256(images.read(high / "0801.png"))}
    (shift,) = {tuple(row["shift"]) for row in rows if row["degradation"] == "difficult"}
    assert shift == pytest.approx((2.3, -1.6), abs=0.1)
    files.write_text(tmp_path / "out" / "rows.jsonl", "".join(files.to_line(row) for row in rows))
    report.write_page(tmp_path / "out" / "report.html", [tmp_path / "out" / "rows.jsonl"])
    assert not (tmp_path / "out" / "hr" / "DIV2K" / "0801.png").exists()
    for case in tracks.cases(("DIV2K", "0801")):
        assert torch.equal(images.read(tmp_path / "out" / "hr" / "DIV2K" / case.degradation / "0801.png"), case.hr)
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert '"DIV2K/0801/mild"' in page
    assert '"DIV2K/0801/difficult"' in page


def test_mistaken_pairs_are_refused(tmp_path):
    low, high = pairs(tmp_path)
    with pytest.raises(UserError, match="unknown alignment 'sub'"):
        benchmark.paired([low], [high], PAIRED, align="sub")
    with pytest.raises(UserError, match="2 folders of low resolution and 1 of high"):
        benchmark.paired([low, low], [high], PAIRED)
    with pytest.raises(UserError, match="two folders of low resolution are called 'mild'"):
        benchmark.paired([low, low], [high, high], PAIRED)


def test_photographs_without_ground_truth_have_no_reference(folder, tmp_path):
    rows = list(benchmark.run([bicubic(4)], benchmark.alone([folder], SUITES["real"]), out=tmp_path / "out"))
    assert {row["hr_sha256"] for row in rows} == {None}
    assert {row["metric"] for row in rows} >= {"blur-effect"}
    assert (tmp_path / "out/images/real/mine/as they are/bicubic/first.png").is_file()
    assert not (tmp_path / "out/hr").exists()
