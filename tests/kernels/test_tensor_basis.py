"""Pope's basis: what it is invariant under, its algebra, exact gradients, what it refuses."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from sciml.kernels.tensor_basis import (
    CoefficientNetwork,
    anisotropy,
    closure_step,
    invariants,
    reference,
    tensor_basis,
)

cpu = pytest.importorskip("sciml.kernels.tensor_basis.cpu")

CELLS = 3 * cpu.BLOCK + 5  # the last block is not full
BACKENDS = ("reference", "cpu")
LIMITS = (None, 1.3)
EPSILON = {torch.float32: 2.0**-23, torch.float64: 2.0**-52}
ROWS, COLUMNS = (0, 0, 0, 1, 1, 2), (0, 1, 2, 1, 2, 2)


def states(
    rng: np.random.Generator, cells: int = CELLS, *, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor, Tensor]:
    """Incompressible velocity gradients, k and ε."""
    G = rng.normal(size=(cells, 3, 3))
    G -= np.trace(G, axis1=1, axis2=2)[:, None, None] * np.eye(3) / 3
    k, epsilon = rng.uniform(0.5, 2.0, (2, cells))
    return tuple(torch.from_numpy(x).to(dtype) for x in (G, k, epsilon))


def rotations(rng: np.random.Generator, cells: int) -> Tensor:
    """Orthogonal matrices, about half of them with a reflection."""
    q, r = np.linalg.qr(rng.normal(size=(cells, 3, 3)))
    return torch.from_numpy(q * np.sign(np.diagonal(r, axis1=1, axis2=2))[:, None, :])


def network(rng: np.random.Generator, *widths: int) -> CoefficientNetwork:
    pairs = list(zip((*widths, 10), (5, *widths), strict=True))
    return CoefficientNetwork(
        weights=tuple(torch.from_numpy(rng.normal(size=p) / p[1] ** 0.5) for p in pairs),
        biases=tuple(torch.from_numpy(rng.normal(size=after)) for after, _ in pairs),
        activation="silu",
    )


def matrices(components: Tensor) -> Tensor:
    """[..., 6, cell] as [..., cell, 3, 3]."""
    full = components.new_empty(*components.shape[:-2], 3, 3, components.shape[-1])
    full[..., ROWS, COLUMNS, :] = components
    full[..., COLUMNS, ROWS, :] = components
    return full.movedim(-1, -3)


def rates(G: Tensor, k: Tensor, epsilon: Tensor) -> tuple[Tensor, Tensor]:
    time = (k / epsilon)[:, None, None]
    return time * (G + G.mT) / 2, time * (G - G.mT) / 2


def close(found: Tensor, expected: Tensor, units: float = 64.0) -> None:
    """To some units in the last place of the largest number."""
    scale = float(expected.abs().max())
    assert (
        float((found.to(expected) - expected).abs().max()) <= units * EPSILON[found.dtype] * scale
    )


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty memory is full of NaN, so that what a kernel does not write is seen."""

    def full(*shape: int, **options) -> Tensor:
        return torch.full(shape if isinstance(shape[0], int) else shape[0], torch.nan, **options)

    monkeypatch.setattr(torch, "empty", full)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("limit", LIMITS)
def test_rotations_and_reflections_turn_the_tensors_and_leave_the_invariants(
    limit: float | None, backend: str, rng: np.random.Generator
) -> None:
    G, k, epsilon = states(rng)
    Q, net = rotations(rng, CELLS), network(rng, 12)
    turned = Q @ G @ Q.mT
    given = {"limit": limit, "backend": backend}
    (before, tensors), (after, turned_tensors) = (
        tensor_basis(x, k, epsilon, **given) for x in (G, turned)
    )
    assert 0.2 < float((torch.linalg.det(Q) < 0).double().mean()) < 0.8
    close(after, before)
    close(matrices(turned_tensors), Q @ matrices(tensors) @ Q.mT)
    b, turned_b = (closure_step(x, k, epsilon, net, **given) for x in (G, turned))
    close(matrices(turned_b), Q @ matrices(b) @ Q.mT, units=512)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_moving_frame_changes_nothing(backend: str, rng: np.random.Generator) -> None:
    """Gradients of a velocity field U(x) and of U(x - c t) + c, by differences on a grid."""
    h, c = 1e-3, torch.from_numpy(rng.normal(size=3))
    A, B = torch.from_numpy(rng.normal(size=(2, 3, 3)))
    points = torch.from_numpy(rng.normal(size=(20, 3)))

    def velocity(x: Tensor, drift: Tensor, time: float) -> Tensor:
        x = x - drift * time
        return torch.sin(x @ A.T) @ B.T + drift

    def gradient(drift: Tensor, time: float) -> Tensor:
        moved = points + drift * time
        steps = h * torch.eye(3, dtype=torch.float64)
        columns = [
            (velocity(moved + e, drift, time) - velocity(moved - e, drift, time)) / (2 * h)
            for e in steps
        ]
        return torch.stack(columns, dim=2)

    k, epsilon = (torch.from_numpy(x) for x in rng.uniform(0.5, 2.0, (2, 20)))
    still = tensor_basis(gradient(0 * c, 0.0), k, epsilon, backend=backend)
    moving = tensor_basis(gradient(c, 0.7), k, epsilon, backend=backend)
    for one, other in zip(still, moving, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9 * float(one.abs().max()))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", EPSILON, ids=str)
