"""The frame of a learned step: both forms agree, and what must be conserved is."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sciml.chemistry import DirectIntegration, load_mechanism
from sciml.kernels.kinetics import Mechanism
from sciml.kernels.mixture import close_step, explicit_step
from sciml.kernels.mixture.conservation import reactive_species
from sciml.kernels.mixture.step import boxcox
from sciml.kernels.mixture.thermodynamics import element_fractions, enthalpy

pytest.importorskip("cantera", reason="Cantera is not installed")

ATMOSPHERE = 101325.0


@pytest.fixture(scope="module", params=["h2o2.yaml", "gri30.yaml"])
def mechanism(request: pytest.FixtureRequest) -> Mechanism:
    return load_mechanism(request.param)


def states(
    mechanism: Mechanism, count: int, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    species = len(mechanism.species)
    Y = rng.dirichlet(np.full(species, 0.3), count)
    T, p = rng.uniform(1000, 2500, count), ATMOSPHERE * rng.uniform(0.5, 5, count)
    dt = 10 ** rng.uniform(-8, -6, count)
    return tuple(torch.from_numpy(x) for x in (T, p, Y, dt))


@pytest.mark.parametrize("exponent", [0.0, 0.1])
def test_both_forms_agree(mechanism: Mechanism, exponent: float, rng: np.random.Generator) -> None:
    T, p, Y, dt = states(mechanism, 150, rng)
    explicit = [
        explicit_step(mechanism, T, p, Y, dt, exponent=exponent, backend=form)
        for form in ("reference", "cpu")
    ]
    for one, other in zip(*explicit, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
    z = explicit[0][0]
    moved = z + 0.05 * torch.from_numpy(rng.standard_normal(z.shape))
    one, other = (
        close_step(mechanism, T, Y, moved, exponent=exponent, backend=form)
        for form in ("reference", "cpu")
    )
    torch.testing.assert_close(one[0], other[0], rtol=1e-11, atol=0)
    torch.testing.assert_close(one[1], other[1], rtol=1e-9, atol=1e-25)
    assert not one[2].any() and not other[2].any()


def test_elements_enthalpy_and_inert_species_are_kept(
    mechanism: Mechanism, rng: np.random.Generator
) -> None:
    T, _, Y, _ = states(mechanism, 300, rng)
    moving = torch.from_numpy(reactive_species(mechanism))
    z = boxcox(Y[:, moving], 0.1)
    after, found, failed = close_step(
        mechanism, T, Y, z + 0.02 * torch.from_numpy(rng.standard_normal(z.shape))
    )
    assert not failed.any() and bool((found >= 0).all())
    one, other = (element_fractions(mechanism, x) for x in (Y, found))
    torch.testing.assert_close(other, one, rtol=3e-14, atol=1e-30)
    torch.testing.assert_close(found.sum(1), Y.sum(1), rtol=0, atol=1e-14)
    torch.testing.assert_close(found[:, ~moving], Y[:, ~moving], rtol=0, atol=0)
    heat = enthalpy(mechanism, T, Y)
    scale = 1e3 * T  # cp is about a thousand
    assert bool(((enthalpy(mechanism, after, found) - heat).abs() <= 1e-12 * scale).all())


def test_what_cannot_be_is_left_as_it_was() -> None:
    """A step to where no hydrogen is left has no such composition."""
    mechanism = load_mechanism("h2o2.yaml")
    solver = DirectIntegration(mechanism="h2o2.yaml")
    Y = solver.mixture(fuel="H2", oxidizer="O2:1, N2:3.76", equivalence_ratio=1.0)
    Y = torch.from_numpy(np.tile(Y, (3, 1)))
    T = torch.full((3,), 1200.0, dtype=torch.float64)
    reactive = int(reactive_species(mechanism).sum())
    z = boxcox(Y[:, torch.from_numpy(reactive_species(mechanism))], 0.1)
    z[1] = torch.full((reactive,), torch.nan, dtype=torch.float64)
    for form in ("reference", "cpu"):
        after, found, failed = close_step(mechanism, T, Y, z, backend=form)
        assert failed.tolist() == [False, True, False]
        torch.testing.assert_close(found[1], Y[1], rtol=0, atol=0)
        torch.testing.assert_close(after, T, rtol=1e-12, atol=0)


def test_the_explicit_step_is_exact_for_slow_chemistry_and_zero_at_equilibrium() -> None:
    mechanism, solver = load_mechanism("h2o2.yaml"), DirectIntegration(mechanism="h2o2.yaml")
    fresh = solver.mixture(fuel="H2", oxidizer="O2:1, N2:3.76", equivalence_ratio=0.8)
    T, p, Y = solver.equilibrium(1300.0, ATMOSPHERE, fresh)
    fields = [torch.tensor([x], dtype=torch.float64) for x in (T, p)]
    steps = torch.tensor([1e-6], dtype=torch.float64)
    _, change = explicit_step(mechanism, *fields, torch.from_numpy(Y)[None], steps)
    assert float(change.abs().max()) < 1e-6

    way = solver.trajectory(1300.0, ATMOSPHERE, fresh, duration=1.5e-5)
    now = [torch.from_numpy(x[-1:].copy()) for x in way[1:]]
    errors = []
    for dt in (2e-8, 1e-8):
        z, change = explicit_step(mechanism, *now, torch.tensor([dt], dtype=torch.float64))
        after = solver.advance(*(x.numpy() for x in now), np.array([dt])).mass_fractions
        moving = torch.from_numpy(reactive_species(mechanism))
        errors.append(float((boxcox(torch.from_numpy(after)[:, moving], 0.1) - z - change).norm()))
    assert errors[0] / errors[1] == pytest.approx(4.0, rel=0.15)  # of second order in one step
