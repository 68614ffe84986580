"""Channels switched off: sums, closed forms, and the slow way, the whole network once for each."""

import gc
import math
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import zoo
from PIL import Image
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from wildsr import images, interpret, metrics, sites
from wildsr.errors import UserError
from wildsr.interpret import ablation
from wildsr.networks import SRResNet, SRResNetConfig

GENERATOR = torch.Generator().manual_seed(4)
LR = torch.rand(1, 3, 9, 10, generator=GENERATOR)
HR = torch.randint(0, 256, (3, 18, 20), generator=GENERATOR, dtype=torch.uint8)


def gentle(name):
    """A network whose output stays near [0, 1], so that clamping does not hide what channels do."""
    net = zoo.make(name).eval()
    with torch.no_grad():
        scale = 0.2 / net(LR).std()
        last = net.get_submodule(sites.last_convolution(net, LR))
        last.weight.mul_(scale)
        last.bias.mul_(scale)
    return net


def truncated(output):
    return (output.clamp(0, 1) * 255).to(torch.uint8)


@torch.no_grad()
def slow(net, site, off, sums, *, paper=False):
    """The whole network, with channels zeroed and the others rescaled by original sums, in a hook."""

    def change(feature):
        weights = torch.ones(feature.shape[1], dtype=torch.float64)
        weights[off] = 0
        if sums is not None and len(off) < len(weights):
            s = sums(feature).sum((0, 2, 3), dtype=torch.float64)
            weights *= s.sum() / (s.sum() - s[off].sum())
        return feature * weights.float().view(1, -1, 1, 1)

    handle = sites.hook(net, sites.find(net, site, LR).places[0], change)
    output = net(LR)[0]
    handle.remove()
    if paper:
        return metrics.psnr(truncated(output), HR, crop=0).value
    return metrics.psnr(images.to_uint8(output), HR, crop=2).value


@pytest.mark.parametrize("name", zoo.NETWORKS)
def test_ablation_is_the_whole_network_once_for_each_channel(name):
    net = gentle(name)
    for site in ("head" if name == "foreign" else "block1", "last"):
        found = interpret.ablate(net, LR, HR, site, channels=[4, 0, 3])
        assert found.skips
        assert found.linear == (site == "last")
        assert found.psnr == slow(net, site, [], None)
        expected = np.array([slow(net, site, [c], torch.abs) for c in found.channels])
        np.testing.assert_allclose(found.psnrs, expected, rtol=0, atol=2e-3)  # 320 pixels: one that is rounded the other way is seen
        np.testing.assert_allclose(found.drops, found.psnr - found.psnrs, rtol=0, atol=1e-12)
        assert np.abs(found.drops).max() > 0.01
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


@pytest.mark.parametrize(("site", "fast"), [("block2", False), ("last", False), ("hr", True)])
@pytest.mark.parametrize("rescale", ["absolute", "plain", "none"])
def test_rescales_and_protocols(site, fast, rescale):
    net = gentle("srresnet")
    sums = {"absolute": torch.abs, "plain": lambda f: f, "none": None}[rescale]
    found = interpret.ablate(net, LR, HR, site, rescale=rescale, protocol="paper", channels=[4, 1], fast=fast)
    assert found.protocol == "psnr-rgb-crop0-truncated/1"
    assert found.channels == (4, 1)
    for value, c in zip(found.psnrs, (4, 1), strict=True):
        if c not in found.reasons:
            assert value == pytest.approx(slow(net, site, [c], sums, paper=True), abs=2e-3)


