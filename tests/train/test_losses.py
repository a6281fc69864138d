"""Losses: closed forms, masks, gradients."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from sciml.train import gradient_difference, huber, mean_absolute, mean_squared, relative_l2

LOSSES = [mean_squared, mean_absolute, huber, relative_l2, gradient_difference]
Masked = Callable[[Tensor, Tensor, Tensor], Tensor]


def field(seed: int, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape or (3, 2, 6, 5), generator=generator, dtype=torch.float64)


def mask(seed: int) -> Tensor:
    return (field(seed, 3, 1, 6, 5) > -0.5).double()


@pytest.mark.parametrize("loss", LOSSES)
def test_zero_where_the_prediction_is_right(loss: Masked) -> None:
    truth, wrong_in_solid = field(0), field(0) + (1 - mask(1)) * field(2)
    assert loss(wrong_in_solid, truth, mask(1)).item() == 0


@pytest.mark.parametrize("loss", LOSSES)
def test_no_gradient_reaches_the_solid(loss: Masked) -> None:
    prediction = field(3).requires_grad_()
    loss(prediction, field(0), mask(1)).backward()
    assert prediction.grad is not None
    solid = (mask(1) == 0).expand_as(prediction)
    assert not prediction.grad[solid].any()
    assert prediction.grad[~solid].any()


@pytest.mark.parametrize("loss", LOSSES)
def test_the_batch_is_the_mean_of_its_samples(loss: Masked) -> None:
    """So that the batch may be cut among processes, whatever each sample's mask leaves."""
    whole = loss(field(3), field(0), mask(1))
    parts = [loss(*(x[i : i + 1] for x in (field(3), field(0), mask(1)))) for i in range(3)]
    torch.testing.assert_close(whole, torch.stack(parts).mean())


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_agree_with_differences(loss: Masked) -> None:
    prediction = field(3).requires_grad_()
    torch.autograd.gradcheck(lambda p: loss(p, field(0), mask(1)), (prediction,))


@pytest.mark.parametrize("loss", LOSSES)
def test_an_empty_mask_gives_zero_and_no_nan(loss: Masked) -> None:
    prediction = field(3).requires_grad_()
    value = loss(prediction, field(0), torch.zeros(3, 1, 6, 5))
    value.backward()
    assert value.item() == 0
    assert prediction.grad is not None and not prediction.grad.any()


@pytest.mark.parametrize("loss", LOSSES)
def test_a_prediction_that_is_not_a_number_is_not_hidden(loss: Masked) -> None:
    prediction = field(3)
    prediction[1, 0, 2, 3] = torch.nan
    assert loss(prediction, field(0), torch.ones(3, 1, 6, 5)).isnan()


def test_relative_l2_is_scale_invariant_and_one_for_zero() -> None:
    value = relative_l2(field(3), field(0), mask(1))
    torch.testing.assert_close(relative_l2(7 * field(3), 7 * field(0), mask(1)), value)
    assert relative_l2(torch.zeros_like(field(0)), field(0)).item() == pytest.approx(1.0)


def test_relative_l2_has_a_gradient_of_zero_at_the_truth() -> None:
    prediction = field(0).requires_grad_()
    relative_l2(prediction, field(0)).backward()
    assert prediction.grad is not None and not prediction.grad.any()


def test_huber_lies_between_square_and_modulus() -> None:
    small, large = torch.tensor([[0.3]]), torch.tensor([[5.0]])
    zero = torch.zeros(1, 1)
    assert huber(small, zero).item() == pytest.approx(0.5 * 0.3**2)
    assert huber(large, zero, delta=2.0).item() == pytest.approx(2.0 * (5.0 - 1.0))


def test_gradient_difference_ignores_a_constant_and_measures_a_ramp() -> None:
    x = torch.arange(5.0).expand(1, 1, 6, 5).double()
    assert gradient_difference(field(0) + 3.0, field(0)).item() == pytest.approx(0.0, abs=1e-20)
    truth = torch.zeros(1, 1, 6, 5).double()
    assert gradient_difference(2 * x, truth).item() == pytest.approx(4.0)
