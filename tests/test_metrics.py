"""Metrics: closed forms, slow twins, and scikit-image and torchmetrics where the definitions agree."""

import importlib
import math
import sys
import threading

import jaxtyping
import numpy as np
import pytest
import skimage
import slow_twins
import torch
from PIL import Image
from scipy import fft, ndimage, signal
from skimage.color import rgb2ycbcr
from skimage.measure import blur_effect
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torchmetrics.functional import image as torchmetrics

from wildsr import images, jobs, metrics
from wildsr.errors import UserError
from wildsr.metrics import detail, installed, score

SPACES = ("rgb", "y")
MEASURES = [(metric, space) for metric, measure in metrics.METRICS.items() for space in measure.spaces]


@pytest.fixture(autouse=True)
def one_thread():
    """As the benchmark measures: several threads would wait for one another after each of many small operations."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pair(height: int = 40, width: int = 52) -> tuple[torch.Tensor, torch.Tensor]:
    """A picture and a noisy copy of it."""
    hr = slow_twins.smooth_picture(height, width)
    noise = np.random.default_rng(1).normal(0, 12, hr.shape)
    return torch.from_numpy((hr.numpy() + noise).clip(0, 255).round().astype(np.uint8)), hr


@pytest.mark.parametrize("space", SPACES)
def test_identical_pictures_are_infinitely_close(space):
    _, hr = pair()
    score = metrics.psnr(hr, hr, crop=4, space=space)
    assert score.value == math.inf
    assert metrics.ssim(hr, hr, crop=4, space=space).value == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("offset", [1, 2, 10, 100])
def test_an_offset_of_d_is_20_log_255_over_d(offset):
    hr = (slow_twins.noise_picture(30, 30) // 2).to(torch.uint8)
    sr = hr + offset
    assert metrics.psnr(sr, hr, crop=4).value == pytest.approx(20 * math.log10(255 / offset), abs=1e-9)


def test_an_offset_of_one_is_48_131_decibels():
    hr = torch.full((3, 20, 20), 77, dtype=torch.uint8)
    assert metrics.psnr(hr + 1, hr, crop=0).value == pytest.approx(48.1308, abs=1e-4)


def test_largest_error_is_zero_decibels():
    black, white = torch.zeros(3, 20, 20, dtype=torch.uint8), torch.full((3, 20, 20), 255, dtype=torch.uint8)
    assert metrics.psnr(black, white, crop=0).value == pytest.approx(0, abs=1e-12)


def test_the_sign_of_an_error_does_not_wrap_around():
    low, high = torch.full((3, 20, 20), 3, dtype=torch.uint8), torch.full((3, 20, 20), 13, dtype=torch.uint8)
    assert metrics.psnr(low, high, crop=0).value == metrics.psnr(high, low, crop=0).value == pytest.approx(28.1308, abs=1e-4)


def test_order_of_channels_and_of_pixels_is_immaterial_for_rgb_psnr():
    sr, hr = pair()
    value = metrics.psnr(sr, hr, crop=0).value
    assert metrics.psnr(sr.flip(0), hr.flip(0), crop=0).value == pytest.approx(value, abs=1e-9)
    places = torch.randperm(40 * 52, generator=torch.Generator().manual_seed(0))
    shuffled = [picture.flatten(1)[:, places].view(3, 40, 52) for picture in (sr, hr)]
    assert metrics.psnr(*shuffled, crop=0).value == pytest.approx(value, abs=1e-9)


def test_order_of_channels_matters_for_luma():
    sr, hr = pair()
    sr[0] = hr[0]
    assert abs(metrics.psnr(sr, hr, crop=4, space="y").value - metrics.psnr(sr.flip(0), hr.flip(0), crop=4, space="y").value) > 0.1


def one(scores: list[metrics.Score], space: str) -> float:
    """The value in one space."""
    (value,) = (score.value for score in scores if score.space == space)
    return value


@pytest.mark.parametrize(("metric", "space"), MEASURES)
def test_errors_in_the_border_are_ignored_and_within_it_are_not(metric, space):
    measure = metrics.METRICS[metric]
    sr, hr = pair(max(40, measure.smallest + 9), max(52, measure.smallest + 11))
    value = one(measure(sr, hr, crop=4, scale=4), space)
    border = sr.clone()
    border[:, :4], border[:, -4:], border[:, :, :4], border[:, :, -4:] = 0, 255, 255, 0
    assert one(measure(border, hr, crop=4, scale=4), space) == value
    for row, column in ((4, 20), (-5, 20), (20, 4), (20, -5)):
        inside = sr.clone()
        inside[:, row, column] = 255 - inside[:, row, column]
        other = one(measure(inside, hr, crop=4, scale=4), space)
        assert other < value if measure.better == "higher" else other != value


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("crop", [0, 3])
def test_psnr_equals_its_slow_twin(space, crop):
    sr, hr = pair()
    assert metrics.psnr(sr, hr, crop=crop, space=space).value == pytest.approx(
        slow_twins.psnr(sr.numpy(), hr.numpy(), crop, space), abs=1e-9
    )


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("crop", [0, 3])
def test_ssim_equals_its_slow_twin(space, crop):
    sr, hr = pair(26, 23)
    assert metrics.ssim(sr, hr, crop=crop, space=space).value == pytest.approx(
        slow_twins.ssim(sr.numpy(), hr.numpy(), crop, space), abs=1e-9
    )


@pytest.mark.parametrize("name", ["chelsea", "rocket"])
def test_rgb_scores_equal_scikit_image(name):
    hr = slow_twins.photo_crop(name, 96, 120, 100, 100)
    sr = torch.from_numpy(np.random.default_rng(0).normal(0, 9, hr.shape) + hr.numpy()).clamp(0, 255).round().to(torch.uint8)
    inner = [picture[:, 4:-4, 4:-4].permute(1, 2, 0).numpy() for picture in (sr, hr)]
    assert metrics.psnr(sr, hr, crop=4).value == pytest.approx(peak_signal_noise_ratio(inner[1], inner[0], data_range=255), abs=1e-6)
    # scikit-image filters with borders of its own, but averages only over the places where the whole window of 11 pixels
    # (σ = 1.5 truncated at 3.5 σ) fits: that is the valid region, so that the means can be compared as they are.
    theirs = structural_similarity(
        *(picture.astype(np.float64) for picture in inner),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=255,
        channel_axis=-1,
    )
    assert metrics.ssim(sr, hr, crop=4).value == pytest.approx(theirs, abs=1e-6)


def test_luma_scores_equal_scikit_image():
    hr = slow_twins.photo_crop("coffee", 96, 120, 100, 100)
    sr = torch.from_numpy(np.random.default_rng(0).normal(0, 9, hr.shape) + hr.numpy()).clamp(0, 255).round().to(torch.uint8)
    inner = [rgb2ycbcr(picture[:, 4:-4, 4:-4].permute(1, 2, 0).numpy())[..., 0] for picture in (sr, hr)]
    assert metrics.psnr(sr, hr, crop=4, space="y").value == pytest.approx(
        peak_signal_noise_ratio(inner[1], inner[0], data_range=255), abs=1e-6
    )
    theirs = structural_similarity(*inner, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255)
    assert metrics.ssim(sr, hr, crop=4, space="y").value == pytest.approx(theirs, abs=1e-6)


def test_ssim_of_an_inverted_picture_is_negative():
    hr = slow_twins.noise_picture(30, 30)
    assert metrics.ssim(255 - hr, hr, crop=0).value < -0.5


def test_ssim_of_two_constants_is_the_luminance_term():
    first, second = torch.full((3, 20, 20), 50, dtype=torch.uint8), torch.full((3, 20, 20), 100, dtype=torch.uint8)
    c1 = (0.01 * 255) ** 2
    expected = (2 * 50 * 100 + c1) / (50**2 + 100**2 + c1)
    assert metrics.ssim(first, second, crop=0).value == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("metric", metrics.METRICS)
def test_unequal_sizes_are_refused(metric, monkeypatch):
    # As outside of the tests: the check of the annotated shapes must not come first.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    hr = slow_twins.noise_picture(30, 40)
    for other in (slow_twins.noise_picture(40, 30), slow_twins.noise_picture(30, 41)):
        with pytest.raises(UserError, match=r"different size.*40×30 \(width×height\)"):
            metrics.METRICS[metric](other, hr, crop=0, scale=4)


@pytest.mark.parametrize("metric", metrics.METRICS)
@pytest.mark.parametrize("crop", [0, 4])
def test_pictures_that_the_border_eats_are_refused(metric, crop):
    measure = metrics.METRICS[metric]
    side = measure.smallest + 2 * crop
    enough = slow_twins.noise_picture(side, side + 1)
    scores = measure(255 - enough, enough, crop=crop, scale=4)
    assert [(score.metric, score.space) for score in scores] == [(metric, space) for space in measure.spaces]
    assert all(math.isfinite(score.value) for score in scores)
    for small in (slow_twins.noise_picture(side - 1, side + 60), slow_twins.noise_picture(side + 60, side - 1)):
        with pytest.raises(UserError, match=f"too small: {measure.smallest} pixels must be left inside a border of {crop}"):
            measure(small, small, crop=crop, scale=4)


def test_the_metrics_are_a_list_that_tables_rely_on():
    energies = [f"energy-{band}" for band in ("0.00-0.25", "0.25-0.50", "0.50-0.75", "0.75-1.00", "1.00-2.00", "2.00-top")]
    assert list(metrics.METRICS) == ["psnr", "ssim", "ms-ssim", "psnr-high", *energies]
    assert {name for name, metric in metrics.METRICS.items() if metric.better == "zero"} == set(energies)
    assert {name: metric.smallest for name, metric in metrics.METRICS.items() if metric.smallest != 16} == {
        "psnr": 1,
        "ssim": 11,
        "ms-ssim": 176,
    }


def test_protocols_name_everything_that_was_chosen():
    sr, hr = pair()
    assert metrics.psnr(sr, hr, crop=4).protocol == "psnr-rgb-crop4-uint8/1"
    assert metrics.ssim(sr, hr, crop=2, space="y").protocol == "ssim-y-crop2-uint8/1"
    assert metrics.protocol("psnr", "y", 0) == "psnr-y-crop0-uint8/1"
    sr, hr = pair(184, 190)
    protocols = [score.protocol for metric in metrics.METRICS.values() for score in metric(sr, hr, crop=4, scale=4)]
    assert protocols == [f"{metric}-{space}-crop4-uint8/1" for metric, space in MEASURES]
    assert metrics.Score(1.0, "niqe", "rgb", 0, "pyiqa-9").protocol == "niqe-rgb-crop0-uint8/pyiqa-9"


def test_scores_of_one_protocol_are_subtracted():
    sr, hr = pair()
    first, second = metrics.psnr(sr, hr, crop=4), metrics.psnr(255 - hr, hr, crop=4)
    assert first - second == first.value - second.value > 0


@pytest.mark.parametrize("other", [("ssim", "rgb", 4), ("psnr", "y", 4), ("psnr", "rgb", 0), ("psnr", "rgb", 4, "2")])
def test_scores_of_different_protocol_refuse_to_be_subtracted(other):
    with pytest.raises(UserError, match="different protocol"):
        metrics.Score(30.0, "psnr", "rgb", 4) - metrics.Score(29.0, *other)


# ----------------------------------------------------------------------------------------------------------- together and alone


@pytest.mark.parametrize("metric", ["psnr", "ssim", "ms_ssim"])
def test_metrics_of_one_space_equal_those_of_both(metric):
    sr, hr = pair(184, 190)
    both = metrics.METRICS[metric.replace("_", "-")](sr, hr, crop=4, scale=4)
    assert both == [getattr(metrics, metric)(sr, hr, crop=4, space=space) for space in SPACES]


def test_a_picture_that_was_overwritten_is_measured_anew():
    sr, hr = pair(184, 190)
    first = {name: metric(sr, hr, crop=4, scale=4) for name, metric in metrics.METRICS.items()}
    backing = sr.numpy()
    backing[:] = backing // 2
    fresh = sr.clone()
    for name, metric in metrics.METRICS.items():
        again = metric(sr, hr, crop=4, scale=4)
        assert again != first[name]
        assert again == metric(fresh, hr.clone(), crop=4, scale=4)
    sr[:] = pair(184, 190)[0]
    assert {name: metric(sr, hr, crop=4, scale=4) for name, metric in metrics.METRICS.items()} == first


def test_what_metrics_share_is_made_once_for_a_pair_in_each_thread():
    made = []

    @score.remembered
    def count(sr, hr, *rest):
        made.append(rest)
        return len(made)

    sr, hr = pair()
    assert [count(sr, hr, 4), count(sr.clone(), hr, 4), count(sr, hr, 2), count(sr, hr), count(hr, hr), count(sr, hr[:, 1:])] == [
        1,
        1,
        2,
        3,
        4,
        5,
    ]
    elsewhere = threading.Thread(target=lambda: count(sr, hr[:, 1:]))
    elsewhere.start()
    elsewhere.join()
    assert len(made) == 6
    assert count(sr, hr[:, 1:]) == 5


@pytest.mark.parametrize("size", [(35, 43), (58, 96), (59, 97), (34, 42)])
def test_ssim_is_whole_where_strips_and_blocks_end(size):
    """Sizes at which the last strip or block is full, one window wide, or the only one."""
    sr, hr = pair(*size)
    theirs = structural_similarity(
        *(picture.numpy().astype(np.float64) for picture in (sr, hr)),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=255,
        channel_axis=0,
    )
    assert metrics.ssim(sr, hr, crop=0).value == pytest.approx(theirs, abs=1e-9)


# --------------------------------------------------------------------------------------------------------------------- MS-SSIM


def planes_of(picture: torch.Tensor, crop: int, space: str) -> np.ndarray:
    inner = picture[:, crop : picture.shape[1] - crop, crop : picture.shape[2] - crop].numpy()
    return slow_twins.luma(inner) if space == "y" else inner.astype(np.float64)


def slow_ms_ssim(sr: torch.Tensor, hr: torch.Tensor, crop: int, space: str) -> float:
    """Channel by channel and scale by scale, by two-dimensional convolution."""
    line = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    window = np.outer(line, line) / np.outer(line, line).sum()
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2

    def local(x):
        return signal.convolve2d(x, window, mode="valid")

    values = []
    for a, b in zip(planes_of(sr, crop, space), planes_of(hr, crop, space), strict=True):
        value = 1.0
        for scale, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
            ma, mb = local(a), local(b)
            terms = (2 * (local(a * b) - ma * mb) + c2) / (local(a * a) - ma**2 + local(b * b) - mb**2 + c2)
            if scale == 4:
                terms *= (2 * ma * mb + c1) / (ma**2 + mb**2 + c1)
            value *= max(terms.mean(), 0) ** weight
            height, width = a.shape[0] // 2, a.shape[1] // 2
            a, b = (x[: 2 * height, : 2 * width].reshape(height, 2, width, 2).mean((1, 3)) for x in (a, b))
        values.append(value)
    return float(np.mean(values))


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("size", [(184, 190), (201, 187)])
def test_ms_ssim_equals_its_slow_twin(space, size):
    sr, hr = pair(*size)
    assert metrics.ms_ssim(sr, hr, crop=4, space=space).value == pytest.approx(slow_ms_ssim(sr, hr, 4, space), abs=1e-9)


def test_ms_ssim_of_identical_pictures_is_one_and_it_is_symmetric():
    sr, hr = pair(180, 180)
    for space in SPACES:
        assert metrics.ms_ssim(hr, hr, crop=0, space=space).value == pytest.approx(1, abs=1e-12)
        value = metrics.ms_ssim(sr, hr, crop=0, space=space).value
        assert metrics.ms_ssim(hr, sr, crop=0, space=space).value == pytest.approx(value, abs=1e-12)
        assert 0 < value < 1


def test_ms_ssim_of_two_constants_is_a_power_of_the_luminance_term():
    first, second = torch.full((3, 180, 180), 50, dtype=torch.uint8), torch.full((3, 180, 180), 100, dtype=torch.uint8)
    c1 = (0.01 * 255) ** 2
    expected = ((2 * 50 * 100 + c1) / (50**2 + 100**2 + c1)) ** 0.1333
    assert metrics.ms_ssim(first, second, crop=0).value == pytest.approx(expected, abs=1e-9)
    theirs = torchmetrics.multiscale_structural_similarity_index_measure(first[None].double(), second[None].double(), data_range=255.0)
    assert theirs.item() == pytest.approx(expected, abs=1e-6)


def test_ms_ssim_of_an_inverted_picture_is_zero():
    """Its structure terms are negative, and a negative mean counts as none."""
    hr = slow_twins.noise_picture(180, 180)
    assert metrics.ms_ssim(255 - hr, hr, crop=0).value == 0


# ---------------------------------------------------------------------------------------------------------------- torchmetrics


@pytest.fixture(scope="module")
def noisy_photo() -> tuple[torch.Tensor, torch.Tensor]:
    hr = slow_twins.photo_crop("coffee", 200, 232, 100, 100)
    noise = np.random.default_rng(0).normal(0, 12, hr.shape)
    return torch.from_numpy((hr.numpy() + noise).clip(0, 255).round().astype(np.uint8)), hr


def as_batches(pictures: tuple[torch.Tensor, torch.Tensor], space: str) -> list[torch.Tensor]:
    """Their channels, inside a border of 4, as a batch of grey pictures, which torchmetrics keeps apart."""
    return [torch.from_numpy(planes_of(picture, 4, space))[:, None] for picture in pictures]


@pytest.mark.parametrize("space", SPACES)
def test_psnr_equals_torchmetrics(noisy_photo, space):
    ours = metrics.psnr(*noisy_photo, crop=4, space=space).value
    theirs = torchmetrics.peak_signal_noise_ratio(*as_batches(noisy_photo, space), data_range=255.0)
    assert ours == pytest.approx(theirs.item(), abs=1e-5)  # theirs takes a logarithm in float32


@pytest.mark.parametrize("space", SPACES)
def test_ssim_equals_torchmetrics_within_the_valid_region(noisy_photo, space):
    ours = metrics.ssim(*noisy_photo, crop=4, space=space).value
    mean, everywhere = torchmetrics.structural_similarity_index_measure(
        *as_batches(noisy_photo, space), data_range=255.0, return_full_image=True
    )
    assert ours == pytest.approx(everywhere[..., 5:-5, 5:-5].mean().item(), abs=1e-6)
    # Its own mean is over the whole picture, mirrored at the border, of which the valid region is 91 %.
    assert 1e-5 < abs(ours - mean.item()) < 0.01


@pytest.mark.parametrize("space", SPACES)
def test_ms_ssim_equals_torchmetrics_scale_by_scale(noisy_photo, space):
    ours = metrics.ms_ssim(*noisy_photo, crop=4, space=space).value
    sr, hr = whole = as_batches(noisy_photo, space)
    product = torch.ones(len(sr), dtype=torch.float64)
    for scale, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        if scale == 4:
            _, everywhere = torchmetrics.structural_similarity_index_measure(
                sr, hr, data_range=255.0, return_full_image=True, reduction="none"
            )
            terms = everywhere[..., 5:-5, 5:-5].mean((1, 2, 3))
        else:
            _, terms = torchmetrics.structural_similarity_index_measure(
                sr, hr, data_range=255.0, return_contrast_sensitivity=True, reduction="none"
            )
        product *= terms**weight
        sr, hr = (torch.nn.functional.avg_pool2d(picture, 2) for picture in (sr, hr))
    assert ours == pytest.approx(product.mean().item(), abs=1e-6)
    # Called as a whole it differs at the fifth scale, where it counts the mirrored border too: of 12 × 14 pixels, 2 × 4 are valid.
    theirs = torchmetrics.multiscale_structural_similarity_index_measure(*whole, data_range=255.0)
    assert 1e-6 < abs(ours - theirs.item()) < 0.01


# ---------------------------------------------------------------------------------------------------------------------- detail


def slow_band_energies(plane: np.ndarray, scale: int) -> list[float]:
    """Coefficient by coefficient, by SciPy's transform: the mean's energy a pixel, then each band's."""
    height, width = plane.shape
    sums = [0.0] * 7
    for (i, j), coefficient in np.ndenumerate(fft.dctn(plane, norm="ortho")):
        frequency = math.sqrt((i / (2 * height)) ** 2 + (j / (2 * width)) ** 2)  # cycles a pixel
        of_nyquist = frequency * 2 * scale
        sums[sum(of_nyquist > edge for edge in (0, 0.25, 0.5, 0.75, 1, 2))] += coefficient**2
    return [energy / (height * width) for energy in sums]


