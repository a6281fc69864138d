"""Direct integration: one reactor for all cells, and what it conserves."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sciml.chemistry import DirectIntegration, load_mechanism
from sciml.kernels.mixture.thermodynamics import enthalpy

cantera = pytest.importorskip("cantera", reason="Cantera is not installed")

AIR = "O2:1, N2:3.76"


@pytest.fixture(scope="module")
def solver() -> DirectIntegration:
    return DirectIntegration(mechanism="h2o2.yaml")


def test_a_chain_of_steps_is_the_trajectory(solver: DirectIntegration) -> None:
    Y = solver.mixture(fuel="H2", oxidizer=AIR, equivalence_ratio=0.8)
    path = solver.trajectory(1150.0, 2e5, Y, duration=1.2e-4, every=1e-6)
    T, p, Y, failed = solver.advance(
        path.temperature[:-1], path.pressure[:-1], path.mass_fractions[:-1], np.full(120, 1e-6)
    )
    assert path.temperature[-1] > 2500 and not failed.any()
    np.testing.assert_allclose(T, path.temperature[1:], rtol=0, atol=1e-4)
    np.testing.assert_allclose(Y, path.mass_fractions[1:], rtol=0, atol=1e-8)
    np.testing.assert_allclose(p, 2e5, rtol=1e-12)


def test_cells_do_not_depend_on_those_before_them(solver: DirectIntegration) -> None:
    """The mass of a reactor that is used again would grow with every hot cell."""
    Y = solver.mixture(fuel="H2", oxidizer=AIR, equivalence_ratio=1.0)
    hot = solver.equilibrium(1200.0, 1e5, Y)
    many = 200
    T, p, rows, step = np.full(many, hot[0]), np.full(many, 1e5), np.tile(hot[2], (many, 1)), 1e-6
    T[::2], rows[::2] = 1300.0, Y
    found = solver.advance(T, p, rows, np.full(many, step))
    for cell in (0, 1):
        spread = np.ptp(found.temperature[cell::2])
        assert spread == 0.0
    assert solver._reactor()[1].mass < 10


@pytest.mark.parametrize("constant", ["pressure", "volume"])
def test_energy_and_elements_are_kept(constant: str, rng: np.random.Generator) -> None:
    solver = DirectIntegration(mechanism="h2o2.yaml", constant=constant)
    mechanism = load_mechanism("h2o2.yaml")
    Y = solver.mixture(fuel="H2", oxidizer=AIR, equivalence_ratio=rng.uniform(0.5, 1.5))
    T = rng.uniform(1100, 1400)
    path = solver.trajectory(T, 1e5, Y, duration=1e-3)
    atoms = (path.mass_fractions / mechanism.molecular_weights) @ mechanism.composition.T
    np.testing.assert_allclose(atoms, np.broadcast_to(atoms[0], atoms.shape), rtol=1e-9)
    h = enthalpy(mechanism, *map(torch.from_numpy, (path.temperature, path.mass_fractions))).numpy()
    weights = 1 / (path.mass_fractions / mechanism.molecular_weights).sum(1)
    per_mass = cantera.gas_constant * path.temperature / weights  # p / ρ
    kept = h if constant == "pressure" else h - per_mass
    assert np.ptp(kept) < 1e-6 * 3e6
    end = solver.equilibrium(T, 1e5, Y)
    assert path.temperature[-1] == pytest.approx(end[0], abs=0.5)
    assert path.pressure[-1] == pytest.approx(end[1], rel=1e-3)


def test_moles_and_mass_fractions_agree(solver: DirectIntegration) -> None:
    other = DirectIntegration(mechanism="h2o2.yaml", unknowns="moles", preconditioned=True)
    Y = solver.mixture(fuel="H2", oxidizer=AIR, equivalence_ratio=1.0)
    state = np.array([1250.0]), np.array([1e5]), Y[None], np.array([1e-4])
    np.testing.assert_allclose(
        other.advance(*state).temperature, solver.advance(*state).temperature, atol=1e-2
    )
    with pytest.raises(ValueError, match='give unknowns="moles"'):
        DirectIntegration(mechanism="h2o2.yaml", preconditioned=True)


def test_failed_cells_are_marked_and_the_others_go_on(solver: DirectIntegration) -> None:
    Y = solver.mixture(fuel="H2", oxidizer=AIR, equivalence_ratio=1.0)
    T = np.array([1200.0, float("nan"), 1200.0])
    found = solver.advance(T, np.full(3, 1e5), np.tile(Y, (3, 1)), np.full(3, 1e-6))
    assert found.failed.tolist() == [False, True, False]
    assert np.isnan(found.temperature[1]) and found.temperature[0] == found.temperature[2]
