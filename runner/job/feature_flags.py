"""Feature flags: names, defaults and who may set them.

The table is GitLab Runner's, flags of other executors included: a variable named like any of them is a flag, not a
variable of the job. Resolution per job: `[runners.feature_flags]` wins absolutely, then a variable of the job or
the runner, then the default.
"""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from runner.job.variables import Variable, parse_bool

FLAGS: Mapping[str, bool] = MappingProxyType(
    {
        "FF_NETWORK_PER_BUILD": False,
        "FF_USE_LEGACY_KUBERNETES_EXECUTION_STRATEGY": False,
        "FF_USE_DIRECT_DOWNLOAD": True,
        "FF_USE_FASTZIP": True,
        "FF_DISABLE_UMASK_FOR_DOCKER_EXECUTOR": False,
        "FF_ENABLE_BASH_EXIT_CODE_CHECK": False,
        "FF_USE_WINDOWS_LEGACY_PROCESS_STRATEGY": False,
        "FF_USE_LEGACY_BASH_EVAL": False,
        "FF_USE_POWERSHELL_PATH_RESOLVER": False,
        "FF_USE_DYNAMIC_TRACE_FORCE_SEND_INTERVAL": False,
        "FF_SCRIPT_SECTIONS": False,
        "FF_ENABLE_JOB_CLEANUP": False,
        "FF_KUBERNETES_HONOR_ENTRYPOINT": False,
        "FF_POSIXLY_CORRECT_ESCAPES": False,
        "FF_RESOLVE_FULL_TLS_CHAIN": False,
        "FF_DISABLE_POWERSHELL_STDIN": False,
        "FF_USE_POD_ACTIVE_DEADLINE_SECONDS": True,
        "FF_USE_ADVANCED_POD_SPEC_CONFIGURATION": False,
        "FF_SECRET_RESOLVING_FAILS_IF_MISSING": True,
        "FF_PRINT_POD_EVENTS": False,
        "FF_USE_GIT_BUNDLE_URIS": True,
        "FF_USE_GIT_NATIVE_CLONE": False,
        "FF_USE_DUMB_INIT_WITH_KUBERNETES_EXECUTOR": False,
        "FF_USE_INIT_WITH_DOCKER_EXECUTOR": False,
        "FF_LOG_IMAGES_CONFIGURED_FOR_JOB": False,
        "FF_USE_DOCKER_AUTOSCALER_DIAL_STDIO": False,
        "FF_CLEAN_UP_FAILED_CACHE_EXTRACT": False,
        "FF_USE_WINDOWS_JOB_OBJECT": False,
        "FF_TIMESTAMPS": True,
        "FF_DISABLE_AUTOMATIC_TOKEN_ROTATION": False,
        "FF_USE_LEGACY_GCS_CACHE_ADAPTER": False,
        "FF_DISABLE_UMASK_FOR_KUBERNETES_EXECUTOR": False,
        "FF_USE_LEGACY_S3_CACHE_ADAPTER": False,
        "FF_GIT_URLS_WITHOUT_TOKENS": False,
        "FF_WAIT_FOR_POD_TO_BE_REACHABLE": False,
        "FF_MASK_ALL_DEFAULT_TOKENS": True,
        "FF_EXPORT_HIGH_CARDINALITY_METRICS": False,
        "FF_USE_FLEETING_ACQUIRE_HEARTBEATS": False,
        "FF_USE_EXPONENTIAL_BACKOFF_STAGE_RETRY": True,
        "FF_USE_ADAPTIVE_REQUEST_CONCURRENCY": True,
        "FF_USE_GITALY_CORRELATION_ID": True,
        "FF_USE_GIT_PROACTIVE_AUTH": False,
        "FF_HASH_CACHE_KEYS": False,
        "FF_ENABLE_JOB_INPUTS_INTERPOLATION": True,
        "FF_USE_JOB_ROUTER": False,
        "FF_SCRIPT_TO_STEP_MIGRATION": False,
        "FF_USE_NATIVE_CONTAINER_STOP": False,
        "FF_USE_PARALLEL_CACHE_TRANSFER": False,
        "FF_USE_PARALLEL_ARTIFACT_TRANSFER": False,
        "FF_CONCRETE": False,
        "FF_SUSPENDABLE_ENVIRONMENTS": False,
        "FF_TEST_FEATURE": False,
    }
)
"""Every known flag with its default. The order is the one in which the log's header lists flags that were changed."""

