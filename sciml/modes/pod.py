"""Proper orthogonal decomposition of snapshots, in the inner product of the mesh."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, final

import numpy as np
import xarray as xr
from jaxtyping import Float, Float64

from sciml.modes.layout import TIME, Layout, Scaling
from sciml.modes.method import bring, keep

__all__ = ["FLOORS", "Pod", "PodOptions", "PrecisionWarning"]

FLOORS = {"gram": 2e-8, "qr": 1e-10}
"""The s / s₁ below which singular values and modes are mostly rounding, for each way."""

MODE = "mode"


class PrecisionWarning(UserWarning):
    """Modes were asked for that lie below what the arithmetic resolves."""


@dataclass(frozen=True, kw_only=True)
class PodOptions:
    """How snapshots are decomposed.

    Attributes:
        variables: which of the data's; by default all over `time`.
        rank: modes kept.
        scaling: "deviation" divides each variable by its root-mean-square deviation from its mean.
        mean: "time" subtracts the mean of the snapshots, "none" nothing.
        method: "gram", the method of snapshots with sums in float64, resolves s / s₁ down to 2e-8;
            "qr", a tall-skinny QR factorisation in float64, down to 1e-10 and takes twice as long.
        device: where torch does the sums, such as "cuda"; None is NumPy on the processor.
    """

    variables: tuple[str, ...] | None = None
    rank: int = 10
    scaling: Scaling = "none"
    mean: Literal["time", "none"] = "time"
    method: Literal["gram", "qr"] = "gram"
    device: str | None = None


@final
class Pod:
    r"""Modes that hold the most energy of the snapshots' deviations from their mean.

    $q(t) = \bar q + \sum_j a_j(t)\,\phi_j$ with $\langle\phi_i, \phi_j\rangle = \delta_{ij}$ in the
    inner product of the :class:`Layout`, $a_j = \langle q - \bar q, \phi_j\rangle$ and
    $\sum_t a_i a_j = s_j^2\,\delta_{ij}$. The mean is that of the training snapshots.

    Sirovich, Q. Appl. Math. 45, 561 (1987), https://doi.org/10.1090/qam/910462.

    >>> t, x = np.arange(0, 8, 0.1), np.linspace(0, 2 * np.pi, 64, endpoint=False)
    >>> ds = xr.Dataset({"velocity": (("time", "x"), np.cos(x - t[:, None]))}, {"time": t, "x": x})
    >>> pod = Pod(PodOptions(rank=2))
    >>> float(pod.fit(ds).energy.sum().round(6))
    1.0
    """

    def __init__(self, options: PodOptions | None = None) -> None:
        self.options = options or PodOptions()
        if self.options.rank < 1:
            raise ValueError(f"rank is {self.options.rank}, and must be at least 1")

    @property
    def rank(self) -> int:
        """Modes kept."""
        return self.options.rank

    def fit(
        self,
        train: xr.Dataset,
        valid: xr.Dataset | None = None,
        *,
        folder: Path | None = None,
        resume: bool = False,
    ) -> xr.Dataset:
        """Find the modes.

        Returns:
            `result`: `modes` (mode, mesh), `mean` (mesh), `amplitudes` (time, mode),
            `singular_value` (mode) and `energy` (mode), the share of the whole.

        Raises:
            ValueError: the data holds what is not finite in the fluid, or too few snapshots.
        """
        options = self.options
        layout = Layout.of(train, options.variables, scaling=options.scaling)
        rows = np.asarray(layout.rows(train), dtype=np.float64)
        _require_enough(rows, options)
        mean = rows.mean(0) if options.mean == "time" else np.zeros(layout.points)
        weighted = (rows - mean) * np.sqrt(layout.weights)
        amplitudes, values, total = _decomposed(weighted, options.rank)
        _warn(values, options)
        right = ((rows - mean).T @ (amplitudes / values**2)).T
        self.layout = layout
        self._mean, self._modes = mean, right
        self.result = self._labelled(amplitudes, values, total, train)
        return self.result

    def encode(self, ds: xr.Dataset) -> xr.DataArray:
        """Amplitudes (time, mode) of snapshots: their projections on the modes."""
        self._require_fitted()
        rows = np.asarray(self.layout.rows(ds), dtype=np.float64) - self._mean
        return self._amplitudes(rows @ (self._modes * self.layout.weights).T, ds)

    def decode(self, coefficients: xr.DataArray) -> xr.Dataset:
        """Fields of amplitudes (time, mode)."""
        self._require_fitted()
        rows = coefficients.transpose(TIME, MODE).values @ self._modes + self._mean
        return self.layout.fields(rows, TIME, coefficients.coords.get(TIME))

    def reconstruct(self, ds: xr.Dataset) -> xr.Dataset:
        """The part of snapshots that the mean and the modes hold."""
        return self.decode(self.encode(ds))

    def predict(self, ds: xr.Dataset) -> xr.Dataset:
        """The same as `reconstruct`."""
        return self.reconstruct(ds)

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write the result and the inner product to a folder."""
        self._require_fitted()
        return keep(folder, self, self.options, result=self.result, layout=self.layout.labelled())

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Pod:
        """Bring back what `save` wrote.

        Raises:
            FileNotFoundError: nothing was saved there.
            ValueError: it is not a POD.
        """
        options, parts = bring(folder, cls, PodOptions)
        pod = cls(options)
        pod.result, pod.layout = parts["result"], Layout.from_labelled(parts["layout"])
        names = pod.layout.variables
        found = pod.result[[pod.layout.named("modes", name) for name in names]]
        means = pod.result[[pod.layout.named("mean", name) for name in names]]
        renamed = dict(zip(found.data_vars, names, strict=True))
        pod._modes = np.asarray(pod.layout.rows(found.rename(renamed), MODE))
        renamed = dict(zip(means.data_vars, names, strict=True))
        pod._mean = np.asarray(pod.layout.rows(means.rename(renamed).expand_dims(TIME)))[0]
        return pod

    def _require_fitted(self) -> None:
        if not hasattr(self, "result"):
            raise ValueError("the POD is not fitted: call fit(ds) or Pod.load(folder) first")

    def _amplitudes(self, values: Float[np.ndarray, "time mode"], ds: xr.Dataset) -> xr.DataArray:
        coords: dict[str, Any] = {MODE: np.arange(values.shape[1])}
        if TIME in ds.coords:
            coords[TIME] = ds[TIME]
        return xr.DataArray(
            values, dims=(TIME, MODE), coords=coords, name="amplitudes", attrs={"units": "1"}
        )

    def _labelled(
        self,
        amplitudes: Float64[np.ndarray, "time mode"],
        values: Float64[np.ndarray, " mode"],
        total: float,
        ds: xr.Dataset,
    ) -> xr.Dataset:
        numbers = np.arange(len(values))
        result = self.layout.fields(self._modes, MODE, numbers, prefix="modes")
        mean = self.layout.fields(self._mean[None], prefix="mean").isel({TIME: 0})
        result = result.merge(mean).assign(
            amplitudes=self._amplitudes(amplitudes, ds),
            singular_value=(MODE, values, {"units": "1"}),
            energy=(MODE, values**2 / total, {"units": "1"}),
        )
        return result.assign_attrs(
            method=self.options.method, precision_floor=FLOORS[self.options.method]
        )


