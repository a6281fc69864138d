"""What a learned model of a dynamical system must beat, and the ceiling it cannot pass.

All are models of a case: `fit` on trajectories, `predict` the times of a data set from its first
states. A prediction reads no more than the first `history` times of `state` (see
`sciml.dynamics.systems.history_of`; 1 unless the data set says otherwise), returns these as they
were given, and goes on from the last of them. A forecast that blows up is returned with NaN from
there on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from scipy.spatial import cKDTree
from torch import Tensor

from sciml.dynamics.fields.polynomial import Polynomial
from sciml.dynamics.fields.regression import (
    central_differences,
    fit_polynomial,
    fit_polynomial_weakly,
)
from sciml.dynamics.integrators import RungeKutta, integrate
from sciml.dynamics.systems import Lorenz63, history_of, times_of

__all__ = ["Analog", "NextGenerationReservoir", "SINDy", "TrueField"]

T = TypeVar("T")

DISTANT = 1e6
"""States farther than this from zero count as lost."""


@dataclass(kw_only=True)
class TrueField:
    """The true field with RK4: no model of this field with this scheme can do better.

    Args:
        system: the field.
        step: longest step of the scheme; None takes one step from each time to the next.
    """

    system: Lorenz63 = field(default_factory=Lorenz63)
    step: float | None = None

    def fit(
        self,
        train: xr.Dataset,
        valid: xr.Dataset | None = None,
        *,
        folder: Path | None = None,
        resume: bool = False,
    ) -> None:
        """Nothing is learned."""

    def predict(self, ds: xr.Dataset) -> xr.Dataset:
        """Integrate from the last state of the history."""
        return _integrated(self.system, ds, self.step)


@dataclass(kw_only=True)
class SINDy:
    """A sparse polynomial field by least squares, integrated with RK4.

    Args:
        degree: of the polynomial.
        threshold: smaller coefficients become zero.
        ridge: see `fit_polynomial`.
        form: "strong" regresses on central differences, "weak" on integrals against test functions,
            which noise disturbs far less.
        order: of the central differences.
        width: half the support of the test functions, in steps.
        step: longest step of RK4 in forecasts; None takes one from each time to the next.

    Brunton, Proctor and Kutz, 2016, doi:10.1073/pnas.1517384113; Messenger and Bortz, 2021,
    doi:10.1137/20M1343166.
    """

    degree: int = 2
    threshold: float = 0.1
    ridge: float = 0.0
    form: Literal["strong", "weak"] = "strong"
    order: int = 8
    width: int = 20
    step: float | None = None

    def __post_init__(self) -> None:
        self._field: Polynomial | None = None

    @property
    def field(self) -> Polynomial:
        """The fitted field, for coefficients and exponents.

        Raises:
            ValueError: not fitted.
        """
        return _fitted(self._field, self)

    def fit(
        self,
        train: xr.Dataset,
        valid: xr.Dataset | None = None,
        *,
        folder: Path | None = None,
        resume: bool = False,
    ) -> None:
        """Regress; the training trajectories need constant steps of time."""
        step, states = _steps(train), torch.from_numpy(_states(train))
        if self.form == "weak":
            self._field = fit_polynomial_weakly(
                states,
                step,
                degree=self.degree,
                width=self.width,
                threshold=self.threshold,
                ridge=self.ridge,
            )
        else:
            inner, rates = central_differences(states, step, order=self.order)
            self._field = fit_polynomial(
                inner, rates, degree=self.degree, threshold=self.threshold, ridge=self.ridge
            )

    def predict(self, ds: xr.Dataset) -> xr.Dataset:
        """Integrate from the last state of the history."""
        return _integrated(self.field, ds, self.step)


@dataclass(kw_only=True)
class Analog:
    r"""Analog forecasting: what followed the nearest states of the training data.

    One step adds to x the increment of its k nearest neighbours: their mean, weighted by
    $\exp(-d^2 / d_k^2)$ with d the distances in standardised components ("constant"), or the value
    at x of the linear regression of increments on states with these weights ("linear").

    Args:
        neighbours: k.
        local: "constant" or "linear".

    Lorenz, 1969, doi:10.1175/1520-0469(1969)26<636:APARBN>2.0.CO;2; Lguensat et al., 2017,
    doi:10.1175/MWR-D-16-0441.1.
    """

    neighbours: int = 20
    local: Literal["constant", "linear"] = "linear"

    def __post_init__(self) -> None:
        self._tree: cKDTree | None = None

    def fit(
        self,
        train: xr.Dataset,
        valid: xr.Dataset | None = None,
        *,
        folder: Path | None = None,
        resume: bool = False,
    ) -> None:
        """Keep all pairs of successive states; those with a gap are left out.

        Raises:
            ValueError: fewer pairs than neighbours.
        """
        states, self._step = _states(train), _steps(train)
        now, after = states[:, :-1].reshape(-1, states.shape[2]), states[:, 1:]
        increments = after.reshape(now.shape) - now
        whole = np.isfinite(increments).all(1)
        if whole.sum() < self.neighbours:
            raise ValueError(
                f"{whole.sum()} pairs of states are fewer than {self.neighbours} neighbours: "
                "give more data or fewer neighbours"
            )
        self._size = now[whole].std(0)
        self._states, self._increments = now[whole] / self._size, increments[whole]
        self._tree = cKDTree(self._states)

    def predict(self, ds: xr.Dataset) -> xr.Dataset:
        """Step on from the last state of the history; times must have the training's step."""
        _fitted(self._tree, self)
        return _stepped(self._advance, ds, self._step, needed=1)

    def _advance(self, past: Float[np.ndarray, "sample 1 component"]) -> np.ndarray:
        state = past[:, -1]
        distance, found = _fitted(self._tree, self).query(state / self._size, self.neighbours)
        distance = distance.reshape(len(state), -1)
        increments = self._increments[found].reshape(*distance.shape, -1)
        radius = np.maximum(distance[:, -1:], 1e-12)
        weight = np.exp(-((distance / radius) ** 2))[..., None]
        weight = weight / weight.sum(1, keepdims=True)
        if self.local == "constant":
            return state + (weight * increments).sum(1)
        around = self._states[found].reshape(increments.shape) - (state / self._size)[:, None]
        around = around / radius[..., None]
        design = np.concatenate([np.ones_like(around[..., :1]), around], axis=-1)
        normal = np.swapaxes(design, 1, 2) @ (weight * design)
        normal += 1e-8 * np.eye(normal.shape[1])
        right = np.swapaxes(design, 1, 2) @ (weight * increments)
        return state + np.linalg.solve(normal, right)[:, 0]


