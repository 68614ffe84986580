"""A forward pass that is taken up in the middle: what PyTorch was asked before a place is remembered, and not computed again.

Works on calls of PyTorch's functions, not on modules: it needs nothing of a network but that its forward asks the same questions each time,
and what a network does between its modules is skipped too. Nothing is put into the network."""

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import TreeSpec, tree_flatten, tree_leaves, tree_unflatten

_LOOKS = {"__get__", "__len__", "dim", "dim_order", "is_contiguous", "numel", "size", "stride"}
"""Functions that may read a tensor's shape alone; those of them that give a tensor read its values."""

_NESTED = (tuple, list, dict)
_, _LEAF = tree_flatten(None)


class DivergedError(Exception):
    """A forward asks other questions than the one that was recorded."""


@dataclass(frozen=True)
class Call:
    """A call before the place: its function and what it gave. `leaves`: tensors that something behind the place reads (`Fresh` where it
    writes to them, too); stand-ins of the same shape, without memory, for others; and plain values. `again`: it neither takes nor gives a
    tensor (modes, flags), and is made again."""

    function: Any
    leaves: tuple[Any, ...]
    form: TreeSpec
    again: bool

    def planes(self, but: Tensor) -> "Call":
        """The same with tensors in PyTorch's usual memory format; stand-ins, what shares memory, and `but` stay as they are."""
        ready = [leaf.contiguous() if isinstance(leaf, Tensor) and _whole(leaf, but) else leaf for leaf in self.leaves]
        return replace(self, leaves=tuple(ready))


@dataclass(frozen=True)
class Fresh:
    """A tensor as it was at the place, on memory of which each replay has a copy of its own, one for all tensors that share it."""

    memory: int
    content: torch.UntypedStorage
    like: Tensor
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    def made(self, copies: dict[int, torch.UntypedStorage]) -> Tensor:
        if self.memory not in copies:
            copies[self.memory] = self.content.clone()
        return self.like.new_empty(0).set_(copies[self.memory], self.offset, self.size, self.stride)  # pyright: ignore[reportArgumentType]


class _Seen:
    """A tensor that a call gave, not kept alive by being remembered: what is dead when the place is reached is needed no more."""

    def __init__(self, tensor: Tensor) -> None:
        self.alive = weakref.ref(tensor)
        self.shape, self.dtype, self.device = tensor.shape, tensor.dtype, tensor.device

    def standin(self) -> Tensor:
        return torch.zeros((), dtype=self.dtype, device=self.device).expand(self.shape)


