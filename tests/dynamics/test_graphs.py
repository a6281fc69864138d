"""Windows in CUDA graphs: the plain loop's values and gradients, and when the plain loop remains.

Without a GPU a stand-in plays the graph. Like one it replays in memory of its own, which the next
call overwrites, and a backward pass can be replayed only once for each forward pass.
"""

from __future__ import annotations

import copy
import pickle
import threading
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sciml.dynamics.fields import Bilinear
from sciml.dynamics.fields.networks import ResidualMLP, Scaled
from sciml.dynamics.graphs import GraphedWindow, _Watch, cuda_graph, plain_window
from sciml.dynamics.integrators import FixedStep, Increment, LearnedRungeKutta, RungeKutta
from sciml.dynamics.network import FlowMap
from sciml.nn import MLP

SCHEME, SUBSTEPS = RungeKutta(), 2


class StandIn:
    """Captures as a GPU would, and counts."""

    def __init__(self) -> None:
        self.captures = self.replays = 0

    def __call__(self, call: Callable[..., Tensor], inputs: Sequence[Tensor]):
        self.captures += 1
        static = [x.detach().clone().requires_grad_(x.requires_grad) for x in inputs]
        left: list[Tensor] = []  # what the forward pass left for the backward pass
        memory: dict[int, Tensor] = {}

        def into(place: int, value: Tensor) -> Tensor:
            return memory.setdefault(place, torch.empty_like(value)).copy_(value).detach()

        class Graphed(torch.autograd.Function):
            @staticmethod
            def forward(ctx, *given: Tensor) -> Tensor:
                self.replays += 1
                for place, value in zip(static, given, strict=True):
                    place.copy_(value)
                with torch.enable_grad():
                    left[:] = [call(*static)]
                return into(-1, left[0].detach())

            @staticmethod
            def backward(ctx, bar: Tensor):
                wanted = [i for i, x in enumerate(static) if x.requires_grad]
                found = {i: torch.full_like(static[i], torch.nan) for i in wanted}
                if left:
                    leaves = [static[i] for i in wanted]
                    values = torch.autograd.grad(left.pop(), leaves, bar, allow_unused=True)
                    found = dict(zip(wanted, values, strict=True))
                return tuple(
                    None if found.get(i) is None else into(i, found[i]) for i in range(len(static))
                )

        return Graphed.apply


@pytest.fixture
def graph() -> StandIn:
    return StandIn()


@pytest.fixture
def window(graph: StandIn) -> GraphedWindow:
    return GraphedWindow(most=2, device="cpu", capture=graph)


@pytest.fixture
def field() -> ResidualMLP:
    torch.manual_seed(0)
    return ResidualMLP(3, width=8, blocks=1).double()


def states_of(rng: np.random.Generator, batch: int = 5) -> Tensor:
    return torch.from_numpy(rng.standard_normal((batch, 3)))


def sizes(batch: int = 5, intervals: int = 4) -> Tensor:
    return torch.linspace(0.02, 0.05, intervals).double().expand(batch, intervals)


def run(
    window: Callable[..., Tensor],
    field: nn.Module,
    state: Tensor,
    *,
    scheme: FixedStep = SCHEME,
    steps: Tensor | None = None,
) -> Tensor:
    steps = sizes(len(state)).to(state.dtype) if steps is None else steps
    return window(field, scheme, SUBSTEPS, state, steps)


def derivatives(
    window: Callable[..., Tensor], field: nn.Module, state: Tensor, scheme: FixedStep = SCHEME
) -> list[Tensor | None]:
    """The states, and the gradient of a loss by the first state and all parameters."""
    state = state.detach().requires_grad_()
    weights = [*field.parameters(), *scheme.parameters()]
    states = run(window, field, state, scheme=scheme)
    return [states, *torch.autograd.grad(states.sin().sum(), [state, *weights], allow_unused=True)]


def agree(found: Sequence[Tensor | None], expected: Sequence[Tensor | None]) -> bool:
    return all(
        f is e is None or torch.allclose(f, e, rtol=1e-12, atol=1e-12)
        for f, e in zip(found, expected, strict=True)
    )


