"""The errors of the package that are not about one argument of one call."""


class MixregError(Exception):
    """Something outside a single argument is wrong; the message says what and how to mend it."""


class DataError(MixregError):
    """A data set is missing, damaged or not what its name promises."""


class CheckpointError(MixregError):
    """A checkpoint or run directory cannot be read as what it should hold."""


class ConfigurationError(MixregError):
    """Settings that are valid one by one do not fit together."""
