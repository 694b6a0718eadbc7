"""Read a YAML file with the line number of each key. This is the only module that imports yaml."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import yaml
from yaml.scanner import ScannerError

from adapters.config.problems import Problem, Source
from adapters.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from adapters.config.problems import KeyPath

_TEXT_TAG = "tag:yaml.org,2002:str"
_MERGE_TAG = "tag:yaml.org,2002:merge"
_DATE_TAG = "tag:yaml.org,2002:timestamp"

_LARGEST_FILE_BYTES = 1_000_000
_MOST_VALUES = 100_000  # in a file, with aliases written out
_CHARACTERS_OF_A_VALUE = 100  # a longer string counts as several values

# The messages of the YAML library are technical, and some quote the file.
_HINTS = {
    r"'\t'": "a line is indented with a tab; indent with spaces",
    "cannot start any token": "a value starts with a character that YAML keeps for itself; put the value in quotes",
    "mapping values are not allowed": "a second colon, or a wrong indentation; put values that hold ': ' in quotes",
    "could not find expected ':'": "a key has no colon; write a colon and a space after it",
    "expected <block end>": "the indentation does not fit the lines above; indent with two spaces a level",
    "unexpected end of stream": "a quote is never closed; close it",
    "undefined alias": "a value starts with *; put it in quotes",
    "constructor for the tag": "a value starts with !; put it in quotes, and write secrets as os.environ/NAME",
    "single document": "a second document starts with ---; keep one",
    "special characters": "there is an invisible character; remove it",
}
_HINT_FOR_THE_REST = "this is not YAML; check quotes, colons, brackets and indentation"


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML file.

    Attributes:
        data: Its content. All keys are strings, ``yes:`` and ``404:`` included.
        source: The file and the line of each key.
        problems: Keys that occur twice.
    """

    data: Any
    source: Source
    problems: list[Problem]


def read_yaml(path: Path) -> Document:
    """Read a YAML file.

    Raises:
        ConfigError: If the file does not exist, is not YAML, or is too large with its aliases expanded.
    """
    text = _read_text(path)
    try:
        document = _parse(text, str(path))
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}:{_line(error, text)}: {_hint(error)}") from None
    except ConfigError:
        raise
    except (AttributeError, LookupError, ValueError):  # raised by the library for `!!int text` and the like
        raise ConfigError(f"{path}: a value does not fit its tag; remove the tags that start with !!") from None
    except RecursionError:
        raise ConfigError(f"{path}: the file is nested too deeply; remove brackets or levels") from None
    if document is None:
        raise ConfigError(f"{path}:1: the file is empty; write a default and its provider")
    return document


def _read_text(path: Path) -> str:
    """Read a file. Devices and named pipes are rejected: reading them may block or never end."""
    try:
        if not stat.S_ISREG(path.stat().st_mode) and not path.is_dir():
            raise ConfigError(f"{path}: this is a device or a pipe; name a file")
        with path.open("rb") as file:
            content = file.read(_LARGEST_FILE_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file; correct the path, or the variable ADAPTERS_CONFIG") from None
    except OSError as error:
        raise ConfigError(f"{path}: the file cannot be read ({error.strerror}); check its rights") from None
    if len(content) > _LARGEST_FILE_BYTES:
        raise ConfigError(f"{path}: the file is larger than 1 MB; name one that holds providers")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: the file is not UTF-8; save it as UTF-8") from None


def _parse(text: str, label: str) -> Document | None:
    loader = yaml.SafeLoader(text)
    node = loader.get_single_node()
    if node is None:
        return None
    if _expanded_size(node, {}) > _MOST_VALUES:
        raise ConfigError(f"{label}: the aliases (*name) stand for more than {_MOST_VALUES} values; remove some")
    notes = _Notes()
    notes.walk(node, ())
    return Document(loader.construct_document(node), Source(label, notes.lines), notes.problems)


def _expanded_size(node: yaml.Node, sizes: dict[int, int]) -> int:
    """Count the values of a node with all aliases expanded; a few nested aliases can expand to billions.

    Args:
        node: The node.
        sizes: Sizes of the nodes that were counted before, by identity; updated.
    """
    if id(node) not in sizes:
        sizes[id(node)] = 0  # in case the node contains itself
        parts: Iterable[yaml.Node] = ()
        own = 1
        if isinstance(node, yaml.MappingNode):
            parts = chain.from_iterable(node.value)
        elif isinstance(node, yaml.SequenceNode):
            parts = node.value
        else:
            own += len(node.value) // _CHARACTERS_OF_A_VALUE
        sizes[id(node)] = own + sum(_expanded_size(part, sizes) for part in parts)
    return sizes[id(node)]


class _Notes:
    """Collects the lines of keys, and repeated keys. Walking a node also turns its keys and dates into strings."""

    def __init__(self) -> None:
        self.lines: dict[KeyPath, int] = {(): 1}
        self.problems: list[Problem] = []
        self._seen: set[int] = set()

    def walk(self, node: yaml.Node, path: KeyPath) -> None:
        """Collect the keys in a node and below it."""
        if id(node) in self._seen:  # an alias; errors name the line of the key that has it
            return
        self._seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            self._walk_mapping(node, path)
        elif isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                self.walk(item, (*path, str(index)))
        elif node.tag == _DATE_TAG:
            node.tag = _TEXT_TAG

    def _walk_mapping(self, node: yaml.MappingNode, path: KeyPath) -> None:
        first: dict[str, int] = {}
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE_TAG:
                key.tag = _TEXT_TAG
            word, line = str(key.value), key.start_mark.line + 1
            if word in first:
                self.problems.append(Problem((*path, word), f"is there twice, first in line {first[word]}; remove one"))
            first.setdefault(word, line)
            self.lines[*path, word] = line
            self.walk(value, (*path, word))


def _line(error: yaml.YAMLError, text: str) -> int:
    if not isinstance(error, yaml.MarkedYAMLError):
        return text.count("\n", 0, getattr(error, "position", 0)) + 1
    # An unclosed quote is detected at the end of the file, but must be fixed where it begins.
    begins = error.context_mark if isinstance(error, ScannerError) else None
    return int(getattr(begins or error.problem_mark, "line", 0)) + 1


def _hint(error: yaml.YAMLError) -> str:
    said = f"{error.context} {error.problem}" if isinstance(error, yaml.MarkedYAMLError) else str(error)
    return next((hint for words, hint in _HINTS.items() if words in said), _HINT_FOR_THE_REST)
