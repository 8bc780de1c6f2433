"""What a job's variables change in the configuration: GitLab Runner's table `TestOverwrites`, and hostile jobs.

The rows of the table have the names that `docs/compatibility.md` lists them by; their values are ours.
"""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.config.kubernetes import KubernetesConfig
from runner.config.model import RunnerConfig
from runner.job.outcome import JobConfigurationError
from runner.job.quantity import parse_quantity
from runner.job.variables import Variable, Variables
from runner.podspec.overwritable import RESOURCES, SCOPES
from runner.podspec.overwrites import Overwritten, apply_overwrites

AMOUNTS = tuple(
    f"{scope.prefix}{resource}_{kind}"
    for scope in SCOPES
    for resource in RESOURCES
    for kind in ("request", "limit")
    if (scope.prefix, resource) != ("pod_", "ephemeral_storage")
)
"""The keys of the 22 amounts, each a job's variable too."""

GUARDS: dict[str, Any] = {
    "namespace_overwrite_allowed": ".*",
    "service_account_overwrite_allowed": ".*",
    "bearer_token_overwrite_allowed": True,
    "pod_labels_overwrite_allowed": ".*",
    "pod_annotations_overwrite_allowed": ".*",
    "node_selector_overwrite_allowed": ".*",
    "node_tolerations_overwrite_allowed": ".*",
    **{f"{key}_overwrite_max_allowed": "8Gi" for key in AMOUNTS},
}
"""Everything is allowed, up to 8 Gi of anything."""

ASKED = {
    "KUBERNETES_NAMESPACE_OVERWRITE": "team-a",
    "KUBERNETES_SERVICE_ACCOUNT_OVERWRITE": "deployer",
    "KUBERNETES_BEARER_TOKEN": "a.token",
    "KUBERNETES_POD_LABELS_1": "team=a",
    "KUBERNETES_POD_LABELS_2": "example.com/tier=ci",
    "KUBERNETES_POD_ANNOTATIONS_1": "note=one = two",
    "KUBERNETES_NODE_SELECTOR_DISK": "disk=ssd",
    "KUBERNETES_NODE_TOLERATIONS_1": "gpu=true:NoSchedule",
    "KUBERNETES_NODE_TOLERATIONS_2": "spot",
    **{f"KUBERNETES_{key.upper()}": "2" for key in AMOUNTS},
}
"""A value for every variable."""

TAKEN = {
    "namespace": "team-a",
    "service_account": "deployer",
    "bearer_token": "a.token",
    "pod_labels": {"team": "a", "example.com/tier": "ci"},
    "pod_annotations": {"note": "one = two"},
    "node_selector": {"disk": "ssd"},
    "node_tolerations": {"gpu=true": "NoSchedule", "spot": ""},
    **dict.fromkeys(AMOUNTS, "2"),
}
"""What `ASKED` becomes."""


def runner(**kubernetes: Any) -> RunnerConfig:
    """A runner with these keys of `[runners.kubernetes]`."""
    return RunnerConfig.model_validate(
        {"name": "r", "url": "https://gitlab", "token": "glrt-12345678x", "kubernetes": kubernetes}
    )


def overwrite(variables: dict[str, str], **kubernetes: Any) -> Overwritten:
    """Apply variables, in their order, to a runner's configuration."""
    return apply_overwrites(runner(**kubernetes), Variables(Variable(key, value) for key, value in variables.items()))


def refused(variables: dict[str, str], **kubernetes: Any) -> str:
    """The sentence that ends the job."""
    with pytest.raises(JobConfigurationError) as error:
        overwrite(variables, **kubernetes)
    return error.value.message


