"""Write ``config/providers.schema.json``, with which an editor completes and checks a configuration file.

python -m adapters.config.schema            writes it
python -m adapters.config.schema --check    fails if it does not match the models
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters.config.file import Config
from adapters.config.kinds import KINDS
from adapters.config.provider import WITH_FALLBACKS

if TYPE_CHECKING:
    from adapters.config.kinds import Kind, KindName

SCHEMA_FILE = Path(__file__).parents[2] / "config" / "providers.schema.json"


def make_schema() -> dict[str, Any]:
    """Return the JSON schema of a configuration file."""
    schema = Config.model_json_schema()
    provider = schema["$defs"]["ProviderConfig"]
    del provider["properties"]["name"]  # in a file, the key of the entry is its name
    provider["allOf"] = [_requirement(name, kind) for name, kind in KINDS.items() if not kind.model]
    provider["dependentRequired"] = {name: ["fallbacks"] for name in WITH_FALLBACKS}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _requirement(name: KindName, kind: Kind) -> dict[str, Any]:
    required = ["model"] if kind.base_url or kind.routed else ["model", "base_url"]
    return {"if": {"properties": {"kind": {"const": name}}, "required": ["kind"]}, "then": {"required": required}}


def main(arguments: list[str]) -> int:
    """Write the file, or check it; return the exit code."""
    text = json.dumps(make_schema(), indent=2) + "\n"
    if arguments == ["--check"]:
        if SCHEMA_FILE.is_file() and SCHEMA_FILE.read_text(encoding="utf-8") == text:
            return 0
        sys.stderr.write(f"{SCHEMA_FILE.name} is stale. Run: nox -s schema\n")
        return 1
    SCHEMA_FILE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
