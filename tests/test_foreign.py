"""Community models through spandrel, with a stand-in for it: it needs torchvision, which has no build for every PyTorch."""

import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from wildsr import files, jobs, upscale
from wildsr.errors import UserError


class ImageModelDescriptor:
    """spandrel's class of this name, as far as it is used: a callable for (B, C, H, W) in [0, 1] that knows its scale."""

    def __init__(self, channels: int = 3):
        self.scale, self.input_channels, self.output_channels = 2, channels, 3
        self.architecture = SimpleNamespace(name="ESRGAN")
        self.training = True

    def eval(self):
        self.training = False
        return self

    def __call__(self, lr: torch.Tensor) -> torch.Tensor:
        assert not self.training
        assert torch.is_inference_mode_enabled()
        return lr.repeat_interleave(2, -1).repeat_interleave(2, -2) * 1.5


@pytest.fixture
def spandrel(monkeypatch):
    """A stand-in module; its `found` is what a file holds, or the error that opening it raises."""
    module = ModuleType("spandrel")
    module.ImageModelDescriptor = ImageModelDescriptor
    module.found = ImageModelDescriptor()

    class ModelLoader:
        def __init__(self, device):
            assert device == torch.device("cpu")

        def load_from_file(self, path):
            if isinstance(module.found, Exception):
                raise module.found
            return module.found

    module.ModelLoader = ModelLoader
    monkeypatch.setitem(sys.modules, "spandrel", module)
    return module


@pytest.fixture
def path(tmp_path):
    """A file of weights that no network here has."""
    save_file({"strange.weight": torch.zeros(3, 3)}, tmp_path / "strange.safetensors")
    return tmp_path / "strange.safetensors"


def test_a_model_that_spandrel_opens_is_a_contender(spandrel, path):
    (found,) = jobs.contenders(path, 4, "cpu")
    assert (found.name, found.scale, found.weights_key, found.weights_sha256) == ("strange", 2, "ESRGAN", files.sha256_file(path))
    lr = torch.rand(1, 3, 5, 6)
    assert torch.equal(found.upscale(lr), (lr.repeat_interleave(2, -1).repeat_interleave(2, -2) * 1.5).clamp(0, 1))


def test_without_spandrel_the_extra_is_named(monkeypatch, path):
    monkeypatch.setitem(sys.modules, "spandrel", None)
    with pytest.raises(UserError, match=r"strange\.safetensors: not a network known here; .*pip install 'wildsr\[spandrel\]'"):
        jobs.contenders(path, 4, "cpu")


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (RuntimeError("unsupported"), r"nor one that spandrel opens \(RuntimeError: unsupported\)"),
        (
            SimpleNamespace(architecture=SimpleNamespace(name="LaMa"), input_channels=3, output_channels=3),
            "LaMa does not make one RGB picture",
        ),
        (ImageModelDescriptor(channels=4), "ESRGAN does not make one RGB picture"),
    ],
    ids=["unknown", "no model of single pictures", "four channels"],
)
def test_what_cannot_be_used_is_refused(spandrel, path, found, words):
    spandrel.found = found
    with pytest.raises(UserError, match=words):
        upscale.load_foreign(path, device="cpu")
