"""The cache's store as it was written before version 12."""

from __future__ import annotations

from typing import Any

import pytest

from runner.config.findings import ConfigError
from runner.config.load import parse_config

RUNNER = '[[runners]]\nurl = "https://gitlab.example.com"\ntoken = "t"\nexecutor = "kubernetes"\n'
OF_2017 = """\
  [runners.cache]
    Type = "s3"
    ServerAddress = "minio:9000"
    AccessKey = "access"
    SecretKey = "secret"
    BucketName = "caches"
    BucketLocation = "eu"
    Insecure = true
    Path = "ci"
    Shared = true
"""


def set_in(text: str) -> dict[str, Any]:
    """What the cache's table of the one runner sets."""
    (runner,) = parse_config(RUNNER + text)[0].runners
    found: dict[str, Any] = runner.cache.model_dump(exclude_unset=True)
    return found


def test_file_of_2017_keeps_its_cache() -> None:
    """Each key reaches its table of today, and each is told with its line."""
    assert set_in(OF_2017) == {
        "type": "s3",
        "path": "ci",
        "shared": True,
        "s3": {
            "server_address": "minio:9000",
            "access_key": "access",
            "secret_key": "secret",
            "bucket_name": "caches",
            "bucket_location": "eu",
            "insecure": True,
        },
    }
    findings = parse_config(RUNNER + OF_2017)[1]
    assert [finding.line for finding in findings] == [7, 8, 9, 10, 11, 12]
    assert {finding.message for finding in findings} == {"the key is of former times; write it in [runners.cache.s3]"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[runners.cache]\nBucketName = "old"\n[runners.cache.s3]\nbucketname = "new"\n', {"bucket_name": "new"}),
        (
            '[runners.Cache]\nBUCKETNAME = "old"\n[runners.Cache.S3]\nAccessKey = "a"\n',
            {"bucket_name": "old", "access_key": "a"},
        ),
    ],
    ids=["both", "any-case"],
)
def test_key_of_today_counts_while_both_are_set(text: str, expected: dict[str, Any]) -> None:
    """The former one fills only what is not set."""
    assert set_in(text)["s3"] == expected


def test_files_of_today_are_told_nothing() -> None:
    """No key of the table itself has such a name."""
    assert parse_config(RUNNER + '[runners.cache]\nType = "s3"\n[runners.cache.s3]\nBucketName = "a"\n')[1] == ()


@pytest.mark.parametrize(
    ("text", "line", "path"),
    [
        ('[runners.cache]\nBucketName = 5\ns3 = "no table"\n', 7, "runners.0.cache.s3"),
        ('[runners.cache]\nInsecure = "maybe"\n', 5, "runners.0.cache.s3.insecure"),
        ("cache = 5\n", 5, "runners.0.cache"),
    ],
    ids=["s3-no-table", "wrong-value", "cache-no-table"],
)
def test_what_is_wrong_is_still_an_error(text: str, line: int, path: str) -> None:
    """With the nearest line that there is."""
    with pytest.raises(ConfigError) as caught:
        parse_config(RUNNER + text)
    errors = [finding for finding in caught.value.findings if finding.severity == "error"]
    assert [(finding.line, finding.path.casefold()) for finding in errors] == [(line, path)]
