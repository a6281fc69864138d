"""Decompositions on data from elsewhere, judged against numbers that are known."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from sciml.case import Bound, Case, Diagnostic, Job, Metric, Outcome, Table, at_most
from sciml.data import Splits, fetch
from sciml.modes.analytic import translating_pulse
from sciml.modes.collection import Collection, apart, together
from sciml.modes.contenders import Setting, contender
from sciml.modes.judging import TRAVELLING
from sciml.modes.layout import TIME, VOLUME
from sciml.modes.measures import (
    Yardstick,
    correlation_determinant,
    directions,
    forecast_error,
    principal_angles,
    spectral_purity,
)
from sciml.modes.measures.invariance import rank_needed
from sciml.modes.method import Method
from sciml.modes.pod import Pod, PodOptions
from sciml.modes.readers import ReadOptions, read_snapshots

RANKS = {
    "cylinder": 8,
    "grid": 8,
    "kdv": 8,
    "burgers": 6,
    "heat": 4,
    "temperature": 10,
    "cavity": 8,
}
"""Modes or latents of each flow."""

STEP = 0.2
"""Between snapshots of the cylinder; every second is trained on, so that the fourth harmonic, at
0.716, lies below half the sampling frequency."""

FIRST_ENERGY = 48.0
"""Energy of one mode, per cent. It belongs to a pair of nearly equal ones, so that the stretch of
time tells: 48.5 from time 100 on, 48.7 over whole periods."""

ENERGIES = {2: 95.9, 4: 98.5, 6: 99.9, 8: 100.0}
"""Cumulative energy of the saturated wake, per cent, weighted by volume."""

UNWEIGHTED = 96.6
"""Of two modes, if all points weighed the same."""

STROUHAL = 0.1791
"""Of the cylinder in its box ten diameters wide."""

HEAT = ReadOptions(time_dimension=-1, shape=(21, 21))


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What a tier costs.

    Attributes:
        flows: which are decomposed.
        saturated: times of the cylinder that are trained on.
        networks: flows that networks are trained on.
        steps: updates of a network.
        linear: epochs of the linear autoencoder.
        travelling: whether networks are tried on a travelling pulse.
    """

    flows: tuple[str, ...]
    saturated: tuple[float, float]
    networks: tuple[str, ...]
    steps: int
    linear: int
    travelling: bool


SCALES = {
    "smoke": Scale(
        flows=("cylinder", "kdv", "burgers", "heat"),
        saturated=(191.0, 213.6),
        networks=("kdv", "heat"),
        steps=10,
        linear=12,
        travelling=False,
    ),
    "full": Scale(
        flows=tuple(RANKS),
        saturated=(150.0, 217.0),
        networks=("grid", "kdv", "burgers", "heat", "temperature", "cavity"),
        steps=600,
        linear=40,
        travelling=True,
    ),
}


# Data.


def make(job: Job) -> list[Path]:
    """The files of the catalogue."""
    names = ("cylinder_re100_nek", "cylinder_re100_grid", "kdv", "burgers", "heat")
    return [fetch(f"modes/{name}") for name in (*names, "mrcosts", "cavity_galerkin")]


def read(job: Job) -> Splits:
    """Every second snapshot is trained on; between them lies the principal test set.

    The second split is a transient against what is saturated: of the cylinder and of the cavity.
    """
    scale = SCALES[job.tier]
    flows = {name: flow(name, scale) for name in scale.flows}
    train = {name: ds.isel({TIME: slice(0, None, 2)}) for name, ds in flows.items()}
    between = {name: ds.isel({TIME: slice(1, None, 2)}) for name, ds in flows.items()}
    later = {name: transient(name) for name in scale.flows if name in TRANSIENTS}
    origin = "dynamicslab/pysindy c4421fc, PyDMD 3e3f7f9; see sciml/data/catalogue.toml"
    parts = [together(part).assign_attrs(origin=origin) for part in (train, between, later)]
    return Splits(
        train=parts[0], valid=parts[1], tests={"between": parts[1], "transient": parts[2]}
    )


def flow(name: str, scale: Scale) -> xr.Dataset:
    """The saturated snapshots of a flow."""
    start, stop = scale.saturated
    every = ReadOptions(start=start, stop=stop, every=round(STEP / 0.1))
    sources: Mapping[str, tuple[str, ReadOptions]] = {
        "cylinder": ("cylinder_re100_nek", every),
        "grid": ("cylinder_re100_grid", every),
        "kdv": ("kdv", ReadOptions()),
        "burgers": ("burgers", ReadOptions()),
        "heat": ("heat", HEAT),
        "temperature": ("mrcosts", ReadOptions(every=3)),
        "cavity": ("cavity_galerkin", ReadOptions(start=40.0, every=2)),
    }
    return loaded(*sources[name])


