"""How fast wildsr is, beside the plain way of doing the same, as ratios within one run (make bench; under ten minutes on two cores).

    python benchmarks/speed.py [--rounds 3] [--upscale 1000000] [--out FILE.json]     the table of docs/performance.md
    python benchmarks/speed.py --guard benchmarks/speed.json                         what CI runs: one figure, against the recorded one

Plain: the degradation written from its definition (slow_degradation.py: dense 51x51 sharpening as the public code has it, grouped
21x21 blurs, block-wise JPEG, whole canvases to the end); SRResNet in float32, memory as PyTorch lays it out by default, Adam one tensor
after another. Ours: the samples and the steps of `wildsr train`, of the recipe real-srresnet-dropout. Medians over the rounds, with the
lowest and the highest; every round plays everything once, so that a machine that slows down touches all alike."""

import argparse
import json
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import slow_degradation
import torch
import torch.nn.functional as F
import upscaling
from rich.console import Console

from wildsr import datasets, images, recipes
from wildsr.networks import SRResNet, SRResNetConfig, convolution
from wildsr.regularize import attach
from wildsr.train import Samples, TrainConfig, train

BATCH, CANVAS = 16, 400
GUARD = 0.8
"""The share of what was recorded below which the guard fails."""


def cut(folder: Path, side: int = 480) -> None:
    """Pieces of the sample photographs, as large as the pieces that the papers train on."""
    for path in datasets.samples():
        picture = images.read(path)
        height, width = picture.shape[1:]
        for top in range(0, height - side + 1, side):
            for left in range(0, width - side + 1, side):
                images.write(folder / f"{path.stem}-{top}-{left}.png", picture[:, top : top + side, left : left + side].contiguous())


def configuration(**changes: Any) -> TrainConfig:
    """The recipe, for a few steps that are all logged."""
    config, _ = recipes.load("real-srresnet-dropout")
    return TrainConfig.model_validate({**config.dump(), "log_every": 1, "save_every": 10**6, "snapshot_every": 10**6, **changes})


def seconds(run: Callable[[], object]) -> float:
    """Of one call."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def plain_step() -> Callable[[], None]:
    """A training step as one would write it first."""
    torch.manual_seed(0)
    net = SRResNet(SRResNetConfig())
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-4, foreach=False)
    lr, hr = torch.rand(BATCH, 3, 32, 32), torch.rand(BATCH, 3, 128, 128)
    regularizers = configuration().regularizers

    def step() -> None:
        before, convolution._SLOW = convolution._SLOW, False  # PyTorch's own backward
        try:
            with attach(net, *regularizers, example=lr) as attached:
                attached.begin(0, 0.0)
                optimizer.zero_grad()
                F.l1_loss(net(lr), hr).backward()
                optimizer.step()
        finally:
            convolution._SLOW = before

    return step


def training(folder: Path, steps: int, **changes: Any) -> list[dict[str, float]]:
    """Seconds for data and for the network, of each step of a real training but the first three."""
    with tempfile.TemporaryDirectory() as run:
        train(configuration(steps=steps + 3, **changes), [folder], run, console=Console(quiet=True))
        records = [json.loads(line) for line in (Path(run) / "log.jsonl").read_text().splitlines()]
    return [record["seconds"] for record in records if record["event"] == "step"][3:]


def spread(values: list[float]) -> str:
    """Median, and from the lowest to the highest."""
    return f"{statistics.median(values):.3g} ({min(values):.3g} to {max(values):.3g})"


def help_seconds() -> float:
    """A whole process that prints the help."""
    return seconds(lambda: subprocess.run([sys.executable, "-m", "wildsr.cli", "--help"], capture_output=True, check=True))


def measure(rounds: int, pixels: int) -> dict[str, Any]:
    """Everything, as lists of seconds."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cut(folder)
        config = configuration(degradation={"canvas": CANVAS})
        samples = Samples(config, datasets.open([folder]), torch.device("cpu"))
        canvases = images.to_float(torch.stack([samples.canvases(n) for n in range(BATCH)]))
        step = plain_step()

        def degrade(as_published: bool) -> None:
            rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
            slow_degradation.degrade(canvases, rng, generator, as_published=as_published)

        plays = {
            "slow degradation": lambda: degrade(True),
            "grouped degradation": lambda: degrade(False),
            "slow step": step,
            "help": None,
            "ours": None,
        }
        found: dict[str, list[float]] = {name: [] for name in (*list(plays)[:3], "degradation", "data", "network", "help")}
        step(), samples.batch(0, BATCH)
        order = random.Random(0)
        for turn in range(rounds):
            for play in order.sample(list(plays), len(plays)):
                if play == "help":
                    found["help"] += [help_seconds() for _ in range(3)]
                elif play == "ours":
                    first = (1 + 4 * turn) * BATCH
                    for n in range(first, first + 4 * BATCH, BATCH):
                        found["degradation"].append(seconds(lambda n=n: samples.batch(n, BATCH)))
                    for part in training(folder, 6):
                        found["data"].append(part["data"])
                        found["network"].append(part["network"])
                else:
                    found[play].append(seconds(plays[play]))
    return {**found, "upscaling": upscaling.measure(pixels) if pixels else None}


