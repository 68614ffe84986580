"""What the clusters of many pictures take in memory: features at the last layer of SRResNet ×4 for LR pictures of 32×32.

    python benchmarks/ddr_memory.py [--count 500] [--channels 64] [--blocks 16] [--folder DIR]

`--count` inputs (a hundred pictures of noise in five degradations, for what they show is immaterial), their features, exact principal
components, the index of clusters with its interval, and one t-SNE, in one process on the CPU. Prints one JSON object; the peak is the most
that the system counted as resident, 1 MB being 10⁶ bytes. With `--folder` features are in a file there."""

import argparse
import json
import resource
import sys
import time
from pathlib import Path

import torch

from wildsr import interpret, networks
from wildsr.interpret import clusters

DEGRADATIONS = ("clean", "noise", "grey", "dark", "flat")
SIDE = 32


def peak() -> float:
    """The most memory in MB that this process has held."""
    status = Path("/proc/self/status")
    if status.exists():  # on Linux, getrusage counts what the process held that this one was started from
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def picture(i: int) -> tuple[str, str, torch.Tensor]:
    """Input i: noise, and one of five plain things done to it."""
    clean = torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(i // 5))
    kind = DEGRADATIONS[i % 5]
    changed = {
        "clean": clean,
        "noise": clean + 0.1 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(i)),
        "grey": clean.mean(1, keepdim=True).expand_as(clean),
        "dark": 0.5 * clean,
        "flat": 0.25 + 0.5 * clean,
    }
    return f"picture {i // 5}", kind, changed[kind].clamp(0, 1)


def main() -> None:
    """Measures and prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=500, help="Inputs, five for each picture: 25, 30 …")
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--blocks", type=int, default=16)
    parser.add_argument("--folder", help="Keep features in a file there.")
    given = parser.parse_args()
    torch.manual_seed(0)
    net = networks.create(networks.SRResNetConfig(channels=given.channels, blocks=given.blocks, scale=4)).eval()
    inputs = [picture(i) for i in range(given.count)]
    before = peak()
    needed = clusters.bytes_needed(net, [tensor for _, _, tensor in inputs])
    print(f"features take {needed / 1e9:.3g} GB", file=sys.stderr, flush=True)
    began = time.perf_counter()
    forwards: list[float] = []

    def progress(done: int, total: int) -> None:
        forwards.append(time.perf_counter() - began)

    where = {} if given.folder is None else {"folder": given.folder, "memory": 0}
    found = interpret.ddr(net, inputs, seeds=(0,), progress=progress, **where)
    print(
        json.dumps(
            {
                "inputs": len(inputs),
                "features, MB": round(needed / 1e6, 1),
                "before features, MB": round(before, 1),
                "peak, MB": round(peak(), 1),
                "forwards, s": round(forwards[-1], 1),
                "all, s": round(time.perf_counter() - began, 1),
                "threads": torch.get_num_threads(),
                "chi": [round(value, 3) for value in found.chi["pca"]],
                "farthest": found.farthest,
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
