"""Samples of many shapes: labelled, reproducible, and honest about failures."""

from __future__ import annotations

import numpy as np
import pytest

from sciml.data import SampleFailure, generate, load
from sciml.flow import GivenShapes, Ranges, Shape, ShapeSamples, SolverOptions, Tunnel
from sciml.flow.shapes import rectangle

TUNNEL = Tunnel(cells=32, solver=SolverOptions(levels=2))
TASK = ShapeSamples(
    families=("circle", "rectangle"),
    ranges=Ranges(reynolds_number=(5.0, 10.0), x=(0.1, 0.7)),  # some stand in the inlet
    tunnel=TUNNEL,
)
SEED, COUNT = 4, 8


def rng_of(index: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence([SEED, index]))


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    path = tmp_path_factory.mktemp("flows") / "flows.nc"
    return load(generate(TASK, COUNT, path, seed=SEED, progress=False))


def test_numbers_keep_their_units_in_the_file(stored):
    text = {"family", "shape", "sample_index", "sample", "failure_index", "failure_reason"}
    for name in set(stored.variables) - text:
        assert stored[name].attrs["units"], name
    assert stored["velocity"].dims == ("sample", "component", "y", "x")
    assert stored["velocity"].shape[1:] == (2, 32, 64)


def test_numbers_are_drawn_from_their_ranges(stored):
    assert ((stored["reynolds_number"] >= 5) & (stored["reynolds_number"] <= 10)).all()
    assert ((stored["diameter"] >= 0.18 - 1e-9) & (stored["diameter"] <= 0.32 + 1e-9)).all()


def test_family_goes_round_with_the_number_of_the_sample(stored):
    expected = [TASK.families[i % 2] for i in stored["sample_index"].values]
    assert stored["family"].values.tolist() == expected


def test_failures_are_kept_apart_with_their_reasons(stored):
    failed, made = stored["failure_index"].values, stored["sample_index"].values
    assert failed.size and made.size
    assert sorted([*failed, *made]) == list(range(COUNT))
    reasons = stored["failure_reason"].values.tolist()
    assert any("reaches the left of the domain" in reason for reason in reasons)
    for index, reason in zip(failed, reasons, strict=True):
        with pytest.raises(SampleFailure) as failure:
            TASK(int(index), rng_of(int(index)))
        assert failure.value.reason == reason


def test_a_sample_does_not_depend_on_those_before_it(stored):
    last = int(stored["sample_index"].values[-1])
    alone = TASK(last, rng_of(last))
    for name in ("velocity", "pressure", "force", "signed_distance"):
        np.testing.assert_array_equal(alone[name].values, stored[name].isel(sample=-1).values)


def test_outline_in_the_file_makes_the_signed_distance_again(stored):
    first = stored.isel(sample=0)
    again = TUNNEL.grid.signed_distance(Shape.from_json(str(first["shape"].values)))
    np.testing.assert_array_equal(again.astype(np.float32), first["signed_distance"].values)


def test_given_shapes_are_scaled_and_placed():
    body = rectangle(30.0, 40.0).translate(100.0, -7.0)
    ranges = Ranges(diameter=(0.25, 0.25), x=(0.6, 0.6), y=(0.45, 0.45))
    task = GivenShapes(shapes=(body.to_json(),), ranges=ranges, tunnel=TUNNEL)
    sample = task(0, np.random.default_rng(0))
    assert float(sample["diameter"]) == pytest.approx(0.25)
    solid = sample["signed_distance"] <= 0
    assert float(solid.x.where(solid).mean()) == pytest.approx(0.6, abs=1 / 64)
    assert float(solid.y.where(solid).mean()) == pytest.approx(0.45, abs=1 / 64)
    assert float(solid.sum()) / 32**2 == pytest.approx(0.15 * 0.2, rel=0.15)


def test_a_flow_that_is_not_steady_is_a_failure():
    impatient = Tunnel(cells=32, solver=SolverOptions(levels=1, patience=1.0))
    task = ShapeSamples(families=("circle",), tunnel=impatient)
    with pytest.raises(SampleFailure, match="still changing"):
        task(0, np.random.default_rng(0))
