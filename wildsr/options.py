"""Option files of BasicSR, Real-ESRGAN, Reflash Dropout (RDSR), Simple-Align and Adaptive Dropout, as values of a TrainConfig.

Every key of such a file ends in one of three ways. It is honoured. Or it is noted: it cannot change the result, or is given elsewhere.
Or it stands in the error: it would change the result, and nothing here does what it asks. What a file leaves out has BasicSR's default,
not ours (no weight averaging, Adam's β₂ = 0.999, SwinIR's stochastic depth of 0.1)."""

import json
import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from wildsr.config import nearest
from wildsr.errors import UserError

# ------------------------------------------------------------------------------------------------------- keys that change only places

CARRIED = {
    "manual_seed": "seed",
    "train.optim_g.betas": "betas",
    "train.ema_decay": "ema",
    "val.val_freq": "val_every",
    "logger.print_freq": "log_every",
    "logger.save_checkpoint_freq": "save_every",
}
BASICSR_DEFAULTS = {"train.optim_g.betas": [0.9, 0.999], "train.ema_decay": 0}

STAGE = {
    "resize_prob": "resize_probabilities",
    "resize_range": "resize_range",
    "gaussian_noise_prob": "gaussian_probability",
    "noise_range": "gaussian_sigma",
    "poisson_scale_range": "poisson_scale",
    "gray_noise_prob": "gray_probability",
    "jpeg_range": "jpeg_quality",
    "datasets.train.kernel_prob": "family_probabilities",
    "datasets.train.sinc_prob": "sinc_probability",
    "datasets.train.blur_sigma": "sigma",
}
ORDERS = {"": "first", "2": "second"}
"""Suffix of Real-ESRGAN's keys -> order of the pipeline."""

DEGRADATION = {
    **{f"{key}{suffix}": f"degradation.{order}.{field}" for suffix, order in ORDERS.items() for key, field in STAGE.items()},
    "second_blur_prob": "degradation.second.blur_probability",
    "datasets.train.final_sinc_prob": "degradation.final_sinc_probability",
}

# ------------------------------------------------------------------------- keys with one possible value: (the value, why, if left out)

FAMILIES = ["iso", "aniso", "generalized_iso", "generalized_aniso", "plateau_iso", "plateau_aniso"]
FIXED: dict[str, tuple[Any, ...]] = {
    "train.pixel_opt.type": ("L1Loss", "the pixel loss is L1", None),
    "train.pixel_opt.loss_weight": (1, "the pixel loss has weight 1"),
    "train.pixel_opt.reduction": ("mean", "the pixel loss is a mean"),
    "train.optim_g.type": ("Adam", "the optimiser is Adam", None),
    "train.optim_g.weight_decay": (0, "training has no weight decay"),
    "datasets.train.use_hflip": (True, "pictures are flipped from left to right"),
    "datasets.train.use_flip": (True, "pictures are flipped from left to right"),
    "datasets.train.use_rot": (False, "pictures are not rotated"),
    "high_order_degradation": (True, "LR pictures are not read from files"),
}
KERNELS: dict[str, tuple[Any, str]] = {
    f"datasets.train.{key}{suffix}": fixed
    for suffix in ORDERS
    for key, fixed in {
        "blur_kernel_size": (21, "kernels have 7 to 21 taps, on a grid of 21"),
        "kernel_list": (FAMILIES, "all families stand in this order; kernel_prob may hold zeros"),
        "betag_range": ([0.5, 4], "the range is built in"),
        "betap_range": ([1, 2], "the range is built in"),
    }.items()
}
REFUSED = {
    "network_d": "there is no discriminator: remove it",
    "train.gan_opt": "the loss is L1 on pixels: remove it",
    "train.perceptual_opt": "the loss is L1 on pixels: remove it",
}

# ------------------------------------------------------------------------------------------- keys without influence: why -> the keys

