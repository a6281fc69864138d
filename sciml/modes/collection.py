"""Several flows on meshes of their own in one data set, and one method for each of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, final

import xarray as xr

from sciml.data.files import read_json, write_json
from sciml.modes.layout import TIME
from sciml.modes.method import Method
from sciml.train.records import class_name, find_class

__all__ = ["Collection", "apart", "together"]

SEPARATOR = "@"
FLOWS, MARKER = "flows", "method.json"


def together(flows: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Flows side by side: names of variables and dimensions end with the name of their flow.

    >>> one = xr.Dataset({"u": (("time", "x"), [[1.0, 2.0]])})
    >>> both = together({"a": one, "b": one})
    >>> sorted(both.data_vars), sorted(both.sizes)
    (['u@a', 'u@b'], ['time@a', 'time@b', 'x@a', 'x@b'])
    >>> sorted(apart(both))
    ['a', 'b']
    """
    parts = []
    for name, ds in flows.items():
        own = {*ds.variables, *ds.dims}
        parts.append(
            ds.rename({key: f"{key}{SEPARATOR}{name}" for key in own}).drop_attrs(deep=False)
        )
    attrs = {FLOWS: " ".join(flows)}
    return xr.merge(parts, compat="no_conflicts", join="outer").assign_attrs(attrs)


def apart(ds: xr.Dataset) -> dict[str, xr.Dataset]:
    """The flows of a collection, by name."""
    found = {}
    for flow in str(ds.attrs[FLOWS]).split():
        end = f"{SEPARATOR}{flow}"
        names = [name for name in ds.data_vars if str(name).endswith(end)]
        part = ds[names]
        own = [key for key in {*part.variables, *part.dims} if str(key).endswith(end)]
        found[flow] = part.rename({key: str(key).removesuffix(end) for key in own})
        found[flow].attrs = {}
    return found


@final
class Collection:
    """One method for each flow of a collection, fitted and asked together.

    Args:
        make: gives an unfitted method for a flow; None where there is none for it.
        flows: names of the flows that take part; by default all.

    Attributes:
        methods: by flow, after `fit`.
    """

    methods: Mapping[str, Method]

    def __init__(self, make: Callable[[str], Method], flows: Sequence[str] | None = None) -> None:
        self.make, self.flows = make, flows

    def fit(
        self,
        train: xr.Dataset,
        valid: xr.Dataset | None = None,
        *,
        folder: Path | None = None,
        resume: bool = False,
    ) -> Any:
        """Fit a method on each flow."""
        methods = {}
        for name, ds in apart(train).items():
            if self.flows is None or name in self.flows:
                methods[name] = self.make(name)
                inner = None if folder is None else folder / name
                methods[name].fit(ds, folder=inner, resume=resume)
        self.methods = methods

    def predict(self, ds: xr.Dataset) -> xr.Dataset:
        """What the methods make of each flow's snapshots, in the data's own precision."""
        flows = apart(ds)
        found = {}
        for name, method in self.methods.items():
            if name in flows and flows[name].sizes[TIME]:
                made = method.reconstruct(flows[name])
                found[name] = made.assign(
                    {str(key): made[key].astype(flows[name][key].dtype) for key in made.data_vars}
                )
        return together(found)

    def save(self, folder: Path) -> Path:
        """Each method in a folder of its flow's name, and `method.json`, which lists them."""
        folder = Path(folder)
        for name, method in self.methods.items():
            method.save(folder / name)
        listed = {name: class_name(type(method)) for name, method in self.methods.items()}
        write_json(folder / MARKER, {"class": type(self).__qualname__, "flows": listed})
        return folder

    @classmethod
    def load(cls, folder: Path) -> Collection:
        """Bring back what `save` wrote; a new fit would have the options of each method's default.

        Raises:
            FileNotFoundError: nothing was saved there.
        """
        folder = Path(folder)
        if not (folder / MARKER).is_file():
            raise FileNotFoundError(f"no collection was saved in {folder}: there is no {MARKER}")
        flows = read_json(folder / MARKER)["flows"]
        kinds: dict[str, Any] = {name: find_class(kind) for name, kind in flows.items()}
        model = cls(lambda name: kinds[name](), tuple(flows))
        model.methods = {name: kind.load(folder / name) for name, kind in kinds.items()}
        return model
