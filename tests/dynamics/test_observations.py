"""What is seen: the share that is asked for, noise of the size that is asked for."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from sciml.dynamics.observations import add_noise, hide, irregular_times, observe_components, show


@pytest.fixture
def calm() -> xr.Dataset:
    return xr.Dataset(
        {"state": (("sample", "time", "component"), np.zeros((40, 150, 3)), {"units": "1"})},
        coords={"component": ["x", "y", "z"], "time": np.arange(150) * 0.01},
    )


def test_each_component_shows_so_many_values_at_times_of_its_own(calm: xr.Dataset) -> None:
    mask = show(calm, count=18, seed=3)["mask"]
    assert (mask.sum("time") == 18).all()
    x, y = mask.sel(component="x"), mask.sel(component="y")
    both = float((x * y).sum("time").mean())
    assert both == pytest.approx(18 * 18 / 150, rel=0.4)
    # All times are as likely: a binomial of 120 draws with p = 0.12 has a deviation of 3.6.
    assert abs(mask.sum(("sample", "component")) - 120 * 0.12).max() < 6 * 3.6
    assert show(calm, count=18, seed=3)["mask"].equals(mask)
    assert not show(calm, count=18, seed=4)["mask"].equals(mask)
    with pytest.raises(ValueError, match="count=151 of 150 times"):
        show(calm, count=151)


def test_noise_has_the_size_of_each_component(calm: xr.Dataset) -> None:
    noisy = add_noise(calm, standard_deviation=[1.0, 2.0, 0.0], seed=1)
    found = noisy["state"].std(("sample", "time"))
    np.testing.assert_allclose(found, [1.0, 2.0, 0.0], rtol=0.05)
    np.testing.assert_array_equal(noisy["noise_standard_deviation"], [1.0, 2.0, 0.0])
    with pytest.raises(ValueError, match="one of standard_deviation, variance and ratio"):
        add_noise(calm, standard_deviation=1.0, ratio=0.1, seed=1)


def test_what_is_hidden_stays_hidden(calm: xr.Dataset) -> None:
    seen = show(hide(calm, every=2), count=150)
    assert float(seen["state"].isnull().mean()) == pytest.approx(0.5)
    assert observe_components(calm, ["z"])["component"].values.tolist() == ["z"]
    times = irregular_times(5, 100, mean_step=0.1, spread=0.9, seed=2)
    assert (np.diff(times, axis=1) > 0).all() and times[:, -1] == pytest.approx(9.9, rel=0.2)
