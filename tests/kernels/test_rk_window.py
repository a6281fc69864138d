"""A window of Runge-Kutta steps: its order, its exact gradients, what it keeps and refuses."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from sciml.kernels.rk_window import RK4, BilinearField, Field, MLPField, Tableau, rk_window

cpu = pytest.importorskip("sciml.kernels.rk_window.cpu")

HEUN: Tableau = (((0.0, 0.0), (1.0, 0.0)), (0.5, 0.5))
THREE_EIGHTHS: Tableau = (
    ((0.0, 0.0, 0.0, 0.0), (1 / 3, 0.0, 0.0, 0.0), (-1 / 3, 1.0, 0.0, 0.0), (1.0, -1.0, 1.0, 0.0)),
    (1 / 8, 3 / 8, 3 / 8, 1 / 8),
)
EPSILON = {torch.float32: 2.0**-23, torch.float64: 2.0**-52}


def random(rng: np.random.Generator, *shape: int) -> Tensor:
    """Normal numbers that keep the size of what they multiply."""
    return torch.from_numpy(rng.normal(size=shape) / shape[-1] ** 0.5)


def perceptron(rng: np.random.Generator, *widths: int) -> MLPField:
    pairs = list(zip(widths[1:], widths[:-1], strict=True))
    return MLPField(
        weights=tuple(random(rng, *pair) for pair in pairs),
        biases=tuple(random(rng, after) for after, _ in pairs),
    )


def bilinear(rng: np.random.Generator, components: int, products: int) -> BilinearField:
    return BilinearField(
        linear=random(rng, components, components),
        constant=random(rng, components),
        mixing=random(rng, components, products) / 8,  # small, lest the state blow up
        left=random(rng, products, components),
        right=random(rng, products, components),
    )


def lorenz() -> BilinearField:
    """σ = 10, ρ = 28, β = 8/3 in float64."""
    linear = torch.tensor([[-10.0, 10.0, 0.0], [28.0, -1.0, 0.0], [0.0, 0.0, -8 / 3]])
    return BilinearField(
        linear=linear.double(),
        constant=torch.zeros(3, dtype=torch.float64),
        mixing=torch.tensor([[0.0, 0.0], [-1.0, 0.0], [0.0, 1.0]]).double(),
        left=torch.tensor([[1.0, 0.0, 0.0]] * 2).double(),
        right=torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0]]).double(),
    )


FIELDS = {
    "one layer": lambda rng: perceptron(rng, 3, 3),
    "3-64-64-3": lambda rng: perceptron(rng, 3, 64, 64, 3),
    "odd widths": lambda rng: perceptron(rng, 2, 9, 33, 17, 2),
    "wide state": lambda rng: perceptron(rng, 11, 24, 11),
    "bilinear": lambda rng: bilinear(rng, 3, 3),
    "bilinear, more products": lambda rng: bilinear(rng, 5, 11),
}


def converted(field: Field, dtype: torch.dtype) -> Field:
    return field.like(tuple(p.detach().to(dtype) for p in field.parameters))


def derivatives(
    field: Field, state: Tensor, tableau: Tableau, weights: Tensor, backend: str, **window: float
) -> Iterator[Tensor]:
    """The states, then the derivatives of their weighted sum by all that goes in."""
    parameters = [p.detach().clone().requires_grad_() for p in field.parameters]
    begin = state.detach().clone().requires_grad_()
    a, b = (torch.tensor(x, dtype=state.dtype, requires_grad=True) for x in tableau)
    live = field.like(tuple(parameters))
    states = rk_window(begin, live, tableau=(a, b), backend=backend, **window)
    yield states.detach()
    yield from torch.autograd.grad((states * weights).sum(), [begin, a, b, *parameters])


def error(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("backend", ["reference", "cpu"])
@pytest.mark.parametrize(("tableau", "order"), [(HEUN, 2), (RK4, 4), (THREE_EIGHTHS, 4)])
def test_the_error_falls_with_the_order_of_the_scheme(
    tableau: Tableau, order: int, backend: str
) -> None:
    one = torch.ones(1, 1, dtype=torch.float64)
    logistic = BilinearField(
        linear=one, constant=torch.zeros(1).double(), mixing=-one, left=one, right=one
    )
    state = torch.tensor([[0.1], [0.3]], dtype=torch.float64)
    exact = 1 / (1 + (1 / state - 1) * np.exp(-1.0))
    errors = []
    for steps in (20, 40):
        states = rk_window(
            state, logistic, step=1 / steps, steps=steps, tableau=tableau, backend=backend
        )
        errors.append((states[:, -1] - exact).abs().max().item())
    assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize("tableau", [HEUN, RK4, THREE_EIGHTHS], ids=["heun", "rk4", "3/8"])
@pytest.mark.parametrize("field", FIELDS.values(), ids=FIELDS)
def test_states_and_all_gradients_are_those_of_the_reference(
    field, tableau: Tableau, rng: np.random.Generator
) -> None:
    field = field(rng)
    state = random(rng, 21, field.components)
    weights = random(rng, 21, 4, field.components)
    window = {"step": 0.1, "steps": 6, "every": 2}
    expected = derivatives(field, state, tableau, weights, "reference", **window)
    found = derivatives(field, state, tableau, weights, "cpu", **window)
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        assert error(one, other) < 1e-12


@pytest.mark.parametrize("batch", [1, 16, 256])
def test_gradients_in_single_precision_are_within_a_ten_thousandth(
    batch: int, rng: np.random.Generator
) -> None:
    field = perceptron(rng, 3, 64, 64, 3)
    state, weights = random(rng, batch, 3), random(rng, batch, 33, 3)
    window = {"step": 0.01, "steps": 32}
    exact = derivatives(field, state, RK4, weights, "reference", **window)
    single = converted(field, torch.float32)
    found = derivatives(single, state.float(), RK4, weights.float(), "cpu", **window)
    for one, other in zip(found, exact, strict=True):
        assert error(one.double(), other) < 1e-4


def test_the_adjoint_is_that_of_the_tangent(rng: np.random.Generator) -> None:
    field = lorenz()
    state = 10 * random(rng, 9, 3)
    direction, covector = random(rng, 9, 3), random(rng, 9, 33, 3)

    def march(begin: Tensor) -> Tensor:
        return rk_window(begin, field, step=0.01, steps=32, backend="reference")

    _, tangent = torch.autograd.functional.jvp(march, state, direction)
    begin = state.clone().requires_grad_()
    states = rk_window(begin, field, step=0.01, steps=32, backend="cpu")
    (adjoint,) = torch.autograd.grad(states, begin, covector)
    forward, backward = (tangent * covector).sum(), (direction * adjoint).sum()
    assert abs(forward - backward) < 1e-12 * tangent.norm() * covector.norm()


def test_a_window_keeps_less_than_a_megabyte(rng: np.random.Generator) -> None:
    field = converted(perceptron(rng, 3, 64, 64, 3), torch.float32)
    field = field.like(tuple(p.requires_grad_() for p in field.parameters))
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        rk_window(torch.zeros(256, 3), field, step=0.01, steps=32, backend="cpu")
    assert sum(kept.values()) < 2**20 / 4


@pytest.mark.parametrize(("dtype", "bound"), [(np.float32, 4e-7), (np.float64, 2e-15)])
def test_tanh_is_exact_to_a_few_units_in_the_last_place(dtype: type, bound: float) -> None:
    x = np.concatenate([np.linspace(-25, 25, 400_001), np.logspace(-20, 1, 10_001)]).astype(dtype)
    exact = np.tanh(x.astype(np.longdouble))
    found = cpu.tanh(x)
    relative = np.abs(found - exact) / np.maximum(np.abs(exact), np.finfo(dtype).tiny)
    assert relative.max() < bound
    assert np.abs(found).max() <= 1 + np.finfo(dtype).eps
    np.testing.assert_array_equal(cpu.tanh(-x), -found)
    ends = cpu.tanh(np.array([np.inf, -np.inf, np.nan], dtype))
    np.testing.assert_allclose(ends, [1, -1, np.nan], rtol=bound)


@pytest.mark.parametrize("dtype", EPSILON, ids=str)
def test_a_blow_up_is_not_hidden(dtype: torch.dtype) -> None:
    one = torch.ones(1, 1, dtype=dtype)
    square = BilinearField(linear=0 * one, constant=one[0], mixing=one, left=one, right=one)
    state = torch.tensor([[0.0], [100.0]], dtype=dtype)
    states = rk_window(state, square, step=0.1, steps=12, backend="cpu")
    assert torch.isfinite(states[0]).all()
    assert not torch.isfinite(states[1, -1]).any()


def test_what_goes_in_stays_as_it_is_and_need_not_be_contiguous(rng: np.random.Generator) -> None:
    field = bilinear(rng, 3, 3)
    wide = random(rng, 6, 8)
    state, before = wide[::2, 1:4], wide.clone()
    found = rk_window(state, field, step=0.1, steps=3, backend="cpu")
    expected = rk_window(state.contiguous(), field, step=0.1, steps=3, backend="reference")
    assert torch.equal(wide, before)
    assert error(found, expected) < 1e-14
    assert torch.equal(found[:, 0], state)


def test_no_step_gives_the_state_back(rng: np.random.Generator) -> None:
    field, state = bilinear(rng, 3, 3), random(rng, 5, 3).requires_grad_()
    states = rk_window(state, field, step=0.1, steps=0)
    assert torch.equal(states, state[:, None])
    assert torch.equal(torch.autograd.grad(states.sum(), state)[0], torch.ones(5, 3).double())


def test_an_empty_batch_gives_none(rng: np.random.Generator) -> None:
    assert rk_window(torch.zeros(0, 3).double(), lorenz(), step=0.1, steps=4).shape == (0, 5, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 5, "every": 2}, "5 steps were asked for, of which every 2"),
        ({"tableau": (((0.0, 1.0), (0.0, 0.0)), (0.5, 0.5))}, "give an explicit one"),
        ({"tableau": (((0.0,),), (0.5, 0.5))}, "square and zero on and above"),
        ({"state": torch.zeros(2, 4).double()}, "4 components were given to a field of 3"),
        ({"state": torch.zeros(2, 3)}, "the field holds torch.float64"),
        ({"state": torch.zeros(2, 3).half()}, "convert it to float32 or float64"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict, message: str) -> None:
    given = {"state": torch.zeros(2, 3).double(), "field": lorenz(), "step": 0.1, "steps": 4}
    with pytest.raises(ValueError, match=message):
        rk_window(**{**given, **change})


def test_fields_whose_shapes_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="layer 1 take 5 numbers and are given 4"):
        MLPField(
            weights=(torch.zeros(4, 3), torch.zeros(3, 5)), biases=(torch.zeros(4), torch.zeros(3))
        )
    with pytest.raises(ValueError, match="layer 0 take 3 numbers and are given 2"):
        MLPField(weights=(torch.zeros(2, 3),), biases=(torch.zeros(2),))
    with pytest.raises(ValueError, match="the bias of layer 0"):
        MLPField(weights=(torch.zeros(3, 3),), biases=(torch.zeros(2),))
    with pytest.raises(ValueError, match="left has shape"):
        BilinearField(
            linear=torch.zeros(3, 3), constant=torch.zeros(3), mixing=torch.zeros(3, 2),
            left=torch.zeros(3, 3), right=torch.zeros(2, 3),
        )  # fmt: skip
