"""Regularisers: their closed forms, what they draw, where they act, and what they refuse."""

import copy
import math

import jaxtyping
import numpy as np
import pytest
import torch
import torch.nn.functional as F
import zoo
from torch import nn
from torch.nn.parallel import DataParallel

from wildsr import sites
from wildsr.errors import UserError
from wildsr.networks import SRResNet, SRResNetConfig
from wildsr.regularize import AdaptiveDropout, FeatureAlignment, FeatureDropout, attach
from wildsr.regularize.dropout import at, random_bits
from wildsr.regularize.statistics import centred, discrepancy, fourier_features, known, random_map, spatial_mean


def srresnet():
    return SRResNet(SRResNetConfig(channels=6, blocks=2, scale=2))


@pytest.fixture(params=["srresnet", "foreign"])
def net(request):
    return zoo.make(request.param)


X = zoo.batch()[0]


# -------------------------------------------------------------------------------------------------------------- what is drawn


@pytest.mark.parametrize("regularizer", zoo.ACTING.values(), ids=zoo.ACTING)
def test_a_step_can_be_played_again(net, regularizer):
    def play(n, seed=0):
        with attach(net, regularizer, seed=seed) as attached:
            attached.begin(n, 0.0)
            return net(X), *attached.losses().values()

    net(X)  # Batch normalisation moves its running means in training mode, which the output there does not see.
    first, again, other_step, other_seed = play(8), play(8), play(16), play(8, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    if regularizer != zoo.ACTING["linear"]:  # which draws what it does not use
        assert not all(torch.equal(a, b) for a, b in zip(first, other_step, strict=True))
        assert not all(torch.equal(a, b) for a, b in zip(first, other_seed, strict=True))


def test_forward_itself_draws_nothing(net):
    with attach(net, FeatureDropout(p=0.5), FeatureAlignment()) as attached:
        attached.begin(0, 0.0)
        before = torch.get_rng_state()
        first, second = net(X), net(X)
        assert torch.equal(first, second)
        assert torch.equal(torch.get_rng_state(), before)


def test_what_is_drawn_stays_in_the_same_memory(net):
    with attach(net, FeatureDropout(p=0.5), example=X) as attached:
        attached.begin(0, 0.0)
        mask = attached._taps[0].drawn["factor"]
        place, values = mask.data_ptr(), mask.clone()
        attached.begin(8, 0.0)
        assert attached._taps[0].drawn["factor"].data_ptr() == place
        assert not torch.equal(mask, values)


def dropped(net, regularizer, x, n=8, **options):
    """The features behind the last site's dropout, undropped where the factor is 1."""
    seen = []
    with attach(net, regularizer, **options) as attached:
        attached.begin(n, 0.0)
        handle = net.conv_last.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
        net(x)
        handle.remove()
    return seen[0]


@pytest.mark.parametrize("dimension", ["channel", "element"])
def test_what_is_drawn_for_a_picture_hangs_on_no_other(dimension):
    """Not on how many pictures there are, in each of two views, nor on the size of the example."""
    net, regularizer = srresnet(), FeatureDropout(p=0.5, dimension=dimension)
    one = torch.rand(1, 3, 8, 8)
    many = dropped(net, regularizer, one.expand(8, -1, -1, -1), views=2)
    few = dropped(net, regularizer, one.expand(4, -1, -1, -1), views=2, example=X[:4])
    assert torch.equal(torch.cat([many[:2], many[4:6]]), few)
    assert not torch.equal(many[0], many[1])
    assert not torch.equal(many[0], many[4])


def test_each_place_of_a_group_draws_by_itself():
    with attach(zoo.make("srresnet"), FeatureDropout(p=0.5, site="all-part")) as attached:
        attached.begin(0, 0.0)
        first, second = (tap.drawn["factor"] for tap in attached._taps[:2])
        assert len(attached._taps) == 4
        assert not torch.equal(first, second)


def test_two_of_a_kind_at_one_site_draw_apart_and_are_charged_apart(net):
    with attach(net, FeatureDropout(p=0.5), FeatureDropout(p=0.5), *[FeatureAlignment(linear=False)] * 3) as attached:
        attached.begin(0, 0.0)
        first, second = (tap.drawn["factor"] for tap in attached._taps[:2])
        assert not torch.equal(first, second)
        net(X)
        losses = attached.losses()
        assert list(losses) == ["align", "align2", "align3"]
        assert losses["align"] != losses["align2"]


def test_several_at_one_site_act_in_the_listed_order(net):
    dropout, alignment = FeatureDropout(p=0.5), FeatureAlignment()

    def loss(*regularizers):
        with attach(net, *regularizers) as attached:
            attached.begin(0, 0.0)
            net(X)
            return attached.losses()["align"].item()

    # Alignment behind dropout sees dropped features; before it, it sees what it would see alone.
    assert loss(alignment, dropout) == pytest.approx(loss(alignment))
    assert loss(dropout, alignment) != pytest.approx(loss(alignment))


# ------------------------------------------------------------------------------------------------------------------ sites and errors


def test_the_last_convolution_of_a_foreign_network_is_found_and_said(capsys):
    toy = zoo.Foreign()
    with attach(toy, FeatureDropout(p=0.5)):
        pass
    assert "'out'" in capsys.readouterr().err
    assert sites.last_convolution(toy, torch.zeros(1, 3, 8, 8)) == "out"


def test_a_module_called_last_is_not_what_last_means():
    net = nn.ModuleDict({"first": nn.Conv2d(3, 4, 3), "last": nn.Conv2d(4, 3, 3)})
    net.forward = lambda x: net["last"](net["first"](x))
    assert [str(place) for place in sites.find(net, "last", X[:1]).places] == ["last:input"]
    assert [str(place) for place in sites.find(net, "last:output", X[:1]).places] == ["last:output"]


def test_finding_sites_disturbs_neither_modes_nor_running_means():
    toy = zoo.Foreign().train()
    toy.head[1].eval()
    means = toy.head[1].running_mean.clone()
    with attach(toy, FeatureDropout(), example=torch.rand(2, 3, 8, 8)):
        assert toy.training
        assert not toy.head[1].training
        assert torch.equal(toy.head[1].running_mean, means)


@pytest.mark.parametrize("network", zoo.CONFIGS)
def test_every_site_of_every_network_serves(network):
    net = zoo.make(network)
    plain = net(X)
    for site in [*net.sites, "every-conv", "conv_last" if hasattr(net, "conv_last") else next(iter(net._modules))]:
        with attach(net, FeatureDropout(p=0.9, site=site)) as attached:
            attached.begin(0, 0.0)
            assert not torch.equal(net(X), plain), site


def test_every_conv_is_every_convolution_but_the_last():
    net = zoo.make("srresnet")
    places = sites.find(net, "every-conv", X[:1]).places
    blocks = [f"body.{i}.{conv}" for i in range(4) for conv in ("conv1", "conv2")]
    assert [place.module for place in places] == ["conv_first", *blocks, "upconv1", "conv_hr"]
    assert {place.edge for place in places} == {"output"}


class Several(nn.Module):
    """Its output is the sum of what two convolutions make."""

    def __init__(self):
        super().__init__()
        self.skip, self.body, self.tail = (nn.Conv2d(3, 3, 3, padding=1) for _ in range(3))

    def forward(self, x):
        return self.tail(F.relu_(self.body(x))) + self.skip(x)


def test_an_ambiguous_last_convolution_is_refused_with_the_candidates_and_naming_one_serves():
    several = Several()
    with (
        pytest.raises(UserError, match=r"several convolutions: name the site, one of skip:input, tail:input$"),
        attach(several, FeatureDropout()),
    ):
        pass
    with attach(several, FeatureDropout(site="tail:input")) as attached:
        attached.begin(0, 0.0)
        assert not torch.equal(several(X), several.eval()(X))


class Asserting(nn.Conv2d):
    def __init__(self):
        super().__init__(3, 3, 3)

    def forward(self, x):
        assert x.shape[-1] > 99, "too small"
        return super().forward(x)


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x):
        return self.conv(F.relu(self.conv(x)))