@dataclass(kw_only=True)
class NextGenerationReservoir:
    r"""Next-generation reservoir computing: ridge regression on a few delays and their products.

    $x_{n+1} = x_n + W \phi,\quad \phi = (1,\, l,\, l \otimes l),\quad
    l = (x_n, x_{n-s}, \dots, x_{n-(k-1)s})$

    with W from ridge regression on the training increments, and x standardised. It needs the last
    1 + (k−1) s states before a forecast.

    Args:
        delays: k.
        spacing: s, in steps.
        ridge: weight of the squares of W, relative to the mean squared error.

    Gauthier et al., "Next generation reservoir computing", 2021, doi:10.1038/s41467-021-25801-2.
    """

    delays: int = 2
    spacing: int = 1
    ridge: float = 1e-8

    def __post_init__(self) -> None:
        self._weights: np.ndarray | None = None

    @property
    def needed(self) -> int:
        """States that must be known before a forecast."""
        return 1 + (self.delays - 1) * self.spacing

    def fit(
        self,
        train: xr.Dataset,
        valid: xr.Dataset | None = None,
        *,
        folder: Path | None = None,
        resume: bool = False,
    ) -> None:
        """Regress the increments on the features; rows with a gap are left out."""
        states, self._step = _states(train), _steps(train)
        self._mean = np.nanmean(states, axis=(0, 1))
        self._size = np.nanstd(states, axis=(0, 1))
        scaled = (states - self._mean) / self._size
        count = states.shape[1] - self.needed
        delayed = [
            scaled[:, self.needed - 1 - d * self.spacing :][:, :count] for d in range(self.delays)
        ]
        features = _quadratic(np.concatenate(delayed, axis=-1)).reshape(
            -1, self._count(states.shape[2])
        )
        increments = np.diff(scaled, axis=1)[:, self.needed - 1 :].reshape(-1, states.shape[2])
        whole = np.isfinite(features).all(1) & np.isfinite(increments).all(1)
        if whole.sum() < features.shape[1]:
            raise ValueError(
                f"{whole.sum()} training steps cannot fit {features.shape[1]} features: give more"
            )
        self._weights = _ridge(features[whole], increments[whole], self.ridge)

    def predict(self, ds: xr.Dataset) -> xr.Dataset:
        """Step on from the history; times must have the training's step.

        Raises:
            ValueError: not fitted, another step of time, or too short a history.
        """
        _fitted(self._weights, self)
        return _stepped(self._advance, ds, self._step, needed=self.needed)

    def _advance(self, past: Float[np.ndarray, "sample delay component"]) -> np.ndarray:
        scaled = (past - self._mean) / self._size
        linear = np.concatenate(
            [scaled[:, -1 - d * self.spacing] for d in range(self.delays)], axis=-1
        )
        return past[:, -1] + self._size * (_quadratic(linear) @ _fitted(self._weights, self))

    def _count(self, components: int) -> int:
        n = self.delays * components
        return 1 + n + n * (n + 1) // 2


