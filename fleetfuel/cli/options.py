"""What an option may hold: numbers of rows, seconds, ages, instants."""

from __future__ import annotations

from typing import Any

import click

from fleetfuel.settings import read_settings


class AllowanceType(click.ParamType[Any]):
    name = "N|P%"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from fleetfuel.plan.limits import Allowance

        text = str(value).replace(",", "").strip()
        is_share = text.endswith("%")
        try:
            number = float(text.removesuffix("%")) if is_share else int(text)
        except ValueError:
            self.fail(f"{value!r} is neither a number of rows nor a share such as 25%", param, ctx)
        if number < 0 or (is_share and number > 100):
            self.fail(f"{value!r} is out of range", param, ctx)
        return Allowance(number=number, is_share=is_share)


class Seconds(click.ParamType[float]):
    name = "SECONDS"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            seconds = float(value)
        except ValueError:
            seconds = -1
        if not 0 <= seconds < float("inf"):
            self.fail(f"{value!r} is no number of seconds", param, ctx)
        return seconds


class Age(click.ParamType[Any]):
    name = "AGE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from datetime import timedelta

        number, unit = str(value)[:-1], str(value)[-1:]
        days = {"d": 1, "w": 7, "y": 365}.get(unit, 0) * int(number) if number.isdigit() else 0
        if not 1 <= days <= 36_500:
            self.fail(f"{value!r} is no age of a day or more; 90d, 12w and 2y are", param, ctx)
        return timedelta(days=days)


class Instant(click.ParamType[Any]):
    name = "INSTANT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from datetime import UTC, datetime

        if value == "all":
            return datetime.min.replace(tzinfo=UTC)
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is no instant; 2026-06-11T17:00Z is one", param, ctx)
        return moment if moment.tzinfo else moment.replace(tzinfo=read_settings().timezone)
