"""A hydrogen flame: our own transport, chemistry by a learned step, split from each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cantera
import numpy as np
import torch
import xarray as xr
from matplotlib.figure import Figure

from sciml.case import Case, Job, Metric, Model, Outcome, at_most
from sciml.chemistry import DirectIntegration, States, free_flame, load_mechanism, states_of
from sciml.chemistry.baselines import ExplicitStep, NearestState
from sciml.chemistry.flame_states import FlameStates
from sciml.chemistry.generation import provenance
from sciml.chemistry.hybrid import HybridIntegrator
from sciml.chemistry.ignition import Advances, one_step
from sciml.chemistry.models import step_metrics
from sciml.chemistry.surrogate import ReactionStep, ReactionStepOptions
from sciml.data import Splits, generate, load
from sciml.kernels.kinetics.reference import enthalpies, heat_capacities
from sciml.kernels.kinetics.tables import tables as coefficients_of
from sciml.train import TrainOptions

MECHANISM = "h2o2.yaml"
FUEL, AIR = "H2", "O2:1, N2:3.76"
RATIOS = (0.7, 1.0, 1.3)
UNBURNT, PRESSURE = 300.0, 101325.0
TIME_STEP = 1e-6
COLDEST = 200.0
TRUTH = DirectIntegration(mechanism=MECHANISM)
DIRECT = DirectIntegration(mechanism=MECHANISM, relative=1e-6, absolute=1e-10)


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What a tier costs.

    Attributes:
        flames: that are learned from; a fifth as many for validation and for the test of a step.
        states: along, near and mixed, of each.
        ratios: equivalence ratios of the flames that are computed.
        cells: of their grid, and the thickness of its hot ones, m.
        steps: of the flames.
        hidden: widths of the network's hidden layers.
        epochs: of the fit.
        batch: states of an update.
    """

    flames: int
    states: tuple[int, int, int]
    ratios: tuple[float, ...]
    cells: tuple[int, float]
    steps: int
    hidden: tuple[int, ...]
    epochs: int
    batch: int


SCALES = {
    "smoke": Scale(
        flames=5,
        states=(200, 150, 100),
        ratios=(1.0,),
        cells=(200, 60e-6),
        steps=60,
        hidden=(64, 64),
        epochs=80,
        batch=128,
    ),
    "full": Scale(
        flames=60,
        states=(500, 700, 300),
        ratios=RATIOS,
        cells=(300, 30e-6),
        steps=300,
        hidden=(96, 96, 96),
        epochs=300,
        batch=1024,
    ),
}


# The solver. Of chemistry it knows `advance` alone.


