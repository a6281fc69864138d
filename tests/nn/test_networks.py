"""Networks: any size, every parameter reached, symmetries by construction, receptive field."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from sciml.nn import MLP, EncoderDecoder, ResidualBlock, UNet, convolution


def awake(net: nn.Module) -> nn.Module:
    """Give the layers that start at zero random weights, so that every path carries a signal."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in net.parameters():
            if not parameter.any():
                parameter.normal_(std=0.1, generator=generator)
    return net.double()


def field(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "unet": lambda: UNet(2, 3, width=8, depth=2, conditions=1),
    "unet_patch": lambda: UNet(2, 3, width=8, depth=2, patch=2, norm="group", conditions=1),
    "encoder_decoder": lambda: EncoderDecoder(
        2, 3, channels=(8, 8), strides=(4, 2), activation="tanh", conditions=1
    ),
}


@pytest.fixture(params=NETWORKS)
def net(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    return awake(NETWORKS[request.param]())


@pytest.mark.parametrize(("height", "width"), [(16, 16), (17, 31), (1, 40), (33, 8)])
def test_any_size_comes_back(net: nn.Module, height: int, width: int) -> None:
    out = net(field(2, 2, height, width), field(2, 1))
    assert out.shape == (2, 3, height, width)
    assert out.isfinite().all()


def test_every_parameter_gets_a_gradient(net: nn.Module) -> None:
    net(field(2, 2, 16, 16), field(2, 1)).square().sum().backward()
    missing = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert not missing


def test_samples_do_not_see_each_other(net: nn.Module) -> None:
    x, conditions, order = field(4, 2, 16, 24), field(4, 1), torch.tensor([2, 0, 3, 1])
    permuted = net(x[order], conditions[order])
    torch.testing.assert_close(permuted, net(x, conditions)[order], rtol=1e-12, atol=1e-12)


def test_conditions_change_the_output(net: nn.Module) -> None:
    x = field(1, 2, 16, 16)
    change = net(x, torch.ones(1, 1).double()) - net(x, torch.zeros(1, 1).double())
    assert change.abs().max() > 1e-4


def test_conditions_must_be_as_built(net: nn.Module) -> None:
    with pytest.raises(ValueError, match=r"0 conditions .* expected 1"):
        net(field(1, 2, 16, 16))
    with pytest.raises(ValueError, match=r"2 conditions .* expected 1"):
        net(field(1, 2, 16, 16), field(1, 2))


@pytest.mark.parametrize("name", ["unet", "encoder_decoder"])
def test_a_shift_by_the_multiple_shifts_the_output(name: str) -> None:
    """f(T x) = T f(x) away from the border, by shifts of whole coarse pixels."""
    torch.manual_seed(0)
    net = awake(
        UNet(2, 1, width=4, depth=2)
        if name == "unet"
        else EncoderDecoder(2, 1, channels=(4, 4), strides=(2, 2))
    )
    x = torch.zeros(1, 2, 128, 128, dtype=torch.float64)
    x[..., 60:66, 60:66] = field(1, 2, 6, 6)
    shifted = net(x.roll((4, 8), dims=(-2, -1)))
    inner = (..., slice(48, 84), slice(48, 84))
    expected = net(x).roll((4, 8), dims=(-2, -1))
    torch.testing.assert_close(shifted[inner], expected[inner], rtol=1e-10, atol=1e-12)
    assert (net(x)[inner] - shifted[inner]).abs().max() > 1e-3


def test_odd_sizes_are_the_input_repeated_at_the_border() -> None:
    """A 9x9 image is what the network makes of it with its last row and column repeated."""
    torch.manual_seed(0)
    net = awake(UNet(1, 1, width=4, depth=1, padding="replicate"))
    x = field(1, 1, 9, 9)
    padded = torch.nn.functional.pad(x, (0, 1, 0, 1), mode="replicate")
    assert torch.equal(net(x), net(padded)[..., :9, :9])


def seen(net: nn.Module, size: int, pixel: int) -> tuple[int, int]:
    """Rows and columns of the input that reach the output's pixel on the diagonal."""
    x = field(1, 1, size, size).requires_grad_()
    net(x)[0, 0, pixel, pixel].backward()
    assert x.grad is not None
    rows, columns = x.grad[0, 0].nonzero().unbind(1)
    return int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1


@pytest.mark.parametrize(("depth", "blocks", "patch"), [(1, 1, 1), (2, 1, 1), (1, 2, 2), (3, 1, 1)])
def test_the_receptive_field_is_what_the_network_claims(
    depth: int, blocks: int, patch: int
) -> None:
    net = awake(UNet(1, 1, width=2, depth=depth, blocks=blocks, patch=patch, activation="tanh"))
    middle = net.multiple * (net.receptive_field // net.multiple + 1)
    sizes = {seen(net, 2 * middle, middle + i) for i in range(net.multiple)}
    assert max(sizes) == (net.receptive_field, net.receptive_field)


def test_a_new_residual_block_is_the_identity() -> None:
    x = field(1, 8, 5, 7)
    assert torch.equal(ResidualBlock(8, norm="group").double()(x), x)


def test_replicated_borders_keep_a_constant_constant() -> None:
    layer = convolution(1, 1, kernel=5, padding="replicate").double()
    out = layer(torch.ones(1, 1, 8, 8).double())
    torch.testing.assert_close(out, out[0, 0, 4, 4].expand_as(out))


def test_an_mlp_without_hidden_layers_is_affine() -> None:
    net = MLP(3, 2, hidden=()).double()
    a, b = field(4, 3), field(4, 3).flip(0)
    torch.testing.assert_close(net(a + b) + net(torch.zeros_like(a)), net(a) + net(b))


def test_wrong_options_are_refused() -> None:
    with pytest.raises(ValueError, match="kernel size is 4"):
        convolution(1, 1, kernel=4)
    with pytest.raises(ValueError, match=r"depth is 0"):
        UNet(1, 1, depth=0)
    with pytest.raises(ValueError, match=r"2 multipliers .* expected 4"):
        UNet(1, 1, depth=3, multipliers=(1, 2))
    with pytest.raises(ValueError, match="one of each for every stage"):
        EncoderDecoder(1, 1, channels=(8,), strides=(4, 4))
