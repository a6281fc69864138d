"""From a signed distance to velocity and pressure: what surrounds a network so that it obeys.

Whatever the network inside, the velocity is exactly zero in the solid; with the stream-function
head its discrete divergence is zero too; and with symmetrisation a mirrored body has the mirrored
flow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["FlowNetwork", "Head", "Representation", "curl", "mirror"]

Representation = Literal["distance", "mask", "both"]
Head = Literal["fields", "stream_function"]

Image = Float[Tensor, "batch y x"]
Vector = Float[Tensor, "batch 2 y x"]

REACH = 0.5
"""Signed distances are given to the network in this length [m]; beyond it they are cut off."""


class FlowNetwork(nn.Module):
    r"""Velocity and pressure around a body in the tunnel, with U = 1 m/s and ρ = 1 kg/m³.

    A core network N maps images and two conditions, the logarithms of Re and of ν, to fields that
    are scaled by the spread s of the training data. With χ = 1 in the fluid and 0 in the solid,

    * `fields`: u = χ (e_x + s_u N_u), p = χ s_p N_p;
    * `stream_function`: u = ∇ × ψ on the corners of cells, ψ = c + g(d) (y + s_u N_ψ − c), where
      g vanishes on every corner of a solid cell and c is the mean of y + s_u N_ψ over the solid,
      so that div u = 0 and u = 0 in the solid, both exactly.

    Args:
        core: called with images [batch, channels, y, x] and conditions [batch, 2]; gives three
            fields, or two (ψ, p) for the stream function.
        representation: what the core sees of the body.
        head: what the core's fields mean.
        symmetric: in evaluation mode, average the core with its mirror image, which makes the
            network exactly equivariant under mirroring in y at twice the cost. (In training,
            mirrored samples do the same on average.)
    """

    velocity_scale: Tensor
    pressure_scale: Tensor

    def __init__(
        self,
        core: nn.Module,
        *,
        representation: Representation = "distance",
        head: Head = "fields",
        symmetric: bool = True,
    ) -> None:
        super().__init__()
        self.core, self.representation, self.symmetric = core, representation, symmetric
        self.head = head
        self.register_buffer("velocity_scale", torch.ones(2))
        self.register_buffer("pressure_scale", torch.ones(1))

    @staticmethod
    def channels(representation: Representation) -> int:
        """Images that the core sees: the body in one way or both, and the place along x and y."""
        return {"distance": 1, "mask": 1, "both": 2}[representation] + 2

    @staticmethod
    def fields(head: Head) -> int:
        """Fields that the core gives."""
        return {"fields": 3, "stream_function": 2}[head]

    def forward(
        self,
        signed_distance: Image,
        reynolds_number: Float[Tensor, " batch"],
        diameter: Float[Tensor, " batch"],
    ) -> tuple[Vector, Image]:
        """Velocity [m s-1] and pressure [Pa] from d [m], Re and L [m]."""
        velocity, pressure = self._once(signed_distance, reynolds_number, diameter)
        if self.symmetric and not self.training:
            flipped = self._once(signed_distance.flip(-2), reynolds_number, diameter)
            other = mirror(*flipped)
            velocity, pressure = (velocity + other[0]) / 2, (pressure + other[1]) / 2
        return velocity, pressure

    def _once(self, distance: Image, reynolds: Tensor, diameter: Tensor) -> tuple[Vector, Image]:
        conditions = torch.stack([reynolds.log() - 2.5, (diameter / reynolds).log() + 4], dim=-1)
        fields = self.core(self._images(distance), conditions)
        fluid = (distance > 0).to(fields.dtype)
        pressure = fluid * self.pressure_scale * fields[:, -1]
        if self.head == "fields":
            return fluid[:, None] * (self._inflow() + self._spread() * fields[:, :2]), pressure
        return curl(self._stream_function(distance, fields[:, 0])), pressure

    def _images(self, distance: Image) -> Float[Tensor, "batch channels y x"]:
        mask = (distance > 0).to(distance.dtype)
        scaled = (distance / REACH).clamp(-1, 1)
        body = {"distance": [scaled], "mask": [mask], "both": [scaled, mask]}[self.representation]
        ny, nx = distance.shape[-2:]
        y = (torch.arange(ny, device=distance.device, dtype=distance.dtype) + 0.5) / ny - 0.5
        x = (torch.arange(nx, device=distance.device, dtype=distance.dtype) + 0.5) / nx - 0.5
        places = [x.expand_as(distance), y[:, None].expand_as(distance)]
        return torch.stack([*body, *places], dim=1)

    def _inflow(self) -> Tensor:
        return self.velocity_scale.new_tensor([1.0, 0.0])[:, None, None]

    def _spread(self) -> Tensor:
        return self.velocity_scale[:, None, None]

    def _stream_function(self, distance: Image, field: Image) -> Float[Tensor, "batch y+1 x+1"]:
        """ψ in cells times m/s on the corners, constant on the body."""
        ny = distance.shape[-2]
        y = torch.arange(ny + 1, device=field.device, dtype=field.dtype)[:, None]
        free = y + ny * self.velocity_scale[0] * _corners(field)
        nearest = -functional.max_pool2d(-_ring(distance)[:, None], 2, stride=1)[:, 0]
        weight = (nearest * ny).clamp(min=0)
        weight = weight**2 / (1 + weight**2)
        solid = (nearest <= 0).to(field.dtype)
        count = solid.sum((-2, -1), keepdim=True).clamp(min=1)
        constant = (solid * free).sum((-2, -1), keepdim=True) / count
        return constant + weight * (free - constant)


def curl(
    stream_function: Float[Tensor, "batch y x"],
) -> Float[Tensor, "batch 2 y-1 x-1"]:
    """u = (∂ψ/∂y, −∂ψ/∂x) at the cell centres from ψ on their corners, in units of a cell.

    The net flux out of any square of 2 x 2 corners' faces is exactly zero: the divergence

    div u = (∂_x u_x + ∂_y u_y), with differences between corners averaged as here, telescopes.

    >>> psi = torch.arange(4.0)[:, None].expand(1, 4, 5)
    >>> curl(psi)[0, :, 0, 0]
    tensor([1., 0.])
    """
    upper, lower = stream_function[:, 1:], stream_function[:, :-1]
    rise = upper - lower
    right, left = stream_function[..., 1:], stream_function[..., :-1]
    fall = left - right
    ux = (rise[..., 1:] + rise[..., :-1]) / 2
    uy = (fall[:, 1:] + fall[:, :-1]) / 2
    return torch.stack([ux, uy], dim=1)


def mirror(velocity: Vector, pressure: Image) -> tuple[Vector, Image]:
    """The flow seen in a mirror across the tunnel: y ↦ −y, u_y ↦ −u_y.

    >>> u, p = mirror(torch.tensor([[[[1.0], [2.0]], [[3.0], [4.0]]]]), torch.zeros(1, 2, 1))
    >>> u.flatten().tolist()
    [2.0, 1.0, -4.0, -3.0]
    """
    flipped = velocity.flip(-2)
    return flipped * flipped.new_tensor([1.0, -1.0])[:, None, None], pressure.flip(-2)


def _ring(image: Image) -> Float[Tensor, "batch y+2 x+2"]:
    return functional.pad(image[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]


def _corners(image: Image) -> Float[Tensor, "batch y+1 x+1"]:
    """Values on the corners of cells: the mean of the four around."""
    return functional.avg_pool2d(_ring(image)[:, None], 2, stride=1)[:, 0]


Core = Callable[[int, int], nn.Module]
"""Makes a core network from its channels in and fields out."""
