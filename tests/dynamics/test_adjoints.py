"""Gradients: exact where they say so, measured where not, and as cheap as promised."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchdiffeq import odeint_adjoint

from sciml.dynamics.adjoints import (
    Revolve,
    adjoint,
    gradient_distance,
    recomputations,
    tangent,
)
from sciml.dynamics.integrators import (
    HEUN,
    DormandPrince,
    ExplicitScheme,
    Increment,
    LearnedRungeKutta,
    RungeKutta,
    Scheme,
    integrate,
    march,
)
from sciml.dynamics.systems import ATTRACTOR_MEAN, ATTRACTOR_STANDARD_DEVIATION, Lorenz63


class LorenzField(nn.Module):
    """Lorenz-63 with its three numbers as parameters; counts its evaluations."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = nn.Parameter(torch.tensor([10.0, 28.0, 8 / 3], dtype=torch.float64))
        self.calls = 0

    def forward(self, state: Tensor) -> Tensor:
        self.calls += 1
        sigma, rho, beta = self.numbers
        x, y, z = state.unbind(1)
        return torch.stack([sigma * (y - x), x * (rho - z) - y, x * y - beta * z], 1)


def network(rng: np.random.Generator, scale: float = 1.0) -> nn.Sequential:
    torch.manual_seed(int(rng.integers(2**31)))
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 3)).double()


def on_the_attractor(rng: np.random.Generator, count: int) -> Tensor:
    """States that have come near to the attractor."""
    start = rng.normal(ATTRACTOR_MEAN, ATTRACTOR_STANDARD_DEVIATION, size=(count, 3))
    times = torch.tensor([0.0, 2.0]).double()
    scheme = RungeKutta(step=0.01)
    return integrate(Lorenz63(), torch.from_numpy(start), times, scheme=scheme)[:, 1]


def learned(rng: np.random.Generator) -> LearnedRungeKutta:
    scheme = LearnedRungeKutta(4, 2, step=0.02)
    for parameter in scheme.parameters():
        parameter.data.add_(torch.from_numpy(rng.uniform(-0.05, 0.05, size=parameter.shape)))
    return scheme


def scheme_of(name: str, rng: np.random.Generator) -> Scheme:
    if name == "increment":
        return Increment(network(rng), base=RungeKutta(HEUN), step=0.02)
    return {
        "rk4": lambda: RungeKutta(step=0.02),
        "learned": lambda: learned(rng),
        "dormand-prince": lambda: DormandPrince(rtol=1e-5, atol=1e-5),
        "stops": lambda: DormandPrince(rtol=1e-5, atol=1e-5, stops=True),
    }[name]()


NAMES = ("rk4", "learned", "increment", "dormand-prince", "stops")


def shared_times(count: int = 6) -> Tensor:
    return torch.linspace(0, 0.3, count, dtype=torch.float64)


def gradients(
    field: nn.Module, scheme: Scheme, state: Tensor, times: Tensor, covector: Tensor, mode: object
) -> list[Tensor]:
    state = state.clone().requires_grad_()
    states = integrate(field, state, times, scheme=scheme, gradient=mode)  # type: ignore[arg-type]
    leaves = [state, *field.parameters(), *scheme.parameters()]
    return list(torch.autograd.grad((states * covector).sum(), leaves, materialize_grads=True))


def plain_loop(field: nn.Module, scheme: ExplicitScheme, state: Tensor, times: Tensor) -> Tensor:
    """The definition, written without the library's march."""
    rows, weights = scheme.coefficients(torch.float64)
    states = [state]
    for k in range(len(times) - 1):
        count = round(float(times[k + 1] - times[k]) / 0.02)
        h = (times[k + 1] - times[k]) / count
        for _ in range(count):
            rates: list[Tensor] = []
            for row in rows:
                shift = sum((a * k for a, k in zip(row, rates, strict=True)), torch.zeros(()))
                rates.append(field(state + h * shift))
            state = state + h * sum(b * k for b, k in zip(weights, rates, strict=True))
        states.append(state)
    return torch.stack(states, 1)