def energies_of(plane: np.ndarray | torch.Tensor, scale: int = 4) -> torch.Tensor:
    return detail.band_energies(detail.dct(torch.as_tensor(plane, dtype=torch.float64)), scale)


def wave(height: int, width: int, i: int, j: int, size: float = 3.0) -> np.ndarray:
    """One function of the cosine transform's basis."""
    y, x = (np.cos(np.pi * (2 * np.arange(n) + 1) * k / (2 * n)) for n, k in ((height, i), (width, j)))
    return size * np.outer(y, x)


@pytest.mark.parametrize("size", [(1, 1), (1, 6), (2, 3), (7, 5), (16, 16), (59, 40)])
def test_the_cosine_transform_equals_scipy(size):
    plane = np.random.default_rng(0).normal(0, 50, (2, *size))
    assert detail.dct(torch.from_numpy(plane)).numpy() == pytest.approx(fft.dctn(plane, axes=(1, 2), norm="ortho"), abs=1e-10)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("crop", [0, 3])
def test_detail_equals_its_slow_twin(scale, crop):
    sr, hr = pair(37, 48)
    first, second = planes_of(sr, crop, "y")[0], planes_of(hr, crop, "y")[0]
    error = sum(slow_band_energies(first - second, scale)[3:])
    assert metrics.psnr_high(sr, hr, crop=crop, scale=scale)[0].value == pytest.approx(10 * math.log10(255**2 / error), abs=1e-9)
    twins = [10 * math.log10(a / b) for a, b in zip(*(slow_band_energies(x, scale)[1:] for x in (first, second)), strict=True)]
    assert [score.value for score in metrics.energies(sr, hr, crop=crop, scale=scale)] == pytest.approx(twins, abs=1e-9)


