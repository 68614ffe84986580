"""The figures of a folder that `wildsr explain` has filled, in the manner of the papers' Figures 6 to 9.

EXPLAIN/arrays/KIND/MODEL/NAME.npz -> EXPLAIN/figures/NAME.png and .svg, of equal bytes for equal arrays. A figure is a page's text wide
(7 inches) at most, so that its smallest letters stay 7 points high in print. Functions that build a figure return it; `save` writes it.

Figures 6 to 8: "Reflash Dropout in Image Super-Resolution" (CVPR 2022, arXiv 2112.12089). Saliency on the scale of 'seismic', and
degradation clusters, are shown as there. Needs matplotlib, and no torch."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from wildsr import files
from wildsr.config import nearest
from wildsr.errors import UserError
from wildsr.explain.figures.arrays import Arrays as Arrays
from wildsr.explain.figures.arrays import arrays_of as arrays_of
from wildsr.explain.figures.bars import cosine, srga
from wildsr.explain.figures.channels import ablation, cumulative, inequality
from wildsr.explain.figures.degradations import chi, chi_steps, clusters
from wildsr.explain.figures.lam import attribution
from wildsr.explain.figures.sheets import features, saliency_seismic, saliency_uniform
from wildsr.explain.figures.style import require_matplotlib as require_matplotlib
from wildsr.explain.figures.style import save as save

_ABLATION = ("drops", "rank", "gini_scores", "gini_drops")
Builder = Callable[..., Any]


class Drawn(NamedTuple):
    """A figure that can be drawn: its file's name without ending, what builds it, and of what."""

    name: str
    build: Builder
    of: Any


def draw(folder: Path, what: Sequence[str] = ("all",), tell: Callable[[str], None] | None = None) -> list[Path]:
    """Draws the figures that the arrays in `folder` allow, in folder/figures, and returns the files; what has no arrays is left out.

    `what`: names of WHAT, or "all". Raises UserError for another name; and for figures that cannot be drawn, for arrays are damaged (the
    file is named), or models of different width, or without a picture in common, meet in what compares them. With `tell`, that gets a line
    on such figures instead, and the others are drawn."""
    for name in what:
        if name not in WHAT and name != "all":
            raise UserError(f"there is no figure {name!r}: {nearest(name, ['all', *WHAT])}")
    require_matplotlib()
    plans = [plan for name, plans in WHAT.items() if name in what or "all" in what for plan in plans]
    written: list[Path] = []
    said: set[str] = set()  # several figures compare the same
    for plan in dict.fromkeys(plans):
        try:
            for name, build, of in plan(folder):
                written += save(build(of), folder / "figures" / name)
        except UserError as error:
            if tell is None:
                raise
            if str(error) not in said:
                tell(f"figures are left out: {error}")
            said.add(str(error))
    return written


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
