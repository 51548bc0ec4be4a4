"""`docs/errors*.md`: every error code in three languages, from `resources/error_codes.toml`."""

from __future__ import annotations

from resources.error_codes import Language, codes

NAMES = {"en": "errors.md", "de": "errors.de.md", "fr": "errors.fr.md"}
HEADS = {
    "en": ("Error codes", "English · [Deutsch](errors.de.md) · [Français](errors.fr.md)",
           "Every refusal carries a code that never changes its meaning: under an error of the command line, in"
           " `ai-assets quarantine --json`, as `code` in an answer of the API and in an alert."
           " `ai-assets explain CODE` prints the same in the terminal. Written by `make docs` from"
           " `resources/error_codes.toml`; do not edit.",
           ("code", "where", "meaning", "remedy")),
    "de": ("Fehlercodes",
           "[English](errors.md) · Deutsch · [Français](errors.fr.md)",
           "Jede Zurückweisung trägt einen Code, dessen Bedeutung sich nie ändert: unter einem Fehler der"
           " Kommandozeile, in `ai-assets quarantine --json`, als `code` in einer Antwort der API und in einem Alarm."
           " `ai-assets explain CODE` zeigt dasselbe im Terminal. Von `make docs` aus"
           " `resources/error_codes.toml` geschrieben; nicht von Hand ändern.",
           ("Code", "wo", "Bedeutung", "Abhilfe")),
    "fr": ("Codes d’erreur", "[English](errors.md) · [Deutsch](errors.de.md) · Français",
           "Chaque refus porte un code dont le sens ne change jamais : sous une erreur de la ligne de commande, dans"
           " `ai-assets quarantine --json`, comme `code` dans une réponse de l’API et dans une alerte."
           " `ai-assets explain CODE` affiche la même chose dans le terminal. Écrit par `make docs` à partir de"
           " `resources/error_codes.toml` ; ne pas modifier à la main.",
           ("code", "où", "signification", "remède")),
}  # fmt: skip
PLACES = {
    "en": {},
    "de": {"quarantine": "Quarantäne", "command line": "Kommandozeile", "api": "API", "alert": "Alarm"},
    "fr": {"quarantine": "quarantaine", "command line": "ligne de commande", "api": "API", "alert": "alerte"},
}


def page(language: Language) -> str:
    """The whole page in one language."""
    title, others, lead, columns = HEADS[language]
    lines = [f"# {title}", "", others, "", lead, "", f"| {' | '.join(columns)} |", "| --- | --- | --- | --- |"]
    for name, code in codes().items():
        places = ", ".join(PLACES[language].get(place, place) for place in code.where.split(", "))
        lines.append(f"| `{name}` | {places} | {code.meaning(language)} | {code.remedy(language)} |")
    return "\n".join(lines) + "\n"
