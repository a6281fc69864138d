"""The page of a comparison of decompositions: a table of four rows, figures, and every number."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sciml.data.files import atomic
from sciml.modes.compare import Comparison
from sciml.modes.figures import comparison_figures
from sciml.report import html
from sciml.report.page import figure_element
from sciml.report.plots import style

__all__ = ["write_comparison"]

Record = Mapping[str, Any]
Line = tuple[str, Callable[[Record], str]]
"""A measure: what it is called, and its value of a method as HTML."""


def write_comparison(
    comparison: Comparison, folder: Path, *, title: str, command: str = ""
) -> Path:
    """Write `report.html`, which needs nothing beside it, `result.json` and each figure as PNG.

    Args:
        comparison: what was found.
        folder: where to write; made if it is missing.
        title: what was compared on.
        command: that gives the same figures.

    Returns:
        the path of the page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    comparison.write(folder)
    with style():
        figures = comparison_figures(comparison)
    shown = [
        figure_element(place, name, figure, folder)
        for place, (name, figure) in enumerate(figures.items(), start=1)
    ]
    body = "\n".join(_sections(comparison, shown, title, command))
    page = html.document(f"Decompositions of {title}, compared", body)
    with atomic(folder / "report.html") as part:
        part.write_text(page, encoding="utf-8")
    return folder / "report.html"


def _sections(
    comparison: Comparison, figures: Sequence[str], title: str, command: str
) -> Iterator[str]:
    yield _heading(comparison, title)
    yield html.element("h2", "Four questions")
    yield _four_rows(comparison)
    yield html.definitions(_MEANINGS, "list")
    yield from _seeds(comparison)
    yield from _refused(comparison)
    yield html.element("h2", "Figures")
    yield from figures
    if command:
        same = html.definitions(
            [("the same figures", html.element("code", html.text(command)))], "list"
        )
        yield html.element("h2", "How to repeat this") + same


def _heading(comparison: Comparison, title: str) -> str:
    data = comparison.record["data"]
    counts = data["snapshots"]
    facts = [
        ("variables", html.text(", ".join(data["variables"]))),
        ("numbers in a snapshot", html.number(data["numbers_in_a_snapshot"])),
        ("rank", html.number(comparison.options.rank)),
        ("trained on", f"{html.number(counts['train'])} snapshots"),
        ("judged between", html.number(counts["between"])),
        ("forecast", html.number(counts["future"])),
        ("transient", html.number(counts["transient"]) if counts["transient"] else "none"),
        ("step", html.number(data["step"])),
        ("saturated from", html.number(data["saturated_from"])),
    ]
    return html.element(
        "header",
        html.element("p", "sciml modes", "kicker")
        + html.element("h1", f"Decompositions of {html.text(title)}")
        + html.definitions(facts, "facts"),
    )


def _four_rows(comparison: Comparison) -> str:
    """One row for each question, one column for each method, several numbers in each cell."""
    ran = {name: comparison.figures(name) for name in comparison.shown}
    titles = [html.text(record["title"]).replace(" ", "<br>") for record in ran.values()]
    head = ["", *titles]
    rows = []
    for question, lines in _QUESTIONS.items():
        names = "<br>".join(f"<small>{html.text(name)}</small>" for name, _ in lines)
        cells = ["<br>".join(value(record) for _, value in lines) for record in ran.values()]
        rows.append([f"<b>{html.text(question)}</b><br>{names}", *(f"<br>{c}" for c in cells)])
    return html.table(head, rows)


def _number(value: float | None, scale: float = 1.0, unit: str = "") -> str:
    if value is None or value != value:
        return "–"
    return html.number(value * scale) + (f" {unit}" if unit else "")


def _main(key: str, scale: float = 1.0, unit: str = "") -> Callable[[Record], str]:
    """Mean over the seeds, and half the range of them where there are several."""

    def value(record: Record) -> str:
        found = record["over_seeds"].get(key)
        if found is None:
            return "–"
        shown = _number(found["mean"], scale, unit)
        if len(record["seeds"]) < 2:
            return shown
        spread = (found["most"] - found["least"]) / 2 * scale
        return f"{shown} ± {html.number(spread)}" if spread > 1e-3 * abs(found["mean"]) else shown

    return value


def _at(*keys: str, scale: float = 1.0, unit: str = "") -> Callable[[Record], str]:
    def value(record: Record) -> str:
        found: Any = record
        for key in keys:
            found = None if found is None else found.get(key)
        return _number(found, scale, unit)

    return value


def _worst(*keys: str) -> Callable[[Record], str]:
    def value(record: Record) -> str:
        found: Any = record
        for key in keys:
            found = None if found is None else found[key]
        return _number(max(found.values())) if found else "–"

    return value


