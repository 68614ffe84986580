"""A real training process, killed with SIGKILL at many moments, ends with the same bytes as one that never stopped."""

import os
import signal
import subprocess
import sys
import time

import pytest

from wildsr import files

STEPS, SAVE_EVERY = 40, 5

RECIPE = f"""
steps = {STEPS}
save_every = {SAVE_EVERY}
snapshot_every = 15
log_every = 1
batch_size = 2
lr_patch = 8
scale = 2
learning_rate = 1e-3
regularizers = [{{name = "dropout", p = 0.5}}, {{name = "alignment"}}]
network = {{channels = 4, blocks = 1}}
degradation = {{canvas = 96}}
"""

# The process kills itself at the K-th fsync: inside a save, at a place that is the same every time.
KILL_IN_SAVE = """
import os, signal, sys

call = int(sys.argv.pop(1))

import wildsr.cli
from wildsr.train import Samples

calls, sync, batch = [], os.fsync, Samples.batch

def fsync(file):
    calls.append(file)
    if len(calls) == call:
        os.kill(os.getpid(), signal.SIGKILL)
    sync(file)

def first_step_reached(*args):
    # What is written before the first step is no save.
    os.fsync = fsync
    return batch(*args)

Samples.batch = first_step_reached
wildsr.cli.main()
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "recipe.toml"
    path.write_text(RECIPE)
    return path


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    from conftest import photograph

    folder = tmp_path_factory.mktemp("photographs")
    for seed in range(3):
        photograph(112, seed).save(folder / f"picture{seed}.png")
    return folder


def command(recipe, photographs, run_dir):
    return ["train", str(recipe), "--data", str(photographs), "--run-dir", str(run_dir), "--device", "cpu"]


def start(arguments, script=None):
    program = ["-m", "wildsr"] if script is None else ["-c", script]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, *program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)


def finish(process):
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, (out, err)


def records(run_dir, event):
    log = run_dir / "log.jsonl"
    return [record for record in files.read_jsonl(log) if record["event"] == event] if log.exists() else []


@pytest.fixture(scope="module")
def whole(recipe, photographs, tmp_path_factory):
    """The bytes of the files of a run that was never stopped."""
    run_dir = tmp_path_factory.mktemp("whole")
    finish(start(command(recipe, photographs, run_dir)))
    assert len(records(run_dir, "step")) == STEPS
    return contents(run_dir)


def contents(run_dir):
    names = ["model.safetensors", "raw.safetensors", "snapshots/00000015.safetensors", "snapshots/00000030.safetensors"]
    return {name: (run_dir / name).read_bytes() for name in names}


def last_save(run_dir):
    return max(int(path.name) for path in (run_dir / "state").iterdir() if path.name.isdigit())


def check(run_dir, whole, saves):
    """`saves`: the last completed save before each kill."""
    firsts = [record["first_step"] for record in records(run_dir, "start")]
    assert firsts == [0, *saves]
    assert 0 not in saves
    assert len(records(run_dir, "step")) <= STEPS + len(saves) * SAVE_EVERY
    assert contents(run_dir) == whole


def test_killed_in_mid_run_at_several_moments(recipe, photographs, whole, tmp_path):
    saves = []
    for moment in (7, 18, 31):
        process = start(command(recipe, photographs, tmp_path / "run"))
        while not any(record["step"] >= moment for record in records(tmp_path / "run", "step")):
            assert process.poll() is None, process.communicate()
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert not records(tmp_path / "run", "end"), "the kill must land before the run ends"
        saves.append(last_save(tmp_path / "run"))
        assert saves[-1] >= moment - moment % SAVE_EVERY
    finish(start(command(recipe, photographs, tmp_path / "run")))
    check(tmp_path / "run", whole, saves)


def test_killed_during_a_save(recipe, photographs, whole, tmp_path):
    """A save syncs four files of the state and two models: kills before the state is named, and between state and models."""
    saves = []
    for call in (6 + 2, 6 + 5, 2 * 6 + 6):
        process = start([str(call), *command(recipe, photographs, tmp_path / "run")], KILL_IN_SAVE)
        process.communicate(timeout=120)
        assert process.returncode == -signal.SIGKILL
        assert not records(tmp_path / "run", "end"), "the kill must land before the run ends"
        saves.append(last_save(tmp_path / "run"))
    finish(start(command(recipe, photographs, tmp_path / "run")))
    check(tmp_path / "run", whole, saves)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_says_how_to_go_on(recipe, photographs, whole, tmp_path, number, status):
    process = start(command(recipe, photographs, tmp_path / "run"))
    while not any(record["step"] >= 7 for record in records(tmp_path / "run", "step")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.002)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == status
    assert b"the same command continues" in err
    assert b"Traceback" not in err
    stopped = last_save(tmp_path / "run")
    assert 7 <= stopped < STEPS
    finish(start(command(recipe, photographs, tmp_path / "run")))
    assert [record["first_step"] for record in records(tmp_path / "run", "start")] == [0, stopped]
    assert contents(tmp_path / "run") == whole
