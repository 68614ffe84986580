"""Features recorded, replaced and carried on from, in every kind of network."""

import copy

import pytest
import torch
import torch.nn.functional as F
import zoo
from torch import nn

from wildsr import interpret, sites
from wildsr.errors import UserError
from wildsr.interpret import winograd
from wildsr.interpret.taps import evaluated

X = zoo.batch()[0]
ONE = torch.rand(1, 3, 9, 10, generator=torch.Generator().manual_seed(2))
PLACES = {
    "foreign": ("head.0", "head", "last"),
    **dict.fromkeys(zoo.CONFIGS, ("first", "block2", "last")),
}


def state(net):
    """All that a hook, an attribute or a mode could change."""
    return [(name, sorted(vars(module)), len(module._forward_hooks), len(module._forward_pre_hooks), module.training)
            for name, module in net.named_modules()]  # fmt: skip


def replaced(net, picture, site, feature):
    """The slow way: the whole network, in eval mode, with another feature at the site."""
    handle = sites.hook(net, sites.find(net, site, picture).places[0], lambda _: feature)
    modes = [module.training for module in net.modules()]
    net.eval()
    output = net(picture)
    handle.remove()
    for module, training in zip(net.modules(), modes, strict=True):
        module.training = training
    return output


def random_features(rest, count=2):
    return torch.randn(count, *rest.feature.shape[1:], generator=torch.Generator().manual_seed(5))


def test_taps_record_what_features_reads_and_leave_nothing():
    net = zoo.make("srresnet").eval()
    before = state(net)
    with interpret.taps(net, ["first", "last", "conv_last:input", "half-part"]) as seen:
        plain = net(X)
        for site in ("first", "last", "conv_last:input"):
            assert torch.equal(seen[site], interpret.features(net, X, site))
        for i, feature in zip((2, 3), seen.group("half-part"), strict=True):
            assert torch.equal(feature, interpret.features(net, X, f"body.{i}.conv1"))
        net(X[:2])
        assert len(seen["last"]) == 2
    assert state(net) == before
    assert torch.equal(plain, net(X))
    assert len(seen["last"]) == 2


def test_taps_replace_and_record_what_stood_there():
    net = zoo.make("srresnet").eval()
    feature = interpret.features(net, X, "last")
    with interpret.taps(net, ["last"], {"last": lambda f: 0 * f}) as seen:
        output = net(X)
    base = F.interpolate(X, scale_factor=2, mode="bilinear") + net.conv_last.bias.view(-1, 1, 1)
    torch.testing.assert_close(output, base)
    assert torch.equal(seen["last"], feature)
    with interpret.taps(net, [], {"all-part": lambda f: 0 * f}):
        skipping = net(X)
    for block in net.body:
        nn.init.zeros_(block.conv1.weight)
        nn.init.zeros_(block.conv1.bias)
    torch.testing.assert_close(net(X), skipping)


def test_taps_find_the_last_convolution_of_any_network():
    net = zoo.make("foreign").eval()
    with interpret.taps(net, ["last", "head.1"]) as seen:
        output = net(X)
    assert torch.equal(net.out(seen["last"]), output)


