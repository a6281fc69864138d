"""How far the gradient of one mode is from the exact one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.dynamics.adjoints.parameters import trainable
from sciml.dynamics.integrators.integration import Gradient, integrate
from sciml.dynamics.integrators.runge_kutta import RungeKutta
from sciml.dynamics.integrators.scheme import Field, Scheme


@dataclass(frozen=True, kw_only=True)
class GradientDistance:
    """Relative distances $|g - g_0| / |g_0|$ in the Euclidean norm.

    Args:
        state: of the gradient with respect to the initial states; of all samples together.
        worst: the same, of the sample where it is largest.
        parameters: of the gradient with respect to all parameters; zero without any.
    """

    state: float
    worst: float
    parameters: float


def gradient_distance(
    field: Field,
    state: Float[Tensor, "batch component"],
    times: Float[Tensor, "*samples time"],
    *,
    scheme: Scheme | None = None,
    gradient: Gradient = "continuous",
    covector: Float[Tensor, "batch time component"] | None = None,
) -> GradientDistance:
    r"""Distance of a gradient from backpropagation through the same steps.

    Of the scalar $\langle v, X \rangle$ with the states $X$ at all times.

    Args:
        field: the vector field.
        state: states at the first time.
        times: increasing times [time] or [batch, time].
        scheme: the scheme; None is RK4, one step from each time to the next.
        gradient: the mode that is measured.
        covector: $v$; None takes ones.

    Returns:
        Relative distances for the state and for the parameters.

    Raises:
        ValueError: as `integrate` does.

    Example:
        >>> times = torch.linspace(0, 1, 11, dtype=torch.float64)
        >>> one = torch.ones(1, 1, dtype=torch.float64)
        >>> gradient_distance(lambda x: -x**2, one, times, gradient="continuous").state < 1e-5
        True
        >>> gradient_distance(lambda x: -x**2, one, times, gradient="checkpoint").state < 1e-14
        True
    """
    scheme = RungeKutta() if scheme is None else scheme
    exact = _gradients(field, state, times, scheme, "store", covector)
    other = _gradients(field, state, times, scheme, gradient, covector)
    gaps = (other[0] - exact[0]).norm(dim=1) / exact[0].norm(dim=1)
    return GradientDistance(
        state=_relative(other[:1], exact[:1]),
        worst=float(gaps.max()),
        parameters=_relative(other[1:], exact[1:]) if len(exact) > 1 else 0.0,
    )


def _gradients(
    field: Field,
    state: Tensor,
    times: Tensor,
    scheme: Scheme,
    gradient: Gradient,
    covector: Tensor | None,
) -> list[Tensor]:
    with torch.enable_grad():
        start = state.detach().requires_grad_()
        states = integrate(field, start, times, scheme=scheme, gradient=gradient)
        total = states.sum() if covector is None else (states * covector).sum()
        leaves = (start, *trainable(field, scheme, start))
        return list(torch.autograd.grad(total, leaves, materialize_grads=True))


def _relative(other: list[Tensor], exact: list[Tensor]) -> float:
    gap = sum(float((a - b).square().sum()) for a, b in zip(other, exact, strict=True))
    size = sum(float(b.square().sum()) for b in exact)
    return (gap / size) ** 0.5
