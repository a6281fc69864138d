"""Fitting a scheme's tableau to steps of a known field."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.dynamics.integrators.scheme import Field, Scheme


def step_error(
    scheme: Scheme,
    field: Field,
    before: Float[Tensor, "sample component"],
    after: Float[Tensor, "sample component"],
    size: float,
) -> Float[Tensor, ""]:
    r"""Root mean square error of one step, $\sqrt{\overline{|X' - X(t + h)|^2}}$ per component.

    Args:
        scheme: the scheme.
        field: the vector field.
        before: states $X(t)$.
        after: exact states $X(t + h)$.
        size: the step $h$.

    Returns:
        The error, in the state's unit.

    Example:
        >>> from sciml.dynamics.integrators import EULER, RungeKutta
        >>> one = torch.ones(1, 1)
        >>> step_error(RungeKutta(EULER), torch.neg, one, (-0.1 * one).exp(), 0.1)
        tensor(0.0048)
    """
    return (scheme.advance(field, before, size) - after).square().mean().sqrt()


def fit_scheme(
    scheme: Scheme,
    field: Field,
    before: Float[Tensor, "sample component"],
    after: Float[Tensor, "sample component"],
    size: float,
    *,
    iterations: int = 300,
) -> float:
    r"""Fit a scheme's parameters to exact steps of one size, by L-BFGS on all of them at once.

    A tableau has few parameters, so float64 and the full batch take seconds. What is minimised is
    the mean square over the components, each in units of what the scheme leaves of it at the start.

    Args:
        scheme: a scheme with parameters, changed in place.
        field: the vector field, not changed.
        before: states $X(t)$, float64.
        after: exact states $X(t + h)$.
        size: the step $h$.
        iterations: most iterations.

    Returns:
        The error of one step that is reached, as `step_error` gives it.

    Raises:
        ValueError: the scheme has no parameters that could be fitted.

    Example:
        >>> from sciml.dynamics.integrators import LearnedRungeKutta
        >>> x = torch.linspace(1, 2, 3, dtype=torch.float64)[:, None]
        >>> fit_scheme(LearnedRungeKutta(2, 1), torch.neg, x, x * 0.6065306597, 0.5) < 1e-6
        True
    """
    parameters = [p for p in scheme.parameters() if p.requires_grad]
    if not parameters:
        raise ValueError("the scheme has no parameters to be fitted: give a learned one")
    with torch.no_grad():
        scale = (scheme.advance(field, before, size) - after).square().mean()
    optimiser = torch.optim.LBFGS(
        parameters,
        max_iter=iterations,
        history_size=20,
        tolerance_grad=1e-14,
        tolerance_change=1e-16,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = (scheme.advance(field, before, size) - after).square().mean() / scale
        gradients = torch.autograd.grad(loss, parameters)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        return loss

    optimiser.step(closure)
    optimiser.zero_grad()
    with torch.no_grad():
        return float(step_error(scheme, field, before, after, size))
