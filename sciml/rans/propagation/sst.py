"""The k-omega SST model on a cross-section.

F. R. Menter, M. Kuntz, R. Langtry, Ten years of industrial experience with the SST turbulence
model, Turbulence, Heat and Mass Transfer 4 (2003) 625-632.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy import sparse
from scipy.sparse.linalg import spsolve

from sciml.rans.propagation.operators import Operators
from sciml.rans.propagation.transport import Faces, fitted_transport

__all__ = ["BETA_STAR", "ShearStressTransport", "Turbulence"]

Cells = Float[np.ndarray, " cell"]

BETA_STAR = 0.09
"""ε = β* k ω."""

_A1 = 0.31
_LIMIT = 10.0
"""Production of k is at most this many times its destruction."""

_INNER = {"sigma_k": 0.85, "sigma_omega": 0.5, "beta": 0.075, "gamma": 5 / 9}
_OUTER = {"sigma_k": 1.0, "sigma_omega": 0.856, "beta": 0.0828, "gamma": 0.44}
_SMALL = 1e-12


@dataclass(frozen=True, kw_only=True)
class Turbulence:
    """k [m² s⁻²], ω [s⁻¹] and ν_t [m² s⁻¹] at the cells."""

    energy: Cells
    frequency: Cells
    viscosity: Cells


class ShearStressTransport:
    """Equations of k and ω, one relaxed step at a time.

    In cells at a wall ω is 6 ν / (β y²), the mean of both where two walls meet, and k is not
    produced there: the limit of low Reynolds number of the usual wall functions.
    """

    def __init__(self, operators: Operators, viscosity: float) -> None:
        self.operators = operators
        self.viscosity = viscosity
        self.distance = operators.section.wall_distance
        self.wall_frequency, self.at_wall = self._wall_values()

    def _wall_values(self) -> tuple[Cells, Bool[np.ndarray, " cell"]]:
        axes = self.operators.z, self.operators.y
        total, count = (
            np.zeros(self.operators.section.shape),
            np.zeros(self.operators.section.shape),
        )
        for number, axis in enumerate(axes):
            for end, wall in zip((0, -1), axis.walls, strict=True):
                if wall:
                    place = (end, slice(None)) if number == 0 else (slice(None), end)
                    near = axis.widths[end] / 2
                    total[place] += 6 * self.viscosity / (_INNER["beta"] * near**2)
                    count[place] += 1
        return (total / np.maximum(count, 1)).ravel(), count.ravel() > 0

    def initial(self, speed: float) -> Turbulence:
        """A guess: k of five per cent of the speed, ω that decays from the wall."""
        y = self.distance
        scale = y.max()
        energy = 1.5 * (0.07 * speed) ** 2 * np.minimum(1.0, (40 * y / scale) ** 2)
        frequency = 6 * self.viscosity / (_INNER["beta"] * y**2) + speed / scale
        frequency[self.at_wall] = self.wall_frequency[self.at_wall]
        return Turbulence(energy=energy, frequency=frequency, viscosity=energy / frequency)

    def eddy_viscosity(self, energy: Cells, frequency: Cells, shear: Cells) -> Cells:
        """ν_t = a₁ k / max(a₁ ω, F₂ S), where `shear` is S² = 2 S_ij S_ij."""
        y = self.distance
        inner = 2 * np.sqrt(energy) / (BETA_STAR * frequency * y)
        f2 = np.tanh(
            np.minimum(np.maximum(inner, 500 * self.viscosity / (y**2 * frequency)), 100) ** 2
        )
        return _A1 * energy / np.maximum(_A1 * frequency, f2 * np.sqrt(shear))

    def step(
        self,
        old: Turbulence,
        shear: Cells,
        production: Cells,
        velocity: Faces | None,
        *,
        relaxation: float,
    ) -> Turbulence:
        """k, ω and ν_t after one relaxed solve of each equation.

        Args:
            old: the state before.
            shear: S² = 2 S_ij S_ij, s⁻².
            production: P of k, m² s⁻³.
            velocity: V and W at the faces; None where there is no secondary flow.
            relaxation: 1 for none.
        """
        cross, f1 = self._blending(old)
        frequency = self._frequency(old, shear, cross, f1, velocity, relaxation)
        energy = self._energy(old, frequency, production, f1, velocity, relaxation)
        return Turbulence(
            energy=energy,
            frequency=frequency,
            viscosity=self.eddy_viscosity(energy, frequency, shear),
        )

    def _blending(self, old: Turbulence) -> tuple[Cells, Cells]:
        """Cross-diffusion 2 σ_ω2 ∇k·∇ω / ω, and F₁."""
        k, omega, y = old.energy, old.frequency, self.distance
        grad_k = self.operators.cell_gradient(_apply(self.operators.face_value, k))
        grad_omega = self.operators.cell_gradient(_apply(self.operators.face_mean, omega))
        cross = 2 * _OUTER["sigma_omega"] * (grad_k * grad_omega).sum(axis=0) / omega
        large = np.maximum(
            np.sqrt(k) / (BETA_STAR * omega * y), 500 * self.viscosity / (y**2 * omega)
        )
        small = 4 * _OUTER["sigma_omega"] * k / (np.maximum(cross, 1e-10) * y**2)
        return cross, np.tanh(np.minimum(np.minimum(large, small), 10) ** 4)

    def _frequency(
        self,
        old: Turbulence,
        shear: Cells,
        cross: Cells,
        f1: Cells,
        velocity: Faces | None,
        relaxation: float,
    ) -> Cells:
        area = self.operators.section.areas
        k, omega = old.energy, old.frequency
        f2_limit = _LIMIT / _A1 * BETA_STAR * omega * k / np.maximum(old.viscosity, _SMALL)
        source = _blend("gamma", f1) * np.minimum(shear, f2_limit)
        diffusion = (1 - f1) * cross
        sink = _blend("beta", f1) * omega + np.maximum(-diffusion, 0) / omega
        matrix = fitted_transport(
            self.operators, self._diffusivity("sigma_omega", f1, old), velocity
        )
        matrix = matrix + sparse.diags_array(area * sink)
        source = area * (source + np.maximum(diffusion, 0))
        fixed = self.at_wall
        free = ~fixed
        source = source[free] - matrix[free][:, fixed] @ self.wall_frequency[fixed]
        omega = self.wall_frequency.copy()
        omega[free] = _relaxed_solve(matrix[free][:, free], source, old.frequency[free], relaxation)
        return np.maximum(omega, _SMALL)

    def _energy(
        self,
        old: Turbulence,
        frequency: Cells,
        production: Cells,
        f1: Cells,
        velocity: Faces | None,
        relaxation: float,
    ) -> Cells:
        area = self.operators.section.areas
        limited = np.minimum(production, _LIMIT * BETA_STAR * old.energy * frequency)
        limited[self.at_wall] = 0.0
        sink = BETA_STAR * frequency + np.maximum(-limited, 0) / np.maximum(old.energy, _SMALL)
        matrix = fitted_transport(self.operators, self._diffusivity("sigma_k", f1, old), velocity)
        matrix = matrix + sparse.diags_array(area * sink)
        energy = _relaxed_solve(matrix, area * np.maximum(limited, 0), old.energy, relaxation)
        return np.maximum(energy, _SMALL)

    def _diffusivity(self, name: str, f1: Cells, old: Turbulence) -> Faces:
        y, z = _apply(self.operators.face_value, _blend(name, f1) * old.viscosity)
        return y + self.viscosity, z + self.viscosity


def _blend(name: str, f1: Cells) -> Cells:
    return f1 * _INNER[name] + (1 - f1) * _OUTER[name]


def _apply(pair: tuple[sparse.sparray, sparse.sparray], values: Cells) -> Faces:
    return pair[0] @ values, pair[1] @ values


def _relaxed_solve(matrix: sparse.sparray, source: Cells, old: Cells, relaxation: float) -> Cells:
    diagonal = matrix.diagonal()
    excess = diagonal * (1 / relaxation - 1)
    return spsolve((matrix + sparse.diags_array(excess)).tocsc(), source + excess * old)
