"""Observations of a state: times, values, error covariance, operator and mask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import xarray as xr
from jaxtyping import Bool, Float
from torch import Tensor

from sciml.dynamics.assimilation.gaussian import square_root

__all__ = ["Observations", "observations_of"]

Operator = Callable[[Tensor], Tensor] | Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Observations:
    """What was measured of several experiments: y_k = H(x(t_k)) + ε_k, ε_k ~ N(0, R).

    The times are common to all samples. Where samples were observed at times of their own, give
    the union of all and mask out what was not observed.

    Attributes:
        times: t_k [time], increasing.
        values: y [sample, time, observed]; whatever stands where the mask is false is not read.
        covariance: R [observed, observed], or [time, observed, observed] if it changes.
        operator: H, a matrix [observed, component], or a differentiable function from states
            [batch, component] to [batch, observed], each row by itself.
        mask: [sample, time, observed], true where observed; everything is, if not given.

    Raises:
        ValueError: times that do not increase, sizes that do not fit, NaN without a mask, a
            covariance that is not positive definite.

    >>> y = Observations(times=torch.tensor([0.1, 0.2]), values=torch.ones(1, 2, 1),
    ...                  covariance=torch.eye(1), operator=torch.tensor([[1.0, 0.0, 0.0]]))
    >>> y.count
    tensor([2])
    """

    times: Float[Tensor, "..."]
    values: Float[Tensor, "..."]
    covariance: Float[Tensor, "..."]
    operator: Operator
    mask: Bool[Tensor, "..."] | None = None

    def __post_init__(self) -> None:
        times, values = self.times.detach().double(), self.values.detach().double()
        _check_times(times)
        if values.ndim != 3 or values.shape[1] != times.numel():
            raise ValueError(
                f"observed values have shape {list(values.shape)}, expected "
                f"[sample, {times.numel()}, observed]: one value for each of the "
                f"{times.numel()} times"
            )
        mask = torch.ones_like(values, dtype=torch.bool) if self.mask is None else self.mask
        if mask.shape != values.shape:
            raise ValueError(
                f"the mask has shape {list(mask.shape)}, expected {list(values.shape)}: "
                f"give it the shape of the values"
            )
        _check_finite(values, mask, times)
        operator = self.operator
        if isinstance(operator, Tensor):
            operator = operator.detach().double()
            _check_matrix(operator, values.shape[2])
        object.__setattr__(self, "times", times)
        object.__setattr__(self, "values", torch.where(mask, values, 0.0))
        object.__setattr__(self, "covariance", self.covariance.detach().double())
        object.__setattr__(self, "operator", operator)
        object.__setattr__(self, "mask", mask)
        square_root(self.covariance, values.shape[2], "observation")

    @property
    def count(self) -> Tensor:
        """Values observed in each sample."""
        return self.observed.sum((1, 2))

    @property
    def observed(self) -> Bool[Tensor, "sample time observed"]:
        """The mask, all true where none was given."""
        assert self.mask is not None
        return self.mask

    @cached_property
    def whitener(self) -> Float[Tensor, "sample time observed observed"]:
        """R^(-1/2) of what was observed, with the identity in the place of the rest.

        L⁻¹ with L Lᵀ = R, rows and columns of missing values replaced by those of the identity.
        """
        mask = self.observed.double()
        both = mask[..., :, None] * mask[..., None, :]
        present = both * self.covariance + torch.diag_embed(1 - mask)
        identity = torch.eye(mask.shape[-1], dtype=torch.float64).expand_as(present)
        factor = torch.linalg.cholesky(present)
        return torch.linalg.solve_triangular(factor, identity, upper=False)

    def between(self, start: float, stop: float, *, closed: bool) -> Observations:
        """Those with start < t ≤ stop, to rounding; of t = start too where `closed`."""
        slack = 1e-9 * max(abs(start), abs(stop), stop - start)
        after = self.times >= start - slack if closed else self.times > start + slack
        chosen = after & (self.times <= stop + slack)
        constant = self.covariance.ndim == 2
        return Observations(
            times=self.times[chosen],
            values=self.values[:, chosen],
            covariance=self.covariance if constant else self.covariance[chosen],
            operator=self.operator,
            mask=self.observed[:, chosen],
        )

    def sample(self, index: int) -> Observations:
        """Those of one sample."""
        one = slice(index, index + 1)
        return Observations(
            times=self.times,
            values=self.values[one],
            covariance=self.covariance,
            operator=self.operator,
            mask=self.observed[one],
        )

    def observe(self, states: Float[Tensor, "*batch component"]) -> Tensor:
        """H(x) [..., observed] of states [..., component]."""
        flat = states.reshape(-1, states.shape[-1])
        if isinstance(self.operator, Tensor):
            if self.operator.shape[1] != flat.shape[1]:
                raise ValueError(
                    f"the observation operator is a matrix for {self.operator.shape[1]} "
                    f"components, the state has {flat.shape[1]}: give a matrix "
                    f"[observed, {flat.shape[1]}]"
                )
            seen = flat @ self.operator.mT
        else:
            seen = self.operator(flat)
        if seen.shape != (len(flat), self.values.shape[2]):
            raise ValueError(
                f"the observation operator made {list(seen.shape)} of {len(flat)} states, "
                f"expected {[len(flat), self.values.shape[2]]} as the values have: mend either"
            )
        return seen.reshape(*states.shape[:-1], seen.shape[-1])

    def misfit(self, states: Float[Tensor, "sample time component"]) -> Tensor:
        """R^(-1/2) (H(x) − y) [sample, time, observed], zero where nothing was observed."""
        return self.whitened(self.observe(states) - self.values)

    def whitened(self, differences: Float[Tensor, "sample time observed"]) -> Tensor:
        """R^(-1/2) d, zero where nothing was observed."""
        present = torch.where(self.observed, differences, 0.0)
        return (self.whitener @ present[..., None])[..., 0]

    def jacobian(self, states: Float[Tensor, "sample time component"]) -> Tensor:
        """R^(-1/2) H'(x) [sample, time, observed, component], zero where nothing was observed."""
        if isinstance(self.operator, Tensor):
            rows = self.operator.expand(*states.shape[:2], *self.operator.shape)
        else:
            rows = self._derivative(states)
        return self.whitener @ (rows * self.observed[..., None])

    def _derivative(self, states: Tensor) -> Tensor:
        """H' by one backward pass an observed value, all states at a time."""
        with torch.enable_grad():
            at = states.detach().clone().requires_grad_()
            seen = self.observe(at)
            rows = [
                torch.autograd.grad(seen[..., row].sum(), at, retain_graph=True)[0]
                for row in range(seen.shape[-1])
            ]
        return torch.stack(rows, dim=2)


