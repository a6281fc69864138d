r"""Pope's invariants and tensors in plain torch: the definition of the fast kernels.

With S = (G + Gᵀ) / 2, R = (G - Gᵀ) / 2, s = τ S and r = τ R, where τ = k / ε, or with a limit L

    τ = (k/ε) / √(1 + (k/ε)² (|S|² + |R|²) / L²),

the invariants are tr s², tr r², tr s³, tr r² s, tr r² s², and the tensors (I the identity)

    T1 = s                           T6  = r² s + s r² - 2/3 tr(s r²) I
    T2 = s r - r s                   T7  = r s r² - r² s r
    T3 = s² - 1/3 tr(s²) I           T8  = s r s² - s² r s
    T4 = r² - 1/3 tr(r²) I           T9  = r² s² + s² r² - 2/3 tr(s² r²) I
    T5 = r s² - s² r                 T10 = r s² r² - r² s² r.

:func:`tensor_basis` and what it calls multiply matrices; :func:`tensor_basis_by_components` is the
form that the kernels compile, run by torch.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.kernels.tensor_basis import components

__all__ = ["anisotropy", "invariants", "tensor_basis", "tensor_basis_by_components"]

Cells = Float[Tensor, " cell"]
Matrices = Float[Tensor, "cell 3 3"]

_ROWS, _COLUMNS = (0, 0, 0, 1, 1, 2), (0, 1, 2, 1, 2, 2)


def tensor_basis(
    velocity_gradient: Matrices,
    turbulent_kinetic_energy: Cells,
    dissipation_rate: Cells,
    limit: float | None,
) -> tuple[Float[Tensor, "5 cell"], Float[Tensor, "10 6 cell"]]:
    """The five invariants and the six components of each of the ten tensors."""
    s, r = _normalised(velocity_gradient, turbulent_kinetic_energy, dissipation_rate, limit)
    tensors = torch.stack(_tensors(s, r))
    return _invariants(s, r), tensors[..., _ROWS, _COLUMNS].transpose(1, 2).contiguous()


def invariants(
    velocity_gradient: Matrices,
    turbulent_kinetic_energy: Cells,
    dissipation_rate: Cells,
    limit: float | None,
) -> Float[Tensor, "5 cell"]:
    """The five invariants alone."""
    gradient, k, epsilon = velocity_gradient, turbulent_kinetic_energy, dissipation_rate
    return _invariants(*_normalised(gradient, k, epsilon, limit))


def anisotropy(
    velocity_gradient: Matrices,
    turbulent_kinetic_energy: Cells,
    dissipation_rate: Cells,
    coefficients: Float[Tensor, "10 cell"],
    limit: float | None,
) -> Float[Tensor, "6 cell"]:
    """Σ g_n T_n."""
    gradient, k, epsilon = velocity_gradient, turbulent_kinetic_energy, dissipation_rate
    _, tensors = tensor_basis(gradient, k, epsilon, limit)
    return (coefficients[:, None] * tensors).sum(0)


def tensor_basis_by_components(
    velocity_gradient: Matrices,
    turbulent_kinetic_energy: Cells,
    dissipation_rate: Cells,
    limit: float | None,
) -> tuple[Float[Tensor, "5 cell"], Float[Tensor, "10 6 cell"]]:
    """The same as :func:`tensor_basis`, without a matrix."""
    xx, xy, xz, yx, yy, yz, zx, zy, zz = velocity_gradient.flatten(1).unbind(1)
    gradient = (xx, xy, xz, yx, yy, yz, zx, zy, zz)
    time = turbulent_kinetic_energy / dissipation_rate
    if limit is not None:
        time = time / torch.sqrt(1 + time * time * components.size(gradient) / limit**2)
    s, w = components.parts(gradient, time, 0.5)
    tensors = [torch.stack(t) for t in components.tensors(s, w, 1 / 3)]
    return torch.stack(components.invariants(s, w)), torch.stack(tensors)


def _normalised(G: Matrices, k: Cells, epsilon: Cells, limit: float | None) -> tuple[Tensor, ...]:
    S, R = (G + G.mT) / 2, (G - G.mT) / 2
    time = k / epsilon
    if limit is not None:
        size = (S**2).sum((1, 2)) + (R**2).sum((1, 2))
        time = time / torch.sqrt(1 + time**2 * size / limit**2)
    return time[:, None, None] * S, time[:, None, None] * R


def _invariants(s: Matrices, r: Matrices) -> Float[Tensor, "5 cell"]:
    s2, r2 = s @ s, r @ r
    return torch.stack([_trace(m) for m in (s2, r2, s2 @ s, r2 @ s, r2 @ s2)])


def _tensors(s: Matrices, r: Matrices) -> tuple[Matrices, ...]:
    s2, r2 = s @ s, r @ r
    return (
        s,
        s @ r - r @ s,
        _deviator(s2),
        _deviator(r2),
        r @ s2 - s2 @ r,
        _deviator(r2 @ s + s @ r2),
        r @ s @ r2 - r2 @ s @ r,
        s @ r @ s2 - s2 @ r @ s,
        _deviator(r2 @ s2 + s2 @ r2),
        r @ s2 @ r2 - r2 @ s2 @ r,
    )


def _trace(matrix: Matrices) -> Cells:
    return matrix.diagonal(dim1=-2, dim2=-1).sum(-1)


def _deviator(matrix: Matrices) -> Matrices:
    identity = torch.eye(3, dtype=matrix.dtype, device=matrix.device)
    return matrix - _trace(matrix)[:, None, None] * identity / 3
