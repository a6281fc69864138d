"""A surrogate where it is trusted and direct integration elsewhere, checked while it runs."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Int

from sciml.chemistry.generation import provenance
from sciml.chemistry.integration import DirectIntegration
from sciml.chemistry.loading import load_mechanism
from sciml.chemistry.surrogate import ReactionStep, Stepped
from sciml.train import History

__all__ = ["HybridIntegrator", "joined"]

Cells = Float[np.ndarray, " cell"]
Species = Float[np.ndarray, "cell species"]


@dataclass(eq=False)
class HybridIntegrator:
    """Advances trusted cells by a surrogate and the others by direct integration.

    Some trusted cells, drawn at random, are integrated directly as well: what the surrogate is
    wrong by in them, in kelvins, is collected in `errors`. States that were integrated directly
    are kept with their results, as new training states for `refit`.

    Args:
        surrogate: fitted.
        solver: direct integration with the same mechanism, at constant pressure.
        checks: share of the trusted cells that are checked.
        queue: states at most that are kept for `refit`.
        seed: of the draws.

    Raises:
        ValueError: the solver has another mechanism than the surrogate, or keeps the volume.
    """

    surrogate: ReactionStep
    solver: DirectIntegration
    checks: float = 1e-3
    queue: int = 100_000
    seed: int = 0
    calls: int = field(default=0, init=False)
    fallbacks: int = field(default=0, init=False)
    errors: list[float] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        if self.solver.constant != "pressure":
            raise ValueError("the solver keeps the volume; the surrogate needs constant='pressure'")
        mechanism = load_mechanism(self.solver.mechanism, phase=self.solver.phase)
        self.surrogate.require(mechanism=mechanism)
        self._rng = np.random.default_rng(self.seed)
        self._lock = threading.Lock()
        self._queue: list[tuple[np.ndarray, ...]] = []

    @property
    def share(self) -> float:
        """Share of the cells that fell back to direct integration so far."""
        return self.fallbacks / max(1, self.calls)

    def advance(
        self,
        temperature: Cells,
        pressure: Cells,
        mass_fractions: Species,
        time_step: Cells | float,
        *,
        out: tuple[Cells, Species] | None = None,
    ) -> Stepped:
        """As `ReactionStep.advance`; the mark says which cells the surrogate advanced.

        Raises:
            ValueError: numbers that are no state, or cells that direct integration fails in.
        """
        dt = np.array(np.broadcast_to(np.float64(time_step), np.shape(temperature)))
        found = self.surrogate.advance(temperature, pressure, mass_fractions, dt)
        with self._lock:
            drawn = self._rng.random(len(dt)) < self.checks
        chosen = np.flatnonzero(~found.trusted | drawn)
        T, Y = found.temperature, found.mass_fractions
        if len(chosen):
            states = (temperature[chosen], pressure[chosen], mass_fractions[chosen], dt[chosen])
            T_true, _, Y_true, failed = self.solver.advance(*states)
            self._refuse(failed, chosen, states)
            checked = found.trusted[chosen]
            self._keep(states, (T_true, Y_true), abs(T[chosen] - T_true)[checked])
            T[chosen], Y[chosen] = T_true, Y_true
        with self._lock:
            self.calls += len(dt)
            self.fallbacks += int((~found.trusted).sum())
        if out is not None:
            np.copyto(out[0], T)
            np.copyto(out[1], Y)
            T, Y = out
        return Stepped(T, pressure, Y, found.trusted)

    def queued(self) -> xr.Dataset:
        """The states that were integrated directly, with their results, as training data."""
        if not self._queue:
            raise ValueError("no state was integrated directly so far: there is nothing to learn")
        with self._lock:
            T, p, Y, dt, T_after, Y_after = map(np.concatenate, zip(*self._queue, strict=True))
        both = ("sample", "species")
        variables = {
            "temperature": ("sample", T, {"units": "K"}),
            "pressure": ("sample", p, {"units": "Pa"}),
            "mass_fraction": (both, Y, {"units": "1"}),
            "time_step": ("sample", dt, {"units": "s"}),
            "temperature_after": ("sample", T_after, {"units": "K"}),
            "pressure_after": ("sample", p, {"units": "Pa"}),
            "mass_fraction_after": (both, Y_after, {"units": "1"}),
        }
        names = list(self.surrogate.options.mechanism.names)
        return xr.Dataset(variables, {"species": names}, provenance(self.solver))

    def refit(self, train: xr.Dataset, valid: xr.Dataset | None = None, **options: Any) -> History:
        """Fit the surrogate anew on its training data and the states of the queue.

        Args:
            train: the training data so far.
            valid: validation data.
            options: of `Surrogate.fit`.
        """
        history = self.surrogate.fit(joined(train, self.queued()), valid, **options)
        with self._lock:
            self._queue.clear()
        return history

    def _keep(
        self, states: tuple[np.ndarray, ...], after: tuple[np.ndarray, ...], errors: np.ndarray
    ) -> None:
        with self._lock:
            self.errors.extend(errors.tolist())
            if sum(len(rows[0]) for rows in self._queue) < self.queue:
                self._queue.append((*states, *after))

    def _refuse(
        self,
        failed: Bool[np.ndarray, " cell"],
        chosen: Int[np.ndarray, " cell"],
        states: tuple[np.ndarray, ...],
    ) -> None:
        if failed.any():
            at = int(np.argmax(failed))
            raise ValueError(
                f"direct integration failed in {int(failed.sum())} cells, first in cell "
                f"{chosen[at]} at {states[0][at]:.6g} K and {states[1][at]:.6g} Pa: check the "
                "state, or loosen the solver's tolerances"
            )


def joined(*parts: xr.Dataset) -> xr.Dataset:
    """Labelled states of several data sets as one, with the variables that all of them have."""
    names = set.intersection(*(set(map(str, part.data_vars)) for part in parts))
    kept = [part[[name for name in parts[0].data_vars if name in names]] for part in parts]
    return xr.concat(
        [part.drop_vars("sample", errors="ignore") for part in kept],
        "sample",
        combine_attrs="override",
        coords="minimal",
        compat="override",
    )
