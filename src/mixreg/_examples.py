"""Examples as every function takes them: a row of floating-point inputs and a label for each."""

from torch import Tensor


def check_inputs(x: Tensor) -> None:
    """Refuse inputs that are not floating point, as raw pixels are not.

    Args:
        x: inputs.

    Raises:
        TypeError: they are integers or complex.
    """
    if not x.is_floating_point():
        raise TypeError(
            f"inputs must be floating point, got {x.dtype}; convert and normalise them as the "
            "model takes them, for example x.float() / 255"
        )


def check_examples(x: Tensor, y: Tensor) -> None:
    """Refuse inputs and labels that are not one row an example each.

    Args:
        x: inputs, floating point, shape (n, ...).
        y: labels, shape (n, ...).

    Raises:
        TypeError: the inputs are not floating point.
        ValueError: the numbers of rows differ, or one of them is a scalar.
    """
    check_inputs(x)
    if x.ndim == 0 or y.ndim == 0 or x.shape[0] != y.shape[0]:
        raise ValueError(
            "inputs and labels must have one row an example, got shapes "
            f"{tuple(x.shape)} and {tuple(y.shape)}"
        )
