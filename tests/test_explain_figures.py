"""The figures of `wildsr explain`: what is in them is what the arrays hold, and it can be read."""

import itertools
import json
import shutil
import sys

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.patches import Rectangle

from wildsr import explain
from wildsr.errors import UserError
from wildsr.explain.figures import attribution, features, saliency_seismic, saliency_uniform
from wildsr.explain.figures.style import COLOURS, dots, short

H, W = 6, 5
LONG = "RealESRGAN_x4plus.pth, the one with a very long name, of 2021"


def put(folder, kind, model, name, arrays, **about):
    path = folder / "arrays" / kind / model.replace(" ", "-") / f"{name}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    words = {"kind": kind, "model": model, "weights_sha256": None, "site": "last", "image": None, "scale": 4, "code_version": "x"} | about
    np.savez(path, about=np.array(json.dumps(words)), **arrays)
    return path


def of_channels(seed, channels=4, orders=8, signed=False):
    rng = np.random.default_rng(seed)
    maps = rng.random((channels, H, W)) * rng.random((channels, 1, 1))
    maps = (maps / maps.max()).astype(np.float16)
    curve = 30 - np.cumsum(rng.random((orders + 3, channels + 1)), axis=1)
    return {
        "feature": (rng.normal(size=(channels, H, W)) if signed else rng.random((channels, H, W))).astype(np.float16),
        "map": maps,
        "scores": maps.astype(np.float64).sum((1, 2)),
        "drops": rng.normal(size=channels) * 0.1,
        **{name: np.float64(rng.random()) for name in ("psnr", "rank", "gini_scores", "gini_drops")},
        **{"index": curve[0], "saliency": curve[1], "reverse": curve[2], "random": curve[3:]},
    }


def of_lam(seed):
    rng = np.random.default_rng(seed)
    lr = rng.integers(0, 256, (3, 16, 20), dtype=np.uint8)
    signed = rng.normal(size=(16, 20)).astype(np.float32)
    return {"signed": signed, "diffusion": np.float64(12.34), "gini": np.float64(0.8), "window": np.array([16, 24, 48, 56]), "lr": lr}


def of_ddr(seed, chi=(10.0, 8.0, 14.0), labels=("clean", "noise", "jpeg"), seeds=2, d=3):
    rng = np.random.default_rng(seed)
    n = 4 * len(labels)
    return {
        "scores": rng.normal(size=(n, d)),
        "labels": np.repeat(labels, 4),
        "names": np.tile(["a", "b", "c", "d"], len(labels)),
        "explained": np.linspace(0.5, 0.1, d),
        "chi": np.array(chi),
        "chi_tsne": 50.0 + np.arange(seeds),
        "embeddings": rng.normal(size=(seeds, n, 2)),
        "farthest": np.array("noise"),
    }


def of_names(*pairs):
    return {"names": np.array([name for name, _ in pairs]), "values": np.array([value for _, value in pairs])}


def fill(folder, models=("plain", "dropout"), pictures=("baby", "bird"), **how):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rows.jsonl").write_text("".join(json.dumps({"model": model}) + "\n" for model in models))
    for i, model in enumerate(models):
        for j, picture in enumerate(pictures):
            put(folder, "channels", model, picture, of_channels(10 * i + j, **how), image=picture)
            put(folder, "lam", model, picture, of_lam(10 * i + j), image=picture)
        put(folder, "ddr", model, "all", of_ddr(i, chi=(10.0 / (i + 1), 8.0 / (i + 1), 14.0 / (i + 1))))
        for step in (500, 10000, 2000):
            put(folder, "ddr", model, f"step-{step:06d}", of_ddr(i, chi=(step / 100, step / 125, step / 50)))
        put(folder, "srga", model, "all", of_names(("noise", 2.0 + i), ("jpeg", 1.5)))
        put(folder, "cosine", model, "all", of_names(("noise", 0.5 + i / 100), ("jpeg", 0.75)))
    return folder


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    return fill(tmp_path_factory.mktemp("explain") / "out")


def plans(folder, *what):
    return {name: (build, of) for key in what or explain.WHAT for plan in explain.WHAT[key] for name, build, of in plan(folder)}


def built(folder, name):
    build, of = plans(folder)[name]
    return build(of)