def _travelling(record: Record) -> str:
    rank = record["invariance"]["travelling_rank"]
    tried = record["invariance"]["travelling_energy"]
    return html.number(rank) if rank is not None else f"more than {max(tried)}"


_QUESTIONS: Mapping[str, Sequence[Line]] = {
    "computational speed": (
        ("fit, s", _main("fit_seconds")),
        ("memory of the fit, MB", _main("fit_bytes", 1e-6)),
        ("encoding a snapshot, ms", _at("speed", "encode_seconds", scale=1e3)),
        ("reconstructing one, ms", _at("speed", "reconstruct_seconds", scale=1e3)),
        ("growth with snapshots, power", _at("speed", "growth", "snapshots", "exponent")),
        ("growth with points, power", _at("speed", "growth", "points", "exponent")),
    ),
    "physically interpretable": (
        ("det of latents' correlation", _main("latent_determinant")),
        ("det of modes' cosines", _main("mode_determinant")),
        ("spectral purity", _main("spectral_purity")),
        ("in order of energy", _main("energy_ordering")),
        ("angle between halves, rad", _at("interpretability", "half_angle_max")),
    ),
    "multi-scale": (
        ("error on seen snapshots", _main("error_seen")),
        ("error between them", _main("error_between")),
        ("error in the transient", _at("scales", "error_transient")),
        ("error, fitted on the transient", _at("scales", "error_from_transient")),
        ("error of the forecast", _at("scales", "forecast", "mean")),
    ),
    "invariance by rotation, scaling": (
        ("refit on a view, angle, rad", _worst("invariance", "equivariance")),
        ("error as it was", _at("invariance", "transfer", "as it was")),
        ("turned 90°", _at("invariance", "transfer", "turned 90°")),
        ("turned 30°", _at("invariance", "transfer", "turned 30°")),
        ("moved", _at("invariance", "transfer", "moved")),
        ("mirrored", _at("invariance", "transfer", "mirrored")),
        ("magnified 1.25", _at("invariance", "transfer", "magnified 1.25")),
        ("amplitude × 0.5", _at("invariance", "transfer", "amplitude × 0.5")),
        ("amplitude × 2", _at("invariance", "transfer", "amplitude × 2")),
        ("modes of a travelling pulse", _travelling),
    ),
}

_MEANINGS = (
    ("±", "half the range over the seeds of a network"),
    ("memory", "the most in use during the fit, less what was in use before it"),
    ("growth", "the power of the size of the data that the time of the fit grows with"),
    ("det", "1 where latents are uncorrelated or modes orthogonal, 0 where they are the same"),
    (
        "spectral purity",
        "the share of a latent's power at its strongest frequency and the two beside it, the mean "
        "over latents by their energy",
    ),
    ("in order of energy", "the share of pairs of modes in which the earlier holds more"),
    (
        "angle between halves",
        "largest principal angle between the spaces of modes, to 99.9 % of the energy, of fits on "
        "the two halves of the training snapshots",
    ),
    (
        "error",
        "root of the energy lost over the energy of the deviations from the mean; 1 is the mean",
    ),
    (
        "refit on a view",
        "largest principal angle between modes of the turned or mirrored flow, and the turned or "
        "mirrored modes; where training is random, it tells seeds apart too",
    ),
    (
        "turned, moved, ...",
        "error of a method fitted through a round window on a view it has not seen",
    ),
    (
        "travelling pulse",
        "the least of some ranks that holds 99 % of the energy of a pulse that runs round",
    ),
)


def _seeds(comparison: Comparison) -> Iterator[str]:
    """Networks by seed, at their own length of training and within the budget."""
    rows = []
    for name in comparison.shown:
        record = comparison.figures(name)
        if not record["network"]:
            continue
        kinds = {"as set": record, "within the budget": record.get("at_budget")}
        for kind, part in kinds.items():
            for seed, found in (part or {"seeds": {}})["seeds"].items():
                keys = ("fit_seconds", "error_seen", "error_between", "latent_determinant")
                cells = [_number(found[key]) for key in (*keys, "spectral_purity")]
                rows.append([html.text(record["title"]), kind, html.text(seed), *cells])
    if rows:
        head = ["network", "training", "seed", "fit, s", "error seen", "error between"]
        yield html.element("h2", "Networks by seed")
        yield html.table([*head, "det of correlation", "purity"], rows)


def _refused(comparison: Comparison) -> Iterator[str]:
    refused = {n: r for n, r in comparison.record["methods"].items() if "refused" in r}
    if refused:
        yield html.element("h2", "Methods that could not be run")
        pairs = [(record["title"], html.text(record["refused"])) for record in refused.values()]
        yield html.definitions(pairs, "list")
