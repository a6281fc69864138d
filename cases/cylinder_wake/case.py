"""The wake of a cylinder: modes and networks within its limit cycle and on the way to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from sciml.case import Case, Diagnostic, Job, Metric, Model, Outcome, Table, at_most
from sciml.data import Splits, load
from sciml.modes.autoencoder import LINEAR, OTHERS, Autoencoder, AutoencoderOptions
from sciml.modes.cylinder import WakeOptions
from sciml.modes.dmd import Dmd, DmdOptions
from sciml.modes.latent import ADAM, LBFGS, LatentForecast, LatentForecastOptions
from sciml.modes.latent_network import Dynamics
from sciml.modes.measures import Yardstick, forecast_error
from sciml.modes.networks import Kind
from sciml.modes.pod import Pod, PodOptions
from sciml.modes.shedding import linear_growth, saturation_time, shedding_frequency
from sciml.modes.spectral import SpectralPod, SpectralPodOptions
from sciml.modes.spurious import check_modes
from sciml.modes.wake import record_wake
from sciml.modes.wake_figures import (
    eigenvalue_figure,
    field_figure,
    force_figure,
    forecast_figure,
    manifold_figure,
    vorticity,
)

STROUHAL = 0.164
"""At Re = 100: Williamson, Phys. Fluids 31 (1988) 2742, doi:10.1063/1.866978."""

VELOCITY = ("velocity",)

FAR = 15.0
"""Times D/U that a change at the cylinder takes to leave the window."""

STILL = 1e-6
"""Frequency up to which a mode does not oscillate."""

PERIODS = 6
"""Of the limit cycle that models are fitted on."""

BLOCK = 36
"""Snapshots in a block of spectral POD: three periods."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What a tier costs.

    Attributes:
        wake: the simulation and its record.
        epochs: of networks on the limit cycle; on the transient, three times longer, a third.
        dynamics: epochs of the LSTM, and iterations of the neural ODE.
    """

    wake: WakeOptions
    epochs: int
    dynamics: tuple[int, int]


SCALES = {
    "smoke": Scale(
        wake=WakeOptions(
            cells=12,
            upstream=10,
            downstream=20,
            width=20,
            settling=(100.0,),
            duration=205.0,
        ),
        epochs=30,
        dynamics=(30, 6),
    ),
    "full": Scale(wake=WakeOptions(), epochs=300, dynamics=(150, 15)),
}


# Data.


def make(job: Job) -> list[Path]:
    """Record the wake; what an interrupted run left is gone on with."""
    options = SCALES[job.tier].wake
    path = job.data / f"cylinder-wake-{options.cells}-{options.width}.nc"
    return [record_wake(options, path, resume=True)]


def read(job: Job) -> Splits:
    """Every second snapshot, those between them, and the periods that follow.

    The way to the limit cycle and its first periods are in the training data; `cycle` and
    `transient` take one of them alone.
    """
    (path,) = make(job)
    with load(path) as ds:
        ds = ds.load()
    start = saturation_time(lift_of(ds), tolerance=0.005) + FAR
    strouhal = shedding_frequency(lift_of(ds).sel(force_time=slice(start, None)))
    ds = ds.assign_attrs(cycle_from=start, strouhal=strouhal)
    before, after = ds.sel(time=slice(None, start)), ds.sel(time=slice(start, None))
    before = before.isel(time=slice(0, 2 * (before.sizes["time"] // 2)))
    seen = 2 * round(PERIODS / strouhal / (2 * float(after["time"][1] - after["time"][0])))
    third = 2 * (seen // 6) + 1
    first, rest = after.isel(time=slice(0, seen)), after.isel(time=slice(seen, None, 2))
    return Splits(
        train=joined(before.isel(time=slice(0, None, 2)), first.isel(time=slice(0, None, 2))),
        valid=joined(before.isel(time=slice(1, None, 4)), first.isel(time=slice(1, third, 2))),
        tests={
            "limit cycle": first.isel(time=slice(third, None, 2)),
            "transient": before.isel(time=slice(3, None, 4)),
            "later": rest,
        },
    )


def joined(one: xr.Dataset, other: xr.Dataset) -> xr.Dataset:
    """Snapshots of both, one after the other."""
    return xr.concat([one, other], "time", data_vars="minimal", coords="minimal", compat="override")


def lift_of(ds: xr.Dataset) -> xr.DataArray:
    """The lift coefficient over its own times."""
    return ds["force_coefficient"].isel(i=1, drop=True)


def cycle(splits: Splits) -> Splits:
    """Train and validate on the limit cycle alone."""
    return _within(splits, slice(splits.train.attrs["cycle_from"], None))


def transient(splits: Splits) -> Splits:
    """Train and validate on the way to the limit cycle alone."""
    return _within(splits, slice(None, splits.train.attrs["cycle_from"]))


def _within(splits: Splits, when: slice) -> Splits:
    train, valid = (part.sel(time=when) for part in (splits.train, splits.valid))
    return replace(splits, train=train, valid=valid)


# Models.


def dmd(job: Job) -> Model:
    """Exact DMD: the mean and four pairs."""
    return Dmd(DmdOptions(rank=9, variables=VELOCITY))


def pod(rank: int) -> Callable[[Job], Model]:
    return lambda job: Pod(PodOptions(rank=rank, variables=VELOCITY))


def spectral(job: Job) -> Model:
    """Spectral POD: a pair at each of four frequencies."""
    return SpectralPod(SpectralPodOptions(rank=8, variables=VELOCITY, block=BLOCK))


def network(kind: Kind, rank: int, *, share: float = 1.0) -> Callable[[Job], Autoencoder]:
    """An autoencoder with so many latents, trained for a share of the tier's epochs."""

    def build(job: Job) -> Autoencoder:
        training = replace(LINEAR if kind == "linear" else OTHERS, seed=job.seed, device="cpu")
        if kind != "linear":
            training = replace(training, epochs=round(share * SCALES[job.tier].epochs))
        options = AutoencoderOptions(kind=kind, rank=rank, variables=VELOCITY)
        return Autoencoder(options, training=training)

    return build


