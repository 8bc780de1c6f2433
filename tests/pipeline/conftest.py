"""What the tests of pipelines share: reading one from texts."""

from collections.abc import Callable, Mapping

import pytest

from runner.pipeline.build import build_pipeline
from runner.pipeline.files import Files
from runner.pipeline.model import Pipeline

PREDEFINED = {
    "CI_COMMIT_BRANCH": "main",
    "CI_COMMIT_REF_NAME": "main",
    "CI_DEFAULT_BRANCH": "main",
    "CI_PIPELINE_SOURCE": "push",
    "CI_PROJECT_PATH": "acme/demo",
}


@pytest.fixture
def pipeline() -> Callable[..., Pipeline]:
    """Build a pipeline of a push to main: `files` are more files, `committed` what jobs see (all files by default)."""

    def build(
        text: str,
        *,
        files: Mapping[str, str] | None = None,
        committed: tuple[str, ...] | None = None,
        predefined: Mapping[str, str] | None = None,
        extra: Mapping[str, str] | None = None,
    ) -> Pipeline:
        texts = {".gitlab-ci.yml": text, **(files or {})}
        known = Files(
            read=texts.get,
            names=lambda: texts,
            committed=lambda: texts if committed is None else committed,
        )
        return build_pipeline(".gitlab-ci.yml", known, predefined={**PREDEFINED, **(predefined or {})}, extra=extra)

    return build
