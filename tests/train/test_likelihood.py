"""Gaussian likelihood: densities of scipy and torch, margins, the covariance that is learned."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

from sciml.train import LearnedCovariance, TrainOptions, cholesky_factor, fit, gaussian_nll


def normal(rng: np.random.Generator, *shape: int) -> Tensor:
    return torch.from_numpy(rng.normal(size=shape))


def factors(rng: np.random.Generator, *shape: int, components: int = 3) -> Tensor:
    return cholesky_factor(normal(rng, *shape, components * (components + 1) // 2))


def test_one_covariance_agrees_with_scipy(rng: np.random.Generator) -> None:
    mean, truth, factor = normal(rng, 7, 3), normal(rng, 7, 3), factors(rng)
    covariance = (factor @ factor.T).numpy()
    expected = -np.mean(
        [multivariate_normal(m, covariance).logpdf(t) for m, t in zip(mean, truth, strict=True)]
    )
    assert gaussian_nll(mean, truth, factor).item() == pytest.approx(expected, rel=1e-10)


def test_a_covariance_for_every_sample_agrees_with_torch(rng: np.random.Generator) -> None:
    mean, truth, factor = normal(rng, 4, 5, 3), normal(rng, 4, 5, 3), factors(rng, 4, 5)
    expected = -MultivariateNormal(mean, scale_tril=factor).log_prob(truth).mean()
    torch.testing.assert_close(gaussian_nll(mean, truth, factor), expected)


def test_missing_components_are_integrated_out(rng: np.random.Generator) -> None:
    mean, truth, factor = normal(rng, 3, 3), normal(rng, 3, 3), factors(rng)
    mask = torch.tensor([[1.0, 0.0, 1.0], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]]).double()
    hidden = torch.where(mask > 0, truth, torch.nan)
    covariance = (factor @ factor.T).numpy()
    keep = [0, 2]
    part = multivariate_normal(mean[0, keep], covariance[np.ix_(keep, keep)])
    whole = multivariate_normal(mean[1], covariance)
    expected = -(part.logpdf(truth[0, keep]) + whole.logpdf(truth[1])) / 3
    assert gaussian_nll(mean, hidden, factor, mask).item() == pytest.approx(expected, rel=1e-10)


def test_the_unit_adds_its_logarithm(rng: np.random.Generator) -> None:
    mean, truth, factor = normal(rng, 6, 3), normal(rng, 6, 3), factors(rng)
    value = gaussian_nll(mean, truth, factor)
    scaled = gaussian_nll(10 * mean, 10 * truth, 10 * factor)
    torch.testing.assert_close(scaled, value + 3 * math.log(10))


@pytest.mark.parametrize("masked", [False, True])
def test_gradients_agree_with_differences(rng: np.random.Generator, masked: bool) -> None:
    mean, truth = normal(rng, 4, 3).requires_grad_(), normal(rng, 4, 3)
    entries = normal(rng, 6).requires_grad_()
    mask = torch.from_numpy(rng.uniform(size=(4, 3)) > 0.4) if masked else None
    torch.autograd.gradcheck(
        lambda m, e: gaussian_nll(m, truth, cholesky_factor(e), mask), (mean, entries)
    )


def test_every_covariance_has_entries(rng: np.random.Generator) -> None:
    wanted = factors(rng, components=4)
    below = torch.tril_indices(4, 4, -1)
    diagonal = (wanted.diagonal() - 1e-6).expm1().log()
    entries = torch.cat([diagonal, wanted[below[0], below[1]]])
    torch.testing.assert_close(cholesky_factor(entries), wanted)
    assert (cholesky_factor(-1e3 * torch.ones(10)).diagonal() >= 1e-6).all()


class Noise(nn.Module):
    """Mean and covariance of a cloud."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(2))
        self.covariance = LearnedCovariance(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.mean.expand_as(x)


def test_the_covariance_of_a_cloud_is_learned(rng: np.random.Generator) -> None:
    """The likelihood is largest at the sample's own mean and covariance."""
    points = normal(rng, 200, 2) @ torch.tensor([[2.0, 0.0], [1.5, 0.5]]).double().T + 3.0
    net = Noise().double()

    def loss(net: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
        assert isinstance(net.covariance, LearnedCovariance)
        return gaussian_nll(net(batch[0]), batch[0], net.covariance())

    options = TrainOptions(epochs=30, batch_size=200, optimiser="lbfgs", device="cpu")
    fit(net, loss, [(point,) for point in points], options=options)
    torch.testing.assert_close(net.mean.detach(), points.mean(dim=0), rtol=1e-6, atol=1e-6)
    expected = points.T.cov(correction=0)
    torch.testing.assert_close(net.covariance.covariance().detach(), expected, rtol=1e-5, atol=0)


def test_what_is_no_covariance_is_refused() -> None:
    zeros = torch.zeros(1, 2)
    with pytest.raises(ValueError, match="diagonal goes down to -1"):
        gaussian_nll(zeros, zeros, torch.diag(torch.tensor([1.0, -1.0])))
    with pytest.raises(ValueError, match="4 numbers form no triangle"):
        cholesky_factor(torch.zeros(4))
    with pytest.raises(ValueError, match="deviation is 0"):
        LearnedCovariance(2, deviation=0.0)
