"""The command line as a user meets it, the mistakes included."""

import json
import os
import pathlib
import subprocess
import sys

import pytest
import yaml

from mixreg.cli import main

SMALL = ["--data", "digits", "--epochs", "1", "--batch-size", "256", "--progress", "false"]


def _error(capsys, *words):
    with pytest.raises(SystemExit) as exit_:
        main(words)
    assert exit_.value.code == 2
    return capsys.readouterr().err


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    output = tmp_path_factory.mktemp("cli") / "run"
    main(["train", *SMALL, "--method", "mixup", "--output", str(output)])
    return output


def test_train_says_what_to_do_next(tmp_path, capsys):
    main(["train", *SMALL, "--method=erm", f"--output={tmp_path / 'run'}"])
    shown = capsys.readouterr().out
    assert "finished" in shown
    assert f"mixreg evaluate {tmp_path / 'run'}" in shown


def test_evaluate_takes_bare_weights(run, tmp_path, capsys):
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes((run / "model.safetensors").read_bytes())
    assert "--data, --model, --alpha" in _error(capsys, "evaluate", str(weights))
    main(["evaluate", str(weights), "--data", "digits", "--model", "mlp", "--alpha", "1"])
    assert "rescaled" in capsys.readouterr().out


def test_evaluate_refuses_what_is_no_checkpoint(tmp_path, capsys):
    assert "no run directory" in _error(capsys, "evaluate", str(tmp_path / "nothing"))
    (tmp_path / "broken.safetensors").write_bytes(b"not safetensors")
    words = ["--data", "digits", "--model", "mlp", "--alpha", "1"]
    shown = _error(capsys, "evaluate", str(tmp_path / "broken.safetensors"), *words)
    assert "not a readable file of weights" in shown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "--alpha", "0"], "alpha must be a positive finite number"),
        (["train", "--alpha", "much"], "alpha"),
        (["train", "--method", "mixupp"], "did you mean 'mixup'"),
        (["train", "--learning_rat", "1"], "did you mean '--learning-rate'"),
        (["train", "--data", "cifar10", "--data-root", "/nonexistent"], "/nonexistent"),
        (["compare", "--seeds", "0"], "seeds must be at least 1"),
        (["reproduce", "fig88"], "did you mean 'fig8'"),
        (["reproduce", "fig4", "--data-root", "/nonexistent"], "/nonexistent"),
        (["report", "/nonexistent"], "there is nothing at /nonexistent"),
        (["fly"], "fly"),
        (["evaluate"], "required: checkpoint"),
        (["train", "--model", "lenet"], "lenet needs images"),
        (["train", "--model", "torchvision/nosuch"], "unknown torchvision model 'nosuch'"),
        (["train", "--model", "torchvision/resnet18"], "takes no inputs of shape (1, 8, 8)"),
        (["train", "--precision", "17"], "Precision '17' is invalid"),
        (["train", "--accelerator", "tpux"], "invalid accelerator name"),
        (["train", "--config", sys.executable], "is no file of settings"),
    ],
)
def test_mistakes_end_in_one_clear_error(words, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shown = _error(capsys, *words)
    assert message in shown
    assert "Traceback" not in shown
    assert not (tmp_path / "mixreg-runs").exists()


STRICT = [
    ("--epochs", "1:01", "an integer"),
    ("--epochs", "1_0", "an integer"),
    ("--epochs", "1e30", "an integer"),
    ("--epochs", "9" * 5000, "an integer"),
    ("--alpha", "0x10", "a number"),
    ("--alpha", "1,0", "a number"),
    ("--augment", "yes", "true or false"),
    ("--per", "row", "'sample' or 'batch'"),
    ("--milestones", "3,x", "a list whose entries are an integer"),
    ("--output", "a\0b", "a path"),
    ("--output", "", "a path"),
]


@pytest.mark.parametrize(("option", "word", "kind"), STRICT, ids=lambda v: v[:12])
def test_words_are_values_of_their_option_or_refused(option, word, kind, capsys):
    shown = _error(capsys, "train", f"{option}={word}")
    assert shown.startswith(f"mixreg: error: {option} must be {kind}")
    assert shown.count("\n") == 1
    assert len(shown) < 200


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (["--learning-rate", ".5"], "learning_rate", 0.5),
        (["--learning_rate=1e-3"], "learning_rate", 0.001),
        (["--milestones", "3,5"], "milestones", [3, 5]),
        (["--milestones=[3, 5]"], "milestones", [3, 5]),
        (["--nesterov", "--momentum", "0.5"], "nesterov", True),
        (["--augment", "false"], "augment", False),
        (["--output", "null"], "output", "null"),
    ],
)
def test_options_are_written_with_dashes_or_underscores(words, name, value, capsys):
    main(["train", *words, "--print-config"])
    assert yaml.safe_load(capsys.readouterr().out)[name] == value


COMMANDS = ["train", "evaluate", "compare", "tune", "reproduce", "diagnose", "export", "report"]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_grouped_and_fits_on_two_screens(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as exit_:
        main([command, "--help"])
    shown = capsys.readouterr().out
    assert not exit_.value.code
    assert shown.count("\n") <= 86
    assert shown.index("\noutput:") < shown.index("\nrarely needed:")
    assert "_" not in "".join(line.split()[0] for line in shown.splitlines() if "  --" in line)


def test_the_overview_names_every_command(capsys):
    main(["--help"])
    shown = capsys.readouterr().out
    assert all(f"\n  {command} " in shown for command in COMMANDS)


def _mixreg(*words, **options):
    options = {"capture_output": True, "check": False, "timeout": 120, **options}
    return subprocess.run([sys.executable, "-m", "mixreg", *words], **options)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_any_terminal_can_show_the_help(encoding):
    done = _mixreg("train", "--help", env=os.environ | {"PYTHONIOENCODING": encoding})
    assert done.returncode == 0, done.stderr
    alpha = "α" if encoding == "utf-8" else "alpha"
    assert f"shape {alpha} of the law" in done.stdout.decode(encoding)


def test_a_full_output_is_one_line():
    with pathlib.Path("/dev/full").open("w") as full:
        done = _mixreg("--help", capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 2
    assert done.stderr.decode() == (
        "mixreg: error: No space left on device; free some space and run the same command again\n"
    )


def test_a_closed_output_is_no_error():
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as closed:
        done = _mixreg("--help", capture_output=False, stdout=closed, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (141, b"")


def test_print_config_shows_a_recipe_with_overrides(capsys):
    main(["train", "--config", "cifar-lenet", "--epochs", "30", "--print_config"])
    shown = capsys.readouterr().out
    assert "model: lenet" in shown
    assert "epochs: 30" in shown
    assert "learning_rate: 0.01" in shown


def test_the_full_disk_is_named_and_nothing_half_written_stays(tmp_path, start):
    """The kernel's limit on the size of files stands for a disk without room."""
    run = tmp_path / "run"
    done = start("mixreg", "train", *SMALL, "--output", run, file_size=20_000)
    assert done.status() == 2, done.shown()
    assert "no room to write" in done.shown()
    assert "Traceback" not in done.shown()
    assert not list(run.rglob("*.part"))
    assert not (run / "result.json").exists()
    assert json.loads((run / "config.json").read_text())
