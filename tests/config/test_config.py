"""Configuration files: where they are looked for, what they contain, and how mistakes are reported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it carries no types
import pytest
import yaml
from pydantic import SecretStr

import adapters.config.file
from adapters.config import Config, ProviderConfig, load_config, schema
from adapters.errors import ConfigError

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = [ROOT / "config" / f"{name}.yaml" for name in ("providers", "offline", "fallback")]

_SECRET = "sk-hunter2"
_KEYS = (
    "api_key, base_url, cache_control, cooldown_s, extra_body, extra_query, fallbacks, first_text_s, first_token_s, "
    "headers, hedge_after_s, keep_warm_s, kind, limits, litellm, max_concurrent, max_tokens, model, model_path, "
    "models, num_ctx, on_long_thinking, prefill, prewarm, reasoning, "
    "reasoning_effort, retry, routing, seed, stop, temperature, think, timeouts, tls, top_p"
)
_SMALLEST = "default: a\nproviders:\n  a:\n    kind: local\n"


@pytest.fixture(name="file")
def _file(tmp_path: Path) -> Path:
    return tmp_path / "my.yaml"


def _load(file: Path, text: str) -> Config:
    file.write_text(text, encoding="utf-8")
    return load_config(file)


def _problems(file: Path, text: str) -> list[str]:
    try:
        _load(file, text)
    except ConfigError as error:
        return str(error).replace(f"{file}:", "").splitlines()
    return []


def test_entries_are_providers(file: Path) -> None:
    """Each entry is a provider named by its key; one of them is the default."""
    config = _load(file, _SMALLEST + "  b: {kind: groq, model: m}\n")

    assert config.provider() == config.provider("a") == config.providers["a"]
    assert [(entry.name, entry.kind) for entry in config.providers.values()] == [("a", "local"), ("b", "groq")]


def test_unknown_provider(file: Path) -> None:
    """The error for an unknown provider names the nearest one, or all of them."""
    config = _load(file, "default: home\nproviders: {home: {kind: local}, groq: {kind: groq, model: m}}")

    with pytest.raises(ConfigError, match=r"there is no provider 'hmoe'; did you mean home\?"):
        config.provider("hmoe")
    with pytest.raises(ConfigError, match="there is no provider ''; use one of groq, home"):
        config.provider("")


def test_config_without_a_file() -> None:
    """A configuration can be created without a file."""
    entry = ProviderConfig.create("local", name="b")
    config = Config(default="a", providers={"b": entry})

    assert config.provider("b") is entry
    with pytest.raises(ConfigError, match="configuration: there is no provider 'a'"):
        config.provider()


@pytest.mark.parametrize("example", [pytest.param(path, id=path.name) for path in EXAMPLES])
def test_examples(example: Path) -> None:
    """The example files are valid, for the loader and for an editor with the schema."""
    config = load_config(example)

    assert config.provider().chain()[-1].kind == "local"
    assert example.read_text(encoding="utf-8").startswith("# yaml-language-server: $schema=providers.schema.json\n")
    assert _editor_says(yaml.safe_load(example.read_text(encoding="utf-8"))) == []


def test_example_shows_every_key() -> None:
    """The documented file shows every key of a provider, in use or commented out."""
    words = set(EXAMPLES[0].read_text(encoding="utf-8").replace(":", " ").split())
    fields = {field for model in _models() for field in model["properties"]}

    assert fields - words == set()


def test_mistakes_are_in_order(file: Path) -> None:
    """Each problem of a file is one line with file, line, path and fix; all of them come at once, in its order."""
    text = f"""\
defualt: a
default: grop
providers:
  groq:
    kind: groq
    modle: m
    temperature: "{_SECRET}"
    retry: {{attempts: 1}}
    retry: {{attempt: 2}}
  other:
    kind: openai_compatible
    name: other
    model: m
  empty:
