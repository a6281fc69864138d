"""What is seen of a trajectory: noise, gaps, some components only, irregular times.

Each takes and returns a data set with `state` [sample, time, component]; they can be chained.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from jaxtyping import Float

__all__ = ["add_noise", "hide", "irregular_times", "observe_components", "show"]


def add_noise(
    ds: xr.Dataset,
    *,
    standard_deviation: float | Sequence[float] | None = None,
    variance: float | None = None,
    ratio: float | None = None,
    seed: int,
) -> xr.Dataset:
    """Add independent Gaussian noise to every value of `state`.

    Args:
        ds: with `state` [sample, time, component].
        standard_deviation: of the noise, the same for all components or one for each.
        variance: its square, instead.
        ratio: the noise's standard deviation over that of each component in `ds`, instead.
        seed: of the noise.

    Returns:
        The data set with noisy `state`, and `noise_standard_deviation` [component].

    Raises:
        ValueError: not exactly one of the three sizes, or a negative one.

    >>> ds = xr.Dataset({"state": (("sample", "time", "component"), np.zeros((1, 4000, 1)))})
    >>> bool(abs(add_noise(ds, variance=4.0, seed=0)["state"].std() - 2) < 0.1)
    True
    """
    state = ds["state"].transpose("sample", "time", "component")
    sizes = [size for size in (standard_deviation, variance, ratio) if size is not None]
    if len(sizes) != 1 or np.min(sizes[0]) < 0:
        raise ValueError(
            f"{len(sizes)} sizes of noise were given: "
            "give one of standard_deviation, variance and ratio, zero or more"
        )
    if ratio is not None:
        spread = ratio * state.std(("sample", "time")).values
    else:
        given = np.sqrt(sizes[0]) if standard_deviation is None else standard_deviation
        spread = np.broadcast_to(np.asarray(given, np.float64), state.sizes["component"])
    noise = spread * np.random.default_rng(seed).standard_normal(state.shape)
    noisy = state.copy(data=state.values + noise)
    return ds.assign(
        state=noisy, noise_standard_deviation=("component", spread, {"units": "1"})
    ).assign_attrs(noise_seed=seed)


def hide(
    ds: xr.Dataset,
    *,
    share: float = 0.0,
    every: int = 1,
    components: Sequence[str] = (),
    seed: int = 0,
) -> xr.Dataset:
    """Hide values: `state` becomes NaN there and `mask` 0.

    Args:
        ds: with `state` [sample, time, component].
        share: part of the times, drawn at random for each sample, at which all is hidden; the
            first time is always seen.
        every: only one time in so many is seen, from the first on.
        components: names of components that are never seen, but stay in the data set.
        seed: of the draw.

    Raises:
        ValueError: a share outside [0, 1), or `every` below 1.

    >>> ds = xr.Dataset({"state": (("sample", "time", "component"), np.ones((1, 4, 1)))})
    >>> hide(ds, every=2)["mask"].values.ravel().tolist()
    [1, 0, 1, 0]
    """
    if not 0 <= share < 1 or every < 1:
        raise ValueError(
            f"share={share}, every={every}: share must be in [0, 1) and every at least 1"
        )
    state = ds["state"].transpose("sample", "time", "component")
    seen = np.random.default_rng(seed).random(state.shape[:2]) >= share
    seen[:, np.arange(state.shape[1]) % every != 0] = False
    seen[:, 0] = True
    mask = np.repeat(seen[..., None], state.shape[2], axis=2)
    if components:
        mask[..., np.isin(state["component"].values, components)] = False
    if "mask" in ds:
        mask &= ds["mask"].transpose(*state.dims).values.astype(bool)
    return ds.assign(
        state=state.where(mask), mask=(state.dims, mask.astype(np.int8), {"units": "1"})
    )


def show(ds: xr.Dataset, *, count: int, seed: int = 0) -> xr.Dataset:
    """Show so many values of each component of each sample, at times drawn for each by itself.

    The rest of `state` becomes NaN, and `mask` 0 there.

    Args:
        ds: with `state` [sample, time, component].
        count: values shown of each component.
        seed: of the draw.

    Raises:
        ValueError: a count below 1 or above the number of times.

    >>> ds = xr.Dataset({"state": (("sample", "time", "component"), np.ones((1, 4, 2)))})
    >>> show(ds, count=3)["mask"].sum("time").values.tolist()
    [[3, 3]]
    """
    state = ds["state"].transpose("sample", "time", "component")
    times = state.sizes["time"]
    if not 1 <= count <= times:
        raise ValueError(f"count={count} of {times} times: give at least one and not more than all")
    order = np.random.default_rng(seed).random(state.shape).argsort(1).argsort(1)
    mask = order < count
    return ds.assign(
        state=state.where(mask), mask=(state.dims, mask.astype(np.int8), {"units": "1"})
    )


def observe_components(ds: xr.Dataset, components: Sequence[str] = ("x",)) -> xr.Dataset:
    """Keep only some components: the others are gone from the data set.

    Raises:
        ValueError: a component that `ds` does not have.

    >>> ds = xr.Dataset({"state": (("sample", "time", "component"), np.ones((1, 1, 3)))},
    ...     coords={"component": ["x", "y", "z"]})
    >>> observe_components(ds)["component"].values.tolist()
    ['x']
    """
    known = ds["component"].values.tolist()
    if missing := [name for name in components if name not in known]:
        raise ValueError(f"components {missing} are none of {known}: name those of the data set")
    return ds.sel(component=list(components))


def irregular_times(
    samples: int, count: int, *, mean_step: float, spread: float = 0.5, seed: int = 0
) -> Float[np.ndarray, "sample time"]:
    """Increasing times from zero on, their gaps uniform in mean_step · [1 − spread, 1 + spread].

    Raises:
        ValueError: a spread outside [0, 1), which would let times repeat.

    >>> irregular_times(2, 3, mean_step=0.1, spread=0.0)
    array([[0. , 0.1, 0.2], [0. , 0.1, 0.2]])
    """
    if not 0 <= spread < 1 or mean_step <= 0:
        raise ValueError(
            f"spread={spread}, mean_step={mean_step}: "
            "spread must be in [0, 1) and mean_step positive"
        )
    draws = np.random.default_rng(seed).uniform(-spread, spread, (samples, count - 1))
    times = np.zeros((samples, count))
    times[:, 1:] = np.cumsum(mean_step * (1 + draws), axis=1)
    return times
