"""Levenberg-Marquardt: known minima, convergence, resume, refusals."""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from sciml.train import (
    History,
    LeastSquares,
    LevenbergMarquardt,
    NonFiniteLoss,
    TrainOptions,
    fit,
    mean_squared,
)

Batch = tuple[Tensor, ...]
OPTIONS = TrainOptions(epochs=100, batch_size=500, optimiser="levenberg-marquardt", device="cpu")


class Point(nn.Module):
    """Parameters alone."""

    def __init__(self, *start: float) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.tensor(start, dtype=torch.float64))

    def forward(self, t: Tensor) -> Tensor:
        """A decay: x0 + x1 exp(x2 t)."""
        return self.x[0] + self.x[1] * torch.exp(self.x[2] * t)


def rosenbrock(net: nn.Module, batch: Batch) -> Tensor:
    x = net.x
    assert isinstance(x, Tensor)
    return torch.stack([10 * (x[1] - x[0] ** 2), 1 - x[0]]).expand(len(batch[0]), 2)


def simple(net: nn.Module, batch: Batch) -> Tensor:
    return net(batch[0]) - batch[1]


ONE = [(torch.zeros(1),)]


@pytest.mark.parametrize("solver", ["qr", "cholesky"])
@pytest.mark.parametrize("scaling", ["diagonal", "identity"])
def test_rosenbrock_from_the_classical_start(solver: Any, scaling: Any) -> None:
    net = Point(-1.2, 1.0)
    rule = partial(LevenbergMarquardt, solver=solver, scaling=scaling)
    history = fit(net, LeastSquares(rosenbrock), ONE, options=OPTIONS, update=rule)
    torch.testing.assert_close(net.x.detach(), torch.ones(2).double(), rtol=0, atol=1e-13)
    assert history.ended == "converged"
    assert history.epochs < 40
    assert list(history.train_loss) == sorted(history.train_loss, reverse=True)


def test_a_decay_is_recovered_to_ten_digits() -> None:
    t = torch.linspace(0, 4, 41, dtype=torch.float64)
    truth = Point(0.7, 2.5, -1.3)
    data = list(zip(t, truth(t).detach(), strict=True))
    net = Point(0.0, 1.0, -0.1)
    fit(net, LeastSquares(simple), data, options=OPTIONS)
    torch.testing.assert_close(net.x, truth.x, rtol=1e-10, atol=0)


def test_a_noisy_decay_ends_where_the_gradient_vanishes(rng: np.random.Generator) -> None:
    t = torch.linspace(0, 4, 41, dtype=torch.float64)
    noise = torch.from_numpy(rng.normal(scale=0.05, size=41))
    data = list(zip(t, Point(0.7, 2.5, -1.3)(t).detach() + noise, strict=True))
    net = Point(0.0, 1.0, -0.1)
    history = fit(net, LeastSquares(simple), data, options=OPTIONS)
    assert history.ended == "converged"
    loss = mean_squared(net(t)[None], torch.stack([y for _, y in data])[None])
    (gradient,) = torch.autograd.grad(loss, net.x)
    assert gradient.abs().max() < 1e-9


def line(rng: np.random.Generator, count: int = 30) -> list[tuple[Tensor, Tensor]]:
    x, y = torch.from_numpy(rng.normal(size=(count, 3))), torch.from_numpy(rng.normal(size=count))
    return list(zip(x, y[:, None], strict=True))


def test_linear_least_squares_takes_one_step(rng: np.random.Generator) -> None:
    data = line(rng)
    x, y = (torch.stack(column) for column in zip(*data, strict=True))
    exact = torch.linalg.lstsq(torch.cat([x, torch.ones(30, 1)], dim=1), y).solution[:, 0]
    net = nn.Linear(3, 1).double()
    rule = partial(LevenbergMarquardt, damping=1e-25)
    fit(net, LeastSquares(simple), data, options=replace(OPTIONS, epochs=1), update=rule)
    found = torch.cat([net.weight.detach()[0], net.bias.detach()])
    torch.testing.assert_close(found, exact, rtol=1e-12, atol=1e-13)


def test_a_scaled_parameter_changes_no_step(rng: np.random.Generator) -> None:
    """With D from the diagonal the iterates do not know the parameters' units."""
    data, unit = line(rng), 1e4
    scaled = [(x / torch.tensor([1.0, 1.0, unit]).double(), y) for x, y in data]
    nets = [nn.Linear(3, 1, bias=False).double() for _ in range(2)]
    for net in nets:
        nn.init.zeros_(net.weight)
    for net, samples in zip(nets, (data, scaled), strict=True):
        fit(net, LeastSquares(simple), samples, options=replace(OPTIONS, epochs=2))
    torch.testing.assert_close(nets[1].weight[0, 2] / unit, nets[0].weight[0, 2])


def mlp(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1)).double()


