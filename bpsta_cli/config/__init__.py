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
from bpsta_cli.config.study import Params, Run, load_params
from bpsta_cli.config.validation import Model, validate

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
    "StoreSettings",
    "TrainingSettings",
    "load_params",
    "validate",
]
