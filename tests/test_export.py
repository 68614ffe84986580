"""Models for other programs: what is written is read again, by the libraries that others use, and computes the same."""

import builtins
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import zoo
from safetensors import safe_open

from wildsr import checkpoint, export, files, networks
from wildsr.checkpoint import Checkpoint
from wildsr.errors import UserError
from wildsr.export import program
from wildsr.networks import CompactConfig, RCANConfig, RRDBNetConfig, SRResNetConfig, SwinIRConfig

CONFIGS = {
    "srresnet": SRResNetConfig(channels=6, blocks=2, scale=4),
    "rrdbnet": RRDBNetConfig(channels=4, blocks=1, growth=4, scale=2),
    "swinir": SwinIRConfig(embed_dim=8, depths=(2,), heads=(2,), window=4, img_size=8, scale=2, upsampler="pixelshuffledirect"),
}
RECIPE = {
    "recipe": "quick",
    "config": {"steps": 300, "batch_size": 8, "lr_patch": 32, "seed": 1, "degradation": {"name": "two-order"}},
    "regularizers": [{"name": "dropout", "p": 0.5}],
    "images_seen": 2400,
}


def saved(path, config, seed=0, key="ema", scale=1.0):
    """A model file of small random weights; returns its network."""
    torch.manual_seed(seed)
    net = networks.create(config).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(scale)
    checkpoint.save(path, Checkpoint(config, dict(net.state_dict()), key, RECIPE))
    return net


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "My model.safetensors"
    saved(path, CONFIGS["srresnet"])
    return path


def picture(batch, height, width):
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(batch + height + width))


# Exporting takes seconds: each network in one of the number types, and the oldest and the newest set of operators.
@pytest.mark.parametrize(
    ("name", "dtype", "opset"), [("srresnet", "fp32", 18), ("srresnet", "fp16", 23), ("rrdbnet", "fp16", 18), ("swinir", "fp32", 20)]
)
def test_onnx_runs_on_any_size_and_computes_the_same(tmp_path, capfd, name, dtype, opset):
    onnx, onnxruntime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    config = CONFIGS[name]
    net = saved(tmp_path / "m.safetensors", config)
    target = tmp_path / "m.onnx"
    said = export.convert(tmp_path / "m.safetensors", target, dtype=dtype, opset=opset, author="A. N. Other", license="MIT")
    assert capfd.readouterr() == ("", "")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["m.onnx", "m.safetensors"]

    model = onnx.load(target)
    onnx.checker.check_model(model, full_check=True)
    told = {one.key: one.value for one in model.metadata_props}
    assert told["wildsr.scale"] == str(config.scale)
    assert told["wildsr.multiple"] == str(net.grid)
    assert json.loads(told["wildsr.network"]) == config.model_dump(mode="json")
    assert told["wildsr.weights_sha256"] == checkpoint.load(tmp_path / "m.safetensors").weights_sha256
    assert (told["author"], told["license"], told["title"]) == ("A. N. Other", "MIT", "m")
    assert ("float32" if dtype == "fp32" else "float16") in told["wildsr.input"]
    assert (f"in multiples of {net.grid}" in told["wildsr.input"]) == (net.grid > 1)
    assert any("onnxruntime differs from PyTorch by at most" in line for line in said)
    assert 0 <= float(told["wildsr.max_difference"]) < (1e-5 if dtype == "fp32" else 1e-2)

    kind = np.float32 if dtype == "fp32" else np.float16
    session = onnxruntime.InferenceSession(target, providers=["CPUExecutionProvider"])
    for batch, height, width in ((1, 5, 7), (3, 19, 2)):
        x = picture(batch, height * net.grid, width * net.grid).numpy().astype(kind)
        (out,) = session.run(["output"], {"input": x})
        assert out.dtype == kind
        with torch.no_grad():
            wanted = net(torch.from_numpy(x.astype(np.float32))).numpy()
        np.testing.assert_allclose(out.astype(np.float32), wanted, rtol=0, atol=1e-5 if dtype == "fp32" else 1e-2)

    described = export.describe(target)
    assert (described["format"], described["scale"], described["opset"]) == ("ONNX", config.scale, opset)
    assert described["parameters"] == sum(one.numel() for one in net.parameters())
    number = "float" if dtype == "fp32" else "float16"
    assert described["inputs"] == [f"input: {number} (batch, 3, height, width)"]
    assert described["outputs"] == [f"output: {number} (batch, 3, {config.scale}*height, {config.scale}*width)"]


