"""One step of training: what is repeated, without what differs from step to step but the values of tensors."""

import contextlib
import warnings
from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from wildsr.networks.convolution import training_layout
from wildsr.regularize import Attached


class Step:
    """Forward, losses, backward, clipping, update and averaging, for batches of always the same size.

    Several processes: `net` is wrapped already, and the gradient is the mean over them. `parts`: micro-batches, each played by a call of
    its own, whose gradients are averaged; the last one updates. Nothing is drawn here, nothing is read back from the device, and with
    `in_tensors` the learning rate and the averaging weight lie in tensors too: a GPU can repeat all of it as one CUDA graph."""

    def __init__(
        self,
        net: nn.Module,
        averaged: nn.Module,
        optimizer: torch.optim.Adam,
        attached: Attached,
        *,
        clip_norm: float | None = None,
        bf16: bool = False,
        parts: int = 1,
        in_tensors: bool = False,
    ) -> None:
        self.names: tuple[str, ...] = ()
        """The losses' names; known when the first step was played."""
        self.parts = parts
        self._net, self._optimizer, self._attached = net, optimizer, attached
        self._clip_norm, self._bf16 = clip_norm, bf16
        inner = net.module if isinstance(net, DistributedDataParallel) else net
        self._parameters = list(inner.parameters())
        self._means, self._values = list(averaged.state_dict().values()), list(inner.state_dict().values())
        place = self._parameters[0].device
        self._layout = training_layout(inner, place)
        self._rate, self._weight = 0.0, 0.0
        if in_tensors:
            self._rate, self._weight = torch.zeros((), device=place), torch.zeros((), device=place)
        self.set(0.0, 1.0)

    def set(self, rate: float, decay: float) -> None:
        """The learning rate of the coming step, and how much of the averaged weights it keeps, both in [0, 1]."""
        if isinstance(self._rate, Tensor) and isinstance(self._weight, Tensor):
            self._rate.fill_(rate)
            self._weight.fill_(1 - decay)
        else:
            self._rate, self._weight = rate, 1 - decay
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate

    def __call__(self, lr: Float[Tensor, "n 3 h w"], hr: Float[Tensor, "n 3 sh sw"], part: int = 0) -> Float[Tensor, " losses"]:
        """Plays micro-batch `part` of a step; returns its losses in the order of `names`."""
        last = part == self.parts - 1
        if part == 0:
            self._optimizer.zero_grad()
        with self._alone(not last):
            with torch.autocast(lr.device.type, torch.bfloat16, enabled=self._bf16):
                sr = self._net(lr.contiguous(memory_format=self._layout))
            losses = {"pixel": F.l1_loss(sr.float(), hr), **self._attached.losses()}
            values = torch.stack(list(losses.values()))
            total = values.sum()
            (total if self.parts == 1 else total / self.parts).backward()
        if last:
            if self._clip_norm is not None:
                nn.utils.clip_grad_norm_(self._parameters, self._clip_norm)
            self._optimizer.step()
            average(self._means, self._values, self._weight)
        self.names = tuple(losses)
        return values.detach()

    def _alone(self, alone: bool) -> contextlib.AbstractContextManager[None]:
        """Without talking to other processes: gradients are exchanged once a step."""
        return self._net.no_sync() if alone and isinstance(self._net, DistributedDataParallel) else contextlib.nullcontext()

    def rehearse(self, begin: Callable[[int], None], lr: Tensor, hr: Tensor, times: int) -> None:
        """Plays steps, `begin(part)` before each micro-batch, and leaves weights, averages and the optimiser's state as they were."""
        assert all(self._optimizer.state[parameter] for parameter in self._parameters), "what is not there yet cannot be put back"
        moments = [tensor for parameter in self._parameters for tensor in self._optimizer.state[parameter].values()]
        state = [*self._means, *self._values, *moments]
        kept = [tensor.clone() for tensor in state]
        try:
            for _ in range(times):
                for part in range(self.parts):
                    begin(part)
                    self(lr, hr, part)
        finally:
            for tensor, before in zip(state, kept, strict=True):
                tensor.copy_(before)
            self._optimizer.zero_grad()

    @contextlib.contextmanager
    def recordable(self) -> Iterator[None]:
        """Lets the optimiser's update be recorded; when recording fails, all is as before."""
        groups = self._optimizer.param_groups
        for group in groups:
            group["capturable"] = True
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "This instance was constructed with capturable=True")  # the rehearsal is not recorded
                yield
        except BaseException:
            for group in groups:
                group["capturable"] = False
            raise


@torch.no_grad()
def average(means: Sequence[Tensor], values: Sequence[Tensor], weight: float | Tensor) -> None:
    """means ← means + weight · (values − means), in place; what is not floating point is copied."""
    pairs = list(zip(means, values, strict=True))
    for mean, value in pairs:
        if not mean.is_floating_point():
            mean.copy_(value)
    old, new = ([pair[i] for pair in pairs if pair[0].is_floating_point()] for i in (0, 1))
    if isinstance(weight, Tensor):
        apart = torch._foreach_sub(new, old)  # pyright: ignore[reportPrivateImportUsage]
        torch._foreach_mul_(apart, weight)  # pyright: ignore[reportPrivateImportUsage]
        torch._foreach_add_(old, apart)  # pyright: ignore[reportPrivateImportUsage]
    else:
        torch._foreach_lerp_(old, new, weight)  # pyright: ignore[reportPrivateImportUsage]


class GraphedStep:
    """A `Step` of one micro-batch as a CUDA graph: recorded once, then repeated without Python, on the values that its tensors then hold.

    `begin` draws the regularisers' chance, outside the graph and into tensors that stay where they are. Recording leaves the training as
    it was. Raises RuntimeError when the network does something that no graph can hold."""

    def __init__(self, step: Step, begin: Callable[[int], None], lr: Float[Tensor, "n 3 h w"], hr: Float[Tensor, "n 3 sh sw"]) -> None:
        assert step.parts == 1, "the graph is of a whole step"
        self._step = step
        self._lr = lr.clone(memory_format=torch.channels_last)
        self._hr = hr.clone()
        with step.recordable():
            # As PyTorch asks: what is made lazily is made before, on another stream; gradients then lie in the graph's own memory.
            aside = torch.cuda.Stream()
            aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(aside):
                step.rehearse(begin, self._lr, self._hr, times=3)
            torch.cuda.current_stream().wait_stream(aside)
            begin(0)
            self._graph, home = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
            try:
                with torch.cuda.graph(self._graph):
                    self._losses = step(self._lr, self._hr)
            finally:
                torch.cuda.set_stream(home)  # a recording that fails leaves its own

    @property
    def names(self) -> tuple[str, ...]:
        """The losses' names."""
        return self._step.names

    def set(self, rate: float, decay: float) -> None:
        """As `Step.set`."""
        self._step.set(rate, decay)

    def __call__(self, lr: Float[Tensor, "n 3 h w"], hr: Float[Tensor, "n 3 sh sw"], part: int = 0) -> Float[Tensor, " losses"]:
        """Plays a step; returns its losses in the order of `names`."""
        self._lr.copy_(lr)
        self._hr.copy_(hr)
        self._graph.replay()
        return self._losses.clone()
