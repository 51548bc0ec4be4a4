"""Key profiles: how often each scale degree sounds in a major and in a minor key.

Belongs here: published profile values with their source, the 24 key names, and reading a key tag. Does not belong here:
the estimate (`tonality`).

`bgate` is from Á. Faraldo, S. Jordà and P. Herrera, "A Multi-Profile Method for Key Estimation in EDM", AES
International Conference on Semantic Audio, Erlangen 2017: the median pitch class profile of each mode over the BeatPort
data set, its four least relevant degrees set to zero. The values are those of the first author's code for that paper
(GitHub anxefaraldo/edmkey, `template_matching.py` at 3e55b748) and agree to the last digit with Essentia's `Key`
algorithm (GitHub MTG/essentia, `src/algorithms/tonal/key.cpp`), whose default profile it is. `krumhansl` is from C.
Krumhansl and E. Kessler, Psychological Review 89, 1982 (probe tone ratings): the usual baseline.
"""

from __future__ import annotations

import re
from typing import Literal

import numpy as np
from numpy.typing import NDArray

ProfileName = Literal["bgate", "krumhansl"]

PITCH_CLASSES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
KEY_NAMES = tuple(f"{tonic} {mode}" for mode in ("major", "minor") for tonic in PITCH_CLASSES)

# One weight per semitone above the tonic: (major, minor).
PROFILES: dict[ProfileName, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "bgate": (
        (1.00, 0.00, 0.42, 0.00, 0.53, 0.37, 0.00, 0.77, 0.00, 0.38, 0.21, 0.30),
        (1.00, 0.00, 0.36, 0.39, 0.00, 0.38, 0.00, 0.74, 0.27, 0.00, 0.42, 0.23),
    ),
    "krumhansl": (
        (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88),
        (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17),
    ),
}


def key_templates(profile: ProfileName = "bgate") -> NDArray[np.float64]:
    """The profile rotated to all 24 keys: (24, 12), rows in the order of `KEY_NAMES`, columns from pitch class C."""
    major, minor = PROFILES[profile]
    return np.array([np.roll(each, tonic) for each in (major, minor) for tonic in range(12)])


_FLATS = {"Db": "C#", "Eb": "D#", "Gb": "F#", "Ab": "G#", "Bb": "A#", "Cb": "B", "Fb": "E", "E#": "F", "B#": "C"}
# The wheel of fifths that disc jockeys' software writes: 8B = C major, 8A = A minor, a step up = a fifth up.
_WHEEL_MAJOR_8, _WHEEL_MINOR_8 = 0, 9


def parse_key(text: str) -> str | None:
    """A key tag as one of `KEY_NAMES`, or None; reads "Am", "C# minor", "Db", "Bb maj", "8A" (Camelot)."""
    wheel = re.fullmatch(r"\s*(1[0-2]|[1-9])\s*([ABab])\s*", text)
    if wheel:
        minor = wheel.group(2).upper() == "A"
        tonic = (_WHEEL_MINOR_8 if minor else _WHEEL_MAJOR_8) + 7 * (int(wheel.group(1)) - 8)
        return KEY_NAMES[tonic % 12 + (12 if minor else 0)]
    named = re.fullmatch(r"\s*([A-Ga-g])\s*([#♯b♭]?)\s*[-_ ]?\s*(m|min|minor|M|maj|major|)\s*", text)
    if named is None:
        return None
    tonic_name = named.group(1).upper() + named.group(2).replace("♯", "#").replace("♭", "b")
    mode = "minor" if named.group(3) in ("m", "min", "minor") else "major"
    return f"{_FLATS.get(tonic_name, tonic_name)} {mode}"


def key_distance(one: str, other: str) -> int:
    """Steps between two of `KEY_NAMES` on the circle of fifths, a key and its relative counting as one step apart.

    0 same, 1 a fifth away or relative (what listeners confuse), more: other keys; parallel keys are 4 apart.
    """
    first, second = KEY_NAMES.index(one), KEY_NAMES.index(other)
    major = [(index % 12 + (3 if index >= 12 else 0)) * 7 % 12 for index in (first, second)]
    around = (major[0] - major[1]) % 12
    return min(around, 12 - around) + int((first >= 12) != (second >= 12))
