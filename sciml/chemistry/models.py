"""Models of a case: each is fitted on labelled states and ignites mixtures step by step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from sciml.case import Metric
from sciml.chemistry.active import VisitedStates
from sciml.chemistry.generation import KINDS, IgnitionStates, states_of
from sciml.chemistry.hybrid import HybridIntegrator, joined
from sciml.chemistry.ignition import Advances, is_test, one_step, roll_out
from sciml.chemistry.integration import DirectIntegration
from sciml.chemistry.surrogate import ReactionStep
from sciml.data import generate, load
from sciml.kernels.mixture.step import boxcox
from sciml.train import TrainOptions

__all__ = ["Fallback", "Learned", "Stepper", "ignition_metrics", "step_metrics"]


@dataclass(eq=False)
class Stepper:
    """Anything that advances cells, as a model of a case.

    Args:
        model: what advances them; it is fitted first where it can be.
    """

    model: Advances

    def fit(
        self,
        train: xr.Dataset,
        valid: xr.Dataset | None = None,
        *,
        folder: Path | None = None,
        resume: bool = False,
    ) -> Any:
        """Fit what can be fitted."""
        if fit := getattr(self.model, "fit", None):
            fit(train, valid, folder=folder, resume=resume)

    def predict(self, ds: xr.Dataset) -> xr.Dataset:
        """Roll-outs of conditions to ignite, or one step of labelled states."""
        return predicted(self.model, ds)


@dataclass(eq=False)
class Learned:
    """A surrogate that is fitted twice: the second time also on states that the first came to.

    Args:
        surrogate: to fit.
        conditions: unburnt states, for the way of the surrogate.
        scout: how the first one is fitted; none fits once.
        batches: of `VisitedStates`.
        visited: its options.
        workers: processes that make them.
        seed: of these states.
        doubted: share of the validation states along trajectories that are no longer trusted, those
            of the kinds in which the surrogate is most wrong.
    """

    surrogate: ReactionStep
    conditions: IgnitionStates
    scout: TrainOptions | None = None
    batches: int = 10
    visited: Mapping[str, Any] = field(default_factory=dict)
    workers: int = 1
    seed: int = 0
    doubted: float = 0.3

    def fit(
        self,
        train: xr.Dataset,
        valid: xr.Dataset | None = None,
        *,
        folder: Path | None = None,
        resume: bool = False,
    ) -> Any:
        """Fit, visit, and fit again; each is resumed where it was cut off."""
        if self.scout is not None and folder is not None:
            train = joined(train, self._visited(train, valid, folder, resume))
        history = self.surrogate.fit(train, valid, folder=folder, resume=resume)
        if valid is not None:
            along = valid["kind"].values == KINDS.index("along")
            self.surrogate.doubt(valid.isel(sample=along), share=self.doubted)
        return history

    def predict(self, ds: xr.Dataset) -> xr.Dataset:
        """Roll-outs of conditions to ignite, or one step of labelled states."""
        return predicted(self.surrogate, ds)

    def save(self, folder: Path, *, figures: Mapping[str, float] | None = None) -> None:
        """Save the surrogate."""
        self.surrogate.save(folder, figures=figures)

    def load(self, folder: Path) -> Learned:
        """Bring back what `save` wrote."""
        return replace(self, surrogate=ReactionStep.load(folder))

    def _visited(
        self, train: xr.Dataset, valid: xr.Dataset | None, folder: Path, resume: bool
    ) -> xr.Dataset:
        path, kept = folder / "visited.nc", folder / "scout" / "surrogate"
        if not (resume and path.exists()):
            scout = ReactionStep(self.surrogate.options, training=self.scout)
            scout.fit(train, valid, folder=folder / "scout", resume=resume)
            scout.save(kept)
            task = VisitedStates(surrogate=str(kept), conditions=self.conditions, **self.visited)
            parts = path.with_name(path.name + ".parts").exists()
            generate(task, self.batches, path, seed=self.seed, workers=self.workers, resume=parts)
        return states_of(load(path))


@dataclass(eq=False)
class Fallback:
    """A fitted surrogate with direct integration where it is not trusted.

    Args:
        surrogate: folder of it.
        solver: direct integration.
    """

    surrogate: Path
    solver: DirectIntegration

    def fit(
        self,
        train: xr.Dataset,
        valid: xr.Dataset | None = None,
        *,
        folder: Path | None = None,
        resume: bool = False,
    ) -> Any:
        """Nothing is learned: the surrogate is fitted already."""
        self._hybrid = HybridIntegrator(ReactionStep.load(self.surrogate), self.solver)

    def predict(self, ds: xr.Dataset) -> xr.Dataset:
        """Roll-outs of conditions to ignite, or one step of labelled states."""
        return predicted(self._hybrid, ds)


def predicted(model: Advances, ds: xr.Dataset) -> xr.Dataset:
    """Roll-outs of conditions to ignite, or one step of labelled states."""
    return roll_out(model, ds) if is_test(ds) else one_step(model, ds)


def ignition_metrics() -> dict[str, Metric]:
    """Errors of roll-outs, what is conserved, and errors of one step by the kind of state."""
    ratio = {
        "delay_error": (_delay, np.mean, "mean relative error of the ignition delay"),
        "delay_error_max": (_delay, np.max, "largest relative error of the ignition delay"),
        "peak_error": (_peak, np.mean, "mean relative error of the largest H, O and OH"),
        "untrusted": (_untrusted, np.mean, "share of the steps outside the trusted states"),
        "element_drift": (_elements, np.max, "largest relative change of an element"),
        "mass_drift": (_mass, np.max, "largest change of the sum of mass fractions"),
    }
    kelvins = {
        "temperature_error": (_final, np.mean, "mean error of the final temperature"),
        "temperature_error_max": (_final, np.max, "largest error of the final temperature"),
    }
    found = {name: _metric(*given, unit="1") for name, given in ratio.items()}
    found |= {name: _metric(*given, unit="K") for name, given in kelvins.items()}
    return found | step_metrics()


def step_metrics() -> dict[str, Metric]:
    """Errors of one step by the kind of state; NaN of test sets without labelled states."""
    return {f"step_error_{kind}": _step_metric(kind) for kind in KINDS}


def _metric(values: Any, reduce: Any, description: str, *, unit: str) -> Metric:
    def function(truth: xr.Dataset, prediction: xr.Dataset) -> float:
        return float(reduce(values(truth, prediction))) if is_test(truth) else math.nan

    return Metric(function=function, unit=unit, description=description)


def _delay(truth: xr.Dataset, prediction: xr.Dataset) -> np.ndarray:
    return abs(prediction["ignition_delay"].values / truth["ignition_delay"].values - 1)


def _final(truth: xr.Dataset, prediction: xr.Dataset) -> np.ndarray:
    return abs(prediction["temperature_final"].values - truth["temperature_final"].values)


def _peak(truth: xr.Dataset, prediction: xr.Dataset) -> np.ndarray:
    return abs(prediction["peak"].values / truth["peak"].values - 1)


def _untrusted(truth: xr.Dataset, prediction: xr.Dataset) -> np.ndarray:
    return prediction["untrusted"].values


def _elements(truth: xr.Dataset, prediction: xr.Dataset) -> np.ndarray:
    return prediction["element_drift"].values


def _mass(truth: xr.Dataset, prediction: xr.Dataset) -> np.ndarray:
    return prediction["mass_drift"].values


def _step_metric(kind: str) -> Metric:
    def function(truth: xr.Dataset, prediction: xr.Dataset) -> float:
        """Error of one step over the change."""
        if "kind" not in truth:
            return math.nan
        chosen = truth["kind"].values == KINDS.index(kind)
        before, after, found = (
            boxcox(torch.from_numpy(ds[name].values[chosen]), 0.1)
            for ds, name in (
                (truth, "mass_fraction"),
                (truth, "mass_fraction_after"),
                (prediction, "mass_fraction_after"),
            )
        )
        return float((found - after).abs().sum() / (after - before).abs().sum())

    where = {
        "along": "along trajectories",
        "near": "beside them, perturbed",
        "mixed": "between them, mixed",
    }
    return Metric(
        function=function,
        unit="1",
        description=f"error of one step in transformed mass fractions, over the change, "
        f"of states {where[kind]}",
    )
