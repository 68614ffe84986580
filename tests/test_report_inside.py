"""The section on what is inside the networks, against numbers worked out by hand."""

import re
import subprocess
import sys

import numpy as np
import pytest
from bench_rows import HOSTILE, decode, payload, section, source, two_models, words, write
from explain_arrays import SIDE, channels, clusters, everything, lam, save

from wildsr import report
from wildsr.errors import UserError
from wildsr.report import inside, pages
from wildsr.report.inside import explained, explorer, maps
from wildsr.report.inside.channels import _curves


def strips(part: str) -> dict[str, dict[str, list[str]]]:
    """{title: {model: the cells beside its figure}} of all figures in tables."""
    return {
        words(title): {
            words(head): [words(cell) for cell in re.findall(r"<td>(.*?)</td>", rest)]
            for head, rest in re.findall(r'<tr><th scope="row">(.*?)</th>(.*?)</tr>', body, re.DOTALL)
        }
        for title, body in re.findall(r'<figure class="strips"><figcaption>(.*?)</figcaption>(.*?)</figure>', part, re.DOTALL)
    }


def table(part: str) -> dict[str, list[str]]:
    """{model: its cells} of the last table."""
    body = part[part.rindex("<tbody>") :]
    return {
        words(head): [words(cell) for cell in re.findall(r"<td>(.*?)</td>", rest)]
        for head, rest in re.findall(r'<tr><th scope="row">(.*?)</th>(.*?)</tr>', body, re.DOTALL)
    }


# What there is


def test_a_page_of_arrays_alone_has_all_parts_and_the_facts(tmp_path):
    page = report.page(explain=[everything(tmp_path)])
    assert re.findall(r'<section id="([^"]*)"', page) == [
        "channels",
        "inequality",
        "ablation",
        "clusters",
        "srga",
        "cosine",
        "lam",
        "looked-at",
    ]
    assert re.findall(r'<a href="#([^"]*)">', page) == re.findall(r'<section id="([^"]*)"', page)
    assert '<a class="skip" href="#channels">' in page
    assert "2 networks: plain and dropout." in page
    facts = section(page, "looked-at")
    assert "baby, bird" in words(facts)
    assert table(facts)["plain"] == ["ab" * 6, "last", "4", "0.1.0+src.abc"]


def test_only_what_was_looked_at_has_a_part(tmp_path):
    save(tmp_path, "srga", "plain", "all", names=np.array(["noise"]), values=np.array([2.0]))
    page = report.page(explain=[tmp_path])
    assert re.findall(r'<section id="([^"]*)"', page) == ["srga", "looked-at"]
    assert payload(page)["inside"] == {}


def test_beside_a_benchmark_it_is_one_section_more(tmp_path):
    rows = write(tmp_path, two_models())
    without, page = report.page([rows]), report.page([rows], explain=[everything(tmp_path / "explain")])
    sections = re.findall(r'<section id="([^"]*)"', page)
    assert sections.count("inside") == 1
    assert [name for name in sections if name != "inside"] == re.findall(r'<section id="([^"]*)"', without)
    assert re.findall(r'<div class="part" id="([^"]*)"', page)[0] == "channels"
    assert '<a href="#inside">Inside</a>' in page
    assert payload(page)["suites"] == payload(without)["suites"]
    colour = re.findall(r'<i class="dot c(\d+)"></i>plain<', page)
    assert len(set(colour)) == 1, "a model has one colour in all sections"


def test_runs_stand_beside_arrays_too(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "log.jsonl").write_text('{"event": "step", "step": 1, "losses": {"pixel": 1.0}}\n')
    page = report.page(run_dirs=[tmp_path / "run"], explain=[everything(tmp_path / "explain")])
    assert re.findall(r'<section id="([^"]*)"', page)[-2:] == ["training", "looked-at"]
    assert 'href="#training"' in page


# Channels


