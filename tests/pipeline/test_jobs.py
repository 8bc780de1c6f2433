"""The keywords of a job: what is understood, what is warned of, and the sentences for wrong values."""

from collections.abc import Callable

import pytest

from runner.pipeline.findings import PipelineError, Place
from runner.pipeline.model import Environment, LocalImage, LocalJob, LocalVariable, Pipeline, Retry

Build = Callable[..., Pipeline]


def only(pipeline: Pipeline) -> LocalJob:
    """The pipeline's only job."""
    (job,) = pipeline.jobs
    return job


def variables(job: LocalJob) -> dict[str, str]:
    """The variables as they count."""
    return {each.key: each.value for each in job.variables}


def warnings(pipeline: Pipeline) -> list[str]:
    """The warnings as texts."""
    return [str(warning) for warning in pipeline.warnings]


def test_a_job_has_what_the_file_says(pipeline: Build) -> None:
    """Every keyword that does something, in one job."""
    built = pipeline(
        "# a comment\n"
        "job:\n"
        "  stage: deploy\n"
        "  image: {name: alpine, entrypoint: [sh, -c], pull_policy: [always, if-not-present]}\n"
        "  services:\n"
        "    - redis:7\n"
        "    - {name: postgres, alias: db, command: [postgres, -c], variables: {A: 1}, kubernetes: {user: 1000}}\n"
        "  before_script: [one]\n"
        "  script: [two, [three, [four]]]\n"
        "  after_script: five\n"
        "  hooks: {pre_get_sources_script: [zero]}\n"
        "  variables: {A: text, B: 2, C: true, D: ~, E: {value: $X, expand: false}, F: {description: d}}\n"
        "  needs: []\n"
        "  when: always\n"
        "  allow_failure: {exit_codes: [3, 4]}\n"
        "  retry: {max: 2, when: [script_failure], exit_codes: 137}\n"
        "  timeout: 1h 30m\n"
        "  environment: {name: review/$CI_COMMIT_BRANCH, url: https://x, action: stop, deployment_tier: testing}\n"
        "  resource_group: $CI_COMMIT_BRANCH\n"
        "  tags: [linux]\n"
        "  interruptible: true\n"
        "  coverage: /x/\n"
    )
    assert only(built) == LocalJob(
        name="job",
        base="job",
        stage="deploy",
        place=Place(".gitlab-ci.yml", 2),
        script=("one", "two", "three", "four"),
        after_script=("five",),
        pre_get_sources_script=("zero",),
        image=LocalImage(name="alpine", entrypoint=("sh", "-c"), pull_policy=("always", "if-not-present")),
        services=(
            LocalImage(name="redis:7"),
            LocalImage(
                name="postgres",
                alias="db",
                command=("postgres", "-c"),
                variables=(LocalVariable(key="A", value="1"),),
                user="1000",
            ),
        ),
        variables=(
            LocalVariable(key="A", value="text"),
            LocalVariable(key="B", value="2"),
            LocalVariable(key="C", value="true"),
            LocalVariable(key="D", value=""),
            LocalVariable(key="E", value="$X", raw=True),
            LocalVariable(key="F", value=""),
        ),
        needs=(),
        dependencies=(),
        when="always",
        allow_failure=True,
        allowed_exit_codes=(3, 4),
        retry=Retry(most=2, when=("script_failure",), exit_codes=(137,)),
        timeout=5400.0,
        environment=Environment(name="review/main", url="https://x", action="stop", tier="testing"),
        resource_group="main",
    )
    assert warnings(built) == []


def test_a_job_of_one_line_has_the_defaults_of_gitlab(pipeline: Build) -> None:
    """Stage `test`, an hour, no retries, all earlier stages before it."""
    assert only(pipeline("a: {script: x}\n")) == LocalJob(
        name="a", base="a", stage="test", place=Place(".gitlab-ci.yml", 1), script=("x",)
    )