"""

    assert _problems(file, text) == [
        "1: defualt is not known; did you mean default?",
        "2: default names no provider; did you mean groq?",
        "4: providers.groq.model is missing; add the model's name, as the server knows it",
        "6: providers.groq.modle is not known; did you mean model?",
        "7: providers.groq.temperature must be a number, without quotes",
        "9: providers.groq.retry is there twice, first in line 8; remove one",
        "9: providers.groq.retry.attempt is not known; did you mean attempts?",
        "10: providers.other.base_url is missing; add the server's address, such as http://localhost:8000/v1",
        "12: providers.other.name is not needed; the key above it is the provider's name",
        "14: providers.empty must be a block of keys, each on a line of its own below it",
    ]


@pytest.mark.parametrize(
    ("text", "reported"),
    [
        pytest.param(
            f"- {_SECRET}", ["1: the file must be a block of keys, each on a line of its own below it"], id="list"
        ),
        pytest.param(
            f"default: a\nproviders: {_SECRET}",
            ["2: providers must be a block of keys, each on a line of its own below it"],
            id="no entries",
        ),
        pytest.param(
            "default: a\nproviders: {}", ["2: providers is empty; add at least one entry"], id="empty entries"
        ),
        pytest.param(
            "x: 1",
            [
                "1: default is missing; add it",
                "1: providers is missing; add it",
                "1: x is not known; use one of default, mcp_servers, providers",
            ],
            id="nothing that is needed",
        ),
        pytest.param(
            "default: 1\nproviders: {a: {kind: local}}", ["1: default must be text; put it in quotes"], id="number"
        ),
        pytest.param(
            "default: a\nproviders:\n  a:\n    model: m", ["3: providers.a.kind is missing; add it"], id="no kind"
        ),
        pytest.param(
            f"default: a\nproviders:\n  a: {{kind: local, api_key:{_SECRET}}}",
            [f"3: providers.a holds a key that is not known; use one of {_KEYS}"],
            id="no space after a colon",
        ),
        pytest.param(
            _SMALLEST + "  a: {kind: local}\n",
            ["5: providers.a is there twice, first in line 3; remove one"],
            id="twice",
        ),
    ],
)
def test_mistakes_are_reported(file: Path, text: str, reported: list[str]) -> None:
    """Mistakes outside the entries are reported like those in them."""
    assert _problems(file, text) == reported


def test_order_of_fallbacks(file: Path) -> None:
    """The chain of an entry has its fallbacks, each followed by its own fallbacks, and each once."""
    entries = "  b: {kind: local, fallbacks: [d, c]}\n  c: {kind: local}\n  d: {kind: local, fallbacks: [c]}\n"
    config = _load(file, f"default: a\nproviders:\n  a: {{kind: local, fallbacks: [b, c]}}\n{entries}")

    assert [[entry.name for entry in config.provider(name).chain()] for name in "abcd"] == [
        ["a", "b", "d", "c"],
        ["b", "d", "c"],
        ["c"],
        ["d", "c"],
    ]
    assert [entry.name for entry in config.provider("b").with_options(temperature=0).chain()] == ["b", "d", "c"]
    assert [entry.name for entry in config.provider("b").with_options(fallbacks=["d"]).chain()] == ["b", "d", "c"]
    assert [entry.name for entry in config.provider("b").with_options(fallbacks=[]).chain()] == ["b"]
    assert config == load_config(file)


def test_mistakes_in_fallbacks(file: Path) -> None:
    """Unknown, repeated and circular fallbacks are reported, and time limits without fallbacks."""
    text = """\
default: home
providers:
  home:
    kind: local
    fallbacks: [cluod, cloud, cloud, home]
  cloud:
    kind: groq
    model: m
    fallbacks: [third]
  third:
    kind: local
    fallbacks:
      - cloud
      - 4
  alone:
    kind: local
    first_token_s: 2
    first_text_s: 2
    hedge_after_s: 1
    cooldown_s: 10
  wrong:
    kind: local
    fallbacks: home
    hedge_after_s: -1
