"""What was migrated and what is pending, as text for people and as an object for machines."""

from __future__ import annotations

import dataclasses

from fleetfuel.printable import counted
from fleetfuel.report.words import iso
from fleetfuel.table.migrate import MigrationPlan, MigrationReceipt


def status_object(plan: MigrationPlan) -> dict[str, object]:
    """The ledger and the pending files, JSON-ready."""
    applied = [dataclasses.asdict(line) | {"applied_at": iso(line.applied_at)} for line in plan.applied]
    return {"applied": applied, "pending": [file.file for file in plan.pending]}


def receipt_object(receipt: MigrationReceipt) -> dict[str, object]:
    """What was done, JSON-ready."""
    return dataclasses.asdict(receipt) | {
        "applied": [dataclasses.asdict(line) | {"applied_at": iso(line.applied_at)} for line in receipt.applied]
    }


def render_status(plan: MigrationPlan) -> str:
    """The ledger and the pending files as a table."""
    rows = [
        *((line.file, f"{line.applied_at:%Y-%m-%d %H:%M:%SZ}", f"{line.milliseconds:,} ms") for line in plan.applied),
        *((file.file, "pending", "") for file in plan.pending),
    ]
    width = max(len(file) for file, _, _ in rows)
    lines = [f"{file:<{width}}  {applied:<23}  {took:>10}".rstrip() for file, applied, took in rows]
    return "\n".join([*lines, "", f"{len(plan.applied)} applied, {len(plan.pending)} pending."])


def render_receipt(receipt: MigrationReceipt) -> str:
    """What was done, a line for each kind of thing."""
    lines = [f"{counted(len(receipt.applied), 'migration')} applied:"] if receipt.applied else []
    lines += [f"  {line.file}  {line.milliseconds:,} ms" for line in receipt.applied]
    if receipt.restored:
        lines.append(f"Made again, as it was missing: {receipt.restored}.")
    if receipt.rules:
        lines.append("Rules synced:")
        lines += [
            f"  fuel.{table}: {change.inserted:,} new, {change.updated:,} changed, {change.deleted:,} removed"
            for table, change in receipt.rules.items()
        ]
    if receipt.rederived is not None and (receipt.rederived or not receipt.is_empty):
        lines.append(f"{counted(receipt.rederived, 'record')} derived anew.")
    if receipt.refreshed:
        lines.append(f"Facts of {counted(receipt.refreshed, 'vehicle')} computed anew.")
    if receipt.is_empty:
        lines.append("Nothing to do: schema and rules are up to date.")
    if receipt.devices is not None:
        lines.append(f"Devices: {receipt.devices}")
    lines += [f"Rights: {said}" for said in receipt.rights]
    return "\n".join(lines)
