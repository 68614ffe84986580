"""Noise whose every value is a pure function of a key and the pixel's place, so that a window of a picture gets the noise of the picture.

Random bits are hashes of (key, row, column, field), the same on every device; nothing is drawn in an order."""

import functools
import math

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from wildsr import chance

_UNIT = 2.0**-32


def keys(seeds: Int[Tensor, " g"], stream: int) -> Int[Tensor, "g 2"]:
    """Two words of 32 bits for each seed in [0, 2^63); streams of one seed have nothing in common."""
    words = torch.stack([seeds & 0xFFFFFFFF, seeds >> 32], -1) + torch.tensor([2 * stream, 2 * stream + 1], device=seeds.device)
    return chance.mixed((words & 0xFFFFFFFF).sub(1 << 31).to(torch.int32))


def random_bits(keys: Int[Tensor, "g 2"], rows: Int[Tensor, "g h"], columns: Int[Tensor, "g w"], fields: int) -> Int[Tensor, "g f h w"]:
    """Words of 32 bits, uniform, for places in absolute coordinates of the whole picture."""
    down = chance.mixed(rows.to(torch.int32) ^ keys[:, :1])
    places = columns.to(torch.int32)[:, None] * 4 + torch.arange(fields, device=keys.device, dtype=torch.int32)[:, None]
    across = chance.mixed(places ^ keys[:, 1:, None])
    return chance.mixed(down[:, None, :, None] + across[:, :, None])


