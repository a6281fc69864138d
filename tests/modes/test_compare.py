"""What a comparison says of methods is what mathematics says of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from sciml.modes.compare import CompareOptions, Comparison, compare, over_seeds
from sciml.modes.contenders import CONTENDERS, contender
from sciml.modes.figures import comparison_figures
from sciml.modes.judging import epochs_of_budget
from sciml.report.comparison import write_comparison


def swirl() -> xr.Dataset:
    """A wave that runs round a square, of a growing and then steady amplitude, and its double."""
    t = np.arange(300) * 0.1
    line = np.linspace(-1, 1, 21)
    y, x = np.meshgrid(line, line, indexing="ij")
    grown = 1 / (1 + np.exp(-(t - 5) * 4))
    fields = [np.einsum("t,iyx->tiyx", 1 - grown, np.stack([np.cos(3 * y), np.sin(3 * y)]))]
    for k, size in ((1, 1.0), (2, 0.2)):
        turn = k * (2 * np.pi * 0.4 * t[:, None, None] - 2 * x)
        wave = np.stack([np.cos(turn) * np.cos(y), np.sin(turn) * np.sin(y)], 1)
        fields.append(size * grown[:, None, None, None] ** k * wave)
    mask = np.hypot(x, y + 0.6) > 0.15
    mean = np.stack([1 + 0 * x, 0.3 * y])
    return xr.Dataset(
        {"velocity": (("time", "i", "y", "x"), mean + sum(fields)), "mask": (("y", "x"), mask)},
        coords={"time": t, "x": line, "y": line},
    )


@pytest.fixture(scope="module")
def found() -> Comparison:
    names = ("pod", "dmd", "dense-autoencoder")
    options = CompareOptions(
        rank=4, methods=names, dynamics="none", seeds=(0, 1), steps=15, budget=0.3
    )
    return compare(swirl(), options)


def figures(found: Comparison, method: str) -> dict:
    return {key: value["mean"] for key, value in found.figures(method)["over_seeds"].items()}


def test_four_modes_hold_two_waves(found):
    assert 5.5 < found.division.saturated_from < 12
    for method in ("pod", "dmd"):
        assert figures(found, method)["error_between"] < 2e-3
        ranks = found.figures(method)["scales"]["ranks"]
        assert ranks["rank"] == [1, 2, 4] and ranks["energy"][0] < 0.7
        assert found.figures(method)["scales"]["error_transient"] > 0.01
    assert found.figures("pod")["scales"]["ranks"]["energy"][1] == pytest.approx(
        1 / (1 + 0.2**2), abs=0.02
    )


def test_pod_is_orthogonal_and_ordered_and_dmd_has_pure_tones(found):
    pod, dmd = figures(found, "pod"), figures(found, "dmd")
    assert pod["mode_determinant"] == pytest.approx(1.0, abs=1e-9)
    assert pod["latent_determinant"] > 0.99 and pod["energy_ordering"] == 1.0
    assert dmd["spectral_purity"] > 0.98
    eigenvalues = found.shown["dmd"].eigenvalues
    assert eigenvalues is not None
    np.testing.assert_allclose(abs(eigenvalues), 1.0, atol=1e-3)
    turned = abs(np.angle(eigenvalues)) / (2 * np.pi * found.record["data"]["step"])
    np.testing.assert_allclose(np.sort(turned), [0.0, 0.4, 0.4, 0.8, 0.8], atol=1e-4)


def test_pod_is_stable_and_equivariant_and_does_not_travel(found):
    assert found.figures("pod")["interpretability"]["half_angle_max"] < 0.05
    invariance = found.figures("pod")["invariance"]
    assert max(invariance["equivariance"].values()) < 1e-6
    transfer = invariance["transfer"]
    assert transfer["amplitude × 2"] == pytest.approx(transfer["as it was"], abs=1e-6)
    assert transfer["turned 90°"] > 10 * transfer["as it was"]
    assert invariance["travelling_rank"] in (28, 29, 30)


def test_dmd_foresees_and_pod_alone_does_not(found):
    assert found.figures("pod")["scales"]["forecast"] is None
    assert found.figures("dmd")["scales"]["forecast"]["mean"] < 1e-3


def test_networks_run_from_every_seed_and_within_a_budget(found):
    record = found.figures("dense-autoencoder")
    assert set(record["seeds"]) == {"0", "1"} == set(record["at_budget"]["seeds"])
    assert record["at_budget"]["epochs"] >= 1
    assert set(found.figures("pod")["seeds"]) == {"0"}
    spread = over_seeds({"0": {"a": 1.0}, "1": {"a": 3.0}})["a"]
    assert spread == {"mean": 2.0, "least": 1.0, "most": 3.0}


def test_the_report_stands_alone(found, tmp_path: Path):
    page = write_comparison(found, tmp_path / "out", title="a swirl").read_text()
    for row in ("computational speed", "physically interpretable", "multi-scale", "invariance by"):
        assert row in page
    assert 'src="http' not in page and page.count("data:image/png") >= 6
    record = json.loads((tmp_path / "out/result.json").read_text())
    assert record["methods"]["pod"]["rank"] == 4
    drawn = comparison_figures(found)
    assert {"energy", "modes", "reconstruction", "eigenvalues", "spectra"} <= set(drawn)
    assert all(figure.get_label() for figure in drawn.values())


def test_a_method_that_cannot_run_says_why_and_the_others_go_on():
    ds = swirl().isel(time=slice(150, None)).stack(cell=("y", "x")).reset_index("cell")
    ds = ds.drop_vars(["x", "y", "mask"])
    options = CompareOptions(
        rank=2, methods=("pod", "convolutional-autoencoder"), dynamics="none", steps=2
    )
    found = compare(ds, options)
    assert "convolutions need a grid" in found.figures("convolutional-autoencoder")["refused"]
    assert list(found.shown) == ["pod"]
    assert found.figures("pod")["invariance"]["transfer"] is None


def test_bad_options_are_refused_before_any_work():
    with pytest.raises(ValueError, match=r"no method 'pood'; did you mean pod\? the methods are"):
        CompareOptions(methods=("pood",))
    with pytest.raises(ValueError, match="rank must be at least 1, not 0"):
        CompareOptions(rank=0)
    with pytest.raises(ValueError, match="a budget is some seconds above 0"):
        CompareOptions(budget=-1.0)
    assert all(contender(name).title for name in CONTENDERS)


def test_a_budget_is_counted_in_epochs():
    import time

    epochs = epochs_of_budget(lambda n: time.sleep(0.02 + 0.02 * n), 0.5)
    assert 12 < epochs < 32
