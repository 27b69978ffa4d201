"""The page's structure: what a reader without its script gets, and what the script relies on."""

import base64
import dataclasses
import hashlib
import itertools
import re
from html.parser import HTMLParser
from importlib import resources

import pytest

from mixreg.evaluation import MeanInterval
from mixreg.report import comparison
from mixreg.report.figures import DARK
from mixreg.report.page import Result, render_page, sort_value

SCRIPT = resources.files("mixreg.report").joinpath("templates/page.js").read_text("utf-8")


class Elements(HTMLParser):
    """All elements with their attributes."""

    def __init__(self, html):
        super().__init__()
        self.html, self.elements = html, []
        self.feed(html)
        self.attributes = [attributes for _, attributes in self.elements]

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def all(self, tag, **attributes):
        wanted = {name.rstrip("_"): value for name, value in attributes.items()}
        return [a for t, a in self.elements if t == tag and wanted.items() <= a.items()]

    def values(self, *names):
        return [a[name] for a in self.attributes for name in names if name in a]


@pytest.fixture(scope="module")
def alone(everything):
    return Elements(render_page([Result(everything, "study.json")]))


@pytest.fixture(scope="module")
def many(report_results):
    return Elements(
        render_page(report_results, title="Report", subtitle="3 results", missing=["a run"])
    )


@pytest.fixture(params=["alone", "many"])
def page(request):
    return request.getfixturevalue(request.param)


def test_without_script_frames_are_shown_and_controls_are_not(alone):
    frames = alone.all("div", class_="frame")
    assert len(frames) == 4
    assert not any("hidden" in frame for frame in frames)
    controls = alone.all("div", class_="control") + alone.all("div", class_="filter")
    assert len(controls) == 2
    assert all("hidden" in control for control in controls)
    assert alone.all("button") == []


def test_a_slider_is_labelled_and_starts_where_it_should(alone):
    (slider,) = alone.all("input", type="range")
    assert (slider["min"], slider["max"], slider["value"]) == ("0", "3", "1")
    assert alone.all("label", for_=slider["id"])
    assert f'<output for="{slider["id"]}">α = 0.5</output>' in alone.html
    assert alone.all("figure", class_="sequence")[0]["data-start"] == "1"


def test_all_that_the_script_looks_for_is_on_the_page(page):
    """A class or attribute renamed on one side alone would silently switch a control off."""
    classes = {name for value in page.values("class") for name in value.split()}
    queries = re.findall(r'querySelector(?:All)?\("([^"]+)"\)', SCRIPT)
    sought = {selector.strip() for query in queries for selector in query.split(",")}
    assert len(sought) >= 10
    for selector in sought:
        tag, _, name = selector.partition(".")
        assert not name or name in classes, selector
        assert not tag or page.all(tag), selector
    data = {re.sub("[A-Z]", "-\\g<0>", d).lower() for d in re.findall(r"dataset\.(\w+)", SCRIPT)}
    present = {name.removeprefix("data-") for attributes in page.attributes for name in attributes}
    assert data - {"place"} <= present  # the script's own
    assert all({"aria-label", "aria-labelledby"} & set(table) for table in page.all("table"))


def test_the_script_is_small_and_cannot_end_its_element():
    assert len(SCRIPT.splitlines()) < 150
    assert "</script" not in SCRIPT.lower()
    assert not re.search(r"innerHTML|eval|fetch|XMLHttp|import\(|document\.write", SCRIPT)


def test_ids_are_unique_and_links_have_targets(page):
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    targets = {link[1:] for link in page.values("href") if link.startswith("#")}
    targets |= {*page.values("aria-labelledby", "for"), *re.findall(r"url\(#([^)]*)\)", page.html)}
    assert len(targets) > 5
    assert targets <= set(ids)


def test_headings_descend_one_level_at_a_time(page):
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b <= a + 1 for a, b in itertools.pairwise(levels))


def test_the_ledger_has_every_claim_with_links_to_section_and_numbers(many):
    results = many.values("data-result")
    assert results.count("Everything") == results.count("Again") == 3
    assert "digits, mlp" in results
    links = many.values("href")
    assert links.count("a/study.json") == 3 + 1
    assert links.count("#result-2") == 3 + 1  # of the claims, and of the contents
    assert "+1.00 <small>(+0.60 to +1.40)</small>" in many.html


def test_holes_are_shown(alone, many):
    hole = "CIFAR-100 is not at hand."
    assert hole in alone.html
    assert many.html.count('class="missing"') == 3
    assert many.html.index("a run") < many.html.index(hole)


def test_cells_are_sorted_by_the_number_they_begin_with():
    numbers = {"12": 12, "−0.5": -0.5, "+.5 points": 0.5, "1e-05": 1e-5, "91.20 ± 0.40": 91.2}
    numbers |= {"20%": 20, "α = 0.25": 0.25}
    words = ("", "–", "(3)", "mixup (α = 1)", "3-mixup", "0x12", "2026-11-22")
    assert {text: sort_value(text) for text in (*numbers, *words)} == numbers | dict.fromkeys(words)


def test_one_seed_has_no_interval_in_the_ledger(everything):
    claim = dataclasses.replace(everything.claims[0], effect=MeanInterval(0.25, None, 1))
    html = render_page([Result(dataclasses.replace(everything, claims=[claim]))])
    assert "+0.250 <small>(no interval)</small>" in html
    assert "<b>1</b> are undecided" in html


def test_the_page_loads_nothing_and_runs_its_own_script_alone(many):
    (script,) = re.findall(r"<script>(.*?)</script>", many.html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}';" in many.html
    assert "default-src 'none'" in many.html
    assert not any(name.startswith("on") for attributes in many.attributes for name in attributes)
    assert not re.search(r"https?:", many.html)
    assert not {"link", "img", "iframe", "image"} & {tag for tag, _ in many.elements}
    assert not re.search(r"url\((?!#)", many.html)


def test_pictures_on_the_page_follow_its_theme(many):
    body = many.html.partition("</style>")[2]
    assert not any(colour in body for colour in DARK)
    used = set(re.findall(r"var\((--ink-\w+)\)", body))
    assert len(used) >= 5
    assert all(many.html.count(f"{name}:") == 2 for name in used)


def test_words_of_the_user_are_escaped_everywhere(everything, sample_run):
    evil = '"><script>alert(1)</script>$x$&'
    about = {"config": {evil: evil}, "environment": {evil: evil}}
    runs = [sample_run(m, s, None, **about) for m in ("erm", f"../{evil}") for s in (0, 1)]
    document = comparison(runs, title=evil, baseline="erm", missing=[evil])
    html = render_page([Result(document, evil), Result(everything)], title=evil)
    assert html.count("<script") == 1
    assert html.count("alert(1)") > 10
    assert len(Elements(html).all("script")) == 1
