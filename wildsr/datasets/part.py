"""What every place of pictures has in common."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt8

from wildsr.errors import UserError, first_few


@dataclass(frozen=True)
class Record:
    """One picture, examined: its size in pixels and the SHA-256 of its file (of its pixels, in a packed file), or what is wrong with it."""

    path: str
    size: int
    modified: int
    sha256: str
    width: int
    height: int
    problem: str | None = None


class Part(ABC):
    """Pictures of one kind of place, by number."""

    records: Sequence[Record] = ()
    """What is known of the pictures before any of them is decoded; empty where that is nothing."""
    hashes: Sequence[str]
    """What the fingerprint is made of."""
    row_groups: Sequence[tuple[int, int]] = ()
    """(pictures, bytes) of what is read at once, in order; empty where each picture is read by itself."""

    @abstractmethod
    def __len__(self) -> int:
        """How many pictures."""

    @abstractmethod
    def read(self, i: int) -> UInt8[np.ndarray, "3 h w"]:
        """Picture i; the array may be a view on a file, and must not be changed. Raises UserError naming what cannot be read."""

    @abstractmethod
    def name(self, i: int) -> str:
        """What picture i is called in errors."""

    @abstractmethod
    def check(self) -> Iterator[Record]:
        """Reads every picture whole; one that cannot be used has its `problem` in the record."""

    @abstractmethod
    def to_json(self) -> list[dict[str, Any]]:
        """Plain values that spare work when the same pictures are opened again."""

    def hold(self, groups: Sequence[int]) -> None:  # noqa: B027 (most places have nothing to hold)
        """Starts to read these row groups and keeps them at hand, until others are asked for."""


def require_sound(records: Sequence[Record], smallest: int) -> None:
    """Raises UserError with a count and the names when a picture is unreadable or has a side below `smallest` pixels."""
    problems = [record.problem for record in records if record.problem]
    problems += [
        too_small(record.path, record.width, record.height, smallest)
        for record in records
        if not record.problem and min(record.width, record.height) < smallest
    ]
    if problems:
        raise UserError(f"{len(problems)} of {len(records)} pictures cannot be used (remove or mend them): {first_few(problems)}")


def too_small(name: str, width: int, height: int, smallest: int) -> str:
    """The complaint about a picture that is smaller than the HR patch."""
    return f"{name}: {width}×{height} is smaller than the HR patch of {smallest}×{smallest}"
