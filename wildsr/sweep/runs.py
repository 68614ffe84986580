"""The work of a sweep: train and measure what is not done yet."""

import functools
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rich.console import Console

from wildsr import benchmark, checkpoint, datasets, files, images, jobs, report
from wildsr.errors import TrainingDivergedError, UserError
from wildsr.report.tables import BICUBIC, Row
from wildsr.sweep.figure import plot, require_matplotlib
from wildsr.sweep.grid import Run
from wildsr.sweep.results import records, table
from wildsr.train import BOOKKEEPING, TrainConfig, placed

PATIENCE = 5.0
"""Seconds after which a process that waits for others looks again."""


def run(
    runs: Sequence[Run],
    suite_names: Sequence[str],
    data: Sequence[Path | str],
    test: Sequence[Path],
    out: Path,
    *,
    device: str = "auto",
    console: Console | None = None,
) -> list[str]:
    """Trains and measures what is not done yet, then writes to `out` sweep.jsonl, table.md, plot.png and plot.svg, of the first suite, and
    report.html, of all suites, with the runs' curves; returns what failed, a line each. The same arguments again continue: runs lie in
    runs/LABEL, what was measured in bench/LABEL. Several processes with the same arguments share the work: each takes what no other has
    in hand, waits for the rest in the end, and takes over what another leaves unfinished.

    A run that diverges is recorded with its error, and the others go on; it is tried again, from its last save, at the next start, and by
    each of several processes.
    Raises UserError before the first step for pictures that cannot be used, for runs there of another configuration or pictures, and under
    torchrun and accelerate launch, whose processes would train one network together."""
    console = console or Console(stderr=True)
    if placed() is not None:
        raise UserError(
            "a sweep is not for torchrun or accelerate launch: give the command once for each GPU (CUDA_VISIBLE_DEVICES=0 wildsr ...); "
            "the processes share the runs"
        )
    require_matplotlib()  # that it is missing must not come out after the last run
    suites = [benchmark.find_suite(name) for name in suite_names]
    inputs = {
        (suite.name, suite.version, name, stem, degradation.name): sha256
        for name, pictures in benchmark.made(test, suites[0]).sets.items()
        for stem, path in pictures.items()
        for sha256 in [images.pixels_sha256(benchmark.read_hr(path))]
        for suite in suites
        for degradation in suite.degradations
    }
    source = datasets.open(data)
    source.require_sound(max(run.config.hr_patch for run in runs))
    for run in runs:
        _require_same_run(out / "runs" / run.label, run.config, source.fingerprint)

    def say(line: str) -> None:
        console.print(line, highlight=False, markup=False, soft_wrap=True)

    for note in dict.fromkeys(note for run in runs for note in run.notes):
        say(note)
    diverged: dict[str, str] = {}

    def measure(label: str, model: Path | str, weights: str | None) -> None:
        folder = out / "bench" / label
        if not _is_measured(folder / "rows.jsonl", label, weights, inputs):
            jobs.bench([model], suite_names, test, folder, device=device, pictures=False, console=console)

    def train_and_measure(i: int, run: Run) -> None:
        folder = out / "runs" / run.label
        _require_same_run(folder, run.config, source.fingerprint)  # another process may have begun since
        weights = _finished(folder, run.config)
        say(f"{i}/{len(runs)} {run.label}" + (": finished before" if weights else ""))
        if weights is None:
            try:
                jobs.train(run.config, data, folder, device=device, console=console)
            except TrainingDivergedError as error:
                diverged[run.label] = str(error)
                return
            weights = _finished(folder, run.config)
        measure(run.label, folder, weights)

    def summarise() -> None:
        for run in runs:
            there = (out / "bench" / run.label / "rows.jsonl").is_file()
            if run.label in diverged and there and _finished(out / "runs" / run.label, run.config):
                del diverged[run.label]  # another process came through
        measured = [out / "bench" / label / "rows.jsonl" for label in work if label not in diverged]
        rows = _asked_for(report.read_rows(measured), inputs)
        failed.extend([*jobs.failures(rows), *(f"{label}: {error}" for label, error in diverged.items())])
        found = records(runs, [row for row in rows if row["suite"] == suites[0].name], diverged)
        files.write_text(out / "sweep.jsonl", "".join(files.to_line(record) for record in found))
        files.write_text(out / "table.md", table(found))
        folders = [out / "runs" / run.label for run in runs if run.label not in diverged]
        report.write_page(out / "report.html", measured, folders)
        plot(found, out / "plot")

    work: dict[str, Callable[[], None]] = {BICUBIC: lambda: measure(BICUBIC, BICUBIC, None)}
    work |= {run.label: functools.partial(train_and_measure, i, run) for i, run in enumerate(runs, 1)}
    _share(work, lambda label: out / "bench" / label, say)

    others = sorted({path.name for path in (out / "runs").iterdir() if path.is_dir()} - {run.label for run in runs})
    if others:
        say(f"{out / 'runs'} also holds {len(others)} runs that were not asked for now ({others[0]} ...): the table is without them")
    failed: list[str] = []
    _share({"the table": summarise}, lambda _: out, say)
    return failed


