"""The sections on clusters: what is refused with which advice, and that no advice holds a password."""

from typing import Any

import pytest
from pydantic import ValidationError

from signer.config.clusters import Cluster, Issuer, RemoteSecrets
from signer.config.section import Section
from signer.core.jwks_uri import check_jwks_uri

BAD_URLS = {
    "": "https URL",
    "file:///etc/passwd": "https URL",
    "http://192.0.2.1/keys": "http only for this host",
    "http://127.0.0.1.example/keys": "http only for this host",
    "ftp://localhost/keys": "https URL",
    "https://": "names no host",
    "https:///keys": "names no host",
    "https://user:hunter2@issuer.example/keys": "without a user and a password",
    "https://:hunter2@issuer.example/keys": "without a user and a password",
    "https://@issuer.example/keys": "without a user and a password",
    "http://hunter2@127.0.0.1/keys": "without a user and a password",
    "https://issuer.example:hunter2/keys": "no URL",
    "https://issuer.example:65536/keys": "no URL",
    "https://u:hunter2@[::1/keys": "no URL",
    "https://u:hunter2@issuer\u2100.example/keys": "in ASCII",
    "https://issuer.example/a key": "without spaces",
    "https://issuer.example/\nhunter2": "in ASCII",
    "https://issuer.example/keys#hunter2": "without a fragment",
}


@pytest.mark.parametrize(("url", "told"), BAD_URLS.items())
def test_bad_urls(url: str, told: str) -> None:
    """The same rule for the configuration and for who fetches; neither quotes what may hold a password."""
    with pytest.raises(ValueError, match="write the https URL of a JSON Web Key Set") as direct:
        check_jwks_uri(url)
    with pytest.raises(ValidationError) as refusal:
        Issuer(issuer="a", jwks_uri=url)
    (error,) = refusal.value.errors()
    assert told in error["msg"]
    assert error["msg"] == f"Value error, {direct.value}"
    assert "hunter2" not in error["msg"]


@pytest.mark.parametrize(
    "url",
    [
        "https://issuer.example/keys?v=1",
        "https://10.0.0.1:8443/",
        "http://localhost:1/",
        "http://[::1]:1/",
        "HTTPS://a",
    ],
)
def test_good_urls(url: str) -> None:
    assert Issuer(issuer="a", jwks_uri=url).jwks_uri == url


BAD: dict[str, tuple[type[Section], dict[str, Any], str]] = {
    "a CA for no URL": (Issuer, {"issuer": "a", "ca_file": "/ca"}, "ca_file is for jwks_uri: give that too"),
    "a context of no file": (Cluster, {"context": "east"}, "context is one of kubeconfig: give that too"),
    "issuers without offline": (Cluster, {"issuers": [{"issuer": "a"}]}, "issuers are for tokens: offline"),
    "two equal issuers": (
        Cluster,
        {"tokens": "offline", "issuers": [{"issuer": "a"}, {"issuer": "b"}, {"issuer": "a"}]},
        "two issuers are the same: 'a'",
    ),
    "equal but for their URLs": (
        Cluster,
        {"tokens": "offline", "issuers": [{"issuer": "a"}, {"issuer": "a", "jwks_uri": "https://a/"}]},
        "two issuers are the same: 'a'",
    ),
    "tokens of none": (RemoteSecrets, {"tokens": "review", "namespace": "a"}, "namespace, tokens have no effect"),
}


@pytest.mark.parametrize(("section", "given", "told"), BAD.values(), ids=BAD)
def test_bad(section: type[Section], given: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        section.model_validate(given)
    (error,) = refusal.value.errors()
    assert (error["loc"], told in error["msg"]) == ((), True), error["msg"]


def test_issuers_that_differ() -> None:
    """In case too: the ``iss`` is compared as it is."""
    issuers = [{"issuer": "a"}, {"issuer": "A", "jwks_uri": "https://a/", "ca_file": "/ca"}]
    assert len(Cluster.model_validate({"tokens": "offline", "issuers": issuers}).issuers) == 2
