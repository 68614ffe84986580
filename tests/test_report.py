"""The page, against numbers worked out by hand."""

import math
import re
import subprocess
import sys

import numpy as np
import pytest
from bench_rows import (
    HOSTILE,
    block,
    cells,
    decode,
    grid,
    intervals,
    log,
    payload,
    pictures,
    row,
    section,
    seeds,
    source,
    step,
    two_models,
    words,
    write,
)
from PIL import Image

from wildsr import report
from wildsr.errors import UserError
from wildsr.report import pages, runs, sheets

# Tables


def test_the_page_holds_the_means_and_both_gains(tmp_path):
    page = report.page([write(tmp_path, two_models())])
    # Columns: mean, clean, noise. A mark stands where a model is below bicubic.
    assert cells(page) == {
        "bicubic": ["20.00", "21.00", "19.00"],
        "plain": ["20.00", "23.00", "17.00▾"],
        "robust": ["21.00", "22.00", "20.00"],
    }
    # Pictures differ by 2 dB, but gains are equal on both: their intervals have no width, and exclude 0.
    assert cells(page, "bicubic") == {
        "plain": ["±0.00", "+2.00*", "−2.00*"],
        "robust": ["+1.00*", "+1.00*", "+1.00*"],
    }
    assert cells(page, "baseline") == {
        "bicubic": ["±0.00", "−2.00*", "+2.00*"],
        "robust": ["+1.00*", "−1.00*", "+3.00*"],
    }


def test_intervals_stand_under_the_numbers(tmp_path):
    page = report.page([write(tmp_path, two_models())])
    assert intervals(page)["plain"] == ["19.00–21.00", "22.00–24.00", "16.00–18.00"]
    assert intervals(page, "bicubic")["plain"] == ["±0.00 … ±0.00", "+2.00 … +2.00", "−2.00 … −2.00"]
    assert list(intervals(page, "bicubic")) == ["plain", "robust"], "nobody gains over himself"


def test_the_baseline_can_be_chosen(tmp_path):
    path = write(tmp_path, two_models())
    page = report.page([path], baseline="robust")
    assert cells(page, "baseline")["plain"] == ["−1.00*", "+1.00*", "−3.00*"]
    assert "Gain over the baseline robust" in page
    assert 'data-view="baseline"' not in report.page([path], baseline="bicubic")
    with pytest.raises(UserError, match="did you mean 'robust'"):
        report.page([path], baseline="robst")


def test_the_best_of_a_column_is_bold(tmp_path):
    page = report.page([write(tmp_path, two_models())])
    assert re.findall(r'<td class="(?:mean )?best">([0-9.]+)', page) == ["23.00", "21.00", "20.00"]


def test_colours_and_bold_know_which_way_is_better(tmp_path):
    rows = [one | {"metric": "niqe", "lower_better": True, "protocol": "niqe/1"} for one in two_models()]
    page = report.page([write(tmp_path, rows)])
    assert cells(page, metric="niqe-rgb")["plain"] == ["20.0000", "23.0000▾", "17.0000"]
    assert '<td class="best">17.0000' in page
    assert re.findall(r'<td class="(up|down) s6 sure">−2', block(page, "gains", "niqe-rgb"))[0] == "up"
    assert "NIQE RGB; lower is better" in page


def test_seeds_are_one_row_with_their_spread(tmp_path):
    rows = [*grid({"bicubic": {"clean": (10.0, 10.0)}}), *seeds("plain", [{"clean": (11.0, 11.0)}, {"clean": (13.0, 13.0)}])]
    page = report.page([write(tmp_path, rows)], baseline="plain-seed1")
    assert cells(page, "bicubic") == {"plain": ["+2.00*"]}, "one degradation needs no column for the mean"
    assert intervals(page, "bicubic")["plain"] == ["+1.00 … +3.00"]
    assert "2 seeds" in words(section(page, "tables"))
    assert "plain: mean over 2 seeds" in words(section(page, "method")).replace("Plain", "plain")
    assert "plain-seed1" in words(section(page, "method")), "each seed's weights are named"
    single = report.page([write(tmp_path, two_models())])
    assert "1 seed each, so their intervals are over pictures alone" in single


