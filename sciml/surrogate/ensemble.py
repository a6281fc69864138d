"""Several surrogates that differ by their seed: their mean, and how far it can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import xarray as xr

from sciml.data.files import read_json, write_json
from sciml.surrogate.base import Surrogate

__all__ = ["Ensemble"]

S = TypeVar("S", bound=Surrogate[Any])
RECORD = "ensemble.json"


class Ensemble(Generic[S]):
    """The mean of K surrogates, with an interval at every point.

    Deep ensembles (Lakshminarayanan, Pritzel, Blundell 2017, doi:10.48550/arXiv.1612.01474): with
    the mean m and the standard deviation s over the members, the interval is m ± f s. The factor
    f of each output is fitted on the validation data so that the interval holds the share
    `coverage` of its points; on other data, coverage is to be measured, not assumed.

    Args:
        members: surrogates that differ in nothing but their seed.
        coverage: share of the points that the interval is to hold.
    """

    def __init__(self, members: Sequence[S], *, coverage: float = 0.9) -> None:
        if len(members) < 2:
            raise ValueError(f"{len(members)} members were given; a spread needs two or more")
        if not 0 < coverage < 1:
            raise ValueError(f"a coverage of {coverage} was given; it lies between 0 and 1")
        self.members, self.coverage = list(members), coverage
        self.factors: dict[str, float] = {}

    @classmethod
    def of(cls, member: S, count: int, *, coverage: float = 0.9) -> Ensemble[S]:
        """`count` surrogates like `member`, with seeds counted from its own."""
        seeds = (member.training.seed + i for i in range(count))
        members = [
            type(member)(member.options, training=replace(member.training, seed=seed))
            for seed in seeds
        ]
        return cls(members, coverage=coverage)

    def fit(
        self,
        train: xr.Dataset,
        valid: xr.Dataset | None = None,
        *,
        folder: Path | None = None,
        resume: bool = False,
    ) -> None:
        """Fit every member, then the factor of every output on the validation data.

        Raises:
            ValueError: no validation data to calibrate the interval on.
        """
        if valid is None:
            raise ValueError("no validation data were given; the interval is calibrated on them")
        for number, member in enumerate(self.members):
            own = None if folder is None else Path(folder) / f"member{number}"
            begun = resume and own is not None and own.exists()
            member.fit(train, valid, folder=own, resume=begun)
        mean, spread, _ = self._moments(valid)
        self.factors = {
            str(name): _quantile(abs(valid[name] - mean[name]), spread[name], self.coverage)
            for name in mean
        }

    def predict(self, ds: xr.Dataset) -> xr.Dataset:
        """The mean of each output, and as `NAME_interval` half the width of its interval.

        Where the members say whether they are to be trusted, `trusted` is where all of them are.

        Raises:
            ValueError: not fitted.
        """
        if not self.factors:
            raise ValueError("this Ensemble is not fitted: call fit, or Ensemble.load a saved one")
        mean, spread, trust = self._moments(ds)
        widths = {
            f"{name}_interval": (self.factors[str(name)] * spread[name]).assign_attrs(
                units=mean[name].attrs["units"]
            )
            for name in mean
        }
        return mean.assign(widths).merge(trust)

    def save(self, folder: Path) -> None:
        """Each member in a folder of its own, beside the factors."""
        folder = Path(folder)
        for number, member in enumerate(self.members):
            member.save(folder / f"member{number}")
        record = {"members": len(self.members), "coverage": self.coverage, "factors": self.factors}
        write_json(folder / RECORD, record)

    @classmethod
    def load(cls, folder: Path) -> Ensemble[S]:
        """Read what `save` wrote."""
        folder = Path(folder)
        record = read_json(folder / RECORD)
        paths = (folder / f"member{number}" for number in range(record["members"]))
        ensemble = cls([Surrogate.load(path) for path in paths], coverage=record["coverage"])  # type: ignore[misc]
        ensemble.factors = record["factors"]
        return ensemble

    def _moments(self, ds: xr.Dataset) -> tuple[xr.Dataset, xr.Dataset, xr.Dataset]:
        """Mean and deviation over the members, and where all of them trust themselves.

        One prediction is in memory at a time. Members that do not say where they are to be trusted
        leave the last data set empty.
        """
        units, count = self.members[0].outputs, len(self.members)
        total = squares = xr.Dataset()
        trust = xr.Dataset()
        for place, member in enumerate(self.members):
            whole = member.predict(ds, outside="warn")
            one = whole[list(units)].astype(np.float64)
            total = one if place == 0 else total + one
            squares = one**2 if place == 0 else squares + one**2
            if "trusted" in whole:
                own = whole[["trusted"]]
                trust = own if place == 0 else trust.where(trust <= own, own)
        mean = total / count
        spread = ((squares / count - mean**2).clip(min=0) * count / (count - 1)) ** 0.5
        for name in mean:
            mean[name].attrs["units"] = units[str(name)]
        return mean, spread, trust


def _quantile(error: xr.DataArray, spread: xr.DataArray, share: float) -> float:
    """The factor f for which error ≤ f · spread holds for a share of the points with spread."""
    ratio = (error.values / np.where(spread.values > 0, spread.values, np.nan)).ravel()
    return float(np.nanquantile(ratio, share))
