"""Model files of strangers: every container and key layout that is met, and files that are damaged, misleading or hostile."""

import io
import json
import os
import pickle
import re
import struct
import zipfile

import pytest
import torch
import zoo
from safetensors.torch import save_file

from wildsr import checkpoint, networks
from wildsr.checkpoint import Checkpoint
from wildsr.errors import UserError
from wildsr.networks import CompactConfig, RCANConfig, RRDBNetConfig, SRResNetConfig, SwinIRConfig

SRRESNET = SRResNetConfig(channels=4, blocks=8, scale=4)
RRDBNET = RRDBNetConfig(channels=4, blocks=2, growth=3, scale=4)


def weights_of(config):
    torch.manual_seed(0)
    return dict(networks.create(config).state_dict())


def equal(a, b):
    return sorted(a) == sorted(b) and all(torch.equal(a[name], b[name]) for name in a)


def renamed(weights, *rules):
    """Weights under other keys: each rule is a pattern and what takes its place."""
    result = {}
    for key, tensor in weights.items():
        for pattern, place in rules:
            key = re.sub(pattern, place, key)
        result[key] = tensor
    return result


def first_esrgan(weights, scale=4):
    """ESRGAN's first layout, written down from its Sequential: at ×4 two enlargements, at ×2 one, at ×1 none."""
    blocks = max(int(key.split(".")[1]) for key in weights if key.startswith("body.")) + 1
    end = {4: 6, 2: 3, 1: 0}[scale]
    result = {}
    for kind in ("weight", "bias"):
        for i in range(blocks):
            for j in (1, 2, 3):
                for k in (1, 2, 3, 4, 5):
                    result[f"model.1.sub.{i}.RDB{j}.conv{k}.0.{kind}"] = weights[f"body.{i}.rdb{j}.conv{k}.{kind}"]
        result[f"model.0.{kind}"] = weights[f"conv_first.{kind}"]
        result[f"model.1.sub.{blocks}.{kind}"] = weights[f"conv_body.{kind}"]
        for n in range(end // 3):
            result[f"model.{3 * (n + 1)}.{kind}"] = weights[f"conv_up{n + 1}.{kind}"]
        result[f"model.{end + 2}.{kind}"] = weights[f"conv_hr.{kind}"]
        result[f"model.{end + 4}.{kind}"] = weights[f"conv_last.{kind}"]
    return result


TRUNK = ((r"^body\.(\d+)\.rdb(\d)", r"RRDB_trunk.\1.RDB\2"), ("^conv_body", "trunk_conv"), ("^conv_up", "upconv"), ("^conv_hr", "HRconv"))

LAYOUTS = {
    "BasicSR's SRResNet": (SRRESNET, lambda sd: sd),
    "RDSR's details": (SRRESNET, lambda sd: renamed(sd, (r"^body\.(\d+)\.", lambda m: f"body{int(m[1]) + 1}.0."))),
    "recon_trunk": (SRRESNET, lambda sd: renamed(sd, (r"^body\.", "recon_trunk."), ("^conv_hr", "HRconv"))),
    "recon_trunk in four groups": (
        SRRESNET,
        lambda sd: renamed(sd, (r"^body\.(\d+)\.", lambda m: f"recon_trunk{int(m[1]) // 2 + 1}.{int(m[1]) % 2}."), ("^conv_hr", "HRconv")),
    ),
    "BasicSR's RRDBNet": (RRDBNET, lambda sd: sd),
    "RRDB_trunk": (RRDBNET, lambda sd: renamed(sd, *TRUNK)),
    "ESRGAN's first": (RRDBNET, first_esrgan),
    "Real-ESRGAN x2": (RRDBNetConfig(channels=4, blocks=2, growth=3, scale=2), lambda sd: sd),
    "Real-ESRGAN's compact": (CompactConfig(channels=4, blocks=3, scale=4), lambda sd: sd),
    "KAIR's SwinIR": (SwinIRConfig(embed_dim=8, depths=(2,), heads=(2,), window=4, img_size=16, scale=4), lambda sd: sd),
    "RCAN": (RCANConfig(channels=8, groups=2, blocks=2, reduction=4, scale=3), lambda sd: sd),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_published_layout_gives_our_keys(tmp_path, layout):
    config, rename = LAYOUTS[layout]
    weights = weights_of(config)
    theirs = rename(weights)
    torch.save({"params_ema": theirs}, tmp_path / "m.pth")
    save_file({key: tensor.clone() for key, tensor in theirs.items()}, tmp_path / "m.safetensors")
    for path in tmp_path.iterdir():
        found = checkpoint.load(path)
        assert found.network == config
        assert equal(found.weights, weights)


CONTAINERS = {
    "params_ema and params": (lambda sd, other: {"params": other, "params_ema": sd}, "params_ema", ["params_ema", "params"]),
    "params-ema of neosr": (lambda sd, other: {"params": other, "params-ema": sd}, "params-ema", ["params-ema", "params"]),
    "params": (lambda sd, _: {"params": sd}, "params", ["params"]),
    "params and a counter": (lambda sd, _: {"params": sd, "iter": torch.tensor(5), "lr": 0.1}, "params", ["params"]),
    "state_dict": (lambda sd, _: {"state_dict": sd, "epoch": 3, "optimizer": {"state": {0: {"step": 1}}}}, "state_dict", ["state_dict"]),
    "model_state_dict": (lambda sd, _: {"model_state_dict": sd}, "model_state_dict", ["model_state_dict"]),
    "flat": (lambda sd, _: sd, "flat", []),
    "module.": (lambda sd, _: {f"module.{key}": one for key, one in sd.items()}, "flat", []),
    "netG.": (lambda sd, _: {"params": {f"netG.{key}": one for key, one in sd.items()}}, "params", ["params"]),
    "both prefixes": (lambda sd, _: {f"module.netG.{key}": one for key, one in sd.items()}, "flat", []),
    "compiled": (lambda sd, _: {f"_orig_mod.{key}": one for key, one in sd.items()}, "flat", []),
    "wrapped twice": (lambda sd, _: {"state_dict": {"params": sd}}, "params", ["params"]),
    "parameters": (lambda sd, _: {key: torch.nn.Parameter(one) for key, one in sd.items()}, "flat", []),
}


@pytest.mark.parametrize("name", CONTAINERS)
@pytest.mark.parametrize("ending", [".pth", ".pt", ".ckpt", ".bin", "-legacy.pth", ".safetensors"])
def test_every_container_is_opened_whatever_its_ending(tmp_path, name, ending):
    wrap, key, keys = CONTAINERS[name]
    weights = weights_of(zoo.CONFIGS["compact"])
    path = tmp_path / f"m{ending}"
    other = {key: tensor + 1 for key, tensor in weights.items()}
    torch.save(wrap(weights, other), path, _use_new_zipfile_serialization="legacy" not in ending)
    found = checkpoint.load(path)
    assert (found.network, found.weights_key) == (zoo.CONFIGS["compact"], key)
    assert equal(found.weights, weights)
    assert checkpoint.weights_keys(path) == keys
    if "params" in keys[1:]:
        assert equal(checkpoint.load(path, "params").weights, other)
    with pytest.raises(UserError, match=r"holds no weights called 'parms'"):
        checkpoint.load(path, "parms")


def test_a_safetensors_file_opens_under_any_name(tmp_path, model):
    path = tmp_path / "renamed.pth"
    path.write_bytes(model.read_bytes())
    assert checkpoint.load(path).weights_sha256 == checkpoint.load(model).weights_sha256
    assert checkpoint.weights_keys(path) == []


@pytest.mark.parametrize("low", [b"\x80\x02", b"\x80\x04", b"PK"])
def test_a_header_whose_length_looks_like_another_kind_of_file(tmp_path, low):
    """A length of 640 begins with the bytes of a pickle."""
    weights = dict(networks.create(SRResNetConfig(channels=4, blocks=1)).state_dict())
    save_file(weights, tmp_path / "plain.safetensors")
    data = (tmp_path / "plain.safetensors").read_bytes()
    header = data[8 : 8 + int.from_bytes(data[:8], "little")]
    length = next(n for n in range(len(header), 1 << 20) if n.to_bytes(8, "little")[:2] == low)
    path = tmp_path / "net.pth"
    path.write_bytes(length.to_bytes(8, "little") + header.ljust(length) + data[8 + len(header) :])
    found = checkpoint.load(path)
    assert all(torch.equal(found.weights[name], tensor) for name, tensor in weights.items())


def test_several_networks_in_one_file_are_asked_for(tmp_path):
    weights = weights_of(zoo.CONFIGS["compact"])
    torch.save({"generator": weights, "discriminator": {"layer.weight": torch.zeros(3)}}, tmp_path / "gan.pth")
    with pytest.raises(UserError, match=r"gan\.pth: holds several weights \(generator, discriminator\)"):
        checkpoint.load(tmp_path / "gan.pth")
    assert equal(checkpoint.load(tmp_path / "gan.pth", "generator").weights, weights)


def test_the_raw_weights_of_a_run_are_named(tmp_path):
    for name, key, add in (("model", "ema", 0), ("raw", "raw", 1)):
        weights = {name: tensor + add for name, tensor in weights_of(SRRESNET).items()}
        checkpoint.save(tmp_path / f"{name}.safetensors", Checkpoint(SRRESNET, weights, key))
    assert [checkpoint.load(tmp_path, key).weights_key for key in (None, "ema", "raw")] == ["ema", "ema", "raw"]
    assert torch.equal(checkpoint.load(tmp_path, "raw").weights["conv_last.bias"], checkpoint.load(tmp_path).weights["conv_last.bias"] + 1)
    with pytest.raises(UserError, match="holds no weights called 'params'"):
        checkpoint.load(tmp_path, "params")


def refused(path, words, kind=UserError):
    """The one line that loading gives, which names the file."""
    with pytest.raises(kind, match=words) as caught:
        checkpoint.load(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


def test_an_unknown_network_is_compared_with_ours(tmp_path):
    full = networks.shapes(RRDBNetConfig())
    some = {key: torch.zeros(1) for key in list(full)[:12]}
    save_file(some, tmp_path / "some.safetensors")
    refused(tmp_path / "some.safetensors", r"the nearest is rrdbnet: it has 12 of its 702 keys", checkpoint.UnknownNetworkError)
    save_file({"strange": torch.zeros(1)}, tmp_path / "other.safetensors")
    refused(tmp_path / "other.safetensors", r"it has no key of any; its keys begin strange", checkpoint.UnknownNetworkError)


def test_a_relative_of_ours_is_another_network_and_a_damaged_one_of_ours_is_not(tmp_path):
    """The first may be one that spandrel opens; of the second, what is wrong is listed."""
    weights = weights_of(SwinIRConfig(embed_dim=8, depths=(2,), heads=(2,), window=4, img_size=16))
    blocks = [key.removesuffix("norm1.weight") for key in weights if key.endswith("norm1.weight")]
    relative = weights | {f"{block}conv_block.cab.{i}.weight": torch.zeros(2) for block in blocks for i in range(8)}
    torch.save(relative, tmp_path / "hat.pth")
    refused(tmp_path / "hat.pth", "unknown layers.0.residual_group.blocks.0.conv_block", checkpoint.UnknownNetworkError)
    del weights["conv_hr.bias"]
    torch.save(weights | {"surplus": torch.zeros(1), "norm.bias": torch.zeros(9)}, tmp_path / "damaged.pth")
    words = r"does not fit swinir ×4 .*: missing conv_hr.bias, unknown surplus, norm.bias is \(9,\), not \(8,\)"
    refused(tmp_path / "damaged.pth", words)
    with pytest.raises(UserError) as caught:
        checkpoint.load(tmp_path / "damaged.pth")
    assert not isinstance(caught.value, checkpoint.UnknownNetworkError)


def test_what_only_spandrel_computes_rightly_is_left_to_it(tmp_path):
    shifted = weights_of(RCANConfig(channels=8, groups=2, blocks=2, reduction=4)) | {"sub_mean.weight": torch.zeros(3, 3, 1, 1)}
    plus = first_esrgan(weights_of(RRDBNET)) | {"model.1.sub.0.RDB1.conv1x1.weight": torch.zeros(3, 4, 1, 1)}
    half = first_esrgan(weights_of(RRDBNET), scale=2)
    for name, weights in {"shifted": shifted, "plus": plus, "x2": half}.items():
        torch.save(weights, tmp_path / f"{name}.pth")
        refused(tmp_path / f"{name}.pth", "not the weights of a network known here", checkpoint.UnknownNetworkError)


def changed(config, **shapes):
    weights = weights_of(config)
    return weights | {key.replace("__", "."): torch.zeros(shape) for key, shape in shapes.items()}


SWINIR = SwinIRConfig(embed_dim=8, depths=(2,), heads=(2,), window=4, img_size=16)
USELESS = {
    "compact ×1": lambda: changed(CompactConfig(channels=6, blocks=2), body__6__weight=(3, 6, 3, 3), body__6__bias=(3,)),
    "rrdbnet ×1": lambda: changed(RRDBNET, conv_first__weight=(4, 48, 3, 3)),
    "rrdbnet  ×1": lambda: first_esrgan(weights_of(RRDBNET), scale=1),
    "swinir ×1": lambda: {k: v for k, v in weights_of(SWINIR).items() if not k.startswith(("conv_up", "conv_before", "conv_hr"))},
    "rrdbnet that takes 4 channels and returns 3": lambda: changed(RRDBNET, conv_first__weight=(4, 4, 3, 3)),
    "srresnet that takes 1 channels and returns 1": lambda: changed(
        SRRESNET, conv_first__weight=(4, 1, 3, 3), conv_last__weight=(1, 4, 3, 3), conv_last__bias=(1,)
    ),
    "rcan that takes 15 channels and returns 3": lambda: changed(RCANConfig(channels=8, groups=2, blocks=2), head__0__weight=(8, 15, 3, 3)),
}


@pytest.mark.parametrize("why", USELESS)
def test_models_that_do_not_enlarge_rgb_are_refused_by_name(tmp_path, why):
    torch.save({"params": USELESS[why]()}, tmp_path / "m.pth")
    message = refused(tmp_path / "m.pth", f"{' '.join(why.split())}.*: only models that make larger RGB pictures of RGB ones can be used")
    with pytest.raises(UserError) as caught:
        checkpoint.load(tmp_path / "m.pth")
    assert not isinstance(caught.value, checkpoint.UnknownNetworkError), message


class System:
    def __reduce__(self):
        return os.system, ("touch planted",)


class Exec:
    def __reduce__(self):
        return exec, ("import os; os.mkdir('planted')",)


@pytest.mark.parametrize("payload", [System, Exec])
@pytest.mark.parametrize("how", ["zip", "legacy", "pickle", "as safetensors", "inside the weights"])
def test_code_in_a_file_is_refused_and_does_not_run(tmp_path, monkeypatch, payload, how):
    monkeypatch.chdir(tmp_path)
    content = {"params": weights_of(zoo.CONFIGS["compact"]), "extra": payload()}
    if how == "inside the weights":
        content["params"]["body.0.weight"] = content.pop("extra")
    path = tmp_path / ("evil.safetensors" if how == "as safetensors" else "evil.pth")
    if how == "pickle":
        path.write_bytes(pickle.dumps({"params": payload()}, protocol=4))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=how != "legacy")
    message = refused(path, r"refused: it holds more than plain weights \(.*\) and could run code when opened")
    assert re.search(r"system|exec", message)
    with pytest.raises(UserError, match="could run code"):
        checkpoint.weights_keys(path)
    assert sorted(one.name for one in tmp_path.iterdir()) == [path.name]
    pickle.loads(pickle.dumps(payload()))
    assert (tmp_path / "planted").exists(), "the payload is a real one"


ARGUMENT = b"X\x0d\x00\x00\x00touch planted"


@pytest.mark.parametrize(
    "code",
    {
        "reduce": b"\x80\x02cos\nsystem\n(" + ARGUMENT + b"tR.",
        "instance": b"\x80\x02(" + ARGUMENT + b"ios\nsystem\n.",
        "object": b"\x80\x02(cos\nsystem\n" + ARGUMENT + b"o.",
        "name on the stack": b"\x80\x04\x8c\x02os\x8c\x06system\x93(" + ARGUMENT + b"tR.",
        "state": b"\x80\x02ctorch\nTensor\n)R}" + ARGUMENT + b"cos\nsystem\n(" + ARGUMENT + b"tRsb.",
        "beyond the first object": pickle.dumps(0x1950A86A20F9469CFC6C, 2) + b"\x80\x02cos\nsystem\n(" + ARGUMENT + b"tR.",
    }.items(),
    ids=lambda item: item[0],
)
def test_no_opcode_of_a_pickle_calls_anything(tmp_path, monkeypatch, code):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.pth").write_bytes(code[1])
    refused(tmp_path / "evil.pth", "could run code|damaged")
    assert [one.name for one in tmp_path.iterdir()] == ["evil.pth"]


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path):
    path = tmp_path / "bomb.pth"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("a/data/0", "w", force_zip64=True) as entry,
    ):
        zeros = bytes(1 << 24)
        for _ in range(16):
            entry.write(zeros)
    assert path.stat().st_size < 3_000_000
    refused(path, r"refused: a file of [\d,]+ bytes that unpacks to 268,435,456")
    with zipfile.ZipFile(tmp_path / "nested.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", pickle.dumps({"params": b"\0" * 5_000_000}))
    refused(tmp_path / "nested.pth", "refused: .* unpacks to")


