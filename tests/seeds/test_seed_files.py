"""Every config.toml that the published documents show: it loads, means what it meant, and warns where it should."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from runner.config.findings import ConfigError, Finding
from runner.config.load import parse_config
from tests.seeds.published import DATA, LEFT_TO_READERS, block, completed

FORMER_CI = "runners.0.url: the /ci at the end of the URL is of former times and is dropped"
NO_SCHEME = "runners.0.url: the URL has no scheme; https:// is taken"

OF_2016: dict[str, Any] = {
    "concurrent": 4,
    "runners": (
        {
            "name": "Kubernetes Runner",
            "url": "https://gitlab.com",
            "token": "......",
            "executor": "kubernetes",
            "kubernetes": {
                "host": "https://45.67.34.123:4892",
                "cert_file": "/etc/ssl/kubernetes/api.crt",
                "key_file": "/etc/ssl/kubernetes/api.key",
                "ca_file": "/etc/ssl/kubernetes/ca.crt",
                "namespace": "gitlab",
                "allow_privileged": True,
                "cpu_limit": "750m",
                "memory_limit": "250m",
                "service_cpu_limit": "1000m",
                "service_memory_limit": "450m",
            },
        },
    ),
}

LIMITS = {
    "cpu_limit": "1",
    "memory_limit": "1Gi",
    "service_cpu_limit": "1",
    "service_memory_limit": "1Gi",
    "helper_cpu_limit": "500m",
    "helper_memory_limit": "100Mi",
}

OF_2020: dict[str, Any] = {
    "concurrent": 4,
    "runners": (
        {
            "name": "Kubernetes Runner",
            "url": "https://gitlab.com",
            "token": "......",
            "executor": "kubernetes",
            "kubernetes": {
                "host": "https://45.67.34.123:4892",
                "cert_file": "/etc/ssl/kubernetes/api.crt",
                "key_file": "/etc/ssl/kubernetes/api.key",
                "ca_file": "/etc/ssl/kubernetes/ca.crt",
                "namespace": "gitlab",
                "namespace_overwrite_allowed": "ci-.*",
                "bearer_token_overwrite_allowed": True,
                "privileged": True,
                **LIMITS,
                "poll_interval": 5.0,
                "poll_timeout": 3600.0,
                "node_selector": {"gitlab": "true"},
                "node_tolerations": {
                    "node-role.kubernetes.io/master": "NoSchedule",
                    "custom.toleration=value": "NoSchedule",
                    "empty.value=": "PreferNoSchedule",
                    "onlyKey": "",
                },
            },
        },
    ),
}

WITH_VOLUMES: dict[str, Any] = {
    "concurrent": 4,
    "runners": (
        {
            "url": "https://gitlab.com",
            "token": "......",
            "executor": "kubernetes",
            "kubernetes": {
                "volumes": {
                    "host_path": (
                        {
                            "name": "hostpath-1",
                            "mount_path": "/path/to/mount/point",
                            "read_only": True,
                            "host_path": "/path/on/host",
                        },
                        {"name": "hostpath-2", "mount_path": "/path/to/mount/point_2", "read_only": True},
                    ),
                    "pvc": ({"name": "pvc-1", "mount_path": "/path/to/mount/point1"},),
                    "config_map": (
                        {
                            "name": "config-map-1",
                            "mount_path": "/path/to/directory",
                            "items": {"key_1": "relative/path/to/key_1_file", "key_2": "key_2"},
                        },
                    ),
                    "secret": (
                        {
                            "name": "secrets",
                            "mount_path": "/path/to/directory1",
                            "read_only": True,
                            "items": {"secret_1": "relative/path/to/secret_1_file"},
                        },
                    ),
                    "empty_dir": ({"name": "empty-dir", "mount_path": "/path/to/empty_dir", "medium": "Memory"},),
                }
            },
        },
    ),
}


def of_my_runner(kubernetes: dict[str, Any]) -> dict[str, Any]:
    """The files of 2020 that begin alike."""
    return {
        "concurrent": 1,
        "check_interval": 30.0,
        "runners": (
            {
                "name": "myRunner",
                "url": "https://gitlab.example.com",
                "token": "......",
                "executor": "kubernetes",
                "kubernetes": {"helper_image": "gitlab-registy.example.com/helper:latest", **kubernetes},
            },
        ),
    }


WITH_SECURITY_CONTEXT = of_my_runner(
    {
        "pod_security_context": {
            "run_as_non_root": True,
            "run_as_user": 59417,
            "run_as_group": 59417,
            "fs_group": 59417,
        }
    }
)
WITH_SERVICES = of_my_runner(
    {"services": ({"name": "postgres:12-alpine", "alias": "db1"}, {"name": "percona:latest", "alias": "db2"})}
)

OF_2018: dict[str, Any] = {
    "concurrent": 4,
    "runners": (
        {
            "name": "Kubernetes Runner",
            "url": "https://gitlab.com",
            "token": "......",
            "executor": "kubernetes",
            "kubernetes": {
                "host": "",
                "cert_file": "/etc/ssl/kubernetes/api.crt",
                "key_file": "/etc/ssl/kubernetes/api.key",
                "ca_file": "/etc/ssl/kubernetes/ca.crt",
                "namespace": "gitlab",
                "namespace_overwrite_allowed": "ci-.*",
                "privileged": True,
                **LIMITS,
                "poll_interval": 5.0,
                "poll_timeout": 3600.0,
                "node_selector": {"gitlab": "true"},
            },
        },
    ),
}

MEANINGS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "000-example.toml": (
        OF_2016,
        [
            f"5: {FORMER_CI}",
            "14: runners.0.kubernetes.allow_privileged: ",
            "15: runners.0.kubernetes.cpus: the key is a former name; write cpu_limit",
            "16: runners.0.kubernetes.memory: the key is a former name; write memory_limit",
            "17: runners.0.kubernetes.service_cpus: the key is a former name; write service_cpu_limit",
            "18: runners.0.kubernetes.service_memory: the key is a former name; write service_memory_limit",
        ],
    ),
    "001-example.toml": (OF_2020, [f"5: {FORMER_CI}"]),
    "001-volumes.toml": (WITH_VOLUMES, []),
    "001-security-context.toml": (WITH_SECURITY_CONTEXT, [f"5: {NO_SCHEME}"]),
    "001-services.toml": (WITH_SERVICES, [f"5: {NO_SCHEME}"]),
    "003-registered.toml": (
        {"concurrent": 1, "check_interval": 3.0, "runners": ()},
        [
            "4: runners: none of the runners is for this service: it starts, and takes no jobs until one is added",
            '8: runners.0.executor: there is no executor "docker" here; the runner is left out '
            '(this service has executor = "kubernetes")',
        ],
    ),
    "004-example.toml": (OF_2018, [f"5: {FORMER_CI}"]),
}
"""What each file sets, and the lines it gives; a line that ends with a colon and a blank is only the beginning."""

AS_PUBLISHED = {
    "001-volumes.toml": [
        "3: runners.0.url: The key is missing",
        "3: runners.0.token: The key is missing",
    ],
    "001-security-context.toml": ["1: : Invalid value\nconcurrent = %(concurrent)s\n             ^"],
    "001-services.toml": ["3: runners.0.token: The key is missing"],
    "003-registered.toml": ["7: : Invalid value\n  token ...\n           ^"],
}
"""What is told of a block that is no whole file."""


def told(finding: Finding) -> str:
    """Line, key and words of a finding."""
    return f"{finding.line}: {finding.path}: {finding.message}"


def test_every_published_file_is_here() -> None:
    """Each config.toml of the documents has its meaning in the table."""
    assert set(MEANINGS) == {path.name for path in DATA.glob("*.toml")}


@pytest.mark.parametrize("name", MEANINGS)
def test_published_file_sets_what_it_says(name: str) -> None:
    """Exactly the keys of the file are set, each to its value, under today's names."""
    config, _ = parse_config(completed(name), file=name)
    assert config.model_dump(exclude_unset=True) == MEANINGS[name][0]


