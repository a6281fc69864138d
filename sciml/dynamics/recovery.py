"""A field from noisy, partial observations alone: smooth, match the rates, shoot, look again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, jvp, vmap

from sciml.dynamics.fields.polynomial import Polynomial
from sciml.dynamics.integrators.runge_kutta import RungeKutta
from sciml.dynamics.integrators.scheme import FixedStep, march
from sciml.dynamics.shooting import Observations, Shooting, ShootingOptions, shoot
from sciml.dynamics.smoothing import smooth
from sciml.dynamics.windows import with_states

__all__ = [
    "RecoveryOptions",
    "match_rates",
    "matching_solutions",
    "recover",
    "recovered",
    "solutions_through",
]

TOGETHER = 20_000
"""States integrated at a time when solutions are compared with the observations."""


@dataclass(frozen=True, kw_only=True)
class RecoveryOptions:
    """How a field is recovered.

    Args:
        shooting: windows, jumps and iterations of the shooting.
        rounds: of looking for better trajectories among the field's own solutions and fitting the
            weights again.
        candidates: solutions tried for each sample in a round.
        starts: states from which solutions start, at most.
    """

    shooting: ShootingOptions = field(default_factory=ShootingOptions)
    rounds: int = 1
    candidates: int = 3
    starts: int = 10_000


def recover(
    model: nn.Module,
    seen: Observations,
    *,
    scheme: FixedStep | None = None,
    options: RecoveryOptions | None = None,
) -> Shooting:
    """Fit a field to noisy, partial observations, its first weights and trajectories included.

    1. Smooth each component by itself. 2. Fit the weights to the slopes. 3. Multiple shooting with
    falling jumps between the windows. 4. In each round: where a solution of the field found so
    far, started anywhere on the trajectories of any sample, leads to a better fit of a sample,
    take it; then fit all weights again. A noisy sample may sit in a wrong minimum, on the wrong
    wing of an attractor; step 4 is a global search that brings it out.

    The observations alone decide: no true state, no true noise enters.

    Args:
        model: the field; its weights are changed in place, all from the slopes on.
        seen: the observations. Step 4 needs the same times, counted from the first, in all
            samples, and is left out where they differ.
        scheme: of fixed steps; None takes RK4, one step from each time to the next.
        options: of the steps.

    Returns:
        The trajectories and the information about the weights, of the last fit.

    Example:
        >>> import numpy as np
        >>> times = np.linspace(0, 1, 21)
        >>> values = torch.from_numpy(np.exp(-2 * times))[None, :, None]
        >>> decay = nn.Linear(1, 1, bias=False, dtype=torch.float64)
        >>> found = recover(decay, Observations(values=values, times=times))
        >>> round(decay.weight.item(), 3)
        -2.0
    """
    options = RecoveryOptions() if options is None else options
    first = smooth(seen)
    match_rates(model, first.state.flatten(0, 1), first.rate.flatten(0, 1))
    found = shoot(model, seen, first.state, scheme=scheme, options=options.shooting)
    same = bool((seen.rows - seen.rows[:, :1]).std(0, correction=0).max() <= 1e-12)
    polish = replace(options.shooting, jumps=options.shooting.jumps[-1:])
    for _ in range(options.rounds if same else 0):
        better = _look_again(model, seen, found, scheme, options)
        found = shoot(model, seen, better, scheme=scheme, options=polish)
    return found


def recovered(
    ds: xr.Dataset, *, options: RecoveryOptions | None = None
) -> tuple[xr.Dataset, Polynomial]:
    """Trajectories behind labelled noisy, partial observations, and the field that they solve.

    The field is a polynomial of degree two; see `recover`. Whatever learns from clean trajectories
    can be fitted on these.

    Args:
        ds: `state` [sample, time, component], with `mask` where values lack.
        options: of the recovery.

    Returns:
        The data set with `state` at all times, and the field.

    >>> import numpy as np
    >>> from sciml.dynamics.systems import trajectories
    >>> ds = trajectories(np.arange(30) * 0.01, samples=4)
    >>> found, field = recovered(ds, options=RecoveryOptions(rounds=0))
    >>> bool((abs(found["state"] - ds["state"]) < 1e-4).all())
    True
    """
    seen, names = Observations.of(ds), [str(name) for name in ds["component"].values]
    field = Polynomial(len(names), names=names).double()
    found = recover(field, seen, options=options)
    return with_states(ds, found.trajectory), field


def solutions_through(
    ds: xr.Dataset, model: Callable[[Tensor], Tensor], *, options: ShootingOptions | None = None
) -> xr.Dataset:
    """The solutions of a given field that fit labelled observations best; see `shoot`.

    Args:
        ds: `state` [sample, time, component], with `mask` where values lack.
        model: the field, not changed.
        options: of the shooting.

    >>> import numpy as np
    >>> from sciml.dynamics.systems import Lorenz63, trajectories
    >>> ds = trajectories(np.arange(30) * 0.01, samples=4)
    >>> found = solutions_through(ds, Lorenz63())
    >>> bool((abs(found["state"] - ds["state"]) < 1e-4).all())
    True
    """
    seen = Observations.of(ds)
    found = shoot(model, seen, smooth(seen).state, fit_weights=False, options=options)
    return with_states(ds, found.trajectory)


@torch.no_grad()
def match_rates(
    model: nn.Module,
    states: Float[Tensor, "batch component"],
    rates: Float[Tensor, "batch component"],
    *,
    iterations: int = 30,
    tolerance: float = 1e-8,
    chunk: int | None = None,
) -> float:
    r"""Fit a field's weights to rates, $\min_\theta \sum_b |F_\theta(x_b) - \dot x_b|^2$.

    Gauss-Newton with Levenberg and Marquardt's damping; each component is divided by the root mean
    square of its rates. A field linear in its weights is fitted in one iteration.

    Args:
        model: the field; its weights are changed in place.
        states: x.
        rates: the time derivatives there.
        iterations: at most.
        tolerance: relative decrease at which they end.
        chunk: weights differentiated at a time; None takes all at once.

    Returns:
        The root mean square misfit over that of the rates.

    Example:
        >>> field = nn.Linear(1, 1, dtype=torch.float64)
        >>> x = torch.linspace(0, 1, 5, dtype=torch.float64)[:, None]
        >>> match_rates(field, x, 3 - 2 * x) < 1e-6
        True
    """
    weights = dict(model.named_parameters())
    sizes = [weight.numel() for weight in weights.values()]
    theta = torch.cat([weight.reshape(-1) for weight in weights.values()])
    scale = 1 / rates.square().mean(0).sqrt().clamp_min(torch.finfo(rates.dtype).tiny)

    def scaled(theta: Tensor) -> Tensor:
        parts = zip(weights.items(), theta.split(sizes), strict=True)
        named = {name: part.view(weight.shape) for (name, weight), part in parts}
        return functional_call(model, named, (states,)) * scale

    def linearised(theta: Tensor) -> tuple[Tensor, Tensor]:
        basis = torch.eye(len(theta), dtype=theta.dtype)
        rows = vmap(lambda way: jvp(scaled, (theta,), (way,))[1], chunk_size=chunk)(basis)
        return (rates * scale - scaled(theta)).flatten(), rows.flatten(1)

    damping, (residual, rows) = 1e-6, linearised(theta)
    cost = float(residual.square().mean())
    for _ in range(iterations):
        normal, side = rows @ rows.mT, rows @ residual
        own = normal.diagonal() + 1e-14 * normal.diagonal().max()
        for _ in range(16):
            trial = theta + torch.linalg.solve(normal + torch.diag(damping * own), side)
            lower = float((rates * scale - scaled(trial)).square().mean())
            if lower < cost:
                break
            damping *= 10
        else:
            break
        ended = cost - lower <= tolerance * cost
        theta, cost, damping = trial, lower, max(damping / 10, 1e-12)
        if ended:
            break
        residual, rows = linearised(theta)
    for weight, part in zip(weights.values(), theta.split(sizes), strict=True):
        weight.copy_(part.view(weight.shape))
    return cost**0.5


@torch.no_grad()
def matching_solutions(
    model: Callable[[Tensor], Tensor],
    seen: Observations,
    starts: Float[Tensor, "start component"],
    *,
    candidates: int = 3,
    scheme: FixedStep | None = None,
) -> Float[Tensor, "candidate sample time component"]:
    """Of a field's solutions from many states, those nearest to each sample's observations.

    Args:
        model: the field.
        seen: the observations; the times must be the same in all samples, counted from the first.
        starts: the states.
        candidates: solutions returned for each sample, the nearest first.
        scheme: of fixed steps; None takes RK4, one step from each time to the next.

    Raises:
        ValueError: fewer finite solutions than candidates.
    """
    scheme = RungeKutta() if scheme is None else scheme
    plan = scheme.plan(model, starts, seen.rows[0] - seen.rows[0, 0])
    solutions = torch.cat([march(scheme, model, part, plan) for part in starts.split(TOGETHER)])
    solutions = solutions[solutions.isfinite().all(-1).all(-1)]
    if len(solutions) < candidates:
        raise ValueError(
            f"only {len(solutions)} of {len(starts)} solutions of the field are finite, "
            f"{candidates} are wanted: the field is too far off, start from better weights"
        )
    # |W (y − x)|² = xᵀ M x − 2 xᵀ M y + const with M = Wᵀ W, for all pairs as two products.
    weight = seen.whitening.mT @ seen.whitening
    pull = (weight @ seen.values.where(seen.seen, 0.0)[..., None]).flatten(1)
    squares = (solutions[..., :, None] * solutions[..., None, :]).flatten(1)
    distance = weight.flatten(1) @ squares.mT - 2 * pull @ solutions.flatten(1).mT
    nearest = distance.topk(candidates, 1, largest=False).indices
    return solutions[nearest].transpose(0, 1)


def _look_again(
    model: nn.Module,
    seen: Observations,
    found: Shooting,
    scheme: FixedStep | None,
    options: RecoveryOptions,
) -> Float[Tensor, "sample time component"]:
    """Each sample's best trajectory: its present one, or one that a candidate leads to."""
    states = found.trajectory.flatten(0, 1)
    starts = states[:: max(1, -(-len(states) // options.starts))]
    whole = replace(options.shooting, window=found.trajectory.shape[1], jumps=(float("inf"),))
    best, misfit = found.trajectory, found.misfit
    for guess in matching_solutions(
        model, seen, starts, candidates=options.candidates, scheme=scheme
    ):
        other = shoot(model, seen, guess, fit_weights=False, scheme=scheme, options=whole)
        better = other.misfit < misfit
        best = other.trajectory.where(better[:, None, None], best)
        misfit = other.misfit.where(better, misfit)
    return best
