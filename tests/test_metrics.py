"""Metrics: closed forms, slow twins, and scikit-image where the definitions agree."""

import math

import jaxtyping
import numpy as np
import pytest
import slow_twins
import torch
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from wildsr import metrics
from wildsr.errors import UserError

SPACES = ("rgb", "y")


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


@pytest.mark.parametrize("metric", metrics.METRICS)
@pytest.mark.parametrize("space", SPACES)
def test_errors_in_the_border_are_ignored_and_within_it_are_not(metric, space):
    sr, hr = pair()
    measure = metrics.METRICS[metric]
    value = measure(sr, hr, crop=4, space=space).value
    border = sr.clone()
    border[:, :4], border[:, -4:], border[:, :, :4], border[:, :, -4:] = 0, 255, 255, 0
    assert measure(border, hr, crop=4, space=space).value == value
    for row, column in ((4, 20), (-5, 20), (20, 4), (20, -5)):
        inside = sr.clone()
        inside[:, row, column] = 255 - inside[:, row, column]
        assert measure(inside, hr, crop=4, space=space).value < value


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
            metrics.METRICS[metric](other, hr, crop=0)


@pytest.mark.parametrize(("metric", "smallest"), [("psnr", 1), ("ssim", 11)])
@pytest.mark.parametrize("crop", [0, 4])
def test_pictures_that_the_border_eats_are_refused(metric, smallest, crop):
    measure, side = metrics.METRICS[metric], smallest + 2 * crop
    enough = slow_twins.noise_picture(side, side + 1)
    assert math.isfinite(measure(255 - enough, enough, crop=crop).value)
    for small in (slow_twins.noise_picture(side - 1, 60), slow_twins.noise_picture(60, side - 1)):
        with pytest.raises(UserError, match=f"too small: {smallest} pixels must be left inside a border of {crop}"):
            measure(small, small, crop=crop)


def test_protocols_name_everything_that_was_chosen():
    sr, hr = pair()
    assert metrics.psnr(sr, hr, crop=4).protocol == "psnr-rgb-crop4-uint8/1"
    assert metrics.ssim(sr, hr, crop=2, space="y").protocol == "ssim-y-crop2-uint8/1"
    assert metrics.protocol("psnr", "y", 0) == "psnr-y-crop0-uint8/1"


def test_scores_of_one_protocol_are_subtracted():
    sr, hr = pair()
    first, second = metrics.psnr(sr, hr, crop=4), metrics.psnr(255 - hr, hr, crop=4)
    assert first - second == first.value - second.value > 0


@pytest.mark.parametrize("other", [("ssim", "rgb", 4), ("psnr", "y", 4), ("psnr", "rgb", 0)])
def test_scores_of_different_protocol_refuse_to_be_subtracted(other):
    with pytest.raises(UserError, match="different protocol"):
        metrics.Score(30.0, "psnr", "rgb", 4) - metrics.Score(29.0, *other)
