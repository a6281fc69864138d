"""Schemes converge with their order, meet their times, and fail with sample and time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchdiffeq import odeint

from sciml.dynamics.integrators import (
    EULER,
    HEUN,
    MIDPOINT,
    RK4,
    THREE_EIGHTHS,
    DormandPrince,
    Increment,
    LearnedRungeKutta,
    NonFiniteState,
    RungeKutta,
    StepTooSmall,
    Tableau,
    Torchdiffeq,
    integrate,
    order_conditions,
)
from sciml.dynamics.integrators.adaptive import PAIR, dense_sum
from sciml.dynamics.systems import Lorenz63

TABLEAUS = (EULER, HEUN, MIDPOINT, RK4, THREE_EIGHTHS)


class Counting:
    """A field that counts its evaluations."""

    def __init__(self, field: object) -> None:
        self.field, self.calls = field, 0

    def __call__(self, state: Tensor) -> Tensor:
        self.calls += 1
        return self.field(state)  # type: ignore[operator]


def pendulum(state: Tensor) -> Tensor:
    angle, speed = state.unbind(1)
    return torch.stack([speed, -angle.sin()], 1)


def random_states(rng: np.random.Generator, count: int, components: int = 3) -> Tensor:
    return torch.from_numpy(rng.normal(size=(count, components)))


def times_until(end: float, count: int) -> Tensor:
    return torch.linspace(0, end, count, dtype=torch.float64)


def slope(errors: list[float]) -> float:
    """Observed order of errors at step sizes that are halved."""
    return float(np.log2(np.array(errors[:-1]) / np.array(errors[1:])).mean())


@pytest.mark.parametrize("tableau", TABLEAUS, ids=lambda t: t.name)
def test_a_tableau_fulfils_the_conditions_of_its_order_and_no_more(tableau: Tableau) -> None:
    a, b = tableau.matrices()
    assert order_conditions(a, b, tableau.order).abs().max() < 1e-15
    if tableau.order < 4:
        assert order_conditions(a, b, tableau.order + 1).abs().max() > 1e-2


@pytest.mark.parametrize("tableau", TABLEAUS, ids=lambda t: t.name)
def test_a_scheme_converges_with_its_order(tableau: Tableau, rng: np.random.Generator) -> None:
    state, times = random_states(rng, 4, 2), times_until(1.0, 2)
    exact = integrate(pendulum, state, times, scheme=DormandPrince(rtol=1e-13, atol=1e-14))
    errors = []
    for step in (1 / 10, 1 / 20, 1 / 40):
        result = integrate(pendulum, state, times, scheme=RungeKutta(tableau, step=step))
        errors.append(float((result - exact).norm()))
    assert slope(errors) == pytest.approx(tableau.order, abs=0.35)


def test_a_tableau_that_is_not_explicit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"rows of \[1, 1\] entries"):
        Tableau(name="implicit", order=1, rows=((0.5,), (0.5,)), weights=(0.5, 0.5))


def test_a_step_divides_every_interval_evenly(rng: np.random.Generator) -> None:
    state = random_states(rng, 2)
    coarse = torch.tensor([0.0, 0.1, 0.25], dtype=torch.float64)
    fine = torch.tensor([0.0, 0.05, 0.1, 0.15, 0.2, 0.25], dtype=torch.float64)
    divided = integrate(Lorenz63(), state, coarse, scheme=RungeKutta(step=0.05))
    plain = integrate(Lorenz63(), state, fine)
    assert (divided - plain[:, [0, 2, 5]]).abs().max() < 1e-13


@pytest.mark.parametrize("scheme", [RungeKutta(step=0.03), DormandPrince()], ids=["RK4", "DP"])
def test_samples_with_times_of_their_own_do_not_know_of_each_other(
    scheme: RungeKutta, rng: np.random.Generator
) -> None:
    state = random_states(rng, 5)
    times = torch.from_numpy(rng.uniform(0.01, 0.2, size=(5, 7))).cumsum(1) - 1.0
    together = integrate(Lorenz63(), state, times, scheme=scheme)
    for i in range(5):
        alone = integrate(Lorenz63(), state[i : i + 1], times[i], scheme=scheme)
        assert (together[i] - alone[0]).abs().max() < 1e-11


def test_the_first_state_is_the_given_one_and_float32_stays(rng: np.random.Generator) -> None:
    state = random_states(rng, 3).float()
    for scheme in (RungeKutta(), LearnedRungeKutta(4, 2), DormandPrince(rtol=1e-4)):
        states = integrate(Lorenz63(), state, times_until(0.1, 3), scheme=scheme)
        assert states.dtype == torch.float32
        assert torch.equal(states[:, 0], state)


def test_bad_times_and_states_are_refused_with_sample_and_position() -> None:
    state = torch.ones(2, 3)
    bad = torch.tensor([[0.0, 0.1, 0.2], [0.0, 0.3, 0.3]])
    with pytest.raises(ValueError, match=r"position 2 of sample 1 has 0\.3.* after 0\.3"):
        integrate(Lorenz63(), state, bad)
    with pytest.raises(ValueError, match=r"times of shape \[3, 2\] given for 2 samples"):
        integrate(Lorenz63(), state, torch.zeros(3, 2))
    state[1, 2] = torch.nan
    with pytest.raises(ValueError, match="component 2 of the initial state of sample 1"):
        integrate(Lorenz63(), state, times_until(1.0, 2))


def test_a_blow_up_with_fixed_steps_names_sample_and_time() -> None:
    state = torch.tensor([[0.01], [5.0], [0.02]]).double()
    times = times_until(2.0, 21)
    with pytest.raises(NonFiniteState, match="sample 1") as caught:
        integrate(lambda x: x**3, state, times)
    assert caught.value.sample == 1
    assert 0 < caught.value.time < 2
    kept = integrate(lambda x: x**3, state, times, finite=False)
    assert torch.isfinite(kept[[0, 2]]).all()


def weights_at(fraction: Tensor) -> Tensor:
    """Weights of the seven rates in the dense output."""
    return dense_sum(fraction.reshape(1, 1), torch.eye(7, dtype=torch.float64)[None])[0]


def test_dense_output_joins_the_next_step_smoothly() -> None:
    zero, one = torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64)
    assert weights_at(one).tolist() == pytest.approx([*PAIR.weights, 0.0], abs=1e-14)
    for place, rate in ((zero, 0), (one, 6)):
        derivative = torch.func.jacrev(weights_at)(place)
        assert torch.allclose(derivative, torch.eye(7, dtype=torch.float64)[rate], atol=1e-13)


def test_dense_output_has_order_four_throughout_a_step() -> None:
    a = torch.zeros(7, 7, dtype=torch.float64)
    for i, row in enumerate((*PAIR.rows, PAIR.weights)):
        a[i, :i] = torch.tensor(row, dtype=torch.float64)
    c = a.sum(1)
    one = torch.ones_like(c)
    trees = (
        (one, 1, 1), (c, 2, 2), (c**2, 3, 3), (a @ c, 3, 6), (c**3, 4, 4), (c * (a @ c), 4, 8),
        (a @ c**2, 4, 12), (a @ (a @ c), 4, 24),
    )  # fmt: skip
    for fraction in torch.linspace(0, 1, 9, dtype=torch.float64):
        b = weights_at(fraction)
        for tree, nodes, density in trees:
            assert float(b @ tree) == pytest.approx(float(fraction) ** nodes / density, abs=1e-13)


def test_dormand_prince_keeps_its_tolerance_at_times_it_never_stops_at(
    rng: np.random.Generator,
) -> None:
    state, times = 3 * random_states(rng, 6), times_until(1.0, 101)
    exact = integrate(Lorenz63(), state, times, scheme=RungeKutta(step=2e-3))
    errors = []
    for rtol in (1e-4, 1e-6, 1e-8):
        scheme = DormandPrince(rtol=rtol, atol=rtol)
        errors.append(
            float((integrate(Lorenz63(), state, times, scheme=scheme) - exact).abs().max())
        )
    assert errors[0] < 1.0
    assert errors[2] < 1e-2 * errors[0]


def test_outputs_cost_no_evaluation() -> None:
    state = torch.tensor([[-6.0, -8.0, 22.0]]).double()
    calls = {}
    for count in (2, 33, 1001):
        field = Counting(Lorenz63())
        with torch.no_grad():
            integrate(field, state, times_until(0.32, count), scheme=DormandPrince())
        calls[count] = field.calls
    assert len(set(calls.values())) == 1
    peer = Counting(Lorenz63())
    odeint(lambda t, x: peer(x), state, times_until(0.32, 33), rtol=1e-6, atol=1e-9)
    assert calls[33] <= peer.calls + 6


def test_stops_end_a_step_on_every_time_without_a_restart(rng: np.random.Generator) -> None:
    state, times = random_states(rng, 3), times_until(1.0, 6)
    stopping, passing = Counting(Lorenz63()), Counting(Lorenz63())
    scheme = DormandPrince(stops=True)
    with torch.no_grad():
        result = integrate(stopping, state, times, scheme=scheme)
        integrate(passing, state, times, scheme=DormandPrince())
    assert stopping.calls <= passing.calls + 6 * 2 * (len(times) - 2)
    assert (stopping.calls - 2) % 6 == 0  # two to begin with, six a step, none at a time
    exact = integrate(Lorenz63(), state, times, scheme=RungeKutta(step=2e-3))
    assert (result - exact).abs().max() < 1e-3
    steps = scheme.plan(Lorenz63(), state, times).steps
    assert all(bool((s.passes.fractions == 1).all()) for s in steps if s.passes is not None)


def test_every_sample_has_its_own_steps() -> None:
    slow, fast = torch.tensor([[0.0, 0.01]]), torch.tensor([[0.0, 60.0]])
    state = torch.cat([slow, fast]).double()
    solution = DormandPrince().solve(pendulum, state, times_until(3.0, 2))
    counts = (solution.sizes > 0).sum(1)
    assert counts[1] > 4 * counts[0]
    assert torch.allclose(solution.sizes.sum(1), torch.full((2,), 3.0).double())


def test_a_finite_time_blow_up_is_a_step_too_small_with_its_sample_and_time() -> None:
    state = torch.tensor([[0.1], [0.5], [0.2]]).double()  # x' = x^2 ends at 1 / x0
    with pytest.raises(StepTooSmall, match=r"sample 1 .* raise rtol") as caught:
        integrate(torch.square, state, times_until(4.0, 5), scheme=DormandPrince())
    assert caught.value.sample == 1
    assert caught.value.time == pytest.approx(2.0, abs=1e-3)


def test_a_field_that_ends_is_a_step_too_small_with_its_sample_and_time() -> None:
    def field(x: Tensor) -> Tensor:
        return torch.ones_like(x).masked_fill(x > 1.0, torch.nan)

    state = torch.tensor([[-9.0], [0.25]]).double()
    with pytest.raises(StepTooSmall, match="sample 1") as caught:
        integrate(field, state, times_until(4.0, 5), scheme=DormandPrince())
    assert caught.value.time == pytest.approx(0.75, abs=1e-6)
    with pytest.raises(NonFiniteState, match="sample 0"):
        integrate(field, state[:1] + 11, times_until(4.0, 5), scheme=DormandPrince())


def test_too_many_steps_are_an_error_that_names_the_limit() -> None:
    state = torch.ones(1, 2).double()
    with pytest.raises(StepTooSmall, match="after 10 steps"):
        integrate(pendulum, state, times_until(50.0, 2), scheme=DormandPrince(most=10))


@pytest.mark.parametrize("method", ["rk4", "dopri5", "dopri8"])
def test_torchdiffeq_agrees(method: str, rng: np.random.Generator) -> None:
    state, times = random_states(rng, 3), torch.tensor([0.0, 0.11, 0.3]).double()
    exact = integrate(Lorenz63(), state, times, scheme=RungeKutta(step=1e-3))
    scheme = Torchdiffeq(method, rtol=1e-7, atol=1e-7, step=0.01)  # type: ignore[arg-type]
    assert (integrate(Lorenz63(), state, times, scheme=scheme) - exact).abs().max() < 1e-2
    own = integrate(Lorenz63(), state, times.expand(3, 3), scheme=scheme)
    assert (own - exact).abs().max() < 1e-2


def test_the_assertion_of_torchdiffeq_becomes_an_error_with_sample_and_time() -> None:
    state = torch.tensor([[0.1], [0.5], [0.2]]).double()
    with pytest.raises(StepTooSmall, match="sample 1") as caught:
        integrate(torch.square, state, times_until(4.0, 3), scheme=Torchdiffeq("dopri5"))
    assert caught.value.time == pytest.approx(2.0, abs=1e-2)


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("stages", [1, 2, 3, 4, 6])
def test_a_learned_tableau_keeps_its_order_whatever_its_parameters(
    stages: int, order: int, rng: np.random.Generator
) -> None:
    if stages < order:
        with pytest.raises(ValueError, match="at least as many stages"):
            LearnedRungeKutta(stages, order)
        return
    scheme = LearnedRungeKutta(stages, order)
    for parameter in scheme.parameters():
        noise = torch.from_numpy(rng.uniform(-0.1, 0.1, size=parameter.shape))
        parameter.data.add_(noise)
    assert order_conditions(*scheme.tableau(), order).abs().max() < 1e-9
    state, times = random_states(rng, 4, 2), times_until(1.0, 2)
    exact = integrate(pendulum, state, times, scheme=DormandPrince(rtol=1e-13, atol=1e-14))
    errors = []
    for step in (1 / 10, 1 / 20, 1 / 40):
        scheme.step = step
        result = integrate(pendulum, state, times, scheme=scheme).detach()
        errors.append(float((result - exact).norm()))
    assert slope(errors) > order - 0.3


def test_a_learned_scheme_of_four_stages_begins_as_rk4() -> None:
    a, b = LearnedRungeKutta(4, 3).tableau()
    assert torch.allclose(a, RK4.matrices()[0], atol=1e-15)
    assert torch.allclose(b, RK4.matrices()[1], atol=1e-14)


def test_an_increment_keeps_the_order_of_its_base(rng: np.random.Generator) -> None:
    torch.manual_seed(int(rng.integers(2**31)))
    network = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2)).double()
    state, times = random_states(rng, 4, 2), times_until(1.0, 2)
    exact = integrate(pendulum, state, times, scheme=DormandPrince(rtol=1e-13, atol=1e-14))
    errors = []
    for step in (1 / 40, 1 / 80, 1 / 160):
        scheme = Increment(network, base=RungeKutta(HEUN), step=step)
        result = integrate(pendulum, state, times, scheme=scheme).detach()
        errors.append(float((result - exact).norm()))
    assert slope(errors) == pytest.approx(2, abs=0.3)


def test_an_increment_of_the_field_itself_is_euler(rng: np.random.Generator) -> None:
    state, times = random_states(rng, 4, 2), times_until(0.1, 3)
    euler = integrate(pendulum, state, times, scheme=RungeKutta(EULER))
    increment = integrate(torch.neg, state, times, scheme=Increment(pendulum))
    torch.testing.assert_close(increment, euler, rtol=1e-14, atol=1e-15)