class Linear(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.linear = nn.Linear(8, 8)

    def forward(self, x):
        return self.conv(x) + self.linear(x.mean((1, 2)))[:, None, None]


@pytest.mark.parametrize(
    ("make", "regularizer", "message"),
    [
        (
            srresnet,
            FeatureDropout(site="block3"),
            r"no site 'block3': it has first, block1 … block2, hr, last, all-part, .* or any module's name",
        ),
        (zoo.Foreign, FeatureDropout(site="uot"), "no site 'uot': did you mean 'out'"),
        (zoo.Foreign, FeatureDropout(site="uot:input"), "no site 'uot:input': did you mean 'out'"),
        (zoo.Foreign, FeatureDropout(site="unused"), "never reaches 'unused'"),
        (Linear, FeatureDropout(site="linear"), r"no feature of shape \(N, C, H, W\) but \[1, 8\]"),
        (Twice, FeatureDropout(site="conv"), "runs 'conv' 2 times"),
        (lambda: nn.Identity(), FeatureDropout(), "no Conv2d"),
        (Asserting, FeatureDropout(), r"Asserting cannot take an example of shape \[1, 3, 32, 32\] \(too small .*\): give another"),
        (lambda: nn.Conv2d(4, 3, 99), FeatureDropout(), r"cannot take an example of shape \[1, 4, 32, 32\]"),
        (lambda: torch.compile(srresnet(), backend="aot_eager"), FeatureDropout(), "attach first, then compile"),
        (lambda: DataParallel(srresnet()), FeatureDropout(), "use DistributedDataParallel"),
    ],
)
def test_sites_that_cannot_serve_are_refused(make, regularizer, message):
    example = torch.zeros(1, 3, 8, 8) if make is Linear else None
    with pytest.raises(UserError, match=message), attach(make(), regularizer, example=example):
        pass


def test_a_network_that_ran_compiled_before_is_noticed_after_its_first_step(monkeypatch):
    """PyTorch ignores hooks that come after the compiled code, without a word."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # the compiler cannot trace the tests' shape checks
    net = srresnet()
    compiled = torch.compile(net, backend="eager")
    compiled(X)
    with attach(net, FeatureDropout()) as attached:
        attached.begin(0, 0.0)
        compiled(X)
        with pytest.raises(UserError, match="compiled and run before attaching"):
            attached.losses()


def test_a_network_with_a_compiled_part_is_refused():
    net = srresnet()
    net.body[0].compile(backend="aot_eager")
    with pytest.raises(UserError, match="attach first"), attach(net, FeatureDropout(site="block1")):
        pass


def test_a_network_that_was_compiled_in_place_is_refused():
    net = srresnet()
    net.compile(backend="aot_eager")
    with pytest.raises(UserError, match="attach first"), attach(net, FeatureDropout()):
        pass


def test_a_copy_made_while_attached_is_a_plain_network():
    net = srresnet()
    plain = net.eval()(X)
    net.train()
    with attach(net, FeatureDropout(p=0.7), FeatureAlignment()) as attached:
        attached.begin(0, 0.0)
        copied = copy.deepcopy(net)
        assert torch.equal(copied(X), plain)
        net(X)
        loss = attached.losses()["align"]
        copied(X[:4])
    assert torch.equal(copied(X), plain)
    assert loss > 0


class ByKeyword(nn.Module):
    """Calls its last convolution by keyword."""

    def __init__(self):
        super().__init__()
        self.first, self.tail = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 3, 3, padding=1)

    def forward(self, x):
        return self.tail(input=self.first(x))


def test_features_that_are_passed_by_keyword_serve_too():
    net = ByKeyword()
    plain = net(X)
    with attach(net, FeatureDropout(p=0.5)) as attached:
        attached.begin(0, 0.0)
        assert not torch.equal(net(X), plain)


def test_every_step_begins_anew():
    net = srresnet()
    with attach(net, FeatureAlignment()) as attached:
        attached.begin(0, 0.0)
        net(X)
        attached.losses()
        net(X)
        with pytest.raises(UserError, match="begin"):
            attached.losses()


@pytest.mark.parametrize("dimension", ["channel", "element"])
def test_in_bf16_kept_values_are_scaled_before_they_are_rounded(dimension):
    feature = torch.full((4, 8, 16, 16), 3.0, dtype=torch.bfloat16)
    regularizer = FeatureDropout(p=0.7, dimension=dimension)
    drawn = regularizer.draw(4, 8, torch.Generator().manual_seed(0), 0.0, 1)
    changed = regularizer.change(feature, drawn, lambda rows: rows)
    assert changed.dtype == torch.bfloat16
    assert set(changed.unique().tolist()) == {0.0, torch.tensor(3 / 0.3).bfloat16().item()}


def test_losses_say_when_a_regulariser_did_not_act():
    net = srresnet()
    with attach(net, FeatureDropout()) as attached:
        net(X)
        with pytest.raises(UserError, match="begin"):
            attached.losses()
        attached.begin(0, 0.0)
        net.eval()(X)
        with pytest.raises(UserError, match="eval mode"):
            attached.losses()


def test_a_batch_beyond_what_was_drawn_is_refused(monkeypatch):
    monkeypatch.setattr("wildsr.regularize.taps.PICTURES", 3)
    net = srresnet()
    with attach(net, FeatureDropout(), example=X[:4]) as attached:
        attached.begin(0, 0.0)
        with pytest.raises(UserError, match="batch of 8 pictures is larger than the 4"):
            net(X)


def test_a_batch_that_is_not_views_of_pictures_is_refused():
    net = srresnet()
    with attach(net, FeatureDropout(), FeatureAlignment()) as attached:
        attached.begin(0, 0.0)
        with pytest.raises(UserError, match="batch of 7 is not 2 views"):
            net(X[:7])
    with pytest.raises(UserError, match="views = 3, but a regulariser compares 2"), attach(net, FeatureAlignment(), views=3):
        pass
    with pytest.raises(UserError, match="views = 1, but a regulariser compares 2"), attach(net, FeatureAlignment(), views=1):
        pass


def test_alignment_of_a_single_picture_is_refused():
    net = srresnet()
    with attach(net, FeatureAlignment()) as attached:
        attached.begin(0, 0.0)
        net(X[:2])
        with pytest.raises(UserError, match="vanish"):
            attached.losses()


@pytest.mark.parametrize("p", [-0.1, 1, 1.5, "x", None, [], [[0, 0.5], [0.5]], [[0.5, 0.1], [0, 0.1]], [[0, 1.0]], [[0, 0.1], [2, 0.1]]])
def test_p_outside_its_range_is_refused(p):
    with pytest.raises(ValueError, match=r"neither a number in \[0, 1\) nor points"):
        FeatureDropout(p=p)


def test_alignment_of_nothing_is_refused():
    with pytest.raises(ValueError, match="linear and nonlinear are both false"):
        FeatureAlignment(linear=False, nonlinear=False)
    with pytest.raises(ValueError, match="first_order and second_order are both false"):
        FeatureAlignment(first_order=False, second_order=False)


# ------------------------------------------------------------------------------------------------------------- dropout's closed forms


def test_masks_are_a_value_a_channel_and_a_sample_and_keep_the_mean():
    p = 0.7
    mask = FeatureDropout(p=p).draw(200, 64, torch.Generator().manual_seed(0), 0.0, 1)["factor"]
    assert mask.shape == (200, 64, 1, 1)
    assert set(mask.unique().tolist()) == {0.0, torch.tensor(1 / (1 - p)).item()}
    assert mask.mean().item() == pytest.approx(1, abs=4 * math.sqrt(p / (1 - p) / mask.numel()))
    assert not torch.equal(mask[0], mask[1])


def test_curves_are_straight_lines_between_their_points():
    curve = FeatureDropout(p=[[0.2, 0.6], [0.7, 0.1], [0.7, 0.5]]).p
    values = [at(curve, progress) for progress in (0, 0.2, 0.45, 0.7, 0.9, 1)]
    assert values == pytest.approx([0.6, 0.6, 0.35, 0.5, 0.5, 0.5])
    assert at(FeatureDropout(p="0.25").p, 0.4) == 0.25
    draws = [FeatureDropout(p=[[0, 0.8], [1, 0]]).draw(100, 64, torch.Generator().manual_seed(0), x, 1)["factor"] for x in (0, 0.5, 1)]
    assert [(draw == 0).float().mean().item() for draw in draws] == pytest.approx([0.8, 0.4, 0], abs=0.02)


def slow_bits(keys, shape):
    """The products and shifts of lowbias32, on unsigned 32-bit integers, value by value."""

    def products(x):
        x = x * 0x7FEB352D % (1 << 32)
        return (x ^ (x >> 15)) * 0x846CA68B % (1 << 32)

    def value(i, key):
        x = products(i ^ (i >> 16))
        return products(x ^ (x >> 16) ^ (key % (1 << 32)))

    c, h, w = shape
    values = [[value(i, key) for i in range(c * h * w)] for key in keys]
    return torch.tensor(values).sub(torch.tensor(values).ge(1 << 31) * (1 << 32)).int().view(len(keys), c, h, w)


def test_random_bits_equal_the_slow_twin_and_look_random():
    keys = torch.tensor([0, 1, -1, 123456789, -(1 << 31)], dtype=torch.int32)
    for layout in (torch.contiguous_format, torch.channels_last):
        small = random_bits(keys.view(-1, 1, 1, 1), torch.zeros(5, 2, 3, 4).contiguous(memory_format=layout))
        assert torch.equal(small, slow_bits(keys.tolist(), (2, 3, 4)))
    drawn = FeatureDropout(dimension="element").draw(5, 16, torch.Generator().manual_seed(0), 0.0, 1)["key"]
    bits = random_bits(drawn, torch.zeros(5, 16, 32, 32)).double().flatten(1) / (1 << 32) + 0.5
    assert bits.mean(1).numpy() == pytest.approx(0.5, abs=4 / math.sqrt(12 * 16384))
    assert bits.var(1).numpy() == pytest.approx(1 / 12, rel=0.03)
    shifted = [bits[:, :-step] for step in (1, 32, 1024)], [bits[:, step:] for step in (1, 32, 1024)]
    neighbours = [np.corrcoef(a.flatten(), b.flatten())[0, 1] for a, b in zip(*shifted, strict=True)]
    between = np.corrcoef(bits.numpy())[~np.eye(5, dtype=bool)]
    assert np.abs([*neighbours, *between]).max() < 0.04


def test_element_dropout_keeps_the_mean_and_scales_what_it_keeps():
    net, p = srresnet(), 0.3
    feature = dropped(net, FeatureDropout(p=0), X)
    behind = dropped(net, FeatureDropout(p=p, dimension="element"), X)
    kept = behind != 0
    torch.testing.assert_close(behind[kept], feature[kept] / (1 - p))
    assert (~kept)[feature != 0].float().mean().item() == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / feature.numel()))
    assert not (kept == kept[:, :, :1, :1]).all(), "each value has its own mask"


def test_last_convolution_element_dropout_has_the_closed_form_variance():
    net = srresnet()
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.3)
    p, x, seen = 0.5, X[:1], {}
    handle = net.conv_last.register_forward_pre_hook(lambda module, args: seen.update(h=args[0]))
    with torch.no_grad():
        expected = net.eval()(x)
        handle.remove()
        variance = p / (1 - p) * F.conv2d(seen["h"].square(), net.conv_last.weight.square(), padding=1)
        outputs = []
        net.train()
        with attach(net, FeatureDropout(p=p, dimension="element")) as attached:
            for n in range(20):
                attached.begin(n, 0.0)
                outputs.append(net(x.expand(200, -1, -1, -1)))
    outputs = torch.cat(outputs)
    assert (outputs.var(0).sum() / variance.sum()).item() == pytest.approx(1, abs=0.05)
    assert ((outputs.mean(0) - expected).abs() / (variance / len(outputs)).sqrt()).max() < 6


def test_last_convolution_channel_dropout_has_the_closed_form_mean_and_variance():
    torch.manual_seed(0)
    net = srresnet()
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.3)
    p, draws, x = 0.5, 4000, X[:1]
    seen = {}
    handle = net.conv_last.register_forward_pre_hook(lambda module, args: seen.update(h=args[0]))
    expected = net.eval()(x)
    handle.remove()
    parts = torch.stack([F.conv2d(seen["h"][:, c : c + 1], net.conv_last.weight[:, c : c + 1], padding=1) for c in range(6)])
    variance = p / (1 - p) * parts.square().sum(0)
    net.train()
    outputs = []
    with torch.no_grad(), attach(net, FeatureDropout(p=p)) as attached:
        for n in range(draws // 200):
            attached.begin(n, 0.0)
            outputs.append(net(x.expand(200, -1, -1, -1)))
    outputs = torch.cat(outputs)
    assert (outputs.var(0).sum() / variance.sum()).item() == pytest.approx(1, abs=0.05)
    assert ((outputs.mean(0) - expected).abs() / (variance / draws).sqrt()).max() < 6


def test_dropout_inside_the_network_biases_the_output():
    torch.manual_seed(0)
    net = srresnet()
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.3)
    with torch.no_grad(), attach(net, FeatureDropout(p=0.5, site="block1")) as attached:
        attached.begin(0, 0.0)
        dropped = torch.cat([(attached.begin(n, 0.0), net(X[:1].expand(200, -1, -1, -1)))[1] for n in range(10)])
        difference = (dropped.mean(0) - net.eval()(X[:1])[0]).abs()
    assert (difference / (dropped.var(0)[0] / len(dropped)).sqrt()).max() > 8


# ------------------------------------------------------------------------------------------------------------- adaptive dropout


def test_places_are_released_one_after_the_other_at_the_references_iterations():
    regularizer, steps = AdaptiveDropout(), 500_000

    def released(n):
        return sum(regularizer.mixing(n / steps, k) == 1 for k in range(1, 18))

    for n in (0, 1, 19_999, 20_000, 20_001, 39_999, 40_000, 60_000, 139_999, 140_000, 339_999, 340_000, 499_999):
        assert released(n) == min(17, n // 20_000), n
    assert [released(20_000 * k) for k in range(1, 18)] == list(range(1, 18))
    assert regularizer.mixing(0.0, 1) == 0.3
    assert AdaptiveDropout(a=0.7).mixing(0.0, 17) == 0.7


def test_mixing_is_a_x_plus_dropout_and_has_the_closed_form_moments():
    def factor(a, p, progress=0.0, place=1):
        return AdaptiveDropout(a=a, p=p).draw(400, 64, torch.Generator().manual_seed(0), progress, place)["factor"]

    mask = FeatureDropout(p=0.5).draw(400, 64, torch.Generator().manual_seed(0), 0.0, 1)["factor"]
    assert torch.equal(factor(0.0, 0.5), mask)
    assert torch.equal(factor(1.0, 0.5), torch.ones(400, 64, 1, 1))
    assert torch.equal(factor(0.3, 0.0), torch.ones(400, 64, 1, 1))
    assert torch.equal(factor(0.3, 0.5, progress=0.04), torch.ones(400, 64, 1, 1))
    assert sorted(factor(0.3, 0.5).unique().tolist()) == pytest.approx([0.3, 1.7])
    for a, p in ((0.3, 0.5), (0.7, 0.5), (0.3, 0.2)):
        drawn = factor(a, p)
        assert drawn.mean().item() == pytest.approx(1, abs=0.02)
        assert drawn.var().item() == pytest.approx((1 - a) ** 2 * p / (1 - p), rel=0.05)


def test_adaptive_dropout_stands_in_every_block_and_before_the_last_convolution():
    net = SRResNet(SRResNetConfig(channels=4, scale=2))
    places = sites.find(net, "adaptive", X[:1]).places
    assert [str(place) for place in places] == [*(f"body.{i}.conv1:output" for i in range(16)), "conv_last:input"]


def test_at_the_end_of_adaptive_dropout_the_network_is_plain():
    net = zoo.make("srresnet")
    plain = net(X)
    with attach(net, AdaptiveDropout()) as attached:
        attached.begin(0, 0.0)
        assert not torch.equal(net(X), plain)
        attached.begin(8, 0.2)
        assert torch.equal(net(X), plain)


# ----------------------------------------------------------------------------------------------------------- alignment's closed forms


def slow_discrepancy(x, y):
    channels = x.shape[1]
    first = (x - y).square().sum(1) / channels
    outer = x.unsqueeze(2) * x.unsqueeze(1) - y.unsqueeze(2) * y.unsqueeze(1)
    return first + outer.square().sum((1, 2)) / channels**2


def slow_alignment(features, frequency, phase):
    """Sample by sample, as methods' C1 writes it, in float64."""
    pooled = features.double().mean((2, 3))
    first, second = pooled.chunk(2)
    u, v = first - first.mean(0), second - second.mean(0)
    loss = 0.0
    for i in range(len(u)):
        loss += slow_discrepancy(u[i : i + 1], v[i : i + 1]).item()
        mapped = []
        for x in (u[i], v[i]):
            t = frequency[i].double() * x + phase[i].double()
            m = math.pi / 2 * (t - t.min()) / (t - t.min()).max()
            mapped.append(math.sqrt(2) * (m.cos() + m.sin()))
        loss += slow_discrepancy(mapped[0][None], mapped[1][None]).item()
    return loss


def test_alignment_equals_the_slow_twin(net):
    features = {}
    regularizer = FeatureAlignment(weight=3.0)
    with attach(net, regularizer) as attached:
        last = net.conv_last if isinstance(net, SRResNet) else net.out
        handle = last.register_forward_pre_hook(lambda module, args: features.update(h=args[0]))
        attached.begin(40, 0.0)
        net(X)
        handle.remove()
        drawn = attached._taps[0].drawn
        expected = 3 * slow_alignment(features["h"].detach(), drawn["frequency"], drawn["phase"])
        assert attached.losses()["align"].item() == pytest.approx(expected, rel=5e-5)


def test_alignment_is_computed_in_float32_also_inside_autocast(net):
    features = {}
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.3)
    with attach(net, FeatureAlignment()) as attached, torch.autocast("cpu", torch.bfloat16):
        last = net.conv_last if isinstance(net, SRResNet) else net.out
        handle = last.register_forward_pre_hook(lambda module, args: features.update(h=args[0]))
        attached.begin(40, 0.0)
        net(X)
        handle.remove()
        assert features["h"].dtype == torch.bfloat16
        drawn = attached._taps[0].drawn
        expected = slow_alignment(features["h"].detach(), drawn["frequency"], drawn["phase"])
        assert attached.losses()["align"].item() == pytest.approx(expected, rel=1e-4)


