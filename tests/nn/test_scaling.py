"""Scalings: exact inverse, fitted statistics, constant channels, state."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sciml.nn import BoxCox, MinMax, Scaling, Standardize

RNG = np.random.default_rng(3)
VALUES = RNG.normal(5.0, [[[2.0]], [[300.0]]], size=(16, 2, 6, 5))


@pytest.mark.parametrize("cls", [Standardize, MinMax])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_inverse_is_exact_to_rounding(cls: type[Scaling], dtype: torch.dtype) -> None:
    scaling = cls(2).fit(VALUES)
    x = torch.as_tensor(VALUES, dtype=dtype)
    z = scaling(x)
    assert z.dtype == dtype
    bound = 4 * torch.finfo(dtype).eps * x.abs().amax()
    assert (scaling.inverse(z) - x).abs().max() <= bound


def test_standardize_gives_mean_zero_and_variance_one() -> None:
    z = Standardize(2).fit(VALUES)(torch.as_tensor(VALUES))
    torch.testing.assert_close(z.mean((0, 2, 3)), torch.zeros(2).double(), atol=1e-14, rtol=0)
    torch.testing.assert_close(z.square().mean((0, 2, 3)), torch.ones(2).double())


def test_without_centering_zero_stays_zero_and_odd_stays_odd() -> None:
    scaling = Standardize(2).fit(VALUES, center=False)
    x = torch.as_tensor(VALUES)
    assert torch.equal(scaling(-x), -scaling(x))
    torch.testing.assert_close(scaling(x).square().mean((0, 2, 3)), torch.ones(2).double())


def test_min_max_gives_the_unit_interval() -> None:
    z = MinMax(2).fit(VALUES)(torch.as_tensor(VALUES))
    torch.testing.assert_close(z.amin((0, 2, 3)), -torch.ones(2).double())
    torch.testing.assert_close(z.amax((0, 2, 3)), torch.ones(2).double())


def test_only_what_the_mask_keeps_counts() -> None:
    spoiled, kept = VALUES.copy(), np.ones((16, 1, 6, 5), dtype=bool)
    spoiled[:, :, 0], kept[:, :, 0] = np.nan, False
    masked = Standardize(2).fit(spoiled, where=kept)
    plain = Standardize(2).fit(VALUES[:, :, 1:])
    torch.testing.assert_close(masked.scale, plain.scale, rtol=1e-14, atol=0)


@pytest.mark.parametrize("cls", [Standardize, MinMax])
@pytest.mark.parametrize("constant", [0.0, 7.3, -1e30])
def test_a_constant_channel_maps_to_zero_and_back(cls: type[Scaling], constant: float) -> None:
    x = torch.full((5, 1), constant, dtype=torch.float64)
    scaling = cls(1).fit(x)
    assert scaling(x).abs().max() <= 1e-15 * abs(constant)
    torch.testing.assert_close(scaling.inverse(scaling(x)), x, rtol=1e-15, atol=0)


def test_a_small_spread_on_a_large_offset_survives_in_float64() -> None:
    x = torch.as_tensor(1e5 + RNG.normal(0, 1e-4, size=(64, 1)))
    assert Standardize(1).fit(x)(x).std().item() == pytest.approx(1.0, rel=0.02)


def test_the_scaling_travels_with_the_weights() -> None:
    fitted, fresh = Standardize(2).fit(VALUES), Standardize(2)
    fresh.load_state_dict(fitted.state_dict())
    x = torch.as_tensor(VALUES)
    assert torch.equal(fresh(x), fitted(x))
    assert not list(fitted.parameters())


def test_bad_values_are_refused() -> None:
    with pytest.raises(ValueError, match="channel 0 has values that are not finite"):
        Standardize(1).fit(np.array([[1.0], [np.nan]]))
    with pytest.raises(ValueError, match="channel 0 has no value"):
        MinMax(1).fit(np.ones((3, 1)), where=np.zeros((3, 1), dtype=bool))
    with pytest.raises(ValueError, match="3 channels, expected 2"):
        Standardize(2)(torch.ones(4, 3))


@pytest.mark.parametrize("exponent", [0.0, 0.1, 0.5, 1.0])
def test_the_power_transform_is_that_of_box_and_cox(exponent: float) -> None:
    transform = BoxCox(exponent)
    x = torch.as_tensor(10 ** RNG.uniform(-20, 2, 200))
    expected = x.log() if exponent == 0 else (x**exponent - 1) / exponent
    torch.testing.assert_close(transform(x), expected, rtol=1e-13, atol=1e-15)
    back = transform.inverse(transform(x))
    torch.testing.assert_close(back, x, rtol=1e-11, atol=1e-15)
    assert bool((transform(x.sort().values).diff() >= 0).all())


def test_powers_tend_to_the_logarithm() -> None:
    x = torch.as_tensor(10 ** RNG.uniform(-3, 3, 50))
    torch.testing.assert_close(BoxCox(1e-9)(x), x.log(), rtol=1e-7, atol=1e-7)


def test_zero_and_less_stay_finite_and_never_come_back_negative() -> None:
    transform = BoxCox(0.1)
    x = torch.tensor([0.0, -1e-20], dtype=torch.float64, requires_grad=True)
    z = transform(x)
    z.sum().backward()
    assert bool(z.isfinite().all()) and x.grad is not None and bool(x.grad.isfinite().all())
    assert float(transform.inverse(torch.tensor(-20.0))) == 0.0
    with pytest.raises(ValueError, match="give an exponent from 0 to 1"):
        BoxCox(-0.5)
