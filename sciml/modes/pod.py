"""Proper orthogonal decomposition of snapshots, in the inner product of the mesh."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, final

import numpy as np
import xarray as xr
from jaxtyping import Float, Float64

from sciml.modes.columns import MEMORY, Columns
from sciml.modes.gram import converted, finite, gram_of, project
from sciml.modes.incremental import Running
from sciml.modes.layout import TIME, Layout, Scaling
from sciml.modes.method import bring, keep
from sciml.modes.on_device import gram_on, project_on, require_device, triangle_on
from sciml.modes.points import by_points
from sciml.modes.qr import add_triangles, triangle_of
from sciml.modes.small import leading

__all__ = ["FLOORS", "Pod", "PodOptions", "PrecisionWarning"]

FLOORS = {"gram": 2e-8, "qr": 1e-10}
"""The s / s₁ below which singular values and modes are mostly rounding, for each way.

Squares of singular values are known to about 1e-16 of the largest, so a Gram matrix summed in
float64 tells singular values down to the root of that; summed in float32 it would be 1e-4.
"""

ROUNDING = 1e-14
"""Deviations below this part of the mean are none."""

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
            "qr", a tall-skinny QR factorisation in float64, down to 1e-10, and takes longer.
        device: where torch does the sums, such as "cuda"; None is NumPy on the processor.
        memory: bytes that pieces of a file may take together.
    """

    variables: tuple[str, ...] | None = None
    rank: int = 10
    scaling: Scaling = "none"
    mean: Literal["time", "none"] = "time"
    method: Literal["gram", "qr"] = "gram"
    device: str | None = None
    memory: int = MEMORY


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
        if self.options.method not in FLOORS:
            raise ValueError(f"method is {self.options.method!r}, and must be 'gram' or 'qr'")

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
        if options.device is not None:
            require_device(options.device)
        layout = Layout.of(train, options.variables, scaling=options.scaling)
        _require_enough(train.sizes[TIME], layout.points, options)
        columns = Columns(train, layout, memory=options.memory)
        mean, left, values, total = decomposed(columns, options)
        steady = columns.count * float(np.einsum("p,p,p", mean, mean, layout.weights))
        if total <= ROUNDING**2 * steady:
            raise ValueError("the snapshots are zero, or equal to their mean: there are no modes")
        _warn(values, options)
        modes = np.empty((options.rank, layout.points), dtype=_kind(train, layout))
        onto = np.divide(left, values, out=np.zeros_like(left), where=values > 0)
        work = partial(_project(options), onto=onto, kind=modes.dtype)
        for place, part in columns.each(work, mean):
            modes[:, place] = part
        self.layout, self._mean, self._modes = layout, mean, modes
        self.result = self._labelled(left * values, values, total, train)
        return self.result

    def fit_parts(self, parts: Iterable[xr.Dataset], *, spare: int | None = None) -> xr.Dataset:
        """Find the modes of snapshots that come part by part, each seen once.

        Besides the modes asked for, `spare` more are followed; what lies beyond is dropped, and its
        share of the energy, `dropped_energy` in the result's attributes, bounds the error. The
        layout and the scales are those of the first part.

        Args:
            parts: snapshots in the order of time, such as those of a running simulation.
            spare: by default as many as the rank.

        Raises:
            ValueError: no parts, numbers that are not finite, or too few snapshots.
        """
        options = self.options
        spare = options.rank if spare is None else spare
        running, layout, times = None, None, []
        for part in parts:
            if layout is None or running is None:
                layout = Layout.of(part, options.variables, scaling=options.scaling)
                running = Running(layout.points, options.rank + spare, options.mean == "time")
            rows = np.array(layout.rows(part), dtype=np.float64)
            finite(rows)
            running.add(rows * np.sqrt(layout.weights))
            times += [part[TIME]] if TIME in part.coords else []
        if layout is None or running is None:
            raise ValueError("there are no parts: give at least one, of several snapshots")
        _require_enough(len(running.amplitudes), layout.points, options)
        coords = {TIME: xr.concat(times, TIME)} if times else {}
        return self._finish(running, layout, xr.Dataset(coords=coords))

    def encode(self, ds: xr.Dataset) -> xr.DataArray:
        """Amplitudes (time, mode) of snapshots: their projections on the modes."""
        self._require_fitted()
        columns = Columns(ds, self.layout, memory=self.options.memory)
        _, found = columns.total(
            _coefficients, np.add, self._mean, self.layout.weights, self._modes
        )
        return self._amplitudes(found, ds)

    def decode(self, coefficients: xr.DataArray) -> xr.Dataset:
        """Fields of amplitudes (time, mode)."""
        self._require_fitted()
        given = coefficients.transpose(TIME, MODE).values
        rows = given.astype(self._modes.dtype) @ self._modes
        rows += self._mean
        times = coefficients[TIME] if TIME in coefficients.coords else None
        return self.layout.fields(rows, TIME, times)

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
        pod._modes = pod._stored("modes")
        pod._mean = pod._stored("mean")[0]
        return pod

    def _stored(self, prefix: str) -> np.ndarray:
        """Rows of fields of the result."""
        named = {self.layout.named(prefix, name): name for name in self.layout.variables}
        fields = self.result[list(named)].rename(named)
        fields = fields if MODE in fields.dims else fields.expand_dims(MODE)
        return np.asarray(self.layout.rows(fields, MODE))

    def _finish(self, running: Running, layout: Layout, times: xr.Dataset) -> xr.Dataset:
        root, rank = np.sqrt(layout.weights), self.rank
        signs = _signs(running.amplitudes[:, :rank])
        directions = running.directions[:rank] * signs[:, None]
        self.layout = layout
        self._modes = np.divide(directions, root, out=np.zeros_like(directions), where=root > 0)
        self._mean = np.divide(running.mean, root, out=np.zeros_like(root), where=root > 0)
        values = running.values
        dropped = max(0.0, 1 - float((values**2).sum()) / running.squares)
        self.result = self._labelled(
            running.amplitudes[:, :rank] * signs, values[:rank], running.squares, times
        ).assign_attrs(method="incremental", dropped_energy=dropped)
        return self.result

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


