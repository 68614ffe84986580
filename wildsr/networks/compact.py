"""SRVGGNetCompact, Real-ESRGAN's small network."""

from typing import Literal

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from wildsr.config import Positive
from wildsr.networks.network import Config, Network, Shapes, Site, conv3, indices, named, parts, shuffle


class CompactConfig(Config, frozen=True):
    """Convolutions with PReLU, all at low resolution. The defaults are realesr-animevideo's (621,424 parameters at ×4)."""

    name: Literal["compact"] = "compact"
    channels: Positive = 64
    blocks: Positive = 16

    @property
    def size(self) -> str:
        """The sizes in a phrase."""
        return f"{self.channels} channels, {self.blocks} blocks"


class SRVGGNetCompact(Network):
    """Real-ESRGAN's compact network (BasicSR's SRVGGNetCompact with PReLU), in its key layout: body.0 … body.{2N+2}.

    The network adds detail to its input, enlarged without smoothing. It has no residual blocks: a block is a convolution with its PReLU,
    and nothing convolves after the pixel shuffle, so that `last` lies at low resolution."""

    def __init__(self, config: CompactConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.channels
        layers: list[nn.Module] = [conv3(3, channels), nn.PReLU(channels)]
        for _ in range(config.blocks):
            layers += [conv3(channels, channels), nn.PReLU(channels)]
        self.body = nn.Sequential(*layers, conv3(channels, 3 * config.scale**2))

    @property
    def sites(self) -> dict[str, tuple[Site, ...]]:
        """first (after the first PReLU), block1 … blockN (after a PReLU), last, and the groups of parts (before a PReLU: with one
        convolution a block, both layouts are the same)."""
        last = Site(f"body.{2 * self.config.blocks + 2}", "input")
        inside = [Site(f"body.{2 * i}", "output") for i in range(1, self.config.blocks + 1)]
        blocks = named([f"body.{2 * i + 1}" for i in range(1, self.config.blocks + 1)])
        return {"first": (Site("body.1", "output"),), **blocks, "last": (last,), **parts(inside, inside, last)}

    @property
    def radius(self) -> int:
        """18 for 16 blocks."""
        return self.config.blocks + 2

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 sh sw"]:
        base = F.interpolate(x, scale_factor=self.config.scale, mode="nearest")
        return F.pixel_shuffle(self.body(x), self.config.scale) + base

    @staticmethod
    def recognise(shapes: Shapes) -> CompactConfig | None:
        """The config that fits keys and shapes, or None when they are another network's."""
        layers = indices(shapes, "body")
        first, last = shapes.get("body.0.weight", ()), shapes.get(f"body.{max(layers, default=0)}.weight", ())
        # Of a number that stands in one key alone, no network is made.
        if len(shapes.get("body.1.weight", ())) != 1 or len(first) != 4 or len(last) != 4 or max(layers) > 2 * len(layers):
            return None
        scale = shuffle(last[0], 3)
        blocks = (max(layers) - 2) // 2
        return CompactConfig(channels=first[0], blocks=blocks, scale=scale) if scale and blocks else None
