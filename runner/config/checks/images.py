"""Images: which are used, which are allowed, and how they are pulled."""

import re
from collections.abc import Iterator
from typing import Final

from runner.config.checks.rules import Problem, Rule, has_variable, quoted
from runner.config.globs import glob_problem
from runner.config.kubernetes import KubernetesConfig

_ANYTHING = frozenset({"*", "**", "*:*", "**:*", "**/*", "*/*", "**/**"})
_UPPER_CASE = re.compile(r"[A-Z]")


def _image_missing(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """No image is set for jobs that name none."""
    if not kubernetes.image:
        yield Problem(("image",), "no image is set: a job that names none fails", "set image to one with a shell")


def _image_not_a_reference(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """An image is no reference that a container engine can read."""
    references = {("image",): kubernetes.image, ("helper_image",): kubernetes.helper_image}
    for path, text in references.items():
        yield from _reference_problem(path, text)
    for index, service in enumerate(kubernetes.services):
        yield from _reference_problem(("services", index, "name"), service.name)


def _reference_problem(path: tuple[str | int, ...], text: str) -> Iterator[Problem]:
    # The registry may have capitals, and so may the tag.
    repository = text.partition("@")[0].partition("/")[2] or text.partition("@")[0]
    repository = repository.rpartition("/")[0] + repository.rpartition("/")[2].partition(":")[0]
    if has_variable(text):
        return
    if "://" in text:
        yield Problem(path, f"{quoted(text)} is an address, not an image", "leave the scheme out")
    elif any(character.isspace() for character in text):
        yield Problem(path, f"{quoted(text)} has a blank in it: no such image can be pulled", "take the blank out")
    elif _UPPER_CASE.search(repository):
        yield Problem(path, f"{quoted(text)} has capitals: no such image can be pulled", "write it in lower case")


def _allowed_no_glob(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """An entry of `allowed_images` or `allowed_services` is no glob and allows nothing."""
    for key in ("allowed_images", "allowed_services"):
        for index, pattern in enumerate(getattr(kubernetes, key)):
            if problem := glob_problem(pattern):
                yield Problem(
                    (key, index),
                    f"{quoted(pattern)} is no glob, for {problem}: it allows no image",
                    "correct it; a backslash takes the next character as it is",
                )


def _service_without_image(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """A service has no image and is left out."""
    for index, service in enumerate(kubernetes.services):
        if not service.name:
            yield Problem(
                ("services", index, "name"),
                "the service has no image and is left out of every job",
                "set name to its image, or take the service away",
            )


def _pull_policy_not_allowed(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """A pull policy is left out, because it is not among the allowed ones."""
    allowed, wanted = kubernetes.allowed_pull_policies, kubernetes.pull_policy
    if allowed and any(policy in allowed for policy in wanted):
        for policy in dict.fromkeys(wanted):
            if policy not in allowed:
                yield Problem(
                    ("pull_policy",),
                    f"{quoted(policy)} is left out, for it is not among allowed_pull_policies",
                    f"add {quoted(policy)} to allowed_pull_policies, or take it out of pull_policy",
                )


def _no_pull_policy_left(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """Jobs that choose no pull policy have none that is allowed."""
    allowed, wanted = kubernetes.allowed_pull_policies, kubernetes.pull_policy
    if not allowed or any(policy in allowed for policy in wanted or ("",)):
        return
    if wanted:
        yield Problem(
            ("pull_policy",),
            "none of it is among allowed_pull_policies: every job fails that does not choose another one",
            "take a policy of allowed_pull_policies",
        )
    else:
        yield Problem(
            ("allowed_pull_policies",),
            "there is no pull_policy beside it: every job fails that does not choose one of these",
            f"set pull_policy too, to {quoted(allowed[0])} for one",
        )


def _image_reuse(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """Jobs may use private images that another job has pulled to the node."""
    policies = kubernetes.pull_policy
    if policies and policies[0] in ("if-not-present", "never"):
        yield Problem(
            ("pull_policy",),
            f"with {quoted(policies[0])} a job can use any image that is on its node, private ones of others too",
            'take "always" where projects that do not trust each other share the runner',
        )


def _pull_secrets_unused(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """Registry secrets are named, and the pod is told to use the service account's."""
    if kubernetes.use_service_account_image_pull_secrets and kubernetes.image_pull_secrets:
        yield Problem(
            ("image_pull_secrets",),
            "use_service_account_image_pull_secrets is set, so no registry secret is named in the pod",
            "take one of the two keys away",
        )


def _helper_choice_unused(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """A helper image is named, and beside it how to choose one."""
    if not kubernetes.helper_image:
        return
    for key in ("helper_image_flavor", "helper_image_autoset_arch_and_os"):
        if getattr(kubernetes, key):
            yield Problem((key,), "helper_image is set, so the key does nothing", f"take {key} or helper_image away")


def _privileged_for_any_image(kubernetes: KubernetesConfig) -> Iterator[Problem]:
    """Containers are privileged and jobs choose the image freely."""
    lists = {
        "allowed_images": kubernetes.build_container_security_context.privileged,
        "allowed_services": kubernetes.service_container_security_context.privileged,
    }
    for key, own in lists.items():
        allowed = getattr(kubernetes, key)
        permitted = kubernetes.privileged or kubernetes.allow_privileged
        if (permitted if own is None else own) and (not allowed or _ANYTHING & set(allowed)):
            general = "privileged" if kubernetes.privileged else "allow_privileged"
            run = "run" if kubernetes.privileged or own else "may run"
            whose = "builds" if key == "allowed_images" else "services"
            where = f"{whose.removesuffix('s')}_container_security_context"
            yield Problem(
                (key,) if allowed else (general,) if own is None else (where, "privileged"),
                f"{whose} {run} privileged and {key} {'allows everything' if allowed else 'is empty'}: "
                "any job can take over its node with an image of its own",
                f"name in {key} what may be privileged, or give up privileged",
            )


RULES: Final[tuple[Rule[KubernetesConfig], ...]] = (
    Rule("image-missing", "note", _image_missing),
    Rule("image-not-a-reference", "error", _image_not_a_reference),
    Rule("allowed-no-glob", "error", _allowed_no_glob),
    Rule("service-without-image", "warning", _service_without_image),
    Rule("pull-policy-not-allowed", "warning", _pull_policy_not_allowed),
    Rule("no-pull-policy-left", "error", _no_pull_policy_left),
    Rule("image-reuse", "note", _image_reuse),
    Rule("pull-secrets-unused", "warning", _pull_secrets_unused),
    Rule("helper-choice-unused", "warning", _helper_choice_unused),
    Rule("privileged-for-any-image", "warning", _privileged_for_any_image),
)
"""All rules of this subject."""
