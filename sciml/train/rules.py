"""The rule that an option names."""

from __future__ import annotations

from importlib import import_module

from sciml.train.options import Optimiser, TrainOptions
from sciml.train.update import Rule

_RULES: dict[Optimiser, tuple[str, str]] = {
    "adamw": ("update", "AdamW"),
    "lbfgs": ("lbfgs", "LBFGS"),
    "levenberg-marquardt": ("levenberg_marquardt", "LevenbergMarquardt"),
}


def rule_of(options: TrainOptions) -> Rule:
    """The update that `options.optimiser` names.

    Example:
        >>> rule_of(TrainOptions(optimiser="lbfgs"))
        <class 'sciml.train.lbfgs.LBFGS'>
    """
    module, name = _RULES[options.optimiser]
    rule: Rule = getattr(import_module(f"sciml.train.{module}"), name)
    return rule
