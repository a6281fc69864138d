"""The Lyapunov spectrum of a field or of a step map, and the dimension that follows from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sciml.dynamics.integrators import FixedStep, RungeKutta

__all__ = ["LyapunovSpectrum", "kaplan_yorke_dimension", "lyapunov_spectrum", "map_spectrum"]


@dataclass(frozen=True, kw_only=True)
class LyapunovSpectrum:
    """Lyapunov exponents, and how well they are known.

    Attributes:
        exponents: per unit of time, in the order in which the directions were kept: descending.
        standard_error: of each, from the scatter of the trajectories and of the parts of each.
        duration: time over which every trajectory was followed.
        trajectories: their number.
    """

    exponents: Float[np.ndarray, " component"]
    standard_error: Float[np.ndarray, " component"]
    duration: float
    trajectories: int

    @property
    def dimension(self) -> float:
        """Kaplan-Yorke dimension."""
        return kaplan_yorke_dimension(self.exponents)


def lyapunov_spectrum(
    field: Callable[[Tensor], Tensor],
    initial: Float[Tensor, "batch component"],
    *,
    step: float = 0.01,
    duration: float = 100.0,
    spin_up: float = 10.0,
    every: int = 5,
    scheme: FixedStep | None = None,
) -> LyapunovSpectrum:
    """Lyapunov exponents of a field, by the variational equation and QR.

    State and tangents are advanced together by the scheme, so that the tangents are the exact
    derivative of the discrete flow, and made orthonormal every few steps; the logarithms of what
    they have grown by, divided by time, are the exponents. Batched: many short trajectories cost
    little more than one.

    Args:
        field: any differentiable field.
        initial: states on or near the attractor, in float64 as a rule.
        step: of the scheme.
        duration: time that counts.
        spin_up: time before it, in which states reach the attractor and tangents align.
        every: steps between two orthonormalisations; in this time the tangents must not collapse:
            every · step · (λ₁ − λₙ) of 5 is still well.
        scheme: RK4 by default.

    Returns:
        Exponents with standard errors; not finite where a trajectory blew up.

    Raises:
        ValueError: a step or a duration that is not positive.

    Benettin et al., 1980, doi:10.1007/BF02128237.

    >>> decay = torch.tensor([-1.0, -3.0], dtype=torch.float64)
    >>> begin = torch.ones(1, 2, dtype=torch.float64)
    >>> found = lyapunov_spectrum(lambda x: decay * x, begin, duration=0.2, spin_up=0.0)
    >>> found.exponents.round(6)
    array([-1., -3.])
    """
    solver = RungeKutta() if scheme is None else scheme
    return map_spectrum(
        lambda state: solver.advance(field, state, step),
        initial,
        step=step,
        duration=duration,
        spin_up=spin_up,
        every=every,
    )


def map_spectrum(
    advance: Callable[[Tensor], Tensor],
    initial: Float[Tensor, "batch component"],
    *,
    step: float,
    duration: float,
    spin_up: float = 10.0,
    every: int = 5,
) -> LyapunovSpectrum:
    """Lyapunov exponents of a step map, of a learned increment say.

    Args:
        advance: states [batch, component] to those one step later.
        step: time that one application takes; exponents are per unit of this time.

    The other arguments, what is returned and raised: as for `lyapunov_spectrum`.
    """
    if min(step, duration) <= 0 or spin_up < 0 or every < 1:
        raise ValueError(
            f"step={step}, duration={duration}, spin_up={spin_up}, every={every}: "
            "step and duration must be positive, spin_up not negative, every at least 1"
        )
    state, batch, n = initial.detach(), *initial.shape
    tangents = torch.eye(n, dtype=state.dtype, device=state.device).expand(batch, n, n)
    before, counted = (round(t / (step * every)) for t in (spin_up, duration))
    growth = []
    with torch.no_grad():
        for _ in range(before):
            state, tangents, _ = _propagate(advance, state, tangents, every)
        for _ in range(max(counted, 1)):
            state, tangents, logs = _propagate(advance, state, tangents, every)
            growth.append(logs)
    return _summary(torch.stack(growth).cpu().numpy().astype(np.float64), step * every)


def kaplan_yorke_dimension(exponents: Sequence[float] | Float[np.ndarray, " component"]) -> float:
    r"""Kaplan-Yorke dimension $D = k + \sum_{i \le k} \lambda_i / \lvert \lambda_{k+1} \rvert$.

    k is the largest number of exponents, in descending order, whose sum is not negative; D is the
    number of exponents where all of them sum to no less than zero, and NaN where one is.

    Kaplan and Yorke, 1979, doi:10.1007/BFb0064319.

    >>> round(kaplan_yorke_dimension([0.906, 0.0, -14.572]), 3)
    2.062
    """
    ordered = np.sort(np.asarray(exponents, dtype=np.float64))[::-1]
    if not np.isfinite(ordered).all():
        return float("nan")
    sums = np.cumsum(ordered)
    k = int((np.logical_and.accumulate(sums >= 0)).sum())
    if k == len(ordered):
        return float(k)
    return float(k + (sums[k - 1] if k else 0.0) / abs(ordered[k]))


def _propagate(
    advance: Callable[[Tensor], Tensor], state: Tensor, tangents: Tensor, steps: int
) -> tuple[Tensor, Tensor, Tensor]:
    """State and tangents [batch, direction, component] some steps on, and how much these grew.

    Each component of the step pulls back a copy of the state: one batch in reverse mode, which
    costs a tenth of forward mode, where every constant of a field would be slow.
    """
    batch, n, _ = tangents.shape
    component = torch.eye(n, dtype=state.dtype, device=state.device).repeat(batch, 1)
    for _ in range(steps):
        copies = state.repeat_interleave(n, dim=0).requires_grad_()
        with torch.enable_grad():
            ahead = advance(copies)
        (rows,) = torch.autograd.grad(ahead, copies, component, materialize_grads=True)
        state = ahead.detach()[::n]
        tangents = tangents @ rows.view(batch, n, n).mT
    tangents, logs = _orthonormalised(tangents)
    return state, tangents, logs


def _orthonormalised(tangents: Tensor) -> tuple[Tensor, Tensor]:
    """Q and the logarithms of the diagonal of R, by the modified Gram-Schmidt process, batched."""
    rows: list[Tensor] = []
    logs = []
    for row in tangents.unbind(1):
        for earlier in rows:
            row = row - (earlier * row).sum(-1, keepdim=True) * earlier
        length = row.norm(dim=-1, keepdim=True)
        rows.append(row / length)
        logs.append(length[..., 0].log())
    return torch.stack(rows, 1), torch.stack(logs, -1)


def _summary(
    growth: Float[np.ndarray, "time batch component"], interval: float
) -> LyapunovSpectrum:
    count, batch, _ = growth.shape
    parts = 1 if batch >= 10 else min(20, count)
    kept = growth[: count // parts * parts].reshape(parts, -1, *growth.shape[1:])
    rates = kept.mean(1).reshape(parts * batch, -1) / interval
    error = np.full(rates.shape[1], np.nan)
    if len(rates) > 1:
        error = rates.std(0, ddof=1) / np.sqrt(len(rates))
    return LyapunovSpectrum(
        exponents=growth.mean((0, 1)) / interval,
        standard_error=error,
        duration=count * interval,
        trajectories=batch,
    )
