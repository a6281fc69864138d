"""Steady laminar flow past any shape: networks on the signed distance beside a solver."""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from matplotlib.figure import Figure

from sciml.case import Case, Job, Metric, Model, Outcome, Table, at_most
from sciml.data import (
    Splits,
    Unavailable,
    fetch,
    generate,
    limited_threads,
    load,
    names,
    split_by_group,
)
from sciml.flow import (
    CoarseSolver,
    EncoderDecoderOptions,
    FreeStream,
    GivenShapes,
    NearestShape,
    ShapeSamples,
    SolverOptions,
    SteadyFlow,
    SteadyFlowOptions,
    Tunnel,
    UNetOptions,
    comparison,
    divergence,
    drag_and_lift,
    error_histogram,
    read_shape,
    solve_distance,
)
from sciml.flow.shapes import FAMILIES
from sciml.metrics import coverage, relative_l2_error
from sciml.surrogate import Ensemble
from sciml.train import TrainOptions

HELD_OUT = "bezier_blob"
TRAINED = tuple(family for family in FAMILIES if family != HELD_OUT)
FLUID = ("component", "y", "x")


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What a tier costs.

    Attributes:
        cells: across the tunnel.
        shapes, held_out: samples of the trained families, and of the one held out.
        epochs, short: passes over the data of the principal network, and of those it is compared
            with.
        network, small: the two sizes of U-Net.
        members: of the ensemble.
        coarse: how much coarser the solver is that stands beside the network, so that it takes
            about its time where such a grid still holds the body.
    """

    cells: int
    shapes: int
    held_out: int
    epochs: int
    short: int
    network: UNetOptions
    small: UNetOptions
    guo: EncoderDecoderOptions
    members: int
    coarse: int
    files: bool


SCALES = {
    "smoke": Scale(
        cells=64,
        shapes=210,
        held_out=20,
        epochs=24,
        short=4,
        network=UNetOptions(width=24, depth=4, patch=2),
        small=UNetOptions(width=16, depth=4, patch=2),
        guo=EncoderDecoderOptions(channels=(64, 128), strides=(8, 4)),
        members=2,
        coarse=2,
        files=False,
    ),
    "full": Scale(
        cells=128,
        shapes=1400,
        held_out=100,
        epochs=10,
        short=2,
        network=UNetOptions(width=24, depth=5, patch=2, multipliers=(1, 2, 3, 4, 4, 4)),
        small=UNetOptions(width=16, depth=5, patch=2, multipliers=(1, 2, 3, 4, 4, 4)),
        guo=EncoderDecoderOptions(channels=(128, 512), strides=(16, 4)),
        members=3,
        coarse=4,
        files=True,
    ),
}


# Data.


def make(job: Job) -> list[Path]:
    """Generate what the tier needs; `--samples` sets the number of shapes of trained families."""
    return list(_files(job, resume=job.resume).values())


def read(job: Job) -> Splits:
    """Training, validation and test shapes of the trained families, and the other test sets."""
    files = {name: load(path) for name, path in _files(job, resume=True).items()}
    shapes = files.pop("shapes")
    parts = split_by_group(
        shapes["sample_index"].values.tolist(), (0.86, 0.04, 0.10), seed=job.seed
    )
    train, valid, test = (shapes.isel(sample=part) for part in parts)
    return Splits(train=train, valid=valid, tests={"unseen shapes": test, **files})


def _files(job: Job, *, resume: bool) -> dict[str, Path]:
    scale = SCALES[job.tier]
    tunnel = Tunnel(cells=scale.cells)
    held_out = ShapeSamples(families=(HELD_OUT,), tunnel=tunnel)
    shapes = ShapeSamples(families=TRAINED, tunnel=tunnel)
    wanted: dict[str, tuple[ShapeSamples | GivenShapes, int]] = {
        "shapes": (shapes, job.samples or scale.shapes),
        "held-out family": (held_out, scale.held_out),
    }
    for name, found in (_catalogued() if scale.files else {}).items():
        wanted[name] = (GivenShapes(shapes=found, tunnel=tunnel), len(found))
    return {
        name: generate(
            task,
            count,
            job.data / f"{name.replace(' ', '-')}-{scale.cells}-{count}-seed{job.seed}.nc",
            seed=job.seed + place,
            workers=job.workers,
            resume=resume,
            attributes={
                "title": f"Steady laminar flow past bodies in a channel: {name}",
                "source": "sciml.flow: two-relaxation-time lattice Boltzmann, D2Q9",
                "references": "doi:10.1145/2939672.2939738",
            },
        )
        for place, (name, (task, count)) in enumerate(wanted.items())
    }


def _catalogued() -> dict[str, tuple[str, ...]]:
    """Airfoils and cars as JSON; a set that cannot be had is left out with a warning."""
    found = {}
    for name, prefix in (("airfoils", "flow/airfoils/"), ("cars", "flow/cars/")):
        try:
            paths = [fetch(entry) for entry in names(prefix)]
        except Unavailable as error:
            warnings.warn(f"the test set {name!r} is left out: {error}", stacklevel=2)
            continue
        shapes = (read_shape(path) for path in paths)
        if name == "cars":  # nose to the flow, and without the air trapped inside
            shapes = (shape.mirror("x").filled() for shape in shapes)
        found[name] = tuple(shape.to_json() for shape in shapes)
    return found


# Models.


def principal(job: Job) -> Model:
    """The U-Net on the signed distance."""
    scale = SCALES[job.tier]
    return _surrogate(job, scale.epochs, core=scale.network)


def guo(job: Job) -> Model:
    """The encoder with one decoder per field of Guo, Li and Iorio."""
    scale = SCALES[job.tier]
    return _surrogate(job, 2 * scale.short, core=scale.guo)


def short(**changes: str) -> Callable[[Job], Model]:
    """A smaller U-Net with a shorter training, to compare what differs at equal cost."""

    def build(job: Job) -> Model:
        scale = SCALES[job.tier]
        return _surrogate(job, scale.short, core=scale.small, **changes)

    return build


def ensemble(job: Job) -> Model:
    """Smaller U-Nets that differ by their seed."""
    scale = SCALES[job.tier]
    return Ensemble.of(_surrogate(job, scale.short, core=scale.small), scale.members)


def coarse(job: Job) -> Model:
    """The solver at about the time of a prediction."""
    return CoarseSolver(factor=SCALES[job.tier].coarse)


def _surrogate(job: Job, epochs: int, **options: object) -> SteadyFlow:
    training = TrainOptions(
        epochs=epochs,
        batch_size=8,
        learning_rate=1.5e-3,
        warmup_epochs=1,
        seed=job.seed,
        device=job.device,
    )
    return SteadyFlow(SteadyFlowOptions(**options), training=training)  # type: ignore[arg-type]


# Metrics.


def velocity_error(truth: xr.Dataset, prediction: xr.Dataset) -> xr.DataArray:
    """‖u − û‖₂ / ‖u‖₂ of each sample over the fluid."""
    fluid = truth["signed_distance"] > 0
    return relative_l2_error(truth["velocity"], prediction["velocity"], FLUID, weights=fluid)


def pressure_error(truth: xr.Dataset, prediction: xr.Dataset) -> xr.DataArray:
    """‖p − p̂‖₂ / ‖p‖₂ of each sample over the fluid."""
    fluid = truth["signed_distance"] > 0
    return relative_l2_error(truth["pressure"], prediction["pressure"], FLUID[1:], weights=fluid)


def drag_error(truth: xr.Dataset, prediction: xr.Dataset) -> xr.DataArray:
    """|F_x − F̂_x| / F_x: the solver's force on the links against that of the predicted fields."""
    drag = truth["force"].isel(component=0)
    return abs(drag_and_lift(truth, prediction).isel(component=0) - drag) / drag


