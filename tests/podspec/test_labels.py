"""Labels and annotations: what users may set, and what they may not."""

from typing import Any

import pytest

from runner.job.variables import Variable, Variables
from runner.podspec.labels import manager_selector, pod_annotations, pod_labels


def test_configured_labels_are_expanded_and_sanitised_when_free(make_request: Any) -> None:
    """The runner's own domain is not for users, in any spelling; ours win over theirs."""
    request = make_request(
        kubernetes={
            "pod_labels": {
                "team": "the $TEAM team",
                "pod": "mine",
                "job.runner.gitlab.com/id": "1",
                "x.RUNNER.gitlab.com": "1",
                "empty": "$NOTHING",
            }
        }
    )

    labels = pod_labels(request)

    assert {key: labels[key] for key in ("team", "pod", "job.runner.gitlab.com/id", "empty")} == {
        "team": "the_checkout_team",
        "pod": "runner-abcdefghi-project-77-concurrent-0",
        "job.runner.gitlab.com/id": "4711",
        "empty": "",
    }
    assert "x.RUNNER.gitlab.com" not in labels


def test_annotations_may_be_replaced_when_they_do_not_say_when_to_sweep(make_request: Any) -> None:
    """A job that may set annotations must not keep its pod for ever."""
    request = make_request(
        kubernetes={
            "pod_annotations": {
                "job.runner.gitlab.com/name": "other",
                "karpenter.sh/do-not-disrupt": "false",
                "job.runner.gitlab.com/expires-at": "9999-01-01T00:00:00Z",
                "note": "of $TEAM, $$5",
            }
        }
    )

    annotations = pod_annotations(request)

    assert annotations["job.runner.gitlab.com/name"] == "other"
    assert annotations["karpenter.sh/do-not-disrupt"] == "false"
    assert annotations["note"] == "of checkout, $5"
    assert annotations["job.runner.gitlab.com/expires-at"] == "2027-01-15T10:00:00Z"


def test_masked_values_are_blotted_out_when_one_holds_the_other(make_request: Any) -> None:
    """Longest first, so that no rest of a secret stays behind."""
    variables = Variables((Variable("SHORT", "hunter22", masked=True), Variable("LONG", "xxhunter22yy", masked=True)))
    request = make_request(kubernetes={"pod_annotations": {"a": "$LONG and $SHORT"}}, variables=variables)

    assert pod_annotations(request)["a"] == "[MASKED] and [MASKED]"


@pytest.mark.parametrize("git", [{}, {"repo_url": "http://[::1/a"}], ids=["none", "no address"])
def test_job_url_is_left_empty_when_there_is_no_repository(make_request: Any, git: dict[str, str]) -> None:
    """A job without sources has no address to make one from."""
    assert pod_annotations(make_request(job={"git_info": git}))["job.runner.gitlab.com/url"] == ""


def test_job_url_keeps_the_port_and_drops_the_token_when_there_is_one(make_request: Any) -> None:
    """The repository's address carries the job's token."""
    request = make_request(job={"git_info": {"repo_url": "http://gitlab-ci-token:secret@git.lan:8080/a/b.git"}})

    assert pod_annotations(request)["job.runner.gitlab.com/url"] == "http://git.lan:8080/a/b/-/jobs/4711"


def test_manager_selector_finds_the_pods_when_built_from_the_same_names(make_request: Any) -> None:
    """What the watch selects by is what the pods carry."""
    selector = manager_selector(system_id="s_0123456789ab", runner_token="glrt-t1_abcdefghijklmnop")
    labels = pod_labels(make_request())

    assert selector == "manager.runner.gitlab.com/system-id=s_0123456789ab,manager.runner.gitlab.com/id-short=abcdefghi"
    assert all(labels[key] == value for key, value in (part.split("=") for part in selector.split(",")))
