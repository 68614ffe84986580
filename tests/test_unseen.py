"""The test degradations beside the eight of the papers: closed forms, slow twins, and the frozen bytes.

Run as a program, this file writes lr_manifest_unseen.json anew: only when the protocol changes on purpose, together with the suite's
version."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import slow_twins
import torch
from PIL import Image, features
from scipy import ndimage, special, stats

from wildsr import chance, degrade, images
from wildsr.degrade import PRESETS, ROUNDED, UNSEEN, unseen
from wildsr.degrade.fixed import correlate, through_codec
from wildsr.errors import UserError

MANIFEST = Path(__file__).with_name("lr_manifest_unseen.json")

FAMILIES = ("nearest", "motion", "defocus", "speckle", "salt", "sensor", "webp", "jp2", "double-jpeg", "colours")
CHANCE = {"motion", "speckle", "salt", "sensor"}
NAMES = [made.name for made in UNSEEN]

every = pytest.mark.parametrize("made", UNSEEN, ids=NAMES)


def level(value: int, height: int = 300, width: int = 400) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def as_rows(picture: torch.Tensor) -> np.ndarray:
    """uint8 (3, H, W) -> (H, W, 3)."""
    return np.ascontiguousarray(picture.permute(1, 2, 0).numpy())


def rng(seed: int = 0) -> np.random.Generator:
    return chance.generator(seed, "test")


# ------------------------------------------------------------------------------------------------------------------------ the lists


def test_there_are_ten_families_of_three_severities_and_bilinear():
    assert [(made.family, made.severity) for made in UNSEEN] == [
        ("bilinear", 0),
        *((family, severity) for family in FAMILIES for severity in (1, 2, 3)),
    ]
    assert {made.name: made.seen for made in UNSEEN if made.seen != "unseen"} == {"bilinear": "near"}
    for made in UNSEEN[1:]:
        assert made.name == f"{made.family}-{made.severity}"
        assert made.words.endswith(f", severity {made.severity} of 3")


def test_the_rounded_ones_are_the_eight_presets_by_name_and_word():
    eight = [made for made in PRESETS.values() if made.seen == "seen"]
    assert [(made.name, made.words, made.seen) for made in ROUNDED] == [(made.name, made.words, made.seen) for made in eight]
    assert len(ROUNDED) == 8


def test_the_higher_the_severity_the_further_from_the_clean_picture():
    hr = slow_twins.photo_crop("chelsea", 192, 240, 60, 120)
    clean = degrade.fixed(hr, "clean", seed=0).float()
    errors = [(degrade.fixed(hr, made, seed=0).float() - clean).square().mean().item() for made in UNSEEN[1:]]
    for family, (mild, middle, strong) in zip(FAMILIES, np.reshape(errors, (-1, 3)), strict=True):
        assert 1 < 1.3 * mild < middle < strong / 1.3, family


@every
def test_they_depend_on_the_pixels_and_where_there_is_chance_on_the_seed(made, tmp_path):
    hr = slow_twins.photo_crop("coffee", 60, 72, 100, 200)
    first = degrade.fixed(hr, made, seed=0)
    assert first.dtype == torch.uint8
    np.random.seed(1)
    torch.manual_seed(1)
    for name in ("one.png", "two.png"):
        images.write(tmp_path / name, hr)
        assert torch.equal(degrade.fixed(images.read(tmp_path / name), made, seed=0), first)
    assert torch.equal(degrade.fixed(hr, made, seed=1), first) == (made.family not in CHANCE)


def test_they_are_31_different_pictures():
    hr = slow_twins.photo_crop("coffee", 96, 96, 100, 200)
    assert len({images.pixels_sha256(degrade.fixed(hr, made, seed=0)) for made in UNSEEN}) == 31


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(("height", "width"), [(12, 12), (24, 24), (24, 36), (60, 24)])
def test_small_pictures_and_every_scale_work(scale, height, width):
    hr = slow_twins.photo_crop("coffee", height, width, 100, 200)
    for made in UNSEEN:
        assert degrade.fixed(hr, made, seed=0, scale=scale).shape == (3, height // scale, width // scale), made.name


@pytest.mark.parametrize("codec", ["webp", "jp2", "double-jpeg"])
def test_a_pillow_without_the_codec_is_said(monkeypatch, codec):
    monkeypatch.setattr(features, "check", lambda name: False)
    made = next(made for made in UNSEEN if made.family == codec)
    with pytest.raises(UserError, match=r"built without (WEBP|JPEG2000|JPEG), .*: install .* \(pip install pillow\)"):
        degrade.fixed(slow_twins.noise_picture(24, 24), made, seed=0)


# ------------------------------------------------------------------------------------------------------------------- resizing alone


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_nearest_without_a_filter_is_the_preset(scale):
    hr = slow_twins.photo_crop("coffee", 60, 72, 100, 200)
    plain = next(made for made in UNSEEN if made.name == "nearest-3")
    assert torch.equal(degrade.fixed(hr, plain, seed=0, scale=scale), degrade.fixed(hr, "nearest", seed=0, scale=scale))


@pytest.mark.parametrize(("name", "sigma"), [("nearest-1", 1.0), ("nearest-2", 0.5)])
def test_nearest_takes_every_fourth_pixel_of_the_filtered_picture(name, sigma):
    hr = slow_twins.photo_crop("coffee", 60, 72, 100, 200)
    line = special.ive(np.arange(-8, 9), sigma**2)  # the discrete Gaussian
    blurred = ndimage.correlate1d(ndimage.correlate1d(hr.double().numpy(), line, 1, mode="mirror"), line, 2, mode="mirror")
    lr = degrade.fixed(hr, next(made for made in UNSEEN if made.name == name), seed=0)
    assert np.abs(lr.numpy() - blurred[:, 2::4, 2::4]).max() < 0.75


def test_bilinear_is_pillows_own():
    hr = slow_twins.photo_crop("coffee", 60, 72, 100, 200)
    expected = Image.fromarray(as_rows(hr)).resize((18, 15), Image.Resampling.BILINEAR)
    assert np.array_equal(as_rows(degrade.fixed(hr, UNSEEN[0], seed=0)), np.asarray(expected))


# ------------------------------------------------------------------------------------------------------------------------- kernels


def second_moment(taps: np.ndarray) -> np.ndarray:
    """The covariance (x, y) of a kernel, in pixels."""
    rows, columns = (np.arange(side) - side // 2 for side in taps.shape)
    x, y = np.broadcast_arrays(columns, rows[:, None])
    return np.array([[(taps * a * b).sum() for b in (x, y)] for a in (x, y)]) / taps.sum()


@pytest.mark.parametrize("length", [6, 12, 20])
def test_motion_is_a_segment_of_its_length_in_every_direction(length):
    for degrees in range(180):
        taps = unseen.motion_taps(length, degrees)
        assert taps.sum() == unseen.UNIT
        assert taps.min() >= 0
        assert np.array_equal(taps, taps[::-1, ::-1])
        along = np.array([math.cos(math.radians(degrees)), math.sin(math.radians(degrees))])
        # Sharing a point among its four pixels keeps the mean and the mixed moment, and adds at most a quarter to the other two.
        added = second_moment(taps) - length**2 / 12 * np.outer(along, along)
        assert abs(added[0, 1]) < 0.02
        assert -0.02 < min(added[0, 0], added[1, 1]) <= max(added[0, 0], added[1, 1]) < 0.27


def test_motion_along_rows_columns_and_the_diagonal():
    level_taps = unseen.motion_taps(6, 0)
    middle = len(level_taps) // 2
    # The ends of the segment lie on pixels, which so get half of what the others get.
    expected = np.array([1, 2, 2, 2, 2, 2, 1]) * unseen.UNIT / 12
    assert np.abs(level_taps[middle, middle - 3 : middle + 4] - expected).max() <= 3
    assert np.delete(level_taps, middle, 0).max() == 0
    assert np.array_equal(unseen.motion_taps(6, 90), level_taps.T)
    falling = unseen.motion_taps(12, 45)  # rows run downwards
    assert np.trace(falling) > 3 * np.trace(falling[::-1])
    assert np.array_equal(unseen.motion_taps(12, 135), falling[:, ::-1])


@pytest.mark.parametrize("radius", [2, 4, 6])
def test_a_disk_is_round_and_has_its_radius(radius):
    taps = unseen.disk_taps(radius)
    assert taps.sum() == unseen.UNIT
    assert taps.min() >= 0
    for turned in (taps.T, taps[::-1], taps[:, ::-1]):
        assert np.array_equal(taps, turned)
    # A mean over disks whose radii R lie evenly within half a pixel of r: area E[πR²], second moment E[R⁴] / 4 E[R²].
    area = math.pi * (radius**2 + 1 / 12)
    inner = len(taps) // 2 + 1
    assert unseen.UNIT / taps[inner, inner] == pytest.approx(area, rel=0.03)
    moment = (radius**4 + radius**2 / 2 + 1 / 80) / (4 * (radius**2 + 1 / 12))
    assert second_moment(taps) == pytest.approx(np.diag([moment, moment]), rel=0.06, abs=1e-3)
    # But for the edge, it is flat.
    assert taps[inner, inner - radius + 1 : inner + radius - 2].tolist() == [taps[inner, inner]] * (2 * radius - 3)


@pytest.mark.parametrize("sigma", [1.0, 0.75, 0.5, 0.375, 0.25, 0.0])
def test_the_gaussian_has_its_variance_at_any_small_sigma(sigma):
    (taps,) = unseen.gaussian_taps(sigma)
    assert taps.sum() == unseen.LINE_UNIT
    assert np.array_equal(taps, taps[::-1])
    # The centre holds the remainder of rounding.
    assert np.abs(taps - unseen.LINE_UNIT * special.ive(np.arange(-6, 7), sigma**2))[:6].max() <= 0.5 + 1e-9
    assert second_moment(taps[None])[0, 0] == pytest.approx(sigma**2, rel=0.025, abs=1e-12)


KERNELS = {
    "motion": (unseen.motion_taps(20, 37),),
    "upright": (unseen.motion_taps(12, 90),),
    "disk": (unseen.disk_taps(6),),
    "gaussian": (unseen.gaussian_taps(1.0), unseen.gaussian_taps(1.0).T),
}


@pytest.mark.parametrize("kind", KERNELS)
@pytest.mark.parametrize(("height", "width"), [(12, 12), (24, 31), (60, 47)])
@pytest.mark.parametrize("extreme", [False, True])
def test_correlation_equals_its_slow_twin_to_the_bit(kind, height, width, extreme):
    picture = as_rows(slow_twins.noise_picture(height, width, seed=height))
    if extreme:
        picture = np.where(picture < 128, 0, 255).astype(np.uint8)
    sums = picture.astype(np.int64)
    total = 1
    for kernel in KERNELS[kind]:
        sums = ndimage.correlate(sums, kernel[:, :, None], mode="mirror")
        total *= int(kernel.sum())
    assert np.array_equal(correlate(picture, *KERNELS[kind]), (2 * sums + total) // (2 * total))


def test_correlation_is_no_convolution_and_one_tap_shifts():
    kernel = np.zeros((3, 5), np.int64)
    kernel[0, 4] = 4
    picture = as_rows(slow_twins.noise_picture(9, 11))
    assert np.array_equal(correlate(picture, kernel)[1:, :-2], picture[:-1, 2:])


# --------------------------------------------------------------------------------------------------- what pictures of one level become


@pytest.mark.parametrize("made", [made for made in UNSEEN if made.family not in CHANCE - {"motion"}], ids=lambda made: made.name)
def test_a_picture_of_one_level_stays_what_it_is(made):
    tolerance = {"webp": 2, "jp2": 1, "double-jpeg": 2}.get(made.family, 0)
    for value in (0, 1, 100, 254, 255):
        lr = degrade.fixed(torch.full((3, 48, 60), value, dtype=torch.uint8), made, seed=0)
        assert (lr.int() - value).abs().max() <= tolerance, value


def test_a_picture_of_one_colour_passes_mosaic_and_demosaicking():
    light = np.broadcast_to(np.array([123, 40_000, 65_535]), (7, 10, 3))
    assert np.array_equal(unseen.demosaic(unseen.mosaic(light)), light)


# --------------------------------------------------------------------------------------------------------------------------- noise


@pytest.mark.parametrize(("sigma", "value"), [(0.06, 200), (0.12, 130), (0.2, 100), (0.2, 20)])
def test_speckle_grows_with_the_level(sigma, value):
    noisy = unseen.speckle(sigma, level(value), rng(), 4).astype(np.float64)
    spread = math.hypot(sigma * value, 1 / math.sqrt(12))  # samples are rounded
    assert noisy.std() == pytest.approx(spread, rel=0.01)
    assert noisy.mean() == pytest.approx(value, abs=4 * spread / math.sqrt(noisy.size))
    assert np.abs(np.corrcoef(noisy.reshape(-1, 3).T) - np.eye(3)).max() < 0.02


def test_speckle_leaves_black_alone():
    assert unseen.speckle(0.2, level(0), rng(), 4).max() == 0


@pytest.mark.parametrize("share", [0.003, 0.01, 0.03])
def test_salt_and_pepper_change_their_share_of_whole_pixels(share):
    picture = as_rows(slow_twins.noise_picture(400, 500)).clip(1, 254)
    noisy = unseen.salt(share, picture, rng(), 4)
    white, black = ((noisy == value).all(2) for value in (255, 0))
    spread = math.sqrt(share / 2 / white.size)
    assert white.mean() == pytest.approx(share / 2, abs=4 * spread)
    assert black.mean() == pytest.approx(share / 2, abs=4 * spread)
    untouched = ~(white | black)
    assert np.array_equal(noisy[untouched], picture[untouched])


def test_the_tables_hold_the_srgb_curve():
    assert np.array_equal(unseen.encoded()[unseen.LINEAR], np.arange(256))
    assert unseen.LINEAR[[0, 255]].tolist() == [0, 65535]
    assert np.all(np.diff(unseen.LINEAR) > 0)
    # Middle grey of the standard: level 188 is half of the light.
    assert unseen.encoded()[32768] == 188


@pytest.mark.parametrize("electrons", [60, 250, 1000])
@pytest.mark.parametrize("light", [0.0, 0.1, 0.5])
def test_a_sensors_noise_has_the_variance_of_its_light(electrons, light):
    raw = np.full((400, 500), round(light * unseen.WHITE))
    read = unseen.exposed(raw, electrons, rng()) / unseen.WHITE
    variance = (light + unseen.READ_NOISE**2 / electrons) / electrons
    assert read.mean() == pytest.approx(light, abs=4 * math.sqrt(variance / read.size) + 1e-5)
    assert read.var() == pytest.approx(variance, rel=0.02)
    # Poisson, and not a Gaussian of the same variance: the third moment of a Poisson count is its mean.
    skew = light * electrons / (light * electrons + unseen.READ_NOISE**2) ** 1.5
    assert stats.skew(read, axis=None) == pytest.approx(skew, abs=4 * math.sqrt(6 / read.size))


def test_a_sensor_is_full_at_white():
    read = unseen.exposed(np.full((100, 100), unseen.WHITE), 250, rng())
    assert read.max() == unseen.WHITE
    assert (read == unseen.WHITE).mean() == pytest.approx(0.5, abs=0.05)


def test_the_sensors_picture_is_neither_darker_nor_lighter_in_linear_light():
    noisy = unseen.LINEAR[unseen.sensor(1000, level(160), rng(), 4)]
    assert noisy.mean() == pytest.approx(unseen.LINEAR[160], rel=0.002)


def test_a_bayer_pattern_is_red_green_green_blue():
    light = np.arange(4 * 6 * 3).reshape(4, 6, 3)
    raw = unseen.mosaic(light)
    pattern = np.array([[0, 1], [1, 2]])
    for row in range(4):
        for column in range(6):
            assert raw[row, column] == light[row, column, pattern[row % 2, column % 2]]


@pytest.mark.parametrize(("height", "width"), [(3, 3), (6, 8), (9, 14), (17, 5)])
def test_demosaicking_equals_its_slow_twin(height, width):
    raw = np.random.default_rng(0).integers(-3000, 65536, (height, width))

    def colour(row: int, column: int) -> int:
        return row % 2 + column % 2

    def mirrored(index: int, count: int) -> int:
        return abs(index) if index < count else 2 * (count - 1) - index

    expected = np.zeros((height, width, 3), int)
    for row in range(height):
        for column in range(width):
            for channel in range(3):
                # Nearest first: the pixel itself, the four beside it, the four at its corners.
                for reach in (0, 1, 2):
                    near = [
                        raw[mirrored(row + dy, height), mirrored(column + dx, width)]
                        for dy in (-1, 0, 1)
                        for dx in (-1, 0, 1)
                        if dx * dx + dy * dy == reach and colour(row + dy, column + dx) == channel
                    ]
                    if near:
                        expected[row, column, channel] = math.floor(sum(near) / len(near) + 0.5)
                        break
    assert np.array_equal(unseen.demosaic(raw), expected)


def test_demosaicking_keeps_even_slopes():
    y, x = np.mgrid[:12, :15]
    light = np.stack([1000 + 300 * x + 50 * y, 40_000 - 700 * x + 20 * y, 500 + 10 * x + 900 * y], -1)
    assert np.array_equal(unseen.demosaic(unseen.mosaic(light))[1:-1, 1:-1], light[1:-1, 1:-1])


# --------------------------------------------------------------------------------------------------------------- codecs and palettes


def edges(picture: np.ndarray) -> np.ndarray:
    """How much neighbours differ, from the pixel before, at the places 0 to 7 of a grid of 8: rows and columns together."""
    luma = picture @ np.array([0.299, 0.587, 0.114])
    steps = [np.abs(np.diff(luma, axis=axis)).mean(1 - axis) for axis in (0, 1)]
    return np.mean([[line[(place - 1) % 8 :: 8].mean() for place in range(8)] for line in steps], axis=0)


def test_the_second_jpeg_lies_on_a_grid_shifted_by_four():
    picture = as_rows(slow_twins.photo_crop("chelsea", 128, 160, 60, 120))
    once = through_codec(picture, "JPEG", quality=30)
    twice = unseen.double_jpeg(30, picture, rng(), 4)
    assert edges(once).argmax() == 0
    assert edges(twice).argmax() == 4
    # JPEG hardly changes what has been through the same JPEG, if its grid is the same.
    again = [np.abs(through_codec(twice[k:, k:], "JPEG", quality=30) - twice[k:, k:].astype(float)).mean() for k in range(8)]
    assert np.argmin(again) == 4


def test_a_palette_has_no_more_colours_than_asked_for_and_keeps_few():
    picture = as_rows(slow_twins.photo_crop("coffee", 60, 72, 100, 200))
    few = as_rows(slow_twins.noise_picture(1, 5))[:, np.arange(60) % 5].repeat(20, 0)
    for count in (64, 32, 16):
        reduced = unseen.colours(count, picture, rng(), 4)
        assert count / 2 < len(np.unique(reduced.reshape(-1, 3), axis=0)) <= count
        assert np.array_equal(unseen.colours(count, few, rng(), 4), few)


@pytest.mark.parametrize("bits", [4, 2, 1])
def test_jpeg_2000_keeps_to_its_rate(monkeypatch, bits):
    sizes = []
    save = Image.Image.save

    def counted(self, file, **options):
        save(self, file, **options)
        sizes.append(len(file.getvalue()))

    monkeypatch.setattr(Image.Image, "save", counted)
    for height, width in ((24, 24), (80, 120)):
        unseen.jp2(bits, as_rows(slow_twins.noise_picture(height, width)), rng(), 4)
        # Noise takes all it is allowed.
        assert sizes.pop() - 150 == pytest.approx(bits / 8 * height * width, rel=0.12, abs=20)


# --------------------------------------------------------------------------------------------------------------- rounding after noise


@pytest.mark.parametrize("made", ROUNDED, ids=lambda made: made.name)
def test_rounding_changes_noisy_pictures_by_nothing_or_one_level(made):
    hr = slow_twins.smooth_picture(192, 240).clamp(60, 190)
    rounded, truncated = (degrade.fixed(hr, which, seed=0).int() for which in (made, made.name))
    difference = rounded - truncated
    if "noise" not in made.words:
        assert not difference.any()
    elif "JPEG" not in made.words:
        assert difference.unique().tolist() == [0, 1]
        assert difference.float().mean().item() == pytest.approx(0.5, abs=0.03)
    else:
        assert difference.any()
        assert difference.float().mean().item() == pytest.approx(0.5, abs=0.2)


def test_rounded_noise_is_no_darker_and_keeps_all_levels_without_noise():
    assert degrade.noise_uint8(level(128), 20, rng(), rounded=True).mean() == pytest.approx(128, abs=4 * 20 / math.sqrt(360_000))
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, 2)
    assert np.array_equal(degrade.noise_uint8(pixels, 0.0, rng(), rounded=True), pixels)


# ------------------------------------------------------------------------------------------------------------- the frozen manifest


PHOTOGRAPHS = ("chelsea", "coffee", "rocket")


def fingerprints(name: str) -> dict[str, str]:
    """SHA-256 of the pixels of a photograph's middle, 120×168, and of its degradations; the rounded ones as "rounded NAME"."""
    hr = images.read(slow_twins.photograph(name))
    top, left = (hr.shape[1] - 120) // 2, (hr.shape[2] - 168) // 2
    hr = hr[:, top : top + 120, left : left + 168]
    found = {made.name: made for made in UNSEEN} | {f"rounded {made.name}": made for made in ROUNDED}
    return {"hr": images.pixels_sha256(hr)} | {
        label: images.pixels_sha256(degrade.fixed(hr, made, seed=0)) for label, made in found.items()
    }


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_degraded_photographs_are_those_of_the_manifest_to_the_bit(name):
    expected = json.loads(MANIFEST.read_text())[name]
    found = fingerprints(name)
    assert list(found) == list(expected)
    assert found["hr"] == expected["hr"], f"the photograph {name} itself is read otherwise than before: Pillow or its decoder drifted"
    drifted = [label for label in found if found[label] != expected[label]]
    assert not drifted, (
        f"{name}, {', '.join(drifted)}: Pillow or NumPy drifted, or the protocol was changed. Scores would no longer compare with older "
        "ones: mend it, or raise the suite's version and write the manifest anew (python tests/test_unseen.py)"
    )


if __name__ == "__main__":
    MANIFEST.write_text(json.dumps({name: fingerprints(name) for name in PHOTOGRAPHS}, indent=1) + "\n")
