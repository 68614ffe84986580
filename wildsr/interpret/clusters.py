"""Deep degradation representation: whether a network keeps kinds of damage apart inside, and how far.

The same pictures, damaged in k ways, go through a network; their features at a site are points, and the points of one degradation may form
a cluster of their own. The Calinski–Harabasz index (CHI, 1974) says how far clusters stand apart: less is a more uniform treatment, which
"Reflash Dropout in Image Super-Resolution" (CVPR 2022, section 6.2) reads as better generalisation. The idea and its name come from
"Discovering Distinctive Semantics in Super-Resolution Networks" (arXiv 2108.00406).

Features are long (a million numbers for an LR picture of 32×32 at the last layer of SRResNet ×4) and points are few, so principal
components are found in the dual: from the inner products of the points, which is exact. Which degradations, which layer, how many
components and in which space the papers take the CHI is not known: components of the deepest feature here, and both spaces."""

import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from wildsr import chance, sites
from wildsr.errors import UserError
from wildsr.interpret.features import features
from wildsr.interpret.taps import evaluated

Source = nn.Module | Callable[[Tensor], Tensor]
"""A network, whose features are read at a site in eval mode; or any other callable, which gives features itself."""
Progress = Callable[[int, int], None]
"""Called with how many inputs are done and how many there are."""

MEMORY = 4_000_000_000
"""Bytes of features that are kept in memory at most, by default."""
CHUNK = 2**14
"""How many features of all points are turned to float64 at once, by default: 64 MB for 500 points."""
RESAMPLES = 2000
_NOTHING = 1e-13
"""A share of the scatter below which it is taken for rounding."""


class Points:
    """n points of `size` float32 coordinates each, in memory; or with a `folder` in a file there without a name, which the system takes
    away when nothing holds it any more. All n are written, then read by columns."""

    def __init__(self, n: int, size: int, folder: Path | str | None = None) -> None:
        """Raises UserError where the folder has no room, OSError where nothing can be written in it."""
        self.n, self.size, self.nbytes = n, size, 4 * n * size
        self._rows: Tensor | None = None
        self._file: Any = None
        if folder is None:
            self._rows = torch.empty(n, size)
            return
        if (free := shutil.disk_usage(folder).free) < self.nbytes:
            raise UserError(f"features take {_gigabytes(self.nbytes)} and {folder} has {_gigabytes(free)} left: name another folder")
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        weakref.finalize(self, self._file.close)

    def write(self, i: int, point: Float[Tensor, " size"]) -> None:
        """Keeps point i."""
        if self._rows is not None:
            self._rows[i] = point
        else:  # written, not mapped: a full disk is then an error with a name, and no killed process
            self._file.seek(4 * i * self.size)
            self._file.write(np.ascontiguousarray(point.numpy(), dtype=np.float32).data)

    def columns(self, begin: int, end: int) -> Float[Tensor, "n width"]:
        """Coordinates `begin` to `end` of all points, a new float64 tensor."""
        if self._rows is not None:
            return self._rows[:, begin:end].double()
        self._file.flush()
        # Mapped anew each time: what was read does not stay in this process.
        mapped = np.memmap(self._file, dtype=np.float32, mode="r", shape=(self.n, self.size))
        return torch.from_numpy(np.array(mapped[:, begin:end], dtype=np.float64))


def bytes_needed(source: Source, inputs: Sequence[Float[Tensor, "1 c h w"]], site: str = "last") -> int:
    """Bytes that the features of all inputs take (float32), after a forward of the first."""
    return 4 * len(inputs) * _reader(source, inputs, site)(inputs[0]).numel()


def gather(
    source: Source,
    inputs: Sequence[Float[Tensor, "1 c h w"]],
    site: str = "last",
    *,
    folder: Path | str | None = None,
    memory: int = MEMORY,
    progress: Progress | None = None,
) -> Points:
    """The features of inputs of one size, flattened, as points; one forward each.

    They are in memory, or in a file in `folder` where they take more than `memory` bytes. Raises UserError for inputs of several sizes,
    and for features that take more than `memory` where no folder is given."""
    read = _reader(source, inputs, site)
    points = None
    for i, picture in enumerate(inputs):
        point = read(picture)
        if points is None:
            needed = 4 * len(inputs) * point.numel()
            if needed > memory and folder is None:
                raise UserError(
                    f"the features of {len(inputs)} inputs take {_gigabytes(needed)}, more than {_gigabytes(memory)} of memory: "
                    "name a folder for them, or give fewer or smaller inputs"
                )
            points = Points(len(inputs), point.numel(), folder if needed > memory else None)
        points.write(i, point)
        if progress is not None:
            progress(i + 1, len(inputs))
    assert points is not None
    return points