"""

    back, alone = "leads back to its own provider", "is for providers with fallbacks; add fallbacks, or"
    assert _problems(file, text) == [
        "5: providers.home.fallbacks.0 names no provider; did you mean cloud?",
        "5: providers.home.fallbacks.2 is there twice; remove one",
        f"5: providers.home.fallbacks.3 {back} (home -> home); remove one of these",
        f"9: providers.cloud.fallbacks.0 {back} (cloud -> third -> cloud); remove one of these",
        f"12: providers.third.fallbacks.0 {back} (third -> cloud -> third); remove one of these",
        "12: providers.third.fallbacks.1 must be text; put it in quotes",
        f"17: providers.alone.first_token_s {alone} set timeouts.first_token_s",
        f"18: providers.alone.first_text_s {alone} set timeouts.first_text_s",
        f"19: providers.alone.hedge_after_s {alone} remove it",
        f"20: providers.alone.cooldown_s {alone} remove it",
        "23: providers.wrong.fallbacks must be a list, such as [one, two]",
        "24: providers.wrong.hedge_after_s must be a number of seconds, 0 or more, or auto",
    ]


def test_many_fallbacks(file: Path) -> None:
    """Entries that all name the entries behind them are read in no time: each provider is visited once."""
    names = [f"p{number}" for number in range(120)]
    lines = [f"  {name}: {{kind: local, fallbacks: [{', '.join(names[n + 1 :])}]}}" for n, name in enumerate(names)]
    file.write_text("\n".join(["default: p0", "providers:", *lines]), encoding="utf-8")

    assert [entry.name for entry in load_config(file).provider().chain()] == names


def test_many_fallbacks_in_circles(file: Path) -> None:
    """Entries that all name all others are reported, each by the shortest path back."""
    names = [f"p{number}" for number in range(40)]
    lines = [f"  {name}: {{kind: local, fallbacks: [{', '.join(sorted({*names} - {name}))}]}}" for name in names]
    problems = _problems(file, "\n".join(["default: p0", "providers:", *lines]))

    assert len(problems) == 40 * 39
    assert (
        "3: providers.p0.fallbacks.0 leads back to its own provider (p0 -> p1 -> p0); remove one of these" in problems
    )


def test_fallbacks_of_a_provider_without_a_file() -> None:
    """Without a file the other providers are unknown, which is reported when they are needed."""
    entry = ProviderConfig.create("local", fallbacks=["other"])

    with pytest.raises(ConfigError, match="local: fallbacks names providers of a file that was not loaded"):
        entry.chain()

    made = Config(default="local", providers={"local": entry, "other": ProviderConfig.create("local", name="other")})
    assert [each.name for each in made.provider().chain()] == ["local", "other"]


def test_line_of_an_unset_variable(file: Path) -> None:
    """An unset variable is reported when the provider is created, with the line that names it."""
    config = _load(file, _SMALLEST + "  b:\n    kind: groq\n    model: m\n    api_key: os.environ/NO_KEY\n")

    with pytest.raises(ConfigError) as caught:
        config.provider("b").with_options(model="n").resolved()

    assert str(caught.value) == (
        f"{file}:8: providers.b.api_key names the environment variable NO_KEY, which is not set; export it"
    )


def test_line_of_a_missing_key(file: Path) -> None:
    """A missing required key is reported with the line of its entry."""
    entry = _load(file, _SMALLEST + "  b: {kind: groq, model: m}\n").provider("b")

    with pytest.raises(ConfigError) as caught:
        entry.resolved()

    assert str(caught.value) == (
        f"{file}:5: providers.b.api_key is missing: b needs an API key. Set api_key, or GROQ_API_KEY."
    )


def test_wrong_option_has_no_line(file: Path) -> None:
    """A wrong option of a call is reported with the name of the entry and without a line."""
    entry = _load(file, _SMALLEST).provider()

    with pytest.raises(ConfigError, match=r"^a: base_url is not for kind local"):
        entry.with_options(base_url="http://host/v1")


def test_where_the_file_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """First the argument, then ADAPTERS_CONFIG, the working directory, the user's folder, and the packaged file."""
    package = tmp_path / "site" / "adapters" / "config"
    monkeypatch.setattr(adapters.config.file, "__file__", str(package / "file.py"))
    places = [
        tmp_path / "site" / "config" / "providers.yaml",
        tmp_path / "site" / "adapters" / "providers.yaml",
        tmp_path / "home" / "caal-llm-adapters" / "providers.yaml",
        tmp_path / "here" / "config" / "providers.yaml",
        tmp_path / "variable.yaml",
        tmp_path / "argument.yaml",
    ]
    package.mkdir(parents=True)
    for place in places:
        place.parent.mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    found = []
    for place in places:
        place.write_text(f"default: {place.parent.name}\nproviders: {{{place.parent.name}: {{kind: local}}}}\n")
        if place.name == "variable.yaml":
            monkeypatch.setenv("ADAPTERS_CONFIG", "~/variable.yaml")
            monkeypatch.setenv("HOME", str(tmp_path))
        found.append(load_config(str(place) if place.name == "argument.yaml" else None).default)

    assert found == [place.parent.name for place in places]


def test_no_file_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any file, the error names the one to write; a wrong ADAPTERS_CONFIG is an error."""
    monkeypatch.setattr(adapters.config.file, "__file__", str(tmp_path / "a" / "b" / "file.py"))
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ConfigError, match=r"^config/providers\.yaml: there is no such file"):
        load_config()

    monkeypatch.undo()
    monkeypatch.setenv("ADAPTERS_CONFIG", str(tmp_path / "wrong.yaml"))
    with pytest.raises(ConfigError, match=r"wrong\.yaml: there is no such file; correct the path"):
        load_config()


def _models() -> list[dict[str, Any]]:
    made = schema.make_schema()
    return [made, *(model for model in made["$defs"].values() if "properties" in model)]


def _editor_says(data: object) -> list[str]:
    checker = jsonschema.Draft202012Validator(json.loads(schema.SCHEMA_FILE.read_text(encoding="utf-8")))
    return [error.message for error in checker.iter_errors(data)]


@pytest.mark.usefixtures("traced_children")
def test_schema_is_up_to_date() -> None:
    """The schema in the repository matches the models."""
    command = [sys.executable, "-m", "adapters.config.schema", "--check"]

    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def test_schema_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The error for a stale or missing schema names the command that writes it."""
    monkeypatch.setattr(schema, "SCHEMA_FILE", tmp_path / "s.json")

    assert schema.main(["--check"]) == 1
    assert "s.json is stale. Run: nox -s schema" in capsys.readouterr().err
    assert schema.main([]) == 0
    assert schema.main(["--check"]) == 0
    assert json.loads((tmp_path / "s.json").read_text(encoding="utf-8")) == schema.make_schema()


