"""The lattice Boltzmann step: symmetries, conservation, walls, and the CPU kernel's agreement."""

from __future__ import annotations

import inspect
import platform
from dataclasses import replace

import numba
import numpy as np
import pytest
import torch

from sciml.kernels.backend import choose
from sciml.kernels.lattice_boltzmann import (
    VELOCITIES,
    Boundary,
    ConvectiveOutlet,
    Periodic,
    PressureOutlet,
    Sides,
    Slip,
    Velocity,
    advance,
    at_equilibrium,
    boundary_of,
    cpu,
    moments,
    reference,
    relaxation_rates,
)

INLET = Velocity(x=0.05, y=0.01)
BOX = Sides(left=Periodic(), right=Periodic(), bottom=Periodic(), top=Periodic())
SIDES = {
    "cavity": Sides(top=Velocity(x=0.1)),
    "periodic": BOX,
    "periodic, wall and slip": Sides(
        left=Periodic(), right=Periodic(), bottom=Slip(), top=Velocity(x=0.1)
    ),
    "pressure": Sides(
        left=INLET, right=PressureOutlet(density=0.01), bottom=Slip(), top=Velocity(x=0.02)
    ),
    "pressure, periodic": Sides(
        left=INLET, right=PressureOutlet(), bottom=Periodic(), top=Periodic()
    ),
    "convective": Sides(
        left=INLET, right=ConvectiveOutlet(speed=0.3), bottom=Slip(), top=Velocity()
    ),
    "convective, slip": Sides(
        left=INLET, right=ConvectiveOutlet(speed=0.5), bottom=Slip(), top=Slip()
    ),
}
EPSILON = {torch.float64: 2**-52, torch.float32: 2**-23}


def fluid(ny: int, nx: int, batch: int = 1) -> np.ndarray:
    return np.full((batch, ny, nx), 9.0)


def bodies(ny: int, nx: int) -> np.ndarray:
    """Two circles of different size and place, whose walls cut links at any fraction."""
    y, x = np.mgrid[:ny, :nx]
    return np.stack([np.hypot(y - 6.3, x - 11.2) - 3.6, np.hypot(y - 7.1, x - 18.9) - 2.2])


def noise(
    boundary: Boundary, rng: np.random.Generator, dtype: torch.dtype = torch.float64
) -> torch.Tensor:
    """A state off equilibrium, the halo filled."""
    batch, ny, nx = boundary.shape
    draw = lambda *shape: torch.from_numpy(rng.standard_normal(shape)).to(dtype)  # noqa: E731
    state = at_equilibrium(0.01 * draw(batch, ny, nx), 0.05 * draw(batch, 2, ny, nx), boundary)
    return reference.fill(state + 1e-3 * draw(*state.shape), boundary.to("cpu", dtype))


def inside(populations: torch.Tensor) -> torch.Tensor:
    return populations[..., 1:-1, 1:-1]


def largest(tensor: torch.Tensor) -> float:
    return tensor.abs().max().item()


