"""Flows through ducts: laminar, by k-omega SST, and with a given anisotropy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import xarray as xr
from jaxtyping import Float

from sciml.rans.propagation.duct import Duct
from sciml.rans.propagation.march import Flow, Solver, SolverOptions
from sciml.rans.propagation.sst import Turbulence
from sciml.rans.propagation.state import as_dataset, turbulence_of, velocity_gradient
from sciml.rans.propagation.stress import Remainder, beyond_linear, no_remainder, remainder_of

__all__ = ["Closure", "PropagationOptions", "propagate", "solve_laminar", "solve_sst"]

Closure = Callable[[xr.Dataset], np.ndarray]
"""The state of a RANS model over `cell` to an anisotropy b (cell, 3, 3)."""

Cells = Float[np.ndarray, " cell"]
Tensors = Float[np.ndarray, "cell 3 3"]

_START = 0.6
"""Relaxation of k and ω while they find their way from a guess."""


@dataclass(frozen=True, kw_only=True)
class PropagationOptions:
    """How an anisotropy enters the equations.

    Attributes:
        gives: `anisotropy`, or `remainder` where the closure gives b⊥ itself.
        conditioning: `implicit` with ν_t of the state, or `explicit`: all of the stress is fixed,
            which is exact for an exact stress and magnifies the errors of any other.
        streamwise: whether the remainder acts on U too; without, it drives the secondary flow alone
            and U keeps the eddy viscosity.
        turbulence: k, ω and ν_t stay `frozen`, or are solved with the production of the `linear`
            part or of the `whole` stress.
        interval: iterations from one call of the closure to the next; 0 for one call at the start.
    """

    gives: Literal["anisotropy", "remainder"] = "anisotropy"
    conditioning: Literal["implicit", "explicit"] = "implicit"
    streamwise: bool = True
    turbulence: Literal["frozen", "linear", "whole"] = "frozen"
    interval: int = 0

    def __post_init__(self) -> None:
        if self.conditioning == "explicit" and self.gives == "remainder":
            raise ValueError("a remainder has no meaning without the implicit part it leaves over")
        if self.interval < 0:
            raise ValueError(f"an interval of {self.interval} was given; 0 is the least")


def solve_laminar(duct: Duct, *, options: SolverOptions | None = None) -> xr.Dataset:
    """The laminar flow.

    Returns:
        As :func:`solve_sst`, with k, ω and ν_t zero.
    """
    solver = Solver(duct=duct, options=options or SolverOptions())
    nothing = no_remainder(solver.operators)
    flow = solver.at_rest(_no_turbulence(duct))
    flow, history = solver.converge(flow, lambda number, flow: nothing, None)
    return as_dataset(solver, flow, nothing, history)


def solve_sst(duct: Duct, *, options: SolverOptions | None = None) -> xr.Dataset:
    """The mean flow by k-omega SST, from rest.

    Args:
        duct: the flow.
        options: tolerance and relaxation.

    Returns:
        Over `cell`: `position`, `velocity` and its gradient, `pressure`, k and its gradient, ω, ε,
        `eddy_viscosity`, `reynolds_stress`; `driving_force`; over `iteration`, what each changed.
        The attributes say whether it `converged`, and why not.

    Raises:
        sciml.rans.propagation.Diverged: values that are not finite.
    """
    solver = Solver(duct=duct, options=options or SolverOptions())
    nothing = no_remainder(solver.operators)
    flow = solver.at_rest(solver.model.initial(duct.bulk_velocity))
    flow, history = solver.converge(
        flow, lambda number, flow: nothing, lambda number, flow: _next(solver, flow, number, None)
    )
    return as_dataset(solver, flow, nothing, history)


def propagate(
    duct: Duct,
    state: xr.Dataset,
    closure: Closure | Tensors,
    *,
    energy: Cells | None = None,
    options: PropagationOptions | None = None,
    solver: SolverOptions | None = None,
) -> xr.Dataset:
    """The mean flow with the Reynolds stress of a closure, from rest.

    Args:
        duct: the flow.
        state: of the RANS model on the same cells, as of :func:`solve_sst`: k, ω, ν_t, and all that
            the closure asks for.
        closure: the state to b, or b itself.
        energy: k of the stress, m² s⁻²; that of the turbulence model if not given.
        options: how b enters.
        solver: tolerance and relaxation.

    Returns:
        As :func:`solve_sst`.

    Raises:
        ValueError: a state or anisotropy that does not fit the cells or is not finite.
        sciml.rans.propagation.Diverged: values that are not finite.
    """
    options = options or PropagationOptions()
    engine = Solver(duct=duct, options=solver or SolverOptions())
    work = _Propagation(engine, state, closure, energy, options)
    flow, history = engine.converge(work.start(), work.remainder, work.advance())
    return as_dataset(engine, flow, work.remainder(-1, flow), history, energy)


class _Propagation:
    """What happens between two iterations."""

    def __init__(
        self,
        solver: Solver,
        state: xr.Dataset,
        closure: Closure | Tensors,
        energy: Cells | None,
        options: PropagationOptions,
    ) -> None:
        self.solver, self.options, self.energy = solver, options, energy
        self.closure = closure
        size = solver.duct.section.size
        self.turbulence = turbulence_of(state, size=size)
        if energy is not None and (energy.shape != (size,) or not np.isfinite(energy).all()):
            raise ValueError(
                f"k of shape {energy.shape} was given; it should have {size} finite values"
            )
        self.anisotropy = self._called(state)
        self.gradient = self._reference_gradient(state)

    def start(self) -> Flow:
        """At rest, with the turbulence of the state."""
        turbulence = self.turbulence
        if self.options.conditioning == "explicit":
            turbulence = replace(turbulence, viscosity=0 * turbulence.viscosity)
        return self.solver.at_rest(turbulence)

    def remainder(self, number: int, flow: Flow) -> Remainder:
        """2 k b⊥ for an iteration; -1 for the last state."""
        interval = self.options.interval
        if interval and number > 0 and number % interval == 0:
            nothing = no_remainder(self.solver.operators)
            state = as_dataset(self.solver, flow, nothing, [])
            self.anisotropy = self._called(state)
            self.gradient = self._reference_gradient(state)
        k = flow.turbulence.energy if self.energy is None else self.energy
        b = self.anisotropy
        if self.gradient is not None:
            b = beyond_linear(b, self.gradient, k, flow.turbulence.viscosity)
        stress = 2 * k[:, None, None] * b
        streamwise = self.options.streamwise
        return remainder_of(self.solver.operators, stress, streamwise=streamwise)

    def advance(self) -> Callable[[int, Flow], Turbulence] | None:
        """The next k, ω and ν_t, if they do not stay."""
        if self.options.turbulence == "frozen":
            return None

        def step(number: int, flow: Flow) -> Turbulence:
            whole = self.options.turbulence == "whole"
            tensor = self.remainder(-1, flow).tensor if whole else None
            return _next(self.solver, flow, self.solver.options.start, tensor)

        return step

    def _called(self, state: xr.Dataset) -> Tensors:
        b = self.closure(state) if callable(self.closure) else self.closure
        b = np.asarray(b, dtype=np.float64)
        shape = (self.solver.duct.section.size, 3, 3)
        if b.shape != shape or not np.isfinite(b).all():
            count = 0 if b.shape != shape else int((~np.isfinite(b)).any(axis=(1, 2)).sum())
            raise ValueError(
                f"an anisotropy of shape {b.shape} with {count} cells that are not finite was "
                f"given; {shape} was expected, all of it finite"
            )
        return b

    def _reference_gradient(self, state: xr.Dataset) -> Tensors | None:
        if self.options.gives == "remainder" or self.options.conditioning == "explicit":
            return None
        if "velocity_gradient" not in state:
            raise ValueError(
                "a state without velocity_gradient was given; b needs that of its flow"
            )
        return state["velocity_gradient"].values.astype(np.float64)


def _no_turbulence(duct: Duct) -> Turbulence:
    zero = np.zeros(duct.section.size)
    return Turbulence(energy=zero, frequency=zero, viscosity=zero)


def _next(solver: Solver, flow: Flow, number: int, remainder: Tensors | None) -> Turbulence:
    """k, ω and ν_t after one iteration, with the production of the stress."""
    gradient = velocity_gradient(solver, flow)
    strain = (gradient + gradient.transpose(0, 2, 1)) / 2
    shear = 2 * (strain**2).sum(axis=(1, 2))
    production = flow.turbulence.viscosity * shear
    if remainder is not None:
        production = production - (remainder * strain).sum(axis=(1, 2))
    return solver.model.step(
        flow.turbulence,
        shear,
        production,
        solver.velocity(flow),
        relaxation=_START if number < solver.options.start else solver.options.relaxation,
    )
