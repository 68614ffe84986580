"""What several parts share: numbers in words, axes, and figures in tables."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from wildsr.report.charts import Axis
from wildsr.report.parts import Html, Look, fill

HEIGHT = 230
"""Of a chart, in pixels."""
PICTURES = 6
"""Pictures whose maps are shown, at most."""


def figure(value: float, digits: int = 2) -> str:
    """With so many digits after the point."""
    return f"{value:.{digits}f}".replace("-", "−") if math.isfinite(value) else "–"


def short(value: float) -> str:
    """Three significant digits at least, no exponent."""
    return "–" if not math.isfinite(value) else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}".replace("-", "−")


def finite_mean(values: Iterable[float]) -> float:
    """The mean of those that are finite; NaN where none is."""
    there = [value for value in values if math.isfinite(value)]
    return sum(there) / len(there) if there else math.nan


def span(values: Iterable[float], least: float = 0.0, most: float | None = None) -> Axis:
    """An axis in percent that holds the finite values, and reaches from `least` to `most` at least."""
    there = [value for value in values if math.isfinite(value)]
    low, high = min([least, *there]), max([least, *there] if most is None else [most, *there])
    return Axis(low, high if high > low else low + 1, 0, 100)


def rules(up: Axis) -> list[Html]:
    """Lines across a chart at round numbers, that at 0 a stronger one."""
    return [fill("rule", kind="grid" if tick else "zero", y=up.at(tick), label=f"{tick:g}".replace("-", "−")) for tick in up.ticks(6)]


@dataclass(frozen=True)
class Strip:
    """One row of a figure in a table: points with their hints, a mean, or a bar with its interval, and cells beside it."""

    name: str
    cells: Sequence[str]
    points: Sequence[tuple[str, float]] = ()
    mean: float = math.nan
    bar: float = math.nan
    reach: tuple[float, float] = (math.nan, math.nan)


def strip_table(what: str, strips: Sequence[Strip], heads: Sequence[str], axis: Axis, look: Look) -> Html:
    """A table, a row a strip: name, figure on the axis, cells under their heads."""
    rows = []
    for strip in strips:
        marks = [fill("strip-mark", kind="one", x=axis.at(value), hint=hint) for hint, value in strip.points if math.isfinite(value)]
        if math.isfinite(strip.bar):
            marks.insert(0, fill("strip-bar", kind="bar", left=axis.at(min(0, strip.bar)), right=axis.at(max(0, strip.bar))))
        if all(map(math.isfinite, strip.reach)):
            marks.append(fill("strip-bar", kind="reach", left=axis.at(strip.reach[0]), right=axis.at(strip.reach[1])))
        if math.isfinite(strip.mean):
            marks.append(fill("strip-mark", kind="middle", x=axis.at(strip.mean), hint=f"mean: {short(strip.mean)}"))
        cells = [fill("strip-cell", words=words) for words in strip.cells]
        label, colour = look.label(strip.name), look.colours[strip.name]
        rows.append(fill("strip", label=label, colour=colour, zero=axis.at(0), marks=marks, cells=cells))
    marks = [fill("span-tick", x=axis.at(tick), label=f"{tick:g}".replace("-", "−")) for tick in axis.ticks(4)]
    return fill("strips", what=what, ticks=marks, heads=[fill("strip-head", words=words) for words in heads], rows=rows)