TRANSIENTS = {
    "cylinder": ("cylinder_re100_nek", ReadOptions(start=40.0, stop=80.0, every=8)),
    "grid": ("cylinder_re100_grid", ReadOptions(start=40.0, stop=80.0, every=8)),
    "cavity": ("cavity_galerkin", ReadOptions(stop=40.0, every=8)),
}
"""What comes before the limit cycle."""


def transient(name: str) -> xr.Dataset:
    return loaded(*TRANSIENTS[name])


def loaded(entry: str, options: ReadOptions) -> xr.Dataset:
    return read_snapshots(fetch(f"modes/{entry}"), options).load().drop_attrs(deep=False)


# Models.


def everywhere(name: str) -> Callable[[Job], Collection]:
    """A method of the comparison on every flow that the tier asks of it."""

    def build(job: Job) -> Collection:
        scale, one = SCALES[job.tier], contender(name)

        def method(flow: str) -> Method:
            epochs = scale.linear if name == "linear-autoencoder" else epochs_of(flow, scale)
            return one.make(
                Setting(rank=RANKS[flow], seed=job.seed, epochs=epochs if one.network else None)
            )

        return Collection(method, FLOWS_OF.get(name, lambda s: s.flows)(scale))

    return build


def on_grids(scale: Scale) -> tuple[str, ...]:
    return tuple(name for name in scale.networks if name != "cavity")


FLOWS_OF: Mapping[str, Callable[[Scale], tuple[str, ...]]] = {
    "linear-autoencoder": lambda scale: tuple({"cylinder": 0, **dict.fromkeys(scale.networks)}),
    "dense-autoencoder": lambda scale: scale.networks,
    "convolutional-autoencoder": on_grids,
    "mode-decomposing-autoencoder": lambda scale: scale.networks,
    "variational-autoencoder": lambda scale: scale.networks,
}
"""Flows that a method is fitted on, where they are not all."""

COUNTS = {
    "cylinder": 168,
    "grid": 168,
    "kdv": 101,
    "burgers": 51,
    "heat": 50,
    "temperature": 610,
    "cavity": 150,
}
"""Training snapshots of each flow, about."""


def epochs_of(flow: str, scale: Scale) -> int:
    steps = min(scale.steps, 150) if flow == "grid" else scale.steps
    return max(1, round(steps / math.ceil(COUNTS[flow] / 16)))


MODELS: Mapping[str, str] = {
    "POD": "pod",
    "DMD": "dmd",
    "optimised DMD": "optimised-dmd",
    "higher-order DMD": "higher-order-dmd",
    "spectral POD": "spectral-pod",
    "linear autoencoder": "linear-autoencoder",
    "dense autoencoder": "dense-autoencoder",
    "convolutional autoencoder": "convolutional-autoencoder",
    "mode-decomposing autoencoder": "mode-decomposing-autoencoder",
    "β-VAE": "variational-autoencoder",
}
"""Name in the report to the name of the method."""


# Figures of merit.


def error_of(name: str) -> Metric:
    """Relative error of the reconstruction of one flow."""

    def error(truth: xr.Dataset, prediction: xr.Dataset) -> float:
        true, found = apart(truth), apart(prediction)
        if name not in true or name not in found:
            return math.nan
        names = tuple(map(str, found[name].data_vars))
        return Yardstick.of(true[name], names).error(true[name], found[name])

    return Metric(
        function=error,
        unit="1",
        description=f"root of the energy lost over that of the deviations from the mean, {name}; "
        f"{RANKS[name]} modes or latents",
    )


def of_cylinder(
    measure: Callable[[Any, xr.Dataset], float],
) -> Callable[[Any, Splits], float | None]:
    """A figure of the method that was fitted on the cylinder."""

    def function(model: Any, splits: Splits) -> float | None:
        method = model.methods.get("cylinder")
        return None if method is None else measure(method, apart(splits.train)["cylinder"])

    return function


def is_pod(method: Any) -> bool:
    return isinstance(method, Pod)


def energy_error(model: Any, splits: Splits) -> float | None:
    """Largest difference from the known energies, per cent points."""
    if not is_pod(model.methods.get("cylinder")):
        return None
    held = 100 * np.cumsum(saturated_energies())
    return max(abs(float(held[count - 1]) - known) for count, known in ENERGIES.items())


