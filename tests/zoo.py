"""Small networks of every kind, ours and others', and every regulariser, for the tests that hold for all of them."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from wildsr import networks
from wildsr.networks import CompactConfig, RCANConfig, RRDBNetConfig, SRResNetConfig, SwinIRConfig
from wildsr.regularize import AdaptiveDropout, Attached, FeatureAlignment, FeatureDropout, Regularizer

CONFIGS = {
    "srresnet": SRResNetConfig(channels=6, blocks=4, scale=2),
    "rrdbnet": RRDBNetConfig(channels=6, blocks=2, growth=4, scale=2),
    "swinir": SwinIRConfig(embed_dim=8, depths=(2, 2), heads=(2, 2), window=4, img_size=8, scale=2),
    "compact": CompactConfig(channels=6, blocks=4, scale=2),
    "rcan": RCANConfig(channels=6, groups=2, blocks=2, reduction=3, scale=2),
}


class Foreign(nn.Module):
    """A network of another style: batch normalisation, a transposed convolution, no named sites."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.PReLU())
        self.up = nn.ConvTranspose2d(6, 5, 4, stride=2, padding=1)
        self.unused = nn.Conv2d(5, 3, 1)
        self.out = nn.Conv2d(5, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(torch.tanh(self.up(self.head(x))))


NETWORKS = [*CONFIGS, "foreign"]


def make(name: str, seed: int = 3) -> nn.Module:
    """A network whose parameters are all of some size, so that nothing vanishes."""
    torch.manual_seed(seed)
    net = Foreign() if name == "foreign" else networks.create(CONFIGS[name])
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.3)
    return net


ACTING: dict[str, Regularizer] = {
    "channel": FeatureDropout(p=0.5),
    "element": FeatureDropout(p=0.5, dimension="element"),
    "curve": FeatureDropout(p=((0.0, 0.6), (1.0, 0.2))),
    "naive": FeatureDropout(p=0.5, site="every-conv"),
    "alignment": FeatureAlignment(),
    "linear": FeatureAlignment(nonlinear=False),
    "textbook": FeatureAlignment(linear=False, random_map="textbook"),
    "second-order": FeatureAlignment(first_order=False, reduction="mean"),
}
POWERLESS: dict[str, Regularizer] = {
    "channel": FeatureDropout(p=0),
    "element": FeatureDropout(p=0, dimension="element"),
    "naive": FeatureDropout(p=0, site="every-conv"),
    "alignment": FeatureAlignment(weight=0),
}
# Of networks with blocks.
PARTS: dict[str, Regularizer] = {
    "block": FeatureDropout(p=0.5, site="block2"),
    "half-part": FeatureDropout(p=0.5, site="half-part"),
    "all-part-conv2": FeatureDropout(p=0.5, dimension="element", site="all-part-conv2"),
    "adaptive": AdaptiveDropout(),
}
POWERLESS_PARTS: dict[str, Regularizer] = {
    "block": FeatureDropout(p=0, site="block2"),
    "half-part": FeatureDropout(p=0, site="half-part"),
    "released": AdaptiveDropout(a=1.0),
    "adaptive": AdaptiveDropout(p=0),
}


def pairs(everywhere: dict[str, Regularizer], with_blocks: dict[str, Regularizer]) -> list[tuple[str, str]]:
    """Every network with every regulariser that its sites admit, by name."""
    return [(net, name) for net in NETWORKS for name in (everywhere if net == "foreign" else {**everywhere, **with_blocks})]


def batch(side: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    """LR (8, 3, side, side) and HR (8, 3, 2·side, 2·side): eight pictures, or two views of four."""
    generator = torch.Generator().manual_seed(1)
    return torch.rand(8, 3, side, side, generator=generator), torch.rand(8, 3, 2 * side, 2 * side, generator=generator)


# The real compiler takes half a minute a pair: one that changes features and one that charges for them.
COMPILED = [
    *((*pair, "aot_eager") for pair in pairs(ACTING, PARTS)),
    ("srresnet", "element", "inductor"),
    ("compact", "alignment", "inductor"),
]


def require_that_it_acts(net: nn.Module, run: Any, regularizer: Regularizer, attached: Attached) -> list[torch.Tensor]:
    """Plays two steps by `run`, the network as it is or compiled; asserts that outputs differ or a loss is charged, and that gradients
    are finite. Returns what the second step gave."""
    x, target = batch()
    outputs = []
    for n in (0, 8):
        attached.begin(n, 0.0)
        outputs.append(run(x).float())
    losses = attached.losses()
    parameters = [*net.parameters()]
    total = F.l1_loss(outputs[1], target) + sum(losses.values())
    gradients = torch.autograd.grad(total, parameters, allow_unused=True, retain_graph=True)
    assert all(gradient is None or gradient.isfinite().all() for gradient in gradients)
    if regularizer.views == 1:
        assert losses == {}
        assert not torch.equal(*outputs)
        return [outputs[1], gradients[0]]
    assert losses["align"].dtype == torch.float32
    assert losses["align"] > 0
    charged = torch.autograd.grad(losses["align"], parameters[0])[0]
    assert charged.abs().max() > 0
    return [outputs[1], gradients[0], losses["align"], charged]
