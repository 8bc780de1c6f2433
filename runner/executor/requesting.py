"""From a job and its runner's configuration to the request that a pod is built from.

Everything that a job may ask for in vain shows here, before anything is created.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from runner.job.outcome import JobConfigurationError
from runner.job.variables import short_token
from runner.podspec.agents import build_command, helper_command
from runner.podspec.names import RANDOM_ALPHABET, RANDOM_LENGTH, names_for
from runner.podspec.request import PodRequest, directories_for
from runner.podspec.services import pod_services

if TYPE_CHECKING:
    from runner.config.model import RunnerConfig
    from runner.executor.base import JobRequest


def pod_request(request: JobRequest, runner: RunnerConfig, *, system_id: str, default_helper_image: str) -> PodRequest:
    """Make the request for a job's pod. Raises JobConfigurationError for what cannot become one."""
    job, variables, kubernetes = request.job, request.variables, runner.kubernetes
    image = variables.expand(job.image.name if job.image and job.image.name else kubernetes.image)
    if not image:
        raise JobConfigurationError(
            "no image specified and no default set in config: "
            "name one with `image:` in the job or `image` in [runners.kubernetes]"
        )
    folders = directories_for(runner, job, request.directories.builds_dir)
    return PodRequest(
        job=job,
        variables=variables,
        config=runner,
        names=names_for(
            short_token=short_token(runner.token),
            project_id=job.job_info.project_id,
            concurrent_project_id=request.concurrent_project_id,
            random="".join(random.choices(RANDOM_ALPHABET, k=RANDOM_LENGTH)),
        ),
        system_id=system_id,
        build_image=image,
        helper_image=variables.expand(kubernetes.helper_image) or default_helper_image,
        build_command=build_command(folders.logs, folders.scripts),
        helper_command=helper_command(folders.logs, folders.scripts, keep_bytes=runner.output_limit * 1024),
        directories=folders,
        services=pod_services(kubernetes.services, job, variables),
        feature_flags=request.feature_flags,
        now=time.time(),
    )
