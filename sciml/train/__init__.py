"""Training on one process or several: options, loop, losses, checkpoints, history."""

from __future__ import annotations

from sciml.train.batches import Batch, Dataset
from sciml.train.distributed import is_main
from sciml.train.history import History
from sciml.train.loop import fit
from sciml.train.losses import (
    gradient_difference,
    huber,
    mean_absolute,
    mean_squared,
    relative_l2,
)
from sciml.train.options import TrainOptions
from sciml.train.update import AdamW, Loss, NonFiniteLoss, Objective, Update

__all__ = [
    "AdamW",
    "Batch",
    "Dataset",
    "History",
    "Loss",
    "NonFiniteLoss",
    "Objective",
    "TrainOptions",
    "Update",
    "fit",
    "gradient_difference",
    "huber",
    "is_main",
    "mean_absolute",
    "mean_squared",
    "relative_l2",
]
