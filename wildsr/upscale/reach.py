"""How far a network sees, measured."""

import copy

import torch
from torch import nn


def receptive_radius(network: nn.Module, scale: int, grid: int = 1, limit: int = 64) -> int | None:
    """How many LR pixels around itself an SR pixel depends on, by the gradient of the pixels of one cell (grid × grid LR pixels) with
    respect to the input; None where that is more than `limit`, or the whole picture, and where results depend on more than what lies
    around them: on where in the picture they are, as in windows that begin elsewhere than on the grid.

    Two thin strips, along and across, of 2·limit pixels and a few more, in float64, in which what lies outside the field has a gradient
    of exactly 0. Pixels of a cell are summed with random weights, so that nothing cancels. Works on (1, 3, h, w) -> (1, 3, s·h, s·w), and
    leaves the network as it is."""
    net = copy.deepcopy(network).double().eval().requires_grad_(False)
    place = next(net.parameters()).device
    cells = -(-(limit + 1) // grid)
    long, thin = (2 * cells + 1) * grid, max(grid, 8 // grid * grid)
    furthest = 0
    for height, width in ((thin, long), (long, thin)):
        for seed in range(2):
            generator = torch.Generator().manual_seed(seed)
            x = torch.rand((1, 3, height, width), generator=generator, dtype=torch.float64).to(place)
            x.requires_grad_()
            out = net(x)
            begin, end = cells * grid, (cells + 1) * grid
            axis = 3 if width == long else 2
            cell = out.narrow(axis, begin * scale, grid * scale)
            weights = torch.randn(cell.shape, generator=generator, dtype=torch.float64).to(cell.device)
            (gradient,) = torch.autograd.grad((cell * weights).sum(), x)
            seen = gradient.abs().amax((0, 1, 2 if axis == 3 else 3)).nonzero().flatten()
            if len(seen):
                furthest = max(furthest, begin - int(seen[0]), int(seen[-1]) - (end - 1))
    if furthest > limit or not _moves(net, scale, grid, furthest, place):
        return None
    return furthest


def _moves(net: nn.Module, scale: int, grid: int, radius: int, place: torch.device) -> bool:
    """Whether results move with the input, when that is moved by a cell."""
    margin = -(-radius // grid) * grid
    length, thin = 2 * margin + 4 * grid, max(grid, 8 // grid * grid)
    for height, width, axis in ((thin, length, 3), (length, thin, 2)):
        x = torch.rand((1, 3, height, width), generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(place)
        with torch.no_grad():
            whole, moved = net(x), net(x.narrow(axis, grid, length - grid))
        there = whole.narrow(axis, (margin + grid) * scale, 2 * grid * scale)
        here = moved.narrow(axis, margin * scale, 2 * grid * scale)
        if (there - here).abs().max() > 1e-9 * whole.abs().max():
            return False
    return True
