"""A study of closures: flows to learn from, flows to judge by, and every model side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from matplotlib.figure import Figure
from scipy.stats import chi2

from sciml.case import Diagnostic, Job, Metric, Model, Outcome, Table
from sciml.data import Splits, fetch
from sciml.rans.anisotropy_figures import (
    PAIRS,
    anisotropy_maps,
    barycentric_map,
    error_by_distance,
)
from sciml.rans.baselines import Algebraic, BoostedTrees, ComponentClosure, ComponentOptions
from sciml.rans.closures import (
    linear_eddy_viscosity,
    quadratic_eddy_viscosity,
    wallin_johansson,
)
from sciml.rans.features import FeatureGroup
from sciml.rans.flows import joined, load_flow
from sciml.rans.frames import random_rotation, turned
from sciml.rans.labels import LabelReport, clean
from sciml.rans.network import traceless
from sciml.rans.realizability import realizable
from sciml.rans.surrogate import TensorBasisClosure, TensorBasisOptions
from sciml.surrogate import Ensemble
from sciml.train import TrainOptions

__all__ = ["ClosureStudy", "Scale", "closure_metrics", "flow_errors", "rotation_change"]

ALL: tuple[FeatureGroup, ...] = (
    "wall",
    "viscosity",
    "length",
    "energy",
    "pressure",
    "integrity",
)
"""Features of the extended closure."""

COVERAGE = 0.9


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What a tier costs.

    Attributes:
        cells: of each flow to learn from, at most, drawn at random.
        judged: of each test flow, at most; None judges by all.
        epochs: of every network.
        members: of the ensemble.
        hidden: widths of the hidden layers.
        batch: samples of an update.
        learning_rate: largest.
        iterations: trees of each component.
        turned: turned copies of each sample, for the plain network that is to learn rotations.
    """

    cells: int
    judged: int | None = None
    epochs: int
    members: int
    hidden: tuple[int, ...]
    batch: int = 1024
    learning_rate: float = 2e-3
    iterations: int = 150
    turned: int = 4


