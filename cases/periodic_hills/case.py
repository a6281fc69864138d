"""Reynolds stresses of separated and duct flows, learned from DNS, judged on unseen flows."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure

from sciml.case import Case, Outcome, at_most
from sciml.rans import CHALLENGE_TEST, CHALLENGE_TRAIN, CHALLENGE_VALID
from sciml.rans.study import ClosureStudy, Scale, closure_metrics, rotation_change

STOP = ("alpha_05_10071_4048", "alpha_15_7929_2024")
"""Flows that say when to stop; the other validation flows are learned from as well."""

LEARNED = (*CHALLENGE_TRAIN, *(name for name in CHALLENGE_VALID if name not in STOP))

study = ClosureStudy(
    train=LEARNED,
    valid=STOP,
    tests={
        "flows": CHALLENGE_TEST,
        "ducts": tuple(name for name in CHALLENGE_TEST if name.startswith("AR_")),
        "curved step": ("CBFS13700",),
    },
    scales={
        "smoke": Scale(
            cells=400,
            judged=2000,
            epochs=15,
            members=2,
            hidden=(48, 48),
            batch=256,
            iterations=20,
            turned=1,
        ),
        "full": Scale(cells=5000, epochs=30, members=5, hidden=(128, 128, 128)),
    },
)


def figures(outcome: Outcome) -> Mapping[str, Figure]:
    """Of the longest hills, and the distances of every flow."""
    return study.figures(outcome, "alpha_15_13929_4048", far=["curved step"])


case = Case(
    name="periodic-hills",
    summary="A tensor-basis network on real DNS: Reynolds stresses of flows it has never seen",
    reference="Ling, Kurzawski, Templeton 2016, doi:10.1017/jfm.2016.615; The Closure Challenge",
    generate=study.make,
    load=study.read,
    threads=1,
    models=study.models(),
    metrics=closure_metrics(),
    diagnostics={"rotation_change": rotation_change("flows")},
    accept={
        "smoke": {
            "extended tensor basis": {
                "anisotropy_error": at_most(0.06),
                "unrealizable": at_most(0.0),
                "rotation_change": at_most(1e-5),
            },
        },
        "full": {
            "extended tensor basis": {
                "anisotropy_error": at_most(0.03),
                "anisotropy_error_max": at_most(0.045),
                "linear_ratio@ducts": at_most(1 / 3),
                "vouched_error@curved step": at_most(0.063),
                "unrealizable": at_most(0.0),
                "rotation_change": at_most(1e-5),
            },
            "tensor basis": {
                "anisotropy_error": at_most(0.048),
                "unrealizable": at_most(0.0),
                "rotation_change": at_most(1e-5),
            },
        },
    },
    figures=figures,
    tables=study.tables,
)
