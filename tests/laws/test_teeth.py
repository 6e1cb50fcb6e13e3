"""The histories have teeth: each line of the decision, broken on purpose, is noticed by what the law
of the source tries in CI. Model against broken model; the program is not asked, so that it costs next to nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

from hypothesis import HealthCheck, Phase, given, settings

from .model import DAY, OVERLAP, Export, Message, Model
from .quick import examples
from .test_source import HISTORIES
from .world import CLASSICS, LONG_AGO, Step, World, histories

NOW = datetime.fromisoformat("2026-06-11T12:00:00+00:00")


class WithoutOverlap(Model):
    def mark_knows(self, own: datetime | None, at: datetime, mark: datetime) -> bool:
        return max(at, own or at) < mark


class WithALongOverlap(Model):
    def mark_knows(self, own: datetime | None, at: datetime, mark: datetime) -> bool:
        return max(at, own or at) < mark - 3 * OVERLAP


class NothingIsKnown(Model):
    def mark_knows(self, own: datetime | None, at: datetime, mark: datetime) -> bool:
        return False


class OnlyWithAnOwnTime(Model):
    def mark_knows(self, own: datetime | None, at: datetime, mark: datetime) -> bool:
        return bool(own) and super().mark_knows(own, at, mark)


class OnlyWithoutAnOwnTime(Model):
    def mark_knows(self, own: datetime | None, at: datetime, mark: datetime) -> bool:
        return not own and super().mark_knows(own, at, mark)


class KnownByTheFileAlone(Model):
    def mark_knows(self, own: datetime | None, at: datetime, mark: datetime) -> bool:
        return at < mark - OVERLAP


class KnownByTheOwnTimeAlone(Model):
    def mark_knows(self, own: datetime | None, at: datetime, mark: datetime) -> bool:
        return (own or at) < mark - OVERLAP


class OwnTimesDoNotCount(Model):
    def is_older(
        self, own: datetime | None, row_own: datetime | None, row_change: datetime | None, at: datetime
    ) -> bool:
        return row_change is not None and row_change > at


class ALaterOwnTimeDoesNotCount(Model):
    def is_older(
        self, own: datetime | None, row_own: datetime | None, row_change: datetime | None, at: datetime
    ) -> bool:
        is_earlier = bool(own and row_own and own < row_own)
        return is_earlier or (row_change is not None and row_change > at)


class OnlyOwnTimesCount(Model):
    def is_older(
        self, own: datetime | None, row_own: datetime | None, row_change: datetime | None, at: datetime
    ) -> bool:
        return bool(own and row_own and own < row_own)


class AnEqualOwnTimeIsTaken(Model):
    def is_older(
        self, own: datetime | None, row_own: datetime | None, row_change: datetime | None, at: datetime
    ) -> bool:
        return not (own and own == row_own) and super().is_older(own, row_own, row_change, at)


class AnEqualOwnTimeIsStale(Model):
    def is_older(
        self, own: datetime | None, row_own: datetime | None, row_change: datetime | None, at: datetime
    ) -> bool:
        return bool(own and own == row_own) or super().is_older(own, row_own, row_change, at)


class AnEqualFileIsStale(Model):
    def is_older(
        self, own: datetime | None, row_own: datetime | None, row_change: datetime | None, at: datetime
    ) -> bool:
        return super().is_older(own, row_own, row_change and row_change + timedelta(microseconds=1), at)


class ASnapshotAlwaysKnows(Model):
    def snapshot_knows(
        self, own: datetime | None, row_own: datetime | None, change_at: datetime | None, at: datetime
    ) -> bool:
        return True


class ASnapshotNeverKnowsBetter(Model):
    def snapshot_knows(
        self, own: datetime | None, row_own: datetime | None, change_at: datetime | None, at: datetime
    ) -> bool:
        return not (change_at and change_at > at)


class OwnTimesStandAgainstSnapshots(Model):
    def snapshot_knows(
        self, own: datetime | None, row_own: datetime | None, change_at: datetime | None, at: datetime
    ) -> bool:
        return super().snapshot_knows(own, row_own, change_at, at) and not (own and row_own and own < row_own)


class ChangesStandAgainstSnapshots(Model):
    def snapshot_knows(
        self, own: datetime | None, row_own: datetime | None, change_at: datetime | None, at: datetime
    ) -> bool:
        return super().snapshot_knows(own, row_own, change_at and change_at + timedelta(minutes=30), at)


class NothingIsForgotten(Model):
    def after_a_restore(self, change_at: datetime | None, at: datetime) -> datetime | None:
        return change_at


class TheLastFileIsTheNewest(Model):
    def newest(self, row_change: datetime | None, at: datetime) -> datetime:
        return at


class TheFutureIsBelieved(Model):
    def past(self, at: datetime | None, now: datetime) -> datetime | None:
        return at


class AnyOwnTimeIsBelieved(Model):
    def own(self, message: Message, at: datetime) -> datetime | None:
        return None if message.is_delete else message.updated_at


class ADeletionHasAnOwnTime(Model):
    def own(self, message: Message, at: datetime) -> datetime | None:
        return message.updated_at if message.updated_at and message.updated_at <= at + DAY else None


class FilesAreWrittenWhenTheyClaim(Model):
    def time(self, export: Export, now: datetime) -> datetime:
        return min(export.claimed or export.written, now)


class ClaimsDoNotCount(Model):
    def time(self, export: Export, now: datetime) -> datetime:
        return min(export.written, now)


class FilesOfTheFuture(Model):
    def time(self, export: Export, now: datetime) -> datetime:
        return min(export.claimed or export.written, export.written)


class AnOldStoreIsBelieved(Model):
    def time(self, export: Export, now: datetime) -> datetime:
        return min(super().time(export, now), export.written)


class TheNewestFileFirst(Model):
    def in_order(self, exports: Sequence[Export], now: datetime) -> list[Export]:
        return super().in_order(exports, now)[::-1]


BROKEN = tuple(each for each in Model.__subclasses__() if each.__module__ == __name__)
ENOUGH = 5
"""So many of the histories that the law draws tell a broken line, on average; or one of those that it always tries."""


def test_each_broken_line_is_noticed() -> None:
    noticed: Counter[str] = Counter({each.__name__: 0 for each in BROKEN})

    @settings(
        max_examples=examples(2 * HISTORIES),
        phases=[Phase.generate],
        database=None,
        derandomize=True,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(steps=histories)
    def look(steps: list[Step]) -> None:
        noticed.update(_noticed(steps))

    look()
    classic = {name for steps in CLASSICS.values() for name in _noticed(list(steps))}
    rare = {name: times for name, times in noticed.items() if times < examples(2 * ENOUGH) and name not in classic}
    assert rare == {}, (rare, classic)


def _noticed(steps: list[Step]) -> set[str]:
    """Names of the broken models that a history tells from the whole one."""
    whole, others, noticed = Model(), [broken() for broken in BROKEN], set[str]()
    for kind, *given_ in World(began=NOW - LONG_AGO).run(steps):
        if kind == "read":
            exports, is_forced = given_
            wanted = whole.read(exports, NOW, is_forced=is_forced), whole.states(), whole.live()
            for other in list(others):
                if (other.read(exports, NOW, is_forced=is_forced), other.states(), other.live()) != wanted:
                    noticed.add(type(other).__name__)
                    others.remove(other)
        else:
            for model in (whole, *others):
                model.edit(*given_)
    return noticed
