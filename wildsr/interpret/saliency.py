"""Channel saliency maps: where, and by which channels of a layer, the detail of an output is made.

Reflash Dropout in Image Super-Resolution (arXiv 2112.12089), Section 6.1; the gradient detector is that of LAM (arXiv 2011.11036)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from wildsr.errors import UserError
from wildsr.interpret.taps import suffix

EPSILON = 1e-12
"""Below the root, which has no derivative at 0: differences far above 1e-6 do not see it."""


def detail(picture: Float[Tensor, "b c h w"]) -> Float[Tensor, ""]:
    """How much detail pictures have, D: the sum over pixels and channels of the length of the gradient,

        sqrt(dx² + dy² + 1e-12), and 0 where both are 0,

    dx and dy being the differences to the pixel on the right and below, at all but the last row and column. The derivative is finite
    everywhere, and 0 in flat places. D is 0 for a constant picture, not changed by a constant that is added, and |k| times as large for k
    times the picture (but for the 1e-12)."""
    corner = picture[..., :-1, :-1]
    down, right = corner - picture[..., 1:, :-1], corner - picture[..., :-1, 1:]
    squares = down.square() + right.square()
    return torch.where(squares > 0, (squares + EPSILON).sqrt(), 0).sum()


@dataclass(frozen=True)
class Saliency:
    """map: (C, h, w) in [0, 1], the size of the gradient over its largest in the layer. scores: (C,), the map's sums over pixels: how
    much a channel matters. detail: D of the output. gradient: (C, h, w), that of D by the feature, as it is."""

    map: Float[Tensor, "c h w"]
    scores: Float[Tensor, " c"]
    detail: float
    gradient: Float[Tensor, "c h w"]


@torch.inference_mode(False)
def saliency(net: nn.Module, picture: Float[Tensor, "1 c h w"], site: str = "last") -> Saliency:
    """The channel saliency map of a picture at a site of any network, in eval mode: |G| / max |G| with G = dD/dF, D the detail of the
    output, not clamped, and F the feature at the site.

    Raises UserError for sites as `suffix` does, and where the map is not defined: a picture of one colour, an output without detail, or
    one that does not depend on the site."""
    flat = (picture.amax((2, 3)) == picture.amin((2, 3))).all()
    if flat:
        raise UserError("the saliency of a constant picture is undefined: it has no detail (every pixel is the same colour)")
    rest = suffix(net, picture, site)
    with torch.enable_grad():
        feature = rest.feature.detach().clone().requires_grad_()
        found = detail(rest(feature).float())
        gradient = torch.autograd.grad(found, feature, allow_unused=True)[0] if found.requires_grad else None
    total = found.item()
    largest = 0.0 if gradient is None else gradient.abs().max().item()
    if gradient is None or largest == 0 or total == 0:
        why = "the output has no detail" if total == 0 else f"the output's detail does not depend on {site!r}"
        raise UserError(f"the saliency of this picture at {site!r} is undefined: {why}")
    gradient = gradient[0]
    shown = gradient.abs().float() / largest
    return Saliency(shown, shown.sum((1, 2)), total, gradient)
