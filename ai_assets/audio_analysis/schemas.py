"""The promises of the audio tables: columns, types, ranges, units."""

import pandera.pandas as pa
from pandera.typing import Series

from ai_assets.audio_status import STATUSES

SEVERITIES = ["info", "warning", "error"]


class Strict(pa.DataFrameModel):
    """Base of all tables: exactly these columns, values coerced to their types."""

    class Config:
        strict = True
        coerce = True


class AudioQuality(Strict):
    """One row per file of a batch: how reading it ended."""

    batch: Series[str]
    root: Series[str]
    path: Series[str]
    file_hash: Series[str]
    status: Series[str] = pa.Field(isin=STATUSES, description="How the decode ended; ok and short are accepted.")
    reason: Series[str] = pa.Field(description="Why the status is not ok.")
    detected_format: Series[str] = pa.Field(nullable=True, description="By content, not by suffix.")
    sample_rate: Series[float] = pa.Field(nullable=True, description="Hz.")
    channels: Series[float] = pa.Field(nullable=True)
    declared_seconds: Series[float] = pa.Field(nullable=True, description="What the header claims, seconds.")
    duration_seconds: Series[float] = pa.Field(ge=0, description="What was read, seconds.")
    nonfinite_samples: Series[int] = pa.Field(ge=0, description="Samples that were no numbers; replaced by zero.")
    audio_hash: Series[str] = pa.Field(nullable=True, description="sha256 of the decoded samples.")
    waveform: Series[object] = pa.Field(
        nullable=True, metadata={"arrow": "list<float>"}, description="Envelope: minima, then maxima."
    )
    findings: Series[str] = pa.Field(
        description="Defects measured in the signal, as JSON; audio_anomalies unfolds them."
    )


class AudioFeatures(Strict):
    """The 518 values of the FMA feature set (Defferrard et al., 2017), one row per readable, audible file."""

    batch: Series[str]
    audio_hash: Series[str]
    feature_version: Series[str]
    features: Series[object] = pa.Field(
        metadata={"arrow": "list<double>"}, description="518 values, in the order of FEATURE_NAMES."
    )


class AudioDescriptors(Strict):
    """What people ask of a recording, each with its confidence; null for silence."""

    batch: Series[str]
    audio_hash: Series[str]
    tempo_bpm: Series[float] = pa.Field(nullable=True, ge=20, le=400, description="Beats per minute.")
    tempo_confidence: Series[float] = pa.Field(nullable=True, ge=0, le=1)
    tempo_alternative_bpm: Series[float] = pa.Field(nullable=True, description="The stronger of half and double.")
    onset_rate_hz: Series[float] = pa.Field(nullable=True, ge=0, description="Onsets per second.")
    key: Series[str] = pa.Field(nullable=True, str_matches=r"^[A-G]#? (major|minor)$")
    key_confidence: Series[float] = pa.Field(nullable=True, ge=0, le=1)
    loudness_lufs: Series[float] = pa.Field(nullable=True, description="EBU R128 integrated loudness, LUFS.")
    loudness_range_lu: Series[float] = pa.Field(nullable=True, ge=0, description="EBU Tech 3342, LU.")
    true_peak_dbtp: Series[float] = pa.Field(nullable=True, description="dBTP, four times oversampled.")
    dynamic_range_db: Series[float] = pa.Field(nullable=True, description="dB.")
    energy_index: Series[float] = pa.Field(nullable=True, ge=0, le=1, description="Our index, not a measured quantity.")
    danceability_index: Series[float] = pa.Field(nullable=True, description="Detrended fluctuation analysis.")
    descriptor_version: Series[str]
    null_reason: Series[str] = pa.Field(description="Why values are absent.")


class AudioFingerprints(Strict):
    """Sub-fingerprints that find the same recording again across formats (Haitsma and Kalker, 2002)."""

    batch: Series[str]
    audio_hash: Series[str]
    fingerprint: Series[str] = pa.Field(description="Hexadecimal.")
    fingerprint_version: Series[str]


class LogMels(Strict):
    """Log-mel spectra for the neural embedding; the arrays lie as blobs."""

    batch: Series[str]
    audio_hash: Series[str]
    blob: Series[str] = pa.Field(description="Name of the float16 array (frames, 64).")
    frames: Series[int] = pa.Field(ge=1)
    log_mel_version: Series[str]


class AudioAnomalies(Strict):
    """Findings: defects measured in the signal, and recordings that are far from the catalogue."""

    batch: Series[str]
    root: Series[str]
    path: Series[str]
    audio_hash: Series[str] = pa.Field(nullable=True)
    kind: Series[str]
    severity: Series[str] = pa.Field(isin=SEVERITIES)
    time: Series[float] = pa.Field(nullable=True, description="Where, in seconds.")
    value: Series[float] = pa.Field(nullable=True)
    threshold: Series[float] = pa.Field(nullable=True)
    suggested_action: Series[str]
    model: Series[str] = pa.Field(description="Version that found it.")


class TrackTags(Strict):
    """Classes recognised in the sound, with their probability; no genre where the classifier abstains."""

    batch: Series[str]
    audio_hash: Series[str]
    genre: Series[str] = pa.Field(nullable=True)
    probability: Series[float] = pa.Field(nullable=True, ge=0, le=1, description="Of the most likely class.")
    best_guess: Series[str] = pa.Field(nullable=True, description="The most likely class, also below the threshold.")
    model: Series[str] = pa.Field(nullable=True, description="Version of the classifier; null before there is one.")
    external_label: Series[str] | None = pa.Field(
        alias=r"^label_[a-z][a-z0-9_]*$", regex=True, nullable=True, description="Most likely class of an added model."
    )
    external_probability: Series[float] | None = pa.Field(
        alias=r"^probability_[a-z][a-z0-9_]*$", regex=True, nullable=True, ge=0, le=1,
        description="Of the class that an added model names.",
    )  # fmt: skip
    external_model: Series[str] | None = pa.Field(
        alias=r"^model_[a-z][a-z0-9_]*$", regex=True, nullable=True, description="Version of the added model."
    )


class AudioEmbeddings(Strict):
    """A unit vector per recording: near vectors sound alike."""

    batch: Series[str]
    audio_hash: Series[str]
    vector: Series[object] = pa.Field(metadata={"arrow": "list<float>"}, description="L2-normalised.")
    model: Series[str] = pa.Field(description="Version of the embedding.")
    external_vector: Series[object] | None = pa.Field(
        alias=r"^vector_[a-z][a-z0-9_]*$", regex=True, nullable=True, metadata={"arrow": "list<float>"},
        description="Embedding by an added model, as it answers.",
    )  # fmt: skip
    external_model: Series[str] | None = pa.Field(
        alias=r"^model_[a-z][a-z0-9_]*$", regex=True, nullable=True, description="Version of the added model."
    )