class Tied(nn.Module):
    """Two layers of one weight, and a parameter that does not matter."""

    def __init__(self) -> None:
        super().__init__()
        self.first = self.second = nn.Linear(3, 3)
        self.idle = nn.Parameter(torch.ones(2))

    def forward(self, state: Tensor) -> Tensor:
        return self.second(self.first(state).tanh())


class Gradient(nn.Module):
    """A field with a derivative inside."""

    def __init__(self) -> None:
        super().__init__()
        self.potential = MLP(3, 1, hidden=(4,), activation="tanh")

    def forward(self, state: Tensor) -> Tensor:
        unit = torch.ones_like(state)
        return torch.func.jvp(self.potential, (state,), (unit,))[1] - state


@pytest.mark.parametrize(
    ("field", "scheme"),
    [
        (ResidualMLP(3, width=8), SCHEME),
        (Scaled(MLP(3, 3, hidden=(8,)), 3), SCHEME),
        (Tied(), SCHEME),
        (Gradient(), SCHEME),
        (Bilinear(3), Increment(nn.Linear(3, 3).double(), base=RungeKutta())),
    ],
    ids=["residual", "scaled", "tied", "gradient", "increment"],
)
def test_states_and_gradients_are_those_of_the_plain_loop(
    field: nn.Module,
    scheme: FixedStep,
    window: GraphedWindow,
    graph: StandIn,
    rng: np.random.Generator,
) -> None:
    field.double()
    for _ in range(4):
        state = states_of(rng)
        found = derivatives(window, field, state, scheme)
        assert agree(found, derivatives(plain_window, field, state, scheme))
    assert (graph.captures, graph.replays) == (1, 3)


def test_times_are_differentiated_too(
    field: ResidualMLP, window: GraphedWindow, rng: np.random.Generator
) -> None:
    state, steps = states_of(rng), sizes().clone().requires_grad_()
    plain, *found = (
        torch.autograd.grad(run(way, field, state, steps=steps).sum(), steps)
        for way in (plain_window, window, window)
    )
    assert len(window) == 1
    assert all(agree(gradient, plain) for gradient in found)


def test_a_graph_follows_the_optimiser(
    field: ResidualMLP, window: GraphedWindow, graph: StandIn, rng: np.random.Generator
) -> None:
    other = copy.deepcopy(field)
    ways = [(window, field), (plain_window, other)]
    optimisers = [torch.optim.SGD(f.parameters(), lr=0.02, momentum=0.9) for _, f in ways]
    first = states_of(rng, 8)
    for _ in range(5):
        for batch in (first[:5], first[5:]):  # the last of an epoch is smaller
            for (way, learned), optimiser in zip(ways, optimisers, strict=True):
                optimiser.zero_grad()
                run(way, learned, batch).square().mean().backward()
                optimiser.step()
    assert (graph.captures, graph.replays) == (2, 8)
    assert agree(list(field.parameters()), list(other.parameters()))


def test_gradients_accumulate(
    field: ResidualMLP, window: GraphedWindow, rng: np.random.Generator
) -> None:
    batches = [states_of(rng) for _ in range(4)]
    for batch in batches:
        run(window, field, batch).sin().sum().backward()
    found = [p.grad for p in field.parameters()]
    field.zero_grad()
    sum(run(plain_window, field, batch).sin().sum() for batch in batches).backward()
    assert agree(found, [p.grad for p in field.parameters()])


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 1, 0)])
def test_backward_passes_may_come_later_and_twice(
    order: tuple[int, ...], field: ResidualMLP, window: GraphedWindow, rng: np.random.Generator
) -> None:
    batches = [states_of(rng).requires_grad_() for _ in range(3)]
    run(window, field, batches[0])
    calls = [run(window, field, batch) for batch in batches]
    plain = [run(plain_window, field, batch) for batch in batches]
    assert agree(calls, plain)
    for i in order:
        leaves = [batches[i], *field.parameters()]
        found, expected = (
            torch.autograd.grad(states[i].sin().sum(), leaves, retain_graph=True)
            for states in (calls, plain)
        )
        assert agree(found, expected)


