"""Local attribution maps: what each pixel of an input gave to a window of the output."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from wildsr.explain.figures.arrays import Arrays
from wildsr.explain.figures.style import BOLD, CLIPPED, SMALL, WIDTH, line_count, scale_end, styled, wrapped


@styled()
def attribution(models: Sequence[Arrays]) -> Any:
    """A picture's input, and over it for each model what each pixel gave to the window that is outlined (LAM), with the diffusion index."""
    import matplotlib
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize
    from matplotlib.figure import Figure

    first = models[0]
    lr = first["lr"]
    columns = min(4, len(models) + 1)
    gap, side = 0.1, WIDTH / max(columns, 3) - 0.1
    tall = side * lr.shape[1] / lr.shape[2]
    titles = [f"input, {lr.shape[2]}×{lr.shape[1]}"]
    titles += [f"{wrapped(one.model, side, 7.5)}\ndiffusion index {one.number('diffusion'):.1f}" for one in models]
    rows = [titles[i : i + columns] for i in range(0, len(titles), columns)]
    above = [0.13 * line_count(*row) + 0.08 for row in rows]
    width = max(columns * (side + gap), 3.5)
    heading = wrapped(f"What the outlined window of the output depends on: {first.image}", width - 0.2, 8.5, BOLD)
    top, bottom = 0.1 + 0.15 * line_count(heading), 0.52
    height = top + sum(above) + len(rows) * (tall + 0.08) + bottom
    figure = Figure(figsize=(width, height))
    figure.suptitle(heading, fontsize=8.5, fontweight="bold", y=1 - 0.05 / height, va="top")
    panels: list[Any] = []
    y, left = top, (width - columns * (side + gap) + gap) / 2
    for row, room in zip(rows, above, strict=True):
        y += room + tall
        for column, text in enumerate(row):
            place = (left + column * (side + gap)) / width, 1 - y / height, side / width, tall / height
            panels.append(figure.add_axes(place, label=f"{len(panels)}"))
            panels[-1].set_title(text, pad=3)
        y += 0.08
    ramp = np.linspace(0, 1, 256)[:, None]

    def over(grey: np.ndarray, share: np.ndarray) -> np.ndarray:
        """The more colour the more a pixel gave. (..., 1) twice -> (..., 3)."""
        return (1 - np.sqrt(share)) * grey + np.sqrt(share) * matplotlib.colormaps["magma_r"](share[..., 0])[..., :3]

    panels[0].imshow(np.moveaxis(lr, 0, -1), interpolation="nearest")
    _outline(panels[0], first)
    for axes, one in zip(panels[1:], models, strict=True):
        absolute = np.abs(one["signed"].astype(np.float64))
        high = scale_end([absolute[None]])
        grey = 0.55 + 0.45 * one["lr"].astype(np.float64).mean(0)[..., None] / 255
        axes.imshow(over(grey, (absolute / high).clip(0, 1)[..., None]), interpolation="nearest")
        _outline(axes, one)
    for axes in panels:
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set_linewidth(0.4)
    bar = figure.add_axes((0.5 - 1.5 / width, (bottom - 0.12) / height, 3 / width, 0.09 / height), label="scale")
    figure.colorbar(
        ScalarMappable(Normalize(0, 1), ListedColormap(over(np.full_like(ramp, 0.78), ramp))), cax=bar, orientation="horizontal"
    )
    bar.set_xlabel(f"|attribution|, share of the {CLIPPED:g}th percentile of each model's own", fontsize=SMALL, labelpad=1.5)
    bar.tick_params(length=2, width=0.5, pad=1.5)
    return figure


def _outline(axes: Any, one: Arrays) -> None:
    from matplotlib.patches import Rectangle

    try:
        scale = float(one.about["scale"])
        top, left, bottom, right = (one["window"] / scale).tolist()
    except (KeyError, TypeError, ZeroDivisionError):
        raise one.damaged("its `about` does not say the scale") from None
    for colour, width in (("white", 2.2), ("black", 0.9)):
        axes.add_patch(Rectangle((left - 0.5, top - 0.5), right - left, bottom - top, fill=False, edgecolor=colour, linewidth=width))
