"""What every network has: a config, named sites, a receptive radius, and a way to recognise its weights."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal, get_args

import torch.nn.functional as F
from torch import Tensor, nn

from wildsr.config import Strict
from wildsr.networks.convolution import Conv3x3
from wildsr.sites import Site as Site

Scale = Literal[2, 3, 4]

Weights = Mapping[str, Tensor]
Shapes = Mapping[str, tuple[int, ...]]


class Config(Strict, ABC, frozen=True):
    """What the networks' configs share; each adds `name`, which tells them apart, and its own sizes."""

    name: str
    scale: Scale = 4

    @property
    @abstractmethod
    def size(self) -> str:
        """The sizes in a phrase: "64 channels, 16 blocks"."""


class Network(nn.Module, ABC):
    """A super-resolution network: (B, 3, h, w) in [0, 1] -> (B, 3, s·h, s·w), not clamped."""

    config: Any
    in_channels = 3
    derived: ClassVar[tuple[str, ...]] = ()
    """How the keys of buffers end that follow from the config: files may lack them, or hold those of another config."""

    @property
    def draws(self) -> bool:
        """Whether forward draws from PyTorch's global generator in training mode."""
        return False

    @property
    @abstractmethod
    def sites(self) -> dict[str, tuple[Site, ...]]:
        """Where features (N, C, H, W) can be read or changed: name -> places in the order of forward.

        first, block1 … blockN, last (the input of the last convolution), and the groups of `parts`."""

    @property
    @abstractmethod
    def radius(self) -> int | None:
        """Receptive radius in LR pixels: an output pixel depends on no input pixel farther away. None: on the whole picture."""

    @property
    def grid(self) -> int:
        """LR pixels in whose multiples a tile has to start, so that it is cut into the same cells or windows as the whole picture."""
        return 1

    @staticmethod
    @abstractmethod
    def recognise(shapes: Shapes) -> Any:
        """The config that fits keys and shapes, or None when they are another network's."""

    @staticmethod
    def translate(weights: Weights) -> dict[str, Tensor]:
        """Weights under our keys, from any other published layout of this network."""
        return dict(weights)


def named(blocks: Sequence[str]) -> dict[str, tuple[Site, ...]]:
    """block1 … blockN: the outputs of these modules."""
    return {f"block{i + 1}": (Site(block, "output"),) for i, block in enumerate(blocks)}


def parts(inside: Sequence[Site], end: Sequence[Site], last: Site) -> dict[str, tuple[Site, ...]]:
    """The groups of sites of Reflash Dropout's Section 4 (dropped residual blocks), and Adaptive Dropout's.

    The paper leaves open where in a block the dropout stands. `inside` holds the place after each block's first convolution, before its
    activation: all-part, half-part, quarter-part are all, the last half and the last quarter of the blocks. `end` holds the place after
    each block's last convolution, before the residual sum: the same with "-conv2". adaptive: all of `inside`, then `last`."""
    count = len(inside)
    groups: dict[str, tuple[Site, ...]] = {}
    for suffix, places in (("", inside), ("-conv2", end)):
        for name, share in (("all", 1), ("half", 2), ("quarter", 4)):
            groups[f"{name}-part{suffix}"] = tuple(places[count - max(1, count // share) :])
    return {**groups, "adaptive": (*inside, last)}


def initialise(convolution: nn.Conv2d) -> None:
    """A tenth of Kaiming's normal initialisation, and no bias, as BasicSR initialises residual blocks."""
    nn.init.kaiming_normal_(convolution.weight)
    convolution.weight.data.mul_(0.1)
    assert convolution.bias is not None
    nn.init.zeros_(convolution.bias)


def conv3(inputs: int, outputs: int) -> nn.Conv2d:
    """A 3×3 convolution that keeps the size."""
    return Conv3x3(inputs, outputs)


def pad_to_multiple(x: Tensor, side: int) -> Tensor:
    """Mirrors (B, C, h, w) at right and bottom, without repeating the edge, to multiples of `side`; what is smaller than its padding
    cannot be mirrored, and its edge is repeated."""
    below, right = -x.shape[-2] % side, -x.shape[-1] % side
    if not below and not right:
        return x
    mode = "replicate" if below >= x.shape[-2] or right >= x.shape[-1] else "reflect"
    return F.pad(x, (0, right, 0, below), mode=mode)


def count(shapes: Shapes, prefix: str, suffix: str) -> int:
    """How many indices stand between a prefix and a suffix of the keys: body.0.conv1.weight, body.1.conv1.weight … -> N."""
    return len({key for key in shapes if key.startswith(prefix) and key.endswith(suffix) and key[len(prefix) : -len(suffix)].isdigit()})


def indices(keys: Iterable[str], prefix: str) -> set[int]:
    """The numbers of the layers of a sequence: prefix.0.weight, prefix.2.bias … -> {0, 2}."""
    layer = re.compile(rf"{re.escape(prefix)}\.([0-9]{{1,6}})\.[^.]+")
    return {int(match[1]) for match in map(layer.fullmatch, keys) if match}


def shuffle(outputs: int, inputs: int) -> Scale | None:
    """The side r of the pixel shuffle that makes r²·C channels C again, if it is a scale."""
    r = round((outputs / max(inputs, 1)) ** 0.5)
    return next((scale for scale in get_args(Scale) if scale == r), None)
