"""A file of `wildsr explain`, read and checked: arrays in npz, and no pickles."""

import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from wildsr.errors import UserError


class Stored:
    """One npz file: its arrays, read when they are asked for, and what it says about itself."""

    def __init__(self, path: Path) -> None:
        """Raises UserError naming a file that is damaged or does not say what it holds."""
        self.path = path
        try:
            about = json.loads(str(self.array("about")))
        except json.JSONDecodeError:
            about = None
        if not isinstance(about, dict):
            raise UserError(f"{path}: its 'about' is no JSON object: make it anew with wildsr explain")
        self.about: dict[str, Any] = about

    def holds(self, *names: str) -> bool:
        """Whether all these arrays are there: which are depends on what was asked for."""
        with np.load(self.path, allow_pickle=False) as file:
            return set(names) <= set(file.files)

    def text(self, key: str) -> str:
        """A fact from `about` as text; empty where it is missing or null."""
        value = self.about.get(key)
        return "" if value is None else str(value)

    def array(self, name: str, *shape: int | None) -> np.ndarray:
        """An array; `shape` says how long it must be along each dimension (None: any length). Raises UserError naming the file."""
        try:
            # np.load leaves a damaged file open that it opened itself.
            with open(self.path, "rb") as handle, np.load(handle, allow_pickle=False) as file:
                found = np.asarray(file[name])
        except KeyError:
            raise UserError(f"{self.path}: holds no array {name!r}: make it anew with wildsr explain") from None
        # np.load calls whatever is no zip file a pickle, which is no help.
        except (OSError, ValueError, TypeError, EOFError, AttributeError, zipfile.BadZipFile, zlib.error, NotImplementedError):
            raise UserError(f"{self.path}: a damaged npz file: delete it and run wildsr explain again") from None
        if len(shape) != found.ndim or any(want not in (None, have) for want, have in zip(shape, found.shape, strict=True)):
            asked = " × ".join("any" if want is None else str(want) for want in shape) or "one number"
            raise UserError(f"{self.path}: {name!r} is {' × '.join(map(str, found.shape)) or 'one number'} and should be {asked}")
        return found

    def numbers(self, name: str, *shape: int | None, kind: type = np.float64) -> np.ndarray:
        """An array as float64, or as numbers of another kind."""
        found = self.array(name, *shape)
        if found.dtype.kind not in "fiub":
            raise UserError(f"{self.path}: {name!r} holds no numbers")
        return found.astype(kind)

    def number(self, name: str) -> float:
        """An array of no dimension."""
        return float(self.numbers(name))

    def words(self, name: str) -> list[str]:
        """A list of texts."""
        return [str(word) for word in self.array(name, None)]

    def picture(self, name: str) -> np.ndarray:
        """A picture, (h, w, 3) uint8."""
        return self.numbers(name, 3, None, None).clip(0, 255).astype(np.uint8).transpose(1, 2, 0)