CONFIG_ONLY: frozenset[str] = frozenset(
    {
        "FF_RESOLVE_FULL_TLS_CHAIN",
        "FF_USE_DYNAMIC_TRACE_FORCE_SEND_INTERVAL",
        "FF_DISABLE_AUTOMATIC_TOKEN_ROTATION",
        "FF_USE_ADAPTIVE_REQUEST_CONCURRENCY",
        "FF_USE_JOB_ROUTER",
    }
)
"""Flags that are consulted outside of any job: only `[runners.feature_flags]` sets them."""


WITHOUT_EFFECT: Mapping[str, str] = MappingProxyType(
    {
        "FF_CONCRETE": "this runner has no native steps, and runs the job's scripts as ever",
        "FF_SCRIPT_TO_STEP_MIGRATION": "this runner has no native steps, and runs the job's scripts as ever",
        "FF_SUSPENDABLE_ENVIRONMENTS": "this runner suspends no environments",
    }
)
"""Flags of this executor whose feature is not there, with what a job that turns one on is told."""

_FLAG_NAME = re.compile(r"FF_[A-Z0-9_]{1,100}")
_MOST_NAMED = 10


def resolve_flags(
    config_flags: Mapping[str, bool], variables: Iterable[Variable]
) -> tuple[Mapping[str, bool], tuple[str, ...]]:
    """Say how every flag stands for one job, with lines for the job's log.

    `variables` are the runner's and the job's, the later ones win. A value that cannot be read leaves the default. Told
    are such values, names that look like a flag's and are none, and flags whose feature is not there.
    """
    asked_for = {v.key: v.value for v in variables if v.key.startswith("FF_")}
    said = {name: value for name, value in asked_for.items() if name in FLAGS and name not in CONFIG_ONLY}
    flags: dict[str, bool] = {}
    warnings: list[str] = []
    for name, default in FLAGS.items():
        asked = parse_bool(said[name]) if said.get(name) else default
        if asked is None and name not in config_flags:
            warnings.append(f"{name}: could not parse feature flag, expected bool, got {said[name]}")
        flags[name] = config_flags.get(name, default if asked is None else asked)
    warnings += _unknown(asked_for)
    warnings += [f"{name} has no effect: {reason}." for name, reason in WITHOUT_EFFECT.items() if flags[name]]
    return MappingProxyType(flags), tuple(warnings)


def changed_flags(flags: Mapping[str, bool]) -> str:
    """List the flags that differ from their defaults, as the header of the job log shows them; empty if none."""
    changed = (name for name, default in FLAGS.items() if flags.get(name, default) != default)
    return ", ".join(f"{name}:{'true' if flags[name] else 'false'}" for name in changed)


def _unknown(names: Iterable[str]) -> Iterator[str]:
    """Name in one line what looks like a flag and is none: it may be a slip, or a variable of the job's own."""
    unknown = [name for name in names if name not in FLAGS and _FLAG_NAME.fullmatch(name)]
    if unknown:
        told = [name + _nearest(name) for name in unknown[:_MOST_NAMED]]
        more = [f"{len(unknown) - len(told)} more"] if len(unknown) > len(told) else []
        yield f"No feature flags of this runner: {', '.join([*told, *more])}"


def _nearest(name: str) -> str:
    close = difflib.get_close_matches(name, FLAGS, n=1, cutoff=0.8)
    return f" (did you mean {close[0]}?)" if close else ""
