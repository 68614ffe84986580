"""The command line of the benchmark: frozen inputs, resuming, joining, reports in every form."""

import dataclasses
import json
import lzma

import torch
from conftest import one_line, photograph

from wildsr import benchmark, checkpoint, degrade, files, images, networks, upscale


def test_bench_and_degrade_make_the_same_bytes(wildsr, pictures, tmp_path):
    status, _, err = wildsr("bench", "bicubic", "--suite=rdsr8", "--data", pictures, "--out", tmp_path / "bench", "--seed", 5)
    assert status == 0, err
    (manifest,) = json.loads((tmp_path / "bench" / "manifest.json").read_text())
    assert {name: len(found) for name, found in manifest["sets"]["pictures"].items()} == {f"picture{i}": 9 for i in range(3)}
    for preset in ("clean", "noise", "b+n+j"):
        status, _, err = wildsr("degrade", pictures, "--preset", preset, "--seed", 5, "--out", tmp_path / preset)
        assert status == 0, err
        for name in ("picture0", "picture2"):
            benched = tmp_path / "bench" / "lr" / "rdsr8" / "pictures" / preset / f"{name}.png"
            assert (tmp_path / preset / f"{name}.png").read_bytes() == benched.read_bytes()
            assert images.pixels_sha256(images.read(benched)) == manifest["sets"]["pictures"][name][preset]
    wildsr("degrade", pictures, "--preset", "noise", "--seed", 6, "--out", tmp_path / "other")
    other = images.read(tmp_path / "other" / "picture0.png")
    assert images.pixels_sha256(other) != manifest["sets"]["pictures"]["picture0"]["noise"]


def test_a_suite_is_written_for_other_tools_and_verified(wildsr, pictures, tmp_path):
    lr, manifest = tmp_path / "lr", tmp_path / "lr" / "manifest.json"
    status, out, err = wildsr("degrade", "--suite=rdsr8", "--data", pictures, "--out", lr)
    assert (status, out.strip()) == (0, f"{lr}: 24 inputs and manifest.json"), err
    folders = "bicubic blur2_bicubic bicubic_noise20 bicubic_jepg50 blur2_bicubic_noise20 blur2_bicubic_jepg50 bicubic_noise20_jepg50"
    assert {path.name for path in (lr / "pictures" / "LR_degra").iterdir()} == {*folders.split(" "), "blur2_bicubic_noise20_jepg50"}
    hr = images.read(lr / "pictures" / "HR" / "x4" / "picture1.png")
    assert torch.equal(hr, benchmark.read_hr(pictures / "picture1.png"))
    noisy = images.read(lr / "pictures" / "LR_degra" / "blur2_bicubic_noise20_jepg50" / "picture1.png")
    assert torch.equal(noisy, degrade.fixed(hr, "b+n+j", seed=0))

    verified = "degrade", "--suite=rdsr8", "--verify", manifest
    assert wildsr(*verified, "--data", pictures)[:2] == (0, "27 inputs as the manifest has them, 0 not\n")
    assert wildsr(*verified, "--out", lr)[:2] == (0, "27 inputs as the manifest has them, 0 not\n")
    (lr / "pictures" / "LR_degra" / "bicubic" / "picture0.png").unlink()
    images.write(lr / "pictures" / "LR_degra" / "bicubic_jepg50" / "picture0.png", noisy)
    status, out, err = wildsr(*verified, "--out", lr)
    assert (status, out) == (3, "25 inputs as the manifest has them, 2 not\n")
    assert "pictures/picture0 clean: missing" in err
    assert "pictures/picture0 jpeg: other pixels (" in err
    status, _, err = wildsr(*verified, "--data", pictures, "--seed", 1)
    assert (status, "seed 0, not 1: such inputs cannot be compared" in one_line(err)) == (2, True)
    status, _, err = wildsr("degrade", "--suite=unseen", "--verify", manifest, "--data", pictures)
    assert (status, "a manifest of rdsr8, not of unseen" in one_line(err)) == (2, True)
    # Another picture under a known name is found out.
    images.write(pictures / "picture2.png", images.read(pictures / "picture1.png"))
    status, out, err = wildsr(*verified, "--data", pictures)
    assert (status, out) == (3, "18 inputs as the manifest has them, 9 not\n")
    assert "pictures/picture2 hr: other pixels" in err
    (pictures / "picture2.png").unlink()
    status, out, err = wildsr(*verified, "--data", pictures)
    assert (status, out) == (3, "18 inputs as the manifest has them, 1 not\n")
    assert "pictures/picture2: the manifest names it, the set lacks it" in err


