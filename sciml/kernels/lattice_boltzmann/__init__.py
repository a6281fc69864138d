"""Two-dimensional lattice Boltzmann (D2Q9): many steps of stream and collide in one call."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.kernels.backend import Backend, choose
from sciml.kernels.lattice_boltzmann import reference
from sciml.kernels.lattice_boltzmann.boundary import (
    Boundary,
    ConvectiveOutlet,
    Periodic,
    PressureOutlet,
    Side,
    Sides,
    Slip,
    Velocity,
    boundary_of,
)
from sciml.kernels.lattice_boltzmann.lattice import (
    OPPOSITE,
    SOUND_SPEED_SQUARED,
    VELOCITIES,
    WEIGHTS,
)

__all__ = [
    "OPPOSITE",
    "SOUND_SPEED_SQUARED",
    "VELOCITIES",
    "WEIGHTS",
    "Boundary",
    "ConvectiveOutlet",
    "Periodic",
    "PressureOutlet",
    "Side",
    "Sides",
    "Slip",
    "Velocity",
    "advance",
    "at_equilibrium",
    "boundary_of",
    "force",
    "moments",
    "relaxation_rates",
]


def advance(
    populations: Float[Tensor, "batch 9 height width"],
    boundary: Boundary,
    relaxation: Float[Tensor, "batch 2"],
    *,
    steps: int,
    backend: Backend = "auto",
) -> Float[Tensor, "batch 9 height width"]:
    r"""Advance a batch of grids by `steps` steps of two-relaxation-time lattice Boltzmann.

    f_q(x + c_q, t + 1) = f_q(x, t) − ω⁺ (f⁺ − f^eq⁺) − ω⁻ (f⁻ − f^eq⁻), with the incompressible
    equilibrium of He and Luo (1997, doi:10.1023/B:JOSS.0000015179.12689.e4) and the collision of
    Ginzburg (2005, doi:10.1016/j.advwatres.2005.03.009).

    Args:
        populations: f − w after collision with a filled halo of one cell, float32 or float64 (and
            float16 storage in the Triton kernel); see :func:`at_equilibrium`.
        boundary: the links of bodies and sides of the same batch, see :func:`boundary_of`.
        relaxation: (ω⁺, ω⁻) of each grid, see :func:`relaxation_rates`.
        steps: how many.
        backend: `reference` (torch, any device, differentiable), `cpu` (numba, one thread),
            `triton` (CUDA), or `auto`, the fastest that can run where the populations are.

    Returns:
        The populations `steps` steps later, in a new tensor.

    Raises:
        ValueError: shapes that do not fit.
        RuntimeError: a backend that cannot run here, saying what is missing.

    >>> import numpy as np
    >>> sides = Sides(left=Periodic(), right=Periodic(), bottom=Periodic(), top=Periodic())
    >>> boundary = boundary_of(np.full((1, 8, 8), 9.0), sides)
    >>> rest = at_equilibrium(torch.zeros(1, 8, 8), torch.full((1, 2, 8, 8), 0.1), boundary)
    >>> density, velocity = moments(advance(rest, boundary, relaxation_rates([0.1]), steps=10))
    >>> bool(torch.allclose(velocity, torch.full((1, 2, 8, 8), 0.1)))
    True
    """
    _check(populations, boundary, relaxation, steps)
    chosen = choose(backend, populations, relaxation, boundary.near_weight, boundary.source)
    if chosen == "cpu":
        from sciml.kernels.lattice_boltzmann import cpu

        return cpu.advance(populations, boundary, relaxation, steps)
    if chosen == "triton":
        from sciml.kernels.lattice_boltzmann import triton

        return triton.advance(populations, boundary, relaxation, steps)
    return reference.advance(populations, boundary, relaxation.to(populations), steps)


def at_equilibrium(
    density: Float[Tensor, "batch y x"],
    velocity: Float[Tensor, "batch 2 y x"],
    boundary: Boundary,
) -> Float[Tensor, "batch 9 height width"]:
    """Populations at equilibrium with a density deviation and a velocity, halo filled."""
    inside = reference.equilibrium(density, velocity)
    padded = torch.nn.functional.pad(inside, (1, 1, 1, 1), mode="replicate")
    return reference.fill(padded, boundary.to(padded.device, padded.dtype))


def moments(
    populations: Float[Tensor, "batch 9 height width"],
) -> tuple[Float[Tensor, "batch y x"], Float[Tensor, "batch 2 y x"]]:
    """Density deviation ρ = Σ f_q and velocity u = Σ c_q f_q inside the halo, in lattice units."""
    return reference.moments(populations[..., 1:-1, 1:-1])


def force(
    populations: Float[Tensor, "batch 9 height width"], boundary: Boundary
) -> Float[Tensor, "batch 2"]:
    """The force on the bodies of each grid by momentum exchange, in lattice units.

    F = Σ c_q (f_q(x, t) + f_q̄(x, t + 1)) over the links from fluid to solid (Ladd 1994,
    doi:10.1017/S0022112094001771). The weights that the deviations leave out cancel on a closed
    body.
    """
    bodies = slice(boundary.bodies)
    near, target = boundary.near[bodies], boundary.target[bodies]
    flat = populations.reshape(-1)
    _, directions, height, width = populations.shape
    velocities = torch.tensor(VELOCITIES, dtype=torch.float64, device=flat.device)
    direction = near // (height * width) % directions
    exchanged = (flat[near].double() + flat[target].double())[:, None] * velocities[direction]
    total = torch.zeros(populations.shape[0], 2, dtype=torch.float64, device=flat.device)
    return total.index_add(0, near // (directions * height * width), exchanged)


def relaxation_rates(
    viscosity: Float[Tensor, " batch"] | list[float], *, magic: float | None = 3 / 16
) -> Float[Tensor, "batch 2"]:
    """(ω⁺, ω⁻) for a kinematic viscosity ν in lattice units.

    1/ω⁺ = 3ν + 1/2 and (1/ω⁺ − 1/2)(1/ω⁻ − 1/2) = Λ. `magic` is Λ: with 3/16 a straight half-way
    wall stands exactly half-way at any viscosity. None gives ω⁻ = ω⁺, the single relaxation time
    of BGK.

    >>> relaxation_rates([1 / 6]).tolist()  # doctest: +ELLIPSIS
    [[1.0, 1.142857...]]
    """
    viscosity = torch.as_tensor(viscosity, dtype=torch.float64)
    if not bool((viscosity > 0).all()):
        raise ValueError(f"viscosities {viscosity.tolist()} were given; they must be positive")
    even = 3 * viscosity
    odd = even if magic is None else magic / even
    return torch.stack([1 / (even + 0.5), 1 / (odd + 0.5)], dim=-1)


def _check(populations: Tensor, boundary: Boundary, relaxation: Tensor, steps: int) -> None:
    if tuple(populations.shape) != boundary.populations_shape:
        raise ValueError(
            f"populations of shape {tuple(populations.shape)} were given with links made for "
            f"{boundary.populations_shape}; make both from the same signed distance"
        )
    if tuple(relaxation.shape) != (populations.shape[0], 2):
        raise ValueError(
            f"relaxation rates of shape {tuple(relaxation.shape)} were given for "
            f"{populations.shape[0]} grids; give (ω⁺, ω⁻) for each"
        )
    if steps < 0:
        raise ValueError(f"{steps} steps were asked for; give zero or more")
