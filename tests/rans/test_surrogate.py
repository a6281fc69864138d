"""A closure turns with the axes, learns a known one, and refuses what is no state of a flow."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr

from sciml.kernels.tensor_basis import tensor_basis
from sciml.rans import (
    TensorBasisClosure,
    TensorBasisOptions,
    linear_eddy_viscosity,
    project,
    random_rotation,
    realizability_penalty,
    realizable,
    turbulence_time,
    turned,
)
from sciml.rans.network import traceless
from sciml.rans.surrogate import flow_weights, matrices, squared_error
from sciml.surrogate import OutsideRangeWarning, Surrogate

STATE = ("velocity_gradient", "turbulent_kinetic_energy", "dissipation_rate")
ROWS, COLUMNS = (0, 0, 0, 1, 1, 2), (0, 1, 2, 1, 2, 2)
NAMES = ("closure", "extended")


@pytest.fixture
def some(unseen, fields):
    """Unseen states with every field."""
    return fields(unseen, 5)


@pytest.fixture(params=NAMES)
def fitted(request) -> TensorBasisClosure:
    """Each of the fitted closures."""
    return request.getfixturevalue(request.param)


def arrays(ds, names=STATE):
    return [ds[name].values for name in names]


def further(surrogate, ds):
    return {name: ds[name].values for name in surrogate.variables[len(STATE) :]}


def rms(one, other):
    return float(np.sqrt(((one - other) ** 2).mean()))


def raw(surrogate, ds):
    """b before projection, from the coefficients and the tensors of S T and R T."""
    G, k, epsilon = map(torch.from_numpy, arrays(ds))
    viscosity = {"kinematic_viscosity": torch.from_numpy(ds["kinematic_viscosity"].values)}
    T = turbulence_time(k, epsilon, viscosity, scale=surrogate.options.time_scale)
    _, tensors = tensor_basis(G, T * epsilon, epsilon)
    g = torch.from_numpy(surrogate.coefficients(ds))
    return matrices(torch.einsum("cn,nmc->cm", g, tensors)).numpy()


@pytest.mark.parametrize("sign", [1, -1], ids=["rotation", "reflection"])
@pytest.mark.parametrize("seed", [11, 12])
def test_the_anisotropy_turns_with_the_axes(fitted, some, sign, seed):
    Q = sign * random_rotation(seed)
    here = fitted.predict(some)["anisotropy"].values
    there = fitted.predict(turned(some, Q))["anisotropy"].values
    assert abs(there - here).max() > 0.1
    np.testing.assert_allclose(there, Q @ here @ Q.T, atol=1e-6)


def test_the_order_of_dimensions_does_not_matter(fitted, some):
    """A gradient over (j, i) is not its transpose."""
    other = some.transpose("j", "i", "basis", "sample")
    xr.testing.assert_identical(fitted.predict(other), fitted.predict(some))
    for one, same in zip(fitted.samples(other).fields, fitted.samples(some).fields, strict=True):
        torch.testing.assert_close(one, same, rtol=0, atol=0)


def test_observers_in_motion_find_the_same(fitted, some):
    moving = some.assign(velocity=(("sample", "i"), np.full((some.sizes["sample"], 3), 7.0)))
    xr.testing.assert_identical(fitted.predict(moving), fitted.predict(some))


def test_units_of_length_and_time_do_not_matter(fitted, some):
    length, time = 40.0, 1e-3
    units = {
        "velocity_gradient": 1 / time,
        "turbulent_kinetic_energy": length**2 / time**2,
        "dissipation_rate": length**2 / time**3,
        "wall_distance": length,
        "kinematic_viscosity": length**2 / time,
        "pressure_gradient": length / time**2,
        "turbulent_kinetic_energy_gradient": length / time**2,
    }
    other = some.assign({n: some[n].copy(data=some[n].values * u) for n, u in units.items()})
    here, there = (fitted.predict(ds)["anisotropy"].values for ds in (some, other))
    np.testing.assert_allclose(there, here, atol=1e-6)


def test_anisotropies_are_symmetric_and_traceless(fitted, some):
    b = fitted.predict(some)["anisotropy"].values
    np.testing.assert_array_equal(b, b.transpose(0, 2, 1))
    assert abs(np.trace(b, axis1=1, axis2=2)).max() < 1e-6


@pytest.mark.filterwarnings("ignore::sciml.surrogate.OutsideRangeWarning")
def test_anisotropies_are_realizable_where_that_is_asked_for(extended_folder, some):
    """Also where the network puts out what is not, here six times too much."""
    loud = TensorBasisClosure.load(extended_folder)
    with torch.no_grad():
        for weights in list(loud.network.layers.parameters())[-2:]:
            weights *= 6
    before = torch.from_numpy(raw(loud, some))
    assert 0.1 < realizable(before).double().mean() < 0.9
    b = torch.from_numpy(loud.predict(some)["anisotropy"].values)
    assert realizable(b).all()
    torch.testing.assert_close(b, project(before), rtol=0, atol=1e-5)
    loud.options = replace(loud.options, realizable=False)
    torch.testing.assert_close(
        torch.from_numpy(loud.predict(some)["anisotropy"].values), before, rtol=0, atol=1e-5
    )


def test_unseen_states_of_known_flows_are_closed_well(fitted, some):
    truth = some["anisotropy"].values
    error = rms(fitted.predict(some)["anisotropy"].values, truth)
    assert error < 0.35 * rms(linear_eddy_viscosity(*arrays(some)), truth)
    assert error < 0.25 * rms(0, truth)


def test_coefficients_are_those_of_the_tensors(closure, extended, some):
    np.testing.assert_allclose(raw(closure, some), closure.predict(some)["anisotropy"], atol=2e-6)
    b = raw(extended, some)
    inside = realizable(torch.from_numpy(b), tolerance=0.0).numpy()
    assert inside.mean() > 0.5
    np.testing.assert_allclose(b[inside], extended.predict(some)["anisotropy"][inside], atol=2e-6)


def test_a_reduced_basis_has_no_other_coefficients(train, unseen, training):
    """Ten tensors are three in plane flow, so that three are enough there."""
    plane = {"homogeneous shear", "plane strain", "rotation and strain"}
    own = [place for place, name in enumerate(train.attrs["flows"]) if name in plane]
    options = TensorBasisOptions(basis=(0, 1, 2), hidden=(24,))
    reduced = TensorBasisClosure(options, training=replace(training, batch_size=32))
    known, new = (ds.isel(sample=np.isin(ds["flow"].values, own)) for ds in (train, unseen))
    reduced.fit(known, progress=False)
    g = reduced.coefficients(new)
    assert (g[:, 3:] == 0).all() and (g[:, :3] != 0).all()
    truth = new["anisotropy"].values
    assert rms(reduced.predict(new)["anisotropy"].values, truth) < 0.15 * rms(0, truth)


def test_a_loaded_closure_predicts_the_same_bits(
    closure, extended, extended_folder, some, tmp_path
):
    closure.save(tmp_path / "closure")
    loaded = Surrogate.load(tmp_path / "closure")
    assert isinstance(loaded, TensorBasisClosure) and loaded.options == closure.options
    for one, other in ((closure, loaded), (extended, Surrogate.load(extended_folder))):
        xr.testing.assert_identical(one.predict(some), other.predict(some))
        np.testing.assert_array_equal(one.distance(some), other.distance(some))
        np.testing.assert_array_equal(one.coefficients(some), other.coefficients(some))


def test_a_solver_gets_what_is_predicted(fitted, some):
    found = fitted.predict(some)
    b, trusted = fitted.close(*arrays(some), **further(fitted, some))
    assert b.dtype == np.float64 and b.shape == (some.sizes["sample"], 3, 3)
    np.testing.assert_array_equal(b, found["anisotropy"])
    np.testing.assert_array_equal(trusted, found["trusted"].astype(bool))


def test_cells_are_closed_each_by_itself(fitted, some):
    """In any order and in pieces, to rounding: a solver divides its mesh."""
    b = fitted.close(*arrays(some), **further(fitted, some)).anisotropy
    order = np.random.default_rng(4).permutation(some.sizes["sample"])
    for own in (order, order[:7]):
        part = some.isel(sample=own)
        np.testing.assert_allclose(
            fitted.close(*arrays(part), **further(fitted, part)).anisotropy, b[own], atol=1e-6
        )
    none = some.isel(sample=slice(0, 0))
    assert fitted.close(*arrays(none), **further(fitted, none)).anisotropy.shape == (0, 3, 3)


def test_a_solver_may_give_other_precisions_and_layouts(closure, some):
    """In shear the cube root of |S|² - |R|² makes single precision count."""
    G, k, epsilon = arrays(some)
    b = closure.close(G, k, epsilon).anisotropy
    single = [a.astype(np.float32) for a in (G, k, epsilon)]
    np.testing.assert_allclose(closure.close(*single).anisotropy, b, atol=5e-4)
    strided = np.asfortranarray(G), np.repeat(k, 2)[::2], epsilon.copy()
    strided[2].flags.writeable = False
    np.testing.assert_array_equal(closure.close(*strided).anisotropy, b)


def test_threads_do_not_disturb_each_other(fitted, some):
    parts = [some.isel(sample=slice(place, None, 4)) for place in range(4)]
    calls = [(arrays(part), further(fitted, part)) for part in parts]
    alone = [fitted.close(*given, **others) for given, others in calls]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda call: fitted.close(*call[0], **call[1]), 5 * calls))
    for one, other in zip(5 * alone, together, strict=True):
        np.testing.assert_array_equal(one.anisotropy, other.anisotropy)
        np.testing.assert_array_equal(one.trusted, other.trusted)


@pytest.mark.parametrize(
    ("name", "cell", "value", "sentence"),
    [
        ("velocity_gradient", (3, 0, 1), np.nan, "velocity_gradient is not finite in 1 of .* 3;"),
        ("velocity_gradient", (4, 2, 2), 1e9, r"velocity_gradient has a trace.* in 1 of .* 4 "),
        ("turbulent_kinetic_energy", 5, 0.0, r"energy is not positive in 1 of .* cell 5 \(0\)"),
        ("dissipation_rate", slice(7, 9), -2.0, r"rate is not positive in 2 of .* 7 \(-2\)"),
        ("dissipation_rate", 8, np.inf, "dissipation_rate is not finite in 1 of .* cell 8"),
        ("wall_distance", 2, np.nan, "wall_distance is not finite in 1 of .* cell 2"),
        ("wall_distance", 2, -1.0, r"wall_distance is negative in 1 of .* cell 2 \(-1\)"),
        ("pressure_gradient", (6, 1), np.nan, "pressure_gradient is not finite in 1 of .* cell 6"),
    ],
)
@pytest.mark.filterwarnings("ignore::sciml.surrogate.OutsideRangeWarning")
def test_numbers_that_are_no_state_are_refused_before_any_work(
    extended, some, monkeypatch, name, cell, value, sentence
):
    wrong = some.copy(deep=True)
    wrong[name].values[cell] = value

    def work(*_):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(extended, "evaluate", work)
    with pytest.raises(ValueError, match=sentence):
        extended.close(*arrays(wrong), **further(extended, wrong))
    with pytest.raises(ValueError, match=sentence), np.errstate(all="ignore"):
        extended.predict(wrong)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("velocity_gradient", (10, 9)),
        ("velocity_gradient", (10, 2, 2)),
        ("turbulent_kinetic_energy", (10, 1)),
        ("dissipation_rate", (9,)),
        ("wall_distance", (9,)),
        ("wall_distance", (10, 3)),
        ("pressure_gradient", (10,)),
        ("pressure_gradient", (10, 2)),
        ("turbulent_kinetic_energy_gradient", ()),
    ],
)
def test_wrong_shapes_are_refused_by_name(extended, some, name, shape):
    few = some.isel(sample=slice(0, 10))
    given = {name: few[name].values for name in extended.variables} | {name: np.ones(shape)}
    found = ", ".join(map(str, shape))
    with pytest.raises(ValueError, match=rf"{name} has the shape \({found},?\)"):
        extended.close(**given)


def test_further_fields_are_asked_for_by_name(closure, extended, some):
    given = further(extended, some)
    left = given.pop("wall_distance")
    with pytest.raises(ValueError, match="wall_distance was not given: this closure's features"):
        extended.close(*arrays(some), **given)
    with pytest.raises(ValueError, match=r"wall_distance was given, but the .* fields are: none"):
        closure.close(*arrays(some), wall_distance=left)
    with pytest.raises(ValueError, match=r"height was given, .*: wall_distance, kinematic_visc"):
        extended.close(*arrays(some), **given, wall_distance=left, height=left)
    for ask in (extended.predict, extended.samples, extended.distance, extended.coefficients):
        with pytest.raises(ValueError, match="no variable 'wall_distance'"):
            ask(some.drop_vars("wall_distance"))
    feet = some.assign(wall_distance=some["wall_distance"].assign_attrs(units="ft"))
    with pytest.raises(ValueError, match="'wall_distance' is given in 'ft', expected 'm'"):
        extended.predict(feet)


def test_states_far_outside_are_not_trusted(fitted, train, some, fields):
    learned = fitted.predict(fields(train, 1))
    assert learned["trusted"].mean() > 0.9
    strained = some["velocity_gradient"].copy(data=1e4 * some["velocity_gradient"].values)
    far = some.assign(velocity_gradient=strained)
    with pytest.warns(OutsideRangeWarning, match="strain is"):
        found = fitted.predict(far)
    assert fitted.predict(some)["trusted"].any() and not found["trusted"].any()
    assert fitted.distance(far).mean() > 1.1 * fitted.distance(some).mean()
    with pytest.raises(ValueError, match=r"\d+ of 320 cells lie outside the training, first cell"):
        fitted.close(*arrays(far), **further(fitted, far), untrusted="raise")
    with pytest.raises(ValueError, match="outside the training data: strain is"):
        fitted.predict(far, outside="raise")


def test_trusted_states_may_be_required(fitted, some):
    inside = some.isel(sample=fitted.predict(some)["trusted"].values == 1)
    found = fitted.close(*arrays(inside), **further(fitted, inside), untrusted="raise")
    assert found.trusted.all() and (fitted.distance(inside) <= 1).all()


def test_the_covariance_is_given_and_turns_with_the_axes(closure, extended, some):
    """How many standard deviations the error is away is the same in all axes."""
    assert "anisotropy_factor" not in closure.predict(some)
    found = []
    for ds in (some, turned(some, random_rotation(8)), turned(some, -random_rotation(9))):
        prediction = extended.predict(ds)
        error = (ds["anisotropy"] - prediction["anisotropy"]).values[:, ROWS, COLUMNS]
        factor = torch.from_numpy(prediction["anisotropy_factor"].values)
        assert (factor.diagonal(dim1=1, dim2=2) > 0).all() and (factor.triu(1) == 0).all()
        free = traceless(torch.from_numpy(error))[..., None]
        white = torch.linalg.solve_triangular(factor, free, upper=False)
        found.append(white.square().sum((1, 2)))
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-3, atol=1e-3)


def test_every_flow_counts_alike(unseen):
    """Whatever the number of its cells; the mean weight is one."""
    uneven = unseen.isel(sample=np.r_[0:3, 40:80, 160:320])
    weight, flow = flow_weights(uneven).double().numpy(), uneven["flow"].values
    shares = np.bincount(flow, weights=weight)
    np.testing.assert_allclose(shares[[0, 1, 4]], len(flow) / 3, rtol=1e-6)
    assert shares[2] == shares[3] == 0 and weight.mean() == pytest.approx(1)
    np.testing.assert_array_equal(flow_weights(uneven.drop_vars("flow")), 1)


def test_the_loss_is_the_mean_over_flows_of_their_square_errors(closure, unseen):
    uneven = unseen.isel(sample=np.r_[0:3, 40:80, 160:320])
    samples = closure.samples(uneven)
    loss = closure.loss(closure.network, samples.fields).item()
    error = closure.predict(uneven)["anisotropy"].values - uneven["anisotropy"].values
    square = (error**2).sum((1, 2))
    flow = uneven["flow"].values
    by_flow = [square[flow == place].mean() for place in (0, 1, 4)]
    assert loss == pytest.approx(np.mean(by_flow), rel=1e-4)


def test_the_square_error_counts_all_nine_components(rng):
    one, other = torch.from_numpy(rng.standard_normal((2, 30, 6)))
    whole = (matrices(one) - matrices(other)).square().sum((1, 2)).mean()
    torch.testing.assert_close(squared_error(one, other, torch.ones(30).double()), whole)


def test_the_penalty_adds_what_is_not_realizable(closure, unseen):
    batch = closure.samples(unseen).fields
    large = (batch[0], 4 * batch[1], *batch[2:])
    strict = TensorBasisClosure(replace(closure.options, penalty=0.3))
    with torch.no_grad():
        plain, more = (one.loss(closure.network, large) for one in (closure, strict))
        beyond = realizability_penalty(matrices(closure.network(*large[:2])))
    assert beyond > 0
    torch.testing.assert_close(more - plain, 0.3 * beyond, rtol=1e-4, atol=1e-8)


def test_the_likelihood_leaves_the_mean_alone(extended, some):
    """Slopes of the weights that give b are those of a closure without a covariance."""
    net, batch = extended.build(), extended.samples(some).fields
    plain = TensorBasisClosure(replace(extended.options, ranks=0))
    own = list(net.layers.parameters())
    with_doubts = torch.autograd.grad(extended.loss(net, batch), own)
    without = torch.autograd.grad(plain.loss(net, batch), own)
    for one, other in zip(with_doubts, without, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-9)
