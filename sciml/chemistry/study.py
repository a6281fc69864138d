"""A study of ignition: data, models, figures and tables of a case, for any fuel and mechanism."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from sciml.case import Job, Model, Outcome, Table
from sciml.chemistry.active import step_error
from sciml.chemistry.baselines import ExplicitStep, NearestState
from sciml.chemistry.figures import delay_errors, error_by_distance, ignition_traces, trust_map
from sciml.chemistry.generation import IgnitionStates, provenance, states_of
from sciml.chemistry.ignition import IgnitionTests, roll_out
from sciml.chemistry.integration import DirectIntegration
from sciml.chemistry.loading import load_mechanism
from sciml.chemistry.models import Fallback, Learned, Stepper
from sciml.chemistry.surrogate import ReactionStep, ReactionStepOptions
from sciml.data import SampleTask, Splits, generate, load
from sciml.kernels.kinetics import Mechanism
from sciml.train import TrainOptions

__all__ = ["IgnitionStudy", "Scale"]

ATMOSPHERE = 101325.0


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What a tier costs.

    Attributes:
        train: ignitions that the training states come from; a sixth as many for validation, and
            for the test of one step.
        states: along, near and mixed, of each.
        test: unseen conditions; a fifth as many beyond the range of pressure.
        hidden: widths of the network's hidden layers.
        scout: epochs of the first fit; none leaves it out.
        batches: of ignitions that it visits states in, and ignitions and states in each.
        steps: of these ignitions.
        kept: share of these states that is learned from, those with the largest errors.
        still: share of those that is kept for the largest error over the change instead.
        epochs: of the second fit.
        batch: states of an update.
        learning_rate: largest.
        workers: processes at most; little data is made soonest by one.
    """

    train: int
    states: tuple[int, int, int]
    test: int
    hidden: tuple[int, ...]
    scout: int
    batches: tuple[int, int, int]
    steps: int = 600
    kept: float = 0.35
    still: float = 0.0
    epochs: int
    batch: int
    learning_rate: float = 3e-3
    workers: int | None = None


