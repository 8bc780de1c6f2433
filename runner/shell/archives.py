"""Cache and artifacts: the commands by which the helper moves them.

The law: paths, names and excludes go to the helper unexpanded, it expands them itself; tokens go to it by the
environment, never as arguments. A cache that cannot be restored or saved is a warning, artifacts that cannot be
moved fail the stage. Only flags that every helper since 13.6 knows are used unless the configuration asks for more,
because the helper image can be chosen. Signed addresses of caches come with the context; `cache_keys` says for which.
"""

import hashlib
import posixpath
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from runner.job.durations import format_duration
from runner.job.outcome import JobConfigurationError
from runner.job.payload import Artifact, Cache
from runner.job.stages import Stage
from runner.shell.bash import ShellWriter, quote, quote_words
from runner.shell.cache_links import (
    LINKS_VARIABLE,
    VERSION,
    remove_loan,
    write_download_links,
    write_loan,
    write_upload_links,
)
from runner.shell.context import ScriptContext
from runner.shell.prologue import write_ownership, write_prologue
from runner.shell.urls import with_user

CACHE_ARCHIVE = "cache.zip"
"""A local archive's name, whatever its format."""

_LOAN = "gitlab_runner_cache_env"
"""The file with what is lent for an upload, in the project's folder for passing files."""

_WITH_PROVENANCE = "RUNNER_GENERATE_ARTIFACTS_METADATA"
_TRUE = ("1", "t", "true")
_POLICIES = frozenset({"pull-push", "pull", "push"})
_LAST_KEY = "CACHE_FALLBACK_KEY"
_DEFAULT_UPLOAD_TIMEOUT = 3600.0
_DEFAULT_RESPONSE_TIMEOUT = 600.0


@dataclass(frozen=True, slots=True)
class CacheKey:
    """A cache's key: as the job log shows it and as the path of its archive holds it."""

    shown: str
    path: str
    raw: str

    @property
    def warning(self) -> str:
        """What to say when the key could not be used as it was given; empty if it could."""
        if not self.shown:
            return f'cache key "{self.raw}" could not be sanitized' if self.raw else ""
        return f'cache key "{self.raw}" sanitized to "{self.shown}"' if self.shown != self.raw else ""

    def alternate(self, *, hashed: bool) -> str:
        """The path with `FF_HASH_CACHE_KEYS` the other way round than `hashed`, under which the cache may still lie."""
        return cache_key(self.raw, hashed=not hashed).path


def cache_keys(stage: str, context: ScriptContext) -> tuple[CacheKey, ...]:
    """Say which caches a stage may fetch or send, so that addresses can be signed for them; each once.

    The context must be expanded. Raises JobConfigurationError for an unknown policy.
    """
    found: list[CacheKey] = []
    for entry in context.job.cache:
        if not context.cache_dir or not _concerns(stage, context, entry):
            continue
        key = _made(context, _raw_key(context, entry))
        if key.path and stage == Stage.RESTORE_CACHE:
            found += [key, *_fallbacks(context, entry)]
        elif key.path:
            found.append(key)
    return tuple({key.path: key for key in found if key.path}.values())


def _concerns(stage: str, context: ScriptContext, entry: Cache) -> bool:
    """Whether a stage of that name fetches or sends this entry's cache."""
    if stage == Stage.RESTORE_CACHE:
        return has_files(entry) and _policy(context, entry) != "push"
    if stage not in (Stage.ARCHIVE_CACHE, Stage.ARCHIVE_CACHE_ON_FAILURE):
        return False
    return applies(entry, succeeded=stage == Stage.ARCHIVE_CACHE) and _policy(context, entry) != "pull"


