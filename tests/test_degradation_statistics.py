"""Training samples against an independent, slow degradation: the same draws, the same operators, the same distribution of pairs.

Each comparison is also shown to notice the errors that it is there for. More samples, and larger ones, in benchmarks/."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from wildsr import datasets
from wildsr.degrade import TwoOrder
from wildsr.train import TrainConfig

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import degradation_statistics as compared
import slow_degradation as slow

DRAWS = 600
NOISY = 104
WHOLE = 144


def make_config(degradation: TwoOrder, lr_patch: int, usm: bool = True) -> TrainConfig:
    return TrainConfig(target_usm=usm, lr_patch=lr_patch, degradation=degradation)


def cut(folder: Path, side: int) -> Path:
    """Squares cut from the sample photographs, as large as the canvases, so that few have to be sharpened slowly."""
    compared.cut(datasets.samples(), side, folder, each=1)
    return folder


@pytest.fixture(scope="module")
def squares(tmp_path_factory) -> Path:
    return cut(tmp_path_factory.mktemp("squares"), 112)


@pytest.fixture(scope="module")
def drawn() -> list[slow.Draw]:
    return compared.drawn_by_us(TwoOrder(), 0, range(DRAWS))


@pytest.fixture(scope="module")
def quiet(squares) -> compared.Canvases:
    """wildsr's samples, with noise of strength 0."""
    return compared.Canvases(make_config(compared.without_noise(TwoOrder(canvas=112)), 24), squares, 32)


@pytest.fixture(scope="module")
def quietly_drawn(quiet) -> list[slow.Draw]:
    return compared.drawn_by_us(quiet.config.degradation, 0, range(quiet.count))


@pytest.fixture(scope="module")
def noisy(tmp_path_factory) -> compared.Canvases:
    """wildsr's samples, with little else than noise: small windows, for Poisson noise hangs on what lies outside."""
    squares = cut(tmp_path_factory.mktemp("squares"), 128)
    return compared.Canvases(make_config(compared.noise_alone(TwoOrder(canvas=128)), 16), squares, NOISY)


@pytest.fixture(scope="module")
def noisily_drawn(noisy) -> tuple[list[slow.Draw], torch.Tensor]:
    """What was drawn for them, and what the twin makes of it without the noise."""
    drawn = compared.drawn_by_us(noisy.config.degradation, 0, range(NOISY))
    return drawn, noisy.twins(compared.silenced(drawn), 0).lr


@pytest.fixture(scope="module")
def whole(squares) -> compared.Canvases:
    """wildsr's samples as they are."""
    return compared.Canvases(make_config(TwoOrder(canvas=112), 24), squares, WHOLE)


# ------------------------------------------------------------------------------------------------------------------------- the twin


def test_the_twins_operators_have_the_values_that_mathematics_gives_them():
    axis = np.arange(21) - 10
    kernel = slow.gaussian_kernel(21, 2, 1, 0.7, 1.0, "iso")
    moments = [float((kernel * weight).sum()) for weight in (axis**2, axis[:, None] ** 2, axis * axis[:, None])]
    assert moments == pytest.approx([2.755, 2.245, 1.478], abs=1e-3)
    assert float(slow.sinc_kernel(7, math.pi)[3, 3]) == pytest.approx(0.803, abs=1e-3)
    for quality, level in ((30, 94 + 2 / 3), (50, 94), (75, 94), (95, 94.4)):
        coded = slow.jpeg(torch.full((1, 3, 32, 16), 0.37), torch.tensor([float(quality)]))
        assert (255 * coded).allclose(torch.tensor(float(level)), atol=1e-3)
    generator = torch.Generator().manual_seed(0)
    flat = torch.full((1, 3, 128, 128), 0.5)
    assert float((slow.gaussian_noise(flat, 10, False, generator) - flat).std()) == pytest.approx(10 / 255, rel=0.02)
    assert float((slow.poisson_noise(flat, 0.1, False, generator) - flat).var()) == pytest.approx(0.01 * 128 / 255, rel=0.03)
    assert slow.sharpen(flat).allclose(flat, atol=1e-6)
    picture = torch.rand(1, 3, 32, 32, generator=generator)
    assert slow.blur(picture, slow.delta_kernel()[None]).allclose(picture, atol=1e-6)


