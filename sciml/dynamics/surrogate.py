"""The neural ODE: a learned vector field that forecasts from a known state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, final

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor, nn

from sciml.dynamics.fields.bilinear import Bilinear
from sciml.dynamics.fields.polynomial import Polynomial
from sciml.dynamics.integrators import EULER, HEUN, MIDPOINT, RK4, THREE_EIGHTHS, RungeKutta
from sciml.dynamics.network import FlowMap
from sciml.dynamics.systems import COMPONENTS, history_of, times_of
from sciml.dynamics.windows import Windows, states_of
from sciml.nn import MLP
from sciml.nn.activation import Activation
from sciml.surrogate import Surrogate
from sciml.train import Batch, Dataset

__all__ = [
    "BilinearOptions",
    "MLPOptions",
    "NeuralODE",
    "NeuralODEOptions",
    "PolynomialOptions",
]

SCHEMES = {
    "euler": EULER,
    "heun": HEUN,
    "midpoint": MIDPOINT,
    "rk4": RK4,
    "three-eighths": THREE_EIGHTHS,
}
SchemeName = Literal["euler", "heun", "midpoint", "rk4", "three-eighths"]


@dataclass(frozen=True, kw_only=True)
class BilinearOptions:
    """Linear terms and `products` products of linear maps; see `sciml.dynamics.fields.Bilinear`."""

    products: int = 3

    def build(self, components: int) -> nn.Module:
        return Bilinear(components, products=self.products)


@dataclass(frozen=True, kw_only=True)
class PolynomialOptions:
    """All monomials up to `degree`; see `sciml.dynamics.fields.Polynomial`."""

    degree: int = 2

    def build(self, components: int) -> nn.Module:
        return Polynomial(components, degree=self.degree)


@dataclass(frozen=True, kw_only=True)
class MLPOptions:
    """A multilayer perceptron; with tanh its windows run in one kernel."""

    hidden: Sequence[int] = (64, 64)
    activation: Activation = "tanh"

    def build(self, components: int) -> nn.Module:
        return MLP(components, components, hidden=self.hidden, activation=self.activation)


@dataclass(frozen=True, kw_only=True)
class NeuralODEOptions:
    """What a :class:`NeuralODE` is made of.

    Attributes:
        field: the vector field.
        scheme: Runge-Kutta scheme, with `substeps` equal steps from one time to the next.
        window: intervals that a training window spans, `stride` from one window to the next.
        scaled: whether the field sees states minus their mean, over their standard deviation.
        components: names of the state's components.
    """

    field: BilinearOptions | PolynomialOptions | MLPOptions = field(default_factory=MLPOptions)
    scheme: SchemeName = "rk4"
    substeps: int = 1
    window: int = 1
    stride: int = 1
    scaled: bool = True
    components: tuple[str, ...] = COMPONENTS


@final
class NeuralODE(Surrogate[NeuralODEOptions]):
    """A vector field learned from trajectories, integrated from a known state into a forecast.

    In float64. The loss is the mean square over windows of X̂(t) − X(t) in standard deviations of
    the training data, X̂ integrated from the first state of the window; any optimiser takes it.
    Chen et al., "Neural ordinary differential equations", 2018, doi:10.48550/arXiv.1806.07366.
    """

    inputs: ClassVar = {"state": "1"}
    outputs: ClassVar = {"state": "1"}

    def build(self) -> nn.Module:
        options = self.options
        components = len(options.components)
        return FlowMap(
            options.field.build(components),
            components,
            scheme=RungeKutta(SCHEMES[options.scheme]),
            substeps=options.substeps,
        ).double()

    def calibrate(self, net: nn.Module, train: xr.Dataset) -> None:
        """Mean and standard deviation of each component, over what was observed."""
        states, observed = states_of(train)
        count = observed.sum((0, 1))
        mean = states.sum((0, 1)) / count
        deviation = np.sqrt((observed * (states - mean) ** 2).sum((0, 1)) / count)
        self._deviation = torch.from_numpy(deviation)
        if self.options.scaled:
            net.mean.copy_(torch.from_numpy(mean))  # type: ignore[union-attr,operator]
            net.scale.copy_(self._deviation)  # type: ignore[union-attr,operator]

    def samples(self, ds: xr.Dataset) -> Dataset:
        return Windows(ds, length=self.options.window, stride=self.options.stride)

    def loss(self, net: nn.Module, batch: Batch) -> Tensor:
        return self._residuals(net, batch, kernel=True).square().mean()

    def residuals(self, net: nn.Module, batch: Batch, /) -> Tensor:
        """What the loss is the mean square of, as Levenberg-Marquardt needs it."""
        return self._residuals(net, batch, kernel=False)

    def _residuals(self, net: nn.Module, batch: Batch, *, kernel: bool) -> Tensor:
        times, states, observed = batch
        forecast = net(states[:, 0], times, kernel=kernel)
        return ((forecast - states) * observed / self._deviation.to(states))[:, 1:]

    def summaries(self, ds: xr.Dataset) -> xr.Dataset:
        """Each component of the states: the last known ones, or all in training data."""
        state = ds["state"].transpose("sample", "time", "component")
        if "history" in ds or "history" in ds.attrs:
            values = state.isel(time=history_of(ds) - 1).values
        else:
            values = state.values.reshape(-1, state.sizes["component"])
            values = values[np.isfinite(values).all(-1)]
        names = self.options.components
        return xr.Dataset(
            {name: ("sample", values[:, i], {"units": "1"}) for i, name in enumerate(names)}
        )

    def evaluate(self, *fields: Tensor) -> tuple[Tensor, ...]:
        """States [batch, time, component] from those at the first of `times` [batch, time]."""
        with torch.no_grad():
            return (self.network(*fields),)

    def rate(self, state: Float[Tensor, "*batch component"]) -> Float[Tensor, "*batch component"]:
        """The learned field: rate of change of `state`."""
        return self.network.rate(state)  # type: ignore[operator]

    def _predict(self, ds: xr.Dataset) -> xr.Dataset:
        """The known states as they are, then the forecast from the last of them."""
        known, times = history_of(ds), torch.from_numpy(times_of(ds).copy())
        state = ds["state"].transpose("sample", "time", "component")
        values = state.values.astype(np.float64)
        begin = torch.from_numpy(values[:, known - 1])
        (forecast,) = self.evaluate(begin, times[:, known - 1 :])
        values[:, known:] = forecast[:, 1:].numpy()
        return xr.Dataset({"state": state.copy(data=values)})
