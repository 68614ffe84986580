"""`wildsr explain`, whole: arrays, rows, figures and the page, resumed, and what cannot be explained."""

import json
import shutil

import numpy as np
import pytest
import torch
from conftest import one_line, photograph

from wildsr import benchmark, checkpoint, degrade, explain, files, images, interpret, jobs, networks
from wildsr.interpret.clusters import chi_interval

CONFIG = networks.SRResNetConfig(channels=6, blocks=2)
SMALL = ["--side=48", "--limit=2", "--count=6", "--hr-side=48", "--orders=3"]


def save(path, config=CONFIG, seed=0):
    """A model file of random weights, large enough for the network to add detail."""
    torch.manual_seed(seed)
    net = networks.create(config)
    weights = {name: tensor * 3 for name, tensor in net.state_dict().items()}
    checkpoint.save(path, checkpoint.Checkpoint(config, weights, "ema"))
    return path


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return [save(folder / "plain.safetensors"), save(folder / "dropout.safetensors", seed=1)]


@pytest.fixture(scope="module")
def done(models, tmp_path_factory):
    """Everything, worked out once: (folder of pictures, folder of results)."""
    folder = tmp_path_factory.mktemp("explained")
    (folder / "pictures").mkdir()
    for seed in range(3):
        photograph(112, seed).save(folder / "pictures" / f"picture{seed}.png")
    jobs.explain_models(models, [folder / "pictures"], folder / "out", side=48, limit=2, count=6, hr_side=48, orders=3, device="cpu")
    return folder / "pictures", folder / "out"


def arrays(path):
    with np.load(path, allow_pickle=False) as there:
        return {name: there[name] for name in there}


def test_arrays_hold_what_the_room_of_interpretation_finds(done, models):
    pictures, out = done
    found = arrays(out / "arrays/channels/dropout/picture1.npz")
    hr = benchmark.read_hr(pictures / "picture1.png")[:, 30:78, 30:78].clone()
    assert np.array_equal(found["hr"], hr.numpy())
    lr = images.to_float(degrade.fixed(hr, "clean", seed=0))[None]
    assert np.array_equal(found["lr"], images.to_uint8(lr[0]).numpy())
    net = checkpoint.build(checkpoint.load(models[1]))
    assert found["scores"] == pytest.approx(interpret.saliency(net, lr).scores.double().numpy())
    assert found["drops"] == pytest.approx(interpret.ablate(net, lr, hr).drops, abs=1e-6)
    assert found["index"] == pytest.approx(interpret.cumulative(net, lr, hr).psnrs[0], abs=1e-6)
    assert found["random"].shape == (3, 7)
    assert found["index"][0] == pytest.approx(found["psnr"], abs=1e-6)
    assert found["index"][-1] == pytest.approx(found["reverse"][-1], abs=1e-6), "with all channels off, the order is immaterial"
    assert json.loads(str(found["about"]))["weights_sha256"] == checkpoint.load(models[1]).weights_sha256


def test_rows_name_model_weights_site_and_code(done):
    _, out = done
    rows = files.read_jsonl(out / "rows.jsonl")
    assert {row["kind"] for row in rows} == {"channels", "lam", "ddr", "srga", "cosine"}
    for row in rows:
        assert {"kind", "model", "weights_sha256", "site", "image", "code_version", "key", "value"} <= row.keys()
        assert row["code_version"] == files.code_version()
    drops = [row for row in rows if (row["key"], row["model"], row["image"]) == ("psnr drop", "plain", "picture0")]
    assert [row["channel"] for row in drops] == list(range(6))
    assert [row["value"] for row in drops] == pytest.approx(arrays(out / "arrays/channels/plain/picture0.npz")["drops"])
    cosines = {row["degradation"]: row["value"] for row in rows if (row["kind"], row["model"]) == ("cosine", "plain")}
    assert set(cosines) == {"blur", "noise", "jpeg", "b+n+j"}
    assert all(0 < value < 1 for value in cosines.values())


def test_clusters_are_of_pieces_in_five_degradations(done):
    _, out = done
    found = arrays(out / "arrays/ddr/plain/all.npz")
    assert len(found["labels"]) == 30
    assert set(found["labels"]) == {"clean", "blur", "noise", "jpeg", "b+n+j"}
    assert [*dict.fromkeys(found["names"])] == [f"picture{i}-{piece}" for piece in (1, 2) for i in range(3)]
    assert found["embeddings"].shape == (3, 30, 2)
    assert found["chi"][0] == pytest.approx(interpret.chi(torch.from_numpy(found["scores"]), list(found["labels"])))
    of = {name: name.partition("-")[0] for name in found["names"].tolist()}
    interval = chi_interval(torch.from_numpy(found["scores"]), found["labels"].tolist(), found["names"].tolist(), of)
    assert found["chi"] == pytest.approx(interval), "over three photographs, not over six pieces"


