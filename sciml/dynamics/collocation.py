"""A field and the states it moves, both unknown, found together from what is observed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.linalg import LinAlgError, cho_factor, cho_solve, solveh_banded
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap

from sciml.dynamics.integrators.runge_kutta import RungeKutta

__all__ = ["Estimate", "Observed", "identify", "infer"]

FIRST_DAMPING = 1e-2
LARGEST_DAMPING = 1e8
SMALLEST_DAMPING = 1e-15
STALLED, SMALL_DAMPING = 1e-6, 1e-6
"""The search ends where a step with small damping gains a smaller part of the cost than this."""

FLOOR = 1e-14
"""Damping that stays, relative to the diagonal, where the data leave the coordinates free."""


@dataclass(frozen=True, kw_only=True)
class Observed:
    """Series of observations of the first components of a state.

    Args:
        values: y_n, at equal positions the same number of times in every series; zero where not
            observed.
        seen: 1 where observed, 0 elsewhere.
        gaps: time from each observation to the next.
    """

    values: Float[Tensor, "series time observed"]
    seen: Float[Tensor, "series time observed"]
    gaps: Float[Tensor, "series gap"]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What was found.

    Args:
        states: u_n.
        costs: for each series the sum of squares that is left, over their number.
        iterations: steps that were taken.
    """

    states: Float[Tensor, "series time component"]
    costs: Float[Tensor, " series"]
    iterations: int


def identify(
    field: nn.Module,
    states: Float[Tensor, "series time component"],
    observed: Observed,
    *,
    rigour: float = 1.0,
    substeps: int = 1,
    iterations: int = 100,
    tolerance: float = 1e-24,
    ridge: float = 0.0,
) -> Estimate:
    r"""States $u_n$ and parameters θ of a field that agree with each other and with observations.

    $\sum_n |H u_n - y_n|^2 + \kappa^2 \sum_n |u_{n+1} - \Phi_\theta(u_n)|^2 + \rho |\theta|^2$

    is made least by Levenberg-Marquardt with the exact Jacobian; $\Phi$ is `substeps` steps of RK4.
    The states of one time meet only those of the next, so that their part of the normal equations
    is block tridiagonal and the parameters border it: an iteration costs as much as a few sweeps
    along the series. Nothing is propagated through a whole series, so chaos does no harm.

    Args:
        field: learned in place; float64.
        states: first guess; the first components are the observed ones.
        observed: y_n, where they were seen, and the gaps between them.
        rigour: κ, the weight of the dynamics against that of the observations.
        substeps: steps of RK4 from one time to the next.
        iterations: at most so many steps.
        tolerance: mean square at which the search ends.
        ridge: ρ, pull of the parameters to zero, which chooses among equal fields.

    Returns:
        The states and what is left of the cost.

    Example:
        >>> from sciml.dynamics.fields.polynomial import Polynomial
        >>> field = Polynomial(1, degree=1).double()
        >>> times = torch.arange(20).double()[None, :, None] * 0.1
        >>> values = torch.exp(-times)
        >>> observed = Observed(
        ...     values=values, seen=torch.ones_like(values), gaps=times.diff(dim=1)[..., 0])
        >>> found = identify(field, values, observed, substeps=4)
        >>> round(field.coefficients()[1].item(), 4)
        -1.0
    """
    problem = _Problem(field, observed, rigour, substeps, ridge)
    theta, damping = problem.parameters(), FIRST_DAMPING
    cost, taken = float(problem.costs(states, theta).mean()), 0
    while taken < iterations and cost > tolerance:
        normal = problem.linearise(states, theta)
        step = None
        while damping < LARGEST_DAMPING:
            step = normal.step(damping)
            if step is not None:
                moved = states + step[0], theta + step[1]
                lower = float(problem.costs(*moved).mean())
                if lower < cost:
                    break
            damping, step = 4 * damping, None
        if step is None:
            break
        gain, cost = cost - lower, lower
        (states, theta), taken = moved, taken + 1
        if gain < STALLED * cost and damping < SMALL_DAMPING:
            break
        damping = max(damping / 5, SMALLEST_DAMPING)
    problem.assign(theta)
    return Estimate(states=states, costs=problem.costs(states, theta), iterations=taken)


