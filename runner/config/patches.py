"""`[[runners.kubernetes.pod_spec]]`: patches for the pod's spec, applied in the order of the file.

They count only with the feature flag `FF_USE_ADVANCED_POD_SPEC_CONFIGURATION`.
"""

from typing import Annotated

from pydantic import AfterValidator, Field

from runner.config.base import Table
from runner.config.values import one_of

PATCH_TYPES = ("strategic", "merge", "json")
"""The first is what an unnamed type means."""


def _strategic_unless_named(patch_type: str) -> str:
    return patch_type or PATCH_TYPES[0]


class PodPatch(Table):
    """One patch, its text here or in a file."""

    name: str = Field("", description="name of the patch in messages")
    patch: str = Field("", description="text of the patch, YAML or JSON")
    patch_path: str = Field("", description="file with the patch, instead of `patch`")
    patch_type: Annotated[
        str, AfterValidator(_strategic_unless_named), one_of("patch-type", PATCH_TYPES, "jobs fail")
    ] = Field("strategic", description="`strategic`, `merge` (RFC 7386) or `json` (RFC 6902)")

    def doubt(self) -> tuple[str, str] | None:
        """One patch has one text."""
        both = self.patch and self.patch_path
        return ("patch-source", "patch and patch_path are both set: jobs fail; take one away") if both else None
