"""Networks that give the anisotropy: on Pope's basis, and on components for comparison."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sciml.nn import MLP, Domain, Standardize
from sciml.nn.activation import Activation

__all__ = ["BASIS", "COMPONENTS", "ComponentNetwork", "TensorBasisNetwork", "traceless"]

BASIS = 10
"""Tensors of Pope's basis."""

COMPONENTS = 6
"""xx, xy, xz, yy, yz, zz of a symmetric tensor."""

LIMIT = 4.0
"""Standard deviations from the mean of the training that a feature is limited to."""

SPREAD = 0.05
"""Least deviation by which a feature is divided: all are of order one, less is rounding."""

_DEVIATION = 0.05

Features = Float[Tensor, "cell feature"]
Tensors = Float[Tensor, "cell basis 6"]
Components = Float[Tensor, "cell 6"]
Factors = Float[Tensor, "cell 5 5"]


class TensorBasisNetwork(nn.Module):
    r"""An anisotropy on Pope's basis, with coefficients from invariants.

    $b = \sum_n g_n(\lambda)\, T_n$: as the features λ are the same in all axes and the tensors turn
    with them, so does b. A second network gives, if asked for, a full covariance of the five free
    components of b, in a basis of orthonormal traceless tensors $e_i$,

    $\Sigma = \sigma_0^2 I + \sum_r \varphi_r \varphi_r^\top,\quad \varphi_r = \sum_n h_{rn} T_n$

    which turns with the axes too.

    Args:
        features: number of features.
        known: how many of them, from the first, say where the network is to be trusted; none takes
            all.
        basis: which of the ten tensors, from 0.
        hidden: widths of the hidden layers.
        activation: between them.
        ranks: directions r of the covariance; none leaves it out.

    Ling, Kurzawski, Templeton, J. Fluid Mech. 807 (2016) 155, doi:10.1017/jfm.2016.615.
    """

    _places: Tensor

    def __init__(
        self,
        features: int,
        *,
        known: int | None = None,
        basis: tuple[int, ...] = tuple(range(BASIS)),
        hidden: tuple[int, ...],
        activation: Activation = "gelu",
        ranks: int = 0,
    ) -> None:
        super().__init__()
        self.basis, self.ranks = basis, ranks
        self.register_buffer("_places", torch.tensor(basis), persistent=False)
        self.scaling = Standardize(features)
        self.layers = MLP(features, len(basis), hidden=hidden, activation=activation)
        self.known = features if known is None else known
        self.domain = Domain(self.known)
        if ranks:
            outputs = 1 + ranks * len(basis)
            self.doubts = MLP(features, outputs, hidden=hidden, activation=activation)

    def forward(
        self, features: Features, tensors: Tensors, covariance: bool = False
    ) -> Components | tuple[Components, Factors]:
        """b from the features and the ten tensors of each cell, and the factor of Σ if asked."""
        b = torch.einsum("cn,cnm->cm", self.coefficients(features), tensors)
        return (b, self.factor(features, tensors)) if covariance else b

    def coefficients(self, features: Features) -> Float[Tensor, "cell 10"]:
        """g of all ten tensors, zero for those left out."""
        own = self.layers(self._scaled(features))
        if len(self.basis) == BASIS:
            return own
        return own.new_zeros(len(own), BASIS).index_copy(1, self._places, own)

    def factor(self, features: Features, tensors: Tensors) -> Factors:
        """Cholesky factor of Σ, for `sciml.train.gaussian_nll`."""
        size, told = self.doubts(self._scaled(features)).split([1, self.ranks * len(self.basis)], 1)
        weights = told.view(-1, self.ranks, len(self.basis))
        tensors = traceless(tensors[:, list(self.basis)])
        directions = _DEVIATION * torch.einsum("crn,cni->cri", weights, tensors)
        floor = (0.1 * _DEVIATION * torch.exp(size.clamp(-5, 5)))[..., None].square()
        identity = torch.eye(5, dtype=tensors.dtype, device=tensors.device)
        return torch.linalg.cholesky(directions.mT @ directions + floor * identity)

    def calibrate(self, features: Features) -> None:
        """Scaling of the features and the domain of validity, from training samples."""
        fit_scaling(self.scaling, features)
        self.domain.fit(features[:, : self.known])

    def trusted(self, features: Features) -> Bool[Tensor, " cell"]:
        """Whether features lie where the network was trained."""
        return self.domain(features[:, : self.known])

    def distance(self, features: Features) -> Float[Tensor, " cell"]:
        """How far they lie from the training, over what is near."""
        return self.domain.distance(features[:, : self.known])

    def _scaled(self, features: Features) -> Features:
        return self.scaling(features).clamp(-LIMIT, LIMIT)


class ComponentNetwork(nn.Module):
    """An anisotropy from the components of strain and rotation: it knows of no axes.

    Args:
        features: number of features, components and scalars.
        hidden: widths of the hidden layers.
        activation: between them.
    """

    def __init__(
        self, features: int, *, hidden: tuple[int, ...], activation: Activation = "gelu"
    ) -> None:
        super().__init__()
        self.scaling = Standardize(features)
        self.layers = MLP(features, COMPONENTS - 1, hidden=hidden, activation=activation)

    def forward(self, features: Features) -> Components:
        """b, without a trace."""
        told = self.layers(self.scaling(features).clamp(-LIMIT, LIMIT))
        xx, xy, xz, yy, yz = told.unbind(1)
        return torch.stack([xx, xy, xz, yy, yz, -xx - yy], 1)


def fit_scaling(scaling: Standardize, features: Features) -> None:
    """Mean and deviation of the features, the deviation not below `SPREAD`."""
    scaling.fit(features)
    scaling.scale.clamp_(min=SPREAD)


def traceless(components: Float[Tensor, "*cell 6"]) -> Float[Tensor, "*cell 5"]:
    r"""The five free numbers of symmetric traceless tensors, with $|b|^2 = \sum_i x_i^2$.

    >>> traceless(torch.tensor([2.0, 0.0, 0.0, -1.0, 0.0, -1.0])).square().sum().round().item()
    6.0
    """
    xx, xy, xz, yy, yz, zz = components.unbind(-1)
    normal = [(xx - yy) / 2**0.5, (xx + yy - 2 * zz) / 6**0.5]
    return torch.stack([*normal, 2**0.5 * xy, 2**0.5 * xz, 2**0.5 * yz], -1)
