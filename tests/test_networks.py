"""Every network against the published counts, keys and initialisation, and against a slow twin at every site."""

import re
from collections.abc import Callable, Sequence

import network_twins as twins
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wildsr import devices, networks
from wildsr.errors import UserError
from wildsr.networks import CompactConfig, RCANConfig, RRDBNetConfig, Site, SRResNet, SRResNetConfig, SwinIRConfig

# A small configuration of every network at every scale, and with every upsampler. Stages, groups and blocks are four where the groups of
# sites are to differ; SwinIR's pictures are several windows wide, and not of the size that its buffers are made for.
SMALL_SWINIR = {"embed_dim": 6, "depths": (2, 1), "heads": (2, 3), "window": 4, "img_size": 8}
SMALL: dict[str, networks.Config] = {
    **{f"srresnet-x{s}": SRResNetConfig(channels=5, blocks=4, scale=s) for s in (2, 3, 4)},
    "srresnet-1": SRResNetConfig(channels=4, blocks=1, scale=2),
    **{f"rrdbnet-x{s}": RRDBNetConfig(channels=6, blocks=4, growth=3, scale=s) for s in (2, 4)},
    **{f"swinir-real-x{s}": SwinIRConfig(upsampler="nearest+conv", scale=s, **SMALL_SWINIR) for s in (2, 4)},
    **{f"swinir-classical-x{s}": SwinIRConfig(upsampler="pixelshuffle", scale=s, **SMALL_SWINIR) for s in (2, 3, 4)},
    **{f"swinir-light-x{s}": SwinIRConfig(upsampler="pixelshuffledirect", scale=s, **SMALL_SWINIR) for s in (2, 3, 4)},
    "swinir-4": SwinIRConfig(embed_dim=6, depths=(3, 2, 1, 4), heads=(2, 3, 1, 6), window=2, mlp_ratio=1.5, img_size=6, scale=2),
    **{f"compact-x{s}": CompactConfig(channels=5, blocks=4, scale=s) for s in (2, 3, 4)},
    **{f"rcan-x{s}": RCANConfig(channels=8, groups=4, blocks=2, reduction=4, scale=s) for s in (2, 3, 4)},
}
SWINIRS = [name for name in SMALL if name.startswith("swinir")]


def twin(config: networks.Config, weights: twins.Weights, x: Tensor, seen: twins.Seen = None) -> Tensor:
    """What the slow twin of a network gives."""
    match config:
        case SRResNetConfig():
            return twins.slow_srresnet(weights, x, config.blocks, config.scale, seen)
        case RRDBNetConfig():
            return twins.slow_rrdbnet(weights, x, config.blocks, config.scale, seen)
        case SwinIRConfig():
            return twins.slow_swinir(weights, x, config.upsampler, config.depths, config.heads, config.window, config.scale, seen)
        case CompactConfig():
            return twins.slow_compact(weights, x, config.blocks, config.scale, seen)
        case RCANConfig():
            return twins.slow_rcan(weights, x, config.groups, config.blocks, config.scale, seen)
        case _:
            raise AssertionError(config)


def randomised(config: networks.Config, seed: int = 0) -> networks.Network:
    """A network in float64 with random weights and biases, large enough that every part of it matters to the result."""
    torch.manual_seed(seed)
    net = networks.create(config).double().eval()
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.25)
    return net


def picture(height: int, width: int, batch: int = 2) -> Tensor:
    return torch.rand(batch, 3, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(height * 100 + width))


# ---------------------------------------------------------------------------------------------------------------- counts and keys


def conv(name: str, inputs: int, outputs: int, kernel: int = 3) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outputs, inputs, kernel, kernel), f"{name}.bias": (outputs,)}


