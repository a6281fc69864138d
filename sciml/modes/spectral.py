"""Spectral POD: at each frequency, the structures that hold the most energy."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, final

import numpy as np
import xarray as xr
from jaxtyping import Complex128, Float64, Int

from sciml.modes.dmd import forecast, require_rank, trajectory
from sciml.modes.expansion import Expansion
from sciml.modes.fitting import expand, optimal_amplitudes
from sciml.modes.layout import TIME, Layout, Scaling
from sciml.modes.method import bring, keep
from sciml.modes.reduction import Reduction, reduce
from sciml.modes.timing import Clock

__all__ = ["SpectralPod", "SpectralPodOptions", "Spectrum", "spectral_pod"]

Window = Literal["hann", "hamming", "none"]
FEWEST = 4


@dataclass(frozen=True, kw_only=True)
class SpectralPodOptions:
    """How spectra are estimated, and how many modes are kept.

    Attributes:
        variables: which of the data's; by default all over `time`.
        rank: real coefficients of a snapshot: two for each mode that oscillates.
        scaling: "deviation" divides each variable by its root-mean-square deviation from its mean.
        method: of the POD beneath, see :class:`sciml.modes.PodOptions`.
        block: snapshots in a block of Welch's method; by default a quarter of all, an even number.
        overlap: share of a block that it has in common with the next.
        window: "hann", "hamming" or "none".
        select: "peaks" keeps the leading modes at local maxima of the spectrum first, since the
            neighbours of a tone repeat it; "energy" takes modes by energy alone.
    """

    variables: tuple[str, ...] | None = None
    rank: int = 10
    scaling: Scaling = "none"
    method: Literal["gram", "qr"] = "gram"
    block: int | None = None
    overlap: float = 0.5
    window: Window = "hann"
    select: Literal["peaks", "energy"] = "peaks"


@dataclass(frozen=True, kw_only=True)
class Spectrum:
    """Energies and modes at each frequency.

    Attributes:
        frequencies: in periods per step.
        energies: mean squares that each mode holds, positive and negative frequency together.
        vectors: modes, orthonormal at each frequency; they turn as exp(2πi f n).
        blocks: how many were averaged.
    """

    frequencies: Float64[np.ndarray, " frequency"]
    energies: Float64[np.ndarray, "frequency order"]
    vectors: Complex128[np.ndarray, "frequency order state"]
    blocks: int


def spectral_pod(
    states: Float64[np.ndarray, "time state"],
    *,
    block: int,
    overlap: float = 0.5,
    window: Window = "hann",
) -> Spectrum:
    r"""Eigenvectors of the cross-spectral density, by Welch's method.

    $S(f) = \frac1B\sum_b \hat q_b\hat q_b^*$ over windowed blocks, $S\phi = \lambda\phi$. The
    energies of all modes at all frequencies add up to the mean square of the snapshots, as the
    blocks weigh them.

    Towne, Schmidt and Colonius, J. Fluid Mech. 847, 821 (2018),
    https://doi.org/10.1017/jfm.2018.283.

    Args:
        states: snapshots less their mean at equal steps, one a row, as POD amplitudes.
        block: snapshots in a block.
        overlap: share of a block that it has in common with the next.
        window: what blocks are multiplied by, scaled to keep the mean square.

    Raises:
        ValueError: a block of less than four snapshots or more than there are, or an overlap that
            is not in [0, 1).

    >>> n = np.arange(64)
    >>> found = spectral_pod(np.cos(2 * np.pi * n / 8)[:, None], block=32)
    >>> float(found.frequencies[found.energies[:, 0].argmax()])
    0.125
    """
    starts = _starts(len(states), block, overlap)
    weight = _windows(window, block)
    blocks = np.stack([states[start : start + block] for start in starts])
    spectra = np.fft.rfft(blocks * weight[:, None], axis=1) / block
    frequencies = np.fft.rfftfreq(block)
    twice = (frequencies > 0) & (frequencies < 0.5)
    spectra *= np.sqrt(np.where(twice, 2.0, 1.0) / len(starts))[:, None]
    _, values, vectors = np.linalg.svd(spectra.transpose(1, 0, 2), full_matrices=False)
    return Spectrum(
        frequencies=frequencies, energies=values**2, vectors=vectors, blocks=len(starts)
    )


@final
class SpectralPod:
    """Modes of one frequency each, that hold the most energy there on average.

    All energies stand in `spectrum`, over (frequency, order), as shares of the variance. The modes
    kept are an expansion as that of :class:`sciml.modes.Dmd`, with eigenvalues on the unit circle:
    snapshots are encoded by projection on all of them at once.

    Nekkanti and Schmidt, J. Fluid Mech. 926, A26 (2021), https://doi.org/10.1017/jfm.2021.681.

    >>> from sciml.modes.analytic import Wave, travelling_waves
    >>> ds = travelling_waves([Wave(frequency=0.4)], noise=0.5, steps=400)
    >>> spod = SpectralPod(SpectralPodOptions(rank=2, variables=("velocity",), block=100))
    >>> spod.fit(ds).frequency.values.round(6)
    array([ 0.4, -0.4])
    """

    def __init__(self, options: SpectralPodOptions | None = None) -> None:
        self.options = options or SpectralPodOptions()
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
        """Find the spectrum and the modes.

        Returns:
            `result` as :meth:`sciml.modes.Dmd.fit` gives it; `energy` is that of the spectrum.

        Raises:
            ValueError: unequal time steps, too few snapshots, or data that is not finite.
        """
        options = self.options
        clock = Clock.of(train)
        block = options.block or train.sizes[TIME] // 8 * 2
        _starts(train.sizes[TIME], block, options.overlap)
        reduction = reduce(
            train, options.variables, scaling=options.scaling, mean="time", method=options.method
        )
        found = spectral_pod(
            reduction.states, block=block, overlap=options.overlap, window=options.window
        )
        variance = float((reduction.states**2).sum(1).mean())
        self._expansion = _expanded(reduction, found, clock, options, variance)
        self.layout = reduction.layout
        self.result = self._expansion.labelled().assign_attrs(method=options.method, block=block)
        self.spectrum = _labelled(found, clock, variance)
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
        """The `steps` snapshots after the last of `ds`: each mode turns at its frequency."""
        return forecast(self.expansion, ds, steps)

    def trajectory(self, time: xr.DataArray) -> xr.Dataset:
        """Fields at given times, if every mode turned as it best fits the training snapshots."""
        return trajectory(self.expansion, time)

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write the result, the spectrum and the inner product to a folder."""
        layout = self.expansion.layout.labelled()
        return keep(
            folder, self, self.options, result=self.result, layout=layout, spectrum=self.spectrum
        )

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> SpectralPod:
        """Bring back what `save` wrote.

        Raises:
            FileNotFoundError: nothing was saved there.
            ValueError: it is another method.
        """
        options, parts = bring(folder, cls, SpectralPodOptions)
        spod = cls(options)
        spod.result, spod.layout = parts["result"], Layout.from_labelled(parts["layout"])
        spod.spectrum = parts["spectrum"]
        spod._expansion = Expansion.from_labelled(spod.result, spod.layout)
        return spod

    @property
    def expansion(self) -> Expansion:
        """Modes and eigenvalues as arrays.

        Raises:
            ValueError: it is not fitted.
        """
        if not hasattr(self, "_expansion"):
            raise ValueError("the SPOD is not fitted: call fit(ds) or SpectralPod.load(folder)")
        return self._expansion


