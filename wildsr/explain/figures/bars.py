"""A number for each set of inputs or degradation, a bar a model."""

import math
from collections.abc import Sequence
from typing import Any

from wildsr.explain.figures.arrays import Arrays
from wildsr.explain.figures.panels import legend, plain, suptitle
from wildsr.explain.figures.style import COLOURS, GREY, HATCHES, SMALL, WIDTH, colour, fixed, styled, titled, wrapped


def srga(models: Sequence[Arrays]) -> Any:
    """SRGA of each set of inputs, a bar a model."""
    return _bars(models, titled("SRGA", models), "SRGA (less is nearer to inputs that are handled well)")


def cosine(models: Sequence[Arrays]) -> Any:
    """The cosine between features of clean and of degraded inputs, by degradation, a bar a model."""
    return _bars(models, titled("Features of degraded inputs", models), "cosine to the features of clean inputs (1: the same)")


@styled()
def _bars(models: Sequence[Arrays], title: str, label: str) -> Any:
    """Horizontal bars in groups, a group a name, in as many columns as keep the figure on a page."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    groups = list(dict.fromkeys(name for one in models for name in one["names"].tolist()))
    found = [dict(zip(one["names"].tolist(), one["values"].tolist(), strict=True)) for one in models]
    each = 0.14 * len(models) + 0.1
    columns = min(3, len(groups), max(1, math.ceil(len(groups) * each / 7)))
    rows = -(-len(groups) // columns)
    figure = Figure(figsize=(WIDTH, rows * each + 1.0), layout="constrained")
    grid = figure.subplots(1, columns, sharex=True, squeeze=False)[0]
    finite = [value for own in found for value in own.values() if math.isfinite(value)]
    low, high = min([*finite, 0.0]), max([*finite, 0.0])
    span = high - low or 1.0
    room = 0.07 * columns * span  # for the numbers
    for n, axes in enumerate(grid):
        own = groups[n * rows : (n + 1) * rows]
        for i, values in enumerate(found):
            for row, name in enumerate(own):
                if name not in values:
                    continue
                value, y = values[name], row * each + 0.05 + 0.14 * (i + 0.5)
                drawn = value if math.isfinite(value) else 0.0
                axes.barh(y, drawn, height=0.125, **_bar(i))
                axes.text(max(drawn, 0.0) + 0.01 * columns * span, y, fixed(value, 3), fontsize=SMALL, va="center", ha="left")
        axes.set_yticks([(row + 0.5) * each for row in range(len(own))], [wrapped(name, 1.2, SMALL) for name in own])
        axes.set_ylim(rows * each, 0)
        axes.set_xlim(low - (room if low < 0 else 0), high + 2 * room)
        axes.axvline(0, color=GREY, linewidth=0.6)
        axes.set_xlabel(wrapped(label, WIDTH / columns - 0.7, 7.5))
        axes.tick_params(axis="y", length=0)
        plain(axes, grid="x")
    suptitle(figure, title)
    legend(figure, [Patch(**_bar(i)) for i in range(len(models))], [one.model for one in models])
    return figure


def _bar(i: int) -> dict[str, Any]:
    return {"facecolor": colour(i), "hatch": HATCHES[i // len(COLOURS) % len(HATCHES)], "edgecolor": "white", "linewidth": 0}