# GitLab Runner's table ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "configured", "expected"),
    [
        ({}, {}, {}),
        ({}, {**GUARDS, "namespace": "ci", "cpu_limit": "16Gi"}, {"namespace": "ci", "cpu_limit": "16Gi"}),
        (ASKED, GUARDS, TAKEN),
        (ASKED, {"namespace": "ci", "pod_labels": {"a": "b"}}, {"namespace": "ci", "pod_labels": {"a": "b"}}),
        (
            {"KUBERNETES_NAMESPACE_OVERWRITE": "ci", "KUBERNETES_CPU_LIMIT": "1000m", "KUBERNETES_POD_LABELS_1": "a=b"},
            {
                "namespace": "ci",
                "namespace_overwrite_allowed": "ci",
                "cpu_limit": "1",
                "cpu_limit_overwrite_max_allowed": "1",
                "pod_labels": {"a": "b"},
                "pod_labels_overwrite_allowed": "a=.*",
            },
            {"namespace": "ci", "cpu_limit": "1000m", "pod_labels": {"a": "b"}},
        ),
    ],
    ids=["empty", "allowed and not asked for", "all allowed", "none allowed", "equal values"],
)
def test_overwrites_are_applied_when(
    variables: dict[str, str], configured: dict[str, Any], expected: dict[str, Any]
) -> None:
    """What is asked for within its guard is taken; everything else stays as it is configured."""
    found = overwrite(variables, **configured).config.kubernetes
    assert found == runner(**configured).kubernetes.model_copy(update=expected)


@pytest.mark.parametrize(
    ("variables", "configured", "words"),
    [
        (
            {"KUBERNETES_NAMESPACE_OVERWRITE": "production"},
            {"namespace_overwrite_allowed": "^ci-"},
            'provided value "production" does not match "^ci-" '
            "(KUBERNETES_NAMESPACE_OVERWRITE, guarded by namespace_overwrite_allowed)",
        ),
        (
            {"KUBERNETES_SERVICE_ACCOUNT_OVERWRITE": "admin"},
            {"service_account_overwrite_allowed": "^ci-"},
            'provided value "admin" does not match "^ci-" '
            "(KUBERNETES_SERVICE_ACCOUNT_OVERWRITE, guarded by service_account_overwrite_allowed)",
        ),
        *(
            (
                {f"KUBERNETES_{table.upper()}_1": "a=b", f"KUBERNETES_{table.upper()}_x y": "key=bad"},
                {f"{table}_overwrite_allowed": "a="},
                f'provided value "key=bad" does not match "a=" '
                f"(KUBERNETES_{table.upper()}_x y, guarded by {table}_overwrite_allowed)",
            )
            for table in ("node_selector", "pod_labels", "pod_annotations", "node_tolerations")
        ),
        *(
            (
                {f"KUBERNETES_{table.upper()}_1": "key"},
                {f"{table}_overwrite_allowed": ".*"},
                f'provided value "key" does not match "k=v" '
                f"(KUBERNETES_{table.upper()}_1, guarded by {table}_overwrite_allowed)",
            )
            for table in ("node_selector", "pod_labels", "pod_annotations")
        ),
        *(
            (
                {f"KUBERNETES_{key.upper()}": value},
                {f"{key}_overwrite_max_allowed": most},
                f'invalid {group} specified: the resource "{name}" requested "{value}" is higher than limit allowed '
                f'"{most}" (KUBERNETES_{key.upper()}, guarded by {key}_overwrite_max_allowed)',
            )
            for key, value, most, group, name in (
                ("cpu_limit", "1500m", "1", "build limits", "CPULimit"),
                ("cpu_request", "1001m", "1", "build requests", "CPURequest"),
                ("memory_limit", "2Gi", "2G", "build limits", "MemoryLimit"),
                ("memory_request", "1024001Ki", "1000Mi", "build requests", "MemoryRequest"),
                ("ephemeral_storage_limit", "1Ti", "1023Gi", "build limits", "EphemeralStorageLimit"),
                ("ephemeral_storage_request", "1e3", "999", "build requests", "EphemeralStorageRequest"),
                ("service_cpu_limit", "2", "1", "service limits", "ServiceCPULimit"),
                ("service_memory_request", "2Gi", "1Gi", "service requests", "ServiceMemoryRequest"),
                ("helper_cpu_request", "2", "1", "helper requests", "HelperCPURequest"),
                ("helper_ephemeral_storage_limit", "2G", "1G", "helper limits", "HelperEphemeralStorageLimit"),
                ("pod_cpu_limit", "2", "1", "Pod limits", "PodCPULimit"),
                ("pod_memory_request", "2Gi", "1Gi", "Pod requests", "PodMemoryRequest"),
            )
        ),
        (
            {"KUBERNETES_CPU_LIMIT": "lots"},
            {"cpu_limit_overwrite_max_allowed": "1"},
            'invalid build limits specified: parsing resource limit: "lots" is no quantity',
        ),
        (
            {"KUBERNETES_CPU_LIMIT": "-1"},
            {"cpu_limit_overwrite_max_allowed": "1"},
            'invalid build limits specified: parsing resource limit: "-1" is less than nothing',
        ),
        (
            {"KUBERNETES_CPU_LIMIT": "1"},
            {"cpu_limit_overwrite_max_allowed": "1e99"},
            'invalid build limits specified: parsing resource limit: "1e99" is out of range',
        ),
        (
            {"KUBERNETES_NAMESPACE_OVERWRITE": "a"},
            {"namespace_overwrite_allowed": "(a"},
            '"(a" is no regular expression: missing ): (a '
            "(KUBERNETES_NAMESPACE_OVERWRITE, guarded by namespace_overwrite_allowed)",
        ),
        (
            {"KUBERNETES_NODE_TOLERATIONS_1": "a"},
            {"node_tolerations_overwrite_allowed": r"(?=a)"},
            '"(?=a)" is no regular expression: invalid perl operator: (?=',
        ),
    ],
    ids=[
        "namespace",
        "service account",
        "node selector",
        "labels",
        "annotations",
        "tolerations",
        "node selector malformed key",
        "labels malformed key",
        "annotations malformed key",
        "cpu limit too high",
        "cpu request too high",
        "memory limit too high",
        "memory request too high",
        "ephemeral storage limit too high",
        "ephemeral storage request too high",
        "service cpu limit too high",
        "service memory request too high",
        "helper cpu request too high",
        "helper ephemeral storage limit too high",
        "pod cpu limit too high",
        "pod memory request too high",
        "amount that is none",
        "amount below nothing",
        "guard that is no amount",
        "guard that is no pattern",
        "guard in a syntax of Python's",
    ],
)
def test_job_fails_when_its_guard_refuses(variables: dict[str, str], configured: dict[str, Any], words: str) -> None:
    """The sentence has GitLab Runner's words, the variable and the key."""
    assert refused(variables, **configured).startswith(f"couldn't prepare overwrites: {words}")


