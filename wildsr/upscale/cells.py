"""SRResNet on a CPU, layer by layer.

Three things are gained over calling the network: 3×3 convolutions by Winograd's algorithm, with a fifth of the multiplications; features
in cells that stay in the cache and whose memory is used again, for fresh memory costs as much as the arithmetic; and an overlap as wide as
the next layer needs, not the whole network. A test holds this to the network's own forward."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from wildsr import devices
from wildsr.networks import SRResNet
from wildsr.networks.srresnet import ResidualBlock
from wildsr.upscale.box import Box

_CELL = 192
"""Side in LR pixels of what goes through one residual block at once."""

_LAST_CELL = 48
"""Side in LR pixels of what goes through the upsampling layers at once, where there are 16 times as many pixels."""

_NARROW = 32
"""Channels below which Winograd's algorithm, and so this way, does not pay."""


def in_layers(network: nn.Module) -> bool:
    """Whether a network is computed layer by layer: SRResNet of 32 channels or more, in float32 on a CPU, where PyTorch comes with NNPACK.

    A network with hooks is called as it is, so that they see what they expect."""
    if type(network) is not SRResNet or network.training or network.config.channels < _NARROW:
        return False
    if any(module._forward_hooks or module._forward_pre_hooks for module in network.modules()):
        return False
    weight = network.conv_first.weight
    return weight.device.type == "cpu" and weight.dtype == torch.float32 and torch.backends.nnpack.is_available()


def channels_last_pays(device: torch.device) -> bool:
    """Whether convolutions in float32 are faster with the channels of a pixel side by side: on a CPU with AVX-512, 1.1 to 1.4 times."""
    return device.type == "cpu" and torch.backends.cpu.get_cpu_capability().startswith("AVX512")


def whole_is_quicker(lr: Tensor) -> bool:
    """Whether a picture (…, h, w) goes through faster as a whole, channels last: a small one, where that pays, for there PyTorch's own
    convolutions took 15 to 31 % less time than Winograd's algorithm. A large one would take too much memory."""
    return channels_last_pays(lr.device) and lr.shape[-2] * lr.shape[-1] <= _SMALL


_SMALL = 2**16
"""LR pixels that go through at once: a layer's features take 0.27 GB (64 channels, ×4)."""


def layer_by_layer(net: nn.Module, lr: Tensor, window: Box, tile: Box, whole: Box) -> Iterator[tuple[Box, Tensor]]:
    """SR of a tile, cell by cell. `lr` covers `window`, the tile and its overlap within the whole picture."""
    assert isinstance(net, SRResNet)
    count = torch.get_num_threads()
    # A cell at least for each of them.
    side = max(16, round((lr.shape[-2] * lr.shape[-1] / count) ** 0.5))
    with _workers(count) as each:
        features = _features(net, lr, window, tile, whole, min(_CELL, side), each)

        def finish(cell: Box) -> tuple[Box, Tensor]:
            return cell, _finished(net, features, lr, window, cell, whole)

        yield from each(finish, tile.even_parts(min(_LAST_CELL, side)))


def _features(net: SRResNet, lr: Tensor, window: Box, tile: Box, whole: Box, side: int, each: "Each") -> Float[Tensor, "b c h w"]:
    """The last residual block's output over `window`, of which the tile and 2 pixels around it are right."""
    now = lr.new_empty((lr.shape[0], net.config.channels, *lr.shape[-2:]))
    then = torch.empty_like(now)

    def begin(cell: Box) -> None:
        near = cell.wider(1, whole)
        cell.cut(now, window).copy_(cell.cut(F.leaky_relu_(net.conv_first(near.cut(lr, window)), 0.1), near))

    # Each block needs 2 pixels more of the one before it.
    margin = 2 + 2 * len(net.body)
    for _ in each(begin, tile.wider(margin, whole).even_parts(side)):
        pass
    for block in net.body:
        assert isinstance(block, ResidualBlock)
        margin -= 2

        def go_through(cell: Box, block: ResidualBlock = block, now: Tensor = now, then: Tensor = then) -> None:
            near = cell.wider(2, whole)
            change = _winograd(F.relu_(_winograd(near.cut(now, window), block.conv1)), block.conv2)
            torch.add(cell.cut(now, window), cell.cut(change, near), out=cell.cut(then, window))

        for _ in each(go_through, tile.wider(margin, whole).even_parts(side)):
            pass
        now, then = then, now
    return now