def panels(figure):
    return [axes for axes in figure.axes if axes.get_visible() and axes.get_label() != "scale"]


def points(axes):
    return [np.stack(line.get_data(), -1) for line in axes.get_lines()]


def one(folder, model="plain", picture="baby", kind="channels"):
    return explain.arrays_of(folder, kind)[model][picture]


# ------------------------------------------------------------------------------------------------------------------------------ files


def test_all_that_the_arrays_allow_is_drawn_and_equal_arrays_are_equal_bytes(tmp_path):
    filled = fill(tmp_path / "out", pictures=("baby",))
    written = explain.draw(filled, ["all"])
    names = ["csm-uniform-baby", "csm-seismic-baby", "features-baby", "lam-baby"]
    names += ["ablation", "inequality", "cumulative", "ddr", "chi", "chi-steps", "srga", "cosine"]
    assert sorted(path.relative_to(filled).as_posix() for path in written) == sorted(
        f"figures/{name}.{ending}" for name in names for ending in ("png", "svg")
    )
    again = tmp_path / "again"
    shutil.copytree(filled / "arrays", again / "arrays")
    shutil.copy(filled / "rows.jsonl", again)
    with matplotlib.rc_context({"font.size": 20, "svg.hashsalt": None, "axes.grid": True}):  # the user's, which must not matter
        for path in explain.draw(again, ["all"]):
            assert path.read_bytes() == (filled / "figures" / path.name).read_bytes(), path.name
    for path in written:
        assert path.read_bytes().startswith(b"\x89PNG" if path.suffix == ".png" else b"<?xml")
        assert b"<dc:date>" not in path.read_bytes()


def test_only_what_is_asked_for_is_drawn_and_an_unknown_name_is_said(filled, tmp_path):
    assert set(plans(filled, "ablation")) == {"ablation", "inequality"}
    assert set(plans(filled, "ddr")) == {"ddr", "chi", "chi-steps"}
    shutil.copytree(filled / "arrays" / "srga", tmp_path / "arrays" / "srga")
    assert [path.name for path in explain.draw(tmp_path, ["srga", "cosine", "csm"])] == ["srga.png", "srga.svg"]
    with pytest.raises(UserError, match="there is no figure 'cumulativ': did you mean 'cumulative'"):
        explain.draw(tmp_path, ["cumulativ"])


def test_an_empty_folder_has_no_figures(tmp_path):
    assert explain.draw(tmp_path, ["all"]) == []


def test_pictures_without_ablations_have_maps_only(tmp_path):
    arrays = of_channels(0)
    put(tmp_path, "channels", "plain", "baby", {name: arrays[name] for name in ("feature", "map", "scores", "gini_scores")})
    assert set(plans(tmp_path)) == {"csm-uniform-baby", "csm-seismic-baby", "features-baby"}


