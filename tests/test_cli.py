"""The command line: its contract, its exit statuses, and what a user's mistakes get: one plain line that names them."""

import json
import os
import re
import resource
import signal
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from conftest import one_line, photograph
from PIL import Image

from wildsr import checkpoint, files
from wildsr.networks import SRResNet, SRResNetConfig

SMALL = [f"--set={text}" for text in ("steps=2", "batch_size=2", "lr_patch=8", "network.channels=4", "network.blocks=1", "save_every=1")]


def size(path):
    with Image.open(path) as picture:
        return picture.size


# ------------------------------------------------------------------------------------------------------------------- the whole way


def test_the_whole_way(wildsr, pictures, tmp_path):
    for stem in ("a", "b"):
        photograph(100, 7).save(tmp_path / f"{stem}.png")
    train = ["train", "quick", "--data", pictures, "--run-dir", tmp_path / "run", "--val", pictures, *SMALL]
    status, out, err = wildsr(*train)
    assert (status, out.strip()) == (0, str(tmp_path / "run" / "model.safetensors")), err
    for name in ("model.safetensors", "raw.safetensors", "config.json", "log.jsonl"):
        assert (tmp_path / "run" / name).is_file()
    scores = [record["scores"] for record in files.read_jsonl(tmp_path / "run" / "log.jsonl") if record["event"] == "val"]
    cosines = {f"cosine {name}" for name in ("blur", "noise", "jpeg", "b+n", "b+j", "n+j", "b+n+j")}
    assert set(scores[-1]) == {"psnr clean", "psnr b+n+j"} | cosines
    assert all(0 < scores[-1][name] < 1 for name in cosines)

    status, out, err = wildsr("bench", tmp_path / "run", "--suite", "rdsr8", "--data", pictures, "--out", tmp_path / "bench")
    assert status == 0, err
    rows = files.read_jsonl(tmp_path / "bench" / "rows.jsonl")
    assert {row["model"] for row in rows} == {"bicubic", "run"}
    assert len([row for row in rows if row["metric"] in ("psnr", "ssim")]) == 2 * 3 * 8 * 4
    trained = {(row["training"], row["training_seed"]) for row in rows if row["model"] == "run"}
    assert [(bool(training), seed) for training, seed in trained] == [(True, 0)]
    assert "| bicubic |" in (tmp_path / "bench" / "table.md").read_text()
    assert (tmp_path / "bench" / "images" / "rdsr8" / "pictures" / "b+n+j" / "run" / "picture0.png").is_file()
    assert "picture0" in (tmp_path / "bench" / "report.html").read_text()
    assert out.endswith(f"{tmp_path / 'bench' / 'report.html'}\n")

    status, _, err = wildsr("report", tmp_path / "bench" / "rows.jsonl", "--run", tmp_path / "run", "--out", tmp_path / "page.html")
    assert status == 0, err
    assert "picture0" in (tmp_path / "page.html").read_text()

    status, _, err = wildsr("upscale", tmp_path / "a.png", tmp_path / "b.png", "--model", tmp_path / "run", "--out", tmp_path / "up")
    assert status == 0, err
    assert size(tmp_path / "up" / "b.png") == (400, 400)
    status, _, err = wildsr("upscale", tmp_path / "a.png", "--model", tmp_path / "run")
    assert size(tmp_path / "a_x4.png") == (400, 400)

    status, out, _ = wildsr("info", tmp_path / "run", "--json")
    assert status == 0
    assert json.loads(out)["images_seen"] == 4
    status, out, _ = wildsr("info", tmp_path / "run" / "raw.safetensors")
    assert "raw" in out

    status, out, err = wildsr("convert", tmp_path / "run", tmp_path / "net.pth")
    assert status == 0, err
    assert out.startswith(f"{tmp_path / 'net.pth'}: BasicSR's params and params_ema")
    status, other, _ = wildsr("info", tmp_path / "net.pth")
    assert status == 0
    assert re.search(r'^opens_in +\["wildsr"\]$', other, re.MULTILINE)
    status, _, err = wildsr("convert", tmp_path / "run", tmp_path / "card.md", "--table", tmp_path / "bench" / "table.md", "--license=MIT")
    assert status == 0, err
    assert "bicubic" in (tmp_path / "card.md").read_text()


