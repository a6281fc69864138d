"""What is no motion of the flow is found: noise, and frequencies that were folded back."""

from __future__ import annotations

import numpy as np
import pytest

from sciml.modes.analytic import Wave, travelling_waves, two_oscillations
from sciml.modes.dmd import Dmd, DmdOptions
from sciml.modes.readers import ReadOptions, read_snapshots
from sciml.modes.spurious import check_modes

HARMONIC = (
    Wave(frequency=1.0),
    Wave(frequency=2.0, wavenumber=2, amplitude=0.5),
    Wave(frequency=3.0, wavenumber=3, amplitude=0.2),
)


def dmd(ds, rank):
    model = Dmd(DmdOptions(rank=rank, variables=("velocity",)))
    model.fit(ds)
    return model


def test_modes_of_noise_are_spurious_and_those_of_the_flow_are_not():
    ds = two_oscillations(noise=0.05, steps=400)
    train, unseen = ds.isel(time=slice(0, 200)), ds.isel(time=slice(200, None))
    found = check_modes(dmd(train, 10), unseen)
    real = np.isin(np.abs(found["frequency"]).round(2), [0.15, 0.37])
    np.testing.assert_array_equal(~found["spurious"], real)
    assert real.sum() == 4 and not bool(found["aliased"].any())


def test_a_folded_harmonic_is_suspected_and_then_proved():
    coarse = travelling_waves(HARMONIC, time_step=0.21, steps=120)
    finer = travelling_waves(HARMONIC, time_step=0.03, steps=120)
    model = dmd(coarse, 6)
    suspected = check_modes(model, coarse)
    proved = check_modes(model, coarse, finer=finer)
    folded = np.abs(np.abs(suspected["frequency"]) - (1 / 0.21 - 3)) < 1e-9
    for found in (suspected, proved):
        np.testing.assert_array_equal(found["aliased"], folded)
    assert folded.sum() == 2 and not bool(suspected["spurious"].any())
    np.testing.assert_allclose(np.abs(proved["true_frequency"])[folded], 3, atol=1e-9)
    np.testing.assert_array_equal(suspected["harmonic"], [1, 1, 2, 2, 3, 3])


def test_nothing_is_aliased_that_is_sampled_often_enough():
    ds = travelling_waves(HARMONIC, time_step=0.05)
    found = check_modes(dmd(ds, 6), ds)
    assert not bool(found["aliased"].any()) and not bool(found["spurious"].any())
    assert found.attrs["fundamental"] == pytest.approx(1, abs=1e-9)


def test_a_wake_sampled_ten_times_too_seldom_is_seen_through(reference):
    path = reference("modes/cylinder_re100_grid")
    often = read_snapshots(path, ReadOptions(start=250.0, stop=260.0))
    seldom = read_snapshots(path, ReadOptions(start=100.0, every=10))
    model = Dmd(DmdOptions(rank=8, mean="time"))
    model.fit(seldom)
    found = check_modes(model, seldom, finer=often)
    np.testing.assert_array_equal(found["aliased"], check_modes(model, seldom)["aliased"])
    true = np.sort(np.abs(found["true_frequency"].values))[::2]
    np.testing.assert_allclose(true, [0.1791, 0.3581, 0.5372, 0.7162], atol=2e-3)
    np.testing.assert_array_equal(found["aliased"], np.abs(found["true_frequency"]) > 0.5)


def test_other_time_steps_are_refused():
    ds = travelling_waves(HARMONIC, time_step=0.05)
    model = dmd(ds, 6)
    with pytest.raises(ValueError, match=r"0.1 apart, and those fitted are 0.05"):
        check_modes(model, ds.isel(time=slice(None, None, 2)))
    with pytest.raises(ValueError, match=r"the finer snapshots are 0.05 apart"):
        check_modes(model, ds, finer=ds)