def carried_on(reduction: Callable[[Job], Any], kind: Dynamics) -> Callable[[Job], Model]:
    """A reduction with dynamics of its latents."""

    def build(job: Job) -> Model:
        rule, place = (ADAM, 0) if kind == "lstm" else (LBFGS, 1)
        epochs = SCALES[job.tier].dynamics[place]
        training = replace(rule, epochs=epochs, seed=job.seed, device="cpu")
        options = LatentForecastOptions(kind=kind, horizon=12)
        return LatentForecast(reduction(job), options, training=training)

    return build


MODELS: Mapping[str, Callable[[Job], Model]] = {
    "dmd": dmd,
    "pod": pod(8),
    "spectral pod": spectral,
    "pod, lstm": carried_on(pod(8), "lstm"),
    "pod, neural ODE": carried_on(pod(8), "neural ODE"),
    "linear autoencoder": network("linear", 8),
    "pod, 2 modes": pod(2),
    "convolutional, neural ODE": carried_on(network("convolutional", 2), "neural ODE"),
    "mode-decomposing": network("mode-decomposing", 2),
    "dmd, from the transient": dmd,
    "pod, from the transient": pod(8),
    "convolutional, from the transient": network("convolutional", 8, share=1 / 3),
}
TRANSIENT = tuple(name for name in MODELS if name.endswith("transient"))


# Metrics.


def velocity_error(truth: xr.Dataset, prediction: xr.Dataset) -> float:
    """√(energy of û − u over that of u − ū), over the fluid and all snapshots of the set."""
    return Yardstick.of(truth, VELOCITY).error(truth, prediction)


METRICS = {
    "velocity_error": Metric(
        function=velocity_error,
        unit="1",
        description="root of the energy of the velocity's error over that of its deviation from "
        "the mean of the set; the mean itself has 1",
    ),
}


