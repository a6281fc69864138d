"""Ignition of a homogeneous mixture, step by step: the test that counts for a learned step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import xarray as xr
from jaxtyping import Float

from sciml.chemistry.generation import IgnitionStates, mechanism_of_solver
from sciml.chemistry.integration import Trajectory
from sciml.data import SampleFailure

__all__ = ["Advances", "IgnitionTests", "ignition_delay", "roll_out"]

TRACE = 400
"""Points of a trace that is kept for figures."""

_AFTER = 0.5
"""How long a test goes on after ignition, over the delay."""


@runtime_checkable
class Advances(Protocol):
    """Anything that advances the chemistry of cells: direct integration, a surrogate, a table."""

    def advance(
        self, temperature: Any, pressure: Any, mass_fractions: Any, time_step: Any, /
    ) -> Any:
        """`temperature`, `pressure`, `mass_fractions` after the step, and which are `trusted`."""
        ...


def ignition_delay(
    time: Float[np.ndarray, " time"], temperature: Float[np.ndarray, " time"]
) -> float:
    """When the temperature rises fastest, from the differences of equally spaced values.

    The largest difference and its neighbours give a parabola, whose vertex is the delay.

    >>> t = np.linspace(0.0, 1.0, 101)
    >>> round(ignition_delay(t, np.tanh((t - 0.333) / 0.05)), 3)
    0.333
    """
    rise = np.diff(temperature)
    at = int(np.clip(rise.argmax(), 1, len(rise) - 2))
    before, top, after = rise[at - 1 : at + 2]
    bend = before - 2 * top + after
    shift = 0.5 * (before - after) / bend if bend < 0 else 0.0
    return float(time[0] + (at + 0.5 + np.clip(shift, -1, 1)) * (time[1] - time[0]))


@dataclass(frozen=True, kw_only=True)
class IgnitionTests:
    """Conditions to ignite, with what direct integration finds: a `SampleTask`.

    Args:
        states: range of the conditions, and the solver.
        time_step: range of the step that a model advances by, s; a condition has that part of its
            delay which `resolution` says, as far as the range allows.
        resolution: steps in a delay.
        least: steps that a test has at least.
        settled: time after ignition that a test goes on at least, s.
        radicals: species whose largest mass fractions are compared.
    """

    states: IgnitionStates
    time_step: tuple[float, float] = (1e-6, 1e-6)
    resolution: int = 60
    least: int = 400
    settled: float = 2e-4
    radicals: tuple[str, ...] = ("H", "O", "OH")

    def __call__(self, index: int, rng: np.random.Generator) -> xr.Dataset:
        """One condition: what it begins from and what it becomes."""
        import cantera

        T, p, Y = (array[0] for array in self.states.unburnt(rng))
        solver = self.states.solver
        try:
            rough = solver.trajectory(float(T), float(p), Y, duration=self.states.longest)
            steepest = np.argmax(np.diff(rough.temperature) / np.diff(rough.time))
            delay = rough.time[steepest]
            if np.ptp(rough.temperature) < 200:
                raise SampleFailure(f"no ignition in {self.states.longest:g} s")
            dt = float(np.clip(delay / self.resolution, *self.time_step))
            lasting = delay * (1 + _AFTER) + self.settled
            steps = max(self.least, int(np.ceil(lasting / dt)))
            found = solver.trajectory(float(T), float(p), Y, duration=steps * dt, every=dt)
        except cantera.CanteraError as error:
            raise SampleFailure("the ignition could not be integrated") from error
        return self._described(T, p, Y, steps, dt, found)

    def _described(
        self, T: Any, p: Any, Y: Any, steps: int, dt: float, found: Trajectory
    ) -> xr.Dataset:
        mechanism = mechanism_of_solver(self.states.solver)
        columns = [mechanism.names.index(name) for name in self.radicals]
        values = {
            "temperature": (T, "K"),
            "pressure": (p, "Pa"),
            "time_step": (dt, "s"),
            "steps": (float(steps), "1"),
            "ignition_delay": (ignition_delay(found.time, found.temperature), "s"),
            "temperature_final": (found.temperature[-1], "K"),
        }
        ds = xr.Dataset({name: ((), v, {"units": unit}) for name, (v, unit) in values.items()})
        atoms = mechanism.composition / mechanism.molecular_weights
        both = ("element", "species")
        return ds.assign(
            mass_fraction=("species", Y, {"units": "1"}),
            element_content=(both, atoms, {"units": "kmol kg-1"}),
            peak=("radical", found.mass_fractions[:, columns].max(0), {"units": "1"}),
            trace=("point", thinned(found.temperature), {"units": "K"}),
        ).assign_coords(
            species=list(mechanism.names),
            radical=list(self.radicals),
            element=list(mechanism.elements),
        )


def thinned(trace: Float[np.ndarray, " time"]) -> Float[np.ndarray, " point"]:
    """A trace at equal parts of its time."""
    steps = len(trace) - 1
    return np.interp(np.linspace(0, steps, TRACE), np.arange(steps + 1), trace)


def roll_out(model: Advances, tests: xr.Dataset) -> xr.Dataset:
    """Ignite the conditions of `IgnitionTests` by many steps of a model, each from the last.

    Args:
        model: what advances the cells.
        tests: conditions, as `IgnitionTests` makes them.

    Returns:
        What `tests` has of the outcome, by the model; `untrusted`, the share of the steps that the
        model does not vouch for, and `element_drift` and `mass_drift`, relative.
    """
    T, p = tests["temperature"].values.copy(), tests["pressure"].values.copy()
    Y = np.array(tests["mass_fraction"].transpose("sample", "species").values, order="C")
    dt, steps = tests["time_step"].values, tests["steps"].values.astype(int)
    names = tests["species"].values.tolist()
    columns = [names.index(name) for name in tests["radical"].values.tolist()]
    traces = np.full((len(T), steps.max() + 1), np.nan)
    traces[:, 0] = T
    untrusted, peak = np.zeros(len(T)), Y[:, columns].copy()
    for step in range(steps.max()):
        on = np.flatnonzero((steps > step) & np.isfinite(T))
        if not len(on):
            break
        found = model.advance(T[on], p[on], Y[on], dt[on])
        T[on], p[on], Y[on] = found.temperature, found.pressure, found.mass_fractions
        untrusted[on] += ~found.trusted
        traces[on, step + 1] = T[on]
        peak[on] = np.maximum(peak[on], Y[on][:, columns])
    return _outcome(tests, traces, Y, peak, untrusted / steps)


def _outcome(
    tests: xr.Dataset,
    traces: Float[np.ndarray, "sample time"],
    Y: Float[np.ndarray, "sample species"],
    peak: Float[np.ndarray, "sample radical"],
    untrusted: Float[np.ndarray, " sample"],
) -> xr.Dataset:
    dt, steps = tests["time_step"].values, tests["steps"].values.astype(int)
    own = [trace[: n + 1] for trace, n in zip(traces, steps, strict=True)]
    delays = [ignition_delay(h * np.arange(len(t)), t) for h, t in zip(dt, own, strict=True)]
    whole = np.array([np.isfinite(t).all() for t in own])
    first = tests["mass_fraction"].transpose("sample", "species").values
    atoms = tests["element_content"].isel(sample=0).transpose("element", "species").values
    before, after = first @ atoms.T, Y @ atoms.T
    present = before > 0
    drift = np.where(present, abs(after - before) / np.where(present, before, 1.0), after).max(1)
    shown = np.array([thinned(trace) for trace in own])
    variables = {
        "ignition_delay": ("sample", np.where(whole, delays, np.nan), {"units": "s"}),
        "temperature_final": ("sample", np.array([t[-1] for t in own]), {"units": "K"}),
        "peak": (("sample", "radical"), peak, {"units": "1"}),
        "trace": (("sample", "point"), shown, {"units": "K"}),
        "untrusted": ("sample", untrusted, {"units": "1"}),
        "element_drift": ("sample", drift, {"units": "1"}),
        "mass_drift": ("sample", abs(Y.sum(1) - first.sum(1)), {"units": "1"}),
    }
    return xr.Dataset(variables, coords={"radical": tests["radical"]})


def is_test(ds: xr.Dataset) -> bool:
    """Whether a data set holds conditions to ignite, rather than labelled states."""
    return "steps" in ds


def one_step(model: Advances, states: xr.Dataset) -> xr.Dataset:
    """What a model makes of labelled states in their time step."""
    T, p = states["temperature"].values, states["pressure"].values
    Y = np.ascontiguousarray(states["mass_fraction"].transpose("sample", "species").values)
    found = model.advance(T, p, Y, states["time_step"].values)
    return xr.Dataset(
        {
            "temperature_after": ("sample", found.temperature, {"units": "K"}),
            "mass_fraction_after": (
                ("sample", "species"),
                found.mass_fractions,
                {"units": "1"},
            ),
        },
        coords={"species": states["species"].values},
    )