NOTED = {
    "pictures are given by --data": "datasets.train.dataroot_gt datasets.train.dataroot_lq datasets.train.meta_info "
    "datasets.train.meta_info_file datasets.train.filename_tmpl datasets.train.io_backend.*",
    "validation pictures are given by --val, tests are made by `wildsr bench`": "datasets.val* datasets.test* val.*",
    "the run's folder is given by --run-dir": "name",
    "a label": "datasets.train.name",
    "how pictures are read, and in what order, is wildsr's own affair": "datasets.train.num_worker_per_gpu datasets.train.prefetch_mode "
    "datasets.train.num_prefetch_queue datasets.train.pin_memory datasets.train.persistent_workers datasets.train.use_shuffle "
    "datasets.train.dataset_enlarge_ratio",
    "every sample has draws of its own, so that no pool is needed to mix them": "queue_size",
    "weights to start from are given by --init": "path.pretrain_network_g path.param_key_g path.strict_load_g",
    "the same command again continues a run": "path.resume_state path.ignore_resume_networks auto_resume",
    "read for a discriminator alone": "percep_gt_usm gan_gt_usm path.pretrain_network_d path.param_key_d path.strict_load_d "
    "train.optim_d.* train.net_d_iters train.net_d_init_iters train.net_d_reg_every",
    "it saves memory and changes no result": "network_g.use_checkpoint",
    "a run always keeps log.jsonl and tensorboard/": "logger.*",
    "processes and switches are given on the command line": "dist_params.* dist rank world_size local_rank launcher find_unused_parameters "
    "use_static_graph is_train debug force_yml root_path",
}

# ------------------------------------------------------------------------------------------------------------------- models, networks

DATASETS = {"RealESRNetModel": "RealESRGANDataset", "SRModel": "PairedImageDataset", "SwinIRModel": "PairedImageDataset"}
"""model_type -> the type of data set that goes with it."""


class _Network(NamedTuple):
    name: str
    carried: dict[str, tuple[str, Any]]
    """Their key -> (our field, their default)."""
    fixed: dict[str, Any]
    """Their key -> the value that the network has here."""
    left_out: dict[str, Any]
    """Their defaults of fixed keys, where these are others."""


_RGB = {"num_in_ch": 3, "num_out_ch": 3}
NETWORKS = {
    "MSRResNet": _Network("srresnet", {"num_feat": ("channels", 64), "num_block": ("blocks", 16)}, _RGB, {}),
    "RRDBNet": _Network("rrdbnet", {"num_feat": ("channels", 64), "num_block": ("blocks", 23), "num_grow_ch": ("growth", 32)}, _RGB, {}),
    "SRVGGNetCompact": _Network("compact", {"num_feat": ("channels", 64), "num_conv": ("blocks", 16)}, {**_RGB, "act_type": "prelu"}, {}),
    "RCAN": _Network(
        "rcan",
        {"num_feat": ("channels", 64), "num_group": ("groups", 10), "num_block": ("blocks", 16), "squeeze_factor": ("reduction", 16)},
        {**_RGB, "res_scale": 1, "img_range": 1, "rgb_mean": [0, 0, 0]},
        {"img_range": 255, "rgb_mean": [0.4488, 0.4371, 0.4040]},
    ),
    "SwinIR": _Network(
        "swinir",
        {"upsampler": ("upsampler", ""), "embed_dim": ("embed_dim", 96), "depths": ("depths", [6] * 4), "num_heads": ("heads", [6] * 4)}
        | {"window_size": ("window", 7), "mlp_ratio": ("mlp_ratio", 4), "img_size": ("img_size", 64), "drop_path_rate": ("drop_path", 0.1)},
        {"in_chans": 3, "patch_size": 1, "img_range": 1, "resi_connection": "1conv", "ape": False, "patch_norm": True}
        | {"qkv_bias": True, "qk_scale": None, "drop_rate": 0, "attn_drop_rate": 0},
        {},
    ),
}

# Reflash Dropout's classes carry their dropout in the name: where (after block 4, before the last convolution), what, and ten times p.
_DROPOUT = re.compile(r"(MSRResNet(?:_detailss?)?|RRDBNet)_drop(?:out)?(?=b|last)(?:b(\d{1,2}))?(last)?_(channel|element)(\d\d)")
_TWOFOLD_NAME = "MSRResNet_details_dropoutlast_channel07"

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def is_options(values: Mapping[str, Any]) -> bool:
    """Whether these are the values of an option file (it has `network_g`), and not of a configuration of ours."""
    return "network_g" in values