class PremixedFlame:
    """A freely propagating flame at constant pressure, in the mass coordinate m = ∫ ρ dx.

        ∂Y/∂t = -∂j/∂m + W ω/ρ,    ∂h/∂t = -∂q/∂m,
        j = j' - Y Σ j',    j' = -ρ (W/W̄) D ∂X/∂x,    q = -λ ∂T/∂x + Σ h j

    with mixture-averaged coefficients by Cantera. In this coordinate nothing flows: the flame moves
    into the unburnt gas, and the grid follows it by whole cells. Transport takes explicit substeps
    as small as its stability asks for, half a step before and half a step after the chemistry.

    Args:
        temperature: K, of the cells from the unburnt side on.
        mass_fractions: of the cells.
        mass: of a cell, kg/m².
        advance: the chemistry of all cells.
    """

    def __init__(
        self, temperature: np.ndarray, mass_fractions: np.ndarray, mass: float, advance: Any
    ) -> None:
        self.T, self.Y = temperature.copy(), mass_fractions.copy()
        self.p = np.full(len(self.T), PRESSURE)
        self.mass, self.advance = mass, advance
        self.fresh = self.T[0], self.Y[0].copy()
        self.middle = 0.5 * (self.T[0] + self.T[-1])
        self.home, self.shifted, self.untrusted = self.front(), 0, 0
        self._gas = cantera.Solution(MECHANISM, transport_model="mixture-averaged")
        self._weights = self._gas.molecular_weights
        self._coefficients = coefficients_of(load_mechanism(MECHANISM))
        self._measure()

    def front(self) -> float:
        """Where the temperature is in the middle between unburnt and burnt, in cells."""
        at = int(np.argmax(self.middle < self.T))
        return at - (self.T[at] - self.middle) / (self.T[at] - self.T[at - 1])

    def consumed(self) -> float:
        """Mass that the flame has passed so far, kg/m²."""
        return self.mass * (self.shifted + self.home - self.front())

    def run(self, steps: int, time_step: float, *, refresh: int = 5) -> np.ndarray:
        """March; the mass that was passed after each step, NaN after the flame broke down."""
        passed = np.full(steps, np.nan)
        for step in range(steps):
            if step % refresh == 0:
                self._measure()
            self._transport(0.5 * time_step)
            if not (np.isfinite(self.T).all() and self.T.min() > COLDEST):
                break
            found = self.advance(self.T, self.p, self.Y, time_step, out=(self.T, self.Y))
            self.untrusted += int((~found.trusted).sum())
            self._transport(0.5 * time_step)
            if not (self.T.max() > self.middle > self.T[0] and np.isfinite(self.T).all()):
                break
            passed[step] = self.consumed()
            self._follow()
        return passed

    def _follow(self) -> None:
        """Bring the flame back to its place: drop burnt cells, take in unburnt ones."""
        cells = int(self.home - self.front())
        if cells > 0:
            T, Y = self.fresh
            self.T = np.concatenate([np.full(cells, T), self.T[:-cells]])
            self.Y = np.concatenate([np.tile(Y, (cells, 1)), self.Y[:-cells]])
            self.shifted += cells

    def _measure(self) -> None:
        """Coefficients of transport in the cells."""
        diffusion, conductivity = np.empty_like(self.Y), np.empty_like(self.T)
        for cell, (T, Y) in enumerate(zip(self.T, self.Y, strict=True)):
            self._gas.set_unnormalized_mass_fractions(Y)
            self._gas.TP = T, PRESSURE
            diffusion[cell] = self._gas.mix_diff_coeffs
            conductivity[cell] = self._gas.thermal_conductivity
        self._diffusion, self._conductivity = _faces(diffusion), _faces(conductivity)
        width = self.mass / self._density()
        fastest = np.maximum(diffusion.max(1), 1.5 * conductivity / (1000.0 * self._density()))
        self._stable = 0.4 * float((width**2 / fastest).min())

    def _transport(self, duration: float) -> None:
        count = max(1, int(np.ceil(duration / self._stable)))
        h = (self._enthalpies() * self.Y).sum(1)
        for _ in range(count):
            h = self._substep(h, duration / count)

    def _substep(self, h: np.ndarray, dt: float) -> np.ndarray:
        rho, moles = self._density(), self.Y / self._weights
        mean = 1 / moles.sum(1)
        gap = 0.5 * self.mass * (1 / rho[1:] + 1 / rho[:-1])[:, None]
        gradient = np.diff(moles * mean[:, None], axis=0) / gap
        share = (self._weights / _faces(mean)[:, None]) * _faces(rho)[:, None]
        flux = -share * self._diffusion * gradient
        flux -= _faces(self.Y) * flux.sum(1, keepdims=True)
        heat = -self._conductivity * np.diff(self.T) / gap[:, 0]
        heat += (_faces(self._enthalpies()) * flux).sum(1)
        self.Y -= dt / self.mass * np.diff(flux, axis=0, prepend=0.0, append=0.0)
        np.clip(self.Y, 0.0, None, out=self.Y)
        h = h - dt / self.mass * np.diff(heat, prepend=0.0, append=0.0)
        lacking = h - (self._enthalpies() * self.Y).sum(1)
        self.T += lacking / (self._capacities() * self.Y).sum(1)
        return h

    def _density(self) -> np.ndarray:
        moles = (self.Y / self._weights).sum(1)
        return self.p / (cantera.gas_constant * self.T * moles)

    def _enthalpies(self) -> np.ndarray:
        T = torch.from_numpy(self.T)
        molar = cantera.gas_constant * self.T[:, None] * enthalpies(self._coefficients, T).numpy()
        return molar / self._weights

    def _capacities(self) -> np.ndarray:
        T = torch.from_numpy(self.T)
        molar = cantera.gas_constant * heat_capacities(self._coefficients, T).numpy()
        return molar / self._weights


def _faces(values: np.ndarray) -> np.ndarray:
    """Means of neighbouring cells."""
    return 0.5 * (values[1:] + values[:-1])


# Data.


