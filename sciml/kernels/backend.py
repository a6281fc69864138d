"""Which implementation of a kernel runs: chosen by name, or the fastest that can."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Literal

from torch import Tensor

__all__ = ["Backend", "choose"]

Backend = Literal["auto", "reference", "cpu", "triton"]


def choose(backend: Backend, tensor: Tensor) -> Literal["reference", "cpu", "triton"]:
    """The backend for `tensor`; an explicit choice that cannot run is refused.

    Raises:
        ValueError: an unknown backend.
        RuntimeError: a backend that cannot run, saying what is missing.

    >>> import torch
    >>> choose("auto", torch.zeros(1))
    'cpu'
    >>> choose("auto", torch.zeros(1, requires_grad=True))
    'reference'
    """
    if backend == "auto":
        return _fastest(tensor)
    missing = _missing(backend, tensor)
    if missing:
        raise RuntimeError(f"the {backend} backend cannot run here: {missing}")
    return backend


def _fastest(tensor: Tensor) -> Literal["reference", "cpu", "triton"]:
    for name in ("triton", "cpu"):
        if not _missing(name, tensor):
            return name
    return "reference"


def _missing(backend: str, tensor: Tensor) -> str | None:
    if backend == "reference":
        return None
    if backend == "cpu":
        if tensor.device.type != "cpu":
            return f"the data are on {tensor.device}; move them to the CPU"
        return "it gives no gradient; detach or use the reference" if tensor.requires_grad else None
    if backend == "triton":
        if find_spec("triton") is None:
            return "triton is not installed; install sciml-cfd[triton]"
        if tensor.device.type != "cuda":
            return f"the data are on {tensor.device}; move them to a CUDA device"
        return "it gives no gradient; detach or use the reference" if tensor.requires_grad else None
    raise ValueError(f"backend {backend!r} is unknown; choose auto, reference, cpu or triton")
