"""Models from elsewhere: tiny ones of every kind, through registry and tables, against direct inference; bad ones refused."""

from __future__ import annotations

import io
import json
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile

from ai_assets.audio_analysis import external_columns, schemas
from ai_assets.contract import rejection
from ai_assets.contract.errors import PermanentError
from ai_assets.contract.validation import validate
from ai_assets.model_training import external_models
from ai_assets.model_training.external_manifest import ExternalModel, content_digest, read_manifest
from ai_assets.model_training.external_runtimes import ARCHITECTURES
from resources.mlflow_tracking import prepare
from resources.platform import Platform
from resources.settings import load_settings

RATE, SECONDS = 8_000, 0.5
SAMPLES = int(RATE * SECONDS)
LABELS = ["calm", "loud", "odd"]


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Platform:
    made = Platform(load_settings(home=tmp_path_factory.mktemp("home")))
    made.home.make()
    made.database.prepare()
    prepare(made.home.mlflow)
    return made


@pytest.fixture(scope="module")
def recordings(platform: Platform) -> pd.DataFrame:
    """Three recordings of 1.3, 0.2 and 3 s in the landing folder, with features and log-mels."""
    rng = np.random.default_rng(0)
    rows = []
    for number, seconds in enumerate((1.3, 0.2, 3.0)):
        samples = 0.3 * rng.standard_normal(int(RATE * seconds)).astype(np.float32)
        path = platform.home.landing_audio / f"{number}.wav"
        soundfile.write(path, samples, RATE, subtype="FLOAT")
        mel = rng.normal(-40, 10, (int(43 * seconds), 64)).astype(np.float16)
        buffer = io.BytesIO()
        np.save(buffer, mel)
        rows.append({"audio_hash": f"h{number}", "root": "landing/audio", "path": path.name,
                     "features": rng.normal(size=518), "blob": platform.blobs.put(buffer.getvalue(), ".npy")})  # fmt: skip
    return pd.DataFrame(rows)


def _manifest(name: str, runtime: str, source: Path, **changes: Any) -> ExternalModel:
    declared: dict[str, Any] = {
        "name": name, "runtime": runtime, "source": str(source), "sha256": content_digest(source),
        "licence": "Apache-2.0",
        "input": {"kind": "waveform", "sample_rate": RATE, "window_seconds": SECONDS, "hop_seconds": 0.25, "batch": 2},
        "output": {"kind": "classes", "labels": LABELS, "scores": "logits"},
    } | changes  # fmt: skip
    return ExternalModel.model_validate(declared)


def _onnx(folder: Path, width: int = 3) -> Path:
    import onnx
    from onnx import TensorProto, helper

    rng = np.random.default_rng(1)
    weights = rng.normal(size=(SAMPLES, width)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", SAMPLES])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", width])],
        [helper.make_tensor("w", TensorProto.FLOAT, weights.shape, weights.ravel())],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, folder / "tiny.onnx")
    return folder / "tiny.onnx"


def _torch_module(name: str, model: ExternalModel) -> Any:
    import torch

    torch.manual_seed(0)
    return ARCHITECTURES[name](torch, model).eval()


def _softmax(values: np.ndarray) -> np.ndarray:
    shares = np.exp(values - values.max(1, keepdims=True))
    return shares / shares.sum(1, keepdims=True)


