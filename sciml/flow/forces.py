"""Forces on a body from the fields around it."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["force_on_body"]


def force_on_body(
    velocity: Float[Tensor, "batch 2 y x"],
    pressure: Float[Tensor, "batch y x"],
    signed_distance: Float[Tensor, "batch y x"],
    viscosity: Float[Tensor, " batch"],
    *,
    spacing: float,
    band: tuple[float, float] = (0.03, 0.2),
) -> Float[Tensor, "batch 2"]:
    r"""Drag and lift by a control surface that is spread over a band around the body.

    With a weight φ that is 1 at the body and 0 beyond the band, the steady momentum equation
    times φ, integrated over the fluid, gives

    F_i = ∫ (u_i u_j + p δ_ij − ν (∂_j u_i + ∂_i u_j)) ∂_j φ dV.

    The gradient of φ lives in the band alone, so neither the wall nor its normal is needed, and
    errors of the fields average out over many control surfaces (Babuška and Miller 1984,
    doi:10.1002/nme.1620200610). φ falls linearly with the signed distance.

    Args:
        velocity: u [m s-1], with a density of 1 kg m-3.
        pressure: p [Pa].
        signed_distance: d [m], positive in the fluid.
        viscosity: ν [m2 s-1].
        spacing: side of a cell [m].
        band: signed distances between which φ falls from 1 to 0 [m]; the whole band lies in the
            domain and its inner edge two cells or more off the wall.

    Returns:
        F [N m-1] along x and y.

    Uniform pressure and velocity exert no force:

    >>> x = torch.linspace(-0.5, 0.5, 64, dtype=torch.float64).expand(1, 64, 64)
    >>> distance, pressure = (x**2 + x.mT**2).sqrt() - 0.2, torch.full_like(x, 3.0)
    >>> velocity, viscosity = torch.stack([pressure, pressure], dim=1), pressure[:, 0, 0]
    >>> force = force_on_body(
    ...     velocity, pressure, distance, viscosity, spacing=1 / 63, band=(0.05, 0.2)
    ... )
    >>> bool((force.abs() < 1e-12).all())
    True
    """
    inner, outer = band
    weight = ((outer - signed_distance) / (outer - inner)).clamp(0, 1)
    gradient = torch.stack([_along_x(weight), _along_y(weight)], dim=1) / spacing
    stretching = torch.stack([_along_x(velocity), _along_y(velocity)], dim=2) / spacing
    strain = stretching + stretching.transpose(1, 2)
    flux = velocity[:, :, None] * velocity[:, None] - viscosity[:, None, None, None, None] * strain
    integrand = torch.einsum("bijyx,bjyx->biyx", flux, gradient) + pressure[:, None] * gradient
    return integrand.sum((-2, -1)) * spacing**2


def _along_x(field: Float[Tensor, "*batch y x"]) -> Float[Tensor, "*batch y x"]:
    """Central difference per cell, zero at the ends."""
    return torch.nn.functional.pad((field[..., 2:] - field[..., :-2]) / 2, (1, 1))


def _along_y(field: Float[Tensor, "*batch y x"]) -> Float[Tensor, "*batch y x"]:
    return torch.nn.functional.pad((field[..., 2:, :] - field[..., :-2, :]) / 2, (0, 0, 1, 1))