def test_the_pairs_of_every_part_have_random_maps_of_their_own(net):
    features, pairs = {}, len(X) // 2
    last = net.conv_last if isinstance(net, SRResNet) else net.out
    with attach(net, FeatureAlignment(weight=1.0)) as attached:
        handle = last.register_forward_pre_hook(lambda module, args: features.update(h=args[0].detach()))
        for part in range(3):
            attached.begin(40, 0.0, part, 3)
            net(X)
            frequency, phase = (attached._taps[0].drawn[name][part * pairs :] for name in ("frequency", "phase"))
            expected = slow_alignment(features["h"], frequency, phase)
            assert attached.losses()["align"].item() == pytest.approx(3 * expected, rel=5e-5)
        handle.remove()


def charge(first, second, **options):
    regularizer = FeatureAlignment(**options)
    drawn = regularizer.draw(2 * len(first), first.shape[1], torch.Generator().manual_seed(0), 0.0, 1)
    return regularizer.charge(torch.cat([first, second]), drawn, lambda given: given)["align"].item()


def test_discrepancy_closed_forms():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(5, 64, generator=generator), torch.randn(5, 64, generator=generator)
    torch.testing.assert_close(discrepancy(x, y)[0], slow_discrepancy(x, y))
    torch.testing.assert_close(discrepancy(x, y)[0], discrepancy(y, x)[0])
    torch.testing.assert_close(discrepancy(x, -x)[0], 4 * x.square().sum(1) / 64)
    assert not any(part.any() for part in discrepancy(x, x))


