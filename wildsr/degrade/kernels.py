"""Blur kernels, many at a time. Source: Real-ESRGAN (Wang et al. 2021), Section 3.1 and 3.4."""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

SIZE = 21
"""Side of the grid that every kernel lies on, zero outside its own size."""

_OFFSETS = np.arange(SIZE) - SIZE // 2
_Y, _X = np.meshgrid(_OFFSETS, _OFFSETS, indexing="ij")
_R = np.hypot(_X, _Y)


def delta_kernel() -> Float[np.ndarray, "21 21"]:
    """The kernel that changes nothing."""
    return (_R == 0).astype(np.float64)


def gaussian_kernels(
    size: Int[np.ndarray, " b"],
    sigma_x: Float[np.ndarray, " b"],
    sigma_y: Float[np.ndarray, " b"],
    theta: Float[np.ndarray, " b"],
    beta: Float[np.ndarray, " b"],
    plateau: Bool[np.ndarray, " b"],
) -> Float[np.ndarray, "b 21 21"]:
    """Kernels of sum 1 on the integer grid, zero outside their odd size; σ in pixels, θ in radians (x runs along the columns).

    With q = uᵀΣ⁻¹u: generalized Gaussian exp(-q^β/2), the Gaussian itself for β = 1; plateau 1/(1 + q^β)."""
    cos, sin = (part[:, None, None] for part in (np.cos(theta), np.sin(theta)))
    along, across = cos * _X + sin * _Y, cos * _Y - sin * _X
    q = (along / sigma_x[:, None, None]) ** 2 + (across / sigma_y[:, None, None]) ** 2
    raised = beta != 1  # powers take time, and most kernels need none
    q[raised] **= beta[raised, None, None]
    return _normalised(np.where(plateau[:, None, None], 1 / (1 + q), np.exp(-q / 2)), size)


def sinc_kernels(size: Int[np.ndarray, " b"], omega: Float[np.ndarray, " b"]) -> Float[np.ndarray, "b 21 21"]:
    """Circular low-pass kernels of sum 1 with cut-off ω in radians a pixel: ω·J₁(ωr) / (2πr), and ω²/(4π) in the centre."""
    omega = omega[:, None, None]
    r = np.where(_R == 0, 1.0, _R)
    ring = omega * torch.special.bessel_j1(torch.from_numpy(omega * r)).numpy() / (2 * np.pi * r)
    return _normalised(np.where(_R == 0, omega**2 / (4 * np.pi), ring), size)


def _normalised(values: Float[np.ndarray, "b 21 21"], size: Int[np.ndarray, " b"]) -> Float[np.ndarray, "b 21 21"]:
    outside = np.maximum(abs(_X), abs(_Y)) > (size // 2)[:, None, None]
    kernels = np.where(outside, 0.0, values)
    return kernels / kernels.sum((1, 2), keepdims=True)


def radii(kernels: Float[np.ndarray, "b 21 21"]) -> Int[np.ndarray, " b"]:
    """How far each kernel reaches from its centre, in pixels; 0 for a delta."""
    return np.where(kernels != 0, np.maximum(abs(_X), abs(_Y)), 0).max((1, 2))
