"""Variables of every size and name, as the job's script, its programs and its services see them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from runner.testing.payloads import image, variable
from tests.end_to_end.inside import seen
from tests.end_to_end.test_artifacts_and_cache import artifact

if TYPE_CHECKING:
    from tests.end_to_end.targets import Cluster

pytestmark = pytest.mark.slow

NO_SOURCES = variable("GIT_STRATEGY", "none", public=True)
KIBIBYTE = 1024
LARGE: dict[str, tuple[list[dict[str, Any]], str]] = {
    "a public one": ([variable("BIG", "x" * 150 * KIBIBYTE, public=True)], "153600"),
    "a private one": ([variable("BIG", "x" * 150 * KIBIBYTE)], "153600"),
    "many public ones": ([variable(f"BIG{i}", "x" * 25 * KIBIBYTE, public=True) for i in range(200)], ""),
    "many private ones": ([variable(f"BIG{i}", "x" * 25 * KIBIBYTE) for i in range(200)], ""),
    "a file": ([variable("BIG", "x" * 5 * KIBIBYTE * KIBIBYTE, file=True)], "5242880"),
    "as large as all": ([variable("BIG", "x" * 5 * KIBIBYTE * KIBIBYTE, raw=True)], "5242880"),
}
MEASURE = 'case "$BIG" in /*) echo "@one=$(wc -c < $BIG)" ;; ?*) echo "@one=${#BIG}" ;; esac'


@pytest.mark.parametrize("name", LARGE)
def test_sizes_are_what_they_say(name: str) -> None:
    """All but the single ones are 5 MiB together."""
    variables, size = LARGE[name]
    together = sum(len(each["value"]) for each in variables)
    assert together == (int(size) if size else 5 * 1000 * KIBIBYTE)


@pytest.mark.parametrize("name", LARGE)
async def test_large_variables_keep_no_stage_from_running(cluster: Cluster, name: str) -> None:
    """The helper's stages and the script's programs run; the script has the values."""
    variables, size = LARGE[name]
    async with cluster.harness() as h:
        job = await h.run(
            script=[MEASURE, "ls > /dev/null", "echo \"@many=$(env | grep -c '^BIG[0-9]')\"", "echo x > out"],
            after_script=["ls > /dev/null && echo @after=yes"],
            variables=[NO_SOURCES, *variables],
            artifacts=[artifact("out")],
        )
        assert job.state == "success", job.text[-2000:]
        assert h.gitlab.artifacts.archive(job.id) is not None
    many = "200" if "many" in name else "0"
    assert seen(job) == {**({"one": size} if size else {}), "many": many, "after": "yes"}
    assert ("WARNING: Linux gives programs no variable of more than 128 KiB" in job.text) == (
        bool(size) and name != "a file"
    )


async def test_no_name_keeps_a_stage_from_running(cluster: Cluster) -> None:
    """Keywords, shells' own variables, and what no shell can hold; a file of any name is there."""
    shells = "BASHPID HISTCMD OPTIND PPID RANDOM SECONDS SRANDOM UID _ LINENO TMOUT PS4"
    variables = [
        NO_SOURCES,
        *(variable(name, "a b") for name in ("if", *shells.split(), "1a", "a-b", "a.b", "ä")),
        variable("two words", "x"),
        variable("a=b", "x"),
        variable("two\nlines", "x"),
        variable("none", None),
        variable("lines", "one\ntwo\n\n"),
        variable("marks", "'\"`$$(id)\\ \x01\x7fü", raw=True),
        variable("my-file.pem", "x\n\ty'\"$HOME", file=True, raw=True),
    ]
    script = [
        "env | sed -n 's/^if=/@if=/p'",
        'echo "@none=[$none]"',
        'echo "@lines=$(printf %s "$lines" | tr "\\n" ,)"',
        'echo "@marks=$(printf %s "$marks" | od -An -tx1 | tr -d " \\n")"',
        'echo "@file=$(od -An -tx1 < $RUNNER_TEMP_PROJECT_DIR/my-file.pem | tr -d " \\n")"',
    ]
    async with cluster.harness() as h:
        for shell in (cluster.busybox_image, cluster.debian_image):
            job = await h.run(script=script, after_script=["echo @after=yes"], variables=variables, image=shell)
            assert job.state == "success", job.text
            assert seen(job) == {
                "if": "a b",
                "none": "[]",
                "lines": "one,two,,",
                "marks": "'\"`$$(id)\\ \x01\x7fü".encode().hex(),
                "file": b"x\n\ty'\"$HOME".hex(),
                "after": "yes",
            }


@pytest.mark.only_on("real")
async def test_services_see_what_is_public_and_their_own(cluster: Cluster) -> None:
    """At all of their aliases; one with ports of the web IDE's has no name."""
    look = "env | sed -n 's/^\\(PRIVATE\\|PUBLIC\\|MASKED\\|RAW\\|FILE\\|OWN.*\\)=/@&/p' > /builds/new"
    services = [
        image(
            cluster.busybox_image,
            alias="db,pg postgres",
            entrypoint=["sh", "-c", f"{look}; mv /builds/new /builds/seen; sleep 600"],
            variables=[
                variable("OWN", "own"),
                variable("OWN_MIXED", "$PRIVATE and $PUBLIC"),
                variable("OWN_RAW", "$PRIVATE", raw=True),
            ],
        ),
        image(cluster.busybox_image, alias="db", entrypoint=["sleep"], command=["600"]),
        image(cluster.busybox_image, alias="ide", command=["sleep", "600"], ports=[{"number": 80, "name": "ide"}]),
    ]
    variables = [
        NO_SOURCES,
        variable("PRIVATE", "private"),
        variable("PUBLIC", "public", public=True),
        variable("MASKED", "maskedvalue", masked=True),
        variable("RAW", "$PUBLIC $(HOME) $$", public=True, raw=True),
        variable("FILE", "content", public=True, file=True),
    ]
    script = [
        "for _i in 1 2 3 4 5 6 7 8 9 10; do [ -e /builds/seen ] && break; sleep 1; done; cat /builds/seen",
        "echo \"@names=$(sed -n 's/^127.0.0.1[[:space:]]*busybox/busybox/p' /etc/hosts | tr '\\t' ' ')\"",
    ]
    async with cluster.harness() as h:
        job = await h.run(script=script, services=services, variables=variables)
    assert job.state == "success", job.text
    assert seen(job) == {
        "PUBLIC": "public",
        "RAW": "$PUBLIC $(HOME) $$",
        "FILE": "/builds/acme/demo.tmp/FILE",
        "OWN": "own",
        "OWN_MIXED": "private and public",
        "OWN_RAW": "$PRIVATE",
        "names": "busybox db pg postgres",
    }
