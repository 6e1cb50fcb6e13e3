"""The command that writes the dashboard and the alert rules for Grafana."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from fleetfuel import errors
from fleetfuel.cli import options, terminal


@click.command("grafana", cls=options.Command, short_help="A dashboard and alert rules for Grafana.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Write the files for Grafana's provisioning here.",
)
@click.option("--alerts", is_flag=True, help="Print the alert rules instead of the dashboard.")
@click.option(
    "--datasource",
    default="fleetfuel",
    show_default=True,
    metavar="UID",
    help="The data source's uid, for the alert rules.",
)
def grafana_command(*, out: Path | None, alerts: bool, datasource: str) -> None:  # fmt: skip
    """The dashboard as JSON, to import in Grafana (Dashboards, New, Import): it asks which data source to use.

    With --out it writes dashboards/ and provisioning/ into that folder, as Grafana reads them.

    \b
    fleetfuel grafana > fuel.json
    fleetfuel grafana --out /etc/grafana --datasource tracksolid
    """
    from fleetfuel.report import grafana
    from fleetfuel.report.alerts import alert_rules

    if out is None:
        terminal.write(_text(alert_rules(datasource) if alerts else grafana.dashboard()))
        return
    if alerts:
        raise click.UsageError("--out writes dashboard and alert rules: leave --alerts out.")
    dashboards = out / "dashboards" / "fleetfuel"
    files = {
        dashboards / "fuel.json": grafana.dashboard(),
        out / "provisioning" / "dashboards" / "fleetfuel.yaml": grafana.provider(str(dashboards.absolute())),
        out / "provisioning" / "alerting" / "fleetfuel.json": alert_rules(datasource),
    }
    for path, content in files.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(_text(content), encoding="utf-8")
        except OSError as error:
            raise errors.FileUnwritable(path=path, reason=error.strerror or str(error)) from None
        terminal.write(f"{path}\n")


def _text(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