def test_what_is_written_for_other_tools_replaces_nothing(wildsr, tmp_path):
    """Neither the ground truth, where it lies as the result would, nor what others left there."""
    truth, theirs = tmp_path / "sets/Own/HR/x4/a.png", tmp_path / "sets/Own/LR_degra/X4_blur2/a.png"
    for path, width in ((truth, 53), (theirs, 12)):
        path.parent.mkdir(parents=True)
        photograph(50, 1).resize((width, 50)).save(path)
    before = truth.read_bytes(), theirs.read_bytes()
    degrade = ("degrade", "--suite=rdsr8", "--data", tmp_path / "sets/Own", "--out")
    status, _, err = wildsr(*degrade, tmp_path / "sets")
    assert status == 2
    assert "Own/HR/x4/a.png: is there already and holds another picture: use another --out" in one_line(err)
    assert (truth.read_bytes(), theirs.read_bytes()) == before
    for _ in range(2):  # our own files are no obstacle
        assert wildsr(*degrade, tmp_path / "out")[0] == 0
    assert wildsr("degrade", "--suite=rdsr8", "--out", tmp_path / "out", "--verify", tmp_path / "out/manifest.json")[0] == 0


def test_a_bench_writes_nothing_over_what_it_measures_on(wildsr, tmp_path):
    truth = tmp_path / "hr" / "pets" / "cat.png"
    truth.parent.mkdir(parents=True)
    photograph(67, 1).save(truth)
    before = truth.read_bytes()
    for data in (tmp_path, truth.parent):
        status, _, err = wildsr("bench", "bicubic", "--suite=resizers", "--data", data, "--out", tmp_path)
        assert status == 2
        assert f"{truth}: would be among the pictures that are written to {tmp_path / 'hr'}: use another --out" in one_line(err)
    assert truth.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["hr"]
    assert wildsr("bench", "bicubic", "--suite=resizers", "--data", tmp_path, "--out", tmp_path, "--no-pictures")[0] == 0
    assert truth.read_bytes() == before


def test_two_benches_do_not_measure_into_one_folder(wildsr, pictures, tmp_path):
    bench = ("bench", "bicubic", "--suite=resizers", "--data", pictures, "--out", tmp_path / "out")
    with files.exclusive(tmp_path / "out" / ".bench.lock", ""):
        status, _, err = wildsr(*bench)
    assert status == 2
    assert "out: another process is measuring into it: wait for it, or use another --out" in one_line(err)
    assert wildsr(*bench)[0] == 0


def test_an_interrupted_bench_goes_on_and_ends_the_same(wildsr, pictures, model, tmp_path, monkeypatch):
    def bench(out):
        return wildsr("bench", model, "--suite=rdsr8", "--data", pictures, "--out", out)

    assert bench(tmp_path / "straight")[0] == 0
    calls = []
    original = upscale.Model.__call__

    def interrupted(self, lr):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(len(lr))
        return original(self, lr)

    monkeypatch.setattr("wildsr.upscale.Model.__call__", interrupted)
    assert bench(tmp_path / "broken")[0] == 130
    assert calls == [8, 8]
    assert not (tmp_path / "broken" / "rows.jsonl").exists()
    # A crash in the middle of a line spoils no other.
    journal = tmp_path / "broken" / "rows.partial.jsonl"
    journal.write_text(journal.read_text() + '{"rows": [{"model": "net", ')

    def counted(self, lr):
        calls.append(len(lr))
        return original(self, lr)

    monkeypatch.setattr("wildsr.upscale.Model.__call__", counted)
    written = len(journal.read_text().splitlines())
    with monkeypatch.context() as kept:
        kept.setattr("pathlib.Path.unlink", lambda path, missing_ok=False: None)
        assert bench(tmp_path / "broken")[0] == 0
    assert len(journal.read_text().splitlines()) == written + 1, "the network on the last picture"
    journal.unlink()
    assert calls == [8, 8, 8], "one picture was left"
    assert not journal.exists()
    for name in ("rows.jsonl", "table.md", "manifest.json", "report.html"):
        assert (tmp_path / "broken" / name).read_bytes() == (tmp_path / "straight" / name).read_bytes()
    assert bench(tmp_path / "broken")[0] == 0
    assert calls == [8, 8, 8], "nothing was left"


