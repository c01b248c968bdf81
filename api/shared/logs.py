"""The log on stderr, as JSON lines or as text."""

import logging
from typing import Any, Literal

import structlog

LogFormat = Literal["json", "text"]


def configure_logging(log_format: LogFormat, *processors: structlog.typing.Processor) -> None:
    """Write all log records in this format from now on; `processors` may add fields to them."""
    renderers: dict[LogFormat, list[Any]] = {
        "json": [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False)],
        "text": [structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)],
    }
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.processors.TimeStamper("iso"),
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                *processors,
            ],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers[log_format]],
        )
    )
    logging.basicConfig(level=logging.INFO, handlers=[handler])
