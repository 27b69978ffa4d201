"""A classifier for tables with the interface of scikit-learn, trained with mixup."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal, Self, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor, nn

from mixreg._errors import check_name
from mixreg.laws import Beta
from mixreg.losses import cross_entropy
from mixreg.mixing import Mixup
from mixreg.prediction import RescaledModel
from mixreg.statistics import TrainingStatistics

Correction = Literal["rescaled", "scale-only", "raw"]


class MixupClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A multilayer perceptron on standardised features, trained with mixup and Adam.

    It predicts by equation 22, by its outer half alone, or raw; nothing is held out for either.

    Args:
        alpha: of λ ~ Beta(α, α).
        hidden_layer_sizes: units of each hidden layer.
        correction: "rescaled" is equation 22, "scale-only" rescales the outputs alone.
        epochs: passes over the data.
        batch_size: examples a step, the last batch of an epoch may be smaller.
        learning_rate: of Adam.
        weight_decay: of Adam.
        random_state: seed or generator of weights, order and mixing, as everywhere in scikit-learn.

    Attributes:
        classes_: the labels, sorted.
        n_features_in_: number of features.
        model_: the trained `RescaledModel` of the standardised features.
        statistics_: their means, and those of the labels.

    Source: Carratino et al., Algorithm 1.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> x, y = load_iris(return_X_y=True)
        >>> bool(MixupClassifier(epochs=20, random_state=0).fit(x, y).score(x, y) > 0.9)
        True
    """

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        hidden_layer_sizes: Sequence[int] = (100,),
        correction: Correction = "rescaled",
        epochs: int = 100,
        batch_size: int = 64,
        learning_rate: float = 0.005,
        weight_decay: float = 1e-4,
        random_state: Any = None,
    ) -> None:
        self.alpha = alpha
        self.hidden_layer_sizes = hidden_layer_sizes
        self.correction = correction
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Train on a table.

        Args:
            X: features, shape (n, d).
            y: labels of any kind, shape (n,).

        Returns:
            The classifier.

        Raises:
            ValueError: unfit data, fewer than two classes, an unknown correction.
        """
        check_name("correction", self.correction, get_args(Correction))
        x, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        self.classes_, indices = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError("a classifier needs at least two classes, the labels have 1 class")
        self._mean = x.mean(0)
        self._spread = np.where(np.ptp(x, axis=0) > 0, x.std(0), 1.0)
        inputs, labels = self._inputs(x), torch.as_tensor(indices.reshape(-1))
        law, c = Beta(self.alpha), len(self.classes_)
        self.statistics_ = TrainingStatistics.from_tensors(inputs, labels, c)
        seed = int(check_random_state(self.random_state).randint(2**31))
        draws = torch.Generator().manual_seed(seed)
        mixup = Mixup(law, c, generator=draws)
        net = _perceptron((inputs.shape[1], *self.hidden_layer_sizes, c), seed)
        optimizer = torch.optim.Adam(
            net.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay
        )
        for _ in range(self.epochs):
            for rows in torch.split(torch.randperm(len(inputs), generator=draws), self.batch_size):
                batch = mixup(inputs[rows], labels[rows])
                optimizer.zero_grad()
                torch.autograd.backward(cross_entropy(batch.targets, net(batch.inputs)).mean())
                optimizer.step()
        self.model_ = RescaledModel(
            net,
            self.statistics_,
            law,
            inputs="shrink" if self.correction == "rescaled" else "keep",
            outputs="keep" if self.correction == "raw" else "scale",
        ).eval()
        return self

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Probabilities of the classes.

        Args:
            X: features, shape (n, d).

        Returns:
            Shape (n, c), in the order of `classes_`.
        """
        check_is_fitted(self)
        x = validate_data(self, X, dtype=np.float64, reset=False)
        with torch.no_grad():
            probabilities = torch.softmax(self.model_(self._inputs(x)), 1)
        return np.asarray(probabilities)

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The most probable labels.

        Args:
            X: features, shape (n, d).

        Returns:
            Shape (n,).
        """
        most_probable = self.predict_proba(X).argmax(1)
        return np.asarray(self.classes_[most_probable])

    def _inputs(self, x: NDArray[np.float64]) -> Tensor:
        return torch.as_tensor((x - self._mean) / self._spread)


def _perceptron(sizes: Sequence[int], seed: int) -> nn.Sequential:
    """Linear layers with ReLU between them; PyTorch's own generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        pairs = [nn.Linear(*size, dtype=torch.float64) for size in pairwise(sizes)]
    return nn.Sequential(*[layer for linear in pairs for layer in (linear, nn.ReLU())][:-1])
