"""Training: one loop that reads from top to bottom. All that varies with time is a pure function of images seen, so that the same
command again continues a run, and on one machine the result is the same to the byte as if it had never stopped."""

import contextlib
import copy
import json
import math
import platform
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field, field_serializer, model_validator
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor, nn

from wildsr import chance, checkpoint, datasets, files, images, networks
from wildsr.config import Positive, Strict
from wildsr.degrade import KERNEL_SIZE, TwoOrder, unsharp_mask
from wildsr.errors import TrainingDivergedError, UserError
from wildsr.regularize import RegularizerConfig, attach

SCHEDULES: dict[str, Callable[[float], float]] = {
    "cosine": lambda progress: 0.5 * (1 + math.cos(math.pi * progress)),
    "constant": lambda progress: 1.0,
}
"""Name -> factor on the learning rate at a share of the run in [0, 1]."""

BOOKKEEPING = frozenset({"save_every", "snapshot_every", "val_every", "log_every"})
"""Keys that do not touch the result: they may change between the starts of a run, and stand in no model file."""


class TrainConfig(Strict, frozen=True):
    """A training run, whole. The defaults are what the papers' released options have in common."""

    recipe: str = "custom"
    scale: networks.Scale = 4
    seed: Annotated[int, Field(ge=0)] = 0
    steps: Positive = 500_000
    """Optimiser steps."""
    batch_size: Positive = 16
    """HR pictures a step, over all processes; every view of them is an LR patch of its own."""
    lr_patch: Annotated[int, Field(ge=8)] = 32
    """Side of the LR patches in pixels; HR patches are `scale` times as large."""
    target_usm: bool = False
    """Sharpens the HR canvas first, so that target and degraded input both come from the sharpened picture (Real-ESRGAN's gt_usm)."""
    network: networks.NetworkConfig = networks.SRResNetConfig()
    degradation: TwoOrder = TwoOrder()
    regularizers: tuple[RegularizerConfig, ...] = ()
    learning_rate: Annotated[float, Field(gt=0)] = 2e-4
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.99)
    schedule: Literal["cosine", "constant"] = "cosine"
    clip_norm: Annotated[float, Field(gt=0)] | None = None
    """Largest Euclidean norm of the whole gradient."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """Decay of the averaged weights a step; at step t it is at most (1 + t)/(10 + t), so that short runs forget their start."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Of the network's forward and backward; weights, losses and averages are float32. auto: bf16 where the device computes in it."""
    save_every: Positive = 1000
    snapshot_every: Positive = 50_000
    val_every: Positive = 5000
    log_every: Positive = 100

    @model_validator(mode="before")
    @classmethod
    def _give_scale_to_network(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        scale, network = values.get("scale", 4), values.get("network", {})
        if isinstance(network, Strict):
            given, network = "scale" in network.model_fields_set, network.model_dump()
        elif isinstance(network, Mapping):
            given = "scale" in network
        else:
            return values
        if given and network["scale"] != scale:
            raise ValueError(f"network.scale = {network['scale']} against scale = {scale}: set the scale at the top level alone")
        return {**values, "network": {**network, "scale": scale}}

    @field_serializer("network")
    def _network_without_scale(self, network: networks.NetworkConfig) -> dict[str, Any]:
        return network.model_dump(mode="json", exclude={"scale"})

    @model_validator(mode="after")
    def _check(self) -> "TrainConfig":
        if self.canvas < self.hr_patch:
            raise ValueError(
                f"degradation.canvas = {self.degradation.canvas} is smaller than the HR patch of {self.hr_patch} (lr_patch × scale)"
            )
        smallest = min(int(self.canvas * self.degradation.first.resize_range[0]), self.canvas // self.scale)
        if 2 * smallest <= KERNEL_SIZE:
            raise ValueError(
                f"degradation.canvas = {self.degradation.canvas} may become {smallest} pixels wide on its way, "
                f"too small for kernels of {KERNEL_SIZE}: use a larger canvas, or a first.resize_range that shrinks less"
            )
        if self.views > 1 and self.batch_size < 2:
            raise ValueError(f"batch_size = {self.batch_size}: a regulariser that compares views needs at least 2 HR pictures a step")
        return self

    @property
    def hr_patch(self) -> int:
        """Side of the HR patches in pixels."""
        return self.lr_patch * self.scale

    @property
    def canvas(self) -> int:
        """Side of the HR canvas: the configured one, cut to a multiple of the scale so that LR and HR stay aligned."""
        return self.degradation.canvas - self.degradation.canvas % self.scale

    @property
    def views(self) -> int:
        """Degraded views of each HR picture: the most that a regulariser asks for."""
        return max((regularizer.views for regularizer in self.regularizers), default=1)

    def dump(self) -> dict[str, Any]:
        """As plain JSON values; `TrainConfig.model_validate` reads them back."""
        return self.model_dump(mode="json")

    def identity(self) -> dict[str, Any]:
        """What the result hangs on: all but the bookkeeping."""
        return {key: value for key, value in self.dump().items() if key not in BOOKKEEPING}


class Samples:
    """Training samples, each a pure function of (seed, n): any of them can be made again from its number alone."""

    def __init__(self, config: TrainConfig, records: Sequence[datasets.Record], device: torch.device) -> None:
        self.config, self.device = config, device
        self.canvases = datasets.Canvases(records, config.canvas, config.seed)

    def __call__(self, n: int) -> tuple[Float[Tensor, "v 3 p p"], Float[Tensor, "3 q q"]]:
        """Sample n: its views as LR patches (V, 3, P, P), and the HR patch (3, s·P, s·P). One window serves all views."""
        config = self.config
        canvas = images.to_float(self.canvases(n).to(self.device)).unsqueeze(0)
        if config.target_usm:
            canvas = unsharp_mask(canvas)
        rng = chance.generator(config.seed, "crop", n)
        room = config.canvas // config.scale - config.lr_patch
        top, left = int(rng.integers(room + 1)), int(rng.integers(room + 1))
        params = [config.degradation.sample(config.seed, [n], view) for view in range(config.views)]
        lr = torch.cat([config.degradation.apply(canvas, drawn, config.scale) for drawn in params])
        return _window(lr, top, left, config.lr_patch), _window(canvas[0], top * config.scale, left * config.scale, config.hr_patch)

    def batch(self, n: int, count: int) -> tuple[Float[Tensor, "vb 3 p p"], Float[Tensor, "vb 3 q q"]]:
        """Samples n … n + count − 1: all first views, then all second ones, each beside its HR patch."""
        lr, hr = zip(*(self(n + i) for i in range(count)), strict=True)
        return torch.stack(lr, 1).flatten(0, 1), torch.stack(hr).repeat(self.config.views, 1, 1, 1)


def _window(picture: Tensor, top: int, left: int, side: int) -> Tensor:
    return picture[..., top : top + side, left : left + side]


def train(
    config: TrainConfig,
    data: Sequence[Path | str],
    run_dir: Path | str,
    *,
    init: Path | str | None = None,
    validate: Callable[[Callable[[Tensor], Tensor]], Mapping[str, float]] | None = None,
    device: str = "auto",
    console: Console | None = None,
) -> Path:
    """Trains, or continues the run in `run_dir`; returns its model.safetensors (averaged weights).

    The same arguments again continue from the last save. A finished run goes on when `steps` has grown: from there on, all that varies
    with time is what it would be in a run of the new length, so the learning rate returns to the longer schedule. `init` starts from
    the weights of any readable file. `validate` gets the averaged network in float32, (1, 3, h, w) -> (1, 3, s·h, s·w), and returns
    scores to log. Ctrl-C and SIGTERM save first, then raise KeyboardInterrupt and SystemExit(143).

    Raises UserError for pictures that cannot be used, for a run directory of another configuration (showing the difference) and for
    `init` weights of another network; TrainingDivergedError when a loss is not finite."""
    run_dir, place = Path(run_dir), networks.pick_device(device)
    with files.exclusive(run_dir / ".lock", f"{run_dir}: another process is training in this run directory"):
        return _train(config, data, run_dir, init, validate, place, console or Console(stderr=True))


def _train(
    config: TrainConfig,
    data: Sequence[Path | str],
    run_dir: Path,
    init: Path | str | None,
    validate: Callable[[Callable[[Tensor], Tensor]], Mapping[str, float]] | None,
    place: torch.device,
    console: Console,
) -> Path:
    # ------------------------------------------------------------------------------ what is there: an earlier start, weights, pictures
    start = checkpoint.load(init) if init is not None else None
    if start is not None and networks.shapes(start.network) != networks.shapes(config.network):
        raise UserError(
            f"{init} holds {networks.describe(start.network)}, the run asks for {networks.describe(config.network)}: make them the same"
        )
    state = checkpoint.load_state(run_dir / "state")
    first = state[0] if state else 0
    _require_same_config(run_dir, config, first)
    records = datasets.examine(data, datasets.from_json(_read_json(run_dir / "data.json", [])))
    datasets.require_sound(records, config.hr_patch)
    origin = {
        "data_fingerprint": datasets.fingerprint(records),
        "init": {"weights_sha256": start.weights_sha256, "weights_key": start.weights_key} if start else None,
    }
    segments = _require_same_origin(run_dir, origin)
    if not segments or (segments[-1]["steps"], segments[-1]["code_version"]) != (config.steps, files.code_version()):
        segments.append({"first_step": first, "steps": config.steps, "code_version": files.code_version()})
    lengths = sorted({segment["steps"] for segment in segments})
    _write_json(run_dir / "data.json", datasets.to_json(records))
    _write_json(run_dir / "run.json", {**origin, "segments": segments})
    _write_json(run_dir / "config.json", config.dump())

    # ------------------------------------------------------------------------------------------------- network, averages, optimiser
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(chance.torch_seed(config.seed, "initialisation"))
        net = networks.create(config.network)
    if start is not None:
        net.load_state_dict({name: tensor.float() for name, tensor in start.weights.items()})
    net = net.to(place).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    averaged = copy.deepcopy(net).eval().requires_grad_(False)
    optimizer = torch.optim.Adam(net.parameters(), lr=config.learning_rate, betas=config.betas, fused=place.type != "mps")
    if state:
        _restore(net, averaged, optimizer, *state, run_dir)
    # MPS lacks some of the degradation's operators; there, samples are made on the CPU.
    samples = Samples(config, records, torch.device("cpu") if place.type == "mps" else place)
    precision = config.precision if config.precision != "auto" else "bf16" if networks.computes_bf16(place) else "fp32"

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
    example = torch.zeros((config.views * config.batch_size, 3, config.lr_patch, config.lr_patch), device=place)
    with (
        _Log(run_dir, first) as log,
        _Bar(console, config, first) as bar,
        _StopRequests() as stop,
        attach(net, *config.regularizers, example=example, seed=config.seed) as attached,
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
            with torch.autocast(place.type, torch.bfloat16, enabled=precision == "bf16"):
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
                log.scores(done, validate(_inference(averaged)))
            if done % config.snapshot_every == 0:
                _require_finite_weights({"averaged weights": averaged}, done)
                export(run_dir / "snapshots" / f"{done:08d}.safetensors", averaged, "ema", done)
                log.preview(done, lr[:4], _inference(averaged)(lr[:4]), hr[:4])
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


def _inference(net: nn.Module) -> Callable[[Tensor], Tensor]:
    def run(lr: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 sh sw"]:
        with torch.no_grad():
            return net(lr.to(next(net.parameters()).device)).clamp(0, 1)

    return run


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
    shapes = {name: tensor.shape for name, tensor in net.state_dict().items()}
    for group in ("raw", "ema", "exp_avg", "exp_avg_sq"):
        held = {name: tensor.shape for name, tensor in groups.get(group, {}).items()}
        if held != shapes:
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


# ------------------------------------------------------------------------------------------------------ what people and tools read


class _Log:
    """log.jsonl (append-only: a resumed run repeats the steps after its last save, and the later record counts) and TensorBoard."""

    def __init__(self, run_dir: Path, first: int) -> None:
        self._path = run_dir / "log.jsonl"
        try:
            from torch.utils.tensorboard.writer import SummaryWriter
        except ImportError:
            self._board = None
        else:
            self._board = SummaryWriter(str(run_dir / "tensorboard"), purge_step=first + 1)

    def __enter__(self) -> "_Log":
        return self

    def __exit__(self, *_: object) -> None:
        if self._board is not None:
            self._board.close()

    def write(self, record: Mapping[str, Any]) -> None:
        files.append_jsonl(self._path, [record])

    def start(self, config: TrainConfig, first: int, place: torch.device, precision: str) -> None:
        machine = {
            "device": str(place),
            "precision": precision,
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "machine": platform.machine(),
        }
        run = {"first_step": first, "images": first * config.batch_size, "steps": config.steps, "code_version": files.code_version()}
        self.write({"event": "start", **run, **machine, "time": time.strftime("%Y-%m-%dT%H:%M:%S%z")})

    def step(self, step: int, n: int, rate: float, losses: Mapping[str, float], clock: Sequence[float]) -> None:
        seconds = {"data": round(clock[1] - clock[0], 4), "network": round(clock[2] - clock[1], 4)}
        self.write({"event": "step", "step": step, "images": n, "lr": rate, "losses": dict(losses), "seconds": seconds})
        self._scalars({f"loss/{name}": value for name, value in losses.items()} | {"lr": rate}, step)

    def scores(self, step: int, scores: Mapping[str, float]) -> None:
        self.write({"event": "val", "step": step, "scores": dict(scores)})
        self._scalars({f"val/{name}": value for name, value in scores.items()}, step)

    def preview(self, step: int, lr: Tensor, sr: Tensor, hr: Tensor) -> None:
        """A row a sample: the input enlarged without smoothing, the averaged network's output, the target."""
        if self._board is not None:
            rows = torch.cat([F.interpolate(lr, size=hr.shape[-2:], mode="nearest"), sr, hr], 3)
            self._board.add_image("input, output, target", images.to_uint8(torch.cat(list(rows), 1)).cpu().numpy(), step)
            self._board.flush()

    def _scalars(self, scalars: Mapping[str, float], step: int) -> None:
        if self._board is not None:
            for name, value in scalars.items():
                self._board.add_scalar(name, value, step)


class _Bar:
    """A progress bar with the time left and the losses; where the output is no terminal, a line every twentieth of the run."""

    def __init__(self, console: Console, config: TrainConfig, first: int) -> None:
        self._console, self._steps = console, config.steps
        columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("left")]
        self._bar = Progress(*columns, TimeRemainingColumn(), TextColumn("{task.fields[losses]}"), console=console)
        self._task = self._bar.add_task(config.recipe, total=config.steps, completed=first, losses="")

    def __enter__(self) -> "_Bar":
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._bar.stop()

    def advance(self, done: int, losses: Mapping[str, float]) -> None:
        # Nobody may be listening any more (… | head); training goes on without words.
        with contextlib.suppress(BrokenPipeError):
            self._show(done, losses)

    def _show(self, done: int, losses: Mapping[str, float]) -> None:
        shown = "  ".join(f"{name} {value:.4g}" for name, value in losses.items())
        self._bar.update(self._task, completed=done, losses=shown)
        if not self._console.is_terminal and (done % max(1, self._steps // 20) == 0 or done == self._steps):
            left = self._bar.tasks[0].time_remaining
            self._console.print(f"step {done}/{self._steps}  {shown}" + (f"  {left:.0f} s left" if left else ""), highlight=False)


class _StopRequests:
    """Turns the first Ctrl-C or SIGTERM into a request that the loop answers between two steps; a second one acts at once."""

    def __init__(self) -> None:
        self._received: int | None = None
        self._before: dict[int, Any] = {}

    @property
    def requested(self) -> bool:
        return self._received is not None

    def reason(self) -> BaseException:
        return KeyboardInterrupt() if self._received == signal.SIGINT else SystemExit(128 + signal.SIGTERM)

    def __enter__(self) -> "_StopRequests":
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._receive) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self._received = number
        self.__exit__()
