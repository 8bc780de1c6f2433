"""From a job and its runner's configuration to the request that a pod is built from.

Everything that a job may ask for in vain shows here, before anything is created. The order is GitLab Runner's: what the
job overwrites, its services, its image, and whether it may use them.
"""

from __future__ import annotations

import platform
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from runner.job.outcome import JobConfigurationError
from runner.job.variables import Variables, short_token
from runner.podspec.agents import build_command, helper_command
from runner.podspec.allowed import check_image
from runner.podspec.helper_image import Machine, helper_image
from runner.podspec.names import RANDOM_ALPHABET, RANDOM_LENGTH, names_for
from runner.podspec.overwrites import Overwritten, apply_overwrites, apply_service_overwrites
from runner.podspec.patches import FLAG as PATCHES_FLAG
from runner.podspec.patches import read_patches
from runner.podspec.quoting import shown
from runner.podspec.request import PodRequest, directories_for
from runner.podspec.services import pod_services

if TYPE_CHECKING:
    from runner.config.kubernetes import KubernetesConfig
    from runner.config.model import RunnerConfig
    from runner.executor.base import JobRequest
    from runner.podspec.services import PodService

log = structlog.get_logger()

_MOST_LOGGED = 20


def _unheard(_kind: str, _text: str) -> None:
    """For whoever wants the request alone."""


def pod_request(
    request: JobRequest,
    runner: RunnerConfig,
    *,
    system_id: str,
    default_helper_image: str,
    note: Callable[[str, str], None] = _unheard,
) -> PodRequest:
    """Make the request for a job's pod; `note` is given the lines that the job's log owes its reader.

    `runner` is shared by all jobs of the runner and stays as it is: the request holds a copy with the job's overwrites.
    Raises JobConfigurationError for what cannot become a pod.
    """
    overwritten = apply_overwrites(runner, request.variables)
    _tell(overwritten, note)
    job, variables, config = request.job, request.variables, overwritten.config
    services = _services(request, config.kubernetes, note)
    image = _build_image(request, config.kubernetes)
    _check_images(image, services, config.kubernetes, default_helper_image)
    folders = directories_for(config, job, request.directories.builds_dir)
    return PodRequest(
        job=job,
        variables=variables,
        config=config,
        names=names_for(
            short_token=short_token(config.token),
            project_id=job.job_info.project_id,
            concurrent_project_id=request.concurrent_project_id,
            random="".join(random.choices(RANDOM_ALPHABET, k=RANDOM_LENGTH)),
        ),
        system_id=system_id,
        build_image=image,
        helper_image=helper_image(config.kubernetes, variables, default=default_helper_image, machine=this_machine()),
        build_command=build_command(folders.logs, folders.scripts),
        helper_command=helper_command(folders.logs, folders.scripts, keep_bytes=config.output_limit * 1024),
        directories=folders,
        origins=overwritten.origins,
        services=services,
        feature_flags=request.feature_flags,
        patches=read_patches(config.kubernetes.pod_spec, _text) if request.feature_flags.get(PATCHES_FLAG) else (),
        now=time.time(),
    )


def this_machine() -> Machine:
    """Say what this process runs on."""
    return Machine(platform.system(), platform.machine())


def _text(path: str) -> str:
    return Path(path).read_text(encoding="utf-8")


def _tell(overwritten: Overwritten, note: Callable[[str, str], None]) -> None:
    for line in overwritten.notes:
        note("plain", line)
    if overwritten.ignored:
        names = [shown(name) for name in overwritten.ignored[:_MOST_LOGGED]]
        log.debug("variables overwrite nothing, for no guard lets them", variables=names)


def _services(
    request: JobRequest, kubernetes: KubernetesConfig, note: Callable[[str, str], None]
) -> tuple[PodService, ...]:
    """The job's services, each with the resources that its own variables ask for."""
    services, notes = apply_service_overwrites(
        pod_services(kubernetes.services, request.job, request.variables), kubernetes
    )
    for line in notes:
        note("plain", line)
    return services


def _build_image(request: JobRequest, kubernetes: KubernetesConfig) -> str:
    image = request.job.image
    name = request.variables.expand(image.name if image and image.name else kubernetes.image)
    if not name:
        raise JobConfigurationError(
            "no image specified and no default set in config: "
            "name one with `image:` in the job or `image` in [runners.kubernetes]"
        )
    return name


def _check_images(
    image: str, services: tuple[PodService, ...], kubernetes: KubernetesConfig, default_helper_image: str
) -> None:
    """Refuse images that the runner's lists do not allow. Its own are those it names without a variable of the job."""
    helper = helper_image(kubernetes, Variables(), default=default_helper_image, machine=this_machine())
    own = {kubernetes.image, helper}
    check_image(image, kind="images", allowed=kubernetes.allowed_images, always=own)
    own |= {entry.name for entry in kubernetes.services}
    for service in services:
        check_image(service.image, kind="services", allowed=kubernetes.allowed_services, always=own)
