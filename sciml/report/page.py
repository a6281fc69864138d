"""The page of a run: verdict, tables, figures and where everything comes from."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from sciml.case import Case, Diagnostic, Metric, Outcome, Result, Score, Table
from sciml.data.files import atomic
from sciml.report import html
from sciml.report.plots import save_figure, style, training_curves

__all__ = ["figure_element", "write_report"]

_ENLARGED = 1.3
"""A figure's letters are those of a paper; so enlarged they match the letters of the page."""


def write_report(case: Case, outcome: Outcome, folder: Path | None = None) -> Path:
    """Write `report.html`, which needs nothing beside it, and each figure as a PNG file.

    Args:
        case: what was run.
        outcome: what came of it.
        folder: where to write; the run's own by default.

    Returns:
        the path of the page.
    """
    folder = outcome.job.folder if folder is None else folder
    with style():
        figures = dict(case.figures(outcome))
        tables = case.tables(outcome)
        curves = training_curves(outcome.histories)
    if curves is not None:
        figures.setdefault("training_curves", curves)
    shown = [
        figure_element(place, *item, folder) for place, item in enumerate(figures.items(), start=1)
    ]
    body = "\n".join(_sections(case, outcome, tables, shown))
    with atomic(folder / "report.html") as part:
        part.write_text(html.document(f"{case.name}: {case.summary}", body), encoding="utf-8")
    return folder / "report.html"


def _sections(
    case: Case, outcome: Outcome, tables: Mapping[str, Table], figures: Sequence[str]
) -> Iterator[str]:
    yield _heading(case, outcome.result)
    yield _verdict(outcome.result)
    yield from _scores(case, outcome)
    for table in tables.values():
        yield html.element("h2", html.text(table.title)) + _table(table)
    if figures:
        yield html.element("h2", "Figures")
        yield from figures
    yield from _provenance(outcome.result)


def _heading(case: Case, result: Result) -> str:
    machine = result.environment["machine"]
    commit = result.environment["commit"]
    facts = [
        ("tier", html.text(result.tier)),
        ("seed", html.text(result.seed)),
        ("date", _now()),
        ("machine", html.text(f"{machine['processor']}, {machine['cores']} cores")),
        ("commit", html.element("code", html.text(_short(commit))) if commit else "not known"),
    ]
    if "gpu" in machine:
        facts.insert(4, ("GPU", html.text(machine["gpu"])))
    return html.element(
        "header",
        html.element("p", html.text(case.name), "kicker")
        + html.element("h1", html.text(case.summary))
        + html.element("p", f"Reference: {html.link(case.reference)}")
        + html.definitions(facts, "facts"),
    )


def _now() -> str:
    now = datetime.now().astimezone()
    return f"{now.day} {now:%B %Y, %H:%M %Z}"


def _short(commit: str) -> str:
    """A commit to twelve digits, with the mark of local changes."""
    digits, _, changed = commit.partition("-")
    return digits[:12] + (" with local changes" if changed else "")


def _verdict(result: Result) -> str:
    bounded = [s for m in result.models.values() for s in m.metrics.values() if s.bound]
    short = list(result.shortfalls())
    if not bounded:
        return html.element("div", "This tier sets no bounds.", "verdict pass")
    if not short:
        words = "The one bound holds" if len(bounded) == 1 else f"All {len(bounded)} bounds hold"
        return html.element("div", html.element("strong", f"{words}."), "verdict pass")
    words = f"{len(short)} of {len(bounded)} bounds {'falls' if len(short) == 1 else 'fall'} short"
    if len(bounded) == 1:
        words = "The one bound falls short"
    lines = "".join(
        html.element(
            "li",
            f"{html.text(metric)} of {html.text(model)} is {html.number(score.value)}, "
            f"should be {_bound(score)}",
        )
        for model, metric, score in short
    )
    inner = html.element("strong", f"{words}:") + html.element("ul", lines)
    return html.element("div", inner, "verdict fail")


def _bound(score: Score) -> str:
    return f"{score.bound.direction} {html.given(score.bound.value)}" if score.bound else ""


def _scores(case: Case, outcome: Outcome) -> Iterator[str]:
    """A table of models against metrics for each test set, the principal one with the times."""
    sizes = outcome.result.data["samples"]
    for place, name in enumerate(outcome.splits.tests):
        title = "Models against bounds" if place == 0 else f"Test set “{html.text(name)}”"
        yield html.element("h2" if place == 0 else "h3", title)
        which = f"On the principal test set, “{html.text(name)}”: " if place == 0 else ""
        yield html.element("p", f"{which}{html.number(sizes[name])} samples.", "soft")
        yield _score_table(case, outcome.result, "" if place == 0 else f"@{name}")
        if place == 0:
            yield _meanings(case.metrics)
    if case.diagnostics:
        yield html.element("h3", "Diagnostics of the models")
        yield _diagnostics_table(case, outcome.result)
        yield _meanings(case.diagnostics)


