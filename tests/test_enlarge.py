"""Pictures of every kind through a model: depth, grey, transparency, any size, and Python's kinds of pictures."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import wildsr
from wildsr import images, networks, upscale
from wildsr.errors import UserError
from wildsr.networks import SRResNetConfig
from wildsr.upscale import Model
from wildsr.upscale.hidden import Visible
from wildsr.upscale.kinds import upscale_any
from wildsr.upscale.resize import resized


def network(scale: int = 2) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return networks.create(SRResNetConfig(channels=4, blocks=1, scale=scale)).eval().requires_grad_(False)


def model(tile: int = 16, scale: int = 2, **options: Any) -> Model:
    return Model(network(scale), scale, "0" * 64, "raw", tile, **options)


def samples(channels: int, dtype: str = "uint8", height: int = 19, width: int = 45) -> np.ndarray:
    floats = np.random.default_rng(channels).random((height, width, channels))
    return floats.astype(np.float32) if dtype == "float32" else (floats * np.iinfo(dtype).max).astype(dtype)


def whole(result: upscale.Enlarged) -> np.ndarray:
    pixels = np.concatenate(list(result.rows))
    assert pixels.shape == (result.height, result.width, result.channels)
    assert pixels.dtype == result.dtype
    return pixels


def plain(pixels: np.ndarray, scale: int = 2) -> np.ndarray:
    """The network itself on RGB or grey samples, as floats (H, W, C)."""
    top = np.iinfo(pixels.dtype).max if pixels.dtype.kind == "u" else 1
    lr = torch.from_numpy(pixels.astype(np.float32) / top).permute(2, 0, 1)[None].expand(1, 3, -1, -1)
    sr = network(scale)(lr).clamp(0, 1)[0].permute(1, 2, 0).numpy()
    return sr if pixels.shape[2] == 3 else sr @ np.array([[0.299], [0.587], [0.114]], np.float32)


# -------------------------------------------------------------------------------------------------------------------- depth and grey


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("channels", [1, 3])
def test_depth_and_channels_stay(channels, dtype):
    pixels = samples(channels, dtype)
    got = whole(upscale.enlarge(model(), images.Photo(pixels)))
    assert (got.dtype, got.shape) == (pixels.dtype, (38, 90, channels))
    top = 1 if dtype == "float32" else np.iinfo(dtype).max
    assert np.abs(got.astype(float) - plain(pixels) * top).max() < (1e-5 if dtype == "float32" else 0.51 if dtype == "uint8" else 1.1)
    if dtype == "uint16":  # not 8 bits widened
        assert len(np.unique(got)) > 1000


def test_strips_come_from_top_to_bottom_and_are_bounded(monkeypatch):
    monkeypatch.setattr("wildsr.upscale.strips.STRIP_BYTES", 0)
    pixels = samples(3, height=400, width=100)
    result = upscale.enlarge(model(256), images.Photo(pixels))
    heights = []
    strips = []
    for strip in result.rows:
        heights.append(len(strip))
        strips.append(strip)
    assert len(heights) > 3
    assert max(heights) <= 2 * (64 + model().overlap)  # at the borders a tile gives its context too
    assert sum(heights) == 800
    monkeypatch.undo()
    assert np.array_equal(np.concatenate(strips), whole(upscale.enlarge(model(10_000), images.Photo(pixels))))


def test_what_one_tile_holds_is_not_cut_into_strips(monkeypatch):
    """Or else a network whose tiles are not exact would give another picture than the whole, and not say so."""
    monkeypatch.setattr("wildsr.upscale.strips.STRIP_BYTES", 0)
    pixels, calls = samples(3, height=400, width=100), []
    list(upscale.enlarge(model(10_000), images.Photo(pixels), progress=lambda done, total: calls.append((done, total))).rows)
    assert calls == [(1, 1)]


def test_what_belongs_to_a_picture_is_passed_on():
    meta = images.Meta(icc=b"a", exif=b"b", xmp=b"c", dpi=(300, 300))
    assert upscale.enlarge(model(), images.Photo(samples(3), meta)).meta == meta


def test_floats_outside_the_range_are_clipped_and_said():
    pixels = samples(3, "float32")
    pixels[0, 0] = (1.5, -0.5, 2)
    said: list[str] = []
    got = whole(upscale.enlarge(model(), images.Photo(pixels), say=said.append))
    assert np.array_equal(got, whole(upscale.enlarge(model(), images.Photo(pixels.clip(0, 1)))))
    assert len(said) == 1
    assert "lie outside 0 (black) to 1 (white), and were clipped" in said[0]
    pixels[3, 3, 0] = np.nan
    with pytest.raises(UserError, match="samples that are not numbers"):
        upscale.enlarge(model(), images.Photo(pixels))


# ---------------------------------------------------------------------------------------------------------------------- transparency


def disc(colour: int, hidden: int, side: int = 48, channels: int = 4) -> np.ndarray:
    """A disc with a soft edge, and a colour that nobody sees around it."""
    y, x = np.mgrid[:side, :side] - side / 2 + 0.5
    alpha = (np.clip(side / 3 - np.hypot(x, y), 0, 1) * 255).round().astype(np.uint8)
    pixels = np.full((side, side, channels), colour, np.uint8)
    pixels[alpha == 0] = hidden
    pixels[..., -1] = alpha
    return pixels


@pytest.mark.parametrize("mode", upscale.ALPHAS)
@pytest.mark.parametrize("channels", [2, 4])
def test_no_fringe_comes_from_colours_that_nobody_sees(mode, channels):
    results = [whole(upscale.enlarge(model(), images.Photo(disc(130, hidden, channels=channels)), alpha=mode)) for hidden in (0, 255)]
    assert np.array_equal(*results)
    seen = results[0][..., -1] > 0
    # A disc of one colour stays one of that colour, up to what the network makes of a plain area.
    expected = plain(np.full((48, 48, 3), 130, np.uint8))[40:56, 40:56].mean() * 255
    assert np.abs(results[0][..., 0][seen] - expected).max() <= 4


def test_without_that_there_would_be_one(monkeypatch):
    monkeypatch.setattr(Visible, "cut", lambda self, top, bottom, left, right: self._pixels[top:bottom, left:right, :-1])
    results = [whole(upscale.enlarge(model(), images.Photo(disc(130, hidden)))) for hidden in (0, 255)]
    seen = results[0][..., -1] > 0
    assert np.abs(results[0].astype(int) - results[1])[seen][:, 0].max() > 20


@pytest.mark.parametrize("channels", [2, 4])
def test_alpha_is_resized_bicubically(channels):
    pixels = samples(channels)
    got = whole(upscale.enlarge(model(), images.Photo(pixels)))
    alpha = Image.fromarray(pixels[..., -1].astype(np.float32))  # in 8 bits, Pillow cuts overshoots off between its two passes
    expected = np.asarray(alpha.resize((90, 38), Image.Resampling.BICUBIC)).clip(0, 255)
    assert np.abs(got[..., -1].astype(int) - expected).max() <= 1
    visible = np.where(pixels[..., -1:] > 0, pixels[..., :-1], 0)
    assert np.abs(got[..., :-1] - plain(visible) * 255)[4:-4, 4:-4].mean() < 2


def test_alpha_goes_through_the_model_on_request():
    pixels = samples(4)
    got = whole(upscale.enlarge(model(), images.Photo(pixels), alpha="model"))
    assert np.abs(got[..., 3] - plain(pixels[..., 3:])[..., 0] * 255).max() < 0.51


@pytest.mark.parametrize("mode", upscale.ALPHAS)
def test_opaque_stays_opaque_and_gives_the_colours_without_alpha(mode):
    pixels = samples(4)
    pixels[..., 3] = 255
    got = whole(upscale.enlarge(model(), images.Photo(pixels), alpha="premultiplied"))
    assert (got[..., 3] == 255).all()
    assert np.array_equal(got[..., :3], whole(upscale.enlarge(model(), images.Photo(pixels[..., :3]))))


def test_alpha_below_nothing_is_hidden_too():
    pixels = samples(4, "float32")
    pixels[5:9, 5:9, 3] = -0.01
    results = []
    for hidden in (0, 1):
        pixels[5:9, 5:9, :3] = hidden
        results.append(whole(upscale.enlarge(model(), images.Photo(pixels.copy()), say=lambda note: None)))
    assert np.array_equal(*results)


def test_arrays_of_the_other_byte_order():
    array = samples(3, "uint16")
    got = model()(array.astype(">u2"))
    assert got.dtype == np.dtype(">u2")
    assert np.array_equal(got, model()(array))


def test_a_picture_that_is_wholly_transparent_goes_through():
    pixels = samples(4)
    pixels[..., 3] = 0
    assert (whole(upscale.enlarge(model(), images.Photo(pixels)))[..., 3] == 0).all()


def test_hidden_colours_become_those_of_visible_neighbours():
    pixels = np.zeros((31, 40, 4), np.uint8)
    pixels[:, :20] = (200, 0, 0, 255)
    pixels[:, 30:] = (0, 0, 100, 255)
    found = Visible(pixels).cut(0, 31, 0, 40)
    assert np.array_equal(found[:, :20], pixels[:, :20, :3])
    assert found[15, 20, 0] > 150
    assert found[15, 29, 2] > 70
    assert np.array_equal(Visible(pixels).cut(7, 21, 15, 33), found[7:21, 15:33])


def test_progress_counts_both_passes():
    seen: list[tuple[int, int]] = []
    whole(upscale.enlarge(model(), images.Photo(samples(4)), alpha="model", progress=lambda *at: seen.append(at)))
    assert seen[-1][0] == seen[-1][1] > 4
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


# -------------------------------------------------------------------------------------------------------------------------- any size


@pytest.mark.parametrize(
    ("size", "target"), [((37, 51), (50, 60)), ((60, 40), (23, 17)), ((9, 9), (40, 31)), ((5, 5), (1, 1)), ((1, 1), (3, 4))]
)
@pytest.mark.parametrize("rows", [1, 7, 100])
def test_resizing_in_strips_is_pillows_bicubic(size, target, rows):
    pixels = np.random.default_rng(0).random((*size, 2), dtype=np.float32)
    strips = (pixels[top : top + rows] for top in range(0, size[0], rows))
    got = np.concatenate(list(resized(strips, size, target)))
    for channel in range(2):
        expected = np.asarray(Image.fromarray(pixels[..., channel].copy()).resize(target[::-1], Image.Resampling.BICUBIC))
        assert np.abs(got[..., channel] - expected).max() < 1e-5


@pytest.mark.parametrize("outscale", [1, 0.5, 1.7, 2, 3.3, 5])
@pytest.mark.parametrize("channels", [1, 4])
def test_any_output_size(outscale, channels):
    pixels = samples(channels, "float32")
    pixels[..., -1] = 1 if channels == 4 else pixels[..., -1]
    got = whole(upscale.enlarge(model(), images.Photo(pixels), outscale=outscale))
    size = (round(19 * outscale), round(45 * outscale))
    assert got.shape == (*size, channels)
    full = plain(pixels[..., :3])
    for channel in range(min(channels, 3)):
        expected = np.asarray(Image.fromarray(full[..., channel].copy()).resize(size[::-1], Image.Resampling.BICUBIC)).clip(0, 1)
        assert np.abs(got[..., channel] - expected).max() < 1e-4


@pytest.mark.parametrize("outscale", [0, -1, 65, float("nan"), float("inf")])
def test_sizes_that_cannot_be_are_refused(outscale):
    with pytest.raises(UserError, match=r"outscale = .*: use a number above 0, 64 at most"):
        upscale.enlarge(model(), images.Photo(samples(3)), outscale=outscale)


# ------------------------------------------------------------------------------------------------------------------- kinds of pictures


@pytest.mark.parametrize(
    ("mode", "back"),
    [("1", "L"), ("L", "L"), ("LA", "LA"), ("P", "RGB"), ("PA", "RGBA"), ("RGB", "RGB"), ("RGBA", "RGBA"), ("I;16", "I;16")],
)
def test_pillow_pictures(mode, back):
    channels = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}.get(mode)
    if channels:
        picture = Image.fromarray(samples(channels).squeeze())
    elif mode == "I;16":
        picture = Image.fromarray(samples(1, "uint16").squeeze())
    else:
        picture = Image.fromarray(samples(3)).convert("L" if mode == "1" else "P").convert(mode)
    assert picture.mode == mode
    got = model()(picture)
    assert isinstance(got, Image.Image)
    assert (got.mode, got.size) == (back, (90, 38))
    before = np.asarray(picture if mode in ("I;16", back) else picture.convert(back))
    pixels = before[:, :, None] if before.ndim == 2 else before
    assert np.array_equal(np.asarray(got).reshape(38, 90, -1), whole(upscale.enlarge(model(), images.Photo(pixels.copy()))))


def test_transparency_that_is_no_channel_becomes_one_and_profiles_stay():
    picture = Image.fromarray(samples(3)).convert("P")
    picture.info["transparency"] = 3
    assert model()(picture).mode == "RGBA"
    picture = Image.fromarray(samples(4)).quantize(16)
    assert picture.palette is not None
    assert picture.palette.mode == "RGBA"
    assert model()(picture).mode == "RGBA"
    picture = Image.fromarray(samples(1, "uint16").squeeze())
    picture.info["transparency"] = 3
    with pytest.raises(UserError, match=r"mode I;16 with a transparent colour: .* use an array"):
        model()(picture)
    picture = Image.fromarray(samples(3))
    picture.info |= {"icc_profile": b"profile", "comment": "x"}
    assert model()(picture).info == {"icc_profile": b"profile"}


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "LAB", "HSV", "I", "F"])
def test_other_modes_are_refused(mode):
    with pytest.raises(UserError, match=f"mode {mode}: convert it to one of"):
        model()(Image.new(mode, (8, 8)))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(9, 11), (9, 11, 1), (9, 11, 2), (9, 11, 3), (9, 11, 4)])
def test_arrays(shape, dtype):
    floats = np.random.default_rng(0).random(shape)
    array = floats.astype(dtype) if dtype.startswith("f") else (floats * np.iinfo(dtype).max).astype(dtype)
    got = model()(array)
    assert isinstance(got, np.ndarray)
    assert (got.dtype, got.shape) == (array.dtype, (18, 22, *shape[2:]))
    pixels = array.reshape(9, 11, -1)
    pixels = pixels.astype(np.float32) if dtype.startswith("f") else pixels
    assert np.array_equal(got.reshape(18, 22, -1), whole(upscale.enlarge(model(), images.Photo(pixels))).astype(dtype))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(2, 3, 9, 11), (3, 9, 11), (2, 1, 9, 11), (1, 9, 11)])
def test_tensors(shape, dtype):
    floats = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    tensor = images.to_uint8(floats) if dtype == torch.uint8 else floats.to(dtype)
    got = model()(tensor)
    assert (got.dtype, got.shape) == (dtype, (*shape[:-2], 18, 22))
    lr = images.to_float(tensor) if dtype == torch.uint8 else tensor.float()
    lr = (lr if lr.ndim == 4 else lr[None]).expand(-1, 3, -1, -1)
    sr = network()(lr).clamp(0, 1)
    if shape[-3] == 1:
        sr = (sr * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)
    sr = sr if tensor.ndim == 4 else sr[0]
    expected = images.to_uint8(sr) if dtype == torch.uint8 else sr.to(dtype)
    torch.testing.assert_close(
        got.float(),
        expected.float(),
        atol=1.01 if dtype == torch.uint8 else 1e-5 if dtype in (torch.float32, torch.float64) else 1e-2,
        rtol=0,
    )


@pytest.mark.parametrize("thing", ["photo.png", [[1, 2]], None])
def test_what_is_no_picture_is_a_type_error(thing):
    with pytest.raises(TypeError, match="a Pillow picture, a NumPy array or a tensor"):
        upscale_any(model(), thing)


@pytest.mark.parametrize(
    ("thing", "words"),
    [
        (np.zeros((3, 9, 11, 3)), "an array of shape"),
        (np.zeros((9, 11, 5)), "an array of shape"),
        (np.zeros((0, 11, 3)), "an array of shape"),
        (np.zeros((9, 11, 3), np.int32), "an array of int32"),
        (np.full((9, 11, 3), 200.0), r"floats up to 200: use floats in \[0, 1\]"),
        (torch.zeros(9, 11), "a tensor of shape"),
        (torch.zeros(4, 9, 11), "a tensor of shape"),
        (torch.zeros(3, 9, 11, dtype=torch.int64), "a tensor of int64"),
        (torch.full((3, 9, 11), 200.0), r"floats up to 200: use floats in \[0, 1\]"),
    ],
)
def test_shapes_and_number_types_that_cannot_be_are_named(thing, words):
    with pytest.raises(UserError, match=words):
        model()(thing)


def test_the_package_s_load_gives_such_a_model(tmp_path):
    from wildsr import checkpoint

    net = network()
    checkpoint.save(tmp_path / "x.safetensors", checkpoint.Checkpoint(net.config, dict(net.state_dict()), "ema"))
    picture = Image.fromarray(samples(3))
    assert wildsr.load(tmp_path / "x.safetensors", device="cpu")(picture).size == (90, 38)


def test_the_sheet_shows_every_picture_beside_bicubic(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    sheet = importlib.import_module("sheet")
    paths = [tmp_path / f"{name}.png" for name in "abc"]
    for path, channels in zip(paths, (3, 1, 4), strict=True):
        Image.fromarray(samples(channels).squeeze()).save(path)
    made = sheet.sheet(model(), paths, 10, 2)
    assert made.size == (2 * (2 * 20 + 4 + sheet.GAP) + sheet.GAP, 2 * (20 + sheet.LINE + sheet.GAP) + sheet.GAP)
    bicubic = np.asarray(Image.fromarray(samples(3)).resize((90, 38), Image.Resampling.BICUBIC))[9:29, 35:55]
    assert np.array_equal(np.asarray(made)[sheet.GAP : sheet.GAP + 20, sheet.GAP : sheet.GAP + 20], bicubic)
