"""Training: pure functions of images seen, resume to the bit, extension, fine-tuning, and how a run stops."""

import contextlib
import copy
import io
import json
import math
import os
import shutil
import signal
import types

import pytest
import torch
from PIL import Image
from rich.console import Console

from wildsr import checkpoint, config, datasets, files, networks
from wildsr.degrade import unsharp_mask
from wildsr.errors import TrainingDivergedError, UserError
from wildsr.networks import RRDBNetConfig, SRResNet, SRResNetConfig, SwinIRConfig, convolution
from wildsr.regularize import AdaptiveDropout, FeatureAlignment, FeatureDropout, attach
from wildsr.train import SCHEDULES, Samples, TrainConfig, train
from wildsr.train.log import Unread
from wildsr.train.step import GraphedStep, Step, average

QUIET = Console(quiet=True)
CPU = torch.device("cpu")


def change(run: TrainConfig, **values) -> TrainConfig:
    return config.build(TrainConfig, {**run.dump(), **values})


def run(configuration, pictures, where, **options):
    return train(configuration, [pictures], where, device="cpu", console=QUIET, **options)


def log(where, event):
    return [record for record in files.read_jsonl(where / "log.jsonl") if record["event"] == event]


class BreakOffError(Exception):
    pass


def fail(*_):
    raise BreakOffError


# ------------------------------------------------------------------------------------------------------------------------ samples


def test_any_sample_can_be_made_again_from_its_number(tiny, pictures):
    tiny = change(tiny, regularizers=[{"name": "alignment"}])
    source = datasets.open([pictures])
    lr, hr = Samples(tiny, source, CPU).batch(6, 3)
    assert lr.shape == (6, 3, 8, 8)
    assert hr.shape == (6, 3, 16, 16)
    for i in (2, 0, 1):
        views, target = Samples(tiny, source, CPU).batch(6 + i, 1)
        assert torch.equal(lr[i], views[0])
        assert torch.equal(lr[3 + i], views[1])
        assert torch.equal(hr[i], target[0])
        assert torch.equal(hr[3 + i], target[1])
    assert not torch.equal(lr[0], lr[3])


def test_samples_made_for_several_steps_at_once_are_those_made_step_by_step(tiny, pictures):
    """As a GPU makes them: in larger groups, and before they are asked for."""
    tiny = change(tiny, target_usm=True, regularizers=[{"name": "alignment"}])
    one, many = (Samples(tiny, datasets.open([pictures]), CPU) for _ in range(2))
    many._steps, many._together = 3, 4
    for n in range(4, 4 + 7 * tiny.batch_size, tiny.batch_size):
        for first in (n, n + 1):  # as with two micro-batches of one picture
            lr, hr = one.batch(first, 1)
            lr_many, hr_many = many.batch(first, 1)
            torch.testing.assert_close(hr_many, hr, atol=1e-6, rtol=0)
            assert (lr_many != lr).double().mean() < 0.02, "where a sum comes near a half, another order of summing may round otherwise"


