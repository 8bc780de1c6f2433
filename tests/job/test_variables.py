"""Variables of a job: order, expansion, visibility."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.job.payload import Job
from runner.job.variables import (
    Variable,
    Variables,
    environment_variables,
    expand_text,
    job_variables,
    parse_bool,
    short_token,
)

NAMES = {"A": "1", "LONG_name9": "2", "X-Y": "3", "$": "!", "": "never"}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("", ""),
        ("plain", "plain"),
        ("$A", "1"),
        ("${A}", "1"),
        ("a$A.b", "a1.b"),
        ("$A$A${A}", "111"),
        ("$LONG_name9-", "2-"),
        ("$AB", ""),
        ("${X-Y}", "3"),
        ("${X:-d}", ""),
        ("$$", "!"),
        ("${$}", "!"),
        ("$$A", "!A"),
        ("a$", "a$"),
        ("$", "$"),
        ("$.x", "$.x"),
        ("$ A", "$ A"),
        ("$é", "$é"),
        ("${}x", "x"),
        ("${", ""),
        ("a${b", "ab"),
        ("${{A}}", "}"),
        ("x${A", "xA"),
        ("${A}${", "1"),
        ("$1", ""),
        ("$10", "0"),
        ("$*$#$@$!$?$-", ""),
        ("%A%", "%A%"),
        ("$(A)", "$(A)"),
        ("${A\nB}", ""),
    ],
)
def test_text_is_expanded_as_go_does_it(text: str, result: str) -> None:
    """Names, braces, specials, malformed and trailing dollars follow Go's os.Expand."""
    assert expand_text(text, lambda name: NAMES.get(name, "")) == result


@given(st.text(st.characters(exclude_characters="$")))
def test_text_without_dollar_stays_as_it_is(text: str) -> None:
    """Nothing but `$` means anything."""
    assert Variables([Variable("A", "1")]).expand(text) == text


@given(st.text(st.sampled_from("${}A1*- _é\n"), max_size=40))
def test_expansion_never_fails_and_never_grows_without_values(text: str) -> None:
    """Any text expands, and where every name is empty nothing is added."""
    result = Variables().expand(text)
    assert len(result) <= len(text)
    assert set(result) <= set(text)


@given(st.text(st.sampled_from("${}A1_ x"), max_size=30))
def test_expansion_agrees_with_a_reading_of_gos_rules(text: str) -> None:
    """The fast expansion is the same as Go's loop, written out byte by byte."""
    assert expand_text(text, lambda name: f"<{name}>") == slow_expand(text)


def slow_expand(text: str) -> str:
    """os.Expand, as its documentation and rules say."""
    result, at = "", 0
    while at < len(text):
        rest = text[at + 1 :]
        if text[at] != "$" or not rest:
            result, at = result + text[at], at + 1
        elif rest[0] == "{":
            name, closed, _ = rest[1:].partition("}")
            result += f"<{name}>" if closed and name else ""
            at += 3 + len(name) if closed else 2
        elif rest[0] in "*#$@!?-0123456789":
            result, at = f"{result}<{rest[0]}>", at + 2
        else:
            name = rest[
                : next((i for i, c in enumerate(rest) if not (c.isascii() and (c.isalnum() or c == "_"))), len(rest))
            ]
            result, at = result + (f"<{name}>" if name else "$"), at + 1 + len(name)
    return result


def test_expansion_of_many_open_braces_is_fast() -> None:
    """A megabyte of braces that never end costs a moment, not minutes."""
    assert expand_text("${" * 500_000, str) == ""


def test_values_are_expanded_once_against_the_unexpanded_list() -> None:
    """What a value brings in is not read again: `A=$B, B=$C, C=x` leaves `$C` in A."""
    variables = Variables([Variable("A", "$B"), Variable("B", "$C"), Variable("C", "x")]).expanded()
    assert [variable.value for variable in variables] == ["$C", "x", "x"]


def test_expanding_again_changes_nothing() -> None:
    """The expanded list is final."""
    variables = Variables([Variable("A", "$$HOME"), Variable("B", "$A")]).expanded()
    assert variables.expanded() == variables
    assert variables.get("A") == "$HOME"


def test_raw_values_stay_and_still_go_into_others() -> None:
    """A raw variable is taken as it is, also where another names it."""
    variables = Variables([Variable("R", "$X", raw=True), Variable("A", "<$R>")]).expanded()
    assert [variable.value for variable in variables] == ["$X", "<$X>"]


def test_file_variable_means_its_path() -> None:
    """Looking up or expanding a file variable gives the path; its content has its own method."""
    variables = Variables(
        [Variable("KEY", "pem", file=True), Variable("A", "-i $KEY"), Variable("RUNNER_TEMP_PROJECT_DIR", "/b/p.tmp/")]
    )
    assert variables.get("KEY") == "/b/p.tmp/KEY"
    assert variables.path("KEY") == "/b/p.tmp/KEY"
    assert variables.expand("$KEY") == "/b/p.tmp/KEY"
    assert variables.expanded().get("A") == "-i /b/p.tmp/KEY"
    assert variables.content("KEY") == "pem"
    assert variables.content("NONE", "x") == "x"


