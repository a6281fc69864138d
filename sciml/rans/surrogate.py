"""The anisotropy of the Reynolds stress by a network on invariants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, final

import numpy as np
import torch
import xarray as xr
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike
from torch import Tensor, nn

from sciml.kernels.tensor_basis import tensor_basis
from sciml.nn.activation import Activation
from sciml.rans.features import (
    FeatureGroup,
    TimeScale,
    feature_count,
    features,
    required,
    turbulence_time,
)
from sciml.rans.network import BASIS, TensorBasisNetwork, traceless
from sciml.rans.realizability import project, realizability_penalty
from sciml.rans.states import check_fields, check_states
from sciml.surrogate import Surrogate, extremes
from sciml.surrogate.labels import require_variables
from sciml.train import Batch, Rows, gaussian_nll

__all__ = ["Closed", "TensorBasisClosure", "TensorBasisOptions"]

GRADIENT = ("velocity_gradient", "turbulent_kinetic_energy", "dissipation_rate")

ROWS, COLUMNS = (0, 0, 0, 1, 1, 2), (0, 1, 2, 1, 2, 2)
"""Where xx, xy, xz, yy, yz, zz stand in a matrix."""

SYMMETRIC = ((0, 1, 2), (1, 3, 4), (2, 4, 5))
"""Which of them stands where."""

OFTEN = (1.0, 2.0, 2.0, 1.0, 2.0, 1.0)
"""How often each of them stands in a matrix."""

ORDERS = (1, 2, 2, 2, 3, 3, 4, 4, 4, 5)
"""Factors of s and r in each tensor of Pope's basis."""

SLOW = 0.02
"""|G| T below which the basis vanishes; above, it is one of directions, with |s|² + |r|² = 1."""

Matrices = Float[np.ndarray, "cell 3 3"]


@dataclass(frozen=True, kw_only=True)
class TensorBasisOptions:
    """What a :class:`TensorBasisClosure` is made of.

    Attributes:
        groups: features besides the five invariants of the velocity gradient, see
            :func:`sciml.rans.features`.
        basis: which of Pope's ten tensors, from 0; :func:`sciml.rans.spanning_tensors` finds
            those that a flow needs.
        time_scale: by which strain and rotation are made dimensionless, see
            :func:`sciml.rans.turbulence_time`.
        hidden: widths of the hidden layers.
        activation: between them.
        realizable: whether predictions are projected onto realizable anisotropies.
        penalty: weight in the loss of what is not realizable.
        ranks: directions of the covariance, see `sciml.rans.network.TensorBasisNetwork`; none
            leaves it out.
    """

    groups: tuple[FeatureGroup, ...] = ()
    basis: tuple[int, ...] = tuple(range(BASIS))
    time_scale: TimeScale = "turnover"
    hidden: tuple[int, ...] = (64, 64, 64)
    activation: Activation = "gelu"
    realizable: bool = True
    penalty: float = 0.0
    ranks: int = 0


class Closed(NamedTuple):
    """What a closure says of cells.

    Attributes:
        anisotropy: b.
        trusted: cells that lie where the network was trained.
    """

    anisotropy: Matrices
    trusted: Bool[np.ndarray, " cell"]


