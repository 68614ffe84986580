"""Degradation clusters, and the index that says how far apart they stand."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from wildsr.report.charts import Axis
from wildsr.report.inside.drawing import HEIGHT, Strip, rules, short, span, strip_table
from wildsr.report.inside.explained import Clusters, Explained
from wildsr.report.parts import Html, Look, fill, switch
from wildsr.report.tables import plural

COLOURS = (7, 12, 10, 9, 5, 11, 8, 6, 4, 3, 2, 1)
"""Colours of degradations: as far from those of the first models as there are."""


def weight(found: Iterable[Clusters]) -> int:
    """About how many bytes of a page the clusters take."""
    return sum(24 * len(one.labels) * (1 + len(one.embeddings)) for one in found)


def clusters_part(found: Explained, look: Look) -> tuple[Html, list[Any]]:
    """Clusters in all views, their index in a table and over training, and what the page's script reads."""
    kinds = list(dict.fromkeys(label for one in found.clusters.values() for label in one.labels))
    colours = {kind: COLOURS[place % len(COLOURS)] for place, kind in enumerate(kinds)}
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
        words = f"CHI {short(value)} ({short(low)}–{short(high)})"
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
        several = f"{short(float(embedded.min()))}–{short(float(embedded.max()))}" if len(embedded) > 1 else ""
        cells = [
            short(value),
            f"{short(low)}–{short(high)}",
            f"{short(float(embedded.mean()))}{f' ({several})' if several else ''}" if len(embedded) else "–",
            one.farthest,
        ]
        strips.append(Strip(name, cells, bar=value, reach=(low, high)))
    axis = span(end for strip in strips for end in (strip.bar, *strip.reach))
    heads = ["CHI", "95 % interval", "CHI in t-SNE", "farthest"]
    return fill(
        "strips-titled", title="Calinski–Harabasz index, in the given order of networks", body=strip_table("CHI", strips, heads, axis, look)
    )


def _snapshots(found: Explained, look: Look) -> Html:
    lines = {name: sorted(by.items()) for name, by in found.snapshots.items()}
    ends = [end for line in lines.values() for _, triple in line for end in triple if math.isfinite(end)]
    steps = [step for line in lines.values() for step, _ in line]
    if not ends or len(set(steps)) < 2:
        return Html()
    up, across = Axis(0, max(ends) * 1.05 or 1, HEIGHT, 0), Axis(0, max(steps), 0, 100)
    marks = rules(up) + [fill("column", kind="", x=across.at(tick), y=HEIGHT, label=f"{tick:g}", long="") for tick in across.ticks(5)]
    bands, paths, dots = [], [], []
    for name, line in lines.items():
        colour = look.colours[name]
        # Of a single photograph there is no interval.
        there = [
            (step, value, *(end if math.isfinite(end) else value for end in ends)) for step, (value, *ends) in line if math.isfinite(value)
        ]
        if not there:
            continue
        upper = [f"{across.at(step) * 10:.1f} {up.at(high)}" for step, _, _, high in there]
        lower = [f"{across.at(step) * 10:.1f} {up.at(low)}" for step, _, low, _ in there]
        bands.append(fill("path", kind=f"ribbon c{colour}", points="L".join(upper + lower[::-1])))
        points = "L".join(f"{across.at(step) * 10:.1f} {up.at(value)}" for step, value, _, _ in there)
        paths.append(fill("path", kind=f"line c{colour}", points=points))
        for step, value, low, high in there:
            hint = f"{name}, step {step}: {short(value)} ({short(low)}–{short(high)})"
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
