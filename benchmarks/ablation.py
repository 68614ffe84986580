"""Single-channel ablations beside running the whole network once for each of them, as ratios within one run.

    python benchmarks/ablation.py --data Set5 [--limit 1] [--sites first,block8,last] [--channels 8] [--cut 256] [--model FILE]

The network is SRResNet ×4 (64 channels, 16 blocks), the sites are its first, block1 … block16 and last, and the pictures' LR is made by
bicubic reduction. Whole: for each channel of each site the whole network in float32 as it is, with the site replaced in a hook, then PSNR
by `wildsr.metrics`; memory as PyTorch lays it out by default. Ours: `wildsr.interpret.ablate`, with all that it does before the first
channel, in a process that keeps its memory (`devices.keep_memory`), as `wildsr explain` does. Both make the same channels of the same
sites of the same pictures; nothing is extrapolated. Processor seconds (of all threads) stand beside those of the clock, for another job
on the machine changes those little. Without a model, weights are random, and such that the network adds as much detail as trained ones
do."""

import argparse
import json
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import upscaling
from torch import Tensor

from wildsr import checkpoint, degrade, devices, images, interpret, metrics, networks, sites

SCALE = 4


def main() -> None:
    """Measures and prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a folder of HR pictures")
    parser.add_argument("--limit", type=int, help="the first pictures only")
    parser.add_argument("--sites", default=",".join(["first", *(f"block{i}" for i in range(1, 17)), "last"]))
    parser.add_argument("--channels", type=int, default=64, help="the first channels of each site only")
    parser.add_argument("--cut", type=int, help="the pictures' centres only, of this side in HR pixels")
    parser.add_argument("--model", type=Path)
    arguments = parser.parse_args()
    net = checkpoint.build(checkpoint.load(arguments.model)).eval() if arguments.model else upscaling.detailed()
    names, channels = arguments.sites.split(","), list(range(arguments.channels))
    pairs = [pair(path, arguments.cut) for path in images.find(arguments.data)[: arguments.limit]]
    whole = {name: measured(lambda name=name: [one_by_one(net, lr, hr, name, channels) for lr, hr in pairs]) for name in names}
    devices.keep_memory()
    interpret.ablate(net, pairs[0][0][..., :32, :32], pairs[0][1][:, :128, :128], "first", channels=[0])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ours = {
        name: measured(lambda name=name: [interpret.ablate(net, lr, hr, name, channels=channels).psnrs for lr, hr in pairs])
        for name in names
    }
    apart = max(float(np.abs(np.array(whole[name][0]) - np.array(ours[name][0])).max()) for name in names)
    found = {
        "pictures": len(pairs),
        "sites": len(names),
        "channels": len(channels),
        "threads": torch.get_num_threads(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "whole over ours, all sites": ratio(whole, ours, names),
        "whole over ours, by site": {name: ratio(whole, ours, [name]) for name in names},
        "largest difference in dB": apart,
        "more memory than the whole network took, MB": max(0, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024,
    }
    print(json.dumps(found, indent=1))


def pair(path: Path, side: int | None) -> tuple[Tensor, Tensor]:
    """LR, float (1, 3, h, w), and HR, uint8 (3, 4h, 4w)."""
    hr = images.read(path)
    if side:
        top, left = (hr.shape[1] - side) // 2, (hr.shape[2] - side) // 2
        hr = hr[:, max(0, top) :, max(0, left) :][:, :side, :side]
    hr = images.crop_to_multiple(hr, SCALE)
    return images.to_float(degrade.fixed(hr, "clean", seed=0, scale=SCALE))[None], hr


@torch.no_grad()
def one_by_one(net: networks.Network, lr: Tensor, hr: Tensor, name: str, channels: list[int]) -> list[float]:
    """The obvious way: PSNR for each channel."""
    found = []
    for channel in channels:

        def without(feature: Tensor, channel: int = channel) -> Tensor:
            sums = feature.abs().sum((0, 2, 3))
            factor = sums.sum() / (sums.sum() - sums[channel])
            feature = feature.clone()
            feature[:, channel] = 0
            return feature * factor

        handle = sites.hook(net, net.sites[name][0], without)
        output = net(lr)
        handle.remove()
        found.append(metrics.psnr(images.to_uint8(output[0]), hr, crop=SCALE).value)
    return found


def measured(work: Any) -> tuple[Any, float, float]:
    """What it gives, seconds by the clock, and seconds of processors."""
    began, used = time.perf_counter(), time.process_time()
    result = work()
    return result, time.perf_counter() - began, time.process_time() - used


def ratio(whole: dict[str, Any], ours: dict[str, Any], names: list[str]) -> dict[str, float]:
    """How many times as fast, by the clock and in processor time."""
    return {
        kind: round(sum(whole[name][i] for name in names) / sum(ours[name][i] for name in names), 2)
        for i, kind in ((1, "clock"), (2, "processor"))
    }


if __name__ == "__main__":
    main()