def strongest(model: Any) -> float | None:
    """Frequency of the oscillation with most energy, of a DMD."""
    if not isinstance(model, Dmd):
        return None
    frequencies, energy = oscillations(model)
    return float(frequencies[energy.argmax()])


def oscillations(model: Dmd) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies above zero, rising, and the energies there."""
    frequency, energy = (model.result[name].values for name in ("frequency", "energy"))
    order = np.argsort(frequency)
    order = order[frequency[order] > STILL]
    return frequency[order], energy[order]


def strouhal_error(model: Any, splits: Splits) -> float | None:
    """Of the strongest frequency, against the measured one."""
    found = strongest(model)
    return None if found is None else abs(found / STROUHAL - 1)


def lift_disagreement(model: Any, splits: Splits) -> float | None:
    """Of the strongest frequency, against that of the lift."""
    found = strongest(model)
    return None if found is None else abs(found / splits.train.attrs["strouhal"] - 1)


def circle_distance(model: Any, splits: Splits) -> float | None:
    """Largest | |λ| − 1 |."""
    if not isinstance(model, Dmd):
        return None
    return float(np.abs(np.abs(model.result["eigenvalues"].values) - 1).max())


def harmonic_error(model: Any, splits: Splits) -> float | None:
    """Largest distance of a frequency, over the strongest, from a whole number above zero."""
    found = strongest(model)
    if found is None:
        return None
    ratio = oscillations(model)[0] / found
    return float(np.abs(ratio - np.round(ratio).clip(1)).max())


def forecast_errors(model: Any, splits: Splits) -> np.ndarray | None:
    """Relative error of each snapshot of the later periods, foretold from the training's end."""
    past, future = cycle(splits).train, splits.tests["later"]
    return forecast_error(model, past, future, Yardstick.of(past, VELOCITY))


def forecast_in(period: int) -> Callable[[Any, Splits], float | None]:
    """Root mean square of the errors over a period, the first being 1."""

    def diagnose(model: Any, splits: Splits) -> float | None:
        errors = forecast_errors(model, splits)
        if errors is None:
            return None
        time = splits.tests["later"]["time"].values - float(splits.train["time"][-1])
        within = np.ceil(time * splits.train.attrs["strouhal"]) == period
        return float(np.sqrt(np.mean(errors[within] ** 2))) if within.any() else None

    return diagnose


def suspects(model: Any, splits: Splits) -> float | None:
    """How many modes are spurious or aliased."""
    if not isinstance(model, Dmd):
        return None
    found = check_modes(model, splits.tests["later"], finer=dense(splits))
    return float((found["spurious"] | found["aliased"]).sum())


def dense(splits: Splits) -> xr.Dataset:
    """The first periods of the limit cycle without gaps: in half the step of the training."""
    within = cycle(splits)
    odd = joined(within.valid, splits.tests["limit cycle"])
    return joined(within.train, odd).sortby("time")


DIAGNOSTICS = {
    "strouhal_error": Diagnostic(
        function=strouhal_error,
        unit="1",
        description=f"relative difference of the strongest frequency from {STROUHAL}",
    ),
    "lift_disagreement": Diagnostic(
        function=lift_disagreement,
        unit="1",
        description="relative difference of the strongest frequency from that of the lift",
    ),
    "circle_distance": Diagnostic(
        function=circle_distance,
        unit="1",
        description="largest distance of an eigenvalue of one step from the unit circle",
    ),
    "harmonic_error": Diagnostic(
        function=harmonic_error,
        unit="1",
        description="largest distance of a frequency, over the strongest, from a whole number",
    ),
    "suspect_modes": Diagnostic(
        function=suspects,
        unit="1",
        description="modes that do not move as their eigenvalues say, or are aliased",
    ),
    **{
        f"forecast_error_{period}": Diagnostic(
            function=forecast_in(period),
            unit="1",
            description=f"relative error of velocity in period {period} after the training data",
        )
        for period in (1, 5)
    },
}


