"""The networks that carry latents on in time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, final

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float64
from torch import Tensor, nn

from sciml.nn import Standardize
from sciml.nn.recurrent import LinearForecast, NeuralFlow, RecurrentForecast
from sciml.surrogate import Surrogate, extremes
from sciml.train import Batch, Rows

__all__ = ["Dynamics", "Propagation", "PropagationOptions", "windows"]

Dynamics = Literal["neural ODE", "lstm", "linear"]

QUIET = 0.02
"""Part of the largest deviation to which smaller ones are raised: less is mostly noise."""

Series = Float64[np.ndarray, "time mode"]


@dataclass(frozen=True, kw_only=True)
class PropagationOptions:
    """What a :class:`Propagation` is made of.

    Attributes:
        kind: of the dynamics.
        latents: how many.
        hidden: widths of the field of a neural ODE; the first is that of an LSTM's memory.
        layers: memories of an LSTM that are stacked.
        substeps: of RK4 in a step of a neural ODE.
    """

    kind: Dynamics
    latents: int
    hidden: tuple[int, ...] = (32, 32)
    layers: int = 1
    substeps: int = 1


class Standardised(nn.Module):
    """A forecast of vectors in units of their deviation from their mean."""

    def __init__(self, inner: LinearForecast | RecurrentForecast | NeuralFlow, count: int) -> None:
        super().__init__()
        self.inner, self.scaling = inner, Standardize(count, axis=-1)

    def forward(self, past: Tensor, gaps: Tensor, future: Tensor | None = None) -> Tensor:
        """The future in those units; where it is known, the error in them."""
        found = self.inner(self.scaling(past), gaps)
        return found if future is None else found - self.scaling(future)


@final
class Propagation(Surrogate[PropagationOptions]):
    r"""Latents after the last of a past, one for each gap in time.

    In float64. The loss is the mean square of the error over the future of a window, in standard
    deviations of the latents, each step from the forecast before it. Training begins with the
    linear dynamics of least squares. Gaps are in units of the training's mean step.
    """

    inputs: ClassVar = {"past": "1", "gap": "1"}
    outputs: ClassVar = {"future": "1"}

    def build(self) -> nn.Module:
        """An untrained network."""
        options = self.options
        inner: LinearForecast | RecurrentForecast | NeuralFlow
        if options.kind == "linear":
            inner = LinearForecast(options.latents)
        elif options.kind == "lstm":
            inner = RecurrentForecast(
                options.latents, hidden=options.hidden[0], layers=options.layers
            )
        else:
            inner = NeuralFlow(options.latents, hidden=options.hidden, substeps=options.substeps)
        return Standardised(inner, options.latents).double()

    def calibrate(self, net: nn.Module, train: xr.Dataset) -> None:
        """Units of the latents, and the linear dynamics from the last past to the first future."""
        assert isinstance(net, Standardised)
        past, gaps, future = self.samples(train).fields
        net.scaling.fit(past.flatten(0, 1))
        net.scaling.scale.clamp_(min=QUIET * float(net.scaling.scale.max()))
        before, after = net.scaling(past[:, -1]), net.scaling(future[:, 0])
        if self.options.kind == "neural ODE":
            rate = (after - before) / gaps[:, :1]
            net.inner.start(*_least_squares((before + after) / 2, rate))
        else:
            net.inner.start(*_least_squares(before, after))

    def samples(self, ds: xr.Dataset) -> Rows:
        """Past, gaps and future of windows."""
        return Rows(
            *(torch.from_numpy(ds[name].values.copy()) for name in ("past", "gap", "future"))
        )

    def loss(self, net: nn.Module, batch: Batch) -> Tensor:
        """Mean square over the future."""
        return net(*batch).square().mean()

    def summaries(self, ds: xr.Dataset) -> xr.Dataset:
        """Smallest and largest latent of the past."""
        return extremes(ds, ["past"])

    def evaluate(self, *fields: Tensor) -> tuple[Tensor, ...]:
        """Future [batch, step, mode] of past [batch, lag, mode] and gaps [batch, step]."""
        net = self.network
        assert isinstance(net, Standardised)
        with torch.no_grad():
            return (net.scaling.inverse(net(*fields)),)

    def _predict(self, ds: xr.Dataset) -> xr.Dataset:
        fields = (torch.from_numpy(ds[name].values.astype(np.float64)) for name in self.inputs)
        (future,) = self.evaluate(*fields)
        dims = ("sample", "step", "mode")
        return xr.Dataset({"future": (dims, future.numpy(), {"units": "1"})})


def windows(
    series: Series, gaps: Float64[np.ndarray, " gap"], *, history: int, horizon: int
) -> xr.Dataset:
    """All windows of a series: past (sample, lag, mode), gaps (sample, step) and future.

    Args:
        series: latents.
        gaps: between them, one fewer.
        history: latents of the past.
        horizon: latents of the future.

    Raises:
        ValueError: the series is shorter than a window.
    """
    whole = history + horizon
    if len(series) < whole:
        raise ValueError(
            f"{len(series)} snapshots were given, and a window has {history} of the past and "
            f"{horizon} of the future: give more, or a shorter history or horizon"
        )
    view = np.lib.stride_tricks.sliding_window_view
    pieces = np.moveaxis(view(series, whole, axis=0), -1, 1)
    steps = view(gaps, whole - 1)[:, history - 1 :]
    units = {"units": "1"}
    return xr.Dataset(
        {
            "past": (("sample", "lag", "mode"), pieces[:, :history], units),
            "gap": (("sample", "step"), steps, units),
            "future": (("sample", "step", "mode"), pieces[:, history:], units),
        }
    )


def _least_squares(given: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """A matrix and a shift of least squares; the shortest one where there are several."""
    ones = torch.ones_like(given[:, :1])
    found = torch.linalg.pinv(torch.cat([given, ones], 1), rtol=1e-10) @ wanted
    return found[:-1].T, found[-1]