def test_psnrs_are_those_of_the_benchmark_and_of_the_paper():
    outputs = torch.randn(3, 3, 18, 20, generator=GENERATOR) * 0.3 + 0.5
    given = outputs.clone()
    for crop in (0, 2):
        expected = [metrics.psnr(images.to_uint8(output), HR, crop=crop).value for output in outputs]
        assert interpret.psnrs(outputs, HR, crop=crop).tolist() == pytest.approx(expected, rel=1e-14)
        expected = [metrics.psnr(truncated(output), HR, crop=crop).value for output in outputs]
        assert interpret.psnrs(outputs, HR, protocol="paper", crop=crop).tolist() == pytest.approx(expected, rel=1e-14)
    assert torch.equal(outputs, given)
    assert interpret.psnrs(images.to_float(HR)[None], HR)[0] == math.inf


class Channels(nn.Module):
    """Two convolutions and the input: site "first" has features that are told, whatever the picture."""

    def __init__(self, weights, biases, last):
        super().__init__()
        self.first, self.last = nn.Conv2d(3, len(weights), 1), nn.Conv2d(len(weights), 3, 3, padding=1)
        with torch.no_grad():
            self.first.weight.copy_(torch.tensor(weights).view(-1, 1, 1, 1).expand(-1, 3, 1, 1))
            self.first.bias.copy_(torch.tensor(biases))
            self.last.weight.copy_(last)

    def forward(self, x):
        return self.last(self.first(x)) + x


def channels(weights, biases=None, alike=False):
    torch.manual_seed(1)
    last = torch.randn(3, 1 if alike else len(weights), 3, 3).expand(3, len(weights), 3, 3) * 0.02
    return Channels(weights, biases or [0.0] * len(weights), last)


HERE = HR[:, :9, :10]


def test_a_channel_of_zeros_costs_nothing():
    found = interpret.ablate(channels([0.3, 0.0, -0.4]), LR, HERE, "first")
    assert found.drops[1] == 0
    assert min(abs(found.drops[[0, 2]])) > 0


def test_equal_channels_with_equal_weights_cost_nothing():
    found = interpret.ablate(channels([0.5] * 4, alike=True), LR, HERE, "first", protocol="paper")
    np.testing.assert_allclose(found.drops, 0, atol=2e-3)
    assert abs(interpret.ablate(channels([0.5] * 4, alike=True), LR, HERE, "first", rescale="none").drops).min() > 0.01


def test_what_is_left_has_the_sum_that_was():
    rest = interpret.suffix(channels([0.3, -0.1, 0.4], [0.1, 0.2, 0.3]), LR, "first")
    for name in ("absolute", "plain"):
        measured = ablation._Measured(rest._net, LR, HERE, "first", name, "paper", None, fast=False)
        measure = ablation.RESCALES[name]
        for off in ([0], [1], [0, 2]):
            factor, reason = measured.factor(off)
            assert not reason
            left = rest.feature.double() * factor
            left[:, off] = 0
            assert measure(left).sum().item() == pytest.approx(measure(rest.feature.double()).sum().item(), rel=1e-6)


def test_the_closed_form_at_a_linear_site():
    """y'' = base + b + S / (S − S_i) · (Σ g_c − g_i)."""
    net = channels([0.3, -0.7, 0.4], [0.1, 0.2, 0.3])
    with torch.no_grad():
        feature = net.first(LR)
        g = [F.conv2d(feature[:, c : c + 1], net.last.weight[:, c : c + 1], padding=1) for c in range(3)]
        sums = feature.abs().sum((0, 2, 3))
        outputs = [LR + net.last.bias.view(-1, 1, 1) + sums.sum() / (sums.sum() - sums[i]) * (sum(g) - g[i]) for i in range(3)]
    found = interpret.ablate(net, LR, HERE, "first", crop=0)
    assert found.linear
    np.testing.assert_allclose(found.psnrs, [interpret.psnrs(output, HERE)[0] for output in outputs], atol=2e-3)