# What the report shows.


def figures(outcome: Outcome) -> Mapping[str, Figure]:
    """The flow, its forces, the way to the limit cycle, modes, eigenvalues, forecasts, fields."""
    with load(make(outcome.job)[0]) as ds:
        ds = ds.load().assign_attrs(outcome.splits.train.attrs)
    models: Mapping[str, Any] = outcome.models
    return {
        "flow": flow_figure(ds),
        "forces": force_figure(
            ds["force_coefficient"], ds.attrs["cycle_from"], ds.attrs["strouhal"]
        ),
        "way": manifold_figure(ds, models["pod"]),
        "modes": modes_figure(models),
        "eigenvalues": eigenvalue_figure(
            {
                name: models[name].result["eigenvalues"].values
                for name in ("dmd", "dmd, from the transient")
            }
        ),
        "forecasts": forecasts(outcome),
        "reconstructions": reconstructions(outcome),
    }


def half_way(ds: xr.Dataset) -> float:
    """When the lift first comes to half its final size."""
    size = abs(lift_of(ds))
    final = float(size.sel(force_time=slice(ds.attrs["cycle_from"], None)).max())
    return float(size["force_time"][size > final / 2][0])


def flow_figure(ds: xr.Dataset) -> Figure:
    """Vorticity of the steady flow, half-way, and in the limit cycle."""
    half = half_way(ds)
    fields = {
        "steady": ds["steady_velocity"],
        "half-way": ds["velocity"].sel(time=half, method="nearest"),
        "limit cycle": ds["velocity"].isel(time=-1),
    }
    return field_figure(
        {"": [vorticity(field.where(ds["mask"])) for field in fields.values()]},
        list(fields),
        limit=3.0,
        caption="Vorticity, in U/D, of the unstable steady flow, of the oscillation half-way to "
        f"the limit cycle (at time {half:.0f} D/U), and of the limit cycle; colours end at 3",
    )


def modes_figure(models: Mapping[str, Any]) -> Figure:
    """Vorticity of modes that hold most energy."""
    modes = {name: models[name].result["modes"] for name in ("pod", "pod, from the transient")}
    rows = {
        name: [vorticity(field.isel(mode=k)) for k in (0, 2, 4)] for name, field in modes.items()
    }
    result = models["dmd"].result
    order = np.flatnonzero(result["frequency"].values > STILL)
    chosen = order[np.argsort(result["frequency"].values[order])][:3]
    rows["dmd, real part"] = [vorticity(result["modes"].isel(mode=k).real) for k in chosen]
    return field_figure(
        rows,
        caption="Vorticity of modes 1, 3 and 5 of POD within the limit cycle and from the "
        "transient, and of the DMD modes at one, two and three times the first frequency; each "
        "picture has its own scale",
    )


def forecasts(outcome: Outcome) -> Figure:
    """Of every model that foretells."""
    found = {name: forecast_errors(model, outcome.splits) for name, model in outcome.models.items()}
    later = outcome.splits.tests["later"]["time"].values
    step = float(later[1] - later[0])
    return forecast_figure(
        {name: error for name, error in found.items() if error is not None},
        step,
        1 / outcome.splits.train.attrs["strouhal"],
    )


def reconstructions(outcome: Outcome) -> Figure:
    """A snapshot of the transient, and one of the limit cycle, by several models."""
    chosen = ("pod", "convolutional, neural ODE", *TRANSIENT[1:])
    tests = outcome.splits.tests
    middle = int(tests["transient"]["time"].searchsorted(half_way(outcome.splits.train)))
    place = {"transient": middle, "limit cycle": 0}

    def row(sets: Mapping[str, xr.Dataset]) -> list[xr.DataArray]:
        mask = tests["transient"]["mask"]
        return [
            vorticity(sets[test]["velocity"].isel(time=k).where(mask)) for test, k in place.items()
        ]

    rows = {"truth": row(tests)}
    rows |= {name.replace(", ", ",\n"): row(outcome.predictions[name]) for name in chosen}
    return field_figure(
        rows,
        list(place),
        limit=3.0,
        caption="Vorticity, in U/D, of a snapshot on the way to the limit cycle and of one within "
        "it, neither trained on: the flow, and what models keep of it that were fitted on the one "
        "or on the other",
    )