def _finished(net: SRResNet, features: Tensor, lr: Tensor, window: Box, cell: Box, whole: Box) -> Float[Tensor, "b 3 sh sw"]:
    """SR of one cell, from the features around it."""
    near, scale = cell.wider(2, whole), net.config.scale
    base = F.interpolate(near.cut(lr, window), scale_factor=scale, mode="bilinear", align_corners=False)
    base = cell.times(scale).cut(base, near.times(scale))
    x, scale = near.cut(features, window), 1
    for convolution, r in [(net.upconv1, 2), (net.upconv2, 2)] if net.config.scale == 4 else [(net.upconv1, net.config.scale)]:
        # Of a margin of 2 pixels the convolution leaves 1, which the shuffle makes r.
        kept = cell.times(scale).wider(1, whole.times(scale))
        x = _shuffle(kept.cut(F.leaky_relu_(_winograd(x, convolution), 0.1), near), r)
        near, scale = kept.times(r), scale * r
    x = F.leaky_relu_(_winograd(x, net.conv_hr), 0.1)
    return cell.times(scale).cut(_to_colours(x, net.conv_last), near) + base


def _winograd(x: Float[Tensor, "b c h w"], convolution: nn.Conv2d) -> Float[Tensor, "b d h w"]:
    """A 3×3 convolution that keeps the size. NNPACK is at its best with one picture at a time."""
    if x.shape[0] > 1:
        return torch.cat([_winograd(one, convolution) for one in x.split(1)])
    return torch.ops.aten._nnpack_spatial_convolution(x, convolution.weight, convolution.bias, (1, 1), (1, 1))


def _shuffle(x: Float[Tensor, "b c h w"], r: int) -> Float[Tensor, "b d rh rw"]:
    """F.pixel_shuffle in half its time."""
    b, c, h, w = x.shape
    fine = x.unflatten(1, (c // r**2, r, r))
    out = x.new_empty((b, c // r**2, h, r, w, r))
    for row in range(r):
        for column in range(r):
            out[:, :, :, row, :, column] = fine[:, :, row, column]
    return out.view(b, c // r**2, h * r, w * r)


def _to_colours(x: Float[Tensor, "b c h w"], convolution: nn.Conv2d) -> Float[Tensor, "b 3 h w"]:
    """A 3×3 convolution to few channels in half its time: nine times as many channels, of one pixel each, summed where they belong."""
    weight, bias = convolution.weight, convolution.bias
    assert bias is not None
    taps = F.conv2d(x, weight.flip(2, 3).permute(0, 2, 3, 1).reshape(-1, weight.shape[1], 1, 1))
    return F.fold(taps.flatten(2), (x.shape[-2], x.shape[-1]), 3, padding=1) + bias.view(-1, 1, 1)


Each = Callable[[Callable[[Box], Any], Iterable[Box]], Iterator[Any]]
"""Calls a function for every box, in threads; yields what it returned, in the order of the boxes."""


@contextmanager
def _workers(count: int) -> Iterator[Each]:
    """Threads that compute cells, each by itself: they meet once a layer. NNPACK takes one thread for good at its first call in one."""

    @torch.inference_mode()
    def work(function: Callable[[Box], Any], box: Box) -> Any:
        return function(box)

    with devices.workers(count) as pool:

        def each(function: Callable[[Box], Any], boxes: Iterable[Box]) -> Iterator[Any]:
            ahead: deque[Future[Any]] = deque()
            for box in boxes:
                ahead.append(pool.submit(work, function, box))
                if len(ahead) > 2 * count:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()

        yield each
