"""The tensors a gradient is asked for."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from sciml.dynamics.integrators.scheme import Field, Scheme


def trainable(field: Field, scheme: Scheme, state: Tensor) -> tuple[Tensor, ...]:
    """The parameters of field and scheme that require a gradient, each once.

    Raises:
        ValueError: the field is a plain function that reads tensors which require a gradient; only
            plain backpropagation can find them.
    """
    own = list(field.parameters()) if isinstance(field, nn.Module) else []
    if not isinstance(field, nn.Module) and field(state.detach()[:1]).requires_grad:
        raise ValueError(
            "the field is a plain function of tensors that require a gradient: make it an "
            "nn.Module with these as parameters, or choose gradient='store'"
        )
    unique = {id(p): p for p in (*own, *scheme.parameters()) if p.requires_grad}
    return tuple(unique.values())


def accumulate(totals: list[Tensor | None], parts: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Sums of gradients, where None stands for none."""
    return [
        part if total is None else total if part is None else total + part
        for total, part in zip(totals, parts, strict=True)
    ]
