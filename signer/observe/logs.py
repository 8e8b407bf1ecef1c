"""The log: text for people, JSON for programs, one line an event, never blocking a request."""

import json
import logging
import re
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from signer.observe.lines import LineSink

ROOT = "istio_signer"
_NEEDS_QUOTES = re.compile(r"[\s\"'=]")
# Keys that callers may pass as ``extra={"fields": {...}}``; shown after the message.
FIELDS = "fields"
_LIBRARY_CHARS = 200


def _stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _message(record: logging.LogRecord) -> str:
    """What our own code says as it says it; of a library the fixed words alone, without what it would fill in.

    A library quotes what it chokes on, and that may be a token: gRPC does with metadata that is not UTF-8
    (src/python/grpcio/grpc/_cython/_cygrpc/grpc_string.pyx.pxi).
    """
    if _ours(record):
        return record.getMessage()
    kind = f": {type(record.exc_info[1]).__name__}" if record.exc_info and record.exc_info[1] else ""
    # asyncio writes the exception itself into its text, below the first line.
    fixed = str(record.msg).partition("\n")[0][:_LIBRARY_CHARS]
    return f"{record.name}: {fixed}{kind}"


def _frames(record: logging.LogRecord, formatter: logging.Formatter) -> str:
    if not record.exc_info or record.exc_info[1] is None:
        return ""
    return formatter.formatException(record.exc_info) if _ours(record) else frames_of(record.exc_info[1])


def _ours(record: logging.LogRecord) -> bool:
    return record.name == ROOT or record.name.startswith(f"{ROOT}.")


def frames_of(error: BaseException) -> str:
    """Where a bug happened, a frame a line; never the exception's message, which may quote what it choked on."""
    return "".join(traceback.format_tb(error.__traceback__))


def _one_line(text: str) -> str:
    """Keep one event on one line, and a terminal's state as it is: strangers' characters come along."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


class TextFormatter(logging.Formatter):
    """``2026-01-02T03:04:05.678Z INFO  message key=value ...``"""

    def format(self, record: logging.LogRecord) -> str:
        """Render one record."""
        fields: Mapping[str, Any] = getattr(record, FIELDS, {})
        pairs = "".join(f" {k}={_quoted(v)}" for k, v in fields.items() if v not in ("", None))
        line = f"{_stamp(record.created)} {record.levelname:<7} {_one_line(_message(record))}{pairs}"
        frames = _frames(record, self)
        return f"{line}\n{frames}" if frames else line


def _quoted(value: object) -> str:
    text = str(value)
    return json.dumps(text) if _NEEDS_QUOTES.search(text) or not text.isprintable() else text


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ``time``, ``level``, ``logger``, ``message`` and the event's fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Render one record."""
        event: dict[str, Any] = {
            "time": _stamp(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
        }
        event.update({k: v for k, v in getattr(record, FIELDS, {}).items() if v not in ("", None)})
        frames = _frames(record, self)
        if frames:
            event["traceback"] = frames
        return json.dumps(event, default=str)


class SinkHandler(logging.Handler):
    """Hands formatted records to a LineSink."""

    def __init__(self, sink: LineSink) -> None:
        super().__init__()
        self._sink = sink
        self.addFilter(_is_no_strangers_doing)

    def emit(self, record: logging.LogRecord) -> None:
        """Format and queue one record."""
        try:
            self._sink.write(self.format(record))
        except Exception:  # noqa: BLE001  a line that cannot be formatted must not end a request
            self.handleError(record)


def configure(sink: LineSink, style: str, level: str) -> None:
    """Send the project's log, and warnings of the libraries, to ``sink``.

    Args:
        sink: Where lines go.
        style: ``text`` or ``json``.
        level: ``debug``, ``info``, ``warning`` or ``error``; for the project's own log.
    """
    _spare_unused_details()
    handler = SinkHandler(sink)
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    set_level(level)


def set_level(level: str) -> None:
    """Log the project's own events from ``level`` on; those of libraries from warnings on."""
    logging.getLogger(ROOT).setLevel(level.upper())


def _is_no_strangers_doing(record: logging.LogRecord) -> bool:
    """gRPC tells, as an error and twice a call, of metadata that is not UTF-8: anybody can send that without end. What
    came of the call is in the audit."""
    return not str(record.msg).startswith("Invalid encoding on")


def _spare_unused_details() -> None:
    """Keep ``logging`` from walking the stack and asking for threads and tasks at each line (its HOWTO, Optimization).

    No format here shows them.
    """
    logging._srcfile = None  # a documented switch
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    setattr(logging, "logAsyncioTasks", False)  # noqa: B010  typed since 3.12 only