def test_scores_drops_and_orders_reach_the_script(tmp_path):
    drops = np.array([0.2, np.nan, 0.4, 0.1])
    save(tmp_path, "channels", "plain", "baby", **channels(scores=np.array([5.0, 7.0, 1.0, 7.0]), drops=drops, rank=-0.5))
    data = payload(report.page(explain=[tmp_path]))["inside"]["channels"]
    assert data["pictures"] == ["baby"]
    assert data["models"] == [{"name": "plain", "colour": 1, "width": 4}]
    cell = data["cells"]["0|0"]
    assert cell["scores"] == [5.0, 7.0, 1.0, 7.0]
    assert cell["drops"] == [0.2, None, 0.4, 0.1]
    assert cell["orders"] == {"saliency": [1, 3, 0, 2], "drop": [2, 0, 3, 1]}, "equal ones by number, undefined ones last"
    assert cell["words"] == "PSNR 30.00 dB, rank correlation −0.50"


def test_each_map_is_a_tile_in_the_place_of_its_channel(tmp_path):
    saliency = np.zeros((5, SIDE, SIDE), np.float16)
    saliency[3] = 1.0
    save(tmp_path, "channels", "plain", "baby", **channels(5, map=saliency))
    page = report.page(explain=[tmp_path])
    cell = payload(page)["inside"]["channels"]["cells"]["0|0"]
    assert cell["columns"] == 3
    sheet = decode(source(page, cell["maps"]["saliency"]))
    assert sheet.shape == (2 * SIDE, 3 * SIDE, 3)
    tiles = sheet.reshape(2, SIDE, 3, SIDE, 3).swapaxes(1, 2).mean(axis=(2, 3)).reshape(6, 3)
    assert np.abs(tiles[3] - maps.shades()[-1]).max() < 8
    assert np.abs(tiles[[0, 1, 2, 4]] - maps.shades()[0]).max() < 8


def test_features_of_all_models_have_one_scale(tmp_path):
    for model, size in (("loud", 4.0), ("quiet", 1.0)):
        save(tmp_path, "channels", model, "baby", **channels(feature=np.full((4, SIDE, SIDE), size, np.float16)))
    page = report.page(explain=[tmp_path])
    cells = payload(page)["inside"]["channels"]["cells"]
    for place, size in enumerate((4.0, 1.0)):
        sheet = decode(source(page, cells[f"{place}|0"]["maps"]["feature"])).reshape(-1, 3).mean(axis=0)
        assert np.abs(sheet - maps.signed_colours(np.array(size), 4.0)).max() < 8
    assert re.findall(r">(−?[\d.]+)</span></div></figure>", section(page, "channels")) == ["1", "4"]


def test_models_of_other_width_keep_their_grids_and_what_is_not_comparable_is_said(tmp_path):
    save(tmp_path, "channels", "narrow", "baby", **channels(3))
    save(tmp_path, "channels", "wide", "baby", **channels(8))
    page = report.page(explain=[tmp_path])
    assert [model["width"] for model in payload(page)["inside"]["channels"]["models"]] == [3, 8]
    assert "channels: narrow 3, wide 8" in words(section(page, "channels"))
    assert "shares of channels" in words(section(page, "ablation"))
    assert "100 %" in section(page, "ablation")
    same = report.page(explain=[everything(tmp_path / "same")])
    assert "differ in width" not in same
    assert "100 %" not in section(same, "ablation")


def test_the_sites_of_one_model_stand_apart(tmp_path):
    for site in ("b16", "last"):
        save(tmp_path / site, "channels", "plain", "baby", {"site": site}, **channels())
        save(
            tmp_path / site,
            "srga",
            "plain",
            "all",
            {"site": "last"} if site == "last" else {"site": "b16"},
            names=np.array(["a"]),
            values=np.array([1.0]),
        )
    found = explained.read_explained([tmp_path / "b16", tmp_path / "last"])
    assert list(found.channels) == ["plain, b16", "plain, last"]
    page = report.page(explain=[tmp_path / "b16", tmp_path / "last"])
    assert "1 network: plain." in page
    assert "at its site" in page


def test_models_stand_in_the_order_of_their_rows(tmp_path):
    everything(tmp_path, models=("zebra", "ant"))
    assert list(explained.read_explained([tmp_path]).channels) == ["zebra", "ant"]
    (tmp_path / "rows.jsonl").unlink()
    assert list(explained.read_explained([tmp_path]).srga) == ["zebra", "ant"], "without rows by folder"


