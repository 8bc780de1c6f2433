"""Reading config.toml, and what is told about it."""

import tomllib
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.config.findings import ConfigError
from runner.config.load import parse_config
from runner.config.model import Config

RUNNER = """\
[[runners]]
  name = "blue"
  url = "https://gitlab.example.com"
  token = "glrt-s3cret"
  executor = "kubernetes"
"""
KUBERNETES = RUNNER + "  [runners.kubernetes]\n"


def warnings(text: str, environ: Mapping[str, str] = {}) -> list[str]:
    """The lines of a configuration that works."""
    return [str(finding) for finding in parse_config(text, environ=environ)[1]]


def errors(text: str, environ: Mapping[str, str] = {}) -> list[str]:
    """The lines of a configuration that does not work, without its warnings."""
    with pytest.raises(ConfigError) as caught:
        parse_config(text, environ=environ)
    assert "s3cret" not in str(caught.value)
    assert "s3cret" not in repr(caught.value.__context__)
    return str(caught.value).split("\n")


def test_configuration_is_read_with_all_its_tables() -> None:
    """Values reach their fields through tables, arrays of tables, inline tables and dotted keys."""
    config, findings = parse_config(
        RUNNER
        + """\
  tls-ca-file = "/ca.pem"
  environment = ["A=1"]
  token_expires_at = 0001-01-01T00:00:00Z
  feature_flags.FF_TIMESTAMPS = false
  [runners.custom_build_dir]
    enabled = false
  [runners.cache]
    Type = "s3"
    [runners.cache.s3]
      BucketName = "b"
      RoleARN = "r"
      ServerSideEncryptionKeyID = "k"
  [runners.kubernetes]
    pull_policy = "always"
    poll_interval = 5
    node_selector = { gitlab = "true" }
    cleanup_resources_timeout = "10m"
    [[runners.kubernetes.volumes.pvc]]
      name = "claim"
      mount_path = "/data"
    [runners.kubernetes.build_container_security_context.capabilities]
      drop = ["ALL"]
[session_server]
  session_timeout = 60
"""
    )
    runner = config.runners[0]
    assert findings == ()
    assert (runner.tls_ca_file, runner.environment, runner.token_expires_at) == ("/ca.pem", ("A=1",), None)
    assert (runner.feature_flags, runner.custom_build_dir.enabled) == ({"FF_TIMESTAMPS": False}, False)
    s3 = runner.cache.s3
    assert (runner.cache.type, s3.bucket_name, s3.role_arn, s3.server_side_encryption_key_id) == ("s3", "b", "r", "k")
    assert runner.kubernetes.pull_policy == ("always",)
    assert runner.kubernetes.poll_interval == 5.0
    assert runner.kubernetes.node_selector == {"gitlab": "true"}
    assert runner.kubernetes.cleanup_resources_timeout == 600.0
    assert runner.kubernetes.volumes.pvc[0].mount_path == "/data"
    assert runner.kubernetes.build_container_security_context.capabilities.drop == ("ALL",)
    assert config.session_server.session_timeout == 60.0


def test_empty_configuration_is_one() -> None:
    """No runners, no findings."""
    assert parse_config("") == (Config(), ())


def test_byte_order_mark_is_no_key() -> None:
    """Editors on Windows leave one."""
    assert parse_config("\ufeffconcurrent = 2\n")[0].concurrent == 2


def test_keys_match_in_any_case() -> None:
    """`Type` and `type` are one; so are tables."""
    config, findings = parse_config(
        RUNNER.replace("[[runners]]", "[[Runners]]").replace("token", "Token")
        + "  [Runners.Cache]\n    type = 'gcs'\n    [Runners.Cache.GCS]\n      bucketname = 'b'\n"
    )
    assert findings == ()
    assert (config.runners[0].cache.type, config.runners[0].cache.gcs.bucket_name) == ("gcs", "b")


