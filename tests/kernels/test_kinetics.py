"""The exponential and the logarithm of the compiled rates against the exact ones."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sciml.kernels.kinetics.vector import exp, log


def test_exponential_is_exact_to_rounding(rng: np.random.Generator) -> None:
    for x in [0.0, -0.0, 1.0, -708.0, 708.0, *rng.uniform(-708, 708, 2000)]:
        assert exp(x) == pytest.approx(math.exp(x), rel=1e-15)


def test_exponential_stays_finite_beyond_its_range() -> None:
    assert exp(1e4) == exp(708.0) and exp(-1e4) == exp(-708.0) > 0


def test_logarithm_is_exact_to_rounding(rng: np.random.Generator) -> None:
    near_one = 1 + rng.uniform(-0.4, 0.4, 1000)
    for x in [1.0, 2.0, 1e-300, 1e300, *10 ** rng.uniform(-300, 300, 1000), *near_one]:
        assert log(x) == pytest.approx(math.log(x), rel=1e-15, abs=1e-16)
    assert log(1.0) == 0.0
