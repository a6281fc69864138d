"""The critic: its losses in closed form, and a distribution learned from it alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sciml.train import Adversary, NonFiniteLoss, TrainOptions, fit
from sciml.train.adversarial import gradient_penalty, hinge, wasserstein

Batch = tuple[Tensor, ...]
OPTIONS = TrainOptions(
    epochs=1, batch_size=64, learning_rate=0.02, weight_decay=0.0, schedule="constant", device="cpu"
)


def test_wasserstein_of_a_slope_is_the_shift(rng: np.random.Generator) -> None:
    """A critic of slope 1 along the shift attains minus W1."""
    x = torch.from_numpy(rng.normal(size=(50, 2)))
    critic = nn.Linear(2, 1, bias=False).double()
    direction = torch.tensor([[0.6, 0.8]], dtype=torch.float64)
    critic.weight.data.copy_(direction)
    y = x + 2.5 * direction
    torch.testing.assert_close(
        wasserstein(critic(y)[:, 0], critic(x)[:, 0]).item(), -2.5, rtol=1e-12, atol=0
    )
    assert gradient_penalty(critic, y, x).item() == pytest.approx(0.0, abs=1e-24)


def test_hinge_vanishes_beyond_the_margin() -> None:
    assert hinge(torch.tensor([1.0, 4.0]), torch.tensor([-1.0, -9.0])).item() == 0
    assert hinge(torch.zeros(3), torch.zeros(3)).item() == 2


def test_the_penalty_agrees_with_differences(rng: np.random.Generator) -> None:
    """Its gradient with respect to the critic's weights goes through a gradient."""
    x, y = torch.from_numpy(rng.normal(size=(2, 4, 2)))
    first = nn.Linear(2, 5)
    critic = nn.Sequential(first, nn.Tanh(), nn.Linear(5, 1)).double()
    weight = 10 * first.weight.detach()  # slopes above 1, where the penalty acts

    def value(w: Tensor) -> Tensor:
        torch.manual_seed(0)
        held = {"0.weight": w}
        return gradient_penalty(_Held(critic, held), x, y)

    torch.autograd.gradcheck(value, (weight.requires_grad_(),))


class _Held(nn.Module):
    def __init__(self, net: nn.Module, held: dict[str, Tensor]) -> None:
        super().__init__()
        self.net, self.held = net, held

    def forward(self, x: Tensor) -> Tensor:
        return torch.func.functional_call(self.net, self.held, (x,))


class Spread(nn.Module):
    """y = a + b x: the Gaussian with mean a and deviation b."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.a + self.b * x


def critic(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(1, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))


def adversary(seed: int = 0, **changes: Any) -> Adversary:
    return Adversary(critic(seed), lambda net, batch: (batch[1], net(batch[0])), **changes)


def data(rng: np.random.Generator, count: int = 512) -> list[Batch]:
    """Noise, and samples of the Gaussian (1, 0.6) that do not belong to it."""
    x, y = rng.normal(size=(2, count, 1)).astype(np.float32)
    return [(torch.from_numpy(a), torch.from_numpy(1 + 0.6 * b)) for a, b in zip(x, y, strict=True)]


@pytest.mark.parametrize(
    "changes",
    [{"kind": "hinge", "penalty": 1.0}, {"kind": "wasserstein", "penalty": 1.0, "steps": 2}],
    ids=["hinge", "wasserstein"],
)
def test_a_gaussian_is_learned_from_the_critic_alone(
    rng: np.random.Generator, changes: dict[str, Any]
) -> None:
    net, judge = Spread(), adversary(learning_rate=0.02, **changes)

    def loss(net: nn.Module, batch: Batch) -> Tensor:
        return judge.loss(net(batch[0]))

    options = replace(OPTIONS, epochs=50, learning_rate=0.01, schedule="cosine")
    fit(net, loss, data(rng), options=options, update=judge.update)
    assert net.a.item() == pytest.approx(1.0, abs=0.3)
    assert abs(net.b.item()) == pytest.approx(0.6, abs=0.2)


def test_the_critic_sees_no_gradient_of_the_network(rng: np.random.Generator) -> None:
    net, judge = Spread(), adversary()
    x, y = (torch.stack(column) for column in zip(*data(rng, 8), strict=True))
    judge.critic_loss(y, net(x)).backward()
    assert net.a.grad is None
    assert all(p.grad is not None for p in judge.critic.parameters())


def test_an_interrupted_run_continues_bit_for_bit(rng: np.random.Generator, tmp_path: Path) -> None:
    """Critic, its moments and the penalty's random numbers among the rest."""

    class Stop(RuntimeError):
        pass

    samples, calls, options = data(rng), 0, replace(OPTIONS, epochs=4)

    def run(judge: Adversary, net: Spread, limit: int, **where: Any) -> None:
        def loss(net: nn.Module, batch: Batch) -> Tensor:
            nonlocal calls
            calls += 1
            if calls > limit:
                raise Stop
            return judge.loss(net(batch[0]))

        fit(net, loss, samples, options=options, update=judge.update, **where)

    with pytest.raises(Stop):
        run(adversary(penalty=1.0), Spread(), 20, folder=tmp_path)
    resumed, whole, judges = Spread(), Spread(), [adversary(7, penalty=1.0), adversary(penalty=1.0)]
    run(judges[0], resumed, 1000, folder=tmp_path, resume=True)
    run(judges[1], whole, 1000)
    assert torch.equal(resumed.a, whole.a)
    for a, b in zip(judges[0].critic.parameters(), judges[1].critic.parameters(), strict=True):
        assert torch.equal(a, b)


def test_bad_requests_are_refused(rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match="steps is 0"):
        adversary(steps=0)
    with pytest.raises(ValueError, match="penalty is -1"):
        adversary(penalty=-1.0)
    judge, samples = adversary(), data(rng, 8)
    samples[3] = (samples[3][0], samples[3][1] * torch.inf)
    with pytest.raises(NonFiniteLoss, match="critic's loss"):
        fit(
            Spread(),
            lambda f, b: judge.loss(f(b[0])),
            samples,
            options=OPTIONS,
            update=judge.update,
        )
