"""The figures of a folder that `wildsr explain` has filled, in the manner of the papers' Figures 6 to 9.

EXPLAIN/arrays/KIND/MODEL/NAME.npz -> EXPLAIN/figures/NAME.png and .svg, of equal bytes for equal arrays. A figure is a page's text wide
(7 inches) at most, so that its smallest letters stay 7 points high in print. Functions that build a figure return it; `save` writes it.

Figures 6 to 8: "Reflash Dropout in Image Super-Resolution" (CVPR 2022, arXiv 2112.12089). Saliency on the scale of 'seismic', and
degradation clusters, are shown as there. Needs matplotlib, and no torch."""

import contextlib
import json
import math
import re
import textwrap
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from wildsr import files
from wildsr.config import nearest
from wildsr.errors import UserError

WIDTH = 7.0
"""Inches: the text of a page. Figures with many models have more rows, and are not wider."""
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's palette, which colour-blind readers can tell apart, without black and without yellow, which is weak on white."""
MARKERS = "osD^vP"
DASHES = ("-", (0, (4, 2)), (0, (1, 1)), (0, (6, 1, 1, 1)))
HATCHES = ("", "////", "....", "xxxx")
GREY = "#777777"
SMALL = 7.0
"""Points: the smallest letters there are."""
CLIPPED = 99.5
"""The percentile at which a scale ends, for a few pixels would else leave all others dark."""
BOLD = 0.7
"""How wide bold letters are, as a share of their size."""
NAMED = 12
"""Pictures that have a colour of their own, at most."""

_LAYOUT: dict[str, dict[str, str]] = {
    "channels": {
        "feature": "c h w",
        "map": "c h w",
        "scores": "c",
        "drops": "c",
        "rank": "",
        "gini_scores": "",
        "gini_drops": "",
        "index": "c+1",
        "saliency": "c+1",
        "reverse": "c+1",
        "random": "orders c+1",
    },
    "lam": {"signed": "h w", "diffusion": "", "window": "4", "lr": "3 h w"},
    "ddr": {
        "scores": "n d",
        "labels": "n",
        "explained": "d",
        "chi": "3",
        "chi_tsne": "s",
        "embeddings": "s n 2",
        "farthest": "",
    },
    "srga": {"names": "m", "values": "m"},
    "cosine": {"names": "m", "values": "m"},
}
"""The arrays that figures read, and their axes: equal names are equal sizes within a file, numbers are sizes."""
_ABLATION = ("drops", "rank", "gini_scores", "gini_drops")
_TEXTS = {"labels", "farthest", "names"}

Builder = Callable[..., Any]


