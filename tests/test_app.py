"""The page's work without the page: what it offers, plans and makes within its limits, and what a server is started with."""

import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import one_line, photograph
from PIL import Image

from wildsr import app, images, upscale
from wildsr.app.guard import OwnPagesAlone
from wildsr.app.preview import Preview, busiest, shown
from wildsr.app.work import StoppedError, Stops
from wildsr.errors import UserError


@pytest.fixture
def picture(tmp_path) -> Path:
    photograph(40, 1).save(tmp_path / "my photo.png", dpi=(300, 300))
    return tmp_path / "my photo.png"


def opened(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        picture.load()
        return picture


def workshop(model: Path, folder: Path, **limits: Any) -> app.Workshop:
    choices, refused = app.offers([model])
    assert refused == []
    return app.Workshop(choices, app.Limits(**limits), folder / "results", "cpu")


def test_models_are_offered_with_scale_and_size_and_broken_ones_are_named(model, tmp_path):
    (tmp_path / "bad.safetensors").write_bytes(b"")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "net.safetensors").write_bytes(model.read_bytes())
    found, refused = app.offers([model, tmp_path / "bad.safetensors", tmp_path / "other" / "net.safetensors", model])
    assert [offer.name for offer in found] == [str(model), str(tmp_path / "other" / "net.safetensors")]
    assert found[0].label.endswith(")")
    assert "×4" in found[0].label
    assert len(refused) == 1
    assert "bad.safetensors" in refused[0]
    with pytest.raises(UserError, match=r"bad\.safetensors: empty"):
        app.offers([tmp_path / "bad.safetensors"])
    (default,), _ = app.offers([])
    assert (default.name, default.scale) == ("default", 4)


def test_a_picture_is_looked_at_planned_and_made(model, tmp_path, picture):
    shop = workshop(model, tmp_path)
    facts = shop.look(picture, tmp_path / "small.png")
    assert facts.text == "my photo.png: PNG, 40 × 40 pixels, colour, 8 bit"
    assert opened(tmp_path / "small.png").size == (40, 40)
    assert shop.plan(facts, "net", "tiff", None).text == "my photo_x4.tif, 160 × 160 pixels"
    seen: list[tuple[int, int]] = []
    made = shop.make(picture, "net", outscale=2.5, progress=lambda *at: seen.append(at))
    assert made.file.name == "my photo_x2.5.png"
    assert (made.height, made.width, made.reduced, made.detail) == (100, 100, 1, None)
    assert seen[-1] == (1, 1)
    assert "my photo_x2.5.png: 100 × 100 pixels" in made.text
    expected = upscale.enlarge(upscale.load(model, device="cpu", precision="auto"), images.read_photo(picture), outscale=2.5)
    got = images.read_photo(made.file)
    assert np.array_equal(got.pixels, np.concatenate(list(expected.rows)))
    assert got.meta.dpi == pytest.approx((300, 300), rel=1e-3)
    before, after = map(opened, made.whole)
    assert before.size == after.size == (100, 100)
    assert np.array_equal(np.asarray(after), got.pixels)
    assert np.array_equal(np.asarray(before), np.asarray(opened(picture).resize((100, 100), Image.Resampling.BICUBIC)))


@pytest.mark.parametrize("kind", ["16 bit", "grey and alpha"])
def test_depth_and_transparency_go_through_the_page(model, tmp_path, kind):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 2)).astype(np.uint8)
    pixels = pixels if kind == "grey and alpha" else (np.random.default_rng(0).random((20, 30, 3)) * 65535).astype(np.uint16)
    height, width, channels = pixels.shape
    path = tmp_path / "a.png"
    images.write_photo(path, "png", [pixels], height=height, width=width, channels=channels, dtype=pixels.dtype.name)
    shop = workshop(model, tmp_path)
    assert ("16 bit" if kind == "16 bit" else "grey with transparency") in shop.look(path, tmp_path / "s.png").text
    made = shop.make(path, "net")
    got = images.read_photo(made.file).pixels
    assert (got.dtype, got.shape) == (pixels.dtype, (80, 120, channels))
    with pytest.raises(UserError, match="use --format png"):
        shop.make(path, "net", form="jpeg")