# Rules of the table's rows -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "variable"),
    [
        ("namespace", "KUBERNETES_NAMESPACE_OVERWRITE"),
        ("service_account", "KUBERNETES_SERVICE_ACCOUNT_OVERWRITE"),
        ("bearer_token", "KUBERNETES_BEARER_TOKEN"),
        *((key, f"KUBERNETES_{key.upper()}") for key in AMOUNTS),
    ],
)
def test_value_stays_when_the_guard_or_the_variable_is_empty(key: str, variable: str) -> None:
    """A variable without a guard says nothing; a guard without a variable does not judge what is configured."""
    guard = next(each for each in (f"{key}_overwrite_allowed", f"{key}_overwrite_max_allowed") if each in GUARDS)
    without = overwrite({variable: ASKED[variable]}, **{key: "7"})
    assert getattr(without.config.kubernetes, key) == "7"
    assert (without.notes, without.ignored) == ((), (variable,))
    allowed = {guard: True if key == "bearer_token" else "1"}
    for value in ("", "  "):
        empty = overwrite({variable: value}, **{key: "7", **allowed})
        assert getattr(empty.config.kubernetes, key) == "7"
        assert (empty.notes, empty.origins) == ((), {})


@pytest.mark.parametrize(
    ("permitted", "asked", "privileged"),
    [
        (True, "true", True),
        (True, "TRUE", True),
        (True, "false", None),
        (True, "1", None),
        (False, "false", None),
        (None, "true", None),
    ],
)
def test_job_is_privileged_when_a_file_of_2016_lets_it_ask(
    permitted: bool | None, asked: str, privileged: bool | None
) -> None:
    """`allow_privileged` was a permission; without it the variable is one like any other."""
    result = overwrite({"privileged": asked}, allow_privileged=permitted)
    assert result.config.kubernetes.privileged is privileged
    assert result.origins == ({("privileged",): "privileged"} if privileged else {})
    assert result.notes == (('"Privileged" overwritten with "true"',) if privileged else ())


