"""Exact signed distance from points to closed polygons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float64

__all__ = ["Backend", "edges_of", "signed_distance"]

Backend = Literal["auto", "reference", "cpu"]
Rings = Sequence[Float64[np.ndarray, "_ 2"]]


def signed_distance(
    shapes: Sequence[Rings],
    points: Float64[np.ndarray, "*points 2"],
    *,
    backend: Backend = "auto",
) -> Float64[np.ndarray, " shapes *points"]:
    r"""Euclidean distance to the outline of each shape, negative inside the body.

    With :math:`\partial\Omega` the union of all edges of a shape and :math:`w(p)` the winding
    number of its rings about the point :math:`p`,

    .. math:: d(p) = \pm \min_{q \in \partial\Omega} \lVert p - q \rVert,
       \qquad d(p) < 0 \iff w(p) \neq 0.

    Outlines run counter-clockwise and holes clockwise. Several rings of one shape make a union
    as long as they do not cross: an edge that lies inside another ring still counts as wall.

    Args:
        shapes: the shapes, each a sequence of closed rings of vertices [m]; the last vertex of a
            ring is joined to its first.
        points: p, where the distance is wanted [m].
        backend: ``"reference"`` is the definition in torch, ``"cpu"`` the compiled one, which
            ``"auto"`` takes.

    Returns:
        The distance [m], one field for each shape; positive in the fluid.

    Raises:
        ValueError: for no shape, a ring of fewer than three points, a coordinate that is not
            finite, or an unknown backend.

    Example:
        >>> square = np.array([[0.0, 0.0], [2.0, 0.0], [2.0, 2.0], [0.0, 2.0]])
        >>> signed_distance([[square]], np.array([[1.0, 1.0], [1.0, 1.5], [5.0, 6.0]]))
        array([[-1. , -0.5,  5. ]])
    """
    if backend not in get_args(Backend):
        raise ValueError(f"backend is one of {', '.join(get_args(Backend))}, not {backend!r}.")
    if len(shapes) == 0:
        raise ValueError("signed_distance was given no shape; it needs at least one.")
    if not np.isfinite(points).all():
        raise ValueError("signed_distance was given points that are not finite.")
    edges = [edges_of(rings) for rings in shapes]
    rows = np.ascontiguousarray(points).reshape(-1, points.shape[-2] if points.ndim > 1 else 1, 2)
    distances = _reference(edges, rows) if backend == "reference" else _cpu(edges, rows)
    return distances.reshape(len(edges), *points.shape[:-1])


def edges_of(rings: Rings) -> Float64[np.ndarray, "edges 4"]:
    """The edges (x₀, y₀, x₁, y₁) of closed rings, one after the other.

    Example:
        >>> edges_of([np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])])
        array([[0., 0., 1., 0.],
               [1., 0., 0., 1.],
               [0., 1., 0., 0.]])
    """
    if len(rings) == 0:
        raise ValueError("A shape without a ring has no distance; give it at least one.")
    for number, ring in enumerate(rings):
        if len(ring) < 3:
            raise ValueError(f"Ring {number} has {len(ring)} points; a closed ring needs three.")
        if not np.isfinite(ring).all():
            row = int(np.argmin(np.isfinite(ring).all(axis=1)))
            raise ValueError(f"Ring {number} is not finite at point {row}: {ring[row].tolist()}.")
    return np.concatenate([np.hstack([ring, np.roll(ring, -1, axis=0)]) for ring in rings])


def _cpu(
    edges: Sequence[Float64[np.ndarray, "_ 4"]], points: Float64[np.ndarray, "rows columns 2"]
) -> Float64[np.ndarray, "shapes rows columns"]:
    from sciml.kernels.signed_distance import cpu

    starts = np.cumsum([0, *(len(e) for e in edges)], dtype=np.int64)
    return cpu.signed_distance(np.concatenate(edges), starts, points)


def _reference(
    edges: Sequence[Float64[np.ndarray, "_ 4"]], points: Float64[np.ndarray, "rows columns 2"]
) -> Float64[np.ndarray, "shapes points"]:
    import torch

    from sciml.kernels.signed_distance import reference

    flat = torch.from_numpy(points.reshape(-1, 2))
    return np.stack([reference.signed_distance(torch.from_numpy(e), flat).numpy() for e in edges])
