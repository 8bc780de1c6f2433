"""Feature flags of a job."""

import pytest

from runner.job.feature_flags import CONFIG_ONLY, FLAGS, WITHOUT_EFFECT, changed_flags, resolve_flags
from runner.job.variables import Variable


@pytest.mark.parametrize(
    ("config", "variables", "value"),
    [
        ({}, [], True),
        ({}, ["0"], False),
        ({}, ["0", "true"], True),
        ({}, [""], True),
        ({"FF_TIMESTAMPS": False}, [], False),
        ({"FF_TIMESTAMPS": False}, ["true"], False),
        ({"FF_TIMESTAMPS": True}, ["false"], True),
    ],
    ids=["default", "variable", "last variable", "empty variable", "config", "config off wins", "config on wins"],
)
def test_flag_is_taken_from_config_then_variables_then_default(
    config: dict[str, bool], variables: list[str], value: bool
) -> None:
    """The runner's configuration wins absolutely."""
    flags, warnings = resolve_flags(config, [Variable("FF_TIMESTAMPS", text) for text in variables])
    assert flags["FF_TIMESTAMPS"] is value
    assert warnings == ()


def test_flag_that_is_no_boolean_leaves_the_default_with_a_warning() -> None:
    """The line is the one that users of GitLab Runner know."""
    flags, warnings = resolve_flags({}, [Variable("FF_TIMESTAMPS", "yes")])
    assert flags["FF_TIMESTAMPS"] is True
    assert warnings == ("FF_TIMESTAMPS: could not parse feature flag, expected bool, got yes",)


def test_flag_that_is_no_boolean_does_not_matter_when_config_decides() -> None:
    """Nobody is warned of a value that nobody asked for."""
    flags, warnings = resolve_flags({"FF_TIMESTAMPS": False}, [Variable("FF_TIMESTAMPS", "yes")])
    assert (flags["FF_TIMESTAMPS"], warnings) == (False, ())


@pytest.mark.parametrize("name", sorted(CONFIG_ONLY))
def test_flag_beyond_jobs_is_not_a_jobs_to_set(name: str) -> None:
    """Flags of the whole process listen to the configuration alone."""
    flags, _ = resolve_flags({}, [Variable(name, str(not FLAGS[name]).lower())])
    assert flags[name] is FLAGS[name]


def test_every_flag_is_resolved_and_unknown_ones_are_not() -> None:
    """The result has exactly the known flags."""
    flags, _ = resolve_flags({"FF_UNKNOWN": True}, [Variable("FF_OTHER", "true")])
    assert dict(flags) == dict(FLAGS)


@pytest.mark.parametrize(
    ("names", "lines"),
    [
        (["FF_TIMESTAMP"], ("No feature flags of this runner: FF_TIMESTAMP (did you mean FF_TIMESTAMPS?)",)),
        (["FF_MY_SHOP", "FF_TIMESTAMPS"], ("No feature flags of this runner: FF_MY_SHOP",)),
        (["FF_lower", "FF_", "FF_" + "X" * 200, "OFF_X", "FF_RESOLVE_FULL_TLS_CHAIN"], ()),
        (
            [f"FF_{number}" for number in range(12)],
            ("No feature flags of this runner: FF_0, FF_1, FF_2, FF_3, FF_4, FF_5, FF_6, FF_7, FF_8, FF_9, 2 more",),
        ),
    ],
    ids=["a slip", "a variable of the job's own", "no names of flags", "many"],
)
def test_names_that_are_no_flags_are_told_when_a_job_sets_them(names: list[str], lines: tuple[str, ...]) -> None:
    """One line names them all, with what may have been meant."""
    _, warnings = resolve_flags({}, [Variable(name, "true") for name in names])

    assert warnings == lines


@pytest.mark.parametrize("name", WITHOUT_EFFECT)
def test_flag_without_its_feature_is_told_when_it_is_on(name: str) -> None:
    """Whoever turns it on learns that nothing else happens; whoever does not hears nothing."""
    by_job = resolve_flags({}, [Variable(name, "true")])[1]
    by_runner = resolve_flags({name: True}, [])[1]

    assert by_job == by_runner == (f"{name} has no effect: {WITHOUT_EFFECT[name]}.",)
    assert resolve_flags({name: False}, [Variable(name, "true")])[1] == ()


def test_changed_flags_are_listed_in_the_order_of_the_table() -> None:
    """The header names what differs from the defaults, and nothing if nothing does."""
    flags, _ = resolve_flags({"FF_TIMESTAMPS": False, "FF_SCRIPT_SECTIONS": True, "FF_USE_FASTZIP": True}, [])
    assert changed_flags(flags) == "FF_SCRIPT_SECTIONS:true, FF_TIMESTAMPS:false"
    assert changed_flags(FLAGS) == ""
    assert changed_flags({}) == ""


def test_flags_that_are_on_by_default_are_the_known_eleven() -> None:
    """A flag that changes its default changes jobs: do it knowingly."""
    assert {name for name, default in FLAGS.items() if default} == {
        "FF_USE_DIRECT_DOWNLOAD",
        "FF_USE_FASTZIP",
        "FF_USE_POD_ACTIVE_DEADLINE_SECONDS",
        "FF_SECRET_RESOLVING_FAILS_IF_MISSING",
        "FF_USE_GIT_BUNDLE_URIS",
        "FF_TIMESTAMPS",
        "FF_MASK_ALL_DEFAULT_TOKENS",
        "FF_USE_EXPONENTIAL_BACKOFF_STAGE_RETRY",
        "FF_USE_ADAPTIVE_REQUEST_CONCURRENCY",
        "FF_USE_GITALY_CORRELATION_ID",
        "FF_ENABLE_JOB_INPUTS_INTERPOLATION",
    }
