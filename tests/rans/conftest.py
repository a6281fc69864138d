"""States of manufactured flows, and closures fitted to them once for all tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from sciml.rans import (
    KINDS,
    TensorBasisClosure,
    TensorBasisOptions,
    joined,
    manufactured_flow,
    wallin_johansson,
)
from sciml.train import TrainOptions

GROUPS = ("wall", "viscosity", "length", "energy", "pressure", "integrity")
TRAINING = TrainOptions(
    epochs=40, batch_size=128, learning_rate=5e-3, weight_decay=0.0, device="cpu", seed=3
)


def states(part: int, count: int) -> xr.Dataset:
    """Every kind of flow, in a row, each state in axes of its own."""
    sizes = {kind: count * (4 if kind == "general" else 1) for kind in KINDS}
    return joined([manufactured_flow(kind, size, seed=part) for kind, size in sizes.items()])


def with_fields(ds: xr.Dataset, seed: int) -> xr.Dataset:
    """Every field that a feature may need; the labels do not depend on them."""
    rng = np.random.default_rng(seed)
    count = ds.sizes["sample"]
    scalars = {"wall_distance": "m", "kinematic_viscosity": "m2 s-1"}
    vectors = ("pressure_gradient", "turbulent_kinetic_energy_gradient")
    fields = {
        name: ("sample", 10.0 ** rng.uniform(-2, 0, count), {"units": unit})
        for name, unit in scalars.items()
    }
    arrows = {
        name: (("sample", "i"), rng.standard_normal((count, 3)), {"units": "m s-2"})
        for name in vectors
    }
    return ds.assign(fields | arrows)


def plane_flow(count: int, seed: int) -> xr.Dataset:
    """Strain and rotation of any ratio in the plane of x and y: all states have the same axes."""
    rng = np.random.default_rng(seed)
    G = np.zeros((count, 3, 3))
    G[:, 0, 0], G[:, 0, 1], G[:, 1, 0] = rng.uniform(-1, 1, (3, count))
    G[:, 1, 1] = -G[:, 0, 0]
    size = np.exp(rng.uniform(np.log(0.3), np.log(6), count))
    k, epsilon = 10.0 ** rng.uniform(-1, 1, (2, count))
    G *= (size * epsilon / k / np.linalg.norm(G, axis=(1, 2)))[:, None, None]
    matrix = ("cell", "i", "j")
    flow = xr.Dataset(
        {
            "velocity_gradient": (matrix, G, {"units": "s-1"}),
            "turbulent_kinetic_energy": ("cell", k, {"units": "m2 s-2"}),
            "dissipation_rate": ("cell", epsilon, {"units": "m2 s-3"}),
            "anisotropy": (matrix, wallin_johansson(G, k, epsilon), {"units": "1"}),
        },
        attrs={"flow": "plane"},
    )
    return joined([flow])


@pytest.fixture(scope="session")
def train() -> xr.Dataset:
    """To learn from."""
    return states(1, 100)


@pytest.fixture(scope="session")
def unseen() -> xr.Dataset:
    """Other states of the same flows."""
    return states(2, 40)


@pytest.fixture(scope="session")
def fields():
    """Adds every further field to a data set."""
    return with_fields


@pytest.fixture(scope="session")
def planes() -> tuple[xr.Dataset, xr.Dataset]:
    """States in the same plane, to learn from and unseen."""
    return plane_flow(600, 1), plane_flow(200, 2)


@pytest.fixture(scope="session")
def closure(train) -> TensorBasisClosure:
    """Of the invariants of the gradient alone; its anisotropies are not projected."""
    fitted = TensorBasisClosure(
        TensorBasisOptions(hidden=(32, 32), realizable=False), training=TRAINING
    )
    fitted.fit(train, progress=False)
    return fitted


@pytest.fixture(scope="session")
def extended_folder(train, tmp_path_factory) -> Path:
    """Where one with everything is saved: features, time scale, projection, penalty, covariance."""
    options = TensorBasisOptions(
        groups=GROUPS, time_scale="viscous", hidden=(32,), penalty=0.1, ranks=2
    )
    fitted = TensorBasisClosure(options, training=TRAINING)
    fitted.fit(with_fields(train, 1), progress=False)
    folder = tmp_path_factory.mktemp("closure") / "extended"
    fitted.save(folder)
    return folder


@pytest.fixture(scope="session")
def extended(extended_folder) -> TensorBasisClosure:
    """The closure with everything."""
    return TensorBasisClosure.load(extended_folder)


@pytest.fixture(scope="session")
def training() -> TrainOptions:
    """How closures are fitted here."""
    return TRAINING