def test_exact_spelling_wins_over_another() -> None:
    """Two spellings of one key are told, whichever comes first."""
    config, findings = parse_config("Concurrent = 3\nconcurrent = 4\n")
    assert config.concurrent == 4
    assert list(map(str, findings)) == ["config.toml:1: Concurrent: the key is ignored, for concurrent is set already"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("concurent = 3", "config.toml:1: concurent: the key is unknown and ignored; did you mean concurrent?"),
        ("xyz = 3", "config.toml:1: xyz: the key is unknown and ignored"),
        (
            KUBERNETES + "\n    pol_timeout = 3",
            "config.toml:8: runners.0.kubernetes.pol_timeout: the key is unknown and ignored; "
            "did you mean poll_timeout?",
        ),
        (
            KUBERNETES + "    allowed_image = []",
            "config.toml:7: runners.0.kubernetes.allowed_image: the key is unknown and ignored; "
            "did you mean allowed_images?",
        ),
        (
            KUBERNETES + "    suspend_pvc_size = '1Gi'",
            "config.toml:7: runners.0.kubernetes.suspend_pvc_size: this version does not act on the key",
        ),
        (
            RUNNER + "  referees = { metrics = { queries = [] } }",
            "config.toml:6: runners.0.referees: this version does not act on the key",
        ),
        (
            RUNNER + "  proxy_exec = true",
            "config.toml:6: runners.0.proxy_exec: this version does not act on the key",
        ),
        (
            KUBERNETES + "    cpus = '750m'",
            "config.toml:7: runners.0.kubernetes.cpus: the key is a former name; write cpu_limit",
        ),
        (
            RUNNER + "  [runners.feature_flags]\n    FF_TIMESTAMP = true",
            "config.toml:7: runners.0.feature_flags.FF_TIMESTAMP: the feature flag is unknown and ignored; "
            "did you mean FF_TIMESTAMPS?",
        ),
        (
            RUNNER.replace(".com", ".com/ci/"),
            "config.toml:3: runners.0.url: the /ci at the end of the URL is of former times and is dropped",
        ),
        (
            RUNNER.replace("https://", ""),
            "config.toml:3: runners.0.url: the URL has no scheme; https:// is taken",
        ),
        ("sentry_dsn = 'x'", "config.toml:1: sentry_dsn: this version does not act on the key"),
        (
            "metrics_server = ':9100'",
            "config.toml:1: metrics_server: the key is a former name; write listen_address",
        ),
        (
            RUNNER.replace('"kubernetes"', '"docker"') + RUNNER,
            'config.toml:5: runners.0.executor: there is no executor "docker" here; the runner is left out '
            '(this service has executor = "kubernetes")',
        ),
        (
            f"{RUNNER}  [runners.docker]\n    image = 'ruby'\n",
            "config.toml:6: runners.0.docker: the table is of an executor that is not here: not supported",
        ),
        (
            RUNNER.replace('  executor = "kubernetes"\n', "") + RUNNER,
            "config.toml:1: runners.0.executor: no executor is named; the runner is left out "
            '(this service has executor = "kubernetes")',
        ),
    ],
)
def test_what_works_though_not_as_thought_is_a_warning_with_its_line(text: str, line: str) -> None:
    """Unknown, former and unsupported keys are told with line and nearest name, and nothing fails."""
    assert warnings(text) == [line]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("concurrent = 0", "config.toml:1: concurrent: Input should be greater than or equal to 1 (got 0)"),
        ('concurrent = "4"', 'config.toml:1: concurrent: Input should be an integer (got "4")'),
        (
            KUBERNETES + '    poll_timeout = "ten"',
            'config.toml:7: runners.0.kubernetes.poll_timeout: Input should be a number of seconds (got "ten")',
        ),
        (
            KUBERNETES + '    privileged = "true"',
            'config.toml:7: runners.0.kubernetes.privileged: Input should be true or false (got "true")',
        ),
        (
            KUBERNETES + "    namespace = true",
            "config.toml:7: runners.0.kubernetes.namespace: Input should be a string (got true)",
        ),
        (
            KUBERNETES + '    cpu_limit = "1 GB"',
            "config.toml:7: runners.0.kubernetes.cpu_limit: Input should be a Kubernetes quantity such as 500m, 1.5 or "
            '256Mi (got "1 GB")',
        ),
        (
            KUBERNETES + '    cpus = "1 GB"',
            "config.toml:7: runners.0.kubernetes.cpus: Input should be a Kubernetes quantity such as 500m, 1.5 or "
            '256Mi (got "1 GB")',
        ),
        (
            KUBERNETES + "    pull_policy = [\n      'always',\n      'alway',\n    ]",
            "config.toml:9: runners.0.kubernetes.pull_policy.1: Input should be always, if-not-present or never "
            '(got "alway")',
        ),
        (
            KUBERNETES
            + "    [[runners.kubernetes.volumes.nfs]]\n      name = 'n'\n      path = '/'\n      server = 's'",
            "config.toml:7: runners.0.kubernetes.volumes.nfs.0.mount_path: The key is missing",
        ),
        (
            KUBERNETES + "    volumes = 3",
            "config.toml:7: runners.0.kubernetes.volumes: Input should be a table (got 3)",
        ),
        (
            KUBERNETES + "    node_selector = ['a']",
            "config.toml:7: runners.0.kubernetes.node_selector: Input should be a table (got an array)",
        ),
        (
            KUBERNETES + "    [runners.kubernetes.services]\n      name = 'a'",
            "config.toml:7: runners.0.kubernetes.services: Input should be an array of tables, as [[...]] makes it "
            "(got a table)",
        ),
        (
            KUBERNETES + "    image_pull_secrets = 'a'",
            'config.toml:7: runners.0.kubernetes.image_pull_secrets: Input should be an array (got "a")',
        ),
        (
            KUBERNETES + "    host = 'https://k'\n    cert_file = 'a'",
            "config.toml:6: runners.0.kubernetes: cert_file needs key_file and ca_file beside it (got a table)",
        ),
        ("runners = 3", "config.toml:1: runners: Input should be an array (got 3)"),
        ("runners = [3]", "config.toml:1: runners.0: Input should be a table (got 3)"),
        (
            "[runners]\nname = 'a'",
            "config.toml:1: runners: Input should be an array of tables, as [[...]] makes it (got a table)",
        ),
        (
            "[[runners]]\nexecutor = 3\nurl='https://x'\ntoken='t'",
            "config.toml:2: runners.0.executor: Input should be a string (got 3)",
        ),
        (
            RUNNER + "  token_expires_at = 'x'",
            "config.toml:6: runners.0.token_expires_at: Input should be a valid datetime or date, input is too short "
            '(got "x")',
        ),
        (
            RUNNER + "  token_expires_at = true",
            "config.toml:6: runners.0.token_expires_at: Input should be a date and time (got true)",
        ),
        (
            RUNNER + "  unhealthy_interval = 'x'",
            "config.toml:6: runners.0.unhealthy_interval: Input should be a duration such as 1h30m, 15m or 45s "
            '(got "x")',
        ),
        (RUNNER + "  environment = 's3cret'", "config.toml:6: runners.0.environment: Input should be an array"),
        (RUNNER + "  environment = [['s3cret']]", "config.toml:6: runners.0.environment.0: Input should be a string"),
        (RUNNER.replace('"glrt-s3cret"', "['s3cret']"), "config.toml:4: runners.0.token: Input should be a string"),
        (RUNNER.replace('"glrt-s3cret"', '""'), "config.toml:4: runners.0.token: Input should not be empty"),
        (
            RUNNER.replace('"glrt-s3cret"', '"$NONE"'),
            "config.toml:4: runners.0.token: Input should not be empty: the environment has no value for it",
        ),
        (RUNNER.replace('  token = "glrt-s3cret"\n', ""), "config.toml:1: runners.0.token: The key is missing"),
        (
            RUNNER.replace('  url = "https://gitlab.example.com"\n', ""),
            "config.toml:1: runners.0.url: The key is missing",
        ),
        (
            RUNNER.replace("https://gitlab", "ftp://user:s3cret@gitlab"),
            "config.toml:3: runners.0.url: Input should be a URL that begins with http:// or https:// "
            '(got "ftp://...@gitlab.example.com")',
        ),
        (
            RUNNER.replace('"https://gitlab.example.com"', "3"),
            "config.toml:3: runners.0.url: Input should be a string (got 3)",
        ),
        ("log_level = 3.5", "config.toml:1: log_level: Input should be a string (got 3.5)"),
        (f"concurrent = '{'x' * 100}'", f'config.toml:1: concurrent: Input should be an integer (got "{"x" * 60}...")'),
    ],
)
def test_wrong_value_is_an_error_with_file_line_path_and_reason(text: str, line: str) -> None:
    """One line tells where, what was wanted, and what was got unless it is secret."""
    assert errors(text) == [line]


