"""A window of integration steps as one CUDA graph: for a field that no kernel takes."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.forward_ad import unpack_dual
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sciml.dynamics.integrators.scheme import FixedStep

__all__ = ["GraphedWindow", "plain_window"]

Call = Callable[..., Tensor]
Capture = Callable[[Call, Sequence[Tensor]], Call]
"""From a function and examples of its tensors to one that replays it in memory of its own."""


def plain_window(
    field: nn.Module,
    scheme: FixedStep,
    substeps: int,
    state: Float[Tensor, "batch component"],
    steps: Float[Tensor, "batch interval"],
) -> Float[Tensor, "batch time component"]:
    """The states before and after each interval of `substeps` steps: the plain loop.

    Args:
        field: rates of states.
        scheme: how one step is done.
        substeps: steps in an interval.
        state: where to begin.
        steps: size of the steps in each interval, a row for each sample.

    Example:
        >>> from sciml.dynamics.integrators import EULER, RungeKutta
        >>> steps = torch.full((1, 2), 0.25)
        >>> plain_window(nn.Identity(), RungeKutta(EULER), 2, torch.ones(1, 1), steps).flatten()
        tensor([1.0000, 1.5625, 2.4414])
    """
    states = [state]
    for k in range(steps.shape[1]):
        for _ in range(substeps):
            state = scheme.advance(field, state, steps[:, k : k + 1])
        states.append(state)
    return torch.stack(states, dim=1)


def cuda_graph(call: Call, inputs: Sequence[Tensor]) -> Call:
    """`call` as two CUDA graphs, forward and backward, for tensors like `inputs`.

    Raises:
        RuntimeError: something in it cannot be captured.
    """
    examples = tuple(x.detach().clone().requires_grad_(x.requires_grad) for x in inputs)
    # A capture that fails leaves its own stream the current one; this block puts ours back.
    here = torch.cuda.stream(torch.cuda.current_stream(inputs[0].device))
    try:
        with here, torch.enable_grad():
            return cast(
                Call,
                torch.cuda.make_graphed_callables(call, examples, allow_unused_input=True),
            )
    except RuntimeError as error:
        raise RuntimeError(
            f"a window could not be captured in a CUDA graph ({error}): start anew, since a "
            "capture that fails may leave the device without random numbers, and call the network "
            "with kernel=False, which takes the plain loop"
        ) from error


class GraphedWindow:
    r"""`plain_window`, in CUDA graphs where these give the same.

    A GPU waits for the launch of each of the loop's thousand small operations; a graph launches
    them at once. The first call with given shapes runs the plain loop and watches it; the second
    captures forward and backward (`torch.cuda.make_graphed_callables`), which takes as long as a
    few calls and keeps the memory of one; all others replay. Values and gradients, to the state,
    the steps and all parameters of field and scheme, are copied out of the graph's memory, and
    parameters and buffers into it, so that these may change or move between calls. A backward pass
    whose intermediate values a later call has overwritten replays its forward pass first.

    The plain loop remains on other devices, without gradients, for second derivatives, under
    `torch.func`, forward-mode differentiation, autocast, `torch.compile`, checkpointing or a
    capture of one's own, for modules with hooks, and while a loader's thread pins memory. So it
    does, with one warning, for a field or scheme that draws random numbers, writes to its buffers,
    reads tensors that are neither parameters nor buffers, or asks for values on the host, as
    data-dependent control flow does.

    A graph cannot see what else the Python code of a field does: numbers that it reads are as they
    were at capture.

    Args:
        most: graphs kept at most, of different shapes; the one longest unused goes first.
        device: type of the devices on which graphs are made.
        capture: what makes a graph.

    Raises:
        RuntimeError: at a call that captures, if that fails.

    Example:
        >>> from sciml.dynamics.integrators import RungeKutta
        >>> window, field = GraphedWindow(), nn.Linear(3, 3)
        >>> window(field, RungeKutta(), 1, torch.zeros(5, 3), torch.full((5, 4), 0.1)).shape
        torch.Size([5, 5, 3])
        >>> len(window)  # on a CPU
        0
    """

    def __init__(
        self, *, most: int = 4, device: str = "cuda", capture: Capture = cuda_graph
    ) -> None:
        self.most, self.device, self.capture = most, device, capture
        # A graph; True where the next call captures one; False where the plain loop remains.
        self._kept: dict[Hashable, _Graph | bool] = {}
        self._warned = False

    def __call__(
        self,
        field: nn.Module,
        scheme: FixedStep,
        substeps: int,
        state: Float[Tensor, "batch component"],
        steps: Float[Tensor, "batch interval"],
    ) -> Float[Tensor, "batch time component"]:
        """The states before and after each interval; the arguments are those of `plain_window`."""
        if torch.compiler.is_compiling() or state.device.type != self.device:
            return plain_window(field, scheme, substeps, state, steps)
        window = _Window(field, scheme, substeps)
        tensors = {**dict(window.named_parameters()), **dict(window.named_buffers())}
        inputs = (state, steps, *tensors.values())
        if not _suits(window, inputs):
            return window(state, steps)
        key = _key(window, tensors, state, steps)
        if key not in self._kept:
            return self._first(key, window, inputs)
        kept = self._kept[key] = self._kept.pop(key)  # the last used comes last
        if kept is False or (kept is True and _pinning()):
            return window(state, steps)
        if kept is True:
            kept = self._kept[key] = _Graph(_pure(window, tuple(tensors)), inputs, self.capture)
        return _Replay.apply(kept, *inputs)

    def __len__(self) -> int:
        """How many graphs are kept."""
        return sum(isinstance(kept, _Graph) for kept in self._kept.values())

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy begins without graphs."""
        return partial(GraphedWindow, most=self.most, device=self.device, capture=self.capture), ()

    def clear(self) -> None:
        """Let go of all graphs and their memory."""
        self._kept.clear()

    def _first(self, key: Hashable, window: _Window, inputs: Sequence[Tensor]) -> Tensor:
        """The plain loop, watched."""
        state, steps, *_ = inputs
        versions = [x._version for x in inputs]
        with _Watch(inputs) as watch:
            states = window(state, steps)
        obstacle = watch.obstacle
        if [x._version for x in inputs] != versions:
            obstacle = "the field writes to its own tensors"
        while len(self._kept) >= self.most:
            del self._kept[next(iter(self._kept))]
        self._kept[key] = obstacle is None and states.requires_grad
        if obstacle is not None and not self._warned:
            self._warned = True
            warnings.warn(
                f"a CUDA graph could not repeat this window, since {obstacle}: it stays a plain "
                "loop, which waits for the launch of every operation",
                stacklevel=3,
            )
        return states