def first_energy_error(model: Any, splits: Splits) -> float | None:
    """Difference of the energy of one mode from the known one, per cent points."""
    if not is_pod(model.methods.get("cylinder")):
        return None
    return abs(100 * float(saturated_energies()[0]) - FIRST_ENERGY)


@cache
def saturated_energies() -> np.ndarray:
    """Shares of eight modes of the cylinder."""
    return Pod(PodOptions(rank=8)).fit(all_saturated())["energy"].values


def unweighted_error(model: Any, splits: Splits) -> float | None:
    """The same of two modes if all points weigh alike: it tells that weights are used."""
    if not is_pod(model.methods.get("cylinder")):
        return None
    found = Pod(PodOptions(rank=2)).fit(all_saturated().drop_vars(VOLUME))
    return abs(100 * float(found["energy"].sum()) - UNWEIGHTED)


@cache
def all_saturated() -> xr.Dataset:
    """The cylinder from time 100 on, at times enough for energies though not for frequencies."""
    return loaded("cylinder_re100_nek", ReadOptions(start=100.0, every=10))


def orthonormality(method: Any, ds: xr.Dataset) -> float:
    """Largest deviation of the modes' products from those of orthonormal ones."""
    if not is_pod(method):
        return math.nan
    rows = np.asarray(method.layout.rows(method.result[["modes"]].rename(modes="velocity"), "mode"))
    return float(abs((rows * method.layout.weights) @ rows.T - np.eye(len(rows))).max())


def tones(method: Any) -> np.ndarray | None:
    """Frequencies above zero, in order; None for what has none."""
    result = getattr(method, "result", None)
    if result is None or "eigenvalues" not in result:
        return None
    found = np.asarray(result["frequency"].values)
    return np.sort(found[found > 1e-3])


def strouhal_error(method: Any, ds: xr.Dataset) -> float:
    """Difference of the lowest frequency from the known one."""
    found = tones(method)
    return math.nan if found is None or not len(found) else abs(float(found[0]) - STROUHAL)


def harmonics(method: Any, ds: xr.Dataset) -> float:
    """Largest relative difference of four frequencies from multiples of the known one."""
    found = tones(method)
    if found is None:
        return math.nan
    wanted = STROUHAL * np.arange(1, 5)
    nearest = [float(abs(found - one).min() / one) if len(found) else math.inf for one in wanted]
    return max(nearest)


def off_circle(method: Any, ds: xr.Dataset) -> float:
    """Largest distance of an eigenvalue's size from one."""
    if tones(method) is None:
        return math.nan
    return float(abs(abs(method.result["eigenvalues"].values) - 1).max())


def angle_to_pod(method: Any, ds: xr.Dataset) -> float:
    """Largest angle between the space of the modes and that of POD, rad."""
    yardstick = Yardstick.of(ds)
    pod = Pod(PodOptions(rank=RANKS["cylinder"]))
    pod.fit(ds)
    rows = [
        directions(one, one.encode(ds), yardstick.layout) * np.sqrt(yardstick.layout.weights)
        for one in (pod, method)
    ]
    return float(principal_angles(*rows).max())


def over_flows(measure: Callable[[Method, xr.Dataset], float]) -> Callable[[Any, Splits], float]:
    """The mean over the flows that a model was fitted on."""

    def function(model: Any, splits: Splits) -> float:
        flows = apart(splits.valid)
        return float(np.mean([measure(m, flows[name]) for name, m in model.methods.items()]))

    return function


def latents(method: Method, ds: xr.Dataset) -> np.ndarray:
    return method.encode(ds).transpose(TIME, "mode").values


def purity(method: Method, ds: xr.Dataset) -> float:
    return float(np.nanmean(spectral_purity(latents(method, ds))))


def independence(method: Method, ds: xr.Dataset) -> float:
    return correlation_determinant(latents(method, ds))


def mass_error(model: Any, splits: Splits) -> float | None:
    """The integral of u of the Korteweg-de Vries equation: its largest relative change."""
    method = model.methods.get("kdv")
    if method is None:
        return None
    truth = apart(splits.test)["kdv"]
    mass = truth["usol"].mean("x")
    found = method.reconstruct(truth)["usol"].mean("x")
    return float(abs(found.values / mass.values - 1).max())


def hottest_growth(model: Any, splits: Splits) -> float | None:
    """Largest eigenvalue of heat conduction, in which nothing grows."""
    method = model.methods.get("heat")
    if method is None or tones(method) is None:
        return None
    return float(abs(method.result["eigenvalues"].values).max())


