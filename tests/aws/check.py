"""What run.sh says. Everything is started here, on loopback, and ended here."""

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

SIDEKEY, WORK = sys.argv[1], Path(sys.argv[2])
BIN = Path(sys.executable).parent
REGION = "eu-central-1"
# Nothing of this machine's own credentials, configuration or proxies.
CLEAN = {
    "PATH": f"{BIN}:{os.environ['PATH']}",
    "HOME": str(WORK),
    "AWS_REGION": REGION,
    "AWS_DEFAULT_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
    "RCLONE_CONFIG": "/dev/null",
    "XDG_RUNTIME_DIR": str(WORK),
}
started = []


def start(name, command, **env):
    log = open(WORK / f"{name}.log", "w+")
    process = subprocess.Popen(command, stdout=log, stderr=log, env={**CLEAN, **env}, cwd=WORK)
    started.append(process)
    return lambda: (WORK / f"{name}.log").read_text(), process


def until(what, look, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if found := look():
                return found
        except (OSError, ClientError, BotoCoreError):
            pass
        time.sleep(0.1)
    raise SystemExit(f"in vain: {what}")


def shown(what):
    print(f"ok  {what}", flush=True)


def check(holds, what):
    if not holds:
        raise SystemExit(f"FAILED: {what}")
    shown(what)


def change(**what):
    request = urllib.request.Request(f"http://{EMULATOR}/_emulator/changes", json.dumps(what).encode(), method="POST")
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request).read()


def keep(key):
    """Both halves in one secret, so that they change at once."""
    value = json.dumps({"id": key["AccessKeyId"], "key": key["SecretAccessKey"]})
    change(set={"vault": "pay-prod", "secret": "s3", "value": value})


def with_(session):
    return session.create_client("s3", region_name=REGION, endpoint_url=S3, config=Config(retries={"max_attempts": 1}))


def read(client):
    return client.get_object(Bucket="backup", Key="hello.txt")["Body"].read()