def sine() -> list[tuple[Tensor, Tensor]]:
    x = torch.linspace(-2, 2, 40, dtype=torch.float64)[:, None]
    return list(zip(x, torch.sin(2 * x), strict=True))


def losses(history: History) -> dict[str, object]:
    return {key: value for key, value in asdict(history).items() if key != "seconds"}


def test_a_small_network_goes_far_below_first_order_rules() -> None:
    net, adam = mlp(), mlp()
    options = replace(OPTIONS, epochs=60)
    history = fit(net, LeastSquares(simple), sine(), options=options)
    first = replace(options, optimiser="adamw", learning_rate=1e-2)
    other = fit(adam, LeastSquares(simple), sine(), options=first)
    assert history.train_loss[-1] < 1e-4 * other.train_loss[-1]


def test_an_interrupted_run_continues_bit_for_bit(tmp_path: Path) -> None:
    class Stop(RuntimeError):
        pass

    calls = 0

    def interrupted(net: nn.Module, batch: Batch) -> Tensor:
        nonlocal calls
        calls += 1
        if calls > 12:
            raise Stop
        return simple(net, batch)

    options, valid = replace(OPTIONS, epochs=15), sine()[::4]
    with pytest.raises(Stop):
        fit(mlp(), LeastSquares(interrupted), sine(), valid, options=options, folder=tmp_path)
    assert 0 < History.read(tmp_path / "history.json").epochs < 15
    resumed, whole = mlp(3), mlp()
    loss = LeastSquares(simple)
    got = fit(resumed, loss, sine(), valid, options=options, folder=tmp_path, resume=True)
    expected = fit(whole, loss, sine(), valid, options=options)
    assert losses(got) == losses(expected)
    for a, b in zip(resumed.parameters(), whole.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_converged_run_stays_as_it_is(tmp_path: Path) -> None:
    net, again = Point(-1.2, 1.0), Point(5.0, 5.0)
    history = fit(net, LeastSquares(rosenbrock), ONE, options=OPTIONS, folder=tmp_path)
    loss = LeastSquares(rosenbrock)
    assert fit(again, loss, ONE, options=OPTIONS, folder=tmp_path, resume=True) == history
    assert torch.equal(again.x, net.x)


def test_a_trial_step_out_of_the_domain_is_shortened() -> None:
    """The residual log x: the undamped step from 20 leads to 20 - 20 log 20, where it is NaN."""

    def logarithm(net: nn.Module, batch: Batch) -> Tensor:
        x = net.x
        assert isinstance(x, Tensor)
        return x.log().expand(len(batch[0]), 1)

    net = Point(20.0)
    fit(net, LeastSquares(logarithm), ONE, options=OPTIONS)
    assert net.x.item() == pytest.approx(1.0, rel=1e-14)


def test_float32_ends_at_its_rounding() -> None:
    net = mlp().float()
    data = [(x.float(), y.float()) for x, y in sine()]
    history = fit(net, LeastSquares(simple), data, options=replace(OPTIONS, epochs=60))
    assert history.train_loss[-1] < 1e-5 * history.train_loss[0]
    assert next(net.parameters()).dtype == torch.float32


class Owner:
    """An object that states residuals beside its loss, as a surrogate does."""

    def residuals(self, net: nn.Module, batch: Batch) -> Tensor:
        return simple(net, batch)

    def loss(self, net: nn.Module, batch: Batch) -> Tensor:
        return self.residuals(net, batch).square().mean()


def test_the_residuals_of_a_method_are_those_of_its_object(rng: np.random.Generator) -> None:
    nets = [nn.Linear(3, 1).double() for _ in range(2)]
    nets[1].load_state_dict(nets[0].state_dict())
    data = line(rng)
    options = replace(OPTIONS, epochs=3)
    fit(nets[0], Owner().loss, data, options=options)
    fit(nets[1], LeastSquares(simple), data, options=options)
    assert torch.equal(nets[0].weight, nets[1].weight)


def test_requests_it_cannot_meet_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    loss, data = LeastSquares(simple), sine()
    with pytest.raises(ValueError, match="does not say of which residuals"):
        fit(mlp(), lambda net, batch: simple(net, batch).square().mean(), data, options=OPTIONS)
    with pytest.raises(ValueError, match="set it to 40 or more"):
        fit(mlp(), loss, data, options=replace(OPTIONS, batch_size=16))
    with pytest.raises(ValueError, match='choose precision="32-true"'):
        fit(mlp(), loss, data, options=replace(OPTIONS, precision="bf16-mixed"))
    broken = [*data[:7], (data[7][0], data[7][1] * torch.inf), *data[8:]]
    with pytest.raises(NonFiniteLoss, match=r"epoch 1, batch 1, samples 7: "):
        fit(mlp(), loss, broken, options=OPTIONS)
    monkeypatch.setattr(Fabric, "world_size", property(lambda self: 2))
    with pytest.raises(ValueError, match="one process, not in 2"):
        fit(mlp(), loss, data, options=OPTIONS)
