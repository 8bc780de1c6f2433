""".gitlab-ci.yml as pipelines, stages and job payloads.

Ground floor, used by `runner local`. Text in, payloads and located findings out; files are read by the caller. A file
that cannot be run raises `PipelineError` and nothing else.
"""
