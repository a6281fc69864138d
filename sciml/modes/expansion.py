"""Fields as a sum of modes, each with one frequency and one rate of growth."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Complex128, Float64

from sciml.modes.layout import TIME, Layout
from sciml.modes.reduction import products
from sciml.modes.timing import Clock

__all__ = ["MODE", "Expansion", "Windows", "conjugate_pairs"]

MODE = "mode"
RESOLVED = 1e-10

Eigenvalues = Complex128[np.ndarray, " mode"]
Windows = Float64[np.ndarray, "mode 2"]


@dataclass(frozen=True, kw_only=True)
class Expansion:
    r"""$q(t_n) = \bar q + \sum_k b_k\,\lambda_k^n\,\phi_k$ with modes of norm one.

    The data is real: modes that oscillate come in pairs, $\phi_{k+1} = \bar\phi_k$, the positive
    frequency first. $b_k$ is positive; the mode carries the phase at the first snapshot.

    A snapshot's coefficients are real: $\sqrt 2\,\mathrm{Re}\,a$ and $\sqrt 2\,\mathrm{Im}\,a$ for
    the pair whose complex amplitude is $a$, and $a$ itself for a mode without a partner.

    Attributes:
        layout: the mesh and its inner product.
        mean: $\bar q$.
        modes: $\phi$.
        eigenvalues: $\lambda$, of one step.
        amplitudes: b.
        energy: mean of $|b\lambda^n|^2$ over the fit, as a share of that of the data.
        clock: when the snapshots of the fit are.
        windows: times at which each mode begins, with its amplitude, and ends; by default all live
            throughout.
    """

    layout: Layout
    mean: Float64[np.ndarray, " point"]
    modes: Complex128[np.ndarray, "mode point"]
    eigenvalues: Eigenvalues
    amplitudes: Float64[np.ndarray, " mode"]
    energy: Float64[np.ndarray, " mode"]
    clock: Clock
    windows: Windows | None = None

    @property
    def rank(self) -> int:
        """Modes, both of a pair counted."""
        return len(self.eigenvalues)

    @property
    def rates(self) -> Eigenvalues:
        """Logarithm of the eigenvalues per unit of time: growth and angular frequency."""
        tiny = np.finfo(np.float64).tiny
        safe = np.where(self.eigenvalues == 0, tiny, self.eigenvalues)
        return np.log(safe) / self.clock.step

    def encode(self, ds: xr.Dataset) -> xr.DataArray:
        """Real coefficients (time, mode) of snapshots: the best fit by the modes."""
        values = self._compact(ds) @ self._inverse.T
        coords: dict[str, Any] = {MODE: np.arange(self.rank)}
        if TIME in ds.coords:
            coords[TIME] = ds[TIME]
        return xr.DataArray(values, dims=(TIME, MODE), coords=coords, attrs={"units": "1"})

    def decode(self, coefficients: xr.DataArray) -> xr.Dataset:
        """Fields of coefficients (time, mode)."""
        rows = coefficients.transpose(TIME, MODE).values @ self._real + self.mean
        return self.layout.fields(rows, TIME, coefficients.coords.get(TIME))

    @property
    def independent(self) -> bool:
        """Whether one snapshot tells all modes apart."""
        values = np.linalg.svd(self._small, compute_uv=False)
        return len(values) == self.rank and bool(values[-1] > RESOLVED * values[0])

    def stepped(self, state: Float64[np.ndarray, " mode"]) -> Float64[np.ndarray, " mode"]:
        """Real coefficients one step later."""
        return self._turned(1.0) @ state

    def project(self, fields: xr.Dataset, dim: str) -> Float64[np.ndarray, "row mode"]:
        """Real coefficients of fields along `dim` that are added to snapshots: no mean is taken."""
        none = np.zeros_like(self.mean)
        found = products(fields, self.layout, none, self._factors[0], dim=dim)
        return found @ self._inverse.T

    def complex_amplitudes(self, ds: xr.Dataset) -> Complex128[np.ndarray, "time mode"]:
        """What stands before each mode in each snapshot."""
        return self._to_complex(self.encode(ds).values)

    def continued(
        self, ds: xr.Dataset, ahead: Float64[np.ndarray, " ahead"], *, window: int = 1
    ) -> Float64[np.ndarray, "ahead mode"]:
        """Coefficients some steps after the last snapshot.

        Args:
            ds: snapshots, of which the last `window` are used.
            ahead: how many steps after the last.
            window: snapshots that the modes' motion is fitted to; more than one where the modes are
                more than the numbers in a snapshot, or noise is to be averaged out.
        """
        last = self._compact(ds.isel({TIME: slice(-window, None)}))
        back = np.arange(1 - len(last), 1, dtype=np.float64)
        lives = self._last_alive()
        system = np.concatenate([self._small @ self._turned(n) * lives for n in back])
        found = np.linalg.lstsq(system, last.ravel(), rcond=RESOLVED)[0]
        return np.stack([self._turned(n) @ found for n in ahead])

    def _last_alive(self) -> Float64[np.ndarray, " mode"]:
        """One for each mode that lives to the end of the fit, else zero."""
        if self.windows is None:
            return np.ones(self.rank)
        return (self.windows[:, 1] >= self.windows[:, 1].max()).astype(np.float64)

    def at(self, when: Float64[np.ndarray, " time"]) -> Float64[np.ndarray, "time mode"]:
        """Coefficients at given times, from the amplitudes where each mode begins."""
        begin, alive = np.full(self.rank, self.clock.start), np.ones((len(when), self.rank))
        if self.windows is not None:
            begin, near = self.windows[:, 0], self.clock.step / 2
            alive *= (when[:, None] > begin - near) & (when[:, None] < self.windows[:, 1] - near)
        since = (when[:, None] - begin) * alive
        return self._to_real(self.amplitudes * np.exp(self.rates * since) * alive)

    def labelled(self) -> xr.Dataset:
        """`modes`, `mean`, `eigenvalues`, `frequency`, `growth_rate`, `amplitudes`, `energy`."""
        mean = self.layout.fields(self.mean[None], prefix="mean").isel({TIME: 0})
        result = self._fields().assign({name: mean[name] for name in mean.data_vars})
        result = result.assign(
            eigenvalues=(MODE, self.eigenvalues, {"units": "1"}),
            frequency=(MODE, self.rates.imag / (2 * np.pi), self.clock.inverse),
            growth_rate=(MODE, self.rates.real, self.clock.inverse),
            amplitudes=(MODE, self.amplitudes, {"units": "1"}),
            energy=(MODE, self.energy, {"units": "1"}),
        )
        if self.windows is not None:
            begin, end = self.windows.T
            result = result.assign(
                window_start=(MODE, begin, {"units": self.clock.units}),
                window_end=(MODE, end, {"units": self.clock.units}),
            )
        return result.assign_attrs(
            time_step=self.clock.step, start=self.clock.start, time_units=self.clock.units
        )

    def _fields(self) -> xr.Dataset:
        """The modes on the mesh."""
        numbers = np.arange(self.rank)
        real = self.layout.fields(self.modes.real, MODE, numbers, prefix="modes")
        imaginary = self.layout.fields(self.modes.imag, MODE, numbers, prefix="modes")
        return real.map(lambda one: one.copy(data=one.values + 1j * imaginary[one.name].values))

    @classmethod
    def from_labelled(cls, result: xr.Dataset, layout: Layout) -> Expansion:
        """The expansion of which `labelled` gave the result."""
        names = layout.variables
        modes = result[[layout.named("modes", name) for name in names]]
        mean = result[[layout.named("mean", name) for name in names]].expand_dims(TIME)
        return cls(
            layout=layout,
            modes=np.asarray(layout.rows(_renamed(modes, names), MODE), dtype=complex),
            mean=np.asarray(layout.rows(_renamed(mean, names)))[0],
            eigenvalues=result["eigenvalues"].values,
            amplitudes=result["amplitudes"].values,
            energy=result["energy"].values,
            clock=Clock(
                step=float(result.attrs["time_step"]),
                start=float(result.attrs["start"]),
                units=result.attrs["time_units"],
            ),
            windows=_windows(result),
        )

    @cached_property
    def _heads(self) -> np.ndarray:
        """The first of each pair."""
        return np.flatnonzero(self.eigenvalues.imag > 0)

    @cached_property
    def _real(self) -> Float64[np.ndarray, "mode point"]:
        """What stands beside each real coefficient."""
        fields = self.modes.real.copy()
        fields[self._heads] = np.sqrt(2) * self.modes[self._heads].real
        fields[self._heads + 1] = -np.sqrt(2) * self.modes[self._heads].imag
        return fields

    @cached_property
    def _factors(
        self,
    ) -> tuple[Float64[np.ndarray, "some point"], Float64[np.ndarray, "some mode"]]:
        """Orthonormal fields that span the modes, times the weights, and the modes in them."""
        root = np.sqrt(self.layout.weights)
        Q, R = np.linalg.qr((self._real * root).T)
        return Q.T * root, R

    @property
    def _small(self) -> Float64[np.ndarray, "some mode"]:
        return self._factors[1]

    @cached_property
    def _inverse(self) -> Float64[np.ndarray, "mode some"]:
        return np.linalg.pinv(self._small, rcond=RESOLVED)

    def _compact(self, ds: xr.Dataset) -> Float64[np.ndarray, "time some"]:
        """Snapshots in the orthonormal fields."""
        return products(ds, self.layout, self.mean, self._factors[0])

    def _turned(self, steps: float) -> Float64[np.ndarray, "mode mode"]:
        """What takes real coefficients a number of steps on."""
        turn = np.exp(self.rates * self.clock.step * steps)
        if float(steps).is_integer():
            turn = np.where(self.eigenvalues == 0, steps == 0, self.eigenvalues ** int(steps))
        matrix = np.diag(turn.real)
        heads = self._heads
        matrix[heads, heads + 1] = -turn[heads].imag
        matrix[heads + 1, heads] = turn[heads].imag
        return matrix

    def _to_complex(
        self, real: Float64[np.ndarray, "time mode"]
    ) -> Complex128[np.ndarray, "time mode"]:
        found, heads = real.astype(complex), self._heads
        found[:, heads] = (real[:, heads] + 1j * real[:, heads + 1]) / np.sqrt(2)
        found[:, heads + 1] = found[:, heads].conj()
        return found

    def _to_real(
        self, found: Complex128[np.ndarray, "time mode"]
    ) -> Float64[np.ndarray, "time mode"]:
        real, heads = found.real.copy(), self._heads
        real[:, heads] = np.sqrt(2) * found[:, heads].real
        real[:, heads + 1] = np.sqrt(2) * found[:, heads].imag
        return real


def conjugate_pairs(eigenvalues: Eigenvalues) -> Complex128[np.ndarray, " head"]:
    """Eigenvalues of a real problem, made exact: real ones, and those above the axis of each pair.

    What was computed is a pair only up to rounding. Each eigenvalue below the axis is taken with
    the nearest mirror image above it; where one is left over, the one nearest the axis is real.

    >>> conjugate_pairs(np.array([0.5 - 0.1j, 0.9 + 0j, 0.5 + 0.100001j])).round(3).tolist()
    [(0.9+0j), (0.5+0.1j)]
    """
    near = 1e-12 * np.abs(eigenvalues).max(initial=0)
    above = list(eigenvalues[eigenvalues.imag > near])
    below = list(eigenvalues[eigenvalues.imag < -near].conj())
    real = list(eigenvalues[np.abs(eigenvalues.imag) <= near].real)
    pairs = []
    while above and below:
        distance = np.abs(np.subtract.outer(above, below))
        i, j = np.unravel_index(distance.argmin(), distance.shape)
        pairs.append((above.pop(int(i)) + below.pop(int(j))) / 2)
    real += [value.real for value in above + below]
    return np.array(real + pairs, dtype=complex)


def _windows(result: xr.Dataset) -> Windows | None:
    if "window_start" not in result:
        return None
    return np.stack([result["window_start"].values, result["window_end"].values], axis=1)


def _renamed(ds: xr.Dataset, names: list[str]) -> xr.Dataset:
    return ds.rename(dict(zip(map(str, ds.data_vars), names, strict=True)))