def test_published_numbers_stand_apart(tmp_path):
    rows = grid({"bicubic": {"clean": (24.0,) * 5, "noise": (24.0,) * 5}})
    page = report.page([write(tmp_path, rows)])
    assert cells(page)["SRResNet, p = 0"] == ["24.32", "24.89", "23.75"]
    assert "24.89" not in section(page, "gains") + section(page, "glance")
    assert '<td class="mean best">24.00' in page, "a published number is never the best"
    assert "Kong et al." in page
    assert 'data-toggle="published"' in page
    assert "Kong et al." not in report.page([write(tmp_path, two_models())]), "the set is not whole"


def test_several_sets_have_a_group_for_all(tmp_path):
    rows = [*grid({"bicubic": {"clean": (10.0, 20.0)}}), *grid({"bicubic": {"clean": (30.0,)}}, set="Set14")]
    page = report.page([write(tmp_path, rows)])
    assert [cells(page, group=place)["bicubic"] for place in range(3)] == [["22.50"], ["15.00"], ["30.00"]]


def test_each_metric_and_suite_has_its_block(tmp_path):
    rows = [one for base in two_models() for one in (base, base | {"metric": "ssim", "space": "y", "value": 0.5, "protocol": "ssim-y/1"})]
    rows += two_models(suite="unseen")
    page = report.page([write(tmp_path, rows)])
    assert cells(page, metric="ssim-y")["plain"] == ["0.5000", "0.5000", "0.5000"]
    assert cells(page, suite="unseen")["plain"][0] == "20.00"
    assert payload(page)["metrics"] == {"psnr-rgb": "PSNR RGB", "ssim-y": "SSIM Y"}
    assert payload(page)["suites"] == {"rdsr8": ["psnr-rgb", "ssim-y"], "unseen": ["psnr-rgb"]}


def test_many_degradations_stand_in_rows_by_kind(tmp_path):
    names = [f"motion-{i}" for i in range(1, 8)] + [f"blur-{i}" for i in range(1, 7)]
    rows = grid({"bicubic": dict.fromkeys(names, (10.0, 10.0)), "net": {name: (10.0 + i, 10.0 + i) for i, name in enumerate(names)}})
    for one in rows:
        kind, _, severity = one["degradation"].partition("-")
        one["words"] = f"{kind} blur, severity {severity} of 7"
    page = report.page([write(tmp_path, rows)])
    body = section(page, "tables")
    assert words(re.findall(r"<thead>.*?</thead>", body, re.DOTALL)[0]) == "degradation bicubic net 1 run baseline".replace(" baseline", "")
    lines = [words(re.sub("<i>.*?</i>", "", line)) for line in re.findall(r"<tr class=.*?</tr>", body)]
    assert lines[0] == "mean 10.00 16.00"
    assert lines[2] == "motion blur 2 of 7 10.00 11.00"
    assert 'class="chart rows"' in page


def test_failures_are_noted_and_listed(tmp_path):
    rows = [row(value=10.0), row(image="b", value=20.0), row("net", value=13.0), row("net", image="b", value=None, error="out of memory")]
    page = report.page([write(tmp_path, rows)])
    assert cells(page)["net"] == ["13.00†"]
    assert "net on Set5 clean: 1 of 2 failed (out of memory)" in page
    assert "net: rdsr8 Set5 b, clean: out of memory" in words(section(page, "failed"))
    assert section(report.page([write(tmp_path, two_models())]), "failed") == ""


def test_where_everything_failed_there_is_no_page(tmp_path):
    with pytest.raises(UserError, match="no row has a value"):
        report.page([write(tmp_path, [row(value=None, error="broken")])])


def test_bicubic_alone_makes_a_page(tmp_path):
    rows = grid({"bicubic": {"clean": (20.0, 21.0), "noise": (18.0, 19.0)}})
    pictures(tmp_path, rows)
    page = report.page([write(tmp_path, rows)])
    assert cells(page)["bicubic"] == ["19.50", "20.50", "18.50"]
    assert not any(section(page, name) for name in ("gains", "generalisation", "duel"))
    assert 'data-first="truth"' in page
    assert "Bicubic alone." in page
    assert "Where bicubic wins" not in page


