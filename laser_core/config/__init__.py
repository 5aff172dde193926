"""What a run is: the body of ``POST /api/v1/runs`` and the file given to ``python -m laser_core`` alike.

``RunConfig`` is a union told apart by ``kind``. A new hyperparameter is one line in one of these files, its use and one
test. This package never loads torch.
"""

from laser_core.config.experiments import ExperimentConfig, Planned, merge_patch, parse_experiment, plan
from laser_core.config.model import ModelConfig
from laser_core.config.runs import (
    SCHEMA_VERSION,
    AnalysisConfig,
    Device,
    EvalConfig,
    InspectConfig,
    ProjectionConfig,
    RunConfig,
    TrainConfig,
    config_hash,
    input_names,
    parse_run,
)
from laser_core.config.stores import (
    AsiStore,
    AutoStore,
    CheckpointStore,
    LaserCodedStore,
    LaserFusedStore,
    LaserStore,
    NoneStore,
    QuantStore,
    RandomStore,
    Store,
    StoreKind,
)
from laser_core.config.tasks import ArcTask, CsvTask, MazeTask, SudokuTask, Task
from laser_core.config.training import TrainingConfig
from laser_core.schema import ConfigError, Problem, to_json

__all__ = [
    "SCHEMA_VERSION",
    "AnalysisConfig",
    "ArcTask",
    "AsiStore",
    "AutoStore",
    "CheckpointStore",
    "ConfigError",
    "CsvTask",
    "Device",
    "EvalConfig",
    "ExperimentConfig",
    "InspectConfig",
    "LaserCodedStore",
    "LaserFusedStore",
    "LaserStore",
    "MazeTask",
    "ModelConfig",
    "NoneStore",
    "Planned",
    "Problem",
    "ProjectionConfig",
    "QuantStore",
    "RandomStore",
    "RunConfig",
    "Store",
    "StoreKind",
    "SudokuTask",
    "Task",
    "TrainConfig",
    "TrainingConfig",
    "config_hash",
    "input_names",
    "merge_patch",
    "parse_experiment",
    "parse_run",
    "plan",
    "to_json",
]
