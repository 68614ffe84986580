"""Model files: flat safetensors that say what they are, and are equal to the byte for equal training. Foreign .pth files run no code."""

import json
import pickle
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from wildsr import files, networks
from wildsr.config import nearest
from wildsr.errors import UserError

FORMAT_VERSION = 1


class UnknownNetworkError(UserError):
    """The file holds weights, of a network that is not known here."""


_DTYPES = {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64", torch.int32: "I32"}

_WRAPPERS = ("model_state_dict", "state_dict", "params_ema", "params-ema", "params", "model", "net")
"""Keys under which other projects keep their weights, in the order in which spandrel unwraps them."""


@dataclass(frozen=True)
class Checkpoint:
    """Weights and what their file says of them.

    `weights_key`: which of a training's weights these are ("ema", "raw", or another project's name for them, "flat" when it has none)."""

    network: networks.Config
    weights: dict[str, Tensor]
    weights_key: str
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def weights_sha256(self) -> str:
        """`weights_sha256` of these weights: the same whatever file they lie in."""
        return weights_sha256(self.weights)


def weights_sha256(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 of the tensors' bytes, one after the other in the order of their names."""
    return files.sha256(b"".join(_bytes(tensor) for _, tensor in sorted(weights.items())))


def write_safetensors(path: Path | str, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Writes a safetensors file atomically, with a canonical header: tensors and metadata in the order of their names.

    The library orders metadata at random, so that equal contents would not give equal files."""
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    offset = 0
    for name, tensor in sorted(tensors.items()):
        size = tensor.numel() * tensor.element_size()
        header[name] = {"dtype": _DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with files.atomic_write(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, tensor in sorted(tensors.items()):
            file.write(_bytes(tensor))


def _bytes(tensor: Tensor) -> bytes:
    # bfloat16 is unknown to NumPy; bytes are all that is wanted.
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b""


def read_safetensors(path: Path | str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file. Raises UserError naming the file when it is damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in sorted(file.keys())}, dict(file.metadata() or {})
    except SafetensorError as error:
        raise UserError(f"{path}: not a whole safetensors file ({error})") from None


def save(path: Path | str, checkpoint: Checkpoint) -> None:
    """Writes flat weights with readable metadata: wildsr.* (JSON values) and the modelspec.* keys that model managers read."""
    metadata = {f"wildsr.{key}": json.dumps(value, sort_keys=True) for key, value in checkpoint.metadata.items()}
    network = checkpoint.network
    metadata |= {
        "wildsr.format_version": json.dumps(FORMAT_VERSION),
        "wildsr.network": json.dumps(network.model_dump(mode="json"), sort_keys=True),
        "wildsr.scale": json.dumps(network.scale),
        "wildsr.weights_key": json.dumps(checkpoint.weights_key),
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": network.name,
        "modelspec.implementation": "wildsr",
        "modelspec.title": f"{network.name} x{network.scale}",
    }
    write_safetensors(path, checkpoint.weights, metadata)


def load(path: Path | str, key: str | None = None) -> Checkpoint:
    """Reads weights of a known network: our safetensors, a run directory (its model.safetensors), flat safetensors and .pth files of
    BasicSR and its relatives, in any published key layout. key: which of a .pth file's weights (`weights_keys`); by default the averaged
    ones where there are both.

    A .pth file is unpickled with an allow-list of types: it cannot run code. Raises UserError naming the file for what is missing,
    damaged, unsafe, or of no known network, and lists missing, extra and mis-shaped keys."""
    path = Path(path)
    if path.is_dir():
        if not (path / "model.safetensors").is_file():
            raise UserError(f"{path}: no model.safetensors in this folder: name a model file or the folder of a training run")
        path = path / "model.safetensors"
    if not path.is_file():
        raise UserError(f"{path}: no such model file")
    if path.suffix == ".safetensors":
        weights, metadata = read_safetensors(path)
        key = "flat"
    else:
        (weights, key), metadata = _unwrap(_unpickle(path), path, key), {}
    values = {name.removeprefix("wildsr."): _json(value, path) for name, value in metadata.items() if name.startswith("wildsr.")}
    version, described = values.get("format_version", FORMAT_VERSION), values.get("network", {})
    if not isinstance(version, int) or not isinstance(described, dict):
        raise UserError(f"{path}: its metadata is damaged (format {version!r}, network {described!r})")
    if version > FORMAT_VERSION:
        raise UserError(f"{path}: written in format {version}, this version reads up to {FORMAT_VERSION}: upgrade wildsr")
    weights = {_strip(name): tensor for name, tensor in weights.items()}
    recognised = (networks.config_from(described), weights) if described else networks.recognise(weights)
    if recognised is None:
        some = ", ".join(list(weights)[:6])
        raise UnknownNetworkError(
            f"{path}: not the weights of a network known here ({', '.join(networks.NETWORKS)}); its keys begin {some}"
        )
    config, weights = recognised
    _require_fit({name: tuple(tensor.shape) for name, tensor in weights.items()}, config, path)
    key = str(values.get("weights_key", key))
    kept = {name: value for name, value in values.items() if name not in ("format_version", "network", "scale", "weights_key")}
    return Checkpoint(config, weights, key, kept)


def weights_keys(path: Path | str) -> list[str]:
    """The keys under which a .pth file holds weights, the one that `load` takes first; [] for other files, which hold one training's
    weights once. Raises UserError as `load` does."""
    path = Path(path)
    if not path.is_file() or path.suffix == ".safetensors":
        return []
    content = _unpickle(path)
    return [name for name in _WRAPPERS if isinstance(content, Mapping) and isinstance(content.get(name), Mapping)]


def build(checkpoint: Checkpoint) -> networks.Network:
    """The network with its weights, in eval mode, float32."""
    with torch.random.fork_rng(devices=[]):
        net = networks.create(checkpoint.network)
    net.load_state_dict({name: tensor.float() for name, tensor in checkpoint.weights.items()})
    return net.eval()


def _json(text: str, path: Path) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise UserError(f"{path}: its metadata is damaged ({text[:60]!r} is not JSON)") from None


def _strip(name: str) -> str:
    for prefix in ("module.", "netG."):
        name = name.removeprefix(prefix)
    return name


def _unpickle(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old pickle protocols; what cannot be read is an error below
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        with open(path, "rb") as file:
            start = file.read(2)
        if start in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
            raise UserError(f"{path}: refused: it holds more than plain weights and could run code when opened") from None
        raise UserError(f"{path}: not a file of weights that PyTorch can read") from None
    except Exception:  # Broken bytes meet the reader with whatever exception it happens to run into.
        raise UserError(f"{path}: damaged, or not a file of weights that PyTorch can read") from None


def _unwrap(content: Any, path: Path, wanted: str | None = None) -> tuple[dict[str, Tensor], str]:
    key = "flat"
    if wanted is not None and isinstance(content, Mapping):
        if wanted not in content:
            raise UserError(f"{path}: holds no weights called {wanted!r}: {nearest(wanted, map(str, content))}")
        content = {wanted: content[wanted]}
    while isinstance(content, Mapping) and not any(isinstance(value, Tensor) for value in content.values()):
        inner = next((name for name in _WRAPPERS if isinstance(content.get(name), Mapping)), None)
        if inner is None and len(content) == 1:
            inner = next(iter(content))
        if inner is None:
            break
        content, key = content[inner], str(inner)
    if not isinstance(content, Mapping) or not content or not all(isinstance(value, Tensor) for value in content.values()):
        raise UserError(f"{path}: no weights found in it (looked under {', '.join(_WRAPPERS)})")
    return {str(name): tensor for name, tensor in content.items()}, key


def _require_fit(shapes: Mapping[str, tuple[int, ...]], config: networks.Config, path: Path) -> None:
    wanted = networks.shapes(config)
    problems = [f"missing {name}" for name in wanted if name not in shapes]
    problems += [f"unknown {name}" for name in shapes if name not in wanted]
    problems += [f"{name} is {shapes[name]}, not {wanted[name]}" for name in wanted if name in shapes and shapes[name] != wanted[name]]
    if problems:
        more = f", and {len(problems) - 8} more" if len(problems) > 8 else ""
        raise UserError(f"{path}: does not fit {networks.describe(config)}: {', '.join(problems[:8])}{more}")


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


def parameter_count(weights: Mapping[str, Tensor]) -> int:
    """How many numbers the weights are."""
    return sum(tensor.numel() for tensor in weights.values())
