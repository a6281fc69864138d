"""Tasks for test_generation.py, in a module of their own so that spawned workers import them."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from sciml.data import SampleFailure


def field(rng: np.random.Generator) -> xr.Dataset:
    x = np.linspace(0.0, 1.0, 6)
    return xr.Dataset(
        {
            "velocity": (("component", "y", "x"), rng.random((2, 4, 6)), {"units": "m s-1"}),
            "pressure": (("y", "x"), rng.random((4, 6)).astype("float32"), {"units": "Pa"}),
            "drag": ((), rng.random(), {"units": "1", "long_name": "drag coefficient"}),
            "steady": ((), bool(rng.random() < 0.5), {"units": "1"}),
            "family": ((), str(rng.choice(["circle", "rectangle"]))),
        },
        coords={"x": ("x", x, {"units": "m"})},
    )


@dataclass(frozen=True, kw_only=True)
class Fields:
    """Random fields, of which about one in four fails."""

    failing: float = 0.25

    def __call__(self, index: int, rng: np.random.Generator) -> xr.Dataset:
        if rng.random() < self.failing:
            raise SampleFailure(f"sample {index} is unsteady")
        return field(rng)


@dataclass(frozen=True, kw_only=True)
class SlowFields:
    """Fields that take their time; each leaves the process and its number in a folder."""

    seen: str
    seconds: float = 0.05

    def __call__(self, index: int, rng: np.random.Generator) -> xr.Dataset:
        (Path(self.seen) / f"{os.getpid()}-{index}").touch()
        time.sleep(self.seconds)
        if rng.random() < 0.25:
            raise SampleFailure(f"sample {index} is unsteady")
        return field(rng)


def always_fails(index: int, rng: np.random.Generator) -> xr.Dataset:
    raise SampleFailure("the flow is unsteady")


def changing(index: int, rng: np.random.Generator) -> xr.Dataset:
    name = "lift" if index == 2 else "drag"
    return xr.Dataset({name: ((), 1.0, {"units": "1"})})


def fails_to_run(index: int, rng: np.random.Generator) -> xr.Dataset:
    if index == 3:
        raise ZeroDivisionError("a mistake in the task")
    return field(rng)


def dies(index: int, rng: np.random.Generator) -> xr.Dataset:
    if index == 3:
        os.kill(os.getpid(), 9)
    return field(rng)
