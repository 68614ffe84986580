"""Training, and what is said of recipes."""

from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console
from torch import nn

from wildsr import benchmark, degrade, images, interpret, networks, recipes, upscale
from wildsr.train import TrainConfig
from wildsr.train import train as run_training


def train(
    config: TrainConfig,
    data: Sequence[Path | str],
    run_dir: Path,
    *,
    val: Path | None = None,
    init: Path | None = None,
    device: str = "auto",
    console: Console | None = None,
) -> Path:
    """Trains or continues a run; with `val`, scores the averaged weights on the pictures there: PSNR, clean and under blur, noise and JPEG,
    and how much each test degradation turns the network's features (`feature_cosines`)."""
    suite = benchmark.Suite("validation", "1", config.scale, crop=config.scale, degradations=benchmark.presets("clean", "b+n+j"))
    if val is None:
        return run_training(config, data, run_dir, init=init, device=device, console=console)
    inputs = benchmark.made([val], suite, seed=config.seed)
    paths = [path for pictures in inputs.sets.values() for path in pictures.values()]

    def validate(net: networks.Network) -> dict[str, float]:
        averaged = benchmark.Contender("averaged", upscale.Model(net, config.scale, "", "ema"), config.scale)
        return {
            **benchmark.mean_psnr(averaged, inputs),
            **feature_cosines(net, paths, config.scale, seed=config.seed),
        }

    return run_training(config, data, run_dir, init=init, validate=validate, device=device, console=console)


COSINE_SIDE = 192
"""Side of the HR pictures, cut from the middle, whose features are compared during training."""


def feature_cosines(net: nn.Module, paths: Sequence[Path], scale: int, *, seed: int = 0) -> dict[str, float]:
    """Mean cosine between the last features of clean inputs and those of each test degradation: "cosine noise" and so on, 1 where a
    degradation does not touch the features. Pictures are cut to their middle 192×192."""
    device = next(net.parameters()).device
    sums = dict.fromkeys((name for name in benchmark.EIGHT if name != "clean"), 0.0)
    for path in paths:
        hr = benchmark.read_hr(path)
        side = min(COSINE_SIDE, *hr.shape[-2:])
        top, left = (hr.shape[-2] - side) // 2, (hr.shape[-1] - side) // 2
        hr = hr[:, top : top + side, left : left + side]
        clean, *degraded = (images.to_float(degrade.fixed(hr, name, seed=seed, scale=scale)) for name in ("clean", *sums))
        cosines = interpret.feature_cosine(net, clean.unsqueeze(0).to(device), torch.stack(degraded).to(device))
        sums = {name: total + cosine for (name, total), cosine in zip(sums.items(), cosines.tolist(), strict=True)}
    return {f"cosine {name}": total / len(paths) for name, total in sums.items()}


def recipes_text() -> str:
    """The recipes: a sentence each, and what each costs, beside real-srresnet."""
    rows = recipes.table()
    whole = {row["name"]: row["macs"] * row["steps"] for row in rows}
    lines = [
        "Cost: parameters; multiply-adds of a step's forward (about a third of the step) x steps; LR patches a step; the whole training",
        "beside real-srresnet's. Values are changed with --set: target_usm=false trains towards unsharpened targets, schedule=restarts and",
        "betas=code are those of the papers' released code (schedule=cosine and betas=paper stand in the paper).",
    ]
    for row in rows:
        share = whole[row["name"]] / whole["real-srresnet"]
        size = f"{row['parameters'] / 1e6:.2f} M parameters, {row['macs'] / 1e9:.4g} GMAC x {row['steps']:,}, {row['patches']} patches"
        lines += [f"\n{row['name']}", f"  {row['sentence']}", f"  {size}, {share:.2g}x"]
    return "\n".join(lines)
