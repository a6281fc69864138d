"""Roll-outs, the baselines in them, and the states that a surrogate comes to by itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from sciml.chemistry import DirectIntegration, IgnitionStates, load_mechanism
from sciml.chemistry.active import DOUBTS, VisitedStates, step_error, visited
from sciml.chemistry.baselines import ExplicitStep, NearestState
from sciml.chemistry.flame_states import FlameStates
from sciml.chemistry.ignition import IgnitionTests, ignition_delay, one_step, roll_out
from sciml.chemistry.models import Stepper, ignition_metrics
from sciml.chemistry.surrogate import ReactionStep, Stepped

pytest.importorskip("cantera", reason="Cantera is not installed")

ATMOSPHERE = 101325.0
SOLVER = DirectIntegration(mechanism="h2o2.yaml")
CONDITIONS = IgnitionStates(
    solver=SOLVER,
    fuel="H2",
    temperature=(1150.0, 1350.0),
    pressure=(1.1 * ATMOSPHERE, 1.9 * ATMOSPHERE),
    equivalence_ratio=(0.7, 1.3),
)


@pytest.fixture(scope="module")
def tests() -> xr.Dataset:
    task = IgnitionTests(states=CONDITIONS, least=60, settled=2e-5)
    rng = np.random.default_rng(3)
    return xr.concat([task(k, rng) for k in range(3)], "sample")


def test_the_delay_of_a_known_rise_is_found_between_the_times() -> None:
    time = np.arange(200) * 1e-6
    for at in (7.21e-5, 7.5e-5, 7.98e-5):
        rise = 1200 + 1500 / (1 + np.exp(-(time - at) / 4e-6))
        assert ignition_delay(time, rise) == pytest.approx(at, abs=2e-8)


def test_direct_integration_in_steps_repeats_the_truth(tests: xr.Dataset) -> None:
    found = roll_out(SOLVER, tests)
    np.testing.assert_allclose(found["ignition_delay"], tests["ignition_delay"], rtol=1e-3)
    np.testing.assert_allclose(found["temperature_final"], tests["temperature_final"], atol=0.05)
    np.testing.assert_allclose(found["peak"], tests["peak"], rtol=5e-3)
    assert float(found["untrusted"].max()) == 0.0
    assert float(found["mass_drift"].max()) < 1e-10
    assert float(tests["mass_fraction"].sel(species="H").max()) == 0.0  # as it was


def test_metrics_are_of_roll_outs_or_of_steps_and_nan_elsewhere(
    tests: xr.Dataset, hydrogen_states: xr.Dataset
) -> None:
    metrics, model = ignition_metrics(), Stepper(SOLVER)
    assert metrics["delay_error_max"](tests, model.predict(tests)) < 1e-3
    some = hydrogen_states.isel(sample=slice(0, None, 60))
    assert metrics["step_error_near"](some, model.predict(some)) < 1e-4
    assert np.isnan(metrics["delay_error"](some, model.predict(some)))
    assert np.isnan(metrics["step_error_along"](tests, model.predict(tests)))


def test_frozen_rates_are_of_first_order() -> None:
    Y = SOLVER.mixture(fuel="H2", oxidizer="O2:1, N2:3.76", equivalence_ratio=1.0)
    way = SOLVER.trajectory(1300.0, ATMOSPHERE, Y, duration=1e-5)
    start = way.temperature[-1:], way.pressure[-1:], way.mass_fractions[-1:]
    span = 4e-7
    truth = SOLVER.advance(*start, np.array([span])).mass_fractions
    errors = []
    for count in (20, 40):
        T, p, y = start
        for _ in range(count):
            T, p, y, _ = ExplicitStep(load_mechanism("h2o2.yaml")).advance(
                T, p, y, np.array([span / count])
            )
        errors.append(abs(y - truth).max())
    assert errors[0] / errors[1] == pytest.approx(2.0, rel=0.1)


def test_a_table_repeats_what_it_knows(hydrogen_states: xr.Dataset) -> None:
    table = NearestState(load_mechanism("h2o2.yaml")).fit(hydrogen_states)
    some = hydrogen_states.isel(sample=slice(0, None, 50))
    found = one_step(table, some)
    np.testing.assert_allclose(
        found["mass_fraction_after"], some["mass_fraction_after"], rtol=1e-6, atol=1e-12
    )


class Doubting:
    """Trusts its first five steps, and changes nothing."""

    def __init__(self) -> None:
        self.calls = 0

    def advance(self, T: np.ndarray, p: np.ndarray, Y: np.ndarray, dt: np.ndarray) -> Stepped:
        self.calls += 1
        return Stepped(T, p, Y, np.full(len(T), self.calls <= 5))


def test_a_way_ends_where_the_model_has_doubts(rng: np.random.Generator) -> None:
    model = Doubting()
    start = CONDITIONS.unburnt(rng)
    found, steps = visited(model, start, time_step=np.array([1e-6]), steps=100, count=10, rng=rng)
    assert model.calls == 5 + DOUBTS
    assert len(found.temperature) == len(steps) == 10


def test_visited_states_are_labelled_and_the_worst_are_kept(surrogate_folder: Path) -> None:
    task = VisitedStates(
        surrogate=str(surrogate_folder), conditions=CONDITIONS, ignitions=3, steps=60, count=20
    )
    kept, every = (
        VisitedStates(**{**vars(task), "kept": share})(0, np.random.default_rng(1))
        for share in (0.3, 1.0)
    )
    assert (kept.sizes["state"], every.sizes["state"]) == (18, 60)
    surrogate = ReactionStep.load(surrogate_folder)
    errors = [step_error(surrogate, ds.rename(state="sample")) for ds in (kept, every)]
    assert errors[0].min() >= np.sort(errors[1])[-18] * (1 - 1e-6)
    truth = SOLVER.advance(
        *(kept[name].values for name in ("temperature", "pressure", "mass_fraction", "time_step"))
    )
    np.testing.assert_allclose(kept["temperature_after"], truth.temperature, rtol=1e-7)


def test_states_of_a_flame_are_physical_and_off_every_ignition(rng: np.random.Generator) -> None:
    task = FlameStates(
        solver=SOLVER, fuel="H2", equivalence_ratio=(0.9, 1.1), along=40, near=30, mixed=20
    )
    found = task(0, rng)
    Y = found["mass_fraction"].values
    assert (Y >= 0).all() and abs(Y.sum(1) - 1).max() < 1e-9
    assert not found["failed"].any()
    along = found.isel(state=slice(0, 40))
    assert float(along["temperature"].min()) < 310 and float(along["temperature"].max()) > 2000
    # radicals diffuse into gas that is too cold to make any
    cold = along.isel(state=along["temperature"].values < 900)
    assert float(cold["mass_fraction"].sel(species="H").max()) > 1e-6
