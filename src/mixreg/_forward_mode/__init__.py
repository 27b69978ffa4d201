"""Forward-mode differentiation of a network by PyTorch and the rules beside it."""

import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
import torch.utils.checkpoint
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from mixreg._errors import MixregError
from mixreg._forward_mode.rules import FIRST_ORDER, NESTED, REFUSED, Function, make_dual

_MACHINERY = ("torch.autograd.", "torch._functorch.", "torch.func", "mixreg.")
_saved_tensors_hooks: Callable[..., Any] = torch._C._autograd._top_saved_tensors_default_hooks
_UNSUPPORTED = re.compile(r"forward AD with (\S+) that does not support it")


@contextmanager
def forward_rules(*, nested: bool = False) -> Iterator[None]:
    """Evaluate a network on dual tensors by the rules, and name what cannot be differentiated.

    Attention runs in elementary operations, since the fused kernels have no tangents.

    Args:
        nested: whether forward mode is nested in itself.

    Yields:
        Nothing.

    Raises:
        MixregError: an operation has no forward-mode derivative.
        RuntimeError: any other failure of the network.
    """
    load_tangent_formulas()
    try:
        with _Rules(NESTED if nested else FIRST_ORDER), sdpa_kernel(SDPBackend.MATH):
            yield
    except (NotImplementedError, RuntimeError) as error:
        name = _undifferentiable(error)
        if name is None:
            raise
        raise MixregError(_no_derivative(name)) from error


@cache
def load_tangent_formulas() -> None:
    """Let PyTorch load its formulas, which warns of PyTorch's own use of a deprecated function."""
    zero = torch.zeros(1, device="cpu")
    with warnings.catch_warnings(), forward_ad.dual_level():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        make_dual(zero, zero)


class _Rules(TorchFunctionMode):
    """Calls the rule of a function in its place."""

    def __init__(self, rules: Mapping[Function, Function]) -> None:
        super().__init__()
        self.rules = rules

    def __torch_function__(
        self,
        func: Function,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        _refuse_checkpoints()
        if func in REFUSED:
            raise MixregError(_no_derivative(f"torch.{func.__name__}"))
        rule = self.rules.get(func)
        if rule is None:
            return func(*args, **kwargs)
        if "input" in kwargs:
            args = (kwargs.pop("input"), *args)
        return rule(*args, **kwargs)


def _refuse_checkpoints() -> None:
    """Refuse checkpointed activations, recomputed in the backward pass without their tangents."""
    hooks = _saved_tensors_hooks(False)
    if hooks is not None and hooks[0].__module__ == torch.utils.checkpoint.__name__:
        raise MixregError(
            "the model runs under torch.utils.checkpoint, which recomputes it without the "
            "forward-mode derivatives that the approximate Mixup risk needs; switch checkpointing "
            "of activations off, or train with mixreg.Mixup"
        )


def _no_derivative(name: str) -> str:
    return (
        f"{name} has no usable forward-mode derivative, which the approximate Mixup risk needs "
        "from every operation of the model; replace it in the model (functions of torch.nn."
        "functional have one more often than those of torch), give it a jvp if it is your own, or "
        "train with mixreg.Mixup, which needs none"
    )


def _undifferentiable(error: Exception) -> str | None:
    """The operation that has no forward-mode derivative, if that is what the error is about."""
    message = str(error)
    if match := _UNSUPPORTED.search(message):
        return match[1]
    if "autograd.Function" in message and ("jvp" in message or "setup_context" in message):
        return _custom_function(error)
    return None


def _custom_function(error: Exception) -> str:
    """The `torch.autograd.Function` without tangent, as far as it is known, and who applied it."""
    trace, name, place = error.__traceback__, "a torch.autograd.Function", ""
    while trace is not None:
        frame = trace.tb_frame
        function = getattr(frame.f_locals.get("self"), "_forward_cls", None)
        if function is not None:
            name = function.__name__
        if not frame.f_globals.get("__name__", "").startswith(_MACHINERY):
            code = frame.f_code
            place = f" (in {code.co_qualname}, {code.co_filename}:{trace.tb_lineno})"
        trace = trace.tb_next
    return name + place
