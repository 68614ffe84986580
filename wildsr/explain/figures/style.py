"""How figures look: sizes, colours, marks, and words and numbers that fit. Needs matplotlib, which is an extra."""

import contextlib
import math
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from wildsr import files
from wildsr.errors import UserError
from wildsr.explain.figures.arrays import Arrays

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


def require_matplotlib() -> None:
    """Raises UserError, saying what to install, where matplotlib is missing."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise UserError("figures need matplotlib, which is not installed: pip install 'wildsr[bench]'") from None


@contextlib.contextmanager
def styled() -> Iterator[None]:
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


@styled()
def save(figure: Any, path: Path) -> list[Path]:
    """Writes PATH.png (200 dots an inch) and PATH.svg, and returns them; equal figures are equal bytes."""
    written: list[Path] = []
    for suffix, metadata in (("png", {"Software": None}), ("svg", {"Date": None, "Creator": None})):
        written.append(path.with_name(f"{path.name}.{suffix}"))
        with files.atomic_write(written[-1]) as file:
            figure.savefig(file, format=suffix, dpi=200, metadata=metadata)
    return written


def colour(i: int) -> str:
    """Colours by turns."""
    return COLOURS[i % len(COLOURS)]


def dots(i: int) -> dict[str, Any]:
    """36 styles that differ in colour, or in shape, and neighbours in both."""
    return {"color": colour(i), "marker": MARKERS[(i + i // len(COLOURS)) % len(MARKERS)]}


def line(i: int) -> dict[str, Any]:
    """24 styles of lines, in the same manner."""
    return {"color": colour(i), "linestyle": DASHES[(i + i // len(COLOURS)) % len(DASHES)]}


def scale_end(maps: Sequence[Float[np.ndarray, "_ _ _"]]) -> float:
    """Where the scale ends: above 0."""
    values = np.concatenate([one[np.isfinite(one)] for one in maps])
    high = float(np.percentile(values, CLIPPED)) if len(values) else 0.0
    return high if high > 0 else max(float(values.max(initial=0)), 0) or 1.0


def titled(text: str, models: Sequence[Arrays], *, picture: bool = False) -> str:
    """A title that says where in the models, and on which picture."""
    sites = list(dict.fromkeys(one.site for one in models))
    return f"{text} at site{'s' * (len(sites) > 1)} {', '.join(sites)}" + (f": {models[0].image}" if picture else "")


def wrapped(text: str, inches: float, size: float, letter: float = 0.62) -> str:
    """Text in lines that are `inches` long at most, for letters of `size` points that are `letter` of that wide, or a little less."""
    return "\n".join(textwrap.wrap(text, max(6, int(inches * 72 / (letter * size))))) or text


def line_count(*texts: str) -> int:
    """How many lines the longest text has."""
    return max(text.count("\n") + 1 for text in texts)


def finite_mean(values: Iterable[float]) -> float:
    """The mean of those that are finite; NaN where none is."""
    finite = [float(value) for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else math.nan


def short(value: float) -> str:
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


def fixed(value: float, digits: int = 2) -> str:
    """With so many digits after the point."""
    return f"{value:.{digits}f}".replace("-", "−") if math.isfinite(value) else short(value)
