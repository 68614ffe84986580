"""What a result is measured with: metrics on uint8 pictures. Every score carries its protocol, and scores of different protocol refuse to
be compared.

`METRICS` holds those that need no further package, by name; `perceptual` and `no_reference` those of installed libraries."""

import functools

from wildsr.metrics.detail import BANDS as BANDS
from wildsr.metrics.detail import energies as energies
from wildsr.metrics.detail import psnr_high as psnr_high
from wildsr.metrics.installed import no_reference as no_reference
from wildsr.metrics.installed import perceptual as perceptual
from wildsr.metrics.pixels import psnr as psnr
from wildsr.metrics.pixels import psnrs
from wildsr.metrics.score import Metric as Metric
from wildsr.metrics.score import Score as Score
from wildsr.metrics.score import Space as Space
from wildsr.metrics.score import protocol as protocol
from wildsr.metrics.structure import ms_ssim as ms_ssim
from wildsr.metrics.structure import ms_ssims, ssims
from wildsr.metrics.structure import ssim as ssim

METRICS: dict[str, Metric] = {
    "psnr": Metric(psnrs, smallest=1),
    "ssim": Metric(ssims, smallest=11),
    "ms-ssim": Metric(ms_ssims, smallest=176),
    "psnr-high": Metric(psnr_high, smallest=16, spaces=("y",)),
} | {band: Metric(functools.partial(energies, bands=(band,)), smallest=16, spaces=("y",), better="zero") for band in BANDS}
"""By the names that stand in their scores. The first four are better the higher, energies the nearer 0; all but SSIM and MS-SSIM in dB."""
