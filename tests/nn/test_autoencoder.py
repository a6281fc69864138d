"""Networks that narrow to latents: any grid, every parameter reached, parts that add up."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.distributions import Normal
from torch.distributions import kl_divergence as known_divergence

from sciml.nn.autoencoder import AutoencoderNetwork, ConvDecoder, ConvEncoder, kl_divergence

WIDTHS = (4, 6, 6)


def convolutional(shape: tuple[int, ...], latents: int, *, apart: bool) -> AutoencoderNetwork:
    count, each = (latents, 1) if apart else (1, latents)
    return AutoencoderNetwork(
        ConvEncoder(2, shape, latents, widths=WIDTHS),
        [ConvDecoder(each, 2, shape, widths=WIDTHS) for _ in range(count)],
        latents=latents,
    )


@pytest.mark.parametrize("shape", [(33,), (24, 32), (17, 9), (1, 40), (6, 7, 5)])
@pytest.mark.parametrize("apart", [False, True])
def test_any_grid_comes_back_and_every_parameter_is_reached(shape, apart, rng):
    net = convolutional(shape, 3, apart=apart)
    x = torch.from_numpy(rng.standard_normal((4, 2, *shape))).float()
    found, mean, log_variance = net(x)
    assert found.shape == x.shape and mean.shape == (4, 3)
    assert bool((log_variance == -torch.inf).all())
    found.square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and bool(parameter.grad.abs().sum() > 0), name


def test_parts_add_up_and_each_hears_one_latent_alone(rng):
    net = convolutional((12, 8), 3, apart=True).double()
    z = torch.from_numpy(rng.standard_normal((5, 3)))
    torch.testing.assert_close(net.parts(z).sum(1), net.decode(z))
    other = z.clone()
    other[:, 1] += 1.0
    changed = (net.parts(other) - net.parts(z)).abs().amax((0, 2, 3, 4))
    assert changed[1] > 0 and changed[0] == changed[2] == 0


def test_divergence_is_the_known_one(rng):
    mean, log_variance = torch.from_numpy(rng.standard_normal((2, 50, 3)))
    normal = Normal(mean, torch.exp(0.5 * log_variance))
    wanted = known_divergence(normal, Normal(0.0, 1.0)).mean()
    torch.testing.assert_close(kl_divergence(mean, log_variance), wanted)
    assert float(kl_divergence(torch.zeros(4, 2), torch.zeros(4, 2))) == 0


def test_latents_are_drawn_in_training_alone(rng):
    """The field of a linear decoder has the variance that the encoder says."""
    encoder = nn.Linear(3, 2, bias=False).double()
    encoder.weight.data.copy_(torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]))
    decoder = nn.Linear(1, 3, bias=False).double()
    net = AutoencoderNetwork(encoder, [decoder], latents=1, variational=True)
    x = torch.tensor([[0.3, 0.0, -1.0]]).double().expand(40_000, 3)
    with torch.random.fork_rng():
        torch.manual_seed(int(rng.integers(2**31)))
        drawn = net(x)[0] / decoder.weight[:, 0]
    deviation = torch.exp(torch.tensor(-0.5))
    torch.testing.assert_close(drawn.std(0), deviation.expand(3).double(), rtol=0.03, atol=0)
    torch.testing.assert_close(drawn.mean(0), torch.full((3,), 0.3).double(), rtol=0, atol=0.02)
    net.eval()
    torch.testing.assert_close(net(x[:1])[0], net.decode(torch.tensor([[0.3]]).double()))


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="2 decoders were given for 3 latents"):
        AutoencoderNetwork(nn.Linear(5, 3), [nn.Linear(1, 5)] * 2, latents=3)
    with pytest.raises(ValueError, match="expected one to three axes"):
        ConvEncoder(1, (4, 4, 4, 4), 2)
    with pytest.raises(ValueError, match="no widths were given"):
        ConvDecoder(2, 1, (8, 8), widths=())
