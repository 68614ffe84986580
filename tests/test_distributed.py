"""Training in several processes on the CPU: the run of one process, started by either launcher, killed, stopped and continued."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import photograph
from rich.console import Console

from wildsr import checkpoint, config, devices, files
from wildsr.errors import UserError
from wildsr.train import TrainConfig, processes, train

HERE = Path(__file__).parent
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])}

QUIET = Console(quiet=True)
BICUBIC = {"name": "bicubic", "canvas": 32}
RUNS = {
    "plain": {"degradation": BICUBIC},
    "dropout": {"degradation": BICUBIC, "regularizers": [{"name": "dropout", "p": 0.5}, {"name": "dropout", "dimension": "element"}]},
    "adaptive": {"degradation": BICUBIC, "regularizers": [{"name": "adaptive-dropout"}], "clip_norm": 0.1},
    "alignment": {"regularizers": [{"name": "alignment"}], "batch_size": 4},
    "accumulated": {"degradation": BICUBIC, "regularizers": [{"name": "dropout", "p": 0.5}], "accumulate": 2},
}


def change(run: TrainConfig, **values) -> TrainConfig:
    return config.build(TrainConfig, {**run.dump(), **values})


def log(run: Path, event: str) -> list[dict]:
    return [record for record in files.read_jsonl(run / "log.jsonl") if record["event"] == event]


@pytest.fixture
def several(tiny) -> TrainConfig:
    return change(tiny, batch_size=8, steps=3, save_every=2, network={"channels": 8, "blocks": 2})


def start(*command, **variables):
    environment = {**ENVIRONMENT, **{name: str(value) for name, value in variables.items()}}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def together(folder: Path, world: int, jobs: list[tuple[str, TrainConfig, str]]) -> list[list[tuple[str, str, str]]]:
    """Plays trainings in some processes; how each ended, by process: (error, its message, what was printed)."""
    named = [{"run": run, "values": values.dump(), "fault": fault} for run, values, fault in jobs]
    (folder / "jobs.json").write_text(json.dumps(named))
    script = str(HERE / "train_together.py")
    started = [start(sys.executable, "-W", "error", script, str(folder), str(rank), str(world)) for rank in range(world)]
    errors = [process.communicate(timeout=200)[1] for process in started]
    assert [process.returncode for process in started] == [0] * world, "\n".join(errors)
    return [[tuple(end) for end in json.loads((folder / f"rank{rank}.json").read_text())] for rank in range(world)]


def require_close(one: Path, other: Path, *, within: float) -> None:
    """Weights and moments lie within a share of the largest of each tensor."""
    (step, first), (same, second) = (checkpoint.load_state(run / "state") for run in (one, other))
    assert step == same
    apart = {
        f"{group}/{name}": ((tensor - second[group][name]).abs().max() / tensor.abs().max().clamp_min(1e-12)).item()
        for group, tensors in first.items()
        for name, tensor in tensors.items()
    }
    assert max(apart.values()) < within, {name: off for name, off in apart.items() if off >= within}


# ---------------------------------------------------------------------------------------------------------------------- the same run


def test_two_processes_make_the_run_of_one(several, pictures, tmp_path):
    """Plain, with both dropouts, alignment, clipping and accumulation: weights, averages and moments, and the losses in the log. Then
    errors, of which all processes learn, and going on with another number of processes."""
    (tmp_path / "others").mkdir()
    photograph(112, 9).save(tmp_path / "others" / "one.png")
    runs = {name: change(several, **values) for name, values in RUNS.items()}
    dropout = runs["dropout"]
    for name, values in runs.items():
        train(values, [pictures], tmp_path / f"{name}-alone", device="cpu", console=QUIET)
    longer = change(runs["plain"], steps=4)
    for run in ("extended", "extended-alone"):
        train(runs["plain"], [pictures], tmp_path / run, device="cpu", console=QUIET)
    printed = together(
        tmp_path,
        2,
        [
            *((name, values, "") for name, values in runs.items()),
            ("broken", change(dropout, save_every=1, val_every=2), "validation"),
            ("broken", change(dropout, save_every=1), ""),
            ("extended", longer, ""),
            ("nan", change(dropout, save_every=2), "nan in 1"),
            ("uneven", change(dropout, batch_size=6, accumulate=2), ""),
            ("pictures", dropout, "other pictures in 1"),
        ],
    )
    names = [*runs, "break", "continue", "extend", "nan", "uneven", "pictures"]
    first, second = (dict(zip(names, ends, strict=True)) for ends in printed)
    for name in runs:
        assert first[name][:2] == second[name][:2] == ("", "")
        assert not second[name][2], "one process speaks"
        require_close(tmp_path / f"{name}-alone", tmp_path / name, within=2e-5)
        alone, both = ([record["losses"] for record in log(tmp_path / f"{name}{suffix}", "step")] for suffix in ("-alone", ""))
        assert [list(losses) for losses in both] == [list(losses) for losses in alone]
        assert [x for losses in both for x in losses.values()] == pytest.approx([x for losses in alone for x in losses.values()], rel=1e-4)
        assert [record["event"] for record in files.read_jsonl(tmp_path / name / "log.jsonl")] == [
            "start",
            "step",
            "step",
            "save",
            "step",
            "save",
            "end",
        ]
    # What is compared would show a wrong mask, and that accumulation is another training for alignment alone.
    with pytest.raises(AssertionError):
        require_close(tmp_path / "plain", tmp_path / "dropout", within=2e-2)

    assert first["break"][:2] == ("BreakOffError", "broken off")
    assert second["break"][:2] == ("OtherProcessError", "process 0 of 2: broken off")
    assert [record["first_step"] for record in log(tmp_path / "broken", "start")] == [0, 1]
    for name in ("model", "raw"):
        names = (tmp_path / run / f"{name}.safetensors" for run in ("broken", "dropout"))
        assert len({path.read_bytes() for path in names}) == 1, "going on with as many processes gives the same bytes"

    assert "started as 2, the last time as 1 processes: pictures and masks stay the same" in first["extend"][2]
    assert [record["processes"] for record in log(tmp_path / "extended", "start")] == [1, 2]
    assert "started as" not in first["continue"][2]
    train(longer, [pictures], tmp_path / "extended-alone", device="cpu", console=QUIET)
    require_close(tmp_path / "extended-alone", tmp_path / "extended", within=2e-5)

    assert first["nan"][0] == "TrainingDivergedError"
    assert "the loss 'pixel' is nan at step 3" in first["nan"][1]
    assert second["nan"][0] == "OtherProcessError"
    assert checkpoint.load_state(tmp_path / "nan" / "state")[0] == 2
    message = "batch_size = 6 does not divide into 2 processes × 2 micro-batches (accumulate): use 4 or 8"
    assert first["uneven"][:2] == ("UserError", message)
    assert second["uneven"][:2] == ("OtherProcessError", f"process 0 of 2: {message}")
    assert first["pictures"][:2] == (
        "UserError",
        "process 1 has another set of pictures (--data) than process 0: start all processes with the same",
    )


def test_three_processes_go_on_to_the_bit(several, pictures, tmp_path):
    """The sum of three numbers hangs on their order, which must not hang on where a run began."""
    values = change(several, degradation=BICUBIC, batch_size=6, save_every=1, network={"channels": 16, "blocks": 3})
    jobs = [("whole", values, ""), ("broken", change(values, val_every=2), "validation"), ("broken", values, "")]
    ends = together(tmp_path, 3, jobs)
    assert [[error for error, _, _ in process] for process in ends] == [["", "BreakOffError", ""], *[["", "OtherProcessError", ""]] * 2]
    assert [record["first_step"] for record in log(tmp_path / "broken", "start")] == [0, 1]
    assert (tmp_path / "whole" / "model.safetensors").read_bytes() == (tmp_path / "broken" / "model.safetensors").read_bytes()


@pytest.mark.parametrize("name", ["plain", "dropout", "adaptive"])
def test_accumulation_changes_the_order_of_sums_alone(several, pictures, tmp_path, name):
    whole = change(several, **RUNS[name])
    for values, run in ((whole, "whole"), (change(whole, accumulate=4), "parts")):
        train(values, [pictures], tmp_path / run, device="cpu", console=QUIET)
    require_close(tmp_path / "whole", tmp_path / "parts", within=2e-5)


# --------------------------------------------------------------------------------------------------------- launched, killed, stopped

RECIPE = """
steps = 30
save_every = 2
log_every = 1
batch_size = 2
lr_patch = 8
scale = 2
learning_rate = 1e-3
precision = "fp32"
regularizers = [{name = "dropout", p = 0.5}]
network = {channels = 4, blocks = 1}
degradation = {name = "bicubic", canvas = 32}
"""

# wildsr.cli, but process RANK sends itself a SIGNAL before its K-th batch.
FAULTY = """
import os, sys

