"""`gitlab-runner-helper cache-init PATH...`: makes folders writable for every user of a shared volume."""

import os
from collections.abc import Mapping, Sequence

from runner.helper.console import Console, HelperError


def main(argv: Sequence[str], _environ: Mapping[str, str], _console: Console) -> None:
    """Change the mode of each path. Raises HelperError."""
    if not argv:
        raise HelperError("No arguments passed, at least one path is required.")
    for path in argv:
        try:
            os.chmod(path, 0o777)
        except OSError as error:
            raise HelperError(f"{path}: {error.strerror}") from error
