"""Community models through spandrel, with a stand-in for it: it needs torchvision, which has no build for every PyTorch."""

import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from wildsr import files, jobs, upscale
from wildsr.errors import UserError


class Network(nn.Module):
    """Nearest neighbours ×2, half again as bright, of 4 pixels around each; takes multiples of 4 from 8 on, one picture at a time."""

    def __init__(self):
        super().__init__()
        self.blur = nn.Conv2d(3, 3, 9, padding=4)
        self.seen: list[tuple[int, ...]] = []

    def forward(self, lr: torch.Tensor) -> torch.Tensor:
        assert not self.training
        assert lr.shape[0] == 1
        assert min(lr.shape[-2:]) >= 8
        assert all(side % 4 == 0 for side in lr.shape[-2:])
        self.seen.append(tuple(lr.shape[-2:]))
        return self.blur(lr).repeat_interleave(2, -1).repeat_interleave(2, -2) * 1.5


class ImageModelDescriptor:
    """spandrel's class of this name, as far as it is used."""

    def __init__(self, channels: int = 3, scale: int = 2):
        self.scale, self.input_channels, self.output_channels = scale, channels, 3
        self.architecture = SimpleNamespace(name="ESRGAN")
        self.supports_half, self.supports_bfloat16 = False, True
        self.size_requirements = SimpleNamespace(minimum=8, multiple_of=4, square=False)
        torch.manual_seed(0)
        self.model = Network()
        self._call_fn = lambda model, lr: model(lr)


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
    lr = torch.rand(1, 3, 8, 12)
    expected = spandrel.found.model(lr).clamp(0, 1)
    torch.testing.assert_close(found.upscale(lr), expected, atol=1e-6, rtol=0)
    assert not any(parameter.requires_grad for parameter in spandrel.found.model.parameters())


@pytest.mark.parametrize("size", [(8, 8), (9, 30), (3, 5), (1, 1), (1, 40)])
def test_sizes_that_a_network_does_not_take_are_filled_up_and_cut_off(spandrel, path, size):
    found = upscale.load(path, device="cpu")
    lr = torch.rand(2, 3, *size)
    sr = found(lr)
    assert sr.shape == (2, 3, 2 * size[0], 2 * size[1])
    assert sr.isfinite().all()
    assert set(spandrel.found.model.seen) == {tuple(-(-max(side, 8) // 4) * 4 for side in size)}
    torch.testing.assert_close(sr[1:], found(lr[1:]), atol=1e-6, rtol=0)


def test_its_radius_is_measured_and_its_tiles_are_exact(spandrel, path):
    found = upscale.load(path, device="cpu", tile=16)
    assert (found.architecture, found.network.grid, found.radius, found.overlap, found.exact) == ("ESRGAN", 4, 4, 4, True)
    lr = torch.rand(1, 3, 40, 56)
    torch.testing.assert_close(found(lr), spandrel.found.model(lr).clamp(0, 1), atol=1e-6, rtol=0)


def test_one_that_cannot_be_measured_gets_the_usual_overlap(spandrel, path):
    spandrel.found._call_fn = lambda model, lr: model(lr.float()).double()
    found = upscale.load(path, device="cpu", tile=16)
    assert (found.radius, found.overlap, found.exact) == (None, 64, False)


def test_what_it_computes_in_is_asked_for(spandrel, path, monkeypatch):
    monkeypatch.setattr("wildsr.devices.computes_bf16", lambda device: True)
    assert upscale.load(path, device="cpu", precision="auto").dtype == "bfloat16"
    spandrel.found.supports_bfloat16 = False
    assert upscale.load(path, device="cpu", precision="auto").dtype == "float32"
    with pytest.raises(UserError, match="ESRGAN does not compute in bf16: use --precision fp32"):
        upscale.load(path, device="cpu", precision="bf16")


def test_it_cannot_be_blended(spandrel, path):
    with pytest.raises(UserError, match="only networks known here can be blended"):
        upscale.load(path, device="cpu", blend=(path, 0.5))


def test_without_spandrel_the_extra_is_named(monkeypatch, path):
    monkeypatch.setitem(sys.modules, "spandrel", None)
    with pytest.raises(
        UserError, match=r"strange\.safetensors: not the weights of a network known here .*pip install 'wildsr\[spandrel\]'"
    ):
        jobs.contenders(path, 4, "cpu")


def test_what_spandrel_itself_lacks_is_named(monkeypatch, path, tmp_path):
    (tmp_path / "spandrel.py").write_text("import torchvision_that_is_not_there\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "spandrel", raising=False)
    with pytest.raises(UserError, match=r"\(spandrel is here, but not torchvision_that_is_not_there\)"):
        upscale.load(path, device="cpu")


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (RuntimeError("unsupported"), r"nor one that spandrel opens \(RuntimeError: unsupported\)"),
        (
            SimpleNamespace(architecture=SimpleNamespace(name="LaMa"), input_channels=3, output_channels=3),
            "LaMa does not make one RGB picture",
        ),
        (ImageModelDescriptor(channels=4), "ESRGAN does not make one RGB picture"),
        (ImageModelDescriptor(scale=1), r"ESRGAN does not enlarge \(scale 1\): use a model of scale 2 or more"),
    ],
    ids=["unknown", "no model of single pictures", "four channels", "restores"],
)
def test_what_cannot_be_used_is_refused(spandrel, path, found, words):
    spandrel.found = found
    with pytest.raises(UserError, match=words):
        upscale.load_foreign(path, device="cpu")
