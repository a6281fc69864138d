"""Limited-memory quasi-Newton steps on the whole training set."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from sciml.train.options import TrainOptions
from sciml.train.update import Objective, Update, require_one_process

_FALL = 1e-6
"""Relative loss below which the unit of the loss is taken anew."""


class LBFGS(Update):
    r"""Limited-memory BFGS with a line search to the strong Wolfe conditions.

    Liu and Nocedal, Math. Program. 45 (1989), doi:10.1007/BF01589116, as in `torch.optim.LBFGS`.
    That drops pairs of steps and gradient differences with $y^\top s \le 10^{-10}$, and would
    stall at small losses: the loss is therefore divided by its value at the start, and again,
    with an empty memory, whenever it has fallen a millionfold. A trial step whose loss is not
    finite is shortened. A call that gains nothing empties the memory; a second one ends the run.

    One call is up to `iterations` steps.

    Args:
        fabric: the run's Fabric, of one process.
        net: the network; float64 goes deepest.
        options: rate, schedule, decay and clipping are not used.
        iterations: steps a call.
        memory: pairs kept; few were seen to cost small networks a digit.

    Raises:
        ValueError: several processes, or half precision.

    Example:
        >>> from sciml.train import fit, mean_squared
        >>> data = [(x, 2 * x) for x in torch.linspace(-1, 1, 16).double().reshape(-1, 1)]
        >>> net = nn.Linear(1, 1).double()
        >>> options = TrainOptions(epochs=2, batch_size=16, optimiser="lbfgs", device="cpu")
        >>> _ = fit(net, lambda f, b: mean_squared(f(b[0]), b[1]), data, options=options)
        >>> round(net.weight.item(), 6)
        2.0
    """

    whole = True

    def __init__(
        self,
        fabric: Fabric,
        net: nn.Module,
        options: TrainOptions,
        *,
        iterations: int = 20,
        memory: int = 100,
    ) -> None:
        require_one_process(fabric, options, "L-BFGS")
        self.fabric, self.net = fabric, fabric.setup(net)
        self.parameters = [p for p in net.parameters() if p.requires_grad]
        self.rule = torch.optim.LBFGS(
            self.parameters,
            max_iter=iterations,
            history_size=memory,
            tolerance_grad=0.0,
            tolerance_change=0.0,
            line_search_fn="strong_wolfe",
        )
        self.unit, self.fresh = math.inf, True

    def __call__(self, objective: Objective, rate: float) -> float:
        """Up to `iterations` steps; the loss before them."""
        before = self._value(objective)
        if not math.isfinite(before):
            raise objective.failure("loss")
        if before == 0 or self.converged:
            self.converged = True
            return before
        if abs(before) < _FALL * self.unit:
            self._forget()
            self.unit = abs(before)
        kept = [p.detach().clone() for p in self.parameters]
        self.rule.step(self._closure(objective))
        self._judge(before, self._value(objective), kept)
        return before

    def _closure(self, objective: Objective) -> Callable[[], Tensor]:
        """Loss in its unit, with gradients; infinite where it is not finite."""
        calls = itertools.count()

        def closure() -> Tensor:
            self.rule.zero_grad(set_to_none=False)
            value = objective.loss(self.net, objective.batch) / self.unit
            if torch.isfinite(value):
                self.fabric.backward(value)
                if next(calls) == 0 and not self._gradients_are_finite():
                    raise objective.failure("gradient of the loss")
            return value.detach().nan_to_num(nan=math.inf)

        return closure

    def _gradients_are_finite(self) -> bool:
        gradients = (p.grad for p in self.parameters)
        return all(bool(torch.isfinite(g).all()) for g in gradients if g is not None)

    @torch.no_grad()
    def _value(self, objective: Objective) -> float:
        return objective.loss(self.net, objective.batch).item()

    @torch.no_grad()
    def _judge(self, before: float, after: float, kept: list[Tensor]) -> None:
        """Undo steps that gained nothing; end where even an empty memory gains nothing."""
        if after < before:
            self.fresh = False
            return
        for parameter, old in zip(self.parameters, kept, strict=True):
            parameter.copy_(old)
        self.converged = self.fresh
        self._forget()

    def _forget(self) -> None:
        self.rule.state.clear()
        self.fresh = True

    def state_dict(self) -> dict[str, Any]:
        """Memory of the rule, and how it stands."""
        own = {"unit": self.unit, "fresh": self.fresh, "converged": self.converged}
        return {"rule": self.rule.state_dict(), **own}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        self.rule.load_state_dict(dict(state["rule"]))
        self.unit, self.fresh = state["unit"], state["fresh"]
        self.converged = state["converged"]
