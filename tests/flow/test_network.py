"""What holds for the flow of any network, trained or not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr
from torch import Tensor

from sciml.flow import (
    EncoderDecoderOptions,
    FlowNetwork,
    Grid,
    UNetOptions,
    curl,
    divergence,
    mirror,
)
from sciml.flow.shapes import ellipse, rectangle

CORES = {
    "unet": UNetOptions(width=8, depth=2, multipliers=(1, 2, 2)),
    "guo": EncoderDecoderOptions(channels=(8, 12), strides=(4, 2), mixers=1),
}
HEADS = ("fields", "stream_function")
SIZES = ((32, 64), (37, 51))


def network(rng, *, head="fields", representation="distance", symmetric=True, core="unet"):
    """A network in double precision with random weights everywhere, also where they begin at 0."""
    torch.manual_seed(int(rng.integers(2**31)))
    channels = FlowNetwork.channels(representation), FlowNetwork.fields(head)
    net = FlowNetwork(
        CORES[core].build(*channels), representation=representation, head=head, symmetric=symmetric
    )
    for parameter in net.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return net.double().eval()


def question(ny=32, nx=64) -> tuple[Tensor, Tensor, Tensor]:
    """Signed distance, Re and L of two bodies, the second of two parts."""
    grid = Grid(shape=(ny, nx), spacing=1 / ny)
    centre = nx / ny / 2
    first = ellipse(0.3, 0.2).rotate(0.6).translate(0.8 * centre, 0.45)
    second = first.union(rectangle(0.2, 0.1).translate(1.2 * centre, 0.8))
    distance = np.stack([grid.signed_distance(shape) for shape in (first, second)])
    numbers = torch.tensor([[20.0, 8.0], [0.3, 0.25]], dtype=torch.float64)
    return torch.from_numpy(distance), numbers[0], numbers[1]


def labelled(distance: Tensor, velocity: Tensor) -> xr.Dataset:
    ny, nx = distance.shape[-2:]
    image = ("sample", "y", "x")
    return xr.Dataset(
        {
            "signed_distance": (image, distance.numpy()),
            "velocity": (("sample", "component", "y", "x"), velocity.detach().numpy()),
        },
        coords={"y": (np.arange(ny) + 0.5) / ny, "x": (np.arange(nx) + 0.5) / ny},
    )


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("size", SIZES)
def test_flow_is_exactly_at_rest_in_the_solid(rng, core, head, size):
    net = network(rng, head=head, core=core)
    distance, *numbers = question(*size)
    for mode in (net.eval(), net.train()):
        velocity, pressure = mode(distance, *numbers)
        solid = distance <= 0
        assert velocity.shape == (2, 2, *size) and pressure.shape == (2, *size)
        assert (velocity.movedim(1, -1)[solid] == 0).all() and (pressure[solid] == 0).all()
        assert (velocity.movedim(1, -1)[~solid] != 0).any(-1).float().mean() > 0.9


@pytest.mark.parametrize("size", SIZES)
def test_velocity_from_a_stream_function_has_no_divergence(rng, size):
    distance, *numbers = question(*size)
    free, constrained = (
        divergence(labelled(distance, network(rng, head=head)(distance, *numbers)[0]))
        for head in HEADS
    )
    assert (constrained < 1e-11).all()
    assert (free > 0.1).all()


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("size", SIZES)
def test_mirrored_body_has_exactly_the_mirrored_flow(rng, core, head, size):
    net = network(rng, head=head, core=core)
    distance, *numbers = question(*size)
    mirrored = net(distance.flip(-2), *numbers)
    expected = mirror(*net(distance, *numbers))
    assert torch.equal(mirrored[0], expected[0]) and torch.equal(mirrored[1], expected[1])


def test_symmetry_is_made_and_not_there_before(rng):
    net = network(rng, symmetric=False)
    distance, *numbers = question()
    expected = mirror(*net(distance, *numbers))[0]
    assert (net(distance.flip(-2), *numbers)[0] - expected).abs().max() > 1e-3


@pytest.mark.parametrize("representation", ["distance", "mask", "both"])
def test_core_sees_the_body_as_asked_and_the_place(rng, representation):
    net = network(rng, representation=representation)
    distance, *_ = question()
    images = net._images(distance)
    assert images.shape[1] == FlowNetwork.channels(representation)
    *body, x, y = images.unbind(1)
    mask = (distance > 0).double()
    expected = {"distance": [(distance / 0.5).clamp(-1, 1)], "mask": [mask]}
    expected["both"] = [*expected["distance"], mask]
    for image, wanted in zip(body, expected[representation], strict=True):
        torch.testing.assert_close(image, wanted)
    assert torch.equal(x, x[:1, :1].expand_as(x)) and torch.equal(x, -x.flip(-1))
    assert torch.equal(y, y[:1, :, :1].expand_as(y)) and torch.equal(y, -y.flip(-2))


def test_mask_does_not_tell_how_far_the_body_is(rng):
    distance, *numbers = question()
    other = distance.sign() * distance.abs() ** 0.5
    for representation, same in (("mask", True), ("distance", False), ("both", False)):
        net = network(rng, representation=representation)
        pair = net(distance, *numbers)[0], net(other, *numbers)[0]
        assert torch.equal(*pair) is same


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("head", HEADS)
def test_gradient_reaches_every_parameter(rng, core, head):
    net = network(rng, head=head, core=core).train()
    velocity, pressure = net(*question())
    (velocity.square().sum() + pressure.square().sum()).backward()
    # A stream function is defined up to a constant, which one core adds by a bias of its own.
    gauge = {("stream_function", "guo"): "core.decoders.0.3.bias"}.get((head, core))
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert (parameter.grad != 0).any() or name == gauge, name


@pytest.mark.parametrize("index", [0, 1, 2])
def test_flow_depends_on_every_input(rng, index):
    net = network(rng)
    inputs = [values.requires_grad_(i == index) for i, values in enumerate(question())]
    net(*inputs)[0].square().sum().backward()
    assert inputs[index].grad is not None and (inputs[index].grad != 0).any()


def test_curl_is_exact_on_polynomials_of_second_degree():
    y, x = torch.meshgrid(torch.arange(7.0), torch.arange(9.0), indexing="ij")
    yc, xc = torch.meshgrid(torch.arange(6.0) + 0.5, torch.arange(8.0) + 0.5, indexing="ij")
    velocity = curl((2 * x * y + x**2 - 3 * y**2 + y)[None])
    expected = torch.stack([2 * xc - 6 * yc + 1, -2 * yc - 2 * xc])
    torch.testing.assert_close(velocity[0], expected)


def test_curl_carries_what_the_stream_function_says_through_a_section(rng):
    psi = torch.from_numpy(rng.normal(size=(1, 12, 9)))
    flux = curl(psi)[0, 0].sum(0)
    ends = psi[0, -1] - psi[0, 0]
    torch.testing.assert_close(flux, (ends[1:] + ends[:-1]) / 2)


def test_mirrored_stream_function_with_the_other_sign_is_the_mirrored_flow(rng):
    psi = torch.from_numpy(rng.normal(size=(2, 12, 9)))
    expected, _ = mirror(curl(psi), torch.zeros(2, 11, 8, dtype=psi.dtype))
    torch.testing.assert_close(curl(-psi.flip(-2)), expected)


def test_mirror_of_the_mirror_is_the_flow(rng):
    velocity, pressure = torch.from_numpy(rng.normal(size=(2, 2, 5, 7))), torch.ones(2, 5, 7)
    twice = mirror(*mirror(velocity, pressure))
    assert torch.equal(twice[0], velocity) and torch.equal(twice[1], pressure)
