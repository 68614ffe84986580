"""Super-resolution networks. Each has a small config, named sites where features can be read or changed, and a receptive radius."""

import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from wildsr.config import Positive, Strict, build, nearest
from wildsr.errors import UserError

Scale = Literal[2, 3, 4]


class Site(NamedTuple):
    """A place in a network: the input or the output of a module, by its name in `named_modules()`."""

    module: str
    edge: Literal["input", "output"]


class SRResNetConfig(Strict, frozen=True):
    """SRResNet without batch normalisation. The defaults are the papers' (1,517,571 parameters at ×4).

    upconv1_init: "default" leaves the first upsampling convolution at PyTorch's initialisation, as the published models do;
    "scaled" gives it the 0.1 × Kaiming initialisation of the others, as BasicSR's MSRResNet does."""

    name: Literal["srresnet"] = "srresnet"
    channels: Positive = 64
    blocks: Positive = 16
    scale: Scale = 4
    upconv1_init: Literal["default", "scaled"] = "default"


class ResidualBlock(nn.Module):
    """x + conv2(relu(conv1(x))): (B, C, h, w) -> (B, C, h, w)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return x + self.conv2(F.relu(self.conv1(x)))


class SRResNet(nn.Module):
    """The SRResNet of both papers (BasicSR's MSRResNet; Ledig et al. 2017 without batch normalisation).

    (B, 3, h, w) in [0, 1] -> (B, 3, s·h, s·w), not clamped: the network adds detail to a bilinear enlargement of its input.
    Keys are those of BasicSR's MSRResNet; `to_plain_keys` and `to_details_keys` translate the layout of the published models."""

    def __init__(self, config: SRResNetConfig) -> None:
        super().__init__()
        self.config = config
        channels, step = config.channels, 2 if config.scale == 4 else config.scale
        self.conv_first = nn.Conv2d(3, channels, 3, padding=1)
        self.body = nn.Sequential(*(ResidualBlock(channels) for _ in range(config.blocks)))
        self.upconv1 = nn.Conv2d(channels, channels * step**2, 3, padding=1)
        if config.scale == 4:
            self.upconv2 = nn.Conv2d(channels, channels * 4, 3, padding=1)
        self.conv_hr = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv_last = nn.Conv2d(channels, 3, 3, padding=1)
        self._initialise()

    @property
    def sites(self) -> dict[str, Site]:
        """first, block1 … blockN (after the residual sum), hr (input of conv_hr) and last (input of conv_last; the papers' site)."""
        blocks = {f"block{i + 1}": Site(f"body.{i}", "output") for i in range(self.config.blocks)}
        return {"first": Site("body.0", "input"), **blocks, "hr": Site("conv_hr", "input"), "last": Site("conv_last", "input")}

    @property
    def radius(self) -> int:
        """Receptive radius in LR pixels: an output pixel depends on no input pixel farther away (35 for 16 blocks at ×4)."""
        # 1 for conv_first, 2 a block, 1 for upconv1; what follows lies on finer grids and adds less than one pixel in all.
        return 2 * self.config.blocks + 3

    def _initialise(self) -> None:
        for name, module in self.named_modules():
            if isinstance(module, nn.Conv2d) and not (name == "upconv1" and self.config.upconv1_init == "default"):
                nn.init.kaiming_normal_(module.weight)
                module.weight.data.mul_(0.1)
                assert module.bias is not None
                nn.init.zeros_(module.bias)

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
    def recognise(shapes: Mapping[str, tuple[int, ...]]) -> SRResNetConfig | None:
        """The config that fits plain keys and shapes, or None when they are another network's."""
        blocks = len({key.split(".")[1] for key in shapes if key.startswith("body.") and key.endswith(".conv1.weight")})
        needed = ("conv_first.weight", "upconv1.weight", "conv_hr.weight", "conv_last.weight")
        if not blocks or any(len(shapes.get(key, ())) != 4 for key in needed):
            return None
        channels = shapes["conv_first.weight"][0]
        step = round((shapes["upconv1.weight"][0] / channels) ** 0.5)
        scale = 4 if "upconv2.weight" in shapes else step
        if scale not in get_args(Scale):
            return None
        return SRResNetConfig(channels=channels, blocks=blocks, scale=scale)


_DETAILS_KEY = re.compile(r"body(\d+)\.0\.(.+)")
_PLAIN_KEY = re.compile(r"body\.(\d+)\.(.+)")


def to_plain_keys(weights: Mapping[str, Any]) -> dict[str, Any]:
    """Renames the published models' "details" layout (body1.0.conv1 … body16.0.conv2) to body.0.conv1 … body.15.conv2."""
    return {_DETAILS_KEY.sub(lambda m: f"body.{int(m[1]) - 1}.{m[2]}", key): value for key, value in weights.items()}


def to_details_keys(weights: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `to_plain_keys`."""
    return {_PLAIN_KEY.sub(lambda m: f"body{int(m[1]) + 1}.0.{m[2]}", key): value for key, value in weights.items()}


NETWORKS: dict[str, tuple[type[SRResNetConfig], type[SRResNet]]] = {"srresnet": (SRResNetConfig, SRResNet)}
"""Name on disk and on the command line -> its config and class."""

NetworkConfig = SRResNetConfig
"""Any network's config; with a second network, a union told apart by `name`."""


def create(config: NetworkConfig) -> SRResNet:
    """The network of a config, freshly initialised from torch's global generator."""
    return NETWORKS[config.name][1](config)


def config_from(values: Mapping[str, Any]) -> NetworkConfig:
    """A network's config from what a file's metadata holds. Raises UserError for unknown names and fields."""
    name = str(values.get("name"))
    if name not in NETWORKS:
        raise UserError(f"unknown network {name!r}: {nearest(name, NETWORKS)}")
    return build(NETWORKS[name][0], dict(values), what=f"network {name}")


def shapes(config: NetworkConfig) -> dict[str, tuple[int, ...]]:
    """The keys and shapes of a network's weights."""
    with torch.device("meta"):
        return {name: tuple(tensor.shape) for name, tensor in create(config).state_dict().items()}


def describe(config: NetworkConfig) -> str:
    """A network in a phrase: "srresnet ×4 (64 channels, 16 blocks)"."""
    return f"{config.name} ×{config.scale} ({config.channels} channels, {config.blocks} blocks)"


def pick_device(name: str) -> torch.device:
    """auto (CUDA, else Apple's MPS, else the CPU), cpu, cuda or mps. Raises UserError when PyTorch has no such device here."""
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next(device for device in ("cuda", "mps", "cpu") if there[device])
    if name not in there:
        raise UserError(f"unknown device {name!r}: {nearest(name, ['auto', *there])}")
    if not there[name]:
        raise UserError(f"device {name!r} is not available here: there is {', '.join(device for device in there if there[device])}")
    if name == "cuda":
        # What is called float32 here is float32, not TF32, which PyTorch uses in convolutions unless told otherwise.
        torch.backends.cudnn.allow_tf32 = False
    return torch.device(name)


def computes_bf16(device: torch.device) -> bool:
    """Whether a device computes in bfloat16 rather than emulating it, which on a CPU is ten times slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()  # of newer PyTorch; an older one says nothing, and computes in float32
    return device.type == "cpu" and bool(capabilities.get("avx512_bf16"))


def recognise(shapes: Mapping[str, tuple[int, ...]]) -> NetworkConfig | None:
    """The config of the first network whose keys and shapes these are, or None."""
    found = (network.recognise(shapes) for _, network in NETWORKS.values())
    return next((config for config in found if config is not None), None)