def cache_key(raw: str, *, hashed: bool) -> CacheKey:
    """Make a key that cannot leave the cache directory.

    GitLab Runner's rule: encoded and backward slashes count as slashes, `.` and `..` are resolved against a root of
    their own, blanks at the end of the last segments go. With `FF_HASH_CACHE_KEYS` (`hashed`) the path is the key's
    SHA-256 and the key stays as it is.
    """
    if hashed:
        return CacheKey(shown=raw, path=hashlib.sha256(raw.encode()).hexdigest() if raw else "", raw=raw)
    key = re.sub("%2f", "/", raw, flags=re.IGNORECASE)
    key = re.sub("%2e", ".", key, flags=re.IGNORECASE).replace("\\", "/")
    # Blanks that go may leave dots behind, `.. ` for one, so both rules are applied until nothing changes.
    while key != (cleaned := posixpath.normpath(f"/{key}").strip("/").rstrip()):
        key = cleaned
    return CacheKey(shown=key, path=key, raw=raw)


def has_files(entry: Cache | Artifact) -> bool:
    """Say whether an entry names any files at all."""
    return bool(entry.paths) or entry.untracked


def applies(entry: Cache | Artifact, *, succeeded: bool) -> bool:
    """Say whether an entry is to be saved after a job that went this way."""
    return has_files(entry) and entry.when in {"always", "on_success" if succeeded else "on_failure"}


def write_restore_cache(writer: ShellWriter, context: ScriptContext) -> bool:
    """Write the stage that restores caches; False if there are none."""
    entries = [entry for entry in context.job.cache if has_files(entry)]
    if not entries:
        return False
    _begin(writer, context)
    for entry in entries:
        _restore(writer, context, entry)
    write_ownership(writer, context, context.cache_dir, context.builds_dir)
    return True


def write_archive_cache(writer: ShellWriter, context: ScriptContext, *, succeeded: bool) -> bool:
    """Write the stage that saves caches; False if none is to be saved after a job that went this way."""
    entries = [entry for entry in context.job.cache if applies(entry, succeeded=succeeded)]
    if not entries:
        return False
    _begin(writer, context)
    for entry in entries:
        _archive(writer, context, entry)
    return True


def write_download_artifacts(writer: ShellWriter, context: ScriptContext) -> bool:
    """Write the stage that downloads the artifacts of earlier jobs; False if they have none."""
    found = [one for one in context.job.dependencies if one.artifacts_file and one.artifacts_file.filename]
    if not found:
        return False
    _begin(writer, context)
    with _helper(writer, context, "Artifacts downloading"):
        for one in found:
            writer.notice(f"Downloading artifacts for {one.name} ({one.id})...")
            words = ("artifacts-downloader", "--url", context.config.url, "--id", str(one.id))
            _run_with_token(writer, context, one.token, words)
    write_ownership(writer, context, context.cache_dir, context.builds_dir)
    return True


def write_upload_artifacts(writer: ShellWriter, context: ScriptContext, *, succeeded: bool) -> bool:
    """Write the stage that uploads artifacts; False if none are to be uploaded after a job that went this way."""
    entries = [entry for entry in context.job.artifacts if applies(entry, succeeded=succeeded)]
    if not entries or not context.config.url:
        return False
    _begin(writer, context)
    for entry in entries:
        with _helper(writer, context, "Uploading artifacts"):
            writer.notice("Uploading artifacts...")
            more = _provenance(context) if entry.artifact_format == "zip" else ""
            _run_with_token(writer, context, context.job.token, _uploader(context, entry), more)
    return True


def _begin(writer: ShellWriter, context: ScriptContext) -> None:
    write_prologue(writer, context)
    writer.change_directory(context.project_dir)


@contextmanager
def _helper(writer: ShellWriter, context: ScriptContext, action: str) -> Iterator[None]:
    """Run what is written inside only where the helper is to be found; say so where it is not."""
    asked = f"{quote(context.helper_command)} --version"
    with writer.when(f'{VERSION}="$({asked} 2>/dev/null)"' if context.cache_links else f"{asked} >/dev/null 2>&1"):
        yield
        writer.otherwise()
        writer.warning(f"Missing {context.helper_command}. {action} is disabled.")


def _restore(writer: ShellWriter, context: ScriptContext, entry: Cache) -> None:
    key = _key_of(writer, context, entry, "extraction")
    if key is None:
        return
    if _policy(context, entry) == "push":
        writer.notice(f"Not downloading cache {key.shown} due to policy")
        return
    with _helper(writer, context, "Extracting cache"):
        _extract(writer, context, entry, _candidates(writer, context, entry, key))


