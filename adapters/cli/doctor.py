"""``adapters doctor``: print the findings of ``adapters.doctor`` as they are made."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from adapters.cli.base import Command, json_option, print_json, printable
from adapters.cli.entry import (
    UNNAMED_MODEL,
    base_url_option,
    config_option,
    entry_for,
    key_option,
    model_option,
)
from adapters.config import load_config

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adapters.config import ProviderConfig
    from adapters.doctor import Finding

_MARKS = {"passed": ("✓", "green"), "warning": ("!", "yellow"), "failed": ("✗", "red"), "skipped": ("-", None)}
_STEP_WIDTH = 18


@click.command(cls=Command)
@click.option("-p", "--provider", "provider_name", metavar="NAME", help="Provider entry. [default: all entries]")
@base_url_option
@model_option
@key_option
@config_option
@click.option("--quick", is_flag=True, help="Health check: one GET request for each provider, and no prompt.")
@json_option
@click.pass_context
def doctor(
    ctx: click.Context,
    /,
    provider_name: str | None,
    config_path: str | None,
    quick: bool,
    as_json: bool,
    **options: str | None,
) -> None:
    """Diagnose providers: network, address, model, tools, speed.

    Without options, every provider entry of the configuration is examined. With --base-url and without -m, the first
    model that the server lists is used. Five short prompts are sent to each model; a local server gets two longer
    ones and a prefill, and with --quick none is sent.

    The exit code is 1 if a step failed (✗).
    """
    if provider_name or any(options.values()):
        entries = [entry_for(config_path, provider_name, **options)]
    else:
        entries = list(load_config(config_path).providers.values())
    reports = [asyncio.run(_examined(entry, as_json=as_json, quick=quick)) for entry in entries]
    if as_json:  # pragma: no cover - tested, but the tracer of Python 3.11 loses this frame when asyncio.run cancels
        print_json([_as_json(entry, findings) for entry, findings in zip(entries, reports, strict=True)])
    if any(finding.verdict == "failed" for findings in reports for finding in findings):  # pragma: no branch - as above
        ctx.exit(1)


async def _examined(entry: ProviderConfig, *, as_json: bool, quick: bool) -> list[Finding]:
    from adapters.doctor import examine  # loads the HTTP client; --help must not wait for it

    found: list[Finding] = []

    def report(finding: Finding) -> None:
        found.append(finding)
        if not as_json and finding.verdict != "skipped":
            _show(finding)

    if not as_json:
        title = entry.base_url or entry.kind if entry.name == entry.kind else f"{entry.name}: {entry.kind}"
        click.secho(printable(title), bold=True)
    await examine(entry, report, any_model=entry.model == UNNAMED_MODEL, quick=quick)
    if not as_json:
        _show_skipped(found)
        click.echo()
    return found


def _show(finding: Finding) -> None:
    mark, colour = _MARKS[finding.verdict]
    took = f"  ({finding.seconds * 1000:.0f} ms)" if finding.seconds is not None else ""
    line = printable(" ".join(finding.detail.split()))
    click.echo(f"  {click.style(mark, fg=colour)} {finding.step:<{_STEP_WIDTH}}{line}{took}")
    if finding.advice:
        click.echo(f"  {' ' * (_STEP_WIDTH + 2)}→ {printable(finding.advice)}")


def _show_skipped(found: Sequence[Finding]) -> None:
    """Print one line for all steps that were skipped for the same reason."""
    skipped = [finding for finding in found if finding.verdict == "skipped"]
    for reason in dict.fromkeys(finding.detail for finding in skipped):
        steps = ", ".join(finding.step for finding in skipped if finding.detail == reason)
        click.echo(f"  - {steps}: skipped, {reason}")


def _as_json(entry: ProviderConfig, findings: Sequence[Finding]) -> dict[str, Any]:
    return {
        "name": entry.name,
        "kind": entry.kind,
        "passed": all(finding.verdict != "failed" for finding in findings),
        "findings": [asdict(finding) for finding in findings],
    }
