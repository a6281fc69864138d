"""A straight line through noisy points, by gradient descent.

The smallest case there can be: its least squares are known in closed form, and it runs in
milliseconds. Its full tier sets a bound that noise forbids.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from sciml import Bound, Case, Diagnostic, Job, Metric, Outcome, Splits, Table, save
from sciml.data.files import read_json, write_json
from sciml.metrics import mean_absolute_error, relative_l2_error
from sciml.report import figure

SLOPE, OFFSET, NOISE = 2.0, 0.5, 0.02


def points(count: int, seed: int, low: float, high: float) -> xr.Dataset:
    """y = 2 x + 1/2 + noise, at random x between two ends."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(low, high, count)
    y = SLOPE * x + OFFSET + NOISE * rng.normal(size=count)
    variables = {"x": ("sample", x, {"units": "m"}), "y": ("sample", y, {"units": "K"})}
    return xr.Dataset(variables, attrs={"origin": "a line with normal noise, drawn anew"})


def generate(job: Job) -> list[Path]:
    """Write the training points to one file."""
    return [save(points(job.samples or 64, job.seed, -1, 1), job.data / "points.nc")]


def load(job: Job) -> Splits:
    """Training points, and a test set inside their range and one outside of it."""
    return Splits(
        train=points(64, job.seed, -1, 1),
        valid=points(16, job.seed + 1, -1, 1),
        tests={
            "unseen": points(32, job.seed + 2, -1, 1),
            "farther <away>": points(32, job.seed + 3, 3, 4),
        },
    )


class Line:
    """y = a x + b, fitted by gradient descent."""

    def __init__(self, a: float = 0.0, b: float = 0.0) -> None:
        self.a, self.b = a, b

    def fit(self, train, valid=None, *, folder=None, resume=False):
        losses, checks = [], []
        for _ in range(60):
            error = self.a * train.x + self.b - train.y
            self.a -= 0.9 * float((error * train.x).mean())
            self.b -= 0.9 * float(error.mean())
            losses.append(float((error**2).mean()))
            checks.append(float(((self.a * valid.x + self.b - valid.y) ** 2).mean()))
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "fits.log").open("a") as log:
            log.write("fitted\n")
        record = {"train_loss": losses, "valid_loss": checks, "seconds": [1e-4] * 60}
        write_json(folder / "history.json", record)

    def predict(self, ds: xr.Dataset) -> xr.Dataset:
        return xr.Dataset({"y": (self.a * ds.x + self.b).assign_attrs(units="K")})

    def save(self, folder: Path) -> None:
        write_json(folder / "line.json", {"a": self.a, "b": self.b})

    @classmethod
    def load(cls, folder: Path) -> Line:
        return cls(**read_json(folder / "line.json"))


class Mean:
    """The mean of the training points, whatever x is."""

    def fit(self, train, valid=None, *, folder=None, resume=False):
        self.value = float(train.y.mean())

    def predict(self, ds: xr.Dataset) -> xr.Dataset:
        return xr.Dataset({"y": xr.full_like(ds.x, self.value).assign_attrs(units="K")})


def figures(outcome: Outcome) -> Mapping[str, Figure]:
    """The lines through the unseen points."""
    drawn, axes = figure(height=2.8)
    truth = outcome.splits.test
    axes[0, 0].plot(truth.x, truth.y, "o", color="black", label="points")
    for name, predictions in outcome.predictions.items():
        axes[0, 0].plot(truth.x, predictions["unseen"].y, ".", label=name)
    axes[0, 0].set(xlabel="$x$, m", ylabel="$y$, K")
    axes[0, 0].legend()
    drawn.set_label("Unseen points, and what the models make of them, with 0 < a & b.")
    return {"lines": drawn}


def tables(outcome: Outcome) -> Mapping[str, Table]:
    """The coefficients that were found."""
    line = outcome.models["line"]
    rows = [["slope", line.a, SLOPE], ["offset", line.b, OFFSET]]
    return {"found": Table(title="Coefficients", columns=["", "found", "true"], rows=rows)}


case = Case(
    name="straight-line",
    summary="A straight line through noisy points",
    reference="Gauss, Theoria motus, 1809, doi:10.5479/sil.52126.39088008140244",
    generate=generate,
    load=load,
    models={"line": lambda job: Line(), "mean": lambda job: Mean()},
    metrics={
        "error": Metric(
            function=lambda truth, found: relative_l2_error(truth.y, found.y, "sample"),
            unit="1",
            description="relative L2 error of y over the points",
        ),
        "distance": Metric(
            function=lambda truth, found: mean_absolute_error(truth.y, found.y, "sample"),
            unit="K",
            description="mean distance from the points",
        ),
    },
    accept={
        "smoke": {
            "line": {
                "error": Bound(value=0.05, direction="at most"),
                "error@farther <away>": Bound(value=0.05, direction="at most"),
                "slope": Bound(value=1.9, direction="at least"),
            }
        },
        "full": {"line": {"error": Bound(value=1e-9, direction="at most")}},
    },
    figures=figures,
    tables=tables,
    diagnostics={
        "slope": Diagnostic(
            function=lambda model, splits: getattr(model, "a", None),
            unit="K/m",
            description="slope of the line, 2 in truth",
        )
    },
)
