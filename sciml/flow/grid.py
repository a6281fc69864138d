"""A uniform grid of cells, and whether a body stands well in it."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from sciml.flow.shapes.shape import Shape
from sciml.kernels.signed_distance import Backend, signed_distance

__all__ = ["Grid", "check_body"]

SIDES = ("left", "right", "bottom", "top")


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A rectangle of square cells; values live at the centres.

    Args:
        shape: cells in y, cells in x (ny, nx).
        spacing: side of a cell [m].
        origin: the lower left corner of the domain (x, y) [m].

    Raises:
        ValueError: for no cell, or a spacing that is not positive and finite.

    Example:
        >>> grid = Grid(shape=(2, 4), spacing=0.5)
        >>> grid.x, grid.extent
        (array([0.25, 0.75, 1.25, 1.75]), (0.0, 2.0, 0.0, 1.0))
    """

    shape: tuple[int, int]
    spacing: float = 1.0
    origin: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        if min(self.shape) < 1:
            raise ValueError(f"A grid has at least one cell in y and x, not {self.shape}.")
        if not (self.spacing > 0 and math.isfinite(self.spacing)):
            raise ValueError(f"The spacing of a grid is positive and finite, not {self.spacing}.")
        if not all(map(math.isfinite, self.origin)):
            raise ValueError(f"The origin of a grid is finite, not {self.origin}.")

    @property
    def x(self) -> Float64[np.ndarray, " x"]:
        """x of the cell centres [m]."""
        return self.origin[0] + self.spacing * (np.arange(self.shape[1]) + 0.5)

    @property
    def y(self) -> Float64[np.ndarray, " y"]:
        """y of the cell centres [m]."""
        return self.origin[1] + self.spacing * (np.arange(self.shape[0]) + 0.5)

    @property
    def points(self) -> Float64[np.ndarray, "y x 2"]:
        """The cell centres (x, y) [m]."""
        return np.stack(np.meshgrid(self.x, self.y), axis=-1)

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, right, bottom and top of the domain [m], as matplotlib's imshow takes them."""
        (ny, nx), (left, bottom) = self.shape, self.origin
        return left, left + nx * self.spacing, bottom, bottom + ny * self.spacing

    def signed_distance(
        self, shape: Shape, *, backend: Backend = "auto"
    ) -> Float64[np.ndarray, "y x"]:
        """Distance from every cell centre to the outline [m], positive in the fluid.

        Example:
            >>> from sciml.flow.shapes import rectangle
            >>> Grid(shape=(1, 4)).signed_distance(rectangle(2.0, 9.0))
            array([[-0.5,  0.5,  1.5,  2.5]])
        """
        return signed_distance([shape.rings], self.points, backend=backend)[0]


def check_body(shape: Shape, grid: Grid, *, sides: Collection[str] = SIDES) -> None:
    """Refuse a body that is outside the domain, too near its sides, fills it, or is too small.

    Args:
        shape: the body.
        grid: the domain.
        sides: from which of ``left, right, bottom, top`` it must keep one cell away; a body that
            stands on the ground leaves out ``bottom``.

    Raises:
        ValueError: saying which, and where.

    Example:
        >>> from sciml.flow.shapes import circle
        >>> check_body(circle(4.0), Grid(shape=(8, 8)))
        Traceback (most recent call last):
        ValueError: The body, x -2 to 2 and y -2 to 2 m, reaches the left, bottom of the domain,
        x 0 to 8 and y 0 to 8 m; keep it one cell (1 m) away.
    """
    unknown = set(sides) - set(SIDES)
    if unknown:
        raise ValueError(f"The sides of a domain are {', '.join(SIDES)}, not {sorted(unknown)}.")
    x0, y0, x1, y1 = shape.bounds
    left, right, bottom, top = grid.extent
    where = f"x {x0:g} to {x1:g} and y {y0:g} to {y1:g} m"
    domain = f"the domain, x {left:g} to {right:g} and y {bottom:g} to {top:g} m"
    if x1 <= left or x0 >= right or y1 <= bottom or y0 >= top:
        raise ValueError(f"The body, {where}, lies outside {domain}; move it in.")
    inside = grid.signed_distance(shape) <= 0
    if inside.all():
        raise ValueError(f"The body, {where}, fills {domain}; no cell is left for the fluid.")
    reach = {"left": x0 - left, "right": right - x1, "bottom": y0 - bottom, "top": top - y1}
    touched = [side for side in SIDES if side in sides and reach[side] < grid.spacing]
    if touched:
        raise ValueError(
            f"The body, {where}, reaches the {', '.join(touched)} of {domain}; "
            f"keep it one cell ({grid.spacing:g} m) away."
        )
    if not inside.any():
        raise ValueError(
            f"The body, {where}, holds no cell centre at a spacing of {grid.spacing:g} m; "
            "refine the grid or enlarge the body."
        )
