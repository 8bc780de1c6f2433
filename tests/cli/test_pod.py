"""`runner pod`: manifests without a cluster, the origin of each field, what differs, and what cannot be answered."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import structlog
import yaml

from runner.cli.main import main
from runner.testing.payloads import image, job_payload, variable
from tests.documents import ROOT, blocks

Run = Callable[..., tuple[int, str, str]]

CONFIG = """\
[[runners]]
  name = "shop"
  url = "https://gitlab.example.com"
  token = "glrt-t1_abcdefghijklmnop"
  executor = "kubernetes"
  environment = ["DEPLOY_KEY=open-sesame", "FF_SCRIPT_SECTIONS=1"]
  [runners.feature_flags]
    FF_USE_ADVANCED_POD_SPEC_CONFIGURATION = true
  [runners.kubernetes]
    namespace = "default"
    image = "alpine"
    poll_timeout = 600
    cpu_limit = "1"
    cpu_limit_overwrite_max_allowed = "4"
    memory_limit = "1Gi"
    cap_add = ["CHOWN"]
    pod_disruption_budget = true
    [runners.kubernetes.node_selector]
      pool = "ci"
    [runners.kubernetes.pod_labels]
      team = "$TEAM"
    [[runners.kubernetes.volumes.empty_dir]]
      name = "cache"
      mount_path = "/cache"
    [[runners.kubernetes.services]]
      name = "redis:7"
      environment = ["REDIS_PASSWORD=swordfish"]
    [[runners.kubernetes.pod_spec]]
      name = "host"
      patch = "hostname: ci"
    [[runners.kubernetes.pod_spec]]
      patch_type = "json"
      patch = '[{"op": "replace", "path": "/hostname", "value": "cj"}]'