def forecast(model: Any, splits: Splits) -> float | None:
    """Error of the second half of the cylinder's snapshots, foretold from a fit on the first."""
    method = model.methods.get("cylinder")
    if method is None or not hasattr(method, "forecast"):
        return None
    ds = apart(splits.train)["cylinder"]
    half = ds.sizes[TIME] // 2
    past, future = ds.isel({TIME: slice(0, half)}), ds.isel({TIME: slice(half, None)})
    other = model.make("cylinder")
    other.fit(past)
    errors = forecast_error(other, past, future, Yardstick.of(past))
    return None if errors is None else float(np.sqrt(np.mean(errors**2)))


DIAGNOSTICS = {
    "energy_error": Diagnostic(
        function=energy_error,
        unit="%",
        description="largest difference of the weighted energies of 2, 4, 6 and 8 modes of the "
        "cylinder from the known 95.9, 98.5, 99.9 and 100 %",
    ),
    "first_energy_error": Diagnostic(
        function=first_energy_error,
        unit="%",
        description="difference of the weighted energy of one mode of the cylinder from the known "
        "48.0 %; it depends on the stretch of time",
    ),
    "unweighted_error": Diagnostic(
        function=unweighted_error,
        unit="%",
        description="difference of the energy of two modes of the cylinder without weights from "
        "the known 96.6 %",
    ),
    "orthonormality": Diagnostic(
        function=of_cylinder(orthonormality),
        unit="1",
        description="largest deviation of the modes' weighted products from 0 and 1",
    ),
    "strouhal_error": Diagnostic(
        function=of_cylinder(strouhal_error),
        unit="1",
        description="difference of the lowest frequency of the cylinder from the known 0.1791",
    ),
    "harmonics_error": Diagnostic(
        function=of_cylinder(harmonics),
        unit="1",
        description="largest relative difference of four frequencies from multiples of 0.1791",
    ),
    "off_circle": Diagnostic(
        function=of_cylinder(off_circle),
        unit="1",
        description="largest distance of the size of an eigenvalue from one, cylinder",
    ),
    "forecast_error": Diagnostic(
        function=forecast,
        unit="1",
        description="relative error of the second half of the cylinder's snapshots, foretold from "
        "the first",
    ),
    "angle_to_pod": Diagnostic(
        function=of_cylinder(angle_to_pod),
        unit="rad",
        description="largest angle between the space of the modes of the cylinder and POD's",
    ),
    "heat_growth": Diagnostic(
        function=hottest_growth,
        unit="1",
        description="largest size of an eigenvalue of heat conduction, in which nothing grows",
    ),
    "mass_error": Diagnostic(
        function=mass_error,
        unit="1",
        description="largest relative change of the integral of u, which the Korteweg-de Vries "
        "equation conserves, by the reconstruction",
    ),
    "purity": Diagnostic(
        function=over_flows(purity),
        unit="1",
        description="share of a latent's power at its strongest frequency and the two beside it, "
        "mean over latents and flows",
    ),
    "independence": Diagnostic(
        function=over_flows(independence),
        unit="1",
        description="determinant of the correlation matrix of the latents, mean over flows",
    ),
}


# The report.

MARKERS = "os^vD<>P*X"


def travelling(outcome: Outcome) -> Table:
    """Modes that a travelling pulse takes."""
    pulse = translating_pulse()
    yardstick = Yardstick.of(pulse, ("velocity",))
    scale = SCALES[outcome.job.tier]
    names = ["pod", "aligned-pod", "dmd"]
    names += ["dense-autoencoder", "convolutional-autoencoder"] if scale.travelling else []
    rows: list[list[str | float | int | bool | None]] = []
    for name in names:
        one = contender(name)

        def build(rank: int, one: Any = one) -> Method:
            return one.make(
                Setting(rank=rank, variables=("velocity",), epochs=120 if one.network else None)
            )

        rank, held = rank_needed(build, pulse, TRAVELLING, yardstick)
        rows.append([one.title, rank, held[max(held)]])
    return Table(
        title="Modes of a travelling pulse",
        columns=("method", "modes for 99 % of the energy", "energy at the most modes tried"),
        rows=rows,
        note="a pulse that runs round a line; no number means that none of up to 32 suffices",
    )


def figures(outcome: Outcome) -> Mapping[str, Figure]:
    """Eigenvalues and energies of the cylinder, and errors of all."""
    return {"eigenvalues": circle(outcome), "errors": errors(outcome), "energy": energies(outcome)}


