"""Sweeps: the points of a file, their configurations before any work, runs that continue, and numbers that can be recomputed by hand."""

import contextlib
import json
import math
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import photograph
from PIL import Image

from wildsr import checkpoint, config, files, jobs, recipes, sweep, upscale
from wildsr.errors import TrainingDivergedError, UserError
from wildsr.sweep import figure, results
from wildsr.train import TrainConfig

ROOT = Path(__file__).parents[1]

SMALL = """
recipe = "bicubic-srresnet"
suite = "resizers"
{seeds}
[set]
steps = 3
batch_size = 2
lr_patch = 8
learning_rate = 1e-2
degradation.canvas = 96
precision = "fp32"
save_every = 1
network = {{ channels = 4, blocks = 2 }}

[grid.dropout]
none = {{ regularizers = [] }}
last = {{ regularizers = [{{ name = "dropout", p = 0.5 }}] }}
{grid}
"""


def write(folder, grid="", seeds="seeds = [0, 1]"):
    path = folder / "sweep.toml"
    path.write_text(SMALL.format(grid=grid, seeds=seeds))
    return path


def made(text, folder, suffix="toml"):
    path = folder / f"file.{suffix}"
    path.write_text(text)
    return sweep.read(path)


def planned(text, folder, **overrides):
    return sweep.plan(made(text, folder), overrides)


def state(folder):
    """Every file's bytes and time."""
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


# ------------------------------------------------------------------------------------------------------------- points and their labels

TOP = 'recipe = "bicubic-srresnet"\nsuite = "resizers"\n'


def test_points_are_the_product_of_the_axes_and_those_beside_it(tmp_path):
    text = f"""{TOP}
        [grid.training]
        bicubic = {{}}
        multi = {{ recipe = "real-srresnet", network.blocks = 4 }}
        [grid]
        "regularizers.0.p" = [0.1, 2e-1]
        [points]
        plain = {{ regularizers = [] }}"""
    points = sweep.points(made(text, tmp_path))
    assert [point.label for point in points] == [
        "plain",
        "training=bicubic,p=0.1",
        "training=bicubic,p=0.2",
        "training=multi,p=0.1",
        "training=multi,p=0.2",
    ]
    assert points[0] == ("plain", {}, {"regularizers": []})
    overrides = {"recipe": "real-srresnet", "network.blocks": 4, "regularizers.0.p": 0.1}
    assert points[3] == ("training=multi,p=0.1", {"training": "multi", "p": 0.1}, overrides)


def test_axes_with_one_ending_keep_their_whole_keys(tmp_path):
    text = TOP + '[grid]\n"regularizers.0.p" = [0.1]\n"regularizers.1.p" = [0.2]\nsteps = [1]'
    (point,) = sweep.points(made(text, tmp_path))
    assert point.label == "regularizers.0.p=0.1,regularizers.1.p=0.2,steps=1"


def test_labels_are_fit_for_any_file_system_and_stay_apart(tmp_path):
    curve, wild = [[[0, 0.7], [1, 0]]], ["a/b\\c:d", "../up", 'x,y=z "', "long " * 60, "long " * 60 + "er", "ß"]
    values = json.dumps([*wild, *curve, True])
    labels = [point.label for point in sweep.points(made(f"{TOP}[grid]\nkey = {values}", tmp_path))]
    assert len({label.casefold() for label in labels}) == len(wild) + 2
    for label in labels:
        assert label.startswith("key=")
        assert len(label) < 100
        assert not set(label.removeprefix("key=")) & set('/\\:*?"<>|,= ')
        assert not label.endswith(".")
    assert labels[-2:] == ["key=0-0.7-1-0", "key=true"]


