import base64
import datetime
import uuid

import pytest
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from cryptography.hazmat.primitives.serialization import pkcs12

from conftest import NOBODY, control, secret_credential, vault

UTC = datetime.timezone.utc


@pytest.fixture
def client():
    return vault("strangers")


@pytest.fixture
def name():
    return f"Stranger-{uuid.uuid4().hex[:12]}"


def inner(error):
    return error.value.error.innererror["code"]


def test_a_secret_is_set_and_got_with_its_attributes(client, name):
    expires = datetime.datetime(2040, 1, 1, tzinfo=UTC)
    written = client.set_secret(
        name, "väl\r\nue", content_type="text/plain", tags={"team": "pay"}, expires_on=expires
    )
    read = client.get_secret(name)
    assert (read.value, read.name) == ("väl\r\nue", name)
    assert read.id == written.id and read.id.startswith("https://strangers.vault.azure.net/secrets/")
    properties = read.properties
    assert properties.content_type == "text/plain" and properties.tags == {"team": "pay"}
    assert properties.expires_on == expires and properties.enabled
    assert properties.recovery_level == "Recoverable+Purgeable" and properties.recoverable_days == 90
    assert abs(properties.created_on - datetime.datetime.now(UTC)) < datetime.timedelta(minutes=1)


def test_every_version_is_kept_and_can_be_got(client, name):
    written = [client.set_secret(name, f"value {number}").properties.version for number in range(5)]
    assert len(set(written)) == 5
    pages = list(client.list_properties_of_secret_versions(name, max_page_size=2).by_page())
    listed = [version.version for page in pages for version in page]
    assert sorted(listed) == sorted(written)
    for number, version in enumerate(written):
        assert client.get_secret(name, version).value == f"value {number}"
    assert client.get_secret(name).value == "value 4"


def test_a_listing_is_whole_over_short_and_empty_pages(client):
    sizes = [len(list(page)) for page in client.list_properties_of_secrets().by_page()]
    assert 0 in sizes and max(sizes) <= 20
    names = [secret.name for secret in client.list_properties_of_secrets(max_page_size=7)]
    assert {f"filler-{number}" for number in range(60)} <= set(names)
    assert len(names) == len(set(names))


def test_attributes_are_updated_without_a_new_version(client, name):
    version = client.set_secret(name, "value").properties.version
    updated = client.update_secret_properties(name, tags={"a": "b"}, content_type="text/csv")
    assert updated.version == version and updated.tags == {"a": "b"}
    assert client.get_secret(name).properties.content_type == "text/csv"


def test_a_deleted_secret_is_seen_recovered_and_purged(client, name):
    client.set_secret(name, "value")
    deleted = client.begin_delete_secret(name).result()
    assert deleted.name == name and deleted.recovery_id.endswith(f"/deletedsecrets/{name}")
    assert deleted.scheduled_purge_date - deleted.deleted_date == datetime.timedelta(days=90)
    with pytest.raises(ResourceNotFoundError) as error:
        client.get_secret(name)
    assert error.value.error.code == "SecretNotFound"
    assert name in [secret.name for secret in client.list_deleted_secrets()]
    with pytest.raises(ResourceExistsError):
        client.set_secret(name, "again")
    assert client.begin_recover_deleted_secret(name).result().name == name
    assert client.get_secret(name).value == "value"
    client.begin_delete_secret(name).wait()
    client.purge_deleted_secret(name)
    with pytest.raises(ResourceNotFoundError):
        client.get_deleted_secret(name)


def test_a_disabled_secret_is_listed_and_not_read(client):
    listed = {secret.name: secret for secret in client.list_properties_of_secrets()}
    assert listed["disabled"].enabled is False
    with pytest.raises(HttpResponseError) as error:
        client.get_secret("disabled")
    assert error.value.status_code == 403 and inner(error) == "SecretDisabled"


@pytest.mark.parametrize(("where", "code"), [("strangers", "ForbiddenByRbac"), ("policies", "AccessDenied")])
def test_who_has_no_right_is_told_which_kind(where, code):
    client = vault(where, secret_credential(NOBODY))
    for ask in (lambda: client.get_secret("a"), lambda: next(client.list_properties_of_secrets())):
        with pytest.raises(HttpResponseError) as error:
            ask()
        assert error.value.status_code == 403 and inner(error) == code


def test_a_firewall_is_told_apart_from_a_missing_right():
    with pytest.raises(HttpResponseError) as error:
        vault("walled").get_secret("a")
    assert error.value.status_code == 403 and inner(error) == "ForbiddenByFirewall"


def test_a_certificate_comes_as_a_pfx_without_a_password(client):
    secret = client.get_secret("shop")
    assert secret.properties.content_type == "application/x-pkcs12"
    assert secret.properties.key_id == secret.id.replace("/secrets/", "/keys/")
    key, certificate, _ = pkcs12.load_key_and_certificates(base64.b64decode(secret.value), None)
    assert "shop.example.com" in certificate.subject.rfc4514_string()
    assert key.public_key() == certificate.public_key()


def test_a_throttled_call_is_tried_again_and_succeeds(client, name):
    client.set_secret(name, "value")
    fault = {"status": 429, "code": "Throttled", "retry_after": "0"}
    control("POST", "faults", {"on": "get", "secret": name, "times": 2, "effect": {"respond": fault}})
    control("DELETE", "calls")
    assert client.get_secret(name).value == "value"
    calls = control("GET", "calls")["vaults"]["strangers"]["secrets"][name.lower()]
    assert calls == {"get": 3}