# Defaults --------------------------------------------------------------------------------------------------------


def test_defaults_are_replaced_keyword_by_keyword(pipeline: Build) -> None:
    """Nothing is merged; an empty list counts, null does not."""
    built = pipeline(
        "default:\n  image: d\n  before_script: [d]\n  retry: 1\n  timeout: 2h\n  after_script: [d]\n"
        "a: {script: x, image: own, before_script: [], retry: ~}\n"
    )
    job = only(built)
    assert job.image is not None
    assert (job.image.name, job.script, job.after_script) == ("own", ("x",), ("d",))
    assert (job.retry.most, job.timeout) == (1, 7200.0)


def test_defaults_may_stand_at_the_top(pipeline: Build) -> None:
    """As former files have them; `default` goes before them."""
    built = pipeline("image: top\nbefore_script: [top]\ndefault: {image: default}\na: {script: x}\n")
    job = only(built)
    assert job.image is not None
    assert (job.image.name, job.script) == ("default", ("top", "x"))
    assert warnings(built) == [".gitlab-ci.yml:1: `image` stands in `default` too, and that one counts"]


@pytest.mark.parametrize(
    ("inherit", "script", "seen"),
    [
        ("{}", ("d", "x"), {"A": "1", "B": "2"}),
        ("{default: false}", ("x",), {"A": "1", "B": "2"}),
        ("{default: true, variables: true}", ("d", "x"), {"A": "1", "B": "2"}),
        ("{default: [image]}", ("x",), {"A": "1", "B": "2"}),
        ("{default: [before_script], variables: [B]}", ("d", "x"), {"B": "2"}),
        ("{variables: false}", ("d", "x"), {}),
    ],
)
def test_inherit_chooses_defaults_and_variables(
    pipeline: Build, inherit: str, script: tuple[str, ...], seen: dict[str, str]
) -> None:
    """All, none, or those named."""
    job = only(
        pipeline(
            "default: {before_script: [d], image: i}\nvariables: {A: 1, B: 2}\n"
            f"a: {{script: x, inherit: {inherit}}}\n"
        )
    )
    assert job.script == script
    assert variables(job) == seen


# Copies ----------------------------------------------------------------------------------------------------------


def test_parallel_makes_copies_with_numbers(pipeline: Build) -> None:
    """Each knows its own and how many there are."""
    built = pipeline("a: {script: x, parallel: 2}\n")
    assert [(job.name, job.base, variables(job)) for job in built.jobs] == [
        ("a 1/2", "a", {"CI_NODE_INDEX": "1", "CI_NODE_TOTAL": "2"}),
        ("a 2/2", "a", {"CI_NODE_INDEX": "2", "CI_NODE_TOTAL": "2"}),
    ]


def test_a_matrix_makes_a_copy_of_each_combination(pipeline: Build) -> None:
    """Named by its values; its variables go over the job's."""
    built = pipeline(
        "a:\n  script: x\n  variables: {OS: none}\n  parallel:\n    matrix:\n"
        "      - OS: [linux, mac]\n        V: [1, 2]\n      - OS: win\n"
    )
    assert [job.name for job in built.jobs] == [
        "a: [linux, 1]", "a: [linux, 2]", "a: [mac, 1]", "a: [mac, 2]", "a: [win]",
    ]  # fmt: skip
    assert variables(built.jobs[3]) == {"OS": "mac", "V": "2", "CI_NODE_INDEX": "4", "CI_NODE_TOTAL": "5"}


def test_of_jobs_with_one_name_the_last_counts(pipeline: Build) -> None:
    """A matrix may say the same twice, and a job may be called as a copy is."""
    built = pipeline(
        "a:\n  script: x\n  parallel: {matrix: [{A: [1, 1]}]}\nb: {script: x, parallel: 2}\nb 1/2: {script: y}\n"
    )
    assert [(job.name, job.script) for job in built.jobs] == [
        ("a: [1]", ("x",)), ("b 1/2", ("y",)), ("b 2/2", ("x",)),
    ]  # fmt: skip
    assert warnings(built) == [
        ".gitlab-ci.yml:1: two jobs are called `a: [1]`: only the last one counts",
        ".gitlab-ci.yml:5: two jobs are called `b 1/2`: only the last one counts",
    ]