def legacy(claimed, data=b""):
    """A legacy file by hand: one float storage that claims so many numbers."""
    pieces = [
        pickle.dumps(0x1950A86A20F9469CFC6C, 2),
        pickle.dumps(1001, 2),
        pickle.dumps({"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}, 2),
        # {"weight": torch._utils._rebuild_tensor_v2(storage, 0, (claimed,), (1,), False, OrderedDict())}
        b"\x80\x02}X\x06\x00\x00\x00weightctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\n"
        + b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpu\x8a\x08"
        + struct.pack("<q", claimed)
        + b"NtQK\x00\x8a\x08"
        + struct.pack("<q", claimed)
        + b"\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtRs.",
        pickle.dumps(["0"], 2),
    ]
    return b"".join(pieces) + data


def test_a_legacy_storage_that_claims_more_than_the_file_is_refused(tmp_path):
    path = tmp_path / "m.pth"
    path.write_bytes(legacy(3, struct.pack("<q3f", 3, 1.0, 2.0, 3.0)))
    assert torch.load(path, weights_only=True)["weight"].tolist() == [1.0, 2.0, 3.0]
    assert checkpoint.read(path).groups["flat"]["weight"].tolist() == [1.0, 2.0, 3.0]
    for claimed in (2**50, 2**36, 400):
        path.write_bytes(legacy(claimed, struct.pack("<q3f", claimed, 1.0, 2.0, 3.0)))
        refused(path, rf"damaged, or half a download: it tells of {4 * claimed:,} bytes of weights, and has")


def test_a_zip_storage_that_claims_more_than_the_file_is_refused(tmp_path):
    torch.save({"weight": torch.zeros(77)}, tmp_path / "whole.pth")
    changed = io.BytesIO()
    with zipfile.ZipFile(tmp_path / "whole.pth") as source, zipfile.ZipFile(changed, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            if name.endswith("data.pkl"):
                assert data.count(b"KM") == 2  # the storage's and the tensor's 77
                data = data.replace(b"KM", b"J\xff\xff\xff\x7f")
            target.writestr(name, data)
    (tmp_path / "huge.pth").write_bytes(changed.getvalue())
    refused(tmp_path / "huge.pth", r"it tells of 8,589,934,588 bytes of weights")


def test_a_tensor_that_repeats_one_number_is_refused(tmp_path):
    torch.save({"weight": torch.zeros(1).expand(2**40)}, tmp_path / "wide.pth")
    refused(tmp_path / "wide.pth", "'weight' claims more numbers .* than the file holds")


@pytest.mark.parametrize("value", [torch.zeros(3).to_sparse(), torch.zeros(3, device="meta"), torch.zeros(3, dtype=torch.complex64)])
def test_tensors_that_are_not_plain_are_refused(tmp_path, value):
    torch.save({"good": torch.zeros(3), "odd": value}, tmp_path / "odd.pth")
    refused(tmp_path / "odd.pth", r"'odd' of its weights is no plain tensor|'odd' among|damaged|more than plain weights")


def test_something_else_among_the_weights_is_named(tmp_path):
    torch.save({"good": torch.zeros(3), "odd": [1, 2]}, tmp_path / "odd.pth")
    refused(tmp_path / "odd.pth", "'odd' among its weights is no tensor but list")


def header(entries):
    text = json.dumps(entries).encode()
    return len(text).to_bytes(8, "little") + text


@pytest.mark.parametrize(
    "data",
    {
        "length of 2^40": (1 << 40).to_bytes(8, "little") + b"{}" + b" " * 100,
        "length of 2^62": (1 << 62).to_bytes(8, "little") + b"{}",
        "tensors beyond the file": header({"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}) + bytes(64),
        "shape beyond the offsets": header({"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 64]}}) + bytes(64),
        "overflowing shape": header({"a": {"dtype": "F32", "shape": [1 << 40, 1 << 40], "data_offsets": [0, 64]}}) + bytes(64),
        "no JSON": (20).to_bytes(8, "little") + b"{" * 20,
    }.items(),
    ids=lambda item: item[0],
)
def test_a_safetensors_header_that_claims_too_much_is_refused(tmp_path, data):
    path = tmp_path / "m.safetensors"
    path.write_bytes(data[1])
    refused(path, "not a whole safetensors file: damaged, or half a download")


@pytest.mark.parametrize("kind", ["safetensors", "zip", "legacy"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.999])
def test_half_a_download_is_said_to_be_one(tmp_path, kind, share):
    weights = weights_of(SRRESNET)
    whole = tmp_path / "whole"
    if kind == "safetensors":
        checkpoint.save(whole, Checkpoint(SRRESNET, weights, "ema"))
    else:
        torch.save({"params": weights}, whole, _use_new_zipfile_serialization=kind == "zip")
    assert checkpoint.load(whole).network == SRRESNET
    path = tmp_path / ("half.safetensors" if kind == "safetensors" else "half.pth")
    path.write_bytes(whole.read_bytes()[: int(share * whole.stat().st_size)])
    refused(path, "damaged, or half a download")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", r"empty \(0 bytes\)"),
        (b"\n<!DOCTYPE html>\n<html><body>Sign in</body></html>", "a web page, not a model"),
        (b"<html><head><title>404</title>", "a web page, not a model"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 67040989\n", "a pointer of Git LFS"),
        (b'{"error": "rate limit"}', "JSON text, not a model"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "not a file of weights"),
        (pickle.dumps([1, 2, 3]), "a Python pickle, but not a file of weights"),
        (b"\x80\x02" + b"r\xff\xff\xff\xff" * 3, "damaged"),
        (b"\x80\x05" + b"\x8e" + (1 << 62).to_bytes(8, "little"), "damaged"),
    ],
)
@pytest.mark.parametrize("name", ["m.pth", "m.safetensors"])
def test_what_is_no_model_is_called_what_it_is(tmp_path, name, data, words):
    if name == "m.safetensors" and words == "not a file of weights":
        words = "not a whole safetensors file"
    (tmp_path / name).write_bytes(data)
    refused(tmp_path / name, words)


def test_other_archives_and_folders_are_no_models(tmp_path):
    with zipfile.ZipFile(tmp_path / "photos.pth", "w") as archive:
        archive.writestr("readme.txt", "not weights")
    refused(tmp_path / "photos.pth", "a zip archive, but not a file of weights")
    refused(tmp_path, "no model.safetensors in this folder")
    with zipfile.ZipFile(tmp_path / "script.pt", "w") as archive:
        archive.writestr("script/data.pkl", pickle.dumps({}))
        archive.writestr("script/constants.pkl", pickle.dumps(()))
    refused(tmp_path / "script.pt", "a TorchScript program, which is code")


@pytest.mark.parametrize("layer", ["²", "٣", "60002", "9" * 40])
def test_a_number_in_a_key_makes_no_network(tmp_path, layer):
    """Neither a digit that is no number, nor one that would make a network of thousands of layers of one tensor."""
    weights = weights_of(CompactConfig(channels=4, blocks=1, scale=2))
    for part in ("weight", "bias"):
        weights[f"body.{layer}.{part}"] = weights[f"body.4.{part}"].clone()
    found = networks.recognise(weights)
    assert found is None or found[0] == CompactConfig(channels=4, blocks=1, scale=2)
    torch.save(weights, tmp_path / "m.pth")
    refused(tmp_path / "m.pth", "not the weights of a network known here|does not fit|left over")


@pytest.mark.parametrize(
    "network",
    [
        {"name": "srresnet", "channels": 4, "blocks": 10**9, "scale": 4},
        {"name": "srresnet", "channels": 10**12, "blocks": 8, "scale": 4},
        {"name": "swinir", "img_size": 8 * 10**9, "embed_dim": 8, "depths": [2], "heads": [2], "window": 8},
        {"name": "swinir", "depths": [1] * 40, "heads": [1] * 40, "embed_dim": 8},
    ],
)
def test_metadata_that_claims_a_huge_network_is_refused_at_once(tmp_path, network):
    path = tmp_path / "m.safetensors"
    checkpoint.write_safetensors(path, weights_of(SRRESNET), {"wildsr.network": json.dumps(network)})
    refused(path, "metadata is damaged|does not fit")


def test_metadata_too_deep_to_read_is_refused(tmp_path):
    checkpoint.write_safetensors(tmp_path / "m.safetensors", weights_of(SRRESNET), {"wildsr.network": "[" * 100_000})
    refused(tmp_path / "m.safetensors", "metadata is damaged")


def test_a_side_of_nothing_cannot_claim_a_window(tmp_path):
    weights = weights_of(SWINIR)
    weights["layers.0.residual_group.blocks.0.attn.relative_position_bias_table"] = torch.zeros(2**40, 0)
    weights["layers.0.residual_group.blocks.1.attn_mask"] = torch.zeros(2**40, 0, 0)
    del weights["layers.0.residual_group.blocks.0.attn.relative_position_index"]
    torch.save(weights, tmp_path / "m.pth")
    refused(tmp_path / "m.pth", "not the weights of a network known here", checkpoint.UnknownNetworkError)
