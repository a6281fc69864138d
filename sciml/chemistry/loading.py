"""Mechanisms read by Cantera, and everything that our kernels do not cover refused by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sciml.kernels.kinetics import (
    Arrhenius,
    Chebyshev,
    Falloff,
    Mechanism,
    PressureDependent,
    Rate,
    Reaction,
    Species,
    ThirdBody,
)

__all__ = ["load_mechanism", "mechanism_of"]


def load_mechanism(source: str | Path, *, phase: str = "") -> Mechanism:
    """Read a mechanism from a file of Cantera.

    Args:
        source: a YAML file, or the name of one that Cantera ships, such as "h2o2.yaml".
        phase: its name, where the file has several; none takes the first.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a phase, a thermodynamic model or a type of reaction that is not covered.
        ImportError: Cantera is missing.

    >>> mechanism = load_mechanism("h2o2.yaml")
    >>> len(mechanism.species), len(mechanism.reactions)
    (10, 29)
    """
    return mechanism_of(_solution(str(source), phase))


def mechanism_of(gas: Any) -> Mechanism:
    """The mechanism of a `cantera.Solution`.

    Raises:
        ValueError: a thermodynamic model or a type of reaction that is not covered.
    """
    name = Path(gas.source).name
    if gas.thermo_model != "ideal-gas":
        raise ValueError(
            f"the phase {gas.name!r} of {name} is of the model {gas.thermo_model!r}; "
            "give a mechanism of an ideal gas"
        )
    species = tuple(
        _species(one, float(weight), name)
        for one, weight in zip(gas.species(), gas.molecular_weights, strict=True)
    )
    pressures = {float(one.thermo.reference_pressure) for one in gas.species()}
    if len(pressures) > 1:
        raise ValueError(
            f"the species of {name} have thermodynamic data at several reference pressures, "
            f"{sorted(pressures)} Pa; give them one"
        )
    return Mechanism(
        name=name,
        elements=tuple(gas.element_names),
        atomic_weights=tuple(float(gas.atomic_weight(one)) for one in gas.element_names),
        species=species,
        reactions=_reactions(gas, name),
        reference_pressure=pressures.pop(),
    )


def _solution(source: str, phase: str) -> Any:
    import cantera

    try:
        return cantera.Solution(source, phase, transport_model=None)
    except cantera.CanteraError as error:
        told = str(error)
        if "Input file" in told and "not found" in told:
            raise FileNotFoundError(
                f"no mechanism {source!r} was found; give the path of a YAML file, or the name of "
                "one that Cantera ships"
            ) from error
        raise ValueError(f"Cantera cannot read {source!r}: {_reason(told)}") from error


def _reason(told: str) -> str:
    """What an error of Cantera says, without its frame and the lines of the file around it."""
    lines = [line.strip() for line in told.splitlines()]
    return "; ".join(line for line in lines if line and line[0] not in "*|>^")


def _species(one: Any, weight: float, name: str) -> Species:
    from cantera import NasaPoly2

    if not isinstance(one.thermo, NasaPoly2):
        raise ValueError(
            f"{one.name} of {name} has thermodynamic data of the kind "
            f"{type(one.thermo).__name__}; give polynomials of NASA's seven coefficients"
        )
    middle, *coefficients = map(float, one.thermo.coeffs)
    return Species(
        name=one.name,
        atoms={element: float(count) for element, count in one.composition.items()},
        molecular_weight=weight,
        high=tuple(coefficients[:7]),
        low=tuple(coefficients[7:]),
        middle=middle,
        valid=(float(one.thermo.min_temp), float(one.thermo.max_temp)),
    )


def _reactions(gas: Any, name: str) -> tuple[Reaction, ...]:
    reactions = gas.reactions()
    unknown = Counter(r.reaction_type for r in reactions if r.reaction_type not in _RATES)
    if unknown:
        kinds = ", ".join(f"{kind} ({count})" for kind, count in sorted(unknown.items()))
        raise ValueError(
            f"{name} has reactions of types that are not covered: {kinds}; "
            f"covered are {', '.join(_RATES)}"
        )
    return tuple(_reaction(one, gas) for one in reactions)


def _reaction(one: Any, gas: Any) -> Reaction:
    def named(numbers: Mapping[str, float]) -> dict[str, float]:
        """With the species as the phase spells them: Cantera takes any case."""
        known = {name.lower(): name for name in gas.species_names}
        exact = {name: name for name in gas.species_names}
        spelled = {name: exact.get(name, known.get(name.lower())) for name in numbers}
        return {there: float(numbers[name]) for name, there in spelled.items() if there}

    body = one.third_body
    return Reaction(
        equation=one.equation,
        reactants=named(one.reactants),
        products=named(one.products),
        orders=named(one.orders),
        reversible=bool(one.reversible),
        rate=_RATES[one.reaction_type](one.rate),
        # A collider that is not in the phase has no concentration.
        third_body=body
        and ThirdBody(
            efficiencies=named(body.efficiencies), default=float(body.default_efficiency)
        ),
    )


def _arrhenius(rate: Any) -> Arrhenius:
    from cantera import gas_constant

    return Arrhenius(
        float(rate.pre_exponential_factor),
        float(rate.temperature_exponent),
        float(rate.activation_energy / gas_constant),
    )


def _falloff(rate: Any) -> Falloff:
    a, *rest = map(float, rate.falloff_coeffs) if len(rate.falloff_coeffs) else (None,)
    troe = () if a is None else (a, *rest[:2], *(t for t in rest[2:] if t))
    return Falloff(high=_arrhenius(rate.high_rate), low=_arrhenius(rate.low_rate), troe=troe)


def _pressure_dependent(rate: Any) -> PressureDependent:
    at: dict[float, tuple[Arrhenius, ...]] = {}
    for pressure, term in rate.rates:
        at[float(pressure)] = (*at.get(float(pressure), ()), _arrhenius(term))
    return PressureDependent(tuple(sorted(at.items())))


def _chebyshev(rate: Any) -> Chebyshev:
    least, most = map(float, rate.temperature_range)
    low, high = map(float, rate.pressure_range)
    return Chebyshev(
        temperature=(least, most),
        pressure=(low, high),
        coefficients=tuple(tuple(map(float, row)) for row in rate.data),
    )


_RATES: dict[str, Callable[[Any], Rate]] = {
    "Arrhenius": _arrhenius,
    "three-body-Arrhenius": _arrhenius,
    "falloff-Lindemann": _falloff,
    "falloff-Troe": _falloff,
    "pressure-dependent-Arrhenius": _pressure_dependent,
    "three-body-pressure-dependent-Arrhenius": _pressure_dependent,
    "Chebyshev": _chebyshev,
    "three-body-Chebyshev": _chebyshev,
}
"""By the names that Cantera gives."""
