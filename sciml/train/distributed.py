"""One process or several: Fabric for a run, quiet, closed properly at its end."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy
from torch import Tensor, distributed

from sciml.train.options import Device, TrainOptions


def is_main() -> bool:
    """Whether this process is the one that writes and reports.

    True in a plain run; under torchrun, for rank 0 alone.

    Example:
        >>> is_main()
        True
    """
    return int(os.environ.get("RANK", "0")) == 0


@contextmanager
def session(options: TrainOptions) -> Iterator[Fabric]:
    """Fabric for one run: one process, or all that torchrun has started.

    A process group that the caller has opened is used and left open; otherwise it is opened
    here and closed at the end, after a barrier (gloo aborts at random where a process leaves
    early).

    Raises:
        ValueError: the device asked for is not there.
    """
    device = _device(options.device)
    borrowed = distributed.is_available() and distributed.is_initialized()
    with _quiet():
        fabric = _fabric(device, options)
        fabric.launch()
    try:
        yield fabric
        if fabric.world_size > 1:
            fabric.barrier()
    finally:
        if fabric.world_size > 1 and not borrowed:
            distributed.destroy_process_group()


def all_reduce(fabric: Fabric, value: Tensor, operation: Literal["sum", "mean"]) -> Tensor:
    """Sum or mean of a tensor over the processes; the tensor itself is left as it is."""
    reduced = fabric.all_reduce(value.clone(), reduce_op=operation)
    assert isinstance(reduced, Tensor)
    return reduced


def _device(wanted: Device) -> str:
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ValueError("device is 'cuda', but this machine offers no CUDA device: choose 'cpu'")
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return wanted


def _fabric(device: str, options: TrainOptions) -> Fabric:
    if not distributed.is_available() or not distributed.is_torchelastic_launched():
        return Fabric(accelerator=device, devices=1, precision=options.precision)
    ranks, here = int(os.environ["WORLD_SIZE"]), int(os.environ["LOCAL_WORLD_SIZE"])
    backend = "nccl" if device == "cuda" else "gloo"
    strategy = DDPStrategy(process_group_backend=backend, broadcast_buffers=False)
    return Fabric(
        accelerator=device,
        devices=here,
        num_nodes=ranks // here,
        strategy=strategy,
        precision=options.precision,
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Fabric's announcements of devices and processes off the terminal."""
    logger = logging.getLogger("lightning_fabric")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
