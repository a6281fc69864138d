"""One method judged: fitted on what all are fitted on, asked what all are asked."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import xarray as xr

from sciml.modes.analytic import translating_pulse
from sciml.modes.contenders import Contender, Setting
from sciml.modes.grids import axes_of, gridded, spacing
from sciml.modes.layout import MASK, TIME
from sciml.modes.measures import (
    Octaves,
    Yardstick,
    correlation_determinant,
    directions,
    exponent,
    forecast_error,
    frequency_octaves,
    gram_determinant,
    measured,
    ordering,
    principal_angles,
    spectral_purity,
    wavenumber_octaves,
)
from sciml.modes.measures.invariance import equivariance, rank_needed, transfer
from sciml.modes.measures.windows import View, Window
from sciml.modes.method import Forecasting, Method
from sciml.modes.regimes import Division
from sciml.modes.timing import even_step

__all__ = ["Dynamics", "Judge", "Shown", "epochs_of_budget", "ranks_up_to"]

Dynamics = Literal["neural ODE", "lstm", "linear", "none"]

Record = dict[str, Any]

BATCH = 16
"""Snapshots of one update of a network, as `sciml.modes.autoencoder` has it."""

TRAVELLING = (1, 2, 4, 8, 16, 24, 28, 29, 30, 32)
"""Ranks that are tried on a travelling pulse."""

FRACTIONS = (4, 2, 1)
"""Parts of the data that costs are told of."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Shown:
    """What figures are drawn from.

    Attributes:
        latents: (time, mode) of the training snapshots.
        modes: fields (mode, mesh): how each latent changes the field by one deviation.
        reconstruction: of a snapshot that was not trained on.
        eigenvalues: of one step, where the method has them.
    """

    latents: xr.DataArray
    modes: xr.Dataset
    reconstruction: xr.Dataset
    eigenvalues: np.ndarray | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Judge:
    """What all methods are judged by.

    Attributes:
        division: the snapshots.
        yardstick: how errors are weighed.
        setting: what methods are made with.
        window: the round window; None where there is no grid.
        window_yardstick: how errors are weighed there.
        dynamics: how latents go on where a method does not say it.
        steps: updates of a network; its own number by default.
    """

    division: Division
    yardstick: Yardstick
    setting: Setting
    window: Window | None
    window_yardstick: Yardstick | None
    dynamics: Dynamics
    steps: int | None

    @property
    def step(self) -> float:
        """Time between training snapshots."""
        return even_step(self.division.train)

    def make(self, contender: Contender, snapshots: int, **changes: Any) -> Method:
        """An unfitted method for so many training snapshots."""
        setting = replace(self.setting, **changes)
        if contender.network and setting.epochs is None and self.steps is not None:
            setting = replace(setting, epochs=_epochs(self.steps, snapshots))
        return contender.make(setting)

    def fitted(self, contender: Contender, train: xr.Dataset, **changes: Any) -> Method:
        """A method fitted on snapshots."""
        method = self.make(contender, train.sizes[TIME], **changes)
        method.fit(train)
        return method

    def seed(self, contender: Contender, **changes: Any) -> tuple[Method, Record]:
        """A method fitted on the training snapshots, and the figures that seeds are compared by."""
        train, between = self.division.train, self.division.between
        method = self.make(contender, train.sizes[TIME], **changes)
        _, cost = measured(lambda: method.fit(train))
        latents = method.encode(train)
        said = moving(contender, method)
        rows = directions(method, latents, self.yardstick.layout)[said]
        energies = (self.yardstick.layout.weights * rows**2).sum(1)
        purity = spectral_purity(_values(latents)[:, said])
        return method, {
            "fit_seconds": cost.seconds,
            "fit_bytes": cost.bytes,
            "error_seen": self.yardstick.error(train, method.reconstruct(train)),
            "error_between": self.yardstick.error(between, method.reconstruct(between)),
            "latent_determinant": correlation_determinant(_values(method.encode(between))[:, said]),
            "mode_determinant": gram_determinant(rows * np.sqrt(self.yardstick.layout.weights)),
            "spectral_purity": _weighted(purity, energies),
            "energy_ordering": ordering(energies),
        }

    def speed(self, contender: Contender, method: Method) -> Record:
        """Encoding and reconstructing, and how the fit grows with the data."""
        between = self.division.between
        count = between.sizes[TIME]
        latents, encode = measured(lambda: method.encode(between), repeats=3)
        _, decode = measured(lambda: method.decode(latents), repeats=3)
        return {
            "encode_seconds": encode.seconds / count,
            "encode_bytes": encode.bytes,
            "reconstruct_seconds": (encode.seconds + decode.seconds) / count,
            "reconstruct_bytes": decode.bytes,
            "growth": self._growth(contender),
        }

    def _growth(self, contender: Contender) -> Record:
        """Seconds and bytes of a fit on parts of the snapshots, and of the points."""
        train = self.division.train
        found: Record = {}
        for what, part in (("snapshots", _fewer_snapshots), ("points", _fewer_points)):
            sizes, seconds, held = [], [], []
            for fraction in FRACTIONS:
                some = part(train, fraction, self.yardstick.layout.variables)
                if some.sizes[TIME] <= 2 * self.setting.rank:
                    continue
                changes = {"epochs": 2} if contender.network else {}
                method = self.make(contender, some.sizes[TIME], **changes)
                repeats = 1 if contender.network else 3
                _, cost = measured(lambda m=method, s=some: m.fit(s), repeats=repeats)  # type: ignore[misc]
                sizes.append(1.0 / fraction)
                seconds.append(cost.seconds)
                held.append(cost.bytes)
            power = exponent(sizes, seconds) if len(sizes) > 1 else math.nan
            found[what] = {"part": sizes, "seconds": seconds, "bytes": held, "exponent": power}
        return found

    def meaning(self, contender: Contender, method: Method) -> Record:
        """The spectral purity of each latent, and angles between modes of the two halves."""
        train = self.division.train
        latents = _values(method.encode(train))[:, moving(contender, method)]
        half = train.sizes[TIME] // 2
        found: Record = {"purity_of_modes": spectral_purity(latents).tolist()}
        if half <= self.setting.rank + 1:
            return {**found, "half_angle_max": math.nan, "half_angle_median": math.nan}
        rows = []
        for part in (slice(0, half), slice(half, 2 * half)):
            some = train.isel({TIME: part})
            other = self.fitted(contender, some)
            moved = directions(other, other.encode(some), self.yardstick.layout)
            rows.append(moved * np.sqrt(self.yardstick.layout.weights))
        angles = principal_angles(*rows)
        return {
            **found,
            "half_angle_max": float(angles.max()),
            "half_angle_median": float(np.median(angles)),
        }

    def scales(self, contender: Contender, method: Method) -> Record:
        """Errors against rank, by octave, in another regime and against the time of a forecast."""
        return {
            "ranks": self._ranks(contender, method),
            **self._regimes(contender, method),
            "frequency": self._frequencies(method),
            "wavenumber": self._wavenumbers(method),
            "forecast": self._forecast(method),
        }

    def _ranks(self, contender: Contender, method: Method) -> Record:
        train, between = self.division.train, self.division.between
        ranks = ranks_up_to(self.setting.rank)
        errors = []
        for rank in ranks:
            same = rank == self.setting.rank
            other = method if same else self.fitted(contender, train, rank=rank)
            errors.append(self.yardstick.error(between, other.reconstruct(between)))
        return {"rank": list(ranks), "error": errors, "energy": [1 - e**2 for e in errors]}

    def _regimes(self, contender: Contender, method: Method) -> Record:
        """The second split: of a transient against what is saturated, either way."""
        transient, between = self.division.transient, self.division.between
        if transient is None or transient.sizes[TIME] <= self.setting.rank + 1:
            return {"error_transient": math.nan, "error_from_transient": math.nan}
        other = self.fitted(contender, transient)
        return {
            "error_transient": self.yardstick.error(transient, method.reconstruct(transient)),
            "error_from_transient": self.yardstick.error(between, other.reconstruct(between)),
        }

    def _frequencies(self, method: Method) -> Record:
        between = self.division.between
        found = frequency_octaves(self.yardstick, between, method.reconstruct(between), self.step)
        return found.to_dict()

    def _wavenumbers(self, method: Method) -> Record | None:
        some = self.division.between.isel({TIME: slice(0, 40)})
        found = grid_octaves(some, method.reconstruct(some), self.yardstick)
        return None if found is None else found.to_dict()

    def _forecast(self, method: Method) -> Record | None:
        """Errors from the end of the training on, with learned dynamics where there are none."""
        train, future = self.division.train, self.division.future
        if future.sizes[TIME] < 2:
            return None
        seconds = 0.0
        if not isinstance(method, Forecasting):
            if self.dynamics == "none":
                return None
            method, seconds = with_dynamics(method, train, self.dynamics)
        errors = forecast_error(method, train, future, self.yardstick)
        assert errors is not None
        times = future[TIME].values - train[TIME].values[-1]
        return {
            "time": times.tolist(),
            "error": [float(e) for e in errors],
            "mean": float(np.sqrt(np.mean(errors**2))),
            "dynamics_seconds": seconds,
        }

    def invariance(self, contender: Contender) -> Record:
        """Equivariance of the fit, transfer to other views, and modes of a travelling pulse."""
        found: Record = {"equivariance": None, "transfer": None}
        try:
            found |= self._views(contender)
        except ValueError as error:
            found["refused"] = str(error)
        rank, held = self._travelling(contender)
        return {**found, "travelling_rank": rank, "travelling_energy": held}

    def _views(self, contender: Contender) -> Record:
        """Through the round window, where there is one."""
        window, yardstick = self.window, self.window_yardstick
        if window is None or yardstick is None:
            return {}
        train, between = self._window_times()
        names = tuple(map(str, window.fields.data_vars))

        rank = self.setting.rank - contender.constant  # there the mean is zero

        def make() -> Method:
            return self.make(contender, len(train), variables=names, rank=rank)

        method = make()
        method.fit(window.seen(View(), train))
        return {
            "transfer": transfer(method, window, between, yardstick),
            "equivariance": equivariance(make, method, window, train, yardstick),
        }

    def _window_times(self) -> tuple[np.ndarray, np.ndarray]:
        """Places in the window's snapshots of those trained on and those between them."""
        assert self.window is not None
        count = self.window.fields.sizes[TIME]
        return np.arange(0, count, 2), np.arange(1, count, 2)

    def _travelling(self, contender: Contender) -> tuple[int | None, Mapping[int, float]]:
        pulse = translating_pulse()
        yardstick = Yardstick.of(pulse, ("velocity",))
        return rank_needed(
            lambda rank: self.make(
                contender, pulse.sizes[TIME], rank=rank, variables=("velocity",), scaling="none"
            ),
            pulse,
            TRAVELLING,
            yardstick,
        )

    def shown(self, contender: Contender, method: Method) -> Shown:
        """What is drawn of a fitted method."""
        latents = method.encode(self.division.train)
        said = moving(contender, method)
        rows = directions(method, latents, self.yardstick.layout)[said]
        modes = self.yardstick.layout.fields(rows, "mode")
        middle = self.division.between.isel({TIME: [self.division.between.sizes[TIME] // 2]})
        result = getattr(method, "result", None)
        own = isinstance(result, xr.Dataset) and "eigenvalues" in result
        return Shown(
            latents=latents.isel(mode=said),
            modes=modes,
            reconstruction=method.reconstruct(middle),
            eigenvalues=result["eigenvalues"].values if own else None,  # type: ignore[index]
        )


def moving(contender: Contender, method: Method) -> list[int]:
    """The modes but that of the mean, where a method has one."""
    result = getattr(method, "result", None)
    modes = list(range(method.rank))
    if contender.constant and isinstance(result, xr.Dataset) and len(modes) > 1:
        modes.remove(int(abs(result["eigenvalues"].values - 1).argmin()))
    return modes


def with_dynamics(
    method: Method, train: xr.Dataset, kind: Literal["neural ODE", "lstm", "linear"]
) -> tuple[Method, float]:
    """A fitted method whose latents go on in time, and how long it took to learn that."""
    from sciml.modes.latent import LatentForecast, LatentForecastOptions

    model = LatentForecast(method, LatentForecastOptions(kind=kind))
    _, cost = measured(lambda: model.fit(train))
    return model, cost.seconds


def grid_octaves(truth: xr.Dataset, found: xr.Dataset, yardstick: Yardstick) -> Octaves | None:
    """Errors by octave of wavenumber; None where the mesh has no coordinates."""
    names = yardstick.layout.variables
    mean = yardstick.layout.fields(yardstick.mean[None]).isel({TIME: 0})
    about = [name for name in (MASK,) if name in truth]
    a = gridded((truth[names] - mean).assign({n: truth[n] for n in about}), names)
    b = gridded((found[names] - mean).assign({n: truth[n] for n in about}), names)
    if a is None or b is None:
        return None
    axes = axes_of(a, names)
    assert axes is not None
    widths = [spacing(a, axis) or 1.0 for axis in axes]
    return wavenumber_octaves(_channels(a, names, axes), _channels(b, names, axes), widths)


def _channels(ds: xr.Dataset, names: Sequence[str], axes: Sequence[str]) -> np.ndarray:
    """Fields (time, channel, grid), zero in the solid."""
    parts = []
    for name in names:
        field = ds[name].where(ds[MASK]) if MASK in ds else ds[name]
        array = field.transpose(TIME, ..., *axes).fillna(0.0).values
        parts.append(array.reshape(len(array), -1, *(ds.sizes[axis] for axis in axes)))
    return np.concatenate(parts, axis=1).astype(np.float64)


def _values(latents: xr.DataArray) -> np.ndarray:
    return latents.transpose(TIME, "mode").values


def _weighted(values: np.ndarray, weights: np.ndarray) -> float:
    """Mean over the modes that say something, by their energy."""
    heard = np.isfinite(values)
    total = weights[heard].sum()
    return float((values[heard] * weights[heard]).sum() / total) if total > 0 else math.nan


def _fewer_snapshots(ds: xr.Dataset, fraction: int, names: Sequence[str]) -> xr.Dataset:
    return ds.isel({TIME: slice(0, ds.sizes[TIME] // fraction)})


def _fewer_points(ds: xr.Dataset, fraction: int, names: Sequence[str]) -> xr.Dataset:
    longest = max((d for d in ds[names[0]].dims if d != TIME), key=lambda d: ds.sizes[d])
    return ds.isel({longest: slice(None, None, fraction)})


def _epochs(steps: int, snapshots: int) -> int:
    return max(1, round(steps / max(1, math.ceil(snapshots / BATCH))))


def ranks_up_to(rank: int) -> tuple[int, ...]:
    """Powers of two below a rank, and the rank.

    >>> ranks_up_to(10)
    (1, 2, 4, 8, 10)
    """
    powers = [2**k for k in range(rank.bit_length()) if 2**k < rank]
    return (*powers, rank)


def epochs_of_budget(fit: Callable[[int], Any], budget: float) -> int:
    """How many epochs a number of seconds lasts, from fits of one epoch and of four.

    Args:
        fit: fits for a number of epochs.
        budget: seconds.
    """
    times = [measured(lambda n=n: fit(n))[1].seconds for n in (1, 4)]  # type: ignore[misc]
    each = max((times[1] - times[0]) / 3, 1e-6)
    return max(1, int((budget - max(0.0, times[0] - each)) / each))
