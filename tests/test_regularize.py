"""Regularisers: their closed forms, and the contract that every one of them keeps on every network."""

import math

import jaxtyping
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from wildsr import networks, regularize
from wildsr.errors import UserError
from wildsr.networks import SRResNet, SRResNetConfig
from wildsr.regularize import FeatureAlignment, FeatureDropout, attach, discrepancy, random_map


class Toy(nn.Module):
    """A network of another style: batch normalisation, a transposed convolution, no named sites."""

    def __init__(self):
        super().__init__()
        self.head = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.PReLU())
        self.up = nn.ConvTranspose2d(6, 5, 4, stride=2, padding=1)
        self.unused = nn.Conv2d(5, 3, 1)
        self.out = nn.Conv2d(5, 3, 3, padding=1)

    def forward(self, x):
        return self.out(torch.tanh(self.up(self.head(x))))


def srresnet():
    return SRResNet(SRResNetConfig(channels=6, blocks=2, scale=2))


NETWORKS = {"srresnet": srresnet, "toy": Toy}
ACTING = {
    "dropout": FeatureDropout(p=0.5),
    "alignment": FeatureAlignment(),
    "linear": FeatureAlignment(nonlinear=False),
    "nonlinear": FeatureAlignment(linear=False),
}
POWERLESS = {"dropout": FeatureDropout(p=0), "alignment": FeatureAlignment(weight=0)}


@pytest.fixture(params=NETWORKS)
def net(request):
    torch.manual_seed(3)
    net = NETWORKS[request.param]()
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.3)
    return net


def total(net, x, target, attached=None):
    loss = F.l1_loss(net(x), target)
    return loss if attached is None else loss + sum(attached.losses().values())


X, TARGET = torch.rand(8, 3, 8, 8, generator=torch.Generator().manual_seed(1)), torch.zeros(8, 3, 16, 16)


# ------------------------------------------------------------------------------------------------------------------ the contract


@pytest.fixture(scope="module")
def one_process(tmp_path_factory):
    """A process group of this process alone."""
    meeting = tmp_path_factory.mktemp("group") / "meeting"
    torch.distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("regularizer", ACTING.values(), ids=ACTING)
def test_keys_and_eval_output_are_untouched_and_nothing_is_left(net, regularizer):
    keys, plain, attributes = list(net.state_dict()), net.eval()(X), set(vars(net))
    net.train()
    with attach(net, regularizer) as attached:
        assert list(net.state_dict()) == keys
        attached.begin(0, 0.0)
        net.eval()
        assert torch.equal(net(X), plain)
    assert set(vars(net)) == attributes
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())
    assert torch.equal(net(X), plain)


@pytest.mark.parametrize("regularizer", POWERLESS.values(), ids=POWERLESS)
def test_strength_zero_gives_the_same_loss(net, regularizer):
    plain = total(net, X, TARGET)
    with attach(net, regularizer) as attached:
        attached.begin(0, 0.5)
        assert torch.equal(total(net, X, TARGET, attached), plain)


@pytest.mark.parametrize("mode", ["eager", "autocast", "compiled", "distributed"])
@pytest.mark.parametrize("regularizer", ACTING.values(), ids=ACTING)
def test_it_acts_in_every_mode(net, regularizer, mode, monkeypatch, one_process):
    torch._dynamo.reset()
    # The compiler cannot trace the tests' shape checks.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", mode == "compiled")
    with attach(net, regularizer) as attached, torch.autocast("cpu", torch.bfloat16, enabled=mode == "autocast"):
        if mode == "compiled":
            run = torch.compile(net, backend="aot_eager")
        else:
            run = DistributedDataParallel(net) if mode == "distributed" else net
        outputs = []
        for n in (0, 8):
            attached.begin(n, 0.0)
            outputs.append(run(X))
        losses = attached.losses()
        gradient = torch.autograd.grad(outputs[1].float().square().mean() + sum(losses.values()), next(net.parameters()))[0]
        assert gradient.isfinite().all()
        if regularizer.views == 1:
            assert losses == {}
            assert not torch.equal(*outputs)
        else:
            assert losses["align"].dtype == torch.float32
            assert losses["align"] > 0
            assert torch.autograd.grad(attached_loss(net, run, attached), next(net.parameters()))[0].abs().max() > 0


def attached_loss(net, run, attached):
    attached.begin(16, 0.0)
    run(X)
    return attached.losses()["align"]


