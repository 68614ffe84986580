"""A model: a network ready for use, that cuts pictures into tiles, computes in the number type asked for, and clamps."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Num
from PIL import Image
from torch import Tensor

from wildsr import checkpoint, devices, images, networks
from wildsr.config import nearest
from wildsr.errors import UserError
from wildsr.upscale.box import TURNS, Box
from wildsr.upscale.cells import channels_last_pays, in_layers, layer_by_layer, whole_is_quicker
from wildsr.upscale.foreign import Adapted, load_foreign
from wildsr.upscale.kinds import upscale_any
from wildsr.upscale.tiling import SMALLEST, Piece, Progress, Say, Window, walk, warn, windows

TILE = 256
"""Side in LR pixels of what is upscaled at once, without its overlap, where `load` finds nothing better."""

OVERLAP = 64
"""LR pixels of context that a tile has at most on each side, unless more is asked for."""

PRECISIONS = ("auto", "fp32", "bf16", "fp16")
_HALVES = {"bfloat16": torch.bfloat16, "float16": torch.float16}
_TOGETHER = 2**20
"""LR pixels that go through a GPU at once, in as many windows as that makes."""

Cut = Callable[[Box], Float[Tensor, "b 3 h w"]]
Kind = TypeVar("Kind", Tensor, np.ndarray, Image.Image)


def overlap(network: networks.Network | Adapted, context: int | None = None) -> int:
    """LR pixels of context around a tile: what is asked for, else the network's receptive radius where it is at most 64, and the result
    that of the whole picture; 64 for RRDBNet, SwinIR and RCAN, whose tiles differ from the whole picture by what lies farther away. A
    multiple of the network's grid."""
    if context is None:
        context = OVERLAP if network.radius is None else min(network.radius, OVERLAP)
    return -(-context // network.grid) * network.grid


@dataclass(frozen=True)
class Model:
    """A super-resolution network ready for use: `model(picture)` returns the picture, s times as large, of the kind that it was given.

    Pictures larger than `tile` go through the network in tiles that overlap (`overlap`), so that the network never sees more than
    (tile + 2 · overlap)² pixels at once, on a GPU a few times as many. With dtype "bfloat16" or "float16" the network computes in that,
    and a tile again in float32 where it overflowed. With `ensemble` each tile is the mean over the eight ways to turn and mirror it.
    SRResNet on a CPU is computed layer by layer where it pays (`in_layers`), with the same result but for rounding.

    Out of memory, tiles are halved, and stay so for the pictures that follow."""

    network: networks.Network | Adapted
    scale: int
    weights_sha256: str
    weights_key: str
    tile: int = TILE
    dtype: str = "float32"
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """What the file says of the training, by name."""
    context: int | None = None
    """Overlap in LR pixels, where another is asked for than suits the network."""
    ensemble: bool = False

    @property
    def architecture(self) -> str:
        """ "srresnet", or what spandrel calls the network."""
        return self.network.architecture if isinstance(self.network, Adapted) else self.network.config.name

    @property
    def radius(self) -> int | None:
        """Receptive radius in LR pixels, of a foreign network as measured; None where a pixel depends on the whole picture, or on more
        than the probe looked at (`receptive_radius`)."""
        return self.network.radius

    @property
    def overlap(self) -> int:
        """LR pixels of context that a tile has on each side."""
        return overlap(self.network, self.context)

    @property
    def exact(self) -> bool:
        """Whether tiles give what the whole picture gives, but for rounding."""
        return self.radius is not None and self.radius <= self.overlap and not (self.ensemble and self.network.grid > 1)

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next((one.device for one in self.network.parameters()), torch.device("cpu"))

    @cached_property
    def _floats(self) -> torch.dtype:
        """What its weights are, and so what it takes."""
        return next((one.dtype for one in self.network.parameters()), torch.float32)

    @cached_property
    def _limit(self) -> list[int]:
        """The tile that memory admits: halved when it ran out."""
        grid = self.network.grid
        return [max(self.tile // grid, 1) * grid]

    def __call__(self, picture: Kind) -> Kind:
        """Upscales a picture of any of these kinds, and returns the same kind, number type and layout:

        a tensor, (B, 3, h, w) or (3, h, w), or with 1 channel for grey: float in [0, 1], or uint8; an array, (h, w) or (h, w, C) of grey,
        grey and alpha, RGB or RGBA: float in [0, 1], uint8 or uint16; a Pillow picture of mode 1, L, LA, P, RGB, RGBA or I;16 (1 comes back
        as L, P as RGB, and RGBA where it is transparent). Raises TypeError for other kinds, and UserError for other shapes and modes, and
        when the network's output is not finite."""
        return upscale_any(self, picture)

    def tiles(
        self, lr: Num[Tensor, "b 3 h w"], *, say: Say | None = None, progress: Progress | None = None
    ) -> Iterator[tuple[tuple[int, int], Float[Tensor, "b 3 th tw"]]]:
        """Yields the result piece by piece, those of a row of tiles before those of the next: (top, left) in the result, and the pixels.
        `lr` is float in [0, 1] of any width, or uint8; tile by tile it is made what the network takes. Raises UserError when the network's
        output is not finite."""
        whole = Box(0, 0, *lr.shape[-2:])

        def cut(box: Box) -> Tensor:
            pixels = box.cut(lr, whole).to(self.device)
            return images.to_float(pixels) if pixels.dtype == torch.uint8 else pixels.to(self._floats)

        for place, out in self.pieces(whole, cut, together=lr.shape[0], say=say, progress=progress):
            yield (place.top * self.scale, place.left * self.scale), out.to(lr.device)

    def cuts(self, height: int, width: int) -> bool:
        """Whether a picture of this size goes through in several tiles."""
        longest, side = max(height, width), self._limit[0]
        return longest > side and longest > side + 2 * self.overlap  # a foreign network's reach is measured only where it counts

    def plan(self, whole: Box, rows: int | None = None) -> list[Window]:
        """The windows of a picture that covers `whole`, row by row. rows: most LR rows of a tile, where that is less than its side."""
        return self._windows(whole, whole, rows)

    def _windows(self, part: Box, whole: Box, rows: int | None) -> list[Window]:
        grid, side = self.network.grid, self._limit[0]
        height = side if rows is None else min(side, max(rows // grid, 1) * grid)
        if part == whole and whole.bottom <= height and whole.right <= side:
            return [Window(whole, whole)]  # a foreign network's radius need not be known
        return windows(part, whole, (height, side), self.overlap, grid)

    def pieces(
        self,
        whole: Box,
        cut: Cut,
        *,
        rows: int | None = None,
        together: int = 1,
        say: Say | None = None,
        progress: Progress | None = None,
    ) -> Iterator[Piece]:
        """What `tiles` is made of: the result by LR place, on the network's device, clamped. cut: gives a box of the picture, float in
        [0, 1], on the network's device; together: pictures in what it gives."""

        def compute(batch: Sequence[Window]) -> Iterator[Piece]:
            for place, out in self._batch(batch, whole, [cut(window.sees) for window in batch]):
                if not out.isfinite().all():
                    raise UserError("the model's output is not finite: its weights are damaged, or too large for this number type")
                yield place, out.clamp(0, 1)

        def halve(left: Sequence[Window]) -> list[Window]:
            grid = self.network.grid
            sides = [max(one.gives.bottom - one.gives.top, one.gives.right - one.gives.left) for one in left]
            now = min(self._limit[0], max(sides))
            if now <= max(SMALLEST, grid):
                raise UserError(
                    f"out of memory even for tiles of {now} pixels and {self.overlap} around them: "
                    "close what else uses the device, or choose another one"
                )
            self._limit[0] = max(SMALLEST, now // 2 // grid * grid, grid)
            (say or warn)(f"out of memory: tiles of {self._limit[0]} pixels instead of {now}")
            return [smaller for window in left for smaller in self._windows(window.gives, whole, rows)]

        plan = self.plan(whole, rows)
        return walk(plan, compute, halve, together=self._together(plan[0], together), progress=progress)

    def _together(self, window: Window, pictures: int) -> int:
        """Windows that go through at once: more than one pays on a GPU only."""
        if self.device.type != "cuda":
            return 1
        box = window.sees
        return max(1, _TOGETHER // max(1, pictures * (box.bottom - box.top) * (box.right - box.left)))

    def _batch(self, batch: Sequence[Window], whole: Box, pixels: Sequence[Tensor]) -> Iterator[Piece]:
        """Results of windows of one size, not clamped."""
        if not self.ensemble:
            yield from self._plain(batch, whole, pixels)
            return
        sums: list[Tensor] = []
        for turn in TURNS:
            turned = [Window(one.sees.turned(turn, whole), one.gives.turned(turn, whole)) for one in batch]
            there = Box(0, 0, whole.right, whole.bottom) if turn.exchange else whole
            gathered = _gather(turned, self._plain(turned, there, [turn.apply(one) for one in pixels]), self.scale)
            for i, out in enumerate(gathered):
                if turn == TURNS[0]:
                    sums.append(turn.undo(out))
                else:
                    sums[i] += turn.undo(out)
        for one, total in zip(batch, sums, strict=True):
            yield one.gives, total / len(TURNS)

    def _plain(self, batch: Sequence[Window], whole: Box, pixels: Sequence[Tensor]) -> Iterator[Piece]:
        layered = self.dtype == "float32" and pixels[0].dtype == torch.float32 and in_layers(self.network)
        if layered and not whole_is_quicker(pixels[0]):
            # With less overlap than the network sees, a window ends where its pixels end.
            enough = self.radius is not None and self.overlap >= self.radius
            for one, cut in zip(batch, pixels, strict=True):
                yield from layer_by_layer(self.network, cut, one.sees, one.gives, whole if enough else one.sees)
            return
        together = torch.cat(list(pixels))
        if self.dtype == "float32" and channels_last_pays(together.device):
            together = together.contiguous(memory_format=torch.channels_last)
        outs = self._at_once(together)
        for one, out in zip(batch, outs.split(pixels[0].shape[0]), strict=True):
            yield one.gives, one.gives.times(self.scale).cut(out, one.sees.times(self.scale))

    @torch.inference_mode()
    def _at_once(self, pixels: Tensor) -> Tensor:
        """Windows through the network, as they are; those again in float32 that overflow."""
        if self.dtype == "float32":
            return self.network(pixels)
        # The weights stay float32, for the tile that overflows; so does all that autocast leaves alone, as the sum with the enlarged
        # input, which bfloat16 would round to less than 8 bits.
        with torch.autocast(pixels.device.type, _HALVES[self.dtype]):
            out = self.network(pixels.contiguous(memory_format=torch.channels_last)).float()
        for i in (~out.isfinite().flatten(1).all(1)).nonzero().flatten().tolist():
            out[i : i + 1] = self.network(pixels[i : i + 1])
        return out


def _gather(batch: Sequence[Window], pieces: Iterator[Piece], scale: int) -> list[Tensor]:
    """Whole parts of pieces that come in the order of the windows."""
    parts: list[Tensor] = []
    for place, out in pieces:
        while not parts or not _within(place, batch[len(parts) - 1].gives):
            box = batch[len(parts)].gives.times(scale)
            parts.append(out.new_empty((*out.shape[:2], box.bottom - box.top, box.right - box.left)))
        place.times(scale).cut(parts[-1], batch[len(parts) - 1].gives.times(scale)).copy_(out)
    return parts


def _within(box: Box, other: Box) -> bool:
    return other.top <= box.top < other.bottom and other.left <= box.left < other.right


def load(
    path: Path | str = checkpoint.DEFAULT,
    *,
    device: str = "auto",
    tile: int | None = None,
    precision: str = "fp32",
    key: str | None = None,
    overlap: int | None = None,
    blend: tuple[Path | str, float] | None = None,
    ensemble: bool = False,
) -> Model:
    """Loads a model file, the model of a run directory, or one that comes with wildsr (by its name), as a callable. A file of no network
    known here is opened by spandrel, where it is installed. key: which weights, where a .pth file holds several.

    tile: side in LR pixels of what is upscaled at once; None takes what suits network and device. overlap: LR pixels of context around
    a tile, where 64 are too few for a network that sees farther. precision: fp32, bf16, fp16 (not on a CPU), or auto, which is bf16 where
    the device computes in it and fp32 elsewhere. blend: another file of the same network, and the share α of its weights: (1 - α) · this
    one's + α · the other's. ensemble: the mean over the eight ways to turn and mirror each tile, at eight times the cost.

    Raises UserError for files that are no known network's, for values outside their range, and for blends of two networks."""
    if tile is not None and tile < 16:
        raise UserError(f"tile = {tile}: use at least 16 pixels")
    if overlap is not None and overlap < 0:
        raise UserError(f"overlap = {overlap}: use 0 pixels or more")
    if precision not in PRECISIONS:
        raise UserError(f"unknown precision {precision!r}: {nearest(precision, PRECISIONS)}")
    place = devices.pick(device)
    if precision == "fp16" and place.type == "cpu":
        raise UserError("precision fp16 is for GPUs, a CPU does not compute in it: use bf16 or fp32")
    try:
        found = checkpoint.load(path, key)
    except checkpoint.UnknownNetworkError as unknown:
        if blend is not None:
            raise UserError(f"{path}: only networks known here can be blended ({', '.join(networks.NETWORKS)})") from None
        net = load_foreign(path, device=place, unknown=unknown)
        scale, sha256, weights_key, metadata = net.scale, net.sha256, net.architecture, {}
        if not {"fp16": net.supports_half, "bf16": net.supports_bfloat16}.get(precision, True):
            raise UserError(f"{path}: {net.architecture} does not compute in {precision}: use --precision fp32") from None
    else:
        if blend is not None:
            found = _blended(found, path, *blend)
        net = checkpoint.build(found).to(place)
        scale, sha256, weights_key, metadata = found.network.scale, found.weights_sha256, found.weights_key, found.metadata
    auto = precision == "auto" and devices.computes_bf16(place) and not (isinstance(net, Adapted) and not net.supports_bfloat16)
    dtype = {"bf16": "bfloat16", "fp16": "float16"}.get("bf16" if auto else precision, "float32")
    if dtype != "float32":
        net = net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    if tile is None:
        # The larger the tile, the less is computed twice. Half the bytes allow twice the pixels, and layer by layer eight times as many.
        tile = 2 * TILE if dtype != "float32" else 4 * TILE if in_layers(net) else TILE
    return Model(net, scale, sha256, weights_key, tile, dtype, metadata, overlap, ensemble)


def _blended(ours: checkpoint.Checkpoint, path: Path | str, other: Path | str, alpha: float) -> checkpoint.Checkpoint:
    """(1 - α) · A + α · B, in float32; what stands in A's metadata stays, and says of the blend."""
    if not 0 <= alpha <= 1:
        raise UserError(f"blend = {alpha:g}: use a share of the second model's weights from 0 to 1")
    theirs = checkpoint.load(other)
    if (ours.network.name, ours.network.scale, _shapes(ours)) != (theirs.network.name, theirs.network.scale, _shapes(theirs)):
        a, b = ours.network.model_dump(mode="json"), theirs.network.model_dump(mode="json")
        different = [f"{key} = {a.get(key)} and {b.get(key)}" for key in dict.fromkeys([*a, *b]) if a.get(key) != b.get(key)]
        raise UserError(f"{path} and {other} are not of one network and cannot be blended: {', '.join(different)}")
    weights = {}
    for name, tensor in ours.weights.items():
        second = theirs.weights[name]
        if not tensor.is_floating_point() or alpha in (0, 1):
            weights[name] = second if alpha == 1 else tensor
        else:
            weights[name] = (1 - alpha) * tensor.float() + alpha * second.float()
    facts = {"alpha": alpha, "weights_sha256": [ours.weights_sha256, theirs.weights_sha256]}
    return checkpoint.Checkpoint(ours.network, weights, ours.weights_key, {**ours.metadata, "blend": facts})


def _shapes(found: checkpoint.Checkpoint) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in found.weights.items()}
