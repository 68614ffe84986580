"""RCAN, residual channel attention."""

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from wildsr.config import Positive
from wildsr.networks.network import Config, Network, Shapes, Site, conv3, count, named, parts, shuffle


class RCANConfig(Config, frozen=True):
    """Residual groups of blocks with channel attention. The defaults are the paper's (15,592,355 parameters at ×4)."""

    name: Literal["rcan"] = "rcan"
    channels: Positive = 64
    groups: Positive = 10
    blocks: Positive = 20
    """Blocks of each group."""
    reduction: Positive = 16
    """The attention's bottleneck has channels // reduction channels."""

    @property
    def size(self) -> str:
        """The sizes in a phrase."""
        return f"{self.channels} channels, {self.groups} groups of {self.blocks} blocks"


class ChannelAttention(nn.Module):
    """Each channel times a factor in (0, 1) that its mean and those of the others decide: (B, C, h, w) -> (B, C, h, w)."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        narrow = max(1, channels // reduction)
        self.conv_du = nn.Sequential(nn.Conv2d(channels, narrow, 1), nn.ReLU(), nn.Conv2d(narrow, channels, 1), nn.Sigmoid())

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return x * self.conv_du(x.mean((2, 3), keepdim=True))


class AttentionBlock(nn.Module):
    """x + attention(conv(relu(conv(x)))): (B, C, h, w) -> (B, C, h, w)."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        self.body = nn.Sequential(conv3(channels, channels), nn.ReLU(), conv3(channels, channels), ChannelAttention(channels, reduction))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return x + self.body(x)


class ResidualGroup(nn.Module):
    """x + conv(blocks(x)): (B, C, h, w) -> (B, C, h, w)."""

    def __init__(self, channels: int, blocks: int, reduction: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*(AttentionBlock(channels, reduction) for _ in range(blocks)), conv3(channels, channels))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return x + self.body(x)


class RCAN(Network):
    """Very deep residual channel attention (Zhang et al. 2018), in the key layout of the authors' code, without their mean-shift layers:
    files hold none of those keys, which tells other programs that values lie in [0, 1].

    The attention averages over the whole picture, so that a tile's result never equals the whole picture's exactly."""

    def __init__(self, config: RCANConfig) -> None:
        super().__init__()
        self.config = config
        channels, r = config.channels, 3 if config.scale == 3 else 2
        self.head = nn.Sequential(conv3(3, channels))
        groups = (ResidualGroup(channels, config.blocks, config.reduction) for _ in range(config.groups))
        self.body = nn.Sequential(*groups, conv3(channels, channels))
        upsampler: list[nn.Module] = []
        for _ in range(2 if config.scale == 4 else 1):
            upsampler += [conv3(channels, channels * r**2), nn.PixelShuffle(r)]
        self.tail = nn.Sequential(nn.Sequential(*upsampler), conv3(channels, 3))

    @property
    def sites(self) -> dict[str, tuple[Site, ...]]:
        """first (output of head), block1 … blockN (the residual groups), last (input of tail.1), and the groups of parts: a residual
        group's first convolution is that of its first block, its last the one before its sum."""
        groups, last = [f"body.{i}" for i in range(self.config.groups)], Site("tail.1", "input")
        inside = [Site(f"{group}.body.0.body.0", "output") for group in groups]
        end = [Site(f"{group}.body.{self.config.blocks}", "output") for group in groups]
        return {"first": (Site("head", "output"),), **named(groups), "last": (last,), **parts(inside, end, last)}

    @property
    def radius(self) -> None:
        """The whole picture."""
        return None

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 sh sw"]:
        x = self.head(x)
        return self.tail(x + self.body(x))

    @staticmethod
    def recognise(shapes: Shapes) -> RCANConfig | None:
        """The config that fits keys and shapes, or None when they are another network's."""
        head, squeeze = shapes.get("head.0.weight", ()), shapes.get("body.0.body.0.body.3.conv_du.0.weight", ())
        up = shapes.get("tail.0.0.weight", ())
        # The authors' own files shift means and hold values up to 255: another function.
        if any(len(shape) != 4 for shape in (head, squeeze, up)) or "sub_mean.weight" in shapes:
            return None
        scale = 4 if "tail.0.2.weight" in shapes else shuffle(up[0], up[1])
        if not scale:
            return None
        groups, blocks = count(shapes, "body.", ".body.0.body.0.weight"), count(shapes, "body.0.body.", ".body.0.weight")
        return RCANConfig(channels=head[0], groups=groups, blocks=blocks, reduction=max(1, head[0] // squeeze[0]), scale=scale)