def test_means_are_of_one_protocol(wildsr, done, models, tmp_path):
    pictures, out = done
    shutil.copytree(out, tmp_path / "out")
    asked = ["explain", *models, "--what=csm", "--orders=3", "--out", tmp_path / "out", "--images"]
    status, _, err = wildsr(*asked, pictures / "picture2.png", "--side=60")
    assert status == 2
    assert "holds channels of plain on picture0 with side 48, not 60: use another --out" in one_line(err)
    assert arrays(tmp_path / "out/arrays/channels/plain/picture0.npz").keys() == arrays(out / "arrays/channels/plain/picture0.npz").keys()
    status, _, err = wildsr(*asked, pictures, "--side=60")
    assert status == 0, err


def test_figures_and_the_page_are_there(done):
    _, out = done
    names = {path.name for path in (out / "figures").iterdir()}
    for stem in ("ablation", "inequality", "cumulative", "ddr", "chi", "srga", "cosine", "csm-seismic-picture0", "csm-uniform-picture1"):
        assert {f"{stem}.png", f"{stem}.svg"} <= names
    page = (out / "explain.html").read_text()
    assert "picture1" in page
    assert "plain" in page


def test_the_same_arguments_again_have_nothing_to_do(done, models, tmp_path, monkeypatch):
    pictures, out = done
    shutil.copytree(out, tmp_path / "out")
    calls = []
    original = explain.channels
    monkeypatch.setattr("wildsr.explain.channels", lambda *given: calls.append(given[1].name) or original(*given))
    again = {"side": 48, "limit": 2, "count": 6, "hr_side": 48, "orders": 3, "device": "cpu"}
    jobs.explain_models(models, [pictures], tmp_path / "out", **again)
    assert calls == []
    assert (tmp_path / "out/rows.jsonl").read_bytes() == (out / "rows.jsonl").read_bytes()
    # What was cut short, or is of other settings, is worked out again.
    cut = tmp_path / "out/arrays/channels/plain/picture0.npz"
    cut.write_bytes(cut.read_bytes()[:1000])
    jobs.explain_models(models, [pictures], tmp_path / "out", **again)
    assert calls == ["picture0"]
    jobs.explain_models(models, [pictures], tmp_path / "out", what=["csm"], rescale="none", **again)
    assert calls == ["picture0"] + ["picture0", "picture1"] * 2


def test_another_model_joins_and_former_weights_go(done, models, tmp_path):
    again = {"what": ["csm"], "side": 48, "limit": 1, "device": "cpu"}
    mine = shutil.copy(models[0], tmp_path / "mine.safetensors")
    jobs.explain_models([mine], [done[0]], tmp_path / "out", **{**again, "limit": 2})
    jobs.explain_models([models[1]], [done[0]], tmp_path / "out", **again)
    places = {(row["model"], row["image"]) for row in files.read_jsonl(tmp_path / "out" / "rows.jsonl")}
    assert places == {("mine", "picture0"), ("mine", "picture1"), ("dropout", "picture0")}
    save(mine, seed=5)
    jobs.explain_models([mine], [done[0]], tmp_path / "out", **again)
    places = {(row["model"], row["image"]) for row in files.read_jsonl(tmp_path / "out" / "rows.jsonl")}
    assert places == {("mine", "picture0"), ("dropout", "picture0")}
    assert not (tmp_path / "out/arrays/channels/mine/picture1.npz").exists()


def test_what_is_asked_for_later_joins_what_is_there(done, models, tmp_path, monkeypatch):
    asked: list[list[str]] = []
    original = explain.channels
    monkeypatch.setattr("wildsr.explain.channels", lambda *given: asked.append(list(given[2])) or original(*given))
    for what in (["csm", "ablation"], ["features"], ["ablation"], ["cumulative", "csm"]):
        jobs.explain_models(models[:1], [done[0]], tmp_path / "out", what=what, side=48, limit=1, orders=3, device="cpu")
    assert asked == [["csm", "ablation"], ["features"], ["cumulative"]]
    path = "arrays/channels/plain/picture0.npz"
    found, wanted = arrays(tmp_path / "out" / path), arrays(done[1] / path)
    assert found.keys() == wanted.keys()
    for name in wanted.keys() - {"about", "rows"}:
        assert np.array_equal(found[name], wanted[name], equal_nan=True), name
    mine, all_at_once = (
        {json.dumps(row, sort_keys=True) for row in files.read_jsonl(folder / "rows.jsonl") if row["kind"] == "channels"}
        for folder in (tmp_path / "out", done[1])
    )
    assert mine == {row for row in all_at_once if json.loads(row)["model"] == "plain" and json.loads(row)["image"] == "picture0"}