def test_the_second_order_is_stable_when_the_views_are_nearly_equal():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, 64, generator=generator)
    y = x + 2e-4 / 8 * torch.randn(4, 64, generator=generator)
    exact = slow_discrepancy(x.double(), y.double()) - (x.double() - y.double()).square().sum(1) / 64
    torch.testing.assert_close(discrepancy(x, y, first=False)[0].double(), exact, rtol=1e-5, atol=0)
    naive = (x.square().sum(1) ** 2 + y.square().sum(1) ** 2 - 2 * (x * y).sum(1) ** 2) / 64**2
    assert ((naive.double() - exact).abs() / exact).max() > 1e-3


def by_autograd(first, second, regularizer, drawn):
    """The loss in matrix form, and its gradient by autograd, in float64."""
    pooled = torch.cat([first, second]).double().requires_grad_()
    u, v = (view - view.mean(0) for view in pooled.chunk(2))
    pairs = [(u, v)] if regularizer.linear else []
    if regularizer.nonlinear and regularizer.random_map == "textbook":
        w, b = drawn["frequencies"].double(), drawn["phases"].double()
        pairs.append(tuple(math.sqrt(2 / len(b)) * (x @ w.T + b).cos() for x in (u, v)))
    elif regularizer.nonlinear:
        w, b = drawn["frequency"][: len(u)].double(), drawn["phase"][: len(u)].double()
        t = [w * x + b for x in (u, v)]
        m = [math.pi / 2 * (x - x.amin(1, keepdim=True)) / (x.amax(1, keepdim=True) - x.amin(1, keepdim=True)) for x in t]
        pairs.append(tuple(math.sqrt(2) * (x.cos() + x.sin()) for x in m))
    each = torch.zeros(len(u), dtype=torch.float64)
    for x, y in pairs:
        if regularizer.first_order:
            each = each + (x - y).square().sum(1) / x.shape[1]
        if regularizer.second_order:
            outer = x.unsqueeze(2) * x.unsqueeze(1) - y.unsqueeze(2) * y.unsqueeze(1)
            each = each + outer.square().sum((1, 2)) / x.shape[1] ** 2
    loss = regularizer.weight * (each.sum() if regularizer.reduction == "sum" else each.mean())
    loss.backward()
    return loss.item(), pooled.grad


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"nonlinear": False},
        {"linear": False},
        {"first_order": False},
        {"second_order": False},
        {"second_order": False, "nonlinear": False},
        {"reduction": "mean", "weight": 2.5},
        {"random_map": "textbook"},
        {"random_map": "textbook", "features": 7, "bandwidth": 0.5, "first_order": False},
    ],
)
def test_closed_form_gradients_are_autograds(options):
    regularizer, generator = FeatureAlignment(**options), torch.Generator().manual_seed(5)
    first = torch.randn(5, 12, generator=generator)
    second = first + 0.3 * torch.randn(5, 12, generator=generator)
    drawn = regularizer.draw(512, 12, generator, 0.0, 1)
    expected, gradient = by_autograd(first, second, regularizer, drawn)
    pooled = torch.cat([first, second]).requires_grad_()
    loss = regularizer.charge(pooled, drawn, lambda given: given[:10])["align"]
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    torch.testing.assert_close(torch.autograd.grad(3 * loss, pooled)[0].double(), 3 * gradient, rtol=1e-4, atol=1e-6)


