"""Checks that the models share."""

from collections.abc import Sequence


def check_sizes(input_shape: Sequence[int], num_outputs: int, dropout: float) -> None:
    """Refuse sizes that no model can have.

    Args:
        input_shape: shape of one input.
        num_outputs: number of outputs.
        dropout: probability of dropping a unit.

    Raises:
        ValueError: one of them is out of range.
    """
    if not input_shape or min(input_shape) < 1:
        raise ValueError(f"input_shape must be sizes of at least 1, got {tuple(input_shape)}")
    if num_outputs < 1:
        raise ValueError(f"num_outputs must be at least 1, got {num_outputs}")
    if not 0 <= dropout < 1:
        raise ValueError(f"need 0 <= dropout < 1, got {dropout}")


def image_channels(model: str, input_shape: Sequence[int], *, smallest: int) -> int:
    """The number of channels of an image shape.

    Args:
        model: the model, for the message.
        input_shape: (channels, height, width).
        smallest: least height and width that the model can take.

    Returns:
        The number of channels.

    Raises:
        ValueError: the shape is not that of an image, or the image is too small.
    """
    if len(input_shape) != 3 or min(input_shape[1:]) < smallest:
        raise ValueError(
            f"{model} needs images, input_shape (channels, height, width) with height and width "
            f"of at least {smallest}, got {tuple(input_shape)}"
        )
    return input_shape[0]
