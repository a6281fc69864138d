"""A reactor of Cantera with chemistry from elsewhere, among inlets, outlets and walls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

cantera = pytest.importorskip("cantera", reason="Cantera is not installed")

from sciml.chemistry import (  # noqa: E402
    DirectIntegration,
    IgnitionStates,
    load_mechanism,
    provenance,
    states_of,
)
from sciml.chemistry.surrogate import ReactionStep, ReactionStepOptions  # noqa: E402
from sciml.coupling.cantera import ExactSource, Source, SourceReactor  # noqa: E402
from sciml.data import generate, load  # noqa: E402
from sciml.train import TrainOptions  # noqa: E402

MECHANISM = "h2o2.yaml"
TIMES = np.array([2e-3, 2e-4, 5e-5, 2e-5, 1e-5, 5e-6])
"""Residence times, from a burning reactor to one that is blown out."""


PREHEATED = 1200.0
SHORT = 1e-7
"""Step of the learned source, over which it gives the mean: short against residence times."""


def stirred(
    source: Source | None,
    residence: float,
    *,
    conductance: float = 50.0,
    inflow: float = 800.0,
) -> float:
    """Temperature of a well-stirred reactor that was lit, after a hundred residence times.

    An inlet of preheated hydrogen and air, an outlet, and a wall to the surroundings.
    """
    gas = cantera.Solution(MECHANISM)
    gas.set_equivalence_ratio(1.0, "H2", "O2:1, N2:3.76")
    gas.TP = inflow, cantera.one_atm
    upstream = cantera.Reservoir(gas, clone=True)
    gas.equilibrate("HP")
    kind: Any = cantera.IdealGasConstPressureReactor if source is None else SourceReactor
    reactor = kind(gas, clone=False)
    reactor.volume = 1e-6
    if source is not None:
        reactor.source = source
    exhaust = cantera.Reservoir(cantera.Solution("air.yaml"), clone=True)
    inlet = cantera.MassFlowController(upstream, reactor, mdot=lambda t: reactor.mass / residence)
    cantera.PressureController(reactor, exhaust, primary=inlet, K=1e-8)
    cantera.Wall(reactor, exhaust, A=1e-4, U=conductance)
    net = cantera.ReactorNet([reactor])
    net.rtol, net.atol = 1e-7, 1e-12
    net.advance(100 * residence)
    return float(reactor.phase.T)


def test_exact_rates_give_the_extinction_curve_of_cantera() -> None:
    exact = ExactSource(load_mechanism(MECHANISM))
    ours = np.array([stirred(exact, t) for t in TIMES])
    theirs = np.array([stirred(None, t) for t in TIMES])
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    assert theirs[0] > 2300 and theirs[-1] < 1000  # burning, and blown out


def test_the_wall_is_felt() -> None:
    exact = ExactSource(load_mechanism(MECHANISM))
    cooled, insulated = (stirred(exact, 2e-3, conductance=u) for u in (500.0, 0.0))
    assert insulated - cooled > 5
    assert cooled == pytest.approx(stirred(None, 2e-3, conductance=500.0), rel=1e-5)


def test_a_closed_reactor_ignites_as_cantera_has_it() -> None:
    solver = DirectIntegration(mechanism=MECHANISM)
    Y = solver.mixture(fuel="H2", oxidizer="O2:1, N2:3.76", equivalence_ratio=0.8)
    gas = cantera.Solution(MECHANISM)
    gas.TPY = 1200.0, 2e5, Y
    reactor = SourceReactor(gas, clone=False)
    reactor.source = ExactSource(load_mechanism(MECHANISM))
    net = cantera.ReactorNet([reactor])
    net.rtol, net.atol = 1e-9, 1e-15
    for time in (2e-5, 4e-5, 2e-4):
        net.advance(time)
        truth = solver.trajectory(1200.0, 2e5, Y, duration=time, every=time)
        assert pytest.approx(truth.temperature[-1], rel=1e-6) == gas.T


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> ReactionStep:
    """A small surrogate of the mixtures that a stirred reactor with a hot inlet comes to."""
    solver = DirectIntegration(mechanism=MECHANISM)
    task = IgnitionStates(
        solver=solver,
        fuel="H2",
        temperature=(PREHEATED - 50, PREHEATED + 150),
        pressure=(cantera.one_atm, 1.01 * cantera.one_atm),
        equivalence_ratio=(0.9, 1.1),
        time_step=(SHORT, SHORT),
        along=80,
        near=60,
        mixed=80,
    )
    path: Path = tmp_path_factory.mktemp("stirred") / "states.nc"
    generate(task, 12, path, seed=5, attributes=provenance(solver), progress=False)
    training = TrainOptions(epochs=50, batch_size=128, learning_rate=3e-3, weight_decay=0.0)
    options = ReactionStepOptions(mechanism=load_mechanism(MECHANISM), hidden=(48, 48))
    surrogate = ReactionStep(options, training=training)
    surrogate.fit(states_of(load(path)).load(), progress=False)
    return surrogate


def test_a_network_gives_the_extinction_curve_of_cantera(network: ReactionStep) -> None:
    times = np.array([2e-4, 5e-6, 2e-6])
    learned = np.array([stirred(network, t, inflow=PREHEATED) for t in times])
    theirs = np.array([stirred(None, t, inflow=PREHEATED) for t in times])
    np.testing.assert_allclose(learned, theirs, rtol=0.02)
    assert (theirs[:2] > PREHEATED + 300).all()  # burning, each at its own temperature
    assert theirs[2] == pytest.approx(PREHEATED, abs=1) == learned[2]  # blown out
