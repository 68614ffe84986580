"""Reading rows, what metrics are, and which models are one method."""

import lzma
import math
import re

import pytest
from bench_rows import cells, grid, row, seeds, two_models, write

from wildsr import report
from wildsr.errors import UserError
from wildsr.report import methods, tables

# Rows


def test_rows_of_several_files_are_joined_and_equal_ones_count_once(tmp_path):
    first = write(tmp_path, [row(), row("net", value=21.0)])
    second = write(tmp_path / "other", [row(), row("net", image="b", value=22.0)])
    assert len(report.read_rows([first, second])) == 3
    assert len(report.read_rows([tmp_path, tmp_path / "other"])) == 3, "a folder stands for its rows.jsonl"


def test_a_line_cut_short_is_passed_over(tmp_path):
    path = write(tmp_path, two_models())
    with path.open("a") as file:
        file.write('{"model": "plain", "val')
    assert len(report.read_rows([path])) == 12
    assert cells(report.page([path]))["plain"] == ["20.00", "23.00", "17.00▾"]


@pytest.mark.parametrize("content", [None, "", "not json\n"])
def test_a_missing_or_empty_file_is_named(tmp_path, content):
    path = tmp_path / "rows.jsonl"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=re.escape(str(path))):
        report.read_rows([path])


def test_no_file_at_all_is_an_error():
    with pytest.raises(UserError, match="no rows"):
        report.read_rows([])


@pytest.mark.parametrize("key", ["model", "set", "image", "degradation", "metric", "space", "value", "protocol", "suite", "scale", "seed"])
def test_a_lacking_key_is_named(tmp_path, key):
    bad = row()
    del bad[key]
    with pytest.raises(UserError, match=f"{re.escape(str(tmp_path))}.*'{key}'"):
        report.read_rows([write(tmp_path, [row(image="b"), bad])])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("value", "20"),
        ("value", True),
        ("model", 3),
        ("set", ""),
        ("scale", "4"),
        ("seed", None),
        ("training_seed", "one"),
        ("training_seed", True),
    ],
)
def test_a_wrong_type_is_named(tmp_path, key, value):
    with pytest.raises(UserError, match=f"{key} = "):
        report.read_rows([write(tmp_path, [row(**{key: value})])])


