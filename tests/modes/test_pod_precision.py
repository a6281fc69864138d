"""How small a singular value each way resolves, and what it costs in memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import xarray as xr

from sciml.modes.gram import weighted_gram
from sciml.modes.pod import FLOORS, Pod, PodOptions, PrecisionWarning
from sciml.modes.qr import tall_skinny_qr


def snapshots(rng, kind: str = "f8", count: int = 40, points: int = 3000, floor: float = 1e-12):
    """Rows with singular values from 1 down to `floor`, and these."""
    left = np.linalg.qr(rng.normal(size=(count, count)))[0]
    right = np.linalg.qr(rng.normal(size=(points, count)))[0]
    values = np.geomspace(1, floor, count)
    return ((left * values) @ right.T).astype(kind), values


def labelled(rows: np.ndarray) -> xr.Dataset:
    return xr.Dataset({"velocity": (("time", "cell"), rows)})


@pytest.mark.parametrize("method", ["gram", "qr"])
@pytest.mark.parametrize("device", [None, "cpu"])
def test_each_way_resolves_down_to_its_floor(rng, method, device):
    rows, wanted = snapshots(rng)
    options = PodOptions(rank=40, mean="none", method=method, device=device)
    with pytest.warns(PrecisionWarning, match="does not resolve|are rounding"):
        found = Pod(options).fit(labelled(rows))["singular_value"].values
    resolved = wanted > 3 * FLOORS[method]
    np.testing.assert_allclose(found[resolved], wanted[resolved], rtol=0.1)


def test_twenty_leading_values_of_single_precision_are_those_of_double(rng):
    rows, _ = snapshots(rng, "f4", floor=1e-3)
    wanted = np.linalg.svd(rows.astype(float) - rows.mean(0, dtype=float), compute_uv=False)
    found = Pod(PodOptions(rank=20)).fit(labelled(rows))["singular_value"]
    np.testing.assert_allclose(found, wanted[:20], rtol=1e-7)


def test_a_large_mean_costs_no_digits(rng):
    rows, _ = snapshots(rng, floor=1e-3)
    rows = np.round(2**20 * rows)  # so that the sum with the mean is exact
    plain = weighted_gram(rows)
    found = weighted_gram(rows + 2.0**40)
    np.testing.assert_allclose(found, plain, rtol=0, atol=1e-8 * plain.max())


def test_triangle_is_the_root_of_the_gram_matrix(rng):
    rows, weights = rng.normal(size=(7, 900)), rng.uniform(0, 2, 900)
    R = tall_skinny_qr(rows, weights)
    np.testing.assert_array_equal(R, np.triu(R))
    np.testing.assert_allclose(R.T @ R, weighted_gram(rows, weights), atol=1e-9)
    centred = (rows - rows.mean(0)) * np.sqrt(weights)
    np.testing.assert_allclose(weighted_gram(rows, weights), centred @ centred.T, atol=1e-10)


@pytest.mark.parametrize("method", ["gram", "qr"])
def test_memory_beyond_the_data_is_less_than_half_of_it(rng, method):
    rows = rng.standard_normal((60, 200_000), dtype=np.float32)
    mask = rng.uniform(size=200_000) < 0.9
    ds = labelled(rows).assign(mask=("cell", mask))
    tracemalloc.start()
    pod = Pod(PodOptions(rank=3, method=method))
    pod.fit(ds)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 0.5 * rows.nbytes


@pytest.mark.gpu
@pytest.mark.parametrize("method", ["gram", "qr"])
def test_a_graphics_card_finds_the_same(rng, method):
    rows, _ = snapshots(rng, floor=1e-4)
    wanted = Pod(PodOptions(rank=10, method=method)).fit(labelled(rows))
    found = Pod(PodOptions(rank=10, method=method, device="cuda")).fit(labelled(rows))
    xr.testing.assert_allclose(found, wanted, rtol=1e-8)


def test_a_device_that_is_not_there_is_refused(rng):
    with pytest.raises(ValueError, match="torch cannot use the device 'cuda:99'"):
        Pod(PodOptions(rank=1, device="cuda:99")).fit(labelled(rng.normal(size=(3, 5))))
