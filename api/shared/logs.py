"""The log, on stderr: a JSON object a line, or lines for people."""

import logging
from typing import Any, Literal

import structlog

Format = Literal["json", "text"]


def set_up(log_format: Format, *processors: structlog.typing.Processor) -> None:
    """Has all that is logged from now on written in this format; `processors` may add to it."""
    renderers: dict[Format, list[Any]] = {
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
