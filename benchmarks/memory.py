"""What a training step of RRDBNet takes in memory, by LR patches at once, and what accumulation spares.

    python benchmarks/memory.py [--recipe real-rrdb] [--small] [--shares 1x1 2x1 4x1 2x2 1x4]

PATCHESxPARTS: LR patches that go through the network at once, and in how many such micro-batches a step goes. Each is a process of its own,
on the CPU in float32, and its peak is the most that the system counted as resident (getrusage), above what lies there once the program,
weights, averages and the optimiser's moments are in memory. Gradients belong to the peak: they come with the first backward."""

import argparse
import resource
import subprocess
import sys

SMALL = {"channels": 8, "blocks": 1, "growth": 4}
"""Sizes of a network that is there to try the script."""


def measure(recipe: str, patches: int, parts: int, small: bool) -> None:
    """Prints MB of parameters, MB before the step and at its peak, for the process that calls it."""
    import copy

    import torch

    from wildsr import networks, recipes
    from wildsr.networks import RRDBNetConfig
    from wildsr.regularize import attach
    from wildsr.train.step import Step

    torch.set_num_threads(1)
    config = recipes.find(recipe)
    size = RRDBNetConfig(**SMALL, scale=config.scale) if small else config.network
    net = networks.create(size).to(memory_format=torch.channels_last)
    averaged = copy.deepcopy(net).requires_grad_(False)
    optimizer = torch.optim.Adam(net.parameters(), fused=True)
    for parameter in net.parameters():
        optimizer.state[parameter] = {"step": torch.tensor(0.0)}
        optimizer.state[parameter] |= {name: torch.ones_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
    lr = torch.rand(patches, 3, config.lr_patch, config.lr_patch)
    hr = torch.rand(patches, 3, config.hr_patch, config.hr_patch)
    with attach(net) as attached:
        step = Step(net, averaged, optimizer, attached, parts=parts)
        before = peak()
        for part in range(parts):
            step(lr, hr, part)
    weights = sum(parameter.numel() for parameter in net.parameters()) * 4 / 2**20
    print(weights, before, peak())


def peak() -> float:
    """The most memory in MB that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="real-rrdb")
    parser.add_argument("--small", action="store_true", help="A tiny RRDBNet, to try the script.")
    parser.add_argument("--shares", nargs="+", default=["1x1", "2x1", "4x1", "2x2", "1x4"], metavar="PATCHESxPARTS")
    parser.add_argument("--measure", metavar="PATCHESxPARTS", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        patches, parts = map(int, given.measure.split("x"))
        measure(given.recipe, patches, parts, given.small)
        return
    print("| LR patches at once | micro-batches | patches a step | step's peak above the start, MB | of it gradients, MB | process, MB |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: |")
    for share in given.shares:
        command = [sys.executable, __file__, "--recipe", given.recipe, "--measure", share, *(["--small"] if given.small else [])]
        weights, before, after = map(float, subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())
        patches, parts = map(int, share.split("x"))
        print(f"| {patches} | {parts} | {patches * parts} | {after - before:.0f} | {weights:.0f} | {after:.0f} |", flush=True)


if __name__ == "__main__":
    main()
