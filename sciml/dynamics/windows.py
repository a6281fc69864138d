"""Windows of trajectories, for a field to be fitted on."""

from __future__ import annotations

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from sciml.dynamics.systems import times_of

__all__ = ["Windows", "states_of", "with_states"]


class Windows:
    """Pieces of trajectories: times from their beginning on, states, and which are observed.

    Item i is `(times [time], states [time, component], observed [time, component])`, float64; a
    state that was not observed is zero. Windows begin where the whole state is observed.

    Args:
        ds: `state` [sample, time, component] at increasing times, with `mask` where values lack.
        length: intervals in a window.
        stride: intervals from the beginning of a window to that of the next.

    Raises:
        ValueError: times that do not increase, missing values without a mask, or trajectories
            shorter than a window.

    >>> from sciml.dynamics.systems import trajectories
    >>> windows = Windows(trajectories(np.arange(7) * 0.1, samples=2), length=2, stride=2)
    >>> len(windows), [tuple(field.shape) for field in windows[0]]
    (6, [(3,), (3, 3), (3, 3)])
    """

    def __init__(self, ds: xr.Dataset, *, length: int = 1, stride: int = 1) -> None:
        if length < 1 or stride < 1:
            raise ValueError(f"length={length}, stride={stride}: both must be at least 1")
        self.length, self.times = length, times_of(ds)
        self.states, self.observed = states_of(ds)
        samples, count = self.times.shape
        whole = self.observed.min(-1) > 0
        self.places = [
            (sample, begin)
            for sample in range(samples)
            for begin in range(0, count - length, stride)
            if whole[sample, begin]
        ]
        if not self.places:
            raise ValueError(
                f"{samples} trajectories of {count} times have no window of {length} intervals "
                "that begins with an observed state: give longer ones or shorten the window"
            )

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        sample, begin = self.places[index]
        window = slice(begin, begin + self.length + 1)
        times = self.times[sample, window]
        return (
            torch.from_numpy(times - times[0]),
            torch.from_numpy(self.states[sample, window]),
            torch.from_numpy(self.observed[sample, window]),
        )


def states_of(
    ds: xr.Dataset,
) -> tuple[Float[np.ndarray, "sample time component"], Float[np.ndarray, "sample time component"]]:
    """The states, zero where not observed, and 1 or 0 for what is observed.

    Raises:
        ValueError: no `state` with these dimensions, or a value that is not finite without a
            mask that says so.
    """
    dims = ("sample", "time", "component")
    if "state" not in ds or set(ds["state"].dims) != set(dims):
        found = ds["state"].dims if "state" in ds else "none"
        raise ValueError(f"`state` must have the dimensions {dims}, found {found}")
    states = ds["state"].transpose(*dims).values.astype(np.float64)
    observed = np.ones_like(states)
    if "mask" in ds:
        observed = ds["mask"].broadcast_like(ds["state"]).transpose(*dims).values.astype(np.float64)
    missing = ~np.isfinite(states) & (observed > 0)
    if missing.any():
        sample, time, component = np.argwhere(missing)[0]
        raise ValueError(
            f"the state of sample {sample} at position {time}, component {component} is "
            f"{states[sample, time, component]}: give a `mask` that is 0 there, or leave it out"
        )
    return np.where(observed > 0, states, 0.0), observed


def with_states(ds: xr.Dataset, states: Float[Tensor, "sample time component"]) -> xr.Dataset:
    """The data set with other states, none of them masked.

    >>> from sciml.dynamics.systems import trajectories
    >>> ds = trajectories(np.arange(3) * 0.1, samples=2)
    >>> float(with_states(ds, torch.zeros(2, 3, 3).double())["state"].max())
    0.0
    """
    state = ds["state"].transpose("sample", "time", "component")
    whole = ds.drop_vars(["mask"], errors="ignore")
    return whole.assign(state=state.copy(data=states.detach().numpy()))
