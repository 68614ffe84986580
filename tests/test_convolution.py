"""The convolution with a backward of its own: the gradients are PyTorch's, and it is used where it should be."""

import pytest
import torch
import torch.nn.functional as F

from wildsr.networks import RRDBNet, RRDBNetConfig, SRResNet, SRResNetConfig, convolution
from wildsr.networks.convolution import Conv3x3, training_layout


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    """Small convolutions go this way, too."""
    monkeypatch.setattr(convolution, "_CHANNELS", 16)


def last(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("strip", [1, 40_000, 3_000_000])
@pytest.mark.parametrize(
    ("inputs", "outputs", "height", "width"), [(16, 24, 40, 33), (3, 5, 1, 1), (8, 3, 1, 20), (4, 4, 9, 1), (5, 7, 2, 2)]
)
def test_the_gradient_of_the_weights_is_pytorch_s(monkeypatch, strip, inputs, outputs, height, width):
    monkeypatch.setattr(convolution, "_BYTES", strip)
    generator = torch.Generator().manual_seed(0)
    x = last(torch.randn(3, inputs, height, width, generator=generator, dtype=torch.float64))
    gradient = last(torch.randn(3, outputs, height, width, generator=generator, dtype=torch.float64))
    weight = torch.zeros(outputs, inputs, 3, 3, dtype=torch.float64, requires_grad=True)
    F.conv2d(x, weight, padding=1).backward(gradient)
    torch.testing.assert_close(convolution.weight_gradient(x, gradient), weight.grad)


def gradients(module: torch.nn.Module, x: torch.Tensor, ours: bool, monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    monkeypatch.setattr(convolution, "_SLOW", ours)
    module.zero_grad()
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    out = module(x)
    out.square().mean().backward()
    return [out.detach(), x.grad, *(parameter.grad.clone() for parameter in module.parameters())]


def test_a_convolution_s_output_and_gradients_are_the_same_either_way(monkeypatch):
    torch.manual_seed(0)
    convolution_, x = Conv3x3(16, 20).to(memory_format=torch.channels_last), last(torch.randn(2, 16, 40, 36))
    for one, other in zip(*(gradients(convolution_, x, ours, monkeypatch) for ours in (True, False)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_a_network_s_gradients_are_the_same_either_way(monkeypatch):
    torch.manual_seed(0)
    net, x = SRResNet(SRResNetConfig(channels=16, blocks=2)).to(memory_format=torch.channels_last), last(torch.rand(2, 3, 32, 32))
    calls = []
    ours = convolution.weight_gradient
    monkeypatch.setattr(convolution, "weight_gradient", lambda *given: calls.append(1) or ours(*given))
    for one, other in zip(*(gradients(net, x, ours, monkeypatch) for ours in (True, False)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-7)
    assert len(calls) == 8, "all but the first convolution, of three channels"


def test_what_needs_no_gradient_gets_none(monkeypatch):
    monkeypatch.setattr(convolution, "_SLOW", True)
    module, x = Conv3x3(16, 16).to(memory_format=torch.channels_last), last(torch.rand(1, 16, 32, 32))
    module.weight.requires_grad_(False)
    module(x).sum().backward()
    assert module.weight.grad is None
    torch.testing.assert_close(module.bias.grad, torch.full((16,), 1024.0))


@pytest.mark.parametrize(
    ("x", "there"),
    [
        (last(torch.zeros(1, 16, 32, 32)), True),
        (last(torch.zeros(1, 16, 16, 32)), False),
        (last(torch.zeros(1, 8, 32, 32)), False),
        (torch.zeros(1, 16, 32, 32), False),
        (last(torch.zeros(1, 16, 32, 32, dtype=torch.bfloat16)), False),
        (torch.zeros(1, 16, 32, 32, device="meta"), False),
    ],
)
def test_it_is_for_large_maps_in_float32_with_channels_last(x, there):
    weight = torch.zeros(16, 16, 3, 3)
    assert convolution.suits(x, weight) == there
    with torch.autocast("cpu", torch.bfloat16):
        assert not convolution.suits(x, weight)


def test_in_eval_mode_it_is_a_plain_convolution(monkeypatch):
    monkeypatch.setattr(convolution, "_SLOW", True)
    module, x = Conv3x3(16, 16).to(memory_format=torch.channels_last), last(torch.rand(1, 16, 32, 32))
    assert "Convolution" in module(x).grad_fn.name()
    assert module(x).grad_fn.name() != module.eval()(x).grad_fn.name() == "ConvolutionBackward0"


@pytest.mark.parametrize(
    ("net", "middling"),
    [
        *((SRResNet(SRResNetConfig(channels=channels, blocks=1)), 32 <= channels < 64) for channels in (16, 31, 32, 48, 63, 64)),
        (RRDBNet(RRDBNetConfig(channels=32, growth=16, blocks=1)), True),  # its last dense convolution goes from 96 to 32
        (torch.nn.Conv2d(32, 32, 3), False),
    ],
)
def test_networks_of_middling_width_train_in_pytorch_s_layout_where_that_is_faster(monkeypatch, net, middling):
    for slow, place in ((True, "cpu"), (True, "cuda"), (False, "cpu"), (False, "cuda")):
        monkeypatch.setattr(convolution, "_SLOW", slow)
        expected = torch.contiguous_format if slow and place == "cpu" and middling else torch.channels_last
        assert training_layout(net, torch.device(place)) == expected
