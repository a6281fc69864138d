"""The states that a network was trained on, and how far another one lies from them."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.cluster.vq import kmeans2
from scipy.spatial import cKDTree
from torch import Tensor, nn

__all__ = ["Domain"]

_RIDGE = 1e-4
_FOR_CLUSTERS = 20_000
_MEMBERS = 4  # a cluster of fewer states has no radius to speak of
_POINT = 1e-6
_INSIDE = 0.999
_FAR = 1e3

State = Float[Tensor, "cell feature"]


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
        count = min(len(self.centres), -(-len(some) // _MEMBERS))
        centres, _ = kmeans2(some, some[:: -(-len(some) // count)], minit="matrix", missing="warn")
        distance, nearest = cKDTree(centres).query(white.numpy())
        members = [distance[nearest == k] for k in range(len(centres))]
        spread = [np.quantile(own, _INSIDE) if len(own) else 0.0 for own in members]
        radii = np.maximum(spread, max(0.5 * np.median(spread), _POINT))
        self.centres[: len(centres)] = torch.from_numpy(centres)
        self.radii.fill_(_POINT)  # those left over are points, far from everything
        self.centres[len(centres) :] = _FAR
        self.radii[: len(centres)] = torch.from_numpy(radii).float()
