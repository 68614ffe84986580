"""How long a benchmark takes beside the bare forward passes of the network that it measures, as a ratio within one run.

python benchmarks/benching.py --data Set5 --data Set14 --data B100     (SRResNet 64×16, ×4, eight degradations)

Bare: every input, made beforehand, through the network one by one, and nothing else. The benchmark: `wildsr bench` with all that it does:
reading, degrading, forward passes, metrics of the network and of bicubic, pictures, rows, tables and page. Twice: the second time nothing
is left to do."""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from wildsr import benchmark, checkpoint, images, jobs, networks, upscale


def main() -> None:
    """Measures and prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, action="append", required=True)
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--blocks", type=int, default=16)
    parser.add_argument("--suite", default="rdsr8")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--no-pictures", action="store_true")
    arguments = parser.parse_args()
    suite = benchmark.find_suite(arguments.suite)
    torch.manual_seed(0)
    config = networks.SRResNetConfig(channels=arguments.channels, blocks=arguments.blocks, scale=suite.scale)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.safetensors"
        checkpoint.save(path, checkpoint.Checkpoint(config, networks.create(config).state_dict(), "ema"))
        model = upscale.load(path, device=arguments.device)
        inputs = benchmark.made(arguments.data, suite)
        lrs = [images.to_float(case.lr)[None] for place in inputs.places for case in inputs.cases(place)]
        place = next(model.network.parameters()).device

        def network() -> None:
            with torch.inference_mode():
                for lr in lrs:
                    model.network(lr.to(place)).cpu()

        def loaded() -> None:
            for lr in lrs:
                model(lr.to(place)).cpu()

        def bench() -> None:
            out, cache = Path(folder) / "out", Path(folder) / "cache"
            pictures = not arguments.no_pictures
            jobs.bench([path], suite.name, arguments.data, out, device=arguments.device, cache=cache, pictures=pictures, page=True)

        seconds = {"network": timed(network), "loaded": timed(loaded), "bench": timed(bench), "again": timed(bench)}
        found = {
            "inputs": len(lrs),
            "device": str(place),
            "threads": torch.get_num_threads(),
            "seconds": {name: round(value, 2) for name, value in seconds.items()},
            "bench beside bare forward passes of the network": round(seconds["bench"] / seconds["network"], 3),
            "bench beside forward passes as wildsr.load computes them": round(seconds["bench"] / seconds["loaded"], 3),
        }
        print(json.dumps(found, indent=1))


def timed(work: Callable[[], None]) -> float:
    """Seconds of wall time."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