@final
class TensorBasisClosure(Surrogate[TensorBasisOptions]):
    """The anisotropy of the Reynolds stress on Pope's tensor basis, by a network on invariants.

    b = Σ gₙ Tₙ(s, r), see `sciml.rans.network.TensorBasisNetwork`: Galilean invariance, and
    invariance under rotation and reflection of the axes, hold by construction. Predictions are
    realizable if asked for. Each comes with whether its features lie where the network was trained.

    Ling, Kurzawski, Templeton, "Reynolds averaged turbulence modelling using deep neural networks
    with embedded invariance", J. Fluid Mech. 807 (2016) 155, doi:10.1017/jfm.2016.615.
    """

    inputs: ClassVar = {
        "velocity_gradient": "s-1",
        "turbulent_kinetic_energy": "m2 s-2",
        "dissipation_rate": "m2 s-3",
    }
    outputs: ClassVar = {"anisotropy": "1"}

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of what `evaluate` is given, in order: gradient, k, ε and those of the features."""
        return (*GRADIENT, *self._required)

    def build(self) -> nn.Module:
        """A new `TensorBasisNetwork`."""
        options = self.options
        return TensorBasisNetwork(
            feature_count(options.groups),
            known=feature_count([group for group in options.groups if group != "integrity"]),
            basis=options.basis,
            hidden=options.hidden,
            activation=options.activation,
            ranks=options.ranks,
        )

    def calibrate(self, net: nn.Module, train: xr.Dataset) -> None:
        """Scaling of the features and the domain of validity."""
        _network(net).calibrate(self.samples(train).fields[0])

    def samples(self, ds: xr.Dataset) -> Rows:
        """Features, tensors, anisotropy and weight of each sample, in single precision."""
        told, tensors = self._told(*self._fields(ds))
        return Rows(told, tensors, anisotropies(ds), flow_weights(ds))

    def loss(self, net: nn.Module, batch: Batch) -> Tensor:
        """Mean of |b - b̂|², flows weighted alike, and what the options add."""
        told, tensors, truth, weight = batch
        factor = None
        if self.options.ranks:
            found, factor = net(told, tensors, True)
        else:
            found = net(told, tensors)
        total = squared_error(found, truth, weight)
        if self.options.penalty:
            total = total + self.options.penalty * realizability_penalty(matrices(found))
        if factor is not None:
            mean, label = traceless(found.detach()), traceless(truth)
            total = total + _LIKELIHOOD * gaussian_nll(mean, label, factor)
        return total

    def summaries(self, ds: xr.Dataset) -> xr.Dataset:
        """Range of |G| k/ε; the domain of validity is finer."""
        return strain_range(ds)

    def evaluate(self, *fields: Tensor) -> tuple[Tensor, ...]:
        """The tensors of `variables`, in order, to b in six components, and which to trust."""
        told, tensors = self._told(*fields)
        net = _network(self.network)
        b = net(told, tensors)
        if self.options.realizable:
            b = project(matrices(b))[:, ROWS, COLUMNS].to(b.dtype)
        return b, net.trusted(told)

    def _predict(self, ds: xr.Dataset) -> xr.Dataset:
        fields = self._fields(ds)
        b, trusted = self.evaluate(*fields)
        variables = {
            "anisotropy": (("sample", "i", "j"), matrices(b).double().numpy(), {"units": "1"}),
            "trusted": ("sample", trusted.numpy().astype(np.int8), {"units": "1"}),
        }
        if self.options.ranks:
            factor = _network(self.network).factor(*self._told(*fields)).double().numpy()
            dims = ("sample", "component", "direction")
            variables["anisotropy_factor"] = (dims, factor, {"units": "1"})
        return xr.Dataset(variables)

    def close(
        self,
        velocity_gradient: ArrayLike,
        turbulent_kinetic_energy: ArrayLike,
        dissipation_rate: ArrayLike,
        *,
        untrusted: Literal["mark", "raise"] = "mark",
        **others: ArrayLike,
    ) -> Closed:
        """The anisotropy in the cells of a solver; safe to call from several threads.

        Args:
            velocity_gradient: G, (cell, 3, 3), G[:, i, j] = ∂Uᵢ/∂xⱼ, 1/s.
            turbulent_kinetic_energy: k, (cell,), m²/s².
            dissipation_rate: ε, (cell,), m²/s³.
            untrusted: whether cells beyond the training states are marked or refused.
            others: the further fields that the features need, by name; see `variables`.

        Returns:
            b, and which to trust.

        Raises:
            ValueError: numbers that are no state of a flow, see :func:`sciml.rans.check_states`;
                a field that is missing or does not fit; untrusted cells that are to be refused.
        """
        states = check_states(velocity_gradient, turbulent_kinetic_energy, dissipation_rate)
        _require_names(self.variables[len(GRADIENT) :], others)
        further = {name: np.asarray(others[name], dtype=np.float64) for name in self._required}
        check_fields(further, len(states[0]))
        given = [np.require(a, np.float64, ["C", "W"]) for a in (*states, *further.values())]
        with torch.inference_mode():
            b, trusted = self.evaluate(*map(torch.from_numpy, given))
        if untrusted == "raise" and not trusted.all():
            raise ValueError(
                f"{int((~trusted).sum())} of {len(trusted)} cells lie outside the training, first "
                f"cell {int((~trusted).int().argmax())}: take another closure there, or "
                "untrusted='mark'"
            )
        return Closed(matrices(b).double().numpy(), trusted.numpy())

    def coefficients(self, ds: xr.Dataset) -> Float[np.ndarray, "sample 10"]:
        """What stands before Pope's tensors of s = S T and r = R T, of labelled samples.

        In flows where the tensors depend on each other, other coefficients give the same b.
        """
        fields = self._fields(ds)
        with torch.inference_mode():
            own = _network(self.network).coefficients(self._told(*fields)[0]).double()
        strain = (fields[0].square().sum((1, 2)).sqrt() * self._time(*fields))[:, None]
        scale = (strain.square() + SLOW**2).rsqrt()
        orders = torch.tensor(ORDERS, dtype=torch.float64)
        return (own * scale**orders).numpy()

    def distance(self, ds: xr.Dataset) -> Float[np.ndarray, " sample"]:
        """How far samples lie from those of the training; one is the edge of trust."""
        told, _ = self._told(*self._fields(ds))
        with torch.no_grad():
            return _network(self.network).distance(told).numpy()

    def _told(self, *fields: Tensor) -> tuple[Tensor, Tensor]:
        """Features and tensors of the basis, in single precision."""
        G, k, epsilon, *_ = fields
        options = self.options
        told = features(
            G,
            k,
            epsilon,
            self._further(*fields),
            groups=options.groups,
            time_scale=options.time_scale,
        )
        _, tensors = tensor_basis(G, self._time(*fields) * epsilon / SLOW, epsilon, limit=1.0)
        return told.float(), tensors.permute(2, 0, 1).float()

    def _time(self, *fields: Tensor) -> Tensor:
        """T of each cell."""
        _, k, epsilon, *_ = fields
        scale = self.options.time_scale
        return turbulence_time(k, epsilon, self._further(*fields), scale=scale)

    def _fields(self, ds: xr.Dataset) -> list[Tensor]:
        return fields_of(ds, self._required)

    def _further(self, *fields: Tensor) -> dict[str, Tensor]:
        """The fields besides gradient, k and ε, by name."""
        return dict(zip(self._required, fields[len(GRADIENT) :], strict=True))

    @property
    def _required(self) -> dict[str, str]:
        """Names and units of these fields."""
        return required(self.options.groups, self.options.time_scale)


_LIKELIHOOD = 1e-3
"""Weight of the likelihood beside the squared error; they share no weights."""


def fields_of(ds: xr.Dataset, further: Mapping[str, str] | None = None) -> list[Tensor]:
    """Gradient, k, ε and further fields of samples; numbers that are no state are refused."""
    further = further or {}
    require_variables(ds, further)
    states, others = ([_tensor(ds[name]) for name in names] for names in (GRADIENT, further))
    check_states(*(field.numpy() for field in states))
    named = {name: field.numpy() for name, field in zip(further, others, strict=True)}
    check_fields(named, len(states[0]))
    return [*states, *others]


def strain_range(ds: xr.Dataset) -> xr.Dataset:
    """|G| k/ε of each sample, for the ranges of a surrogate."""
    G = ds["velocity_gradient"].transpose("sample", "i", "j").values
    ratio = ds["turbulent_kinetic_energy"] / ds["dissipation_rate"]
    strain = ratio * np.sqrt((G**2).sum((1, 2)))
    return extremes(xr.Dataset({"strain": strain.assign_attrs(units="1")}), ["strain"])


def anisotropies(ds: xr.Dataset) -> Float[Tensor, "sample 6"]:
    """Components of the labels, in single precision."""
    return _tensor(ds["anisotropy"])[:, ROWS, COLUMNS].float()


def flow_weights(ds: xr.Dataset) -> Float[Tensor, " sample"]:
    """Weights with mean one by which every flow counts alike, whatever the size of its mesh."""
    if "flow" not in ds:
        return torch.ones(ds.sizes["sample"])
    _, flow, count = np.unique(ds["flow"].values, return_inverse=True, return_counts=True)
    weight = (len(flow) / len(count)) / count[flow]
    return torch.from_numpy(weight).float()


def squared_error(
    found: Float[Tensor, "cell 6"], truth: Float[Tensor, "cell 6"], weight: Float[Tensor, " cell"]
) -> Float[Tensor, ""]:
    """Weighted mean of |b - b̂|², over all nine components."""
    often = torch.tensor(OFTEN, device=found.device, dtype=found.dtype)
    return (((found - truth).square() * often).sum(1) * weight).mean()


def matrices(components: Float[Tensor, "cell 6"]) -> Float[Tensor, "cell 3 3"]:
    """Symmetric matrices of six components."""
    return components[:, torch.tensor(SYMMETRIC)]


def _tensor(array: xr.DataArray) -> Tensor:
    values = array.transpose("sample", "i", "j", missing_dims="ignore").values
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float64))


def _require_names(names: tuple[str, ...], given: Mapping[str, Any]) -> None:
    missing = [name for name in names if name not in given]
    if missing:
        raise ValueError(f"{', '.join(missing)} was not given: this closure's features need it")
    unknown = [name for name in given if name not in names]
    if unknown:
        told = ", ".join(names) or "none"
        raise ValueError(f"{', '.join(unknown)} was given, but the further fields are: {told}")


def _network(net: nn.Module) -> TensorBasisNetwork:
    assert isinstance(net, TensorBasisNetwork)
    return net
