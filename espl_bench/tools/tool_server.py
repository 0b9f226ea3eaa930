"""Tools that another program offers, in the place of a fixed tuple of specs: `tools = McpTools(command=["python", "server.py"])`."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, overload

from espl_bench.tools.tool_spec import ToolSpec


class ToolServer(Sequence[ToolSpec]):
    """A sequence of tools that is known once their server is asked, and the calls of them. Thread-safe.

    Instances of an environment share one connection. Each holds it from its first use of the server until it is closed; when none holds
    it any more, it ends.
    """

    @abstractmethod
    def offered(self) -> tuple[ToolSpec, ...]:
        """Return the tools. Raises EnvError or UsageError in one line if the server cannot be reached or offers what cannot be used."""

    @abstractmethod
    def use(self, holder: object, tool: str, arguments: Mapping[str, Any]) -> str:
        """Return a tool's reply, as foreign text. Raises as `ToolEnv.use`."""

    @abstractmethod
    def hold(self, holder: object) -> None:
        """Connect, if nobody has, for this environment. Raises as `offered`."""

    @abstractmethod
    def release(self, holder: object) -> None:
        """Let go for this environment; the last to do so ends the connection."""

    @overload
    def __getitem__(self, index: int) -> ToolSpec: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[ToolSpec, ...]: ...

    def __getitem__(self, index: int | slice) -> ToolSpec | tuple[ToolSpec, ...]:
        return self.offered()[index]

    def __len__(self) -> int:
        return len(self.offered())
