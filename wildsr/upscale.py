"""Upscaling: a loaded model is a callable that tiles and clamps; files go in and PNGs come out."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Num, UInt8
from PIL import Image
from torch import Tensor

from wildsr import checkpoint, devices, files, images, networks
from wildsr.errors import UserError

TILE = 256
"""Side in LR pixels of what is upscaled at once, without its overlap."""


OVERLAP = 64
"""LR pixels of context that a tile has at most on each side."""


def overlap(network: networks.Network) -> int:
    """LR pixels of context around a tile: the network's receptive radius where it is at most 64, and the result that of the whole
    picture; 64 for RRDBNet, SwinIR and RCAN, whose tiles differ from the whole picture by what lies farther away. A multiple of the
    network's grid."""
    context = OVERLAP if network.radius is None else min(network.radius, OVERLAP)
    return -(-context // network.grid) * network.grid


@dataclass(frozen=True)
class Model:
    """A super-resolution network ready for use. `model(lr)` takes float (B, 3, h, w) in [0, 1] and returns (B, 3, s·h, s·w) in [0, 1].

    Pictures larger than `tile` go through the network in tiles that overlap (`overlap`), so that the network never sees more than
    (tile + 2 · overlap)² pixels."""

    network: networks.Network
    scale: int
    weights_sha256: str
    weights_key: str
    tile: int = TILE
    dtype: str = "float32"

    def __call__(self, lr: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 sh sw"]:
        b, _, h, w = lr.shape
        sr = lr.new_empty((b, 3, h * self.scale, w * self.scale))
        for (top, left), tile in self.tiles(lr):
            sr[..., top : top + tile.shape[-2], left : left + tile.shape[-1]] = tile
        return sr

    @torch.inference_mode()
    def tiles(self, lr: Num[Tensor, "b 3 h w"]) -> Iterator[tuple[tuple[int, int], Float[Tensor, "b 3 th tw"]]]:
        """Yields the result tile by tile: (top, left) in the result, and the pixels. `lr` is float in [0, 1], or uint8, which is made
        float tile by tile. Raises UserError when the network's output is not finite."""
        _, _, h, w = lr.shape
        device, radius, scale = next(self.network.parameters()).device, overlap(self.network), self.scale
        side = max(self.tile // self.network.grid, 1) * self.network.grid
        for top in range(0, h, side):
            for left in range(0, w, side):
                bottom, right = min(top + side, h), min(left + side, w)
                above, before = max(0, top - radius), max(0, left - radius)
                window = lr[..., above : min(bottom + radius, h), before : min(right + radius, w)]
                if window.dtype == torch.uint8:
                    window = images.to_float(window)
                out = self.network(window.to(device)).to(lr.device)
                if not out.isfinite().all():
                    raise UserError("the model's output is not finite: its weights are damaged, or too large for this number type")
                out = out.clamp(0, 1)
                rows = slice((top - above) * scale, (bottom - above) * scale)
                columns = slice((left - before) * scale, (right - before) * scale)
                yield (top * scale, left * scale), out[..., rows, columns]


def load(path: Path | str, *, device: str = "auto", tile: int = TILE) -> Model:
    """Loads a model file, or the model of a run directory, as a callable. Raises UserError for files that are no known network's."""
    if tile < 16:
        raise UserError(f"tile = {tile}: use at least 16 pixels")
    found = checkpoint.load(path)
    net = checkpoint.build(found).to(devices.pick(device))
    return Model(net, found.network.scale, found.weights_sha256, found.weights_key, tile)


def upscale_picture(model: Model, picture: Image.Image) -> Image.Image:
    """Upscales a picture of mode L, LA, RGB or RGBA to the same mode: greyscale stays greyscale, transparency is resized (bicubic).

    Memory: the picture and the result in 8 bits, and what the network needs for one tile."""
    colour = images.from_pillow(picture.convert("RGB"))
    height, width = colour.shape[-2] * model.scale, colour.shape[-1] * model.scale
    result: UInt8[Tensor, "3 sh sw"] = torch.empty((3, height, width), dtype=torch.uint8)
    for (top, left), tile in model.tiles(colour.unsqueeze(0)):
        result[:, top : top + tile.shape[-2], left : left + tile.shape[-1]] = images.to_uint8(tile[0])
    upscaled = images.to_pillow(result).convert("L" if picture.mode in ("L", "LA") else "RGB")
    if picture.mode in ("LA", "RGBA"):
        upscaled.putalpha(picture.getchannel("A").resize((width, height), Image.Resampling.BICUBIC))
    return upscaled


def upscale_file(model: Model, source: Path, target: Path, *, max_pixels: int = images.MAX_PIXELS) -> None:
    """Upscales a picture file to a PNG, which appears whole or not at all. Raises UserError as `images.open_picture`."""
    files.write_bytes(target, images.png(upscale_picture(model, images.open_picture(source, max_pixels))))