@pytest.fixture(params=["one loop", "a sweep"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Either way through a grid: as if the cache held it, or not, in blocks of two rows."""
    if request.param == "a sweep":
        monkeypatch.setattr(cpu, "CACHE", 0)
        monkeypatch.setattr(cpu, "BLOCK", 60)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("dtype", EPSILON, ids=str)
@pytest.mark.parametrize("sides", SIDES.values(), ids=SIDES)
def test_the_cpu_kernel_gives_the_reference(
    sides: Sides, dtype: torch.dtype, rng: np.random.Generator
) -> None:
    boundary = boundary_of(bodies(15, 29), sides, dtype=dtype)
    state, rates = noise(boundary, rng, dtype), relaxation_rates([0.02, 0.1])
    before = state.clone()
    for steps in (0, 1, cpu.DEPTH, cpu.DEPTH + 1, 2 * cpu.DEPTH + 5):
        expected = advance(state, boundary, rates, steps=steps, backend="reference")
        found = advance(state, boundary, rates, steps=steps, backend="cpu")
        assert largest(found - expected) <= 8 * (1 + steps) * EPSILON[dtype] * largest(expected)
    assert torch.equal(state, before)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("backend", ["reference", "cpu"])
@pytest.mark.parametrize("extent", [(3, 3), (3, 40), (40, 3), (5, 64)])
def test_any_extent_gives_the_same_on_any_backend(
    extent: tuple[int, int], backend: str, rng: np.random.Generator
) -> None:
    boundary = boundary_of(fluid(*extent), SIDES["pressure"], dtype=torch.float64)
    state, rates = noise(boundary, rng), relaxation_rates([0.05])
    one_by_one = state
    for _ in range(15):
        one_by_one = reference.advance(one_by_one, boundary, rates, 1)
    found = advance(state, boundary, rates, steps=15, backend=backend)
    assert largest(found - one_by_one) < 1e-14


def test_the_cpu_kernel_is_vectorised() -> None:
    if platform.machine() != "x86_64":
        pytest.skip("the registers looked for are those of x86_64")
    kernel = numba.njit(fastmath=True)(cpu._stream_and_collide.py_func)
    planes = cpu._Planes(5, 34, np.dtype(np.float32))
    now, then = (planes.filled(np.zeros((9, 5, 34), np.float32)) for _ in range(2))
    block = (planes.size, planes.pitch, 4 * planes.pitch, planes.pitch)
    kernel(now, then, *block, np.float32(1.6), np.float32(1.2))
    assembly = "\n".join(kernel.inspect_asm().values()).split()
    packed = sum(
        word.removeprefix("v").startswith(("add", "sub", "mul", "fm", "fnm"))
        and word.endswith("ps")
        for word in assembly
    )
    assert packed >= 50  # of about 60 in the loop


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_a_periodic_box_keeps_mass_and_momentum(backend: str, rng: np.random.Generator) -> None:
    boundary = boundary_of(fluid(12, 17), BOX, dtype=torch.float64)
    state = noise(boundary, rng)
    later = advance(state, boundary, relaxation_rates([0.03]), steps=40, backend=backend)
    for before, after in zip(moments(state), moments(later), strict=True):
        assert torch.allclose(before.sum((-2, -1)), after.sum((-2, -1)), rtol=0, atol=1e-12)


def test_closed_walls_at_rest_keep_mass(rng: np.random.Generator) -> None:
    boundary = boundary_of(fluid(9, 11), Sides(), dtype=torch.float64)
    state = noise(boundary, rng)
    later = advance(state, boundary, relaxation_rates([0.03]), steps=40)
    assert moments(later)[0].sum().item() == pytest.approx(
        moments(state)[0].sum().item(), abs=1e-12
    )


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_equilibrium_is_a_fixed_point(backend: str) -> None:
    boundary = boundary_of(fluid(8, 9), BOX, dtype=torch.float64)
    uniform = torch.tensor([0.08, -0.05], dtype=torch.float64)[None, :, None, None]
    density = torch.full((1, 8, 9), 0.02, dtype=torch.float64)
    state = at_equilibrium(density, uniform.expand(1, 2, 8, 9), boundary)
    later = advance(state, boundary, relaxation_rates([0.01]), steps=30, backend=backend)
    assert largest(later - state) < 1e-14


def turned(populations: torch.Tensor, quarter_turns: int) -> torch.Tensor:
    """The flow rotated as a whole, from x towards y: cells and velocities."""
    cells = torch.rot90(populations, quarter_turns, (-1, -2))
    order = list(range(9))
    for _ in range(quarter_turns):
        order = [order[VELOCITIES.index((cy, -cx))] for cx, cy in VELOCITIES]
    return cells[:, order]


def mirrored(populations: torch.Tensor) -> torch.Tensor:
    """The flow mirrored in a horizontal line."""
    return populations.flip(-2)[:, [VELOCITIES.index((cx, -cy)) for cx, cy in VELOCITIES]]


@pytest.mark.parametrize("backend", ["reference", "cpu"])
@pytest.mark.parametrize("sides", [BOX, Sides()], ids=["periodic", "walls"])
def test_a_turned_or_mirrored_flow_stays_so(
    sides: Sides, backend: str, rng: np.random.Generator
) -> None:
    body = bodies(18, 18)[:1]
    boundary = boundary_of(body, sides, dtype=torch.float64)
    state, rates = noise(boundary, rng), relaxation_rates([0.02])
    later = advance(state, boundary, rates, steps=5, backend=backend)
    wet = torch.from_numpy(body > 0)
    for change in (lambda f: turned(f, 1), lambda f: turned(f, 2), mirrored):
        changed_body = change(torch.from_numpy(body)[:, None].expand(-1, 9, -1, -1))[:, 0]
        changed = boundary_of(changed_body.numpy(), sides, dtype=torch.float64)
        start = reference.fill(change(state), changed)
        found = advance(start, changed, rates, steps=5, backend=backend)
        difference = inside(found - change(later)) * change(wet[:, None].expand(-1, 9, -1, -1))
        assert largest(difference) < 1e-14


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_a_slip_side_is_the_middle_of_a_mirrored_domain(
    backend: str, rng: np.random.Generator
) -> None:
    half_sides = Sides(left=INLET, right=PressureOutlet(), bottom=Slip(), top=Slip())
    whole_sides = Sides(
        left=replace(INLET, y=np.repeat([-0.01, 0.01], 6)),
        right=PressureOutlet(),
        bottom=Slip(),
        top=Slip(),
    )
    half = boundary_of(fluid(6, 14), half_sides, dtype=torch.float64)
    whole = boundary_of(fluid(12, 14), whole_sides, dtype=torch.float64)
    state, rates = noise(half, rng), relaxation_rates([0.04])
    doubled = torch.nn.functional.pad(
        torch.cat([inside(mirrored(state)), inside(state)], dim=-2), (1, 1, 1, 1)
    )
    # A profile that jumps in the middle is interpolated on the diagonal links that cross there.
    doubled_later = advance(reference.fill(doubled, whole), whole, rates, steps=6, backend=backend)
    later = advance(state, half, rates, steps=6, backend=backend)
    away = slice(7, None)  # beyond what six steps carry from the inlet's middle
    upper = inside(doubled_later)[..., 6:, away]
    lower = inside(mirrored(doubled_later))[..., 6:, away]
    assert largest(upper - inside(later)[..., away]) < 1e-14
    assert largest(upper - lower) < 1e-14


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_a_periodic_box_does_not_know_where_it_begins(
    backend: str, rng: np.random.Generator
) -> None:
    body = bodies(15, 29)[:1]
    shifts, axes = (2, 5), (-2, -1)  # the body stays clear of the seam
    boundary = boundary_of(body, BOX, dtype=torch.float64)
    moved = boundary_of(np.roll(body, shifts, axes), BOX, dtype=torch.float64)
    state, rates = noise(boundary, rng), relaxation_rates([0.02])
    rolled = torch.nn.functional.pad(torch.roll(inside(state), shifts, axes), (1, 1, 1, 1))
    found = advance(reference.fill(rolled, moved), moved, rates, steps=7, backend=backend)
    later = torch.roll(
        inside(advance(state, boundary, rates, steps=7, backend=backend)), shifts, axes
    )
    wet = torch.from_numpy(np.roll(body, shifts, axes) > 0)[:, None]
    assert largest((inside(found) - later) * wet) < 1e-14


@pytest.mark.parametrize("viscosity", [0.02, 0.2])
def test_a_wall_stands_exactly_half_way(viscosity: float) -> None:
    ny, nx, peak = 7, 40, 0.02
    y = np.arange(ny) + 0.5
    profile = 4 * peak * y * (ny - y) / ny**2
    sides = Sides(left=Velocity(x=profile), right=PressureOutlet())
    boundary = boundary_of(fluid(ny, nx), sides, dtype=torch.float64)
    start = torch.zeros(1, 2, ny, nx, dtype=torch.float64)
    start[:, 0] = torch.from_numpy(profile)[:, None]
    state = at_equilibrium(torch.zeros(1, ny, nx, dtype=torch.float64), start, boundary)
    for magic, offset in ((3 / 16, 0.0), (1 / 4, 0.0119)):
        rates = relaxation_rates([viscosity], magic=magic)
        _, velocity = moments(advance(state, boundary, rates, steps=5000))
        curve = np.polynomial.Polynomial.fit(y, velocity[0, 0, :, nx // 2].numpy(), 2)
        assert np.sort(curve.roots()) == pytest.approx(
            [-offset, ny + offset], abs=1e-5 + offset / 100
        )


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_grids_of_a_batch_do_not_see_each_other(backend: str, rng: np.random.Generator) -> None:
    shapes, sides = bodies(15, 29), SIDES["convective"]
    rates = relaxation_rates([0.02, 0.1])
    together = boundary_of(shapes, sides, dtype=torch.float64)
    state = noise(together, rng)
    found = advance(state, together, rates, steps=14, backend=backend)
    for b in range(2):
        alone = boundary_of(shapes[b : b + 1], sides, dtype=torch.float64)
        one = slice(b, b + 1)
        expected = advance(state[one], alone, rates[one], steps=14, backend=backend)
        assert (
            largest(found[one] - expected) < 1e-15
            if backend == "reference"
            else torch.equal(found[one], expected)
        )


@pytest.mark.parametrize("name", ["cavity", "pressure", "convective"])
def test_the_reference_has_the_right_gradient(name: str, rng: np.random.Generator) -> None:
    boundary = boundary_of(fluid(3, 4), SIDES[name], dtype=torch.float64)
    state, rates = noise(boundary, rng), relaxation_rates([0.05])

    def two_steps(f: torch.Tensor, omega: torch.Tensor) -> torch.Tensor:
        return advance(f, boundary, omega, steps=2)

    assert choose("auto", state.requires_grad_()) == "reference"
    assert torch.autograd.gradcheck(two_steps, (state, rates.requires_grad_()), fast_mode=True)


def test_every_slot_is_filled_once_and_from_the_fluid() -> None:
    for sides in SIDES.values():
        body = bodies(15, 29)
        boundary = boundary_of(body, sides)
        assert boundary.target.unique().numel() == boundary.target.numel()
        _, _, height, width = extents = boundary.populations_shape
        wet = torch.zeros(2, height, width, dtype=torch.bool)
        wet[:, 1:-1, 1:-1] = torch.from_numpy(body > 0)
        for source in (boundary.near, boundary.far):
            b, _, y, x = torch.unravel_index(source, extents)
            assert wet[b, y, x].all()
        b, q, y, x = torch.unravel_index(boundary.target, extents)
        c = torch.tensor(VELOCITIES)[q]
        assert wet[b, y + c[:, 1], x + c[:, 0]].all()
        total = boundary.near_weight + boundary.far_weight
        assert torch.allclose(total, torch.ones_like(total))


def test_a_moving_lid_takes_the_corners() -> None:
    boundary = boundary_of(fluid(3, 3), Sides(top=Velocity(x=0.1)), dtype=torch.float64)
    _, q, _, x = torch.unravel_index(boundary.target, boundary.populations_shape)
    at_corner = ((x == 0) & (q == VELOCITIES.index((1, -1)))) | (
        (x == 4) & (q == VELOCITIES.index((-1, -1)))
    )
    _, _, y, _ = torch.unravel_index(boundary.target, boundary.populations_shape)
    lid = boundary.source[at_corner & (y == 4)]
    assert sorted(lid.tolist()) == pytest.approx([-6 / 36 * 0.1, 6 / 36 * 0.1])


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Sides(left=PressureOutlet()), "only the right side can be one"),
        (lambda: Sides(top=ConvectiveOutlet(speed=1.0)), "only the right side can be one"),
        (lambda: Sides(left=Periodic()), "left and right sides must be periodic together"),
        (lambda: Sides(top=Periodic()), "bottom and top sides must be periodic together"),
        (lambda: boundary_of(fluid(2, 8), Sides()), "at least 3 x 3 are needed"),
        (lambda: boundary_of(-fluid(4, 4), Sides()), "grid 0 has no fluid"),
        (lambda: boundary_of(fluid(4, 4) * np.nan, Sides()), "not finite"),
        (
            lambda: boundary_of(fluid(4, 4), Sides(left=Velocity(x=np.zeros(3)))),
            "profile of shape .* on a side of 4 cells",
        ),
        (lambda: relaxation_rates([0.1, 0.0]), "must be positive"),
    ],
)
def test_what_makes_no_sense_is_refused(make, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        make()


def test_what_does_not_fit_is_refused(rng: np.random.Generator) -> None:
    boundary = boundary_of(fluid(4, 5), Sides())
    state, rates = noise(boundary, rng, torch.float32), relaxation_rates([0.1])
    with pytest.raises(ValueError, match="make both from the same signed distance"):
        advance(state[..., :-1], boundary, rates, steps=1)
    with pytest.raises(ValueError, match="were given for 1 grids"):
        unchecked = inspect.unwrap(advance)  # the shapes that pytest checks anyway
        unchecked(state, boundary, relaxation_rates([0.1, 0.1]), steps=1)
    with pytest.raises(ValueError, match="give zero or more"):
        advance(state, boundary, rates, steps=-1)
    with pytest.raises(RuntimeError, match="it gives no gradient"):
        advance(state, boundary, rates.requires_grad_(), steps=1, backend="cpu")
    with pytest.raises(RuntimeError, match="the data are float16; it takes float32 or float64"):
        advance(state.half(), boundary, rates.detach(), steps=1, backend="cpu")
