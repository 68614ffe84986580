"""The contract that every regulariser keeps on every network: keys and eval output untouched, strength 0 harmless, acting in every mode
(eager, bf16 autocast, compiled, two processes), gradients finite, and no trace left."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import zoo

from wildsr.regularize import attach

ALL, ALL_POWERLESS = {**zoo.ACTING, **zoo.PARTS}, {**zoo.POWERLESS, **zoo.POWERLESS_PARTS}
X, TARGET = zoo.batch()


def total(run, attached=None):
    loss = F.l1_loss(run(X).float(), TARGET)
    return loss if attached is None else loss + sum(attached.losses().values())


@pytest.mark.parametrize(("network", "name"), zoo.pairs(zoo.ACTING, zoo.PARTS))
def test_keys_and_eval_output_are_untouched_and_nothing_is_left(network, name):
    net = zoo.make(network)
    keys, plain, attributes = list(net.state_dict()), net.eval()(X), set(vars(net))
    net.train()
    with attach(net, ALL[name]) as attached:
        assert list(net.state_dict()) == keys
        attached.begin(0, 0.0)
        net.eval()
        assert torch.equal(net(X), plain)
    assert set(vars(net)) == attributes
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())
    assert torch.equal(net(X), plain)


@pytest.mark.parametrize(("network", "name"), zoo.pairs(zoo.POWERLESS, zoo.POWERLESS_PARTS))
def test_strength_zero_gives_the_same_loss(network, name):
    net = zoo.make(network)
    plain = total(net)
    with attach(net, ALL_POWERLESS[name]) as attached:
        attached.begin(0, 0.5)
        assert torch.equal(total(net, attached), plain)


@pytest.mark.parametrize(("network", "name"), zoo.pairs(zoo.ACTING, zoo.PARTS))
@pytest.mark.parametrize("mode", ["eager", "autocast"])
def test_it_acts(network, name, mode):
    net = zoo.make(network)
    with attach(net, ALL[name]) as attached, torch.autocast("cpu", torch.bfloat16, enabled=mode == "autocast"):
        zoo.require_that_it_acts(net, net, ALL[name], attached)


def run_script(name, folder, *arguments):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    command = [sys.executable, "-W", "error", str(Path(__file__).with_name(name)), str(folder), *arguments]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


PATIENCE = 850
"""Seconds: compiling alone takes 214 on two cores of a slow machine, and more beside other work."""


def errors_of(*processes):
    """What each process says until it ends; when one does not end in time, none is left behind."""
    with contextlib.ExitStack() as ending:
        for process in processes:
            ending.enter_context(process)
            ending.callback(process.kill)
        return [process.communicate(timeout=PATIENCE)[1] for process in processes]


@pytest.mark.timeout(900)
def test_it_acts_compiled_as_it_acts_in_eager_mode(tmp_path):
    """In a process of its own, for the compiler cannot trace the tests' shape checks: every pair is one graph, without a break, and its
    outputs, losses and gradients are those of eager mode. Two pairs go through the real compiler."""
    process = run_script("compiled_pairs.py", tmp_path)
    (error,) = errors_of(process)
    assert process.returncode == 0, error
    outcome = json.loads((tmp_path / "outcome.json").read_text())
    assert set(outcome) == {f"{network}/{name}/{backend}" for network, name, backend in zoo.COMPILED}
    assert {pair: problem for pair, problem in outcome.items() if problem} == {}


@pytest.mark.timeout(900)
def test_two_processes_make_the_step_of_one(tmp_path):
    """Every network with every regulariser, under DistributedDataParallel: losses and gradients are those of one process with the whole
    batch. The two processes start once and go through all pairs."""
    processes = [run_script("two_processes.py", tmp_path, str(rank)) for rank in range(2)]
    errors = errors_of(*processes)
    assert [process.returncode for process in processes] == [0, 0], "\n".join(errors)
    found = [torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in range(2)]
    assert set(found[0]) == {f"{network}/{name}" for network, name in zoo.pairs(zoo.ACTING, zoo.PARTS)}
    for network, name in zoo.pairs(zoo.ACTING, zoo.PARTS):
        expected = one_process(network, ALL[name])
        for rank in range(2):
            given = found[rank][f"{network}/{name}"]
            assert given.keys() == expected.keys(), f"{network}/{name}"
            apart = {key: (given[key] - expected[key]).abs().max().item() for key in given}
            # Some gradients are small differences of large ones.
            largest = max(value.abs().max().item() for key, value in expected.items() if key.startswith("grad"))
            far = {key: off for key, off in apart.items() if off > 1e-5 * largest + 1e-4 * expected[key].abs().max().item()}
            assert not far, f"{network}/{name}, process {rank}"


def one_process(network, regularizer):
    net = zoo.make(network)
    if network == "foreign":
        net.head[1].eval()  # Batch statistics are each process's own, as everywhere.
    with attach(net, regularizer, example=X) as attached:
        attached.begin(24, 0.1)
        losses = {"pixel": F.l1_loss(net(X), TARGET), **attached.losses()}
        sum(losses.values()).backward()
    gradients = {f"grad {name}": parameter.grad for name, parameter in net.named_parameters() if parameter.grad is not None}
    # The pixel loss of a process is that of its own pictures; its mean over the processes reaches the gradients.
    return {name: loss.detach() for name, loss in losses.items() if name != "pixel"} | gradients