def test_the_tensors_are_traceless(
    dtype: torch.dtype, backend: str, rng: np.random.Generator
) -> None:
    """That they are symmetric, too, exact arithmetic says below; here six components are kept."""
    _, tensors = tensor_basis(*states(rng, dtype=dtype), backend=backend)
    trace = tensors[:, 0] + tensors[:, 3] + tensors[:, 5]
    assert bool((trace.abs().amax(1) <= 32 * EPSILON[dtype] * tensors.abs().amax((1, 2))).all())


@pytest.mark.parametrize("backend", BACKENDS)
def test_relations_of_cayley_and_hamilton(backend: str, rng: np.random.Generator) -> None:
    """Longer products of s and r are the ten and the invariants again."""
    state = states(rng)
    found, tensors = tensor_basis(*state, backend=backend)
    one, two, three, four, _ = (x[:, None, None] for x in found)
    T = dict(enumerate(matrices(tensors), start=1))
    identity, (s, r) = torch.eye(3, dtype=torch.float64), rates(*state)
    s2, r2 = T[3] + one / 3 * identity, T[4] + two / 3 * identity
    close(s @ s @ s, one / 2 * s + three / 3 * identity)
    close(r @ r @ r, two / 2 * r)
    close(s2 @ s2, one / 2 * s2 + three / 3 * s)
    close(s2 @ r + s @ r @ s + r @ s2, one / 2 * r)
    close(r2 @ s + r @ s @ r + s @ r2, two / 2 * s + four * identity)
    close(s @ T[2] @ s, -T[8])
    close(r @ T[2] @ r, T[7])
    close(r @ T[5] @ r, -T[10])


@pytest.mark.parametrize("backend", BACKENDS)
def test_two_dimensional_flow_spans_three_tensors(backend: str, rng: np.random.Generator) -> None:
    """There T1, T2 and T3 are a basis, and two invariants tell the others."""
    G, k, epsilon = states(rng)
    G[:, 2, :] = G[:, :, 2] = 0
    G[:, 1, 1] = -G[:, 0, 0]
    (one, two, three, four, five), tensors = tensor_basis(G, k, epsilon, backend=backend)
    size = float(one.abs().max()) ** 1.5
    assert max(float(three.abs().max()), float(four.abs().max())) < 1e-13 * size
    close(five, one * two / 2)
    ranks = torch.linalg.matrix_rank(tensors.permute(2, 0, 1), rtol=1e-10)
    assert bool((ranks == 3).all())
    assert bool((torch.linalg.matrix_rank(tensors[:3].permute(2, 0, 1), rtol=1e-10) == 3).all())


def test_a_general_flow_spans_all_symmetric_traceless_matrices(rng: np.random.Generator) -> None:
    _, tensors = tensor_basis(*states(rng))
    assert bool((torch.linalg.matrix_rank(tensors.permute(2, 0, 1)) == 5).all())


def by_sympy(G: Sequence[Sequence[object]], ratio: object) -> tuple[list, list]:
    """Invariants and tensors of exact numbers."""
    sympy = pytest.importorskip("sympy", reason="sympy is not installed")
    G = sympy.Matrix(G)
    s, r = ratio * (G + G.T) / 2, ratio * (G - G.T) / 2

    def deviator(m):
        return m - m.trace() * sympy.eye(3) / 3

    s2, r2 = s * s, r * r
    found = [m.trace() for m in (s2, r2, s**3, r2 * s, r2 * s2)]
    tensors = [
        s, s * r - r * s, deviator(s2), deviator(r2), r * s2 - s2 * r, deviator(r2 * s + s * r2),
        r * s * r2 - r2 * s * r, s * r * s2 - s2 * r * s, deviator(r2 * s2 + s2 * r2),
        r * s2 * r2 - r2 * s2 * r,
    ]  # fmt: skip
    assert all(t == t.T and t.trace() == 0 for t in tensors)
    return found, [[t[i, j] for i, j in zip(ROWS, COLUMNS, strict=True)] for t in tensors]