@dataclass(frozen=True, kw_only=True)
class FlameTests:
    """Flames by Cantera's `FreeFlame`, on the grid of our solver: a `SampleTask`."""

    ratios: tuple[float, ...]
    cells: int
    width: float

    def __call__(self, index: int, rng: np.random.Generator) -> xr.Dataset:
        """The flame of one equivalence ratio."""
        ratio = self.ratios[index]
        flame = free_flame(
            MECHANISM,
            fuel=FUEL,
            oxidizer=AIR,
            equivalence_ratio=ratio,
            temperature=UNBURNT,
            pressure=PRESSURE,
            refine=(2.0, 0.02, 0.04),
        )
        T, Y, mass, density = on_mass(flame.position, flame.states, self.cells, self.width)
        values = {
            "equivalence_ratio": (ratio, "1"),
            "flame_speed": (flame.velocity[0], "m s-1"),
            "cell_mass": (mass, "kg m-2"),
            "unburnt_density": (density, "kg m-3"),
        }
        ds = xr.Dataset({name: ((), v, {"units": unit}) for name, (v, unit) in values.items()})
        return ds.assign(
            profile=("cell", T, {"units": "K"}),
            composition=(("cell", "species"), Y, {"units": "1"}),
        ).assign_coords(species=list(load_mechanism(MECHANISM).names))


def on_mass(
    position: np.ndarray, states: States, cells: int, width: float
) -> tuple[np.ndarray, np.ndarray, float, float]:
    """T, Y in cells of equal mass, the mass of one, and the density of the unburnt gas.

    The flame stands three tenths of the way; hot cells have the given width.
    """
    gas = cantera.SolutionArray(cantera.Solution(MECHANISM), len(position))
    gas.TPY = states
    rho = gas.density
    passed = np.concatenate([[0.0], np.cumsum(_faces(rho) * np.diff(position))])
    T = states.temperature
    middle = passed[np.argmax(0.5 * (T[0] + T[-1]) < T)]
    mass = width * rho[-1]
    places = middle + (np.arange(cells) + 0.5 - 0.3 * cells) * mass
    Y = np.stack([np.interp(places, passed, column) for column in states.mass_fractions.T], axis=1)
    return np.interp(places, passed, T), Y / Y.sum(1, keepdims=True), mass, rho[0]


