"""From eigenvalues and modes in POD amplitudes to an expansion on the mesh."""

from __future__ import annotations

import numpy as np
from jaxtyping import Complex128, Float64, Real

from sciml.modes.expansion import Expansion, Windows
from sciml.modes.reduction import Reduction
from sciml.modes.timing import Clock

__all__ = ["energies", "expand", "fitted_modes", "optimal_amplitudes"]

States = Float64[np.ndarray, "time state"]
Heads = Complex128[np.ndarray, " head"]
Vectors = Complex128[np.ndarray, "head state"]
Steps = Real[np.ndarray, " time"]


def optimal_amplitudes(states: States, eigenvalues: Heads, vectors: Vectors) -> Heads:
    r"""What stands before each mode at the first snapshot, so that all snapshots fit best.

    Minimises $\sum_n |x_n - \sum_k a_k\lambda_k^n\phi_k|^2$, conjugates included.

    Jovanović, Schmid and Nichols, Phys. Fluids 26, 024103 (2014), https://doi.org/10.1063/1.4863670.

    Args:
        states: snapshots, one a row.
        eigenvalues: the real ones, and one of each pair.
        vectors: their modes.
    """
    span, _ = np.linalg.qr(np.concatenate([vectors.real, vectors.imag]).T)
    small, target = vectors @ span, states @ span
    powers, scale = _powers(eigenvalues, np.arange(len(states)))
    columns = np.einsum("nk,ks->nsk", powers, small).reshape(-1, len(eigenvalues))
    system, twice = _real_system(columns, eigenvalues)
    norms = np.linalg.norm(system, axis=0)
    norms[norms == 0] = 1.0
    found = np.linalg.lstsq(system / norms, target.ravel(), rcond=None)[0] / norms
    return _complex(found, twice) * scale


def fitted_modes(states: States, eigenvalues: Heads, steps: Steps | None = None) -> Vectors:
    """The modes, amplitudes included, with which given eigenvalues fit the snapshots best.

    The second half of variable projection: linear least squares.

    Args:
        states: snapshots, one a row.
        eigenvalues: the real ones, and one of each pair.
        steps: how many steps after the first each snapshot is; by default 0, 1, 2 and so on.
    """
    steps = np.arange(len(states)) if steps is None else steps
    powers, scale = _powers(eigenvalues, steps)
    system, twice = _real_system(powers, eigenvalues)
    norms = np.linalg.norm(system, axis=0)
    norms[norms == 0] = 1.0
    found = np.linalg.lstsq(system / norms, states, rcond=None)[0] / norms[:, None]
    return _complex(found, twice) * scale[:, None]


def expand(
    reduction: Reduction,
    eigenvalues: Heads,
    vectors: Vectors,
    clock: Clock,
    *,
    energy: Float64[np.ndarray, " head"] | None = None,
    windows: Windows | None = None,
) -> Expansion:
    """The expansion on the mesh, modes of most energy first.

    Args:
        reduction: of the snapshots.
        eigenvalues: the real ones, and one of each pair.
        vectors: their modes, with the amplitude and phase at the first snapshot.
        clock: when the snapshots are.
        energy: of each, as a share of that of the data; by default that of its own motion.
        windows: the times between which each lives.
    """
    amplitudes = np.linalg.norm(vectors, axis=1)
    unit = vectors / np.where(amplitudes == 0, 1.0, amplitudes)[:, None]
    if energy is None:
        energy = energies(reduction.states, eigenvalues, amplitudes)
    order, chosen, second = _arranged(eigenvalues, energy)
    fields = reduction.spread(unit[order])[np.cumsum(~second) - 1]
    return Expansion(
        layout=reduction.layout,
        mean=reduction.mean,
        modes=np.where(second[:, None], fields.conj(), fields),
        eigenvalues=np.where(second, eigenvalues[chosen].conj(), eigenvalues[chosen]),
        amplitudes=amplitudes[chosen],
        energy=energy[chosen],
        clock=clock,
        windows=None if windows is None else windows[chosen],
    )


def energies(
    states: States,
    eigenvalues: Heads,
    amplitudes: Float64[np.ndarray, " head"],
    count: int | None = None,
) -> Float64[np.ndarray, " head"]:
    """Mean of |bλⁿ|² over the snapshots, as a share of their mean square.

    Args:
        states: all snapshots.
        eigenvalues: the real ones, and one of each pair.
        amplitudes: b.
        count: snapshots that the modes live; by default all.
    """
    count = len(states) if count is None else count
    powers, scale = _powers(eigenvalues, np.arange(count))
    last = amplitudes / np.where(scale == 0, 1.0, np.abs(scale))
    return (np.abs(powers) ** 2).sum(0) * last**2 / (states**2).sum()


def _arranged(
    eigenvalues: Heads, energy: Float64[np.ndarray, " head"]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Heads by energy, pairs counted whole; each mode's head; which are second of a pair."""
    order = np.argsort(-energy * np.where(eigenvalues.imag > 0, 2, 1), kind="stable")
    chosen = np.repeat(order, np.where(eigenvalues[order].imag > 0, 2, 1))
    return order, chosen, np.concatenate([[False], chosen[1:] == chosen[:-1]])


def _powers(
    eigenvalues: Heads, steps: Steps
) -> tuple[Complex128[np.ndarray, "time head"], Complex128[np.ndarray, " head"]]:
    """Powers of eigenvalues, those that grow over the last of them, and the first of each.

    The largest entry of each column is of size one, however fast the mode grows.
    """
    grows = np.abs(eigenvalues) > 1
    n = (steps - steps[0])[:, None]
    exponent = np.where(grows, n[-1] - n, n)
    powers = np.where(grows, 1 / np.where(grows, eigenvalues, 1), eigenvalues) ** exponent
    return powers, powers[0]


def _real_system(
    columns: Complex128[np.ndarray, "row head"], eigenvalues: Heads
) -> tuple[Float64[np.ndarray, "row unknown"], np.ndarray]:
    """Real unknowns: one of a mode without a partner, real and imaginary part of a pair."""
    twice = eigenvalues.imag > 0
    pair = columns[:, twice]
    return np.concatenate([columns.real, -2 * pair.imag], axis=1) * _doubled(twice), twice


def _doubled(twice: np.ndarray) -> Float64[np.ndarray, " unknown"]:
    return np.concatenate([np.where(twice, 2.0, 1.0), np.ones(int(twice.sum()))])


def _complex(found: Float64[np.ndarray, "..."], twice: np.ndarray) -> Complex128[np.ndarray, "..."]:
    result = found[: len(twice)].astype(complex)
    result[twice] += 1j * found[len(twice) :]
    return result