def test_a_gradient_can_be_differentiated(
    field: ResidualMLP, window: GraphedWindow, rng: np.random.Generator
) -> None:
    state = states_of(rng).requires_grad_()

    def twice(way: Callable[..., Tensor]) -> Sequence[Tensor]:
        loss = run(way, field, state).sin().sum()
        (slope,) = torch.autograd.grad(loss, state, create_graph=True)
        return torch.autograd.grad(slope.square().sum(), [state, field.embed.weight])

    run(window, field, state)
    assert agree(twice(window), twice(plain_window))
    assert len(window) == 1


def test_weights_changed_before_the_backward_pass_are_refused(
    field: ResidualMLP, window: GraphedWindow, rng: np.random.Generator
) -> None:
    run(window, field, states_of(rng))
    states = run(window, field, states_of(rng))
    with torch.no_grad():
        field.embed.weight.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        states.sum().backward()


def test_only_the_last_shapes_keep_their_graphs(
    field: ResidualMLP, window: GraphedWindow, graph: StandIn, rng: np.random.Generator
) -> None:
    def call(batch: int) -> None:
        run(window, field, states_of(rng, batch))

    for batch in (3, 3, 3, 4, 4, 3):
        call(batch)
    assert (graph.captures, len(window)) == (2, 2)
    call(5)  # 4 was used before 3
    call(5)
    assert (graph.captures, len(window)) == (3, 2)
    call(3)
    assert graph.captures == 3
    call(4)
    call(4)
    assert (graph.captures, len(window)) == (4, 2)
    for batch in (5, 6, 7, 5, 6, 7):  # more than are kept: none is worth its capture
        call(batch)
    assert (graph.captures, len(window)) == (4, 0)


def test_what_a_graph_depends_on_is_noticed(
    field: ResidualMLP, window: GraphedWindow, graph: StandIn, rng: np.random.Generator
) -> None:
    """Another precision, another mode, frozen parameters, another layer: another graph."""
    state = states_of(rng)

    def captures(state: Tensor) -> int:
        for _ in range(3):
            run(window, field, state)
        return graph.captures

    assert captures(state) == 1
    field.float()
    assert captures(state.float()) == 2
    field.eval()
    assert captures(state.float()) == 3
    field.embed.requires_grad_(False)
    assert captures(state.float()) == 4
    field.blocks[0][1] = nn.Softplus()
    assert captures(state.float()) == 5
    assert captures(state.float().requires_grad_()) == 6


def test_replaced_parameters_are_taken_as_they_are(
    field: ResidualMLP, window: GraphedWindow, graph: StandIn, rng: np.random.Generator
) -> None:
    for _ in range(3):
        for parameter in field.parameters():
            parameter.data = torch.from_numpy(rng.standard_normal(parameter.shape)) / 4
        state = states_of(rng)
        assert agree(derivatives(window, field, state), derivatives(plain_window, field, state))
    assert graph.captures == 1


class Noisy(nn.Module):
    def forward(self, state: Tensor) -> Tensor:
        return state + torch.randn_like(state)


class Branching(nn.Module):
    def forward(self, state: Tensor) -> Tensor:
        return state if state.norm() > 1 else -state


class Masking(nn.Module):
    def forward(self, state: Tensor) -> Tensor:
        rate = -state
        rate[state > 0] = 0.0
        return rate


class Listing(nn.Module):
    def forward(self, state: Tensor) -> Tensor:
        return state[:, [1, 2, 0]]


class Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, state: Tensor) -> Tensor:
        self.calls += 1  # type: ignore[operator]
        return -state * self.calls.clone()


