"""Flows on meshes of their own side by side, each with its own method."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from sciml.modes.collection import Collection, apart, together
from sciml.modes.pod import Pod, PodOptions


def flows(rng) -> dict[str, xr.Dataset]:
    t = np.arange(12.0)
    line = xr.Dataset({"u": (("time", "x"), rng.normal(size=(12, 5)))}, {"time": t})
    plane = xr.Dataset({"u": (("time", "y", "x"), rng.normal(size=(12, 4, 3)))}, {"time": 2 * t})
    return {"line": line, "plane": plane.assign(mask=(("y", "x"), rng.random((4, 3)) > 0.2))}


def test_apart_is_the_inverse_of_together(rng):
    given = flows(rng)
    found = apart(together(given))
    assert set(found) == set(given)
    for name, ds in given.items():
        xr.testing.assert_identical(found[name], ds)


def test_each_flow_has_its_own_modes(rng, tmp_path):
    given = flows(rng)
    both = together(given)
    model = Collection(lambda name: Pod(PodOptions(rank=3)))
    model.fit(both)
    found = apart(model.predict(both))
    for name, ds in given.items():
        pod = Pod(PodOptions(rank=3))
        pod.fit(ds)
        xr.testing.assert_allclose(found[name]["u"], pod.reconstruct(ds)["u"])
    model.save(tmp_path)
    again = Collection.load(tmp_path).predict(both)
    xr.testing.assert_allclose(
        again["u@plane"],
        found["plane"]["u"].rename({key: f"{key}@plane" for key in ("time", "y", "x")}),
    )
    with pytest.raises(FileNotFoundError, match="no collection was saved"):
        Collection.load(tmp_path / "plane" / "none")


def test_a_collection_may_leave_flows_out(rng):
    both = together(flows(rng))
    model = Collection(lambda name: Pod(PodOptions(rank=3)), ("line",))
    model.fit(both)
    assert list(apart(model.predict(both))) == ["line"]
