"""Forecasts of a system that is seen in part: latent components learned with their dynamics."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sciml.dynamics.collocation import Estimate, Observed, identify, infer
from sciml.dynamics.fields.polynomial import Polynomial
from sciml.dynamics.integrators.integration import integrate
from sciml.dynamics.integrators.runge_kutta import RungeKutta
from sciml.dynamics.systems import times_of
from sciml.dynamics.windows import states_of

__all__ = ["LatentDynamics", "LatentOptions", "Standardised"]

JSON, ARRAYS = "latent.json", "latent.safetensors"

LARGEST_LATENT = 5

ANALOGS = 2000
"""States of the training series at most from which the search for a state begins."""

INFERENCE = 40
"""Iterations at most in which a forecast finds its state, for each weight of the dynamics."""


@dataclass(frozen=True, kw_only=True)
class LatentOptions:
    """How latent dynamics are learned and how a forecast begins.

    Args:
        components: names of the observed components.
        latent: number of latent components, 1 to 5.
        degree: of the field in observed and latent components.
        history: observations from which a forecast infers its state.
        memories: times over which products of the observed components are averaged backward to
            make first guesses, over the time in which these components change.
        piece: observations on which the first guesses are tried.
        trials: iterations of a trial.
        choices: number of choices of first guesses that are tried, those first from which a field
            comes nearest at once.
        iterations: iterations on all observations at most, for each weight of the dynamics.
        substeps: steps of RK4 between two observations.
        rigour: weights of the dynamics against the observations, one after the other; the last one
            also holds when a forecast begins. Noisy observations need smaller ones.
        ridge: pull on the coefficients, which chooses among equal fields.

    Raises:
        ValueError: a number outside its range.
    """

    components: tuple[str, ...] = ("x",)
    latent: int = 2
    degree: int = 2
    history: int = 40
    memories: tuple[float, ...] = (0.5, 1.0, 2.0)
    piece: int = 800
    trials: int = 30
    choices: int = 12
    iterations: int = 200
    substeps: int = 2
    rigour: tuple[float, ...] = (1.0, 30.0)
    ridge: float = 1e-12

    def __post_init__(self) -> None:
        if not 1 <= self.latent <= LARGEST_LATENT:
            raise ValueError(f"latent={self.latent}: give 1 to {LARGEST_LATENT} latent components")
        if not self.components or not self.rigour or min(self.rigour + self.memories) <= 0:
            raise ValueError(
                f"components={self.components}, rigour={self.rigour}, memories={self.memories}: "
                "name at least one observed component, and let weights and times be positive"
            )
        counts = ("degree", "piece", "trials", "choices", "iterations", "substeps")
        low = [f"{name}={getattr(self, name)}" for name in counts if getattr(self, name) < 1]
        if low or self.history < 2:
            raise ValueError(
                f"{', '.join([*low, f'history={self.history}'])}: all numbers must be at least 1, "
                "the history at least 2"
            )


class Standardised(nn.Module):
    r"""A field in the units of the data around one in standardised components.

    $F(u) = s \circ f((u - m) / s)$

    Args:
        inner: f.
        mean: m, [component].
        scale: s, [component].

    Example:
        >>> field = Standardised(nn.Identity(), torch.tensor([1.0]), torch.tensor([2.0]))
        >>> field(torch.tensor([[3.0]]))
        tensor([[2.]])
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        inner: nn.Module,
        mean: Float[Tensor, " component"],
        scale: Float[Tensor, " component"],
    ) -> None:
        super().__init__()
        self.inner = inner
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)

    def forward(
        self, state: Float[Tensor, "*batch component"]
    ) -> Float[Tensor, "*batch component"]:
        """Rate of change of `state`."""
        return self.scale * self.inner((state - self.mean) / self.scale)