def infer(
    field: nn.Module,
    states: Float[Tensor, "series time component"],
    observed: Observed,
    *,
    rigour: float = 1.0,
    substeps: int = 1,
    iterations: int = 100,
    tolerance: float = 1e-24,
) -> Estimate:
    """The same for a field that is held: every series by itself, with its own damping.

    Args:
        field: float64.
        states: first guess; the first components are the observed ones.
        observed: what was observed, where, and the gaps between times.
        rigour: the weight of the dynamics against that of the observations.
        substeps: steps of RK4 from one time to the next.
        iterations: at most so many steps.
        tolerance: mean square at which the search ends in a series.

    Returns:
        The states and what is left of the costs.

    Example:
        >>> from sciml.dynamics.fields.polynomial import Polynomial
        >>> times = torch.arange(5).double() * 0.1
        >>> values = torch.stack([torch.exp(-times), 2 * torch.exp(-times)])[..., None]
        >>> seen = torch.zeros_like(values)
        >>> seen[:, 2] = 1
        >>> observed = Observed(values=seen * values, seen=seen, gaps=times.diff().repeat(2, 1))
        >>> field = Polynomial(1, degree=1).double()
        >>> field.set_coefficients({("x", "x"): -1.0})
        >>> found = infer(field, torch.zeros(2, 5, 1).double(), observed)
        >>> torch.allclose(found.states, values, atol=1e-6)
        True
    """
    problem = _Problem(field, observed, rigour, substeps, 0.0, learn=False)
    theta = problem.parameters()
    costs = problem.costs(states, theta)
    damping, active = torch.full_like(costs, FIRST_DAMPING), costs > tolerance
    taken = 0
    while taken < iterations and active.any():
        step = problem.linearise(states, theta).step(damping)
        if step is None:
            damping, active = 4 * damping, active & (damping < LARGEST_DAMPING)
            continue
        moved = states + step[0]
        lower = problem.costs(moved, theta)
        better = active & (lower < costs)
        stalled = better & (costs - lower < STALLED * lower) & (damping < SMALL_DAMPING)
        states = torch.where(better[:, None, None], moved, states)
        costs = torch.where(better, lower, costs)
        damping = torch.where(better, (damping / 5).clamp_min(SMALLEST_DAMPING), 4 * damping)
        active = active & ~stalled & (costs > tolerance) & (damping < LARGEST_DAMPING)
        taken += 1
    return Estimate(states=states, costs=costs, iterations=taken)


class _Problem:
    """The sum of squares, and its linearisation."""

    def __init__(
        self,
        field: nn.Module,
        observed: Observed,
        rigour: float,
        substeps: int,
        ridge: float,
        *,
        learn: bool = True,
    ) -> None:
        self.field, self.observed = field, observed
        self.rigour, self.substeps, self.ridge, self.learn = rigour, substeps, ridge, learn
        self.scheme = RungeKutta()
        learned = field.named_parameters() if learn else ()
        self.names = [name for name, p in learned if p.requires_grad]
        self.squares = observed.seen.sum((1, 2)) + observed.gaps.shape[1]

    def parameters(self) -> Tensor:
        values = [self.field.get_parameter(name) for name in self.names]
        return torch.cat([torch.zeros(0).double(), *(v.detach().reshape(-1) for v in values)])

    @torch.no_grad()
    def assign(self, theta: Tensor) -> None:
        for name, value in self._named(theta).items():
            self.field.get_parameter(name).copy_(value)

    @torch.no_grad()
    def costs(self, states: Tensor, theta: Tensor) -> Tensor:
        """For each series the mean square; infinite where it is not a number."""
        count = states.shape[-1]
        ends = self._advance(
            theta, states[:, :-1].reshape(-1, count), self.observed.gaps.reshape(-1, 1)
        )
        jumps = self.rigour * (states[:, 1:] - ends.view(*states[:, 1:].shape))
        total = jumps.square().sum((1, 2)) + self._misfit(states).square().sum((1, 2))
        if self.learn:
            total = total + self.ridge * theta.square().sum() / len(states)
        return (total / self.squares).nan_to_num(torch.inf, torch.inf)

    def linearise(self, states: Tensor, theta: Tensor) -> _Normal:
        series, times, count = states.shape
        begins = states[:, :-1].reshape(-1, count)
        gaps = self.observed.gaps.reshape(-1, 1)

        def one(theta: Tensor, state: Tensor, gap: Tensor) -> tuple[Tensor, Tensor]:
            end = self._advance(theta, state[None], gap[None])[0]
            return end, end

        places = (0, 1) if self.learn else (1,)
        with torch.no_grad():
            jacobians, ends = vmap(jacrev(one, argnums=places, has_aux=True), in_dims=(None, 0, 0))(
                theta, begins, gaps
            )
        by_theta = jacobians[0] if self.learn else ends.new_zeros(len(ends), count, 0)
        shape = series, times - 1
        return _Normal(
            jumps=self.rigour * (states[:, 1:] - ends.view(*shape, count)),
            by_state=self.rigour * jacobians[-1].view(*shape, count, count),
            by_theta=self.rigour * by_theta.view(*shape, count, -1),
            misfit=self._misfit(states),
            seen=self._padded(self.observed.seen, count),
            rigour=self.rigour,
            ridge=self.ridge,
            theta=theta,
        )

    def _advance(self, theta: Tensor, state: Tensor, gap: Tensor) -> Tensor:
        values = self._named(theta)

        def field(state: Tensor) -> Tensor:
            return functional_call(self.field, values, (state,))

        for _ in range(self.substeps):
            state = self.scheme.advance(field, state, gap / self.substeps)
        return state

    def _named(self, theta: Tensor) -> dict[str, Tensor]:
        shapes = [self.field.get_parameter(name).shape for name in self.names]
        parts = theta.split([shape.numel() for shape in shapes])
        return {n: p.view(s) for n, p, s in zip(self.names, parts, shapes, strict=True)}

    def _misfit(self, states: Tensor) -> Tensor:
        observed = self.observed
        part = states[..., : observed.values.shape[-1]]
        return self._padded(observed.seen * (part - observed.values), states.shape[-1])

    @staticmethod
    def _padded(values: Tensor, count: int) -> Tensor:
        return nn.functional.pad(values, (0, count - values.shape[-1]))