def test_taps_are_taken_away_by_an_error_too():
    net = zoo.make("srresnet")
    before = state(net)
    with pytest.raises(ZeroDivisionError), interpret.taps(net, ["last"], {"first": lambda f: f / (1 // 0)}):
        net(X)
    assert state(net) == before
    with pytest.raises(UserError, match="has no site 'lost'"), interpret.taps(net, ["last"], {"lost": abs}):
        pass
    assert state(net) == before


def test_a_copy_made_inside_is_not_tapped():
    net = zoo.make("srresnet").eval()
    with interpret.taps(net, ["last"], {"first": lambda f: 2 * f}) as seen:
        other = copy.deepcopy(net)
        net(X)
        first = seen["last"]
        plain = other(X[:1])
        assert seen["last"] is first
    assert torch.equal(plain, net(X[:1]))


class Twice(nn.Module):
    """Runs one module twice, and has a place that holds no picture."""

    def __init__(self):
        super().__init__()
        self.inner, self.flat, self.never, self.out = nn.Conv2d(3, 3, 1), nn.Flatten(), nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

    def forward(self, x):
        x = self.inner(self.inner(x))
        self.flat(x)
        return self.out(x)


@pytest.mark.parametrize(
    ("site", "message"),
    [
        ("inner", r"the forward of Twice runs 'inner' 2 times: choose a place that runs once"),
        ("flat", r"the output of 'flat' is no feature of shape \(N, C, H, W\) but \[1, 192\]"),
        ("never", r"reache[sd] 'never'"),
        ("iner", r"Twice has no site 'iner': did you mean 'inner'\?"),
    ],
)
def test_places_that_are_none(site, message):
    net = Twice()
    before = state(net)

    def tapped():
        with interpret.taps(net, [site]) as seen:
            net(X[:1])
            seen[site]

    for ask in (tapped, lambda: interpret.suffix(net, X[:1], site)):
        with pytest.raises(UserError, match=message):
            ask()
        assert state(net) == before


def test_what_is_not_tapped_and_groups():
    net = zoo.make("srresnet").eval()
    with interpret.taps(net, ["half-part"]) as seen:
        with pytest.raises(UserError, match=r"no forward of SRResNet reached 'body.2.conv1': call the network inside the with"):
            seen.group("half-part")
        net(X)
    with pytest.raises(UserError, match=r"'half-part' is 2 places: name one of body.2.conv1:output, body.3.conv1:output"):
        seen["half-part"]
    with pytest.raises(UserError, match=r"site 'last' is not tapped: there is half-part"):
        seen["last"]
    with pytest.raises(UserError, match=r"'half-part' is 2 places"):
        interpret.suffix(net, ONE, "half-part")


@pytest.mark.parametrize(("name", "site"), [(name, site) for name, where in PLACES.items() for site in where])
def test_a_suffix_is_the_whole_network_with_the_site_replaced(name, site):
    net = zoo.make(name)  # in training mode, which must not act
    before = state(net)
    rest = interpret.suffix(net, ONE, site)
    assert rest.skips
    assert state(net) == before
    features = random_features(rest)
    outputs = rest(features)
    with torch.no_grad():
        for feature, output in zip(features.split(1), outputs.split(1), strict=True):
            assert torch.equal(output, replaced(net, ONE, site, feature))
        assert torch.equal(rest(rest.feature), rest.output)
        assert torch.equal(rest.output, net.eval()(ONE))
    assert torch.equal(rest.feature, interpret.features(net, ONE, site))


@pytest.mark.parametrize("name", zoo.NETWORKS)
def test_nothing_before_the_site_is_computed(name):
    net = zoo.make(name)
    rest = interpret.suffix(net, ONE, "last")
    features = random_features(rest, 1)
    expected = replaced(net, ONE, "last", features)
    for parameter in list(net.parameters())[:-2]:  # all but the last convolution's: whatever reads them now is found out
        parameter.data.fill_(float("nan"))
    assert torch.equal(rest(features), expected)


def test_gradients_flow_through_a_suffix():
    net = zoo.make("rcan").eval()
    for site in ("block1", "last"):
        rest = interpret.suffix(net, ONE, site)
        mine, whole = (rest.feature.clone().requires_grad_() for _ in range(2))
        (ours,) = torch.autograd.grad(rest(mine).square().sum(), mine)
        (theirs,) = torch.autograd.grad(replaced(net, ONE, site, whole).square().sum(), whole)
        assert torch.equal(ours, theirs)
        assert ours.abs().max() > 0


class Writing(nn.Module):
    """Writes into what it made earlier, and into the feature; keeps a table from its first forward on; views, lists and flags."""

    def __init__(self):
        super().__init__()
        self.first, self.site, self.out = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 3, 1)
        self.table = None

    def forward(self, x):
        if self.table is None:
            self.table = torch.arange(x.shape[-1]).float()
        kept = self.first(x)
        parts = kept.chunk(2, 1)
        with torch.no_grad():
            loudest = kept.max(1, keepdim=True)
        y = self.site(kept)
        y += 1
        kept *= 0.5
        kept += y.relu_() * self.table
        return self.out(kept) + parts[1].sum(1, keepdim=True) + loudest.values


def test_networks_that_write_into_what_they_made():
    torch.manual_seed(0)
    net = Writing()
    rest = interpret.suffix(net, ONE, "site")
    assert rest.skips
    features = random_features(rest, 3)
    given = features.clone()
    with torch.no_grad():
        for _ in range(2):  # nothing wears off
            for feature, output in zip(features.split(1), rest(features).split(1), strict=True):
                assert torch.equal(output, replaced(net, ONE, "site", feature.clone()))
        assert torch.equal(features, given)
        assert torch.equal(rest.feature, net.site(net.first(ONE)))


class Changing(nn.Module):
    """Adds how often it ran; or, with `steps`, asks something else at each forward, for the same result."""

    def __init__(self, steps):
        super().__init__()
        self.first, self.out, self.steps, self.count = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 3, 1), steps, 0

    def forward(self, x):
        self.count += 1
        for _ in range(self.count if self.steps else 0):
            x = 1 * x
        return self.out(self.first(x)) + (0 if self.steps else self.count)


@pytest.mark.parametrize("steps", [False, True])
def test_what_is_not_the_same_twice_runs_whole(steps):
    net = Changing(steps)
    rest = interpret.suffix(net, ONE, "first")
    assert not rest.skips
    features, count = random_features(rest), net.count
    found = rest(features)
    added = torch.zeros(2) if steps else torch.tensor([count + 1.0, count + 2.0])
    with torch.no_grad():
        torch.testing.assert_close(found, net.out(features) + added.view(2, 1, 1, 1))
    assert interpret.ablate(net, ONE, (ONE[0] * 255).byte(), "first").skips is False


def test_what_changes_later_runs_whole_from_then_on():
    net = Changing(steps=True)
    net.steps = False
    net.count = -(10**9)  # adds the same at each forward, in float32
    rest = interpret.suffix(net, ONE, "first")
    assert rest.skips
    features = random_features(rest, 1)
    net.steps, net.count = True, 0
    with torch.no_grad():
        assert torch.equal(rest(features), net.out(features))
    assert not rest.skips


def test_a_feature_of_another_size():
    rest = interpret.suffix(zoo.make("srresnet"), ONE, "last")
    with pytest.raises(UserError, match=r"a feature of shape \[1, 6, 4, 4\]: at conv_last:input stand ones of \(N, \[6, 18, 20\]\)"):
        rest(torch.zeros(1, 6, 4, 4))


@pytest.mark.parametrize("name", zoo.NETWORKS)
def test_each_channel_alone(name):
    net = zoo.make(name)
    for site in ("last", "hr") if name in ("srresnet", "rrdbnet", "swinir") else ("last",):
        rest = interpret.suffix(net, ONE, site, fast=True)
        assert rest.convolved
        for c, output in zip((3, 1), rest.alone([3, 1]), strict=True):
            feature = torch.zeros_like(rest.feature)
            feature[:, c] = rest.feature[:, c]
            with torch.no_grad():
                torch.testing.assert_close(output, replaced(net, ONE, site, feature), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("name", zoo.NETWORKS)
def test_a_fast_suffix_is_equal_to_rounding(name):
    net = zoo.make(name)
    site = PLACES[name][1]
    rest = interpret.suffix(net, ONE, site, fast=True)
    features = random_features(rest)
    with torch.no_grad():
        expected = torch.cat([replaced(net, ONE, site, feature) for feature in features.split(1)])
        torch.testing.assert_close(rest(features), expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())


SAME, TO_MANY, TO_COLOURS = (
    nn.Conv2d(32, 40, 3, padding=1),
    [nn.Conv2d(32, 64, 3, padding=1), nn.Conv2d(32, 70, 3, padding="same", bias=False)],
    [nn.Conv2d(32, 3, 3, padding=1), nn.Conv2d(32, 1, 3, padding="same", bias=False)],
)
AS_EVER = [
    nn.Conv2d(32, 64, 3),
    nn.Conv2d(32, 64, 3, padding="valid"),
    nn.Conv2d(32, 64, 3, padding=1, stride=2),
    nn.Conv2d(32, 64, 3, padding=1, groups=2),
    nn.Conv2d(32, 64, 3, padding=2, dilation=2),
    nn.Conv2d(32, 64, 1),
    nn.Conv2d(32, 64, 5, padding=1),
]


@pytest.mark.parametrize("nnpack", [False, True])
def test_quick_convolutions(nnpack):
    if nnpack and not torch.backends.nnpack.is_available():
        pytest.skip("this PyTorch comes without NNPACK")
    mode = winograd.Quick(nnpack=nnpack)
    for height, width in ((11, 14), (1, 2), (4, 8), (70, 5)):
        x = torch.rand(2, 32, height, width, generator=torch.Generator().manual_seed(0))
        x = x.contiguous(memory_format=torch.channels_last)
        for convolution in [SAME, *TO_MANY, *TO_COLOURS, *AS_EVER]:
            if min(height, width) < 5 and convolution in AS_EVER:
                continue  # too small for some of them
            with torch.no_grad():
                plain = convolution(x)
                for _ in range(2):
                    with mode:
                        ours = convolution(x)
                    torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-5)
                how = (x, convolution.weight, convolution.bias, convolution.stride, convolution.padding, convolution.dilation)
                taken = mode._convolve(*how, convolution.groups) is not None
            assert taken == (convolution not in AS_EVER and (nnpack or convolution is not SAME))
    with mode:
        assert TO_MANY[0](x.requires_grad_()).grad_fn is not None


def test_planes_are_the_usual_memory_format():
    x = torch.rand(1, 5, 3, 4)
    for given in (x, x.contiguous(memory_format=torch.channels_last), x[..., ::2]):
        assert torch.equal(winograd.planes(given), given)
        assert winograd.planes(given).is_contiguous()


def test_eval_mode_is_given_back_module_by_module():
    net = zoo.make("srresnet")
    net.body[1].eval()
    modes = [module.training for module in net.modules()]
    with evaluated(net):
        assert not any(module.training for module in net.modules())
    assert [module.training for module in net.modules()] == modes
    with pytest.raises(ZeroDivisionError), evaluated(net):
        _ = 1 // 0
    assert [module.training for module in net.modules()] == modes
