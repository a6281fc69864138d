"""The networks: on the tensor basis what comes out turns with the axes, whatever the weights."""

from __future__ import annotations

import pytest
import torch
from scipy.spatial.transform import Rotation

from sciml.kernels.tensor_basis import tensor_basis
from sciml.rans.network import ComponentNetwork, TensorBasisNetwork, traceless

CELLS, FEATURES = 50, 7
ROWS, COLUMNS = (0, 0, 0, 1, 1, 2), (0, 1, 2, 1, 2, 2)
PLACES = torch.tensor(((0, 1, 2), (1, 3, 4), (2, 4, 5)))


@pytest.fixture
def gradient(rng):
    G = torch.from_numpy(rng.standard_normal((CELLS, 3, 3)))
    return G - G.diagonal(dim1=1, dim2=2).mean(1)[:, None, None] * torch.eye(3)


@pytest.fixture
def told(rng):
    return torch.from_numpy(rng.standard_normal((CELLS, FEATURES)))


def basis_of(gradient):
    """The ten tensors of each cell."""
    ones = torch.ones(len(gradient), dtype=gradient.dtype)
    return tensor_basis(gradient, ones, ones, limit=1.0)[1].permute(2, 0, 1)


def network(**options):
    torch.manual_seed(7)
    return TensorBasisNetwork(FEATURES, hidden=(16,), **options).double().requires_grad_(False)


def matrices(components):
    return components[..., PLACES]


@pytest.mark.parametrize("sign", [1, -1], ids=["rotation", "reflection"])
def test_the_anisotropy_turns_with_the_axes(gradient, told, rng, sign):
    net = network()
    Q = torch.from_numpy(sign * Rotation.random(rng=rng).as_matrix())
    here = matrices(net(told, basis_of(gradient)))
    there = matrices(net(told, basis_of(Q @ gradient @ Q.T)))
    assert here.abs().max() > 0.01
    torch.testing.assert_close(there, Q @ here @ Q.T, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(here.diagonal(dim1=1, dim2=2).sum(1), torch.zeros(CELLS).double())


@pytest.mark.parametrize("sign", [1, -1], ids=["rotation", "reflection"])
def test_the_covariance_turns_with_the_axes(gradient, told, rng, sign):
    """The distance of an error in standard deviations, and the volume, are the same."""
    net = network(ranks=3)
    error = torch.from_numpy(rng.standard_normal((CELLS, 3, 3)))
    error = error + error.mT
    Q = torch.from_numpy(sign * Rotation.random(rng=rng).as_matrix())
    found = []
    for turn in (torch.eye(3, dtype=torch.float64), Q):
        factor = net.factor(told, basis_of(turn @ gradient @ turn.T))
        free = traceless((turn @ error @ turn.T)[:, ROWS, COLUMNS])
        white = torch.linalg.solve_triangular(factor, free[..., None], upper=False)
        volume = factor.diagonal(dim1=1, dim2=2).log().sum(1)
        found.append((white.square().sum((1, 2)), volume))
    torch.testing.assert_close(found[1], found[0], rtol=1e-8, atol=1e-10)


def test_the_factor_is_a_cholesky_factor(gradient, told):
    """Lower triangular, its diagonal positive, and its square above a floor in all directions."""
    net = network(ranks=3)
    factor = net.factor(told, basis_of(gradient))
    assert factor.shape == (CELLS, 5, 5)
    torch.testing.assert_close(factor, factor.tril(), rtol=0, atol=0)
    assert (factor.diagonal(dim1=1, dim2=2) > 0).all()
    spread = torch.linalg.eigvalsh(factor @ factor.mT)
    torch.testing.assert_close(spread[:, 0], spread[:, 1], rtol=1e-6, atol=0)  # of rank three
    assert (spread[:, 2] > spread[:, 1]).all()


def test_the_covariance_leaves_the_mean_alone(gradient, told):
    """Both networks come from the same seed, and the second is asked only where it is wanted."""
    tensors = basis_of(gradient)
    net = network(ranks=2)
    b, factor = net(told, tensors, True)
    torch.testing.assert_close(b, net(told, tensors), rtol=0, atol=0)
    torch.testing.assert_close(factor, net.factor(told, tensors), rtol=0, atol=0)
    torch.testing.assert_close(b, network()(told, tensors), rtol=0, atol=0)


@pytest.mark.parametrize("basis", [(0, 1, 2), (3,), (0, 5, 9)])
def test_a_reduced_basis_leaves_the_other_coefficients_zero(gradient, told, basis):
    net, tensors = network(basis=basis), basis_of(gradient)
    found = net.coefficients(told)
    others = [place for place in range(10) if place not in basis]
    assert found.shape == (CELLS, 10) and (found[:, others] == 0).all()
    assert (found[:, list(basis)] != 0).all()
    by_hand = torch.einsum("cn,cnm->cm", found[:, list(basis)], tensors[:, list(basis)])
    torch.testing.assert_close(net(told, tensors), by_hand)


def test_five_numbers_hold_a_traceless_tensor_and_its_size(rng):
    tensors = torch.from_numpy(rng.standard_normal((2, CELLS, 3, 3)))
    tensors = tensors + tensors.mT
    tensors -= tensors.diagonal(dim1=2, dim2=3).mean(2)[..., None, None] * torch.eye(3)
    free = traceless(tensors[..., ROWS, COLUMNS])
    assert free.shape == (2, CELLS, 5)
    product = (tensors[0] * tensors[1]).sum((1, 2))
    torch.testing.assert_close((free[0] * free[1]).sum(1), product, rtol=1e-12, atol=1e-12)
    identity = torch.eye(3, dtype=torch.float64)[ROWS, COLUMNS]
    torch.testing.assert_close(traceless(identity), torch.zeros(5, dtype=torch.float64))


def test_features_are_scaled_and_limited(gradient, told, rng):
    """Far outside, coefficients are those at the limit; what hardly varies is not blown up."""
    net, tensors = network(), basis_of(gradient)
    seen = torch.from_numpy(rng.standard_normal((400, FEATURES)))
    seen[:, 0] = 1.0 + 1e-9 * seen[:, 0]
    net.calibrate(seen)
    torch.testing.assert_close(net.scaling.offset, seen.mean(0))
    assert net.scaling.scale[0] == 0.05
    direction = torch.ones(CELLS, FEATURES, dtype=torch.float64)
    torch.testing.assert_close(net(1e3 * direction, tensors), net(1e6 * direction, tensors))
    noise = torch.zeros(FEATURES, dtype=torch.float64)
    noise[0] = 1e-9
    torch.testing.assert_close(net(told + noise, tensors), net(told, tensors), atol=1e-7, rtol=0)


def test_trust_looks_at_the_known_features_alone(rng):
    net = network(known=3)
    seen = torch.from_numpy(rng.standard_normal((400, FEATURES)))
    net.calibrate(seen)
    outside = seen.clone()
    outside[:, 3:] += 100
    assert net.trusted(seen).double().mean() > 0.7
    torch.testing.assert_close(net.distance(outside), net.distance(seen))
    assert (net.trusted(outside) == net.trusted(seen)).all()
    outside[:, :3] += 100
    assert not net.trusted(outside).any() and (net.distance(outside) > 1).all()


def test_the_component_network_has_no_trace(told):
    torch.manual_seed(7)
    net = ComponentNetwork(FEATURES, hidden=(16,)).double()
    b = net(told).detach()
    assert b.shape == (CELLS, 6) and b.abs().max() > 0.01
    torch.testing.assert_close(b[:, [0, 3, 5]].sum(1), torch.zeros(CELLS, dtype=torch.float64))