@pytest.mark.parametrize("name", MEANINGS)
def test_published_file_warns_with_its_lines(name: str) -> None:
    """A former name is told with file and line; whatever is as it should be is not told."""
    expected = MEANINGS[name][1]
    found = [told(finding) for finding in parse_config(completed(name), file=name)[1]]
    beginnings = [
        text[: len(line)] if line.endswith(": ") else text for text, line in zip(found, expected, strict=True)
    ]
    assert beginnings == expected


@pytest.mark.parametrize("name", AS_PUBLISHED)
def test_block_that_is_no_whole_file_says_what_is_missing(name: str) -> None:
    """What the documents leave to their readers is an error with its line; a syntax error has a caret under it."""
    with pytest.raises(ConfigError) as caught:
        parse_config(block(name), file=name)
    assert [told(finding) for finding in caught.value.findings if finding.severity == "error"] == AS_PUBLISHED[name]


def test_page_without_its_markup_loads_with_a_warning_for_each_key() -> None:
    """The manual of 2018 has lost its table headers: no runner is left, and every stray key is told with its line."""
    config, findings = parse_config(block("004-example.toml"), file="004-example.toml")
    assert (config.concurrent, config.runners) == (4, ())
    assert [finding.line for finding in findings] == list(range(3, 23))
    assert {finding.severity for finding in findings} == {"warning"}
    assert all("unknown" in finding.message for finding in findings)


def test_blocks_stand_in_their_documents_word_for_word() -> None:
    """RUNNER_TEST_SEEDS names the folder of the five documents; each block is a part of the one with its number."""
    folder = os.environ.get("RUNNER_TEST_SEEDS")
    if not folder:
        pytest.skip("RUNNER_TEST_SEEDS names no folder with the published documents")
    texts = {path.name[:3]: path.read_text(encoding="utf-8") for path in Path(folder).glob("*.txt")}
    assert [path.name for path in DATA.iterdir() if block(path.name) not in texts[path.name[:3]]] == []


def test_nothing_is_filled_in_for_a_block_that_is_whole() -> None:
    """Only blocks that say so themselves are completed."""
    assert set(LEFT_TO_READERS) == {*AS_PUBLISHED, "004-example.toml"}