def test_a_large_result_is_shown_small_and_in_part(model, tmp_path):
    photograph(420, 1).save(tmp_path / "a.png")
    made = workshop(model, tmp_path).make(tmp_path / "a.png", "net")
    assert made.reduced == 2
    result = np.asarray(opened(made.file)).astype(float)
    whole, detail = (np.asarray(opened(pair[1])) for pair in (made.whole, made.detail or ()))
    assert np.abs(whole - result.reshape(840, 2, 840, 2, 3).mean((1, 3))).max() <= 1
    assert detail.shape == (512, 512, 3)
    top, left, bottom, right = (4 * edge for edge in busiest(images.read_photo(tmp_path / "a.png").pixels, 128))
    assert np.array_equal(detail, result[top:bottom, left:right])


def test_the_busiest_part_is_found_by_looking_everywhere():
    pixels = np.full((30, 40, 3), 90, np.uint8)
    pixels[12:20, 25:33] = np.random.default_rng(0).integers(0, 256, (8, 8, 3))
    top, left, bottom, right = busiest(pixels, 10)
    assert (bottom - top, right - left) == (10, 10)
    assert top <= 12
    assert bottom >= 20
    assert left <= 25
    assert right >= 33
    assert busiest(pixels, 1000) == (0, 0, 30, 40)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_anything_can_be_shown(channels, dtype):
    pixels = np.ones((5, 6, channels)) * (1 if dtype == "float32" else np.iinfo(dtype).max)
    picture = shown(pixels.astype(dtype))
    assert picture.mode == ("RGBA" if channels % 2 == 0 else "RGB")
    assert (np.asarray(picture) == 255).all()


def test_strips_of_any_height_give_one_preview():
    pixels = np.random.default_rng(0).integers(0, 256, (3300, 20, 3), dtype=np.uint8)
    views = []
    for cuts in ([], [1, 2, 3, 100, 1601], list(range(7, 3300, 7))):
        preview = Preview(3300, 20, (10, 2, 40, 9))
        for strip in np.split(pixels, cuts):
            preview.take(strip)
        assert np.array_equal(np.asarray(preview.detail()), pixels[10:40, 2:9])
        views.append(np.asarray(preview.whole()))
    assert views[0].shape == (1100, 6, 3)
    assert all(np.array_equal(view, views[0]) for view in views)