class LatentDynamics:
    r"""An ordinary differential equation in observed and latent components, both learned.

    The state is $u = (x, l)$, of which the series show only x. The field $\dot u = F_\theta(u)$, a
    polynomial, and the latent components at every time of the training series are found together
    by `sciml.dynamics.collocation.identify`. A forecast first infers its state in the same way
    from the recent past, with the field held; the search begins at the training state from which
    the field comes nearest to that past. Latent components are what they are up to an invertible
    affine map, so their values mean nothing by themselves.

    Ouala, Nguyen, Drumetz, Chapron, Pascual, Collard, Gaultier and Fablet, "Learning latent
    dynamics for partially observed chaotic systems", 2020, doi:10.1063/5.0019309, who introduced
    the latent states of the training series as unknowns, and fit both by gradient descent.

    Args:
        options: see `LatentOptions`.

    Attributes:
        field: F, states [batch, component] to rates, float64: observed components in the units of
            the data, then the latent ones.
        states: states of the training series on it, [series, time, component].
        cost: mean square that the fit left, in standardised units.

    Example:
        >>> LatentDynamics(LatentOptions(components=("x",), latent=2)).options.history
        40
    """

    field: Standardised
    states: Float[Tensor, "series time component"]
    cost: float
    gap: float

    def __init__(self, options: LatentOptions | None = None) -> None:
        self.options = options or LatentOptions()

    def fit(
        self,
        train: xr.Dataset,
        valid: xr.Dataset | None = None,
        *,
        folder: Path | None = None,
        resume: bool = False,
    ) -> LatentDynamics:
        """Learn the field and the latent states of the training series.

        Args:
            train: `state` [sample, time, component] with the observed components at increasing
                times, and `mask` where values lack; others are not looked at.
            valid: not needed.
            folder: where the model is saved, if given.
            resume: bring back what `folder` holds instead.

        Raises:
            ValueError: a component that `train` does not have.
        """
        if resume and folder is not None and (folder / JSON).exists():
            self._take(LatentDynamics.load(folder))
            return self
        values, seen = self._observations(train)
        mean, scale = _moments(values, seen)
        gaps = torch.from_numpy(np.diff(times_of(train), axis=1))
        data = Observed(values=seen * (values - mean) / scale, seen=seen, gaps=gaps)
        self.gap = float(gaps.median())
        inner, found = _learn(data, self.options)
        zeros = torch.zeros(self.options.latent, dtype=torch.float64)
        self.field = Standardised(inner, torch.cat([mean, zeros]), torch.cat([scale, zeros + 1]))
        self.field.requires_grad_(False)
        self.states = found.states * self.field.scale + self.field.mean
        self.cost = float(found.costs.mean())
        if folder is not None:
            self.save(folder)
        return self

    @torch.no_grad()
    def predict(self, ds: xr.Dataset) -> xr.Dataset:
        """Infer the state from the history and integrate from its last time on.

        Args:
            ds: `state` [sample, time, component] at increasing times, of which only the first
                `ds.attrs["history"]` are looked at; by default as many as the options say.

        Returns:
            `state` of the observed components at all times: until the end of the history what was
            inferred (or observed, before the part that was used), then the forecast. A forecast
            that grows without bound is NaN from there on.

        Raises:
            ValueError: a history shorter than the options say, or a component that is missing.
        """
        count = self.options.history
        history = int(ds.attrs.get("history", count))
        if history < count or ds.sizes["time"] < history:
            raise ValueError(
                f"a history of {history} times was given in a data set of {ds.sizes['time']}, but "
                f"a forecast infers its state from {count}: give more, or set options.history"
            )
        past = ds.isel(time=slice(history))
        values, seen = self._observations(past)
        times = torch.from_numpy(times_of(ds).copy())
        first = history - count
        inferred = self._infer(values[:, first:], seen[:, first:], times[:, first:history])
        scheme = RungeKutta(step=self.gap / self.options.substeps)
        ahead = times[:, history - 1 :]
        states = [inferred]
        if ahead.shape[1] > 1:
            future = integrate(self.field, inferred[:, -1], ahead, scheme=scheme, finite=False)
            states.append(future[:, 1:])
        before = torch.where(seen > 0, values, torch.nan)[:, :first]
        observed = values.shape[-1]
        together = torch.cat([before, *(part[..., :observed] for part in states)], 1)
        together = torch.where(together.isfinite(), together, torch.nan)
        return self._labelled(ds, together)

    def starts(self, count: int) -> Float[Tensor, "batch component"]:
        """So many states beside those of the training series: where long runs may begin.

        States of one series stay on one orbit. A kick of a hundredth of their standard deviation
        makes runs of a chaotic system part ways.
        """
        states = self.states.flatten(0, 1)
        spread = states[torch.linspace(0, len(states) - 1, count).long()]
        generator = torch.Generator().manual_seed(count)
        kicks = torch.randn(spread.shape, generator=generator, dtype=spread.dtype)
        return spread + 0.01 * states.std(0) * kicks

    def save(self, folder: Path) -> None:
        """Write `latent.json` and `latent.safetensors`."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        arrays = {
            "states": self.states,
            "mean": self.field.mean,
            "scale": self.field.scale,
            "coefficients": _polynomial(self.field).coefficients(),
        }
        save_file({name: a.detach().contiguous() for name, a in arrays.items()}, folder / ARRAYS)
        text = {"options": asdict(self.options), "cost": self.cost, "gap": self.gap}
        (folder / JSON).write_text(json.dumps(text, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> LatentDynamics:
        """Bring back what `save` wrote.

        Raises:
            ValueError: the folder holds no such model.
        """
        folder = Path(folder)
        if not (folder / JSON).exists() or not (folder / ARRAYS).exists():
            raise ValueError(f"{folder} holds no {JSON} and {ARRAYS}: give a folder of `save`")
        text = json.loads((folder / JSON).read_text(encoding="utf-8"))
        arrays = load_file(folder / ARRAYS)
        given = text["options"]
        given |= {name: tuple(v) for name, v in given.items() if isinstance(v, list)}
        model = cls(LatentOptions(**given))
        model.cost, model.gap, model.states = text["cost"], text["gap"], arrays["states"]
        inner = _empty_field(model.options)
        inner.set_coefficients(arrays["coefficients"])
        model.field = Standardised(inner, arrays["mean"], arrays["scale"])
        model.field.requires_grad_(False)
        return model

    def _take(self, other: LatentDynamics) -> None:
        self.options, self.field, self.states = other.options, other.field, other.states
        self.cost, self.gap = other.cost, other.gap

    def _observations(self, ds: xr.Dataset) -> tuple[Tensor, Tensor]:
        """Values and whether they were seen, of the observed components."""
        known = ds["component"].values.tolist()
        if missing := [name for name in self.options.components if name not in known]:
            raise ValueError(
                f"the data set has the components {known}, but {missing} should be observed: "
                "give them, or set options.components"
            )
        values, seen = states_of(ds.sel(component=list(self.options.components)))
        return torch.from_numpy(values), torch.from_numpy(seen)

    def _infer(self, values: Tensor, seen: Tensor, times: Tensor) -> Tensor:
        """States that the field and the observations agree on, [sample, time, component]."""
        observed = values.shape[-1]
        mean, scale = self.field.mean[:observed], self.field.scale[:observed]
        values = seen * (values - mean) / scale
        guesses = self._analogs(values, seen, times)
        data = Observed(values=values, seen=seen, gaps=times.diff(dim=1))
        for rigour in self.options.rigour:
            found = infer(
                self.field.inner,
                guesses,
                data,
                rigour=rigour,
                substeps=self.options.substeps,
                iterations=INFERENCE,
            )
            guesses = found.states
        return guesses * self.field.scale + self.field.mean

    def _analogs(self, values: Tensor, seen: Tensor, times: Tensor) -> Tensor:
        """From the training state of the nearest trajectory, standardised."""
        states = ((self.states - self.field.mean) / self.field.scale).flatten(0, 1)
        states = states[:: -(-len(states) // ANALOGS)]
        scheme = RungeKutta(step=self.gap / self.options.substeps)
        guesses = torch.zeros(*values.shape[:2], states.shape[1], dtype=torch.float64)
        rows = times - times[:, :1]
        for row in rows.unique(dim=0):
            own = (rows == row).all(1)
            runs = integrate(self.field.inner, states, row, scheme=scheme, finite=False)
            runs = runs.nan_to_num(1e3, 1e3, -1e3).clamp(-1e3, 1e3)
            part = runs[..., : values.shape[-1]].flatten(1)
            weight, value = seen[own].flatten(1), values[own].flatten(1)
            distance = weight @ part.square().mT - 2 * (weight * value) @ part.mT
            guesses[own] = runs[distance.argmin(1)]
        return guesses

    def _labelled(self, ds: xr.Dataset, states: Tensor) -> xr.Dataset:
        units = ds["state"].attrs.get("units", "1")
        out = xr.Dataset(
            {"state": (("sample", "time", "component"), states.numpy(), {"units": units})},
            coords={"component": list(self.options.components)},
        )
        names = [name for name in ("sample", "time") if name in ds.coords]
        out = out.assign_coords({name: ds[name] for name in names})
        if "observation_time" in ds:
            out = out.assign(observation_time=ds["observation_time"])
        return out


def _learn(data: Observed, options: LatentOptions) -> tuple[Polynomial, Estimate]:
    """The best of some choices of first guesses on a piece, then that one on everything."""
    features = _features(data, options)
    piece, part = _piece(data, features, options)
    tried = [_trial(choice, piece, part, options) for choice in _choices(piece, part, options)]
    found, field = min(tried, key=lambda one: float(one[0].costs.mean()))
    states = _carried(found.states, piece, part, data, features)
    for rigour in options.rigour:
        found = identify(
            field,
            states,
            data,
            rigour=rigour,
            substeps=options.substeps,
            iterations=options.iterations,
            ridge=options.ridge,
        )
        states = found.states
    return field, found


def _choices(piece: Observed, part: Tensor, options: LatentOptions) -> list[tuple[int, ...]]:
    """Choices of features as latent components, by the residual of the field fitted to them."""
    if part.shape[-1] < options.latent:
        raise ValueError(
            f"there are {part.shape[-1]} first guesses for {options.latent} latent components: "
            "give more memories"
        )
    choices = list(combinations(range(part.shape[-1]), options.latent))
    if len(choices) <= options.choices:
        return choices
    costs = [float(_trial(c, piece, part, options, iterations=0)[0].costs.mean()) for c in choices]
    return [choices[i] for i in np.argsort(costs)[: options.choices]]


def _trial(
    choice: tuple[int, ...],
    piece: Observed,
    part: Tensor,
    options: LatentOptions,
    *,
    iterations: int | None = None,
) -> tuple[Estimate, Polynomial]:
    """What some iterations make of a choice."""
    guess = torch.cat([_filled(piece), part[..., list(choice)]], -1)
    field = _first_field(guess, piece, options)
    count = options.trials if iterations is None else iterations
    return identify(field, guess, piece, iterations=count, ridge=options.ridge), field


def _empty_field(options: LatentOptions) -> Polynomial:
    count = len(options.components) + options.latent
    latent = [f"latent{i}" for i in range(1, options.latent + 1)]
    return Polynomial(count, degree=options.degree, names=[*options.components, *latent]).double()


def _polynomial(field: Standardised) -> Polynomial:
    if not isinstance(field.inner, Polynomial):
        raise ValueError("only a polynomial field can be saved")
    return field.inner


def _moments(values: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of what was seen of each component."""
    count = seen.sum((0, 1)).clamp_min(1)
    mean = (seen * values).sum((0, 1)) / count
    scale = ((seen * (values - mean).square()).sum((0, 1)) / count).sqrt()
    return mean, torch.where(scale > 0, scale, 1.0)


def _features(data: Observed, options: LatentOptions) -> Tensor:
    """First guesses of latent components: what x alone tells beside its value.

    Its first two derivatives, and averages of its products over the past: a hidden component that
    decays and is driven by products of observed ones is such an average.
    """
    filled = _filled(data)
    gaps = nn.functional.pad(data.gaps, (1, 0))
    times = gaps.cumsum(1)
    slope = _slope(filled, times)
    rows, columns = torch.triu_indices(filled.shape[-1], filled.shape[-1])
    products = filled[..., rows] * filled[..., columns]
    scale = float(filled.std() / slope.std().clamp_min(1e-300))
    averages = [_average(products, gaps, memory * scale) for memory in options.memories]
    features = torch.cat([slope, _slope(slope, times), *averages], -1)
    features = features - features.mean((0, 1))
    return features / features.std((0, 1)).clamp_min(1e-300)


def _slope(values: Tensor, times: Tensor) -> Tensor:
    """Derivatives in time, of second order also where gaps differ."""
    pairs = zip(values.numpy(), times.numpy(), strict=True)
    return torch.from_numpy(np.stack([np.gradient(v, t, axis=0) for v, t in pairs]))


def _average(values: Tensor, gaps: Tensor, memory: float) -> Tensor:
    """Averages over the past with weights that fall by e in the time `memory`."""
    kept = torch.exp(-gaps / memory)[..., None]
    average, averages = values.mean(1), []
    for n in range(values.shape[1]):
        average = kept[:, n] * average + (1 - kept[:, n]) * values[:, n]
        averages.append(average)
    return torch.stack(averages, 1)