@dataclass(frozen=True, kw_only=True)
class IgnitionStudy:
    """Ignitions of a fuel by a learned step, beside direct integration and baselines.

    Attributes:
        name: of its files.
        conditions: unburnt states to test on, and the solver that is the truth.
        margin: those to learn from, a little wider, so that the edges of the test are inside.
        outside: those beyond the training, which must not be trusted.
        tests: how a condition is tested.
        scales: what each tier costs.
        traces: whether the network is one for many species.
    """

    name: str
    conditions: IgnitionStates
    margin: IgnitionStates
    outside: IgnitionStates
    tests: IgnitionTests
    scales: Mapping[str, Scale]
    traces: bool = False

    @property
    def truth(self) -> DirectIntegration:
        """Direct integration at tight tolerances."""
        return self.conditions.solver

    @cached_property
    def direct(self) -> dict[str, DirectIntegration]:
        """Direct integration in other settings, the second the one that users take."""
        loose = replace(self.truth, relative=1e-6, absolute=1e-10)
        return {
            "mass fractions, 1e-9, 1e-15": self.truth,
            "mass fractions, 1e-6, 1e-10": loose,
            "moles, 1e-6, 1e-10": replace(loose, unknowns="moles"),
            "moles, preconditioned, 1e-6, 1e-10": replace(
                loose, unknowns="moles", preconditioned=True
            ),
        }

    @property
    def loose(self) -> DirectIntegration:
        """Direct integration with the tolerances that solvers often use."""
        return self.direct["mass fractions, 1e-6, 1e-10"]

    @property
    def mechanism(self) -> Mechanism:
        """Species and reactions."""
        return load_mechanism(self.truth.mechanism, phase=self.truth.phase)

    def make(self, job: Job) -> list[Path]:
        """Labelled states to learn from and to test one step on, and conditions to ignite."""
        scale = self.scales[job.tier]
        along, near, mixed = scale.states
        learned, unseen = (
            replace(conditions, along=along, near=near, mixed=mixed)
            for conditions in (self.margin, self.conditions)
        )
        wanted: dict[str, tuple[SampleTask, int]] = {
            "train": (learned, job.samples or scale.train),
            "valid": (learned, max(4, scale.train // 6)),
            "conditions": (self.tests, scale.test),
            "outside": (
                replace(self.tests, states=self.outside),
                max(2, scale.test // 5),
            ),
            "states": (unseen, max(4, scale.train // 6)),
        }
        paths = []
        for place, (name, (task, count)) in enumerate(wanted.items()):
            seed = 10 * job.seed + place
            path = (
                job.data / f"{self.name}-{job.tier}-{name.replace(' ', '-')}-{count}-seed{seed}.nc"
            )
            if not path.exists():
                generate(
                    task,
                    count,
                    path,
                    seed=seed,
                    workers=scale.workers or job.workers,
                    resume=path.with_name(path.name + ".parts").exists(),
                    attributes=provenance(self.truth),
                )
            paths.append(path)
        return paths

    def read(self, job: Job) -> Splits:
        """States of different ignitions for training, validation and test, and the conditions."""
        train, valid, conditions, outside, states = self.make(job)
        return Splits(
            train=states_of(load(train)),
            valid=states_of(load(valid)),
            tests={
                "conditions": load(conditions).load(),
                "outside": load(outside).load(),
                "states": states_of(load(states)),
            },
        )

    def models(self) -> dict[str, Callable[[Job], Model]]:
        """The surrogate first, with fallback next, then what it is compared with."""
        return {
            "network": self.learned(),
            "with fallback": self.fallback,
            "plain network": self.learned(informed=False),
            **self.baselines(),
        }

    def learned(self, *, informed: bool = True) -> Callable[[Job], Model]:
        """The surrogate; uninformed, the same network without the explicit step."""

        def build(job: Job) -> Model:
            """The model of a run."""
            scale = self.scales[job.tier]
            options = ReactionStepOptions(
                mechanism=self.mechanism,
                hidden=scale.hidden,
                informed=informed,
                traces=self.traces,
            )
            batches, ignitions, count = scale.batches
            return Learned(
                surrogate=ReactionStep(options, training=self.training(job, scale.epochs)),
                conditions=self.margin,
                scout=self.training(job, scale.scout) if informed and scale.scout else None,
                batches=batches,
                visited={
                    "ignitions": ignitions,
                    "count": count,
                    "kept": scale.kept,
                    "still": scale.still,
                    "steps": scale.steps,
                },
                workers=scale.workers or job.workers,
                seed=10 * job.seed + 9,
            )

        return build

    def training(self, job: Job, epochs: int) -> TrainOptions:
        """How a network of this tier is fitted."""
        return TrainOptions(
            epochs=epochs,
            batch_size=self.scales[job.tier].batch,
            learning_rate=self.scales[job.tier].learning_rate,
            weight_decay=0.0,
            seed=job.seed,
            device="cpu",
        )

    def fallback(self, job: Job) -> Model:
        """The fitted surrogate, with direct integration where it is not trusted."""
        return Fallback(job.folder / "models" / "network" / "surrogate", self.truth)

    def baselines(self) -> dict[str, Callable[[Job], Model]]:
        """A table, frozen rates, and direct integration in steps."""
        return {
            "nearest state": lambda job: Stepper(NearestState(self.mechanism)),
            "explicit step": lambda job: Stepper(ExplicitStep(self.mechanism)),
            "cantera, loose": lambda job: Stepper(self.loose),
        }

    def figures(self, outcome: Outcome) -> Mapping[str, Figure]:
        """Traces, errors, error against distance, and the map of trust."""
        tests = outcome.splits.test
        found = {name: sets["conditions"] for name, sets in outcome.predictions.items()}
        model = outcome.models["network"]
        assert isinstance(model, Learned)
        shown = {name: found[name] for name in ("network", "plain network", "explicit step")}
        return {
            "ignitions": ignition_traces(tests, shown),
            "errors": delay_errors(tests, found),
            "distance": self.distances(model.surrogate, outcome.splits),
            "trust": self.trust(model.surrogate, points=9 if outcome.job.tier == "smoke" else 25),
        }

    def distances(self, surrogate: ReactionStep, splits: Splits) -> Figure:
        """Errors of one step, of test states and of states at other pressures."""
        seen = splits.tests["states"].isel(sample=slice(None, None, 4))
        rng = np.random.default_rng(0)
        count = min(400, seen.sizes["sample"])
        some = seen.isel(sample=rng.choice(seen.sizes["sample"], count, replace=False))
        moved = some["pressure"].values * np.exp(rng.uniform(-3, 3, count))
        T, dt = some["temperature"].values, some["time_step"].values
        Y = np.ascontiguousarray(some["mass_fraction"].values)
        after = self.truth.advance(T, moved, Y, dt)
        far = some.assign(
            pressure=("sample", moved, {"units": "Pa"}),
            mass_fraction_after=(("sample", "species"), after.mass_fractions, {"units": "1"}),
        ).isel(sample=~after.failed)
        both = (seen, far)
        return error_by_distance(
            np.concatenate([surrogate.distance(ds) for ds in both]),
            np.concatenate([step_error(surrogate, ds) for ds in both]),
        )

    def trust(self, surrogate: ReactionStep, *, points: int) -> Figure:
        """Share of the steps that are trusted, in and beyond the range of the training."""
        low, high = self.margin.temperature
        T, ratio = np.linspace(low - 150, high + 200, points), np.linspace(0.2, 2.0, points)
        mixtures = [
            self.truth.mixture(
                fuel=self.margin.fuel, oxidizer=self.margin.oxidizer, equivalence_ratio=phi
            )
            for phi in ratio
        ]
        Y = np.repeat(mixtures, points, axis=0)
        temperature = np.tile(T, points)
        p = np.full(points**2, 1.7 * ATMOSPHERE)
        share, dt = np.zeros(points**2), self.tests.time_step[0]
        for _ in range(200):
            temperature, _, Y, trusted = surrogate.advance(temperature, p, Y, dt)
            share += trusted / 200
        ranges = (self.margin.temperature, self.margin.equivalence_ratio)
        return trust_map(T, ratio, share.reshape(points, points), inside=ranges)

    def tables(self, outcome: Outcome) -> Mapping[str, Table]:
        """How far direct integration itself is from the truth, by its tolerances."""
        count = max(2, outcome.splits.test.sizes["sample"] // 10)
        some = outcome.splits.test.isel(sample=slice(0, count))
        rows = []
        for name, solver in self.direct.items():
            found = roll_out(solver, some)
            error = abs(found["ignition_delay"] / some["ignition_delay"] - 1).values
            final = abs(found["temperature_final"] - some["temperature_final"]).values
            rows.append((name, float(error.mean()), float(error.max()), float(final.max())))
        return {
            "direct": Table(
                title="Direct integration in steps, against one uninterrupted integration",
                columns=("settings", "delay, mean", "largest", "final temperature, largest [K]"),
                rows=rows,
                note=f"The first {count} conditions. Tolerances are relative and absolute; the "
                "truth has 1e-9 and 1e-15 and is never stopped. Nothing nearer can be told apart.",
            )
        }
