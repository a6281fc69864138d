"""Methods side by side on the same snapshots: speed, meaning, scales and invariance, measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from sciml.data.files import write_json
from sciml.modes.contenders import DEFAULT, Contender, Setting, contender
from sciml.modes.judging import Dynamics, Judge, Record, Shown, epochs_of_budget
from sciml.modes.layout import TIME, Scaling
from sciml.modes.measures import Yardstick
from sciml.modes.measures.windows import View, Window
from sciml.modes.method import Method
from sciml.modes.regimes import Division, divide

__all__ = ["CompareOptions", "Comparison", "compare"]

Stage = Callable[[str], AbstractContextManager[Any]]
"""Announces a piece of work by a sentence and lasts as long as the work does."""


@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """What is compared, and how much it may cost.

    Attributes:
        variables: which of the data's; by default all over time.
        rank: modes or latents, the same for all.
        scaling: "deviation" makes variables of different units count alike.
        methods: names of `sciml.modes.contenders.CONTENDERS`.
        seeds: each network is trained from each of them.
        steps: updates of a network; its own number by default.
        budget: seconds that each network is trained for once more, so that all have the same.
        dynamics: how latents go on where a method does not say it, or "none".
        most: snapshots that a method is fitted on.
        saturated_from: time from which the flow is saturated; by default it is found.

    Raises:
        ValueError: a number out of its range, or a method that is not known.
    """

    variables: tuple[str, ...] | None = None
    rank: int = 10
    scaling: Scaling = "none"
    methods: tuple[str, ...] = tuple(DEFAULT)
    seeds: tuple[int, ...] = (0,)
    steps: int | None = None
    budget: float | None = None
    dynamics: Dynamics = "neural ODE"
    most: int = 300
    saturated_from: float | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be run before anything is."""
        for name in self.methods:
            contender(name)
        limits = {"rank": (self.rank, 1), "steps": (self.steps, 1), "most": (self.most, 8)}
        for name, (value, least) in limits.items():
            if value is not None and value < least:
                raise ValueError(f"{name} must be at least {least}, not {value}")
        if self.budget is not None and not self.budget > 0:
            raise ValueError(f"a budget is some seconds above 0, not {self.budget}")
        if not self.methods or not self.seeds:
            raise ValueError("at least one method and one seed are needed")


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """What was found.

    Attributes:
        options: what was asked.
        division: the snapshots methods were fitted and judged on.
        yardstick: how errors were weighed.
        record: all figures, as `result.json` holds them.
        shown: of each method that ran, what figures are drawn from.
    """

    options: CompareOptions
    division: Division
    yardstick: Yardstick
    record: Mapping[str, Any]
    shown: Mapping[str, Shown]

    def write(self, folder: Path) -> Path:
        """Write `result.json`, atomically; numbers that are not finite become null."""
        return write_json(folder / "result.json", finite(self.record))

    def figures(self, method: str) -> Mapping[str, Any]:
        """The record of one method."""
        return self.record["methods"][method]


def compare(
    ds: xr.Dataset, options: CompareOptions | None = None, *, stage: Stage = nullcontext
) -> Comparison:
    """Fit methods on the same snapshots and measure what they are worth.

    Two splits are always taken: between the training snapshots within the limit cycle, and of the
    transient against what is saturated, where there is a transient.

    Args:
        ds: snapshots at equal time steps, see :class:`sciml.modes.Layout`.
        options: what is compared.
        stage: shows what is being done, for a terminal.

    Raises:
        ValueError: data that no method can be fitted on; the sentence says what to do. A method
            that alone cannot be run is recorded with its sentence, and the others go on.
    """
    options = CompareOptions() if options is None else options
    with stage("data"):
        judge = _judge(ds, options)
    methods, shown = {}, {}
    for name in options.methods:
        try:
            methods[name], shown[name] = _judged(judge, contender(name), options, name, stage)
        except (ValueError, ModuleNotFoundError) as error:
            methods[name] = {"title": contender(name).title, "refused": str(error)}
    if not shown:
        reasons = "; ".join(f"{name}: {entry['refused']}" for name, entry in methods.items())
        raise ValueError(f"no method could be run: {reasons}")
    return Comparison(
        options=options,
        division=judge.division,
        yardstick=judge.yardstick,
        record={"options": asdict(options), "data": _data(judge), "methods": methods},
        shown=shown,
    )


