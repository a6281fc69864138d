"""Adversarial training: a critic that learns beside the network it judges."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import torch
from jaxtyping import Float
from lightning_fabric import Fabric
from torch import Tensor, nn

from sciml.train.batches import Batch
from sciml.train.distributed import all_reduce
from sciml.train.options import TrainOptions
from sciml.train.update import AdamW, Objective, Update

Pair = tuple[Tensor, Tensor]
Kind = Literal["hinge", "wasserstein"]


def hinge(real: Float[Tensor, " real"], made: Float[Tensor, " made"]) -> Float[Tensor, ""]:
    r"""The critic's hinge loss, $\langle (1 - c(y))_+ \rangle + \langle (1 + c(\hat y))_+ \rangle$.

    Lim and Ye, "Geometric GAN", 2017, doi:10.48550/arXiv.1705.02894.

    Args:
        real: scores $c(y)$ of true samples.
        made: scores $c(\hat y)$ of the network's samples.

    Example:
        >>> hinge(torch.tensor([2.0, 0.5]), torch.tensor([-3.0]))
        tensor(0.2500)
    """
    return (1 - real).relu().mean() + (1 + made).relu().mean()


def wasserstein(real: Float[Tensor, " real"], made: Float[Tensor, " made"]) -> Float[Tensor, ""]:
    r"""The critic's Wasserstein loss, $\langle c(\hat y) \rangle - \langle c(y) \rangle$.

    For the best critic of slope 1 it is $-W_1$. Arjovsky, Chintala, Bottou, ICML 2017,
    doi:10.48550/arXiv.1701.07875.

    Example:
        >>> wasserstein(torch.tensor([2.0, 1.0]), torch.tensor([0.0]))
        tensor(-1.5000)
    """
    return made.mean() - real.mean()


def gradient_penalty(
    critic: nn.Module,
    real: Float[Tensor, "sample ..."],
    made: Float[Tensor, "sample ..."],
) -> Float[Tensor, ""]:
    r"""$\langle (\|\nabla c(z)\|_2 - 1)_+^2 \rangle$ at random points $z$ between true and made.

    Gulrajani et al., NeurIPS 2017, doi:10.48550/arXiv.1704.00028, one-sided as in Petzka, Fischer
    and Lukovnikov, ICLR 2018, doi:10.48550/arXiv.1709.08894: slopes below 1 cost nothing, else a
    critic in few dimensions cannot turn round once the network has overshot.

    Args:
        critic: $c$.
        real: true samples, as many as the network's.
        made: samples of the network.

    Example:
        >>> critic = nn.Linear(2, 1, bias=False)
        >>> _ = critic.weight.data.copy_(torch.tensor([[3.0, 4.0]]))
        >>> gradient_penalty(critic, torch.ones(5, 2), torch.zeros(5, 2)).item()
        16.0
    """
    share = torch.rand(len(real), *[1] * (real.ndim - 1), dtype=real.dtype, device=real.device)
    between = torch.lerp(made.detach(), real.detach(), share).requires_grad_()
    (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return (slope.flatten(1).norm(dim=1) - 1).relu().square().mean()


class Adversary:
    r"""A critic $c$, its loss, and the part of the network's loss that it gives.

    The network minimises $-\langle c(\hat y) \rangle$ beside other losses, while the critic
    minimises `hinge` or `wasserstein`, with `penalty` times the gradient penalty. Both change in
    turn where `fit` is given the adversary's update:

        adversary = Adversary(critic, lambda net, batch: (batch[1], net(batch[0])))

        def loss(net, batch):
            made = net(batch[0])
            return mean_squared(made, batch[1]) + 0.01 * adversary.loss(made)

        fit(net, loss, data, update=adversary.update)

    Args:
        critic: from samples (sample, ...) to scores (sample,) or (sample, 1).
        pair: true samples of a batch and the network's, as the critic is to see them.
        kind: the critic's loss.
        penalty: weight of the gradient penalty; 10 is usual for "wasserstein".
        steps: updates of the critic for each one of the network.
        learning_rate: of the critic's Adam, with $\beta = (0, 0.9)$.

    Raises:
        ValueError: a number out of its range.
    """

    def __init__(
        self,
        critic: nn.Module,
        pair: Callable[[nn.Module, Batch], Pair],
        *,
        kind: Kind = "hinge",
        penalty: float = 0.0,
        steps: int = 1,
        learning_rate: float = 1e-3,
    ) -> None:
        for name, value in (("steps", steps), ("learning_rate", learning_rate)):
            if value <= 0:
                raise ValueError(f"{name} is {value}, expected above 0")
        if penalty < 0:
            raise ValueError(f"penalty is {penalty}, expected at least 0")
        self.critic, self.pair, self.penalty, self.steps = critic, pair, penalty, steps
        self.objective = hinge if kind == "hinge" else wasserstein
        self.optimiser = torch.optim.Adam(critic.parameters(), lr=learning_rate, betas=(0.0, 0.9))

    def loss(self, made: Float[Tensor, "sample ..."]) -> Float[Tensor, ""]:
        r"""The network's part, $-\langle c(\hat y) \rangle$."""
        return -self.critic(made).mean()

    def critic_loss(
        self, real: Float[Tensor, "real ..."], made: Float[Tensor, "made ..."]
    ) -> Float[Tensor, ""]:
        """The critic's loss; no gradient goes to the network."""
        scores = (self.critic(samples.detach()).flatten() for samples in (real, made))
        value = self.objective(*scores)
        if self.penalty:
            value = value + self.penalty * gradient_penalty(self.critic, real, made)
        return value

    def update(self, fabric: Fabric, net: nn.Module, options: TrainOptions) -> Update:
        """The rule for `fit`: the critic, `steps` times, then the network by AdamW."""
        return Alternating(fabric, net, options, adversary=self)


