"""What physics asks of a field, made exact for any network by wrapping it.

| property | any field | polynomial field |
|---|---|---|
| symmetry | `Symmetric` | constraint `Equivariant` |
| constant divergence | `FromPotential`, of a potential | constraint `ConstantDivergence` |
| energy kept by the quadratic part | - | constraint `EnergyPreserving` |
| bounded trajectories | `Trapped` | `Trapped` |

A bilinear field is a polynomial one of degree two: give the constraints to `Polynomial`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["FromPotential", "Symmetric", "Trapped"]


class Symmetric(nn.Module):
    r"""The part of a field that has a symmetry: $f_S(x) = \tfrac12 [f(x) + S f(S x)]$.

    With $S S = 1$ this obeys $f_S(S x) = S f_S(x)$ for every x, and a field that has the symmetry
    already is unchanged. The field is evaluated twice.

    Args:
        field: f.
        involution: S, a matrix, or its diagonal; `sciml.dynamics.systems.SYMMETRY` for Lorenz-63.

    Raises:
        ValueError: S is not its own inverse.

    Example:
        >>> field = Symmetric(lambda x: x + 1.0, [-1.0, 1.0])
        >>> field(torch.zeros(1, 2))
        tensor([[0., 1.]])
    """

    involution: Tensor

    def __init__(
        self,
        field: Callable[[Tensor], Tensor],
        involution: Sequence[float] | Float[Tensor, "component component"],
    ) -> None:
        super().__init__()
        self.field = field
        given = torch.as_tensor(involution, dtype=torch.float64)
        matrix = torch.diag(given) if given.ndim == 1 else given
        identity = torch.eye(len(matrix), dtype=torch.float64)
        if not torch.allclose(matrix @ matrix, identity, rtol=0, atol=1e-12):
            raise ValueError(
                "the symmetry must be its own inverse (S S = 1), but S S differs from 1 by "
                f"{(matrix @ matrix - identity).abs().max():.3g}: give an involution"
            )
        self.register_buffer("involution", matrix)

    def forward(
        self, state: Float[Tensor, "*batch component"]
    ) -> Float[Tensor, "*batch component"]:
        """Rate of change of `state`."""
        S = self.involution.to(state.dtype)
        return (self.field(state) + self.field(state @ S.mT) @ S.mT) / 2


class FromPotential(nn.Module):
    r"""A field of constant divergence, from an antisymmetric potential.

    $\dot x_i = \frac{d}{n} x_i + \sum_j \partial \Psi_{ij} / \partial x_j,
    \quad \Psi_{ij} = -\Psi_{ji}$

    The second term has no divergence since second derivatives commute, so that
    $\sum_i \partial \dot x_i / \partial x_i = d$ for every network; all smooth fields of
    divergence d have this form. One evaluation costs as many directional derivatives of the
    network as there are components. The network must be smooth: tanh, not relu.

    Args:
        potential: state [batch, component] to the entries of Ψ above its diagonal, row by row.
        components: n, two or more.
        divergence: d, per unit of time; −(σ + 1 + β) for Lorenz-63.

    Richter-Powell, Lipman and Chen, "Neural conservation laws", 2022,
    doi:10.48550/arXiv.2210.01741.

    Example:
        >>> field = FromPotential(lambda x: x[:, :1] ** 2, 2, divergence=0.0)
        >>> field(torch.tensor([[3.0, 5.0]]))  # Ψ = x²: rates (∂Ψ/∂y, -∂Ψ/∂x)
        tensor([[ 0., -6.]])
    """

    def __init__(
        self,
        potential: Callable[[Tensor], Tensor],
        components: int,
        *,
        divergence: float = 0.0,
    ) -> None:
        super().__init__()
        if components < 2:
            raise ValueError(f"a potential needs two components or more, not {components}")
        self.potential, self.components, self.divergence = potential, components, divergence
        self._pairs = list(combinations(range(components), 2))

    def forward(self, state: Float[Tensor, "batch component"]) -> Float[Tensor, "batch component"]:
        """Rate of change of `state`."""
        units = torch.eye(self.components, dtype=state.dtype, device=state.device)
        slopes = [
            torch.func.jvp(self.potential, (state,), (unit.expand_as(state),))[1] for unit in units
        ]
        rates = [self.divergence / self.components * x for x in state.unbind(-1)]
        for p, (i, j) in enumerate(self._pairs):
            rates[i] = rates[i] + slopes[j][..., p]
            rates[j] = rates[j] - slopes[i][..., p]
        return torch.stack(rates, -1)


class Trapped(nn.Module):
    r"""A field whose trajectories stay bounded: far out, damping takes over.

    $\dot x = w(r)\, f(x_R) - [1 - w(r)]\,\gamma\,(x - c)$ with $r = \lvert x - c \rvert$

    w is one up to the radius R, zero from $(1+\delta)R$ on and twice differentiable between;
    $x_R$ is x drawn back to the ball of radius $(1+\delta)R$, so that f is never asked farther out.
    Beyond $(1+\delta)R$ then $\dot r = -\gamma r < 0$: every trajectory enters this ball and none
    leaves it, whatever f. Within R the field is f itself.

    Args:
        field: f.
        center: c, [component].
        radius: R: the data should lie well within.
        margin: δ.
        damping: γ, per unit of time.

    Raises:
        ValueError: a radius, margin or damping that is not positive.

    Example:
        >>> field = Trapped(lambda x: x**3, torch.zeros(1), radius=2.0)
        >>> field(torch.tensor([[1.0], [10.0]]))
        tensor([[  1.], [-10.]])
    """

    center: Tensor

    def __init__(
        self,
        field: Callable[[Tensor], Tensor],
        center: Float[Tensor, " component"] | Sequence[float],
        *,
        radius: float,
        margin: float = 0.5,
        damping: float = 1.0,
    ) -> None:
        super().__init__()
        if min(radius, margin, damping) <= 0:
            raise ValueError(
                f"radius={radius}, margin={margin}, damping={damping}: all must be positive"
            )
        self.field = field
        self.radius, self.margin, self.damping = radius, margin, damping
        self.register_buffer("center", torch.as_tensor(center, dtype=torch.float64))

    @property
    def outer(self) -> float:
        """(1+δ)R, the radius of the ball that no trajectory leaves."""
        return self.radius * (1 + self.margin)

    @classmethod
    def around(
        cls, field: Callable[[Tensor], Tensor], states: Float[Tensor, "*batch component"]
    ) -> Trapped:
        """A trapping region around data: centred at their mean, twice as far as the farthest."""
        points = states.reshape(-1, states.shape[-1]).to(torch.float64)
        center = points.mean(0)
        farthest = (points - center).norm(dim=1).max().item()
        return cls(field, center, radius=2 * farthest)

    def forward(
        self, state: Float[Tensor, "*batch component"]
    ) -> Float[Tensor, "*batch component"]:
        """Rate of change of `state`."""
        out = state - self.center.to(state.dtype)
        square = out.square().sum(-1, keepdim=True)
        inner, outer = self.radius**2, self.outer**2
        s = ((square - inner) / (outer - inner)).clamp(0, 1)
        weight = 1 - s**3 * (10 - 15 * s + 6 * s**2)
        drawn = state - out * (1 - (square / outer).clamp_min(1).rsqrt())
        return weight * self.field(drawn) - (1 - weight) * self.damping * out
