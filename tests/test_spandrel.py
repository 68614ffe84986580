"""Files that we write, opened by spandrel itself: the same result. In a process of its own, for the stand-in of torchvision."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import zoo

from wildsr import checkpoint, export, networks
from wildsr.networks import CompactConfig, RCANConfig, RRDBNetConfig, SRResNetConfig, SwinIRConfig

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("spandrel") is None, reason="spandrel is not installed: pip install 'wildsr[spandrel]'"
)

SWINIR = {"embed_dim": 12, "depths": (2, 2), "heads": (2, 3), "window": 8, "img_size": 32}
CONFIGS = {
    "rrdbnet-x4": RRDBNetConfig(channels=8, blocks=2, growth=32, scale=4),
    "rrdbnet-x2": RRDBNetConfig(channels=8, blocks=2, growth=32, scale=2),
    "compact-x4": CompactConfig(channels=6, blocks=3, scale=4),
    "compact-x3": CompactConfig(channels=6, blocks=3, scale=3),
    "swinir-x4": SwinIRConfig(scale=4, **SWINIR),
    "swinir-x2": SwinIRConfig(scale=2, upsampler="pixelshuffle", **SWINIR),
    "swinir-x3": SwinIRConfig(scale=3, upsampler="pixelshuffledirect", **SWINIR),
    "rcan-x2": RCANConfig(channels=8, groups=2, blocks=2, reduction=4, scale=2),
    "rcan-x4": RCANConfig(channels=8, groups=2, blocks=2, reduction=4, scale=4),
}

UNOPENED = {
    "srresnet-x4": SRResNetConfig(channels=4, blocks=2),
    "swinir-without-masks-x4": SwinIRConfig(**{**SWINIR, "img_size": 8}),
}

SCRIPT = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import torchvision_stub
torchvision_stub.install()
import spandrel, torch
folder = Path(sys.argv[2])
x = torch.load(folder / "x.pt", weights_only=True)
said = {}
for path in sorted(folder.glob("*-x*.*")):
    try:
        model = spandrel.ModelLoader(device="cpu").load_from_file(path)
    except (spandrel.UnsupportedModelError, RuntimeError):
        said[path.name] = None
        continue
    assert isinstance(model, spandrel.ImageModelDescriptor)
    with torch.inference_mode():
        # The network itself: the descriptor clamps.
        torch.save(model.model.eval()(x), folder / f"{path.name}.out")
    said[path.name] = [model.architecture.id, model.scale, model.input_channels, model.output_channels, sorted(model.tags)]
(folder / "said.json").write_text(json.dumps(said))
"""


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """A folder of converted models with what spandrel made of them, and their networks."""
    folder = tmp_path_factory.mktemp("models")
    nets = {}
    for name, config in {**CONFIGS, **UNOPENED}.items():
        torch.manual_seed(5)
        nets[name] = net = networks.create(config).eval()
        source = folder / f"source {name}.safetensors"
        checkpoint.save(source, checkpoint.Checkpoint(config, dict(net.state_dict()), "ema"))
        for ending in ("safetensors", "pth"):
            export.convert(source, folder / f"{name}.{ending}")
        source.unlink()
    torch.save(torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(1)), folder / "x.pt")
    subprocess.run([sys.executable, "-c", SCRIPT, str(Path(zoo.__file__).parent), str(folder)], check=True, timeout=200)
    return folder, nets, json.loads((folder / "said.json").read_text())


@pytest.mark.parametrize("ending", ["safetensors", "pth"])
@pytest.mark.parametrize("name", CONFIGS)
def test_spandrel_computes_what_we_do(opened, name, ending):
    folder, nets, said = opened
    config = CONFIGS[name]
    architecture, scale, inputs, outputs, tags = said[f"{name}.{ending}"]
    assert (scale, inputs, outputs) == (config.scale, 3, 3)
    known = export.facts(config)
    assert architecture.lower() == known.catalogue
    if config.name == "swinir":  # which calls the number of unshuffled pixels a size
        tags.remove("1unshuf")
    assert tags == sorted(known.tags)
    with torch.inference_mode():
        ours = nets[name](torch.load(folder / "x.pt", weights_only=True))
    theirs = torch.load(folder / f"{name}.{ending}.out", weights_only=True)
    assert ours.std() > 0.02
    torch.testing.assert_close(theirs, ours, rtol=0, atol=1e-5)
    assert "spandrel" in export.describe(folder / f"{name}.{ending}")["opens_in"]


@pytest.mark.parametrize("ending", ["safetensors", "pth"])
@pytest.mark.parametrize("name", UNOPENED)
def test_what_spandrel_does_not_open_is_said_not_to_open(opened, name, ending):
    folder, _, said = opened
    assert said[f"{name}.{ending}"] is None
    assert export.describe(folder / f"{name}.{ending}")["opens_in"] == ["wildsr"]
