"""`mixreg reproduce`: a figure or table of the paper by its name, at a stated scale."""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType

from mixreg._errors import ConfigurationError, unknown_name
from mixreg.experiments._sweep import SweepSettings
from mixreg.experiments.ledger import claims

SCALES = ("paper", "cpu", "smoke")

IMAGE_FIGURES = ("fig2", "fig3", "fig4", "fig7", "ablation")
_TWO_MOONS = ("fig1", "fig8", "fig9")
REPRODUCIBLE = (*_TWO_MOONS, *IMAGE_FIGURES, "table1", "corollary3", "claims")

_RESULTS = Path("mixreg-runs") / "reproduce"


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
    if options.name == "claims":
        return claims(options.directory)
    made: tuple[str, Path] = _module(options).reproduce(options)
    return made


def plan_reproduction(options: ReproduceOptions) -> str:
    """What an experiment of the paper would run, and what that would cost; nothing is written.

    Args:
        options: which, and how large.

    Returns:
        The runs with their states and estimated costs.
    """
    if options.name in (*IMAGE_FIGURES, "table1"):
        planned: str = _module(options).plan(options)
        return planned
    return f"{options.name} is one computation of a few minutes at most, with no runs to list"


def _module(options: ReproduceOptions) -> ModuleType:
    name = "two_moons" if options.name in _TWO_MOONS else options.name
    return import_module(f"mixreg.experiments.{name}")
