"""Cross-sections of ducts and channels as graded grids of rectangular cells."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import xarray as xr
from jaxtyping import Float

__all__ = ["CrossSection", "Walls", "channel", "graded_faces", "rectangle", "section_of"]

Line = Float[np.ndarray, " _"]
Cells = Float[np.ndarray, " cell"]


@dataclass(frozen=True, kw_only=True)
class Walls:
    """Which ends of y and z are walls; the others are planes of symmetry."""

    y: tuple[bool, bool] = (False, True)
    z: tuple[bool, bool] = (False, True)


@dataclass(frozen=True, kw_only=True, eq=False)
class CrossSection:
    """A rectangle in the plane (y, z) across a flow along x, cut into cells.

    Cells are numbered with y running fastest. Widths are kept, not faces: those of the cells at a
    wall are so thin that differences of positions would lose their digits.

    Attributes:
        y_widths, z_widths: of the rows and columns of cells, m.
        walls: what the four sides are.
    """

    y_widths: Line
    z_widths: Line
    walls: Walls = Walls()

    def __post_init__(self) -> None:
        for name, widths in (("y", self.y_widths), ("z", self.z_widths)):
            if not (widths.size and np.all(np.isfinite(widths)) and widths.min() > 0):
                raise ValueError(f"widths along {name} must be positive; given were {widths}")
        if not any((*self.walls.y, *self.walls.z)):
            raise ValueError("a cross-section without a wall was given; make one side a wall")

    @property
    def shape(self) -> tuple[int, int]:
        """Cells along z and along y."""
        return self.z_widths.size, self.y_widths.size

    @property
    def size(self) -> int:
        """Number of cells."""
        return self.y_widths.size * self.z_widths.size

    @cached_property
    def areas(self) -> Cells:
        """Of the cells, m²."""
        return np.outer(self.z_widths, self.y_widths).ravel()

    @cached_property
    def positions(self) -> Float[np.ndarray, "cell 3"]:
        """Centres of the cells, m; x is zero."""
        z, y = np.meshgrid(_centres(self.z_widths), _centres(self.y_widths), indexing="ij")
        return np.stack([np.zeros(self.size), y.ravel(), z.ravel()], axis=1)

    @cached_property
    def wall_distance(self) -> Cells:
        """Distance of the centres from the nearest wall, m."""
        y = _distance(self.y_widths, self.walls.y)
        z = _distance(self.z_widths, self.walls.z)
        return np.minimum(z[:, None], y[None, :]).ravel()

    def mean(self, values: Cells) -> float:
        """Mean over the area."""
        return float(values @ self.areas / self.areas.sum())


def rectangle(
    half_height: float,
    aspect_ratio: float = 1.0,
    *,
    cells: tuple[int, int],
    growth: tuple[float, float] = (1.0, 1.0),
    whole: bool = False,
) -> CrossSection:
    """A duct of height 2h and width 2h A, or its quarter between planes of symmetry.

    Args:
        half_height: h, m.
        aspect_ratio: A.
        cells: along y and z, in the quarter.
        growth: width of the cell in the middle over that at the wall, along y and z.
        whole: the whole duct, y from 0 to 2h, in place of the quarter.

    >>> section = rectangle(1.0, 2.0, cells=(4, 8))
    >>> section.shape, float(section.areas.sum())
    ((8, 4), 2.0)
    """
    y = np.diff(graded_faces(half_height, cells[0], growth[0]))
    z = np.diff(graded_faces(half_height * aspect_ratio, cells[1], growth[1]))
    if not whole:
        return CrossSection(y_widths=y, z_widths=z)
    both = (True, True)
    y, z = np.concatenate([y[::-1], y]), np.concatenate([z[::-1], z])
    return CrossSection(y_widths=y, z_widths=z, walls=Walls(y=both, z=both))


def channel(half_height: float, *, cells: int, growth: float = 1.0) -> CrossSection:
    """Half a plane channel: one cell wide between planes of symmetry."""
    y = np.diff(graded_faces(half_height, cells, growth))
    walls = Walls(z=(False, False))
    return CrossSection(y_widths=y, z_widths=np.array([half_height]), walls=walls)


def graded_faces(length: float, cells: int, growth: float) -> Line:
    """Faces from 0 to a wall at `length`, widths in geometric progression.

    >>> graded_faces(1.0, 2, 3.0)
    array([0.  , 0.75, 1.  ])
    """
    if length <= 0 or cells < 1 or growth <= 0:
        raise ValueError(
            f"length {length}, {cells} cells and growth {growth} were given; all must be positive"
        )
    widths = np.geomspace(growth, 1.0, cells) if cells > 1 else np.ones(1)
    return length * np.concatenate([[0.0], np.cumsum(widths) / widths.sum()])


def section_of(flow: xr.Dataset) -> CrossSection:
    """The quarter duct on which a reference flow is given, from its positions and volumes.

    Raises:
        ValueError: cells that make no rectangle with y running fastest.
    """
    y, z = flow["position"].values[:, 1:].astype(float).T
    rows = int(np.argmax(np.append(np.diff(z) > 1e-6 * np.ptp(z), True))) + 1
    if y.size % rows or not _is_grid(y.reshape(-1, rows), z.reshape(-1, rows)):
        raise ValueError(
            f"{y.size} cells that make no rectangular grid with y running fastest were given"
        )
    volumes = flow["cell_volume"].values.astype(float).reshape(-1, rows)
    return CrossSection(
        y_widths=_scaled(volumes.sum(axis=0), y[rows - 1]),
        z_widths=_scaled(volumes.sum(axis=1), z[-1]),
    )


def _is_grid(y: Float[np.ndarray, "row column"], z: Float[np.ndarray, "row column"]) -> bool:
    straight = (
        np.ptp(y, axis=0).max() <= 1e-6 * y.max() and np.ptp(z, axis=1).max() <= 1e-6 * z.max()
    )
    return bool(straight and np.diff(y).min(initial=1) > 0 and np.diff(z[:, 0]).min(initial=1) > 0)


def _centres(widths: Line) -> Line:
    return np.cumsum(widths) - widths / 2


def _scaled(widths: Line, last: float) -> Line:
    """Widths of which only ratios are known, with the last centre where it should be."""
    return widths * (last / _centres(widths)[-1])


def _distance(widths: Line, walls: tuple[bool, bool]) -> Line:
    low = _centres(widths) if walls[0] else np.full(widths.size, np.inf)
    high = _centres(widths[::-1])[::-1] if walls[1] else np.full(widths.size, np.inf)
    return np.minimum(low, high)
