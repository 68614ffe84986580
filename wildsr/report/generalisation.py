"""Whether a gain carries over: gains over bicubic on degradations like those of training, and on others."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wildsr.report.charts import axis_of, span
from wildsr.report.methods import Cell, Grid, bounds
from wildsr.report.parts import Html, Look, fill
from wildsr.report.statistics import Bootstrap, interval
from wildsr.report.tables import BICUBIC, plural, signed

KINDS = ("seen", "near", "unseen")


@dataclass(frozen=True)
class Gap:
    """A method's mean gains over bicubic by kind of degradation, and the gain on seen minus that on unseen ones."""

    name: str
    gains: dict[str, Cell]
    difference: Cell


@dataclass(frozen=True)
class Comparison:
    """Gaps of methods, on the sets and pictures that all suites share; `counts`: how many degradations of each kind there are."""

    gaps: list[Gap]
    counts: dict[str, int]
    sets: list[str]


class _Shared:
    """The pictures that some grids share, and gains on them; every grid meets the same drawn pictures and seeds."""

    def __init__(self, grids: Sequence[Grid]) -> None:
        pictures = set.intersection(*(set(grid.summary.images()) for grid in grids))
        self.count = len(pictures)
        self.sets = [name for name in grids[0].summary.sets if any(name == place[0] for place in pictures)]
        self._boot = Bootstrap([sum(place[0] == name for place in pictures) for name in self.sets])
        self._columns = {
            (grid.summary.suite, name): [i for i, place in enumerate(grid.summary.images(name)) if place in pictures]
            for grid in grids
            for name in self.sets
        }

    def gain(self, method: str, places: Sequence[tuple[Grid, str]]) -> tuple[float, np.ndarray]:
        """A method's gain over bicubic, mean over some (grid, degradation): the mean over sets of that over pictures (NaN of nothing), and
        the same resampled."""
        found = [self._gain(method, *place) for place in places]
        return float(np.mean([mean for mean, _ in found])), np.mean([drawn for _, drawn in found], axis=0)

    def _gain(self, method: str, grid: Grid, degradation: str) -> tuple[float, np.ndarray]:
        mine, theirs, means = [], [], []
        for name in self.sets:
            columns = self._columns[grid.summary.suite, name]
            pair = [grid.values(one, name, degradation)[:, columns] for one in (method, BICUBIC)]
            lacking = np.isnan(pair[0][0]) | np.isnan(pair[1][0])
            mine.append(np.where(lacking, math.nan, pair[0]))
            theirs.append(np.where(lacking, math.nan, pair[1]))
            if not lacking.all():
                means.append(pair[0][:, ~lacking].mean() - pair[1][:, ~lacking].mean())
        drawn, plain = self._boot.means(mine, grid.seeds[method]), self._boot.means(theirs, grid.seeds[BICUBIC])
        return float(np.mean(means)) if means else math.nan, drawn - plain


def compare(grids: Sequence[Grid]) -> Comparison:
    """Gaps from grids of one metric under several suites. Each degradation of a kind weighs the same, and so does each set; inputs that
    two suites share count once.

    Intervals are of the hierarchical bootstrap, in which all suites meet the same drawn pictures and seeds. Without gaps where seen and
    unseen degradations are not both there, or where the suites share no picture."""
    distinct = _distinct(grids)
    by_kind = {kind: [place for place in distinct if place[0].summary.seen[place[1]] == kind] for kind in KINDS}
    by_kind = {kind: places for kind, places in by_kind.items() if places}
    counts = {kind: len(places) for kind, places in by_kind.items()}
    if not {"seen", "unseen"} <= counts.keys():
        return Comparison([], counts, [])
    used = list(dict.fromkeys(grid for grid, _ in distinct))
    shared = _Shared(used)
    names = [name for name in used[0].names if name != BICUBIC and all(name in grid.names for grid in used)]
    gaps: list[Gap] = []
    with np.errstate(invalid="ignore"):
        for method in names if shared.sets else []:
            found = {kind: shared.gain(method, places) for kind, places in by_kind.items()}
            gains = {kind: _cell(*gain, shared.count) for kind, gain in found.items()}
            (seen, drawn), (unseen, redrawn) = found["seen"], found["unseen"]
            gaps.append(Gap(method, gains, _cell(seen - unseen, drawn - redrawn, shared.count)))
    return Comparison(gaps, counts, shared.sets)


