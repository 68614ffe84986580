"""Carrying a run to another machine in small files, and going on there."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import carry

from wildsr.train import train


class BreakOffError(Exception):
    pass


def fail(_):
    raise BreakOffError


@pytest.fixture
def stopped(tiny, pictures, tmp_path):
    """A run that broke off at step 3 of 6, saved at 2, and the parts that it is carried in."""
    with pytest.raises(BreakOffError):
        train(tiny, [pictures], tmp_path / "here", validate=fail)
    return carry.pack(tmp_path / "here", tmp_path / "parts", limit=8192)


def test_a_carried_run_goes_on_and_ends_as_one_that_stayed(stopped, tiny, pictures, tmp_path):
    assert len(stopped) > 2
    assert all(part.stat().st_size <= 8192 for part in stopped)
    carry.unpack(tmp_path / "parts", tmp_path / "there")
    carried = train(tiny, [pictures], tmp_path / "there")
    assert carried.read_bytes() == train(tiny, [pictures], tmp_path / "here").read_bytes()


def test_equal_runs_give_equal_parts_and_older_parts_go(stopped, tmp_path):
    before = {part.name: part.read_bytes() for part in stopped}
    (tmp_path / "parts" / "run.tar.999").write_bytes(b"of a longer run")
    assert {part.name: part.read_bytes() for part in carry.pack(tmp_path / "here", tmp_path / "parts", limit=8192)} == before
    assert sorted(path.name for path in (tmp_path / "parts").glob("run.tar.*")) == sorted(before)


def test_what_cannot_be_carried_is_said(stopped, tmp_path):
    stopped[1].write_bytes(stopped[1].read_bytes()[:-1] + b"?")
    with pytest.raises(SystemExit, match=r"run\.tar\.001: missing or damaged"):
        carry.unpack(tmp_path / "parts", tmp_path / "there")
    stopped[1].unlink()
    with pytest.raises(SystemExit, match=r"run\.tar\.001: missing or damaged"):
        carry.unpack(tmp_path / "parts", tmp_path / "there")
    with pytest.raises(SystemExit, match=r"here: is there already and not empty"):
        carry.unpack(tmp_path / "parts", tmp_path / "here")
    with pytest.raises(SystemExit, match=r"run\.json: missing or damaged"):
        carry.unpack(tmp_path, tmp_path / "there")
    with pytest.raises(SystemExit, match="no run with a saved state"):
        carry.pack(tmp_path / "parts", tmp_path / "elsewhere")