@pytest.mark.parametrize("backend", BACKENDS)
def test_exact_arithmetic_agrees(backend: str, rng: np.random.Generator) -> None:
    sympy = pytest.importorskip("sympy", reason="sympy is not installed")
    whole = rng.integers(-9, 10, (4, 3, 3))
    whole[:, 2, 2] = -whole[:, 0, 0] - whole[:, 1, 1]
    G, k, epsilon = (torch.from_numpy(x) for x in (whole / 4, np.full(4, 3.0), np.full(4, 2.0)))
    found, tensors = tensor_basis(G, k, epsilon, backend=backend)
    for cell, entries in enumerate(whole.tolist()):
        exact = [[sympy.Rational(x, 4) for x in row] for row in entries]
        expected, basis = by_sympy(exact, sympy.Rational(3, 2))
        close(found[:, cell], torch.tensor(np.array(expected, dtype=float)))
        close(tensors[..., cell], torch.tensor(np.array(basis, dtype=float)))


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_limit_bounds_the_rates_and_goes_away_when_it_is_large(
    backend: str, rng: np.random.Generator
) -> None:
    G, k, epsilon = states(rng)
    found = invariants(1e4 * G, k, epsilon, limit=1.3, backend=backend)
    size = found[0] - found[1]
    assert bool((size < 1.3**2).all()) and bool((size > 0.999 * 1.3**2).all())
    free, bounded = (
        tensor_basis(G, k, epsilon, limit=limit, backend=backend) for limit in (None, 1e9)
    )
    for one, other in zip(free, bounded, strict=True):
        close(other, one)


