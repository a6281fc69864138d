"""Forecasts of short vectors: powers of a matrix, the order of RK4, a memory that is used."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from sciml.nn.recurrent import LinearForecast, NeuralFlow, RecurrentForecast

ROTATION = torch.tensor([[0.0, -2.0], [2.0, 0.0]]).double()


@pytest.fixture
def past(rng: np.random.Generator) -> torch.Tensor:
    return torch.from_numpy(rng.standard_normal((5, 4, 2)))


def test_linear_forecast_is_powers_of_the_matrix(past, rng):
    net = LinearForecast(2).double()
    matrix = torch.from_numpy(rng.standard_normal((2, 2)))
    shift = torch.from_numpy(rng.standard_normal(2))
    net.start(matrix, shift)
    z = past[:, -1]
    found = net(past, torch.ones(5, 3).double())
    for step in range(3):
        z = z @ matrix.T + shift
        torch.testing.assert_close(found[:, step], z)


@pytest.mark.parametrize("make", [LinearForecast, RecurrentForecast, NeuralFlow])
def test_a_longer_forecast_begins_with_the_shorter_one(make, past):
    net = make(2).double()
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.3)
    long, short = (net(past, torch.full((5, n), 0.1).double()) for n in (7, 3))
    torch.testing.assert_close(long[:, :3], short)


def test_neural_flow_is_of_order_four(past):
    """Errors of a rotation against the exponential of its matrix, with halved steps."""
    errors = []
    wanted = past[:, -1] @ torch.matrix_exp(ROTATION).T
    for substeps in (8, 16):
        net = NeuralFlow(2, substeps=substeps).double()
        net.start(ROTATION, torch.zeros(2))
        found = net(past, torch.ones(5, 1).double())[:, 0]
        errors.append(float((found - wanted).detach().abs().max()))
    assert errors[0] / errors[1] == pytest.approx(16, rel=0.1)


def test_neural_flow_takes_any_gaps(past, rng):
    net = NeuralFlow(2, hidden=(8,), substeps=40).double()
    nn.init.normal_(net.rest.layers[-1].weight, std=0.5)
    net.start(ROTATION, torch.ones(2))
    gaps = torch.from_numpy(rng.uniform(0.1, 0.5, (5, 3)))
    whole = net(past, gaps.sum(1, keepdim=True))[:, 0]
    torch.testing.assert_close(net(past, gaps)[:, -1], whole, rtol=1e-6, atol=1e-6)


def test_recurrent_forecast_begins_linear_and_then_hears_the_whole_past(past):
    net, linear = RecurrentForecast(2, hidden=8).double(), LinearForecast(2).double()
    for one in (net, linear):
        one.start(ROTATION, torch.ones(2))
    gaps = torch.ones(5, 3).double()
    torch.testing.assert_close(net(past, gaps), linear(past, gaps))
    nn.init.normal_(net.head.weight)
    other = past.clone()
    other[:, 0] += 1.0
    assert bool((net(other, gaps) != net(past, gaps)).any())