@pytest.mark.parametrize("regularizer", ACTING.values(), ids=ACTING)
def test_a_step_can_be_played_again(net, regularizer):
    def play(n, seed=0):
        with attach(net, regularizer, seed=seed) as attached:
            attached.begin(n, 0.0)
            return net(X), *attached.losses().values()

    net(X)  # Batch normalisation moves its running means in training mode, which the output there does not see.
    first, again, other_step, other_seed = play(8), play(8), play(16), play(8, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    if regularizer != ACTING["linear"]:
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
        mask = attached._taps[0].drawn["mask"]
        place, values = mask.data_ptr(), mask.clone()
        attached.begin(8, 0.0)
        assert attached._taps[0].drawn["mask"].data_ptr() == place
        assert not torch.equal(mask, values)


@pytest.mark.parametrize("regularizer", ACTING.values(), ids=ACTING)
def test_what_is_drawn_for_a_sample_hangs_on_no_other(net, regularizer):
    def drawn(example):
        with attach(net, regularizer, example=example) as attached:
            attached.begin(8, 0.0)
            return {name: value[:3].clone() for name, value in attached._taps[0].drawn.items()}

    few, many = drawn(X[:3]), drawn(None)
    assert all(torch.equal(few[name], many[name]) for name in few)


def test_two_of_a_kind_at_one_site_draw_apart_and_are_charged_apart(net):
    with attach(net, FeatureDropout(p=0.5), FeatureDropout(p=0.5), *[FeatureAlignment()] * 3) as attached:
        attached.begin(0, 0.0)
        first, second = (tap.drawn["mask"] for tap in attached._taps[:2])
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
    toy = Toy()
    with attach(toy, FeatureDropout(p=0.5)):
        pass
    assert "'out'" in capsys.readouterr().err
    assert regularize.last_convolution(toy, torch.zeros(1, 3, 8, 8)) == "out"


def test_finding_sites_disturbs_neither_modes_nor_running_means():
    toy = Toy().train()
    toy.head[1].eval()
    means = toy.head[1].running_mean.clone()
    with attach(toy, FeatureDropout(), example=torch.rand(2, 3, 8, 8)):
        assert toy.training
        assert not toy.head[1].training
        assert torch.equal(toy.head[1].running_mean, means)


@pytest.mark.parametrize("site", ["first", "block1", "hr", "last", "body.1", "upconv1"])
def test_every_site_of_a_network_and_every_module_serves(site):
    net = srresnet()
    with attach(net, FeatureDropout(p=0.9, site=site)) as attached:
        attached.begin(0, 0.0)
        dropped = net(X)
    assert not torch.equal(dropped, net(X))


def test_the_named_sites_are_where_the_paper_puts_them():
    net = srresnet()
    seen = {}
    place = net.sites["block2"]
    handle = net.get_submodule(place.module).register_forward_hook(lambda module, args, output: seen.update(block=output))
    first = net.conv_last.register_forward_pre_hook(lambda module, args: seen.update(last=args[0]))
    net(X)
    handle.remove(), first.remove()
    x = net.body(F.leaky_relu(net.conv_first(X), 0.1))
    assert torch.equal(seen["block"], x)
    h = F.leaky_relu(net.conv_hr(F.leaky_relu(F.pixel_shuffle(net.upconv1(x), 2), 0.1)), 0.1)
    assert torch.equal(seen["last"], h)


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
        (srresnet, FeatureDropout(site="blok1"), "no site 'blok1': did you mean 'block1'"),
        (Toy, FeatureDropout(site="unused"), "never reaches 'unused'"),
        (Linear, FeatureDropout(site="linear"), r"no feature of shape \(N, C, H, W\) but \[1, 8\]"),
        (lambda: nn.Identity(), FeatureDropout(), "no Conv2d"),
        (lambda: torch.compile(srresnet(), backend="aot_eager"), FeatureDropout(), "attach first, then compile"),
    ],
)
def test_sites_that_cannot_serve_are_refused(make, regularizer, message):
    example = torch.zeros(1, 3, 8, 8) if make is Linear else None
    with pytest.raises(UserError, match=message), attach(make(), regularizer, example=example):
        pass


def test_a_network_that_was_compiled_in_place_is_refused():
    net = srresnet()
    net.compile(backend="aot_eager")
    with pytest.raises(UserError, match="attach first"), attach(net, FeatureDropout()):
        pass


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
    monkeypatch.setattr(regularize, "ROWS", 3)
    net = srresnet()
    with attach(net, FeatureDropout(), example=X[:4]) as attached:
        attached.begin(0, 0.0)
        with pytest.raises(UserError, match="batch of 8 is larger than the 4"):
            net(X)


def test_alignment_of_a_single_picture_is_refused():
    net = srresnet()
    with attach(net, FeatureAlignment()) as attached:
        attached.begin(0, 0.0)
        net(X[:2])
        with pytest.raises(UserError, match="vanish"):
            attached.losses()


