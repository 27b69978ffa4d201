"""Partners j from the batch at hand that are uniform on the whole data set, j = i included."""

import torch
from torch import Tensor

from mixreg._examples import check_examples
from mixreg.labels import dense_targets
from mixreg.statistics import TrainingStatistics


def draw_partner(n: int, count: int, *, generator: torch.Generator) -> Tensor:
    """One partner for each of n examples of a batch, uniform on the data set of `count` examples.

    The mean over j in Lemma 1 runs over all N examples, i itself included. A batch drawn without
    replacement holds i for certain and every other example with the same chance, so i must be
    taken with probability 1/N and else one of the other n − 1, each with the same chance: for a
    given i, every other j of the data set then has probability

        (1 − 1/N) · (n − 1)/(N − 1) · 1/(n − 1) = 1/N

    where (n − 1)/(N − 1) is the chance that j is in the batch. (A cyclic shift by 0 to n − 1 would
    take i with probability 1/n, too often.) The others are paired by one cyclic shift a batch,
    uniform on 1 to n − 1; whether i is its own partner is drawn for each example.

    Args:
        n: examples of the batch, at least 2.
        count: examples N of the data set, at least n.
        generator: source of the draws, on the CPU.

    Returns:
        Indices into the batch, int64, shape (n,), on the CPU.

    Example:
        >>> draw_partner(2, 10**9, generator=torch.Generator().manual_seed(0))
        tensor([1, 0])
    """
    shift = 1 + int(torch.randint(n - 1, (), generator=generator, device="cpu"))
    own = torch.rand(n, generator=generator, dtype=torch.float64, device="cpu") < 1 / count
    index = torch.arange(n, device="cpu")
    return torch.where(own, index, (index + shift) % n)


def draw_independent_partners(
    n: int, count: int, *, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Two partners for each of n examples, independent and uniform on the data set.

    The first is drawn by `draw_partner`. Two draws of that kind would meet too often, since both
    come from one batch; so the second is the first with probability 1/N, the example itself with
    probability 1/N, and else neither of them, by another shift. Every pair of examples of the data
    set then has probability 1/N².

    Args:
        n: examples of the batch, at least 3 unless it is the whole data set.
        count: examples N of the data set, at least n.
        generator: source of the draws, on the CPU.

    Returns:
        Two tensors of indices into the batch, int64, shape (n,), on the CPU.

    Raises:
        ValueError: the batch is too small.

    Example:
        >>> g = torch.Generator().manual_seed(0)
        >>> first, second = draw_independent_partners(3, 10**9, generator=g)
        >>> first, second
        (tensor([1, 2, 0]), tensor([2, 0, 1]))
    """
    if n < 3 and n < count:
        raise ValueError(
            f"independent partners for inputs and labels take a batch of at least 3, got {n}; "
            "use drop_last=True in the loader"
        )
    first_shift, step = torch.randint(n - 1, (), generator=generator, device="cpu"), max(n - 2, 1)
    second_shift = first_shift + 1 + torch.randint(step, (), generator=generator, device="cpu")
    unit = torch.rand(2, n, generator=generator, dtype=torch.float64, device="cpu")
    index = torch.arange(n, device="cpu")
    first = torch.where(unit[0] < 1 / count, index, (index + 1 + first_shift) % n)
    shifted = (index + 1 + second_shift % (n - 1)) % n
    chance, own = unit[1] * count, first == index
    second = torch.where(~own & (chance < 2), first, shifted)
    return first, torch.where(chance < 1, index, second)


def paired_targets(x: Tensor, y: Tensor, stats: TrainingStatistics) -> Tensor:
    """Dense targets of a batch that partners can be drawn from and that the statistics describe.

    Args:
        x: inputs, floating point, shape (n, ...), n at least 2.
        y: class indices (n,), or soft labels or regression targets.
        stats: x̄ and ȳ of the training data.

    Returns:
        Targets, floating point, shape (n,) or (n, c).

    Raises:
        TypeError: integer inputs or ambiguous labels.
        ValueError: too few examples, or shapes that are not those of the statistics.
    """
    check_examples(x, y)
    if len(x) < 2:
        raise ValueError(
            f"partners are drawn from the batch, which needs at least 2 examples, got {len(x)}; "
            "use drop_last=True in the loader"
        )
    if len(x) > stats.count:
        raise ValueError(
            f"a batch of {len(x)} cannot be drawn from the {stats.count} examples that the "
            "statistics describe; measure them on the training data"
        )
    _check_shape("inputs", x, stats.x_mean)
    classes = None if y.is_floating_point() or stats.y_mean.ndim != 1 else len(stats.y_mean)
    targets = dense_targets(y, classes, dtype=torch.promote_types(x.dtype, torch.float32))
    _check_shape("targets", targets, stats.y_mean)
    return targets


def _check_shape(what: str, values: Tensor, mean: Tensor) -> None:
    if values.shape[1:] != mean.shape:
        raise ValueError(
            f"the statistics describe {what} of shape (n, {', '.join(map(str, mean.shape))}), "
            f"got {tuple(values.shape)}; measure them in the model's own input space"
        )
