"""Cross-sections: areas, distances, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from sciml.rans.propagation import CrossSection, Duct, Walls, channel, rectangle, section_of


def test_a_quarter_and_the_whole_have_their_areas_and_distances(rng):
    h, aspect = rng.uniform(0.5, 2.0, 2)
    quarter = rectangle(h, aspect, cells=(7, 9), growth=(5.0, 8.0))
    whole = rectangle(h, aspect, cells=(7, 9), growth=(5.0, 8.0), whole=True)
    assert quarter.areas.sum() == pytest.approx(h * h * aspect)
    assert whole.areas.sum() == pytest.approx(4 * h * h * aspect)
    y, z = quarter.positions[:, 1:].T
    expected = np.minimum(h - y, h * aspect - z)
    np.testing.assert_allclose(quarter.wall_distance, expected, rtol=1e-10)
    upper = whole.wall_distance.reshape(whole.shape)[9:, 7:]
    np.testing.assert_allclose(upper.ravel(), quarter.wall_distance, rtol=1e-12)


def test_a_channel_is_as_far_from_its_wall_everywhere_along_z():
    section = channel(2.0, cells=5)
    assert section.shape == (1, 5)
    np.testing.assert_allclose(section.wall_distance, 2.0 - section.positions[:, 1])


def test_a_section_comes_back_from_its_own_cells(rng):
    section = rectangle(1e-3, 3.0, cells=(12, 20), growth=(40.0, 90.0))
    flow = xr.Dataset(
        {
            "position": (("cell", "i"), section.positions.astype(np.float32)),
            "cell_volume": ("cell", (rng.uniform(1, 9) * section.areas).astype(np.float32)),
        }
    )
    back = section_of(flow)
    np.testing.assert_allclose(back.y_widths, section.y_widths, rtol=1e-6)
    np.testing.assert_allclose(back.wall_distance, section.wall_distance, rtol=1e-6)
    shuffled = flow.isel(cell=rng.permutation(flow.sizes["cell"]))
    with pytest.raises(ValueError, match="no rectangular grid with y running fastest"):
        section_of(shuffled)


def test_what_makes_no_duct_is_refused():
    free = Walls(y=(False, False), z=(False, False))
    with pytest.raises(ValueError, match="without a wall"):
        CrossSection(y_widths=np.ones(2), z_widths=np.ones(2), walls=free)
    with pytest.raises(ValueError, match="widths along z must be positive"):
        CrossSection(y_widths=np.ones(2), z_widths=np.array([1.0, -1.0]))
    with pytest.raises(ValueError, match="all must be positive"):
        rectangle(-1.0, cells=(2, 2))
    with pytest.raises(ValueError, match="viscosity of 0"):
        Duct(section=channel(1.0, cells=2), viscosity=0.0, bulk_velocity=1.0)
