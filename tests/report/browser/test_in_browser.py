"""The page in a real browser: it loads, sorts, slides, filters, prints, and does without script."""

import base64

import pytest

from mixreg import CheckpointError
from mixreg.report import read_document, write_document
from mixreg.report.page import Result, render_page

pytestmark = pytest.mark.browser

SHOWN = """[...document.querySelectorAll('.sequence .frame')]
    .map((f, k) => getComputedStyle(f).display === 'none' ? null : k).filter((k) => k !== null)"""
CONTROLS = """['nav', '.filter', '.control']
    .map((s) => getComputedStyle(document.querySelector(s)).display)"""
COLUMN = """[...document.querySelectorAll('[aria-labelledby="table-numbers"] tbody tr')]
    .map((row) => row.cells[COLUMN].textContent.trim())"""
HEAD = """document.querySelectorAll('[aria-labelledby="table-numbers"] th[scope="col"]')[COLUMN]"""


@pytest.fixture(scope="module")
def page(everything, tmp_path_factory):
    file = tmp_path_factory.mktemp("page") / "study.html"
    file.write_text(render_page([Result(everything, "study.json")]))
    return file


@pytest.fixture(scope="module")
def report_page(report_results, tmp_path_factory):
    file = tmp_path_factory.mktemp("page") / "report.html"
    html = render_page(report_results, title="Report", missing=["one/run is not evaluated"])
    file.write_text(html)
    return file


def column(browser, number):
    return browser.value(COLUMN.replace("COLUMN", str(number)))


@pytest.mark.parametrize("width", [400, 1300])
@pytest.mark.parametrize("name", ["page", "report_page"])
def test_loads_without_a_complaint_and_from_its_file_alone(browser, name, width, request):
    file = request.getfixturevalue(name)
    browser.open(file, width=width)
    assert browser.complaints == []
    assert browser.requests == [file.resolve().as_uri()]
    assert browser.value("document.documentElement.scrollWidth") <= width


def test_a_click_sorts_by_numbers_and_the_third_restores(browser, page):
    browser.open(page)
    head = HEAD.replace("COLUMN", "1")
    before = column(browser, 1)
    assert before == ["−2.0 ± 0.1", "10.5 ± 0.1", "", "9.0 ± 0.1"]
    seen = []
    for _ in range(3):
        browser.click(f"{head}.querySelector('button')")
        seen.append((browser.value(f"{head}.getAttribute('aria-sort')"), column(browser, 1)))
    assert seen == [
        ("ascending", ["−2.0 ± 0.1", "9.0 ± 0.1", "10.5 ± 0.1", ""]),
        ("descending", ["10.5 ± 0.1", "9.0 ± 0.1", "−2.0 ± 0.1", ""]),
        ("none", before),
    ]


def test_the_keyboard_sorts_words_and_ties_keep_their_order(browser, page):
    browser.open(page)
    browser.value(HEAD.replace("COLUMN", "2") + ".querySelector('button').focus()")
    browser.press("Enter", "\r")
    assert column(browser, 2) == ["a", "a", "a", "b"]
    assert column(browser, 0) == ["α = 0.25", "α = 0.5", "α = 2", "α = 1"]
    browser.value(HEAD.replace("COLUMN", "0") + ".querySelector('button').focus()")
    browser.press("Enter", "\r")
    assert column(browser, 0) == ["α = 0.25", "α = 0.5", "α = 1", "α = 2"]
    assert browser.value(HEAD.replace("COLUMN", "2") + ".getAttribute('aria-sort')") == "none"


def test_grouped_tables_sort_within_their_groups(browser, report_page):
    browser.open(report_page)
    table = "document.querySelector('[aria-labelledby$=\"table-means\"]')"
    groups = f"[...{table}.tBodies].map((b) => [...b.rows].map((r) => r.cells[0].textContent))"
    before = browser.value(groups)
    browser.click(f"{table}.querySelector('th button')")
    browser.click(f"{table}.querySelector('th button')")
    after = browser.value(groups)
    assert before != after
    assert [group[0] for group in after] == [group[0] for group in before]
    assert [sorted(group) for group in after] == [sorted(group) for group in before]


def test_the_slider_shows_one_frame_and_tells_which(browser, page):
    browser.open(page)
    assert browser.value(SHOWN) == [1]
    browser.value("document.querySelector('.sequence input').focus()")
    browser.press("ArrowRight")
    assert browser.value(SHOWN) == [2]
    for name in ("output').textContent", "input').getAttribute('aria-valuetext')"):
        assert browser.value(f"document.querySelector('.sequence {name}") == "α = 1"
    browser.press("Home")
    assert browser.value(SHOWN) == [0]


