"""The D2Q9 lattice: nine velocities, their weights, and the way back along each."""

from __future__ import annotations

__all__ = ["OPPOSITE", "SOUND_SPEED_SQUARED", "VELOCITIES", "WEIGHTS"]

VELOCITIES: tuple[tuple[int, int], ...] = (
    (0, 0),
    (1, 0),
    (0, 1),
    (-1, 0),
    (0, -1),
    (1, 1),
    (-1, 1),
    (-1, -1),
    (1, -1),
)
"""c_q as (x, y), in cells per step."""

WEIGHTS: tuple[float, ...] = (4 / 9, *(1 / 9,) * 4, *(1 / 36,) * 4)
"""w_q; they sum to one."""

OPPOSITE: tuple[int, ...] = (0, 3, 4, 1, 2, 7, 8, 5, 6)
"""The index of -c_q."""

SOUND_SPEED_SQUARED = 1 / 3
"""c_s² in lattice units."""