def test_job_fails_when_it_asks_for_privileges_in_vain() -> None:
    """Asking without the permission ended the job, as it did in 2016."""
    with pytest.raises(JobConfigurationError, match="privileged is true, and allow_privileged does not let"):
        overwrite({"privileged": "true"}, allow_privileged=False)


def test_first_error_wins_when_several_are_there() -> None:
    """In GitLab Runner's order, which is not that of the variables."""
    wrong = {
        "KUBERNETES_POD_MEMORY_LIMIT": "9Gi",
        "KUBERNETES_CPU_LIMIT": "9Gi",
        "KUBERNETES_MEMORY_REQUEST": "9Gi",
        "KUBERNETES_NODE_TOLERATIONS_1": "a:b",
        "KUBERNETES_NODE_SELECTOR_1": "b",
        "KUBERNETES_POD_ANNOTATIONS_1": "c",
        "KUBERNETES_POD_LABELS_1": "d",
        "KUBERNETES_BEARER_TOKEN": "e e",
        "KUBERNETES_SERVICE_ACCOUNT_OVERWRITE": "F",
        "KUBERNETES_NAMESPACE_OVERWRITE": "G",
    }
    order = []
    while wrong:
        sentence = refused(wrong, **GUARDS)
        order.append(next(name for name in wrong if name in sentence))
        del wrong[order[-1]]
    assert order == [
        "KUBERNETES_NAMESPACE_OVERWRITE",
        "KUBERNETES_SERVICE_ACCOUNT_OVERWRITE",
        "KUBERNETES_BEARER_TOKEN",
        "KUBERNETES_POD_LABELS_1",
        "KUBERNETES_POD_ANNOTATIONS_1",
        "KUBERNETES_NODE_SELECTOR_1",
        "KUBERNETES_NODE_TOLERATIONS_1",
        "KUBERNETES_MEMORY_REQUEST",
        "KUBERNETES_CPU_LIMIT",
        "KUBERNETES_POD_MEMORY_LIMIT",
    ]


def test_pattern_is_searched_for_when_it_is_not_anchored() -> None:
    """GitLab Runner's guards are no full matches: what must not be around them has to be said."""
    kubernetes = overwrite(
        {"KUBERNETES_NAMESPACE_OVERWRITE": "x-ci-y"}, namespace_overwrite_allowed="ci-.*"
    ).config.kubernetes
    assert kubernetes.namespace == "x-ci-y"


def test_later_pairs_win_when_variables_name_one_key() -> None:
    """In the order of the variables, of which the last value counts; configured entries go first."""
    found = apply_overwrites(
        runner(pod_labels={"a": "0", "z": "0"}, pod_labels_overwrite_allowed="."),
        Variables(
            (
                Variable("KUBERNETES_POD_LABELS_B", "lost=1"),
                Variable("KUBERNETES_POD_LABELS_A", "a=1"),
                Variable("KUBERNETES_POD_LABELS_B", "a=2"),
            )
        ),
    )
    assert found.config.kubernetes.pod_labels == {"a": "2", "z": "0"}
    assert found.notes == ('"PodLabels" overwritten with "a=1"', '"PodLabels" overwritten with "a=2"')
    assert found.origins == {("pod_labels", "a"): "KUBERNETES_POD_LABELS_B"}


@pytest.mark.parametrize(
    ("text", "taint", "effect"),
    [
        ("key", "key", ""),
        ("key:NoExecute", "key", "NoExecute"),
        ("key=value", "key=value", ""),
        ("key=:NoSchedule", "key=", "NoSchedule"),
        ("example.com/key=value:PreferNoSchedule", "example.com/key=value", "PreferNoSchedule"),
        ("", "", ""),
        (":NoSchedule", "", "NoSchedule"),
    ],
    ids=["key", "effect", "value", "empty value", "domain", "every taint", "every key"],
)
def test_toleration_is_split_when(text: str, taint: str, effect: str) -> None:
    """At the first colon; an empty text bears every taint, if the guard lets it pass."""
    found = overwrite({"KUBERNETES_NODE_TOLERATIONS_1": text}, node_tolerations_overwrite_allowed=".*")
    assert found.config.kubernetes.node_tolerations == {taint: effect}


