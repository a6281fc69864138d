"""Learning-rate factors: warm-up, cosine and plateau."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from sciml.train.options import TrainOptions


def warmup(step: int, steps: int) -> float:
    """Linear rise, 1/steps at step 0 and 1 from step steps - 1 on.

    Example:
        >>> [warmup(i, 4) for i in range(5)]
        [0.25, 0.5, 0.75, 1.0, 1.0]
    """
    return min(1.0, (step + 1) / steps) if steps > 0 else 1.0


def cosine(progress: float) -> float:
    r"""$\tfrac12 (1 + \cos \pi t)$ for the progress $t$ from 0 to 1.

    Loshchilov and Hutter, "SGDR", ICLR 2017, doi:10.48550/arXiv.1608.03983.

    Example:
        >>> cosine(0.0), round(cosine(0.5), 12), cosine(1.0)
        (1.0, 0.5, 0.0)
    """
    return 0.5 * (1 + math.cos(math.pi * min(max(progress, 0.0), 1.0)))


class Plateau:
    """Factor that shrinks after `patience` epochs in a row without a smaller loss.

    Example:
        >>> plateau = Plateau(factor=0.5, patience=1)
        >>> [plateau.after(loss) for loss in (1.0, 1.0, 1.0, 0.5)]
        [1.0, 1.0, 0.5, 0.5]
    """

    def __init__(self, *, factor: float, patience: int) -> None:
        self.shrink, self.patience = factor, patience
        self.factor, self.best, self.waited = 1.0, math.inf, 0

    def after(self, loss: float) -> float:
        """Take note of an epoch's loss; the factor from now on."""
        self.waited = 0 if loss < self.best else self.waited + 1
        self.best = min(self.best, loss)
        if self.waited > self.patience:
            self.factor, self.waited = self.factor * self.shrink, 0
        return self.factor

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"factor": self.factor, "best": self.best, "waited": self.waited}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        self.factor, self.best, self.waited = state["factor"], state["best"], state["waited"]


class LearningRate:
    """The learning rate of every update.

    Args:
        options: rate, schedule and warm-up.
        steps_per_epoch: updates per epoch.

    Example:
        >>> rate = LearningRate(TrainOptions(epochs=2, learning_rate=1.0), steps_per_epoch=2)
        >>> [round(rate(step), 3) for step in range(4)]
        [1.0, 0.854, 0.5, 0.146]
    """

    def __init__(self, options: TrainOptions, steps_per_epoch: int) -> None:
        self.options = options
        self.warm = options.warmup_epochs * steps_per_epoch
        self.total = options.epochs * steps_per_epoch
        self.plateau = Plateau(factor=options.plateau_factor, patience=options.plateau_patience)

    def __call__(self, step: int) -> float:
        """Rate of update `step`, counted from zero over the whole run."""
        factor = warmup(step, self.warm)
        if self.options.schedule == "cosine":
            factor *= cosine((step - self.warm) / max(1, self.total - self.warm))
        if self.options.schedule == "plateau":
            factor *= self.plateau.factor
        return self.options.learning_rate * factor
