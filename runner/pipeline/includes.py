"""From files to one tree: what a pipeline's file includes comes first, in its order, and the including file wins.

Files of this repository are read; what lies with GitLab (`project`, `template`, `component`) or elsewhere (`remote`) is
left out with a warning.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass

from runner.pipeline.files import Files
from runner.pipeline.findings import PipelineError, Place, Warnings
from runner.pipeline.globs import is_glob, matches
from runner.pipeline.located import Part, Series, Table, kind, merge
from runner.pipeline.rules import Rules
from runner.pipeline.variables import expand
from runner.pipeline.yaml_text import read_yaml

MOST_FILES = 150
"""Included files of one pipeline, GitLab's own limit."""

_ELSEWHERE = ("project", "remote", "template", "component", "artifact")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a pipeline's files are read with."""

    files: Files
    variables: Mapping[str, str]
    """Those that `include` may use: GitLab's and the command line's."""
    warnings: Warnings


def read_files(file: str, surroundings: Surroundings) -> Table:
    """Read a pipeline's file and what it includes as one mapping. Raises PipelineError."""
    return _Includes(surroundings).tree(file, asked_at=None)


class _Includes:
    def __init__(self, surroundings: Surroundings) -> None:
        self._surroundings = surroundings
        self._open: list[str] = []
        self._count = 0

    def tree(self, file: str, *, asked_at: Place | None) -> Table:
        """One file with everything it includes."""
        self._count += 1
        if file in self._open:
            raise PipelineError.at(
                asked_at or Place(file, 1), f"`{file}` includes itself: {' -> '.join((*self._open, file))}."
            )
        if self._count > MOST_FILES:
            raise PipelineError.at(asked_at or Place(file, 1), f"more than {MOST_FILES} files are included.")
        own = self._read(file, asked_at)
        below = Table(own.place)
        include = Part(own, own.place).get("include")
        self._open.append(file)
        for entry in include.items() if include else ():
            for name in self._wanted(entry):
                below = merge(below, self.tree(name, asked_at=entry.place))
        self._open.pop()
        return merge(below, own.without("include"))

    def _read(self, file: str, asked_at: Place | None) -> Table:
        text = self._surroundings.files.read(file)
        if text is None and asked_at:
            raise PipelineError.at(asked_at, f"the included file `{file}` is not there.")
        if text is None:
            raise PipelineError([f"there is no {file} here: write one, or name another with --file."])
        document = read_yaml(text, file=file, warnings=self._surroundings.warnings)
        if document.header is not None:
            self._surroundings.warnings.add(
                document.header.place_of("spec"), "`spec` is not read: `$[[ inputs.… ]]` stay as they are"
            )
        if document.data is None:
            return Table(Place(file, 1))
        if not isinstance(document.data, Table):
            place = document.data.place if isinstance(document.data, Series) else Place(file, 1)
            raise PipelineError.at(place, f"a pipeline is a mapping of jobs, this is {kind(document.data)}.")
        return document.data

    def _wanted(self, entry: Part) -> list[str]:
        """The files of this repository that one entry of `include` names."""
        if isinstance(entry.value, str):
            if entry.value.startswith(("http://", "https://")):
                return self._elsewhere(entry, "remote", entry.value)
            return self._local(entry, entry.value)
        if not isinstance(entry.value, Table):
            raise entry.error(f"takes files or mappings such as `local: path`, not {kind(entry.value)}.")
        if not self._rules_hold(entry):
            return []
        if "inputs" in entry.value:
            self._surroundings.warnings.add(entry.value.place_of("inputs"), "`include:inputs` are not passed on")
        local = entry.get("local")
        if local:
            return self._local(local, local.word())
        found = next((key for key in _ELSEWHERE if key in entry.value), "")
        if not found:
            raise entry.error("needs `local`, `project`, `remote`, `template` or `component`.")
        return self._elsewhere(entry, found, entry.value[found])

    def _elsewhere(self, entry: Part, kind: str, what: object) -> list[str]:
        self._surroundings.warnings.add(entry.place, f"`include:{kind}` is not in this repository and left out: {what}")
        return []

    def _rules_hold(self, entry: Part) -> bool:
        rules = entry.get("rules")
        if rules is None:
            return True
        surroundings = self._surroundings
        matched = Rules(rules, surroundings.files, surroundings.warnings).first(surroundings.variables)
        return matched is not None and matched.when != "never"

    def _local(self, entry: Part, path: str) -> list[str]:
        path = posixpath.normpath(expand(path, self._surroundings.variables).lstrip("/") or ".")
        if not path.endswith((".yml", ".yaml")):
            raise entry.error(f"takes files that end in .yml or .yaml, not `{path}`.")
        if not is_glob(path):
            return [path]
        found = sorted(name for name in self._surroundings.files.names() if matches(path, name))
        if not found:
            self._surroundings.warnings.add(entry.place, f"`include` of `{path}` finds no file")
        return found