def test_without_ablation_there_are_scores_and_maps_alone(tmp_path):
    saliency = {key: value for key, value in channels().items() if key in ("feature", "map", "scores", "gini_scores", "hr", "lr", "sr")}
    save(tmp_path, "channels", "plain", "baby", **saliency)
    page = report.page(explain=[tmp_path])
    assert re.findall(r'<section id="([^"]*)"', page) == ["channels", "inequality", "looked-at"]
    cell = payload(page)["inside"]["channels"]["cells"]["0|0"]
    assert (cell["words"], cell["drops"]) == ("", [None] * 4)
    assert list(strips(section(page, "inequality"))) == ["Gini of saliency scores"]
    assert "By drop" not in page
    # Beside a network that was ablated, it lacks what was not measured.
    save(tmp_path, "channels", "whole", "baby", **channels())
    page = report.page(explain=[tmp_path])
    assert list(table(section(page, "ablation"))) == ["whole"]
    assert strips(section(page, "inequality"))["Gini of PSNR drops"] == {"plain": ["–"], "whole": ["0.50"]}


# Inequality


def test_inequality_is_the_mean_over_pictures_that_all_share(tmp_path):
    save(tmp_path, "channels", "plain", "baby", **channels(gini_scores=0.2, gini_drops=0.5, rank=0.9))
    save(tmp_path, "channels", "plain", "bird", **channels(gini_scores=0.4, gini_drops=np.nan, rank=0.7))
    save(tmp_path, "channels", "plain", "worm", **channels(gini_scores=0.9))
    save(tmp_path, "channels", "other", "baby", **channels(gini_scores=0.1))
    save(tmp_path, "channels", "other", "bird", **channels(gini_scores=0.1))
    part = section(report.page(explain=[tmp_path]), "inequality")
    found = strips(part)
    assert found["Gini of saliency scores"] == {"other": ["0.10"], "plain": ["0.30"]}
    assert found["Gini of PSNR drops"]["plain"] == ["0.50"], "the mean of what is defined"
    assert found["Rank correlation of scores and drops"]["plain"] == ["0.80"]
    assert "Means over 2 pictures; not every network was looked at on worm." in words(part)
    assert re.findall(r'class="mark one" style="left:([\d.]+)%" title="(\w+: [\d.]+)"', part)[2:4] == [
        ("20.0", "baby: 0.20"),
        ("40.0", "bird: 0.40"),
    ]


def test_models_without_a_common_picture_are_not_comparable(tmp_path):
    save(tmp_path, "channels", "plain", "baby", **channels())
    save(tmp_path, "channels", "other", "bird", **channels())
    part = section(report.page(explain=[tmp_path]), "inequality")
    assert "share no picture" in words(part)


# Cumulative ablation


def test_curves_are_means_over_pictures(tmp_path):
    save(tmp_path, "channels", "plain", "baby", **channels(index=np.array([30.0, 28.0, 26.0, 24.0, 10.0])))
    save(tmp_path, "channels", "plain", "bird", **channels(index=np.array([20.0, 20.0, 20.0, 20.0, 10.0])))
    part = section(report.page(explain=[tmp_path]), "ablation")
    # Of 4 channels a third is 1 and two thirds are 3: by number 25 → 24 and 22; else every channel costs 1 dB.
    assert table(part)["plain"] == ["25.00", "−1.00", "−3.00", "−1.00", "−3.00", "−1.00", "−3.00", "−1.00", "−3.00"]
    charts = re.findall(r"<figcaption><b>(.*?)</b>.*?</figure>", part, re.DOTALL)
    assert charts == ["By number", "Most important first", "Least important first", "At random"]
    first = part[part.index("<b>By number</b>") :]
    line = re.search(r'<path class="line c1" d="M([^"]*)"', first)
    assert line
    points = np.array([[float(number) for number in point.split()] for point in line[1].split("L")])
    assert points[:, 0] == pytest.approx([0, 250, 500, 750, 1000])
    # Down the page is down in PSNR, by one measure: 25, 24, 23, 22, 10 dB.
    falls = -np.diff(points[:, 1]) / np.diff([25, 24, 23, 22, 10])
    assert falls == pytest.approx([falls[0]] * 4, rel=0.02)
    assert "3 orders" in words(part)


