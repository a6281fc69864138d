"""Ducts whose secondary flow a network makes: a learned stress, back in a solver."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from sciml.case import Case, Job, Metric, Model, Outcome, Table, at_least, at_most
from sciml.data import Splits, fetch
from sciml.rans import joined, load_flow, quadratic_eddy_viscosity, wallin_johansson
from sciml.rans.challenge import challenge_score
from sciml.rans.features import FeatureGroup
from sciml.rans.propagation import beyond_linear, duct_of
from sciml.rans.propagation.figures import secondary_flow
from sciml.rans.propagation.learning import (
    Propagated,
    PropagatedNetwork,
    channel_state,
    fluctuation_scale,
    with_remainder,
)
from sciml.rans.surrogate import TensorBasisClosure, TensorBasisOptions
from sciml.surrogate import Ensemble
from sciml.train import TrainOptions

GROUPS: tuple[FeatureGroup, ...] = ("wall", "viscosity", "length", "energy")
"""Without the pressure gradient: the k-omega SST model has none in the section of a duct."""

VALID = "AR_7_Ret_180"


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What a tier costs: flows to learn from, cells of each duct, test ducts, and the network."""

    ducts: tuple[str, ...]
    channels: tuple[str, ...]
    tests: tuple[str, ...]
    cells: int
    epochs: int
    members: int
    hidden: tuple[int, ...]


SCALES = {
    "smoke": Scale(
        ducts=("AR_1_Ret_180",),
        channels=("channel_MKM_395",),
        tests=("AR_1_Ret_360",),
        cells=1500,
        epochs=40,
        members=2,
        hidden=(48, 48),
    ),
    "full": Scale(
        ducts=("AR_1_Ret_180", "AR_3_Ret_180", "AR_5_Ret_180"),
        channels=(
            "channel_AJZM_180",
            "channel_MKM_395",
            "channel_AJZM_550",
            "channel_MKM_590",
            "channel_AJZM_950",
        ),
        tests=("AR_1_Ret_360", "AR_3_Ret_360", "AR_14_Ret_180"),
        cells=4000,
        epochs=40,
        members=5,
        hidden=(64, 64, 64),
    ),
}


@cache
def duct(name: str) -> xr.Dataset:
    """A duct with what its eddy viscosity leaves of the stress, where that is known."""
    flow = load_flow(name)
    gradient = flow["velocity_gradient_reference"].values
    flow = with_remainder(flow, flow["reynolds_stress"].values, gradient)
    known = np.isfinite(flow["anisotropy"].values).all((1, 2))
    known &= flow["turbulent_kinetic_energy"].values > 0
    return flow if known.all() else flow.isel(cell=np.flatnonzero(known))


def some(flow: xr.Dataset, count: int, seed: int) -> xr.Dataset:
    """Cells drawn at random."""
    order = np.random.default_rng(seed).permutation(flow.sizes["cell"])[:count]
    return flow.isel(cell=np.sort(order))


def make(job: Job) -> list[Path]:
    """The files of the ducts and of the channels, fetched or found."""
    scale = SCALES[job.tier]
    names = [*scale.ducts, VALID, *scale.tests]
    return [fetch(f"rans/{name}") for name in names] + [fetch("rans/channel_profiles")]


def read(job: Job) -> Splits:
    """Ducts and channels to learn from; each test set is a whole duct."""
    scale = SCALES[job.tier]
    ducts = [some(duct(name), scale.cells, job.seed) for name in scale.ducts]
    channels = [channel_state(name) for name in scale.channels]
    tests = {name: duct(name).rename(cell="sample").assign_attrs(flow=name) for name in scale.tests}
    valid = joined([some(duct(VALID), 2 * scale.cells, job.seed)])
    return Splits(train=joined([*ducts, *channels]), valid=valid, tests=tests)


def network(job: Job) -> Model:
    """Networks for the remainder of the stress, their mean in the solver."""
    scale = SCALES[job.tier]
    options = TensorBasisOptions(groups=GROUPS, hidden=scale.hidden, realizable=False)
    training = TrainOptions(
        epochs=scale.epochs,
        batch_size=512,
        learning_rate=2e-3,
        weight_decay=0.0,
        seed=job.seed,
        device="cpu",
    )
    member = TensorBasisClosure(options, training=training)
    return PropagatedNetwork(Ensemble.of(member, scale.members))


