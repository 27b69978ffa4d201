"""Mixup for tables, as one more classifier of scikit-learn: a pipeline and a search over α.

Every fold is fitted with mixup and predicts by equation 22, by its outer half, or raw; the search
decides by the log loss of the folds that were left out.
"""

from sklearn.datasets import load_wine
from sklearn.feature_selection import SelectKBest
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline

from mixreg.integrations import MixupClassifier

x_train, x_test, y_train, y_test = train_test_split(*load_wine(return_X_y=True), random_state=0)
pipeline = make_pipeline(SelectKBest(k=8), MixupClassifier(epochs=30, random_state=0))
grid = {
    "mixupclassifier__alpha": [0.2, 1.0],
    "mixupclassifier__correction": ["raw", "scale-only", "rescaled"],
}
search = GridSearchCV(pipeline, grid, scoring="neg_log_loss", cv=3).fit(x_train, y_train)
for settings, score in zip(
    search.cv_results_["params"], search.cv_results_["mean_test_score"], strict=True
):
    print(*settings.values(), f"log loss {-score:.4f}")
chosen = log_loss(y_test, search.predict_proba(x_test))
print(f"chosen {search.best_params_}: log loss {chosen:.4f}, accuracy", end=" ")
print(f"{search.best_estimator_.score(x_test, y_test):.4f}")
assert chosen < 0.3
