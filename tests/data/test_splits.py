from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from sciml.data import Splits, split_by_group


def test_parts_are_a_partition_and_no_group_straddles(rng):
    for _ in range(20):
        groups = rng.integers(0, 30, size=400).tolist()
        parts = split_by_group(groups, (0.7, 0.1, 0.2), seed=int(rng.integers(1000)))
        np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(400))
        owners = [{groups[i] for i in part} for part in parts]
        assert sum(map(len, owners)) == len(set.union(*owners))


def test_shares_are_met_within_a_group(rng):
    groups = np.repeat(np.arange(100), 5).tolist()
    parts = split_by_group(groups, (0.8, 0.1, 0.1), seed=0)
    assert [len(part) for part in parts] == [400, 50, 50]


def test_the_seed_decides():
    groups = list(range(50))
    first = split_by_group(groups, (0.5, 0.5), seed=1)
    np.testing.assert_array_equal(first[0], split_by_group(groups, (0.5, 0.5), seed=1)[0])
    assert not np.array_equal(first[0], split_by_group(groups, (0.5, 0.5), seed=2)[0])


def test_every_part_gets_a_group():
    parts = split_by_group(list("abc"), (0.98, 0.01, 0.01), seed=0)
    assert [len(part) for part in parts] == [1, 1, 1]


@pytest.mark.parametrize(
    ("groups", "fractions", "sentence"),
    [
        ("ab", (0.5, 0.6), "add up to 1"),
        ("ab", (1.5, -0.5), "positive"),
        ("ab", (), "add up to 1"),
        ("aab", (0.4, 0.3, 0.3), "2 groups cannot be divided into 3 parts"),
    ],
)
def test_what_cannot_be_split_is_refused(groups, fractions, sentence):
    with pytest.raises(ValueError, match=sentence):
        split_by_group(groups, fractions, seed=0)


def test_the_first_test_set_is_the_principal_one():
    empty, other = xr.Dataset(), xr.Dataset(attrs={"title": "other"})
    splits = Splits(train=empty, valid=empty, tests={"unseen": other, "cars": empty})
    assert splits.test is other
    with pytest.raises(ValueError, match="none is given"):
        Splits(train=empty, valid=empty, tests={})
