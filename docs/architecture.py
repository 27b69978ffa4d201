"""Draw the flow of data and the layers of the package: `python docs/architecture.py`."""

import textwrap
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

FLOW = {
    "law, statistics": "laws, statistics",
    "MixedBatch": "mixing",
    "loss": "losses, risk",
    "checkpoint": "training",
    "Predictions": "evaluation",
    "Records": "report",
    "Document": "report",
    "text, CSV,\nJSON, page": "report",
}
"""What is handed on, and where it is made."""

LAYERS = {
    "support": (
        {"_checks", "_errors", "_files", "_lazy", "_random"},
        {"safetensors", "torch"},
    ),
    "theory": (
        {"_beta", "_forward_mode", "calibration", "covariance", "curvature"}
        | {"entropy", "folding", "laws", "losses", "manifold", "matching", "mixing"}
        | {"pairing", "perturbation", "power", "prediction"}
        | {"recipes", "reference"}
        | {"risk", "statistics", ""},
        {"numpy", "tqdm", "yaml"},
    ),
    "measuring": ({"_stored", "diagnostics", "evaluation"}, {"msgspec", "scipy"}),
    "report": ({"report"}, {"jinja2", "matplotlib"}),
    "data": ({"data", "models"}, {"PIL", "sklearn", "timm", "torchvision"}),
    "training": (
        {"integrations", "settings", "training"},
        {"filelock", "lightning", "tensorboard", "torchmetrics"},
    ),
    "experiments": (
        {"experiments"},
        {"cryptography", "dask", "distributed", "joblib", "optuna", "ray", "submitit"},
    ),
    "command line": ({"__main__", "cli"}, set()),
}
"""Each layer's modules and the packages that it adds; a layer imports those before it."""

APART = {"data": {"report"}, "training": {"report"}}
"""Layers that do not know each other, although one stands before the other."""

FILL = ("#e8f1f8", "#f6efdf")


def draw() -> Figure:
    """The flow above, the layers below it, from the command line down to the support."""
    figure = Figure(figsize=(9.6, 6.0))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, 96), ylim=(0, 60))
    axes.axis("off")
    for k, (name, place) in enumerate(FLOW.items()):
        _box(axes, 1 + 11.9 * k, 50, 9.6, 8, f"{name}\n", FILL[1])
        axes.text(5.8 + 11.9 * k, 51.4, place, ha="center", size=6.5, color="#555555")
        if k:
            axes.annotate(
                "",
                (1 + 11.9 * k, 54),
                (-1.3 + 11.9 * k, 54),
                arrowprops={"arrowstyle": "->", "color": "#555555"},
            )
    for k, (name, (modules, packages)) in enumerate(LAYERS.items()):
        y = 1 + 5.8 * k
        _box(axes, 1, y, 94, 5.2, "", FILL[0])
        axes.text(2.5, y + 2.6, name, va="center", size=10, weight="bold")
        lines = textwrap.wrap(", ".join(sorted(filter(None, modules))), 130)
        added = f"adds {', '.join(sorted(packages))}" if packages else ""
        for line, text in enumerate([*lines, added]):
            colour = "#555555" if text == added else "black"
            axes.text(17, y + 3.9 - 1.5 * line, text, va="center", size=6.8, color=colour)
    return figure


def _box(axes: Axes, x: float, y: float, width: float, height: float, text: str, fill: str) -> None:
    style = "round,pad=0,rounding_size=0.8"
    axes.add_patch(
        FancyBboxPatch((x, y), width, height, boxstyle=style, fc=fill, ec="#888888", lw=0.8)
    )
    axes.text(x + width / 2, y + height / 2 + 0.4, text, ha="center", va="center", size=8)


def save(path: Path) -> None:
    """Write the drawing, the same bytes every time."""
    with mpl.rc_context({"svg.hashsalt": "mixreg", "svg.fonttype": "none"}):
        draw().savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    save(Path(__file__).with_suffix(".svg"))
