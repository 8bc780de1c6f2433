"""Files as documentation of each era shows them: every one of them loads, with warnings at most.

Only what those pages leave to their readers is filled in: a token, and the lines behind "usual configuration".
"""

import pytest

from runner.config.load import parse_config
from runner.config.model import RunnerConfig

OF_2016 = """
concurrent = 4

[[runners]]
  name = "Kubernetes Runner"
  url = "https://gitlab.com/ci"
  token = "......"
  executor = "kubernetes"
  [runners.kubernetes]
    host = "https://45.67.34.123:4892"
    cert_file = "/etc/ssl/kubernetes/api.crt"
    key_file = "/etc/ssl/kubernetes/api.key"
    ca_file = "/etc/ssl/kubernetes/ca.crt"
    namespace = "gitlab"
    allow_privileged = true
    cpus = "750m"
    memory = "250m"
    service_cpus = "1000m"
    service_memory = "450m"
"""

IN_A_CONFIG_MAP = """
    concurrent = 4

    [[runners]]
      name = "Kubernetes Runner"
      url = "https://gitlab.com/ci"
      token = "...."
      executor = "kubernetes"
      [runners.kubernetes]
        namespace = "gitlab"
        allow_privileged = true
"""

OF_2020 = """
concurrent = 4

[[runners]]
  name = "Kubernetes Runner"
  url = "https://gitlab.com/ci"
  token = "......"
  executor = "kubernetes"
  [runners.kubernetes]
    host = "https://45.67.34.123:4892"
    cert_file = "/etc/ssl/kubernetes/api.crt"
    key_file = "/etc/ssl/kubernetes/api.key"
    ca_file = "/etc/ssl/kubernetes/ca.crt"
    namespace = "gitlab"
    namespace_overwrite_allowed = "ci-.*"
    bearer_token_overwrite_allowed = true
    privileged = true
    cpu_limit = "1"
    memory_limit = "1Gi"
    service_cpu_limit = "1"
    service_memory_limit = "1Gi"
    helper_cpu_limit = "500m"
    helper_memory_limit = "100Mi"
    poll_interval = 5
    poll_timeout = 3600
    [runners.kubernetes.node_selector]
      gitlab = "true"
    [runners.kubernetes.node_tolerations]
      "node-role.kubernetes.io/master" = "NoSchedule"
      "custom.toleration=value" = "NoSchedule"
      "empty.value=" = "PreferNoSchedule"
      "onlyKey" = ""
"""

WITH_VOLUMES = """
concurrent = 4

[[runners]]
  url = "https://gitlab.com/"
  token = "......"
  executor = "kubernetes"
  [runners.kubernetes]
    [[runners.kubernetes.volumes.host_path]]
      name = "hostpath-1"
      mount_path = "/path/to/mount/point"
      read_only = true
      host_path = "/path/on/host"
    [[runners.kubernetes.volumes.host_path]]
      name = "hostpath-2"
      mount_path = "/path/to/mount/point_2"
      read_only = true
    [[runners.kubernetes.volumes.pvc]]
      name = "pvc-1"
      mount_path = "/path/to/mount/point1"
    [[runners.kubernetes.volumes.config_map]]
      name = "config-map-1"
      mount_path = "/path/to/directory"
      [runners.kubernetes.volumes.config_map.items]
        "key_1" = "relative/path/to/key_1_file"
        "key_2" = "key_2"
    [[runners.kubernetes.volumes.secret]]
      name = "secrets"
      mount_path = "/path/to/directory1"
      read_only = true
      [runners.kubernetes.volumes.secret.items]
        "secret_1" = "relative/path/to/secret_1_file"
    [[runners.kubernetes.volumes.empty_dir]]
      name = "empty-dir"
      mount_path = "/path/to/empty_dir"
      medium = "Memory"
"""

WITH_SECURITY_CONTEXT = """
concurrent = 1
check_interval = 30
  [[runners]]
    name = "myRunner"
    url = "gitlab.example.com"
    token = "......"
    executor = "kubernetes"
    [runners.kubernetes]
      helper_image = "gitlab-registy.example.com/helper:latest"
      [runners.kubernetes.pod_security_context]
        run_as_non_root = true
        run_as_user = 59417
        run_as_group = 59417
        fs_group = 59417
"""

WITH_SERVICES = """
concurrent = 1
check_interval = 30
  [[runners]]
    name = "myRunner"
    url = "gitlab.example.com"
    token = "......"
    executor = "kubernetes"
    [runners.kubernetes]
      helper_image = "gitlab-registy.example.com/helper:latest"
      [[runners.kubernetes.services]]
        name = "postgres:12-alpine"
        alias = "db1"
      [[runners.kubernetes.services]]
        name = "percona:latest"
        alias = "db2"
"""

OF_THE_DOCKER_EXECUTOR = """
concurrent = 1
check_interval = 0

[[runners]]
  name = "temp runner"
  url = "https://gitlab.com/"
  token = "......"
  executor = "docker"
  [runners.docker]
    tls_verify = false
    image = "busybox:latest"
    privileged = false
    disable_cache = false
    volumes = ["/cache"]
    shm_size = 0
  [runners.cache]
"""

