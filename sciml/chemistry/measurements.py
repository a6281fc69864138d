"""Measured ignition delays, and what a mechanism makes of the same conditions."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import xarray as xr
from jaxtyping import Float

from sciml.chemistry.generation import mechanism_of_solver
from sciml.chemistry.ignition import Advances, ignition_delay
from sciml.chemistry.integration import DirectIntegration
from sciml.data import fetch
from sciml.kernels.kinetics import Mechanism

__all__ = ["measured_delays", "simulated_delays", "stepped_delays"]

COLDEST = 1150.0
"""K: below, effects of the shock tubes themselves rule the delays."""

_COLUMNS = {
    "temperature": ("T_K", "K"),
    "pressure": ("p_Pa", "Pa"),
    "ignition_delay": ("tau_s", "s"),
}


def measured_delays(
    fuel: str, mechanism: Mechanism, *, pressure: tuple[float, float] = (0.0, np.inf)
) -> xr.Dataset:
    """Ignition delays measured in shock tubes (ChemKED database, CC-BY-4.0).

    Only points above 1150 K that need no pressure trace, of mixtures that the mechanism knows.

    Args:
        fuel: as the database has it, "Hydrogen" for example.
        mechanism: whose species the mixtures may hold.
        pressure: range, Pa.

    Returns:
        Over `sample`: temperature, pressure, ignition delay, composition in mole fractions, and
        the DOI of the measurement.

    Raises:
        Unavailable: the table is not at hand and cannot be downloaded.
    """
    with fetch("chemistry/ignition_delays").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    known = {name.upper() for name in mechanism.names}
    low, high = pressure
    rows = [
        row
        for row in table
        if (row["fuel"], row["apparatus"], row["kind"]) == (fuel, "shock tube", "mole fraction")
        and row["has_history"] == "0"
        and float(row["T_K"]) > COLDEST
        and low <= float(row["p_Pa"]) <= high
        and set(_moles(row["composition"])) <= known
    ]
    numbers = {
        name: ("sample", np.array([float(row[column]) for row in rows]), {"units": units})
        for name, (column, units) in _COLUMNS.items()
    }
    text = {name: ("sample", [row[name] for row in rows]) for name in ("composition", "doi")}
    return xr.Dataset({**numbers, **text})


def _moles(composition: str) -> dict[str, float]:
    parts = (part.split(":") for part in composition.split(";"))
    return {name.upper(): float(amount) for name, amount in parts}


def mixtures(
    solver: DirectIntegration, measured: xr.Dataset
) -> Float[np.ndarray, "sample species"]:
    """Mass fractions of the measured mixtures."""
    mechanism = mechanism_of_solver(solver)
    names = [name.upper() for name in mechanism.names]
    moles = np.zeros((measured.sizes["sample"], len(names)))
    for row, text in zip(moles, measured["composition"].values, strict=True):
        for name, amount in _moles(str(text)).items():
            row[names.index(name)] += amount
    masses = moles * mechanism.molecular_weights
    return masses / masses.sum(1, keepdims=True)


def simulated_delays(
    solver: DirectIntegration, measured: xr.Dataset, *, longest: float = 20.0
) -> Float[np.ndarray, " sample"]:
    """Delays of the same conditions at constant volume, as behind a reflected shock.

    Args:
        solver: with the mechanism.
        measured: conditions.
        longest: over the measured delay, after which there was no ignition: NaN.
    """
    solver = replace(solver, constant="volume")
    delays = np.full(measured.sizes["sample"], np.nan)
    for k, Y in enumerate(mixtures(solver, measured)):
        one = measured.isel(sample=k)
        state = float(one["temperature"]), float(one["pressure"]), Y
        way = solver.trajectory(*state, duration=longest * float(one["ignition_delay"]))
        rise = np.diff(way.temperature) / np.diff(way.time)
        if np.ptp(way.temperature) > _IGNITED * state[0]:
            delays[k] = way.time[int(rise.argmax())]
    return delays


def stepped_delays(
    model: Advances, solver: DirectIntegration, measured: xr.Dataset, *, time_step: float
) -> tuple[Float[np.ndarray, " sample"], Float[np.ndarray, " sample"]]:
    """Delays by steps of a model, at constant pressure, and the trusted share of the steps."""
    T, p = measured["temperature"].values.copy(), measured["pressure"].values.copy()
    Y = mixtures(solver, measured)
    steps = int(np.ceil(4 * float(measured["ignition_delay"].max()) / time_step))
    trace, trusted = [T], np.zeros(len(T))
    for _ in range(steps):
        found = model.advance(T, p, Y, np.full(len(T), time_step))
        T, Y = found.temperature, found.mass_fractions
        trusted += found.trusted / steps
        trace.append(T)
    time = time_step * np.arange(steps + 1)
    columns = np.array(trace).T
    return np.array([ignition_delay(time, column) for column in columns]), trusted


_IGNITED = 0.02
"""Rise of the temperature, over the initial one, that counts as ignition."""