def convert(values: Mapping[str, Any], what: str) -> tuple[dict[str, Any], list[str]]:
    """The values of a TrainConfig that does what the option file asks (what they leave out is TrainConfig's default), and notes.

    A note is a line "key, key: why"; the notes name every key that is not carried over. Numbers may be text: PyYAML reads 2e-4 as text.
    Raises one UserError, which starts with `what` and names all keys, with their values, that are unknown or cannot be honoured."""
    if "train" not in values:
        raise UserError(f"{what}: an option file without `train` has nothing to train: measure models with `wildsr bench`")
    file = _File(values)
    flat: dict[str, Any] = {"recipe": "custom", "scale": file.integer("scale")}
    for path, field in CARRIED.items():
        if (value := file.take(path, BASICSR_DEFAULTS.get(path))) is not None:
            flat[field] = value
    for path, (value, why, *default) in FIXED.items():
        file.fixed(path, value, why, *default)
    for path, mend in REFUSED.items():
        if block := file.drop(path):
            file.refuse(path, block, mend)
    gpus = _data(file, flat)
    _network(file, flat)
    _alignment(file, flat, gpus)
    _training(file, flat)
    file.settle()
    if file.mistakes:
        count = "one key" if len(file.mistakes) == 1 else f"{len(file.mistakes)} keys"
        raise UserError(f"{what}: {count} cannot be honoured: {'; '.join(file.mistakes)}")
    return _nested(flat), [f"{', '.join(paths)}: {why}" for why, paths in file.notes.items()]


