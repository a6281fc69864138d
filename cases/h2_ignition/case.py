"""Ignition of hydrogen in air by a learned step of chemistry, beside direct integration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from sciml.case import Case, Outcome, at_least, at_most
from sciml.chemistry import DirectIntegration, IgnitionStates
from sciml.chemistry.figures import measurement_figure
from sciml.chemistry.ignition import IgnitionTests
from sciml.chemistry.measurements import measured_delays, simulated_delays, stepped_delays
from sciml.chemistry.models import Learned, ignition_metrics
from sciml.chemistry.study import IgnitionStudy, Scale
from sciml.chemistry.surrogate import ReactionStep
from sciml.data import Unavailable

ATMOSPHERE = 101325.0
TIME_STEP = 1e-6
IN_AIR = "H2:0.2959;O2:0.1479;N2:0.5562"

CONDITIONS = IgnitionStates(
    solver=DirectIntegration(mechanism="h2o2.yaml"),
    fuel="H2",
    oxidizer="O2:1, N2:3.76",
    temperature=(1050.0, 1500.0),
    pressure=(ATMOSPHERE, 3 * ATMOSPHERE),
    equivalence_ratio=(0.5, 1.5),
    time_step=(TIME_STEP, TIME_STEP),
)

SCALES = {
    "smoke": Scale(
        train=16,
        states=(80, 40, 20),
        test=5,
        hidden=(64, 64),
        scout=30,
        batches=(1, 12, 80),
        epochs=100,
        batch=128,
        workers=1,
    ),
    "full": Scale(
        train=300,
        states=(150, 160, 100),
        test=100,
        hidden=(96, 96, 96),
        scout=60,
        batches=(12, 50, 160),
        kept=0.5,
        still=0.5,
        epochs=400,
        batch=1024,
    ),
}

study = IgnitionStudy(
    name="h2",
    conditions=CONDITIONS,
    margin=replace(
        CONDITIONS,
        temperature=(1040.0, 1520.0),
        pressure=(0.95 * ATMOSPHERE, 3.15 * ATMOSPHERE),
        equivalence_ratio=(0.47, 1.55),
    ),
    outside=replace(CONDITIONS, pressure=(8 * ATMOSPHERE, 12 * ATMOSPHERE)),
    tests=IgnitionTests(states=CONDITIONS, time_step=CONDITIONS.time_step),
    scales=SCALES,
)


def figures(outcome: Outcome) -> Mapping[str, Figure]:
    """Those of every study, and the measurements where they are at hand."""
    found = dict(study.figures(outcome))
    try:
        measured = measured_delays("Hydrogen", study.mechanism, pressure=CONDITIONS.pressure)
    except Unavailable:
        return found
    model = outcome.models["network"]
    assert isinstance(model, Learned)
    return found | {"measurements": measurements(measured, model.surrogate)}


def measurements(measured: xr.Dataset, network: ReactionStep) -> Figure:
    """Measured delays, beside the mechanism everywhere and the network in air."""
    hot = measured["temperature"].values < CONDITIONS.temperature[1]
    measured = measured.isel(sample=hot)
    air = measured.isel(sample=np.flatnonzero(measured["composition"].values == IN_AIR))
    solver = CONDITIONS.solver
    stepped, _ = stepped_delays(network, solver, air, time_step=TIME_STEP)
    curves, Y = {}, solver.mixture(fuel="H2", oxidizer=CONDITIONS.oxidizer, equivalence_ratio=1.0)
    temperature = np.linspace(1150.0, CONDITIONS.temperature[1], 12)
    for pressure in (1.0, 2.0, 3.0):
        delays = []
        for T in temperature:
            way = solver.trajectory(float(T), pressure * ATMOSPHERE, Y, duration=5e-4)
            rise = np.diff(way.temperature) / np.diff(way.time)
            delays.append(way.time[int(rise.argmax())])
        curves[f"{pressure:g} atm"] = temperature, np.array(delays)
    return measurement_figure(measured, simulated_delays(solver, measured), air, curves, stepped)


case = Case(
    name="h2-ignition",
    summary="Hydrogen in air: a network that steps stiff chemistry, judged by its ignitions",
    reference="Zhang et al. 2022, doi:10.1016/j.combustflame.2022.112319; Cantera's h2o2.yaml",
    generate=study.make,
    load=study.read,
    threads=1,
    models=study.models(),
    metrics=ignition_metrics(),
    accept={
        "smoke": {
            "network": {
                "step_error_along@states": at_most(0.2),
                "element_drift": at_most(1e-12),
                "untrusted@outside": at_least(0.99),
            },
            "with fallback": {"delay_error_max@outside": at_most(0.02)},
        },
        "full": {
            "network": {
                "delay_error": at_most(0.01),
                "delay_error_max": at_most(0.04),
                "temperature_error": at_most(5.0),
                "temperature_error_max": at_most(15.0),
                "element_drift": at_most(1e-12),
                "mass_drift": at_most(1e-12),
                "untrusted@outside": at_least(0.99),
            },
            "with fallback": {
                "delay_error_max": at_most(0.015),
                "untrusted": at_most(0.1),
                "delay_error_max@outside": at_most(0.02),
            },
        },
    },
    figures=figures,
    tables=study.tables,
)
