"""Upscaling: a loaded model is a callable that tiles and clamps; files go in and PNGs come out."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Num, UInt8
from PIL import Image
from torch import Tensor

from wildsr import checkpoint, devices, files, images, networks
from wildsr.config import nearest
from wildsr.errors import UserError
from wildsr.upscale.box import Box
from wildsr.upscale.cells import in_layers, layer_by_layer, whole_is_quicker
from wildsr.upscale.foreign import load_foreign as load_foreign

TILE = 256
"""Side in LR pixels of what is upscaled at once, without its overlap, where `load` finds nothing better."""

OVERLAP = 64
"""LR pixels of context that a tile has at most on each side."""

PRECISIONS = ("auto", "fp32", "bf16")


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
    (tile + 2 · overlap)² pixels. With dtype "bfloat16" the network computes in bfloat16, and a tile again in float32 where that
    overflowed. SRResNet on a CPU is computed layer by layer where it pays (`in_layers`), with the same result but for rounding."""

    network: networks.Network
    scale: int
    weights_sha256: str
    weights_key: str
    tile: int = TILE
    dtype: str = "float32"
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """What the file says of the training, by name."""

    def __call__(self, lr: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 sh sw"]:
        b, _, h, w = lr.shape
        sr = lr.new_empty((b, 3, h * self.scale, w * self.scale))
        for (top, left), tile in self.tiles(lr):
            sr[..., top : top + tile.shape[-2], left : left + tile.shape[-1]] = tile
        return sr

    @torch.inference_mode()
    def tiles(self, lr: Num[Tensor, "b 3 h w"]) -> Iterator[tuple[tuple[int, int], Float[Tensor, "b 3 th tw"]]]:
        """Yields the result piece by piece: (top, left) in the result, and the pixels. `lr` is float in [0, 1], or uint8, which is made
        float tile by tile. Raises UserError when the network's output is not finite."""
        whole = Box(0, 0, *lr.shape[-2:])
        radius, device = overlap(self.network), next(self.network.parameters()).device
        layered = self.dtype == "float32" and lr.dtype in (torch.uint8, torch.float32) and in_layers(self.network)
        side = max(self.tile // self.network.grid, 1) * self.network.grid
        for tile in whole.parts(side, side):
            window = tile.wider(radius, whole)
            pixels = window.cut(lr, whole).to(device)
            if pixels.dtype == torch.uint8:
                pixels = images.to_float(pixels)
            if layered and not whole_is_quicker(pixels):
                pieces = layer_by_layer(self.network, pixels, window, tile, whole)
            else:
                pieces = self._at_once(pixels.contiguous(memory_format=torch.channels_last) if layered else pixels, window, tile)
            for place, out in pieces:
                if not out.isfinite().all():
                    raise UserError("the model's output is not finite: its weights are damaged, or too large for this number type")
                yield (place.top * self.scale, place.left * self.scale), out.clamp(0, 1).to(lr.device)

    def _at_once(self, pixels: Tensor, window: Box, tile: Box) -> Iterator[tuple[Box, Tensor]]:
        """A window through the network, as it is."""
        out = None
        if self.dtype == "bfloat16":
            # The weights stay float32, for the tile that overflows; so does all that autocast leaves alone, as the sum with the
            # enlarged input, which bfloat16 would round to less than 8 bits.
            with torch.autocast(pixels.device.type, torch.bfloat16):
                out = self.network(pixels.contiguous(memory_format=torch.channels_last)).float()
        if out is None or not out.isfinite().all():
            out = self.network(pixels)
        yield tile, tile.times(self.scale).cut(out, window.times(self.scale))


def load(path: Path | str, *, device: str = "auto", tile: int | None = None, precision: str = "fp32", key: str | None = None) -> Model:
    """Loads a model file, or the model of a run directory, as a callable. key: which weights, where a .pth file holds several.

    tile: side in LR pixels of what is upscaled at once; None takes what suits network and device. precision: fp32, bf16, or auto, which
    is bf16 where the device computes in it and fp32 elsewhere. Raises UserError for files that are no known network's."""
    if tile is not None and tile < 16:
        raise UserError(f"tile = {tile}: use at least 16 pixels")
    if precision not in PRECISIONS:
        raise UserError(f"unknown precision {precision!r}: {nearest(precision, PRECISIONS)}")
    found = checkpoint.load(path, key)
    place = devices.pick(device)
    net = checkpoint.build(found).to(place)
    bf16 = precision == "bf16" or (precision == "auto" and devices.computes_bf16(place))
    if bf16:
        net = net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    if tile is None:
        # The larger the tile, the less is computed twice. Half the bytes allow twice the pixels, and layer by layer eight times as many.
        tile = 2 * TILE if bf16 else 4 * TILE if in_layers(net) else TILE
    dtype = "bfloat16" if bf16 else "float32"
    return Model(net, found.network.scale, found.weights_sha256, found.weights_key, tile, dtype, found.metadata)


def upscale_picture(model: Model, picture: Image.Image) -> Image.Image:
    """Upscales a picture of mode L, LA, RGB or RGBA to the same mode: greyscale stays greyscale, transparency is resized (bicubic).

    Memory: the picture and the result in 8 bits, and what the network needs for one tile."""
    # There the pixels become floats and bytes again, too: a byte a sample comes back.
    colour = images.from_pillow(picture.convert("RGB")).to(next(model.network.parameters()).device)
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
