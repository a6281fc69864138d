"""Mixtures against Cantera, and the temperature of an enthalpy with its derivatives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sciml.chemistry import load_mechanism
from sciml.kernels.kinetics import Mechanism
from sciml.kernels.mixture.thermodynamics import (
    concentrations,
    density,
    enthalpy,
    heat_capacity,
    mean_molecular_weight,
    temperature_of,
)

cantera = pytest.importorskip("cantera", reason="Cantera is not installed")


@pytest.fixture(scope="module")
def mechanism() -> Mechanism:
    return load_mechanism("gri30.yaml")


@pytest.fixture
def states(mechanism: Mechanism, rng: np.random.Generator) -> tuple[torch.Tensor, ...]:
    T, p = rng.uniform(300, 3000, 60), 10 ** rng.uniform(4, 7, 60)
    Y = rng.dirichlet(np.full(len(mechanism.species), 0.3), 60)
    return torch.from_numpy(T), torch.from_numpy(p), torch.from_numpy(Y)


def test_mixtures_are_those_of_cantera(
    mechanism: Mechanism, states: tuple[torch.Tensor, ...]
) -> None:
    T, p, Y = states
    solved = cantera.SolutionArray(cantera.Solution("gri30.yaml", transport_model=None), len(T))
    solved.TPY = T.numpy(), p.numpy(), Y.numpy()
    close = {"rtol": 1e-12, "atol": 0}
    np.testing.assert_allclose(density(mechanism, *states), solved.density, **close)
    np.testing.assert_allclose(
        mean_molecular_weight(mechanism, Y), solved.mean_molecular_weight, **close
    )
    np.testing.assert_allclose(heat_capacity(mechanism, T, Y), solved.cp_mass, **close)
    np.testing.assert_allclose(
        concentrations(mechanism, *states), solved.concentrations, rtol=1e-12, atol=1e-300
    )
    parts = np.abs(solved.partial_molar_enthalpies).max(1) / solved.mean_molecular_weight
    error = enthalpy(mechanism, T, Y).numpy() - solved.enthalpy_mass
    assert np.all(np.abs(error) <= 1e-12 * parts)


def test_temperature_comes_back_from_the_enthalpy(
    mechanism: Mechanism, states: tuple[torch.Tensor, ...]
) -> None:
    T, _, Y = states
    h = enthalpy(mechanism, T, Y)
    # The two polynomials of a species do not meet exactly.
    torch.testing.assert_close(temperature_of(mechanism, h, Y), T, rtol=1e-6, atol=0)
    found = temperature_of(mechanism, h, Y, guess=T * 1.01)
    torch.testing.assert_close(enthalpy(mechanism, found, Y), h, rtol=1e-9, atol=1e-3)


def test_temperature_has_the_gradients_of_the_solution(
    mechanism: Mechanism, states: tuple[torch.Tensor, ...]
) -> None:
    T, _, Y = (array[:5] for array in states)
    T = T + 50.0 * ((T - 1000).abs() < 20)
    h = enthalpy(mechanism, T, Y)

    def solve(h: torch.Tensor, Y: torch.Tensor) -> torch.Tensor:
        return temperature_of(mechanism, h, Y, guess=T)

    by_h, by_Y = torch.autograd.functional.jacobian(lambda *a: solve(*a).sum(), (h, Y))
    torch.testing.assert_close(by_h, 1 / heat_capacity(mechanism, T, Y))
    step = 1e-6
    for species in (0, 13, 47):
        moved = torch.zeros_like(Y)
        moved[:, species] = step
        slope = (solve(h, Y + moved) - solve(h, Y - moved)) / (2 * step)
        torch.testing.assert_close(by_Y[:, species], slope, rtol=1e-5, atol=1e-3)


def test_enthalpy_out_of_reach_is_refused(mechanism: Mechanism) -> None:
    Y = torch.zeros(2, len(mechanism.species), dtype=torch.float64)
    Y[:, 47] = 1.0
    with pytest.raises(ValueError, match="no temperature was found for the enthalpy of cell 1"):
        temperature_of(mechanism, torch.tensor([0.0, float("nan")], dtype=torch.float64), Y)
