"""Every example that a reader may copy: code of README and documentation, commands, scripts."""

import contextlib
import dataclasses
import re
import runpy
import shlex
from pathlib import Path

import pytest
import torch

import mixreg.cli

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", *sorted(str(p.relative_to(ROOT)) for p in ROOT.glob("docs/**/*.md"))]
EXAMPLES = sorted(p.name for p in ROOT.glob("examples/*.py"))

LANGUAGES = {"python", "output", "bash", "bibtex"}


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and the line of the page its text begins at."""

    language: str
    text: str
    line: int


def _blocks(page):
    source = (ROOT / page).read_text()
    found = re.finditer(r"^```([\w-]*)[^\n]*\n(.*?)^```$", source, re.DOTALL | re.MULTILINE)
    return [Block(m[1], m[2], source.count("\n", 0, m.start(2))) for m in found]


def _python(page):
    """The code of a page at the lines it has there."""
    lines = []
    for block in _blocks(page):
        if block.language == "python":
            lines += [""] * (block.line - len(lines)) + block.text.splitlines()
    return "\n".join(lines)


def _commands(page):
    shell = "".join(block.text for block in _blocks(page) if block.language == "bash")
    lines = re.split(r"\n|&&", shell.replace("\\\n", " "))
    inline = re.findall(r"`(mixreg \w+ [^`\n]+)`", (ROOT / page).read_text())
    return inline + [line.split(" #")[0].strip() for line in lines if line.strip()]


def _your_own():
    """What README leaves to the reader: `net`, `loader` and `optimizer`."""
    net = torch.nn.Linear(4, 10)
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(20, 4, generator=generator), torch.arange(20) % 10
    return {
        "net": net,
        "loader": list(zip(x.split(8), y.split(8), strict=True)),
        "optimizer": torch.optim.SGD(net.parameters(), lr=0.1),
    }


@pytest.mark.parametrize("page", [page for page in PAGES if _python(page)])
def test_code_of_a_page_runs_and_prints_what_the_page_shows(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    script = tmp_path / f"{Path(page).stem}.py"
    script.write_text(_python(page))
    given = _your_own() if page == "README.md" else {}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        runpy.run_path(str(script), init_globals=given, run_name="__main__")
    shown = "".join(block.text for block in _blocks(page) if block.language == "output")
    assert capsys.readouterr().out == shown


@pytest.mark.parametrize("page", PAGES)
def test_no_code_hides_in_a_block_that_is_not_run(page):
    fences = re.findall(r"^ *(?:```|~~~).*$", (ROOT / page).read_text(), re.MULTILINE)
    assert len(fences) == 2 * len(_blocks(page))
    included = re.compile(r'--8<-- "examples/(\w+\.py)"\n')
    for block in _blocks(page):
        script = included.fullmatch(block.text)
        known = script[1] in EXAMPLES if script else block.language in LANGUAGES
        assert known, f"{page}, line {block.line}"


@pytest.mark.parametrize("command", sorted({c for page in PAGES for c in _commands(page)}))
def test_commands_are_understood(command, monkeypatch, capsys):
    """Options and their values are checked by the command line itself; nothing is run."""
    program, *arguments = shlex.split(command)
    if program != "mixreg":
        assert program in {"pip", "pytest", "mkdocs", "python", "pre-commit", "ruff", "mypy"}
        assert program != "python" or (ROOT / arguments[0]).is_file()
        return
    understood = []
    monkeypatch.setattr(mixreg.cli, "_call", lambda *called: understood.append(called))
    if {"--help", "--print-config"} & {*arguments}:
        with contextlib.suppress(SystemExit):
            mixreg.cli.main(arguments)
        assert "epochs" in capsys.readouterr().out
    else:
        mixreg.cli.main(arguments)
        assert len(understood) == 1


@pytest.mark.parametrize("example", EXAMPLES)
def test_scripts_run_and_their_assertions_hold(example, tmp_path, monkeypatch, start):
    monkeypatch.chdir(tmp_path)
    done = start(ROOT / "examples" / example, strict=True)
    assert done.status() == 0, done.shown()
    assert "assert" in (ROOT / "examples" / example).read_text()
    assert not list(tmp_path.iterdir())


def test_a_plain_loop_changes_in_fewer_than_ten_lines():
    lines = _python("README.md").splitlines()
    assert 5 < len([line for line in lines if re.search("mixreg|mixup|batch", line)]) < 10


def test_scripts_are_named_in_the_documentation():
    told = "".join((ROOT / page).read_text() for page in PAGES)
    assert len(EXAMPLES) >= 4
    assert [name for name in EXAMPLES if f"examples/{name}" not in told] == []