@pytest.mark.parametrize("name", ["rk4", "learned"])
@pytest.mark.parametrize("mode", ["store", "checkpoint", Revolve(slots=2)], ids=str)
def test_discrete_modes_are_autograd_of_the_plain_loop(
    name: str, mode: object, rng: np.random.Generator
) -> None:
    field, scheme = LorenzField(), scheme_of(name, rng)
    state, times = on_the_attractor(rng, 3), shared_times()
    covector = torch.from_numpy(rng.normal(size=(3, 6, 3)))
    start = state.clone().requires_grad_()
    loop = plain_loop(field, scheme, start, times)  # type: ignore[arg-type]
    leaves = [start, *field.parameters(), *scheme.parameters()]
    exact = torch.autograd.grad((loop * covector).sum(), leaves)
    for mine, theirs in zip(
        gradients(field, scheme, state, times, covector, mode), exact, strict=True
    ):
        assert (mine - theirs).norm() <= 1e-12 * theirs.norm()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "mode", ["checkpoint", Revolve(slots=1), Revolve(slots=3), Revolve(slots=99)], ids=str
)
def test_discrete_modes_agree_for_times_of_each_samples_own(
    name: str, mode: object, rng: np.random.Generator
) -> None:
    field, scheme, state = LorenzField(), scheme_of(name, rng), on_the_attractor(rng, 4)
    times = torch.from_numpy(rng.uniform(0.01, 0.1, size=(4, 5))).cumsum(1)
    covector = torch.from_numpy(rng.normal(size=(4, 5, 3)))
    exact = gradients(field, scheme, state, times, covector, "store")
    for mine, theirs in zip(
        gradients(field, scheme, state, times, covector, mode), exact, strict=True
    ):
        assert (mine - theirs).norm() <= 1e-12 * theirs.norm()


@lru_cache
def fewest_advances(steps: int, slots: int) -> int:
    """The recursion that defines the optimum, by exhaustion."""
    if steps == 1:
        return 0
    if slots == 1:
        return steps * (steps - 1) // 2
    return min(
        m + fewest_advances(steps - m, slots - 1) + fewest_advances(m, slots)
        for m in range(1, steps)
    )


def test_the_formula_of_binomial_checkpointing_is_the_optimum() -> None:
    for steps in range(1, 40):
        for slots in range(1, 12):
            assert recomputations(steps, slots) == fewest_advances(steps, slots) - (steps - 1)


@pytest.mark.parametrize("slots", [1, 2, 3, 5, 8, 23, 24, 40])
def test_revolve_recomputes_as_rarely_as_can_be(slots: int, rng: np.random.Generator) -> None:
    field, state = LorenzField(), on_the_attractor(rng, 2).requires_grad_()
    times = torch.linspace(0, 0.24, 25, dtype=torch.float64)
    states = integrate(field, state, times, gradient=Revolve(slots=slots))
    assert field.calls == 4 * 24
    states.sum().backward()
    assert field.calls == 4 * (24 + 24 + recomputations(24, slots))


def test_checkpoint_does_every_step_once_more_however_many(rng: np.random.Generator) -> None:
    field, state = LorenzField(), on_the_attractor(rng, 1).requires_grad_()
    times = torch.linspace(0, 1.1, 1101, dtype=torch.float64)
    integrate(field, state, times, gradient="checkpoint")[:, -1].sum().backward()
    assert field.calls == 2 * 4 * 1100


@pytest.mark.parametrize("mode", ["continuous", "interpolated"])
def test_a_backward_equation_is_right_on_lorenz_over_a_unit_of_time(
    mode: str, rng: np.random.Generator
) -> None:
    """Constant step 0.01: backward solvers that carry the state along are wrong by 1 to 24 %."""
    state = on_the_attractor(rng, 16)
    for count in (2, 101):
        times = torch.linspace(0, 1, count, dtype=torch.float64)
        distances = [
            gradient_distance(
                LorenzField(), state, times, scheme=RungeKutta(step=step), gradient=mode
            )  # type: ignore[arg-type]
            for step in (0.01, 0.005)
        ]
        assert distances[0].state < 1e-3
        assert distances[0].worst < 1e-2
        assert distances[0].parameters < 1e-3
        assert distances[1].state < distances[0].state / 6  # order 4, or 3 where it is not yet


