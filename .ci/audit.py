"""What the project depends on: known holes in it, and under which licences it comes. ``nox -s audit`` starts it.

Exit code 1 if a hole is known or a licence is not allowed. A database that cannot be reached is no failure, but it is
said: nothing is called free of vulnerabilities without a look-up.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import defaultdict
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.metadata import PackageMetadata

ALLOWED = (
    ("MIT", r"MIT\b", "asks only to be named"),
    ("BSD", r"BSD\b|[23]-Clause BSD\b|0BSD\b", "asks only to be named"),
    ("Apache", r"Apache\b", "asks to be named, and grants the patents"),
    ("PSF", r"PSF|Python Software Foundation\b|CNRI-Python\b", "Python's own, asks to be named"),
    ("ISC, zlib, CC0", r"ISC\b|Zlib\b|CC0-1\.0", "ask for less than MIT does"),
    ("MPL", r"MPL-2\.0|Mozilla Public License 2\.0", "binds who changes its files, and we change none"),
)
"""Name, beginning of what packages write for it, and why it may be among the dependencies of a library under MIT."""

EXCEPTIONS = {
    "livekit-local-inference": "Apache, and a model that may be used with LiveKit Agents alone, which is what brings it"
    " (extra livekit)",
}
"""Packages that come under something else, and why each of them may stay."""


def licence_of(metadata: PackageMetadata) -> str:
    """Return what a package says of its licence: its SPDX expression, else its classifiers, else any words."""
    if "License-Expression" in metadata:
        return metadata["License-Expression"]
    classifiers = [text.rpartition(" :: ")[2] for text in metadata.get_all("Classifier", []) if "License ::" in text]
    words = metadata["License"] if "License" in metadata else ""  # noqa: SIM401 - its protocol promises no get()
    return " AND ".join(classifiers) or words.strip().partition("\n")[0]


def families_of(licence: str) -> set[str]:
    """Return the names in ``ALLOWED`` that cover a licence; none if a part of it that counts is not there.

    Args:
        licence: Licences joined by AND, of which all count, or by OR, of which the first that is allowed does.
    """
    found = set()
    for part in re.split(r" AND ", licence.strip("()")):
        names = [name for word in re.split(r" OR ", part) for name, start, _ in ALLOWED if re.match(start, word)]
        if not names:
            return set()
        found.add(names[0])
    return found


def check_licences() -> int:
    """Print the packages of each licence; return how many come under one that is not allowed."""
    packages: dict[str, list[str]] = defaultdict(list)
    refused = [f"{name}: this exception is not needed" for name in EXCEPTIONS]
    for package in sorted(distributions(), key=lambda each: each.name.lower()):
        licence = licence_of(package.metadata)
        families = families_of(licence)
        for family in families:
            packages[family].append(package.name)
        if not families and package.name in EXCEPTIONS:
            refused.remove(f"{package.name}: this exception is not needed")
        elif not families:
            refused.append(f"{package.name}: {licence or 'it does not say which'}")
    for name, _, reason in ALLOWED:
        print(f"\n{name} ({reason}): {', '.join(packages[name])}")
    for name, reason in EXCEPTIONS.items():
        print(f"\n{name}: {reason}")
    for line in refused:
        print(f"\nLICENCE NOT ALLOWED  {line}")
    return len(refused)


def check_holes(lock: Path) -> int:
    """Look up every locked package in the database of known holes; return how many holes were found."""
    options = ("--requirement", str(lock), "--require-hashes", "--disable-pip", "--format", "json")
    command = [str(Path(sys.executable).with_name("pip-audit")), "--progress-spinner", "off", *options]
    result = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - the command is ours
    try:
        packages = json.loads(result.stdout)["dependencies"]
    except (ValueError, KeyError):
        print(f"KNOWN HOLES NOT LOOKED UP: the database cannot be reached. {result.stderr.strip()[-300:]}")
        return 0
    unknown = [package["name"] for package in packages if "skip_reason" in package]
    holes = [(package, hole) for package in packages for hole in package.get("vulns", [])]
    for package, hole in holes:
        print(f"HOLE  {package['name']} {package['version']}: {hole['id']}, mended in {hole['fix_versions']}")
    looked_up = len(packages) - len(unknown)
    if looked_up:
        print(f"{looked_up} of {len(packages)} packages looked up, {len(holes)} holes known.")
    if unknown:
        names = ", ".join(unknown) if looked_up else f"all {len(packages)}"
        print(f"KNOWN HOLES NOT LOOKED UP, the database does not answer for these packages: {names}")
    return len(holes)


if __name__ == "__main__":
    sys.exit(bool(check_holes(Path(sys.argv[1])) + check_licences()))