def tables(outcome: Outcome) -> Mapping[str, Table]:
    """The flow's numbers beside published ones, errors by training data, modes and their check."""
    return {
        "flow": flow_table(outcome.splits.train),
        "splits": splits_table(outcome),
        "modes": dmd_table(outcome.models["dmd"]),
        "check": check_table(outcome.splits),
    }


def splits_table(outcome: Outcome) -> Table:
    """Errors on both splits."""
    rows: list[tuple[str | float, ...]] = []
    for name, model in outcome.result.models.items():
        scores = [model.metrics[key].value for key in SPLIT_SCORES]
        rank = outcome.models[name].rank  # type: ignore[attr-defined]
        rows.append((name, "transient" if name in TRANSIENT else "limit cycle", rank, *scores))
    return Table(
        title="Relative error of velocity within the limit cycle and on the way to it",
        columns=("model", "fitted on", "modes or latents", "limit cycle", "transient", "later"),
        rows=rows,
        note="Snapshots of the first two sets lie between those that were trained on, or are of "
        "the other part of the record; those of the third follow.",
    )


SPLIT_SCORES = ("velocity_error", "velocity_error@transient", "velocity_error@later")


def check_table(splits: Splits) -> Table:
    """What the check of modes says where there are too many, or too few snapshots."""
    fine = dense(splits)
    tried = {
        "every 2nd snapshot, 9 modes": (2, 9),
        "every 2nd snapshot, 25 modes": (2, 25),
        "every 8th snapshot, 7 modes": (8, 7),
    }
    rows: list[tuple[str | float, ...]] = []
    for name, (stride, rank) in tried.items():
        sparse = fine.isel(time=slice(0, None, stride))
        model = Dmd(DmdOptions(rank=rank, variables=VELOCITY))
        model.fit(sparse)
        found = check_modes(model, sparse, finer=fine)
        marks = (int(found[mark].sum()) for mark in ("spurious", "aliased"))
        rows.append((name, float(found.attrs["nyquist_frequency"]), rank, *marks))
    return Table(
        title="Spurious and aliased modes of DMD of the limit cycle",
        columns=("fitted on", "largest frequency that can be seen", "modes", "spurious", "aliased"),
        rows=rows,
        note="A mode is spurious if it does not move as its eigenvalue says, and aliased if its "
        "frequency is another one in finer snapshots.",
    )


def flow_table(ds: xr.Dataset) -> Table:
    """Strouhal number, forces, and rate and frequency of the linear stage."""
    late = ds["force_coefficient"].sel(force_time=slice(ds.attrs["cycle_from"], None))
    growth = linear_growth(lift_of(ds))
    linear = linear_dmd(ds)
    return Table(
        title="The flow",
        columns=("quantity, with D and U as units", "value"),
        rows=[
            ("Strouhal number of the limit cycle", f"{ds.attrs['strouhal']:.4f}"),
            ("the same, measured by Williamson", f"{STROUHAL:.4f}"),
            ("mean drag coefficient", float(late.isel(i=0).mean())),
            ("amplitude of the lift coefficient", float(abs(late.isel(i=1)).max())),
            ("drag coefficient of the steady flow", float(ds["force_coefficient"][4, 0])),
            ("rate of growth of the lift while it is small", growth.rate),
            ("its frequency meanwhile", growth.frequency),
            ("rate of growth by DMD of the velocity before", linear[0]),
            ("frequency by that DMD", linear[1]),
            ("rate of growth of its third mode, the shift of the mean", linear[2]),
        ],
        note="Strouhal number: Williamson 1988, doi:10.1063/1.866978. In the linear stage the "
        "oscillation has another frequency than in the limit cycle, and the mean shifts as its "
        "square, at twice its rate.",
    )


