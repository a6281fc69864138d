"""The network that says what a time step changes, and where it may be asked."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.cluster.vq import kmeans2
from scipy.spatial import cKDTree
from torch import Tensor, nn

from sciml.nn import MLP, Standardize
from sciml.nn.activation import Activation

__all__ = ["CONDITIONS", "Domain", "StepNetwork", "measured"]

CONDITIONS = 3
"""T, ln p and ln dt stand before the transformed mass fractions."""

_SMALLEST = 1e-8
_NOTHING = 1e-12
_SHARE = 1e-3
_RIDGE = 1e-4
_FOR_CLUSTERS = 20_000
_INSIDE = 0.999
_FAR = 1e3

State = Float[Tensor, "cell feature"]
Change = Float[Tensor, "cell reactive"]


class Domain(nn.Module):
    r"""The states on which a network was trained: their ranges, and how near the nearest are.

    Whitened features, $C^{-1/2} (x - \mu)$, fall into clusters (k-means), each with the radius that
    all but one of a thousand of its members lie in. The distance of a state is that from the
    nearest centre over its radius, so that it counts what combinations occurred, not only what
    numbers: one is the edge. Whole clusters can be doubted, where the network is seen to be wrong.

    Args:
        features: number of features, of which all have a range.
        clusters: number of clusters.
    """

    low: Tensor
    high: Tensor
    mean: Tensor
    whitening: Tensor
    centres: Tensor
    radii: Tensor
    doubted: Tensor

    def __init__(self, features: int, *, clusters: int = 128) -> None:
        super().__init__()
        for name, fill in (("low", -torch.inf), ("high", torch.inf), ("mean", 0.0)):
            self.register_buffer(name, torch.full((features,), fill))
        self.register_buffer("whitening", torch.eye(features))
        self.register_buffer("centres", torch.zeros(clusters, features))
        self.register_buffer("radii", torch.full((clusters,), torch.inf))
        self.register_buffer("doubted", torch.zeros(clusters, dtype=torch.bool))

    def fit(self, features: State) -> Domain:
        """Take ranges and clusters from training states."""
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
        self.whitening.copy_(directions / roots.sqrt() / spread[:, None])
        self._cluster(self._white(features))
        return self

    def doubt(self, features: State, errors: Float[Tensor, " cell"], share: float) -> None:
        """Doubt the clusters with the largest mean error, up to a share of the states given."""
        _, nearest = self._nearest(features)
        count = torch.bincount(nearest, minlength=len(self.radii))
        total = torch.zeros(len(self.radii), dtype=errors.dtype).index_add(0, nearest, errors)
        order = (total / count.clamp_min(1)).argsort(descending=True)
        self.doubted.zero_()
        self.doubted[order[count[order].cumsum(0) <= share * len(features)]] = True
        self.doubted &= count > 0

    def distance(self, features: State) -> Float[Tensor, " cell"]:
        """How far states lie from the nearest cluster of training states; one is its edge."""
        return self._nearest(features)[0]

    def forward(self, features: State) -> Bool[Tensor, " cell"]:
        """Whether states lie inside."""
        inside = ((features >= self.low) & (features <= self.high)).all(1)
        distance, nearest = self._nearest(features)
        return inside & (distance <= 1) & ~self.doubted[nearest]

    def _nearest(self, features: State) -> tuple[Float[Tensor, " cell"], Int[Tensor, " cell"]]:
        white = self._white(features)
        square = white.square().sum(1, keepdim=True) + self.centres.square().sum(1)
        square = (square - 2 * white @ self.centres.T) / self.radii.square()
        found = square.min(1)
        return found.values.clamp_min(0).sqrt(), found.indices

    def _white(self, features: State) -> State:
        return (features - self.mean) @ self.whitening

    def _cluster(self, white: State) -> None:
        some = white[:: -(-len(white) // _FOR_CLUSTERS)].numpy()
        count = min(len(self.centres), len(some))
        centres, _ = kmeans2(some, some[:: -(-len(some) // count)], minit="matrix", missing="warn")
        distance, nearest = cKDTree(centres).query(white.numpy())
        members = [distance[nearest == k] for k in range(len(centres))]
        radii = [np.quantile(own, _INSIDE) if len(own) else 0.0 for own in members]
        radii = np.maximum(radii, 0.5 * np.median(radii))
        self.centres[: len(centres)] = torch.from_numpy(centres)
        self.radii.fill_(1e-6)  # those left over are points, far from everything
        self.centres[len(centres) :] = _FAR
        self.radii[: len(centres)] = torch.from_numpy(radii).float()


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
