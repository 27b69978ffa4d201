"""The documentation is complete: public names, equations, settings and files are all in it."""

import ast
import csv
import importlib
import importlib.util
import pkgutil
import re
from importlib import resources
from pathlib import Path

import pytest

import mixreg
import mixreg.cli
from mixreg.data import DATASETS
from mixreg.data.corruptions import CORRUPTIONS
from mixreg.evaluation import CORRECTIONS, METRICS, mean_interval
from mixreg.experiments.reproduce import REPRODUCIBLE
from mixreg.models import MODELS
from mixreg.report import paired, read_document
from mixreg.training import METHODS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
REFERENCE = "".join(path.read_text() for path in sorted(DOCS.glob("reference/*.md")))
DOCUMENTED = set(re.findall(r"^::: mixreg\.([\w.]+)$", REFERENCE, re.MULTILINE))
EQUATIONS = (DOCS / "theory" / "index.md").read_text()

MODULES = [m.name for m in pkgutil.iter_modules(mixreg.__path__) if not m.name.startswith("_")]
COMMAND_LINE = "cli"


def _resolve(path):
    """The object that a dotted path names; modules are imported on the way."""
    found = mixreg
    for depth, name in enumerate(path.split(".")[1:], 2):
        module = ".".join(path.split(".")[:depth])
        is_module = hasattr(found, "__path__") and importlib.util.find_spec(module) is not None
        found = importlib.import_module(module) if is_module else getattr(found, name)
    return found


@pytest.mark.parametrize("module", sorted({*MODULES} - {COMMAND_LINE}))
def test_every_public_module_is_in_the_reference(module):
    assert module in DOCUMENTED


def test_names_that_a_module_of_the_same_name_hides_are_in_the_reference():
    """A package's page leaves them out: `mixreg.evaluation.metrics` is a module there."""
    for name in MODULES:
        package = importlib.import_module(f"mixreg.{name}")
        inside = {m.name for m in pkgutil.iter_modules(getattr(package, "__path__", []))}
        hidden = {f"{name}.{n}.{n}" for n in inside & {*getattr(package, "__all__", [])}}
        assert hidden <= DOCUMENTED


def test_every_public_name_is_in_the_list_of_names():
    index = (DOCS / "reference" / "index.md").read_text()
    assert sorted(re.findall(r"\[`(\w+)`\]", index)) == sorted(mixreg.__all__)


@pytest.mark.parametrize("page", sorted(DOCS.glob("**/*.md")), ids=lambda p: p.name)
def test_cross_references_name_what_exists(page):
    for path in re.findall(r"\]\[(mixreg[\w.]*)\]", page.read_text()):
        assert _resolve(path) is not None


def test_every_page_is_in_the_navigation():
    navigation = (ROOT / "mkdocs.yml").read_text()
    pages = {str(p.relative_to(DOCS)) for p in DOCS.glob("**/*.md")}
    assert {page for page in pages if f": {page}\n" not in navigation} == set()


def test_every_equation_and_result_has_a_row():
    first = " ".join(re.findall(r"^\| ([^|]*) \|", EQUATIONS, re.MULTILINE))
    assert {number for number in range(1, 26) if f"({number})" not in first} == set()
    results = ["Theorem 1", "Theorem 2", "Lemma 1", "Proposition 1", "Algorithm 1"]
    for result in [*results, "Corollary 1", "Corollary 2", "Corollary 3"]:
        assert result in first


def _rows():
    return re.findall(r"^\| .*? \| .*? \| (\[`.*?) \| (`.*?) \|$", EQUATIONS, re.MULTILINE)


def test_every_row_has_functions_and_tests_that_exist():
    assert len(_rows()) > 25
    for _, tests in _rows():
        for test in re.findall(r"`([^`]+)`", tests):
            path, _, name = test.partition("::")
            tree = ast.parse((ROOT / "tests" / path).read_text())
            assert name in {f.name for f in tree.body if isinstance(f, ast.FunctionDef)}, test


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("training.md", (*DATASETS, *MODELS, *METHODS)),
        ("evaluation.md", (*CORRECTIONS, *METRICS, *REPRODUCIBLE)),
        ("shift.md", CORRUPTIONS),
    ],
)
def test_settings_are_explained(page, words):
    text = (DOCS / page).read_text()
    assert [word for word in words if f"`{word}`" not in text] == []


def test_every_command_has_an_example():
    told = "".join(path.read_text() for path in DOCS.glob("**/*.md"))
    for command in mixreg.cli._COMMANDS:
        assert f"\nmixreg {command.name}" in told


def test_recipes_are_explained():
    folder = resources.files("mixreg.training") / "recipes"
    recipes = [file.name.removesuffix(".yaml") for file in folder.iterdir()]
    assert "cifar-lenet" in recipes
    text = (DOCS / "training.md").read_text()
    assert [recipe for recipe in recipes if f"| `{recipe}` |" not in text] == []


