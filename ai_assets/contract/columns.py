"""What columns mean that mean the same in every table: one glossary, read where a schema says nothing of its own.

A column whose meaning, unit or range is peculiar to one table is described there, in its schema.
"""

MEANINGS = {
    # keys
    "batch": "Audio batch: one frozen list of files, named by date and digest.",
    "day": "UTC day, YYYY-MM-DD.",
    "track": "Track id; it does not depend on path or tags.",
    "listener": "Pseudonym of the listener (keyed hash); the raw id is stored nowhere.",
    "event_id": "Id of the event, unique over all files and streams.",
    "audio_hash": "sha256 of the decoded samples: the recording as read, whatever its container.",
    "file_hash": "sha256 of the file's bytes.",
    "root": "Registered root folder the path is relative to.",
    "path": "Path of the file below its root.",
    # files and tags
    "size_bytes": "Size of the file, bytes.",
    "mtime_ns": "Last change of the file, nanoseconds since 1970.",
    "title": "Title, as the file's tags or its sender say.",
    "artist": "Artist, as the file's tags or its sender say.",
    "album": "Album, as the file's tags say.",
    "genre": "Genre.",
    "year": "Year of publication, as the file's tags say.",
    "track_number": "Number on the album, as the file's tags say.",
    "mbid": "MusicBrainz recording id, as the file's tags say.",
    "isrc": "International Standard Recording Code (ISO 3901), as the file's tags say.",
    "channels": "Number of channels.",
    # events
    "position": "1-based rank in the list that was shown.",
    "skipped": "The listener skipped the track.",
    "liked": "true = liked, false = disliked (never recommended again), null = neither.",
    "source": "Where the play came from: search, playlist, recommendation, …",
    "device": "Device as the sender names it.",
    "list_id": "The list in which the track was shown.",
    "plays": "Number of plays.",
    "skips": "Number of skipped plays.",
    "likes": "Number of likes.",
    "skip_rate": "Share of plays that were skipped, 0 to 1.",
    "days_active": "Number of UTC days with at least one play.",
    "first_day": "First UTC day with a play.",
    "last_day": "Last UTC day with a play.",
    "first_played_at": "Start of the first play, UTC.",
    "last_played_at": "Start of the last play, UTC.",
    # history
    "deleted": "The file has vanished or was withdrawn; the row is kept, no answer shows it.",
    "valid_from": "From when this row held, UTC.",
    "valid_to": "Until when this row held, UTC; null = current.",
    "matched_by": "How the track was found: first (minted here), audio_hash, entered (API), recording_id, fingerprint.",
    # versions
    "feature_version": "Version and parameters of the features; another version is never mixed with it.",
    "descriptor_version": "Version and parameters of the descriptors.",
    "fingerprint_version": "Version and parameters of the fingerprint.",
    "log_mel_version": "Version and parameters of the log-mel spectra.",
    # analysis
    "tempo_confidence": "Confidence of the tempo, 0 to 1.",
    "key": 'Key as "C# minor"; enharmonic spelling with sharps.',
    "key_confidence": "Confidence of the key, 0 to 1.",
    "frames": "Number of frames.",
    "kind": "Which kind, one word.",
    "severity": "info, warning or error.",
    "value": "The measured value, in the unit of its kind.",
    "threshold": "The bound that the value passed.",
    "suggested_action": "What a person may do about it.",
    # answers
    "rank": "Place in the list, from 1.",
    "score": "Score that ordered the list, 0 to 1; comparable within one list only.",
    "reasons": "Why, in words, strongest first.",
    "reason": "Why, in words.",
    "metric": "Name of the measure.",
    "group": "Group of listeners or tracks it was measured on.",
    # generated content
    "modality": "text, cover or music.",
    "lang": "Language (ISO 639-1): en, de, fr; null where there is none.",
}
