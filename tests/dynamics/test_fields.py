"""Fields: identities that hold for every weight, and coefficients found again."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sciml.dynamics.fields import (
    Augmented,
    Bilinear,
    ConstantDivergence,
    DelayEncoder,
    EnergyPreserving,
    Equivariant,
    FromPotential,
    Known,
    LatentTable,
    Monomials,
    Polynomial,
    ResidualMLP,
    Scaled,
    Symmetric,
    Trapped,
    central_differences,
    fit_polynomial,
    fit_polynomial_weakly,
    infer_state,
    monomial_coefficients,
    scaled_mlp,
)
from sciml.dynamics.systems import (
    ATTRACTOR_MEAN,
    ATTRACTOR_STANDARD_DEVIATION,
    SYMMETRY,
    Lorenz63,
    trajectories,
)
from sciml.nn import MLP


@pytest.fixture
def states(rng: np.random.Generator) -> Tensor:
    return torch.from_numpy(rng.normal(ATTRACTOR_MEAN, ATTRACTOR_STANDARD_DEVIATION, (40, 3)))


@pytest.fixture(autouse=True)
def weights(rng: np.random.Generator) -> None:
    torch.manual_seed(int(rng.integers(2**31)))


def randomised(field: Polynomial) -> Polynomial:
    field = field.double()
    nn.init.normal_(field.weights)
    return field


def divergence(field: Callable[[Tensor], Tensor], states: Tensor) -> Tensor:
    def alone(state: Tensor) -> Tensor:
        return field(state[None])[0]

    jacobian = torch.stack([torch.autograd.functional.jacobian(alone, x) for x in states[:10]])
    return jacobian.diagonal(dim1=1, dim2=2).sum(-1)


def lorenz_bilinear() -> Bilinear:
    """Lorenz-63 as a bilinear field with two products."""
    field, system = Bilinear(3, products=2).double(), Lorenz63()
    values = {
        "linear": [[-10, 10, 0], [28, -1, 0], [0, 0, -system.beta]],
        "left": [[1, 0, 0], [1, 0, 0]],
        "right": [[0, 0, 1], [0, 1, 0]],
        "mixing": [[0, 0], [-1, 0], [0, 1]],
    }
    with torch.no_grad():
        for name, value in values.items():
            getattr(field, name).copy_(torch.tensor(value, dtype=torch.float64))
    return field


def test_bilinear_holds_lorenz(states: Tensor) -> None:
    torch.testing.assert_close(lorenz_bilinear()(states), Lorenz63()(states), rtol=0, atol=1e-11)


def test_bilinear_expanded_to_monomials(states: Tensor) -> None:
    field = Bilinear(3, products=4).double()
    nn.init.normal_(field.constant)
    found, residual = monomial_coefficients(field, 3, radius=20.0)
    assert residual < 1e-13
    library = Monomials(3, 2)
    torch.testing.assert_close(library(states) @ found, field(states), rtol=1e-10, atol=1e-10)
    N = field.quadratic()
    for term, (j, k) in {"x x": (0, 0), "x z": (0, 2), "y z": (1, 2)}.items():
        expected = N[:, j, k] * (1 if j == k else 2)
        torch.testing.assert_close(found[library.terms.index(term)], expected)
    with_tensor = field.constant + states @ field.linear.mT
    with_tensor = with_tensor + torch.einsum("ijk,bj,bk->bi", N, states, states)
    torch.testing.assert_close(with_tensor, field(states))


@pytest.mark.parametrize(("components", "degree"), [(1, 4), (3, 3), (4, 2)])
def test_monomials_are_the_products_of_their_factors(
    components: int, degree: int, rng: np.random.Generator
) -> None:
    library = Monomials(components, degree)
    x = torch.from_numpy(rng.standard_normal((5, components)))
    expected = [x[:, list(f)].prod(1) for f in library.factors]
    torch.testing.assert_close(library(x), torch.stack(expected, 1))
    count = np.prod(np.arange(degree + 1, degree + components + 1) / np.arange(1, components + 1))
    assert len(library) == len(set(library.factors)) == round(count)


@pytest.mark.parametrize(
    "field",
    [
        MLP(3, 3, hidden=(16,), activation="tanh"),
        ResidualMLP(3, width=16),
        Bilinear(3),
        scaled_mlp(3, hidden=(8,)),
    ],
    ids=["mlp", "residual", "bilinear", "scaled"],
)
def test_symmetry_is_exact_for_any_field(field: nn.Module, states: Tensor) -> None:
    S = torch.tensor(SYMMETRY, dtype=torch.float64)
    symmetric = Symmetric(field.double(), SYMMETRY)
    np.testing.assert_array_equal(symmetric(states * S).detach(), (symmetric(states) * S).detach())
    assert not torch.allclose(field(states * S), field(states) * S)


def test_symmetry_under_any_involution(states: Tensor, rng: np.random.Generator) -> None:
    turn = torch.from_numpy(np.linalg.qr(rng.standard_normal((3, 3)))[0])
    S = turn @ torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64)) @ turn.mT
    field = Symmetric(Bilinear(3).double(), S)
    torch.testing.assert_close(field(states @ S.mT), field(states) @ S.mT)
    with pytest.raises(ValueError, match="own inverse"):
        Symmetric(field, 1.1 * S)


def test_symmetric_lorenz_is_unchanged(states: Tensor) -> None:
    torch.testing.assert_close(Symmetric(Lorenz63(), SYMMETRY)(states), Lorenz63()(states))


def test_constraints_hold_together_for_all_weights(states: Tensor) -> None:
    d = Lorenz63().divergence
    constraints = [
        ConstantDivergence(divergence=d),
        EnergyPreserving(),
        Equivariant(signs=SYMMETRY),
    ]
    field = randomised(Polynomial(3, degree=2, constraints=constraints))
    torch.testing.assert_close(divergence(field, states), torch.full((10,), d).double())
    S = torch.tensor(SYMMETRY, dtype=torch.float64)
    torch.testing.assert_close(field(states * S), field(states) * S)
    quadratic = field(states) + field(-states) - 2 * field(torch.zeros_like(states))
    power = (states * quadratic).sum(1) / (states.norm(dim=1) * quadratic.norm(dim=1))
    assert power.abs().max() < 1e-11


def test_lorenz_obeys_all_constraints(states: Tensor) -> None:
    system = Lorenz63()
    constraints = [
        ConstantDivergence(divergence=system.divergence),
        EnergyPreserving(),
        Equivariant(signs=SYMMETRY),
        Known(values={("x", "y"): 10.0}),
    ]
    field = Polynomial(3, constraints=constraints).double()
    field.set_coefficients(system.coefficients())
    torch.testing.assert_close(field(states), system(states), rtol=1e-10, atol=1e-8)


def test_energy_preserving_quadratic_fields_have_eight_dimensions() -> None:
    """18 quadratic coefficients in three components, less the 10 of a cubic form."""
    free = Polynomial(3, constraints=[EnergyPreserving()]).weights.numel()
    assert free - Polynomial(3, degree=1).weights.numel() == 8


def test_contradictory_constraints_are_refused() -> None:
    with pytest.raises(ValueError, match="contradict"):
        Polynomial(2, constraints=[ConstantDivergence(divergence=d) for d in (-1.0, -2.0)])
    with pytest.raises(ValueError, match="2 signs were given for 3"):
        Polynomial(3, constraints=[Equivariant(signs=(1.0, -1.0))])


def test_divergence_of_a_network_is_constant(states: Tensor) -> None:
    potential = MLP(3, 3, hidden=(16, 16), activation="tanh").double()
    field = FromPotential(potential, 3, divergence=-13.7)
    expected = torch.full((10,), -13.7, dtype=torch.float64)
    torch.testing.assert_close(divergence(field, states), expected, rtol=0, atol=1e-12)
    assert field(states).std() > 0
    field(states).square().sum().backward()
    assert all(p.grad is not None for p in list(potential.parameters())[:-1])


def test_a_trapped_field_is_itself_within_and_damped_without(states: Tensor) -> None:
    field = Trapped.around(Lorenz63(), states)
    np.testing.assert_array_equal(field(states), Lorenz63()(states))
    out = (states - field.center) * (1e3 * field.outer)
    torch.testing.assert_close(field(field.center + out), -out)
    near = (field.center + torch.tensor([0.0, 0.0, field.radius])).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: field(x[None]), near * 1.2)


def test_trajectories_of_a_trapped_field_stay_bounded(rng: np.random.Generator) -> None:
    """From far away or near, with a field that blows up by itself."""

    def growing(state: Tensor) -> Tensor:
        return state.square() + 5 * state

    begin = torch.from_numpy(rng.standard_normal((50, 3)) * 10 ** rng.uniform(0, 4, (50, 1)))
    field = Trapped(growing, torch.zeros(3), radius=30.0, damping=5.0)
    free, trapped, h = begin.clone(), begin.clone(), 1e-3
    radii = []
    for _ in range(1500):
        free = free + h * growing(free)
        k = field(trapped)
        trapped = trapped + h * field(trapped + h / 2 * k)
        radii.append(trapped.norm(dim=1))
    assert not torch.isfinite(free).all()
    assert (radii[-1] < 1.001 * field.outer).all()
    path = torch.stack(radii)
    inside = torch.logical_or(path[:-1] < field.outer, path[1:] < path[:-1])
    assert inside.all(), "a radius beyond the outer one must fall"


def test_scaled_polynomials_remain_polynomials(states: Tensor) -> None:
    field = Scaled(Bilinear(3).double(), 3).fit(states, Lorenz63()(states))
    found, residual = monomial_coefficients(field, 3, radius=20.0)
    assert residual < 1e-12
    torch.testing.assert_close(Monomials(3, 2)(states) @ found, field(states))


@pytest.mark.parametrize("order", [2, 4, 8])
def test_order_of_central_differences(order: int) -> None:
    errors = []
    for step in (0.4, 0.2):
        t = torch.arange(0, 8, step, dtype=torch.float64)[:, None]
        inner, rates = central_differences(torch.cat([t.sin(), t.cos()], 1), step, order=order)
        errors.append((rates[:, 0] - inner[:, 1]).abs().max().item())
    assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.1)


def test_sparse_regression_finds_lorenz() -> None:
    states = torch.from_numpy(trajectories(np.arange(4000) * 0.01)["state"].values)
    inner, rates = central_differences(states, 0.01)
    field = fit_polynomial(inner, rates, threshold=0.1)
    expected = Polynomial(3)
    expected.set_coefficients(Lorenz63().coefficients())
    found, true = field.coefficients().detach(), expected.coefficients().detach().double()
    assert torch.equal(found != 0, true != 0)
    assert (found - true).abs().max() < 1e-4
    assert field.weights.numel() == 7


def test_weak_regression_resists_noise(rng: np.random.Generator) -> None:
    states = torch.from_numpy(trajectories(np.arange(4000) * 0.01)["state"].values)
    true = Polynomial(3)
    true.set_coefficients(Lorenz63().coefficients())
    exact = fit_polynomial_weakly(states, 0.01, threshold=0.1).coefficients()
    assert (exact - true.coefficients()).abs().max() < 1e-5
    errors = []
    for _ in range(4):
        noisy = states + 0.5 * torch.from_numpy(rng.standard_normal(states.shape))
        strong = fit_polynomial(*central_differences(noisy, 0.01), threshold=0.3)
        weak = fit_polynomial_weakly(noisy, 0.01, threshold=0.3)
        errors.append(
            [
                (field.coefficients() - true.coefficients()).abs().max().item()
                for field in (strong, weak)
            ]
        )
    strong_error, weak_error = np.mean(errors, axis=0)
    assert weak_error < 0.8 and weak_error < strong_error / 2


def test_regression_leaves_out_gaps_and_refuses_too_little(states: Tensor) -> None:
    rates = Lorenz63()(states)
    rates[3, 0] = torch.nan
    found = fit_polynomial(states, rates, threshold=1e-6).coefficients()
    assert torch.isfinite(found).all()
    with pytest.raises(ValueError, match="5 finite samples cannot fit 10 terms"):
        fit_polynomial(states[:5], Lorenz63()(states[:5]))


def test_the_encoder_sees_polynomials_of_time() -> None:
    """The coefficients of a straight line: its mean, its slope, and nothing else."""
    encoder = DelayEncoder(1, 2, delays=11, features=4).double()
    line = 5 + 3 * torch.linspace(-1, 1, 11, dtype=torch.float64)
    q = encoder.coefficients(line[None, :, None])[0]
    slope = 3 * torch.linspace(-1, 1, 11, dtype=torch.float64).square().mean().sqrt()
    torch.testing.assert_close(q, torch.stack([q.new_tensor(5.0), slope, *q.new_zeros(2)]))
    with pytest.raises(ValueError, match="expected \\[batch, 11, 1\\]"):
        encoder(line[None, :5, None])


def test_an_augmented_state_begins_with_what_was_observed(rng: np.random.Generator) -> None:
    history = torch.from_numpy(rng.standard_normal((6, 8, 2)))
    model = Augmented(Bilinear(5), DelayEncoder(2, 3, delays=8), observed=2).double()
    state = model.begin(history)
    np.testing.assert_array_equal(model.observe(state).detach(), history[:, -1])
    table = LatentTable(10, 3).double()
    (table(torch.tensor([3, 3])).sum()).backward()
    assert table.values.grad is not None and table.values.grad.nonzero()[
        :, 0
    ].unique().tolist() == [3]


def test_the_hidden_state_is_inferred_from_x_alone() -> None:
    from sciml.dynamics.integrators import integrate

    times = torch.arange(7, dtype=torch.float64) * 0.05
    states = trajectories(np.array([0.0, 1.0]), samples=8, seed=2)["state"].values[:, 0]

    def flow(state: Tensor) -> Tensor:
        return integrate(Lorenz63(), state, times, finite=False)

    truth = torch.from_numpy(states)
    observed = flow(truth)[..., :1].clone()
    mask = torch.ones_like(observed)
    mask[:, 3], observed[:, 3] = 0.0, torch.nan
    guess = torch.tensor(ATTRACTOR_MEAN, dtype=torch.float64).repeat(8, 1)
    guess[:, 0], guess[:, 1] = truth[:, 0], truth[:, 0]
    found, misfit = infer_state(flow, observed, guess, mask=mask, iterations=12)
    assert misfit.max() < 1e-6
    assert (found - truth).abs().max() < 1e-4
