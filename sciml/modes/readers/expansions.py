"""Data kept as an expansion in modes, or as the equations of its coefficients."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr
from jaxtyping import Float

from sciml.modes.layout import MASK, TIME, VOLUME
from sciml.modes.readers.labels import TIMES, VOLUMES
from sciml.modes.readers.options import ReadOptions

__all__ = ["AMPLITUDES", "expanded", "galerkin_snapshots", "is_expansion", "is_galerkin"]

AMPLITUDES = ("a", "amplitudes", "coefficients")
"""Names of the coefficients (time, mode) of an expansion."""


def is_expansion(arrays: Mapping[str, np.ndarray]) -> bool:
    """Whether arrays are a mean, modes and their amplitudes in time."""
    return {"mean", "modes"} <= set(arrays) and any(name in arrays for name in AMPLITUDES)


def is_galerkin(arrays: Mapping[str, np.ndarray]) -> bool:
    """Whether arrays are the constant, linear and quadratic terms of a Galerkin model."""
    if not {"C", "L", "Q"} <= set(arrays):
        return False
    size = arrays["C"].size
    return arrays["L"].shape == (size, size) and arrays["Q"].shape == (size,) * 3


def expanded(arrays: Mapping[str, np.ndarray], options: ReadOptions) -> xr.Dataset:
    r"""Rebuild the snapshots of an expansion.

    $q(x, t) = \bar q(x) + \sum_k a_k(t)\,\varphi_k(x)$

    Args:
        arrays: `mean` over the mesh, `modes` (mode, mesh), `a` (time, mode), times `t`, and
            optionally `x`, `y` or `xy` (2, point), `mask`, `mass` or `cell_volume`. A first axis
            of two or three is the components `i`, and the field is called `velocity`.
        options: which times are rebuilt.

    Returns:
        `velocity` or `field` in the type of the modes.

    Raises:
        ValueError: the shapes do not fit, or another variable is asked for.
    """
    mean, modes = np.asarray(arrays["mean"]), np.asarray(arrays["modes"])
    a = np.asarray(next(arrays[name] for name in AMPLITUDES if name in arrays))
    if modes.shape[1:] != mean.shape or a.ndim != 2 or a.shape[1] != len(modes):
        raise ValueError(
            f"an expansion of mean {mean.shape}, modes {modes.shape} and amplitudes {a.shape} does "
            "not fit together: modes is (mode, *mean.shape), amplitudes (time, mode)"
        )
    vector = mean.ndim > 1 and mean.shape[0] in (2, 3)
    name = "velocity" if vector else "field"
    if options.variables not in (None, (name,)):
        raise ValueError(f"the expansion gives {name}, not {', '.join(options.variables or ())}")
    given = next((np.ravel(arrays[key]) for key in TIMES if key in arrays), None)
    times = options.times(given, len(a))
    kept = options.kept(times, mean.nbytes)
    values = (a[kept].astype(modes.dtype) @ modes.reshape(len(modes), -1)).reshape(-1, *mean.shape)
    values += mean
    mesh = _mesh_names(mean.shape[vector:])
    dims = (TIME, *(("i",) if vector else ()), *mesh)
    ds = xr.Dataset(
        {name: (dims, values, {"units": "1"})},
        coords={TIME: (TIME, times[kept], {"units": "1"}), **_coordinates(arrays, mesh, mean)},
    )
    return _with_mesh(ds, arrays, mesh)


def _mesh_names(shape: tuple[int, ...]) -> tuple[str, ...]:
    return ("cell",) if len(shape) == 1 else ("z", "y", "x")[-len(shape) :]


def _coordinates(
    arrays: Mapping[str, np.ndarray], mesh: tuple[str, ...], mean: np.ndarray
) -> dict[str, tuple[str, np.ndarray, dict[str, str]]]:
    """Along its own dimension on a grid, of every cell elsewhere."""
    places = {axis: np.asarray(arrays[axis]).ravel() for axis in "xyz" if axis in arrays}
    if "xy" in arrays:
        places |= dict(zip("xyz", np.asarray(arrays["xy"]), strict=False))
    sizes = dict(zip(mesh, mean.shape[-len(mesh) :], strict=True))
    found = {}
    for axis, values in places.items():
        dim = axis if axis in sizes else "cell"
        if sizes.get(dim) == len(values):
            found[axis] = (dim, values, {"units": "1"})
    return found


def _with_mesh(
    ds: xr.Dataset, arrays: Mapping[str, np.ndarray], mesh: tuple[str, ...]
) -> xr.Dataset:
    volume = next((arrays[name] for name in VOLUMES if name in arrays), None)
    if volume is not None:
        ds[VOLUME] = (mesh, np.asarray(volume), {"units": "1"})
    if MASK in arrays:
        ds[MASK] = (mesh, np.asarray(arrays[MASK]).astype(bool), {"units": "1"})
    return ds


def galerkin_snapshots(
    arrays: Mapping[str, np.ndarray],
    options: ReadOptions,
    *,
    rank: int = 32,
    duration: float = 100.0,
    steps: int = 1000,
) -> xr.Dataset:
    r"""Coefficients of a Galerkin model, found by integrating it from rest.

    $\dot a_i = C_i + \sum_j L_{ij} a_j + \sum_{jk} Q_{ijk} a_j a_k$

    Cut off at a lower rank the models of a turbulent flow may lack dissipation, yet stay bounded.

    Args:
        arrays: `C`, `L` and `Q`.
        options: which times are kept.
        rank: how many of the coefficients take part.
        duration: end of the integration, in the model's time.
        steps: snapshots up to there.

    Returns:
        `coefficient` (time, cell), one cell for each coefficient.

    Raises:
        ValueError: the model runs away, or another variable is asked for.
    """
    if options.variables not in (None, ("coefficient",)):
        raise ValueError("the Galerkin model gives coefficient, and no other variable")
    times = np.linspace(0.0, duration, steps + 1)
    values = _integrated(arrays, rank, times)
    kept = options.kept(times, values[0].nbytes)
    return xr.Dataset(
        {"coefficient": ((TIME, "cell"), values[kept], {"units": "1"})},
        coords={TIME: (TIME, times[kept], {"units": "1"})},
    )


def _integrated(
    arrays: Mapping[str, np.ndarray], rank: int, times: Float[np.ndarray, " time"]
) -> Float[np.ndarray, "time rank"]:
    from scipy.integrate import solve_ivp

    C, L = np.ravel(arrays["C"])[:rank], np.asarray(arrays["L"])[:rank, :rank]
    Q = np.ascontiguousarray(np.asarray(arrays["Q"])[:rank, :rank, :rank])

    def rate(t: float, a: np.ndarray) -> np.ndarray:
        return C + L @ a + (Q @ a) @ a

    ends = (float(times[0]), float(times[-1]))
    found = solve_ivp(rate, ends, np.zeros(len(C)), t_eval=times, rtol=1e-6, atol=1e-8)
    if not found.success:
        raise ValueError(f"the Galerkin model cannot be integrated: {found.message}")
    return found.y.T
