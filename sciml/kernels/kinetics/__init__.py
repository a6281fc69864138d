"""Net rates of production of an ideal gas's species, and the heat that they release."""

from __future__ import annotations

from importlib import import_module

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.kernels.backend import Backend, choose
from sciml.kernels.kinetics import autograd, reference
from sciml.kernels.kinetics.mechanism import (
    GAS_CONSTANT,
    Arrhenius,
    Chebyshev,
    Falloff,
    Mechanism,
    PressureDependent,
    Rate,
    Reaction,
    Species,
    ThirdBody,
)

__all__ = [
    "GAS_CONSTANT",
    "Arrhenius",
    "Chebyshev",
    "Falloff",
    "Mechanism",
    "PressureDependent",
    "Rate",
    "Reaction",
    "Species",
    "ThirdBody",
    "production_rates",
]


def production_rates(
    mechanism: Mechanism,
    temperature: Float[Tensor, " cell"],
    concentrations: Float[Tensor, "cell species"],
    *,
    backend: Backend = "auto",
) -> tuple[Float[Tensor, "cell species"], Float[Tensor, " cell"]]:
    r"""Net rates of production of all species, and the heat that the reactions release.

    With the rates of progress q of the reactions (see :class:`Reaction`),

        ω_k = Σ_r ν_kr q_r,   heat = -Σ_k h_k ω_k,   p = R T Σ_k c_k,

    rates backward by the equilibrium of each reaction,

        ln Kc = -Σ_k ν_k g_k / (R T) + Σ_k ν_k ln(p0 / (R T)).

    The fast backends are once differentiable, forward (`torch.func.jvp`) and backward; the
    reference is plain torch and any number of times.

    Args:
        mechanism: species and reactions.
        temperature: T in K.
        concentrations: c in kmol/m³, of the species in their order.
        backend: `reference` (torch, any device), `cpu` (numba, one thread), `triton` (CUDA), or
            `auto`, the fastest that can run where the states are. The fast ones take float32 and
            float64 and compute in float64.

    Returns:
        ω in kmol/(m³ s), and the heat in W/m³.

    Raises:
        ValueError: shapes or precisions that do not fit.
        RuntimeError: a backend that cannot run here, saying what is missing.

    Two atoms combine where they meet a third body, with k = 3 and [M] = 2:

    >>> nasa = (2.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    >>> data = dict(low=nasa, high=nasa, middle=1000.0, valid=(300.0, 3000.0))
    >>> atom = Species(name="A", atoms={"A": 1.0}, molecular_weight=1.0, **data)
    >>> pair = Species(name="A2", atoms={"A": 2.0}, molecular_weight=2.0, **data)
    >>> combining = Reaction(
    ...     equation="2 A + M => A2 + M",
    ...     reactants={"A": 2.0},
    ...     products={"A2": 1.0},
    ...     reversible=False,
    ...     rate=Arrhenius(3.0, 0.0, 0.0),
    ...     third_body=ThirdBody(),
    ... )
    >>> gas = Mechanism(
    ...     name="pairs",
    ...     elements=("A",),
    ...     atomic_weights=(1.0,),
    ...     species=(atom, pair),
    ...     reactions=(combining,),
    ...     reference_pressure=101325.0,
    ... )
    >>> rates, heat = production_rates(gas, torch.tensor([500.0]), torch.ones(1, 2))
    >>> rates
    tensor([[-12.,   6.]])
    """
    _check(mechanism, temperature, concentrations)
    both = (torch.float32, torch.float64)
    precisions = {"cpu": both, "triton": both}
    chosen = choose(backend, temperature.detach(), precisions=precisions)
    if chosen == "reference":
        return reference.production_rates(mechanism, temperature, concentrations)
    fast = import_module(f"{__name__}.{chosen}")
    return autograd.production_rates(fast, mechanism, temperature, concentrations)


def _check(mechanism: Mechanism, temperature: Tensor, concentrations: Tensor) -> None:
    if concentrations.shape[1] != len(mechanism.species):
        raise ValueError(
            f"concentrations of {concentrations.shape[1]} species were given to {mechanism.name}, "
            f"which has {len(mechanism.species)}; give all of them, in its order"
        )
    if (temperature.dtype, temperature.device) != (concentrations.dtype, concentrations.device):
        raise ValueError(
            f"temperatures are {temperature.dtype} on {temperature.device} and concentrations "
            f"{concentrations.dtype} on {concentrations.device}; convert one to the other"
        )
    if temperature.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"states of {temperature.dtype} were given; convert them to float64")
