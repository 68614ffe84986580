"""Panels and their axes, and what stands above and below them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from wildsr.explain.figures.style import BOLD, WIDTH, dots, wrapped


def panel_grid(count: int, most: int, height: float) -> tuple[Any, list[Any], list[bool]]:
    """A figure, `count` panels on shared axes in rows of `most`, and whether no panel stands below each."""
    from matplotlib.figure import Figure

    columns = min(count, most)
    rows = -(-count // columns)
    width = WIDTH / max(columns, 2)
    figure = Figure(figsize=(max(columns * width, WIDTH / 2), rows * (height + 0.1) + 0.75), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flatten()
    for axes in grid[count:]:
        axes.set_visible(False)
    return figure, list(grid[:count]), [i + columns >= count for i in range(count)]


def outer_labels(panels: Sequence[Any], below: Sequence[bool], x: str, y: str, most: int) -> None:
    """Names the axes of a grid at its edge alone."""
    columns = min(len(panels), most)
    for i, (axes, last) in enumerate(zip(panels, below, strict=True)):
        axes.set_xlabel(x if last else "")
        axes.tick_params(labelbottom=last)
        axes.set_ylabel(y if i % columns == 0 else "")


def plain(axes: Any, grid: str) -> None:
    """The house's axes. Numbers are written out: small powers of ten would be too small."""
    from matplotlib.ticker import LogFormatter, ScalarFormatter

    for own in (axes.xaxis, axes.yaxis):
        if isinstance(own.get_major_formatter(), ScalarFormatter | LogFormatter):
            own.set_major_formatter(lambda value, _: f"{round(value, 12):g}".replace("-", "−"))
    axes.grid(axis=grid, color="#e4e4e4", linewidth=0.5)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def by_size(axes: Any, values: np.ndarray, axis: str = "x") -> None:
    """A logarithmic axis where numbers are of different size; else one that begins at 0."""
    values = values[np.isfinite(values)]
    if len(values) and values.min() > 0 and values.max() > 30 * values.min():
        from matplotlib.ticker import LogLocator, NullFormatter

        axes.set(**{f"{axis}scale": "log"})
        own = axes.xaxis if axis == "x" else axes.yaxis
        own.set_major_locator(LogLocator(subs=(1, 2, 5) if values.max() < 1e3 * values.min() else (1,)))
        own.set_minor_formatter(NullFormatter())
    elif len(values):
        axes.set(**{f"{axis}lim": (min(0.0, float(values.min())), float(values.max()) * 1.08 or 1.0)})


def suptitle(figure: Any, text: str) -> None:
    """The title of a figure, in lines as wide as it."""
    figure.suptitle(wrapped(text, figure.get_figwidth() - 0.2, 8.5, BOLD), fontsize=8.5, fontweight="bold")


def legend(figure: Any, handles: Sequence[Any], names: Sequence[str]) -> None:
    """Below all, in as many columns as there is room for. Figures have room for one row; each further one makes them taller."""
    names = [wrapped(name, figure.get_figwidth() - 0.8, 7.5) for name in names]
    lengths = [max(map(len, name.split("\n"))) for name in names]

    def width(columns: int) -> float:
        return sum(0.55 + 0.064 * part.max() for part in np.array_split(lengths, columns))

    columns = max(n for n in range(1, len(names) + 1) if n == 1 or width(n) < figure.get_figwidth())
    figure.set_figheight(figure.get_figheight() + 0.16 * (-(-len(names) // columns) - 1))
    figure.legend(handles, names, loc="outside lower center", ncols=columns, frameon=False)


def dot_legend(figure: Any, names: Sequence[str]) -> None:
    """A legend of dots in the order of their styles."""
    from matplotlib.lines import Line2D

    legend(figure, [Line2D([], [], linestyle="", markersize=3.5, **dots(i)) for i in range(len(names))], names)
