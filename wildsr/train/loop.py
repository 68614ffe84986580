"""One loop that reads from top to bottom."""

import contextlib
import copy
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from rich.console import Console
from torch import Tensor, nn

from wildsr import chance, checkpoint, datasets, devices, files, networks
from wildsr.errors import TrainingDivergedError, UserError
from wildsr.regularize import attach
from wildsr.train.config import BOOKKEEPING, SCHEDULES, TrainConfig, require_sites
from wildsr.train.log import Bar, Log, StopRequests
from wildsr.train.samples import Samples


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
    the weights of any readable file. `validate` gets the averaged network, in eval mode and float32, and returns scores to log. Ctrl-C
    and SIGTERM save first, then raise KeyboardInterrupt and SystemExit(143).

    Raises UserError for pictures that cannot be used, for a run directory of another configuration (showing the difference) and for
    `init` weights of another network; TrainingDivergedError when a loss is not finite."""
    run_dir, place = Path(run_dir), devices.pick(device)
    with files.exclusive(run_dir / ".lock", f"{run_dir}: another process is training in this run directory"):
        return _train(config, data, run_dir, init, validate, place, console or Console(stderr=True))


def _train(
    config: TrainConfig,
    data: Sequence[Path | str],
    run_dir: Path,
    init: Path | str | None,
    validate: Callable[[networks.Network], Mapping[str, float]] | None,
    place: torch.device,
    console: Console,
) -> Path:
    # ------------------------------------------------------------------------------ what is there: an earlier start, weights, pictures
    start = checkpoint.load(init) if init is not None else None
    if start is not None and networks.trained(start.network) != networks.trained(config.network):
        there, here = _flat(start.network.model_dump(mode="json")), _flat(config.network.model_dump(mode="json"))
        apart = ", ".join(f"{key} {there.get(key)} and {here.get(key)}" for key in sorted(there | here) if there.get(key) != here.get(key))
        raise UserError(
            f"{init} holds {networks.describe(start.network)}, the run asks for {networks.describe(config.network)}: make them the same "
            f"({apart})"
        )
    state = checkpoint.load_state(run_dir / "state")
    first = state[0] if state else 0
    require_sites(config)
    _require_same_config(run_dir, config, first)
    source = datasets.open(data, _read_json(run_dir / "data.json", []))
    source.require_sound(config.hr_patch)
    origin = {
        "data_fingerprint": source.fingerprint,
        "init": {"weights_sha256": start.weights_sha256, "weights_key": start.weights_key} if start else None,
    }
    segments = _require_same_origin(run_dir, origin)
    if not segments or (segments[-1]["steps"], segments[-1]["code_version"]) != (config.steps, files.code_version()):
        segments.append({"first_step": first, "steps": config.steps, "code_version": files.code_version()})
    lengths = sorted({segment["steps"] for segment in segments})
    _write_json(run_dir / "data.json", source.to_json())
    _write_json(run_dir / "run.json", {**origin, "segments": segments})
    _write_json(run_dir / "config.json", config.dump())

    # ------------------------------------------------------------------------------------------------- network, averages, optimiser
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(chance.torch_seed(config.seed, "initialisation"))
        net = networks.create(config.network)
    if start is not None:
        trained = networks.trained(config.network)
        net.load_state_dict({name: tensor.float() for name, tensor in start.weights.items() if name in trained}, strict=False)
    net = net.to(place).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    averaged = copy.deepcopy(net).eval().requires_grad_(False)
    optimizer = torch.optim.Adam(net.parameters(), lr=config.learning_rate, betas=config.betas, fused=place.type != "mps")
    if state:
        _restore(net, averaged, optimizer, *state, run_dir)
    # MPS lacks some of the degradation's operators; there, samples are made on the CPU.
    samples = Samples(config, source, torch.device("cpu") if place.type == "mps" else place)
    precision = config.precision if config.precision != "auto" else "bf16" if devices.computes_bf16(place) else "fp32"

    def export(path: Path, weights: nn.Module, key: str, step: int) -> None:
        metadata = {
            "recipe": config.recipe,
            "config": config.identity(),
            "regularizers": config.dump()["regularizers"],
            **origin,
            # Of an extended run alone: it is not what a straight run of the same length would be.
            **({"extended_from": lengths[:-1]} if len(lengths) > 1 else {}),
            "precision": precision,
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

    if state and not _exported(run_dir, first * config.batch_size):
        # The last start was killed between the state and the model files that belong to it.
        export_both(first)

    # --------------------------------------------------------------------------------------------------------------------- the loop
    net.train()
    example = torch.zeros((config.lr_patches, 3, config.lr_patch, config.lr_patch), device=place)
    with (
        Log(run_dir, first) as log,
        Bar(console, config, first) as bar,
        StopRequests() as stop,
        attach(net, *config.regularizers, example=example, seed=config.seed, views=config.views_drawn) as attached,
    ):
        log.start(config, first, place, precision)
        for step in range(first, config.steps):
            n, progress = step * config.batch_size, step / config.steps
            clock = [time.perf_counter()]
            lr, hr = (batch.to(place) for batch in samples.batch(n, config.batch_size))
            clock.append(time.perf_counter())

            rate = config.learning_rate * SCHEDULES[config.schedule](progress)
            for group in optimizer.param_groups:
                group["lr"] = rate
            attached.begin(n, progress)
            with _own_chance(net, place, config.seed, n), torch.autocast(place.type, torch.bfloat16, enabled=precision == "bf16"):
                sr = net(lr.contiguous(memory_format=torch.channels_last))
            losses = {"pixel": F.l1_loss(sr.float(), hr), **attached.losses()}
            values = _require_finite_losses(losses, step + 1)
            optimizer.zero_grad()
            torch.stack(list(losses.values())).sum().backward()
            if config.clip_norm is not None:
                nn.utils.clip_grad_norm_(net.parameters(), config.clip_norm)
            optimizer.step()
            _average(averaged, net, decay=min(config.ema, (1 + step) / (10 + step)))
            clock.append(time.perf_counter())

            done = step + 1
            last = done == config.steps
            bar.advance(done, values)
            if done % config.log_every == 0 or last:
                log.step(done, done * config.batch_size, rate, values, clock)
            if validate is not None and (done % config.val_every == 0 or last):
                log.scores(done, validate(averaged))
            if done % config.snapshot_every == 0:
                _require_finite_weights({"averaged weights": averaged}, done)
                export(run_dir / "snapshots" / f"{done:08d}.safetensors", averaged, "ema", done)
                log.preview(done, lr[:4], _upscaled(averaged, lr[:4]), hr[:4])
            if done % config.save_every == 0 or last or stop.requested:
                save(done)
                log.write({"event": "save", "step": done})
            if last:
                log.write({"event": "end", "step": done})
            if stop.requested:
                if not last:
                    console.print(f"stopped after step {done} of {config.steps} and saved: the same command continues")
                raise stop.reason()
    return run_dir / "model.safetensors"


# ------------------------------------------------------------------------------------------------------------------- parts of a step


@contextlib.contextmanager
def _own_chance(net: networks.Network, place: torch.device, seed: int, n: int) -> Iterator[None]:
    """For a network that draws by itself: a generator that hangs on (seed, n) alone, and the caller's left as it was."""
    if not net.draws:
        yield
        return
    with torch.random.fork_rng(devices=[place] if place.type == "cuda" else []):
        torch.manual_seed(chance.torch_seed(seed, "network", n))
        yield