def test_bicubic_is_required(tmp_path):
    with pytest.raises(UserError, match="add the word bicubic"):
        report.page([write(tmp_path, [row("net")])])
    with pytest.raises(UserError, match="no bicubic rows of psnr y"):
        report.page([write(tmp_path, [row(), row("net", space="y")])])


# The verdict and its chart


def test_the_verdict_names_the_best_and_where_bicubic_wins(tmp_path):
    page = report.page([write(tmp_path, two_models())])
    winner = re.search(r'<p class="winner">(.*?)</p>(.*?)<ul>(.*?)</ul>', page, re.DOTALL)
    assert winner
    assert words(winner[1]) == "robust"
    assert words(winner[2]) == "21.00 dB [20.00–22.00]"
    assert [words(line) for line in re.findall("<li>(.*?)</li>", winner[3])] == [
        "+1.00 dB [+1.00 … +1.00] over bicubic",
        "+1.00 dB [+1.00 … +1.00] over the baseline plain",
        "1 of 2 cells (set × degradation) led",
    ]
    losses = re.search(r"Where bicubic wins</h3><table>(.*?)</table>", page, re.DOTALL)
    assert losses
    assert words(losses[1]).split() == ["plain", "1", "of", "2", "noise", "robust", "0", "of", "2", "nowhere"]


def test_a_lead_that_may_be_chance_is_called_so(tmp_path):
    rows = grid({"bicubic": {"clean": (0.0, 0.0)}, "one": {"clean": (5.0, 5.0)}, "two": {"clean": (4.0, 6.5)}})
    page = report.page([write(tmp_path, rows)], baseline="bicubic")
    assert "+0.25 dB [−1.00 … +1.50] over the second, one; may be chance" in words(section(page, "glance"))


def test_bars_are_as_long_as_the_gains(tmp_path):
    page = report.page([write(tmp_path, two_models())])
    bars = re.findall(r'<rect class="bar c1" x="[^"]*" y="([^"]*)" width="[^"]*" height="([^"]*)"><title>plain, (\w+): (\S+ dB)', page)
    by_column = {column: (float(top), float(height), hint) for top, height, column, hint in bars}
    up, down = by_column["clean"], by_column["noise"]
    assert (up[2], down[2]) == ("+2.00 dB", "−2.00 dB")
    assert up[1] == pytest.approx(down[1], abs=0.2)
    assert up[1] > 80
    assert up[0] + up[1] == pytest.approx(down[0], abs=0.2), "one stands on the line that the other hangs from"


def test_another_value_makes_another_page(tmp_path):
    rows = two_models()
    path = write(tmp_path, rows)
    before = report.page([path])
    assert report.page([path]) == before, "the page is a function of its rows"
    rows[0]["value"] = 22.8
    after = report.page([write(tmp_path, rows)])
    assert cells(after)["plain"] == ["20.20", "23.40", "17.00▾"]
    assert after != before


# Sections


def test_the_gap_between_seen_and_unseen(tmp_path):
    rows = two_models(seen="seen") + two_models(suite="unseen", seen="unseen")
    for one in rows:
        if one["suite"] == "unseen" and one["model"] == "robust":
            one["value"] -= 3.0
    part = words(section(report.page([write(tmp_path, rows)]), "generalisation"))
    assert "robust +1.00 * +1.00 … +1.00 −2.00 * −2.00 … −2.00 +3.00 * +3.00 … +3.00" in part
    only = words(section(report.page([write(tmp_path, two_models(seen="seen"))]), "generalisation"))
    assert "Only seen degradations were measured" in only
    assert "wildsr bench MODEL --suite rdsr8 --suite unseen" in only


def bands(values: dict[str, tuple[float, ...]]):
    """Rows of bands of frequencies: {model: a value for each}, on clean and noise alike."""
    edges = ["0.00", "0.50", "1.00", "top"]
    rows = []
    for model, found in values.items():
        for low, high, value in zip(edges, edges[1:], found, strict=False):
            both = {"clean": (value, value), "noise": (value - 1, value - 1)}
            rows += grid({model: both}, metric=f"energy-{low}-{high}", space="y")
    return rows


