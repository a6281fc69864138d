"""Figures say what they show, on scales that can be compared."""

from __future__ import annotations

import numpy as np
import pytest

from sciml.flow import comparison, error_histogram, flow_picture


@pytest.fixture(scope="module")
def figure(flows):
    slower = flows.assign(velocity=0.5 * flows["velocity"])
    return comparison(flows, slower, {"best": 2, "worst": 5}, caption="Two flows")


def test_solver_and_prediction_share_their_scale_in_every_row(figure):
    panels = np.array(figure.axes[:8]).reshape(2, 4)
    for _, solver, prediction, error in panels:
        limits = [axes.images[0].get_clim() for axes in (solver, prediction)]
        assert limits[0] == limits[1]
        assert limits[0][0] == 0 and error.images[0].get_clim()[0] == 0


def test_each_panel_shows_its_field(figure, flows):
    panels = np.array(figure.axes[:8]).reshape(2, 4)
    for sample, (distance, solver, prediction, error) in zip((2, 5), panels, strict=True):
        one = flows.isel(sample=sample)
        speed = np.linalg.norm(one["velocity"].values, axis=0)
        fluid = one["signed_distance"].values > 0
        shown = [axes.images[0].get_array() for axes in (solver, prediction, error)]
        for image, factor in zip(shown, (1.0, 0.5, 0.5), strict=True):
            np.testing.assert_allclose(np.asarray(image)[fluid], factor * speed[fluid], rtol=1e-5)
            assert np.ma.getmaskarray(np.ma.masked_invalid(image))[~fluid].all()
        values = np.asarray(distance.images[0].get_array())
        np.testing.assert_array_equal(values, one["signed_distance"].values)


def test_comparison_says_what_stands_where(figure):
    assert figure.get_label() == "Two flows"
    titles = [axes.get_title() for axes in figure.axes[:4]]
    assert [title.split(" [")[0] for title in titles] == [
        "signed distance",
        "solver",
        "prediction",
        "|error|",
    ]
    assert all("[m" in title for title in titles)
    words = [figure.axes[4 * row].get_ylabel().split("\n")[0] for row in (0, 1)]
    assert words == ["best", "worst"]


def test_picture_of_one_flow_names_its_reynolds_number(flows):
    one = flows.isel(sample=[1])
    figure = flow_picture(one)
    assert f"Re = {one['reynolds_number'].item():.3g}" in figure.get_label()
    pressure = figure.axes[2].images[0]
    low, high = pressure.get_clim()
    assert low == -high  # zero pressure in the middle of a diverging map


def test_histogram_gives_shares_and_means(rng):
    errors = {"unseen": rng.gamma(2.0, 0.01, 200), "cars": rng.gamma(3.0, 0.02, 14)}
    figure = error_histogram(errors, caption="All errors")
    assert figure.get_label() == "All errors"
    axes = figure.axes[0]
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    expected = [
        f"{name} ({values.size}), mean {100 * values.mean():.1f} %"
        for name, values in errors.items()
    ]
    assert sorted(labels) == sorted(expected)
    assert "%" in axes.get_xlabel() and "%" in axes.get_ylabel()
