"""The score of The Closure Challenge: how far a mean velocity is from that of the simulation."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.spatial import cKDTree

from sciml.data import Unavailable

__all__ = ["challenge_score"]

_NEAR = 1e-5
"""Distance of a point from a cell's centre over the extent of the flow, at most."""


def challenge_score(
    flow: str,
    position: Float[np.ndarray, "cell 3"],
    velocity: Float[np.ndarray, "cell 3"],
) -> float:
    """Mean of |U - U_ref| over the mean of |U_ref|, at the points of the challenge.

    The points are centres of cells of the reference mesh, and the velocity of each is that of its
    cell. Cells crowd at walls, and so do the points: the score weighs the profile near them.

    Args:
        flow: a test flow of the challenge, such as `AR_1_Ret_360`.
        position: centres of the cells, m.
        velocity: mean velocity there, m/s.

    Raises:
        ValueError: the challenge has no such flow, a velocity is not finite, or its points are not
            among the cells.
        Unavailable: the package `closure-challenge` is not installed.
    """
    try:
        import closure_challenge
        from closure_challenge.eval import evaluate_individual_case
    except ModuleNotFoundError as error:
        raise Unavailable(
            "the scores need the package closure-challenge: install sciml-cfd[rans]"
        ) from error
    names = closure_challenge.case_names()
    if flow not in names:
        raise ValueError(f"the challenge has no flow {flow!r}, only {', '.join(names)}")
    if not np.isfinite(velocity).all():
        raise ValueError(f"the velocity in {flow} is not finite everywhere; give a converged flow")
    points = np.asarray(closure_challenge.evaluation_points(flow))
    distance, nearest = cKDTree(position).query(points)
    if distance.max() > _NEAR * np.ptp(position, axis=0).max():
        raise ValueError(
            f"a point of {flow} lies {distance.max():.2g} m from the nearest cell; give the cells "
            "of the reference mesh"
        )
    return float(evaluate_individual_case(flow, velocity[nearest]))
