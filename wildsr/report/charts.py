"""Charts as SVG: x in percent of the width, y in pixels, so that text keeps its size and nothing is drawn twice for another screen."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from wildsr.report.methods import Cell, Grid, bounds
from wildsr.report.parts import Html, Look, fill
from wildsr.report.runs import Curve, smooth, thin
from wildsr.report.tables import BICUBIC, families, plural, signed

BAR_CHART = 12
"""Degradations for which bars stand side by side, at most; more are rows of dots."""


@dataclass(frozen=True)
class Axis:
    """Values from `low` to `high` on a length, from its `start` to its `end` (which may be the smaller, as for y)."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Where a value lies; what lies outside stands at the edge."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 2)

    def ticks(self, most: int = 5) -> list[float]:
        """Round numbers within the axis."""
        return ticks(self.low, self.high, most)


def axis_of(values: Iterable[float], start: float, end: float, pad: float = 0.08) -> Axis:
    """An axis that holds the values and 0."""
    values = [0.0, *values]
    low, high = min(values), max(values)
    room = (high - low or 1) * pad
    return Axis(low - room, high + room, start, end)


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers within [low, high]."""
    step = 10 ** math.floor(math.log10((high - low) / most))
    step = next(step * factor for factor in (1, 2, 2.5, 5, 10, 20) if (high - low) / (step * factor) <= most)
    return [round(index * step, 12) for index in range(math.ceil(low / step), math.floor(high / step) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times the powers of ten within [low, high]; over many decades the powers alone."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [factor * 10.0**power for power in powers for factor in ((1, 2, 5) if high / low < 300 else (1,))]
    return [tick for tick in found if low <= tick <= high]


def _tick(value: float) -> str:
    return f"{'+' if value > 0 else '−'}{abs(value):g}" if value else "0"


# Gains


def gain_chart(grid: Grid, look: Look) -> Html:
    """Each method's gain over bicubic for each degradation, mean over the sets. Infinite gains are not drawn."""
    methods = [name for name in grid.names if name != BICUBIC]
    columns = [None, *grid.summary.degradations]
    cells = {(name, column): grid.cell(name, None, column, BICUBIC) for name in methods for column in columns}
    cells = {key: cell for key, cell in cells.items() if cell.mean is not None and math.isfinite(cell.mean)}
    if not cells or len(columns) < 3:
        return Html()
    draw = _bars if len(columns) <= BAR_CHART + 1 else _dots
    marks, height, kind = draw(grid, look, methods, columns, cells)
    sets = plural(len(grid.summary.sets), "set")
    worse = "below" if kind == "bars" else "left of"
    worse = worse if grid.sign > 0 else {"below": "above", "left of": "right of"}[worse]
    texts = {"metric": grid.summary.title, "sets": sets, "worse": worse, "kind": kind, "height": height}
    return fill("gain-chart", legend=look.legend(methods), marks=marks, **texts)


def _ends(cells: Iterable[Cell]) -> list[float]:
    return [end for cell in cells for end in (cell.mean, cell.low, cell.high) if end is not None]


def _hint(grid: Grid, name: str, column: str, cell: Cell) -> str:
    metric = grid.summary.metric
    between = bounds(cell, metric, gain=True)
    return f"{name}, {column}: {signed(cell.mean, metric)}{grid.summary.unit}{f' ({between})' if between else ''}"