class _Normal:
    """The normal equations: a block-tridiagonal matrix of the states, bordered by θ."""

    def __init__(
        self,
        *,
        jumps: Tensor,
        by_state: Tensor,
        by_theta: Tensor,
        misfit: Tensor,
        seen: Tensor,
        rigour: float,
        ridge: float,
        theta: Tensor,
    ) -> None:
        self.shape = misfit.shape
        count = misfit.shape[-1]
        blocks = torch.diag_embed(seen)
        blocks[:, :-1] += by_state.mT @ by_state
        blocks[:, 1:] += rigour**2 * torch.eye(count, dtype=blocks.dtype)
        below = -rigour * by_state
        border = by_theta.new_zeros(*misfit.shape, by_theta.shape[-1])
        border[:, :-1] += by_state.mT @ by_theta
        border[:, 1:] -= rigour * by_theta
        gradient = misfit.clone()
        gradient[:, :-1] -= (by_state.mT @ jumps[..., None])[..., 0]
        gradient[:, 1:] += rigour * jumps
        rows = by_theta.flatten(0, 2)
        corner = rows.mT @ rows + ridge * torch.eye(len(theta), dtype=rows.dtype)
        self.corner = corner.numpy()
        self.theta_gradient = (ridge * theta - rows.mT @ jumps.reshape(-1)).numpy()
        self.right = torch.cat([border, gradient[..., None]], -1).flatten(0, 2).numpy()
        self.bands = _bands(blocks, below)

    def step(self, damping: float | Tensor) -> tuple[Tensor, Tensor] | None:
        """The step of the states and of θ; None where the damped matrix has no factor."""
        bands = self.bands.copy()
        own = np.broadcast_to(np.asarray(damping), self.shape[0])
        bands[0] *= 1 + np.repeat(own, self.shape[1] * self.shape[2])
        bands[0] += FLOOR * bands[0].max()
        learned = len(self.theta_gradient)
        border = self.right[:, :learned]
        try:
            solved = solveh_banded(bands, self.right, lower=True, check_finite=False)
            theta = np.zeros(learned)
            if learned:
                diagonal = self.corner.diagonal()
                rest = self.corner - border.T @ solved[:, :learned]
                rest += np.diag(own[0] * diagonal + FLOOR * diagonal.max())
                right = border.T @ solved[:, learned] - self.theta_gradient
                theta = cho_solve(cho_factor(rest, check_finite=False), right)
        except LinAlgError:
            return None
        states = -(solved[:, learned] + solved[:, :learned] @ theta)
        if not (np.isfinite(states).all() and np.isfinite(theta).all()):
            return None
        return torch.from_numpy(states).view(self.shape), torch.from_numpy(theta)


def _bands(
    blocks: Float[Tensor, "series time component component"],
    below: Float[Tensor, "series gap component component"],
) -> Float[np.ndarray, "band unknown"]:
    """The lower bands of the matrix with these blocks on and below its diagonal."""
    series, times, count, _ = blocks.shape
    bands = np.zeros((2 * count, series, times, count))
    for column in range(count):
        for row in range(column, count):
            bands[row - column, :, :, column] = blocks[..., row, column]
        for row in range(count):
            bands[count + row - column, :, :-1, column] = below[..., row, column]
    return bands.reshape(2 * count, -1)
