"""The networks of the autoencoders: from what a frame shows of a snapshot to latents and back."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar, Literal, final

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor, nn

from sciml.modes.frames import Body
from sciml.nn import MLP
from sciml.nn.activation import Activation
from sciml.nn.autoencoder import AutoencoderNetwork, ConvDecoder, ConvEncoder, kl_divergence
from sciml.surrogate import Surrogate
from sciml.train import Batch, Rows

__all__ = ["Compression", "CompressionOptions", "Kind", "seen"]

Kind = Literal["linear", "dense", "convolutional", "mode-decomposing", "variational"]

BATCH = 64
"""Snapshots that are evaluated together."""


@dataclass(frozen=True, kw_only=True)
class CompressionOptions:
    """What a :class:`Compression` is made of.

    Attributes:
        kind: of autoencoder.
        body: of its layers.
        shape: of what it sees of a snapshot.
        latents: how many.
        widths: of the dense layers, or channels of the convolutions.
        activation: between layers.
        beta: weight of the divergence from the normal distribution; for "variational".
    """

    kind: Kind
    body: Body
    shape: tuple[int, ...]
    latents: int
    widths: tuple[int, ...]
    activation: Activation
    beta: float


class Measured(nn.Module):
    """An autoencoder, and what the square of each number it gives weighs."""

    weight: Tensor

    def __init__(self, inner: AutoencoderNetwork, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.inner = inner
        self.register_buffer("weight", torch.ones(shape))

    def forward(self, field: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Energy lost of each field, mean of the latents and logarithm of their variance."""
        found, mean, log_variance = self.inner(field)
        lost = (self.weight * (found - field).square()).flatten(1).sum(1)
        return lost, mean, log_variance


