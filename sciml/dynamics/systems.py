"""Lorenz-63: its field, its constants, and its trajectories far more exact than any model's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from sciml.dynamics.taylor import taylor_series

__all__ = [
    "ATTRACTOR_MEAN",
    "ATTRACTOR_STANDARD_DEVIATION",
    "COMPONENTS",
    "KAPLAN_YORKE_DIMENSION",
    "LYAPUNOV_EXPONENTS",
    "LYAPUNOV_TIME",
    "SYMMETRY",
    "Lorenz63",
    "check_times",
    "history_of",
    "solve",
    "times_of",
    "trajectories",
    "valid_until",
]

COMPONENTS = ("x", "y", "z")

LYAPUNOV_EXPONENTS = (0.906, 0.0, -14.572)
"""Of the standard parameters, per unit of time; they sum to −(σ + 1 + β)."""

KAPLAN_YORKE_DIMENSION = 2.062

LYAPUNOV_TIME = 1 / LYAPUNOV_EXPONENTS[0]

SYMMETRY = (-1.0, -1.0, 1.0)
"""The factors of (x, y, z) → (−x, −y, z), which maps solutions to solutions."""

ATTRACTOR_MEAN = (0.0, 0.0, 23.55)
ATTRACTOR_STANDARD_DEVIATION = (7.92, 9.01, 8.61)
"""Of x, y, z on the attractor of the standard parameters, over 40 000 units of time."""

ORDER = 24
STEP = 0.02
"""Order and longest step of the Taylor series."""

CHECK_STEP = 0.0077
"""Step of the independent solution: no divisor of common intervals, so that it rounds elsewhere."""

TRUTH_THRESHOLD = 1e-3
"""Distance, in standard deviations of the attractor, up to which the truth counts as valid."""


@dataclass(frozen=True, kw_only=True)
class Lorenz63:
    r"""The system of Lorenz (1963), a field to be called on tensors.

    dx/dt = σ (y − x),  dy/dt = x (ρ − z) − y,  dz/dt = x y − β z

    All is without unit.

    Args:
        sigma: σ, the Prandtl number.
        rho: ρ, the Rayleigh number over its critical value.
        beta: β, from the aspect ratio of the rolls.

    Lorenz, "Deterministic nonperiodic flow", 1963,
    doi:10.1175/1520-0469(1963)020<0130:DNF>2.0.CO;2.

    >>> Lorenz63()(torch.tensor([[1.0, 2.0, 3.0]]))
    tensor([[10., 23., -6.]])
    """

    sigma: float = 10.0
    rho: float = 28.0
    beta: float = 8 / 3

    def __call__(self, state: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
        """Rate of change of `state`."""
        x, y, z = state.unbind(-1)
        rates = self.sigma * (y - x), x * (self.rho - z) - y, x * y - self.beta * z
        return torch.stack(rates, -1)

    def rate(self, state: Float[np.ndarray, "*batch 3"]) -> Float[np.ndarray, "*batch 3"]:
        """Rate of change of `state`, in numpy."""
        x, y, z = np.moveaxis(state, -1, 0)
        rates = self.sigma * (y - x), x * (self.rho - z) - y, x * y - self.beta * z
        return np.stack(rates, -1)

    def jacobian(self, state: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
        """Derivatives of the rates (rows) by the components of `state` (columns)."""
        x, y, z = state.unbind(-1)
        one, zero = torch.ones_like(x), torch.zeros_like(x)
        rows = (
            torch.stack((-self.sigma * one, self.sigma * one, zero), -1),
            torch.stack((self.rho - z, -one, -x), -1),
            torch.stack((y, x, -self.beta * one), -1),
        )
        return torch.stack(rows, -2)

    @property
    def divergence(self) -> float:
        """−(σ + 1 + β), everywhere; the Lyapunov exponents sum to it."""
        return -(self.sigma + 1 + self.beta)

    @property
    def parameters(self) -> tuple[float, float, float]:
        """σ, ρ, β."""
        return self.sigma, self.rho, self.beta

    def coefficients(self) -> dict[tuple[str, str], float]:
        """Coefficient of each monomial (second) in the rate of each component (first).

        >>> Lorenz63().coefficients()["y", "x z"]
        -1.0
        """
        return {
            ("x", "x"): -self.sigma,
            ("x", "y"): self.sigma,
            ("y", "x"): self.rho,
            ("y", "y"): -1.0,
            ("y", "x z"): -1.0,
            ("z", "z"): -self.beta,
            ("z", "x y"): 1.0,
        }


def solve(
    initial: Float[np.ndarray, "sample 3"],
    times: Float[np.ndarray, "*sample time"],
    *,
    system: Lorenz63 | None = None,
    order: int = ORDER,
    step: float = STEP,
) -> Float[np.ndarray, "sample time 3"]:
    """Solutions of Lorenz-63 by Taylor series, exact up to rounding that grows with time.

    Args:
        initial: states at the first time.
        times: increasing; one row for all samples or one each.
        system: parameters; the standard ones by default.
        order: of the series.
        step: longest step.

    Returns:
        The states at `times`, the first of them `initial`.

    Raises:
        ValueError: times that do not increase, or are not finite.

    >>> along_z = solve(np.array([[0.0, 0.0, 1.0]]), np.array([0.0, 3.0]))
    >>> bool(abs(along_z[0, -1, 2] - np.exp(-8.0)) < 1e-15)
    True
    """
    system = system or Lorenz63()
    rows = check_times(times, len(initial))
    return taylor_series(
        np.asarray(initial, dtype=np.float64), rows, system.parameters, order=order, step=step
    )


def valid_until(
    initial: Float[np.ndarray, "sample 3"],
    times: Float[np.ndarray, "*sample time"],
    states: Float[np.ndarray, "sample time 3"] | None = None,
    *,
    system: Lorenz63 | None = None,
    threshold: float = TRUTH_THRESHOLD,
) -> Float[np.ndarray, " sample"]:
    """The last time at which two independent solutions from `initial` still agree.

    The other solution has an order higher by four and a step that does not divide common
    intervals, so that its rounding differs; the distance between the two is the root mean square
    over the components of their difference in standard deviations of the attractor.

    Args:
        initial: states at the first time.
        times: as for `solve`.
        states: what `solve` returned for them, if at hand.
        system: parameters; the standard ones by default.
        threshold: distance at which they no longer agree.

    Returns:
        A time of `times` for each sample; the last one where they agree to the end.
    """
    rows = check_times(times, len(initial))
    if states is None:
        states = solve(initial, rows, system=system)
    other = solve(initial, rows, system=system, order=ORDER + 4, step=CHECK_STEP)
    apart = np.sqrt((((other - states) / ATTRACTOR_STANDARD_DEVIATION) ** 2).mean(-1))
    agree = np.logical_and.accumulate(apart <= threshold, axis=1)
    return np.take_along_axis(rows, agree.sum(1, keepdims=True) - 1, axis=1)[:, 0]


def trajectories(
    times: Float[np.ndarray, "*sample time"],
    *,
    samples: int = 1,
    seed: int = 0,
    system: Lorenz63 | None = None,
    spin_up: float = 50.0,
    initial: Float[np.ndarray, "sample 3"] | None = None,
) -> xr.Dataset:
    """Trajectories on the attractor of Lorenz-63 as a labelled data set.

    Args:
        times: increasing; one row for all samples, or one each (then they stand in the variable
            `observation_time`, since a coordinate `time` is common to all samples).
        samples: number of trajectories.
        seed: of the initial states; sample i draws from `default_rng([seed, i])`, whatever the
            number of samples.
        system: parameters; the standard ones by default.
        spin_up: time from the random state to the first of the trajectory.
        initial: states to begin from instead, without spin-up.

    Returns:
        `state` [sample, time, component], `valid_until` [sample] (see the function of this name)
        and, in the attributes, where they come from.

    Raises:
        ValueError: times that do not increase.

    >>> ds = trajectories(np.arange(5) * 0.01, samples=2, seed=1)
    >>> dict(ds["state"].sizes)
    {'sample': 2, 'time': 5, 'component': 3}
    """
    system = system or Lorenz63()
    if initial is None:
        rows = check_times(times, samples)
        initial = _on_attractor(samples, seed, system, spin_up)
        origin: dict[str, float] = {"seed": seed, "spin_up": spin_up}
    else:
        rows, origin = check_times(times, len(initial)), {}
    states = solve(initial, rows, system=system)
    ds = xr.Dataset(
        {
            "state": (("sample", "time", "component"), states, {"units": "1"}),
            "valid_until": ("sample", valid_until(initial, rows, states, system=system)),
        },
        coords={"component": list(COMPONENTS)},
        attrs={
            "title": "Trajectories of Lorenz-63",
            "source": f"Taylor series of order {ORDER}, steps of at most {STEP}, float64",
            "reference": "doi:10.1175/1520-0469(1963)020<0130:DNF>2.0.CO;2",
            "truth_threshold": TRUTH_THRESHOLD,
            **asdict(system),
            **origin,
        },
    )
    ds["valid_until"].attrs.update(units="1", long_name="time up to which the truth is valid")
    if np.ndim(times) == 1:
        return ds.assign_coords(time=("time", rows[0], {"units": "1"}))
    return ds.assign(observation_time=(("sample", "time"), rows, {"units": "1"}))


def times_of(ds: xr.Dataset) -> Float[np.ndarray, "sample time"]:
    """The times of every sample: `observation_time` where there is one, else `time`.

    Raises:
        ValueError: neither, or times that do not increase.
    """
    if "observation_time" in ds:
        times = ds["observation_time"].transpose("sample", "time").values
    elif "time" in ds.coords:
        times = ds["time"].values
    else:
        raise ValueError(
            "the data set has no times: give it a coordinate `time`, "
            "or a variable `observation_time` [sample, time]"
        )
    return check_times(times, ds.sizes["sample"])


def history_of(ds: xr.Dataset) -> int:
    """How many leading times of `state` a forecast may use: `history`, 1 where it is not given.

    Args:
        ds: with `state` [sample, time, component]; `history` is a variable without dimensions, or
            a whole number among the attributes.

    Raises:
        ValueError: a history that is no whole number between 1 and the number of times.

    >>> ds = xr.Dataset({"state": (("sample", "time", "component"), np.zeros((1, 9, 3)))})
    >>> history_of(ds), history_of(ds.assign(history=5))
    (1, 5)
    """
    given = ds["history"].item() if "history" in ds else ds.attrs.get("history", 1)
    if isinstance(given, str) or given != int(given) or not 1 <= given <= ds.sizes["time"]:
        raise ValueError(
            f"history is {given!r}, expected a whole number from 1 to {ds.sizes['time']}: "
            "the number of leading times that a forecast may use"
        )
    return int(given)


def check_times(
    times: Float[np.ndarray, "*sample time"] | Sequence[float], samples: int
) -> Float[np.ndarray, "sample time"]:
    """A row of increasing times for each sample.

    Raises:
        ValueError: the times of a sample do not increase, are not finite, or are for another
            number of samples.

    >>> check_times([0.0, 1.0], 2).tolist()
    [[0.0, 1.0], [0.0, 1.0]]
    """
    given = np.asarray(times, dtype=np.float64)
    if given.ndim not in (1, 2) or (given.ndim == 2 and len(given) != samples):
        raise ValueError(
            f"times have shape {given.shape}, expected [time] or [{samples}, time]: "
            "give one row for all samples or one each"
        )
    rows = np.broadcast_to(given, (samples, given.shape[-1]))
    wrong = ~(np.isfinite(rows[:, 1:]) & (np.diff(rows, axis=1) > 0))
    if wrong.any():
        sample, place = np.argwhere(wrong)[0]
        raise ValueError(
            f"times must increase, but those of sample {sample} go from {rows[sample, place]:g} "
            f"to {rows[sample, place + 1]:g} at position {place + 1}: sort them, drop repeated ones"
        )
    return rows


def _on_attractor(
    samples: int, seed: int, system: Lorenz63, spin_up: float
) -> Float[np.ndarray, "sample 3"]:
    """Random states near the attractor, carried onto it."""
    draws = [np.random.default_rng([seed, i]).standard_normal(3) for i in range(samples)]
    begin = np.array(ATTRACTOR_MEAN) + np.array(ATTRACTOR_STANDARD_DEVIATION) * np.stack(draws)
    if spin_up == 0:
        return begin
    return solve(begin, np.array([0.0, spin_up]), system=system)[:, -1]
