"""Two processes under torchrun give the loss curve of one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sciml.train import NonFiniteLoss, TrainOptions, fit, is_main, relative_l2

OPTIONS = TrainOptions(
    epochs=3, batch_size=4, ema_decay=0.8, learning_rate=0.02, gradient_clip=0.5, device="cpu"
)
TRAIN, VALID, BROKEN = 13, 5, 7
"""Three whole batches and one of a single sample, so that one process has none of it."""


def data(count: int, seed: int) -> list[tuple[Tensor, Tensor]]:
    x = torch.randn(count, 6, generator=torch.Generator().manual_seed(seed))
    return [(row, row.flip(0)[:2] ** 2) for row in x]


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 2))


def loss(net: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
    return relative_l2(net(batch[0]), batch[1])


def curves(folder: Path | None, **changes: Any) -> dict[str, Any]:
    net, options = network(), replace(OPTIONS, **changes)
    history = fit(net, loss, data(TRAIN, 1), data(VALID, 2), options=options, folder=folder)
    weight = torch.cat([p.detach().flatten() for p in net.parameters()]).tolist()
    return {"train": history.train_loss, "valid": history.valid_loss, "weight": weight}


def broken() -> list[int]:
    """Samples named by the error of a run whose sample `BROKEN` is not finite."""
    samples = data(TRAIN, 1)
    samples[BROKEN] = (samples[BROKEN][0] * torch.inf, samples[BROKEN][1])
    try:
        fit(network(), loss, samples, options=OPTIONS)
    except NonFiniteLoss as error:
        return list(error.samples)
    return []


def everything(folder: Path) -> dict[str, Any]:
    """Several runs one after the other, an error among them, in the same processes."""
    return {
        "whole": curves(folder / "run"),
        "broken": broken(),
        "plain": curves(None, ema_decay=None, batch_size=5, gradient_clip=None),
    }


def launch(folder: Path, *, processes: int) -> tuple[int, str]:
    """Run this file under torchrun: its exit status and what it wrote to stderr.

    All stays on the loopback device: a machine's own name may lead nowhere.
    """
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    here = ["--local-addr", "127.0.0.1", "--nproc_per_node", str(processes)]
    loopback = {"GLOO_SOCKET_IFNAME": "lo0" if sys.platform == "darwin" else "lo"}
    with subprocess.Popen(
        [*torchrun, *here, __file__, str(folder)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | loopback,
    ) as process:
        try:
            _, errors = process.communicate(timeout=300)
        except subprocess.TimeoutExpired:
            process.terminate()  # and with it, unlike after a kill, the processes it started
            raise
    return process.returncode, errors


@pytest.fixture(scope="module")
def parallel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("two")
    status, errors = launch(folder, processes=2)
    assert status == 0, errors
    assert "lightning" not in errors.lower()
    yield json.loads((folder / "result.json").read_text()) | {"folder": folder}


@pytest.mark.parametrize("run", ["whole", "plain"])
def test_two_processes_give_the_curve_of_one(parallel: dict[str, Any], run: str) -> None:
    changes = {} if run == "whole" else {"ema_decay": None, "batch_size": 5, "gradient_clip": None}
    alone = curves(None, **changes)
    for key in ("train", "valid", "weight"):
        assert parallel[run][key] == pytest.approx(alone[key], rel=1e-5, abs=1e-6)


def test_every_process_names_the_broken_sample(parallel: dict[str, Any]) -> None:
    assert parallel["broken"] == [BROKEN] == broken()


def test_the_checkpoint_keeps_every_rank(parallel: dict[str, Any]) -> None:
    path = parallel["folder"] / "run" / "checkpoint.pt"
    state = torch.load(path, weights_only=True)
    states = [rank["cpu"] for rank in state["random"]]
    assert len(states) == 2
    assert not torch.equal(states[0], states[1])
    with pytest.raises(ValueError, match="processes = 2, now 1"):
        folder = parallel["folder"] / "run"
        fit(
            network(),
            loss,
            data(TRAIN, 1),
            data(VALID, 2),
            options=OPTIONS,
            folder=folder,
            resume=True,
        )


def main(folder: Path) -> None:
    """What each process under torchrun does."""
    torch.set_num_threads(1)
    result = everything(folder)
    if is_main():
        (folder / "result.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