def test_claims_are_filtered_by_words_and_verdict(browser, report_page):
    browser.open(report_page)
    left = "[...document.querySelectorAll('#claims tbody tr')].filter((r) => !r.hidden).length"
    status = "document.querySelector('#claims .status').textContent"
    every = browser.value(left)
    assert browser.value(status) == ""
    browser.value("document.querySelector('#claims input').focus()")
    browser.write("claim two")
    assert browser.value(left) == 2
    assert browser.value(status) == f"2 of {every} claims shown"
    choose = """(() => { const s = document.querySelector('#claims select[data-column=result]');
        s.value = 'Again'; s.dispatchEvent(new Event('input', {bubbles: true})); })()"""
    browser.value(choose)
    assert browser.value(left) == 1
    link = "[...document.querySelectorAll('#claims tbody tr')].find((r) => !r.hidden)"
    target = browser.value(f"{link}.querySelector('a').hash.slice(1)")
    assert browser.value(
        f"document.getElementById('{target}').querySelector('h2').textContent"
    ) == ("Again")


def test_prints_every_frame_and_no_controls(browser, page):
    browser.open(page)
    browser.media(medium="print")
    assert browser.value(SHOWN) == [0, 1, 2, 3]
    assert browser.value(CONTROLS) == ["none"] * 3
    printed = base64.b64decode(browser.send("Page.printToPDF")["data"])
    assert printed.startswith(b"%PDF-")
    assert len(printed) > 10_000


def test_prints_folded_settings_too(browser, report_page):
    browser.open(report_page)
    seen = """[...document.querySelectorAll('details')]
        .map((d) => d.querySelector('tbody').checkVisibility())"""
    assert browser.value(seen) == [False] * 3
    browser.media(medium="print")
    assert browser.value(seen) == [True] * 3


def test_without_script_everything_is_there(browser, page):
    browser.open(page, script=False)
    assert browser.value(SHOWN) == [0, 1, 2, 3]
    assert browser.value("document.querySelectorAll('th button').length") == 0
    assert browser.value(CONTROLS) == ["block", "none", "none"]  # links work without script
    values = "[...document.querySelectorAll('.frame .value')].map((e) => e.innerText)"
    assert browser.value(values) == ["α = 0.25", "α = 0.5", "α = 1", "α = 2"]


def test_names_and_roles_for_screen_readers(browser, page):
    browser.open(page)
    nodes = browser.send("Accessibility.getFullAXTree")["nodes"]
    known = [n for n in nodes if not n["ignored"]]
    names = {}
    for node in known:
        names.setdefault(node["role"]["value"], []).append(
            node.get("name", {}).get("value", "").strip()
        )
    assert names["slider"] == ["α"]
    assert {"Words", "Verdict"} <= {*names["searchbox"], *names["combobox"]}
    assert {"NLL", "first column", "Verdict"} <= set(names["button"])
    assert all(name for name in names["button"] + names["columnheader"] + names["table"])
    assert sorted(n for n in names["image"] if n) == ["Slope 0.5. Rises.", "Slope 1.0. Rises."]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_from_the_ground(browser, page, scheme):
    browser.open(page)
    browser.media(prefers_color_scheme=scheme)
    colours = browser.value("""(() => {
        const style = getComputedStyle(document.documentElement);
        const names = ['paper', 'band', 'text', 'soft', 'good', 'bad'];
        return Object.fromEntries(names.map((n) => [n, style.getPropertyValue('--' + n).trim()]));
    })()""")
    ground = luminance(colours["paper"])
    assert (ground < 0.1) == (scheme == "dark")
    for words in ("text", "soft", "good", "bad"):
        assert contrast(luminance(colours[words]), ground) >= 4.5, (words, colours)
    assert contrast(luminance(colours["soft"]), luminance(colours["band"])) >= 4.5


def luminance(colour):
    """Relative luminance of #rrggbb by WCAG 2."""
    parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(weight * p for weight, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one, two):
    return (max(one, two) + 0.05) / (min(one, two) + 0.05)


def test_a_foreign_picture_never_reaches_a_page(browser, everything, tmp_path):
    """Results come from others, too; their pictures are SVG, which can hold more than drawings."""
    write_document(everything, tmp_path, name="all")
    figure = tmp_path / "figures" / "alone.svg"
    for evil in (
        "<svg onload='hacked = 1'/>",
        "<svg><script>hacked = 1</script></svg>",
        "<svg style='position: fixed; inset: 0'/>",
        "<svg><meta http-equiv='refresh' content='0; url=about:blank'/></svg>",
    ):
        figure.write_text(evil)
        with pytest.raises(CheckpointError, match=r"alone\.svg cannot be shown"):
            read_document(tmp_path / "all.json")
    figure.write_text("<svg><!--><script>hacked = 1</script><meta http-equiv='refresh'> --></svg>")
    html = render_page([Result(read_document(tmp_path / "all.json"))])
    (tmp_path / "page.html").write_text(html)
    browser.open(tmp_path / "page.html")
    assert browser.value("typeof hacked") == "undefined"
    assert browser.complaints == []
    assert browser.value(SHOWN) == [1]
