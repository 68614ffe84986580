"""Weights of networks that are known here, made for something else than enlarging RGB pictures."""

from wildsr.networks.network import Weights, indices
from wildsr.networks.rrdbnet import RRDBNet
from wildsr.networks.srresnet import SRResNet


def unusable(weights: Weights) -> str | None:
    """Why weights of a known layout are of no use, in a phrase: "compact ×1 returns pictures of the size it is given"; None when nothing
    speaks against them."""
    sizes = _srresnet(weights) or _rrdbnet(weights) or _compact(weights) or _swinir(weights) or _rcan(weights)
    if sizes is None:
        return None
    name, inputs, outputs, scale = sizes
    if (inputs, outputs) != (3, 3):
        return f"{name} that takes {inputs} channels and returns {outputs}"
    return f"{name} ×1 returns pictures of the size that it is given" if scale == 1 else None


Sizes = tuple[str, int, int, int | None]
"""Name, channels of the picture that goes in and of the one that comes out, and 1 for weights that do not enlarge."""


def _sides(weights: Weights, first: str, last: str) -> tuple[int, int] | None:
    """Inputs of the first convolution and outputs of the last one."""
    if first not in weights or last not in weights or weights[first].ndim != 4 or weights[last].ndim != 4:
        return None
    inputs, outputs = weights[first].shape[1], weights[last].shape[0]
    return (inputs, outputs) if inputs and outputs else None


def _srresnet(weights: Weights) -> Sizes | None:
    plain = SRResNet.translate(weights)
    sides = _sides(plain, "conv_first.weight", "conv_last.weight")
    return ("srresnet", *sides, None) if sides and "body.0.conv1.weight" in plain and "upconv1.weight" in plain else None


def _rrdbnet(weights: Weights) -> Sizes | None:
    if "model.1.sub.0.RDB1.conv1.0.weight" in weights:
        last = max(indices(weights, "model"), default=0)
        sides = _sides(weights, "model.0.weight", f"model.{last}.weight")
        # At ×1 no enlargement stands between the blocks and the two last convolutions. Other numbers of channels are unshuffled ones.
        return ("rrdbnet", 3, 3, 1) if sides == (3, 3) and last == 4 else None
    plain = RRDBNet.translate(weights)
    sides = _sides(plain, "conv_first.weight", "conv_last.weight")
    if not sides or "body.0.rdb1.conv1.weight" not in plain:
        return None
    inputs, outputs = sides
    unshuffled = next((r for r in (1, 2, 4) if inputs == outputs * r**2), 1)
    return "rrdbnet", inputs // unshuffled**2, outputs, 1 if unshuffled == 4 or "conv_up1.weight" not in plain else None


def _compact(weights: Weights) -> Sizes | None:
    layers = indices(weights, "body")
    sides = _sides(weights, "body.0.weight", f"body.{max(layers, default=0)}.weight")
    if not sides or "body.1.weight" not in weights or weights["body.1.weight"].ndim != 1:
        return None
    inputs, outputs = sides
    # Its output is added to its input, so that both have as many channels.
    return "compact", inputs, inputs, 1 if inputs == outputs else None


def _swinir(weights: Weights) -> Sizes | None:
    enlarges = any(key.startswith(("upsample.", "conv_up1.")) for key in weights)
    direct = "conv_last.weight" not in weights
    sides = _sides(weights, "conv_first.weight", "conv_first.weight" if direct else "conv_last.weight")
    if not sides or "layers.0.residual_group.blocks.0.attn.relative_position_bias_table" not in weights:
        return None
    return "swinir", sides[0], sides[0] if direct else sides[1], None if enlarges else 1


def _rcan(weights: Weights) -> Sizes | None:
    sides = _sides(weights, "head.0.weight", "tail.1.weight")
    return ("rcan", *sides, None) if sides and "body.0.body.0.body.3.conv_du.0.weight" in weights else None
