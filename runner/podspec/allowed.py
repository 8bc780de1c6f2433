"""Which images a job may use: `allowed_images` for its own, `allowed_services` for its services.

What is compared is the reference as the pod will have it, variables expanded: the container engine is given the same
text, so no other spelling of a name gets past the list. What the operator wrote down himself needs no permission.
"""

from collections.abc import Iterable
from typing import Literal

from runner.config.globs import GlobError, glob_matches
from runner.job.outcome import JobConfigurationError
from runner.podspec.quoting import quoted, shown

MOST_IMAGE_CHARACTERS = 4096
"""No registry has longer references; a job's text is not matched beyond."""

_SHOWN_PATTERNS = 20

Kind = Literal["images", "services"]


def check_image(image: str, *, kind: Kind, allowed: tuple[str, ...], always: Iterable[str] = ()) -> None:
    """Refuse an image that the runner's list does not allow; an empty list allows all.

    `always` are references that need no permission: those of the configuration, as they are written there, so that a
    variable in them gives a job no way around the list. A pattern that is no glob matches nothing, as in GitLab Runner.
    Raises JobConfigurationError with GitLab Runner's words and the patterns. There such a job is a system failure; here
    what a job can provoke never is.
    """
    if len(image) > MOST_IMAGE_CHARACTERS or not image.isprintable():
        raise JobConfigurationError(f"{quoted(image)} is no name of an image")
    if not allowed or image in always or any(_matches(pattern, image) for pattern in allowed):
        return
    patterns = ", ".join(map(shown, allowed[:_SHOWN_PATTERNS])) + (", ..." if len(allowed) > _SHOWN_PATTERNS else "")
    raise JobConfigurationError(
        f"disallowed image: the {quoted(image)} image is not present on list of allowed {kind}: {patterns}. "
        f"Please check runner's configuration: allowed_{kind} in [runners.kubernetes]"
    )


def _matches(pattern: str, image: str) -> bool:
    try:
        return glob_matches(pattern, image)
    except GlobError:
        return False
