"""Does wildsr draw and degrade as the slow twin does? Thousands of samples of each, compared statistic by statistic.

    python benchmarks/degradation_statistics [--samples 2000] [--canvas 400] [--lr-patch 32] [--biases]

The comparisons, of `wildsr.train.samples.Samples` with `slow_degradation`, on the same canvases and crops:
  directly   LR patches from the same draws with noise of strength 0: equal, but for what rounding does in JPEG
  draws      what was drawn (kernels, factors, strengths, qualities), independently on either side
  operators  LR patches from the same draws, differing in nothing but the noise's fields
  whole      LR patches from independent draws: whatever the others do not think of
Every statistic gives z-scores: of its mean, of its spread, of its distribution (Kolmogorov and Smirnov's), and, among draws, of the ends of
its range. With --biases, errors are planted in the twin, one after the other, to see which comparison notices them. Exit status 1 when a
score without a bias is above the limit."""

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from wildsr import datasets
from wildsr.degrade import TwoOrder
from wildsr.train import TrainConfig

sys.path.insert(0, str(Path(__file__).parents[1]))
from degradation_statistics import (
    DRAW_BIASES,
    LIMIT,
    NOISE_BIASES,
    OPERATOR_BIASES,
    TARGET_LIMIT,
    Canvases,
    Score,
    compare_directly,
    compare_draws,
    compare_operators,
    compare_whole,
    cut,
    drawn_by_us,
    silenced,
    without_noise,
)


def show(title: str, scores: Sequence[Score], shown: int) -> float:
    """Prints the most striking scores as a table; the largest score."""
    print(f"\n{title}: {len(scores)} statistics, largest score {scores[0].worst:.1f}, limit {LIMIT}\n")
    print("| statistic | wildsr | twin | z of mean | spread | distribution | ends |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for score in scores[:shown]:
        numbers = (
            f"{score.ours:.5g} | {score.twins:.5g} | {score.mean:+.1f} | {score.spread:+.1f} | {score.distribution:.1f} | {score.ends:.1f}"
        )
        print(f"| {score.name} | {numbers} |")
    return scores[0].worst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=2000, help="patches of either side, and ten times as many draws")
    parser.add_argument("--canvas", type=int, default=400)
    parser.add_argument("--lr-patch", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu", help="where wildsr's samples are made; the twin is always on the CPU")
    parser.add_argument("--biases", action="store_true", help="also plant every bias, which takes as long again for each")
    parser.add_argument("--shown", type=int, default=100, help="rows of each table")
    given = parser.parse_args()
    whole = TrainConfig(target_usm=True, seed=given.seed, lr_patch=given.lr_patch, degradation=TwoOrder(canvas=given.canvas))
    silent = whole.model_copy(update={"degradation": without_noise(TwoOrder(canvas=given.canvas))})
    with tempfile.TemporaryDirectory() as folder:
        cut(datasets.samples(), given.canvas, Path(folder))
        canvases = Canvases(whole, Path(folder), given.samples, given.device)
        quiet = Canvases(silent, Path(folder), max(1, given.samples // 4), given.device)
    print(f"{given.samples} samples, canvas {given.canvas}, LR patch {given.lr_patch}, {given.device}, PyTorch {torch.__version__}")
    print(f"\nsharpened target: largest difference {canvases.target_error:.1e}")
    off = compare_directly(quiet, drawn_by_us(without_noise(TwoOrder(canvas=given.canvas)), given.seed, range(quiet.count)))
    print(f"\nthe same draws without noise: {100 * (off < 0.01).double().mean():.1f} % of {quiet.count} patches equal", end="")
    print(f" (mean difference below 0.01 levels), largest mean difference {off.max():.3f} levels")
    drawn = drawn_by_us(TwoOrder(canvas=given.canvas), given.seed, range(10 * given.samples))
    some = drawn[: given.samples]
    clean = canvases.twins(silenced(some), 0).lr
    comparisons: dict[str, Callable[[], list[Score]]] = {
        "draws": lambda: compare_draws(drawn, len(drawn), given.seed + 1),
        "operators": lambda: compare_operators(canvases, some, clean, given.seed + 2),
        "whole": lambda: compare_whole(canvases, given.samples, given.seed + 3),
    }
    worst = max([show(name, compare(), given.shown) for name, compare in comparisons.items()])
    if given.biases:
        print(
            f"\nLargest scores with a bias planted in the twin\n\n| bias | {' | '.join(comparisons)} |\n| --- | ---: | ---: | ---: |",
            flush=True,
        )
        for name, planted in {**DRAW_BIASES, **NOISE_BIASES, **OPERATOR_BIASES}.items():
            with planted():
                print(f"| {name} | {' | '.join(f'{compare()[0].worst:.1f}' for compare in comparisons.values())} |", flush=True)
    sys.exit(worst > LIMIT or canvases.target_error > TARGET_LIMIT or float((off < 0.01).double().mean()) < 0.9)


if __name__ == "__main__":
    main()
