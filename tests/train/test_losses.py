"""Losses: closed forms, masks, gradients."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from sciml.train import (
    gradient_difference,
    huber,
    mean_absolute,
    mean_power,
    mean_squared,
    relative_l2,
)

CUBE = partial(mean_power, order=3.0)
LOSSES = [mean_squared, mean_absolute, huber, relative_l2, gradient_difference, CUBE]
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


@pytest.mark.parametrize("order", [1.0, 1.5, 4.0])
def test_mean_power_is_a_norm_to_its_power(order: float) -> None:
    u, v, zero = field(0)[:1], field(3)[:1], torch.zeros_like(field(0)[:1])

    def norm(values: Tensor) -> float:
        return mean_power(values, zero, order=order).item() ** (1 / order)

    expected = torch.linalg.vector_norm(u, ord=order).item() / u.numel() ** (1 / order)
    assert norm(u) == pytest.approx(expected, rel=1e-12)
    assert norm(-3 * u) == pytest.approx(3 * norm(u), rel=1e-12)
    assert norm(u + v) <= norm(u) + norm(v)


def test_mean_power_holds_the_mean_square_and_the_mean_modulus() -> None:
    u, v, m = field(0), field(3), mask(1)
    torch.testing.assert_close(mean_power(u, v, m, order=2.0), mean_squared(u, v, m))
    torch.testing.assert_close(mean_power(u, v, m, order=1.0), mean_absolute(u, v, m))
    with pytest.raises(ValueError, match=r"order is 0\.5"):
        mean_power(u, v, order=0.5)
