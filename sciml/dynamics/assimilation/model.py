"""The forecast model of assimilation: a state and times in, a differentiable trajectory out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sciml.dynamics.integrators import (
    Field,
    Gradient,
    NonFiniteState,
    Scheme,
    integrate,
)

__all__ = ["ForecastModel", "Propagator", "refuse_blow_up", "resolvents"]


@runtime_checkable
class Propagator(Protocol):
    """Carries states from the first of some times to all of them.

    Takes states [batch, component] and increasing times [time]; gives [batch, time, component],
    the states themselves first. Differentiable in the states, in float64, and the same for two
    intervals of equal length wherever they lie (an explicit time is a component of the state).
    """

    def __call__(self, state: Tensor, times: Tensor) -> Tensor: ...


@dataclass(frozen=True, kw_only=True, eq=False)
class ForecastModel:
    """A vector field and how it is integrated, as the forecast model of an assimilation.

    Attributes:
        field: F in dx/dt = F(x), a function or a module, known or learned, in float64.
        scheme: of integration; RK4 with one step from each time to the next if not given.
        gradient: the adjoint, as in :func:`sciml.dynamics.integrators.integrate`. With an exact
            one the gradient of the cost is that of the discrete model, to rounding.

    Raises:
        ValueError: a field with parameters in another precision than float64.

    >>> from sciml.dynamics.integrators import RungeKutta
    >>> model = ForecastModel(field=torch.neg, scheme=RungeKutta(step=0.01))
    >>> model(torch.ones(1, 1).double(), torch.tensor([0.0, 1.0]))[0, -1]  # e^-1
    tensor([0.3679], dtype=torch.float64)
    """

    field: Field
    scheme: Scheme | None = None
    gradient: Gradient = "store"

    def __post_init__(self) -> None:
        parameters = self.field.parameters() if isinstance(self.field, nn.Module) else ()
        for parameter in parameters:
            if parameter.dtype != torch.float64:
                raise ValueError(
                    f"the field's parameters are {str(parameter.dtype).removeprefix('torch.')}, "
                    f"and assimilation runs in float64: give field.double()"
                )

    def __call__(
        self, state: Float[Tensor, "batch component"], times: Float[Tensor, " time"]
    ) -> Float[Tensor, "batch time component"]:
        """The trajectory; a sample that leaves the numbers keeps the others as they are."""
        return integrate(
            self.field, state, times, scheme=self.scheme, gradient=self.gradient, finite=False
        )


def refuse_blow_up(states: Float[Tensor, "sample time component"], times: list[float]) -> None:
    """Report the first time of a sample at which a forecast is not finite.

    Raises:
        NonFiniteState: there is one.
    """
    wrong = (~states.isfinite()).any(2).nonzero()
    if len(wrong):
        sample, k = wrong[0].tolist()
        raise NonFiniteState(
            f"the forecast of sample {sample} is not finite at time {times[k]:.6g}: give a "
            f"background on the model's attractor, a smaller step or a shorter window",
            sample=sample,
            time=times[k],
        )


def resolvents(
    model: Propagator,
    states: Float[Tensor, "sample nodes component"],
    times: Float[Tensor, " nodes"],
) -> Float[Tensor, "sample intervals component component"]:
    """M_k = ∂x(t_{k+1})/∂x(t_k) along a trajectory, by the model's adjoint.

    Every interval is taken once for each component, and one backward pass gives a row of its
    matrix. Intervals of equal length go together, so that a window of equal intervals costs
    one batch, however long it is.

    Args:
        model: the forecast model.
        states: x(t_k), from which each interval starts; the last is not used.
        times: t_k.

    >>> doubling = lambda state, times: state[:, None] * 2 ** (times - times[0])[:, None]
    >>> x = torch.ones(1, 3, 1, dtype=torch.float64)
    >>> resolvents(doubling, x, torch.tensor([0.0, 1.0, 3.0]).double()).flatten()
    tensor([2., 4.], dtype=torch.float64)
    """
    sample, nodes, n = states.shape
    lengths = times.diff()
    found = states.new_empty(sample, nodes - 1, n, n)
    for length in _distinct(lengths):
        same = (lengths - length).abs() <= _slack(times)
        starts = states[:, :-1][:, same]
        matrices = _jacobian(model, starts.reshape(-1, n), float(length))
        found[:, same] = matrices.reshape(*starts.shape[:2], n, n)
    return found


def _jacobian(
    model: Propagator, starts: Float[Tensor, "batch component"], length: float
) -> Float[Tensor, "batch component component"]:
    batch, n = starts.shape
    copies = starts.detach().repeat_interleave(n, dim=0).requires_grad_()
    unit = torch.eye(n, dtype=starts.dtype).repeat(batch, 1)
    with torch.enable_grad():
        ends = model(copies, torch.tensor([0.0, length], dtype=starts.dtype))[:, -1]
        (rows,) = torch.autograd.grad(ends, copies, unit)
    return rows.reshape(batch, n, n)


def _distinct(lengths: Tensor) -> list[Tensor]:
    """One of each group of lengths that differ by rounding only."""
    chosen: list[Tensor] = []
    for length in lengths.sort().values:
        if not chosen or length - chosen[-1] > 1e-9 * length:
            chosen.append(length)
    return chosen


def _slack(times: Tensor) -> float:
    return 1e-9 * float(times.diff().max())
