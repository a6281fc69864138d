"""The wake of a cylinder: weighted energies that are known, on a mesh whose cells differ."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from sciml.modes.pod import Pod, PodOptions

SHARES = {2: 0.959, 4: 0.985, 6: 0.999, 8: 1.0}
"""Cumulated energy of the saturated wake; how a pair shares its own depends on the times."""


@pytest.fixture(scope="module")
def wake(reference) -> xr.Dataset:
    """The saturated part of the expansion that the file holds, now and then."""
    with np.load(reference("modes/cylinder_re100_nek")) as stored:
        late = np.flatnonzero(stored["t"] > 100)[::13]
        a, modes, mean = stored["a"][late], stored["modes"], stored["mean"]
        velocity = (a @ modes.reshape(len(modes), -1)).reshape(-1, *mean.shape) + mean
        return xr.Dataset(
            {
                "velocity": (("time", "i", "cell"), velocity),
                "cell_volume": ("cell", stored["mass"].astype(float)),
            },
            coords={"time": stored["t"][late].astype(float)},
        )


def test_energies_are_those_of_the_reference(wake):
    pod = Pod(PodOptions(rank=8))
    result = pod.fit(wake)
    energy = result["energy"].cumsum("mode").values
    assert energy[0] == pytest.approx(0.48, abs=0.01)
    for modes, share in SHARES.items():
        assert energy[modes - 1] == pytest.approx(share, abs=6e-4)
    weighted = result["modes"] * wake["cell_volume"]
    gram = weighted.values.reshape(8, -1) @ result["modes"].values.reshape(8, -1).T
    np.testing.assert_allclose(gram, np.eye(8), atol=1e-4)


def test_without_volumes_the_energies_are_others(wake):
    result = Pod(PodOptions(rank=2)).fit(wake.drop_vars("cell_volume"))
    assert float(result["energy"].sum()) == pytest.approx(0.966, abs=3e-3)
