"""Every network with every regulariser, compiled; run by test_contract.py.

python compiled_pairs.py FOLDER: writes outcome.json, pair -> what was wrong, or an empty text."""

import json
import sys
import traceback
import warnings
from pathlib import Path

import torch
import zoo

from wildsr.regularize import attach


def outcome(network: str, name: str, backend: str) -> str:
    torch._dynamo.reset()
    if backend == "inductor":
        warnings.simplefilter("ignore", DeprecationWarning)  # PyTorch's compiler imports what PyTorch deprecates
    regularizer = {**zoo.ACTING, **zoo.PARTS}[name]
    net, same = zoo.make(network), zoo.make(network)
    try:
        with attach(net, regularizer) as attached:
            compiled = zoo.require_that_it_acts(net, torch.compile(net, backend=backend, fullgraph=True), regularizer, attached)
        with attach(same, regularizer) as attached:
            eager = zoo.require_that_it_acts(same, same, regularizer, attached)
        for a, b in zip(compiled, eager, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4 * b.abs().max().item())
    except Exception:
        return traceback.format_exc(limit=-3)
    return ""


def main(folder: Path) -> None:
    found = {f"{network}/{name}/{backend}": outcome(network, name, backend) for network, name, backend in zoo.COMPILED}
    (folder / "outcome.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
