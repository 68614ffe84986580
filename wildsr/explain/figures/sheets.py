"""Sheets of maps: the channels of a picture side by side, a tile a channel, a sheet a model."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from wildsr.errors import UserError
from wildsr.explain.figures.arrays import Arrays
from wildsr.explain.figures.style import BOLD, CLIPPED, SMALL, WIDTH, line_count, scale_end, short, styled, titled, wrapped


class Scale(NamedTuple):
    """How numbers become colours, and what the colour bar says. It shows from `shown` to `high`."""

    colours: str
    low: float
    high: float
    shown: float
    label: str


def saliency_uniform(models: Sequence[Arrays]) -> Any:
    """A picture's channel saliency, each model's channels in the order of their index, in perceptually uniform colours."""
    maps = _maps(models, "map")
    high = scale_end(maps)
    label = f"saliency, of the model's largest; colours end at {short(high)} ({CLIPPED:g}th percentile over all models)"
    return _saliency(models, maps, Scale("magma", 0, high, 0, label))


def saliency_seismic(models: Sequence[Arrays]) -> Any:
    """The same in the paper's style: 'seismic' at 0.5 + 0.5·saliency."""
    scale = Scale("seismic", -1, 1, 0, "saliency, of the model's largest; colours as in the paper")
    return _saliency(models, _maps(models, "map"), scale)


def features(models: Sequence[Arrays]) -> Any:
    """A picture's feature maps, as in Figure 7, those with the highest saliency scores first, on one scale: from 0, or around it where
    there are values below."""
    maps = _maps(models, "feature")
    orders = [np.argsort(-one["scores"], kind="stable") for one in models]
    high = scale_end([abs(one) for one in maps])
    signed = any(bool((one < 0).any()) for one in maps)
    label = f"feature; colours end at {'±' * signed}{short(high)} ({CLIPPED:g}th percentile{' of sizes' * signed} over all models)"
    scale = Scale("RdBu_r", -high, high, -high, label) if signed else Scale("viridis", 0, high, 0, label)
    captions = [[f"{c}" for c in range(len(one))] for one in maps]
    note = "the most important channels first; numbers: a channel's index"
    return _sheets(titled("Features", models, picture=True), models, maps, orders, scale, captions, note)


def _maps(models: Sequence[Arrays], name: str) -> list[Float[np.ndarray, "_ _ _"]]:
    """An array of each model. Raises UserError where they differ in width."""
    for one in models:
        if one.channels != models[0].channels:
            raise UserError(
                f"{one.path}: {one.channels} channels, but {models[0].path} has {models[0].channels}, and sheets compare models channel by "
                "channel: explain models of different width apart"
            )
    return [one[name].astype(np.float64) for one in models]


def _saliency(models: Sequence[Arrays], maps: Sequence[Float[np.ndarray, "_ _ _"]], scale: Scale) -> Any:
    captions = [[short(score) for score in one["scores"]] for one in models]
    note = "numbers: score, the sum of a channel's saliency"
    orders = [range(len(one)) for one in maps]
    return _sheets(titled("Channel saliency", models, picture=True), models, maps, orders, scale, captions, note)


@styled()
def _sheets(
    title: str,
    models: Sequence[Arrays],
    maps: Sequence[Float[np.ndarray, "_ _ _"]],
    orders: Sequence[Sequence[int] | np.ndarray],
    scale: Scale,
    captions: Sequence[Sequence[str]],
    note: str,
) -> Any:
    """A sheet a model, a tile a channel with its caption above. All is placed by hand, in inches: tiles must not depend on their texts."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    channels, tall = len(maps[0]), max(one.shape[1] / one.shape[2] for one in maps)
    across = min(channels, 8 if channels <= 64 else 16)
    down = -(-channels // across)
    gap, edge, line, caption = 0.14, 0.06, 0.13, 0.125
    in_row = min(len(models), max(1, int((WIDTH - 2 * edge + gap) / (across * 0.27 + gap))))
    tile = min(0.5, ((WIDTH - 2 * edge + gap) / in_row - gap) / across)
    sheet_w, sheet_h = across * tile, down * (tile * tall + caption)
    width = max(2 * edge + in_row * (sheet_w + gap) - gap, 3.3)
    heading, footing = wrapped(title, width - 2 * edge, 8.5, BOLD), wrapped(f"{scale.label}; {note}", width - 2 * edge, SMALL)
    names = [wrapped(one.model, sheet_w, 7.5, BOLD) for one in models]
    rows = [range(i, min(i + in_row, len(models))) for i in range(0, len(models), in_row)]
    above = [0.06 + line * line_count(*(names[i] for i in row)) for row in rows]
    top = 0.1 + 0.15 * line_count(heading)
    bottom = 0.42 + line * line_count(footing)
    height = top + sum(above) + len(rows) * (sheet_h + 0.1) + bottom
    figure = Figure(figsize=(width, height))
    figure.text(0.5, 1 - 0.05 / height, heading, fontsize=8.5, fontweight="bold", ha="center", va="top")
    y = top
    for row, room in zip(rows, above, strict=True):
        y += room
        left = (width - len(row) * (sheet_w + gap) + gap) / 2
        for column, i in enumerate(row):
            place = (left + column * (sheet_w + gap)) / width, 1 - (y + sheet_h) / height, sheet_w / width, sheet_h / height
            axes = figure.add_axes(place, label=models[i].model)
            axes.set_axis_off()
            axes.set_title(names[i], pad=3, fontweight="bold")
            for n, channel in enumerate(orders[i]):
                x0, y0 = n % across * tile, n // across * (tile * tall + caption)
                x1, y1, y2 = x0 + 0.94 * tile, y0 + caption, y0 + caption + 0.97 * tile * tall
                axes.imshow(maps[i][channel], cmap=scale.colours, vmin=scale.low, vmax=scale.high, extent=(x0, x1, y2, y1), aspect="auto")
                axes.add_patch(Rectangle((x0, y1), x1 - x0, y2 - y1, fill=False, linewidth=0.3, edgecolor="#999999"))
                axes.text((x0 + x1) / 2, y1 - 0.015, captions[i][channel], fontsize=SMALL, ha="center", va="bottom")
            axes.set_xlim(0, sheet_w)
            axes.set_ylim(sheet_h, 0)
        y += sheet_h + 0.1
    bar = figure.add_axes(((width / 2 - 1.5) / width, (bottom - 0.13) / height, 3 / width, 0.09 / height), label="scale")
    mapped = ScalarMappable(Normalize(scale.low, scale.high), scale.colours)
    figure.colorbar(mapped, cax=bar, orientation="horizontal")
    bar.set_xlim(scale.shown, scale.high)
    bar.tick_params(length=2, width=0.5, pad=1.5)
    figure.text(0.5, 0.05 / height, footing, fontsize=SMALL, ha="center", va="bottom")
    return figure
