"""The solvers and adjoints of torchdiffeq behind the same switch."""

from __future__ import annotations

from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sciml.dynamics.integrators.failure import StepTooSmall
from sciml.dynamics.integrators.scheme import Field, FixedStep, Size, march

Method = Literal[
    "euler", "midpoint", "heun3", "rk4", "explicit_adams", "implicit_adams",
    "bosh3", "fehlberg2", "adaptive_heun", "dopri5", "dopri8",
]  # fmt: skip

_ORDERS = {
    "euler": (1, 1), "midpoint": (2, 2), "heun3": (3, 3), "rk4": (4, 4), "explicit_adams": (4, 4),
    "implicit_adams": (4, 4), "bosh3": (3, 4), "fehlberg2": (2, 3), "adaptive_heun": (2, 2),
    "dopri5": (5, 7), "dopri8": (8, 13),
}  # fmt: skip

_FIXED = ("euler", "midpoint", "heun3", "rk4", "explicit_adams", "implicit_adams")


class Torchdiffeq(FixedStep):
    r"""A solver of torchdiffeq: `store` is its backpropagation, `continuous` its adjoint.

    Where it is enough: dopri8, the Adams methods, and a comparison. Where it is not:

    - an adaptive method controls one error for the whole batch, so a sample's result depends on its
      companions; `DormandPrince` gives each its own step;
    - times must be the same for all samples; times of their own are met only by starting the solver
      anew in every interval, scaled to one length;
    - its adjoint restarts at every output time (448 evaluations against 86 forward for 33 times
      in 0.32 units of Lorenz-63, where that of `DormandPrince` takes 225 and 74), and carries the
      state backward between two of them, which is unstable on a chaotic attractor;
    - `rk4` is the 3/8 rule, and a step size that does not divide an interval is handled by
      linear interpolation, so one of order 4 converges with order 2; here every interval is
      divided evenly;
    - dopri8 interpolates its long steps by a polynomial of low order, so that states between them
      miss the tolerance by far;
    - no checkpointing, no interpolated adjoint, no gradients of several modes to compare;
    - it fails by an assertion that names neither sample nor what to change; here that becomes a
      `StepTooSmall`.

    Args:
        method: name of the method in torchdiffeq.
        rtol: relative tolerance of an adaptive method.
        atol: absolute tolerance of an adaptive method.
        step: the largest step in time of a fixed-step method; None takes one a time.
        most: most steps of an adaptive method between two times.

    Raises:
        ValueError: an unknown method, or the step is not positive.

    References:
        R. T. Q. Chen et al., Neural Ordinary Differential Equations, 2018,
        https://doi.org/10.48550/arXiv.1806.07366

    Example:
        >>> from sciml.dynamics.integrators import integrate
        >>> times = torch.tensor([0.0, 1.0])
        >>> integrate(torch.neg, torch.ones(1, 1), times, scheme=Torchdiffeq("dopri8"))[0, -1]
        tensor([0.3679])
    """

    def __init__(
        self,
        method: Method = "dopri5",
        *,
        rtol: float = 1e-6,
        atol: float = 1e-9,
        step: float | None = None,
        most: int = 100_000,
    ) -> None:
        super().__init__(step=step)
        if method not in _ORDERS:
            raise ValueError(f"unknown method {method!r}: choose one of {', '.join(_ORDERS)}")
        self.method, self.rtol, self.atol, self.most = method, rtol, atol, most
        self.order, self.stages = _ORDERS[method]

    def advance(
        self, field: Field, state: Float[Tensor, "batch component"], size: Size
    ) -> Float[Tensor, "batch component"]:
        """One call of the solver over a step of `size`, in a time scaled to one."""
        unit = state.new_tensor([0.0, 1.0], dtype=torch.float64)
        return self._call(_Timed(field, size), state, unit, adjoint=False)[-1]

    def solve(
        self, field: Field, state: Tensor, times: Tensor, gradient: Any
    ) -> Float[Tensor, "batch time component"]:
        """The states at the times, by one call of the solver where all samples share them.

        Raises:
            ValueError: a gradient that torchdiffeq does not have, or its adjoint for times of
                each sample's own.
            StepTooSmall: the solver gives up.
        """
        if gradient not in ("store", "continuous"):
            raise ValueError(
                f"gradient {gradient!r} given: torchdiffeq has 'store' and 'continuous'; for "
                "others choose RungeKutta or DormandPrince"
            )
        if times.ndim == 1:
            grid, kept = self._grid(times)
            adjoint = gradient == "continuous" and torch.is_grad_enabled()
            states = self._call(_Timed(field, 1.0), state, grid, adjoint=adjoint)
            return states[kept].transpose(0, 1)
        if gradient == "continuous":
            raise ValueError(
                "times of each sample's own given to torchdiffeq's adjoint: give the same times "
                "to all samples, or choose DormandPrince"
            )
        return march(self, field, state, self.plan(field, state, times))

    def _grid(self, times: Tensor) -> tuple[Tensor, Tensor]:
        """All times that a step ends on, and which of them are asked for."""
        gaps = times.diff()
        if self.step is None or self.method not in _FIXED:
            return times, torch.arange(len(times), device=times.device)
        counts = (gaps / self.step - 1e-6).ceil().to(torch.int64)
        parts = [
            t + gap * torch.arange(1, int(n) + 1, device=times.device) / n
            for t, gap, n in zip(times[:-1], gaps, counts, strict=True)
        ]
        return torch.cat([times[:1], *parts]), torch.cat([counts.new_zeros(1), counts.cumsum(0)])

    def _call(self, field: _Timed, state: Tensor, times: Tensor, *, adjoint: bool) -> Tensor:
        from torchdiffeq import odeint, odeint_adjoint  # here, since importing it costs a second

        options = {} if self.method in _FIXED else {"max_num_steps": self.most}
        try:
            return (odeint_adjoint if adjoint else odeint)(
                field, state, times, rtol=self.rtol, atol=self.atol, method=self.method,
                options=options,
            )  # fmt: skip
        except AssertionError as error:
            raise field.failure(self.method, str(error)) from error


class _Timed(nn.Module):
    """The field as torchdiffeq calls it; remembers where it was called last."""

    def __init__(self, field: Field, size: Size) -> None:
        super().__init__()
        self.field, self.size = field, size
        self.last: tuple[Tensor, Tensor] | None = None

    def forward(self, time: Tensor, state: Tensor) -> Tensor:
        self.last = time, state
        return self.size * self.field(state)

    def failure(self, method: str, message: str) -> StepTooSmall:
        """Whose state is the largest, or not finite, where the solver gave up."""
        if self.last is None:
            return StepTooSmall(f"torchdiffeq's {method} gave up: {message}", sample=None, time=0.0)
        time, state = float(self.last[0]), self.last[1].detach()
        size = torch.nan_to_num(state.abs().amax(1), nan=torch.inf)
        sample = int(size.argmax())
        return StepTooSmall(
            f"torchdiffeq's {method} gave up near time {time:.6g}, where sample {sample} is of "
            f"size {float(size[sample]):.3g} ({message[:80]}): raise rtol and atol, or see "
            "whether the field is stiff or its solution grows without bound there",
            sample=sample,
            time=time,
        )
