"""The same flow seen through a round window that is turned, moved, mirrored or magnified."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import xarray as xr
from jaxtyping import Float, Float64

from sciml.modes.grids import axes_of, gridded, spacing
from sciml.modes.layout import MASK, TIME

__all__ = ["PLANE", "View", "Window"]

SIZE = 0.4
"""Radius of the window over the shorter side of the domain, which leaves room to move it."""


@dataclass(frozen=True, kw_only=True)
class View:
    """How the window stands.

    Attributes:
        angle: it is turned by, degrees, counter-clockwise.
        shift: it is moved by along x, in its radius.
        mirrored: across the line along x through its centre; in one dimension about its centre.
        magnified: how much larger things appear.
        amplitude: how much larger deviations from the mean are.
    """

    angle: float = 0.0
    shift: float = 0.0
    mirrored: bool = False
    magnified: float = 1.0
    amplitude: float = 1.0

    def matrix(self, dimensions: int) -> Float64[np.ndarray, "dim dim"]:
        """Turns and mirrors vectors (x, y)."""
        if dimensions == 1:
            return np.array([[-1.0 if self.mirrored else 1.0]])
        turn = np.deg2rad(self.angle)
        R = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        return R @ np.diag([1.0, -1.0 if self.mirrored else 1.0])


PLANE: Mapping[str, View] = MappingProxyType(
    {
        "turned 90°": View(angle=90.0),
        "turned 30°": View(angle=30.0),
        "moved": View(shift=0.25),
        "mirrored": View(mirrored=True),
        "magnified 1.25": View(magnified=1.25),
        "amplitude × 0.5": View(amplitude=0.5),
        "amplitude × 2": View(amplitude=2.0),
    }
)
"""The views that are tried; on a line those that turn are left out."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """A disc, or an interval of a line, in the middle of an evenly spaced grid.

    Deviations from the mean in time are seen, which are zero in the solid, so that every view has
    the same mesh and the same mask.

    Attributes:
        fields: deviations over (time, i, y, x) or without i, or without y.
        axes: the dimensions of space, the last is x.
        spacing: of the grid along each.
        points: from the centre of the window to its rim.
    """

    fields: xr.Dataset
    axes: tuple[str, ...]
    spacing: tuple[float, ...]
    points: int

    @classmethod
    def of(cls, ds: xr.Dataset, names: Sequence[str]) -> Window | None:
        """The window of snapshots; None where they have no grid of one or two dimensions."""
        grid = gridded(ds, names)
        axes = None if grid is None else axes_of(grid, names)
        if grid is None or axes is None or len(axes) > 2:
            return None
        widths = tuple(spacing(grid, axis) or 1.0 for axis in axes)
        fields = grid[list(names)]
        fields = (fields - fields.mean(TIME)).astype(np.float64)
        if MASK in grid:
            fields = fields.where(grid[MASK], 0.0)
        extents = [(grid.sizes[a] - 1) * w for a, w in zip(axes, widths, strict=True)]
        points = int(SIZE * min(extents) / min(widths))
        if points < 4:
            return None
        return cls(fields=fields, axes=axes, spacing=widths, points=points)

    @property
    def views(self) -> Mapping[str, View]:
        """Those that the dimensions allow."""
        flat = len(self.axes) == 1
        return {name: view for name, view in PLANE.items() if not (flat and view.angle)}

    def seen(self, view: View, times: slice | np.ndarray = slice(None)) -> xr.Dataset:
        """Snapshots as the window shows them, over (time, i, y, x) with the mask of the disc."""
        fields = self.fields.isel({TIME: times})
        matrix = view.matrix(len(self.axes))
        places = self._places(view, matrix)
        found = {name: self._sampled(fields[name], places, matrix, view) for name in fields}
        line = np.arange(-self.points, self.points + 1) * min(self.spacing)
        ds = xr.Dataset(found, coords={axis: line for axis in self.axes})
        squares = sum(ds[axis] ** 2 for axis in self.axes)
        inside = np.asarray(squares <= (self.points * min(self.spacing)) ** 2 * (1 + 1e-9))
        return ds.assign_coords({TIME: fields[TIME]}).assign({MASK: (self.axes, inside)})

    def _places(self, view: View, matrix: Float[np.ndarray, "dim dim"]) -> np.ndarray:
        """Where in the grid, counted in its points, each point of the window looks."""
        width = min(self.spacing)
        line = np.arange(-self.points, self.points + 1) * width
        mesh = np.meshgrid(*[line] * len(self.axes), indexing="ij")
        own = np.stack(mesh[::-1]).reshape(len(self.axes), -1)  # x first
        looked = (matrix.T @ own) / view.magnified
        looked[0] += view.shift * self.points * width
        centre = [(self.fields.sizes[axis] - 1) // 2 for axis in self.axes]
        places = [
            c + looked[len(self.axes) - 1 - k] / w
            for k, (c, w) in enumerate(zip(centre, self.spacing, strict=True))
        ]
        return np.round(np.stack(places), 9).reshape(len(self.axes), *mesh[0].shape)

    def _sampled(
        self, field: xr.DataArray, places: np.ndarray, matrix: np.ndarray, view: View
    ) -> xr.DataArray:
        from scipy.ndimage import map_coordinates

        lead = tuple(d for d in (TIME, "i") if d in field.dims)
        array = field.transpose(*lead, *self.axes)
        flat = array.values.reshape(-1, *array.shape[len(lead) :])
        looked = np.stack([map_coordinates(one, places, order=3, mode="nearest") for one in flat])
        looked = view.amplitude * looked.reshape(*array.shape[: len(lead)], *places.shape[1:])
        if "i" in lead and len(self.axes) == 2:
            looked[:, :2] = np.einsum("ij,tj...->ti...", matrix, looked[:, :2])
        return xr.DataArray(looked, dims=(*lead, *self.axes), attrs={"units": "1"})