def test_detail_by_band(tmp_path):
    rows = two_models() + bands({"bicubic": (0.0, -5.0, -20.0), "plain": (0.5, -1.0, -12.0)})
    page = report.page([write(tmp_path, rows)])
    part = section(page, "detail")
    lines = [words(re.sub("<i>.*?</i>", "", line)) for line in re.findall(r'<tr class="(?!group).*?</tr>', part)]
    assert lines == ["bicubic ±0.00 −5.00 −20.00", "plain +0.50 −1.00 −12.00", "bicubic −1.00 −6.00 −21.00", "plain −0.50 −2.00 −13.00"]
    assert re.findall(r'<td class="best">([^<]*)', part) == ["±0.00", "−1.00", "−12.00", "−0.50", "−2.00", "−13.00"]
    charts = part.split("<figure")
    dots = {hint: float(y) for y, hint in re.findall(r'<circle [^>]* cy="([^"]*)"[^>]*><title>([^<]*)', charts[1])}
    assert set(dots) == {
        *("bicubic, 0 to 0.5: ±0.00 dB", "bicubic, 0.5 to 1: −5.00 dB", "bicubic, 1 to top: −20.00 dB"),
        *("plain, 0 to 0.5: +0.50 dB", "plain, 0.5 to 1: −1.00 dB", "plain, 1 to top: −12.00 dB"),
    }
    truth = re.search(r'<line class="truth"[^>]* y1="([^"]*)"', charts[1])
    assert truth
    assert dots["bicubic, 0 to 0.5: ±0.00 dB"] == pytest.approx(float(truth[1]))
    down = [dots[f"bicubic, {band}"] - float(truth[1]) for band in ("0.5 to 1: −5.00 dB", "1 to top: −20.00 dB")]
    assert down[1] == pytest.approx(4 * down[0], rel=0.01)
    assert "energy-0.00-0.50-y" not in payload(page)["metrics"], "bands are no tabs"
    assert "No bands of frequencies were measured" in report.page([write(tmp_path, two_models())])


def test_duels_are_worked_out_beforehand(tmp_path):
    page = report.page([write(tmp_path, two_models())])
    found = payload(page)["duels"]["rdsr8"]
    assert found["pictures"] == [["Set5", "a"], ["Set5", "b"]]
    assert [name for name, _ in found["methods"]] == ["bicubic", "plain", "robust"]
    assert found["pair"] == [2, 1], "the best against the baseline"
    metric = found["metrics"]["psnr-rgb"]
    assert metric["values"][1] == [[22.0, 24.0], [16.0, 18.0]]
    assert metric["pairs"]["0-1"]["lines"] == [
        [2, "±0.00", "±0.00", "±0.00", "–", "–", 0],
        [2, "−2.00", "−2.00", "−2.00", "–", "–", -1],
        [2, "+2.00", "+2.00", "+2.00", "–", "–", 1],
    ]
    assert metric["pairs"]["0-1"]["ends"] == [[[1, 0, "+2.00"], [1, 1, "+2.00"]], [[0, 0, "−2.00"], [0, 1, "−2.00"]]]
    assert "No p-values here: there are 2 pictures, and six are needed" in page
    static = words(re.findall(r"<noscript>(.*?)</noscript>", section(page, "duel"), re.DOTALL)[0])
    assert "robust minus plain" in static
    assert "noise 2 +3.00 +3.00 … +3.00 – –" in static


def test_pictures_without_ground_truth(tmp_path):
    rows = [row(suite="real", metric="niqe", set="phone", degradation="as they are", lower_better=True, crop=0, value=5.0)]
    rows += [rows[0] | {"model": "net", "value": 4.0}]
    pictures(tmp_path, rows, hr=False)
    page = report.page([write(tmp_path, rows)])
    found = payload(page)
    assert [side["id"] for side in found["shots"][0]["sides"]] == ["input", "model:bicubic", "model:net"]
    assert found["truths"] == {}
    assert set(found["close"]["real|0-1|0|0"]) == {"first", "second"}
    assert cells(page, metric="niqe-rgb", suite="real")["net"] == ["4.0000"]


def test_how_it_was_measured(tmp_path):
    method = section(report.page([write(tmp_path, two_models(weights_sha256=None))]), "method")
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
    rows = [row(), row("net", weights_sha256="ab12" * 16)]
    assert f'<code title="{"ab12" * 16}">ab12ab12ab12</code>' in report.page([write(tmp_path, rows)])


