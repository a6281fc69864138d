"""Lorenz-63 from noise-free data: learned fields, judged by forecasts and by the attractor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from matplotlib.figure import Figure

from sciml.case import Case, Job, Model, Outcome, Table, at_least, at_most
from sciml.data import Splits, load, save
from sciml.dynamics.baselines import Analog, NextGenerationReservoir, SINDy, TrueField
from sciml.dynamics.figures import (
    attractors,
    error_growth,
    forecast_figure,
    return_maps,
    scheme_errors,
)
from sciml.dynamics.integrators import LearnedRungeKutta, RungeKutta, fit_scheme, step_error
from sciml.dynamics.latent import LatentDynamics, LatentOptions
from sciml.dynamics.measures import attractor_metrics, field_diagnostics, forecast_metrics
from sciml.dynamics.surrogate import BilinearOptions, MLPOptions, NeuralODE, NeuralODEOptions
from sciml.dynamics.systems import (
    LYAPUNOV_EXPONENTS,
    LYAPUNOV_TIME,
    Lorenz63,
    trajectories,
)
from sciml.train import TrainOptions
from sciml.train.options import Optimiser

STEP = 0.01
HISTORY = 60
"""Leading times of a test trajectory that a model may look at; most look at the last alone."""

KICK = 1.0
"""Standard deviation of the states beside the trajectory that the MLP begins at."""

KICKED_STEPS = 20
"""Steps from each of them; the contraction towards the attractor is over after ten."""

WHOLE = 10**6
"""A batch that holds all samples, as second-order rules want it."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What a tier costs.

    Attributes:
        steps: of the training trajectory; the validation trajectory has a quarter of them.
        forecasts: initial states of the test set.
        ahead: Lyapunov times that they are forecast.
        long: steps of each of the four long runs.
        iterations: of Levenberg-Marquardt, for the bilinear fields.
        hidden: layers of the MLP, fitted by L-BFGS in `mlp` rounds.
        latent: of the model that sees x alone.
        spectrum: states that Lyapunov exponents are taken from, and time over which.
        scheme: states that a learned tableau is fitted on; it is judged on twice as many.
    """

    steps: int
    forecasts: int
    ahead: float
    long: int
    iterations: int
    hidden: tuple[int, ...]
    mlp: int
    latent: LatentOptions
    spectrum: tuple[int, float]
    scheme: int


LATENT = LatentOptions(components=("x",), latent=2)

SCALES = {
    "smoke": Scale(
        steps=500,
        forecasts=50,
        ahead=10,
        long=500,
        iterations=25,
        hidden=(24,),
        mlp=25,
        latent=replace(LATENT, trials=15, choices=4, iterations=60),
        spectrum=(100, 1.0),
        scheme=100,
    ),
    "full": Scale(
        steps=4000,
        forecasts=128,
        ahead=24,
        long=20_000,
        iterations=60,
        hidden=(64, 64),
        mlp=600,
        latent=LATENT,
        spectrum=(2048, 20.0),
        scheme=2000,
    ),
}


# Data.


def make(job: Job) -> list[Path]:
    """Integrate the trajectories, each kept in a file of its own."""
    return list(_files(job).values())


def read(job: Job) -> Splits:
    """A training and a validation trajectory, forecasts and long runs."""
    parts = {name: load(path) for name, path in _files(job).items()}
    train, valid = parts.pop("train"), parts.pop("valid")
    tests = {name: ds.assign_attrs(history=HISTORY) for name, ds in parts.items()}
    return Splits(train=train, valid=valid, tests=tests)


def _files(job: Job) -> dict[str, Path]:
    scale = SCALES[job.tier]
    ahead = HISTORY + round(scale.ahead * LYAPUNOV_TIME / STEP)
    wanted = {
        "train": (1, (job.samples or scale.steps) + 1),
        "valid": (1, scale.steps // 4 + 1),
        "forecasts": (scale.forecasts, ahead),
        "long runs": (4, HISTORY + scale.long),
    }
    paths = {}
    for place, (name, (samples, times)) in enumerate(wanted.items()):
        seed = 10 * job.seed + place
        path = job.data / f"lorenz63-{name.replace(' ', '-')}-{samples}-{times}-seed{seed}.nc"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            save(trajectories(np.arange(times) * STEP, samples=samples, seed=seed), path)
        paths[name] = path
    return paths


def kicked(splits: Splits) -> Splits:
    """Short trajectories from states beside those of a trajectory, as many steps in all.

    On the attractor, all but a sheet, nothing tells how fast states fall back to it.
    """
    return replace(splits, train=beside(splits.train), valid=beside(splits.valid))


def beside(ds: xr.Dataset) -> xr.Dataset:
    """Trajectories from every twentieth state of a trajectory and a kick."""
    starts = ds["state"].transpose("sample", "time", "component").values[:, :-1:KICKED_STEPS]
    starts = starts.reshape(-1, starts.shape[-1])
    kicks = np.random.default_rng(len(starts)).standard_normal(starts.shape)
    return trajectories(np.arange(KICKED_STEPS + 1) * STEP, initial=starts + KICK * kicks)


# Models.


def bilinear(*, substeps: int, window: int, stride: int) -> Callable[[Job], Model]:
    """The bilinear field by Levenberg-Marquardt, with so many RK4 steps a sample."""

    def build(job: Job) -> Model:
        options = NeuralODEOptions(
            field=BilinearOptions(products=3), substeps=substeps, window=window, stride=stride
        )
        epochs = SCALES[job.tier].iterations
        return NeuralODE(options, training=training(job, "levenberg-marquardt", epochs))

    return build


def mlp(job: Job) -> Model:
    """A multilayer perceptron by L-BFGS."""
    scale = SCALES[job.tier]
    options = NeuralODEOptions(field=MLPOptions(hidden=scale.hidden))
    return NeuralODE(options, training=training(job, "lbfgs", scale.mlp))


def training(job: Job, optimiser: Optimiser, epochs: int) -> TrainOptions:
    """Second-order rules on all samples at once."""
    return TrainOptions(
        epochs=epochs, batch_size=WHOLE, optimiser=optimiser, seed=job.seed, device="cpu"
    )


def latent(job: Job) -> Model:
    """x alone, with two latent components that are learned together with their dynamics."""
    return LatentDynamics(SCALES[job.tier].latent)


# What the models are judged by.


def spectrum_extent(splits: Splits) -> tuple[int, float]:
    """States and time that Lyapunov exponents are taken from; the tier shows in the data."""
    steps = splits.train.sizes["time"] - 1
    return SCALES["full" if steps > SCALES["smoke"].steps else "smoke"].spectrum


# The learned scheme.

SCHEME_STEPS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.09, 0.1)
FITTED_AT = 0.05


@cache
def scheme_study(samples: int) -> dict[str, np.ndarray]:
    """Error of one step of RK4 and of learned tableaus of four stages, on unseen states."""
    rates = Lorenz63()
    seen, unseen = exact_steps(samples, seed=31), exact_steps(2 * samples, seed=32)
    schemes: dict[str, RungeKutta | LearnedRungeKutta] = {"RK4": RungeKutta()}
    for order in (3, 2):
        learned = LearnedRungeKutta(4, order)
        fit_scheme(learned, rates, seen[0], seen[FITTED_AT], FITTED_AT)
        schemes[f"learned, order {order}"] = learned
    with torch.no_grad():
        return {
            name: np.array(
                [float(step_error(s, rates, unseen[0], unseen[h], h)) for h in SCHEME_STEPS]
            )
            for name, s in schemes.items()
        }


def exact_steps(samples: int, *, seed: int) -> dict[float, torch.Tensor]:
    """States on the attractor, under 0, and those so much later."""
    times = (0.0, *SCHEME_STEPS)
    states = trajectories(np.array(times), samples=samples, seed=seed)["state"].values
    return {time: torch.from_numpy(states[:, k]) for k, time in enumerate(times)}


# What the report shows.


def figures(outcome: Outcome) -> Mapping[str, Figure]:
    """Attractors, forecasts, growth of errors, return maps."""
    test, long = outcome.splits.test, outcome.splits.tests["long runs"]
    ahead = {name: sets["forecasts"] for name, sets in outcome.predictions.items()}
    runs = {name: sets["long runs"] for name, sets in outcome.predictions.items()}
    whole = {name: ds for name, ds in runs.items() if ds.sizes["component"] == 3}
    learned = [
        name for name in ahead if isinstance(outcome.models[name], NeuralODE | LatentDynamics)
    ]
    return {
        "attractors": attractors(long, whole),
        "forecasts": forecast_figure(test, {name: ahead[name] for name in learned}),
        "error-growth": error_growth(test, ahead, exponent=LYAPUNOV_EXPONENTS[0]),
        "return-maps": return_maps(long, whole),
        "learned-scheme": scheme_errors(
            SCHEME_STEPS, scheme_study(SCALES[outcome.job.tier].scheme), learned_at=FITTED_AT
        ),
    }


def tables(outcome: Outcome) -> Mapping[str, Table]:
    """How long the truth itself can be trusted, and what a learned tableau gains."""
    test = outcome.splits.test
    until = test["valid_until"].values - float(test["time"][HISTORY - 1])
    rows = [("least", float(until.min()), float(until.min() / LYAPUNOV_TIME))]
    rows += [("median", float(np.median(until)), float(np.median(until) / LYAPUNOV_TIME))]
    return {
        "truth": Table(
            title="Validity of the truth",
            columns=("of the initial states", "time ahead", "Lyapunov times"),
            rows=rows,
            note="Two independent solutions by Taylor series in float64 agree up to these times; "
            "no forecast is scored beyond them.",
        ),
        "learned-scheme": scheme_table(SCALES[outcome.job.tier].scheme),
    }


def scheme_table(samples: int) -> Table:
    """The learned tableaus' errors over RK4's, at each step."""
    errors = scheme_study(samples)
    learned = [name for name in errors if name != "RK4"]
    ratios = [errors[name] / errors["RK4"] for name in learned]
    return Table(
        title=f"Error of one step: tableaus learned at dt = {FITTED_AT}, over RK4's error",
        columns=("dt", "RK4, in raw units", *learned),
        rows=[
            (f"{h:g}", float(errors["RK4"][k]), *(float(ratio[k]) for ratio in ratios))
            for k, h in enumerate(SCHEME_STEPS)
        ],
        note=f"Four stages each, fitted on {samples:,} states of the attractor and judged on "
        f"{2 * samples:,} others. Below 1 the learned tableau is better than RK4 at the same cost.",
    )


case = Case(
    name="lorenz63",
    summary="Lorenz-63 from noise-free data: learned fields, their forecasts and their attractors",
    reference="Fablet, Ouala, Herzet 2018, doi:10.48550/arXiv.1712.07003; "
    "Lorenz 1963, doi:10.1175/1520-0469(1963)020<0130:DNF>2.0.CO;2",
    generate=make,
    load=read,
    threads=1,
    models={
        "bilinear, sub-steps": bilinear(substeps=4, window=1, stride=1),
        "bilinear, one step": bilinear(substeps=1, window=24, stride=6),
        "mlp": mlp,
        "x only, latent": latent,
        "analogs": lambda job: Analog(),
        "ng-rc": lambda job: NextGenerationReservoir(),
        "sindy": lambda job: SINDy(),
        "true field": lambda job: TrueField(),
    },
    metrics={**forecast_metrics(1, 4, 8), **attractor_metrics()},
    diagnostics=field_diagnostics(step=STEP, extent=spectrum_extent),
    prepare={"mlp": kicked},
    accept={
        "smoke": {
            "bilinear, sub-steps": {
                "error_1": at_most(1e-6),
                "valid_time": at_least(9.0),
                "coefficient_error": at_most(1e-3),
            },
            "bilinear, one step": {"error_1": at_most(1e-5), "valid_time": at_least(8.0)},
            "mlp": {"error_1": at_most(0.03), "valid_time": at_least(1.0)},
            "x only, latent": {"error_1": at_most(1e-2), "valid_time": at_least(4.0)},
        },
        "full": {
            "bilinear, sub-steps": {
                "error_1": at_most(2e-8),
                "valid_time": at_least(15.0),
                "coefficient_error": at_most(1e-5),
            },
            "bilinear, one step": {"error_1": at_most(4e-6), "valid_time": at_least(11.0)},
            "mlp": {
                "error_1": at_most(1e-3),
                "valid_time": at_least(6.0),
                "lyapunov_1_error": at_most(0.02),
                "lyapunov_3_error": at_most(0.05),
            },
            "x only, latent": {
                "error_1": at_most(1e-4),
                "error_4": at_most(1e-3),
                "lyapunov_1_error": at_most(0.03),
            },
        },
    },
    figures=figures,
    tables=tables,
)
