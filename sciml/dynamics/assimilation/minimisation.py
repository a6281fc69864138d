"""Minimisers of the cost of a window: Gauss-Newton on all samples at once, and L-BFGS."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import minimize
from torch import Tensor

from sciml.dynamics.assimilation.model import refuse_blow_up
from sciml.dynamics.assimilation.window import Linearisation, Misfit, Window
from sciml.dynamics.integrators import IntegrationFailure

__all__ = ["LBFGS", "GaussNewton", "Minimiser", "Minimum", "QuasiStatic"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Minimum:
    """Where a minimiser ended.

    Attributes:
        first_guess: states at the nodes from the background.
        misfit: trajectory and cost there.
        linearisation: derivatives there.
        history: cost after each iteration, NaN once a sample had ended; the first guess first.
        forward, adjoint: integrations over the window that each sample took.
        converged: whether a sample met the tolerance.
    """

    first_guess: Float[Tensor, "sample nodes component"]
    misfit: Misfit
    linearisation: Linearisation
    history: Float[Tensor, "sample iteration"]
    forward: Float[Tensor, " sample"]
    adjoint: Float[Tensor, " sample"]
    converged: Tensor


@runtime_checkable
class Minimiser(Protocol):
    """Finds a minimum of a window's cost, from a control or from the first guess."""

    def minimise(self, window: Window, start: Tensor | None = None) -> Minimum: ...


@dataclass(frozen=True, kw_only=True)
class GaussNewton:
    """Gauss-Newton (incremental 4D-Var with the inner problem solved exactly) and backtracking.

    (I + GᵀG) δ = −∇J;  v ← v + α δ,  α = 1, ½, ¼, ... until J falls enough.

    An iteration takes one integration for each α and, for a state of n components, n forward
    and n adjoint ones for G.

    Attributes:
        iterations: at most.
        tolerance: a sample ends when the expected decrease −½ ∇J·δ is below it. The cost being a
            log-likelihood, this is absolute.
        halvings: of α, at most.

    Reference: Courtier, Thépaut, Hollingsworth, A strategy for operational implementation of
    4D-Var, using an incremental approach, 1994, doi:10.1002/qj.49712051912.
    """

    iterations: int = 20
    tolerance: float = 1e-6
    halvings: int = 10

    def __post_init__(self) -> None:
        _check_limits(self.iterations, self.tolerance)

    def minimise(self, window: Window, start: Tensor | None = None) -> Minimum:
        """The minimum from the control `start`, or from the first guess."""
        with torch.no_grad():
            return self._minimise(window, _start(window, start))

    def _minimise(self, window: Window, start: Misfit) -> Minimum:
        n, now = window.shape[2], start
        history = [now.cost]
        forward, adjoint = torch.ones_like(now.cost), torch.zeros_like(now.cost)
        moving = torch.ones_like(now.cost, dtype=torch.bool)
        converged = ~moving
        for iteration in range(self.iterations + 1):
            linear = window.linearise(now)
            forward, adjoint = forward + n * moving, adjoint + n * moving
            step = _newton_step(linear)
            slope = (linear.gradient * step).sum(1)
            converged = converged | (-slope / 2 <= self.tolerance)
            moving = moving & ~converged
            if iteration == self.iterations or not moving.any():
                break
            now, moved, trials = self._descend(window, now, step, slope, moving)
            forward = forward + trials
            history.append(torch.where(moving, now.cost, torch.nan))
            moving = moved
        return Minimum(
            first_guess=start.states,
            misfit=now,
            linearisation=linear,
            history=torch.stack(history, dim=1),
            forward=forward,
            adjoint=adjoint,
            converged=converged,
        )

    def _descend(
        self, window: Window, now: Misfit, step: Tensor, slope: Tensor, moving: Tensor
    ) -> tuple[Misfit, Tensor, Tensor]:
        """The next control, which samples moved, and the trials of each."""
        waiting, trials = moving.clone(), torch.zeros_like(slope)
        best = now
        for halving in range(self.halvings + 1):
            length = 0.5**halving
            control = now.control + length * step.reshape(now.control.shape)
            trials = trials + waiting
            trial = _attempt(window, control)
            if trial is None:
                continue
            enough = now.cost + 1e-4 * length * slope
            better = waiting & (trial.cost <= enough)  # never where the cost is NaN
            best = _choose(better, trial, best)
            waiting = waiting & ~better
            if not waiting.any():
                break
        return best, moving & ~waiting, trials