# Warnings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keyword", "message"),
    [
        (
            "secrets: {X: {vault: y}}",
            "`secrets` of `a` fetches from a vault, which is not done here: its variables are not set",
        ),
        ("id_tokens: {X: {aud: y}}", "`id_tokens` of `a` needs GitLab to sign them: its variables are not set"),
        ("release: {tag_name: x}", "`release` of `a` needs GitLab: no release is made"),
        ("pages: true", "`pages` of `a` needs GitLab: nothing is published"),
        ("identity: google_cloud", "`identity` of `a` needs GitLab and is left out"),
        ("befor_script: [x]", "`befor_script` of `a` is not understood and left out; nearest: `before_script`"),
        ("zzz: x", "`zzz` of `a` is not understood and left out"),
        ("image: {name: x, foo: y}", "`image:foo` is not understood and left out"),
        ("when: delayed, start_in: 30 minutes", "`a` starts without its delay of 30 minutes"),
        (
            "retry: {max: 1, when: script_failur}",
            "`retry:when` of `a` knows no `script_failur`; nearest: `script_failure`",
        ),
    ],
)
def test_what_is_not_carried_out_is_named_with_its_line(pipeline: Build, keyword: str, message: str) -> None:
    """The job runs without it."""
    built = pipeline(f"a:\n  {{script: x,\n  {keyword}}}\n")
    assert [job.name for job in built.jobs] == ["a"]
    assert message in [str(warning).removeprefix(".gitlab-ci.yml:3: ") for warning in built.warnings]


def test_unknown_defaults_are_warned_of(pipeline: Build) -> None:
    """With the nearest word that is one."""
    assert warnings(pipeline("default:\n  images: x\n  tagz: y\na: {script: x}\n")) == [
        ".gitlab-ci.yml:2: `default:images` is not understood and left out; nearest: `image`",
        ".gitlab-ci.yml:3: `default:tagz` is not understood and left out; nearest: `tags`",
    ]


def test_a_trigger_is_left_out_with_a_warning(pipeline: Build) -> None:
    """And jobs that need it do not wait for it."""
    built = pipeline("child:\n  trigger: {include: x.yml}\na:\n  script: x\n  needs: [child]\n")
    assert [(job.name, job.needs) for job in built.jobs] == [("a", ())]
    assert built.left_out == ("child",)
    assert warnings(built) == [
        ".gitlab-ci.yml:2: `child` triggers another pipeline, which needs GitLab: it is left out",
        ".gitlab-ci.yml:5: `child` triggers another pipeline and is not waited for",
    ]


# Errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ("stage: nix", "3: `stage` of `a` is `nix`, which is none of `.pre`, `build`, `test`, `deploy`, `.post`."),
        ("stage: [test]", "3: `stage` of `a` has to be a text, not a list."),
        ("script: [1]", "3: `script` of `a` holds a number where a command has to be. Put it in quotes."),
        ("image: 3", "3: `image` of `a` has to be a text, not a number."),
        ("image: {entrypoint: [x]}", "3: `image` of `a` needs a `name`."),
        (
            "image: {name: x, entrypoint: sh}",
            '3: `image:entrypoint` of `a` has to be a list of words, such as ["sh", "-c"].',
        ),
        (
            "image: {name: x, pull_policy: often}",
            "3: `image:pull_policy` of `a` is `often`, which is none of always, if-not-present, never.",
        ),
        ("services: [{alias: x}]", "3: `services` of `a` needs a `name`."),
        ("variables: [A]", "3: `variables` of `a` has to be a mapping, not a list."),
        ("variables: {A: [b]}", "3: `variables:A` of `a` has to be a text, not a list."),
        (
            "variables: {A: {values: b}}",
            "3: `variables:A` of `a` takes description, expand, options, value, not `values`.",
        ),
        ("variables: {A: {value: b, expand: no way}}", "3: `variables:A:expand` of `a` has to be true or false, not"),
        (
            "variables: {A: {value: b, options: [c, d]}}",
            "3: `variables:A` of `a` is 'b', which is none of its options: c, d.",
        ),
        ("when: never", "3: `when` of `a` may be `never` in a rule only."),
        ("when: soon", "3: `when` of `a` is `soon`, which is none of "),
        ("when: [always]", "3: `when` of `a` has to be a text, not a list."),
        ("when: delayed", "3: `when` of `a` is `delayed` and needs `start_in`."),
        ("allow_failure: some", "3: `allow_failure` of `a` has to be true or false, not a text."),
        ("allow_failure: {}", "3: `allow_failure` of `a` is true, false or has `exit_codes`."),
        (
            "allow_failure: {exit_codes: [x]}",
            "3: `allow_failure:exit_codes` of `a` has to be a whole number from 0 to 255, not x.",
        ),
        ("retry: 3", "3: `retry` of `a` has to be a whole number from 0 to 2, not 3."),
        ("retry: true", "3: `retry` of `a` has to be a whole number from 0 to 2, not true."),
        ("retry: {max: few}", "3: `retry:max` of `a` has to be a whole number from 0 to 2, not few."),
        ("timeout: soon", "3: `timeout` of `a` is no duration such as `1h 30m`: 'soon'."),
        ("timeout: {h: 1}", "3: `timeout` of `a` has to be a text, not a mapping."),
        ("parallel: 0", "3: `parallel` of `a` has to be a whole number from 1 to 200, not 0."),
        ("parallel: 201", "3: `parallel` of `a` has to be a whole number from 1 to 200, not 201."),
        ("parallel: {}", "3: `parallel` of `a` is a number from 1 to 200 or a `matrix`."),
        ("parallel: {matrix: []}", "3: `parallel:matrix` of `a` has no values."),
        ("parallel: {matrix: [x]}", "3: `parallel:matrix` of `a` has to be a mapping, not a text."),
        ("parallel: {matrix: [{A: []}]}", "3: `parallel:matrix:A` of `a` needs values for `A`"),
        ("parallel: {matrix: [{A: [[x]]}]}", "3: `parallel:matrix:A` of `a` needs values for `A`"),
        (
            "parallel: {matrix: [{A: &x [" + ", ".join("abcdefghij") + "], B: *x, C: *x}]}",
            "3: `parallel:matrix` of `a` makes more than 200 jobs.",
        ),
        ("environment: {url: x}", "3: `environment` of `a` needs a `name`."),
        ("environment: [x]", "3: `environment` of `a` has to be a text, not a list."),
        ("inherit: [x]", "3: `inherit` of `a` has to be a mapping, not a list."),
        ("hooks: x", "3: `hooks` of `a` has to be a mapping, not a text."),
        ("dependencies: [b]", "3: `dependencies` of `a` names `b`, which is no job here."),
        ("dependencies: [aa]", "3: `dependencies` of `a` names `aa`, which is no job here; nearest: `a`."),
    ],
)
def test_a_wrong_value_gives_line_and_sentence(pipeline: Build, keywords: str, message: str) -> None:
    """The place is that of the keyword."""
    script = "" if keywords.startswith("script") else "script: x,"
    with pytest.raises(PipelineError) as raised:
        pipeline(f"a:\n  {{{script}\n  {keywords}}}\n")
    assert raised.value.messages[0].startswith(f".gitlab-ci.yml:{message}")


