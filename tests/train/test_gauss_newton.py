"""The linearised problem: the exact Jacobian, and both ways to solve with it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from sciml.train import LeastSquares
from sciml.train.gauss_newton import Linearisation, Normal, System, Triangle, linearise

Batch = tuple[Tensor, ...]


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)).double()


def batch(rng: np.random.Generator, count: int = 17) -> Batch:
    return torch.from_numpy(rng.normal(size=(count, 3))), torch.from_numpy(rng.normal(size=count))


def difference(net: nn.Module, batch: Batch) -> Tensor:
    """Two residuals a sample, and the network called twice, as a time step would."""
    once = net(batch[0])
    return once * net(2 * batch[0]) - batch[1][:, None]


def explicit(net: nn.Module, data: Batch) -> Tensor:
    """The Jacobian of all residuals at once, by autograd of the plain loop."""
    names = [name for name, p in net.named_parameters() if p.requires_grad]

    def residuals(*values: Tensor) -> Tensor:
        parameters = dict(zip(names, values, strict=True))

        class Held(nn.Module):
            def forward(self, x: Tensor) -> Tensor:
                return functional_call(net, parameters, (x,))

        return difference(Held(), data).flatten()

    values = tuple(p.detach() for p in net.parameters() if p.requires_grad)
    blocks = torch.autograd.functional.jacobian(residuals, values)
    return torch.cat([block.reshape(len(block), -1) for block in blocks], dim=1)


@pytest.mark.parametrize("chunk", [None, 1, 5])
def test_the_rows_are_the_explicit_jacobian(rng: np.random.Generator, chunk: int | None) -> None:
    net, data = network(1), batch(rng)
    rows = torch.cat(list(Linearisation(net, LeastSquares(difference), chunk=chunk).rows(data, 2)))
    torch.testing.assert_close(rows, explicit(net, data), rtol=1e-12, atol=1e-13)


def test_fixed_parameters_have_no_column(rng: np.random.Generator) -> None:
    net, data = network(1), batch(rng)
    net[0].weight.requires_grad_(False)  # type: ignore[index]
    problem = Linearisation(net, LeastSquares(difference))
    assert problem.size == 5 + 10 + 2
    rows = torch.cat(list(problem.rows(data, 2)))
    torch.testing.assert_close(rows, explicit(net, data), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("kind", [Normal, Triangle])
@pytest.mark.parametrize("count", [3, 17], ids=["fewer rows than parameters", "more"])
def test_matrix_and_step_are_those_of_the_explicit_jacobian(
    rng: np.random.Generator, kind: type[System], count: int
) -> None:
    net, data = network(2), batch(rng, count)
    problem = Linearisation(net, LeastSquares(difference), chunk=4)
    residuals = problem.residuals(data)
    system = linearise(problem, data, residuals, kind)
    J, r = explicit(net, data), residuals.flatten()
    torch.testing.assert_close(system.gradient, J.T @ r)
    torch.testing.assert_close(system.diagonal, J.square().sum(dim=0))
    scale = torch.from_numpy(rng.uniform(0.1, 2.0, size=problem.size))
    expected = torch.linalg.solve(J.T @ J + 0.3 * scale.diag(), -J.T @ r)
    found = system.step(0.3, scale)
    assert found is not None
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)


def test_the_triangle_solves_where_the_normal_equations_cannot() -> None:
    """Läuchli's matrix: κ(J) = 1e9 has a square beyond float64."""
    small, ones = 1e-9, torch.ones(3, dtype=torch.float64)
    J = torch.cat([torch.ones(1, 3), small * torch.eye(3)]).double()
    normal, triangle = Normal(3, J.device), Triangle(3, J.device)
    for system in (normal, triangle):
        system.add(J, -J @ ones)
    step = triangle.step(1e-30, ones)
    assert step is not None
    torch.testing.assert_close(step, ones, rtol=1e-6, atol=0)
    poor = normal.step(1e-30, ones)
    assert poor is None or (poor - ones).abs().max() > 1e-3


def test_residuals_that_are_not_one_row_a_sample_are_refused(rng: np.random.Generator) -> None:
    loss = LeastSquares(lambda net, batch: difference(net, batch).flatten())
    with pytest.raises(ValueError, match=r"shape \(34,\) for 17 samples"):
        Linearisation(network(0), loss).residuals(batch(rng))
