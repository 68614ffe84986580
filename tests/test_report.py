"""Tables and the page, against numbers worked out by hand."""

import base64
import io
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wildsr import report
from wildsr.errors import UserError
from wildsr.report import pages, tables

HOSTILE = "<script>alert(1)</script>"


def row(model="bicubic", image="a", degradation="clean", value: float | None = 20.0, **other):
    """One row as `wildsr bench` writes it."""
    metric, space = other.get("metric", "psnr"), other.get("space", "rgb")
    return {
        "model": model,
        "weights_sha256": None if model == "bicubic" else "ab12" * 16,
        "weights_key": None if model == "bicubic" else "ema",
        "scale": 4,
        "suite": "rdsr8",
        "suite_version": "1",
        "set": "Set5",
        "image": image,
        "degradation": degradation,
        "metric": metric,
        "space": space,
        "crop": 4,
        "resizer": "pil-bicubic",
        "tile": None,
        "hr_sha256": None,
        "lr_sha256": None,
        "value": value,
        "dtype": "float32",
        "seed": 0,
        "code_version": "0.1.0+src.abc",
        "protocol": f"{metric}-{space}-crop4-uint8/1",
        "error": None,
    } | other


def write(folder: Path, rows, name="rows.jsonl") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    return path


def grid(values: dict[str, dict[str, tuple[float, ...]]], **other):
    """Rows from {model: {degradation: (value of picture a, of b, ...)}}."""
    return [
        row(model, "abcdefgh"[index], degradation, value, **other)
        for model, by in values.items()
        for degradation, found in by.items()
        for index, value in enumerate(found)
    ]


def two_models():
    """Bicubic 21 clean, 19 noise; plain 23, 17; robust 22, 20 dB."""
    return grid(
        {
            "plain": {"clean": (22.0, 24.0), "noise": (16.0, 18.0)},
            "robust": {"clean": (21.0, 23.0), "noise": (19.0, 21.0)},
            "bicubic": {"clean": (20.0, 22.0), "noise": (18.0, 20.0)},
        }
    )


