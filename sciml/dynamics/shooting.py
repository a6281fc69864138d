"""Multiple shooting: the weights of a field and the states it starts from, found together."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import xarray as xr
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.func import functional_call, jvp, vmap

from sciml.dynamics.arrow import ArrowSystem
from sciml.dynamics.integrators.runge_kutta import RungeKutta
from sciml.dynamics.integrators.scheme import FixedStep, Plan, march
from sciml.dynamics.systems import check_times, times_of
from sciml.dynamics.windows import states_of

__all__ = ["Observations", "Shooting", "ShootingOptions", "shoot"]

LEAST_DAMPING, MOST_DAMPING = 1e-12, 1e8

SAME_STEP = 1e-12
"""Relative difference below which steps are the same, and one number serves all windows."""

NEGLIGIBLE = 1e-28
"""Cost of an observation below which there is nothing left to fit: a misfit of 1e-14 deviations."""


@dataclass(frozen=True, kw_only=True)
class Observations:
    r"""What was observed of trajectories: $y = x(t) + \varepsilon$, $\varepsilon \sim N(0, R)$.

    Args:
        values: y; what is under a zero of the mask may be NaN.
        times: of each sample, or one row for all; increasing, with gaps of any size.
        mask: where a component was observed; None where all were.
        covariance: R [component, component], or its diagonal [component]; only the ratios of its
            entries matter where `jumps` are zero or infinite. None takes the variance of the values
            themselves, component by component.

    Raises:
        ValueError: times that do not increase or are not as many as the values, a value that is
            not finite though the mask shows it, a covariance of another size or not positive
            definite, a component that was never observed where no covariance is given.

    Example:
        >>> seen = Observations(values=torch.eye(3)[None].double(), times=[0.0, 0.1, 0.2])
        >>> seen.whitening.shape
        torch.Size([1, 3, 3, 3])
    """

    values: Float[Tensor, "sample time component"]
    times: Float[np.ndarray, "*sample time"] | Sequence[float]
    mask: Bool[Tensor, "sample time component"] | None = None
    covariance: Float[Tensor, "*component component"] | None = None
    rows: Tensor = field(init=False, repr=False)
    seen: Tensor = field(init=False, repr=False)
    spread: Tensor = field(init=False, repr=False)
    whitening: Tensor = field(init=False, repr=False)

    def __post_init__(self) -> None:
        samples, count, _ = self.values.shape
        rows = check_times(self.times, samples)
        if rows.shape[1] != count:
            raise ValueError(
                f"{rows.shape[1]} times were given for {count} values of each sample: "
                "give as many times as values, and mask what was not observed"
            )
        seen = torch.ones_like(self.values, dtype=torch.bool) if self.mask is None else self.mask
        _require_finite(self.values, seen, rows)
        covariance = self._covariance(seen)
        # A frozen dataclass is filled once, here, with what follows from its arguments.
        object.__setattr__(self, "rows", torch.from_numpy(np.array(rows)))
        object.__setattr__(self, "seen", seen)
        object.__setattr__(self, "spread", covariance.diagonal().sqrt())
        object.__setattr__(self, "whitening", _whitening(covariance, seen))

    @classmethod
    def of(cls, ds: xr.Dataset) -> Observations:
        """Those of labelled `state` [sample, time, component], with `mask` where values lack."""
        states, observed = states_of(ds)
        return cls(
            values=torch.from_numpy(states),
            times=times_of(ds),
            mask=torch.from_numpy(observed > 0),
        )

    def _covariance(self, seen: Tensor) -> Float[Tensor, "component component"]:
        size = self.values.shape[-1]
        if self.covariance is None:
            return torch.diag(_variances(self.values, seen))
        full = self.covariance if self.covariance.ndim == 2 else torch.diag(self.covariance)
        full = full.to(self.values)
        if full.shape != (size, size) or not torch.equal(full, full.mT):
            raise ValueError(
                f"the covariance has shape {tuple(self.covariance.shape)} for {size} components: "
                "give a symmetric matrix [component, component] or its diagonal [component]"
            )
        if torch.linalg.cholesky_ex(full).info:
            raise ValueError(
                "the covariance is not positive definite: every combination of components "
                "needs some variance, add a little to the diagonal"
            )
        return full


def _variances(values: Tensor, seen: Tensor) -> Float[Tensor, " component"]:
    """Of the observed values of each component."""
    counts = seen.sum((0, 1))
    if (counts < 2).any():
        missing = int((counts < 2).nonzero()[0])
        raise ValueError(
            f"component {missing} is observed less than twice, so that its variance is unknown: "
            "give a covariance, or leave that component out"
        )
    kept = values.where(seen, 0.0)
    mean = kept.sum((0, 1)) / counts
    variances = ((kept - mean) * seen).square().sum((0, 1)) / (counts - 1)
    return variances.clamp_min(torch.finfo(values.dtype).tiny)


def _require_finite(values: Tensor, seen: Tensor, rows: np.ndarray) -> None:
    wrong = (seen & ~values.isfinite()).nonzero()
    if len(wrong):
        sample, time, component = wrong[0].tolist()
        raise ValueError(
            f"sample {sample}, component {component} is {values[sample, time, component].item()} "
            f"at time {rows[sample, time]:g}: observations must be finite, mask those that are not"
        )


def _whitening(
    covariance: Float[Tensor, "component component"], seen: Bool[Tensor, "sample time component"]
) -> Float[Tensor, "sample time component component"]:
    """W with W R Wᵀ = 1 on what is observed at each time, and zero elsewhere."""
    size = len(covariance)
    patterns, places = seen.reshape(-1, size).unique(dim=0, return_inverse=True)
    matrices = covariance.new_zeros(len(patterns), size, size)
    for matrix, pattern in zip(matrices, patterns, strict=True):
        kept = pattern.nonzero()[:, 0]
        factor = torch.linalg.cholesky(covariance[kept][:, kept])
        matrix[kept[:, None], kept] = torch.linalg.inv(factor)
    return matrices[places].view(*seen.shape, size)


@dataclass(frozen=True, kw_only=True)
class ShootingOptions:
    """How multiple shooting goes.

    Args:
        window: times in a window; a state is learned at the first time of each.
        jumps: sizes of the jumps allowed between a window's end and the next one's start, in
            standard deviations of the observations, one after another: falling sizes lead from
            independent windows, which are easy to fit, to one trajectory, which is what is wanted.
            Zero is not allowed; 1e-3 is as good. Infinity leaves the windows independent.
        iterations: of Gauss-Newton for each size of jump, at most.
        tolerance: relative decrease of the cost at which they end for the last size of jump.
        rough: the same for the sizes before, which only lead there.
        damping: λ of Levenberg and Marquardt at first, without unit.
        chunk: directions differentiated at a time; None takes all parameters at once.
    """

    window: int = 10
    jumps: tuple[float, ...] = (0.3, 0.1, 0.03, 0.01, 0.001)
    iterations: int = 30
    tolerance: float = 1e-6
    rough: float = 1e-3
    damping: float = 1e-2
    chunk: int | None = None

    def __post_init__(self) -> None:
        if self.window < 1 or not self.jumps or not all(jump > 0 for jump in self.jumps):
            raise ValueError(
                f"window={self.window}, jumps={self.jumps}: a window needs at least one time, "
                "and there must be jumps, all positive"
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class Shooting:
    r"""What multiple shooting found.

    Args:
        trajectory: $x(t)$ at all times, the solution of the field that fits the observations.
        misfit: $\sum_t (y - x)^\top R^{-1} (y - x)$ of each sample.
        dispersion: the misfit of all over the degrees of freedom: an estimate of the factor by
            which the covariance of the noise was too small.
        information: of the parameters, $\hat\Sigma^{-1}$ for noise of covariance R.
        costs: after each iteration, those for one size of jump after those for the other.
        converged: whether the tolerance was met for the last size of jump.
    """

    trajectory: Float[Tensor, "sample time component"]
    misfit: Float[Tensor, " sample"]
    dispersion: float
    information: Float[Tensor, "parameter parameter"]
    costs: tuple[float, ...]
    converged: bool

    @property
    def parameter_covariance(self) -> Float[Tensor, "parameter parameter"]:
        """Of the parameters' errors, in the order of `field.parameters()`; linear theory."""
        return self.dispersion * torch.linalg.pinv(self.information, hermitian=True)