def test_the_twins_pairs_show_the_same_window():
    """With everything drawn but the noise, sharp pictures stay recognisable: no other window is nearer."""
    y, x = torch.meshgrid(torch.arange(96.0), torch.arange(96.0), indexing="ij")
    canvas = (0.5 + 0.4 * torch.sin(y * y / 700) * torch.sin(x * x / 700)).expand(4, 3, 96, 96)
    lr, hr = slow.degrade(canvas, np.random.default_rng(1), torch.Generator().manual_seed(1), lr_patch=16)
    assert lr.shape == (4, 3, 16, 16)
    assert hr.shape == (4, 3, 64, 64)
    assert torch.equal((255 * lr).round() / 255, lr)
    clean = torch.nn.functional.avg_pool2d(hr, 4)
    assert float((lr - clean).abs().mean()) < 0.5 * float((lr - clean.roll((4, 4), (2, 3))).abs().mean())


# ------------------------------------------------------------------------------------------------------------------ the comparisons


def test_wildsr_draws_as_the_twin_does(drawn):
    scores = compared.compare_draws(drawn, DRAWS, seed=1)
    assert scores[0].worst < compared.LIMIT, scores[0]


@pytest.mark.parametrize("bias", compared.DRAW_BIASES)
def test_an_error_in_what_is_drawn_is_noticed(bias, drawn):
    with compared.DRAW_BIASES[bias]():
        scores = compared.compare_draws(drawn, 250, seed=1)
    assert scores[0].worst > compared.LIMIT


def test_sharpened_targets_are_the_twins(quiet, squares):
    assert quiet.target_error < compared.TARGET_LIMIT
    blunt = compared.Canvases(make_config(TwoOrder(canvas=112), 24, usm=False), squares, 8)
    assert blunt.target_error > 10 * compared.TARGET_LIMIT


def test_without_noise_the_same_draws_give_the_twins_patches(quiet, quietly_drawn):
    """Equal but for single coefficients in JPEG that rounding takes to the next step."""
    off = compared.compare_directly(quiet, quietly_drawn)
    assert float((off < 0.01).double().mean()) > 0.9
    assert float(off.max()) < 1


def test_a_small_window_of_a_large_canvas_is_what_the_whole_canvas_gives_there(tmp_path):
    compared.cut(datasets.samples()[:3], 256, tmp_path, each=1)
    large = compared.Canvases(make_config(compared.without_noise(TwoOrder(canvas=256)), 8), tmp_path, 16)
    off = compared.compare_directly(large, compared.drawn_by_us(large.config.degradation, 0, range(large.count)))
    assert float((off < 0.01).double().mean()) > 0.9
    assert float(off.max()) < 2


@pytest.mark.parametrize("bias", compared.OPERATOR_BIASES)
def test_an_error_in_an_operator_is_noticed(bias, quiet, quietly_drawn):
    with compared.OPERATOR_BIASES[bias]():
        off = compared.compare_directly(quiet, quietly_drawn)
    assert float((off < 0.01).double().mean()) < 0.5
    assert float(off.max()) > 1


def test_the_same_draws_give_noise_of_the_twins_kind(noisy, noisily_drawn):
    scores = compared.compare_operators(noisy, *noisily_drawn, seed=1)
    assert scores[0].worst < compared.LIMIT, scores[0]


@pytest.mark.parametrize("bias", compared.NOISE_BIASES)
def test_an_error_in_the_noise_is_noticed(bias, noisy, noisily_drawn):
    with compared.NOISE_BIASES[bias]():
        scores = compared.compare_operators(noisy, *noisily_drawn, seed=1)
    assert scores[0].worst > compared.LIMIT


def test_training_pairs_are_distributed_as_the_twins(whole):
    scores = compared.compare_whole(whole, WHOLE, seed=1)
    assert scores[0].worst < compared.LIMIT, scores[0]


@pytest.mark.parametrize("bias", ["JPEG's grid shifted by 4", "half an LR pixel off"])
def test_a_misplaced_grid_or_picture_changes_the_distribution(bias, whole):
    with compared.OPERATOR_BIASES[bias]():
        scores = compared.compare_whole(whole, WHOLE, seed=1)
    assert scores[0].worst > compared.LIMIT