def test_empty_toleration_is_refused_when_the_guard_wants_something() -> None:
    """Nothing is a value, too, and it is the strongest one."""
    sentence = refused({"KUBERNETES_NODE_TOLERATIONS_1": ""}, node_tolerations_overwrite_allowed=".+")
    assert 'provided value "" does not match ".+"' in sentence


def test_notes_name_field_and_value_when_something_is_overwritten() -> None:
    """One line each; the token is masked."""
    assert overwrite(ASKED, **GUARDS).notes[:9] == (
        '"Namespace" overwritten with "team-a"',
        '"ServiceAccount" overwritten with "deployer"',
        '"BearerToken" overwritten with "XXXXXXXX..."',
        '"PodLabels" overwritten with "team=a"',
        '"PodLabels" overwritten with "example.com/tier=ci"',
        '"PodAnnotations" overwritten with "note=one = two"',
        '"NodeSelector" overwritten with "disk=ssd"',
        '"NodeTolerations" overwritten with "gpu=true:NoSchedule"',
        '"NodeTolerations" overwritten with "spot"',
    )
    assert '"PodMemoryLimit" overwritten with "2"' in overwrite(ASKED, **GUARDS).notes


def test_origins_name_the_variables_when_something_is_overwritten() -> None:
    """By key, in tables by entry."""
    origins = overwrite(ASKED, **GUARDS).origins
    assert origins["namespace",] == "KUBERNETES_NAMESPACE_OVERWRITE"
    assert origins["node_tolerations", "gpu=true"] == "KUBERNETES_NODE_TOLERATIONS_1"
    assert origins["helper_cpu_limit",] == "KUBERNETES_HELPER_CPU_LIMIT"


def test_token_is_shown_nowhere_when_it_is_overwritten() -> None:
    """Neither in what is told nor in a configuration that is printed."""
    found = overwrite(ASKED, **GUARDS)
    assert found.config.kubernetes.bearer_token == "a.token"
    assert "a.token" not in repr(found)
    assert "se cret" not in refused({"KUBERNETES_BEARER_TOKEN": "se cret"}, bearer_token_overwrite_allowed=True)


def test_file_variable_gives_what_the_file_holds() -> None:
    """Its path would be no value of anything; an editor's last newline is no part of it."""
    variables = Variables((Variable("KUBERNETES_NAMESPACE_OVERWRITE", "ci\n", file=True),))
    found = apply_overwrites(runner(namespace_overwrite_allowed="^ci$"), variables)
    assert found.config.kubernetes.namespace == "ci"


def test_variables_are_expanded_when_they_were_not() -> None:
    """The guard judges what comes out."""
    variables = Variables((Variable("KUBERNETES_NAMESPACE_OVERWRITE", "ci-$TEAM"), Variable("TEAM", "a")))
    config = runner(namespace_overwrite_allowed="^ci-a$")
    assert apply_overwrites(config, variables).config.kubernetes.namespace == "ci-a"


def test_issue_2583_overwrites_do_not_leak_into_the_shared_configuration() -> None:
    """TestPrepareIssue2583: the next job of the runner finds everything as it was configured."""
    config = runner(pod_labels={"a": "0"}, node_selector={"b": "0"}, cpu_limit="1", **GUARDS)
    before = config.model_copy(deep=True)
    first = apply_overwrites(config, Variables(Variable(key, value) for key, value in ASKED.items()))
    assert first.config != config
    assert config == before
    assert apply_overwrites(config, Variables()).config is config


