"""Any spatial size for a network that needs multiples: pad by replication, crop back."""

from __future__ import annotations

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


def pad_to_multiple(
    x: Float[Tensor, "batch channel y x"], multiple: int
) -> Float[Tensor, "batch channel padded_y padded_x"]:
    """Repeat the last row and the last column until both sizes are multiples of `multiple`.

    Example:
        >>> import torch
        >>> pad_to_multiple(torch.zeros(1, 2, 9, 16), 8).shape
        torch.Size([1, 2, 16, 16])
    """
    below, right = -x.shape[-2] % multiple, -x.shape[-1] % multiple
    if not (below or right):
        return x
    return functional.pad(x, (0, right, 0, below), mode="replicate")


def at_any_size(
    network: Callable[[Tensor], Tensor], x: Float[Tensor, "batch channel y x"], multiple: int
) -> Float[Tensor, "batch outputs y x"]:
    """Run `network` on the padded input and crop its output to the size of `x`.

    Example:
        >>> import torch
        >>> at_any_size(lambda x: 2 * x, torch.ones(1, 1, 5, 7), 4).shape
        torch.Size([1, 1, 5, 7])
    """
    height, width = x.shape[-2:]
    return network(pad_to_multiple(x, multiple))[..., :height, :width]
