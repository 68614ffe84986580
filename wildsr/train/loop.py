"""One loop that reads from top to bottom."""

import contextlib
import copy
import itertools
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from rich.console import Console
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from wildsr import chance, checkpoint, datasets, devices, files, networks
from wildsr.errors import OtherProcessError, TrainingDivergedError, UserError, no_memory
from wildsr.networks.convolution import training_layout
from wildsr.regularize import attach
from wildsr.train.config import BOOKKEEPING, SCHEDULES, TrainConfig, require_sites
from wildsr.train.log import Bar, Log, StopRequests, Unread
from wildsr.train.processes import Group, joined, placed
from wildsr.train.samples import Samples
from wildsr.train.step import GraphedStep, Step


def train(
    config: TrainConfig,
    data: Sequence[Path | str],
    run_dir: Path | str,
    *,
    init: Path | str | None = None,
    validate: Callable[[networks.Network], Mapping[str, float]] | None = None,
    device: str = "auto",
    console: Console | None = None,
) -> Path:
    """Trains, or continues the run in `run_dir`; returns its model.safetensors (averaged weights).

    The same arguments again continue from the last save. A finished run goes on when `steps` has grown: from there on, all that varies
    with time is what it would be in a run of the new length, so the learning rate returns to the longer schedule. `init` starts from
    the weights of any readable file; of those of another scale, from what has the same name and shape. `validate` gets the averaged
    network, in eval mode and float32, and returns scores to log. Ctrl-C and SIGTERM save first, then raise KeyboardInterrupt and
    SystemExit(143).

    On a CPU, the whole process keeps from then on the memory that it frees (`devices.keep_memory`).

    Started as several processes (by torchrun or accelerate launch), each goes through its part of every batch, and all hold the same
    weights. The first one reads and writes `run_dir`, validates and speaks; the pictures have to be there for all of them.

    Raises UserError for pictures that cannot be used, for a run directory that holds a training of another configuration (showing the
    difference), for `init` weights of another network, and where memory runs out; TrainingDivergedError when a loss is not finite;
    OtherProcessError when another process failed or is gone."""
    run_dir, place = Path(run_dir), devices.pick(device, placed())
    if place.type == "cpu":
        devices.keep_memory()
    with contextlib.ExitStack() as stack, joined(place) as group:
        with group.together():
            if group.first:
                refusal = f"{run_dir}: another process is training in this run directory"
                stack.enter_context(files.exclusive(run_dir / ".lock", refusal))
        console = console or Console(stderr=True)
        try:
            return _train(config, data, run_dir, init, validate, place, console if group.first else Console(quiet=True), group)
        except (RuntimeError, MemoryError) as error:
            if isinstance(error, OtherProcessError) or not no_memory(error):
                raise
            mend = f"--set accumulate={2 * config.accumulate}, or a smaller batch_size, lr_patch or network"
            raise UserError(f"not enough memory to train: try {mend} ({' '.join(str(error).split())[:200]})") from error