class _Window(nn.Module):
    """The plain loop as a module, whose parameters and buffers have names."""

    def __init__(self, field: nn.Module, scheme: FixedStep, substeps: int) -> None:
        super().__init__()
        self.field, self.scheme, self.substeps = field, scheme, substeps

    def forward(self, state: Tensor, steps: Tensor) -> Tensor:
        return plain_window(self.field, self.scheme, self.substeps, state, steps)


def _pure(window: _Window, names: Sequence[str]) -> Call:
    """The plain loop as a function of all its tensors."""

    def call(state: Tensor, steps: Tensor, *tensors: Tensor) -> Tensor:
        return functional_call(window, dict(zip(names, tensors, strict=True)), (state, steps))

    return call


class _Graph:
    """A captured window; its memory holds the values of one call at a time."""

    def __init__(self, plain: Call, inputs: Sequence[Tensor], capture: Capture) -> None:
        self.plain, self.captured = plain, capture(plain, inputs)
        self.held: tuple[Tensor, list[Tensor]] | None = None

    def replay(self, inputs: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """The states, in the graph's memory, and the leaves that they are differentiated by."""
        leaves = [x.detach().requires_grad_(x.requires_grad) for x in inputs]
        with torch.enable_grad():
            self.held = (self.captured(*leaves), leaves)
        return self.held


class _Replay(torch.autograd.Function):
    """One call of a graph, which hands out copies alone."""

    @staticmethod
    def forward(ctx: Any, graph: _Graph, *inputs: Tensor) -> Tensor:
        ctx.save_for_backward(*inputs)
        ctx.graph, ctx.call = graph, graph.replay(inputs)
        return ctx.call[0].detach().clone()

    @staticmethod
    def backward(ctx: Any, bar: Tensor) -> tuple[Any, ...]:
        graph, inputs = ctx.graph, ctx.saved_tensors
        if torch.is_grad_enabled():  # the gradient is to be differentiated in its turn
            return None, *_gradients(graph.plain(*inputs), inputs, bar, create_graph=True)
        states, leaves = ctx.call if graph.held is ctx.call else graph.replay(inputs)
        graph.held = None  # the backward graph writes over what the forward graph left
        found = _gradients(states, leaves, bar, create_graph=False)
        return None, *(None if x is None else x.clone() for x in found)


def _gradients(
    states: Tensor, inputs: Sequence[Tensor], bar: Tensor, *, create_graph: bool
) -> list[Tensor | None]:
    """By each input, None for those that need none or do not matter."""
    wanted = [x for x in inputs if x.requires_grad]
    found = iter(
        torch.autograd.grad(states, wanted, bar, create_graph=create_graph, allow_unused=True)
    )
    return [next(found) if x.requires_grad else None for x in inputs]


def _suits(window: _Window, inputs: Sequence[Tensor]) -> bool:
    """Whether a graph gives what the plain loop gives, as far as is known before a call."""
    state, steps, *_ = inputs
    return (
        torch.is_grad_enabled()
        and any(x.requires_grad for x in inputs)
        and state.numel() > 0
        and steps.numel() > 0
        and all(_ordinary(x, state.device) for x in inputs)
        and not any(_hooked(module) for module in window.modules())
        and not torch._C._are_functorch_transforms_active()
        and not torch.jit.is_tracing()
        and torch._C._autograd._top_saved_tensors_default_hooks(True) is None
        and not torch.is_autocast_enabled(state.device.type)
        and not (state.is_cuda and torch.cuda.is_current_stream_capturing())
    )


def _ordinary(tensor: Tensor, device: torch.device) -> bool:
    return (
        type(tensor) in (Tensor, nn.Parameter)
        and tensor.device == device
        and tensor.layout is torch.strided
        and not tensor.is_inference()
        and unpack_dual(tensor).tangent is None
    )


def _hooked(module: nn.Module) -> bool:
    return any(
        (
            module._forward_hooks,
            module._forward_pre_hooks,
            module._backward_hooks,
            module._backward_pre_hooks,
        )
    )


def _pinning() -> bool:
    """Whether a loader's thread pins memory: what it asks of CUDA would break a capture."""
    return any("_pin_memory_loop" in thread.name for thread in threading.enumerate())


def _key(window: _Window, tensors: dict[str, Tensor], state: Tensor, steps: Tensor) -> Hashable:
    """What two calls must have in common to share a graph."""
    named = {"state": state, "steps": steps, **tensors}
    kinds = tuple((name, x.shape, x.dtype, x.requires_grad) for name, x in named.items())
    modules = (*window.field.modules(), *window.scheme.modules())
    modes = tuple((module, module.training) for module in modules)
    stream = torch.cuda.current_stream(state.device) if state.is_cuda else None
    return window.substeps, state.device, stream, modes, kinds


class _Watch(TorchDispatchMode):
    """Finds the first operation that a graph could not repeat with other numbers."""

    def __init__(self, inputs: Sequence[Tensor]) -> None:
        super().__init__()
        self.device = inputs[0].device
        self.known = set(map(_storage, inputs))
        self.obstacle: str | None = None

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if self.obstacle is None:
            given, made = _tensors_in((args, kwargs)), _tensors_in(result)
            reason = self._values(func, args, given + made) or self._strangers(given)
            self.obstacle = reason and f"{func.overloadpacket} {reason}"
            self.known.update(map(_storage, made))
        return result

    def _values(self, func: Any, args: Any, tensors: Sequence[Tensor]) -> str | None:
        """Values that the host makes or sees."""
        if torch.Tag.nondeterministic_seeded in func.tags:
            return "draws random numbers"
        elsewhere = any(x.device != self.device and x.ndim > 0 for x in tensors)
        if elsewhere or _dynamic(func, args) or func.overloadpacket in _FROM_HOST:
            return "takes values to or from the host"
        return None

    def _strangers(self, given: Sequence[Tensor]) -> str | None:
        """Tensors that were there before the window, and that a graph would not know to change."""
        if self.known.issuperset(map(_storage, given)):
            return None
        return "reads a tensor that is neither parameter nor buffer (register it as one of these)"


_aten = torch.ops.aten
_INDEXING = (_aten.index, _aten.index_put, _aten.index_put_)
_FROM_HOST = (_aten.lift_fresh, _aten._linalg_check_errors)


def _dynamic(func: Any, args: Any) -> bool:
    """Whether sizes or the way taken depend on values."""
    if func.overloadpacket in _INDEXING:
        return any(x.dtype in (torch.bool, torch.uint8) for x in _tensors_in(args[1]))
    tags = (torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape)
    return any(tag in func.tags for tag in tags)


def _tensors_in(tree: Any) -> list[Tensor]:
    """All but those without values, which derivatives in forward mode use to find shapes."""
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor) and not leaf.is_meta]


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata
