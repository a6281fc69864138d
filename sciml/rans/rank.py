"""Which of Pope's ten tensors a flow needs: the others are sums of these."""

from __future__ import annotations

import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from sciml.kernels.tensor_basis import tensor_basis
from sciml.rans.network import traceless
from sciml.rans.surrogate import SLOW, fields_of

__all__ = ["spanning_tensors"]

_ROUNDING = 1e-9


def spanning_tensors(ds: xr.Dataset, *, tolerance: float = 1e-3) -> tuple[int, ...]:
    r"""The first tensors of the basis that span all ten in every sample, found by their rank.

    Tensor after tensor is kept if its part that no linear combination of the kept ones gives has a
    root mean square over the samples above the tolerance, strain and rotation being of order one.
    Symmetric traceless tensors have five dimensions, so that no more than five are ever kept. In
    plane flow there are three, in axisymmetric strain one.

    Args:
        ds: labelled samples with `velocity_gradient`, `turbulent_kinetic_energy` and
            `dissipation_rate`.
        tolerance: what counts as nothing.

    Returns:
        Places in the basis, from 0, for `basis` of :class:`sciml.rans.TensorBasisOptions`.

    S. B. Pope, "A more general effective-viscosity hypothesis", J. Fluid Mech. 72 (1975) 331,
    doi:10.1017/S0022112075003382, for the plane.
    """
    G, k, epsilon = fields_of(ds)
    _, tensors = tensor_basis(G, k / SLOW, epsilon, limit=1.0)
    left = traceless(tensors.permute(2, 0, 1))
    kept = []
    for place in range(left.shape[1]):
        size = left[:, place].norm(dim=1)
        if size.square().mean().sqrt() > tolerance:
            kept.append(place)
            left = _without(left, left[:, place] * (size > _ROUNDING)[:, None])
    return tuple(kept)


def _without(
    tensors: Float[Tensor, "sample basis 5"], direction: Float[Tensor, "sample 5"]
) -> Float[Tensor, "sample basis 5"]:
    """What is orthogonal to a direction, where it has a length."""
    unit = direction / direction.norm(dim=1, keepdim=True).clamp(min=1e-300)
    return tensors - torch.einsum("sbi,si,sj->sbj", tensors, unit, unit)