def require_matplotlib() -> None:
    """Raises UserError, saying what to install, where matplotlib is missing."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise UserError("figures need matplotlib, which is not installed: pip install 'wildsr[bench]'") from None


class Arrays:
    """One file of EXPLAIN/arrays. An array is read when it is asked for, for pictures' features are large.

    `model`, `site`, `image`: as it says itself (`image` is the file's stem where it says nothing). `channels`: how many the site has, for
    the kind "channels"."""

    def __init__(self, path: Path) -> None:
        """Raises UserError naming the file where it is damaged."""
        self.path, self.kind, self._sizes = path, path.parent.parent.name, {str(n): n for n in range(10)}
        try:
            self.about: dict[str, Any] = json.loads(str(self._read("about")[()]))
            self.model, self.site = str(self.about["model"]), str(self.about["site"])
        except (ValueError, KeyError, TypeError) as error:
            if isinstance(error, UserError):
                raise
            raise self._damaged("its `about` does not say which model and site it is of") from None
        self.image = str(self.about.get("image") or path.stem)
        if self.kind == "channels":
            self.channels = len(self["scores"])

    def __getitem__(self, name: str) -> np.ndarray:
        """An array. Raises UserError naming the file where it is missing, or of another shape or type than it should be."""
        array, axes = self._read(name), _LAYOUT[self.kind][name].split()
        if array.dtype.kind not in ("U" if name in _TEXTS else "fiu"):
            raise self._damaged(f"{name!r} holds {array.dtype}")
        sizes = [(axis.removesuffix("+1"), size - axis.endswith("+1")) for axis, size in zip(axes, array.shape, strict=False)]
        if array.ndim != len(axes) or any(self._sizes.setdefault(axis, size) != size for axis, size in sizes):
            raise self._damaged(f"{name!r} has the shape {array.shape}, not ({', '.join(axes)}) as the others have it")
        return array

    def number(self, name: str) -> float:
        """An array of no axes."""
        return float(self[name])

    @property
    def step(self) -> int | None:
        """The training step of a snapshot; None for what is not one."""
        found = re.fullmatch(r"step-(\d+)", self.path.stem)
        return int(found[1]) if found else None

    def has(self, *names: str) -> bool:
        """Whether arrays are there: ablations are only where they were asked for. Raises UserError naming a damaged file."""
        return set(names) <= set(self._names())

    def _names(self) -> list[str]:
        return self._opened(lambda file: file.files)

    def _read(self, name: str) -> np.ndarray:
        if not self.has(name):
            raise self._damaged(f"it has no {name!r}")
        return self._opened(lambda file: file[name])

    def _opened(self, read: Callable[[Any], Any]) -> Any:
        try:
            # NumPy leaves a file open that it cannot read.
            with open(self.path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
                return read(file)
        except FileNotFoundError:
            raise UserError(f"{self.path}: no such file") from None
        except (OSError, ValueError, EOFError, TypeError, AttributeError, zipfile.BadZipFile, zlib.error):
            raise self._damaged("not a whole npz file") from None

    def _damaged(self, how: str) -> UserError:
        return UserError(f"{self.path}: the arrays are damaged ({how}): delete the file and run wildsr explain again")


def arrays_of(folder: Path, kind: str) -> dict[str, dict[str, Arrays]]:
    """Model -> NAME -> what it left of a kind; models in the order of rows.jsonl, names in that of the alphabet."""
    rows = folder / "rows.jsonl"
    order = list(dict.fromkeys(str(row.get("model")) for row in files.read_jsonl(rows))) if rows.is_file() else []
    found: dict[str, dict[str, Arrays]] = {}
    for path in sorted((folder / "arrays" / kind).glob("*/*.npz")):
        one = Arrays(path)
        found.setdefault(one.model, {})[path.stem] = one
    return {model: found[model] for model in sorted(found, key=lambda model: (order + list(found)).index(model))}


class Drawn(NamedTuple):
    """A figure that can be drawn: its file's name without ending, what builds it, and of what."""

    name: str
    build: Builder
    of: Any


def draw(folder: Path, what: Sequence[str] = ("all",)) -> list[Path]:
    """Draws the figures that the arrays in `folder` allow, in folder/figures, and returns the files; what has no arrays is left out.

    `what`: names of WHAT, or "all". Raises UserError for another name, naming the file where arrays are damaged, and where models of
    different width meet in what compares them channel by channel."""
    for name in what:
        if name not in WHAT and name != "all":
            raise UserError(f"there is no figure {name!r}: {nearest(name, ['all', *WHAT])}")
    require_matplotlib()
    plans = [plan for name, plans in WHAT.items() if name in what or "all" in what for plan in plans]
    written: list[Path] = []
    for plan in dict.fromkeys(plans):
        for name, build, of in plan(folder):
            written += save(build(of), folder / "figures" / name)
    return written


@contextlib.contextmanager
def _style() -> Iterator[None]:
    """The house's settings, whatever the user's are. As a decorator, too."""
    require_matplotlib()
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        settings: dict[Any, Any] = {"font.size": 7.5, "axes.linewidth": 0.6, "hatch.linewidth": 0.5, "svg.hashsalt": "wildsr"}
        sizes = {"xtick.labelsize": SMALL, "ytick.labelsize": SMALL, "axes.labelsize": 7.5, "axes.titlesize": 7.5, "legend.fontsize": 7.5}
        settings.update(sizes)
        matplotlib.rcParams.update(settings)
        yield


@_style()
def save(figure: Any, path: Path) -> list[Path]:
    """Writes PATH.png (200 dots an inch) and PATH.svg, and returns them; equal figures are equal bytes."""
    written: list[Path] = []
    for suffix, metadata in (("png", {"Software": None}), ("svg", {"Date": None, "Creator": None})):
        written.append(path.with_name(f"{path.name}.{suffix}"))
        with files.atomic_write(written[-1]) as file:
            figure.savefig(file, format=suffix, dpi=200, metadata=metadata)
    return written


# ------------------------------------------------------------------------------------------------------------- which figures there are


def _by_picture(kind: str, prefix: str, build: Builder) -> Callable[[Path], Iterator[Drawn]]:
    def plan(folder: Path) -> Iterator[Drawn]:
        models = arrays_of(folder, kind)
        for stem in sorted({stem for pictures in models.values() for stem in pictures}):
            of = [pictures[stem] for pictures in models.values() if stem in pictures]
            yield Drawn(f"{prefix}-{_file_name(stem)}", build, of)

    return plan


def _over_pictures(name: str, build: Builder, *needs: str) -> Callable[[Path], Iterator[Drawn]]:
    def plan(folder: Path) -> Iterator[Drawn]:
        models = arrays_of(folder, "channels")
        models = {model: {stem: one for stem, one in pictures.items() if one.has(*needs)} for model, pictures in models.items()}
        models = {model: pictures for model, pictures in models.items() if pictures}
        if models:
            yield Drawn(name, build, _shared(models, folder))

    return plan


def _of_all(kind: str, name: str, build: Builder) -> Callable[[Path], Iterator[Drawn]]:
    def plan(folder: Path) -> Iterator[Drawn]:
        of = [names["all"] for names in arrays_of(folder, kind).values() if "all" in names]
        if of:
            yield Drawn(name, build, of)

    return plan


def _chi_steps(folder: Path) -> Iterator[Drawn]:
    of = {model: [one for one in names.values() if one.step is not None] for model, names in arrays_of(folder, "ddr").items()}
    of = {model: sorted(snapshots, key=lambda one: one.step or 0) for model, snapshots in of.items() if snapshots}
    if of:
        yield Drawn("chi-steps", chi_steps, of)


def _shared(models: Mapping[str, Mapping[str, Arrays]], folder: Path) -> dict[str, list[Arrays]]:
    """The pictures that all models have: a mean over others would compare pictures and not models."""
    stems = set.intersection(*(set(pictures) for pictures in models.values()))
    if not stems:
        raise UserError(f"{folder / 'arrays' / 'channels'}: no picture is there for all of {', '.join(models)}: explain the same pictures")
    return {model: [one for stem, one in pictures.items() if stem in stems] for model, pictures in models.items()}


def _file_name(stem: str) -> str:
    """A stem without odd characters; where it had some, with a hash, for others may become the same."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", stem)
    return plain if plain == stem else f"{plain.strip('-')}-{files.sha256(stem.encode())[:8]}"


# -------------------------------------------------------------------------------------------------------------------------- sheets of maps


class Scale(NamedTuple):
    """How numbers become colours, and what the colour bar says. It shows from `shown` to `high`."""

    colours: str
    low: float
    high: float
    shown: float
    label: str


def saliency_uniform(models: Sequence[Arrays]) -> Any:
    """A picture's channel saliency, each model's channels in the order of their index, in perceptually uniform colours."""
    _one_width(models)
    maps = [one["map"].astype(np.float64) for one in models]
    high = _percentile(maps)
    label = f"saliency, of the model's largest; colours end at {_short(high)} ({CLIPPED:g}th percentile over all models)"
    scale = Scale("magma", 0, high, 0, label)
    return _sheets(
        _title("Channel saliency", models, picture=True), models, maps, [range(len(one)) for one in maps], scale, _scores(models)
    )


def saliency_seismic(models: Sequence[Arrays]) -> Any:
    """The same in the paper's style: 'seismic' at 0.5 + 0.5·saliency."""
    _one_width(models)
    maps = [one["map"].astype(np.float64) for one in models]
    scale = Scale("seismic", -1, 1, 0, "saliency, of the model's largest; colours as in the paper")
    return _sheets(
        _title("Channel saliency", models, picture=True), models, maps, [range(len(one)) for one in maps], scale, _scores(models)
    )


def features(models: Sequence[Arrays]) -> Any:
    """A picture's feature maps, as in Figure 7, those with the highest saliency scores first, on one scale: from 0, or around it where
    there are values below."""
    _one_width(models)
    maps = [one["feature"].astype(np.float64) for one in models]
    orders = [np.argsort(-one["scores"], kind="stable") for one in models]
    high = _percentile([abs(one) for one in maps])
    signed = any(bool((one < 0).any()) for one in maps)
    label = f"feature; colours end at {'±' * signed}{_short(high)} ({CLIPPED:g}th percentile{' of sizes' * signed} over all models)"
    scale = Scale("RdBu_r", -high, high, -high, label) if signed else Scale("viridis", 0, high, 0, label)
    captions = [[f"{c}" for c in range(len(one))] for one in maps]
    note = "the most important channels first; numbers: a channel's index"
    return _sheets(_title("Features", models, picture=True), models, maps, orders, scale, captions, note)


def _scores(models: Sequence[Arrays]) -> list[list[str]]:
    return [[_short(score) for score in one["scores"]] for one in models]


def _one_width(models: Sequence[Arrays]) -> None:
    for one in models:
        if one.channels != models[0].channels:
            raise UserError(
                f"{one.path}: {one.channels} channels, but {models[0].path} has {models[0].channels}, and sheets compare models channel by "
                "channel: explain models of different width apart"
            )


def _percentile(maps: Sequence[Float[np.ndarray, "_ _ _"]]) -> float:
    """Where the scale ends: above 0."""
    values = np.concatenate([one[np.isfinite(one)] for one in maps])
    high = float(np.percentile(values, CLIPPED)) if len(values) else 0.0
    return high if high > 0 else max(float(values.max(initial=0)), 0) or 1.0


@_style()
def _sheets(
    title: str,
    models: Sequence[Arrays],
    maps: Sequence[Float[np.ndarray, "_ _ _"]],
    orders: Sequence[Sequence[int] | np.ndarray],
    scale: Scale,
    captions: Sequence[Sequence[str]],
    note: str = "numbers: score, the sum of a channel's saliency",
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
    heading, footing = _wrapped(title, width - 2 * edge, 8.5, BOLD), _wrapped(f"{scale.label}; {note}", width - 2 * edge, SMALL)
    names = [_wrapped(one.model, sheet_w, 7.5, BOLD) for one in models]
    rows = [range(i, min(i + in_row, len(models))) for i in range(0, len(models), in_row)]
    above = [0.06 + line * max(names[i].count("\n") + 1 for i in row) for row in rows]
    top = 0.1 + 0.15 * (heading.count("\n") + 1)
    bottom = 0.42 + line * (footing.count("\n") + 1)
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


# -------------------------------------------------------------------------------------------------------------------- channels as numbers


@_style()
def ablation(models: Mapping[str, Sequence[Arrays]]) -> Any:
    """What the lack of a channel costs against its saliency score, as in Figure 6: a panel a model, a dot a channel of a picture."""
    from matplotlib.lines import Line2D

    pictures = [one.image for one in next(iter(models.values()))]
    named = len(pictures) <= NAMED
    figure, panels, below = _grid(len(models), 3, 1.75)
    for axes, (model, each) in zip(panels, models.items(), strict=True):
        for i, one in enumerate(each):
            style = _dots(i) if named else {"color": COLOURS[0], "marker": "o"}
            axes.plot(one["scores"], one["drops"], linestyle="", markersize=2.6, markeredgewidth=0, alpha=0.75, label=one.image, **style)
        rank, scores, drops = (_mean(one.number(name) for one in each) for name in ("rank", "gini_scores", "gini_drops"))
        lines = [f"rank correlation {_two(rank)}", f"Gini: scores {_two(scores)}, drops {_two(drops)}"]
        axes.set_title("\n".join([_wrapped(model, WIDTH / max(2, min(3, len(models))) - 0.4, 7.5), *lines]))
        axes.axhline(0, color=GREY, linewidth=0.6, zorder=0.5)
        _plain(axes, grid="both")
    _outer(panels, below, "saliency score", "PSNR drop (dB)", 3)
    count = f"mean of {len(pictures)} pictures" if len(pictures) > 1 else pictures[0]
    first = next(iter(models.values()))
    _suptitle(figure, f"{_title('Ablation of one channel', first)}; numbers: {count}")
    if named:
        handles = [Line2D([], [], linestyle="", markersize=3.5, **_dots(i)) for i in range(len(pictures))]
        _legend(figure, handles, pictures)
    return figure


@_style()
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
    figure, panels, below = _grid(4 if count else 3, 2, 1.9)
    for axes, (order, title) in zip(panels, titles.items(), strict=False):
        for i, (model, each) in enumerate(models.items()):
            for one in each:
                if one.channels != each[0].channels:
                    raise UserError(f"{one.path}: {one.channels} channels, but {each[0].path} of the same model has {each[0].channels}")
            share = np.arange(each[0].channels + 1) / each[0].channels
            psnr = np.mean([one[order] for one in each], axis=0)
            if order == "random":
                low, high = np.percentile(psnr, (2.5, 97.5), axis=0)
                axes.fill_between(share, low, high, color=COLOURS[i % len(COLOURS)], alpha=0.2, linewidth=0)
                psnr = np.median(psnr, axis=0)
            axes.plot(share, psnr, linewidth=1.1, label=model, **_line(i))
        axes.set_title(title)
        axes.set_xlim(0, 1)
        _plain(axes, grid="both")
    _outer(panels, below, "share of channels ablated", "PSNR (dB)", 2)
    pictures = f"mean of {len(first)} pictures" if len(first) > 1 else first[0].image
    _suptitle(figure, f"{_title('Cumulative ablation', first)}; {pictures}")
    _legend(figure, panels[0].get_lines(), list(models))
    return figure


@_style()
def inequality(models: Mapping[str, Sequence[Arrays]]) -> Any:
    """How unequal channels are: the Gini coefficient of saliency scores and of PSNR drops, a dot a picture, their mean a bar."""
    from matplotlib.figure import Figure

    names = [_wrapped(model, 1.5, SMALL) for model in models]
    rows = max(name.count("\n") + 1 for name in names)
    figure = Figure(figsize=(WIDTH, 0.85 + len(models) * max(0.26, 0.13 * rows + 0.06)), layout="constrained")
    grid = figure.subplots(1, 2, sharey=True)
    for axes, (name, label) in zip(grid, (("gini_scores", "of saliency scores"), ("gini_drops", "of PSNR drops")), strict=True):
        values = [[one.number(name) for one in each] for each in models.values()]
        means = [_mean(own) for own in values]
        axes.barh(range(len(values)), means, height=0.62, color=[COLOURS[i % len(COLOURS)] for i in range(len(values))], alpha=0.45)
        for i, own in enumerate(values):
            # Dots of pictures that are alike are set a little apart.
            y = i + 0.18 * ((np.arange(len(own)) % 3) - 1)
            axes.plot(own, y, "o", markersize=2.8, color="black", markeredgecolor="white", markeredgewidth=0.4)
            axes.annotate(_two(means[i]), (1.02, i), xycoords=("axes fraction", "data"), fontsize=SMALL, ha="left", va="center")
        axes.set_xlim(0, 1)
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_xlabel(f"Gini coefficient {label}")
        axes.tick_params(axis="y", length=0)
        _plain(axes, grid="x")
    first = next(iter(models.values()))
    _suptitle(
        figure, f"{_title('Inequality of channels', first)}; bar and number: mean of {len(first)} picture{'s' * (len(first) > 1)} (dots)"
    )
    return figure


# ----------------------------------------------------------------------------------------------------------------- clusters and their index


@_style()
def clusters(models: Sequence[Arrays]) -> Any:
    """Degradation clusters, as in Figure 9: t-SNE with the first seed, and below it the first two principal components, with the CHI in
    the space of the components and its 95 % interval."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    kinds = list(dict.fromkeys(label for one in models for label in one["labels"].tolist()))
    columns = min(4, len(models))
    blocks, width = -(-len(models) // columns), WIDTH / max(columns, 2)
    embedded = any(len(one["embeddings"]) for one in models)
    titles = []
    for one in models:
        value, low, high = one["chi"].tolist()
        farthest = str(one["farthest"][()])
        lines = [_wrapped(one.model, width - 0.25, 7.5), f"CHI {_short(value)} [{_short(low)}, {_short(high)}]"]
        titles.append("\n".join([*lines, *([_wrapped(f"farthest: {farthest}", width - 0.25, 7.5)] if farthest else [])]))
    heads = sum(max(text.count("\n") + 1 for text in titles[i : i + columns]) for i in range(0, len(titles), columns))
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
                axes.plot(own[:, 0], own[:, 1], linestyle="", markersize=2.4, markeredgewidth=0, alpha=0.8, label=kind, **_dots(k))
            axes.set_box_aspect(0.9)
            axes.margins(0.06)
        if embedded:
            own_axes[0].set_xlabel("t-SNE, first seed")
        own_axes[-1].set_xlabel(f"component 1 ({100 * shares[0]:.0f} %)")
        own_axes[-1].set_ylabel(f"component 2 ({100 * shares[1]:.0f} %)" if len(shares) > 1 else "")
    handles = [Line2D([], [], linestyle="", markersize=3.5, **_dots(k)) for k in range(len(kinds))]
    _suptitle(figure, f"{_title('Degradation clusters', models)}; CHI of the components with its 95 % interval")
    _legend(figure, handles, kinds)
    return figure


@_style()
def chi(models: Sequence[Arrays]) -> Any:
    """The CHI by model, in the given order: of the components with 95 % intervals, and of t-SNE, a dot a seed."""
    from matplotlib.figure import Figure

    values = [one["chi"].tolist() for one in models]
    names = [
        _wrapped(one.model + (" (infinite)" if not math.isfinite(value) else ""), 1.5, SMALL)
        for one, (value, _, _) in zip(models, values, strict=True)
    ]
    seeds = [one["chi_tsne"] for one in models]
    embedded = any(len(own) for own in seeds)
    rows = max(name.count("\n") + 1 for name in names)
    figure = Figure(figsize=(WIDTH if embedded else WIDTH / 2, 0.9 + len(models) * max(0.24, 0.13 * rows + 0.06)), layout="constrained")
    grid = figure.subplots(1, 1 + embedded, sharey=True, squeeze=False)[0]
    places = np.arange(len(models))
    middle, low, high = (np.array(column) for column in zip(*values, strict=True))
    shown = np.isfinite(middle)
    grid[0].plot(middle[shown], places[shown], color="#bbbbbb", linewidth=0.9, zorder=1)
    for i in places[shown]:
        ends = low[i], high[i] if math.isfinite(high[i]) else middle[i]
        bars = [[max(middle[i] - ends[0], 0)], [max(ends[1] - middle[i], 0)]]
        grid[0].errorbar(middle[i], i, xerr=bars, fmt="o", color=COLOURS[0], markersize=4, elinewidth=1, capsize=2)
    _by_size(grid[0], np.concatenate([middle, low, high]))
    grid[0].set_xlabel("CHI of the components, 95 % interval")
    if embedded:
        means = [_mean(own) for own in seeds]
        grid[1].plot(means, places, color="#bbbbbb", linewidth=0.9, zorder=1)
        for i, own in enumerate(seeds):
            own = own[np.isfinite(own)]
            grid[1].plot(own, np.full(len(own), i), "o", color=COLOURS[1], markersize=4, alpha=0.6, markeredgewidth=0)
        _by_size(grid[1], np.concatenate(seeds))
        grid[1].set_xlabel("CHI of t-SNE, a dot a seed, line: mean")
    for axes in grid:
        axes.set_yticks(places, names)
        axes.set_ylim(len(models) - 0.5, -0.5)
        _plain(axes, grid="both")
    _suptitle(figure, f"{_title('Degradation clusters', models)}; less is more uniform")
    return figure


@_style()
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
        axes.plot(steps, values[:, 0], markersize=3, linewidth=1.1, marker=_dots(i)["marker"], label=model, **_line(i))
        axes.fill_between(steps, values[:, 1], values[:, 2], color=COLOURS[i % len(COLOURS)], alpha=0.18, linewidth=0)
        seen += values.flatten().tolist()
    _by_size(axes, np.array(seen), "y")
    _plain(axes, grid="both")
    axes.set_xlabel("training step")
    axes.set_ylabel("CHI of the components, 95 % interval")
    _suptitle(figure, _title("Degradation clusters over training", [one for each in models.values() for one in each]))
    _legend(figure, axes.get_lines(), list(models))
    return figure


# ------------------------------------------------------------------------------------------------------------------ numbers by degradation


def srga(models: Sequence[Arrays]) -> Any:
    """SRGA of each set of inputs, a bar a model."""
    return _bars(models, _title("SRGA", models), "SRGA (less is nearer to inputs that are handled well)")


def cosine(models: Sequence[Arrays]) -> Any:
    """The cosine between features of clean and of degraded inputs, by degradation, a bar a model."""
    return _bars(models, _title("Features of degraded inputs", models), "cosine to the features of clean inputs (1: the same)")


@_style()
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
                style = {"color": COLOURS[i % len(COLOURS)], "hatch": HATCHES[i // len(COLOURS) % len(HATCHES)], "edgecolor": "white"}
                axes.barh(y, value if math.isfinite(value) else 0.0, height=0.125, linewidth=0, **style)
                at = max(value, 0.0) if math.isfinite(value) else 0.0
                axes.text(at + 0.01 * columns * span, y, _three(value), fontsize=SMALL, va="center", ha="left")
        axes.set_yticks([(row + 0.5) * each for row in range(len(own))], [_wrapped(name, 1.2, SMALL) for name in own])
        axes.set_ylim(rows * each, 0)
        axes.set_xlim(low - (room if low < 0 else 0), high + 2 * room)
        axes.axvline(0, color=GREY, linewidth=0.6)
        axes.set_xlabel(_wrapped(label, WIDTH / columns - 0.7, 7.5))
        axes.tick_params(axis="y", length=0)
        _plain(axes, grid="x")
    _suptitle(figure, title)
    patches = [
        Patch(facecolor=COLOURS[i % len(COLOURS)], hatch=HATCHES[i // len(COLOURS) % len(HATCHES)], edgecolor="white", linewidth=0)
        for i in range(len(models))
    ]
    _legend(figure, patches, [one.model for one in models])
    return figure


# -------------------------------------------------------------------------------------------------------------------------- attribution


@_style()
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
    titles += [f"{_wrapped(one.model, side, 7.5)}\ndiffusion index {one.number('diffusion'):.1f}" for one in models]
    rows = [titles[i : i + columns] for i in range(0, len(titles), columns)]
    above = [0.13 * max(text.count("\n") + 1 for text in row) + 0.08 for row in rows]
    width = max(columns * (side + gap), 3.5)
    heading = _wrapped(f"What the outlined window of the output depends on: {first.image}", width - 0.2, 8.5, BOLD)
    top, bottom = 0.1 + 0.15 * (heading.count("\n") + 1), 0.52
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
        high = _percentile([absolute[None]])
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
        raise one._damaged("its `about` does not say the scale") from None
    for colour, width in (("white", 2.2), ("black", 0.9)):
        axes.add_patch(Rectangle((left - 0.5, top - 0.5), right - left, bottom - top, fill=False, edgecolor=colour, linewidth=width))


# ----------------------------------------------------------------------------------------------------------------------- what they share


def _title(text: str, models: Sequence[Arrays], *, picture: bool = False) -> str:
    sites = list(dict.fromkeys(one.site for one in models))
    return f"{text} at site{'s' * (len(sites) > 1)} {', '.join(sites)}" + (f": {models[0].image}" if picture else "")


def _grid(count: int, most: int, height: float) -> tuple[Any, list[Any], list[bool]]:
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


def _outer(panels: Sequence[Any], below: Sequence[bool], x: str, y: str, most: int) -> None:
    columns = min(len(panels), most)
    for i, (axes, last) in enumerate(zip(panels, below, strict=True)):
        axes.set_xlabel(x if last else "")
        axes.tick_params(labelbottom=last)
        axes.set_ylabel(y if i % columns == 0 else "")


def _plain(axes: Any, grid: str) -> None:
    """Numbers are written out: small powers of ten would be too small."""
    from matplotlib.ticker import LogFormatter, ScalarFormatter

    for own in (axes.xaxis, axes.yaxis):
        if isinstance(own.get_major_formatter(), ScalarFormatter | LogFormatter):
            own.set_major_formatter(lambda value, _: f"{round(value, 12):g}".replace("-", "−"))
    axes.grid(axis=grid, color="#e4e4e4", linewidth=0.5)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _by_size(axes: Any, values: np.ndarray, axis: str = "x") -> None:
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


def _suptitle(figure: Any, text: str) -> None:
    figure.suptitle(_wrapped(text, figure.get_figwidth() - 0.2, 8.5, BOLD), fontsize=8.5, fontweight="bold")


def _legend(figure: Any, handles: Sequence[Any], names: Sequence[str]) -> None:
    """Below all, in as many columns as there is room for. Figures have room for one row; each further one makes them taller."""
    names = [_wrapped(name, figure.get_figwidth() - 0.8, 7.5) for name in names]
    lengths = [max(map(len, name.split("\n"))) for name in names]

    def width(columns: int) -> float:
        return sum(0.55 + 0.064 * part.max() for part in np.array_split(lengths, columns))

    columns = max(n for n in range(1, len(names) + 1) if n == 1 or width(n) < figure.get_figwidth())
    figure.set_figheight(figure.get_figheight() + 0.16 * (-(-len(names) // columns) - 1))
    figure.legend(handles, names, loc="outside lower center", ncols=columns, frameon=False)


def _dots(i: int) -> dict[str, Any]:
    """36 styles that differ in colour, or in shape, and neighbours in both."""
    return {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[(i + i // len(COLOURS)) % len(MARKERS)]}


def _line(i: int) -> dict[str, Any]:
    return {"color": COLOURS[i % len(COLOURS)], "linestyle": DASHES[(i + i // len(COLOURS)) % len(DASHES)]}


def _wrapped(text: str, inches: float, size: float, letter: float = 0.62) -> str:
    """Text in lines that are `inches` long at most, for letters of `size` points that are `letter` of that wide, or a little less."""
    return "\n".join(textwrap.wrap(text, max(6, int(inches * 72 / (letter * size))))) or text


def _mean(values: Iterable[float]) -> float:
    """The mean of those that are finite; NaN where none is."""
    finite = [float(value) for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else math.nan


def _short(value: float) -> str:
    """In four letters: 0.04, 8.12, 81.2, 812, 8123, 81k, 12M. What is larger, or below 0, needs more."""
    size = abs(value)
    if not math.isfinite(value):
        return "–" if math.isnan(value) else "∞" if value > 0 else "−∞"
    if size >= 999.5e6:
        return f"{value:.1e}"
    if size >= 9999.5:
        return f"{value / 1e3:.0f}k" if size < 999.5e3 else f"{value / 1e6:.0f}M"
    digits = 0 if size >= 99.95 else 1 if size >= 9.995 else 2
    return f"{value:.{digits}f}".replace("-", "−")


def _two(value: float) -> str:
    return f"{value:.2f}".replace("-", "−") if math.isfinite(value) else _short(value)


def _three(value: float) -> str:
    return f"{value:.3f}".replace("-", "−") if math.isfinite(value) else _short(value)


WHAT: dict[str, tuple[Callable[[Path], Iterator[Drawn]], ...]] = {
    "csm": (_by_picture("channels", "csm-uniform", saliency_uniform), _by_picture("channels", "csm-seismic", saliency_seismic)),
    "features": (_by_picture("channels", "features", features),),
    "ablation": (_over_pictures("ablation", ablation, *_ABLATION), _over_pictures("inequality", inequality, *_ABLATION)),
    "cumulative": (_over_pictures("cumulative", cumulative, "index", "saliency", "reverse", "random"),),
    "ddr": (_of_all("ddr", "ddr", clusters), _of_all("ddr", "chi", chi), _chi_steps),
    "srga": (_of_all("srga", "srga", srga),),
    "cosine": (_of_all("cosine", "cosine", cosine),),
    "lam": (_by_picture("lam", "lam", attribution),),
}
"""What can be drawn: for a name, what finds in a folder the figures that can be."""
