"""German word forms. Sentences belong to the patterns."""

from __future__ import annotations

from ai_assets.content_generation.text.lexicon import NBSP, Lexicon

_GENRES = {
    "blues": "Blues",
    "classical": "Klassik",
    "country": "Country",
    "disco": "Disco",
    "electronic": "Electronic",
    "folk": "Folk",
    "funk": "Funk",
    "hip-hop": "Hip-Hop",
    "jazz": "Jazz",
    "metal": "Metal",
    "pop": "Pop",
    "reggae": "Reggae",
    "rock": "Rock",
    "techno": "Techno",
}
_MOODS = {
    "aggressive": "aggressiv",
    "calm": "ruhig",
    "dark": "düster",
    "dreamy": "verträumt",
    "energetic": "energiegeladen",
    "happy": "fröhlich",
    "melancholic": "melancholisch",
    "relaxed": "entspannt",
    "romantic": "romantisch",
    "sad": "traurig",
}
_MAJOR = {
    **{"C": "C", "D": "D", "E": "E", "F": "F", "G": "G", "A": "A", "B": "H"},
    **{"C#": "Cis", "D#": "Dis", "E#": "Eis", "F#": "Fis", "G#": "Gis", "A#": "Ais", "B#": "His"},
    **{"Cb": "Ces", "Db": "Des", "Eb": "Es", "Fb": "Fes", "Gb": "Ges", "Ab": "As", "Bb": "B"},
}


def _mood(stem: str) -> dict[str, str]:
    # "": predicative; m, f, n: nominative after "ein"; f_dat, m_dat: dative without article.
    return {"": stem, "m": stem + "er", "f": stem + "e", "n": stem + "es", "f_dat": stem + "er", "m_dat": stem + "em"}


def _energy(stem: str) -> dict[str, str]:
    return {"": f"{stem}e Energie", "dat": f"{stem}er Energie", "level_dat": f"{stem}em Energieniveau"}


LEXICON = Lexicon(
    lang="de",
    quotes=("„", "“"),
    untitled="Ohne Titel",
    unknown_artist="Unbekannt",
    decimal=",",
    thousands=".",
    unit_space=NBSP,
    # "": standing alone; m, f, n: nouns of that gender, equal in nominative, dative and accusative.
    genres={
        genre: {"": name, "m": f"{name}-Titel", "f": f"{name}-Aufnahme", "n": f"{name}-Stück"}
        for genre, name in _GENRES.items()
    },
    other_genre={
        "": "{genre}",
        "m": "Titel aus dem Genre {genre}",
        "f": "Aufnahme aus dem Genre {genre}",
        "n": "Stück aus dem Genre {genre}",
    },
    moods={mood: _mood(stem) for mood, stem in _MOODS.items()},
    energies={"low": _energy("niedrig"), "medium": _energy("mittler"), "high": _energy("hoh")},
    tempo_units={"": "BPM", "long": "Schläge pro Minute", "long_dat": "Schlägen pro Minute"},
    counts={
        "tracks": ("Titel", "Titel"),
        "tracks.dat": ("Titel", "Titeln"),
        "minutes": ("Minute", "Minuten"),
        "artists": ("Act", "Acts"),
        "artists.dat": ("Act", "Acts"),
    },
    tonics={"major": _MAJOR, "minor": {key: name.lower() for key, name in _MAJOR.items()}},
    modes={"major": "-Dur", "minor": "-Moll"},
)