@dataclass(frozen=True, kw_only=True)
class LBFGS:
    """Limited-memory BFGS in float64 (scipy), one sample at a time, gradient by one adjoint.

    Attributes:
        iterations: at most.
        tolerance: a sample ends when the largest component of ∇J is below it.
        memory: pairs of differences that are kept.

    Reference: Liu and Nocedal, On the limited memory BFGS method for large scale optimization,
    1989, doi:10.1007/BF01589116.
    """

    iterations: int = 100
    tolerance: float = 1e-5
    memory: int = 20

    def __post_init__(self) -> None:
        _check_limits(self.iterations, self.tolerance)

    def minimise(self, window: Window, start: Tensor | None = None) -> Minimum:
        """The minimum from the control `start`, or from the first guess."""
        with torch.no_grad():
            begin = _start(window, start)
        runs = [self._one(window.sample(s), begin, s) for s in range(window.shape[0])]
        control = torch.from_numpy(np.stack([run.point for run in runs])).reshape(window.shape)
        with torch.no_grad():
            misfit = window.evaluate(control)
            linear = window.linearise(misfit)
        n, calls = window.shape[2], torch.tensor([float(run.calls) for run in runs]).double()
        longest = max(len(run.costs) for run in runs)
        history = torch.full((len(runs), 1 + longest), torch.nan, dtype=torch.float64)
        history[:, 0] = begin.cost
        for row, run in zip(history, runs, strict=True):
            row[1 : 1 + len(run.costs)] = torch.tensor(run.costs, dtype=torch.float64)
        return Minimum(
            first_guess=begin.states,
            misfit=misfit,
            linearisation=linear,
            history=history,
            forward=calls + 2 + n,
            adjoint=calls + n,
            converged=linear.gradient.abs().amax(1) <= 10 * self.tolerance,
        )

    def _one(self, window: Window, begin: Misfit, sample: int) -> _Run:
        far = 1e6 * (1 + float(begin.cost[sample]))

        def cost_and_gradient(point: np.ndarray) -> tuple[float, np.ndarray]:
            control = torch.from_numpy(point.copy()).reshape(window.shape).requires_grad_()
            with torch.enable_grad():
                misfit = _attempt(window, control)
                if misfit is None or not misfit.cost.isfinite().all():
                    return far, point.copy()  # steep and high: the line search turns back
                (gradient,) = torch.autograd.grad(misfit.cost.sum(), control)
            return misfit.cost.item(), gradient.numpy().ravel()

        costs: list[float] = []
        found = minimize(
            cost_and_gradient,
            begin.control[sample].numpy().ravel(),
            jac=True,
            method="L-BFGS-B",
            callback=lambda intermediate_result: costs.append(float(intermediate_result.fun)),
            options={
                "maxiter": self.iterations,
                "maxcor": self.memory,
                "gtol": self.tolerance,
                "ftol": 0.0,
                "maxls": 40,
            },
        )
        return _Run(point=found.x, costs=costs, calls=int(found.nfev))


@dataclass(frozen=True, kw_only=True)
class QuasiStatic:
    """Minimise with the first observations only, then with more and more of them.

    A long window of a chaotic model has many minima; that of a short one leads into the right one.

    Attributes:
        minimiser: used at each stage, from the minimum of the one before.
        stages: equal parts of the window, by which the observations grow.

    Reference: Pires, Vautard, Talagrand, On extending the limits of variational assimilation in
    nonlinear chaotic systems, 1996, doi:10.3402/tellusa.v48i1.11634.
    """

    minimiser: Minimiser = field(default_factory=GaussNewton)
    stages: int = 4

    def __post_init__(self) -> None:
        if self.stages < 1:
            raise ValueError(f"{self.stages} stages were given: give at least one")

    def minimise(self, window: Window, start: Tensor | None = None) -> Minimum:
        """The minimum at the last stage; its history, and the integrations of all stages."""
        first, length = window.background.time, window.stop - window.background.time
        ends = [first + length * (k + 1) / self.stages for k in range(self.stages)]
        minimum = self.minimiser.minimise(window.until(ends[0]), start)
        guess = minimum.first_guess
        forward, adjoint = minimum.forward, minimum.adjoint
        for end in ends[1:]:
            minimum = self.minimiser.minimise(window.until(end), minimum.misfit.control)
            forward, adjoint = forward + minimum.forward, adjoint + minimum.adjoint
        return replace(minimum, first_guess=guess, forward=forward, adjoint=adjoint)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Run:
    point: np.ndarray
    costs: list[float]
    calls: int


def _attempt(window: Window, control: Tensor) -> Misfit | None:
    """Trajectory and cost, or None where the model cannot be integrated so far from its home."""
    try:
        return window.evaluate(control)
    except IntegrationFailure:
        return None


def _newton_step(linear: Linearisation) -> Tensor:
    factor = torch.linalg.cholesky(linear.hessian)
    return -torch.cholesky_solve(linear.gradient[..., None], factor)[..., 0]


def _choose(where: Tensor, yes: Misfit, no: Misfit) -> Misfit:
    """Sample by sample, one of two."""
    return Misfit(
        control=torch.where(where[:, None, None], yes.control, no.control),
        states=torch.where(where[:, None, None], yes.states, no.states),
        residual=torch.where(where[:, None], yes.residual, no.residual),
        cost=torch.where(where, yes.cost, no.cost),
    )


def _start(window: Window, control: Tensor | None) -> Misfit:
    """Where a minimiser begins; the trajectory must be finite."""
    start = window.evaluate(window.first_guess() if control is None else control)
    refuse_blow_up(start.states, window.nodes.tolist())
    return start


def _check_limits(iterations: int, tolerance: float) -> None:
    if iterations < 1 or not tolerance >= 0:
        raise ValueError(
            f"a minimiser was given {iterations} iterations and the tolerance {tolerance:g}: "
            f"give at least one iteration and a tolerance that is not negative"
        )
