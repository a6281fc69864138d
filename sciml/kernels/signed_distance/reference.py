"""The definition of the signed distance, every point against every edge, in plain torch."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

__all__ = ["signed_distance"]

CHUNK = 4096  # points at a time, which bounds the memory


def signed_distance(
    edges: Float[Tensor, "edges 4"], points: Float[Tensor, "points 2"]
) -> Float[Tensor, " points"]:
    """Distance to the nearest edge, negative where the winding number is not zero.

    Differentiable with respect to the edges and the points; any device and precision.

    Args:
        edges: start and end (x₀, y₀, x₁, y₁) of every edge of the closed rings [m].
        points: where the distance is wanted [m].

    Example:
        >>> edges = torch.tensor([[0.0, 0.0, 4.0, 0.0], [4.0, 0.0, 0.0, 3.0], [0.0, 3.0, 0.0, 0.0]])
        >>> signed_distance(edges, torch.tensor([[2.0, -1.0], [1.0, 1.0]]))
        tensor([ 1., -1.])
    """
    return torch.cat([_signed_distance(edges, chunk) for chunk in points.split(CHUNK)])


def _signed_distance(
    edges: Float[Tensor, "edges 4"], points: Float[Tensor, "points 2"]
) -> Float[Tensor, " points"]:
    distance = _distance_to_segments(edges, points).amin(dim=1)
    return torch.where(_inside(edges, points), -distance, distance)


def _distance_to_segments(
    edges: Float[Tensor, "edges 4"], points: Float[Tensor, "points 2"]
) -> Float[Tensor, "points edges"]:
    """|p − a − t e|, t = clamp((p − a)·e / e·e, 0, 1)."""
    start, along = edges[:, :2], edges[:, 2:] - edges[:, :2]
    offset = points[:, None] - start
    length2 = along.square().sum(-1).clamp_min(torch.finfo(edges.dtype).tiny)
    t = ((offset * along).sum(-1) / length2).clamp(0, 1)
    return torch.linalg.vector_norm(offset - t[..., None] * along, dim=-1)


def _inside(
    edges: Float[Tensor, "edges 4"], points: Float[Tensor, "points 2"]
) -> Bool[Tensor, " points"]:
    """Whether the rings wind about the point: upward edges to its right less downward ones."""
    x0, y0, x1, y1 = edges.unbind(-1)
    x, y = points[:, None].unbind(-1)
    left = (x1 - x0) * (y - y0) - (y1 - y0) * (x - x0)
    up = (y0 <= y) & (y1 > y) & (left > 0)
    down = (y0 > y) & (y1 <= y) & (left < 0)
    return up.sum(-1) != down.sum(-1)
