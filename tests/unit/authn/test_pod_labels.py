"""Labels of callers' pods: of the very pod, read where a route needs them, once a minute; trouble is no refusal."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from signer.authn import pod_labels
from signer.authn.pod_labels import WithPodLabels, labels_in
from signer.core.errors import AuthenticationFailed, AuthenticationUnavailable, Overloaded, SignerError
from signer.core.types import Caller, PodRef
from signer.kube.answer import OBJECT_BYTES, Answer, ApiUnavailable
from signer.kube.pod_facts import Labels
from tests.support.clock import FakeClock
from tests.support.fakes import CALLER, FakeAuthenticator, Switch, credentials
from tests.support.waiting import give_up, settle

_LABELS = {"tier": "gold", "app": "api"}
_SORTED = (("app", "api"), ("tier", "gold"))


def _pod(uid: str = "uid-0", account: str = "api", labels: object = _LABELS) -> dict[str, Any]:
    return {"kind": "Pod", "metadata": {"uid": uid, "labels": labels}, "spec": {"serviceAccountName": account}}


class FakeApi:
    """Answers for every pod."""

    def __init__(self) -> None:
        self.switch = Switch()
        self.faults: list[ApiUnavailable] = []
        self.paths: list[str] = []
        self.answer = Answer(200, _pod())

    async def call(self, method: str, path: str, timeout: float, *, limit: int) -> Answer:
        """Note the question."""
        assert (method, limit) == ("GET", OBJECT_BYTES)
        self.paths.append(path)
        await self.switch.passing()
        if self.faults:
            raise self.faults.pop(0)
        return self.answer


class Desk:
    """The decorator over fakes."""

    def __init__(self, needed: Callable[[], bool] = lambda: True, timeout: float = 5.0) -> None:
        self.api, self.inner, self.clock = FakeApi(), FakeAuthenticator(), FakeClock()
        self.watched: dict[tuple[str, ...], Labels] = {}
        self.desk = WithPodLabels(
            self.inner,
            self.api,  # type: ignore[arg-type]
            needed,
            self.clock,
            timeout,
            lambda *of: self.watched.get(of),
        )

    async def ask(self) -> Caller:
        """Authenticate."""
        return await self.desk.authenticate(credentials())

    async def labels(self) -> object:
        """Of the caller."""
        pod = (await self.ask()).pod
        assert pod is not None
        return pod.labels


async def test_the_callers_own_pod() -> None:
    """By namespace and name; the rest of the caller stays as it was."""
    desk = Desk()
    assert await desk.ask() == Caller(
        CALLER.identity, CALLER.method, CALLER.cluster, PodRef("api-0", "uid-0", "node-0", _SORTED)
    )
    assert desk.api.paths == ["/api/v1/namespaces/payments/pods/api-0"]


async def test_nobody_is_asked_without_need() -> None:
    """Need is asked for at each call: routes change while the server runs."""
    needed = [False]
    desk = Desk(lambda: needed[0])
    assert await desk.ask() == CALLER
    assert desk.api.paths == []
    needed[0] = True
    assert await desk.labels() == _SORTED


async def test_a_token_without_a_pod() -> None:
    """Has no labels, which is not known and not an error."""
    desk = Desk()
    desk.inner.caller = Caller(CALLER.identity, CALLER.method, CALLER.cluster)
    assert (await desk.ask()).pod is None
    assert desk.api.paths == []


async def test_a_bad_token_is_asked_no_pod_for() -> None:
    """Proof comes first."""
    desk = Desk()
    desk.inner.switch.fault = AuthenticationFailed("bad")
    with pytest.raises(AuthenticationFailed):
        await desk.ask()
    assert desk.api.paths == []


async def test_remembered_for_a_minute() -> None:
    """Of that pod: another uid is another question."""
    desk = Desk()
    await desk.ask()
    desk.api.answer = Answer(200, _pod(labels={"tier": "tin"}))
    desk.clock.advance(59.9)
    assert await desk.labels() == _SORTED
    desk.clock.advance(0.2)
    assert await desk.labels() == (("tier", "tin"),)
    desk.inner.caller = Caller(CALLER.identity, CALLER.method, CALLER.cluster, PodRef("api-0", "uid-1"))
    with pytest.raises(AuthenticationFailed, match="another has its name"):
        await desk.ask()


async def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pod that has not been asked for longest goes."""
    monkeypatch.setattr(pod_labels, "MAX_PODS", 2)
    desk = Desk()
    for uid in ("a", "b", "a", "c", "a", "b"):
        desk.inner.caller = Caller(CALLER.identity, CALLER.method, CALLER.cluster, PodRef("p", uid))
        desk.api.answer = Answer(200, _pod(uid))
        await desk.ask()
    assert len(desk.api.paths) == 4


