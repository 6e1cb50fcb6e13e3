"""What a server complains of is known by its SQLSTATE, whatever language it speaks (`lc_messages`)."""

from __future__ import annotations

import adbc_driver_postgresql.dbapi as adbc
import pytest

from fleetfuel import errors
from fleetfuel.table.refusals import SerializationConflict, TimeLimit, translate

STATES = {
    "42501": (errors.PermissionDenied, 77),
    "40001": (SerializationConflict, None),
    "40P01": (SerializationConflict, None),
    "23505": (SerializationConflict, None),
    "55P03": (errors.LockTimeout, None),
    "57014": (TimeLimit, None),
    "42P01": (errors.SchemaNotReady, 78),
    "3F000": (errors.SchemaNotReady, 78),
    "25006": (errors.ConfigurationError, 78),
    "57P01": (errors.DatabaseInterrupted, 69),
    "25P03": (errors.DatabaseInterrupted, 69),
    "08006": (errors.DatabaseUnavailable, 69),
    "53100": (errors.DatabaseUnavailable, 69),
    "53300": (errors.DatabaseUnavailable, 69),
    "28P01": (errors.PermissionDenied, 77),
    "28000": (errors.PermissionDenied, 77),
    "3D000": (errors.ConfigurationError, 78),
    "22012": (errors.Bug, 70),
}
SAID = (
    "FEHLER:  keine Berechtigung für Tabelle records",
    "ERREUR:  droit refusé pour la table records",
    "エラー:  テーブル records へのアクセスが拒否されました",
    "ОШИБКА:  нет доступа к таблице records",
    # Words that would say something else, were they read.
    "FEHLER:  permission denied, deadlock detected, canceling statement, server closed the connection",
)


@pytest.mark.parametrize("state", STATES)
def test_a_complaint_is_known_by_its_state_in_any_language(state: str) -> None:
    kind, code = STATES[state]
    for said in SAID:
        found = translate(adbc.OperationalError(said, status_code=10, sqlstate=state), "db:5432/fuel")
        assert type(found) is kind
        assert code in (None, found.exit_code)
        assert said.partition("  ")[2] in str(found)
