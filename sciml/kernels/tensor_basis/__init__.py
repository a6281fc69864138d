"""From the mean velocity gradient to the Reynolds-stress anisotropy, in Pope's tensor basis."""

from __future__ import annotations

import math
from collections.abc import Iterator
from importlib import import_module
from types import MappingProxyType, ModuleType

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.kernels.backend import Backend, Chosen, choose
from sciml.kernels.tensor_basis import reference
from sciml.kernels.tensor_basis.network import Activation, CoefficientNetwork

__all__ = [
    "Activation",
    "CoefficientNetwork",
    "anisotropy",
    "closure_step",
    "invariants",
    "tensor_basis",
]

PIECE = 2048
"""Cells that go through a network together on the CPU: what it keeps of them stays in the cache."""

Cells = Float[Tensor, " cell"]
Matrices = Float[Tensor, "cell 3 3"]
State = tuple[Tensor, Tensor, Tensor]

_BOTH = (torch.float32, torch.float64)
_PRECISIONS = MappingProxyType({"cpu": _BOTH, "triton": _BOTH})


def tensor_basis(
    velocity_gradient: Matrices,
    turbulent_kinetic_energy: Cells,
    dissipation_rate: Cells,
    *,
    limit: float | None = None,
    backend: Backend = "auto",
) -> tuple[Float[Tensor, "5 cell"], Float[Tensor, "10 6 cell"]]:
    r"""Pope's five invariants and ten tensors of the normalised rates of strain and rotation.

    Every symmetric, traceless function of s and r that turns with the axes is Σ g_n(λ) T_n, with

        s = τ S,  r = τ R,  S = (G + Gᵀ) / 2,  R = (G - Gᵀ) / 2,  G_ij = ∂U_i/∂x_j,  τ = k / ε

        λ1 = tr s²    λ2 = tr r²    λ3 = tr s³    λ4 = tr r² s    λ5 = tr r² s²

        T1 = s                           T6  = r² s + s r² - 2/3 tr(s r²) I
        T2 = s r - r s                   T7  = r s r² - r² s r
        T3 = s² - 1/3 tr(s²) I           T8  = s r s² - s² r s
        T4 = r² - 1/3 tr(r²) I           T9  = r² s² + s² r² - 2/3 tr(s² r²) I
        T5 = r s² - s² r                 T10 = r s² r² - r² s² r.

    With a limit L the time scale is bounded, in the same way whatever the axes, so that
    |s|² + |r|² < L² and the invariants are bounded too:

        τ = (k/ε) / √(1 + (k/ε)² (|S|² + |R|²) / L²).

    Gradients by all three fields are exact: the fast backends compute them by adjoints written by
    hand, which keep the inputs alone and are once differentiable; the reference is plain torch and
    any number of times. T1 is traceless only where the flow is incompressible. Values are not
    looked at: where k or ε is no positive number, neither is what comes out of it.

    Args:
        velocity_gradient: G in 1/s, with the direction of the derivative last.
        turbulent_kinetic_energy: k in m²/s².
        dissipation_rate: ε in m²/s³.
        limit: L, or None for τ = k / ε.
        backend: `reference` (torch, any device), `cpu` (numba, one thread), `triton` (CUDA), or
            `auto`, the fastest that can run where the fields are. The fast ones take float32 and
            float64.

    Returns:
        λ, and the components xx, xy, xz, yy, yz, zz of each T_n; neither has a unit.

    Raises:
        ValueError: shapes, precisions or devices that do not fit, or a limit that is not positive.
        RuntimeError: a backend that cannot run here, saying what is missing.

    S. B. Pope, A more general effective-viscosity hypothesis, J. Fluid Mech. 72 (1975) 331,
    doi:10.1017/S0022112075003382.

    Simple shear with k / ε = 2, where τ ∂U/∂y = 2:

    >>> shear = torch.zeros(1, 3, 3)
    >>> shear[0, 0, 1] = 1.0
    >>> found, tensors = tensor_basis(shear, torch.tensor([2.0]), torch.tensor([1.0]))
    >>> found[:, 0]
    tensor([ 2., -2.,  0.,  0., -2.])
    >>> tensors[0, :, 0], tensors[1, :, 0]
    (tensor([0., 1., 0., 0., 0., 0.]), tensor([-2.,  0.,  0.,  2.,  0.,  0.]))
    """
    state = velocity_gradient, turbulent_kinetic_energy, dissipation_rate
    _check(state, limit)
    chosen = _chosen(backend, velocity_gradient)
    if chosen == "reference":
        return reference.tensor_basis(*state, limit)
    return _form(chosen).tensor_basis(state, _inverse_square(limit))