def test_a_known_gradient_is_handed_on_and_centring_is_its_own_pullback():
    x = torch.randn(2, 3, 4, requires_grad=True)
    value = known(x, torch.tensor(2.0), torch.full((2, 3, 4), 0.5))
    assert torch.equal(torch.autograd.grad(value * 3, x)[0], torch.full((2, 3, 4), 1.5))
    weights = torch.randn(2, 3, 4)
    torch.testing.assert_close(torch.autograd.grad((centred(x) * weights).sum(), x)[0], centred(weights))


def test_alignment_invariances():
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(4, 16, generator=generator), torch.randn(4, 16, generator=generator)
    plain = charge(first, second)
    assert charge(first, first) == 0
    assert charge(first + torch.randn(16, generator=generator), second) == pytest.approx(plain, rel=1e-4)
    doubled = charge(torch.cat([first, first]), torch.cat([second, second]), nonlinear=False)
    assert doubled == pytest.approx(2 * charge(first, second, nonlinear=False), rel=1e-5)
    assert charge(first, second, weight=2) == pytest.approx(2 * plain, rel=1e-6)
    assert charge(first, second, reduction="mean") == pytest.approx(plain / 4, rel=1e-6)
    for one, other in (("linear", "nonlinear"), ("first_order", "second_order")):
        parts = charge(first, second, **{one: False}) + charge(first, second, **{other: False})
        assert parts == pytest.approx(plain, rel=1e-6)