def _filled(data: Observed) -> Tensor:
    """The observations, missing ones interpolated in time."""
    if bool((data.seen > 0).all()):
        return data.values
    filled = data.values.clone()
    times = nn.functional.pad(data.gaps.cumsum(1), (1, 0)).numpy()
    for series in range(filled.shape[0]):
        for component in range(filled.shape[2]):
            seen = data.seen[series, :, component].numpy() > 0
            if seen.any():
                known = data.values[series, :, component].numpy()[seen]
                whole = np.interp(times[series], times[series][seen], known)
                filled[series, :, component] = torch.from_numpy(whole)
    return filled


def _piece(data: Observed, features: Tensor, options: LatentOptions) -> tuple[Observed, Tensor]:
    """The beginnings of the first series, and their features."""
    times = data.values.shape[1]
    length = min(times, options.piece)
    series = max(1, min(len(data.values), options.piece // length))
    piece = Observed(
        values=data.values[:series, :length],
        seen=data.seen[:series, :length],
        gaps=data.gaps[:series, : length - 1],
    )
    return piece, features[:series, :length]


def _first_field(states: Tensor, data: Observed, options: LatentOptions) -> Polynomial:
    """Least squares of the rates of change of a guess."""
    field = _empty_field(options)
    middle = (states[:, 1:] + states[:, :-1]) / 2
    rates = states.diff(dim=1) / data.gaps[..., None]
    terms = field.library(middle.flatten(0, 1))
    gram = terms.mT @ terms
    gram += 1e-4 * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
    field.set_coefficients(torch.linalg.solve(gram, terms.mT @ rates.flatten(0, 1)))
    return field


def _carried(
    found: Tensor, piece: Observed, part: Tensor, data: Observed, features: Tensor
) -> Tensor:
    """Latent components found on a piece, carried to all series by regression on features."""
    observed = piece.values.shape[-1]

    def terms(values: Tensor, features: Tensor) -> Tensor:
        own = torch.cat([values, features], -1).flatten(0, 1)
        rows, columns = torch.triu_indices(own.shape[1], own.shape[1])
        return torch.cat([torch.ones_like(own[:, :1]), own, own[:, rows] * own[:, columns]], 1)

    known, wanted = terms(_filled(piece), part), found[..., observed:].flatten(0, 1)
    gram = known.mT @ known
    gram += 1e-6 * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
    weights = torch.linalg.solve(gram, known.mT @ wanted)
    filled = _filled(data)
    latent = (terms(filled, features) @ weights).view(*filled.shape[:2], -1)
    return torch.cat([filled, latent], -1)
