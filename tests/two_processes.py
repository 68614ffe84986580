"""One of two processes that make one step together, for every network with every regulariser; run by test_contract.py.

python two_processes.py FOLDER RANK: writes what the step gave to FOLDER/rankRANK.pt."""

import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F
import zoo
from torch.nn.parallel import DistributedDataParallel

from wildsr.regularize import Regularizer, attach


def step(network: str, regularizer: Regularizer, rank: int) -> dict[str, torch.Tensor]:
    net = zoo.make(network)
    lr, hr = zoo.batch()
    # This process's half of the pictures, in each view.
    views = regularizer.views
    own = torch.cat([torch.arange(8).view(views, 2, -1)[view, rank] for view in range(views)])
    lr, hr = lr[own], hr[own]
    with attach(net, regularizer, example=lr) as attached:
        parallel = DistributedDataParallel(net, find_unused_parameters=network == "foreign")
        if network == "foreign":
            net.head[1].eval()
        attached.begin(24, 0.1)
        pixel = F.l1_loss(parallel(lr), hr)
        losses = attached.losses()
        (pixel + sum(losses.values())).backward()
    gradients = {f"grad {name}": parameter.grad for name, parameter in net.named_parameters() if parameter.grad is not None}
    used = {name: gradient for name, gradient in gradients.items() if "unused" not in name}
    return {name: loss.detach() for name, loss in losses.items()} | used


def main(folder: Path, rank: int) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=2)
    everything = {**zoo.ACTING, **zoo.PARTS}
    steps = {f"{network}/{name}": step(network, everything[name], rank) for network, name in zoo.pairs(zoo.ACTING, zoo.PARTS)}
    torch.save(steps, folder / f"rank{rank}.pt")
    dist.barrier()
    # Gloo's threads outlive the group, and now and then abort a process that ends in order.
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