def test_the_band_of_random_orders_is_over_orders_not_over_pictures(tmp_path):
    chance = np.random.default_rng(1)
    both = chance.normal(30, 1, (2, 50, 5))
    for name, random in zip(("baby", "bird"), both, strict=True):
        save(tmp_path, "channels", "plain", name, **channels(random=random))
    found = explained.read_explained([tmp_path])
    curves = _curves(found.channels["plain"])
    assert curves["random"] == pytest.approx(np.percentile(both.mean(axis=0), [50, 2.5, 97.5], axis=0))
    assert 'class="ribbon c1"' in report.page(explain=[tmp_path])


def test_without_random_orders_there_is_no_chart_of_them(tmp_path):
    save(tmp_path, "channels", "plain", "baby", **channels(random=np.zeros((0, 5))))
    part = section(report.page(explain=[tmp_path]), "ablation")
    assert "At random" not in part
    assert len(table(part)["plain"]) == 7


# Clusters


def test_every_point_is_drawn_in_every_view(tmp_path):
    save(tmp_path, "ddr", "plain", "all", **clusters(many=6, seeds=2))
    page = report.page(explain=[tmp_path])
    (model,) = payload(page)["inside"]["clusters"]
    assert list(model["views"]) == ["t0", "t1", "pca"]
    for view in model["views"].values():
        places = [np.array(re.findall(r"M(-?\d+) (-?\d+)h0", d), dtype=int) for d in view["d"]]
        assert [len(some) for some in places] == [6, 6]
        assert all(((some >= 0) & (some <= 1000)).all() for some in places)
        assert [some[:, 0].tolist() for some in places] == [[40] * 6, [960] * 6], "degradations lie apart along the first axis"
    assert model["names"] == [[f"photo{place}" for place in range(6)]] * 2
    assert model["kinds"] == ["clean", "noise"]
    assert model["share"] == "These two components hold 96 % of the scatter."
    part = section(page, "clusters")
    assert [words(label) for label in re.findall(r'<button[^>]*data-switch="embedding".*?</button>', part)] == [
        "t-SNE 1",
        "t-SNE 2",
        "Principal components",
    ]
    assert strips(part)["Calinski–Harabasz index, in the given order of networks"]["plain"] == ["120", "100–150", "210 (200–220)", "noise"]
    assert "While training" not in part, "there are no snapshots"


def test_snapshots_are_a_line_over_steps(tmp_path):
    for step, chi in ((0, 10.0), (1000, 20.0), (500, 40.0)):
        save(tmp_path, "ddr", "plain", f"step-{step:06d}", **clusters(chi=np.array([chi, chi - 1, chi + 1])))
    part = section(report.page(explain=[tmp_path]), "clusters")
    assert re.findall(r'<circle class="c1" cx="([\d.]+)%" cy="[\d.]+" r="3"><title>(.*?)</title>', part) == [
        ("0.0", "plain, step 0: 10 (9–11)"),
        ("50.0", "plain, step 500: 40 (39–41)"),
        ("100.0", "plain, step 1000: 20 (19–21)"),
    ]


def test_indices_of_other_points_are_called_incomparable(tmp_path):
    save(tmp_path, "ddr", "plain", "all", **clusters())
    save(tmp_path, "ddr", "other", "all", **clusters(("clean", "noise", "jpeg")))
    part = words(section(report.page(explain=[tmp_path]), "clusters"))
    assert "other 18 of 3 degradations, plain 12 of 2 degradations" in part
    assert "not comparable" in part
    assert "not comparable" not in words(section(report.page(explain=[everything(tmp_path / "same")]), "clusters"))


# Numbers by set, and attribution


