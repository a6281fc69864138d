from __future__ import annotations

import numpy as np
import pytest
import torch

from sciml.rans import (
    check_states,
    gatski_speziale,
    linear_eddy_viscosity,
    quadratic_eddy_viscosity,
    wallin_johansson,
)

CLOSURES = (linear_eddy_viscosity, quadratic_eddy_viscosity, wallin_johansson, gatski_speziale)


@pytest.fixture
def states(rng):
    """Sound ones, of ten cells."""
    G = rng.standard_normal((10, 3, 3))
    G -= np.trace(G, axis1=1, axis2=2)[:, None, None] * np.eye(3) / 3
    return {
        "velocity_gradient": G,
        "turbulent_kinetic_energy": rng.uniform(0.5, 2, 10),
        "dissipation_rate": rng.uniform(0.5, 2, 10),
    }


def test_sound_states_come_back_in_float64(states):
    given = {name: torch.from_numpy(array).float() for name, array in states.items()}
    for found, array in zip(check_states(**given), states.values(), strict=True):
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, array, rtol=1e-6)


@pytest.mark.parametrize("closure", CLOSURES)
@pytest.mark.parametrize(
    ("name", "cell", "value", "sentence"),
    [
        (
            "velocity_gradient",
            (3, 0, 1),
            np.nan,
            "velocity_gradient is not finite in 1 of 10 .* 3;",
        ),
        ("velocity_gradient", (4, 2, 2), 9.0, r"velocity_gradient has a trace.* in 1 of 10 .* 4 "),
        ("turbulent_kinetic_energy", 5, 0.0, r"energy is not positive in 1 of 10 .* cell 5 \(0\)"),
        ("turbulent_kinetic_energy", 6, np.inf, r"energy is not finite in 1 of 10 .* cell 6"),
        ("dissipation_rate", slice(7, 9), -2.0, r"rate is not positive in 2 of 10 .* 7 \(-2\)"),
        ("dissipation_rate", 8, np.nan, r"dissipation_rate is not finite in 1 of 10 .* cell 8"),
    ],
)
def test_bad_states_are_refused_with_their_number_and_the_first(
    states, closure, name, cell, value, sentence
):
    states[name][cell] = value
    with pytest.raises(ValueError, match=sentence):
        closure(**states)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("velocity_gradient", (10, 9)),
        ("velocity_gradient", (10, 2, 2)),
        ("turbulent_kinetic_energy", (10, 1)),
        ("dissipation_rate", (9,)),
    ],
)
def test_wrong_shapes_are_refused(states, name, shape):
    states[name] = np.ones(shape)
    with pytest.raises(ValueError, match=rf"{name} has the shape \({shape[0]},"):
        linear_eddy_viscosity(**states)


def test_the_trace_is_measured_against_the_rates_of_the_cell(states):
    """What counts is what it adds to the normalised strain."""
    states["velocity_gradient"] *= 1e-9
    states["velocity_gradient"][:, 0, 0] += 1e-3
    check_states(**states)
    states["turbulent_kinetic_energy"][:] = 1e3
    with pytest.raises(ValueError, match="in 10 of 10 cells, first in cell 0"):
        check_states(**states)
    check_states(**states, tolerance=np.inf)


def test_a_coefficient_of_the_wrong_shape_is_refused(states):
    with pytest.raises(ValueError, match=r"c_mu has the shape \(9,\); .* each of 10"):
        linear_eddy_viscosity(**states, c_mu=np.full(9, 0.09))
