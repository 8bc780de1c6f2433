"""A file as the original's `register` writes it, with all its empty tables. Published ones: `tests/seeds`."""

from runner.config.load import parse_config

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


def test_file_that_register_wrote_loads_with_its_empty_tables() -> None:
    """Zeros are defaults, empty tables and guards are nothing, and one former name is told."""
    config, findings = parse_config(AS_REGISTER_WRITES_IT)
    assert (config.check_interval, config.shutdown_timeout, config.connection_max_age) == (3.0, 30.0, 900.0)
    assert config.runners[0].custom_build_dir.enabled is True
    assert config.runners[0].token_expires_at is None
    assert config.runners[0].kubernetes.cleanup_grace_period_seconds == 10
    assert [finding.path for finding in findings] == ["runners.0.kubernetes.terminationGracePeriodSeconds"]