@pytest.mark.parametrize("kind", ["srga", "cosine"])
def test_bars_are_as_high_as_their_numbers(tmp_path, kind):
    save(tmp_path, kind, "plain", "all", {"reference": "clean"}, names=np.array(["noise", "jpeg"]), values=np.array([0.5, 0.25]))
    save(tmp_path, kind, "other", "all", names=np.array(["noise"]), values=np.array([1.0]))
    part = section(report.page(explain=[tmp_path]), kind)
    bars = {hint: float(height) for height, hint in re.findall(r'<rect class="bar c\d".*? height="([\d.]+)"><title>(.*?)</title>', part)}
    assert list(bars) == ["other, noise: 1.000", "plain, noise: 0.500", "plain, jpeg: 0.250"]
    one, half, quarter = bars.values()
    assert [half / one, quarter / one] == pytest.approx([0.5, 0.25], abs=0.01)
    assert table(part) == {"other": ["1.000", "1.000", "–"], "plain": ["0.375", "0.500", "0.250"]}
    assert "Reference: clean." in part


def test_attribution_maps_show_the_window_and_the_index(tmp_path):
    save(tmp_path, "lam", "plain", "baby", **lam(12.5))
    save(tmp_path, "lam", "plain", "bird", **lam(20.0))
    save(tmp_path, "lam", "other", "bird", **lam(40.0))
    part = section(report.page(explain=[tmp_path]), "lam")
    assert strips(part) == {"Diffusion index, 1 picture": {"other": ["40.0"], "plain": ["20.0"]}}
    # The window (8, 16) to (16, 24) of the output is (2, 4) to (4, 6) of the 8 × 8 input.
    assert set(re.findall(r'<i style="(top[^"]*)"', part)) == {"top:25.0%;left:50.0%;width:25.0%;height:25.0%"}
    assert re.findall(r"<span>([\d.]+)</span></td>", part) == ["40.0", "20.0", "12.5"], "pictures of most models come first"
    uri = re.findall(r'alt="baby: attributions of plain" src="([^"]*)"', part)[0]
    pixels = decode(uri)
    assert pixels[2, 3].tolist() == maps.shades()[-1].tolist()
    assert pixels[0, 0].tolist() == maps.shades()[0].tolist()


# Names and bad input


def test_names_are_escaped_everywhere(tmp_path):
    everything(tmp_path, models=(HOSTILE, "plain"), pictures=(HOSTILE, "</title>"), kinds=("clean", HOSTILE))
    page = report.page(explain=[tmp_path], title=HOSTILE)
    assert page.count("<script") == 2
    assert "<script>alert" not in page
    assert page.count("</title>") == page.count("<title>")
    assert payload(page)["inside"]["channels"]["models"][0]["name"] == HOSTILE


def test_a_folder_without_arrays_is_named(tmp_path):
    everything(tmp_path / "good")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=re.escape(f"{tmp_path / 'empty'}: holds no arrays of wildsr explain")):
        report.page(explain=[tmp_path / "good", tmp_path / "empty"])


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 torn", b"no archive"])
def test_a_damaged_file_is_named(tmp_path, content):
    path = save(tmp_path, "channels", "plain", "baby", **channels())
    path.write_bytes(content)
    with pytest.raises(UserError, match=re.escape(f"{path}: a damaged npz file")):
        report.page(explain=[tmp_path])


def test_a_file_cut_short_is_named(tmp_path):
    path = save(tmp_path, "channels", "plain", "baby", **channels())
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UserError, match=re.escape(str(path))):
        report.page(explain=[tmp_path])


def test_pickles_are_not_read(tmp_path):
    path = save(tmp_path, "channels", "plain", "baby", **channels(scores=np.array([{}, {}, {}, {}], dtype=object)))
    with pytest.raises(UserError, match=re.escape(f"{path}: a damaged npz file")):
        report.page(explain=[tmp_path])


@pytest.mark.parametrize(
    ("kind", "arrays", "said"),
    [
        ("channels", channels(drops=np.zeros(3)), "'drops' is 3 and should be 4"),
        ("channels", channels(random=np.zeros((2, 4))), "'random' is 2 × 4 and should be any × 5"),
        ("channels", channels(map=np.zeros((3, 8, 8))), "'map' is 3 × 8 × 8 and should be 4 × any × any"),
        ("channels", channels(feature=np.zeros((4, 0, 8))), "'feature' is empty"),
        ("channels", channels(scores=np.array(["a", "b", "c", "d"])), "'scores' holds no numbers"),
        ("channels", channels(0), "no channels"),
        ("ddr", clusters(labels=np.array(["a"])), "'scores' is 12 × 3 and should be 1 × any"),
        ("ddr", clusters(names=np.array(["a"])), "1 names for 12 points"),
        ("lam", lam(window=np.zeros(3)), "'window' is 3 and should be 4"),
        ("srga", {"names": np.array(["a"]), "values": np.zeros(2)}, "1 names for 2 values"),
        ("srga", {"values": np.zeros(2)}, "holds no array 'names'"),
    ],
)
def test_arrays_that_do_not_fit_are_named(tmp_path, kind, arrays, said):
    path = save(tmp_path, kind, "plain", "baby", **arrays)
    with pytest.raises(UserError, match=re.escape(f"{path}: {said}")):
        report.page(explain=[tmp_path])


