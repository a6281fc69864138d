"""The training loop. It knows no model, no data and no optimiser."""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from sciml.train.average import Average
from sciml.train.batches import Batch, Dataset, cut, read, share, shuffled
from sciml.train.checkpoint import (
    random_state,
    read_checkpoint,
    set_random_state,
    write_checkpoint,
)
from sciml.train.distributed import all_reduce, release, session
from sciml.train.history import History
from sciml.train.options import TrainOptions
from sciml.train.progress import Bar
from sciml.train.records import to_record
from sciml.train.rules import rule_of
from sciml.train.schedule import LearningRate
from sciml.train.update import Loss, Objective, Rule

_MAY_CHANGE = {"device", "loader_workers"}
_DEFAULTS = to_record(TrainOptions())
"""What a checkpoint means that was written before an option existed."""


def fit(
    net: nn.Module,
    loss: Loss,
    train: Dataset,
    valid: Dataset | None = None,
    *,
    options: TrainOptions | None = None,
    folder: str | os.PathLike[str] | None = None,
    resume: bool = False,
    progress: bool = True,
    update: Rule | None = None,
) -> History:
    r"""Minimise the mean loss over the samples, $\min_\theta \frac1N \sum_i \ell_i(\theta)$.

    The order of the samples is a function of seed and epoch. With validation samples the weights
    of the best epoch are returned in `net`, else the last ones (their average with `ema_decay`).
    Under torchrun the batches are shared out among the processes, and losses and gradients are
    those of a single process; every process must call `fit` alike. A run that is killed loses
    at most the epoch in progress: with `resume` it continues from `folder` and on the CPU gives
    the same bits as a run that was never interrupted, provided that samples and loss draw random
    numbers from torch alone.

    Args:
        net: the network, trained in place; on its own device again afterwards.
        loss: `loss(net, batch)`, the mean over the samples of a batch; it calls `net(...)`.
        train: training samples, each a tuple of arrays, tensors or numbers.
        valid: validation samples.
        options: see `TrainOptions`.
        folder: where `checkpoint.pt` and `history.json` are written after every epoch.
        resume: continue from the checkpoint in `folder` if there is one; a finished run is not
            repeated, its weights and history are returned.
        progress: False draws no progress bar even on a terminal.
        update: the rule that changes the weights; None takes the one named by
            `options.optimiser`.

    Returns:
        Losses, learning rate and time of every epoch.

    Raises:
        NonFiniteLoss: the loss is not finite; epoch, batch and samples are named.
        ValueError: no samples; patience without validation samples; resume without a folder, or
            from a run with other options, samples or processes; an optimiser that needs all samples
            in one batch, one process or residuals, and has them not.

    Example:
        >>> from sciml.train.losses import mean_squared
        >>> _ = torch.manual_seed(0)
        >>> data = [(x, 2 * x) for x in torch.linspace(-1, 1, 16).reshape(-1, 1)]
        >>> net = nn.Linear(1, 1)
        >>> options = TrainOptions(epochs=60, batch_size=4, learning_rate=0.1, device="cpu")
        >>> _ = fit(net, lambda f, b: mean_squared(f(b[0]), b[1]), data, options=options)
        >>> round(net.weight.item(), 2)
        2.0
    """
    options = options if options is not None else TrainOptions()
    _check(train, valid, options, folder, resume)
    home = next((p.device for p in net.parameters()), torch.device("cpu"))
    with session(options) as fabric, torch.random.fork_rng(_cuda(fabric)):
        torch.manual_seed(options.seed + fabric.global_rank)
        rule = update if update is not None else rule_of(options)
        run = _Run(fabric, net, loss, train, valid, options, folder, rule)
        try:
            if resume:
                run.resume()
            run.finish(progress)
        finally:
            release(run.net)
    net.to(home)
    return run.history


