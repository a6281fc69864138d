"""Which implementation of a kernel runs: chosen by name, or the fastest that can."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Literal

import torch
from torch import Tensor

__all__ = ["Backend", "choose"]

Backend = Literal["auto", "reference", "cpu", "triton"]
Chosen = Literal["reference", "cpu", "triton"]

_PRECISIONS: Mapping[str, Sequence[torch.dtype]] = {
    "cpu": (torch.float32, torch.float64),
    "triton": (torch.float16, torch.float32),
}


def choose(
    backend: Backend,
    tensor: Tensor,
    *others: Tensor,
    precisions: Mapping[str, Sequence[torch.dtype]] = _PRECISIONS,
) -> Chosen:
    """The backend for data like `tensor`; an explicit choice that cannot run is refused.

    Args:
        backend: a name, or `auto` for the fastest that can run.
        tensor: the data, whose device and precision decide.
        others: further inputs, which rule out the fast backends if they require a gradient.
        precisions: what each fast backend takes.

    Raises:
        ValueError: an unknown backend.
        RuntimeError: a backend that cannot run, saying what is missing.

    >>> choose("auto", torch.zeros(1))
    'cpu'
    >>> choose("auto", torch.zeros(1, requires_grad=True))
    'reference'
    """
    gradient = any(t.requires_grad for t in (tensor, *others))
    if backend == "auto":
        fast: Chosen = "triton" if tensor.device.type == "cuda" else "cpu"
        return "reference" if _missing(fast, tensor, gradient, precisions) else fast
    missing = _missing(backend, tensor, gradient, precisions)
    if missing:
        raise RuntimeError(f"the {backend} backend cannot run here: {missing}")
    return backend


def _missing(
    backend: str,
    tensor: Tensor,
    gradient: bool,
    precisions: Mapping[str, Sequence[torch.dtype]],
) -> str | None:
    if backend == "reference":
        return None
    if backend not in precisions:
        raise ValueError(f"backend {backend!r} is unknown; choose auto, reference, cpu or triton")
    if backend == "triton" and find_spec("triton") is None:
        return "triton is not installed; install sciml-cfd[triton]"
    device = tensor.device.type
    if backend == "cpu" and device != "cpu":
        return f"the data are on {tensor.device}; move them to the CPU"
    if backend == "triton" and device != "cuda" and not _interpreted():
        return f"the data are on {tensor.device}; move them to a CUDA device"
    if tensor.dtype not in precisions[backend]:
        known = " or ".join(str(dtype).removeprefix("torch.") for dtype in precisions[backend])
        return f"the data are {str(tensor.dtype).removeprefix('torch.')}; it takes {known}"
    return "it gives no gradient; detach or use the reference" if gradient else None


def _interpreted() -> bool:
    """Triton's interpreter runs a kernel on the CPU: for tests, far too slow for use."""
    return os.environ.get("TRITON_INTERPRET") == "1"
