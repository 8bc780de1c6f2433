"""config.toml: the global keys and one `[[runners]]` entry for each runner."""

import re
from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field, field_validator
from pydantic_core import PydanticCustomError

from runner.config.base import FILE_ONLY, FormerKey, Given, Table
from runner.config.cache import CacheConfig
from runner.config.kubernetes import KubernetesConfig
from runner.config.unfollowed import Experiments, Monitoring, Referees, RunnerExperiments
from runner.config.values import (
    Environment,
    Filled,
    Flag,
    GoDuration,
    Number,
    Seconds,
    Secret,
    SecretText,
    TextTable,
    checked,
    one_of,
    positive_or,
)

LOG_LEVELS = ("debug", "info", "warn", "warning", "error", "fatal", "panic")
LOG_FORMATS = ("runner", "text", "json")
SHELLS = ("bash", "sh", "pwsh", "powershell")


def api_root(url: str) -> str:
    """The root of GitLab's API behind a `url`: without `/` at its end, and without the `/ci` of former times."""
    return url.rstrip("/").removesuffix("/ci").rstrip("/")


def _url_problem(url: str) -> str | None:
    return None if re.match(r"https?://[^/]", url) else "Input should be a URL that begins with http:// or https://"


def _address_problem(address: str) -> str | None:
    return "Input should be host:port, without a scheme" if "://" in address else None


_LABEL_KEY = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{2,64}")
_LABEL_VALUE = re.compile(r"[a-zA-Z0-9._-]{1,256}")


MOST_LABELS = 32


def _labels(labels: dict[str, str]) -> dict[str, str]:
    """Refuse labels that GitLab would refuse, by its own patterns."""
    for key, value in labels.items():
        if not _LABEL_KEY.fullmatch(key):
            raise PydanticCustomError(
                "label", "Label {key} should match {form}", {"key": key, "form": _LABEL_KEY.pattern}
            )
        if not _LABEL_VALUE.fullmatch(value):
            form = {"key": key, "form": _LABEL_VALUE.pattern}
            raise PydanticCustomError("label", "The value of label {key} should match {form}", form)
    return labels


Labels = Annotated[TextTable, AfterValidator(_labels)]


class CustomBuildDir(Table):
    """`[runners.custom_build_dir]`."""

    enabled: Flag = Field(True, description="let jobs choose their directory with `GIT_CLONE_PATH`")


class ArtifactConfig(Table):
    """`[runners.artifact]`."""

    upload_timeout: GoDuration = Field(3600.0, description="limit on one upload of artifacts")
    response_header_timeout: GoDuration = Field(600.0, description="limit on GitLab's answer to an upload")


class SessionServerConfig(Table):
    """`[session_server]`."""

    listen_address: str = Field("", description="address to listen at for terminals; empty: none")
    advertise_address: Annotated[str, checked(_address_problem)] = Field(
        "", description="address that GitLab is told, without a scheme"
    )
    session_timeout: Seconds = Field(1800.0, description="seconds that an open terminal keeps a job's pod")


