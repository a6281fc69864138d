"""Networks as vector fields: with residual blocks, and in scaled variables."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from sciml.nn import MLP, Activation, Standardize, activation_layer

__all__ = ["ResidualMLP", "Scaled", "scaled_mlp"]


class ResidualMLP(nn.Module):
    r"""Fully connected network whose blocks add to what they are given.

    $h_0 = E x + e,\quad h_{l+1} = h_l + W_l\,\sigma(V_l h_l + v_l),\quad \dot x = O h_L + o$

    Args:
        components: number of components of x.
        width: size of h.
        blocks: number of blocks L.
        activation: the function $\sigma$.

    Example:
        >>> import torch
        >>> ResidualMLP(3, width=16, blocks=2)(torch.zeros(5, 3)).shape
        torch.Size([5, 3])
    """

    def __init__(
        self,
        components: int,
        *,
        width: int = 64,
        blocks: int = 2,
        activation: Activation = "tanh",
    ) -> None:
        super().__init__()
        self.embed = nn.Linear(components, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Linear(width, width),
                activation_layer(activation),
                nn.Linear(width, width, bias=False),
            )
            for _ in range(blocks)
        )
        self.out = nn.Linear(width, components)

    def forward(
        self, state: Float[Tensor, "*batch component"]
    ) -> Float[Tensor, "*batch component"]:
        """Rate of change of `state`."""
        hidden = self.embed(state)
        for block in self.blocks:
            hidden = hidden + block(hidden)
        return self.out(hidden)


class Scaled(nn.Module):
    r"""A field written in scaled variables: $\dot x = r \circ f((x - a) / s)$.

    A network then sees numbers about one and returns such, while states and rates stay in their
    own units outside. A polynomial f remains a polynomial of x; `monomial_coefficients` finds it.

    Args:
        field: f, from scaled states to scaled rates.
        components: number of components.

    Attributes:
        states: the scaling of the states, a and s.
        rates: the scaling of the rates, r, without offset.

    Example:
        >>> import torch
        >>> field = Scaled(nn.Identity(), 2).fit(torch.tensor([[0.0, 1.0], [4.0, 7.0]]))
        >>> field(torch.tensor([[4.0, 4.0]]))
        tensor([[2., 0.]])
    """

    def __init__(self, field: nn.Module, components: int) -> None:
        super().__init__()
        self.field = field
        self.states = Standardize(components, axis=-1)
        self.rates = Standardize(components, axis=-1)

    def fit(
        self,
        states: Float[Tensor, "*batch component"],
        rates: Float[Tensor, "*batch component"] | None = None,
        *,
        center: bool = True,
    ) -> Scaled:
        """Take the scales from data and return the field.

        Args:
            states: x, in any arrangement with the components last.
            rates: rates of x of the size to be expected, from finite differences say; without
                them r = s.
            center: False keeps a = 0, and with it the symmetries of f under changes of sign.
        """
        self.states.fit(states, center=center)
        if rates is None:
            self.rates.scale.copy_(self.states.scale)
        else:
            self.rates.fit(rates, center=False)
        return self

    def forward(
        self, state: Float[Tensor, "*batch component"]
    ) -> Float[Tensor, "*batch component"]:
        """Rate of change of `state`."""
        return self.rates.inverse(self.field(self.states(state)))


def scaled_mlp(
    components: int, *, hidden: Sequence[int] = (64, 64), activation: Activation = "tanh"
) -> Scaled:
    """An MLP in scaled variables; `fit` takes the scales from data.

    >>> import torch
    >>> scaled_mlp(3, hidden=(8,))(torch.zeros(2, 3)).shape
    torch.Size([2, 3])
    """
    return Scaled(MLP(components, components, hidden=hidden, activation=activation), components)
