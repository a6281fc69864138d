"""L-BFGS: known minima, small losses, resume, refusals."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from sciml.train import LBFGS, History, NonFiniteLoss, TrainOptions, fit, mean_squared

Batch = tuple[Tensor, ...]
OPTIONS = TrainOptions(epochs=60, batch_size=500, optimiser="lbfgs", device="cpu")


class Point(nn.Module):
    def __init__(self, *start: float) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.tensor(start, dtype=torch.float64))


def rosenbrock(net: nn.Module, batch: Batch) -> Tensor:
    x = net.x
    assert isinstance(x, Tensor)
    return (1 - x[:-1]).square().sum() + 100 * (x[1:] - x[:-1].square()).square().sum()


ONE = [(torch.zeros(1),)]


@pytest.mark.parametrize("factor", [1.0, 1e-12, 1e9])
def test_rosenbrock_in_ten_dimensions_whatever_its_unit(factor: float) -> None:
    net = Point(*([-0.5] * 10))
    history = fit(net, lambda f, b: factor * rosenbrock(f, b), ONE, options=OPTIONS)
    torch.testing.assert_close(net.x.detach(), torch.ones(10).double(), rtol=0, atol=1e-9)
    assert history.ended == "converged"


def squared(net: nn.Module, batch: Batch) -> Tensor:
    return mean_squared(net(batch[0]), batch[1])


def line(rng: np.random.Generator, count: int = 30) -> list[tuple[Tensor, Tensor]]:
    x, y = torch.from_numpy(rng.normal(size=(count, 3))), torch.from_numpy(rng.normal(size=count))
    return list(zip(x, y[:, None], strict=True))


def test_reaches_the_least_squares_solution(rng: np.random.Generator) -> None:
    data, net = line(rng), nn.Linear(3, 1).double()
    x, y = (torch.stack(column) for column in zip(*data, strict=True))
    exact = torch.linalg.lstsq(torch.cat([x, torch.ones(30, 1)], dim=1), y).solution[:, 0]
    history = fit(net, squared, data, options=OPTIONS)
    found = torch.cat([net.weight.detach()[0], net.bias.detach()])
    torch.testing.assert_close(found, exact, rtol=1e-7, atol=1e-8)
    assert history.ended == "converged"


def test_it_does_not_stall_at_small_losses(rng: np.random.Generator) -> None:
    """torch's own rule drops its memory's pairs below 1e-10 and creeps from there."""
    x = torch.from_numpy(rng.normal(size=(40, 5))) * torch.tensor([1.0, 3.0, 10.0, 0.3, 0.1])
    weight = torch.from_numpy(rng.normal(size=5)) * 1e-6
    data = list(zip(x, (x @ weight)[:, None], strict=True))
    net = nn.Linear(5, 1, bias=False).double()
    nn.init.zeros_(net.weight)
    fit(net, squared, data, options=OPTIONS)
    torch.testing.assert_close(net.weight.detach()[0], weight, rtol=1e-6, atol=1e-12)


def mlp(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1)).double()


def sine() -> list[tuple[Tensor, Tensor]]:
    x = torch.linspace(-2, 2, 40, dtype=torch.float64)[:, None]
    return list(zip(x, torch.sin(2 * x), strict=True))


def losses(history: History) -> dict[str, object]:
    return {key: value for key, value in asdict(history).items() if key != "seconds"}


def test_the_loss_never_rises() -> None:
    history = fit(mlp(), squared, sine(), options=replace(OPTIONS, epochs=8))
    assert list(history.train_loss) == sorted(history.train_loss, reverse=True)
    assert history.train_loss[-1] < 1e-3 * history.train_loss[0]


def test_an_interrupted_run_continues_bit_for_bit(tmp_path: Path) -> None:
    class Stop(RuntimeError):
        pass

    calls = 0

    def interrupted(net: nn.Module, batch: Batch) -> Tensor:
        nonlocal calls
        calls += 1
        if calls > 60:
            raise Stop
        return squared(net, batch)

    options = replace(OPTIONS, epochs=5)
    with pytest.raises(Stop):
        fit(mlp(), interrupted, sine(), options=options, folder=tmp_path)
    assert 0 < History.read(tmp_path / "history.json").epochs < 5
    resumed, whole = mlp(3), mlp()
    got = fit(resumed, squared, sine(), options=options, folder=tmp_path, resume=True)
    expected = fit(whole, squared, sine(), options=options)
    assert losses(got) == losses(expected)
    for a, b in zip(resumed.parameters(), whole.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_trial_step_out_of_the_domain_is_shortened() -> None:
    """log x - x has its largest value at 1; a long step leads to x < 0, where it is NaN."""

    def loss(net: nn.Module, batch: Batch) -> Tensor:
        x = net.x
        assert isinstance(x, Tensor)
        return (x - x.log()).sum()

    net = Point(1e-3)
    fit(net, loss, ONE, options=OPTIONS)
    assert net.x.item() == pytest.approx(1.0, rel=1e-7)


def test_requests_it_cannot_meet_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = sine()
    with pytest.raises(ValueError, match="set it to 40 or more"):
        fit(mlp(), squared, data, options=replace(OPTIONS, batch_size=16))
    with pytest.raises(ValueError, match='choose precision="32-true"'):
        fit(mlp(), squared, data, options=replace(OPTIONS, precision="bf16-mixed"))
    broken = [*data[:7], (data[7][0], data[7][1] * torch.inf), *data[8:]]
    with pytest.raises(NonFiniteLoss, match=r"epoch 1, batch 1, samples 7: "):
        fit(mlp(), squared, broken, options=OPTIONS)
    with pytest.raises(NonFiniteLoss, match="gradient"):
        fit(mlp(), lambda f, b: (0 * f(b[0])).abs().sqrt().mean() + 1, data, options=OPTIONS)
    monkeypatch.setattr(Fabric, "world_size", property(lambda self: 2))
    with pytest.raises(ValueError, match="one process, not in 2"):
        fit(mlp(), squared, data, options=OPTIONS)


def test_the_argument_wins_over_the_option() -> None:
    """The option asks for AdamW, which would go nowhere at this rate."""
    options = replace(OPTIONS, epochs=5, optimiser="adamw", learning_rate=1e-12)
    history = fit(mlp(), squared, sine(), options=options, update=LBFGS)
    assert history.train_loss[-1] < 0.1 * history.train_loss[0]
