"""What the server sends, as frames."""

from __future__ import annotations

import polars as pl
import pyarrow as pa

from fleetfuel.records.texts import as_numbers


def as_frame(table: pa.Table, schema: pl.Schema) -> pl.DataFrame:
    """The columns of `schema`, in its types; fingerprints (uuid) as numbers. Other columns are dropped."""
    if table.num_rows == 0:
        return schema.to_frame()
    plain = pa.table(
        {
            name: column.combine_chunks().storage if isinstance(column.type, pa.BaseExtensionType) else column
            for name, column in zip(table.column_names, table.columns, strict=True)
        }
    )
    frame = pl.from_arrow(plain)
    assert isinstance(frame, pl.DataFrame)
    prints = [name for name in schema if name.startswith("fingerprint")]
    frame = frame.with_columns(as_numbers(frame[name]) for name in prints)
    return frame.cast(dict(schema.items())).select(schema.names())
