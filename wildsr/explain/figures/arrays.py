"""Arrays of `wildsr explain`, read and checked as far as figures show them: EXPLAIN/arrays/KIND/MODEL/NAME.npz."""

import json
import re
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from wildsr import files
from wildsr.errors import UserError

_LAYOUT: dict[str, dict[str, str]] = {
    "channels": {
        "feature": "c h w",
        "map": "c h w",
        "scores": "c",
        "drops": "c",
        "rank": "",
        "gini_scores": "",
        "gini_drops": "",
        "index": "c+1",
        "saliency": "c+1",
        "reverse": "c+1",
        "random": "orders c+1",
    },
    "lam": {"signed": "h w", "diffusion": "", "window": "4", "lr": "3 h w"},
    "ddr": {
        "scores": "n d",
        "labels": "n",
        "explained": "d",
        "chi": "3",
        "chi_tsne": "s",
        "embeddings": "s n 2",
        "farthest": "",
    },
    "srga": {"names": "m", "values": "m"},
    "cosine": {"names": "m", "values": "m"},
}
"""The arrays that figures read, and their axes: equal names are equal sizes within a file, numbers are sizes."""
_TEXTS = {"labels", "farthest", "names"}


class Arrays:
    """One file of EXPLAIN/arrays. An array is read when it is asked for, for pictures' features are large.

    `model`, `site`, `image`: as it says itself (`image` is the file's stem where it says nothing). `channels`: how many the site has, for
    the kind "channels"."""

    def __init__(self, path: Path) -> None:
        """Raises UserError naming the file where it is damaged."""
        self.path, self.kind, self._sizes = path, path.parent.parent.name, {str(n): n for n in range(10)}
        about = str(self._read("about"))
        try:
            self.about: dict[str, Any] = json.loads(about)
            self.model, self.site = str(self.about["model"]), str(self.about["site"])
        except (ValueError, KeyError, TypeError):
            raise self.damaged("its `about` does not say which model and site it is of") from None
        self.image = str(self.about.get("image") or path.stem)
        if self.kind == "channels":
            self.channels = len(self["scores"])

    def __getitem__(self, name: str) -> np.ndarray:
        """An array. Raises UserError naming the file where it is missing, or of another shape or type than it should be."""
        array, axes = self._read(name), _LAYOUT[self.kind][name].split()
        if array.dtype.kind not in ("U" if name in _TEXTS else "fiu"):
            raise self.damaged(f"{name!r} holds {array.dtype}")
        sizes = [(axis.removesuffix("+1"), size - axis.endswith("+1")) for axis, size in zip(axes, array.shape, strict=False)]
        if array.ndim != len(axes) or any(self._sizes.setdefault(axis, size) != size for axis, size in sizes):
            raise self.damaged(f"{name!r} has the shape {array.shape}, not ({', '.join(axes)}) as the others have it")
        return array

    def number(self, name: str) -> float:
        """An array of no axes."""
        return float(self[name])

    @property
    def step(self) -> int | None:
        """The training step of a snapshot; None for what is not one."""
        found = re.fullmatch(r"step-(\d+)", self.path.stem)
        return int(found[1]) if found else None

    def has(self, *names: str) -> bool:
        """Whether arrays are there: ablations are only where they were asked for. Raises UserError naming a damaged file."""
        return set(names) <= set(self._opened(lambda file: file.files))

    def damaged(self, how: str) -> UserError:
        """What to raise where the arrays are not what they should be."""
        return UserError(f"{self.path}: the arrays are damaged ({how}): delete the file and run wildsr explain again")

    def _read(self, name: str) -> np.ndarray:
        if not self.has(name):
            raise self.damaged(f"it has no {name!r}")
        return self._opened(lambda file: file[name])

    def _opened(self, read: Callable[[Any], Any]) -> Any:
        try:
            # NumPy leaves a file open that it cannot read.
            with open(self.path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
                return read(file)
        except FileNotFoundError:
            raise UserError(f"{self.path}: no such file") from None
        except (OSError, ValueError, EOFError, TypeError, AttributeError, zipfile.BadZipFile, zlib.error):
            raise self.damaged("not a whole npz file") from None


def arrays_of(folder: Path, kind: str) -> dict[str, dict[str, Arrays]]:
    """Model -> NAME -> what it left of a kind; models in the order of rows.jsonl, names in that of the alphabet."""
    rows = folder / "rows.jsonl"
    order = list(dict.fromkeys(str(row.get("model")) for row in files.read_jsonl(rows))) if rows.is_file() else []
    found: dict[str, dict[str, Arrays]] = {}
    for path in sorted((folder / "arrays" / kind).glob("*/*.npz")):
        one = Arrays(path)
        found.setdefault(one.model, {})[path.stem] = one
    return {model: found[model] for model in sorted(found, key=lambda model: (order + list(found)).index(model))}