def test_file_names_have_no_odd_characters_and_stay_apart(tmp_path):
    for name in ("a b", "a-b", "a(b", "ü", "0801x4"):
        put(tmp_path, "lam", "plain", name, of_lam(0))
    names = list(plans(tmp_path, "lam"))
    assert len(set(names)) == 5
    assert all(name.isascii() and set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-") for name in names)
    assert {"lam-a-b", "lam-0801x4"} <= set(names)


def test_models_come_in_the_order_in_which_they_were_given(tmp_path):
    fill(tmp_path, models=("z", "a", "m"), pictures=("baby",))
    assert list(explain.arrays_of(tmp_path, "channels")) == ["z", "a", "m"]
    assert [axes.get_title() for axes in panels(built(tmp_path, "csm-uniform-baby"))] == ["z", "a", "m"]
    (tmp_path / "rows.jsonl").unlink()
    assert list(explain.arrays_of(tmp_path, "channels")) == ["a", "m", "z"]


def test_a_missing_matplotlib_is_said(filled, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(UserError, match=r"pip install 'wildsr\[bench\]'"):
        explain.draw(filled, ["all"])


# ------------------------------------------------------------------------------------------------------------------------- readability


def texts_drawn(figure, monkeypatch):
    """(text, size in points, left, top, right, bottom) of each line that is drawn, in pixels of 1/200 inch."""
    found = []

    def note(self, gc, x, y, s, prop, angle, ismath=False, mtext=None):
        w, h, d = self.get_text_width_height_descent(s, prop, ismath)
        box = (x, y - h + d, x + w, y + d) if angle == 0 else (x - h + d, y - w, x + d, y)
        found.append((s, prop.get_size_in_points(), *box))

    with monkeypatch.context() as patch:
        patch.setattr(RendererAgg, "draw_text", note)
        with open("/dev/null", "wb") as nowhere:
            figure.savefig(nowhere, format="png", dpi=200)
    return found


@pytest.mark.parametrize(
    "models",
    [("plain",), ("plain", "dropout", "alignment"), ("plain", LONG, "p = 0.1", "p = 0.5", "p = 0.9", "x" * 40, "rcan")],
    ids=["one", "three", "seven"],
)
def test_letters_are_large_enough_and_nothing_overlaps(models, tmp_path, monkeypatch):
    fill(tmp_path, models=models, pictures=("a picture (of a bird)",), channels=12, signed=len(models) > 1)
    for name, (build, of) in plans(tmp_path).items():
        figure = build(of)
        drawn = texts_drawn(figure, monkeypatch)
        width, height = figure.get_size_inches() * 200
        assert width <= 1400.1, name
        assert drawn, name
        for text, size, left, top, right, bottom in drawn:
            assert size >= 7, (name, text)
            assert left > -1, (name, text)
            assert right < width + 1, (name, text)
            assert top > -1, (name, text)
            assert bottom < height + 1, (name, text)
        for a, b in itertools.combinations(drawn, 2):
            apart = a[4] <= b[2] + 1 or b[4] <= a[2] + 1 or a[5] <= b[3] + 2 or b[5] <= a[3] + 2
            assert apart, (name, a, b)


def test_many_models_have_more_rows_and_are_not_wider(tmp_path):
    fill(tmp_path, models=[f"m{i}" for i in range(9)], pictures=("baby",), channels=9)
    for name in ("csm-uniform-baby", "ablation", "ddr", "lam-baby"):
        figure = built(tmp_path, name)
        tops = {round(axes.get_position().y0, 3) for axes in panels(figure)}
        assert figure.get_figwidth() <= 7, name
        assert len(tops) >= 3, name


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (-1.5, "−1.50"),
        (np.inf, "∞"),
        (np.nan, "–"),
        (0.0, "0.00"),
        (0.044, "0.04"),
        (9.994, "9.99"),
        (9.996, "10.0"),
        (99.96, "100"),
        (8123.4, "8123"),
        (9999.6, "10k"),
        (1.2e7, "12M"),
        (2.5e9, "2.5e+09"),
    ],
)
def test_numbers_are_short(value, shown):
    assert short(value) == shown


# ---------------------------------------------------------------------------------------------------------------------- sheets of maps


def test_saliency_is_in_index_order_on_one_scale_with_its_scores(filled):
    models = [one(filled, model) for model in ("plain", "dropout")]
    end = np.percentile(np.concatenate([each["map"].astype(float).ravel() for each in models]), 99.5)
    sheets = panels(saliency_uniform(models))
    for axes, each in zip(sheets, models, strict=True):
        images = axes.get_images()
        assert axes.get_title() == each.model
        assert [text.get_text() for text in axes.texts] == [short(score) for score in each["scores"]]
        assert len(images) == 4
        for image, expected in zip(images, each["map"], strict=True):
            np.testing.assert_array_equal(image.get_array(), expected)
            assert image.get_clim() == (0, pytest.approx(end))
            assert image.get_cmap().name == "magma"
        lefts = [image.get_extent()[0] for image in images]
        assert lefts == sorted(lefts)


def test_the_papers_style_is_seismic_at_a_half_plus_half_the_saliency(filled):
    each = one(filled)
    (axes,) = panels(saliency_seismic([each]))
    for image, saliency in zip(axes.get_images(), each["map"].astype(float), strict=True):
        np.testing.assert_array_equal(image.to_rgba(saliency), matplotlib.colormaps["seismic"](0.5 + 0.5 * saliency))


