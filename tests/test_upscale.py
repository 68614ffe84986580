"""Upscaling: tiles that give what the whole picture gives, memory that is bounded, and files of every mode."""

import importlib
import threading
from pathlib import Path
from typing import Any

import pytest
import slow_twins
import torch
import torch.nn.functional as F
import zoo
from conftest import photograph

from wildsr import checkpoint, devices, jobs, networks, upscale
from wildsr.errors import UserError
from wildsr.networks import SRResNet, SRResNetConfig
from wildsr.upscale import Model
from wildsr.upscale import cells as upscale_cells
from wildsr.upscale.box import Box


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
    torch.testing.assert_close(sr, net(lr).clamp(0, 1), atol=1e-6, rtol=0)
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
    assert max(max(size) for size in seen) <= tile + 2 * net.radius
    assert len(set(seen)) == 1  # of one size, so that they can go through together
    assert len(seen) <= -(-height // tile) * -(-width // tile)


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


def test_a_tensor_out_of_range_is_taken_as_an_array_is():
    net = model(SRResNet(SRResNetConfig(channels=4, blocks=1)).eval())
    lr = picture(12, 14)
    wide = lr * 2 - 0.5
    with pytest.warns(UserWarning, match="lie outside 0"):
        assert torch.equal(net(wide), net(wide.clamp(0, 1)))
    lr[..., 3, 3] = torch.nan
    with pytest.raises(UserError, match="the tensor holds samples that are not numbers"):
        net(lr)


def test_a_result_can_be_used_in_further_computation():
    sr = model(strong_network(2), 16)(picture(20, 20))
    weight = torch.ones(1, requires_grad=True)
    (sr * weight).sum().backward()
    assert weight.grad is not None


# ------------------------------------------------------------------------------------------------------------------ layer by layer


@pytest.fixture(autouse=True)
def small_pictures_too(monkeypatch):
    """The pictures here are small, and would go through as a whole where that is quicker."""
    monkeypatch.setattr("wildsr.upscale.model.whole_is_quicker", lambda lr: False)


def wide_network(scale: int, blocks: int = 2) -> SRResNet:
    """One that is computed layer by layer."""
    net = strong_network(scale, blocks, channels=32)
    assert upscale_cells.in_layers(net)
    return net


def as_a_network(net: SRResNet, lr: torch.Tensor) -> torch.Tensor:
    """The slow twin: its own forward, on the whole picture."""
    with torch.inference_mode():
        return net(lr).clamp(0, 1)


@pytest.fixture
def cells(monkeypatch):
    """Cells so small that small pictures have many."""
    monkeypatch.setattr(upscale_cells, "_CELL", 24)
    monkeypatch.setattr(upscale_cells, "_LAST_CELL", 16)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(("tile", "height", "width"), [(10_000, 70, 45), (33, 70, 45), (16, 17, 50), (16, 1, 40), (16, 1, 1)])
def test_layer_by_layer_gives_what_the_network_gives(cells, scale, tile, height, width):
    net, lr = wide_network(scale), picture(height, width)
    expected = as_a_network(net, lr)
    torch.testing.assert_close(model(net, tile)(lr), expected, atol=1e-5, rtol=0)
    base = F.interpolate(lr, scale_factor=scale, mode="bilinear", align_corners=False)
    assert (expected - base).abs().mean() > 0.02


def test_layer_by_layer_gives_what_the_network_gives_at_its_true_size():
    net, lr = strong_network(4, blocks=16, channels=64), picture(90, 70)
    for block in net.body:
        block.conv2.weight.mul_(0.15)  # or features would grow from block to block, and their rounding errors with them
    assert upscale_cells.in_layers(net)
    net.conv_last.weight.mul_(0.3)
    detail = as_a_network(net, lr) - F.interpolate(lr, scale_factor=4, mode="bilinear", align_corners=False)
    assert 0.02 < detail.abs().mean() < 0.2
    torch.testing.assert_close(model(net, 64)(lr), as_a_network(net, lr), atol=1e-5, rtol=0)


def test_small_pictures_go_through_as_a_whole_where_that_is_quicker(monkeypatch):
    net, lr, seen = wide_network(2), torch.rand(2, 3, 21, 30, generator=torch.Generator().manual_seed(0)), []
    monkeypatch.setattr("wildsr.upscale.model.whole_is_quicker", upscale_cells.whole_is_quicker)
    monkeypatch.setattr("wildsr.upscale.model.layer_by_layer", lambda *given: pytest.fail("layer by layer"))
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    original = SRResNet.forward

    def spied(self, x):
        seen.append(x.is_contiguous(memory_format=torch.channels_last))
        return original(self, x)

    monkeypatch.setattr(SRResNet, "forward", spied)
    found = Model(net, 2, "", "ema")(lr)
    assert seen == [True]
    assert (found - as_a_network(net, lr)).abs().max() < 1e-5
    large = torch.zeros(1, 3, 300, 300)
    assert not upscale_cells.whole_is_quicker(large)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    assert not upscale_cells.whole_is_quicker(lr)


def test_batches_and_bytes_go_layer_by_layer_too(cells):
    net = wide_network(4)
    pictures = torch.stack([slow_twins.noise_picture(40, 50, seed) for seed in (0, 1)])
    expected = as_a_network(net, pictures.float() / 255)
    found = torch.zeros_like(expected)
    for (top, left), tile in model(net, 32).tiles(pictures):
        found[..., top : top + tile.shape[-2], left : left + tile.shape[-1]] = tile
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("constant", "less"), [(2, 1), (1, 0)])
def test_a_pixel_less_around_a_cell_is_not_enough(cells, monkeypatch, constant, less):
    """What the cells take of their surroundings is no more than they need: both margins are tight."""
    net, lr = wide_network(4), picture(40, 50)
    expected = as_a_network(net, lr)
    wider = Box.wider
    monkeypatch.setattr(Box, "wider", lambda self, margin, within: wider(self, less if margin == constant else margin, within))
    assert (model(net)(lr) - expected).abs().max() > 1e-3


