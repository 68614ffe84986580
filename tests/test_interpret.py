"""Features read at named sites, and what a degradation does to them."""

import pytest
import torch
import torch.nn.functional as F
import zoo
from torch import nn

from wildsr import interpret, jobs
from wildsr.errors import UserError

X = zoo.batch()[0]


def test_features_are_what_stands_at_the_site_and_leave_no_trace():
    net = zoo.make("srresnet").eval()
    plain = net(X)
    found = interpret.features(net, X, "last")
    assert torch.equal(
        F.conv2d(found, net.conv_last.weight, net.conv_last.bias, padding=1) + F.interpolate(X, scale_factor=2, mode="bilinear"), plain
    )
    assert torch.equal(interpret.features(net, X, "conv_last:input"), found)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())
    with pytest.raises(UserError, match=r"'half-part' is 2 places: name one of body.2.conv1:output, body.3.conv1:output"):
        interpret.features(net, X, "half-part")


@pytest.mark.parametrize("pooled", [False, True])
def test_feature_cosine_is_one_for_equal_inputs_and_does_not_see_a_scale(pooled):
    net = zoo.make("foreign").eval()
    noisy = X + 0.2 * torch.randn(X.shape, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(interpret.feature_cosine(net, X, X, pooled=pooled), torch.ones(8))
    apart = interpret.feature_cosine(net, X, noisy, pooled=pooled)
    assert (apart < 0.99999).all()
    assert torch.equal(apart, interpret.feature_cosine(net, noisy, X, pooled=pooled))

    class Linear(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Conv2d(3, 4, 3, bias=False), nn.Conv2d(4, 3, 3)

        def forward(self, x):
            return self.last(self.first(x))

    torch.testing.assert_close(interpret.feature_cosine(Linear(), X, 7 * X, pooled=pooled), torch.ones(8))


def test_feature_cosine_is_the_formula():
    net = zoo.make("srresnet").eval()
    other = X.flip(-1)
    a, b = (interpret.features(net, x).double() for x in (X, other))
    expected = (a * b).sum((1, 2, 3)) / (a.square().sum((1, 2, 3)) * b.square().sum((1, 2, 3))).sqrt()
    torch.testing.assert_close(interpret.feature_cosine(net, X, other).double(), expected, rtol=1e-4, atol=1e-6)
    a, b = a.mean((2, 3)), b.mean((2, 3))
    expected = (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))
    torch.testing.assert_close(interpret.feature_cosine(net, X, other, pooled=True).double(), expected, rtol=1e-4, atol=1e-6)


def test_cosines_of_the_test_degradations(pictures):
    net = zoo.make("srresnet").eval()
    paths = sorted(pictures.iterdir())
    found = jobs.feature_cosines(net, paths, 2)
    assert list(found) == [f"cosine {name}" for name in ("blur", "noise", "jpeg", "b+n", "b+j", "n+j", "b+n+j")]
    assert all(-1 <= value < 1 for value in found.values())
    assert found == jobs.feature_cosines(net, paths, 2)
    single = [jobs.feature_cosines(net, [path], 2)["cosine noise"] for path in paths]
    assert found["cosine noise"] == pytest.approx(sum(single) / 3)


def test_features_are_kept_before_anything_writes_into_them():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 3, 3))
    assert torch.equal(interpret.features(net, X, "0"), net[0](X))
