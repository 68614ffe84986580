"""What it costs to read training pictures from a folder of JPEG files, from Parquet shards, and from a packed file; prints tables.

python benchmarks/reading.py [--pictures 300] [--side 400]

The pictures are 481×321 (those of BSD500 and the like), cut from the sample photographs and saved as JPEG of quality 90. All files lie in
the page cache: what is measured is the work of the processor. "CPU" is processor time of one thread, which other programs on the
machine disturb little; "clock" is time on the wall with all threads, beside a device that works for `--device-ms` a batch of 16. Takes
half a minute."""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from wildsr import datasets, images
from wildsr.datasets.canvases import Order

BATCH = 16


def write_pictures(folder: Path, count: int) -> None:
    """JPEG files of 481×321, cut at random places from the sample photographs."""
    folder.mkdir()
    photographs = [picture for picture in map(images.read, datasets.samples()) if picture.shape[1] >= 321 and picture.shape[2] >= 481]
    rng = np.random.default_rng(0)
    for i in range(count):
        photograph = photographs[i % len(photographs)]
        top, left = rng.integers(photograph.shape[1] - 320), rng.integers(photograph.shape[2] - 480)
        images.to_pillow(photograph[:, top : top + 321, left : left + 481]).save(folder / f"{i:05d}.jpg", quality=90)


def processor_ms(work: Callable[[int], object], count: int) -> float:
    """Milliseconds of this thread for each of `count` calls, the median of five rounds."""
    rounds = []
    for turn in range(5):
        began = time.thread_time()
        for n in range(count * turn, count * (turn + 1)):
            work(n)
        rounds.append((time.thread_time() - began) / count * 1e3)
    return sorted(rounds)[2]


def clock_ms(place: Path, side: int, device_ms: float, prepare: bool) -> float:
    """Milliseconds of a batch beside a device that is busy for `device_ms`."""
    canvases = datasets.Canvases(uncached(place), side, seed=0)
    canvases(0)
    began = time.perf_counter()
    for first in range(0, 12 * BATCH, BATCH):
        if prepare:
            canvases.prepare(range(first, first + 2 * BATCH))
        torch.stack([canvases(first + i) for i in range(BATCH)])
        time.sleep(device_ms / 1e3)
    return (time.perf_counter() - began) / 12 * 1e3


def uncached(place: Path) -> datasets.Source:
    """A place's pictures; those of a folder are decoded whenever they are needed, as when there are more than memory holds."""
    if place.is_dir() and place.name == "jpeg":
        return datasets.Source([datasets.Folders(datasets.examine([place]), cache_bytes=0)])
    return datasets.open([place])


def mixing(rows: int, groups: int, window: int) -> str:
    """How many row groups the pictures of a batch come from, and how far a picture is from its neighbour in the file."""
    order = Order([rows] * groups, window, seed=0)
    drawn = np.array([order(n) for n in range(rows * groups)])
    batches = (drawn // rows)[: len(drawn) // BATCH * BATCH].reshape(-1, BATCH)
    place = np.argsort(drawn)
    apart = np.median(np.abs(np.diff(place))[np.diff(np.arange(len(drawn)) // rows) == 0])
    return f"| {window} | {rows * window:,} | {np.mean([len(set(batch)) for batch in batches]):.1f} | {apart:,.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=300)
    parser.add_argument("--side", type=int, default=400, help="side of the canvases")
    parser.add_argument("--device-ms", type=float, default=60.0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        jpeg, shards, packed = (Path(temporary) / name for name in ("jpeg", "shards", "packed.safetensors"))
        write_pictures(jpeg, given.pictures)
        datasets.write_shards([jpeg], shards)
        datasets.pack([jpeg], packed)
        print(f"| {given.pictures} pictures | kB each | CPU ms a picture | CPU ms a canvas | MB/s | clock ms a batch | prepared |")
        print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
        for place in (jpeg, shards, packed):
            paths = [place] if place.is_file() else sorted(place.iterdir())
            size = sum(path.stat().st_size for path in paths) / given.pictures
            source = uncached(place)
            whole = processor_ms(lambda n, source=source: source.read(n % given.pictures).sum(), given.pictures // 3)
            bare = processor_ms(lambda n, source=source: np.ones((3, 321, 481), np.uint8).sum(), given.pictures // 3)
            canvas = processor_ms(datasets.Canvases(source, given.side, seed=0), given.pictures // 3)
            clock = [clock_ms(place, given.side, given.device_ms, prepare) for prepare in (False, True)]
            print(
                f"| {place.name} | {size / 1e3:.0f} | {whole - bare:.2f} | {canvas:.2f} | {size / canvas / 1e3:.0f} "
                f"| {clock[0]:.0f} | {clock[1]:.0f} |",
                flush=True,
            )
    print("\n| window, in row groups of 100 | pictures in it | groups in a batch of 16 | places between neighbours of a file (median) |")
    print("| ---: | ---: | ---: | ---: |")
    for window in (2, 8, 25, 32):
        print(mixing(100, 200, window))


if __name__ == "__main__":
    main()
