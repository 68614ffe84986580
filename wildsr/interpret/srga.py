"""SRGA: how far a network's features of new inputs are distributed otherwise than those of inputs that it handles well.

No ground truth is needed ("Evaluating the Generalization Ability of Super-Resolution Networks", TPAMI 2023, arXiv 2205.07019). The deepest
features of a set of inputs are projected on their principal components, all scores are taken for draws from one generalised Gaussian, and
two sets are compared by the Kullback–Leibler divergence of their Gaussians. The paper takes 800 patches a set (LR 32×32), 300 at least, and
300 components."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from wildsr.errors import UserError
from wildsr.interpret.clusters import CHUNK, MEMORY, Points, Progress, Source, dual_pca, gather

COMPONENTS = 300


class GGD(NamedTuple):
    """A generalised Gaussian around 0, its density ∝ exp(−(|x|/alpha)^beta): beta 2 is a Gaussian, 1 a Laplacian. `sigma`: its standard
    deviation; alpha = sigma √(Γ(1/beta)/Γ(3/beta))."""

    sigma: float
    beta: float
    alpha: float


def fit_ggd(values: Float[Tensor, "*shape"]) -> GGD:
    """The generalised Gaussian around 0 whose moments fit best.

    sigma² is the mean of x², E the mean of |x − mean|, and beta that of 0.2, 0.201 … 10 for which Γ(1/β)Γ(3/β)/Γ(2/β)² is nearest to
    sigma²/E². Raises UserError where values do not vary or are not finite."""
    values = values.double().flatten()
    deviation = (values - values.mean()).abs().mean().item() if values.numel() else 0.0
    if not (math.isfinite(deviation) and deviation > 0):
        raise UserError(f"{values.numel()} values with the mean deviation {deviation:g} have no distribution to fit: features must vary")
    sigma = values.square().mean().sqrt().item()
    betas = 0.2 + torch.arange(9801, dtype=torch.float64) / 1000
    ratios = ((1 / betas).lgamma() + (3 / betas).lgamma() - 2 * (2 / betas).lgamma()).exp()
    beta = betas[(ratios - (sigma / deviation) ** 2).abs().argmin()].item()
    return ggd(sigma, beta)


def ggd(sigma: float, beta: float) -> GGD:
    """The generalised Gaussian with the standard deviation sigma > 0 and the shape beta > 0."""
    return GGD(sigma, beta, sigma * math.exp((math.lgamma(1 / beta) - math.lgamma(3 / beta)) / 2))


def kld(reference: GGD, candidate: GGD) -> float:
    """The Kullback–Leibler divergence of the candidate from the reference, in nats, [0, ∞]; not symmetric. With 1 for the reference,

    ln(β₁α₂Γ(1/β₂) / (β₂α₁Γ(1/β₁))) + (α₁/α₂)^β₂ Γ((β₂ + 1)/β₁)/Γ(1/β₁) − 1/β₁."""
    (_, b1, a1), (_, b2, a2) = reference, candidate
    shapes = math.log(b1 / b2) + math.log(a2 / a1) + math.lgamma(1 / b2) - math.lgamma(1 / b1)
    exponent = b2 * math.log(a1 / a2) + math.lgamma((b2 + 1) / b1) - math.lgamma(1 / b1)
    if exponent > 700:  # e^700 is about the largest float64
        return math.inf
    return max(0.0, shapes + math.exp(exponent) - 1 / b1)


def srga_index(divergence: float) -> float:
    """A divergence -> SRGA, log₁₀(KLD + 10⁻⁵) + 5: 0 for equal distributions, 5 for one nat or so."""
    return math.log10(divergence + 1e-5) + 5


def distribution(points: Points | Float[Tensor, "n size"], components: int = COMPONENTS, *, chunk: int = CHUNK) -> GGD:
    """The distribution of the scores of n features along their own first `components` principal components (n − 1 at most), all taken
    together, without those that lie five standard deviations or more from their mean."""
    scores = dual_pca(points, components, chunk=chunk).scores.flatten()
    return fit_ggd(scores[(scores - scores.mean()).abs() < 5 * scores.std(correction=0)])


class SRGA(NamedTuple):
    """The index of a set (0 and up; less is nearer to the reference set), its divergence in nats, both distributions, and how many
    components were taken."""

    value: float
    divergence: float
    reference: GGD
    candidate: GGD
    components: int


def srga(
    source: Source,
    reference: Sequence[Float[Tensor, "1 c h w"]],
    candidates: Mapping[str, Sequence[Float[Tensor, "1 c h w"]]],
    site: str = "last",
    *,
    components: int = COMPONENTS,
    chunk: int = CHUNK,
    folder: Path | str | None = None,
    memory: int = MEMORY,
    progress: Progress | None = None,
) -> dict[str, SRGA]:
    """The SRGA of sets of inputs, by their names. `source`: a network, its features read at `site`; or a callable that gives features.

    `reference`: inputs that the network handles well, clean ones for most. Components are found in each set apart, and are as many in all:
    one less than the smallest set has inputs, if that is less than `components`. So let sets be of one size: a few inputs have other
    components than many. Features count with their scale: c times larger ones are another distribution, so that two networks' indices
    compare only as far as the scales of their features do. One set's features are held at a time; for `folder`, `memory` and `progress`
    see `gather`."""
    least = min(len(inputs) for inputs in (reference, *candidates.values()))
    kept = min(components, least - 1)
    if kept < 1:
        raise UserError(f"a set of {least} inputs has no principal components: give two inputs or more, in the paper 800")

    def fitted(inputs: Sequence[Tensor]) -> GGD:
        return distribution(gather(source, inputs, site, folder=folder, memory=memory, progress=progress), kept, chunk=chunk)

    well = fitted(reference)
    found = {}
    for name, inputs in candidates.items():
        own = well if inputs is reference else fitted(inputs)
        divergence = kld(well, own)
        found[name] = SRGA(srga_index(divergence), divergence, well, own, kept)
    return found
