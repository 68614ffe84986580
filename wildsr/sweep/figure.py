"""The plot of a sweep, in the manner of Reflash Dropout's Figure 4."""

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from wildsr import files
from wildsr.errors import UserError
from wildsr.report.tables import BICUBIC, distinct, show
from wildsr.sweep.grid import words
from wildsr.sweep.results import Place, Record, axes_of, facts, level, points_of

PANELS = 12
"""Panels of a plot, at most; where there would be more, each degradation has one, for the mean over the sets."""
SPAN = 0.2
"""Decibels that a panel's y axis covers at least: smaller differences must not look large."""
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's palette, which colour-blind readers can tell apart, without black and without yellow, which is weak on white."""
MARKERS = "osD^vP"
GREY = "#777777"
PLAIN = (0, (4, 2))
"""The dashes of what has no regulariser."""


def require_matplotlib() -> None:
    """Raises UserError, saying what to install, where matplotlib is missing."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise UserError("the plot needs matplotlib, which is not installed: pip install 'wildsr[bench]'") from None


class Series(NamedTuple):
    """Points that share all but the first axis: a name, a style, and point by value of the first axis."""

    name: str
    style: dict[str, Any]
    points: dict[Any, str]


class Panel(NamedTuple):
    """One small plot: its title, the panels it may share its y axis with, and the places whose mean it shows."""

    title: str
    group: str
    places: list[Place]


def plot(records: Sequence[Record], path: Path) -> None:
    """Draws PATH.png and PATH.svg, the same bytes for the same records: PSNR in dB against the first axis, a panel for each place.

    Error bars, and bands around lines, are the standard deviation over seeds. Horizontal lines: bicubic, the points beside the grid, and
    where one point of a series has no regulariser, that point's level, in the colour of the series."""
    require_matplotlib()
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    first = axes_of(records)[0]
    ticks = list(dict.fromkeys(record["axes"][first] for record in records if record["axes"]))
    panels, series = _panels(records), _series(records)
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({"font.size": 8, "axes.titlesize": 8, "legend.fontsize": 7.5, "svg.hashsalt": "wildsr"})
        # In inches. A row of panels holds a set's degradations, or an even part of them, in what a page is wide.
        width = min(max(2.2, 0.9 + 0.3 * len(ticks) + 0.02 * len(ticks) * len(series)), 5.0)
        of_set = len(distinct(records, "degradation"))
        columns = max(n for n in range(1, of_set + 1) if n == 1 or (of_set % n == 0 and n * width <= 9))
        rows = -(-len(panels) // columns)
        figure = Figure(figsize=(max(columns * width, 4.4), 2.2 * rows + 0.9), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False).flatten()
        limits = _limits(records, panels, series)
        for i, (axes, panel) in enumerate(zip(grid, panels, strict=True)):
            _draw(axes, records, panel, series, ticks, limits[i])
            names = [words(tick) for tick in ticks]
            slanted = max(map(len, names)) * 0.062 > 0.8 * (width - 0.6) / len(ticks)
            axes.set_xticks(range(len(ticks)), names, rotation=35 if slanted else 0, ha="right" if slanted else "center")
            axes.set_ylabel("PSNR RGB (dB)" if i % columns == 0 else "")
            axes.set_xlabel(first if i + columns >= len(panels) else "")
        seeds = distinct(records, "seed")
        noted = "bars: one standard deviation" if len(seeds) > 1 else "one run a point"
        title = [facts(records), f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))} ({noted})"]
        fits = len("; ".join(title)) * 0.08 < figure.get_figwidth()
        figure.suptitle(("; " if fits else "\n").join(title), fontsize=8.5, fontweight="bold")
        handles = {text: handle for axes in grid for handle, text in zip(*axes.get_legend_handles_labels(), strict=True)}
        if any("label" not in style for _, style in _lines(records, series)):
            handles["no regulariser"] = Line2D([], [], color=GREY, linestyle=PLAIN, linewidth=0.9)
        order = sorted(handles, key=lambda name: name not in {one.name for one in series})  # series before lines
        if order:  # one series alone has no name, and bicubic may lie outside all panels
            columns = max(1, int(figure.get_figwidth() / (0.6 + 0.062 * max(map(len, order)))))
            figure.legend([handles[name] for name in order], order, loc="outside lower center", ncols=columns, frameon=False)
        for suffix, metadata in (("png", {"Software": None}), ("svg", {"Date": None, "Creator": None})):
            with files.atomic_write(path.with_name(f"{path.name}.{suffix}")) as file:
                figure.savefig(file, format=suffix, dpi=200, metadata=metadata)


def _panels(records: Sequence[Record]) -> list[Panel]:
    sets, degradations = distinct(records, "set"), distinct(records, "degradation")
    if len(sets) * len(degradations) <= PANELS:
        return [Panel(f"{name}, {degradation}", name, [(name, degradation)]) for name in sets for degradation in degradations]
    return [Panel(f"{name}, mean of {len(sets)} sets", "", [(of, name) for of in sets]) for name in degradations]


