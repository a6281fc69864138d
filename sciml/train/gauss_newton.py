r"""The linearised least-squares problem $\min_h \|r + J h\|^2$ of a network, sample by sample.

$J = \partial r / \partial \theta$ is exact, by automatic differentiation of every sample, and is
never held as a whole: chunks of its rows are folded into a triangle or into $J^\top J$.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap

from sciml.train.batches import Batch
from sciml.train.least_squares import LeastSquares

CHUNK_BYTES = 32 * 2**20
"""Largest chunk of the Jacobian in float64."""


class Linearisation:
    r"""Residuals $r(\theta)$ of a network over a batch, and the rows of their Jacobian.

    Parameters that do not require gradients stay fixed.

    Args:
        net: the network.
        loss: the loss with its residuals.
        chunk: samples per chunk of the Jacobian; None for chunks of at most 32 MiB.
    """

    def __init__(self, net: nn.Module, loss: LeastSquares, *, chunk: int | None = None) -> None:
        self.chunk = chunk
        self.parameters = {
            f"net.{name}": p for name, p in net.named_parameters() if p.requires_grad
        }
        self._call = _Residuals(net, loss)

    @property
    def size(self) -> int:
        """Number of parameters."""
        return sum(p.numel() for p in self.parameters.values())

    def flat(self) -> Float[Tensor, " parameter"]:
        r"""A copy of the parameters as one vector $\theta$, in float64."""
        flat = [p.detach().double().flatten() for p in self.parameters.values()]
        return torch.cat(flat)

    @torch.no_grad()
    def assign(self, flat: Float[Tensor, " parameter"]) -> None:
        r"""Let the network hold $\theta$."""
        sizes = [p.numel() for p in self.parameters.values()]
        for parameter, part in zip(self.parameters.values(), flat.split(sizes), strict=True):
            parameter.copy_(part.view_as(parameter))

    @torch.no_grad()
    def residuals(self, batch: Batch) -> Float[Tensor, "sample residual"]:
        """Residuals of every sample, in float64.

        Raises:
            ValueError: the residuals are not one row a sample.
        """
        found = self._call(*batch)
        if found.ndim == 0 or len(found) != len(batch[0]):
            raise ValueError(
                f"the residuals have shape {tuple(found.shape)} for {len(batch[0])} samples: "
                "return them with the samples along the first dimension"
            )
        return found.double().reshape(len(found), -1)

    def rows(self, batch: Batch, residuals: int) -> Iterator[Float[Tensor, "row parameter"]]:
        """Chunks of the Jacobian in float64, in the order of `residuals`."""
        values = {name: p.detach() for name, p in self.parameters.items()}

        def single(parameters: dict[str, Tensor], *sample: Tensor) -> Tensor:
            one = tuple(field.unsqueeze(0) for field in sample)
            return functional_call(self._call, parameters, one).reshape(-1)

        fields = (0,) * len(batch)
        jacobian = vmap(jacrev(single), in_dims=(None, *fields))
        count = self.chunk or max(1, CHUNK_BYTES // (8 * self.size * residuals))
        for part in zip(*(field.split(count) for field in batch), strict=True):
            blocks = jacobian(values, *part)
            rows = len(part[0]) * residuals
            yield torch.cat([blocks[n].double().reshape(rows, -1) for n in values], dim=1)


class _Residuals(nn.Module):
    """Residuals as the output of a module, so that parameters can be put in its place."""

    def __init__(self, net: nn.Module, loss: LeastSquares) -> None:
        super().__init__()
        self.net, self.loss = net, loss

    def forward(self, *batch: Tensor) -> Tensor:
        return self.loss.residuals(self.net, batch)


class System(ABC):
    r"""What $J$ and $r$ leave behind: enough to solve $(J^\top J + \mu D) h = -J^\top r$.

    Attributes:
        gradient: $J^\top r$.
    """

    gradient: Float[Tensor, " parameter"]

    @abstractmethod
    def __init__(self, size: int, device: torch.device) -> None:
        """Start from no rows at all."""

    @abstractmethod
    def add(self, rows: Float[Tensor, "row parameter"], residuals: Float[Tensor, " row"]) -> None:
        """Take in some rows of the Jacobian with their residuals."""

    @property
    @abstractmethod
    def diagonal(self) -> Float[Tensor, " parameter"]:
        r"""The diagonal of $J^\top J$."""

    @abstractmethod
    def step(
        self, damping: float, scale: Float[Tensor, " parameter"]
    ) -> Float[Tensor, " parameter"] | None:
        r"""The step $h$ for $\mu$ and the diagonal $D$; None where it cannot be solved."""


class Normal(System):
    r"""$J^\top J$ and a Cholesky factor: half the work of `Triangle`, error $\kappa(J)^2$."""

    def __init__(self, size: int, device: torch.device) -> None:
        self.matrix = torch.zeros(size, size, dtype=torch.float64, device=device)
        self.gradient = torch.zeros(size, dtype=torch.float64, device=device)

    @property
    def diagonal(self) -> Float[Tensor, " parameter"]:
        r"""The diagonal of $J^\top J$."""
        return self.matrix.diagonal()

    def add(self, rows: Float[Tensor, "row parameter"], residuals: Float[Tensor, " row"]) -> None:
        """Take in some rows of the Jacobian with their residuals."""
        self.matrix.addmm_(rows.T, rows)
        self.gradient.addmv_(rows.T, residuals)

    def step(
        self, damping: float, scale: Float[Tensor, " parameter"]
    ) -> Float[Tensor, " parameter"] | None:
        r"""The step $h$ for $\mu$ and the diagonal $D$; None where it cannot be solved."""
        root = scale.rsqrt()
        matrix = self.matrix * root * root[:, None]
        matrix.diagonal().add_(damping)
        factor, failed = torch.linalg.cholesky_ex(matrix)
        if failed.item():
            return None
        step = torch.cholesky_solve((root * self.gradient)[:, None], factor)[:, 0]
        return -root * step


class Triangle(System):
    r"""The triangle $R$ of $J = QR$, updated chunk by chunk, with $Q^\top r$: error $\kappa(J)$.

    Golub and Van Loan, "Matrix Computations", 4th edition, 2013, section 6.5.
    """

    def __init__(self, size: int, device: torch.device) -> None:
        # The last column carries the residuals: R of [J r] holds Qᵀr there.
        self.corner = torch.zeros(0, size + 1, dtype=torch.float64, device=device)
        self.gradient = torch.zeros(size, dtype=torch.float64, device=device)

    @property
    def diagonal(self) -> Float[Tensor, " parameter"]:
        r"""The diagonal of $J^\top J$."""
        return self.corner[:, :-1].square().sum(dim=0)

    def add(self, rows: Float[Tensor, "row parameter"], residuals: Float[Tensor, " row"]) -> None:
        """Take in some rows of the Jacobian with their residuals."""
        stacked = torch.cat([self.corner, torch.cat([rows, residuals[:, None]], dim=1)])
        self.corner = torch.linalg.qr(stacked, mode="r").R
        self.gradient.addmv_(rows.T, residuals)

    def step(
        self, damping: float, scale: Float[Tensor, " parameter"]
    ) -> Float[Tensor, " parameter"] | None:
        r"""The step $h$ for $\mu$ and the diagonal $D$; None where it cannot be solved."""
        root = scale.rsqrt()
        upper = torch.cat([self.corner[:, :-1] * root, self.corner[:, -1:]], dim=1)
        lower = torch.zeros(len(root), len(root) + 1, dtype=upper.dtype, device=upper.device)
        lower.diagonal().fill_(damping**0.5)
        R = torch.linalg.qr(torch.cat([upper, lower]), mode="r").R[: len(root)]
        triangle, right = R[:, :-1], R[:, -1:]
        if not (triangle.diagonal() != 0).all():
            return None
        return -root * torch.linalg.solve_triangular(triangle, right, upper=True)[:, 0]


def linearise(
    linearisation: Linearisation,
    batch: Batch,
    residuals: Float[Tensor, "sample residual"],
    kind: type[System],
) -> System:
    r"""Fold the Jacobian over a batch into a `System`.

    Example:
        >>> net = nn.Linear(1, 1, bias=False).double()
        >>> batch = (torch.tensor([[1.0], [2.0]]).double(), torch.tensor([[3.0], [6.0]]).double())
        >>> problem = Linearisation(net, LeastSquares(lambda f, b: f(b[0]) - b[1]))
        >>> system = linearise(problem, batch, problem.residuals(batch), Normal)
        >>> step = system.step(0.0, torch.ones(1).double())
        >>> round((net.weight.item() + step.item()), 12)
        3.0
    """
    system = kind(linearisation.size, residuals.device)
    start = 0
    for rows in linearisation.rows(batch, residuals.shape[1]):
        system.add(rows, residuals.reshape(-1)[start : start + len(rows)])
        start += len(rows)
    return system
