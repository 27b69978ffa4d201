"""Numbers of any kind, NumPy's too, as Python floats, which JSON can hold."""

from numbers import Real


def python_float(value: object, name: str) -> float:
    """A number as a Python float.

    Args:
        value: a real number of any kind.
        name: what to call it.

    Returns:
        The same number.

    Raises:
        TypeError: it is something else.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a real number, got {value!r}")
    return float(value)


def keep_float(record: object, name: str) -> None:
    """Replace a field of a frozen record by itself as a Python float.

    Args:
        record: the record, while it is made.
        name: the field.

    Raises:
        TypeError: the field is no real number.
    """
    object.__setattr__(record, name, python_float(getattr(record, name), name))
