"""The Dormand-Prince 5(4) pair, stepped with each sample's own step and error control."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.dynamics.integrators.failure import NonFiniteState, StepTooSmall
from sciml.dynamics.integrators.runge_kutta import combine
from sciml.dynamics.integrators.tableau import Tableau

PAIR = Tableau(
    name="Dormand-Prince",
    order=5,
    rows=(
        (),
        (1 / 5,),
        (3 / 40, 9 / 40),
        (44 / 45, -56 / 15, 32 / 9),
        (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
        (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    ),
    weights=(35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
"""The six stages of order 5; the seventh, at the new state, is the first of the next step."""

NODES = (0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0)
"""Where in a step the stages stand, $c_i$."""

ERROR = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)
"""Weights of order 5 less those of order 4, with the seventh rate."""

Rate = Callable[[Tensor, Tensor], Tensor]
"""Right-hand side: times [batch] and states [batch, component] to rates [batch, component]."""


DENSE = (
    (1.0, -8048581381 / 2820520608, 8663915743 / 2820520608, -12715105075 / 11282082432),
    (0.0, 0.0, 0.0, 0.0),
    (0.0, 131558114200 / 32700410799, -68118460800 / 10900136933, 87487479700 / 32700410799),
    (0.0, -1754552775 / 470086768, 14199869525 / 1410260304, -10690763975 / 1880347072),
    (0.0, 127303824393 / 49829197408, -318862633887 / 49829197408, 701980252875 / 199316789632),
    (0.0, -282668133 / 205662961, 2019193451 / 616988883, -1453857185 / 822651844),
    (0.0, 40617522 / 29380423, -110615467 / 29380423, 69997945 / 29380423),
)
"""Coefficients of $\\theta, \\dots, \\theta^4$ in the weight of each rate in the dense output."""


def dense_sum(
    fractions: Float[Tensor, "rows 1"], rates: Float[Tensor, "rows 7 component"]
) -> Float[Tensor, "rows component"]:
    r"""$\sum_{i=1}^7 b_i(\theta) k_i$, so that $X(t + \theta h) = X + h$ times it, of order 4.

    References:
        L. F. Shampine, Some practical Runge-Kutta formulas, 1986,
        https://doi.org/10.1090/S0025-5718-1986-0815836-3
    """
    powers = torch.cat([fractions, fractions**2, fractions**3, fractions**4], 1)
    weights = powers @ rates.new_tensor(DENSE).T
    return (weights[:, :, None] * rates).sum(1)


@dataclass(frozen=True, kw_only=True)
class Control:
    """How large a step may be.

    Args:
        scale: error allowed in each component [batch, component], from old and new state.
        smallest: smallest step in time; None takes 16 units in the last place of the time.
        most: most attempts.
        advice: what the error tells the user to change.
    """

    scale: Callable[[Tensor, Tensor], Tensor]
    smallest: float | None
    most: int
    advice: str


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One attempted step of all samples: whence, how far, its rates, and who accepts it.

    Args:
        time: where each sample stands, float64 [batch].
        state: the states there.
        size: the steps [batch], zero for a sample that has arrived.
        rates: the rates of the seven stages.
        end: the states after the step.
        accepted: which samples accept it [batch].
    """

    time: Tensor
    state: Tensor
    size: Tensor
    rates: list[Tensor]
    end: Tensor
    accepted: Tensor

    def stage(self, i: int) -> Tensor:
        """The state at which stage `i` was evaluated."""
        h = self.size[:, None].to(self.state)
        return self.state + h * combine(PAIR.rows[i], self.rates[:i])


def first_size(rate: Rate, time: Tensor, state: Tensor, begin: Tensor, control: Control) -> Tensor:
    """Hairer's choice of a first step from one more evaluation."""
    scale = control.scale(state, state)
    d0, d1 = _norm(state / scale), _norm(begin / scale)
    h0 = torch.where((d0 < 1e-5) | (d1 < 1e-5), torch.full_like(d0, 1e-6), 0.01 * d0 / d1)
    euler = state + h0[:, None].to(state) * begin
    d2 = _norm((rate(time + h0, euler) - begin) / scale) / h0
    most = torch.maximum(d1, d2)
    h1 = torch.where(most <= 1e-15, (h0 * 1e-3).clamp(min=1e-6), (0.01 / most) ** (1 / 5))
    return torch.minimum(100 * h0, h1)