class RunnerConfig(Table):
    """`[[runners]]`: one runner as GitLab knows it."""

    name: str = Field("", description="name in logs, metrics and the job log")
    url: Annotated[Filled, AfterValidator(api_root), checked(_url_problem), Given(env="CI_SERVER_URL")] = Field(
        description="GitLab's URL; `$VAR` is taken from the environment, a trailing `/ci` is dropped"
    )
    id: Annotated[Number, FILE_ONLY] = Field(0, description="the runner's id at GitLab")
    token: Annotated[Filled, Secret(), Given(env="CI_SERVER_TOKEN")] = Field(
        description="authentication token; `$VAR` is taken from the environment"
    )
    token_obtained_at: Annotated[datetime | None, FILE_ONLY] = Field(None, description="when the token was obtained")
    token_expires_at: Annotated[datetime | None, FILE_ONLY] = Field(
        None, description="when the token expires; unset or year 1: never"
    )
    tls_ca_file: Annotated[str, Given(env="CI_SERVER_TLS_CA_FILE")] = Field(
        "", alias="tls-ca-file", description="certificates to trust besides the system's"
    )
    tls_cert_file: Annotated[str, Given(env="CI_SERVER_TLS_CERT_FILE")] = Field(
        "", alias="tls-cert-file", description="client certificate for GitLab"
    )
    tls_key_file: Annotated[str, Given(env="CI_SERVER_TLS_KEY_FILE")] = Field(
        "", alias="tls-key-file", description="key of the client certificate"
    )
    limit: Number = Field(0, description="most jobs of this runner at once; 0: no limit")
    output_limit: Annotated[Number, positive_or(4096)] = Field(4096, description="longest job log, in KiB")
    request_concurrency: Annotated[Number, positive_or(1)] = Field(1, description="job requests at once")
    strict_check_interval: Flag = Field(False, description="ask no sooner than `check_interval`, even after a job")
    unhealthy_requests_limit: Annotated[Number, positive_or(3)] = Field(
        3, description="refused requests in a row after which the runner counts as unhealthy"
    )
    unhealthy_interval: Annotated[GoDuration, positive_or(3600.0), Given(env="")] = Field(
        3600.0, description="longest wait of a refused runner, of which a minute counts"
    )
    job_status_final_update_retry_limit: Annotated[Number, positive_or(10), Given(env="")] = Field(
        10, description="refusals of GitLab, not times that it is away, after which a job's end is kept no longer"
    )
    executor: str = Field("", description="`kubernetes`; entries with another executor are left out")
    shell: Annotated[str, one_of("shell-unknown", SHELLS, "jobs fail")] = Field(
        "bash", description="`bash`, `sh`, `pwsh` or `powershell`"
    )
    builds_dir: str = Field("/builds", description="directory in the containers under which projects lie")
    cache_dir: str = Field("/cache", description="directory in the containers for caches without a store")
    clone_url: Annotated[str, Given(env="CLONE_URL")] = Field(
        "", description="replaces scheme and host of the URL that git clones from"
    )
    environment: Annotated[Environment, Given(env="RUNNER_ENV", flag="env")] = Field(
        (), description="`KEY=value` entries; a job's own variables win"
    )
    proxy_exec: Flag = Field(False, description="run commands through the helper")
    pre_get_sources_script: str = Field("", description="commands to run in the helper before git")
    post_get_sources_script: str = Field("", description="commands to run in the helper after git")
    pre_build_script: str = Field("", description="commands to run before the job's script")
    post_build_script: str = Field("", description="commands to run after the job's script, before after_script")
    prepare_timeout: GoDuration | None = Field(None, description="limit on getting the pod ready; unset: the job's")
    get_sources_timeout: GoDuration | None = Field(None, description="limit on getting the sources; unset: the job's")
    debug_trace_disabled: Flag = Field(
        False, description="forbid `CI_DEBUG_TRACE` and `CI_DEBUG_SERVICES`, which can show secrets"
    )
    safe_directory_checkout: Flag | None = Field(None, description="mark the project's directory as safe for git")
    clean_git_config: Flag | None = Field(None, description="remove git configuration and hooks that a job left")
    step_runner_image: Annotated[str, Given(env="STEP_RUNNER_IMAGE")] = Field(
        "", description="image of the step runner"
    )
    labels: Annotated[Labels, FILE_ONLY] = Field({}, description="labels of the runner at GitLab")
    feature_flags: Annotated[dict[str, Flag], Given(env="FEATURE_FLAGS")] = Field(
        {}, description="feature flags; a job cannot change these"
    )
    use_slot_cgroups: Flag = Field(False, description="of other executors")
    slot_cgroup_template: str = Field("", description="of other executors")
    custom_build_dir: Annotated[CustomBuildDir, Given(env="CUSTOM_BUILD_DIR")] = Field(
        CustomBuildDir(), description="directories of the job's choice"
    )
    artifact: Annotated[ArtifactConfig, FILE_ONLY] = Field(ArtifactConfig(), description="limits on uploads")
    cache: Annotated[CacheConfig, Given(env="CACHE")] = Field(CacheConfig(), description="the distributed cache")
    referees: Annotated[Referees | None, FILE_ONLY] = Field(None, description="watchers of a job's machine")
    monitoring: Annotated[Monitoring | None, FILE_ONLY] = Field(None, description="limits that metrics tell of")
    experimental: Annotated[RunnerExperiments | None, FILE_ONLY] = Field(None, description="experiments")
    kubernetes: Annotated[KubernetesConfig, Given(env="KUBERNETES")] = Field(
        KubernetesConfig(), description="the executor"
    )

    @field_validator("token_obtained_at", "token_expires_at")
    @classmethod
    def _year_one_is_none(cls, moment: datetime | None) -> datetime | None:
        """Go writes the date that it has not as that of the year 1."""
        return None if moment is None or moment.year == 1 else moment

    KNOWN_BUT_UNUSED: ClassVar[frozenset[str]] = frozenset(
        {
            "autoscaler",
            "custom",
            "docker",
            "instance",
            "machine",
            "parallels",
            "ssh",
            "virtualbox",
        }
    )
    NOT_ACTED_ON: ClassVar[frozenset[str]] = frozenset(
        {"experimental", "proxy_exec", "referees", "slot_cgroup_template", "step_runner_image", "use_slot_cgroups"}
    )
    FORMER_KEYS: ClassVar[Mapping[str, FormerKey]] = MappingProxyType(
        {
            "pre_clone_script": FormerKey(("pre_get_sources_script",)),
            "post_clone_script": FormerKey(("post_get_sources_script",)),
        }
    )


class Config(Table):
    """config.toml."""

    concurrent: Annotated[Number, Field(ge=1)] = Field(1, description="most jobs of this process at once")
    check_interval: Annotated[Seconds, positive_or(3.0)] = Field(
        3.0, description="seconds in which each runner asks for a job once"
    )
    log_level: Annotated[str, one_of("log-level-unknown", LOG_LEVELS, "info is taken")] = Field(
        "info", description="`debug`, `info`, `warn`, `error`, `fatal` or `panic`"
    )
    log_format: Annotated[str, one_of("log-format-unknown", LOG_FORMATS, "runner is taken")] = Field(
        "runner", description="`runner`, `text` or `json`"
    )
    listen_address: str = Field("", description="address of metrics and status page, `[host]:port`; empty: none")
    connection_max_age: GoDuration = Field(900.0, description="age after which connections to GitLab are renewed")
    shutdown_timeout: Annotated[Seconds, positive_or(30.0)] = Field(
        30.0, description="seconds that running jobs get to end when the process is told to stop"
    )
    labels: Labels = Field({}, description="labels of all runners at GitLab")
    sentry_dsn: SecretText = Field("", description="address of Sentry for errors")
    experimental: Experiments | None = Field(None, description="experiments")
    session_server: SessionServerConfig = Field(SessionServerConfig(), description="interactive terminals")
    runners: tuple[RunnerConfig, ...] = Field((), description="the runners")

    KNOWN_BUT_UNUSED: ClassVar[frozenset[str]] = frozenset({"machine", "user"})
    NOT_ACTED_ON: ClassVar[frozenset[str]] = frozenset({"experimental", "sentry_dsn"})
    FORMER_KEYS: ClassVar[Mapping[str, FormerKey]] = MappingProxyType(
        {"metrics_server": FormerKey(("listen_address",))}
    )
