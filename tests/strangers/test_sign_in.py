import datetime

import jwt
import pytest
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.identity import CertificateCredential, ManagedIdentityCredential, WorkloadIdentityCredential

from conftest import CA, HOST, NOBODY, PORT, TENANT, WORK, WRITER, control, secret_credential, vault


def reads(credential):
    return vault("strangers", credential).get_secret("filler-0").value


def test_a_client_secret_signs_in():
    assert reads(secret_credential())


def test_a_certificate_signs_in():
    assert reads(CertificateCredential(TENANT, WRITER, str(WORK / "app.pem"), connection_verify=CA))


def assertion(subject="system:serviceaccount:default:app", key=None, audience="api://AzureADTokenExchange"):
    now = datetime.datetime.now(datetime.timezone.utc)
    claims = {
        "iss": "https://issuer.example/",
        "sub": subject,
        "aud": audience,
        "iat": now,
        "exp": now + datetime.timedelta(minutes=10),
    }
    return jwt.encode(claims, key or (WORK / "issuer.key").read_bytes(), algorithm="RS256")


def workload(tmp_path, token):
    file = tmp_path / "token"
    file.write_text(token)
    return WorkloadIdentityCredential(
        tenant_id=TENANT, client_id=WRITER, token_file_path=str(file), connection_verify=CA
    )


def test_a_federated_token_signs_in(tmp_path):
    assert reads(workload(tmp_path, assertion()))


def test_a_federated_token_of_another_subject_is_refused(tmp_path):
    with pytest.raises(ClientAuthenticationError, match="AADSTS700213"):
        reads(workload(tmp_path, assertion(subject="system:serviceaccount:default:other")))


def test_a_federated_token_of_another_signer_is_refused(tmp_path):
    other = (WORK / "app.pem").read_bytes().split(b"-----BEGIN CERTIFICATE")[0]
    with pytest.raises(ClientAuthenticationError, match="AADSTS700027"):
        reads(workload(tmp_path, assertion(key=other)))


def test_the_machines_identity_signs_in(monkeypatch):
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", f"http://{HOST}:{PORT}")
    assert reads(ManagedIdentityCredential())


def test_a_machines_identity_that_does_not_exist_is_refused(monkeypatch):
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", f"http://{HOST}:{PORT}")
    with pytest.raises((ClientAuthenticationError, HttpResponseError), match="Identity not found"):
        reads(ManagedIdentityCredential(client_id=NOBODY))


@pytest.mark.parametrize(
    ("credential", "code"),
    [
        (dict(secret="wrong"), "AADSTS7000215"),
        (dict(client="aaaaaaaa-0000-4000-8000-00000000dead"), "AADSTS700016"),
    ],
)
def test_a_wrong_credential_is_refused_with_its_code(credential, code):
    with pytest.raises(ClientAuthenticationError, match=code) as refused:
        reads(secret_credential(**credential))
    assert "right" not in str(refused.value)


def test_an_unknown_tenant_is_refused():
    credential = secret_credential(tenant="44444444-4444-4444-8444-444444444444")
    with pytest.raises((ClientAuthenticationError, ValueError), match="AADSTS90002|authority configuration"):
        credential.get_token("https://vault.azure.net/.default")


def test_another_cloud_has_its_own_names():
    credential = secret_credential(
        "aaaaaaaa-0000-4000-8000-000000000003",
        tenant="33333333-3333-4333-8333-333333333333",
        authority="login.chinacloudapi.cn",
    )
    assert vault("https://abroad.vault.azure.cn", credential).get_secret("a").value == "from afar"


def test_a_challenge_for_another_resource_is_not_followed():
    control("POST", "faults", {"on": "challenge", "effect": {"challenge": "https://evil.example"}})
    with pytest.raises(ValueError, match="does not match the requested domain"):
        # The client remembers the challenges of vaults it has asked before: this one was never asked.
        vault("lured").get_secret("a")
