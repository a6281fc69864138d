"""The network of a neural ODE: a field in scaled coordinates, and the states it leads to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sciml.dynamics.fields.bilinear import Bilinear
from sciml.dynamics.graphs import GraphedWindow, plain_window
from sciml.dynamics.integrators import FixedStep, RungeKutta
from sciml.kernels.backend import choose
from sciml.kernels.rk_window import BilinearField, MLPField, rk_window
from sciml.nn import MLP

__all__ = ["FlowMap"]


class FlowMap(nn.Module):
    r"""States at later times, $X(t_k)$ with $\dot X = s \circ f((X - m) / s)$.

    Where the field is an MLP with tanh or bilinear, the scheme a Runge-Kutta scheme and the times
    of all samples the same and evenly spaced, the whole window is one kernel
    (`sciml.kernels.rk_window`) with its exact discrete adjoint. What no kernel takes on a GPU runs
    there in CUDA graphs (`sciml.dynamics.graphs`), which are no part of the network's state.

    Args:
        field: $f$, of scaled states.
        components: number of components of X.
        scheme: integration scheme; it takes `substeps` steps from each time to the next.
        substeps: as said.

    Attributes:
        mean: $m$, zero until fitted.
        scale: $s$, one until fitted.
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self, field: nn.Module, components: int, *, scheme: FixedStep, substeps: int = 1
    ) -> None:
        super().__init__()
        self.field, self.scheme, self.substeps = field, scheme, substeps
        self._graphs = GraphedWindow()
        self.register_buffer("mean", torch.zeros(components))
        self.register_buffer("scale", torch.ones(components))

    def rate(self, state: Float[Tensor, "*batch component"]) -> Float[Tensor, "*batch component"]:
        """The field itself: rate of change of `state`."""
        return self.scale * self.field((state - self.mean) / self.scale)

    def forward(
        self,
        state: Float[Tensor, "batch component"],
        times: Float[Tensor, "batch time"],
        *,
        kernel: bool = True,
    ) -> Float[Tensor, "batch time component"]:
        """States at `times`, the first of which is that of `state`.

        Args:
            state: initial states.
            times: increasing; a row for each sample.
            kernel: whether a kernel or a graph may be taken; `torch.func` differentiates the plain
                loop alone.
        """
        scaled = (state - self.mean) / self.scale
        taken = self._taken_by_kernel(scaled) if kernel else None
        step = None if taken is None else _even_step(times)
        if taken is not None and step is not None and isinstance(self.scheme, RungeKutta):
            states = rk_window(
                scaled,
                taken,
                step=step / self.substeps,
                steps=self.substeps * (times.shape[1] - 1),
                tableau=self.scheme.tableau.matrices(),
                every=self.substeps,
            )
        else:
            window = self._graphs if kernel else plain_window
            steps = times.diff(dim=1) / self.substeps
            states = window(self.field, self.scheme, self.substeps, scaled, steps)
        return self.mean + self.scale * states

    def _taken_by_kernel(self, state: Tensor) -> MLPField | BilinearField | None:
        """The field, if there is a kernel for it; on a GPU, only if more than the reference is."""
        field = _tensors_of(self.field)
        if field is None or not state.is_cuda:
            return field
        if choose("auto", state.detach()) == "reference":
            return None
        from sciml.kernels.rk_window.triton import unfit

        return field if unfit(field, self.scheme.stages) is None else None

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        """As of any module; graphs of what was elsewhere, or otherwise precise, are let go."""
        self._graphs.clear()
        return super()._apply(fn, recurse)


def _even_step(times: Tensor) -> float | None:
    """The one interval between all times of all samples, if there is one."""
    gaps = times.diff(dim=1)
    if gaps.numel() == 0:
        return None
    step = gaps[0, 0].item()
    return step if bool(((gaps - step).abs() <= 1e-9 * abs(step)).all()) else None


def _tensors_of(field: nn.Module) -> MLPField | BilinearField | None:
    """The field as the kernel takes it, if it does."""
    if isinstance(field, MLP):
        layers = list(field.layers)
        linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
        if all(isinstance(layer, nn.Linear | nn.Tanh) for layer in layers):
            return MLPField(
                weights=tuple(layer.weight for layer in linear),
                biases=tuple(layer.bias for layer in linear),
            )
    if isinstance(field, Bilinear) and field.constant is not None:
        return BilinearField(
            linear=field.linear,
            constant=field.constant,
            mixing=field.mixing,
            left=field.left,
            right=field.right,
        )
    return None
