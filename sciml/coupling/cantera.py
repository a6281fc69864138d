"""A reactor of Cantera whose chemistry is a surrogate's.

For validation: the reactor takes its place in a `ReactorNet` with inlets, outlets and walls, and is
integrated by CVODE, which asks for the source of one state at a time. For speed, split the
operators and call `ReactionStep.advance` on all cells at once.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import cantera
import numpy as np
import torch
from jaxtyping import Float

from sciml.kernels.kinetics import Mechanism, production_rates
from sciml.kernels.mixture.thermodynamics import concentrations

__all__ = ["ExactSource", "Source", "SourceReactor"]

_TEMPERATURE, _SPECIES = 1, 2
"""Places in the state of an ideal-gas reactor at constant pressure, after its mass."""


@runtime_checkable
class Source(Protocol):
    """What gives the chemical source of states; `ReactionStep` does."""

    def net_production_rates(self, temperature: Any, pressure: Any, mass_fractions: Any, /) -> Any:
        """ω in kmol/(m³ s), [cell, species]."""
        ...


class ExactSource:
    """The rates of the mechanism itself, to tell errors of the coupling from those of a network.

    Args:
        mechanism: species and reactions.
    """

    def __init__(self, mechanism: Mechanism) -> None:
        self.mechanism = mechanism

    def net_production_rates(
        self,
        temperature: Float[np.ndarray, " cell"],
        pressure: Float[np.ndarray, " cell"],
        mass_fractions: Float[np.ndarray, "cell species"],
    ) -> Float[np.ndarray, "cell species"]:
        """ω in kmol/(m³ s)."""
        T, p, Y = map(torch.from_numpy, (temperature, pressure, mass_fractions))
        return production_rates(self.mechanism, T, concentrations(self.mechanism, T, p, Y))[
            0
        ].numpy()


class SourceReactor(cantera.ExtensibleIdealGasConstPressureReactor):
    """An ideal-gas reactor at constant pressure that takes its chemistry from a source.

    Cantera evaluates flows and walls; to the right-hand sides are added

        m cp dT/dt: -V Σ h_k ω_k        m dY_k/dt: V W_k ω_k

    with molar enthalpies h_k. Set `source` before the network is integrated.

    Args:
        contents: the gas, a `cantera.Solution`.
        options: of Cantera's reactor.

    Example:
        >>> import cantera
        >>> from sciml.chemistry import load_mechanism
        >>> gas = cantera.Solution("h2o2.yaml")
        >>> gas.TPX = 1200.0, 101325.0, "H2:2, O2:1, N2:3.76"
        >>> reactor = SourceReactor(gas, clone=False)
        >>> reactor.source = ExactSource(load_mechanism("h2o2.yaml"))
        >>> end = cantera.ReactorNet([reactor]).advance(1e-3)
        >>> bool(gas.T > 2700)
        True
    """

    source: Source

    def __init__(self, contents: cantera.Solution, **options: Any) -> None:
        super().__init__(contents, **options)
        self.chemistry_enabled = False

    def after_eval(self, t: float, LHS: Any, RHS: Any) -> None:
        """Add the chemistry to what Cantera found of flows and walls."""
        gas = self.phase
        state = np.array([gas.T]), np.array([gas.P]), np.maximum(gas.Y, 0.0)[None]
        rates = self.source.net_production_rates(*state)[0]
        RHS[_TEMPERATURE] -= self.volume * (gas.partial_molar_enthalpies @ rates)
        RHS[_SPECIES : _SPECIES + len(rates)] += self.volume * gas.molecular_weights * rates