@pytest.mark.parametrize(("channels", "across", "down"), [(3, 3, 1), (32, 8, 4), (64, 8, 8), (65, 16, 5)])
def test_sheets_have_eight_channels_a_row(channels, across, down, tmp_path):
    put(tmp_path, "channels", "plain", "baby", of_channels(0, channels=channels))
    (axes,) = panels(built(tmp_path, "csm-uniform-baby"))
    extents = [image.get_extent() for image in axes.get_images()]
    assert len({round(extent[0], 6) for extent in extents}) == across
    assert len({round(extent[3], 6) for extent in extents}) == down


@pytest.mark.parametrize("signed", [False, True])
def test_features_are_sorted_by_importance_on_one_scale_over_all_models(signed, tmp_path):
    fill(tmp_path, signed=signed)
    models = [one(tmp_path, model) for model in ("plain", "dropout")]
    end = np.percentile(np.abs(np.concatenate([each["feature"].astype(float).ravel() for each in models])), 99.5)
    figure = features(models)
    for axes, each in zip(panels(figure), models, strict=True):
        order = sorted(range(4), key=lambda c: -each["scores"][c])
        assert [text.get_text() for text in axes.texts] == [str(c) for c in order]
        for image, channel in zip(axes.get_images(), order, strict=True):
            np.testing.assert_array_equal(image.get_array(), each["feature"][channel])
            assert image.get_clim() == (pytest.approx(-end if signed else 0), pytest.approx(end))
    note = figure.texts[-1].get_text().replace("\n", " ")
    assert f"{'±' * signed}{end:.2f} (99.5th percentile" in note


def test_features_that_are_nothing_but_zero_can_be_drawn(tmp_path):
    put(tmp_path, "channels", "plain", "baby", of_channels(0) | {"feature": np.zeros((4, H, W), np.float16)})
    (axes,) = panels(built(tmp_path, "features-baby"))
    assert axes.get_images()[0].get_clim() == (0, 1)


@pytest.mark.parametrize("name", ["csm-uniform-baby", "csm-seismic-baby", "features-baby"])
def test_models_of_different_width_cannot_stand_side_by_side(name, tmp_path):
    put(tmp_path, "channels", "plain", "baby", of_channels(0))
    path = put(tmp_path, "channels", "wide", "baby", of_channels(0, channels=6))
    with pytest.raises(UserError, match=r"6 channels, but .* has 4") as error:
        built(tmp_path, name)
    assert str(path) in str(error.value)


# ----------------------------------------------------------------------------------------------------------------- channels as numbers


def test_ablation_shows_each_channel_and_the_means_of_the_numbers(filled):
    figure = built(filled, "ablation")
    models = explain.arrays_of(filled, "channels")
    for axes, (model, pictures) in zip(panels(figure), models.items(), strict=True):
        *dots, zero = points(axes)
        for found, each in zip(dots, pictures.values(), strict=True):
            np.testing.assert_array_equal(found, np.stack([each["scores"], each["drops"]], -1))
        assert (zero[:, 1] == 0).all()
        rank, scores, drops = (np.mean([each.number(key) for each in pictures.values()]) for key in ("rank", "gini_scores", "gini_drops"))
        assert axes.get_title() == f"{model}\nrank correlation {rank:.2f}\nGini: scores {scores:.2f}, drops {drops:.2f}"
    first, second = panels(figure)
    assert (first.get_xlim(), first.get_ylim()) == (second.get_xlim(), second.get_ylim())
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["baby", "bird"]


def test_what_is_undefined_is_left_out_of_means(tmp_path):
    nan = np.float64(np.nan)
    put(tmp_path, "channels", "plain", "a", of_channels(0) | {"rank": np.float64(0.5), "gini_drops": nan})
    put(tmp_path, "channels", "plain", "b", of_channels(1) | {"rank": nan, "gini_drops": nan, "drops": np.full(4, np.nan)})
    title = panels(built(tmp_path, "ablation"))[0].get_title()
    assert "rank correlation 0.50" in title
    assert "drops –" in title
    left, right = panels(built(tmp_path, "inequality"))
    assert [text.get_text() for text in right.texts] == ["–"]
    assert [text.get_text() for text in left.texts] != ["–"]


