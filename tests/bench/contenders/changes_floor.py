"""The least that catching up with change files can cost: list and download them, sixteen at a time."""

import json
import os
from concurrent.futures import ThreadPoolExecutor

import boto3
from botocore.config import Config

client = boto3.client(
    "s3",
    endpoint_url=os.environ["RUSTFS_ENDPOINT"],
    region_name=os.environ["RUSTFS_REGION"],
    aws_access_key_id=os.environ["RUSTFS_ACCESS_KEY"],
    aws_secret_access_key=os.environ["RUSTFS_SECRET_KEY"],
    config=Config(s3={"addressing_style": "path"}, max_pool_connections=16),
)
bucket, prefix = os.environ["RUSTFS_BUCKET"], os.environ["RUSTFS_PREFIX"] + "changes/"
pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
keys = [each["Key"] for page in pages for each in page.get("Contents", [])]


def download(key: str) -> bytes:
    body: bytes = client.get_object(Bucket=bucket, Key=key)["Body"].read()
    return body


with ThreadPoolExecutor(16) as pool:
    bodies = list(pool.map(download, keys))
print(json.dumps({"files": len(bodies), "bytes": sum(map(len, bodies))}))
