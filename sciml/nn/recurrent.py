"""Forecasts of a short vector from its past: a linear map, a recurrent network, a neural ODE.

All three are called alike: with the past at equal times, and with the gaps between the times to
come.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sciml.nn.activation import Activation
from sciml.nn.mlp import MLP

__all__ = ["LinearForecast", "NeuralFlow", "RecurrentForecast"]

Past = Float[Tensor, "batch lag component"]
Gaps = Float[Tensor, "batch step"]
Future = Float[Tensor, "batch step component"]


class LinearForecast(nn.Module):
    r"""$z_{n+1} = A z_n + b$, as a dynamic mode decomposition has it.

    Args:
        components: of $z$.

    Example:
        >>> net = LinearForecast(1)
        >>> net.start(torch.tensor([[0.5]]), torch.zeros(1))
        >>> net(torch.ones(1, 1, 1), torch.ones(1, 3)).flatten().tolist()
        [0.5, 0.25, 0.125]
    """

    def __init__(self, components: int) -> None:
        super().__init__()
        self.step = nn.Linear(components, components)
        self.start(torch.eye(components), torch.zeros(components))

    @torch.no_grad()
    def start(
        self, matrix: Float[Tensor, "component component"], shift: Float[Tensor, " component"]
    ) -> None:
        """Take A and b, of a least-squares fit say, to begin training with."""
        self.step.weight.copy_(matrix)
        self.step.bias.copy_(shift)

    def forward(self, past: Past, gaps: Gaps) -> Future:
        """States after the last of the past, one for each gap; all gaps are one step."""
        z, found = past[:, -1], []
        for _ in range(gaps.shape[1]):
            z = self.step(z)
            found.append(z)
        return torch.stack(found, 1)


class RecurrentForecast(nn.Module):
    r"""A long short-term memory that corrects a linear map, fed with its own forecasts.

    $h_n, c_n = \mathrm{LSTM}(z_n, h_{n-1}, c_{n-1})$ and $z_{n+1} = A z_n + b + W h_n$: first over
    the past, then over what it forecast itself. Hochreiter and Schmidhuber, Neural Comput. 9
    (1997), doi:10.1162/neco.1997.9.8.1735; for reduced flows Vlachas et al., Proc. R. Soc. A 474
    (2018), doi:10.1098/rspa.2017.0844. $W$ starts at zero, so that training begins with the linear
    map.

    Args:
        components: of $z$.
        hidden: length of $h$.
        layers: memories stacked.

    Example:
        >>> net = RecurrentForecast(2, hidden=8)
        >>> net(torch.ones(3, 5, 2), torch.ones(3, 4)).shape
        torch.Size([3, 4, 2])
    """

    def __init__(self, components: int, *, hidden: int = 32, layers: int = 1) -> None:
        super().__init__()
        self.memory = nn.LSTM(components, hidden, num_layers=layers, batch_first=True)
        self.head = nn.Linear(hidden, components, bias=False)
        nn.init.zeros_(self.head.weight)
        self.step = nn.Linear(components, components)
        self.start(torch.eye(components), torch.zeros(components))

    @torch.no_grad()
    def start(
        self, matrix: Float[Tensor, "component component"], shift: Float[Tensor, " component"]
    ) -> None:
        """Take A and b, of a least-squares fit say, to begin training with."""
        self.step.weight.copy_(matrix)
        self.step.bias.copy_(shift)

    def forward(self, past: Past, gaps: Gaps) -> Future:
        """States after the last of the past, one for each gap; all gaps are one step."""
        z, state, found = past, None, []
        for _ in range(gaps.shape[1]):
            h, state = self.memory(z, state)
            z = self.step(z[:, -1:]) + self.head(h[:, -1:])
            found.append(z)
        return torch.cat(found, 1)


class NeuralFlow(nn.Module):
    r"""$\dot z = A z + b + f(z)$ with a small network $f$, by the classical Runge-Kutta scheme RK4.

    Chen et al., "Neural ordinary differential equations", 2018, doi:10.48550/arXiv.1806.07366. The
    gaps may differ, also among samples. The last layer of $f$ starts at zero, so that training
    begins with the linear system.

    Args:
        components: of $z$.
        hidden: widths of the hidden layers of $f$.
        activation: of $f$.
        substeps: of RK4 in one gap.

    Example:
        >>> net = NeuralFlow(1).double()
        >>> net.start(torch.tensor([[-1.0]]), torch.zeros(1))
        >>> gaps = torch.tensor([[0.5, 0.5]]).double()
        >>> [round(z, 3) for z in net(torch.ones(1, 1, 1).double(), gaps).flatten().tolist()]
        [0.607, 0.368]
    """

    def __init__(
        self,
        components: int,
        *,
        hidden: Sequence[int] = (32, 32),
        activation: Activation = "tanh",
        substeps: int = 1,
    ) -> None:
        super().__init__()
        self.substeps = substeps
        self.linear = nn.Linear(components, components)
        self.start(torch.zeros(components, components), torch.zeros(components))
        self.rest = MLP(components, components, hidden=hidden, activation=activation)
        last = self.rest.layers[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    @torch.no_grad()
    def start(
        self, matrix: Float[Tensor, "component component"], shift: Float[Tensor, " component"]
    ) -> None:
        """Take A and b, of a least-squares fit say, to begin training with."""
        self.linear.weight.copy_(matrix)
        self.linear.bias.copy_(shift)

    def rate(self, z: Float[Tensor, "batch component"]) -> Float[Tensor, "batch component"]:
        """The field: rate of change of z."""
        return self.linear(z) + self.rest(z)

    def forward(self, past: Past, gaps: Gaps) -> Future:
        """States after the last of the past, one for each gap."""
        z, found = past[:, -1], []
        for gap in gaps.unbind(1):
            for _ in range(self.substeps):
                z = self._advance(z, gap[:, None] / self.substeps)
            found.append(z)
        return torch.stack(found, 1)

    def _advance(self, z: Tensor, h: Tensor) -> Tensor:
        a = self.rate(z)
        b = self.rate(z + h / 2 * a)
        c = self.rate(z + h / 2 * b)
        d = self.rate(z + h * c)
        return z + h / 6 * (a + 2 * b + 2 * c + d)