def test_two_pictures_are_each_others_opposite():
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, 16, generator=generator), torch.randn(2, 16, generator=generator)
    u, v = ((view - view.mean(0))[:1] for view in (first, second))
    assert charge(first, second, nonlinear=False) == pytest.approx(2 * discrepancy(u, v)[0].item(), rel=1e-5)


def test_random_map_range_shift_and_degenerate_cases():
    generator = torch.Generator().manual_seed(0)
    x, phase = torch.randn(50, 16, generator=generator), torch.rand(50, 16, generator=generator) * 2 * math.pi
    frequency = torch.randn(50, 1, generator=generator)
    mapped = random_map(x, frequency, phase)[0]
    assert mapped.min() >= math.sqrt(2) - 1e-6
    assert mapped.max() <= 2 + 1e-6
    t = frequency * x + phase
    for channel in (t.argmin(1), t.argmax(1)):
        torch.testing.assert_close(mapped.gather(1, channel[:, None]), torch.full((50, 1), math.sqrt(2)))
    torch.testing.assert_close(random_map(x + 3, frequency, phase)[0], mapped, rtol=1e-4, atol=1e-5)
    zero = torch.zeros(50, 1)
    assert torch.equal(random_map(x, zero, phase)[0], random_map(x + torch.rand(50, 16, generator=generator), zero, phase)[0])
    # One t in all channels: 0/0 in the formula.
    constant, pullback = random_map(torch.ones(1, 16), torch.ones(1, 1), torch.zeros(1, 16))
    torch.testing.assert_close(constant, torch.full((1, 16), math.sqrt(2)))
    assert pullback(torch.randn(1, 16)).isfinite().all()