def test_degrade_with_the_two_order_pipeline(wildsr, pictures, tmp_path):
    for out in ("a", "b"):
        status, _, err = wildsr("degrade", pictures, "--preset=two-order", "--seed=3", "--scale=2", "--out", tmp_path / out)
        assert status == 0, err
    assert size(tmp_path / "a" / "picture0.png") == (56, 56)
    for i in range(3):
        assert (tmp_path / "a" / f"picture{i}.png").read_bytes() == (tmp_path / "b" / f"picture{i}.png").read_bytes()


def test_dry_run_prints_json_alone_and_needs_no_data(wildsr):
    status, out, err = wildsr("train", "real-srresnet-align", "--set", "steps=10", "--dry-run")
    assert (status, err) == (0, "")
    values = json.loads(out)
    assert values["steps"] == 10
    assert values["regularizers"][0]["name"] == "alignment"


def test_data(wildsr, pictures):
    status, out, _ = wildsr("data", "list")
    assert status == 0
    assert "chelsea" in out
    status, out, _ = wildsr("data", "check", pictures)
    assert (status, out.strip()) == (0, "3 pictures, 0 unreadable; the shortest side is 112 pixels")
    (pictures / "torn.png").write_bytes(b"")
    status, out, err = wildsr("data", "check", pictures)
    assert status == 3
    assert "torn.png: the file is empty" in one_line(err)


# ------------------------------------------------------------------------------------------------------------------- bad pictures


def write_header_bomb(path):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b""))


def write_truncated(path):
    photograph(200, 1).save(path)
    path.write_bytes(path.read_bytes()[:1500])


def write_animation(path):
    photograph(64, 1).save(path, save_all=True, append_images=[photograph(64, 2)])


BAD = {
    "zero.png": (lambda path: path.write_bytes(b""), "empty"),
    "text.png": (lambda path: path.write_text("no picture"), "not a picture"),
    "truncated.jpg": (write_truncated, "damaged"),
    "cmyk.jpg": (lambda path: photograph(200, 1).convert("CMYK").save(path), "CMYK"),
    "deep.png": (lambda path: Image.fromarray(np.full((200, 200), 40_000, np.uint16)).save(path), "16 bits"),
    "moving.gif": (write_animation, "animation of 2 frames"),
    "bomb.png": (write_header_bomb, "30000×30000"),
}


@pytest.fixture(params=BAD)
def bad(request, pictures):
    write, message = BAD[request.param]
    write(pictures / request.param)
    return pictures / request.param, message


def test_a_bad_picture_stops_training_and_measuring_before_they_start(wildsr, bad, tmp_path):
    path, message = bad
    status, out, err = wildsr("train", "quick", "--data", path.parent, "--run-dir", tmp_path / "run", *SMALL)
    line = one_line(err)
    assert (status, out) == (2, "")
    assert path.name in line
    assert message in line
    assert "1 of 4 pictures" in line
    status, _, err = wildsr("bench", "bicubic", "--suite=rdsr8", "--data", path.parent, "--out", tmp_path / "bench")
    assert status == 2
    assert path.name in one_line(err)
    assert not (tmp_path / "bench" / "rows.jsonl").exists()


READ = {
    "cmyk.jpg": "CMYK converted to RGB plainly, for it has no profile",
    "deep.png": "",
    "moving.gif": "first of 2 frames",
}
"""What training and measuring refuse, and the upscaler takes; and what it says."""


@pytest.mark.parametrize("name", READ)
def test_what_cannot_be_trained_on_can_be_upscaled(wildsr, model, tmp_path, name):
    BAD[name][0](tmp_path / name)
    status, out, err = wildsr("upscale", tmp_path / name, "--model", model, "--out", tmp_path / "out")
    assert (status, err) == (0, "")
    assert out.rstrip("]\n").endswith(READ[name] or ".png")


