"""Ensemble Kalman filter: perturbed observations or a deterministic transform."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from sciml.dynamics.assimilation.gaussian import Background, square_root
from sciml.dynamics.assimilation.labels import Record, label
from sciml.dynamics.assimilation.model import Propagator, refuse_blow_up
from sciml.dynamics.assimilation.observation import Observations

__all__ = ["EnsembleKalman"]

Ensemble = Float[Tensor, "sample member component"]


@dataclass(frozen=True, kw_only=True, eq=False)
class EnsembleKalman:
    """Ensemble Kalman filter, or smoother with a fixed lag.

    With anomalies A of the forecast and S = R^(-1/2) H(A)/√(N−1), the analysis is a recombination
    of the members:

    - "stochastic": x_i ← x_i + A Sᵀ (S Sᵀ + I)⁻¹ R^(-1/2) (y + ε_i − H(x_i))/√(N−1), ε_i ~ N(0, R);
    - "transform": x̄ ← x̄ + A (I + SᵀS)⁻¹ Sᵀ R^(-1/2) (y − H(x̄))/√(N−1), A ← A (I + SᵀS)^(-1/2).

    With `lag`, the same recombination is applied to the analyses of that long before, which costs
    no integration.

    Attributes:
        members: N; each is integrated once over all times.
        variant: see above.
        inflation: factor on the forecast's anomalies.
        model_error: Q [component, component], of noise added to the forecast at an observation.
        lag: how long before it an observation corrects the analyses; 0 for the filter.
        rotation: turn the anomalies of "transform" at random, keeping mean and covariance, which
            prevents outliers in a nonlinear model.
        seed: of the initial ensemble, perturbations, noise and rotations.

    Raises:
        ValueError: fewer than two members, a factor that is not positive, a negative lag.

    Reference: Burgers, van Leeuwen, Evensen, Analysis scheme in the ensemble Kalman filter, 1998,
    doi:10.1175/1520-0493(1998)126<1719:ASITEK>2.0.CO;2; Bishop, Etherton, Majumdar, Adaptive
    sampling with the ensemble transform Kalman filter, 2001,
    doi:10.1175/1520-0493(2001)129<0420:ASWTET>2.0.CO;2; Sakov, Oke, Implications of the form of
    the ensemble transformation in the ensemble square root filters, 2008,
    doi:10.1175/2007MWR2021.1.

    >>> decay = lambda state, times: state[:, None] * torch.exp(times[0] - times)[:, None]
    >>> y = Observations(times=torch.tensor([1.0]), values=torch.ones(1, 1, 1),
    ...                  covariance=torch.eye(1), operator=torch.eye(1))
    >>> x = Background(time=0.0, mean=torch.zeros(1, 1), covariance=torch.eye(1))
    >>> analysis = EnsembleKalman(members=500).assimilate(decay, x, y)
    >>> abs(float(analysis["state"].sel(time=1).squeeze()) - 0.1192) < 0.1  # 1 / (1 + e²)
    True
    """

    members: int
    variant: Literal["stochastic", "transform"] = "transform"
    inflation: float = 1.0
    model_error: Float[Tensor, "..."] | None = None
    lag: float = 0.0
    rotation: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if self.members < 2:
            raise ValueError(
                f"the ensemble has {self.members} members, expected at least 2: give more"
            )
        if not self.inflation > 0 or self.lag < 0:
            raise ValueError(
                f"inflation is {self.inflation:g} and the lag {self.lag:g}: give a positive "
                f"factor and a lag that is not negative"
            )

    def assimilate(
        self,
        model: Propagator,
        background: Background,
        observations: Observations,
        *,
        components: Sequence[str] | None = None,
    ) -> xr.Dataset:
        """The analysis at the background's time and at all observations.

        Args:
            model: the forecast model, a :class:`ForecastModel` say; takes all members at once.
            background: mean and covariance from which the members are drawn.
            observations: of the same samples, none before the background's time.
            components: labels of the state's components; 0, 1, ... if not given.

        Returns:
            `state` (mean of the ensemble), `covariance` and `spread` (its standard deviation),
            `first_guess` (mean of the forecast), and `integrations` of the model over each
            interval between observations: the number of members.

        Raises:
            ValueError: sizes that do not fit, observations before the background, a forecast
                that leaves the numbers (with its sample and time).
        """
        with torch.no_grad():
            run = _Run(self, model, background, observations)
            for k in range(observations.times.numel()):
                run.advance(k)
            return label(run.record(), components)


class _Run:
    """An ensemble on its way through the observations."""

    def __init__(
        self,
        options: EnsembleKalman,
        model: Propagator,
        background: Background,
        observations: Observations,
    ) -> None:
        samples, n = background.mean.shape
        if len(observations.values) != samples:
            raise ValueError(
                f"there are observations of {len(observations.values)} samples and a background "
                f"of {samples}: give both for the same samples"
            )
        self.options, self.model, self.observations = options, model, observations
        self.generator = torch.Generator().manual_seed(options.seed)
        root = square_root(background.covariance, n, "background")
        members = background.mean[:, None] + self._normal(samples, options.members, n) @ root.mT
        self.noise = None
        if options.model_error is not None:
            self.noise = square_root(options.model_error, n, "model-error")
        self.times = [background.time]
        self.analyses: list[Ensemble] = [members]
        self.forecasts = [background.mean]

    def advance(self, k: int) -> None:
        """Forecast to observation k and analyse it; at the background's time only analyse."""
        time, before = float(self.observations.times[k]), self.times[-1]
        now = self.analyses[-1]
        slack = 1e-9 * max(abs(time), abs(before))
        if time < before - slack:
            raise ValueError(
                f"the first observation is at time {time:.6g}, before the background at "
                f"{before:.6g}: give an earlier background or leave out what precedes it"
            )
        seen = bool(self.observations.observed[:, k].any())
        if time > before + slack:
            now = self._forecast(now, before, time)
            now = self._disturb(now) if seen else now
            self.times.append(time)
            self.forecasts.append(now.mean(1))
            self.analyses.append(now)
        if seen:
            weights = self._weights(now, k)
            for past, then in enumerate(self.times):
                if then >= time - self.options.lag - slack:
                    self.analyses[past] = weights.mT @ self.analyses[past]

    def record(self) -> Record:
        members = torch.stack(self.analyses, dim=1)
        mean = members.mean(2)
        anomalies = members - mean[:, :, None]
        count = torch.full((len(mean), len(self.times) - 1), float(self.options.members))
        times = torch.tensor(self.times, dtype=torch.float64)
        return Record(
            times=times,
            state=mean,
            covariance=anomalies.mT @ anomalies / (self.options.members - 1),
            first_guess=torch.stack(self.forecasts, dim=1),
            windows={
                "window_start": times[:-1],
                "window_stop": times[1:],
                "integrations": count.double(),
                "adjoint_integrations": torch.zeros_like(count).double(),
            },
        )

    def _normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, dtype=torch.float64, generator=self.generator)

    def _forecast(self, members: Ensemble, start: float, stop: float) -> Ensemble:
        times = torch.tensor([start, stop], dtype=torch.float64)
        ends = self.model(members.flatten(0, 1), times)[:, -1].reshape(members.shape)
        refuse_blow_up(ends, [stop] * ends.shape[1])
        return ends

    def _disturb(self, ends: Ensemble) -> Ensemble:
        """Model error and inflation before an analysis."""
        if self.noise is not None:
            ends = ends + self._normal(*ends.shape) @ self.noise.mT
        mean = ends.mean(1, keepdim=True)
        return mean + self.options.inflation * (ends - mean)

    def _weights(self, members: Ensemble, k: int) -> Float[Tensor, "sample member member"]:
        """W: the analysed members are those of the forecast times W (members along columns)."""
        samples, count, _ = members.shape
        seen = self.observations.observe(members)
        mean = seen.mean(1, keepdim=True)
        whitener = self.observations.whitener[:, k]
        present = self.observations.observed[:, k, None]
        target = self.observations.values[:, k, None]
        scale = (count - 1) ** 0.5
        s = _whiten(whitener, present, seen - mean) / scale  # [sample, member, observed]
        if self.options.variant == "transform":
            change = self._transform(s, _whiten(whitener, present, target - mean) / scale)
        else:
            noise = self._normal(samples, count, s.shape[2])
            noise = torch.where(present, noise - noise.mean(1, keepdim=True), 0.0)
            innovation = _whiten(whitener, present, target - seen) + noise
            change = self._perturbed(s, innovation / scale)
        return change

    def _perturbed(self, s: Tensor, innovation: Tensor) -> Tensor:
        observed = torch.eye(s.shape[2], dtype=s.dtype)
        gain = torch.linalg.solve(s.mT @ s + observed, innovation.mT)
        return torch.eye(s.shape[1], dtype=s.dtype) + s @ gain

    def _transform(self, s: Tensor, innovation: Tensor) -> Tensor:
        count = s.shape[1]
        vectors, singular, _ = torch.linalg.svd(s, full_matrices=False)
        shift = torch.linalg.solve(torch.eye(s.shape[2], dtype=s.dtype) + s.mT @ s, innovation.mT)
        shrink = (1 + singular**2) ** -0.5 - 1
        turn = torch.eye(count, dtype=s.dtype) + (vectors * shrink[:, None]) @ vectors.mT
        if self.options.rotation:
            turn = turn @ self._rotation(count)
        change = s @ shift + turn
        return 1 / count + change - change.mean(1, keepdim=True)

    def _rotation(self, count: int) -> Float[Tensor, "member member"]:
        """A random orthogonal matrix that leaves the mean as it is."""
        basis = torch.eye(count, dtype=torch.float64)
        basis[:, 0] = 1.0
        basis = torch.linalg.qr(basis).Q
        inner = torch.eye(count, dtype=torch.float64)
        inner[1:, 1:] = torch.linalg.qr(self._normal(count - 1, count - 1)).Q
        return basis @ inner @ basis.mT


def _whiten(whitener: Tensor, present: Tensor, differences: Tensor) -> Tensor:
    """R^(-1/2) d of [sample, member, observed], zero where nothing was observed."""
    return torch.where(present, differences, 0.0) @ whitener.mT
