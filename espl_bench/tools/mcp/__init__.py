"""Tools of MCP servers: a program that is started here and speaks over its standard streams, or an address on this machine."""

from espl_bench.tools.mcp.tools import McpTools

__all__ = ["McpTools"]
