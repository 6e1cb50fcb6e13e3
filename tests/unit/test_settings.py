from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from fleetfuel import errors
from fleetfuel.packaged import packaged
from fleetfuel.rules.zone import in_feed_zone
from fleetfuel.settings import Settings, read_settings


def read(env_file: Path | None = None, **environment: str) -> Settings:
    return read_settings(environment, env_file or Path("/dev/null"))


def test_what_is_not_set_has_its_default() -> None:
    found = read()
    assert (found.bucket, found.region, found.prefix) == ("fuel", "us-east-1", "fuel_records/")
    assert (found.timezone.key, found.lookback_hours, found.reports) == ("Africa/Nairobi", 48, Path("reports"))


def test_an_empty_variable_counts_as_not_set() -> None:
    assert read(RUSTFS_BUCKET="", DATABASE_URL="") == read()


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("RUSTFS_BUCKET=from-file\nRUSTFS_REGION=eu-west-1\nOTHER=x\n", encoding="utf-8")
    found = read(env_file, RUSTFS_BUCKET="from-environment")
    assert (found.bucket, found.region) == ("from-environment", "eu-west-1")


def test_a_dollar_in_the_file_is_a_dollar(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("RUSTFS_SECRET_KEY=a$b${HOME}\n", encoding="utf-8")
    assert read(env_file).secret_key == "a$b${HOME}"


@pytest.mark.parametrize(("written", "prefix"), [("a", "a/"), ("/a/b/", "a/b/"), ("/", "")])
def test_a_prefix_is_a_folder_however_it_is_written(written: str, prefix: str) -> None:
    assert read(RUSTFS_PREFIX=written).prefix == prefix


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "mysql://host/db"),
        ("DATABASE_URL", "postgresql://user:hunter2/7@host:port/db"),
        ("RUSTFS_ENDPOINT", "s3.example.org"),
        *(
            ("FLEETFUEL_PING_URL", url)
            for url in (
                "ftp://x",
                "http://",
                "http://h x/",
                "http://h:99999/",
                "http://u:p@h/",
                "http://h/ä",
                "http://[::1",
            )
        ),
        ("FLEETFUEL_TIMEZONE", "Africa/Atlantis"),
        ("FLEETFUEL_LOOKBACK_HOURS", "-1"),
        ("FLEETFUEL_LOOKBACK_HOURS", "two"),
        ("FLEETFUEL_LOOKBACK_HOURS", "²"),
        ("FLEETFUEL_LOG", "yaml"),
    ],
)
def test_what_cannot_be_used_is_refused_by_its_name(name: str, value: str) -> None:
    with pytest.raises(errors.ConfigurationError, match=f"^{name} cannot be used") as caught:
        read_settings({name: value}, Path("/dev/null"))
    assert caught.value.exit_code == 78
    assert "hunter2" not in str(caught.value)


def test_secrets_are_not_shown() -> None:
    found = read(DATABASE_URL="postgresql://u:hunter2@h/d", RUSTFS_SECRET_KEY="hunter3", RUSTFS_ACCESS_KEY="hunter4")
    assert "hunter" not in repr(found)


def test_a_missing_database_url_names_the_variable_and_the_example() -> None:
    with pytest.raises(errors.MissingSetting, match=r"DATABASE_URL(.|\n)*\.env\.example") as caught:
        read().require_database_url()
    assert "--embedded" not in str(caught.value)


def test_a_command_that_can_be_embedded_names_that_way_too() -> None:
    with pytest.raises(errors.MissingSetting, match=r"DATABASE_URL(.|\n)*\.env\.example(.|\n)*--embedded"):
        read().require_database_url(may_be_embedded=True)


def test_the_zone_is_the_rules_and_another_in_the_environment_is_refused(tmp_path: Path) -> None:
    assert in_feed_zone(read()).timezone.key == "Africa/Nairobi"
    assert in_feed_zone(read(FLEETFUEL_TIMEZONE="Africa/Nairobi")).timezone.key == "Africa/Nairobi"
    with pytest.raises(
        errors.ConfigurationError, match=r"names Europe/Berlin.*Africa/Nairobi(.|\n)*fields.toml"
    ) as caught:
        in_feed_zone(read(FLEETFUEL_TIMEZONE="Europe/Berlin"))
    assert caught.value.exit_code == 78
    text = (packaged("rules") / "fields.toml").read_text(encoding="utf-8")
    (tmp_path / "fields.toml").write_text(text.replace("Africa/Nairobi", "Europe/Berlin"), encoding="utf-8")
    ours = read(FLEETFUEL_TIMEZONE="Europe/Berlin", FLEETFUEL_RULES=str(tmp_path))
    assert in_feed_zone(ours).timezone.key == "Europe/Berlin"
    with pytest.raises(errors.ConfigurationError, match="names Africa/Nairobi, but the feed's zone is Europe/Berlin"):
        in_feed_zone(read(FLEETFUEL_TIMEZONE="Africa/Nairobi", FLEETFUEL_RULES=str(tmp_path)))


def test_a_pipe_of_settings_is_read_once_and_answers_as_often_as_asked(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=("RUSTFS_BUCKET=other\n",))
    writer.start()
    assert [read_settings({}, pipe).bucket for _ in range(2)] == ["other", "other"]
    writer.join()