def test_runner_without_a_token_is_left_out_when_there_are_others() -> None:
    """A variable that nobody set must not stop the other runners; what is told later counts the tables of the file."""
    other = RUNNER.replace("glrt-s3cret", "glrt-other")
    text = RUNNER.replace('"glrt-s3cret"', '"$NONE"') + other + "  unknown = 1\n"
    config, findings = parse_config(text)
    assert [runner.token for runner in config.runners] == ["glrt-other"]
    assert [(found.line, found.path, found.rule) for found in findings] == [
        (4, "runners.0.token", "blank-token"),
        (text.count("\n"), "runners.1.unknown", "unknown-key"),
    ]


def test_all_errors_are_told_at_once_in_the_order_of_lines() -> None:
    """Nobody repairs a file one run at a time."""
    text = KUBERNETES + "    poll_timeout = 'x'\n    bearer_token = 3\n[[runners]]\n  executor = 'kubernetes'\n"
    assert [line.split(": ")[1] for line in errors("limit = 1\nconcurrent = 0\n" + text)] == [
        "concurrent",
        "runners.0.kubernetes.poll_timeout",
        "runners.0.kubernetes.bearer_token",
        "runners.1.url",
        "runners.1.token",
    ]


def test_errors_bring_the_warnings_along() -> None:
    """Whoever prints findings prints all of them."""
    with pytest.raises(ConfigError) as caught:
        parse_config("concurent = 2\nconcurrent = 0\n", file="my.toml")
    assert [(finding.severity, finding.file, finding.line) for finding in caught.value.findings] == [
        ("warning", "my.toml", 1),
        ("error", "my.toml", 2),
    ]


