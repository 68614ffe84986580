"""Kept results: what is written down is what their rows and logs say."""

import re
import sys
from pathlib import Path

import pytest
from bench_rows import two_models, write

from wildsr import checkpoint, files, jobs, report
from wildsr.errors import UserError

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import ledger

KEPT = sorted(path for path in ledger.KEPT.iterdir() if path.is_dir())


def test_every_table_of_the_document_is_what_its_rows_say():
    document = ledger.DOCUMENT.read_text(encoding="utf-8")
    blocks = [match["asked"] for match in ledger.BLOCK.finditer(document)]
    assert len(blocks) == document.count("<!-- made:") == document.count("<!-- /made -->")
    assert {asked.split()[1] for asked in blocks} == {folder.name for folder in KEPT}
    assert ledger.made(document) == document


@pytest.mark.parametrize("folder", KEPT, ids=lambda folder: folder.name)
def test_what_is_kept_is_whole(folder: Path):
    """Plain resizing stands beside every model, cards and curves are those of the logs, and a page is there exactly where one is linked,
    of these weights."""
    rows = report.read_rows([folder])
    assert "bicubic" in {row["model"] for row in rows}
    assert (folder / "trainings.md").read_text(encoding="utf-8") == ledger.cards(folder)
    runs = ledger.runs_of(folder)
    assert runs
    named = [model for origin in ledger.origins(folder) for model in origin["models"]]
    assert len({*named}) == len(named), "each has one origin"
    assert {*named} == {row["model"] for row in rows if row["weights_sha256"]} | {run.name for run in runs}
    for run in runs:
        assert (run / "curve.svg").read_text(encoding="utf-8") == ledger.curve(ledger.read_run(run))
    page = folder / "report.html"
    assert page.is_file() == (f"results/{folder.name}/report.html" in ledger.DOCUMENT.read_text(encoding="utf-8"))
    if page.is_file():
        text = page.read_text(encoding="utf-8")
        assert all(row["weights_sha256"][:12] in text for row in rows if row["weights_sha256"])


@pytest.mark.parametrize("name", checkpoint.SHIPPED)
def test_the_shipped_weights_are_those_that_were_measured(name):
    shipped = checkpoint.load(name).weights_sha256
    assert shipped in {row["weights_sha256"] for row in report.read_rows([ledger.KEPT / name])}


@pytest.fixture
def kept(tmp_path, pictures, tiny) -> Path:
    """A tiny training and two models' rows."""
    jobs.train(tiny, [pictures], tmp_path / "plain-seed0", device="cpu")
    rows = [row | {"value": row["value"] + 0.00001234} for row in two_models()]
    bench = write(tmp_path / "bench", rows).parent
    facts = {"machine": "M 1", "commits": "Trained at c1", "command": "make it"}
    return ledger.keep("few", [bench], [tmp_path / "plain-seed0"], **facts, into=tmp_path / "kept")


def test_keeping(kept, tmp_path, tiny):
    rows = report.read_rows([kept])
    assert rows[0]["value"] == 22.0
    assert files.read_json(kept / "facts.json") == [
        {"models": ["plain", "plain-seed0", "robust"], "machine": "M 1", "commits": "Trained at c1", "command": "make it"}
    ]
    there = checkpoint.load(tmp_path / "plain-seed0")
    weights = {"weights_sha256": there.weights_sha256, "images_seen": tiny.steps * tiny.batch_size}
    assert files.read_json(kept / "runs" / "plain-seed0" / "weights.json") == weights


def test_what_cannot_be_read_replaces_nothing(kept, tmp_path):
    facts = {"machine": "", "commits": "", "command": ""}
    with pytest.raises(UserError, match="nowhere: no such"):
        ledger.keep("few", [tmp_path / "bench"], [tmp_path / "nowhere"], **facts, into=kept.parent)
    (tmp_path / "plain-seed0" / "log.jsonl").unlink()
    with pytest.raises(UserError, match=r"log\.jsonl: No such file or directory: give a run directory"):
        ledger.keep("few", [tmp_path / "bench"], [tmp_path / "plain-seed0"], **facts, into=kept.parent)
    assert files.read_json(kept / "facts.json")[0]["machine"] == "M 1"