def test_about_must_be_an_object(tmp_path):
    path = save(tmp_path, "srga", "plain", "all", names=np.array(["a"]), values=np.array([1.0]))
    np.savez(path, about="[1]", names=np.array(["a"]), values=np.array([1.0]))
    with pytest.raises(UserError, match=re.escape(f"{path}: its 'about' is no JSON object")):
        report.page(explain=[tmp_path])


def test_one_model_of_two_widths_is_an_error(tmp_path):
    first = save(tmp_path, "channels", "plain", "baby", **channels(4))
    second = save(tmp_path, "channels", "plain", "bird", **channels(5))
    with pytest.raises(UserError, match=re.escape(f"{second}: 5 channels, but {first} has 4")):
        report.page(explain=[tmp_path])


def test_the_same_twice_is_an_error(tmp_path):
    for name in ("one", "two"):
        save(tmp_path / name, "channels", "plain", "baby", **channels())
    with pytest.raises(UserError, match="hold the same channels of 'plain'"):
        report.page(explain=[tmp_path / "one", tmp_path / "two"])
    assert report.page(explain=[tmp_path / "one", tmp_path / "one"]) == report.page(explain=[tmp_path / "one"])


def test_what_is_no_finite_number_is_drawn_as_nothing(tmp_path):
    feature = np.full((4, SIDE, SIDE), np.nan, np.float16)
    feature[0] = np.inf
    curve = np.full(5, np.nan)
    bad = channels(feature=feature, drops=np.full(4, np.nan), rank=np.nan, gini_drops=np.nan, psnr=np.nan)
    save(tmp_path, "channels", "plain", "baby", **(bad | {"index": curve, "saliency": curve, "reverse": curve, "random": np.zeros((0, 5))}))
    save(tmp_path, "ddr", "plain", "all", **clusters(chi=np.array([np.nan, np.nan, np.nan])))
    page = report.page(explain=[tmp_path])
    assert "nan" not in words(section(page, "channels") + section(page, "inequality") + section(page, "clusters")).lower().split()
    assert "No PSNR of these networks is finite" in page


# Room


