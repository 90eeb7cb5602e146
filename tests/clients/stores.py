"""What the bulk copy's test does to S3, a `moto_server` that checks signatures: stores.py PORT ACTION …, keys on stdin as
JSON. `begin` makes an administrator and a copier and prints {"admin": …, "copy": …}."""

import hashlib
import json
import random
import string
import sys

import boto3
from botocore.config import Config

ENDPOINT = f"http://127.0.0.1:{sys.argv[1]}"
NAMES = string.digits + string.ascii_uppercase + string.ascii_lowercase


def client(service: str, keys: dict | None):
    keys = keys or {"access_key_id": "nobody", "secret_access_key": "nothing"}
    return boto3.client(
        service, endpoint_url=ENDPOINT, region_name="eu-central-1",
        aws_access_key_id=keys["access_key_id"], aws_secret_access_key=keys["secret_access_key"],
        config=Config(s3={"addressing_style": "path"}, proxies={}, retries={"max_attempts": 1}),
    )


def pair(answer: dict) -> dict:
    key = answer["AccessKey"]
    return {"access_key_id": key["AccessKeyId"], "secret_access_key": key["SecretAccessKey"]}


def policy(*actions: str) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}]})


def begin():
    # The three calls that the server lets pass without a signature; from here on it checks.
    iam = client("iam", None)
    iam.create_user(UserName="admin")
    iam.put_user_policy(UserName="admin", PolicyName="all", PolicyDocument=policy("*"))
    admin = pair(iam.create_access_key(UserName="admin"))
    iam = client("iam", admin)
    iam.create_user(UserName="copy")
    iam.put_user_policy(UserName="copy", PolicyName="s3", PolicyDocument=policy("s3:*"))
    s3 = client("s3", admin)
    for bucket in ("exports", "returned"):
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    print(json.dumps({"admin": admin, "copy": pair(iam.create_access_key(UserName="copy"))}))


def rotate():
    """Another key for the copier, and the end of all that it had."""
    iam = client("iam", json.load(sys.stdin))
    old = [key["AccessKeyId"] for key in iam.list_access_keys(UserName="copy")["AccessKeyMetadata"]]
    made = pair(iam.create_access_key(UserName="copy"))
    for key in old:
        iam.delete_access_key(UserName="copy", AccessKeyId=key)
    print(json.dumps(made))


def fill():
    """Objects for each partition, or each nth: small ones, an empty one, a large one, and names that are not easy."""
    s3 = client("s3", json.load(sys.stdin))
    chance = random.Random(int(sys.argv[3]))
    names = [f"{first}{sys.argv[3]}/{number:03}" for first in NAMES[:: int(sys.argv[5])] for number in range(int(sys.argv[4]))]
    names += [f"{prefix}{sys.argv[3]} a+b&c=d%41 'e'.bin" for prefix in ("_", "-", "ü", "世", "(", "#", "A ", "z ")]
    for number, name in enumerate(names):
        size = {0: 0, 1: 12_000_000}.get(number, chance.randrange(4096))
        s3.put_object(Bucket="exports", Key=name, Body=chance.randbytes(size))
    print(len(names))


def hashes():
    """SHA-256 and name of each object of a bucket, as `rclone hashsum` prints them."""
    s3 = client("s3", json.load(sys.stdin))
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=sys.argv[3]):
        for found in page.get("Contents", []):
            body = s3.get_object(Bucket=sys.argv[3], Key=found["Key"])["Body"].read()
            print(f"{hashlib.sha256(body).hexdigest()}  {found['Key']}")


globals()[sys.argv[2]]()