def test_runner_of_another_executor_is_left_out_and_others_run() -> None:
    """Its own mistakes do not matter, and lines and indexes of the others stay right."""
    text = "[[runners]]\n  executor = 'docker'\n  bogus = 1\n  [runners.docker]\n    image = 3\n" + KUBERNETES
    config, findings = parse_config(text + "    pol_timeout = 3\n")
    assert [runner.name for runner in config.runners] == ["blue"]
    assert [(finding.line, finding.path) for finding in findings] == [
        (2, "runners.0.executor"),
        (12, "runners.1.kubernetes.pol_timeout"),
    ]
    assert errors(text + "    poll_timeout = 'x'\n") == [
        'config.toml:12: runners.1.kubernetes.poll_timeout: Input should be a number of seconds (got "x")'
    ]


def test_tables_of_other_executors_are_named_and_stay() -> None:
    """Each with its line, in files that once served another executor; a key of one says nothing."""
    names = ("docker", "ssh", "machine", "parallels", "custom")
    tables = "".join(f"  [runners.{name}]\n    x = 1\n" for name in names)
    assert warnings("user = 'u'\n" + RUNNER + tables) == [
        f"config.toml:{7 + 2 * number}: runners.0.{name}: the table is of an executor that is not here: not supported"
        for number, name in enumerate(names)
    ]


@pytest.mark.parametrize("key", ["suspend_pvc_size = ''", "autoscaler = {}"])
def test_key_that_is_not_acted_on_and_asks_for_nothing_is_not_told(key: str) -> None:
    """Files that `register` wrote are full of empty values and tables."""
    assert warnings(KUBERNETES + f"    {key}\n") == []


def test_url_and_token_are_filled_from_the_environment_and_nothing_else() -> None:
    """A secret may come from where secrets are; a `$` elsewhere is the job's."""
    text = RUNNER.replace("glrt-s3cret", "$TOKEN").replace("gitlab.example.com", "${HOST}/ci").replace("blue", "$TOKEN")
    config, findings = parse_config(text, environ={"TOKEN": "glrt-1", "HOST": "git.example.com"})
    runner = config.runners[0]
    assert (runner.token, runner.url, runner.name) == ("glrt-1", "https://git.example.com", "$TOKEN")
    assert len(findings) == 1


def test_new_key_wins_over_its_former_name() -> None:
    """Both are there: the one that a reader of today would look at counts."""
    config, findings = parse_config(KUBERNETES + "    cpus = '1'\n    cpu_limit = '2'\n    memory = '1Gi'\n")
    assert (config.runners[0].kubernetes.cpu_limit, config.runners[0].kubernetes.memory_limit) == ("2", "1Gi")
    assert [str(finding).partition("kubernetes.")[2] for finding in findings] == [
        "cpus: the key is a former name; write cpu_limit",
        "cpus: the key is ignored, for cpu_limit is set already",
        "memory: the key is a former name; write memory_limit",
    ]


def test_former_key_steps_in_for_todays_empty_one() -> None:
    """`register` of a newer version wrote the new key empty beside an old one: the old one counted."""
    config, findings = parse_config(KUBERNETES + "    cpus = '1'\n    cpu_limit = ''\n")
    assert config.runners[0].kubernetes.cpu_limit == "1"
    assert [finding.message for finding in findings] == ["the key is a former name; write cpu_limit"]


def test_former_scripts_lead_to_their_successors() -> None:
    """The scripts around git had other names."""
    config, findings = parse_config(RUNNER + "  pre_clone_script = 'a'\n  post_clone_script = 'b'\n")
    assert (config.runners[0].pre_get_sources_script, config.runners[0].post_get_sources_script) == ("a", "b")
    assert [finding.message for finding in findings] == [
        "the key is a former name; write pre_get_sources_script",
        "the key is a former name; write post_get_sources_script",
    ]


