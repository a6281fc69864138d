"""What can go wrong in an integration, each with its sample and its time."""

from __future__ import annotations


class IntegrationFailure(ArithmeticError):
    """An integration that cannot go on.

    Attributes:
        sample: index of the sample in the batch; None where a solver does not tell.
        time: the time it had reached.
    """

    def __init__(self, message: str, *, sample: int | None, time: float) -> None:
        super().__init__(message)
        self.sample, self.time = sample, time


class NonFiniteState(IntegrationFailure):
    """A state became infinite or not a number."""


class StepTooSmall(IntegrationFailure):
    """An adaptive scheme needs steps that rounding no longer resolves, or too many of them."""
