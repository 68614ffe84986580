"""What was drawn, in the twin's words, and as numbers."""

from collections.abc import Sequence

import slow_degradation as slow
import torch
from torch import Tensor

from wildsr.degrade import TwoOrder


def drawn_by_us(degradation: TwoOrder, seed: int, ns: Sequence[int]) -> list[slow.Draw]:
    """What `TwoOrder.sample` draws, in the twin's words."""
    params = degradation.sample(seed, ns)

    def order(i: int, k: int) -> slow.OrderDraw:
        gaussian = bool(params[f"gaussian{k}"][i])
        return slow.OrderDraw(
            kernel=params[f"kernel{k}"][i],
            factor=float(params[f"resize{k}"][i]),
            mode=slow.MODES[int(params[f"mode{k}"][i])],
            gaussian=gaussian,
            strength=float(params[f"{'sigma' if gaussian else 'poisson'}{k}"][i]),
            gray=bool(params[f"gray{k}"][i]),
            quality=float(params[f"quality{k}"][i]),
        )

    return [
        slow.Draw(
            first=order(i, 1),
            second=order(i, 2),
            sinc=params["sinc"][i],
            mode=slow.MODES[int(params["tail_mode"][i])],
            jpeg_last=bool(params["resize_before_jpeg"][i]),
        )
        for i in range(len(ns))
    ]


def kernel_statistics(kernels: Tensor, name: str) -> dict[str, Tensor]:
    """Of kernels (N, 21, 21): how often nothing is blurred, and of the others sum, size, peak, lobes, and moments about the centre."""
    half = kernels.shape[-1] // 2
    axis = torch.arange(-half, half + 1.0, dtype=torch.float64)
    kernels = kernels.double()
    blurring = (kernels != 0).sum((1, 2)) > 1

    def of_blurring(values: Tensor) -> Tensor:
        return torch.where(blurring, values, torch.nan)

    found = {
        "sum": kernels.sum((1, 2)),
        # A Gaussian's corners underflow, its middle row does not.
        "size": (kernels.abs().amax(1) > 0).sum(1).double(),
        "peak": kernels[:, half, half],
        "lowest": kernels.amin((1, 2)),
        "roundness": (kernels - kernels.rot90(1, (1, 2))).abs().sum((1, 2)),
        "xx": torch.einsum("nyx,x->n", kernels, axis**2),
        "yy": torch.einsum("nyx,y->n", kernels, axis**2),
        "xy": torch.einsum("nyx,y,x->n", kernels, axis, axis),
        "x": torch.einsum("nyx,x->n", kernels, axis),
        "energy": kernels.square().sum((1, 2)),
    }
    return {f"{name}: blurs": blurring.double()} | {f"{name}: {key}": of_blurring(values) for key, values in found.items()}


def draw_statistics(drawn: Sequence[slow.Draw]) -> dict[str, Tensor]:
    """Everything that was drawn as numbers, one value a sample, and whether neighbouring samples or different draws hang together."""
    found: dict[str, Tensor] = {}

    def flag(name: str, values: Sequence[bool]) -> Tensor:
        found[name] = torch.tensor(values).double()
        return found[name]

    free: list[Tensor] = []  # draws that hang on no other
    for k in ("first", "second"):
        orders = [getattr(one, k) for one in drawn]
        found |= kernel_statistics(torch.stack([one.kernel for one in orders]), f"{k} kernel")
        factor = torch.tensor([one.factor for one in orders], dtype=torch.float64)
        found[f"{k} enlarges by"] = torch.where(factor > 1, factor, torch.nan)
        found[f"{k} reduces by"] = torch.where(factor < 1, factor, torch.nan)
        larger, smaller = flag(f"{k} enlarges", (factor > 1).tolist()), flag(f"{k} reduces", (factor < 1).tolist())
        modes = [flag(f"{k} mode {mode}", [one.mode == mode for one in orders]) for mode in slow.MODES]
        gaussian = flag(f"{k} noise is Gaussian", [one.gaussian for one in orders])
        gray = flag(f"{k} noise is grey", [one.gray for one in orders])
        strength = torch.tensor([one.strength for one in orders], dtype=torch.float64)
        found[f"{k} sigma"] = torch.where(gaussian > 0, strength, torch.nan)
        found[f"{k} Poisson scale"] = torch.where(gaussian > 0, torch.nan, strength)
        quality = found[f"{k} quality"] = torch.tensor([one.quality for one in orders], dtype=torch.float64)
        free += [found[f"{k} kernel: blurs"], larger - smaller, modes[0] - modes[2], gaussian, gray, quality]
    found |= kernel_statistics(torch.stack([one.sinc for one in drawn]), "final sinc")
    modes = [flag(f"tail mode {mode}", [one.mode == mode for one in drawn]) for mode in slow.MODES]
    free += [found["final sinc: blurs"], modes[0] - modes[2], flag("JPEG last", [one.jpeg_last for one in drawn])]

    normal = torch.stack([(values - values.mean()) / values.std().clamp(min=1e-9) for values in free])
    found["draws of a sample hang together"] = normal.sum(0).square() - normal.square().sum(0)
    found["neighbours hang together"] = (normal[:, 1:] * normal[:, :-1]).sum(0)
    return found
