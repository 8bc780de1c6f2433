"""Models of config.toml, built in Python."""

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from runner.config.cache import CacheConfig, CacheS3Config
from runner.config.findings import ConfigError, Finding
from runner.config.kubernetes import KubernetesConfig
from runner.config.model import Config, RunnerConfig, SessionServerConfig, api_root
from runner.config.patches import PodPatch


@pytest.mark.parametrize(
    ("url", "root"),
    [
        ("https://gitlab.example.com", "https://gitlab.example.com"),
        ("https://gitlab.example.com/", "https://gitlab.example.com"),
        ("https://gitlab.example.com/ci", "https://gitlab.example.com"),
        ("https://gitlab.example.com/ci/", "https://gitlab.example.com"),
        ("https://gitlab.example.com//ci//", "https://gitlab.example.com"),
        ("https://example.com/gitlab/ci", "https://example.com/gitlab"),
        ("https://example.com/gitlab-ci", "https://example.com/gitlab-ci"),
        ("https://gitlab.example.com/ci/ci", "https://gitlab.example.com/ci"),
    ],
)
def test_url_is_the_root_of_the_api(url: str, root: str) -> None:
    """Slashes and one `/ci` of former times are dropped."""
    assert api_root(url) == root
    assert RunnerConfig(url=url, token="t").url == root


@pytest.mark.parametrize("url", ["ftp://x", "gitlab.example.com", "https://", "https:///ci", "://x", "httpss://x"])
def test_url_of_another_kind_is_refused(url: str) -> None:
    """Only http and https lead to GitLab."""
    with pytest.raises(ValidationError, match="begins with http:// or https://"):
        RunnerConfig(url=url, token="t")


def test_config_without_anything_has_the_originals_defaults() -> None:
    """An empty file is a configuration."""
    config = Config()
    assert (config.concurrent, config.check_interval, config.shutdown_timeout) == (1, 3.0, 30.0)
    assert (config.connection_max_age, config.log_level, config.log_format, config.runners) == (
        900.0,
        "info",
        "runner",
        (),
    )


def test_runner_has_the_originals_defaults() -> None:
    """What is not said is as GitLab Runner has it for Kubernetes."""
    runner = RunnerConfig(url="https://x", token="t")
    assert (runner.output_limit, runner.request_concurrency, runner.limit) == (4096, 1, 0)
    assert (runner.unhealthy_requests_limit, runner.unhealthy_interval) == (3, 3600.0)
    assert (runner.builds_dir, runner.cache_dir, runner.shell) == ("/builds", "/cache", "bash")
    assert runner.custom_build_dir.enabled is True
    assert (runner.artifact.upload_timeout, runner.artifact.response_header_timeout) == (3600.0, 600.0)
    assert runner.kubernetes == KubernetesConfig()


def test_kubernetes_has_the_originals_defaults() -> None:
    """Intervals, limits and what is left to the cluster."""
    config = KubernetesConfig()
    assert (config.namespace, config.poll_interval, config.poll_timeout) == ("default", 3.0, 180.0)
    assert (config.cleanup_resources_timeout, config.retry_limit, config.retry_backoff_max) == (300.0, 5, 2000)
    assert (config.privileged, config.pull_policy, config.print_pod_warning_events) == (None, (), True)


@pytest.mark.parametrize("value", [0, -1])
def test_zero_and_less_mean_the_default(value: int) -> None:
    """Intervals and limits that make no sense are the default's, as in the original."""
    kubernetes = KubernetesConfig(
        poll_interval=value,
        poll_timeout=value,
        retry_limit=value,
        retry_backoff_max=value,
        cleanup_resources_timeout=value,
    )
    assert kubernetes == KubernetesConfig()
    assert Config(check_interval=value, shutdown_timeout=value) == Config()
    runner = RunnerConfig(url="https://x", token="t", output_limit=value, request_concurrency=value)
    assert (runner.output_limit, runner.request_concurrency) == (4096, 1)


@pytest.mark.parametrize(("given", "attempts"), [(0, 0), (3, 3), (-1, 5)])
def test_availability_check_is_off_at_zero_and_five_below(given: int, attempts: int) -> None:
    """0 turns the check off; less than 0 is the five of `register`."""
    kubernetes = KubernetesConfig(resource_availability_check_max_attempts=given)
    assert kubernetes.resource_availability_check_max_attempts == attempts


def test_patch_without_a_type_is_strategic() -> None:
    """As in the original."""
    assert [PodPatch(patch_type=kind).patch_type for kind in ("", "strategic", "json")] == [
        "strategic",
        "strategic",
        "json",
    ]


def test_certificate_without_a_host_is_no_error() -> None:
    """It is not used then, as in the original."""
    assert KubernetesConfig(cert_file="c").cert_file == "c"


