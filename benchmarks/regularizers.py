"""What each regulariser costs: a training step with it, beside the same step without, in one run.

    python benchmarks/regularizers.py [--rounds 9] [--threads N]

A step is drawing chance, forward, losses and backward of SRResNet 64x16 on 16 LR patches of 32x32 in float32; every round plays every
variant once, in a new order, and ratios are taken within a round, so that a machine that slows down touches all alike. LR patches are
as many for all: 16 pictures, or 8 in two views. The second table is alignment's statistics beside a loop over the pairs with matrices."""

import argparse
import random
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from wildsr.networks import SRResNet, SRResNetConfig
from wildsr.regularize import AdaptiveDropout, FeatureAlignment, FeatureDropout, Regularizer, attach

VARIANTS: dict[str, Regularizer | None] = {
    "none": None,
    "channel dropout, last": FeatureDropout(p=0.7),
    "element dropout, last": FeatureDropout(p=0.7, dimension="element"),
    "channel dropout, all-part": FeatureDropout(p=0.1, site="all-part"),
    "channel dropout, every-conv": FeatureDropout(p=0.1, site="every-conv"),
    "adaptive dropout": AdaptiveDropout(),
    "alignment": FeatureAlignment(),
    "alignment, textbook features": FeatureAlignment(random_map="textbook"),
}


def step(net: SRResNet, x: Tensor, target: Tensor, regularizer: Regularizer | None, n: int) -> float:
    """Seconds of one step."""
    regularizers = [] if regularizer is None else [regularizer]
    with attach(net, *regularizers, example=x) as attached:
        # The first backward after attaching is as warm as any other: nothing is built lazily.
        began = time.perf_counter()
        attached.begin(n, 0.0)
        losses = [F.l1_loss(net(x), target), *attached.losses().values()]
        net.zero_grad(set_to_none=False)
        torch.stack(losses).sum().backward()
        return time.perf_counter() - began


def slow_statistics(u: Tensor, v: Tensor, frequency: Tensor, phase: Tensor) -> Tensor:
    """Pair by pair, with C x C matrices, as the public code does it."""
    total = torch.zeros(())
    for i in range(len(u)):
        mapped = []
        for x in (u[i], v[i]):
            t = frequency[i] * x + phase[i]
            t = t - t.min()
            m = torch.pi / 2 * t / t.max()
            mapped.append(2**0.5 * (m.cos() + m.sin()))
        for x, y in ((u[i], v[i]), mapped):
            mean = (x - y).square().sum() / len(x)
            outer = (torch.outer(x, x) - torch.outer(y, y)).square().sum() / len(x) ** 2
            total = total + mean + outer
    return total


def seconds(run: Callable[[], object], repeats: int) -> float:
    """Median over `repeats` calls."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--blocks", type=int, default=16)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    order = random.Random(0)
    net = SRResNet(SRResNetConfig(channels=given.channels, blocks=given.blocks)).to(memory_format=torch.channels_last)
    x = torch.rand(16, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    target = torch.rand(16, 3, 128, 128)

    for regularizer in VARIANTS.values():
        step(net, x, target, regularizer, 0)
    rounds: dict[str, list[float]] = {name: [] for name in VARIANTS}
    for n in range(given.rounds):
        for name in order.sample(list(VARIANTS), len(VARIANTS)):
            rounds[name].append(step(net, x, target, VARIANTS[name], n))
    size = f"SRResNet {given.channels}x{given.blocks}"
    print(f"{size}, 16 LR patches of 32x32, float32, {given.threads} threads, PyTorch {torch.__version__}\n")
    print(f"| step with | median s | beside none: median | lowest to highest of {given.rounds} rounds |")
    print("| --- | ---: | ---: | ---: |")
    for name, times in rounds.items():
        extra = [100 * (mine / plain - 1) for mine, plain in zip(times, rounds["none"], strict=True)]
        whole, median = statistics.median(times), statistics.median(extra)
        print(f"| {name} | {whole:.3f} | {median:+.1f} % | {min(extra):+.1f} to {max(extra):+.1f} % |")

    alignment = FeatureAlignment()
    drawn = alignment.draw(512, 64, torch.Generator().manual_seed(0), 0.0, 1)
    print("\n| alignment's statistics, forward and backward | loop over pairs, ms | ours, ms | times faster |")
    print("| --- | ---: | ---: | ---: |")
    for pairs in (8, 32):
        pooled = (torch.randn(2 * pairs, 64) * 0.05).requires_grad_()

        def ours(pooled: Tensor = pooled) -> None:
            alignment.charge(pooled, drawn, lambda given: given[: len(pooled)])["align"].backward()

        def loop(pooled: Tensor = pooled) -> None:
            u, v = (view - view.mean(0) for view in pooled.chunk(2))
            slow_statistics(u, v, drawn["frequency"], drawn["phase"]).backward()

        slow, fast = seconds(loop, 30), seconds(ours, 200)
        print(f"| {pairs} pairs of 64 channels | {1000 * slow:.2f} | {1000 * fast:.3f} | {slow / fast:.1f} |")


if __name__ == "__main__":
    main()
