"""The score of The Closure Challenge."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sciml.rans import load_flow
from sciml.rans.challenge import challenge_score

pytest.importorskip("closure_challenge", reason="closure-challenge is not installed")

RECORDED = {"AR_1_Ret_360": 0.129, "AR_3_Ret_360": 0.124, "alpha_15_13929_4048": 0.132}
"""Scores of the k-omega SST fields, as they are told with the data."""


@pytest.mark.parametrize("name", RECORDED)
def test_the_fields_of_the_data_score_as_recorded(
    name: str, reference: Callable[[str], Path]
) -> None:
    reference(f"rans/{name}")
    flow = load_flow(name)
    position = flow["position"].values
    assert challenge_score(name, position, flow["velocity"].values) == pytest.approx(
        RECORDED[name], abs=5e-4
    )
    assert challenge_score(name, position, flow["velocity_reference"].values) < 1e-6


def test_what_cannot_be_scored_is_refused() -> None:
    place = np.zeros((4, 3))
    with pytest.raises(ValueError, match="no flow 'hill'"):
        challenge_score("hill", place, place)
    with pytest.raises(ValueError, match="not finite"):
        challenge_score("AR_1_Ret_360", place, place + np.nan)
    with pytest.raises(ValueError, match="from the nearest cell"):
        challenge_score("AR_1_Ret_360", place + np.arange(4)[:, None], place)
