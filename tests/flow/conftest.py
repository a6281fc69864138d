"""Flows that several tests look at, solved once."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from sciml.flow import Ranges, ShapeSamples, SolverOptions, Tunnel, solve_flow
from sciml.flow.shapes import ellipse

FAMILIES = ("circle", "rectangle", "triangle", "naca")
COARSE = Tunnel(cells=32, solver=SolverOptions(levels=2))


@pytest.fixture(scope="session")
def flows() -> xr.Dataset:
    """Twelve flows on 64 x 32 cells, three of each of four families."""
    ranges = Ranges(reynolds_number=(5.0, 15.0))
    task = ShapeSamples(families=FAMILIES, ranges=ranges, tunnel=COARSE)
    samples = [task(i, np.random.default_rng([2, i])) for i in range(12)]
    return xr.concat(samples, dim="sample")


@pytest.fixture(scope="session")
def lifting() -> xr.Dataset:
    """The flow past an inclined ellipse on 128 x 64 cells, converged far beyond what data need."""
    solver = SolverOptions(tolerance=1e-7, precision="float64", patience=1000.0)
    body = ellipse(0.3, 0.12).rotate(-0.4).translate(0.6, 0.52)
    return solve_flow(body, 15.0, Tunnel(cells=64, solver=solver)).expand_dims("sample")
