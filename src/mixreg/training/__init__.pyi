"""The public names; `__init__.py` imports each when it is used."""

from mixreg.settings import Recipe as Recipe
from mixreg.settings import TrainConfig as TrainConfig
from mixreg.settings import check_method as check_method
from mixreg.training.files import read_settings as read_settings
from mixreg.training.files import recipe as recipe
from mixreg.training.fit import is_first_process as is_first_process
from mixreg.training.fit import quiet as quiet
from mixreg.training.fit import train as train
from mixreg.training.load import TrainedClassifier as TrainedClassifier
from mixreg.training.load import build_model as build_model
from mixreg.training.load import load_bare as load_bare
from mixreg.training.load import load_data as load_data
from mixreg.training.load import load_run as load_run
from mixreg.training.methods import METHODS as METHODS
from mixreg.training.methods import Method as Method
from mixreg.training.run import BusyError as BusyError
from mixreg.training.run import Result as Result
from mixreg.training.run import RunDirectory as RunDirectory
from mixreg.training.run import environment as environment
from mixreg.training.run import read_checkpoint as read_checkpoint
from mixreg.training.weights import load_weights as load_weights
