"""Values on the faces of a mesh: between cells, and as the boundary conditions have them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float64

from sciml.coupling.openfoam.files import Field, expanded
from sciml.coupling.openfoam.mesh import Mesh, Patch

__all__ = ["MADE_OF_CELLS", "face_values"]

Values = Float64[np.ndarray, "face ..."]

MADE_OF_CELLS = ("cyclic", "empty", "symmetry", "symmetryPlane", "wedge")
"""Kinds of patch that say by themselves what a field does there."""

_AS_IN_THE_CELL = ("zeroGradient", "kqRWallFunction", "extrapolatedCalculated")
_MIRRORED = ("slip", "basicSymmetry")


def face_values(mesh: Mesh, field: Field) -> Values:
    """The values of a field on all faces.

    Between cells and across cyclic patches they are interpolated linearly. On a plane of symmetry
    the normal component of a vector vanishes; empty patches get zeros. Everywhere else the field's
    own condition decides: `noSlip`, `zeroGradient`, `slip` and what behaves like them by their
    meaning, all others by the `value` that OpenFOAM writes with them.

    Raises:
        ValueError: a patch whose values the files do not tell.
    """
    found = np.zeros((len(mesh.owner), *field.values.shape[1:]))
    inside = mesh.inside
    own, other = field.values[mesh.owner[inside]], field.values[mesh.neighbour]
    found[inside] = _mixed(mesh.weights[inside], own, other)
    for patch in mesh.patches:
        if patch.kind != "empty":
            found[patch.faces] = _on_patch(mesh, patch, field)
    return found


def _mixed(weight: Values, own: Values, other: Values) -> Values:
    weight = weight.reshape(-1, *[1] * (own.ndim - 1))
    return weight * own + (1 - weight) * other


def _on_patch(mesh: Mesh, patch: Patch, field: Field) -> Values:
    own = field.values[mesh.owner[patch.faces]]
    normals = mesh.normals[patch.faces]
    match patch.kind:
        case "cyclic":
            joined = mesh.patch(patch.neighbour)
            _check_translation(normals, mesh.normals[joined.faces], patch)
            other = field.values[mesh.owner[joined.faces]]
            return _mixed(mesh.weights[patch.faces], own, other)
        case "symmetry" | "symmetryPlane":
            return _mirrored(own, normals)
        case "wedge":
            return _turned(own, normals)
        case "patch" | "wall" | "mappedPatch" | "mappedWall":
            return _by_condition(patch, field, own, normals)
    raise ValueError(
        f"patch {patch.name} is of the kind {patch.kind}, across which no gradient is formed here; "
        "run OpenFOAM's postProcess -func 'grad(U)' (and of k and p), whose files are read instead"
    )


def _by_condition(patch: Patch, field: Field, own: Values, normals: Values) -> Values:
    entries = _entries(patch, field)
    condition = entries.get("type")
    if condition in _AS_IN_THE_CELL:
        return own
    if condition in _MIRRORED:
        return _mirrored(own, normals)
    if condition == "noSlip":
        return np.zeros_like(own)
    value = _resolved(entries.get("value"), field.macros)
    components = own.shape[1] if own.ndim == 2 else 1
    try:
        return expanded(value, patch.size, components)
    except ValueError as error:
        raise ValueError(
            f"{field.path} gives no value for the {patch.size} faces of patch {patch.name} with "
            f"its condition {condition}: {error}; let OpenFOAM write the field, which adds it"
        ) from error


def _entries(patch: Patch, field: Field) -> Mapping[str, Any]:
    """What a field says of a patch: by its name, else one of its groups, else a pattern."""
    for name in (patch.name, *reversed(patch.groups)):
        if isinstance(field.boundary.get(name), Mapping):
            return field.boundary[name]
    for name, entries in reversed(list(field.boundary.items())):
        if name.startswith('"') and re.fullmatch(name.strip('"'), patch.name):
            return entries
    raise ValueError(
        f"{field.path} has no condition for patch {patch.name} of the mesh; take both from one case"
    )


def _resolved(value: Any, macros: Mapping[str, Any]) -> Any:
    """A value, where it is `$name` that of the entry with this name."""
    word = value[-1] if isinstance(value, tuple) else value
    if not isinstance(word, str) or not word.startswith("$"):
        return value
    found = macros.get(word[1:], value)
    return np.array(found, dtype=np.float64) if isinstance(found, list) else found


def _mirrored(values: Values, normals: Values) -> Values:
    """Without the component along the normal."""
    if values.ndim == 1:
        return values
    return values - (values * normals).sum(1, keepdims=True) * normals


def _turned(values: Values, normals: Values) -> Values:
    """Turned about the axis of a wedge from its middle plane into its side."""
    if values.ndim == 1:
        return values
    axis = np.abs(normals.mean(0)).argmax()
    middle = np.sign(normals.mean(0)[axis]) * np.eye(3)[axis]
    cosine = normals @ middle
    about = np.cross(middle, normals)
    along = (values * about).sum(1) / (1 + cosine)
    return values * cosine[:, None] + np.cross(about, values) + along[:, None] * about


def _check_translation(normals: Values, opposite: Values, patch: Patch) -> None:
    """Refuse what is joined by a rotation, which would turn vectors too."""
    if np.abs(normals + opposite).max(initial=0) > 1e-3:
        raise ValueError(
            f"patch {patch.name} is joined to {patch.neighbour} by a rotation, across which no "
            "gradient is formed here; run OpenFOAM's postProcess -func 'grad(U)' (and of k and "
            "p), whose files are read instead"
        )
