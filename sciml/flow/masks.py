"""Bodies as pixels: the outline of a mask, and the distance a mask alone can give."""

from __future__ import annotations

import numpy as np
import shapely
from contourpy import LineType, contour_generator
from jaxtyping import Bool, Float64
from scipy.ndimage import distance_transform_edt

from sciml.flow.shapes import Shape

__all__ = ["shape_of_mask", "signed_distance_of_mask"]


def shape_of_mask(mask: np.ndarray, *, pixel: float = 1.0, level: float = 0.5) -> Shape:
    """The outlines of a mask at half level, as polygons with their holes.

    Row 0 is the top of the image, as in a picture; the lower left corner of the image is the
    origin. A body cut off by the border of the image is closed along it. On a binary mask an
    outline passes half way between a solid and a fluid pixel and cuts the corners at 45 degrees;
    smoothed edges give it to a fraction of a pixel.

    Args:
        mask: solidity (rows, columns), 1 or true in the solid.
        pixel: side of a pixel [m].
        level: the solidity of the outline.

    Raises:
        ValueError: for a mask that is not two-dimensional, not finite, empty or without fluid.

    Example:
        >>> mask = np.zeros((4, 6), dtype=bool)
        >>> mask[1:3, 1:4] = True
        >>> shape_of_mask(mask).bounds
        (1.0, 1.0, 4.0, 3.0)
    """
    solidity = _check_mask(mask, level)
    padded = np.pad(np.flipud(solidity), 1)
    y, x = (pixel * (np.arange(size) - 0.5) for size in padded.shape)
    contours = contour_generator(x=x, y=y, z=padded, line_type=LineType.Separate)
    rings = [_without_collinear(np.asarray(line)) for line in contours.lines(level)]
    return Shape(rings=tuple(rings), family="mask")


def signed_distance_of_mask(
    mask: np.ndarray, *, spacing: float = 1.0
) -> Float64[np.ndarray, "rows columns"]:
    """Distance to the boundary of a mask by the Euclidean distance transform, in its own rows.

    The wall is taken to lie half a cell before the nearest pixel of the other kind. The sign is
    right; the size is exact for straight walls along the axes, elsewhere wrong by up to a cell,
    more beside a tip thinner than a pixel. :func:`shape_of_mask` gives an exact distance.

    Args:
        mask: solidity (rows, columns), more than 0.5 in the solid.
        spacing: side of a pixel [m].

    Raises:
        ValueError: as :func:`shape_of_mask`.

    Example:
        >>> signed_distance_of_mask(np.array([[0, 0, 1, 1]]))
        array([[ 1.5,  0.5, -0.5, -1.5]])
    """
    solid: Bool[np.ndarray, "rows columns"] = _check_mask(mask, 0.5) > 0.5
    outside, inside = distance_transform_edt(~solid), distance_transform_edt(solid)
    return spacing * np.where(solid, 0.5 - inside, outside - 0.5)


def _without_collinear(line: Float64[np.ndarray, "_ 2"]) -> Float64[np.ndarray, "_ 2"]:
    return shapely.get_coordinates(shapely.simplify(shapely.linestrings(line), 0.0))


def _check_mask(mask: np.ndarray, level: float) -> Float64[np.ndarray, "rows columns"]:
    solidity = np.asarray(mask, dtype=np.float64)
    if solidity.ndim != 2:
        raise ValueError(f"A mask has rows and columns; this array has shape {solidity.shape}.")
    if not np.isfinite(solidity).all():
        row, column = np.argwhere(~np.isfinite(solidity))[0]
        raise ValueError(f"The mask is not finite at row {row}, column {column}.")
    solid = solidity > level
    if not solid.any():
        raise ValueError(f"The mask holds no solid pixel: none exceeds {level:g}.")
    if solid.all():
        raise ValueError(f"The mask holds no fluid pixel: all exceed {level:g}.")
    return solidity