def _windows(recording: Any, platform: Platform) -> np.ndarray:
    """The windows of a recording, cut here by hand: 0.5 s every 0.25 s, a short one filled with zeros."""
    samples, _ = soundfile.read(platform.home.landing_audio / recording.path, dtype="float32")
    if len(samples) < SAMPLES:
        return np.pad(samples, (0, SAMPLES - len(samples)))[None]
    return np.stack([samples[at : at + SAMPLES] for at in range(0, len(samples) - SAMPLES + 1, SAMPLES // 2)])


def _filled(model: ExternalModel, recordings: pd.DataFrame, platform: Platform) -> pd.DataFrame:
    """The model added, and its columns for the recordings, as the assets make them."""
    external_models.add(model, Path.cwd(), platform.registry)
    models = external_models.models_frame(platform.registry)
    models = models[models["name"] == model.name]
    rows = recordings[["audio_hash"]].assign(batch="b")[["batch", "audio_hash"]]
    if model.output.kind == "classes":
        rows = rows.assign(genre=None, probability=np.nan, best_guess=None, model=None)
    else:
        rows = rows.assign(vector=[np.ones(1, np.float32)] * len(rows), model="track_embedder/1")
    with rejection.collecting():
        found = external_columns.with_external(rows, models, model.output.kind, recordings, platform)
    schema = schemas.TrackTags if model.output.kind == "classes" else schemas.AudioEmbeddings
    frame, verdict = validate(found, schema)
    assert verdict.passed, verdict.description
    assert set(frame[f"model_{model.name}"]) == {f"{model.name}/1"}
    return frame


def _agrees(frame: pd.DataFrame, name: str, direct: list[np.ndarray]) -> None:
    expected = [_softmax(each).mean(0) for each in direct]
    np.testing.assert_allclose(frame[f"probability_{name}"], [each.max() for each in expected], rtol=1e-4)
    assert frame[f"label_{name}"].tolist() == [LABELS[each.argmax()] for each in expected]


def test_an_onnx_model_fills_its_column_as_direct_inference_does(
    platform: Platform, recordings: pd.DataFrame, tmp_path: Path
) -> None:
    ort = pytest.importorskip("onnxruntime")
    model = _manifest("tiny_onnx", "onnx", _onnx(tmp_path))
    frame = _filled(model, recordings, platform)
    session = ort.InferenceSession(str(tmp_path / "tiny.onnx"), providers=["CPUExecutionProvider"])
    direct = [session.run(None, {"x": _windows(row, platform)})[0] for row in recordings.itertuples()]
    _agrees(frame, "tiny_onnx", direct)


def test_safetensors_of_a_named_architecture_fill_a_vector_column(
    platform: Platform, recordings: pd.DataFrame, tmp_path: Path
) -> None:
    import torch
    from safetensors.torch import save_file

    (tmp_path / "w.safetensors").write_bytes(b"")
    output = {"kind": "embedding", "dim": 6}
    draft = _manifest("tiny_wave", "safetensors", tmp_path / "w.safetensors", architecture="wave_cnn", output=output)
    module = _torch_module("wave_cnn", draft)
    save_file(module.state_dict(), tmp_path / "w.safetensors")
    model = _manifest("tiny_wave", "safetensors", tmp_path / "w.safetensors", architecture="wave_cnn", output=output)
    frame = _filled(model, recordings, platform)
    with torch.no_grad():
        for row, vector in zip(recordings.itertuples(), frame["vector_tiny_wave"], strict=True):
            direct = module(torch.from_numpy(_windows(row, platform))).numpy().mean(0)
            np.testing.assert_allclose(vector, direct, rtol=1e-4, atol=1e-6)


def test_a_torch_export_archive_on_log_mels_fills_its_column(
    platform: Platform, recordings: pd.DataFrame, tmp_path: Path
) -> None:
    import torch

    given = {"kind": "log_mel", "window_seconds": 0.5, "hop_seconds": 0.5, "batch": 4}
    source = _exported(tmp_path, given)
    frame = _filled(_manifest("tiny_pt2", "torch_export", source, input=given), recordings, platform)
    module = torch.export.load(source).module()
    direct = []
    for row in recordings.itertuples():
        mel = np.load(platform.blobs.path(row.blob)).astype(np.float32)
        mel = np.pad(mel, ((0, max(0, 22 - len(mel))), (0, 0)), constant_values=-100.0)
        windows = np.stack([mel[at : at + 22] for at in range(0, len(mel) - 21, 22)])
        with torch.no_grad():
            direct.append(module(torch.from_numpy(windows)).numpy())
    _agrees(frame, "tiny_pt2", direct)


def _exported(folder: Path, given: dict[str, Any]) -> Path:
    import torch

    (folder / "empty").write_bytes(b"")
    module = _torch_module("mel_cnn", _manifest("x", "onnx", folder / "empty", input=given))
    example = torch.zeros(2, 22, 64)
    program = torch.export.export(module, (example,), dynamic_shapes=({0: torch.export.Dim("n", min=1, max=64)},))
    torch.export.save(program, folder / "m.pt2")
    return folder / "m.pt2"


def test_a_lightgbm_text_model_reads_the_platforms_features(
    platform: Platform, recordings: pd.DataFrame, tmp_path: Path
) -> None:
    import lightgbm

    rng = np.random.default_rng(0)
    data = lightgbm.Dataset(rng.normal(size=(120, 518)), rng.integers(0, 3, 120))
    settings = {"objective": "multiclass", "num_class": 3, "verbose": -1, "num_threads": 1, "num_leaves": 4}
    booster = lightgbm.train(settings, data, num_boost_round=3)
    booster.save_model(tmp_path / "m.txt")
    output = {"kind": "classes", "labels": LABELS}
    model = _manifest("tiny_trees", "lightgbm", tmp_path / "m.txt", input={"kind": "features"}, output=output)
    frame = _filled(model, recordings, platform)
    rows = np.array(recordings["features"].tolist()).astype(np.float32).astype(float)
    direct = np.asarray(booster.predict(rows))
    np.testing.assert_allclose(frame["probability_tiny_trees"], direct.max(1), rtol=1e-6)
    assert frame["label_tiny_trees"].tolist() == [LABELS[each.argmax()] for each in direct]


def _wav2vec(folder: Path, kind: str) -> Path:
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.Wav2Vec2Config(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, conv_dim=(8, 8),
        conv_stride=(5, 4), conv_kernel=(10, 8), num_feat_extract_layers=2, num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2, classifier_proj_size=8, num_labels=3, vocab_size=8,
        id2label=dict(enumerate(LABELS)), label2id={name: at for at, name in enumerate(LABELS)},
    )  # fmt: skip
    network = getattr(transformers, kind)(config)
    network.save_pretrained(folder, safe_serialization=True)
    transformers.Wav2Vec2FeatureExtractor(sampling_rate=RATE, do_normalize=True).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", ["Wav2Vec2ForSequenceClassification", "Wav2Vec2Model"])
def test_a_transformers_model_agrees_with_transformers(
    platform: Platform, recordings: pd.DataFrame, tmp_path: Path, kind: str
) -> None:
    import torch
    import transformers

    source = _wav2vec(tmp_path / "hf", kind)
    classes = kind.endswith("Classification")
    name = "tiny_hf" if classes else "tiny_hf_vectors"
    change = {} if classes else {"output": {"kind": "embedding", "dim": 16}}
    frame = _filled(_manifest(name, "transformers", source, **change), recordings, platform)
    network = getattr(transformers, kind).from_pretrained(source).eval()
    reader = transformers.AutoFeatureExtractor.from_pretrained(source)
    direct = []
    with torch.no_grad():
        for row in recordings.itertuples():
            given = reader(list(_windows(row, platform)), sampling_rate=RATE, return_tensors="pt", padding=True)
            found = network(**given)
            direct.append((found.logits if classes else found.last_hidden_state.mean(1)).numpy())
    if classes:
        _agrees(frame, name, direct)
    else:
        for vector, each in zip(frame[f"vector_{name}"], direct, strict=True):
            np.testing.assert_allclose(vector, each.mean(0), rtol=1e-3, atol=1e-5)


@pytest.mark.team
def test_a_saved_model_agrees_with_tensorflow(platform: Platform, recordings: pd.DataFrame, tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")
    # TensorFlow and torch share this process badly: the model is made and asked in another one.
    windows = [_windows(row, platform) for row in recordings.itertuples()]
    np.savez(tmp_path / "windows.npz", *windows)
    script = f"""
import numpy as np, tensorflow as tf
class M(tf.Module):
    def __init__(self):
        self.w = tf.Variable(np.random.default_rng(0).normal(size=({SAMPLES}, 3)).astype("float32"))
    @tf.function(input_signature=[tf.TensorSpec([None, {SAMPLES}], tf.float32)])
    def __call__(self, x):
        return {{"scores": tf.matmul(x, self.w)}}
m = M()
tf.saved_model.save(m, {str(tmp_path / "tf")!r}, signatures=m.__call__)
with np.load({str(tmp_path / "windows.npz")!r}) as d:
    np.savez({str(tmp_path / "direct.npz")!r}, *[m(d[k])["scores"].numpy() for k in d.files])
"""
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
    frame = _filled(_manifest("tiny_tf", "tensorflow", tmp_path / "tf"), recordings, platform)
    with np.load(tmp_path / "direct.npz") as held:
        _agrees(frame, "tiny_tf", [held[name] for name in held.files])


def test_a_model_is_added_from_the_registry_and_twice_is_once(platform: Platform, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    source = _onnx(tmp_path)
    held = tmp_path / "folder"
    held.mkdir()
    (held / "graph.onnx").write_bytes(source.read_bytes())
    version = platform.registry.log_model("theirs", held)
    model = _manifest("from_registry", "onnx", source).model_copy(
        update={"source": f"models:/theirs/{version.version}"}
    )
    first = external_models.add(model, tmp_path, platform.registry)
    assert external_models.add(model, tmp_path, platform.registry).version == first.version
    assert first.tags["licence"] == "Apache-2.0"


class Evil:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return Path.touch, (Path("/tmp/never-made-by-a-model"),)  # type: ignore[return-value]


def _refused(model: ExternalModel, platform: Platform) -> str:
    with pytest.raises(PermanentError) as caught:
        external_models.add(model, Path.cwd(), platform.registry)
    assert not platform.registry.versions(model.name), "nothing is registered"
    return str(caught.value)


def test_what_is_not_as_declared_is_refused_with_the_reason(platform: Platform, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    source = _onnx(tmp_path)
    assert "sha256" in _refused(_manifest("bad", "onnx", source, sha256="0" * 64), platform)
    wide = {"kind": "embedding", "dim": 7}
    assert "answers with shape" in _refused(_manifest("bad", "onnx", source, output=wide), platform)
    long = {"kind": "waveform", "sample_rate": RATE, "window_seconds": 2}
    assert "does not take input of shape" in _refused(_manifest("bad", "onnx", source, input=long), platform)
    plain = {"kind": "classes", "labels": LABELS, "scores": "probabilities"}
    assert "no probabilities" in _refused(_manifest("bad", "onnx", source, output=plain), platform)
    (tmp_path / "no.onnx").write_bytes(b"\x08 no model")
    assert "no ONNX model" in _refused(_manifest("bad", "onnx", tmp_path / "no.onnx"), platform)
    folder = _wav2vec(tmp_path / "hf", "Wav2Vec2ForSequenceClassification")
    other = {"kind": "classes", "labels": [*LABELS[:2], "else"], "scores": "logits"}
    assert "its labels are" in _refused(_manifest("bad", "transformers", folder, output=other), platform)


@pytest.mark.parametrize("runtime", ["onnx", "safetensors", "lightgbm", "torch_export"])
def test_a_pickle_is_refused_whatever_it_is_called(platform: Platform, tmp_path: Path, runtime: str) -> None:
    source = tmp_path / {"onnx": "m.onnx", "safetensors": "m.safetensors", "lightgbm": "m.txt", "torch_export": "m.pt2"}[runtime]  # fmt: skip
    source.write_bytes(pickle.dumps(Evil()))
    change: dict[str, Any] = {"architecture": "mel_cnn"} if runtime == "safetensors" else {}
    if runtime == "lightgbm":
        change = {"input": {"kind": "features"}}
    message = _refused(_manifest("evil", runtime, source, **change), platform)
    assert "pickle" in message or "no torch.export archive" in message


def test_a_pickle_inside_an_archive_or_a_folder_is_refused(platform: Platform, tmp_path: Path) -> None:
    good = _exported(tmp_path, {"kind": "log_mel", "window_seconds": 0.5})
    canary = Path("/tmp/never-made-by-a-model")
    canary.unlink(missing_ok=True)
    for planted in ("m/data/sample_inputs/model.pt", "m/data/constants/evil.pt", "m/data/weights/weight_0"):
        evil = tmp_path / "evil.pt2"
        with zipfile.ZipFile(good) as held, zipfile.ZipFile(evil, "w") as made:
            for name in held.namelist():
                if name != planted:
                    made.writestr(name, held.read(name))
            made.writestr(planted, pickle.dumps(Evil()))
        message = _refused(_manifest("evil", "torch_export", evil, input={"kind": "log_mel", "window_seconds": 0.5}), platform)  # fmt: skip
        assert "pickle" in message, planted
    folder = _wav2vec(tmp_path / "hf", "Wav2Vec2Model")
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Evil()))
    assert "pickle" in _refused(_manifest("evil", "transformers", folder), platform)
    assert not canary.exists()


def test_the_worker_starts_without_the_platform() -> None:
    code = (
        "import sys, ai_assets.audio_analysis.external_answer\n"
        "print({'dagster', 'mlflow', 'pandas', 'sqlalchemy', 'torch'} & set(sys.modules) or '')"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == ""


def test_a_recording_that_the_model_fails_on_is_put_aside_and_the_others_are_filled(
    platform: Platform, recordings: pd.DataFrame, tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime")
    model = _manifest("partly", "onnx", _onnx(tmp_path))
    external_models.add(model, tmp_path, platform.registry)
    gone = pd.concat([recordings, recordings.head(1).assign(audio_hash="h9", path="gone.wav")])
    with rejection.collecting() as sink:
        found = external_columns.answers_of(
            model, str(platform.registry.fetch("partly")), gone.set_index("audio_hash"), platform
        )
    assert set(found) == {"h0", "h1", "h2"}
    [rejected] = sink.rejected
    assert rejected.source.endswith("gone.wav") and rejected.table == "partly"


def test_manifests_name_the_wrong_field(tmp_path: Path) -> None:
    def refused(text: str) -> str:
        (tmp_path / "m.toml").write_text(text)
        with pytest.raises(PermanentError) as caught:
            read_manifest(tmp_path / "m.toml")
        return str(caught.value)

    assert "no readable manifest" in refused("name = ")
    assert "sha256" in refused('name = "a"\nruntime = "onnx"\nsource = "m.onnx"\nlicence = "MIT"\n')
    good = {
        "name": "a", "runtime": "onnx", "source": "m", "sha256": "0" * 64, "licence": "MIT",
        "input": {"kind": "waveform"}, "output": {"kind": "embedding", "dim": 3},
    }  # fmt: skip
    for change, word in (
        ({"runtime": "pickle"}, "runtime"),
        ({"architecture": "mel_cnn"}, "architecture"),
        ({"output": {"kind": "classes", "labels": ["one"]}}, "two labels"),
        ({"output": {"kind": "embedding"}}, "dim"),
        ({"name": "../x"}, "name"),
    ):
        path = tmp_path / "m.json"
        path.write_text(json.dumps(good | change))
        with pytest.raises(PermanentError, match=word):
            read_manifest(path)
