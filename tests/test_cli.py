"""The command line as a user meets it, the mistakes included."""

import json
import os
import resource
import subprocess
import sys

import pytest

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


def test_a_finished_run_is_not_trained_again(run):
    before = (run / "model.safetensors").stat().st_mtime_ns
    main(["train", *SMALL, "--method", "mixup", "--output", str(run)])
    assert (run / "model.safetensors").stat().st_mtime_ns == before


def test_another_configuration_in_the_same_directory(run, capsys):
    shown = _error(capsys, "train", *SMALL, "--method", "erm", "--output", str(run))
    assert "other settings (method: 'mixup' there, 'erm' here)" in shown


def test_evaluate_reports_every_correction(run, capsys):
    main(["evaluate", str(run)])
    shown = capsys.readouterr().out
    for correction in ("raw", "rescaled", "shrink-only", "scale-only", "temperature"):
        assert correction in shown
    assert (run / "evaluation" / "report.html").is_file()
    assert (run / "logits-test.safetensors").is_file()


def test_diagnose_reports_every_term(run, capsys):
    main(["diagnose", str(run), "--samples", "20", "--draws", "200", "--progress", "false"])
    shown = capsys.readouterr().out
    for term in ("R1", "R2", "R3", "R4"):
        assert term in shown
    assert list((run / "diagnosis").glob("*.json"))


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
        (["train", "--data", "cifar"], "did you mean 'cifar10'"),
        (["train", "--model", "lenett"], "did you mean 'lenet'"),
        (["train", "--learning_rat", "1"], "unrecognized arguments"),
        (["train", "--data", "cifar10", "--data-root", "/nonexistent"], "/nonexistent"),
        (["compare", "--seeds", "0"], "seeds must be at least 1"),
        (["compare", "--methods", "erm,erm"], "methods must be named once each"),
        (["reproduce", "fig88"], "did you mean 'fig8'"),
        (["reproduce", "fig4", "--scale", "huge"], "unknown scale 'huge'"),
        (["reproduce", "fig4", "--data-root", "/nonexistent"], "/nonexistent"),
        (["report", "/nonexistent"], "there is nothing at /nonexistent"),
        (["fly"], "fly"),
        ([], "was not provided"),
        (["train", "--model", "lenet"], "lenet needs images"),
        (["train", "--model", "torchvision/nosuch"], "unknown torchvision model 'nosuch'"),
        (["train", "--model", "torchvision/resnet18"], "takes no inputs of shape (1, 8, 8)"),
        (["train", "--precision", "17"], "Precision '17' is invalid"),
        (["train", "--accelerator", "tpux"], "invalid accelerator name"),
        (["train", "--config", sys.executable], "the file of --config holds no text"),
    ],
)
def test_mistakes_end_in_one_clear_error(words, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shown = _error(capsys, *words)
    assert message in shown
    assert "Traceback" not in shown
    assert not (tmp_path / "mixreg-runs").exists()


def test_an_unknown_key_in_a_config_file(tmp_path, capsys):
    (tmp_path / "config.yaml").write_text("epoch: 3\n")
    assert "epoch" in _error(capsys, "train", "--config", str(tmp_path / "config.yaml"))


def test_print_config_shows_a_recipe_with_overrides(capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["train", "--config", "cifar-lenet", "--epochs", "30", "--print_config"])
    assert exit_.value.code == 0
    shown = capsys.readouterr().out
    assert "model: lenet" in shown
    assert "epochs: 30" in shown
    assert "learning_rate: 0.01" in shown


def test_the_full_disk_is_named_and_nothing_half_written_stays(tmp_path):
    """The kernel's limit on the size of files stands for a disk without room."""
    words = ["train", *SMALL, "--model", "mlp", "--output", str(tmp_path / "run")]
    done = subprocess.run(
        [sys.executable, "-m", "mixreg", *words],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 2, done.stderr
    assert "no room to write" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "run").rglob("*.part"))
    assert not (tmp_path / "run" / "result.json").exists()
    assert json.loads((tmp_path / "run" / "config.json").read_text())