class _File:
    """An option file's leaves that are still to be judged, and the judgement so far."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.left = dict(_leaves(values))
        self.known: set[str] = {*DEGRADATION, *KERNELS}
        self.notes: dict[str, list[str]] = {}
        self.mistakes: list[str] = []

    def take(self, path: str, default: Any = None) -> Any:
        """The value of a key, which is honoured from here on; null counts as left out."""
        self.known.add(path)
        value = self.left.pop(path, None)
        return default if value is None else value

    def integer(self, path: str, default: int | None = None, multiple_of: int = 1) -> int:
        """A whole number from 1 on. Anything else is refused, and 1 returned, so that the rest can be judged."""
        value = self.take(path, default)
        if isinstance(value, int) and value >= 1 and value % multiple_of == 0:
            return value
        self.refuse(path, value, "write a whole number from 1 on" if multiple_of == 1 else f"write a multiple of {multiple_of}")
        return 1

    def fixed(self, path: str, value: Any, why: str, *default: Any) -> None:
        """Refuses any value but the one, also where leaving the key out means another."""
        label = path if path in self.left else f"{path} (left out)"
        found = self.take(path, *(default or [value]))
        if found != value:
            self.refuse(path if found is None else label, found, f"{why}: write {json.dumps(value)}")

    def refuse(self, path: str, value: Any, mend: str) -> None:
        text = repr(value) if len(repr(value)) <= 60 else f"{repr(value)[:57]}..."
        self.mistakes.append(f"{path} is missing: {mend}" if value is None else f"{path} = {text}: {mend}")

    def drop(self, block: str) -> dict[str, Any]:
        """Takes a key away with all that stands below it, without a judgement. Nulls do not count."""
        self.known.add(block)
        dropped = {path: self.left.pop(path) for path in list(self.left) if f"{path}.".startswith(f"{block}.")}
        return {path.removeprefix(f"{block}."): value for path, value in dropped.items() if value is not None}

    def note(self, path: str, why: str) -> None:
        self.notes.setdefault(why, []).append(path)

    def settle(self) -> None:
        """Judges what is left: noted by the table, or unknown."""
        reasons = {pattern: why for why, patterns in NOTED.items() for pattern in patterns.split()}
        known = _nested({path.rstrip(".*"): {} for path in sorted({*self.known, *reasons}, reverse=True)})
        for path, value in self.left.items():
            why = next((why for pattern, why in reasons.items() if fnmatchcase(path, pattern)), None)
            if why is None:
                self._unknown(path, value, known)
            elif value is not None:
                self.note(path, why)

    def _unknown(self, path: str, value: Any, known: dict[str, Any]) -> None:
        """Names the first part of a path that is not in the tree of known keys, once for a whole block."""
        parts = path.split(".")
        for depth, part in enumerate(parts, 1):
            if part not in known:
                shown = f" = {value!r}" if depth == len(parts) else ""
                mend = nearest(part, known) if known else "a value is expected, not keys"
                message = f"unknown key {'.'.join(parts[:depth])}{shown}: {mend}"
                if message not in self.mistakes:
                    self.mistakes.append(message)
                return
            known = known[part]
        if value is not None:
            self.refuse(path, value, f"keys are expected, {nearest('', known)}")


def _data(file: _File, flat: dict[str, Any]) -> int:
    """The degradation, the patches, and how many of them. Returns the number of GPUs."""
    model, kind = file.take("model_type"), file.take("datasets.train.type")
    fitting = DATASETS.get(str(model))
    if fitting is None:
        file.refuse("model_type", model, f"training is on pixels alone, {nearest(str(model), DATASETS)}")
    elif kind != fitting:
        file.refuse("datasets.train.type", kind, f"{model} goes with {fitting}")
    paired = kind == "PairedImageDataset"
    flat["degradation.name"] = "bicubic" if paired else "two-order"
    if paired:
        for path in (*DEGRADATION, *KERNELS, "gt_usm", "l1_gt_usm"):
            if file.take(path) is not None:
                file.note(path, "PairedImageDataset does not read it")
        file.take("datasets.train.dataroot_lq")
        file.note("datasets.train.dataroot_lq", "not read: LR pictures are made from HR ones on the way, by antialiased bicubic resizing")
    else:
        for path, field in DEGRADATION.items():
            if (value := file.take(path)) is not None:
                flat[field] = _shares(value) if field.endswith("_probabilities") else value
        for path, (value, why) in KERNELS.items():
            file.fixed(path, value, why)
        flat["target_usm"] = file.take("gt_usm", file.left.get("l1_gt_usm") or False)
        file.fixed("l1_gt_usm", flat["target_usm"], "the sharpened picture is target and input in one")

    outer, inner = "gt_size", "datasets.train.gt_size"
    first, other = (inner, outer) if (paired and inner in file.left) or outer not in file.left else (outer, inner)
    size = file.integer(first, multiple_of=flat["scale"])
    if file.take(other, size) != size:
        file.note(other, f"patches are cut by {first}")
    flat["lr_patch"] = size // flat["scale"]

    if file.left.get("num_gpu") in ("auto", 0):
        file.take("num_gpu")
        file.note("num_gpu", "counts as 1, so that the batch is batch_size_per_gpu")
    gpus = file.integer("num_gpu", 1)
    flat["batch_size"] = file.integer("datasets.train.batch_size_per_gpu") * gpus
    return gpus


def _network(file: _File, flat: dict[str, Any]) -> None:
    """The network, and the dropout that the name of its class holds."""
    kind = file.take("network_g.type")
    dropout = _DROPOUT.fullmatch(str(kind))
    base = dropout[1] if dropout else str(kind)
    detailed = base in ("MSRResNet_details", "MSRResNet_detailss")
    network = NETWORKS.get("MSRResNet" if detailed else base)
    if network is None:
        file.refuse("network_g.type", kind, nearest(base, [*NETWORKS, "MSRResNet_details"]))
        file.drop("network_g")
        return
    flat["network.name"] = network.name
    for key, (field, default) in network.carried.items():
        flat[f"network.{field}"] = file.take(f"network_g.{key}", default)
    for key, value in network.fixed.items():
        file.fixed(f"network_g.{key}", value, f"{base} has this value alone", network.left_out.get(key, value))
    for key in ("upscale", "scale"):
        file.fixed(f"network_g.{key}", flat["scale"], "scale at the top level says otherwise")
    if network.name == "srresnet":
        flat["network.upconv1_init"] = "default" if detailed else "scaled"
    if detailed and flat["network.blocks"] != 16:
        file.refuse("network_g.num_block", flat["network.blocks"], f"{base} has 16 blocks, whatever stands here: write 16, or MSRResNet")
    if network.name == "rcan":
        file.note("network_g.type", "RCAN's weights have the key layout of its authors, not BasicSR's")
    if dropout:
        sites = [site for site in (dropout[2] and f"block{int(dropout[2])}", dropout[3]) if site]
        flat["regularizers"] = [{"name": "dropout", "p": int(dropout[5]) / 10, "dimension": dropout[4], "site": site} for site in sites]
    if kind == _TWOFOLD_NAME:
        file.note(
            "network_g.type",
            "taken as Reflash Dropout's class, p = 0.7 before the last convolution; Adaptive Dropout's class of this name has 17 places of "
            'p = 0.5 (regularizers = [{name = "adaptive-dropout"}], network.block_init = "default")',
        )


def _alignment(file: _File, flat: dict[str, Any], gpus: int) -> None:
    """Simple-Align's second view, switched by three letters in the name of the experiment. Its files alone have a `weight`."""
    weight = file.take("weight")
    if weight is None:
        return
    if "reg" not in str(file.left.get("name")):
        file.note("weight", 'Simple-Align reads it only where `name` contains "reg"')
        return
    file.note("name", 'contains "reg": by this Simple-Align degrades every picture twice and aligns the features')
    flat["regularizers"] = [*flat.get("regularizers", []), {"name": "alignment", "weight": weight}]
    if gpus > 1:
        file.refuse("num_gpu", gpus, "Simple-Align's sums run over the pairs of one GPU, and fail on several: write 1")


