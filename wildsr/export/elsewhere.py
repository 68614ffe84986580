"""What other programs call our networks and their sizes."""

from dataclasses import dataclass
from typing import Any

from wildsr import networks
from wildsr.networks import CompactConfig, RCANConfig, RRDBNetConfig, SRResNetConfig, SwinIRConfig
from wildsr.networks.swinir import FEATURES


@dataclass(frozen=True)
class Facts:
    """A network as others see it. catalogue: OpenModelDB's name of the architecture; tags: its sizes, as spandrel writes them;
    hyperparameters: the constructor's arguments in spandrel (BasicSR for SRResNet); obstacle: why spandrel, and with it chaiNNer and
    ComfyUI, does not open its files, or ""."""

    title: str
    catalogue: str
    tags: tuple[str, ...]
    hyperparameters: dict[str, Any]
    obstacle: str = ""


def facts(config: networks.Config) -> Facts:
    """The facts of a network's config."""
    match config:
        case SRResNetConfig():
            sizes = {"num_feat": config.channels, "num_block": config.blocks, "upscale": config.scale}
            why = "spandrel knows no SRResNet: convert to .onnx for other programs"
            tags = (f"{config.channels}nf", f"{config.blocks}nb")
            return Facts("SRResNet", "sr-res-net", tags, {"num_in_ch": 3, "num_out_ch": 3, **sizes}, why)
        case RRDBNetConfig():
            return _rrdbnet(config)
        case CompactConfig():
            sizes = {"num_feat": config.channels, "num_conv": config.blocks, "upscale": config.scale, "act_type": "prelu"}
            tags = (f"{config.channels}nf", f"{config.blocks}nc")
            return Facts("Compact", "compact", tags, {"num_in_ch": 3, "num_out_ch": 3, **sizes})
        case SwinIRConfig():
            return _swinir(config)
        case RCANConfig():
            return _rcan(config)
        case _:
            raise AssertionError(config)


def _rrdbnet(config: RRDBNetConfig) -> Facts:
    unshuffle = config.scale == 2
    hyperparameters = {
        "in_nc": 3 * 4 if unshuffle else 3,
        "out_nc": 3,
        "num_filters": config.channels,
        "num_blocks": config.blocks,
        "scale": 4,
        "plus": False,
        "shuffle_factor": 2 if unshuffle else None,
    }
    tags = (f"{config.channels}nf", f"{config.blocks}nb", *(("unshuffle",) if unshuffle else ()))
    why = f"spandrel opens RRDBNet of growth 32, and this one has {config.growth}: convert to .onnx for other programs"
    return Facts("ESRGAN", "esrgan", tags, hyperparameters, "" if config.growth == 32 else why)


def _swinir(config: SwinIRConfig) -> Facts:
    hyperparameters = {
        "img_size": config.img_size,
        "patch_size": 1,
        "in_chans": 3,
        "embed_dim": config.embed_dim,
        "depths": list(config.depths),
        "num_heads": list(config.heads),
        "window_size": config.window,
        "mlp_ratio": config.mlp_ratio,
        "upscale": config.scale,
        "img_range": 1.0,
        "upsampler": config.upsampler,
        "resi_connection": "1conv",
    }
    stages = len(config.depths)
    size = "small" if stages <= 4 else "medium" if stages < 9 else "large"
    tags = (size, f"s{config.img_size}w{config.window}", f"{FEATURES}nf", f"{config.embed_dim}dim", "1conv")
    why = ""
    if config.window == 7:
        why = "spandrel takes SwinIR of window 7 for one of values up to 255: convert to .onnx for other programs"
    elif config.img_size <= config.window and max(config.depths) > 1:
        why = f"spandrel wants masks, which SwinIR of img_size {config.img_size} has none of: convert to .onnx for other programs"
    return Facts("SwinIR", "swinir", tags, hyperparameters, why)


def _rcan(config: RCANConfig) -> Facts:
    hyperparameters = {
        "scale": config.scale,
        "n_resgroups": config.groups,
        "n_resblocks": config.blocks,
        "n_feats": config.channels,
        "n_colors": 3,
        "rgb_range": 1,
        "norm": False,
        "kernel_size": 3,
        "reduction": config.reduction,
        "res_scale": 1,
        "act_mode": "relu",
        "unshuffle_mod": False,
    }
    return Facts("RCAN", "rcan", (f"{config.channels}nf", f"{config.groups}nrg", f"{config.blocks}nrb"), hyperparameters)
