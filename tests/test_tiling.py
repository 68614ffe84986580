"""Windows, what happens when memory runs out, the eight turns, blends, measured reach, and what tiles cost where they are not exact."""

import itertools
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import zoo
from torch import nn

from wildsr import checkpoint, files, images, networks, upscale
from wildsr.errors import UserError
from wildsr.networks import CompactConfig, SRResNetConfig
from wildsr.upscale import Model, receptive_radius
from wildsr.upscale.box import TURNS, Box
from wildsr.upscale.tiling import spans, windows


def network(config: networks.Config | None = None, seed: int = 0, gain: float = 1.5) -> networks.Network:
    """Random weights, large enough for what lies far away to matter."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = networks.create(config or SRResNetConfig(channels=4, blocks=1, scale=2)).eval()
        for parameter in net.parameters():
            if parameter.dim() == 4:
                nn.init.normal_(parameter, std=gain / parameter[0].numel() ** 0.5)
    return net.requires_grad_(False)


def model(net: nn.Module, tile: int = 10_000, **options) -> Model:
    return Model(net, net.config.scale, "0" * 64, "raw", tile, **options)


def picture(height: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


# --------------------------------------------------------------------------------------------------------------------------- windows


@pytest.mark.parametrize("grid", [1, 4, 7])
def test_windows_cover_an_axis_once_are_of_one_length_and_see_enough(grid):
    rng = np.random.default_rng(0)
    for _ in range(300):
        length = int(rng.integers(1, 400))
        side, overlap = int(rng.integers(1, 12)) * grid, int(rng.integers(0, 6)) * grid
        found = spans(0, length, length, side, overlap, grid)
        assert found[0][2] == 0
        assert found[-1][3] == length
        assert all(before[3] == after[2] for before, after in itertools.pairwise(found))
        for start, end, begin, until in found:
            assert start % grid == 0
            assert begin < until
            assert start <= max(0, begin - overlap)
            assert end >= min(length, until + overlap)
            assert end - start <= side + 2 * overlap or len(found) == 1
        lengths = {end - start for start, end, _, _ in found}
        assert len(lengths) == 1 or max(lengths) - min(lengths) < grid


def test_windows_of_a_part_cover_it_once():
    whole, part = Box(0, 0, 70, 90), Box(20, 30, 61, 77)
    seen = np.zeros((70, 90), int)
    for window in windows(part, whole, (16, 12), 5):
        seen[window.gives.top : window.gives.bottom, window.gives.left : window.gives.right] += 1
    assert (seen[20:61, 30:77] == 1).all()
    assert seen.sum() == 41 * 47


# ------------------------------------------------------------------------------------------------------------------- out of memory


class Hungry(nn.Module):
    """Nearest neighbours, twice as large; out of memory beyond so many pixels at once."""

    def __init__(self, most: int, error: type[Exception] = torch.OutOfMemoryError):
        super().__init__()
        self.most, self.error = most, error
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, lr):
        if lr.shape[0] * lr.shape[-2] * lr.shape[-1] > self.most:
            raise self.error("CUDA out of memory. Tried to allocate 20.00 GiB")
        return lr.repeat_interleave(2, -1).repeat_interleave(2, -2)


def hungry(net: nn.Module, tile: int) -> Model:
    """As if spandrel had found it."""
    descriptor = SimpleNamespace(
        model=net,
        scale=2,
        architecture=SimpleNamespace(name="Hungry"),
        supports_half=True,
        supports_bfloat16=True,
        size_requirements=SimpleNamespace(minimum=0, multiple_of=1, square=False),
        _call_fn=lambda model, lr: model(lr),
    )
    adapted = upscale.Adapted(descriptor, "0" * 64)
    adapted.__dict__["radius"] = 0  # as if it had been measured
    return Model(adapted, 2, "", "", tile)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, RuntimeError])
def test_out_of_memory_halves_the_tiles_goes_on_and_says_so(error):
    starving = hungry(Hungry(70 * 70, error), 256)
    lr, said = picture(150, 300), []
    sr = torch.empty(1, 3, 300, 600)
    for (top, left), tile in starving.tiles(lr, say=said.append):
        sr[..., top : top + tile.shape[-2], left : left + tile.shape[-1]] = tile
    assert torch.equal(sr, lr.repeat_interleave(2, -1).repeat_interleave(2, -2))
    assert said == ["out of memory: tiles of 75 pixels instead of 150", "out of memory: tiles of 37 pixels instead of 75"]
    # What was learned holds for the next picture.
    assert [*starving.tiles(picture(90, 90), say=said.append)]
    assert len(said) == 2


def test_tiles_are_halved_from_what_they_are_not_from_what_they_may_be():
    starving, said = hungry(Hungry(40 * 40), 1024), []
    list(starving.tiles(picture(60, 60), say=said.append))
    assert said == ["out of memory: tiles of 32 pixels instead of 60"]


def test_windows_that_go_together_are_halved_first(monkeypatch):
    monkeypatch.setattr(Model, "_together", lambda *_: 8)
    net = Hungry(3 * 16 * 16)
    starving, said = hungry(net, 16), []
    lr = picture(64, 64)
    sr = torch.empty(1, 3, 128, 128)
    for (top, left), tile in starving.tiles(lr, say=said.append):
        sr[..., top : top + tile.shape[-2], left : left + tile.shape[-1]] = tile
    assert torch.equal(sr, lr.repeat_interleave(2, -1).repeat_interleave(2, -2))
    assert said == []


def test_out_of_memory_at_the_smallest_tile_is_one_line():
    starving = hungry(Hungry(10), 64)
    with pytest.warns(UserWarning, match="tiles of 32 pixels"), pytest.raises(UserError, match="out of memory even for tiles of 32 pixels"):
        starving(picture(64, 64))


def test_other_errors_are_not_taken_for_it():
    class Broken(Hungry):
        def forward(self, lr):
            raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        hungry(Broken(1), 64)(picture(8, 8))


def test_progress_counts_tiles():
    seen, cut = [], model(network(), 16)
    list(cut.tiles(picture(60, 53), progress=lambda done, total: seen.append((done, total))))
    count = len(cut.plan(Box(0, 0, 60, 53)))
    assert count >= 9
    assert seen == [(n, count) for n in range(1, count + 1)]


# ------------------------------------------------------------------------------------------------------------- number types, ensemble


def test_a_tile_that_overflows_in_half_precision_is_computed_again_in_float32(monkeypatch):
    """On a CPU float16 is emulated slowly, but it overflows as on a GPU."""
    net = network(gain=1.0)
    lr = picture(20, 60) * 0.1
    net.conv_first.weight.mul_(3e5)
    net.conv_last.weight.mul_(1e-5)
    lr[..., 25:] = 0
    calls = []
    net.register_forward_hook(lambda *_: calls.append(torch.is_autocast_enabled("cpu")))
    found = model(net, 20, dtype="float16")(lr)
    assert True in calls
    assert False in calls
    torch.testing.assert_close(found, model(net, 20)(lr), atol=2e-2, rtol=0)


@pytest.mark.parametrize("tile", [16, 10_000])
def test_the_ensemble_is_the_mean_over_eight_turns(tile):
    net, lr = network(), picture(21, 38)
    results = []
    for flip_rows in (False, True):
        for turns in range(4):
            turned = torch.rot90(lr.flip(-2) if flip_rows else lr, turns, (-2, -1))
            back = torch.rot90(net(turned), -turns, (-2, -1))
            results.append(back.flip(-2) if flip_rows else back)
    expected = torch.stack(results).mean(0).clamp(0, 1)
    assert (expected - net(lr).clamp(0, 1)).abs().max() > 1e-3
    torch.testing.assert_close(model(net, tile, ensemble=True)(lr), expected, atol=1e-5, rtol=0)


def test_the_ensemble_goes_layer_by_layer_too(monkeypatch):
    monkeypatch.setattr("wildsr.upscale.model.whole_is_quicker", lambda lr: False)
    net, lr = network(SRResNetConfig(channels=32, blocks=1, scale=2), gain=1.0), picture(24, 40)
    expected = torch.stack([turn.undo(net(turn.apply(lr))) for turn in TURNS]).mean(0).clamp(0, 1)
    torch.testing.assert_close(model(net, 16, ensemble=True)(lr), expected, atol=2e-5, rtol=0)


def saved(path: Path, config: networks.Config | None = None, seed: int = 0) -> networks.Network:
    net = network(config, seed)
    checkpoint.save(path, checkpoint.Checkpoint(net.config, dict(net.state_dict()), "ema"))
    return net


def test_a_blend_is_a_mean_of_weights(tmp_path):
    a, b = saved(tmp_path / "a.safetensors"), saved(tmp_path / "b.safetensors", seed=1)
    for alpha in (0.0, 0.25, 1.0):
        found = upscale.load(tmp_path / "a.safetensors", device="cpu", blend=(tmp_path / "b.safetensors", alpha))
        for (name, ours), first, second in zip(found.network.state_dict().items(), a.parameters(), b.parameters(), strict=True):
            expected = second if alpha == 1 else first if alpha == 0 else (1 - alpha) * first + alpha * second
            assert torch.equal(ours, expected), name
    assert found.metadata["blend"]["alpha"] == 1
    assert found.weights_sha256 == checkpoint.weights_sha256(b.state_dict())


def test_how_weights_began_does_not_keep_them_from_being_blended(tmp_path):
    saved(tmp_path / "a.safetensors")
    saved(tmp_path / "b.safetensors", SRResNetConfig(channels=4, blocks=1, scale=2, block_init="default"), seed=1)
    assert upscale.load(tmp_path / "a.safetensors", device="cpu", blend=(tmp_path / "b.safetensors", 0.5)).network is not None


@pytest.mark.parametrize("overlap", [0, 3])
def test_less_overlap_than_the_network_sees_is_a_choice(monkeypatch, overlap):
    monkeypatch.setattr("wildsr.upscale.model.whole_is_quicker", lambda lr: False)
    net, lr = network(SRResNetConfig(channels=32, blocks=1, scale=2), gain=1.0), picture(40, 70)
    narrow = model(net, 16, context=overlap)
    assert not narrow.exact
    expected = torch.empty(1, 3, 80, 140)
    for window in narrow.plan(Box(0, 0, 40, 70)):
        out = net(window.sees.cut(lr, Box(0, 0, 40, 70))).clamp(0, 1)
        window.gives.times(2).cut(expected, Box(0, 0, 80, 140)).copy_(window.gives.times(2).cut(out, window.sees.times(2)))
    torch.testing.assert_close(narrow(lr), expected, atol=2e-5, rtol=0)


def test_what_cannot_be_blended_is_refused(tmp_path):
    saved(tmp_path / "a.safetensors")
    saved(tmp_path / "wide.safetensors", SRResNetConfig(channels=6, blocks=1, scale=2))
    saved(tmp_path / "other.safetensors", CompactConfig(channels=4, blocks=1, scale=2))
    for name, words in (("wide", "channels = 4 and 6"), ("other", "name = srresnet and compact")):
        with pytest.raises(UserError, match=f"not of one network and cannot be blended: .*{words}"):
            upscale.load(tmp_path / "a.safetensors", device="cpu", blend=(tmp_path / f"{name}.safetensors", 0.5))
    with pytest.raises(UserError, match=r"blend = 1\.5: use a share"):
        upscale.load(tmp_path / "a.safetensors", device="cpu", blend=(tmp_path / "a.safetensors", 1.5))


@pytest.mark.parametrize(("options", "words"), [({"overlap": -1}, "overlap = -1"), ({"precision": "fp16"}, "fp16 is for GPUs")])
def test_options_of_loading_that_cannot_be_are_refused(tmp_path, options, words):
    saved(tmp_path / "a.safetensors")
    with pytest.raises(UserError, match=words):
        upscale.load(tmp_path / "a.safetensors", device="cpu", **options)


# ------------------------------------------------------------------------------------------------------------------- measured reach


@pytest.mark.parametrize(
    "config",
    [
        SRResNetConfig(channels=4, blocks=2, scale=4),
        SRResNetConfig(channels=4, blocks=1, scale=3),
        CompactConfig(channels=4, blocks=3, scale=2),
        networks.RRDBNetConfig(channels=4, growth=4, blocks=1, scale=4),
        networks.RRDBNetConfig(channels=4, growth=4, blocks=1, scale=2),
    ],
    ids=["srresnet", "srresnet-x3", "compact", "rrdbnet", "rrdbnet-x2"],
)
def test_the_measured_radius_is_the_known_one(config):
    net = network(config, gain=1.0)
    assert net.radius is not None
    found = receptive_radius(net, config.scale, net.grid)
    assert found is not None
    # What is known is an upper bound, within the reach of the last upsampling convolutions.
    assert net.radius - 3 <= found <= net.radius


def test_a_network_that_sees_the_whole_picture_has_none():
    net = network(zoo.CONFIGS["rcan"], gain=1.0)
    assert receptive_radius(net, net.config.scale, net.grid) is None


def test_what_lies_outside_the_measured_radius_changes_nothing_and_what_lies_on_it_does():
    """Of shifted windows, whose cells do not see equally far to both sides."""
    net = network(zoo.CONFIGS["swinir"], gain=1.0).double()
    grid, scale, begin = net.grid, net.config.scale, 10 * net.grid
    found = receptive_radius(net, scale, grid)
    assert found is not None
    lr = picture(4 * grid, 21 * grid).double()
    cell = net(lr)[..., begin * scale : (begin + grid) * scale]
    changes = []
    for column in range(lr.shape[-1]):
        other = lr.clone()
        other[..., column] += 0.1
        changes.append(bool((net(other)[..., begin * scale : (begin + grid) * scale] != cell).any()))
    reached = [max(begin - column, column - (begin + grid - 1)) for column, changed in enumerate(changes) if changed]
    assert max(reached) == found


def test_the_reach_stops_at_the_limit():
    net = network(CompactConfig(channels=4, blocks=9, scale=2), gain=1.0)
    assert net.radius is not None
    assert receptive_radius(net, 2, limit=net.radius - 3) is None
    assert receptive_radius(net, 2, limit=net.radius) is not None
    assert all(parameter.dtype == torch.float32 for parameter in net.parameters())


class Cells(nn.Module):
    """Every pixel is the mean of its cell of 4×4: at most 3 pixels away, on a grid."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, lr):
        return F.interpolate(F.avg_pool2d(lr * self.weight, 4), scale_factor=8)


