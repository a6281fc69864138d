"""Twin experiments: a known truth is observed, assimilated and compared with what comes out."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from sciml.dynamics.assimilation.gaussian import Background
from sciml.dynamics.assimilation.model import Propagator
from sciml.dynamics.assimilation.observation import Observations
from sciml.metrics import root_mean_square_error

__all__ = ["Assimilation", "climatology", "twin_experiment"]

FREE_RUN, CLIMATOLOGY = "free run", "climatology"
"""Names of the two baselines."""


@runtime_checkable
class Assimilation(Protocol):
    """What a twin experiment compares: `FourDVar`, `EnsembleKalman`, or one's own."""

    def assimilate(
        self,
        model: Propagator,
        background: Background,
        observations: Observations,
        *,
        components: Sequence[str] | None = None,
    ) -> xr.Dataset: ...


def climatology(ds: xr.Dataset) -> Background:
    """Mean and covariance of `state` over all samples and times, as a background at its start.

    >>> ds = xr.Dataset({"state": (("sample", "time", "component"), [[[0.0], [2.0]]])},
    ...                 coords={"time": [0.0, 1.0]})
    >>> climatology(ds).mean
    tensor([[1.]], dtype=torch.float64)
    """
    states = _tensor(ds["state"])
    flat = states.flatten(0, 1)
    covariance = torch.cov(flat.mT).reshape(flat.shape[1], flat.shape[1])
    return Background(
        time=float(ds["time"][0]),
        mean=flat.mean(0).repeat(len(states), 1),
        covariance=covariance,
    )


def twin_experiment(
    truth: xr.Dataset,
    model: Propagator,
    methods: Mapping[str, Assimilation],
    *,
    observed: Sequence[str] = ("x",),
    error_variance: float = 2.0,
    every: int = 1,
    spin_up: float = 0.0,
    window: float | None = None,
    background: Background | None = None,
    seed: int = 0,
) -> xr.Dataset:
    """Observe a truth with noise, give it to several methods, and compare their analyses.

    y = H x_true + ε, ε ~ N(0, r I), at every `every`-th time after the first, H choosing some
    components. All methods start from the same background, by default the climatology of the
    truth, which also is a baseline; the other is the model run freely from a random state of it.
    Errors are taken at the observed times after the spin-up, over all samples.

    The truth needs no validity over the whole time, as a long trajectory of a chaotic system
    cannot have it: enough that each step of it is far more accurate than the observations.

    Args:
        truth: `state` (sample, time, component) with labels of times and components. Times
            between observed ones refine the analyses, for a picture say.
        model: that the methods use; true, wrong or learned.
        methods: by the names they are to have in the results.
        observed: components that are seen.
        error_variance: r, in the squared unit of the state.
        every: stride of the observed times.
        spin_up: time left out of the errors.
        window: length after whose multiples `end_rmse` is taken, where 4D-Var has seen no more
            observations than a filter; at all observed times if not given.
        background: mean and covariance at the first time.
        seed: of the errors of observation and of the free run.

    Returns:
        `truth`, `observation` (NaN where nothing was seen), and along the dimension `analysis`,
        for each method and baseline, `state`, `spread`, `rmse` and `end_rmse` of each component,
        `rms_spread`, `integrations` and `adjoint_integrations` (mean number of model trajectories
        that a time was covered by) and `seconds`. The attributes hold the arguments.

    Raises:
        ValueError: no method, an unknown component, a variance that is not positive, a spin-up
            that leaves nothing, or anything a method refuses.

    Example:
        >>> from sciml.dynamics.assimilation import EnsembleKalman, ForecastModel
        >>> from sciml.dynamics.integrators import RungeKutta
        >>> from sciml.dynamics.systems import Lorenz63, trajectories
        >>> truth = trajectories(np.arange(31) * 0.1, samples=2, seed=1)
        >>> model = ForecastModel(field=Lorenz63(), scheme=RungeKutta(step=0.05))
        >>> twin = twin_experiment(truth, model, {"EnKF": EnsembleKalman(members=20)}, spin_up=1.0)
        >>> error = twin["rmse"]
        >>> bool((error.sel(analysis="EnKF") < error.sel(analysis="climatology")).all())
        True
    """
    _check(truth, methods, observed, error_variance, every)
    background = climatology(truth) if background is None else background
    observations = _observe(truth, observed, error_variance, every, seed)
    labels = [str(name) for name in truth["component"].values]
    runs, seconds = {}, {}
    for name, method in methods.items():
        begin = time.perf_counter()
        runs[name] = method.assimilate(model, background, observations, components=labels)
        seconds[name] = time.perf_counter() - begin
    rows = [_of_method(run, truth) for run in runs.values()]
    rows += [_free_run(truth, model, background, seed), _constant(truth, background)]
    names = [*runs, FREE_RUN, CLIMATOLOGY]
    ds = xr.concat(rows, xr.IndexVariable("analysis", names))
    ds["truth"] = truth["state"]
    ds["observation"] = _seen(truth, observations, observed)
    ds["seconds"] = ("analysis", [*seconds.values(), np.nan, np.nan], {"units": "s"})
    ds = ds.assign(_errors(ds, every, spin_up, window))
    return ds.assign_attrs(
        observed=list(observed),
        error_variance=error_variance,
        every=every,
        spin_up=spin_up,
        seed=seed,
    )


