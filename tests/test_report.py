"""The report: it needs nothing beside it, shows every figure and escapes what it is given."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from sciml.case import Job, run
from sciml.case.discovery import load_case
from sciml.report import figure, html, style, write_report
from sciml.report.plots import training_curves

FOLDER = Path(__file__).parent / "cases" / "straight_line"
VOID = {"meta", "img"}


class Page(HTMLParser):
    """The tags of a page with their attributes, and whether every tag is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    def attributes(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def case():
    return load_case(FOLDER)


@pytest.fixture(scope="module")
def outcome(case, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return run(case, Job(tier="smoke", folder=folder, data=folder, device="cpu"))


@pytest.fixture(scope="module")
def text(case, outcome) -> str:
    return write_report(case, outcome).read_text(encoding="utf-8")


def test_the_page_needs_nothing_beside_it(text):
    page = Page(text)
    assert page.open == []
    assert {name for name, _ in page.tags}.isdisjoint({"script", "link", "iframe", "object"})
    assert all(a["href"].startswith("https://doi.org/10.") for a in page.attributes("a"))
    assert all(i["src"].startswith("data:image/png;base64,") for i in page.attributes("img"))
    assert "url(" not in text and "@import" not in text


def test_every_figure_is_inside_and_beside_the_page(text, outcome):
    pictures = [
        base64.b64decode(image["src"].partition(",")[2]) for image in Page(text).attributes("img")
    ]
    files = [outcome.job.folder / f"{name}.png" for name in ("lines", "training_curves")]
    assert pictures == [file.read_bytes() for file in files]
    assert all(picture.startswith(b"\x89PNG\r\n") for picture in pictures)


def test_what_stands_in_it(text, outcome):
    words = " ".join(Page(text).words)
    assert "All 3 bounds hold." in words
    for expected in (
        "A straight line through noisy points",
        "Coefficients",
        "Diagnostics",
        "Figure 2.",
    ):
        assert expected in words
    assert outcome.result.data["checksum"] in words
    value = outcome.result.models["line"].metrics["error"].value
    assert f"{value:#.3g}" in words
    assert "sciml run straight-line --tier smoke --seed 0" in words


def test_names_are_escaped(text):
    assert "farther &lt;away&gt;" in text and "<away>" not in text
    assert "with 0 &lt; a &amp; b." in text


def test_a_shortfall_is_the_first_thing_said(case, tmp_path):
    outcome = run(case, Job(tier="full", folder=tmp_path, data=tmp_path, device="cpu"))
    text = write_report(case, outcome).read_text(encoding="utf-8")
    assert text.index("The one bound falls short") < text.index("<h2>")
    value = outcome.result.models["line"].metrics["error"].value
    assert f"error of line is {value:#.3g}, should be at most 1 × 10<sup>−9</sup>" in text


def test_a_case_without_figures_has_a_report(case, outcome, tmp_path):
    bare = replace(case, figures=lambda outcome: {}, tables=lambda outcome: {})
    page = Page(write_report(bare, replace(outcome, histories={}), tmp_path).read_text())
    assert page.attributes("img") == []
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_a_figure_is_drawn_the_same_each_time(case, outcome, tmp_path):
    write_report(case, outcome, tmp_path)
    again = (tmp_path / "lines.png").read_bytes()
    assert again == (outcome.job.folder / "lines.png").read_bytes()


def test_members_of_an_ensemble_share_a_colour():
    history = {"train_loss": [1.0, 0.5], "valid_loss": [1.0, None]}
    drawn = training_curves({"net": history, "both/0": history, "both/1": history})
    curves = [line for line in drawn.axes[0].lines if len(line.get_xdata())]
    colours = [line.get_color() for line in curves]
    assert colours[2:4] == colours[4:6] and colours[0] != colours[2]
    assert training_curves({}) is None


def test_a_figure_has_the_style_of_the_report():
    with style():
        drawn, axes = figure(1, 2)
    assert axes.shape == (1, 2)
    assert drawn.get_layout_engine() is not None
    assert not axes[0, 0].spines["top"].get_visible()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0"),
        (-0.5, "−0.500"),
        (999.7, "1000"),
        (123.0, "123"),
        (12345.6, "12346"),
        (12_345, "12\u2009345"),
        (float("nan"), "not finite"),
        (None, "–"),
        (True, "yes"),
        ("<b>", "&lt;b&gt;"),
    ],
)
def test_numbers_as_they_are_shown(value, shown):
    assert html.number(value) == shown


def test_a_semicolon_may_stand_in_a_doi():
    found = html.link("Lorenz 1963, doi:10.1175/020<0130:DNF>2.0.CO;2; and others")
    assert found.endswith("doi:10.1175/020&lt;0130:DNF&gt;2.0.CO;2</a>; and others")


def test_a_reference_without_doi_is_text():
    assert html.link("Lamb & Hydro, 1932") == "Lamb &amp; Hydro, 1932"
    assert re.fullmatch(r'<a href="https://doi.org/10.1/x">.*</a>', html.link("10.1234/x")) is None
    assert html.link("https://doi.org/10.1234/x") == (
        '<a href="https://doi.org/10.1234/x">doi:10.1234/x</a>'
    )
