"""Carries a training run to another machine in files of bounded size.

    python benchmarks/carry.py pack RUN OUT [--bytes 16777216]     writes OUT/run.tar.000, 001, ... and OUT/run.json with their hashes
    python benchmarks/carry.py unpack OUT RUN                      checks them and lays out the run, which the same `wildsr train` continues

Snapshots, previews and the lock stay behind; what resuming needs, the models and the log go along."""

import argparse
import hashlib
import io
import json
import sys
import tarfile
from pathlib import Path

STAYS = ("snapshots", "tensorboard", ".lock")
LIMIT = 16 << 20


def pack(run: Path, out: Path, limit: int = LIMIT) -> list[Path]:
    """Writes a run into numbered parts of at most `limit` bytes; returns them. Equal runs give equal parts."""
    if not (run / "state").is_dir():
        raise SystemExit(f"{run}: no run with a saved state")
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for path in sorted(run.rglob("*")):
            if path.is_file() and path.relative_to(run).parts[0] not in STAYS:
                entry = tarfile.TarInfo(path.relative_to(run).as_posix())
                entry.size = path.stat().st_size
                with open(path, "rb") as file:
                    tar.addfile(entry, file)
    data = archive.getvalue()
    out.mkdir(parents=True, exist_ok=True)
    for stale in out.glob("run.tar.*"):
        stale.unlink()
    parts = []
    for number, start in enumerate(range(0, len(data), limit)):
        parts.append(out / f"run.tar.{number:03d}")
        parts[-1].write_bytes(data[start : start + limit])
    hashes = {part.name: hashlib.sha256(part.read_bytes()).hexdigest() for part in parts}
    (out / "run.json").write_text(json.dumps(hashes, indent=1) + "\n")
    return parts


def unpack(out: Path, run: Path) -> None:
    """Lays out the run that the parts in a folder hold. Ends with a sentence where a part is missing or damaged, or the run exists."""
    try:
        hashes = json.loads((out / "run.json").read_text())
    except (OSError, ValueError):
        raise SystemExit(f"{out / 'run.json'}: missing or damaged") from None
    if run.exists() and any(run.iterdir()):
        raise SystemExit(f"{run}: is there already and not empty")
    data = b""
    for name, sha256 in hashes.items():
        part = (out / name).read_bytes() if (out / name).is_file() else b""
        if hashlib.sha256(part).hexdigest() != sha256:
            raise SystemExit(f"{out / name}: missing or damaged")
        data += part
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        tar.extractall(run, filter="data")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=("pack", "unpack"))
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--bytes", type=int, default=LIMIT)
    given = parser.parse_args()
    if given.verb == "pack":
        print(f"{len(pack(given.source, given.target, given.bytes))} parts in {given.target}", file=sys.stderr)
    else:
        unpack(given.source, given.target)


if __name__ == "__main__":
    main()