@pytest.mark.parametrize(
    ("key", "old", "new"),
    [
        ("protocol", "psnr-rgb-crop4-uint8/1", "psnr-rgb-crop0-uint8/1"),
        ("suite_version", "1", "2"),
        ("scale", 4, 2),
        ("seed", 0, 1),
        ("hr_sha256", "one", "two"),
        ("lr_sha256", "one", "two"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_both_values(tmp_path, key, old, new):
    first = write(tmp_path, [row(**{key: old})])
    second = write(tmp_path / "other", [row("net", **{key: new})])
    with pytest.raises(UserError) as error:
        report.read_rows([first, second])
    for word in (key, repr(old), repr(new), str(first), str(second)):
        assert word in str(error.value)


@pytest.mark.parametrize("key", ["suite_version", "protocol", "lr_sha256"])
def test_other_suites_may_differ_in_it(tmp_path, key):
    other = {"suite": "unseen", key: "another"}
    assert len(report.read_rows([write(tmp_path, [row(**{key: "one"}), row(**other)])])) == 2


@pytest.mark.parametrize(("key", "value"), [("scale", 2), ("seed", 1), ("hr_sha256", "two")])
def test_other_suites_may_not_differ_in_it(tmp_path, key, value):
    rows = [row(hr_sha256="one"), row(suite="unseen", **{key: value})]
    with pytest.raises(UserError, match=f"{key}.* differs"):
        report.read_rows([write(tmp_path, rows)])


def test_one_label_for_two_weights_is_refused(tmp_path):
    rows = [row("net", weights_sha256="one"), row("net", image="b", weights_sha256="two")]
    with pytest.raises(UserError, match=r"weights_sha256 of net differs: 'one' and 'two'"):
        report.read_rows([write(tmp_path, rows)])


def test_other_metrics_may_have_other_protocols(tmp_path):
    rows = [row(), row(space="y"), row(metric="ssim", value=0.5)]
    assert len(report.read_rows([write(tmp_path, rows)])) == 3


def test_values_that_differ_by_rounding_are_one_and_the_first_counts(tmp_path):
    first, second = write(tmp_path, [row(value=20.0)]), write(tmp_path / "other", [row(value=20.0001)])
    assert [one["value"] for one in report.read_rows([first, second])] == [20.0]


def test_two_values_for_one_measurement_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"two values for rdsr8 / bicubic / Set5 / a / clean / psnr / rgb: 20\.0 and 20\.5"):
        report.read_rows([write(tmp_path, [row(), row(value=20.5)])])


@pytest.mark.parametrize("order", [1, -1])
def test_a_failure_that_was_mended_is_dropped(tmp_path, order):
    rows = [row(), row(value=None, error="out of memory")][::order]
    assert [tables.number(one) for one in report.read_rows([write(tmp_path, rows)])] == [20.0]


def test_one_measurement_in_two_suites_is_two(tmp_path):
    rows = [row(value=20.0), row(value=21.0, suite="rdsr8-rounded")]
    assert [one["value"] for one in report.read_rows([write(tmp_path, rows)])] == [20.0, 21.0]


def test_rows_of_older_versions_are_readable(tmp_path):
    old = [{key: value for key, value in one.items() if key not in ("words", "seen", "training", "training_seed")} for one in two_models()]
    page = report.page([write(tmp_path, old)])
    assert cells(page)["plain"] == ["20.00", "23.00", "17.00▾"]
    assert "The rows do not say which degradations are like those of training" in page


# Metrics and summaries


def test_metrics_and_their_directions():
    assert tables.metric_of("psnr") == ("PSNR", " dB", 2, "higher")
    assert tables.metric_of("niqe", row(lower_better=True)) == ("NIQE", "", 4, "lower")
    assert tables.metric_of("musiq", row()) == ("MUSIQ", "", 4, "higher")
    assert tables.metric_of("energy-0.25-0.50") == ("Energy 0.25–0.50", " dB", 2, "zero")
    assert tables.metric_of("energy-2.00-top").better == "zero"


def test_summaries_are_in_the_order_of_tabs():
    order = ["energy-0.00-0.25", "zzz", "psnr-high", "ssim", "aaa", "psnr"]
    rows = [row(metric=metric, suite=suite) for suite in ("unseen", "rdsr8") for metric in order]
    found = [(summary.suite, summary.metric) for summary in tables.summaries(rows)]
    expected = ["psnr", "ssim", "psnr-high", "aaa", "zzz", "energy-0.00-0.25"]
    assert found == [(suite, metric) for suite in ("unseen", "rdsr8") for metric in expected]


def test_what_only_failed_has_no_summary():
    """A model that fails has rows of every metric and space, also of such as no other model has."""
    rows = [row(), row("net", value=None, error="broken"), row("net", metric="psnr-high", value=None, error="broken")]
    assert [summary.metric for summary in tables.summaries(rows)] == ["psnr"]


def test_of_several_suites_one_must_be_chosen():
    rows = [row(), row(suite="unseen", value=5.0)]
    with pytest.raises(UserError, match="choose one of rdsr8, unseen"):
        report.summarize(rows, "psnr", "rgb")
    assert report.summarize(rows, "psnr", "rgb", "unseen").cell("bicubic", "Set5", "clean").mean == 5.0


def test_degradations_stand_as_they_appear_with_their_long_names():
    rows = [row(degradation=name, words=f"the {name}", seen=seen) for name, seen in (("zoom", "unseen"), ("clean", None))]
    summary = report.summarize(rows, "psnr", "rgb")
    assert summary.degradations == ["zoom", "clean"]
    assert summary.words == {"zoom": "the zoom", "clean": "the clean"}
    assert summary.seen == {"zoom": "unseen", "clean": ""}


def test_severities_are_one_kind():
    names = {"m1": "motion blur, severity 1 of 2", "m2": "motion blur, severity 2 of 2", "j": "JPEG twice, on shifted grids"}
    assert tables.families(names) == {"motion blur": ["m1", "m2"], "JPEG twice, on shifted grids": ["j"]}


@pytest.mark.parametrize(("value", "shown"), [(0.004, "±0.00"), (-0.004, "±0.00"), (0.006, "+0.01"), (-1.5, "−1.50"), (None, "–")])
def test_gains_have_a_sign(value, shown):
    assert tables.signed(value, "psnr") == shown


@pytest.mark.parametrize("value", [None, math.nan])
def test_no_value_is_a_failure(value):
    assert tables.number(row(value=value)) is None


# Methods


def test_seeds_of_one_training_are_one_method():
    rows = [
        *seeds("plain", [{"clean": (1.0,)}, {"clean": (2.0,)}]),
        *seeds("other", [{"clean": (1.0,)}]),
        *seeds("robust", [{"clean": (1.0,)}, {"clean": (2.0,)}]),
        *grid({"bicubic": {"clean": (0.0,)}}),
    ]
    found = methods.methods_of(rows)
    assert [(method.name, method.models, method.seeds) for method in found] == [
        ("bicubic", ("bicubic",), ""),
        ("plain", ("plain-seed0", "plain-seed1"), "2 seeds"),
        ("other-seed0", ("other-seed0",), "1 seed"),
        ("robust", ("robust-seed0", "robust-seed1"), "2 seeds"),
    ]
    assert methods.seeds_notes(found, intervals=False) == "plain, robust: mean over 2 seeds"
    assert methods.seeds_notes(found) == (
        "plain, robust: mean over 2 seeds, interval over seeds and pictures; other-seed0: 1 seed, so its interval is over pictures alone"
    )


def test_resizing_has_no_seeds():
    rows = [row(), row("lanczos", weights_sha256=None), row("net")]
    found = methods.methods_of(rows)
    assert [method.seeds for method in found] == ["", "", "1 run"]
    assert methods.seeds_notes(found) == "net: 1 seed, so its interval is over pictures alone"


@pytest.mark.parametrize(
    "facts",
    [
        [{"training": None}, {"training": None}],
        [{"training": "a"}, {"training": "b"}],
        [{"training": "a", "training_seed": 0}, {"training": "a", "training_seed": 0}],
        [{"training": "a", "training_seed": None}, {"training": "a", "training_seed": 1}],
        [{"training": "a", "training_seed": 0, "weights_key": "ema"}, {"training": "a", "training_seed": 1, "weights_key": "raw"}],
    ],
)
def test_other_models_stay_apart(facts):
    rows = [row(), *(row(f"net-seed{i}", training_seed=i) | fact for i, fact in enumerate(facts))]
    assert [method.name for method in methods.methods_of(rows)] == ["bicubic", "net-seed0", "net-seed1"]


@pytest.mark.parametrize(
    ("labels", "name"),
    [
        (["plain-seed0", "plain-seed1"], "plain"),
        (["training=plain,seed=0", "training=plain,seed=1"], "training=plain"),
        (["seed0-plain", "seed1-plain"], "plain"),
        (["p0.5_s1", "p0.5_s2"], "p0.5"),
        (["net10", "net11"], "net"),
        (["boss1", "boss2"], "boss"),
        (["a", "b"], "a and 1 other"),
        (["bicubic-0", "bicubic-1"], "bicubic-0 and 1 other"),
    ],
)
def test_a_method_is_called_what_its_labels_share(labels, name):
    rows = [row(), *(row(label, training="t", training_seed=i) for i, label in enumerate(labels))]
    assert methods.methods_of(rows)[-1].name == name


def test_compressed_rows_are_read(tmp_path):
    path = write(tmp_path, two_models())
    rows = report.read_rows([path])
    (tmp_path / "rows.jsonl.xz").write_bytes(lzma.compress(path.read_bytes()))
    path.unlink()
    assert report.read_rows([tmp_path]) == report.read_rows([tmp_path / "rows.jsonl.xz"]) == rows
    (tmp_path / "rows.jsonl.xz").write_bytes(b"no xz")
    with pytest.raises(UserError, match=r"rows\.jsonl\.xz: cannot be read \(not a whole xz file\)"):
        report.read_rows([tmp_path])
