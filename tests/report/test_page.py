"""The written report: well-formed, complete, self-contained, harmless, and always the same."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from xml.parsers import expat

import pytest

from mixreg.evaluation import CORRECTIONS
from mixreg.report import RunResult, summarize, write_report
from mixreg.report.pictures import reliability_pictures
from mixreg.report.style import DARK

VOID = {"meta", "br", "img", "link", "input", "hr"}


class Page(HTMLParser):
    """Elements with their attributes and the text around them; fails on unbalanced tags."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.words = [], [], []
        self.feed(text)
        self.close()
        assert self.open == [], f"unclosed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def attributes(self, name):
        return [attributes[name] for _, attributes in self.elements if name in attributes]


def elements(path):
    """Names of the elements of an XML file; fails if it is not well-formed."""
    names = []
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler = lambda name, _: names.append(name)
    parser.Parse(path.read_bytes(), True)
    return names


@pytest.fixture(scope="module")
def written(two_methods, tmp_path_factory):
    out = tmp_path_factory.mktemp("report") / "new" / "out"
    return write_report(two_methods, out, title="Digits, MLP", baseline="erm")


def read(paths):
    return Page(paths.page.read_text(encoding="utf-8"))


def test_files_lie_where_the_paths_say(written):
    out = written.page.parent
    assert {path.name for path in out.iterdir()} == {
        "report.html",
        "metrics.json",
        "table.csv",
        "figures",
    }
    assert (written.metrics, written.table) == (out / "metrics.json", out / "table.csv")
    names = {path.name for path in written.figures}
    assert names == {path.name for path in (out / "figures").iterdir()}
    assert names == {
        "effects-baseline.svg",
        "effects-erm.svg",
        "effects-mixup-alpha-1.svg",
        "reliability-erm.svg",
        "reliability-mixup-alpha-1.svg",
        "confidence-histograms.svg",
        "entropy-histograms.svg",
        "training-curves.svg",
    }


def test_the_page_holds_methods_corrections_verdict_and_settings(written, two_methods):
    page = read(written)
    for expected in ("Digits, MLP", "erm", "mixup (α = 1)", *CORRECTIONS):
        assert expected in page.text
    for expected in ("What the numbers show", "rescaled prediction (equation 22) against the raw"):
        assert expected in page.text
    for expected in ("optimizer.momentum", "packages.torch", "300 test examples, 5 classes"):
        assert expected in page.text
    svgs = [attributes for tag, attributes in page.elements if tag == "svg"]
    assert len(svgs) == len(written.figures)
    assert all(a["role"] == "img" and len(a["aria-label"]) > 40 for a in svgs)


def test_the_page_loads_nothing_and_runs_its_own_script_alone(written):
    page, text = read(written), written.page.read_text(encoding="utf-8")
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}';" in text
    assert not any(name.startswith("on") for _, a in page.elements for name in a)
    assert "http:" not in text.replace("http-equiv", "")
    assert "https:" not in text
    assert not {"link", "img", "iframe", "image"} & {tag for tag, _ in page.elements}
    assert "default-src 'none'" in text
    assert not re.search(r"url\((?!#)", text)


def test_ids_are_unique_and_references_have_targets(written):
    page, text = read(written), written.page.read_text(encoding="utf-8")
    ids = page.attributes("id")
    assert len(ids) == len(set(ids))
    references = page.attributes("href") + page.attributes("xlink:href")
    targets = [reference[1:] for reference in references if reference.startswith("#")]
    assert {r for r in references if not r.startswith("#")} <= {"metrics.json"}
    targets += re.findall(r"url\(#([^)]*)\)", text) + page.attributes("aria-labelledby")
    assert len(targets) > 20
    assert set(targets) <= set(ids)


def test_pictures_on_the_page_follow_its_theme(written):
    text = written.page.read_text(encoding="utf-8")
    body = text[text.index("</style>") :]
    assert not any(colour in body for colour in DARK)
    used = set(re.findall(r"var\((--ink-\w+)\)", body))
    assert len(used) >= 5
    assert all(text.count(f"{name}:") == 2 for name in used)


def test_figures_are_xml_that_stands_alone(written):
    for path in written.figures:
        assert elements(path)[0] == "http://www.w3.org/2000/svg svg"


def test_numbers_can_be_read_back(written, two_methods):
    numbers = json.loads(written.metrics.read_text())
    runs = sorted(two_methods, key=lambda run: (run.method, run.seed))
    assert [RunResult.from_dict(values) for values in numbers["runs"]] == runs
    assert numbers["comparison"] == summarize(two_methods, "erm").to_dict()
    assert numbers["verdict"]["recommendations"][0]["group"] == ["mixup", 1.0]
    assert written.table.read_text().startswith("method,alpha,correction,metric,n,mean")


def test_the_same_runs_give_the_same_bytes_over_whatever_was_there(written, two_methods, tmp_path):
    (tmp_path / "report.html").write_text("an older report")
    again = write_report(two_methods[::-1], tmp_path, title="Digits, MLP", baseline="erm")
    assert again.page.read_bytes() == written.page.read_bytes()
    assert again.table.read_bytes() == written.table.read_bytes()
    for one, two in zip(written.figures, again.figures, strict=True):
        assert one.read_bytes() == two.read_bytes()
    assert not list(tmp_path.rglob("*.part"))


def test_words_of_the_user_are_escaped_everywhere(sample_run, tmp_path):
    evil = '"><script>alert(1)</script>$x$&'
    about = {"config": {evil: evil}, "environment": {evil: evil}}
    runs = [
        sample_run(method, seed, None, **about)
        for method in ("erm", f"../{evil}")
        for seed in (0, 1)
    ]
    paths = write_report(runs, tmp_path / "out", title=evil, baseline="erm")
    page = read(paths)
    assert [tag for tag, _ in page.elements].count("script") == 1
    assert page.text.count(evil) > 10
    assert paths.page.read_text(encoding="utf-8").count("<script") == 1
    assert {path.parent for path in paths.figures} == {tmp_path / "out" / "figures"}
    for path in paths.figures:
        assert not any("script" in name for name in elements(path))


def test_methods_whose_names_look_alike_keep_their_pictures(make_run):
    runs = [make_run(method, 0, raw={}) for method in ("a b", "a/b", "A-B")]
    groups = {run.group: [run] for run in runs}
    pictures = reliability_pictures(summarize(runs, "a b"), groups)
    assert len({picture.name for picture in pictures.values()}) == 3


@pytest.mark.parametrize("seeds", [1, 2])
def test_without_validation_history_or_rivals(sample_run, tmp_path, seeds):
    runs = [sample_run("mixup", s, 0.3, validation=False, history=False) for s in range(seeds)]
    paths = write_report(runs, tmp_path, title="One method", baseline="mixup")
    page = read(paths)
    assert "Training" not in page.text
    assert "absent in" in page.text
    assert "needs held-out examples to fit its temperature" in page.text
    assert (seeds == 1) == ("One seed cannot decide" in page.text)


def test_refuses_an_unknown_baseline(two_methods, tmp_path):
    with pytest.raises(ValueError, match="'dropout' has no runs"):
        write_report(two_methods, tmp_path, title="t", baseline="dropout")
    assert not list(tmp_path.iterdir())
