"""The surrogate of steady flow past a body."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, final

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from sciml.data import Samples
from sciml.flow.fields import images, label_fields
from sciml.flow.forces import force_on_body
from sciml.flow.network import FlowNetwork, Head, Representation
from sciml.flow.readers import read_shape
from sciml.flow.tunnel import Tunnel, flow_inputs
from sciml.nn import EncoderDecoder, UNet
from sciml.surrogate import Surrogate, extremes
from sciml.train import Batch, Dataset
from sciml.train.losses import relative_l2

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["EncoderDecoderOptions", "SteadyFlow", "SteadyFlowOptions", "UNetOptions"]

BATCH = 16
"""Samples that `predict` evaluates together."""


@dataclass(frozen=True, kw_only=True)
class UNetOptions:
    """A residual U-Net; see :class:`sciml.nn.UNet`."""

    width: int = 32
    depth: int = 4
    blocks: int = 1
    patch: int = 2
    multipliers: tuple[int, ...] = (1, 2, 3, 4, 4)

    def build(self, inputs: int, outputs: int) -> nn.Module:
        return UNet(
            inputs,
            outputs,
            width=self.width,
            depth=self.depth,
            blocks=self.blocks,
            patch=self.patch,
            multipliers=self.multipliers,
            conditions=2,
        )


@dataclass(frozen=True, kw_only=True)
class EncoderDecoderOptions:
    """The network of Guo, Li and Iorio (2016); see :class:`sciml.nn.EncoderDecoder`."""

    channels: tuple[int, ...] = (128, 512)
    strides: tuple[int, ...] = (16, 4)
    mixers: int = 2

    def build(self, inputs: int, outputs: int) -> nn.Module:
        return EncoderDecoder(
            inputs,
            outputs,
            channels=self.channels,
            strides=self.strides,
            mixers=self.mixers,
            conditions=2,
        )


@dataclass(frozen=True, kw_only=True)
class SteadyFlowOptions:
    """What a :class:`SteadyFlow` is made of.

    Attributes:
        core: the network inside.
        representation: what it sees of the body: its signed distance, its mask, or both.
        head: `fields`, or a `stream_function` for a velocity free of divergence.
        symmetric: exact mirror symmetry, at twice the cost.
        augment: mirror half of the training samples, afresh in each epoch.
        pressure_weight, force_weight: of the relative errors of pressure and force in the loss,
            beside that of velocity.
    """

    core: UNetOptions | EncoderDecoderOptions = field(default_factory=UNetOptions)
    representation: Representation = "distance"
    head: Head = "fields"
    symmetric: bool = True
    augment: bool = True
    pressure_weight: float = 0.3
    force_weight: float = 0.1


@final
class SteadyFlow(Surrogate[SteadyFlowOptions]):
    """Steady laminar flow past a body in a channel, from its signed distance.

    The channel is 2 m long and 1 m high, with a uniform inlet of 1 m/s on the left, slip sides
    and an outlet on the right; the density is 1 kg/m³. Other inlet velocities U, densities ρ and
    heights H follow by similarity: velocities times U, pressures times ρU².
    """

    inputs: ClassVar = {"signed_distance": "m", "reynolds_number": "1", "diameter": "m"}
    outputs: ClassVar = {"velocity": "m s-1", "pressure": "Pa"}

    def build(self) -> nn.Module:
        options = self.options
        channels = FlowNetwork.channels(options.representation)
        return FlowNetwork(
            options.core.build(channels, FlowNetwork.fields(options.head)),
            representation=options.representation,
            head=options.head,
            symmetric=options.symmetric,
        )

    def calibrate(self, net: nn.Module, train: xr.Dataset) -> None:
        """Root mean squares of u − e_x and p over the fluid of up to 64 samples."""
        few = train.isel(sample=slice(None, None, max(1, train.sizes["sample"] // 64))).load()
        fluid = few["signed_distance"].values > 0
        inflow = np.array([1.0, 0.0])[:, None, None]
        velocity = images(few["velocity"]) - inflow
        net.velocity_scale.copy_(_root_mean_square(velocity, fluid[:, None]))  # type: ignore[union-attr,operator]
        net.pressure_scale.copy_(  # type: ignore[union-attr,operator]
            _root_mean_square(few["pressure"].values[:, None], fluid[:, None])
        )

    def samples(self, ds: xr.Dataset) -> Dataset:
        names = ("signed_distance", "reynolds_number", "diameter", "velocity", "pressure", "force")
        return Samples(ds, names)

    def loss(self, net: nn.Module, batch: Batch) -> Tensor:
        distance, reynolds, diameter, velocity, pressure, force = batch
        if self.options.augment and net.training:
            distance, velocity, pressure, force = _mirror_some(distance, velocity, pressure, force)
        fluid = (distance > 0).to(velocity.dtype)
        got_velocity, got_pressure = net(distance, reynolds, diameter)
        total = relative_l2(got_velocity, velocity, fluid[:, None])
        total = total + self.options.pressure_weight * relative_l2(got_pressure, pressure, fluid)
        if self.options.force_weight:
            got = force_on_body(
                got_velocity,
                got_pressure,
                distance,
                diameter / reynolds,
                spacing=_spacing(distance),
            )
            total = total + self.options.force_weight * relative_l2(got, force)
        return total

    def summaries(self, ds: xr.Dataset) -> xr.Dataset:
        return extremes(ds, self.inputs)

    def evaluate(self, *fields: Tensor) -> tuple[Tensor, ...]:
        """Velocity [batch, 2, y, x] and pressure [batch, y, x] from d, Re and L."""
        with torch.no_grad():
            return self.network(*fields)

    @staticmethod
    def read_inputs(
        path: str | Path,
        *,
        reynolds_number: float = 20.0,
        diameter: float = 0.25,
        angle: float = 0.0,
        x: float = 0.6,
        y: float = 0.5,
        cells: int = 128,
    ) -> xr.Dataset:
        """A body read from a file and put into the tunnel, as one sample to predict.

        Args:
            path: an outline (`.dat`, `.csv`, `.txt`), a mask (`.png`, `.npy`, `.npz`), a section
                (`.stl`) or a shape (`.json`).
            reynolds_number: Re = U L / ν with L the largest extent.
            diameter: L [m]; the body is scaled to it.
            angle: by which the body is turned, nose up, in degrees.
            x, y: where its centroid is put [m].
            cells: across the tunnel's height of 1 m.

        Raises:
            ValueError: a file without a body, or a body that does not stand in the tunnel.
        """
        shape = read_shape(path)
        shape = shape.scale(diameter / shape.diameter).rotate(-math.radians(angle))
        shape = shape.translate(x - shape.centroid[0], y - shape.centroid[1])
        return flow_inputs(shape, reynolds_number, Tunnel(cells=cells).grid)

    @staticmethod
    def draw(ds: xr.Dataset) -> Figure:
        """Signed distance, speed with streamlines and pressure of the first sample."""
        from sciml.flow.figures import flow_picture

        return flow_picture(ds)

    def _predict(self, ds: xr.Dataset) -> xr.Dataset:
        device = next(self.network.parameters()).device
        parts: list[tuple[Tensor, ...]] = []
        for start in range(0, ds.sizes["sample"], BATCH):
            part = ds.isel(sample=slice(start, start + BATCH))
            fields = (
                torch.from_numpy(part[name].values.astype(np.float32)).to(device)
                for name in self.inputs
            )
            parts.append(tuple(f.cpu() for f in self.evaluate(*fields)))
        velocity, pressure = (torch.cat(p).numpy() for p in zip(*parts, strict=True))
        return label_fields(ds, velocity, pressure)


def _root_mean_square(values: np.ndarray, where: np.ndarray) -> Tensor:
    where = np.broadcast_to(where, values.shape)
    mean = np.square(values, dtype=np.float64).mean((0, 2, 3), where=where)
    return torch.from_numpy(np.sqrt(mean))


def _spacing(distance: Tensor) -> float:
    return 1.0 / distance.shape[-2]


def _mirror_some(
    distance: Tensor, velocity: Tensor, pressure: Tensor, force: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Each sample with even chance as its mirror image."""
    chosen = torch.rand(distance.shape[0], device=distance.device) < 0.5
    sign = velocity.new_tensor([1.0, -1.0])
    image, vector = chosen[:, None, None], chosen[:, None, None, None]
    return (
        torch.where(image, distance.flip(-2), distance),
        torch.where(vector, velocity.flip(-2) * sign[:, None, None], velocity),
        torch.where(image, pressure.flip(-2), pressure),
        torch.where(chosen[:, None], force * sign, force),
    )
