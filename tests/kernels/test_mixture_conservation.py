"""The nearest composition with given elements: exact, positive, and differentiable."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sciml.chemistry import load_mechanism
from sciml.kernels.kinetics import Mechanism
from sciml.kernels.mixture.conservation import conserve_elements, reactive_species

pytest.importorskip("cantera", reason="Cantera is not installed")


@pytest.fixture(scope="module", params=["h2o2.yaml", "gri30.yaml"])
def mechanism(request: pytest.FixtureRequest) -> Mechanism:
    return load_mechanism(request.param)


def compositions(mechanism: Mechanism, count: int, rng: np.random.Generator) -> torch.Tensor:
    return torch.from_numpy(rng.dirichlet(np.ones(len(mechanism.species)), count))


def elements(mechanism: Mechanism, Y: torch.Tensor) -> torch.Tensor:
    moles = Y / torch.from_numpy(mechanism.molecular_weights)
    return moles @ torch.from_numpy(mechanism.composition).T


def test_elements_and_mass_are_those_of_the_other(
    mechanism: Mechanism, rng: np.random.Generator
) -> None:
    like, guess = compositions(mechanism, 100, rng), compositions(mechanism, 100, rng)
    found = conserve_elements(mechanism, guess, like)
    assert bool((found > 0).all())
    torch.testing.assert_close(
        elements(mechanism, found), elements(mechanism, like), rtol=1e-13, atol=0
    )
    torch.testing.assert_close(found.sum(1), torch.ones(100).double(), rtol=0, atol=1e-13)
    inert = ~reactive_species(mechanism)
    torch.testing.assert_close(found[:, inert], like[:, inert], rtol=0, atol=0)


def test_it_is_the_nearest_composition(mechanism: Mechanism, rng: np.random.Generator) -> None:
    """ln(Y/Y₀) is a sum over the atoms of a species, which is what makes the entropy least."""
    like, guess = compositions(mechanism, 20, rng), compositions(mechanism, 20, rng)
    found = conserve_elements(mechanism, guess, like)
    moving = reactive_species(mechanism)
    moved = (found / guess).log().numpy()[:, moving].T
    atoms = mechanism.composition[:, moving].T
    multipliers, *_ = np.linalg.lstsq(atoms, moved, rcond=None)
    np.testing.assert_allclose(atoms @ multipliers, moved, rtol=0, atol=1e-9)


def test_what_fits_stays(mechanism: Mechanism, rng: np.random.Generator) -> None:
    like = compositions(mechanism, 20, rng)
    torch.testing.assert_close(conserve_elements(mechanism, like, like), like, rtol=1e-12, atol=0)


def test_gradients_are_those_of_the_solution(rng: np.random.Generator) -> None:
    mechanism = load_mechanism("h2o2.yaml")
    like, guess = compositions(mechanism, 2, rng), compositions(mechanism, 2, rng)
    leaves = (guess.requires_grad_(), like.requires_grad_())
    assert torch.autograd.gradcheck(
        lambda *pair: conserve_elements(mechanism, *pair), leaves, eps=1e-6, atol=1e-5, rtol=1e-4
    )


def test_species_of_an_element_that_is_not_there_vanish(rng: np.random.Generator) -> None:
    mechanism = load_mechanism("gri30.yaml")
    air = torch.zeros(1, len(mechanism.species), dtype=torch.float64)
    for name, value in (("O2", 0.23), ("N2", 0.77)):
        air[:, mechanism.names.index(name)] = value
    found = conserve_elements(mechanism, compositions(mechanism, 1, rng), air)
    torch.testing.assert_close(elements(mechanism, found), elements(mechanism, air))
    hydrogen = mechanism.elements.index("H")
    carbon = mechanism.elements.index("C")
    with_them = (mechanism.composition[[hydrogen, carbon]] > 0).any(0)
    assert float(found[:, with_them].abs().max()) == 0.0


def test_elements_that_nothing_holds_are_refused() -> None:
    mechanism = load_mechanism("h2o2.yaml")
    guess, like = torch.zeros(2, 1, 10, dtype=torch.float64)
    guess[:, mechanism.names.index("O2")] = 1.0
    like[:, mechanism.names.index("H2O")] = 1.0
    with pytest.raises(ValueError, match="cell 0 has the elements asked for"):
        conserve_elements(mechanism, guess, like)