def linear(name: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def norm(name: str, size: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (size,), f"{name}.bias": (size,)}


def layout(config: networks.Config) -> dict[str, tuple[int, ...]]:
    """The published keys and their shapes, written down anew."""
    keys: dict[str, tuple[int, ...]] = {}
    s = config.scale
    match config:
        case SRResNetConfig(channels=c):
            keys |= conv("conv_first", 3, c) | conv("conv_hr", c, c) | conv("conv_last", c, 3)
            keys |= conv("upconv1", c, 4 * c) | conv("upconv2", c, 4 * c) if s == 4 else conv("upconv1", c, s * s * c)
            for i in range(config.blocks):
                keys |= conv(f"body.{i}.conv1", c, c) | conv(f"body.{i}.conv2", c, c)
        case RRDBNetConfig(channels=c, growth=g):
            keys |= conv("conv_first", 12 if s == 2 else 3, c) | conv("conv_last", c, 3)
            for name in ("conv_body", "conv_up1", "conv_up2", "conv_hr"):
                keys |= conv(name, c, c)
            for i in range(config.blocks):
                for j in (1, 2, 3):
                    for k in (1, 2, 3, 4, 5):
                        keys |= conv(f"body.{i}.rdb{j}.conv{k}", c + (k - 1) * g, c if k == 5 else g)
        case SwinIRConfig(embed_dim=e, window=w):
            hidden = int(config.mlp_ratio * e)
            keys |= conv("conv_first", 3, e) | norm("patch_embed.norm", e) | norm("norm", e) | conv("conv_after_body", e, e)
            for i, (depth, heads) in enumerate(zip(config.depths, config.heads, strict=True)):
                keys |= conv(f"layers.{i}.conv", e, e)
                for j in range(depth):
                    block = f"layers.{i}.residual_group.blocks.{j}"
                    keys |= norm(f"{block}.norm1", e) | norm(f"{block}.norm2", e)
                    keys |= linear(f"{block}.attn.qkv", e, 3 * e) | linear(f"{block}.attn.proj", e, e)
                    keys |= linear(f"{block}.mlp.fc1", e, hidden) | linear(f"{block}.mlp.fc2", hidden, e)
                    keys[f"{block}.attn.relative_position_bias_table"] = ((2 * w - 1) ** 2, heads)
                    keys[f"{block}.attn.relative_position_index"] = (w * w, w * w)
                    if j % 2:
                        keys[f"{block}.attn_mask"] = ((config.img_size // w) ** 2, w * w, w * w)
            if config.upsampler == "pixelshuffledirect":
                keys |= conv("upsample.0", e, 3 * s * s)
            else:
                keys |= conv("conv_before_upsample.0", e, 64) | conv("conv_last", 64, 3)
            if config.upsampler == "pixelshuffle":
                keys |= conv("upsample.0", 64, 576 if s == 3 else 256) | (conv("upsample.2", 64, 256) if s == 4 else {})
            if config.upsampler == "nearest+conv":
                keys |= conv("conv_up1", 64, 64) | conv("conv_hr", 64, 64) | (conv("conv_up2", 64, 64) if s == 4 else {})
        case CompactConfig(channels=c, blocks=n):
            keys |= conv("body.0", 3, c) | conv(f"body.{2 * n + 2}", c, 3 * s * s)
            for i in range(n + 1):
                keys[f"body.{2 * i + 1}.weight"] = (c,)
                keys |= conv(f"body.{2 * i}", c, c) if i else {}
        case RCANConfig(channels=c, groups=groups, blocks=blocks):
            keys |= conv("head.0", 3, c) | conv(f"body.{groups}", c, c) | conv("tail.1", c, 3)
            keys |= conv("tail.0.0", c, 9 * c if s == 3 else 4 * c) | (conv("tail.0.2", c, 4 * c) if s == 4 else {})
            for g in range(groups):
                keys |= conv(f"body.{g}.body.{blocks}", c, c)
                for b in range(blocks):
                    block, narrow = f"body.{g}.body.{b}.body", c // config.reduction
                    keys |= conv(f"{block}.0", c, c) | conv(f"{block}.2", c, c)
                    keys |= conv(f"{block}.3.conv_du.0", c, narrow, 1) | conv(f"{block}.3.conv_du.2", narrow, c, 1)
        case _:
            raise AssertionError(config)
    return keys


CLASSICAL = SwinIRConfig(upsampler="pixelshuffle")
LIGHT = SwinIRConfig(upsampler="pixelshuffledirect", embed_dim=60, depths=(6,) * 4, heads=(6,) * 4)
PUBLISHED = [
    # config, parameters, tensors, of these buffers
    (SRResNetConfig(scale=2), 1_369_859, 72, 0),
    (SRResNetConfig(scale=3), 1_554_499, 72, 0),
    (SRResNetConfig(), 1_517_571, 74, 0),
    (RRDBNetConfig(), 16_697_987, 702, 0),
    (SwinIRConfig(), 11_715_559, 552, 54),
    (CLASSICAL, 11_900_199, 550, 54),
    (CLASSICAL.model_copy(update={"img_size": 48}), 11_900_199, 550, 54),
    (LIGHT, 929_628, 366, 36),
    (CompactConfig(), 621_424, 53, 0),
    (CompactConfig(blocks=32), 1_213_296, 101, 0),
    (RCANConfig(), 15_592_355, 1_630, 0),
]


@pytest.mark.parametrize(("config", "parameters", "tensors", "buffers"), PUBLISHED)
def test_counts_are_the_published_ones(config, parameters, tensors, buffers):
    shapes = networks.shapes(config)
    assert len(shapes) == tensors
    assert shapes == layout(config)
    with torch.device("meta"):
        learned = dict(networks.create(config).named_parameters())
    assert sum(parameter.numel() for parameter in learned.values()) == parameters
    assert len(shapes.keys() - learned.keys()) == buffers


@pytest.mark.parametrize("name", SMALL)
def test_keys_and_shapes_are_the_published_ones(name):
    net = networks.create(SMALL[name])
    assert networks.shapes(SMALL[name]) == layout(SMALL[name])
    assert {key: tuple(tensor.shape) for key, tensor in net.state_dict().items()} == layout(SMALL[name])


def test_keys_by_name():
    """A few keys of each layout as they stand in published files."""
    for config, keys in [
        (SRResNetConfig(), {"conv_first.weight": (64, 3, 3, 3), "body.15.conv2.bias": (64,), "upconv2.weight": (256, 64, 3, 3)}),
        (RRDBNetConfig(), {"body.22.rdb3.conv5.weight": (64, 192, 3, 3), "conv_body.bias": (64,), "conv_up2.weight": (64, 64, 3, 3)}),
        (
            SwinIRConfig(),
            {
                "patch_embed.norm.weight": (180,),
                "layers.5.residual_group.blocks.5.attn_mask": (64, 64, 64),
                "layers.0.residual_group.blocks.0.attn.relative_position_bias_table": (225, 6),
                "layers.0.residual_group.blocks.0.attn.relative_position_index": (64, 64),
                "layers.0.residual_group.blocks.0.attn.qkv.weight": (540, 180),
                "layers.0.residual_group.blocks.0.mlp.fc1.weight": (360, 180),
                "layers.0.conv.weight": (180, 180, 3, 3),
                "conv_before_upsample.0.weight": (64, 180, 3, 3),
                "conv_hr.bias": (64,),
            },
        ),
        (CompactConfig(), {"body.0.weight": (64, 3, 3, 3), "body.1.weight": (64,), "body.34.weight": (48, 64, 3, 3)}),
        (
            RCANConfig(),
            {
                "head.0.weight": (64, 3, 3, 3),
                "body.9.body.19.body.3.conv_du.0.weight": (4, 64, 1, 1),
                "body.9.body.20.weight": (64, 64, 3, 3),
                "body.10.bias": (64,),
                "tail.0.2.weight": (256, 64, 3, 3),
                "tail.1.weight": (3, 64, 3, 3),
            },
        ),
    ]:
        assert keys.items() <= networks.shapes(config).items()


def test_swinir_masks_stand_on_odd_layers_and_part_what_the_shift_brought_together():
    """Two pixels of a window see each other when the shift took both, or neither, around the picture's edge: down, and across."""
    config = SwinIRConfig(embed_dim=4, depths=(4,), heads=(2,), window=4, img_size=12)
    weights = networks.create(config).state_dict()
    masks = {int(key.split(".")[4]): tensor for key, tensor in weights.items() if key.endswith("attn_mask")}
    assert set(masks) == {1, 3}
    expected = torch.zeros(9, 16, 16)
    for window in range(9):
        for i in range(16):
            for j in range(16):
                y, y2 = (4 * (window // 3) + k // 4 + 2 for k in (i, j))
                x, x2 = (4 * (window % 3) + k % 4 + 2 for k in (i, j))
                if (y >= 12, x >= 12) != (y2 >= 12, x2 >= 12):
                    expected[window, i, j] = -100
    assert torch.equal(masks[1], expected)
    assert torch.equal(masks[3], expected)
    assert expected[:2].count_nonzero() == 0
    assert expected[8].count_nonzero() == 192


def test_swinir_relative_positions():
    config = SwinIRConfig(embed_dim=4, depths=(1,), heads=(2,), window=2, img_size=4)
    index = networks.create(config).state_dict()["layers.0.residual_group.blocks.0.attn.relative_position_index"]
    assert not index.is_floating_point()
    assert index.tolist() == [[4, 3, 1, 0], [5, 4, 2, 1], [7, 6, 4, 3], [8, 7, 5, 4]]


# ------------------------------------------------------------------------------------------------------------------------ forward


@pytest.mark.parametrize("name", SMALL)
def test_forward_equals_the_slow_twin(name):
    config, net = SMALL[name], randomised(SMALL[name], 1)
    x = picture(10, 6) if name == "rrdbnet-x2" else picture(9, 7)
    with torch.no_grad():
        y = net(x)
        expected = twin(config, net.state_dict(), x)
    assert y.shape == (2, 3, x.shape[-2] * config.scale, x.shape[-1] * config.scale)
    assert expected.std() > 0.01
    torch.testing.assert_close(y, expected)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (12, 20), (4, 4), (13, 8), (3, 3), (2, 9), (1, 1)])
def test_swinir_takes_any_size(height, width):
    """A single window, several, borders mirrored, and borders repeated where there is too little to mirror."""
    config = SMALL["swinir-light-x2"]
    net = randomised(config)
    x = picture(height, width, 1)
    with torch.no_grad():
        torch.testing.assert_close(net(x), twin(config, net.state_dict(), x))


def test_swinir_img_size_changes_no_result_until_it_is_a_single_window():
    config = SwinIRConfig(upsampler="pixelshuffledirect", scale=2, **SMALL_SWINIR)
    net, x = randomised(config), picture(12, 8, 1)
    for img_size in (16, 4):
        other = networks.create(config.model_copy(update={"img_size": img_size})).double().eval()
        other.load_state_dict({key: tensor for key, tensor in net.state_dict().items() if "attn_mask" not in key}, strict=False)
        with torch.no_grad():
            if img_size == 16:
                assert torch.equal(other(x), net(x))
            else:
                assert not any("attn_mask" in key for key in other.state_dict())
                alone = twins.slow_swinir(net.state_dict(), x, config.upsampler, config.depths, config.heads, 4, 2, shifted=False)
                torch.testing.assert_close(other(x), alone)


def test_rrdbnet_x2_takes_odd_sizes():
    config = SMALL["rrdbnet-x2"]
    net, x = randomised(config), picture(7, 5)
    with torch.no_grad():
        y = net(x)
        for height, width in ((7, 6), (8, 5), (8, 6)):
            larger = x[..., [*range(7), 5][:height], :][..., [*range(5), 3][:width]]
            assert torch.equal(net(larger)[..., :14, :10], y)
        torch.testing.assert_close(y, twin(config, net.state_dict(), larger)[..., :14, :10])


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_swinir_stochastic_depth_rises_to_the_last_layer_and_only_acts_in_training(mode):
    """Two layers at 0.5: nothing happens to the first, and either branch of the second is left out or doubled, sample by sample."""
    config = SwinIRConfig(
        upsampler="pixelshuffledirect", embed_dim=4, depths=(1, 1), heads=(2, 2), window=4, img_size=8, drop_path=0.5, scale=2
    )
    net = randomised(config).train(mode == "train")
    x = picture(4, 4, 1)
    with torch.no_grad():
        outputs = net(x.expand(64, -1, -1, -1))
        arguments = (net.state_dict(), x, config.upsampler, config.depths, config.heads, 4, 2)
        factors = [(0.0, 0.0), (0.0, 2.0), (2.0, 0.0), (2.0, 2.0)] if mode == "train" else [(1.0, 1.0)]
        wanted = torch.cat([twins.slow_swinir(*arguments, kept={(1, 0): pair}) for pair in factors])
    distances = (outputs[:, None] - wanted).abs().amax((2, 3, 4))
    assert (distances.amin(1) < 1e-9).all()
    assert set(distances.argmin(1).tolist()) == set(range(len(factors)))


def test_training_mode_changes_nothing_without_stochastic_depth():
    for config in SMALL.values():
        net, x = randomised(config), picture(4, 4, 1)
        with torch.no_grad():
            assert torch.equal(net(x), net.train()(x))


# -------------------------------------------------------------------------------------------------------------------------- sites


def expected_sites(config: networks.Config) -> dict[str, list[str]]:
    """Site -> what the twin calls its places."""
    match config:
        case SwinIRConfig():
            count = len(config.depths)
        case RCANConfig():
            count = config.groups
        case SRResNetConfig() | RRDBNetConfig() | CompactConfig():
            count = config.blocks
        case _:
            raise AssertionError(config)
    names = [f"block{i + 1}" for i in range(count)]
    hr = ["hr"] if "conv_hr.weight" in layout(config) else []
    sites = {name: [name] for name in ["first", *names, *hr, "last"]}
    for suffix, place in (("", ".conv1"), ("-conv2", ".conv2")):
        sites[f"all-part{suffix}"] = [name + place for name in names]
        sites[f"half-part{suffix}"] = [name + place for name in names[-max(1, count // 2) :]]
        sites[f"quarter-part{suffix}"] = [name + place for name in names[-max(1, count // 4) :]]
    return {**sites, "adaptive": [*sites["all-part"], "last"]}


def features_at(net: nn.Module, places: Sequence[Site], x: Tensor) -> tuple[Tensor, list[tuple[Site, Tensor]]]:
    """The network's output, and what passed the places, in the order in which it did."""
    found: list[tuple[Site, Tensor]] = []
    handles = []

    def read_input(place: Site) -> Callable[..., None]:
        return lambda _, inputs: found.append((place, inputs[0]))

    def read_output(place: Site) -> Callable[..., None]:
        return lambda _, __, output: found.append((place, output))

    for place in places:
        module = net.get_submodule(place.module)
        if place.edge == "input":
            handles.append(module.register_forward_pre_hook(read_input(place)))
        else:
            handles.append(module.register_forward_hook(read_output(place)))
    with torch.no_grad():
        y = net(x)
    for handle in handles:
        handle.remove()
    return y, found


@pytest.mark.parametrize("name", SMALL)
def test_sites_hold_what_the_twin_computes_there(name):
    config, net, x = SMALL[name], randomised(SMALL[name], 2), picture(8, 6)
    sites = net.sites
    expected = expected_sites(config)
    assert set(sites) == set(expected)
    seen: dict[str, Tensor] = {}
    with torch.no_grad():
        twin(config, net.state_dict(), x, seen)
    for site, wanted in expected.items():
        _, found = features_at(net, sites[site], x)
        assert tuple(place for place, _ in found) == sites[site], "every place is passed once, in the order that the site tells"
        assert len(found) == len(wanted)
        for (_, feature), key in zip(found, wanted, strict=True):
            assert feature.ndim == 4
            torch.testing.assert_close(feature, seen[key])


@pytest.mark.parametrize("name", SMALL)
def test_the_last_convolution_reads_the_last_site(name):
    """Nothing goes around it: with zeros there, what is left is that convolution's bias and what the network adds to its input."""
    config, net, x = SMALL[name], randomised(SMALL[name]), picture(8, 8, 1)
    (place,) = net.sites["last"]
    last = net.get_submodule(place.module)
    assert place.edge == "input"
    assert isinstance(last, nn.Conv2d)
    assert last.bias is not None
    last.register_forward_pre_hook(lambda _, inputs: (torch.zeros_like(inputs[0]),))
    with torch.no_grad():
        y = net(x)
    base = {"srresnet": twins.bilinear(x, config.scale), "compact": twins.enlarge(x, config.scale), "swinir": twins.rgb_mean(x)}
    step = config.scale if len(last.bias) > 3 else 1
    bias = last.bias.detach().view(1, -1, 1, 1).expand(1, -1, y.shape[2] // step, y.shape[3] // step)
    torch.testing.assert_close(y, base.get(config.name, torch.zeros_like(y)) + twins.shuffle(bias, step))


def test_sites_by_name():
    """The places of the papers in the published sizes."""
    srresnet, rrdbnet = (networks.create(config).sites for config in (SRResNetConfig(channels=2), RRDBNetConfig(channels=2, growth=1)))
    assert srresnet["block16"] == (Site("body.15", "output"),)
    assert srresnet["last"] == rrdbnet["last"] == (Site("conv_last", "input"),)
    assert srresnet["half-part"] == tuple(Site(f"body.{i}.conv1", "output") for i in range(8, 16))
    assert srresnet["quarter-part"] == tuple(Site(f"body.{i}.conv1", "output") for i in range(12, 16))
    assert srresnet["quarter-part-conv2"] == tuple(Site(f"body.{i}.conv2", "output") for i in range(12, 16))
    assert len(srresnet["adaptive"]) == 17
    assert rrdbnet["block23"] == (Site("body.22", "output"),)
    assert rrdbnet["all-part-conv2"] == tuple(Site(f"body.{i}.rdb3.conv5", "output") for i in range(23))


# ------------------------------------------------------------------------------------------------------------------------- radius


def reach(net: nn.Module, scale: int, side: int) -> int:
    """The largest distance in LR pixels from which an output pixel near the middle of a picture is influenced.

    Weights and picture are positive, so that no influence cancels or is cut off."""
    torch.manual_seed(0)
    for parameter in net.parameters():
        nn.init.uniform_(parameter, 0.01, 0.1)
    farthest = 0
    for centre in (side // 2, side // 2 + 1):
        x = picture(side, side, 1).requires_grad_()
        net(x)[..., centre * scale : (centre + 1) * scale, centre * scale : (centre + 1) * scale].sum().backward()
        assert x.grad is not None
        rows, columns = torch.nonzero(x.grad[0].sum(0), as_tuple=True)
        farthest = max(farthest, *((rows - centre).abs().max().item(), (columns - centre).abs().max().item()))
    return int(farthest)


@pytest.mark.parametrize(
    ("config", "radius"),
    [
        *((SRResNetConfig(channels=3, blocks=blocks, scale=scale), 2 * blocks + 3) for blocks in (1, 4) for scale in (2, 3, 4)),
        *((CompactConfig(channels=3, blocks=blocks, scale=scale), blocks + 2) for blocks in (1, 4) for scale in (2, 3, 4)),
        (RRDBNetConfig(channels=3, blocks=1, growth=2, scale=4), 19),
        (RRDBNetConfig(channels=3, blocks=1, growth=2, scale=2), 38),
    ],
)
def test_radius_is_how_far_an_influence_reaches(config, radius):
    net = networks.create(config).double()
    assert net.radius == radius
    assert reach(net, config.scale, 2 * radius + 8) == radius


@pytest.mark.parametrize("name", ["srresnet-1", "compact-x3", "rrdbnet-x4", "rrdbnet-x2"])
def test_a_tile_with_the_radius_around_it_gives_what_the_whole_picture_gives(name):
    config = SMALL[name].model_copy(update={"blocks": 1})
    net, scale = randomised(config), config.scale
    assert net.radius is not None
    # At an even place, as tiles begin: RRDBNet at ×2 works in cells of 2×2 pixels.
    start, end = net.radius + 2 + net.radius % 2, net.radius + 10
    x = picture(end + net.radius + 4, 12, 1)
    with torch.no_grad():
        whole, tile = net(x), net(x[..., start - net.radius : end + net.radius, :])
    margin = net.radius * scale
    torch.testing.assert_close(tile[..., margin:-margin, :], whole[..., start * scale : end * scale, :])


def test_published_radii():
    assert networks.create(SRResNetConfig(channels=2)).radius == 35
    assert networks.create(RRDBNetConfig(channels=2, growth=1)).radius == 349


@pytest.mark.parametrize("name", ["rcan-x2", "swinir-real-x2"])
def test_networks_without_a_radius_reach_across_the_picture(name):
    net = randomised(SMALL[name])
    assert net.radius is None
    x = picture(20, 20, 1).requires_grad_()
    net(x)[..., 20, 20].sum().backward()
    assert x.grad is not None
    # RCAN's channel attention averages over the whole picture; SwinIR's windows of 4 hand on what they see by shifting.
    assert (x.grad[0, :, 0, 0] if name.startswith("rcan") else x.grad[0, :, 10 - 7, 10]).abs().max() > 0


# ----------------------------------------------------------------------------------------------------------------- initialisation


def is_scaled(module: nn.Conv2d) -> bool:
    """Whether a convolution has a tenth of Kaiming's normal initialisation, and no bias."""
    assert module.bias is not None
    fan_in = module.weight[0].numel()
    return not module.bias.any() and module.weight.std().item() == pytest.approx(0.1 * (2 / fan_in) ** 0.5, rel=0.15)


def is_default(module: nn.Conv2d) -> bool:
    """Whether a convolution has PyTorch's initialisation: weights and biases uniform up to 1 / sqrt(fan in)."""
    assert module.bias is not None
    bound = module.weight[0].numel() ** -0.5
    within = module.weight.abs().max() <= bound and module.bias.abs().max() <= bound
    return bool(within and module.bias.any()) and module.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.15)


def convolutions(config: networks.Config) -> dict[str, nn.Conv2d]:
    torch.manual_seed(0)
    return {name: module for name, module in networks.create(config).named_modules() if isinstance(module, nn.Conv2d)}


@pytest.mark.parametrize("upconv1", ["default", "scaled"])
@pytest.mark.parametrize("block", ["default", "scaled"])
def test_srresnet_initialisation_is_a_tenth_of_kaimings_and_has_two_switches(upconv1, block):
    found = convolutions(SRResNetConfig(blocks=2, upconv1_init=upconv1, block_init=block))
    assert len(found) == 9
    for name, module in found.items():
        default = (name == "upconv1" and upconv1 == "default") or (name.startswith("body.") and block == "default")
        assert (is_default if default else is_scaled)(module), name


def test_srresnet_switches_stand_as_in_the_published_models():
    assert SRResNetConfig() == SRResNetConfig(upconv1_init="default", block_init="scaled")


def test_rrdbnet_scales_its_dense_blocks_alone():
    for name, module in convolutions(RRDBNetConfig(blocks=1)).items():
        assert (is_scaled if "rdb" in name else is_default)(module), name


@pytest.mark.parametrize("config", [CompactConfig(blocks=2), RCANConfig(groups=1, blocks=1), SwinIRConfig(depths=(1,), heads=(6,))])
def test_other_networks_have_pytorchs_initialisation(config):
    for name, module in convolutions(config).items():
        assert is_default(module), name
    for module in networks.create(config).modules():
        if isinstance(module, nn.PReLU):
            assert (module.weight == 0.25).all()


def test_swinir_initialises_as_swin_transformers_do():
    torch.manual_seed(0)
    net = networks.create(SwinIRConfig(depths=(2,), heads=(6,)))
    for module in net.modules():
        if isinstance(module, nn.Linear):
            assert module.weight.std().item() == pytest.approx(0.02, rel=0.05)
            assert not module.bias.any()
        if isinstance(module, nn.LayerNorm):
            assert (module.weight == 1).all()
            assert not module.bias.any()
    tables = [tensor for name, tensor in net.state_dict().items() if name.endswith("relative_position_bias_table")]
    assert len(tables) == 2
    assert torch.cat(tables).std().item() == pytest.approx(0.02, rel=0.05)


def test_fresh_srresnet_is_nearly_bilinear_and_with_a_zero_last_convolution_exactly():
    torch.manual_seed(0)
    x = torch.rand(1, 3, 24, 24)
    bilinear = F.interpolate(x, scale_factor=4, mode="bilinear", align_corners=False)
    for config, bound in ((SRResNetConfig(), 5e-4), (SRResNetConfig(upconv1_init="scaled"), 2e-4)):
        net = SRResNet(config)
        assert 0 < (net(x) - bilinear).abs().max().item() < bound
    nn.init.zeros_(net.conv_last.weight)
    assert torch.equal(net(x), bilinear)


# -------------------------------------------------------------------------------------------------------------------- recognition


@pytest.mark.parametrize("name", SMALL)
def test_weights_say_their_config(name):
    weights = networks.create(SMALL[name]).state_dict()
    found = networks.recognise(weights)
    assert found is not None
    config, same = found
    assert config == SMALL[name]
    assert list(same) == list(weights)
    assert all(same[key] is weights[key] for key in weights)


@pytest.mark.parametrize("config", [config for config, *_ in PUBLISHED])
def test_published_sizes_are_recognised(config):
    with torch.device("meta"):
        found = networks.recognise(networks.create(config).state_dict())
    assert found is not None
    assert found[0] == config


@pytest.mark.parametrize(
    "config",
    [
        SwinIRConfig(embed_dim=4, depths=(1, 2), heads=(1, 1), window=2, img_size=6),
        SwinIRConfig(embed_dim=4, depths=(2, 2), heads=(1, 1), window=4, img_size=4),
        SwinIRConfig(embed_dim=180, depths=(2,), heads=(6,), mlp_ratio=1.03),
        RRDBNetConfig(channels=4, blocks=1, growth=1, scale=2),
        CompactConfig(channels=1, blocks=1, scale=3),
        RCANConfig(channels=4, groups=1, blocks=1, reduction=16, scale=2),
    ],
)
def test_whatever_is_recognised_loads(config):
    """Where a config is not unique, that which is found takes the weights and gives the same result."""
    net, x = randomised(config), picture(2 * 4, 4, 1)
    found = networks.recognise(net.state_dict())
    assert found is not None
    assert networks.shapes(found[0]) == networks.shapes(config)
    other = networks.create(found[0]).double().eval()
    other.load_state_dict(found[1])
    with torch.no_grad():
        assert torch.equal(other(x), net(x))


@pytest.mark.parametrize("name", SMALL)
def test_weights_that_lack_a_key_raise_nothing_and_are_no_other_networks(name):
    weights = networks.create(SMALL[name]).state_dict()
    for key in weights:
        found = networks.recognise({other: tensor for other, tensor in weights.items() if other != key})
        assert found is None or found[0].name == SMALL[name].name


def test_other_weights_are_not_recognised():
    tensor = torch.zeros
    assert networks.recognise({}) is None
    assert networks.recognise({"something.weight": tensor(3, 3)}) is None
    assert networks.recognise({"conv_first.weight": tensor(4, 3, 3, 3), "body.0.weight": tensor(4, 4, 3, 3)}) is None
    for odd in (5, 1):  # ×5 and ×1
        compact = networks.create(CompactConfig(channels=2, blocks=1)).state_dict()
        assert networks.recognise({**compact, "body.4.weight": tensor(3 * odd**2, 2, 3, 3)}) is None
    srresnet = networks.create(SRResNetConfig(channels=2, blocks=1)).state_dict()
    for key in ("conv_first", "upconv1", "conv_hr", "conv_last"):
        assert networks.recognise({name: value for name, value in srresnet.items() if name != f"{key}.weight"}) is None


def old_srresnet(key: str) -> str:
    return re.sub(r"^conv_hr\.", "HRconv.", re.sub(r"^body\.", "recon_trunk.", key))


def grouped_srresnet(key: str) -> str:
    return re.sub(r"^recon_trunk\.(\d+)", lambda m: f"recon_trunk{int(m[1]) // 4 + 1}.{int(m[1]) % 4}", old_srresnet(key))


def details(key: str) -> str:
    return re.sub(r"^body\.(\d+)", lambda m: f"body{int(m[1]) + 1}.0", key)


def old_esrgan(key: str) -> str:
    names = {"body": "RRDB_trunk", "conv_body": "trunk_conv", "conv_up1": "upconv1", "conv_up2": "upconv2", "conv_hr": "HRconv"}
    head, rest = key.split(".", 1)
    return f"{names.get(head, head)}.{rest.replace('rdb', 'RDB')}"


@pytest.mark.parametrize(
    ("config", "rename", "example"),
    [
        (SRResNetConfig(channels=3, blocks=12), details, "body12.0.conv2.bias"),
        (SRResNetConfig(channels=3, blocks=3, scale=3), details, "body1.0.conv1.weight"),
        (SRResNetConfig(channels=3, blocks=16), old_srresnet, "recon_trunk.15.conv2.weight"),
        (SRResNetConfig(channels=3, blocks=16, scale=2), grouped_srresnet, "recon_trunk4.3.conv1.weight"),
        (RRDBNetConfig(channels=3, blocks=12, growth=2), old_esrgan, "RRDB_trunk.11.RDB3.conv5.weight"),
        (RRDBNetConfig(channels=3, blocks=2, growth=2, scale=2), old_esrgan, "trunk_conv.bias"),
    ],
)
def test_other_projects_layouts_are_read(config, rename, example):
    net = randomised(config)
    weights = net.state_dict()
    foreign = {rename(key): tensor for key, tensor in weights.items()}
    assert example in foreign
    assert len(foreign) == len(weights)
    found = networks.recognise(foreign)
    assert found is not None
    assert found[0] == config
    other = randomised(config, 5)
    other.load_state_dict(found[1])
    x = picture(8, 8)
    with torch.no_grad():
        assert torch.equal(net(x), other(x))


def test_details_keys_are_a_bijection():
    weights = SRResNet(SRResNetConfig(channels=4, blocks=12)).state_dict()
    renamed = SRResNet.to_details_keys(weights)
    assert list(renamed) == [details(key) for key in weights]
    assert list(SRResNet.translate(renamed)) == list(weights)
    assert renamed["body12.0.conv1.weight"] is weights["body.11.conv1.weight"]


# --------------------------------------------------------------------------------------------------------------- names and configs


@pytest.mark.parametrize("name", SMALL)
def test_configs_survive_files(name):
    config = SMALL[name]
    values = config.model_dump(mode="json")
    assert values["name"] == config.name
    assert networks.config_from(values) == config
    assert type(networks.create(config)) is networks.NETWORKS[config.name][1]
    assert networks.create(config).config == config


def test_descriptions():
    assert networks.describe(SRResNetConfig()) == "srresnet ×4 (64 channels, 16 blocks)"
    for config, words in [
        (RRDBNetConfig(scale=2), ["rrdbnet ×2", "64", "23", "32"]),
        (SwinIRConfig(), ["swinir ×4", "nearest+conv", "180"]),
        (CompactConfig(blocks=32), ["compact ×4", "64", "32"]),
        (RCANConfig(scale=3), ["rcan ×3", "64", "10", "20"]),
    ]:
        assert all(word in networks.describe(config) for word in words)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "srresnett"}, "did you mean 'srresnet'"),
        ({"name": "srresnet", "chanels": 3}, "did you mean 'channels'"),
        ({"name": "srresnet", "scale": 5}, "scale = 5"),
        ({"name": "rrdbnet", "scale": 3}, "scale = 3"),
        ({"name": "swinir", "upsampler": "nearest+conv", "scale": 3}, "pixelshuffle"),
        ({"name": "swinir", "embed_dim": 20, "depths": [2], "heads": [6]}, "embed_dim = 20"),
        ({"name": "swinir", "depths": [2, 2], "heads": [6]}, "heads = "),
        ({"name": "swinir", "img_size": 50}, "img_size = 50"),
        ({"name": "swinir", "drop_path": 1.0}, "drop_path = 1.0"),
    ],
)
def test_what_cannot_be_is_refused_with_the_value_or_what_was_meant(values, message):
    with pytest.raises(UserError, match=re.escape(message)):
        networks.config_from(values)


def test_unknown_devices_say_what_was_meant():
    with pytest.raises(UserError, match="unknown device 'cudaa': did you mean 'cuda'"):
        devices.pick("cudaa")
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="'cuda' is not available here: there is cpu"):
            devices.pick("cuda")
