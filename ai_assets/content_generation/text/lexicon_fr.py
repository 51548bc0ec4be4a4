"""French word forms. Sentences belong to the patterns."""

from __future__ import annotations

from ai_assets.content_generation.text.lexicon import NBSP, Lexicon

_GENRES = {
    "blues": ("le", "blues"),
    "classical": ("la", "musique classique"),
    "country": ("la", "country"),
    "disco": ("le", "disco"),
    "electronic": ("la", "musique électronique"),
    "folk": ("le", "folk"),
    "funk": ("le", "funk"),
    "hip-hop": ("le", "hip-hop"),
    "jazz": ("le", "jazz"),
    "metal": ("le", "metal"),
    "pop": ("la", "pop"),
    "reggae": ("le", "reggae"),
    "rock": ("le", "rock"),
    "techno": ("la", "techno"),
}
_MOODS = {
    "aggressive": ("agressif", "agressive"),
    "calm": ("calme", "calme"),
    "dark": ("sombre", "sombre"),
    "dreamy": ("rêveur", "rêveuse"),
    "energetic": ("énergique", "énergique"),
    "happy": ("joyeux", "joyeuse"),
    "melancholic": ("mélancolique", "mélancolique"),
    "relaxed": ("détendu", "détendue"),
    "romantic": ("romantique", "romantique"),
    "sad": ("triste", "triste"),
}
_NOTES = {"C": "do", "D": "ré", "E": "mi", "F": "fa", "G": "sol", "A": "la", "B": "si"}
_TONICS = {
    letter + sign: name + shown
    for letter, name in _NOTES.items()
    for sign, shown in (("", ""), ("#", " dièse"), ("b", " bémol"))
}


def _genre(article: str, name: str) -> dict[str, str]:
    # "": standing alone; de: after a noun; le: with its article; du: the article contracted with "de".
    contracted = "du" if article == "le" else "de la"
    return {"": name, "de": f"de {name}", "le": f"{article} {name}", "du": f"{contracted} {name}"}


def _energy(masculine: str, feminine: str) -> dict[str, str]:
    return {
        "": f"une énergie {feminine}",
        "level": f"un niveau d’énergie {masculine}",
        "is": f"l’énergie est {feminine}",
    }


LEXICON = Lexicon(
    lang="fr",
    quotes=("«" + NBSP, NBSP + "»"),
    untitled="Sans titre",
    unknown_artist="Artiste inconnu",
    decimal=",",
    thousands=NBSP,
    unit_space=NBSP,
    genres={genre: _genre(article, name) for genre, (article, name) in _GENRES.items()},
    other_genre={"": "{genre}", "de": "de style {genre}", "le": "le style {genre}", "du": "du style {genre}"},
    moods={mood: {"m": masculine, "f": feminine} for mood, (masculine, feminine) in _MOODS.items()},
    energies={
        "low": _energy("faible", "faible"),
        "medium": _energy("moyen", "moyenne"),
        "high": _energy("élevé", "élevée"),
    },
    tempo_units={"": "BPM", "long": "battements par minute"},
    counts={"tracks": ("titre", "titres"), "minutes": ("minute", "minutes"), "artists": ("artiste", "artistes")},
    tonics={"major": _TONICS, "minor": _TONICS},
    modes={"major": " majeur", "minor": " mineur"},
    spaced_punctuation=":;",
)