@pytest.mark.parametrize("bad", [name for name in BAD if name not in READ], indirect=True)
def test_a_bad_picture_among_others_does_not_stop_upscaling(wildsr, bad, model, tmp_path):
    path, message = bad
    status, _, err = wildsr("upscale", path, path.parent / "picture0.png", "--model", model, "--out", tmp_path / "out")
    assert status == 3
    assert path.name in one_line(err)
    assert message in err
    assert [written.name for written in (tmp_path / "out").iterdir()] == ["picture0.png"]
    status, _, err = wildsr("upscale", path, "--model", model, "--out", tmp_path / "none")
    assert status == 2
    assert message in one_line(err)
    assert not (tmp_path / "none").exists()


def test_small_pictures(wildsr, pictures, model, tmp_path):
    Image.new("RGB", (1, 1), (9, 9, 9)).save(pictures / "dot.png")
    status, _, err = wildsr("train", "quick", "--data", pictures, "--run-dir", tmp_path / "run", *SMALL)
    assert status == 2
    assert "dot.png: 1×1 is smaller than the HR patch of 32×32" in one_line(err)
    status, _, err = wildsr("bench", "bicubic", "--suite=rdsr8", "--data", pictures, "--out", tmp_path / "bench")
    assert status == 2
    assert "dot.png: 1×1 is too small" in one_line(err)
    status, _, err = wildsr("degrade", pictures / "dot.png", "--preset", "blur", "--out", tmp_path / "lr")
    assert status == 2
    assert "dot.png" in one_line(err)
    Image.new("RGB", (40, 5)).save(pictures / "low.png")
    status, _, err = wildsr("degrade", pictures, "--preset", "clean", "--out", tmp_path / "lr")
    assert status == 3
    assert "low.png: 40×5 is too small: use pictures of 12×12 or more" in err
    assert (tmp_path / "lr" / "picture0.png").is_file()
    status, _, err = wildsr("degrade", pictures / "dot.png", "--preset", "two-order", "--out", tmp_path / "lr")
    assert status == 2
    assert "dot.png: 1×1 is too small: use pictures of 4×4 or more" in one_line(err)
    status, _, err = wildsr("upscale", pictures / "dot.png", "--model", model, "--out", tmp_path / "up")
    assert status == 0, err
    assert size(tmp_path / "up" / "dot.png") == (4, 4)


def test_max_pixels(wildsr, pictures, model, tmp_path):
    arguments = ["upscale", pictures / "picture0.png", "--model", model, "--out", tmp_path]
    status, _, err = wildsr(*arguments, "--max-pixels", 112 * 112 - 1)
    assert status == 2
    assert "--max-pixels" in one_line(err)
    assert wildsr(*arguments, "--max-pixels", 112 * 112)[0] == 0


# --------------------------------------------------------------------------------------------------------------- a user's mistakes


