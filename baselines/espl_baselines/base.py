"""The base model under the root prompt: nothing learns. The zero of every comparison."""

from espl_bench.method import Method

BASE = Method(name="base", summary="the base model under the root prompt; nothing learns")
