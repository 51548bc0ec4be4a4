"""How a trained model from elsewhere is run: one loader per kind, each giving a function from windows to numbers.

Nothing here unpickles: transformers read safetensors alone, torch archives are examined before they are opened, and
TensorFlow graphs that read or write files are refused. Loaders run in limited worker processes (`external_models`).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ai_assets.model_training.external_manifest import ExternalModel

Windows = NDArray[np.float32]
Run = Callable[[Windows], NDArray[Any]]
STEM = "model"
SUFFIXES = {"onnx": ".onnx", "torch_export": ".pt2", "safetensors": ".safetensors", "lightgbm": ".txt"}


class WrongModel(ValueError):
    """The model is not what its manifest says; the message says how it differs."""


def load(model: ExternalModel, folder: Path) -> Run:
    """The model in `folder` as a function: windows (n, …) -> (n, width), probabilities or embeddings.

    Raises WrongModel, also from the function, when shape or labels differ from the manifest.
    """
    loaders: dict[str, Callable[[ExternalModel, Path], Run]] = {
        "onnx": _onnx, "transformers": _transformers, "torch_export": _torch_export, "safetensors": _safetensors,
        "lightgbm": _lightgbm, "tensorflow": _tensorflow,
    }  # fmt: skip
    run = loaders[model.runtime](model, folder)

    def checked(windows: Windows) -> NDArray[np.float64]:
        try:
            found = np.asarray(run(windows), np.float64)
        except (RuntimeError, TypeError, IndexError, AssertionError) as error:
            first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise WrongModel(f"{model.name}: does not take input of shape {windows.shape}: {first[:300]}") from None
        wanted = (len(windows), model.output.width)
        if found.shape != wanted:
            raise WrongModel(f"{model.name}: answers with shape {found.shape}, the manifest says {wanted}")
        if not np.isfinite(found).all():
            raise WrongModel(f"{model.name}: answers with values that are no numbers")
        return _judged(model, found)

    return checked


def _missing(model: ExternalModel, extra: str) -> WrongModel:
    return WrongModel(f"{model.name}: needs the extra {extra}: pip install 'music-ai-assets[{extra}]'")


def _judged(model: ExternalModel, found: NDArray[np.float64]) -> NDArray[np.float64]:
    if model.output.kind == "embedding":
        return found
    if model.output.scores == "logits":
        shares = np.exp(found - found.max(1, keepdims=True))
        return np.asarray(shares / shares.sum(1, keepdims=True))
    if found.min() < -1e-4 or found.max() > 1 + 1e-4:
        raise WrongModel(
            f"{model.name}: answers between {found.min():.3g} and {found.max():.3g} are no probabilities; "
            'say scores = "logits" in [output] if that is what they are'
        )
    return found.clip(0, 1)


def _onnx(model: ExternalModel, folder: Path) -> Run:
    try:
        import onnxruntime
    except ImportError:
        raise _missing(model, "onnx") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(
            (folder / f"{STEM}.onnx").read_bytes(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:
        raise WrongModel(f"{model.name}: no ONNX model that runs here: {str(error)[:300]}") from None
    inputs = session.get_inputs()
    if len(inputs) != 1:
        raise WrongModel(f"{model.name}: has {len(inputs)} inputs {[one.name for one in inputs]}, expected one")
    output = session.get_outputs()[0].name

    def run(windows: Windows) -> NDArray[Any]:
        try:
            return np.asarray(session.run([output], {inputs[0].name: windows})[0])
        except Exception as error:  # onnxruntime's own exceptions share no base but Exception
            raise RuntimeError(str(error)) from None

    return run


def _transformers(model: ExternalModel, folder: Path) -> Run:
    import torch
    import transformers

    source = folder / STEM
    classes = model.output.kind == "classes"
    kind = transformers.AutoModelForAudioClassification if classes else transformers.AutoModel
    try:
        network = kind.from_pretrained(
            source, local_files_only=True, trust_remote_code=False, use_safetensors=True
        ).eval()
        reader = transformers.AutoFeatureExtractor.from_pretrained(
            source, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:
        raise WrongModel(f"{model.name}: transformers cannot load it: {str(error)[:300]}") from None
    if int(reader.sampling_rate) != model.input.sample_rate:
        raise WrongModel(
            f"{model.name}: was trained at {reader.sampling_rate} Hz, input.sample_rate is {model.input.sample_rate}"
        )
    if classes:
        held = tuple(str(network.config.id2label[at]) for at in range(len(network.config.id2label)))
        if held != model.output.labels:
            raise WrongModel(
                f"{model.name}: its labels are {list(held)}, the manifest says {list(model.output.labels)}"
            )

    def run(windows: Windows) -> NDArray[Any]:
        given = reader(list(windows), sampling_rate=model.input.sample_rate, return_tensors="pt", padding=True)
        with torch.no_grad():
            found = network(**given)
            if not classes:
                return np.asarray(found.last_hidden_state.mean(1).numpy())
            scores = found.logits
            return np.asarray((scores if model.output.scores == "logits" else scores.softmax(-1)).numpy())

    return run


def _torch_export(model: ExternalModel, folder: Path) -> Run:
    import torch

    try:
        module = torch.export.load(folder / f"{STEM}.pt2").module()
    except Exception as error:
        raise WrongModel(f"{model.name}: no torch.export archive that this torch reads: {str(error)[:300]}") from None
    return _torch_run(torch, module)


def _torch_run(torch: Any, module: Any) -> Run:
    def run(windows: Windows) -> NDArray[Any]:
        with torch.no_grad():
            found = module(torch.from_numpy(windows))
            return np.asarray((found[0] if isinstance(found, tuple) else found).numpy())

    return run


def _safetensors(model: ExternalModel, folder: Path) -> Run:
    """Weights of an architecture that the platform knows by name."""
    import torch
    from safetensors.torch import load_file

    built = ARCHITECTURES.get(str(model.architecture))
    if built is None:
        raise WrongModel(
            f"{model.name}: no architecture is called {model.architecture!r}; there are: {', '.join(ARCHITECTURES)}"
        )
    module = built(torch, model)
    try:
        module.load_state_dict(load_file(folder / f"{STEM}.safetensors"))
    except Exception as error:
        raise WrongModel(f"{model.name}: its weights do not fit {model.architecture}: {str(error)[:300]}") from None
    return _torch_run(torch, module.eval())


def _mel_cnn(torch: Any, model: ExternalModel) -> Any:
    """Four convolution blocks (24, 48, 96, 128) on log-mels, mean and maximum pooling, one linear layer `head`."""
    nn: Any = torch.nn

    class MelCnn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            blocks, before = [], 1
            for width in (24, 48, 96, 128):
                convolution = nn.Conv2d(before, width, 3, padding=1, bias=False)
                blocks += [convolution, nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2)]
                before = width
            self.trunk, self.head = nn.Sequential(*blocks), nn.Linear(2 * before, model.output.width)

        def forward(self, mels: Any) -> Any:
            found = self.trunk((mels.transpose(1, 2)[:, None] + 40) / 40)
            return self.head(torch.cat([found.mean((2, 3)), found.amax((2, 3))], 1))

    return MelCnn()


def _wave_cnn(torch: Any, model: ExternalModel) -> Any:
    """Four convolutions (16, 32, 64, 128; kernel 9, stride 4) on the waveform, mean over time, linear `head`."""
    nn: Any = torch.nn

    class WaveCnn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            blocks, before = [], 1
            for width in (16, 32, 64, 128):
                blocks += [nn.Conv1d(before, width, 9, stride=4), nn.ReLU()]
                before = width
            self.trunk, self.head = nn.Sequential(*blocks), nn.Linear(before, model.output.width)

        def forward(self, waves: Any) -> Any:
            return self.head(self.trunk(waves[:, None]).mean(2))

    return WaveCnn()


ARCHITECTURES: dict[str, Callable[[Any, ExternalModel], Any]] = {"mel_cnn": _mel_cnn, "wave_cnn": _wave_cnn}


def _lightgbm(model: ExternalModel, folder: Path) -> Run:
    import lightgbm

    try:
        booster = lightgbm.Booster(model_file=str(folder / f"{STEM}.txt"))
    except lightgbm.basic.LightGBMError as error:
        raise WrongModel(f"{model.name}: no LightGBM text model: {error}") from None
    if booster.num_feature() != 518:
        raise WrongModel(f"{model.name}: reads {booster.num_feature()} features, the platform has 518")

    def run(rows: Windows) -> NDArray[Any]:
        found = np.asarray(booster.predict(np.asarray(rows, float), num_threads=1))
        return np.stack([1 - found, found], 1) if found.ndim == 1 else found

    return run


def _tensorflow(model: ExternalModel, folder: Path) -> Run:
    try:
        import tensorflow
    except ImportError:
        raise _missing(model, "tensorflow") from None
    try:
        loaded = tensorflow.saved_model.load(str(folder / STEM))
        serve = loaded.signatures["serving_default"]
    except Exception as error:
        raise WrongModel(f"{model.name}: no SavedModel with a serving_default signature: {str(error)[:300]}") from None
    [name] = list(serve.structured_input_signature[1])

    def run(windows: Windows) -> NDArray[Any]:
        try:
            found = serve(**{name: tensorflow.constant(windows)})
        except tensorflow.errors.OpError as error:
            raise RuntimeError(str(error)) from None
        if len(found) != 1:
            raise WrongModel(f"{model.name}: answers with {sorted(found)}, expected one output")
        return np.asarray(next(iter(found.values())).numpy())

    run.loaded = loaded  # type: ignore[attr-defined]  # its variables live as long as it does
    return run


def manifest_of(folder: Path) -> ExternalModel:
    """The manifest that lies beside a registered model."""
    return ExternalModel.model_validate(json.loads((folder / "external.json").read_text()))
