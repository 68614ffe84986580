"""Reading weights of every container and key layout that is met; the kind of a file is told by what is in it, not by its ending."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load as load_bytes
from torch import Tensor

from wildsr import networks
from wildsr.checkpoint.pickled import HALF, load_pickled, require_plain
from wildsr.checkpoint.shipped import SHIPPED, shipped
from wildsr.checkpoint.weights import Checkpoint
from wildsr.checkpoint.writing import FORMAT_VERSION
from wildsr.config import nearest
from wildsr.errors import UserError, first_few


class UnknownNetworkError(UserError):
    """The file holds weights, of a network that is not known here."""


_WRAPPERS = ("model_state_dict", "state_dict", "params_ema", "params-ema", "params", "model", "net")
"""Keys under which other projects keep their weights, in the order in which spandrel unwraps them."""

_PREFIXES = ("module.", "netG.", "_orig_mod.", "params_ema.", "params.")
"""What wrappers (parallel, compiled, of a GAN's two networks) and careless conversions put before every key."""

_NEARLY = 0.8
"""The share of keys in common from which on a file is a damaged one of ours, and not another network that resembles it."""

_HEADER = 100_000_000
"""Bytes of a safetensors header, at most, as in the library."""


@dataclass(frozen=True)
class Stored:
    """What lies in a file of weights, as it is: `groups` holds weights by the key that they lie under ("flat" without one), in the order
    in which `load` prefers them; keys are as written, but for the prefixes of wrappers. metadata is a safetensors file's."""

    path: Path
    format: str
    groups: dict[str, dict[str, Tensor]]
    metadata: dict[str, str] = field(default_factory=dict)

    def pick(self, key: str | None) -> tuple[dict[str, Tensor], str]:
        """The weights under a key, or those that are preferred. Raises UserError when there are none."""
        if key is not None and key not in self.groups:
            raise UserError(f"{self.path}: holds no weights called {key!r}: {nearest(key, self.groups)}")
        first = next((name for name in self.groups if name in _WRAPPERS), None)
        if key is None and first is None and len(self.groups) > 1:
            raise UserError(f"{self.path}: holds several weights ({', '.join(self.groups)}): say which with a key")
        key = key or first or next(iter(self.groups))
        return self.groups[key], key


def read_safetensors(path: Path | str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file. Raises UserError naming the file when it is damaged."""
    try:
        with open(path, "rb") as raw:
            header = int.from_bytes(raw.read(8), "little")
            size = raw.seek(0, 2)
        if header > min(size - 8, _HEADER):
            raise UserError(f"{path}: not a whole safetensors file: {HALF} (it tells of a header of {header:,} bytes, and has {size:,})")
        if not _is_text(path):
            # The library opens no file by such a name.
            data = Path(path).read_bytes()
            return dict(sorted(load_bytes(data).items())), json.loads(data[8 : 8 + header]).get("__metadata__", {})
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in sorted(file.keys())}, dict(file.metadata() or {})
    except SafetensorError as error:
        raise UserError(f"{path}: not a whole safetensors file: {HALF} ({error})") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None


def _is_text(path: Path | str) -> bool:
    """Whether a name is UTF-8."""
    try:
        return bool(str(path).encode())
    except UnicodeEncodeError:
        return False


def kind_of(path: Path) -> str:
    """ "safetensors" or "pickle", by a file's first bytes. Raises UserError for what is neither, saying what it is instead."""
    try:
        with open(path, "rb") as file:
            start = file.read(1024)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    if not start:
        raise UserError(f"{path}: empty (0 bytes): {HALF}")
    if start[4:9] == b"\0\0\0\0{":  # the header's length, whose first bytes may be those of a pickle
        return "safetensors"
    if start[:2] == b"PK" or start[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        return "pickle"
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<!--")):
        raise UserError(f"{path}: a web page, not a model: the link leads to a page about the file; download the file itself")
    if text.startswith(b"version https://git-lfs"):
        raise UserError(f"{path}: a pointer of Git LFS, not a model: fetch the file itself with git lfs pull")
    if text.startswith(b"{"):
        raise UserError(f"{path}: JSON text, not a model: an error message in place of the file, perhaps; download it again")
    if start[8:9] == b"{" or path.suffix == ".safetensors":
        return "safetensors"
    if path.suffix == ".onnx" or (start[:1] == b"\x08" and b"pytorch" in start[:64]):
        raise UserError(f"{path}: an ONNX file, made for other programs: its weights cannot be taken back; use the .safetensors or .pth")
    raise UserError(f"{path}: not a file of weights: neither safetensors nor PyTorch's (it begins with {start[:12]!r})")


def model_file(path: Path | str, key: str | None = None) -> Path:
    """The file that a path means: itself, of a run directory model.safetensors, or raw.safetensors with key "raw", or, for the name of a
    model that comes with wildsr (`SHIPPED`), that model.

    Raises UserError when there is none."""
    if own := shipped(path):
        return own
    path = Path(path)
    if path.is_dir():
        name = "raw.safetensors" if key == "raw" else "model.safetensors"
        if not (path / name).is_file():
            raise UserError(f"{path}: no {name} in this folder: name a model file or the folder of a training run")
        return path / name
    if not path.is_file():
        known = f" (models that come with wildsr: {', '.join(SHIPPED)})" if path.name == str(path) else ""
        raise UserError(f"{path}: no such model file{known}")
    return path


def read(path: Path | str) -> Stored:
    """Everything that a file of weights holds, of whatever network: safetensors, and .pth, .pt, .ckpt, .bin of PyTorch.

    A pickle is opened with an allow-list of types, and what it claims is compared with what the file has: it can neither run code nor take
    more memory than a file of its size should. Raises UserError naming the file."""
    path = Path(path)
    if kind_of(path) == "safetensors":
        weights, metadata = read_safetensors(path)
        if not weights:
            raise UserError(f"{path}: no weights found in it: its header names no tensor")
        own = _json(metadata.get("wildsr.weights_key", '"flat"'), path)
        return Stored(path, "safetensors", {str(own): _stripped(weights)}, metadata)
    groups = _groups(load_pickled(path))
    if not groups:
        raise UserError(f"{path}: no weights found in it (looked under {', '.join(_WRAPPERS)})")
    return Stored(path, "PyTorch", {key: _stripped(require_plain(weights, path)) for key, weights in groups.items()})


def load(path: Path | str, key: str | None = None) -> Checkpoint:
    """Reads weights of a known network: our safetensors, a run directory (its model.safetensors), a model that comes with wildsr, by its
    name, flat safetensors and .pth files of BasicSR and its relatives, in any published key layout. key: which of a .pth file's weights
    (`weights_keys`); by default the averaged ones where there are both. Of a run directory, "ema" or "raw".

    Nothing in a file is run (`read`). Raises UserError naming the file for what is missing, damaged, unsafe, or of no use here, and lists
    missing, extra and mis-shaped keys; UnknownNetworkError, with the nearest layout, for weights of another network."""
    return interpret(read(model_file(path, key)), key)


def interpret(stored: Stored, key: str | None = None) -> Checkpoint:
    """The weights of a file that was read, as a network known here: as `load`, which raises the same."""
    path = stored.path
    values = {name.removeprefix("wildsr."): _json(value, path) for name, value in stored.metadata.items() if name.startswith("wildsr.")}
    weights, key = stored.pick(key)
    version, described = values.get("format_version", FORMAT_VERSION), values.get("network", {})
    if not isinstance(version, int) or not isinstance(described, dict):
        raise UserError(f"{path}: its metadata is damaged (format {version!r}, network {described!r})")
    if version > FORMAT_VERSION:
        raise UserError(f"{path}: written in format {version}, this version reads up to {FORMAT_VERSION}: upgrade wildsr")
    config, weights = _described(described, weights, path) if described else _recognised(weights, path)
    kept = {name: value for name, value in values.items() if name not in ("format_version", "network", "scale", "weights_key")}
    return Checkpoint(config, weights, key, kept)


def weights_keys(path: Path | str) -> list[str]:
    """The keys under which a .pth file holds weights, the one that `load` takes first; [] for other files, which hold one training's
    weights once. Raises UserError as `load` does."""
    path = Path(path)
    if shipped(path) or not path.is_file() or kind_of(path) == "safetensors":
        return []
    return [key for key in read(path).groups if key in _WRAPPERS]


def _groups(content: Any) -> dict[str, Any]:
    """Weights by key. What wraps them once more is opened."""
    if not isinstance(content, Mapping):
        return {}
    wrappers = [key for key in _WRAPPERS if key in content]
    found = {key: content[key] for key in wrappers if _has_tensors(content[key])}
    if not found and _has_tensors(content):
        return {"flat": content}
    found |= {str(key): value for key, value in content.items() if key not in _WRAPPERS and _has_tensors(value)}
    if found:
        return found
    alone = list(content) if len(content) == 1 else []
    return next((_groups(content[key]) for key in (*wrappers, *alone) if isinstance(content[key], Mapping)), {})


def _has_tensors(value: Any) -> bool:
    return isinstance(value, Mapping) and any(isinstance(one, Tensor) for one in value.values())


def _stripped(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without the prefixes that all keys share."""
    prefix = next((prefix for prefix in _PREFIXES if weights and all(name.startswith(prefix) for name in weights)), None)
    return dict(weights) if prefix is None else _stripped({name[len(prefix) :]: tensor for name, tensor in weights.items()})


def _json(text: str, path: Path) -> Any:
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        raise UserError(f"{path}: its metadata is damaged ({text[:60]!r} is not JSON)") from None


def _described(values: dict[str, Any], weights: dict[str, Tensor], path: Path) -> tuple[networks.Config, dict[str, Tensor]]:
    """The network that a file of ours names, when its weights are that network's."""
    config = networks.config_from(values)
    # A layer takes time to make even where it takes no memory; each has a tensor at least.
    sizes = config.model_dump()
    layers = sum(sizes.get("depths", ())) + sizes.get("blocks", 0) * sizes.get("groups", 1)
    try:
        wanted = networks.shapes(config) if layers <= len(weights) else None
    except (RuntimeError, OverflowError, MemoryError):
        wanted = None
    if wanted is None:
        raise UserError(f"{path}: its metadata is damaged: {networks.describe(config)} does not fit {len(weights)} tensors")
    problems = _problems(weights, wanted)
    if problems:
        raise UserError(f"{path}: does not fit {networks.describe(config)}: {first_few(problems, ', ')}")
    return config, weights


def _recognised(weights: dict[str, Tensor], path: Path) -> tuple[networks.Config, dict[str, Tensor]]:
    """The network whose weights these are, by keys and shapes alone."""
    useless = networks.unusable(weights)
    if useless:
        raise UserError(f"{path}: {useless}: only models that make larger RGB pictures of RGB ones can be used")
    found = networks.recognise(weights)
    if found is None:
        some = ", ".join(list(weights)[:6])
        raise UnknownNetworkError(
            f"{path}: not the weights of a network known here ({', '.join(networks.NETWORKS)}); {networks.nearest_layout(weights)}; "
            f"its keys begin {some}"
        )
    config, ours = found
    wanted = networks.shapes(config)
    problems = _problems(ours, wanted)
    if not problems:
        return found
    common = len(wanted.keys() & ours.keys())
    text = f"{path}: does not fit {networks.describe(config)}: {first_few(problems, ', ')}"
    if common < _NEARLY * len(wanted.keys() | ours.keys()):
        raise UnknownNetworkError(f"{text}; not the weights of a network known here, the nearest shares {common} of {len(wanted)} keys")
    raise UserError(text)


def _problems(weights: Mapping[str, Tensor], wanted: Mapping[str, tuple[int, ...]]) -> list[str]:
    shapes = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    problems = [f"missing {name}" for name in wanted if name not in shapes]
    problems += [f"unknown {name}" for name in shapes if name not in wanted]
    return problems + [
        f"{name} is {shapes[name]}, not {wanted[name]}" for name in wanted if name in shapes and shapes[name] != wanted[name]
    ]
