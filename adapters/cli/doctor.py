"""``adapters doctor``: what ``adapters.doctor`` finds, as it finds it, with a mark and what to do."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from adapters.cli.base import Command, config_option, json_option, print_json, printable, provider_option
from adapters.config import load_config

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adapters.config import ProviderConfig
    from adapters.doctor import Finding

_MARKS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "failed": ("✗", "red"), "skipped": ("-", None)}
_STEP_WIDTH = 18


@click.command(cls=Command)
@provider_option
@config_option
@json_option
@click.pass_context
def doctor(ctx: click.Context, provider_name: str | None, config_path: str | None, as_json: bool) -> None:
    """Examine each provider, or one: key, network, address, server, model, answers, tools, speed.

    Four short questions are asked of each model. The exit code is 1 if a step failed (✗).
    """
    settings = load_config(config_path)
    rows = [settings.provider(provider_name)] if provider_name else list(settings.providers.values())
    reports = [asyncio.run(_examined(row, as_json=as_json)) for row in rows]
    _conclude(ctx, rows, reports, as_json=as_json)


def _conclude(
    ctx: click.Context, rows: Sequence[ProviderConfig], reports: Sequence[Sequence[Finding]], *, as_json: bool
) -> None:
    if as_json:
        print_json([_as_json(row, findings) for row, findings in zip(rows, reports, strict=True)])
    if any(finding.verdict == "failed" for findings in reports for finding in findings):
        ctx.exit(1)


async def _examined(row: ProviderConfig, *, as_json: bool) -> list[Finding]:
    from adapters.doctor import examine  # it brings the HTTP client, and help should come at once

    found: list[Finding] = []

    def tell(finding: Finding) -> None:
        found.append(finding)
        if not as_json and finding.verdict != "skipped":
            _show(finding)

    if not as_json:
        click.secho(f"{printable(row.name)}: {row.kind}", bold=True)
    await examine(row, tell)
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
    """One line for all that was skipped for the same reason."""
    skipped = [finding for finding in found if finding.verdict == "skipped"]
    for reason in dict.fromkeys(finding.detail for finding in skipped):
        steps = ", ".join(finding.step for finding in skipped if finding.detail == reason)
        click.echo(f"  - {steps}: not looked at, {reason}")


def _as_json(row: ProviderConfig, findings: Sequence[Finding]) -> dict[str, Any]:
    is_healthy = all(finding.verdict != "failed" for finding in findings)
    return {"name": row.name, "kind": row.kind, "ok": is_healthy, "findings": [asdict(each) for each in findings]}
