"""The models that come with wildsr: found by name wherever a model is asked for, small, and with cards that speak of these very weights."""

from pathlib import Path

import numpy as np
import pytest
from conftest import photograph
from PIL import Image

from wildsr import checkpoint, export, files, jobs, load
from wildsr.errors import UserError

NAMES = list(checkpoint.SHIPPED)


def test_there_is_a_default():
    assert checkpoint.DEFAULT in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_model_is_small_and_its_card_speaks_of_it(name):
    path = checkpoint.SHIPPED[name]
    assert path.stat().st_size <= 8_000_000
    told = export.describe(name)
    card = files.read_text(path.with_suffix(".md"))
    assert told["card"] == str(path.with_suffix(".md"))
    assert told["tiles_exact"]
    for fact in (told["weights_sha256"], told["file_sha256"], told["code_version"], f"{told['parameters']:,} parameters", "bicubic"):
        assert fact in card, fact
    assert told["file_metadata"]["modelspec.license"] == "Apache-2.0"


def test_the_name_will_do_wherever_a_model_is_asked_for(tmp_path):
    model, named = load(), load(checkpoint.DEFAULT)
    assert (model.scale, model.weights_sha256) == (4, named.weights_sha256)
    picture = np.asarray(photograph(24, 3))
    assert model(picture).shape == (96, 96, 3)
    (contender,) = jobs.measuring.contenders(checkpoint.DEFAULT, 0)
    assert (contender.name, contender.weights_sha256) == (checkpoint.DEFAULT, model.weights_sha256)
    export.convert(Path(checkpoint.DEFAULT), tmp_path / "copy.safetensors")
    copy = checkpoint.load(tmp_path / "copy.safetensors")
    assert copy.metadata["recipe"] == checkpoint.load(checkpoint.DEFAULT).metadata["recipe"]


def test_there_is_one_for_twice_the_size():
    model = load("default-x2")
    assert (model.scale, model(np.asarray(photograph(24, 3))).shape) == (2, (48, 48, 3))


def test_a_path_of_that_name_is_meant_by_its_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "default").mkdir()
    assert checkpoint.model_file("default") == checkpoint.SHIPPED["default"]
    with pytest.raises(UserError, match=r"default: no model\.safetensors in this folder"):
        checkpoint.model_file(tmp_path / "default")
    with pytest.raises(UserError, match=r"defualt: no such model file \(models that come with wildsr: default"):
        checkpoint.model_file("defualt")


def test_upscale_asks_for_nothing_but_a_picture(wildsr, tmp_path):
    photograph(20, 1).save(tmp_path / "photo.png")
    status, out, err = wildsr("upscale", tmp_path / "photo.png")
    assert (status, err) == (0, "")
    assert "photo_x4.png" in out
    with Image.open(tmp_path / "photo_x4.png") as larger:
        assert larger.size == (80, 80)