def linear_dmd(ds: xr.Dataset) -> tuple[float, float, float]:
    """Growth rate and frequency of the linear mode, and the growth rate of the mean's shift.

    They are from DMD of the deviations from the steady flow, while the lift is between 0.2 and 2 %
    of its final size: further on the far wake is no longer linear, though the lift is.
    """
    size = abs(lift_of(ds))
    final = float(size.sel(force_time=slice(ds.attrs["cycle_from"], None)).max())
    begin, end = (float(size["force_time"][size > share * final][0]) for share in (0.002, 0.02))
    stage = ds.sel(time=slice(begin, end))
    stage = stage.assign(velocity=stage["velocity"] - stage["steady_velocity"])
    result = Dmd(DmdOptions(rank=3, variables=VELOCITY)).fit(stage)
    pair, shift = (
        int(result["frequency"].argmax("mode")),
        int(abs(result["frequency"]).argmin("mode")),
    )
    rates = result["growth_rate"].values
    return float(rates[pair]), float(result["frequency"][pair]), float(rates[shift])


def dmd_table(model: Any) -> Table:
    """Frequencies and distances from the unit circle."""
    result = model.result
    heads = np.flatnonzero(result["frequency"].values > STILL)
    order = heads[np.argsort(result["frequency"].values[heads])]
    first = float(result["frequency"][order[0]])
    return Table(
        title="Modes of the DMD of the limit cycle",
        columns=("mode", "frequency D/U", "over the first", "| |λ| − 1 |", "amplitude"),
        rows=[
            (
                str(k + 1),
                f"{float(result['frequency'][mode]):.5f}",
                f"{float(result['frequency'][mode]) / first:.4f}",
                float(abs(abs(result["eigenvalues"][mode]) - 1)),
                float(result["amplitudes"][mode]),
            )
            for k, mode in enumerate(order)
        ],
    )


case = Case(
    name="cylinder-wake",
    summary="The wake of a cylinder: modes and networks in its limit cycle and on the way to it",
    reference="Noack et al. 2003, doi:10.1017/S0022112003006694",
    generate=make,
    load=read,
    threads=1,
    models=MODELS,
    metrics=METRICS,
    diagnostics=DIAGNOSTICS,
    prepare={name: transient if name in TRANSIENT else cycle for name in MODELS},
    accept={
        "smoke": {
            "dmd": {
                "strouhal_error": at_most(0.03),
                "lift_disagreement": at_most(2e-3),
                "circle_distance": at_most(2e-3),
                "harmonic_error": at_most(5e-3),
                "suspect_modes": at_most(0.0),
                "velocity_error": at_most(0.03),
                "forecast_error_5": at_most(0.04),
            },
            "pod": {"velocity_error": at_most(0.03)},
            "convolutional, neural ODE": {"velocity_error": at_most(0.21)},
        },
        "full": {
            "dmd": {
                "strouhal_error": at_most(0.02),
                "lift_disagreement": at_most(1e-3),
                "circle_distance": at_most(1e-3),
                "harmonic_error": at_most(5e-3),
                "suspect_modes": at_most(0.0),
                "velocity_error": at_most(0.02),
                "forecast_error_5": at_most(0.025),
            },
            "pod": {"velocity_error": at_most(0.02)},
            "linear autoencoder": {"velocity_error": at_most(0.025)},
            "pod, neural ODE": {"forecast_error_5": at_most(0.025)},
            "convolutional, neural ODE": {
                "velocity_error": at_most(0.08),
                "forecast_error_5": at_most(0.12),
            },
            "convolutional, from the transient": {
                "velocity_error": at_most(0.1),
                "velocity_error@transient": at_most(0.1),
            },
        },
    },
    figures=figures,
    tables=tables,
)