def test_file_variable_without_directory_is_its_name() -> None:
    """Before the directory is known the path is relative, as in the original."""
    assert Variables([Variable("KEY", "pem", file=True)]).get("KEY") == "KEY"


def test_last_entry_of_a_key_wins() -> None:
    """Duplicates stay in the list, reading takes the last."""
    variables = Variables([Variable("A", "1"), Variable("A", "2")])
    assert (variables.get("A"), len(variables), variables.get("B"), variables.get("B", "x")) == ("2", 2, "", "x")


def test_variables_are_a_sequence() -> None:
    """Index, slice, iteration, membership by key or variable, equality and hash."""
    first, second = Variable("A", "1"), Variable("B", "2")
    variables = Variables([first, second])
    assert variables[0] == first
    assert variables[1:] == Variables([second])
    assert list(variables) == [first, second]
    assert "A" in variables
    assert first in variables
    assert "C" not in variables
    assert Variable("A", "9") not in variables
    assert hash(variables) == hash(Variables([first, second]))
    assert variables != [first, second]


def test_repr_shows_keys_and_no_values() -> None:
    """Variables in a traceback give nothing away."""
    variables = Variables([Variable("TOKEN", "s3cret")])
    assert repr(variables) == "Variables(TOKEN)"
    assert "s3cret" not in repr(variables[0])


def test_with_appends() -> None:
    """More variables override earlier ones and leave the first list alone."""
    variables = Variables([Variable("A", "1")])
    assert variables.with_(Variable("A", "2")).get("A") == "2"
    assert variables.get("A") == "1"


def test_job_status_changes_in_its_first_entry() -> None:
    """The runner's own entry changes; one that the job added behind it stays and wins, as in the original."""
    variables = Variables([Variable("A", "1"), Variable("CI_JOB_STATUS", "running"), Variable("CI_JOB_STATUS", "mine")])
    assert [v.value for v in variables.with_job_status("failed")] == ["1", "failed", "mine"]


def test_job_status_is_added_when_it_is_not_there() -> None:
    """after_script always learns how the steps ended."""
    assert Variables().with_job_status("success").get("CI_JOB_STATUS") == "success"


@pytest.mark.parametrize(
    ("text", "value"),
    [(text, True) for text in ("1", "t", "T", "TRUE", "true", "True")]
    + [(text, False) for text in ("0", "f", "F", "FALSE", "false", "False")]
    + [(text, None) for text in ("", "yes", "tRUE", "on", " true", "2")],
)
def test_boolean_is_read_as_go_reads_it(text: str, value: bool | None) -> None:
    """Twelve words are booleans; everything else leaves the default."""
    assert parse_bool(text) is value
    variables = Variables([Variable("A", text)])
    assert variables.boolean("A", True) is (True if value is None else value)
    assert variables.boolean("A", False) is bool(value)


def test_masked_values_are_each_given_once_and_never_empty() -> None:
    """What must not be seen in the log."""
    variables = Variables(
        [
            Variable("A", "x", masked=True),
            Variable("B", "x", masked=True),
            Variable("C", "", masked=True),
            Variable("D", "y"),
        ]
    )
    assert variables.masked_values() == ("x",)


def test_public_environment_has_each_key_once_with_its_last_value() -> None:
    """First place, last value, paths for files, `$` doubled, nothing that is neither public nor internal."""
    variables = Variables(
        [
            Variable("A", "1", public=True),
            Variable("B", "a$b$(C)", internal=True),
            Variable("HIDDEN", "x"),
            Variable("KEY", "pem", public=True, file=True),
            Variable("RUNNER_TEMP_PROJECT_DIR", "/p.tmp", internal=True),
            Variable("A", "2", public=True),
            Variable("A", "3"),
        ]
    )
    assert variables.public_environment() == (
        ("A", "2"),
        ("B", "a$$b$$(C)"),
        ("KEY", "/p.tmp/KEY"),
        ("RUNNER_TEMP_PROJECT_DIR", "/p.tmp"),
    )


def test_public_environment_leaves_out_what_came_to_hold_a_secret() -> None:
    """A public variable that names a masked one does not carry it into the pod's spec."""
    variables = Variables(
        [
            Variable("URL", "https://u:$T@host", public=True),
            Variable("T", "s3cret", masked=True),
            Variable("B", "b", public=True),
        ]
    )
    assert variables.expanded().public_environment() == (("B", "b"),)


def job(**fields: object) -> Job:
    """A job with these fields."""
    return Job.parse({"id": 1, "token": "t", **fields})


