"""What a tensor-basis network has to beat: algebraic closures, components, trees."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, final

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float, Float64
from scipy.spatial.transform import Rotation
from torch import Tensor, nn

from sciml.nn.activation import Activation
from sciml.rans.features import FeatureGroup, feature_count, features, required
from sciml.rans.network import ComponentNetwork, fit_scaling
from sciml.rans.surrogate import (
    COLUMNS,
    ROWS,
    anisotropies,
    fields_of,
    flow_weights,
    matrices,
    squared_error,
    strain_range,
)
from sciml.surrogate import Surrogate
from sciml.train import Batch, Rows

__all__ = ["Algebraic", "BoostedTrees", "ComponentClosure", "ComponentOptions"]

Matrices = Float64[np.ndarray, "sample 3 3"]


@dataclass(frozen=True, eq=False)
class Algebraic:
    """A closure in closed form, such as :func:`sciml.rans.linear_eddy_viscosity`.

    Args:
        closure: b of the velocity gradient, k and ε.
    """

    closure: Callable[..., Matrices]

    def fit(
        self,
        train: xr.Dataset,
        valid: xr.Dataset | None = None,
        *,
        folder: Path | None = None,
        resume: bool = False,
    ) -> Any:
        """Nothing is learned."""

    def predict(self, ds: xr.Dataset) -> xr.Dataset:
        """The anisotropy of each sample."""
        return labelled(self.closure(*(field.numpy() for field in fields_of(ds))))


@dataclass(frozen=True, kw_only=True)
class ComponentOptions:
    """What a :class:`ComponentClosure` is made of.

    Attributes:
        groups: features besides those of the velocity gradient, see :func:`sciml.rans.features`.
        hidden: widths of the hidden layers.
        activation: between them.
        turned: copies of each training sample in axes turned at random.
    """

    groups: tuple[FeatureGroup, ...] = ()
    hidden: tuple[int, ...] = (64, 64, 64)
    activation: Activation = "gelu"
    turned: int = 0


@final
class ComponentClosure(Surrogate[ComponentOptions]):
    """The anisotropy by a plain network on the components of strain and rotation.

    It sees S and R over |G|, component by component, and the same scalars as the tensor-basis
    network. Nothing ties what it says in one frame to what it says in another; turned copies of the
    training samples teach it some of that.
    """

    inputs: ClassVar = {
        "velocity_gradient": "s-1",
        "turbulent_kinetic_energy": "m2 s-2",
        "dissipation_rate": "m2 s-3",
    }
    outputs: ClassVar = {"anisotropy": "1"}

    def build(self) -> nn.Module:
        """A new `ComponentNetwork`."""
        options = self.options
        return ComponentNetwork(
            feature_count(options.groups) + 9,
            hidden=options.hidden,
            activation=options.activation,
        )

    def calibrate(self, net: nn.Module, train: xr.Dataset) -> None:
        """Scaling of the features."""
        assert isinstance(net, ComponentNetwork)
        fit_scaling(net.scaling, self.samples(train).fields[0])

    def samples(self, ds: xr.Dataset) -> Rows:
        """Features, anisotropy and weight of each sample, and of its turned copies."""
        told, b, weight = self._scalars(ds), anisotropies(ds), flow_weights(ds)
        G = fields_of(ds)[0]
        parts = [(torch.cat([told, _components(G)], 1), b, weight)]
        rng = np.random.default_rng(self.training.seed)
        for _ in range(self.options.turned):
            Q = torch.from_numpy(Rotation.random(len(G), rng).as_matrix())
            turned = Q @ matrices(b).double() @ Q.mT
            row = torch.cat([told, _components(Q @ G @ Q.mT)], 1)
            parts.append((row, turned[:, ROWS, COLUMNS].float(), weight))
        return Rows(*(torch.cat(column) for column in zip(*parts, strict=True)))

    def loss(self, net: nn.Module, batch: Batch) -> Tensor:
        """Mean of |b - b̂|², flows weighted alike."""
        told, truth, weight = batch
        return squared_error(net(told), truth, weight)

    def summaries(self, ds: xr.Dataset) -> xr.Dataset:
        """Range of |G| k/ε."""
        return strain_range(ds)

    def evaluate(self, *fields: Tensor) -> tuple[Tensor, ...]:
        """Features and components to b in six components."""
        return (self.network(*fields),)

    def _predict(self, ds: xr.Dataset) -> xr.Dataset:
        told = torch.cat([self._scalars(ds), _components(fields_of(ds)[0])], 1)
        return labelled(matrices(self.evaluate(told)[0]).double().numpy())

    def _scalars(self, ds: xr.Dataset) -> Float[Tensor, "sample feature"]:
        return scalars(ds, self.options.groups).float()


@dataclass(eq=False)
class BoostedTrees:
    """Gradient-boosted trees on the invariants, for the components in the axes of the strain.

    The eigenvectors of S, the largest eigenvalue first, with the signs that make the vorticity's
    components positive, are a frame that turns with the flow: trees that learn b in it are as
    invariant as the tensor basis, up to where two eigenvalues meet. Cells count alike.

    Args:
        groups: features besides those of the velocity gradient.
        iterations: trees of each component.
        seed: of the trees.
    """

    groups: tuple[FeatureGroup, ...] = ()
    iterations: int = 150
    seed: int = 0

    def fit(
        self,
        train: xr.Dataset,
        valid: xr.Dataset | None = None,
        *,
        folder: Path | None = None,
        resume: bool = False,
    ) -> Any:
        """Fit a regressor of each of the six components."""
        from sklearn.ensemble import HistGradientBoostingRegressor
        from threadpoolctl import threadpool_limits

        told = scalars(train, self.groups).numpy()
        frame, truth = strain_axes(train), train["anisotropy"].transpose("sample", "i", "j").values
        own = (frame.transpose(0, 2, 1) @ truth @ frame)[:, ROWS, COLUMNS]
        with threadpool_limits(torch.get_num_threads()):
            self._trees = [
                HistGradientBoostingRegressor(
                    max_iter=self.iterations, random_state=self.seed, early_stopping=False
                ).fit(told, column)
                for column in own.T
            ]

    def predict(self, ds: xr.Dataset) -> xr.Dataset:
        """The anisotropy of each sample."""
        from threadpoolctl import threadpool_limits

        told, frame = scalars(ds, self.groups).numpy(), strain_axes(ds)
        with threadpool_limits(torch.get_num_threads()):
            own = np.stack([tree.predict(told) for tree in self._trees], 1)
        b = matrices(torch.from_numpy(own)).numpy()
        b -= np.trace(b, axis1=1, axis2=2)[:, None, None] * np.eye(3) / 3
        return labelled(frame @ b @ frame.transpose(0, 2, 1))


def scalars(ds: xr.Dataset, groups: tuple[FeatureGroup, ...]) -> Float[Tensor, "sample feature"]:
    """The features of labelled samples, in float64."""
    names = required(groups)
    G, k, epsilon, *others = fields_of(ds, names)
    return features(G, k, epsilon, dict(zip(names, others, strict=True)), groups=groups)


def strain_axes(ds: xr.Dataset) -> Matrices:
    """Columns are eigenvectors of S, that of the largest eigenvalue first, right-handed."""
    G = ds["velocity_gradient"].transpose("sample", "i", "j").values
    _, vectors = np.linalg.eigh((G + G.transpose(0, 2, 1)) / 2)
    vectors = vectors[:, :, ::-1]
    W = G - G.transpose(0, 2, 1)
    vorticity = np.stack([W[:, 2, 1], W[:, 0, 2], W[:, 1, 0]], 1)
    signs = np.sign(np.einsum("cij,ci->cj", vectors[:, :, :2], vorticity))
    first, second = (
        vectors[:, :, j] * np.where(signs[:, j] == 0, 1, signs[:, j])[:, None] for j in (0, 1)
    )
    return np.stack([first, second, np.cross(first, second)], 2)


def labelled(b: Matrices) -> xr.Dataset:
    """An anisotropy as a data set over `sample`."""
    return xr.Dataset({"anisotropy": (("sample", "i", "j"), b, {"units": "1"})})


def _components(G: Float[Tensor, "sample 3 3"]) -> Float[Tensor, "sample 9"]:
    """Six components of S and three of R over |G|."""
    unit = G / (G.square().sum((1, 2), keepdim=True).sqrt() + 1e-30)
    S, R = (unit + unit.mT) / 2, (unit - unit.mT) / 2
    rotation = [R[:, 0, 1], R[:, 0, 2], R[:, 1, 2]]
    return torch.cat([S[:, ROWS, COLUMNS], torch.stack(rotation, 1)], 1).float()
