"""A study: who learns from what, what the figures of merit mean, and what is drawn."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from sciml.case import Job, Outcome, Result, cases
from sciml.case.discovery import load_case
from sciml.rans import (
    CHALLENGE_TEST,
    joined,
    linear_eddy_viscosity,
    manufactured_flow,
    random_rotation,
)
from sciml.rans.anisotropy_figures import (
    DUCT_PAIRS,
    PAIRS,
    anisotropy_maps,
    barycentric_map,
    coefficient_figure,
    error_by_distance,
)
from sciml.rans.baselines import Algebraic, BoostedTrees, ComponentClosure
from sciml.rans.study import ClosureStudy, Scale, closure_metrics, flow_errors, rotation_change
from sciml.surrogate import Ensemble

CASES = cases(Path(__file__).parents[2] / "cases")
METRICS = closure_metrics()
PARTS = ("train", "valid", "test")
DEVIATOR = np.diag([1.0, -1.0, 0.0])
CELLS = 80


def flow(name: str) -> xr.Dataset:
    """States of a kind, at random places and of random volumes."""
    kind, part = name.split(", ")
    ds = manufactured_flow(kind, CELLS, seed=PARTS.index(part), strain=(0.3, 5.0))
    rng = np.random.default_rng(PARTS.index(part))
    place = ("cell", "i"), rng.uniform(0, 1, (CELLS, 3)), {"units": "m"}
    volume = "cell", rng.uniform(1, 2, CELLS), {"units": "m3"}
    return ds.assign(position=place, cell_volume=volume).assign_attrs(flow=name)


STUDY = ClosureStudy(
    train=["homogeneous shear, train", "general, train"],
    valid=["general, valid"],
    tests={
        "flows": ["homogeneous shear, test", "general, test"],
        "another": ["axisymmetric strain, test"],
    },
    scales={
        "smoke": Scale(
            cells=60, judged=50, epochs=4, members=2, hidden=(8,), batch=32, iterations=7, turned=3
        )
    },
    groups=(),
    flow=flow,
    smallest_energy=0.0,
)


@pytest.fixture(scope="module")
def job(tmp_path_factory) -> Job:
    folder = tmp_path_factory.mktemp("study")
    return Job(tier="smoke", folder=folder, data=folder, seed=2)


@pytest.fixture(scope="module")
def splits(job):
    return STUDY.read(job)


@pytest.fixture(scope="module")
def outcome(job, splits) -> Outcome:
    """Of an ensemble, a plain network and a closure in closed form."""
    every = STUDY.models()
    models = {name: every[name](job) for name in ("extended tensor basis", "components", "linear")}
    for model in models.values():
        model.fit(splits.train, splits.valid)
    predictions = {
        name: {which: model.predict(ds) for which, ds in splits.tests.items()}
        for name, model in models.items()
    }
    result = Result(case="study", tier="smoke", seed=2, models={}, environment={}, data={})
    return Outcome(
        job=job,
        splits=splits,
        models=models,
        predictions=predictions,
        histories={},
        result=result,
    )


def hand_made(sizes, errors, volumes=None):
    """A truth of zero, and predictions that are off by given multiples of a deviator."""
    count = sum(sizes)
    flows = np.repeat(np.arange(len(sizes)), sizes)
    matrix = ("sample", "i", "j")
    truth = xr.Dataset(
        {
            "anisotropy": (matrix, np.zeros((count, 3, 3))),
            "cell_volume": ("sample", np.ones(count) if volumes is None else np.array(volumes)),
            "flow": ("sample", flows),
        }
    )
    b = np.array(errors)[:, None, None] * DEVIATOR
    return truth, xr.Dataset({"anisotropy": (matrix, b)})


def drawn(figure):
    """It has a caption, and something is seen."""
    page = BytesIO()
    figure.savefig(page, format="png", dpi=50)
    assert len(page.getvalue()) > 2000 and len(figure.get_label()) > 30
    return figure.get_label()


def test_no_flow_is_in_two_parts(splits):
    names = [splits.train.attrs["flows"], splits.valid.attrs["flows"]]
    names += [splits.tests[which].attrs["flows"] for which in STUDY.tests]
    assert len({name for part in names for name in part}) == sum(map(len, names)) == 6
    energies = [splits.train, splits.valid, *(splits.tests[which] for which in STUDY.tests)]
    cells = np.concatenate([ds["turbulent_kinetic_energy"].values for ds in energies])
    assert len(np.unique(cells)) == len(cells)


def test_the_hills_are_judged_on_flows_that_nothing_learned_from():
    if "periodic-hills" not in CASES:
        pytest.skip("there is no such case")
    study = load_case(CASES["periodic-hills"]).load.__self__
    judged = {name for names in study.tests.values() for name in names}
    assert not judged & {*study.train, *study.valid} and not {*study.train} & {*study.valid}
    assert {*CHALLENGE_TEST} <= judged


def test_no_manufactured_state_is_in_two_parts(job):
    if "manufactured-closure" not in CASES:
        pytest.skip("there is no such case")
    splits = load_case(CASES["manufactured-closure"]).load(job)
    parts = [splits.train, splits.valid, splits.test]
    k = np.concatenate([ds["turbulent_kinetic_energy"].values for ds in parts])
    assert len(np.unique(k)) == len(k)


def test_cells_are_drawn_from_the_seed_and_no_more_than_asked_for(job, splits):
    assert np.bincount(splits.train["flow"]).tolist() == [60, 60]
    assert np.bincount(splits.tests["flows"]["flow"]).tolist() == [50, 50]
    again = STUDY.read(job)
    xr.testing.assert_identical(again.train, splits.train)
    xr.testing.assert_identical(again.tests["turned"], splits.tests["turned"])
    other = STUDY.read(Job(tier="smoke", folder=job.folder, data=job.data, seed=3))
    assert not other.train["anisotropy"].equals(splits.train["anisotropy"])


def test_the_turned_flows_are_the_same_in_axes_of_their_own(job, splits):
    here, there = splits.tests["flows"], splits.tests["turned"]
    np.testing.assert_array_equal(here["cell_volume"], there["cell_volume"])
    for place in (0, 1):
        Q = random_rotation(100 * job.seed + place)
        own = here["flow"].values == place
        for name in ("velocity_gradient", "anisotropy"):
            turn = Q @ here[name].values[own] @ Q.T
            np.testing.assert_allclose(there[name].values[own], turn, atol=1e-12)


def test_the_models_are_those_of_the_scale(job):
    models = {name: make(job) for name, make in STUDY.models().items()}
    first = models["extended tensor basis"]
    assert next(iter(models)) == "extended tensor basis"
    assert isinstance(first, Ensemble) and len(first.members) == 2
    assert {member.training.seed for member in first.members} == {2, 3}
    assert models["with covariance"].options.ranks == 3
    assert models["with covariance"].options.hidden == (8,)
    plain, taught = models["components"], models["components, turned"]
    assert isinstance(plain, ComponentClosure) and isinstance(taught, ComponentClosure)
    assert (plain.options.turned, taught.options.turned) == (0, 3)
    copies = 1 + taught.options.turned
    assert plain.training.epochs == copies * taught.training.epochs
    assert isinstance(models["trees"], BoostedTrees) and models["trees"].iterations == 7
    for name in ("linear", "quadratic", "algebraic stress"):
        assert isinstance(models[name], Algebraic)


def test_errors_are_root_mean_squares_over_nine_components_and_a_flow():
    truth, found = hand_made([2, 4], [0.3, 0.0, 0.1, 0.1, 0.1, 0.1], [1.0, 3.0, 1.0, 2.0, 3.0, 4.0])
    first, second = np.sqrt(2 / 9 * np.array([0.09 / 2, 0.01]))
    np.testing.assert_allclose(flow_errors(truth, found), [first, second])
    assert METRICS["anisotropy_error"](truth, found) == pytest.approx((first + second) / 2)
    assert METRICS["anisotropy_error_max"](truth, found) == pytest.approx(first)
    light = np.sqrt(2 / 9 * 0.09 / 4)
    np.testing.assert_allclose(flow_errors(truth, found, weighted=True), [light, second])
    volume = METRICS["anisotropy_error_volume"]
    assert volume(truth, found) == pytest.approx((light + second) / 2)
    assert volume(truth, found) < METRICS["anisotropy_error"](truth, found)


def test_a_known_error_has_its_known_size(rng):
    """Of independent components with a deviation of 0.05."""
    truth, found = hand_made([20_000], np.zeros(20_000))
    noise = 0.05 * rng.standard_normal((20_000, 3, 3))
    assert flow_errors(truth, found + noise)[0] == pytest.approx(0.05, rel=0.01)


def test_a_model_is_held_to_the_cells_it_vouches_for():
    truth, found = hand_made([4], [0.1, 0.1, 0.9, 0.9])
    every = np.sqrt(2 / 9 * (0.01 + 0.81) / 2)
    assert METRICS["vouched_error"](truth, found) == pytest.approx(every)
    assert np.isnan(METRICS["untrusted"](truth, found))
    some = found.assign(trusted=("sample", np.array([1, 1, 0, 1], dtype=np.int8)))
    kept = np.sqrt(2 / 9 * (0.01 + 0.01 + 0.81) / 3)
    assert METRICS["vouched_error"](truth, some) == pytest.approx(kept)
    assert METRICS["untrusted"](truth, some) == 0.25
    none = found.assign(trusted=("sample", np.zeros(4, dtype=np.int8)))
    assert METRICS["vouched_error"](truth, none) == 0
    assert METRICS["untrusted"](truth, none) == 1


def test_the_linear_closure_is_the_measure_of_the_worst_flow(splits):
    truth = splits.tests["flows"]
    linear = Algebraic(linear_eddy_viscosity).predict(truth)
    assert METRICS["linear_ratio"](truth, linear) == pytest.approx(1)
    share = xr.where(truth["flow"] == 0, 0.2, 0.7)
    nearer = truth[["anisotropy"]] + share * (linear - truth[["anisotropy"]])
    assert METRICS["linear_ratio"](truth, nearer) == pytest.approx(0.7)


def test_what_no_turbulence_has_is_counted():
    truth, found = hand_made([5], [0.0, 0.2, 1 / 3 - 1e-9, 0.34, 2.0])
    assert METRICS["unrealizable"](truth, found) == pytest.approx(2 / 5)


def test_the_interval_that_a_gaussian_was_drawn_from_holds_its_share(rng):
    """Errors drawn from the covariances that are claimed: 90 % lie inside, four deviations wide."""
    count = 4000
    factor = 0.05 * np.tril(rng.standard_normal((count, 5, 5)))
    diagonal = np.arange(5)
    factor[:, diagonal, diagonal] = 0.01 + abs(factor[:, diagonal, diagonal])
    free = (factor @ rng.standard_normal((count, 5, 1)))[..., 0]
    basis = np.zeros((5, 3, 3))
    basis[0], basis[1] = np.diag([1, -1, 0]) / 2**0.5, np.diag([1, 1, -2]) / 6**0.5
    for place, (i, j) in enumerate([(0, 1), (0, 2), (1, 2)], start=2):
        basis[place, i, j] = basis[place, j, i] = 0.5**0.5
    truth, found = hand_made([count], np.zeros(count))
    truth["anisotropy"] = truth["anisotropy"] + np.einsum("cx,xij->cij", free, basis)
    claimed = ("sample", "component", "direction")
    coverage = METRICS["coverage"]
    deviation = 4 * np.sqrt(0.9 * 0.1 / count)
    right = found.assign(anisotropy_factor=(claimed, factor))
    assert coverage(truth, right) == pytest.approx(0.9, abs=deviation)
    rash = found.assign(anisotropy_factor=(claimed, factor / 3))
    shy = found.assign(anisotropy_factor=(claimed, 3 * factor))
    assert coverage(truth, rash) < 0.5 < 0.99 < coverage(truth, shy)
    assert np.isnan(coverage(truth, found))


def test_the_coverage_of_an_ensemble_counts_components(rng):
    truth, found = hand_made([300], np.zeros(300))
    b = rng.standard_normal((300, 3, 3))
    truth["anisotropy"] = truth["anisotropy"] + b
    within = found.assign(anisotropy_interval=xr.full_like(found["anisotropy"], 1.2))
    assert METRICS["coverage"](truth, within) == pytest.approx((abs(b) <= 1.2).mean())


def test_every_metric_has_a_unit_and_a_sentence():
    assert all(metric.unit == "1" and len(metric.description) > 20 for metric in METRICS.values())


@pytest.mark.filterwarnings("ignore::sciml.surrogate.OutsideRangeWarning")
def test_only_components_change_when_the_axes_turn(outcome, splits):
    change = rotation_change("flows")
    found = {name: change(model, splits) for name, model in outcome.models.items()}
    assert found["extended tensor basis"] < 1e-6 and found["linear"] < 1e-12
    assert found["components"] > 1e-5


def test_tables_say_flow_by_flow_what_each_model_reached(outcome, splits):
    tables = STUDY.tables(outcome)
    assert set(tables) == {"by flow", "turned", "labels"}
    table = tables["by flow"]
    assert list(table.columns) == ["model", *STUDY.tests["flows"]]
    rows = {row[0]: row[1:] for row in table.rows}
    assert set(rows) == {"b of the simulation", *outcome.models}
    truth = splits.tests["flows"]
    b, flows = truth["anisotropy"].values, truth["flow"].values
    size = [np.sqrt((b[flows == place] ** 2).mean()) for place in (0, 1)]
    np.testing.assert_allclose(rows["b of the simulation"], size)
    state = ("velocity_gradient", "turbulent_kinetic_energy", "dissipation_rate")
    wrong = linear_eddy_viscosity(*(truth[name].values for name in state)) - b
    error = [np.sqrt((wrong[flows == place] ** 2).mean()) for place in (0, 1)]
    np.testing.assert_allclose(rows["linear"], error)
    np.testing.assert_allclose({r[0]: r[1:] for r in tables["turned"].rows}["linear"], error)


def test_labels_are_counted_flow_by_flow():
    """One bad label of each kind in a flow of its own."""

    def spoilt(name: str) -> xr.Dataset:
        ds = flow(name)
        if name == "general, test":
            ds["reynolds_stress"].values[0] = np.nan
            ds["anisotropy"].values[1] = DEVIATOR
        return ds

    study = ClosureStudy(
        train=["general, train"],
        valid=["general, valid"],
        tests={"flows": ["general, test"]},
        scales=STUDY.scales,
        flow=spoilt,
        smallest_energy=0.0,
    )
    rows = {
        row[0]: dict(zip(study.labels().columns, row, strict=True)) for row in study.labels().rows
    }
    assert rows["general, train"]["kept"] == rows["general, train"]["cells"] == CELLS
    bad = rows["general, test"]
    assert (bad["cells"], bad["kept"]) == (CELLS, CELLS - 2)
    assert bad["not finite"] == bad["b not realizable"] == 1


def test_a_study_draws_its_figures(outcome):
    figures = STUDY.figures(
        outcome,
        "general, test",
        shown=("extended tensor basis", "linear"),
        axes=(1, 2),
        pairs=DUCT_PAIRS,
        far=["another"],
    )
    assert set(figures) == {"anisotropy", "barycentric", "distance"}
    captions = {name: drawn(figure) for name, figure in figures.items()}
    assert "general, test" in captions["anisotropy"] and "general, test" in captions["barycentric"]


@pytest.fixture(scope="module")
def one_flow():
    ds = joined([flow("general, test")]).assign_attrs(flow="general, test")
    return ds, ds.assign(anisotropy=0.5 * ds["anisotropy"])


def test_maps_show_components_on_one_scale(one_flow):
    truth, half = one_flow
    figure = anisotropy_maps(truth, {"half": half}, axes=(0, 2))
    drawn(figure)
    panels = np.array(figure.axes[: 2 * len(PAIRS)]).reshape(2, len(PAIRS))
    for (i, j), (above, below) in zip(PAIRS.values(), panels.T, strict=True):
        points = [panel.collections[0] for panel in (above, below)]
        assert points[0].get_clim() == points[1].get_clim()
        assert points[0].get_clim()[0] == -points[0].get_clim()[1]
        for shown, ds in zip(points, (truth, half), strict=True):
            np.testing.assert_allclose(shown.get_array(), ds["anisotropy"].values[:, i, j])
            places = truth["position"].values[:, [0, 2]]
            np.testing.assert_allclose(shown.get_offsets(), places)
    assert [panel.get_ylabel() for panel in panels[:, 0]] == ["simulation", "half"]


def test_the_triangle_holds_what_is_realizable(one_flow):
    truth, half = one_flow
    figure = barycentric_map(truth, {"half": half})
    drawn(figure)
    height = []
    for panel in figure.axes:
        x, y = panel.lines[1].get_data()
        assert len(x) == CELLS and (y > -1e-9).all()
        assert (y < np.sqrt(3) * np.minimum(x, 1 - x) + 1e-9).all()
        height.append(y.mean())
    assert height[1] > height[0]  # nearer to turbulence of three components


def test_errors_are_drawn_against_distances(rng):
    distance = {"near": rng.uniform(0.1, 1, 400), "far": rng.uniform(1, 100, 400)}
    errors = {name: 0.01 * values for name, values in distance.items()}
    figure = error_by_distance(distance, errors)
    assert "distance" in drawn(figure)
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == ["end of the trusted states", "near", "far"]
    middle, level = figure.axes[0].lines[2].get_data()
    np.testing.assert_allclose(level, 0.01 * middle, rtol=0.3)


def test_coefficients_are_drawn_over_the_strain(rng):
    strain, known = rng.uniform(0.1, 10, 50), rng.standard_normal((50, 10))
    figure = coefficient_figure(strain, known, known + 0.1, shown=(0, 3))
    drawn(figure)
    for panel, basis in zip(figure.axes, (0, 3), strict=True):
        x, y = panel.lines[0].get_data()
        np.testing.assert_array_equal(x, np.sort(strain))
        np.testing.assert_array_equal(y, known[np.argsort(strain), basis])
        np.testing.assert_allclose(panel.lines[1].get_ydata(), y + 0.1)
        assert f"tensor {basis + 1}" in panel.get_title()
