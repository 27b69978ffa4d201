"""What the training methods have in common, for experiments that compare them."""

_UNMIXED = frozenset({"erm", "label-smoothing", "dropout", "spectral", "mit-l"})


def mixes(method: str) -> bool:
    """Whether a method trains on shrunk or mixed data, so that equation 22 applies to its models.

    Args:
        method: its name.

    Returns:
        False for plain training, its classical regularizers, and for mixes that are taken apart.

    Example:
        >>> mixes("mixup"), mixes("dropout")
        (True, False)
    """
    return method not in _UNMIXED
