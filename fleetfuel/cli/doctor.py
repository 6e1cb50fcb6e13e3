"""The command that says what works, what does not, and what to do."""

from __future__ import annotations

import sys

import click

from fleetfuel.cli import options, terminal


@click.command("doctor", cls=options.Command, short_help="What works, what does not, and what to do.")
@click.option("--quick", is_flag=True, help="Ask nothing of the bucket: for a health check every few minutes.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def doctor_command(*, quick: bool, as_json: bool) -> None:
    """What works, what does not, and the next step: settings, rules, database, bucket, clocks, disks.

    \b
    works   as it should
    look    a run works, but somebody should look: the feed is late, for example
    fails   a run does not work; the exit code is that of the worst finding

    \b
    fleetfuel doctor
    fleetfuel doctor --quick
    """
    from fleetfuel.cli import checks, finding

    findings = []
    for found in checks.examine(options.settings, quick=quick):
        findings.append(found)
        if not as_json:
            terminal.write(_coloured(finding.render_finding(found, width=terminal.width()), found.state) + "\n")
    code = finding.worst(findings)
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
        terminal.write_json({"checks": listed, "exit_code": code})
    sys.exit(code)


def _coloured(text: str, state: str) -> str:
    colour = {"works": "green", "look": "yellow", "fails": "red"}[state]
    return text.replace(f" {state} ", f" {click.style(state, fg=colour)} ", 1)
