"""All chance in wildsr: generators keyed by what they are for, so that every draw is a pure function of its key.

A key is a tuple of plain values such as (seed, "params", n, view). Equal keys give equal streams; there is no state to save."""

import hashlib

import numpy as np
import torch


def _digest(key: tuple[int | str, ...]) -> int:
    text = "|".join(str(part) for part in key)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little")


def generator(*key: int | str) -> np.random.Generator:
    """NumPy generator over Philox-4x64, keyed by the first 128 bits of the SHA-256 of the key's text ("a|b|c")."""
    return np.random.Generator(np.random.Philox(key=_digest(key)))


def torch_seed(*key: int | str) -> int:
    """A seed in [0, 2^63) for a torch.Generator."""
    return _digest(key) & (2**63 - 1)


def torch_generator(*key: int | str, device: str | torch.device = "cpu") -> torch.Generator:
    """torch.Generator on `device`, keyed in the same way."""
    return torch.Generator(device).manual_seed(torch_seed(*key))


FIRST, SECOND = 0x7FEB352D, 0x846CA68B - (1 << 32)
"""The odd factors of `mixed`, as 32-bit words with a sign."""


def mixed(x: torch.Tensor) -> torch.Tensor:
    """Wellons' lowbias32, a bijection of 32-bit words that leaves no pattern: int32 of any shape, the same on every device.

    Products wrap; >> repeats the sign, which the masks take away."""
    x = x ^ ((x >> 16) & 0xFFFF)
    x = x.mul_(FIRST)  # from here on in place, for memory that is new is slow
    x = x.bitwise_xor_((x >> 15).bitwise_and_(0x1FFFF)).mul_(SECOND)
    return x.bitwise_xor_((x >> 16).bitwise_and_(0xFFFF))
