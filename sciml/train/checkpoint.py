"""Checkpoints: one file that is whole or absent, without pickled objects."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from sciml.data.files import atomic


def write_checkpoint(path: str | os.PathLike[str], state: Mapping[str, Any]) -> None:
    """Write tensors and plain values; the old file stays until the new one is whole.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "checkpoint.pt"
        >>> write_checkpoint(path, {"epoch": 3, "weight": torch.ones(2)})
        >>> read_checkpoint(path)["epoch"]
        3
    """
    with atomic(Path(path)) as part:
        torch.save(dict(state), part)


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a checkpoint on the CPU, refusing anything but tensors and plain values.

    Raises:
        ValueError: the file is not a checkpoint of this kind.
    """
    advice = "remove it to train from the start"
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is not a checkpoint: {advice}")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path} is not a readable checkpoint ({reason}): {advice}") from error


def random_state(fabric: Fabric) -> list[dict[str, Tensor]]:
    """State of torch's random generators in every process, by rank."""
    state = {"cpu": torch.get_rng_state()}
    if fabric.device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(fabric.device)
    if fabric.world_size == 1:
        return [state]
    gathered: list[Any] = [None] * fabric.world_size
    torch.distributed.all_gather_object(gathered, state)
    return gathered


def set_random_state(fabric: Fabric, states: Sequence[Mapping[str, Tensor]]) -> None:
    """Continue this process's random generators where `random_state` found them."""
    state = states[fabric.global_rank]
    torch.set_rng_state(state["cpu"])
    if fabric.device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], fabric.device)
