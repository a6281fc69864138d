"""The lattice Boltzmann step in plain torch: the definition that the fast kernels are tested with.

Populations are stored after collision, as deviations from the weights (f − w), in an array
[batch, 9, y + 2, x + 2] with a halo of one cell. With ρ the deviation of the density from one,

    ρ = Σ f_q,   u = Σ c_q f_q,
    f_q^eq = w_q (ρ + 3 c_q·u + 9/2 (c_q·u)² − 3/2 u²)

is the equilibrium of He and Luo (1997, doi:10.1023/B:JOSS.0000015179.12689.e4), whose steady state
is that of the incompressible equations. Even and odd parts, f± = (f_q ± f_q̄)/2, relax at their own
rates (two relaxation times, Ginzburg 2005, doi:10.1016/j.advwatres.2005.03.009):

    f_q ← f_q − ω⁺ (f⁺ − f^eq⁺) − ω⁻ (f⁻ − f^eq⁻).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.kernels.lattice_boltzmann.boundary import Boundary
from sciml.kernels.lattice_boltzmann.lattice import OPPOSITE, VELOCITIES, WEIGHTS

Populations = Float[Tensor, "batch 9 height width"]


def advance(
    populations: Populations,
    boundary: Boundary,
    relaxation: Float[Tensor, "batch 2"],
    steps: int,
) -> Populations:
    """`steps` times: stream, collide, fill the incoming slots for the next step."""
    for _ in range(steps):
        populations = fill(collide(stream(populations), relaxation), boundary)
    return populations


def fill(populations: Populations, boundary: Boundary) -> Populations:
    """What streams in from outside: first the outlet, then every link."""
    filled = _OUTLETS[boundary.outlet](populations, boundary.outlet_value)
    flat = filled.reshape(-1)
    incoming = (
        boundary.near_weight * flat[boundary.near]
        + boundary.far_weight * flat[boundary.far]
        + boundary.source
    )
    return flat.index_put((boundary.target,), incoming).reshape(populations.shape)


def stream(populations: Populations) -> Populations:
    """f_q(x) ← f_q(x − c_q) inside; the halo keeps what it held."""
    streamed = populations.clone()
    height, width = populations.shape[-2:]
    for q, (cx, cy) in enumerate(VELOCITIES):
        source = populations[:, q, 1 - cy : height - 1 - cy, 1 - cx : width - 1 - cx]
        streamed[:, q, 1:-1, 1:-1] = source
    return streamed


def collide(populations: Populations, relaxation: Float[Tensor, "batch 2"]) -> Populations:
    """Relax even and odd parts towards equilibrium inside; the halo stays."""
    inside = populations[..., 1:-1, 1:-1]
    odds = inside - equilibrium(*moments(inside))
    reverse = odds[:, list(OPPOSITE)]
    even, odd = relaxation[:, :, None, None, None].unbind(1)
    collided = populations.clone()
    collided[..., 1:-1, 1:-1] = inside - even * (odds + reverse) / 2 - odd * (odds - reverse) / 2
    return collided


def moments(
    populations: Float[Tensor, "batch 9 y x"],
) -> tuple[Float[Tensor, "batch y x"], Float[Tensor, "batch 2 y x"]]:
    """Density deviation ρ and velocity u in lattice units."""
    c = torch.tensor(VELOCITIES, dtype=populations.dtype, device=populations.device)
    return populations.sum(1), torch.einsum("bqyx,qi->biyx", populations, c)


def equilibrium(
    density: Float[Tensor, "batch y x"], velocity: Float[Tensor, "batch 2 y x"]
) -> Float[Tensor, "batch 9 y x"]:
    """The equilibrium populations, as deviations from the weights."""
    c = torch.tensor(VELOCITIES, dtype=velocity.dtype, device=velocity.device)
    w = torch.tensor(WEIGHTS, dtype=velocity.dtype, device=velocity.device)[:, None, None]
    along = torch.einsum("qi,biyx->bqyx", c, velocity)
    speed_squared = (velocity**2).sum(1, keepdim=True)
    return w * (density[:, None] + 3 * along + 4.5 * along**2 - 1.5 * speed_squared)


def _no_outlet(populations: Populations, value: float) -> Populations:
    return populations


def _pressure_outlet(populations: Populations, value: float) -> Populations:
    """Anti-bounce-back: f_q̄ = −f_q + 2 w_q (ρ_out + 9/2 (c_q·u)² − 3/2 u²), u of the last cell."""
    filled = populations.clone()
    last = populations[:, :, 1:-1, -2]
    _, velocity = moments(last[..., None])
    ux, uy = velocity[..., 0].unbind(1)
    height = populations.shape[-2]
    for q, (cx, cy) in enumerate(VELOCITIES):
        if cx == 1:
            along = ux + cy * uy
            even = WEIGHTS[q] * (value + 4.5 * along**2 - 1.5 * (ux**2 + uy**2))
            filled[:, OPPOSITE[q], 1 + cy : height - 1 + cy, -1] = 2 * even - last[:, q]
    return filled


def _convective_outlet(populations: Populations, value: float) -> Populations:
    """f(halo) ← (f(halo) + c f(last cell)) / (1 + c), implicit in time for ∂f/∂t + c ∂f/∂x = 0."""
    filled = populations.clone()
    for q, (cx, _) in enumerate(VELOCITIES):
        if cx == -1:
            inside = torch.nn.functional.pad(
                populations[:, None, q, 1:-1, -2], (1, 1), mode="replicate"
            )[:, 0]
            filled[:, q, :, -1] = (populations[:, q, :, -1] + value * inside) / (1 + value)
    return filled


_OUTLETS = {
    "none": _no_outlet,
    "pressure": _pressure_outlet,
    "convective": _convective_outlet,
}