@dataclass(frozen=True, kw_only=True)
class ClosureStudy:
    """Closures learned on some flows and judged on others, never on cells of the same.

    Attributes:
        train: flows to learn from.
        valid: flows that say when to stop.
        tests: flows of each test set, the principal one first.
        scales: what each tier costs.
        groups: features of the extended closure.
        flow: reads a flow by name.
        smallest_energy: see :func:`sciml.rans.clean`.
    """

    train: Sequence[str]
    valid: Sequence[str]
    tests: Mapping[str, Sequence[str]]
    scales: Mapping[str, Scale]
    groups: tuple[FeatureGroup, ...] = ALL
    flow: Callable[[str], xr.Dataset] = load_flow
    smallest_energy: float = 1e-3

    def make(self, job: Job) -> list[Path]:
        """The files of the flows, fetched or found."""
        return [fetch(f"rans/{name}") for name in self._names]

    def read(self, job: Job) -> Splits:
        """Cells of the flows; each test set stands also in axes turned at random, flow by flow."""
        scale = self.scales[job.tier]
        train = [self._some(name, scale.cells, job.seed) for name in self.train]
        valid = [self._some(name, scale.cells, job.seed) for name in self.valid]
        tests = {
            title: joined([self._some(name, scale.judged, job.seed) for name in names])
            for title, names in self.tests.items()
        }
        first = next(iter(self.tests))
        frames = [
            turned(
                self._some(name, scale.judged, job.seed), random_rotation(100 * job.seed + place)
            )
            for place, name in enumerate(self.tests[first])
        ]
        return Splits(
            train=joined(train), valid=joined(valid), tests=tests | {"turned": joined(frames)}
        )

    def clean(self, name: str) -> tuple[xr.Dataset, LabelReport]:
        """The cells of a flow that can be judged, and what was left out."""
        return _clean(self.flow, name, self.smallest_energy)

    def models(self) -> dict[str, Callable[[Job], Model]]:
        """The extended closure first, then those of five invariants, then the baselines."""
        return {
            "extended tensor basis": self.ensemble(TensorBasisOptions(groups=self.groups)),
            "tensor basis": self.ensemble(TensorBasisOptions(time_scale="viscous")),
            "tensor basis, turnover time": self.ensemble(TensorBasisOptions()),
            "with covariance": self.single(TensorBasisOptions(groups=self.groups, ranks=3)),
            "components": self.components(0),
            "components, turned": self.components(1),
            "trees": lambda job: BoostedTrees(
                groups=self.groups, iterations=self.scales[job.tier].iterations, seed=job.seed
            ),
            **algebraic_models(),
        }

    def ensemble(self, options: TensorBasisOptions) -> Callable[[Job], Model]:
        """Several closures that differ by their seed."""

        def build(job: Job) -> Model:
            """The model of a run."""
            member = self.single(options)(job)
            assert isinstance(member, TensorBasisClosure)
            return Ensemble.of(member, self.scales[job.tier].members, coverage=COVERAGE)

        return build

    def single(self, options: TensorBasisOptions) -> Callable[[Job], Model]:
        """One closure."""

        def build(job: Job) -> Model:
            """The model of a run."""
            sized = replace(options, hidden=self.scales[job.tier].hidden)
            return TensorBasisClosure(sized, training=self.training(job))

        return build

    def components(self, share: int) -> Callable[[Job], Model]:
        """A plain network on components, with or without turned copies."""

        def build(job: Job) -> Model:
            """The model of a run."""
            scale = self.scales[job.tier]
            copies = share * scale.turned
            options = ComponentOptions(groups=self.groups, hidden=scale.hidden, turned=copies)
            epochs = max(1, scale.epochs // (1 + copies))
            return ComponentClosure(options, training=replace(self.training(job), epochs=epochs))

        return build

    def training(self, job: Job) -> TrainOptions:
        """How a network of this tier is fitted."""
        scale = self.scales[job.tier]
        return TrainOptions(
            epochs=scale.epochs,
            batch_size=scale.batch,
            learning_rate=scale.learning_rate,
            weight_decay=0.0,
            seed=job.seed,
            device="cpu",
        )

    def tables(self, outcome: Outcome) -> dict[str, Table]:
        """Errors flow by flow, in the axes of the data and in turned ones; labels left out."""
        return {
            "by flow": self.by_flow(outcome, next(iter(self.tests)), "Error of b by flow"),
            "turned": self.by_flow(outcome, "turned", "The same in axes turned at random"),
            "labels": self.labels(),
        }

    def figures(
        self,
        outcome: Outcome,
        flow: str,
        *,
        shown: Sequence[str] = ("extended tensor basis", "tensor basis", "linear"),
        axes: tuple[int, int] = (0, 1),
        pairs: Mapping[str, tuple[int, int]] = PAIRS,
        far: Sequence[str] = (),
    ) -> dict[str, Figure]:
        """Components of b in a test flow, its barycentric triangle, and error by distance.

        Args:
            outcome: of a run.
            flow: one of the principal test set.
            shown: models.
            axes: which coordinates span its plane.
            pairs: components.
            far: further test sets for the distances.
        """
        first = next(iter(self.tests))
        truth = outcome.splits.tests[first]
        own = truth["flow"].values == list(truth.attrs["flows"]).index(flow)
        one = truth.isel(sample=own).assign_attrs(flow=flow)
        found = {name: outcome.predictions[name][first].isel(sample=own) for name in shown}
        return {
            "anisotropy": anisotropy_maps(one, found, axes=axes, pairs=pairs),
            "barycentric": barycentric_map(one, found),
            "distance": self.distances(outcome, shown[0], [first, *far]),
        }

    def distances(self, outcome: Outcome, model: str, sets: Sequence[str]) -> Figure:
        """Error of a model's b against the distance from its training, flow by flow."""
        ensemble = outcome.models[model]
        assert isinstance(ensemble, Ensemble)
        distance: dict[str, list[np.ndarray]] = {}
        error: dict[str, list[np.ndarray]] = {}
        for which in sets:
            truth = outcome.splits.tests[which]
            far = ensemble.members[0].distance(truth)
            wrong = np.sqrt(_square(truth, outcome.predictions[model][which]))
            for place, name in enumerate(truth.attrs["flows"]):
                own, family = truth["flow"].values == place, self.clean(name)[0].attrs["family"]
                distance.setdefault(family, []).append(far[own])
                error.setdefault(family, []).append(wrong[own])
        return error_by_distance(
            {family: np.concatenate(parts) for family, parts in distance.items()},
            {family: np.concatenate(parts) for family, parts in error.items()},
        )

    def by_flow(self, outcome: Outcome, which: str, title: str) -> Table:
        """Models against flows of a test set."""
        truth = outcome.splits.tests[which]
        names = truth.attrs["flows"]
        none = xr.Dataset({"anisotropy": 0 * truth["anisotropy"]})
        rows: list[tuple[str | float, ...]] = [("b of the simulation", *flow_errors(truth, none))]
        for model, predictions in outcome.predictions.items():
            errors = flow_errors(truth, predictions[which])
            rows.append((model, *(float(error) for error in errors)))
        note = "Root-mean-square over all nine components and the cells kept, unweighted."
        return Table(title=title, columns=("model", *names), rows=rows, note=note)

    def labels(self) -> Table:
        """What was left out of each flow, by reason."""
        reports = [self.clean(name)[1] for name in self._names]
        reasons = list(reports[0].faults)
        rows: list[tuple[str | int, ...]] = [
            (r.flow, r.cells, r.kept, *(r.faults[reason] for reason in reasons)) for r in reports
        ]
        note = "A cell may have several faults. Cells with any are neither learned from nor judged."
        columns = ("flow", "cells", "kept", *reasons)
        return Table(title="Labels", columns=columns, rows=rows, note=note)

    @property
    def _names(self) -> list[str]:
        tests = (name for names in self.tests.values() for name in names)
        return list(dict.fromkeys([*self.train, *self.valid, *tests]))

    def _some(self, name: str, count: int | None, seed: int) -> xr.Dataset:
        ds = self.clean(name)[0]
        rng = np.random.default_rng([seed, self._names.index(name)])
        return ds.isel(cell=np.sort(rng.permutation(ds.sizes["cell"])[:count]))


@cache
def _clean(
    flow: Callable[[str], xr.Dataset], name: str, smallest_energy: float
) -> tuple[xr.Dataset, LabelReport]:
    return clean(flow(name), smallest_energy=smallest_energy)


def algebraic_models() -> dict[str, Callable[[Job], Model]]:
    """Closures in closed form."""
    return {
        "linear": lambda job: Algebraic(linear_eddy_viscosity),
        "quadratic": lambda job: Algebraic(quadratic_eddy_viscosity),
        "algebraic stress": lambda job: Algebraic(wallin_johansson),
    }


def flow_errors(
    truth: xr.Dataset, prediction: xr.Dataset, *, weighted: bool = False
) -> Float[np.ndarray, " flow"]:
    """Root-mean-square error of b in each flow, over all nine components.

    Args:
        truth: samples with `flow` and `anisotropy`.
        prediction: with `anisotropy`.
        weighted: by the volumes of the cells.
    """
    error = _square(truth, prediction)
    volume = truth["cell_volume"].values if weighted else np.ones_like(error)
    return np.sqrt(_by_flow(truth, error * volume) / _by_flow(truth, volume))


def closure_metrics() -> dict[str, Metric]:
    """Errors of the anisotropy, what is not realizable, and what a model says of itself."""
    found: dict[str, tuple[Callable[[xr.Dataset, xr.Dataset], Any], str]] = {
        "anisotropy_error": (
            lambda truth, found: flow_errors(truth, found).mean(),
            "root-mean-square error of b over nine components and cells, mean over the flows",
        ),
        "anisotropy_error_max": (
            lambda truth, found: flow_errors(truth, found).max(),
            "the same of the worst flow",
        ),
        "anisotropy_error_volume": (
            lambda truth, found: flow_errors(truth, found, weighted=True).mean(),
            "the same with cells weighted by their volume, mean over the flows",
        ),
        "linear_ratio": (
            _linear_ratio,
            "the error over that of the linear closure, of the flow where this is largest",
        ),
        "vouched_error": (
            _vouched,
            "root-mean-square error of b over the cells that the model vouches for; over all where "
            "it does not say",
        ),
        "unrealizable": (_unrealizable, "share of the cells with a b that no turbulence has"),
        "untrusted": (_untrusted, "share of the cells outside the trusted states"),
        "coverage": (
            _coverage,
            f"share inside the interval that should hold {COVERAGE:.0%} of the cells (with a "
            "covariance) or components (of an ensemble)",
        ),
    }
    return {
        name: Metric(function=function, unit="1", description=description)
        for name, (function, description) in found.items()
    }


def rotation_change(which: str) -> Diagnostic:
    """How much the error of a model changes when the axes of the flows are turned.

    Args:
        which: the test set that stands also turned.
    """

    def function(model: Any, splits: Splits) -> float:
        errors = [
            flow_errors(splits.tests[name], model.predict(splits.tests[name])).mean()
            for name in (which, "turned")
        ]
        return float(abs(errors[1] - errors[0]))

    return Diagnostic(
        function=function,
        unit="1",
        description="change of the error of b when each flow is seen in axes turned at random",
    )


def _square(truth: xr.Dataset, prediction: xr.Dataset) -> Float[np.ndarray, " sample"]:
    both = (ds["anisotropy"].transpose("sample", "i", "j").values for ds in (truth, prediction))
    one, other = both
    return ((one - other) ** 2).mean((1, 2))


def _by_flow(truth: xr.Dataset, values: Float[np.ndarray, " sample"]) -> Float[np.ndarray, " flow"]:
    return np.bincount(truth["flow"].values.astype(int), weights=values)


def _linear_ratio(truth: xr.Dataset, prediction: xr.Dataset) -> float:
    linear = Algebraic(linear_eddy_viscosity).predict(truth)
    return float((flow_errors(truth, prediction) / flow_errors(truth, linear)).max())


def _vouched(truth: xr.Dataset, prediction: xr.Dataset) -> float:
    square = _square(truth, prediction)
    if "trusted" in prediction:
        square = square[prediction["trusted"].values > 0.5]
    return float(np.sqrt(square.mean())) if len(square) else 0.0


def _unrealizable(truth: xr.Dataset, prediction: xr.Dataset) -> float:
    b = torch.from_numpy(prediction["anisotropy"].transpose("sample", "i", "j").values)
    return float((~realizable(b)).double().mean())


def _untrusted(truth: xr.Dataset, prediction: xr.Dataset) -> float:
    if "trusted" not in prediction:
        return np.nan
    return 1 - float((prediction["trusted"].values > 0.5).mean())


def _coverage(truth: xr.Dataset, prediction: xr.Dataset) -> float:
    error = truth["anisotropy"] - prediction["anisotropy"]
    if "anisotropy_interval" in prediction:
        return float((abs(error) <= prediction["anisotropy_interval"]).mean())
    if "anisotropy_factor" not in prediction:
        return np.nan
    b = torch.from_numpy(error.transpose("sample", "i", "j").values)
    free = traceless(b[:, (0, 0, 0, 1, 1, 2), (0, 1, 2, 1, 2, 2)])
    factor = torch.from_numpy(prediction["anisotropy_factor"].values)
    white = torch.linalg.solve_triangular(factor, free[..., None], upper=False)[..., 0]
    return float((white.square().sum(1) <= chi2.ppf(COVERAGE, 5)).double().mean())
