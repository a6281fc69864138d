"""The solver against exact solutions and published numbers, at sizes that take seconds."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
import xarray as xr

from sciml.flow import (
    Grid,
    LatticeProblem,
    SolverOptions,
    Unsteady,
    drag_and_lift,
    solve_distance,
    solve_steady,
)
from sciml.flow.shapes import circle, triangle
from sciml.kernels.lattice_boltzmann import (
    PressureOutlet,
    Sides,
    Slip,
    Velocity,
    advance,
    at_equilibrium,
    boundary_of,
    moments,
    relaxation_rates,
)

TUNNEL = Sides(left=Velocity(x=0.1), right=PressureOutlet(), bottom=Slip(), top=Slip())
EXACT = SolverOptions(levels=1, tolerance=1e-8, patience=2000.0, precision="float64")


def _benchmark() -> ModuleType:
    """The flows of the benchmark, solved here on coarser grids."""
    path = Path(__file__).parents[2] / "benchmarks" / "verification.py"
    spec = importlib.util.spec_from_file_location("verification", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where its dataclasses look for their annotations
    spec.loader.exec_module(module)
    return module


verification = _benchmark()


def stream(distance: np.ndarray, *, speed: float = 0.1, reynolds: float = 10.0, length: float):
    """A uniform stream past what the signed distance, in cells, describes."""
    sides = replace(TUNNEL, left=Velocity(x=speed))
    return LatticeProblem(
        signed_distance=distance,
        sides=sides,
        viscosity=speed * length / reynolds,
        length=length,
        speed=speed,
    )


@pytest.fixture(scope="module")
def leaning() -> np.ndarray:
    """A triangle without symmetry on 64 x 32 cells, in metres."""
    body = triangle(0.9, 0.7, side=0.3).rotate(0.5).translate(0.6, 0.45)
    return Grid(shape=(32, 64), spacing=1 / 32).signed_distance(body)


@pytest.mark.parametrize("collision", ["trt", "bgk"])
def test_vortex_of_taylor_and_green_decays_at_second_order(collision):
    errors = [verification.taylor_green(cells, collision) for cells in (16, 32, 64)]
    assert min(verification.orders(errors)) >= 1.9, errors
    assert errors[-1] < 2e-3


@pytest.mark.parametrize("collision", ["trt", "bgk"])
@pytest.mark.parametrize("offset", [0.3, 0.9])
def test_channel_between_walls_off_the_grid_is_second_order(collision, offset):
    errors = [verification.poiseuille(cells, collision, offset) for cells in (8, 16, 32)]
    assert min(verification.orders(errors)) >= 1.9, errors


def test_cavity_agrees_with_the_tables_of_ghia(reference):
    reference("flow/ghia1982_u"), reference("flow/ghia1982_v")
    state = verification.cavity(64, 100)
    assert verification.ghia_deviation(state, 100) <= 0.015


def test_misprint_in_the_tables_of_ghia_is_left_out(reference):
    reference("flow/ghia1982_v")
    counts = {reynolds: len(list(verification._ghia("v", reynolds))) for reynolds in (100, 400)}
    assert counts == {100: 17, 400: 16}


def test_cylinder_in_a_channel_converges_to_schaefer_and_turek():
    """Drag, which momentum balances whatever the grid, is right at once; pressure at one point and
    a lift of a five-hundredth of the drag are not, and get better."""
    coarse, fine = verification.cylinder(10), verification.cylinder(20)
    assert coarse.cd == pytest.approx(5.57953, rel=2e-3)
    assert fine.cd == pytest.approx(5.57953, rel=2e-3)
    assert coarse.dp == pytest.approx(0.117520, rel=0.06)
    assert fine.dp == pytest.approx(0.117520, rel=0.015)
    assert coarse.cl == pytest.approx(0.0106189, rel=0.06)
    assert fine.cl == pytest.approx(0.0106189, rel=0.04)
    assert abs(fine.cl - 0.0106189) < abs(coarse.cl - 0.0106189)


def test_mirrored_body_has_the_mirrored_flow_and_the_opposite_lift(leaning):
    one, other = (solve_distance(d, 15.0, 0.3, EXACT) for d in (leaning, leaning[::-1].copy()))
    sign = np.array([1.0, -1.0])[:, None, None]
    np.testing.assert_allclose(other.velocity, sign * one.velocity[:, ::-1], atol=1e-12)
    np.testing.assert_allclose(other.pressure, one.pressure[::-1], atol=1e-12)
    np.testing.assert_allclose(other.force, sign[:, 0, 0] * one.force, atol=1e-12)
    assert abs(one.force[1]) > 0.05 * one.force[0]


def test_same_reynolds_number_at_another_lattice_speed_gives_the_same_drag():
    d = 32 * Grid(shape=(32, 64), spacing=1 / 32).signed_distance(circle(0.3).translate(0.6, 0.5))
    drags = []
    for speed in (0.1, 0.05):
        state = solve_steady(lambda _, u=speed: stream(d, speed=u, length=9.6), EXACT)
        drags.append(state.force[0] / speed**2)
    assert drags[0] == pytest.approx(drags[1], rel=0.005)


def test_single_precision_agrees_with_double(leaning):
    options = SolverOptions(levels=2, tolerance=1e-4)
    single, double = (
        solve_distance(leaning, 15.0, 0.3, replace(options, precision=precision))
        for precision in ("float32", "float64")
    )
    assert single.velocity.dtype == np.float32 and double.velocity.dtype == np.float64
    assert single.steps == double.steps
    np.testing.assert_allclose(single.velocity, double.velocity, atol=1e-6)
    np.testing.assert_allclose(single.force, double.force, rtol=1e-5)


def test_coarse_grids_first_change_the_way_and_not_the_flow(leaning):
    direct = solve_distance(leaning, 15.0, 0.3, EXACT)
    nested = solve_distance(leaning, 15.0, 0.3, replace(EXACT, levels=2))
    np.testing.assert_allclose(nested.velocity, direct.velocity, atol=1e-7)
    assert nested.steps < direct.steps


def test_divergence_is_detected_and_named():
    def wild(factor: int) -> LatticeProblem:
        return LatticeProblem(
            signed_distance=np.full((24, 24), 24.0),
            sides=Sides(top=Velocity(x=0.5)),
            viscosity=1e-5,
            length=24.0,
            speed=0.5,
        )

    with pytest.raises(Unsteady, match=r"diverged.* after \d+ steps at Re = 1.2e\+06, viscosity"):
        solve_steady(wild, SolverOptions(levels=1, collision="bgk"))


def test_flow_that_still_changes_is_not_called_steady(leaning):
    options = SolverOptions(levels=1, patience=2.0)
    with pytest.raises(Unsteady, match=r"still changing by .* after \d+ steps at Re = 15 on 64 x"):
        solve_distance(leaning, 15.0, 0.3, options)


def test_uniform_stream_stays_uniform():
    boundary = boundary_of(np.full((1, 16, 24), 9.0), TUNNEL, dtype=torch.float64)
    uniform = torch.zeros(1, 2, 16, 24, dtype=torch.float64)
    uniform[:, 0] = 0.1
    start = at_equilibrium(torch.zeros(1, 16, 24, dtype=torch.float64), uniform, boundary)
    density, velocity = moments(
        advance(start, boundary, relaxation_rates([0.02]), steps=200, backend="auto")
    )
    torch.testing.assert_close(velocity, uniform, rtol=0, atol=1e-13)
    torch.testing.assert_close(density, torch.zeros_like(density), rtol=0, atol=1e-13)


def test_as_much_fluid_flows_through_every_cross_section(lifting):
    """Also beside the body, where the cells that it cuts count whole or not at all."""
    flux = lifting["velocity"].isel(sample=0, component=0).sum("y").values / 64
    blocked = (lifting["signed_distance"].isel(sample=0) < 2 / 64).any("y").values
    np.testing.assert_allclose(flux[~blocked], 1.0, rtol=1e-3)
    np.testing.assert_allclose(flux[blocked], 1.0, rtol=3e-3)


def test_momentum_exchange_agrees_with_the_momentum_of_the_fields(lifting: xr.Dataset):
    exchanged = lifting["force"].values
    through_surfaces = drag_and_lift(lifting).values
    scale = np.abs(exchanged).max()
    np.testing.assert_allclose(through_surfaces, exchanged, atol=2e-3 * scale)