def make(job: Job) -> list[Path]:
    """States of flames to learn from and to test one step on, and the flames to compute."""
    scale = SCALES[job.tier]
    along, near, mixed = scale.states
    learned = FlameStates(
        solver=TRUTH,
        fuel=FUEL,
        oxidizer=AIR,
        equivalence_ratio=(0.6, 1.45),
        along=along,
        near=near,
        mixed=mixed,
    )
    cells, width = scale.cells
    few = max(1, scale.flames // 5)
    wanted: dict[str, tuple[Any, int]] = {
        "train": (learned, job.samples or scale.flames),
        "valid": (learned, few),
        "states": (learned, few),
        "flames": (FlameTests(ratios=scale.ratios, cells=cells, width=width), len(scale.ratios)),
    }
    paths = []
    for place, (name, (task, count)) in enumerate(wanted.items()):
        seed = 10 * job.seed + place
        path = job.data / f"flame-{job.tier}-{name}-{count}-seed{seed}.nc"
        if not path.exists():
            generate(
                task,
                count,
                path,
                seed=seed,
                workers=job.workers if name == "train" and job.tier == "full" else 1,
                resume=path.with_name(path.name + ".parts").exists(),
                attributes=provenance(TRUTH),
            )
        paths.append(path)
    return paths


def read(job: Job) -> Splits:
    """States of different flames for training, validation and test, and the flames."""
    train, valid, states, flames = make(job)
    steps = SCALES[job.tier].steps
    return Splits(
        train=states_of(load(train)),
        valid=states_of(load(valid)),
        tests={
            "flames": load(flames).load().assign_attrs(steps=steps),
            "states": states_of(load(states)),
        },
    )


# Models.


class Flames:
    """Whatever advances chemistry, inside the solver.

    Args:
        model: what advances; it is fitted first where it can be.
    """

    def __init__(self, model: Advances) -> None:
        self.model = model

    def fit(
        self,
        train: xr.Dataset,
        valid: xr.Dataset | None = None,
        *,
        folder: Path | None = None,
        resume: bool = False,
    ) -> None:
        """Fit what can be fitted."""
        if fit := getattr(self.model, "fit", None):
            fit(train, valid, folder=folder, resume=resume)

    def predict(self, ds: xr.Dataset) -> xr.Dataset:
        """Flames on the way from Cantera's own, or one step of labelled states."""
        if "flame_speed" not in ds:
            return one_step(self.model, ds)
        return xr.concat(
            [burn(self.model, ds.isel(sample=k), ds.attrs["steps"]) for k in range(len(ds.sample))],
            "sample",
        )


class Learned(Flames):
    """The surrogate inside the solver, which can be kept."""

    model: ReactionStep

    def save(self, folder: Path, *, figures: Mapping[str, float] | None = None) -> None:
        """Save the surrogate."""
        self.model.save(folder, figures=figures)

    def load(self, folder: Path) -> Learned:
        """Bring back what `save` wrote."""
        return Learned(ReactionStep.load(folder))


class Fallback(Flames):
    """The fitted surrogate, with direct integration where it is not trusted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fit(self, *splits: Any, **options: Any) -> None:
        """Nothing is learned: the surrogate is fitted already."""
        self.model = HybridIntegrator(ReactionStep.load(self.folder), TRUTH)


def burn(model: Advances, flame: xr.Dataset, steps: int) -> xr.Dataset:
    """March from Cantera's flame; its speed is taken over the second half of the time."""
    solver = PremixedFlame(
        flame["profile"].values,
        flame["composition"].values,
        float(flame["cell_mass"]),
        in_place(model),
    )
    passed = solver.run(steps, TIME_STEP)
    late = slice(steps // 2, None)
    time = TIME_STEP * np.arange(1, steps + 1)
    whole = np.isfinite(passed).all()
    rate = np.polyfit(time[late], passed[late], 1)[0] if whole else np.nan
    values = {
        "flame_speed": (rate / float(flame["unburnt_density"]), "m s-1"),
        "untrusted": (solver.untrusted / (steps * len(solver.T)), "1"),
    }
    ds = xr.Dataset({name: ((), v, {"units": unit}) for name, (v, unit) in values.items()})
    shift = solver.front() - solver.home if whole else 0.0
    cells = np.arange(len(solver.T))
    aligned = np.interp(cells + shift, cells, solver.T)
    Y = np.stack([np.interp(cells + shift, cells, column) for column in solver.Y.T], axis=1)
    return ds.assign(
        profile=("cell", aligned, {"units": "K"}),
        composition=(("cell", "species"), Y, {"units": "1"}),
    ).assign_coords(species=flame["species"].values)


def in_place(model: Advances) -> Any:
    """`advance` with `out`, also of what has none."""
    if isinstance(model, ReactionStep | HybridIntegrator):
        return model.advance

    def advance(T: np.ndarray, p: np.ndarray, Y: np.ndarray, dt: float, *, out: Any) -> Any:
        found = model.advance(T, p, Y, np.full(len(T), dt))
        out[0][:], out[1][:] = found.temperature, found.mass_fractions
        return found

    return advance


def learned(*, informed: bool = True) -> Callable[[Job], Model]:
    """The surrogate; uninformed, the same network without the explicit step."""

    def build(job: Job) -> Model:
        scale = SCALES[job.tier]
        options = ReactionStepOptions(
            mechanism=load_mechanism(MECHANISM), hidden=scale.hidden, informed=informed
        )
        training = TrainOptions(
            epochs=scale.epochs,
            batch_size=scale.batch,
            learning_rate=3e-3,
            weight_decay=0.0,
            seed=job.seed,
            device="cpu",
        )
        return Learned(ReactionStep(options, training=training))

    return build


# What the models are judged by.


def metric(function: Any, description: str, *, unit: str = "1") -> Metric:
    """A figure of the flames; of other test sets it is NaN."""

    def of_flames(truth: xr.Dataset, prediction: xr.Dataset) -> float:
        return float(function(truth, prediction)) if "flame_speed" in truth else float("nan")

    return Metric(function=of_flames, unit=unit, description=description)


def speed_errors(truth: xr.Dataset, found: xr.Dataset) -> np.ndarray:
    """Relative, against Cantera's `FreeFlame`."""
    return abs(found["flame_speed"].values / truth["flame_speed"].values - 1)


def profile_error(truth: xr.Dataset, found: xr.Dataset) -> float:
    """Root mean square over the cells."""
    return float(np.sqrt(np.nanmean((found["profile"].values - truth["profile"].values) ** 2)))


def peak_errors(truth: xr.Dataset, found: xr.Dataset) -> np.ndarray:
    """Of the largest H, relative."""
    both = (ds["composition"].sel(species="H").max("cell").values for ds in (found, truth))
    return abs(np.divide(*both) - 1)


METRICS = {
    "speed_error": metric(
        lambda t, p: speed_errors(t, p).mean(), "mean relative error of the flame speed"
    ),
    "speed_error_max": metric(
        lambda t, p: speed_errors(t, p).max(), "largest relative error of the flame speed"
    ),
    "profile_error": metric(
        profile_error, "root mean square error of the temperature profile", unit="K"
    ),
    "peak_error": metric(
        lambda t, p: peak_errors(t, p).mean(), "mean relative error of the largest H"
    ),
    "untrusted": metric(
        lambda t, p: p["untrusted"].mean(), "share of the steps outside the trusted states"
    ),
    **step_metrics(),
}


def figures(outcome: Outcome) -> Mapping[str, Figure]:
    """Profiles of the flames, and their speeds."""
    flames = outcome.splits.test
    found = {name: sets["flames"] for name, sets in outcome.predictions.items()}
    return {"profiles": profiles(flames, found["network"]), "speeds": speeds(flames, found)}


def profiles(truth: xr.Dataset, network: xr.Dataset) -> Figure:
    """Temperature and radicals through each flame."""
    count = truth.sizes["sample"]
    figure = Figure(figsize=(7.2, 2.9), layout="constrained")
    panels = figure.subplots(1, count, sharey=True, squeeze=False)[0]
    for k, axes in enumerate(panels):
        places = 1e3 * positions(truth.isel(sample=k))
        axes.plot(places, truth["profile"].isel(sample=k), "k-", lw=2.2, label="Cantera")
        axes.plot(places, network["profile"].isel(sample=k), "C0-", lw=1.0, label="T, network")
        twin = axes.twinx()
        for colour, species in (("C1", "H"), ("C2", "OH"), ("C3", "HO2")):
            for ds, width, name in ((truth, 2.2, None), (network, 1.0, species)):
                values = ds["composition"].isel(sample=k).sel(species=species)
                shown = "0.7" if name is None else colour
                twin.semilogy(places, values.clip(1e-9), color=shown, lw=width, label=name)
        twin.set_ylim(1e-6, 1e-1)
        axes.set_xlim(-0.5, 2.0)
        axes.set_zorder(twin.get_zorder() + 1)
        axes.patch.set_visible(False)
        axes.set_title(f"φ = {float(truth['equivalence_ratio'][k]):g}", fontsize="medium")
        axes.set_xlabel("position [mm]")
        twin.set_ylabel("mass fraction" if k == count - 1 else "")
        twin.tick_params(labelright=k == count - 1)
        if k == count - 1:
            twin.legend(fontsize="small", loc="lower right")
    panels[0].set_ylabel("temperature [K]")
    panels[0].legend(fontsize="small", loc="center right")
    figure.set_label(
        "Hydrogen flames: temperature and radicals, by Cantera's FreeFlame (thick) and by our "
        "transport with the network's chemistry (thin)"
    )
    return figure


def positions(flame: xr.Dataset) -> np.ndarray:
    """Of the cells in m, from the middle of the flame."""
    gas = cantera.SolutionArray(cantera.Solution(MECHANISM), flame.sizes["cell"])
    gas.TPY = flame["profile"].values, PRESSURE, flame["composition"].values
    edges = np.cumsum(float(flame["cell_mass"]) / gas.density)
    T = flame["profile"].values
    return edges - edges[np.argmax(0.5 * (T[0] + T[-1]) < T)]


def speeds(truth: xr.Dataset, found: Mapping[str, xr.Dataset]) -> Figure:
    """Speed of the flames against the equivalence ratio, of every model."""
    figure = Figure(figsize=(4.6, 3.0), layout="constrained")
    axes = figure.subplots()
    ratio = truth["equivalence_ratio"].values
    axes.plot(ratio, truth["flame_speed"], "ks", ms=8, mfc="none", label="Cantera's FreeFlame")
    for name, ds in found.items():
        axes.plot(ratio, ds["flame_speed"], "o--", ms=3, lw=0.7, label=name)
    axes.set_xlabel("equivalence ratio")
    axes.set_ylabel("flame speed [m/s]")
    axes.legend(fontsize="small")
    figure.set_label("Speed of hydrogen flames in air at 300 K and 1 atm")
    return figure


case = Case(
    name="h2-flame",
    summary="A hydrogen flame: our own transport, and chemistry by a learned step",
    reference="Cantera's FreeFlame with h2o2.yaml, mixture-averaged transport",
    generate=make,
    load=read,
    threads=1,
    models={
        "network": learned(),
        "with fallback": lambda job: Fallback(job.folder / "models" / "network" / "surrogate"),
        "plain network": learned(informed=False),
        "nearest state": lambda job: Flames(NearestState(load_mechanism(MECHANISM))),
        "explicit step": lambda job: Flames(ExplicitStep(load_mechanism(MECHANISM))),
        "cantera, direct": lambda job: Flames(DIRECT),
    },
    metrics=METRICS,
    accept={
        "smoke": {"network": {"speed_error": at_most(0.15)}},
        "full": {"network": {"speed_error_max": at_most(0.03)}},
    },
    figures=figures,
)
