"""`docs/licences.md`: the licence of every package the project installs, as its own metadata say."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parents[1]

HEAD = """# Licences of the dependencies

Written by `make docs` from the metadata of the installed packages; do not edit. The project itself is under Apache-2.0
([LICENSE](../LICENSE)). Nothing of what follows is copied into this repository; pip installs it.

Copyleft among them: `soxr`, `psycopg2-binary` (LGPL: used unchanged as libraries), `certifi`, `pathspec`, `hypothesis`,
`tqdm` (MPL-2.0: used unchanged). Wheels bring libraries of their own: `soundfile` libsndfile (LGPL-2.1), `av` FFmpeg
(LGPL-3.0) with x264 and x265 (GPL-2.0, never called here: only audio is read). Whoever hands an image with these wheels
to others hands on those terms; `av` built against an FFmpeg without them (`pip install --no-binary av av`) avoids it.
"""
# Where a package's metadata name no licence, or a whole text: what its LICENSE file says.
STATED = {
    "axe-playwright-python": "MIT, with axe-core (MPL-2.0)",
    "huey": "MIT",
    "skops": "MIT",
    "tensorflow-cpu": "Apache-2.0",
    "keras": "Apache-2.0",
    "types-pytz": "Apache-2.0",
}
SPDX = {
    r"apache.*|asl 2": "Apache-2.0",
    r"(the )?mit( license)?( \(mit\))?": "MIT",
    r"(new|3-clause|bsd[- ]3[- ]clause).*(bsd|license|clause).*": "BSD-3-Clause",
    r"bsd 2-clause.*": "BSD-2-Clause",
    r"bsd( license)?": "BSD",
    r"isc.*": "ISC",
    r"python software foundation license|psf-2.0": "PSF-2.0",
    r"mozilla public license 2.0.*": "MPL-2.0",
    r"(gnu library or lesser general public license|lgpl).*": "LGPL with exceptions",
}


def page() -> str:
    """Direct dependencies by what they are for, then what those bring along."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = {"needed always": project["dependencies"], **project["optional-dependencies"]}
    parts, named = [HEAD], {normal(project["name"])}
    for title, requirements in groups.items():
        names = [name for name in map(package, requirements) if normal(name) not in named]
        named |= {normal(name) for name in names}
        parts.append(table(title if title == "needed always" else f"extra `{title}`", names))
    pinned = [package(line) for line in (ROOT / "constraints.txt").read_text().splitlines() if line[:1].isalnum()]
    parts.append(table("brought along", [name for name in pinned if normal(name) not in named]))
    return "\n".join(parts)


def table(title: str, names: list[str]) -> str:
    rows = "".join(f"| {name} | {licence(name)} |\n" for name in sorted(names, key=str.lower))
    return f"## {title[0].upper()}{title[1:]}\n\n| package | licence |\n| --- | --- |\n{rows}"


def licence(name: str) -> str:
    """SPDX where that can be told. Raises LookupError for a package whose licence nobody knows."""
    if normal(name) in STATED:
        return STATED[normal(name)]
    about = metadata.metadata(name).json  # names in lower case, classifiers as a list
    if about.get("license_expression"):
        return str(about["license_expression"])
    line = str(about.get("license") or "").strip().split("\n")[0]
    trove = [item.split(" :: ")[-1] for item in about.get("classifier", ()) if item.startswith("License :: OSI")]
    for text in (line if len(line) < 40 else "", *trove):
        for pattern, short in SPDX.items():
            if re.fullmatch(pattern, text.strip().lower()):
                return short
        if re.fullmatch(r"[A-Z][\w.-]*( (AND|OR|WITH) [\w.-]+)*", text):
            return text
    raise LookupError(f"{name}: its metadata name no licence; state it in tools/licences.py")


def package(requirement: str) -> str:
    return re.split(r"[\[<>=~!; ]", requirement, maxsplit=1)[0]


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
