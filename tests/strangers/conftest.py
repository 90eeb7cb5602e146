"""The real host names lead to the emulator in this process; the clients' own checks stay on."""

import json
import os
import socket
import urllib.request
from pathlib import Path

import pytest
from azure.identity import ClientSecretCredential
from azure.keyvault.secrets import SecretClient

HOST, PORT = os.environ["EMULATOR_ADDR"].split(":")
WORK = Path(os.environ["EMULATOR_WORK"])
CA = str(WORK / "ca.pem")
TENANT = "11111111-1111-4111-8111-111111111111"
WRITER = "aaaaaaaa-0000-4000-8000-000000000001"
NOBODY = "aaaaaaaa-0000-4000-8000-000000000002"
AZURE = (".microsoftonline.com", ".chinacloudapi.cn", ".vault.azure.net", ".vault.azure.cn")

_getaddrinfo = socket.getaddrinfo


def getaddrinfo(host, port, *args, **kwargs):
    name = host.decode() if isinstance(host, bytes) else host
    if name.endswith(AZURE):
        return _getaddrinfo(HOST, int(PORT), *args, **kwargs)
    if name not in (HOST, "localhost"):
        raise socket.gaierror(f"the strangers may not leave for {name}")
    return _getaddrinfo(host, port, *args, **kwargs)


socket.getaddrinfo = getaddrinfo
for variable in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY", "all_proxy"):
    os.environ.pop(variable, None)


def secret_credential(client=WRITER, secret="right", tenant=TENANT, **kwargs):
    return ClientSecretCredential(tenant, client, secret, connection_verify=CA, **kwargs)


def vault(name, credential=None, **kwargs):
    url = name if name.startswith("https://") else f"https://{name}.vault.azure.net"
    return SecretClient(url, credential or secret_credential(), connection_verify=CA, **kwargs)


def control(method, path, body=None):
    """Plain HTTP will do for the emulator's own routes."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://{HOST}:{PORT}/_emulator/{path}", data=data, method=method)
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as response:
        text = response.read()
    return json.loads(text) if text else None


@pytest.fixture(autouse=True)
def no_faults_left():
    yield
    control("DELETE", "faults")
