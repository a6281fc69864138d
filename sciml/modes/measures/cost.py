"""What a method costs: wall time, peak memory, and how both grow with the data."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Cost", "exponent", "measured"]

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Of one call.

    Attributes:
        seconds: wall time.
        bytes: the most memory in use during the call, less what was in use before it; None where
            the system does not tell.
    """

    seconds: float
    bytes: int | None


def measured(work: Callable[[], Any], *, repeats: int = 1) -> tuple[Any, Cost]:
    """The result of a call, the best time of several and the memory of the first.

    >>> found, cost = measured(lambda: 1 + 1)
    >>> found, cost.seconds > 0
    (2, True)
    """
    before = _reset_peak()
    start = time.perf_counter()
    found = work()
    seconds = [time.perf_counter() - start]
    peak = None if before is None else max(0, _status("VmHWM") - before)
    for _ in range(repeats - 1):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return found, Cost(seconds=min(seconds), bytes=peak)


def exponent(sizes: Sequence[int | float], costs: Sequence[int | float]) -> float:
    """The power of the size that the cost grows with, by least squares of logarithms.

    >>> round(exponent([1, 2, 4], [3, 12, 48]), 6)
    2.0
    """
    if min(costs) <= 0:
        return float("nan")
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])


def _reset_peak() -> int | None:
    """Let the kernel count the peak anew; the memory in use now, None where it cannot."""
    if not (STATUS.is_file() and CLEAR.is_file()):
        return None
    CLEAR.write_text("5")
    return _status("VmRSS")


def _status(name: str) -> int:
    """An entry of the process's status in bytes."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024