def solve(
    rate: Rate,
    state: Tensor,
    begin: Tensor,
    end: Tensor,
    *,
    control: Control,
    size: Tensor | None,
    limit: Callable[[Tensor], Tensor] | None,
    accept: Callable[[Attempt, Tensor], tuple[Tensor, bool] | None],
) -> Tensor:
    """March every sample from `begin` to `end` with its own steps.

    Args:
        rate: right-hand side.
        state: states [batch, component] at `begin`.
        begin: times [batch], float64.
        end: later times [batch], float64.
        control: the tolerances.
        size: first steps [batch]; None chooses them by one more evaluation.
        limit: times [batch] to the next time that must be met; None for only the end. The step
            that is cut short for it does not shorten the steps after it.
        accept: called with each attempt and the times after it; may return changed states, and
            whether they jumped, so that their rates are evaluated anew.

    Returns:
        The states at `end`.

    Raises:
        StepTooSmall: a sample needs steps below the smallest, or too many.
        NonFiniteState: the field is not finite at the very start.
    """
    time, k = begin, rate(begin, state)
    _refuse_non_finite(k, time)
    size = first_size(rate, time, state, k, control) if size is None else size
    for _ in range(control.most):
        active = time < end
        if not active.any():
            return state
        target = end if limit is None else torch.minimum(limit(time), end)
        room = target - time
        cut = size >= room * (1 - 1e-12)
        h = torch.where(active, torch.where(cut, room, size), torch.zeros_like(size))
        attempt, ratio = _attempt(rate, time, state, h, k, active, control)
        accepted = attempt.accepted
        factor = (0.9 * ratio.clamp(min=1e-10) ** (-1 / 5)).clamp(0.2, 10.0)
        factor = torch.where(torch.isfinite(ratio), factor, torch.full_like(factor, 0.1))
        factor = torch.where(accepted, factor, factor.clamp(max=0.9))
        after = torch.where(cut, target, time + h)
        grown = torch.where(cut & accepted, torch.maximum(size, factor * h), factor * h)
        size = torch.where(active, grown, size)
        time = torch.where(accepted, after, time)
        state = torch.where(accepted[:, None], attempt.end, state)
        k = torch.where(accepted[:, None], attempt.rates[6], k)
        changed = accept(attempt, time)
        if changed is not None:
            state, jumps = changed
            k = rate(time, state) if jumps else k
        _refuse_small(size, time, time < end, attempt, control)
    sample = int((time < end).to(torch.uint8).argmax())
    raise StepTooSmall(
        f"sample {sample} stands at time {float(time[sample]):.6g} after {control.most} steps, "
        f"its last of size {float(size[sample]):.3g}: {control.advice}",
        sample=sample,
        time=float(time[sample]),
    )


def _attempt(
    rate: Rate,
    time: Tensor,
    state: Tensor,
    size: Tensor,
    k: Tensor,
    active: Tensor,
    control: Control,
) -> tuple[Attempt, Tensor]:
    """One step of every sample, and its error over the error allowed."""
    h = size[:, None].to(state)
    rates = [k]
    for i in range(1, 6):
        rates.append(rate(time + NODES[i] * size, state + h * combine(PAIR.rows[i], rates)))
    end = state + h * combine(PAIR.weights, rates)
    rates.append(rate(time + size, end))
    ratio = _norm(h * combine(ERROR, rates) / control.scale(state, end))
    accepted = active & (ratio <= 1)
    return Attempt(
        time=time, state=state, size=size, rates=rates, end=end, accepted=accepted
    ), ratio


def _norm(x: Tensor) -> Tensor:
    """Root mean square over the components, float64 [batch]."""
    return x.to(torch.float64).square().mean(1).sqrt()


def _refuse_non_finite(rates: Tensor, time: Tensor) -> None:
    bad = ~torch.isfinite(rates).all(1)
    if bad.any():
        sample = int(bad.to(torch.uint8).argmax())
        raise NonFiniteState(
            f"the field of sample {sample} is not finite at time {float(time[sample]):.6g}, where "
            "the integration begins: check the state and the field's weights",
            sample=sample,
            time=float(time[sample]),
        )


def _refuse_small(
    size: Tensor, time: Tensor, active: Tensor, attempt: Attempt, control: Control
) -> None:
    """Refuse steps that are too small to be told from none."""
    ulp = torch.finfo(torch.float64).eps
    least = 16 * ulp * time.abs().clamp(min=1e-3) if control.smallest is None else control.smallest
    bad = active & ~attempt.accepted & ~(size >= least)
    if bad.any():
        sample = int(bad.to(torch.uint8).argmax())
        state = attempt.state[sample].abs().max()
        raise StepTooSmall(
            f"sample {sample} needs a step of {float(size[sample]):.3g} at time "
            f"{float(time[sample]):.6g}, where its state is of size {float(state):.3g}, and that "
            f"is too small: {control.advice}",
            sample=sample,
            time=float(time[sample]),
        )
