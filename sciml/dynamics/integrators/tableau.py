"""Butcher tableaus of explicit Runge-Kutta schemes, and the order conditions they fulfil."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Tableau:
    r"""An explicit scheme $k_i = F(X + h \sum_{j<i} a_{ij} k_j)$, $X' = X + h \sum_i b_i k_i$.

    Args:
        name: the scheme's name.
        order: its order of convergence.
        rows: the coefficients $a_{ij}$, row $i$ with its $i$ entries, the first row empty.
        weights: the coefficients $b_i$.

    Raises:
        ValueError: the rows are not those of an explicit scheme with as many stages as weights.

    Example:
        >>> RK4.stages, RK4.order
        (4, 4)
    """

    name: str
    order: int
    rows: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        if [len(row) for row in self.rows] != list(range(len(self.weights))):
            raise ValueError(
                f"tableau {self.name!r} has rows of {[len(row) for row in self.rows]} entries for "
                f"{len(self.weights)} weights: an explicit scheme has rows of 0, 1, 2, ... entries,"
                " one row for each weight"
            )

    @property
    def stages(self) -> int:
        """Evaluations of the field in a step."""
        return len(self.weights)

    def matrices(self) -> tuple[Float[Tensor, "stages stages"], Float[Tensor, " stages"]]:
        """$a$ and $b$ as float64 tensors."""
        a = torch.zeros(self.stages, self.stages, dtype=torch.float64)
        for i, row in enumerate(self.rows):
            a[i, :i] = torch.tensor(row, dtype=torch.float64)
        return a, torch.tensor(self.weights, dtype=torch.float64)


def order_conditions(
    a: Float[Tensor, "stages stages"], b: Float[Tensor, " stages"], order: int
) -> Float[Tensor, " conditions"]:
    r"""What a scheme leaves of the order conditions $\sum_i b_i \Phi_i(\tau) = 1/\gamma(\tau)$.

    One condition for each rooted tree $\tau$ of at most `order` nodes: 1, 2, 4 and 8 conditions for
    order 1, 2, 3 and 4. A scheme has the order if all are zero.

    Args:
        a: coefficients $a_{ij}$ of the stages.
        b: weights $b_i$.
        order: highest order, 1 to 4.

    Returns:
        Left-hand side minus right-hand side of each condition.

    Raises:
        ValueError: the order is not 1, 2, 3 or 4.

    References:
        J. C. Butcher, Numerical Methods for Ordinary Differential Equations, 2016,
        https://doi.org/10.1002/9781119121534

    Example:
        >>> bool(order_conditions(*RK4.matrices(), 4).abs().max() < 1e-15)
        True
    """
    if order not in (1, 2, 3, 4):
        raise ValueError(f"order conditions of order {order} asked for: choose 1, 2, 3 or 4")
    one, c = torch.ones_like(b), a.sum(1)
    trees = [
        [(one, 1)],
        [(c, 2)],
        [(c**2, 3), (a @ c, 6)],
        [(c**3, 4), (c * (a @ c), 8), (a @ c**2, 12), (a @ (a @ c), 24)],
    ]
    return torch.stack(
        [b @ tree - 1 / density for level in trees[:order] for tree, density in level]
    )


EULER = Tableau(name="Euler", order=1, rows=((),), weights=(1.0,))
HEUN = Tableau(name="Heun", order=2, rows=((), (1.0,)), weights=(1 / 2, 1 / 2))
MIDPOINT = Tableau(name="midpoint", order=2, rows=((), (1 / 2,)), weights=(0.0, 1.0))
RK4 = Tableau(
    name="RK4",
    order=4,
    rows=((), (1 / 2,), (0.0, 1 / 2), (0.0, 0.0, 1.0)),
    weights=(1 / 6, 1 / 3, 1 / 3, 1 / 6),
)
"""The classical scheme of order 4."""
THREE_EIGHTHS = Tableau(
    name="3/8",
    order=4,
    rows=((), (1 / 3,), (-1 / 3, 1.0), (1.0, -1.0, 1.0)),
    weights=(1 / 8, 3 / 8, 3 / 8, 1 / 8),
)
"""Kutta's 3/8 rule, of order 4."""