def _quadratic(linear: np.ndarray) -> np.ndarray:
    """1, the entries, and the products of two of them."""
    rows, columns = np.triu_indices(linear.shape[-1])
    products = linear[..., rows] * linear[..., columns]
    return np.concatenate([np.ones_like(linear[..., :1]), linear, products], axis=-1)


def _ridge(features: np.ndarray, targets: np.ndarray, ridge: float) -> np.ndarray:
    """Ridge regression by least squares on the stacked system, which squares no condition."""
    count = features.shape[1]
    damping = np.sqrt(ridge * len(features)) * np.eye(count)
    left = np.concatenate([features, damping])
    right = np.concatenate([targets, np.zeros((count, targets.shape[1]))])
    return np.linalg.lstsq(left, right, rcond=None)[0]


def _fitted(value: T | None, model: object) -> T:
    if value is None:
        raise ValueError(f"this {type(model).__name__} is not fitted: call fit")
    return value


def _states(ds: xr.Dataset) -> Float[np.ndarray, "sample time component"]:
    state = ds["state"].transpose("sample", "time", "component").astype(np.float64)
    if "mask" in ds:
        state = state.where(ds["mask"].transpose(*state.dims) > 0)
    return np.ascontiguousarray(state.values)


def _steps(ds: xr.Dataset) -> float:
    """The one step of all times."""
    gaps = np.diff(times_of(ds), axis=1)
    step = float(gaps.mean())
    far = abs(gaps - step) > 1e-6 * step
    if far.any():
        sample, place = np.argwhere(far)[0]
        raise ValueError(
            f"the times of sample {sample} step by {gaps[sample, place]:g} at position "
            f"{place + 1}, {step:g} on average: this model needs constant steps"
        )
    return step


def _integrated(
    model: Callable[[Tensor], Tensor], ds: xr.Dataset, step: float | None
) -> xr.Dataset:
    begin, states = history_of(ds) - 1, _states(ds)
    times = torch.from_numpy(np.array(times_of(ds)[:, begin:]))
    with torch.no_grad():
        found = integrate(
            model,
            torch.from_numpy(np.array(states[:, begin])),
            times,
            scheme=RungeKutta(step=step),
            finite=False,
        )
    return _labelled(ds, np.concatenate([states[:, :begin], found.numpy()], axis=1))


def _stepped(
    advance: Callable[[np.ndarray], np.ndarray], ds: xr.Dataset, step: float, *, needed: int
) -> xr.Dataset:
    known, given = history_of(ds), _states(ds)
    if known < needed:
        raise ValueError(
            f"this model needs the last {needed} states before a forecast, but the data set gives "
            f"{known}: set its variable or attribute `history`"
        )
    if given.shape[1] > 1 and abs(_steps(ds) - step) > 1e-6 * step:
        raise ValueError(
            f"the forecast's times step by {_steps(ds):g}, those of the training data by {step:g}: "
            "this model knows no other step"
        )
    states = np.full(given.shape, np.nan)
    states[:, :known] = given[:, :known]
    alive = np.isfinite(states[:, known - needed : known]).all((1, 2))
    for t in range(known, given.shape[1]):
        if not alive.any():
            break
        new = advance(states[alive, t - needed : t])
        bad = ~(abs(new) < DISTANT).all(1)
        new[bad] = np.nan
        states[alive, t] = new
        alive[alive] = ~bad
    return _labelled(ds, states)


def _labelled(ds: xr.Dataset, states: np.ndarray) -> xr.Dataset:
    lost = np.logical_or.accumulate(~(abs(states) < DISTANT).all(2), axis=1)
    begin = history_of(ds)
    lost[:, :begin] = False
    values = np.where(lost[..., None], np.nan, states)
    kept = ds[["observation_time"]] if "observation_time" in ds else ds[[]]
    labelled = ds["state"].transpose("sample", "time", "component").copy(data=values)
    return kept.assign(state=labelled.assign_attrs(units="1"))