def test_some_metrics_alone_are_kept(kept, tmp_path):
    psnr = two_models()
    bench = write(tmp_path / "both", [*psnr, *(row | {"metric": "ssim", "protocol": "ssim-rgb/1"} for row in psnr)]).parent
    facts = {"machine": "", "commits": "", "command": "", "into": kept.parent}
    wanted = report.read_rows([write(tmp_path / "one", psnr)])
    assert len(report.read_rows([bench])) == 2 * len(wanted)
    folder = ledger.keep("few", [bench], [], metrics=["psnr-rgb"], **facts)
    assert report.read_rows([folder]) == wanted
    with pytest.raises(UserError, match="--metric psnr-rbg: did you mean 'psnr-rgb'"):
        ledger.keep("few", [bench], [], metrics=["psnr-rbg"], **facts)
    assert report.read_rows([folder]) == wanted


def further(tmp_path, **changed) -> list[Path]:
    """The bench of a third model, and of plain resizing, on the same inputs."""
    rows = [row | {"model": {"robust": "third"}.get(row["model"], row["model"])} for row in two_models() if row["model"] != "plain"]
    rows += [row | {"metric": "ssim", "protocol": "ssim-rgb/1"} for row in rows]
    return [write(tmp_path / "further", [row | changed for row in rows]).parent]


def test_further_models_are_kept_beside_the_others(kept, tmp_path, pictures, tiny):
    jobs.train(tiny.model_copy(update={"seed": 1}), [pictures], tmp_path / "training=third,seed=1", device="cpu")
    before = report.read_rows([kept])
    facts = {"machine": "M 2", "commits": "Trained at c2", "command": "make more", "into": kept.parent}
    assert ledger.add("few", further(tmp_path), [tmp_path / "training=third,seed=1"], **facts) == kept
    rows = report.read_rows([kept])
    assert rows[: len(before)] == before
    assert {(row["model"], row["metric"]) for row in rows[len(before) :]} == {("third", "psnr")}, "no resizer twice"
    text = ledger.cards(kept)
    assert text.index("make it") < text.index("## plain-seed0") < text.index("make more") < text.index("M 2") < text.index("## third-seed1")
    table = ledger.values(kept, "rdsr8")
    assert "robust `robust weigh`. Trained at c1. M 1.\n\nWeights (SHA-256): third `robust weigh`. Trained at c2. M 2." in table
    assert "M 1" not in ledger.gains(kept, "rdsr8", "bicubic", "third")
    lines = ledger.trainings(kept).splitlines()
    assert "plain, plain-seed0, robust: Trained at c1. M 1." in lines
    assert "third, third-seed1: Trained at c2. M 2." in lines


def test_of_a_further_suite_the_resizers_are_kept_too(kept, tmp_path):
    bench = further(tmp_path, suite="unseen", protocol="psnr/1")
    ledger.add("few", [*further(tmp_path / "same"), *bench], [], machine="", commits="", command="", into=kept.parent)
    assert "| third |" in ledger.values(kept, "unseen")
    suites = [row["suite"] for row in report.read_rows([kept]) if row["model"] == "bicubic"]
    assert suites.count("rdsr8") == suites.count("unseen")


def test_models_of_the_same_facts_share_them(kept, tmp_path):
    facts = {"machine": "M 1", "commits": "Trained at c1", "command": "make it"}
    ledger.add("few", further(tmp_path), [], **facts, into=kept.parent)
    assert ledger.origins(kept) == [{"models": ["plain", "plain-seed0", "robust", "third"], **facts}]


def test_what_does_not_go_together_is_not_kept_together(kept, tmp_path):
    facts = {"machine": "", "commits": "", "command": "", "into": kept.parent}
    before = {path: path.read_bytes() for path in kept.rglob("*") if path.is_file()}
    for name, benches, said in (
        ("fewer", further(tmp_path), "nothing is kept there"),
        ("few", [tmp_path / "bench"], "plain, robust: kept in .* already"),
        ("few", further(tmp_path, protocol="psnr/2"), "protocol of rdsr8 psnr rgb differs"),
    ):
        with pytest.raises(UserError, match=said):
            ledger.add(name, benches, [], **facts)
    assert {path: path.read_bytes() for path in kept.rglob("*") if path.is_file()} == before


