"""The distributed cache: stores, their credentials, and tables that nobody reads."""

from collections.abc import Iterator
from typing import Final

from runner.config.checks.rules import Problem, Rule, quoted
from runner.config.model import RunnerConfig

_STORES = ("s3", "gcs", "azure")
_CONTAINERS = {"s3": "bucket_name", "gcs": "bucket_name", "azure": "container_name"}
_SPELLED = {"bucket_name": "BucketName", "container_name": "ContainerName"}


def _cache_type(runner: RunnerConfig) -> Iterator[Problem]:
    """The cache is of a type that is none."""
    kind = runner.cache.type
    if kind and kind not in _STORES:
        yield Problem(
            ("cache", "type"),
            f"{quoted(kind)} is no type of cache: jobs have none",
            f"take one of {', '.join(_STORES)}",
        )


def _cache_table_unused(runner: RunnerConfig) -> Iterator[Problem]:
    """A store is described, and the cache is another one or none."""
    kind = runner.cache.type
    for store in _STORES:
        if store != kind and getattr(getattr(runner.cache, store), _CONTAINERS[store]):
            yield Problem(
                ("cache", store),
                f"the table does nothing, for Type is {quoted(kind)}"
                if kind
                else "Type is not set: jobs have no cache",
                f'set Type = "{store}", or take the table away',
            )


def _cache_incomplete(runner: RunnerConfig) -> Iterator[Problem]:
    """The store that is used lacks what it cannot do without."""
    cache = runner.cache
    if cache.type not in _STORES:
        return
    table = getattr(cache, cache.type)
    field = _CONTAINERS[cache.type]
    if not getattr(table, field):
        yield Problem(
            ("cache", cache.type, field), f"{_SPELLED[field]} is not set: no cache is kept", f"set {_SPELLED[field]}"
        )
    if cache.type == "azure" and not cache.azure.account_name:
        yield Problem(("cache", "azure", "account_name"), "AccountName is not set: no cache is kept", "set AccountName")


def _cache_credentials(runner: RunnerConfig) -> Iterator[Problem]:
    """The store's credentials are halves, or of a kind that is none."""
    if runner.cache.type != "s3":
        return
    s3 = runner.cache.s3
    if bool(s3.access_key) != bool(s3.secret_key):
        given, missing = ("access_key", "SecretKey") if s3.access_key else ("secret_key", "AccessKey")
        yield Problem(("cache", "s3", given), f"there is no {missing} beside it", "set both of them, or neither")
    if s3.authentication_type not in ("", "access-key", "iam"):
        yield Problem(
            ("cache", "s3", "authentication_type"),
            f"{quoted(s3.authentication_type)} is no way to authenticate",
            'write "access-key" or "iam"',
        )
    elif s3.authentication_type == "iam" and s3.access_key:
        yield Problem(
            ("cache", "s3", "access_key"), 'AuthenticationType is "iam", so the key does nothing', "take it away"
        )
    elif s3.authentication_type == "access-key" and not s3.access_key:
        yield Problem(
            ("cache", "s3", "authentication_type"), "there is no AccessKey beside it", "set AccessKey and SecretKey"
        )


def _cache_encryption(runner: RunnerConfig) -> Iterator[Problem]:
    """The store's encryption is of a kind that is none, or lacks its key."""
    s3 = runner.cache.s3
    kind, key = s3.server_side_encryption, s3.server_side_encryption_key_id
    if runner.cache.type != "s3":
        return
    if kind not in ("", "S3", "KMS", "DSSE-KMS"):
        yield Problem(
            ("cache", "s3", "server_side_encryption"),
            f"{quoted(kind)} is no encryption of the store",
            "take S3, KMS or DSSE-KMS",
        )
    elif kind.endswith("KMS") and not key:
        yield Problem(
            ("cache", "s3", "server_side_encryption"),
            "there is no ServerSideEncryptionKeyID beside it",
            "name the key, or take S3",
        )
    elif key and not kind.endswith("KMS"):
        yield Problem(
            ("cache", "s3", "server_side_encryption_key_id"),
            "the key is for KMS alone, and does nothing",
            'set ServerSideEncryption = "KMS"',
        )


def _cache_not_encrypted(runner: RunnerConfig) -> Iterator[Problem]:
    """Caches and the requests for them go to the store in the clear."""
    if runner.cache.type == "s3" and runner.cache.s3.insecure:
        yield Problem(
            ("cache", "s3", "insecure"),
            "caches go to the store without encryption: whoever listens can read them and put his own in",
            "give the store TLS",
        )


RUNNER_RULES: Final[tuple[Rule[RunnerConfig], ...]] = (
    Rule("cache-type", "error", _cache_type),
    Rule("cache-table-unused", "warning", _cache_table_unused),
    Rule("cache-incomplete", "error", _cache_incomplete),
    Rule("cache-credentials", "error", _cache_credentials),
    Rule("cache-encryption", "error", _cache_encryption),
    Rule("cache-not-encrypted", "warning", _cache_not_encrypted),
)
"""All rules of this subject; they look at `[[runners]]`."""