@pytest.mark.parametrize(
    ("entry", "reported"),
    [
        pytest.param({"kind": "local"}, [], id="embedded server"),
        pytest.param({"kind": "groq", "model": "m"}, [], id="service"),
        pytest.param({"kind": "groq"}, ["'model' is a required property"], id="no model"),
        pytest.param(
            {"kind": "openai_compatible", "model": "m"}, ["'base_url' is a required property"], id="no base_url"
        ),
        pytest.param({"model": "m"}, ["'kind' is a required property"], id="no kind"),
        pytest.param({"kind": "local", "modle": "m"}, ["'modle' was unexpected"], id="unknown key"),
        pytest.param({"kind": "local", "name": "m"}, ["'name' was unexpected"], id="name"),
        pytest.param({"kind": "local", "retry": {"attempt": 1}}, ["'attempt' was unexpected"], id="unknown inner key"),
        pytest.param({"kind": "local", "temperature": 3}, ["3 is not valid"], id="out of bounds"),
        pytest.param({"kind": "local", "hedge_after_s": 1}, ["'fallbacks' is a dependency"], id="no fallbacks"),
        pytest.param({"kind": "local", "first_text_s": 1}, ["'fallbacks' is a dependency"], id="no fallbacks either"),
    ],
)
def test_editor_and_loader_agree(file: Path, entry: dict[str, Any], reported: list[str]) -> None:
    """An editor marks what ``load_config`` rejects."""
    data = {"default": "a", "providers": {"a": entry}}

    assert len(_editor_says(data)) == len(reported)
    assert all(part in message for part, message in zip(reported, _editor_says(data), strict=True))
    assert len(_problems(file, yaml.safe_dump(data))) == len(reported)


def test_key_in_a_file(file: Path) -> None:
    """A key may be written into the file; it is hidden in any ``repr``."""
    entry = _load(file, _SMALLEST + f"  b: {{kind: groq, model: m, api_key: {_SECRET}}}\n").provider("b")

    assert entry.resolved().api_key == SecretStr(_SECRET)
    assert "hunter2" not in repr(entry)


_WITH_SERVER = _SMALLEST + "mcp_servers:\n  home: "


def test_mcp_servers(file: Path) -> None:
    """A server is a command, split as a shell does, or an address; secrets are looked up when it is opened."""
    config = _load(
        file, f"{_WITH_SERVER}{{command: uvx 'my server' --now, prefix: home}}\n  web: {{url: http://h/mcp}}\n"
    )

    home, web = config.mcp_servers.values()
    assert (home.command, home.prefix) == (["uvx", "my server", "--now"], "home")
    assert (web.url, web.resolved("web")) == ("http://h/mcp", web)


@pytest.mark.parametrize(
    ("server", "problem"),
    [
        ("{}", "needs either a command or a url"),
        ("{command: [x], url: y}", "needs either a command or a url"),
        ("{comand: x}", "is not known; did you mean command?"),
        ("{command: ''}", "is empty; add at least one entry"),
        ("{command: 'x \"'}", "has a quotation mark that is not closed"),
        ("{command: x, prefix: my home}", "may have 32 letters, digits, _ and - at most"),
        ("7", "must be a block of keys"),
    ],
)
def test_mistakes_in_mcp_servers(file: Path, server: str, problem: str) -> None:
    """They are reported like those of a provider."""
    [reported] = _problems(file, f"{_WITH_SERVER}{server}\n")

    assert reported.startswith("6: mcp_servers.home")
    assert problem in reported


def test_secrets_of_mcp_servers(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables in headers and in the environment of a command are looked up, and hidden in any ``repr``."""
    monkeypatch.setenv("HOME_KEY", _SECRET)
    server = _load(file, f"{_WITH_SERVER}{{command: x, env: {{KEY: os.environ/HOME_KEY}}}}\n").mcp_servers["home"]

    resolved = server.resolved("home")

    assert resolved.env["KEY"].get_secret_value() == _SECRET
    assert _SECRET not in repr(resolved)