def test_a_grid_is_looked_at_cell_by_cell():
    assert receptive_radius(Cells(), 2, 4) == 0
    # Cut elsewhere than between its cells, it would give something else, however near it sees.
    assert receptive_radius(Cells(), 2, 2) is None


class Placed(nn.Module):
    """Knows where in the picture it is."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, lr):
        return (lr + torch.arange(lr.shape[-1]).to(lr) / 1000) * self.weight


def test_what_depends_on_its_place_has_no_radius():
    assert receptive_radius(Placed(), 1) is None


# --------------------------------------------------------------------------------------------------------- what tiles cost elsewhere


def test_what_tiles_cost_is_measured_once_and_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    net = network(networks.RRDBNetConfig(channels=4, growth=4, blocks=1, scale=2), gain=1.2)
    cut = model(net, 64, context=4)
    assert not cut.exact
    photo = images.Photo((picture(100, 260)[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8))
    told: list[str] = []
    found = upscale.seams_of(cut, photo, told.append)
    assert found is not None
    assert (found.overlap, found.height, found.width) == (4, 100, 200)
    lr = images.to_float(torch.from_numpy(photo.pixels[:, 30:230]).permute(2, 0, 1)[None])
    whole = net(lr).clamp(0, 1)
    assert 1e-5 < found.difference < 0.5
    tiled = replace(cut, tile=96)(lr)
    assert found.difference == pytest.approx(float((tiled - whole).abs().max()), abs=1e-6)
    assert "measured on 200×100 pixels with an overlap of 4" in str(found)
    assert told == ["measuring how far tiles are from the whole picture, once for this model"]
    monkeypatch.setattr("wildsr.upscale.seams.measure_seams", lambda *_: pytest.fail("measured again"))
    assert upscale.seams_of(cut, photo, told.append) == found
    assert len(told) == 1
    assert list(json.loads((tmp_path / "wildsr" / "seams.json").read_text())) == [f"{'0' * 64} 4"]
    assert upscale.seams_of(cut, images.Photo(photo.pixels[:90, :180]), told.append) == found
    small = replace(cut, weights_sha256="1" * 64)
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    # What a small piece told does not stand for a large one.
    pieces = [upscale.seams_of(small, one) for one in (images.Photo(photo.pixels[:90, :180]), photo)]
    assert [(one.height, one.width) for one in pieces if one] == [(90, 180), (100, 200)]
    (files.cache_folder() / "seams.json").write_text("{half")
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert upscale.seams_of(cut, photo) == found


def test_nothing_is_measured_where_tiles_are_exact_or_there_is_one(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    photo = images.Photo(np.zeros((50, 80, 3), np.uint8))
    assert model(network(), 16).exact
    assert upscale.seams_of(model(network(), 16), photo) is None
    assert upscale.seams_of(model(network(), 80, context=1), photo) is None
    assert upscale.seams_of(model(network(), 78, context=1), photo) is None  # a tile and its context on both sides
    assert not list(tmp_path.rglob("*"))