def test_a_command_that_became_a_mapping_says_why(pipeline: Build) -> None:
    """The most frequent mistake of all."""
    with pytest.raises(PipelineError) as raised:
        pipeline('a:\n  script:\n    - make\n    - echo "status: $CI_JOB_STATUS"\n')
    assert raised.value.messages == (
        ".gitlab-ci.yml:4: `script` of `a` holds a mapping where a command has to be: a `: ` in the line makes it one."
        " Put it in quotes.",
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ".gitlab-ci.yml:1: there is no job: a job is a mapping with a `script`."),
        (".hidden: {script: x}\n", ".gitlab-ci.yml:1: there is no job: a job is a mapping with a `script`."),
        ("a: 1\n", ".gitlab-ci.yml:1: `a` is no job: a job is a mapping with a `script`, this is a number."),
        ("timeout: 1h\na: {script: x}\n", ".gitlab-ci.yml:1: `timeout` is no job: a job is a mapping with a `script`"),
        ("\n\na: {}\n", ".gitlab-ci.yml:3: `a` has no `script`."),
        ("a: {script: []}\n", ".gitlab-ci.yml:1: `a` has no `script`."),
        ("a: {scrpt: x, tags: [x]}\n", ".gitlab-ci.yml:1: `a` has no `script`; `scrpt` is no keyword."),
        ("a: {run: [{name: x}]}\n", ".gitlab-ci.yml:1: `a` uses `run`, which needs native steps: write a `script`."),
        ("stages: x\na: {script: x}\n", ".gitlab-ci.yml:1: `stages` has to be a list of names, not a text."),
        ("stages: [{x: y}]\na: {script: x}\n", ".gitlab-ci.yml:1: `stages` has to be a text, not a mapping."),
        ("default: x\na: {script: x}\n", ".gitlab-ci.yml:1: `default` has to be a mapping, not a text."),
        ("variables: x\na: {script: x}\n", ".gitlab-ci.yml:1: `variables` has to be a mapping, not a text."),
        ("workflow: x\na: {script: x}\n", ".gitlab-ci.yml:1: `workflow` has to be a mapping, not a text."),
        ("workflow: {rules: x}\na: {script: x}\n", ".gitlab-ci.yml:1: `workflow:rules` has to be a list, not a text."),
    ],
)
def test_a_file_that_is_no_pipeline_is_an_error(pipeline: Build, text: str, message: str) -> None:
    """With the line of what stands there instead."""
    with pytest.raises(PipelineError) as raised:
        pipeline(text)
    assert raised.value.messages[0].startswith(message)


def test_every_job_that_cannot_be_run_is_named(pipeline: Build) -> None:
    """Not only the first one."""
    with pytest.raises(PipelineError) as raised:
        pipeline("a: {}\nb: {script: x}\nc: {script: x, retry: 9}\n")
    assert raised.value.messages == (
        ".gitlab-ci.yml:1: `a` has no `script`.",
        ".gitlab-ci.yml:3: `retry` of `c` has to be a whole number from 0 to 2, not 9.",
    )


# Order in the pipeline -------------------------------------------------------------------------------------------


def test_jobs_stand_in_the_order_of_their_stages(pipeline: Build) -> None:
    """And in the file's order within one; `.pre` and `.post` are always there."""
    built = pipeline(
        "stages: [two, one]\na: {script: x, stage: one}\nb: {script: x, stage: .post}\nc: {script: x, stage: two}\n"
        "d: {script: x, stage: .pre}\ne: {script: x, stage: one}\n"
    )
    assert built.stages == (".pre", "two", "one", ".post")
    assert [job.name for job in built.jobs] == ["d", "c", "a", "e", "b"]


def test_a_word_may_name_all_copies(pipeline: Build) -> None:
    """Or one of them by its whole name."""
    built = pipeline("a: {script: x, parallel: 2}\na b: {script: x}\n")
    assert [job.name for job in built.named("a")] == ["a 1/2", "a 2/2"]
    assert [job.name for job in built.named("a 2/2")] == ["a 2/2"]
    assert built.named("nobody") == ()
