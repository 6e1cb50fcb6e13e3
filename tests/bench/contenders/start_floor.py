"""The least an hourly run can cost: import the libraries it needs, connect to the database, look at the object.

Argument: the database; `--judging` if a record has to be judged, too: Pandera imports the half of itself then.
"""

import os
import sys

import adbc_driver_postgresql.dbapi as adbc
import boto3
import click
import msgspec
import polars as pl
import pyarrow as pa
import xxhash
from botocore.config import Config

libraries = [click, msgspec, pa, pl, xxhash]
if "--judging" in sys.argv:
    import pandera.polars

    schema = pandera.polars.DataFrameSchema({"litres": pandera.polars.Column(pl.Float64, pandera.polars.Check.gt(0))})
    schema.validate(pl.DataFrame({"litres": [40.0]}))
with adbc.connect(sys.argv[1]) as connection, connection.cursor() as cursor:
    cursor.execute("select 1")
    cursor.fetchall()
boto3.client(
    "s3",
    endpoint_url=os.environ["RUSTFS_ENDPOINT"],
    region_name=os.environ["RUSTFS_REGION"],
    aws_access_key_id=os.environ["RUSTFS_ACCESS_KEY"],
    aws_secret_access_key=os.environ["RUSTFS_SECRET_KEY"],
    config=Config(s3={"addressing_style": "path"}),
).head_object(Bucket=os.environ["RUSTFS_BUCKET"], Key=os.environ["RUSTFS_PREFIX"] + "latest.json")
