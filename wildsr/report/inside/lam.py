"""Local attribution maps, and how widely they spread."""

import numpy as np

from wildsr.report.inside import maps
from wildsr.report.inside.drawing import PICTURES, Strip, figure, finite_mean, span, strip_table
from wildsr.report.inside.explained import Explained, Lam
from wildsr.report.parts import Html, Look, fill
from wildsr.report.sheets import data_uri
from wildsr.report.tables import plural


def lam_part(found: Explained, look: Look) -> Html:
    """Maps beside their inputs, and the diffusion index in a table."""
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
            cells.append(fill("lam-cell", uri=uri, alt=alt, index=figure(one.diffusion, 1), **_window(one)))
        rows.append(fill("sheet-row", name=picture, long="", cells=cells))
    # As for channels: means are over what all share, if they share any.
    shared = [name for name in found.lam_pictures if all(name in by for by in found.lam.values())]
    strips = []
    for name, by in found.lam.items():
        used = {picture: by[picture] for picture in shared} if shared else by
        points = [(f"{picture}: {figure(one.diffusion, 1)}", one.diffusion) for picture, one in used.items()]
        mean = finite_mean(value for _, value in points)
        strips.append(Strip(name, [figure(mean, 1)], points, mean))
    axis = span(value for strip in strips for _, value in strip.points)
    title = f"Diffusion index, {plural(len(shared), 'picture')}" if shared else "Diffusion index; the networks share no picture"
    table = fill("strips-titled", title=title, body=strip_table("Diffusion index", strips, ["mean"], axis, look))
    more = len(found.lam_pictures) - len(pictures)
    note = f"{plural(more, 'more picture')} in the index alone." if more else ""
    return fill("lam", heads=heads, rows=rows, table=table, note=note, columns=len(found.lam) + 1)


def _window(one: Lam) -> dict[str, float]:
    """The window in percent of the map."""
    h, w = one.signed.shape
    top, left, bottom, right = one.window
    shares = {"top": top / h, "left": left / w, "height": (bottom - top) / h, "width": (right - left) / w}
    return {name: round(share * 100, 2) for name, share in shares.items()}
