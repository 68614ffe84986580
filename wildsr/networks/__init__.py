"""Super-resolution networks. Each has a small config, named sites where features can be read or changed, and a receptive radius."""

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any

import torch
from pydantic import Field, ValidationError
from torch import Tensor

from wildsr.config import build, nearest
from wildsr.errors import UserError
from wildsr.networks.compact import CompactConfig as CompactConfig
from wildsr.networks.compact import SRVGGNetCompact as SRVGGNetCompact
from wildsr.networks.network import Config as Config
from wildsr.networks.network import Network as Network
from wildsr.networks.network import Scale as Scale
from wildsr.networks.network import Site as Site
from wildsr.networks.rcan import RCAN as RCAN
from wildsr.networks.rcan import RCANConfig as RCANConfig
from wildsr.networks.rrdbnet import RRDBNet as RRDBNet
from wildsr.networks.rrdbnet import RRDBNetConfig as RRDBNetConfig
from wildsr.networks.srresnet import SRResNet as SRResNet
from wildsr.networks.srresnet import SRResNetConfig as SRResNetConfig
from wildsr.networks.swinir import SwinIR as SwinIR
from wildsr.networks.swinir import SwinIRConfig as SwinIRConfig
from wildsr.networks.unusable import unusable as unusable

NetworkConfig = Annotated[SRResNetConfig | RRDBNetConfig | SwinIRConfig | CompactConfig | RCANConfig, Field(discriminator="name")]
"""Any network's config, told apart by `name`: the list that a new one joins, with the line below."""

NETWORKS: dict[str, tuple[type[Config], type[Network]]] = {
    "srresnet": (SRResNetConfig, SRResNet),
    "rrdbnet": (RRDBNetConfig, RRDBNet),
    "swinir": (SwinIRConfig, SwinIR),
    "compact": (CompactConfig, SRVGGNetCompact),
    "rcan": (RCANConfig, RCAN),
}
"""Name on disk and on the command line -> its config and class."""


def create(config: Config) -> Network:
    """The network of a config, freshly initialised from torch's global generator."""
    make: Any = NETWORKS[config.name][1]
    return make(config)


def config_from(values: Mapping[str, Any]) -> Config:
    """A network's config from what a file's metadata holds. Raises UserError for unknown names and fields."""
    name = str(values.get("name"))
    if name not in NETWORKS:
        raise UserError(f"unknown network {name!r}: {nearest(name, NETWORKS)}")
    return build(NETWORKS[name][0], dict(values), what=f"network {name}")


def shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """The keys and shapes of a network's weights."""
    with torch.device("meta"):
        return {name: tuple(tensor.shape) for name, tensor in create(config).state_dict().items()}


def describe(config: Config) -> str:
    """A network in a phrase: "srresnet ×4 (64 channels, 16 blocks)"."""
    return f"{config.name} ×{config.scale} ({config.size})"


def recognise(weights: Mapping[str, Tensor]) -> tuple[Config, dict[str, Tensor]] | None:
    """The config of the first network whose weights these are, in any published key layout, and the weights under our keys; or None."""
    if any(0 in tensor.shape for tensor in weights.values()):
        # A side of nothing lets the others claim any size.
        return None
    for _, network in NETWORKS.values():
        plain = network.translate(weights)
        try:
            config = network.recognise({name: tuple(tensor.shape) for name, tensor in plain.items()})
        except (ValidationError, ArithmeticError, IndexError):  # shapes that no network has
            continue
        if config is not None:
            return config, complete(config, plain)
    return None


@cache
def _published(name: str) -> frozenset[str]:
    return frozenset(shapes(NETWORKS[name][0](name=name)))


def nearest_layout(weights: Mapping[str, Tensor]) -> str:
    """Which network's keys, in its published size, these resemble most: "the nearest is rrdbnet: it has 12 of its 702 keys"."""
    common = {name: len(_published(name) & network.translate(weights).keys()) for name, (_, network) in NETWORKS.items()}
    name = max(common, key=lambda one: (common[one], -len(_published(one))))
    return f"the nearest is {name}: it has {common[name]} of its {len(_published(name))} keys" if common[name] else "it has no key of any"


def complete(config: Config, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights with those of a network's buffers that follow from its config, and that a file may have left out."""
    network = NETWORKS[config.name][1]
    missing = [name for name in shapes(config) if name not in weights and name.endswith(network.derived)] if network.derived else []
    made = create(config).state_dict() if missing else {}
    return {**weights, **{name: made[name] for name in missing}}


def transferable(weights: Mapping[str, Tensor], config: Config) -> tuple[dict[str, Tensor], list[str]]:
    """What of some weights a network of this config can start from, by name and shape, and the names of what it has to begin anew."""
    wanted = trained(config)
    taken = {name: weights[name] for name, shape in wanted.items() if name in weights and tuple(weights[name].shape) == shape}
    return taken, [name for name in wanted if name not in taken]


def trained(config: Config) -> dict[str, tuple[int, ...]]:
    """The keys and shapes of what training makes: all but the buffers that follow from the config."""
    derived = NETWORKS[config.name][1].derived
    return {name: shape for name, shape in shapes(config).items() if not derived or not name.endswith(derived)}
