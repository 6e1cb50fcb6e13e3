"""What a run is, before it has read anything."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from fleetfuel.model.plan import Mode
from fleetfuel.model.progress import Progress, silence
from fleetfuel.plan.limits import Overrides
from fleetfuel.rules.book import Rules


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The run's name and time, and the rules it goes by."""

    run_id: str
    mode: Mode
    started_at: datetime
    zone: ZoneInfo
    rules: Rules
    overrides: Overrides
    skip_bad_files: bool = False
    trusts_nothing: bool = False
    """Compare every row's `raw`, whatever its fingerprint says."""
    as_of: datetime | None = None
    """The instant whose table it is planned against; None = now."""
    progress: Progress = silence
    """Called with how far each stage is."""

    @property
    def seed(self) -> int:
        """Seeds fingerprints with the rules: under other rules no record counts as already validated."""
        return int(self.rules.digest[:15], 16)
