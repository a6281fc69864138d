"""Where a result comes from: package versions, machine, commit, checksum of the data."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from sciml.case.discovery import checkout
from sciml.data.files import sha256
from sciml.data.splits import Splits

__all__ = ["data_of", "environment"]


def environment(device: str) -> dict[str, Any]:
    """Package versions, machine and commit, as `result.json` holds them.

    Args:
        device: "auto", "cpu" or "cuda"; the graphics processor is named if it may be used.
    """
    return {"packages": _packages(), "machine": _machine(device), "commit": _commit()}


def _packages() -> dict[str, str]:
    """Versions of Python, of sciml and of what it requires, extras left out."""
    versions = {"python": platform.python_version()}
    try:
        versions["sciml-cfd"] = metadata.version("sciml-cfd")
        requirements = metadata.requires("sciml-cfd") or []
    except metadata.PackageNotFoundError:  # run from the source, without installation
        return versions
    for requirement in requirements:
        if "extra ==" not in requirement:
            name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
            versions[name] = metadata.version(name)
    return versions


def _machine(device: str) -> dict[str, Any]:
    machine: dict[str, Any] = {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
    }
    if device != "cpu":
        import torch

        if torch.cuda.is_available():
            machine["gpu"] = torch.cuda.get_device_name()
    return machine


def _processor() -> str:
    """The name of the processor; Linux tells it in a file, others through `platform`."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), flags=re.MULTILINE)
        if found:
            return found[1].strip()
    return platform.processor() or platform.machine()


def _commit() -> str | None:
    """Commit of the checkout, with `-dirty` after local changes; None where there is no git."""
    home = checkout()
    git = shutil.which("git")
    if home is None or git is None or not (home / ".git").exists():
        return None
    command = [
        git,
        "-C",
        str(home),
        "describe",
        "--always",
        "--abbrev=40",
        "--dirty",
        "--exclude=*",
    ]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return answer.stdout.strip() or None


def data_of(splits: Splits) -> dict[str, Any]:
    """Checksum, origin and sizes of the data, as `result.json` holds them.

    The checksum is SHA-256 over the training, validation and test sets: over the files they
    were read from, and over the values of those that were not.
    """
    parts = {"train": splits.train, "valid": splits.valid, **splits.tests}
    origins = [_origin(part) for part in parts.values()]
    return {
        "checksum": f"sha256:{_checksum(parts.values())}",
        "origin": "; ".join(dict.fromkeys(origin for origin in origins if origin)) or None,
        "samples": {name: int(part.sizes.get("sample", 1)) for name, part in parts.items()},
    }


def _origin(ds: xr.Dataset) -> str:
    """What the data set says of its making: `origin`, or `source` of the CF conventions."""
    return str(ds.attrs.get("origin") or ds.attrs.get("source") or "")


def _checksum(parts: Any) -> str:
    digest = hashlib.sha256()
    files: dict[str, str] = {}
    for part in parts:
        source = part.encoding.get("source")
        if source is None:
            _add_values(digest, part)
            continue
        if source not in files:
            files[source] = sha256(source)
        digest.update(files[source].encode())
        _add_values(digest, part.coords.to_dataset())
    return digest.hexdigest()


def _add_values(digest: Any, ds: xr.Dataset) -> None:
    for name in sorted(map(str, ds.variables)):
        values = np.asarray(ds[name].values)
        if values.dtype.hasobject:
            values = values.astype(np.str_)
        digest.update(f"{name} {ds[name].dims} {values.dtype} {values.shape}".encode())
        digest.update(np.ascontiguousarray(values).tobytes())
