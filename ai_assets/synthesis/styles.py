"""The ten styles of the sample library: tempo, harmony, groove and instruments of each, as data.

Here belongs what makes reggae reggae. How notes are chosen from it stands in ``composition``, how they sound in
``voices`` and ``drums``. Patterns are written on a grid of sixteenths: drum lines as strings (``x`` accent, ``o`` soft,
``.`` rest), bass lines as ``(step, length, interval)``, accompaniment as ``(step, length, chord tone or None)``.
"""

from __future__ import annotations

from dataclasses import dataclass

MAJOR = (0, 2, 4, 5, 7, 9, 11)
NATURAL_MINOR = (0, 2, 3, 5, 7, 8, 10)
DORIAN = (0, 2, 3, 5, 7, 9, 10)
PHRYGIAN = (0, 1, 3, 5, 7, 8, 10)
MINOR_PENTATONIC = (0, 3, 5, 7, 10)
MAJOR_PENTATONIC = (0, 2, 4, 7, 9)
BLUES = (0, 3, 5, 6, 7, 10)

BassPattern = tuple[tuple[int, int, str], ...]
CompPattern = tuple[tuple[int, int, int | None], ...]
Rhythm = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class StyleProfile:
    """What a composer needs to know of one style.

    ``tempo`` is in beats per minute, ``swing`` the share of an eighth by which the off-beat is late, ``minor_share``
    the probability of a minor key, ``meters`` the possible beats per bar. ``loudness`` drives the final soft limiter,
    ``reverb`` is the level of the reverberation, ``levels`` the gains of melody, chords, bass and drums.
    """

    name: str
    tempo: tuple[float, float]
    energy: tuple[float, float]
    minor_share: float
    major: tuple[str, ...]
    minor: tuple[str, ...]
    major_scale: tuple[int, ...]
    minor_scale: tuple[int, ...]
    drums: tuple[dict[int, str], ...]
    kit: str
    bass: tuple[BassPattern, ...]
    comp: tuple[CompPattern, ...]
    rhythms: tuple[Rhythm, ...]
    leads: tuple[str, ...]
    chord_voices: tuple[str, ...]
    bass_voice: str
    register: int
    levels: tuple[float, float, float, float]
    reverb: float
    loudness: float
    swing: float = 0.0
    meters: tuple[int, ...] = (4,)
    drive: float = 0.0
    pump: float = 0.0


# General MIDI percussion keys, so that the MIDI file and the rendering share one alphabet.
KICK, RIM, SNARE, CLAP, HAT, OPEN_HAT, TOM, CRASH, RIDE, COWBELL, SHAKER = 36, 37, 38, 39, 42, 46, 45, 49, 51, 56, 70

_EIGHTHS = "x.o.x.o.x.o.x.o."
_SIXTEENTHS = "xooxxooxxooxxoox"
_ROOT_EIGHTHS: BassPattern = tuple((step, 2, "root") for step in range(0, 16, 2))
_WALK: BassPattern = ((0, 4, "root"), (4, 4, "third"), (8, 4, "fifth"), (12, 4, "approach"))
_OCTAVES: BassPattern = tuple((step, 2, "root" if step % 4 == 0 else "octave") for step in range(0, 16, 2))
_ROOT_FIFTH: BassPattern = ((0, 7, "root"), (8, 7, "fifth"))
_PAD: CompPattern = ((0, 16, None),)
_ARPEGGIO: CompPattern = tuple((2 * i, 3, tone) for i, tone in enumerate((0, 1, 2, 3, 2, 1, 2, 1)))
_PICKING: CompPattern = tuple((2 * i, 4, tone) for i, tone in enumerate((0, 2, 1, 3, 0, 2, 3, 1)))
_STRUM: CompPattern = ((0, 4, None), (4, 2, None), (6, 2, None), (10, 2, None), (12, 4, None))

WALTZ_BASS: BassPattern = ((0, 11, "root"),)
WALTZ_COMP: CompPattern = ((4, 3, None), (8, 3, None))

