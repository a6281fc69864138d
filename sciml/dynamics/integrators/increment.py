"""A learned increment in place of a scheme, or on top of one."""

from __future__ import annotations

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from sciml.dynamics.integrators.scheme import Field, FixedStep, Size


class Increment(FixedStep):
    r"""A network as the increment: $X' = X + h\, \Phi(X)$, or as what a base scheme leaves.

    With a base scheme of order $p$, $X' = \text{base}(X) + h^{p+1} \Phi(X)$, which keeps the order
    of the base whatever the network. Without one the field is not used at all, and the network is
    worth its salt at the step it was trained at.

    Args:
        network: $\Phi$, states [batch, component] to increments [batch, component].
        base: the scheme below, or None.
        step: the largest step in time; None takes one step from each time to the next.

    Raises:
        ValueError: the step is not positive.

    References:
        M. Poli et al., Hypersolvers, 2020, https://doi.org/10.48550/arXiv.2007.09601

    Example:
        >>> import torch
        >>> Increment(torch.neg).advance(torch.neg, torch.ones(1, 1), 0.1)
        tensor([[0.9000]])
    """

    def __init__(
        self,
        network: Callable[[Tensor], Tensor],
        *,
        base: FixedStep | None = None,
        step: float | None = None,
    ) -> None:
        super().__init__(step=step)
        self.network, self.base = network, base
        self.order = 0 if base is None else base.order
        self.stages = 0 if base is None else base.stages

    def advance(
        self, field: Field, state: Float[Tensor, "batch component"], size: Size
    ) -> Float[Tensor, "batch component"]:
        """The state one step of `size` later."""
        increment = self.network(state)
        if self.base is None:
            return state + size * increment
        return self.base.advance(field, state, size) + size ** (self.base.order + 1) * increment
