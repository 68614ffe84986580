"""Clusters of degradations, and the index that says how far apart they stand (CHI)."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wildsr.explain.figures.arrays import Arrays
from wildsr.explain.figures.panels import by_size, dot_legend, legend, plain, suptitle
from wildsr.explain.figures.style import (
    GREY,
    SMALL,
    WIDTH,
    colour,
    dots,
    finite_mean,
    line,
    line_count,
    short,
    styled,
    titled,
    wrapped,
)


@styled()
def clusters(models: Sequence[Arrays]) -> Any:
    """Degradation clusters, as in Figure 9: t-SNE with the first seed, and below it the first two principal components, with the CHI in
    the space of the components and its 95 % interval."""
    from matplotlib.figure import Figure

    kinds = list(dict.fromkeys(label for one in models for label in one["labels"].tolist()))
    columns = min(4, len(models))
    blocks, width = -(-len(models) // columns), WIDTH / max(columns, 2)
    embedded = any(len(one["embeddings"]) for one in models)
    titles = []
    for one in models:
        value, low, high = one["chi"].tolist()
        farthest = str(one["farthest"])
        lines = [wrapped(one.model, width - 0.25, 7.5), f"CHI {short(value)} [{short(low)}, {short(high)}]"]
        titles.append("\n".join([*lines, *([wrapped(f"farthest: {farthest}", width - 0.25, 7.5)] if farthest else [])]))
    heads = sum(line_count(*titles[i : i + columns]) for i in range(0, len(titles), columns))
    each = width - 0.15
    size = max(columns * width, WIDTH / 2), 0.75 + 0.13 * heads + blocks * ((1 + embedded) * each * 0.9 + 0.3)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(blocks * (1 + embedded), columns, squeeze=False)
    for axes in grid.flatten():
        axes.set_visible(False)
    for i, (one, title) in enumerate(zip(models, titles, strict=True)):
        row, column = i // columns * (1 + embedded), i % columns
        labels, scores, shares = one["labels"], one["scores"], one["explained"]
        planes = [one["embeddings"][0] if len(one["embeddings"]) else None] * embedded + [np.pad(scores, ((0, 0), (0, 2)))[:, :2]]
        own_axes = grid[row : row + len(planes), column]
        own_axes[0].set_title(title)
        for axes, plane in zip(own_axes, planes, strict=True):
            axes.set_visible(True)
            axes.set_xticks([])
            axes.set_yticks([])
            for spine in axes.spines.values():
                spine.set_color("#bbbbbb")
            if plane is None:
                axes.text(0.5, 0.5, "no t-SNE", transform=axes.transAxes, ha="center", va="center", color=GREY)
                continue
            for k, kind in enumerate(kinds):
                own = plane[labels == kind]
                axes.plot(own[:, 0], own[:, 1], linestyle="", markersize=2.4, markeredgewidth=0, alpha=0.8, label=kind, **dots(k))
            axes.set_box_aspect(0.9)
            axes.margins(0.06)
        if embedded:
            own_axes[0].set_xlabel("t-SNE, first seed")
        own_axes[-1].set_xlabel(f"component 1 ({100 * shares[0]:.0f} %)")
        own_axes[-1].set_ylabel(f"component 2 ({100 * shares[1]:.0f} %)" if len(shares) > 1 else "")
    suptitle(figure, f"{titled('Degradation clusters', models)}; CHI of the components with its 95 % interval")
    dot_legend(figure, kinds)
    return figure


@styled()
def chi(models: Sequence[Arrays]) -> Any:
    """The CHI by model, in the given order: of the components with 95 % intervals, and of t-SNE, a dot a seed."""
    from matplotlib.figure import Figure

    values = [one["chi"].tolist() for one in models]
    names = [
        wrapped(one.model + (" (infinite)" if not math.isfinite(value) else ""), 1.5, SMALL)
        for one, (value, _, _) in zip(models, values, strict=True)
    ]
    seeds = [one["chi_tsne"] for one in models]
    embedded = any(len(own) for own in seeds)
    figure = Figure(
        figsize=(WIDTH if embedded else WIDTH / 2, 0.9 + len(models) * max(0.24, 0.13 * line_count(*names) + 0.06)), layout="constrained"
    )
    grid = figure.subplots(1, 1 + embedded, sharey=True, squeeze=False)[0]
    places = np.arange(len(models))
    middle, low, high = (np.array(column) for column in zip(*values, strict=True))
    shown = np.isfinite(middle)
    grid[0].plot(middle[shown], places[shown], color="#bbbbbb", linewidth=0.9, zorder=1)
    for i in places[shown]:
        ends = (low[i] if math.isfinite(low[i]) else middle[i]), (high[i] if math.isfinite(high[i]) else middle[i])
        bars = [[max(middle[i] - ends[0], 0)], [max(ends[1] - middle[i], 0)]]
        grid[0].errorbar(middle[i], i, xerr=bars, fmt="o", color=colour(0), markersize=4, elinewidth=1, capsize=2)
    by_size(grid[0], np.concatenate([middle, low, high]))
    grid[0].set_xlabel("CHI of the components, 95 % interval")
    if embedded:
        means = [finite_mean(own) for own in seeds]
        grid[1].plot(means, places, color="#bbbbbb", linewidth=0.9, zorder=1)
        for i, own in enumerate(seeds):
            own = own[np.isfinite(own)]
            grid[1].plot(own, np.full(len(own), i), "o", color=colour(1), markersize=4, alpha=0.6, markeredgewidth=0)
        by_size(grid[1], np.concatenate(seeds))
        grid[1].set_xlabel("CHI of t-SNE, a dot a seed, line: mean")
    for axes in grid:
        axes.set_yticks(places, names)
        axes.set_ylim(len(models) - 0.5, -0.5)
        plain(axes, grid="both")
    suptitle(figure, f"{titled('Degradation clusters', models)}; less is more uniform")
    return figure


@styled()
def chi_steps(models: Mapping[str, Sequence[Arrays]]) -> Any:
    """The CHI of the components against the training step, a line a model over its snapshots, with 95 % intervals as bands."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH / 2 + 1, 2.9), layout="constrained")
    axes = figure.subplots()
    seen: list[float] = []
    for i, (model, snapshots) in enumerate(models.items()):
        steps = np.array([one.step for one in snapshots])
        values = np.stack([one["chi"] for one in snapshots])
        values = np.where(np.isfinite(values), values, np.nan)
        axes.plot(steps, values[:, 0], markersize=3, linewidth=1.1, marker=dots(i)["marker"], label=model, **line(i))
        axes.fill_between(steps, values[:, 1], values[:, 2], color=colour(i), alpha=0.18, linewidth=0)
        seen += values.flatten().tolist()
    by_size(axes, np.array(seen), "y")
    plain(axes, grid="both")
    axes.set_xlabel("training step")
    axes.set_ylabel("CHI of the components, 95 % interval")
    suptitle(figure, titled("Degradation clusters over training", [one for each in models.values() for one in each]))
    legend(figure, axes.get_lines(), list(models))
    return figure
