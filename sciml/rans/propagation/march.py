"""Iterations to a steady state: secondary flow, streamwise velocity, turbulence, in turn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float

from sciml.rans.propagation.duct import Duct
from sciml.rans.propagation.operators import Operators
from sciml.rans.propagation.secondary import SecondaryFlow
from sciml.rans.propagation.sst import ShearStressTransport, Turbulence
from sciml.rans.propagation.streamwise import solve_streamwise
from sciml.rans.propagation.stress import Remainder
from sciml.rans.propagation.transport import Faces

__all__ = ["Diverged", "Flow", "Iteration", "Solver", "SolverOptions"]

Cells = Float[np.ndarray, " cell"]


class Diverged(ArithmeticError):
    """Values that are not finite came up."""


@dataclass(frozen=True, kw_only=True)
class SolverOptions:
    """How a steady state is sought.

    Attributes:
        tolerance: of the largest change in one iteration of U and of V, W over U_b, and of ν_t over
            its maximum.
        iterations: at most.
        relaxation: of k and ω, after `start` iterations with 0.6.
        start: iterations in which turbulence finds its way from a guess.
        secondary_relaxation: of the streamfunction.
        ramp: iterations over which the remainder of the stress is let in.
    """

    tolerance: float = 1e-6
    iterations: int = 600
    relaxation: float = 0.95
    start: int = 20
    secondary_relaxation: float = 0.7
    ramp: int = 5

    def __post_init__(self) -> None:
        for name in ("relaxation", "secondary_relaxation"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} {getattr(self, name)} was given; it lies in (0, 1]")
        if not (self.tolerance > 0 and self.iterations > 0):
            raise ValueError(
                f"tolerance {self.tolerance} and {self.iterations} iterations were given; both "
                "must be positive"
            )


@dataclass(frozen=True, kw_only=True)
class Flow:
    """Fields of one iteration.

    Attributes:
        speed: U at the cells, m s⁻¹.
        streamfunction: ψ at the interior vertices, m² s⁻¹.
        turbulence: k, ω, ν_t at the cells; ν_t zero where the flow is laminar.
        force: G = -∂p/∂x, m s⁻².
    """

    speed: Cells
    streamfunction: Float[np.ndarray, " interior"]
    turbulence: Turbulence
    force: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Iteration:
    """Largest changes of U and of V, W over U_b, and of ν_t over its maximum; G after it."""

    speed: float
    secondary: float
    viscosity: float
    force: float

    @property
    def largest(self) -> float:
        """Of the three."""
        return max(self.speed, self.secondary, self.viscosity)


@dataclass(frozen=True, kw_only=True)
class Solver:
    """One duct with its operators.

    Attributes:
        duct: what is solved.
        options: how.
    """

    duct: Duct
    options: SolverOptions = field(default_factory=SolverOptions)

    def __post_init__(self) -> None:
        operators = Operators(self.duct.section)
        object.__setattr__(self, "operators", operators)
        object.__setattr__(self, "secondary", SecondaryFlow(operators))
        object.__setattr__(self, "model", ShearStressTransport(operators, self.duct.viscosity))

    operators: Operators = field(init=False, repr=False)
    secondary: SecondaryFlow = field(init=False, repr=False)
    model: ShearStressTransport = field(init=False, repr=False)

    def at_rest(self, turbulence: Turbulence) -> Flow:
        """No flow yet."""
        size = self.duct.section.size
        return Flow(
            speed=np.zeros(size),
            streamfunction=np.zeros(self.secondary.size),
            turbulence=turbulence,
        )

    def velocity(self, flow: Flow) -> Faces:
        """V and W at the faces."""
        return self.secondary.velocity(flow.streamfunction)

    def converge(
        self,
        flow: Flow,
        remainder: Callable[[int, Flow], Remainder],
        advance: Callable[[int, Flow], Turbulence] | None,
    ) -> tuple[Flow, list[Iteration]]:
        """Iterations until nothing changes by more than the tolerance.

        Args:
            flow: to start from.
            remainder: the stress beyond the eddy viscosity, by the number of the iteration.
            advance: the next turbulence; None where it stays.

        Raises:
            Diverged: not finite.
        """
        history: list[Iteration] = []
        for number in range(self.options.iterations):
            new = self._momentum(flow, remainder(number, flow), number)
            if advance is not None:
                new = replace(new, turbulence=advance(number, new))
            history.append(self._change(flow, new))
            flow = new
            if not np.isfinite(history[-1].largest):
                raise Diverged(
                    f"iteration {number} gave values that are not finite; relax more or take a "
                    "smaller remainder of the stress"
                )
            if number > self.options.ramp and history[-1].largest < self.options.tolerance:
                break
        return flow, history

    def _momentum(self, flow: Flow, remainder: Remainder, number: int) -> Flow:
        share = min(1.0, (number + 1) / max(1, self.options.ramp))
        nu, nu_t = self.duct.viscosity, flow.turbulence.viscosity
        at_vertices = self.operators.vertex_value @ nu_t
        psi = self.secondary.solve(
            (nu + nu_t, nu + at_vertices),
            (share * remainder.normal, share * remainder.shear),
            self.secondary.velocity(flow.streamfunction),
        )
        old = flow.streamfunction
        psi = old + self.options.secondary_relaxation * (psi - old)
        y, z = self.operators.face_value
        speed, force = solve_streamwise(
            self.operators,
            (nu + y @ nu_t, nu + z @ nu_t),
            (share * remainder.streamwise[0], share * remainder.streamwise[1]),
            self.secondary.velocity(psi),
            self.duct.bulk_velocity,
        )
        return replace(flow, speed=speed, streamfunction=psi, force=force)

    def _change(self, old: Flow, new: Flow) -> Iteration:
        scale = self.duct.bulk_velocity
        step = self.secondary.velocity(new.streamfunction - old.streamfunction)
        before, after = old.turbulence.viscosity, new.turbulence.viscosity
        return Iteration(
            speed=_largest(new.speed - old.speed) / scale,
            secondary=max(_largest(v) for v in step) / scale,
            viscosity=_largest(after - before) / max(_largest(after), np.finfo(float).tiny),
            force=new.force,
        )


def _largest(values: Float[np.ndarray, " _"]) -> float:
    return float(np.abs(values).max(initial=0.0))