def _reader(source: Source, inputs: Sequence[Tensor], site: str) -> Callable[[Tensor], Tensor]:
    """The function from an input to its flat feature, float32 on the CPU."""
    if not inputs:
        raise UserError("no inputs are given")
    if len(shapes := sorted({tuple(picture.shape) for picture in inputs})) > 1:
        raise UserError(f"inputs have several sizes, {shapes[0]} and {shapes[-1]} among them: cut them to one")
    if not isinstance(source, nn.Module):
        return lambda picture: _flat(source(picture))
    device = device_of(source)
    places = sites.find(source, site, inputs[0].to(device)).places
    # Looked for once: "last" takes a forward and a walk through its graph.
    name = str(places[0]) if len(places) == 1 else site

    def read(picture: Tensor) -> Tensor:
        with evaluated(source):
            return _flat(features(source, picture.to(device), name))

    return read


def _flat(feature: Tensor) -> Tensor:
    return feature.detach().flatten().float().cpu()


def device_of(net: nn.Module) -> torch.device:
    """Where a network's parameters or buffers are; the CPU for one that has none."""
    first = next(net.parameters(), next(net.buffers(), None))
    return torch.device("cpu") if first is None else first.device


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.3g} GB"


class PCA(NamedTuple):
    """Principal components of points: `scores` (n, d), their coordinates; `variance` (d,) along each component, with n − 1 below, largest
    first; `total`: the variance along all that there are. All float64."""

    scores: Float[Tensor, "n d"]
    variance: Float[Tensor, " d"]
    total: float


def dual_pca(points: Points | Float[Tensor, "n size"], dims: int | None = None, *, chunk: int = CHUNK) -> PCA:
    """The first `dims` principal components (all by default, and never more than n − 1 or there are coordinates), exactly.

    XXᵀ of the centred points has the eigenvectors u and the eigenvalues λ with scores √λ u. It is summed over `chunk` coordinates at a time
    in float64; all points are there in each, so that they are centred before the product (the same as centring its rows and columns
    afterwards, and nothing cancels). A component's sign is free: its largest score is positive here. Raises UserError for fewer than two
    points, and for coordinates that are not finite."""
    n, size = (points.n, points.size) if isinstance(points, Points) else points.shape
    if n < 2:
        raise UserError(f"principal components need two points or more, not {n}")
    gram = torch.zeros(n, n, dtype=torch.float64)
    for begin in range(0, size, chunk):
        end = min(begin + chunk, size)
        part = points.columns(begin, end) if isinstance(points, Points) else points[:, begin:end].double().cpu()
        part = part - part.mean(0)
        gram.addmm_(part, part.T)
    if not gram.isfinite().all():
        raise UserError("features are not all finite numbers: the network's weights or the inputs are broken")
    values, vectors = torch.linalg.eigh(gram)
    kept = min(n - 1, size) if dims is None else min(dims, n - 1, size)
    values, vectors = values.flip(0)[:kept].clamp(min=0), vectors.flip(1)[:, :kept]
    largest = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
    return PCA(vectors * torch.where(largest < 0, -1.0, 1.0) * values.sqrt(), values / (n - 1), gram.trace().item() / (n - 1))


def chi(points: Float[Tensor, "n d"], labels: Sequence[Any]) -> float:
    """The Calinski–Harabasz index [tr(B)/(k − 1)] / [tr(W)/(n − k)] of n points in k clusters, in [0, ∞]; in one dimension, the F of a
    one-way analysis of variance. About 1 where labels mean nothing.

    B is the scatter of the clusters' means, each as often as it has points; W that of points around their cluster's mean. ∞ where W is 0,
    and 0 where B is too: nothing differs. Raises UserError for fewer than two clusters, and for no more points than clusters."""
    names = list(dict.fromkeys(labels))
    n, k = len(points), len(names)
    if k < 2:
        raise UserError(f"one cluster only ({names[0] if names else 'none'}): nothing is there to tell apart; give two or more")
    if n <= k:
        raise UserError(f"{n} points in {k} clusters: give more points")
    points = points.double() - points[0].double()  # what is equal becomes 0, without rounding
    mean, between, within = points.mean(0), 0.0, 0.0
    for name in names:
        own = points[torch.tensor([label == name for label in labels])]
        between += len(own) * (own.mean(0) - mean).square().sum().item()
        within += (own - own.mean(0)).square().sum().item()
    return _index(np.array([between]), np.array([within]), n, k)[0].item()


def _index(between: np.ndarray, within: np.ndarray, n: np.ndarray | int, k: int) -> np.ndarray:
    """tr(B), tr(W) -> CHI, with its limits where W is rounding or nothing."""
    found = np.where(between > 0, np.inf, 0.0)
    np.divide(between * (n - k), within * (k - 1), out=found, where=within > _NOTHING * (between + within))
    return found