def test_a_model_joins_a_bench_that_is_there(wildsr, pictures, model, tmp_path):
    out = tmp_path / "out"
    assert wildsr("bench", model, "--suite=resizers", "--data", pictures, "--out", out)[0] == 0
    assert wildsr("bench", "lanczos", "--suite=resizers", "--data", pictures, "--out", out)[0] == 0
    rows = files.read_jsonl(out / "rows.jsonl")
    assert {row["model"] for row in rows} == {"bicubic", "lanczos", "net"}
    assert wildsr("bench", "nearest", "--suite=rdsr8", "--data", pictures, "--out", out, "--no-pictures")[0] == 0
    rows = files.read_jsonl(out / "rows.jsonl")
    assert {(row["suite"], row["model"]) for row in rows} == {
        *(("resizers", name) for name in ("bicubic", "lanczos", "net")),
        *(("rdsr8", name) for name in ("bicubic", "nearest")),
    }
    assert not (out / "images" / "rdsr8").exists()
    status, _, err = wildsr("bench", "nearest", "--suite=rdsr8", "--data", pictures, "--out", out, "--seed=1")
    assert status == 2
    assert "seed" in one_line(err)
    assert "use another --out" in one_line(err)


def test_of_a_model_with_other_weights_the_earlier_rows_go(wildsr, pictures, model, tmp_path):
    out = tmp_path / "out"
    for suite in ("resizers", "rdsr8"):
        assert wildsr("bench", model, "lanczos", f"--suite={suite}", "--data", pictures, "--out", out, "--no-page")[0] == 0
    (tmp_path / "other").mkdir()
    other = tmp_path / "other" / model.name
    there = checkpoint.load(model)
    checkpoint.save(other, dataclasses.replace(there, weights={name: 0.5 * value for name, value in there.weights.items()}))
    status, _, err = wildsr("bench", other, "--suite=resizers", "--data", pictures, "--out", out)
    assert status == 0, err
    assert f"net: {out} holds rows of other weights under this name, which go" in err
    rows = files.read_jsonl(out / "rows.jsonl")
    assert {row["weights_sha256"] for row in rows if row["model"] == "net"} == {checkpoint.load(other).weights_sha256}
    assert {row["suite"] for row in rows if row["model"] == "net"} == {"resizers"}
    assert {row["suite"] for row in rows if row["model"] == "lanczos"} == {"resizers", "rdsr8"}


def test_compressed_rows_are_joined(wildsr, pictures, tmp_path):
    out = tmp_path / "out"
    assert wildsr("bench", "lanczos", "--suite=resizers", "--data", pictures, "--out", out)[0] == 0
    (out / "rows.jsonl.xz").write_bytes(lzma.compress((out / "rows.jsonl").read_bytes()))
    (out / "rows.jsonl").unlink()
    assert wildsr("bench", "nearest", "--suite=resizers", "--data", pictures, "--out", out)[0] == 0
    assert {row["model"] for row in files.read_jsonl(out / "rows.jsonl")} == {"bicubic", "lanczos", "nearest"}
    assert not (out / "rows.jsonl.xz").exists(), "xz can write it again"


def test_averaged_and_raw_weights_of_one_file_are_both_measured(wildsr, pictures, tmp_path):
    config = networks.SRResNetConfig(channels=4, blocks=1)
    averaged, raw = (networks.create(config).state_dict() for _ in range(2))
    torch.save({"params": raw, "params_ema": averaged}, tmp_path / "theirs.pth")
    status, _, err = wildsr("bench", tmp_path / "theirs.pth", "--suite=resizers", "--data", pictures, "--out", tmp_path / "out")
    assert status == 0, err
    assert "theirs.pth holds params_ema and params: both are measured" in err
    rows = files.read_jsonl(tmp_path / "out" / "rows.jsonl")
    found = {row["model"]: (row["weights_key"], row["weights_sha256"]) for row in rows}
    assert found == {
        "bicubic": (None, None),
        "theirs": ("params_ema", checkpoint.weights_sha256(averaged)),
        "theirs-params": ("params", checkpoint.weights_sha256(raw)),
    }


def test_reports_in_every_form(wildsr, pictures, tmp_path):
    assert wildsr("bench", "lanczos", "--suite=resizers", "--data", pictures, "--out", tmp_path / "bench", "--no-page")[0] == 0
    assert not (tmp_path / "bench" / "report.html").exists()
    written = [tmp_path / name for name in ("page.html", "tables.md", "tables.tex")]
    forms = [word for option, path in zip(("--out", "--markdown", "--latex"), written, strict=True) for word in (option, path)]
    status, out, err = wildsr("report", tmp_path / "bench", *forms)
    assert (status, out.split()) == (0, [str(path) for path in written]), err
    assert written[1].read_text() == (tmp_path / "bench" / "table.md").read_text()
    assert "\\toprule" in written[2].read_text()
    status, _, err = wildsr("report", tmp_path / "bench")
    assert (status, "nothing to write" in one_line(err)) == (2, True)


def test_the_help_names_every_suite(wildsr):
    status, out, _ = wildsr("bench", "--help")
    assert status == 0
    assert set(benchmark.SUITES) <= set(out.replace(",", " ").replace(";", " ").split())
