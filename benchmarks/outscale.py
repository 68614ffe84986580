"""Two ways to twice the size: a ×2 model, and a ×4 model's result made smaller as `wildsr upscale --outscale 2` does it.

    python benchmarks/outscale.py --data Set5 --data Set14     (default-x2 beside default, suite rdsr8-x2)

Prints, for each set and input, RGB PSNR in dB (border of 2 pixels cropped) of both ways and their difference, and how much longer the ×4
model takes for all inputs together, each way having been walked once before the clock starts."""

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from wildsr import benchmark, images, metrics, upscale


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, action="append", required=True)
    parser.add_argument("--small", default="default-x2")
    parser.add_argument("--large", default="default")
    arguments = parser.parse_args()
    suite, psnr = benchmark.find_suite("rdsr8-x2"), metrics.METRICS["psnr"]
    models = [upscale.load(one, device="cpu") for one in (arguments.small, arguments.large)]
    seconds = [0.0, 0.0]

    def twice(model: upscale.Model, photo: images.Photo) -> torch.Tensor:
        rows = upscale.enlarge(model, photo, outscale=suite.scale).rows
        return torch.from_numpy(np.concatenate(list(rows))).permute(2, 0, 1)

    for model in models:
        twice(model, images.Photo(np.zeros((48, 48, 3), np.uint8)))
    for folder in arguments.data:
        inputs, found = benchmark.made([folder], suite), {}
        for case in (case for place in inputs.places for case in inputs.cases(place)):
            scores = []
            for i, model in enumerate(models):
                begun = time.perf_counter()
                result = twice(model, images.Photo(case.lr.permute(1, 2, 0).numpy()))
                seconds[i] += time.perf_counter() - begun
                scores += [score.value for score in psnr(result, case.hr, crop=suite.crop, scale=suite.scale) if score.space == "rgb"]
            found.setdefault(case.degradation, []).append(scores)
        for degradation, scores in found.items():
            small, large = np.mean(scores, 0)
            print(f"{folder.name:<8} {degradation:<6} {small:6.2f} {large:6.2f} {small - large:+.2f}")
    print(f"{arguments.large} takes {seconds[1] / seconds[0]:.1f} times as long as {arguments.small}")


if __name__ == "__main__":
    main()
