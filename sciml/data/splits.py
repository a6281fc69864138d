"""Splits of a data set: training, validation and named test sets."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Int

__all__ = ["Splits", "split_by_group"]


@dataclass(frozen=True, kw_only=True)
class Splits:
    """What a case is fitted and judged on.

    Attributes:
        train: what models are fitted on.
        valid: what early stopping and choices of the model may look at.
        tests: the test sets by name; the first is the principal one. Each is
            judged by itself, so that a hard set is not averaged away.

    Raises:
        ValueError: there is no test set.
    """

    train: xr.Dataset
    valid: xr.Dataset
    tests: Mapping[str, xr.Dataset]

    def __post_init__(self) -> None:
        if not self.tests:
            raise ValueError("a case is judged on test sets, and none is given")

    @property
    def test(self) -> xr.Dataset:
        """The principal test set."""
        return next(iter(self.tests.values()))


def split_by_group(
    groups: Sequence[Hashable], fractions: Sequence[float], *, seed: int
) -> tuple[Int[np.ndarray, " _"], ...]:
    """Divide samples so that no group (a shape, say) has samples on both sides.

    The groups are shuffled and each goes where most samples are lacking, after
    every part has received one.

    Args:
        groups: the group of each sample.
        fractions: the share of the samples each part should have; they add up to 1.
            Shares are met as nearly as whole groups allow.
        seed: of the shuffle.

    Returns:
        ascending sample indices of each part, together a partition of all samples.

    Raises:
        ValueError: the fractions are not positive or add up to something else, or
            there are fewer groups than parts.

    >>> [part.tolist() for part in split_by_group("aabbcc", (0.7, 0.3), seed=0)]
    [[2, 3, 4, 5], [0, 1]]
    """
    shares = np.asarray(fractions, dtype=float)
    if shares.size == 0 or not (shares > 0).all() or abs(shares.sum() - 1) > 1e-9:
        raise ValueError(f"fractions must be positive and add up to 1, not {tuple(fractions)}")
    members = _members(groups)
    if len(members) < shares.size:
        raise ValueError(
            f"{len(members)} groups cannot be divided into {shares.size} parts; "
            "give more groups or fewer parts"
        )
    parts: list[list[int]] = [[] for _ in shares]
    lacking = shares * len(groups)
    for turn, choice in enumerate(np.random.default_rng(seed).permutation(len(members))):
        part = turn if turn < shares.size else int(np.argmax(lacking))
        parts[part] += members[choice]
        lacking[part] -= len(members[choice])
    return tuple(np.array(sorted(part), dtype=np.int64) for part in parts)


def _members(groups: Sequence[Hashable]) -> list[list[int]]:
    """The samples of each group, groups in the order of their first sample."""
    members: dict[Hashable, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    return list(members.values())