async def test_shared_under_way() -> None:
    """One question for all; the first asker's going away is its own."""
    desk = Desk()
    desk.api.switch.held = True
    askers = [asyncio.create_task(desk.labels()) for _ in range(3)]
    await settle()
    await give_up(askers[0])
    desk.api.switch.opened.set()
    assert await asyncio.gather(*askers[1:]) == [_SORTED] * 2
    assert len(desk.api.paths) == 1


async def test_questions_under_way_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond, the server is overloaded; at the end they are stopped, and who waits may try elsewhere."""
    monkeypatch.setattr(pod_labels, "MAX_UNDER_WAY", 1)
    desk = Desk()
    desk.api.switch.held = True
    first = asyncio.create_task(desk.ask())
    await settle()
    desk.inner.caller = Caller(CALLER.identity, CALLER.method, CALLER.cluster, PodRef("p", "other"))
    with pytest.raises(Overloaded, match="pod labels: 1 questions are under way"):
        await desk.ask()
    await desk.desk.close()
    with pytest.raises(AuthenticationUnavailable, match="pod labels: closed"):
        await first


_NO = AuthenticationFailed
_LATER = AuthenticationUnavailable
_MISSING = {"kind": "Status", "reason": "NotFound", "details": {"name": "api-0"}}
_ANSWERS: dict[str, tuple[Answer, type[SignerError], str]] = {
    "gone": (Answer(404, _MISSING), _NO, "the pod is gone"),
    "a 404 of what stands between": (Answer(404, {"message": "no Route matched"}), _LATER, "HTTP 404"),
    "remade": (Answer(200, _pod("uid-1")), _NO, "another has its name"),
    "another account": (Answer(200, _pod(account="admin")), _NO, "another service account"),
    "no right": (Answer(403, {}), _LATER, "HTTP 403: may this service account get pods, as routes with match.pod"),
    "own token": (Answer(401, {}), _LATER, "HTTP 401"),
    "throttled": (Answer(429, {}), _LATER, "HTTP 429"),
    "broken": (Answer(500, {}), _LATER, "HTTP 500"),
    "another kind": (Answer(200, {**_pod(), "kind": "Status"}), _LATER, "not a Pod"),
    "no uid": (Answer(200, {"kind": "Pod"}), _LATER, "not a Pod"),
}


@pytest.mark.parametrize(("answer", "kind", "reason"), _ANSWERS.values(), ids=_ANSWERS.keys())
async def test_answers(answer: Answer, kind: type[SignerError], reason: str) -> None:
    """What the API server cannot say is never told as a bad credential; failures are not remembered."""
    desk = Desk()
    desk.api.answer = answer
    with pytest.raises(kind, match=reason):
        await desk.ask()
    desk.api.answer = Answer(200, _pod())
    assert await desk.labels() == _SORTED


@pytest.mark.parametrize("labels", [None, {}, [], "x", {"a": 5}])
def test_no_labels(labels: object) -> None:
    """Known to be none; what is no text is left out."""
    assert labels_in(Answer(200, _pod(labels=labels)), "api-0", "uid-0", "api") == ()


async def test_a_broken_connection_is_tried_once_more() -> None:
    """Then it is told."""
    desk = Desk()
    desk.api.faults = [ApiUnavailable("cut")]
    assert await desk.labels() == _SORTED
    desk = Desk()
    desk.api.faults = [ApiUnavailable("cut"), ApiUnavailable("cut")]
    with pytest.raises(AuthenticationUnavailable, match="pod labels: cut"):
        await desk.ask()


async def test_no_answer() -> None:
    """Within the time-out."""
    desk = Desk(timeout=0.02)
    desk.api.switch.held = True
    with pytest.raises(AuthenticationUnavailable, match=r"no answer within 0\.02 s"):
        await desk.ask()


async def test_names_are_no_paths() -> None:
    """A pod's name comes from a verdict; still, it must not lead elsewhere."""
    desk = Desk()
    desk.inner.caller = Caller(CALLER.identity, CALLER.method, CALLER.cluster, PodRef("../secrets/x?y", "uid-0"))
    await desk.ask()
    assert desk.api.paths == ["/api/v1/namespaces/payments/pods/..%2Fsecrets%2Fx%3Fy"]


async def test_what_is_watched_is_not_asked_for() -> None:
    """And what is not is: another account's or another pod's labels are nobody's."""
    desk = Desk()
    desk.watched["payments", "api-0", "uid-0", "api"] = (("tier", "watched"),)
    assert await desk.labels() == (("tier", "watched"),)
    assert desk.api.paths == []
    desk.inner.caller = Caller(CALLER.identity, CALLER.method, CALLER.cluster, PodRef("api-0", "uid-1"))
    desk.api.answer = Answer(200, _pod("uid-1"))
    assert await desk.labels() == _SORTED
    assert len(desk.api.paths) == 1
