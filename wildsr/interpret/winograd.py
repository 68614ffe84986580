"""Convolutions of any network on a CPU, faster than by PyTorch's defaults, where only results are wanted.

With AVX-512, PyTorch's own convolutions are hard to beat in the memory format channels last, but for those to many channels (before a
pixel shuffle), by Winograd's algorithm, and those to colours. Without, NNPACK's Winograd operator halves the time of all of 3×3 taps."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.overrides import TorchFunctionMode

_CHANNELS = 32
"""Input channels below which none of this pays."""

_COLOURS = 4
"""Output channels up to which a convolution is one to colours."""

_TILES = 64
"""Tiles of 4×4 pixels that are worked on at once, so that they stay in the processor's cache."""

# F(4×4, 3×3) of Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (CVPR 2016), at the points 0, ±1, ±2 and infinity:
# for tiles of the input, for the taps, and back to tiles of the output.
_INPUT = [[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0], [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1]]
_TAPS = [[1 / 4, 0, 0], [-1 / 6, -1 / 6, -1 / 6], [-1 / 6, 1 / 6, -1 / 6], [1 / 24, 1 / 12, 1 / 6], [1 / 24, -1 / 12, 1 / 6], [0, 0, 1]]
_OUTPUT = [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]


def by_nnpack(tensor: Tensor) -> bool:
    """Whether NNPACK's Winograd operator is the faster one for a network on this tensor's device: on CPUs without AVX-512."""
    return _plain(tensor) and torch.backends.cpu.get_cpu_capability() == "AVX2" and torch.backends.nnpack.is_available()


def laid_out(tensor: Tensor) -> Tensor:
    """A picture or feature (B, C, h, w) in the memory format that is the faster one here."""
    return tensor.contiguous(memory_format=torch.channels_last) if _plain(tensor) and not by_nnpack(tensor) else tensor.contiguous()


def planes(tensor: Tensor) -> Tensor:
    """A picture or feature (1, C, h, w) in PyTorch's usual memory format; from channels last in a quarter of the time."""
    if tensor.is_contiguous() or not tensor.is_contiguous(memory_format=torch.channels_last):
        return tensor.contiguous()
    return tensor[0].permute(1, 2, 0).flatten(0, 1).t().contiguous().view(tensor.shape)


def quick(tensor: Tensor) -> AbstractContextManager[Any]:
    """Around forwards of a network whose weights stay as they are: convolutions go the faster way where no gradients are asked for.
    Results differ by rounding. May be entered again and again."""
    return Quick(nnpack=by_nnpack(tensor)) if _plain(tensor) else nullcontext()


def _plain(tensor: Tensor) -> bool:
    return tensor.device.type == "cpu" and tensor.dtype == torch.float32


