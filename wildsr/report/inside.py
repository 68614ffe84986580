"""The section on what is inside the networks: channels one by one, how unequal they are, what is left without them, whether kinds of damage
stand apart, and which pixels count. Each part is there when what it shows was looked at."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from wildsr.report import maps
from wildsr.report.charts import Axis, ticks
from wildsr.report.explained import Channels, Clusters, Explained, Lam, Values
from wildsr.report.parts import Html, Look, fill, switch
from wildsr.report.sheets import data_uri
from wildsr.report.tables import plural, signed

ROOM = 6_000_000
"""Bytes of the section, at most."""
SIDES = (96, 64, 48)
"""Sides of a channel's map in pixels; the second and third are used where one picture's maps of all models would be too much."""
PICTURES = 6
"""Pictures whose maps are shown, at most."""
HEIGHT = 230
KINDS = (7, 12, 10, 9, 5, 11, 8, 6, 4, 3, 2, 1)
"""Colours of degradations: as far from those of the first models as there are."""
ORDERS = {
    "index": "By number",
    "saliency": "Most important first",
    "reverse": "Least important first",
    "random": "At random",
}


@dataclass
class Inside:
    """What a page gets: the networks, parts as (id, link, title, body), and what its script reads."""

    models: list[str] = field(default_factory=list)
    parts: list[tuple[str, str, str, Html]] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)

    def add(self, id_: str, link: str, title: str, body: Html) -> None:
        """One more part."""
        self.parts.append((id_, link, title, body))

    @property
    def links(self) -> dict[str, str]:
        """Links by id, for a page that holds nothing else."""
        return {id_: link for id_, link, _, _ in self.parts}

    def section(self) -> Html:
        """All parts as one section of a page that holds others."""
        if not self.parts:
            return Html()
        return fill("inside", parts=[fill("part", id=id_, title=title, body=body) for id_, _, title, body in self.parts])

    def sections(self) -> list[Html]:
        """Each part as a section of its own."""
        return [fill("part-alone", id=id_, title=title, body=body) for id_, _, title, body in self.parts]


def inside(found: Explained, look: Look, room: int = ROOM) -> Inside:
    """The parts that `found` has something for, in at most about `room` bytes; `look` knows the colours of all models in it.

    Raises UserError naming a file that is damaged."""
    made = Inside(list(found.facts))
    attributions = _lam(found, look) if found.lam else None
    if found.channels:
        room -= len(attributions or "") + _weight(found.clusters.values()) + 100_000
        body, made.data["channels"] = _explorer(found, look, room)
        made.add("channels", "Channels", "Channel by channel", body)
        made.add("inequality", "Inequality", "How unequal channels are", _inequality(found, look))
        if any(one.curves for by in found.channels.values() for one in by.values()):
            made.add("ablation", "Ablation", "With fewer and fewer channels", _cumulative(found, look))
    if found.clusters or found.snapshots:
        body, made.data["clusters"] = _clusters(found, look)
        made.add("clusters", "Clusters", "Do kinds of damage stand apart?", body)
    if found.srga:
        made.add("srga", "SRGA", "How features are distributed: SRGA", _named("srga", found.srga, look))
    if found.cosine:
        made.add("cosine", "Cosines", "Features of clean and of degraded input", _named("cosine", found.cosine, look))
    if attributions is not None:
        made.add("lam", "Attribution", "Which pixels count", attributions)
    made.add("looked-at", "Method", "What was looked at", _facts(found, look))
    return made


def names_of(found: Explained) -> list[str]:
    """Every name that needs a colour."""
    return list(dict.fromkeys([*found.labels, *found.facts]))


# Words and figures that several parts share


def _figure(value: float, digits: int = 2) -> str:
    return f"{value:.{digits}f}".replace("-", "−") if math.isfinite(value) else "–"


def _short(value: float) -> str:
    """Three significant digits at least, no exponent."""
    return "–" if not math.isfinite(value) else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}".replace("-", "−")


def _mean(values: Iterable[float]) -> float:
    there = [value for value in values if math.isfinite(value)]
    return sum(there) / len(there) if there else math.nan


def _axis(values: Iterable[float], least: float = 0.0, most: float | None = None) -> Axis:
    there = [value for value in values if math.isfinite(value)]
    low, high = min([least, *there]), max([least, *there] if most is None else [most, *there])
    return Axis(low, high if high > low else low + 1, 0, 100)


@dataclass(frozen=True)
class _Strip:
    """One row of a figure in a table: points with their hints, a mean, or a bar with its interval, and cells beside it."""

    name: str
    cells: Sequence[str]
    points: Sequence[tuple[str, float]] = ()
    mean: float = math.nan
    bar: float = math.nan
    reach: tuple[float, float] = (math.nan, math.nan)


def _strips(what: str, strips: Sequence[_Strip], heads: Sequence[str], axis: Axis, look: Look) -> Html:
    rows = []
    for strip in strips:
        marks = [fill("strip-mark", kind="one", x=axis.at(value), hint=hint) for hint, value in strip.points if math.isfinite(value)]
        if math.isfinite(strip.bar):
            marks.insert(0, fill("strip-bar", kind="bar", left=axis.at(min(0, strip.bar)), right=axis.at(max(0, strip.bar))))
        if all(map(math.isfinite, strip.reach)):
            marks.append(fill("strip-bar", kind="reach", left=axis.at(strip.reach[0]), right=axis.at(strip.reach[1])))
        if math.isfinite(strip.mean):
            marks.append(fill("strip-mark", kind="middle", x=axis.at(strip.mean), hint=f"mean: {_short(strip.mean)}"))
        cells = [fill("strip-cell", words=words) for words in strip.cells]
        label, colour = look.label(strip.name), look.colours[strip.name]
        rows.append(fill("strip", label=label, colour=colour, zero=axis.at(0), marks=marks, cells=cells))
    marks = [fill("span-tick", x=axis.at(tick), label=f"{tick:g}".replace("-", "−")) for tick in axis.ticks(4)]
    return fill("strips", what=what, ticks=marks, heads=[fill("strip-head", words=words) for words in heads], rows=rows)


# Channel by channel


def _weight(found: Iterable[Clusters]) -> int:
    return sum(24 * len(one.labels) * (1 + len(one.embeddings)) for one in found)


def _explorer(found: Explained, look: Look, room: int) -> tuple[Html, dict[str, Any]]:
    """The explorer, and the maps of as many pictures as there is room for, in the largest size that the first picture has room for."""
    scale = _scale(found)
    shown, figures, room, sides = {}, [], room - sum(22 * one.width for by in found.channels.values() for one in by.values()), SIDES
    for picture in found.pictures[:PICTURES]:
        made, weight = {}, 0
        for side in sides:
            made = {name: _sheets(by[picture], scale, side) for name, by in found.channels.items() if picture in by}
            weight = sum(len(uri) for uris in made.values() for uri in uris.values())
            if weight <= room:
                sides = (side,)
                break
        if weight > room:
            if shown:
                break
            # Not even one picture of all networks fits in the smallest size: as many networks as do.
            made, sides = _first(made, room), ()
        room -= weight
        for name, uris in made.items():
            id_ = f"channels-{len(shown)}"
            shown[name, picture] = {kind: f"{id_}-{kind}" for kind in uris}
            images = [
                fill("channel-sheet", id=f"{id_}-{kind}", uri=Html(uri), kind=kind, alt=f"{kind} of {name} on {picture}")
                for kind, uri in uris.items()
            ]
            figures.append(fill("channel-sheets", label=look.label(name), picture=picture, images=images))
    pictures = list(dict.fromkeys(picture for _, picture in shown))
    models = list(found.channels)
    cells = {
        f"{models.index(name)}|{pictures.index(picture)}": _cell(found.channels[name][picture], ids)
        for (name, picture), ids in shown.items()
    }
    data = {
        "pictures": pictures,
        "models": [{"name": name, "colour": look.colours[name], "width": found.widths[name]} for name in models],
        "cells": cells,
    }
    sites = {name: _sites(found, name) for name in models}
    one = next(iter(sites.values()))
    where = f"at the site {one}" if one and set(sites.values()) == {one} else "at its site"
    left = [picture for picture in found.pictures if picture not in pictures]
    missing = [name for name in models if not any(name == other for other, _ in shown)]
    ablated = any(np.isfinite(one.drops).any() for by in found.channels.values() for one in by.values())
    tools = {
        "pictures": [fill("option", value=place, name=name) for place, name in enumerate(pictures)],
        "kinds": switch("map", "Map", {"saliency": "Saliency", "feature": "Feature"}),
        "orders": switch("order", "Order", {"index": "By number", "saliency": "By score"} | ({"drop": "By drop"} if ablated else {})),
        "keys": _keys(scale),
    }
    body = fill(
        "channels",
        where=where,
        explore=fill("explore", **tools) if pictures else "",
        sheets=figures,
        widths=_widths(found),
        left_out=fill("left-out-maps", names=", ".join([*left, *missing])) if left or missing else "",
    )
    return body, data


def _first(made: Mapping[str, dict[str, str]], room: int) -> dict[str, dict[str, str]]:
    kept = {}
    for name, uris in made.items():
        room -= sum(map(len, uris.values()))
        if room < 0:
            break
        kept[name] = uris
    return kept


def _sites(found: Explained, name: str) -> str:
    for by in found.channels[name].values():
        return by.stored.text("site")
    return ""


def _scale(found: Explained) -> float:
    """The size of a feature at which colours end, one for all models and pictures: the largest of each map's 99.5th percentile."""
    tops = []
    for picture in found.pictures[:PICTURES]:
        for by in found.channels.values():
            if picture in by:
                sizes = np.abs(by[picture].features()).ravel()
                tops.append(float(np.percentile(sizes[:: max(1, len(sizes) // 200_000)], 99.5)) if len(sizes) else 0.0)
    return max(tops, default=0.0) or 1.0


def _sheets(one: Channels, scale: float, side: int) -> dict[str, str]:
    """The data addresses of a model's sheets and of its result on one picture."""
    saliency, features = maps.shrink(one.saliency(), side), maps.shrink(one.features(), side)
    result = maps.shrink(one.result().transpose(2, 0, 1), 2 * side).round().astype(np.uint8).transpose(1, 2, 0)
    sheets = {
        "result": result,
        "saliency": maps.sheet(maps.saliency_colours(saliency)),
        "feature": maps.sheet(maps.signed_colours(features, scale)),
    }
    return {kind: maps.lossy_uri(pixels) for kind, pixels in sheets.items()}


def _cell(one: Channels, ids: Mapping[str, str]) -> dict[str, Any]:
    drops = np.where(np.isfinite(one.drops), one.drops, np.nan)
    # Stable, so that equal channels stand by number; undefined drops come last.
    orders = {"saliency": np.argsort(-np.nan_to_num(one.scores), kind="stable"), "drop": np.argsort(-drops, kind="stable")}
    return {
        "words": f"PSNR {_figure(one.psnr)} dB, rank correlation {_figure(one.rank)}" if np.isfinite(drops).any() else "",
        "scores": [float(f"{score:.4g}") if math.isfinite(score) else 0.0 for score in one.scores],
        "drops": [None if math.isnan(drop) else float(f"{drop:.4g}") for drop in drops],
        "orders": {name: order.tolist() for name, order in orders.items()},
        "maps": dict(ids),
        "columns": maps.columns_of(one.width),
    }


def _keys(scale: float) -> list[Html]:
    """The colour scales with their ticks, which stand where the square root puts them."""
    shares = (0, 0.05, 0.25, 0.5, 1)
    bars = {
        "saliency": (maps.shades(), [(math.sqrt(share) * 100, f"{share:g}") for share in shares]),
        "feature": (
            maps.poles()[::2],
            [
                (50 + sign * math.sqrt(share) * 50, f"{sign * share * scale:.2g}".replace("-", "−"))
                for sign, share in ((-1, 1), (-1, 0.25), (1, 0), (1, 0.25), (1, 1))
            ],
        ),
    }
    found = []
    for kind, (colours, marks) in bars.items():
        uri = Html(data_uri(np.ascontiguousarray(colours[None])))
        found.append(fill("key", kind=kind, uri=uri, ticks=[fill("span-tick", x=round(x, 1), label=label) for x, label in marks]))
    return found


def _widths(found: Explained) -> str:
    if len(set(found.widths.values())) < 2:
        return ""
    words = ", ".join(f"{name} {width}" for name, width in found.widths.items())
    return (
        f"The networks differ in width (channels: {words}): one channel of few is a larger part of a network than one of many, so single "
        "drops and scores are not comparable between widths; shares of channels and Gini coefficients are."
    )


# Inequality


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


def _inequality(found: Explained, look: Look) -> Html:
    used, words = _common(found.channels)
    figures = []
    for title, what in (
        ("Gini of saliency scores", "gini_scores"),
        ("Gini of PSNR drops", "gini_drops"),
        ("Rank correlation of scores and drops", "rank"),
    ):
        points = {
            name: [(f"{picture}: {_figure(getattr(one, what))}", getattr(one, what)) for picture, one in by.items()]
            for name, by in used.items()
        }
        means = {name: _mean(value for _, value in some) for name, some in points.items()}
        if not any(map(math.isfinite, means.values())):
            continue
        strips = [_Strip(name, [_figure(means[name])], some, means[name]) for name, some in points.items()]
        axis = _axis((value for some in points.values() for _, value in some), 0.0, 1.0)
        figures.append(fill("strips-titled", title=title, body=_strips(title, strips, ["mean"], axis, look)))
    return fill("inequality", figures=figures, words=words)


# Cumulative ablation


def _cumulative(found: Explained, look: Look) -> Html:
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
    for order, title in ORDERS.items():
        lines = {name: by[order] for name, by in curves.items() if order in by}
        if lines:
            charts.append(_curve_chart(title, lines, up, same, look))
    shares = ((1 / 3, "⅓"), (2 / 3, "⅔"))
    there = {order: title for order, title in ORDERS.items() if any(order in by for by in curves.values())}
    heads = [fill("ablation-head", order=title) for title in there.values()]
    seconds = [fill("strip-head", words=share) for _ in there for _, share in shares]
    rows = []
    for name, by in curves.items():
        width = found.widths[name]
        cells = [fill("strip-cell", words=_figure(float(by["index"][0][0])))]
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
    found = {order: np.mean([one.curves[order] for one in by.values()], axis=0)[None] for order in ("index", "saliency", "reverse")}
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


# Degradation clusters


def _clusters(found: Explained, look: Look) -> tuple[Html, list[Any]]:
    kinds = list(dict.fromkeys(label for one in found.clusters.values() for label in one.labels))
    colours = {kind: KINDS[place % len(KINDS)] for place, kind in enumerate(kinds)}
    legend = [fill("item", words=fill("label", colour=colours[kind], name=kind)) for kind in kinds]
    seeds = max((len(one.embeddings) for one in found.clusters.values()), default=0)
    views = {f"t{seed}": f"t-SNE {seed + 1}" if seeds > 1 else "t-SNE" for seed in range(seeds)} | {"pca": "Principal components"}
    figures, data = [], []
    for name, one in found.clusters.items():
        drawn = _views(one, kinds)
        first = next(iter(drawn.values()))
        there = [place for place, d in enumerate(first["d"]) if d]
        paths = [fill("cluster-path", colour=colours[kinds[place]], d=first["d"][place]) for place in there]
        names = [fill("cluster-name", x=first["at"][place][0], y=first["at"][place][1], name=kinds[place]) for place in there]
        value, low, high = one.chi
        words = f"CHI {_short(value)} ({_short(low)}–{_short(high)})"
        figures.append(fill("cluster", place=len(data), label=look.label(name), words=words, paths=paths, names=names))
        members = [[one.names[i] for i, label in enumerate(one.labels) if label == kinds[place]] for place in there]
        # The JSON holds only what is drawn, in the order of the paths.
        kept = {view: {key: [values[place] for place in there] for key, values in both.items()} for view, both in drawn.items()}
        held = float(one.explained[:2].sum())
        share = f"These two components hold {held:.0%} of the scatter.".replace("%", " %") if math.isfinite(held) else ""
        data.append({"views": kept, "names": members, "kinds": [kinds[place] for place in there], "share": share})
    body = fill(
        "clusters",
        views=switch("embedding", "Drawn by", views) if figures else "",
        legend=legend,
        figures=figures,
        table=_chi_table(found, look) if found.clusters else "",
        snapshots=_snapshots(found, look),
        apart=_apart(found),
    )
    return body, data


def _views(one: Clusters, kinds: Sequence[str]) -> dict[str, dict[str, list[Any]]]:
    """By view the path of each degradation's points and the middle of them, on a square of 1000; both axes have one scale."""
    drawn = {f"t{seed}": points for seed, points in enumerate(one.embeddings)}
    if one.scores.shape[1]:
        drawn["pca"] = np.pad(one.scores[:, :2], ((0, 0), (0, max(0, 2 - one.scores.shape[1]))))
    labels = np.array(one.labels)
    found: dict[str, dict[str, list[Any]]] = {}
    for view, points in drawn.items():
        low, high = points.min(axis=0), points.max(axis=0)
        size = float((high - low).max()) or 1.0
        places = (500 + (points - (low + high) / 2) / size * 920).round().astype(int)
        both: dict[str, list[Any]] = {"d": [], "at": []}
        for kind in kinds:
            mine = places[labels == kind]
            both["d"].append("".join(f"M{x} {y}h0" for x, y in mine.tolist()))
            both["at"].append([int(middle) for middle in np.median(mine, axis=0)] if len(mine) else [0, 0])
        found[view] = both
    return found


def _chi_table(found: Explained, look: Look) -> Html:
    strips = []
    for name, one in found.clusters.items():
        value, low, high = one.chi
        embedded = one.chi_embedded[np.isfinite(one.chi_embedded)]
        several = f"{_short(float(embedded.min()))}–{_short(float(embedded.max()))}" if len(embedded) > 1 else ""
        cells = [
            _short(value),
            f"{_short(low)}–{_short(high)}",
            f"{_short(float(embedded.mean()))}{f' ({several})' if several else ''}" if len(embedded) else "–",
            one.farthest,
        ]
        strips.append(_Strip(name, cells, bar=value, reach=(low, high)))
    axis = _axis(end for strip in strips for end in (strip.bar, *strip.reach))
    heads = ["CHI", "95 % interval", "CHI in t-SNE", "farthest"]
    return fill(
        "strips-titled", title="Calinski–Harabasz index, in the given order of networks", body=_strips("CHI", strips, heads, axis, look)
    )


def _snapshots(found: Explained, look: Look) -> Html:
    lines = {name: sorted(by.items()) for name, by in found.snapshots.items()}
    ends = [end for line in lines.values() for _, triple in line for end in triple if math.isfinite(end)]
    steps = [step for line in lines.values() for step, _ in line]
    if not ends or len(set(steps)) < 2:
        return Html()
    up, across = Axis(0, max(ends) * 1.05 or 1, HEIGHT, 0), Axis(0, max(steps), 0, 100)
    marks = [fill("rule", kind="grid" if tick else "zero", y=up.at(tick), label=f"{tick:g}") for tick in up.ticks(6)]
    marks += [fill("column", kind="", x=across.at(tick), y=HEIGHT, label=f"{tick:g}", long="") for tick in across.ticks(5)]
    bands, paths, dots = [], [], []
    for name, line in lines.items():
        colour = look.colours[name]
        there = [(step, *triple) for step, triple in line if all(map(math.isfinite, triple))]
        if not there:
            continue
        upper = [f"{across.at(step) * 10:.1f} {up.at(high)}" for step, _, _, high in there]
        lower = [f"{across.at(step) * 10:.1f} {up.at(low)}" for step, _, low, _ in there]
        bands.append(fill("path", kind=f"ribbon c{colour}", points="L".join(upper + lower[::-1])))
        points = "L".join(f"{across.at(step) * 10:.1f} {up.at(value)}" for step, value, _, _ in there)
        paths.append(fill("path", kind=f"line c{colour}", points=points))
        for step, value, low, high in there:
            hint = f"{name}, step {step}: {_short(value)} ({_short(low)}–{_short(high)})"
            dots.append(fill("dot", colour=colour, x=across.at(step), y=up.at(value), r=3, hint=hint))
    chart = fill(
        "line-chart",
        title="While training",
        note="CHI over steps, with 95 % intervals",
        height=HEIGHT,
        marks=marks,
        paths=bands + paths,
        dots=dots,
        what="CHI over training steps",
    )
    return fill("with-legend", legend=look.legend(list(lines)), body=chart)


def _apart(found: Explained) -> str:
    """What keeps indices from being set against each other, in words."""
    seen = {name: (len(one.labels), frozenset(one.labels), frozenset(one.names)) for name, one in found.clusters.items()}
    if len(set(seen.values())) < 2:
        return ""
    words = ", ".join(f"{name} {n} of {plural(len(kinds), 'degradation')}" for name, (n, kinds, _) in seen.items())
    return f"The networks saw different points ({words}); CHI depends on their number and kinds, so the indices are not comparable."


# Numbers by set


def _named(part: str, found: Mapping[str, Values], look: Look) -> Html:
    """Bars side by side for each set or degradation, and the table with the numbers."""
    values = {model: one.values for model, one in found.items()}
    names = list(dict.fromkeys(name for by in values.values() for name in by))
    there = [value for by in values.values() for value in by.values() if math.isfinite(value)]
    up = _axis(there, 0.0, 1.0 if part == "cosine" else None)
    up = Axis(up.low, up.high + (0 if part == "cosine" else (up.high - up.low) * 0.06), HEIGHT, 0)
    marks = [fill("rule", kind="grid" if tick else "zero", y=up.at(tick), label=f"{tick:g}".replace("-", "−")) for tick in up.ticks(6)]
    slot = 100 / max(1, len(names))
    width = min(slot * 0.8 / len(values), slot * 0.24)
    for place, name in enumerate(names):
        centre = (place + 0.5) * slot
        marks.append(fill("column", kind="", x=round(centre, 2), y=HEIGHT, label=name, long=""))
        for index, (model, by) in enumerate(values.items()):
            value = by.get(name, math.nan)
            if math.isfinite(value):
                top, bottom = sorted((up.at(value), up.at(0)))
                left = round(centre + (index - len(values) / 2 + 0.08) * width, 2)
                hint, kind = f"{model}, {name}: {_figure(value, 3)}", f"bar c{look.colours[model]}"
                size = round(max(bottom - top, 1), 1)
                marks.append(fill("area", kind=kind, x=left, y=top, width=round(width * 0.84, 2), height=size, hint=hint))
    heads = [fill("strip-head", words=name) for name in names]
    rows = [
        fill(
            "figures",
            label=look.label(model),
            cells=[fill("strip-cell", words=_figure(_mean(by.values()), 3))]
            + [fill("strip-cell", words=_figure(by.get(name, math.nan), 3)) for name in names],
        )
        for model, by in values.items()
    ]
    table = fill("figures-table", heads=heads, rows=rows)
    few = "wide" if len(names) > 12 else ""
    references = dict.fromkeys(one.reference for one in found.values() if one.reference)
    reference = f"Reference: {', '.join(references)}." if references else ""
    return fill(part, reference=reference, legend=look.legend(list(values)), marks=marks, height=HEIGHT, table=table, kind=few)


# Attribution maps


def _lam(found: Explained, look: Look) -> Html:
    pictures = found.lam_pictures[:PICTURES]
    heads = [fill("sheet-head", label=look.label(name)) for name in found.lam]
    rows = []
    for picture in pictures:
        there = {name: by[picture] for name, by in found.lam.items() if picture in by}
        first = next(iter(there.values()))
        cells = [fill("lam-input", uri=Html(data_uri(first.given)), alt=f"{picture}: input", **_window(first))]
        for name in found.lam:
            if name not in there:
                cells.append(fill("sheet-empty"))
                continue
            one = there[name]
            sizes = np.abs(one.signed)
            uri = Html(data_uri(maps.saliency_colours(sizes / (float(sizes.max(initial=0)) or 1))))
            alt = f"{picture}: attributions of {name}"
            cells.append(fill("lam-cell", uri=uri, alt=alt, index=_figure(one.diffusion, 1), **_window(one)))
        rows.append(fill("sheet-row", name=picture, long="", cells=cells))
    # As for channels: means are over what all share, if they share any.
    shared = [name for name in found.lam_pictures if all(name in by for by in found.lam.values())]
    strips = []
    for name, by in found.lam.items():
        used = {picture: by[picture] for picture in shared} if shared else by
        points = [(f"{picture}: {_figure(one.diffusion, 1)}", one.diffusion) for picture, one in used.items()]
        mean = _mean(value for _, value in points)
        strips.append(_Strip(name, [_figure(mean, 1)], points, mean))
    axis = _axis(value for strip in strips for _, value in strip.points)
    title = f"Diffusion index, {plural(len(shared), 'picture')}" if shared else "Diffusion index; the networks share no picture"
    table = fill("strips-titled", title=title, body=_strips("Diffusion index", strips, ["mean"], axis, look))
    more = len(found.lam_pictures) - len(pictures)
    note = f"{plural(more, 'more picture')} in the index alone." if more else ""
    return fill("lam", heads=heads, rows=rows, table=table, note=note, columns=len(found.lam) + 1)


def _window(one: Lam) -> dict[str, float]:
    """The window in percent of the map."""
    h, w = one.signed.shape
    top, left, bottom, right = one.window
    shares = {"top": top / h, "left": left / w, "height": (bottom - top) / h, "width": (right - left) / w}
    return {name: round(share * 100, 2) for name, share in shares.items()}


# Facts


def _facts(found: Explained, look: Look) -> Html:
    rows = []
    for label, facts in found.facts.items():

        def listed(key: str, facts: Sequence[Mapping[str, Any]] = facts) -> str:
            return ", ".join(dict.fromkeys(str(fact[key]) for fact in facts if fact[key] is not None)) or "–"

        hashes = dict.fromkeys(str(fact["weights_sha256"]) for fact in facts if fact["weights_sha256"] is not None)
        widths = dict.fromkeys(str(width) for name, width in found.widths.items() if found.labels[name] == label)
        rows.append(
            fill(
                "looked",
                label=look.label(label),
                hashes=[fill("hash", full=value, short=value[:12]) for value in hashes] or "none",
                site=listed("site"),
                width=", ".join(widths) or "–",
                code=listed("code_version"),
            )
        )
    points = dict.fromkeys(str(len(one.labels)) for one in found.clusters.values())
    pictures = ", ".join(dict.fromkeys([*found.pictures, *found.lam_pictures]))
    return fill("looked-at", rows=rows, pictures=pictures or "–", points=", ".join(points) or "–")
