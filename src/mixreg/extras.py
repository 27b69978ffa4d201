"""Optional packages, imported only where they are needed."""

from importlib import import_module
from types import ModuleType

from mixreg.errors import MixregError


def require(
    module: str, *, extra: str, purpose: str, error: type[MixregError] = MixregError
) -> ModuleType:
    """Import an optional package or say how to install it.

    Args:
        module: the module to import, for example "torchvision.transforms.v2".
        extra: the extra of this package that installs it.
        purpose: what needs it, the subject of the message.
        error: the class of the error.

    Returns:
        The module.

    Raises:
        MixregError: the package is not installed, as the class `error`.

    Example:
        >>> require("math", extra="vision", purpose="arithmetic").sqrt(4.0)
        2.0
    """
    try:
        return import_module(module)
    except ImportError as missing:
        package = module.partition(".")[0]
        raise error(
            f"{purpose} needs the package {package}, which cannot be imported ({missing}); "
            f"install it with: pip install 'mixreg[{extra}]'"
        ) from missing
