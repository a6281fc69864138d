"""Binomial checkpointing: the fewest recomputed steps for a given number of kept states."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import comb


@dataclass(frozen=True, kw_only=True)
class Revolve:
    """The gradient mode that keeps at most `slots` states and recomputes the others.

    Args:
        slots: number of states kept at the beginnings of steps, the initial one among them.

    Raises:
        ValueError: no slot.

    References:
        A. Griewank, A. Walther, Algorithm 799: revolve, 2000, https://doi.org/10.1145/347837.347846
    """

    slots: int

    def __post_init__(self) -> None:
        if self.slots < 1:
            raise ValueError(f"{self.slots} slots given: at least one holds the initial state")


def recomputations(steps: int, slots: int) -> int:
    r"""Fewest steps done again, beside the one that each reversed step needs to be recorded.

    With $\beta(s, r) = \binom{s + r}{s}$ and the smallest $r$ for which $\beta(s, r) \ge l$, a
    sweep through $l$ steps and back advances $t(l, s) = r\,l - \beta(s + 1, r - 1)$ times, of which
    $l - 1$ belong to the first way forward.

    Args:
        steps: number of steps $l$.
        slots: number of states kept $s$.

    Returns:
        $t(l, s) - (l - 1)$.

    Raises:
        ValueError: a number is not positive.

    Example:
        >>> recomputations(10, 10), recomputations(10, 3), recomputations(10, 1)
        (0, 6, 36)
    """
    if steps < 1 or slots < 1:
        raise ValueError(f"{steps} steps and {slots} slots given: both must be positive")
    return _advances(steps, slots) - (steps - 1)


@lru_cache(maxsize=4096)
def _advances(steps: int, slots: int) -> int:
    r"""$t(l, s)$."""
    r = 0
    while comb(slots + r, slots) < steps:
        r += 1
    return r * steps - (comb(slots + r, slots + 1) if r else 0)


@lru_cache(maxsize=4096)
def split(steps: int, slots: int) -> int:
    """How many steps beyond a kept state the next one is best kept, with two slots or more."""
    if slots >= steps - 1:
        return 1
    return min(
        range(1, steps), key=lambda m: m + _advances(steps - m, slots - 1) + _advances(m, slots)
    )


def placements(steps: int, slots: int) -> tuple[int, ...]:
    """Before which steps a state is kept on the first way forward.

    Example:
        >>> placements(10, 3)
        (0, 4, 7)
    """
    kept, begin = [0], 0
    while steps - begin > 1 and slots > 1:
        begin += split(steps - begin, slots)
        slots -= 1
        kept.append(begin)
    return tuple(kept)
