"""The public names by subject; `__init__.py` imports each when it is used."""

# Laws of the mixing weight (Theorem 1)
from mixreg.laws import (
    Beta as Beta,
    Constant as Constant,
    FoldedBeta as FoldedBeta,
    MixingLaw as MixingLaw,
    Uniform as Uniform,
    design_law as design_law,
    law_from_dict as law_from_dict,
    mixture as mixture,
)
from mixreg.recipes import estimate_law as estimate_law

# Training means (5) and mixing (4)
from mixreg.mixing import (
    MixedBatch as MixedBatch,
    Mixup as Mixup,
    MixupTransform as MixupTransform,
    mix as mix,
    mixed_accuracy as mixed_accuracy,
)
from mixreg.power import (
    BandPower as BandPower,
)
from mixreg.statistics import (
    TrainingStatistics as TrainingStatistics,
)
from mixreg._checks import (
    dense_targets as dense_targets,
)

# Losses: equations 3 and 15
from mixreg.losses import (
    cross_entropy as cross_entropy,
    logistic as logistic,
    mixed_loss as mixed_loss,
    squared_error as squared_error,
)

# Prediction (22) and its rival
from mixreg.prediction import (
    PostProcessing as PostProcessing,
    RescaledModel as RescaledModel,
    Rescaling as Rescaling,
    rescale_ as rescale_,
    shrink as shrink,
    unshrink as unshrink,
)
from mixreg.matching import (
    PowerMatchedModel as PowerMatchedModel,
    PowerMatching as PowerMatching,
)
from mixreg.manifold import (
    LayerStatistics as LayerStatistics,
    ManifoldMixup as ManifoldMixup,
    RescaledLayers as RescaledLayers,
)
from mixreg.training.load import (
    load as load,
)
from mixreg.calibration import (
    apply_temperature as apply_temperature,
    fit_temperature as fit_temperature,
)

# Modified data and perturbations (5) to (9)
from mixreg.perturbation import (
    ModifiedData as ModifiedData,
    DesignedPerturbation as DesignedPerturbation,
    Perturbation as Perturbation,
    PerturbedBatch as PerturbedBatch,
    design_perturbation as design_perturbation,
    draw_perturbation as draw_perturbation,
    modified as modified,
    perturb as perturb,
    principal_directions as principal_directions,
)
from mixreg.covariance import (
    perturbation_covariances as perturbation_covariances,
)

# Risks: equations 2, 4, 7, 10, 12, 19 and 20
from mixreg.risk import (
    ApproximateMixupRisk as ApproximateMixupRisk,
    RiskEstimate as RiskEstimate,
    approximate_mixup_risk as approximate_mixup_risk,
    approximate_perturbed_risk as approximate_perturbed_risk,
    empirical_risk as empirical_risk,
    linear_mixup_risk as linear_mixup_risk,
    mixup_risk as mixup_risk,
    mixup_risk_estimate as mixup_risk_estimate,
    modified_risk as modified_risk,
    perturbed_risk as perturbed_risk,
    regression_jacobian as regression_jacobian,
    theorem_one as theorem_one,
)

# Training with the approximate risk (12)
from mixreg.risk.approximate_loss import (
    ApproximateMixupLoss as ApproximateMixupLoss,
    ApproximateTerms as ApproximateTerms,
)
from mixreg.curvature import (
    directional_curvature as directional_curvature,
)

# Entropy of predictions (Proposition 1)
from mixreg.entropy import (
    entropy_inequality as entropy_inequality,
    proposition_one as proposition_one,
)

# Errors
from mixreg._errors import (
    CheckpointError as CheckpointError,
    ConfigurationError as ConfigurationError,
    DataError as DataError,
    MixregError as MixregError,
)
