"""The state of a reacting gas after a time step, by a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal, NamedTuple, final

import numpy as np
import torch
import xarray as xr
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sciml.chemistry.network import CONDITIONS, StepNetwork, measured
from sciml.kernels.kinetics import Mechanism
from sciml.kernels.mixture import close_step, explicit_step, reactive_species
from sciml.kernels.mixture.step import boxcox
from sciml.kernels.mixture.thermodynamics import density
from sciml.nn.activation import Activation
from sciml.surrogate import Surrogate, extremes
from sciml.train import Batch, Rows

__all__ = ["PRESETS", "ReactionStep", "ReactionStepOptions", "Stepped"]

PRESETS: dict[str, tuple[int, ...]] = {
    "small": (64, 64),
    "medium": (96, 96, 96),
    "large": (160, 160, 160),
}
"""Widths of the hidden layers; the large one is for mechanisms of fifty species."""

CHUNK = 4096
"""Cells that are advanced together: few enough that the work on them stays in the caches."""

SUM = 1e-3
"""How far the sum of mass fractions may be off."""

NEGATIVE = 1e-9
"""Rounding of stiff integrators leaves mass fractions below zero; so far it is overlooked."""

Cells = Float[np.ndarray, " cell"]
Species = Float[np.ndarray, "cell species"]


@dataclass(frozen=True, kw_only=True)
class ReactionStepOptions:
    """What a :class:`ReactionStep` is made of.

    Attributes:
        mechanism: species and reactions.
        hidden: widths of the hidden layers, or the name of a preset: small, medium, large.
        activation: between them.
        exponent: κ of the transform of the mass fractions, 0 for the logarithm.
        resolution: change of transformed mass fractions below which errors count as they are.
        informed: whether the network sees what an explicit step would change.
        traces: for mechanisms of many species, see `sciml.chemistry.network.StepNetwork`.
    """

    mechanism: Mechanism
    hidden: tuple[int, ...] | Literal["small", "medium", "large"] = "medium"
    activation: Activation = "gelu"
    exponent: float = 0.1
    resolution: float = 1e-3
    informed: bool = True
    traces: bool = False


class Stepped(NamedTuple):
    """States after a step.

    Attributes:
        temperature: K.
        pressure: Pa.
        mass_fractions: of the species.
        trusted: cells that lie where the network was trained.
    """

    temperature: Cells
    pressure: Cells
    mass_fractions: Species
    trusted: Bool[np.ndarray, " cell"]


@final
class ReactionStep(Surrogate[ReactionStepOptions]):
    """What adiabatic chemistry at constant pressure makes of a state in a time step.

    A network gives the change of the transformed mass fractions (see
    `sciml.chemistry.network.StepNetwork`). The composition nearest to that with the elements from
    before the step, and the temperature with the enthalpy from before it, are the result: both are
    conserved to rounding, mass fractions are never negative, inert species stay. Conservation is
    not accuracy: each result comes with whether the state lies where the network was trained.

    Zhang et al., "A multi-scale sampling method for accurate and robust deep neural network to
    predict combustion chemical kinetics", Combust. Flame 245 (2022) 112319,
    doi:10.1016/j.combustflame.2022.112319, for the transform.
    """

    inputs: ClassVar = {
        "temperature": "K",
        "pressure": "Pa",
        "mass_fraction": "1",
        "time_step": "s",
    }
    outputs: ClassVar = {"temperature_after": "K", "mass_fraction_after": "1"}
    _graph: tuple[nn.Module | None, Any] = (None, None)

    def build(self) -> nn.Module:
        """A new `StepNetwork`."""
        options = self.options
        hidden = PRESETS[options.hidden] if isinstance(options.hidden, str) else options.hidden
        return StepNetwork(
            int(self._reactive.sum()),
            len(self._atoms),
            hidden=hidden,
            activation=options.activation,
            resolution=options.resolution,
            informed=options.informed,
            traces=options.traces,
        )

    def calibrate(self, net: nn.Module, train: xr.Dataset) -> None:
        """Scalings and the domain of validity."""
        self.require(train)
        state, explicit, change = self.samples(train).fields
        step = _step(net)
        step.calibrate(state, explicit, change)
        step.domain.fit(self._located(state, self._fields(train)[2]))
        self._spread = step.spread.clone()

    def samples(self, ds: xr.Dataset) -> Rows:
        """State, explicit change and true change of each sample, in single precision."""
        T, p, Y, dt = self._fields(ds)
        after = torch.from_numpy(ds["mass_fraction_after"].transpose("sample", "species").values)
        z, explicit = self._explicit(T, p, Y, dt)
        change = boxcox(after[:, self._reactive], self.options.exponent) - z
        return Rows(_state(T, p, dt, z), explicit.float(), change.float())

    def loss(self, net: nn.Module, batch: Batch) -> Tensor:
        r"""Mean over cells and species of |asinh(Δz/ε) - asinh(Δẑ/ε)|, over its deviation."""
        state, explicit, change = batch
        resolution = self.options.resolution
        error = measured(net(state, explicit), resolution) - measured(change, resolution)
        return (error / self._spread.to(error)).abs().mean()

    def summaries(self, ds: xr.Dataset) -> xr.Dataset:
        return extremes(ds, ["temperature", "pressure", "time_step"])

    def evaluate(self, *fields: Tensor) -> tuple[Tensor, ...]:
        """T, p, Y and dt in float64 to T and Y after the step, and which cells to trust."""
        T, p, Y, dt = fields
        step = _step(self.network)
        z, explicit = self._explicit(T, p, Y, dt)
        state = _state(T, p, dt, z)
        network, graph = self._graph
        run = graph if network is step else step
        change = run(state, explicit.to(state.dtype))
        trusted = step.domain(self._located(state, Y))
        T_after, Y_after, failed = close_step(
            self.options.mechanism, T, Y, z + change, exponent=self.options.exponent
        )
        return T_after, Y_after, trusted & ~failed

    def accelerate(self, how: Literal["eager", "compiled", "exported"]) -> None:
        """Choose how the fitted network is run: as it is, compiled, or as an exported graph.

        Args:
            how: "compiled" by `torch.compile`, which needs a C++ compiler and some time at the
                first call; "exported" by `torch.export`, for batches of two cells and more.
        """
        network = _step(self.network)
        if how == "eager":
            self._graph = (None, None)
        elif how == "compiled":
            self._graph = (network, torch.compile(network, dynamic=True))
        else:
            self._graph = (network, _exported(network))

    def _predict(self, ds: xr.Dataset) -> xr.Dataset:
        self.require(ds)
        T, Y, trusted = self._in_chunks(*self._fields(ds))
        names = ("sample", "species")
        return xr.Dataset(
            {
                "temperature_after": ("sample", T.numpy(), {"units": "K"}),
                "mass_fraction_after": (names, Y.numpy(), {"units": "1"}),
                "trusted": ("sample", trusted.numpy().astype(np.int8), {"units": "1"}),
            },
            coords={"species": list(self.options.mechanism.names)},
        )

    def advance(
        self,
        temperature: Cells,
        pressure: Cells,
        mass_fractions: Species,
        time_step: Cells | float,
        *,
        out: tuple[Cells, Species] | None = None,
        untrusted: Literal["mark", "raise"] = "mark",
    ) -> Stepped:
        """Advance the chemistry of the cells of a solver; safe to call from several threads.

        Args:
            temperature: K, float64.
            pressure: Pa.
            mass_fractions: Y, rows of cells, in the order of `options.mechanism.names`.
            time_step: s, of each cell or of all.
            out: arrays for temperature and mass fractions after the step, which may be those
                given; none makes new ones.
            untrusted: whether cells beyond the training states are marked or refused.

        Returns:
            The states, and which to trust. The pressure is the one given.

        Raises:
            ValueError: numbers that are no state: a temperature that is not positive, mass
                fractions that do not sum to one, arrays that do not fit; or untrusted cells that
                are to be refused. Nothing is written then.
        """
        dt = np.broadcast_to(np.float64(time_step), np.shape(temperature))
        check_states(self.options.mechanism, temperature, pressure, mass_fractions, dt)
        given = (temperature, pressure, mass_fractions, dt)
        fields = [torch.from_numpy(np.require(a, np.float64, ["C", "W"])) for a in given]
        with torch.inference_mode():
            T, Y, trusted = (a.numpy() for a in self._in_chunks(*fields))
        if untrusted == "raise" and not trusted.all():
            _refuse(temperature, pressure, trusted)
        if out is not None:
            np.copyto(out[0], T)
            np.copyto(out[1], Y)
            T, Y = out
        return Stepped(T, pressure, Y, trusted)

    def net_production_rates(
        self,
        temperature: Cells,
        pressure: Cells,
        mass_fractions: Species,
        time_step: float | None = None,
    ) -> Species:
        """The mean source ρ (Y(t + dt) - Y(t)) / (W dt) over a step, in kmol/(m³ s).

        For solvers with a stiff integrator of their own. It is the instantaneous source up to the
        first order in dt, and smoother.

        Args:
            temperature: K.
            pressure: Pa.
            mass_fractions: Y, rows of cells.
            time_step: dt in s; none takes the smallest one of the training.
        """
        dt = self.ranges["time_step"].low if time_step is None else time_step
        after = self.advance(temperature, pressure, mass_fractions, dt).mass_fractions
        fields = (torch.from_numpy(a) for a in (temperature, pressure, mass_fractions))
        rho = density(self.options.mechanism, *fields).numpy()
        weights = self.options.mechanism.molecular_weights
        return rho[:, None] * (after - mass_fractions) / (weights * dt)

    def doubt(self, states: xr.Dataset, *, share: float) -> None:
        """No longer trust the kinds of states in which it is most wrong.

        Args:
            states: labelled ones that were not trained on.
            share: of these states that fall to the clusters doubted, at most.
        """
        with torch.no_grad():
            state, explicit, change = self.samples(states).fields
            step = _step(self.network)
            errors = (step(state, explicit) - change).abs().mean(1)
            step.domain.doubt(self._located(state, self._fields(states)[2]), errors, share)

    def distance(self, ds: xr.Dataset) -> Float[np.ndarray, " sample"]:
        """How far labelled states lie from those of the training; one is the edge of trust."""
        T, p, Y, dt = self._fields(ds)
        state = _state(T, p, dt, self._explicit(T, p, Y, dt)[0])
        with torch.no_grad():
            return _step(self.network).domain.distance(self._located(state, Y)).numpy()

    def require(
        self,
        ds: xr.Dataset | None = None,
        *,
        species: Sequence[str] | None = None,
        mechanism: Mechanism | None = None,
    ) -> None:
        """Refuse data of another mechanism, of other species or of another order of them.

        Args:
            ds: labelled states.
            species: names in the order of a solver's arrays.
            mechanism: that of a solver.

        Raises:
            ValueError: naming what differs.
        """
        own = self.options.mechanism
        if ds is not None:
            species = [str(name) for name in ds["species"].values]
            _require_attribute(ds, "mechanism_checksum", own.checksum, f"{own.name}, as trained")
            _require_attribute(ds, "constant", "pressure", "states at constant pressure")
        if mechanism is not None and mechanism.checksum != own.checksum:
            raise ValueError(
                f"the mechanism {mechanism.name} (checksum {mechanism.checksum[:12]}) is not the "
                f"one of the training, {own.name} (checksum {own.checksum[:12]}): train anew for it"
            )
        if species is not None:
            _require_species(species, own.names)

    def _in_chunks(self, *fields: Tensor) -> tuple[Tensor, ...]:
        parts = [
            self.evaluate(*(field[start : start + CHUNK] for field in fields))
            for start in range(0, max(1, len(fields[0])), CHUNK)
        ]
        return (
            parts[0] if len(parts) == 1 else tuple(torch.cat(p) for p in zip(*parts, strict=True))
        )

    def _explicit(self, T: Tensor, p: Tensor, Y: Tensor, dt: Tensor) -> tuple[Tensor, Tensor]:
        exponent, mechanism = self.options.exponent, self.options.mechanism
        if not self.options.informed:
            z = boxcox(Y[:, self._reactive], exponent)
            return z, torch.zeros_like(z)
        return explicit_step(mechanism, T, p, Y, dt, exponent=exponent)

    def _located(self, state: Tensor, Y: Tensor) -> Tensor:
        """What the domain of validity is told: the state and its elements."""
        elements = Y @ self._atoms.T.to(Y)
        return torch.cat([state, elements.to(state.dtype)], 1)

    def _fields(self, ds: xr.Dataset) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        Y = ds["mass_fraction"].transpose("sample", "species").values
        scalars = [ds[name].values for name in ("temperature", "pressure", "time_step")]
        T, p, dt = (torch.from_numpy(np.ascontiguousarray(a, np.float64)) for a in scalars)
        return T, p, torch.from_numpy(np.ascontiguousarray(Y, np.float64)), dt

    @cached_property
    def _reactive(self) -> Tensor:
        return torch.from_numpy(reactive_species(self.options.mechanism))

    @cached_property
    def _atoms(self) -> Tensor:
        """Mass of each element in a mass of each species."""
        mechanism = self.options.mechanism
        atoms = mechanism.composition / mechanism.molecular_weights
        return torch.from_numpy(atoms)


def check_states(
    mechanism: Mechanism, temperature: Cells, pressure: Cells, mass_fractions: Species, dt: Cells
) -> None:
    """Refuse arrays that are no states of a mechanism's gas.

    Raises:
        ValueError: saying what was given, in which cell, and what was expected.
    """
    cells, species = len(temperature), len(mechanism.names)
    if mass_fractions.shape != (cells, species) or pressure.shape != temperature.shape:
        raise ValueError(
            f"temperature {temperature.shape}, pressure {pressure.shape} and mass fractions "
            f"{mass_fractions.shape} were given; expected (cells,), (cells,) and (cells, "
            f"{species}), the species of {mechanism.name} in its order"
        )
    for name, unit, values in (
        ("temperature", "K", temperature),
        ("pressure", "Pa", pressure),
        ("time step", "s", dt),
    ):
        if not (values > 0).all() or not np.isfinite(values).all():
            cell = int(np.argmin((values > 0) & np.isfinite(values)))
            raise ValueError(
                f"the {name} of cell {cell} is {values[cell]:g} {unit}; give a positive number"
            )
    total = mass_fractions.sum(1)
    if not (abs(total - 1) <= SUM).all():
        cell = int(np.argmin(abs(total - 1) <= SUM))
        raise ValueError(
            f"the mass fractions of cell {cell} sum to {total[cell]:.6g}; they must sum to 1 "
            f"within {SUM:g}: normalise them"
        )
    if (mass_fractions < -NEGATIVE).any():
        cell, k = np.argwhere(mass_fractions < -NEGATIVE)[0]
        raise ValueError(
            f"the mass fraction of {mechanism.names[k]} in cell {cell} is "
            f"{mass_fractions[cell, k]:g}; it must not be negative: clip and normalise"
        )


def _refuse(temperature: Cells, pressure: Cells, trusted: Bool[np.ndarray, " cell"]) -> None:
    first = int(np.argmin(trusted))
    raise ValueError(
        f"{int((~trusted).sum())} of {len(trusted)} cells lie beyond the states of the training, "
        f"first cell {first} at {temperature[first]:.5g} K and {pressure[first]:.5g} Pa: integrate "
        "them directly, as HybridIntegrator does, or train there"
    )


def _state(T: Tensor, p: Tensor, dt: Tensor, z: Tensor) -> Tensor:
    """T, ln p, ln dt and z, in single precision."""
    return torch.cat([T[:, None], p.log()[:, None], dt.log()[:, None], z], 1).float()


def _step(net: nn.Module) -> StepNetwork:
    assert isinstance(net, StepNetwork)
    return net


def _exported(network: StepNetwork) -> nn.Module:
    reactive = network.reactive
    given = (torch.zeros(8, CONDITIONS + reactive), torch.zeros(8, reactive))
    cells = torch.export.Dim("cells", min=2)
    graph = torch.export.export(network, given, dynamic_shapes=({0: cells}, {0: cells}))
    return graph.module()


def _require_attribute(ds: xr.Dataset, name: str, wanted: str, what: str) -> None:
    if ds.attrs.get(name) != wanted:
        raise ValueError(
            f"the data set says {name}={str(ds.attrs.get(name))[:16]!r}, but {what} has "
            f"{wanted[:16]!r}: give states labelled so"
        )


def _require_species(given: Sequence[str], wanted: Sequence[str]) -> None:
    if list(given) == list(wanted):
        return
    if unknown := sorted(set(given) - set(wanted)):
        raise ValueError(
            f"the species {', '.join(unknown)} are not in the mechanism of the training, which "
            f"has {', '.join(wanted)}"
        )
    if missing := [name for name in wanted if name not in given]:
        raise ValueError(f"the species {', '.join(missing)} are missing; give all of them")
    first = next(i for i, (a, b) in enumerate(zip(given, wanted, strict=True)) if a != b)
    raise ValueError(
        f"species {first} is {given[first]}, expected {wanted[first]}: give the species in the "
        f"order {', '.join(wanted)}"
    )
