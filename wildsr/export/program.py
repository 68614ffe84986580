"""A network as a graph with free height and width: torch.export programs, and what ONNX files are made from."""

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.export import Dim

from wildsr import checkpoint, files, networks
from wildsr.checkpoint import Checkpoint
from wildsr.errors import UserError
from wildsr.export.weights import DTYPES, converted

TOLERANCE = {"fp32": 1e-4, "fp16": 2e-2}
"""How far an exported network may be from the float32 one, at most, for values in [0, 1]."""

SIZES = ((1, 2, 3), (1, 17, 23), (2, 33, 12))
"""Batches, heights and widths on which exports are compared, in units of the sides' multiple."""


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps what exporters print, log and warn of from the user: what goes wrong is an error, and the result is compared."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def prepared(found: Checkpoint, dtype: str) -> nn.Module:
    """The network in a number type. Raises UserError when its weights do not fit it."""
    converted(found.weights, dtype)
    return checkpoint.build(found).to(DTYPES[dtype])


def example(multiple: int, dtype: str) -> tuple[Float[Tensor, "b 3 h w"], dict[int, Any]]:
    """A picture to trace with, and its axes that stay free: sides in multiples."""
    x = torch.rand((2, 3, 7 * multiple, 5 * multiple), generator=torch.Generator().manual_seed(0)).to(DTYPES[dtype])
    # A side of one takes other ways through PyTorch, which a program would have to hold as well.
    height, width = (Dim(name, min=2) if multiple == 1 else multiple * Dim(name, min=2) for name in ("height", "width"))
    return x, {0: Dim("batch", min=1), 2: height, 3: width}


def traced(net: nn.Module, multiple: int, dtype: str) -> torch.export.ExportedProgram:
    """The network as a program. Raises UserError when PyTorch cannot make one."""
    x, axes = example(multiple, dtype)
    try:
        with quiet(), torch.no_grad():
            return torch.export.export(net, (x,), dynamic_shapes=(axes,))
    except Exception as error:  # The exporter raises whatever its parts run into.
        raise UserError(f"torch.export could not follow this network ({first_line(error)})") from None


def first_line(error: Exception) -> str:
    """The kind of an error, and how its text begins."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def largest_difference(found: Checkpoint, run: Callable[[Tensor], Tensor], multiple: int, dtype: str) -> float:
    """How far `run` is from the float32 network on pictures of all SIZES, at most. Raises UserError when it is too far, and when its result
    has another shape or is not finite."""
    net, worst = checkpoint.build(found), 0.0
    for i, (batch, height, width) in enumerate(SIZES):
        size = (batch, 3, height * multiple, width * multiple)
        x = torch.rand(size, generator=torch.Generator().manual_seed(i)).to(DTYPES[dtype])
        with torch.inference_mode():
            wanted, got = net(x.float()), run(x).float()
        if got.shape != wanted.shape:
            raise UserError(f"the exported network gives {tuple(got.shape)} for {size}, not {tuple(wanted.shape)}")
        if not got.isfinite().all():
            raise UserError("the exported network's output is not finite: its features are too large for fp16; use --dtype fp32")
        worst = max(worst, (got - wanted).abs().max().item())
    if worst > TOLERANCE[dtype]:
        raise UserError(f"the exported network differs from PyTorch's by {worst:.2g}, more than {TOLERANCE[dtype]:g}: nothing was written")
    return worst


def checked_sizes(multiple: int) -> str:
    """SIZES in words: "1×17×23, 2×33×12"."""
    return ", ".join(f"{batch}×{height * multiple}×{width * multiple}" for batch, height, width in SIZES)


def facts_of(found: Checkpoint, net: networks.Network, dtype: str) -> dict[str, str]:
    """What a program's user has to know of it, as text by name."""
    sides = "any height and width from 2" if net.grid == 1 else f"height and width in multiples of {net.grid}, from {2 * net.grid}"
    kind = "float32" if dtype == "fp32" else "float16"
    return {
        "wildsr.scale": str(found.network.scale),
        "wildsr.parameters": str(sum(one.numel() for one in net.parameters())),
        "wildsr.network": json.dumps(found.network.model_dump(mode="json"), sort_keys=True),
        "wildsr.weights_sha256": found.weights_sha256,
        "wildsr.weights_key": found.weights_key,
        "wildsr.dtype": dtype,
        "wildsr.multiple": str(net.grid),
        "wildsr.input": f"input: {kind} (batch, 3, height, width), RGB in [0, 1]; {sides}",
        "wildsr.output": f"output: {kind} (batch, 3, {found.network.scale}·height, {found.network.scale}·width), RGB; clamp it to [0, 1]",
    }


def facts_from(stored: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of `facts_of` as a file holds them, without their prefix; numbers and the network's sizes are values again."""
    found: dict[str, Any] = {name.removeprefix("wildsr."): value for name, value in stored.items()}
    for name in ("scale", "parameters", "multiple", "opset", "max_difference", "network"):
        with contextlib.suppress(TypeError, ValueError, KeyError, RecursionError):
            found[name] = json.loads(found[name])
    return found


def write_program(target: Path, found: Checkpoint, dtype: str) -> list[str]:
    """A torch.export program, loaded again and compared with the network on several sizes before it takes its name. Its facts lie in the
    file as extra/wildsr.json. Returns what was done, a line each."""
    net = prepared(found, dtype)
    assert isinstance(net, networks.Network)
    program = traced(net, net.grid, dtype)
    told, buffer = facts_of(found, net, dtype), io.BytesIO()
    with quiet():
        torch.export.save(program, buffer, extra_files={"wildsr.json": json.dumps(told, ensure_ascii=False)})
        buffer.seek(0)
        again = torch.export.load(buffer).module()
    worst = largest_difference(found, again, net.grid, dtype)
    files.write_bytes(target, buffer.getvalue())
    return [told["wildsr.input"], told["wildsr.output"], f"differs from PyTorch by at most {worst:.2g} on {checked_sizes(net.grid)}"]
