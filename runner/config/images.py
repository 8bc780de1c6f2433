"""Keys of `[runners.kubernetes]` about images and how they are pulled."""

from pydantic import Field

from runner.config.base import Table
from runner.config.values import Flag, PullPolicy, Texts


class ImageKeys(Table):
    """Images and pulling."""

    image: str = Field("", description="image of jobs that name none; job variables are expanded")
    allowed_images: Texts = Field(
        (), description="globs of images that jobs may use; empty: all; `image` and the helper's are always allowed"
    )
    allowed_services: Texts = Field((), description="globs of images that jobs may use for services; empty: all")
    pull_policy: PullPolicy = Field(
        (), description="`always`, `if-not-present` or `never`; a list is tried in order; unset: the cluster decides"
    )
    allowed_pull_policies: PullPolicy = Field(
        (), description="pull policies that jobs may choose; empty: those of `pull_policy`"
    )
    image_pull_secrets: Texts = Field((), description="names of registry secrets in the job's namespace")
    use_service_account_image_pull_secrets: Flag = Field(
        False, description="name no registry secrets in the pod, so that the service account's own apply"
    )
    helper_image: str = Field("", description="full reference of the helper image; job variables are expanded")
    helper_image_flavor: str = Field(
        "", description="flavor of the helper image, where `helper_image` is empty; empty: `alpine`"
    )
    helper_image_autoset_arch_and_os: Flag = Field(
        False, description="choose the helper image for this machine's architecture and system"
    )
