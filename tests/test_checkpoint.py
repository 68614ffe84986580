"""Model files: canonical bytes, readable metadata, foreign layouts, and files that must not be trusted."""

import hashlib
import json
import os
import pickle
import zipfile

import pytest
import torch
import zoo
from safetensors.torch import load_file, save_file

from wildsr import checkpoint, networks
from wildsr.checkpoint import Checkpoint
from wildsr.errors import UserError
from wildsr.networks import SRResNet, SRResNetConfig

CONFIG = SRResNetConfig(channels=4, blocks=2, scale=4)


@pytest.fixture
def weights():
    torch.manual_seed(0)
    return dict(SRResNet(CONFIG).state_dict())


def equal(a, b):
    return sorted(a) == sorted(b) and all(torch.equal(a[name], b[name]) for name in a)


def test_a_saved_model_is_flat_and_says_what_it_is(tmp_path, weights):
    path = tmp_path / "m.safetensors"
    checkpoint.save(path, Checkpoint(CONFIG, weights, "ema", {"recipe": "quick", "images_seen": 80}))
    assert equal(load_file(path), weights)
    _, metadata = checkpoint.read_safetensors(path)
    sizes = {"name": "srresnet", "scale": 4, "channels": 4, "blocks": 2}
    assert json.loads(metadata["wildsr.network"]) == {**sizes, "upconv1_init": "default", "block_init": "scaled"}
    assert json.loads(metadata["wildsr.scale"]) == 4
    assert json.loads(metadata["wildsr.format_version"]) == checkpoint.FORMAT_VERSION
    assert metadata["modelspec.architecture"] == "srresnet"
    found = checkpoint.load(path)
    assert (found.network, found.weights_key, found.metadata) == (CONFIG, "ema", {"recipe": "quick", "images_seen": 80})
    assert equal(found.weights, weights)


def test_equal_contents_give_equal_bytes_in_whatever_order_they_come(tmp_path, weights):
    metadata = {f"key{i}": str(i) for i in range(20)}
    checkpoint.write_safetensors(tmp_path / "a", weights, metadata)
    checkpoint.write_safetensors(tmp_path / "b", dict(reversed(weights.items())), dict(reversed(metadata.items())))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    weights["conv_last.bias"] = weights["conv_last.bias"] + 1
    checkpoint.write_safetensors(tmp_path / "b", weights, metadata)
    assert (tmp_path / "a").read_bytes() != (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64])
def test_every_type_and_memory_layout_is_written_as_the_library_reads_it(tmp_path, dtype):
    tensors = {"z": torch.arange(24).reshape(2, 3, 2, 2).to(dtype), "a": torch.tensor(3).to(dtype), "empty": torch.zeros(0, 2).to(dtype)}
    tensors["z"] = tensors["z"].contiguous(memory_format=torch.channels_last)
    checkpoint.write_safetensors(tmp_path / "x.safetensors", tensors)
    assert equal(load_file(tmp_path / "x.safetensors"), tensors)


def test_the_hash_of_weights_is_of_the_tensors_not_of_the_file(tmp_path, weights):
    save_file(weights, tmp_path / "flat.safetensors")
    torch.save({"params": weights}, tmp_path / "basicsr.pth")
    checkpoint.save(tmp_path / "ours.safetensors", Checkpoint(CONFIG, weights, "ema"))
    hashes = {checkpoint.load(path).weights_sha256 for path in tmp_path.iterdir()}
    plain = hashlib.sha256(b"".join(weights[name].numpy().tobytes() for name in sorted(weights))).hexdigest()
    assert hashes == {checkpoint.weights_sha256(weights)} == {plain}
    weights["conv_last.bias"] = weights["conv_last.bias"] + 1
    assert checkpoint.weights_sha256(weights) not in hashes


@pytest.mark.parametrize(
    ("wrap", "key"),
    [
        (lambda sd: sd, "flat"),
        (lambda sd: {"params": sd}, "params"),
        (lambda sd: {"params": {name: value + 1 for name, value in sd.items()}, "params_ema": sd}, "params_ema"),
        (lambda sd: {"state_dict": {f"module.{name}": value for name, value in sd.items()}}, "state_dict"),
        (lambda sd: {"anything": sd}, "anything"),
        (networks.SRResNet.to_details_keys, "flat"),
        (lambda sd: {"params": networks.SRResNet.to_details_keys(sd)}, "params"),
    ],
)
def test_layouts_of_other_projects_are_read(tmp_path, weights, wrap, key):
    torch.save(wrap(weights), tmp_path / "net_g_latest.pth")
    found = checkpoint.load(tmp_path / "net_g_latest.pth")
    assert found.network == CONFIG
    assert found.weights_key == key
    assert equal(found.weights, weights)
    x = torch.rand(1, 3, 8, 8)
    twin = SRResNet(CONFIG)
    twin.load_state_dict(weights)
    assert torch.equal(checkpoint.build(found)(x), twin(x))


def test_building_a_network_does_not_disturb_the_global_generator(weights):
    before = torch.get_rng_state()
    checkpoint.build(Checkpoint(CONFIG, weights, "ema"))
    assert torch.equal(torch.get_rng_state(), before)


class Payload:
    def __reduce__(self):
        return os.mkdir, ("planted",)


