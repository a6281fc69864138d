"""Vector fields: bilinear, polynomial and neural ones, and what physics asks of them.

A field is any callable from states [batch, component] to their rates of change. Names are
imported where they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sciml.dynamics.fields.bilinear import (
        Bilinear,
    )
    from sciml.dynamics.fields.constraints import (
        ConstantDivergence,
        EnergyPreserving,
        Equivariant,
        Known,
    )
    from sciml.dynamics.fields.latent import (
        Augmented,
        DelayEncoder,
        LatentTable,
        infer_state,
    )
    from sciml.dynamics.fields.monomials import (
        Monomials,
        monomial_coefficients,
    )
    from sciml.dynamics.fields.networks import (
        ResidualMLP,
        Scaled,
        scaled_mlp,
    )
    from sciml.dynamics.fields.polynomial import (
        Polynomial,
    )
    from sciml.dynamics.fields.priors import (
        FromPotential,
        Symmetric,
        Trapped,
    )
    from sciml.dynamics.fields.regression import (
        central_differences,
        fit_polynomial,
        fit_polynomial_weakly,
    )

_MODULES = {
    "bilinear": ("Bilinear",),
    "constraints": (
        "ConstantDivergence",
        "EnergyPreserving",
        "Equivariant",
        "Known",
    ),
    "latent": (
        "Augmented",
        "DelayEncoder",
        "LatentTable",
        "infer_state",
    ),
    "monomials": (
        "Monomials",
        "monomial_coefficients",
    ),
    "networks": (
        "ResidualMLP",
        "Scaled",
        "scaled_mlp",
    ),
    "polynomial": ("Polynomial",),
    "priors": (
        "FromPotential",
        "Symmetric",
        "Trapped",
    ),
    "regression": (
        "central_differences",
        "fit_polynomial",
        "fit_polynomial_weakly",
    ),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "Augmented",
    "Bilinear",
    "ConstantDivergence",
    "DelayEncoder",
    "EnergyPreserving",
    "Equivariant",
    "FromPotential",
    "Known",
    "LatentTable",
    "Monomials",
    "Polynomial",
    "ResidualMLP",
    "Scaled",
    "Symmetric",
    "Trapped",
    "central_differences",
    "fit_polynomial",
    "fit_polynomial_weakly",
    "infer_state",
    "monomial_coefficients",
    "scaled_mlp",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
