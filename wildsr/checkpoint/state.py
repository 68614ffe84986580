"""The state of a training run, for going on where it stopped."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from wildsr import files
from wildsr.checkpoint.reading import read_safetensors
from wildsr.checkpoint.writing import write_safetensors


def save_state(folder: Path, step: int, groups: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Saves the state of a run after `step` steps as folder/STEP/GROUP.safetensors; the folder takes its name when all of it is written.

    Older states are removed afterwards, so that at every moment the newest named one is whole."""
    with files.atomic_directory(folder / f"{step:08d}") as new:
        for group, tensors in groups.items():
            write_safetensors(new / f"{group}.safetensors", tensors)
    for old in [*_states(folder)[:-1], *folder.glob(".*.partial")]:
        shutil.rmtree(old)


def load_state(folder: Path) -> tuple[int, dict[str, dict[str, Tensor]]] | None:
    """The newest state: steps done and tensors by group; None when nothing was saved yet."""
    states = _states(folder)
    if not states:
        return None
    return int(states[-1].name), {path.stem: read_safetensors(path)[0] for path in sorted(states[-1].glob("*.safetensors"))}


def _states(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if path.name.isdigit())