def test_a_file_that_would_run_code_is_refused_and_runs_none(tmp_path, weights, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"params": weights, "extra": Payload()}, "evil.pth")
    (tmp_path / "old.pth").write_bytes(pickle.dumps({"params": Payload()}))
    for name in ("evil.pth", "old.pth"):
        with pytest.raises(UserError, match=rf"{name}: refused: .* could run code"):
            checkpoint.load(tmp_path / name)
    assert not (tmp_path / "planted").exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.pth", None, "no such model file"),
        ("zero.pth", b"", "empty"),
        ("text.pth", b"hello there, no pickle", "not a file of weights"),
        ("zero.safetensors", b"", "empty"),
        ("text.safetensors", b"hello there" * 9, "not a whole safetensors file"),
        ("header.safetensors", (1 << 62).to_bytes(8, "little") + b"{}", "not a whole safetensors file"),
    ],
)
def test_damaged_files_are_named(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=f"{name}: ({message})"):
        checkpoint.load(tmp_path / name)


def test_half_a_download_is_named(tmp_path, weights):
    torch.save({"params": weights}, tmp_path / "whole.pth")
    checkpoint.save(tmp_path / "whole.safetensors", Checkpoint(CONFIG, weights, "ema"))
    for suffix in (".pth", ".safetensors"):
        data = (tmp_path / f"whole{suffix}").read_bytes()
        (tmp_path / f"half{suffix}").write_bytes(data[: len(data) // 2])
        with pytest.raises(UserError, match=f"half{suffix}"):
            checkpoint.load(tmp_path / f"half{suffix}")
    with zipfile.ZipFile(tmp_path / "other.pth", "w") as archive:
        archive.writestr("readme.txt", "not weights")
    with pytest.raises(UserError, match=r"other.pth"):
        checkpoint.load(tmp_path / "other.pth")


def test_keys_that_do_not_fit_are_listed(tmp_path, weights):
    del weights["body.1.conv2.bias"]
    weights["conv_hr.weight"] = torch.zeros(4, 4, 5, 5)
    weights["extra"] = torch.zeros(1)
    save_file(weights, tmp_path / "odd.safetensors")
    with pytest.raises(UserError, match=r"missing body.1.conv2.bias, unknown extra, conv_hr.weight is \(4, 4, 5, 5\), not \(4, 4, 3, 3\)"):
        checkpoint.load(tmp_path / "odd.safetensors")
    save_file({"layer.weight": torch.zeros(3)}, tmp_path / "foreign.safetensors")
    with pytest.raises(UserError, match="not the weights of a network known here"):
        checkpoint.load(tmp_path / "foreign.safetensors")
    torch.save({"params": 3}, tmp_path / "empty.pth")
    with pytest.raises(UserError, match="no weights found"):
        checkpoint.load(tmp_path / "empty.pth")


def test_a_file_of_a_later_format_asks_for_an_upgrade(tmp_path, weights):
    checkpoint.write_safetensors(tmp_path / "new.safetensors", weights, {"wildsr.format_version": "99"})
    with pytest.raises(UserError, match="upgrade wildsr"):
        checkpoint.load(tmp_path / "new.safetensors")


def test_a_state_is_never_replaced_for_in_between_there_would_be_none(tmp_path):
    checkpoint.save_state(tmp_path, 5, {"raw": {"w": torch.zeros(2)}})
    with pytest.raises(OSError, match="00000005"):
        checkpoint.save_state(tmp_path, 5, {"raw": {"w": torch.ones(2)}})
    assert checkpoint.load_state(tmp_path)[1]["raw"]["w"].tolist() == [0.0, 0.0]
    assert [path.name for path in tmp_path.iterdir()] == ["00000005"]


def test_states_are_whole_or_absent_and_the_newest_counts(tmp_path):
    assert checkpoint.load_state(tmp_path) is None
    for step in (5, 10):
        checkpoint.save_state(tmp_path, step, {"raw": {"w": torch.full((2,), float(step))}})
    assert [path.name for path in tmp_path.iterdir()] == ["00000010"]
    (tmp_path / ".00000015.partial").mkdir()
    step, groups = checkpoint.load_state(tmp_path)
    assert step == 10
    assert groups["raw"]["w"].tolist() == [10.0, 10.0]


def swinir_weights():
    return networks.create(networks.SwinIRConfig(embed_dim=8, depths=(2,), heads=(2,), window=4, img_size=32, scale=2)).state_dict()


def test_buffers_that_follow_from_the_config_may_be_missing(tmp_path):
    whole = swinir_weights()
    kept = {name: tensor for name, tensor in whole.items() if not name.endswith(("attn_mask", "relative_position_index"))}
    torch.save(kept, tmp_path / "s.pth")
    found = checkpoint.load(tmp_path / "s.pth")
    assert found.weights.keys() == whole.keys()
    assert all(torch.equal(found.weights[name], whole[name]) for name in whole)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("layers.0.residual_group.blocks.0.attn.relative_position_bias_table", torch.zeros(49, 3)),
        ("layers.0.residual_group.blocks.1.attn_mask", torch.tensor(0.0)),
        ("conv_first.weight", torch.zeros(0, 3, 3, 3)),
        ("conv_first.weight", torch.zeros(8, 0, 3, 3)),
        ("conv_before_upsample.0.weight", torch.zeros(0, 0, 3, 3)),
    ],
)
def test_shapes_that_no_network_has_are_an_error_that_names_the_file(tmp_path, name, value):
    torch.save({**swinir_weights(), name: value}, tmp_path / "odd.pth")
    with pytest.raises(UserError, match=r"odd\.pth: (not the weights of a network known here|does not fit)"):
        checkpoint.load(tmp_path / "odd.pth")


@pytest.mark.parametrize("name", zoo.CONFIGS)
def test_every_network_is_loaded_from_other_projects_containers(tmp_path, name):
    net = zoo.make(name).eval()
    torch.save({"params_ema": {f"module.{key}": value for key, value in net.state_dict().items()}}, tmp_path / "net_g.pth")
    found = checkpoint.load(tmp_path / "net_g.pth")
    x = torch.rand(1, 3, 9, 10)
    assert torch.equal(checkpoint.build(found)(x), net(x))