def _judge(ds: xr.Dataset, options: CompareOptions) -> Judge:
    whole = Yardstick.of(ds, options.variables, options.scaling)
    division = divide(ds, whole, most=options.most, saturated_from=options.saturated_from)
    yardstick = Yardstick.of(division.train, options.variables, options.scaling)
    names = yardstick.layout.variables
    both = xr.concat(
        [division.train[names], division.between[names]], TIME, coords="minimal", compat="override"
    ).sortby(TIME)
    extra = {name: ds[name] for name in ("mask",) if name in ds}
    window = Window.of(both.assign(extra), names)
    return Judge(
        division=division,
        yardstick=yardstick,
        setting=Setting(
            rank=options.rank,
            variables=tuple(names),
            scaling=options.scaling,
            seed=options.seeds[0],
        ),
        window=window,
        window_yardstick=None if window is None else _window_yardstick(window, options.scaling),
        dynamics=options.dynamics,
        steps=options.steps,
    )


def _window_yardstick(window: Window, scaling: Scaling) -> Yardstick:
    plain = window.seen(View(), np.arange(0, window.fields.sizes[TIME], 2))
    return Yardstick.of(plain, tuple(map(str, window.fields.data_vars)), scaling)


def _judged(
    judge: Judge, one: Contender, options: CompareOptions, name: str, stage: Stage
) -> tuple[Record, Shown]:
    seeds = options.seeds if one.network else options.seeds[:1]
    by_seed: dict[str, Record] = {}
    method: Method | None = None
    for seed in seeds:
        with stage(f"{name}: fit, seed {seed}" if one.network else f"{name}: fit"):
            fitted, by_seed[str(seed)] = judge.seed(one, seed=seed)
        method = fitted if method is None else method
    assert method is not None
    record: Record = {"title": one.title, "network": one.network, "seeds": by_seed}
    record |= {"over_seeds": over_seeds(by_seed), "rank": method.rank}
    if one.network and options.budget is not None:
        with stage(f"{name}: fit within {options.budget:g} s"):
            record["at_budget"] = _at_budget(judge, one, options)
    with stage(f"{name}: speed"):
        record["speed"] = judge.speed(one, method)
    with stage(f"{name}: meaning"):
        record["interpretability"] = judge.meaning(one, method)
    with stage(f"{name}: scales"):
        record["scales"] = judge.scales(one, method)
    with stage(f"{name}: invariance"):
        record["invariance"] = judge.invariance(one)
    return record, judge.shown(one, method)


def _at_budget(judge: Judge, one: Contender, options: CompareOptions) -> Record:
    """Each seed trained for the same number of seconds."""
    assert options.budget is not None
    epochs = epochs_of_budget(
        lambda n: judge.fitted(one, judge.division.train, epochs=n), options.budget
    )
    found = {str(seed): judge.seed(one, seed=seed, epochs=epochs)[1] for seed in options.seeds}
    return {"epochs": epochs, "seeds": found, "over_seeds": over_seeds(found)}


def over_seeds(by_seed: Mapping[str, Record]) -> dict[str, dict[str, float]]:
    """Mean, least and most of each figure over the seeds."""
    found = {}
    for key in next(iter(by_seed.values())):
        values = [float(r[key]) for r in by_seed.values() if r[key] is not None]
        if values:
            found[key] = {
                "mean": float(np.mean(values)),
                "least": min(values),
                "most": max(values),
            }
    return found


def _data(judge: Judge) -> Record:
    division = judge.division
    parts: Sequence[tuple[str, xr.Dataset | None]] = (
        ("train", division.train),
        ("between", division.between),
        ("future", division.future),
        ("transient", division.transient),
    )
    return {
        "variables": judge.yardstick.layout.variables,
        "numbers_in_a_snapshot": judge.yardstick.layout.points,
        "snapshots": {name: 0 if ds is None else ds.sizes[TIME] for name, ds in parts},
        "step": judge.step,
        "saturated_from": division.saturated_from,
        "origin": str(division.train.attrs.get("origin", "")),
    }


def finite(value: Any) -> Any:
    """A record that JSON can hold."""
    if isinstance(value, Mapping):
        return {str(key): finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [finite(entry) for entry in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
