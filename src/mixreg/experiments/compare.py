"""The main job: methods × seeds on one data set, with every correction and its interval."""

from pathlib import Path

from mixreg._stored import readable
from mixreg.evaluation import CORRECTIONS
from mixreg.experiments._plan import plan
from mixreg.experiments._sweep import complete_seeds, sweep
from mixreg.experiments.evaluate import evaluate_trained, run_result
from mixreg.report import RunResult, check_replaceable, comparison, write_document
from mixreg.settings import CompareConfig
from mixreg.training import RunDirectory, TrainConfig, load_run


def compare(config: CompareConfig) -> tuple[str, Path]:
    """Train and evaluate every method with every seed; the table and the report's page."""
    check_replaceable(config.output, name="metrics", page="report")
    runs = config.runs()
    complete, left_out = complete_seeds(runs, sweep(runs, _evaluate, settings=config))
    results = [_result(run) for run in complete]
    share = config.training_fraction
    of_data = config.data if share == 1 else f"{share:g} of {config.data}"
    title = f"{of_data}, {config.model}, {config.law_text}"
    baseline = config.methods[0]
    document = comparison(results, title=title, baseline=baseline, missing=left_out)
    page = write_document(document, config.output, name="metrics", page="report")
    return document.text(), page


def plan_comparison(config: CompareConfig) -> str:
    """The runs of a comparison with their states and estimated costs; nothing is written."""
    return plan(config.runs(), config)


def _result(config: TrainConfig) -> RunResult:
    run = RunDirectory(config.directory)
    return run_result(config, run, run.read_evaluation())


def _evaluate(run: RunDirectory, config: TrainConfig) -> None:
    """Evaluate a run, unless that was done with every correction and can be read."""
    evaluation = readable(run.read_evaluation)
    if not evaluation or {*evaluation.results, *evaluation.absent} != {*CORRECTIONS}:
        evaluate_trained(load_run(run.path, {"data_root": config.data_root}), run.path)
