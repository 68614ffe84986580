"""Several processes that train one network together, each on its part of every batch: who they are, and what they agree upon.

torchrun and accelerate tell each process who it is by the same variables: RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT. Without
them there is one process, and nothing here communicates."""

import contextlib
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NoReturn

import torch
import torch.distributed as dist
from torch import Tensor

from wildsr.errors import OtherProcessError, UserError

STEP = timedelta(seconds=60)
"""How long a process waits for the others at the start, and within a step, once all have their pictures."""

WORK = timedelta(hours=1)
"""How long a process waits for another that examines or reads pictures, validates or saves. One that ends is noticed at once."""


@dataclass(frozen=True)
class Group:
    """The processes of a training: this one's `rank` among `world`. The first, of rank 0, is the one that writes and speaks.

    What they agree upon goes through the CPU and never waits for a GPU."""

    rank: int = 0
    world: int = 1
    _talk: Any = None

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    def any(self, flag: bool) -> bool:
        """Whether it holds in any of the processes; they wait for one another here."""
        if self.world == 1:
            return flag
        voices = torch.tensor([int(flag)])
        dist.all_reduce(voices, dist.ReduceOp.MAX, group=self._talk)
        return bool(voices)

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """All processes meet at the end of the `with`; an error within it, in any of them, ends all.

        The process that it met raises it, the others OtherProcessError, so that it is said once. Nothing within may communicate."""
        failure = None
        try:
            yield
        except Exception as error:
            failure = error
        self._meet(failure)

    @contextlib.contextmanager
    def in_turn(self) -> Iterator[None]:
        """As `together`, but the others begin when the first process is through."""
        if not self.first:
            self._meet(None)
        failure = None
        try:
            yield
        except Exception as error:
            failure = error
        if self.first:
            self._meet(failure)
        self._meet(failure)

    def _meet(self, failure: Exception | None) -> None:
        found = self._gather(None if failure is None else str(failure) or type(failure).__name__)
        failed = [rank for rank, words in enumerate(found) if words is not None]
        if not failed:
            return
        if failure is not None and failed[0] == self.rank:
            raise failure
        if not self.first:
            time.sleep(1)  # when one process ends, the launcher ends the others: those that have something to say go first
        raise OtherProcessError(f"process {failed[0]} of {self.world}: {found[failed[0]]}", said=not self.first)

    def fail(self, error: Exception) -> NoReturn:
        """Ends all processes with an error that all of them know of: the first raises it."""
        with self.together():
            if self.first:
                raise error
        raise AssertionError("not all processes know of the error")

    def told(self, value: Any) -> Any:
        """The first process's value, in all of them."""
        return self._gather(value)[0]

    def require_same(self, value: Any, what: str) -> None:
        """Raises UserError unless all processes hold the same value."""
        found = self._gather(value)
        for rank, other in enumerate(found):
            if other != found[0]:
                self.fail(UserError(f"process {rank} has another {what} than process 0: start all processes with the same"))

    def _gather(self, value: Any) -> list[Any]:
        found = [value] * self.world
        if self.world > 1:
            dist.all_gather_object(found, value, group=self._talk)
        return found

    def spread(self, tensors: Iterable[Tensor]) -> None:
        """Puts the first process's values into all processes' tensors."""
        if self.world > 1:
            for tensor in tensors:
                whole = tensor.contiguous()
                dist.broadcast(whole, 0)
                tensor.copy_(whole)

    def mean(self, tensor: Tensor) -> Tensor:
        """The mean over the processes."""
        if self.world == 1:
            return tensor
        total = tensor.clone()
        dist.all_reduce(total)
        return total / self.world


def placed() -> int | None:
    """This process's number on its machine, LOCAL_RANK, or None when there is but one process."""
    _, world, local = _environment()
    return local if world > 1 else None


@contextlib.contextmanager
def joined(place: torch.device) -> Iterator[Group]:
    """The group of all processes of this training, as the environment names them; one that the caller has opened is used as it is.

    Raises UserError when the environment is incomplete or not all processes come, OtherProcessError when one of them ends or cannot be
    reached any more."""
    opened = dist.is_available() and dist.is_initialized()
    rank, world, _ = (dist.get_rank(), dist.get_world_size(), 0) if opened else _environment()
    if world == 1:
        yield Group()
        return
    if place.type not in ("cpu", "cuda"):
        raise UserError(f"several processes train on cpu or cuda, not on {place.type}: use --device cpu, or one process")
    if not opened:
        _open(place, rank, world)
    try:
        talk: Any = dist.new_group(backend="gloo", timeout=WORK)
        yield Group(rank, world, talk)
        dist.barrier(group=talk)
    except RuntimeError as error:
        if not _lost(error):
            raise
        raise OtherProcessError(
            f"process {rank} of {world}: another process ended or cannot be reached any more; training stopped, the last save is kept, "
            "and the same command continues from it"
        ) from error
    if not opened:
        dist.destroy_process_group()


def _open(place: torch.device, rank: int, world: int) -> None:
    backend = "nccl" if place.type == "cuda" and dist.is_nccl_available() else "gloo"
    try:
        dist.init_process_group(backend, timeout=STEP, device_id=place if backend == "nccl" else None)
    except (RuntimeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"process {rank} of {world} did not meet the others within {STEP.seconds} s ({reason}): start all of them with the same "
            "MASTER_ADDR, MASTER_PORT and WORLD_SIZE, each with its own RANK"
        ) from None


def _lost(error: RuntimeError) -> bool:
    """Whether it says that a process cannot be reached; Gloo's errors have no type of their own."""
    return isinstance(error, dist.DistError) or "gloo/" in str(error)


def _environment() -> tuple[int, int, int]:
    """Rank, number of processes, and number on this machine."""
    given = {name: os.environ[name] for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK") if name in os.environ}
    if "ACCELERATE_MIXED_PRECISION" in os.environ and "MASTER_PORT" in os.environ and not given:
        raise UserError(
            "accelerate launch was asked for several processes and started one without RANK, as it does with --cpu: use --multi_gpu "
            "in the place of --cpu (on CPUs too), or torchrun --nproc_per_node N"
        )
    try:
        world = int(given.get("WORLD_SIZE", 1))
        rank = int(given["RANK"]) if world > 1 else 0
        local = int(given.get("LOCAL_RANK", rank))
    except (KeyError, ValueError):
        shown = ", ".join(f"{name}={value}" for name, value in given.items())
        raise UserError(
            f"{shown}: several processes need RANK, WORLD_SIZE and LOCAL_RANK as whole numbers, as torchrun sets them"
        ) from None
    if not 0 <= rank < world:
        raise UserError(f"RANK={rank} with WORLD_SIZE={world}: ranks go from 0 to {world - 1}")
    return rank, world, local
