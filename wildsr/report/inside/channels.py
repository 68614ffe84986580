"""Channels as numbers: how unequal they are, and what is left without them."""

import math
from collections.abc import Mapping

import numpy as np

from wildsr.report.charts import Axis, ticks
from wildsr.report.inside.drawing import HEIGHT, Strip, figure, finite_mean, span, strip_table
from wildsr.report.inside.explained import ORDERS, Channels, Explained
from wildsr.report.parts import Html, Look, fill
from wildsr.report.tables import plural, signed

TITLES = {
    "index": "By number",
    "saliency": "Most important first",
    "reverse": "Least important first",
    "random": "At random",
}


def _common(found: Mapping[str, Mapping[str, Channels]]) -> tuple[Mapping[str, Mapping[str, Channels]], str]:
    """The pictures to take means over: those that all models share, where there are any; and a sentence on it."""
    everything = list(dict.fromkeys(picture for by in found.values() for picture in by))
    shared = [picture for picture in everything if all(picture in by for by in found.values())]
    if not shared:
        return found, "The networks share no picture, so each mean is over other pictures: the means are not comparable."
    used = {name: {picture: by[picture] for picture in shared} for name, by in found.items()}
    lacking = [picture for picture in everything if picture not in shared]
    over = f"Means over {plural(len(shared), 'picture')}"
    return used, f"{over}; not every network was looked at on {', '.join(lacking)}." if lacking else f"{over}."


def inequality_part(found: Explained, look: Look) -> Html:
    """Gini coefficients and rank correlations, a point a picture, and their means."""
    used, words = _common(found.channels)
    figures = []
    for title, what in (
        ("Gini of saliency scores", "gini_scores"),
        ("Gini of PSNR drops", "gini_drops"),
        ("Rank correlation of scores and drops", "rank"),
    ):
        points = {
            name: [(f"{picture}: {figure(getattr(one, what))}", getattr(one, what)) for picture, one in by.items()]
            for name, by in used.items()
        }
        means = {name: finite_mean(value for _, value in some) for name, some in points.items()}
        if not any(map(math.isfinite, means.values())):
            continue
        strips = [Strip(name, [figure(means[name])], some, means[name]) for name, some in points.items()]
        axis = span((value for some in points.values() for _, value in some), 0.0, 1.0)
        figures.append(fill("strips-titled", title=title, body=strip_table(title, strips, ["mean"], axis, look)))
    return fill("inequality", figures=figures, words=words)


def ablation_part(found: Explained, look: Look) -> Html:
    """PSNR with more and more channels ablated, a chart an order, and a table."""
    there = {name: {picture: one for picture, one in by.items() if one.curves} for name, by in found.channels.items()}
    used, words = _common({name: by for name, by in there.items() if by})
    same = len({found.widths[name] for name in used}) == 1
    curves = {name: _curves(by) for name, by in used.items()}
    ends = [value for by in curves.values() for lines in by.values() for value in lines.ravel() if math.isfinite(value)]
    if not ends:
        return fill("ablation-none")
    room = (max(ends) - min(ends) or 1) * 0.05
    up = Axis(min(ends) - room, max(ends) + room, HEIGHT, 0)
    charts = []
    for order, title in TITLES.items():
        lines = {name: by[order] for name, by in curves.items() if order in by}
        if lines:
            charts.append(_curve_chart(title, lines, up, same, look))
    shares = ((1 / 3, "⅓"), (2 / 3, "⅔"))
    there = {order: title for order, title in TITLES.items() if any(order in by for by in curves.values())}
    heads = [fill("ablation-head", order=title) for title in there.values()]
    seconds = [fill("strip-head", words=share) for _ in there for _, share in shares]
    rows = []
    for name, by in curves.items():
        width = found.widths[name]
        cells = [fill("strip-cell", words=figure(float(by["index"][0][0])))]
        for order in there:
            for share, _ in shares:
                lost = float(by[order][0][round(share * width)] - by[order][0][0]) if order in by else math.nan
                cells.append(fill("strip-cell", words=signed(lost, "psnr") if math.isfinite(lost) else "–"))
        rows.append(fill("figures", label=look.label(name), cells=cells))
    drawn = min((len(one.random) for by in used.values() for one in by.values()), default=0)
    return fill(
        "ablation",
        legend=look.legend(list(curves)),
        charts=charts,
        table=fill("ablation-table", heads=heads, seconds=seconds, rows=rows),
        words=words,
        drawn=fill("drawn", orders=plural(drawn, "order")) if drawn else "",
        widths="" if same else "The networks differ in width, so the curves stand over shares of channels, not over their numbers.",
    )


def _curves(by: Mapping[str, Channels]) -> dict[str, np.ndarray]:
    """By order (1, C + 1) PSNR in dB, averaged over the pictures; of random orders (3, C + 1): median, and the ends of 95 %."""
    found = {order: np.mean([one.curves[order] for one in by.values()], axis=0)[None] for order in ORDERS}
    drawn = min(len(one.random) for one in by.values())
    if drawn:
        orders = np.mean([one.random[:drawn] for one in by.values()], axis=0)
        found["random"] = np.percentile(orders, [50, 2.5, 97.5], axis=0)
    return found


def _curve_chart(title: str, lines: Mapping[str, np.ndarray], up: Axis, same: bool, look: Look) -> Html:
    marks = [fill("rule", kind="grid", y=up.at(tick), label=f"{tick:g}") for tick in up.ticks(6)]
    top = max(line.shape[1] - 1 for line in lines.values()) if same else 100
    for tick in ticks(0, top, 5):
        marks.append(fill("column", kind="", x=round(tick / top * 100, 2), y=HEIGHT, label=f"{tick:g}" if same else f"{tick:g} %", long=""))
    bands, paths = [], []
    for name, line in lines.items():
        across = np.linspace(0, 1000, line.shape[1])

        def points(values: np.ndarray, across: np.ndarray = across) -> list[str]:
            return [f"{x:.1f} {up.at(float(y))}" for x, y in zip(across, values, strict=True) if math.isfinite(y)]

        if len(line) == 3 and (edge := points(line[1]) + points(line[2])[::-1]):
            bands.append(fill("path", kind=f"ribbon c{look.colours[name]}", points="L".join(edge)))
        if points(line[0]):
            paths.append(fill("path", kind=f"line c{look.colours[name]}", points="L".join(points(line[0]))))
    note = f"PSNR in dB over the {'number' if same else 'share'} of channels set to zero"
    return fill(
        "line-chart",
        title=title,
        note=note,
        height=HEIGHT,
        marks=marks,
        paths=bands + paths,
        dots="",
        what=f"{title}: {note}; the table gives numbers",
    )
