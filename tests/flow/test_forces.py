"""Forces from fields that are known exactly."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from sciml.flow import drag_and_lift, force_on_body

RADIUS, BAND = 0.12, (0.05, 0.25)


class Square:
    """A square of 1 m with a circle in its middle, in polar and Cartesian coordinates."""

    def __init__(self, cells: int) -> None:
        place = (torch.arange(cells, dtype=torch.float64) + 0.5) / cells - 0.5
        self.y, self.x = torch.meshgrid(place, place, indexing="ij")
        self.r = torch.hypot(self.x, self.y)
        self.spacing = 1 / cells

    def force(
        self, u: torch.Tensor, v: torch.Tensor, p: torch.Tensor, viscosity: float = 0.01
    ) -> np.ndarray:
        return force_on_body(
            torch.stack([u, v])[None],
            p[None],
            (self.r - RADIUS)[None],
            torch.tensor([viscosity], dtype=torch.float64),
            spacing=self.spacing,
            band=BAND,
        )[0].numpy()


def test_uniform_flow_exerts_no_force(rng):
    square = Square(48)
    u, v, p = (torch.full_like(square.x, value) for value in rng.normal(size=3))
    np.testing.assert_allclose(square.force(u, v, p), 0.0, atol=1e-13)


def test_pressure_that_rises_evenly_lifts_as_archimedes_says(rng):
    """−∇p times the area within the control surface, here the mean area of those in the band:
    fluid at rest between body and surface would fall, so it counts with the body."""
    square = Square(128)
    slope = rng.normal(size=2)
    rest = torch.zeros_like(square.x)
    inner, outer = (RADIUS + s for s in BAND)
    area = math.pi * (outer**3 - inner**3) / (3 * (outer - inner))
    force = square.force(rest, rest, slope[0] * square.x + slope[1] * square.y)
    np.testing.assert_allclose(force, -slope * area, rtol=2e-3, atol=1e-12)


def test_flow_that_balances_itself_exerts_no_force():
    """Poiseuille's flow: pressure against friction, with nothing inside to push."""
    square = Square(96)
    viscosity, slope = 0.3, -2.0
    u = slope / (2 * viscosity) * (square.y**2 - 0.25)
    force = square.force(u, torch.zeros_like(u), slope * square.x, viscosity)
    scale = abs(slope) * math.pi * RADIUS**2
    np.testing.assert_allclose(force, 0.0, atol=2e-3 * scale)


def test_circulation_lifts_as_kutta_and_joukowski_say():
    """Potential flow: no drag, and a lift of −ρ U Γ."""
    square = Square(128)
    x, y, r = square.x, square.y, square.r.clamp(min=RADIUS / 2)
    speed, circulation = 1.0, 0.6
    doublet, vortex = speed * RADIUS**2 / r**4, circulation / (2 * math.pi * r**2)
    u = speed - doublet * (x**2 - y**2) - vortex * y
    v = -2 * doublet * x * y + vortex * x
    p = (speed**2 - u**2 - v**2) / 2
    drag, lift = square.force(u, v, p)
    assert lift == pytest.approx(-speed * circulation, rel=5e-3)
    assert drag == pytest.approx(0.0, abs=2e-3 * circulation)


def test_mirrored_flow_has_the_opposite_lift(lifting):
    def tensors(sign):
        velocity = torch.from_numpy(lifting["velocity"].values).double()
        images = [
            torch.from_numpy(lifting[name].values).double()
            for name in ("pressure", "signed_distance")
        ]
        if sign < 0:
            velocity = velocity.flip(-2) * velocity.new_tensor([1, -1])[:, None, None]
            images = [image.flip(-2) for image in images]
        viscosity = torch.from_numpy(lifting["viscosity"].values)
        return force_on_body(velocity, *images, viscosity, spacing=1 / 64)[0]

    torch.testing.assert_close(tensors(-1), tensors(1) * tensors(1).new_tensor([1, -1]))


@pytest.mark.parametrize("band", [(0.03, 0.12), (0.05, 0.2), (0.08, 0.25), (0.04, 0.06)])
def test_force_does_not_depend_on_the_band(lifting, band):
    fields = [
        torch.from_numpy(lifting[name].values).double()
        for name in ("velocity", "pressure", "signed_distance", "viscosity")
    ]
    force = force_on_body(*fields, spacing=1 / 64, band=band).numpy()
    usual = drag_and_lift(lifting).values
    np.testing.assert_allclose(force, usual, atol=0.003 * np.abs(usual).max())