def test_the_backward_equation_of_torchdiffeq_is_wrong_there(rng: np.random.Generator) -> None:
    """What the test above would catch: the state carried backward over the whole window."""
    state, times = on_the_attractor(rng, 16), torch.tensor([0.0, 1.0]).double()
    field = LorenzField()
    exact = gradients(
        field, RungeKutta(step=0.01), state, times, torch.ones(16, 2, 3).double(), "store"
    )[0]

    class Timed(nn.Module):
        def forward(self, time: Tensor, x: Tensor) -> Tensor:
            return field(x)

    start = state.clone().requires_grad_()
    options = {"step_size": 0.01}
    odeint_adjoint(
        Timed(), start, times, method="rk4", options=options, adjoint_params=()
    ).sum().backward()
    assert start.grad is not None
    assert ((start.grad - exact).norm(dim=1) / exact.norm(dim=1)).max() > 0.01


@pytest.mark.parametrize("mode", ["continuous", "interpolated"])
@pytest.mark.parametrize("own", [False, True])
def test_the_adaptive_backward_equation_follows_its_tolerance(
    mode: str, own: bool, rng: np.random.Generator
) -> None:
    state, times = on_the_attractor(rng, 4), torch.linspace(0, 1, 8, dtype=torch.float64)
    if own:
        times = torch.from_numpy(rng.uniform(0.05, 0.2, size=(4, 8))).cumsum(1)
    distances = [
        gradient_distance(
            LorenzField(), state, times, scheme=DormandPrince(rtol=rtol, atol=rtol), gradient=mode
        )  # type: ignore[arg-type]
        for rtol in (1e-6, 1e-8)
    ]
    assert distances[0].state < 1e-3
    assert distances[1].state < 1e-5
    assert distances[1].parameters < 1e-5


def backward_calls(mode: str, count: int, *, last_only: bool) -> tuple[int, int]:
    """Evaluations forward and backward over 0.32 units of time with `count` times."""
    field = LorenzField()
    state = torch.tensor([[-6.0, -8.0, 22.0]], dtype=torch.float64, requires_grad=True)
    times = torch.linspace(0, 0.32, count, dtype=torch.float64)
    states = integrate(field, state, times, scheme=DormandPrince(), gradient=mode)  # type: ignore
    forward = field.calls
    (states[:, -1] if last_only else states).sum().backward()
    return forward, field.calls - forward


@pytest.mark.parametrize("mode", ["continuous", "interpolated"])
def test_the_adaptive_backward_equation_does_not_restart_at_output_times(mode: str) -> None:
    few, many = (backward_calls(mode, n, last_only=True) for n in (2, 33))
    assert few == many  # a time without a covector costs nothing
    field = LorenzField()

    class Timed(nn.Module):
        def forward(self, time: Tensor, x: Tensor) -> Tensor:
            return field(x)

    start = torch.tensor([[-6.0, -8.0, 22.0]], dtype=torch.float64, requires_grad=True)
    times = torch.linspace(0, 0.32, 33, dtype=torch.float64)
    states = odeint_adjoint(Timed(), start, times, rtol=1e-6, atol=1e-9, adjoint_params=())
    forward = field.calls
    states.sum().backward()
    peer = field.calls - forward
    mine = backward_calls(mode, 33, last_only=False)[1]
    assert mine <= 7 * 32 + 3  # six a step and one for the jump
    assert mine < 0.8 * peer


def test_discrete_gradients_of_an_adaptive_scheme_cost_the_same_for_any_number_of_times() -> None:
    costs = [backward_calls("checkpoint", n, last_only=False)[1] for n in (12, 33, 97)]
    assert max(costs) - min(costs) <= 1 * 20  # the seventh stage, where a step is passed inside
    assert max(costs) < 150


