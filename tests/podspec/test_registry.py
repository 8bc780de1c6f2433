"""Registry credentials: docker's configuration, the order of sources, the Secret."""

import base64
import json
from typing import Any

import pytest

from runner.job.outcome import JobConfigurationError
from runner.job.payload import Credentials
from runner.podspec.registry import (
    DockerConfig,
    RegistryLogin,
    RegistrySourceError,
    build_registry_secret,
    job_logins,
    merged_logins,
    read_docker_config,
    read_helper_login,
    read_helper_servers,
    registry_path,
)


def encoded(text: str) -> str:
    """Base64, as `auth` has it."""
    return base64.b64encode(text.encode()).decode()


GOOD: dict[str, tuple[Any, DockerConfig]] = {
    "auth": (
        {"auths": {"r.example.com": {"auth": encoded("user:pass:word")}}},
        DockerConfig((RegistryLogin("r.example.com", "user", "pass:word"),)),
    ),
    "user and password": (
        {"auths": {"https://index.docker.io/v1/": {"username": "u", "password": "p", "email": "e"}}},
        DockerConfig((RegistryLogin("https://index.docker.io/v1/", "u", "p"),)),
    ),
    "auth before user and password": (
        {"auths": {"r": {"auth": encoded("u:p"), "username": "x", "password": "y"}}},
        DockerConfig((RegistryLogin("r", "u", "p"),)),
    ),
    "entries for a store": (
        {"auths": {"r": {}}, "credsStore": "desktop", "credHelpers": {"gcr.io": "gcloud"}},
        DockerConfig((), "desktop", {"gcr.io": "gcloud"}),
    ),
    "an identity token alone": ({"auths": {"r": {"identitytoken": "t"}}}, DockerConfig()),
    ".dockercfg": (
        {"r": {"auth": encoded("u:p"), "email": "e"}, "x": 1},
        DockerConfig((RegistryLogin("r", "u", "p"),)),
    ),
    "nothing": ({}, DockerConfig()),
    "null": ({"auths": None, "credHelpers": None, "credsStore": None}, DockerConfig()),
}


@pytest.mark.parametrize(("content", "expected"), GOOD.values(), ids=GOOD.keys())
def test_read_docker_config_when_it_is_good(content: Any, expected: DockerConfig) -> None:
    """Both of docker's formats; what holds no password is left out."""
    assert read_docker_config(json.dumps(content)) == expected


BAD = {
    "no JSON": ("s3cret", "it is no JSON"),
    "too deep": ("[" * 100_000, "it is no JSON"),
    "a list": ('["s3cret"]', "it is no JSON object"),
    "auths": ('{"auths": "s3cret"}', "its `auths` is no object"),
    "an entry": ('{"auths": {"r": "s3cret"}}', "an entry of its `auths` is no object"),
    "auth": ('{"auths": {"r": {"auth": "s3cret"}}}', "an `auth` in it is not the base64 of `user:password`"),
    "auth without a colon": (
        json.dumps({"auths": {"r": {"auth": encoded("s3cret")}}}),
        "an `auth` in it is not the base64 of `user:password`",
    ),
    "auth is no text": ('{"auths": {"r": {"auth": 7}}}', "an `auth` in it is not the base64 of `user:password`"),
    "password is no text": (
        '{"auths": {"r": {"username": "s3cret", "password": 7}}}',
        "an entry of its `auths` has a user or password that is no text",
    ),
    "helper": ('{"credHelpers": {"r": "s3cret word"}}', "the name of a credential helper in it is none"),
    "helper is no text": ('{"credsStore": 7}', "the name of a credential helper in it is none"),
}


@pytest.mark.parametrize(("text", "sentence"), BAD.values(), ids=BAD.keys())
def test_read_docker_config_when_it_is_bad(text: str, sentence: str) -> None:
    """The sentence says what is wrong and quotes nothing."""
    with pytest.raises(RegistrySourceError) as caught:
        read_docker_config(text)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    "content", [{"credsStore": "../bin/x"}, {"credHelpers": {"r": "a/b"}}, {"credHelpers": {"r": "a\\b"}}]
)
def test_read_docker_config_when_a_helper_lies_outside_of_the_path(content: Any) -> None:
    """A path in a helper's name ends the job: somebody tries to run another program."""
    with pytest.raises(JobConfigurationError, match="has a path separator") as caught:
        read_docker_config(json.dumps(content))
    assert "bin" not in caught.value.message


