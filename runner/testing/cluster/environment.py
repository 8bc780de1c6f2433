"""The environment, command line and image of a container, as the kubelet puts them together.

Law: pure; what the spec refers to is looked up by a function that is given. `$(NAME)` is expanded and `$$` is `$`, in
values, commands and arguments, as Kubernetes has it: a client that forgets to double its dollars finds out here.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping, Sequence

from runner.testing.cluster.problems import Manifest

Lookup = Callable[[str, str], Manifest | None]
"""Resource and name to an object of the pod's namespace, or None."""

_REFERENCE = re.compile(r"\$(\$|\(([^()]*)\)|)")
_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")
_IMAGE = re.compile(
    r"(?:[a-zA-Z0-9](?:[-a-zA-Z0-9.]*[a-zA-Z0-9])?(?::\d+)?/)?"
    r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"
    r"(?::\w[\w.-]{0,127})?(?:@[A-Za-z][A-Za-z0-9]*:[0-9a-fA-F]{32,})?"
)


class ContainerConfigError(Exception):
    """The spec refers to something that is not there; the message is the kubelet's."""


def expand(text: str, values: Mapping[str, str]) -> str:
    """Expand `$(NAME)`; what is not known stays as it stands."""

    def replaced(found: re.Match[str]) -> str:
        if found[1] == "$":
            return "$"
        return values.get(found[2], found[0]) if found[2] is not None else "$"

    return _REFERENCE.sub(replaced, text)


def container_environment(
    container: Manifest, pod: Manifest, lookup: Lookup, base: Mapping[str, str]
) -> dict[str, str]:
    """Return the environment: `base` (what the image would bring), then `envFrom`, then `env`.

    Raises ContainerConfigError for a Secret or ConfigMap that is missing and not optional.
    """
    values = dict(base)
    for source in container.get("envFrom") or []:
        for kind, resource in (("secretRef", "secrets"), ("configMapRef", "configmaps")):
            if reference := source.get(kind):
                prefix = source.get("prefix", "")
                values |= {prefix + key: text for key, text in _content(resource, reference, lookup).items()}
    for variable in container.get("env") or []:
        if "valueFrom" in variable:
            text = _value_from(variable["valueFrom"], pod, lookup)
        else:
            text = expand(variable.get("value", ""), values)
        if text is not None:
            values[variable["name"]] = text
    return values


def field_value(pod: Manifest, path: str) -> str:
    """Return what a `fieldRef` names."""
    if found := _SUBSCRIPT.fullmatch(path):
        return str((pod["metadata"].get(found[1]) or {}).get(found[2], ""))
    value: object = pod
    for word in path.split("."):
        value = value.get(word) if isinstance(value, Mapping) else None
    if isinstance(value, Mapping):
        return "\n".join(f'{key}="{text}"' for key, text in value.items())
    return "" if value is None else str(value)


def object_files(resource: str, manifest: Manifest) -> dict[str, bytes]:
    """Return the data of a Secret or ConfigMap as bytes."""
    data: Mapping[str, str] = manifest.get("data") or {}
    if resource == "secrets":
        return {key: base64.b64decode(text) for key, text in data.items()}
    binary: Mapping[str, str] = manifest.get("binaryData") or {}
    return {
        **{key: text.encode() for key, text in data.items()},
        **{key: base64.b64decode(text) for key, text in binary.items()},
    }


def command_line(container: Manifest, values: Mapping[str, str], entrypoint: Sequence[str]) -> tuple[str, ...]:
    """Return command and arguments; `entrypoint` is the image's own, used when the spec gives no command."""
    command = container.get("command") or ()
    return tuple(expand(word, values) for word in (*(command or entrypoint), *(container.get("args") or ())))


def image_problem(container: Manifest) -> tuple[tuple[str, str], ...]:
    """Return the waiting reasons and messages that an image leads to, in turn; none when it can be had.

    There are no images: every valid name can be had but those whose last part begins with `missing`.
    """
    image, policy = container["image"], container.get("imagePullPolicy", "")
    if not _IMAGE.fullmatch(image):
        text = f'Failed to apply default image tag "{image}": couldn\'t parse image name "{image}": '
        return (("InvalidImageName", text + "invalid reference format"),)
    if not image.rpartition("/")[2].startswith("missing"):
        return ()
    if policy == "Never":
        return (("ErrImageNeverPull", f'Container image "{image}" is not present with pull policy of Never'),)
    text = f'failed to pull and unpack image "{image}": failed to resolve reference "{image}": {image}: not found'
    return (("ErrImagePull", text), ("ImagePullBackOff", f'Back-off pulling image "{image}": ErrImagePull: {text}'))


def _content(resource: str, reference: Manifest, lookup: Lookup) -> dict[str, str]:
    found = lookup(resource, reference.get("name", ""))
    if found is None:
        if reference.get("optional"):
            return {}
        raise ContainerConfigError(f'{resource.removesuffix("s")} "{reference.get("name", "")}" not found')
    return {key: data.decode("utf-8", "surrogateescape") for key, data in object_files(resource, found).items()}


def _value_from(source: Manifest, pod: Manifest, lookup: Lookup) -> str | None:
    for kind, resource in (("secretKeyRef", "secrets"), ("configMapKeyRef", "configmaps")):
        if reference := source.get(kind):
            content = _content(resource, reference, lookup)
            key = reference.get("key", "")
            if key not in content and not reference.get("optional"):
                place = f"{pod['metadata']['namespace']}/{reference.get('name', '')}"
                raise ContainerConfigError(f"couldn't find key {key} in {resource.removesuffix('s')} {place}")
            return content.get(key)
    if reference := source.get("fieldRef"):
        return field_value(pod, reference.get("fieldPath", ""))
    return ""
