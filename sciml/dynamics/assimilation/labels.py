"""From what an assimilation computed to a labelled data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import xarray as xr
from jaxtyping import Float
from torch import Tensor

__all__ = ["Record", "label"]

_WINDOW_DIMS: Mapping[str, tuple[str, ...]] = {
    "window_start": ("window",),
    "window_stop": ("window",),
    "cost": ("sample", "window", "iteration"),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Record:
    """What every assimilation gives.

    Attributes:
        times: of the analyses.
        state: their means.
        covariance: their covariances.
        first_guess: the forecast before the observations.
        windows: numbers of each window, [sample, window] unless `label` knows better.
    """

    times: Float[Tensor, " time"]
    state: Float[Tensor, "sample time component"]
    covariance: Float[Tensor, "sample time component component"]
    first_guess: Float[Tensor, "sample time component"]
    windows: Mapping[str, Tensor]


def label(record: Record, components: Sequence[str] | None) -> xr.Dataset:
    """A data set with dimensions sample, time, component, i, j, window, iteration.

    Raises:
        ValueError: another number of labels than components.
    """
    n = record.state.shape[2]
    names = list(range(n)) if components is None else list(components)
    if len(names) != n:
        raise ValueError(
            f"there are labels of {len(names)} components, and the state has {n}: give one each"
        )
    along = ("sample", "time", "component")
    spread = record.covariance.diagonal(dim1=-2, dim2=-1).sqrt()
    fields: dict[str, tuple[tuple[str, ...], Tensor]] = {
        "state": (along, record.state),
        "spread": (along, spread),
        "first_guess": (along, record.first_guess),
        "covariance": (("sample", "time", "i", "j"), record.covariance),
    }
    for name, values in record.windows.items():
        fields[name] = (_WINDOW_DIMS.get(name, ("sample", "window")), values)
    return xr.Dataset(
        {
            name: (dims, values.detach().numpy(), {"units": "1"})
            for name, (dims, values) in fields.items()
        },
        coords={
            "time": ("time", record.times.numpy(), {"units": "1"}),
            "component": ("component", names),
        },
    )
