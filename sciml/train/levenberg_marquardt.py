"""Damped Gauss-Newton steps with the exact Jacobian."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from sciml.train.batches import Batch
from sciml.train.gauss_newton import Linearisation, Normal, System, Triangle, linearise
from sciml.train.least_squares import least_squares
from sciml.train.options import TrainOptions
from sciml.train.update import Objective, Update, require_one_process

Solver = Literal["auto", "qr", "cholesky"]
Scaling = Literal["diagonal", "identity"]

_LARGE, _SMALLEST, _LARGEST = 1000, 1e-30, 1e20


class LevenbergMarquardt(Update):
    r"""Levenberg-Marquardt for losses that are mean squares of residuals $r(\theta)$.

    A step solves $(J^\top J + \mu D)\,h = -J^\top r$ with the exact $J = \partial r/\partial\theta$
    and $D$ the largest diagonal of $J^\top J$ so far (Moré, Lect. Notes Math. 630 (1978),
    doi:10.1007/BFb0067700). It is taken where it lowers the loss, and $\mu$ follows the gain ratio

    $$\varrho = \frac{\|r(\theta)\|^2 - \|r(\theta + h)\|^2}{h^\top(\mu D h - J^\top r)}, \qquad
      \mu \leftarrow \mu \max\left(\tfrac13, 1 - (2\varrho - 1)^3\right) \text{ if } \varrho > 0,
      \text{ else } \mu \leftarrow \nu\mu,\ \nu \leftarrow 2\nu$$

    (Nielsen, IMM-REP-1999-05, Technical University of Denmark; Madsen, Nielsen and Tingleff,
    "Methods for non-linear least squares problems", 2004). One call is one step that lowers the
    loss, with as many trials as it takes; the run ends where none does any more.

    $J$ is made in chunks of samples and never held: with $p$ parameters the memory is about
    $16 p^2$ bytes and two chunks of 32 MiB.

    Args:
        fabric: the run's Fabric, of one process.
        net: the network, through which `torch.func` differentiates: samples do not see each
            other, and no step depends on their values. float64 goes deepest.
        options: rate, schedule, decay and clipping are not used.
        damping: $\mu$ at the start, relative to $D$.
        scaling: "identity" takes $D$ as the mean of that diagonal, for all parameters alike.
        solver: "qr" updates a triangle of $J$ and squares no condition number; "cholesky"
            accumulates $J^\top J$ in a fraction of the time; "auto" takes "qr" up to 1000
            parameters.
        chunk: samples per chunk of $J$; None for 32 MiB a chunk.

    Raises:
        ValueError: several processes or half precision; in a call, a loss without residuals.

    Example:
        >>> from sciml.train import LeastSquares, fit
        >>> data = [(x, 2 * x) for x in torch.linspace(-1, 1, 16).double().reshape(-1, 1)]
        >>> net = nn.Linear(1, 1).double()
        >>> options = TrainOptions(
        ...     epochs=9, batch_size=16, optimiser="levenberg-marquardt", device="cpu"
        ... )
        >>> loss = LeastSquares(lambda net, batch: net(batch[0]) - batch[1])
        >>> _ = fit(net, loss, data, options=options)
        >>> round(net.weight.item(), 12)
        2.0
    """

    whole = True

    def __init__(
        self,
        fabric: Fabric,
        net: nn.Module,
        options: TrainOptions,
        *,
        damping: float = 1e-3,
        scaling: Scaling = "diagonal",
        solver: Solver = "auto",
        chunk: int | None = None,
    ) -> None:
        require_one_process(fabric, options, "Levenberg-Marquardt")
        self.net, self.plain = fabric.setup(net), net
        self.damping, self.growth = damping, 2.0
        self.scaling, self.solver, self.chunk = scaling, solver, chunk
        self.largest: Tensor | None = None

    def __call__(self, objective: Objective, rate: float) -> float:
        """One step that lowers the loss, if there is one; the loss before it."""
        loss, batch = least_squares(objective.loss), objective.batch
        problem = Linearisation(self.plain, loss, chunk=self.chunk)
        residuals = problem.residuals(batch)
        mean = residuals.square().mean().item()
        if not math.isfinite(mean):
            raise objective.failure("loss")
        if self.converged:
            return mean
        system = linearise(problem, batch, residuals, self._kind(problem.size))
        if not torch.isfinite(system.gradient).all():
            raise objective.failure("Jacobian of the residuals")
        self._descend(problem, batch, system, residuals)
        return mean

    def _kind(self, size: int) -> type[System]:
        if self.solver == "auto":
            return Triangle if size <= _LARGE else Normal
        return Triangle if self.solver == "qr" else Normal

    def _descend(
        self, problem: Linearisation, batch: Batch, system: System, residuals: Tensor
    ) -> None:
        """Raise the damping until a step lowers the loss, or none can."""
        start, scale = problem.flat(), self._scale(system)
        total = residuals.square().sum().item()
        least = torch.finfo(torch.float64).eps * total
        while self.damping < _LARGEST:
            step = system.step(self.damping, scale)
            if step is not None:
                expected = step.dot(self.damping * scale * step - system.gradient).item()
                if expected <= least:
                    break
                problem.assign(start + step)
                gained = _gain(residuals, problem.residuals(batch))
                if gained > 0:
                    self._relax(gained / expected)
                    return
            self.damping, self.growth = self.damping * self.growth, self.growth * 2
        problem.assign(start)
        self.converged = True

    def _scale(self, system: System) -> Tensor:
        """$D$, positive even where a parameter changes nothing."""
        diagonal = system.diagonal
        if self.largest is None:
            self.largest = torch.zeros_like(diagonal)
        self.largest = torch.maximum(self.largest, diagonal)
        if self.scaling == "identity":
            return self.largest.mean().expand_as(diagonal).clamp_min(_SMALLEST)
        floor = torch.finfo(torch.float64).eps * self.largest.max().item()
        return self.largest.clamp_min(max(floor, _SMALLEST))

    def _relax(self, ratio: float) -> None:
        factor = max(1 / 3, 1 - (2 * ratio - 1) ** 3)
        self.damping, self.growth = max(self.damping * factor, _SMALLEST), 2.0

    def state_dict(self) -> dict[str, Any]:
        """Damping, its growth, the diagonal, and whether the run has converged."""
        return {
            "damping": self.damping,
            "growth": self.growth,
            "largest": self.largest,
            "converged": self.converged,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        self.damping, self.growth = state["damping"], state["growth"]
        self.converged = state["converged"]
        if state["largest"] is not None:
            self.largest = state["largest"].to(next(self.plain.parameters()).device)


def _gain(before: Tensor, after: Tensor) -> float:
    """Fall of the sum of squares, without the cancellation of two sums; NaN if not finite."""
    return ((before - after) * (before + after)).sum().item()
