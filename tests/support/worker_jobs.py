"""Jobs for workers: one that reads a page of a server on the loopback, and some that do what a page must not get done."""

import os
import time
from collections.abc import Mapping
from typing import Any

from espl_bench.retrieval.fetch import fetch_text
from espl_bench.retrieval.page_text import text_of_html
from espl_bench.retrieval.retriever import RetrievalError
from espl_bench.utils.wire import RefusedTaskError


def read(task: Mapping[str, Any]) -> dict[str, Any]:
    """`pages.read`, with a public address that leads to the loopback."""
    try:
        text = fetch_text(
            task["url"],
            task["timeout_s"],
            lambda host, port, until: [("93.184.216.34", port)],
            lambda address, port: ("127.0.0.1", task["port"]),
        )
    except RetrievalError as error:
        raise RefusedTaskError(str(error)) from error
    return {"text": text[:4000]}


def parse(task: Mapping[str, Any]) -> dict[str, Any]:
    return {"length": len(text_of_html(task["unit"] * task["times"] + task.get("end", "")))}


def misbehave(task: Mapping[str, Any]) -> dict[str, Any]:
    match task["how"]:
        case "sleep":
            time.sleep(10**6)
        case "loop":
            while True:
                pass
        case "abort":
            os.abort()
        case "memory":
            return {"taken": len(bytes(2**34))}
        case "raise":
            raise AssertionError("a parser's own\nbug")
        case "environment":
            return {"names": sorted(os.environ)}
    return {"how": task["how"]}