"""

SECRETS = ["open-sesame", "swordfish", "hunter2hunter2", "letmein", "glcbt-64_Zx9yW8vU7tS6rQ5pO4n", "jklmnop", "r0b0t"]

PAYLOAD = job_payload(
    image=image("python:3.12"),
    services=[image("postgres:16", alias="db", variables=[variable("POSTGRES_PASSWORD", "$PASSWORD")])],
    variables=[
        variable("TEAM", "checkout"),
        variable("PASSWORD", "hunter2hunter2", masked=True),
        variable("KUBERNETES_CPU_LIMIT", "2", public=True),
        variable("DOCKER_AUTH_CONFIG", '{"auths": {"a.example.com": {"username": "u", "password": "letmein"}}}'),
    ],
    credentials=[{"type": "registry", "url": "b.example.com", "username": "gitlab-ci-token", "password": "r0b0t"}],
)


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """The command finds nothing of the machine it runs on, and leaves the tests' logging as it was."""
    for name in ("CONFIG_FILE", "RUNNER_HELPER_IMAGE", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Ada")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "ada@example.com")
        monkeypatch.setenv(f"GIT_{role}_DATE", "2026-08-22T10:00:00Z")
    monkeypatch.chdir(tmp_path)
    yield
    structlog.reset_defaults()


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `runner pod` in a folder that has config.toml and job.json; the exit code, stdout and stderr."""
    (tmp_path / "config.toml").write_text(CONFIG)
    (tmp_path / "job.json").write_text(json.dumps(PAYLOAD))

    def run(*arguments: str, config: str = "--config=config.toml", payload: str = "--payload=job.json") -> Any:
        capsys.readouterr()
        code = main(["pod", *filter(None, (config, payload)), *arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    """A repository with a pipeline of a job and a parallel one."""
    (tmp_path / ".gitlab-ci.yml").write_text(
        "variables: {TEAM: search}\n"
        "test: {image: 'ruby:3.4', services: ['mysql:9'], script: [rake]}\n"
        "unit: {parallel: 2, script: [rake unit]}\n"
        "tagged: {script: [x], rules: [{if: $CI_COMMIT_TAG}]}\n"
    )
    for arguments in (("init", "-q", "-b", "main"), ("add", ".gitlab-ci.yml"), ("commit", "-qm", "Begin")):
        subprocess.run(["git", *arguments], cwd=tmp_path, check=True, capture_output=True, timeout=30)
    return tmp_path


def objects(text: str) -> dict[str, dict[str, Any]]:
    """The documents by kind and by what their names end with."""
    return {f"{each['kind']} {each['metadata']['name'].split('x' * 8)[-1]}": each for each in yaml.safe_load_all(text)}


def test_everything_that_is_created_is_printed_in_its_order(run: Run) -> None:
    """Secrets that the pod needs, the pod, what it owns; names with random parts in a fixed form."""
    code, out, _ = run()
    assert code == 0
    found = objects(out)
    assert list(found) == [
        "Secret -environment",
        "Secret -registry",
        "Pod ",
        "Secret -job-0",
        "PodDisruptionBudget -pdb",
    ]
    pod = found["Pod "]
    assert pod["metadata"]["name"] == "runner-abcdefghi-project-42-concurrent-0-xxxxxxxx"
    assert pod["metadata"]["annotations"]["job.runner.gitlab.com/expires-at"] == "<2h0m0s after it is made>"
    assert pod["spec"]["hostname"] == "cj"
    assert pod["spec"]["containers"][0]["resources"]["limits"] == {"cpu": "2", "memory": "1Gi"}
    owner = found["PodDisruptionBudget -pdb"]["metadata"]["ownerReferences"]
    assert owner == [{"apiVersion": "v1", "kind": "Pod", "name": pod["metadata"]["name"], "uid": "<uid of the pod>"}]


@pytest.mark.slow
def test_output_is_the_same_each_time(run: Run) -> None:
    """Neither chance nor the clock is in it."""
    assert run("--explain") == run("--explain")


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--explain", "--full"), ("--format=json",)], ids=["plain", "explain", "json"])
def test_secrets_are_shown_as_names(run: Run, options: tuple[str, ...]) -> None:
    """No secret of the configuration, the variables or the payload is in what is printed, or in what is said."""
    code, out, err = run(*options)
    assert code == 0
    assert [secret for secret in SECRETS if secret in out + err] == []
    for name in ("DEPLOY_KEY", "REDIS_PASSWORD", "POSTGRES_PASSWORD", ".dockercfg"):
        assert name in out
    assert "<hidden>" in out


def test_words_of_the_job_log_go_to_stderr(run: Run) -> None:
    """What the log would say before the pod is made, and only there."""
    _, out, err = run()
    assert err.splitlines() == [
        'note: "CPULimit" overwritten with "2"',
        "warning: Advanced Pod Spec configuration enabled, merging the provided PodSpec to the generated one. "
        "This is a beta feature and is subject to change.",
    ]
    assert "overwritten" not in out


def test_json_has_the_same_objects(run: Run) -> None:
    """One List, with everything that YAML has with --full."""
    listed = json.loads(run("--format=json", "--full")[1])
    assert listed["kind"] == "List"
    assert listed["items"] == list(yaml.safe_load_all(run("--full")[1]))


def test_what_is_always_the_same_is_left_out(run: Run) -> None:
    """The agents' scripts and the flags at their defaults, with a word; --full has them."""
    short, full = run()[1], run("--full")[1]
    assert "lines of the agent's script; --full shows them>" in short
    assert "feature flags at their defaults are left out here; --full shows them" in short
    assert "name: FF_TIMESTAMPS" not in short
    assert "{name: FF_SCRIPT_SECTIONS, value: '1'}" in short
    assert "name: FF_TIMESTAMPS" in full
    assert "left out" not in full
    assert len(full) > 10 * 1024


ORIGINS = {
    "a default": ("restartPolicy: Never", "default"),
    "a key": ("memory: 1Gi", "config.toml:15 memory_limit"),
    "a key of a table": ("pool: ci", "config.toml:19 node_selector.pool"),
    "a key that equals its default": ("namespace: default", "config.toml:10 namespace"),
    "an element of a list": ("add: [CHOWN]", "config.toml:16 cap_add"),
    "a variable and its guard": (
        "cpu: '2'",
        "variable KUBERNETES_CPU_LIMIT, config.toml:14 cpu_limit_overwrite_max_allowed",
    ),
    "a variable in a key's value": ("team: checkout", "variable TEAM, config.toml:21 pod_labels.team"),
    "a variable of the payload": ("- {name: CI_JOB_NAME, value: hello}", "variable CI_JOB_NAME"),
    "a variable of a service": (
        "name: POSTGRES_PASSWORD",
        "variable POSTGRES_PASSWORD of services[0]",
    ),
    "a variable of the configuration": ("{name: DEPLOY_KEY, value: <hidden>}", "config.toml:6 environment"),
    "a field of the payload": ("image: python:3.12", "payload image.name"),
    "a container of the configuration": ("image: redis:7", "config.toml:26 services[0].name"),
    "a volume": ("- name: cache", "config.toml:23 volumes.empty_dir[0].name"),
    "patches": (
        "hostname: cj",
        'patch 1 "host" (config.toml:28), patch 2 (config.toml:31), '
        "config.toml:8 feature_flags.FF_USE_ADVANCED_POD_SPEC_CONFIGURATION",
    ),
    "credentials": (".dockercfg: <hidden>", "variable DOCKER_AUTH_CONFIG, payload credentials[0]"),
    "an object": ("apiVersion: policy/v1", "config.toml:17 pod_disruption_budget"),
    "what an object always has": ("minAvailable: 1", "default"),
    "the record": ("plan: <hidden>", "the whole payload"),
}


@pytest.fixture(scope="module")
def explained(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The lines of `--explain`, made once."""
    folder = tmp_path_factory.mktemp("explained")
    (folder / "config.toml").write_text(CONFIG)
    (folder / "job.json").write_text(json.dumps(PAYLOAD))
    arguments = ["pod", f"--config={folder}/config.toml", f"--payload={folder}/job.json", "--explain"]
    with redirect_stdout(StringIO()) as out:
        assert main(arguments) == 0
    return out.getvalue().splitlines()


@pytest.mark.slow
@pytest.mark.parametrize(("line", "origin"), ORIGINS.values(), ids=ORIGINS)
def test_origin_of_a_field_is_told(explained: list[str], line: str, origin: str) -> None:
    """Beside the first such line stands what decides it, and nothing else."""
    told = next(each for each in explained if each.strip().removeprefix("- ").startswith(line.removeprefix("- ")))
    assert told.partition("  # ")[2] == origin


@pytest.mark.slow
def test_every_leaf_has_an_origin(explained: list[str]) -> None:
    """No line with a value is without one."""
    without = [line for line in explained if "  # " not in line and not line.endswith((":", "---"))]
    assert [line for line in without if not line.lstrip().startswith("# ")] == []


@pytest.mark.slow
def test_explained_manifests_are_the_same(run: Run) -> None:
    """Comments change nothing."""
    assert list(yaml.safe_load_all(run("--explain")[1])) == list(yaml.safe_load_all(run()[1]))


def test_difference_is_shown_with_its_place(run: Run, tmp_path: Path) -> None:
    """What another memory limit does, and nothing else; exit 1. Without a difference nothing and 0."""
    (tmp_path / "new.toml").write_text(CONFIG.replace('memory_limit = "1Gi"', 'memory_limit = "2Gi"'))
    code, out, err = run("--diff", "config.toml", "new.toml", config="")
    assert code == 1
    old, new, *lines = out.splitlines()
    assert (old, new) == ("--- config.toml", "+++ new.toml")
    assert lines[0].endswith(" @@ Pod > spec > containers > build > resources > limits")
    assert [line for line in lines[1:] if line[0] in "+-"] == ["-          memory: 1Gi", "+          memory: 2Gi"]
    assert err == ""
    assert run("--diff", "config.toml", "config.toml", config="") == (0, "", "")


def test_difference_is_coloured_where_that_is_wanted(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Red goes, green comes; NO_COLOR is heard."""
    (tmp_path / "new.toml").write_text(CONFIG.replace('pool = "ci"', 'pool = "cj"'))
    monkeypatch.setenv("FORCE_COLOR", "1")
    arguments = ("--diff", "config.toml", "new.toml")
    assert "\x1b[31m-    pool: ci\x1b[0m\n\x1b[32m+    pool: cj\x1b[0m\n" in run(*arguments, config="")[1]
    assert "\x1b[" not in run("--no-color", *arguments, config="")[1]


def test_variables_can_be_tried_out(run: Run) -> None:
    """-v adds a variable behind those of the payload."""
    _, out, err = run("-v", "KUBERNETES_CPU_LIMIT=3")
    assert objects(out)["Pod "]["spec"]["containers"][0]["resources"]["limits"]["cpu"] == "3"
    assert 'note: "CPULimit" overwritten with "3"' in err


def test_job_of_the_pipeline(run: Run, pipeline: Path) -> None:
    """The job of .gitlab-ci.yml as `runner local` reads it; the GitLab is the runner's."""
    code, out, _ = run("test", payload="")
    assert code == 0
    pod = objects(out)["Pod "]
    assert [each["image"] for each in pod["spec"]["containers"]] == ["ruby:3.4", "runner:0.1.0", "redis:7", "mysql:9"]
    assert pod["metadata"]["labels"]["team"] == "search"
    environment = {each["name"]: each.get("value") for each in pod["spec"]["containers"][0]["env"]}
    assert environment["CI_SERVER_URL"] == "https://gitlab.example.com"
    assert environment["CI_SERVER_TLS_CA_FILE"].endswith(".tmp/CI_SERVER_TLS_CA_FILE")
    assert environment["CI_PIPELINE_CREATED_AT"] == "2026-08-22T10:00:00+00:00"
    assert objects(run("test", "-v", "TEAM=ads", payload="")[1])["Pod "]["metadata"]["labels"]["team"] == "ads"


@pytest.mark.slow
def test_documented_origins_are_printed(run: Run, pipeline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The transcript of docs/explain.md is what its configuration gives, in that order, without a token too."""
    monkeypatch.delenv("RUNNER_TOKEN", raising=False)
    [config] = blocks(ROOT / "docs/explain.md", "toml")
    [transcript] = blocks(ROOT / "docs/explain.md", "console")
    (pipeline / "config.toml").write_text(config.text)
    prompt, *wanted = [line for line in transcript.text.splitlines() if line != "..."]
    command, _, arguments = prompt.removeprefix("$ runner pod ").partition(" --config config.toml ")
    printed = iter(run(command, *arguments.split(), payload="")[1].splitlines())
    assert [line for line in wanted if line not in printed] == []


REFUSED = {
    "a variable out of bounds": (
        ("-v", "KUBERNETES_CPU_LIMIT=5"),
        'couldn\'t prepare overwrites: invalid build limits specified: the resource "CPULimit" requested "5" is higher '
        'than limit allowed "4" (KUBERNETES_CPU_LIMIT, guarded by cpu_limit_overwrite_max_allowed)',
    ),
}


@pytest.mark.parametrize(("arguments", "sentence"), REFUSED.values(), ids=REFUSED)
def test_job_that_would_be_refused(run: Run, arguments: tuple[str, ...], sentence: str) -> None:
    """The sentence of its log, GitLab's reason, and exit 1; with --diff 2, for 1 says that there is a difference."""
    told = f"With config.toml the job would fail: {sentence} (runner_configuration_error)"
    assert run(*arguments) == (1, "", f"Error: {told}\n")
    assert run(*arguments, "--diff", "config.toml", "config.toml", config="") == (2, "", f"Error: {told}\n")


def other(old: str, new: str) -> str:
    """The configuration with something else in it."""
    assert old in CONFIG
    return CONFIG.replace(old, new)


TROUBLE = {
    "no JSON": ({"job.json": '{"id": 1,\n oops}'}, (), "job.json:2: this is no JSON, and a job's payload is: "),
    "no object": ({"job.json": "[]"}, (), "job.json: a job's payload is a JSON object, as GitLab answers"),
    "no token": ({"job.json": '{"id": 1}'}, (), "job.json: The job payload cannot be read: token: Field required."),
    "variables of a wrong type": (
        {"job.json": '{"id": 1, "token": "t", "variables": 5}'},
        ("-v", "A=b"),
        "job.json: The job payload cannot be read: variables: ",
    ),
    "nested too deeply": ({"job.json": "[" * 100_000}, (), "job.json: this JSON is nested too deeply"),
    "a long number": ({"job.json": "1" * 10_000}, (), "job.json: this is no JSON, and a job's payload is: a number"),
    "not UTF-8": ({"job.json": "\udcff"}, (), "job.json: not UTF-8 at byte 0."),
    "no such payload": ({}, ("--payload=gone.json",), "gone.json: No such file or directory. "),
    "no such configuration": ({}, ("--config=gone.toml",), "gone.toml: No such file or directory. Name the config"),
    "a wrong configuration": (
        {"config.toml": other('cpu_limit = "1"', "cpu_limit = 1")},
        (),
        "config.toml:13: runners.0.kubernetes.cpu_limit: Input should be a string (got 1)",
    ),
    "no runner": ({"config.toml": "concurrent = 1"}, (), 'config.toml has no runner with executor = "kubernetes".'),
    "another runner": ({}, ("--runner=shp",), 'config.toml has no runner "shp"; did you mean shop?'),
    "far from any runner": ({}, ("--runner=zzz",), 'config.toml has no runner "zzz"; there are "shop".'),
    "two runners": (
        {"config.toml": CONFIG + CONFIG.replace('"shop"', '"mall"')},
        (),
        'config.toml has 2 runners: choose one with --runner ("shop", "mall").',
    ),
    "two runners of a name": (
        {"config.toml": CONFIG + CONFIG},
        ("--runner=shop",),
        'config.toml has 2 runners of the name "shop": give each a name of its own.',
    ),
}


@pytest.mark.parametrize(("files", "arguments", "sentence"), TROUBLE.values(), ids=TROUBLE)
def test_trouble_is_one_sentence(
    run: Run, tmp_path: Path, files: dict[str, str], arguments: tuple[str, ...], sentence: str
) -> None:
    """What keeps it from an answer is told on stderr in one line, with exit 2."""
    for name, text in files.items():
        (tmp_path / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"Error: {sentence}")
    assert err.count("\n") == 1


def test_configuration_that_is_no_toml(run: Run, tmp_path: Path) -> None:
    """The line is shown, with a mark."""
    (tmp_path / "config.toml").write_text("concurrent = 1\n[[runners")
    code, out, err = run()
    assert (code, out) == (2, "")
    first, *rest = err.splitlines()
    assert first.startswith("Error: config.toml:2:")
    assert rest == ["[[runners", "         ^"]


WRONG_JOBS = {
    "another name": ("tset", "there is no job `tset`; nearest: `test`."),
    "several jobs": ("unit", '`unit` is 2 jobs: choose one of "unit 1/2", "unit 2/2".'),
    "left out": ("tagged", "`tagged` is not in this pipeline: its rules leave it out. Try -v KEY=VALUE."),
}


@pytest.mark.parametrize(("job", "sentence"), WRONG_JOBS.values(), ids=WRONG_JOBS)
def test_job_that_the_pipeline_has_not(run: Run, pipeline: Path, job: str, sentence: str) -> None:
    """The sentence of `runner local`, and exit 2."""
    assert run(job, payload="") == (2, "", f"Error: {sentence}\n")


def test_pipeline_without_a_repository(run: Run) -> None:
    """A job's name alone means a pipeline, and that needs a repository."""
    code, _, err = run("test", payload="")
    assert (code, err) == (
        2,
        "Error: This is no git repository, and jobs get their sources from git. Make one with `git init`.\n",
    )


USAGE = {
    "no job": ({"payload": ""}, ()),
    "two jobs": ({}, ("test",)),
    "three configurations": ({}, ("--diff", "config.toml", "config.toml")),
    "a difference explained": ({"config": ""}, ("--explain", "--diff", "config.toml", "config.toml")),
    "a difference of JSON": ({"config": ""}, ("--format=json", "--diff", "config.toml", "config.toml")),
    "JSON explained": ({}, ("--explain", "--format=json")),
    "a variable without a value": ({}, ("-v", "NAME")),
}


@pytest.mark.parametrize(("over", "arguments"), USAGE.values(), ids=USAGE)
def test_wrong_usage(run: Run, over: dict[str, str], arguments: tuple[str, ...]) -> None:
    """What does not go together is wrong usage: exit 2 with the way to the help."""
    code, out, err = run(*arguments, **over)
    assert (code, out) == (2, "")
    assert "Try 'runner pod --help' for help." in err


def test_payload_from_stdin(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--payload -` reads the job from stdin."""
    read, write = os.pipe()
    with os.fdopen(write, "w") as sender, os.fdopen(read) as stdin:
        json.dump({"id": 7, "token": "t"}, sender)
        sender.close()
        monkeypatch.setattr("sys.stdin", stdin)
        code, out, _ = run(payload="--payload=-")
    assert code == 0
    assert objects(out)["Pod "]["metadata"]["labels"]["job.runner.gitlab.com/id"] == "7"
