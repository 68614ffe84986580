"""What people and tools read of a run, and how it is stopped."""

import contextlib
import platform
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor

from wildsr import files, images
from wildsr.train.config import TrainConfig


class Log:
    """log.jsonl (append-only: a resumed run repeats the steps after its last save, and the later record counts) and TensorBoard; without
    a folder nothing is written: one process of several keeps the log."""

    def __init__(self, run_dir: Path | None, first: int) -> None:
        self._path = None if run_dir is None else run_dir / "log.jsonl"
        self._board = None
        if run_dir is not None:
            with contextlib.suppress(ImportError):
                from torch.utils.tensorboard.writer import SummaryWriter

                self._board = SummaryWriter(str(run_dir / "tensorboard"), purge_step=first + 1)

    def __enter__(self) -> "Log":
        return self

    def __exit__(self, *_: object) -> None:
        if self._board is not None:
            self._board.close()

    def write(self, record: Mapping[str, Any]) -> None:
        if self._path is not None:
            files.append_jsonl(self._path, [record])

    def start(self, config: TrainConfig, first: int, place: torch.device, precision: str, processes: int) -> None:
        machine = {
            "processes": processes,
            "device": str(place),
            "precision": precision,
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "machine": platform.machine(),
        }
        run = {"first_step": first, "images": first * config.batch_size, "steps": config.steps, "code_version": files.code_version()}
        self.write({"event": "start", **run, **machine, "time": time.strftime("%Y-%m-%dT%H:%M:%S%z")})

    def step(self, step: int, n: int, rate: float, losses: Mapping[str, float], seconds: Mapping[str, float]) -> None:
        """`seconds`: of a step, the mean since the last record; on a GPU, what it still has to do for the data counts as the network's."""
        rounded = {name: round(value, 4) for name, value in seconds.items()}
        self.write({"event": "step", "step": step, "images": n, "lr": rate, "losses": dict(losses), "seconds": rounded})
        self._scalars({f"loss/{name}": value for name, value in losses.items()} | {"lr": rate}, step)

    def scores(self, step: int, scores: Mapping[str, float]) -> None:
        self.write({"event": "val", "step": step, "scores": dict(scores)})
        self._scalars({f"val/{name}": value for name, value in scores.items()}, step)

    def preview(self, step: int, lr: Tensor, sr: Tensor, hr: Tensor) -> None:
        """A row a sample: the input enlarged without smoothing, the averaged network's output, the target."""
        if self._board is not None:
            rows = torch.cat([F.interpolate(lr, size=hr.shape[-2:], mode="nearest"), sr, hr], 3)
            self._board.add_image("input, output, target", images.to_uint8(torch.cat(list(rows), 1)).cpu().numpy(), step)
            self._board.flush()

    def _scalars(self, scalars: Mapping[str, float], step: int) -> None:
        if self._board is not None:
            for name, value in scalars.items():
                self._board.add_scalar(name, value, step)


class Unread:
    """The losses of steps that nobody has looked at yet: on a GPU, looking means waiting until it is there.

    `mean`: over all processes; each knows the losses of its own pictures."""

    def __init__(self, mean: Callable[[Tensor], Tensor]) -> None:
        self._mean = mean
        self._steps: list[tuple[int, Tensor]] = []

    def add(self, step: int, losses: Sequence[Tensor]) -> None:
        """The losses of a step's micro-batches, as their mean."""
        self._steps.append((step, losses[0] if len(losses) == 1 else torch.stack(list(losses)).mean(0)))

    def read(self, names: Sequence[str]) -> list[tuple[int, dict[str, float]]]:
        """Each step, and its losses by name, in order."""
        if not self._steps:
            return []
        rows = self._mean(torch.stack([losses for _, losses in self._steps])).tolist()
        seen = [(step, dict(zip(names, row, strict=True))) for (step, _), row in zip(self._steps, rows, strict=True)]
        self._steps.clear()
        return seen


class Bar:
    """A progress bar with the time left and the losses; where the output is no terminal, a line every twentieth of the run."""

    def __init__(self, console: Console, config: TrainConfig, first: int) -> None:
        self._console, self._steps = console, config.steps
        columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("left")]
        self._bar = Progress(*columns, TimeRemainingColumn(), TextColumn("{task.fields[losses]}"), console=console)
        self._task = self._bar.add_task(config.recipe, total=config.steps, completed=first, losses="")

    def __enter__(self) -> "Bar":
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._bar.stop()

    def advance(self, done: int, losses: Mapping[str, float]) -> None:
        # Nobody may be listening any more (… | head); training goes on without words.
        with contextlib.suppress(BrokenPipeError):
            self._show(done, losses)

    def _show(self, done: int, losses: Mapping[str, float]) -> None:
        shown = "  ".join(f"{name} {value:.4g}" for name, value in losses.items())
        self._bar.update(self._task, completed=done, losses=shown)
        if not self._console.is_terminal and (done % max(1, self._steps // 20) == 0 or done == self._steps):
            left = self._bar.tasks[0].time_remaining
            self._console.print(f"step {done}/{self._steps}  {shown}" + (f"  {left:.0f} s left" if left else ""), highlight=False)


class StopRequests:
    """Turns the first Ctrl-C or SIGTERM into a request that the loop answers between two steps; a second one acts at once.

    `launched`: a launcher passes on what the terminal has sent to everyone already, so that a second one is no second thought. And when one
    process fails, it tells the others to stop while they are about to say so: after an error, that is no longer listened to."""

    def __init__(self, *, launched: bool = False) -> None:
        self._launched = launched
        self._received: int | None = None
        self._before: dict[int, Any] = {}

    @property
    def requested(self) -> bool:
        return self._received is not None

    def reason(self) -> BaseException:
        return KeyboardInterrupt() if self._received == signal.SIGINT else SystemExit(128 + signal.SIGTERM)

    def __enter__(self) -> "StopRequests":
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._receive) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._launched and self._before and kind is not None and issubclass(kind, Exception):
            self._before[signal.SIGTERM] = signal.SIG_IGN
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self._received = number
        if not self._launched:
            self._restore()
