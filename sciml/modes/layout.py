"""How fields on a mesh become rows of numbers, and rows become fields again."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Float64

from sciml.modes.slabs import slabs

__all__ = ["TIME", "Layout", "Scaling"]

TIME = "time"
VOLUME, MASK = "cell_volume", "mask"

AT_ONCE = 2**25
"""Bytes of a field that are converted at a time."""

Scaling = Literal["none", "deviation"]

Rows = Any
"""(row, point) numbers, as NumPy or dask holds them."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    r"""Which numbers of a snapshot stand where in a row, and what each weighs.

    A row holds the variables one after the other, each flattened, without the points of the solid.
    The inner product of two rows is $\langle a, b\rangle = \sum_p w_p\,a_p\,b_p$ with $w$ the cell
    volume over the square of the variable's scale: energy does not depend on the mesh, and
    variables of different units can stand side by side.

    Attributes:
        template: the variables of one snapshot, without time; values do not matter.
        kept: of the points of a whole row, those in the fluid; None if all are.
        weights: w of the points kept.
        scales: what each variable is divided by in the inner product.
    """

    template: xr.Dataset
    kept: Bool[np.ndarray, " all"] | None
    weights: Float64[np.ndarray, " point"]
    scales: Mapping[str, float]

    @classmethod
    def of(
        cls, ds: xr.Dataset, variables: Sequence[str] | None = None, *, scaling: Scaling = "none"
    ) -> Layout:
        """The layout of labelled snapshots.

        Args:
            ds: variables over `time` and the mesh; `cell_volume` and `mask` (true in the fluid)
                over the mesh are used where they are given.
            variables: which of them; by default all that are over `time`.
            scaling: "deviation" divides each variable by its root-mean-square deviation from its
                mean in time, so that all count alike; "none" leaves units as they are.

        Raises:
            ValueError: no snapshots, no such variable, variables that are no real numbers, or
                volumes and masks that do not fit.
        """
        names = _chosen(ds, variables)
        template = _template(ds, names)
        kept = _kept(ds, template)
        volume = _volumes(ds, template)
        scales = {name: _deviation(ds, name) if scaling == "deviation" else 1.0 for name in names}
        scale = np.concatenate([np.full(template[name].size, scales[name]) for name in names])
        weights = volume / scale**2
        return cls(
            template=template,
            kept=kept,
            weights=weights if kept is None else weights[kept],
            scales=scales,
        )

    @property
    def variables(self) -> list[str]:
        """Names of the variables, in order."""
        return [str(name) for name in self.template.data_vars]

    @property
    def points(self) -> int:
        """Numbers in a row."""
        return len(self.weights)

    def rows(self, ds: xr.Dataset, dim: str = TIME) -> Rows:
        """The rows of snapshots, one for each place along `dim`.

        One variable without a mask is not copied; what dask holds stays with dask.

        Raises:
            ValueError: a variable is missing or lies on another mesh.
        """
        self.require(ds, dim)
        parts = [self._flat(ds, name, dim) for name in self.variables]
        whole = parts[0] if len(parts) == 1 else _joined(parts)
        return whole if self.kept is None else whole[:, np.flatnonzero(self.kept)]

    def fields(
        self,
        rows: Float[np.ndarray, "row point"],
        dim: str = TIME,
        coordinate: xr.DataArray | np.ndarray | None = None,
        *,
        prefix: str = "",
    ) -> xr.Dataset:
        """Labelled fields of rows; points in the solid are NaN.

        Args:
            rows: as `rows` gives them.
            dim: name of their first dimension.
            coordinate: its labels.
            prefix: names the fields: alone if there is one variable, else `prefix_variable`;
                without it they bear their variable's name.
        """
        rows = np.asarray(rows)
        whole = rows
        if self.kept is not None:
            kind = rows.dtype if rows.dtype.kind in "fc" else np.float64
            whole = np.full((len(rows), len(self.kept)), np.nan, dtype=kind)
            whole[:, self.kept] = rows
        variables, start = {}, 0
        for name in self.variables:
            one = self.template[name]
            values = whole[:, start : start + one.size].reshape(len(rows), *one.shape)
            variables[self.named(prefix, name)] = ((dim, *one.dims), values, one.attrs)
            start += one.size
        coords: dict[Hashable, Any] = dict(self.template.coords)
        if coordinate is not None:
            coords[dim] = (dim, np.asarray(coordinate), getattr(coordinate, "attrs", {}))
        return xr.Dataset(variables, coords=coords)

    def labelled(self) -> xr.Dataset:
        """What `from_labelled` makes this layout from, to be kept in a file."""
        variables, whole = {}, self.weights
        if self.kept is not None:
            whole = np.full(len(self.kept), np.nan)
            whole[self.kept] = self.weights
        start = 0
        for name in self.variables:
            one = self.template[name]
            attrs = {f"of_{key}": value for key, value in one.attrs.items()}
            attrs |= {"units": "1", "scale": self.scales[name], "kind": str(one.dtype)}
            weight = whole[start : start + one.size].reshape(one.shape)
            variables[name] = (one.dims, weight, attrs)
            start += one.size
        return xr.Dataset(variables, coords=self.template.coords)

    @classmethod
    def from_labelled(cls, ds: xr.Dataset) -> Layout:
        """The layout of which `labelled` gave the weights."""
        names = [str(name) for name in ds.data_vars]
        whole = np.concatenate([ds[name].values.ravel() for name in names])
        kept = np.isfinite(whole)
        template = xr.Dataset(coords=ds.coords)
        for name in names:
            attrs = {k.removeprefix("of_"): v for k, v in ds[name].attrs.items() if k[:3] == "of_"}
            empty = np.zeros(ds[name].shape, dtype=ds[name].attrs["kind"])
            template[name] = (ds[name].dims, empty, attrs)
        return cls(
            template=template,
            kept=None if kept.all() else kept,
            weights=whole[kept],
            scales={name: float(ds[name].attrs["scale"]) for name in names},
        )

    def named(self, prefix: str, variable: str) -> str:
        """The name of a field made of a variable, such as `modes` or `modes_pressure`."""
        if not prefix:
            return variable
        return prefix if len(self.variables) == 1 else f"{prefix}_{variable}"

    def require(self, ds: xr.Dataset, dim: str = TIME) -> None:
        """Refuse data that does not lie on the mesh of this layout.

        Raises:
            ValueError: a variable is missing or lies on another mesh.
        """
        for name in self.variables:
            if name not in ds:
                has = ", ".join(map(str, ds.data_vars))
                raise ValueError(f"the data has no {name}, only {has}")
            one = self.template[name]
            wanted = (dim, *one.dims)
            if set(ds[name].dims) != set(wanted):
                raise ValueError(f"{name} is over {ds[name].dims}, and must be over {wanted}")
            found = tuple(ds[name].sizes[d] for d in one.dims)
            if found != one.shape:
                raise ValueError(
                    f"{name} has {found} points along {one.dims}, and must have {one.shape}"
                )

    def _flat(self, ds: xr.Dataset, name: str, dim: str) -> Rows:
        array = ds[name].transpose(dim, *self.template[name].dims)
        return array.data.reshape(array.shape[0], -1)


def _chosen(ds: xr.Dataset, variables: Sequence[str] | None) -> list[str]:
    """Names of real variables over time."""
    over = [str(name) for name in ds.data_vars if TIME in ds[name].dims]
    names = over if variables is None else list(variables)
    missing = [name for name in names if name not in over]
    if missing or not names:
        wanted = ", ".join(missing) or "a variable"
        raise ValueError(
            f"the data has no {wanted} over {TIME}; over {TIME} it has: {', '.join(over) or 'none'}"
        )
    if not ds.sizes[TIME]:
        raise ValueError("the data has no snapshots")
    for name in names:
        if ds[name].dtype.kind not in "fiu":
            raise ValueError(
                f"{name} holds {ds[name].dtype}, and must hold real numbers: give real and "
                "imaginary part as two variables"
            )
    return names


def _template(ds: xr.Dataset, names: Sequence[str]) -> xr.Dataset:
    """Variables without time or values, so that neither memory nor a file is held."""
    space = list(dict.fromkeys(d for name in names for d in ds[name].dims if d != TIME))
    own = ds[names].isel({TIME: 0}, drop=True).transpose(*space)
    variables = {
        name: (one.dims, np.broadcast_to(np.zeros((), one.dtype), one.shape), one.attrs)
        for name, one in own.data_vars.items()
    }
    return xr.Dataset(variables, coords=own.coords.to_dataset().compute().coords)


def _spread(field: xr.DataArray, template: xr.Dataset, what: str) -> np.ndarray:
    """A field of the mesh at every number of a row."""
    parts = []
    for name, one in template.data_vars.items():
        strange = [d for d in field.dims if d not in one.dims]
        if strange or any(field.sizes[d] != one.sizes[d] for d in field.dims):
            raise ValueError(
                f"{what} is {dict(field.sizes)}, which does not fit {name}, {dict(one.sizes)}"
            )
        parts.append(field.broadcast_like(one).transpose(*one.dims).values.ravel())
    return np.concatenate(parts)


def _kept(ds: xr.Dataset, template: xr.Dataset) -> np.ndarray | None:
    if MASK not in ds:
        return None
    kept = _spread(ds[MASK].astype(bool), template, MASK)
    if not kept.any():
        raise ValueError(f"{MASK} is false everywhere; it must be true in the fluid")
    return None if kept.all() else kept


def _volumes(ds: xr.Dataset, template: xr.Dataset) -> Float64[np.ndarray, " all"]:
    if VOLUME not in ds:
        return np.ones(sum(one.size for one in template.data_vars.values()))
    volume = _spread(ds[VOLUME], template, VOLUME).astype(np.float64)
    inside = volume if (kept := _kept(ds, template)) is None else volume[kept]
    if not np.isfinite(inside).all() or inside.min() < 0:
        raise ValueError(
            f"{VOLUME} must be finite and not negative, and is not in "
            f"{int((~(inside >= 0) | ~np.isfinite(inside)).sum())} points"
        )
    return volume


def _deviation(ds: xr.Dataset, name: str) -> float:
    """Root mean square of the deviation from the mean in time, over the fluid."""
    field = ds[name]
    space = [d for d in field.dims if d != TIME]
    weight = ds[VOLUME] if VOLUME in ds else xr.ones_like(field.isel({TIME: 0}, drop=True), float)
    if MASK in ds:
        weight = weight.where(ds[MASK].astype(bool), 0.0)
    weight = weight.broadcast_like(field.isel({TIME: 0}, drop=True)).compute()
    most = max(1, AT_ONCE // max(1, 8 * field.sizes[TIME]))
    if field.chunks is not None:
        most = field.size
    squares = 0.0
    for slab in slabs([field.sizes[d] for d in space], most):
        index = dict(zip(space, slab.index, strict=True))
        part = weight.isel(index)
        variance = field.isel(index).astype(np.float64).var(TIME, skipna=False)
        squares += float((variance.where(part > 0, 0.0) * part).sum())
    deviation = float(np.sqrt(squares / float(weight.sum())))
    if not deviation > 0:
        raise ValueError(f"{name} does not change in time: leave it out, or use scaling='none'")
    return deviation


def _joined(parts: Sequence[Rows]) -> Rows:
    """Side by side, by whichever library holds them."""
    if any(hasattr(part, "dask") for part in parts):
        from dask import array

        return array.concatenate(parts, axis=1)
    return np.concatenate(parts, axis=1)
