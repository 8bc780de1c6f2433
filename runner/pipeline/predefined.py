"""The variables that GitLab gives every job: what rules of real files ask for, with the values of a push to a branch.

What a local run has no value for stays unset, as it does in GitLab: `CI_COMMIT_TAG`, `CI_MERGE_REQUEST_*`,
`CI_OPEN_MERGE_REQUESTS`, `CI_REGISTRY*`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from runner.pipeline.model import Environment, LocalJob, LocalVariable

NO_COMMIT = "0" * 40
"""What GitLab has for the commit before the first one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """The repository that the jobs of a local pipeline run on."""

    path: str
    """`group/project`."""
    repo_url: str
    """Where to fetch from, without credentials."""
    ref: str
    """The branch's name."""
    sha: str
    title: str = ""
    """The commit's first line."""
    message: str = ""
    author: str = ""
    """`Name <address>`."""
    committed_at: str = ""
    """ISO 8601."""
    default_branch: str = "main"


@dataclass(frozen=True, slots=True, kw_only=True)
class Occasion:
    """This run of the pipeline."""

    server_url: str
    pipeline_id: int
    created_at: str = ""
    """ISO 8601."""
    user: str = "local"
    project_id: int = 1
    config_path: str = ".gitlab-ci.yml"
    pipeline_name: str = ""


def predefined(checkout: Checkout, occasion: Occasion) -> dict[str, str]:
    """The variables of every job of a pipeline; rules see these."""
    return {
        "CI": "true",
        "GITLAB_CI": "true",
        "GITLAB_FEATURES": "",
        "RUNNER_LOCAL": "true",
        "GITLAB_USER_ID": "1",
        "GITLAB_USER_LOGIN": occasion.user,
        "GITLAB_USER_NAME": occasion.user,
        "GITLAB_USER_EMAIL": f"{occasion.user}@localhost",
        **_server(occasion.server_url),
        **_project(checkout, occasion),
        **_commit(checkout),
        **_pipeline(checkout, occasion),
    }


def _server(url: str) -> dict[str, str]:
    scheme, _, rest = url.partition("://")
    host, _, port = rest.partition(":")
    return {
        "CI_SERVER_URL": url,
        "CI_SERVER_HOST": host,
        "CI_SERVER_FQDN": rest,
        "CI_SERVER_PORT": port or ("443" if scheme == "https" else "80"),
        "CI_SERVER_PROTOCOL": scheme,
        "CI_SERVER_NAME": "GitLab",
        "CI_API_V4_URL": f"{url}/api/v4",
        "CI_API_GRAPHQL_URL": f"{url}/api/graphql",
    }


def _project(checkout: Checkout, occasion: Occasion) -> dict[str, str]:
    group, _, project = checkout.path.rpartition("/")
    return {
        "CI_PROJECT_ID": str(occasion.project_id),
        "CI_PROJECT_NAME": project,
        "CI_PROJECT_TITLE": project,
        "CI_PROJECT_DESCRIPTION": "",
        "CI_PROJECT_NAMESPACE": group,
        "CI_PROJECT_NAMESPACE_SLUG": slug(group),
        "CI_PROJECT_ROOT_NAMESPACE": group.partition("/")[0],
        "CI_PROJECT_PATH": checkout.path,
        "CI_PROJECT_PATH_SLUG": slug(checkout.path),
        "CI_PROJECT_URL": f"{occasion.server_url}/{checkout.path}",
        "CI_PROJECT_VISIBILITY": "private",
        "CI_DEFAULT_BRANCH": checkout.default_branch,
        "CI_DEFAULT_BRANCH_SLUG": slug(checkout.default_branch),
        "CI_CONFIG_PATH": occasion.config_path,
    }


