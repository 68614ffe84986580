"""Every recipe, run small on real pictures: is its curve finite, and does its regulariser act?

    python benchmarks/every_recipe.py --data FOLDER --out FOLDER [--steps 300]

The networks are small, and patches, canvases and batches too (8 LR patches of 24x24 a step); regularisers, degradation, targets and
views are the recipe's own. Printed are the pixel loss before and after training on 64 LR patches that come after those of the training,
alignment's loss (mean of the first and of the last 10 steps), and what the regulariser does to the trained network: the change of the
output in training mode, relative to the detail that the network adds to its input, at the first step's place in the schedule and at the
last. A recipe whose losses are not all finite ends the run. A finished recipe is not trained again."""

import argparse
import math
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from rich.console import Console
from torch import Tensor, nn

from wildsr import chance, checkpoint, config, datasets, files, networks, recipes
from wildsr.regularize import attach
from wildsr.train import Samples, TrainConfig, train

PATCHES = 8
SMALL: dict[str, dict[str, Any]] = {
    "srresnet": {"channels": 16, "blocks": 4},
    "rrdbnet": {"channels": 16, "blocks": 2, "growth": 8},
    "swinir": {"embed_dim": 24, "depths": [2, 2], "heads": [3, 3]},
}


def small(name: str, steps: int) -> TrainConfig:
    """A recipe cut down to a minute; what makes it this recipe stays."""
    whole = recipes.find(name)
    values = whole.dump() | {"steps": steps, "batch_size": PATCHES // whole.views_drawn, "lr_patch": 24, "learning_rate": 1e-3}
    values["degradation"] |= {"canvas": 128}
    values["network"] |= SMALL[whole.network.name]
    return config.build(TrainConfig, values | {"log_every": 1, "save_every": steps, "snapshot_every": steps, "precision": "fp32"})


@torch.no_grad()
def pixel_loss(net: nn.Module, training: TrainConfig, samples: Samples) -> float:
    """On 64 LR patches that follow those of the training."""
    unseen = 64 // training.views_drawn
    lr, hr = samples.batch(training.steps * training.batch_size, unseen)
    return F.l1_loss(net.eval()(lr), hr).item()


@torch.no_grad()
def change(net: nn.Module, x: Tensor, training: TrainConfig, progress: float) -> float:
    """How far the regularisers move the output, beside what the network adds to a bilinear enlargement."""
    net.train()
    plain = net(x)
    detail = (plain - F.interpolate(x, size=plain.shape[-2:], mode="bilinear", align_corners=False)).norm()
    with attach(net, *training.regularizers, example=x, views=training.views_drawn) as attached:
        attached.begin(0, progress)
        return ((net(x) - plain).norm() / detail).item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=300)
    given = parser.parse_args()
    print("| recipe, small | pixel loss on unseen patches | alignment's loss | change of the output, first to last |")
    print("| --- | ---: | ---: | ---: |")
    for name in recipes.RECIPES:
        training = small(name, given.steps)
        run = given.out / name
        train(training, [given.data], run, console=Console(quiet=True))
        losses = [record["losses"] for record in files.read_jsonl(run / "log.jsonl") if record["event"] == "step"]
        assert len(losses) == given.steps
        assert all(math.isfinite(value) for step in losses for value in step.values()), name

        align = ""
        if "align" in losses[0]:
            first, last = (sum(step["align"] for step in part) / len(part) for part in (losses[:10], losses[-10:]))
            align = f"{first:.2g} to {last:.2g}"
        samples = Samples(training, datasets.open([given.data]), torch.device("cpu"))
        torch.manual_seed(chance.torch_seed(training.seed, "initialisation"))
        fresh = networks.create(training.network)
        net = checkpoint.build(checkpoint.load(run / "raw.safetensors"))
        before, after = (pixel_loss(one, training, samples) for one in (fresh, net))
        acting = ""
        if training.regularizers:
            x, _ = samples.batch(0, training.batch_size)
            changes = [change(net, x, training, progress) for progress in (0.0, 1 - 1 / given.steps)]
            acting = " to ".join(f"{value:.2g}" for value in changes)
        print(f"| {name} | {before:.4f} to {after:.4f} | {align} | {acting} |", flush=True)


if __name__ == "__main__":
    main()