def _bars(
    grid: Grid, look: Look, methods: Sequence[str], columns: Sequence[str | None], cells: Mapping[tuple[str, str | None], Cell]
) -> tuple[list[Html], int, str]:
    height = 230
    axis = axis_of(_ends(cells.values()), height, 0)
    slot = 100 / len(columns)
    zero = axis.at(0)
    marks = [fill("area", kind="band", x=0, y=0, width=round(slot, 2), height=height, hint="mean over all degradations")]
    top, deep = (zero, height - zero) if grid.sign > 0 else (0, zero)
    marks += [fill("area", kind="losing", x=0, y=top, width=100, height=round(deep, 2), hint="bicubic is better")]
    marks += [fill("rule", kind="grid" if tick else "zero", y=axis.at(tick), label=_tick(tick)) for tick in axis.ticks(7)]
    width = min(slot * 0.8 / len(methods), slot * 0.24)
    for place, column in enumerate(columns):
        centre = (place + 0.5) * slot
        kind = "" if column else "strong"
        long = grid.summary.words[column] if column else "mean over all degradations"
        marks.append(fill("column", kind=kind, x=round(centre, 2), y=height, label=column or "mean", long=long))
        for index, name in enumerate(methods):
            if (name, column) not in cells:
                continue
            cell = cells[name, column]
            up, down = sorted((axis.at(cell.mean or 0), zero))
            x = centre + (index - len(methods) / 2 + 0.08) * width
            kind, hint = f"bar c{look.colours[name]}", _hint(grid, name, column or "mean", cell)
            size = round(max(down - up, 1), 1)
            marks.append(fill("area", kind=kind, x=round(x, 2), y=up, width=round(width * 0.84, 2), height=size, hint=hint))
            if cell.low is not None and cell.high is not None:
                marks.append(
                    fill("whisker", x=round(x + width * 0.42, 2), x2=round(x + width * 0.42, 2), y=axis.at(cell.high), y2=axis.at(cell.low))
                )
    return marks, height, "bars"


def _dots(
    grid: Grid, look: Look, methods: Sequence[str], columns: Sequence[str | None], cells: Mapping[tuple[str, str | None], Cell]
) -> tuple[list[Html], int, str]:
    line, gap, head = 19, 7, 4
    rows: list[tuple[str | None, str, float]] = [(None, "mean over all", head + line / 2)]
    y = head + line + gap
    for family, names in families(grid.summary.words).items():
        for rank, name in enumerate(names):
            severity = f"{rank + 1} of {len(names)}"
            label = family if len(names) == 1 else f"{family}, {severity}" if rank == 0 else severity
            rows.append((name, label, y + line / 2))
            y += line
        y += gap
    height = round(y)
    # The left part of the drawing holds the labels, which stand to the left of x = 0.
    axis = axis_of([cell.mean for cell in cells.values() if cell.mean is not None], 0, 100, 0.04)
    zero = axis.at(0)
    left, width = (0, zero) if grid.sign > 0 else (zero, 100 - zero)
    marks = [fill("area", kind="losing", x=left, y=0, width=round(width, 2), height=height, hint="bicubic is better")]
    marks += [fill("upright", kind="grid" if tick else "zero", x=axis.at(tick), height=height, label=_tick(tick)) for tick in axis.ticks(8)]
    for column, label, at in rows:
        marks.append(fill("row-label", kind="" if column else "strong", y=at, label=label))
        marks.append(fill("thread", y=at))
        for name in methods:
            if (name, column) in cells:
                cell = cells[name, column]
                hint = _hint(grid, name, grid.summary.words[column] if column else "mean", cell)
                marks.append(fill("dot", colour=look.colours[name], x=axis.at(cell.mean or 0), y=at, r=4, hint=hint))
    return marks, height, "rows"


# Seen and unseen


def span(kinds: Mapping[str, Cell], axis: Axis, colour: int, metric: str) -> Html:
    """One method's gains on seen, near-seen and unseen degradations on one line."""
    means = {kind: cell.mean for kind, cell in kinds.items() if cell.mean is not None and math.isfinite(cell.mean)}
    marks = [fill("mark", kind=kind, x=axis.at(mean), hint=f"{kind}: {signed(mean, metric)}") for kind, mean in means.items()]
    ends = [axis.at(means[kind]) for kind in ("seen", "unseen") if kind in means]
    return fill("span", zero=axis.at(0), colour=colour, left=min(ends, default=0), right=max(ends, default=0), marks=marks)


# Detail