@pytest.mark.parametrize("with_pictures", [False, True])
def test_names_are_escaped_and_nothing_points_outside(tmp_path, with_pictures):
    other = {"set": "<b>Set", "image": "</script>", "words": "<s>", "suite": "<p>suite"}
    rows = [row(**other), row(HOSTILE, value=21.0, **other)]
    rows += [row(HOSTILE, set="<b>Set", suite="<p>suite", image="x", value=None, error="<img src=x onerror=alert(1)>")]
    rows += [row(set="<b>Set", suite="second", metric="<q>", image="</script>")]
    if with_pictures:
        pictures(tmp_path, rows)
    run = write(tmp_path / "<i>run", [{"event": "step", "step": 1, "losses": {"<u>": 1.0}}], "log.jsonl").parent
    page = report.page([write(tmp_path, rows)], [run], title="<em>Title")
    assert page.count("<script") == 2
    assert page.count("</script>") == 2
    for raw in (HOSTILE, "<b>Set", "<img src=x", "<i>run", "<u>", "<em>Title", "<s>", "<p>suite", "<q>", "<Q>"):
        assert raw not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert len(payload(page)["shots"]) == (3 if with_pictures else 0)
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg\")|@import|url\(|<link(?! rel=\"icon\" href=\"data:)", page)
    assert not [source for source in re.findall(r'(?:src|href)="([^"]*)"', page) if not source.startswith(("data:", "#"))]


# Pictures


def test_without_pictures_the_page_says_so(tmp_path):
    page = report.page([write(tmp_path, two_models())])
    assert "There are no pictures beside the rows" in page
    assert 'id="slider"' not in page
    assert payload(page)["shots"] == []


def test_crops_are_the_pictures_own_pixels(tmp_path):
    rows = two_models()
    pictures(tmp_path, rows)
    page = report.page([write(tmp_path, rows)])
    found = payload(page)
    places = [(shot["image"], shot["degradation"]) for shot in found["shots"]]
    assert places == [("a", "clean"), ("a", "noise"), ("b", "clean"), ("b", "noise")]
    shot = found["shots"][1]
    assert shot["size"] == [48, 40]
    assert [side["id"] for side in shot["sides"]] == ["input", "model:bicubic", "model:plain", "model:robust"]
    assert shot["sides"][2]["scores"] == {"psnr-rgb": "16.00 dB"}
    assert [side.get("best") for side in shot["sides"]] == [None, [], [], ["psnr-rgb"]]
    plain = decode(source(page, shot["sides"][2]["img"]))
    assert np.array_equal(plain, np.asarray(Image.open(tmp_path / "images/rdsr8/Set5/noise/plain/a.png")))
    assert decode(source(page, shot["sides"][0]["img"])).shape == (10, 12, 3)
    assert np.array_equal(decode(source(page, found["truths"]["Set5/a"])), np.asarray(Image.open(tmp_path / "hr/Set5/a.png")))


def test_a_sheet_has_a_row_for_each_degradation(tmp_path):
    rows = two_models()
    pictures(tmp_path, rows)
    page = report.page([write(tmp_path, rows)])
    sheet = re.findall(r'<figure class="sheet.*?</figure>', page, re.DOTALL)[0]
    lines = [words(line) for line in re.findall("<tr>.*?</tr>", sheet, re.DOTALL)]
    assert lines == [
        "degradation input bicubic plain robust ground truth",
        "clean 20.00 dB 22.00 dB 21.00 dB",
        "noise 18.00 dB 16.00 dB 19.00 dB",
    ]
    assert re.findall(r'<span class="best">([^<]*)', sheet) == ["22.00 dB", "19.00 dB"]
    assert sheet.count("data-copy") == 1, "the truth is in the page once"


def test_of_several_seeds_the_first_is_shown(tmp_path):
    rows = [*grid({"bicubic": {"clean": (10.0,)}}), *seeds("plain", [{"clean": (11.0,)}, {"clean": (13.0,)}])]
    pictures(tmp_path, rows)
    page = report.page([write(tmp_path, rows)])
    assert [side["id"] for side in payload(page)["shots"][0]["sides"]] == ["input", "model:bicubic", "model:plain-seed0"]
    assert "Shown of several seeds: plain by plain-seed0" in page


