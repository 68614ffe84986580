"""RRDBNet, the network of ESRGAN and Real-ESRGAN."""

import re
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from wildsr.config import Positive
from wildsr.networks.network import Config, Network, Shapes, Site, Weights, conv3, count, initialise, named, pad_to_multiple, parts


class RRDBNetConfig(Config, frozen=True):
    """Residual-in-residual dense blocks. The defaults are ESRGAN's (16,697,987 parameters at ×4).

    At ×2 the picture is unshuffled to 12 channels of half the size first, as Real-ESRGAN's ×2 models do (odd sides are mirrored by a
    pixel); there is no ×3."""

    name: Literal["rrdbnet"] = "rrdbnet"
    scale: Literal[2, 4] = 4  # pyright: ignore[reportIncompatibleVariableOverride]  (frozen: nobody can set a 3)
    channels: Positive = 64
    blocks: Positive = 23
    growth: Positive = 32

    @property
    def size(self) -> str:
        """The sizes in a phrase."""
        return f"{self.channels} channels, {self.blocks} blocks, growth {self.growth}"


class ResidualDenseBlock(nn.Module):
    """Five densely connected convolutions, their result scaled by 0.2 and added: (B, C, h, w) -> (B, C, h, w)."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.conv1 = conv3(channels, growth)
        self.conv2 = conv3(channels + growth, growth)
        self.conv3 = conv3(channels + 2 * growth, growth)
        self.conv4 = conv3(channels + 3 * growth, growth)
        self.conv5 = conv3(channels + 4 * growth, channels)
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4, self.conv5):
            initialise(conv)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        x1 = F.leaky_relu(self.conv1(x), 0.2)
        x2 = F.leaky_relu(self.conv2(torch.cat((x, x1), 1)), 0.2)
        x3 = F.leaky_relu(self.conv3(torch.cat((x, x1, x2), 1)), 0.2)
        x4 = F.leaky_relu(self.conv4(torch.cat((x, x1, x2, x3), 1)), 0.2)
        return x + 0.2 * self.conv5(torch.cat((x, x1, x2, x3, x4), 1))


class RRDB(nn.Module):
    """Three dense blocks, their result scaled by 0.2 and added: (B, C, h, w) -> (B, C, h, w)."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.rdb1 = ResidualDenseBlock(channels, growth)
        self.rdb2 = ResidualDenseBlock(channels, growth)
        self.rdb3 = ResidualDenseBlock(channels, growth)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return x + 0.2 * self.rdb3(self.rdb2(self.rdb1(x)))


