"""Amazon's signature, beside the one that Amazon's own library makes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from botocore.auth import S3SigV4QueryAuth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from runner.helper.transfer.sigv4 import AwsCredentials, Scope, presign

NOW = datetime(2031, 2, 3, 4, 5, 6, tzinfo=UTC)
KEYS = AwsCredentials("AKID", "s3cret/+key")
PASSING = AwsCredentials("ASIA", "s3cret", "t0ken/+==")

CASES = [
    pytest.param("GET https://s3.example.com/b/k", KEYS, Scope("us-east-1"), {}, {}, id="plain"),
    pytest.param("HEAD http://b.s3.example.com:9000/k", KEYS, Scope("eu-west-1"), {}, {}, id="port"),
    pytest.param("GET https://h/b/a%20b/%C3%BC~%2B", PASSING, Scope("us-east-1"), {}, {}, id="odd names, token"),
    pytest.param("GET https://h/b", KEYS, Scope("us-east-1"), {}, {"location": ""}, id="query"),
    pytest.param("GET https://sts/", KEYS, Scope("us-east-1", "sts"), {}, {"RoleArn": "a:b/c d"}, id="no store"),
    pytest.param(
        "PUT https://h/b/k",
        KEYS,
        Scope("us-east-1"),
        {"x-amz-server-side-encryption": "aws:kms", "x-amz-meta-cachekey": "a  key / of mine"},
        {},
        id="headers",
    ),
]


@pytest.mark.parametrize(("asked", "keys", "scope", "headers", "query"), CASES)
def test_presign_when_amazon_signs_the_same(
    asked: str,
    keys: AwsCredentials,
    scope: Scope,
    headers: dict[str, str],
    query: dict[str, str],
) -> None:
    """Every parameter is the same, the signature with them."""
    method, url = asked.split()
    request = AWSRequest(method=method, url=url, params=query, headers=headers)
    auth = S3SigV4QueryAuth if scope.service == "s3" else SigV4QueryAuth
    credentials = Credentials(keys.access_key, keys.secret_key, keys.session_token or None)
    auth(credentials, scope.service, scope.region, expires=600).add_auth(request)
    moment = parse_qs(urlsplit(request.url).query)["X-Amz-Date"][0]
    now = datetime.strptime(moment, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    made = presign(method, url, credentials=keys, scope=scope, expiry=600, now=now, headers=headers, query=query)
    assert parse_qs(urlsplit(made).query, keep_blank_values=True) == parse_qs(
        urlsplit(request.url).query, keep_blank_values=True
    )
    assert urlsplit(made)[:3] == urlsplit(request.url)[:3]


def test_presign_when_time_passes() -> None:
    """A signature is of its moment."""
    made = {
        presign("GET", "https://h/b/k", credentials=KEYS, scope=Scope("r"), expiry=1, now=NOW + timedelta(seconds=late))
        for late in (0, 1)
    }
    assert len(made) == 2


def test_credentials_when_they_are_shown() -> None:
    """A secret is in no representation."""
    assert "s3cret" not in repr(PASSING)
    assert "t0ken" not in repr(PASSING)