def test_labels_of_sweeps_lose_their_only_axis():
    assert ledger.short("training=two-view,seed=12") == "two-view-seed12"
    for label in ("plain-seed0", "a=b,c=d,seed=0", "bicubic"):
        assert ledger.short(label) == label


def test_cards_say_what_ran(kept, tiny):
    text = ledger.cards(kept)
    for said in ("make it", "Trained at c1. M 1.", f"seed {tiny.seed}", f"{tiny.steps} of {tiny.lr_patches} LR patches", "fp32 on cpu"):
        assert said in text, said
    line = ledger.trainings(kept).splitlines()[2]
    assert "[plain-seed0]" in line
    assert f"{tiny.steps} × {tiny.lr_patches}" in line
    assert files.read_json(kept / "runs" / "plain-seed0" / "weights.json")["weights_sha256"][:12] in line
    assert "| Started from | random weights |" in text
    facts = kept / "runs" / "plain-seed0" / "run.json"
    files.write_text(facts, files.to_json(files.read_json(facts) | {"init": {"weights_sha256": "0123abcd", "weights_key": "ema"}}))
    assert "| Started from | weights `0123abcd` |" in ledger.cards(kept)


def test_time_in_steps_is_the_sum_of_what_was_logged():
    def step(at: int, seconds: float):
        return {"event": "step", "step": at, "seconds": {"data": seconds / 4, "network": 3 * seconds / 4}}

    log = [{"event": "start", "first_step": 0}, step(10, 1.0), step(20, 2.0), {"event": "start", "first_step": 10}, step(20, 3.0)]
    assert ledger.minutes_of(log) == pytest.approx((10 * 1 + 10 * 2 + 10 * 3) / 60)


def test_a_curve_goes_from_its_highest_to_its_lowest_value():
    run = ledger.Run("a", "", {"pixel": [(step, 1.0 - step / 100) for step in range(0, 100, 10)]}, {})
    points = [tuple(map(float, pair.split(","))) for pair in re.findall(r"[\d.]+,[\d.]+", ledger.curve(run))]
    across = ledger.WIDTH - ledger.LEFT - 10
    assert points[0] == (ledger.LEFT, 10)
    assert points[-1] == (ledger.LEFT + across, ledger.HEIGHT - ledger.BELOW)


def test_blocks_are_made_anew_and_the_rest_stays(kept):
    document = "# A\n<!-- made: values few suite=rdsr8 -->\nold\n<!-- /made -->\nkept *as it is*\n"
    made = ledger.made(document + "<!-- made: trainings few -->\n<!-- /made -->\n", kept.parent)
    assert "old" not in made
    assert "| robust | 22.00 | 20.00 | 21.00 |" in made
    assert "kept *as it is*" in made
    assert "Weights (SHA-256): plain `plain weight`, robust `robust weigh`. Trained at c1. M 1." in made
    assert ledger.made(made, kept.parent) == made
    assert "| robust | **+1.00" in ledger.made("<!-- made: gains few suite=rdsr8 over=bicubic -->\n<!-- /made -->", kept.parent)
    only = ledger.made("<!-- made: gains few suite=rdsr8 over=bicubic only=robust -->\n<!-- /made -->", kept.parent)
    assert "Weights (SHA-256): robust `robust weigh`. Trained" in only
    aims = ledger.made("<!-- made: aims few suite=rdsr8 model=robust sets=Set5 noise=1 clean=1.01 -->\n<!-- /made -->", kept.parent)
    assert aims.splitlines()[1:5] == [
        "| gain over bicubic, dB | noise | clean |",
        "| --- | ---: | ---: |",
        "| aim | +1.00 | +1.01 |",
        "| Set5 | **+1.00** | +1.00 |",
    ]
    assert "Weights (SHA-256): robust `robust weigh`. Trained" in aims
    for asked, said in {
        "valus few suite=rdsr8": "did you mean 'values'",
        "values few suite=unseen": "no row of suite 'unseen'",
        "aims few suite=rdsr8 model=x sets=Set5 clean=1": "x was not measured on Set5",
    }.items():
        with pytest.raises(UserError, match=said):
            ledger.made(f"<!-- made: {asked} -->\n<!-- /made -->", kept.parent)