def algebraic(closure: Callable[..., np.ndarray]) -> Callable[[Job], Model]:
    """A closure in closed form in the solver, with the k of the turbulence model."""

    def remainder(state: xr.Dataset) -> np.ndarray:
        G, k = state["velocity_gradient"].values, state["turbulent_kinetic_energy"].values
        b = closure(G, k, state["dissipation_rate"].values)
        rest = beyond_linear(b, G, k, state["eddy_viscosity"].values)
        return rest * (k / fluctuation_scale(state))[:, None, None]

    return lambda job: Propagated(remainder)


def nothing(state: xr.Dataset) -> np.ndarray:
    """No remainder: the eddy viscosity alone."""
    return np.zeros((state.sizes["cell"], 3, 3))


def exact(state: xr.Dataset) -> np.ndarray:
    """The remainder of the simulation itself: the best that any closure can do."""
    return state["anisotropy"].values


def score(truth: xr.Dataset, prediction: xr.Dataset) -> float:
    """That of the challenge."""
    return challenge_score(
        truth.attrs["flow"], truth["position"].values, prediction["velocity"].values
    )


def strongest(ds: xr.Dataset, name: str) -> float:
    """Largest secondary velocity of a duct, m/s."""
    return float(np.hypot(*ds[name].values[:, 1:].T).max())


def secondary_share(truth: xr.Dataset, prediction: xr.Dataset) -> float:
    """Largest secondary velocity over the bulk velocity."""
    bulk = duct_of(truth.rename(sample="cell")).bulk_velocity
    return strongest(prediction, "velocity") / bulk


def secondary_error(truth: xr.Dataset, prediction: xr.Dataset) -> float:
    """Relative error of the largest secondary velocity."""
    return abs(strongest(prediction, "velocity") / strongest(truth, "velocity_reference") - 1)


def figures(outcome: Outcome) -> Mapping[str, Figure]:
    """Secondary flow of each duct, beside the simulation's."""
    found = {}
    for name, truth in outcome.splits.tests.items():
        ours = outcome.predictions["network"][name]["velocity"].values
        found[name] = secondary_flow(
            truth.rename(sample="cell"), truth["velocity_reference"].values, {"network": ours}
        )
    return found


def tables(outcome: Outcome) -> Mapping[str, Table]:
    """Scores before and after, duct by duct."""
    rows: list[tuple[str | float, ...]] = []
    for name, truth in outcome.splits.tests.items():
        before = truth.assign(velocity=truth["velocity"])
        rows.append(
            (
                name,
                score(truth, before),
                *(score(truth, found[name]) for found in outcome.predictions.values()),
            )
        )
    columns = ("duct", "k-omega SST of the data", *outcome.predictions)
    note = "Mean error of the mean velocity over its mean, at the points of The Closure Challenge."
    return {"scores": Table(title="Scores", columns=columns, rows=rows, note=note)}


case = Case(
    name="square-duct",
    summary="Secondary flow of the second kind: a learned stress, back in a solver of ducts",
    reference="Vinuesa et al. 2016 (DNS); Wu et al. 2019, doi:10.1017/jfm.2019.205; "
    "The Closure Challenge",
    generate=make,
    load=read,
    threads=1,
    models={
        "network": network,
        "k-omega SST": lambda job: Propagated(nothing),
        "quadratic": algebraic(quadratic_eddy_viscosity),
        "algebraic stress": algebraic(wallin_johansson),
        "stress of the simulation": lambda job: Propagated(exact),
    },
    metrics={
        "score": Metric(
            function=score,
            unit="1",
            description="mean error of the mean velocity over its mean, at the points of the "
            "challenge",
        ),
        "secondary_velocity": Metric(
            function=secondary_share,
            unit="1",
            description="largest secondary velocity over the bulk velocity",
        ),
        "secondary_error": Metric(
            function=secondary_error,
            unit="1",
            description="relative error of the largest secondary velocity",
        ),
        "converged": Metric(
            function=lambda truth, prediction: prediction["converged"],
            unit="1",
            description="one if the solver came to rest",
        ),
    },
    accept={
        "smoke": {
            "network": {
                "score": at_most(0.1),
                "secondary_error": at_most(0.6),
                "converged": at_least(1.0),
            },
        },
        "full": {
            "network": {
                "score": at_most(0.047),
                "score@AR_3_Ret_360": at_most(0.055),
                "score@AR_14_Ret_180": at_most(0.03),
                "secondary_error": at_most(0.25),
                "secondary_error@AR_3_Ret_360": at_most(0.25),
                "secondary_error@AR_14_Ret_180": at_most(0.25),
                "converged": at_least(1.0),
            },
        },
    },
    figures=figures,
    tables=tables,
)
