"""Upscaling a picture by SRResNet 64x16, x4: seconds and memory beside the obvious way, and what the result loses.

    python benchmarks/upscaling.py [--pixels 1000000] [--rounds 2] [--device auto] [--model FILE] [--out FILE.json]

Obvious: the whole picture through the network at once, in float32, memory as PyTorch lays it out by default. That takes 13 GB for a
million pixels. Ours: `wildsr.load(FILE)(lr)`, and the same with precision "bf16" where the device computes in bf16. Every way runs in a
process of its own, with a small picture first; of the rounds, which take the ways in turn, the fastest counts, for another job on the
machine can only add to it. Working memory is the peak less what stood there before the picture was upscaled (on a GPU, of PyTorch's
allocations). Without a model, weights are random, and such that the network adds as much detail (0.02 of the range, rms) as trained
ones do. The LR picture is a drawn one of grey values and edges, reduced by Pillow's bicubic; PSNR is to the drawn one, cropped by 4."""

import argparse
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from wildsr import checkpoint, devices, images, metrics, upscale
from wildsr.networks import SRResNet, SRResNetConfig

OBVIOUS = "untiled, fp32"
SCALE = 4


def ways(device: str) -> list[str]:
    """What is measured on a device."""
    return [OBVIOUS, "fp32"] + ["bf16"] * devices.computes_bf16(devices.pick(device))


def drawn(pixels: int) -> tuple[Tensor, Tensor]:
    """LR and HR, uint8 (3, h, w) and (3, 4h, 4w); h·w is about `pixels`."""
    side = SCALE * max(8, round(math.sqrt(pixels)))
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side].astype(np.float32)
    picture = np.empty((side, side, 3), np.float32)
    for channel in range(3):
        # Waves as long as the picture and as short as two pixels, the short ones weak, as in photographs.
        waves = ((length, *rng.uniform(-1, 1, 2)) for length in np.geomspace(2, side, 16))
        picture[..., channel] = 128 + sum(6 * math.log2(n) * np.sin(2 * np.pi * (a * x + b * y) / n) for n, a, b in waves)
    for _ in range(200):
        top, left = rng.integers(0, side, 2)
        height, width = rng.integers(4, side // 4, 2)
        picture[top : top + height, left : left + width] *= rng.uniform(0.5, 1.5)
    hr = Image.fromarray(picture.clip(0, 255).astype(np.uint8))
    lr = hr.resize((side // SCALE, side // SCALE), Image.Resampling.BICUBIC)
    return images.from_pillow(lr), images.from_pillow(hr)


def detailed() -> SRResNet:
    """SRResNet with random weights whose detail has an rms of 0.02."""
    torch.manual_seed(0)
    net = SRResNet(SRResNetConfig()).eval().requires_grad_(False)
    for name, parameter in net.named_parameters():
        if parameter.dim() == 4:
            parameter.copy_(torch.randn_like(parameter) * (0.3 if ".conv2." in name else 1.2) / parameter[0].numel() ** 0.5)
    lr = torch.rand(1, 3, 64, 64)
    detail = net(lr) - F.interpolate(lr, scale_factor=SCALE, mode="bilinear", align_corners=False)
    net.conv_last.weight.mul_(0.02 / detail.square().mean().sqrt())
    return net


def one(way: str, folder: Path, device: str) -> dict[str, float]:
    """Upscales the picture of a folder once, in this process; leaves the result there as uint8."""
    lr = images.to_float(images.read(folder / "lr.png")).unsqueeze(0)
    place = devices.pick(device)
    model = upscale.load(folder / "model.safetensors", device=device, precision=way if way != OBVIOUS else "fp32")

    @torch.inference_mode()
    def at_once(lr: Tensor) -> Tensor:
        return model.network(lr.to(place)).clamp(0, 1).to(lr.device)

    run = at_once if way == OBVIOUS else model
    run(lr[..., :48, :48])
    before = _used(place)
    began = time.perf_counter()
    sr = run(lr)
    seconds = time.perf_counter() - began
    memory = _peak(place) - before
    images.write(folder / f"{way}.png", images.to_uint8(sr[0]))
    return {"seconds": seconds, "memory": memory / 2**20}


def _used(place: torch.device) -> int:
    if place.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    return _resident("VmRSS")


def _peak(place: torch.device) -> int:
    return torch.cuda.max_memory_allocated() if place.type == "cuda" else _resident("VmHWM")


def _resident(field: str) -> int:
    """Bytes of this process, now or at the most. Where the system does not tell, the most is what there is."""
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) * 1024 for line in status.read_text().splitlines() if line.startswith(field))
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def measure(pixels: int, *, rounds: int = 1, device: str = "auto", model: Path | None = None) -> dict[str, Any]:
    """Seconds, MiB, PSNR to the ground truth and mean difference to the obvious way's picture (in 8-bit steps), by way."""
    lr, hr = drawn(pixels)
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images.write(folder / "lr.png", lr)
        if model is None:
            net = detailed()
            checkpoint.save(folder / "model.safetensors", checkpoint.Checkpoint(net.config, net.state_dict(), "raw"))
        else:
            checkpoint.save(folder / "model.safetensors", checkpoint.load(model))
        for _ in range(rounds):
            for way in ways(device):
                command = [sys.executable, __file__, "--one", way, "--folder", name, "--device", device]
                finished = subprocess.run(command, capture_output=True, text=True)
                if finished.returncode:
                    raise RuntimeError(f"{way}: {finished.stderr}")
                values = json.loads(finished.stdout.splitlines()[-1])
                found[way] = min(values, found.get(way, values), key=lambda one: one["seconds"])
        results = {way: images.read(folder / f"{way}.png") for way in found}
    for way, sr in results.items():
        found[way]["psnr"] = metrics.psnr(sr, hr, crop=SCALE).value
        found[way]["difference"] = (sr.int() - results[OBVIOUS].int()).abs().double().mean().item()
    return {"lr_pixels": lr.shape[1] * lr.shape[2], "device": devices.pick(device).type, "ways": found}


def table(found: dict[str, Any]) -> str:
    """Markdown."""
    obvious = found["ways"][OBVIOUS]
    lines = [
        f"| upscaling {found['lr_pixels'] / 1e6:.2f} to {found['lr_pixels'] * SCALE**2 / 1e6:.2f} megapixels ({found['device']}) "
        "| seconds | times faster | working memory, MiB | of the obvious | PSNR change, dB | mean difference, 8-bit steps |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for way, values in found["ways"].items():
        lines.append(
            f"| {way} | {values['seconds']:.2f} | {obvious['seconds'] / values['seconds']:.2f} | {values['memory']:.0f} "
            f"| {values['memory'] / obvious['memory']:.3f} | {values['psnr'] - obvious['psnr']:+.5f} | {values['difference']:.5f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pixels", type=int, default=1_000_000, help="of the LR picture, about")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--model", type=Path, help="another SRResNet's file, x4")
    parser.add_argument("--out", type=Path, help="where to write what was measured, as JSON")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(one(given.one, given.folder, given.device)))
        return
    found = measure(given.pixels, rounds=given.rounds, device=given.device, model=given.model)
    print(table(found))
    if given.out:
        given.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
