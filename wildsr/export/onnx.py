"""ONNX files with free batch, height and width, compared with PyTorch before they take their name."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wildsr import files, networks
from wildsr.checkpoint import Checkpoint
from wildsr.errors import UserError
from wildsr.export.about import About
from wildsr.export.program import checked_sizes, facts_from, facts_of, first_line, largest_difference, prepared, quiet, traced

OPSETS = range(18, 24)
"""Versions of ONNX's operators that files are written for."""


def write_onnx(target: Path, found: Checkpoint, about: About, dtype: str, opset: int) -> list[str]:
    """The network as an ONNX file: checked by onnx, run by onnxruntime on several odd sizes and compared with PyTorch. What it needs and
    what was measured stand in its metadata (wildsr.*). Returns what was done, a line each."""
    if opset not in OPSETS:
        raise UserError(f"opset = {opset}: use {OPSETS[0]} to {OPSETS[-1]}")
    onnx, onnxruntime = _libraries()
    net = prepared(found, dtype)
    assert isinstance(net, networks.Network)
    program = traced(net, net.grid, dtype)
    try:
        with quiet(), torch.no_grad():
            made = torch.onnx.export(
                program, opset_version=opset, input_names=["input"], output_names=["output"], verbose=False, dynamo=True
            )
            assert made is not None
            model = made.model_proto
    except Exception as error:  # The exporter raises whatever its parts run into.
        raise UserError(f"PyTorch's ONNX exporter failed ({first_line(error)})") from None
    for value, sides in ((model.graph.input[0], ("height", "width")), (model.graph.output[0], ("{0}*height", "{0}*width"))):
        for axis, name in zip((0, 2, 3), ("batch", *sides), strict=True):
            value.type.tensor_type.shape.dim[axis].dim_param = name.format(found.network.scale)
    run = _runner(onnxruntime, model.SerializeToString())
    worst = largest_difference(found, run, net.grid, dtype)
    told = facts_of(found, net, dtype)
    said = {"title": about.title, "author": about.author, "license": about.license, "description": about.description}
    measured = {"wildsr.max_difference": f"{worst:.3g}", "wildsr.checked_sizes": checked_sizes(net.grid), "wildsr.opset": str(opset)}
    onnx.helper.set_model_props(model, {**told, **measured, **{key: value for key, value in said.items() if value}})
    model.producer_name = "wildsr"
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:
        raise UserError(f"onnx finds the exported file faulty ({first_line(error)})") from None
    files.write_bytes(target, model.SerializeToString())
    lines = [f"ONNX opset {opset}, {dtype}", told["wildsr.input"], told["wildsr.output"]]
    return [*lines, f"onnxruntime differs from PyTorch by at most {worst:.2g} on {measured['wildsr.checked_sizes']}"]


def _libraries() -> tuple[Any, Any]:
    try:
        import onnx  # pyright: ignore[reportMissingImports]
        import onnxruntime  # pyright: ignore[reportMissingImports]
        import onnxscript  # noqa: F401  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise UserError("ONNX files need onnx, onnxscript and onnxruntime: pip install 'wildsr[onnx]'") from None
    return onnx, onnxruntime


def _runner(onnxruntime: Any, data: bytes) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise UserError(f"onnxruntime does not take the exported network ({first_line(error)})") from None

    def run(x: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {"input": x.numpy()})[0])

    return run


def describe_onnx(path: Path) -> dict[str, Any]:
    """An ONNX file's metadata, inputs and outputs. Raises UserError when onnx is not installed or the file is damaged."""
    try:
        import onnx  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise UserError(f"{path}: to look into ONNX files, pip install 'wildsr[onnx]'") from None
    try:
        model = onnx.load(str(path), load_external_data=False)
        onnx.checker.check_model(model)
    except Exception as error:
        raise UserError(f"{path}: damaged, or no ONNX file ({first_line(error)})") from None
    stored = {one.key: one.value for one in model.metadata_props}
    return {
        "producer": model.producer_name,
        "opset": next((one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), None),
        "inputs": [_value(one, onnx) for one in model.graph.input],
        "outputs": [_value(one, onnx) for one in model.graph.output],
        "parameters": sum(_product(one.dims) for one in model.graph.initializer),
        **facts_from(stored),
    }


def _product(dims: Any) -> int:
    result = 1
    for side in dims:
        result *= side
    return result


def _value(value: Any, onnx: Any) -> str:
    """ "input: float (batch, 3, height, width)"."""
    kind = value.type.tensor_type
    sides = ", ".join(str(side.dim_param or side.dim_value) for side in kind.shape.dim)
    return f"{value.name}: {onnx.TensorProto.DataType.Name(kind.elem_type).lower()} ({sides})"
