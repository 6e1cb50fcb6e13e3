"""The command that says what works, what does not, and what to do."""

from __future__ import annotations

import json
import sys

import click

from fleetfuel.cli import terminal


@click.command("doctor", short_help="What works, what does not, and what to do.")
@click.option("--quick", is_flag=True, help="Ask nothing of the bucket: for a health check every few minutes.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def doctor_command(*, quick: bool, as_json: bool) -> None:
    """What works, what does not, and the next step: settings, rules, database, bucket, clocks, disks.

    \b
    works   as it should
    look    a run works, and yet somebody should know: the feed is late
    fails   a run does not work; the exit code says the worst of them

    \b
    fleetfuel doctor
    fleetfuel doctor --quick
    """
    from fleetfuel.cli import checks

    findings = []
    for finding in checks.examine(quick=quick):
        findings.append(finding)
        if not as_json:
            click.echo(_coloured(checks.render_finding(finding, width=terminal.width()), finding.state))
    code = checks.worst(findings)
    if as_json:
        listed = [
            {
                "name": each.name,
                "state": each.state,
                "said": each.said,
                "next_step": each.next_step,
                "exit_code": each.exit_code,
            }
            for each in findings
        ]
        click.echo(json.dumps({"checks": listed, "exit_code": code}, ensure_ascii=False))
    sys.exit(code)


def _coloured(text: str, state: str) -> str:
    colour = {"works": "green", "look": "yellow", "fails": "red"}[state]
    return text.replace(f" {state} ", f" {click.style(state, fg=colour)} ", 1)
