"""The network that says what a time step changes, and where it may be asked."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sciml.nn import MLP, Standardize
from sciml.nn.activation import Activation

__all__ = ["CONDITIONS", "Domain", "StepNetwork", "measured"]

CONDITIONS = 3
"""T, ln p and ln dt stand before the transformed mass fractions."""

_SMALLEST = 1e-8
_RIDGE = 1e-4

State = Float[Tensor, "cell feature"]
Change = Float[Tensor, "cell reactive"]


class Domain(nn.Module):
    r"""The states on which a network was trained: ranges, and a distance from their centre.

    The distance is that of Mahalanobis, $d^2 = (x-\mu)^T C^{-1} (x-\mu) / n$ in standardised
    features, so that combinations that never occurred are far although each number alone is not.

    Args:
        features: number of features, of which all have a range.
    """

    low: Tensor
    high: Tensor
    mean: Tensor
    whitening: Tensor
    farthest: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        for name, fill in (("low", -torch.inf), ("high", torch.inf), ("mean", 0.0)):
            self.register_buffer(name, torch.full((features,), fill))
        self.register_buffer("whitening", torch.eye(features))
        self.register_buffer("farthest", torch.tensor(torch.inf))

    def fit(self, features: State) -> Domain:
        """Take ranges and distances from training states."""
        x = features.double()
        slack = 1e-5 * x.abs().amax(0)
        self.low.copy_(x.amin(0) - slack)
        self.high.copy_(x.amax(0) + slack)
        spread = x.std(0)
        spread = torch.where(spread > slack, spread, 1.0)
        scaled = (x - x.mean(0)) / spread
        covariance = scaled.T @ scaled / len(x) + _RIDGE * torch.eye(x.shape[1], dtype=x.dtype)
        roots, directions = torch.linalg.eigh(covariance)
        self.mean.copy_(x.mean(0))
        self.whitening.copy_(directions / roots.sqrt() / spread[:, None] / x.shape[1] ** 0.5)
        self.farthest.copy_(self.distance(features).max())
        return self

    def distance(self, features: State) -> Float[Tensor, " cell"]:
        """How far states lie from the centre of the training states; one is usual."""
        return ((features - self.mean) @ self.whitening).square().sum(1).sqrt()

    def forward(self, features: State) -> Bool[Tensor, " cell"]:
        """Whether states lie inside."""
        inside = ((features >= self.low) & (features <= self.high)).all(1)
        return inside & (self.distance(features) <= self.farthest)


class StepNetwork(nn.Module):
    r"""The change of transformed mass fractions over a step.

    Told what an explicit step would change, s, a network with outputs a and b gives

    $\Delta z_k = \sigma(a_k)\, s_k + b_k\, \overline{|s|}$:

    it has to find the ratio of the true change to the explicit one, which is near one wherever
    chemistry is slow against the step, and all changes vanish with the rates, at equilibrium.
    Without (`informed=False`), the network alone gives
    $\Delta z_k = \epsilon \sinh(m_k + \varsigma_k y_k)$ of the state.

    Args:
        reactive: number of species that react.
        elements: number of elements, which belong to the domain of validity.
        hidden: widths of the hidden layers.
        activation: between them.
        resolution: ε, the change of z below which errors count as they are, and above which they
            count relative to the change.
        informed: whether the network sees the explicit step.
    """

    spread: Tensor
    centre: Tensor

    def __init__(
        self,
        reactive: int,
        elements: int,
        *,
        hidden: tuple[int, ...],
        activation: Activation = "gelu",
        resolution: float = 1e-3,
        informed: bool = True,
    ) -> None:
        super().__init__()
        self.reactive, self.resolution, self.informed = reactive, resolution, informed
        self.state = Standardize(CONDITIONS + reactive)
        features = CONDITIONS + reactive
        if informed:
            self.explicit = Standardize(reactive + 1)
            features += reactive + 1
        outputs = 2 * reactive if informed else reactive
        self.layers = MLP(features, outputs, hidden=hidden, activation=activation)
        self.domain = Domain(CONDITIONS + reactive + elements)
        self.register_buffer("spread", torch.ones(reactive))
        self.register_buffer("centre", torch.zeros(reactive))

    def calibrate(self, state: State, explicit: Change, change: Change) -> None:
        """Fit the scalings on training samples."""
        self.state.fit(state)
        if self.informed:
            self.explicit.fit(self._told(explicit))
        seen = measured(change, self.resolution)
        deviation = seen.std(0)
        self.spread.copy_(torch.where(deviation > 0, deviation, 1.0))
        self.centre.copy_(seen.mean(0))

    def forward(self, state: State, explicit: Change) -> Change:
        """Δz from T, ln p, ln dt and z, and from the change in an explicit step."""
        features = self.state(state)
        if not self.informed:
            told = self.centre + self.spread * self.layers(features)
            return self.resolution * torch.sinh(told.clamp(-20, 20))
        told = self._told(explicit)
        features = torch.cat([features, self.explicit(told)], 1)
        shift, ratio = self.layers(features).split(self.reactive, 1)
        mean = explicit.abs().mean(1, keepdim=True)
        return explicit * torch.sigmoid(ratio + 2) + mean * shift

    def _told(self, explicit: Change) -> Float[Tensor, "cell told"]:
        mean = explicit.abs().mean(1, keepdim=True)
        return torch.cat([measured(explicit, self.resolution), (mean + _SMALLEST).log()], 1)


def measured(change: Float[Tensor, "cell reactive"], resolution: float) -> Change:
    """asinh(Δz / ε): as it is where small, its logarithm where large."""
    return torch.asinh(change / resolution)