def _score_table(case: Case, result: Result, suffix: str) -> str:
    """Models against those metrics that this test set has values of."""
    metrics = {
        name: metric
        for name, metric in case.metrics.items()
        if any(_told(model.metrics[name + suffix]) for model in result.models.values())
    }
    head = ["model", *(_metric_head(name, metric) for name, metric in metrics.items())]
    if not suffix:
        head += ["fit", "prediction<small>a sample</small>"]
    rows = []
    for name, model in result.models.items():
        row = [html.text(name), *(_cell(model.metrics[key + suffix]) for key in metrics)]
        if not suffix:
            row += [_duration(model.fit_seconds), _duration(model.predict_seconds)]
        rows.append(row)
    return html.table(head, rows, lead=1)


def _told(score: Score) -> bool:
    """Whether there is anything to say: a value, or a bound that a missing one misses."""
    return score.bound is not None or not math.isnan(score.value)


def _diagnostics_table(case: Case, result: Result) -> str:
    units = [html.unit(d.unit) if d.unit != "1" else "" for d in case.diagnostics.values()]
    names = [_words(name) for name in case.diagnostics]
    head = [f"{name}<small>{unit}</small>" for name, unit in zip(names, units, strict=True)]
    rows = [
        [html.text(name), *(_cell(model.metrics[key]) for key in case.diagnostics)]
        for name, model in result.models.items()
    ]
    return html.table(["model", *head], rows, lead=1)


def _metric_head(name: str, metric: Metric) -> str:
    unit = "" if metric.unit == "1" else f", {html.unit(metric.unit)}"
    return f"{_words(name)}<small>{metric.reduce}{unit}</small>"


def _words(name: str) -> str:
    return html.text(name.replace("_", " "))


def _cell(score: Score) -> str:
    """A value and, under it, its bound and whether that holds; a dash where there is neither."""
    if score.bound is None:
        return html.number(None if math.isnan(score.value) else score.value)
    value = html.number(score.value)
    sign = {"at most": "≤", "at least": "≥"}[score.bound.direction]
    mark, kind = ("✓", "good") if score.holds else ("✗", "bad")
    bound = f"{mark} {sign} {html.given(score.bound.value)}"
    return html.element("span", value, kind) + html.element("small", bound, kind)


def _duration(seconds: float) -> str:
    """A time in the unit that suits it."""
    if seconds < 1e-3:
        return f"{html.number(seconds * 1e6)} µs"
    if seconds < 1:
        return f"{html.number(seconds * 1e3)} ms"
    if seconds < 120:
        return f"{html.number(seconds)} s"
    return f"{html.number(seconds / 60)} min"


def _meanings(metrics: Mapping[str, Metric] | Mapping[str, Diagnostic]) -> str:
    pairs = ((name.replace("_", " "), html.text(m.description)) for name, m in metrics.items())
    return html.definitions(pairs, "list")


def _table(table: Table) -> str:
    head = [html.text(column) for column in table.columns]
    rows = [[html.number(cell) for cell in row] for row in table.rows]
    note = html.element("p", html.text(table.note), "soft") if table.note else ""
    return html.table(head, rows) + note


def figure_element(place: int, name: str, drawn: Figure, folder: Path) -> str:
    """Write a figure beside the page and return it as a part of the page.

    It is drawn once: a layout that adapts itself may move when it is drawn again.
    """
    caption = str(drawn.get_label() or drawn.get_suptitle() or name.replace("_", " ").capitalize())
    picture = save_figure(drawn, folder / f"{name}.png").read_bytes()
    image = html.embedded(picture, _ENLARGED * drawn.get_figwidth(), caption)
    label = f"<b>Figure {place}.</b> {html.text(caption)}"
    return html.element("figure", image + html.element("figcaption", label))


def _provenance(result: Result) -> Iterator[str]:
    """Where the data, the program and the machine come from."""
    yield html.element("h2", "Data and environment")
    sizes = ", ".join(f"{html.text(k)} {html.number(v)}" for k, v in result.data["samples"].items())
    machine = result.environment["machine"]
    pairs = [
        ("origin of the data", html.text(result.data["origin"] or "not stated")),
        ("samples", sizes),
        ("checksum", html.element("code", html.text(result.data["checksum"]))),
        ("machine", html.text(_machine(machine))),
        ("commit", html.element("code", html.text(result.environment["commit"] or "not known"))),
        ("packages", _packages(result.environment["packages"])),
        ("the same figures", html.element("code", html.text(_command(result)))),
    ]
    yield html.definitions(pairs, "list")


def _machine(machine: Mapping[str, Any]) -> str:
    parts = [machine["processor"], f"{machine['cores']} cores", machine["system"]]
    return ", ".join([*parts, *([machine["gpu"]] if "gpu" in machine else [])])


def _packages(versions: Mapping[str, str]) -> str:
    return ", ".join(
        html.element("span", f"{html.text(name)}&nbsp;{html.text(version)}")
        for name, version in versions.items()
    )


def _command(result: Result) -> str:
    return f"sciml run {result.case} --tier {result.tier} --seed {result.seed}"
