"""Training on one process or several: options, loop, losses, checkpoints, history.

What needs Lightning Fabric (seconds to import) is imported when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sciml.train.batches import Batch, Dataset
from sciml.train.history import History
from sciml.train.least_squares import LeastSquares
from sciml.train.losses import (
    gradient_difference,
    huber,
    mean_absolute,
    mean_squared,
    relative_l2,
)
from sciml.train.options import TrainOptions

if TYPE_CHECKING:
    from sciml.train.distributed import is_main
    from sciml.train.lbfgs import LBFGS
    from sciml.train.levenberg_marquardt import LevenbergMarquardt
    from sciml.train.loop import fit
    from sciml.train.update import AdamW, Loss, NonFiniteLoss, Objective, Rule, Update

__all__ = [
    "LBFGS",
    "AdamW",
    "Batch",
    "Dataset",
    "History",
    "LeastSquares",
    "LevenbergMarquardt",
    "Loss",
    "NonFiniteLoss",
    "Objective",
    "Rule",
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

_LATE = {
    "LBFGS": "lbfgs",
    "LevenbergMarquardt": "levenberg_marquardt",
    "fit": "loop",
    "is_main": "distributed",
} | dict.fromkeys(("AdamW", "Loss", "NonFiniteLoss", "Objective", "Rule", "Update"), "update")


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_LATE[name]}"), name)
    globals()[name] = value
    return value