class _Run:
    """One run: what changes from epoch to epoch, and the steps that change it."""

    def __init__(
        self,
        fabric: Fabric,
        net: nn.Module,
        loss: Loss,
        train: Dataset,
        valid: Dataset | None,
        options: TrainOptions,
        folder: str | os.PathLike[str] | None,
        rule: Rule,
    ) -> None:
        self.fabric, self.plain, self.loss, self.options = fabric, net, loss, options
        self.train, self.valid = train, valid
        self.folder = None if folder is None else Path(folder)
        self.update = rule(fabric, net, options)
        self.net = self.update.net
        self.average = None if options.ema_decay is None else Average(net, decay=options.ema_decay)
        self.steps = len(cut(range(len(train)), options.batch_size))
        self._check_batches()
        self.rate = LearningRate(options, self.steps)
        self.best: dict[str, Tensor] | None = None
        self.history = History()

    def _check_batches(self) -> None:
        if self.update.whole and self.steps > 1:
            raise ValueError(
                f"batch_size is {self.options.batch_size}, but {type(self.update).__name__} takes "
                f"all training samples at once: set it to {len(self.train)} or more"
            )

    def finish(self, progress: bool) -> None:
        """Train until the end and leave the weights to return in the network."""
        show = progress and self.fabric.is_global_zero
        with Bar(epochs=self.options.epochs, steps=self.steps, show=show) as bar:
            while self.history.ended == "running":
                self._epoch(bar)
        self.plain.load_state_dict(self.best if self.best is not None else self._weights())

    def _epoch(self, bar: Bar) -> None:
        start, epoch = time.perf_counter(), self.history.epochs
        train_loss, rate = self._train(epoch, bar)
        valid_loss = self._validate()
        self.history = self.history.after(
            train_loss=train_loss,
            valid_loss=valid_loss,
            learning_rate=rate,
            seconds=time.perf_counter() - start,
        )
        self.history = replace(self.history, ended=self._ended())
        self.rate.plateau.after(train_loss if valid_loss is None else valid_loss)
        if self.history.best_epoch == epoch:
            self.best = self._weights()
        self._save()
        bar.update((epoch + 1) * self.steps, self.history)

    def _train(self, epoch: int, bar: Bar) -> tuple[float, float]:
        """One pass over the training samples; mean loss and last learning rate."""
        self.net.train()
        total, rate = 0.0, 0.0
        for number, objective in enumerate(self._objectives(epoch)):
            step = epoch * self.steps + number
            rate = self.rate(step)
            total += self.update(objective, rate) * len(objective.samples)
            if self.average is not None:
                self.average.update(self.plain)
            bar.update(step + 1, self.history)
        return total / len(self.train), rate

    def _objectives(self, epoch: int) -> Iterator[Objective]:
        rank, ranks = self.fabric.global_rank, self.fabric.world_size
        order = shuffled(len(self.train), seed=self.options.seed, epoch=epoch)
        batches = cut(order, self.options.batch_size)
        mine = [share(range(len(batch)), rank=rank, ranks=ranks) for batch in batches]
        # A process without a sample takes one at weight zero: all must join in the average.
        taken = [[b[i] for i in m] or b[:1] for b, m in zip(batches, mine, strict=True)]
        read_batches = self._read(self.train, taken, epoch)
        for number, (batch, part, data) in enumerate(zip(batches, mine, read_batches, strict=True)):
            yield Objective(
                self.fabric,
                self.net,
                self.loss,
                data,
                weight=ranks * len(part) / len(batch),
                epoch=epoch,
                number=number,
                samples=batch,
                mine=part,
            )

    @torch.no_grad()
    def _validate(self) -> float | None:
        """Mean loss over the validation samples, each counted once in one process."""
        if self.valid is None:
            return None
        rank, ranks = self.fabric.global_rank, self.fabric.world_size
        batches = cut(range(len(self.valid)), self.options.batch_size)
        mine = [m for m in (share(b, rank=rank, ranks=ranks) for b in batches) if m]
        total = torch.zeros((), dtype=torch.float64, device=self.fabric.device)
        self.net.eval()
        with self.average.applied(self.plain) if self.average is not None else nullcontext():
            for indices, data in zip(mine, self._read(self.valid, mine, 0), strict=True):
                with self.fabric.autocast():
                    total += self.loss(self.net, data).double() * len(indices)
        mean = all_reduce(self.fabric, total, "sum").item() / len(self.valid)
        if not math.isfinite(mean):
            raise ValueError(
                f"the validation loss is not finite in epoch {self.history.epochs + 1}: "
                "look at the validation samples, or lower the learning rate"
            )
        return mean

    def _read(self, data: Dataset, batches: list[list[int]], epoch: int) -> Iterator[Batch]:
        on_gpu = self.fabric.device.type == "cuda"
        workers = self.options.loader_workers
        seed = self.options.seed + epoch
        for batch in read(data, batches, seed=seed, workers=workers, pin=on_gpu):
            yield self.fabric.to_device(batch)

    def _ended(self) -> Any:
        history, patience = self.history, self.options.patience
        if self.update.converged:
            return "converged"
        if history.epochs >= self.options.epochs:
            return "epochs"
        waited = history.epochs - 1 - (history.best_epoch or 0)
        return "patience" if patience is not None and waited >= patience else "running"

    def _weights(self) -> dict[str, Tensor]:
        """A copy of what the network would return now."""
        with self.average.applied(self.plain) if self.average is not None else nullcontext():
            return copy.deepcopy(self.plain.state_dict())

    def _save(self) -> None:
        if self.folder is None:
            return
        random = random_state(self.fabric)
        if self.fabric.is_global_zero:
            write_checkpoint(self.folder / "checkpoint.pt", self._state(random))
            self.history.write(self.folder / "history.json")
        self.fabric.barrier()

    def _state(self, random: list[dict[str, Tensor]]) -> dict[str, Any]:
        return {
            "run": self._identity(),
            "network": self.plain.state_dict(),
            "best": self.best,
            "update": self.update.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "plateau": self.rate.plateau.state_dict(),
            "history": self.history.to_record(),
            "random": random,
        }

    def _identity(self) -> dict[str, Any]:
        """What must be the same for a run to be continued."""
        options = to_record(self.options)
        return {
            **{key: value for key, value in options.items() if key not in _MAY_CHANGE},
            "training samples": len(self.train),
            "validation samples": 0 if self.valid is None else len(self.valid),
            "processes": self.fabric.world_size,
        }

    def resume(self) -> None:
        """Continue from the checkpoint in the folder, if there is one."""
        assert self.folder is not None
        path = self.folder / "checkpoint.pt"
        if not path.exists():
            return
        state = read_checkpoint(path)
        _same_run(path, state.get("run", {}), self._identity())
        self.plain.load_state_dict(state["network"])
        self.best = state["best"]
        self.update.load_state_dict(state["update"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.rate.plateau.load_state_dict(state["plateau"])
        self.history = History.from_record(state["history"])
        set_random_state(self.fabric, state["random"])


def _check(
    train: Dataset,
    valid: Dataset | None,
    options: TrainOptions,
    folder: str | os.PathLike[str] | None,
    resume: bool,
) -> None:
    if len(train) == 0:
        raise ValueError("there are no training samples: give at least one")
    if valid is not None and len(valid) == 0:
        raise ValueError("there are no validation samples: give at least one, or valid=None")
    if options.patience is not None and valid is None:
        raise ValueError("patience needs validation samples: give `valid`, or patience=None")
    if resume and folder is None:
        raise ValueError("resume needs the folder of the interrupted run: give `folder`")


def _same_run(path: Path, stored: dict[str, Any], wanted: dict[str, Any]) -> None:
    for key, value in wanted.items():
        before = stored.get(key, _DEFAULTS.get(key))
        if before != value:
            raise ValueError(
                f"{path} was written with {key} = {before}, now {value} is asked for: "
                "resume with what it was started with, or train anew in another folder"
            )


def _cuda(fabric: Fabric) -> list[int]:
    """CUDA devices whose random state the run may change."""
    return [fabric.device.index or 0] if fabric.device.type == "cuda" else []