def _check(
    truth: xr.Dataset,
    methods: Mapping[str, Assimilation],
    observed: Sequence[str],
    error_variance: float,
    every: int,
) -> None:
    known = truth["component"].values.tolist()
    missing = [name for name in observed if name not in known]
    if missing or not observed:
        raise ValueError(
            f"components {missing or 'none'} are to be observed, the truth has {known}: choose "
            f"among them"
        )
    reserved = {FREE_RUN, CLIMATOLOGY} & set(methods)
    if not methods or reserved:
        raise ValueError(
            f"the methods are named {list(methods)}: give at least one, and none the name of a "
            f"baseline, {FREE_RUN!r} or {CLIMATOLOGY!r}"
        )
    if not error_variance > 0 or not 1 <= every < truth.sizes["time"]:
        raise ValueError(
            f"the error variance is {error_variance:g} and the stride {every} of "
            f"{truth.sizes['time']} times: give a positive variance and a stride that leaves at "
            f"least one observation"
        )


def _observe(
    truth: xr.Dataset, observed: Sequence[str], variance: float, every: int, seed: int
) -> Observations:
    """Noisy values at every time after the first, masked where they are not to be seen."""
    labels = truth["component"].values.tolist()
    operator = torch.eye(len(labels)).double()[[labels.index(name) for name in observed]]
    states = _tensor(truth["state"])[:, 1:]
    clean = states @ operator.mT
    noise = np.random.default_rng(seed).standard_normal(clean.shape)
    mask = torch.zeros(clean.shape, dtype=torch.bool)
    mask[:, every - 1 :: every] = True
    return Observations(
        times=_tensor(truth["time"])[1:],
        values=clean + variance**0.5 * torch.from_numpy(noise),
        covariance=variance * torch.eye(len(operator)).double(),
        operator=operator,
        mask=mask,
    )


def _of_method(run: xr.Dataset, truth: xr.Dataset) -> xr.Dataset:
    """States and spread at the truth's times, and the cost."""
    row = run[["state", "spread"]].sel(time=truth["time"], method="nearest")
    length = run["window_stop"] - run["window_start"]
    for name in ("integrations", "adjoint_integrations"):
        row[name] = (run[name].mean("sample") * length).sum() / length.sum()
    return row.assign_coords(time=truth["time"], component=truth["component"])


def _free_run(
    truth: xr.Dataset, model: Propagator, background: Background, seed: int
) -> xr.Dataset:
    root = torch.linalg.cholesky(background.covariance)
    draw = np.random.default_rng([seed, 1]).standard_normal(background.mean.shape)
    start = background.mean + (root @ torch.from_numpy(draw)[..., None])[..., 0]
    with torch.no_grad():
        states = model(start, _tensor(truth["time"]))
    return _baseline(truth, states, torch.full_like(states, torch.nan), 1.0)


def _constant(truth: xr.Dataset, background: Background) -> xr.Dataset:
    covariance = background.covariance
    spread = covariance.diagonal(dim1=-2, dim2=-1).sqrt().expand(background.mean.shape)
    times = truth.sizes["time"]
    states = background.mean[:, None].repeat(1, times, 1)
    return _baseline(truth, states, spread[:, None].repeat(1, times, 1), 0.0)


def _baseline(truth: xr.Dataset, states: Tensor, spread: Tensor, cost: float) -> xr.Dataset:
    along = ("sample", "time", "component")
    return xr.Dataset(
        {
            "state": (along, states.numpy(), {"units": "1"}),
            "spread": (along, spread.numpy(), {"units": "1"}),
            "integrations": ((), cost, {"units": "1"}),
            "adjoint_integrations": ((), 0.0, {"units": "1"}),
        },
        coords={"time": truth["time"], "component": truth["component"]},
    )


def _seen(truth: xr.Dataset, observations: Observations, observed: Sequence[str]) -> xr.DataArray:
    seen = truth["state"].sel(component=list(observed)).transpose("sample", "time", ...)
    values = np.full(seen.shape, np.nan)
    mask = observations.observed.numpy()
    values[:, 1:] = np.where(mask, observations.values.numpy(), np.nan)
    return seen.copy(data=values).rename(component="observed")


def _errors(
    ds: xr.Dataset, every: int, spin_up: float, window: float | None
) -> dict[str, xr.DataArray]:
    start = float(ds["time"][0])
    at = ds.isel(time=slice(every, None, every))
    at = at.where(at["time"] > start + spin_up, drop=True)
    if not at.sizes["time"]:
        raise ValueError(
            f"a spin-up of {spin_up:g} leaves no observation of a truth that lasts "
            f"{float(ds['time'][-1]) - start:g}: shorten it or give a longer truth"
        )
    ends = at
    if window is not None:
        phase = (at["time"] - start) / window
        ends = at.where(abs(phase - phase.round()) * window < 1e-6, drop=True)
    over = ("sample", "time")
    return {
        "rmse": _rmse(at, over),
        "end_rmse": _rmse(ends, over),
        "rms_spread": ((at["spread"] ** 2).mean(over) ** 0.5).assign_attrs(units="1"),
    }


def _rmse(ds: xr.Dataset, over: tuple[str, str]) -> xr.DataArray:
    truth = ds["truth"].broadcast_like(ds["state"]).transpose(*ds["state"].dims)
    return root_mean_square_error(truth, ds["state"], over).assign_attrs(units="1")


def _tensor(values: xr.DataArray) -> Tensor:
    return torch.from_numpy(np.array(values.values, dtype=np.float64))