def test_layer_by_layer_holds_no_more_than_a_tile_and_its_cells(cells, monkeypatch):
    net = wide_network(2)
    seen: dict[str, set[tuple[int, int]]] = {"_features": set(), "_finished": set(), "_winograd": set()}

    def watch(name: str, original: Any) -> None:
        def watched(*given: Any) -> torch.Tensor:
            out = original(*given)
            seen[name].add(tuple(out.shape[-2:]))
            return out

        monkeypatch.setattr(upscale_cells, name, watched)

    for name in seen:
        watch(name, getattr(upscale_cells, name))
    model(net, 48)(picture(200, 150))
    largest = {name: max(max(size) for size in sizes) for name, sizes in seen.items()}
    assert largest["_features"] <= 48 + 2 * net.radius
    assert largest["_finished"] == 2 * 16
    assert largest["_winograd"] <= 2 * (16 + 2)


@pytest.mark.parametrize("count", [1, 3])
def test_the_number_of_threads_does_not_matter_and_stays(cells, count):
    net, lr = wide_network(2), picture(60, 50)
    expected, threads = model(net)(lr), torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        assert torch.equal(model(net)(lr), expected)
        for _ in model(net).tiles(lr):
            assert torch.get_num_threads() == count
        assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)


def test_who_stops_looking_leaves_no_thread_behind(cells):
    before = threading.active_count()
    pieces = model(wide_network(2)).tiles(picture(60, 50))
    next(pieces)
    assert threading.active_count() > before
    pieces.close()
    assert threading.active_count() == before


def test_what_fails_in_a_thread_is_raised(cells, monkeypatch):
    def fail(*_: Any) -> torch.Tensor:
        raise MemoryError("planted")

    monkeypatch.setattr(upscale_cells, "_shuffle", fail)
    with pytest.raises(MemoryError, match="planted"):
        model(wide_network(2))(picture(60, 50))


def test_hooks_see_the_network_called():
    net = wide_network(2)
    seen: list[tuple[int, int]] = []
    handle = net.body[1].register_forward_hook(lambda _, __, out: seen.append(tuple(out.shape[-2:])))
    with_hook = model(net, 16)(picture(20, 20))
    assert seen
    handle.remove()
    seen.clear()
    torch.testing.assert_close(model(net, 16)(picture(20, 20)), with_hook, atol=1e-5, rtol=0)
    assert not seen


