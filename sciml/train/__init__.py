"""Training on one process or several: options, loop, losses, checkpoints, history.

What needs Lightning Fabric (seconds to import) is imported when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sciml.train.batches import Batch, Dataset, Rows
from sciml.train.discrepancy import maximum_mean_discrepancy, median_distance
from sciml.train.history import History
from sciml.train.least_squares import LeastSquares
from sciml.train.likelihood import LearnedCovariance, cholesky_factor, gaussian_nll
from sciml.train.losses import (
    gradient_difference,
    huber,
    mean_absolute,
    mean_power,
    mean_squared,
    relative_l2,
)
from sciml.train.options import TrainOptions
from sciml.train.transport import sinkhorn_divergence, sliced_wasserstein

if TYPE_CHECKING:
    from sciml.train.adversarial import Adversary
    from sciml.train.distributed import is_main
    from sciml.train.lbfgs import LBFGS
    from sciml.train.levenberg_marquardt import LevenbergMarquardt
    from sciml.train.loop import fit
    from sciml.train.update import AdamW, Loss, NonFiniteLoss, Objective, Rule, Update

__all__ = [
    "LBFGS",
    "AdamW",
    "Adversary",
    "Batch",
    "Dataset",
    "History",
    "LearnedCovariance",
    "LeastSquares",
    "LevenbergMarquardt",
    "Loss",
    "NonFiniteLoss",
    "Objective",
    "Rows",
    "Rule",
    "TrainOptions",
    "Update",
    "cholesky_factor",
    "fit",
    "gaussian_nll",
    "gradient_difference",
    "huber",
    "is_main",
    "maximum_mean_discrepancy",
    "mean_absolute",
    "mean_power",
    "mean_squared",
    "median_distance",
    "relative_l2",
    "sinkhorn_divergence",
    "sliced_wasserstein",
]

_LATE = {
    "Adversary": "adversarial",
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