def decomposed(
    columns: Columns, options: PodOptions
) -> tuple[
    Float64[np.ndarray, " point"],
    Float64[np.ndarray, "time mode"],
    Float64[np.ndarray, " mode"],
    float,
]:
    """Mean, left singular vectors and singular values of weighted rows; the sum of all squares."""
    centre = options.mean == "time"
    if columns.layout.points < columns.count:
        return by_points(columns, options.rank, centre=centre, method=options.method)
    qr = options.method == "qr"
    by_numpy, by_torch = (triangle_of, triangle_on) if qr else (gram_of, gram_on)
    work = partial(by_numpy, centre=centre)
    if options.device is not None:
        work = partial(by_torch, centre=centre, device=options.device)
    means, small = columns.total(work, add_triangles if qr else np.add, columns.layout.weights)
    values, vectors = leading(small, options.method)
    left = vectors[:, : options.rank]
    total = float((values**2).sum())
    return np.concatenate(means), left * _signs(left), values[: options.rank], total


def _require_enough(count: int, points: int, options: PodOptions) -> None:
    most = min(count - (options.mean == "time"), points)
    if options.rank > most:
        raise ValueError(
            f"{options.rank} modes were asked for, and {count} snapshots of {points} "
            f"numbers have {most} at most: give more snapshots, or a lower rank"
        )


def _project(options: PodOptions) -> Callable[..., np.ndarray]:
    return project if options.device is None else partial(project_on, device=options.device)


def _kind(ds: xr.Dataset, layout: Layout) -> np.dtype:
    """Modes are kept as precisely as the data."""
    kind = np.result_type(*[ds[name].dtype for name in layout.variables])
    return kind if kind == np.float32 else np.dtype(np.float64)


def _coefficients(
    values: np.ndarray,
    kept: np.ndarray | None,
    mean: Float64[np.ndarray, " point"],
    weights: Float64[np.ndarray, " point"],
    modes: Float[np.ndarray, "mode point"],
) -> tuple[None, Float64[np.ndarray, "row mode"]]:
    """Inner products of the rows of a piece with the modes."""
    found = np.zeros((len(values), len(modes)))
    for place, block in converted(values, kept, len(mean)):
        block -= mean[place]
        found += block @ (modes[:, place] * weights[place]).T
    return None, found


def _signs(left: Float64[np.ndarray, "time mode"]) -> Float64[np.ndarray, " mode"]:
    """Those that make the largest amplitude of each mode positive."""
    return np.sign(left[np.abs(left).argmax(0), np.arange(left.shape[1])])


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
