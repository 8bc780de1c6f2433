"""The job as GitLab sends it: the 201 body of `POST /api/v4/jobs/request`.

Decoding is lenient, because a payload that cannot be read loses the job: GitLab counts it as running until its
time-out. Unknown fields are kept, null is the default for each field at every level, numbers may come as text. Only
`id` and `token` must be there: without them nobody can be told anything. Field names are GitLab's.

No text made here holds a value of the payload: fields with secrets stay out of `repr`, and `PayloadError` names
the field and what was expected, never what was got.
"""

import re
from collections.abc import Iterator
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import from_json

DEFAULT_TIMEOUT = 7200.0
"""Seconds a job may take when GitLab names no time-out."""


class PayloadError(ValueError):
    """A job's payload that cannot be read; the message names the field, never its value."""


class _Part(BaseModel):
    """One object of the payload."""

    model_config = ConfigDict(
        frozen=True,
        extra="allow",
        coerce_numbers_to_str=True,
        hide_input_in_errors=True,
        protected_namespaces=(),
    )

    @model_validator(mode="before")
    @classmethod
    def _null_is_the_default(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {key: value for key, value in data.items() if value is not None or key not in cls.model_fields}

    def __repr_args__(self) -> Any:
        """Leave out what we do not know: a field that is new to us may be a secret."""
        return ((name, value) for name, value in super().__repr_args__() if name in type(self).model_fields)


T = TypeVar("T")


def _listed(value: object) -> object:
    """A list without its nulls; one text alone is a list of one."""
    if isinstance(value, str):
        return (value,)
    return [item for item in value if item is not None] if isinstance(value, list | tuple) else value


def _worded(value: object) -> object:
    return ("true" if value else "false") if isinstance(value, bool) else value


def _unless_empty(default: str) -> BeforeValidator:
    return BeforeValidator(lambda value: default if value == "" else value)


Items = Annotated[tuple[T, ...], BeforeValidator(_listed)]
Text = Annotated[str, BeforeValidator(_worded)]


class JobInfo(_Part):
    """Where the job comes from."""

    id: int = 0
    name: str = ""
    stage: str = ""
    pipeline_id: int = 0
    project_id: int = 0
    project_name: str = ""
    project_full_path: str = ""
    namespace_id: int = 0
    root_namespace_id: int = 0
    organization_id: int = 0
    instance_id: str = ""
    instance_uuid: str = ""
    user_id: int = 0
    scoped_user_id: int | None = None
    time_in_queue_seconds: float = 0.0
    project_jobs_running_on_instance_runners_count: str = ""
    queue_size: int = 0
    queue_depth: int = 0


class GitInfo(_Part):
    """What to check out."""

    repo_url: str = Field("", repr=False)
    repo_object_format: Annotated[str, _unless_empty("sha1")] = "sha1"
    ref: str = ""
    sha: str = ""
    before_sha: str = ""
    ref_type: str = ""
    refspecs: Items[str] = ()
    depth: int = 0
    protected: bool | None = None


class RunnerInfo(_Part):
    """What GitLab tells the runner about running this job."""

    uuid: str = ""
    timeout: float = 0.0
    runner_session_url: str = ""


class JobVariable(_Part):
    """One variable; `raw` ones are not expanded, the value of a `file` one is written to a file."""

    key: str = ""
    value: Text = Field("", repr=False)
    public: bool = False
    masked: bool = False
    file: bool = False
    raw: bool = False


class Step(_Part):
    """One list of commands: `script`, `after_script`, `release` or a name to come."""

    name: str = ""
    script: Items[Text] = ()
    timeout: float = 0.0
    when: str = ""
    allow_failure: bool = False


class Port(_Part):
    """A port of an image that the interactive proxy may reach."""

    number: int = 0
    protocol: str = ""
    name: str = ""


class DockerOptions(_Part):
    """`executor_opts.docker`: read so that it can be told from an unknown key; this executor has no use for it."""

    platform: str = ""
    user: str = ""


class KubernetesOptions(_Part):
    """`executor_opts.kubernetes`: the user to run as, `uid` or `uid:gid`."""

    user: str = ""


class ExecutorOptions(_Part):
    """Options of one image for one kind of executor."""

    docker: DockerOptions = DockerOptions()
    kubernetes: KubernetesOptions = KubernetesOptions()


class Image(_Part):
    """The image of the build container, or of a service."""

    name: str = ""
    alias: str = ""
    entrypoint: Items[str] = ()
    command: Items[str] = ()
    ports: Items[Port] = ()
    variables: Items[JobVariable] = ()
    pull_policy: Items[str] = ()
    executor_opts: ExecutorOptions = ExecutorOptions()

    @property
    def aliases(self) -> tuple[str, ...]:
        """The names in `alias`, which separates them by commas or blanks."""
        return tuple(name for name in re.split(r"[,\s]+", self.alias) if name)


class Service(Image):
    """A container that runs beside the job's."""


class Artifact(_Part):
    """Files to upload after the job."""

    name: str = ""
    untracked: bool = False
    paths: Items[str] = ()
    exclude: Items[str] = ()
    when: Annotated[str, _unless_empty("on_success")] = "on_success"
    expire_in: str = ""
    artifact_type: Annotated[str, _unless_empty("archive")] = "archive"
    artifact_format: Annotated[str, _unless_empty("zip")] = "zip"


class Cache(_Part):
    """Files to keep from job to job. `policy` may hold variables, so its words are checked after expansion."""

    key: str = ""
    untracked: bool = False
    paths: Items[str] = ()
    policy: Annotated[str, _unless_empty("pull-push")] = "pull-push"
    when: Annotated[str, _unless_empty("on_success")] = "on_success"
    fallback_keys: Items[str] = ()


class Credentials(_Part):
    """Access to a server; only `type` `registry` matters here. `url` has no scheme."""

    type: str = ""
    url: str = ""
    username: str = ""
    password: str = Field("", repr=False)


class ArtifactsFile(_Part):
    """The archive of a job that this one depends on."""

    filename: str = ""
    size: int = 0


class Dependency(_Part):
    """A job whose artifacts this one wants; without an `artifacts_file` there is nothing to download."""

    id: int = 0
    name: str = ""
    token: str = Field("", repr=False)
    artifacts_file: ArtifactsFile | None = None


class Features(_Part):
    """What this GitLab understands."""

    trace_sections: bool = False
    token_mask_prefixes: Items[str] = ()
    failure_reasons: Items[str] = ()
    tracing: dict[str, Any] | None = Field(None, repr=False)


class Hook(_Part):
    """A script of the project's to run at a named place."""

    name: str = ""
    script: Items[Text] = ()


class PolicyOptions(_Part):
    """The security policy that made this job; only told in the log."""

    execution_policy_job: bool = False
    policy_name: str = ""
    policy_variables_override_allowed: bool | None = None
    policy_variables_override_exceptions: Items[str] = ()


class Job(_Part):
    """One job, as GitLab handed it out."""

    id: int
    token: str = Field(repr=False, min_length=1)
    allow_git_fetch: bool = False
    job_info: JobInfo = JobInfo()
    git_info: GitInfo = GitInfo()
    runner_info: RunnerInfo = RunnerInfo()
    inputs: Items[dict[str, Any]] = Field((), repr=False)
    variables: Items[JobVariable] = ()
    steps: Items[Step] = ()
    run: str = Field("", repr=False)
    image: Image | None = None
    services: Items[Service] = ()
    artifacts: Items[Artifact] = ()
    cache: Items[Cache] = ()
    credentials: Items[Credentials] = ()
    dependencies: Items[Dependency] = ()
    features: Features = Features()
    hooks: Items[Hook] = ()
    secrets: dict[str, Any] = Field({}, repr=False)
    policy_options: PolicyOptions = PolicyOptions()
    correlation_id: str = ""
    """By which GitLab's logs know the request that brought the job; no field of the payload."""

    @classmethod
    def parse(cls, data: bytes | dict[str, Any]) -> "Job":
        """Read a payload. Raises `PayloadError` with one sentence that names the first field at fault."""
        if isinstance(data, bytes):
            data = _decode(data)
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "its top level"
        # Raised outside of the handler: the error above holds the values that were got.
        raise PayloadError(f"The job payload cannot be read: {where}: {first['msg']}.")

    @property
    def timeout(self) -> float:
        """Seconds the job may take; GitLab's 0 and less mean two hours."""
        return self.runner_info.timeout if self.runner_info.timeout > 0 else DEFAULT_TIMEOUT

    def step(self, name: str) -> Step | None:
        """The first step of that name."""
        return next((step for step in self.steps if step.name == name), None)


def _decode(data: bytes) -> dict[str, Any]:
    # Go replaces what is not UTF-8; a commit message in an old encoding must not lose the job.
    try:
        value = from_json(data.decode("utf-8", "replace"))
    except ValueError as error:
        # The parser's text gives place and kind of the fault, none of the document.
        raise PayloadError(f"The job payload is no JSON: {error}.") from None
    if not isinstance(value, dict):
        raise PayloadError("The job payload is no JSON object.")
    return value


def unknown_executor_options(job: Job) -> tuple[str, ...]:
    """Name every key under an `executor_opts` that no executor knows, such as `image.executor_opts.kubernetes.gpu`.

    GitLab Runner fails such a job right after pickup: an option that is silently ignored (a user, a platform) would
    run the job as something else than was asked for.
    """
    images: list[tuple[str, Image]] = [("image", job.image)] if job.image else []
    images += [(f"services.{index}", service) for index, service in enumerate(job.services)]
    return tuple(name for place, image in images for name in _unknown_options(place, image.executor_opts))


def _unknown_options(place: str, options: ExecutorOptions) -> Iterator[str]:
    parts: tuple[tuple[str, _Part], ...] = (
        (f"{place}.executor_opts", options),
        (f"{place}.executor_opts.docker", options.docker),
        (f"{place}.executor_opts.kubernetes", options.kubernetes),
    )
    return (f"{path}.{key}" for path, part in parts for key in part.model_extra or {})
