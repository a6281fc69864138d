"""4D-Var over consecutive windows: strong or weak constraint, static or propagated background."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Literal

import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from sciml.dynamics.assimilation.gaussian import Background
from sciml.dynamics.assimilation.labels import Record, label
from sciml.dynamics.assimilation.minimisation import GaussNewton, Minimiser, Minimum
from sciml.dynamics.assimilation.model import Propagator
from sciml.dynamics.assimilation.observation import Observations
from sciml.dynamics.assimilation.window import ModelError, Window

__all__ = ["FourDVar"]


@dataclass(frozen=True, kw_only=True, eq=False)
class FourDVar:
    """4D-Var: the trajectory of a model that lies nearest to a background and to observations.

    J = ½ ‖x₀ − x_b‖²_B + ½ Σ_k ‖H(x(t_k)) − y_k‖²_R + ½ Σ_j ‖η_j‖²_Q,
    x(τ_j) = M(x(τ_{j-1})) + η_j

    The last sum and the η_j stand in the weak constraint only. The control is x₀ and the η_j,
    preconditioned by the square roots of B and Q; derivatives come from the model's adjoint. The
    posterior covariance is the inverse of the Gauss-Newton Hessian. For a linear model and
    Gaussian errors both are those of the Kalman smoother.

    Windows follow each other; the background of the next is the analysis at the end of the last.

    Attributes:
        window: length of a window, in the unit of time; one window for everything if None.
        minimiser: `GaussNewton` or `LBFGS`.
        model_error: Q and the times τ_j for the weak constraint; None for the strong one.
        cycling: B of the windows after the first: the same for all ("static"), or the posterior
            covariance at the end of the window before ("propagated"), as in a Kalman filter.
        static: [component, component], B of the windows after the first with static cycling; the
            background's own if None.
        inflation: factor on the propagated covariance.
        addition: [component, component], added to the propagated covariance, for errors of the
            model or of the Gaussian that stands for the posterior.
        rejection: a sample whose least cost is improbable, 2 J > p + `rejection` √(2p) with p
            observations, has lost the truth: it does the window again with the covariance of the
            first. None never does.

    Raises:
        ValueError: a length or a factor that is not positive.

    Reference: Talagrand, Courtier, Variational assimilation of meteorological observations with
    the adjoint vorticity equation, 1987, doi:10.1002/qj.49711347812; Trémolet, Accounting for an
    imperfect model in 4D-Var, 2006, doi:10.1256/qj.05.224.

    >>> decay = lambda state, times: state[:, None] * torch.exp(times[0] - times)[:, None]
    >>> y = Observations(times=torch.tensor([1.0]), values=torch.ones(1, 1, 1),
    ...                  covariance=torch.eye(1), operator=torch.eye(1))
    >>> x = Background(time=0.0, mean=torch.zeros(1, 1), covariance=torch.eye(1))
    >>> analysis = FourDVar().assimilate(decay, x, y)
    >>> analysis["state"].sel(time=0).values.round(4)  # exp(-1) / (1 + exp(-2))
    array([[0.324]])
    """

    window: float | None = None
    minimiser: Minimiser = field(default_factory=GaussNewton)
    model_error: ModelError | None = None
    cycling: Literal["static", "propagated"] = "propagated"
    static: Float[Tensor, "..."] | None = None
    inflation: float = 1.0
    addition: Float[Tensor, "..."] | None = None
    rejection: float | None = None

    def __post_init__(self) -> None:
        if self.window is not None and not self.window > 0:
            raise ValueError(
                f"a window has the length {self.window:g}, expected a positive one: give the "
                f"length in the model's unit of time"
            )
        if not self.inflation > 0:
            raise ValueError(
                f"inflation is {self.inflation:g}, expected a positive factor: give 1 for none"
            )

    def assimilate(
        self,
        model: Propagator,
        background: Background,
        observations: Observations,
        *,
        components: Sequence[str] | None = None,
    ) -> xr.Dataset:
        """The analysis over all observations, window by window.

        Args:
            model: the forecast model, a :class:`ForecastModel` say.
            background: x_b and B at the start of the first window.
            observations: of the same samples, none before the background's time.
            components: labels of the state's components; 0, 1, ... if not given.

        Returns:
            At the start, at all observations and at the ends of windows: `state`, `covariance`,
            `spread` (its standard deviation) and `first_guess` (the trajectory before the
            observations of the window). For each window: `cost` (at each iteration), its parts
            `background_cost` and `observation_cost` at the end, `observation_count`,
            `degrees_of_freedom` (for signal), `converged`, and `integrations` and
            `adjoint_integrations` of the model over the window.

        Raises:
            ValueError: sizes that do not fit, observations before the background, a forecast
                that leaves the numbers (with its sample and time).
        """
        bounds = _bounds(background, observations, self.window)
        static = background.covariance if self.static is None else self.static
        windows = [_Cycled(model, background, observations, bounds[:2], self, first=True)]
        for pair in pairwise(bounds[1:]):
            before = windows[-1].next_background(static)
            cycled = _Cycled(model, before, observations, pair, self, first=False)
            windows.append(cycled.checked(background.covariance))
        record = _joined(windows)
        return label(record, components)


class _Cycled:
    """One window of a cycle, minimised."""

    def __init__(
        self,
        model: Propagator,
        background: Background,
        observations: Observations,
        bounds: Sequence[float],
        options: FourDVar,
        *,
        first: bool,
    ) -> None:
        start, stop = bounds
        self.options, self.first, self.given = options, first, observations
        self.problem = Window(
            model,
            background,
            observations.between(start, stop, closed=first),
            stop=stop,
            error=_error_between(options.model_error, start, stop),
        )
        self.minimum: Minimum = options.minimiser.minimise(self.problem)
        self.covariance = self.minimum.linearisation.covariance()

    def checked(self, wide: Tensor) -> _Cycled:
        """This window, done again with a wide covariance for the samples that lost the truth."""
        if self.options.rejection is None:
            return self
        count = self.problem.observations.count
        limit = count + self.options.rejection * (2 * count) ** 0.5
        lost = 2 * self.minimum.misfit.cost > limit
        if not lost.any():
            return self
        before = self.problem.background
        covariance = torch.where(lost[:, None, None], wide, before.covariance)
        again = _Cycled(
            self.problem.model,
            replace(before, covariance=covariance),
            self.given,
            (before.time, self.problem.stop),
            self.options,
            first=False,
        )
        first, second = self.minimum, again.minimum
        again.minimum = replace(
            second,
            forward=first.forward + second.forward * lost,
            adjoint=first.adjoint + second.adjoint * lost,
        )
        return again

    def next_background(self, static: Tensor) -> Background:
        covariance = static
        if self.options.cycling == "propagated":
            covariance = self.options.inflation * self.covariance[:, -1]
            if self.options.addition is not None:
                covariance = covariance + self.options.addition.double()
            covariance = _positive(covariance)
        return Background(
            time=float(self.problem.nodes[-1]),
            mean=self.minimum.misfit.states[:, -1],
            covariance=covariance,
        )

    @property
    def new(self) -> slice:
        """The nodes of this window that none before it holds."""
        return slice(0 if self.first else 1, None)


def _positive(covariance: Tensor) -> Tensor:
    """Directions that the model has contracted below rounding keep a variance of 1e-10 of most."""
    values, vectors = torch.linalg.eigh((covariance + covariance.mT) / 2)
    kept = values.clamp(min=1e-10 * values[..., -1:])
    return (vectors * kept[..., None, :]) @ vectors.mT


def _joined(windows: Sequence[_Cycled]) -> Record:
    def along_time(parts: list[Tensor]) -> Tensor:
        return torch.cat([part[:, w.new] for part, w in zip(parts, windows, strict=True)], dim=1)

    def each(parts: list[Tensor]) -> Tensor:
        return torch.stack(parts, dim=1).detach()

    minima = [w.minimum for w in windows]
    control = [m.misfit.control.flatten(1).square().sum(1) / 2 for m in minima]
    seen = [m.misfit.residual.square().sum(1) / 2 for m in minima]
    return Record(
        times=torch.cat([w.problem.nodes[w.new] for w in windows]),
        state=along_time([m.misfit.states for m in minima]),
        covariance=along_time([w.covariance for w in windows]),
        first_guess=along_time([m.first_guess for m in minima]),
        windows={
            "window_start": torch.stack([w.problem.nodes[0] for w in windows]),
            "window_stop": torch.stack([w.problem.nodes[-1] for w in windows]),
            "cost": _padded([m.history for m in minima]),
            "background_cost": each(control),
            "observation_cost": each(seen),
            "observation_count": each([w.problem.observations.count for w in windows]),
            "degrees_of_freedom": each([m.linearisation.degrees_of_freedom() for m in minima]),
            "converged": each([m.converged for m in minima]),
            "integrations": each([m.forward for m in minima]),
            "adjoint_integrations": each([m.adjoint for m in minima]),
        },
    )


def _padded(histories: list[Tensor]) -> Tensor:
    """[sample, window, iteration], NaN after the last iteration of a window."""
    longest = max(history.shape[1] for history in histories)
    found = torch.full((len(histories[0]), len(histories), longest), torch.nan).double()
    for window, history in enumerate(histories):
        found[:, window, : history.shape[1]] = history
    return found


def _bounds(
    background: Background, observations: Observations, length: float | None
) -> list[float]:
    """Starts and stops of the windows that hold all observations."""
    start = background.time
    if not observations.times.numel():
        raise ValueError("there are no observations: give at least one")
    first, last = (float(observations.times[k]) for k in (0, -1))
    slack = 1e-9 * max(abs(start), abs(last), last - start)
    if first < start - slack:
        raise ValueError(
            f"the first observation is at time {first:.6g}, before the background at "
            f"{start:.6g}: give an earlier background or leave out what precedes it"
        )
    if length is None:
        return [start, last if last > start + slack else start + 1.0]
    count = 1
    while start + count * length < last - slack:
        count += 1
    return [start + length * k for k in range(count + 1)]


def _error_between(error: ModelError | None, start: float, stop: float) -> ModelError | None:
    """The model errors of one window: after its start, up to its stop."""
    if error is None or error.times is None:
        return error
    slack = 1e-9 * max(abs(start), abs(stop), stop - start)
    inside = (error.times > start + slack) & (error.times <= stop + slack)
    return ModelError(covariance=error.covariance, times=error.times[inside])