rank, signal, call = (int(sys.argv.pop(1)) for _ in range(3))

import wildsr.cli
from wildsr.train import Samples

calls, batch = [], Samples.batch

def fail(*args):
    calls.append(1)
    if len(calls) == call and os.environ["RANK"] == str(rank):
        os.kill(os.getpid(), signal)
    return batch(*args)

Samples.batch = fail
wildsr.cli.main()
"""


def test_launched_killed_stopped_and_continued(pictures, tmp_path):
    """One run from start to end: torchrun's first start is killed in one process; of two processes without a launcher, one is killed,
    then one told to stop; accelerate's goes on to the end. The weights are those of one process that never stopped."""
    (tmp_path / "recipe.toml").write_text(RECIPE)
    (tmp_path / "faulty.py").write_text(FAULTY)
    run = tmp_path / "run"
    training = ["train", str(tmp_path / "recipe.toml"), "--data", str(pictures), "--run-dir", str(run), "--device", "cpu"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", free_port()]
    accelerate = [sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch", "--multi_gpu", "--num_processes", "2"]
    accelerate += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", free_port()]
    lost = "another process ended or cannot be reached any more; training stopped, the last save is kept"

    _, err = finish(start(*torchrun, str(tmp_path / "faulty.py"), "1", str(signal.SIGKILL), "5", *training), status=1)
    assert f"wildsr: process 0 of 2: {lost}" in err
    assert saved(run) == 4

    began = time.monotonic()
    survivor, killed = pair([str(tmp_path / "faulty.py"), "0", str(signal.SIGKILL), "4", *training])[::-1]
    assert killed[0] == -signal.SIGKILL
    assert survivor[0] == 1
    assert survivor[1].splitlines() == [f"wildsr: process 1 of 2: {lost}, and the same command continues from it"]
    assert time.monotonic() - began < 60
    assert saved(run) == 6

    first, second = pair([str(tmp_path / "faulty.py"), "1", str(signal.SIGTERM), "4", *training])
    assert first[0] == second[0] == 143
    assert "stopped after step 10 of 30 and saved: the same command continues" in first[1]
    assert not second[1]
    assert saved(run) == 10

    out, err = finish(start(*accelerate, "-m", "wildsr.cli", *training))
    assert out.split() == [str(run / "model.safetensors")]
    assert [record["first_step"] for record in log(run, "start")] == [0, 4, 6, 10]
    assert [record["processes"] for record in log(run, "start")] == [2, 2, 2, 2]
    whole = config.build(TrainConfig, config.read_file(tmp_path / "recipe.toml"))
    train(whole, [pictures], tmp_path / "alone", device="cpu", console=QUIET)
    require_close(tmp_path / "alone", run, within=1e-4)


def free_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def finish(process: subprocess.Popen, status: int = 0) -> tuple[str, str]:
    out, err = process.communicate(timeout=120)
    assert process.returncode == status, err
    return out, err


def pair(program: list[str]) -> list[tuple[int, str]]:
    """Two processes that nobody watches over; the status and the messages of each."""
    port = free_port()
    variables = {"WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    both = [start(sys.executable, *program, RANK=rank, LOCAL_RANK=rank, **variables) for rank in range(2)]
    messages = [process.communicate(timeout=120)[1] for process in both]
    return [(process.returncode, message) for process, message in zip(both, messages, strict=True)]


def saved(run: Path) -> int:
    return checkpoint.load_state(run / "state")[0]


# ------------------------------------------------------------------------------------------------------------------------ who we are


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE=2: several processes need RANK, WORLD_SIZE and LOCAL_RANK"),
        ({"WORLD_SIZE": "2", "RANK": "x"}, "RANK=x, WORLD_SIZE=2: several processes need"),
        ({"WORLD_SIZE": "2", "RANK": "2"}, "RANK=2 with WORLD_SIZE=2: ranks go from 0 to 1"),
        ({"WORLD_SIZE": "2", "RANK": "0"}, "process 0 of 2 did not meet the others .*MASTER_ADDR"),
        ({"ACCELERATE_MIXED_PRECISION": "no", "MASTER_PORT": "29500"}, "accelerate launch .* --multi_gpu in the place of --cpu"),
    ],
)
def test_incomplete_variables_are_said(tiny, pictures, tmp_path, monkeypatch, variables, message):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=message):
        train(tiny, [pictures], tmp_path / "run", device="cpu", console=QUIET)


