"""SRResNet against the published counts, keys and initialisation, and against a slow twin."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from wildsr import networks
from wildsr.errors import UserError
from wildsr.networks import SRResNet, SRResNetConfig


@pytest.mark.parametrize(("scale", "parameters"), [(2, 1_369_859), (3, 1_554_499), (4, 1_517_571)])
def test_parameter_counts_are_the_published_ones(scale, parameters):
    net = SRResNet(SRResNetConfig(scale=scale))
    assert sum(parameter.numel() for parameter in net.parameters()) == parameters
    assert scale != 4 or len(net.state_dict()) == 74


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_output_size(scale):
    net = SRResNet(SRResNetConfig(channels=4, blocks=1, scale=scale))
    assert net(torch.rand(2, 3, 5, 7)).shape == (2, 3, 5 * scale, 7 * scale)


def slow_srresnet(weights, x, blocks, scale):
    """The layer list of methods' A1, written out."""

    def conv(name, value):
        return F.conv2d(value, weights[f"{name}.weight"], weights[f"{name}.bias"], padding=1)

    def leaky(value):
        return torch.where(value > 0, value, 0.1 * value)

    features = leaky(conv("conv_first", x))
    for i in range(blocks):
        features = features + conv(f"body.{i}.conv2", conv(f"body.{i}.conv1", features).clamp_min(0))
    for name in ("upconv1", "upconv2") if scale == 4 else ("upconv1",):
        step = 2 if scale == 4 else scale
        value = conv(name, features)
        b, c, h, w = value.shape
        value = value.view(b, c // step**2, step, step, h, w).permute(0, 1, 4, 2, 5, 3).reshape(b, c // step**2, h * step, w * step)
        features = leaky(value)
    return conv("conv_last", leaky(conv("conv_hr", features))) + nn.Upsample(scale_factor=scale, mode="bilinear")(x)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_forward_equals_the_slow_twin(scale):
    torch.manual_seed(1)
    net = SRResNet(SRResNetConfig(channels=6, blocks=3, scale=scale))
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.2)
    x = torch.rand(2, 3, 9, 8)
    torch.testing.assert_close(net(x), slow_srresnet(dict(net.state_dict()), x, 3, scale))


def test_fresh_network_is_nearly_bilinear_and_with_a_zero_last_convolution_exactly():
    torch.manual_seed(0)
    x = torch.rand(1, 3, 24, 24)
    bilinear = F.interpolate(x, scale_factor=4, mode="bilinear", align_corners=False)
    for init, bound in (("default", 5e-4), ("scaled", 2e-4)):
        net = SRResNet(SRResNetConfig(upconv1_init=init))
        difference = (net(x) - bilinear).abs().max().item()
        assert 0 < difference < bound
    nn.init.zeros_(net.conv_last.weight)
    assert torch.equal(net(x), bilinear)


def test_initialisation_is_a_tenth_of_kaimings_and_upconv1_a_switch():
    torch.manual_seed(0)
    for init in ("default", "scaled"):
        net = SRResNet(SRResNetConfig(upconv1_init=init))
        for name, module in net.named_modules():
            if not isinstance(module, nn.Conv2d):
                continue
            fan_in = module.in_channels * 9
            if name == "upconv1" and init == "default":
                bound = 1 / fan_in**0.5
                assert module.weight.abs().max() <= bound
                assert module.bias.abs().max() > 0
            else:
                assert module.weight.std().item() == pytest.approx(0.1 * (2 / fan_in) ** 0.5, rel=0.15)
                assert not module.bias.any()


def test_key_layouts_are_a_bijection_with_equal_outputs():
    torch.manual_seed(0)
    net = SRResNet(SRResNetConfig(channels=4, blocks=12))
    plain = net.state_dict()
    details = networks.to_details_keys(plain)
    assert "body1.0.conv1.weight" in details
    assert "body12.0.conv2.bias" in details
    assert len(details) == len(plain)
    back = networks.to_plain_keys(details)
    assert list(back) == list(plain)
    other = SRResNet(net.config)
    other.load_state_dict(back)
    x = torch.rand(1, 3, 8, 8)
    assert torch.equal(net(x), other(x))


@pytest.mark.parametrize("config", [SRResNetConfig(channels=5, blocks=11, scale=scale) for scale in (2, 3, 4)])
def test_config_is_recognised_from_shapes(config):
    shapes = {name: tuple(tensor.shape) for name, tensor in SRResNet(config).state_dict().items()}
    assert networks.recognise(shapes) == config
    assert networks.recognise({"something.weight": (3, 3)}) is None
    del shapes["conv_hr.weight"]
    assert networks.recognise(shapes) is None


def test_unknown_names_say_what_was_meant():
    with pytest.raises(UserError, match="did you mean 'srresnet'"):
        networks.config_from({"name": "srresnett"})
    with pytest.raises(UserError, match="did you mean 'channels'"):
        networks.config_from({"name": "srresnet", "chanels": 3})
    with pytest.raises(UserError, match="unknown device 'cudaa': did you mean 'cuda'"):
        networks.pick_device("cudaa")
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="'cuda' is not available here: there is cpu"):
            networks.pick_device("cuda")
