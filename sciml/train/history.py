"""The record of a training run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import xarray as xr

from sciml.data.files import read_json, write_json

Ending = Literal["running", "epochs", "patience", "converged"]


@dataclass(frozen=True, kw_only=True)
class History:
    """Losses, learning rate and time of every epoch.

    Args:
        train_loss: mean over the epoch's samples, each under the weights of its update.
        valid_loss: mean over the validation samples after the epoch; empty without them.
        learning_rate: rate of the epoch's last update.
        seconds: time each epoch took.
        best_epoch: epoch of the smallest validation loss, counted from zero; its weights are
            returned. None without validation samples.
        ended: what ended the run: all epochs done, no improvement for `patience` epochs, or an
            optimiser that can gain no more.

    Example:
        >>> History().after(train_loss=0.5, valid_loss=None, learning_rate=1e-3, seconds=2.0)
        ... # doctest: +ELLIPSIS
        History(train_loss=(0.5,), valid_loss=(), learning_rate=(0.001,), ...)
    """

    train_loss: tuple[float, ...] = ()
    valid_loss: tuple[float, ...] = ()
    learning_rate: tuple[float, ...] = ()
    seconds: tuple[float, ...] = ()
    best_epoch: int | None = None
    ended: Ending = "running"

    @property
    def epochs(self) -> int:
        """Number of epochs done."""
        return len(self.train_loss)

    @property
    def best_loss(self) -> float:
        """Smallest validation loss so far, infinite before the first."""
        return min(self.valid_loss, default=float("inf"))

    def after(
        self, *, train_loss: float, valid_loss: float | None, learning_rate: float, seconds: float
    ) -> History:
        """The history with one more epoch."""
        best = self.best_epoch
        if valid_loss is not None and valid_loss < self.best_loss:
            best = self.epochs
        return replace(
            self,
            train_loss=(*self.train_loss, train_loss),
            valid_loss=self.valid_loss if valid_loss is None else (*self.valid_loss, valid_loss),
            learning_rate=(*self.learning_rate, learning_rate),
            seconds=(*self.seconds, seconds),
            best_epoch=best,
        )

    def to_record(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> History:
        """The history that `to_record` gave."""
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in record.items()
        }
        return cls(**values)

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the history as JSON, atomically."""
        write_json(Path(path), self.to_record())

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> History:
        """Read what `write` wrote."""
        return cls.from_record(read_json(Path(path)))

    def to_dataset(self) -> xr.Dataset:
        """The curves over the dimension `epoch`.

        Example:
            >>> h = History(train_loss=(2.0, 1.0), learning_rate=(0.1, 0.1), seconds=(3.0, 3.0))
            >>> sorted(h.to_dataset().data_vars)
            ['learning_rate', 'seconds', 'train_loss']
        """
        curves = {
            "train_loss": ("1", self.train_loss),
            "valid_loss": ("1", self.valid_loss),
            "learning_rate": ("1", self.learning_rate),
            "seconds": ("s", self.seconds),
        }
        variables = {
            name: ("epoch", list(values), {"units": units})
            for name, (units, values) in curves.items()
            if len(values) == self.epochs
        }
        epoch = ("epoch", list(range(1, self.epochs + 1)), {"units": "1"})
        attributes = {"ended": self.ended}
        return xr.Dataset(variables, coords={"epoch": epoch}, attrs=attributes)
