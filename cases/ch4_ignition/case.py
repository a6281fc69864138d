"""Ignition of methane in air by a learned step of chemistry, beside direct integration."""

from __future__ import annotations

from dataclasses import replace

from sciml.case import Case, at_least, at_most
from sciml.chemistry import DirectIntegration, IgnitionStates
from sciml.chemistry.ignition import IgnitionTests
from sciml.chemistry.models import ignition_metrics
from sciml.chemistry.study import IgnitionStudy, Scale

ATMOSPHERE = 101325.0

CONDITIONS = IgnitionStates(
    solver=DirectIntegration(mechanism="gri30.yaml"),
    fuel="CH4",
    oxidizer="O2:1, N2:3.76",
    temperature=(1300.0, 1900.0),
    pressure=(ATMOSPHERE, 3 * ATMOSPHERE),
    equivalence_ratio=(0.5, 1.5),
    time_step=(1e-6, 1e-5),
    longest=0.2,
)

SCALES = {
    "smoke": Scale(
        train=8,
        states=(80, 20, 10),
        test=2,
        hidden=(96, 96),
        scout=0,
        batches=(1, 1, 1),
        epochs=80,
        batch=128,
        workers=1,
    ),
    "full": Scale(
        train=160,
        states=(150, 100, 50),
        test=100,
        hidden=(160, 160, 160),
        scout=60,
        batches=(8, 24, 160),
        steps=2500,
        epochs=400,
        batch=1024,
        learning_rate=2e-3,
    ),
}

study = IgnitionStudy(
    name="ch4",
    conditions=CONDITIONS,
    margin=replace(
        CONDITIONS,
        temperature=(1290.0, 1930.0),
        pressure=(0.95 * ATMOSPHERE, 3.15 * ATMOSPHERE),
        equivalence_ratio=(0.47, 1.55),
    ),
    outside=replace(CONDITIONS, pressure=(8 * ATMOSPHERE, 12 * ATMOSPHERE)),
    tests=IgnitionTests(states=CONDITIONS, time_step=CONDITIONS.time_step),
    scales=SCALES,
    traces=True,
)


case = Case(
    name="ch4-ignition",
    summary="Methane in air: a network that steps 53 species, judged by its ignitions",
    reference="Zhang et al. 2022, doi:10.1016/j.combustflame.2022.112319; GRI-Mech 3.0",
    generate=study.make,
    load=study.read,
    threads=1,
    models=study.models(),
    metrics=ignition_metrics(),
    accept={
        "smoke": {
            "network": {
                "step_error_along@states": at_most(0.3),
                "element_drift": at_most(1e-12),
                "untrusted@outside": at_least(0.99),
            },
            "with fallback": {"delay_error_max@outside": at_most(0.02)},
        },
        "full": {
            "network": {
                "delay_error": at_most(0.03),
                "element_drift": at_most(1e-12),
                "mass_drift": at_most(1e-12),
                "untrusted@outside": at_least(0.99),
            },
        },
    },
    figures=study.figures,
    tables=study.tables,
)
