"""Log lines: one event, one line, whatever is in it."""

import json
import logging
import sys
from collections.abc import Iterator

import pytest

from signer.observe.logs import FIELDS, JsonFormatter, SinkHandler, TextFormatter, configure
from tests.support.sinks import ListSink

_INJECTIONS = ["a\nb", "a\r\nb", "a\rb", "x y\n2026-01-01T00:00:00.000Z INFO    CSR signed", '"\n"', "a\tb"]


def _record(message: str = "CSR %s", args: tuple[object, ...] = ("signed",), **fields: object) -> logging.LogRecord:
    record = logging.LogRecord("istio_signer.request", logging.INFO, __file__, 1, message, args, None)
    record.created = 1767323045.678
    setattr(record, FIELDS, fields)
    return record


def test_text() -> None:
    """For people: time, level, message, fields."""
    line = TextFormatter().format(_record(identity="spiffe://a/ns/b/sa/c", empty="", none=None, zero=0))
    assert line == "2026-01-02T03:04:05.678Z INFO    CSR signed identity=spiffe://a/ns/b/sa/c zero=0"


@pytest.mark.parametrize(
    ("value", "shown"),
    [("plain", "plain"), ("two words", '"two words"'), ('say "x"', '"say \\"x\\""'), ("a=b", '"a=b"'), ("'", '"\'"')],
)
def test_text_quotes(value: str, shown: str) -> None:
    """Only where it is needed to read the line."""
    assert TextFormatter().format(_record(key=value)).endswith(f" key={shown}")


@pytest.mark.parametrize("text", _INJECTIONS)
def test_text_stays_one_line(text: str) -> None:
    """A stranger's newline forges no second event, in message or field."""
    for record in (_record("%s", (text,)), _record(reason=text)):
        assert len(TextFormatter().format(record).splitlines()) == 1


@pytest.mark.parametrize(
    "text", ["\x1b[2J", "\x1b]0;x\x07", "a\x00b", "a\x0bb", "a\x0cb", "a\x85b", "a\u2028b", "\x7f"]
)
def test_text_shows_no_control_characters(text: str) -> None:
    """A terminal that shows the log must not obey a stranger."""
    for record in (_record("%s", (text,)), _record(reason=text)):
        line = TextFormatter().format(record)
        assert line.isprintable(), line


def test_json() -> None:
    """For programs: one object."""
    event = json.loads(JsonFormatter().format(_record(serial="abc", empty="", none=None)))
    assert event == {
        "time": "2026-01-02T03:04:05.678Z",
        "level": "info",
        "logger": "istio_signer.request",
        "message": "CSR signed",
        "serial": "abc",
    }


@pytest.mark.parametrize("text", [*_INJECTIONS, "a\u2028b", "\ud800", "\x1b[2J"])
def test_json_stays_one_line(text: str) -> None:
    """And keeps the text as it was."""
    line = JsonFormatter().format(_record("%s", (text,), reason=text))
    assert line.isascii()
    assert line.isprintable()
    event = json.loads(line)
    assert (event["message"], event["reason"]) == (text, text)


def test_json_of_anything() -> None:
    """A value that is no JSON is shown as text."""
    assert json.loads(JsonFormatter().format(_record(value={1, 2}))) == json.loads(
        JsonFormatter().format(_record(value="{1, 2}"))
    )


def _failing() -> logging.LogRecord:
    try:
        raise ValueError("x")
    except ValueError:
        record = _record("it failed", ())
        record.exc_info = sys.exc_info()
        return record


def test_tracebacks() -> None:
    """Below the line for people, inside it for programs."""
    first, *frames = TextFormatter().format(_failing()).splitlines()
    assert first.endswith("it failed")
    assert "ValueError: x" in frames
    assert "ValueError: x" in json.loads(JsonFormatter().format(_failing()))["traceback"]


def test_a_library_quotes_nothing() -> None:
    """It may hold a token; what is fixed in its message, the kind of error and the frames are told."""
    record = _failing()
    record.name, record.msg, record.args = "grpc._cython.cygrpc", "Invalid encoding on %s", (b"Bearer eyJ\xff",)
    for formatter in (TextFormatter(), JsonFormatter()):
        line = formatter.format(record)
        assert "grpc._cython.cygrpc: Invalid encoding on %s: ValueError" in line
        assert "in _failing" in line
        assert ("Bearer" in line, "ValueError: x" in line) == (False, False)
    record.msg, record.args = "Task exception was never retrieved\nfuture: exception=ValueError('Bearer x')", ()
    assert "never retrieved: ValueError" in TextFormatter().format(record)
    assert "Bearer" not in TextFormatter().format(record)
    record.name, record.msg, record.args = "istio_signer_of_somebody", "Invalid encoding on %s", (b"Bearer x",)
    assert "Bearer" not in TextFormatter().format(record)


@pytest.fixture
def restored() -> Iterator[None]:
    """Put the process's logging back as it was."""
    root, own = logging.getLogger(), logging.getLogger("istio_signer")
    kept = root.handlers[:], root.level, own.level
    switches = {
        name: getattr(logging, name) for name in ("_srcfile", "logThreads", "logProcesses", "logMultiprocessing")
    }
    yield
    root.handlers[:], root.level = kept[:2]
    own.setLevel(kept[2])
    for name, value in switches.items():
        setattr(logging, name, value)


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize(("style", "start"), [("text", "2"), ("json", "{")])
def test_configure(style: str, start: str) -> None:
    """Own lines from the level on, libraries' warnings, nothing else."""
    sink = ListSink()
    configure(sink, style, "info")
    logging.getLogger("istio_signer.x").debug("hidden")
    logging.getLogger("istio_signer.x").info("own")
    logging.getLogger("aiohttp").info("hidden")
    logging.getLogger("aiohttp").warning("library")
    assert [("own" in line, line[0]) for line in sink.lines] == [(True, start), (False, start)]


def test_a_line_that_cannot_be_formatted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Must not end a request."""
    monkeypatch.setattr(logging, "raiseExceptions", False)
    sink = ListSink()
    handler = SinkHandler(sink)
    handler.setFormatter(TextFormatter())
    handler.handle(_record("%d", ("x",)))
    assert sink.lines == []