AS_REGISTER_WRITES_IT = """
concurrent = 10
check_interval = 0
connection_max_age = "15m0s"
shutdown_timeout = 0

[session_server]
  session_timeout = 1800

[[runners]]
  name = "blue"
  url = "https://gitlab.example.com"
  id = 12
  token = "glrt-......"
  token_obtained_at = 2026-08-22T10:00:00Z
  token_expires_at = 0001-01-01T00:00:00Z
  executor = "kubernetes"
  [runners.custom_build_dir]
  [runners.cache]
    MaxUploadedArchiveSize = 0
    [runners.cache.s3]
    [runners.cache.gcs]
    [runners.cache.azure]
  [runners.feature_flags]
    FF_USE_LEGACY_KUBERNETES_EXECUTION_STRATEGY = false
  [runners.kubernetes]
    host = ""
    bearer_token_overwrite_allowed = false
    image = ""
    namespace = "ci"
    namespace_overwrite_allowed = ""
    namespace_per_job = false
    pod_labels_overwrite_allowed = ""
    service_account_overwrite_allowed = ""
    pod_annotations_overwrite_allowed = ""
    node_selector_overwrite_allowed = ""
    terminationGracePeriodSeconds = 10
    pull_policy = ["if-not-present"]
    poll_interval = 5
    poll_timeout = 360
    [runners.kubernetes.pod_security_context]
    [runners.kubernetes.init_permissions_container_security_context]
      [runners.kubernetes.init_permissions_container_security_context.capabilities]
    [runners.kubernetes.volumes]
    [runners.kubernetes.dns_config]
    [runners.kubernetes.affinity]
    [runners.kubernetes.container_lifecycle]
"""

FILES = {
    "2016": OF_2016,
    "config map": IN_A_CONFIG_MAP,
    "2020": OF_2020,
    "volumes": WITH_VOLUMES,
    "security context": WITH_SECURITY_CONTEXT,
    "services": WITH_SERVICES,
    "docker executor": OF_THE_DOCKER_EXECUTOR,
    "register": AS_REGISTER_WRITES_IT,
}


def runner_of(text: str) -> RunnerConfig:
    """The one runner of a file."""
    (runner,) = parse_config(text)[0].runners
    return runner


@pytest.mark.parametrize("name", FILES)
def test_published_file_loads(name: str) -> None:
    """Nothing in it is an error, whatever its year."""
    _, findings = parse_config(FILES[name])
    assert {finding.severity for finding in findings} <= {"warning"}


def test_keys_of_2016_mean_what_they_meant() -> None:
    """Each former name reaches the field that holds it today."""
    runner = runner_of(OF_2016)
    kubernetes = runner.kubernetes
    assert runner.url == "https://gitlab.com"
    assert (kubernetes.privileged, kubernetes.allow_privileged) == (None, True)
    assert (kubernetes.cpu_limit, kubernetes.memory_limit) == ("750m", "250m")
    assert (kubernetes.service_cpu_limit, kubernetes.service_memory_limit) == ("1000m", "450m")


def test_tolerations_keep_their_forms() -> None:
    """Keys with and without a value and an effect stay as they are written."""
    assert runner_of(OF_2020).kubernetes.node_tolerations == {
        "node-role.kubernetes.io/master": "NoSchedule",
        "custom.toleration=value": "NoSchedule",
        "empty.value=": "PreferNoSchedule",
        "onlyKey": "",
    }


def test_volumes_of_every_published_kind_are_read() -> None:
    """Names, paths and items arrive at their kinds."""
    volumes = runner_of(WITH_VOLUMES).kubernetes.volumes
    assert [volume.host_path for volume in volumes.host_path] == ["/path/on/host", ""]
    assert volumes.pvc[0].name == "pvc-1"
    assert volumes.config_map[0].items == {"key_1": "relative/path/to/key_1_file", "key_2": "key_2"}
    assert volumes.secret[0].read_only is True
    assert volumes.empty_dir[0].medium == "Memory"


def test_url_without_a_scheme_is_one_of_https() -> None:
    """Published pages have it so."""
    assert runner_of(WITH_SECURITY_CONTEXT).url == "https://gitlab.example.com"


def test_file_of_the_docker_executor_has_no_runner_for_us() -> None:
    """It loads, its runner is left out, and the line says why."""
    config, findings = parse_config(OF_THE_DOCKER_EXECUTOR)
    assert config.runners == ()
    assert config.check_interval == 3.0
    assert [finding.line for finding in findings] == [9]


def test_file_that_register_wrote_loads_with_its_empty_tables() -> None:
    """Zeros are defaults, empty tables and guards are nothing, and one former name is told."""
    config, findings = parse_config(AS_REGISTER_WRITES_IT)
    assert (config.check_interval, config.shutdown_timeout, config.connection_max_age) == (3.0, 30.0, 900.0)
    assert config.runners[0].custom_build_dir.enabled is True
    assert config.runners[0].token_expires_at is None
    assert config.runners[0].kubernetes.cleanup_grace_period_seconds == 10
    assert [finding.path for finding in findings] == ["runners.0.kubernetes.terminationGracePeriodSeconds"]
