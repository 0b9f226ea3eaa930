"""The rows of the shipped models: their names, as tables print them, stand for their folders."""

from espl_bench.engines.named_models import NamedModel
from espl_envs.lab import MODEL, SEARCH_MODEL

LICENCE = "apache-2.0"
LAB = NamedModel(MODEL.name, lambda: MODEL, LICENCE)
LAB_SEARCH = NamedModel(SEARCH_MODEL.name, lambda: SEARCH_MODEL, LICENCE)