def _series(records: Sequence[Record]) -> list[Series]:
    """With several axes besides the first, the second one has the markers and the others the colours; with one, it has both."""
    _, *others = axes_of(records)
    found: dict[tuple[Any, ...], dict[Any, str]] = {}
    for point, record in points_of(records).items():
        if record["axes"]:
            value, *rest = record["axes"].values()
            found.setdefault(tuple(rest), {})[value] = point
    shapes, tints = (list(dict.fromkeys(part(rest) for rest in found)) for part in (lambda rest: rest[:1], lambda rest: rest[1:]))
    made: list[Series] = []
    for i, (rest, points) in enumerate(found.items()):
        name = ", ".join(f"{axis} = {words(value)}" for axis, value in zip(others, rest, strict=True))
        shape, tint = (shapes.index(rest[:1]), tints.index(rest[1:])) if len(others) > 1 else (i, i)
        hollow = len(others) > 1 and shape % 2 == 1
        colour = COLOURS[tint % len(COLOURS)]
        marker = MARKERS[(shape + tint // len(COLOURS)) % len(MARKERS)]
        style = {"color": colour, "marker": marker, "markerfacecolor": "white" if hollow else colour}
        made.append(Series(name, {**style, "linestyle": ":" if hollow else "-"}, points))
    return made


def _plain_points(records: Sequence[Record], series: Series) -> Iterator[str]:
    plain = {record["point"] for record in records if record["plain"]}
    return (point for point in series.points.values() if point in plain)


def _lines(records: Sequence[Record], series: Iterable[Series]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The points that are drawn as horizontal lines, and how."""
    beside = [point for point, record in points_of(records).items() if not record["axes"] and point != BICUBIC]
    for i, point in enumerate(beside):
        yield point, {"color": "black", "linestyle": [PLAIN, (0, (1, 1)), (0, (6, 1, 1, 1))][i % 3], "label": point}
    for one in series:
        plain = list(_plain_points(records, one))
        if len(plain) == 1 < len(one.points):
            yield plain[0], {"color": one.style["color"], "linestyle": PLAIN}


def _limits(records: Sequence[Record], panels: Sequence[Panel], series: Sequence[Series]) -> list[tuple[float, float]]:
    """Each panel's y axis: the same within a set, unless that would make one panel's differences less than half as large."""
    own: list[tuple[float, float]] = []
    points = [point for one in series for point in one.points.values()] + [point for point, _ in _lines(records, series)]
    for panel in panels:
        found = [here for point in points if (here := level(records, point, panel.places)) and math.isfinite(here.mean)]
        ends = [here.mean + sign * (here.deviation or 0) for here in found for sign in (-1, 1)] or [0.0, 1.0]
        low, high = min(ends), max(ends)
        span = max(high - low, SPAN)
        low, high = (low + high - span) / 2, (low + high + span) / 2
        bicubic = level(records, BICUBIC, panel.places)
        if bicubic is not None and low - span / 2 <= bicubic.mean <= high + span / 2:
            low, high = min(low, bicubic.mean), max(high, bicubic.mean)
        elif bicubic is not None:  # too far away to be drawn without flattening the rest: room for a note
            low, high = (low - 0.1 * span, high) if bicubic.mean < low else (low, high + 0.1 * span)
        own.append((low, high))
    limits: list[tuple[float, float]] = []
    for panel, (low, high) in zip(panels, own, strict=True):
        group = [ends for other, ends in zip(panels, own, strict=True) if other.group == panel.group]
        together = min(ends[0] for ends in group), max(ends[1] for ends in group)
        if together[1] - together[0] <= 2 * min(high - low for low, high in group):
            low, high = together
        room = 0.1 * (high - low)
        limits.append((low - room, high + room))
    return limits


def _draw(
    axes: Any, records: Sequence[Record], panel: Panel, series: Sequence[Series], ticks: Sequence[Any], limits: tuple[float, float]
) -> None:
    axes.set_title(panel.title)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlim(-0.5, len(ticks) - 0.5)
    axes.set_ylim(limits)
    for i in range(1, len(ticks)):
        axes.axvline(i - 0.5, color="#eeeeee", linewidth=0.6, zorder=0.5)
    bicubic = level(records, BICUBIC, panel.places)
    if bicubic is not None and limits[0] <= bicubic.mean <= limits[1]:
        axes.axhline(bicubic.mean, color=GREY, linestyle=(0, (6, 2, 1, 2)), linewidth=0.9, label="bicubic enlargement")
    elif bicubic is not None and math.isfinite(bicubic.mean):
        below = bicubic.mean < limits[0]
        axes.text(
            *(0.99, 0.01 if below else 0.99),
            f"bicubic enlargement: {show(bicubic.mean, 'psnr')} {'↓' if below else '↑'}",
            transform=axes.transAxes,
            color=GREY,
            fontsize=7,
            ha="right",
            va="bottom" if below else "top",
        )
    for point, style in _lines(records, series):
        here = level(records, point, panel.places)
        if here is not None and math.isfinite(here.mean):
            axes.axhline(here.mean, linewidth=0.9, zorder=1.5, **style)
            if here.deviation:
                axes.axhspan(here.mean - here.deviation, here.mean + here.deviation, color=style["color"], alpha=0.08, linewidth=0)
    for k, one in enumerate(series):
        shift = (k - (len(series) - 1) / 2) * min(0.16, 0.78 / len(series))
        there = {i: level(records, one.points[tick], panel.places) for i, tick in enumerate(ticks) if tick in one.points}
        levels = {i: here for i, here in there.items() if here is not None and math.isfinite(here.mean)}
        x, y = [i + shift for i in levels], [here.mean for here in levels.values()]
        bars = [here.deviation or 0 for here in levels.values()] if any(here.deviation is not None for here in levels.values()) else None
        axes.errorbar(x, y, bars, label=one.name or None, linewidth=0.9, elinewidth=0.8, markersize=3.5, capsize=1.5, **one.style)