PATHS = {
    "registry.example.com": "registry.example.com",
    "Registry.Example.com:5000": "registry.example.com:5000",
    "Registry.Example.com:5000/Group/Image:1.2": "registry.example.com:5000/Group/Image",
    "registry.example.com/group/": "registry.example.com/group",
    "https://Registry.example.com:5000/v1/": "registry.example.com:5000",
    "HTTP://registry.example.com/group": "registry.example.com",
    "https://index.docker.io/v1/": "docker.io",
    "index.docker.io": "docker.io",
    "docker.io/library": "docker.io/library",
    "": "",
}


@pytest.mark.parametrize(("server", "path"), PATHS.items())
def test_registry_path_is_one_for_all_spellings(server: str, path: str) -> None:
    """Scheme and what follows the host of a URL are dropped, and a tag; only the host's case is."""
    assert registry_path(server) == path


def test_merged_logins_take_the_first_source_that_names_a_registry() -> None:
    """By the registry that is meant, not by its spelling; within a source a helper's answer wins, then the name."""
    variable = (
        RegistryLogin("b.example.com", "1", "auths"),
        RegistryLogin("A.example.com", "2", ""),
        RegistryLogin("b.example.com", "3", "helper"),
    )
    home = (RegistryLogin("https://a.example.com/v1/", "4", ""), RegistryLogin("c.example.com", "5", ""))
    job = (RegistryLogin("c.example.com", "6", ""), RegistryLogin("a.example.com/group", "7", ""))
    assert [login.username for login in merged_logins((variable, home, job))] == ["2", "3", "5", "7"]


def test_job_logins_are_those_of_registries() -> None:
    """Other types of credentials are not for images."""
    registry = Credentials(type="registry", url="r.example.com", username="u", password="p")
    other = Credentials(type="oracle", url="o.example.com", username="u", password="p")
    assert job_logins((registry, other)) == (RegistryLogin("r.example.com", "u", "p"),)
    assert "p" not in repr(RegistryLogin("r", "u", "p")).removeprefix("RegistryLogin(server='r'")


SETUP_CREDENTIALS: dict[str, tuple[list[dict[str, str]], dict[str, dict[str, str]]]] = {
    "no credentials": ([], {}),
    "registry credentials": (
        [{"type": "registry", "url": "http://example.com", "username": "user", "password": "password"}],
        {"http://example.com": {"username": "user", "password": "password", "auth": encoded("user:password")}},
    ),
    "other credentials": ([{"type": "other", "url": "u", "username": "user", "password": "password"}], {}),
}


@pytest.mark.parametrize(("credentials", "expected"), SETUP_CREDENTIALS.values(), ids=SETUP_CREDENTIALS.keys())
def test_build_registry_secret_as_TestSetupCredentials_has_it(  # noqa: N802 -- upstream's name
    make_request: Any, credentials: list[dict[str, str]], expected: dict[str, dict[str, str]]
) -> None:
    """One Secret of docker's older type, keyed by the server as it was written, named after the pod."""
    request = make_request(job={"credentials": credentials})
    secret = build_registry_secret(request, merged_logins((job_logins(request.job.credentials),)))
    assert json.loads(base64.b64decode(secret["data"][".dockercfg"])) == expected
    assert secret["type"] == "kubernetes.io/dockercfg"
    assert (secret["metadata"]["name"], secret["metadata"]["namespace"]) == (
        "runner-abcdefghi-project-77-concurrent-0-q1w2e3r4-registry",
        "ci",
    )
    assert secret["metadata"]["labels"]["job.runner.gitlab.com/id"] == "4711"


HELPER_ANSWERS: dict[str, tuple[str, RegistryLogin | str | None]] = {
    "a login": ('{"ServerURL": "r", "Username": "u", "Secret": "p"}', RegistryLogin("r", "u", "p")),
    "nothing": ('{"ServerURL": "r", "Username": "", "Secret": ""}', None),
    "an identity token": ('{"Username": "<token>", "Secret": "t"}', "it answers with an identity token"),
    "no JSON": ("s3cret", "its answer is no JSON"),
    "a list": ('["s3cret"]', "its answer is no JSON object"),
    "no password": ('{"Username": "s3cret"}', "its answer has no user and password"),
}


@pytest.mark.parametrize(("answer", "expected"), HELPER_ANSWERS.values(), ids=HELPER_ANSWERS.keys())
def test_read_helper_login_when(answer: str, expected: RegistryLogin | str | None) -> None:
    """What a credential helper prints; nothing of it is in a sentence."""
    if isinstance(expected, str):
        with pytest.raises(RegistrySourceError, match=expected) as caught:
            read_helper_login(answer.encode(), "r")
        assert "s3cret" not in str(caught.value)
    else:
        assert read_helper_login(answer.encode(), "r") == expected


def test_read_helper_servers_lists_what_a_store_knows() -> None:
    """Servers with their users."""
    assert read_helper_servers(b'{"a": "u", "b": "v"}') == ("a", "b")