def lift_error(truth: xr.Dataset, prediction: xr.Dataset) -> xr.DataArray:
    """|F_y − F̂_y| / F_x, so that a lift near zero does not count more than a large one."""
    lift = truth["force"].isel(component=1)
    difference = drag_and_lift(truth, prediction).isel(component=1) - lift
    return abs(difference) / truth["force"].isel(component=0)


def interval_coverage(truth: xr.Dataset, prediction: xr.Dataset) -> xr.DataArray | float:
    """Share of points of the fluid where the velocity lies in the interval of the ensemble."""
    if "velocity_interval" not in prediction:
        return float("nan")
    middle, half = prediction["velocity"], prediction["velocity_interval"]
    fluid = (truth["signed_distance"] > 0).broadcast_like(truth["velocity"])
    return coverage(truth["velocity"], middle - half, middle + half, FLUID, weights=fluid)


METRICS = {
    "velocity_error": Metric(
        function=velocity_error,
        unit="1",
        description="relative error of velocity over the fluid, mean over samples",
    ),
    "pressure_error": Metric(
        function=pressure_error,
        unit="1",
        description="relative error of pressure over the fluid, mean over samples",
    ),
    "drag_error": Metric(
        function=drag_error,
        unit="1",
        description="relative error of the drag computed from the predicted fields, median",
        reduce="median",
    ),
    "lift_error": Metric(
        function=lift_error,
        unit="1",
        description="error of the lift computed from the predicted fields over the drag, median",
        reduce="median",
    ),
    "divergence": Metric(
        function=lambda truth, prediction: divergence(truth, prediction),
        unit="s-1",
        description="root mean square divergence of velocity over the fluid, mean over samples",
    ),
    "coverage": Metric(
        function=interval_coverage,
        unit="1",
        description="share of the fluid where velocity lies in the ensemble's interval, "
        "calibrated to 0.9 on the validation shapes",
    ),
}


# What the report shows.


