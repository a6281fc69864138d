"""Kinds of DMD beyond the exact one, by PyDMD on POD amplitudes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, final

import numpy as np
import xarray as xr
from jaxtyping import Float64

from sciml.modes import engines
from sciml.modes.dmd import forecast, require_rank, trajectory
from sciml.modes.engines import Found
from sciml.modes.expansion import MODE, Expansion
from sciml.modes.fitting import energies, expand
from sciml.modes.layout import TIME, Layout, Scaling
from sciml.modes.method import bring, keep
from sciml.modes.reduction import Reduction, reduce
from sciml.modes.timing import Clock, times

__all__ = ["DmdVariant", "DmdVariantOptions"]

Kind = Literal["optimised", "higher order", "multi-resolution", "control"]
CONTROL = "control"

ROUNDING = 1e-14
"""Of the energy of the strongest mode: what is left over where a window holds nothing new."""


@dataclass(frozen=True, kw_only=True)
class DmdVariantOptions:
    """Which DMD, and how.

    Attributes:
        kind: "optimised" fits exponentials to all snapshots at once, is not biased by noise and
            needs no equal time steps; "higher order" stacks snapshots with those that follow, and
            finds more frequencies than there are POD modes; "multi-resolution" finds slow modes in
            ever shorter windows; "control" tells what the flow does by itself from what is done to
            it.
        variables: which of the data's; by default all over `time` but the control.
        rank: modes, both of a pair counted.
        scaling: "deviation" divides each variable by its root-mean-square deviation from its mean.
        mean: "time" subtracts the mean of the snapshots, "none" nothing.
        method: of the POD beneath, see :class:`sciml.modes.PodOptions`.
        states: POD amplitudes it runs on; by default all that are resolved, and as many as the rank
            for "optimised" and "control".
        trials: of "optimised": fits to random parts of the snapshots, whose mean is taken and whose
            spread is told; none fits all once.
        share: of the snapshots in each trial.
        stable: of "optimised": no mode may grow.
        iterations: of "optimised": of its least squares, at most.
        seed: of the trials.
        delays: of "higher order": snapshots in a stack.
        levels: of "multi-resolution": times that windows are halved.
        cycles: of "multi-resolution": what makes at most so many periods in its window is slow.
        control: of "control": the variable of what is done to the flow, over `time` and perhaps one
            more dimension.
    """

    kind: Kind = "optimised"
    variables: tuple[str, ...] | None = None
    rank: int = 10
    scaling: Scaling = "none"
    mean: Literal["time", "none"] = "none"
    method: Literal["gram", "qr"] = "gram"
    states: int | None = None
    trials: int = 0
    share: float = 0.6
    stable: bool = False
    iterations: int = 30
    seed: int = 0
    delays: int = 10
    levels: int = 3
    cycles: int = 2
    control: str | None = None


@final
class DmdVariant:
    r"""Modes that each oscillate at one frequency and grow at one rate, found in another way.

    The result is that of :class:`sciml.modes.Dmd`. "multi-resolution" adds `window_start` and
    `window_end`, outside of which a mode is silent; "optimised" with trials adds `rate_deviation`,
    the standard deviation of growth rate and angular frequency; "control" adds `control_effect`,
    the field that one unit of control adds to the next snapshot.

    >>> from sciml.modes.analytic import Wave, travelling_waves
    >>> ds = travelling_waves([Wave(frequency=0.3)], noise=0.1)
    >>> options = DmdVariantOptions(kind="higher order", rank=2, variables=("velocity",))
    >>> DmdVariant(options).fit(ds).frequency.values.round(3)
    array([ 0.3, -0.3])
    """

    def __init__(self, options: DmdVariantOptions | None = None) -> None:
        self.options = options or DmdVariantOptions()
        require_rank(self.options.rank)
        if self.options.kind == "control" and self.options.control is None:
            raise ValueError(
                'kind="control" needs the name of the variable that is done to the flow: '
                "DmdVariantOptions(control=...)"
            )

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
        """Find the modes; see :meth:`sciml.modes.Dmd.fit` for what is returned.

        Raises:
            ValueError: unequal time steps (but for "optimised"), too few snapshots, or data that is
                not finite.
            ModuleNotFoundError: PyDMD is not installed.
        """
        options = self.options
        clock = _clock(train, options)
        _require_snapshots(train.sizes[TIME], options)
        reduction = reduce(
            train,
            _variables(train, options),
            scaling=options.scaling,
            mean=options.mean,
            method=options.method,
        )
        self._expansion, extra = _expanded(reduction, train, clock, options)
        self.layout = reduction.layout
        self.result = (
            self._expansion.labelled()
            .assign(extra)
            .assign_attrs(method=options.method, kind=options.kind)
        )
        return self.result

    def encode(self, ds: xr.Dataset) -> xr.DataArray:
        """Real coefficients (time, mode) of snapshots: the best fit by all modes."""
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

    def forecast(
        self, ds: xr.Dataset, steps: int, *, control: xr.DataArray | None = None
    ) -> xr.Dataset:
        """The `steps` snapshots after the last of `ds`, one time step of the fit apart.

        "higher order" starts from as many snapshots as it stacks, the others from the last.

        Args:
            ds: snapshots.
            steps: how many to foretell.
            control: of "control": what is done from the last snapshot on, over (time[, control]),
                one for each step.

        Raises:
            ValueError: no control where it is needed, or of another length.
        """
        if self.options.kind == "control":
            return self._driven(ds, steps, control)
        window = self.options.delays if self.options.kind == "higher order" else 1
        return forecast(self.expansion, ds, steps, window=window)

    def trajectory(self, time: xr.DataArray) -> xr.Dataset:
        """Fields at given times, from the amplitudes at each mode's first snapshot alone."""
        return trajectory(self.expansion, time)

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write the result and the inner product to a folder."""
        layout = self.expansion.layout.labelled()
        return keep(folder, self, self.options, result=self.result, layout=layout)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> DmdVariant:
        """Bring back what `save` wrote.

        Raises:
            FileNotFoundError: nothing was saved there.
            ValueError: it is another method.
        """
        options, parts = bring(folder, cls, DmdVariantOptions)
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
            raise ValueError("the DMD is not fitted: call fit(ds) or DmdVariant.load(folder) first")
        return self._expansion

    def _driven(self, ds: xr.Dataset, steps: int, control: xr.DataArray | None) -> xr.Dataset:
        """The snapshots that follow under a control that is known."""
        if control is None or control.sizes[TIME] != steps:
            told = "none was given" if control is None else f"{control.sizes[TIME]} were given"
            raise ValueError(
                f"{steps} steps under control need {steps} values of it from the last snapshot on, "
                f"and {told}: forecast(ds, steps, control=...)"
            )
        expansion, effect = self.expansion, self._effects()
        time = expansion.clock.later(ds, steps)
        state = expansion.encode(ds.isel({TIME: slice(-1, None)})).values[0]
        states = []
        for now in _table(control):
            state = expansion.stepped(state) + now @ effect
            states.append(state)
        coefficients = xr.DataArray(np.stack(states), dims=(TIME, MODE), coords={TIME: time})
        return expansion.decode(coefficients)

    def _effects(self) -> Float64[np.ndarray, "control mode"]:
        """What one unit of each control adds to the coefficients."""
        names = self.expansion.layout.variables
        labels = [self.expansion.layout.named("control_effect", name) for name in names]
        fields = self.result[labels].rename(dict(zip(labels, names, strict=True)))
        return self.expansion.project(fields, CONTROL)


def _clock(ds: xr.Dataset, options: DmdVariantOptions) -> Clock:
    """Steps need not be equal for "optimised", which counts in mean ones."""
    if options.kind != "optimised":
        return Clock.of(ds, advice=', or use kind="optimised", which needs no equal ones')
    when = times(ds)
    return Clock.of(ds, step=float((when[-1] - when[0]) / max(len(when) - 1, 1)))


def _require_snapshots(count: int, options: DmdVariantOptions) -> None:
    least = {
        "optimised": options.rank + 1,
        "higher order": options.rank + options.delays,
        "multi-resolution": 2 ** (options.levels + 2),
        "control": 2 * options.rank + 1,
    }[options.kind]
    if count < least:
        raise ValueError(
            f'{options.rank} modes of kind="{options.kind}" need at least {least} snapshots as it '
            f"is set up, and there are {count}: give more, or lower rank, delays or levels"
        )


def _variables(ds: xr.Dataset, options: DmdVariantOptions) -> tuple[str, ...] | None:
    """By default all over time but the control."""
    if options.kind != "control" or options.variables is not None:
        return options.variables
    if options.control not in ds or TIME not in ds[options.control].dims:
        raise ValueError(f"the data has no control {options.control} over {TIME}")
    return tuple(
        str(name) for name in ds.data_vars if TIME in ds[name].dims and name != options.control
    )


def _table(control: xr.DataArray) -> Float64[np.ndarray, "time control"]:
    """A control over time, with one more dimension or none."""
    if control.ndim > 2 or TIME not in control.dims:
        raise ValueError(
            f"the control is over {control.dims}: it must be over time and at most one more"
        )
    values = control.transpose(TIME, ...).values.astype(np.float64).reshape(control.sizes[TIME], -1)
    if not np.isfinite(values).all():
        raise ValueError("the control holds what is not finite")
    return values


def _expanded(
    reduction: Reduction, ds: xr.Dataset, clock: Clock, options: DmdVariantOptions
) -> tuple[Expansion, dict[str, xr.DataArray]]:
    """The expansion, and what a kind adds to the result."""
    if options.kind == "control":
        return _controlled(reduction, ds, clock, options)
    states, rank = _states(reduction, options), options.rank
    if options.kind == "optimised":
        steps = (times(ds) - clock.start) / clock.step
        found = engines.optimised(
            states,
            steps,
            min(rank, states.shape[1]),
            trials=options.trials,
            share=options.share,
            stable=options.stable,
            iterations=options.iterations,
            seed=options.seed,
        )
        return _with_deviation(reduction, found, clock)
    if options.kind == "higher order":
        found = engines.higher_order(states, rank, delays=options.delays)
        return expand(reduction, found.eigenvalues, _whole(found, reduction), clock), {}
    found = engines.multi_resolution(states, rank, levels=options.levels, cycles=options.cycles)
    return _windowed(reduction, found, clock, rank), {}


def _states(reduction: Reduction, options: DmdVariantOptions) -> Float64[np.ndarray, "time state"]:
    few = options.rank if options.kind in ("optimised", "control") else None
    return reduction.states[:, : options.states or few]


def _whole(found: Found, reduction: Reduction) -> np.ndarray:
    """Modes in all POD amplitudes, zero in those left out."""
    missing = reduction.states.shape[1] - found.vectors.shape[1]
    return np.pad(found.vectors, ((0, 0), (0, missing)))


def _with_deviation(
    reduction: Reduction, found: Found, clock: Clock
) -> tuple[Expansion, dict[str, xr.DataArray]]:
    expansion = expand(reduction, found.eigenvalues, _whole(found, reduction), clock)
    if found.deviation is None:
        return expansion, {}
    upper = expansion.eigenvalues.real + 1j * np.abs(expansion.eigenvalues.imag)
    place = np.abs(upper[:, None] - found.eigenvalues).argmin(1)
    values = found.deviation[place] / clock.step
    return expansion, {"rate_deviation": xr.DataArray(values, dims=(MODE,), attrs=clock.inverse)}


def _windowed(reduction: Reduction, found: Found, clock: Clock, rank: int) -> Expansion:
    """The modes of most energy, as many as the rank, each in its window."""
    assert found.begin is not None and found.count is not None
    sizes = np.linalg.norm(found.vectors, axis=1)
    each = zip(found.eigenvalues[:, None], sizes[:, None], found.count.tolist(), strict=True)
    energy = np.concatenate([energies(reduction.states, *one) for one in each])
    members = np.where(found.eigenvalues.imag > 0, 2, 1)
    order = np.argsort(-energy * members, kind="stable")
    order = order[energy[order] > ROUNDING * energy.max()]
    kept = order[np.cumsum(members[order]) <= rank]
    ends = found.begin + found.count
    windows = clock.start + clock.step * np.stack([found.begin, ends], axis=1)[kept]
    return expand(
        reduction,
        found.eigenvalues[kept],
        _whole(found, reduction)[kept],
        clock,
        energy=energy[kept],
        windows=windows,
    )


def _controlled(
    reduction: Reduction, ds: xr.Dataset, clock: Clock, options: DmdVariantOptions
) -> tuple[Expansion, dict[str, xr.DataArray]]:
    """Modes of the flow by itself, and what control does to it."""
    states = _states(reduction, options)
    found, effect = engines.controlled(states, _table(ds[options.control]))
    unit = found.vectors / np.linalg.norm(found.vectors, axis=1)[:, None]
    upper = found.eigenvalues.imag > 0
    every = np.concatenate([unit, unit[upper].conj()])
    amplitudes = states @ np.linalg.pinv(every)[:, : len(unit)]
    energy = (np.abs(amplitudes) ** 2).sum(0) / (reduction.states**2).sum()
    expansion = expand(reduction, found.eigenvalues, _whole(found, reduction), clock, energy=energy)
    missing = reduction.states.shape[1] - states.shape[1]
    fields = reduction.spread(np.pad(effect, ((0, 0), (0, missing))))
    labelled = reduction.layout.fields(fields, CONTROL, prefix="control_effect")
    return expansion, {str(name): labelled[name] for name in labelled.data_vars}
