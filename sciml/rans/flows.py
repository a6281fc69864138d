"""Flows with the mean fields of a RANS model beside the Reynolds stresses of a simulation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Float64

from sciml.data import entry, fetch
from sciml.rans.closures import C_MU
from sciml.rans.states import divergence

__all__ = [
    "CHALLENGE_TEST",
    "CHALLENGE_TRAIN",
    "CHALLENGE_VALID",
    "FLOWS",
    "anisotropy_of",
    "joined",
    "load_flow",
]

CHALLENGE_TRAIN = (
    "alpha_05_7071_3036",
    "alpha_075",
    "alpha_10_6000_3036",
    "alpha_10_9000_2024",
    "alpha_10_9000_3036",
    "alpha_10_9000_4048",
    "alpha_125",
    "alpha_15_10929_3036",
    "AR_1_Ret_180",
    "AR_3_Ret_180",
    "AR_5_Ret_180",
    "CDC_12600",
)
"""All flows of The Closure Challenge that may be learned from, and a converging-diverging channel
whose model is k-ω without the SST limiter."""

CHALLENGE_VALID = (
    "alpha_05_10071_2024",
    "alpha_05_10071_4048",
    "alpha_15_7929_2024",
    "alpha_15_7929_4048",
    "AR_7_Ret_180",
)
"""To choose a model by."""

CHALLENGE_TEST = (
    "alpha_15_13929_4048",
    "alpha_15_13929_2024",
    "alpha_05_4071_4048",
    "alpha_05_4071_2024",
    "AR_1_Ret_360",
    "AR_3_Ret_360",
    "AR_14_Ret_180",
)
"""Never to be learned from nor chosen by, as the curved step CBFS13700."""


@dataclass(frozen=True, kw_only=True)
class _Group:
    """Flows of one origin."""

    family: str
    turbulence_model: str
    reference_simulation: str
    scales: str


_CASE = "in the units of the OpenFOAM case"
_HILLS = _Group(
    family="periodic hills",
    turbulence_model="k-omega SST",
    reference_simulation="DNS",
    scales="lengths in hill heights and velocities in the bulk velocity at the crest",
)
_DUCT = _Group(
    family="duct", turbulence_model="k-omega SST", reference_simulation="DNS", scales=_CASE
)
_MODEL = "k-epsilon"
_LES = "strain and rotation rate times k/epsilon; stresses as in the origin"

_GROUPS = {
    "alpha_": _HILLS,
    "AR_": _DUCT,
    "CBFS": _Group(
        family="curved step",
        turbulence_model="k-omega SST",
        reference_simulation="LES",
        scales="lengths in step heights and velocities in that of the stream",
    ),
    "CDC": _Group(
        family="converging-diverging channel",
        turbulence_model="k-omega",
        reference_simulation="DNS",
        scales="lengths in half heights of the inlet and velocities in its largest",
    ),
    "k_epsilon_hills": _Group(
        family="periodic hills",
        turbulence_model=_MODEL,
        reference_simulation="DNS",
        scales=_CASE,
    ),
    "k_epsilon_duct": _Group(
        family="duct", turbulence_model=_MODEL, reference_simulation="DNS", scales=_CASE
    ),
    "duct_pinelli": _Group(
        family="duct",
        turbulence_model="none",
        reference_simulation="DNS",
        scales="lengths in half widths and velocities in the bulk velocity",
    ),
    "channel_": _Group(
        family="channel",
        turbulence_model="none: gradient, k and epsilon are those of the DNS",
        reference_simulation="DNS",
        scales="wall units: lengths in nu/u_tau and velocities in u_tau",
    ),
    **{
        f"les_{name}": _Group(
            family=family, turbulence_model=_MODEL, reference_simulation="LES", scales=_LES
        )
        for name, family in {
            "converging_diverging_channel": "converging-diverging channel",
            "periodic_hills": "periodic hills",
            "square_cylinder": "cylinder",
            "square_duct": "duct",
        }.items()
    },
}
"""By how the names begin."""

FLOWS = (
    *CHALLENGE_TRAIN,
    *CHALLENGE_VALID,
    *CHALLENGE_TEST,
    "CBFS13700",
    *(f"k_epsilon_hills_{slope}" for slope in ("0p5", "0p8", "1p0", "1p2", "1p5")),
    *(f"k_epsilon_duct_{bulk}" for bulk in (2200, 2900, 3500)),
    *(name for name in _GROUPS if name.startswith("les_")),
    "duct_pinelli_3500",
    *(f"channel_MKM_{friction}" for friction in (180, 395, 590)),
    *(f"channel_AJZM_{friction}" for friction in (180, 550, 950, 2000)),
)
"""Every flow that `load_flow` knows."""

_COLUMNS = {
    "C": ("position", ("i",), "m"),
    "V": ("cell_volume", (), "m3"),
    "U": ("velocity", ("i",), "m s-1"),
    "gradU": ("velocity_gradient", ("i", "j"), "s-1"),
    "k": ("turbulent_kinetic_energy", (), "m2 s-2"),
    "omega": ("specific_dissipation_rate", (), "s-1"),
    "epsilon": ("dissipation_rate", (), "m2 s-3"),
    "nut": ("eddy_viscosity", (), "m2 s-1"),
    "nu": ("kinematic_viscosity", (), "m2 s-1"),
    "p": ("pressure", (), "m2 s-2"),
    "gradp": ("pressure_gradient", ("i",), "m s-2"),
    "gradk": ("turbulent_kinetic_energy_gradient", ("i",), "m s-2"),
    "wallDist": ("wall_distance", (), "m"),
    "U_dns": ("velocity_reference", ("i",), "m s-1"),
    "gradU_dns": ("velocity_gradient_reference", ("i", "j"), "s-1"),
    "tau": ("reynolds_stress", ("i", "j"), "m2 s-2"),
    "Shat": ("strain_rate", ("i", "j"), "1"),
    "Rhat": ("rotation_rate", ("i", "j"), "1"),
}
"""Key of a file: our name, dimensions besides `cell`, units."""

_SYMMETRIC = np.array([[0, 1, 2], [1, 3, 4], [2, 4, 5]])
"""Where xx, xy, xz, yy, yz, zz stand in a matrix."""

Arrays = dict[str, Float64[np.ndarray, "..."]]


def load_flow(name: str) -> xr.Dataset:
    """A flow as a labelled data set over `cell`, in float64.

    Of the RANS model: `position`, `cell_volume`, `velocity`, `velocity_gradient` (`i, j`: ∂Uᵢ/∂xⱼ,
    its trace of discretisation removed, the largest one in the attribute `largest_divergence`, see
    :func:`sciml.rans.check_states`), `turbulent_kinetic_energy` and its gradient,
    `dissipation_rate` (ε = 0.09 k ω where the model has ω), `specific_dissipation_rate`,
    `eddy_viscosity`, `kinematic_viscosity`, `pressure` and its gradient, `wall_distance`. Of the
    simulation: `reynolds_stress`, `anisotropy`, `velocity_reference`, and in places
    `velocity_gradient_reference`. Pressures and stresses are divided by the density.

    Not every flow has all: `channel_*` are profiles over the wall distance in wall units, with
    velocity, gradient, k and ε of the simulation itself; `duct_pinelli_3500` has no RANS fields;
    `les_*` has `strain_rate` and `rotation_rate` already multiplied by k/ε, and no gradient.

    The attributes name the flow, its family, the turbulence model, the scales of its units, and
    where it comes from. k and 2/3 k δ of the model are not those of the simulation.

    Args:
        name: one of `FLOWS`.

    Raises:
        ValueError: there is no such flow.
        Unavailable: its file is not on this machine; the sentence says where it comes from.
    """
    if name not in FLOWS:
        raise ValueError(f"there is no flow {name!r}, only {', '.join(FLOWS)}")
    channel = name.startswith("channel_")
    source = "rans/channel_profiles" if channel else f"rans/{name}"
    with np.load(fetch(source)) as file:
        stored = {key: file[key].astype(np.float64) for key in file.files}
    arrays = _channel(stored, name.removeprefix("channel_")) if channel else _fields(stored, name)
    return _labelled(arrays, name, source)


def joined(flows: Sequence[xr.Dataset]) -> xr.Dataset:
    """The cells of several flows in one row, for training.

    Args:
        flows: over `cell`.

    Returns:
        The variables that all flows have, over `sample`, and `flow`, the place of each sample's
        flow in the attribute `flows`. Units that differ from flow to flow are given as such.

    Raises:
        ValueError: no flows, or flows that share no variable.
    """
    names = [name for name in flows[0] if all(name in ds for ds in flows)] if flows else []
    if not names:
        raise ValueError(f"{len(flows)} flows have no variable in common; give some that do")
    variables = {str(name): _in_one_row([ds[name] for ds in flows]) for name in names}
    sizes = [ds.sizes["cell"] for ds in flows]
    index = np.repeat(np.arange(len(flows)), sizes)
    variables["flow"] = xr.Variable("sample", index, {"units": "1"})
    return xr.Dataset(variables, attrs={"flows": [ds.attrs.get("flow", "") for ds in flows]})


def anisotropy_of(
    reynolds_stress: Float64[np.ndarray, "cell 3 3"],
) -> Float64[np.ndarray, "cell 3 3"]:
    """b = ⟨uᵢuⱼ⟩/(2k) - δᵢⱼ/3 with 2k = ⟨uᵢuᵢ⟩; NaN where that is zero.

    >>> anisotropy_of(np.diag([2.0, 1.0, 1.0])[None])[0].diagonal().round(4)
    array([ 0.1667, -0.0833, -0.0833])
    """
    twice = np.trace(reynolds_stress, axis1=1, axis2=2)[:, None, None]
    nothing = np.full_like(reynolds_stress, np.nan)
    return np.divide(reynolds_stress, twice, out=nothing, where=twice != 0) - np.eye(3) / 3


def _in_one_row(arrays: Sequence[xr.DataArray]) -> xr.Variable:
    units = {array.attrs.get("units", "1") for array in arrays}
    rows = [array.transpose("cell", ...) for array in arrays]
    return xr.Variable(
        ("sample", *rows[0].dims[1:]),
        np.concatenate([row.values for row in rows]),
        {"units": units.pop() if len(units) == 1 else "as in each flow"},
    )


def _fields(stored: Arrays, name: str) -> Arrays:
    """The arrays of a file in our conventions."""
    stress = next(key for key in ("tau_dns", "tau_les") if key in stored)
    arrays = {key: array for key, array in stored.items() if key in _COLUMNS}
    arrays["tau"] = stored[stress][:, _SYMMETRIC]
    for key in ("gradU", "gradU_dns"):
        if key in arrays:
            arrays[key] = arrays[key].transpose(0, 2, 1)
    if "omega" in arrays:
        arrays["epsilon"] = C_MU * arrays["k"] * arrays["omega"]
    if "nu" in arrays:
        arrays["nu"] = np.full(len(arrays["tau"]), arrays["nu"])
    if "Rhat" in arrays:
        arrays["Rhat"] = -arrays["Rhat"]  # OpenFOAM's sign
    if "C2" in stored:
        plane = (1, 2) if name == "les_square_duct" else (0, 1)
        arrays["C"] = np.zeros((len(stored["C2"]), 3))
        arrays["C"][:, plane] = stored["C2"]
    return arrays


def _channel(stored: Arrays, name: str) -> Arrays:
    """Profiles of a plane channel as cells, in wall units."""
    profile = {
        key.removeprefix(f"{name}_"): array
        for key, array in stored.items()
        if key.startswith(f"{name}_")
    }
    y, k = profile["yplus"], profile["k"]
    count = len(y)
    arrays: Arrays = {key: np.zeros((count, 3)) for key in ("C", "U", "gradk")}
    arrays |= {key: np.zeros((count, 3, 3)) for key in ("gradU", "tau")}
    arrays["C"][:, 1], arrays["U"][:, 0], arrays["gradU"][:, 0, 1] = (
        y,
        profile["U"],
        profile["dUdy"],
    )
    arrays["gradk"][:, 1] = np.gradient(k, y)
    for (i, j), key in {(0, 0): "uu", (1, 1): "vv", (2, 2): "ww", (0, 1): "uv"}.items():
        arrays["tau"][:, i, j] = arrays["tau"][:, j, i] = profile[key]
    edges = np.concatenate([y[:1], (y[1:] + y[:-1]) / 2, y[-1:]])
    return arrays | {
        "V": np.diff(edges),
        "k": k,
        "epsilon": profile["eps"],
        "nu": np.ones(count),
        "wallDist": y,
    }


def _labelled(arrays: Arrays, name: str, source: str) -> xr.Dataset:
    group = next(_GROUPS[start] for start in _GROUPS if name.startswith(start))
    origin = entry(source)
    attributes = {
        "flow": name,
        **vars(group),
        "source": origin.origin,
        "doi": origin.doi,
        "licence": origin.licence,
        "sha256": origin.sha256,
        **_remove_traces(arrays),
    }
    wall_units = name.startswith("channel_")
    variables = {
        ours: (("cell", *dims), arrays[key], {"units": "1" if wall_units else unit})
        for key, (ours, dims, unit) in _COLUMNS.items()
        if key in arrays
    }
    b = anisotropy_of(arrays["tau"])
    variables["anisotropy"] = (("cell", "i", "j"), b, {"units": "1"})
    return xr.Dataset(variables, attrs=attributes)


def _remove_traces(arrays: Arrays) -> dict[str, float]:
    """Take the trace of discretisation off a gradient or a strain; say how large it was."""
    found: dict[str, float] = {}
    if "gradU" in arrays and "k" in arrays:
        present = arrays["k"] > 0
        excess = divergence(*(arrays[key][present] for key in ("gradU", "k", "epsilon")))
        found["largest_divergence"] = float(excess.max())
    for key in ("gradU", "gradU_dns", "Shat"):
        if key in arrays:
            trace = np.trace(arrays[key], axis1=1, axis2=2)
            arrays[key] = arrays[key] - trace[:, None, None] * np.eye(3) / 3
    return found
