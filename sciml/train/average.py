"""Exponential moving average of a network's parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


class Average:
    r"""Exponential moving average of parameters.

    After update $n = 1, 2 \dots$ with weights $\theta_n$:
    $\bar\theta_n = d_n \bar\theta_{n-1} + (1 - d_n)\,\theta_n$ with
    $d_n = \min\left(d, \frac{1 + n}{10 + n}\right)$, so that early weights are soon forgotten
    (Tarvainen and Valpola, NeurIPS 2017, doi:10.48550/arXiv.1703.01780).

    Args:
        net: the network; its present parameters are $\bar\theta_0$.
        decay: $d$.

    Example:
        >>> net = nn.Linear(1, 1, bias=False)
        >>> _ = nn.init.zeros_(net.weight)
        >>> average = Average(net, decay=0.0)
        >>> _ = nn.init.ones_(net.weight)
        >>> average.update(net)
        >>> average.parameters[0].item()
        1.0
    """

    def __init__(self, net: nn.Module, *, decay: float) -> None:
        self.decay, self.updates = decay, 0
        self.parameters = [p.detach().clone() for p in net.parameters()]

    @torch.no_grad()
    def update(self, net: nn.Module) -> None:
        """Take in the weights after an update."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for mean, parameter in zip(self.parameters, net.parameters(), strict=True):
            mean.lerp_(parameter.detach(), 1 - decay)

    @contextmanager
    def applied(self, net: nn.Module) -> Iterator[None]:
        """Let the network hold the average inside the block."""
        self._swap(net)
        try:
            yield
        finally:
            self._swap(net)

    @torch.no_grad()
    def _swap(self, net: nn.Module) -> None:
        for mean, parameter in zip(self.parameters, net.parameters(), strict=True):
            kept = parameter.detach().clone()
            parameter.copy_(mean)
            mean.copy_(kept)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"updates": self.updates, "parameters": self.parameters}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        self.updates = state["updates"]
        for mean, stored in zip(self.parameters, state["parameters"], strict=True):
            mean.copy_(stored)