def test_former_permission_for_privileged_jobs_says_that_it_meant_something_else() -> None:
    """`allow_privileged` let a job ask; `privileged` asks for all of them, and wins."""
    config, findings = parse_config(KUBERNETES + "    allow_privileged = true\n")
    assert (config.runners[0].kubernetes.allow_privileged, config.runners[0].kubernetes.privileged) == (True, None)
    assert [str(finding) for finding in findings] == [
        "config.toml:7: runners.0.kubernetes.allow_privileged: the key is of former times: it lets jobs run privileged "
        "that set the variable privileged to true; today's key is privileged, and it makes every job privileged"
    ]
    config, findings = parse_config(KUBERNETES + "    allow_privileged = true\n    privileged = false\n")
    assert (config.runners[0].kubernetes.allow_privileged, config.runners[0].kubernetes.privileged) == (None, False)
    assert findings[1].message == "the key is ignored, for privileged is set already"


def test_former_grace_period_wins_over_both_that_replaced_it() -> None:
    """terminationGracePeriodSeconds was stronger than either of them while they existed together."""
    config, findings = parse_config(
        KUBERNETES + "    cleanup_grace_period_seconds = 2\n    terminationGracePeriodSeconds = 10\n"
    )
    kubernetes = config.runners[0].kubernetes
    assert (kubernetes.pod_termination_grace_period_seconds, kubernetes.cleanup_grace_period_seconds) == (10, 10)
    assert [(finding.line, finding.message) for finding in findings] == [
        (7, "the key is ignored, for terminationGracePeriodSeconds is set already"),
        (8, "the key is a former name; write pod_termination_grace_period_seconds and cleanup_grace_period_seconds"),
    ]


def test_more_labels_than_gitlab_takes_are_an_error() -> None:
    """Global labels count for every runner."""
    some = "\n".join(f"label{n} = 'x'" for n in range(20))
    more = some.replace("label", "other")
    assert errors(f"[labels]\n{some}\n{RUNNER}[runners.labels]\n{more}") == [
        "config.toml:27: runners.0.labels: A runner should have at most 32 labels, the global ones included"
    ]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (
            "concurrent 4",
            ["config.toml:1:12: Expected '=' after a key in a key/value pair", "concurrent 4", "           ^"],
        ),
        ("\n\ta = [1, 2\n", ["config.toml:2:11: Unclosed array", " a = [1, 2", "          ^"]),
        ("a = 1\na = 2\n", ["config.toml:2:6: Cannot overwrite a value", "a = 2", "     ^"]),
        ("a = \r\nb = 1\r\n", ["config.toml:1:5: Invalid value", "a = ", "    ^"]),
        (
            RUNNER + 'token "glrt-s3cret"',
            ["config.toml:6:7: Expected '=' after a key in a key/value pair", "token ...", "      ^"],
        ),
        (RUNNER + "the_bearer_token   = s3cret", ["config.toml:6:22: Invalid value", "the_bearer_token ..."]),
        (RUNNER + "a = { SecretKey = s3cret }", ["config.toml:6:19: Invalid value", "a = { Secret ..."]),
        ('environment = [\n"A=s3cret"\n"B=s3cret",\n]', ["config.toml:3:1: Unclosed array"]),
        ("PrivateKey = '''\ns3cret\n'''x", ["config.toml:3:4: Expected newline or end of document after a statement"]),
        ('PrivateKey = """\ns3cret\\q"""', ["config.toml:2:9: Unescaped '\\' in a string"]),
        ("x" * 200 + " 1", ["config.toml:1:202: Expected '=' after a key in a key/value pair", "x" * 120]),
    ],
)
def test_text_that_is_no_toml_is_told_with_its_line_and_a_mark(text: str, lines: list[str]) -> None:
    """The parser's reason, the line, a mark under the place, and no secret."""
    assert errors(text) == lines


def test_text_that_is_nested_too_deeply_is_told() -> None:
    """A hostile file is a file with an error."""
    assert errors("a = " + "[" * 100_000)[0].startswith("config.toml:1: ")


@given(st.text(st.sampled_from("ab=[]{}\"'.\n 1#,")))
def test_any_text_gives_a_configuration_or_findings(text: str) -> None:
    """Nothing but ConfigError comes out, and every finding has a line that exists."""
    try:
        _, findings = parse_config(text)
    except ConfigError as error:
        findings = error.findings
        assert any(finding.severity == "error" for finding in findings)
    assert all(1 <= finding.line <= text.count("\n") + 1 for finding in findings)


def test_parse_config_and_tomllib_agree_on_what_is_toml() -> None:
    """A text that tomllib reads and that asks for nothing wrong is read."""
    text = "# only\n[unknown]\nx = 1\n"
    assert tomllib.loads(text)
    assert warnings(text) == ["config.toml:2: unknown: the key is unknown and ignored"]