class Holding(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rates = torch.ones(3).double()

    def forward(self, state: Tensor) -> Tensor:
        return -self.rates * state


@pytest.mark.parametrize(
    ("field", "scheme", "reason"),
    [
        (Noisy(), SCHEME, "aten.randn_like draws random numbers"),
        (nn.Dropout(), SCHEME, "bernoulli_? draws|native_dropout draws"),
        (Branching(), SCHEME, "_local_scalar_dense takes values to or from the host"),
        (Masking(), SCHEME, "takes values to or from the host"),
        (Listing(), SCHEME, "takes values to or from the host"),
        (nn.Tanh(), LearnedRungeKutta(2, 2), "takes values to or from the host"),
        (Counting(), SCHEME, "writes to its own tensors"),
        (Holding(), SCHEME, "neg reads a tensor that is neither parameter nor buffer"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_field_that_no_graph_repeats_stays_a_plain_loop_and_says_so_once(
    field: nn.Module,
    scheme: FixedStep,
    reason: str,
    window: GraphedWindow,
    graph: StandIn,
    rng: np.random.Generator,
) -> None:
    state = states_of(rng)
    with pytest.warns(UserWarning, match=f"a CUDA graph could not repeat .*({reason})") as said:
        for count in (5, 5, 5, 4):
            torch.manual_seed(1)
            found = derivatives(window, field, state[:count], scheme)
    assert len(said) == 1
    assert graph.captures == 0
    torch.manual_seed(1)
    if not isinstance(field, Counting):
        assert agree(found, derivatives(plain_window, field, state[:4], scheme))


def test_tensors_on_another_device_are_an_obstacle() -> None:
    with _Watch([torch.zeros(3, device="meta")]) as watch:
        torch.zeros(2)
    assert watch.obstacle == "aten.zeros takes values to or from the host"


def test_dropout_at_rest_has_a_graph(
    window: GraphedWindow, graph: StandIn, rng: np.random.Generator
) -> None:
    field = nn.Sequential(nn.Linear(3, 3), nn.Dropout()).double().eval()
    for _ in range(2):
        run(window, field, states_of(rng))
    assert graph.captures == 1
    field.train()
    with pytest.warns(UserWarning, match="random numbers"):
        first, second = (run(window, field, torch.ones(5, 3).double()) for _ in range(2))
    assert not torch.equal(first, second)
    assert graph.captures == 1


def without_gradients(call: Callable[[], Tensor], field: nn.Module) -> None:
    with torch.no_grad():
        call()


def in_inference_mode(call: Callable[[], Tensor], field: nn.Module) -> None:
    with torch.inference_mode():
        call()


def frozen(call: Callable[[], Tensor], field: nn.Module) -> None:
    field.requires_grad_(False)
    call()


def in_a_transform(call: Callable[[], Tensor], field: nn.Module) -> None:
    torch.func.grad(lambda factor: (factor * call()).sum())(torch.ones(()).double())


def in_forward_mode(call: Callable[..., Tensor], field: nn.Module) -> None:
    forward = torch.autograd.forward_ad
    with forward.dual_level():
        state = forward.make_dual(torch.zeros(5, 3).double(), torch.ones(5, 3).double())
        assert forward.unpack_dual(call(state)).tangent is not None


def in_autocast(call: Callable[[], Tensor], field: nn.Module) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        call()


def checkpointed(call: Callable[[], Tensor], field: nn.Module) -> None:
    states = torch.utils.checkpoint.checkpoint(call, use_reentrant=False)
    states.sum().backward()


def with_a_hook(call: Callable[[], Tensor], field: nn.Module) -> None:
    field.out.register_forward_hook(lambda module, given, found: None)
    call()


def beside_a_loader(call: Callable[[], Tensor], field: nn.Module) -> None:
    done = threading.Event()
    thread = threading.Thread(target=done.wait, name="Thread-1 (_pin_memory_loop)")
    thread.start()
    try:
        call()
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize(
    "way",
    [
        without_gradients,
        in_inference_mode,
        frozen,
        in_a_transform,
        in_forward_mode,
        in_autocast,
        checkpointed,
        with_a_hook,
        beside_a_loader,
    ],
)
def test_the_plain_loop_remains_where_no_graph_is_valid(
    way: Callable[[Callable[[], Tensor], nn.Module], None],
    field: ResidualMLP,
    window: GraphedWindow,
    graph: StandIn,
    rng: np.random.Generator,
) -> None:
    state = states_of(rng)
    run(window, field, state)  # the next would be captured
    for _ in range(3):
        way(lambda state=state: run(window, field, state), field)
    assert graph.captures == 0


def test_a_capture_that_fails_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **options: object) -> None:
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", fail)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: None)
    monkeypatch.setattr(torch.cuda, "stream", nullcontext)
    with pytest.raises(RuntimeError, match=r"not permitted when .* call the network with kernel="):
        cuda_graph(torch.sin, [torch.zeros(1)])


@pytest.fixture
def net(field: ResidualMLP, window: GraphedWindow) -> FlowMap:
    """A flow that has a graph, of the stand-in."""
    net = FlowMap(field, 3, scheme=RungeKutta(), substeps=SUBSTEPS).double()
    net._graphs = window
    for _ in range(2):
        net(torch.ones(5, 3).double(), torch.arange(3.0).double().expand(5, 3) * 0.1)
    assert len(window) == 1
    return net


def test_graphs_are_no_part_of_the_state(net: FlowMap, tmp_path: Path) -> None:
    fresh = FlowMap(copy.deepcopy(net.field), 3, scheme=RungeKutta(), substeps=SUBSTEPS)
    assert list(net.state_dict()) == list(fresh.state_dict())
    assert [*dict(net.named_modules())] == ["", *(f"field{n}" for n in INSIDE), "scheme"]
    assert [name for name, _ in net.named_buffers()] == ["mean", "scale"]
    save_file(net.state_dict(), tmp_path / "weights.safetensors")
    fresh.double().load_state_dict(load_file(tmp_path / "weights.safetensors"))
    assert all(map(torch.equal, net.state_dict().values(), fresh.state_dict().values()))


INSIDE = ["", ".embed", ".blocks", ".blocks.0", ".blocks.0.0", ".blocks.0.1", ".blocks.0.2", ".out"]


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))], ids=["copy", "pickle"]
)
def test_a_copy_begins_without_graphs(copied: Callable[[FlowMap], FlowMap], net: FlowMap) -> None:
    net._graphs.capture = cuda_graph
    again = copied(net)
    assert (len(again._graphs), len(net._graphs)) == (0, 1)
    assert (again._graphs.most, again._graphs.device) == (2, "cpu")
    state, times = torch.ones(2, 3).double(), torch.arange(3.0).double().expand(2, 3) * 0.1
    assert torch.equal(again(state, times), net(state, times))


