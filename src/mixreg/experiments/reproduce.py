"""`mixreg reproduce`: a figure or table of the paper by its name, at a stated scale."""

from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from mixreg._errors import ConfigurationError, unknown_name
from mixreg.experiments import two_moons
from mixreg.experiments._sweep import SweepSettings
from mixreg.experiments.least_squares import LeastSquaresSettings, least_squares
from mixreg.experiments.ledger import claims
from mixreg.experiments.table1 import Table1Config, plan_table1, table1

SCALES = ("paper", "cpu", "smoke")

IMAGE_FIGURES = ("fig2", "fig3", "fig4", "fig7", "ablation")
_TWO_MOONS = ("fig1", "fig8", "fig9")
REPRODUCIBLE = (*_TWO_MOONS, *IMAGE_FIGURES, "table1", "corollary3", "claims")

_RESULTS = Path("mixreg-runs") / "reproduce"
_LEAST_SQUARES = {
    "paper": LeastSquaresSettings(),
    "cpu": LeastSquaresSettings(),
    "smoke": LeastSquaresSettings(samples=20, repetitions=2),
}
_TABLE1: dict[str, dict[str, Any]] = {
    "paper": {
        "data": "cifar10",
        "model": "lenet",
        "augment": False,
        "epochs": 200,
        "batch_size": 128,
        "learning_rate": 0.01,
        "milestones": [100],
    },
    "cpu": {},
    "smoke": {"epochs": 2, "seeds": 2, "noise_levels": [0.0, 0.4], "jacobian_samples": 50},
}


@dataclass(frozen=True, kw_only=True)
class ReproduceOptions(SweepSettings):
    """Which part of the paper, and how large.

    Args:
        name: fig1, fig8 or fig9 (one experiment on two moons makes all three); fig2, fig3, fig4,
            fig7 or ablation (which share their trainings); table1; corollary3; or claims, the
            ledger of what all results in `output` say of the paper's sentences.
        scale: "paper" for its settings, "cpu" for minutes to hours on two cores, "smoke" for
            seconds. For two moons the paper's own scale takes no longer; for Table 1, which in the
            paper is a summary without an experiment, "paper" is LeNet on CIFAR-10 and "cpu" digits.
            By default "cpu"; claims have none.
        seeds: number of repetitions; by default that of the scale.
        data_root: folder of the data sets; by default $MIXREG_DATA, else ./data.
        output: directory of the results; by default one named after the experiment and the scale
            under ./mixreg-runs/reproduce.
        dry_run: only list the runs with their state and estimated cost.

    Raises:
        ConfigurationError: nothing has that name, or a setting makes no sense for it.
    """

    name: str
    scale: str | None = None
    seeds: int | None = None
    data_root: Path | None = None
    output: Path | None = None
    dry_run: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.name not in REPRODUCIBLE:
            raise ConfigurationError(str(unknown_name("figure or table", self.name, REPRODUCIBLE)))
        if self.scale is not None and self.scale not in SCALES:
            raise ConfigurationError(str(unknown_name("scale", self.scale, SCALES)))
        if self.seeds is not None and self.seeds < 1:
            raise ConfigurationError(f"seeds must be at least 1, got {self.seeds}")
        if self.name == "claims" and (self.scale, self.seeds) != (None, None):
            raise ConfigurationError(
                "claims are read from all results below --output, whatever their scale and seeds; "
                "leave out --scale and --seeds"
            )

    @property
    def size(self) -> str:
        """The scale, "cpu" if none is given."""
        return self.scale or "cpu"

    @property
    def directory(self) -> Path:
        """Where the results go."""
        if self.name == "claims":
            return self.output or _RESULTS
        experiment = self.name
        if self.name in _TWO_MOONS:
            experiment = "two-moons"
        elif self.name in IMAGE_FIGURES:
            experiment = "images"
        return self.output or _RESULTS / f"{experiment}-{self.size}"


def reproduce(options: ReproduceOptions) -> tuple[str, Path]:
    """Run one experiment of the paper and write its numbers and pictures.

    Args:
        options: which, and how large.

    Returns:
        Tables and findings for the terminal, and the file to look at.
    """
    if options.name == "table1":
        return table1(_table1_config(options))
    if options.name == "claims":
        return claims(options.directory)
    if options.name == "corollary3":
        fits = _LEAST_SQUARES[options.size]
        return least_squares(
            replace(fits, repetitions=options.seeds or fits.repetitions), options.directory
        )
    if options.name in IMAGE_FIGURES:
        made: tuple[str, Path] = _module(options).reproduce(options)
        return made
    moons = two_moons.SCALES[options.size]
    moons = replace(moons, repetitions=options.seeds or moons.repetitions)
    result = two_moons.find_finished(options.directory / "result.json", moons)
    if result is None:
        result = two_moons.run(moons, progress=True)
    two_moons.write(result, options.directory)
    return two_moons.findings(result), options.directory / "two-moons.html"


def plan_reproduction(options: ReproduceOptions) -> str:
    """What an experiment of the paper would run, and what that would cost; nothing is written.

    Args:
        options: which, and how large.

    Returns:
        The runs with their states and estimated costs.
    """
    if options.name == "table1":
        return plan_table1(_table1_config(options))
    if options.name in IMAGE_FIGURES:
        planned: str = _module(options).plan(options)
        return planned
    return f"{options.name} is one computation of a few minutes at most, with no runs to list"


def _module(options: ReproduceOptions) -> ModuleType:
    return import_module(f"mixreg.experiments.{options.name}")


def _table1_config(options: ReproduceOptions) -> Table1Config:
    seeds = {} if options.seeds is None else {"seeds": options.seeds}
    return Table1Config(
        **(_TABLE1[options.size] | seeds),
        data_root=options.data_root,
        output=options.directory,
        jobs=options.jobs,
        backend=options.backend,
        address=options.address,
        skip_missing=options.skip_missing,
    )