def _train(
    config: TrainConfig,
    data: Sequence[Path | str],
    run_dir: Path,
    init: Path | str | None,
    validate: Callable[[networks.Network], Mapping[str, float]] | None,
    place: torch.device,
    console: Console,
    group: Group,
) -> Path:
    # ------------------------------------------------------------------------------ what is there: an earlier start, weights, pictures
    precision = config.precision if config.precision != "auto" else "bf16" if devices.computes_bf16(place) else "fp32"
    with group.in_turn():
        found = _find(config, data, run_dir, init, precision, group)
    first = group.told(found.first)
    group.require_same((config.dump(), validate is None), "configuration")
    group.require_same(found.origin["data_fingerprint"], "set of pictures (--data)")
    group.require_same((files.code_version(), torch.__version__, place.type, precision), "version, device or precision")
    if found.state and found.processes != group.world:
        console.print(
            f"started as {group.world}, the last time as {found.processes} processes: pictures and masks stay the same, but sums are taken "
            "in another order, and the last bits differ",
            highlight=False,
            soft_wrap=True,
        )
    if found.precision not in (None, precision) and first < config.steps:
        console.print(
            f"started in {precision}, the last time in {found.precision}: the model will say that steps were computed in both",
            highlight=False,
            soft_wrap=True,
        )

    # ------------------------------------------------------------------------------------------------- network, averages, optimiser
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(chance.torch_seed(config.seed, "initialisation"))
        net = networks.create(config.network)
    if found.start is not None:
        taken, fresh = networks.transferable(found.start.weights, config.network)
        net.load_state_dict({name: tensor.float() for name, tensor in taken.items()}, strict=False)
        if not found.state and found.start.network.scale != config.network.scale:
            console.print(
                f"started from a ×{found.start.network.scale} network: {len(taken)} of {len(taken) + len(fresh)} tensors are its; "
                f"new: {', '.join(fresh) or 'none'}",
                highlight=False,
                soft_wrap=True,
            )
    net = net.to(place).to(memory_format=training_layout(net, place))  # pyright: ignore[reportCallIssue]
    averaged = copy.deepcopy(net).eval().requires_grad_(False)
    optimizer = torch.optim.Adam(net.parameters(), lr=config.learning_rate, betas=config.betas, fused=place.type != "mps")
    _begin_moments(net, optimizer, first)
    with group.together():
        graph = _graph(config, place, net, group)
        if found.state:
            _restore(net, averaged, optimizer, *found.state, run_dir)
    group.spread(tensor for tensors in _state(net, averaged, optimizer).values() for tensor in tensors.values())
    # MPS lacks some of the degradation's operators; there, samples are made on the CPU.
    samples = Samples(config, found.source, torch.device("cpu") if place.type == "mps" else place)

    def export(path: Path, weights: nn.Module, key: str, step: int) -> None:
        metadata = {
            "recipe": config.recipe,
            "config": config.identity(),
            "regularizers": config.dump()["regularizers"],
            **found.origin,
            # Of an extended run alone: it is not what a straight run of the same length would be.
            **({"extended_from": found.lengths[:-1]} if len(found.lengths) > 1 else {}),
            "precision": ", then ".join(found.precisions),
            "images_seen": step * config.batch_size,
            "code_version": files.code_version(),
        }
        checkpoint.save(path, checkpoint.Checkpoint(config.network, dict(weights.state_dict()), key, metadata))

    def export_both(step: int) -> None:
        export(run_dir / "model.safetensors", averaged, "ema", step)
        export(run_dir / "raw.safetensors", net, "raw", step)

    def save(step: int) -> None:
        _require_finite_weights({"weights": net, "averaged weights": averaged}, step)
        try:
            checkpoint.save_state(run_dir / "state", step, _state(net, averaged, optimizer))
            export_both(step)
        except OSError as error:
            raise UserError(
                f"saving step {step} failed: {files.describe_error(error)}. The last whole save is kept: make room and give the same "
                "command again"
            ) from error

    with group.together():
        if found.state and not _exported(run_dir, first * config.batch_size):
            # The last start was killed between the state and the model files that belong to it.
            export_both(first)

    # --------------------------------------------------------------------------------------------------------------------- the loop
    net.train()
    pictures = config.pictures(group.world)  # of a micro-batch of this process
    own = group.rank * config.accumulate * pictures  # where its stretch of the batch begins
    patches = config.views_drawn * pictures
    blank_lr, blank_hr = (torch.zeros((patches, 3, side, side), device=place) for side in (config.lr_patch, config.hr_patch))
    example = blank_lr[:1].expand(config.lr_patches // group.world, -1, -1, -1)
    with (
        Log(run_dir if group.first else None, first) as log,
        Bar(console, config, first) as bar,
        StopRequests(launched=group.world > 1) as stop,
        attach(net, *config.regularizers, example=example, seed=config.seed, views=config.views_drawn) as attached,
    ):
        log.start(config, first, place, precision, group.world)
        play: Step | GraphedStep = Step(
            _wrapped(net, place, group),
            averaged,
            optimizer,
            attached,
            clip_norm=config.clip_norm,
            bf16=precision == "bf16",
            parts=config.accumulate,
            in_tensors=graph,
        )

        def begin(part: int) -> None:
            attached.begin(0, 0.0, part, config.accumulate)

        if group.world > 1:
            # DistributedDataParallel orders the gradients by the first backward that it sees, and the sum of three numbers hangs on
            # their order: a run that goes on must have seen one, too.
            with _own_chance(net, place, config.seed, 0):
                play.rehearse(begin, blank_lr, blank_hr, times=1)
        if graph and first < config.steps:
            play = _graphed(play, begin, blank_lr, blank_hr, config, console)
        unread = Unread(group.mean)
        spent, counted = {"data": 0.0, "network": 0.0}, first

        def look() -> dict[str, float]:
            """Waits for the device, sees to it that all losses are finite, and shows them; returns the last step's."""
            values: dict[str, float] = {}
            for step, values in unread.read(play.names):
                diverged = _diverged(values, step)
                if diverged is not None:
                    group.fail(diverged)
                bar.advance(step, values)
            return values

        for step in range(first, config.steps):
            n, progress = step * config.batch_size, step / config.steps
            rate = config.learning_rate * SCHEDULES[config.schedule](progress)
            play.set(rate, decay=min(config.ema, (1 + step) / (10 + step)))
            losses: list[Tensor] = []
            lr, hr, asked = blank_lr, blank_hr, False
            for part in range(config.accumulate):
                clock = time.perf_counter()
                start = n + own + part * pictures
                lr, hr = (batch.to(place) for batch in samples.batch(start, pictures))
                assert len(lr) == len(hr) == patches, "a mean over processes and parts is that of the batch only if all are equally large"
                spent["data"] += time.perf_counter() - clock

                asked = group.any(stop.requested)  # reading pictures may take long: from here on, nobody waits long for another
                clock = time.perf_counter()
                attached.begin(n, progress, part, config.accumulate)
                with _own_chance(net, place, config.seed, start):
                    losses.append(play(lr, hr, part))
                spent["network"] += time.perf_counter() - clock

            done = step + 1
            last = done == config.steps
            unread.add(done, losses)
            logging = done % config.log_every == 0 or last
            scoring = validate is not None and (done % config.val_every == 0 or last)
            picturing = done % config.snapshot_every == 0
            saving = done % config.save_every == 0 or last
            if place.type != "cuda" or logging or scoring or picturing or saving or done % READ_EVERY == 0:
                clock = time.perf_counter()
                values = look()
                spent["network"] += time.perf_counter() - clock
                if logging:
                    seconds = {name: total / (done - counted) for name, total in spent.items()}
                    log.step(done, done * config.batch_size, rate, values, seconds)
                    spent, counted = dict.fromkeys(spent, 0.0), done
            if scoring or picturing:
                with group.together():
                    if group.first and scoring and validate is not None:
                        log.scores(done, validate(averaged))
                    if group.first and picturing:
                        _require_finite_weights({"averaged weights": averaged}, done)
                        export(run_dir / "snapshots" / f"{done:08d}.safetensors", averaged, "ema", done)
                        log.preview(done, lr[:4], _upscaled(averaged, lr[:4]), hr[:4])
            leave = stop.requested if group.world == 1 else asked
            if saving or leave:
                look()
                with group.together():
                    if group.first:
                        save(done)
                        log.write({"event": "save", "step": done})
            if last:
                log.write({"event": "end", "step": done})
            if leave:
                if not last:
                    console.print(f"stopped after step {done} of {config.steps} and saved: the same command continues")
                raise stop.reason()
    return run_dir / "model.safetensors"


# ------------------------------------------------------------------------------------------------------------------- parts of a step

READ_EVERY = 100
"""Steps after which losses that lie on a GPU are looked at, at the latest; looking means waiting for it."""


def _graph(config: TrainConfig, place: torch.device, net: networks.Network, group: Group) -> bool:
    """Whether to repeat a step as a CUDA graph. Raises UserError when that is asked for and cannot be."""
    obstacles = {
        f"the device is {place.type}": place.type != "cuda",
        f"there are {group.world} processes": group.world > 1,
        f"accumulate = {config.accumulate}": config.accumulate > 1,
        "the network draws chance in its forward": net.draws,
    }
    obstacle = next((obstacle for obstacle, there in obstacles.items() if there), None)
    if config.graph is True and obstacle is not None:
        raise UserError(f'graph = true: one CUDA graph cannot hold this training ({obstacle}); use graph = "auto"')
    return config.graph is not False and obstacle is None


def _graphed(step: Step, begin: Callable[[int], None], lr: Tensor, hr: Tensor, config: TrainConfig, console: Console) -> Step | GraphedStep:
    try:
        return GraphedStep(step, begin, lr, hr)
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        if config.graph is True:
            raise UserError(f'graph = true: recording the CUDA graph failed ({reason}); use graph = "auto"') from error
        console.print(f"the CUDA graph could not be recorded ({reason}): training goes on without it", highlight=False)
        return step


def _wrapped(net: networks.Network, place: torch.device, group: Group) -> nn.Module:
    """What to run forward: with several processes, a wrapper that takes the mean of their gradients.

    No forward changes a buffer of our networks; so they are not sent around."""
    if group.world == 1:
        return net
    wrapped = DistributedDataParallel(net, device_ids=[place] if place.type == "cuda" else None, gradient_as_bucket_view=True)
    wrapped.broadcast_buffers = False  # the argument of this name is deprecated since PyTorch 2.13, and its successor newer than 2.11
    return wrapped


@contextlib.contextmanager
def _own_chance(net: networks.Network, place: torch.device, seed: int, n: int) -> Iterator[None]:
    """For a network that draws by itself: a generator that hangs on (seed, n) alone, and the caller's left as it was."""
    if not net.draws:
        yield
        return
    with torch.random.fork_rng(devices=[place] if place.type == "cuda" else []):
        torch.manual_seed(chance.torch_seed(seed, "network", n))
        yield


def _diverged(losses: Mapping[str, float], step: int) -> TrainingDivergedError | None:
    for name, value in losses.items():
        if not math.isfinite(value):
            return TrainingDivergedError(
                f"the loss {name!r} is {value} at step {step}: training stopped, the last save is kept. "
                "A lower learning_rate or clip_norm = 1 usually helps"
            )
    return None


def _require_finite_weights(modules: Mapping[str, nn.Module], step: int) -> None:
    for name, module in modules.items():
        if not all(bool(tensor.isfinite().all()) for tensor in module.state_dict().values()):
            raise TrainingDivergedError(
                f"the {name} are no longer finite at step {step}: not saved, the last save is kept. Lower learning_rate"
            )


@torch.no_grad()
def _upscaled(net: nn.Module, lr: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 sh sw"]:
    return net(lr).clamp(0, 1)


# ---------------------------------------------------------------------------------------------------------------- what a run keeps


@dataclass(frozen=True)
class _Found:
    """What there is before the first step. All but the pictures is looked up by the first process alone."""

    source: datasets.Source
    origin: dict[str, Any]
    start: checkpoint.Checkpoint | None = None
    state: tuple[int, dict[str, dict[str, Tensor]]] | None = None
    first: int = 0
    lengths: tuple[int, ...] = ()
    processes: int = 1
    """Of the last start."""
    precision: str | None = None
    """Of the last start; None where none is written down."""
    precisions: tuple[str, ...] = ()
    """Those of all steps, done and to be done, each change once."""


def _find(config: TrainConfig, data: Sequence[Path | str], run_dir: Path, init: Path | str | None, precision: str, group: Group) -> _Found:
    """Looks for pictures, starting weights and an earlier start, and writes down what is found."""
    config.pictures(group.world)
    require_sites(config)
    start = _start(config, init) if init is not None and group.first else None
    state = checkpoint.load_state(run_dir / "state") if group.first else None
    first = state[0] if state else 0
    begun = state is not None  # before, another configuration costs nothing
    if group.first and not begun and (run_dir / "model.safetensors").exists():
        raise UserError(f"{run_dir} holds model.safetensors, but no state/ to go on from: use another --run-dir, or move the model away")
    segments = _segments(run_dir, first) if group.first and begun else []
    if group.first and begun:
        _require_same_config(run_dir, config, first, segments[-1]["steps"] if segments else None)
    source = datasets.open(data, _read_json(run_dir / "data.json", []))
    source.require_sound(config.hr_patch)
    origin = {
        "data_fingerprint": source.fingerprint,
        "init": {"weights_sha256": start.weights_sha256, "weights_key": start.weights_key} if start else None,
    }
    if not group.first:
        return _Found(source, origin)
    earlier = _require_same_origin(run_dir, origin) if begun else {}
    now = {"steps": config.steps, "code_version": files.code_version(), "precision": precision}
    before = segments[-1].get("precision") if segments else None
    if not segments or (first < config.steps and any(segments[-1].get(key) != value for key, value in now.items())):
        segments.append({"first_step": first, **now})
    lengths = sorted({segment["steps"] for segment in segments})
    _write_json(run_dir / "data.json", source.to_json())
    _write_json(run_dir / "run.json", {**origin, "segments": segments, "processes": group.world})
    _write_json(run_dir / "config.json", config.dump())
    known = (segment["precision"] for segment in segments if "precision" in segment)
    precisions = tuple(one for one, _ in itertools.groupby(known))
    return _Found(source, origin, start, state, first, tuple(lengths), earlier.get("processes", 1), before, precisions)


def _segments(run_dir: Path, done: int) -> list[dict[str, Any]]:
    """The starts in which steps were done: their first step and length, code and precision, where one of these changed. A start that was
    broken off before it saved counts for nothing."""
    segments = list(_read_json(run_dir / "run.json", {}).get("segments", []))
    while len(segments) > 1 and segments[-1]["first_step"] >= done:
        segments.pop()
    return segments


def _start(config: TrainConfig, init: Path | str) -> checkpoint.Checkpoint:
    start = checkpoint.load(init)
    scaled = start.network.model_copy(update={"scale": config.network.scale})
    if type(scaled) is not type(config.network) or networks.trained(scaled) != networks.trained(config.network):
        there, here = _flat(scaled.model_dump(mode="json")), _flat(config.network.model_dump(mode="json"))
        apart = ", ".join(f"{key} {there.get(key)} and {here.get(key)}" for key in sorted(there | here) if there.get(key) != here.get(key))
        raise UserError(
            f"{init} holds {networks.describe(start.network)}, the run asks for {networks.describe(config.network)}: make them the same "
            f"({apart})"
        )
    return start


def _state(net: nn.Module, averaged: nn.Module, optimizer: torch.optim.Adam) -> dict[str, dict[str, Tensor]]:
    moments = {name: optimizer.state[parameter] for name, parameter in net.named_parameters()}
    return {
        "raw": dict(net.state_dict()),
        "ema": dict(averaged.state_dict()),
        "exp_avg": {name: moment["exp_avg"] for name, moment in moments.items()},
        "exp_avg_sq": {name: moment["exp_avg_sq"] for name, moment in moments.items()},
    }


def _begin_moments(net: nn.Module, optimizer: torch.optim.Adam, step: int) -> None:
    """The optimiser's state after `step` steps, its moments still zero; by itself it would make them in its first step."""
    for parameter in net.parameters():
        optimizer.state[parameter] = {
            "step": torch.tensor(float(step), device=parameter.device if optimizer.defaults["fused"] else "cpu"),
            # In the parameter's own memory layout: another order of summing would change the last bit.
            "exp_avg": torch.zeros_like(parameter),
            "exp_avg_sq": torch.zeros_like(parameter),
        }


def _restore(
    net: nn.Module, averaged: nn.Module, optimizer: torch.optim.Adam, step: int, groups: Mapping[str, Mapping[str, Tensor]], run_dir: Path
) -> None:
    state = _state(net, averaged, optimizer)
    for group, tensors in state.items():
        shapes = {name: tensor.shape for name, tensor in tensors.items()}
        if {name: tensor.shape for name, tensor in groups.get(group, {}).items()} != shapes:
            raise UserError(f"{run_dir / 'state' / f'{step:08d}' / f'{group}.safetensors'} is missing or damaged: use another --run-dir")
    for group, tensors in state.items():
        for name, tensor in tensors.items():
            tensor.copy_(groups[group][name])


def _exported(run_dir: Path, images_seen: int) -> bool:
    paths = [run_dir / "model.safetensors", run_dir / "raw.safetensors"]
    try:
        return all(checkpoint.load(path).metadata.get("images_seen") == images_seen for path in paths)
    except UserError:  # missing or damaged: they are written again from the state
        return False


def _require_same_config(run_dir: Path, config: TrainConfig, done: int, length: int | None) -> None:
    """Raises UserError where `config` differs from the run's, whose length in steps is `length` (None: as its configuration says)."""
    earlier = _flat(_read_json(run_dir / "config.json", {}))
    if earlier and length is not None:
        earlier["steps"] = length
    now = _flat(config.dump())
    different = [key for key in sorted(earlier | now) if earlier.get(key) != now.get(key) and key not in BOOKKEEPING]
    if not earlier or not different or (different == ["steps"] and done == earlier["steps"] < config.steps):
        return
    shown = ", ".join(f"{key} was {earlier.get(key)!r} and is {now.get(key)!r}" for key in different)
    mend = "use another --run-dir, or the former values"
    if different == ["steps"]:
        mend = (
            f"{done} of {earlier['steps']} steps are done; only a finished run can be extended: finish it first, or use another --run-dir"
        )
        if done >= config.steps:
            mend = f"{done} steps are done already: more steps extend a finished run, fewer need another --run-dir"
    raise UserError(f"{run_dir} holds a run of another configuration: {shown}; {mend}")


def _require_same_origin(run_dir: Path, origin: Mapping[str, Any]) -> dict[str, Any]:
    earlier = _read_json(run_dir / "run.json", {})
    if not earlier:
        return {}
    if not {"data_fingerprint", "init", "segments"} <= set(earlier):
        raise UserError(f"{run_dir / 'run.json'} is damaged: use another --run-dir")
    if earlier["data_fingerprint"] != origin["data_fingerprint"]:
        raise UserError(f"{run_dir} was started on other pictures: give it the same --data (unchanged), or use another --run-dir")
    if earlier["init"] != origin["init"]:
        was, now = (value["weights_sha256"][:12] if value else "none" for value in (earlier["init"], origin["init"]))
        raise UserError(f"{run_dir} was started with other weights: --init was {was} and is {now}; use the former, or another --run-dir")
    return earlier


def _flat(values: Any, path: str = "") -> dict[str, Any]:
    if isinstance(values, dict):
        return {key: leaf for name, value in values.items() for key, leaf in _flat(value, f"{path}.{name}" if path else name).items()}
    return {path: values}


def _read_json(path: Path, default: Any) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else default
    except ValueError:
        raise UserError(f"{path} is damaged (not JSON): restore it, or use another --run-dir") from None


def _write_json(path: Path, values: Any) -> None:
    files.write_text(path, files.to_json(values))
