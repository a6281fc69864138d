"""States of a vector field at given times, with a choice of scheme and of gradient."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.dynamics.adjoints.adaptive import adaptive_backward_ode
from sciml.dynamics.adjoints.continuous import backward_ode
from sciml.dynamics.adjoints.recomputed import recomputed
from sciml.dynamics.adjoints.revolve import Revolve
from sciml.dynamics.integrators.checks import checked_times, refuse_non_finite
from sciml.dynamics.integrators.dormand_prince import DormandPrince
from sciml.dynamics.integrators.runge_kutta import ExplicitScheme, RungeKutta
from sciml.dynamics.integrators.scheme import Field, Scheme, march
from sciml.dynamics.integrators.torchdiffeq import Torchdiffeq

Gradient = Literal["store", "checkpoint", "continuous", "interpolated"] | Revolve
"""How a gradient is computed."""

_MODES = ("store", "checkpoint", "continuous", "interpolated")


def integrate(
    field: Field,
    state: Float[Tensor, "batch component"],
    times: Float[Tensor, "*samples time"],
    *,
    scheme: Scheme | None = None,
    gradient: Gradient = "store",
    finite: bool = True,
) -> Float[Tensor, "batch time component"]:
    r"""Solve $\dot X = F(X)$ from a state at the first time, and give the states at all times.

    | gradient | what is differentiated | states kept | exact |
    |---|---|---|---|
    | `store` | the steps, by backpropagation | all stages | yes |
    | `checkpoint` | the steps, each done again | one a step | yes |
    | `Revolve(slots=s)` | the steps, done again as rarely as `s` slots allow | $s$ | yes |
    | `continuous` | the equation: $\dot\lambda = -F'^T \lambda$ backward | one a step | no |
    | `interpolated` | the same, with the state from the stored interpolant | one a step | no |

    The inexact ones have the discretisation's own order; `gradient_distance` measures how far they
    are. A gradient reaches the state, the field's parameters and, with an exact one, the scheme's.
    Only `store` can be differentiated twice, or by `torch.func`.

    Args:
        field: the vector field $F$: a module, or a function.
        state: states $X_0$ [batch, component], in the system's unit.
        times: increasing times [time], or [batch, time] with those of each sample; the first one is
            that of `state`.
        scheme: the integration scheme; None is RK4, one step from each time to the next.
        gradient: how a gradient is computed, see above.
        finite: refuse a result that is not finite; without it, a sample that fails with steps of
            fixed size is returned with what it has.

    Returns:
        The states at all times; the first is `state`.

    Raises:
        ValueError: bad times or states, or a gradient that the scheme does not have.
        NonFiniteState: a state is not finite; its sample and time are named.
        StepTooSmall: an adaptive scheme cannot go on; the sample and time are named.

    Example:
        >>> times = torch.linspace(0, 1, 11)
        >>> integrate(torch.neg, torch.ones(1, 1), times)[0, -1]  # e^-1
        tensor([0.3679])
    """
    scheme = RungeKutta() if scheme is None else scheme
    line = checked_times(state, times)
    if not isinstance(gradient, Revolve) and gradient not in _MODES:
        raise ValueError(
            f"unknown gradient {gradient!r}: choose {', '.join(_MODES)}, or Revolve(slots=...)"
        )
    states = _integrate(field, state, line, scheme, gradient)
    if finite:
        refuse_non_finite(states, line)
    return states


def _integrate(
    field: Field, state: Tensor, times: Tensor, scheme: Scheme, gradient: Gradient
) -> Tensor:
    if isinstance(scheme, Torchdiffeq):
        return scheme.solve(field, state, times, gradient)
    if not torch.is_grad_enabled():
        if isinstance(scheme, DormandPrince):
            return scheme.solve(field, state, times).states
        return march(scheme, field, state, scheme.plan(field, state, times))
    if gradient in ("continuous", "interpolated"):
        return _backward_ode(field, state, times, scheme, gradient == "interpolated")
    plan = scheme.plan(field, state, times)
    if gradient == "store":
        return march(scheme, field, state, plan)
    slots = gradient.slots if isinstance(gradient, Revolve) else None
    return recomputed(scheme, field, state, plan, slots)


def _backward_ode(
    field: Field, state: Tensor, times: Tensor, scheme: Scheme, interpolated: bool
) -> Tensor:
    if any(p.requires_grad for p in scheme.parameters()):
        raise ValueError(
            "a backward equation has no gradient of the scheme's own parameters: choose "
            "'store', 'checkpoint' or Revolve(slots=...), or freeze the scheme by "
            "requires_grad_(False)"
        )
    if isinstance(scheme, DormandPrince):
        return adaptive_backward_ode(scheme, field, state, times, interpolated=interpolated)
    if isinstance(scheme, ExplicitScheme):
        plan = scheme.plan(field, state, times)
        return backward_ode(scheme, field, state, plan, interpolated=interpolated)
    raise ValueError(
        f"{type(scheme).__name__} does not solve an equation that could be solved backward: choose "
        "'store', 'checkpoint' or Revolve(slots=...), or a Runge-Kutta scheme"
    )