def test_a_model_of_another_width_costs_the_figures_that_compare_channels_alone(wildsr, done, models, tmp_path):
    wide = save(tmp_path / "wide.safetensors", networks.SRResNetConfig(channels=8, blocks=2))
    for model in (models[0], wide, models[0]):
        status, _, err = wildsr("explain", model, "--images", done[0], "--what=csm,ablation", "--out", tmp_path / "out", *SMALL)
        assert status == 0, err
    (line,) = err.splitlines()
    assert line.startswith("figures are left out: ")
    assert "8 channels, but" in line
    assert (tmp_path / "out" / "figures" / "ablation.png").is_file()
    assert "wide" in (tmp_path / "out" / "explain.html").read_text(encoding="utf-8")


def test_the_side_of_pieces_fits_the_scale_unless_it_is_given(wildsr, done, tmp_path):
    triple = save(tmp_path / "triple.safetensors", networks.SRResNetConfig(channels=6, blocks=2, scale=3))
    status, _, err = wildsr("explain", triple, "--images", done[0], "--what=csm", "--side=48", "--limit=1", "--out", tmp_path / "out")
    assert status == 0, err
    status, _, err = wildsr("explain", triple, "--images", done[0], "--what=ddr", "--hr-side=128", "--out", tmp_path / "out")
    assert status == 2
    assert "hr-side = 128: use a multiple of 3 from 36 on" in one_line(err)


def test_a_run_s_snapshots_are_clusters_of_their_own(tmp_path, models, done):
    run = tmp_path / "run"
    (run / "snapshots").mkdir(parents=True)
    shutil.copy(models[0], run / "model.safetensors")
    for step in (100, 200):
        save(run / "snapshots" / f"{step:08d}.safetensors", seed=step)
    jobs.explain_models([run], [done[0]], tmp_path / "out", what=["ddr"], count=6, hr_side=48, snapshots=True, device="cpu")
    assert {path.name for path in (tmp_path / "out/arrays/ddr/run").iterdir()} == {"all.npz", "step-000100.npz", "step-000200.npz"}
    assert (tmp_path / "out/figures/chi-steps.png").is_file()


def test_the_command_line(wildsr, models, done, tmp_path):
    status, out, err = wildsr("explain", *models, "--images", done[0], "--what=csm,lam", "--out", tmp_path / "out", *SMALL)
    assert (status, out.strip()) == (0, str(tmp_path / "out" / "explain.html")), err
    assert not (tmp_path / "out/arrays/ddr").exists()
    status, out, err = wildsr("report", "--explain", tmp_path / "out", "--out", tmp_path / "page.html")
    assert status == 0, err


@pytest.mark.parametrize(
    "name", ["what", "site", "pieces", "degradations", "width", "scale", "names", "constant", "small", "side", "rescale"]
)
def test_mistakes(wildsr, models, done, tmp_path, name):
    pictures, flat = done[0], tmp_path / "flat"
    flat.mkdir()
    images.write(flat / "flat.png", torch.full((3, 96, 96), 90, dtype=torch.uint8))
    images.write(tmp_path / "tiny" / "tiny.png", torch.zeros(3, 20, 20, dtype=torch.uint8))
    wide = save(tmp_path / "wide.safetensors", networks.SRResNetConfig(channels=8, blocks=2))
    double = save(tmp_path / "double.safetensors", networks.SRResNetConfig(channels=6, blocks=2, scale=2))
    given, message = {
        "what": ([*models, "--what=cms"], "unknown --what 'cms': did you mean 'csm'?"),
        "site": ([*models, "--site=blok1"], "block1"),
        "pieces": ([*models, "--what=ddr", "--count=500", "--hr-side=48"], "there are 12 pieces of 48×48 in 3 pictures, not 500"),
        "degradations": ([*models, "--what=ddr", "--count=4", "--hr-side=48"], "4 pictures for 5 clusters"),
        "width": ([models[0], wide, "--what=csm"], "plain has 6 channels, wide has 8 channels: compare networks of one width"),
        "scale": ([models[0], double], "models of several scales"),
        "names": ([models[0], models[0]], "two models would have the same name: plain, plain"),
        "constant": ([models[0], "--what=csm", "--images", flat], "the saliency of a constant picture is undefined"),
        "small": ([models[0], "--what=csm", "--images", tmp_path / "tiny"], "tiny.png: 12×12 is too small"),
        "side": ([models[0], "--side=8"], "side = 8: use 24 pixels at least"),
        "rescale": ([models[0], "--what=ablation", "--rescale=sum", "--side=48"], "unknown rescale 'sum'"),
    }[name]
    pictures = [] if "--images" in given else ["--images", pictures]
    status, _, err = wildsr("explain", *given, *pictures, "--out", tmp_path / "out")
    assert status == 2
    assert message in one_line(err)
    assert not (tmp_path / "out" / "rows.jsonl").exists()
