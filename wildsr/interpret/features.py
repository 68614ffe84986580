"""What happens inside a network: any nn.Module's features, read at named sites."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from wildsr import sites
from wildsr.errors import UserError


@torch.no_grad()
def features(net: nn.Module, pictures: Float[Tensor, "b c h w"], site: str = "last") -> Float[Tensor, "b f fh fw"]:
    """The feature at a site in a forward of `pictures`, in the mode that the network is in. Raises UserError for a group of sites."""
    places = sites.find(net, site, pictures[:1]).places
    if len(places) != 1:
        raise UserError(f"site {site!r} is {len(places)} places: name one of {', '.join(map(str, places))}")
    seen: list[Tensor] = []

    def keep(feature: Tensor) -> None:
        seen.append(feature.clone())  # what follows may write into it

    handle = sites.hook(net, places[0], keep)
    try:
        net(pictures)
    finally:
        handle.remove()
    if len(seen) != 1:
        raise UserError(f"the forward of {type(net).__name__} runs {places[0].module!r} {len(seen)} times: choose a place that runs once")
    return seen[0]


def feature_cosine(
    net: nn.Module, clean: Float[Tensor, "#b c h w"], degraded: Float[Tensor, "b c h w"], *, site: str = "last", pooled: bool = False
) -> Float[Tensor, " b"]:
    """Cosine of the angle between the features of clean and of degraded inputs, a value a picture (Targeted Feature Denoising,
    arXiv 2509.14841, uses its course over training to show what a network overfits to). One clean picture may stand beside many degraded.

    Features are compared value by value, or with `pooled` by their spatial means; which of the two the paper means is not known."""
    first, second = (features(net, pictures, site).float() for pictures in (clean, degraded))
    if pooled:
        first, second = first.mean((2, 3)), second.mean((2, 3))
    return torch.nn.functional.cosine_similarity(first.flatten(1), second.flatten(1))
