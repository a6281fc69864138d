"""Lorenz-63 from noisy, partial observations: the field, and what it is worth in assimilation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from matplotlib.figure import Figure

from sciml.case import Case, Job, Model, Outcome, Table, at_least, at_most
from sciml.data import Splits, load, save
from sciml.dynamics.assimilation import (
    EnsembleKalman,
    ForecastModel,
    FourDVar,
    GaussNewton,
    ModelError,
    QuasiStatic,
    twin_experiment,
    twin_figure,
)
from sciml.dynamics.baselines import Analog, NextGenerationReservoir, SINDy, TrueField
from sciml.dynamics.figures import attractors, error_growth, forecast_figure, recovery_figure
from sciml.dynamics.integrators import RungeKutta
from sciml.dynamics.measures import (
    attractor_metrics,
    field_diagnostics,
    field_of,
    forecast_metrics,
)
from sciml.dynamics.observations import add_noise, show
from sciml.dynamics.recovery import RecoveryOptions, recovered, solutions_through
from sciml.dynamics.shooting import ShootingOptions
from sciml.dynamics.smoothing import smoothed
from sciml.dynamics.surrogate import BilinearOptions, NeuralODE, NeuralODEOptions
from sciml.dynamics.systems import LYAPUNOV_EXPONENTS, trajectories
from sciml.train import TrainOptions

STEP = 0.01
TIMES = 150
"""Of a training sequence."""

SHOWN = TIMES // 8
"""Of these, times at which a component is observed."""

NOISE = tuple(0.33 * deviation for deviation in (7.890003, 8.986262, 8.539845))
"""Standard deviations of the noise: a third of those of the components, as the paper has them."""

RECOVERY = RecoveryOptions(shooting=ShootingOptions(rough=1e-2, tolerance=1e-4), rounds=0)
"""Smoothing and multiple shooting alone: searching for better trajectories found none."""

TEN_STEPS = 10
"""Times of a long run between two of a twin experiment."""

HISTORY = 2
"""Leading true times of a test trajectory that a model may look at; only ng-rc needs the first."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What a tier costs.

    Attributes:
        sequences: for training; a quarter as many for validation.
        forecasts: initial states of the test set.
        ahead: steps that they are forecast.
        long: steps of each of the eight long runs.
        spectrum: states that Lyapunov exponents are taken from, and time over which.
        twins: twin experiments.
    """

    sequences: int
    forecasts: int
    ahead: int
    long: int
    spectrum: tuple[int, float]
    twins: int


SCALES = {
    "smoke": Scale(
        sequences=40,
        forecasts=50,
        ahead=400,
        long=1000,
        spectrum=(100, 1.0),
        twins=1,
    ),
    "full": Scale(
        sequences=200,
        forecasts=50,
        ahead=1000,
        long=20_000,
        spectrum=(2048, 20.0),
        twins=8,
    ),
}


# Data.


def make(job: Job) -> list[Path]:
    """Integrate the trajectories and observe those for training, each set in a file of its own."""
    return list(_files(job).values())


def read(job: Job) -> Splits:
    """Observations for training and validation, forecasts and long runs."""
    parts = {name: load(path) for name, path in _files(job).items()}
    train, valid = parts.pop("train"), parts.pop("valid")
    tests = {name: ds.assign_attrs(history=HISTORY) for name, ds in parts.items()}
    return Splits(train=train, valid=valid, tests=tests)


def _files(job: Job) -> dict[str, Path]:
    scale = SCALES[job.tier]
    sequences = job.samples or scale.sequences
    wanted = {
        "train": (sequences, TIMES),
        "valid": (max(sequences // 4, 1), TIMES),
        "forecasts": (scale.forecasts, HISTORY + scale.ahead),
        "long runs": (8, HISTORY + scale.long),
    }
    paths = {}
    for place, (name, (samples, times)) in enumerate(wanted.items()):
        seed = 10 * job.seed + place
        stem = f"lorenz63-noisy-{name.replace(' ', '-')}-{samples}-{times}-seed{seed}"
        path = job.data / f"{stem}.nc"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            ds = trajectories(np.arange(times) * STEP, samples=samples, seed=seed)
            save(observed(ds, seed) if name in ("train", "valid") else ds, path)
        paths[name] = path
    return paths


def observed(ds: xr.Dataset, seed: int) -> xr.Dataset:
    """With noise, and each component at a few times of its own; the truth stands beside them."""
    noisy = add_noise(ds, standard_deviation=NOISE, seed=seed)
    return show(noisy, count=SHOWN, seed=seed).assign(truth=ds["state"])


# Models.


def bilinear(job: Job) -> Model:
    """The bilinear field on recovered trajectories, by Levenberg-Marquardt."""
    training = TrainOptions(
        epochs=40,
        batch_size=10**6,
        optimiser="levenberg-marquardt",
        seed=job.seed,
        device="cpu",
    )
    return NeuralODE(NeuralODEOptions(field=BilinearOptions(products=3)), training=training)


def recover_them(splits: Splits) -> Splits:
    """Trajectories of one quadratic field that fit the observations; the truth is not looked at.

    The field is found from the training data alone; those of validation show where its solutions
    pass through what was observed there.
    """
    train, rates = recovered(splits.train.drop_vars("truth"), options=RECOVERY)
    valid = solutions_through(splits.valid.drop_vars("truth"), rates)
    return replace(splits, train=train, valid=valid)


def smooth_them(splits: Splits) -> Splits:
    """Each component smoothed by itself."""
    train, valid = (smoothed(ds.drop_vars("truth")) for ds in (splits.train, splits.valid))
    return replace(splits, train=train, valid=valid)


# Assimilation with the learned field.


@lru_cache(maxsize=1)
def twins(outcome: Outcome) -> dict[str, xr.Dataset]:
    """x seen every 0.1 with variance 2: what is found of y and z, with each field as the model."""
    scale = SCALES[outcome.job.tier]
    long = outcome.splits.tests["long runs"].isel(sample=slice(scale.twins))
    truth = long.isel(time=slice(0, 81 * TEN_STEPS, TEN_STEPS))
    identity = torch.eye(3, dtype=torch.float64)
    strong = FourDVar(
        window=0.5,
        minimiser=QuasiStatic(minimiser=GaussNewton(iterations=6, tolerance=1e-3), stages=3),
        addition=0.1 * identity,
    )
    methods = {
        "strong 4D-Var": strong,
        "weak 4D-Var": replace(strong, model_error=ModelError(covariance=1e-3 * identity)),
        "ETKF": EnsembleKalman(members=40, inflation=1.02),
    }
    return {
        name: twin_experiment(
            truth,
            ForecastModel(field=field_of(outcome.models[name]), scheme=RungeKutta(step=0.05)),
            methods,
            spin_up=3.0,
            window=0.5,
            seed=outcome.job.seed,
        )
        for name in ("bilinear", "true field")
    }


# What the report shows.


def figures(outcome: Outcome) -> Mapping[str, Figure]:
    """A recovered sequence, forecasts, growth of errors, attractors, the twin experiment."""
    test, long = outcome.splits.test, outcome.splits.tests["long runs"]
    ahead = {name: sets["forecasts"] for name, sets in outcome.predictions.items()}
    runs = {name: sets["long runs"] for name, sets in outcome.predictions.items()}
    some = outcome.splits.train.isel(sample=[0])
    rate = field_of(outcome.models["bilinear"])
    return {
        "recovery": recovery_figure(some, solutions_through(some.drop_vars("truth"), rate)),
        "forecasts": forecast_figure(test, {"bilinear": ahead["bilinear"]}),
        "error-growth": error_growth(test, ahead, exponent=LYAPUNOV_EXPONENTS[0]),
        "attractors": attractors(long, runs),
        "twin-experiment": twin_figure(twins(outcome)["bilinear"], "strong 4D-Var"),
    }


def tables(outcome: Outcome) -> Mapping[str, Table]:
    """Errors of the analyses, and what they cost."""
    rows = []
    for model, twin in twins(outcome).items():
        for method in twin["analysis"].values.tolist():
            one = twin.sel(analysis=method)
            cost = float(one["integrations"] + one["adjoint_integrations"])
            errors = [float(one["rmse"].sel(component=c)) for c in "xyz"]
            rows.append((f"{method}, {model}", *errors, cost))
    return {
        "twin-experiment": Table(
            title="Twin experiment: root mean square error of the analysis",
            columns=("method, model", "x", "y", "z", "integrations"),
            rows=rows,
            note="x is seen every 0.1 with error variance 2, y and z never; in raw units, after a "
            "time of 3. The last column counts how many trajectories of the model, tangent "
            "and adjoint ones included, cover each time.",
        )
    }


def spectrum_extent(splits: Splits) -> tuple[int, float]:
    """States and time that Lyapunov exponents are taken from; the tier shows in the data."""
    sequences = splits.train.sizes["sample"]
    return SCALES["full" if sequences > SCALES["smoke"].sequences else "smoke"].spectrum


case = Case(
    name="lorenz63-noisy",
    summary="Lorenz-63 from noisy, partial observations: field, forecasts, assimilation",
    reference="Nguyen, Ouala, Drumetz, Fablet 2020, doi:10.48550/arXiv.2009.02296",
    generate=make,
    load=read,
    threads=1,
    models={
        "bilinear": bilinear,
        "analogs": lambda job: Analog(),
        "ng-rc": lambda job: NextGenerationReservoir(),
        "sindy": lambda job: SINDy(form="weak"),
        "true field": lambda job: TrueField(),
    },
    metrics={**forecast_metrics(1, 4, 8), **attractor_metrics()},
    diagnostics=field_diagnostics(step=STEP, extent=spectrum_extent),
    prepare={
        "bilinear": recover_them,
        "analogs": smooth_them,
        "ng-rc": smooth_them,
        "sindy": smooth_them,
    },
    accept={
        "smoke": {"bilinear": {"error_1": at_most(0.2), "valid_time": at_least(1.0)}},
        "full": {
            "bilinear": {
                "error_1": at_most(0.065),
                "error_4": at_most(0.164),
                "lyapunov_1_error": at_most(0.06),
            },
        },
    },
    figures=figures,
    tables=tables,
)
