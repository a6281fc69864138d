"""The tensors that span a flow: three in a plane, one in axisymmetric strain, five in general."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sciml.kernels.tensor_basis import tensor_basis
from sciml.rans import joined, manufactured_flow, spanning_tensors, turned
from sciml.rans.frames import random_rotation

PLANE = ("homogeneous shear", "plane strain")


def flow(*kinds):
    return joined([manufactured_flow(kind, 50, seed=7) for kind in kinds])


@pytest.mark.parametrize(
    ("kinds", "spanning"),
    [
        (("homogeneous shear",), (0, 1, 2)),
        (PLANE, (0, 1, 2)),
        (("axisymmetric strain",), (0,)),
        (("general",), (0, 1, 2, 3, 4)),
    ],
)
def test_the_rank_is_that_of_the_kind_of_flow(kinds, spanning):
    ds = flow(*kinds)
    assert spanning_tensors(ds) == spanning
    assert spanning_tensors(turned(ds, random_rotation(3))) == spanning


def test_what_is_left_out_is_a_sum_of_what_is_kept():
    ds = flow(*PLANE)
    names = ("velocity_gradient", "turbulent_kinetic_energy", "dissipation_rate")
    states = [ds[name].values for name in names]
    _, tensors = tensor_basis(*map(torch.from_numpy, states))
    basis = tensors.permute(2, 1, 0).double().numpy()
    kept = basis[:, :, list(spanning_tensors(ds))]
    weights = np.linalg.pinv(kept) @ basis
    np.testing.assert_allclose(kept @ weights, basis, atol=1e-4 * abs(basis).max())
