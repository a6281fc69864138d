"""A closure with a known answer: labels come from an explicit algebraic stress model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from sciml.case import Case, Diagnostic, Job, Outcome, at_most
from sciml.data import Splits
from sciml.rans import KINDS, manufactured_flow
from sciml.rans.anisotropy_figures import coefficient_figure
from sciml.rans.study import ClosureStudy, Scale, closure_metrics, rotation_change
from sciml.rans.surrogate import TensorBasisClosure, TensorBasisOptions

SIZES = {
    "smoke": {"train": 400, "valid": 100, "test": 300},
    "full": {"train": 8000, "valid": 1000, "test": 2000},
}
GENERAL = 4
"""General states for one of any other kind: they alone have ten independent tensors."""

KNOWN = (0, 1, 3, 5, 8)
"""Tensors of the model of Wallin and Johansson: with these five alone, coefficients are unique."""


FIVE = "five tensors"


def flow(name: str) -> xr.Dataset:
    """States of a kind, by the name `KIND, PART, TIER`."""
    kind, part, tier = name.split(", ")
    count = SIZES[tier][part] * (GENERAL if kind == "general" else 1)
    strain = (0.1, 10.0) if part == "test" else (0.095, 10.5)
    return manufactured_flow(kind, count, seed=list(SIZES[tier]).index(part), strain=strain)


def study(tier: str) -> ClosureStudy:
    """Every kind of flow in each part, from seeds of its own."""
    names = {part: [f"{kind}, {part}, {tier}" for kind in KINDS] for part in SIZES[tier]}
    tests = {"states": names["test"], "general": [f"general, test, {tier}"]}
    return ClosureStudy(
        train=names["train"],
        valid=names["valid"],
        tests=tests,
        groups=(),
        flow=flow,
        smallest_energy=0.0,
        scales=SCALES,
    )


SCALES = {
    "smoke": Scale(
        cells=10**6, epochs=40, members=2, hidden=(48, 48), batch=256, learning_rate=5e-3, turned=1
    ),
    "full": Scale(
        cells=10**6,
        epochs=100,
        members=2,
        hidden=(96, 96, 96),
        learning_rate=3e-3,
        iterations=300,
    ),
}


def read(job: Job) -> Splits:
    """States of every kind; none is in two parts."""
    return study(job.tier).read(job)


def models() -> dict[str, Any]:
    """The closure of five invariants, and the baselines."""
    every = study("full").models()
    every["tensor basis"] = study("full").single(TensorBasisOptions(realizable=False))
    every[FIVE] = study("full").single(TensorBasisOptions(realizable=False, basis=KNOWN))
    first = "tensor basis"
    further = {"extended tensor basis", "tensor basis, turnover time", "with covariance"}
    further.add("algebraic stress")  # it is the truth
    kept = [name for name in every if name not in further]
    return {name: every[name] for name in sorted(kept, key=lambda name: name != first)}


def coefficient_error(model: Any, splits: Splits) -> float | None:
    """Relative error of the first coefficients, where they are unique."""
    if not isinstance(model, TensorBasisClosure) or model.options.basis != KNOWN:
        return None
    truth = splits.tests["general"]
    known, found = truth["coefficients"].values, model.coefficients(truth)
    shown = list(KNOWN[:3])
    error = np.median(abs(found - known)[:, shown], axis=0)
    return float((error / np.median(abs(known[:, shown]), axis=0)).mean())


def figures(outcome: Outcome) -> Mapping[str, Figure]:
    """Coefficients found beside the known ones."""
    model = outcome.models[FIVE]
    assert isinstance(model, TensorBasisClosure)
    some = outcome.splits.tests["general"].isel(sample=slice(0, 400))
    G = some["velocity_gradient"].values
    ratio = (some["turbulent_kinetic_energy"] / some["dissipation_rate"]).values
    strain = ratio * np.sqrt((G**2).sum((1, 2)))
    known, found = some["coefficients"].values, model.coefficients(some)
    return {"coefficients": coefficient_figure(strain, known, found, shown=KNOWN[:3])}


case = Case(
    name="manufactured-closure",
    summary="Reynolds stresses of an algebraic model: does a closure find the known coefficients?",
    reference="Wallin and Johansson 2000, doi:10.1017/S0022112000007004",
    generate=lambda job: [],
    load=read,
    threads=1,
    models=models(),
    metrics=closure_metrics(),
    diagnostics={
        "coefficient_error": Diagnostic(
            function=coefficient_error,
            unit="1",
            description="median error of the coefficients of tensors 1, 2 and 4 over their median, "
            "in general flows",
        ),
        "rotation_change": rotation_change("states"),
    },
    accept={
        "smoke": {
            "tensor basis": {
                "anisotropy_error": at_most(0.01),
                "rotation_change": at_most(1e-5),
            },
        },
        "full": {
            "tensor basis": {
                "anisotropy_error_max": at_most(2e-3),
                "rotation_change": at_most(1e-5),
            },
        },
    },
    figures=figures,
    tables=lambda outcome: study(outcome.job.tier).tables(outcome),
)