@pytest.mark.parametrize(
    ("weights", "channel", "reason"),
    [
        ([0.5, 0.25, -0.25], 0, "the plain sum of what is left vanishes"),
        ([0.5, 0.25, -0.5], 0, "the plain sum of what is left has the other sign"),
        ([0.5, 0.25, -0.75], 1, "the layer's plain sum vanishes"),
    ],
)
def test_plain_sums_that_cannot_be_kept_are_said(weights, channel, reason):
    found = interpret.ablate(channels(weights), LR, HERE, "first", rescale="plain")
    assert found.reasons[channel] == reason
    assert math.isnan(found.psnrs[channel])
    assert math.isnan(found.drops[channel])
    assert np.isfinite(interpret.ablate(channels(weights), LR, HERE, "first").psnrs).all()
    order = [channel, *(c for c in range(3) if c != channel)]
    curve = interpret.cumulative(channels(weights), LR, HERE, "first", order=order, rescale="plain")
    assert curve.reasons[0, 1] == reason
    assert math.isnan(curve.psnrs[0, 1])
    assert np.isfinite(curve.psnrs[0, [0, 3]]).all()


def test_layers_of_zeros_and_of_one_channel():
    assert interpret.ablate(channels([0.0, 0.0]), LR, HERE, "first").drops.tolist() == [0, 0]
    assert interpret.ablate(channels([0.0, 0.0]), LR, HERE, "first", rescale="plain").drops.tolist() == [0, 0]
    only = channels([0.8])
    found = interpret.ablate(only, LR, HERE, "first")
    with torch.no_grad():
        assert found.psnrs[0] == interpret.psnrs(LR + only.last.bias.view(-1, 1, 1), HERE, crop=1)[0]


def test_the_drop_of_equal_pictures():
    net = channels([0.2, 0.3])
    with torch.no_grad():
        nn.init.zeros_(net.last.weight)
        nn.init.zeros_(net.last.bias)
    found = interpret.ablate(net, images.to_float(HERE)[None], HERE, "first")
    assert found.psnr == math.inf
    assert found.drops.tolist() == [0, 0]


@pytest.mark.parametrize("name", ["srresnet", "foreign"])
@pytest.mark.parametrize("where", ["middle", "last"])
def test_cumulative_ablation_is_the_whole_network_each_time(name, where):
    net = gentle(name)
    site = {"srresnet": "block2", "foreign": "head"}[name] if where == "middle" else "last"
    found = interpret.cumulative(net, LR, HR, site, order="random", orders=2, seed=3)
    count = found.orders.shape[1]
    assert found.psnrs.shape == (2, count + 1)
    assert sorted(found.orders[0]) == sorted(found.orders[1]) == list(range(count))
    assert found.orders[0].tolist() != found.orders[1].tolist()
    for order, curve in zip(found.orders, found.psnrs, strict=True):
        expected = [slow(net, site, order[:k].tolist(), torch.abs) for k in range(count + 1)]
        np.testing.assert_allclose(curve, expected, atol=2e-3)
    assert found.psnrs[0, 0] == found.psnrs[1, 0] == slow(net, site, [], None)
    assert found.psnrs[0, -1] == found.psnrs[1, -1]
    again = interpret.cumulative(net, LR, HR, site, order="random", orders=1, seed=3)
    assert np.array_equal(again.psnrs[0], found.psnrs[0])
    single = interpret.ablate(net, LR, HR, site)
    assert found.psnrs[0, 1] == pytest.approx(single.psnrs[found.orders[0, 0]], abs=2e-3)


def test_with_all_channels_off_the_bias_and_the_base_are_left():
    net = gentle("srresnet")
    base = F.interpolate(LR, scale_factor=2, mode="bilinear") + net.conv_last.bias.detach().view(-1, 1, 1)
    for rescale in ablation.RESCALES:
        found = interpret.cumulative(net, LR, HR, rescale=rescale)
        assert found.order == "index"
        assert found.psnrs[0, -1] == pytest.approx(interpret.psnrs(base, HR, crop=2)[0], abs=1e-9)