class RRDBNet(Network):
    """ESRGAN's generator (Wang et al. 2018), in BasicSR's key layout; its older names (RRDB_trunk, trunk_conv, HRconv;
    model.0, model.1.sub) are read too."""

    def __init__(self, config: RRDBNetConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.channels
        self.conv_first = conv3(3 * self._unshuffle**2, channels)
        self.body = nn.Sequential(*(RRDB(channels, config.growth) for _ in range(config.blocks)))
        self.conv_body = conv3(channels, channels)
        self.conv_up1 = conv3(channels, channels)
        self.conv_up2 = conv3(channels, channels)
        self.conv_hr = conv3(channels, channels)
        self.conv_last = conv3(channels, 3)

    @property
    def _unshuffle(self) -> int:
        return 4 // self.config.scale

    @property
    def sites(self) -> dict[str, tuple[Site, ...]]:
        """first (output of conv_first), block1 … blockN (the RRDBs), hr, last, and the groups of parts: a block's first and last
        convolution are rdb1.conv1 and rdb3.conv5."""
        blocks, last = [f"body.{i}" for i in range(self.config.blocks)], Site("conv_last", "input")
        inside, end = ([Site(f"{block}.{conv}", "output") for block in blocks] for conv in ("rdb1.conv1", "rdb3.conv5"))
        single = {"first": (Site("conv_first", "output"),), **named(blocks), "hr": (Site("conv_hr", "input"),), "last": (last,)}
        return {**single, **parts(inside, end, last)}

    @property
    def radius(self) -> int:
        """349 for 23 blocks at ×4."""
        # 15 a block, 1 each for conv_first and conv_body, 2 for what follows on finer grids; at ×2 counted in cells of 2×2 pixels.
        return self._unshuffle * (15 * self.config.blocks + 4)

    @property
    def grid(self) -> int:
        """Cells of 2×2 pixels at ×2."""
        return self._unshuffle

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 sh sw"]:
        h, w = x.shape[-2:]
        if self._unshuffle > 1:
            x = F.pixel_unshuffle(pad_to_multiple(x, self._unshuffle), self._unshuffle)
        first = self.conv_first(x)
        x = first + self.conv_body(self.body(first))
        x = F.leaky_relu(self.conv_up1(F.interpolate(x, scale_factor=2, mode="nearest")), 0.2)
        x = F.leaky_relu(self.conv_up2(F.interpolate(x, scale_factor=2, mode="nearest")), 0.2)
        x = self.conv_last(F.leaky_relu(self.conv_hr(x), 0.2))
        return x[..., : h * self.config.scale, : w * self.config.scale]

    @staticmethod
    def recognise(shapes: Shapes) -> RRDBNetConfig | None:
        """The config that fits keys and shapes, or None when they are another network's."""
        blocks = count(shapes, "body.", ".rdb1.conv1.weight")
        first, dense = shapes.get("conv_first.weight", ()), shapes.get("body.0.rdb1.conv1.weight", ())
        if not blocks or len(first) != 4 or len(dense) != 4 or first[1] not in (3, 12):
            return None
        return RRDBNetConfig(channels=first[0], blocks=blocks, growth=dense[0], scale=4 if first[1] == 3 else 2)

    @staticmethod
    def translate(weights: Weights) -> dict[str, Tensor]:
        """From the names of ESRGAN's two first layouts, RRDB_trunk and model.1.sub (that one at ×4)."""
        # ESRGAN+ is another network under the same names.
        if "model.10.weight" in weights and any(map(_BLOCKS.match, weights)) and not any(".conv1x1." in key for key in weights):
            return _from_sequence(weights)
        if not any(key.startswith("RRDB_trunk.") for key in weights):
            return dict(weights)
        names = {"trunk_conv": "conv_body", "upconv1": "conv_up1", "upconv2": "conv_up2", "HRconv": "conv_hr"}
        blocks = {re.sub(r"^RRDB_trunk\.(\d+)\.RDB(\d)\.", r"body.\1.rdb\2.", key): tensor for key, tensor in weights.items()}
        return {f"{names.get(head := key.split('.')[0], head)}{key[len(head) :]}": tensor for key, tensor in blocks.items()}


_BLOCKS = re.compile(r"^model\.1\.sub\.(\d+)\.RDB(\d)\.conv(\d)\.0\.")

_SEQUENCE = {"0": "conv_first", "3": "conv_up1", "6": "conv_up2", "8": "conv_hr", "10": "conv_last"}
"""Places in ESRGAN's first layout at ×4, an enlargement and a convolution twice."""


def _from_sequence(weights: Weights) -> dict[str, Tensor]:
    """model.0, model.1.sub.N.RDB1.conv1.0 … model.10. After the blocks, model.1.sub holds the convolution behind them."""
    after = max(int(m[1]) for m in map(_BLOCKS.match, weights) if m) + 1

    def ours(key: str) -> str:
        key = _BLOCKS.sub(r"body.\1.rdb\2.conv\3.", key).replace(f"model.1.sub.{after}.", "conv_body.")
        return re.sub(r"^model\.(\d+)\.(?=weight$|bias$)", lambda m: f"{_SEQUENCE.get(m[1], m[0].rstrip('.'))}.", key)

    return {ours(key): tensor for key, tensor in weights.items()}