def _share(work: Mapping[str, Callable[[], None]], folder: Callable[[str], Path], say: Callable[[str], None]) -> None:
    """Does each piece of work, in order, with a lock in its folder. What another process has in hand is left to it, and looked at again
    when all else is done, until nothing is in other hands: what was given up there is then done here."""
    left, told = list(work), False
    while left:
        elsewhere = []
        for label in left:
            with files.claim(folder(label) / ".lock") as ours:
                if ours:
                    work[label]()
                else:
                    elsewhere.append(label)
        if elsewhere and not told:
            say(f"another process of this sweep has {', '.join(elsewhere)} in hand: waiting")
            told = True
        if elsewhere:
            time.sleep(PATIENCE)
        left = elsewhere


def _require_same_run(folder: Path, training: TrainConfig, fingerprint: str) -> None:
    """Raises UserError where another training lies in a run's folder."""
    wanted = {"config.json": training.identity(), "run.json": {"data_fingerprint": fingerprint}}
    for name, values in wanted.items():
        try:
            there = json.loads((folder / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        except ValueError:
            there = None
        if not isinstance(there, dict):
            raise UserError(f"{folder / name} is damaged: remove {folder}, or use another --out")
        keys = sorted(there.keys() | values.keys()) if name == "config.json" else list(values)
        different = [key for key in keys if key not in BOOKKEEPING and there.get(key) != values.get(key)]
        if different:
            shown = "; ".join(f"{key} was {json.dumps(there.get(key))} and is {json.dumps(values.get(key))}" for key in different)
            what = "of another configuration" if name == "config.json" else "on other pictures"
            raise UserError(f"{folder} holds a run {what}: {shown}: use another --out, or the former values")


def _finished(folder: Path, training: TrainConfig) -> str | None:
    """The SHA-256 of a finished run's weights; None where there is more to train."""
    try:
        there = checkpoint.load(folder)
    except UserError:  # nothing there, or damaged: the training sees to it
        return None
    whole = (training.identity(), training.steps * training.batch_size)
    return there.weights_sha256 if (there.metadata.get("config"), there.metadata.get("images_seen")) == whole else None


_PLACE = ("suite", "suite_version", "set", "image", "degradation")


def _asked_for(rows: Sequence[Row], inputs: Mapping[tuple[str, ...], str]) -> list[Row]:
    """The rows of these suites and pictures: an earlier start may have left others, of which not every model has its own."""
    return [row for row in rows if tuple(str(row.get(key)) for key in _PLACE) in inputs]


def _is_measured(path: Path, label: str, weights: str | None, inputs: Mapping[tuple[str, ...], str]) -> bool:
    """Whether a file's rows speak of these weights, on these suites and pictures, without a failure."""
    rows = files.read_jsonl(path) if path.is_file() else []
    rows = [row for row in _asked_for(rows, inputs) if row.get("model") == label]
    there = {tuple(str(row.get(key)) for key in _PLACE): row.get("hr_sha256") for row in rows}
    return there == inputs and all((row.get("weights_sha256"), row.get("error")) == (weights, None) for row in rows)
