"""How a batch changes the weights."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from sciml.train.batches import Batch
from sciml.train.distributed import all_reduce
from sciml.train.options import TrainOptions

Loss = Callable[[nn.Module, Batch], Tensor]
Rule = Callable[[Fabric, nn.Module, TrainOptions], "Update"]
"""A subclass of `Update`, or a function that makes one: `partial(LBFGS, memory=50)`."""


class NonFiniteLoss(ValueError):
    """The loss of a batch, or its gradient, is infinite or not a number."""

    def __init__(self, what: str, *, epoch: int, batch: int, samples: Sequence[int]) -> None:
        super().__init__(
            f"the {what} is not finite in epoch {epoch + 1}, batch {batch + 1}, samples "
            f"{', '.join(map(str, samples))}: look at these samples, or lower the learning rate"
        )
        self.epoch, self.batch, self.samples = epoch, batch, tuple(samples)


class Objective:
    r"""The loss of one batch as a function of the weights the network holds.

    Called, it gives this process's part: a scalar whose average over the processes is the mean
    over the batch's samples, $\frac1B \sum_b \ell_b$, and whose gradient is averaged likewise.

    Args:
        fabric: the run's Fabric.
        net: the network as Fabric wrapped it.
        loss: mean loss over the samples of a batch.
        batch: this process's samples.
        weight: number of processes times this process's fraction of the batch's samples.
        epoch: epoch, from zero.
        number: number of the batch in its epoch, from zero.
        samples: indices of the whole batch's samples; the error names them.
        mine: positions in `samples` of this process's samples.

    Attributes:
        value: the loss of the whole batch when the objective was last called.
    """

    def __init__(
        self,
        fabric: Fabric,
        net: nn.Module,
        loss: Loss,
        batch: Batch,
        *,
        weight: float,
        epoch: int,
        number: int,
        samples: Sequence[int],
        mine: Sequence[int],
    ) -> None:
        self.fabric, self.net, self.loss, self.batch = fabric, net, loss, batch
        self.weight, self.epoch, self.number = weight, epoch, number
        self.samples, self.mine = samples, mine
        self.value = math.nan

    def __call__(self) -> Tensor:
        """This process's part of the loss.

        Raises:
            NonFiniteLoss: in every process, where the loss is not finite in one.
        """
        with self.fabric.autocast():
            mean = self.loss(self.net, self.batch)
        part = mean * self.weight if self.weight else torch.nan_to_num(mean) * 0.0
        self.value = self._mean(part)
        if not math.isfinite(self.value):
            raise self.failure("loss")
        return part

    def failure(self, what: str) -> NonFiniteLoss:
        """The error for this batch, naming the samples whose own loss is not finite."""
        return NonFiniteLoss(
            what, epoch=self.epoch, batch=self.number, samples=self._culprits() or self.samples
        )

    @torch.no_grad()
    def _culprits(self) -> list[int]:
        bad = torch.zeros(len(self.samples), device=self.fabric.device)
        for i, position in enumerate(self.mine):
            single = tuple(field[i : i + 1] for field in self.batch)
            bad[position] = float(not torch.isfinite(self.loss(self.net, single)).all())
        bad = all_reduce(self.fabric, bad, "sum")
        return [index for index, is_bad in zip(self.samples, bad.tolist(), strict=True) if is_bad]

    def _mean(self, part: Tensor) -> float:
        if part.ndim:
            raise ValueError(
                f"the loss has shape {tuple(part.shape)}, expected a scalar: "
                "return the mean over the batch"
            )
        return all_reduce(self.fabric, part.detach(), "mean").item()


class Update(ABC):
    """A rule that changes the weights from the objective of one batch.

    The training loop knows no more of an optimiser than this. A first-order rule evaluates the
    objective once; a second-order rule takes the whole training set as one batch (`batch_size`
    at least the number of samples) and evaluates as often as it needs, or takes network, loss
    and batch from the objective and forms residuals itself.

    Attributes:
        net: the network as Fabric wrapped it, on the run's device.
        whole: whether every batch must hold all training samples.
        converged: whether the rule can gain no more; the run then ends.
    """

    net: nn.Module
    whole: bool = False
    converged: bool = False

    @abstractmethod
    def __init__(self, fabric: Fabric, net: nn.Module, options: TrainOptions) -> None:
        """Take the network to the run's device and prepare the rule."""

    @abstractmethod
    def __call__(self, objective: Objective, rate: float) -> float:
        """Change the weights; the loss before the change.

        Args:
            objective: the loss of the batch.
            rate: learning rate of this update.
        """

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps beside the weights: tensors and plain values."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""


def require_one_process(fabric: Fabric, options: TrainOptions, name: str) -> None:
    """Refuse what a rule that sees the whole training set at once cannot do.

    Raises:
        ValueError: several processes, or half precision.
    """
    if fabric.world_size > 1:
        raise ValueError(
            f"{name} runs in one process, not in {fabric.world_size}: start it without torchrun, "
            'or choose optimiser="adamw"'
        )
    if options.precision != "32-true":
        raise ValueError(
            f'{name} computes in the network\'s own type, not in "{options.precision}": '
            'choose precision="32-true"'
        )


class AdamW(Update):
    """Adam with decoupled weight decay and a limit on the gradient's norm.

    Kingma and Ba, ICLR 2015, doi:10.48550/arXiv.1412.6980; Loshchilov and Hutter, ICLR 2019,
    doi:10.48550/arXiv.1711.05101. The decay acts on matrices and kernels, not on biases and
    scales.
    """

    def __init__(self, fabric: Fabric, net: nn.Module, options: TrainOptions) -> None:
        self.fabric, self.clip = fabric, options.gradient_clip
        self.scaled = options.precision == "16-mixed"
        decayed = [p for p in net.parameters() if p.ndim > 1]
        plain = [p for p in net.parameters() if p.ndim <= 1]
        groups = [
            {"params": decayed, "weight_decay": options.weight_decay},
            {"params": plain, "weight_decay": 0.0},
        ]
        optimiser = torch.optim.AdamW(groups, lr=options.learning_rate)
        self.net, self.optimiser = fabric.setup(net, optimiser)

    def __call__(self, objective: Objective, rate: float) -> float:
        """One step; gradients that are not finite are refused (in "16-mixed", skipped)."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad()
        self.fabric.backward(objective())
        if self.clip is not None:
            norm = self.fabric.clip_gradients(
                self.net, self.optimiser, max_norm=self.clip, error_if_nonfinite=False
            )
            assert norm is not None
            if not self.scaled and not math.isfinite(norm.item()):
                raise objective.failure("gradient of the loss")
        self.optimiser.step()
        return objective.value

    def state_dict(self) -> dict[str, Any]:
        """Moments, step counts and groups of the optimiser."""
        return self.optimiser.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        self.optimiser.load_state_dict(dict(state))