def _extract(writer: ShellWriter, context: ScriptContext, entry: Cache, keys: list[CacheKey]) -> None:
    """Try the keys in order, each inside the failure of the one before."""
    key, *rest = keys
    writer.notice(f"Checking cache for {key.shown}...")
    words = ("cache-extractor", "--file", _local_archive(context, key.path), "--timeout", _minutes(context))
    if links := context.cache_links.get(key.path):
        write_download_links(writer, context.helper_command, links)
    with writer.when(_call(writer, context, key, words)):
        writer.notice("Successfully extracted cache")
        writer.otherwise()
        writer.warning("Failed to extract cache")
        if context.flag("FF_CLEAN_UP_FAILED_CACHE_EXTRACT"):
            for path in entry.paths:
                writer.print(f"Removing {path}")
                writer.remove_directory(path)
        if rest:
            _extract(writer, context, entry, rest)


def _archive(writer: ShellWriter, context: ScriptContext, entry: Cache) -> None:
    key = _key_of(writer, context, entry, "archiving")
    if key is None:
        return
    if _policy(context, entry) == "pull":
        writer.notice(f"Not uploading cache {key.shown} due to policy")
        return
    words = ["cache-archiver", "--file", _local_archive(context, key.path), "--timeout", _minutes(context)]
    if context.config.cache.max_uploaded_archive_size > 0:
        words += ["--max-uploaded-archive-size", str(context.config.cache.max_uploaded_archive_size)]
    words += _files(entry)
    with _helper(writer, context, "Creating cache"):
        writer.notice(f"Creating cache {key.shown}...")
        if links := context.cache_links.get(key.path):
            alternate = key.alternate(hashed=_hashed(context))
            file = _local_archive(context, alternate) if alternate else ""
            write_upload_links(writer, context.helper_command, links, alternate_file=file)
            write_loan(writer, context.helper_command, links, file=context.temporary(_LOAN))
        with writer.when(_call(writer, context, key, words)):
            writer.notice("Created cache")
            writer.otherwise()
            writer.warning("Failed to create cache")
        if links:
            remove_loan(writer, links, file=context.temporary(_LOAN))


def _call(writer: ShellWriter, context: ScriptContext, key: CacheKey, words: Sequence[str]) -> str:
    """The helper's call, with the addresses that were written for it and with no others."""
    call = quote_words(context.helper_command, *words)
    if key.path in context.cache_links:
        return f'{call} "$@"'
    if context.cache_links:
        writer.line(f"unset {LINKS_VARIABLE}")
    return call


def _key_of(writer: ShellWriter, context: ScriptContext, entry: Cache, doing: str) -> CacheKey | None:
    """The key of an entry; None, and a word in the log, if it cannot be used."""
    if not context.cache_dir:
        writer.warning("unset cache directory")
        return None
    key = _made(context, _raw_key(context, entry))
    if key.warning:
        writer.warning(key.warning)
    if not key.path:
        writer.notice(f"Skipping cache {doing} due to empty cache key")
        return None
    return key


def _raw_key(context: ScriptContext, entry: Cache) -> str:
    default = posixpath.normpath(f"{context.job.job_info.name}/{context.job.git_info.ref}").strip("/")
    return context.variables.expand(entry.key) if entry.key else default


def _candidates(writer: ShellWriter, context: ScriptContext, entry: Cache, key: CacheKey) -> list[CacheKey]:
    last = context.variables.get(_LAST_KEY)
    if _is_protected(last):
        writer.warning(f'{_LAST_KEY} "{last}" not allowed to end in "-protected"')
    fallbacks = _fallbacks(context, entry)
    for fallback in fallbacks:
        if fallback.warning:
            writer.warning(fallback.warning)
    return [candidate for candidate in (key, *fallbacks) if candidate.path]