def _commit(checkout: Checkout) -> dict[str, str]:
    return {
        "CI_COMMIT_SHA": checkout.sha,
        "CI_COMMIT_SHORT_SHA": checkout.sha[:8],
        "CI_COMMIT_BEFORE_SHA": NO_COMMIT,
        "CI_COMMIT_REF_NAME": checkout.ref,
        "CI_COMMIT_REF_SLUG": slug(checkout.ref),
        "CI_COMMIT_REF_PROTECTED": "false",
        "CI_COMMIT_BRANCH": checkout.ref,
        "CI_COMMIT_TITLE": checkout.title,
        "CI_COMMIT_MESSAGE": checkout.message or checkout.title,
        "CI_COMMIT_DESCRIPTION": checkout.message.partition("\n")[2].strip(),
        "CI_COMMIT_AUTHOR": checkout.author,
        "CI_COMMIT_TIMESTAMP": checkout.committed_at,
    }


def _pipeline(checkout: Checkout, occasion: Occasion) -> dict[str, str]:
    named = {"CI_PIPELINE_NAME": occasion.pipeline_name} if occasion.pipeline_name else {}
    return {
        "CI_PIPELINE_ID": str(occasion.pipeline_id),
        "CI_PIPELINE_IID": str(occasion.pipeline_id),
        "CI_PIPELINE_SOURCE": "push",
        "CI_PIPELINE_TRIGGERED": "false",
        "CI_PIPELINE_URL": f"{occasion.server_url}/{checkout.path}/-/pipelines/{occasion.pipeline_id}",
        "CI_PIPELINE_CREATED_AT": occasion.created_at,
        **named,
    }


VERBATIM = {"CI_COMMIT_TITLE", "CI_COMMIT_MESSAGE", "CI_COMMIT_DESCRIPTION", "CI_COMMIT_AUTHOR"}
"""What people wrote: a `$` in it is a `$`."""


def job_predefined(job: LocalJob, id: int, *, url: str) -> dict[str, str]:
    """The variables of one job; `url` is its project's."""
    return {
        "CI_JOB_ID": str(id),
        "CI_JOB_URL": f"{url}/-/jobs/{id}",
        "CI_JOB_NAME": job.name,
        "CI_JOB_NAME_SLUG": slug(job.name),
        "CI_JOB_GROUP_NAME": job.base,
        "CI_JOB_STAGE": job.stage,
        "CI_NODE_TOTAL": "1",
        **({"CI_JOB_MANUAL": "true"} if job.when == "manual" else {}),
        **_environment(job.environment),
    }


def _environment(environment: Environment | None) -> dict[str, str]:
    if environment is None:
        return {}
    found = {
        "CI_ENVIRONMENT_NAME": environment.name,
        "CI_ENVIRONMENT_SLUG": _environment_slug(environment.name),
        "CI_ENVIRONMENT_ACTION": environment.action,
        "CI_ENVIRONMENT_TIER": environment.tier or _tier(environment.name),
    }
    return {**found, "CI_ENVIRONMENT_URL": environment.url} if environment.url else found


_TIERS = (
    (r"dev|review|trunk", "development"),
    (r"test|tst|int|ac(?:ce)?pt|qa|qc|control|quality", "testing"),
    (r"sta?g|mode?l|pre|demo|non", "staging"),
    (r"pro?d|live", "production"),
)
"""How GitLab guesses an environment's tier by its name, the first that fits: `non-prod` is staging."""


def _tier(name: str) -> str:
    return next((tier for pattern, tier in _TIERS if re.search(pattern, name, re.IGNORECASE)), "other")


def _environment_slug(name: str) -> str:
    plain = re.sub(r"-+", "-", re.sub(r"[^a-z0-9]", "-", name.lower())).strip("-")
    return (plain if plain[:1].isalpha() else f"env-{plain}")[:24].rstrip("-")


def slug(text: str) -> str:
    """A name as a part of a host name, at most 63 characters."""
    return re.sub(r"[^a-z0-9]", "-", text.lower())[:63].strip("-")


def predefined_variables(values: dict[str, str]) -> tuple[LocalVariable, ...]:
    """The same as variables; what people wrote is not expanded."""
    return tuple(LocalVariable(key=key, value=value, raw=key in VERBATIM) for key, value in values.items())