def band_chart(title: str, note: str, lines: Mapping[str, Sequence[float | None]], edges: Sequence[str], axis: Axis, look: Look) -> Html:
    """Energy beside the truth's, in dB, by band of frequencies: a line for each method. `edges`: one more than there are bands."""
    height, slot = int(max(axis.start, axis.end)), 100 / (len(edges) - 1)
    marks = [fill("rule", kind="grid" if tick else "truth", y=axis.at(tick), label=_tick(tick)) for tick in axis.ticks(6)]
    for place, edge in enumerate(edges):
        marks.append(fill("column", kind="", x=round(place * slot, 2), y=height, label=edge, long=""))
    if "1" in edges:
        beyond = round(edges.index("1") * slot, 2)
        marks.insert(
            0, fill("area", kind="beyond", x=beyond, y=0, width=round(100 - beyond, 2), height=height, hint="finer than the input can hold")
        )
    paths, dots = [], []
    for name, values in lines.items():
        points = [((place + 0.5) * slot, axis.at(value), value) for place, value in enumerate(values) if value is not None]
        if points:
            paths.append(fill("path", kind=f"line c{look.colours[name]}", points="L".join(f"{x * 10:.1f} {y}" for x, y, _ in points)))
        for place, (x, y, value) in enumerate(points):
            hint = f"{name}, {edges[place]} to {edges[place + 1]}: {signed(value, 'psnr')} dB"
            dots.append(fill("dot", colour=look.colours[name], x=round(x, 2), y=y, r=3, hint=hint))
    return fill(
        "line-chart", title=title, note=note, height=height, marks=marks, paths=paths, dots=dots, what=f"{title}: energy by frequency"
    )


# Training


def line_chart(title: str, note: str, lines: Mapping[str, Curve], look: Look, noisy: bool) -> Html:
    """A line for each run over the steps, smoothed where noisy; logarithmic where positive values span a factor of 3."""
    main = {run: smooth(values) if noisy else thin(values) for run, values in lines.items()}
    logged = [value for values in lines.values() for _, value in values]
    # One early spike must not flatten the rest: what was logged may be cut off, its mean never.
    ends = [value for values in main.values() for _, value in values] + [float(bound) for bound in np.percentile(logged, [0.5, 99.5])]
    log = min(ends) > 0 and max(ends) / min(ends) > 3
    bottom, top = (math.log10(bound) if log else bound for bound in (min(ends), max(ends)))
    pad = (top - bottom or abs(top) or 1) * 0.05
    bottom, top, height = bottom - pad, top + pad, 190
    first, last = min(0, *(values[0][0] for values in lines.values())), max(1, *(values[-1][0] for values in lines.values()))

    def at(step: float, value: float) -> tuple[float, float]:
        share = (math.log10(max(value, 1e-30)) if log else value) - bottom
        return round((step - first) / (last - first) * 100, 2), round((1 - share / (top - bottom)) * height, 1)

    def line(run: str, values: Curve, kind: str) -> Html:
        points = "L".join(f"{x * 10:.1f} {y}" for x, y in (at(*pair) for pair in values))
        return fill("path", kind=f"{kind} c{look.colours[run]}", points=points)

    marks = [
        fill("rule", kind="grid", y=at(0, tick)[1], label=f"{tick:g}")
        for tick in (log_ticks(10**bottom, 10**top) if log else ticks(bottom, top))
    ]
    for tick in ticks(first, last, 4):
        label = f"{tick / 1e6:g}M" if tick >= 1e6 else f"{tick / 1e3:g}k" if tick >= 1e4 else f"{tick:g}"
        marks.append(fill("column", kind="", x=at(tick, 1)[0], y=height, label=label, long=""))
    paths = [line(run, thin(values), "raw") for run, values in lines.items() if noisy]
    paths += [line(run, values, "line") for run, values in main.items()]
    dots = []
    for run, step, value in ((run, *pair) for run, values in main.items() for pair in values if not noisy and len(values) <= 40):
        x, y = at(step, value)
        dots.append(fill("dot", colour=look.colours[run], x=x, y=y, r=3, hint=f"{run}, step {step}: {value:g}"))
    note += ", logarithmic" * log
    return fill(
        "line-chart", title=title, note=note, height=height, marks=marks, paths=paths, dots=dots, what=f"{title} over training steps"
    )
