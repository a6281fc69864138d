"""Direct integration of stiff chemistry by Cantera: the truth, and the solver to beat."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

__all__ = ["Advanced", "DirectIntegration", "Trajectory"]

_THREAD = threading.local()

Cells = Float[np.ndarray, " cell"]
Species = Float[np.ndarray, "cell species"]


class Advanced(NamedTuple):
    """States after a step.

    Attributes:
        temperature: K.
        pressure: Pa.
        mass_fractions: of the species.
        failed: cells whose integration failed; their numbers are NaN.
    """

    temperature: Cells
    pressure: Cells
    mass_fractions: Species
    failed: Bool[np.ndarray, " cell"]

    @property
    def trusted(self) -> Bool[np.ndarray, " cell"]:
        """Cells that were integrated."""
        return ~self.failed


class Trajectory(NamedTuple):
    """States of one reactor, in time.

    Attributes:
        time: s.
        temperature: K.
        pressure: Pa.
        mass_fractions: of the species.
    """

    time: Float[np.ndarray, " time"]
    temperature: Float[np.ndarray, " time"]
    pressure: Float[np.ndarray, " time"]
    mass_fractions: Float[np.ndarray, "time species"]


@dataclass(frozen=True, kw_only=True)
class DirectIntegration:
    """Adiabatic reactors without flow, integrated by Cantera's `ReactorNet` (CVODE).

    One reactor serves all cells, which is several times faster than one for each. Its volume is
    set to one before a state is put into it: at constant pressure its mass is that of the volume
    it expanded to in the step before, and would otherwise grow from cell to cell without bound.

    Args:
        mechanism: a file of Cantera.
        phase: its name, where the file has several.
        constant: what is kept, "pressure" or "volume".
        unknowns: what the reactor integrates, "mass fractions" or "moles".
        preconditioned: solve by Krylov's method with Cantera's sparse preconditioner, which needs
            moles; worth it for large mechanisms alone.
        relative: tolerance. With 1e-6 and 1e-10 labels were seen to be wrong by kelvins.
        absolute: tolerance.

    Example:
        >>> import numpy as np
        >>> solver = DirectIntegration(mechanism="h2o2.yaml")
        >>> fresh = solver.mixture(fuel="H2", oxidizer="O2:1, N2:3.76", equivalence_ratio=1.0)
        >>> T, p, Y, failed = solver.advance(
        ...     np.array([1200.0]), np.array([101325.0]), fresh[None], np.array([1e-3])
        ... )
        >>> bool(T[0] > 2700), bool(failed.any())
        (True, False)
    """

    mechanism: str | Path
    phase: str = ""
    constant: Literal["pressure", "volume"] = "pressure"
    unknowns: Literal["mass fractions", "moles"] = "mass fractions"
    preconditioned: bool = False
    relative: float = 1e-9
    absolute: float = 1e-15

    def __post_init__(self) -> None:
        if self.preconditioned and self.unknowns != "moles":
            raise ValueError(
                f"a preconditioner was asked for with {self.unknowns} as unknowns; "
                'give unknowns="moles"'
            )

    def mixture(
        self, *, fuel: str, oxidizer: str, equivalence_ratio: float
    ) -> Float[np.ndarray, " species"]:
        """Mass fractions of an unburnt mixture; compositions in moles, as Cantera writes them."""
        gas, _, _ = self._reactor()
        gas.set_equivalence_ratio(equivalence_ratio, fuel, oxidizer)
        return gas.Y

    def equilibrium(
        self, temperature: float, pressure: float, mass_fractions: Float[np.ndarray, " species"]
    ) -> tuple[float, float, Float[np.ndarray, " species"]]:
        """Temperature, pressure and mass fractions that an adiabatic reactor ends in."""
        gas, _, _ = self._reactor()
        gas.TPY = temperature, pressure, mass_fractions
        gas.equilibrate("HP" if self.constant == "pressure" else "UV")
        return float(gas.T), float(gas.P), gas.Y

    def advance(
        self, temperature: Cells, pressure: Cells, mass_fractions: Species, time_step: Cells
    ) -> Advanced:
        """Integrate each cell over a time of its own.

        Args:
            temperature: K.
            pressure: Pa.
            mass_fractions: of the species in the mechanism's order.
            time_step: s.
        """
        import cantera

        gas, reactor, net = self._reactor()
        T, p, Y = np.full_like(temperature, np.nan), pressure.copy(), mass_fractions.copy()
        failed = np.zeros(len(T), bool)
        for cell, (*state, step) in enumerate(
            zip(temperature, pressure, mass_fractions, time_step, strict=True)
        ):
            try:
                self._put(gas, reactor, net, *state)
                net.advance(step)
            except cantera.CanteraError:
                failed[cell], p[cell], Y[cell] = True, np.nan, np.nan
                gas, reactor, net = self._reactor(anew=True)  # the old one may be in any state
                continue
            T[cell], p[cell], Y[cell] = gas.T, gas.P, gas.Y
        return Advanced(T, p, Y, failed)

    def trajectory(
        self,
        temperature: float,
        pressure: float,
        mass_fractions: Float[np.ndarray, " species"],
        *,
        duration: float,
        every: float | None = None,
    ) -> Trajectory:
        """One reactor from a state on.

        Args:
            temperature: K.
            pressure: Pa.
            mass_fractions: of the species.
            duration: s.
            every: time between states, s; none gives those that the integrator steps to, which
                are dense where much happens.

        Raises:
            cantera.CanteraError: the integration failed.
        """
        gas, reactor, net = self._reactor()
        self._put(gas, reactor, net, temperature, pressure, mass_fractions)
        rows = [(0.0, gas.T, gas.P, gas.Y)]
        count = 0 if every is None else round(duration / every)
        while net.time < duration if every is None else len(rows) <= count:
            if every is None:
                net.step()
            else:
                net.advance(len(rows) * every)
            rows.append((net.time, gas.T, gas.P, gas.Y))
        return Trajectory(*(np.array(column) for column in zip(*rows, strict=True)))

    def _reactor(self, *, anew: bool = False) -> tuple[Any, Any, Any]:
        """A gas, its reactor and its net, which a thread keeps: to make them takes long."""
        kept = _THREAD.__dict__.setdefault("reactors", {})
        if anew or self not in kept:
            kept[self] = self._build()
        return kept[self]

    def _build(self) -> tuple[Any, Any, Any]:
        import cantera

        gas = cantera.Solution(str(self.mechanism), self.phase, transport_model=None)
        pressure, moles = self.constant == "pressure", self.unknowns == "moles"
        kind = f"IdealGas{'ConstPressure' if pressure else ''}{'Mole' if moles else ''}Reactor"
        reactor = getattr(cantera, kind)(gas, clone=False)
        net = cantera.ReactorNet([reactor])
        net.rtol, net.atol = self.relative, self.absolute
        if self.preconditioned:
            net.preconditioner = cantera.AdaptivePreconditioner()
        return gas, reactor, net

    @staticmethod
    def _put(gas: Any, reactor: Any, net: Any, temperature: Any, pressure: Any, Y: Any) -> None:
        gas.TPY = temperature, pressure, Y
        reactor.volume = 1.0
        reactor.syncState()
        net.initial_time = 0.0
        net.reinitialize()
