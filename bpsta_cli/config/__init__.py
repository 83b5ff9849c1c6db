"""The validated settings of a run and of the whole study (params.yaml): one schema, no torch."""

from bpsta_cli.config.rule_settings import RuleSettings
from bpsta_cli.config.run_settings import (
    RECIPE,
    DatasetSettings,
    NeuronSettings,
    Preparation,
    RunSettings,
    StoreSettings,
    TrainingSettings,
)
from bpsta_cli.config.space import Space
from bpsta_cli.config.study import Params, Run, load_params
from bpsta_cli.config.validation import Model, validate
from bpsta_cli.config.variants import Variant

__all__ = [
    "RECIPE",
    "DatasetSettings",
    "Model",
    "NeuronSettings",
    "Params",
    "Preparation",
    "RuleSettings",
    "Run",
    "RunSettings",
    "Space",
    "StoreSettings",
    "TrainingSettings",
    "Variant",
    "load_params",
    "validate",
]