class Recording(TorchFunctionMode):
    """Records a forward, as a context around it; `reach` is called in it, with the feature, when the place is reached.

    `copied`: which results, by call and leaf, have to be copied at the place, for they are written to behind it (`written` of an earlier
    recording); (-1, 0) is the feature, whose copy is `feature`."""

    def __init__(self, copied: frozenset[tuple[int, int]] = frozenset()) -> None:
        super().__init__()
        self._copied = copied
        self._before: list[tuple[Any, list[Any], TreeSpec, bool]] = []
        self._kept: dict[tuple[int, int], tuple[Tensor, Any, int]] = {}
        self._contents: dict[int, torch.UntypedStorage] = {}
        self._used: set[int] = set()
        self._readers: list[Any] = []
        self._given: Tensor | None = None
        self.feature: Tensor | None = None

    def __torch_function__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        # A torch.Size is a tuple, but no tree.
        leaves, form = tree_flatten(result) if isinstance(result, _NESTED) and type(result) is not torch.Size else ([result], _LEAF)
        nested = kwargs or any(isinstance(value, _NESTED) for value in args)
        tensors = [leaf for leaf in (tree_leaves((args, kwargs)) if nested else args) if isinstance(leaf, Tensor)]
        gives = any(isinstance(leaf, Tensor) for leaf in leaves)
        if self._given is None:
            seen = [_Seen(leaf) if isinstance(leaf, Tensor) else leaf for leaf in leaves]
            self._before.append((func, seen, form, not gives and not tensors))
        elif gives or getattr(func, "__name__", "") not in _LOOKS:
            keys = {_memory(tensor) for tensor in tensors}
            self._used |= keys
            if _memory(self._given) in keys:
                self._readers.append(func is torch.conv2d and args and args[0] is self._given and _groups(*args, **(kwargs or {})) == 1)
        return result

    def reach(self, feature: Tensor) -> None:
        """The feature at the place. What lives now may be needed behind it. To be called with PyTorch's function modes off."""
        self._given = feature
        for i, (_, leaves, _, _) in enumerate(self._before):
            for j, leaf in enumerate(leaves):
                if isinstance(leaf, _Seen) and (tensor := leaf.alive()) is not None:
                    self._keep((i, j), tensor)
        self._kept[-1, 0] = feature, feature, _version(feature)
        self.feature = feature.clone() if (-1, 0) in self._copied else feature

    def _keep(self, place: tuple[int, int], tensor: Tensor) -> None:
        value: Any = tensor
        if place in self._copied:
            memory = _memory(tensor)
            if memory not in self._contents:
                self._contents[memory] = tensor.untyped_storage().clone()
            like = tensor.new_empty(0)
            value = Fresh(memory, self._contents[memory], like, int(tensor.storage_offset()), tuple(tensor.shape), tensor.stride())
        self._kept[place] = tensor, value, _version(tensor)

    def written(self) -> frozenset[tuple[int, int]]:
        """What was written to behind the place, and so is not what it was there; for `copied` of another recording."""
        return frozenset(place for place, (tensor, _, version) in self._kept.items() if _version(tensor) != version)

    def calls(self) -> list[Call]:
        """The calls before the place, when the forward is over."""
        found = []
        for i, (function, leaves, form, again) in enumerate(self._before):
            ready: list[Any] = []
            for j, leaf in enumerate(leaves):
                tensor, value, _ = self._kept.get((i, j), (None, None, 0))
                needed = tensor is not None and _memory(tensor) in self._used
                ready.append(value if needed else leaf.standin() if isinstance(leaf, _Seen) else leaf)
            found.append(Call(function, tuple(ready), form, again))
        return found

    def convolved(self) -> bool:
        """Whether all that reads the feature is one Conv2d, of one group."""
        return self._readers == [True]


class Replay(TorchFunctionMode):
    """Plays recorded calls, as a context around a forward, up to the place, where `reach` is called with the feature that the network is
    given there; from there on, all is computed. `convolve` takes the place of the Conv2d that reads the feature.

    Raises DivergedError when the forward is not as it was recorded."""

    def __init__(self, calls: Sequence[Call], convolve: Callable[..., Tensor] | None = None) -> None:
        super().__init__()
        self._calls, self._convolve = calls, convolve
        self._next = 0
        self._copies: dict[int, torch.UntypedStorage] = {}
        self._feature: Tensor | None = None

    def __torch_function__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self._feature is not None:
            if self._convolve is not None and func is torch.conv2d and args and args[0] is self._feature:
                return self._convolve(*args, **kwargs)
            return func(*args, **kwargs)
        if self._next == len(self._calls) or self._calls[self._next].function != func:
            raise DivergedError
        call = self._calls[self._next]
        self._next += 1
        if call.again:
            return func(*args, **kwargs)
        if call.form is _LEAF and not isinstance(call.leaves[0], Fresh):
            return call.leaves[0]
        return tree_unflatten([leaf.made(self._copies) if isinstance(leaf, Fresh) else leaf for leaf in call.leaves], call.form)

    def reach(self, feature: Tensor) -> None:
        """The place is reached."""
        if self._next != len(self._calls):
            raise DivergedError
        self._feature = feature


def _memory(tensor: Tensor) -> int:
    """Names the memory that a tensor looks at, while that lives: views share it."""
    try:
        return tensor.untyped_storage()._cdata
    except NotImplementedError:  # of sparse tensors
        return id(tensor)


def _whole(tensor: Tensor, but: Tensor) -> bool:
    """Whether a tensor has memory for all its values, channels last, and other memory than `but`."""
    return tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last) and _memory(tensor) != _memory(but)


def _version(tensor: Tensor) -> int:
    """How often the memory was written to; parameters that were loaded in inference mode do not count."""
    return 0 if tensor.is_inference() else tensor._version


def _groups(
    input: Any, weight: Any = None, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: Any = 1, **others: Any
) -> Any:
    """The groups, if these are the arguments of a Conv2d."""
    return groups
