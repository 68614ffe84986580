"""The whole way on the photographs inside installed wheels: three networks trained, measured on pictures held out, and one page."""

import shutil
import sys
import time
from pathlib import Path

from rich.console import Console

from wildsr import datasets, jobs, recipes, report
from wildsr.regularize import FeatureAlignment, FeatureDropout


def demo(out: Path, *, device: str = "auto", console: Console | None = None) -> list[str]:
    """Runs the demo into `out` (its page is OUT/report.html) and returns what failed, a line each. The model that comes with wildsr is
    measured beside the three, and upscales a photograph.

    What an earlier, interrupted demo finished there is not done again. The three networks differ in their regulariser alone, and see the
    same number of LR patches."""
    console = console or Console(stderr=True)
    began = time.perf_counter()
    training, held_out = out / "photographs" / "training", out / "photographs" / "held-out"
    for path in datasets.samples():
        folder = held_out if path.stem in datasets.HELD_OUT else training
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, folder / path.name)

    configs = {
        "plain": recipes.quick(),
        "dropout": recipes.quick(FeatureDropout(p=0.3)),
        "alignment": recipes.quick(FeatureAlignment()),
    }
    runs = {name: out / "runs" / name for name in configs}
    for name, config in configs.items():
        console.print(f"training {name}: {config.steps} steps on {len(datasets.samples()) - len(datasets.HELD_OUT)} photographs")
        jobs.train(config, [training], runs[name], device=device, console=console)

    console.print(f"measuring on {len(datasets.HELD_OUT)} photographs held out, under eight degradations")
    rows = jobs.bench(["bicubic", jobs.DEFAULT, *runs.values()], "rdsr8", [held_out], out / "bench", device=device, console=console)
    photograph = held_out / "chelsea.png"
    upscaled = jobs.upscale_files([photograph], [Path(jobs.DEFAULT)], out / "upscaled", overwrite=True, device=device)
    failed = [*jobs.failures(rows), *upscaled.failed]
    page = out / "report.html"
    report.write_page(page, [out / "bench" / "rows.jsonl"], list(runs.values()), baseline="plain", title="wildsr demo")

    console.print(f"\n{(out / 'bench' / 'table.md').read_text(encoding='utf-8')}", highlight=False, markup=False, soft_wrap=True)
    console.print(f"upscaled photograph  {out / 'upscaled' / 'chelsea.png'}", highlight=False, soft_wrap=True)
    console.print(f"report               {page.resolve()}   ({time.perf_counter() - began:.0f} s in all)", highlight=False, soft_wrap=True)
    program = "wildsr" if shutil.which("wildsr") else _relative(Path(sys.executable).with_name("wildsr"))
    console.print(
        "\nTo try next:\n"
        f"  {program} upscale YOUR_PHOTO.jpg\n"
        f"  {program} train quick --data YOUR_PHOTOS/ --run-dir runs/mine --set steps=2000\n"
        f"  {program} bench {runs['plain']} runs/mine --suite rdsr8 --data {held_out} --out runs/mine-bench",
        highlight=False,
        soft_wrap=True,
    )
    return failed


def _relative(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
