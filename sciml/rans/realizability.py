r"""Which anisotropies a turbulence can have: the barycentric triangle, projection and penalty.

Normal stresses are not negative in any direction, so that the eigenvalues λ₁ ≥ λ₂ ≥ λ₃ of b are at
least -1/3. With the sum zero they fill a triangle, whose corners are turbulence of one component
(2/3, -1/3, -1/3), of two (1/6, 1/6, -1/3) and of three (0, 0, 0).

Eigenvalues are those of a closed form, in float64 whatever b is. One Newton step carries their
gradient, which is finite unless two eigenvalues coincide: there it is zero.

S. Banerjee, R. Krahl, F. Durst, C. Zenger, Presentation of anisotropy properties of turbulence,
invariants versus eigenvalue approaches, J. Turbul. 8 (2007) N32, doi:10.1080/14685240701506896
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

__all__ = [
    "barycentric_position",
    "barycentric_weights",
    "eigenvalues",
    "project",
    "realizability_penalty",
    "realizable",
]

Matrices = Float[Tensor, "*cell 3 3"]

COINCIDENT = 1e-6
"""Derivative of the characteristic polynomial over its scale, below which eigenvalues coincide."""


def eigenvalues(anisotropy: Matrices) -> Float[Tensor, "*cell 3"]:
    r"""Eigenvalues of b, the largest first.

    λₖ = 2 p cos((φ - 2 π k)/3), with p² = tr b²/6 and cos φ = det b / (2 p³), then a Newton step on
    the characteristic polynomial. A trace of b is left out.

    Args:
        anisotropy: b, symmetric, without unit.

    >>> eigenvalues(torch.diag(torch.tensor([-0.25, 0.5, -0.25])))
    tensor([ 0.5000, -0.2500, -0.2500])
    """
    b = _deviator(anisotropy)
    return _eigenvalues(b).to(anisotropy.dtype)


def barycentric_weights(anisotropy: Matrices) -> Float[Tensor, "*cell 3"]:
    r"""Shares of turbulence of one, two and three components, which sum to one.

        C₁ = λ₁ - λ₂,   C₂ = 2 (λ₂ - λ₃),   C₃ = 3 λ₃ + 1

    C₃ is negative where b is not realizable; the others never are.

    >>> barycentric_weights(torch.zeros(3, 3))
    tensor([0., 0., 1.])
    """
    first, second, third = eigenvalues(anisotropy).unbind(-1)
    return torch.stack([first - second, 2 * (second - third), 3 * third + 1], -1)


def barycentric_position(anisotropy: Matrices) -> Float[Tensor, "*cell 2"]:
    """Where b lies in the triangle with the corners (1, 0), (0, 0) and (1/2, √3/2).

    They are turbulence of one, two and three components. Realizable points lie inside.

    >>> barycentric_position(torch.zeros(3, 3))
    tensor([0.5000, 0.8660])
    """
    one, _, three = barycentric_weights(anisotropy).unbind(-1)
    return torch.stack([one + three / 2, math.sqrt(0.75) * three], -1)


def realizable(anisotropy: Matrices, *, tolerance: float = 1e-6) -> Bool[Tensor, "*cell"]:
    """Whether λ₃ ≥ -1/3 - tolerance; NaN is not.

    >>> realizable(torch.diag(torch.tensor([0.5, 0.0, -0.5])))
    tensor(False)
    """
    return eigenvalues(anisotropy.detach())[..., 2] >= -1 / 3 - tolerance


def project(anisotropy: Matrices) -> Matrices:
    r"""The nearest realizable anisotropy, in the Frobenius norm.

    It has the eigenvectors of b. If only λ₃ lies below -1/3, by δ, it rises to -1/3 and the others
    give δ/2 each; if λ₂ falls below -1/3 by that, b becomes turbulence of one component. Realizable
    b are a convex set, so that no distance to a realizable b grows. (In the barycentric triangle,
    which maps lengths unevenly, the nearest point is another.)

    Args:
        anisotropy: b, symmetric; its trace is removed as well.

    >>> project(torch.diag(torch.tensor([0.5, 0.0, -0.5]))).diag()
    tensor([ 0.4167, -0.0833, -0.3333])
    """
    b = _deviator(anisotropy)
    first, second, third = _eigenvalues(b).unbind(-1)
    depth = torch.relu(-1 / 3 - third)[..., None, None]
    one_component = (second + 1 / 3 < (-1 / 3 - third) / 2)[..., None, None]
    inside = depth == 0
    identity = torch.eye(3, dtype=b.dtype, device=b.device)
    raised = b + depth * (1.5 * _projector(b, third) - identity / 2)
    corner = _projector(b, first) - identity / 3
    found = torch.where(inside, b, torch.where(one_component, corner, raised))
    return found.to(anisotropy.dtype)


def realizability_penalty(anisotropy: Matrices) -> Float[Tensor, ""]:
    """Mean over the cells of max(0, -1/3 - λ₃)², a term for a loss.

    >>> realizability_penalty(torch.diag(torch.tensor([0.5, 0.0, -0.5]))).item()
    0.0277...
    """
    return torch.relu(-1 / 3 - eigenvalues(anisotropy)[..., 2]).square().mean()


def _deviator(anisotropy: Matrices) -> Matrices:
    """b in float64 without its trace."""
    b = anisotropy.double()
    trace = b.diagonal(dim1=-2, dim2=-1).sum(-1)
    return b - trace[..., None, None] * torch.eye(3, dtype=b.dtype, device=b.device) / 3


def _eigenvalues(b: Matrices) -> Float[Tensor, "*cell 3"]:
    half, det = b.square().sum((-2, -1)) / 2, _determinant(b)
    found = _roots(half.detach(), det.detach())
    slope = 3 * found.square() - half.detach()[..., None]
    apart = slope.abs() > COINCIDENT * half.detach()[..., None]
    residual = found**3 - half[..., None] * found - det[..., None]
    step = residual / torch.where(apart, slope, 1.0)
    return found - torch.where(apart, step, 0.0)


def _determinant(b: Matrices) -> Float[Tensor, "*cell"]:
    return (torch.linalg.cross(b[..., 0, :], b[..., 1, :]) * b[..., 2, :]).sum(-1)


def _roots(half: Float[Tensor, "*cell"], det: Float[Tensor, "*cell"]) -> Float[Tensor, "*cell 3"]:
    """Roots of λ³ - half λ - det, the largest first."""
    p = (half / 3).sqrt()
    cosine = (det / (2 * p**3).clamp(min=1e-300)).clamp(-1, 1)
    turns = torch.tensor([0.0, -2.0, 2.0], dtype=p.dtype, device=p.device) * math.pi / 3
    return 2 * p[..., None] * torch.cos(torch.arccos(cosine)[..., None] / 3 + turns)


def _projector(b: Matrices, value: Float[Tensor, "*cell"]) -> Matrices:
    """v vᵀ of the eigenvector v of an eigenvalue apart from the other two, by Cayley-Hamilton."""
    half, value = b.square().sum((-2, -1))[..., None, None] / 2, value[..., None, None]
    slope = 3 * value.square() - half
    safe = torch.where(slope.abs() > COINCIDENT * half, slope, 1.0)
    identity = torch.eye(3, dtype=b.dtype, device=b.device)
    return (b @ b + value * b + (value.square() - half) * identity) / safe
