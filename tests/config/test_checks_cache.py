"""Rules about the distributed cache."""

from __future__ import annotations

import pytest

from tests.config.check_cases import Case, check, runner


def cache(kind: str, **stores: str) -> str:
    """A `[runners.cache]` with the tables of its stores."""
    tables = (f"[runners.cache.{store}]\n{keys}" for store, keys in stores.items())
    return "\n".join([f'[runners.cache]\nType = "{kind}"', *tables])


CASES = [
    Case(
        "cache-type",
        runner(cache("azurerm")),
        ('error cache.Type: "azurerm" is no type of cache: jobs have none',),
        runner(cache("azure", azure='ContainerName = "c"\nAccountName = "a"')),
    ),
    Case(
        "cache-table-unused",
        runner(cache("gcs", s3='BucketName = "b"', gcs='BucketName = "b"')),
        ('warning cache.s3: the table does nothing, for Type is "gcs"',),
        runner(cache("gcs", s3="", gcs='BucketName = "b"')),
    ),
    Case(
        "cache-table-unused",
        runner(cache("", s3='BucketName = "b"')),
        ("warning cache.s3: Type is not set: jobs have no cache",),
        runner(cache("", s3="")),
    ),
    Case(
        "cache-incomplete",
        runner(cache("azure")),
        (
            "error cache.azure.container_name: ContainerName is not set: no cache is kept",
            "error cache.azure.account_name: AccountName is not set: no cache is kept",
        ),
        runner(cache("s3", s3='BucketName = "b"')),
    ),
    Case(
        "cache-credentials",
        runner(cache("s3", s3='BucketName = "b"\nAccessKey = "s3cret"')),
        ("error cache.s3.AccessKey: there is no SecretKey beside it",),
        runner(
            cache(
                "s3",
                s3="""
            BucketName = "b"
            AccessKey = "a"
            SecretKey = "b"
        """,
            )
        ),
    ),
    Case(
        "cache-credentials",
        runner(
            cache(
                "s3",
                s3="""
            BucketName = "b"
            AccessKey = "a"
            SecretKey = "b"
            AuthenticationType = "iam"
        """,
            )
        ),
        ('error cache.s3.AccessKey: AuthenticationType is "iam", so the key does nothing',),
        runner(cache("s3", s3='BucketName = "b"\nAuthenticationType = "iam"')),
    ),
    Case(
        "cache-credentials",
        runner(cache("s3", s3='BucketName = "b"\nAuthenticationType = "access-key"')),
        ("error cache.s3.AuthenticationType: there is no AccessKey beside it",),
        runner(cache("gcs", gcs='BucketName = "b"')),
    ),
    Case(
        "cache-credentials",
        runner(cache("s3", s3='BucketName = "b"\nAuthenticationType = "key"')),
        ('error cache.s3.AuthenticationType: "key" is no way to authenticate',),
        runner(cache("s3", s3='BucketName = "b"')),
    ),
    Case(
        "cache-encryption",
        runner(cache("s3", s3='BucketName = "b"\nServerSideEncryption = "KMS"')),
        ("error cache.s3.ServerSideEncryption: there is no ServerSideEncryptionKeyID beside it",),
        runner(
            cache(
                "s3",
                s3="""
            BucketName = "b"
            ServerSideEncryption = "KMS"
            ServerSideEncryptionKeyID = "arn"
        """,
            )
        ),
    ),
    Case(
        "cache-encryption",
        runner(cache("s3", s3='BucketName = "b"\nServerSideEncryptionKeyID = "arn"')),
        ("error cache.s3.ServerSideEncryptionKeyID: the key is for KMS alone, and does nothing",),
        runner(cache("s3", s3='BucketName = "b"\nServerSideEncryption = "S3"')),
    ),
    Case(
        "cache-encryption",
        runner(cache("s3", s3='BucketName = "b"\nServerSideEncryption = "AES"')),
        ('error cache.s3.ServerSideEncryption: "AES" is no encryption of the store',),
        runner(cache("gcs", gcs='BucketName = "b"')),
    ),
    Case(
        "cache-not-encrypted",
        runner(cache("s3", s3='BucketName = "b"\nInsecure = true')),
        (
            (
                "warning cache.s3.Insecure: caches go to the store without encryption: whoever listens can "
                "read them and put his own in"
            ),
        ),
        runner(cache("s3", s3='BucketName = "b"\nInsecure = false')),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_rule_tells_and_is_silent(case: Case) -> None:
    """The rule says what is wrong in the one text, and nothing of the other."""
    check(case)
