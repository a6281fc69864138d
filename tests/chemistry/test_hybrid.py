"""Untrusted cells are integrated directly, some trusted ones are checked, both are learned from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from sciml.chemistry import DirectIntegration
from sciml.chemistry.hybrid import HybridIntegrator
from sciml.chemistry.surrogate import ReactionStep
from sciml.train import TrainOptions

pytest.importorskip("cantera", reason="Cantera is not installed")

ATMOSPHERE = 101325.0
SOLVER = DirectIntegration(mechanism="h2o2.yaml")
DT = 1e-6


@pytest.fixture
def surrogate(surrogate_folder: Path) -> ReactionStep:
    return ReactionStep.load(surrogate_folder)


def cells() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    Y = SOLVER.mixture(fuel="H2", oxidizer="O2:1, N2:3.76", equivalence_ratio=1.0)
    p = np.array([1.5, 9.0, 1.5, 11.0]) * ATMOSPHERE
    return np.full(4, 1250.0), p, np.tile(Y, (4, 1))


def test_what_is_not_trusted_is_integrated_directly(surrogate: ReactionStep) -> None:
    hybrid = HybridIntegrator(surrogate, SOLVER, checks=0.0)
    found = hybrid.advance(*cells(), DT)
    truth = SOLVER.advance(*cells(), np.full(4, DT))
    learned = surrogate.advance(*cells(), DT)
    assert found.trusted.tolist() == [True, False, True, False]
    np.testing.assert_array_equal(found.mass_fractions[1::2], truth.mass_fractions[1::2])
    np.testing.assert_array_equal(found.mass_fractions[::2], learned.mass_fractions[::2])
    assert hybrid.share == 0.5 and hybrid.errors == []
    assert hybrid.queued().sizes["sample"] == 2


def test_checks_measure_the_error_of_trusted_cells(surrogate: ReactionStep) -> None:
    hybrid = HybridIntegrator(surrogate, SOLVER, checks=1.0)
    T, p, Y = cells()
    hybrid.advance(T, p, Y, DT, out=(T, Y))
    learned = surrogate.advance(*cells(), DT).temperature
    truth = SOLVER.advance(*cells(), np.full(4, DT)).temperature
    np.testing.assert_allclose(hybrid.errors, abs(learned - truth)[::2], rtol=1e-12)
    np.testing.assert_array_equal(T, truth)


def test_refit_learns_from_the_queue(surrogate: ReactionStep, hydrogen_states: xr.Dataset) -> None:
    hybrid = HybridIntegrator(surrogate, SOLVER)
    hybrid.advance(*cells(), DT)
    assert surrogate.ranges["pressure"].high < 3 * ATMOSPHERE
    few = hydrogen_states.isel(sample=slice(0, 200))
    hybrid.refit(few, training=TrainOptions(epochs=1, batch_size=64), progress=False)
    assert surrogate.ranges["pressure"].high == pytest.approx(11 * ATMOSPHERE)
    with pytest.raises(ValueError, match="no state was integrated directly so far"):
        hybrid.queued()


def test_another_mechanism_and_constant_volume_are_refused(surrogate: ReactionStep) -> None:
    with pytest.raises(ValueError, match=r"the mechanism gri30\.yaml"):
        HybridIntegrator(surrogate, DirectIntegration(mechanism="gri30.yaml"))
    with pytest.raises(ValueError, match="the solver keeps the volume"):
        HybridIntegrator(surrogate, DirectIntegration(mechanism="h2o2.yaml", constant="volume"))
