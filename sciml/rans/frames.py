"""The same flow seen in other axes: what a closure must not notice."""

from __future__ import annotations

import numpy as np
import xarray as xr
from jaxtyping import Float64
from scipy.spatial.transform import Rotation

__all__ = ["random_rotation", "turned"]


def random_rotation(seed: int) -> Float64[np.ndarray, "3 3"]:
    """A rotation, uniform over all.

    >>> Q = random_rotation(3)
    >>> bool(np.allclose(Q @ Q.T, np.eye(3))), round(float(np.linalg.det(Q)), 12)
    (True, 1.0)
    """
    return Rotation.random(rng=np.random.default_rng(seed)).as_matrix()


def turned(ds: xr.Dataset, rotation: Float64[np.ndarray, "3 3"]) -> xr.Dataset:
    """A flow in turned axes: vectors v become Qv, and tensors A become QAQᵀ.

    Args:
        ds: variables over `i` are vectors, those over `i` and `j` tensors; the others stay.
        rotation: Q.

    >>> flow = xr.Dataset({"velocity": (("cell", "i"), [[1.0, 0.0, 0.0]])})
    >>> quarter = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    >>> turned(flow, quarter)["velocity"].values.tolist()
    [[0.0, 1.0, 0.0]]
    """
    return ds.assign({name: _turned(ds[name], rotation) for name in ds if "i" in ds[name].dims})


def _turned(array: xr.DataArray, Q: Float64[np.ndarray, "3 3"]) -> xr.DataArray:
    if "j" in array.dims:
        array = array.transpose(..., "i", "j")
        return array.copy(data=Q @ array.values @ Q.T)
    array = array.transpose(..., "i")
    return array.copy(data=array.values @ Q.T)
