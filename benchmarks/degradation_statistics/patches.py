"""What LR and HR patches are, as numbers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import slow_degradation as slow
import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Patches:
    """Training pairs, and where in its picture each LR patch begins: lr (N, 3, p, p), hr (N, 3, s p, s p), corner (N, 2) in LR pixels."""

    lr: Tensor
    hr: Tensor
    corner: Tensor


def luma(x: Tensor) -> Tensor:
    """(N, 3, H, W) to (N, H, W)."""
    return torch.einsum("nchw,c->nhw", x, torch.tensor([0.299, 0.587, 0.114], dtype=x.dtype))


def chroma(x: Tensor) -> Tensor:
    """Blue and red difference, (N, 3, H, W) to (N, 2, H, W)."""
    return torch.stack([0.564 * (x[:, 2] - luma(x)), 0.713 * (x[:, 0] - luma(x))], 1)


def detail(x: Tensor) -> Tensor:
    """Less the 3x3 neighbourhood's mean; (N, C, H, W), two rows and columns fewer."""
    return x[..., 1:-1, 1:-1] - F.avg_pool2d(x, 3, stride=1)


def bands(x: Tensor, count: int) -> Tensor:
    """Power of (N, H, W) in rings of equal width up to the Nyquist frequency, in decibels of an 8-bit level squared; (N, count)."""
    side = x.shape[-1]
    window = torch.hann_window(side, periodic=False, dtype=x.dtype)
    window = torch.outer(window, window)
    power = torch.fft.fft2((x - x.mean((1, 2), keepdim=True)) * window).abs().square() / window.square().sum()
    frequency = torch.fft.fftfreq(side, dtype=x.dtype)
    ring = (torch.hypot(frequency[:, None], frequency[None]) * 2 * count).floor()
    return torch.stack([decibels(power[:, ring == i].mean(1)) for i in range(count)], 1)


def decibels(power: Tensor) -> Tensor:
    """10 log10 of a mean square, in units of an 8-bit level squared; rounding to 8 bits alone gives -11."""
    return 10 * torch.log10(power * 255**2 + 0.05)


def shift(lr: Tensor, clean: Tensor) -> Tensor:
    """By how many LR pixels, down and right, (N, H, W) lies off `clean`: the slope of the phase between their low frequencies; (N, 2)."""
    side = lr.shape[-1]
    window = torch.hann_window(side, periodic=False, dtype=lr.dtype)
    window = torch.outer(window, window)
    a, b = (torch.fft.fft2((x - x.mean((1, 2), keepdim=True)) * window) for x in (lr, clean))
    wave = torch.fft.fftfreq(side, 1 / side, dtype=lr.dtype)
    y, x = torch.meshgrid(wave, wave, indexing="ij")
    low = (torch.hypot(y, x) < 3.5) & ((y > 0) | ((y == 0) & (x > 0)))
    cross = (a * b.conj())[:, low]
    frequency = -2 * math.pi * torch.stack([y[low], x[low]], -1) / side
    normal = torch.einsum("nf,fi,fj->nij", cross.abs(), frequency, frequency)
    normal += 1e-6 * torch.eye(2, dtype=lr.dtype)
    found = torch.linalg.solve(normal, torch.einsum("nf,nf,fi->ni", cross.abs(), cross.angle(), frequency))
    return found.clamp(-2, 2)


def seams(x: Tensor, corner: Tensor, period: int) -> Tensor:
    """Decibels of the steps across the lines of a grid of `period` pixels that starts with the picture, above the steps elsewhere; (N).

    x (N, C, H, W), its first pixel at `corner` of the picture."""
    powers = []
    for axis, places in ((2, corner[:, 0]), (3, corner[:, 1])):
        steps = x.diff(dim=axis).square().mean((1, 5 - axis))
        on = (places[:, None] + 1 + torch.arange(steps.shape[1])) % period == 0
        powers.append(torch.stack([(steps * mask).sum(1) / mask.sum(1).clamp(min=1) for mask in (on, ~on)]))
    across, elsewhere = torch.stack(powers).mean(0)
    return decibels(across) - decibels(elsewhere)