def invariants(
    velocity_gradient: Matrices,
    turbulent_kinetic_energy: Cells,
    dissipation_rate: Cells,
    *,
    limit: float | None = None,
    backend: Backend = "auto",
) -> Float[Tensor, "5 cell"]:
    """The five invariants of :func:`tensor_basis` alone, the tensors not computed.

    Args:
        velocity_gradient: G in 1/s, with the direction of the derivative last.
        turbulent_kinetic_energy: k in m²/s².
        dissipation_rate: ε in m²/s³.
        limit: L, or None for τ = k / ε.
        backend: as in :func:`tensor_basis`.

    Raises:
        ValueError: as in :func:`tensor_basis`.
        RuntimeError: as in :func:`tensor_basis`.

    >>> shear = torch.zeros(1, 3, 3)
    >>> shear[0, 0, 1] = 1.0
    >>> invariants(shear, torch.tensor([2.0]), torch.tensor([1.0]))[:, 0]
    tensor([ 2., -2.,  0.,  0., -2.])
    """
    state = velocity_gradient, turbulent_kinetic_energy, dissipation_rate
    _check(state, limit)
    chosen = _chosen(backend, velocity_gradient)
    if chosen == "reference":
        return reference.invariants(*state, limit)
    return _form(chosen).invariants(state, _inverse_square(limit))


def anisotropy(
    velocity_gradient: Matrices,
    turbulent_kinetic_energy: Cells,
    dissipation_rate: Cells,
    coefficients: Float[Tensor, "10 cell"],
    *,
    limit: float | None = None,
    backend: Backend = "auto",
) -> Float[Tensor, "6 cell"]:
    r"""The anisotropy b = Σ g_n T_n, with Pope's tensors T_n of :func:`tensor_basis`.

    The fast backends never store the tensors: what they have in common is taken together,

        b = g1 s + dev(-2|w|² g6 s + (g3 - 2|w|² g9) s² + w mᵀ + m wᵀ) + …,

    where the vector w stands for r. So a training step costs little more than its network.
    Gradients by the coefficients and by the fields are exact, as in :func:`tensor_basis`.

    Args:
        velocity_gradient: G in 1/s, with the direction of the derivative last.
        turbulent_kinetic_energy: k in m²/s².
        dissipation_rate: ε in m²/s³.
        coefficients: g_n, without a unit.
        limit: L, or None for τ = k / ε.
        backend: as in :func:`tensor_basis`.

    Returns:
        The components xx, xy, xz, yy, yz, zz of b = ⟨u_i u_j⟩ / (2k) - δ_ij / 3.

    Raises:
        ValueError: as in :func:`tensor_basis`.
        RuntimeError: as in :func:`tensor_basis`.

    The linear eddy-viscosity model, b = -0.09 k S / ε:

    >>> shear = torch.zeros(1, 3, 3)
    >>> shear[0, 0, 1] = 1.0
    >>> linear = torch.zeros(10, 1)
    >>> linear[0] = -0.09
    >>> anisotropy(shear, torch.tensor([2.0]), torch.tensor([1.0]), linear)[:, 0]
    tensor([ 0.0000, -0.0900,  0.0000,  0.0000,  0.0000,  0.0000])
    """
    state = velocity_gradient, turbulent_kinetic_energy, dissipation_rate
    _check(state, limit, coefficients)
    if coefficients.shape != (10, len(turbulent_kinetic_energy)):
        raise ValueError(
            f"coefficients of shape {tuple(coefficients.shape)} were given for "
            f"{len(turbulent_kinetic_energy)} cells; give ten rows of one number a cell"
        )
    chosen = _chosen(backend, velocity_gradient)
    if chosen == "reference":
        return reference.anisotropy(*state, coefficients, limit)
    return _form(chosen).contraction(state, coefficients, _inverse_square(limit))