def test_what_is_made_together_does_not_hang_on_where_a_run_goes_on(tiny, pictures, monkeypatch):
    made = []

    def make(self, ns):
        made.append(list(ns))
        return torch.zeros(1, len(ns), 3, 1, 1), torch.zeros(len(ns), 3, 2, 2)

    monkeypatch.setattr(Samples, "_make", make)
    size = tiny.batch_size
    for first in (0, 5):
        samples = Samples(tiny, datasets.open([pictures]), CPU)
        samples._steps = 4
        made.clear()
        for step in range(first, 9):
            samples.batch(step * size, size)
        assert made == [list(range(4 * block * size, 4 * (block + 1) * size)) for block in range(first // 4, 3)]
        assert {n for n, _ in samples._ready} == {step * size for step in (9, 10, 11)}, "those before the first step are not held"


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_views_and_the_target_show_the_same_window(tiny, pictures, scale):
    """With a pipeline that hardly degrades, an LR patch is the target made smaller (grey, for JPEG halves the colours' resolution)."""
    for path in pictures.iterdir():
        with Image.open(path) as picture:
            picture.convert("L").save(path)
    gentle = {"sigma": [0.2, 0.2], "sinc_probability": 0, "resize_probabilities": [0, 0, 1], "gaussian_probability": 1}
    gentle |= {"gaussian_sigma": [0, 0], "jpeg_quality": [99, 99], "resize_range": [1, 1]}
    degradation = {"canvas": 98, "first": gentle, "second": gentle, "final_sinc_probability": 0}
    tiny = change(tiny, scale=scale, degradation=degradation, regularizers=[{"name": "alignment"}])
    samples = Samples(tiny, datasets.open([pictures]), CPU)
    for n in range(6):
        views, target = samples.batch(n, 1)
        small = torch.nn.functional.interpolate(target[:1], scale_factor=1 / scale, mode="area")[0]
        for view in views:
            assert (view - small).abs().mean() < 0.04
        assert (views[0] - small.roll(2, -1)).abs().mean() > (views[0] - small).abs().mean()


def test_sharpening_applies_to_the_target_and_to_what_is_degraded(tiny, pictures):
    source = datasets.open([pictures])
    plain, sharp = Samples(tiny, source, CPU), Samples(change(tiny, target_usm=True), source, CPU)
    (lr, target), (sharp_lr, sharp_target) = plain.batch(1, 1), sharp.batch(1, 1)
    assert not torch.equal(lr, sharp_lr)
    canvas = unsharp_mask(plain.canvases(1)[None] / 255)[0]
    windows = canvas.unfold(1, 16, 2).unfold(2, 16, 2)
    assert (windows - sharp_target[0][:, None, None]).abs().amax((0, 3, 4)).min() < 1e-6
    assert not torch.equal(target, sharp_target)


# ---------------------------------------------------------------------------------------------------------------------- the result


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("regularizers", [(), (FeatureDropout(p=0.5), FeatureAlignment())], ids=["plain", "regularised"])
def test_a_run_that_breaks_off_anywhere_ends_the_same_to_the_byte(tiny, pictures, tmp_path, precision, regularizers):
    tiny = tiny.model_copy(update={"precision": precision, "regularizers": regularizers})
    whole = run(tiny, pictures, tmp_path / "whole")

    with pytest.raises(BreakOffError):  # at step 3, one step after a save
        run(tiny, pictures, tmp_path / "broken", validate=fail)
    assert [record["step"] for record in log(tmp_path / "broken", "save")] == [2]
    again = run(tiny, pictures, tmp_path / "broken")
    assert [record["first_step"] for record in log(tmp_path / "broken", "start")] == [0, 2]
    for name in ("model.safetensors", "raw.safetensors", "snapshots/00000004.safetensors"):
        assert (whole.parent / name).read_bytes() == (again.parent / name).read_bytes()
    assert again.read_bytes() != (again.parent / "raw.safetensors").read_bytes()


def test_a_snapshot_is_the_model_of_a_run_that_stopped_there(tiny, pictures, tmp_path):
    tiny = change(tiny, schedule="constant")
    run(tiny, pictures, tmp_path / "long")
    stopped = checkpoint.load(run(change(tiny, steps=4), pictures, tmp_path / "short"))
    snapshot = checkpoint.load(tmp_path / "long" / "snapshots" / "00000004.safetensors")
    assert snapshot.weights_sha256 == stopped.weights_sha256
    assert snapshot.weights_key == "ema"


def test_averaging_starts_with_a_tenth_of_the_start(tiny, pictures, tmp_path):
    origin = run(change(tiny, seed=9), pictures, tmp_path / "origin")
    path = run(change(tiny, steps=1, learning_rate=0.1), pictures, tmp_path / "run", init=origin)
    start, raw, mean = (checkpoint.load(file).weights for file in (origin, path.with_name("raw.safetensors"), path))
    for name in start:
        torch.testing.assert_close(mean[name], 0.1 * start[name] + 0.9 * raw[name], rtol=1e-4, atol=1e-6)
    assert (raw["conv_last.weight"] - start["conv_last.weight"]).abs().max() > 0.05


def test_crops_lie_in_many_places(tiny, pictures):
    samples = Samples(tiny, datasets.open([pictures]), CPU)
    rows, columns = torch.meshgrid(*[torch.arange(96, dtype=torch.uint8)] * 2, indexing="ij")
    samples.canvases._make = lambda n: torch.stack([rows, columns, rows])
    corners = {tuple((samples.batch(n, 1)[1][0, :2, 0, 0] * 255).round().int().tolist()) for n in range(20)}
    assert len(corners) > 15
    assert all(row % 2 == 0 and column % 2 == 0 for row, column in corners), "windows start at multiples of the scale"


@pytest.mark.parametrize("values", [{"seed": 1}, {"learning_rate": 2e-3}, {"target_usm": True}, {"regularizers": [{"name": "dropout"}]}])
def test_what_is_configured_reaches_the_weights(tiny, pictures, tmp_path, values):
    first = checkpoint.load(run(tiny, pictures, tmp_path / "a"))
    second = checkpoint.load(run(change(tiny, **values), pictures, tmp_path / "b"))
    assert first.weights_sha256 != second.weights_sha256


def test_training_reduces_the_loss(tiny, pictures, tmp_path):
    blurred = {"sigma": [1.5, 1.5], "sinc_probability": 0, "family_probabilities": [1, 0, 0, 0, 0, 0], "gaussian_probability": 1}
    blurred |= {"resize_probabilities": [0, 0, 1], "gaussian_sigma": [1, 1], "jpeg_quality": [95, 95]}
    tiny = change(tiny, steps=160, network={"channels": 8, "blocks": 1}, learning_rate=5e-3, save_every=100, snapshot_every=100)
    tiny = change(tiny, degradation={"canvas": 96, "first": blurred, "second": blurred, "final_sinc_probability": 0})
    lr, hr = Samples(tiny, datasets.open([pictures]), CPU).batch(10_000, 16)
    trained = checkpoint.build(checkpoint.load(run(tiny, pictures, tmp_path / "run")))
    bilinear = torch.nn.functional.interpolate(lr, scale_factor=2, mode="bilinear")
    with torch.no_grad():
        assert (trained(lr) - hr).abs().mean() < 0.9 * (bilinear - hr).abs().mean()


def test_bookkeeping_touches_no_byte_of_the_model(tiny, pictures, tmp_path):
    first = run(tiny, pictures, tmp_path / "a")
    second = run(change(tiny, save_every=5, log_every=3, snapshot_every=50), pictures, tmp_path / "b")
    assert first.read_bytes() == second.read_bytes()


def test_model_files_say_where_they_come_from_and_hold_no_path_or_time(tiny, pictures, tmp_path):
    path = run(change(tiny, regularizers=[{"name": "dropout", "p": 0.5}]), pictures, tmp_path / "some-run")
    found = checkpoint.load(path)
    assert found.weights_key == "ema"
    assert checkpoint.load(path.parent / "raw.safetensors").weights_key == "raw"
    assert found.metadata["images_seen"] == 12
    assert found.metadata["regularizers"] == [{"name": "dropout", "site": "last", "p": 0.5, "dimension": "channel"}]
    assert found.metadata["data_fingerprint"] == datasets.open([pictures]).fingerprint
    assert found.metadata["code_version"] == files.code_version()
    assert "save_every" not in found.metadata["config"]
    head = path.read_bytes()[:8000]
    assert b"some-run" not in head
    assert str(tmp_path).encode() not in head


def test_the_learning_rate_follows_the_schedule():
    assert [SCHEDULES["cosine"](progress) for progress in (0, 0.5, 1)] == pytest.approx([1, 0.5, 0])
    assert SCHEDULES["constant"](0.9) == 1


def test_restarts_are_those_of_the_released_options():
    """Iteration n has the rate of n − 1: 0 at 250,001, 2e-4 again at 250,002, and only half of the second cosine is run."""
    rates = {n: 2e-4 * SCHEDULES["restarts"]((n - 1) / 500_000) for n in (1, 125_001, 250_000, 250_001, 250_002, 375_001, 500_000)}
    assert rates[1] == 2e-4
    assert rates[125_001] == pytest.approx(1e-4)
    assert rates[250_000] == pytest.approx(0, abs=1e-12)
    assert rates[250_001] == 0
    assert rates[250_002] == pytest.approx(2e-4)
    assert rates[375_001] == pytest.approx(1.707e-4, rel=1e-3)
    assert rates[500_000] == pytest.approx(1e-4, rel=1e-4)


def test_logged_rate_is_that_of_the_steps_already_done(tiny, pictures, tmp_path):
    run(tiny, pictures, tmp_path / "run")
    rates = [record["lr"] for record in log(tmp_path / "run", "step")]
    assert rates == pytest.approx([1e-3 * 0.5 * (1 + math.cos(math.pi * i / 6)) for i in range(6)])


def test_averaging_includes_buffers():
    mean, net = torch.nn.BatchNorm2d(2), torch.nn.BatchNorm2d(2)
    net.weight.data += 1
    net.running_mean += 4
    net.num_batches_tracked += 7
    for weight in (0.25, torch.tensor(0.25)):
        averages = {name: tensor.clone() for name, tensor in mean.state_dict().items()}
        average(list(averages.values()), list(net.state_dict().values()), weight)
        assert averages["weight"].tolist() == [1.25, 1.25]
        assert averages["running_mean"].tolist() == [1.0, 1.0]
        assert averages["num_batches_tracked"] == 7


# ------------------------------------------------------------------------------------------------------------------------ one step


def one_step(attached, net, parts=1, in_tensors=False, **options):
    """A step on a network, with its averages and its optimiser, whose state is there as in a run."""
    averaged = copy.deepcopy(net).eval().requires_grad_(False)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, fused=True)
    for parameter in net.parameters():
        optimizer.state[parameter] = {"step": torch.tensor(0.0)} | {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
    return Step(net, averaged, optimizer, attached, parts=parts, in_tensors=in_tensors, **options), averaged, optimizer


def everything(net, averaged, optimizer):
    """Copies of all that a step changes."""
    moments = [value for state in optimizer.state.values() for value in state.values()]
    return [tensor.clone() for tensor in (*net.state_dict().values(), *averaged.state_dict().values(), *moments)]


def small_network():
    torch.manual_seed(0)
    return SRResNet(SRResNetConfig(channels=4, blocks=1, scale=2)).to(memory_format=torch.channels_last)


REGULARIZERS = (FeatureDropout(p=0.5), FeatureAlignment())


def test_a_step_with_its_numbers_in_tensors_is_the_same_step():
    """As CUDA graphs need it; in float32 the rate is another in the eighth digit."""
    found = []
    for in_tensors in (False, True):
        net = small_network()
        with attach(net, *REGULARIZERS) as attached:
            step, averaged, optimizer = one_step(attached, net, in_tensors=in_tensors, clip_norm=0.1)
            for n in range(3):
                torch.manual_seed(n)
                lr, hr = torch.rand(4, 3, 8, 8), torch.rand(4, 3, 16, 16)
                step.set(1e-3 / (n + 1), decay=(1 + n) / (10 + n))
                attached.begin(4 * n, 0.1 * n)
                losses = step(lr, hr)
            assert step.names == ("pixel", "align")
            found.append([losses, *everything(net, averaged, optimizer)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)
    assert not torch.equal(found[0][1], small_network().state_dict()["conv_first.weight"])


def test_a_training_is_the_same_in_either_layout(tiny, pictures, tmp_path, monkeypatch):
    middling = tiny.model_copy(update={"network": SRResNetConfig(channels=32, blocks=1, scale=2), "regularizers": REGULARIZERS})
    seen, ends = [], []
    forward = SRResNet.forward

    def noted(net, x):
        if torch.is_grad_enabled():  # a step, not the look at the network's shapes
            seen.append((x, net.conv_first.weight))
        return forward(net, x)

    monkeypatch.setattr(SRResNet, "forward", noted)
    for slow in (True, False):
        monkeypatch.setattr(convolution, "_SLOW", slow)
        seen.clear()
        path = run(middling, pictures, tmp_path / str(slow))
        layout = torch.contiguous_format if slow else torch.channels_last
        assert len(seen) == 6
        assert all(tensor.is_contiguous(memory_format=layout) for pair in seen for tensor in pair)
        ends.append((log(path.parent, "step")[-1]["losses"], checkpoint.load(path).weights))
    torch.testing.assert_close(*ends, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("parts", [1, 2])
def test_a_rehearsal_leaves_everything_to_the_bit(parts):
    net = small_network()
    with attach(net, *REGULARIZERS) as attached:
        step, averaged, optimizer = one_step(attached, net, parts)
        step.set(1e-2, 0.5)
        before = everything(net, averaged, optimizer)
        played = []

        def begin(part):
            played.append(part)
            attached.begin(0, 0.0, part, parts)

        step.rehearse(begin, torch.rand(4, 3, 8, 8), torch.rand(4, 3, 16, 16), times=3)
    assert played == [*range(parts)] * 3
    assert all(torch.equal(one, other) for one, other in zip(before, everything(net, averaged, optimizer), strict=True))
    assert all(parameter.grad is None for parameter in net.parameters())


class StandInGraph:
    """Records nothing; what stands in the `with` is played at once, and again by `replay`."""

    def __init__(self):
        self.body = lambda: None

    def replay(self):
        self.body()


@contextlib.contextmanager
def nothing(*_):
    yield


def test_a_graphed_step_plays_on_the_values_that_its_tensors_hold(monkeypatch):
    """Without a GPU, with stand-ins for CUDA's streams and graph: a replay is the step on the tensors that were there when recording."""
    for name in ("Stream", "current_stream"):
        monkeypatch.setattr(torch.cuda, name, lambda: types.SimpleNamespace(wait_stream=lambda other: None))
    monkeypatch.setattr(torch.cuda, "stream", nothing)
    monkeypatch.setattr(torch.cuda, "set_stream", lambda stream: None)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", StandInGraph)
    monkeypatch.setattr(torch.cuda, "graph", nothing)
    found = []
    for graphed in (False, True):
        net = small_network()
        with attach(net, *REGULARIZERS) as attached:
            step, averaged, optimizer = one_step(attached, net, in_tensors=True)
            play = step
            if graphed:
                before = everything(net, averaged, optimizer)
                play = GraphedStep(step, lambda part: attached.begin(0, 0.0, part), torch.rand(4, 3, 8, 8), torch.rand(4, 3, 16, 16))
                # Recording computes nothing; the stand-in did.
                for tensor, old in zip(
                    (
                        *net.state_dict().values(),
                        *averaged.state_dict().values(),
                        *(v for s in optimizer.state.values() for v in s.values()),
                    ),
                    before,
                    strict=True,
                ):
                    tensor.copy_(old)

                def again(play=play, step=step):
                    play._losses.copy_(step(play._lr, play._hr))

                play._graph.body = again
                assert all(group["capturable"] for group in optimizer.param_groups)
            for n in range(3):
                torch.manual_seed(n)
                play.set(1e-3 / (n + 1), decay=0.5)
                attached.begin(4 * n, 0.1 * n)
                losses = play(torch.rand(4, 3, 8, 8), torch.rand(4, 3, 16, 16))
            found.append([losses, *everything(net, averaged, optimizer)])
            assert play.names == ("pixel", "align")
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_a_recording_that_fails_leaves_a_plain_step(monkeypatch):
    def fail():
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(torch.cuda, "Stream", fail)
    net = small_network()
    with attach(net) as attached:
        step, averaged, optimizer = one_step(attached, net, in_tensors=True)
        before = everything(net, averaged, optimizer)
        with pytest.raises(RuntimeError, match="capturing"):
            GraphedStep(step, lambda part: attached.begin(0, 0.0, part), torch.rand(2, 3, 8, 8), torch.rand(2, 3, 16, 16))
        assert all(torch.equal(one, other) for one, other in zip(before, everything(net, averaged, optimizer), strict=True))
        assert not any(group["capturable"] for group in optimizer.param_groups)
        attached.begin(0, 0.0)
        step(torch.rand(2, 3, 8, 8), torch.rand(2, 3, 16, 16))


def test_a_graph_that_cannot_be_is_refused_when_it_is_asked_for(tiny, pictures, tmp_path):
    with pytest.raises(UserError, match=r'one CUDA graph cannot hold this training \(the device is cpu\); use graph = "auto"'):
        run(change(tiny, graph=True), pictures, tmp_path / "run")


def test_losses_that_were_not_looked_at_are_kept_with_their_steps():
    unread = Unread(lambda rows: rows)
    assert unread.read(["pixel", "align"]) == []
    unread.add(3, [torch.tensor([1.0, 2.0])])
    unread.add(4, [torch.tensor([1.0, 2.0]), torch.tensor([3.0, 2.0])])
    assert unread.read(["pixel", "align"]) == [(3, {"pixel": 1.0, "align": 2.0}), (4, {"pixel": 2.0, "align": 2.0})]
    assert unread.read(["pixel", "align"]) == []


@pytest.mark.parametrize("regularizer", [FeatureDropout(p=0.5), FeatureDropout(p=0.5, dimension="element"), AdaptiveDropout(a=0)])
def test_a_pictures_mask_hangs_on_no_partition(regularizer):
    net, x = small_network(), torch.rand(6, 3, 8, 8)
    with attach(net, regularizer) as attached:
        attached.begin(12, 0.0)
        whole = net(x)
        for part in range(3):
            attached.begin(12, 0.0, part, 3)
            torch.testing.assert_close(net(x[2 * part : 2 * part + 2]), whole[2 * part : 2 * part + 2])
        assert not torch.allclose(net(x[:2]), whole[:2], atol=1e-4)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_alignment_is_charged_for_each_micro_batch_and_keeps_its_weight(reduction):
    """Parts are averaged: a sum over the pairs of the batch is the mean of the parts' sums times their number."""
    net, x = small_network(), torch.rand(8, 3, 8, 8)  # two views of four pictures
    with attach(net, FeatureAlignment(reduction=reduction, nonlinear=False)) as attached:
        parts = []
        for part in range(2):
            half = torch.cat([x[2 * part : 2 * part + 2], x[4 + 2 * part : 6 + 2 * part]])
            attached.begin(0, 0.0, part, 2)
            net(half)
            parts.append(attached.losses()["align"])
            attached.begin(0, 0.0)
            net(half)
            assert parts[-1] == (2 if reduction == "sum" else 1) * attached.losses()["align"]
    assert parts[0] != parts[1]


def test_gradient_clipping_acts(tiny, pictures, tmp_path):
    """Under Adam one clipped step looks like another; the second moment tells."""
    one = change(tiny, steps=1)
    run(one, pictures, tmp_path / "free")
    run(change(one, clip_norm=1e-4), pictures, tmp_path / "clipped")
    norms = []
    for name in ("free", "clipped"):
        _, groups = checkpoint.load_state(tmp_path / name / "state")
        norms.append(sum(value.sum().item() for value in groups["exp_avg_sq"].values()) ** 0.5)
    # exp_avg_sq after one step is (1 - beta2) times the squared gradient.
    assert norms[1] == pytest.approx(1e-4 * (1 - tiny.betas[1]) ** 0.5, rel=1e-3)
    assert norms[0] > 10 * norms[1]


def test_scores_come_from_averaged_weights_in_float32(tiny, pictures, tmp_path):
    seen = []
    x = torch.rand(1, 3, 8, 8)

    def validate(sr):
        seen.append(sr(x))
        return {"score": float(len(seen))}

    path = run(change(tiny, precision="bf16"), pictures, tmp_path / "run", validate=validate)
    assert [(record["step"], record["scores"]) for record in log(path.parent, "val")] == [(3, {"score": 1.0}), (6, {"score": 2.0})]
    net = checkpoint.build(checkpoint.load(path)).to(memory_format=torch.channels_last)
    torch.testing.assert_close(seen[-1], net(x).clamp(0, 1), rtol=0, atol=1e-6)
    assert seen[-1].dtype == torch.float32


def test_tensorboard_holds_scalars_and_previews(tiny, pictures, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run(tiny, pictures, tmp_path / "run", validate=lambda sr: {"psnr": 30.0})
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    tags = events.Tags()
    assert {"loss/pixel", "lr", "val/psnr"} <= set(tags["scalars"])
    assert tags["images"] == ["input, output, target"]
    assert [event.step for event in events.Scalars("loss/pixel")] == [1, 2, 3, 4, 5, 6]


# ------------------------------------------------------------------------------------------------------ going on, and starting from


def test_a_finished_run_started_again_changes_nothing(tiny, pictures, tmp_path):
    path = run(tiny, pictures, tmp_path / "run")
    before, time = path.read_bytes(), path.stat().st_mtime_ns
    run(tiny, pictures, tmp_path / "run")
    assert path.read_bytes() == before
    assert path.stat().st_mtime_ns == time
    assert log(tmp_path / "run", "start")[-1]["first_step"] == 6


def test_a_model_lost_between_state_and_export_is_written_again(tiny, pictures, tmp_path):
    path = run(tiny, pictures, tmp_path / "run")
    before = path.read_bytes()
    path.unlink()
    run(tiny, pictures, tmp_path / "run")
    assert path.read_bytes() == before


def test_a_finished_run_can_be_extended_and_its_rate_is_the_longer_runs(tiny, pictures, tmp_path):
    run(tiny, pictures, tmp_path / "run")
    run(change(tiny, steps=10), pictures, tmp_path / "run")
    assert [record["first_step"] for record in log(tmp_path / "run", "start")] == [0, 6]
    rates = {record["step"]: record["lr"] for record in log(tmp_path / "run", "step")}
    assert rates[7] == pytest.approx(1e-3 * 0.5 * (1 + math.cos(math.pi * 6 / 10)))
    segments = json.loads((tmp_path / "run" / "run.json").read_text())["segments"]
    assert [(segment["first_step"], segment["steps"]) for segment in segments] == [(0, 6), (6, 10)]
    assert (tmp_path / "run" / "snapshots" / "00000004.safetensors").exists()
    assert checkpoint.load(tmp_path / "run").metadata["extended_from"] == [6]
    straight = checkpoint.load(run(change(tiny, steps=10), pictures, tmp_path / "straight"))
    assert "extended_from" not in straight.metadata


def test_a_damaged_model_is_written_again_and_a_damaged_state_is_named(tiny, pictures, tmp_path):
    path = run(tiny, pictures, tmp_path / "run")
    before = path.read_bytes()
    path.write_bytes(before[:500])
    run(tiny, pictures, tmp_path / "run")
    assert path.read_bytes() == before
    (tmp_path / "run" / "state" / "00000006" / "exp_avg.safetensors").unlink()
    with pytest.raises(UserError, match=r"exp_avg.safetensors is missing or damaged"):
        run(tiny, pictures, tmp_path / "run")
    (tmp_path / "run" / "run.json").write_text("{1")
    with pytest.raises(UserError, match=r"run.json is damaged"):
        run(tiny, pictures, tmp_path / "run")


def test_one_run_directory_has_one_process(tiny, pictures, tmp_path):
    with files.exclusive(tmp_path / "run" / ".lock", ""), pytest.raises(UserError, match="another process is training"):
        run(tiny, pictures, tmp_path / "run")
    run(tiny, pictures, tmp_path / "run")


def test_another_configuration_is_refused_and_the_difference_shown(tiny, pictures, tmp_path):
    run(tiny, pictures, tmp_path / "run")
    with pytest.raises(UserError, match=r"another configuration: network.channels was 4 and is 8, seed was 0 and is 3"):
        run(change(tiny, seed=3, network={"channels": 8, "blocks": 1}), pictures, tmp_path / "run")
    with pytest.raises(UserError, match=r"6 steps are done already"):
        run(change(tiny, steps=4), pictures, tmp_path / "run")
    assert log(tmp_path / "run", "start")[-1]["steps"] == 6


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory. Tried"), RuntimeError("can't allocate memory: you tried")])
def test_when_memory_runs_out_the_mend_is_named_and_can_be_had_in_the_same_place(tiny, pictures, tmp_path, monkeypatch, error):
    def full(*_):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("torch.nn.functional.l1_loss", full)
        with pytest.raises(UserError, match=r"not enough memory to train: try --set accumulate=2, or a smaller batch_size"):
            run(tiny, pictures, tmp_path / "run")
    run(change(tiny, network={"channels": 8, "blocks": 1}), pictures, tmp_path / "run")
    assert checkpoint.load(tmp_path / "run").network.channels == 8
    with pytest.raises(UserError, match="another configuration"):
        run(tiny, pictures, tmp_path / "run")


def test_an_unfinished_run_cannot_be_extended(tiny, pictures, tmp_path):
    with pytest.raises(BreakOffError):
        run(tiny, pictures, tmp_path / "run", validate=fail)
    with pytest.raises(UserError, match=r"2 of 6 steps are done; only a finished run can be extended"):
        run(change(tiny, steps=9), pictures, tmp_path / "run")


def test_an_extension_that_was_broken_off_before_it_saved_binds_nobody(tiny, pictures, tmp_path, monkeypatch):
    whole = run(tiny, pictures, tmp_path / "run").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(Samples, "batch", fail)
        with pytest.raises(BreakOffError):
            run(change(tiny, steps=3000), pictures, tmp_path / "run")
    assert run(tiny, pictures, tmp_path / "run").read_bytes() == whole
    extended = checkpoint.load(run(change(tiny, steps=7), pictures, tmp_path / "run"))
    assert extended.metadata["extended_from"] == [6]


def test_a_model_without_a_state_is_not_trained_over(tiny, pictures, tmp_path):
    path = run(tiny, pictures, tmp_path / "run")
    whole = path.read_bytes()
    shutil.rmtree(tmp_path / "run" / "state")
    for names in ((), ("config.json", "run.json", "data.json")):
        for name in names:
            (tmp_path / "run" / name).unlink()
        with pytest.raises(UserError, match=r"run holds model.safetensors, but no state/ to go on from"):
            run(tiny, pictures, tmp_path / "run")
        assert path.read_bytes() == whole


def test_another_precision_is_said_and_the_model_names_both(tiny, pictures, tmp_path, monkeypatch):
    tiny = change(tiny, precision="auto")
    monkeypatch.setattr("wildsr.devices.computes_bf16", lambda _: False)
    with pytest.raises(BreakOffError):
        run(tiny, pictures, tmp_path / "run", validate=fail)
    said = io.StringIO()
    monkeypatch.setattr("wildsr.devices.computes_bf16", lambda _: True)
    path = train(tiny, [pictures], tmp_path / "run", device="cpu", console=Console(file=said))
    assert "started in bf16, the last time in fp32" in said.getvalue()
    assert checkpoint.load(path).metadata["precision"] == "fp32, then bf16"


def test_other_pictures_are_refused(tiny, pictures, tmp_path):
    run(tiny, pictures, tmp_path / "run")
    (pictures / "picture0.png").unlink()
    with pytest.raises(UserError, match="other pictures"):
        run(tiny, pictures, tmp_path / "run")


def test_fine_tuning_starts_from_the_weights_and_records_them(tiny, pictures, tmp_path):
    origin = run(tiny, pictures, tmp_path / "first")
    slow = change(tiny, steps=1, learning_rate=1e-12)
    path = run(slow, pictures, tmp_path / "second", init=origin)
    first, second = checkpoint.load(origin), checkpoint.load(path)
    for name, tensor in first.weights.items():
        torch.testing.assert_close(second.weights[name], tensor, rtol=0, atol=1e-9)
    assert second.metadata["init"] == {"weights_sha256": first.weights_sha256, "weights_key": "ema"}
    assert first.metadata["init"] is None
    with pytest.raises(UserError, match=r"--init was .* and is none"):
        run(slow, pictures, tmp_path / "second")


def test_fine_tuning_does_not_mind_buffers_that_follow_from_the_config(tiny, pictures, tmp_path):
    """SwinIR's masks have the shape of the img_size that a file was trained with; what differs otherwise is said."""
    sizes = {"name": "swinir", "embed_dim": 8, "depths": [2], "heads": [2], "window": 4}
    theirs = networks.create(SwinIRConfig(**{**sizes, "depths": (2,), "heads": (2,)}, scale=2, img_size=12)).state_dict()
    torch.save({"params": theirs}, tmp_path / "net_g.pth")
    slow = change(tiny, network={**sizes, "img_size": 8}, steps=1, learning_rate=1e-12)
    weights = checkpoint.load(run(slow, pictures, tmp_path / "run", init=tmp_path / "net_g.pth")).weights
    torch.testing.assert_close(weights["conv_first.weight"], theirs["conv_first.weight"], rtol=0, atol=1e-9)
    with pytest.raises(UserError, match=r"make them the same \(.*heads \[2\] and \[4\]"):
        run(change(slow, network={**sizes, "heads": [4]}), pictures, tmp_path / "other", init=tmp_path / "net_g.pth")


@pytest.mark.parametrize(
    ("origin", "scale", "new"),
    [
        (SRResNetConfig(channels=4, blocks=1, scale=4), 2, []),
        (SRResNetConfig(channels=4, blocks=1, scale=2), 4, ["upconv2.weight", "upconv2.bias"]),
        (SRResNetConfig(channels=4, blocks=1, scale=2), 3, ["upconv1.weight", "upconv1.bias"]),
        (RRDBNetConfig(channels=4, blocks=1, growth=2, scale=4), 2, ["conv_first.weight"]),
    ],
)
def test_a_network_of_another_scale_gives_what_it_has(tiny, pictures, tmp_path, origin, scale, new):
    """Everything of the same name and shape is taken, the rest is a fresh run's; which that is, is said."""
    file = tmp_path / "net_g.pth"
    torch.save({"params": networks.create(origin).state_dict()}, file)
    config = change(tiny, scale=scale, network=origin.model_dump(exclude={"scale"}), steps=1, learning_rate=1e-12)
    said = io.StringIO()
    train(config, [pictures], tmp_path / "run", init=file, device="cpu", console=Console(file=said))
    fresh = checkpoint.load(run(config, pictures, tmp_path / "fresh")).weights
    theirs = checkpoint.load(file).weights
    weights = checkpoint.load(tmp_path / "run").weights
    for name, tensor in weights.items():
        torch.testing.assert_close(tensor, (fresh if name in new else theirs)[name], rtol=0, atol=1e-9)
    assert f"started from a ×{origin.scale} network: {len(weights) - len(new)} of {len(weights)} tensors are its; " in said.getvalue()
    assert f"new: {', '.join(new) or 'none'}\n" in said.getvalue()
    again = io.StringIO()
    train(change(config, steps=2), [pictures], tmp_path / "run", init=file, device="cpu", console=Console(file=again))
    assert "started from" not in again.getvalue(), "said once"


def test_training_leaves_the_callers_generator_alone(tiny, pictures, tmp_path):
    swinir = {"name": "swinir", "embed_dim": 8, "depths": [2], "heads": [2], "window": 4, "img_size": 8, "drop_path": 0.5}
    for i, configuration in enumerate((change(tiny, steps=2), change(tiny, steps=2, network=swinir))):
        torch.manual_seed(5)
        expected = torch.rand(3)
        torch.manual_seed(5)
        run(configuration, pictures, tmp_path / str(i))
        assert torch.equal(torch.rand(3), expected)


def test_fine_tuning_from_another_projects_file_and_from_another_network(tiny, pictures, tmp_path):
    torch.save({"params": SRResNet(SRResNetConfig(channels=4, blocks=1, scale=2)).state_dict()}, tmp_path / "net_g.pth")
    run(change(tiny, steps=1), pictures, tmp_path / "run", init=tmp_path / "net_g.pth")
    with pytest.raises(UserError, match=r"holds srresnet ×2 \(4 channels, 1 blocks\), the run asks for srresnet ×2 \(6 channels"):
        run(change(tiny, network={"channels": 6, "blocks": 1}), pictures, tmp_path / "other", init=tmp_path / "net_g.pth")


# ------------------------------------------------------------------------------------------------------------------- how it stops


def test_a_loss_that_is_not_finite_stops_with_its_name_and_step_and_keeps_the_last_save(tiny, pictures, tmp_path, monkeypatch):
    original = torch.nn.functional.l1_loss
    calls = []

    def diverge(sr, hr):
        calls.append(1)
        return original(sr, hr) * (float("nan") if len(calls) == 4 else 1)

    monkeypatch.setattr("torch.nn.functional.l1_loss", diverge)
    with pytest.raises(TrainingDivergedError, match=r"loss 'pixel' is nan at step 4"):
        run(tiny, pictures, tmp_path / "run")
    assert checkpoint.load_state(tmp_path / "run" / "state")[0] == 2
    assert checkpoint.load(tmp_path / "run").metadata["images_seen"] == 4


def test_weights_that_are_not_finite_are_never_saved(tiny, pictures, tmp_path):
    with pytest.raises(TrainingDivergedError):
        run(change(tiny, learning_rate=1e38, save_every=1, schedule="constant"), pictures, tmp_path / "run")
    state = checkpoint.load_state(tmp_path / "run" / "state")
    assert state is None or all(tensor.isfinite().all() for group in state[1].values() for tensor in group.values())


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_saves_first(tiny, pictures, tmp_path, number, expected):
    def interrupt(_):
        os.kill(os.getpid(), number)
        return {}

    before = signal.getsignal(number)
    with pytest.raises(expected) as stop:
        run(tiny, pictures, tmp_path / "run", validate=interrupt)
    assert expected is KeyboardInterrupt or stop.value.code == 143
    assert checkpoint.load_state(tmp_path / "run" / "state")[0] == 3
    assert signal.getsignal(number) == before
    whole = run(tiny, pictures, tmp_path / "whole")
    assert run(tiny, pictures, tmp_path / "run").read_bytes() == whole.read_bytes()


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_in_the_last_step_counts_as_well(tiny, pictures, tmp_path, number, expected):
    calls = []

    def interrupt(_):
        calls.append(1)
        if len(calls) == 2:
            os.kill(os.getpid(), number)
        return {}

    with pytest.raises(expected):
        run(tiny, pictures, tmp_path / "run", validate=interrupt)
    assert checkpoint.load_state(tmp_path / "run" / "state")[0] == 6
    assert log(tmp_path / "run", "end")


# ------------------------------------------------------------------------------------------- every network, every kind of training

NETWORKS = {
    "rrdbnet": {"channels": 4, "blocks": 1, "growth": 2},
    "swinir": {"embed_dim": 8, "depths": [2], "heads": [2], "window": 4, "img_size": 8},
    "compact": {"channels": 4, "blocks": 2},
    "rcan": {"channels": 4, "groups": 1, "blocks": 1, "reduction": 2},
}


@pytest.mark.parametrize("network", NETWORKS)
def test_every_network_trains_resumes_to_the_bit_and_loads(tiny, pictures, tmp_path, network):
    """SwinIR with stochastic depth, which draws inside the network, and with buffers; Adaptive Dropout releases a place while it is off."""
    values = {"name": network, **NETWORKS[network], **({"drop_path": 0.5} if network == "swinir" else {})}
    regularizers = [{"name": "dropout", "p": 0.3, "dimension": "element"}, {"name": "adaptive-dropout", "stages": 4}, {"name": "alignment"}]
    whole = change(tiny, network=values, regularizers=regularizers, steps=4)

    with pytest.raises(BreakOffError):
        run(change(whole, val_every=3), pictures, tmp_path / "broken", validate=fail)
    torch.rand(5)  # whatever happens between the starts
    continued = run(whole, pictures, tmp_path / "broken").read_bytes()
    path = run(whole, pictures, tmp_path / "whole")
    assert continued == path.read_bytes()
    net = checkpoint.build(checkpoint.load(path))
    assert net.config == whole.network
    assert net(torch.rand(1, 3, 7, 9)).shape == (1, 3, 14, 18)


def test_two_views_without_a_loss_are_a_training_of_their_own(tiny, pictures, tmp_path):
    two_view, align = change(tiny, views=2), change(tiny, regularizers=[{"name": "alignment", "weight": 0}])
    assert two_view.views_drawn == align.views_drawn == 2
    assert two_view.lr_patches == 4
    source = datasets.open([pictures])
    assert all(
        torch.equal(a, b) for a, b in zip(Samples(two_view, source, CPU).batch(0, 2), Samples(align, source, CPU).batch(0, 2), strict=True)
    )
    weights = [checkpoint.load(run(c, pictures, tmp_path / c.dump()["schedule"] / str(i))).weights for i, c in enumerate((two_view, align))]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    one_view = checkpoint.load(run(tiny, pictures, tmp_path / "one")).weights
    assert not all(torch.equal(weights[0][name], one_view[name]) for name in one_view)


def test_several_regularisers_work_together_in_one_run(tiny, pictures, tmp_path):
    combined = change(
        tiny,
        network={"channels": 4, "blocks": 4},
        regularizers=[{"name": "adaptive-dropout"}, {"name": "alignment"}, {"name": "alignment", "site": "block1"}],
    )
    assert combined.views_drawn == 2
    run(combined, pictures, tmp_path / "run")
    losses = [record["losses"] for record in log(tmp_path / "run", "step")]
    assert all(set(step) == {"pixel", "align", "align2"} and step["align"] > 0 for step in losses)


def test_bicubic_alone_is_a_degradation_to_train_with(tiny, pictures, tmp_path):
    simple = change(tiny, degradation={"name": "bicubic", "canvas": 32})
    lr, hr = Samples(simple, datasets.open([pictures]), CPU).batch(0, 2)
    assert lr.shape == (2, 3, 8, 8)
    assert (torch.nn.functional.interpolate(lr, scale_factor=2, mode="bicubic") - hr).abs().mean() < 0.1
    run(simple, pictures, tmp_path / "run")


# ------------------------------------------------------------------------------------------------------------------ configuration


def test_scale_is_passed_to_the_network_and_stands_once_in_the_file():
    scaled = TrainConfig(scale=2, network=SRResNetConfig(channels=8))
    assert scaled.network.scale == 2
    assert "scale" not in scaled.dump()["network"]
    assert config.build(TrainConfig, scaled.dump()) == scaled
    with pytest.raises(ValueError, match="set the scale at the top level alone"):
        TrainConfig(scale=2, network=SRResNetConfig(scale=3))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"degradation": {"canvas": 100}}, "canvas = 100 is smaller than the HR patch of 128"),
        ({"lr_patch": 8, "degradation": {"canvas": 64}}, "canvas = 64 may become 9 pixels wide on its way"),
        ({"batch_size": 1, "regularizers": [{"name": "alignment"}]}, "batch_size = 1: alignment centres .* they vanish"),
        ({"batch_size": 6, "accumulate": 4}, r"batch_size = 6 does not divide into 4 micro-batches \(accumulate\): use 4 or 8"),
        ({"batch_size": 2, "accumulate": 4}, r"batch_size = 2 does not divide into 4 micro-batches \(accumulate\): use 4$"),
        (
            {"batch_size": 4, "accumulate": 4, "regularizers": [{"name": "alignment"}]},
            "batch_size = 4 with accumulate = 4: alignment centres .* use 8 pictures a step",
        ),
        ({"graph": "on"}, "graph = 'on': input should be 'auto', True or False"),
        ({"views": 2, "degradation": {"name": "bicubic"}}, "nothing is drawn, and two views of a picture would be the same"),
        ({"regularizers": [{"nme": "dropout"}]}, "regularizers.0 = .* a name is missing"),
        ({"network": "rcan"}, r"network = 'rcan': keys with values are expected \(network.KEY = VALUE\)"),
        ({"betas": "cod"}, "betas: 'cod' is neither two numbers nor a name: did you mean 'code'"),
        (
            {"target_usm": True, "scale": 2, "lr_patch": 8, "degradation": {"name": "bicubic", "canvas": 24}},
            "canvas = 24 is too small for target_usm",
        ),
        ({"steps": 0}, "steps = 0: input should be greater than or equal to 1"),
        ({"learning_rate": float("nan")}, "learning_rate"),
    ],
)
def test_configurations_that_cannot_run_are_refused(values, message):
    with pytest.raises(UserError, match=message):
        config.build(TrainConfig, values)


def test_a_site_that_is_not_there_is_said_before_anything_is_written(tiny, pictures, tmp_path):
    with pytest.raises(UserError, match="no site 'block2': it has first, block1, hr, last"):
        run(change(tiny, regularizers=[{"name": "dropout", "site": "block2"}]), pictures, tmp_path / "run")
    run(change(tiny, regularizers=[{"name": "dropout", "site": "block1"}]), pictures, tmp_path / "run")


def test_bad_pictures_are_reported_before_the_first_step(tiny, pictures, tmp_path):
    (pictures / "broken.jpg").write_bytes(b"")
    with pytest.raises(UserError, match=r"1 of 4 pictures cannot be used .*broken.jpg: the file is empty"):
        run(tiny, pictures, tmp_path / "run")
    assert not (tmp_path / "run" / "log.jsonl").exists()