def test_the_bands_share_the_error_out_among_them():
    sr, hr = pair(60, 81)
    error = planes_of(sr, 4, "y")[0] - planes_of(hr, 4, "y")[0]
    energies = energies_of(error)
    assert energies.sum().item() == pytest.approx((error**2).mean(), rel=1e-12)
    assert energies[0].item() == pytest.approx(error.mean() ** 2, rel=1e-9)
    assert 10 * math.log10(255**2 / energies.sum()) == pytest.approx(metrics.psnr(sr, hr, crop=4, space="y").value, abs=1e-9)
    # All bands are all that differs from a constant error.
    assert detail.psnr_above(energies, "energy-0.00-0.25") == pytest.approx(10 * math.log10(255**2 / error.var()), abs=1e-9)
    assert detail.psnr_above(energies, detail.HIGH) > metrics.psnr(sr, hr, crop=4, space="y").value


def test_bands_of_twice_the_scale_are_halves():
    plane = np.random.default_rng(0).normal(0, 50, (48, 64))
    at4, at8 = energies_of(plane, 4), energies_of(plane, 8)
    assert at4[1].item() == pytest.approx(at8[1:3].sum().item(), rel=1e-12)
    assert at4[2].item() == pytest.approx(at8[3:5].sum().item(), rel=1e-12)
    assert at4[3:5].sum().item() == pytest.approx(at8[5].item(), rel=1e-12)