def _training(file: _File, flat: dict[str, Any]) -> None:
    """Length, learning rate and its schedule."""
    steps, warmup = file.integer("train.total_iter"), file.take("train.warmup_iter", -1)
    flat["steps"], flat["learning_rate"] = steps, file.take("train.optim_g.lr")
    if flat["learning_rate"] is None:
        file.refuse("train.optim_g.lr", None, "write the learning rate")
    if not isinstance(warmup, int) or warmup > 0:
        file.refuse("train.warmup_iter", warmup, "there is no warm-up: write -1")

    kind = file.take("train.scheduler.type")
    if kind == "CosineAnnealingRestartLR":
        periods, lowest = file.take("train.scheduler.periods"), file.take("train.scheduler.eta_min", 0)
        if periods in ([steps], [steps / 2, steps]):
            flat["schedule"] = "cosine" if len(periods) == 1 else "restarts"
            file.fixed("train.scheduler.restart_weights", [1] * len(periods), "every cosine starts at the full learning rate", [1])
        else:
            file.take("train.scheduler.restart_weights")
            mend = "write [total_iter], one cosine, or [total_iter / 2, total_iter], the released restarts, with restart_weights of 1"
            file.refuse("train.scheduler.periods", periods, mend)
        if not isinstance(lowest, int | float) or not 0 <= lowest <= 1e-7:
            file.refuse("train.scheduler.eta_min", lowest, "the cosine ends at 0: write 0")
        elif lowest:
            file.note("train.scheduler.eta_min", "the cosine ends at 0")
    elif kind in ("MultiStepLR", "MultiStepRestartLR"):
        milestones = file.take("train.scheduler.milestones")
        if isinstance(milestones, list) and all(isinstance(step, int) and step >= steps for step in milestones):
            flat["schedule"] = "constant"
        else:
            file.refuse("train.scheduler.milestones", milestones, "steps before the end are not made: write [total_iter], or use a cosine")
        if file.take("train.scheduler.gamma") is not None:
            file.note("train.scheduler.gamma", "no milestone comes before the end")
    else:
        file.refuse("train.scheduler.type", kind, nearest(str(kind), ["CosineAnnealingRestartLR", "MultiStepLR"]))
        file.drop("train.scheduler")


def _shares(weights: Any) -> Any:
    """Weights as Python's random.choices takes them, whatever their sum, as probabilities."""
    if not isinstance(weights, list) or not all(isinstance(weight, int | float) for weight in weights):
        return weights
    total = sum(weights)
    return weights if total <= 0 or abs(total - 1) < 1e-6 else [weight / total for weight in weights]


def _leaves(values: Mapping[Any, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted path and value of all that is no block; an empty block is null."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", None if isinstance(value, Mapping) else _plain(value)


def _plain(value: Any) -> Any:
    """Numbers in text as numbers, and whole ones as int, in lists too."""
    if isinstance(value, list):
        return [_plain(part) for part in value]
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        value = float(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """{"a.b": 1} as {"a": {"b": 1}}."""
    result: dict[str, Any] = {}
    for path, value in flat.items():
        block = result
        *parents, last = path.split(".")
        for parent in parents:
            block = block.setdefault(parent, {})
        block.setdefault(last, value)
    return result