def test_many_pictures_are_not_named(tmp_path):
    for i in range(13):
        put(tmp_path, "channels", "plain", f"p{i}", of_channels(i))
    figure = built(tmp_path, "ablation")
    assert not figure.legends
    assert len(points(panels(figure)[0])) == 13 + 1


def test_means_are_over_the_pictures_that_all_models_have(tmp_path):
    fill(tmp_path)
    put(tmp_path, "channels", "plain", "more", of_channels(77))
    for name in ("ablation", "inequality", "cumulative"):
        _, of = plans(tmp_path)[name]
        assert {model: [each.path.stem for each in pictures] for model, pictures in of.items()} == {
            "plain": ["baby", "bird"],
            "dropout": ["baby", "bird"],
        }
    put(tmp_path, "channels", "third", "another", of_channels(78))
    with pytest.raises(UserError, match="no picture is there for all of plain, dropout, third"):
        plans(tmp_path, "ablation")


def test_cumulative_ablation_is_the_mean_over_pictures_and_a_band_over_orders(tmp_path):
    fill(tmp_path)
    for i, picture in enumerate(("baby", "bird")):  # another width, which shares make comparable
        put(tmp_path, "channels", "wide", picture, of_channels(50 + i, channels=6))
    figure = built(tmp_path, "cumulative")
    models = explain.arrays_of(tmp_path, "channels")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["plain", "dropout", "wide"]
    for axes, order in zip(panels(figure), ("index", "saliency", "reverse", "random"), strict=True):
        for i, (line, each) in enumerate(zip(points(axes), models.values(), strict=True)):
            curves = sum(arrays[order] for arrays in each.values()) / 2
            count = curves.shape[-1] - 1
            np.testing.assert_allclose(line[:, 0], np.arange(count + 1) / count)
            np.testing.assert_allclose(line[:, 1], np.median(curves, axis=0) if order == "random" else curves)
            if order == "random":
                low, high = np.percentile(curves, (2.5, 97.5), axis=0)
                edge = axes.collections[i].get_paths()[0].vertices[:, 1]
                assert edge.min() == pytest.approx(low.min())
                assert edge.max() == pytest.approx(high.max())
        assert axes.get_ylim() == panels(figure)[0].get_ylim()


def test_random_orders_must_be_as_many(tmp_path):
    put(tmp_path, "channels", "plain", "baby", of_channels(0))
    path = put(tmp_path, "channels", "dropout", "baby", of_channels(0, orders=5))
    (tmp_path / "rows.jsonl").write_text('{"model": "plain"}\n')
    with pytest.raises(UserError, match=r"5 random orders, but .* has 8") as error:
        built(tmp_path, "cumulative")
    assert str(path) in str(error.value)


def test_no_random_orders_have_no_panel(tmp_path):
    put(tmp_path, "channels", "plain", "baby", of_channels(0, orders=0))
    assert len(panels(built(tmp_path, "cumulative"))) == 3


def test_inequality_has_a_dot_a_picture_and_their_mean(filled):
    models = explain.arrays_of(filled, "channels")
    for axes, key in zip(panels(built(filled, "inequality")), ("gini_scores", "gini_drops"), strict=True):
        values = [[each.number(key) for each in pictures.values()] for pictures in models.values()]
        assert [bar.get_width() for bar in axes.patches] == pytest.approx([np.mean(own) for own in values])
        assert [dots[:, 0].tolist() for dots in points(axes)] == values
        assert [text.get_text() for text in axes.texts] == [f"{np.mean(own):.2f}" for own in values]
        assert axes.get_xlim() == (0, 1)


# ----------------------------------------------------------------------------------------------------------------------------- clusters


def test_clusters_show_points_by_degradation_and_the_chi(filled):
    figure = built(filled, "ddr")
    upper, lower = panels(figure)[:2], panels(figure)[2:]
    kinds = ["clean", "noise", "jpeg"]
    for above, below, model in zip(upper, lower, ("plain", "dropout"), strict=True):
        each = one(filled, model, "all", "ddr")
        labels = each["labels"]
        for k, kind in enumerate(kinds):
            np.testing.assert_array_equal(points(above)[k], each["embeddings"][0][labels == kind])
            np.testing.assert_array_equal(points(below)[k], each["scores"][labels == kind, :2])
            assert above.get_lines()[k].get_color() == below.get_lines()[k].get_color() == COLOURS[k]
        assert below.get_xlabel() == "component 1 (50 %)"
        assert below.get_ylabel() == "component 2 (30 %)"
    assert upper[0].get_title() == "plain\nCHI 10.0 [8.00, 14.0]\nfarthest: noise"
    assert upper[1].get_title() == "dropout\nCHI 5.00 [4.00, 7.00]\nfarthest: noise"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == kinds