_LONG_RHYTHMS: tuple[Rhythm, ...] = (
    ((0, 6), (6, 2), (8, 8)),
    ((0, 4), (4, 4), (8, 6), (14, 2)),
    ((0, 2), (2, 2), (4, 4), (8, 8)),
)
_EIGHTH_RHYTHMS: tuple[Rhythm, ...] = (
    ((0, 2), (2, 2), (4, 4), (8, 2), (10, 2), (12, 4)),
    ((2, 2), (4, 2), (6, 2), (8, 4), (12, 2), (14, 2)),
    ((0, 3), (3, 3), (6, 2), (8, 6)),
)
_SYNCOPATED: tuple[Rhythm, ...] = (
    ((0, 3), (3, 3), (6, 4), (10, 2), (12, 4)),
    ((2, 2), (4, 3), (7, 3), (10, 6)),
    ((0, 2), (3, 2), (6, 2), (8, 2), (11, 3)),
)
_FAST: tuple[Rhythm, ...] = (
    ((0, 1), (1, 1), (2, 2), (4, 1), (5, 1), (6, 2), (8, 4), (12, 4)),
    ((0, 2), (2, 1), (3, 1), (4, 2), (6, 2), (8, 1), (9, 1), (10, 2), (12, 4)),
)

STYLES: dict[str, StyleProfile] = {
    profile.name: profile
    for profile in (
        StyleProfile(
            name="blues", tempo=(72, 112), energy=(0.3, 0.65), minor_share=0.25, swing=0.33,
            major=("I7 IV7 I7 I7 IV7 IV7 I7 V7", "I7 I7 IV7 I7 V7 IV7 I7 V7"), minor=("i7 iv7 i7 i7 iv7 iv7 i7 V7",),
            major_scale=BLUES, minor_scale=BLUES, kit="acoustic",
            drums=(
                {KICK: "x.....o.x.......", SNARE: "....x.......x...", RIDE: _EIGHTHS},
                {KICK: "x.......x.o.....", SNARE: "....x.......x..o", HAT: _EIGHTHS},
            ),
            bass=(((0, 4, "root"), (4, 4, "third"), (8, 4, "fifth"), (12, 4, "sixth")), _WALK),
            comp=(((4, 3, None), (10, 2, None)), ((0, 3, None), (6, 2, None), (12, 3, None))),
            rhythms=(((2, 2), (4, 4), (8, 2), (10, 6)), ((0, 6), (6, 2), (8, 4)), ((4, 2), (6, 2), (8, 8))),
            leads=("electric guitar", "harmonica"), chord_voices=("piano", "organ"), bass_voice="upright bass",
            register=67, levels=(0.9, 0.55, 0.8, 0.6), reverb=0.16, loudness=1.2,
        ),
        StyleProfile(
            name="classical", tempo=(66, 126), energy=(0.1, 0.5), minor_share=0.4, meters=(4, 3),
            major=("I IV V I", "I vi ii V", "I V vi IV", "I ii V I"), minor=("i iv V i", "i bVI iv V", "i bVII bVI V"),
            major_scale=MAJOR, minor_scale=NATURAL_MINOR, drums=({},), kit="acoustic",
            bass=(((0, 15, "root"),), ((0, 8, "root"), (8, 8, "fifth"))), comp=(_ARPEGGIO, _PAD),
            rhythms=_LONG_RHYTHMS + _EIGHTH_RHYTHMS[:1], leads=("violin", "flute", "grand piano"),
            chord_voices=("strings", "grand piano"), bass_voice="cello", register=74, levels=(0.9, 0.5, 0.55, 0.0),
            reverb=0.42, loudness=0.6,
        ),
        StyleProfile(
            name="disco", tempo=(112, 128), energy=(0.6, 0.95), minor_share=0.6, pump=0.25,
            major=("I vi IV V", "IV V iii7 vi7", "Imaj7 IVmaj7 ii7 V7"),
            minor=("i7 bVII bVImaj7 bVII", "i7 iv7 bVII bIIImaj7"),
            major_scale=MAJOR, minor_scale=DORIAN, kit="acoustic",
            drums=(
                {KICK: "x...x...x...x...", CLAP: "....x.......x...", OPEN_HAT: "..x...x...x...x.", HAT: _SIXTEENTHS},
                {KICK: "x...x...x...x...", SNARE: "....x.......x..o", OPEN_HAT: "..x...x...x...x.",
                 COWBELL: "x..o..x...o.x..."},
            ),
            bass=(_OCTAVES,), rhythms=_SYNCOPATED,
            comp=(((2, 1, None), (3, 1, None), (6, 2, None), (10, 1, None), (11, 1, None), (14, 2, None)), _PAD),
            leads=("strings", "brass"), chord_voices=("clean guitar", "strings"), bass_voice="finger bass",
            register=72, levels=(0.75, 0.55, 0.85, 0.75), reverb=0.2, loudness=1.7,
        ),
        StyleProfile(
            name="electronic", tempo=(118, 140), energy=(0.5, 1.0), minor_share=0.8, pump=0.6,
            major=("I V vi IV", "vi IV I V"), minor=("i bVI bIII bVII", "i i bVI bVII", "i iv bVI bVII"),
            major_scale=MAJOR, minor_scale=NATURAL_MINOR, kit="machine",
            drums=(
                {KICK: "x...x...x...x...", CLAP: "....x.......x...", HAT: "..x...x...x...x.", SHAKER: _SIXTEENTHS},
                {KICK: "x...x...x...x..o", CLAP: "....x.......x...", OPEN_HAT: "..x...x...x...x.", HAT: _SIXTEENTHS},
            ),
            bass=(tuple((s, 1, "root") for s in range(16) if s % 4), tuple((s, 2, "root") for s in range(2, 16, 4))),
            comp=(_PAD, ((0, 2, None), (3, 2, None), (6, 2, None), (10, 2, None), (13, 2, None))),
            rhythms=(tuple((s, 2) for s in (0, 3, 6, 8, 11, 14)), tuple((s, 1) for s in range(0, 16, 2))),
            leads=("square lead", "saw lead"), chord_voices=("super saw", "pad"), bass_voice="synth bass",
            register=72, levels=(0.6, 0.55, 0.8, 0.85), reverb=0.28, loudness=2.2,
        ),
        StyleProfile(
            name="folk", tempo=(84, 132), energy=(0.15, 0.5), minor_share=0.3, meters=(4, 3),
            major=("I V vi IV", "I IV I V", "I IV V I", "I bVII IV I"), minor=("i bVII bVI bVII", "i bIII bVII iv"),
            major_scale=MAJOR, minor_scale=DORIAN, kit="brushes", drums=({}, {SHAKER: "x.o.x.o.x.o.x.o."}),
            bass=(_ROOT_FIFTH,), comp=(_PICKING, _STRUM), rhythms=_EIGHTH_RHYTHMS + _LONG_RHYTHMS[:1],
            leads=("flute", "fiddle", "steel guitar"), chord_voices=("steel guitar", "nylon guitar"),
            bass_voice="upright bass", register=74, levels=(0.8, 0.75, 0.6, 0.35), reverb=0.18, loudness=0.8,
        ),
        StyleProfile(
            name="hip-hop", tempo=(78, 98), energy=(0.4, 0.8), minor_share=0.85, swing=0.16,
            major=("Imaj7 vi7 ii7 V7", "IVmaj7 iii7 ii7 Imaj7"),
            minor=("i7 bVImaj7 i7 bVImaj7", "i7 iv7 bVImaj7 v7", "i9 i9 iv7 bVII"),
            major_scale=MAJOR_PENTATONIC, minor_scale=MINOR_PENTATONIC, kit="machine",
            drums=(
                {KICK: "x.....x..ox.....", SNARE: "....x.......x...", HAT: "x.x.x.x.x.xox.x."},
                {KICK: "x..x......x..o..", CLAP: "....x.......x...", HAT: "xoxoxoxoxxxoxoxo"},
            ),
            bass=(((0, 6, "root"), (6, 4, "root"), (10, 6, "fifth")),
                  ((0, 10, "root"), (10, 3, "octave"), (13, 3, "root"))),
            comp=(((0, 7, None), (8, 7, None)), ((0, 4, None), (7, 6, None))),
            rhythms=(((0, 2), (3, 3), (8, 4)), ((4, 2), (6, 2), (8, 3), (11, 3)), ((0, 4), (6, 2), (10, 4))),
            leads=("electric piano", "square lead", "vibraphone"), chord_voices=("electric piano", "piano"),
            bass_voice="sub bass", register=69, levels=(0.55, 0.6, 1.1, 0.85), reverb=0.12, loudness=1.8,
        ),
        StyleProfile(
            name="jazz", tempo=(116, 196), energy=(0.25, 0.65), minor_share=0.35, swing=0.33,
            major=("ii7 V7 Imaj7 vi7", "Imaj7 vi7 ii7 V7", "iii7 vi7 ii7 V7"),
            minor=("iim7b5 V7 i7 i7", "i7 iv7 iim7b5 V7"),
            major_scale=MAJOR, minor_scale=DORIAN, kit="brushes",
            drums=(
                {RIDE: "x...x.o.x...x.o.", HAT: "....x.......x...", KICK: "o.........o.....",
                 SNARE: "......o........o"},
                {RIDE: "x...x.o.x...x.o.", HAT: "....x.......x...", SNARE: "...o......o....."},
            ),
            bass=(_WALK,), comp=(((0, 5, None), (6, 3, None)), ((6, 2, None), (14, 4, None)),
                               ((2, 2, None), (10, 3, None))),
            rhythms=(
                ((0, 2), (2, 2), (4, 2), (6, 2), (8, 2), (10, 6)), ((2, 2), (4, 2), (6, 4), (10, 2), (12, 2), (14, 2)),
                ((0, 6), (6, 4), (10, 2), (12, 4)),
            ),
            leads=("saxophone", "muted trumpet", "vibraphone"), chord_voices=("piano", "electric piano"),
            bass_voice="upright bass", register=70, levels=(0.85, 0.5, 0.85, 0.5), reverb=0.22, loudness=0.9,
        ),
        StyleProfile(
            name="metal", tempo=(132, 184), energy=(0.8, 1.0), minor_share=1.0, drive=9.0,
            major=("I5 bVI5 bVII5 I5",), minor=("i5 i5 bVI5 bVII5", "i5 bII5 i5 bVII5", "i5 bIII5 bVI5 bII5"),
            major_scale=PHRYGIAN, minor_scale=PHRYGIAN, kit="rock",
            drums=(
                {KICK: "xoxoxoxoxoxoxoxo", SNARE: "....x.......x...", CRASH: "x...............",
                 RIDE: "x...x...x...x..."},
                {KICK: "x.xxx.xxx.xxx.xx", SNARE: "....x.......x..x", OPEN_HAT: "x...x...x...x..."},
            ),
            bass=(tuple((s, 1, "root") for s in range(16)), _ROOT_EIGHTHS),
            comp=(
                tuple((s, 1, None) for s in range(16) if s not in (3, 11)),
                ((0, 4, None), (4, 1, None), (5, 1, None), (6, 2, None),
                 (8, 4, None), (12, 1, None), (13, 1, None), (14, 2, None)),
            ),
            rhythms=_FAST, leads=("lead guitar",), chord_voices=("power guitar",), bass_voice="pick bass",
            register=71, levels=(0.6, 0.75, 0.65, 0.8), reverb=0.08, loudness=2.8,
        ),
        StyleProfile(
            name="reggae", tempo=(66, 88), energy=(0.25, 0.55), minor_share=0.45, swing=0.12,
            major=("I IV I V", "I ii IV I", "I vi IV V"), minor=("i iv i bVII", "i bVII bVI bVII"),
            major_scale=MAJOR_PENTATONIC, minor_scale=NATURAL_MINOR, kit="acoustic",
            drums=(
                {KICK: "........x.......", RIM: "........x......o", HAT: "x.x.x.xox.x.x.x."},
                {KICK: "x.......x.......", SNARE: "........x.....o.", HAT: "..x...x...x...x."},
            ),
            bass=(((0, 3, "root"), (3, 3, "third"), (6, 4, "fifth"), (12, 3, "root")),
                  ((4, 3, "root"), (8, 2, "root"), (10, 5, "fifth"))),
            comp=(tuple((s, 1, None) for s in (4, 12)), tuple((s, 1, None) for s in (2, 6, 10, 14))),
            rhythms=_SYNCOPATED + _LONG_RHYTHMS[:1], leads=("melodica", "brass", "organ"),
            chord_voices=("clean guitar", "organ"), bass_voice="dub bass", register=69, levels=(0.6, 0.75, 1.1, 0.6),
            reverb=0.3, loudness=1.3,
        ),
        StyleProfile(
            name="rock", tempo=(104, 152), energy=(0.55, 0.9), minor_share=0.35, drive=3.0,
            major=("I5 IV5 V5 IV5", "I5 V5 vi5 IV5", "I5 bVII5 IV5 I5"),
            minor=("i5 bVI5 bIII5 bVII5", "i5 bVII5 bVI5 bVII5"),
            major_scale=MAJOR_PENTATONIC, minor_scale=MINOR_PENTATONIC, kit="rock",
            drums=(
                {KICK: "x.....x.x.......", SNARE: "....x.......x...", HAT: "x.x.x.x.x.x.x.x."},
                {KICK: "x..x....x.x.....", SNARE: "....x.......x...", RIDE: "x.x.x.x.x.x.x.x."},
            ),
            bass=(_ROOT_EIGHTHS,), comp=(tuple((s, 2, None) for s in range(0, 16, 2)), _STRUM),
            rhythms=_EIGHTH_RHYTHMS, leads=("lead guitar", "organ"), chord_voices=("crunch guitar",),
            bass_voice="pick bass", register=69, levels=(0.65, 0.65, 0.7, 0.75), reverb=0.14, loudness=2.0,
        ),
    )
}  # fmt: skip

#: Styles whose artists now and then cross over, so that neighbours in taste exist.
NEIGHBOURS = (
    ("blues", "jazz"),
    ("disco", "electronic"),
    ("hip-hop", "reggae"),
    ("metal", "rock"),
    ("classical", "folk"),
)