try:
    # -- an S3 that verifies signatures
    tell, _ = start("moto", [str(BIN / "moto_server"), "-H", "127.0.0.1", "-p", "0"], INITIAL_NO_AUTH_ACTION_COUNT="5")
    S3 = until("moto", lambda: re.search(r"http://127\.0\.0\.1:\d+", tell()))[0]
    anybody = {"region_name": REGION, "endpoint_url": S3, "aws_access_key_id": "x", "aws_secret_access_key": "x"}
    iam = boto3.client("iam", **anybody)
    iam.create_user(UserName="backup")
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    iam.put_user_policy(UserName="backup", PolicyName="all", PolicyDocument=json.dumps(policy))
    first = iam.create_access_key(UserName="backup")["AccessKey"]
    s3 = boto3.client("s3", **anybody)
    s3.create_bucket(Bucket="backup", CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_object(Bucket="backup", Key="hello.txt", Body=b"hello")
    try:
        read(s3)
        raise SystemExit("this S3 lets anybody in, and so shows nothing")
    except ClientError as error:
        shown(f"a wrong key is refused: {error.response['Error']['Code']}")

    # -- sidekey, over a fake Azure
    tell, _ = start("emulator", [SIDEKEY, "emulator", "--listen", "127.0.0.1:0", "--ca-out", "ca.pem"])
    EMULATOR = until("the emulator", lambda: re.search(r"127\.0\.0\.1:\d+", tell()))[0]
    (WORK / "client-secret").write_text("demo-client-secret")
    places = ", ".join(
        f'"{name}" = "{EMULATOR}"'
        for name in ("login.microsoftonline.com", "management.azure.com", "*.vault.azure.net")
    )
    (WORK / "sidekey.toml").write_text(f"""
[listen]
socket = "s.sock"
tcp = "127.0.0.1:0"
token_file = "token"
[cache]
listing_interval = "1s"
[[aws]]
name = "backup"
access_key_id = "secret://pay-prod/s3#/id"
secret_access_key = "secret://pay-prod/s3#/key"
[[source]]
tenant_id = "72f988bf-0000-4000-8000-00000000c0de"
client_id = "5ec2e7aa-0000-4000-8000-000000051de0"
client_secret_file = "client-secret"
ca_file = "ca.pem"
include = ["pay-prod"]
resolve = {{ {places} }}
""")
    keep(first)
    tell, _ = start("sidekey", [SIDEKEY, "serve", "--config", "sidekey.toml"])
    port = until("sidekey", lambda: re.search(r"listening.*127\.0\.0\.1:(\d+)", tell()))[1]
    until("the first round", lambda: "first round done" in tell())
    uri = f"http://127.0.0.1:{port}/v1/aws/credentials/backup"
    container = {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": uri,
        "AWS_CONTAINER_AUTHORIZATION_TOKEN": (WORK / "token").read_text().strip(),
    }
    (WORK / "config").write_text(f"""
[profile backup]
credential_process = {SIDEKEY} aws-credentials pay-prod/s3#/id pay-prod/s3#/key --addr {WORK}/s.sock
""")
    process = {"AWS_CONFIG_FILE": str(WORK / "config"), "AWS_PROFILE": "backup"}

    def session(env):
        os.environ.clear()
        os.environ.update({**CLEAN, **env})
        return botocore.session.Session()

    # -- boto3
    running = session(container)
    client = with_(running)
    check(read(client) == b"hello", "boto3 reads S3 with what sidekey tells at its address for containers")
    check(running.get_credentials().method == "container-role", "and has its key from nowhere else")
    by_process = session(process)
    check(read(with_(by_process)) == b"hello", "boto3 reads S3 by credential_process")
    check(by_process.get_credentials().method == "custom-process", "and has its key from nowhere else")
    for token in ("wrong", ""):
        try:
            read(with_(session({**container, "AWS_CONTAINER_AUTHORIZATION_TOKEN": token})))
            raise SystemExit(f"FAILED: the token {token!r} is let in")
        except BotoCoreError as error:
            check(first["AccessKeyId"] not in str(error), f"the token {token!r} is told nothing: {type(error).__name__}")

    # -- rclone
    s3_of_rclone = {
        "RCLONE_CONFIG_SRC_TYPE": "s3",
        "RCLONE_CONFIG_SRC_PROVIDER": "Other",
        "RCLONE_CONFIG_SRC_ENDPOINT": S3,
        "RCLONE_CONFIG_SRC_FORCE_PATH_STYLE": "true",
        "RCLONE_CONFIG_SRC_ENV_AUTH": "true",
        "RCLONE_CONFIG_SRC_REGION": REGION,
    }

    def rclone(env):
        command = [str(BIN / "rclone"), "cat", "src:backup/hello.txt", "--retries", "1", "--low-level-retries", "1"]
        return subprocess.run(command, env={**CLEAN, **s3_of_rclone, **env}, capture_output=True, timeout=120)

    for name, env in (("the address for containers", container), ("credential_process", process)):
        done = rclone(env)
        check(done.stdout == b"hello", f"rclone reads S3 by {name} ({done.stderr.decode()[-200:].strip() or 'no word'})")
    check(rclone({}).stdout == b"", "and without sidekey it does not")

    # -- the key is rotated under the running session
    session(container)  # The running one reads the environment at each time.
    iam = running.create_client("iam", region_name=REGION, endpoint_url=S3)
    second = iam.create_access_key(UserName="backup")["AccessKey"]
    keep(second)
    began = time.monotonic()
    until("the new key", lambda: running.get_credentials().get_frozen_credentials().access_key == second["AccessKeyId"])
    took = time.monotonic() - began
    iam.delete_access_key(UserName="backup", AccessKeyId=first["AccessKeyId"])
    check(read(client) == b"hello", f"a running boto3 session goes on with a rotated key, met after {took:.1f} s")
    try:
        old = boto3.client("s3", region_name=REGION, endpoint_url=S3, aws_access_key_id=first["AccessKeyId"],
                           aws_secret_access_key=first["SecretAccessKey"])
        read(old)
        raise SystemExit("FAILED: the old key is still good, so that nothing was shown")
    except ClientError as error:
        shown(f"the old key is refused by then: {error.response['Error']['Code']}")

    # -- what was told to whom
    logs = "".join((WORK / f"{name}.log").read_text() for name in ("sidekey", "emulator"))
    check(not any(key["SecretAccessKey"] in logs for key in (first, second)), "no key is in a log")
finally:
    for process in reversed(started):
        process.terminate()
    for process in started:
        process.wait()
