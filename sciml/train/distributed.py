"""One process or several: Fabric for a run, quiet, closed properly at its end."""

from __future__ import annotations

import inspect
import itertools
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from sciml.train.options import Device, TrainOptions

_GROUPS = itertools.count()


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

    The processes' group is closed at the end, after a barrier: gloo aborts at random where a
    process leaves early. A group that the caller has opened is used and left open.

    Raises:
        ValueError: the device asked for is not there.
    """
    device = _device(options.device)
    if not _launched():
        with _quiet():
            fabric = Fabric(accelerator=device, devices=1, precision=options.precision)
        yield fabric
        return
    backend = "nccl" if device == "cuda" else "gloo"
    with _process_group(backend):
        with _quiet():
            fabric = _parallel(device, backend, options)
            fabric.launch()
        yield fabric
        fabric.barrier()


@contextmanager
def _process_group(backend: str) -> Iterator[None]:
    """A group of all processes, unless the caller has opened one.

    Each takes its own corner of torchrun's store, since addresses that an earlier group left
    there would be taken for those of the new one.
    """
    if distributed.is_initialized():
        yield
        return
    store, rank, ranks = next(distributed.rendezvous("env://"))
    own = distributed.PrefixStore(f"sciml/{next(_GROUPS)}", store)
    distributed.init_process_group(backend, store=own, rank=rank, world_size=ranks)
    try:
        yield
    finally:
        distributed.destroy_process_group()


def release(net: nn.Module) -> None:
    """Free what a network wrapped for several processes keeps of their group.

    Its reducer frees the group, when it is the last to hold it, with Python's lock in hand, and
    waits for the group's own thread; that thread may be waiting for the lock.
    """
    for module in net.modules():
        if isinstance(module, DistributedDataParallel):
            del module.reducer, module.logger


def _launched() -> bool:
    return distributed.is_available() and distributed.is_torchelastic_launched()


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


def _parallel(device: str, backend: str, options: TrainOptions) -> Fabric:
    ranks, here = int(os.environ["WORLD_SIZE"]), int(os.environ["LOCAL_WORLD_SIZE"])
    # Buffers stay as they are: processes call the network unequally often when they validate.
    known = inspect.signature(DistributedDataParallel).parameters
    name = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    keep: dict[str, Any] = {name: False}
    strategy = DDPStrategy(process_group_backend=backend, **keep)
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
