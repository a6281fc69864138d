"""What an integration refuses before any work, and what it reports after."""

from __future__ import annotations

import torch
from torch import Tensor

from sciml.dynamics.integrators.failure import NonFiniteState


def checked_times(state: Tensor, times: Tensor) -> Tensor:
    """The times in float64 on the state's device.

    Raises:
        ValueError: a state that is not [batch, component] of finite floating-point numbers, or
            times that are not [time] or [batch, time] and increasing.
    """
    if state.ndim != 2 or not state.is_floating_point():
        raise ValueError(
            f"a state of shape {list(state.shape)} and type {state.dtype} given, expected floating-"
            "point [batch, component]: add the axis that is missing"
        )
    bad = ~torch.isfinite(state.detach())
    if bad.any():
        sample, component = bad.nonzero()[0].tolist()
        raise ValueError(
            f"component {component} of the initial state of sample {sample} is not finite: "
            "integrate only samples whose state is known"
        )
    if (
        times.ndim not in (1, 2)
        or times.shape[-1] < 2
        or times.shape[:-1] not in ((), state.shape[:1])
    ):
        raise ValueError(
            f"times of shape {list(times.shape)} given for {len(state)} samples, expected [time] "
            "or [batch, time] with at least two times"
        )
    times = times.detach().to(device=state.device, dtype=torch.float64)
    bad = ~(times.diff(dim=-1) > 0)
    if bad.any():
        place = bad.nonzero()[0].tolist()
        position, sample = place[-1] + 1, f" of sample {place[0]}" if len(place) == 2 else ""
        line = times[place[0]] if len(place) == 2 else times
        raise ValueError(
            f"times must increase: position {position}{sample} has {float(line[position]):.9g} "
            f"after {float(line[position - 1]):.9g}; sort them and drop repeated ones"
        )
    return times


def refuse_non_finite(states: Tensor, times: Tensor) -> None:
    """Report the first time at which a state is not finite.

    Raises:
        NonFiniteState: there is one; its sample and time are named.
    """
    bad = ~torch.isfinite(states.detach()).all(2)
    if not bad.any():
        return
    position = int(bad.any(0).to(torch.uint8).argmax())
    sample = int(bad[:, position].to(torch.uint8).argmax())
    line = times[sample] if times.ndim == 2 else times
    time, before = float(line[position]), float(line[position - 1])
    raise NonFiniteState(
        f"the state of sample {sample} is not finite at time {time:.6g} (it was at {before:.6g}): "
        "take smaller steps or an adaptive scheme, or see whether the field grows without bound",
        sample=sample,
        time=time,
    )