def mistakes(tmp_path, pictures, model):
    run, out = ["--run-dir", tmp_path / "run"], ["--out", tmp_path / "out"]
    data, empty = ["--data", pictures], tmp_path / "empty"
    bench = ["bench", "bicubic", "--suite=rdsr8", *out]
    return {
        "unknown verb": (["trian"], "Did you mean 'train'"),
        "unknown option": (["train", "quick", "--dta", "x"], "--dta"),
        "missing argument": (["bench", *data], "Missing"),
        "unknown recipe": (["train", "quik", *data, *run], "unknown recipe 'quik': did you mean 'quick'"),
        "unknown key": (["train", "quick", *data, *run, "--set=stpes=4"], "unknown key 'stpes' (value 4): did you mean 'steps'"),
        "negative steps": (["train", "quick", *data, *run, "--set=steps=-4"], "steps = -4"),
        "no data": (["train", "quick", *run], "--data"),
        "no run directory": (["train", "quick", *data], "--run-dir"),
        "missing folder": (["train", "quick", "--data", tmp_path / "nowhere", *run], "nowhere: no such folder"),
        "empty folder": (["train", "quick", "--data", empty, *run], "empty: holds no picture"),
        "a folder twice": (["train", "quick", *data, *data, *run], "name each folder once"),
        "unwritable run directory": (["train", "quick", *data, "--run-dir", model / "run", *SMALL], "net.safetensors"),
        "run directory is a file": (["train", "quick", *data, "--run-dir", model, *SMALL], "net.safetensors"),
        "unknown device": (["train", "quick", *data, *run, "--device=gpu"], "unknown device 'gpu'"),
        "unknown device to measure on": ([*bench, *data, "--device=tpu"], "unknown device 'tpu'"),
        "missing init": (["train", "quick", *data, *run, "--init", tmp_path / "no.pth"], "no.pth: no such model file"),
        "unknown suite": ([*bench[:2], "--suite=rdsr9", *data, *out], "unknown suite 'rdsr9': did you mean 'rdsr8'"),
        "missing model": (["bench", tmp_path / "no.pth", *bench[2:], *data], "no.pth: no such model file"),
        "no model in folder": (["bench", pictures, *bench[2:], *data], "no model.safetensors in this folder"),
        "no pictures": (bench, "no pictures to measure on: add --data FOLDER"),
        "data for pairs": (["bench", "bicubic", "--suite=paired", *data, *out], "takes its pictures from --lr FOLDER and --hr FOLDER"),
        "pairs for data": ([*bench, *data, "--lr", pictures], "--lr, --hr and --align are for the suite paired"),
        "half a pair": (["bench", "bicubic", "--suite=paired", "--lr", pictures, *out], "1 folders of low resolution and 0 of high"),
        "scale of another suite": (["bench", model, "--suite=rdsr8-x2", *data, *out], "net upscales ×4, suite rdsr8-x2 is ×2"),
        "unknown precision": (["bench", model, *bench[2:], *data, "--precision=fp64"], "unknown precision 'fp64'"),
        "preset and suite": (["degrade", pictures, "--preset=blur", "--suite=rdsr8", *out], "what to make is not clear"),
        "neither": (["degrade", pictures, *out], "what to make is not clear"),
        "suite with inputs": (["degrade", pictures, "--suite=rdsr8", *out], "a suite takes its pictures from --data FOLDER"),
        "suite without data": (["degrade", "--suite=rdsr8", *out], "no pictures to degrade"),
        "suite that makes nothing": (["degrade", "--suite=real", *data, *out], "suite real makes no inputs"),
        "preset with data": (["degrade", pictures, "--preset=blur", *data, *out], "neither --data nor --verify"),
        "suite to nowhere": (["degrade", "--suite=rdsr8", *data], "no place for the inputs: add --out FOLDER, or --verify MANIFEST"),
        "suite with a scale": (["degrade", "--suite=rdsr8", *data, "--scale=2", *out], "--scale is for --preset: a suite has its own"),
        "no manifest": (["degrade", "--suite=rdsr8", *data, "--verify", tmp_path / "no.json"], "no.json: no such file"),
        "other json": (["degrade", "--suite=rdsr8", *data, "--verify", tmp_path / "other.json"], "not a manifest of inputs"),
        "empty set": ([*bench, "--data", empty], "empty: holds no picture"),
        "sets of one name": ([*bench, *data, *data], "two folders are called 'pictures'"),
        "models of one name": (["bench", model, model, *bench[2:], *data], "same name"),
        "no rows": (["report", *out], "nothing to report on: name the rows.jsonl of a benchmark, or --explain FOLDER"),
        "page options without a page": (
            ["report", tmp_path, "--baseline=net", "--markdown=t.md"],
            "--baseline is for the page",
        ),
        "intervals without tables": (["report", tmp_path, "--intervals", *out], "--intervals is for tables"),
        "tables of nothing": (
            ["report", "--explain", tmp_path, *out, "--latex=t.tex"],
            "tables are of the rows of a benchmark",
        ),
        "suites of two scales": ([*bench, "--suite=rdsr8-x2", *data], "rdsr8 is ×4 and rdsr8-x2 is ×2: bench them one by one"),
        "missing rows": (["report", tmp_path / "rows.jsonl", *out], "rows.jsonl"),
        "not a model": (["upscale", pictures / "picture0.png", "--model", pictures / "picture1.png", *out], "picture1.png"),
        "missing input": (["upscale", tmp_path / "no.png", "--model", model, *out], "no.png: no such file"),
        "equal stems": (["upscale", pictures, tmp_path / "picture0.jpg", "--model", model, *out], "would both be written to"),
        "over its input": (["upscale", pictures / "picture0.png", "--model", model, "--out", pictures], "would be overwritten"),
        "unknown preset": (["degrade", pictures, "--preset=blurr", *out], "unknown preset 'blurr': did you mean 'blur'"),
        "equal stems to degrade": (["degrade", pictures, tmp_path / "picture0.jpg", "--preset=blur", *out], "would both be written to"),
        "scale out of range": (["degrade", pictures, "--preset=blur", "--scale=9", *out], "scale = 9: use 2, 3 or 4"),
        "negative seed": (["degrade", pictures, "--preset=blur", "--seed=-1", *out], "seed = -1"),
        "tile too small": (["upscale", pictures / "picture0.png", "--model", model, "--tile=4", *out], "tile = 4"),
        "no pixels": (["upscale", pictures / "picture0.png", "--model", model, "--max-pixels=0", *out], "max-pixels = 0"),
        "out is a file": (["degrade", pictures, "--preset=blur", "--out", model], "net.safetensors: is a file: name a folder"),
        "convert to nothing known": (["convert", model, tmp_path / "a.zip"], "a.zip: what to write is told by the ending"),
        "convert over itself": (["convert", model, model], "is the input and would be overwritten"),
        "no table": (["convert", model, tmp_path / "a.md", "--table", tmp_path / "no.md"], "no.md: no such file"),
        "info on nothing": (["info", tmp_path / "no.safetensors"], "no such model file"),
    }


@pytest.mark.parametrize("name", mistakes(Path(), Path(), Path()))
def test_a_mistake_gets_one_plain_line_and_status_2(wildsr, pictures, model, tmp_path, name):
    (tmp_path / "empty").mkdir()
    (tmp_path / "other.json").write_text("[1]")
    photograph(100, 5).save(tmp_path / "picture0.jpg")
    arguments, message = mistakes(tmp_path, pictures, model)[name]
    status, out, err = wildsr(*arguments)
    assert (status, out) == (2, "")
    assert message in one_line(err)
    assert not (tmp_path / "out").exists()


def test_a_run_directory_of_another_configuration(wildsr, pictures, tmp_path):
    train = ["train", "quick", "--data", pictures, "--run-dir", tmp_path / "run", *SMALL]
    assert wildsr(*train)[0] == 0
    before = (tmp_path / "run" / "model.safetensors").read_bytes()
    status, _, err = wildsr(*train, "--set=seed=4", "--set=network.channels=6")
    assert status == 2
    assert "network.channels was 4 and is 6, seed was 0 and is 4" in one_line(err)
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == before


def test_a_model_that_fails_on_a_picture_gives_a_row_with_an_error_and_status_3(wildsr, pictures, model, tmp_path, monkeypatch):
    def fail(self, lr):
        raise MemoryError("too much")

    monkeypatch.setattr("wildsr.upscale.Model.__call__", fail)
    status, _, _ = wildsr("bench", model, "--suite=rdsr8", "--data", pictures, "--out", tmp_path / "b")
    assert status == 3
    rows = files.read_jsonl(tmp_path / "b" / "rows.jsonl")
    assert all((row["error"] == "MemoryError: too much") == (row["model"] == "net") for row in rows)
    assert all((row["value"] is None) == (row["model"] == "net") for row in rows)
    assert "†" in (tmp_path / "b" / "table.md").read_text()


# ------------------------------------------------------------------------------------------------------------------ other endings


def test_divergence_is_status_1_in_one_line(wildsr, pictures, tmp_path):
    status, _, err = wildsr(
        "train", "quick", "--data", pictures, "--run-dir", tmp_path / "run", *SMALL, "--set=learning_rate=1e38", "--set=steps=8"
    )
    assert status == 1
    assert "at step" in one_line(err)