def test_orders_by_name():
    net, scores = gentle("srresnet"), torch.tensor([3.0, 1, 2, 5, 1, 0])
    orders = {name: interpret.cumulative(net, LR, HR, order=name, scores=scores).orders.tolist()[0] for name in ablation.ORDERS[:3]}
    assert orders["index"] == list(range(6))
    assert orders["important-first"] == [3, 0, 2, 1, 4, 5]
    assert orders["important-last"] == [5, 1, 4, 2, 0, 3]
    assert interpret.cumulative(net, LR, HR, order=[5, 4, 3, 2, 1, 0]).order == "given"


def test_a_band_of_random_orders():
    found = interpret.cumulative(gentle("srresnet"), LR, HR, order="random", orders=9)
    low, mean, high = found.band(0.5)
    assert np.allclose(mean, found.psnrs.mean(0))
    assert ((low <= found.psnrs).mean(0) >= 0.75).all()
    assert ((high >= found.psnrs).mean(0) >= 0.75).all()
    assert (high - low)[1:-1].min() > 0
    assert (low[0], low[-1]) == (high[0], high[-1])


def test_drops_follow_scores():
    found = interpret.ablate(gentle("srresnet"), LR, HR)
    assert found.rank_correlation(found.drops) == 1
    assert found.rank_correlation(-torch.tensor(found.drops)) == -1
    part = interpret.ablate(gentle("srresnet"), LR, HR, channels=[5, 0, 3])
    scores = np.zeros(6)
    scores[[5, 0, 3]] = part.drops
    assert part.rank_correlation(scores) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rescale": "sum"}, "unknown rescale 'sum'"),
        ({"protocol": "papers"}, "did you mean 'paper'"),
        ({"channels": [6]}, "has channels 0 to 5, and no channel 6"),
        ({"hr": HR[:, :-1]}, r"the ground truth is 20×17 \(width×height\), and the output of SRResNet 20×18"),
        ({"crop": 9}, "nothing inside a border of 9"),
        ({"site": "block9"}, "has no site 'block9'"),
        ({"order": "idnex"}, "did you mean 'index'"),
        ({"order": [0, 1]}, "names each of 0 to 5 once"),
        ({"order": "important-first"}, "needs a score for each of the 6 channels: there are 0"),
        ({"order": "random", "orders": 0}, "orders = 0"),
    ],
)
def test_bad_input(changes, message):
    call = interpret.cumulative if "order" in changes else interpret.ablate
    with pytest.raises(UserError, match=message):
        call(zoo.make("srresnet"), LR, **{"hr": HR, **changes})


class Live(TorchDispatchMode):
    """The most bytes of tensors, made inside, that live at one time."""

    def __init__(self):
        super().__init__()
        self.now = self.most = 0
        self.seen = weakref.WeakKeyDictionary()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                storage = leaf.untyped_storage()
                if storage not in self.seen:
                    self.seen[storage] = True
                    self.now += storage.nbytes()
                    self.most = max(self.most, self.now)
                    weakref.finalize(storage, self.free, storage.nbytes())
        return result

    def free(self, size):
        self.now -= size


@pytest.mark.parametrize("site", ["first", "block2", "hr", "last"])
def test_memory_does_not_grow_with_the_channels(site):
    torch.manual_seed(0)
    net = SRResNet(SRResNetConfig(channels=16, blocks=2)).eval()
    lr, hr = torch.rand(1, 3, 32, 32), torch.zeros(3, 128, 128, dtype=torch.uint8)
    with Live() as whole, torch.no_grad():
        net(lr)
    gc.collect()
    with Live() as ours:
        interpret.ablate(net, lr, hr, site, channels=range(8))
    feature = 16 * 128 * 128 * 4
    assert 3 * feature < whole.most < ours.most < whole.most + 2 * feature


def test_the_script_prints_ratios(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "noise.png")
    script = Path(__file__).parents[1] / "benchmarks" / "ablation.py"
    command = [sys.executable, str(script), "--data", str(tmp_path), "--sites", "block16,last", "--channels", "2"]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert '"whole over ours, all sites"' in out
