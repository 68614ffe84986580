"""What a CUDA GPU must do as the CPU does. Skipped where there is none; `benchmarks/gpu.py` runs it first."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import zoo

from wildsr import checkpoint, datasets, images, upscale
from wildsr.degrade import TwoOrder, unsharp_mask
from wildsr.regularize import attach
from wildsr.train import Samples, TrainConfig, train
from wildsr.upscale import Model

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")
CPU, GPU = torch.device("cpu"), torch.device("cuda")


def change(config: TrainConfig, **values) -> TrainConfig:
    return TrainConfig.model_validate({**config.dump(), **values})


def smooth(count: int, side: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    small = torch.rand(count, 3, side // 8, side // 8, generator=generator)
    return F.interpolate(small, size=(side, side), mode="bicubic").clamp(0, 1)


def test_degraded_patches_are_those_of_the_cpu():
    pipeline, hr = TwoOrder(canvas=160), smooth(40, 160).double()
    params = pipeline.sample(0, range(40))
    corners = torch.from_numpy(np.random.default_rng(0).integers(25, size=(40, 2)))
    ours = pipeline.patches(hr.to(GPU), params, 4, corners, (16, 16)).cpu()
    same = (ours == pipeline.patches(hr, params, 4, corners, (16, 16))).flatten(1).all(1)
    assert same.double().mean() > 0.97, same


def test_samples_are_those_of_the_cpu(tiny, pictures):
    tiny = change(tiny, target_usm=True, views=2)
    cpu, gpu = (Samples(tiny, datasets.open([pictures]), device) for device in (CPU, GPU))
    for n in range(0, 24, tiny.batch_size):
        (lr, hr), (lr_gpu, hr_gpu) = cpu.batch(n, 2), gpu.batch(n, 2)
        torch.testing.assert_close(hr_gpu.cpu(), hr, atol=1e-5, rtol=0)
        assert (lr_gpu.cpu() - lr).abs().mean() < 1e-3
    torch.testing.assert_close(unsharp_mask(hr.to(GPU)).cpu(), unsharp_mask(hr), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("network", "name"), zoo.pairs(zoo.ACTING, zoo.PARTS))
@pytest.mark.parametrize("bf16", [False, True])
def test_regularisers_act_as_on_the_cpu(network, name, bf16):
    regularizer = {**zoo.ACTING, **zoo.PARTS}[name]
    lr, hr = zoo.batch()
    found = []
    for device in (CPU, GPU):
        net = zoo.make(network).to(device)
        with attach(net, regularizer) as attached, torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            attached.begin(24, 0.1)
            sr = net(lr.to(device)).float()
            losses = {"pixel": F.l1_loss(sr, hr.to(device)), **attached.losses()}
        sum(losses.values()).backward()
        gradient = next(net.parameters()).grad
        assert gradient.isfinite().all()
        found.append({**{key: loss.detach().cpu() for key, loss in losses.items()}, "gradient": gradient.cpu()})
    tolerance = 0.1 if bf16 else 1e-3
    for key, value in found[0].items():
        assert (found[1][key] - value).abs().max() <= tolerance * value.abs().max(), key


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("regularizers", [[], [{"name": "dropout", "p": 0.5}], [{"name": "alignment"}], [{"name": "adaptive-dropout"}]])
def test_a_graph_trains_as_single_operations_do(tiny, pictures, tmp_path, precision, regularizers):
    network = {"channels": 8, "blocks": 4}
    tiny = change(tiny, precision=precision, regularizers=regularizers, network=network, steps=8, save_every=4)
    weights = [
        checkpoint.load(train(change(tiny, graph=graph), [pictures], tmp_path / str(graph), device="cuda")).weights
        for graph in (True, False)
    ]
    for name, tensor in weights[0].items():
        assert (tensor - weights[1][name]).abs().max() < (0.02 if precision == "bf16" else 1e-3), name


def test_a_run_that_goes_on_ends_as_one_that_never_stopped(tiny, pictures, tmp_path):
    class BreakOffError(Exception):
        pass

    def fail(_):
        raise BreakOffError

    whole = train(tiny, [pictures], tmp_path / "whole", device="cuda")
    with pytest.raises(BreakOffError):
        train(tiny, [pictures], tmp_path / "broken", device="cuda", validate=fail)
    again = train(tiny, [pictures], tmp_path / "broken", device="cuda")
    first, second = (checkpoint.load(path).weights for path in (whole, again))
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=1e-4, atol=1e-5)
    saves = [json.loads(line) for line in (tmp_path / "broken" / "log.jsonl").read_text().splitlines()]
    assert [record["first_step"] for record in saves if record["event"] == "start"] == [0, 2]


def test_a_step_never_waits_for_the_gpu(tiny, pictures, tmp_path):
    """Only reading losses, saving, and looking whether windows were large enough may."""
    net = zoo.make("srresnet").to(GPU)
    lr, hr = (part.to(GPU) for part in zoo.batch())
    with attach(net, zoo.ACTING["alignment"]) as attached:
        attached.begin(0, 0.0)
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
        try:
            (F.l1_loss(net(lr), hr) + sum(attached.losses().values())).backward()
        finally:
            torch.cuda.set_sync_debug_mode("default")


def test_tiles_give_what_the_whole_picture_gives():
    net = zoo.make("srresnet").eval().to(GPU)
    for parameter in net.parameters():
        parameter.data *= 0.2
    lr = smooth(1, 96)
    whole, tiled = (Model(net, 2, "", "raw", tile)(lr) for tile in (96, 32))
    torch.testing.assert_close(tiled, whole, atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_windows_that_go_together_give_what_single_ones_do(dtype, monkeypatch):
    net = zoo.make("srresnet").eval().to(GPU).requires_grad_(False)
    lr = smooth(1, 128)
    together = Model(net, 2, "", "raw", 32, dtype)(lr)
    monkeypatch.setattr(Model, "_together", lambda *_: 1)
    alone = Model(net, 2, "", "raw", 32, dtype)(lr)
    torch.testing.assert_close(together, alone, atol=1e-5 if dtype == "float32" else 2e-2, rtol=0)


def test_a_picture_never_lies_on_the_gpu_as_a_whole():
    net = zoo.make("srresnet").eval().to(GPU).requires_grad_(False)
    model = Model(net, 2, "", "raw", 64)
    photo = images.Photo(np.zeros((2000, 3000, 3), np.uint8))
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    rows = sum(len(strip) for strip in upscale.enlarge(model, photo).rows)
    assert rows == 4000
    # As floats, the picture has 72 MB, and its result 288.
    one = 2**20 * 4 * (3 + 4 * net.config.channels * 4)
    assert torch.cuda.max_memory_allocated() - before < min(4 * one, 250e6)


def test_tiles_are_halved_when_the_gpu_is_full():
    net = zoo.make("srresnet").eval().to(GPU).requires_grad_(False)
    total = torch.cuda.mem_get_info()[1]
    torch.cuda.set_per_process_memory_fraction(min(1.0, (torch.cuda.memory_reserved() + 80e6) / total))
    try:
        said: list[str] = []
        photo = images.Photo(np.zeros((1500, 1500, 3), np.uint8))
        rows = sum(len(strip) for strip in upscale.enlarge(Model(net, 2, "", "raw", 1500), photo, say=said.append).rows)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert rows == 3000
    assert said
    assert said[0].startswith("out of memory: tiles of ")
