"""`mixreg export`: the rescaled prediction of a checkpoint as one file to deploy."""

import copy
import dataclasses
import io
import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import torch
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor, nn

from mixreg._errors import ConfigurationError, require
from mixreg._files import write_bytes
from mixreg.experiments.evaluate import beside, load_checkpoint
from mixreg.laws import MixingLaw
from mixreg.prediction import RescaledModel
from mixreg.recipes import Recipe
from mixreg.settings import ExportOptions
from mixreg.training import TrainedClassifier
from mixreg.training.run import rescaled

_FORMAT = "mixreg.export/1"
_AGREEMENT = 1e-4

_Written = tuple[bytes, Callable[[Tensor], Tensor]]
"""The content of a file, and the network that is read from it."""


def export_checkpoint(options: ExportOptions) -> tuple[str, Path]:
    """Write the file, and say how far what is read from it is from the rescaled model."""
    trained = load_checkpoint(options)
    model, normalisation = _model(trained, options), trained.data.normalisation
    g = torch.Generator().manual_seed(0)
    x = model.x_mean + torch.randn(4, *trained.stats.x_mean.shape, generator=g)
    with torch.inference_mode():
        expected, inputs = model(x), x
    about = {} if normalisation is None else {"mean": normalisation.mean, "std": normalisation.std}
    net: nn.Module = model
    try:
        if options.into == "normalisation":
            if normalisation is None:
                raise ConfigurationError("features have no normalisation; use --into weights")
            folded = model.fold("normalisation", mean=about["mean"], std=about["std"], example=x)
            net, about = folded.net, {"mean": folded.mean, "std": folded.std}
            inputs = model.shrunk(x) if model.inputs == "shrink" else x
        else:
            net = model.fold()
        how = f"equation 22 in the {options.into}"
    except ValueError as error:
        if options.format == "safetensors" or options.into == "normalisation":
            remedy = "--format onnx and pt2 --into weights export it as it is"
            raise ConfigurationError(f"{error}; {remedy}") from error
        how = "equation 22 around the network"
    data, read = _FORMATS[options.format](net, inputs.detach().clone(), _metadata(model, about))
    with torch.inference_mode():
        off, scale = (float(v.abs().max()) for v in (read(inputs) - expected, expected))
    if not off <= _AGREEMENT * scale:
        raise ConfigurationError(
            f"as --format {options.format} the predictions are off by {off:.2g} of {scale:.2g}, "
            "so nothing was written; try another format"
        )
    output = options.output or Path(f"{beside(options.checkpoint, 'rescaled')}.{options.format}")
    write_bytes(output, data)
    if net.state_dict().keys() == model.net.state_dict().keys():
        how += ", state keys as the network's"
    return f"{how}; largest difference {off:.1e} of {scale:.2g}", output


def _model(trained: TrainedClassifier, options: ExportOptions) -> RescaledModel:
    """The rescaled model that is exported; it warns of no inputs."""
    law: MixingLaw | Recipe = trained.recipe
    if trained.run is not None:
        law = rescaled(trained.net, trained.stats, trained.config).law
    stats = dataclasses.replace(trained.stats, x_min=None, x_max=None)
    if options.into == "normalisation" and stats.x_mean.ndim > 1:
        stats = stats.per_channel()
    return RescaledModel(
        trained.net,
        stats,
        law,
        trained.config.link,
        inputs=options.inputs,
        outputs=options.outputs,
    ).eval()


def _metadata(model: RescaledModel, normalisation: Mapping[str, Sequence[float]]) -> dict[str, str]:
    """Means, law and options, and what inputs are normalised by, as one JSON text."""
    about = {
        "format": _FORMAT,
        "law": model.law.to_dict(),
        "link": model.link,
        "inputs": model.inputs,
        "outputs": model.outputs,
        "x_mean": model.x_mean.tolist(),
        "y_mean": model.y_mean.tolist(),
        "normalisation": {name: list(values) for name, values in normalisation.items()} or None,
    }
    return {"mixreg": json.dumps(about)}


def _safetensors(net: nn.Module, _: Tensor, metadata: dict[str, str]) -> _Written:
    """The weights, and a copy of the network that has loaded them."""
    state = {name: value.contiguous() for name, value in net.state_dict().items()}
    data, again = save_safetensors(state, metadata), copy.deepcopy(net)
    again.load_state_dict(load_safetensors(data))
    return data, again


def _pt2(net: nn.Module, x: Tensor, metadata: dict[str, str]) -> _Written:
    """A program of torch.export, for batches of any size."""
    file, sizes = io.BytesIO(), ({0: torch.export.Dim("n", min=1)},)
    with _quiet():
        program = torch.export.export(net, (x,), dynamic_shapes=sizes)
        torch.export.save(program, file, extra_files=metadata)
        again = torch.export.load(io.BytesIO(file.getvalue())).module()
    return file.getvalue(), again


def _onnx(net: nn.Module, x: Tensor, metadata: dict[str, str]) -> _Written:
    """A model of ONNX for batches of any size, and what ONNX Runtime says."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        runtime = require(package, extra="export", purpose="ONNX", error=ConfigurationError)
    sizes = ({0: torch.export.Dim("n", min=1)},)
    with _quiet():
        program = torch.onnx.export(
            net,
            (x,),
            dynamo=True,
            dynamic_shapes=sizes,
            input_names=["x"],
            output_names=["logits"],
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    for name, text in metadata.items():
        proto.metadata_props.add(key=name, value=text)
    data = proto.SerializeToString()
    session = runtime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return data, lambda x: torch.from_numpy(session.run(None, {"x": x.numpy()})[0])


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporters' warnings and progress."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


_FORMATS: dict[str, Callable[[nn.Module, Tensor, dict[str, str]], _Written]] = {
    "onnx": _onnx,
    "pt2": _pt2,
    "safetensors": _safetensors,
}
