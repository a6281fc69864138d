"""Forecasts of snapshots: a reduction to few numbers, and learned dynamics of these."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast, final

import numpy as np
import xarray as xr
from jaxtyping import Float64

from sciml.data.files import read_json, write_json
from sciml.modes.latent_network import Dynamics, Propagation, PropagationOptions, windows
from sciml.modes.layout import TIME
from sciml.modes.method import Method, bring, keep
from sciml.modes.timing import Clock, even_step, times
from sciml.surrogate.folder import replacing
from sciml.train import History, TrainOptions
from sciml.train.records import class_name, find_class

__all__ = ["LatentForecast", "LatentForecastOptions"]

MODE = "mode"
MARKER, LATENT, REDUCTION, DYNAMICS = "method.json", "latent.json", "reduction", "dynamics"

UNEVEN = 2e-3
"""Relative difference of time steps that counts as none: times may be in single precision."""

_ADVICE = ', or take kind="neural ODE"'

LBFGS = TrainOptions(epochs=15, optimiser="lbfgs")
ADAM = TrainOptions(epochs=150, batch_size=32, learning_rate=5e-3, weight_decay=1e-6)


@dataclass(frozen=True, kw_only=True)
class LatentForecastOptions:
    """How latents are carried on in time.

    Attributes:
        kind: "neural ODE" takes any time steps; "lstm" and "linear" need equal ones.
        history: latents that an LSTM sees before it forecasts; the others see the last alone.
        horizon: steps of a forecast in the loss: about a period of the slowest oscillation that
            matters holds its frequency and amplitude best.
        hidden: widths of the field of a neural ODE; the first is that of an LSTM's memory.
        layers: memories of an LSTM that are stacked.
        substeps: of RK4 in one time step of a neural ODE.

    Raises:
        ValueError: a number below 1.
    """

    kind: Dynamics = "neural ODE"
    history: int = 8
    horizon: int = 16
    hidden: tuple[int, ...] = (32, 32)
    layers: int = 1
    substeps: int = 1

    def __post_init__(self) -> None:
        """Refuse numbers out of range."""
        numbers = (self.history, self.horizon, self.layers, self.substeps, *self.hidden)
        if min(numbers) < 1 or not self.hidden:
            raise ValueError(
                f"history={self.history}, horizon={self.horizon}, hidden={self.hidden}, "
                f"layers={self.layers}, substeps={self.substeps}: all must be at least 1"
            )


@final
class LatentForecast:
    r"""A reduction $q \to z$ with dynamics of its latents: $z_{n+1}$ from $z_n$ or from a past.

    Learned are the linear map of a dynamic mode decomposition, a long short-term memory, or the
    field of a neural ODE, see `sciml.nn.recurrent`. Linear dynamics of POD amplitudes are exact
    DMD with a loss over several steps. Reductions and dynamics for flows side by side: Solera-Rico
    et al., Nat. Commun. 15 (2024) 1361, doi:10.1038/s41467-024-45578-4.

    Args:
        reduction: a POD, an autoencoder or the like; fitted before or by `fit`.
        options: see above.
        training: how the dynamics are trained; by default `LBFGS`, or `ADAM` for an LSTM.

    Attributes:
        reduction: as given.
        history: losses of the training.

    Example:
        >>> from sciml.modes.pod import Pod, PodOptions
        >>> t, x = np.arange(0, 8, 0.1), np.linspace(0, 2 * np.pi, 64, endpoint=False)
        >>> field = (("time", "x"), np.cos(x - t[:, None]))
        >>> ds = xr.Dataset({"velocity": field}, {"time": t, "x": x})
        >>> model = LatentForecast(Pod(PodOptions(rank=2)), LatentForecastOptions(kind="linear"))
        >>> _ = model.fit(ds)
        >>> ahead = model.forecast(ds, 100)
        >>> float(abs(ahead.velocity - np.cos(ahead.x - ahead.time)).max()) < 1e-6
        True
    """

    history: History

    def __init__(
        self,
        reduction: Method,
        options: LatentForecastOptions | None = None,
        *,
        training: TrainOptions | None = None,
    ) -> None:
        self.reduction = reduction
        self.options = options or LatentForecastOptions()
        self.training = training or (ADAM if self.options.kind == "lstm" else LBFGS)

    @property
    def rank(self) -> int:
        """Latents."""
        return self.reduction.rank

    def fit(
        self,
        train: xr.Dataset,
        valid: xr.Dataset | None = None,
        *,
        folder: Path | None = None,
        resume: bool = False,
    ) -> History:
        """Fit the reduction, unless it is, and then the dynamics of its latents.

        Args:
            train: snapshots in the order of time.
            valid: later or other ones, of which the best epoch is taken.
            folder: where checkpoints go.
            resume: continue from `folder`.

        Raises:
            ValueError: times that do not increase, unequal steps where equal ones are needed, or
                fewer snapshots than a window has.
        """
        gaps = self._gaps(train)
        others = None if valid is None else self._gaps(valid)
        if not hasattr(self.reduction, "layout"):
            inner = None if folder is None else Path(folder) / REDUCTION
            self.reduction.fit(train, valid, folder=inner, resume=resume)
        step = float(gaps.mean())
        data = self._windows(train, gaps / step)
        checks = None if others is None or valid is None else self._windows(valid, others / step)
        dynamics = self._propagation(len(data["sample"]))
        place = None if folder is None else Path(folder) / DYNAMICS
        self.history = dynamics.fit(data, checks, folder=place, resume=resume)
        self.step, self.dynamics = step, dynamics
        return self.history

    def forecast(self, ds: xr.Dataset, steps: int) -> xr.Dataset:
        """The `steps` snapshots after the last of `ds`, with their times.

        They follow in the time step at the end of `ds`, or in that of the training if it is a
        single snapshot. A forecast that grows without bound is not cut.

        Raises:
            ValueError: not fitted, fewer snapshots than the dynamics look back on, or another time
                step than that of the training where the dynamics know only that.
        """
        self._require_fitted()
        lags, step = self._lags, self._step_of(ds)
        later = Clock.of(ds, step=step).later(ds, steps)
        if ds.sizes[TIME] < lags:
            raise ValueError(
                f"{ds.sizes[TIME]} snapshots were given, and the forecast looks back on {lags}: "
                "give more"
            )
        past = self.encode(ds.isel({TIME: slice(-lags, None)})).transpose(TIME, MODE).values
        gaps = np.full((1, steps), step / self.step)
        units = {"units": "1"}
        asked = xr.Dataset(
            {
                "past": (("sample", "lag", "mode"), past[None].astype(np.float64), units),
                "gap": (("sample", "step"), gaps, units),
            }
        )
        future = self.dynamics.predict(asked, outside="warn")["future"]
        coords: dict[str, Any] = {MODE: np.arange(self.rank), TIME: later}
        return self.decode(
            xr.DataArray(future.values[0], dims=(TIME, MODE), coords=coords, name="amplitudes")
        )

    def encode(self, ds: xr.Dataset) -> xr.DataArray:
        """Latents (time, mode) by the reduction."""
        return self.reduction.encode(ds)

    def decode(self, coefficients: xr.DataArray) -> xr.Dataset:
        """Fields of latents (time, mode) by the reduction."""
        return self.reduction.decode(coefficients)

    def reconstruct(self, ds: xr.Dataset) -> xr.Dataset:
        """What the reduction leaves of snapshots."""
        return self.reduction.reconstruct(ds)

    def predict(self, ds: xr.Dataset) -> xr.Dataset:
        """The same as `reconstruct`."""
        return self.reduction.predict(ds)

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write the reduction to the folder's `reduction`, and the dynamics to its `dynamics`.

        Raises:
            FileExistsError: the folder holds something other than a method.
        """
        self._require_fitted()
        with replacing(Path(folder), marker=MARKER) as part:
            keep(part, self, self.options)
            record = {"reduction": class_name(type(self.reduction)), "step": self.step}
            write_json(part / LATENT, record)
            self.reduction.save(part / REDUCTION)
            self.dynamics.save(part / DYNAMICS)
        return Path(folder)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> LatentForecast:
        """Bring back what `save` wrote.

        Raises:
            FileNotFoundError: nothing was saved there.
            ValueError: it is no such forecast.
        """
        folder = Path(folder)
        options, _ = bring(folder, cls, LatentForecastOptions)
        record = read_json(folder / LATENT)
        kind = cast(Any, find_class(record["reduction"]))
        dynamics = Propagation.load(folder / DYNAMICS)
        model = cls(kind.load(folder / REDUCTION), options, training=dynamics.training)
        model.step, model.dynamics = record["step"], dynamics
        model.history = dynamics.history
        return model

    @property
    def _lags(self) -> int:
        return self.options.history if self.options.kind == "lstm" else 1

    def _require_fitted(self) -> None:
        if not hasattr(self, "dynamics"):
            raise ValueError(
                "the forecast is not fitted: call fit(ds) or LatentForecast.load(folder) first"
            )

    def _windows(self, ds: xr.Dataset, gaps: Float64[np.ndarray, " gap"]) -> xr.Dataset:
        series = self.encode(ds).transpose(TIME, MODE).values.astype(np.float64)
        return windows(series, gaps, history=self._lags, horizon=self.options.horizon)

    def _propagation(self, count: int) -> Propagation:
        options, training = self.options, self.training
        if training.optimiser != "adamw":
            training = replace(training, batch_size=max(training.batch_size, count))
        made = PropagationOptions(
            kind=options.kind,
            latents=self.rank,
            hidden=options.hidden,
            layers=options.layers,
            substeps=options.substeps,
        )
        return Propagation(made, training=training)

    def _gaps(self, ds: xr.Dataset) -> Float64[np.ndarray, " gap"]:
        """Steps between snapshots, looked at before any work."""
        needed = self._lags + self.options.horizon
        if ds.sizes[TIME] < needed:
            raise ValueError(
                f"{ds.sizes[TIME]} snapshots were given, and a window has {needed}: give more, or "
                "set a shorter history or horizon"
            )
        if self.options.kind != "neural ODE":
            even_step(ds, advice=_ADVICE)
        return np.diff(times(ds))

    def _step_of(self, ds: xr.Dataset) -> float:
        gaps = np.diff(times(ds))
        if not len(gaps):
            return self.step
        step = float(gaps[-1])
        if self.options.kind != "neural ODE" and np.ptp([*gaps, self.step]) > UNEVEN * self.step:
            raise ValueError(
                f"the snapshots' steps lie between {gaps.min():.6g} and {gaps.max():.6g}, and "
                f"{self.step:.6g}, that of the training, is the only one known to "
                f'kind="{self.options.kind}": interpolate in time{_ADVICE}'
            )
        return step
