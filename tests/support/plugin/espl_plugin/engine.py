"""An engine: the embedded one under another name, which counts the steps it trains."""

from espl_bench.build import open_hf
from espl_bench.engines.engine_spec import EngineSpec

PLUGIN_ENGINE = EngineSpec("plugin_engine", trains=True, opener="espl_plugin.engine:open_plugin_engine")


def open_plugin_engine(source, config):
    return open_hf(source, config)