def observations_of(
    ds: xr.Dataset,
    observed: Sequence[str | int],
    covariance: Float[Tensor, "observed observed"],
) -> Observations:
    """Observations in a labelled data set: some components of `state`, where `mask` is 1.

    Args:
        ds: `state` (sample, time, component) as observed; `mask` with the same dimensions,
            1 where observed, if something is missing. A coordinate `time`, or the variable
            `observation_time` (sample, time) where samples have times of their own.
        observed: labels of the components to use.
        covariance: R of their errors.

    Raises:
        ValueError: a component that is not there, or anything :class:`Observations` refuses.
    """
    labels = list(ds["component"].values)
    missing = [label for label in observed if label not in labels]
    if missing:
        raise ValueError(
            f"components {missing} are not in the data set, which has {labels}: choose among them"
        )
    dims = ("sample", "time", "component")
    chosen = ds.sel(component=list(observed)).transpose(*dims, ...)
    values = chosen["state"].values.astype(np.float64)
    mask = np.ones(values.shape, dtype=bool)
    if "mask" in chosen:
        mask = chosen["mask"].transpose(*dims).values.astype(bool)
    times = np.array(ds["time"].values, dtype=np.float64) if "time" in ds.coords else None
    if times is None:
        rows = ds["observation_time"].transpose("sample", "time").values
        times, values, mask = _on_common_times(rows, values, mask)
    places = [labels.index(label) for label in observed]
    return Observations(
        times=torch.from_numpy(times),
        values=torch.from_numpy(values),
        covariance=covariance,
        operator=torch.eye(len(labels), dtype=torch.float64)[places],
        mask=torch.from_numpy(mask),
    )


def _on_common_times(
    rows: Float[np.ndarray, "sample time"], values: np.ndarray, mask: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The union of all times, with values and mask moved to it."""
    times, places = np.unique(rows, return_inverse=True)
    shape = (len(rows), len(times), values.shape[2])
    moved, seen = np.zeros(shape), np.zeros(shape, dtype=bool)
    at = (np.arange(len(rows))[:, None], places.reshape(rows.shape))
    moved[at], seen[at] = values, mask
    return times, moved, seen


def _check_times(times: Tensor) -> None:
    if times.ndim != 1:
        raise ValueError(
            f"observation times have shape {list(times.shape)}, expected [time]: give the union "
            f"of the samples' times and a mask"
        )
    wrong = (~(times.diff() > 0)).nonzero().flatten().tolist()
    if wrong or not times.isfinite().all():
        k = wrong[0] if wrong else int((~times.isfinite()).nonzero()[0, 0])
        given = ", ".join(f"{float(t):.6g}" for t in times[k : k + 2])
        raise ValueError(
            f"observation times must increase, but at position {k} they are {given}: sort them "
            f"and remove repeated ones"
        )


def _check_finite(values: Tensor, mask: Tensor, times: Tensor) -> None:
    wrong = (mask & ~values.isfinite()).nonzero()
    if len(wrong):
        sample, k, row = wrong[0].tolist()
        raise ValueError(
            f"observation {row} of sample {sample} at time {float(times[k]):.6g} is not finite "
            f"and not masked: set its mask to false"
        )


def _check_matrix(operator: Tensor, rows: int) -> None:
    if operator.ndim != 2 or operator.shape[0] != rows:
        raise ValueError(
            f"the observation operator has shape {list(operator.shape)}, expected "
            f"[{rows}, component]: one row for each observed value"
        )