@pytest.mark.parametrize(
    "page", ["README.md", *(f"docs/{p.relative_to(DOCS)}" for p in DOCS.glob("**/*.md"))]
)
def test_links_to_files_lead_somewhere(page):
    """Also between README and the documentation, which the site's own check does not see."""
    for target in re.findall(r"\]\(([^)#\s]+)", (ROOT / page).read_text()):
        if not target.startswith("https://"):
            assert (ROOT / page).parent.joinpath(target).exists(), target


def _measured(records, method, correction):
    """A row of a table of results, as the pages write it."""
    at, raw = records.where(method=method, prediction=correction), records.where(method=method)
    cells = [method, correction]
    for metric, digits in (("accuracy", 2), ("nll", 4), ("ece", 2)):
        mean = at.mean(metric)
        cells.append(f"{mean.mean:.{digits}f} ± {mean.half_width:.{digits}f}")
    difference = paired(at.by_seed("nll"), raw.by_seed("nll", prediction="raw"))
    effect = mean_interval(list(difference.values()))
    cells.append("–" if correction == "raw" else f"{effect.mean:+.4f} ± {effect.half_width:.4f}")
    return f"| {' | '.join(cells)} |".replace("-0", "−0")


@pytest.mark.parametrize(
    ("page", "folder", "corrections"),
    [
        ("how-to-choose.md", "compare-cifar10-lenet", CORRECTIONS),
        ("theory/regularizers.md", "approximate-cifar10-lenet", ("raw", "rescaled")),
    ],
)
def test_measured_tables_are_the_stored_results(page, folder, corrections):
    records = read_document(ROOT / "results" / folder / "metrics.json").records
    methods = dict.fromkeys(record.method for record in records)
    shown = re.findall(r"^\| \w+ \| \S+ \| .* ± .* \|$", (DOCS / page).read_text(), re.MULTILINE)
    stored = [name for name in corrections if records.where(prediction=name)]
    assert shown == [_measured(records, m, name) for m in methods for name in stored]


def test_the_corrections_under_shift_are_the_stored_results():
    file = ROOT / "results/shift-cpu/fig6/fig6-severity-cifar10-lenet-alpha1.csv"
    metric, stored = "", set()
    for first, *cells in csv.reader(file.read_text().splitlines()[1:]):
        metric = metric if cells else first
        stored.add(f"| {metric} | {first.removesuffix(' − raw')} | {' | '.join(cells)} |")
    text = (DOCS / "how-to-choose.md").read_text()
    shown = re.findall(r"^\| (?:Accuracy|NLL|ECE) \((?:points|nats)\) .*$", text, re.MULTILINE)
    assert len(shown) == 10
    assert set(shown) <= stored


def test_the_rivals_are_the_stored_results():
    records = read_document(ROOT / "results/rivals-digits/metrics.json").records
    erm, expected = records.where(method="erm", prediction="raw"), list[str]()
    text = (DOCS / "how-to-choose.md").read_text()
    for name, own, passes in re.findall(
        r"^\| `([\w-]+)` \| `([\w-]+)` \| (\d) \|", text, re.MULTILINE
    ):
        at = records.where(method=name, prediction=own)
        cells = [f"`{name}`", f"`{own}`", passes]
        assert METHODS[name].passes == int(passes)
        for metric, digits in (("accuracy", 2), ("nll", 4), ("ece", 2)):
            mean = at.mean(metric)
            cells.append(f"{mean.mean:.{digits}f} ± {mean.half_width:.{digits}f}")
        effect = mean_interval(list(paired(at.by_seed("nll"), erm.by_seed("nll")).values()))
        cells.append(f"{effect.mean:+.4f} ± {effect.half_width:.4f}".replace("-", "−"))
        expected.append(f"| {' | '.join(cells if at != erm else [*cells[:-1], '–'])} |")
    assert len(expected) == 8
    assert [row for row in text.splitlines() if row.startswith("| `")] == expected


def test_effects_over_alpha_are_the_stored_results():
    rows: dict[tuple[str, str], list[str]] = {}
    for claim in read_document(ROOT / "results/paper-cpu/fig4/fig4.json").claims:
        if claim.statement.startswith("Rescaling improves") and "lenet" in claim.setting:
            data, _, alpha = claim.setting.partition(", lenet, α = ")
            digits = 3 if "NLL" in claim.measured else 2
            mean, half, _ = claim.effect
            cell = f"{mean:+.{digits}f} ± {half:.{digits}f}".replace("-", "−")
            rows.setdefault((data, alpha), []).append(cell)
    names = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "fashion-mnist": "Fashion-MNIST"}
    expected = [f"| {names[d]} | {a} | {' | '.join(cells)} |" for (d, a), cells in rows.items()]
    text = (DOCS / "how-to-choose.md").read_text()
    shown = re.findall(r"^\| [A-Z][\w-]+ \| [\d.]+ \| .* ± .* \|$", text, re.MULTILINE)
    assert len(expected) == 12
    assert shown == expected