def _fallbacks(context: ScriptContext, entry: Cache) -> list[CacheKey]:
    last = context.variables.get(_LAST_KEY)
    allowed = [] if _is_protected(last) else [last]
    return [_made(context, raw) for raw in (*map(context.variables.expand, entry.fallback_keys), *allowed)]


def _is_protected(key: str) -> bool:
    """A job of an unprotected branch must not read what protected ones have cached."""
    return cache_key(key, hashed=False).shown.rstrip(". ").endswith("-protected")


def _made(context: ScriptContext, raw: str) -> CacheKey:
    return cache_key(raw, hashed=_hashed(context))


def _hashed(context: ScriptContext) -> bool:
    return context.flag("FF_HASH_CACHE_KEYS")


def _policy(context: ScriptContext, entry: Cache) -> str:
    policy = context.variables.expand(entry.policy) or "pull-push"
    if policy not in _POLICIES:
        raise JobConfigurationError(f"unknown cache policy {policy}, use one of pull-push, pull, push")
    return policy


def _local_archive(context: ScriptContext, path: str) -> str:
    """The archive of a key's path, as seen from the project directory, where the helper works."""
    return posixpath.relpath(f"{context.cache_dir}/{path}/{CACHE_ARCHIVE}", context.project_dir)


def _minutes(context: ScriptContext) -> str:
    return str(int(context.settings().cache_request_timeout // 60))


def _files(entry: Cache | Artifact) -> list[str]:
    words = [word for path in entry.paths for word in ("--path", path)]
    if isinstance(entry, Artifact):
        words += [word for path in entry.exclude for word in ("--exclude", path)]
    return words + (["--untracked"] if entry.untracked else [])


def _uploader(context: ScriptContext, entry: Artifact) -> tuple[str, ...]:
    limits = context.config.artifact
    words = ["artifacts-uploader", "--url", context.config.url, "--id", str(context.job.id)]
    if limits.upload_timeout != _DEFAULT_UPLOAD_TIMEOUT:
        words += ["--timeout", format_duration(limits.upload_timeout)]
    if limits.response_header_timeout != _DEFAULT_RESPONSE_TIMEOUT:
        words += ["--response-header-timeout", format_duration(limits.response_header_timeout)]
    words += _files(entry)
    options = (
        ("--name", entry.name),
        ("--expire-in", entry.expire_in),
        ("--artifact-format", entry.artifact_format),
        ("--artifact-type", entry.artifact_type),
    )
    return (*words, *(word for flag, value in options if value for word in (flag, value)))


def _provenance(context: ScriptContext) -> str:
    """Arguments that make the helper write where the artifacts come from (`RUNNER_GENERATE_ARTIFACTS_METADATA`).

    Names of variables, never values. The end is the moment of the upload, which the shell knows.
    """
    if context.variables.get(_WITH_PROVENANCE).lower() not in _TRUE:
        return ""
    job = context.job
    options = {
        "--runner-id": context.variables.get("CI_RUNNER_ID"),
        "--repo-url": with_user(job.git_info.repo_url, "").removesuffix(".git"),
        "--repo-digest": job.git_info.sha,
        "--job-name": job.job_info.name,
        "--executor-name": "kubernetes",
        "--runner-name": context.config.name,
        "--started-at": context.variables.get("CI_JOB_STARTED_AT"),
        "--schema-version": context.variables.get("SLSA_PROVENANCE_SCHEMA_VERSION") or "unknown",
    }
    words = [word for option in options.items() for word in option]
    words += [word for variable in job.variables for word in ("--metadata-parameter", variable.key)]
    ended = '--ended-at "$(date -u +%Y-%m-%dT%H:%M:%SZ)"'
    return f" {quote_words('--generate-artifacts-metadata', *words)} {ended}"


def _run_with_token(
    writer: ShellWriter, context: ScriptContext, token: str, words: tuple[str, ...], more: str = ""
) -> None:
    """Call the helper with a token in its environment, where it looks without `--token`: others can read arguments."""
    writer.command(f"CI_JOB_TOKEN={quote(token)} {quote_words(context.helper_command, *words)}{more}")
