"""Finding the same recording by its fingerprint: the error between two, and all matching pairs among many.

Belongs here: comparing fingerprints, bytes of little-endian uint32 words, one per 23 ms. Does not belong here: making
them from sound, and deciding which of two equal recordings a catalogue keeps.

Haitsma and Kalker (ISMIR 2002) look up single words that survived without an error and then count the wrong bits at
the place found; two fingerprints with fewer than 35 % wrong bits are the same recording. That holds for long
stretches: the best of all shifts of two short sounds of the same pitch (single notes, drum loops) comes down to 28 %
by itself, so that under ten seconds in common a quarter of the bits decides. Re-encoding, gain and trimming cost at
most 23 % there; when in doubt, no match.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

MATCH_ERROR = 0.35
SHORT_MATCH_ERROR = 0.25
LONG_OVERLAP = 430
# Below two seconds of common sound chance agreement is too likely.
SHORTEST_OVERLAP = 86
# Words met in more places than this say nothing about the recording (silence, a steady tone).
_MOST_PLACES = 24
_SHARE_INDEXED = 4
# Of recordings under half a minute every word is kept: they have few.
_INDEXED_WHOLE = 1300
_VOTES = 2
# Recordings under seven seconds have few words: one in common is reason enough to compare them.
_SHORT = 300
_MOST_SHORT = 200


def same_recording(a: bytes, b: bytes) -> bool:
    """Whether two fingerprints agree closely enough for what they have in common."""
    error, common = _best_shift(a, b)
    return error < (MATCH_ERROR if common >= LONG_OVERLAP else SHORT_MATCH_ERROR)


def best_offset_error(a: bytes, b: bytes) -> float:
    """The share of wrong bits (0 to 1) at the shift where two fingerprints agree best; different music lies near .45.

    Shifts count that leave at least half of the shorter fingerprint, and two seconds, in common. Frames of digital
    silence (word 0) are not compared. 1.0 when nothing is left to compare.
    """
    return _best_shift(a, b)[0]


def _best_shift(a: bytes, b: bytes) -> tuple[float, int]:
    """The smallest share of wrong bits over all shifts, and how many frames were compared there."""
    one, other = _words(a), _words(b)
    if min(len(one), len(other)) < SHORTEST_OVERLAP:
        return 1.0, 0
    from scipy.fft import irfft, next_fast_len, rfft

    size = next_fast_len(len(one) + len(other) - 1, real=True)
    spectrum = np.zeros(size // 2 + 1, dtype=np.complex128)
    signs = _signs(one), _signs(other)
    for left, right in zip(*signs, strict=True):
        spectrum += rfft(left, size) * np.conj(rfft(right, size))
    agreement = irfft(spectrum, size)
    heard = irfft(rfft(np.abs(signs[0][0]), size) * np.conj(rfft(np.abs(signs[1][0]), size)), size)
    count = np.rint(heard)
    enough = count >= max(SHORTEST_OVERLAP, min(len(one), len(other)) // 2)
    if not enough.any():
        return 1.0, 0
    error = 0.5 - 0.5 * agreement[enough] / (32.0 * count[enough])
    best = int(np.argmin(error))
    return float(np.clip(error[best], 0.0, 1.0)), int(count[enough][best])


def match_candidates(fingerprints: Mapping[str, bytes]) -> list[tuple[str, str]]:
    """All pairs of names whose fingerprints are the same recording, each pair and the list sorted.

    An inverted index proposes pairs that share words at the same shift, `same_recording` decides: the work grows
    with the number of tracks, not with the number of pairs.
    """
    names = sorted(fingerprints)
    words = [_words(fingerprints[name]) for name in names]
    pairs = sorted({*_proposals(words), *_short_pairs(words)})
    return [(names[i], names[j]) for i, j in pairs if same_recording(fingerprints[names[i]], fingerprints[names[j]])]


def _words(fingerprint: bytes) -> NDArray[np.uint32]:
    if len(fingerprint) % 4:
        raise ValueError(f"a fingerprint is a whole number of 4-byte words, got {len(fingerprint)} bytes")
    return np.frombuffer(fingerprint, dtype="<u4").astype(np.uint32)


def _signs(words: NDArray[np.uint32]) -> NDArray[np.float64]:
    """Bits (32, words) as -1 and 1; 0 for silence."""
    bits = (words[None, :] >> np.arange(32, dtype=np.uint32)[:, None]) & 1
    return np.where(words == 0, 0.0, 2.0 * bits - 1.0)


def _proposals(tracks: list[NDArray[np.uint32]]) -> list[tuple[int, int]]:
    """Pairs of track numbers that share at least two words at the same shift (one, if either is short)."""
    words, owners, places = _indexed(tracks)
    order = np.argsort(words, kind="stable")
    words, owners, places = words[order], owners[order], places[order]
    _, size = np.unique(words, return_counts=True)
    telling = np.repeat((size > 1) & (size <= _MOST_PLACES), size)
    words, owners, places = words[telling], owners[telling], places[telling]
    keys = []
    for distance in range(1, _MOST_PLACES):
        same = np.flatnonzero((words[:-distance] == words[distance:]) & (owners[:-distance] != owners[distance:]))
        if not len(same):
            continue
        shift = places[same] - places[same + distance]
        # Owners rise within a word, because the sort is stable: the first is always the smaller.
        pair = owners[same] * len(tracks) + owners[same + distance]
        keys.append(np.stack([pair, shift], axis=1))
    if not keys:
        return []
    found, votes = np.unique(np.concatenate(keys), axis=0, return_counts=True)
    short = np.array([len(track) < _SHORT for track in tracks])
    first, second = np.divmod(found[:, 0], len(tracks))
    enough = (votes >= _VOTES) | short[first] | short[second]
    return [divmod(int(pair), len(tracks)) for pair in np.unique(found[enough, 0])]


def _short_pairs(tracks: list[NDArray[np.uint32]]) -> list[tuple[int, int]]:
    """All pairs of short recordings, unless there are too many: after re-encoding they may have no word in common."""
    short = [number for number, track in enumerate(tracks) if SHORTEST_OVERLAP <= len(track) < _SHORT]
    return list(combinations(short, 2)) if len(short) <= _MOST_SHORT else []


def _indexed(tracks: list[NDArray[np.uint32]]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """A quarter of the words of a track (all of a short one), chosen by their value, with track number and place."""
    words, owners, places = [], [], []
    for number, track in enumerate(tracks):
        hashed = (track * np.uint32(2654435761)) >> np.uint32(24)
        fresh = np.concatenate(([True], track[1:] != track[:-1])) if len(track) else np.zeros(0, dtype=bool)
        telling = hashed % _SHARE_INDEXED == 0 if len(track) > _INDEXED_WHOLE else True
        place = np.flatnonzero(telling & fresh & (track != 0))
        words.append(track[place])
        owners.append(np.full(len(place), number, dtype=np.int64))
        places.append(place.astype(np.int64))
    if not words:
        return np.zeros(0, dtype=np.uint32), np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    return np.concatenate(words), np.concatenate(owners), np.concatenate(places)
