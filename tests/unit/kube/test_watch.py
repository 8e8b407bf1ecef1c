"""One list and one watch, for ever: what a server can do to it. The real one's part is in tests/kube_backends."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from signer.kube import event_stream, listing
from signer.kube import watch as watching
from signer.kube.connect import connect
from signer.kube.gathering import Gathering, Whole
from signer.kube.watch import Watch
from tests.support.kubeconfig import kubeconfig

PATH = "/apis/example/v1/things"


def thing(name: str, version: str) -> dict[str, Any]:
    """An object."""
    return {"metadata": {"name": name, "resourceVersion": version}}


def event(kind: str, item: dict[str, Any]) -> dict[str, Any]:
    """A line of a watch."""
    return {"type": kind, "object": item}


@dataclass
class Far:
    """An API server that plays what it is told: a page of objects for a list, events or a status for each watch."""

    pages: list[list[dict[str, Any]]] = field(default_factory=lambda: [[]])
    plays: list[list[Any] | int] = field(default_factory=list)
    lists: list[dict[str, str]] = field(default_factory=list)
    watches: list[dict[str, str]] = field(default_factory=list)
    list_status: int = 200
    objects: list[dict[str, Any]] = field(default_factory=list)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Tell a list from a watch."""
        query = dict(request.query)
        return await self._watch(request, query) if "watch" in query else self._list(query)

    def _list(self, query: dict[str, str]) -> web.Response:
        self.lists.append(query)
        if self.list_status != 200:
            return web.json_response({"reason": "Forbidden", "message": "no"}, status=self.list_status)
        if self.objects:
            return self._part(int(query.get("continue", "0")), int(query["limit"]))
        page = int(query.get("continue", "0"))
        more = {"continue": str(page + 1)} if page + 1 < len(self.pages) else {}
        return web.json_response({"metadata": {"resourceVersion": "10", **more}, "items": self.pages[page]})

    def _part(self, start: int, limit: int) -> web.Response:
        """As many as are asked for."""
        end = start + limit
        more = {"continue": str(end)} if end < len(self.objects) else {}
        return web.json_response({"metadata": {"resourceVersion": "10", **more}, "items": self.objects[start:end]})

    async def _watch(self, request: web.Request, query: dict[str, str]) -> web.StreamResponse:
        self.watches.append(query)
        play = self.plays.pop(0) if self.plays else None
        if isinstance(play, int):
            return web.json_response({"reason": "Expired"}, status=play)
        response = web.StreamResponse()
        await response.prepare(request)
        for line in play or ():
            await response.write((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n")
        if play is None:
            await self.over.wait()
        return response


@dataclass
class Notes:
    """A follower that remembers."""

    told: list[str] = field(default_factory=list)

    def gathering(self) -> Gathering:
        """Nothing is told before the list is whole."""
        return Whole(self.listed)

    def listed(self, objects: list[dict[str, Any]]) -> None:
        """All objects."""
        self.told.append("listed " + ",".join(item["metadata"]["name"] for item in objects))

    def changed(self, kind: str, item: dict[str, Any]) -> None:
        """One event."""
        self.told.append(f"{kind} {item['metadata']['name']}")


@dataclass
class Scene:
    """A watch at work."""

    far: Far
    notes: Notes
    watch: Watch
    restarts: list[int]

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds."""
        for _ in range(500):
            if holds():
                return
            await asyncio.sleep(0.01)
        raise TimeoutError(str(self.notes.told))


@pytest.fixture
def far() -> Far:
    """A server that has nothing and says nothing."""
    return Far()


@pytest.fixture
async def scene(far: Far, tmp_path: Path) -> AsyncIterator[Callable[[], Scene]]:
    """A function that sets a watch to work on the server as it has been told to be by then."""
    application = web.Application()
    application.router.add_get(PATH, far.answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server = f"http://127.0.0.1:{runner.addresses[0][1]}"
    api = await connect(kubeconfig(tmp_path / "kubeconfig", server, "token"), name="east")
    tasks: list[asyncio.Task[None]] = []

    def begin() -> Scene:
        notes, restarts = Notes(), list[int]()
        made = Watch(api, PATH, {"labelSelector": "a=b"}, notes, lambda: restarts.append(1))
        tasks.append(asyncio.create_task(made.run()))
        return Scene(far, notes, made, restarts)

    yield begin
    for task in tasks:
        assert not task.done(), "it never ends by itself"
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    far.over.set()
    await api.close()
    await runner.cleanup()
    for _ in range(20):
        await asyncio.sleep(0)


async def test_pages_are_one_list_and_events_follow(far: Far, scene: Callable[[], Scene]) -> None:
    far.pages = [[thing("a", "1")], [thing("b", "2")]]
    far.plays = [[event("ADDED", thing("c", "11")), event("DELETED", thing("a", "12"))]]
    at = scene()
    await at.until(lambda: len(at.notes.told) == 3)
    assert at.notes.told == ["listed a,b", "ADDED c", "DELETED a"]
    assert all(query["labelSelector"] == "a=b" for query in (*far.lists, *far.watches))
    assert (at.watch.broken_since, at.watch.fault) == (None, "")


async def test_a_watch_that_ends_goes_on_from_the_last_bookmark(far: Far, scene: Callable[[], Scene]) -> None:
    far.plays = [[event("ADDED", thing("a", "11")), event("BOOKMARK", thing("", "20"))]]
    at = scene()
    await at.until(lambda: len(far.watches) == 2)
    assert [query["resourceVersion"] for query in far.watches] == ["10", "20"]
    assert (at.notes.told, len(far.lists)) == (["listed ", "ADDED a"], 1)


@pytest.mark.parametrize("gone", [410, [event("ERROR", {"code": 410, "metadata": {}})]], ids=["at once", "later"])
async def test_a_version_that_is_gone_is_listed_anew(far: Far, scene: Callable[[], Scene], gone: Any) -> None:
    far.plays = [gone]
    at = scene()
    await at.until(lambda: len(far.watches) == 2)
    assert at.notes.told == ["listed ", "listed "]


async def test_a_fault_is_told_and_tried_again_with_pauses(
    far: Far, scene: Callable[[], Scene], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(watching, "_FIRST_PAUSE", 0.01)
    far.list_status = 403
    at = scene()
    await at.until(lambda: len(at.restarts) == 3)
    assert ("HTTP 403" in at.watch.fault, at.watch.broken_since is None) == (True, False)
    assert caplog.text.count("HTTP 403") == 1, "the same fault is told once"
    assert f"watch of cluster 'east': {PATH}: HTTP 403: Forbidden 'no'; it is tried again" in caplog.text
    assert "east" not in at.watch.fault, "whoever shows it says so"
    far.list_status = 200
    await at.until(lambda: at.watch.broken_since is None)


async def test_a_server_that_ends_each_watch_at_once_is_not_asked_in_a_loop(
    far: Far, scene: Callable[[], Scene]
) -> None:
    far.plays = [[] for _ in range(100)]
    at = scene()
    await at.until(lambda: len(far.watches) == 1)
    await asyncio.sleep(0.5)
    assert len(far.watches) == 1


@pytest.mark.parametrize("line", [{"type": "ADDED"}, {"object": {}}, [], "text", b"no JSON"])
async def test_lines_that_are_no_events_end_the_watch_and_not_the_task(
    far: Far, scene: Callable[[], Scene], line: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_FIRST_PAUSE", 0.01)
    far.plays = [[line]]
    at = scene()
    await at.until(lambda: len(far.watches) == 2)
    assert len(at.restarts) == 1
    assert len(far.lists) == 2, "the same line would come again at the same version"


async def test_an_event_without_an_end_is_not_kept(
    far: Far, scene: Callable[[], Scene], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_FIRST_PAUSE", 0.01)
    """Everything is listed instead: the same event would come again, and nothing that came after it."""
    monkeypatch.setattr(event_stream, "OBJECT_BYTES", 1000)
    far.plays = [[event("ADDED", thing("x" * 200_000, "11"))]]
    at = scene()
    await at.until(lambda: len(far.watches) == 2)
    assert (at.notes.told, len(far.lists), len(at.restarts)) == (["listed ", "listed "], 2, 1)


async def test_an_event_in_many_pieces(far: Far, scene: Callable[[], Scene]) -> None:
    """A line of megabytes is put together; what comes behind it is not lost."""
    far.plays = [[event("ADDED", thing("x" * 8_000_000, "11")), event("ADDED", thing("b", "12"))]]
    at = scene()
    await at.until(lambda: "ADDED b" in at.notes.told)
    assert [len(told) for told in at.notes.told] == [len("listed "), len("ADDED ") + 8_000_000, len("ADDED b")]


async def test_pages_that_are_too_long_are_asked_for_in_parts(
    far: Far, scene: Callable[[], Scene], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever makes huge objects must not keep the others from being known."""
    monkeypatch.setattr(listing, "LIST_BYTES", 100_000)
    far.objects = [thing("x" * 60_000 + str(i), "1") for i in range(3)] + [thing(f"s{i}", "1") for i in range(20)]
    at = scene()
    await at.until(lambda: bool(at.notes.told))
    assert len(at.notes.told[0].split(",")) == 23
    limits = [int(query["limit"]) for query in far.lists]
    assert min(limits) == 1
    assert limits[-1] > 1, "what follows is asked for in larger ones again"


FAULT = event("ERROR", {"code": 500, "reason": "InternalError", "metadata": {}})


@pytest.mark.parametrize("play", [410, [FAULT]], ids=["gone", "a fault within"])
async def test_a_server_that_wants_every_list_anew_is_not_listed_in_a_loop(
    far: Far, scene: Callable[[], Scene], monkeypatch: pytest.MonkeyPatch, play: Any
) -> None:
    monkeypatch.setattr(watching, "_FIRST_PAUSE", 5.0)
    far.plays = [play for _ in range(100)]
    at = scene()
    await at.until(lambda: at.watch.broken_since is not None and len(at.restarts) == 2)
    await asyncio.sleep(0.3)
    assert (len(far.lists), at.restarts) == (2, [1, 1])
    assert "it must be listed again and again: " in at.watch.fault


async def test_a_stream_that_opens_and_breaks_at_once_is_broken(
    far: Far, scene: Callable[[], Scene], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often it opens: nobody is told anything."""
    monkeypatch.setattr(watching, "_FIRST_PAUSE", 0.01)
    broken: list[dict[str, Any]] = [{"type": "ADDED"}]
    far.plays = [broken for _ in range(4)]
    at = scene()
    await at.until(lambda: len(at.restarts) == 1)
    since = at.watch.broken_since
    await at.until(lambda: len(at.restarts) == 4)
    assert (since is not None, at.watch.broken_since) == (True, since)
    assert at.watch._failures == 4, "each pause is longer than the one before"
    await at.until(lambda: at.watch.broken_since is None)


async def test_an_event_proves_that_it_works_again(
    far: Far, scene: Callable[[], Scene], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(watching, "PROVEN_SECONDS", 60.0)
    far.plays = [[{"type": "ADDED"}], [event("BOOKMARK", thing("", "20"))]]
    at = scene()
    await at.until(lambda: len(far.watches) == 2)
    await at.until(lambda: at.watch.broken_since is None)


async def test_a_watch_that_did_not_tell_is_opened_again_where_it_was(
    far: Far, scene: Callable[[], Scene], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(event_stream, "HEARD_SECONDS", 0.0)
    at = scene()
    await at.until(lambda: at.watch._events._reading is not None)
    at.watch.restart("x has changed")
    at.watch.restart("y has changed")
    await at.until(lambda: len(far.watches) == 2)
    assert (at.restarts, [query["resourceVersion"] for query in far.watches]) == ([1], ["10", "10"])
    assert "it was silent although x has changed" in at.watch.fault


async def test_where_nothing_ever_happens_silence_is_no_fault(
    far: Far, scene: Callable[[], Scene], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The API server sends no bookmarks before the first change; a dead connection is found all the same."""
    monkeypatch.setattr(watching, "SILENCE_SECONDS", 0.1)
    far.plays = [[event("BOOKMARK", thing("", "20"))]]
    at = scene()
    await at.until(lambda: len(far.watches) >= 5)
    assert {query["resourceVersion"] for query in far.watches[1:]} == {"20"}
    assert (len(far.lists), at.restarts, at.watch.broken_since, at.watch.fault) == (1, [], None, "")
    assert "tried again" not in caplog.text


async def test_one_that_was_heard_just_now_stays_open(far: Far, scene: Callable[[], Scene]) -> None:
    """What it has not told yet is on its way."""
    at = scene()
    at.watch.restart("nothing is open yet")
    await at.until(lambda: at.watch._events._reading is not None)
    at.watch.restart("x has changed")
    await asyncio.sleep(0.1)
    assert (len(far.watches), at.restarts) == (1, [])


async def test_a_list_alone_does_not_prove_that_the_watch_works_again(
    far: Far, scene: Callable[[], Scene], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where each stream ends in a demand to list, lists succeed for ever and nobody is told of changes."""
    monkeypatch.setattr(watching, "_FIRST_PAUSE", 0.01)
    far.plays = [[FAULT] for _ in range(5)]
    at = scene()
    await at.until(lambda: at.watch.broken_since is not None and len(at.restarts) == 2)
    since = at.watch.broken_since
    await at.until(lambda: len(far.lists) == 5)
    assert at.watch.broken_since == since


async def test_a_list_is_noted_while_it_is_made_and_no_longer(far: Far, scene: Callable[[], Scene]) -> None:
    """What is known is stale for as long, and no longer: after the first list and after each that follows."""
    far.pages, far.plays = [[thing("a", "1")], [thing("b", "2")]], [410]
    at = scene()
    seen: list[float | None] = []
    listed = at.notes.listed

    def noting(objects: list[dict[str, Any]]) -> None:
        seen.append(at.watch.listing_since)
        listed(objects)

    at.notes.listed = noting  # type: ignore[method-assign]
    assert at.watch.listing_since is None
    await at.until(lambda: len(far.watches) == 1)
    await at.until(lambda: len(seen) == 2 and at.watch._events._reading is not None)
    assert None not in seen
    assert at.watch.listing_since is None


async def test_a_list_that_fails_is_still_being_made(
    far: Far, scene: Callable[[], Scene], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_FIRST_PAUSE", 0.01)
    far.list_status = 500
    at = scene()
    await at.until(lambda: len(at.restarts) == 1)
    since = at.watch.listing_since
    await at.until(lambda: len(at.restarts) == 3)
    assert (since is not None, at.watch.listing_since) == (True, since)
    far.list_status = 200
    await at.until(lambda: at.watch.synced.is_set())
    assert at.watch.listing_since is None


async def test_a_page_that_the_follower_cannot_take_is_listed_again(
    far: Far, scene: Callable[[], Scene], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the rest of that list is not asked for: it counts for nothing."""
    monkeypatch.setattr(watching, "_FIRST_PAUSE", 0.01)
    far.pages = [[{}], [thing("b", "2")]]
    at = scene()
    monkeypatch.setattr(at.notes, "gathering", lambda: ByName(at.notes.told))
    await at.until(lambda: len(at.restarts) == 2)
    assert ("continue" in far.lists[-1], at.watch.fault) == (False, f"{PATH}: it told what is no object (KeyError)")
    far.pages = [[thing("a", "1")], [thing("b", "2")]]
    await at.until(lambda: at.watch.broken_since is None)
    assert at.notes.told == ["a", "b"]


@dataclass
class ByName:
    """Takes pages by the objects' names."""

    told: list[str]

    def add(self, items: list[dict[str, Any]]) -> None:
        """Raises where one has none."""
        self.told += [item["metadata"]["name"] for item in items]

    def done(self) -> None:
        """All has been told."""