def _distinct(grids: Sequence[Grid]) -> list[tuple[Grid, str]]:
    """The (grid, degradation) of some kind, without those whose inputs another one has, to the pixel. Of two suites, the one that asks for
    less gives way, so that a model need not be measured on it."""
    found: list[tuple[Grid, str]] = []
    for grid in sorted(grids, key=lambda grid: -len(grid.summary.seen)):
        for name, kind in grid.summary.seen.items():
            if kind in KINDS and not any(_same(grid, name, *other) for other in found):
                found.append((grid, name))
    return sorted(found, key=lambda place: grids.index(place[0]))


def _same(grid: Grid, name: str, other: Grid, its: str) -> bool:
    mine, theirs = grid.summary.inputs.get(name, {}), other.summary.inputs.get(its, {})
    both = mine.keys() & theirs.keys()
    return bool(both) and all(mine[place] == theirs[place] for place in both)


def _cell(mean: float, drawn: np.ndarray, pictures: int) -> Cell:
    if not math.isfinite(mean):
        return Cell(None if math.isnan(mean) else mean, pictures, pictures)
    ends = interval(drawn, mean)
    known = math.isfinite(ends.low) and math.isfinite(ends.high) and pictures > 1
    return Cell(mean, pictures, pictures, ends.low, ends.high) if known else Cell(mean, pictures, pictures)


def section(grids: Sequence[Grid], look: Look, known: bool) -> Html:
    """The figure and its numbers for one metric, or what to run to get them. `known`: whether any row says what training covers."""
    metric, summary = grids[0].summary.metric, grids[0].summary
    found = compare(grids)
    gaps = [gap for gap in found.gaps if gap.difference.mean is not None]
    if not gaps:
        return fill("gaps-elsewhere", metric=summary.name) if known and not found.counts else _lacking(found)
    means = [end for gap in gaps for cell in gap.gains.values() for end in (cell.mean,) if end is not None and math.isfinite(end)]
    axis = axis_of(means, 0, 100, 0.06)
    ticks = [fill("span-tick", x=axis.at(tick), label=f"{tick:+g}".replace("-", "−") if tick else "0") for tick in axis.ticks(5)]
    rows = []
    for gap in gaps:
        cells = [_number(gap.gains.get(kind), metric) for kind in KINDS if kind in found.counts]
        figure = span(gap.gains, axis, look.colours[gap.name], metric)
        rows.append(
            fill("gap-row", label=look.label(gap.name), figure=figure, cells=cells, difference=_number(gap.difference, metric, "mean"))
        )
    kinds = [fill("gap-head", kind=kind, count=found.counts[kind]) for kind in KINDS if kind in found.counts]
    suites = " and ".join(dict.fromkeys(grid.summary.suite for grid in grids))
    words = {"metric": summary.title, "sets": plural(len(found.sets), "set"), "suites": suites}
    return fill("gaps", ticks=ticks, rows=rows, kinds=kinds, **words)


def _number(cell: Cell | None, metric: str, kind: str = "") -> Html:
    if cell is None:
        return fill("cell", classes="", words="–", mark="", between="")
    between = bounds(cell, metric, gain=True)
    mark = fill("sure") if cell.certain else ""
    return fill("cell", classes=kind, words=signed(cell.mean, metric), mark=mark, between=fill("between", words=between) if between else "")


def _lacking(found: Comparison) -> Html:
    if not found.counts:
        return fill("gaps-unknown")
    if {"seen", "unseen"} <= found.counts.keys():
        return fill("gaps-apart")
    there = " and ".join({"near": "nearly seen"}.get(kind, kind) for kind in found.counts)
    return fill("gaps-lacking", there=there)
