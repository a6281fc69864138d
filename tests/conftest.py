"""What all tests share: a recorded seed, reference data, and no trace outside temporary folders."""

from __future__ import annotations

import os
import secrets
import socket
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sciml.data import Unavailable, fetch

SCRATCH = tempfile.TemporaryDirectory(prefix="sciml-tests-")
for variable in ("XDG_CACHE_HOME", "MPLCONFIGDIR", "TRITON_CACHE_DIR"):
    os.environ[variable] = str(Path(SCRATCH.name) / variable.lower())
os.environ["MPLBACKEND"] = "Agg"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, default=None, help="seed of the fixture rng")


def pytest_configure(config: pytest.Config) -> None:
    if config.option.seed is None:
        config.option.seed = secrets.randbits(32)


def pytest_report_header(config: pytest.Config) -> str:
    return f"seed of the random inputs: {config.option.seed} (repeat with --seed)"


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device")


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """Random numbers from the recorded seed, the same whichever tests run beside this one."""
    return np.random.default_rng(
        [request.config.option.seed, zlib.crc32(request.node.name.encode())]
    )


@pytest.fixture(scope="session")
def reference() -> Callable[[str], Path]:
    """The path of a reference file of the catalogue; skips the test where it is not at hand."""

    def find(name: str) -> Path:
        try:
            return fetch(name, offline=True)
        except Unavailable as error:
            pytest.skip(str(error))

    return find


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Sums in a fixed order, so that what is equal is equal bit for bit."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def no_network() -> Iterator[None]:
    """Connections leave this machine in no test."""
    connect = socket.socket.connect

    def connect_here(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and address[0] not in {"127.0.0.1", "::1", "localhost"}:
            raise OSError(f"a test tried to reach {address}")
        connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", connect_here)
        yield
