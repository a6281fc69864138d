"""A learned step of chemistry conserves, is accurate where it was trained, and says where."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from sciml.chemistry import DirectIntegration, load_mechanism
from sciml.chemistry.network import StepNetwork
from sciml.chemistry.surrogate import ReactionStep
from sciml.kernels.mixture.thermodynamics import element_fractions, enthalpy

cantera = pytest.importorskip("cantera", reason="Cantera is not installed")

ATMOSPHERE = 101325.0
SOLVER = DirectIntegration(mechanism="h2o2.yaml")
DT = 1e-6


@pytest.fixture(scope="module")
def surrogate(surrogate_folder: Path) -> ReactionStep:
    return ReactionStep.load(surrogate_folder)


def fields(ds: xr.Dataset) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    names = ("temperature", "pressure", "mass_fraction")
    return tuple(np.ascontiguousarray(ds[name].values) for name in names)


def unburnt(ratio: float = 1.0) -> np.ndarray:
    return SOLVER.mixture(fuel="H2", oxidizer="O2:1, N2:3.76", equivalence_ratio=ratio)


def test_steps_along_an_unseen_ignition_are_near_direct_integration(
    surrogate: ReactionStep,
) -> None:
    way = SOLVER.trajectory(1250.0, 1.5 * ATMOSPHERE, unburnt(), duration=2e-4, every=DT)
    T, p, Y = (np.ascontiguousarray(x[:-1]) for x in way[1:])
    found = surrogate.advance(T, p, Y, DT)
    error = abs(found.temperature - way.temperature[1:])
    change = abs(np.diff(way.temperature))
    assert found.trusted.mean() > 0.98
    assert error.sum() < 0.15 * change.sum()
    # a network that learned nothing, or a constant state, is wrong by the change itself
    assert error.max() < 0.5 * change.max()


def test_elements_mass_and_enthalpy_stay_through_many_steps(surrogate: ReactionStep) -> None:
    mechanism = surrogate.options.mechanism
    T, p = np.array([1150.0, 1380.0]), np.array([1.2, 1.9]) * ATMOSPHERE
    Y = np.stack([unburnt(0.7), unburnt(1.3)])
    before = [torch.from_numpy(x.copy()) for x in (T, Y)]
    for _ in range(400):
        surrogate.advance(T, p, Y, DT, out=(T, Y))
    after = torch.from_numpy(T), torch.from_numpy(Y)
    assert (Y >= 0).all() and abs(Y.sum(1) - 1).max() < 1e-12
    one, other = (element_fractions(mechanism, x[1]) for x in (before, after))
    torch.testing.assert_close(other, one, rtol=1e-12, atol=1e-30)
    h = [enthalpy(mechanism, *x) for x in (before, after)]
    torch.testing.assert_close(h[1], h[0], rtol=0, atol=1e-10 * 3e6)
    inert = [mechanism.names.index(name) for name in ("AR", "N2")]
    np.testing.assert_array_equal(Y[:, inert], before[1].numpy()[:, inert])


def test_results_go_where_they_are_wanted_and_inputs_stay(surrogate: ReactionStep) -> None:
    T, p, Y = np.full(5, 1200.0), np.full(5, ATMOSPHERE), np.tile(unburnt(), (5, 1))
    kept = Y.copy()
    out = np.empty_like(T), np.empty_like(Y)
    found = surrogate.advance(T, p, Y, DT, out=out)
    assert found.temperature is out[0] and found.mass_fractions is out[1]
    np.testing.assert_array_equal(Y, kept)
    surrogate.advance(T, p, Y, DT, out=(T, Y))
    np.testing.assert_array_equal(T, out[0])
    np.testing.assert_array_equal(Y, out[1])


def test_threads_do_not_disturb_each_other(
    surrogate: ReactionStep, hydrogen_states: xr.Dataset
) -> None:
    parts = [fields(hydrogen_states.isel(sample=slice(k, None, 4))) for k in range(4)]
    alone = [surrogate.advance(*part, DT).mass_fractions for part in parts]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda part: surrogate.advance(*part, DT).mass_fractions, parts))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_prediction_is_labelled_and_is_what_a_solver_gets(
    surrogate: ReactionStep, hydrogen_states: xr.Dataset
) -> None:
    some = hydrogen_states.isel(sample=slice(0, 50))
    found = surrogate.predict(some)
    assert found["temperature_after"].attrs["units"] == "K"
    assert found["species"].values.tolist() == list(surrogate.options.mechanism.names)
    step = surrogate.advance(*fields(some), DT)
    np.testing.assert_array_equal(found["temperature_after"], step.temperature)
    np.testing.assert_array_equal(found["trusted"], step.trusted)


def test_the_exported_and_the_eager_network_agree(
    surrogate_folder: Path, hydrogen_states: xr.Dataset
) -> None:
    surrogate = ReactionStep.load(surrogate_folder)
    some = fields(hydrogen_states.isel(sample=slice(0, 40)))
    eager = surrogate.advance(*some, DT)
    surrogate.accelerate("exported")
    np.testing.assert_allclose(surrogate.advance(*some, DT).temperature, eager.temperature, 1e-5)
    surrogate.accelerate("eager")
    np.testing.assert_array_equal(surrogate.advance(*some, DT).temperature, eager.temperature)


def test_the_mean_source_is_what_the_step_made(surrogate: ReactionStep) -> None:
    T, p, Y = np.array([1300.0]), np.array([ATMOSPHERE]), unburnt()[None]
    source = surrogate.net_production_rates(T, p, Y)
    after = surrogate.advance(T, p, Y, DT).mass_fractions
    gas = cantera.Solution("h2o2.yaml")
    gas.TPY = 1300.0, ATMOSPHERE, Y[0]
    np.testing.assert_allclose(
        Y + DT * source * gas.molecular_weights / gas.density, after, rtol=1e-9, atol=1e-16
    )


def test_states_beyond_the_training_are_not_trusted(
    surrogate: ReactionStep, hydrogen_states: xr.Dataset
) -> None:
    T, p, Y = fields(hydrogen_states)
    assert surrogate.advance(T, p, Y, DT).trusted.mean() > 0.99
    assert not surrogate.advance(T, 10 * p, Y, DT).trusted.any()
    kept = T.copy()
    with pytest.raises(ValueError, match=f"{len(T)} of {len(T)} cells lie beyond the states of"):
        surrogate.advance(T, 10 * p, Y, DT, out=(T, Y), untrusted="raise")
    np.testing.assert_array_equal(T, kept)
    assert not surrogate.advance(T, p, Y, 5e-6).trusted.any()
    lean = np.tile(unburnt(0.2), (3, 1))
    assert not surrogate.advance(np.full(3, 1200.0), np.full(3, ATMOSPHERE), lean, DT).trusted.any()
    diluted = 0.8 * unburnt()
    diluted[surrogate.options.mechanism.names.index("AR")] = 0.2
    one = np.array([1200.0]), np.array([ATMOSPHERE]), diluted[None]
    assert not surrogate.advance(*one, DT).trusted.any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"T": -5.0}, "the temperature of cell 1 is -5 K; give a positive number"),
        ({"T": np.nan}, "the temperature of cell 1 is nan K"),
        ({"p": 0.0}, "the pressure of cell 1 is 0 Pa"),
        ({"Y": 1.1}, "the mass fractions of cell 1 sum to 1.1; they must sum to 1 within 0.001"),
        ({"dt": -1e-6}, "the time step of cell 0 is -1e-06 s"),
        ({"OH": -1e-4}, "the mass fraction of OH in cell 1 is -0.0001; it must not be negative"),
    ],
)
def test_numbers_that_are_no_state_are_refused_and_nothing_is_written(
    surrogate: ReactionStep, change: dict[str, float], message: str
) -> None:
    T, p, Y = np.full(3, 1200.0), np.full(3, ATMOSPHERE), np.tile(unburnt(), (3, 1))
    T[1], p[1] = change.get("T", T[1]), change.get("p", p[1])
    Y[1] *= change.get("Y", 1.0)
    Y[1, surrogate.options.mechanism.names.index("OH")] += change.get("OH", 0.0)
    before = T.copy(), Y.copy()
    with pytest.raises(ValueError, match=message):
        surrogate.advance(T, p, Y, change.get("dt", DT), out=(T, Y))
    np.testing.assert_array_equal(T, before[0])
    np.testing.assert_array_equal(Y, before[1])


def test_other_species_and_another_mechanism_are_refused_by_name(
    surrogate: ReactionStep, hydrogen_states: xr.Dataset
) -> None:
    names = list(surrogate.options.mechanism.names)
    surrogate.require(species=names)
    with pytest.raises(ValueError, match="species CH4 are not in the mechanism"):
        surrogate.require(species=[*names[:-1], "CH4"])
    with pytest.raises(ValueError, match="species N2 are missing"):
        surrogate.require(species=names[:-1])
    with pytest.raises(ValueError, match="species 0 is H, expected H2: give the species in the"):
        surrogate.require(species=[names[1], names[0], *names[2:]])
    with pytest.raises(ValueError, match=r"the mechanism gri30.yaml .* is not the one of the tra"):
        surrogate.require(mechanism=load_mechanism("gri30.yaml"))
    with pytest.raises(ValueError, match="says mechanism_checksum='another'"):
        surrogate.predict(hydrogen_states.assign_attrs(mechanism_checksum="another"))
    with pytest.raises(ValueError, match="says constant='volume'"):
        surrogate.predict(hydrogen_states.assign_attrs(constant="volume"))
    turned = hydrogen_states.isel(species=slice(None, None, -1))
    with pytest.raises(ValueError, match="species 0 is N2, expected H2"):
        surrogate.predict(turned)
    with pytest.raises(ValueError, match=r"mass fractions \(3, 9\) were given; expected"):
        surrogate.advance(np.full(3, 1e3), np.full(3, 1e5), np.full((3, 9), 1 / 9), DT)


def test_nothing_changes_where_the_explicit_step_changes_nothing(
    rng: np.random.Generator,
) -> None:
    net = StepNetwork(8, 4, hidden=(16,))
    state = torch.from_numpy(rng.standard_normal((20, 11))).float()
    assert float(net(state, torch.zeros(20, 8)).detach().abs().max()) == 0.0


def test_clusters_in_which_it_is_wrong_are_doubted(
    surrogate_folder: Path, hydrogen_states: xr.Dataset
) -> None:
    surrogate = ReactionStep.load(surrogate_folder)
    before = surrogate.advance(*fields(hydrogen_states), DT)
    surrogate.doubt(hydrogen_states, share=0.2)
    after = surrogate.advance(*fields(hydrogen_states), DT)
    doubted = before.trusted & ~after.trusted
    assert 0.05 < doubted.mean() <= 0.2
    error = abs(after.temperature - hydrogen_states["temperature_after"].values)
    assert error[doubted].mean() > 2 * error[~doubted].mean()