class Quick(TorchFunctionMode):
    """Convolutions of 3×3 taps that keep the size, from 32 channels and more, in float32 on a CPU and without gradients: by NNPACK; or
    only those to twice as many channels, by tiles. Always those to colours. All others as ever."""

    def __init__(self, *, nnpack: bool) -> None:
        super().__init__()
        self._nnpack = nnpack
        self._taps: dict[int, tuple[Tensor, Tensor]] = {}

    def __torch_function__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        if func is torch.conv2d and (found := self._convolve(*args, **(kwargs or {}))) is not None:
            return found
        return func(*args, **(kwargs or {}))

    def _convolve(
        self,
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Tensor | None:
        suited = weight.shape[-2:] == (3, 3) and _pair(stride) == (1, 1) and _pair(dilation) == (1, 1) and groups == 1
        keeps = padding == "same" or (padding != "valid" and _pair(padding) == (1, 1))
        if not (suited and keeps and input.ndim == 4 and _plain(input) and _plain(weight)) or torch.is_grad_enabled():
            return None
        outputs, inputs = weight.shape[:2]
        if inputs < _CHANNELS:
            return None
        if outputs <= _COLOURS:
            return _each(input, lambda one: to_colours(one, weight, bias))
        if self._nnpack and outputs >= _CHANNELS:
            own = weight.contiguous()
            return _each(input, lambda one: torch.ops.aten._nnpack_spatial_convolution(one.contiguous(), own, bias, (1, 1), (1, 1)))
        if not self._nnpack and outputs >= 2 * inputs and input.is_contiguous(memory_format=torch.channels_last):
            if id(weight) not in self._taps:
                self._taps[id(weight)] = weight, taps_of(weight)  # with the weight, which keeps its name from being given anew
            return _each(input, lambda one: by_tiles(one, self._taps[id(weight)][1], bias))
        return None


def _each(pictures: Tensor, function: Any) -> Tensor:
    parts = [function(one) for one in pictures.split(1)]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _pair(value: Any) -> Any:
    return (value, value) if isinstance(value, int) else tuple(value)


def to_colours(x: Float[Tensor, "1 c h w"], weight: Float[Tensor, "d c 3 3"], bias: Tensor | None) -> Float[Tensor, "1 d h w"]:
    """A convolution to few channels, zeros around: one product for all nine taps, each of which is then added where it belongs."""
    height, width, outputs = x.shape[2], x.shape[3], weight.shape[0]
    taps = (weight.permute(2, 3, 0, 1).flatten(0, 2) @ x[0].flatten(1)).view(3, 3, outputs, height, width)
    out = taps[1, 1].clone() if bias is None else taps[1, 1] + bias.view(-1, 1, 1)
    for row in range(3):
        for column in range(3):
            if (row, column) != (1, 1):
                (there, here), (right, left) = _overlap(row - 1, height), _overlap(column - 1, width)
                out[:, here, left] += taps[row, column, :, there, right]
    return out.unsqueeze(0)


def _overlap(step: int, side: int) -> tuple[slice, slice]:
    """Where pixels of one side that have a neighbour `step` farther have it, and where they are themselves."""
    return slice(max(0, step), side + min(0, step)), slice(max(0, -step), side - max(0, step))


def taps_of(weight: Float[Tensor, "d c 3 3"]) -> Float[Tensor, "36 c d"]:
    """The taps of a convolution as `by_tiles` takes them."""
    rows = torch.tensor(_TAPS, dtype=torch.float64)
    return torch.einsum("ia,jb,dcab->ijcd", rows, rows, weight.double()).flatten(0, 1).to(weight.dtype).contiguous()


def by_tiles(x: Float[Tensor, "1 c h w"], taps: Float[Tensor, "36 c d"], bias: Tensor | None) -> Float[Tensor, "1 d h w"]:
    """A 3×3 convolution, zeros around, by Winograd's algorithm in tiles of 4×4 pixels: a quarter of the multiplications, as 36 products
    over all channels. Memory is channels last. A tile's error is of the order of 1e-5 of its values."""
    height, width = x.shape[2:]
    pixels, outputs = x[0].permute(1, 2, 0), taps.shape[2]
    down, across = -(-height // 4), -(-width // 4)
    forth, back = (torch.kron(m, m) for m in (torch.tensor(_INPUT, dtype=x.dtype), torch.tensor(_OUTPUT, dtype=x.dtype)))
    out = x.new_empty(1, 4 * down, 4 * across, outputs)
    rows = max(1, _TILES // across)
    for row in range(0, down, rows):
        count = min(rows, down - row)
        top, bottom = 4 * row - 1, 4 * (row + count) + 1
        strip = F.pad(pixels[max(0, top) : bottom], (0, 0, 1, 4 * across - width + 1, max(0, -top), max(0, bottom - height)))
        tiles = strip.unfold(0, 6, 4).unfold(1, 6, 4).permute(0, 1, 3, 4, 2).reshape(count * across, 36, -1)
        products = torch.bmm(torch.matmul(forth, tiles).transpose(0, 1), taps)
        made = torch.matmul(back, products.transpose(0, 1)).view(count, across, 4, 4, outputs).transpose(1, 2)
        place = out[0, 4 * row : 4 * (row + count)].view(count, 4, across, 4, outputs)
        place.copy_(made) if bias is None else torch.add(made, bias, out=place)
    return out[:, :height, :width].permute(0, 3, 1, 2)