def pictures(folder: Path, rows, seed=0, size=(40, 48), hr=True, lr=True):
    """Random pictures beside the rows, as the bench leaves them."""
    chance = np.random.default_rng(seed)

    def save(path: Path, height: int, width: int):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(chance.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path)

    for one in rows:
        save(folder / "images" / one["set"] / one["degradation"] / one["model"] / f"{one['image']}.png", *size)
        if hr:
            save(folder / "hr" / one["set"] / f"{one['image']}.png", *size)
        if lr:
            save(folder / "lr" / one["set"] / one["degradation"] / f"{one['image']}.png", size[0] // 4, size[1] // 4)


def payload(page: str):
    """The JSON that the page's script reads."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])


def cells(page: str, view: str, metric="psnr-rgb", table=0) -> dict[str, list[str]]:
    """{model: words of its cells} of one table of the page."""
    blocks = re.findall(
        rf'<div class="metric[^"]*" data-metric="{metric}">(.*?)(?=<div class="metric|</section>\s*<section id)', page, re.DOTALL
    )
    tables = re.findall(rf'data-view="{view}">.*?<tbody>(.*?)</tbody>', blocks[-1], re.DOTALL)
    return {
        re.sub("<[^>]*>", "", head).removesuffix("baseline"): [re.sub("<[^>]*>", "", cell) for cell in re.findall("<td.*?</td>", rest)]
        for head, rest in re.findall(r'<tr class="[^"]*"><th scope="row">(.*?)</th>(.*?)</tr>', tables[table])
    }


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
    assert cells(report.page([path]), "value")["plain"] == ["20.00", "23.00", "17.00▾"]


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


@pytest.mark.parametrize(("key", "value"), [("value", "20"), ("value", True), ("model", 3), ("set", ""), ("scale", "4"), ("seed", None)])
def test_a_wrong_type_is_named(tmp_path, key, value):
    with pytest.raises(UserError, match=f"{key} = "):
        report.read_rows([write(tmp_path, [row(**{key: value})])])


@pytest.mark.parametrize(
    ("key", "old", "new"),
    [
        ("protocol", "psnr-rgb-crop4-uint8/1", "psnr-rgb-crop0-uint8/1"),
        ("suite", "rdsr8", "mine"),
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


def test_one_label_for_two_weights_is_refused(tmp_path):
    rows = [row("net", weights_sha256="one"), row("net", image="b", weights_sha256="two")]
    with pytest.raises(UserError, match=r"weights_sha256 of net differs: 'one' and 'two'"):
        report.read_rows([write(tmp_path, rows)])


def test_other_metrics_may_have_other_protocols(tmp_path):
    rows = [row(), row(space="y"), row(metric="ssim", value=0.5)]
    assert len(report.read_rows([write(tmp_path, rows)])) == 3


def test_two_values_for_one_measurement_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"two values for bicubic / Set5 / a / clean / psnr / rgb: 20\.0 and 20\.5"):
        report.read_rows([write(tmp_path, [row(), row(value=20.5)])])


@pytest.mark.parametrize("order", [1, -1])
def test_a_failure_that_was_mended_is_dropped(tmp_path, order):
    rows = [row(), row(value=None, error="out of memory")][::order]
    assert [tables.number(one) for one in report.read_rows([write(tmp_path, rows)])] == [20.0]


# Means


def test_means_and_gains():
    summary = report.summarize(two_models(), "psnr", "rgb")
    assert summary.models == ["bicubic", "plain", "robust"]
    assert [summary.cell("plain", "Set5", name).mean for name in ("clean", "noise", None)] == [23.0, 17.0, 20.0]
    assert [summary.cell("plain", "Set5", name, "bicubic").mean for name in ("clean", "noise", None)] == [2.0, -2.0, 0.0]
    assert summary.cell("robust", None, "noise", "plain").mean == 3.0
    assert summary.best() == ["robust"]


def test_every_set_weighs_the_same():
    rows = [*grid({"bicubic": {"clean": (10.0, 20.0, 30.0)}}), *grid({"bicubic": {"clean": (40.0,)}}, set="Set14")]
    assert report.summarize(rows, "psnr", "rgb").cell("bicubic").mean == 30.0


def test_degradations_stand_in_the_suites_order():
    rows = grid({"bicubic": dict.fromkeys(("zoom", "b+n+j", "noise", "n+j", "clean", "blur", "b+n", "jpeg", "b+j"), (1.0,))})
    assert report.summarize(rows, "psnr", "rgb").degradations == ["clean", "blur", "noise", "jpeg", "b+n", "b+j", "n+j", "b+n+j", "zoom"]


@pytest.mark.parametrize("wrong", [{"value": None, "infinite": True}, {"value": math.inf}])
def test_an_infinite_value_makes_the_mean_infinite(wrong):
    rows = [row(), row("net"), row("net", image="b", **wrong), row(image="b")]
    summary = report.summarize(rows, "psnr", "rgb")
    assert summary.cell("net").mean == math.inf
    assert summary.gain("net", "bicubic") == "+∞"
    assert summary.gain("bicubic", "net") == "−∞"
    assert summary.gain("net", "net") == "–"
    assert "| net | ∞ | ∞ |" in report.table_markdown(rows)


def test_failures_leave_the_means_and_are_noted(tmp_path):
    rows = [row(value=10.0), row(image="b", value=20.0), row("net", value=13.0), row("net", image="b", value=None, error="out of memory")]
    summary = report.summarize(rows, "psnr", "rgb")
    cell = summary.cell("net")
    assert (cell.mean, cell.count, cell.expected, cell.complete) == (13.0, 1, 2, False)
    assert summary.cell("net", over="bicubic").mean == 3.0, "the gain is over the picture that both answered"
    assert summary.best() == ["bicubic"], "a mean over fewer pictures wins nothing"
    table = report.table_markdown(rows)
    assert "| net | 13.00† | 13.00† |" in table
    assert "net on Set5 clean: 1 of 2 failed (out of memory)" in table
    page = report.page([write(tmp_path, rows)])
    assert cells(page, "value")["net"] == ["13.00†", "13.00†"]
    assert "net on Set5 clean: 1 of 2 failed (out of memory)" in page


@pytest.mark.parametrize("value", [None, math.nan])
def test_no_value_is_a_failure(value):
    assert tables.number(row(value=value)) is None


def test_a_model_without_any_value_shows_a_dash():
    rows = [row(), row("net", value=None, error="broken")]
    assert "| net | –† | –† |" in report.table_markdown(rows)


@pytest.mark.parametrize(("value", "shown"), [(0.004, "±0.00"), (-0.004, "±0.00"), (0.006, "+0.01"), (-1.5, "−1.50"), (None, "–")])
def test_gains_have_a_sign(value, shown):
    assert tables.signed(value, "psnr") == shown


# Markdown


def test_markdown_table():
    assert report.table_markdown(two_models()).splitlines() == [
        "PSNR RGB in dB, higher is better; suite rdsr8 1, ×4, seed 0, protocol psnr-rgb-crop4-uint8/1, code 0.1.0+src.abc.",
        "",
        "**Set5** (2 pictures)",
        "",
        "| model | clean | noise | mean |",
        "| --- | ---: | ---: | ---: |",
        "| bicubic | 21.00 | 19.00 | 20.00 |",
        "| plain | 23.00 | 17.00 | 20.00 |",
        "| robust | 22.00 | 20.00 | 21.00 |",
    ]


def test_ssim_has_four_decimals():
    rows = grid({"bicubic": {"clean": (0.5, 0.25005)}}, metric="ssim", space="y")
    assert "| bicubic | 0.3750 | 0.3750 |" in report.table_markdown(rows, "ssim", "y")


def test_markdown_escapes_names():
    table = report.table_markdown([row(), row("a|b <i>")])
    assert "| a\\|b &lt;i&gt; |" in table


def test_bicubic_is_required(tmp_path):
    rows = [row("net")]
    with pytest.raises(UserError, match="add the word bicubic to the bench command"):
        report.table_markdown(rows)
    with pytest.raises(UserError, match="add the word bicubic"):
        report.page([write(tmp_path, rows)])
    with pytest.raises(UserError, match="no bicubic rows of psnr y"):
        report.page([write(tmp_path, [row(), row("net", space="y")])])


def test_an_absent_metric_is_named():
    with pytest.raises(UserError, match="no rows of ssim y: there is psnr rgb"):
        report.table_markdown([row()], "ssim", "y")


# The page


def test_the_page_holds_the_means_and_both_gains(tmp_path):
    page = report.page([write(tmp_path, two_models())])
    # Columns: mean, clean, noise. A mark stands where a model is below bicubic.
    assert cells(page, "value") == {
        "bicubic": ["20.00", "21.00", "19.00"],
        "plain": ["20.00", "23.00", "17.00▾"],
        "robust": ["21.00", "22.00", "20.00"],
    }
    assert cells(page, "bicubic") == {
        "bicubic": ["0", "0", "0"],
        "plain": ["±0.00", "+2.00", "−2.00"],
        "robust": ["+1.00", "+1.00", "+1.00"],
    }
    assert cells(page, "baseline") == {
        "bicubic": ["±0.00", "−2.00", "+2.00"],
        "plain": ["0", "0", "0"],
        "robust": ["+1.00", "−1.00", "+3.00"],
    }


def test_the_baseline_can_be_chosen(tmp_path):
    path = write(tmp_path, two_models())
    page = report.page([path], baseline="robust")
    assert cells(page, "baseline")["plain"] == ["−1.00", "+1.00", "−3.00"]
    assert "Gain over robust" in page
    assert 'data-view="baseline"' not in report.page([path], baseline="bicubic")
    with pytest.raises(UserError, match="did you mean 'robust'"):
        report.page([path], baseline="robst")


def test_the_best_of_a_column_is_bold(tmp_path):
    page = report.page([write(tmp_path, two_models())])
    bold = re.findall(r'<td class="(?:mean )?best" style="--share:0.00">([0-9.]+)</td>', page)
    assert bold == ["23.00", "21.00", "20.00", "0"], "in the gains over plain its own 0 leads the clean column"


def test_the_verdict_names_the_best_and_where_bicubic_wins(tmp_path):
    page = report.page([write(tmp_path, two_models())])
    winner = re.search(r'<p class="winner">(.*?)</p>.*?<ul>(.*?)</ul>', page, re.DOTALL)
    assert winner
    assert "robust" in winner[1]
    assert "plain" not in winner[1]
    assert re.sub("<[^>]*>", "", winner[2]) == "+1.00 dB over bicubic+1.00 dB over the baseline plain1 of 2 cells (set × degradation) led"
    losses = re.search(r"Where bicubic wins</h3><table>(.*?)</table>", page, re.DOTALL)
    assert losses
    assert re.sub("<[^>]*>", " ", losses[1]).split() == ["plain", "1", "of", "2", "noise", "robust", "0", "of", "2", "nowhere"]


def test_another_value_makes_another_page(tmp_path):
    rows = two_models()
    path = write(tmp_path, rows)
    before = report.page([path])
    assert report.page([path]) == before, "the page is a function of its rows"
    rows[0]["value"] = 22.8
    after = report.page([write(tmp_path, rows)])
    assert cells(after, "value")["plain"] == ["20.20", "23.40", "17.00▾"]
    assert after != before


def test_each_metric_has_its_tables(tmp_path):
    rows = [one for base in two_models() for one in (base, base | {"metric": "ssim", "space": "y", "value": 0.5, "protocol": "ssim-y/1"})]
    page = report.page([write(tmp_path, rows)])
    assert cells(page, "value", "ssim-y")["plain"] == ["0.5000", "0.5000", "0.5000"]
    assert cells(page, "value", "psnr-rgb")["plain"][0] == "20.00"
    assert payload(page)["metrics"] == {"psnr-rgb": "PSNR RGB", "ssim-y": "SSIM Y"}


def test_several_sets_have_a_table_for_all(tmp_path):
    rows = [*grid({"bicubic": {"clean": (10.0, 20.0)}}), *grid({"bicubic": {"clean": (30.0,)}}, set="Set14")]
    page = report.page([write(tmp_path, rows)])
    assert [cells(page, "value", table=index)["bicubic"] for index in range(3)] == [["22.50"] * 2, ["15.00"] * 2, ["30.00"] * 2]


def test_how_it_was_measured(tmp_path):
    page = report.page([write(tmp_path, two_models())])
    method = page[page.index('<section id="method">') :]
    for word in (
        "psnr-rgb-crop4-uint8/1",
        "rdsr8, version 1",
        "4 pixels",
        "pil-bicubic",
        "float32",
        "0.1.0+src.abc",
        "Set5: 2 pictures",
        "ema",
    ):
        assert word in method
    assert f'<code title="{"ab12" * 16}">ab12ab12ab12</code>' in method


@pytest.mark.parametrize("with_pictures", [False, True])
def test_names_are_escaped_and_nothing_points_outside(tmp_path, with_pictures):
    rows = [row(set="<b>Set", image="</script>"), row(HOSTILE, set="<b>Set", image="</script>", value=21.0, error=None)]
    rows += [row(HOSTILE, set="<b>Set", image="x", value=None, error="<img src=x onerror=alert(1)>")]
    if with_pictures:
        pictures(tmp_path, rows)
    run = write(tmp_path / "<i>run", [{"event": "step", "step": 1, "losses": {"<u>": 1.0}}], "log.jsonl").parent
    page = report.page([write(tmp_path, rows)], [run], title="<em>Title")
    assert page.count("<script") == 2
    assert page.count("</script>") == 2
    for raw in (HOSTILE, "<b>Set", "<img src=x", "<i>run", "<u>", "<em>Title"):
        assert raw not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert len(payload(page)["shots"]) == (2 if with_pictures else 0)
    assert not re.search(r"https?://|@import|url\(|<link(?! rel=\"icon\" href=\"data:)", page)
    assert not [source for source in re.findall(r'(?:src|href)="([^"]*)"', page) if not source.startswith(("data:", "#"))]


def test_without_pictures_the_page_says_so(tmp_path):
    page = report.page([write(tmp_path, two_models())])
    assert "There are no pictures beside the rows" in page
    assert 'id="slider"' not in page
    assert payload(page)["shots"] == []


def decode(uri: str) -> np.ndarray:
    assert uri.startswith("data:image/png;base64,")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def test_crops_are_the_pictures_own_pixels(tmp_path):
    rows = two_models()
    pictures(tmp_path, rows)
    page = report.page([write(tmp_path, rows)])
    found = payload(page)
    assert [(shot["image"], shot["degradation"]) for shot in found["shots"]] == [
        ("a", "clean"),
        ("a", "noise"),
        ("b", "clean"),
        ("b", "noise"),
    ]
    shot = found["shots"][1]
    assert shot["size"] == [48, 40]
    assert [side["id"] for side in shot["sides"]] == ["input", "model:bicubic", "model:plain", "model:robust"]
    assert shot["sides"][2]["scores"] == {"psnr-rgb": "16.00 dB"}
    assert np.array_equal(decode(shot["sides"][2]["uri"]), np.asarray(Image.open(tmp_path / "images/Set5/noise/plain/a.png")))
    assert decode(shot["sides"][0]["uri"]).shape == (10, 12, 3)
    assert np.array_equal(decode(found["truths"]["Set5/a"]), np.asarray(Image.open(tmp_path / "hr/Set5/a.png")))


def test_pictures_without_truth_input_or_of_another_size_are_left_out(tmp_path):
    rows = two_models()
    pictures(tmp_path, rows, hr=False, lr=False)
    Image.new("RGB", (8, 8)).save(tmp_path / "images/Set5/clean/plain/a.png")
    (tmp_path / "images/Set5/clean/robust/a.png").write_bytes(b"no picture")
    found = payload(report.page([write(tmp_path, rows)]))
    assert [side["id"] for side in found["shots"][0]["sides"]] == ["model:bicubic"]
    assert found["truths"] == {}


def test_names_cannot_lead_out_of_the_folder(tmp_path):
    rows = [row(set="..", image="secret")]
    Image.new("RGB", (8, 8)).save(tmp_path / "secret.png")
    path = write(tmp_path / "bench", rows)
    (tmp_path / "bench" / "hr").mkdir()
    pictures(tmp_path / "bench", [row(set="..", image="secret")])
    assert payload(report.page([path]))["shots"] == []


def test_the_window_holds_the_most_detail():
    picture = np.full((480, 640, 3), 128, np.uint8)
    picture[256:384:2, 384:512] = 255
    top, left, height, width = pages.window(picture, 192, 4)
    assert (height, width) == (192, 192)
    assert top <= 256
    assert top + height >= 384
    assert left <= 384
    assert left + width >= 512
    assert top % 4 == left % 4 == 0
    assert pages.window(picture[:50, :70], 192, 3) == (0, 0, 48, 69)


def test_only_the_first_pictures_of_a_set_are_shown(tmp_path):
    rows = grid({"bicubic": {"clean": (1.0, 2.0, 3.0, 4.0, 5.0)}})[::-1]
    pictures(tmp_path, rows, size=(8, 8))
    assert [shot["image"] for shot in payload(report.page([write(tmp_path, rows)]))["shots"]] == ["a", "b", "c"]


def test_what_does_not_fit_is_left_out_and_named(tmp_path, monkeypatch):
    rows = two_models()
    pictures(tmp_path, rows)
    path = write(tmp_path, rows)
    whole = report.page([path])
    # Room for the skeleton and about half of the pictures.
    pictures_size = len(json.dumps(payload(whole)["shots"]))
    monkeypatch.setattr(pages, "LIMIT", len(whole.encode()) + 200_000 - pictures_size // 2)
    page = report.page([path])
    assert 0 < len(payload(page)["shots"]) < 4
    assert len(page.encode()) < pages.LIMIT
    left_out = re.search(r"Left out, to keep the page under 15 MB: (.*?)\.</p>", page)
    assert left_out
    assert "Set5 b (" in left_out[1]


def test_where_large_crops_do_not_fit_smaller_ones_are_taken(tmp_path, monkeypatch):
    rows = grid({"bicubic": {"clean": (1.0, 2.0)}})
    pictures(tmp_path, rows, size=(256, 260))
    path = write(tmp_path, rows)
    assert [shot["size"] for shot in payload(report.page([path]))["shots"]] == [[192, 192]] * 2
    # Two pictures and their truths, of about 150 kB each; one entry is repeated for a reader without script.
    monkeypatch.setattr(pages, "LIMIT", 760_000)
    page = report.page([path])
    assert [shot["size"] for shot in payload(page)["shots"]] == [[128, 128]] * 2
    assert "at most 128 × 128 pixels" in page
    assert "Left out" not in page


def test_bars_are_as_long_as_the_gains(tmp_path):
    page = report.page([write(tmp_path, two_models())])
    bars = re.findall(r'<rect class="bar c1" x="[^"]*" y="([^"]*)" width="[^"]*" height="([^"]*)"><title>plain, (\w+): ([^<]*)<', page)
    by_column = {column: (float(top), float(height), hint) for top, height, column, hint in bars}
    up, down = by_column["clean"], by_column["noise"]
    assert (up[2], down[2]) == ("+2.00 dB", "−2.00 dB")
    assert up[1] == pytest.approx(down[1], abs=0.2)
    assert up[1] > 80
    assert up[0] + up[1] == pytest.approx(down[0], abs=0.2), "one stands on the line that the other hangs from"


# Training runs


def log(folder: Path, records, config: str | None = '{"recipe": "psnr"}') -> Path:
    folder = write(folder, records, "log.jsonl").parent
    if config is not None:
        (folder / "config.json").write_text(config)
    return folder


def step(number, **losses):
    return {"event": "step", "step": number, "images": number, "lr": 1e-4, "losses": losses}


def test_a_run_is_read(tmp_path):
    records = [
        {"event": "start", "first_step": 0, "steps": 3},
        step(1, pixel=3.0, align=1.0),
        {"event": "note", "step": 1},
        step(2, pixel=None),
        step(3, pixel=math.nan),
        {"event": "val", "step": 3, "scores": {"psnr clean": 20.0}},
    ]
    run = pages.read_run(log(tmp_path / "one", records))
    assert run == pages.Run("one", "psnr", {"pixel": [(1, 3.0)], "align": [(1, 1.0)]}, {"psnr clean": [(3, 20.0)]})


def test_of_a_resumed_run_the_later_records_count(tmp_path):
    records = [step(number, pixel=1.0) for number in (10, 20, 30, 40)]
    records += [{"event": "start", "first_step": 20, "steps": 100}, step(20, pixel=7.0), step(30, pixel=5.0)]
    assert pages.read_run(log(tmp_path, records)).losses["pixel"] == [(10, 1.0), (20, 7.0), (30, 5.0)]


def test_a_run_without_a_log_or_with_a_broken_configuration_is_named(tmp_path):
    with pytest.raises(UserError, match=re.escape(str(tmp_path / "log.jsonl"))):
        pages.read_run(tmp_path)
    with pytest.raises(UserError, match=r"config\.json"):
        pages.read_run(log(tmp_path, [step(1, pixel=1.0)], config="[1]"))
    assert pages.read_run(log(tmp_path / "bare", [step(1, pixel=1.0)], config=None)).recipe == ""


def test_curves_are_drawn_with_few_points(tmp_path):
    chance = np.random.default_rng(0)
    records = [step(number, pixel=float(0.1 + chance.random() / number)) for number in range(1, 3001)]
    records += [{"event": "val", "step": number, "scores": {"psnr clean": 20 + number / 1000}} for number in (1000, 2000, 3000)]
    runs = [log(tmp_path / name, records) for name in ("one", "two", "deeper/one")]
    page = report.page([write(tmp_path, two_models())], runs)
    paths = re.findall(r'<path class="(raw|line) c\d" d="M([^"]*)"', page)
    assert [kind for kind, _ in paths] == ["raw"] * 3 + ["line"] * 6
    assert all(len(points.split("L")) <= pages.POINTS for _, points in paths)
    assert page.count("<circle") == 9
    assert "recipe psnr" in page
    assert "one (3)" in page, "runs of one name stay apart"
    assert '<section id="training">' not in report.page([write(tmp_path, two_models())])


def test_a_single_or_constant_value_can_be_drawn(tmp_path):
    runs = [log(tmp_path / "one", [step(1, pixel=0.0)]), log(tmp_path / "two", [step(number, pixel=0.0) for number in range(1, 5)])]
    assert report.page([write(tmp_path, two_models())], runs).count("<path") == 4
    assert "The logs hold no losses yet" in report.page([tmp_path], [log(tmp_path / "none", [{"event": "start", "first_step": 0}])])


def test_thinning_keeps_spikes_and_smoothing_keeps_the_mean():
    values = [(number, 1.0) for number in range(10_000)]
    values[5_001] = (5_001, 9.0)
    thinned = pages.thin(values)
    assert len(thinned) <= pages.POINTS
    assert (5_001, 9.0) in thinned
    assert pages.smooth(values[:100]) == [(number, pytest.approx(1.0)) for number in range(100)]
    around = dict(pages.smooth(values))
    assert max(around.values()) == pytest.approx(1.0 + 8.0 / 1001)


# The file


def test_the_page_is_written(tmp_path):
    path, out = write(tmp_path, two_models()), tmp_path / "deep" / "report.html"
    report.write_page(out, [path], title="A title")
    assert out.read_text(encoding="utf-8") == report.page([path], title="A title")
    assert "<h1>A title</h1>" in out.read_text(encoding="utf-8")


def test_the_report_needs_no_torch():
    code = "import sys, wildsr.report; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
