"""The same run in other people's surroundings: encodings, logins, servers that say no, and pooled sessions."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import adbc_driver_postgresql.dbapi as adbc
import pytest
from table import NewRole, Table, at, envelope, fill

from fleetfuel import errors
from fleetfuel.database_url import read_url, write_url
from fleetfuel.sandbox.postgres import PostgresServer
from fleetfuel.table import knock
from fleetfuel.table.database import connect
from fleetfuel.table.refusals import translate_refusal

from .test_exit_codes import run, written

NAME = "Zoë Müller Ōkubo Żaneta 😀"


def administer(uri: str, script: str) -> None:
    with adbc.connect(uri, autocommit=True) as connection, connection.cursor() as cursor:
        for statement in script.split(";"):
            cursor.executescript(statement)


def with_parameters(uri: str, **changed: str) -> str:
    return write_url({**read_url(uri), **changed})


@contextmanager
def database_in(server: PostgresServer, encoding: str) -> Iterator[str]:
    name = f"test_{uuid.uuid4().hex}"
    administer(
        server.uri(), f"create database {name} encoding '{encoding}' lc_collate 'C' lc_ctype 'C' template template0"
    )
    yield server.uri(name)
    administer(server.uri(), f"drop database {name}")


# --- texts --------------------------------------------------------------------------------------------------------

ENCODINGS = {
    "PGCLIENTENCODING": ({"PGCLIENTENCODING": "LATIN1"}, "", ""),
    "SQL_ASCII": ({"PGCLIENTENCODING": "SQL_ASCII"}, "", ""),
    "the URL": ({}, "latin1", ""),
    "the role": ({}, "", "alter role {role} set client_encoding = 'LATIN1'"),
    "the database": ({}, "", "alter database {database} set client_encoding = 'WIN1252'"),
    "the locale": ({"LC_ALL": "C", "LANG": "en_US.ISO-8859-1", "PYTHONIOENCODING": "latin-1"}, "", ""),
}


@pytest.mark.parametrize("where", ENCODINGS)
def test_texts_arrive_as_they_are_whatever_encoding_the_session_is_set_to(
    where: str, table: Table, new_role: NewRole
) -> None:
    environment, in_url, statement = ENCODINGS[where]
    role = f"importer_{uuid.uuid4().hex[:8]}"
    new_role(table.uri, role, "login superuser password 'p'")
    database = read_url(table.uri)["dbname"]
    if statement:
        administer(table.uri, statement.format(role=role, database=database))
    uri = with_parameters(table.uri, user=role, password="p", **({"client_encoding": in_url} if in_url else {}))
    feed = written(table, envelope([fill(1) | {"driver": NAME}], at(0)))
    words = ("import", "--file", feed, "--as", "snapshot", "--apply", "--no-report", "--json")
    try:
        done = run(*words, folder=table.folder, url=uri, **environment)
        assert (done.returncode, json.loads(done.stdout)["counts"]["inserts"]) == (0, 1), done.stderr
        assert [row["driver"] for row in table.query("select driver from fuel.records")] == [NAME]
    finally:
        administer(table.uri, f"alter database {database} reset client_encoding")


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_in_another_encoding_is_refused(encoding: str, postgres: PostgresServer, table: Table) -> None:
    feed = written(table, envelope([fill(1)], at(0)))
    with database_in(postgres, encoding) as uri:
        for words in (("migrate",), ("import", "--file", feed)):
            done = run(*words, folder=table.folder, url=uri)
            assert (done.returncode, encoding in done.stderr, "encoding 'UTF8'" in done.stderr) == (78, True, True)
        done = run("doctor", "--quick", "--json", folder=table.folder, url=uri)
        found = {each["name"]: each for each in json.loads(done.stdout)["checks"]}
        assert (found["database"]["exit_code"], encoding in found["database"]["said"]) == (78, True)


# --- logins, by code ----------------------------------------------------------------------------------------------


REFUSALS = {
    "wrong password": ("28P01", 77, {"password": "hunter2"}, "Check user and password"),
    "nobody": ("28P01", 77, {"user": "nobody_here"}, "Check user and password"),
    "no login": ("28000", 77, {"user": "{role}_nologin"}, "alter role … login"),
    "no connect": ("42501", 77, {}, "grant connect on database"),
    "no database": ("3D000", 78, {"dbname": "no_such_database"}, "DATABASE_URL names it"),
}
"""Case → SQLSTATE, exit code, what differs from a good URL, the step that helps."""

GERMAN = 'connection to server at "127.0.0.1", port 5432 failed: FATAL:  Das möchte der Server »nicht«\n'
RUSSIAN = 'connection to server at "127.0.0.1", port 5432 failed: ВАЖНО:  нет\n'


@pytest.mark.parametrize("case", REFUSALS)
def test_a_login_that_is_refused_is_reported_by_its_code_in_every_language(
    case: str, table: Table, new_role: NewRole
) -> None:
    state, code, changed, advice = REFUSALS[case]
    role = f"visitor_{uuid.uuid4().hex[:8]}"
    new_role(table.uri, role, "login password 'right'")
    new_role(table.uri, f"{role}_nologin", "nologin password 'right'")
    database = read_url(table.uri)["dbname"]
    if case == "no connect":
        administer(table.uri, f"revoke connect on database {database} from public")
    given = {name: value.format(role=role) for name, value in changed.items()}
    uri = with_parameters(table.uri, **({"user": role, "password": "right"} | given))
    try:
        with pytest.raises(errors.FleetfuelError) as caught, connect(uri):
            pass
        assert (caught.value.exit_code, advice in str(caught.value)) == (code, True)
        assert "hunter2" not in str(caught.value)
        assert knock.ask_why(read_url(uri)) == state
        for said in (GERMAN, RUSSIAN):
            reported = translate_refusal(adbc.OperationalError(said, status_code=1), read_url(uri))
            assert (reported.exit_code, advice in str(reported)) == (code, True)
    finally:
        administer(table.uri, f"grant connect on database {database} to public")


def test_somebody_who_is_let_in_hears_nothing_else(table: Table, new_role: NewRole) -> None:
    assert knock.ask_why(read_url(table.uri)) is None
    role = f"visitor_{uuid.uuid4().hex[:8]}"
    new_role(table.uri, role, "login password 'pässword %' connection limit 0")
    uri = with_parameters(table.uri, user=role, password="pässword %")
    assert knock.ask_why(read_url(uri)) == "53300"
    with pytest.raises(errors.DatabaseUnavailable) as caught, connect(uri):
        pass
    assert caught.value.exit_code == 69


SETTINGS = {
    "pgbouncer=true": (78, "a parameter that PostgreSQL does not know, pgbouncer"),
    "sslmode=yes": (78, "its sslmode is none of"),
    "sslmode=require": (78, "The server has no TLS"),
    "sslmode=verify-full": (78, "The server has no TLS"),
    "target_session_attrs=standby": (69, ""),
    "require_auth=none": (78, ""),
    "channel_binding=require": (78, ""),
    "min_protocol_version=9.9": (78, ""),
    "service=no_such_service": (78, ""),
    "options=-c%20no.such%3D1%20-c%20nonsense": (78, "requires a value"),
    "options=-c%20no_such%3D1": (78, "no_such"),
    "options=-c%20shared_buffers%3D1MB": (78, "shared_buffers"),
    "ssl_min_protocol_version=zz": (78, "ssl_min_protocol_version"),
    "gssencmode=require": (78, ""),
    "hostaddr=nonsense": (78, ""),
}


@pytest.mark.parametrize("query", SETTINGS)
def test_a_setting_of_the_url_that_cannot_work_is_reported_as_one(query: str, database_uri: str) -> None:
    code, words = SETTINGS[query]
    with pytest.raises(errors.FleetfuelError) as caught, connect(f"{database_uri}?{query}"):
        pass
    assert caught.value.exit_code == code, str(caught.value)
    assert words in str(caught.value)
    assert read_url(database_uri)["password"] not in str(caught.value)


def test_a_root_certificate_that_is_not_there_is_reported_with_the_setting_that_mends_it(database_uri: str) -> None:
    said = (
        'connection to server at "db", port 5432 failed: root certificate file "/root/.postgresql/root.crt" does not'
        " exist\nEither provide the file, use the system's trusted roots with sslrootcert=system, or change sslmode"
    )
    reported = translate_refusal(adbc.OperationalError(said, status_code=1), read_url(database_uri))
    assert (reported.exit_code, "&sslrootcert=system" in str(reported)) == (78, True)


def test_the_database_that_opens_is_the_one_that_psql_opens(postgres: PostgresServer) -> None:
    name = f"f{uuid.uuid4().hex[:8]}"
    administer(postgres.uri(), f'create database {name}; create database "{name}#2"; create database "{name}+a b"')
    plain = postgres.uri(name)
    for written_as, opened in ((f"{name}#2", f"{name}#2"), (f"{name}+a%20b", f"{name}+a b"), (name, name)):
        with connect(plain.replace(name, written_as)) as database, database._connection.cursor() as cursor:
            cursor.execute("select current_database()::text as name")
            assert cursor.fetchone() == (opened,)
    administer(postgres.uri(), f'drop database {name}; drop database "{name}#2"; drop database "{name}+a b"')


# --- somebody's protection ----------------------------------------------------------------------------------------


def test_a_database_that_is_set_to_read_only_is_left_alone(table: Table) -> None:
    feed = written(table, envelope([fill(1)], at(0)))
    database = read_url(table.uri)["dbname"]
    administer(table.uri, f"alter database {database} set default_transaction_read_only = on")
    try:
        for words, code in (
            (("import", "--file", feed, "--apply"), 78),
            (("import", "--file", feed, "--no-report"), 0),
            (("migrate",), 78),
            (("prune", "--older-than", "90d", "--apply"), 78),
            (("migrate", "--status"), 0),
        ):
            done = run(*words, folder=table.folder, url=table.uri)
            assert done.returncode == code, done.stderr
            assert ("default_transaction_read_only" in done.stderr) == (code == 78)
        assert table.rows() == {}
    finally:
        administer(
            with_parameters(table.uri, options="-c default_transaction_read_only=off"),
            f"alter database {database} reset default_transaction_read_only",
        )


def test_no_setting_of_ours_is_left_in_the_session(database_uri: str) -> None:
    ours = ("lock_timeout", "client_connection_check_interval", "idle_in_transaction_session_timeout", "search_path")
    with connect(database_uri) as database:
        for read_only in (True, False):
            database.begin(read_only=read_only)
            with database._connection.cursor() as cursor:
                assert [value_of(cursor, name) for name in ours] == ["30s", "5s", "15min", "pg_catalog, pg_temp"]
            database.commit()
            with database._connection.cursor() as cursor:
                for name in ours:
                    cursor.execute(f"select setting = reset_val as is_as_it_was from pg_settings where name = '{name}'")
                    assert cursor.fetchone() == (True,)
            database.rollback()


def value_of(cursor: adbc.Cursor, setting: str) -> str:
    cursor.execute(f"select current_setting('{setting}') as value")
    (value,) = cursor.fetchone()
    return str(value)