def test_clusters_without_embeddings_or_a_second_component_or_clean_inputs(tmp_path):
    put(tmp_path, "ddr", "plain", "all", of_ddr(0, seeds=0, d=1) | {"farthest": np.array("")})
    (axes,) = panels(built(tmp_path, "ddr"))
    assert axes.get_title() == "plain\nCHI 10.0 [8.00, 14.0]"
    assert all((own[:, 1] == 0).all() for own in points(axes))
    assert len(panels(built(tmp_path, "chi"))) == 1


def test_degradations_have_the_same_colours_in_all_models(tmp_path):
    put(tmp_path, "ddr", "a", "all", of_ddr(0))
    put(tmp_path, "ddr", "b", "all", of_ddr(0, labels=("jpeg", "clean")))
    figure = built(tmp_path, "ddr")
    first, second = ({line.get_label(): line.get_color() for line in axes.get_lines()} for axes in panels(figure)[:2])
    assert first == {name: COLOURS[k] for k, name in enumerate(("clean", "noise", "jpeg"))}
    assert {name: second[name] for name in ("clean", "jpeg")} == {name: first[name] for name in ("clean", "jpeg")}


def test_36_styles_of_dots_can_be_told_apart():
    assert len({tuple(dots(i).values()) for i in range(36)}) == 36


def test_chi_is_shown_with_its_interval_and_for_each_seed(tmp_path):
    fill(tmp_path)
    put(tmp_path, "ddr", "broken", "all", of_ddr(0, chi=(np.inf, 5.0, np.inf)))
    left, right = panels(built(tmp_path, "chi"))
    assert [label.get_text() for label in left.get_yticklabels()] == ["plain", "dropout", "broken (infinite)"]
    assert points(left)[0].tolist() == [[10, 0], [5, 1]]
    bars = [container.lines[2][0].get_segments()[0][:, 0].tolist() for container in left.containers]
    assert bars == [[8, 14], [4, 7]]
    assert points(right)[0].tolist() == [[50.5, 0], [50.5, 1], [50.5, 2]]
    assert [own.tolist() for own in points(right)[1:]] == [[[50, i], [51, i]] for i in range(3)]


def test_chi_over_training_is_in_the_order_of_steps(filled):
    figure = built(filled, "chi-steps")
    (axes,) = panels(figure)
    assert [line.get_label() for line in axes.get_lines()] == ["plain", "dropout"]
    for line in points(axes):
        assert line.tolist() == [[500, 5], [2000, 20], [10000, 100]]
    band = axes.collections[0].get_paths()[0].vertices
    assert {tuple(vertex) for vertex in band.tolist()} >= {(500, 4), (500, 10), (10000, 80), (10000, 200)}
    assert axes.get_yscale() == "log"


# ---------------------------------------------------------------------------------------------------------------------- by degradation


@pytest.mark.parametrize(("kind", "values"), [("srga", [2, 1.5, 3, 1.5]), ("cosine", [0.5, 0.75, 0.51, 0.75])])
def test_bars_are_the_values(kind, values, filled):
    figure = built(filled, kind)
    (axes,) = panels(figure)
    assert [bar.get_width() for bar in axes.patches] == pytest.approx(values)
    assert [text.get_text() for text in axes.texts] == [f"{value:.3f}" for value in values]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["noise", "jpeg"]
    middles = [bar.get_y() + bar.get_height() / 2 for bar in axes.patches]
    for tick, (first, second) in zip(axes.get_yticks(), ((0, 2), (1, 3)), strict=True):
        assert tick == pytest.approx((middles[first] + middles[second]) / 2)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["plain", "dropout"]


