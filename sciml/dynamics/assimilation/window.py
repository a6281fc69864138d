"""One assimilation window as a least-squares problem in a preconditioned control."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.dynamics.assimilation.gaussian import Background, square_root
from sciml.dynamics.assimilation.model import Propagator, refuse_blow_up, resolvents
from sciml.dynamics.assimilation.observation import Observations

__all__ = ["Linearisation", "Misfit", "ModelError", "Window"]

Control = Float[Tensor, "sample block component"]


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelError:
    """Errors η_j ~ N(0, Q) that the model makes up to chosen times.

    Attributes:
        covariance: Q [component, component], of the error gathered up to each of the times.
        times: when an error is added to the state; where anything is observed if not given.

    Raises:
        ValueError: times that do not increase.
    """

    covariance: Float[Tensor, "..."]
    times: Float[Tensor, "..."] | None = None

    def __post_init__(self) -> None:
        if self.times is not None and (self.times.ndim != 1 or not (self.times.diff() > 0).all()):
            raise ValueError(
                "times of model errors must be [time] and increase: sort them and remove "
                "repeated ones"
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class Misfit:
    """Trajectory and cost at one control.

    Attributes:
        control: v.
        states: x(t) at the window's nodes.
        residual: R^(-1/2) (H(x) − y), flat.
        cost: J.
    """

    control: Control
    states: Float[Tensor, "sample nodes component"]
    residual: Float[Tensor, "sample residual"]
    cost: Float[Tensor, " sample"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Linearisation:
    """First derivatives at one control, from the model's adjoint.

    Attributes:
        sensitivity: C = ∂x(t)/∂v at the window's nodes.
        jacobian: G = ∂ residual/∂v.
        gradient: ∇J = v + Gᵀ r.
        hessian: I + GᵀG, that of Gauss and Newton.
    """

    sensitivity: Float[Tensor, "sample nodes component size"]
    jacobian: Float[Tensor, "sample residual size"]
    gradient: Float[Tensor, "sample size"]
    hessian: Float[Tensor, "sample size size"]

    def covariance(self) -> Float[Tensor, "sample nodes component component"]:
        """Posterior covariance of the state at the nodes: C (I + GᵀG)⁻¹ Cᵀ."""
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(self.hessian))
        return self.sensitivity @ inverse[:, None] @ self.sensitivity.mT

    def degrees_of_freedom(self) -> Float[Tensor, " sample"]:
        """Degrees of freedom for signal, Σ s²/(1 + s²) over the singular values of G."""
        squares = torch.linalg.svdvals(self.jacobian) ** 2
        return (squares / (1 + squares)).sum(-1)


@final
class Window:
    """4D-Var over one window: strong constraint, or weak with model errors as further controls.

    J(v) = ½ ‖v‖² + ½ Σ_k ‖R^(-1/2) (H(x(t_k)) − y_k)‖²,
    x(t₀) = x_b + B^(1/2) v₀,  x(τ_j) = M(x(τ_{j-1})) + Q^(1/2) v_j

    The nodes of a window are its start and stop and all times of observations and model errors.
    Each of several samples is a problem of its own.

    Args:
        model: the forecast model M.
        background: x_b and B at the window's start.
        observations: those of the window.
        stop: end of the window, after its start.
        error: Q and the times τ_j; none in the strong constraint.

    Raises:
        ValueError: sizes that do not fit each other, observations or model errors outside the
            window, a window of no length.
    """

    def __init__(
        self,
        model: Propagator,
        background: Background,
        observations: Observations,
        *,
        stop: float,
        error: ModelError | None = None,
    ) -> None:
        self.model, self.background, self.observations = model, background, observations
        self.stop, self.error = stop, error
        self.nodes, self.seen, self.forced = _nodes(background.time, observations, stop, error)
        n = background.components
        self.root = square_root(background.covariance, n, "background")
        self.noise = None if error is None else square_root(error.covariance, n, "model-error")
        samples = len(background.mean)
        if len(observations.values) != samples:
            raise ValueError(
                f"there are observations of {len(observations.values)} samples and a background "
                f"of {samples}: give both for the same samples"
            )
        self.shape = torch.Size((samples, 1 + len(self.forced), n))
        """Of the control: one block for the initial state, one for each model error."""

    def sample(self, index: int) -> Window:
        """The problem of one sample."""
        return Window(
            self.model,
            self.background.sample(index),
            self.observations.sample(index),
            stop=self.stop,
            error=self._errors,
        )

    def until(self, time: float) -> Window:
        """The same problem, in the same control, without the observations after a time."""
        y = self.observations
        early = (y.times <= time + 1e-9 * (self.stop - self.background.time))[:, None]
        return Window(
            self.model,
            self.background,
            replace(y, mask=y.observed & early),
            stop=self.stop,
            error=self._errors,
        )

    def first_guess(self) -> Control:
        """The background: no increment, no model error."""
        return torch.zeros(self.shape, dtype=torch.float64)

    def trajectory(self, control: Control) -> Float[Tensor, "sample nodes component"]:
        """States at the nodes; one integration of the model over the window.

        Raises:
            NonFiniteState: the model blows up before the last of the model errors.
        """
        state = self.background.mean + (self.root @ control[:, 0, :, None])[..., 0]
        paths, first = [state[:, None]], 0
        last = len(self.nodes) - 1
        for block, node in enumerate([*self.forced, last], start=1):
            if node > first:
                refuse_blow_up(state[:, None], [float(self.nodes[first])])
                path = self._path(state, first, node)
                if block < self.shape[1]:
                    error = control[:, block] @ self._noise.mT
                    path = torch.cat([path[:, :-1], path[:, -1:] + error[:, None]], dim=1)
                paths.append(path[:, 1:])
                state, first = path[:, -1], node
        return torch.cat(paths, dim=1)

    def evaluate(self, control: Control) -> Misfit:
        """Trajectory, residual and cost, differentiable in the control."""
        states = self.trajectory(control)
        residual = self.observations.misfit(states[:, self.seen]).flatten(1)
        cost = (control.flatten(1).square().sum(1) + residual.square().sum(1)) / 2
        return Misfit(control=control, states=states, residual=residual, cost=cost)

    def cost(self, control: Control) -> Float[Tensor, " sample"]:
        """J of each sample, differentiable in the control."""
        return self.evaluate(control).cost

    def linearise(self, misfit: Misfit) -> Linearisation:
        """Derivatives at a control, from the resolvents between the nodes.

        Costs as many integrations, forward and adjoint, as the state has components.
        """
        states = misfit.states.detach()
        sensitivity = self._sensitivity(resolvents(self.model, states, self.nodes))
        rows = self.observations.jacobian(states[:, self.seen]) @ sensitivity[:, self.seen]
        jacobian = rows.flatten(1, 2)
        pull = (jacobian.mT @ misfit.residual.detach()[..., None])[..., 0]
        identity = torch.eye(jacobian.shape[-1], dtype=torch.float64)
        return Linearisation(
            sensitivity=sensitivity,
            jacobian=jacobian,
            gradient=misfit.control.detach().flatten(1) + pull,
            hessian=identity + jacobian.mT @ jacobian,
        )

    @property
    def _errors(self) -> ModelError | None:
        """The model errors at the times they have here, whatever else is masked."""
        return None if self.error is None else replace(self.error, times=self.nodes[self.forced])

    @property
    def _noise(self) -> Tensor:
        assert self.noise is not None
        return self.noise

    def _path(self, state: Tensor, first: int, last: int) -> Tensor:
        path = self.model(state, self.nodes[first : last + 1])
        expected = (len(state), last + 1 - first, state.shape[1])
        if path.shape != expected:
            raise ValueError(
                f"the model gave a trajectory of shape {list(path.shape)}, expected "
                f"{list(expected)}, [batch, time, component]: mend the model or the background"
            )
        return path

    def _sensitivity(self, resolvent: Tensor) -> Tensor:
        """∂x/∂v at each node: carried on by the resolvents, a block more at each model error."""
        samples, blocks, n = self.shape
        now = torch.zeros(samples, n, blocks, n, dtype=torch.float64)
        now[:, :, 0] = self.root
        found = [now]
        for node in range(1, len(self.nodes)):
            flat = now.reshape(samples, n, blocks * n)
            now = (resolvent[:, node - 1] @ flat).reshape(now.shape)
            if node in self.forced:
                now = now.clone()
                now[:, :, 1 + self.forced.index(node)] = self._noise
            found.append(now)
        return torch.stack(found, dim=1).flatten(-2)


def _nodes(
    start: float, observations: Observations, stop: float, error: ModelError | None
) -> tuple[Tensor, list[int], list[int]]:
    """Times of the nodes, and which of them have observations and model errors."""
    if not stop > start:
        raise ValueError(
            f"the window runs from {start:.6g} to {stop:.6g}: let it end after it starts"
        )
    seen = observations.times
    forced = seen.new_empty(0)
    if error is not None:
        any_seen = observations.observed.any(2).any(0)
        forced = seen[any_seen] if error.times is None else error.times.double()
    slack = 1e-9 * max(abs(start), abs(stop), stop - start)
    for times, name in ((seen, "observation"), (forced, "model error")):
        outside = times[(times < start - slack) | (times > stop + slack)]
        if outside.numel():
            raise ValueError(
                f"there is an {name} at time {float(outside[0]):.6g}, outside the window from "
                f"{start:.6g} to {stop:.6g}: leave it out or move the window"
            )
    forced = forced[forced > start + slack]
    nodes = _merged([start, *forced.tolist(), *seen.tolist(), stop], slack)
    places = [_place(nodes, times) for times in (seen, forced)]
    return nodes, places[0], places[1]


def _merged(times: list[float], slack: float) -> Tensor:
    nodes: list[float] = []
    for time in sorted(times):
        if not nodes or time - nodes[-1] > slack:
            nodes.append(time)
    return torch.tensor(nodes, dtype=torch.float64)


def _place(nodes: Tensor, times: Tensor) -> list[int]:
    return [int((nodes - time).abs().argmin()) for time in times]
