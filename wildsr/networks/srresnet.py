"""SRResNet, the network of both papers."""

import re
from typing import Any, Literal

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from wildsr.config import Positive
from wildsr.networks.network import Config, Network, Shapes, Site, Weights, conv3, count, initialise, named, parts, shuffle


class SRResNetConfig(Config, frozen=True):
    """SRResNet without batch normalisation. The defaults are the papers' (1,517,571 parameters at ×4).

    upconv1_init: "default" leaves the first upsampling convolution at PyTorch's initialisation, as the published models do;
    "scaled" gives it the 0.1 × Kaiming initialisation of the others, as BasicSR's MSRResNet does.
    block_init: "scaled" for the residual blocks; "default" is PyTorch's, as in the code of Adaptive Dropout."""

    name: Literal["srresnet"] = "srresnet"
    channels: Positive = 64
    blocks: Positive = 16
    upconv1_init: Literal["default", "scaled"] = "default"
    block_init: Literal["scaled", "default"] = "scaled"

    @property
    def size(self) -> str:
        """The sizes in a phrase."""
        return f"{self.channels} channels, {self.blocks} blocks"


class ResidualBlock(nn.Module):
    """x + conv2(relu(conv1(x))): (B, C, h, w) -> (B, C, h, w)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = conv3(channels, channels)
        self.conv2 = conv3(channels, channels)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return x + self.conv2(F.relu(self.conv1(x)))


class SRResNet(Network):
    """The SRResNet of both papers (BasicSR's MSRResNet; Ledig et al. 2017 without batch normalisation).

    The network adds detail to a bilinear enlargement of its input. Keys are those of BasicSR's MSRResNet; the "details" layout of the
    published models and the older names (recon_trunk, HRconv) are read too."""

    def __init__(self, config: SRResNetConfig) -> None:
        super().__init__()
        self.config = config
        channels, r = config.channels, 2 if config.scale == 4 else config.scale
        self.conv_first = conv3(3, channels)
        self.body = nn.Sequential(*(ResidualBlock(channels) for _ in range(config.blocks)))
        self.upconv1 = conv3(channels, channels * r**2)
        if config.scale == 4:
            self.upconv2 = conv3(channels, channels * 4)
        self.conv_hr = conv3(channels, channels)
        self.conv_last = conv3(channels, 3)
        for name, module in self.named_modules():
            kept = (name == "upconv1" and config.upconv1_init == "default") or (name.startswith("body.") and config.block_init == "default")
            if isinstance(module, nn.Conv2d) and not kept:
                initialise(module)

    @property
    def sites(self) -> dict[str, tuple[Site, ...]]:
        """first, block1 … blockN (after the residual sum), hr (input of conv_hr), last (input of conv_last: Reflash Dropout's own place),
        and the groups of parts."""
        blocks, last = [f"body.{i}" for i in range(self.config.blocks)], Site("conv_last", "input")
        inside, end = ([Site(f"{block}.{conv}", "output") for block in blocks] for conv in ("conv1", "conv2"))
        single = {"first": (Site("body.0", "input"),), **named(blocks), "hr": (Site("conv_hr", "input"),), "last": (last,)}
        return {**single, **parts(inside, end, last)}

    @property
    def radius(self) -> int:
        """35 for 16 blocks."""
        # 1 for conv_first, 2 a block, 1 for upconv1; what follows lies on finer grids and adds less than one pixel in all.
        return 2 * self.config.blocks + 3

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 sh sw"]:
        base = F.interpolate(x, scale_factor=self.config.scale, mode="bilinear", align_corners=False)
        x = self.body(F.leaky_relu(self.conv_first(x), 0.1))
        if self.config.scale == 4:
            x = F.leaky_relu(F.pixel_shuffle(self.upconv1(x), 2), 0.1)
            x = F.leaky_relu(F.pixel_shuffle(self.upconv2(x), 2), 0.1)
        else:
            x = F.leaky_relu(F.pixel_shuffle(self.upconv1(x), self.config.scale), 0.1)
        return self.conv_last(F.leaky_relu(self.conv_hr(x), 0.1)) + base

    @staticmethod
    def recognise(shapes: Shapes) -> SRResNetConfig | None:
        """The config that fits keys and shapes, or None when they are another network's."""
        blocks = count(shapes, "body.", ".conv1.weight")
        needed = ("conv_first.weight", "upconv1.weight", "conv_hr.weight", "conv_last.weight")
        if not blocks or any(len(shapes.get(key, ())) != 4 for key in needed):
            return None
        scale = 4 if "upconv2.weight" in shapes else shuffle(shapes["upconv1.weight"][0], shapes["upconv1.weight"][1])
        return SRResNetConfig(channels=shapes["conv_first.weight"][0], blocks=blocks, scale=scale) if scale else None

    @staticmethod
    def translate(weights: Weights) -> dict[str, Tensor]:
        """From the published models' "details" layout (body1.0.conv1 …), from recon_trunk.{i} and its four groups of blocks, and from
        HRconv for conv_hr."""
        group = max((int(m[2]) + 1 for m in map(_GROUPS.match, weights) if m), default=0)
        return {_plain(key, group): tensor for key, tensor in weights.items()}

    @staticmethod
    def to_details_keys(weights: Weights) -> dict[str, Tensor]:
        """Renames body.0.conv1 … body.15.conv2 to the "details" layout, body1.0.conv1 … body16.0.conv2."""
        return {re.sub(r"^body\.(\d+)\.", lambda m: f"body{int(m[1]) + 1}.0.", key): value for key, value in weights.items()}


_GROUPS = re.compile(r"^recon_trunk(\d+)\.(\d+)\.")


def _plain(key: str, group: int) -> Any:
    key = _GROUPS.sub(lambda m: f"body.{(int(m[1]) - 1) * group + int(m[2])}.", key)
    key = re.sub(r"^body(\d+)\.0\.", lambda m: f"body.{int(m[1]) - 1}.", key)
    return re.sub(r"^HRconv\.", "conv_hr.", re.sub(r"^recon_trunk\.", "body.", key))
