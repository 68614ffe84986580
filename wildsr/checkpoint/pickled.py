"""PyTorch's own files, read without trust: first what they name and claim, then their plain weights and nothing else."""

import math
import pickle
import warnings
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

from wildsr.errors import UserError

HALF = "damaged, or half a download"

_MAGIC = 0x1950A86A20F9469CFC6C
"""What PyTorch's files of before 2020 begin with."""

_SWELL = 4
"""How many times as large as the file its unpacked contents may be. PyTorch packs nothing; weights that someone packed shrink little."""

_SIZES = {
    "DoubleStorage": 8,
    "LongStorage": 8,
    "FloatStorage": 4,
    "IntStorage": 4,
    "HalfStorage": 2,
    "BFloat16Storage": 2,
    "ShortStorage": 2,
}
"""Bytes of a number in each kind of storage; 1 in all others."""


@dataclass
class _Claims:
    """What a pickle names and how many bytes of numbers it tells of, storage by storage."""

    names: set[str] = field(default_factory=set)
    storages: dict[str, int] = field(default_factory=dict)

    @property
    def suspicious(self) -> list[str]:
        """Names that no file of weights needs."""
        return sorted(name for name in self.names if name.split(".")[0] not in ("torch", "collections"))


class _Inert:
    """Stands in for whatever a pickle names. Calling it, filling it and setting its state does nothing."""

    origin = ""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __new__(cls, *_: Any, **__: Any) -> "_Inert":
        return object.__new__(cls)

    def __setstate__(self, _: Any) -> None:
        pass

    def __setitem__(self, _: Any, __: Any) -> None:
        pass

    def append(self, _: Any) -> None:
        """A list's."""

    def extend(self, _: Any) -> None:
        """A list's."""

    def add(self, _: Any) -> None:
        """A set's."""


# Python's own unpickler: the one in C gives as much memory as a pickle asks for.
class _Dry(pickle._Unpickler):  # pyright: ignore[reportAttributeAccessIssue]
    """Goes through a pickle without making or calling anything that it names, and writes down what that is."""

    def __init__(self, file: Any, claims: _Claims) -> None:
        super().__init__(file)
        self.claims = claims

    def find_class(self, module: str, name: str) -> type:
        self.claims.names.add(f"{module}.{name}")
        return type("_Named", (_Inert,), {"origin": name})

    def persistent_load(self, pid: Any) -> _Inert:
        kind, storage, key, _, count = pid[:5]
        if kind != "storage" or not isinstance(count, int) or count < 0:
            raise pickle.UnpicklingError("not a storage")
        # Names of another kind are an untyped storage's, which counts bytes.
        size = _SIZES.get(getattr(storage, "origin", ""), 1)
        self.claims.storages[str(key)] = max(count * size, self.claims.storages.get(str(key), 0))
        return _Inert()


def load_pickled(path: Path) -> Any:
    """What a .pth file holds: numbers, texts, lists, mappings and tensors. Nothing in it is run.

    Raises UserError for what is damaged, holds anything else, or claims more than the file has: before that much memory is taken."""
    size = path.stat().st_size
    try:
        with open(path, "rb") as file:
            if file.read(2) == b"PK":
                claims, room = _of_zip(path)
            else:
                file.seek(0)
                claims, room = _of_legacy(file, path), size
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    except Exception:  # Broken bytes meet the reader with whatever exception they happen to cause.
        raise UserError(f"{path}: {HALF} ({size:,} bytes)") from None
    if claims.suspicious:
        raise _refusal(path, claims)
    told = sum(claims.storages.values())
    if told > room:
        raise UserError(f"{path}: {HALF}: it tells of {told:,} bytes of weights, and has {room:,} bytes")
    try:
        with open(path, "rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old pickle protocols; what cannot be read is an error below
            # By name, PyTorch would judge a file by its ending.
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise _refusal(path, claims) from None
    except Exception:
        raise UserError(f"{path}: {HALF} ({size:,} bytes)") from None


def _refusal(path: Path, claims: _Claims) -> UserError:
    shown = ", ".join((claims.suspicious or sorted(claims.names))[:3])
    return UserError(f"{path}: refused: it holds more than plain weights ({shown}) and could run code when opened")


def _of_zip(path: Path) -> tuple[_Claims, int]:
    """Claims of a file as PyTorch writes them since 2020, a zip archive, and how many bytes its entries unpack to."""
    size = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        room = sum(entry.file_size for entry in archive.infolist())
        if room > _SWELL * size:
            raise UserError(f"{path}: refused: a file of {size:,} bytes that unpacks to {room:,}; files of weights are not packed")
        names = [name for name in entries if name.count("/") == 1]
        if any(name.endswith("/constants.pkl") for name in names):
            raise UserError(f"{path}: refused: a TorchScript program, which is code; a file of its weights alone (.pth) is needed")
        if any(name.endswith("/archive_format") for name in names):
            raise UserError(f"{path}: a torch.export program, made for other programs; its weights alone (.safetensors, .pth) are needed")
        pickles = [name for name in names if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise UserError(f"{path}: a zip archive, but not a file of weights that PyTorch can read")
        claims = _Claims()
        with archive.open(pickles[0]) as file:
            _Dry(file, claims).load()
    return claims, room


def _of_legacy(file: BinaryIO, path: Path) -> _Claims:
    """Claims of a file as PyTorch wrote them before: five pickles, one after the other, and then the numbers."""
    claims = _Claims()
    if _Dry(file, claims).load() != _MAGIC:
        if claims.suspicious:
            raise _refusal(path, claims)
        raise UserError(f"{path}: a Python pickle, but not a file of weights that PyTorch can read")
    for _ in range(4):
        _Dry(file, claims).load()
    return claims


def require_plain(weights: dict[str, Any], path: Path) -> dict[str, Tensor]:
    """The tensors of a mapping, as dense ones. Raises UserError for anything but plain numbers, and for a tensor that claims more of them
    than lie in the file (by a stride of 0, say)."""
    for name, value in weights.items():
        if type(value) not in (Tensor, nn.Parameter):
            raise UserError(f"{path}: {name!r} among its weights is no tensor but {type(value).__name__}")
        if value.layout is not torch.strided or value.device.type != "cpu" or value.is_quantized or value.is_nested or value.is_complex():
            raise UserError(f"{path}: {name!r} of its weights is no plain tensor ({value.dtype}, {value.layout}, {value.device.type})")
        if math.prod(value.shape) * value.element_size() > value.untyped_storage().nbytes():
            raise UserError(f"{path}: refused: {name!r} claims more numbers {tuple(value.shape)} than the file holds")
    return {str(name): value.detach() for name, value in weights.items()}
