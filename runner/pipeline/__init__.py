""".gitlab-ci.yml as pipelines, stages and job payloads.

Ground floor, used by `runner local`. Text in, payloads and located warnings out; files are read by the caller.
"""