def test_a_network_that_moves_lets_its_graphs_go(net: FlowMap) -> None:
    net.to("cpu")
    assert len(net._graphs) == 0


def test_graphs_leave_to_a_kernel_what_it_takes(
    window: GraphedWindow, graph: StandIn, rng: np.random.Generator
) -> None:
    state, times = states_of(rng), torch.arange(3.0).double().expand(5, 3) * 0.1
    for field, captures in [(MLP(3, 3, activation="tanh"), 0), (MLP(3, 3, activation="gelu"), 1)]:
        net = FlowMap(field, 3, scheme=RungeKutta()).double()
        net._graphs = window
        for _ in range(3):
            net(state, times)
        assert graph.captures == captures


@pytest.mark.parametrize("kernel", [True, False])
def test_a_cpu_runs_the_plain_loop(
    kernel: bool, field: ResidualMLP, rng: np.random.Generator
) -> None:
    net = FlowMap(field, 3, scheme=SCHEME, substeps=SUBSTEPS).double()
    state = states_of(rng).requires_grad_()
    times = torch.cat([torch.zeros(5, 1), SUBSTEPS * sizes().cumsum(1)], 1)
    for _ in range(3):
        found = net(state, times, kernel=kernel)
    assert len(net._graphs._kept) == 0
    assert agree([found], [run(plain_window, field, state)])


def test_a_flow_can_be_exported(field: ResidualMLP, rng: np.random.Generator) -> None:
    net = FlowMap(field, 3, scheme=SCHEME).double()
    state, times = states_of(rng), torch.arange(3.0).double().expand(5, 3) * 0.1
    exported = torch.export.export(net, (state, times)).module()
    assert agree([exported(state, times)], [net(state, times)])


# On a GPU.


