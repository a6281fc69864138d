r"""Latent components for systems of which only a part is observed.

The state of the model is $u = (o, l)$: the observed components first, then the latent ones, all
advanced by one field. Where a trajectory begins its latent part must come from somewhere:

- in training, from parameters of each window (`LatentTable`), or from an encoder;
- in a forecast, from the observations before it: by a `DelayEncoder`, at once, or by
  `infer_state`, which seeks the state whose trajectory meets them.

Ouala et al., "Learning latent dynamics for partially observed chaotic systems", 2020,
doi:10.1063/5.0019309.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sciml.nn import MLP, Activation, Standardize

__all__ = ["Augmented", "DelayEncoder", "LatentTable", "infer_state"]


class DelayEncoder(nn.Module):
    r"""The latent components at the end of a window of past observations.

    $l = W q + g(q)$ with g a network and q the window's coefficients in orthonormal polynomials of
    time, scaled to variance one. The first coefficients are, up to factors, the mean, slope and
    curvature of the window: neighbouring observations differ little, and a network that is given
    these themselves learns slowly.

    Args:
        observed: number of observed components.
        latent: number of latent components.
        delays: observations in a window, at constant steps of time.
        features: polynomials, of degree 0, 1, ...; as many as delays, but at most 8, by default.
        hidden: widths of the layers of g; none makes the encoder linear.
        activation: of g.

    Raises:
        ValueError: more features than delays.

    Example:
        >>> encoder = DelayEncoder(1, 2, delays=10)
        >>> encoder(torch.randn(5, 10, 1)).shape
        torch.Size([5, 2])
    """

    polynomials: Tensor

    def __init__(
        self,
        observed: int,
        latent: int,
        *,
        delays: int,
        features: int | None = None,
        hidden: Sequence[int] = (64, 64),
        activation: Activation = "tanh",
    ) -> None:
        super().__init__()
        features = min(delays, 8) if features is None else features
        if not 1 <= features <= delays:
            raise ValueError(
                f"{features} features of {delays} delays: give between 1 and {delays} features"
            )
        self.delays, self.observed, self.latent = delays, observed, latent
        self.register_buffer("polynomials", _orthonormal(delays, features))
        inputs = features * observed
        self.scaling = Standardize(inputs, axis=-1)
        self.linear = nn.Linear(inputs, latent)
        self.network = MLP(inputs, latent, hidden=hidden, activation=activation) if hidden else None

    def coefficients(
        self, history: Float[Tensor, "batch delay observed"]
    ) -> Float[Tensor, "batch feature"]:
        """The window's coefficients in the polynomials, those of one component together."""
        if history.shape[1:] != (self.delays, self.observed):
            raise ValueError(
                f"history has shape {tuple(history.shape)}, expected [batch, {self.delays}, "
                f"{self.observed}]: give the last {self.delays} observations"
            )
        return (history.mT @ self.polynomials.to(history.dtype)).flatten(1)

    def fit(self, history: Float[Tensor, "batch delay observed"]) -> DelayEncoder:
        """Take the scales of the coefficients from windows of the training data."""
        self.scaling.fit(self.coefficients(history))
        return self

    def forward(
        self, history: Float[Tensor, "batch delay observed"]
    ) -> Float[Tensor, "batch latent"]:
        """Latent components at the last of the given times."""
        q = self.scaling(self.coefficients(history))
        return self.linear(q) if self.network is None else self.linear(q) + self.network(q)


class LatentTable(nn.Module):
    """The latent components at the beginning of each training window, as parameters.

    Args:
        windows: number of windows.
        latent: number of latent components.
        scale: standard deviation of the first values.

    Example:
        >>> LatentTable(100, 2)(torch.tensor([0, 7])).shape
        torch.Size([2, 2])
    """

    def __init__(self, windows: int, latent: int, *, scale: float = 1.0) -> None:
        super().__init__()
        self.values = nn.Parameter(scale * torch.randn(windows, latent))

    def forward(self, window: Int[Tensor, " batch"]) -> Float[Tensor, "batch latent"]:
        """Latent components of the windows with these numbers."""
        return self.values[window]


class Augmented(nn.Module):
    r"""A field of observed and latent components together with what gives the latent ones.

    Args:
        field: state [batch, observed + latent] to its rate.
        encoder: history [batch, delay, observed] to latent components at its last time.
        observed: number of observed components.

    Example:
        >>> model = Augmented(nn.Linear(3, 3), DelayEncoder(1, 2, delays=10), observed=1)
        >>> state = model.begin(torch.randn(5, 10, 1))
        >>> state.shape, model(state).shape, model.observe(state).shape
        (torch.Size([5, 3]), torch.Size([5, 3]), torch.Size([5, 1]))
    """

    def __init__(self, field: nn.Module, encoder: nn.Module, *, observed: int) -> None:
        super().__init__()
        self.field, self.encoder, self.observed = field, encoder, observed

    def forward(self, state: Float[Tensor, "batch component"]) -> Float[Tensor, "batch component"]:
        """Rate of change of `state`."""
        return self.field(state)

    def begin(
        self, history: Float[Tensor, "batch delay observed"]
    ) -> Float[Tensor, "batch component"]:
        """The whole state at the last time of a history."""
        return torch.cat([history[:, -1], self.encoder(history)], -1)

    def observe(self, states: Float[Tensor, "*batch component"]) -> Float[Tensor, "*batch seen"]:
        """The observed components of states."""
        return states[..., : self.observed]


