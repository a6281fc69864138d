"""Perturbed and mixed states are physical, and labelled states are what they say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sciml.chemistry import (
    DirectIntegration,
    IgnitionStates,
    States,
    along,
    load_mechanism,
    mix,
    perturb,
    provenance,
    states_of,
)
from sciml.chemistry.generation import KINDS
from sciml.data import generate, load
from sciml.kernels.kinetics import Mechanism
from sciml.kernels.mixture.thermodynamics import enthalpy

cantera = pytest.importorskip("cantera", reason="Cantera is not installed")

SOLVER = DirectIntegration(mechanism="h2o2.yaml")
TASK = IgnitionStates(
    solver=SOLVER,
    fuel="H2",
    temperature=(1050.0, 1500.0),
    pressure=(1e5, 3e5),
    equivalence_ratio=(0.5, 1.5),
    along=20,
    near=30,
    mixed=20,
)


@pytest.fixture(scope="module")
def mechanism() -> Mechanism:
    return load_mechanism("h2o2.yaml")


@pytest.fixture(scope="module")
def ignition() -> States:
    Y = SOLVER.mixture(fuel="H2", oxidizer="O2:1, N2:3.76", equivalence_ratio=1.0)
    return States(*SOLVER.trajectory(1200.0, 1e5, Y, duration=1e-3)[1:])


def moles_of_elements(mechanism: Mechanism, Y: np.ndarray) -> np.ndarray:
    return (Y / mechanism.molecular_weights) @ mechanism.composition.T


def test_states_along_a_trajectory_are_some_of_it_in_their_order(ignition: States) -> None:
    found = along(ignition, 50)
    place = [int(np.flatnonzero(ignition.temperature == T)[0]) for T in found.temperature]
    assert place == sorted(place) and place[0] == 0 and place[-1] >= len(ignition.temperature) - 50
    before = found.temperature < 1250
    assert 10 <= before.sum() <= 40  # radicals grow long before it is hot


def test_perturbed_states_keep_their_elements_and_stay_physical(
    ignition: States, mechanism: Mechanism, rng: np.random.Generator
) -> None:
    states = along(ignition, 200)
    found = perturb(states, mechanism, rng)
    Y = found.mass_fractions
    assert Y.min() >= 0
    np.testing.assert_allclose(Y.sum(1), 1, rtol=0, atol=1e-13)
    np.testing.assert_allclose(
        moles_of_elements(mechanism, Y),
        moles_of_elements(mechanism, states.mass_fractions),
        rtol=1e-12,
        atol=1e-18,
    )
    strength = np.abs(np.log(found.temperature / states.temperature))
    assert 1e-4 < np.median(strength) < 0.03 < 5 * strength.max()
    inert = mechanism.names.index("N2")
    np.testing.assert_allclose(Y[:, inert], states.mass_fractions[:, inert], rtol=1e-12)


def test_mixtures_keep_enthalpy_and_elements_between_their_partners(
    ignition: States, mechanism: Mechanism, rng: np.random.Generator
) -> None:
    pairs = rng.integers(len(ignition.temperature), size=(100, 2))
    found = mix(ignition, mechanism, rng, partners=pairs)

    def h(states: States) -> np.ndarray:
        T, Y = (torch.from_numpy(np.ascontiguousarray(a)) for a in states[::2])
        return enthalpy(mechanism, T, Y).numpy()

    partners = h(ignition)[pairs]
    assert np.all(h(found) >= partners.min(1) - 1.0) and np.all(h(found) <= partners.max(1) + 1.0)
    np.testing.assert_allclose(
        moles_of_elements(mechanism, found.mass_fractions),
        moles_of_elements(mechanism, ignition.mass_fractions[pairs[:, 0]]),
        rtol=1e-7,
        atol=1e-18,
    )
    np.testing.assert_allclose(found.pressure, 1e5, rtol=1e-12)


def test_labelled_states_are_stored_by_ignition_and_lead_where_cantera_leads(
    tmp_path: Path, mechanism: Mechanism
) -> None:
    path = generate(TASK, 3, tmp_path / "states.nc", seed=1, attributes=provenance(SOLVER))
    ds = load(path)
    assert ds.attrs["mechanism_checksum"] == mechanism.checksum
    assert ds.attrs["constant"] == "pressure"
    rows = states_of(ds)
    assert rows.sizes == {"sample": 3 * 70, "species": 10} and rows.attrs["failed_states"] == 0
    assert np.bincount(rows["group"]).tolist() == [70, 70, 70]
    assert np.bincount(rows["kind"]).tolist() == [60, 90, 60] and len(KINDS) == 3
    assert rows["temperature_after"].attrs["units"] == "K"

    gas = cantera.Solution("h2o2.yaml", transport_model=None)
    for sample in (5, 100, 200):
        row = rows.isel(sample=sample)
        gas.TPY = float(row["temperature"]), float(row["pressure"]), row["mass_fraction"].values
        reactor = cantera.IdealGasConstPressureReactor(gas, clone=False)
        net = cantera.ReactorNet([reactor])
        net.rtol, net.atol = 1e-11, 1e-18
        net.advance(float(row["time_step"]))
        assert float(row["temperature_after"]) == pytest.approx(gas.T, abs=1e-3)
        np.testing.assert_allclose(row["mass_fraction_after"], gas.Y, rtol=0, atol=1e-7)


def test_an_ignition_that_takes_too_long_is_counted_not_kept(tmp_path: Path) -> None:
    cold = IgnitionStates(
        solver=SOLVER,
        fuel="H2",
        temperature=(700.0, 1500.0),
        pressure=(1e5, 1e5),
        equivalence_ratio=(1.0, 1.0),
        longest=1e-3,
        along=4,
        near=0,
        mixed=0,
    )
    ds = load(generate(cold, 6, tmp_path / "states.nc", seed=3))
    assert ds.sizes["sample"] + ds.sizes["failure"] == 6
    assert set(ds["failure_reason"].values) == {"no equilibrium in 0.001 s"}
