"""POD of what is left when each snapshot is shifted to where a template lies."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, final

import numpy as np
import xarray as xr
from jaxtyping import Complex128, Float64

from sciml.modes.layout import MASK, TIME, VOLUME, Layout, Scaling
from sciml.modes.method import bring, keep
from sciml.modes.pod import Pod, PodOptions
from sciml.modes.shifting import Line, find_shifts, shifted
from sciml.modes.timing import Clock, even_step, has_even_steps

__all__ = ["AlignedPod", "AlignedPodOptions"]

MODE, POD, SHIFT = "mode", "pod", "shift"


@dataclass(frozen=True, kw_only=True)
class AlignedPodOptions:
    """Along what snapshots are shifted, and how they are decomposed then.

    Attributes:
        dim: the dimension, periodic and evenly spaced, along which structures travel.
        variables: which of the data's; by default all over `time`.
        rank: numbers that a snapshot becomes: one is the shift, the others are modes.
        scaling: "deviation" divides each variable by its root-mean-square deviation from its mean.
        mean: "time" subtracts the mean of the shifted snapshots, "none" nothing.
        method: of the POD, see :class:`sciml.modes.PodOptions`.
        sweeps: times that the template is made anew from the shifted snapshots.
    """

    dim: str = "x"
    variables: tuple[str, ...] | None = None
    rank: int = 10
    scaling: Scaling = "none"
    mean: Literal["time", "none"] = "none"
    method: Literal["gram", "qr"] = "gram"
    sweeps: int = 3


@final
class AlignedPod:
    r"""POD in a frame that travels with the flow: the fair linear method where structures move.

    $q(x, t) = \bar q(x - s(t)) + \sum_j a_j(t)\,\phi_j(x - s(t))$, where the shift s makes the
    correlation with a template largest. The template is at first the snapshot of most energy, then
    the mean of the shifted snapshots. Shifts are found and made between points of the mesh, by
    Fourier series. A pulse that needs 29 POD modes for 99 % of its energy needs one mode and the
    shift.

    `encode` gives the amplitudes and, last, the shift, in units of the dimension's coordinate and
    without jumps where a structure passes the end of the period.

    Rowley and Marsden, Physica D 142, 1 (2000), https://doi.org/10.1016/S0167-2789(00)00042-7.

    >>> from sciml.modes.analytic import translating_pulse
    >>> pulse = translating_pulse(points=128, width=0.04)[["velocity"]]
    >>> float(AlignedPod(AlignedPodOptions(rank=2)).fit(pulse).energy[0].round(6))
    1.0
    """

    def __init__(self, options: AlignedPodOptions | None = None) -> None:
        self.options = options or AlignedPodOptions()
        if self.options.rank < 2:
            raise ValueError(
                f"rank is {self.options.rank}, and must be at least 2: the shift and one mode"
            )

    @property
    def rank(self) -> int:
        """Modes kept, and the shift."""
        return self.options.rank

    def fit(
        self,
        train: xr.Dataset,
        valid: xr.Dataset | None = None,
        *,
        folder: Path | None = None,
        resume: bool = False,
    ) -> xr.Dataset:
        """Find the shifts and the modes.

        Returns:
            `result` as :meth:`sciml.modes.Pod.fit` gives it, of the shifted snapshots, with `shift`
            over time.

        Raises:
            ValueError: the dimension is missing or not evenly spaced, the volumes or the mask
                change along it, the data is not finite, or there are too few snapshots.
        """
        options = self.options
        layout = Layout.of(train, options.variables, scaling=options.scaling)
        self._line = Line.of(train, layout, options.dim)
        fields = self._line.fields(train, layout)
        shifts, self._template = _aligned(fields, self._line, options.sweeps)
        self._pod = Pod(
            PodOptions(
                variables=tuple(layout.variables),
                rank=options.rank - 1,
                scaling=options.scaling,
                mean=options.mean,
                method=options.method,
            )
        )
        found = self._pod.fit(self._moved(train, layout, -shifts))
        self.layout = self._pod.layout
        shift = np.unwrap(shifts * self._line.period, period=self._line.period)
        self.result = found.assign(shift=(TIME, shift, self._line.attrs)).assign_attrs(
            time_step=even_step(train) if has_even_steps(train) else np.nan
        )
        return self.result

    def encode(self, ds: xr.Dataset) -> xr.DataArray:
        """Amplitudes and, last, the shift (time, mode) of snapshots."""
        self._require_fitted()
        shifts = find_shifts(self._line.fields(ds, self.layout), self._template, self._line.weights)
        amplitudes = self._pod.encode(self._moved(ds, self.layout, -shifts))
        shift = np.unwrap(shifts * self._line.period, period=self._line.period)
        values = np.concatenate([amplitudes.values, shift[:, None]], axis=1)
        coords: dict[str, Any] = {MODE: np.arange(self.rank)}
        if TIME in ds.coords:
            coords[TIME] = ds[TIME]
        return xr.DataArray(values, dims=(TIME, MODE), coords=coords, attrs={"units": "1"})

    def decode(self, coefficients: xr.DataArray) -> xr.Dataset:
        """Fields of amplitudes and shifts (time, mode)."""
        self._require_fitted()
        amplitudes, last = coefficients.isel(mode=slice(0, -1)), coefficients.isel(mode=-1)
        still = self._pod.decode(amplitudes)
        return self._moved(still, self.layout, last.values / self._line.period)[
            self.layout.variables
        ]

    def reconstruct(self, ds: xr.Dataset) -> xr.Dataset:
        """The part of snapshots that shift and modes hold."""
        return self.decode(self.encode(ds))

    def predict(self, ds: xr.Dataset) -> xr.Dataset:
        """The same as `reconstruct`."""
        return self.reconstruct(ds)

    def forecast(self, ds: xr.Dataset, steps: int) -> xr.Dataset:
        """The `steps` snapshots after the last of `ds`.

        The shift goes on at its mean speed in `ds`; the amplitudes follow the linear map that fits
        the training best.

        Raises:
            ValueError: the steps of the training are not equal, or `ds` has one snapshot alone.
        """
        self._require_fitted()
        step = float(self.result.attrs["time_step"])
        if not np.isfinite(step):
            raise ValueError(
                "the training's steps in time are not equal, so that there is no map from one "
                "snapshot to the next: fit on snapshots at equal steps to forecast"
            )
        time = Clock.of(ds, step=step).later(ds, steps)
        coefficients = self.encode(ds).values
        trained = self.result["amplitudes"].transpose(TIME, MODE).values
        A = np.linalg.lstsq(trained[:-1], trained[1:], rcond=1e-10)[0]
        speed = (coefficients[-1, -1] - coefficients[0, -1]) / max(len(coefficients) - 1, 1)
        values = np.empty((steps, self.rank))
        state = coefficients[-1, :-1]
        for n in range(steps):
            state = state @ A
            values[n] = np.append(state, coefficients[-1, -1] + (n + 1) * speed)
        return self.decode(xr.DataArray(values, dims=(TIME, MODE), coords={TIME: time}))

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write the result, the template and the POD to a folder."""
        self._require_fitted()
        folder = Path(folder)
        self._pod.save(folder / POD)
        template = xr.Dataset({"template": (("line", "wave"), self._template)})
        return keep(
            folder,
            self,
            self.options,
            result=self.result,
            template=template,
            line=self._line.labelled(),
        )

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> AlignedPod:
        """Bring back what `save` wrote.

        Raises:
            FileNotFoundError: nothing was saved there.
            ValueError: it is another method.
        """
        options, parts = bring(folder, cls, AlignedPodOptions)
        aligned = cls(options)
        aligned._pod = Pod.load(Path(folder) / POD)
        aligned.result, aligned.layout = parts["result"], aligned._pod.layout
        aligned._template = parts["template"]["template"].values
        aligned._line = Line.from_labelled(parts["line"])
        return aligned

    def _moved(
        self, ds: xr.Dataset, layout: Layout, shifts: Float64[np.ndarray, " time"]
    ) -> xr.Dataset:
        """Snapshots moved by shares of the period; volumes and mask are the same along the line."""
        kept = [name for name in (VOLUME, MASK) if name in ds]
        moved = {name: shifted(ds[name], self._line.dim, shifts) for name in layout.variables}
        return ds[kept].assign(moved)

    def _require_fitted(self) -> None:
        if not hasattr(self, "result"):
            raise ValueError("the POD is not fitted: call fit(ds) or AlignedPod.load(folder) first")


def _aligned(
    fields: Complex128[np.ndarray, "time line wave"], line: Line, sweeps: int
) -> tuple[Float64[np.ndarray, " time"], Complex128[np.ndarray, "line wave"]]:
    """Shifts, as shares of the period, and the Fourier series of the last template."""
    energy = (np.abs(fields) ** 2).sum(-1) @ line.weights
    template = fields[int(energy.argmax())]
    shifts = find_shifts(fields, template, line.weights)
    for _ in range(sweeps):
        turn = np.exp(2j * np.pi * np.outer(shifts, np.arange(fields.shape[-1])))
        template = (fields * turn[:, None]).mean(0)
        shifts = find_shifts(fields, template, line.weights)
    return shifts, template
