"""Degradations: closed forms, slow twins, purity of the draws, and the frozen protocol of the eight test degradations.

Run as a program, this file writes lr_manifest.json anew: only when the protocol changes on purpose, together with the suite's version."""

import io
import json
import math
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import slow_twins
import torch
import torch.nn.functional as F
from PIL import Image
from scipy import stats

from wildsr import benchmark, chance, config, datasets, degrade, images
from wildsr.degrade import PRESETS, Stage, TwoOrder, kernels, noise, operators, route
from wildsr.degrade.operators import RESIZE_MODES
from wildsr.errors import UserError

MANIFEST = Path(__file__).with_name("lr_manifest.json")


def constant(value: float, height: int = 48, width: int = 64) -> torch.Tensor:
    return torch.full((1, 3, height, width), value)


def delta(size: int = 21) -> torch.Tensor:
    kernel = torch.zeros(1, size, size)
    kernel[0, size // 2, size // 2] = 1
    return kernel


def gaussian_kernel(size, sigma_x, sigma_y, theta=0.0, *, beta=1.0, family="gaussian") -> np.ndarray:
    """One kernel, without the zeros around it."""
    numbers = [np.array([value], dtype=np.float64) for value in (sigma_x, sigma_y, theta, beta)]
    return trimmed(kernels.gaussian_kernels(np.array([size]), *numbers, np.array([family == "plateau"])), size)


def sinc_kernel(size, omega) -> np.ndarray:
    return trimmed(kernels.sinc_kernels(np.array([size]), np.array([omega], dtype=np.float64)), size)


def trimmed(made: np.ndarray, size: int) -> np.ndarray:
    margin = (21 - size) // 2
    inner = made[0, margin : 21 - margin, margin : 21 - margin]
    assert made.shape == (1, 21, 21)
    assert np.count_nonzero(inner) == np.count_nonzero(made)
    return inner


def places(picture: torch.Tensor, dim: int, margin: int = 0) -> torch.Tensor:
    return torch.arange(-margin, picture.shape[dim] + margin).repeat(len(picture), 1)


def blur(picture: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """The operators of a blur, on whole pictures."""
    rows, columns = (
        operators.continued(places(picture, dim, kernel.shape[-1] // 2), torch.tensor([picture.shape[dim]] * len(picture)))
        for dim in (2, 3)
    )
    return operators.correlate(operators.cut(picture, rows, columns), kernel)


def resize(picture: torch.Tensor, mode: str, factor: float | None = None, size: tuple[int, int] | None = None) -> torch.Tensor:
    """The operators of a resize, on a whole picture."""
    sides = picture.shape[2:]
    new = size or tuple(math.floor(side * factor) for side in sides)
    steps = [1 / factor if factor else old / side for old, side in zip(sides, new, strict=True)]
    kind = np.array([RESIZE_MODES.index(mode)])
    taps = [
        operators.taps(kind, torch.arange(side)[None], np.array([old]), np.array([side]), np.array([step]))
        for old, side, step in zip(sides, new, steps, strict=True)
    ]
    return operators.resample(picture, *taps)


def gaussian_noise(picture: torch.Tensor, sigma: float, gray: bool, seed: int, stream: int = 1) -> torch.Tensor:
    keys = noise.keys(torch.tensor([seed]), stream)
    return noise.gaussian_noise(picture, torch.tensor([sigma]), np.array([gray]), keys, places(picture, 2), places(picture, 3))


def poisson_noise(picture: torch.Tensor, scale: float, gray: bool, seed: int, stream: int = 1) -> torch.Tensor:
    keys = noise.keys(torch.tensor([seed]), stream)
    return noise.poisson_noise(picture, torch.tensor([scale]), np.array([gray]), keys, places(picture, 2), places(picture, 3))[0]


def levels_apart(first: torch.Tensor, second: torch.Tensor) -> float:
    """The largest difference, in grey levels of 255."""
    return ((first - second).abs().max() * 255).item()


# ------------------------------------------------------------------------------------------------------------------------- kernels

KERNELS = [
    (7, 0.2, 0.2, 0.0, 1.0, "gaussian"),
    (9, 3.0, 0.5, -2.1, 1.0, "gaussian"),
    (21, 2.0, 1.0, 0.7, 1.0, "gaussian"),
    (15, 1.5, 2.5, 2.9, 0.5, "generalized"),
    (13, 1.5, 0.7, 0.3, 3.9, "generalized"),
    (11, 0.9, 3.0, -0.4, 1.0, "plateau"),
    (21, 3.0, 1.1, 1.2, 1.9, "plateau"),
]


@pytest.mark.parametrize("arguments", KERNELS, ids=str)
def test_gaussian_kernels_equal_their_slow_twin(arguments):
    size, sigma_x, sigma_y, theta, beta, family = arguments
    kernel = gaussian_kernel(size, sigma_x, sigma_y, theta, beta=beta, family=family)
    assert kernel.shape == (size, size)
    np.testing.assert_allclose(kernel, slow_twins.gaussian_kernel(*arguments), atol=1e-12)


@pytest.mark.parametrize("arguments", KERNELS, ids=str)
def test_gaussian_kernels_sum_to_one_and_are_symmetric(arguments):
    size, sigma_x, sigma_y, theta, beta, family = arguments
    kernel = gaussian_kernel(size, sigma_x, sigma_y, theta, beta=beta, family=family)
    assert kernel.sum() == pytest.approx(1, abs=1e-12)
    assert kernel.min() >= 0
    np.testing.assert_allclose(kernel, kernel[::-1, ::-1], atol=1e-15)


@pytest.mark.parametrize(("beta", "family"), [(1.0, "gaussian"), (0.6, "generalized"), (1.7, "plateau")])
def test_equal_sigmas_make_a_kernel_radially_symmetric_whatever_the_angle(beta, family):
    kernel = gaussian_kernel(21, 1.7, 1.7, 0.9, beta=beta, family=family)
    by_radius: dict[int, list[float]] = {}
    for row in range(21):
        for column in range(21):
            by_radius.setdefault((row - 10) ** 2 + (column - 10) ** 2, []).append(kernel[row, column])
    assert max(max(values) - min(values) for values in by_radius.values()) < 1e-15
    np.testing.assert_allclose(kernel, gaussian_kernel(21, 1.7, 1.7, beta=beta, family=family), atol=1e-15)


def test_generalized_kernel_with_beta_one_is_the_gaussian():
    np.testing.assert_array_equal(gaussian_kernel(21, 2.0, 1.0, 0.7, beta=1.0, family="generalized"), gaussian_kernel(21, 2.0, 1.0, 0.7))


def test_second_moment_of_a_kernel_is_its_covariance():
    moment = slow_twins.second_moment(gaussian_kernel(21, 2.0, 1.0, 0.7))
    c, s = math.cos(0.7), math.sin(0.7)
    np.testing.assert_allclose(moment, [[4 * c * c + s * s, 3 * c * s], [3 * c * s, 4 * s * s + c * c]], atol=1e-4)
    np.testing.assert_allclose(moment, [[2.755, 1.478], [1.478, 2.245]], atol=1e-3)


def test_theta_turns_from_the_columns_towards_the_rows():
    flat = gaussian_kernel(21, 3.0, 1.0)
    assert flat[10, 14] > flat[14, 10]
    upright = gaussian_kernel(21, 3.0, 1.0, math.pi / 2)
    np.testing.assert_allclose(upright, flat.T, atol=1e-15)
    slanted = gaussian_kernel(21, 3.0, 1.0, math.pi / 4)
    assert slanted[13, 13] > 10 * slanted[13, 7]


@pytest.mark.parametrize(("size", "omega"), [(7, math.pi), (21, math.pi), (9, math.pi / 3), (21, math.pi / 5)])
def test_sinc_kernels_equal_their_slow_twin(size, omega):
    kernel = sinc_kernel(size, omega)
    np.testing.assert_allclose(kernel, slow_twins.sinc_kernel(size, omega), atol=1e-6)
    assert kernel.sum() == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(kernel, kernel[::-1, ::-1], atol=1e-15)
    np.testing.assert_allclose(kernel, kernel.T, atol=1e-15)


@pytest.mark.parametrize(("size", "centre"), [(7, 0.803), (21, 0.789)])
def test_the_widest_sinc_is_not_a_delta(size, centre):
    assert sinc_kernel(size, math.pi)[size // 2, size // 2] == pytest.approx(centre, abs=5e-4)


# ---------------------------------------------------------------------------------------------------------------------------- blur


def test_blur_equals_its_slow_twin_with_a_kernel_of_its_own_for_each_picture():
    pictures = torch.cat([slow_twins.as_float(slow_twins.noise_picture(25, 33, seed)) for seed in (0, 1)])
    kernels = np.stack([gaussian_kernel(21, 3.0, 0.8, 0.5), sinc_kernel(21, 1.5)])
    # An odd kernel tells correlation from convolution.
    kernels[0] *= np.linspace(0.5, 1.5, 21)
    blurred = blur(pictures, torch.from_numpy(kernels).float())
    for picture, kernel, result in zip(pictures.numpy(), kernels, blurred.numpy(), strict=True):
        np.testing.assert_allclose(result, slow_twins.filtered(picture, kernel), atol=1e-5)


def test_blur_with_a_delta_is_the_identity():
    picture = slow_twins.as_float(slow_twins.noise_picture(11, 30))
    assert (blur(picture, delta()) - picture).abs().max() < 1e-6
    reach = kernels.radii(np.concatenate([delta().numpy(), np.pad(sinc_kernel(9, 2.0), 6)[None], gaussian_kernel(21, 3.0, 3.0)[None]]))
    assert reach.tolist() == [0, 4, 10]


@pytest.mark.parametrize("side", [1, 2, 7, 40])
def test_a_picture_goes_on_evenly_beyond_its_edges(side):
    expected = np.pad(np.arange(side), 25, mode="reflect") if side > 1 else np.zeros(51, int)
    assert operators.continued(torch.arange(-25, side + 25)[None], torch.tensor([side]))[0].tolist() == expected.tolist()


@pytest.mark.parametrize("value", [0.0, 0.37, 1.0])
def test_a_constant_picture_stays_what_it_is(value):
    picture = constant(value)
    for kernel in (gaussian_kernel(21, 3.0, 1.0, 0.4), sinc_kernel(21, 1.2)):
        assert levels_apart(blur(picture, torch.from_numpy(kernel).float()[None]), picture) < 1e-3
    for mode in RESIZE_MODES:
        for larger in (resize(picture, mode, factor=0.37), resize(picture, mode, size=(61, 70))):
            assert levels_apart(larger, torch.full_like(larger, value)) < 1e-3
    assert levels_apart(degrade.unsharp_mask(picture), picture) < 1e-3


# -------------------------------------------------------------------------------------------------------------------------- resize


@pytest.mark.parametrize("mode", RESIZE_MODES)
def test_a_factor_of_one_and_the_same_size_are_the_identity(mode):
    picture = slow_twins.as_float(slow_twins.noise_picture(19, 30))
    assert torch.equal(resize(picture, mode, factor=1.0), picture)
    assert torch.equal(resize(picture, mode, size=(19, 30)), picture)


@pytest.mark.parametrize("mode", RESIZE_MODES)
@pytest.mark.parametrize("factor", [0.37, 0.9, 1.3])
def test_a_factor_rounds_the_size_down_and_samples_at_steps_of_its_inverse(mode, factor):
    picture = slow_twins.as_float(slow_twins.noise_picture(30, 37))
    resized = resize(picture, mode, factor=factor)
    height, width = math.floor(30 * factor), math.floor(37 * factor)
    assert resized.shape == (1, 3, height, width)
    slow = slow_twins.resized(picture[0].numpy().astype(np.float64), height, width, (1 / factor, 1 / factor), mode)
    np.testing.assert_allclose(resized[0].numpy(), slow, atol=2e-5)


@pytest.mark.parametrize("mode", RESIZE_MODES)
@pytest.mark.parametrize(("height", "width"), [(11, 13), (39, 48), (30, 20)])
def test_a_size_samples_at_steps_of_the_ratio_of_the_sides(mode, height, width):
    picture = slow_twins.as_float(slow_twins.noise_picture(30, 37))
    resized = resize(picture, mode, size=(height, width))
    slow = slow_twins.resized(picture[0].numpy().astype(np.float64), height, width, (30 / height, 37 / width), mode)
    np.testing.assert_allclose(resized[0].numpy(), slow, atol=2e-5)


@pytest.mark.parametrize(("side", "factor"), [(400, 0.1672), (128, 0.202), (128, 0.169), (399, 0.2004), (97, 0.51), (400, 0.99)])
def test_area_resizing_averages_whole_cells_also_where_the_size_is_rounded_down(side, factor):
    picture = slow_twins.as_float(slow_twins.noise_picture(side, 12)).double()
    resized = resize(picture, "area", size=(math.floor(side * factor), 12))
    rows = resize(picture, "area", factor=factor)
    expected = torch.nn.functional.adaptive_avg_pool2d(picture, (math.floor(side * factor), math.floor(12 * factor)))
    assert (rows - expected).abs().max() < 1e-12
    assert (resized.mean(-1) - torch.nn.functional.adaptive_avg_pool2d(picture, (resized.shape[2], 1))[..., 0]).abs().max() < 1e-12


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_a_factor_and_the_size_that_it_gives_differ(mode):
    picture = slow_twins.as_float(slow_twins.noise_picture(30, 37))
    by_factor = resize(picture, mode, factor=0.37)
    assert levels_apart(by_factor, resize(picture, mode, size=tuple(by_factor.shape[-2:]))) > 20


# --------------------------------------------------------------------------------------------------------------------------- noise


def test_luma_weighs_the_channels():
    picture = slow_twins.as_float(slow_twins.noise_picture(5, 6))
    red, green, blue = picture[0]
    torch.testing.assert_close(noise.luma(picture)[0, 0], 0.2989 * red + 0.587 * green + 0.114 * blue)


@pytest.mark.parametrize("gray", [False, True])
def test_gaussian_noise_has_the_standard_deviation_asked_for_and_no_mean(gray):
    noise = gaussian_noise(constant(0.5, 200, 300), 20.0, gray, 1) - 0.5
    count = 200 * 300 * (1 if gray else 3)
    assert noise.std().item() * 255 == pytest.approx(20, rel=4 / math.sqrt(2 * count))
    assert abs(noise.mean().item()) * 255 < 4 * 20 / math.sqrt(count)


@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("poisson", [False, True])
def test_grey_noise_is_one_field_for_the_channels_and_colour_noise_is_not(gray, poisson):
    picture = constant(0.5)
    field = (poisson_noise(picture, 0.05, gray, 2) if poisson else gaussian_noise(picture, 10.0, gray, 2)) - picture
    assert field.std() > 0.01
    assert torch.equal(field[:, 0], field[:, 1]) == gray
    assert torch.equal(field[:, 0], field[:, 2]) == gray


@pytest.mark.parametrize("poisson", [False, True])
def test_noise_is_clipped_and_depends_on_the_seed_alone(poisson):
    picture = slow_twins.as_float(slow_twins.noise_picture(32, 32))

    def noisy(seed: int) -> torch.Tensor:
        return poisson_noise(picture, 3.0, False, seed) if poisson else gaussian_noise(picture, 90.0, False, seed)

    assert torch.equal(noisy(1), noisy(1))
    assert not torch.equal(noisy(1), noisy(2))
    assert noisy(1).min() == 0
    assert noisy(1).max() <= 1


def test_a_window_has_the_noise_of_the_picture_there():
    picture = slow_twins.as_float(slow_twins.noise_picture(40, 50))
    rows, columns = torch.arange(7, 29)[None], torch.arange(13, 50)[None]
    window = operators.cut(picture, rows, columns)
    keys = noise.keys(torch.tensor([11]), 1)
    for gray in (False, True):
        part = noise.gaussian_noise(window, torch.tensor([30.0]), np.array([gray]), keys, rows, columns)
        assert torch.equal(part, gaussian_noise(picture, 30.0, gray, 11)[..., 7:29, 13:50])
        part, levels = noise.poisson_noise(window, torch.tensor([1.0]), np.array([gray]), keys, rows, columns)
        assert levels.item() > 128
        assert torch.equal(part, poisson_noise(picture, 1.0, gray, 11)[..., 7:29, 13:50])


def test_samples_of_a_group_have_their_own_noise_whatever_their_neighbours_are():
    pictures = torch.cat([slow_twins.as_float(slow_twins.noise_picture(24, 24, seed)) for seed in range(3)])
    gray, seeds, rows = np.array([True, False, True]), torch.tensor([5, 6, 2**62]), torch.arange(24).repeat(3, 1)
    together = (
        noise.gaussian_noise(pictures, torch.tensor([30.0, 5.0, 60.0]), gray, noise.keys(seeds, 2), rows, rows),
        noise.poisson_noise(pictures, torch.tensor([1.0, 0.3, 2.0]), gray, noise.keys(seeds, 2), rows, rows)[0],
    )
    for i, (sigma, scale) in enumerate(((30.0, 1.0), (5.0, 0.3), (60.0, 2.0))):
        assert torch.equal(together[0][i : i + 1], gaussian_noise(pictures[i : i + 1], sigma, bool(gray[i]), int(seeds[i]), 2))
        assert torch.equal(together[1][i : i + 1], poisson_noise(pictures[i : i + 1], scale, bool(gray[i]), int(seeds[i]), 2))


def test_normal_values_are_normal_and_independent_of_each_other():
    places = torch.arange(300)[None]
    fields = noise.normals(noise.keys(torch.tensor([3]), 1), places, places, 3, torch.float64)[0].numpy()
    other = noise.normals(noise.keys(torch.tensor([3]), 2), places, places, 3, torch.float64)[0].numpy()
    for field in fields:
        assert stats.kstest(field.ravel(), "norm").pvalue > 1e-3
        assert abs(stats.kurtosis(field.ravel())) < 4 * math.sqrt(24 / field.size)
    pairs = [(fields[0], fields[1]), (fields[0], fields[2]), (fields[1], fields[2]), (fields[0], other[0]), (fields[2], other[2])]
    pairs += [(fields[:, 1:], fields[:, :-1]), (fields[..., 1:], fields[..., :-1]), (fields[0], fields[0].T), (fields[:, ::-1], fields)]
    pairs += [(np.square(fields[0]), np.square(fields[2])), (np.square(fields[..., 2:]), np.square(fields[..., :-2]))]
    for one, two in pairs:
        assert abs(np.corrcoef(one.ravel(), two.ravel())[0, 1]) < 4.5 / math.sqrt(one.size)


def test_random_bits_are_balanced_one_by_one():
    places = torch.arange(400)[None]
    bits = noise.random_bits(noise.keys(torch.tensor([8]), 1), places, places, 2)
    for bit in range(32):
        assert abs(((bits >> bit) & 1).double().mean().item() - 0.5) < 4.5 * 0.5 / math.sqrt(bits.numel())
    assert len(bits.unique()) > 0.9999 * bits.numel()


def test_the_tables_of_poisson_noise_hold_its_distribution():
    kept, alias, starts, bits = noise._poisson_tables()
    for exponent in range(9):
        columns = 1 << int(bits[exponent])
        table = slice(int(starts[exponent]), int(starts[exponent]) + 256 * columns)
        keep, other = kept[table].double().view(256, columns), alias[table].long().view(256, columns)
        chances = (keep / columns).scatter_add(1, other, (1 - keep) / columns).numpy()
        expected = stats.poisson.pmf(np.arange(columns), np.arange(256)[:, None] / 255 * 2**exponent)
        np.testing.assert_allclose(chances, expected, atol=1e-7)


@pytest.mark.parametrize("level", [1, 37, 128, 240])
def test_poisson_noise_is_poisson(level):
    # All levels lie in the last rows, so that v = 256.
    picture = torch.full((1, 3, 300, 256), level / 255)
    picture[..., -1, :] = torch.arange(256) / 255
    drawn = ((poisson_noise(picture, 0.001, False, 6) - picture) / 0.001 + picture)[..., :-1, :] * 256
    counts = np.bincount(drawn.round().long().flatten().numpy().clip(0), minlength=400)
    expected = stats.poisson.pmf(np.arange(len(counts)), level / 255 * 256) * counts.sum()
    often = expected > 20
    chi2 = ((counts - expected)[often] ** 2 / expected[often]).sum()
    assert stats.chi2.sf(chi2, often.sum() - 1) > 1e-3


def with_levels(count: int) -> torch.Tensor:
    """A picture with `count` grey levels, equally often, alike in the three channels: 128/255 and a few above."""
    values = (128 + torch.arange(count)) / 255
    return values.repeat_interleave(60_000 // count).view(1, 1, 200, 300).repeat(1, 3, 1, 1).contiguous()


@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize(("levels", "values"), [(1, 1), (2, 2), (3, 4), (4, 4), (5, 8)])
def test_variance_of_poisson_noise_is_scale_squared_x_over_v(gray, levels, values):
    picture, scale = with_levels(levels), 0.05
    noise = poisson_noise(picture, scale, gray, 3) - picture
    expected = scale**2 * picture.mean().item() / values
    assert noise[:, 0].var().item() == pytest.approx(expected, rel=0.05)
    assert abs(noise.mean().item()) < 4 * math.sqrt(expected / 60_000)


def test_poisson_noise_of_grey_kind_counts_the_levels_of_the_luma():
    # Three levels over the channels, one of the luma.
    picture = torch.tensor([100.0, 128.0, 150.0]).view(1, 3, 1, 1).expand(1, 3, 200, 300).contiguous() / 255
    luma = round(noise.luma(picture)[0, 0, 0, 0].item() * 255) / 255
    assert (poisson_noise(picture, 0.05, True, 4) - picture).var() == pytest.approx(0.05**2 * luma, rel=0.05)
    colour = poisson_noise(picture, 0.05, False, 4) - picture
    for channel, level in zip(colour[0], (100, 128, 150), strict=True):
        assert channel.var() == pytest.approx(0.05**2 * level / 255 / 4, rel=0.05)


def test_poisson_noise_is_that_of_the_picture_rounded_to_8_bits():
    # 0.5 lies between two levels: the noise is drawn for 128/255 and added to 0.5.
    noise = poisson_noise(constant(0.5), 0.05, False, 5) - 0.5
    photons = (noise / 0.05 + 128 / 255).flatten()
    torch.testing.assert_close(photons, photons.round(), atol=1e-4, rtol=0)
    assert len(photons.round().unique()) > 2


# ---------------------------------------------------------------------------------------------------------------------------- JPEG


@pytest.mark.parametrize(("quality", "level"), [(30, 94 + 2 / 3), (50, 94.0), (75, 94.0), (95, 94.4)])
def test_jpeg_of_a_constant_is_quantised_by_its_mean(quality, level):
    factor = 50 / quality if quality < 50 else 2 - quality / 50
    assert level == pytest.approx(128 + round((255 * 0.37 - 128) / (2 * factor)) * 2 * factor, abs=1e-6)
    result = operators.jpeg(constant(0.37), torch.tensor([float(quality)]))
    torch.testing.assert_close(result * 255, torch.full_like(result, level), atol=1e-3, rtol=0)


@pytest.mark.parametrize("quality", [10.0, 30.0, 49.9, 50.0, 72.5, 95.0])
def test_jpeg_twice_is_jpeg_once(quality):
    # Whole blocks, and nothing near black or white that would be clamped.
    picture = slow_twins.as_float(slow_twins.smooth_picture(48, 64)) * 0.5 + 0.25
    once = operators.jpeg(picture, torch.tensor([quality]))
    assert once.min() > 0
    assert once.max() < 1
    assert levels_apart(once, picture) > 0.5
    assert levels_apart(operators.jpeg(once, torch.tensor([quality])), once) < 1e-3


@pytest.mark.parametrize("quality", [20.0, 50.0, 92.3])
@pytest.mark.parametrize(("height", "width"), [(32, 48), (37, 20), (5, 9)])
def test_jpeg_equals_its_slow_twin(quality, height, width):
    picture = slow_twins.as_float(slow_twins.photo_crop("coffee", height, width, 100, 200))
    fast = operators.jpeg(picture, torch.tensor([quality]))
    assert fast.shape == picture.shape
    np.testing.assert_allclose(fast[0].numpy(), slow_twins.jpeg(picture[0].numpy().astype(np.float64), quality), atol=1e-5)


def test_jpeg_takes_a_quality_for_each_picture_and_leaves_it_alone():
    pictures = torch.cat([slow_twins.as_float(slow_twins.smooth_picture(32, 32, seed)) for seed in (0, 1)])
    qualities = torch.tensor([20.0, 90.0])
    together = operators.jpeg(pictures, qualities)
    assert qualities.tolist() == [20.0, 90.0]
    for i in range(2):
        torch.testing.assert_close(together[i : i + 1], operators.jpeg(pictures[i : i + 1], qualities[i : i + 1]), atol=1e-6, rtol=0)


@pytest.mark.parametrize("quality", [30, 50, 75, 95])
def test_jpeg_is_near_a_real_codec(quality):
    picture = slow_twins.photo_crop("coffee", 128, 128, 100, 200)
    file = io.BytesIO()
    images.to_pillow(picture).save(file, format="JPEG", quality=quality, subsampling=2)
    real = slow_twins.as_float(images.from_pillow(Image.open(file)))
    ours = operators.jpeg(slow_twins.as_float(picture), torch.tensor([float(quality)]))
    # Pillow smooths the chroma when it enlarges it, and rounds to 8 bits at several places.
    to_real, to_source = ((other - ours).square().mean().item() for other in (real, slow_twins.as_float(picture)))
    assert 10 * math.log10(1 / to_real) > 36
    assert to_real < to_source / 1.5


def test_the_quantisation_tables_are_those_of_a_real_codec_at_quality_50():
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, format="JPEG", quality=50)
    tables = Image.open(file).quantization
    assert tables[0] == operators._LUMA_STEPS.flatten().int().tolist()
    assert tables[1] == operators._CHROMA_STEPS.flatten().int().tolist()


def test_black_padding_bleeds_into_the_last_rows_of_a_side_that_is_no_multiple_of_16():
    cut = operators.jpeg(constant(0.7, 36, 48), torch.tensor([30.0]))
    whole = operators.jpeg(constant(0.7, 32, 48), torch.tensor([30.0]))
    assert levels_apart(whole, whole[..., :1, :1].expand_as(whole)) < 1e-3
    assert levels_apart(cut[..., :32, :], whole) < 1e-3
    assert cut[..., 32:, :].min() < 0.685
    assert cut[..., 32:, :].max() > whole.max()


# --------------------------------------------------------------------------------------------------------------------- sharpening


@pytest.mark.parametrize(("name", "height", "width"), [("chelsea", 60, 70), ("coffee", 26, 90)])
def test_unsharp_mask_equals_its_dense_slow_twin(name, height, width):
    picture = slow_twins.as_float(slow_twins.photo_crop(name, height, width, 100, 150))
    sharpened = degrade.unsharp_mask(picture)
    assert levels_apart(sharpened, picture) > 10
    np.testing.assert_allclose(sharpened[0].numpy(), slow_twins.unsharp_mask(picture[0].numpy().astype(np.float64)), atol=1e-5)


def test_unsharp_mask_leaves_what_differs_little_and_sharpens_an_edge():
    faint, strong = constant(0.5, 64, 96), constant(0.5, 64, 96)
    faint[..., 48:] += 18 / 255
    strong[..., 48:] += 60 / 255
    # On either side of a step of d, the residual is at most d/2 and a little: 9 levels stay below the threshold of 10.
    assert torch.equal(degrade.unsharp_mask(faint), faint)
    sharpened = degrade.unsharp_mask(strong)
    assert sharpened[0, 0, 32, 49] > strong[0, 0, 32, 49] + 0.01
    assert sharpened[0, 0, 32, 46] < strong[0, 0, 32, 46] - 0.01


def test_unsharp_mask_treats_pictures_apart_and_refuses_small_ones():
    pictures = torch.cat([slow_twins.as_float(slow_twins.smooth_picture(40, 50, seed)) for seed in (0, 1)])
    together = degrade.unsharp_mask(pictures)
    torch.testing.assert_close(together[1:], degrade.unsharp_mask(pictures[1:]), atol=1e-6, rtol=0)
    with pytest.raises(UserError, match="90×25 is too small for sharpening with 51 taps"):
        degrade.unsharp_mask(constant(0.5, 25, 90))


# ------------------------------------------------------------------------------------------------------- the two-order draws: purity

SMALL = TwoOrder(canvas=96)


def same(first: degrade.Params, second: degrade.Params) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def row(params: degrade.Params, *indices: int) -> degrade.Params:
    return {name: value[list(indices)] for name, value in params.items()}


def test_draws_are_a_pure_function_of_seed_n_and_view():
    ns = [5, 0, 17, 10**9]
    together = SMALL.sample(3, ns)
    assert same(together, TwoOrder(canvas=96).sample(3, ns))
    for i, n in enumerate(ns):
        assert same(row(together, i), SMALL.sample(3, [n]))
    assert same(row(together, 2, 0), SMALL.sample(3, [17, 5]))


def test_draws_differ_by_seed_n_and_view():
    first = SMALL.sample(3, [5])
    for other in (SMALL.sample(4, [5]), SMALL.sample(3, [6]), SMALL.sample(3, [5], view=1)):
        for name in ("sigma1", "sigma2", "poisson1", "quality1", "quality2", "noise_seed", "gray_noise_seed"):
            assert not torch.equal(first[name], other[name]), name
    assert same(SMALL.sample(3, [5], view=0), first)


def test_draws_do_not_touch_the_global_generators():
    np_state, torch_state = np.random.get_state()[1].copy(), torch.get_rng_state()
    SMALL.apply(torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(0)), SMALL.sample(0, [0]), 4)
    assert np.array_equal(np.random.get_state()[1], np_state)
    assert torch.equal(torch.get_rng_state(), torch_state)


SHARED = ("resize1", "mode1", "gaussian1", "resize2", "mode2", "gaussian2", "tail_mode", "resize_before_jpeg", "gray_noise_seed")
OWN = ("sigma1", "sigma2", "poisson1", "poisson2", "quality1", "quality2", "noise_seed")


# Kernels that are wide enough never to be taken for the delta of a blur left out.
GROUPED = TwoOrder(shared_draws=4, second=TwoOrder().second.model_copy(update={"sigma": (1.0, 1.5)}))


@pytest.fixture(scope="module")
def groups() -> list[degrade.Params]:
    """Twenty batches of four, with the draws shared within each."""
    return [GROUPED.sample(0, range(4 * g, 4 * g + 4)) for g in range(20)]


@pytest.mark.parametrize("name", SHARED)
def test_shared_draws_are_equal_within_a_group_and_differ_between_groups(groups, name):
    assert all(len(group[name].unique()) == 1 for group in groups)
    assert len({group[name][0].item() for group in groups}) > 1


@pytest.mark.parametrize("name", OWN)
def test_other_draws_are_the_samples_own(groups, name):
    assert all(len(group[name].unique()) == 4 for group in groups)


def test_whether_the_second_blur_is_applied_is_shared_and_its_kernel_is_not(groups):
    identity = delta()[0]
    blurred = [[not torch.equal(kernel, identity) for kernel in group["kernel2"]] for group in groups]
    assert all(len(set(group)) == 1 for group in blurred)
    assert {group[0] for group in blurred} == {True, False}
    kernels = next(group["kernel2"] for group, there in zip(groups, blurred, strict=True) if there[0])
    assert not torch.equal(kernels[0], kernels[1])


def test_shared_draws_do_not_depend_on_which_samples_are_drawn_together(groups):
    assert same(GROUPED.sample(0, [6]), row(groups[1], 2))
    assert same(GROUPED.sample(0, [6, 1]), {name: torch.stack([groups[1][name][2], groups[0][name][1]]) for name in groups[0]})


def neutral(params: degrade.Params, **changes: torch.Tensor | float | int | bool) -> degrade.Params:
    """The draws of some samples with all that changes a picture taken out of them, and then changed."""
    count = len(params["sigma1"])
    values = {"resize1": 1.0, "resize2": 1.0, "gaussian1": True, "gaussian2": True, "sigma1": 0.0, "sigma2": 0.0}
    values |= {"quality1": 99.0, "quality2": 99.0}
    values |= changes
    kernels = {name: delta().repeat(count, 1, 1) for name in ("kernel1", "kernel2", "sinc")}
    return (
        params
        | kernels
        | {name: value if isinstance(value, torch.Tensor) else torch.tensor([value] * count) for name, value in values.items()}
    )


@pytest.mark.parametrize(("shared_draws", "gray", "alike"), [(2, True, True), (2, False, False), (1, True, False)])
def test_a_group_shares_the_field_of_its_grey_gaussian_noise(shared_draws, gray, alike):
    drawn = TwoOrder(shared_draws=shared_draws).sample(0, [0, 1])
    params = neutral(drawn, sigma1=torch.tensor([20.0, 10.0]), gray1=gray, gray2=gray)
    noise = SMALL.apply(constant(0.5, 64, 64).repeat(2, 1, 1, 1), params, 1) - 0.5
    correlation = np.corrcoef(noise[0].flatten(), noise[1].flatten())[0, 1]
    assert correlation > 0.9 if alike else abs(correlation) < 0.1
    if alike:
        assert noise[0].std() / noise[1].std() == pytest.approx(2, rel=0.05)


# ------------------------------------------------------------------------------------------------- the two-order draws: distribution

COUNT = 4000
STAGES = (TwoOrder().first, TwoOrder().second)


@pytest.fixture(scope="module")
def drawn() -> SimpleNamespace:
    """Many draws, as plain numbers and as they are used: `kernels[order]` one a sample, `final` where there is one."""
    numbers = TwoOrder().draw(7, range(COUNT))
    families = ("gaussian", "generalized", "plateau")
    result = SimpleNamespace(kernels=([], []), final=[], params=TwoOrder().sample(7, range(COUNT)))
    for order in (1, 2):
        for i in range(COUNT):
            size, sinc, omega, family, x, y, theta, beta = (
                numbers[f"{name}{order}"][i].item() for name in ("size", "sinc", "omega", "family", "sigma_x", "sigma_y", "theta", "beta")
            )
            kernel = SimpleNamespace(size=size, omega=omega, family="sinc")
            if not sinc:
                kernel = SimpleNamespace(size=size, x=x, y=y, theta=theta, beta=beta, family=families[family // 2])
            result.kernels[order - 1].append(kernel)
    for i in numbers["final_sinc"].nonzero()[0]:
        result.final.append(SimpleNamespace(size=numbers["final_size"][i], omega=numbers["final_omega"][i], family="sinc"))
    return result


def made(kernel: SimpleNamespace) -> np.ndarray:
    """The slow twin of a drawn kernel, on the grid of 21."""
    if kernel.family == "sinc":
        small = slow_twins.sinc_kernel(kernel.size, kernel.omega)
    else:
        small = slow_twins.gaussian_kernel(kernel.size, kernel.x, kernel.y, kernel.theta, kernel.beta, kernel.family)
    return np.pad(small, (21 - kernel.size) // 2)


def assert_share(hits, probability: float, of: int = COUNT) -> None:
    """A count of draws lies within four standard deviations of what its probability says."""
    hits = int(np.sum(hits.numpy() if isinstance(hits, torch.Tensor) else hits))
    assert abs(hits - of * probability) <= 4 * math.sqrt(of * probability * (1 - probability)), (hits / of, probability)


def assert_uniform(values, low: float, high: float) -> None:
    values = np.asarray(values, dtype=np.float64)
    assert low <= values.min()
    assert values.max() <= high
    assert stats.kstest(values, stats.uniform(low, high - low).cdf).pvalue > 1e-4


@pytest.mark.parametrize("order", [1, 2])
def test_distribution_of_resizes(drawn, order):
    up, down, low, high = [(0.2, 0.7, 0.15, 1.5), (0.3, 0.4, 0.3, 1.2)][order - 1]
    factors = drawn.params[f"resize{order}"].double()
    assert_share(factors > 1, up)
    assert_share(factors < 1, down)
    assert_share(factors == 1, 1 - up - down)
    assert_uniform(factors[factors > 1], 1, high)
    assert_uniform(factors[factors < 1], low, 1)


@pytest.mark.parametrize("name", ["mode1", "mode2", "tail_mode"])
def test_distribution_of_resize_modes(drawn, name):
    for mode in range(3):
        assert_share(drawn.params[name] == mode, 1 / 3)


@pytest.mark.parametrize("order", [1, 2])
def test_distribution_of_noise_and_quality(drawn, order):
    sigma, poisson = [((1, 30), (0.05, 3)), ((1, 25), (0.05, 2.5))][order - 1]
    assert_share(drawn.params[f"gaussian{order}"], 0.5)
    assert_share(drawn.params[f"gray{order}"], 0.4)
    assert_uniform(drawn.params[f"sigma{order}"], *sigma)
    assert_uniform(drawn.params[f"poisson{order}"], *poisson)
    assert_uniform(drawn.params[f"quality{order}"], 30, 95)


@pytest.mark.parametrize("order", [1, 2])
def test_orders_noise_and_jpeg_are_left_out_as_often_as_is_asked(drawn, order):
    assert drawn.params[f"noisy{order}"].all()
    assert drawn.params[f"jpeg{order}"].all()
    stage = Stage(probability=0.7, sigma=(1, 3), resize_probabilities=(0, 1, 0), noise_probability=0.4, jpeg_probability=0.8)
    params = TwoOrder(first=stage, second=stage, shared_draws=4).sample(7, range(COUNT))
    there = params[f"resize{order}"] < 1
    assert_share(there, 0.7)
    assert torch.equal((params[f"kernel{order}"] != delta()).any(2).any(1), there)
    for name, probability in (("noisy", 0.4), ("jpeg", 0.8)):
        assert not params[f"{name}{order}"][~there].any()
        assert_share(params[f"{name}{order}"][there], probability, int(there.sum()))
    assert params["noisy1"][params["jpeg1"]].double().mean() == pytest.approx(0.4, abs=0.05), "each by itself"


def test_resize_modes_are_drawn_as_often_as_is_asked():
    shares = (0.1, 0.2, 0.0, 0.7)
    stage = Stage(mode_probabilities=shares)
    params = TwoOrder(first=stage, second=stage, tail_mode_probabilities=shares).sample(7, range(COUNT))
    for name in ("mode1", "mode2", "tail_mode"):
        for mode, share in enumerate(shares):
            assert_share(params[name] == mode, share)


def test_what_may_be_left_out_leaves_all_other_draws_as_they_are(drawn):
    stage = {"probability": 0.5, "noise_probability": 0.5, "jpeg_probability": 0.5, "mode_probabilities": (0.0, 0.0, 0.0, 1.0)}
    options = TwoOrder()
    sparse = TwoOrder(first=options.first.model_copy(update=stage), second=options.second.model_copy(update=stage))
    others = sparse.draw(7, range(50))
    for name, values in options.draw(7, range(50)).items():
        if not name.startswith(("noisy", "jpeg", "blurred", "resize", "mode")) or name == "resize_before_jpeg":
            assert np.array_equal(others[name], values), name


def test_with_everything_left_out_a_picture_is_shrunk_as_pillow_does():
    stage = Stage(probability=0.0, mode_probabilities=(0, 0, 0, 1))
    options = TwoOrder(canvas=96, first=stage, second=stage, final_sinc_probability=0, tail_mode_probabilities=(0, 0, 0, 1))
    picture = slow_twins.photo_crop("chelsea", 96, 128)
    lr = options.apply(slow_twins.as_float(picture), options.sample(0, [0]), 4)
    pillow = Image.fromarray(picture.permute(1, 2, 0).numpy()).resize((32, 24), Image.Resampling.BICUBIC)
    apart = images.to_uint8(lr)[0].permute(1, 2, 0).numpy().astype(int) - np.asarray(pillow).astype(int)
    assert abs(apart).max() <= 1


def test_distribution_of_the_tail(drawn):
    assert_share(drawn.params["resize_before_jpeg"], 0.5)
    assert len(drawn.params["noise_seed"].unique()) == COUNT
    assert len(drawn.params["gray_noise_seed"].unique()) == COUNT
    assert drawn.params["noise_seed"].min() >= 0


@pytest.mark.parametrize("order", [1, 2])
def test_distribution_of_kernel_sizes_and_families(drawn, order):
    kernels = drawn.kernels[order - 1]
    sizes = Counter(kernel.size for kernel in kernels)
    assert sorted(sizes) == list(range(7, 22, 2))
    for hits in sizes.values():
        assert_share(hits, 1 / 8)
    assert_share([kernel.family == "sinc" for kernel in kernels], 0.1)
    gaussians = [kernel for kernel in kernels if kernel.family != "sinc"]
    families = Counter((kernel.family, kernel.x == kernel.y) for kernel in gaussians)
    for family, iso, aniso in (("gaussian", 0.45, 0.25), ("generalized", 0.12, 0.03), ("plateau", 0.12, 0.03)):
        assert_share(families[family, True], iso, len(gaussians))
        assert_share(families[family, False], aniso, len(gaussians))


@pytest.mark.parametrize("order", [1, 2])
def test_distribution_of_kernel_shapes(drawn, order):
    gaussians = [kernel for kernel in drawn.kernels[order - 1] if kernel.family != "sinc"]
    aniso = [kernel for kernel in gaussians if kernel.x != kernel.y]
    high = 3 if order == 1 else 1.5
    assert_uniform([kernel.x for kernel in gaussians], 0.2, high)
    assert_uniform([kernel.y for kernel in aniso], 0.2, high)
    assert_uniform([kernel.theta for kernel in aniso], -math.pi, math.pi)
    assert abs(np.corrcoef([kernel.x for kernel in aniso], [kernel.y for kernel in aniso])[0, 1]) < 4 / math.sqrt(len(aniso))
    generalized = [kernel.beta for kernel in gaussians if kernel.family == "generalized"]
    assert_share([beta < 1 for beta in generalized], 0.5, len(generalized))
    assert_uniform([beta for beta in generalized if beta < 1], 0.5, 1)
    assert_uniform([beta for beta in generalized if beta > 1], 1, 4)
    plateau = [kernel.beta for kernel in gaussians if kernel.family == "plateau"]
    assert_share([beta == 1 for beta in plateau], 0.5, len(plateau))
    assert_uniform([beta for beta in plateau if beta != 1], 1, 2)
    sincs = [kernel for kernel in drawn.kernels[order - 1] if kernel.family == "sinc"]
    assert_uniform([kernel.omega for kernel in sincs if kernel.size < 13], math.pi / 3, math.pi)
    assert_uniform([kernel.omega for kernel in sincs if kernel.size >= 13], math.pi / 5, math.pi)
    assert min(kernel.omega for kernel in sincs if kernel.size == 13) < math.pi / 3


def test_kernels_are_made_of_what_was_drawn_and_the_second_is_left_out_one_time_in_five(drawn):
    assert drawn.params["kernel1"].shape == (COUNT, 21, 21)
    identity = (drawn.params["kernel2"] == delta()).all((1, 2))
    assert_share(~identity, 0.8)
    for i in range(120):
        np.testing.assert_allclose(drawn.params["kernel1"][i].numpy(), made(drawn.kernels[0][i]), atol=1e-6)
        if not identity[i]:
            np.testing.assert_allclose(drawn.params["kernel2"][i].numpy(), made(drawn.kernels[1][i]), atol=1e-6)


def test_distribution_of_the_final_sinc(drawn):
    assert_share(len(drawn.final), 0.8)
    assert {kernel.family for kernel in drawn.final} == {"sinc"}
    sizes = Counter(kernel.size for kernel in drawn.final)
    assert sorted(sizes) == list(range(7, 22, 2))
    for hits in sizes.values():
        assert_share(hits, 1 / 8, len(drawn.final))
    assert_uniform([kernel.omega for kernel in drawn.final], math.pi / 3, math.pi)
    there = drawn.params["sinc"][(drawn.params["sinc"] != delta()).any(2).any(1)]
    assert len(there) == len(drawn.final)
    for kernel, numbers in zip(there[:40].numpy(), drawn.final, strict=False):
        np.testing.assert_allclose(kernel, made(numbers), atol=1e-6)


def test_drawn_kernels_sum_to_one(drawn):
    for name in ("kernel1", "kernel2", "sinc"):
        torch.testing.assert_close(drawn.params[name].sum((1, 2)), torch.ones(COUNT), atol=1e-5, rtol=0)


def test_the_draws_follow_the_options():
    stage = Stage(
        sinc_probability=1.0, resize_probabilities=(0, 1, 0), resize_range=(0.4, 1), gaussian_probability=0.0, gray_probability=1.0,
        jpeg_quality=(50, 50),
    )  # fmt: skip
    options = TwoOrder(first=stage, second=stage.model_copy(update={"blur_probability": 0.0}), final_sinc_probability=0.0)
    params = options.sample(0, range(50))
    assert (params["kernel2"] == delta()).all()
    assert (params["sinc"] == delta()).all()
    # The rings of a sinc are negative somewhere, the other families nowhere.
    assert (params["kernel1"].amin((1, 2)) < 0).all()
    for order in (1, 2):
        assert ((params[f"resize{order}"] >= 0.4) & (params[f"resize{order}"] <= 1)).all()
        assert not params[f"gaussian{order}"].any()
        assert params[f"gray{order}"].all()
        assert (params[f"quality{order}"] == 50).all()


# ---------------------------------------------------------------------------------------------------------------- the two-order way


def slow_two_order(hr: torch.Tensor, params: degrade.Params, scale: int) -> torch.Tensor:
    """One picture's way written out, step by step, with PyTorch's own convolutions and resizes on all of it."""
    p = {name: value[0] for name, value in params.items()}
    own, shared = p["noise_seed"].item(), p["gray_noise_seed"].item()
    modes = [RESIZE_MODES[int(p[name])] for name in ("mode1", "mode2", "tail_mode")]
    height, width = hr.shape[-2:]

    def blurred(x, kernel):
        weight = kernel.to(x.dtype).expand(3, 1, 21, 21)
        return F.conv2d(F.pad(x, (10,) * 4, mode="reflect"), weight, groups=3)

    def add_noise(x, order):
        if not p[f"noisy{order}"]:
            return x.clamp(0, 1)
        gray = bool(p[f"gray{order}"])
        if p[f"gaussian{order}"]:
            return gaussian_noise(x, p[f"sigma{order}"].item(), gray, shared if gray else own, order)
        return poisson_noise(x, p[f"poisson{order}"].item(), gray, own, order)

    def compressed(x, order):
        return operators.jpeg(x, p[f"quality{order}"][None]) if p[f"jpeg{order}"] else x

    def resized(x, mode, **how):
        if mode == "antialiased":
            return F.interpolate(x, mode="bicubic", antialias=True, **how)
        return F.interpolate(x, mode=mode, **how) if mode == "area" else F.interpolate(x, mode=mode, align_corners=False, **how)

    x = blurred(hr, p["kernel1"])
    x = resized(x, modes[0], scale_factor=p["resize1"].item())
    x = add_noise(x, 1)
    x = compressed(x, 1)
    x = blurred(x, p["kernel2"])
    x = resized(x, modes[1], size=(int(height / scale * p["resize2"].item()), int(width / scale * p["resize2"].item())))
    x = add_noise(x, 2)
    final = {"size": (height // scale, width // scale)}
    if p["resize_before_jpeg"]:
        x = blurred(resized(x, modes[2], **final), p["sinc"]).clamp(0, 1)
        x = compressed(x, 2)
    else:
        x = compressed(x.clamp(0, 1), 2)
        x = blurred(resized(x, modes[2], **final), p["sinc"])
    return (255 * x).round().clamp(0, 255) / 255


@pytest.fixture(scope="module")
def batch() -> SimpleNamespace:
    """Eight crops of a photograph, their draws, and what comes of them."""
    hr = torch.cat([slow_twins.as_float(slow_twins.photo_crop("chelsea", 96, 96, 10 * i, 20 * i)) for i in range(8)])
    params = SMALL.sample(1, range(8))
    assert len(params["resize_before_jpeg"].unique()) == 2
    assert len({(bool(a), bool(b)) for a, b in zip(params["gaussian1"], params["gray1"], strict=True)}) >= 3
    return SimpleNamespace(hr=hr, params=params, lr=SMALL.apply(hr, params, 4))


_SELDOM = {"probability": 0.6, "noise_probability": 0.6, "jpeg_probability": 0.6, "mode_probabilities": (0.1, 0.1, 0.1, 0.7)}
SPARSE = TwoOrder(
    canvas=96,
    first=TwoOrder().first.model_copy(update=_SELDOM),
    second=TwoOrder().second.model_copy(update=_SELDOM),
    tail_mode_probabilities=(0.1, 0.1, 0.1, 0.7),
)
"""Where much is left out, and antialiased resizing is frequent."""


@pytest.fixture(scope="module", params=["as published", "sparse"])
def way(request, batch) -> SimpleNamespace:
    """The draws of eight samples, in float64: no sum comes near a half that another order of summing would round to the other side."""
    hr = batch.hr.double()
    if request.param == "as published":
        return SimpleNamespace(hr=hr, params=batch.params)
    params = SPARSE.sample(2, range(8))
    assert all(len(params[f"{name}{order}"].unique()) == 2 for name in ("noisy", "jpeg") for order in (1, 2))
    kinds = zip(*(params[name].tolist() for name in ("resize_before_jpeg", "noisy2", "gaussian2", "jpeg2")), strict=True)
    assert len({*kinds}) >= 6
    assert all((params[name] == 3).any() for name in ("mode1", "mode2", "tail_mode"))
    return SimpleNamespace(hr=hr, params=params)


def test_apply_equals_the_way_written_out(way):
    lr = SMALL.apply(way.hr, way.params, 4)
    for i in range(8):
        assert torch.equal(lr[i : i + 1], slow_two_order(way.hr[i : i + 1], row(way.params, i), 4)), i


def test_float32_gives_what_float64_gives_but_for_single_blocks(batch):
    apart = (SMALL.apply(batch.hr.double(), batch.params, 4) - batch.lr).abs() * 255
    assert (apart > 0.5).double().mean() < 0.02
    assert apart.mean() < 0.02


def corners(*pairs: tuple[int, int]) -> torch.Tensor:
    return torch.tensor(pairs)


@pytest.mark.parametrize("together", [1, 3, 8])
@pytest.mark.parametrize("size", [(8, 8), (5, 11), (24, 24), (24, 1)])
def test_a_patch_is_a_window_of_the_whole(way, monkeypatch, size, together):
    """From what the window sees alone, and in groups that are padded to the largest: the same in float64."""
    monkeypatch.setattr(route, "_together", lambda device: together)
    rng, hr = np.random.default_rng(5), way.hr
    whole = SMALL.apply(hr, way.params, 4)
    for trial in range(3):
        tops, lefts = ((0, 24 - side, int(rng.integers(25 - side)))[trial] for side in size)
        there = torch.tensor([[tops, lefts]]).repeat(8, 1)
        there[:4] = torch.from_numpy(np.stack([rng.integers(25 - side, size=4) for side in size], 1))
        patches = SMALL.patches(hr, way.params, 4, there, size)
        for patch, picture, (top, left) in zip(patches, whole, there.tolist(), strict=True):
            assert torch.equal(patch, picture[:, top : top + size[0], left : left + size[1]])


def test_a_patch_of_a_large_canvas_is_made_from_a_part_of_it():
    """What lies far away may be anything."""
    hr = slow_twins.as_float(slow_twins.photo_crop("chelsea", 288, 400)).double()
    pipeline, there = TwoOrder(), corners((4, 60))
    params = neutral(pipeline.sample(0, [0]), resize1=0.8, sigma1=10.0, sigma2=5.0, quality1=40.0, quality2=50.0)
    other = hr.clone()
    other[..., :, :100] = 0.3
    patches = [pipeline.patches(picture, params, 4, there, (32, 32)) for picture in (hr, other)]
    assert torch.equal(*patches)
    assert not torch.equal(pipeline.apply(hr, params, 4), pipeline.apply(other, params, 4))


@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("order", [1, 2])
def test_where_a_window_has_few_levels_poisson_noise_knows_those_of_the_whole_picture(order, gray):
    hr = slow_twins.as_float(slow_twins.noise_picture(96, 160)).double()
    hr[..., 60:] = 0.4
    drawn = neutral(SMALL.sample(0, [0]), **{f"gaussian{order}": False, f"gray{order}": gray, f"poisson{order}": 1.0})
    there, size = corners((3, 28)), (8, 8)
    _, settled = route.degrade(hr, drawn, 4, there, size)
    assert not settled.item()
    patch = SMALL.patches(hr, drawn, 4, there, size)
    assert torch.equal(patch, SMALL.apply(hr, drawn, 4)[..., 3:11, 28:36])
    alone = SMALL.apply(hr[..., 60:], drawn, 4)[..., 3:11, 13:21]
    assert alone.var() > 4 * patch.var(), "alone, the flat part has few levels, and more noise"


def test_a_low_resolution_picture_has_whole_grey_levels_in_range(batch):
    assert batch.lr.shape == (8, 3, 24, 24)
    assert batch.lr.dtype == torch.float32
    levels = batch.lr * 255
    torch.testing.assert_close(levels, levels.round(), atol=1e-4, rtol=0)
    assert torch.equal(images.to_float(images.to_uint8(batch.lr)), batch.lr)
    assert batch.lr.min() >= 0
    assert batch.lr.max() <= 1


def test_the_default_canvas_makes_pictures_of_100():
    lr = TwoOrder().apply(slow_twins.as_float(slow_twins.smooth_picture(400, 400)), TwoOrder().sample(0, [0]), 4)
    assert lr.shape == (1, 3, 100, 100)


def test_apply_gives_the_same_bits_again_and_in_another_batch(batch):
    assert torch.equal(SMALL.apply(batch.hr, batch.params, 4), batch.lr)
    assert torch.equal(SMALL.apply(batch.hr[[6, 1]], row(batch.params, 6, 1), 4), batch.lr[[6, 1]])
    assert torch.equal(SMALL.apply(batch.hr[3:4], row(batch.params, 3), 4), batch.lr[3:4])


def test_apply_leaves_its_arguments_alone(batch):
    assert same(batch.params, SMALL.sample(1, range(8)))
    assert torch.equal(batch.hr[2:3], slow_twins.as_float(slow_twins.photo_crop("chelsea", 96, 96, 20, 40)))


def test_views_of_a_picture_differ(batch):
    assert not torch.equal(SMALL.apply(batch.hr, SMALL.sample(1, range(8), view=1), 4), batch.lr)


@pytest.mark.parametrize(("height", "width", "scale"), [(97, 110, 4), (96, 80, 3), (64, 50, 2), (90, 64, 1)])
def test_sides_are_divided_and_rounded_down(height, width, scale):
    params = neutral(SMALL.sample(0, [0]))
    # Grey, because JPEG halves the colours' resolution.
    picture = noise.luma(slow_twins.as_float(slow_twins.smooth_picture(height, width))).repeat(1, 3, 1, 1)
    lr = SMALL.apply(picture, params, scale)
    assert lr.shape == (1, 3, height // scale, width // scale)
    # With all taken out but the resize to the final size, and JPEG at its best, that is what is left.
    resized = resize(picture, RESIZE_MODES[int(params["mode2"])], size=(height // scale, width // scale))
    assert (lr - resized).abs().mean() * 255 < 2


def test_pictures_that_become_too_small_on_the_way_are_refused():
    params = neutral(SMALL.sample(0, [0]), resize1=0.15)
    with pytest.raises(UserError, match="9×9 is too small for a blur kernel of 21"):
        SMALL.apply(constant(0.5, 64, 64), params, 4)
    with pytest.raises(UserError, match="90×3 is too small to be degraded by 4"):
        SMALL.apply(constant(0.5, 3, 90), params, 4)


def test_each_step_acts():
    """Taken alone, every step changes the picture that comes out without it."""
    picture = slow_twins.as_float(slow_twins.photo_crop("chelsea", 96, 96, 100, 150))
    drawn = SMALL.sample(0, [0]) | {name: torch.tensor([1]) for name in ("mode1", "mode2", "tail_mode")}
    plain = SMALL.apply(picture, neutral(drawn), 2)
    wide = torch.from_numpy(gaussian_kernel(21, 3.0, 3.0)).float()[None]
    changes = {"resize1": 0.4, "resize2": 0.5, "sigma1": 25.0, "sigma2": 25.0, "quality1": 20.0, "quality2": 20.0}
    results = {name: SMALL.apply(picture, neutral(drawn, **{name: value}), 2) for name, value in changes.items()}
    results |= {name: SMALL.apply(picture, neutral(drawn) | {name: wide}, 2) for name in ("kernel1", "kernel2", "sinc")}
    results |= {name: SMALL.apply(picture, neutral(drawn, **{name: False}), 2) for name in ("gaussian1", "gaussian2")}
    for name, result in results.items():
        assert (result - plain).abs().mean() * 255 > 1, name


# ------------------------------------------------------------------------------------------------------------------------- options


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"family_probabilities": (0.5, 0.2, 0.1, 0.1, 0.1, 0.1)}, "family_probabilities = .* must be at least 0 and sum to 1, not to 1.1"),
        ({"resize_probabilities": (1.2, -0.1, -0.1)}, "resize_probabilities = .* must be at least 0"),
        ({"mode_probabilities": (0.5, 0.5, 0.5, -0.5)}, "mode_probabilities = .* must be at least 0"),
        ({"noise_probability": 2}, "noise_probability = 2: input should be less than or equal to 1"),
        ({"sigma": (0.0, 1.0)}, r"sigma = \[0, 1\] must be an ascending range from 0.001 on"),
        ({"sigma": (2.0, 1.0)}, r"sigma = \[2, 1\] must be an ascending range"),
        ({"resize_range": (0.0, 1.5)}, r"resize_range = \[0, 1.5\] must be an ascending range"),
        ({"resize_range": (1.1, 1.5)}, r"resize_range = \[1.1, 1.5\] must contain 1"),
        ({"resize_range": (0.2, 0.9)}, r"resize_range = \[0.2, 0.9\] must contain 1"),
        ({"gaussian_sigma": (-1.0, 5.0)}, r"gaussian_sigma = \[-1, 5\] must be an ascending range from 0 on"),
        ({"poisson_scale": (-1.0, 5.0)}, r"poisson_scale = \[-1, 5\] must be an ascending range from 0 on"),
        ({"jpeg_quality": (0.0, 95.0)}, r"jpeg_quality = \[0, 95\] must be an ascending range from 1 on"),
        ({"jpeg_quality": (30.0, 100.0)}, r"jpeg_quality = \[30.0, 100.0\] must end at 99 or below"),
        ({"gray_probability": 1.5}, "gray_probability = 1.5: input should be less than or equal to 1"),
        ({"sinc_probability": -0.1}, "sinc_probability = -0.1: input should be greater than or equal to 0"),
        ({"sigma": (0.2, math.inf)}, r"sigma.1 = inf: input should be a finite number"),
        ({"jpeg_qualty": (30, 95)}, "unknown key 'jpeg_qualty' .*did you mean 'jpeg_quality'?"),
    ],
    ids=str,
)
def test_wrong_options_of_a_stage_are_refused_with_value_and_mend(values, message):
    with pytest.raises(UserError, match=f"stage: .*{message}"):
        config.build(Stage, values, what="stage")
    with pytest.raises(ValueError, match=next(iter(values))):
        Stage(**values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"canvas": 8}, "canvas = 8: input should be greater than or equal to 16"),
        ({"shared_draws": 0}, "shared_draws = 0: input should be greater than or equal to 1"),
        ({"final_sinc_probability": 2}, "final_sinc_probability = 2: input should be less than or equal to 1"),
        ({"tail_mode_probabilities": (0.5, 0.5, 0.5, 0)}, "tail_mode_probabilities = .* must be at least 0 and sum to 1, not to 1.5"),
        ({"second": {"jpeg_quality": [30, 100]}}, r"second: jpeg_quality = \[30.0, 100.0\] must end at 99 or below"),
        ({"second": {"sigmas": [1, 2]}}, r"unknown key 'second.sigmas' .*did you mean 'sigma'?"),
    ],
    ids=str,
)
def test_wrong_options_of_the_pipeline_are_refused_with_value_and_mend(values, message):
    with pytest.raises(UserError, match=f"degradation: {message}"):
        config.build(TwoOrder, values, what="degradation")


def test_options_may_be_written_as_text():
    assert Stage(gray_probability="4e-1", sigma=("0.2", "3")) == Stage()


# --------------------------------------------------------------------------------------------------- the eight fixed degradations


def as_rows(picture: torch.Tensor) -> np.ndarray:
    """uint8 (3, H, W) -> (H, W, 3)."""
    return np.ascontiguousarray(picture.permute(1, 2, 0).numpy())


@pytest.mark.parametrize("name", ["chelsea", "coffee", "flower", "rocket"])
def test_the_integer_blur_is_opencv_s_to_the_bit_on_photographs(name):
    pixels = as_rows(images.read(slow_twins.photograph(name))[:, :203, :251])
    assert np.array_equal(degrade.blur_uint8(pixels), cv2.GaussianBlur(pixels, (21, 21), 2))


@pytest.mark.parametrize(("height", "width"), [(7, 7), (8, 50), (11, 13), (24, 24), (64, 63), (300, 9), (120, 161)])
@pytest.mark.parametrize("extreme", [False, True])
def test_the_integer_blur_is_opencv_s_to_the_bit_on_noise(height, width, extreme):
    pixels = as_rows(slow_twins.noise_picture(height, width, seed=height))
    if extreme:
        pixels = np.where(pixels < 128, 0, 255).astype(np.uint8)
    assert np.array_equal(degrade.blur_uint8(pixels), cv2.GaussianBlur(pixels, (21, 21), 2))


def test_the_integer_blur_keeps_constants_and_refuses_small_pictures():
    for level in (0, 1, 127, 254, 255):
        assert (degrade.blur_uint8(np.full((9, 9, 3), level, np.uint8)) == level).all()
    with pytest.raises(UserError, match="20×6 is too small for the test blur"):
        degrade.blur_uint8(np.zeros((6, 20, 3), np.uint8))


def test_noise_is_truncated_so_that_it_is_half_a_level_darker():
    noisy = degrade.noise_uint8(np.full((300, 400, 3), 128, np.uint8), 20.0, chance.generator(0, "test")).astype(np.float64)
    assert noisy.mean() == pytest.approx(127.5, abs=4 * 20 / math.sqrt(noisy.size))
    assert noisy.std() == pytest.approx(20, abs=0.1)
    for i, j in ((0, 1), (1, 2)):
        assert abs(np.corrcoef(noisy[..., i].flat, noisy[..., j].flat)[0, 1]) < 0.02


def test_noise_of_sigma_zero_keeps_all_levels():
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, 2)
    assert np.array_equal(degrade.noise_uint8(pixels, 0.0, chance.generator(0)), pixels)


def test_noise_is_clipped():
    pixels = np.stack([np.zeros((40, 40)), np.full((40, 40), 255), np.full((40, 40), 128)], -1).astype(np.uint8)
    noisy = degrade.noise_uint8(pixels, 20.0, chance.generator(0))
    # Half of the noise is cut off at either end; what is left is on its own side.
    assert (noisy[..., 0] == 0).mean() == pytest.approx(0.5, abs=0.1)
    assert noisy[..., 0].max() < 128
    assert (noisy[..., 1] == 255).mean() == pytest.approx(0.5, abs=0.1)
    assert noisy[..., 1].min() > 128


def test_the_presets_are_the_eight_of_the_papers_and_nearest():
    assert tuple(PRESETS) == tuple(slow_twins.STEPS) == (*benchmark.EIGHT, "nearest")
    for name, steps in slow_twins.STEPS.items():
        made = PRESETS[name]
        assert made.name == name
        assert made.seen == ("unseen" if name == "nearest" else "seen")
        assert [len(made.before), len(made.after)] == [steps.count("blur"), steps.count("noise") + steps.count("jpeg")]
        assert all(step.lower() in made.words.lower() for step in steps)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize(("scale", "seed"), [(4, 0), (4, 5), (2, 0), (3, 0)])
def test_fixed_degradations_equal_their_slow_twin(preset, scale, seed):
    hr = slow_twins.photo_crop("coffee", 84, 120, 100, 200)
    lr = degrade.fixed(hr, preset, seed=seed, scale=scale)
    assert lr.shape == (3, 84 // scale, 120 // scale)
    assert lr.dtype == torch.uint8
    assert np.array_equal(as_rows(lr), slow_twins.fixed(hr, preset, seed, scale))


@pytest.mark.parametrize("preset", PRESETS)
def test_fixed_degradations_depend_on_picture_preset_and_seed_alone(preset):
    hr = slow_twins.photo_crop("coffee", 60, 72, 100, 200)
    first = degrade.fixed(hr, preset, seed=0)
    np.random.seed(1)
    torch.manual_seed(1)
    assert torch.equal(degrade.fixed(hr.clone(), preset, seed=0), first)
    assert torch.equal(degrade.fixed(hr, preset, seed=1), first) == ("noise" not in slow_twins.STEPS[preset])


def test_the_presets_are_nine_different_pictures():
    hr = slow_twins.photo_crop("coffee", 60, 72, 100, 200)
    assert len({images.pixels_sha256(degrade.fixed(hr, preset, seed=0)) for preset in PRESETS}) == 9


def test_nearest_takes_the_pixel_in_the_middle():
    hr = slow_twins.photo_crop("coffee", 60, 72, 100, 200)
    assert torch.equal(degrade.fixed(hr, "nearest", seed=0), hr[:, 2::4, 2::4])


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bicubic_training_inputs_are_pillows_in_floats_rounded_once(scale):
    hr = slow_twins.photo_crop("coffee", 96, 120, 100, 200)
    pipeline = degrade.Bicubic()
    lr = pipeline.apply(images.to_float(hr).unsqueeze(0), pipeline.sample(0, [3]), scale)
    levels = (lr * 255).round()
    assert torch.equal(levels / 255, lr)
    planes = [
        Image.fromarray(plane.astype(np.float32)).resize((120 // scale, 96 // scale), Image.Resampling.BICUBIC) for plane in hr.numpy()
    ]
    exact = torch.from_numpy(np.stack([np.asarray(plane) for plane in planes])).clamp(0, 255)
    assert (levels[0] - exact).abs().max() < 0.5 + 1e-3
    # On 8 bits, as the benchmark has it, Pillow rounds after each direction.
    assert (levels[0] - degrade.fixed(hr, "clean", seed=0, scale=scale).float()).abs().max() <= 1


def test_noise_fields_differ_between_presets_and_pictures():
    flat = torch.full((3, 96, 96), 128, dtype=torch.uint8)
    other = flat.clone()
    other[0, 0, 0] = 129
    fields = [degrade.fixed(flat, "noise", seed=0), degrade.fixed(flat, "b+n", seed=0), degrade.fixed(other, "noise", seed=0)]
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert abs(np.corrcoef(fields[i].flatten(), fields[j].flatten())[0, 1]) < 0.1


def test_an_unknown_preset_is_an_error():
    with pytest.raises(UserError, match="unknown degradation 'blurry': did you mean 'blur'"):
        degrade.fixed(slow_twins.noise_picture(24, 24), "blurry", seed=0)


# ------------------------------------------------------------------------------------------------------------- the frozen manifest


def fingerprints(path: Path) -> dict[str, str]:
    """SHA-256 of the pixels of a photograph and of its eight degradations."""
    hr = benchmark.read_hr(path)
    return {"hr": images.pixels_sha256(hr)} | {name: images.pixels_sha256(degrade.fixed(hr, name, seed=0)) for name in benchmark.EIGHT}


def test_the_manifest_names_every_photograph_and_preset():
    manifest = json.loads(MANIFEST.read_text())
    assert list(manifest) == [path.name for path in datasets.samples()]
    for hashes in manifest.values():
        assert list(hashes) == ["hr", *benchmark.EIGHT]
        assert len(set(hashes.values())) == 9


# The larger photographs take many seconds and show nothing that these do not; the manifest has them too.
@pytest.mark.parametrize("name", ["chelsea.png", "china.jpg", "coffee.png", "flower.jpg", "rocket.jpg"])
def test_degraded_photographs_are_those_of_the_manifest_to_the_bit(name):
    expected = json.loads(MANIFEST.read_text())[name]
    found = fingerprints(slow_twins.photograph(Path(name).stem))
    assert found["hr"] == expected["hr"], f"the photograph {name} itself is read otherwise than before: Pillow or its decoder drifted"
    drifted = [preset for preset in benchmark.EIGHT if found[preset] != expected[preset]]
    assert not drifted, (
        f"{name}, {', '.join(drifted)}: Pillow or NumPy drifted, or the protocol was changed. Scores would no longer compare with older "
        "ones: mend it, or raise the suite's version and write the manifest anew (python tests/test_degrade.py)"
    )


if __name__ == "__main__":
    MANIFEST.write_text(json.dumps({path.name: fingerprints(path) for path in datasets.samples()}, indent=1) + "\n")