def closure_step(
    velocity_gradient: Matrices,
    turbulent_kinetic_energy: Cells,
    dissipation_rate: Cells,
    network: CoefficientNetwork,
    *,
    limit: float | None = None,
    backend: Backend = "auto",
) -> Float[Tensor, "6 cell"]:
    r"""A whole closure in one pass: invariants, a small network, coefficients, anisotropy.

    b = Σ g_n(λ) T_n with g of a :class:`CoefficientNetwork`, as Ling, Kurzawski and Templeton
    (J. Fluid Mech. 807 (2016) 155, doi:10.1017/jfm.2016.615) have it. Nothing but b leaves the
    chip: in Triton all is one kernel, on the CPU cells go through in pieces that stay in the cache.
    Gradients by the fields and the network are computed by :func:`invariants` and
    :func:`anisotropy` anew.

    Args:
        velocity_gradient: G in 1/s, with the direction of the derivative last.
        turbulent_kinetic_energy: k in m²/s².
        dissipation_rate: ε in m²/s³.
        network: g, of the same precision and on the same device.
        limit: L, or None for τ = k / ε.
        backend: as in :func:`tensor_basis`, but `triton` takes float32 alone and hidden layers of
            128 at most; `auto` goes through the parts otherwise.

    Returns:
        The components xx, xy, xz, yy, yz, zz of b.

    Raises:
        ValueError: as in :func:`tensor_basis`.
        RuntimeError: as in :func:`tensor_basis`.

    >>> bias = torch.zeros(10)
    >>> bias[0] = -0.09
    >>> network = CoefficientNetwork(weights=(torch.zeros(10, 5),), biases=(bias,))
    >>> shear = torch.zeros(1, 3, 3)
    >>> shear[0, 0, 1] = 1.0
    >>> closure_step(shear, torch.tensor([2.0]), torch.tensor([1.0]), network)[:, 0]
    tensor([ 0.0000, -0.0900,  0.0000,  0.0000,  0.0000,  0.0000])
    """
    state = velocity_gradient, turbulent_kinetic_energy, dissipation_rate
    _check(state, limit, *network.parameters)
    chosen = _chosen(backend, velocity_gradient)
    if chosen == "triton":
        from sciml.kernels.tensor_basis import triton

        reason = triton.unfit(network)
        if reason is None:
            return triton.closure_step(state, network, _inverse_square(limit))
        if backend == "triton":
            raise RuntimeError(f"the triton backend cannot run here: {reason}")
    differentiated = any(x.requires_grad for x in (*state, *network.parameters))
    whole = chosen != "cpu" or (differentiated and torch.is_grad_enabled())
    pieces = [state] if whole else _pieces(state)
    return torch.cat([_by_parts(piece, network, limit, chosen) for piece in pieces], dim=1)


def _pieces(state: State) -> Iterator[State]:
    gradient, energy, dissipation = (x.split(PIECE) for x in state)
    yield from zip(gradient, energy, dissipation, strict=True)


def _by_parts(
    state: State, network: CoefficientNetwork, limit: float | None, backend: Chosen
) -> Tensor:
    coefficients = network(invariants(*state, limit=limit, backend=backend))
    return anisotropy(*state, coefficients, limit=limit, backend=backend)


def _form(chosen: Chosen) -> ModuleType:
    """The compiled functions of a backend, with their derivatives."""
    return import_module(f"{__name__}.{'autograd' if chosen == 'cpu' else chosen}")


def _chosen(backend: Backend, velocity_gradient: Tensor) -> Chosen:
    return choose(backend, velocity_gradient.detach(), precisions=_PRECISIONS)


def _inverse_square(limit: float | None) -> float:
    return 0.0 if limit is None else limit**-2


def _check(state: State, limit: float | None, *others: Tensor) -> None:
    gradient, energy, dissipation = state
    cells = len(energy)
    if gradient.shape != (cells, 3, 3) or {energy.shape, dissipation.shape} != {(cells,)}:
        raise ValueError(
            f"a velocity gradient of shape {tuple(gradient.shape)} was given with k of shape "
            f"{tuple(energy.shape)} and ε of shape {tuple(dissipation.shape)}; "
            "give (cells, 3, 3), (cells,) and (cells,)"
        )
    for tensor in (*state, *others):
        if (tensor.dtype, tensor.device) != (gradient.dtype, gradient.device):
            raise ValueError(
                f"the velocity gradient is {gradient.dtype} on {gradient.device} and another "
                f"input {tensor.dtype} on {tensor.device}; convert one to the other"
            )
    if not gradient.is_floating_point():
        raise ValueError(f"fields of {gradient.dtype} were given; convert them to float64")
    if limit is not None and not 0 < limit < math.inf:
        raise ValueError(f"a limit of {limit} was given; give a positive number, or None for none")