@pytest.mark.parametrize(("name", "dtype"), [("rrdbnet", "fp32"), ("srresnet", "fp16")])
def test_a_program_is_loaded_and_run_on_other_sizes(tmp_path, capfd, name, dtype):
    net = saved(tmp_path / "m.safetensors", CONFIGS[name])
    said = export.convert(tmp_path / "m.safetensors", tmp_path / "m.pt2", dtype=dtype)
    assert capfd.readouterr() == ("", "")
    assert any("differs from PyTorch by at most" in line for line in said)
    with program.quiet():
        loaded = torch.export.load(tmp_path / "m.pt2").module()
    for batch, height, width in ((1, 5, 7), (3, 19, 2)):
        x = picture(batch, height * net.grid, width * net.grid).to(program.DTYPES[dtype])
        with torch.no_grad():
            torch.testing.assert_close(loaded(x).float(), net(x.float()), rtol=0, atol=1e-5 if dtype == "fp32" else 1e-2)
    described = export.describe(tmp_path / "m.pt2")
    assert (described["format"], described["multiple"], described["dtype"]) == ("torch.export program", net.grid, dtype)
    with pytest.raises(UserError, match=r"m\.pt2: a torch\.export program, made for other programs"):
        checkpoint.load(tmp_path / "m.pt2")


def test_a_program_that_differs_is_not_written(source, tmp_path, monkeypatch):
    monkeypatch.setitem(program.TOLERANCE, "fp16", 1e-9)
    for target in (tmp_path / "m.onnx", tmp_path / "m.pt2"):
        with pytest.raises(UserError, match=r"My model\.safetensors -> .*differs from PyTorch's by .*: nothing was written"):
            export.convert(source, target, dtype="fp16")
    assert [one.name for one in tmp_path.iterdir()] == [source.name]


def test_without_onnx_the_extra_is_named(source, tmp_path, monkeypatch):
    (tmp_path / "m.onnx").write_bytes(b"\x08\x08 any")
    for library in ("onnx", "onnxruntime", "onnxscript"):
        monkeypatch.setitem(sys.modules, library, None)
        with pytest.raises(UserError, match=r"pip install 'wildsr\[onnx\]'"):
            export.convert(source, tmp_path / "new.onnx")
    with pytest.raises(UserError, match=r"m\.onnx: .*pip install 'wildsr\[onnx\]'"):
        export.describe(tmp_path / "m.onnx")


@pytest.mark.parametrize("data", [b"", b"\x08\x08" + bytes(range(200)), b"no model at all" * 9])
def test_a_damaged_onnx_file_is_named(tmp_path, data):
    pytest.importorskip("onnx")
    (tmp_path / "m.onnx").write_bytes(data)
    with pytest.raises(UserError, match=r"m\.onnx: damaged, or no ONNX file"):
        export.describe(tmp_path / "m.onnx")
    with pytest.raises(UserError, match=r"m\.onnx: (an ONNX file, made for other programs|empty)"):
        checkpoint.load(tmp_path / "m.onnx")


@pytest.mark.parametrize("name", zoo.CONFIGS)
def test_safetensors_carry_what_model_managers_and_traiNNer_read(tmp_path, name):  # noqa: N802
    config = zoo.CONFIGS[name]
    net = saved(tmp_path / "m.safetensors", config)
    export.convert(
        tmp_path / "m.safetensors",
        tmp_path / "out.safetensors",
        title="A title",
        author="A. N. Other",
        license="CC-BY-4.0",
        description="What it is.",
        tags=["photo", "4x"],
        date="2026-05-31",
    )
    with safe_open(tmp_path / "out.safetensors", "pt") as file:
        assert sorted(file.keys()) == sorted(net.state_dict())
        told = file.metadata()
    spec = {key.removeprefix("modelspec."): value for key, value in told.items() if key.startswith("modelspec.")}
    found = checkpoint.load(tmp_path / "out.safetensors")
    assert spec == {
        "sai_model_spec": "1.0.1",
        "architecture": name,
        "implementation": "wildsr",
        "title": "A title",
        "author": "A. N. Other",
        "license": "CC-BY-4.0",
        "description": "What it is.",
        "tags": "photo, 4x",
        "date": "2026-05-31",
        "hash_sha256": f"0x{found.weights_sha256}",
    }
    # ModelSpec's hash is of all that follows the header.
    data = (tmp_path / "out.safetensors").read_bytes()
    assert spec["hash_sha256"] == "0x" + files.sha256(data[8 + int.from_bytes(data[:8], "little") :])
    assert json.loads(told["metadata"]) == export.facts(config).hyperparameters
    assert found.metadata == RECIPE
    assert (found.network, found.weights_key) == (config, "ema")


