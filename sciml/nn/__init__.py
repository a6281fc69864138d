"""Generic layers and networks; nothing here knows a domain."""

from __future__ import annotations

from sciml.nn.activation import Activation, activation_layer
from sciml.nn.conv import ConvBlock, Film, Norm, Padding, ResidualBlock, convolution
from sciml.nn.domain import Domain
from sciml.nn.encoder_decoder import EncoderDecoder
from sciml.nn.mlp import MLP
from sciml.nn.scaling import BoxCox, MinMax, Scaling, Standardize
from sciml.nn.size import at_any_size, pad_to_multiple
from sciml.nn.unet import UNet

__all__ = [
    "MLP",
    "Activation",
    "BoxCox",
    "ConvBlock",
    "Domain",
    "EncoderDecoder",
    "Film",
    "MinMax",
    "Norm",
    "Padding",
    "ResidualBlock",
    "Scaling",
    "Standardize",
    "UNet",
    "activation_layer",
    "at_any_size",
    "convolution",
    "pad_to_multiple",
]