def test_variables_of_a_job_are_in_the_order_of_precedence() -> None:
    """Flags, image, runner, defaults, certificates, the job's own, then what a job cannot override."""
    variables = job_variables(
        job(
            image={"name": "alpine"},
            runner_info={"timeout": 60},
            variables=[
                {"key": "CI_PROJECT_DIR", "value": "mine", "public": True},
                {"key": "FF_A", "value": "false"},
                {"key": "SECRET", "value": "s", "masked": True, "raw": True},
                {"key": "", "value": "lost"},
            ],
        ),
        builds_dir="/builds",
        project_dir="/builds/acme/demo",
        runner_environment=("A=1=2", "bad", "=x", "E="),
        short_token="abc",
        concurrent_id=3,
        concurrent_project_id=2,
        version="1.2",
        revision="beef",
        feature_flags={"FF_A": True, "FF_B": False},
        tls_ca="PEM",
        tls_client=("OURS", "ITS KEY"),
        secrets=[Variable("S", "v", masked=True, raw=True)],
    )
    shown = [(v.key, v.value, ("p" if v.public else "") + ("i" if v.internal else "")) for v in variables]
    assert shown == [
        ("FF_A", "true", "pi"),
        ("FF_B", "false", "pi"),
        ("CI_JOB_IMAGE", "alpine", "pi"),
        ("CI_RUNNER_SHORT_TOKEN", "abc", "pi"),
        ("A", "1=2", "i"),
        ("E", "", "i"),
        ("CI_BUILDS_DIR", "/builds", "pi"),
        ("CI_PROJECT_DIR", "/builds/acme/demo", "pi"),
        ("CI_CONCURRENT_ID", "3", "pi"),
        ("CI_CONCURRENT_PROJECT_ID", "2", "pi"),
        ("CI_SERVER", "yes", "pi"),
        ("CI_JOB_STATUS", "running", "pi"),
        ("CI_JOB_TIMEOUT", "60", "pi"),
        ("CI_SERVER_TLS_CA_FILE", "PEM", "pi"),
        ("CI_SERVER_TLS_CERT_FILE", "OURS", "pi"),
        ("CI_SERVER_TLS_KEY_FILE", "ITS KEY", "i"),
        ("CI_PROJECT_DIR", "mine", "p"),
        ("SECRET", "s", ""),
        ("CI_DISPOSABLE_ENVIRONMENT", "true", "pi"),
        ("CI_RUNNER_VERSION", "1.2", "pi"),
        ("CI_RUNNER_REVISION", "beef", "pi"),
        ("CI_RUNNER_EXECUTABLE_ARCH", "linux/amd64", "pi"),
        ("S", "v", ""),
        ("RUNNER_TEMP_PROJECT_DIR", "/builds/acme/demo.tmp", "pi"),
    ]
    assert variables.get("CI_SERVER_TLS_CA_FILE") == "/builds/acme/demo.tmp/CI_SERVER_TLS_CA_FILE"


@pytest.mark.parametrize("image", [None, {"name": ""}], ids=["none", "nameless"])
def test_job_without_image_or_certificates_has_no_variables_of_them(image: dict[str, str] | None) -> None:
    """Nothing is said about what is not there."""
    variables = job_variables(
        job(image=image),
        builds_dir="/b",
        project_dir="/b/p",
        runner_environment=(),
        short_token="",
        version="",
        revision="",
        feature_flags={},
    )
    assert "CI_JOB_IMAGE" not in variables
    assert "CI_SERVER_TLS_CA_FILE" not in variables


def test_environment_entries_need_a_key_and_an_equals_sign() -> None:
    """Others are left out; values may hold more of them, or nothing."""
    assert environment_variables(["A=b=c", "B=", "C", "=d"]) == (
        Variable("A", "b=c", internal=True),
        Variable("B", "", internal=True),
    )


@pytest.mark.parametrize(
    ("token", "short"),
    [
        ("glrt-Ab3dEfGh1JkLmNoPqRsT", "Ab3dEfGh1"),
        ("glrt-t1_Ab3dEfGh1JkLm", "Ab3dEfGh1"),
        ("glrt-t4_Ab3dEfGh1JkLm", "t4_Ab3dEf"),
        ("t3_Ab3dEfGh1JkLm", "Ab3dEfGh1"),
        ("glrtr-Ab3dEfGh1JkLm", "Ab3dEfGh1"),
        ("glcbt-64_Zx9yW8vU7", "64_Zx9yW8"),
        ("GR1348941Ab3dEfGh1JkLm", "Ab3dEfGh1"),
        ("GR13489zzAb3dEfGh1", "GR13489zz"),
        ("short", "short"),
        ("", ""),
    ],
)
def test_short_token_is_nine_characters_behind_the_prefixes(token: str, short: str) -> None:
    """Every prefix GitLab gives tokens is cut before counting."""
    assert short_token(token) == short
