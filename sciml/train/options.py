"""What a training run asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Schedule = Literal["cosine", "plateau", "constant"]
Precision = Literal["32-true", "bf16-mixed", "16-mixed"]
Device = Literal["auto", "cpu", "cuda"]
Optimiser = Literal["adamw", "lbfgs", "levenberg-marquardt"]


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Options of `sciml.train.fit`.

    Args:
        epochs: passes over the training samples.
        batch_size: samples per update over all processes together.
        learning_rate: largest learning rate.
        weight_decay: decoupled weight decay of AdamW (Loshchilov and Hutter, ICLR 2019,
            doi:10.48550/arXiv.1711.05101).
        schedule: "cosine" falls to zero at the last update; "plateau" multiplies the rate by
            `plateau_factor` after `plateau_patience` epochs without improvement; "constant".
        warmup_epochs: epochs over which the rate rises linearly from zero.
        plateau_factor: see `schedule`.
        plateau_patience: see `schedule`.
        gradient_clip: largest Euclidean norm of the gradient; None for no limit.
        patience: stop after so many epochs without a better validation loss; None never stops.
        ema_decay: decay of the exponential moving average of the weights, which then is what
            is validated and returned; None for no average.
        precision: "32-true" computes in the network's own type, "bf16-mixed" and "16-mixed" in
            half precision where it is safe.
        device: "auto" takes CUDA where there is one.
        seed: seed of the shuffles and of the randomness in network and loss.
        loader_workers: processes that read samples beside the one that trains.
        optimiser: "lbfgs" and "levenberg-marquardt" (the loss a mean square of residuals, see
            `sciml.train.LeastSquares`) take all samples as one batch: `batch_size` at least
            their number. They choose their own steps: rate, schedule, decay and clipping are
            for "adamw" alone. An epoch is one call of the rule; a network in float64 goes deepest.

    Raises:
        ValueError: a number out of its range.

    Example:
        >>> TrainOptions(epochs=10, batch_size=4).learning_rate
        0.001
    """

    epochs: int = 100
    batch_size: int = 16
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    schedule: Schedule = "cosine"
    warmup_epochs: int = 0
    plateau_factor: float = 0.5
    plateau_patience: int = 10
    gradient_clip: float | None = 1.0
    patience: int | None = None
    ema_decay: float | None = None
    precision: Precision = "32-true"
    device: Device = "auto"
    seed: int = 0
    loader_workers: int = 0
    optimiser: Optimiser = "adamw"

    def __post_init__(self) -> None:
        """Refuse numbers out of range."""
        _require("epochs", self.epochs, self.epochs >= 1, "at least 1")
        _require("batch_size", self.batch_size, self.batch_size >= 1, "at least 1")
        _require("learning_rate", self.learning_rate, self.learning_rate > 0, "above 0")
        _require("weight_decay", self.weight_decay, self.weight_decay >= 0, "at least 0")
        _require("warmup_epochs", self.warmup_epochs, self.warmup_epochs >= 0, "at least 0")
        _require(
            "plateau_factor", self.plateau_factor, 0 < self.plateau_factor < 1, "between 0 and 1"
        )
        _require(
            "plateau_patience", self.plateau_patience, self.plateau_patience >= 0, "at least 0"
        )
        clip, patience, decay = self.gradient_clip, self.patience, self.ema_decay
        _require("gradient_clip", clip, clip is None or clip > 0, "above 0, or None")
        _require("patience", patience, patience is None or patience >= 1, "at least 1, or None")
        _require("ema_decay", decay, decay is None or 0 <= decay < 1, "from 0 to below 1, or None")
        _require("seed", self.seed, self.seed >= 0, "at least 0")
        _require("loader_workers", self.loader_workers, self.loader_workers >= 0, "at least 0")


def _require(name: str, value: object, holds: bool, expected: str) -> None:
    if not holds:
        raise ValueError(f"{name} is {value}, expected {expected}")