@pytest.mark.parametrize("name", NAMES)
def test_the_adjoint_is_the_transpose_of_the_tangent(name: str, rng: np.random.Generator) -> None:
    field, scheme, state = LorenzField(), scheme_of(name, rng), on_the_attractor(rng, 3)
    times = torch.from_numpy(rng.uniform(0.02, 0.1, size=(3, 5))).cumsum(1)
    u, v = (torch.from_numpy(rng.normal(size=s)) for s in ((3, 3), (3, 5, 3)))
    back, parts = adjoint(field, state, v, times, scheme=scheme)
    along = {k: torch.from_numpy(rng.normal(size=p.shape)) for k, p in parts.items()}
    forth = tangent(field, state, u, times, scheme=scheme, parameter_direction=along)
    left = float((forth * v).sum())
    right = float((u * back).sum()) + sum(float((along[k] * parts[k]).sum()) for k in parts)
    assert left == pytest.approx(right, rel=1e-12, abs=1e-12 * float(forth.norm() * v.norm()))


@pytest.mark.parametrize("name", NAMES)
def test_the_tangent_is_the_first_term_of_taylor(name: str, rng: np.random.Generator) -> None:
    """The remainder falls with slope 2; adaptive schemes with their steps held fixed."""
    field, scheme, state = LorenzField(), scheme_of(name, rng), on_the_attractor(rng, 3)
    times = shared_times()
    u = torch.from_numpy(rng.normal(size=(3, 3)))
    plan = scheme.plan(field, state, times)
    with torch.no_grad():
        base = march(scheme, field, state, plan)
        first = tangent(field, state, u, times, scheme=scheme)
        remainders = [
            float((march(scheme, field, state + e * u, plan) - base - e * first).norm())
            for e in (1e-2, 1e-3, 1e-4)
        ]
    assert np.allclose(-np.diff(np.log10(remainders)), 2, atol=0.1)


@pytest.mark.parametrize("name", NAMES)
def test_the_adjoint_is_the_gradient_of_integrate(name: str, rng: np.random.Generator) -> None:
    field, scheme, state = LorenzField(), scheme_of(name, rng), on_the_attractor(rng, 3)
    times, v = shared_times(), torch.from_numpy(rng.normal(size=(3, 6, 3)))
    back, parts = adjoint(field, state, v, times, scheme=scheme)
    exact = gradients(field, scheme, state, times, v, "store")
    assert torch.allclose(back, exact[0], rtol=1e-11)
    assert torch.allclose(parts["field.numbers"], exact[1], rtol=1e-11)


def test_a_jacobian_by_torch_func_goes_through_store(rng: np.random.Generator) -> None:
    state, times = on_the_attractor(rng, 2), shared_times()
    field = Lorenz63()

    def last(x: Tensor) -> Tensor:
        return integrate(field, x, times)[:, -1]

    backward, forward = torch.func.jacrev(last)(state), torch.func.jacfwd(last)(state)
    assert torch.allclose(backward, forward, rtol=1e-12)


def test_what_a_mode_cannot_do_is_refused(rng: np.random.Generator) -> None:
    state, times = on_the_attractor(rng, 1).requires_grad_(), shared_times()
    with pytest.raises(ValueError, match="scheme's own parameters"):
        integrate(LorenzField(), state, times, scheme=learned(rng), gradient="continuous")
    increment = Increment(network(rng).requires_grad_(False))
    with pytest.raises(ValueError, match="Increment does not solve an equation"):
        integrate(LorenzField(), state, times, scheme=increment, gradient="continuous")
    hidden = LorenzField().numbers
    with pytest.raises(ValueError, match=r"plain function of tensors that require a gradient"):
        integrate(lambda x: x * hidden[0], state, times, gradient="checkpoint")
    with pytest.raises(ValueError, match="0 slots"):
        Revolve(slots=0)
