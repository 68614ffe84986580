"""Channel saliency maps, Gini coefficients and rank correlations: closed forms and invariances."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import zoo
from scipy import stats
from torch import nn

from wildsr import interpret
from wildsr.errors import UserError

ONE = torch.rand(1, 3, 9, 10, generator=torch.Generator().manual_seed(2))
NOISE = torch.rand(1, 3, 7, 8, generator=torch.Generator().manual_seed(3))


def slow_detail(picture):
    total = 0.0
    for channel in picture[0].double():
        for y in range(channel.shape[0] - 1):
            for x in range(channel.shape[1] - 1):
                down, right = channel[y, x] - channel[y + 1, x], channel[y, x] - channel[y, x + 1]
                total += math.sqrt(down**2 + right**2)
    return total


def test_detail_of_a_planar_ramp():
    y, x = torch.meshgrid(torch.arange(5.0), torch.arange(6.0), indexing="ij")
    ramp = (3 * x + 4 * y).expand(1, 3, 5, 6)
    assert interpret.detail(ramp).item() == pytest.approx(300, abs=1e-3)
    assert interpret.detail(ramp.double()).item() == pytest.approx(300, abs=1e-4)


def test_detail_is_the_sum_over_pixels():
    assert interpret.detail(NOISE).item() == pytest.approx(slow_detail(NOISE), rel=1e-6)
    assert interpret.detail(NOISE[..., 1:, :]).item() != pytest.approx(slow_detail(NOISE), rel=1e-2)


def test_what_changes_detail_and_what_does_not():
    d = interpret.detail(NOISE.double()).item()
    assert interpret.detail(NOISE.double() + 0.7).item() == pytest.approx(d, rel=1e-12)
    for k in (3.0, -0.25):
        assert interpret.detail(k * NOISE.double()).item() == pytest.approx(abs(k) * d, rel=1e-5)
    assert interpret.detail(torch.full((1, 3, 5, 5), 0.3)).item() == 0
    assert interpret.detail(NOISE.repeat(2, 1, 1, 1)).item() == pytest.approx(2 * d, rel=1e-6)


def test_the_gradient_is_zero_where_nothing_changes():
    picture = torch.zeros(1, 1, 6, 6)
    picture[..., 4, 4] = 1
    picture.requires_grad_()
    (gradient,) = torch.autograd.grad(interpret.detail(picture), picture)
    assert gradient.isfinite().all()
    assert (gradient[0, 0, :3, :3] == 0).all()
    assert gradient[0, 0, 4, 4].item() == pytest.approx(math.sqrt(2) + 2)


def test_at_the_last_convolution_the_gradient_is_its_transpose():
    net = zoo.make("srresnet")
    found = interpret.saliency(net, ONE, "last")
    output = net.eval()(ONE).detach().requires_grad_()
    (outer,) = torch.autograd.grad(interpret.detail(output), output)
    expected = F.conv_transpose2d(outer, net.conv_last.weight, padding=1)[0].detach()
    torch.testing.assert_close(found.gradient, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.map, expected.abs() / expected.abs().max(), rtol=1e-5, atol=1e-6)
    assert found.detail == pytest.approx(slow_detail(output.detach()), rel=1e-5)


@pytest.mark.parametrize("name", zoo.NETWORKS)
def test_the_map_of_any_network(name):
    net = zoo.make(name)
    modes = [module.training for module in net.modules()]
    for site in ("head" if name == "foreign" else "first", "last"):
        found = interpret.saliency(net, ONE, site)
        assert found.map.shape == found.gradient.shape == interpret.features(net, ONE, site).shape[1:]
        assert found.map.max() == 1
        assert found.map.min() >= 0
        assert torch.equal(found.scores, found.map.sum((1, 2)))
        assert torch.equal(found.map, found.gradient.abs() / found.gradient.abs().max())
    assert [module.training for module in net.modules()] == modes
    assert all(parameter.grad is None for parameter in net.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


def test_the_gradient_is_a_difference_quotient():
    net = zoo.make("foreign").double()
    picture = ONE.double()
    found = interpret.saliency(net, picture, "head")
    rest = interpret.suffix(net, picture, "head")
    for c, y, x in ((0, 4, 4), (3, 0, 9)):
        change = torch.zeros_like(rest.feature)
        change[0, c, y, x] = 1e-5
        with torch.no_grad():
            quotient = (interpret.detail(rest(rest.feature + change)) - interpret.detail(rest(rest.feature - change))) / 2e-5
        assert found.gradient[c, y, x].item() == pytest.approx(quotient.item(), rel=1e-4, abs=1e-4)


def test_gradients_are_taken_in_inference_mode_too():
    net = zoo.make("foreign").eval()
    expected = interpret.saliency(net, ONE)
    with torch.inference_mode():
        found = interpret.saliency(net, ONE.clone())
        assert not torch.is_grad_enabled()
    assert torch.equal(found.map, expected.map)
    with torch.no_grad():
        assert torch.equal(interpret.saliency(net, ONE).map, expected.map)
        assert not torch.is_grad_enabled()


def test_a_constant_that_is_added_to_the_output_changes_nothing():
    net = zoo.make("srresnet")
    before = interpret.saliency(net, ONE, "block2")
    net.conv_last.bias.data += 0.5
    after = interpret.saliency(net, ONE, "block2")
    torch.testing.assert_close(before.map, after.map, rtol=1e-3, atol=1e-3)


class Flat(nn.Module):
    """Whose output has no detail, or none that hangs on the site."""

    def __init__(self, detail):
        super().__init__()
        self.inner, self.detail = nn.Conv2d(3, 4, 1), detail

    def forward(self, x):
        y = self.inner(x)
        return x + 0 * y.sum() if self.detail else y.mean((1, 2, 3), keepdim=True).expand(-1, 3, 8, 8)


def test_where_saliency_is_undefined():
    with pytest.raises(UserError, match="the saliency of a constant picture is undefined"):
        interpret.saliency(zoo.make("srresnet"), torch.full((1, 3, 8, 8), 0.5))
    with pytest.raises(UserError, match="saliency of this picture at 'inner' is undefined: the output has no detail"):
        interpret.saliency(Flat(False), ONE, "inner")
    with pytest.raises(UserError, match="undefined: the output's detail does not depend on 'inner'"):
        interpret.saliency(Flat(True), ONE, "inner")


def test_gini():
    assert interpret.gini([2.0, 2.0, 2.0]) == 0
    assert interpret.gini(torch.zeros(4)) == 0
    assert interpret.gini([0, 0, 0, 5]) == pytest.approx(3 / 4)
    values = np.random.default_rng(0).exponential(size=40)
    pairs = np.abs(values[:, None] - values).mean() / (2 * values.mean())
    assert interpret.gini(values) == pytest.approx(pairs, rel=1e-12)
    assert interpret.gini(1e-9 * values) == pytest.approx(pairs, rel=1e-9)
    assert interpret.gini(values.reshape(4, 10)[::-1]) == pytest.approx(pairs, rel=1e-12)
    assert interpret.gini([-1, 0, 2], shift=True) == interpret.gini([0, 1, 3])
    assert interpret.gini([1, 2, 3], shift=True) == interpret.gini([1, 2, 3])


@pytest.mark.parametrize(
    ("values", "message"),
    [([1, -2], "-2 is among them: take shift=True"), ([], "there are none"), ([1, math.nan], "1 of 2 are not")],
)
def test_gini_of_what_has_none(values, message):
    with pytest.raises(UserError, match=message):
        interpret.gini(values)


def test_rank_correlation():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=50), rng.normal(size=50)
    assert interpret.rank_correlation(a, b) == pytest.approx(stats.spearmanr(a, b).statistic)
    a, b = rng.integers(0, 5, 50), rng.integers(0, 5, 50)  # with many ties
    assert interpret.rank_correlation(a, torch.tensor(b)) == pytest.approx(stats.spearmanr(a, b).statistic)
    assert interpret.rank_correlation([1, 2, 3], [1, 10, 11]) == 1
    assert interpret.rank_correlation([1, 2, 3], [3, 2, -9]) == -1
    assert math.isnan(interpret.rank_correlation([1, 1], [1, 2]))
    with pytest.raises(UserError, match="these have 2 and 3"):
        interpret.rank_correlation([1, 2], [1, 2, 3])
    with pytest.raises(UserError, match="1 of 2 are not"):
        interpret.rank_correlation([1, math.inf], [1, 2])