def test_one_process_of_a_launcher_is_a_single_process(tiny, pictures, tmp_path, monkeypatch):
    tiny = change(tiny, steps=1, degradation=BICUBIC)
    alone = train(tiny, [pictures], tmp_path / "alone", device="cpu", console=QUIET)
    for name, value in {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    launched = train(tiny, [pictures], tmp_path / "launched", device="cpu", console=QUIET)
    assert launched.read_bytes() == alone.read_bytes()


def test_each_process_has_a_gpu_of_its_own(monkeypatch):
    chosen = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    assert devices.pick("auto", 1) == torch.device("cuda", 1)
    assert chosen == [1]
    assert devices.pick("cuda") == torch.device("cuda")
    with pytest.raises(UserError, match=r"LOCAL_RANK=2, but this machine has 2 GPUs"):
        devices.pick("cuda", 2)


def test_devices_that_cannot_talk_are_refused(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match=r"several processes train on cpu or cuda, not on mps"), processes.joined(torch.device("mps")):
        pass


def test_an_error_in_a_single_process_is_that_error():
    group = processes.Group()
    for meeting in (group.together, group.in_turn):
        with pytest.raises(KeyError), meeting():
            raise KeyError
    with pytest.raises(UserError), group.in_turn(), group.together():
        group.fail(UserError())
    assert group.any(True)
    assert not group.any(False)
    assert group.told(3) == 3
    group.require_same(1, "number")
    assert group.mean(torch.ones(2)).tolist() == [1, 1]
