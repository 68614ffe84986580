"""A 3×3 convolution whose weights' gradient is as fast as its forward, also where PyTorch's own is several times slower; and the memory
layout in which a network of them trains fastest."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

_SLOW = torch.backends.cpu.get_cpu_capability() == "AVX2"
"""Whether PyTorch lacks a good kernel here: on CPUs without AVX-512, oneDNN's gradient of the weights, channels last, ran at a third of the
forward's speed for maps of 128×128."""

_CHANNELS = 64
"""Channels from which on this way was measured to be faster; with 16 and 24 it is slower."""

_MIDDLING = range(32, 64)
"""Channels, of the fewer in or out of a network's widest convolution, with which a training step is faster there in PyTorch's default
layout: 1.05 to 1.4 times (benchmarks/layouts.py). With fewer or more, channels last is as fast or faster."""

_BYTES = 3_000_000
"""How much of a map is worked on at once: what a processor's cache holds."""


def training_layout(net: nn.Module, place: torch.device) -> torch.memory_format:
    """How a network's weights and features are best laid out for training on a device: channels last, as a rule; as PyTorch does by
    default for networks of a middling width on CPUs without AVX-512."""
    widest = max((min(module.in_channels, module.out_channels) for module in net.modules() if isinstance(module, Conv3x3)), default=0)
    return torch.contiguous_format if _SLOW and place.type == "cpu" and widest in _MIDDLING else torch.channels_last


class Conv3x3(nn.Conv2d):
    """nn.Conv2d of 3×3 taps that keeps the size; the same function, parameters and keys. In training on a CPU in float32, its backward may
    go another way to the same gradients (to rounding)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1)

    def forward(self, input: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        ours = _SLOW and self.training and torch.is_grad_enabled() and not torch.compiler.is_compiling()
        if not ours or not suits(input, self.weight):
            return super().forward(input)
        return _Convolution.apply(input, self.weight, self.bias)  # pyright: ignore[reportReturnType]


def suits(x: Tensor, weight: Tensor) -> bool:
    """Whether weight_gradient is for this: float32 on a CPU, outside autocast, channels last, and maps so large that it pays."""
    plain = x.dtype == weight.dtype == torch.float32 and x.device.type == "cpu" and not torch.is_autocast_enabled("cpu")
    return plain and x.shape[1] >= _CHANNELS and x.shape[2] * x.shape[3] >= 1024 and x.is_contiguous(memory_format=torch.channels_last)


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return F.conv2d(x, weight, bias, padding=1)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grad_outputs: Tensor
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        gradient = grad_outputs[0].contiguous(memory_format=torch.channels_last)
        below = None
        if ctx.needs_input_grad[0]:
            # Through the same convolution with its taps turned round.
            turned = weight.flip(2, 3).transpose(0, 1).contiguous(memory_format=torch.channels_last)
            below = F.conv2d(gradient, turned, padding=1)
        of_weight = weight_gradient(x, gradient) if ctx.needs_input_grad[1] else None
        return below, of_weight, gradient.sum((0, 2, 3)) if ctx.needs_input_grad[2] else None


def weight_gradient(x: Float[Tensor, "b c h w"], gradient: Float[Tensor, "b d h w"]) -> Float[Tensor, "d c 3 3"]:
    """The gradient of a 3×3 convolution's weights from its input and that of its output, both channels last.

    Strip by strip, the input is laid out with its left and right neighbours side by side, so that each row of taps is one product."""
    x, gradient = x.permute(0, 2, 3, 1), gradient.permute(0, 2, 3, 1)
    count, height, width, inputs = x.shape
    rows = max(1, min(height, _BYTES // (12 * width * inputs)))
    result = x.new_zeros(3, gradient.shape[-1], 3 * inputs)
    strip = x.new_zeros(rows + 2, width, 3, inputs)
    for i in range(count):
        for top in range(0, height, rows):
            here = min(rows, height - top)
            first, last = max(top - 1, 0), min(top + here + 1, height)
            inner = strip[first - top + 1 : last - top + 1]
            strip[: first - top + 1], strip[last - top + 1 : here + 2] = 0, 0
            inner[:, 1:, 0], inner[:, :, 1], inner[:, :-1, 2] = x[i, first:last, :-1], x[i, first:last], x[i, first:last, 1:]
            beside, out = strip.view(-1, 3 * inputs), gradient[i, top : top + here].reshape(here * width, -1).T
            for tap in range(3):
                result[tap].addmm_(out, beside[tap * width : (tap + here) * width])
    return result.view(3, -1, 3, inputs).permute(1, 3, 0, 2)
