"""One of several processes that train together; run by test_distributed.py.

python train_together.py FOLDER RANK WORLD: goes through the trainings of FOLDER/jobs.json, and writes how each ended, and what was printed,
to FOLDER/rankRANK.json. Every process of a job has the same `config` and trains in FOLDER/RUN; `fault` is what goes wrong."""

import json
import os
import sys
from io import StringIO
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F
from rich.console import Console

from wildsr import config
from wildsr.train import TrainConfig, train


class BreakOffError(Exception):
    pass


def break_off(_):
    raise BreakOffError("broken off")


def play(folder: Path, rank: int, run: str, values: dict, fault: str) -> tuple[str, str, str]:
    """Name and message of the error that the training ended with, if any, and what it printed."""
    printed, calls, l1_loss = StringIO(), [], F.l1_loss

    def diverge(sr: torch.Tensor, hr: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        # The first call is the rehearsal's.
        return l1_loss(sr, hr) * (float("nan") if fault == "nan in 1" and rank == 1 and len(calls) == 4 else 1)

    F.l1_loss = diverge
    pictures = folder / ("others" if fault == "other pictures in 1" and rank == 1 else "pictures")
    try:
        train(
            config.build(TrainConfig, values),
            [pictures],
            folder / run,
            device="cpu",
            console=Console(file=printed, width=200),
            validate=break_off if fault == "validation" else None,
        )
    except Exception as error:
        return type(error).__name__, str(error), printed.getvalue()
    finally:
        F.l1_loss = l1_loss
    return "", "", printed.getvalue()


def main(folder: Path, rank: int, world: int) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=world)
    ends = [play(folder, rank, **job) for job in json.loads((folder / "jobs.json").read_text())]
    (folder / f"rank{rank}.json").write_text(json.dumps(ends))
    dist.barrier()
    sys.stderr.flush()
    os._exit(0)  # Gloo's threads outlive the group, and now and then abort a process that ends in order


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