def test_other_networks_are_called():
    assert not upscale_cells.in_layers(wide_network(2).train())
    assert not upscale_cells.in_layers(wide_network(2).double())
    assert not upscale_cells.in_layers(wide_network(2).to("meta"))
    assert not upscale_cells.in_layers(strong_network(2, channels=31))
    assert not upscale_cells.in_layers(networks.create(networks.CompactConfig(channels=64, blocks=1)).eval())


def test_without_nnpack_the_network_is_called(monkeypatch):
    net, lr = wide_network(2), picture(30, 20)
    monkeypatch.setattr(torch.backends.nnpack, "is_available", lambda: False)
    torch.testing.assert_close(model(net)(lr), as_a_network(net, lr), atol=1e-6, rtol=0)


@pytest.mark.parametrize("r", [2, 3])
def test_the_shuffle_is_pytorchs(r):
    x = torch.randn(2, 5 * r**2, 7, 4)
    assert torch.equal(upscale_cells._shuffle(x, r), F.pixel_shuffle(x, r))


@pytest.mark.parametrize(("ours", "outputs"), [(upscale_cells._winograd, 40), (upscale_cells._winograd, 5), (upscale_cells._to_colours, 3)])
def test_the_convolutions_are_pytorchs(ours, outputs):
    convolution = torch.nn.Conv2d(40, outputs, 3, padding=1).requires_grad_(False)
    torch.backends.nnpack.is_available()  # makes it ready
    for height, width in ((1, 1), (2, 9), (20, 31)):
        x = torch.randn(2, 40, height, width)
        expected = convolution.double()(x.double()).float()
        convolution.float()
        torch.testing.assert_close(ours(x, convolution), expected, atol=5e-5, rtol=0)


def test_even_parts_cover_a_box_once_and_are_even():
    box = Box(3, 5, 103, 78)
    parts = list(box.even_parts(30))
    covered = torch.zeros(110, 80)
    for part in parts:
        covered[part.top : part.bottom, part.left : part.right] += 1
    assert covered.sum() == 100 * 73
    assert (covered[3:103, 5:78] == 1).all()
    assert {(part.bottom - part.top, part.right - part.left) for part in parts} == {(25, 25), (25, 23)}


# ------------------------------------------------------------------------------------------------------------------------- precision


@pytest.mark.parametrize(
    ("precision", "computes", "dtype"),
    [("fp32", True, "float32"), ("bf16", False, "bfloat16"), ("auto", True, "bfloat16"), ("auto", False, "float32")],
)
def test_the_precision_is_named_or_the_devices(tmp_path, monkeypatch, precision, computes, dtype):
    saved(tmp_path / "model.safetensors")
    monkeypatch.setattr(devices, "computes_bf16", lambda device: computes)
    assert upscale.load(tmp_path / "model.safetensors", device="cpu", precision=precision).dtype == dtype
    assert upscale.load(tmp_path / "model.safetensors", device="cpu").dtype == "float32"


def test_the_verb_asks_the_device_and_measuring_does_not(tmp_path, monkeypatch, wildsr):
    saved(tmp_path / "model.safetensors", 4)
    photograph(20, 1).save(tmp_path / "a.png")
    monkeypatch.setattr(devices, "computes_bf16", lambda device: True)
    used: list[str] = []
    original = Model.pieces

    def pieces(self: Model, *given: Any, **options: Any) -> Any:
        used.append(self.dtype)
        return original(self, *given, **options)

    monkeypatch.setattr(Model, "pieces", pieces)
    for options in ([], ["--precision", "fp32"], ["--precision", "bf16"]):
        found = wildsr(
            "upscale", tmp_path / "a.png", "--model", tmp_path, "--out", tmp_path / "up", "--device", "cpu", "--overwrite", *options
        )
        assert found[0] == 0
    assert used == ["bfloat16", "float32", "bfloat16"]
    folder = tmp_path / "set"
    folder.mkdir()
    photograph(48, 1).save(folder / "a.png")
    rows = jobs.bench([tmp_path / "model.safetensors"], "resizers", [folder], tmp_path / "bench", device="cpu")
    assert {row["dtype"] for row in rows if row["model"] != "bicubic"} == {"float32"}
    assert set(used[3:]) == {"float32"}