def _expanded(
    reduction: Reduction,
    found: Spectrum,
    clock: Clock,
    options: SpectralPodOptions,
    variance: float,
) -> Expansion:
    """The chosen modes on the mesh."""
    places, orders = _chosen(found, options)
    eigenvalues = np.exp(2j * np.pi * found.frequencies[places])
    eigenvalues.imag[~_oscillates(found.frequencies[places])] = 0.0
    vectors = found.vectors[places, orders]
    members = np.where(eigenvalues.imag > 0, 2, 1)
    amplitudes = optimal_amplitudes(reduction.states, eigenvalues, vectors)
    energy = found.energies[places, orders] / members / variance
    tiny = np.where(amplitudes == 0, np.finfo(np.float64).tiny, amplitudes)
    return expand(reduction, eigenvalues, vectors * tiny[:, None], clock, energy=energy)


def _chosen(
    found: Spectrum, options: SpectralPodOptions
) -> tuple[Int[np.ndarray, " mode"], Int[np.ndarray, " mode"]]:
    """Frequency and order of the modes that are kept."""
    energy = found.energies
    places, orders = (grid.ravel() for grid in np.indices(energy.shape))
    later = np.zeros(len(places), dtype=bool)
    if options.select == "peaks":
        later = ~_peaks(energy[:, 0])[places] | (orders > 0)
    worth = energy.ravel() > 1e-14 * energy.max()
    order = np.lexsort((-energy.ravel(), later))
    order = order[worth[order]]
    members = np.where(_oscillates(found.frequencies[places[order]]), 2, 1)
    order = order[np.cumsum(members) <= max(options.rank, members[0])]
    return places[order], orders[order]


def _oscillates(frequencies: Float64[np.ndarray, " mode"]) -> np.ndarray:
    """Neither the mean nor the highest frequency, whose modes are real and have no partner."""
    return (frequencies > 0) & (frequencies < 0.5)


def _peaks(energy: Float64[np.ndarray, " frequency"]) -> np.ndarray:
    """Which frequencies hold more than either neighbour."""
    padded = np.pad(energy, 1, constant_values=-np.inf)
    return (energy > padded[:-2]) & (energy >= padded[2:])


def _labelled(found: Spectrum, clock: Clock, variance: float) -> xr.Dataset:
    frequency = found.frequencies / clock.step
    return xr.Dataset(
        {"energy": (("frequency", "order"), found.energies / variance, {"units": "1"})},
        coords={
            "frequency": ("frequency", frequency, clock.inverse),
            "order": ("order", np.arange(found.energies.shape[1]), {"units": "1"}),
        },
        attrs={"blocks": found.blocks, "variance": variance},
    )


def _starts(count: int, block: int, overlap: float) -> range:
    """Where blocks begin."""
    if not FEWEST <= block <= count:
        raise ValueError(
            f"blocks of {block} snapshots were asked for, and there are {count}: a block holds at "
            f"least {FEWEST} and at most all of them"
        )
    if not 0 <= overlap < 1:
        raise ValueError(f"overlap is {overlap}, and must be at least 0 and below 1")
    hop = max(1, block - round(overlap * block))
    return range(0, count - block + 1, hop)


def _windows(window: Window, block: int) -> Float64[np.ndarray, " step"]:
    """A window whose mean square is one."""
    turn = np.cos(2 * np.pi * np.arange(block) / block)
    shape = {"hann": 0.5 - 0.5 * turn, "hamming": 0.54 - 0.46 * turn, "none": np.ones(block)}
    return shape[window] / np.sqrt((shape[window] ** 2).mean())