@pytest.mark.parametrize(
    ("i", "j", "band"),
    [
        (0, 0, 0),
        (0, 1, 1),
        (4, 0, 1),
        (0, 6, 1),
        (5, 0, 2),
        (4, 1, 2),
        (8, 0, 2),
        (8, 1, 3),
        (0, 13, 3),
        (0, 24, 4),
        (20, 30, 5),
        (40, 60, 6),
        (63, 95, 6),
    ],
)
def test_a_single_wave_lies_in_its_band(i, j, band):
    """Of 64 × 96 pixels at ×4: LR's Nyquist frequency, an eighth of a cycle a pixel, is the 16th wave down and the 24th across."""
    energies = energies_of(wave(64, 96, i, j))
    assert energies.argmax() == band
    assert energies[band].item() == pytest.approx((wave(64, 96, i, j) ** 2).mean(), rel=1e-12)
    assert energies.sum().item() == pytest.approx(energies[band].item(), rel=1e-12)


def test_an_error_of_low_frequency_is_no_error_of_detail():
    assert detail.psnr_above(energies_of(wave(64, 96, 3, 5)), detail.HIGH) == math.inf
    assert detail.psnr_above(energies_of(wave(64, 96, 0, 12)), detail.HIGH) == math.inf
    for i, j in ((8, 1), (0, 13), (40, 7), (63, 95)):
        error = wave(64, 96, i, j)
        assert detail.psnr_above(energies_of(error), detail.HIGH) == pytest.approx(10 * math.log10(255**2 / (error**2).mean()), abs=1e-9)
        mixed = error + wave(64, 96, 2, 2, 50.0)
        assert detail.psnr_above(energies_of(mixed), detail.HIGH) == pytest.approx(10 * math.log10(255**2 / (error**2).mean()), abs=1e-9)


