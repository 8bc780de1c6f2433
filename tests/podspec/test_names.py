"""Names and labels: any text in, what Kubernetes takes out."""

import pytest

from runner.podspec.names import (
    Names,
    dns_name,
    image_host_names,
    is_dns_label,
    is_dns_subdomain,
    is_reserved_label,
    names_for,
    object_name,
    sanitise_label,
    service_container_names,
)


def test_names_for_a_job_when_all_is_plain() -> None:
    """The base names the slot, the pod adds the random part, the rest hangs on the pod's name."""
    names = names_for(short_token="Abc1Def2g", project_id=77, concurrent_project_id=3, random="q1w2e3r4")

    assert names == Names(
        base="runner-abc1def2g-project-77-concurrent-3", pod="runner-abc1def2g-project-77-concurrent-3-q1w2e3r4"
    )
    assert (names.credentials, names.environment, names.job_secret(1)) == (
        "runner-abc1def2g-project-77-concurrent-3-q1w2e3r4-registry",
        "runner-abc1def2g-project-77-concurrent-3-q1w2e3r4-environment",
        "runner-abc1def2g-project-77-concurrent-3-q1w2e3r4-job-1",
    )


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("runner-Ab_1.x-project", "runner-ab1x-project"),
        ("--9lives", "9lives"),
        ("ünïcode", "ncode"),
        ("a" * 62 + "-b", "a" * 62),
        ("", ""),
    ],
    ids=["other characters dropped", "leading hyphens", "beyond ASCII", "cut before a hyphen", "empty"],
)
def test_dns_name_when(text: str, name: str) -> None:
    """Only letters, digits and inner hyphens are left, at most 63."""
    assert dns_name(text) == name


def test_object_name_is_cut_when_the_base_is_long() -> None:
    """The random part is never cut: it is what makes the name unique."""
    assert object_name("r" * 63, "q1w2e3r4") == "r" * 54 + "-q1w2e3r4"


@pytest.mark.parametrize(
    ("value", "label"),
    [
        ("web shop", "web_shop"),
        ("-.feature/x._", "feature_x"),
        ("a" * 62 + "..b", "a" * 62),
        ("äöü", ""),
        ("v1.2_rc-3", "v1.2_rc-3"),
    ],
    ids=["blank", "ends trimmed", "trimmed again after the cut", "nothing left", "as it is"],
)
def test_sanitise_label_when(value: str, label: str) -> None:
    """Any text becomes a label value that the API server takes."""
    assert sanitise_label(value) == label


@pytest.mark.parametrize(
    ("key", "reserved"),
    [
        ("runner.gitlab.com", True),
        ("runner.gitlab.com/x", True),
        ("job.Runner.GitLab.com/id", True),
        ("my-runner.gitlab.com/id", False),
        ("example.com/runner.gitlab.com", False),
        ("team", False),
    ],
)
def test_is_reserved_label_when(key: str, reserved: bool) -> None:
    """Labels under runner.gitlab.com select and sweep pods, in any case of letters."""
    assert is_reserved_label(key) is reserved


@pytest.mark.parametrize(
    ("text", "label", "subdomain"),
    [
        ("db", True, True),
        ("db.example.com", False, True),
        ("DB", False, False),
        ("db_1", False, False),
        ("-db", False, False),
        ("a" * 63, True, True),
        ("a" * 64, False, True),
        ("a" * 254, False, False),
        ("a..b", False, False),
        (".".join(["a" * 62] * 5), False, False),
        ("", False, False),
        ("db\n", False, False),
    ],
)
def test_dns_forms_when(text: str, label: bool, subdomain: bool) -> None:
    """A container needs a label, a host alias a subdomain."""
    assert (is_dns_label(text), is_dns_subdomain(text)) == (label, subdomain)


@pytest.mark.parametrize(
    ("aliases", "names"),
    [
        ([()], ("svc-0",)),
        ([("alpine",)], ("alpine",)),
        ([("alpine", "foo")], ("alpine",)),
        ([("alpine",), ("alpine",)], ("alpine", "svc-0")),
        ([("alpine", "foo", "bar")] * 4, ("alpine", "foo", "bar", "svc-0")),
        ([("Not_Valid", "ok")], ("ok",)),
        ([(), ("db",), ()], ("svc-0", "db", "svc-1")),
        ([("svc-0",), ()], ("svc-0", "svc-1")),
        ([(), ("svc-0",)], ("svc-1", "svc-0")),
        ([("build",), ("helper", "db"), ("init-permissions",)], ("svc-0", "db", "svc-1")),
        ([], ()),
    ],
    ids=[
        "no alias",
        "alias",
        "two aliases",
        "same alias twice",
        "four times the same three",
        "no DNS name",
        "unnamed ones are counted",
        "alias looks generated",
        "alias looks generated and comes later",
        "names of the pod itself",
        "no services",
    ],
)
def test_service_container_names_when(aliases: list[tuple[str, ...]], names: tuple[str, ...]) -> None:
    """The first free alias, else a number; never two containers of one name."""
    assert service_container_names(aliases) == names


@pytest.mark.parametrize(
    ("image", "names"),
    [
        ("redis", ("redis",)),
        ("redis:7-alpine", ("redis",)),
        ("tutum/wordpress:latest", ("tutum-wordpress",)),
        ("registry.tld:5000/a/b:1", ("registry.tld-a-b",)),
        ("registry.tld/a/b@sha256:0123", ("registry.tld-a-b",)),
        ("localhost:5000/db", ("localhost-db",)),
        ("UPPER/case", ()),
    ],
)
def test_image_host_names_when(image: str, names: tuple[str, ...]) -> None:
    """A service is reached by its image's name, as far as that makes a host name."""
    assert image_host_names(image) == names
