"""Methods (one training, any number of seeds) and their means, with intervals."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from wildsr.report.statistics import Bootstrap, interval
from wildsr.report.tables import Row, Summary, models_of, plural, show, signed

LEFT_OVER = re.compile(r"(?:[-_., ]+s?|[-_., ]*seed[-_.= ]*)$", re.IGNORECASE)
"""What may hang on the common part of "plain-seed0" and "plain-seed1", or of a sweep's "training=plain,seed=0" and its sisters."""


@dataclass(frozen=True)
class Method:
    """A model, or several that are one training with different seeds. `trained`: whether it has weights, as plain resizing has not;
    `known`: whether its rows say of which training it is; `training_seeds`: those of the models, where there are several."""

    name: str
    models: tuple[str, ...]
    trained: bool
    known: bool
    training_seeds: tuple[int, ...] = ()

    @property
    def seeds(self) -> str:
        """How many seeds, in words; nothing of a method that was not trained."""
        return "" if not self.trained else plural(len(self.models), "seed") if self.known else "1 run"


def methods_of(rows: Iterable[Row]) -> list[Method]:
    """Methods in the order of their models, bicubic first. Models whose rows share `training` and the kind of weights are one method if
    their `training_seed`s all differ, in the order of these; its name is the common part of their labels."""
    facts: dict[str, Row] = {}
    for row in rows:
        facts.setdefault(row["model"], row)
    models = models_of(facts.values())
    groups: dict[tuple[str, ...], list[str]] = {}
    for model in models:
        row = facts[model]
        training = row.get("training")
        groups.setdefault((model, "") if training is None else (str(training), "training", str(row.get("weights_key"))), []).append(model)
    found: list[Method] = []
    for group in groups.values():
        seeds = {model: facts[model]["training_seed"] for model in group if facts[model].get("training_seed") is not None}
        trained, known = (facts[group[0]].get(fact) is not None for fact in ("weights_sha256", "training"))
        if len(group) > 1 and len({*seeds.values()}) == len(group):
            name = _common(group)
            if not name or name in models:
                name = f"{group[0]} and {plural(len(group) - 1, 'other')}"
            inorder = sorted((seed, model) for model, seed in seeds.items())
            found.append(Method(name, tuple(model for _, model in inorder), trained, known, tuple(seed for seed, _ in inorder)))
        else:
            found += [Method(model, (model,), trained, known) for model in group]
    return sorted(found, key=lambda method: min(map(models.index, method.models)))


def _common(labels: Sequence[str]) -> str:
    """The common beginning, or else the common end, of some labels, without a cut number and without separators."""
    start, end = _shared(labels), _shared([label[::-1] for label in labels])[::-1]
    for part in (LEFT_OVER.sub("", re.sub(r"\d+$", "", start)), re.sub(r"^[-_. ]+", "", re.sub(r"^\d+", "", end))):
        if part.strip():
            return part.strip()
    return ""


def _shared(labels: Sequence[str]) -> str:
    """The longest common beginning: that of the first and the last in the order of the alphabet."""
    first, last = min(labels), max(labels)
    return first[: next((i for i, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), min(len(first), len(last)))]