def table(found: dict[str, Any]) -> str:
    """The measured beside the aims."""
    median = {name: statistics.median(values) for name, values in found.items() if isinstance(values, list)}
    whole = [data + network for data, network in zip(found["data"], found["network"], strict=True)]
    slow, grouped = (median[f"{name} degradation"] + median["slow step"] for name in ("slow", "grouped"))
    share = 100 * median["data"] / statistics.median(whole)
    rows = [
        (
            f"degradation of {BATCH} canvases of {CANVAS} to LR patches of 32, sharpened",
            f"{spread(found['slow degradation'])} s",
            f"{spread(found['degradation'])} s",
            f"{median['slow degradation'] / median['degradation']:.0f} times",
            "30; 70",
        ),
        (
            "the same, beside a dense sharpening of groups",
            f"{spread(found['grouped degradation'])} s",
            "",
            f"{median['grouped degradation'] / median['degradation']:.0f} times",
            "",
        ),
        (
            "whole training iteration, SRResNet 64x16",
            f"{slow:.3g} s, the step {spread(found['slow step'])}",
            f"{spread(whole)} s, the step {spread(found['network'])}",
            f"{slow / statistics.median(whole):.1f} times",
            "8; 9.3",
        ),
        (
            "the same, beside a dense sharpening of groups",
            f"{grouped:.3g} s",
            "",
            f"{grouped / statistics.median(whole):.1f} times",
            "",
        ),
        ("its share outside forward, backward and optimiser", "", f"{share:.1f} %", "", "20 %; 10 %"),
        ("`wildsr --help`", "", f"{spread(found['help'])} s", "", "0.3 s"),
    ]
    lines = ["| what | plain | ours | faster | aim; stretch |", "| --- | --- | --- | --- | --- |"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    if found["upscaling"]:
        lines += ["", upscaling.table(found["upscaling"])]
    return "\n".join(lines)


def machine() -> str:
    """What the figures hang on."""
    name = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), "")
    threads, capability = torch.get_num_threads(), torch.backends.cpu.get_cpu_capability()
    return f"{name or platform.machine()}, {threads} threads, {capability}, PyTorch {torch.__version__}, Python {platform.python_version()}"


def guard(recorded: Path) -> int:
    """Fails when the network's share of an iteration has fallen: something else has become slow."""
    before = json.loads(recorded.read_text())["network_share"]
    with tempfile.TemporaryDirectory() as name:
        cut(Path(name))
        parts = training(Path(name), 7, precision="fp32")
    share = statistics.median(part["network"] / (part["network"] + part["data"]) for part in parts)
    sound = share >= GUARD * before
    print(
        f"the network's share of an iteration: {share:.3f}; recorded {before:.3f}, least {GUARD * before:.3f}: {'ok' if sound else 'low'}"
    )
    return 0 if sound else 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--upscale", type=int, default=1_000_000, help="pixels of the picture to upscale; 0: none")
    parser.add_argument("--out", type=Path, help="where to write what was measured, as JSON")
    parser.add_argument("--guard", type=Path, help="the recorded figures to hold the network's share against")
    given = parser.parse_args()
    if given.guard:
        sys.exit(guard(given.guard))
    found = measure(given.rounds, given.upscale)
    print(f"{machine()}\n\n{table(found)}")
    if given.out:
        share = statistics.median(n / (n + d) for n, d in zip(found["network"], found["data"], strict=True))
        given.out.write_text(json.dumps({"machine": machine(), "network_share": round(share, 3), **found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
