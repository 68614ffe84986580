"""Local attribution maps: which input pixels a network uses for a detail of its output.

"Interpreting Super-Resolution Networks with Local Attribution Maps" (CVPR 2021): the detail D of the output inside a window is attributed
to the input's pixels by integrated gradients (Sundararajan et al., 2017) along a path from a blurred input to the input itself. The
defaults sigma 1.2, fold 50 and size 9 are those of the authors' public demonstration, as is (1 − Gini)·100 of absolute values summed over
colours with their signs; its window is 16 pixels of the output. How it continues a picture beyond its edge was not looked up."""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from wildsr.errors import UserError
from wildsr.interpret.clusters import device_of
from wildsr.interpret.inequality import gini
from wildsr.interpret.saliency import detail
from wildsr.interpret.taps import evaluated


@dataclass(frozen=True)
class Attribution:
    """What each input pixel gave to the detail in a window of the output."""

    signed: Float[Tensor, "h w"]
    """Attributions, summed over R, G and B; their sum is about `detail` − `blurred`. float64."""
    absolute: Float[Tensor, "h w"]
    """|signed|."""
    gini: float
    """Inequality of `absolute`, in [0, 1)."""
    diffusion: float
    """The diffusion index, (1 − gini)·100: more where more pixels take part. It depends on how much of the picture there is around the
    window: compare networks on the same inputs."""
    detail: float
    """D in the window, of the output for the input."""
    blurred: float
    """D in the window, of the output for the blurred input."""
    window: tuple[int, int, int, int]
    """Top, left, bottom and right of the window in pixels of the output; the last two lie outside."""


def blur(picture: Float[Tensor, "b c h w"], sigma: float, size: int = 9) -> Float[Tensor, "b c h w"]:
    """A picture under a sampled Gaussian, `size` (odd) pixels wide, its edge pixels repeated; itself for sigma 0."""
    if sigma == 0:
        return picture.clone()
    places = torch.arange(size, dtype=torch.float64) - size // 2
    weights = (-places.square() / (2 * sigma**2)).exp()
    weights = (weights / weights.sum()).to(picture)
    c, r = picture.shape[1], size // 2
    out = F.pad(picture, (r, r, r, r), mode="replicate")
    out = F.conv2d(out, weights.view(1, 1, -1, 1).expand(c, 1, -1, 1), groups=c)
    return F.conv2d(out, weights.view(1, 1, 1, -1).expand(c, 1, 1, -1), groups=c)


@torch.inference_mode(False)
def lam(
    net: nn.Module,
    picture: Float[Tensor, "1 c h w"],
    *,
    window: int = 16,
    place: tuple[int, int] | None = None,
    unit: Literal["input", "output"] = "input",
    sigma: float = 1.2,
    fold: int = 50,
    size: int = 9,
    batch: int = 1,
) -> Attribution:
    """The attribution of the detail in a window of the output to the pixels of the input.

    `window`: its side, and `place` its top and left (the middle by default), in pixels of the input, so that it covers 16·scale of the
    output's; or with unit="output" in those of the output, as in the authors' demonstration. D (see `detail`) sums over the pixels of the
    window, each with its lower and right neighbours, where it has them.

    The path is the input under a Gaussian (see `blur`) whose sigma falls evenly to 0 in `fold` steps; a step's share is the gradient of D
    in its middle times the change of the input over it. `batch` steps go through the network at once, in eval mode. Raises UserError for a
    window that does not lie inside the picture, for steps or a sigma that make no path, and for a picture of which blur changes nothing
    that D depends on (a constant one, say)."""
    if fold < 1 or batch < 1 or sigma <= 0 or size < 1 or size % 2 == 0:
        raise UserError(f"fold {fold}, batch {batch}, sigma {sigma:g}, size {size}: give one step or more, a sigma above 0 and an odd size")
    picture = picture.detach().clone().to(device_of(net))
    with torch.no_grad(), evaluated(net):
        clear, start = net(picture), net(blur(picture, sigma, size))
    top, left, bottom, right = bounds = _window(picture, clear, window, place, unit)

    def seen(output: Tensor) -> Tensor:
        return output[..., top : bottom + 1, left : right + 1]

    path = torch.cat([blur(picture, sigma * (1 - i / fold), size) for i in range(fold + 1)])
    middles = torch.cat([blur(picture, sigma * (1 - (i + 0.5) / fold), size) for i in range(fold)])
    total = torch.zeros(picture.shape[1:], dtype=torch.float64, device=picture.device)
    for begin in range(0, fold, batch):
        end = min(begin + batch, fold)
        inputs = middles[begin:end].requires_grad_()
        with torch.enable_grad(), evaluated(net):
            found = detail(seen(net(inputs)))
            gradient = torch.autograd.grad(found, inputs, allow_unused=True)[0] if found.requires_grad else None
        if gradient is not None:
            total += (gradient.double() * (path[begin + 1 : end + 1].double() - path[begin:end].double())).sum(0)
    signed = total.sum(0).cpu()
    absolute = signed.abs()
    if not absolute.max() > 0:
        raise UserError("nothing can be attributed: blur changes nothing in this picture that the window depends on; choose another window")
    inequality = gini(absolute)
    return Attribution(signed, absolute, inequality, (1 - inequality) * 100, float(detail(seen(clear))), float(detail(seen(start))), bounds)


def _window(
    picture: Tensor, output: Tensor, window: int, place: tuple[int, int] | None, unit: Literal["input", "output"]
) -> tuple[int, int, int, int]:
    """Top, left, bottom and right in pixels of the output."""
    scale = output.shape[-1] / picture.shape[-1] if unit == "input" else 1.0
    h, w = (picture if unit == "input" else output).shape[-2:]
    top, left = ((h - window) // 2, (w - window) // 2) if place is None else place
    if window < 2 or top < 0 or left < 0 or top + window > h or left + window > w:
        raise UserError(
            f"a window of {window} at row {top}, column {left} is not inside the {unit}, {h}×{w} pixels: move it, or choose 2 … {min(h, w)}"
        )
    return round(top * scale), round(left * scale), round((top + window) * scale), round((left + window) * scale)
