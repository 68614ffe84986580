"""What `wildsr explain` left in folders, as far as the page shows it."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from wildsr import files
from wildsr.errors import UserError
from wildsr.report.inside.stored import Stored

ORDERS = ("index", "saliency", "reverse")
"""The orders of cumulative ablation that are one curve each; a fourth, random, is many."""
KINDS = ("channels", "lam", "ddr", "srga", "cosine")
_STEP = re.compile(r"step-(\d+)")


@dataclass(frozen=True)
class Channels:
    """One model's channels on one picture. `scores` and `drops` (C,), the latter in dB and NaN where undefined; `curves` by order (C + 1,)
    and `random` (n, C + 1): PSNR in dB with k channels ablated. Where channels were not ablated, numbers are NaN and curves missing."""

    stored: Stored
    scores: np.ndarray
    drops: np.ndarray
    psnr: float
    rank: float
    gini_scores: float
    gini_drops: float
    curves: Mapping[str, np.ndarray]
    random: np.ndarray

    @property
    def width(self) -> int:
        """C."""
        return len(self.scores)

    def features(self) -> np.ndarray:
        """(C, h, w) float32; what is no finite number is 0."""
        return self._maps("feature")

    def saliency(self) -> np.ndarray:
        """(C, h, w) float32 in [0, 1]."""
        return self._maps("map").clip(0, 1)

    def result(self) -> np.ndarray:
        """What the network made of the picture, (h, w, 3) uint8."""
        return self.stored.picture("sr")

    def _maps(self, name: str) -> np.ndarray:
        found = self.stored.numbers(name, self.width, None, None, kind=np.float32)
        if not found.size:
            raise UserError(f"{self.stored.path}: {name!r} is empty: make it anew with wildsr explain")
        return _finite(found)


@dataclass(frozen=True)
class Lam:
    """One model's attribution map on one picture: `signed` (h, w), the diffusion index, the window (top, left, bottom, right) in pixels of
    the input, which is (h, w, 3) uint8."""

    signed: np.ndarray
    diffusion: float
    window: tuple[float, float, float, float]
    given: np.ndarray


@dataclass(frozen=True)
class Clusters:
    """One model's points: `scores` (n, d) of the principal components, `embeddings` (s, n, 2); each point's degradation and picture; the
    share that each component explains; CHI of the components with its 95 % interval, and of each embedding; the farthest cluster."""

    scores: np.ndarray
    embeddings: np.ndarray
    labels: list[str]
    names: list[str]
    explained: np.ndarray
    chi: tuple[float, float, float]
    chi_embedded: np.ndarray
    farthest: str


@dataclass(frozen=True)
class Values:
    """Numbers by name, as of each set, and what they are measured against, where the file says so."""

    values: Mapping[str, float]
    reference: str = ""


@dataclass
class Explained:
    """All that some folders hold. Each kind is by model: the label, with the site after it where a model has several in one kind."""

    labels: dict[str, str] = field(default_factory=dict)
    """What each such name is called without the site."""
    channels: dict[str, dict[str, Channels]] = field(default_factory=dict)
    lam: dict[str, dict[str, Lam]] = field(default_factory=dict)
    clusters: dict[str, Clusters] = field(default_factory=dict)
    snapshots: dict[str, dict[int, tuple[float, float, float]]] = field(default_factory=dict)
    srga: dict[str, Values] = field(default_factory=dict)
    cosine: dict[str, Values] = field(default_factory=dict)
    facts: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)
    """Of each model what its files say about themselves, each set of facts once."""

    @cached_property
    def pictures(self) -> list[str]:
        """Pictures whose channels were looked at, those of most models first."""
        return _pictures(self.channels)

    @cached_property
    def lam_pictures(self) -> list[str]:
        """Pictures that have attribution maps."""
        return _pictures(self.lam)

    @cached_property
    def widths(self) -> dict[str, int]:
        """How many channels each model has."""
        return {model: next(iter(by.values())).width for model, by in self.channels.items()}


def _pictures(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    names = sorted({name for by in found.values() for name in by})
    return sorted(names, key=lambda name: -sum(name in by for by in found.values()))


def read_explained(folders: Sequence[Path]) -> Explained:
    """What the folders hold that `wildsr explain` wrote, models in the order of their rows.

    Raises UserError naming the file or folder: for a folder without arrays, a damaged file, arrays that do not fit each other, one model
    whose channels are not as many on every picture, and for two files that hold the same."""
    folders = [Path(folder) for folder in folders]
    stored = [(kind, Stored(path)) for kind in KINDS for folder in folders for path in sorted((folder / "arrays" / kind).glob("*/*.npz"))]
    for folder in folders:
        if not any(folder in one.path.parents for _, one in stored):
            raise UserError(f"{folder}: holds no arrays of wildsr explain; run wildsr explain MODEL --images DIR --out {folder}")
    sites: dict[tuple[str, str], set[str]] = {}
    for kind, one in stored:
        sites.setdefault((kind, _model(one)), set()).add(one.text("site"))
    ranked = {name: place for place, name in enumerate(dict.fromkeys(name for folder in folders for name in _rows_models(folder)))}
    stored.sort(key=lambda pair: (KINDS.index(pair[0]), ranked.get(_model(pair[1]), len(ranked))))
    found, places = Explained(), {}
    for kind, one in stored:
        label = _model(one)
        model = f"{label}, {one.text('site')}" if len(sites[kind, label]) > 1 else label
        found.labels[model] = label
        name = one.text("image") or one.path.stem
        name = one.path.stem if kind == "ddr" and _STEP.fullmatch(one.path.stem) else name if kind in ("channels", "lam") else ""
        other = places.setdefault((kind, model, name), one.path)
        if other != one.path:
            raise UserError(f"{one.path} and {other} hold the same {kind} of {model!r}: leave one out, or give the models other names")
        facts = {key: one.about.get(key) for key in ("site", "weights_sha256", "code_version", "scale", "side")}
        known = found.facts.setdefault(label, [])
        if facts not in known:
            known.append(facts)
        _add(found, kind, model, name, one)
    return found


def _finite(values: np.ndarray) -> np.ndarray:
    return np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)


def _add(found: Explained, kind: str, model: str, name: str, one: Stored) -> None:
    if kind == "channels":
        channels = _channels(one)
        by = found.channels.setdefault(model, {})
        first = next(iter(by.values()), channels)
        if first.width != channels.width:
            raise UserError(
                f"{one.path}: {channels.width} channels, but {first.stored.path} has {first.width}: "
                "one model has equally many on every picture; make both anew with wildsr explain"
            )
        by[name] = channels
    elif kind == "lam":
        found.lam.setdefault(model, {})[name] = _lam(one)
    elif kind == "ddr" and name:
        found.snapshots.setdefault(model, {})[int(name.partition("-")[2])] = _interval(one)
    elif kind == "ddr":
        found.clusters[model] = _clusters(one)
    else:
        values = one.numbers("values", None)
        names = one.words("names")
        if len(names) != len(values):
            raise UserError(f"{one.path}: {len(names)} names for {len(values)} values")
        by_kind = found.srga if kind == "srga" else found.cosine
        by_kind[model] = Values(dict(zip(names, map(float, values), strict=True)), one.text("reference"))


def _model(one: Stored) -> str:
    return one.text("model") or one.path.parent.name


def _rows_models(folder: Path) -> Iterable[str]:
    path = folder / "rows.jsonl"
    return (str(row.get("model")) for row in files.read_jsonl(path)) if path.is_file() else ()


def _channels(one: Stored) -> Channels:
    scores = one.numbers("scores", None)
    width = len(scores)
    if not width:
        raise UserError(f"{one.path}: no channels: make it anew with wildsr explain")
    whole = one.holds(*ORDERS, "random")
    curves = {order: one.numbers(order, width + 1) for order in ORDERS} if whole else {}
    random = one.numbers("random", None, width + 1) if whole else np.zeros((0, width + 1))
    ablated = one.holds("drops")
    drops = one.numbers("drops", width) if ablated else np.full(width, np.nan)
    facts = {name: one.number(name) if ablated else np.nan for name in ("psnr", "rank", "gini_drops")}
    return Channels(one, scores=scores, drops=drops, gini_scores=one.number("gini_scores"), curves=curves, random=random, **facts)


def _lam(one: Stored) -> Lam:
    signed, given = one.numbers("signed", None, None), one.picture("lr")
    try:
        scale = float(one.about.get("scale") or 1)
    except (TypeError, ValueError):
        raise UserError(f"{one.path}: its scale is no number") from None
    top, left, bottom, right = (float(edge) / scale for edge in one.numbers("window", 4))
    return Lam(_finite(signed), one.number("diffusion"), (top, left, bottom, right), given)


def _interval(one: Stored) -> tuple[float, float, float]:
    value, low, high = (float(number) for number in one.numbers("chi", 3))
    return value, low, high


def _clusters(one: Stored) -> Clusters:
    labels = one.words("labels")
    n = len(labels)
    scores, embeddings = one.numbers("scores", n, None), one.numbers("embeddings", None, n, 2)
    names = one.words("names")
    if len(names) != n:
        raise UserError(f"{one.path}: {len(names)} names for {n} points")
    explained = one.numbers("explained", scores.shape[1])
    chi_embedded = one.numbers("chi_tsne", len(embeddings))
    farthest = str(one.array("farthest"))
    return Clusters(_finite(scores), _finite(embeddings), labels, names, explained, _interval(one), chi_embedded, farthest)
