"""Slow, obvious twins of the networks: layer lists written out with elementary operations, from weights alone.

Each twin takes a state dict and float (B, 3, h, w), and gives (B, 3, s·h, s·w). With `seen`, a dict, it leaves in it what passes the
places that networks name as sites: "first", "block1" and so on, "hr", "last", and for the two layouts of dropped residual blocks
"block1.conv1" (after a block's first convolution; before the only one of a SwinIR stage) and "block1.conv2" (after its last one).
Nothing of wildsr is used here."""

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

Weights = Mapping[str, Tensor]
Seen = dict[str, Tensor] | None

# --------------------------------------------------------------------------------------------------------------------- operations


def conv(weights: Weights, name: str, x: Tensor) -> Tensor:
    """A convolution with bias that keeps the size."""
    weight = weights[f"{name}.weight"]
    return F.conv2d(x, weight, weights[f"{name}.bias"], padding=weight.shape[-1] // 2)


def linear(weights: Weights, name: str, x: Tensor) -> Tensor:
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def leaky(x: Tensor, slope: float) -> Tensor:
    return torch.where(x > 0, x, slope * x)


def layer_norm(weights: Weights, name: str, x: Tensor) -> Tensor:
    """Over the last axis."""
    centred = x - x.mean(-1, keepdim=True)
    deviation = ((centred**2).mean(-1, keepdim=True) + 1e-5).sqrt()
    return centred / deviation * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def shuffle(x: Tensor, step: int) -> Tensor:
    """Channel c·step² + i·step + j goes to row i and column j of each step × step cell."""
    b, c, h, w = x.shape
    out = x.new_zeros(b, c // step**2, h * step, w * step)
    for i in range(step):
        for j in range(step):
            out[:, :, i::step, j::step] = x[:, i * step + j :: step**2]
    return out


def unshuffle(x: Tensor, step: int) -> Tensor:
    """The inverse of `shuffle`."""
    b, c, h, w = x.shape
    out = x.new_zeros(b, c * step**2, h // step, w // step)
    for i in range(step):
        for j in range(step):
            out[:, i * step + j :: step**2] = x[:, :, i::step, j::step]
    return out


def enlarge(x: Tensor, step: int) -> Tensor:
    """Nearest neighbour: every pixel becomes step × step equal ones."""
    rows = [i // step for i in range(x.shape[-2] * step)]
    columns = [i // step for i in range(x.shape[-1] * step)]
    return x[..., rows, :][..., columns]


def bilinear(x: Tensor, scale: int) -> Tensor:
    """Bilinear enlargement with half-pixel centres; the border's pixels go on outside."""

    def matrix(size: int) -> Tensor:
        out = x.new_zeros(size * scale, size)
        for i in range(size * scale):
            position = max((i + 0.5) / scale - 0.5, 0.0)
            low = math.floor(position)
            out[i, low] += 1 - (position - low)
            out[i, min(low + 1, size - 1)] += position - low
        return out

    return matrix(x.shape[-2]) @ x @ matrix(x.shape[-1]).T


def extend(x: Tensor, multiple: int) -> Tensor:
    """Rows and columns added below and to the right up to a multiple: mirrored, or the last one again when one side is too short."""
    mirror = all(2 * size > math.ceil(size / multiple) * multiple for size in x.shape[-2:])

    def indices(size: int) -> list[int]:
        new = math.ceil(size / multiple) * multiple
        return [i if i < size else 2 * (size - 1) - i if mirror else size - 1 for i in range(new)]

    return x[..., indices(x.shape[-2]), :][..., indices(x.shape[-1])]


def rgb_mean(x: Tensor) -> Tensor:
    """DIV2K's mean colour as float32 holds it, in the type of x."""
    return torch.tensor([0.4488, 0.4371, 0.4040], dtype=torch.float32).to(x).view(1, 3, 1, 1)


def note(seen: Seen, name: str, x: Tensor) -> None:
    if seen is not None:
        seen[name] = x


# ----------------------------------------------------------------------------------------------------------------------- SRResNet


def slow_srresnet(weights: Weights, x: Tensor, blocks: int, scale: int, seen: Seen = None) -> Tensor:
    """Residual blocks without normalisation, sub-pixel enlargement, and a bilinear enlargement of the input added."""
    features = leaky(conv(weights, "conv_first", x), 0.1)
    note(seen, "first", features)
    for i in range(blocks):
        inner = conv(weights, f"body.{i}.conv1", features)
        note(seen, f"block{i + 1}.conv1", inner)
        inner = conv(weights, f"body.{i}.conv2", inner.clamp_min(0))
        note(seen, f"block{i + 1}.conv2", inner)
        features = features + inner
        note(seen, f"block{i + 1}", features)
    if scale == 4:
        features = leaky(shuffle(conv(weights, "upconv1", features), 2), 0.1)
        features = leaky(shuffle(conv(weights, "upconv2", features), 2), 0.1)
    else:
        features = leaky(shuffle(conv(weights, "upconv1", features), scale), 0.1)
    note(seen, "hr", features)
    features = leaky(conv(weights, "conv_hr", features), 0.1)
    note(seen, "last", features)
    return conv(weights, "conv_last", features) + bilinear(x, scale)


# ------------------------------------------------------------------------------------------------------------------------ RRDBNet


def slow_rrdbnet(weights: Weights, x: Tensor, blocks: int, scale: int, seen: Seen = None) -> Tensor:
    """Dense blocks within residual blocks; always enlarges by four, so that for ×2 pixels are unshuffled first (sides even)."""
    first = conv(weights, "conv_first", x if scale == 4 else unshuffle(x, 2))
    note(seen, "first", first)
    features = first
    for i in range(blocks):
        block_input = features
        for j in (1, 2, 3):
            parts = [features]
            for k in (1, 2, 3, 4):
                inner = conv(weights, f"body.{i}.rdb{j}.conv{k}", torch.cat(parts, 1))
                if j == k == 1:
                    note(seen, f"block{i + 1}.conv1", inner)
                parts.append(leaky(inner, 0.2))
            inner = conv(weights, f"body.{i}.rdb{j}.conv5", torch.cat(parts, 1))
            if j == 3:
                note(seen, f"block{i + 1}.conv2", inner)
            features = features + 0.2 * inner
        features = block_input + 0.2 * features
        note(seen, f"block{i + 1}", features)
    features = first + conv(weights, "conv_body", features)
    features = leaky(conv(weights, "conv_up1", enlarge(features, 2)), 0.2)
    features = leaky(conv(weights, "conv_up2", enlarge(features, 2)), 0.2)
    note(seen, "hr", features)
    features = leaky(conv(weights, "conv_hr", features), 0.2)
    note(seen, "last", features)
    return conv(weights, "conv_last", features)


# ----------------------------------------------------------------------------------------------------------------- SRVGGNetCompact


def slow_compact(weights: Weights, x: Tensor, blocks: int, scale: int, seen: Seen = None) -> Tensor:
    """Plain convolutions with PReLU, a pixel shuffle, and the nearest-neighbour enlargement of the input added."""
    features = x
    for i in range(blocks + 1):
        inner = conv(weights, f"body.{2 * i}", features)
        if i:
            note(seen, f"block{i}.conv1", inner)
            note(seen, f"block{i}.conv2", inner)
        slopes = weights[f"body.{2 * i + 1}.weight"].view(1, -1, 1, 1)
        features = torch.where(inner > 0, inner, slopes * inner)
        note(seen, f"block{i}" if i else "first", features)
    note(seen, "last", features)
    return shuffle(conv(weights, f"body.{2 * blocks + 2}", features), scale) + enlarge(x, scale)


# --------------------------------------------------------------------------------------------------------------------------- RCAN


def slow_rcan(weights: Weights, x: Tensor, groups: int, blocks: int, scale: int, seen: Seen = None) -> Tensor:
    """Residual groups of residual blocks that weigh their channels by their means over the whole picture."""
    first = conv(weights, "head.0", x)
    note(seen, "first", first)
    features = first
    for g in range(groups):
        group_input = features
        for b in range(blocks):
            name = f"body.{g}.body.{b}.body"
            inner = conv(weights, f"{name}.0", features)
            if b == 0:
                note(seen, f"block{g + 1}.conv1", inner)
            inner = conv(weights, f"{name}.2", inner.clamp_min(0))
            weight = inner.mean((2, 3), keepdim=True)
            weight = conv(weights, f"{name}.3.conv_du.0", weight).clamp_min(0)
            weight = 1 / (1 + (-conv(weights, f"{name}.3.conv_du.2", weight)).exp())
            features = features + weight * inner
        inner = conv(weights, f"body.{g}.body.{blocks}", features)
        note(seen, f"block{g + 1}.conv2", inner)
        features = group_input + inner
        note(seen, f"block{g + 1}", features)
    features = first + conv(weights, f"body.{groups}", features)
    if scale == 4:
        features = shuffle(conv(weights, "tail.0.0", features), 2)
        features = shuffle(conv(weights, "tail.0.2", features), 2)
    else:
        features = shuffle(conv(weights, "tail.0.0", features), scale)
    note(seen, "last", features)
    return conv(weights, "tail.1", features)


# ------------------------------------------------------------------------------------------------------------------------- SwinIR


def window_attention(weights: Weights, name: str, x: Tensor, heads: int, window: int, shift: int) -> Tensor:
    """Attention within windows of the picture (B, H, W, E) rolled by -shift; tokens that are no neighbours do not see each other."""
    height, width, embed = x.shape[1:]
    d = embed // heads
    table = weights[f"{name}.relative_position_bias_table"]
    query, key, value = linear(weights, f"{name}.qkv", x).split(embed, dim=-1)

    def region(position: int, size: int) -> int:
        """0 far from the seam, 1 before it, 2 after it (of rows or of columns of the rolled picture)."""
        return 0 if position < size - window else 1 if position < size - shift else 2

    attended = torch.zeros_like(x)
    for top in range(0, height, window):
        for left in range(0, width, window):
            rolled = [(r, c) for r in range(top, top + window) for c in range(left, left + window)]
            rows = [(r + shift) % height for r, _ in rolled]
            columns = [(c + shift) % width for _, c in rolled]
            bias = x.new_zeros(heads, window**2, window**2)
            for i, (r, c) in enumerate(rolled):
                for j, (r2, c2) in enumerate(rolled):
                    bias[:, i, j] = table[(r - r2 + window - 1) * (2 * window - 1) + (c - c2 + window - 1)]
                    if shift and (region(r, height), region(c, width)) != (region(r2, height), region(c2, width)):
                        bias[:, i, j] -= 100
            for head in range(heads):
                part = slice(head * d, (head + 1) * d)
                q, k, v = (tensor[:, rows, columns, part] for tensor in (query, key, value))
                scores = (q @ k.transpose(1, 2) / math.sqrt(d) + bias[head]).exp()
                attended[:, rows, columns, part] = scores / scores.sum(-1, keepdim=True) @ v
    return linear(weights, f"{name}.proj", attended)


def slow_swinir(
    weights: Weights,
    x: Tensor,
    upsampler: str,
    depths: tuple[int, ...],
    heads: tuple[int, ...],
    window: int,
    scale: int,
    seen: Seen = None,
    *,
    shifted: bool = True,
    kept: Mapping[tuple[int, int], tuple[float, float]] | None = None,
) -> Tensor:
    """Stages of window attention, every second one shifted by half a window.

    shifted: False for a network made for a single window, which has nothing to shift.
    kept: for block j of stage i what the attention and the perceptron are multiplied by before they are added (stochastic depth)."""
    mean, (height, width) = rgb_mean(x), x.shape[-2:]

    shallow = conv(weights, "conv_first", extend(x, window) - mean)
    note(seen, "first", shallow)
    tokens = layer_norm(weights, "patch_embed.norm", shallow.permute(0, 2, 3, 1))
    for i, depth in enumerate(depths):
        stage_input = tokens
        for j in range(depth):
            name = f"layers.{i}.residual_group.blocks.{j}"
            keep_attention, keep_perceptron = (kept or {}).get((i, j), (1.0, 1.0))
            normed = layer_norm(weights, f"{name}.norm1", tokens)
            shift = window // 2 if shifted and j % 2 else 0
            tokens = tokens + keep_attention * window_attention(weights, f"{name}.attn", normed, heads[i], window, shift)
            hidden = linear(weights, f"{name}.mlp.fc1", layer_norm(weights, f"{name}.norm2", tokens))
            hidden = 0.5 * hidden * (1 + torch.erf(hidden / math.sqrt(2)))
            tokens = tokens + keep_perceptron * linear(weights, f"{name}.mlp.fc2", hidden)
        note(seen, f"block{i + 1}.conv1", tokens.permute(0, 3, 1, 2))
        inner = conv(weights, f"layers.{i}.conv", tokens.permute(0, 3, 1, 2))
        note(seen, f"block{i + 1}.conv2", inner)
        tokens = stage_input + inner.permute(0, 2, 3, 1)
        note(seen, f"block{i + 1}", tokens.permute(0, 3, 1, 2))
    tokens = layer_norm(weights, "norm", tokens)
    features = conv(weights, "conv_after_body", tokens.permute(0, 3, 1, 2)) + shallow

    if upsampler == "pixelshuffledirect":
        note(seen, "last", features)
        out = shuffle(conv(weights, "upsample.0", features), scale)
    else:
        features = leaky(conv(weights, "conv_before_upsample.0", features), 0.01)
        if upsampler == "pixelshuffle":
            for name, step in {2: [("0", 2)], 3: [("0", 3)], 4: [("0", 2), ("2", 2)]}[scale]:
                features = shuffle(conv(weights, f"upsample.{name}", features), step)
        else:
            for name in {2: ("conv_up1",), 4: ("conv_up1", "conv_up2")}[scale]:
                features = leaky(conv(weights, name, enlarge(features, 2)), 0.2)
            note(seen, "hr", features)
            features = leaky(conv(weights, "conv_hr", features), 0.2)
        note(seen, "last", features)
        out = conv(weights, "conv_last", features)
    return (out + mean)[..., : height * scale, : width * scale]