def infer_state(
    flow: Callable[[Tensor], Tensor],
    observations: Float[Tensor, "batch time observed"],
    guess: Float[Tensor, "batch component"],
    *,
    mask: Float[Tensor, "batch time observed"] | None = None,
    free: Sequence[int] | None = None,
    iterations: int = 30,
    damping: float = 1e-3,
) -> tuple[Float[Tensor, "batch component"], Float[Tensor, " batch"]]:
    r"""The initial state whose trajectory meets the observations, by Levenberg-Marquardt.

    $\min_u \sum_t \lvert m_t \circ (o_t - H \Phi_t(u)) \rvert^2$, each sample with a damping of its
    own: a step that does not lower its sum is taken back and its damping raised tenfold.

    Args:
        flow: Φ, initial states [batch, component] to trajectories [batch, time, component] at the
            times of the observations, observed components first, such as
            `lambda u: integrate(field, u, times, finite=False)`.
        observations: o, the first at the time of the initial state.
        guess: u to begin from.
        mask: m, 1 where o was observed; what is hidden may be NaN.
        free: components that are sought; the latent ones by default. Where the observations are
            noisy, give all.
        iterations: steps.
        damping: of the first step, relative to the curvature.

    Returns:
        u, and the root mean square misfit of each sample.

    Example:
        >>> times = torch.linspace(0, 1, 5, dtype=torch.float64)
        >>> def flow(u):  # an oscillator of which the position is seen
        ...     x, v, c, s = u[:, :1], u[:, 1:], times.cos(), times.sin()
        ...     return torch.stack([x * c + v * s, v * c - x * s], -1)
        >>> truth = torch.tensor([[1.0, 2.0]], dtype=torch.float64)
        >>> guess = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
        >>> found, misfit = infer_state(flow, flow(truth)[..., :1], guess)
        >>> bool(torch.allclose(found, truth))
        True
    """
    observed = observations.shape[-1]
    places = list(range(observed, guess.shape[-1])) if free is None else list(free)
    weight = torch.ones_like(observations) if mask is None else mask.to(observations.dtype)
    target = torch.where(weight > 0, observations, torch.zeros_like(observations))

    def residual(state: Tensor) -> Tensor:
        return (weight * (flow(state)[..., :observed] - target)).flatten(1)

    state = guess.detach().clone()
    rate = torch.full_like(state[:, :1], damping)
    with torch.no_grad():
        cost = _cost(residual(state))
        for _ in range(iterations):
            trial = state.clone()
            trial[:, places] = state[:, places] - _step(residual, state, places, rate)
            new = _cost(residual(trial))
            better = new < cost
            state = torch.where(better[:, None], trial, state)
            cost = torch.where(better, new, cost)
            rate = torch.where(better[:, None], rate / 10, rate * 10).clamp(1e-12, 1e12)
    return state, (cost / weight.flatten(1).sum(1).clamp_min(1)).sqrt()


def _cost(residual: Tensor) -> Tensor:
    cost = residual.square().sum(1)
    return torch.where(torch.isfinite(cost), cost, torch.full_like(cost, torch.inf))


def _step(
    residual: Callable[[Tensor], Tensor], state: Tensor, places: Sequence[int], rate: Tensor
) -> Tensor:
    """Damped Gauss-Newton step of every sample; zero where it is not finite."""
    columns = []
    for place in places:
        unit = torch.zeros_like(state)
        unit[:, place] = 1.0
        value, slope = torch.func.jvp(residual, (state,), (unit,))[:2]
        columns.append(slope)
    J = torch.stack(columns, -1)
    curvature = J.mT @ J
    diagonal = curvature.diagonal(dim1=1, dim2=2).clamp_min(1e-12)
    damped = curvature + torch.diag_embed(rate * diagonal)
    step, failed = torch.linalg.solve_ex(damped, J.mT @ value[..., None])
    found = step[..., 0]
    return torch.where(torch.isfinite(found) & (failed == 0)[:, None], found, 0 * state[:, places])


def _orthonormal(delays: int, features: int) -> Float[Tensor, "delay feature"]:
    """Polynomials of degree 0, 1, ... at equal steps, orthogonal and of mean square one."""
    s = torch.linspace(-1, 1, delays, dtype=torch.float64) if delays > 1 else torch.zeros(1)
    powers = torch.stack([s.to(torch.float64) ** k for k in range(features)], 1)
    basis, triangle = torch.linalg.qr(powers)
    return basis * triangle.diagonal().sign() / delays**0.5