def _require_enough(rows: Float[np.ndarray, "time point"], options: PodOptions) -> None:
    most = min(len(rows) - (options.mean == "time"), rows.shape[1])
    if options.rank > most:
        raise ValueError(
            f"{options.rank} modes were asked for, and {len(rows)} snapshots of {rows.shape[1]} "
            f"numbers have {most} at most: give more snapshots, or a lower rank"
        )
    if not np.isfinite(rows).all():
        raise ValueError(
            f"{int((~np.isfinite(rows)).any(0).sum())} numbers of a snapshot are not finite at "
            "some time: mark points without flow by a variable `mask`, true in the fluid"
        )


def _decomposed(
    rows: Float64[np.ndarray, "time point"], rank: int
) -> tuple[Float64[np.ndarray, "time mode"], Float64[np.ndarray, " mode"], float]:
    """Amplitudes, singular values and the sum of all squares."""
    left, values, _ = np.linalg.svd(rows, full_matrices=False)
    left = left[:, :rank]
    signs = np.sign(left[np.abs(left).argmax(0), np.arange(rank)])
    return left * signs * values[:rank], values[:rank], float((values**2).sum())


def _warn(values: Float64[np.ndarray, " mode"], options: PodOptions) -> None:
    floor = FLOORS[options.method]
    poor = int((values < floor * values[0]).sum())
    if poor:
        warnings.warn(
            f"the last {poor} of {len(values)} modes have singular values below {floor:.0e} of the "
            f'first, which method="{options.method}" does not resolve: ask for fewer, '
            + ('or use method="qr"' if options.method == "gram" else "they are rounding"),
            PrecisionWarning,
            stacklevel=3,
        )