def test_of_many_degradations_each_kind_has_a_row():
    names = [f"motion-{i}" for i in (1, 2, 3)] + [f"blur-{i}" for i in range(10)]
    rows = [row(degradation=name, words=f"{name[:4]}, severity {name[-1]} of 9") for name in names]
    assert sheets.chosen(report.summarize(rows, "psnr", "rgb")) == ["motion-2", "blur-5"]


def test_pictures_without_truth_input_or_of_another_size_are_left_out(tmp_path):
    rows = two_models()
    pictures(tmp_path, rows, hr=False, lr=False)
    Image.new("RGB", (8, 8)).save(tmp_path / "images/rdsr8/Set5/clean/plain/a.png")
    (tmp_path / "images/rdsr8/Set5/clean/robust/a.png").write_bytes(b"no picture")
    found = payload(report.page([write(tmp_path, rows)]))
    assert [side["id"] for side in found["shots"][0]["sides"]] == ["model:bicubic"]
    assert found["truths"] == {}


@pytest.mark.parametrize("wrong", [{"set": ".."}, {"suite": "/tmp"}, {"degradation": "../x"}])
def test_names_cannot_lead_out_of_the_folder(tmp_path, wrong):
    rows = [row(image="secret", **wrong)]
    path = write(tmp_path / "bench", rows)
    (tmp_path / "bench" / "hr").mkdir()
    if "suite" not in wrong:
        pictures(tmp_path / "bench", rows)
    assert payload(report.page([path]))["shots"] == []


def test_the_window_holds_the_most_detail():
    picture = np.full((480, 640, 3), 128, np.uint8)
    picture[256:384:2, 384:512] = 255
    top, left, height, width = sheets.window(picture, 192, 4)
    assert (height, width) == (192, 192)
    assert top <= 256
    assert top + height >= 384
    assert left <= 384
    assert left + width >= 512
    assert top % 4 == left % 4 == 0
    assert sheets.window(picture[:50, :70], 192, 3) == (0, 0, 48, 69)


def test_close_ups_show_where_the_errors_differ_most(tmp_path):
    rows = grid({"bicubic": {"clean": (10.0,)}, "net": {"clean": (12.0,)}})
    for part, value in (("hr/Set5", 100), ("images/rdsr8/Set5/clean/bicubic", 100), ("images/rdsr8/Set5/clean/net", 100)):
        picture = np.full((240, 240, 3), value, np.uint8)
        if part.endswith("net"):
            picture[140:220, 150:230] = 0
        (tmp_path / part).mkdir(parents=True)
        Image.fromarray(picture).save(tmp_path / part / "a.png")
    found = payload(report.page([write(tmp_path, rows)]))["close"]["rdsr8|0-1|0|0"]
    assert decode(found["first"]).shape == (96, 96, 3)
    assert (decode(found["second"]) == 0).sum() == 80 * 80 * 3
    assert (decode(found["truth"]) == 100).all()


def test_only_the_first_pictures_of_a_set_are_shown(tmp_path):
    rows = grid({"bicubic": {"clean": (1.0, 2.0, 3.0, 4.0, 5.0)}})[::-1]
    pictures(tmp_path, rows, size=(8, 8))
    assert [shot["image"] for shot in payload(report.page([write(tmp_path, rows)]))["shots"]] == ["a", "b", "c"]


