"""Places in a network where features can be read or changed: any nn.Module's, by name."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from wildsr.config import nearest
from wildsr.errors import UserError


class Site(NamedTuple):
    """A place in a network: the input or the output of a module, by its name in `named_modules()`."""

    module: str
    edge: Literal["input", "output"]

    def __str__(self) -> str:
        return f"{self.module}:{self.edge}"


class Found(NamedTuple):
    """Where a name leads: places in the order of forward, and whether a place had to be chosen because the network names none."""

    places: tuple[Site, ...]
    chosen: bool


def find(net: nn.Module, name: str, example: Tensor) -> Found:
    """The places of a name, in the order of forward.

    A name is one of the network's own `sites`; or "last", for any network the input of the convolution that its output comes from; or
    "every-conv", the outputs of all convolutions but the last that runs; or a name of `named_modules()`, its output, or with ":input"
    behind it its input ("last:output" is the output of a module of that name). `example` (1, C, H, W) is run through the network where
    that is needed. Raises UserError listing what there is."""
    own: Any = getattr(net, "sites", None)
    named: Mapping[str, tuple[Site, ...]] = own if isinstance(own, Mapping) else {}
    modules = dict(net.named_modules())
    if name in named:
        return Found(named[name], chosen=False)
    if name == "last":
        return Found((Site(last_convolution(net, example), "input"),), chosen=True)
    if name == "every-conv":
        return Found(tuple(Site(conv, "output") for conv in _convolutions_run(net, example)[:-1]), chosen=False)
    module, _, edge = name.partition(":")
    if module in modules and module and edge in ("", "input", "output"):
        return Found((Site(module, "input" if edge == "input" else "output"),), chosen=False)
    if named:
        raise UserError(f"{type(net).__name__} has no site {name!r}: it has {_listed(named)}, every-conv, or any module's name")
    raise UserError(f"{type(net).__name__} has no site {name!r}: {nearest(module, ['last', 'every-conv', *filter(None, modules)])}")


def _listed(names: Mapping[str, Any]) -> str:
    """Names in a phrase, numbered ones as a range: "first, block1 … block16, hr, last"."""
    shown: list[str] = []
    for name in names:
        if (match := re.fullmatch(r"(\D+)(\d+)", name)) and shown and shown[-1].startswith(f"{match[1]}1"):
            shown[-1] = f"{match[1]}1 … {name}"
        else:
            shown.append(name)
    return ", ".join(shown)


@torch.inference_mode(False)
def last_convolution(net: nn.Module, example: Tensor) -> str:
    """The name of the Conv2d that the output comes from, in eval mode: the only one with no other Conv2d between itself and the output.

    Raises UserError when none runs, or when there are several, listing them."""
    made: dict[Any, str] = {}

    def remember(name: str) -> Any:
        return lambda module, args, out: made.update({out.grad_fn: name})

    convolutions = [(name, module) for name, module in net.named_modules() if isinstance(module, nn.Conv2d)]
    handles = [module.register_forward_hook(remember(name)) for name, module in convolutions]
    with torch.enable_grad(), _removed(handles):
        outputs = [tensor for tensor in _tensors(_forward(net, example.detach().clone().requires_grad_())) if tensor.grad_fn is not None]
    found: set[str] = set()
    seen: set[Any] = set()
    waiting = [tensor.grad_fn for tensor in outputs]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if node in made:
            found.add(made[node])
        else:
            waiting += [following for following, _ in node.next_functions]
    if not found:
        names = ", ".join(filter(None, dict(net.named_modules())))
        raise UserError(f"no Conv2d leads to the output of {type(net).__name__}: name the site: {names}")
    if len(found) > 1:
        candidates = ", ".join(f"{name}:input" for name, _ in convolutions if name in found)
        raise UserError(f"the output of {type(net).__name__} comes from several convolutions: name the site, one of {candidates}")
    return found.pop()


def _convolutions_run(net: nn.Module, example: Tensor) -> list[str]:
    ran: list[str] = []
    convolutions = [(name, module) for name, module in net.named_modules() if isinstance(module, nn.Conv2d)]
    handles = [module.register_forward_hook(lambda _, args, out, name=name: ran.append(name)) for name, module in convolutions]
    with torch.no_grad(), _removed(handles):
        _forward(net, example)
    return ran


def hook(net: nn.Module, site: Site, act: Callable[[Any], Tensor | None]) -> Any:
    """Calls `act` with a place's feature in each forward; a result that is not None takes the feature's place. Returns a handle.

    A copy of the network (copy.deepcopy) has the hook too, and there it does nothing."""
    module = net.get_submodule(site.module)

    def behind(given: nn.Module, args: tuple[Any, ...], output: Any) -> Tensor | None:
        return act(output) if given is module else None

    def before(given: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if given is not module:
            return None
        key = next(iter(kwargs), None) if not args else None
        changed = act(args[0] if args else kwargs.get(key) if key is not None else None)
        if changed is None:
            return None
        return ((changed, *args[1:]), kwargs) if key is None else (args, {**kwargs, key: changed})

    if site.edge == "output":
        return module.register_forward_hook(behind)
    return module.register_forward_pre_hook(before, with_kwargs=True)


def channels(net: nn.Module, places: Sequence[Site], example: Tensor) -> list[int]:
    """The channels of the features at some places, in a forward of `example` in eval mode.

    Raises UserError for a place that forward never reaches, or more than once, and for what is no feature of shape (N, C, H, W)."""
    seen: dict[int, list[Any]] = {i: [] for i in range(len(places))}
    handles = [hook(net, place, lambda feature, i=i: seen[i].append(feature)) for i, place in enumerate(places)]
    with torch.no_grad(), _removed(handles):
        _forward(net, example)
    for i, place in enumerate(places):
        if not seen[i]:
            raise UserError(f"the forward of {type(net).__name__} never reaches {place.module!r}")
        if len(seen[i]) > 1:
            raise UserError(
                f"the forward of {type(net).__name__} runs {place.module!r} {len(seen[i])} times: choose a place that runs once"
            )
        feature = seen[i][0]
        if not isinstance(feature, Tensor) or feature.ndim != 4:
            what = list(feature.shape) if isinstance(feature, Tensor) else type(feature).__name__
            raise UserError(f"the {place.edge} of {place.module!r} is no feature of shape (N, C, H, W) but {what}")
    return [seen[i][0].shape[1] for i in range(len(places))]


def small_example(net: nn.Module) -> Tensor:
    """A black picture (1, C, 32, 32), C being the network's `in_channels`, or else the first convolution's."""
    first = next((module for module in net.modules() if isinstance(module, nn.Conv2d)), None)
    if first is None:
        raise UserError(f"{type(net).__name__} has no Conv2d to tell what it takes: give an example batch")
    return first.weight.new_zeros(1, getattr(net, "in_channels", first.in_channels), 32, 32)


def _forward(net: nn.Module, example: Tensor) -> Any:
    """In eval mode, leaving every module's mode as it was."""
    modes = {module: module.training for module in net.modules()}
    net.eval()
    try:
        return net(example)
    except UserError:
        raise
    except Exception as error:  # whatever a foreign network may say to a picture that it cannot take
        why = " ".join(str(error).split())
        raise UserError(f"{type(net).__name__} cannot take an example of shape {list(example.shape)} ({why}): give another") from error
    finally:
        for module, training in modes.items():
            module.training = training


def _tensors(output: Any) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, Mapping | list | tuple):
        for part in output.values() if isinstance(output, Mapping) else output:
            yield from _tensors(part)


@contextmanager
def _removed(handles: Sequence[Any]) -> Iterator[None]:
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