@final
class Compression(Surrogate[CompressionOptions]):
    r"""Few latents from a snapshot, and the snapshot from the latents.

    The loss is the part of the energy that is lost, $\sum_k \omega_k (\hat z_k - z_k)^2$ with the
    weights of a :class:`sciml.modes.frames.Frame`; "variational" adds β times the mean divergence
    of a latent. A linear one is in float64 and the others in float32.
    """

    inputs: ClassVar = {"field": "1"}
    outputs: ClassVar = {"field": "1"}

    def build(self) -> nn.Module:
        """An untrained network."""
        options = self.options
        if options.kind == "linear":
            return Measured(_linear(options), options.shape).double()
        each = options.latents if options.kind == "mode-decomposing" else 1
        codes = options.latents * (2 if options.kind == "variational" else 1)
        inner = AutoencoderNetwork(
            _encoder(options, codes),
            [_decoder(options, options.latents // each) for _ in range(each)],
            latents=options.latents,
            variational=options.kind == "variational",
        )
        return Measured(inner, options.shape)

    def calibrate(self, net: nn.Module, train: xr.Dataset) -> None:
        """Take the weights from the data's `weight`."""
        assert isinstance(net, Measured)
        net.weight.copy_(torch.from_numpy(train["weight"].values))

    def samples(self, ds: xr.Dataset) -> Rows:
        """The fields, each its own target."""
        return Rows(self._tensor(ds))

    def loss(self, net: nn.Module, batch: Batch) -> Tensor:
        """Lost energy, and what the kind adds."""
        lost, mean, log_variance = net(batch[0])
        if self.options.kind != "variational":
            return lost.mean()
        return lost.mean() + self.options.beta * kl_divergence(mean, log_variance)

    def summaries(self, ds: xr.Dataset) -> xr.Dataset:
        """Root of each snapshot's energy, relative to the mean one of the training."""
        field = ds["field"].values
        weight = self._weight if "weight" not in ds else ds["weight"].values
        energy = (weight * np.square(field)).reshape(len(field), -1).sum(1)
        return xr.Dataset({"amplitude": ("sample", np.sqrt(energy), {"units": "1"})})

    def evaluate(self, *fields: Tensor) -> tuple[Tensor, ...]:
        """Fields [batch, ...] after latents."""
        with torch.no_grad():
            return (self._inner.decode(self._inner.encode(fields[0])),)

    @torch.no_grad()
    def encode(self, field: Float[np.ndarray, "time ..."]) -> Float[np.ndarray, "time latent"]:
        """Latents of fields."""
        return self._batched(self._inner.encode, field)

    @torch.no_grad()
    def decode(self, latents: Float[np.ndarray, "time latent"]) -> Float[np.ndarray, "time ..."]:
        """Fields of latents."""
        return self._batched(self._inner.decode, latents)

    @torch.no_grad()
    def parts(
        self, latents: Float[np.ndarray, "time latent"]
    ) -> Float[np.ndarray, "time part ..."]:
        """What each decoder adds; of a linear one, what each latent adds."""
        if self.options.kind != "linear":
            return self._batched(self._inner.parts, latents)
        alone = latents[:, :, None] * np.eye(self.options.latents)
        fields = self.decode(alone.reshape(-1, self.options.latents))
        return fields.reshape(*latents.shape, *fields.shape[1:])

    @torch.no_grad()
    def posterior(
        self, field: Float[np.ndarray, "time ..."]
    ) -> tuple[Float[np.ndarray, "time latent"], Float[np.ndarray, "time latent"]]:
        """Mean and logarithm of the variance of the latents."""
        both = self._batched(lambda x: torch.stack(self._inner.posterior(x), 1), field)
        return both[:, 0], both[:, 1]

    @property
    def _inner(self) -> AutoencoderNetwork:
        net = self.network
        assert isinstance(net, Measured)
        return net.inner

    @property
    def _weight(self) -> np.ndarray:
        return self.network.get_buffer("weight").cpu().numpy()

    def _predict(self, ds: xr.Dataset) -> xr.Dataset:
        found = self.decode(self.encode(ds["field"].values))
        return xr.Dataset({"field": (ds["field"].dims, found, {"units": "1"})})

    def _tensor(self, ds: xr.Dataset) -> Tensor:
        kind = torch.float64 if self.options.kind == "linear" else torch.float32
        return torch.from_numpy(ds["field"].values).to(kind)

    def _batched(self, function: object, values: np.ndarray) -> np.ndarray:
        assert callable(function)
        like = next(self.network.parameters())
        parts = [
            function(torch.from_numpy(values[start : start + BATCH]).to(like)).cpu()
            for start in range(0, len(values), BATCH)
        ]
        return torch.cat(parts).double().numpy()


def seen(
    field: Float[np.ndarray, "time ..."], weight: Float[np.ndarray, "..."] | None = None
) -> xr.Dataset:
    """What a :class:`Compression` is fitted on or asked: fields, and weights of their squares."""
    dims = [f"axis_{n}" for n in range(field.ndim - 1)]
    ds = xr.Dataset({"field": (("sample", *dims), field, {"units": "1"})})
    return ds if weight is None else ds.assign(weight=(dims, weight, {"units": "1"}))


def _linear(options: CompressionOptions) -> AutoencoderNetwork:
    """Begins as the projection on random directions, so that no direction is preferred."""
    (size,) = options.shape
    encoder = nn.Linear(size, options.latents, bias=False)
    nn.init.orthogonal_(encoder.weight)
    decoder = nn.Linear(options.latents, size, bias=False)
    decoder.weight.data.copy_(encoder.weight.detach().T)
    return AutoencoderNetwork(encoder, [decoder], latents=options.latents)


def _encoder(options: CompressionOptions, codes: int) -> nn.Module:
    if options.body == "dense":
        return _dense(prod(options.shape), codes, options.widths, options)
    channels, *pixels = options.shape
    return ConvEncoder(
        channels, pixels, codes, widths=options.widths, activation=options.activation
    )


def _decoder(options: CompressionOptions, latents: int) -> nn.Module:
    if options.body == "dense":
        return _dense(latents, prod(options.shape), options.widths[::-1], options)
    channels, *pixels = options.shape
    return ConvDecoder(
        latents, channels, pixels, widths=options.widths, activation=options.activation
    )


def _dense(
    inputs: int, outputs: int, hidden: tuple[int, ...], options: CompressionOptions
) -> nn.Module:
    return MLP(inputs, outputs, hidden=hidden, activation=options.activation)