def test_a_disk_that_is_full_leaves_the_last_save(pictures, tmp_path):
    """A real process that may write no file larger than 100 kB, with weights larger than that."""
    train = [sys.executable, "-m", "wildsr", "train", "quick", "--data", str(pictures), "--run-dir", str(tmp_path / "run")]
    train += ["--set=batch_size=2", "--set=lr_patch=8", "--set=network.channels=24", "--set=network.blocks=2"]
    assert subprocess.run([*train, "--set=steps=1"], capture_output=True).returncode == 0
    before = (tmp_path / "run" / "model.safetensors").read_bytes()

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    failed = subprocess.run([*train, "--set=steps=2"], capture_output=True, text=True, preexec_fn=limit)
    assert failed.returncode == 2
    assert ".safetensors: File too large. The last whole save is kept" in one_line(failed.stderr)
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == before
    assert checkpoint.load_state(tmp_path / "run" / "state")[0] == 1
    assert subprocess.run([*train, "--set=steps=2"], capture_output=True).returncode == 0


def test_our_own_faults_are_status_1_with_the_lines_to_report(wildsr, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr("wildsr.benchmark.find_suite", lambda name: 1 / 0)
    status, _, err = wildsr("bench", "bicubic", "--suite=rdsr8", "--data", pictures, "--out", tmp_path / "out")
    assert status == 1
    assert "Traceback" in err
    assert "please report it" in err


def test_ctrl_c_is_status_130(wildsr, pictures, tmp_path, monkeypatch):
    # Where the tests were started in the background, the signal is ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def interrupt(name):
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr("wildsr.benchmark.find_suite", interrupt)
    status, _, err = wildsr("bench", "bicubic", "--suite=rdsr8", "--data", pictures, "--out", tmp_path / "out")
    signal.signal(signal.SIGINT, before)
    assert (status, err.strip()) == (130, "")


@pytest.mark.parametrize("verb", ["", "demo", "train", "bench", "report", "upscale", "degrade", "info", "convert", "app", "data"])
def test_every_verb_has_help(wildsr, verb):
    status, out, _ = wildsr(*filter(None, [verb]), "--help")
    assert status == 0
    assert "Usage" in out


def test_version(wildsr):
    import wildsr as package

    assert wildsr("--version")[:2] == (0, package.__version__ + "\n")


def test_a_model_of_damaged_weights_is_said_not_drawn_black(wildsr, pictures, tmp_path):
    config = SRResNetConfig(channels=4, blocks=1)
    weights = {name: tensor * float("nan") for name, tensor in SRResNet(config).state_dict().items()}
    checkpoint.save(tmp_path / "nan.safetensors", checkpoint.Checkpoint(config, weights, "ema"))
    status, _, err = wildsr("upscale", pictures / "picture0.png", "--model", tmp_path / "nan.safetensors", "--out", tmp_path / "up")
    assert status == 2
    assert "picture0.png: the model's output is not finite" in one_line(err)
    assert not (tmp_path / "up" / "picture0.png").exists()


def test_a_link_to_nothing_among_the_pictures_is_named(wildsr, pictures):
    (pictures / "lost.png").symlink_to(pictures / "nowhere.png")
    (pictures / "loop").symlink_to(pictures)
    status, out, err = wildsr("data", "check", pictures)
    assert status == 3
    assert "4 pictures, 1 unreadable" in out
    assert "lost.png" in one_line(err)


def test_a_missing_verb_gets_the_help(wildsr):
    status, out, err = wildsr()
    assert (status, out) == (2, "")
    assert "upscale" in err
    assert len(err.splitlines()) > 8


@pytest.mark.parametrize("error", [RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), MemoryError()])
def test_too_little_memory_is_no_fault_of_ours(wildsr, monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("wildsr.jobs.upscale_files", fail)
    status, _, err = wildsr("upscale", "a.png")
    assert status == 2
    assert one_line(err).startswith("wildsr: not enough memory: use smaller pictures")