def test_hyperparameters_have_the_names_of_others():
    assert export.facts(RRDBNetConfig()).hyperparameters == {
        "in_nc": 3,
        "out_nc": 3,
        "num_filters": 64,
        "num_blocks": 23,
        "scale": 4,
        "plus": False,
        "shuffle_factor": None,
    }
    assert export.facts(RRDBNetConfig(scale=2)).hyperparameters["in_nc"] == 12
    assert export.facts(SRResNetConfig()).hyperparameters == {
        "num_in_ch": 3,
        "num_out_ch": 3,
        "num_feat": 64,
        "num_block": 16,
        "upscale": 4,
    }
    assert export.facts(CompactConfig()).hyperparameters["num_conv"] == 16
    assert export.facts(RCANConfig()).hyperparameters["n_resgroups"] == 10
    assert export.facts(SwinIRConfig()).hyperparameters["depths"] == [6] * 6


def test_half_precision_keeps_its_origin_and_refuses_what_it_cannot_hold(source, tmp_path):
    export.convert(source, tmp_path / "half.safetensors", dtype="fp16")
    whole, half = checkpoint.load(source), checkpoint.load(tmp_path / "half.safetensors")
    assert {one.dtype for one in half.weights.values()} == {torch.float16}
    assert half.metadata["source_weights_sha256"] == whole.weights_sha256
    for name, tensor in whole.weights.items():
        assert torch.equal(half.weights[name], tensor.half())
    assert (tmp_path / "half.safetensors").stat().st_size < 0.7 * source.stat().st_size
    assert export.describe(tmp_path / "half.safetensors")["dtype"] == "float16"
    large = dict(whole.weights) | {"conv_hr.bias": torch.full((6,), 70000.0)}
    checkpoint.save(tmp_path / "large.safetensors", Checkpoint(whole.network, large, "ema"))
    for ending in ("safetensors", "pth", "onnx", "pt2"):
        with pytest.raises(UserError, match=r"weight conv_hr.bias reaches 70000, and fp16 ends at 65504: use --dtype fp32"):
            export.convert(tmp_path / "large.safetensors", tmp_path / f"new.{ending}", dtype="fp16")
        assert not (tmp_path / f"new.{ending}").exists()
    checkpoint.save(tmp_path / "nan.safetensors", Checkpoint(whole.network, large | {"conv_hr.bias": torch.full((6,), torch.nan)}, "ema"))
    with pytest.raises(UserError, match=r"weight conv_hr\.bias is not finite"):
        export.convert(tmp_path / "nan.safetensors", tmp_path / "new.pth")


def plain(value):
    """Whether a file's content is of types that spandrel's and PyTorch's strictest readers admit."""
    if isinstance(value, dict):
        return all(type(key) is str and plain(one) for key, one in value.items())
    return type(value) is torch.Tensor and value.device.type == "cpu" and value.is_contiguous()