def circle(outcome: Outcome) -> Figure:
    figure = Figure(figsize=(6.9, 3.4), layout="constrained")
    axes = figure.subplots(1, 2)
    turn = np.linspace(0, 2 * np.pi, 200)
    results = {}
    for name in ("DMD", "optimised DMD"):
        method: Any = outcome.models[name]
        results[name] = method.methods["cylinder"].result
    highest = max(float(abs(found["frequency"]).max()) for found in results.values())
    for ax, (name, found) in zip(axes, results.items(), strict=True):
        ax.plot(np.cos(turn), np.sin(turn), color="0.6", lw=0.9)
        values = found["eigenvalues"].values
        color = abs(found["frequency"].values)
        shown = ax.scatter(values.real, values.imag, c=color, vmin=0, vmax=highest, zorder=3)
        ax.set_aspect("equal")
        ax.set(xlabel="real part", ylabel="imaginary part", title=name)
    figure.colorbar(shown, ax=axes, label="frequency, U/D")
    figure.set_label("Eigenvalues of one step of the cylinder's saturated wake")
    return figure


def errors(outcome: Outcome) -> Figure:
    figure = Figure(figsize=(6.9, 3.6), layout="constrained")
    ax = figure.subplots()
    flows = SCALES[outcome.job.tier].flows
    for place, name in enumerate(MODELS):
        scores = outcome.result.models[name].metrics
        heights = [scores[f"error_{flow}"].value for flow in flows]
        where = np.arange(len(flows)) + (place - len(MODELS) / 2) * 0.07
        ax.plot(where, heights, MARKERS[place], ms=5, label=name)
    ax.set_yscale("log")
    ax.set_xticks(range(len(flows)), flows)
    ax.set_ylabel("relative error")
    ax.grid(axis="y")
    figure.legend(loc="outside upper center", ncols=4, fontsize="small")
    figure.set_label("Relative error of snapshots between those that were trained on")
    return figure


def energies(outcome: Outcome) -> Figure:
    figure = Figure(figsize=(4.8, 2.9), layout="constrained")
    ax = figure.subplots()
    pod: Any = outcome.models["POD"]
    for name, method in pod.methods.items():
        held = 100 * np.cumsum(method.result["energy"].values)
        ax.plot(np.arange(1, len(held) + 1), held, "o-", ms=3, label=name)
    ax.plot(list(ENERGIES), list(ENERGIES.values()), "k+", ms=9, label="known, cylinder")
    ax.set(xlabel="modes", ylabel="energy, %")
    ax.legend(fontsize="small")
    figure.set_label("Cumulative energy of the POD modes of each flow, and what is known")
    return figure


def tables(outcome: Outcome) -> Mapping[str, Table]:
    """What a travelling pulse takes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {"travelling": travelling(outcome)}


# Bounds.

KNOWN_POD: Mapping[str, Bound] = {
    "energy_error": at_most(0.06),
    "first_energy_error": at_most(0.8),
    "unweighted_error": at_most(0.06),
    "orthonormality": at_most(1e-6),
    "error_cylinder": at_most(0.02),
    "error_kdv": at_most(0.1),
    "error_burgers": at_most(0.035),
    "error_heat": at_most(0.002),
    "mass_error": at_most(1e-4),
}

KNOWN_DMD: Mapping[str, Bound] = {
    "strouhal_error": at_most(1e-4),
    "harmonics_error": at_most(1e-3),
    "off_circle": at_most(1e-4),
    "forecast_error": at_most(0.02),
    "heat_growth": at_most(1.001),
    "error_cylinder": at_most(0.02),
}

case = Case(
    name="modes-challenge",
    summary="Decompositions on data from elsewhere, against known energies and frequencies",
    reference="Kutz 2017, doi:10.1017/jfm.2016.803",
    generate=make,
    load=read,
    threads=1,
    models={name: everywhere(method) for name, method in MODELS.items()},
    metrics={f"error_{name}": error_of(name) for name in RANKS},
    diagnostics=DIAGNOSTICS,
    accept={
        "smoke": {
            "POD": KNOWN_POD,
            "DMD": KNOWN_DMD,
            "optimised DMD": {"harmonics_error": at_most(1e-3)},
        },
        "full": {
            "POD": {**KNOWN_POD, "error_grid": at_most(0.02)},
            "DMD": KNOWN_DMD,
            "higher-order DMD": {"harmonics_error": at_most(1e-3)},
            "linear autoencoder": {"angle_to_pod": at_most(1e-2)},
        },
    },
    figures=figures,
    tables=tables,
)
