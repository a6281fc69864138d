"""The loop: least squares, averages, clipping, stopping, errors, resume after SIGKILL."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from sciml.train import (
    AdamW,
    History,
    NonFiniteLoss,
    Objective,
    TrainOptions,
    Update,
    fit,
    mean_squared,
)

Pairs = list[tuple[Tensor, Tensor]]

PLAIN = TrainOptions(
    epochs=3, batch_size=8, schedule="constant", weight_decay=0.0, gradient_clip=None, device="cpu"
)


def linear_data(count: int = 23, seed: int = 0) -> Pairs:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 3, generator=generator)
    y = x @ torch.tensor([[1.0], [-2.0], [0.5]]) + 0.3
    return list(zip(x, y + 0.1 * torch.randn(count, 1, generator=generator), strict=True))


def squared(net: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
    return mean_squared(net(batch[0]), batch[1])


def network(seed: int = 0) -> nn.Linear:
    torch.manual_seed(seed)
    return nn.Linear(3, 1)


def weights(net: nn.Module) -> list[Tensor]:
    return [p.detach().clone() for p in net.parameters()]


def least_squares(data: Pairs) -> tuple[Tensor, Tensor]:
    x, y = (torch.stack(column).double() for column in zip(*data, strict=True))
    solution = torch.linalg.lstsq(torch.cat([x, torch.ones(len(x), 1)], dim=1), y).solution
    return solution[:3].T, solution[3]


def test_reaches_the_least_squares_solution() -> None:
    data, net = linear_data(), network()
    options = replace(PLAIN, epochs=150, schedule="cosine", learning_rate=0.1)
    fit(net, squared, data, options=options)
    weight, bias = least_squares(data)
    torch.testing.assert_close(net.weight.double(), weight, atol=2e-3, rtol=0)
    torch.testing.assert_close(net.bias.double(), bias, atol=2e-3, rtol=0)


class FullNewton(Update):
    """A second-order rule on the whole training set, as the seam of `Update` allows."""

    def __init__(self, fabric: Fabric, net: nn.Module, options: TrainOptions) -> None:
        self.fabric = fabric
        rule = torch.optim.LBFGS(
            net.parameters(), max_iter=40, tolerance_grad=1e-12, tolerance_change=1e-15
        )
        self.net, self.rule = fabric.setup(net, rule)

    def __call__(self, objective: Objective, rate: float) -> float:
        def closure() -> Tensor:
            self.rule.zero_grad()
            value = objective()
            self.fabric.backward(value)
            return value

        return self.rule.step(closure).item()

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        assert not state


def test_a_second_order_rule_fits_in_two_epochs() -> None:
    data, net = [(x.double(), y.double()) for x, y in linear_data()], network().double()
    options = replace(PLAIN, epochs=2, batch_size=len(data))
    history = fit(net, squared, data, options=options, update=FullNewton)
    torch.testing.assert_close(net.weight, least_squares(data)[0], atol=1e-7, rtol=0)
    assert history.train_loss[1] < 0.05 * history.train_loss[0]


def test_the_recorded_loss_is_the_mean_over_samples() -> None:
    """At a vanishing rate it is the loss of the fixed weights, the last batch uneven or not."""
    data, net = linear_data(), network()
    expected = squared(net, tuple(torch.stack(c) for c in zip(*data, strict=True))).item()
    history = fit(net, squared, data, data[:9], options=replace(PLAIN, learning_rate=1e-12))
    assert history.train_loss == pytest.approx([expected] * 3, rel=1e-6)
    part = squared(net, tuple(torch.stack(c) for c in zip(*data[:9], strict=True))).item()
    assert history.valid_loss == pytest.approx([part] * 3, rel=1e-6)


def test_the_average_follows_its_formula() -> None:
    data, steps = linear_data(8), 12
    seen: list[list[Tensor]] = []

    def watched(net: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
        seen.append(weights(net))
        return squared(net, batch)

    options = replace(PLAIN, epochs=steps, ema_decay=0.5, learning_rate=0.1)
    net = network()
    fit(net, watched, data, options=options)
    plain = network()
    fit(plain, squared, data, options=replace(options, ema_decay=None))
    mean = seen[0]
    for n, after in enumerate([*seen[1:], weights(plain)], start=1):
        decay = min(0.5, (1 + n) / (10 + n))
        mean = [decay * m + (1 - decay) * a for m, a in zip(mean, after, strict=True)]
    for got, expected in zip(weights(net), mean, strict=True):
        torch.testing.assert_close(got, expected)


def test_the_gradient_is_clipped_to_its_norm(monkeypatch: pytest.MonkeyPatch) -> None:
    norms: list[float] = []
    step = torch.optim.AdamW.step

    def watched(self: torch.optim.AdamW, *args: Any, **kwargs: Any) -> Any:
        grads = [p.grad.flatten() for g in self.param_groups for p in g["params"]]
        norms.append(torch.cat(grads).norm().item())
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", watched)
    fit(network(), squared, linear_data(), options=replace(PLAIN, gradient_clip=0.01))
    assert norms == pytest.approx([0.01] * len(norms), rel=1e-3)
    norms.clear()
    fit(network(), squared, linear_data(), options=PLAIN)
    assert max(norms) > 0.1


def test_weight_decay_spares_the_biases() -> None:
    net = network()
    before = weights(net)
    options = replace(PLAIN, epochs=1, batch_size=64, weight_decay=0.5, learning_rate=0.1)
    fit(net, lambda f, batch: 0.0 * f(batch[0]).sum(), linear_data(), options=options)
    torch.testing.assert_close(net.weight.detach(), before[0] * (1 - 0.5 * 0.1))
    assert torch.equal(net.bias.detach(), before[1])


class Scripted(nn.Module):
    """A network whose validation loss in epoch i is `losses[i]`."""

    def __init__(self, losses: list[float]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.losses, self.epoch = losses, -1

    def train(self, mode: bool = True) -> Scripted:
        self.epoch += mode and hasattr(self, "epoch")
        return super().train(mode)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            return self.weight
        return self.losses[self.epoch] + 0 * self.weight


def scripted_fit(losses: list[float], **changes: Any) -> tuple[History, Scripted]:
    net = Scripted(losses)
    options = replace(PLAIN, epochs=len(losses), batch_size=4, **changes)
    data = [(torch.zeros(1),)] * 4
    return fit(net, lambda f, batch: f(batch[0]), data, data, options=options), net


def test_stops_after_the_patience_and_returns_the_best() -> None:
    losses = [5.0, 3.0, 4.0, 3.5, 3.0, 1.0, 0.5]
    history, net = scripted_fit(losses, patience=3)
    assert history.ended == "patience"
    assert history.epochs == 5
    assert history.best_epoch == 1
    # AdamW moves the weight by the rate in every epoch: two epochs led to the best one.
    assert net.weight.item() == pytest.approx(-2e-3, rel=1e-4)
    assert scripted_fit(losses)[0].ended == "epochs"


def test_the_plateau_halves_the_rate() -> None:
    losses = [5.0, 5.0, 5.0, 5.0, 4.0, 4.5, 4.6, 4.0]
    history, _ = scripted_fit(losses, schedule="plateau", plateau_patience=1)
    expected = [1e-3, 1e-3, 1e-3, 5e-4, 5e-4, 5e-4, 5e-4, 2.5e-4]
    assert history.learning_rate == pytest.approx(expected)


def test_the_rates_of_warmup_and_cosine() -> None:
    options = replace(PLAIN, epochs=4, batch_size=23, schedule="cosine", warmup_epochs=2)
    history = fit(network(), squared, linear_data(), options=options)
    expected = [0.5e-3, 1e-3, 1e-3, 0.5e-3 * (1 + math.cos(math.pi / 2))]
    assert history.learning_rate == pytest.approx(expected)


def test_a_loss_that_is_not_finite_names_the_samples() -> None:
    data = linear_data(10)
    data[6] = (torch.full((3,), math.inf), data[6][1])
    with pytest.raises(NonFiniteLoss, match=r"epoch 1, batch [123], samples 6: ") as caught:
        fit(network(), squared, data, options=replace(PLAIN, batch_size=4))
    assert caught.value.samples == (6,)
    assert caught.value.epoch == 0


def test_a_gradient_that_is_not_finite_is_refused() -> None:
    def steep(net: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
        return (net(batch[0]) * 0).abs().sqrt().mean()

    with pytest.raises(NonFiniteLoss, match="gradient"):
        fit(network(), steep, linear_data(4), options=replace(PLAIN, gradient_clip=1.0))


def test_a_validation_loss_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="validation loss is not finite in epoch 2"):
        scripted_fit([1.0, math.nan, 1.0])


def test_loader_workers_change_nothing() -> None:
    nets = [network(), network()]
    histories = [
        fit(net, squared, linear_data(), options=replace(PLAIN, epochs=2, loader_workers=workers))
        for net, workers in zip(nets, (0, 2), strict=True)
    ]
    assert histories[0].train_loss == histories[1].train_loss
    assert torch.equal(nets[0].weight, nets[1].weight)


def test_arrays_numbers_and_tensors_are_stacked() -> None:
    data = [(np.full(3, i, dtype=np.float32), 2.0 * i, torch.tensor([i])) for i in range(6)]

    def check(net: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
        array, number, tensor = batch
        assert torch.equal(array[:, 0] * 2, number)
        assert torch.equal(tensor[:, 0].float(), array[:, 0])
        return net(array).mean()

    fit(network(), check, data, options=replace(PLAIN, epochs=1, batch_size=4))


def test_half_precision_trains() -> None:
    net = network()
    options = replace(
        PLAIN, epochs=60, schedule="cosine", learning_rate=0.1, precision="bf16-mixed"
    )
    history = fit(net, squared, linear_data(), options=options)
    assert history.train_loss[-1] < 0.02 < history.train_loss[0]
    assert net.weight.dtype == torch.float32


def test_bad_requests_are_refused(tmp_path: Path) -> None:
    data = linear_data()
    with pytest.raises(ValueError, match="no training samples"):
        fit(network(), squared, [], options=PLAIN)
    with pytest.raises(ValueError, match="no validation samples"):
        fit(network(), squared, data, [], options=PLAIN)
    with pytest.raises(ValueError, match="patience needs validation"):
        fit(network(), squared, data, options=replace(PLAIN, patience=2))
    with pytest.raises(ValueError, match="resume needs the folder"):
        fit(network(), squared, data, options=PLAIN, resume=True)
    with pytest.raises(ValueError, match=r"shape \(8, 1\), expected a scalar"):
        fit(network(), lambda f, batch: f(batch[0]), data, options=PLAIN)
    with pytest.raises(ValueError, match="learning_rate is -1"):
        TrainOptions(learning_rate=-1.0)


RESUMABLE = replace(
    PLAIN,
    epochs=6,
    batch_size=4,
    learning_rate=0.02,
    schedule="plateau",
    plateau_patience=0,
    ema_decay=0.9,
    gradient_clip=1.0,
)


def noisy(net: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
    """A loss with random numbers of its own: a resumed run must draw the same ones."""
    return squared(net, (batch[0] + 0.1 * torch.randn_like(batch[0]), batch[1]))


def losses(history: History) -> dict[str, Any]:
    return {key: value for key, value in asdict(history).items() if key != "seconds"}


KILLED = """
import importlib.util, sys, time
import torch
torch.set_num_threads(1)
spec = importlib.util.spec_from_file_location("test_fit", {file!r})
module = importlib.util.module_from_spec(spec)
sys.modules["test_fit"] = module
spec.loader.exec_module(module)
calls = 0
def slow(net, batch):
    global calls
    calls += 1
    if calls > 25:
        print("in the middle of an epoch", flush=True)
        time.sleep(60)
    return module.noisy(net, batch)
