"""What the training methods have in common, for experiments that compare them."""

_UNMIXED = frozenset({"erm", "label-smoothing", "dropout", "spectral"})


def mixes(method: str) -> bool:
    """Whether a method trains on shrunk or mixed data, so that equation 22 applies to its models.

    Args:
        method: its name.

    Returns:
        False for plain training and its classical regularizers.

    Example:
        >>> mixes("mixup"), mixes("dropout")
        (True, False)
    """
    return method not in _UNMIXED