class Alternating(Update):
    """The critic of an adversary and the network in turn; both are kept by the checkpoint."""

    def __init__(
        self, fabric: Fabric, net: nn.Module, options: TrainOptions, *, adversary: Adversary
    ) -> None:
        self.fabric, self.adversary = fabric, adversary
        self.inner = AdamW(fabric, net, options)
        self.net = self.inner.net
        adversary.critic.to(fabric.device)

    def __call__(self, objective: Objective, rate: float) -> float:
        """Both in turn; the network's loss before its change."""
        for _ in range(self.adversary.steps):
            self._teach(objective)
        return self.inner(objective, rate)

    def _teach(self, objective: Objective) -> None:
        adversary = self.adversary
        with torch.no_grad():
            real, made = adversary.pair(self.net, objective.batch)
        adversary.optimiser.zero_grad()
        value = adversary.critic_loss(real, made)
        mean = all_reduce(self.fabric, value.detach() * objective.weight, "mean")
        if not torch.isfinite(mean):
            raise objective.failure("critic's loss")
        (value * objective.weight).backward()
        self._average(adversary.critic.parameters())
        adversary.optimiser.step()

    def _average(self, parameters: Iterable[nn.Parameter]) -> None:
        """Mean of the gradients over the processes."""
        for parameter in parameters:
            if self.fabric.world_size > 1 and parameter.grad is not None:
                parameter.grad = all_reduce(self.fabric, parameter.grad, "mean")

    def state_dict(self) -> dict[str, Any]:
        """Moments of both optimisers, and the critic's weights."""
        return {
            "network": self.inner.state_dict(),
            "critic": self.adversary.critic.state_dict(),
            "optimiser": self.adversary.optimiser.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        self.inner.load_state_dict(state["network"])
        self.adversary.critic.load_state_dict(dict(state["critic"]))
        self.adversary.optimiser.load_state_dict(dict(state["optimiser"]))
