"""GitLab may count on exactly what is implemented."""

import sys

from runner.gitlab.features import FEATURES, ClientInfo, go_platform

INFO = ClientInfo(version="19.4.0", revision="1a2b3c4d", operating_system="linux", architecture="amd64")


def test_features_advertised_are_those_that_are_there() -> None:
    """A feature that becomes true is a decision: GitLab will send jobs that need it."""
    assert {name for name, feature in FEATURES.items() if feature.advertised} == {
        "variables",
        "raw_variables",
        "image",
        "services",
        "service_variables",
        "service_multiple_aliases",
        "refspecs",
        "masking",
        "multi_build_steps",
        "return_exit_code",
        "cancelable",
        "cancel_gracefully",
        "trace_reset",
        "trace_checksum",
        "trace_size",
        "two_phase_job_commit",
        "artifacts",
        "upload_multiple_artifacts",
        "upload_raw_artifacts",
        "artifacts_exclude",
        "cache",
        "fallback_cache_keys",
        "image_executor_opts",
    }
    assert all(feature.reason for feature in FEATURES.values())


def test_info_has_every_feature_and_leaves_out_empty_texts() -> None:
    """The features are always an object of booleans, and `config` is always there."""
    info = ClientInfo(
        version="19.4.0", revision="", operating_system="linux", architecture="amd64", labels={"zone": "a"}
    ).as_json()
    features = info.pop("features")
    assert isinstance(features, dict)
    assert set(features) == set(FEATURES)
    assert info == {
        "name": "gitlab-runner",
        "version": "19.4.0",
        "platform": "linux",
        "architecture": "amd64",
        "executor": "kubernetes",
        "shell": "bash",
        "config": {"gpus": ""},
        "labels": {"zone": "a"},
    }


def test_user_agent_has_the_shape_of_gitlab_runner() -> None:
    """Name, version, branch, toolchain and platform."""
    python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    assert INFO.user_agent == f"gitlab-runner 19.4.0 (main; {python}; linux/amd64)"


def test_platform_is_spelled_as_go_does() -> None:
    """GitLab knows `amd64` and `arm64`."""
    system, architecture = go_platform()
    assert system == sys.platform
    assert architecture not in {"x86_64", "aarch64"}