def test_fourier_features_approach_the_gaussian_kernel_and_serve_all_pairs():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(6, 8, generator=generator) / 2, torch.randn(6, 8, generator=generator) / 2
    regularizer = FeatureAlignment(random_map="textbook", features=20_000, bandwidth=1.5)
    drawn = regularizer.draw(512, 8, generator, 0.0, 1)
    assert drawn["frequencies"].shape == (20_000, 8)
    mapped = [fourier_features(z, drawn["frequencies"], drawn["phases"])[0] for z in (x, y)]
    kernel = torch.exp(-torch.cdist(x, y).square() / (2 * 1.5**2))
    torch.testing.assert_close(mapped[0] @ mapped[1].T, kernel, rtol=0, atol=0.04)
    swapped = fourier_features(x[[1, 0]], drawn["frequencies"], drawn["phases"])[0]
    torch.testing.assert_close(swapped, mapped[0][[1, 0]])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_fused_mean_has_the_means_value_and_gradient(dtype, layout):
    x = torch.randn(3, 5, 8, 9).to(dtype).to(memory_format=layout).requires_grad_()
    weights, tail = torch.randn(3, 5), torch.randn(3, 5, 8, 9).to(dtype)
    fused, plain = spatial_mean(x), x.float().mean((2, 3))
    torch.testing.assert_close(fused, plain)
    gradients = [torch.autograd.grad((mean * weights).sum() + (x * tail).float().sum(), x)[0] for mean in (fused, plain)]
    torch.testing.assert_close(*gradients)


def test_every_network_has_the_sites_that_the_papers_use():
    parts = {f"{share}-part{layout}" for share in ("all", "half", "quarter") for layout in ("", "-conv2")}
    for name in zoo.CONFIGS:
        assert {"first", "block1", "block2", "last", "adaptive"} | parts <= set(zoo.make(name).sites), name
    papers = SRResNet(SRResNetConfig(channels=1)).sites
    assert {"block4", "block8", "block12", "block16"} <= set(papers)
    assert [len(papers[f"{share}-part"]) for share in ("all", "half", "quarter")] == [16, 8, 4]
    assert papers["quarter-part"][0].module == "body.12.conv1"
    assert papers["half-part-conv2"][0].module == "body.8.conv2"