module.fit(module.network(), slow, module.linear_data(), module.linear_data(9, seed=1),
           options=module.RESUMABLE, folder={folder!r})
"""


def test_a_killed_run_continues_bit_for_bit(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    code = textwrap.dedent(KILLED).format(file=__file__, folder=str(folder))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert b"in the middle" in process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    kept = json.loads((folder / "history.json").read_text())
    assert 0 < len(kept["train_loss"]) < RESUMABLE.epochs

    data, valid = linear_data(), linear_data(9, seed=1)
    resumed, whole = network(5), network()
    history = fit(resumed, noisy, data, valid, options=RESUMABLE, folder=folder, resume=True)
    expected = fit(whole, noisy, data, valid, options=RESUMABLE, folder=tmp_path / "whole")
    assert losses(history) == losses(expected)
    assert torch.equal(resumed.weight, whole.weight)
    assert torch.equal(resumed.bias, whole.bias)
    assert History.read(folder / "history.json") == history


def test_a_finished_run_is_not_repeated(tmp_path: Path) -> None:
    data, net, again = linear_data(), network(), network(3)
    history = fit(net, squared, data, options=PLAIN, folder=tmp_path)
    start = time.perf_counter()

    def forbidden(net: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
        raise AssertionError("no sample should be trained on")

    assert fit(again, forbidden, data, options=PLAIN, folder=tmp_path, resume=True) == history
    assert torch.equal(again.weight, net.weight)
    assert time.perf_counter() - start < 5


def test_resume_with_something_else_is_refused(tmp_path: Path) -> None:
    data = linear_data()
    fit(network(), squared, data, options=PLAIN, folder=tmp_path)
    changed = replace(PLAIN, learning_rate=0.5)
    with pytest.raises(ValueError, match=r"learning_rate = 0.001, now 0.5"):
        fit(network(), squared, data, options=changed, folder=tmp_path, resume=True)
    with pytest.raises(ValueError, match="training samples = 23, now 20"):
        fit(network(), squared, data[:20], options=PLAIN, folder=tmp_path, resume=True)


def test_a_checkpoint_from_before_an_option_existed_is_continued(tmp_path: Path) -> None:
    data, net = linear_data(), network()
    history = fit(net, squared, data, options=PLAIN, folder=tmp_path)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    del state["run"]["optimiser"]
    torch.save(state, tmp_path / "checkpoint.pt")
    again = network(3)
    assert fit(again, squared, data, options=PLAIN, folder=tmp_path, resume=True) == history
    with pytest.raises(ValueError, match="optimiser = adamw, now lbfgs"):
        changed = replace(PLAIN, optimiser="lbfgs", batch_size=8)
        fit(again, squared, data[:8], options=changed, folder=tmp_path, resume=True)


def test_a_damaged_or_foreign_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(b"half a file")
    with pytest.raises(ValueError, match=r"checkpoint\.pt is not a checkpoint"):
        fit(network(), squared, linear_data(), options=PLAIN, folder=tmp_path, resume=True)
    torch.save({"run": network()}, path)  # a pickled module: reading it could run anything
    with pytest.raises(ValueError, match="not a readable checkpoint"):
        fit(network(), squared, linear_data(), options=PLAIN, folder=tmp_path, resume=True)


def test_a_checkpoint_holds_nothing_pickled(tmp_path: Path) -> None:
    fit(network(), squared, linear_data(), linear_data(4), options=RESUMABLE, folder=tmp_path)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert len(state["random"]) == 1
    assert state["history"]["ended"] == "epochs"
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["checkpoint.pt", "history.json"]


def test_a_run_is_silent_without_a_terminal(
    capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    fit(network(), squared, linear_data(), options=PLAIN)
    assert capfd.readouterr() == ("", "")
    assert not [warning for warning in recwarn if "sciml" in str(warning.filename)]


def test_the_default_rule_is_adamw() -> None:
    """One step of AdamW from rest moves every weight by the learning rate."""
    net, data = network(), linear_data(8)
    before = weights(net)
    fit(net, squared, data, options=replace(PLAIN, epochs=1), update=AdamW)
    for old, new in zip(before, weights(net), strict=True):
        torch.testing.assert_close((old - new).abs(), torch.full_like(old, 1e-3), rtol=1e-4, atol=0)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
def test_trains_on_cuda_and_comes_back(precision: Any, tmp_path: Path) -> None:
    net, data = network(), linear_data()
    options = replace(
        PLAIN, device="cuda", precision=precision, epochs=100, learning_rate=0.1, ema_decay=0.9
    )
    history = fit(net, squared, data, data, options=options, folder=tmp_path)
    assert history.best_loss < 0.02
    assert net.weight.device.type == "cpu"
    assert squared(net, tuple(torch.stack(c) for c in zip(*data, strict=True))).item() < 0.02
