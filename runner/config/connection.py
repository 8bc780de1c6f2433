"""Keys of `[runners.kubernetes]` about the cluster, and as whom and where in it a job runs."""

from typing import Annotated

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from runner.config.base import Given, Table
from runner.config.values import Flag, Pattern, SecretText, checked


def _host_problem(url: str) -> str | None:
    return None if not url or "://" in url else 'Input should be a URL such as "https://10.0.0.1:6443"'


class ConnectionKeys(Table):
    """Connection and identity."""

    host: Annotated[str, checked(_host_problem)] = Field(
        "", description="URL of the API server; empty: in-cluster credentials, else the kubeconfig"
    )
    context: Annotated[str, Given(env="KUBECTL_CONTEXT")] = Field(
        "", description="context of the kubeconfig, where that is used; empty: its current one"
    )
    cert_file: str = Field("", description="client certificate for `host`; needs `key_file` and `ca_file` too")
    key_file: str = Field("", description="key of the client certificate")
    ca_file: str = Field("", description="certificates that `host` is verified with")
    bearer_token: Annotated[SecretText, Given(flag="kubernetes-bearer_token")] = Field(
        "", description="token for `host`"
    )
    bearer_token_overwrite_allowed: Annotated[Flag, Given(flag="kubernetes-bearer_token_overwrite_allowed")] = Field(
        False, description="let jobs choose the token with `KUBERNETES_BEARER_TOKEN`"
    )
    namespace: str = Field("default", description="namespace of the job's pod")
    namespace_overwrite_allowed: Annotated[Pattern, Given(flag="kubernetes-namespace_overwrite_allowed")] = Field(
        "", description="namespaces that jobs may choose with `KUBERNETES_NAMESPACE_OVERWRITE`; empty: none"
    )
    namespace_per_job: Annotated[Flag, Given(flag="kubernetes-namespace_per_job")] = Field(
        False, description="run each job in a namespace of its own, `ci-job-<id>`, made before it and removed after"
    )
    service_account: str = Field("", description="service account of the job's pod")
    service_account_overwrite_allowed: Annotated[
        Pattern, Given(flag="kubernetes-service_account_overwrite_allowed")
    ] = Field(
        "", description="service accounts that jobs may choose with `KUBERNETES_SERVICE_ACCOUNT_OVERWRITE`; empty: none"
    )
    automount_service_account_token: Flag | None = Field(
        None, description="mount the service account's token into the pod; unset: the cluster decides"
    )

    @field_validator("namespace")
    @classmethod
    def _namespace_or_default(cls, namespace: str) -> str:
        return namespace or "default"

    @model_validator(mode="after")
    def _certificate_is_whole(self) -> "ConnectionKeys":
        if self.host and self.cert_file and not (self.key_file and self.ca_file):
            raise PydanticCustomError("certificate", "cert_file needs key_file and ca_file beside it")
        return self
