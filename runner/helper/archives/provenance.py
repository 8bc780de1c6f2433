"""Where artifacts come from, as a statement of in-toto with a predicate of SLSA 1 that lies beside them.

The sums are SHA-256 of the regular files; the names of the job's variables are told, never their values.
"""

import hashlib
import json
import os
import stat
from collections.abc import Sequence

from runner.helper.archives.entries import CHUNK_BYTES
from runner.helper.console import HelperError
from runner.helper.flags import Flag, Given

PROVENANCE_FLAGS = (
    Flag("generate-artifacts-metadata", kind="boolean", default=False),
    Flag("runner-id"),
    Flag("repo-url"),
    Flag("repo-digest"),
    Flag("job-name"),
    Flag("executor-name"),
    Flag("runner-name"),
    Flag("started-at"),
    Flag("ended-at"),
    Flag("schema-version"),
    Flag("metadata-parameter", kind="texts"),
)


def write_provenance(given: Given, names: Sequence[str], *, root: str) -> str:
    """Write `<name>-metadata.json` into the root and give its name. Raises HelperError if it cannot be written."""
    name = f"{os.path.basename(given.text('name')) or 'artifacts'}-metadata.json"
    try:
        with open(os.path.join(root, name), "w", encoding="utf-8") as file:
            json.dump(_statement(given, _subjects(names, root)), file, indent=1)
    except OSError as error:
        raise HelperError(f"the statement of where the artifacts come from cannot be written: {error}") from error
    return name


def _subjects(names: Sequence[str], root: str) -> list[dict[str, object]]:
    return [
        {"name": name, "digest": {"sha256": _sum(path)}}
        for name in names
        if stat.S_ISREG(os.lstat(path := os.path.join(root, name)).st_mode)
    ]


def _sum(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        while data := file.read(CHUNK_BYTES):
            digest.update(data)
    return digest.hexdigest()


def _statement(given: Given, subjects: list[dict[str, object]]) -> dict[str, object]:
    runner = (
        f"{given.text('repo-url').rpartition('/')[0] or given.text('repo-url')}/-/runners/{given.text('runner-id')}"
    )
    return {
        "_type": "https://in-toto.io/Statement/v0.1",
        "predicateType": f"https://slsa.dev/provenance/{given.text('schema-version') or 'v1'}",
        "subject": subjects,
        "predicate": {
            "buildDefinition": {
                "buildType": "https://gitlab.com/gitlab-org/gitlab-runner/-/blob/main/PROVENANCE.md",
                "externalParameters": {
                    **{name: "" for name in given.texts("metadata-parameter")},
                    "entryPoint": given.text("job-name"),
                    "source": given.text("repo-url"),
                },
                "internalParameters": {
                    "name": given.text("runner-name"),
                    "executor": given.text("executor-name"),
                    "job": given.number("id"),
                },
                "resolvedDependencies": [
                    {"uri": given.text("repo-url"), "digest": {"sha256": given.text("repo-digest")}}
                ],
            },
            "runDetails": {
                "builder": {"id": runner, "version": {"gitlab-runner": ""}},
                "metadata": {
                    "invocationID": str(given.number("id")),
                    "startedOn": given.text("started-at"),
                    "finishedOn": given.text("ended-at"),
                },
            },
        },
    }