def test_reserved_label_is_ignored_when_a_job_asks_for_it() -> None:
    """The runner finds its pods by them."""
    found = overwrite({"KUBERNETES_POD_LABELS_1": "job.runner.gitlab.com/id=1"}, pod_labels_overwrite_allowed=".")
    assert (found.config.kubernetes.pod_labels, found.notes) == ({}, ())
    assert found.ignored == ("KUBERNETES_POD_LABELS_1",)


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"KUBERNETES_NAMESPACE_OVERWRITE": "../secrets"}, '"../secrets" is no namespace'),
        ({"KUBERNETES_NAMESPACE_OVERWRITE": "a" * 64}, "is no namespace"),
        ({"KUBERNETES_NAMESPACE_OVERWRITE": "kube-system"}, "only where the guard spells its name out"),
        ({"KUBERNETES_SERVICE_ACCOUNT_OVERWRITE": "a/b"}, '"a/b" is no service account'),
        ({"KUBERNETES_BEARER_TOKEN": "a\r\nX-Remote-User: admin"}, "the value of KUBERNETES_BEARER_TOKEN is no token"),
        ({"KUBERNETES_BEARER_TOKEN": "tökén"}, "the value of KUBERNETES_BEARER_TOKEN is no token"),
        ({"KUBERNETES_POD_LABELS_1": "a b=c"}, '"a b" is no key'),
        ({"KUBERNETES_POD_LABELS_1": "=c"}, '"" is no key'),
        ({"KUBERNETES_POD_ANNOTATIONS_1": "a/b/c=d"}, '"a/b/c" is no key'),
        ({"KUBERNETES_NODE_SELECTOR_1": "a=b c"}, '"b c" is no value of a label'),
        ({"KUBERNETES_NODE_TOLERATIONS_1": "a=b c"}, '"b c" is no value of a label'),
        ({"KUBERNETES_NODE_TOLERATIONS_1": "a:Never"}, '"Never" is no effect of a taint: it is one of NoExecute'),
        ({"KUBERNETES_NODE_TOLERATIONS_1": "=b"}, '"" is no key'),
    ],
    ids=[
        "path",
        "long",
        "cluster's",
        "account",
        "header",
        "unicode",
        "label",
        "no label",
        "annotation",
        "selector",
        "taint",
        "effect",
        "no taint",
    ],
)
def test_job_fails_when_kubernetes_would_not_take(variables: dict[str, str], words: str) -> None:
    """Before anything is created, and with the variable's name, which the API server does not know."""
    assert words in refused(variables, **GUARDS)


def test_namespace_of_the_cluster_is_allowed_when_it_is_spelled_out() -> None:
    """Whoever writes the name means it."""
    variables = {"KUBERNETES_NAMESPACE_OVERWRITE": "kube-system"}
    found = overwrite(variables, namespace_overwrite_allowed="^(ci|kube-system)$")
    assert found.config.kubernetes.namespace == "kube-system"


# Hostile jobs ------------------------------------------------------------------------------------------------------

HUGE = "a" * (10 * 1024 * 1024)


@pytest.mark.parametrize("variable", [name for name in ASKED if name != "KUBERNETES_POD_LABELS_2"])
def test_huge_value_is_refused_at_once(variable: str) -> None:
    """Ten megabytes are neither matched nor shown."""
    begun = time.perf_counter()
    sentence = refused({variable: HUGE}, **GUARDS)
    assert len(sentence) < 1000
    assert time.perf_counter() - begun < 0.2


def test_many_values_are_refused_when_they_are_too_much_together() -> None:
    """A pod carries 256 KiB of annotations, and a thousand variables of 4 KiB are more."""
    variables = {f"KUBERNETES_POD_LABELS_{number}": f"a={'b' * 4000}" for number in range(1000)}
    assert "is the most that can be" in refused(variables, **GUARDS)
    whole = f"a={'b' * 256_000}"
    assert overwrite({"KUBERNETES_POD_ANNOTATIONS_1": whole}, **GUARDS).config.kubernetes.pod_annotations["a"]


