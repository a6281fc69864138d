"""Measured ignition delays beside a mechanism."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sciml.chemistry import DirectIntegration, load_mechanism
from sciml.chemistry.measurements import measured_delays, mixtures, simulated_delays, stepped_delays

pytest.importorskip("cantera", reason="Cantera is not installed")

ATMOSPHERE = 101325.0


def test_the_mechanism_is_near_what_shock_tubes_measure(reference: Callable[[str], Path]) -> None:
    reference("chemistry/ignition_delays")
    solver = DirectIntegration(mechanism="h2o2.yaml")
    found = measured_delays(
        "Hydrogen", load_mechanism("h2o2.yaml"), pressure=(ATMOSPHERE, 3 * ATMOSPHERE)
    )
    assert found.sizes["sample"] > 150
    assert float(found["temperature"].min()) > 1150
    Y = mixtures(solver, found)
    np.testing.assert_allclose(Y.sum(1), 1, rtol=1e-12)
    some = found.isel(sample=slice(0, None, 12))
    ratio = simulated_delays(solver, some) / some["ignition_delay"].values
    assert 0.8 < np.nanmedian(ratio) < 1.6
    one = some.isel(sample=[0])
    steps = max(one["ignition_delay"].item() / 50, 1e-7)
    delay, trusted = stepped_delays(solver, solver, one, time_step=steps)
    at_volume = simulated_delays(solver, one)
    assert delay[0] == pytest.approx(at_volume[0], rel=0.3)
    assert trusted[0] == pytest.approx(1.0)
