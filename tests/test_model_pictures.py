"""How the shipped models' pictures are prepared: test pictures are noticed whatever was done to them, and pieces cover the whole."""

import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import photograph
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "models"))
import pictures


@pytest.mark.parametrize("way", [None, *Image.Transpose])
def test_a_turned_and_smaller_copy_of_a_test_picture_is_noticed(way):
    test = photograph(200, 3)
    copy = test.resize((131, 131), Image.Resampling.BICUBIC)
    copy = copy if way is None else copy.transpose(way)
    others = np.stack([pictures.thumbnail(turned) for turned in pictures.turns(test)])
    assert len(others) == 8
    assert (others @ pictures.thumbnail(copy)).max() > pictures.ALIKE
    assert (others @ pictures.thumbnail(photograph(200, 4))).max() < pictures.ALIKE


@pytest.mark.parametrize(("size", "factor"), [((1280, 800), 2), ((3000, 2000), 2), ((3004, 2000), 3), ((6000, 4000), 4)])
def test_photographs_shrink_at_least_twofold(size, factor):
    small = pictures.shrink(Image.new("RGB", size))
    assert small.size == (size[0] // factor, size[1] // factor)


def test_pieces_cover_the_picture_and_flat_ones_go():
    wide = Image.fromarray(np.random.default_rng(0).integers(0, 256, (800, 1300, 3), dtype=np.uint8))
    pieces = pictures.cut(wide)
    assert len(pieces) == 6
    assert sum(piece.width * piece.height for piece in pieces) == 800 * 1300
    assert min(min(piece.size) for piece in pieces) >= pictures.PIECE
    wide.paste((90, 90, 90), (0, 0, 650, 800))
    assert len(pictures.cut(wide)) == 4