def normals(
    keys: Int[Tensor, "g 2"], rows: Int[Tensor, "g h"], columns: Int[Tensor, "g w"], fields: int, dtype: torch.dtype = torch.float32
) -> Float[Tensor, "g f h w"]:
    """Standard normal values (Box and Muller): fields 0 and 1 of a place share a radius, and so on."""
    bits = random_bits(keys, rows, columns, -(-fields // 2))
    # In [0, 1], 0 taken for the half of the smallest step.
    radius = (bits.to(dtype) * _UNIT + 0.5).clamp_(min=_UNIT / 2).log_().mul_(-2).sqrt_()
    angle = chance.mixed(bits.bitwise_xor_(chance.FIRST)).to(dtype).mul_(2 * math.pi * _UNIT)
    first = radius * angle.cos()
    if fields == 1:
        return first
    return torch.stack([first, radius.mul_(angle.sin_())], 2).flatten(1, 2)[:, :fields]


def luma(picture: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1 h w"]:
    """Grey picture with weights (0.2989, 0.587, 0.114)."""
    red, green, blue = picture.split(1, 1)
    return 0.2989 * red + 0.587 * green + 0.114 * blue


def gaussian_noise(
    picture: Float[Tensor, "g 3 h w"],
    sigma: Float[Tensor, " g"],
    gray: Bool[np.ndarray, " g"],
    keys: Int[Tensor, "g 2"],
    rows: Int[Tensor, "g h"],
    columns: Int[Tensor, "g w"],
) -> Float[Tensor, "g 3 h w"]:
    """Adds N(0, (σ/255)²) and clips to [0, 1]; grey noise is one field for the three channels."""
    noise = _shared(normals(keys, rows, columns, 1 if gray.all() else 3, picture.dtype), gray)
    return torch.addcmul(picture, noise, (sigma / 255).to(picture)[:, None, None, None]).clamp_(0, 1)


def _shared(fields: Tensor, gray: Bool[np.ndarray, " g"]) -> Tensor:
    """The first field for all channels of the samples with grey noise."""
    if fields.shape[1] == 1 or not gray.any():
        return fields
    return torch.where(torch.from_numpy(gray).to(fields.device)[:, None, None, None], fields[:, :1], fields)


def poisson_noise(
    picture: Float[Tensor, "g 3 h w"],
    scale: Float[Tensor, " g"],
    gray: Bool[np.ndarray, " g"],
    keys: Int[Tensor, "g 2"],
    rows: Int[Tensor, "g h"],
    columns: Int[Tensor, "g w"],
    inside: Bool[Tensor, "g 1 h w"] | None = None,
) -> tuple[Float[Tensor, "g 3 h w"], Int[Tensor, " g"]]:
    """Adds scale · (Poisson(x·v)/v − x), x the picture in 8 bits and v = 2^⌈log₂(its number of levels)⌉, and clips to [0, 1]; grey noise is
    drawn from the luma, with its own v. The variance before the clip is scale²·x/v. Also returns the number of levels.

    `inside`: the pixels whose levels count. Values are drawn by Walker's alias method from tables that are exact to float32."""
    source = luma(picture) if gray.all() else _shared(torch.cat([luma(picture), picture], 1), gray)[:, 1:] if gray.any() else picture
    levels = (source * 255).round_().clamp_(0, 255)
    index = levels.to(torch.int64)
    counted = index if inside is None else index.masked_fill(~inside, 256)
    seen = torch.zeros((len(index), 257), dtype=torch.bool, device=index.device).scatter_(1, counted.flatten(1), True)
    count = seen[:, :256].sum(1)
    exponent = torch.log2(count.clamp(min=1).double()).ceil().to(torch.int64)

    kept, alias, starts, bits = (table.to(index.device) for table in _poisson_tables())
    word = _shared(random_bits(keys, rows, columns, source.shape[1]), gray)
    # The upper bits choose a column of the row, the lower ones whether it is kept.
    width, start = bits[exponent][:, None, None, None], starts[exponent][:, None, None, None]
    column = (word >> (32 - width)) & ((1 << width) - 1)
    fraction = (word & ((1 << (32 - width)) - 1)).to(torch.float32) * torch.exp2((width - 32).float())
    place = (start + (levels.to(torch.int32) << width) + column).flatten()
    other = alias.index_select(0, place).view_as(word)
    drawn = torch.where(fraction < kept.index_select(0, place).view_as(word), column, other)
    x = drawn.to(picture.dtype) * torch.exp2(-exponent.to(picture.dtype))[:, None, None, None] - levels / 255
    return torch.addcmul(picture, x, scale.to(picture)[:, None, None, None]).clamp_(0, 1), count


@functools.cache
def _poisson_tables() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Alias tables of Poisson(level/255 · 2^e) for e = 0 … 8 and each level: chances to keep a column, the columns to take otherwise, where
    the table of e begins, and log₂ of the columns of each of its rows."""
    kept, alias, starts, bits, total = [], [], [], [], 0
    for exponent in range(9):
        most = 2.0**exponent
        width = math.ceil(math.log2(most + 8 * math.sqrt(most) + 16))
        rates = torch.distributions.Poisson(torch.arange(256, dtype=torch.float64)[:, None] / 255 * most)
        rows = _alias_rows(rates.log_prob(torch.arange(1 << width, dtype=torch.float64)).exp().numpy())
        kept.append(rows[0].ravel())
        alias.append(rows[1].ravel())
        starts.append(total)
        bits.append(width)
        total += 256 << width
    lines = np.concatenate(alias), np.array(starts), np.array(bits)
    alias, starts, bits = (torch.from_numpy(values.astype(np.int32)) for values in lines)
    return torch.from_numpy(np.concatenate(kept).astype(np.float32)), alias, starts, bits


def _alias_rows(chances: Float[np.ndarray, "r k"]) -> tuple[Float[np.ndarray, "r k"], Int[np.ndarray, "r k"]]:
    """Walker's alias method, all rows at once: the poorest column is filled up from the richest, until each holds 1."""
    rows, columns = chances.shape
    left, here = chances * columns, np.arange(rows)
    kept, alias = np.ones_like(left), np.tile(np.arange(columns), (rows, 1))
    for _ in range(columns - 1):
        poor, rich = left.argmin(1), np.where(np.isinf(left), -1.0, left).argmax(1)
        kept[here, poor], alias[here, poor] = left[here, poor], rich
        left[here, rich] -= 1 - left[here, poor]
        left[here, poor] = np.inf
    return kept, alias
