"""Which samples form which batch, and reading them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader


@runtime_checkable
class Dataset(Protocol):
    """Samples by index: a tuple of arrays, tensors or numbers each, of the same shapes."""

    def __len__(self) -> int:
        """Number of samples."""
        ...

    def __getitem__(self, index: int, /) -> Any:
        """One sample, a tuple of fields."""
        ...


Batch = tuple[Tensor, ...]


class Rows:
    """Samples that are the rows of tensors in memory; a batch is read in one piece.

    Args:
        fields: tensors with the same number of rows.

    Example:
        >>> rows = Rows(torch.arange(3.0), torch.zeros(3, 2))
        >>> len(rows), [field.shape for field in rows.batch([0, 2])]
        (3, [torch.Size([2]), torch.Size([2, 2])])
    """

    def __init__(self, *fields: Tensor) -> None:
        self.fields = fields

    def __len__(self) -> int:
        return len(self.fields[0])

    def __getitem__(self, index: int, /) -> Batch:
        return tuple(field[index] for field in self.fields)

    def batch(self, indices: Sequence[int]) -> Batch:
        """The samples of these indices, stacked."""
        places = torch.as_tensor(indices)
        return tuple(field[places] for field in self.fields)


def shuffled(count: int, *, seed: int, epoch: int) -> np.ndarray:
    """The order of the samples in an epoch, a function of seed and epoch alone.

    Example:
        >>> bool((shuffled(9, seed=1, epoch=2) == shuffled(9, seed=1, epoch=2)).all())
        True
    """
    return np.random.default_rng([seed, epoch]).permutation(count)


def cut(order: Sequence[int] | np.ndarray, size: int) -> list[list[int]]:
    """Batches of `size` in order, the last one smaller where it must be.

    Example:
        >>> cut([3, 1, 2, 0, 4], 2)
        [[3, 1], [2, 0], [4]]
    """
    items = [int(index) for index in order]
    return [items[start : start + size] for start in range(0, len(items), size)]


def share(batch: Sequence[int], *, rank: int, ranks: int) -> list[int]:
    """The samples of a batch that one of several processes takes.

    Example:
        >>> share([5, 6, 7], rank=1, ranks=2)
        [6]
    """
    return list(batch[rank::ranks])


def collate(samples: Sequence[Sequence[Any]]) -> Batch:
    """Stack samples field by field.

    Example:
        >>> [field.shape for field in collate([(np.zeros(3), 1.0), (np.ones(3), 2.0)])]
        [torch.Size([2, 3]), torch.Size([2])]
    """
    return tuple(_stack(field) for field in zip(*samples, strict=True))


def _stack(values: Sequence[Any]) -> Tensor:
    if isinstance(values[0], Tensor):
        return torch.stack(list(values))
    stacked = torch.from_numpy(np.stack(values))
    return stacked.float() if isinstance(values[0], float) else stacked


def read(
    dataset: Dataset, batches: Sequence[Sequence[int]], *, seed: int, workers: int, pin: bool
) -> Iterator[Batch]:
    """Read the batches in turn.

    Args:
        dataset: the samples.
        batches: indices of the samples of every batch.
        seed: seed of the workers, for datasets that draw random numbers.
        workers: reading processes; 0 reads in this one.
        pin: page-locked memory, for the way to a GPU.
    """
    if workers == 0:
        for batch in batches:
            if isinstance(dataset, Rows):
                yield dataset.batch(batch)
            else:
                yield collate([dataset[index] for index in batch])
        return
    loader: DataLoader[Any] = DataLoader(
        dataset,  # type: ignore[arg-type]
        batch_sampler=batches,  # type: ignore[arg-type]
        collate_fn=collate,
        num_workers=workers,
        pin_memory=pin,
        generator=torch.Generator().manual_seed(seed),
    )
    yield from loader