@pytest.mark.parametrize("pattern", [r"^(a+)+$", r"(a|aa)+$", r"^(a|a?)+$", r"(.*a){20}!"])
def test_pattern_takes_linear_time_when_it_would_go_back(pattern: str) -> None:
    """An engine that goes back would take years for these."""
    begun = time.perf_counter()
    value = f"a={'a' * 200_000}!"
    refused({"KUBERNETES_POD_ANNOTATIONS_1": f"{value}?"}, pod_annotations_overwrite_allowed=f"{pattern}\\z")
    assert time.perf_counter() - begun < 1.0


@pytest.mark.parametrize("text", ["\n", "\r", "\x1b[0K", "\x00", "\u202e", "\u2028", "\x85", "\ud800"])
def test_line_of_the_log_is_not_forged_when_a_job_tries(text: str) -> None:
    """Neither by a name nor by a value, refused or taken."""
    line = f"{text}ERROR: Job failed"
    sentences = [
        refused({"KUBERNETES_NAMESPACE_OVERWRITE": f"a{line}"}, **GUARDS),
        refused({"KUBERNETES_CPU_LIMIT": f"1{line}"}, **GUARDS),
        refused({f"KUBERNETES_POD_LABELS_{line}": "wrong"}, **GUARDS),
        refused({"KUBERNETES_POD_LABELS_1": line}, **GUARDS),
        refused({"KUBERNETES_NODE_TOLERATIONS_1": f"a:{line}"}, **GUARDS),
        *overwrite({f"KUBERNETES_POD_ANNOTATIONS_{line}": f"a={line}"}, **GUARDS).notes,
    ]
    for sentence in sentences:
        assert sentence.isprintable()
        assert text not in sentence


TEXT = st.one_of(
    st.text(max_size=20),
    st.from_regex(r"[a-z]{0,3}=?[a-z0-9.-]{0,5}(:No(Schedule|Execute))?", fullmatch=True),
    st.from_regex(r"[+-]?[0-9]{0,4}\.?[0-9]{0,2}([numkMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]{1,2})?", fullmatch=True),
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    variables=st.lists(st.tuples(st.sampled_from(sorted(ASKED)), TEXT, st.booleans()), max_size=8),
    pattern=st.sampled_from(["", "^ci-", "a", ".*", "(", "[0-9]+$"]),
    most=st.sampled_from(["", "0", "500m", "2Gi"]),
)
def test_no_job_gets_past_a_guard_or_out_of_its_error(
    variables: list[tuple[str, str, bool]], pattern: str, most: str
) -> None:
    """Whatever the variables say: a JobConfigurationError, or every value stands within its guard."""
    config = runner(
        namespace="ci",
        bearer_token_overwrite_allowed=bool(pattern),
        **{key: pattern for key in GUARDS if key.endswith("_overwrite_allowed") and not key.startswith("bearer")},
        **{f"{key}_overwrite_max_allowed": most for key in AMOUNTS},
    )
    before = config.model_copy(deep=True)
    said: tuple[str, ...]
    try:
        found = apply_overwrites(config, Variables(Variable(key, text, file=file) for key, text, file in variables))
        check_bounds(found.config.kubernetes, before.kubernetes, pattern=pattern, most=most)
        said = found.notes
    except JobConfigurationError as refusal:
        said = (refusal.message,)
    assert all(line.isprintable() for line in said)
    assert config == before


def check_bounds(found: KubernetesConfig, before: KubernetesConfig, *, pattern: str, most: str) -> None:
    """Every value is the configured one or one that its guard lets pass, and of the configured type."""
    assert type(found).model_validate(found.model_dump()) == found
    for key in AMOUNTS:
        amount = getattr(found, key)
        assert not amount or (most and parse_quantity("0") <= parse_quantity(amount) <= parse_quantity(most))
    if pattern in ("", "("):
        # The token's guard is a yes or no, not a pattern.
        free = {**dict.fromkeys(AMOUNTS, ""), **({"bearer_token": before.bearer_token} if pattern else {})}
        assert found.model_copy(update=free) == before
    if pattern == "^ci-":
        assert found.namespace == "ci" or found.namespace.startswith("ci-")
        assert all(key.startswith("ci-") for key in (*found.pod_labels, *found.node_selector, *found.node_tolerations))