def test_pictures_are_left_out_first_and_named(tmp_path, monkeypatch):
    everything(tmp_path, pictures=("baby", "bird", "worm"))
    whole = report.page(explain=[tmp_path])
    assert len(payload(whole)["inside"]["channels"]["pictures"]) == 3
    sheets = sum(len(uri) for uri in re.findall(r'<img id="channels-\d+-\w+"[^>]* src="([^"]*)"', whole))
    monkeypatch.setattr(pages, "ROOM", 100_000 + len(section(whole, "lam")) + 2000 + sheets // 2)
    page = report.page(explain=[tmp_path])
    assert payload(page)["inside"]["channels"]["pictures"] == ["baby"]
    assert "Without maps, to keep the page small: bird, worm." in page
    assert strips(section(page, "inequality")) == strips(section(whole, "inequality")), "numbers stay"


def test_then_maps_get_smaller_and_then_models_are_left_out(tmp_path):
    rng = np.random.default_rng(0)
    for model in ("plain", "other"):
        saliency, feature = rng.random((4, 128, 128)), rng.normal(size=(4, 128, 128))
        save(tmp_path, "channels", model, "baby", **channels(map=saliency.astype(np.float16), feature=feature.astype(np.float16)))
    found = explained.read_explained([tmp_path])
    scale = explorer._scale(found)
    weights = {
        side: sum(len(uri) for uri in explorer._sheets(found.channels["plain"]["baby"], scale, side).values()) for side in explorer.SIDES
    }
    assert sorted(weights.values()) == list(weights.values())[::-1]
    look = pages.Look([], None, {"plain": 1, "other": 2})
    for room, side, models in ((2.2 * weights[96], 96, 2), (2.2 * weights[64], 64, 2), (1.2 * weights[48], 48, 1)):
        body, data = explorer.explorer_part(found, look, int(room) + 500)
        sizes = {decode(uri).shape for uri in re.findall(r'class="saliency"[^>]* src="([^"]*)"', body)}
        assert sizes == {(2 * side, 2 * side, 3)}
        assert len(data["cells"]) == models
        assert ("Without maps, to keep the page small: plain." in body) == (models == 1)


def test_a_page_of_many_wide_networks_stays_small(tmp_path):
    rng = np.random.default_rng(0)
    saliency, feature = rng.random((64, 96, 96)).astype(np.float16), rng.normal(size=(64, 96, 96)).astype(np.float16)
    for model in ("a", "b", "c"):
        for picture in ("one", "two", "three"):
            save(tmp_path, "channels", model, picture, **channels(64, map=saliency, feature=feature))
    page = report.page(explain=[tmp_path])
    assert len(page.encode()) < inside.ROOM + 200_000
    assert 0 < len(payload(page)["inside"]["channels"]["pictures"]) < 3


# Colours


def oklab(colours: np.ndarray) -> np.ndarray:
    """sRGB uint8 to OKLab, from the published matrices the other way round."""
    encoded = colours / 255
    light = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    cones = light @ np.array(
        [[0.4122214708, 0.2119034982, 0.0883024619], [0.5363325363, 0.6806995451, 0.2817188376], [0.0514459929, 0.1073969566, 0.6299787005]]
    )
    return np.cbrt(cones) @ np.array(
        [
            [0.2104542553, 1.9779984951, 0.0259040371],
            [0.7936177850, -2.4285922050, 0.7827717662],
            [-0.0040720468, 0.4505937099, -0.8086757660],
        ]
    )


@pytest.mark.parametrize("colours", [maps.shades(), maps.poles()[255:], maps.poles()[255::-1]], ids=["saliency", "above", "below"])
def test_colours_go_in_equal_steps_from_dark_to_bright(colours):
    seen = oklab(colours.astype(np.float64))
    assert len(colours) == 256
    # Over 16 colours, rounding to bytes does not count; a bend makes a walk longer than its chord.
    steps = np.linalg.norm(seen[16::16] - seen[:-16:16], axis=1)
    assert steps.min() > 0.85 * steps.max()
    assert (np.diff(seen[::8, 0]) > 0).all()


def test_colours_at_the_ends():
    assert maps.saliency_colours(np.array([-1.0, 0.0, 1.0, 2.0])).tolist() == maps.shades()[[0, 0, -1, -1]].tolist()
    assert maps.saliency_colours(np.array(0.25)).tolist() == maps.shades()[128].tolist(), "by the square root"
    assert maps.signed_colours(np.array([-9.0, -2.0, 0.0, 2.0]), 2.0).tolist() == maps.poles()[[0, 0, 255, 510]].tolist()
    assert maps.signed_colours(np.array([0.0]), 0.0).tolist() == [maps.poles()[255].tolist()]


def test_shrinking_keeps_means_and_shape():
    chance = np.random.default_rng(0)
    found = chance.random((3, 64, 32)).astype(np.float32)
    small = maps.shrink(found, 16)
    assert small.shape == (3, 16, 8)
    assert small == pytest.approx(found.reshape(3, 16, 4, 8, 4).mean(axis=(2, 4)), abs=1e-6)
    assert maps.shrink(found, 64) is found


def test_the_page_is_written_without_torch(tmp_path):
    everything(tmp_path)
    code = (
        "import sys; from pathlib import Path; from wildsr import report\n"
        "report.write_page(Path(sys.argv[1]) / 'page.html', explain=[Path(sys.argv[1])])\n"
        "sys.exit('torch' in sys.modules or 'scipy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == 0
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == report.page(explain=[tmp_path])
