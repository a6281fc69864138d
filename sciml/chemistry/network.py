"""The network that says what a time step changes, and where it may be asked."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sciml.nn import MLP, Domain, Standardize
from sciml.nn.activation import Activation

__all__ = ["CONDITIONS", "StepNetwork", "measured"]

CONDITIONS = 3
"""T, ln p and ln dt stand before the transformed mass fractions."""

_SMALLEST = 1e-8
_NOTHING = 1e-12
_SHARE = 1e-3

State = Float[Tensor, "cell feature"]
Change = Float[Tensor, "cell reactive"]


class StepNetwork(nn.Module):
    r"""The change of transformed mass fractions over a step.

    Told what an explicit step would change, s, a network with outputs a and b gives

    $\Delta z_k = \sigma(a_k)\, s_k + b_k\, \overline{|s|}$:

    it has to find the ratio of the true change to the explicit one, which is near one wherever
    chemistry is slow against the step, and all changes vanish with the rates, at equilibrium. It is
    told s by size and direction, for on the way to equilibrium the direction alone tells how much
    of a small s is fast and how much is slow. In
    mechanisms of many species, traces change by orders of magnitude more than abundant species, and
    what the others add to one of these must be small to many digits: with `traces`,
    $\beta \sinh(b_k)$ takes the place of $b_k$, β = 0.001.

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
        traces: whether what the others add goes through a hyperbolic sine.
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
        traces: bool = False,
    ) -> None:
        super().__init__()
        self.reactive, self.resolution = reactive, resolution
        self.informed, self.traces = informed, traces
        self.state = Standardize(CONDITIONS + reactive)
        features = CONDITIONS + reactive
        if informed:
            self.explicit = Standardize(2 * reactive + 1)
            features += 2 * reactive + 1
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
        others = _SHARE * torch.sinh(shift.clamp(-12, 12)) if self.traces else shift
        return explicit * torch.sigmoid(ratio + 2) + mean * others

    def _told(self, explicit: Change) -> Float[Tensor, "cell told"]:
        mean = explicit.abs().mean(1, keepdim=True)
        size, direction = (mean + _SMALLEST).log(), explicit / (mean + _NOTHING)
        return torch.cat([measured(explicit, self.resolution), direction, size], 1)


def measured(change: Float[Tensor, "cell reactive"], resolution: float) -> Change:
    """asinh(Δz / ε): as it is where small, its logarithm where large."""
    return torch.asinh(change / resolution)