def test_bars_that_are_missing_infinite_or_negative(tmp_path):
    put(tmp_path, "cosine", "a", "all", of_names(("noise", -0.5), ("jpeg", np.inf)))
    put(tmp_path, "cosine", "b", "all", of_names(("blur", 0.25)))
    (axes,) = panels(built(tmp_path, "cosine"))
    assert [(bar.get_width(), text.get_text()) for bar, text in zip(axes.patches, axes.texts, strict=True)] == [
        (-0.5, "−0.500"),
        (0, "∞"),
        (0.25, "0.250"),
    ]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["noise", "jpeg", "blur"]
    assert axes.get_xlim()[0] < -0.5


# --------------------------------------------------------------------------------------------------------------------------- attribution


def test_attribution_is_over_the_picture_with_the_window_in_input_pixels(filled):
    each = one(filled, kind="lam")
    given, over = panels(attribution([each]))
    np.testing.assert_array_equal(given.get_images()[0].get_array(), np.moveaxis(each["lr"], 0, -1))
    assert given.get_title() == "input, 20×16"
    assert over.get_title() == "plain\ndiffusion index 12.3"
    for axes in (given, over):
        boxes = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
        # Rows 16 … 48 and columns 24 … 56 of the output are 4 … 12 and 6 … 14 of the input, whose pixel i covers i ± 1/2.
        assert {(*box.get_xy(), box.get_width(), box.get_height()) for box in boxes} == {(5.5, 3.5, 8, 8)}
    shown, absolute = np.asarray(over.get_images()[0].get_array()), np.abs(each["signed"])
    assert shown.shape == (16, 20, 3)
    np.testing.assert_array_equal(shown.reshape(-1, 3)[absolute.argmax()], matplotlib.colormaps["magma_r"](1.0)[:3])
    least = absolute.argmin()
    grey = 0.55 + 0.45 * each["lr"].mean(0).flatten()[least] / 255
    assert np.abs(shown.reshape(-1, 3)[least] - grey).max() < 0.1


def test_attribution_needs_the_scale(tmp_path):
    path = put(tmp_path, "lam", "plain", "baby", of_lam(0), scale=None)
    with pytest.raises(UserError, match="does not say the scale") as error:
        built(tmp_path, "lam-baby")
    assert str(path) in str(error.value)


# ---------------------------------------------------------------------------------------------------------------------------- bad input


def cut(path):
    path.write_bytes(path.read_bytes()[:200])


def empty(path):
    path.write_bytes(b"")


def flip(path):
    data = bytearray(path.read_bytes())
    start = data.find(b"map.npy") + 200
    data[start] ^= 255
    path.write_bytes(bytes(data))


def without(*names, **others):
    def change(path):
        with np.load(path) as file:
            arrays = {name: file[name] for name in file.files if name not in names}
        np.savez(path, **(arrays | others))

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (cut, "not a whole npz file"),
        (empty, "not a whole npz file"),
        (flip, "not a whole npz file"),
        (without("map"), "it has no 'map'"),
        (without("about"), "it has no 'about'"),
        (without(about=np.array("{")), "does not say which model"),
        (without(about=np.array('{"model": "plain"}')), "does not say which model"),
        (without(map=np.zeros((4, 6))), r"'map' has the shape \(4, 6\), not \(c, h, w\)"),
        (without(map=np.zeros((3, H, W))), r"'map' has the shape \(3, 6, 5\)"),
        (without(map=np.full((4, H, W), "x")), "'map' holds <U1"),
        (without(index=np.zeros(4)), r"'index' has the shape \(4,\), not \(c\+1\)"),
        (without(random=np.zeros((2, 6))), r"'random' has the shape \(2, 6\)"),
    ],
)
def test_damaged_arrays_are_named(change, said, tmp_path):
    path = put(tmp_path, "channels", "plain", "baby", of_channels(0))
    change(path)
    with pytest.raises(UserError, match=said) as error:
        explain.draw(tmp_path, ["csm", "cumulative"])
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_picture_whose_width_differs_from_the_models_others(tmp_path):
    put(tmp_path, "channels", "plain", "baby", of_channels(0))
    path = put(tmp_path, "channels", "plain", "bird", of_channels(0, channels=6))
    with pytest.raises(UserError, match=r"6 channels, but .*baby\.npz of the same model has 4") as error:
        explain.draw(tmp_path, ["cumulative"])
    assert str(path) in str(error.value)
