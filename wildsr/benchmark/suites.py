"""Suites: named, versioned lists of what pictures are measured under."""

from dataclasses import dataclass
from typing import Literal

from wildsr import degrade
from wildsr.config import nearest
from wildsr.degrade import Fixed
from wildsr.errors import UserError


@dataclass(frozen=True)
class Suite:
    """Inputs of one scale, scored inside a border of `crop` pixels. Its version changes when a byte of its inputs does.

    inputs: "made" from ground truth by `degradations`; "paired", low and high resolution both taken from folders; or "alone", pictures
    without ground truth."""

    name: str
    version: str
    scale: int
    crop: int
    degradations: tuple[Fixed, ...] = ()
    inputs: Literal["made", "paired", "alone"] = "made"


EIGHT = ("clean", "blur", "noise", "jpeg", "b+n", "b+j", "n+j", "b+n+j")
"""The test degradations of Reflash Dropout (CVPR 2022), Table 1, in its order."""


def presets(*names: str) -> tuple[Fixed, ...]:
    """Test degradations by their names."""
    return tuple(degrade.PRESETS[name] for name in names)


SUITES = {
    suite.name: suite
    for suite in (
        Suite("rdsr8", version="1", scale=4, crop=4, degradations=presets(*EIGHT)),
        Suite("rdsr8-rounded", version="1", scale=4, crop=4, degradations=degrade.ROUNDED),
        Suite("rdsr8-x2", version="1", scale=2, crop=2, degradations=presets(*EIGHT)),
        Suite("rdsr8-x3", version="1", scale=3, crop=3, degradations=presets(*EIGHT)),
        Suite("resizers", version="1", scale=4, crop=4, degradations=presets("clean", "nearest")),
        Suite("unseen", version="1", scale=4, crop=4, degradations=degrade.UNSEEN),
        Suite("paired", version="1", scale=4, crop=4, inputs="paired"),
        Suite("real", version="1", scale=4, crop=0, inputs="alone"),
    )
}
"""rdsr8: the eight as the paper's generator makes them, ×4; rdsr8-rounded: the same with noisy samples rounded, not truncated; rdsr8-x2 and
rdsr8-x3: other scales, the border as wide as the scale. resizers: bicubic and nearest-neighbour resizing alone (the paper's Figure 2).
unseen: kinds of degradation that the two-order training pipeline does not make. paired: low and high resolution from two folders (RealSR,
NTIRE 2018; the paper's Table 2). real: photographs without ground truth."""


def find_suite(name: str) -> Suite:
    """The suite of a name. Raises UserError listing what there is."""
    if name not in SUITES:
        raise UserError(f"unknown suite {name!r}: {nearest(name, SUITES)}")
    return SUITES[name]
