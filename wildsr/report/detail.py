"""What a method costs in fine detail: energy by band of frequencies beside the truth's, and PSNR of the band of details."""

import itertools
import math
from collections.abc import Sequence

from wildsr.report.charts import Axis, band_chart
from wildsr.report.methods import Cell, Grid, bounds
from wildsr.report.parts import Html, Look, fill
from wildsr.report.tables import BAND, BICUBIC, families, show, signed

FLOOR = -30.0
"""Decibels below which the chart does not go: plain enlargement leaves almost nothing beyond what its input holds."""


def bands_of(grids: Sequence[Grid]) -> list[Grid]:
    """The grids of bands of frequencies, from coarse to fine."""
    found = [(float(band[1]), grid) for grid in grids if (band := BAND.fullmatch(grid.summary.metric))]
    return [grid for _, grid in sorted(found, key=lambda pair: pair[0])]


def section(grids: Sequence[Grid], look: Look) -> Html:
    """The figures and the table of one suite; `grids`: those of all its metrics."""
    bands = bands_of(grids)
    if not bands:
        return fill("detail-none")
    summary = bands[0].summary
    edges = [_edge(BAND.fullmatch(band.summary.metric)[1]) for band in bands]  # pyright: ignore[reportOptionalSubscript]
    edges.append(_edge(BAND.fullmatch(bands[-1].summary.metric)[2]))  # pyright: ignore[reportOptionalSubscript]
    names, clean = bands[0].names, "clean" in summary.degradations
    hard = [name for name in summary.degradations if name != "clean"]
    panels: list[tuple[str, str, list[str]]] = [("clean", "made smaller, nothing else", ["clean"])] if clean else []
    if hard:
        panels.append((f"mean of the other {len(hard)}" if clean else f"mean of all {len(hard)}", "degradations", hard))
    # Of many degradations, each kind has a panel: the mean of its severities.
    groups = families({name: summary.words[name] for name in hard}) if len(hard) > 12 else {name: [name] for name in hard}
    small = [
        (name, "" if name == summary.words[members[0]] or len(members) > 1 else summary.words[members[0]], members)
        for name, members in groups.items()
    ]
    small = small if len(small) > 1 else []
    values = {
        (title, name): [_finite(band.mean_over(name, members).mean) for band in bands]
        for title, _, members in [*panels, *small]
        for name in names
    }
    there = [value for line in values.values() for value in line if value is not None]
    if not there:
        return fill("detail-none")
    low, high = max(min(there), FLOOR), max(there)
    pad = max(high - min(low, 0.0), 1.0) * 0.06
    axis = Axis(min(low, 0.0) - pad, max(high, 0.0) + pad, 230, 0)
    little = Axis(axis.low, axis.high, 120, 0)
    charts = [band_chart(title, note, {name: values[title, name] for name in names}, edges, axis, look) for title, note, _ in panels]
    others = [band_chart(title, note, {name: values[title, name] for name in names}, edges, little, look) for title, note, _ in small]
    each = fill("detail-each", charts=others, count=len(others), what="kind" if len(hard) > 12 else "degradation") if others else ""
    table = _table(grids, bands, panels, edges, look)
    floor = f" Below {signed(FLOOR, 'psnr').removesuffix('.00')} dB lines run along the edge." if min(there) < FLOOR else ""
    return fill("detail", legend=look.legend(names), charts=charts, each=each, table=table, floor=floor, protocol=summary.protocol)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _edge(text: str) -> str:
    return "top" if text == "top" else f"{float(text):g}"


def _table(
    grids: Sequence[Grid], bands: Sequence[Grid], panels: Sequence[tuple[str, str, list[str]]], edges: Sequence[str], look: Look
) -> Html:
    sharp = [grid for grid in grids if grid.summary.metric == "psnr-high"]
    groups = []
    for title, _, members in panels:
        columns = [(grid, {name: grid.mean_over(name, members) for name in grid.names}) for grid in [*sharp, *bands]]
        rows = []
        for name in bands[0].names:
            cells = [_cell(grid, cells, name) for grid, cells in columns]
            rows.append(fill("table-row", kind="bicubic" if name == BICUBIC else "", label=look.label(name), note="", cells=cells))
        groups.append(fill("group", name=title, pictures="", columns=len(columns) + 1, rows=rows))
    heads = [
        fill("table-head", name=f"{grid.summary.about.title}, dB", long="PSNR of the frequencies above half of LR’s Nyquist frequency")
        for grid in sharp
    ]
    for low, high in itertools.pairwise(edges):
        heads.append(
            fill(
                "table-head",
                name=f"{low}–{high}",
                long="energy beside the truth’s, in dB, in this band; in units of LR’s Nyquist frequency",
            )
        )
    return fill("detail-table", heads=heads, groups=groups)


def _cell(grid: Grid, cells: dict[str, Cell], name: str) -> Html:
    cell, metric = cells.get(name, Cell(None, 0, 0)), grid.summary.metric
    zero = grid.summary.about.better == "zero"
    words = (signed if zero else show)(cell.mean, metric)
    between = bounds(cell, metric, gain=zero)
    best = "best" if name in grid.lead(cells) else ""
    return fill("cell", classes=best, words=words, mark="", between=fill("between", words=between) if between else "")