@pytest.mark.parametrize("shape", [(7200, 2), (3, 7200), (1, 1601)])
def test_what_is_thinner_than_a_square_is_shown(shape):
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    preview = Preview(*shape, (0, 0, 1, 1))
    for strip in np.split(pixels, [1]):
        preview.take(strip)
    factor = preview.factor
    picture = np.asarray(preview.whole(), int)
    assert picture.shape[:2] == tuple(max(1, side // factor) for side in shape)
    down, across = (min(factor, side) for side in shape)
    assert np.abs(picture[0, 0] - pixels[:down, :across].mean((0, 1))).max() < 2, "each mean loses less than one"


@pytest.mark.parametrize(
    ("here", "headers", "let_in"),
    [
        (True, {"host": "127.0.0.1:7860"}, True),
        (True, {"host": "localhost:7860", "origin": "http://localhost:7860"}, True),
        (True, {"host": "[::1]:7860", "origin": "http://[::1]:7860"}, True),
        (True, {"host": "127.0.0.1:7860", "origin": "https://evil.example"}, False),
        (True, {"host": "127.0.0.1:7860", "origin": "null"}, False),
        (True, {"host": "evil.example:7860", "origin": "http://evil.example:7860"}, False),
        (True, {"host": "localhost:7860", "origin": "https://outside.example", "x-forwarded-host": "outside.example"}, True),
        (True, {"host": "evil.example:7860", "origin": "http://evil.example:7860", "x-forwarded-host": "any"}, False),
        (True, {"host": "[::1", "origin": "http://[::1"}, False),
        (True, {"host": "localhost:7860", "origin": "http://[::1"}, False),
        (False, {"host": "machine.example", "origin": "http://machine.example"}, True),
        (False, {"host": "machine.example", "origin": "http://evil.example"}, False),
    ],
)
def test_other_sites_pages_are_not_served(here, headers, let_in):
    guard = OwnPagesAlone(Any, here)
    assert guard.lets_in({name.encode(): value.encode() for name, value in headers.items()}) == let_in


def test_limits_hold(model, tmp_path, picture):
    with pytest.raises(UserError, match="more than the bound of 1,000"):
        workshop(model, tmp_path, max_pixels=1000).look(picture)
    with pytest.raises(UserError, match="the page makes at most"):
        workshop(model, tmp_path, max_pixels=2000).make(picture, "net", outscale=5)
    with pytest.raises(UserError, match="stopped after 0 seconds, the limit for one picture"):
        workshop(model, tmp_path, seconds=0).make(picture, "net")
    (tmp_path / "huge.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(3_000_000))
    with pytest.raises(UserError, match=r"^huge\.png: larger than"):  # where uploads lie is nobody's business
        workshop(model, tmp_path, max_pixels=1000).look(tmp_path / "huge.png")
    assert not list((tmp_path / "results").glob("*"))


def test_what_waits_for_its_turn_can_be_stopped():
    stops = Stops()
    stops.stop("mine")  # nothing was asked for
    for session in ("mine", "other"):
        stops.ask(session)
    stops.stop("mine")
    with pytest.raises(StoppedError), stops.turn("mine"):
        pass
    with stops.turn("other") as event:
        assert not event.is_set()
        stops.stop("other")
        assert event.is_set()
    stops.stop("mine")
    stops.ask("mine")
    stops.stop("mine")
    stops.ask("mine")  # asked for once more before its turn came
    with stops.turn("mine") as event:
        assert not event.is_set()


def test_what_is_stopped_leaves_nothing(model, tmp_path, picture):
    stop = threading.Event()
    stop.set()
    shop = workshop(model, tmp_path)
    with pytest.raises(StoppedError):
        shop.make(picture, "net", stop=stop)
    shop.make(picture, "net")
    assert len(list((tmp_path / "results").iterdir())) == 1
    shop.close()
    assert not list((tmp_path / "results").iterdir())


@pytest.mark.parametrize(
    ("options", "words"),
    [({"model": "nett"}, "no model 'nett' here"), ({"form": "gif"}, "no format 'gif' here"), ({"outscale": -1.0}, "a scale of -1 is none")],
)
def test_what_the_page_cannot_ask_for_is_refused(model, tmp_path, picture, options, words):
    with pytest.raises(UserError, match=words):
        workshop(model, tmp_path).make(picture, **{"model": "net", **options})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["app", "--models", "MISSING"], "MISSING: no such folder"),
        (["app", "--models", "."], "holds no model"),
        (["app", "--model", "MISSING"], "MISSING: no such model file"),
        (["app", "--model", "MODEL", "--port", "0"], "port = 0: use 1 to 65535"),
        (["app", "--model", "MODEL", "--max-megapixels", "inf"], "max-megapixels = inf: use a positive number"),
        (["app", "--model", "MODEL", "--time-limit", "-1"], "16 megapixels and -1 seconds a picture: use positive numbers"),
    ],
)
def test_mistakes_are_one_line(wildsr, model, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    status, _, err = wildsr(*(model if part == "MODEL" else part for part in arguments), "--no-browser")
    assert status == 2
    assert words in one_line(err)


def test_without_gradio_the_extra_is_named(wildsr, model, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    status, _, err = wildsr("app", "--model", model, "--no-browser")
    assert status == 2
    assert "pip install 'wildsr[app]'" in one_line(err)
