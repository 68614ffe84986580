"""Local attribution maps: they add up, they end where the network does not look, and how widely they spread is one number."""

import itertools

import pytest
import torch
import zoo
from torch import nn

from wildsr import interpret
from wildsr.errors import UserError
from wildsr.interpret.inequality import gini
from wildsr.interpret.lam import blur, lam
from wildsr.interpret.saliency import detail

PICTURE = torch.rand(1, 3, 12, 14, generator=torch.Generator().manual_seed(2))


class Smooth(nn.Module):
    """Two convolutions of 3×3 at the input's size, and nothing with a kink between."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Conv2d(3, 5, 3, padding=1), nn.Conv2d(5, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.tanh(self.first(x)))


@pytest.mark.parametrize("name", zoo.NETWORKS)
def test_attributions_add_up_to_what_blur_takes_away(name):
    net = zoo.make(name).eval()
    found = lam(net, PICTURE, window=6, fold=20, batch=20)
    # Parts of both signs, of which the sum is a tenth to nine tenths in most of these networks.
    assert found.signed.sum().item() == pytest.approx(found.detail - found.blurred, abs=0.02 * found.absolute.sum().item())
    assert found.signed.shape == (12, 14)
    with torch.no_grad():
        output = net(PICTURE)[..., 6:19, 8:21]
    assert found.window == (6, 8, 18, 20)
    assert found.detail == pytest.approx(detail(output).item(), rel=1e-5)
    assert all(parameter.grad is None for parameter in net.parameters())


def test_the_error_falls_at_least_as_one_over_the_steps():
    net = Smooth().double()
    errors = []
    for fold in (4, 16, 64):
        found = lam(net, PICTURE.double(), window=6, fold=fold, batch=16)
        errors.append(abs(found.signed.sum().item() - (found.detail - found.blurred)))
    assert errors[1] < errors[0] / 4
    assert errors[2] < errors[1] / 4
    assert errors[2] < 1e-3 * abs(found.detail - found.blurred)


def test_nothing_is_attributed_beyond_the_receptive_field():
    found = lam(Smooth(), PICTURE, window=3, place=(5, 6), fold=4)
    # Outputs of rows 5 to 8 and columns 6 to 9 (the last is a neighbour), each of which sees two pixels around itself.
    inside = torch.zeros(12, 14, dtype=torch.bool)
    inside[3:11, 4:12] = True
    inside[10, 11] = False  # seen only by the output at row 8, column 9, which is nobody's lower or right neighbour
    assert (found.absolute[~inside] == 0).all()
    assert (found.absolute[inside] > 0).all()


def test_a_slow_twin_of_the_path():
    net, fold, sigma = Smooth().double(), 5, 0.9
    picture = PICTURE.double()
    total = torch.zeros_like(picture)
    for i in range(fold):
        middle = blur(picture, sigma * (fold - i - 0.5) / fold, 7).requires_grad_()
        detail(net(middle)[:, :, 2:7, 3:8]).backward()
        assert middle.grad is not None
        total += middle.grad * (blur(picture, sigma * (fold - i - 1) / fold, 7) - blur(picture, sigma * (fold - i) / fold, 7))
    found = lam(net, picture, window=4, place=(2, 3), sigma=sigma, fold=fold, size=7)
    torch.testing.assert_close(found.signed, total.sum((0, 1)), rtol=1e-9, atol=1e-12)
    assert torch.equal(found.absolute, found.signed.abs())
    assert found.gini == gini(found.absolute)
    assert found.diffusion == pytest.approx(100 * (1 - found.gini))


def test_attributions_in_inference_mode_are_the_same():
    net = Smooth()
    expected = lam(net, PICTURE, window=4, fold=3)
    with torch.inference_mode():
        assert torch.equal(lam(net, PICTURE.clone(), window=4, fold=3).signed, expected.signed)


def test_how_many_steps_go_at_once_is_immaterial():
    net = zoo.make("srresnet").eval()
    one, some, all_of_them = (lam(net, PICTURE, window=6, fold=10, batch=batch) for batch in (1, 4, 10))
    for other in (some, all_of_them):
        torch.testing.assert_close(other.signed, one.signed, rtol=1e-3, atol=1e-5 * one.absolute.max().item())
        assert other.diffusion == pytest.approx(one.diffusion, rel=1e-4)


def test_a_network_that_looks_at_one_pixel_spreads_least():
    class One(nn.Module):
        def forward(self, x):
            mask = torch.zeros_like(x)
            mask[..., 5, 6] = 1
            return mask * x

    found = lam(One(), PICTURE, window=6, fold=3)
    assert found.absolute.count_nonzero() == 1
    assert found.gini == pytest.approx(1 - 1 / (12 * 14))
    assert found.diffusion == pytest.approx(100 / (12 * 14))
    assert gini(torch.ones(50)) == pytest.approx(0)


def test_diffusion_sees_no_scale_and_more_of_a_wide_network():
    class Scaled(nn.Module):
        def __init__(self, net, factor):
            super().__init__()
            self.net, self.factor = net, factor

        def forward(self, x):
            return self.factor * self.net(x)

    net = Smooth().double()
    plain, scaled = (lam(Scaled(net, factor), PICTURE.double(), window=4, fold=5) for factor in (1.0, -3.0))
    torch.testing.assert_close(scaled.signed, 3 * plain.signed, rtol=1e-6, atol=1e-9)
    assert scaled.diffusion == pytest.approx(plain.diffusion)
    wide = nn.AvgPool2d(7, 1, 3)
    assert lam(wide, PICTURE, window=4, fold=5).diffusion > lam(nn.Identity(), PICTURE, window=4, fold=5).diffusion


def test_a_window_in_pixels_of_the_input_or_of_the_output():
    net = zoo.make("foreign")  # in training mode: read as it is used
    first = lam(net, PICTURE, window=4, place=(2, 3), fold=3)
    second = lam(net, PICTURE, window=8, place=(4, 6), unit="output", fold=3)
    assert first.window == second.window == (4, 6, 12, 14)
    assert torch.equal(first.signed, second.signed)
    assert all(module.training for module in net.modules())
    # Up to the edge, where the last pixels have no lower neighbours.
    assert lam(net, PICTURE, window=12, fold=2).window == (0, 2, 24, 26)


def test_blur_is_a_gaussian_with_repeated_edges():
    from scipy import ndimage

    for sigma, size in ((1.2, 9), (0.4, 5), (3.0, 7)):
        expected = ndimage.gaussian_filter(PICTURE.double().numpy(), (0, 0, sigma, sigma), mode="nearest", radius=size // 2)
        torch.testing.assert_close(blur(PICTURE.double(), sigma, size), torch.from_numpy(expected))
    assert torch.equal(blur(PICTURE, 0), PICTURE)
    torch.testing.assert_close(blur(PICTURE, 0.01), PICTURE)
    torch.testing.assert_close(blur(torch.full((1, 3, 4, 4), 0.3), 1.2), torch.full((1, 3, 4, 4), 0.3))


def test_what_may_not_be_asked_for():
    net = Smooth()
    for wrong, message in (
        ({"window": 13}, r"a window of 13 at row -1, column 0 is not inside the input, 12×14 pixels"),
        ({"window": 4, "place": (9, 0)}, "a window of 4 at row 9, column 0 is not inside"),
        ({"window": 1}, "choose 2 … 12"),
        ({"window": 4, "fold": 0}, "fold 0, batch 1, sigma 1.2, size 9: give one step or more"),
        ({"window": 4, "sigma": 0.0}, "sigma 0"),
        ({"window": 4, "size": 4}, "an odd size"),
        ({"window": 4, "batch": 0}, "batch 0"),
    ):
        with pytest.raises(UserError, match=message):
            lam(net, PICTURE, **wrong)

    class Deaf(nn.Module):
        def forward(self, x):
            return torch.zeros_like(x)

    for deaf, picture in ((net, torch.full((1, 3, 12, 12), 0.5)), (Deaf(), PICTURE)):
        with pytest.raises(UserError, match="nothing can be attributed: blur changes nothing"):
            lam(deaf, picture, window=4, fold=2)


def test_the_room_has_it_and_it_repeats():
    found = [interpret.lam(zoo.make("compact").eval(), PICTURE, window=4, fold=3) for _ in range(2)]
    assert torch.equal(found[0].signed, found[1].signed)
    assert all(a == b for a, b in itertools.pairwise([result.diffusion for result in found]))