@pytest.mark.parametrize("dtype", EPSILON, ids=str)
@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("cells", [1, 7, CELLS])
@pytest.mark.parametrize("streamed", [0, 2**40], ids=["past the cache", "cached"])
def test_the_kernel_gives_the_definition(
    streamed: int,
    cells: int,
    limit: float | None,
    dtype: torch.dtype,
    poisoned: None,
    monkeypatch: pytest.MonkeyPatch,
    rng: np.random.Generator,
) -> None:
    monkeypatch.setattr(cpu, "STREAMED", streamed)
    state = states(rng, cells, dtype=dtype)
    c = torch.from_numpy(rng.normal(size=(10, cells))).to(dtype)
    exact = [x.double() for x in state]
    expected = reference.tensor_basis(*exact, limit)
    components = reference.tensor_basis_by_components(*state, limit)
    found = tensor_basis(*state, limit=limit, backend="cpu")
    for one, other in ((found, expected), (components, expected)):
        close(one[0], other[0])
        for n in range(10):
            close(one[1][n], other[1][n])
    close(invariants(*state, limit=limit, backend="cpu"), expected[0])
    b = anisotropy(*state, c, limit=limit, backend="cpu")
    close(b, (c.double()[:, None] * expected[1]).sum(0))


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_whole_closure_is_its_parts(
    backend: str, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    monkeypatch.setattr("sciml.kernels.tensor_basis.PIECE", 50)
    state, net = states(rng), network(rng, 20, 14)
    g = net(reference.invariants(*state, 1.3))
    expected = reference.anisotropy(*state, g, 1.3)
    close(closure_step(*state, net, limit=1.3, backend=backend), expected, units=256)
    assert closure_step(*(x[:0] for x in state), net, backend=backend).shape == (6, 0)


def gradients(
    function: Callable[..., tuple[Tensor, ...]], given: Sequence[Tensor], weights: Sequence[Tensor]
) -> tuple[Tensor, ...]:
    """The derivatives of the weighted sum of what a function gives by all that it is given."""
    live = [x.detach().clone().requires_grad_() for x in given]
    total = sum((f * w).sum() for f, w in zip(function(*live), weights, strict=True))
    return torch.autograd.grad(total, live)


def functions(
    rng: np.random.Generator, limit: float | None, backend: str
) -> Iterator[tuple[Callable[..., tuple[Tensor, ...]], list[Tensor], list[Tensor]]]:
    """Each function as one of tensors, with what it is given and weights of what it gives."""

    def random(*shape: int) -> Tensor:
        return torch.from_numpy(rng.normal(size=shape))

    state, net = list(states(rng)), network(rng, 12)
    how = {"limit": limit, "backend": backend}
    yield lambda *x: tensor_basis(*x, **how), state, [random(5, CELLS), random(10, 6, CELLS)]
    yield lambda *x: tensor_basis(*x, **how)[1:], state, [random(10, 6, CELLS)]
    yield lambda *x: (invariants(*x, **how),), state, [random(5, CELLS)]
    given = [*state, random(10, CELLS)]
    yield lambda *x: (anisotropy(*x, **how),), given, [random(6, CELLS)]
    yield (
        lambda G, k, e, *p: (closure_step(G, k, e, net.like(p), **how),),
        [*state, *net.parameters],
        [random(6, CELLS)],
    )


@pytest.mark.parametrize("dtype", EPSILON, ids=str)
@pytest.mark.parametrize("limit", LIMITS)
def test_gradients_are_those_of_the_definition(
    limit: float | None, dtype: torch.dtype, poisoned: None, request: pytest.FixtureRequest
) -> None:
    seed = request.config.option.seed
    fast = functions(np.random.default_rng(seed), limit, "cpu")
    exact = functions(np.random.default_rng(seed), limit, "reference")
    for (kernel, given, weights), (definition, _, _) in zip(fast, exact, strict=True):
        found = gradients(kernel, [x.to(dtype) for x in given], [w.to(dtype) for w in weights])
        expected = gradients(definition, given, weights)
        for one, other in zip(found, expected, strict=True):
            assert float((one.double() - other).norm()) <= 64 * EPSILON[dtype] * float(other.norm())


@pytest.mark.parametrize("limit", LIMITS)
def test_adjoints_are_transposes_of_the_tangents(
    limit: float | None, rng: np.random.Generator
) -> None:
    """<w, J v> = <Jᵀ w, v>, with J v by central differences of the kernel of order four."""
    for function, given, weights in functions(rng, limit, "cpu"):
        changes = [torch.from_numpy(rng.normal(size=x.shape)) for x in given]

        def along(
            h: float, function=function, given=given, weights=weights, changes=changes
        ) -> float:
            moved = [x + h * v for x, v in zip(given, changes, strict=True)]
            return float(sum((f * w).sum() for f, w in zip(function(*moved), weights, strict=True)))

        h = 1e-4
        tangent = (8 * (along(h) - along(-h)) - (along(2 * h) - along(-2 * h))) / (12 * h)
        found = gradients(function, given, weights)
        products = [float((f * v).sum()) for f, v in zip(found, changes, strict=True)]
        size = sum(float((f * v).abs().sum()) for f, v in zip(found, changes, strict=True))
        assert abs(sum(products) - tangent) <= 1e-9 * size


def test_what_lies_apart_in_memory_is_taken(rng: np.random.Generator) -> None:
    G, k, epsilon = states(rng, 40)
    expected = tensor_basis(G[::2], k[::2], epsilon[::2], backend="reference")
    found = tensor_basis(G[::2], k[::2], epsilon[::2], backend="cpu")
    close(found[1], expected[1])
    transposed = G.mT.contiguous().mT
    close(tensor_basis(transposed, k, epsilon)[1], tensor_basis(G, k, epsilon)[1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"limit": 0.0}, "a limit of 0.0 was given"),
        ({"limit": float("nan")}, "a limit of nan was given"),
        ({"dissipation_rate": torch.ones(4)}, "give \\(cells, 3, 3\\)"),
        ({"velocity_gradient": torch.zeros(3, 9)}, "give \\(cells, 3, 3\\)"),
        ({"turbulent_kinetic_energy": torch.ones(3).double()}, "convert one to the other"),
        ({"coefficients": torch.ones(9, 3)}, "give ten rows"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict, message: str) -> None:
    """Below the checks of shapes that tests lay over the function."""
    given = {
        "velocity_gradient": torch.zeros(3, 3, 3),
        "turbulent_kinetic_energy": torch.ones(3),
        "dissipation_rate": torch.ones(3),
        "coefficients": torch.ones(10, 3),
    }
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(anisotropy)(**{**given, **change})


def test_networks_that_do_not_fit_are_refused() -> None:
    one = {"weights": (torch.ones(10, 5),), "biases": (torch.ones(10),)}
    with pytest.raises(ValueError, match="layer 0 has weights"):
        CoefficientNetwork(**{**one, "weights": (torch.ones(10, 4),)})
    with pytest.raises(ValueError, match="one of each for every layer"):
        CoefficientNetwork(**{**one, "biases": ()})
    unwrapped = inspect.unwrap(CoefficientNetwork.__post_init__)
    network = CoefficientNetwork(**one)
    object.__setattr__(network, "activation", "sine")
    with pytest.raises(ValueError, match="'sine' is unknown; choose one of gelu"):
        unwrapped(network)