class Estimate(NamedTuple):
    """A value, and the bounds of its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


def chi_interval(
    points: Float[Tensor, "n d"],
    labels: Sequence[Any],
    pictures: Sequence[Any],
    photographs: Mapping[Any, Any] | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """The CHI with a 95 % bootstrap interval over pictures: each resample draws as many pictures as there are, with replacement, and each
    comes with all its degradations. Where several pictures are pieces of one photograph, which tell less than as many photographs,
    `photographs` has each picture's, and these are drawn, with all their pieces; of a single one the bounds are NaN.

    Resamples lie above the value: the means of what was drawn lie further apart than those of what there is, and pictures drawn twice make
    clusters narrower. So all are divided by one factor that makes their median the value; the bounds are then order statistics. They say
    what other pictures, as many, would have given. (Drawn Gaussian clusters, 20 and 100 pictures, CHI 0.2 to 14: 90 to 100 % of such
    intervals held the mean CHI, and as few as none of those without the factor.) A pure function of its arguments. Raises UserError where
    a picture is not there in each degradation once, and as `chi` does."""
    value = chi(points, labels)
    table = _table(pictures, labels)
    grouped = points.double().numpy()[table]  # (pictures, k, d)
    grouped = grouped - grouped.mean((0, 1))
    rows = [photographs[name] if photographs else name for name in dict.fromkeys(pictures)]
    units = {name: i for i, name in enumerate(dict.fromkeys(rows))}
    if photographs and len(units) == 1:
        return Estimate(value, np.nan, np.nan)
    often = chance.generator(seed, "chi").multinomial(len(units), np.full(len(units), 1 / len(units)), size=resamples)
    drawn = often[:, [units[name] for name in rows]].astype(np.float64)
    count, k = drawn.sum(1), table.shape[1]
    means = np.einsum("rp,pkd->rkd", drawn, grouped, optimize=True) / count[:, None, None]
    between = count * np.square(means - means.mean(1, keepdims=True)).sum((1, 2))
    within = drawn @ np.square(grouped).sum((1, 2)) - count * np.square(means).sum((1, 2))
    ordered = np.sort(_index(between, within.clip(min=0), count * k, k))
    outside, median = int(0.025 * resamples + 1e-9), float(np.median(ordered))
    factor = value / median if 0 < value < np.inf and 0 < median < np.inf else 1.0
    return Estimate(value, float(ordered[outside]) * factor, float(ordered[-1 - outside]) * factor)


def _table(pictures: Sequence[Any], labels: Sequence[Any]) -> np.ndarray:
    """(pictures, k): which point shows this picture with this degradation, both in the order in which they come."""
    place = {pair: i for i, pair in enumerate(zip(pictures, labels, strict=True))}
    rows, columns = list(dict.fromkeys(pictures)), list(dict.fromkeys(labels))
    for row in rows:
        for column in columns:
            if (row, column) not in place:
                raise UserError(f"{row} lacks the degradation {column}: give every picture in each of {', '.join(map(str, columns))}")
    if len(place) < len(labels):
        twice = next(pair for pair in place if list(zip(pictures, labels, strict=True)).count(pair) > 1)
        raise UserError(f"{twice[0]} is there with the degradation {twice[1]} more than once: name pictures apart")
    return np.array([[place[row, column] for column in columns] for row in rows])


def usual_perplexity(n: int, perplexity: float = 30.0) -> float:
    """`perplexity`, or a third of the other points where that is less: t-SNE looks at three times as many neighbours. At least 1."""
    return max(1.0, min(perplexity, (n - 1) / 3))


def tsne(scores: Float[Tensor, "n d"], *, seed: int = 0, perplexity: float = 30.0) -> Float[Tensor, "n 2"]:
    """t-SNE (van der Maaten & Hinton, 2008) in two dimensions by scikit-learn, float64, from a random start drawn by `seed`.

    Distances between clusters, and their sizes, mean little in it: look at several seeds. Raises UserError where scikit-learn is missing,
    and for a perplexity that so few points do not admit (see `usual_perplexity`)."""
    if not 0 < perplexity < len(scores):
        raise UserError(f"perplexity {perplexity:g} needs more than {perplexity:g} points, not {len(scores)}: choose a smaller one")
    try:
        from sklearn.manifold import TSNE
    except ImportError:
        raise UserError("t-SNE needs scikit-learn, which is not installed: pip install 'wildsr[explain]'") from None
    found = TSNE(n_components=2, perplexity=perplexity, init="random", random_state=seed).fit_transform(scores.numpy())
    return torch.from_numpy(np.asarray(found, dtype=np.float64))


class Chi(TypedDict):
    """The CHI in the space of the components, with its interval, and in each embedding, in the order of seeds."""

    pca: Estimate
    tsne: list[float]


@dataclass(frozen=True)
class Clusters:
    """Where n inputs lie inside a network. Row i of `scores` and of each embedding: the picture names[i] with the degradation labels[i]."""

    scores: Float[Tensor, "n d"]
    """Coordinates along the first d principal components, float64."""
    labels: tuple[str, ...]
    names: tuple[str, ...]
    degradations: tuple[str, ...]
    """The kinds of `labels`, in the order in which they come."""
    explained: Float[Tensor, " d"]
    """Share of the variance along each component, in [0, 1]."""
    embeddings: dict[int, Float[Tensor, "n 2"]]
    """t-SNE of `scores`, by seed."""
    perplexity: float
    """What t-SNE was given: less than was asked for where points are few (`usual_perplexity`)."""
    chi: Chi
    from_clean: dict[str, float]
    """The distance of each other degradation's mean from that of clean inputs, in `scores`; empty where none are clean."""
    nbytes: int
    """Bytes that the features took."""

    @property
    def farthest(self) -> str | None:
        """The degradation whose cluster is farthest from clean; None where none are clean."""
        return max(self.from_clean, key=lambda name: self.from_clean[name], default=None)