def _require_finite_losses(losses: Mapping[str, Tensor], step: int) -> dict[str, float]:
    values = {name: value.item() for name, value in losses.items()}
    for name, value in values.items():
        if not math.isfinite(value):
            raise TrainingDivergedError(
                f"the loss {name!r} is {value} at step {step}: training stopped, the last save is kept. "
                "A lower learning_rate or clip_norm = 1 usually helps"
            )
    return values


def _require_finite_weights(modules: Mapping[str, nn.Module], step: int) -> None:
    for name, module in modules.items():
        if not all(bool(tensor.isfinite().all()) for tensor in module.state_dict().values()):
            raise TrainingDivergedError(
                f"the {name} are no longer finite at step {step}: not saved, the last save is kept. Lower learning_rate"
            )


@torch.no_grad()
def _average(averaged: nn.Module, net: nn.Module, decay: float) -> None:
    """averaged ← decay · averaged + (1 − decay) · net, buffers included; what is not floating point is copied."""
    for mean, value in zip(averaged.state_dict().values(), net.state_dict().values(), strict=True):
        if mean.is_floating_point():
            mean.lerp_(value, 1 - decay)
        else:
            mean.copy_(value)


@torch.no_grad()
def _upscaled(net: nn.Module, lr: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 sh sw"]:
    return net(lr).clamp(0, 1)


# ---------------------------------------------------------------------------------------------------------------- what a run keeps


def _state(net: nn.Module, averaged: nn.Module, optimizer: torch.optim.Adam) -> dict[str, dict[str, Tensor]]:
    moments = {name: optimizer.state[parameter] for name, parameter in net.named_parameters()}
    return {
        "raw": dict(net.state_dict()),
        "ema": dict(averaged.state_dict()),
        "exp_avg": {name: moment["exp_avg"] for name, moment in moments.items()},
        "exp_avg_sq": {name: moment["exp_avg_sq"] for name, moment in moments.items()},
    }


def _restore(
    net: nn.Module, averaged: nn.Module, optimizer: torch.optim.Adam, step: int, groups: Mapping[str, Mapping[str, Tensor]], run_dir: Path
) -> None:
    everything = {name: tensor.shape for name, tensor in net.state_dict().items()}
    parameters = {name: parameter.shape for name, parameter in net.named_parameters()}
    for group, shapes in (("raw", everything), ("ema", everything), ("exp_avg", parameters), ("exp_avg_sq", parameters)):
        if {name: tensor.shape for name, tensor in groups.get(group, {}).items()} != shapes:
            raise UserError(f"{run_dir / 'state' / f'{step:08d}' / f'{group}.safetensors'} is missing or damaged: use another --run-dir")
    net.load_state_dict(groups["raw"])
    averaged.load_state_dict(groups["ema"])
    for name, parameter in net.named_parameters():
        # Into tensors of the parameter's own memory layout: another order of summing would change the last bit.
        optimizer.state[parameter] = {
            "step": torch.tensor(float(step), device=parameter.device),
            "exp_avg": torch.empty_like(parameter).copy_(groups["exp_avg"][name]).detach(),
            "exp_avg_sq": torch.empty_like(parameter).copy_(groups["exp_avg_sq"][name]).detach(),
        }


def _exported(run_dir: Path, images_seen: int) -> bool:
    paths = [run_dir / "model.safetensors", run_dir / "raw.safetensors"]
    try:
        return all(checkpoint.load(path).metadata.get("images_seen") == images_seen for path in paths)
    except UserError:  # missing or damaged: they are written again from the state
        return False


def _require_same_config(run_dir: Path, config: TrainConfig, done: int) -> None:
    earlier = _flat(_read_json(run_dir / "config.json", {}))
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


def _require_same_origin(run_dir: Path, origin: Mapping[str, Any]) -> list[dict[str, Any]]:
    earlier = _read_json(run_dir / "run.json", {})
    if not earlier:
        return []
    if not {"data_fingerprint", "init", "segments"} <= set(earlier):
        raise UserError(f"{run_dir / 'run.json'} is damaged: use another --run-dir")
    if earlier["data_fingerprint"] != origin["data_fingerprint"]:
        raise UserError(f"{run_dir} was started on other pictures: give it the same --data (unchanged), or use another --run-dir")
    if earlier["init"] != origin["init"]:
        was, now = (value["weights_sha256"][:12] if value else "none" for value in (earlier["init"], origin["init"]))
        raise UserError(f"{run_dir} was started with other weights: --init was {was} and is {now}; use the former, or another --run-dir")
    return earlier["segments"]


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
