"""Everything that wants a CUDA GPU, in one call of a few minutes: checks, measurements, and a real training that can go on elsewhere.

    python -m wildsr.cli data pack HR_FOLDER --out data.safetensors --max-bytes 50000000        beforehand, where the pictures are
    python benchmarks/gpu.py --data data.safetensors --out OUT [--minutes 7.5] [--from PARTS]

On OUT come back: report.md (what ran, what was measured, what failed), checks.txt, the run in parts of at most 16 MiB (carry.py), and
log.jsonl. `--from` names a folder with the parts of an earlier call: its training goes on. Needs nothing but PyTorch and wildsr's own few
packages (pydantic with pydantic_core, annotated-types and typing-inspection; beartype and pytest for the checks). `--device cpu --small`
tries the script itself."""

import argparse
import itertools
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import carry
import torch
from rich.console import Console

from wildsr import datasets, recipes
from wildsr.train import Samples, train

ROOT = Path(__file__).resolve().parents[1]
SMALL = ("network.channels=8", "network.blocks=2", "degradation.canvas=160", "lr_patch=16", "batch_size=4")


def checks(out: Path, limit: float) -> str:
    """Runs tests/test_gpu.py in a process of its own; returns a line."""
    # The project's own settings of pytest name plug-ins that may not be there.
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-c",
        os.devnull,
        "--rootdir",
        str(ROOT),
        "-p",
        "no:cacheprovider",
        "tests/test_gpu.py",
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])}
    try:
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired as error:
        (out / "checks.txt").write_bytes(error.stdout or b"")
        return f"checks: not done within {limit:.0f} s"
    (out / "checks.txt").write_text(done.stdout + done.stderr)
    return f"checks: {(done.stdout.strip().splitlines() or ['nothing was said'])[-1]}"


def rate(recipe: str, settings: Sequence[str], data: Path, device: str, every: int) -> tuple[float, float]:
    """Steps a second, the median over stretches of `every` steps after the first, and the peak of the GPU's memory in GiB."""
    marks: list[float] = []
    times = (f"steps={5 * every}", f"val_every={every}", f"log_every={every}", "save_every=1000000000")
    config, _ = recipes.load(recipe, [*settings, *times])
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    with tempfile.TemporaryDirectory() as run:
        train(config, [data], run, device=device, console=Console(quiet=True), validate=lambda _: marks.append(time.perf_counter()) or {})
    peak = torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else 0.0
    return every / statistics.median(b - a for a, b in itertools.pairwise(marks)), peak


def data_rate(recipe: str, settings: Sequence[str], data: Path, device: str, batches: int) -> float:
    """Batches a second when nothing but samples is made."""
    config, _ = recipes.load(recipe, settings)
    samples = Samples(config, datasets.open([data]), torch.device(device))
    samples.batch(0, config.batch_size)
    began = time.perf_counter()
    for step in range(1, batches + 1):
        samples.batch(step * config.batch_size, config.batch_size)
    if device == "cuda":
        torch.cuda.synchronize()
    return batches / (time.perf_counter() - began)


def training(recipe: str, settings: Sequence[str], data: Path, run: Path, device: str, until: float) -> str:
    """Trains until the time is up, when it saves; returns a line."""
    command = [sys.executable, "-m", "wildsr.cli", "train", recipe, "--data", str(data), "--run-dir", str(run), "--device", device]
    command += [word for setting in settings for word in ("--set", setting)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        said, _ = process.communicate(timeout=max(1.0, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate()
    lines = said.strip().splitlines()
    return f"training: {lines[-1] if lines else 'nothing was said'} (exit status {process.returncode})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a packed file of pictures")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=7.5, help="for everything")
    parser.add_argument("--recipe", default="real-srresnet-dropout")
    parser.add_argument("--steps", type=int, default=150_000, help="of the whole training, over all calls")
    parser.add_argument("--from", dest="parts", type=Path, help="the parts of a training to go on with")
    parser.add_argument("--skip", nargs="*", default=[], choices=["checks", "speed", "train"])
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--small", action="store_true")
    given = parser.parse_args()
    began = time.monotonic()
    until = began + 60 * given.minutes
    given.out.mkdir(parents=True, exist_ok=True)
    small, every = (SMALL, 5) if given.small else ((), 200)
    name = torch.cuda.get_device_name() if given.device == "cuda" else platform.processor() or platform.machine()
    lines = [f"{name}, PyTorch {torch.__version__}, Python {platform.python_version()}", ""]

    def note(line: str) -> None:
        lines.append(line)
        print(f"[{time.monotonic() - began:5.0f} s] {line}", flush=True)
        # Whatever happens later, what is known is there.
        (given.out / "report.md").write_text("\n".join(lines) + "\n")

    def attempt(what: str, work: Callable[[], str]) -> None:
        try:
            note(work())
        except Exception as error:
            note(f"{what}: failed ({type(error).__name__}: {' '.join(str(error).split())[:300]})")

    if "checks" not in given.skip:
        attempt("checks", lambda: checks(given.out, limit=60 * given.minutes / 3))
    if "speed" not in given.skip:
        note("\n| recipe | way | steps a second | GPU memory |\n| --- | --- | ---: | ---: |")
        for recipe in ("real-srresnet-dropout", "real-srresnet-align"):
            for way in ((), ("graph=false",), ("precision=fp32",)):

                def measured(recipe: str = recipe, way: tuple[str, ...] = way) -> str:
                    steps, peak = rate(recipe, [*small, *way], given.data, given.device, every)
                    return f"| {recipe} | {way[0] if way else 'as it is'} | {steps:.1f} | {peak:.2f} GiB |"

                attempt(f"{recipe}, {way}", measured)
        attempt(
            "samples", lambda: f"\nsamples alone: {data_rate(given.recipe, small, given.data, given.device, every):.1f} batches a second"
        )
    if "train" not in given.skip:
        run = given.out / "run"
        if given.parts:
            carry.unpack(given.parts, run)
        # The same at each call, or the run would be refused.
        settings = [*small, f"steps={given.steps}", "save_every=2000", "log_every=200"]
        attempt("training", lambda: training(given.recipe, settings, given.data, run, given.device, until - 25))
        if (run / "log.jsonl").is_file():
            shutil.copy(run / "log.jsonl", given.out / "log.jsonl")
        attempt("carrying", lambda: f"carried: {len(carry.pack(run, given.out / 'parts'))} parts")
        shutil.rmtree(run, ignore_errors=True)
    note(f"done in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
