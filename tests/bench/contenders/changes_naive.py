"""What is usually written for change files: one after the other, each parsed, upserted and committed.

Argument: the database.
"""

import importlib
import json
import os
import sys
from typing import Any

import boto3
from botocore.config import Config

psycopg = importlib.import_module("psycopg")
jsonb = importlib.import_module("psycopg.types.json").Jsonb


def records_of(found: Any) -> list[Any]:
    """The records of a change file, in any of its envelopes."""
    if isinstance(found, list):
        return [record for each in found for record in (records_of(each) if "records" in each else [each])]
    listed = next(found[key] for key in ("records", "data", "changes") if key in found)
    return [each["row"] if "op" in each else each for each in listed]


client = boto3.client(
    "s3",
    endpoint_url=os.environ["RUSTFS_ENDPOINT"],
    region_name=os.environ["RUSTFS_REGION"],
    aws_access_key_id=os.environ["RUSTFS_ACCESS_KEY"],
    aws_secret_access_key=os.environ["RUSTFS_SECRET_KEY"],
    config=Config(s3={"addressing_style": "path"}),
)
bucket, prefix = os.environ["RUSTFS_BUCKET"], os.environ["RUSTFS_PREFIX"] + "changes/"
pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
keys = sorted(each["Key"] for page in pages for each in page.get("Contents", []))
with psycopg.connect(sys.argv[1]) as connection, connection.cursor() as cursor:
    for key in keys:
        body = client.get_object(Bucket=bucket, Key=key)["Body"].read()
        cursor.executemany(
            "insert into fuel.records (id, raw) values (%s, %s) on conflict (id) do update set raw = excluded.raw",
            [
                (int(each["id"]), jsonb(each))
                for each in records_of(json.loads(body.decode("utf-8-sig")))
                if "id" in each
            ],
        )
        connection.commit()
print(json.dumps({"files": len(keys)}))