def test_unknown_precisions_are_refused(tmp_path, wildsr):
    saved(tmp_path / "model.safetensors")
    with pytest.raises(UserError, match="unknown precision 'fp23': did you mean 'fp32'"):
        upscale.load(tmp_path / "model.safetensors", precision="fp23")
    status, _, err = wildsr("upscale", tmp_path / "model.safetensors", "--model", tmp_path, "--precision", "half")
    assert (status, "unknown precision 'half'" in err) == (2, True)


@pytest.mark.parametrize("tile", [16, 10_000])
def test_bf16_is_another_computation_of_nearly_the_same(tile):
    net, lr = strong_network(4), picture(30, 40)
    exact = model(net)(lr)
    rough = Model(net, 4, "", "", tile, "bfloat16")(lr)
    assert rough.dtype == torch.float32
    assert 1e-5 < (rough - exact).abs().mean() < 3e-3
    # Much finer than 8 significant bits: the enlarged input is not rounded.
    assert (rough - rough.bfloat16().float()).abs().mean() > 1e-4


def test_a_tile_that_overflows_in_bf16_is_computed_in_fp32():
    """1.999 × 2¹²⁷ is a float32; bfloat16 makes 2 of 1.999, and infinity of the product. Only a sample of 1 goes so far."""
    net = networks.create(SRResNetConfig(channels=4, blocks=2, scale=2)).eval().requires_grad_(False)
    for parameter in net.parameters():
        parameter.zero_()
    net.conv_first.weight[0, 0, 1, 1] = 1.999
    net.upconv1.weight[:4, 0, 1, 1] = 1
    net.conv_hr.weight[0, 0, 1, 1] = 2.0**127
    net.conv_last.weight[:, 0, 1, 1] = 2.0**-126
    lr = picture(16, 48) * 0.15
    lr[0, 0, 5, 2] = 1
    exact = model(net, 16)(lr)

    in_bf16: list[bool] = []
    net.register_forward_hook(lambda *_: in_bf16.append(torch.is_autocast_enabled("cpu")))
    found = Model(net, 2, "", "", 16, "bfloat16")(lr)
    assert in_bf16 == [True, False, True, True]
    assert torch.equal(found[..., :32], exact[..., :32])
    assert not torch.equal(found[..., 32:], exact[..., 32:])
    torch.testing.assert_close(found, exact, atol=0.02, rtol=0)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("channels", [6, 32])
def test_what_is_not_finite_in_fp32_either_is_refused(dtype, channels):
    net = strong_network(2, channels=channels)
    net.conv_hr.weight[0, 0, 1, 1] = torch.nan
    with pytest.raises(UserError, match="the model's output is not finite"):
        Model(net, 2, "", "", 16, dtype)(picture(20, 20))


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


def test_the_default_tile_suits_what_computes(tmp_path):
    saved(tmp_path / "model.safetensors")
    assert upscale.load(tmp_path / "model.safetensors", device="cpu").tile == 256
    assert upscale.load(tmp_path / "model.safetensors", device="cpu", precision="bf16").tile == 512
    net = strong_network(2, channels=32)
    checkpoint.save(tmp_path / "wide.safetensors", checkpoint.Checkpoint(net.config, net.state_dict(), "ema"))
    assert upscale.load(tmp_path / "wide.safetensors", device="cpu").tile == 1024
    assert upscale.load(tmp_path / "wide.safetensors", device="cpu", tile=99).tile == 99


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


# ------------------------------------------------------------------------------------------------------------------------- benchmark


def test_the_benchmark_measures_beside_the_obvious_way(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    upscaling = importlib.import_module("upscaling")
    monkeypatch.setattr(upscaling, "ways", lambda device: [upscaling.OBVIOUS, "fp32"])
    found = upscaling.measure(64 * 64, device="cpu")
    obvious, ours = found["ways"].values()
    assert found["lr_pixels"] == 64 * 64
    assert obvious["difference"] == 0
    assert ours["difference"] < 1e-3
    assert abs(ours["psnr"] - obvious["psnr"]) < 1e-4
    assert obvious["memory"] > 0
    assert ours["memory"] > -1, "MiB; pages that are given back meanwhile can outweigh what so small a picture takes"
    assert upscaling.table(found).count("\n") == 3