class _Windows:
    """The problem cut into windows: paths, residuals and their derivatives."""

    def __init__(
        self,
        model: Callable[[Tensor], Tensor],
        seen: Observations,
        scheme: FixedStep,
        length: int,
        chunk: int | None,
        fitted: bool,
    ) -> None:
        self.model, self.scheme, self.chunk = model, scheme, chunk
        self.samples, times, self.size = seen.values.shape
        self.length = min(length, times)
        self.count = -(-times // self.length)
        self.weights = list(model.named_parameters()) if isinstance(model, nn.Module) else []
        parameters = sum(weight.numel() for _, weight in self.weights)
        self.parameters = parameters if fitted else 0
        self.values = self.cut(seen.values.where(seen.seen, 0.0))
        self.whitening = self.cut(seen.whitening, fill=0.0)
        self.spread = seen.spread
        self.plan = self._plan(seen.rows)
        self.directions = torch.eye(self.parameters + self.size, dtype=self.values.dtype)

    def cut(self, rows: Tensor, *, fill: float | None = None) -> Tensor:
        """[sample, time, ...] to [window, length, ...]; the end is repeated, or filled."""
        missing = self.count * self.length - rows.shape[1]
        tail = rows[:, -1:].expand(-1, missing, *rows.shape[2:])
        rows = torch.cat([rows, tail if fill is None else torch.full_like(tail, fill)], 1)
        return rows.reshape(-1, self.length, *rows.shape[2:])

    def join(self, paths: Tensor, times: int) -> Tensor:
        """[window, length + 1, ...] to [sample, time, ...]."""
        kept = paths[:, : self.length].reshape(self.samples, -1, *paths.shape[2:])
        return kept[:, :times]

    def _plan(self, rows: Tensor) -> Plan:
        gap = rows[:, -1:] - rows[:, -2:-1] if rows.shape[1] > 1 else torch.ones_like(rows)
        missing = self.count * self.length + 1 - rows.shape[1]
        tail = rows[:, -1:] + gap * torch.arange(1, missing + 1)
        rows = torch.cat([rows, tail], 1)
        starts = rows[:, :-1].reshape(-1, self.length)
        ends = rows[:, self.length :: self.length].reshape(-1, 1)
        window_times = torch.cat([starts, ends], 1)
        gaps = window_times.diff(dim=1)
        if (gaps - gaps[0]).abs().max() <= SAME_STEP * gaps.max():
            window_times = window_times[0]
        states = torch.zeros(len(window_times), self.size, dtype=self.values.dtype)
        return self.scheme.plan(self.model, states, window_times)

    def theta(self) -> Tensor:
        """The weights in one vector."""
        flat = [weight.detach().reshape(-1) for _, weight in self.weights]
        return torch.cat(flat) if flat else self.values.new_zeros(0)

    def named(self, theta: Tensor) -> dict[str, Tensor]:
        """The weights by their names."""
        sizes = [weight.numel() for _, weight in self.weights]
        return {
            name: part.view(weight.shape)
            for (name, weight), part in zip(self.weights, theta.split(sizes), strict=True)
        }

    def paths(self, theta: Tensor, states: Tensor) -> Float[Tensor, "window time component"]:
        """The solutions from all windows' first states to the next windows' first times."""
        if not self.weights:
            return march(self.scheme, self.model, states, self.plan)
        named, model = self.named(theta), self.model
        assert isinstance(model, nn.Module)
        return march(self.scheme, lambda x: functional_call(model, named, (x,)), states, self.plan)

    def derivatives(
        self, theta: Tensor, states: Tensor
    ) -> tuple[Tensor, Float[Tensor, "window time component direction"]]:
        """The paths, and their exact derivatives to each parameter and each first state."""

        def along(direction: Tensor) -> Tensor:
            weights, start = direction[: self.parameters], direction[self.parameters :]
            padded = torch.cat([weights, weights.new_zeros(len(theta) - len(weights))])
            tangents = (padded, start.expand_as(states))
            return jvp(self.paths, (theta, states), tangents)[1]

        # Chunked, vmap could not pass the paths through; alone they cost one direction more.
        every = vmap(along, out_dims=-1, chunk_size=self.chunk)
        return self.paths(theta, states), every(self.directions)

    def residuals(self, paths: Tensor, states: Tensor, jump: float) -> tuple[Tensor, Tensor]:
        """Of the observations, and of the links from window to window, both whitened."""
        misfits = (self.whitening @ (self.values - paths[:, :-1])[..., None])[..., 0]
        ends = paths[:, -1].view(self.samples, self.count, self.size)
        starts = states.view(self.samples, self.count, self.size)
        return misfits, (starts[:, 1:] - ends[:, :-1]) / (jump * self.spread)

    def system(self, tangents: Tensor, misfits: Tensor, links: Tensor, jump: float) -> ArrowSystem:
        """Gauss-Newton's normal equations."""
        p, size = self.parameters, self.size
        rows = (self.whitening @ tangents[:, :-1]).flatten(1, 2)
        chain = (self.samples, self.count, size)
        scale = 1 / (jump * self.spread)
        ends = (tangents[:, -1] * scale[:, None]).view(*chain, p + size)[:, :-1]
        # A link's residual holds + its next state and − the end of its window.
        normal = rows.mT @ rows
        side = (rows.mT @ misfits.flatten(1)[..., None])[..., 0]
        normal = normal.view(self.samples, self.count, p + size, p + size)
        side = side.view(self.samples, self.count, p + size)
        normal[:, :-1] += ends.mT @ ends
        side[:, :-1] += (ends.mT @ links[..., None])[..., 0]
        border, diagonal = normal[..., p:, :p].clone(), normal[..., p:, p:].clone()
        own = side[..., p:].clone()
        border[:, 1:] -= scale[:, None] * ends[..., :p]
        diagonal[:, 1:] += torch.diag(scale.square())
        own[:, 1:] -= scale * links
        above = -(ends[..., p:].mT * scale) if self.count > 1 and math.isfinite(jump) else None
        return ArrowSystem(
            parameters=normal[..., :p, :p].sum((0, 1)),
            border=border,
            diagonal=diagonal,
            above=above,
            parameter_side=side[..., :p].sum((0, 1)),
            side=own,
        )


@dataclass(kw_only=True)
class _Search:
    """Levenberg-Marquardt over weights and states."""

    windows: _Windows
    options: ShootingOptions
    theta: Tensor
    states: Tensor
    costs: list[float]
    damping: float

    def run(self, jump: float, tolerance: float) -> tuple[bool, ArrowSystem]:
        """Iterate for one size of jump: whether it converged, and the last equations."""
        go = self._together if self.windows.parameters else self._apart
        return go(jump, tolerance)

    def _apart(self, jump: float, tolerance: float) -> tuple[bool, ArrowSystem]:
        """Without weights each sample is a problem of its own, with its own damping."""
        w, samples = self.windows, self.windows.samples
        damping = self.states.new_full((samples,), self.options.damping)
        done = torch.zeros(samples, dtype=torch.bool)
        for number in range(self.options.iterations + 1):
            paths, tangents = w.derivatives(self.theta, self.states)
            residuals = w.residuals(paths, self.states, jump)
            cost = _half_squares_each(samples, *residuals)
            if not self.costs and not cost.isfinite().all():
                self._refuse(paths)
            system = w.system(tangents, *residuals, jump)
            self.costs.append(float(cost.sum()))
            done |= cost <= NEGLIGIBLE * residuals[0].numel() / samples
            if done.all() or number == self.options.iterations:
                break
            solution = system.solve(damping)
            assert solution is not None
            states = self.states + solution[1].view_as(self.states)
            trial = w.residuals(w.paths(self.theta, states), states, jump)
            lower = _half_squares_each(samples, *trial)
            better = lower < cost
            done |= better & (cost - lower <= tolerance * cost)
            done |= ~better & (damping > MOST_DAMPING)
            kept = better.repeat_interleave(w.count)[:, None]
            self.states = states.where(kept, self.states)
            damping = (damping / 5).clamp_min(LEAST_DAMPING).where(better, damping * 4)
        return bool(done.all()), system

    def _together(self, jump: float, tolerance: float) -> tuple[bool, ArrowSystem]:
        """With weights that all samples share."""
        w = self.windows
        paths, tangents = w.derivatives(self.theta, self.states)
        misfits, links = w.residuals(paths, self.states, jump)
        cost = _half_squares(misfits, links)
        if not math.isfinite(cost):
            self._refuse(paths)
        converged, system = False, w.system(tangents, misfits, links, jump)
        for _ in range(self.options.iterations):
            lower = self._step(system, jump, cost)
            if lower is None:
                return True, system
            least = NEGLIGIBLE * misfits.numel()
            converged = cost - lower <= tolerance * cost or lower <= least
            cost = lower
            self.costs.append(cost)
            paths, tangents = w.derivatives(self.theta, self.states)
            misfits, links = w.residuals(paths, self.states, jump)
            system = w.system(tangents, misfits, links, jump)
            if converged:
                break
        return converged, system

    def _step(self, system: ArrowSystem, jump: float, cost: float) -> float | None:
        """Go to a lower cost; None where there is none along any damping."""
        w = self.windows
        for _ in range(16):
            solution = system.solve(self.damping)
            if solution is not None:
                theta = self.theta.clone()
                theta[: w.parameters] += solution[0]
                states = self.states + solution[1].view_as(self.states)
                lower = _half_squares(*w.residuals(w.paths(theta, states), states, jump))
                if lower < cost:
                    self.theta, self.states = theta, states
                    self.damping = max(self.damping / 5, LEAST_DAMPING)
                    return lower
            self.damping *= 4
        return None

    def _refuse(self, paths: Tensor) -> None:
        window, place = (~paths.isfinite()).any(-1).nonzero()[0].tolist()
        sample, number = divmod(window, self.windows.count)
        raise ValueError(
            f"the field's solution is not finite in sample {sample}, position "
            f"{number * self.windows.length + place}: start from better weights or a better "
            "trajectory, shorten the windows, or lower the step of the scheme"
        )


def _half_squares_each(samples: int, *residuals: Tensor) -> Float[Tensor, " sample"]:
    parts = [part.reshape(samples, -1).square().sum(1) for part in residuals]
    return (0.5 * torch.stack(parts).sum(0)).nan_to_num(math.inf, math.inf)


def _half_squares(*residuals: Tensor) -> float:
    total = 0.5 * sum(float(part.square().sum()) for part in residuals)
    return total if math.isfinite(total) else math.inf


@torch.no_grad()
def shoot(
    model: Callable[[Tensor], Tensor],
    seen: Observations,
    initial: Float[Tensor, "sample time component"],
    *,
    fit_weights: bool = True,
    scheme: FixedStep | None = None,
    options: ShootingOptions | None = None,
) -> Shooting:
    r"""Fit the weights of a field, and states along the trajectories, to observations.

    $\min_{\theta, u} \sum_{w,t} \|y_t - \Phi_\theta(t; t_w, u_w)\|^2_{R^{-1}}
    + \sum_w \|u_{w+1} - \Phi_\theta(t_{w+1}; t_w, u_w)\|^2_{Q^{-1}}$

    Φ is the flow of the field as the scheme integrates it, w runs over the windows and
    $Q = q^2\,\mathrm{diag} R$ for the jumps q. Gauss-Newton with Levenberg and Marquardt's damping;
    the Jacobian is exact (forward mode through the steps of the scheme), and the states are
    eliminated from the normal equations block by block.

    Args:
        model: the field; the weights of an `nn.Module` are changed in place. A plain callable
            has none, and only the states are found: strong-constraint 4D-Var without background.
        seen: the observations.
        initial: a guess of the trajectories, such as `sciml.dynamics.smoothing` gives.
        fit_weights: False holds the field's weights.
        scheme: a scheme of fixed steps; None takes RK4, one step from each time to the next.
        options: windows, jumps and iterations.

    Returns:
        Trajectories, misfits and the information about the weights.

    Raises:
        ValueError: a guess of another shape, weights of another dtype than the observations, or a
            first guess from which the solution is not finite; the sentence names the place.

    Bock, "Numerical treatment of inverse problems in chemical reaction kinetics", 1981,
    doi:10.1007/978-3-642-68220-9_8.

    Example:
        >>> decay = nn.Linear(1, 1, bias=False, dtype=torch.float64)
        >>> times = np.linspace(0, 1, 11)
        >>> values = torch.from_numpy(np.exp(-2 * times))[None, :, None]
        >>> found = shoot(decay, Observations(values=values, times=times), values)
        >>> round(decay.weight.item(), 3), found.converged
        (-2.0, True)
    """
    scheme = RungeKutta() if scheme is None else scheme
    options = ShootingOptions() if options is None else options
    _check_guess(model, seen, initial)
    windows = _Windows(model, seen, scheme, options.window, options.chunk, fit_weights)
    search = _Search(
        windows=windows,
        options=options,
        theta=windows.theta(),
        states=windows.cut(initial)[:, 0].clone(),
        costs=[],
        damping=options.damping,
    )
    *sizes, last = options.jumps
    for jump in sizes:
        search.run(jump, max(options.rough, options.tolerance))
    converged, system = search.run(last, options.tolerance)
    for (_, weight), part in zip(
        windows.weights, windows.named(search.theta).values(), strict=True
    ):
        weight.copy_(part)
    paths = windows.paths(search.theta, search.states)
    misfits, _ = windows.residuals(paths, search.states, options.jumps[-1])
    misfit = misfits.square().view(len(seen.values), -1).sum(1)
    states = search.states.numel() if math.isinf(options.jumps[-1]) else initial[:, 0].numel()
    freedom = max(int(seen.seen.sum()) - windows.parameters - states, 1)
    return Shooting(
        trajectory=windows.join(paths, initial.shape[1]),
        misfit=misfit,
        dispersion=float(misfit.sum()) / freedom,
        information=system.complement(),
        costs=tuple(search.costs),
        converged=converged,
    )


def _check_guess(model: Callable[[Tensor], Tensor], seen: Observations, initial: Tensor) -> None:
    if initial.shape != seen.values.shape:
        raise ValueError(
            f"the guess has shape {tuple(initial.shape)}, the observations "
            f"{tuple(seen.values.shape)}: give a state for every time of every sample"
        )
    if not initial.isfinite().all():
        sample, time, _ = (~initial.isfinite()).nonzero()[0].tolist()
        raise ValueError(
            f"the guess of sample {sample} is not finite at position {time}: "
            "smooth the observations instead of handing them over with their gaps"
        )
    kinds = {weight.dtype for weight in model.parameters()} if isinstance(model, nn.Module) else ()
    for kind in kinds:
        if kind != seen.values.dtype:
            raise ValueError(
                f"the field's weights are {kind}, the observations {seen.values.dtype}: "
                "call field.double(), shooting needs the same"
            )
