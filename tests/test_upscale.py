"""Upscaling: tiles that give what the whole picture gives, memory that is bounded, and files of every mode."""

from pathlib import Path

import numpy as np
import pytest
import slow_twins
import torch
import torch.nn.functional as F
import zoo
from PIL import Image

from wildsr import checkpoint, images, networks, upscale
from wildsr.errors import UserError
from wildsr.networks import SRResNet, SRResNetConfig
from wildsr.upscale import Model


def strong_network(scale: int, blocks: int = 2, channels: int = 6) -> SRResNet:
    """Random weights large enough that features, and what lies far away, matter to the result."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(blocks)
        net = networks.create(SRResNetConfig(channels=channels, blocks=blocks, scale=scale)).eval()
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            generator = torch.Generator().manual_seed(len(name) + parameter.numel())
            spread = 0.1 if parameter.dim() == 1 else 1.2 / parameter[0].numel() ** 0.5
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * spread)
        net.conv_last.weight.mul_(0.1)
    return net.requires_grad_(False)


def model(net: SRResNet, tile: int = 10_000) -> Model:
    return Model(net, net.config.scale, "0" * 64, "raw", tile)


def picture(height: int, width: int, seed: int = 0) -> torch.Tensor:
    return slow_twins.as_float(slow_twins.noise_picture(height, width, seed)) * 0.6 + 0.2


# --------------------------------------------------------------------------------------------------------------------------- tiles


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_an_untiled_model_is_the_network_clamped(scale):
    net = strong_network(scale)
    lr = picture(13, 9)
    sr = model(net)(lr)
    assert torch.equal(sr, net(lr).clamp(0, 1))
    # The features count, and few pixels are clamped: or else equality of tiles would say little.
    base = F.interpolate(lr, scale_factor=scale, mode="bilinear", align_corners=False)
    assert (sr - base).abs().mean() > 0.02
    assert ((sr > 0) & (sr < 1)).float().mean() > 0.8


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("tile", [16, 24])
@pytest.mark.parametrize(("height", "width"), [(48, 48), (37, 51), (17, 90), (16, 25), (11, 13), (1, 40), (1, 1)])
def test_tiles_give_what_the_whole_picture_gives(scale, tile, height, width):
    net = strong_network(scale)
    lr = picture(height, width)
    tiled = model(net, tile)(lr)
    assert tiled.shape == (1, 3, height * scale, width * scale)
    torch.testing.assert_close(tiled, model(net)(lr), atol=1e-4, rtol=0)


def test_batches_are_tiled_too():
    net = strong_network(2)
    lr = torch.cat([picture(20, 35, seed) for seed in (0, 1, 2)])
    tiled = model(net, 16)(lr)
    torch.testing.assert_close(tiled, model(net)(lr), atol=1e-4, rtol=0)
    torch.testing.assert_close(tiled[1:2], model(net, 16)(lr[1:2]), atol=1e-6, rtol=0)


def test_three_pixels_less_of_overlap_are_not_enough(monkeypatch):
    net = strong_network(4)
    lr = picture(37, 51)
    whole, radius = model(net)(lr), net.radius
    monkeypatch.setattr(SRResNet, "radius", radius - 3)
    assert (model(net, 16)(lr) - whole).abs().max() > 1e-4


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("blocks", [1, 2, 5])
def test_the_receptive_radius_is_an_upper_bound_and_tight(scale, blocks):
    net = strong_network(scale, blocks, channels=4).double()
    centre = net.radius + 5
    lr = (torch.rand(1, 3, 2 * centre + 1, 2 * centre + 1, generator=torch.Generator().manual_seed(0)) * 0.6 + 0.2).double()
    reached = 0
    for row in range(scale):
        for column in range(scale):
            probe = lr.clone().requires_grad_()
            net(probe)[..., centre * scale + row, centre * scale + column].sum().backward()
            rows, columns = probe.grad[0].abs().sum(0).nonzero(as_tuple=True)
            reached = max(reached, *(int((places - centre).abs().max()) for places in (rows, columns)))
    assert net.radius - 3 < reached <= net.radius


@pytest.mark.parametrize("tile", [16, 24])
@pytest.mark.parametrize(("height", "width"), [(70, 90), (20, 200)])
def test_the_network_never_sees_more_than_a_tile_and_its_overlap(tile, height, width):
    net = strong_network(2)
    seen: list[tuple[int, int]] = []
    net.register_forward_pre_hook(lambda _, arguments: seen.append(tuple(arguments[0].shape[-2:])))
    model(net, tile)(picture(height, width))
    assert max(max(size) for size in seen) == tile + 2 * net.radius
    assert len(seen) == -(-height // tile) * -(-width // tile)


def test_tiles_cover_the_result_once():
    net = strong_network(2)
    covered = torch.zeros(74, 102)
    for (top, left), tile in model(net, 16).tiles(picture(37, 51)):
        covered[top : top + tile.shape[-2], left : left + tile.shape[-1]] += 1
    assert (covered == 1).all()


@pytest.mark.parametrize(("bias", "level"), [(5.0, 1.0), (-5.0, 0.0)])
def test_results_are_clamped(bias, level):
    net = strong_network(2)
    net.conv_last.bias.fill_(bias)
    assert (model(net, 16)(picture(20, 20)) == level).all()


def test_a_result_can_be_used_in_further_computation():
    sr = model(strong_network(2), 16)(picture(20, 20))
    weight = torch.ones(1, requires_grad=True)
    (sr * weight).sum().backward()
    assert weight.grad is not None


# -------------------------------------------------------------------------------------------------------------------------- pictures


def grey_ramp(channels: int, height: int = 19, width: int = 23) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8).squeeze()


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("LA", 2), ("RGB", 3), ("RGBA", 4)])
def test_the_mode_stays_and_the_size_grows(mode, channels):
    source = Image.fromarray(grey_ramp(channels))
    assert source.mode == mode
    result = upscale.upscale_picture(model(strong_network(3), 16), source)
    assert result.mode == mode
    assert result.size == (69, 57)


@pytest.mark.parametrize("tile", [16, 10_000])
def test_the_colours_are_those_of_the_model_whether_there_is_transparency_or_not(tile):
    source = Image.fromarray(grey_ramp(4))
    net = strong_network(2)
    colours = images.from_pillow(source.convert("RGB"))
    expected = images.to_uint8(model(net)(slow_twins.as_float(colours))[0])
    result = upscale.upscale_picture(model(net, tile), source)
    assert (images.from_pillow(result.convert("RGB")).int() - expected.int()).abs().max() <= 1
    assert np.array_equal(np.asarray(result)[..., :3], np.asarray(upscale.upscale_picture(model(net, tile), source.convert("RGB"))))


@pytest.mark.parametrize("channels", [2, 4])
def test_transparency_is_resized_by_bicubic(channels):
    source = Image.fromarray(grey_ramp(channels))
    result = upscale.upscale_picture(model(strong_network(2), 16), source)
    expected = source.getchannel("A").resize((46, 38), Image.Resampling.BICUBIC)
    assert np.array_equal(np.asarray(result.getchannel("A")), np.asarray(expected))


def test_an_opaque_picture_stays_opaque():
    source = Image.fromarray(grey_ramp(3)).convert("RGBA")
    result = upscale.upscale_picture(model(strong_network(2), 16), source)
    assert result.getchannel("A").getextrema() == (255, 255)


def test_grey_is_upscaled_as_the_grey_of_its_colour_picture():
    source = Image.fromarray(grey_ramp(1))
    net = model(strong_network(2), 16)
    colour = upscale.upscale_picture(net, source.convert("RGB"))
    assert np.array_equal(np.asarray(upscale.upscale_picture(net, source)), np.asarray(colour.convert("L")))


def test_a_single_pixel_is_upscaled():
    assert upscale.upscale_picture(model(strong_network(4), 16), Image.new("RGB", (1, 1), (9, 99, 199))).size == (4, 4)


def test_files_are_turned_upright_and_written_as_png(tmp_path):
    source = Image.fromarray(grey_ramp(3))
    exif = Image.Exif()
    exif[0x0112] = 6
    source.save(tmp_path / "turned.png", exif=exif)
    net = model(strong_network(2), 16)
    upscale.upscale_file(net, tmp_path / "turned.png", tmp_path / "out" / "result.png")
    with Image.open(tmp_path / "out" / "result.png") as result:
        assert result.format == "PNG"
        assert result.size == (38, 46)
        assert result.getexif().get(0x0112, 1) == 1
        expected = upscale.upscale_picture(net, source.transpose(Image.Transpose.ROTATE_270))
        assert np.array_equal(np.asarray(result), np.asarray(expected))


def test_files_give_equal_bytes_again(tmp_path):
    Image.fromarray(grey_ramp(3)).save(tmp_path / "a.png")
    for name in ("1.png", "2.png"):
        upscale.upscale_file(model(strong_network(2), 16), tmp_path / "a.png", tmp_path / name)
    assert (tmp_path / "1.png").read_bytes() == (tmp_path / "2.png").read_bytes()


def test_a_file_that_cannot_be_read_leaves_none_behind(tmp_path):
    (tmp_path / "bad.png").write_text("no picture")
    Image.fromarray(grey_ramp(3)).save(tmp_path / "large.png")
    net = model(strong_network(2), 16)
    with pytest.raises(UserError, match=r"bad\.png: not a picture"):
        upscale.upscale_file(net, tmp_path / "bad.png", tmp_path / "out.png")
    with pytest.raises(UserError, match=r"large\.png: 23×19 is 437 pixels, more than the bound of 400"):
        upscale.upscale_file(net, tmp_path / "large.png", tmp_path / "out.png", max_pixels=400)
    assert not (tmp_path / "out.png").exists()


# ---------------------------------------------------------------------------------------------------------------------------- load


def saved(path: Path, scale: int = 2) -> SRResNet:
    net = strong_network(scale)
    checkpoint.save(path, checkpoint.Checkpoint(net.config, net.state_dict(), "ema"))
    return net


@pytest.mark.parametrize("name", ["model.safetensors", "."])
def test_a_loaded_model_is_the_one_that_was_saved(tmp_path, name):
    net = saved(tmp_path / "model.safetensors", 3)
    loaded = upscale.load(tmp_path / name, device="cpu", tile=16)
    assert (loaded.scale, loaded.tile, loaded.weights_key, loaded.dtype) == (3, 16, "ema", "float32")
    assert loaded.weights_sha256 == checkpoint.weights_sha256(net.state_dict())
    assert not loaded.network.training
    lr = picture(20, 37)
    assert torch.equal(loaded(lr), model(net, 16)(lr))


def test_the_default_tile_is_named(tmp_path):
    saved(tmp_path / "model.safetensors")
    assert upscale.load(tmp_path / "model.safetensors", device="cpu").tile == upscale.TILE


@pytest.mark.parametrize("tile", [15, 0, -1])
def test_tiny_tiles_are_refused(tmp_path, tile):
    saved(tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=f"tile = {tile}: use at least 16 pixels"):
        upscale.load(tmp_path / "model.safetensors", tile=tile)


def test_missing_models_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"absent\.safetensors: no such model file"):
        upscale.load(tmp_path / "absent.safetensors")
    with pytest.raises(UserError, match=r"no model\.safetensors in this folder"):
        upscale.load(tmp_path)


@pytest.mark.parametrize("name", ["text.safetensors", "text.pth", "empty.safetensors", "empty.pth"])
def test_files_that_are_no_model_are_refused(tmp_path, name):
    (tmp_path / name).write_text("no model" * 30 if name.startswith("text") else "")
    with pytest.raises(UserError, match=name):
        upscale.load(tmp_path / name)


def test_a_torn_model_is_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    saved(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"model\.safetensors: not a whole safetensors file"):
        upscale.load(path)


def test_weights_of_another_network_are_refused(tmp_path):
    checkpoint.write_safetensors(tmp_path / "other.safetensors", {"layer.weight": torch.ones(3)})
    with pytest.raises(UserError, match=r"other\.safetensors: not the weights of a network known here .*layer\.weight"):
        upscale.load(tmp_path / "other.safetensors")


def test_unknown_devices_are_refused(tmp_path):
    saved(tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"unknown device 'cpuu': did you mean 'cpu'\?"):
        upscale.load(tmp_path / "model.safetensors", device="cpuu")


@pytest.mark.parametrize("name", zoo.CONFIGS)
@pytest.mark.parametrize("tile", [17, 32])
def test_every_network_is_tiled(name, tile):
    """To the whole picture's result where the receptive radius is bounded; at cells and windows of its own for those it is cut into."""
    net = networks.create(zoo.CONFIGS[name]).eval()
    lr = picture(45, 70)
    tiled = model(net, tile)(lr)
    assert tiled.shape == (1, 3, 90, 140)
    if net.radius is not None and net.radius <= upscale.OVERLAP:
        torch.testing.assert_close(tiled, model(net)(lr), atol=1e-5, rtol=0)
    else:  # A fresh network adds little; what is far away matters less still.
        torch.testing.assert_close(tiled, model(net)(lr), atol=2e-2, rtol=0)


def test_overlaps_are_bounded_and_lie_on_the_networks_grid():
    with torch.device("meta"):
        found = {name: upscale.overlap(networks.create(config)) for name, (config, _) in FULL_SIZE.items()}
    assert found == {name: expected for name, (_, expected) in FULL_SIZE.items()}


FULL_SIZE = {
    "srresnet": (networks.SRResNetConfig(), 35),
    "rrdbnet": (networks.RRDBNetConfig(), 64),
    "rrdbnet-x2": (networks.RRDBNetConfig(scale=2, blocks=1), 38),
    "swinir": (networks.SwinIRConfig(), 64),
    "swinir-7": (networks.SwinIRConfig(window=7, img_size=63), 70),
    "compact": (networks.CompactConfig(), 18),
    "rcan": (networks.RCANConfig(), 64),
}
