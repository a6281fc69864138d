"""The subcommand that compares decompositions of a user's data."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, UseAppendAction, arg

from sciml.cli.terminal import stage

if TYPE_CHECKING:
    import xarray as xr

    from sciml.modes.compare import Comparison
    from sciml.modes.readers import ReadOptions

__all__ = ["Modes"]

Data = Annotated[Path, Positional, arg(metavar="DATA")]
Names = Annotated[tuple[str, ...], arg(metavar="NAME ...", help_behavior_hint="")]
Number = Annotated[float | None, arg(metavar="SECONDS", help_behavior_hint="")]
Time = Annotated[float | None, arg(metavar="TIME", help_behavior_hint="")]
Count = Annotated[int | None, arg(metavar="N", help_behavior_hint="")]


@dataclass(frozen=True, kw_only=True)
class Modes:
    """Compare POD, DMD and networks on snapshots of a flow, by measurement.

    DATA is a NetCDF (.nc), HDF5 (.h5), NumPy (.npy, .npz), MATLAB (.mat) or Zarr file, a series of
    VTK files (.vtu, .pvd, a folder) or an OpenFOAM case. OUT gets result.json and report.html: a
    table of speed, interpretability, scales and invariance, with modes, spectra and errors.
    """

    data: Data
    """snapshots over time and a mesh"""
    variable: Annotated[tuple[str, ...], UseAppendAction, arg(metavar="NAME")] = ()
    """variable that is decomposed, once for each; by default all over time"""
    rank: int = 10
    """modes, or latents of a network"""
    out: Annotated[Path, arg(aliases=["-o"], metavar="OUT")] = Path("report")
    """folder of the report"""
    methods: Names = ()
    """pod, dmd, linear-autoencoder, ...; a wrong name lists all. By default those that every mesh
    allows"""
    seeds: Annotated[
        tuple[int, ...], arg(aliases=["--seed"], metavar="N ...", help_behavior_hint="")
    ] = (0,)
    """of networks: each is trained from each; by default from 0"""
    steps: Count = None
    """updates of each network; by default its own number"""
    budget: Number = None
    """train each network for so long as well, so that all have the same time"""
    dynamics: Literal["neural ODE", "lstm", "linear", "none"] = "linear"
    """how latents go on in forecasts, where a method does not say it"""
    scaling: Literal["none", "deviation"] = "none"
    """deviation makes variables of different units count alike"""
    snapshots: int = 300
    """each method is fitted on at most so many, the first of the saturated flow"""
    saturated: Time = None
    """time from which the flow is saturated; by default it is found"""
    start: Time = None
    """first time that is read"""
    stop: Time = None
    """last time that is read"""
    every: Count = None
    """read every n-th snapshot; by default as many as 4 GB hold"""
    time_dimension: Annotated[str | None, arg(metavar="NAME", help_behavior_hint="")] = None
    """dimension of time: its name, or its place (0 the first, -1 the last) if it has none"""
    time_step: Number = None
    """time between snapshots, where DATA gives no times"""
    shape: Annotated[tuple[int, ...], arg(metavar="N ...", help_behavior_hint="")] = ()
    """shape of the grid (y x), where DATA holds it in one row"""

    def __call__(self) -> int:
        if not self.data.exists():
            raise FileNotFoundError(f"there is no file or folder {self.data}")

        from sciml.modes.compare import CompareOptions, compare
        from sciml.modes.contenders import DEFAULT
        from sciml.report.comparison import write_comparison

        options = CompareOptions(
            variables=self.variable or None,
            rank=self.rank,
            scaling=self.scaling,
            methods=self.methods or tuple(DEFAULT),
            seeds=self.seeds,
            steps=self.steps,
            budget=self.budget,
            dynamics=self.dynamics,
            most=self.snapshots,
            saturated_from=self.saturated,
        )
        with stage("read"):
            ds = self._read()
        comparison = compare(ds, options, stage=stage)
        with stage("report"):
            path = write_comparison(
                comparison, self.out, title=self.data.name, command=self.command
            )
        for line in told(comparison):
            print(line)
        print(f"report: {path}")
        return 0

    def _read(self) -> xr.Dataset:
        from sciml.coupling.openfoam import snapshots
        from sciml.modes.readers import read_snapshots

        if snapshots.is_case(self.data):
            return snapshots.read_snapshots(self.data, self._reading)
        return read_snapshots(self.data, self._reading).load()

    @property
    def _reading(self) -> ReadOptions:
        from sciml.modes.readers import ReadOptions

        return ReadOptions(
            variables=self.variable or None,
            time_dimension=self.time_dimension,
            time_step=self.time_step,
            shape=self.shape or None,
            start=self.start,
            stop=self.stop,
            every=self.every,
        )

    @property
    def command(self) -> str:
        """What gives the same figures again."""
        words: list[object] = ["sciml", "modes", self.data, "--rank", self.rank, "-o", self.out]
        for name in self.variable:
            words += ["--variable", name]
        many: Sequence[tuple[str, Sequence[object]]] = (
            ("--methods", self.methods),
            ("--seeds", self.seeds),
            ("--shape", self.shape),
        )
        words += [word for option, values in many if values for word in (option, *values)]
        defaults = Modes(data=self.data)
        for name in _PLAIN:
            if getattr(self, name) != getattr(defaults, name):
                words += [f"--{name.replace('_', '-')}", getattr(self, name)]
        return shlex.join(map(str, words))


_PLAIN = (
    *("steps", "budget", "dynamics", "scaling", "snapshots", "saturated"),
    *("start", "stop", "every", "time_dimension", "time_step"),
)
"""Options of one value."""


def told(comparison: Comparison) -> list[str]:
    """One line for each method."""
    lines = []
    width = max(len(record["title"]) for record in comparison.record["methods"].values())
    for record in comparison.record["methods"].values():
        if "refused" in record:
            lines.append(f"{record['title']:<{width}}  not run: {record['refused']}")
            continue
        found = {key: value["mean"] for key, value in record["over_seeds"].items()}
        lines.append(
            f"{record['title']:<{width}}  fit {found['fit_seconds']:.3g} s, error between "
            f"{found['error_between']:.3g}, purity {found['spectral_purity']:.2f}, "
            f"det {found['latent_determinant']:.2f}"
        )
    return lines