def test_yaml_says_the_same_as_toml(tmp_path):
    toml = made(TOP + 'seeds = [3, 4]\nset.steps = 5\n[grid]\n"regularizers.0.p" = [0.1]\n[grid.kind]\na = { ema = 0.5 }', tmp_path)
    yaml = "recipe: bicubic-srresnet\nsuite: resizers\nseeds: [3, 4]\nset: {steps: 5}\n"
    yaml += "grid:\n  regularizers.0.p: [0.1]\n  kind:\n    a: {ema: 0.5}\n"
    assert made(yaml, tmp_path, "yaml") == toml


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TOP + "seed = 1\n[grid]\nema = [0.5]", r"unknown key 'seed' \(value 1\): did you mean 'seeds'\?"),
        ('suite = "resizers"\n[grid]\nema = [0.5]', "recipe"),
        (TOP, "grid"),
        (TOP + "grid = {}", r"grid: there is no axis: write \[grid\]"),
        (TOP + "[grid]\nema = []", r"axis 'ema' = \[\]: give it a list of values, or a table of labels"),
        (TOP + "[grid]\nema = 0.5", r"axis 'ema' = 0\.5: give it a list"),
        (TOP + "[grid.dropout]", "axis 'dropout' = {}"),
        (TOP + "[grid]\nnetwork.blocks = [2, 4]", r'"network\.blocks" = \[\.\.\.\]'),
        (TOP + "seeds = []\n[grid]\nema = [0.5]", r"seeds = \[\]"),
        (TOP + "seeds = [-1]\n[grid]\nema = [0.5]", "seeds"),
        (TOP + "seeds = [1, 2, 1]\n[grid]\nema = [0.5]", r"seeds: \[1, 2, 1\] names a seed twice"),
    ],
)
def test_files_are_strict(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        made(text, tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[grid]\nema = [0.5, 0.5]", "two points would be called 'ema=0.5'"),
        ("[grid.x]\na = {ema = 0.1}\nA = {ema = 0.2}", "two points would be called 'x=A'"),
        ("[grid]\nema = [0.5]\n[points]\nbicubic = {}", "two points would be called 'bicubic'"),
        ("[grid]\nema = [0.5]\n[grid.r]\na = {}\nb = {recipe = 'bicubic-srresnett'}", r"run ema=0.5,r=b,seed=0: unknown recipe .* did you"),
        ("[grid]\nema = [0.5, 0.6, 1.5]", r"run ema=1\.5,seed=0: ema = 1\.5"),
        (
            "[grid]\nema = [0.5]\n[points]\nodd = {network.blok = 3}",
            r"run odd,seed=0: unknown key 'network.*blok' \(value 3\)",
        ),
        ("[grid]\n'regularizers.0.p' = [0.1]", r"run p=0\.1,seed=0: regularizers\.0\.p: 'regularizers\.0' is not there"),
        ("[grid.s]\na = {}\nb = {regularizers = [{name = 'dropout', site = 'lats'}]}", r"run s=b,seed=0: SRResNet has no site 'lats'"),
        ("[grid]\nseed = [1, 2]", r"run seed=1,seed=0: seed = 1: name the seeds once for all runs"),
        ("[grid]\nscale = [4, 2]", r"run scale=2,seed=0: scale = 2, but suite resizers is ×4"),
        ("[grid.x]\na = {}\nb = {ema = 0.999}", "x=a,seed=0 and x=b,seed=0 would be the same training"),
        ("[grid]\nrecipe = ['bicubic-srresnet', 'bicubic-srresnet-dropout']\n[points]\nold = {}", "would be the same training"),
    ],
)
def test_every_mistake_in_any_point_is_said_with_its_label(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        planned(TOP + text, tmp_path)


@pytest.mark.parametrize("name", ["real", "paired"])
def test_a_suite_that_is_not_made_from_ground_truth_is_refused_before_any_work(tmp_path, name):
    with pytest.raises(UserError, match=f"suite {name}: a sweep measures on inputs made from ground truth: use rdsr8, "):
        planned(TOP.replace('"resizers"', f'["resizers", "{name}"]') + "[grid]\nema = [0.5]", tmp_path)


def test_an_unknown_suite_is_a_users_mistake(tmp_path):
    with pytest.raises(UserError, match="unknown suite 'resizer': did you mean 'resizers'"):
        planned(TOP.replace("resizers", "resizer") + "[grid]\nema = [0.5]", tmp_path)


def test_overrides_come_in_layers(tmp_path):
    text = TOP + "seeds = [4, 7]\nset = {steps = 5, ema = 0.1}\n[grid]\nema = [0.2, 0.3]\n[grid.net]\nbig = {steps = 6, network.blocks = 3}"
    runs = planned(text, tmp_path, **{"network.blocks": 2})
    assert [run.label for run in runs] == [f"ema={ema},net=big,seed={seed}" for seed in (4, 7) for ema in (0.2, 0.3)]
    assert [(run.config.ema, run.config.seed) for run in runs] == [(0.2, 4), (0.3, 4), (0.2, 7), (0.3, 7)]
    assert {(run.config.steps, run.config.network.blocks, run.config.recipe) for run in runs} == {(6, 2, "bicubic-srresnet")}
    for key in ("ema", "seed"):
        with pytest.raises(UserError, match=f"--set {key}: the sweep itself sets {'seeds' if key == 'seed' else 'ema'}"):
            planned(text, tmp_path, **{key: 0})


def test_a_part_is_replaced_before_something_in_it_is_set(tmp_path):
    text = TOP + '[grid]\n"regularizers.0.p" = [0.1, 0.2]\n[grid.kind]\nelement = {regularizers = [{name="dropout", dimension="element"}]}'
    runs = planned(text, tmp_path)
    assert [(run.config.regularizers[0].p, run.config.regularizers[0].dimension) for run in runs] == [(0.1, "element"), (0.2, "element")]


def test_points_do_not_change_one_another_nor_what_the_file_sets(tmp_path):
    text = f"""{TOP}seeds = [0, 1]
        [set]
        regularizers = [{{ name = "dropout" }}]
        [grid.x]
        weak = {{ "regularizers.0.p" = 0.1 }}
        early = {{ "regularizers.0.site" = "block4" }}
        published = {{}}"""
    runs = planned(text, tmp_path)
    found = [(run.config.regularizers[0].p, run.config.regularizers[0].site) for run in runs]
    assert found == [(0.1, "last"), (0.7, "block4"), (0.7, "last")] * 2
    assert runs[0].point.overrides == {"regularizers.0.p": 0.1}


def test_a_later_level_wins_also_where_it_replaces_a_part_whole(tmp_path):
    text = f"""{TOP}
        [set]
        regularizers = [{{ name = "dropout" }}]
        "regularizers.0.p" = 0.3
        [grid.x]
        a = {{ ema = 0.1 }}
        b = {{ ema = 0.2, regularizers = [{{ name = "dropout", p = 0.5 }}] }}
        c = {{ ema = 0.3, "regularizers.0.p" = 0.1 }}"""
    assert [run.config.regularizers[0].p for run in planned(text, tmp_path)] == [0.3, 0.5, 0.1]
    over = {"regularizers": [{"name": "dropout", "p": 0.9}]}
    assert [run.config.regularizers[0].p for run in planned(text, tmp_path, **over)] == [0.9, 0.9, 0.9]


def test_the_notes_of_an_option_file_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("wildsr.recipes.load", lambda name: (recipes.find("bicubic-srresnet"), [f"{name}: said"]))
    assert [run.notes for run in planned(TOP + "[grid]\nema = [0.5]", tmp_path)] == [["bicubic-srresnet: said"]]


# ------------------------------------------------------------------------------------------------------------- the files of the papers


def test_the_choice_of_the_default_recipe_is_the_one_that_was_made():
    """Each run is what its kept configuration says; the chosen one, which had no name yet, is the recipe but for its steps."""
    runs = {run.label: run.config for run in sweep.plan(sweep.read(ROOT / "sweeps" / "default.toml"), {})}
    assert {run.lr_patches for run in runs.values()} == {16}
    for label, planned in runs.items():
        name = label.removeprefix("training=").replace(",seed=", "-seed")
        kept = config.build(TrainConfig, files.read_json(ROOT / "results" / "choice" / "runs" / name / "config.json"))
        assert {**planned.identity(), "recipe": ""} == {**kept.identity(), "recipe": ""}, label
    chosen, default = runs["training=single,seed=0"].identity(), recipes.find("default").identity()
    assert {key for key in default if chosen[key] != default[key]} == {"steps"}


def test_figure_2_is_what_it_says():
    asked = sweep.read(ROOT / "sweeps" / "figure2.toml")
    runs = {run.label: run.config for run in sweep.plan(asked, {})}
    assert len(runs) == 6
    multi = recipes.load("real-srresnet", ["target_usm=false", 'regularizers=[{"name": "dropout", "p": 0.1, "site": "every-conv"}]'])[0]
    assert runs["dropout=naive,training=multi,seed=0"] == multi
    assert runs["dropout=none,training=bicubic,seed=0"] == recipes.find("bicubic-srresnet")
    assert runs["dropout=last,training=bicubic,seed=0"].identity() == {
        **recipes.find("bicubic-srresnet-dropout").identity(),
        "recipe": "bicubic-srresnet",
    }
    assert {config.steps for config in runs.values()} == {500_000}


def test_figure_4_is_what_it_says():
    runs = sweep.plan(sweep.read(ROOT / "sweeps" / "figure4.toml"), {})
    assert len(runs) == 8 * 2 * 3 + 1
    sites = [f"block{n}" for n in (4, 8, 12, 16)] + ["last", "all-part", "half-part", "quarter-part"]
    wanted = {(site, dimension, p) for site in sites for dimension in ("channel", "element") for p in (0.1, 0.2, 0.3)}
    assert {(one.site, one.dimension, one.p) for run in runs for one in run.config.regularizers} == wanted
    assert runs[0].label == "plain,seed=0"
    assert runs[0].config == recipes.find("bicubic-srresnet")
    with pytest.raises(UserError, match=r"run site=block4,dimension=channel,p=0.1,seed=0: SRResNet has no site 'block4'"):
        sweep.plan(sweep.read(ROOT / "sweeps" / "figure4.toml"), {"network.blocks": 2})


# ---------------------------------------------------------------------------------------------------------------------- a whole sweep


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Pictures to train on, and a set of two to measure on."""
    root = tmp_path_factory.mktemp("pictures")
    for folder, seeds in (("train", range(3)), ("Set2", (7, 8))):
        (root / folder).mkdir()
        for seed in seeds:
            photograph(108, seed).save(root / folder / f"picture{seed}.png")
    return [root / "train"], [root / "Set2"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory, folders):
    """A finished sweep: two points, two seeds."""
    root = tmp_path_factory.mktemp("whole")
    runs = sweep.plan(sweep.read(write(root)), {})
    failed = sweep.run(runs, ["resizers"], *folders, root / "out")
    assert failed == []
    return runs, root / "out"


LABELS = [f"dropout={point},seed={seed}" for seed in (0, 1) for point in ("none", "last")]


def by_hand(out, label, degradation):
    rows = [row for path in (out / "bench").glob("*/rows.jsonl") for row in files.read_jsonl(path)]
    found = {
        row["image"]: row["value"]
        for row in rows
        if (row["model"], row["degradation"], row["metric"], row["space"]) == (label, degradation, "psnr", "rgb")
    }
    assert len(found) == 2
    return statistics.mean(found.values())


def test_records_are_the_means_of_the_rows(whole):
    runs, out = whole
    assert [run.label for run in runs] == LABELS
    assert sorted(path.name for path in (out / "runs").iterdir()) == sorted(LABELS)
    found = files.read_jsonl(out / "sweep.jsonl")
    assert [(record["label"], record["degradation"]) for record in found] == [
        (label, degradation) for label in ["bicubic", *LABELS] for degradation in ("clean", "nearest")
    ]
    for record in found:
        assert record["value"] == pytest.approx(by_hand(out, record["label"], record["degradation"]), abs=1e-12)
        assert (record["set"], record["pictures"], record["error"]) == ("Set2", 2, None)
        assert record["code_version"] == files.code_version()
        if record["label"] == "bicubic":
            assert (record["axes"], record["seed"], record["plain"]) == ({}, None, False)
        else:
            assert record["weights_sha256"] == checkpoint.load(out / "runs" / record["label"]).weights_sha256
            point = record["axes"]["dropout"]
            assert record["label"] == f"dropout={point},seed={record['seed']}"
            assert (record["plain"], record["steps"]) == (point == "none", 3)


def test_the_table_holds_means_and_deviations_over_seeds(whole):
    _, out = whole
    table = (out / "table.md").read_text(encoding="utf-8")
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("|")]
    assert lines[0] == ["dropout", "seeds", "Set2 clean", "Set2 nearest"]
    assert [line[:2] for line in lines[2:]] == [["bicubic", ""], ["none", "2"], ["last", "2"]]
    assert lines[2][2:] == [f"{by_hand(out, 'bicubic', name):.2f}" for name in ("clean", "nearest")]
    for line in lines[3:]:
        for cell, degradation in zip(line[2:], ("clean", "nearest"), strict=True):
            first, second = (by_hand(out, f"dropout={line[0]},seed={seed}", degradation) for seed in (0, 1))
            assert cell == f"{(first + second) / 2:.2f} ± {abs(first - second) / math.sqrt(2):.2f}"
    assert "over the 2 seeds 0, 1" in table
    assert "**" not in table


def test_the_plot_is_there_and_the_same_each_time(whole, tmp_path):
    _, out = whole
    with Image.open(out / "plot.png") as picture:
        assert picture.width > 400
        assert len(picture.convert("RGB").getcolors(1 << 20)) > 10
    svg = (out / "plot.svg").read_text()
    assert svg.startswith("<?xml")
    assert "dc:date" not in svg
    sweep.plot(files.read_jsonl(out / "sweep.jsonl"), tmp_path / "again")
    for suffix in ("png", "svg"):
        assert (tmp_path / f"again.{suffix}").read_bytes() == (out / f"plot.{suffix}").read_bytes()


def copied(whole, tmp_path):
    runs, out = whole
    shutil.copytree(out, tmp_path / "out", copy_function=shutil.copy2)
    return runs, tmp_path / "out"


@pytest.fixture
def benched(monkeypatch):
    """What is measured from now on."""
    seen, original = [], jobs.bench

    def bench(models, *rest, **options):
        seen.extend(Path(model).name for model in models)
        return original(models, *rest, **options)

    monkeypatch.setattr("wildsr.jobs.bench", bench)
    return seen


def test_a_finished_sweep_is_left_as_it_is(whole, folders, tmp_path, benched, capsys):
    runs, out = copied(whole, tmp_path)
    before, results_before = state(out / "runs") | state(out / "bench"), [path.read_bytes() for path in out.glob("*.*")]
    assert sweep.run(runs, ["resizers"], *folders, out) == []
    assert state(out / "runs") | state(out / "bench") == before
    assert [path.read_bytes() for path in out.glob("*.*")] == results_before
    assert benched == []
    assert "1/4 dropout=none,seed=0: finished before" in capsys.readouterr().err


def test_an_interrupted_sweep_continues_to_the_byte(whole, folders, tmp_path, monkeypatch):
    runs, out = whole
    original, calls = torch.nn.functional.l1_loss, []

    def interrupt(sr, hr):
        calls.append(1)
        if len(calls) == 5:  # the second step of the second run
            raise KeyboardInterrupt
        return original(sr, hr)

    with monkeypatch.context() as patch:
        patch.setattr("torch.nn.functional.l1_loss", interrupt)
        with pytest.raises(KeyboardInterrupt):
            sweep.run(runs, ["resizers"], *folders, tmp_path / "out")
    assert not (tmp_path / "out" / "table.md").exists()
    finished = [tmp_path / "out" / folder / LABELS[0] for folder in ("runs", "bench")]
    before = [state(folder) for folder in finished]
    assert sweep.run(runs, ["resizers"], *folders, tmp_path / "out") == []
    assert [state(folder) for folder in finished] == before
    started = [record for record in files.read_jsonl(tmp_path / "out" / "runs" / LABELS[1] / "log.jsonl") if record["event"] == "start"]
    assert [record["first_step"] for record in started] == [0, 1]
    for label in LABELS:
        model = Path("runs") / label / "model.safetensors"
        assert (tmp_path / "out" / model).read_bytes() == (out / model).read_bytes()
    for name in ("sweep.jsonl", "table.md", "plot.svg", "report.html"):
        assert (tmp_path / "out" / name).read_bytes() == (out / name).read_bytes()


def test_what_another_process_has_in_hand_is_left_to_it_and_taken_over_when_it_is_given_up(
    whole, folders, tmp_path, benched, monkeypatch, capsys
):
    runs, out = whole
    other = contextlib.ExitStack()
    for label in ("bicubic", LABELS[0], LABELS[2]):
        other.enter_context(files.exclusive(tmp_path / "out" / "bench" / label / ".lock", "taken"))
    looks = []

    def sleep(seconds):
        looks.append([*benched])
        if len(looks) == 2:
            other.close()

    monkeypatch.setattr("wildsr.sweep.runs.time.sleep", sleep)
    assert sweep.run(runs, ["resizers"], *folders, tmp_path / "out") == []
    assert looks == [[LABELS[1], LABELS[3]]] * 2
    assert benched == [LABELS[1], LABELS[3], "bicubic", LABELS[0], LABELS[2]]
    said = capsys.readouterr().err
    assert said.count(f"another process of this sweep has bicubic, {LABELS[0]}, {LABELS[2]} in hand: waiting") == 1
    for name in ("sweep.jsonl", "table.md", "plot.svg", "report.html"):
        assert (tmp_path / "out" / name).read_bytes() == (out / name).read_bytes()


def test_two_processes_at_once_do_no_work_twice_and_disturb_nobody(whole, folders, tmp_path):
    _, out = whole
    command = [sys.executable, "-m", "wildsr", "sweep", str(write(tmp_path)), "--out", str(tmp_path / "out"), "--device", "cpu"]
    command += ["--data", str(folders[0][0]), "--test", str(folders[1][0])]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        said = [process.communicate(timeout=240) for process in both]
    finally:
        for process in both:
            process.kill()
    assert [process.returncode for process in both] == [0, 0], said
    assert said[0][0] == said[1][0]
    for label in LABELS:
        folder = tmp_path / "out" / "runs" / label
        assert sum(record["event"] == "start" for record in files.read_jsonl(folder / "log.jsonl")) == 1, "trained once"
        assert not (tmp_path / "out" / "bench" / label / "rows.partial.jsonl").exists(), "measured to the end"
    ours, theirs = (files.read_jsonl(folder / "sweep.jsonl") for folder in (tmp_path / "out", out))
    assert [(one["label"], one["degradation"]) for one in ours] == [(one["label"], one["degradation"]) for one in theirs]
    for one, other in zip(ours, theirs, strict=True):
        # To rounding: another device, or number of threads, sums in another order.
        assert one["value"] == pytest.approx(other["value"], abs=0.05)


def test_a_run_that_diverges_here_and_came_through_elsewhere_has_not_failed(whole, folders, tmp_path, monkeypatch):
    runs, out = copied(whole, tmp_path)
    label = LABELS[1]
    for kind in ("runs", "bench"):
        shutil.move(out / kind / label, tmp_path / kind)

    def diverge(*_, **__):
        for kind in ("runs", "bench"):
            shutil.copytree(tmp_path / kind, out / kind / label, dirs_exist_ok=True)
        raise TrainingDivergedError("at step 2")

    monkeypatch.setattr("wildsr.jobs.train", diverge)
    assert sweep.run(runs, ["resizers"], *folders, out) == []
    assert (out / "sweep.jsonl").read_bytes() == (whole[1] / "sweep.jsonl").read_bytes()


def test_a_launcher_of_several_processes_is_refused(whole, folders, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(UserError, match="give the command once for each GPU"):
        sweep.run(whole[0], ["resizers"], *folders, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_changed_is_measured_again_and_nothing_else(whole, folders, tmp_path, benched):
    runs, out = copied(whole, tmp_path)
    (tmp_path / "Set2").mkdir()
    for path in folders[1][0].iterdir():
        shutil.copy(path, tmp_path / "Set2")
    train, test = folders[0], [tmp_path / "Set2"]
    sweep.run(runs, ["resizers"], train, test, out)
    assert benched == []  # the same pictures elsewhere

    other = out / "bench" / LABELS[2] / "rows.jsonl"
    other.write_text(other.read_text().replace(checkpoint.load(out / "runs" / LABELS[2]).weights_sha256, "0" * 64))
    failing = out / "bench" / LABELS[1] / "rows.jsonl"
    failing.write_text(failing.read_text().replace('"error": null', '"error": "MemoryError"'))
    sweep.run(runs, ["resizers"], train, test, out)
    assert benched == [LABELS[1], LABELS[2]]
    assert (out / "sweep.jsonl").read_bytes() == (whole[1] / "sweep.jsonl").read_bytes()

    benched.clear()
    photograph(108, 9).save(tmp_path / "Set2" / "picture8.png")
    sweep.run(runs, ["resizers"], train, test, out)
    assert benched == ["bicubic", *LABELS]


def test_several_suites_stand_on_the_page_and_the_first_in_the_table(whole, folders, tmp_path, benched):
    runs, out = copied(whole, tmp_path)
    assert sweep.run(runs, ["resizers", "rdsr8"], *folders, out) == []
    assert benched == ["bicubic", *LABELS]
    assert (out / "table.md").read_bytes() == (whole[1] / "table.md").read_bytes()
    old, new = ((folder / "report.html").read_text(encoding="utf-8") for folder in (whole[1], out))
    assert "resizers" in old
    assert "rdsr8" not in old
    assert "resizers" in new
    assert "rdsr8" in new
    assert all(label in old for label in LABELS), "the curves of all runs"
    benched.clear()
    for suites in (["resizers", "rdsr8"], ["resizers"]):
        assert sweep.run(runs, suites, *folders, out) == []
    assert benched == [], "what is measured already, also of more suites than are asked for"


def test_pictures_that_are_no_longer_asked_for_are_in_no_mean(whole, folders, tmp_path, benched):
    """Of the runs that were measured before, on more pictures, the same ones count as of a run that is new."""
    runs, out = copied(whole, tmp_path)
    (tmp_path / "Set2").mkdir()
    shutil.copy(folders[1][0] / "picture7.png", tmp_path / "Set2")
    for part in ("runs", "bench"):
        shutil.rmtree(out / part / LABELS[3])
    assert sweep.run(runs, ["resizers"], folders[0], [tmp_path / "Set2"], out) == []
    assert benched == [LABELS[3]]
    rows = [row for path in (out / "bench").glob("*/rows.jsonl") for row in files.read_jsonl(path)]
    for record in files.read_jsonl(out / "sweep.jsonl"):
        place = (record["label"], "picture7", record["degradation"], "psnr", "rgb")
        (value,) = {
            row["value"] for row in rows if tuple(row[key] for key in ("model", "image", "degradation", "metric", "space")) == place
        }
        assert (record["pictures"], record["value"]) == (1, value)


def test_a_mean_over_fewer_pictures_is_no_result(whole, folders, tmp_path, monkeypatch):
    runs, out = copied(whole, tmp_path)
    shutil.rmtree(out / "bench" / LABELS[1])
    original, calls = upscale.Model.__call__, []

    def fail(self, lr):
        if len(lr) > 1:
            raise MemoryError("too many")  # of a batch, each is tried alone
        calls.append(1)
        if len(calls) == 4:
            raise MemoryError("too much")
        return original(self, lr)

    monkeypatch.setattr("wildsr.upscale.Model.__call__", fail)
    (failure,) = sweep.run(runs, ["resizers"], *folders, out)
    assert failure == f"{LABELS[1]} failed on Set2/picture8 (nearest): MemoryError: too much"
    found = {(record["label"], record["degradation"]): record for record in files.read_jsonl(out / "sweep.jsonl")}
    assert found[LABELS[1], "clean"]["value"] == pytest.approx(by_hand(out, LABELS[1], "clean"), abs=1e-12)
    failed = found.pop((LABELS[1], "nearest"))
    assert (failed["value"], failed["error"]) == (None, "picture8: MemoryError: too much")
    assert not any(record["error"] for record in found.values())
    assert "| last | 1–2 of 2 |" in (out / "table.md").read_text()
    assert sweep.run(runs, ["resizers"], *folders, out) == []  # measured again
    assert (out / "sweep.jsonl").read_bytes() == (whole[1] / "sweep.jsonl").read_bytes()


def test_runs_of_another_sweep_are_refused_before_the_first_step(whole, folders, tmp_path):
    _, out = copied(whole, tmp_path)
    before = state(out)
    changed = sweep.plan(sweep.read(write(tmp_path)), {"steps": 4, "val_every": 7})
    with pytest.raises(
        UserError, match=r"dropout=none,seed=0 holds a run of another configuration: steps was 3 and is 4: use another --out"
    ):
        sweep.run(changed, ["resizers"], *folders, out)
    with pytest.raises(UserError, match=r"holds a run on other pictures: data_fingerprint was .* and is "):
        sweep.run(whole[0], ["resizers"], folders[1], folders[1], out)
    assert state(out) == before
    (out / "runs" / LABELS[3] / "config.json").write_text("[]")
    with pytest.raises(UserError, match=r"seed=1/config.json is damaged: remove "):
        sweep.run(whole[0], ["resizers"], *folders, out)


def test_pictures_that_cannot_be_used_are_said_before_the_first_step(whole, tmp_path):
    (tmp_path / "small").mkdir()
    photograph(24, 0).save(tmp_path / "small" / "a.png")
    for train, test in (("small", "small"), ("small", "missing")):
        with pytest.raises(UserError):
            sweep.run(whole[0], ["resizers"], [tmp_path / train], [tmp_path / test], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_missing_matplotlib_is_said_before_the_first_step(whole, folders, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(UserError, match=r"pip install 'wildsr\[bench\]'"):
        sweep.run(whole[0], ["resizers"], *folders, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# ------------------------------------------------------------------------------------------------------------------- the command line


def test_a_dry_run_says_what_would_be_done(wildsr, tmp_path):
    file = write(tmp_path, grid="[grid]\nema = [0.5, 0.9]")
    status, out, _ = wildsr("sweep", file, "--dry-run", "--set=steps=500000")
    lines = out.splitlines()
    assert (status, len(lines)) == (0, 9)
    assert lines[1] == "dropout=none,ema=0.9,seed=0  regularizers=[] ema=0.9"
    assert lines[6].startswith('dropout=last,ema=0.5,seed=1  regularizers=[{"name": "dropout"')
    assert lines[-1].startswith("8 runs, which cost as much as ")
    assert list(tmp_path.iterdir()) == [file]


def test_one_training_of_the_recipe_costs_one(tmp_path):
    runs = planned(TOP + "seeds = [0, 1, 2]\n[grid]\nrecipe = ['real-srresnet', 'bicubic-srresnet']", tmp_path)
    assert sweep.plan_text(runs).splitlines()[-1] == "6 runs, which cost as much as 6 trainings by the recipe real-srresnet"


def test_what_is_missing_is_said_in_a_line(wildsr, folders, tmp_path):
    file, (train, test) = write(tmp_path), [str(folder[0]) for folder in folders]
    whole = {"--data": train, "--test": test, "--out": str(tmp_path / "out")}
    for missing in whole:
        status, _, err = wildsr("sweep", file, *(word for option in whole.items() if option[0] != missing for word in option))
        assert status == 2
        assert f"add {missing} FOLDER" in err
    assert wildsr("sweep", tmp_path / "none.toml", "--dry-run")[::2] == (2, f"wildsr: {tmp_path / 'none.toml'}: no such file\n")
    assert not (tmp_path / "out").exists()


def test_a_run_that_diverges_is_recorded_and_the_others_go_on(wildsr, folders, tmp_path):
    file = write(tmp_path, seeds="seeds = [5]", grid="[grid]\nlearning_rate = [1e38, 1e-2]")
    train, test = (folder[0] for folder in folders)
    command = ["sweep", file, "--data", train, "--test", test, "--out", tmp_path / "out", "--set=steps=4"]
    status, out, err = wildsr(*command)
    assert status == 3
    broken = [f"dropout={dropout},learning_rate=1e+38,seed=5" for dropout in ("none", "last")]
    said = [line for line in err.splitlines() if line.startswith("wildsr: ")]
    assert [line.split(": ")[1] for line in said] == broken
    assert all("at step" in line for line in said)
    records = files.read_jsonl(tmp_path / "out" / "sweep.jsonl")
    for record in records:
        bad = record["label"] in broken
        assert (record["value"] is None) == bad == bool(record["error"]) == ("at step" in str(record["error"]))
    page = tmp_path / "out" / "report.html"
    assert out == (tmp_path / "out" / "table.md").read_text() + f"\n{page}\n"
    assert page.is_file()
    assert "| none | 1e+38 | 0 of 1 | – | – |" in out
    assert f"– failed, and in no mean: {broken[0]}: " in out
    assert (tmp_path / "out" / "plot.png").is_file()
    assert wildsr(*command)[:2] == (3, out)  # tried again


# ---------------------------------------------------------------------------------------------------------- records made for the purpose


def record(point, seed, value, *, axes=None, place=("Set5", "clean"), plain=False, **more):
    label = point if seed is None else f"{point},seed={seed}"
    facts = {"suite": "resizers", "suite_version": "1", "scale": 4, "steps": None if seed is None else 100, "protocol": "p"}
    scores = {"set": place[0], "degradation": place[1], "pictures": 5, "metric": "psnr", "space": "rgb", "value": value, "infinite": False}
    who = {"label": label, "point": point, "axes": axes or {}, "seed": seed, "plain": plain, "error": None}
    return {**who, **facts, **scores, "weights_sha256": None, "code_version": "v", **more}


PLACES = [("Set5", "clean"), ("Set5", "noise")]


def test_a_level_is_over_the_seeds_that_have_all_places():
    values = {0: (20.0, 30.0), 1: (21.0, 33.0), 2: (22.0, None)}
    records = [record("x", seed, value, place=place) for seed, both in values.items() for place, value in zip(PLACES, both, strict=True)]
    assert results.level(records, "x", PLACES[:1]) == (21.0, 1.0, 3)
    assert results.level(records, "x", PLACES) == (26.0, pytest.approx(math.sqrt(2)), 2)
    assert results.level(records[:1], "x", PLACES[:1]) == (20.0, None, 1)
    assert results.level(records, "y", PLACES) is None
    records[0].update(value=None, infinite=True)
    assert results.level(records, "x", PLACES[:1]) == (math.inf, None, 3)


def test_the_table_says_how_many_seeds_each_number_has():
    records = [record("bicubic", None, 20.0)]
    records += [record("x=a|b", seed, value, axes={"x": "a|b"}) for seed, value in ((0, 21.0), (1, None), (2, 23.0))]
    records += [record("plain", seed, 25.0) for seed in (0, 1, 2)]
    records[2]["error"] = "the loss is nan at step 3"
    lines = sweep.table(records).splitlines()
    assert lines[5:8] == ["| bicubic |  | 20.00 |", "| a\\|b | 2 of 3 | 22.00 ± 1.41 |", "| plain | 3 | 25.00 ± 0.00 |"]
    assert lines[-1] == "– failed, and in no mean: x=a\\|b,seed=1: the loss is nan at step 3"
    assert "Set5 5 pictures" in lines[0]


def grid(sets, degradations, seeds=(0,), bicubic=20.0, wide=0.0):
    places = [(name, degradation) for name in sets for degradation in degradations]
    found = [record("bicubic", None, bicubic, place=place) for place in places]
    for seed in seeds:
        for i, place in enumerate(places):
            found.append(record("plain", seed, 21.0, place=place, plain=True))
            for j, x in enumerate(("a", "b", "c")):
                for k, p in enumerate((0.1, 0.2)):
                    for m, kind in enumerate(("channel", "element")):
                        value = 21 + i * wide + 0.1 * j + 0.2 * k + 0.3 * m + 0.05 * seed
                        axes = {"x": x, "kind": kind, "p": p}
                        found.append(record(f"x={x},kind={kind},p={p}", seed, value, axes=axes, place=place))
    return found


def test_panels_are_places_or_means_over_the_sets_where_there_would_be_too_many():
    assert [panel.title for panel in figure._panels(grid(["A", "B"], ["clean", "noise"]))] == [
        "A, clean",
        "A, noise",
        "B, clean",
        "B, noise",
    ]
    names = ["clean", "blur", "noise", "jpeg", "b+n"]
    panels = figure._panels(grid(["A", "B", "C"], names))
    assert [panel.title for panel in panels] == [f"{name}, mean of 3 sets" for name in names]
    assert panels[1].places == [("A", "blur"), ("B", "blur"), ("C", "blur")]


def test_series_can_be_told_apart_by_colour_and_by_marker():
    series = figure._series(grid(["A"], ["clean"]))
    assert [one.name for one in series] == [f"kind = {kind}, p = {p}" for p in (0.1, 0.2) for kind in ("channel", "element")]
    assert series[0].points == {x: f"x={x},kind=channel,p=0.1" for x in "abc"}
    assert len({(one.style["color"], one.style["marker"], one.style["linestyle"]) for one in series}) == 4
    many = [record(f"x=a,y={n}", 0, 20.0, axes={"x": "a", "y": n}) for n in range(36)]
    assert len({(one.style["color"], one.style["marker"]) for one in figure._series(many)}) == 36
    assert "#F0E442" not in figure.COLOURS


def test_points_without_a_regulariser_become_lines():
    beside = [point for point, _ in figure._lines(grid(["A"], ["clean"]), figure._series(grid(["A"], ["clean"])))]
    assert beside == ["plain"]
    inside = [record(f"d={d},t={t}", 0, 20.0, axes={"d": d, "t": t}, plain=d == "none") for d in ("none", "last") for t in ("a", "b")]
    series = figure._series(inside)
    assert [(point, style["color"]) for point, style in figure._lines(inside, series)] == [
        ("d=none,t=a", series[0].style["color"]),
        ("d=none,t=b", series[1].style["color"]),
    ]
    across = [record(f"t={t},d={d}", 0, 20.0, axes={"t": t, "d": d}, plain=d == "none") for d in ("none", "last") for t in ("a", "b")]
    assert list(figure._lines(across, figure._series(across))) == []


@pytest.mark.parametrize(
    ("bicubic", "wide", "drawn", "shared"),
    [(21.2, 0.0, True, True), (20.9, 0.5, True, True), (15.0, 0.0, False, True), (21.2, 9.0, None, False)],
)
def test_y_axes_hold_all_points_and_are_shared_where_that_flattens_nothing(bicubic, wide, drawn, shared):
    records = grid(["A"], ["clean", "noise"], seeds=(0, 1), bicubic=bicubic, wide=wide)
    panels, series = figure._panels(records), figure._series(records)
    limits = figure._limits(records, panels, series)
    for panel, (low, high) in zip(panels, limits, strict=True):
        for one in series:
            for point in one.points.values():
                here = results.level(records, point, panel.places)
                assert low < here.mean - here.deviation < here.mean + here.deviation < high
        if drawn is not None:
            assert (low < bicubic < high) == drawn
    assert (limits[0] == limits[1]) == shared
    assert all(high - low > figure.SPAN for low, high in limits)


def test_the_plot_takes_failed_points_several_seeds_and_many_places(tmp_path):
    records = grid(["A", "B", "C"], ["clean", "blur", "noise", "jpeg", "b+n"], seeds=(0, 1))
    for one in records:
        if one["point"] == "x=b,kind=element,p=0.2":
            one.update(value=None, error="diverged")
        if one["point"] == "x=c,kind=element,p=0.2":
            one.update(value=None, infinite=True)
    sweep.plot(records, tmp_path / "plot")
    sweep.plot([one for one in records if one["point"] != "plain"][::-1][:1] + records[:15], tmp_path / "one")
    assert {path.name for path in tmp_path.iterdir()} == {"plot.png", "plot.svg", "one.png", "one.svg"}


def test_the_plot_of_one_series_needs_no_legend(tmp_path):
    points = [record(f"p={p}", 0, 25 + p, axes={"p": p}) for p in (0.1, 0.2)]
    sweep.plot([record("bicubic", None, 20.0), *points], tmp_path / "plot")
    assert "legend" not in (tmp_path / "plot.svg").read_text()
    sweep.plot([record("bicubic", None, 25.1), *points], tmp_path / "plot")
    assert "legend" in (tmp_path / "plot.svg").read_text()
