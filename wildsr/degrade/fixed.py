"""The fixed test degradations that the benchmark measures on, on uint8: a frozen protocol.

Source: Reflash Dropout (Kong et al. 2022), Section 5.3, as its authors' generator makes them."""

import io

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from wildsr import chance, images
from wildsr.errors import UserError

PRESETS: dict[str, tuple[str, ...]] = {
    "clean": (),
    "blur": ("blur",),
    "noise": ("noise",),
    "jpeg": ("jpeg",),
    "b+n": ("blur", "noise"),
    "b+j": ("blur", "jpeg"),
    "n+j": ("noise", "jpeg"),
    "b+n+j": ("blur", "noise", "jpeg"),
    "nearest": ("nearest",),
}
"""The papers' test degradations: blur with σ = 2, then PIL's bicubic by the scale, then noise with σ = 20, then JPEG at quality 50; and
PIL's nearest-neighbour resizing alone (Reflash Dropout, Figure 2)."""

_BLUR_TAPS = np.array([1, 2, 7, 16, 31, 45, 52, 45, 31, 16, 7, 2, 1], dtype=np.int64)


def fixed(hr: UInt8[Tensor, "3 h w"], preset: str, *, seed: int, scale: int = 4) -> UInt8[Tensor, "3 h2 w2"]:
    """A test degradation of a picture whose sides are multiples of 12, to the byte: a frozen protocol.

    The noise is NumPy's Philox keyed by (seed, preset, SHA-256 of the HR pixels), so that it depends on neither the file's name nor the
    order of work; after it, samples are truncated to 8 bits, not rounded, as the papers' generator does (half a grey level darker)."""
    steps = PRESETS[preset]
    picture = hr.permute(1, 2, 0).contiguous().numpy()
    if "blur" in steps:
        picture = blur_uint8(picture)
    height, width = picture.shape[:2]
    resizer = Image.Resampling.NEAREST if "nearest" in steps else Image.Resampling.BICUBIC
    lr = Image.fromarray(picture).resize((width // scale, height // scale), resizer)
    if "noise" in steps:
        rng = chance.generator(seed, preset, images.pixels_sha256(hr))
        lr = Image.fromarray(noise_uint8(np.asarray(lr), 20, rng))
    if "jpeg" in steps:
        buffer = io.BytesIO()
        lr.save(buffer, format="JPEG", quality=50)
        lr = Image.open(buffer)
    return images.from_pillow(lr)


def blur_uint8(picture: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """OpenCV's GaussianBlur(picture, (21, 21), 2) on uint8, bit for bit, in integers: 8-bit taps, rows then columns, one rounding.

    Raises UserError when a side is shorter than 7 pixels."""
    half = len(_BLUR_TAPS) // 2
    if min(picture.shape[:2]) <= half:
        raise UserError(f"a picture of {picture.shape[1]}×{picture.shape[0]} is too small for the test blur: 7 pixels a side are needed")
    padded = np.pad(picture.astype(np.int64), ((half, half), (half, half), (0, 0)), mode="reflect")
    height, width = picture.shape[:2]
    rows = np.sum([tap * padded[:, i : i + width] for i, tap in enumerate(_BLUR_TAPS)], axis=0)
    columns = np.sum([tap * rows[i : i + height] for i, tap in enumerate(_BLUR_TAPS)], axis=0)
    return ((columns + (1 << 15)) >> 16).astype(np.uint8)


def noise_uint8(picture: UInt8[np.ndarray, "h w 3"], sigma: float, rng: np.random.Generator) -> UInt8[np.ndarray, "h w 3"]:
    """Adds N(0, σ²) in grey levels to every sample, drawn in (3, H, W) order, clips, and truncates to 8 bits."""
    noisy = picture.transpose(2, 0, 1) / 255 + rng.normal(0, sigma / 255, picture.transpose(2, 0, 1).shape)
    return (noisy.clip(0, 1).astype(np.float32) * 255).astype(np.uint8).transpose(1, 2, 0).copy()
