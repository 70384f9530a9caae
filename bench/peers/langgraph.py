"""langgraph with its SQLite checkpointer and durability="sync": a chain of ten vertices."""

from __future__ import annotations

from typing import TypedDict

from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph

from bench.adapter import TASKS, System, serve
from bench.files import sqlite_bytes


class State(TypedDict):
    ok: int


async def noop(state: State) -> State:
    return {"ok": 1}


class Langgraph(System):
    """A workflow is a thread of one compiled graph."""

    async def open(self, *, worker: bool) -> None:
        self._opened = AsyncSqliteSaver.from_conn_string(self.case.path("bench.db"))
        saver = await self._opened.__aenter__()
        graph = StateGraph(State)
        length = 1 if self.case.row == "W4" else TASKS
        for step in range(length):
            graph.add_node(f"s{step}", noop)
            graph.add_edge(START if step == 0 else f"s{step - 1}", f"s{step}")
        graph.add_edge(f"s{length - 1}", END)
        self._graph = graph.compile(checkpointer=saver)
        self._next = 0

    async def chain(self, number: int) -> None:
        self._next += 1
        thread = {"configurable": {"thread_id": f"{self.case.size}-{self._next}"}}
        await self._graph.ainvoke({"ok": 0}, thread, durability="sync")

    async def one(self) -> None:
        await self.chain(0)

    async def close(self) -> None:
        await self._opened.__aexit__(None, None, None)

    async def stored_bytes(self) -> int:
        return sqlite_bytes(self.case.path("bench.db"))


if __name__ == "__main__":
    serve(Langgraph)