def test_a_constant_error_is_no_error_of_detail():
    hr = (slow_twins.noise_picture(40, 50) // 2).to(torch.uint8)
    assert metrics.psnr_high(hr + 9, hr, crop=4, scale=4)[0].value == math.inf
    assert metrics.psnr_high(hr, hr, crop=4, scale=4)[0].value == math.inf
    assert [score.value for score in metrics.energies(hr + 9, hr, crop=4, scale=4)] == pytest.approx([0] * 6, abs=1e-9)


def test_energies_of_the_same_picture_are_nought():
    hr = slow_twins.photo_crop("coffee", 60, 70, 100, 100)
    assert [score.value for score in metrics.energies(hr, hr, crop=4, scale=4)] == [0] * 6


@pytest.mark.parametrize("factor", [0.1, 0.5, 2.0])
def test_contrast_by_k_is_20_log_k(factor):
    plane = np.random.default_rng(0).normal(100, 50, (64, 80))
    ratios = detail.ratios(energies_of(factor * plane + 7), energies_of(plane))
    assert list(ratios) == list(metrics.BANDS)
    assert list(ratios.values()) == pytest.approx([20 * math.log10(factor)] * 6, abs=1e-9)


def test_white_noise_adds_to_each_band_its_share_of_the_coefficients():
    plane = planes_of(slow_twins.photo_crop("chelsea", 192, 256, 20, 20), 0, "y")[0]
    noisy = plane + np.random.default_rng(0).normal(0, 12, plane.shape)
    counts = np.bincount(detail._band_numbers(192, 256, 4).flatten().numpy())
    assert counts.sum() == 192 * 256
    clean = energies_of(plane)
    expected = [10 * math.log10(1 + 144 * n / plane.size / e) for n, e in zip(counts[1:], clean[1:].tolist(), strict=True)]
    ratios = list(detail.ratios(energies_of(noisy), clean).values())
    assert ratios == pytest.approx(expected, abs=0.25)
    assert ratios[-1] > 5


def test_plain_enlargement_lacks_detail():
    hr = slow_twins.photo_crop("chelsea", 192, 240, 20, 20)
    picture = images.to_pillow(hr)
    small = picture.resize((60, 48), Image.Resampling.BICUBIC)
    sr = images.from_pillow(small.resize((240, 192), Image.Resampling.BICUBIC))
    ratios = [score.value for score in metrics.energies(sr, hr, crop=4, scale=4)]
    assert ratios[0] == pytest.approx(0, abs=0.5)
    assert ratios == sorted(ratios, reverse=True)
    assert ratios[2] < -1
    assert ratios[3] < -4
    assert ratios[4] < -10


def test_a_band_without_energy_in_the_ground_truth_is_left_out():
    sr, _ = pair(32, 32)
    flat = torch.full((3, 32, 32), 90, dtype=torch.uint8)
    assert metrics.energies(sr, flat, crop=4, scale=4) == []
    assert metrics.METRICS["energy-1.00-2.00"](sr, flat, crop=4, scale=4) == []
    lost = metrics.energies(flat, sr, crop=4, scale=4)
    assert len(lost) == 6
    assert all(-300 < score.value < -150 for score in lost)
    # One wave lies in one band alone.
    ratios = detail.ratios(energies_of(wave(64, 96, 6, 0, 6.0)), energies_of(wave(64, 96, 6, 0)))
    assert ratios == {"energy-0.25-0.50": pytest.approx(20 * math.log10(2))}


def test_detail_does_not_depend_on_which_way_a_picture_lies():
    sr, hr = pair(40, 57)
    turned = [picture.flip(2).transpose(1, 2) for picture in (sr, hr)]
    for measure in (metrics.psnr_high, metrics.energies):
        values = [[score.value for score in measure(*pictures, crop=4, scale=4)] for pictures in ((sr, hr), turned)]
        assert values[0] == pytest.approx(values[1], abs=1e-9)


# --------------------------------------------------------------------------------------------------------- of other libraries


def test_the_blur_effect_grows_with_blur():
    measure = metrics.no_reference()["blur-effect"]
    picture = slow_twins.photo_crop("chelsea", 96, 120, 50, 100)
    blurred = [picture] + [
        torch.from_numpy(ndimage.gaussian_filter(picture.numpy().astype(float), (0, sigma, sigma)).astype(np.uint8)) for sigma in (1, 2, 4)
    ]
    values = [measure(one)[0].value for one in blurred]
    assert values == sorted(values)
    assert 0 < values[0] < values[-1] - 0.2 < 1
    assert measure.better == "lower"
    assert not measure.needs_hr


def test_the_blur_effect_is_scikit_image_s_and_says_so():
    picture = slow_twins.photo_crop("chelsea", 60, 70, 50, 100)
    measure = metrics.no_reference()["blur-effect"]
    (score,) = measure(picture)
    assert score.value == pytest.approx(blur_effect(picture.permute(1, 2, 0).numpy(), channel_axis=-1), abs=1e-12)
    assert score.protocol == f"blur-effect-rgb-crop0-uint8/scikit-image-{skimage.__version__}"
    assert measure.version == score.version
    # As other metrics are called: what is not needed does not matter, but for the border.
    assert measure(picture, None, crop=0, scale=4) == measure(picture, 255 - picture, crop=0, scale=2) == [score]
    assert measure(picture, None, crop=4, scale=4)[0].value == measure(picture[:, 4:-4, 4:-4])[0].value
    assert math.isfinite(measure(picture[:, :11, :11])[0].value)
    with pytest.raises(UserError, match="too small: 11 pixels"):
        measure(picture[:, :10])


def test_without_other_libraries_there_are_no_measures_without_ground_truth(monkeypatch):
    for name in ("skimage", "pyiqa"):
        monkeypatch.setitem(sys.modules, name, None)
    assert metrics.no_reference() == {}


def test_a_perceptual_metric_without_pyiqa_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyiqa", None)
    with pytest.raises(UserError, match=r"lpips needs pyiqa, which is not installed: pip install 'wildsr\[pyiqa\]'.*licence"):
        metrics.perceptual("lpips")


STAND_IN = """
import torch

__version__ = "9.1"
MODES = {"lpips": "FR", "cosine": "FR", "niqe": "NR", "musiq": "NR"}
created = []


def list_models(metric_mode=None):
    return sorted(name for name, mode in MODES.items() if metric_mode in (None, mode))


class Metric(torch.nn.Module):
    def __init__(self, name):
        super().__init__()
        self.name, self.lower_better = name, name in ("lpips", "niqe")

    def forward(self, first, second=None):
        for picture in (first, second):
            if picture is not None:
                assert picture.dtype == torch.float32 and picture.ndim == 4 and picture.shape[:2] == (1, 3)
                assert 0 <= picture.min() and picture.max() <= 1
        assert (second is None) == (MODES[self.name] == "NR")
        return (first if second is None else (first - second).abs()).mean()[None, None]


def create_metric(name, device=None):
    created.append((name, str(device)))
    return Metric(name).to(device)
"""


@pytest.fixture
def pyiqa(tmp_path, monkeypatch):
    """A package with pyiqa's documented interface: list_models, create_metric, lower_better, and calls on (1, 3, h, w) in [0, 1]."""
    (tmp_path / "pyiqa").mkdir()
    (tmp_path / "pyiqa" / "__init__.py").write_text(STAND_IN)
    (tmp_path / "pyiqa-9.1.dist-info").mkdir()
    (tmp_path / "pyiqa-9.1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: pyiqa\nVersion: 9.1\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(installed, "_NETWORKS", {})
    monkeypatch.delitem(sys.modules, "pyiqa", raising=False)
    yield importlib.import_module("pyiqa")
    sys.modules.pop("pyiqa", None)


@pytest.mark.parametrize(("name", "better"), [("lpips", "lower"), ("cosine", "higher")])
def test_a_perceptual_metric_gets_both_pictures_inside_the_border(pyiqa, name, better):
    sr, hr = pair()
    metric = metrics.perceptual(name)
    assert (metric.better, metric.spaces, metric.needs_hr, metric.version) == (better, ("rgb",), True, "pyiqa-9.1")
    (score,) = metric(sr, hr, crop=4, scale=4)
    expected = np.abs(planes_of(sr, 4, "rgb") - planes_of(hr, 4, "rgb")).mean() / 255
    assert score.value == pytest.approx(expected, rel=1e-5)
    assert score.protocol == f"{name}-rgb-crop4-uint8/pyiqa-9.1"
    metric(sr, hr, crop=4, scale=4)
    assert pyiqa.created == [(name, "cpu")]
    with pytest.raises(UserError, match="too small"):
        metric(sr, hr, crop=20, scale=4)


def test_a_perceptual_metric_without_ground_truth_gets_the_result_alone(pyiqa):
    sr, hr = pair()
    metric = metrics.perceptual("musiq")
    assert (metric.better, metric.needs_hr) == ("higher", False)
    assert metric(sr) == metric(sr, hr, crop=0, scale=4)
    assert metric(sr)[0].value == pytest.approx(sr.double().mean().item() / 255, rel=1e-5)


def test_niqe_is_there_with_pyiqa_and_is_loaded_when_it_measures(pyiqa):
    measures = metrics.no_reference()
    assert list(measures) == ["blur-effect", "niqe"]
    assert pyiqa.created == []
    picture = slow_twins.noise_picture(96, 100)
    assert measures["niqe"](picture)[0].protocol == "niqe-rgb-crop0-uint8/pyiqa-9.1"
    assert pyiqa.created == [("niqe", "cpu")]
    with pytest.raises(UserError, match="too small: 96 pixels"):
        measures["niqe"](picture[:, 1:])


def test_a_name_that_pyiqa_does_not_know_is_refused(pyiqa):
    with pytest.raises(UserError, match="pyiqa has no metric 'lpip': did you mean 'lpips'"):
        metrics.perceptual("lpip")
    assert pyiqa.created == []


def test_photographs_are_measured_by_what_needs_no_reference(pyiqa, tmp_path):
    (tmp_path / "photos").mkdir()
    Image.fromarray(slow_twins.noise_picture(24, 30).permute(1, 2, 0).numpy()).save(tmp_path / "photos" / "a.png")

    def bench(*also):
        return jobs.bench(["bicubic"], "real", [tmp_path / "photos"], tmp_path / "bench", also=also)

    rows = bench("musiq", "niqe")
    assert {row["metric"] for row in rows} == {"blur-effect", "musiq", "niqe"}
    assert all(row["value"] is not None for row in rows)
    with pytest.raises(UserError, match="--metric lpips compares with a ground truth, and suite real has none"):
        bench("musiq", "lpips")
