"""Explicit Runge-Kutta schemes of a given or a learned tableau."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.dynamics.integrators.scheme import Field, FixedStep, Size
from sciml.dynamics.integrators.tableau import RK4, Tableau

Coefficients = tuple[Sequence[Sequence[Tensor | float]], Sequence[Tensor | float]]
"""Rows $a_{ij}$ and weights $b_i$, as numbers or as scalar tensors."""


def combine(weights: Sequence[Tensor | float], rates: Sequence[Tensor]) -> Tensor | float:
    """The weighted sum of rates, without those whose weight is the number zero."""
    total: Tensor | float = 0.0
    for weight, rate in zip(weights, rates, strict=True):
        if isinstance(weight, Tensor) or weight != 0:
            term = rate if not isinstance(weight, Tensor) and weight == 1 else weight * rate
            total = term if isinstance(total, float) else total + term
    return total


def step_by(
    state: Tensor, size: Size, weights: Sequence[Tensor | float], rates: Sequence[Tensor]
) -> Tensor:
    """The state and so much of the weighted sum of rates; numbers go along with the additions.

    In forward mode a product with a number would cost fifty such additions.
    """
    if isinstance(size, Tensor) or any(isinstance(weight, Tensor) for weight in weights):
        return state + size * combine(weights, rates)
    for weight, rate in zip(weights, rates, strict=True):
        if weight != 0:
            state = torch.add(state, rate, alpha=size * float(weight))
    return state


class ExplicitScheme(FixedStep, ABC):
    r"""Explicit Runge-Kutta scheme: abstract.

    $k_i = F(X + h \sum_{j<i} a_{ij} k_j)$, $X' = X + h \sum_i b_i k_i$.
    """

    @abstractmethod
    def coefficients(self, dtype: torch.dtype) -> Coefficients:
        """Rows and weights of the tableau."""

    def advance(
        self, field: Field, state: Float[Tensor, "batch component"], size: Size
    ) -> Float[Tensor, "batch component"]:
        """The state one step of `size` later."""
        rows, weights = self.coefficients(state.dtype)
        rates: list[Tensor] = []
        for row in rows:
            rates.append(field(step_by(state, size, row, rates)))
        return step_by(state, size, weights, rates)


class RungeKutta(ExplicitScheme):
    r"""Explicit Runge-Kutta scheme of a given tableau.

    Args:
        tableau: EULER, HEUN, MIDPOINT, RK4, THREE_EIGHTHS, or one's own.
        step: the largest step in time; None takes one step from each time to the next.

    Raises:
        ValueError: the step is not positive.

    Example:
        >>> scheme = RungeKutta(RK4)
        >>> scheme.advance(torch.neg, torch.ones(1, 1), 0.1)  # e^-0.1 = 0.904837
        tensor([[0.9048]])
    """

    def __init__(self, tableau: Tableau = RK4, *, step: float | None = None) -> None:
        super().__init__(step=step)
        self.tableau = tableau
        self.order, self.stages = tableau.order, tableau.stages

    def coefficients(self, dtype: torch.dtype) -> Coefficients:
        """Rows and weights of the tableau, as numbers."""
        return self.tableau.rows, self.tableau.weights

    def extra_repr(self) -> str:
        """Name and step."""
        return f"{self.tableau.name}, step={self.step}"
