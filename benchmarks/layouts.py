"""Which memory layout a training step is fastest in, channels last or PyTorch's default: forward and backward, as ratios within one run.

    python benchmarks/layouts.py [--rounds 5] [--threads N]

Float32, 16 LR patches of 32x32, on the processor. Every round plays each network in both layouts; a ratio above 1 says how many times as
fast PyTorch's default layout is. The last column is what training takes here (wildsr.networks.convolution.training_layout)."""

import argparse
import statistics
import time

import torch

from wildsr import devices, networks
from wildsr.networks.convolution import training_layout

NETWORKS = (
    *({"name": "srresnet", "channels": channels, "blocks": 4} for channels in (8, 16, 24, 32, 48, 64)),
    *({"name": "rrdbnet", "channels": channels, "growth": channels // 2, "blocks": 1} for channels in (32, 64)),
    *({"name": "rcan", "channels": channels, "groups": 2, "blocks": 2} for channels in (32, 64)),
    *({"name": "compact", "channels": channels, "blocks": 4} for channels in (32, 64)),
    {"name": "swinir", "embed_dim": 60, "depths": [2], "heads": [6]},
)


def step(net: torch.nn.Module, lr: torch.Tensor) -> float:
    """Seconds of forward and backward."""
    net.zero_grad()
    began = time.perf_counter()
    net(lr).abs().mean().backward()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    devices.keep_memory()
    torch.manual_seed(0)
    layouts = {"channels last": torch.channels_last, "default": torch.contiguous_format}
    print(f"{torch.backends.cpu.get_cpu_capability()}, {given.threads} threads, PyTorch {torch.__version__}\n")
    print("| network | channels last, s | times as fast in the default layout | training takes |\n| --- | ---: | ---: | --- |")
    for sizes in NETWORKS:
        config = networks.config_from(sizes)
        chosen = training_layout(networks.create(config), torch.device("cpu"))
        lr = torch.rand(16, 3, 32, 32)
        seconds: dict[str, list[float]] = {name: [] for name in layouts}
        nets = {name: networks.create(config).to(memory_format=layout) for name, layout in layouts.items()}  # pyright: ignore[reportCallIssue]
        for turn in range(given.rounds + 1):
            for name, layout in layouts.items():
                taken = step(nets[name], lr.contiguous(memory_format=layout))
                if turn:  # the first step of all makes what is made lazily
                    seconds[name].append(taken)
        last = statistics.median(seconds["channels last"])
        ratios = [a / b for a, b in zip(*seconds.values(), strict=True)]
        faster = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        name = next(name for name, layout in layouts.items() if layout == chosen)
        print(f"| {networks.describe(config)} | {last:.3f} | {faster} | {name} |", flush=True)


if __name__ == "__main__":
    main()
