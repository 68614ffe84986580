"""Channels as numbers: what the lack of one costs, what is left without many, how unequal they are."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wildsr.errors import UserError
from wildsr.explain.figures.arrays import Arrays
from wildsr.explain.figures.panels import dot_legend, legend, outer_labels, panel_grid, plain, suptitle
from wildsr.explain.figures.style import (
    COLOURS,
    GREY,
    SMALL,
    WIDTH,
    colour,
    dots,
    finite_mean,
    fixed,
    line,
    line_count,
    styled,
    titled,
    wrapped,
)

NAMED = 12
"""Pictures that have a colour of their own, at most."""


@styled()
def ablation(models: Mapping[str, Sequence[Arrays]]) -> Any:
    """What the lack of a channel costs against its saliency score, as in Figure 6: a panel a model, a dot a channel of a picture."""
    pictures = [one.image for one in next(iter(models.values()))]
    named = len(pictures) <= NAMED
    figure, panels, below = panel_grid(len(models), 3, 1.75)
    for axes, (model, each) in zip(panels, models.items(), strict=True):
        for i, one in enumerate(each):
            style = dots(i) if named else {"color": COLOURS[0], "marker": "o"}
            axes.plot(one["scores"], one["drops"], linestyle="", markersize=2.6, markeredgewidth=0, alpha=0.75, label=one.image, **style)
        rank, scores, drops = (finite_mean(one.number(name) for one in each) for name in ("rank", "gini_scores", "gini_drops"))
        lines = [f"rank correlation {fixed(rank)}", f"Gini: scores {fixed(scores)}, drops {fixed(drops)}"]
        axes.set_title("\n".join([wrapped(model, WIDTH / max(2, min(3, len(models))) - 0.4, 7.5), *lines]))
        axes.axhline(0, color=GREY, linewidth=0.6, zorder=0.5)
        plain(axes, grid="both")
    outer_labels(panels, below, "saliency score", "PSNR drop (dB)", 3)
    count = f"mean of {len(pictures)} pictures" if len(pictures) > 1 else pictures[0]
    first = next(iter(models.values()))
    suptitle(figure, f"{titled('Ablation of one channel', first)}; numbers: {count}")
    if named:
        dot_legend(figure, pictures)
    return figure


@styled()
def cumulative(models: Mapping[str, Sequence[Arrays]]) -> Any:
    """PSNR against the share of channels that are ablated, as in Figure 8: the mean over pictures, a line a model, a panel an order. Of
    random orders the median, and a band that holds 95 % of them."""
    first = next(iter(models.values()))
    orders = {one["random"].shape[0] for each in models.values() for one in each}
    if len(orders) > 1:
        odd = next(one for each in models.values() for one in each if one["random"].shape[0] != first[0]["random"].shape[0])
        raise UserError(
            f"{odd.path}: {odd['random'].shape[0]} random orders, but {first[0].path} has {first[0]['random'].shape[0]}: "
            "explain all models and pictures with as many orders"
        )
    count = orders.pop()
    titles = {
        "index": "in the order of their index",
        "saliency": "most important first",
        "reverse": "least important first",
        "random": f"random: median and 95 % of {count} orders",
    }
    figure, panels, below = panel_grid(4 if count else 3, 2, 1.9)
    for axes, (order, title) in zip(panels, titles.items(), strict=False):
        for i, (model, each) in enumerate(models.items()):
            for one in each:
                if one.channels != each[0].channels:
                    raise UserError(f"{one.path}: {one.channels} channels, but {each[0].path} of the same model has {each[0].channels}")
            share = np.arange(each[0].channels + 1) / each[0].channels
            psnr = np.mean([one[order] for one in each], axis=0)
            if order == "random":
                low, high = np.percentile(psnr, (2.5, 97.5), axis=0)
                axes.fill_between(share, low, high, color=colour(i), alpha=0.2, linewidth=0)
                psnr = np.median(psnr, axis=0)
            axes.plot(share, psnr, linewidth=1.1, label=model, **line(i))
        axes.set_title(title)
        axes.set_xlim(0, 1)
        plain(axes, grid="both")
    outer_labels(panels, below, "share of channels ablated", "PSNR (dB)", 2)
    pictures = f"mean of {len(first)} pictures" if len(first) > 1 else first[0].image
    suptitle(figure, f"{titled('Cumulative ablation', first)}; {pictures}")
    legend(figure, panels[0].get_lines(), list(models))
    return figure


@styled()
def inequality(models: Mapping[str, Sequence[Arrays]]) -> Any:
    """How unequal channels are: the Gini coefficient of saliency scores and of PSNR drops, a dot a picture, their mean a bar."""
    from matplotlib.figure import Figure

    names = [wrapped(model, 1.5, SMALL) for model in models]
    figure = Figure(figsize=(WIDTH, 0.85 + len(models) * max(0.26, 0.13 * line_count(*names) + 0.06)), layout="constrained")
    grid = figure.subplots(1, 2, sharey=True)
    for axes, (name, label) in zip(grid, (("gini_scores", "of saliency scores"), ("gini_drops", "of PSNR drops")), strict=True):
        values = [[one.number(name) for one in each] for each in models.values()]
        means = [finite_mean(own) for own in values]
        axes.barh(range(len(values)), means, height=0.62, color=[colour(i) for i in range(len(values))], alpha=0.45)
        for i, own in enumerate(values):
            # Dots of pictures that are alike are set a little apart.
            y = i + 0.18 * ((np.arange(len(own)) % 3) - 1)
            axes.plot(own, y, "o", markersize=2.8, color="black", markeredgecolor="white", markeredgewidth=0.4)
            axes.annotate(fixed(means[i]), (1.02, i), xycoords=("axes fraction", "data"), fontsize=SMALL, ha="left", va="center")
        axes.set_xlim(0, 1)
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_xlabel(f"Gini coefficient {label}")
        axes.tick_params(axis="y", length=0)
        plain(axes, grid="x")
    first = next(iter(models.values()))
    suptitle(
        figure, f"{titled('Inequality of channels', first)}; bar and number: mean of {len(first)} picture{'s' * (len(first) > 1)} (dots)"
    )
    return figure
