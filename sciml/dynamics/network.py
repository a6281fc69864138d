"""The network of a neural ODE: a field in scaled coordinates, and the states it leads to."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sciml.dynamics.fields.bilinear import Bilinear
from sciml.dynamics.integrators import FixedStep, RungeKutta
from sciml.kernels.rk_window import BilinearField, MLPField, rk_window
from sciml.nn import MLP

__all__ = ["FlowMap"]


class FlowMap(nn.Module):
    r"""States at later times, $X(t_k)$ with $\dot X = s \circ f((X - m) / s)$.

    Where the field is an MLP with tanh or bilinear, the scheme a Runge-Kutta scheme and the times
    of all samples the same and evenly spaced, the whole window is one kernel
    (`sciml.kernels.rk_window`) with its exact discrete adjoint.

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
            kernel: whether the kernel may be taken; `torch.func` differentiates the plain loop
                alone.
        """
        scaled = (state - self.mean) / self.scale
        step = _even_step(times) if kernel else None
        plain = _tensors_of(self.field)
        if step is not None and plain is not None and isinstance(self.scheme, RungeKutta):
            states = rk_window(
                scaled,
                plain,
                step=step / self.substeps,
                steps=self.substeps * (times.shape[1] - 1),
                tableau=self.scheme.tableau.matrices(),
                every=self.substeps,
            )
        else:
            states = self._march(scaled, times.diff(dim=1) / self.substeps)
        return self.mean + self.scale * states

    def _march(self, state: Tensor, steps: Tensor) -> Tensor:
        states = [state]
        for k in range(steps.shape[1]):
            for _ in range(self.substeps):
                state = self.scheme.advance(self.field, state, steps[:, k : k + 1])
            states.append(state)
        return torch.stack(states, dim=1)


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
