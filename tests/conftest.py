"""Shared by the tests: small pictures in folders, and a small training configuration."""

import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from jaxtyping import install_import_hook
from PIL import Image

# The shapes that stand in the types are checked here, and only here.
with install_import_hook("wildsr", "shapes.check"):
    import wildsr.train
    import wildsr.upscale  # noqa: F401

from wildsr import checkpoint, cli
from wildsr.degrade import TwoOrder
from wildsr.networks import SRResNet, SRResNetConfig
from wildsr.train import TrainConfig

# Two tests at once compute in one thread each, and so do the processes that they start.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))


def photograph(side: int, seed: int) -> Image.Image:
    """A smooth, coloured picture with edges: enough structure to learn something from."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    waves = [127 + 100 * np.sin(2 * np.pi * (rng.uniform(1, 6) * x + rng.uniform(1, 6) * y)) for _ in range(3)]
    picture = np.stack(waves, -1)
    picture[side // 4 : side // 2, side // 3 : side // 2] = rng.uniform(0, 255, 3)
    return Image.fromarray(picture.clip(0, 255).astype(np.uint8))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of three pictures of 112×112."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for seed in range(3):
        photograph(112, seed).save(folder / f"picture{seed}.png")
    return folder


@pytest.fixture
def tiny() -> TrainConfig:
    """A run of a few cheap steps that uses every part of training."""
    return TrainConfig(
        steps=6,
        batch_size=2,
        lr_patch=8,
        scale=2,
        network=SRResNetConfig(channels=4, blocks=1),
        degradation=TwoOrder(canvas=96),
        learning_rate=1e-3,
        save_every=2,
        snapshot_every=4,
        val_every=3,
        log_every=1,
        precision="fp32",
    )


@pytest.fixture(name="wildsr")
def command(capsys, monkeypatch, tmp_path_factory):
    """Runs the command line in this process: (exit status, standard output, standard error)."""
    handler = signal.getsignal(signal.SIGTERM)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["wildsr", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit:
            cli.main()
        out, err = capsys.readouterr()
        return exit.value.code, out, err

    yield run
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    """A browser, started once for a file of tests."""
    from browser import start

    started = start(tmp_path_factory.mktemp("profile"))
    yield started
    started.quit()


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """A ×4 model file of random weights."""
    path = tmp_path_factory.mktemp("model") / "net.safetensors"
    config = SRResNetConfig(channels=4, blocks=1)
    checkpoint.save(path, checkpoint.Checkpoint(config, dict(SRResNet(config).state_dict()), "ema"))
    return path


def one_line(err):
    assert "Traceback" not in err
    lines = [line for line in err.strip().splitlines() if line.startswith("wildsr: ")]
    assert len(lines) == 1, err
    return lines[0]