def flows(field: nn.Module) -> list[tuple[FlowMap, bool]]:
    """The same flow twice, and whether it may use graphs."""
    net = FlowMap(field, 3, scheme=RungeKutta(), substeps=SUBSTEPS).double().cuda()
    return [(net, True), (copy.deepcopy(net), False)]


@pytest.mark.gpu
@pytest.mark.parametrize(
    "field",
    [ResidualMLP(3), Scaled(MLP(3, 3), 3), MLP(3, 3, activation="tanh"), Bilinear(3), Gradient()],
    ids=lambda field: type(field).__name__,
)
def test_a_gpu_learns_with_graphs_as_with_the_plain_loop(
    field: nn.Module, rng: np.random.Generator
) -> None:
    """Values and gradients of every step, the last batch of an epoch smaller; no kernel here."""
    ways = flows(field)
    optimisers = [torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9) for net, _ in ways]
    data = states_of(rng, 21).cuda()
    times = torch.arange(9).double().expand(8, 9).cuda() * 0.02
    for _ in range(4):
        for batch in data.split(8):
            found = []
            for (net, kernel), optimiser in zip(ways, optimisers, strict=True):
                state = batch.clone().requires_grad_()
                optimiser.zero_grad()
                states = net(state, times[: len(batch)], kernel=kernel)
                states.square().mean().backward()
                gradients = [p.grad.clone() for p in net.parameters() if p.grad is not None]
                found.append([states, state.grad, *gradients])
                optimiser.step()
            assert agree(*found)
    assert [len(net._graphs) for net, _ in ways] == [2, 0]


@pytest.mark.gpu
def test_a_gpu_accumulates_and_goes_back_in_any_order(rng: np.random.Generator) -> None:
    ways = flows(ResidualMLP(3))
    batches = states_of(rng, 15).cuda().split(5)
    times = torch.arange(4).double().expand(5, 4).cuda() * 0.05
    found = []
    for net, kernel in ways:
        net(batches[0], times, kernel=kernel)
        losses = [net(b, times, kernel=kernel).sin().sum() for b in batches]
        for loss in losses:
            loss.backward(retain_graph=True)
        losses[0].backward()
        slopes = torch.autograd.grad(losses[1], [*net.parameters()], create_graph=True)
        second = torch.autograd.grad(sum(s.square().sum() for s in slopes), [*net.parameters()])
        found.append([*losses, *(p.grad for p in net.parameters()), *second])
    assert agree(*found)
    assert [len(net._graphs) for net, _ in ways] == [1, 0]


@pytest.mark.gpu
@pytest.mark.parametrize("field", [Branching(), Noisy(), Masking(), Listing()])
def test_a_gpu_runs_the_plain_loop_for_a_field_that_no_graph_repeats(
    field: nn.Module, rng: np.random.Generator
) -> None:
    times = torch.arange(4).double().expand(5, 4).cuda() * 0.05
    state, found = states_of(rng).cuda().requires_grad_(), []
    for net, kernel in flows(field):
        with pytest.warns(UserWarning, match="a CUDA graph") if kernel else nullcontext():
            net(state, times, kernel=kernel)
        torch.manual_seed(1)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found.append([net(state, times, kernel=kernel)])
        assert len(net._graphs) == 0
    assert agree(*found)


@pytest.mark.gpu
def test_a_network_on_a_gpu_can_move_and_change_its_precision(rng: np.random.Generator) -> None:
    ways = flows(ResidualMLP(3))
    times = torch.arange(4).double().expand(5, 4) * 0.05
    state = states_of(rng)
    for to, graphs in [
        ({"device": "cuda"}, 1),
        ({"device": "cpu"}, 0),
        ({"device": "cuda", "dtype": torch.float32}, 1),
    ]:
        x, t = state.to(**to), times.to(**to)
        found = []
        for net, kernel in ways:
            net.to(**to)
            states = [net(x, t, kernel=kernel) for _ in range(3)][-1]
            found.append(states)
            assert len(net._graphs) == (graphs if kernel else 0)
        assert found[0].device == x.device and found[0].dtype == x.dtype
        assert torch.allclose(*found, rtol=1e-5, atol=1e-6)
