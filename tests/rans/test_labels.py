from __future__ import annotations

import numpy as np
import pytest

from sciml.rans import clean, load_flow, manufactured_flow


@pytest.fixture
def flow():
    return manufactured_flow("general", 50, seed=3)


def spoil(flow, cell, stress):
    """Give a cell another Reynolds stress."""
    twice = np.trace(stress)
    flow["reynolds_stress"][cell] = stress
    flow["anisotropy"][cell] = stress / twice - np.eye(3) / 3


def test_sound_labels_stay(flow):
    kept, report = clean(flow)
    assert kept.identical(flow)
    assert str(report) == "general: 50 of 50 cells kept; no faults"


def test_each_fault_is_found_and_counted(flow):
    spoil(flow, 4, np.diag([1.0, 1.0, -0.01]))
    spoil(flow, 9, np.array([[1.0, 0.9, 0.0], [0.9, 0.5, 0.0], [0.0, 0.0, 1.0]]))
    spoil(flow, 11, flow["reynolds_stress"].values[11] * 1e-6)
    flow["reynolds_stress"][20, 0, 1] = np.nan
    flow["velocity_gradient"][21, 0, 1] = np.inf
    flow["anisotropy"][30, 2, 2] += 0.01
    kept, report = clean(flow)
    assert report.faults == {
        "not finite": 2,
        "small k": 1,
        "negative normal stress": 1,
        "b with a trace": 1,
        "b not realizable": 2,
    }
    assert (report.cells, report.kept, kept.sizes["cell"]) == (50, 44, 44)
    assert str(report).startswith("general: 44 of 50 cells kept; not finite 2, small k 1, negative")
    dropped = np.delete(np.arange(50), [4, 9, 11, 20, 21, 30])
    assert kept.identical(flow.isel(cell=dropped))


def test_the_tolerance_lets_small_faults_pass(flow):
    spoil(flow, 4, np.diag([1.0, 1.0, 0.0]) - 1e-4 * np.diag([0.0, 0.0, 1.0]))
    flow["reynolds_stress"][4, 2, 2] = 0.0
    assert clean(flow)[1].faults["b not realizable"] == 1
    assert clean(flow, tolerance=1e-3)[1].kept == 50


def test_no_labels_and_no_cells_are_refused(flow):
    with pytest.raises(ValueError, match="anisotropy is missing"):
        clean(flow.drop_vars("anisotropy"))
    with pytest.raises(ValueError, match="no label can be used: general: 0 of 50"):
        clean(flow.assign(velocity_gradient=flow["velocity_gradient"] * np.nan))


def test_faults_that_the_data_are_known_for(reference):
    """Interpolation left negative normal stresses next to the walls of the hills."""
    reference("rans/alpha_15_13929_4048")
    kept, report = clean(load_flow("alpha_15_13929_4048"))
    assert (report.cells, report.kept) == (15600, 15390)
    assert report.faults["negative normal stress"] == 192
    lost = np.linalg.eigvalsh(kept["anisotropy"].values)[:, 0].min()
    assert lost > -1 / 3 - 1e-6