def patch_statistics(patches: Patches, clean: Tensor | None = None) -> dict[str, Tensor]:
    """Statistics of LR patches, one value a patch (N); many in comparison to `clean` ones (N, 3, p, p), by default the HR patches averaged
    down to that size."""
    lr, corner = patches.lr.double(), patches.corner
    clean = F.avg_pool2d(patches.hr, patches.hr.shape[-1] // lr.shape[-1]).double() if clean is None else clean.double()
    residual = lr - clean
    found: dict[str, Tensor] = {}
    for c, name in enumerate(("red", "green", "blue")):
        found[f"{name}: mean off"] = residual[:, c].mean((1, 2))
        found[f"{name}: contrast"] = lr[:, c].std((1, 2)) - clean[:, c].std((1, 2))
    y, clean_y, residual_y = luma(lr), luma(clean), luma(residual)
    centred = y - y.mean((1, 2), keepdim=True)
    found["skew"] = centred.pow(3).mean((1, 2)) / (centred.square().mean((1, 2)).sqrt() + 1 / 255) ** 3
    found["gradient"] = decibels(y.diff(dim=1).square().mean((1, 2)) + y.diff(dim=2).square().mean((1, 2)))
    rings = 5
    for name, powers in (("power", bands(y, rings)), ("residual's power", bands(residual_y, rings))):
        found |= {f"{name}, ring {i + 1} of {rings}": powers[:, i] for i in range(rings)}
    # The black that fills up JPEG's blocks shines into the last rows and columns of a picture.
    found["last rows and columns off"] = (residual_y[:, -2:].mean((1, 2)) + residual_y[..., -2:].mean((1, 2))) / 2 - residual_y.mean((1, 2))
    found["residual"] = decibels(residual.square().mean((1, 2, 3)))
    rough = detail(residual)
    red, green, blue = (rough / (rough.square().mean((2, 3), keepdim=True).sqrt() + 0.1 / 255)).unbind(1)
    found["channels of the residual agree"] = (red * green + green * blue + blue * red).mean((1, 2)) / 3
    colour = decibels(detail(chroma(lr)).square().mean((1, 2, 3)))
    found["colour's detail"] = colour
    found["colour's detail beside luma's"] = colour - decibels(detail(y[:, None]).square().mean((1, 2, 3)))
    found["seams of 8 in luma"] = seams(y[:, None], corner, 8)
    found["seams of 8 in colour"] = seams(chroma(lr), corner, 8)
    found["seams of 16 in colour"] = seams(chroma(lr), corner, 16)
    found["seams of 2 in colour"] = seams(chroma(lr), corner, 2)
    found["black"], found["white"] = (lr == 0).double().mean((1, 2, 3)), (lr == 1).double().mean((1, 2, 3))
    down, right = shift(y, clean_y).unbind(1)
    found["shift down"], found["shift right"] = down, right
    return found


def noise_statistics(patches: Patches, clean: Tensor, drawn: Sequence[slow.Draw]) -> dict[str, Tensor]:
    """Of what noise left on `clean` (N, 3, p, p): strength, tails and colour by the kind of noise of the second order, and whether
    neighbouring pixels, or successive samples, have noise in common."""
    residual = patches.lr.double() - clean.double()
    gaussian = torch.tensor([one.second.gaussian for one in drawn])
    gray = torch.tensor([one.second.gray for one in drawn])
    normal = residual / (residual.square().mean((1, 2, 3), keepdim=True).sqrt() + 0.1 / 255)
    red, green, blue = normal.unbind(1)
    agreement, strength = (red * green + green * blue + blue * red).mean((1, 2)) / 3, decibels(residual.square().mean((1, 2, 3)))
    found = {
        "noise: rows agree": (normal[:, :, 1:] * normal[:, :, :-1]).mean((1, 2, 3)),
        "noise: columns agree": (normal[..., 1:] * normal[..., :-1]).mean((1, 2, 3)),
    }
    # One kind of noise is not watered down by samples that have another. In the dark, a few photons more or less make all the noise.
    bright = clean.mean((1, 2, 3)) > 0.15
    for kind, chosen in (("Gaussian", gaussian), ("Poisson", ~gaussian)):
        for colour, rows in (("coloured", chosen & ~gray), ("grey", chosen & gray)):
            found[f"noise: channels agree, {colour} {kind}"] = torch.where(rows, agreement, torch.nan)
        found[f"noise: strength, {kind}"] = torch.where(chosen & bright, strength, torch.nan)
        found[f"noise: fourth moment, {kind}"] = torch.where(chosen & bright, normal.pow(4).mean((1, 2, 3)), torch.nan)
        found[f"noise: samples agree, {kind}"] = torch.where(chosen, _agreement(normal, patches.corner, gaussian, gray), torch.nan)
    return found


def _agreement(normal: Tensor, corner: Tensor, gaussian: Tensor, gray: Tensor) -> Tensor:
    """The mean product of each sample's noise with that of the next few of the same kind, where the patches overlap; (N)."""
    side, found = normal.shape[-1], torch.full((len(normal),), torch.nan, dtype=torch.float64)
    for n in range(len(normal)):
        products = []
        for m in range(n + 1, min(n + 9, len(normal))):
            down, right = (corner[m] - corner[n]).tolist()
            if gaussian[m] == gaussian[n] and gray[m] == gray[n] and max(abs(down), abs(right)) < side:
                here = normal[n, :, max(down, 0) : side + min(down, 0), max(right, 0) : side + min(right, 0)]
                there = normal[m, :, max(-down, 0) : side + min(-down, 0), max(-right, 0) : side + min(-right, 0)]
                products.append((here * there).mean())
        if products:
            found[n] = torch.stack(products).mean()
    return found
