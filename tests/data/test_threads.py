"""The number of threads is limited for a while, and never raised."""

from __future__ import annotations

import pytest
import torch

from sciml.data import limited_threads


@pytest.fixture(autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_the_limit_lasts_as_long_as_the_block():
    with pytest.raises(RuntimeError, match="inside"), limited_threads(1):
        assert torch.get_num_threads() == 1
        raise RuntimeError("inside")
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("count", [None, 7])
def test_no_limit_and_a_high_one_leave_the_threads_as_they_are(count):
    with limited_threads(count):
        assert torch.get_num_threads() == 2


def test_a_limit_below_one_is_refused():
    refused = pytest.raises(ValueError, match="0 threads were asked for; give 1 or more")
    with refused, limited_threads(0):
        raise AssertionError("must not be entered")
