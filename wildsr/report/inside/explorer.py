"""Channel by channel: the maps of each, their order by what is known of them, and what the page's script reads."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from wildsr.report.inside import maps
from wildsr.report.inside.drawing import PICTURES, figure
from wildsr.report.inside.explained import Channels, Explained
from wildsr.report.parts import Html, Look, fill, switch
from wildsr.report.sheets import data_uri

SIDES = (96, 64, 48)
"""Sides of a channel's map in pixels; the second and third are used where one picture's maps of all models would be too much."""


def explorer_part(found: Explained, look: Look, room: int) -> tuple[Html, dict[str, Any]]:
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
    sites = {name: next(iter(by.values())).stored.text("site") for name, by in found.channels.items()}
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
        "words": f"PSNR {figure(one.psnr)} dB, rank correlation {figure(one.rank)}" if np.isfinite(drops).any() else "",
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
