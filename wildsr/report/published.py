"""Numbers that papers have published, to stand beside measured ones. None of them was measured here."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from wildsr.report.tables import Summary

SOURCE = "Kong et al., Reflash Dropout in Image Super-Resolution, CVPR 2022, Table 1"
DEGRADATIONS = ("clean", "blur", "noise", "jpeg", "b+n", "b+j", "n+j", "b+n+j")
SIZES = {"Set5": 5, "Set14": 14, "BSD100": 100, "Manga109": 109, "Urban100": 100}
"""How many pictures the paper's sets have: beside numbers of a part of a set, its own would mislead."""
SETS = {
    "Set5": "Set5",
    "Set14": "Set14",
    "B100": "BSD100",
    "BSD100": "BSD100",
    "BSDS100": "BSD100",
    "Manga109": "Manga109",
    "Urban100": "Urban100",
}
"""Names of sets as folders have them, and as the paper does."""
PROTOCOL = "psnr-rgb-crop4-"
"""How the protocols begin that the paper's numbers may stand beside: PSNR in RGB without a border of 4 pixels."""


@dataclass(frozen=True)
class Published:
    """A network of a paper. `cells`: PSNR in dB by set (as the paper names it), in the order of DEGRADATIONS."""

    name: str
    cells: dict[str, tuple[float, ...]]

    def cell(self, of_set: str, degradation: str) -> float:
        """One number of the paper's; `of_set` is the folder's name."""
        return self.cells[SETS[of_set]][DEGRADATIONS.index(degradation)]

    def mean(self, sets: Iterable[str], degradations: Iterable[str]) -> float:
        """The mean of some cells."""
        degradations = list(degradations)
        found = [self.cell(name, degradation) for name in sets for degradation in degradations]
        return sum(found) / len(found)


def published(summary: Summary, sets: Sequence[str] | None = None) -> tuple[Published, ...]:
    """The papers' networks whose numbers may stand beside a summary's: of suite rdsr8 version 1, ×4, PSNR in RGB without a border of 4
    pixels, on whole sets (all of the summary's, or some) and on degradations that the paper has. Otherwise none.

    Its inputs were made by the same generator with other noise, and its ground truth may be cut otherwise: hundredths mean little."""
    same = (summary.suite, summary.version, summary.scale) == ("rdsr8", "1", 4) and summary.protocol.startswith(PROTOCOL)
    asked = sets or summary.sets
    known = all(name in SETS and len(summary.images(name)) == SIZES[SETS[name]] for name in asked) and set(summary.degradations) <= set(
        DEGRADATIONS
    )
    return TABLE_1 if same and known else ()


TABLE_1 = (
    Published(
        "SRResNet, p = 0",
        {
            "Set5": (24.89, 24.76, 23.75, 23.70, 23.20, 23.44, 23.17, 22.75),
            "Set14": (23.24, 23.04, 22.51, 22.31, 22.19, 22.06, 22.01, 21.74),
            "BSD100": (23.89, 23.67, 23.01, 23.03, 22.65, 22.78, 22.67, 22.39),
            "Manga109": (22.97, 22.59, 22.15, 21.75, 21.56, 21.25, 21.37, 20.82),
            "Urban100": (21.23, 21.06, 20.82, 20.59, 20.46, 20.29, 20.41, 20.09),
        },
    ),
    Published(
        "SRResNet, p = 0.7",
        {
            "Set5": (25.67, 25.34, 24.14, 24.06, 23.47, 23.69, 23.53, 23.04),
            "Set14": (23.74, 23.44, 22.70, 22.64, 22.26, 22.38, 22.26, 21.97),
            "BSD100": (24.18, 23.89, 23.02, 23.24, 22.60, 22.97, 22.81, 22.51),
            "Manga109": (23.58, 22.98, 22.57, 22.03, 21.81, 21.45, 21.65, 21.03),
            "Urban100": (21.58, 21.31, 20.94, 20.89, 20.47, 20.53, 20.63, 20.22),
        },
    ),
    Published(
        "RRDB, p = 0",
        {
            "Set5": (25.21, 25.14, 24.01, 23.86, 23.40, 23.47, 23.43, 22.81),
            "Set14": (23.73, 23.35, 22.93, 22.60, 22.45, 22.17, 22.36, 21.90),
            "BSD100": (24.42, 24.22, 23.25, 23.33, 22.77, 22.95, 22.90, 22.51),
            "Manga109": (23.58, 23.16, 22.56, 22.18, 21.74, 21.48, 21.77, 21.05),
            "Urban100": (21.57, 21.17, 21.16, 20.92, 20.57, 20.39, 20.74, 20.23),
        },
    ),
    Published(
        "RRDB, p = 0.5",
        {
            "Set5": (26.05, 26.09, 24.64, 24.32, 23.73, 23.93, 23.80, 23.18),
            "Set14": (24.02, 23.96, 23.17, 22.84, 22.57, 22.59, 22.49, 22.11),
            "BSD100": (24.54, 24.44, 23.41, 23.42, 22.83, 23.15, 22.98, 22.61),
            "Manga109": (23.78, 23.58, 22.74, 22.33, 21.76, 21.76, 21.88, 21.20),
            "Urban100": (21.89, 21.75, 21.26, 21.12, 20.53, 20.69, 20.83, 20.31),
        },
    ),
)
"""Networks trained with two-order degradation, without and with dropout before the last convolution; one training each."""