def figures(outcome: Outcome) -> Mapping[str, Figure]:
    """Best, median and worst unseen shapes, samples of the other sets, and all errors."""
    name = next(iter(outcome.models))
    drawn, errors = {}, {}
    for place, (test, truth) in enumerate(outcome.splits.tests.items()):
        prediction = outcome.predictions[name][test]
        error = velocity_error(truth, prediction).values
        errors[test] = error
        order = np.argsort(error)
        chosen = {"best": order[0], "median": order[order.size // 2], "worst": order[-1]}
        rows = {f"{word}\n{100 * error[i]:.1f} %": int(i) for word, i in chosen.items()}
        caption = (
            f"Best, median and worst of the {order.size} flows of the test set “{test}” by the "
            f"relative error of velocity of the model “{name}”; solver and prediction share "
            "their scale"
        )
        drawn[f"flows-{place}-{test.replace(' ', '-')}"] = comparison(
            truth, prediction, rows, caption=caption
        )
    drawn["errors"] = error_histogram(
        errors, caption=f"Errors of the model “{name}” on every test set"
    )
    return drawn


def tables(outcome: Outcome) -> Mapping[str, Table]:
    """Time per prediction beside the solver's, and errors family by family."""
    return {"times": _times(outcome), "families": _families(outcome)}


def _families(outcome: Outcome) -> Table:
    truth = outcome.splits.test
    name = next(iter(outcome.models))
    prediction = outcome.predictions[name][next(iter(outcome.splits.tests))]
    velocity = velocity_error(truth, prediction).values
    drag = drag_error(truth, prediction).values
    family = truth["family"].values
    rows = [
        (
            each.replace("_", " "),
            int(np.sum(family == each)),
            *_mean_median(velocity, drag, family == each),
        )
        for each in np.unique(family)
    ]
    return Table(
        title=f"Errors of “{name}” by family of shapes",
        columns=("family", "samples", "velocity error, mean [1]", "drag error, median [1]"),
        rows=rows,
    )


def _mean_median(velocity: np.ndarray, drag: np.ndarray, chosen: np.ndarray) -> tuple[float, float]:
    return float(velocity[chosen].mean()), float(np.median(drag[chosen]))


def _times(outcome: Outcome) -> Table:
    """Seconds a flow on one thread: networks at batch 1 and 64, and the solvers."""
    test = outcome.splits.test
    solver = _solver_seconds(test, SolverOptions())
    factor = SCALES[outcome.job.tier].coarse
    rows: list[Sequence[str | float]] = [("solver, same grid", solver, solver, 1.0, 1.0)]
    with limited_threads(1):
        quick = _median_seconds(
            lambda: CoarseSolver(factor=factor).predict(test.isel(sample=slice(4))), per=4
        )
        rows.append((f"solver, {factor} x coarser", quick, quick, solver / quick, solver / quick))
        for name, model in outcome.models.items():
            if isinstance(model, SteadyFlow):
                one, many = _network_seconds(model, test, 1), _network_seconds(model, test, 64)
                rows.append((name, one, many, solver / one, solver / many))
    return Table(
        title="Time per flow",
        columns=("", "batch 1 [s]", "batch 64 [s]", "speed-up at 1", "speed-up at 64"),
        rows=rows,
        note="One thread, medians of one run on this machine. The solver marches to a relative "
        "change of 1e-4 per convective time on three grids in turn; a network predicts from "
        "tensors in memory, both mirror images included.",
    )


def _solver_seconds(test: xr.Dataset, options: SolverOptions) -> float:
    """Median over five test samples."""
    seconds = []
    for i in range(5):
        one = test.isel(sample=i)
        distance = one["signed_distance"].values.astype(float)
        start = time.perf_counter()
        solve_distance(distance, float(one["reynolds_number"]), float(one["diameter"]), options)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def _network_seconds(model: SteadyFlow, test: xr.Dataset, batch: int) -> float:
    device = next(model.network.parameters()).device
    rows = np.arange(batch) % test.sizes["sample"]
    part = test.isel(sample=rows)
    fields = [
        torch.from_numpy(part[name].values.astype(np.float32)).to(device) for name in model.inputs
    ]

    def predict() -> None:
        model.evaluate(*fields)
        if device.type == "cuda":
            torch.cuda.synchronize()

    predict()
    return _median_seconds(predict, per=batch, repeats=5 if batch == 1 else 2)


def _median_seconds(work: Callable[[], object], *, per: int, repeats: int = 3) -> float:
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds) / per


case = Case(
    name="obstacle-flow",
    summary="Steady laminar flow past any shape: networks on the signed distance beside a solver",
    reference="doi:10.1145/2939672.2939738",
    generate=make,
    load=read,
    models={
        "u-net": principal,
        "guo": guo,
        "short-distance": short(representation="distance"),
        "short-mask": short(representation="mask"),
        "short-both": short(representation="both"),
        "short-stream-function": short(head="stream_function"),
        "ensemble": ensemble,
        "coarse-solver": coarse,
        "nearest-shape": lambda job: NearestShape(),
        "free-stream": lambda job: FreeStream(),
    },
    metrics=METRICS,
    accept={
        "smoke": {"u-net": {"velocity_error": at_most(0.06), "drag_error": at_most(0.08)}},
        "full": {"u-net": {"velocity_error": at_most(0.04), "drag_error": at_most(0.05)}},
    },
    figures=figures,
    tables=tables,
)
