"""The public names; `__init__.py` imports each when it is used."""

from mixreg.integrations.lightning import MixupCallback as MixupCallback
from mixreg.integrations.sklearn import MixupClassifier as MixupClassifier
from mixreg.integrations.torchmetrics import MixedAccuracy as MixedAccuracy
