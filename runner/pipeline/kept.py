"""`artifacts` and `cache`: what a job leaves behind, for later jobs, for the user and for the next run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from runner.pipeline.files import Files
from runner.pipeline.findings import Warnings
from runner.pipeline.located import Part, Series, Table
from runner.pipeline.model import LocalArtifact, LocalCache
from runner.pipeline.needs import nearest
from runner.pipeline.variables import expand

WHENS = ("on_success", "on_failure", "always")
POLICIES = ("pull-push", "pull", "push")
MOST_KEY_FILES = 2
"""GitLab's limit for `cache:key:files`."""

REPORTS = {
    "junit": "junit.xml",
    "dotenv": ".env",
    "codequality": "gl-code-quality-report.json",
    "metrics": "metrics.txt",
    "terraform": "tfplan.json",
    "sast": "gl-sast-report.json",
    "dast": "gl-dast-report.json",
    "secret_detection": "gl-secret-detection-report.json",
    "dependency_scanning": "gl-dependency-scanning-report.json",
    "container_scanning": "gl-container-scanning-report.json",
    "license_scanning": "gl-license-scanning-report.json",
    "performance": "performance.json",
    "browser_performance": "browser-performance.json",
    "load_performance": "load-performance.json",
    "accessibility": "gl-accessibility.json",
    "requirements": "requirements.json",
    "cyclonedx": "gl-sbom.cdx.json",
    "lsif": "lsif.json",
    "annotations": "gl-annotations.json",
    "coverage_report": "cobertura-coverage.xml",
    "api_fuzzing": "gl-api-fuzzing-report.json",
    "coverage_fuzzing": "gl-coverage-fuzzing.json",
    "repository_xray": "gl-repository-xray.json",
}
"""A report's keyword -> the name of its file at GitLab."""


def read_artifacts(part: Part | None, warnings: Warnings) -> tuple[LocalArtifact, ...]:
    """Read `artifacts`: the archive, then the reports."""
    if part is None:
        return ()
    if isinstance(part.value, Series):
        return (LocalArtifact(paths=part.texts()),)
    paths, exclude, untracked = part.get("paths"), part.get("exclude"), part.get("untracked")
    name, expire_in = part.get("name"), part.get("expire_in")
    expiry = expire_in.text() if expire_in else ""
    archive = LocalArtifact(
        name=name.text() if name else "",
        paths=paths.texts() if paths else (),
        exclude=exclude.texts() if exclude else (),
        untracked=untracked is not None and untracked.flag(),
        when=_chosen(part.get("when"), WHENS),
        expire_in=expiry,
    )
    kept = (archive,) if archive.paths or archive.untracked else ()
    return (*kept, *_reports(part.get("reports"), expiry, warnings))


def read_caches(
    part: Part | None, *, variables: Mapping[str, str], files: Files, warnings: Warnings
) -> tuple[LocalCache, ...]:
    """Read `cache`: one or a list of them."""
    return tuple(_cache(item, variables, files, warnings) for item in part.items()) if part else ()


def _reports(part: Part | None, expire_in: str, warnings: Warnings) -> tuple[LocalArtifact, ...]:
    found = []
    for key in part.table() if part else ():
        item = part.get(key) if part else None
        if item is None:
            continue
        if key not in REPORTS:
            warnings.add(item.place, f"{item.name} is no report that is known here{nearest(key, REPORTS)}: left out")
            continue
        path = item.get("path") if isinstance(item.value, Table) else item
        if path is None:
            raise item.error("needs a `path`.")
        kind = "cobertura" if key == "coverage_report" else key
        found.append(
            LocalArtifact(
                name=REPORTS[key], paths=path.texts(), when="always", expire_in=expire_in, type=kind, format="gzip"
            )
        )
    return tuple(found)


def _cache(part: Part, variables: Mapping[str, str], files: Files, warnings: Warnings) -> LocalCache:
    paths, untracked, fallback = part.get("paths"), part.get("untracked"), part.get("fallback_keys")
    policy = part.get("policy")
    # A policy with a variable is for the runner to expand.
    chosen = policy.text() if policy and "$" in policy.text() else _chosen(policy, POLICIES)
    return LocalCache(
        key=_key(part.get("key"), variables, files, warnings),
        paths=paths.texts() if paths else (),
        untracked=untracked is not None and untracked.flag(),
        policy=chosen,
        when=_chosen(part.get("when"), WHENS),
        fallback_keys=fallback.texts() if fallback else (),
    )


def _key(part: Part | None, variables: Mapping[str, str], files: Files, warnings: Warnings) -> str:
    """The key as GitLab gives it; one made of files is the sum of their contents, where GitLab takes their commits."""
    if part is None:
        return "default"
    if not isinstance(part.value, Table):
        return part.text()
    prefix, named = part.get("prefix"), part.get("files")
    names = [expand(item.text(), variables) for item in named.items()] if named else []
    if named is None or not names:
        raise part.error("needs `files`, or is a text.")
    if len(names) > MOST_KEY_FILES:
        raise named.error(f"may name {MOST_KEY_FILES} files, not {len(names)}.")
    texts = [text for name in names if (text := files.read(name)) is not None]
    if not texts:
        warnings.add(named.place, f"{named.name} names no file that is there: the key is `default`")
    joined = hashlib.sha1("\0".join(texts).encode(), usedforsecurity=False).hexdigest() if texts else "default"
    return f"{prefix.text()}-{joined}" if prefix else joined


def _chosen(part: Part | None, known: tuple[str, ...]) -> str:
    if part is None:
        return known[0]
    if part.text() not in known:
        raise part.error(f"is one of {', '.join(known)}, not `{part.text()}`{nearest(part.text(), known)}.")
    return part.text()
