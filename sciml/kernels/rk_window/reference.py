r"""A window of Runge-Kutta steps in plain torch: the definition of the fast kernels.

With an explicit tableau (a, b) and a step h,

    Y_i = y + h Σ_{j<i} a_ij k_j,   k_i = f(Y_i),   y ← y + h Σ_i b_i k_i.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.kernels.rk_window.fields import Field


def rk_window(
    state: Float[Tensor, "batch component"],
    field: Field,
    a: Float[Tensor, "stage stage"],
    b: Float[Tensor, " stage"],
    step: float,
    steps: int,
    every: int,
) -> Float[Tensor, "batch time component"]:
    """The state and each `every`-th of the `steps` that follow it."""
    kept = [state]
    for n in range(1, steps + 1):
        state = _advance(state, field, step * a, step * b)
        if n % every == 0:
            kept.append(state)
    return torch.stack(kept, dim=1)


def _advance(state: Tensor, field: Field, a: Tensor, b: Tensor) -> Tensor:
    rates: list[Tensor] = []
    for i in range(len(b)):
        rates.append(field(sum((a[i, j] * rates[j] for j in range(i)), state)))
    return sum((b[i] * rate for i, rate in enumerate(rates)), state)