@dataclass(frozen=True)
class Cell:
    """A method's mean (None: nothing to average), the measurements that went into it, those that were asked for, and the bounds of the
    mean's 95 % interval where it has one."""

    mean: float | None
    count: int
    expected: int
    low: float | None = None
    high: float | None = None

    @property
    def complete(self) -> bool:
        """False where the method failed on a picture, so that its mean is over fewer than the others'."""
        return self.count == self.expected

    @property
    def certain(self) -> bool:
        """Whether the interval lies wholly above or below 0."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


class Grid:
    """Means of methods over the seeds and pictures of one summary, and gains over one another, with 95 % intervals.

    A picture counts where every seed of a method answered it; for a gain, every seed of both. Intervals are of the hierarchical bootstrap:
    seeds, then pictures within each set; all methods meet the same drawn pictures, and those of the same seeds the same drawn seeds, so
    that gains are paired."""

    def __init__(self, summary: Summary, methods: Sequence[Method]) -> None:
        self.summary = summary
        there = {model for model, _, _ in [*summary.values, *summary.failures]}
        self.methods = [method for method in methods if there & set(method.models)]
        self._models = {method.name: method.models for method in methods}
        self.seeds = {method.name: method.training_seeds for method in methods}
        self._images = {name: [image for _, image in summary.images(name)] for name in summary.sets}
        self._bootstraps: dict[tuple[str, ...], Bootstrap] = {}
        self._values: dict[tuple[str, str, str], np.ndarray] = {}
        self._drawn: dict[tuple[str, tuple[str, ...], str, bytes], np.ndarray] = {}
        self._cells: dict[tuple[str | None, ...], Cell] = {}

    @property
    def names(self) -> list[str]:
        return [method.name for method in self.methods]

    def values(self, method: str, of_set: str, degradation: str) -> np.ndarray:
        """(seeds, pictures of the set by name); a picture that a seed did not answer is NaN in all."""
        key = (method, of_set, degradation)
        if key not in self._values:
            found = [self.summary.values.get((model, of_set, degradation), {}) for model in self._models[method]]
            values = np.array([[by.get(image, math.nan) for image in self._images[of_set]] for by in found])
            values[:, np.isnan(values).any(0)] = math.nan
            self._values[key] = values
        return self._values[key]

    def cell(self, method: str, of_set: str | None = None, degradation: str | None = None, over: str | None = None) -> Cell:
        """A method's mean, or with `over` its mean gain over that method on the pictures that both answered. None for the set or the
        degradation: the mean over them, each weighing the same. An infinite value makes a mean infinite, without an interval."""
        key = (method, of_set, degradation, over)
        if key not in self._cells:
            self._cells[key] = self._cell(*key)
        return self._cells[key]

    def mean_over(self, method: str, degradations: Sequence[str], over: str | None = None) -> Cell:
        """As `cell`, for all sets and the mean over some degradations, each weighing the same."""
        return self._join(method, self.summary.sets, degradations, over)

    def _cell(self, method: str, of_set: str | None, degradation: str | None, over: str | None) -> Cell:
        sets = self.summary.sets if of_set is None else [of_set]
        return self._join(method, sets, self.summary.degradations if degradation is None else [degradation], over)

    def _join(self, method: str, sets: Sequence[str], degradations: Sequence[str], over: str | None) -> Cell:
        """The mean over sets of the mean over degradations."""
        if over == method:
            places = [self.summary.pictures.get((name, degradation), ()) for name in sets for degradation in degradations]
            return Cell(0.0, sum(map(len, places)), sum(map(len, places)))
        by_set = [[self._mean(method, name, degradation, over) for degradation in degradations] for name in sets]
        flat = [cell for cells in by_set for cell in cells]
        mean = _mean_of(_mean_of(cell.mean for cell in cells) for cells in by_set)
        count, expected = sum(cell.count for cell in flat), sum(cell.expected for cell in flat)
        # Where a set lacks a degradation, or a method all of one, means over sets and over degradations do not commute.
        if mean is None or not math.isfinite(mean) or any(cell.mean is None for cell in flat):
            return Cell(mean, count, expected)
        drawn = np.mean([self._resampled(method, tuple(sets), degradation, over) for degradation in degradations], axis=0)
        bounds = interval(drawn, mean)
        known = math.isfinite(bounds.low) and math.isfinite(bounds.high) and sum(map(len, (self._images[name] for name in sets))) > 1
        return Cell(mean, count, expected, bounds.low, bounds.high) if known else Cell(mean, count, expected)

    def _pair(self, method: str, of_set: str, degradation: str, over: str | None) -> tuple[np.ndarray, np.ndarray | None]:
        """The values of a method and of the one it is compared with, NaN where either has none."""
        mine = self.values(method, of_set, degradation)
        if over is None:
            return mine, None
        theirs = self.values(over, of_set, degradation)
        lacking = np.isnan(mine[0]) | np.isnan(theirs[0])
        return np.where(lacking, math.nan, mine), np.where(lacking, math.nan, theirs)

    def _mean(self, method: str, of_set: str, degradation: str, over: str | None) -> Cell:
        expected = len(self.summary.pictures.get((of_set, degradation), ()))
        mine, theirs = self._pair(method, of_set, degradation, over)
        there = ~np.isnan(mine[0])
        if not there.any():
            return Cell(None, 0, expected)
        mean = float(mine[:, there].mean(1).mean())
        if theirs is not None:
            with np.errstate(invalid="ignore"):
                mean -= float(theirs[:, there].mean(1).mean())
        return Cell(None if math.isnan(mean) else mean, int(there.sum()), expected)

    def _resampled(self, method: str, sets: tuple[str, ...], degradation: str, over: str | None) -> np.ndarray:
        pairs = [self._pair(method, name, degradation, over) for name in sets]
        drawn = self._draw(method, sets, degradation, [mine for mine, _ in pairs])
        others = [theirs for _, theirs in pairs if theirs is not None]
        return drawn - self._draw(over, sets, degradation, others) if over is not None and others else drawn

    def _draw(self, method: str, sets: tuple[str, ...], degradation: str, values: Sequence[np.ndarray]) -> np.ndarray:
        key = (method, sets, degradation, b"".join(np.isnan(part[0]).tobytes() for part in values))
        if key not in self._drawn:
            if sets not in self._bootstraps:
                self._bootstraps[sets] = Bootstrap([len(self._images[name]) for name in sets])
            self._drawn[key] = self._bootstraps[sets].means(values, self.seeds[method])
        return self._drawn[key]

    # What cells mean

    @property
    def sign(self) -> int:
        """1 where a higher value is better, −1 where a lower one is."""
        return -1 if self.summary.about.better == "lower" else 1

    def better(self, cell: Cell) -> int:
        """Of a gain as it is shown: 1 better, −1 worse, 0 neither."""
        words = signed(cell.mean, self.summary.metric)
        return 0 if words[0] not in "+−" else self.sign * (1 if words[0] == "+" else -1)

    def lead(self, cells: Mapping[str, Cell]) -> list[str]:
        """Who has the best mean as shown among those that answered every picture; several where they tie, none where nobody did."""
        means = {name: cell.mean for name, cell in cells.items() if cell.complete and cell.mean is not None}
        if not means:
            return []
        top = show(max(means.values(), key=self.merit), self.summary.metric)
        return [name for name, mean in means.items() if show(mean, self.summary.metric) == top]

    def merit(self, mean: float) -> float:
        """A mean as a number of which more is better."""
        return -abs(mean) if self.summary.about.better == "zero" else self.sign * mean

    def best(self) -> list[str]:
        """Who has the best mean over everything."""
        return self.lead({name: self.cell(name) for name in self.names})


def _mean_of(means: Iterable[float | None]) -> float | None:
    there = [mean for mean in means if mean is not None]
    mean = sum(there) / len(there) if there else math.nan
    return None if math.isnan(mean) else mean


def bounds(cell: Cell, metric: str, *, gain: bool = False) -> str:
    """An interval as it is shown, "26.31–27.02", or for a gain "+0.12 … +0.31"; nothing where there is none."""
    if cell.low is None or cell.high is None:
        return ""
    if gain:
        return f"{signed(cell.low, metric)} … {signed(cell.high, metric)}"
    return f"{show(cell.low, metric)}–{show(cell.high, metric)}".replace("–-", "–−")


def seeds_notes(methods: Sequence[Method], intervals: bool = True) -> str:
    """A sentence on what means are over, and intervals where some are shown."""
    several: dict[str, list[str]] = {}
    for method in methods:
        if len(method.models) > 1:
            several.setdefault(method.seeds, []).append(method.name)
    if not intervals:
        return "; ".join(f"{', '.join(names)}: mean over {seeds}" for seeds, names in several.items())
    single = [method.name for method in methods if len(method.models) == 1 and method.trained]
    words = [f"{', '.join(names)}: mean over {seeds}, interval over seeds and pictures" for seeds, names in several.items()]
    if len(single) == 1:
        words.append(f"{single[0]}: 1 seed, so its interval is over pictures alone")
    elif single:
        words.append(f"{', '.join(single)}: 1 seed each, so their intervals are over pictures alone")
    return "; ".join(words)


def named(model: str, methods: Sequence[Method]) -> Method | None:
    """The method of a model's or a method's name."""
    return next((method for method in methods if model in (method.name, *method.models)), None)
