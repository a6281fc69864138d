"""A small surrogate of hydrogen, fitted once for all tests."""

from __future__ import annotations

from pathlib import Path

import pytest
import xarray as xr

ATMOSPHERE = 101325.0


@pytest.fixture(scope="session")
def hydrogen_states(tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    """Labelled states of a few ignitions, with a step of a microsecond."""
    pytest.importorskip("cantera", reason="Cantera is not installed")
    from sciml.chemistry import DirectIntegration, IgnitionStates, provenance, states_of
    from sciml.data import generate, load

    solver = DirectIntegration(mechanism="h2o2.yaml")
    task = IgnitionStates(
        solver=solver,
        fuel="H2",
        temperature=(1100.0, 1400.0),
        pressure=(ATMOSPHERE, 2 * ATMOSPHERE),
        equivalence_ratio=(0.6, 1.4),
        along=80,
        near=60,
        mixed=40,
    )
    path = tmp_path_factory.mktemp("hydrogen") / "states.nc"
    generate(task, 16, path, seed=5, attributes=provenance(solver), progress=False)
    return states_of(load(path)).load()


@pytest.fixture(scope="session")
def surrogate_folder(hydrogen_states: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a fitted surrogate is saved."""
    from sciml.chemistry import load_mechanism
    from sciml.chemistry.surrogate import ReactionStep, ReactionStepOptions
    from sciml.train import TrainOptions

    options = ReactionStepOptions(mechanism=load_mechanism("h2o2.yaml"), hidden=(48, 48))
    training = TrainOptions(epochs=60, batch_size=128, learning_rate=3e-3, weight_decay=0.0)
    surrogate = ReactionStep(options, training=training)
    surrogate.fit(hydrogen_states, progress=False)
    folder = tmp_path_factory.mktemp("surrogate") / "hydrogen"
    surrogate.save(folder)
    return folder