def test_a_run_gives_both_keys_of_basicsr(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    averaged = saved(run / "model.safetensors", CONFIGS["srresnet"], seed=1)
    raw = saved(run / "raw.safetensors", CONFIGS["srresnet"], seed=2, key="raw")
    export.convert(run, tmp_path / "both.pth")
    content = torch.load(tmp_path / "both.pth", weights_only=True)
    assert list(content) == ["params", "params_ema"]
    assert {type(group).__name__ for group in content.values()} == {"OrderedDict"}
    assert plain(content)
    for group, net in (("params", raw), ("params_ema", averaged)):
        assert list(content[group]) == sorted(net.state_dict()) or set(content[group]) == set(net.state_dict())
        assert all(torch.equal(content[group][name], tensor) for name, tensor in net.state_dict().items())
    # Both survive another conversion, and each can be taken alone.
    export.convert(tmp_path / "both.pth", tmp_path / "again.pth")
    again = torch.load(tmp_path / "again.pth", weights_only=True)
    assert all(torch.equal(again[group][name], tensor) for group in content for name, tensor in content[group].items())
    export.convert(tmp_path / "both.pth", tmp_path / "raw.safetensors", key="params")
    assert checkpoint.load(tmp_path / "raw.safetensors").weights_sha256 == checkpoint.load(run, "raw").weights_sha256
    export.convert(run, tmp_path / "one.pth", key="raw")
    one = torch.load(tmp_path / "one.pth", weights_only=True)
    assert all(torch.equal(one[group]["conv_hr.bias"], raw.state_dict()["conv_hr.bias"]) for group in one)


@pytest.mark.parametrize("name", zoo.CONFIGS)
def test_a_pth_file_is_read_again_as_it_was(tmp_path, name):
    net = saved(tmp_path / "m.safetensors", zoo.CONFIGS[name])
    export.convert(tmp_path / "m.safetensors", tmp_path / "m.pth")
    found = checkpoint.load(tmp_path / "m.pth")
    assert found.weights_sha256 == checkpoint.load(tmp_path / "m.safetensors").weights_sha256
    x = picture(1, 9, 10)
    with torch.no_grad():
        assert torch.equal(checkpoint.build(found)(x), net(x))


def test_the_details_layout_is_srresnets_alone(source, tmp_path):
    export.convert(source, tmp_path / "m.pth", layout="details")
    keys = set(torch.load(tmp_path / "m.pth", weights_only=True)["params"])
    assert {"body1.0.conv1.weight", "body2.0.conv2.bias"} <= keys
    assert not any(key.startswith("body.") for key in keys)
    assert checkpoint.load(tmp_path / "m.pth").weights_sha256 == checkpoint.load(source).weights_sha256
    saved(tmp_path / "r.safetensors", CONFIGS["rrdbnet"])
    with pytest.raises(UserError, match="layout details is SRResNet's, and this is rrdbnet"):
        export.convert(tmp_path / "r.safetensors", tmp_path / "r.pth", layout="details")


def test_a_catalogue_entry_has_its_thirteen_keys(source, tmp_path):
    said = export.convert(
        source,
        tmp_path / "e.json",
        author="A",
        license="MIT",
        description="D",
        date="2026-05-31",
        tags=["photo"],
        urls=["https://example.org/m"],
    )
    entry = json.loads((tmp_path / "e.json").read_text())
    required = ["name", "author", "license", "tags", "description", "date", "architecture", "size", "scale", "inputChannels"]
    required += ["outputChannels", "resources", "images"]
    assert list(entry)[:13] == required
    assert entry | {"resources": 0} == {
        "name": "My model",
        "author": "A",
        "license": "MIT",
        "tags": ["photo"],
        "description": "D",
        "date": "2026-05-31",
        "architecture": "sr-res-net",
        "size": ["6nf", "2nb"],
        "scale": 4,
        "inputChannels": 3,
        "outputChannels": 3,
        "resources": 0,
        "images": [],
        "trainingIterations": 300,
        "trainingBatchSize": 8,
        "trainingHRSize": 128,
        "trainingOTF": True,
    }
    (resource,) = entry["resources"]
    assert resource == {
        "platform": "pytorch",
        "type": "safetensors",
        "size": source.stat().st_size,
        "sha256": files.sha256_file(source),
        "urls": ["https://example.org/m"],
    }
    assert "its id there is the file's name: 4x-My-model.json" in said
    assert not any("still empty" in line for line in said)
    export.convert(source, tmp_path / "m.pth")
    said = export.convert(tmp_path / "m.pth", tmp_path / "4x-m.json")
    entry = json.loads((tmp_path / "4x-m.json").read_text())
    assert (entry["license"], entry["resources"][0]["type"]) == (None, "pth")
    assert "still empty: give --author, --license, --description, --url" in said
    assert not any("its id" in line for line in said)


def test_a_card_says_what_the_model_is_and_what_it_reached(source, tmp_path):
    table = "| model | PSNR |\n|---|---|\n| mine | 26.1 |"
    export.convert(source, tmp_path / "README.md", license="Apache-2.0", title='A "quoted" title', tags=["photo"], table=table)
    text = (tmp_path / "README.md").read_text()
    _, front, body = text.split("---\n", 2)
    values = {key: json.loads(value) for key, value in (line.split(": ", 1) for line in front.strip().splitlines())}
    assert (values["license"], values["pipeline_tag"], values["library_name"]) == ("apache-2.0", "image-to-image", "wildsr")
    assert {"super-resolution", "photo", "srresnet", "x4"} <= set(values["tags"])
    yaml = pytest.importorskip("yaml")
    assert yaml.safe_load(front) == values
    for part in (
        '# A "quoted" title',
        table,
        checkpoint.load(source).weights_sha256,
        files.sha256_file(source),
        "recipe: quick",
        "seed: 1",
    ):
        assert part in body
    for part in (
        "steps: 300",
        "degradation: two-order",
        '{"name": "dropout", "p": 0.5}',
        f'wildsr.load("{source.name}")',
        "4,623 parameters",
    ):
        assert part in body
    assert f'wildsr.load("{source.name}")' in text
    assert f"wildsr upscale photo.jpg --model {source.name}\n" in text
    export.convert(Path("default"), tmp_path / "default.md")  # what comes with wildsr needs no name
    assert "wildsr.load()" in (tmp_path / "default.md").read_text()
    assert "wildsr upscale photo.jpg\n" in (tmp_path / "default.md").read_text()
    export.convert(source, tmp_path / "bare.md")
    assert "Not measured yet." in (tmp_path / "bare.md").read_text()
    assert "started from" not in (tmp_path / "bare.md").read_text()
    found = checkpoint.load(source)
    found.metadata.update(images_seen=1600, init={"weights_sha256": "0123abcd", "weights_key": "ema"})
    checkpoint.save(tmp_path / "early.safetensors", found)
    export.convert(tmp_path / "early.safetensors", tmp_path / "early.md")
    for line in ("- steps: 200 of 300\n", "- started from: weights_sha256 `0123abcd` (ema)\n"):
        assert line in (tmp_path / "early.md").read_text()


def test_what_must_not_be_overwritten_is_not(source, tmp_path):
    before = source.read_bytes()
    with pytest.raises(UserError, match="is the input and would be overwritten"):
        export.convert(source, source, overwrite=True)
    link = tmp_path / "link.safetensors"
    link.symlink_to(source)
    with pytest.raises(UserError, match="is the input and would be overwritten"):
        export.convert(source, link, overwrite=True)
    run = tmp_path / "run"
    run.mkdir()
    saved(run / "model.safetensors", CONFIGS["srresnet"])
    saved(run / "raw.safetensors", CONFIGS["srresnet"], key="raw")
    for name in ("model", "raw"):
        with pytest.raises(UserError, match="is the input and would be overwritten"):
            export.convert(run, run / f"{name}.safetensors", overwrite=True)
    (tmp_path / "there.md").write_text("mine")
    with pytest.raises(UserError, match=r"there\.md: exists: name another file, or use --overwrite"):
        export.convert(source, tmp_path / "there.md")
    assert (tmp_path / "there.md").read_text() == "mine"
    export.convert(source, tmp_path / "there.md", overwrite=True)
    assert (tmp_path / "there.md").read_text() != "mine"
    assert source.read_bytes() == before


@pytest.mark.parametrize(
    ("target", "options", "words"),
    [
        ("m.bin", {}, r"m\.bin: what to write is told by the ending: use \.safetensors \(flat weights.*\.md"),
        ("m", {}, "told by the ending"),
        ("m.pth", {"dtype": "fp61"}, "unknown dtype 'fp61': did you mean 'fp16'"),
        ("m.pth", {"layout": "detail"}, "unknown layout 'detail': did you mean 'details'"),
        ("m.onnx", {"opset": 17}, "opset = 17: use 18 to 23"),
        ("m.md", {"dtype": "fp16"}, r"m\.md: --dtype is for \.safetensors, \.pth, \.onnx, \.pt2: leave it out"),
        ("m.safetensors", {"layout": "details"}, r"--layout is for \.pth: leave it out"),
        ("m.pth", {"opset": 19}, r"--opset is for \.onnx: leave it out"),
        ("m.json", {"table": "x"}, r"--table is for \.md: leave it out"),
        ("m.pt2", {"tags": ["x"]}, r"--tag is for .*\.md: leave it out"),
        ("m.md", {"date": "2026-05-31"}, r"--date is for \.safetensors, \.json: leave it out"),
        ("m.onnx", {"urls": ["x"]}, r"--url is for \.json, \.md: leave it out"),
        ("m.safetensors", {"images": ["x"]}, r"--image is for \.json: leave it out"),
        ("m.json", {"date": "31.5.2026"}, "date '31.5.2026': use yyyy-mm-dd"),
        ("m.pth", {"key": "params"}, "holds no weights called 'params'"),
        ("folder.pth", {}, r"folder\.pth: a folder"),
    ],
)
def test_mistakes_are_shown_with_their_mend(source, tmp_path, target, options, words):
    (tmp_path / "folder.pth").mkdir()
    with pytest.raises(UserError, match=words):
        export.convert(source, tmp_path / target, **options)
    assert sorted(one.name for one in tmp_path.iterdir()) == sorted(["folder.pth", source.name])


@pytest.mark.parametrize("ending", ["safetensors", "pth", "json", "md"])
def test_a_target_is_whole_or_absent(source, tmp_path, monkeypatch, ending):
    real = builtins.open

    def full(path, mode="r", *args, **kwargs):
        if str(path).endswith(".partial") and "+" in mode:
            raise OSError(28, "No space left on device", str(path))
        return real(path, mode, *args, **kwargs)

    monkeypatch.setattr(builtins, "open", full)
    with pytest.raises(OSError, match="No space"):
        export.convert(source, tmp_path / f"new.{ending}")
    assert [one.name for one in tmp_path.iterdir()] == [source.name]


def test_names_that_are_no_text_are_written_as_what_can_be_read(tmp_path):
    odd = tmp_path / "a 'b'\n\udcff.safetensors"
    saved(odd, CONFIGS["srresnet"])
    for ending in ("safetensors", "json", "md"):
        export.convert(odd, tmp_path / f"new.{ending}")
    assert json.loads((tmp_path / "new.json").read_text())["name"] == "a 'b'\n?"
    assert export.describe(odd)["scale"] == 4


def test_our_files_are_described_for_a_stranger(source):
    found = export.describe(source)
    assert found | {"file_metadata": 0} == {
        **RECIPE,
        "file": str(source),
        "format": "safetensors",
        "bytes": source.stat().st_size,
        "file_sha256": files.sha256_file(source),
        "architecture": "srresnet",
        "network": CONFIGS["srresnet"].model_dump(mode="json"),
        "size": "6 channels, 2 blocks",
        "scale": 4,
        "parameters": 4623,
        "dtype": "float32",
        "weights_key": "ema",
        "weights_keys": ["ema"],
        "weights_sha256": checkpoint.load(source).weights_sha256,
        "receptive_radius": 7,
        "tiles": "equal to the whole picture, with an overlap of 7",
        "tiles_exact": True,
        "multiple_of": 1,
        "opens_in": ["wildsr"],
        "other_programs": "spandrel knows no SRResNet: convert to .onnx for other programs",
        "file_metadata": 0,
    }
    json.dumps(found)


def test_files_of_others_are_described_too(tmp_path):
    config = SwinIRConfig(embed_dim=8, depths=(2,), heads=(2,), window=4, img_size=16)
    weights = dict(networks.create(config).state_dict())
    torch.save({"params": weights, "params_ema": weights}, tmp_path / "s.pth")
    found = export.describe(tmp_path / "s.pth")
    assert (found["architecture"], found["weights_key"], found["weights_keys"]) == ("swinir", "params_ema", ["params_ema", "params"])
    assert (found["receptive_radius"], found["tiles_exact"], found["multiple_of"]) == ("whole picture", False, 4)
    assert "ComfyUI" in found["opens_in"]
    assert found["parameters"] == sum(one.numel() for one in networks.create(config).parameters())
    assert export.describe(tmp_path / "s.pth", key="params")["weights_key"] == "params"


def test_files_that_nothing_can_use_are_described_with_the_reason(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "spandrel", None)
    torch.save({"params": {"strange.weight": torch.zeros(3, 4, dtype=torch.float16)}}, tmp_path / "x.pth")
    found = export.describe(tmp_path / "x.pth")
    assert (found["architecture"], found["usable"], found["parameters"], found["dtype"]) == ("unknown", False, 12, "float16")
    assert "strange.weight" in found["why"]
    assert "pip install 'wildsr[spandrel]'" in found["why"]
    one = CompactConfig(channels=6, blocks=2)
    weights = dict(networks.create(one).state_dict()) | {"body.6.weight": torch.zeros(3, 6, 3, 3), "body.6.bias": torch.zeros(3)}
    torch.save(weights, tmp_path / "x1.pth")
    found = export.describe(tmp_path / "x1.pth")
    assert (found["usable"], "compact ×1" in found["why"]) == (False, True)
    for name in ("absent.pth", "half.pth"):
        if name == "half.pth":
            (tmp_path / name).write_bytes((tmp_path / "x.pth").read_bytes()[:300])
        with pytest.raises(UserError, match=name):
            export.describe(tmp_path / name)
