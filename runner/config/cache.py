"""`[runners.cache]`: the distributed cache. Keys are in the original's spelling, matched in any case."""

from typing import Annotated

from pydantic import AliasGenerator, ConfigDict, Field
from pydantic.alias_generators import to_pascal

from runner.config.base import Given, Table
from runner.config.values import Flag, Number, SecretText


class _Pascal(Table):
    """A table with keys such as `BucketName`."""

    model_config = ConfigDict(alias_generator=AliasGenerator(validation_alias=to_pascal))


class CacheS3Config(_Pascal):
    """`[runners.cache.s3]`."""

    server_address: str = Field("", description="host and port of the store; empty: Amazon's")
    access_key: SecretText = Field("", description="access key")
    secret_key: SecretText = Field("", description="secret key")
    session_token: SecretText = Field("", description="session token")
    bucket_name: str = Field("", description="bucket")
    bucket_location: str = Field("", description="region of the bucket")
    insecure: Flag = Field(False, description="speak plain HTTP")
    authentication_type: Annotated[str, Given(flag="cache-s3-authentication_type")] = Field(
        "", description="`access-key` or `iam`; empty: by what keys are there"
    )
    server_side_encryption: str = Field("", description="`S3`, `KMS` or `DSSE-KMS`")
    server_side_encryption_key_id: str = Field(
        "", validation_alias="ServerSideEncryptionKeyID", description="key for `KMS`"
    )
    dual_stack: Flag = Field(True, description="use Amazon's endpoints that speak IPv6 too")
    path_style: Flag | None = Field(None, description="bucket in the path instead of the host name; unset: by the host")
    accelerate: Flag = Field(False, description="use Amazon's accelerated endpoint")
    role_arn: str = Field("", validation_alias="RoleARN", description="role that signs, and lends keys for uploads")
    upload_role_arn: str = Field("", validation_alias="UploadRoleARN", description="role that lends keys for uploads")
    assume_role_max_concurrency: Number = Field(5, description="roles taken on at once")
    disable_assume_role_credentials_caching: Flag = Field(False, description="take on the role anew for each address")


class CacheGcsConfig(_Pascal):
    """`[runners.cache.gcs]`."""

    access_id: str = Field("", validation_alias="AccessID", description="service account")
    private_key: SecretText = Field("", description="key of the service account")
    credentials_file: Annotated[str, Given(env="GOOGLE_APPLICATION_CREDENTIALS")] = Field(
        "", description="file with the service account and its key"
    )
    bucket_name: str = Field("", description="bucket")
    universe_domain: str = Field(
        "", description="domain of another cloud than Google's public one; refused, for nothing can be signed there"
    )


class CacheAzureConfig(_Pascal):
    """`[runners.cache.azure]`."""

    account_name: str = Field("", description="storage account")
    account_key: SecretText = Field("", description="key of the storage account")
    container_name: str = Field("", description="container of blobs")
    storage_domain: str = Field("", description="domain of the store; empty: `blob.core.windows.net`")


class CacheConfig(_Pascal):
    """`[runners.cache]`."""

    type: str = Field("", description="`s3`, `gcs` or `azure`; empty: no distributed cache")
    path: str = Field("", description="prefix of all objects in the bucket")
    shared: Flag = Field(False, description="share the cache between runners: leave the runner out of the path")
    max_uploaded_archive_size: Annotated[
        Number, Given(env="CACHE_MAXIMUM_UPLOADED_ARCHIVE_SIZE", flag="cache-max_uploaded_archive_size")
    ] = Field(0, description="largest archive to upload, in bytes; 0: any size")
    s3: CacheS3Config = Field(CacheS3Config(), validation_alias="s3", description="Amazon S3 and its likes")
    gcs: CacheGcsConfig = Field(CacheGcsConfig(), validation_alias="gcs", description="Google Cloud Storage")
    azure: CacheAzureConfig = Field(CacheAzureConfig(), validation_alias="azure", description="Azure Blob Storage")