def ddr(
    source: Source,
    inputs: Sequence[tuple[str, str, Float[Tensor, "1 3 h w"]]],
    site: str = "last",
    *,
    photographs: Mapping[str, str] | None = None,
    dims: int = 50,
    seeds: Sequence[int] = (0, 1, 2),
    perplexity: float = 30.0,
    clean: str = "clean",
    resamples: int = RESAMPLES,
    seed: int = 0,
    chunk: int = CHUNK,
    folder: Path | str | None = None,
    memory: int = MEMORY,
    progress: Progress | None = None,
) -> Clusters:
    """The clusters that degradations form inside a network.

    `inputs`: (picture's name, degradation, input in [0, 1]), all of one size, every picture in each degradation once; in practice 100
    pictures, HR 128×128 and so LR 32×32, in five degradations. All that follows looks at the first `dims` components: t-SNE once for each
    of `seeds` (none: scikit-learn is not needed), the CHI, and distances. `seed`: of the interval over pictures, or over `photographs`
    that these are pieces of (see `chi_interval`). For `folder`, `memory` and `progress` see `gather`; `bytes_needed` says beforehand what
    features take.

    Raises UserError for one degradation only, for fewer pictures than degradations, for a picture that lacks a degradation, for inputs of
    several sizes, and for features that do not fit into `memory` without a folder."""
    if not inputs:
        raise UserError("no inputs are given")
    names, labels = tuple(name for name, _, _ in inputs), tuple(label for _, label, _ in inputs)
    degradations, pictures = tuple(dict.fromkeys(labels)), dict.fromkeys(names)
    if len(degradations) < 2:
        raise UserError(f"{labels[0]} is the only degradation: give two or more, for clusters are told apart")
    if len(pictures) < len(degradations):
        raise UserError(f"{len(pictures)} pictures for {len(degradations)} clusters: give as many pictures as degradations, or more")
    _table(names, labels)
    points = gather(source, [picture for _, _, picture in inputs], site, folder=folder, memory=memory, progress=progress)
    found = dual_pca(points, dims, chunk=chunk)
    perplexity = usual_perplexity(len(inputs), perplexity)
    embeddings = {start: tsne(found.scores, seed=start, perplexity=perplexity) for start in seeds}
    means = {name: found.scores[torch.tensor([label == name for label in labels])].mean(0) for name in degradations}
    return Clusters(
        found.scores,
        labels,
        names,
        degradations,
        found.variance / found.total if found.total > 0 else torch.zeros_like(found.variance),
        embeddings,
        perplexity,
        {
            "pca": chi_interval(found.scores, labels, names, photographs, resamples=resamples, seed=seed),
            "tsne": [chi(embedding, labels) for embedding in embeddings.values()],
        },
        {name: (means[name] - means[clean]).norm().item() for name in degradations if name != clean} if clean in means else {},
        points.nbytes,
    )


def chi_curve(
    networks: Iterable[tuple[Any, Source]], inputs: Sequence[tuple[str, str, Float[Tensor, "1 3 h w"]]], site: str = "last", **options: Any
) -> Iterator[tuple[Any, Clusters]]:
    """The clusters of several networks over the same inputs, one after the other: by the probability that they were trained with, say, or
    by the step of a run's snapshots. `networks` may make them one at a time; `options` are those of `ddr`."""
    for label, source in networks:
        yield label, ddr(source, inputs, site, **options)