@pytest.mark.parametrize("p", [-0.1, 1, 1.5])
def test_p_outside_its_range_is_refused(p):
    with pytest.raises(ValueError, match="p"):
        FeatureDropout(p=p)


# ------------------------------------------------------------------------------------------------------------- dropout's closed forms


def test_masks_are_a_value_a_channel_and_a_sample_and_keep_the_mean():
    p = 0.7
    mask = FeatureDropout(p=p).draw(torch.Size((200, 64, 9, 9)), torch.Generator().manual_seed(0), 0.0)["mask"]
    assert mask.shape == (200, 64, 1, 1)
    assert set(mask.unique().tolist()) == {0.0, torch.tensor(1 / (1 - p)).item()}
    assert mask.mean().item() == pytest.approx(1, abs=4 * math.sqrt(p / (1 - p) / mask.numel()))
    assert not torch.equal(mask[0], mask[1])


def test_last_convolution_dropout_has_the_closed_form_mean_and_variance():
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
        assert attached.losses()["align"].item() == pytest.approx(expected, rel=1e-5)


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


def charge(first, second, **options):
    regularizer = FeatureAlignment(**options)
    drawn = regularizer.draw(torch.Size((2 * len(first), first.shape[1], 1, 1)), torch.Generator().manual_seed(0), 0.0)
    return regularizer.charge(torch.cat([first, second]), drawn)["align"].item()


def test_discrepancy_closed_forms():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(5, 64, generator=generator), torch.randn(5, 64, generator=generator)
    torch.testing.assert_close(discrepancy(x, y), slow_discrepancy(x, y))
    torch.testing.assert_close(discrepancy(x, y), discrepancy(y, x))
    torch.testing.assert_close(discrepancy(x, -x), 4 * x.square().sum(1) / 64)
    assert not discrepancy(x, x).any()


def test_discrepancy_is_stable_when_the_views_are_nearly_equal():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, 64, generator=generator)
    y = x + 2e-4 / 8 * torch.randn(4, 64, generator=generator)
    exact = slow_discrepancy(x.double(), y.double())
    torch.testing.assert_close(discrepancy(x, y).double(), exact, rtol=1e-5, atol=0)
    naive = ((x - y).square().sum(1) / 64) + (
        x.square().sum(1) ** 2 + y.square().sum(1) ** 2 - 2 * (x * y).sum(1) ** 2
    ) / 64**2  # fmt: skip
    assert ((naive.double() - exact).abs() / exact).max() > 1e-4


def test_alignment_invariances():
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(4, 16, generator=generator), torch.randn(4, 16, generator=generator)
    plain = charge(first, second)
    assert charge(first, first) == 0
    assert charge(first + torch.randn(16, generator=generator), second) == pytest.approx(plain, rel=1e-4)
    assert charge(torch.cat([first, first]), torch.cat([second, second]), nonlinear=False) == pytest.approx(
        2 * charge(first, second, nonlinear=False), rel=1e-5
    )
    assert charge(first, second, weight=2) == pytest.approx(2 * plain, rel=1e-6)
    assert charge(first, second, linear=False) + charge(first, second, nonlinear=False) == pytest.approx(plain, rel=1e-6)


def test_random_map_range_shift_and_degenerate_cases():
    generator = torch.Generator().manual_seed(0)
    x, phase = torch.randn(50, 16, generator=generator), torch.rand(50, 16, generator=generator) * 2 * math.pi
    frequency = torch.randn(50, 1, generator=generator)
    mapped = random_map(x, frequency, phase)
    assert mapped.min() >= math.sqrt(2) - 1e-6
    assert mapped.max() <= 2 + 1e-6
    t = frequency * x + phase
    for channel in (t.argmin(1), t.argmax(1)):
        torch.testing.assert_close(mapped.gather(1, channel[:, None]), torch.full((50, 1), math.sqrt(2)))
    torch.testing.assert_close(random_map(x + 3, frequency, phase), mapped, rtol=1e-4, atol=1e-5)
    zero = torch.zeros(50, 1)
    assert torch.equal(random_map(x, zero, phase), random_map(x + torch.rand(50, 16, generator=generator), zero, phase))
    constant = random_map(torch.ones(1, 16, requires_grad=True), torch.ones(1, 1), torch.zeros(1, 16))
    torch.testing.assert_close(constant, torch.full((1, 16), math.sqrt(2)))
    constant.sum().backward()


def test_every_network_has_the_sites_that_the_papers_use():
    for name, (config, network) in networks.NETWORKS.items():
        assert "last" in network(config()).sites, name
