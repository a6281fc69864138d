"""Dynamic mode decomposition: the linear map that takes each snapshot to the next."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, final

import numpy as np
import xarray as xr
from jaxtyping import Complex128, Float64

from sciml.modes.expansion import Expansion
from sciml.modes.fitting import expand, optimal_amplitudes
from sciml.modes.layout import TIME, Layout, Scaling
from sciml.modes.method import bring, keep
from sciml.modes.pod import FLOORS, PrecisionWarning
from sciml.modes.reduction import reduce
from sciml.modes.timing import Clock, even_step, times

__all__ = ["Dmd", "DmdOptions", "exact_dmd"]

Eigenvalues = Complex128[np.ndarray, " mode"]


@dataclass(frozen=True, kw_only=True)
class DmdOptions:
    """How the linear map is found.

    Attributes:
        variables: which of the data's; by default all over `time`.
        rank: modes, both of a pair counted.
        scaling: "deviation" divides each variable by its root-mean-square deviation from its mean.
        mean: "none" leaves the mean to a mode with eigenvalue one; "time" subtracts it, which
            changes the eigenvalues of what grows or decays.
        method: of the POD beneath, see :class:`sciml.modes.PodOptions`.
    """

    variables: tuple[str, ...] | None = None
    rank: int = 10
    scaling: Scaling = "none"
    mean: Literal["time", "none"] = "none"
    method: Literal["gram", "qr"] = "gram"


def exact_dmd(
    states: Float64[np.ndarray, "time state"], rank: int
) -> tuple[Eigenvalues, Complex128[np.ndarray, "mode state"]]:
    r"""Eigenvalues and modes of the linear map between neighbouring snapshots.

    With $X = U\Sigma V^\top$, cut to the rank, of the snapshots but the last and $Y$ of those but
    the first, one a column: $\tilde A = U^\top Y V \Sigma^{-1}$, $\tilde A w = \lambda w$, and
    $\phi = \lambda^{-1} Y V \Sigma^{-1} w$ is an eigenvector of $A = Y X^+$.

    Tu et al., J. Comput. Dyn. 1, 391 (2014), https://doi.org/10.3934/jcd.2014.1.391.

    Args:
        states: snapshots at equal steps, one a row: numbers on a mesh, or their POD amplitudes.
        rank: at most as many as there are snapshots but one.

    Returns:
        eigenvalues of one step, and modes, one a row, not normalised.

    Raises:
        ValueError: too few snapshots for the rank.

    >>> turn = np.array([[0.6, 0.8], [-0.8, 0.6]])
    >>> rows = np.array([np.linalg.matrix_power(turn, n)[0] for n in range(5)])
    >>> exact_dmd(rows, 2)[0].round(6)
    array([0.6+0.8j, 0.6-0.8j])
    """
    _require_snapshots(len(states), rank)
    before, after = states[:-1], states[1:]
    left, values, right = np.linalg.svd(before, full_matrices=False)
    floor = np.finfo(np.float64).eps * max(before.shape) * values[0]
    rank = min(rank, int((values > floor).sum()))
    image = (left[:, :rank] / values[:rank]).T @ after
    eigenvalues, vectors = np.linalg.eig((image @ right[:rank].T).T)
    eigenvalues, vectors = eigenvalues.astype(complex), vectors.astype(complex)
    exact = vectors.T @ image
    projected = vectors.T @ right[:rank]
    return eigenvalues, np.where(
        eigenvalues[:, None] == 0,
        projected,
        exact / np.where(eigenvalues == 0, 1, eigenvalues)[:, None],
    )


@final
class Dmd:
    r"""Modes that each oscillate at one frequency and grow at one rate, from equal time steps.

    $q(t_n) = \bar q + \sum_k b_k\lambda_k^n\phi_k$, by :func:`exact_dmd` of the POD amplitudes, of
    which all are kept that the arithmetic resolves: the eigenvalues are those of the snapshots
    themselves. The amplitudes b fit all snapshots best. `encode` gives real coefficients: two of a
    pair of modes, real and imaginary part.

    >>> from sciml.modes.analytic import Wave, travelling_waves
    >>> ds = travelling_waves([Wave(frequency=0.3, growth_rate=-0.1)])
    >>> result = Dmd(DmdOptions(rank=2, variables=("velocity",))).fit(ds)
    >>> result.frequency.values.round(6), result.growth_rate.values.round(6)
    (array([ 0.3, -0.3]), array([-0.1, -0.1]))
    """

    def __init__(self, options: DmdOptions | None = None) -> None:
        self.options = options or DmdOptions()
        require_rank(self.options.rank)

    @property
    def rank(self) -> int:
        """Modes, both of a pair counted: as asked for, or what was found once fitted."""
        return self._expansion.rank if hasattr(self, "_expansion") else self.options.rank

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
            `result` over `mode`, most energy first: `modes` on the mesh (complex, norm one),
            `eigenvalues` of one step, `frequency` and `growth_rate` per unit of time, `amplitudes`
            at the first snapshot, `energy` as a share of the data's, and `mean`. The energies do
            not add up to one where modes are not orthogonal.

        Raises:
            ValueError: unequal time steps, too few snapshots, or data that is not finite.
        """
        options = self.options
        clock = Clock.of(
            train, advice=', or use DmdVariantOptions(kind="optimised"), which needs none'
        )
        _require_snapshots(train.sizes[TIME], options.rank)
        reduction = reduce(
            train,
            options.variables,
            scaling=options.scaling,
            mean=options.mean,
            method=options.method,
        )
        states = reduction.states
        warn_of_rank(options.rank, states.shape[1], options.method)
        eigenvalues, vectors = exact_dmd(states, min(options.rank, states.shape[1]))
        heads = eigenvalues.imag >= 0
        eigenvalues, vectors = eigenvalues[heads], vectors[heads]
        vectors = vectors * optimal_amplitudes(states, eigenvalues, vectors)[:, None]
        self._expansion = expand(reduction, eigenvalues, vectors, clock)
        self.layout = reduction.layout
        self.result = self._expansion.labelled().assign_attrs(method=options.method)
        return self.result

    def encode(self, ds: xr.Dataset) -> xr.DataArray:
        """Real coefficients (time, mode) of snapshots, whatever their times."""
        return self.expansion.encode(ds)

    def decode(self, coefficients: xr.DataArray) -> xr.Dataset:
        """Fields of coefficients (time, mode)."""
        return self.expansion.decode(coefficients)

    def reconstruct(self, ds: xr.Dataset) -> xr.Dataset:
        """The part of snapshots that the mean and the modes hold."""
        return self.decode(self.encode(ds))

    def predict(self, ds: xr.Dataset) -> xr.Dataset:
        """The same as `reconstruct`."""
        return self.reconstruct(ds)

    def forecast(self, ds: xr.Dataset, steps: int) -> xr.Dataset:
        """The `steps` snapshots after the last of `ds`, one time step of the fit apart."""
        return forecast(self.expansion, ds, steps)

    def trajectory(self, time: xr.DataArray) -> xr.Dataset:
        """Fields at given times, from the amplitudes at the first snapshot of the fit alone."""
        return trajectory(self.expansion, time)

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write the result and the inner product to a folder."""
        layout = self.expansion.layout.labelled()
        return keep(folder, self, self.options, result=self.result, layout=layout)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Dmd:
        """Bring back what `save` wrote.

        Raises:
            FileNotFoundError: nothing was saved there.
            ValueError: it is not a DMD.
        """
        options, parts = bring(folder, cls, DmdOptions)
        dmd = cls(options)
        dmd.result, dmd.layout = parts["result"], Layout.from_labelled(parts["layout"])
        dmd._expansion = Expansion.from_labelled(dmd.result, dmd.layout)
        return dmd

    @property
    def expansion(self) -> Expansion:
        """Modes and eigenvalues as arrays.

        Raises:
            ValueError: it is not fitted.
        """
        if not hasattr(self, "_expansion"):
            raise ValueError("the DMD is not fitted: call fit(ds) or Dmd.load(folder) first")
        return self._expansion


def forecast(expansion: Expansion, ds: xr.Dataset, steps: int, *, window: int = 1) -> xr.Dataset:
    """The snapshots after the last of `ds`, from the best fit to its last `window`."""
    time = expansion.clock.later(ds, steps)
    if window > 1:
        even_step(ds.isel({TIME: slice(-window, None)}))
    ahead = np.arange(1.0, steps + 1)
    values = expansion.continued(ds, ahead, window=window)
    return expansion.decode(xr.DataArray(values, dims=(TIME, "mode"), coords={TIME: time}))


def trajectory(expansion: Expansion, time: xr.DataArray) -> xr.Dataset:
    """Fields at given times, from the amplitudes at the first snapshot of the fit alone."""
    when = times(xr.Dataset(coords={TIME: (TIME, time.values)}))
    if time.dtype.kind == "M":
        raise ValueError("time is given as dates: give it in seconds after the first snapshot")
    values = expansion.at(when)
    return expansion.decode(xr.DataArray(values, dims=(TIME, "mode"), coords={TIME: time}))


def require_rank(rank: int) -> None:
    """Refuse a rank below one."""
    if rank < 1:
        raise ValueError(f"rank is {rank}, and must be at least 1")


def warn_of_rank(rank: int, resolved: int, method: str) -> None:
    """Say that fewer modes are found than were asked for."""
    if rank > resolved:
        warnings.warn(
            f"{rank} modes were asked for, and the snapshots have {resolved} above "
            f"{FLOORS[method]:.0e} of the first: {resolved} are found",
            PrecisionWarning,
            stacklevel=3,
        )


def _require_snapshots(count: int, rank: int) -> None:
    if count < rank + 1 or count < 2:
        raise ValueError(
            f"{rank} modes need at least {max(rank, 1) + 1} snapshots, and there are {count}: give "
            "more snapshots, or a lower rank"
        )
