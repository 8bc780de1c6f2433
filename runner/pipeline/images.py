"""`image` and `services`: a name, or a mapping."""

from __future__ import annotations

from runner.pipeline.findings import Warnings
from runner.pipeline.located import Part, Series, Table
from runner.pipeline.model import LocalImage
from runner.pipeline.variables import read_variables

_KEYS = {"name", "alias", "entrypoint", "command", "variables", "pull_policy", "ports", "docker", "kubernetes"}
_POLICIES = ("always", "if-not-present", "never")


def read_image(part: Part, warnings: Warnings) -> LocalImage:
    """Read an image or a service. `docker` options and `ports` have no use here, and no warning."""
    if not isinstance(part.value, Table):
        return LocalImage(name=part.word())
    for key in part.value:
        if key not in _KEYS:
            warnings.add(part.value.place_of(key), f"`{part.keyword}:{key}` is not understood and left out")
    name, alias, kubernetes = part.get("name"), part.get("alias"), part.get("kubernetes")
    if name is None:
        raise part.error("needs a `name`.")
    user = kubernetes.get("user") if kubernetes else None
    return LocalImage(
        name=name.word(),
        alias=alias.text() if alias else "",
        entrypoint=_words(part.get("entrypoint")),
        command=_words(part.get("command")),
        variables=read_variables(part.get("variables")),
        pull_policy=_pull_policies(part.get("pull_policy")),
        user=user.text() if user else "",
    )


def read_services(part: Part | None, warnings: Warnings) -> tuple[LocalImage, ...]:
    """Read a list of services."""
    return tuple(read_image(item, warnings) for item in part.items()) if part else ()


def _words(part: Part | None) -> tuple[str, ...] | None:
    if part is None:
        return None
    if not isinstance(part.value, Series):
        raise part.error('has to be a list of words, such as ["sh", "-c"].')
    return part.texts()


def _pull_policies(part: Part | None) -> tuple[str, ...]:
    words = part.texts() if part else ()
    for word in words:
        if part and word not in _POLICIES:
            raise part.error(f"is `{word}`, which is none of {', '.join(_POLICIES)}.")
    return words
