"""Options that every command has, and what an option may hold: numbers of rows, seconds, ages, instants."""

from __future__ import annotations

import logging
import os
import re
import shlex
from collections.abc import Collection
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import click

from fleetfuel import errors
from fleetfuel.cli import logs
from fleetfuel.settings import Settings, read_settings

log = logging.getLogger("fleetfuel")


class _Chosen:
    """The values of the options that every command has, given before the command or after it."""

    env_file: Path | None = None
    is_verbose: bool = False
    command: str | None = None


def settings() -> Settings:
    """The settings, from the environment and the chosen file, with the zone of the rules. Raises `ConfigurationError`.

    If the rules cannot be read, the command that reads all of them reports it.
    """
    from fleetfuel.rules.zone import in_feed_zone

    found = read_settings(env_file=_Chosen.env_file)
    with suppress(errors.RulesError):
        return in_feed_zone(found)
    return found


def invoked() -> str | None:
    """The name of the command that was asked for; None before there is one, and for help."""
    return _Chosen.command


def set_up_logs() -> None:
    """Log in the form that the settings ask for. If these cannot be read, the command reports it."""
    form, remarks = os.environ.get("FLEETFUEL_LOG", "text"), tuple[str, ...]()
    with suppress(errors.ConfigurationError):
        found = read_settings(env_file=_Chosen.env_file)
        form, remarks = found.log, found.remarks
    logs.set_up(form, verbose=_Chosen.is_verbose)
    for remark in remarks:
        log.warning("%s", remark)


def as_typed(context: click.Context, *, without: Collection[str] = ()) -> list[str]:
    """The options as a person would type them again, for a shell: those that were given, in the command's order."""
    words: list[str] = []
    for option in context.command.params:
        name, value = option.name or "", context.params.get(option.name or "")
        is_given = context.get_parameter_source(name) == click.core.ParameterSource.COMMANDLINE
        if not isinstance(option, click.Option) or not is_given or name in without:
            continue
        if option.is_flag:
            words.append(option.opts[-1])
            continue
        for each in value if option.multiple and isinstance(value, tuple) else (value,):
            words += [option.opts[-1], shlex.quote(_written(each))]
    if _Chosen.env_file:
        words += ["--env-file", shlex.quote(str(_Chosen.env_file))]
    return words


def arguments_as_typed(context: click.Context) -> list[str]:
    """The arguments that are no options, for a shell."""
    given = [context.params.get(each.name or "") for each in context.command.params if isinstance(each, click.Argument)]
    return [shlex.quote(str(word)) for value in given for word in (value if isinstance(value, tuple) else (value,))]


def _written(value: Any) -> str:
    if isinstance(value, datetime):
        return "all" if value.year == 1 else value.isoformat()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _choose_verbose(_context: click.Context, _option: click.Parameter, value: bool) -> None:  # noqa: FBT001
    _Chosen.is_verbose = _Chosen.is_verbose or value


def _choose_env_file(_context: click.Context, _option: click.Parameter, value: Path | None) -> None:
    if value is None:
        return
    try:
        value.stat()
    except OSError as error:
        said = "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
        hint = "Name a file of settings; copy .env.example to make one."
        raise errors.ConfigurationError(reason=f"--env-file: {value} {said}.", next_step=hint) from None
    _Chosen.env_file = value


def shared() -> list[click.Option]:
    """The options that every command has, and the program itself."""
    return [
        click.Option(
            ["--env-file"],
            type=click.Path(path_type=Path),
            metavar="PATH",
            is_eager=True,
            expose_value=False,
            callback=_choose_env_file,
            help="Read the settings from this file.  [.env]",
        ),
        click.Option(
            ["-v", "--verbose"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_choose_verbose,
            help="Log each step to stderr, not only warnings and errors.",
        ),
    ]


class Command(click.Command):
    """A command that has the shared options, too."""

    def __init__(self, *arguments: Any, **given: Any) -> None:
        super().__init__(*arguments, **given)
        self.params += shared()

    def invoke(self, ctx: click.Context) -> Any:
        _Chosen.command = self.name
        set_up_logs()
        _demand_folder()
        return super().invoke(ctx)


def _demand_folder() -> None:
    """Relative paths begin at the working folder, so it has to exist. Raises `ConfigurationError`."""
    try:
        Path.cwd()
    except OSError as error:
        raise errors.ConfigurationError(
            reason=f"The working folder cannot be used: {error.strerror}.", next_step="cd to a folder that exists."
        ) from None


class AllowanceType(click.ParamType[Any]):
    """A number of rows, `1,300`, or a share, `25%`, as `Allowance`."""

    name = "N|P%"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from fleetfuel.plan.limits import Allowance

        text = str(value).replace(",", "").strip()
        is_share = text.endswith("%")
        try:
            number = float(text.removesuffix("%")) if is_share else int(text)
        except ValueError:
            self.fail(f"{value!r} is neither a number of rows nor a share such as 25%", param, ctx)
        if not number >= 0 or (is_share and number > 100):  # what is no number is not >= 0
            self.fail(f"{value!r} is out of range", param, ctx)
        return Allowance(number=number, is_share=is_share)


class Seconds(click.ParamType[float]):
    """A number of seconds, 0 or more."""

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
    """`90d`, `12w` or `2y` as a `timedelta`, from a day to 36,500 days."""

    name = "AGE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from datetime import timedelta

        number, unit = str(value)[:-1], str(value)[-1:]
        days = {"d": 1, "w": 7, "y": 365}.get(unit, 0) * int(number) if re.fullmatch("[0-9]{1,6}", number) else 0
        if not 1 <= days <= 36_500:
            self.fail(f"{value!r} is no age of a day or more; 90d, 12w and 2y are", param, ctx)
        return timedelta(days=days)


YEARS: Final = range(1900, 9999)
"""Years of an instant that somebody means: an hour more or less, and any zone, stay within what a date can be."""


class Instant(click.ParamType[Any]):
    """An ISO 8601 instant, without an offset in the feed's zone; `all` is the first instant there is."""

    name = "INSTANT"

    def __init__(self, *, knows_all: bool = False) -> None:
        self._knows_all = knows_all
        """Whether `all` is one: before everything."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from datetime import UTC, datetime

        if value == "all" and self._knows_all:
            return datetime.min.replace(tzinfo=UTC)
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError:
            moment = datetime.min.replace(tzinfo=UTC)
        if moment.year not in YEARS:
            self.fail(f"{value!r} is no instant; 2026-06-11T17:00Z is one", param, ctx)
        return moment if moment.tzinfo else moment.replace(tzinfo=settings().timezone)


BIGINT: Final = click.IntRange(-(2**63), 2**63 - 1)
"""What PostgreSQL takes for a bigint."""
MANY: Final = click.IntRange(1, 10**9)
"""How many rows somebody may ask for."""