def test_waits_between_tries_are_half_a_second_at_least() -> None:
    """A shorter bound than the first wait would be none."""
    assert KubernetesConfig(retry_backoff_max=100).retry_backoff_max == 500
    assert KubernetesConfig(retry_backoff_max=700).retry_backoff_max == 700


def test_empty_namespace_is_the_default_one() -> None:
    """As if it were not said."""
    assert KubernetesConfig(namespace="").namespace == "default"


def test_certificate_needs_key_and_authority() -> None:
    """A client certificate alone connects to nothing."""
    with pytest.raises(ValidationError, match="cert_file needs key_file and ca_file"):
        KubernetesConfig(host="https://x", cert_file="c", key_file="k")
    assert KubernetesConfig(cert_file="c", key_file="k", ca_file="a").cert_file == "c"


@pytest.mark.parametrize("host", ["10.0.0.1", "10.0.0.1:6443"])
def test_host_is_a_url(host: str) -> None:
    """An address without a scheme is a mistake that would show late."""
    with pytest.raises(ValidationError, match="should be a URL"):
        KubernetesConfig(host=host)


def test_moment_of_year_one_is_none() -> None:
    """Go's zero date means that there is no date."""
    runner = RunnerConfig(
        url="https://x",
        token="t",
        token_obtained_at=datetime(1, 1, 1, tzinfo=UTC),
        token_expires_at=datetime(2030, 1, 1, tzinfo=UTC),
    )
    assert (runner.token_obtained_at, runner.token_expires_at) == (None, datetime(2030, 1, 1, tzinfo=UTC))


def test_fields_go_by_the_files_keys_and_by_their_names() -> None:
    """Python says tls_ca_file, the file says tls-ca-file; both build the model."""
    by_key = RunnerConfig.model_validate(
        {"url": "https://x", "token": "t", "tls-ca-file": "a", "cache": {"Type": "s3"}}
    )
    by_name = RunnerConfig(url="https://x", token="t", tls_ca_file="a", cache=CacheConfig(type="s3"))
    assert by_key == by_name


def test_unknown_field_is_refused_in_python() -> None:
    """Only a file may hold what we do not know."""
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        KubernetesConfig.model_validate({"pol_timeout": 3})


def test_repr_shows_no_secret() -> None:
    """A configuration in a traceback gives nothing away."""
    config = Config(
        runners=(
            RunnerConfig(
                url="https://x",
                token="s3cret",
                environment=("A=s3cret",),
                cache=CacheConfig(s3=CacheS3Config(access_key="s3cret", secret_key="s3cret", session_token="s3cret")),
                kubernetes=KubernetesConfig(bearer_token="s3cret"),
            ),
        )
    )
    assert "s3cret" not in repr(config)
    assert "s3cret" not in str(config)


def test_refused_value_is_not_in_the_errors_text() -> None:
    """Even a wrong token is a token."""
    with pytest.raises(ValidationError) as caught:
        RunnerConfig.model_validate({"url": "https://x", "token": ["s3cret"]})
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("labels", "fits"),
    [
        ({"tier": "gold"}, True),
        ({"_a.b-c": "x" * 256}, True),
        ({"ab": "x"}, False),
        ({"a b c": "x"}, False),
        ({"abc": ""}, False),
        ({"abc": "x" * 257}, False),
        ({"abc": "ä"}, False),
        ({"-abc": "x"}, False),
    ],
)
def test_labels_have_gitlabs_form(labels: dict[str, str], fits: bool) -> None:
    """What GitLab would refuse is refused where the line is known."""
    if fits:
        assert Config(labels=labels).labels == labels
    else:
        with pytest.raises(ValidationError, match="label"):
            Config(labels=labels)


def test_session_servers_address_has_no_scheme() -> None:
    """GitLab makes the URL of it."""
    assert SessionServerConfig(advertise_address="runner:8093").advertise_address == "runner:8093"
    with pytest.raises(ValidationError, match="without a scheme"):
        SessionServerConfig(advertise_address="https://runner:8093")


def test_finding_is_a_line_with_its_place() -> None:
    """File, line, path and message; for a text that is no TOML, which has no path, the column."""
    assert str(Finding("error", "c.toml", 3, "runners.0", "why", column=7)) == "c.toml:3: runners.0: why"
    assert str(Finding("error", "c.toml", 3, "", "why", column=7)) == "c.toml:3:7: why"
    assert str(Finding("error", "c.toml", 3, "", "why")) == "c.toml:3: why"


def test_config_error_tells_its_errors_and_keeps_its_warnings() -> None:
    """The text is for the one who must repair it, the findings for the one who prints."""
    findings = [
        Finding("warning", "c", 1, "a", "w"),
        Finding("error", "c", 2, "b", "e"),
        Finding("error", "c", 3, "", "f"),
    ]
    error = ConfigError(findings)
    assert str(error) == "c:2: b: e\nc:3: f"
    assert error.findings == tuple(findings)