def test_what_does_not_fit_is_left_out_and_named(tmp_path, monkeypatch):
    rows = two_models()
    pictures(tmp_path, rows)
    path = write(tmp_path, rows)
    monkeypatch.setattr(pages, "SHARE", 0.0)
    whole = report.page([path])
    # Room for the skeleton and about half of the pictures.
    monkeypatch.setattr(pages, "LIMIT", len(whole.encode()) + 200_000 - len(section(whole, "sheets")) // 2)
    page = report.page([path])
    assert 0 < len(payload(page)["shots"]) < 4
    assert len(page.encode()) < pages.LIMIT
    left_out = re.search(r"Left out, to keep the page under 15 MB: (.*?)\.</p>", page)
    assert left_out
    assert left_out[1].startswith("of rdsr8: Set5 ")


def test_where_large_crops_do_not_fit_smaller_ones_are_taken(tmp_path, monkeypatch):
    rows = grid({"bicubic": {"clean": (1.0, 2.0)}})
    pictures(tmp_path, rows, size=(256, 260))
    path = write(tmp_path, rows)
    assert [shot["size"] for shot in payload(report.page([path]))["shots"]] == [[192, 192]] * 2
    # Two pictures and their truths, of about 150 kB each.
    monkeypatch.setattr(pages, "LIMIT", 700_000)
    page = report.page([path])
    assert [shot["size"] for shot in payload(page)["shots"]] == [[128, 128]] * 2
    assert "at most 128 × 128 pixels" in page
    assert "Left out" not in page


# Training runs


def test_a_run_is_read(tmp_path):
    records = [
        {"event": "start", "first_step": 0, "steps": 3},
        step(1, pixel=3.0, align=1.0),
        {"event": "note", "step": 1},
        step(2, pixel=None),
        step(3, pixel=math.nan),
        {"event": "val", "step": 3, "scores": {"psnr clean": 20.0}},
    ]
    run = runs.read_run(log(tmp_path / "one", records))
    assert run == runs.Run("one", "psnr", {"pixel": [(1, 3.0)], "align": [(1, 1.0)]}, {"psnr clean": [(3, 20.0)]})


def test_of_a_resumed_run_the_later_records_count(tmp_path):
    records = [step(number, pixel=1.0) for number in (10, 20, 30, 40)]
    records += [{"event": "start", "first_step": 20, "steps": 100}, step(20, pixel=7.0), step(30, pixel=5.0)]
    assert runs.read_run(log(tmp_path, records)).losses["pixel"] == [(10, 1.0), (20, 7.0), (30, 5.0)]


def test_a_run_without_a_log_or_with_a_broken_configuration_is_named(tmp_path):
    with pytest.raises(UserError, match=re.escape(str(tmp_path / "log.jsonl"))):
        runs.read_run(tmp_path)
    with pytest.raises(UserError, match=r"config\.json"):
        runs.read_run(log(tmp_path, [step(1, pixel=1.0)], config="[1]"))
    assert runs.read_run(log(tmp_path / "bare", [step(1, pixel=1.0)], config=None)).recipe == ""


def test_curves_are_drawn_with_few_points(tmp_path):
    chance = np.random.default_rng(0)
    records = [step(number, pixel=float(0.1 + chance.random() / number)) for number in range(1, 3001)]
    records += [{"event": "val", "step": number, "scores": {"psnr clean": 20 + number / 1000}} for number in (1000, 2000, 3000)]
    folders = [log(tmp_path / name, records) for name in ("one", "two", "deeper/one")]
    page = report.page([write(tmp_path, two_models())], folders)
    paths = re.findall(r'<path class="(raw|line) c\d" d="M([^"]*)"', page)
    assert [kind for kind, _ in paths] == ["raw"] * 3 + ["line"] * 6
    assert all(len(points.split("L")) <= runs.POINTS for _, points in paths)
    assert page.count("<circle") == 9
    assert "recipe psnr" in page
    assert "one (3)" in page, "runs of one name stay apart"
    assert '<section id="training">' not in report.page([write(tmp_path, two_models())])


def test_a_single_or_constant_value_can_be_drawn(tmp_path):
    folders = [log(tmp_path / "one", [step(1, pixel=0.0)]), log(tmp_path / "two", [step(number, pixel=0.0) for number in range(1, 5)])]
    assert report.page([write(tmp_path, two_models())], folders).count("<path") == 4
    assert "The logs hold no losses yet" in report.page([tmp_path], [log(tmp_path / "none", [{"event": "start", "first_step": 0}])])


def test_thinning_keeps_spikes_and_smoothing_keeps_the_mean():
    values = [(number, 1.0) for number in range(10_000)]
    values[5_001] = (5_001, 9.0)
    thinned = runs.thin(values)
    assert len(thinned) <= runs.POINTS
    assert (5_001, 9.0) in thinned
    assert runs.smooth(values[:100]) == [(number, pytest.approx(1.0)) for number in range(100)]
    around = dict(runs.smooth(values))
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
