"""Active sampling: states that a fitted surrogate comes to by itself, where it is most wrong."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float

from sciml.chemistry.generation import IgnitionStates, label
from sciml.chemistry.ignition import Advances, one_step
from sciml.chemistry.sampling import States, along, join
from sciml.chemistry.surrogate import ReactionStep
from sciml.kernels.mixture.step import boxcox

__all__ = ["VisitedStates", "step_error", "visited"]

DOUBTS = 3
"""Steps in a row that a model may doubt before its way is at an end."""

_EXPONENT = 0.1
_STILL = 1e-5
"""Change of transformed mass fractions below which a state counts as one at equilibrium."""


def visited(
    model: Advances,
    conditions: States,
    *,
    time_step: Float[np.ndarray, " cell"],
    steps: int,
    count: int,
    rng: np.random.Generator,
) -> tuple[States, Float[np.ndarray, " state"]]:
    """States on the way of a model from some conditions on, and the time step of each.

    Half of them are spread evenly over the path (see `sciml.chemistry.along`), the other half over
    the logarithm of time, so that the slow approach to equilibrium has its share. A way ends where
    the model has not trusted itself for some steps: what it does far from all training states
    teaches nothing.

    Args:
        model: what advances the cells.
        conditions: where it begins.
        time_step: of each, s.
        steps: how many at most.
        count: states from each condition.
        rng: random numbers.
    """
    T, p, Y = (array.copy() for array in conditions)
    ways = [[States(*(array[cell] for array in (T, p, Y)))] for cell in range(len(T))]
    doubts, on = np.zeros(len(T), int), np.arange(len(T))
    for _ in range(steps):
        found = model.advance(T[on], p[on], Y[on], time_step[on])
        T[on], Y[on] = found.temperature, found.mass_fractions
        doubts[on] = np.where(found.trusted, 0, doubts[on] + 1)
        for cell in on:
            ways[cell].append(States(T[cell].copy(), p[cell].copy(), Y[cell].copy()))
        on = on[doubts[on] < DOUBTS]
        if not len(on):
            break
    chosen, sizes = [], []
    for way in ways:
        own = States(*(np.array(column) for column in zip(*way, strict=True)))
        later = np.exp(rng.uniform(0, np.log(len(way)), count - count // 2)).astype(int) - 1
        chosen += [along(own, count // 2), States(*(array[later] for array in own))]
        sizes.append(count)
    return join(*chosen), np.repeat(time_step, sizes)


def step_error(surrogate: ReactionStep, states: xr.Dataset) -> Float[np.ndarray, " sample"]:
    """Mean over the reactive species of |Δz - Δẑ| for labelled states, which need a result."""
    exponent = surrogate.options.exponent
    found = one_step(surrogate, states)
    both = (found["mass_fraction_after"].values, states["mass_fraction_after"].values)
    one, other = (boxcox(torch.from_numpy(Y), exponent) for Y in both)
    return (one - other).abs().mean(1).numpy()


def step_change(states: xr.Dataset) -> Float[np.ndarray, " sample"]:
    """Mean over the species of |Δz| for labelled states."""
    both = (states[name].values for name in ("mass_fraction", "mass_fraction_after"))
    one, other = (boxcox(torch.from_numpy(Y), _EXPONENT) for Y in both)
    return (one - other).abs().mean(1).numpy()


@dataclass(frozen=True, kw_only=True)
class VisitedStates:
    """Labelled states on a surrogate's own way through ignitions: a `SampleTask`.

    A sample is a batch of ignitions. Of the states on their way those are kept in which the
    surrogate is most wrong: where a roll-out goes astray it comes to states that no trajectory of
    the truth has, and there it has to learn the way back. Near equilibrium errors are small, and so
    are the changes that they add up with: a part is kept for its error over the change.

    Args:
        surrogate: folder of a fitted one.
        conditions: random unburnt states, and the solver that labels.
        ignitions: in a batch.
        steps: of each roll-out.
        count: states from each ignition.
        kept: share of them that is kept, those with the largest error.
        still: share of these that is kept for the largest error over the change.
    """

    surrogate: str
    conditions: IgnitionStates
    ignitions: int = 40
    steps: int = 600
    count: int = 80
    kept: float = 0.7
    still: float = 0.0

    def __call__(self, index: int, rng: np.random.Generator) -> xr.Dataset:
        """The states of one batch."""
        surrogate = _loaded(self.surrogate)
        start = join(*(self.conditions.unburnt(rng) for _ in range(self.ignitions)))
        low, high = np.log(self.conditions.time_step)
        states, steps = visited(
            surrogate,
            start,
            time_step=np.exp(rng.uniform(low, high, self.ignitions)),
            steps=self.steps,
            count=self.count,
            rng=rng,
        )
        found = label(self.conditions.solver, states, steps)
        labelled = found.rename(state="sample")
        errors = np.nan_to_num(step_error(surrogate, labelled))
        wanted = round(self.kept * self.ignitions * self.count)
        still = round(self.still * wanted)
        chosen = np.argsort(-errors)[: wanted - still]
        relative = np.argsort(-errors / np.nan_to_num(step_change(labelled) + _STILL, nan=np.inf))
        rest = relative[~np.isin(relative, chosen)][:still]
        return found.isel(state=np.sort(np.concatenate([chosen, rest])))


@lru_cache(maxsize=2)
def _loaded(folder: str) -> ReactionStep:
    return ReactionStep.load(folder)
