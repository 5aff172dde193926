"""What a run is: the body of ``POST /api/v1/runs`` and the file given to ``python -m laser_core`` alike.

``RunConfig`` is a union told apart by ``kind``. A new hyperparameter is one line in one of these files, its use and one
test. This package never loads torch.
"""

from laser_core.config.model import ModelConfig
from laser_core.config.runs import (
    SCHEMA_VERSION,
    Device,
    EvalConfig,
    ProjectionConfig,
    RunConfig,
    TrainConfig,
    config_hash,
    input_names,
    parse_run,
)  # fmt: skip
from laser_core.config.stores import CheckpointStore, LaserFusedStore, LaserStore, NoneStore, Store
from laser_core.config.tasks import CsvTask, SudokuTask, Task
from laser_core.config.training import TrainingConfig
from laser_core.schema import ConfigError, Problem, to_json

__all__ = [
    "SCHEMA_VERSION", "CheckpointStore", "ConfigError", "CsvTask", "Device", "EvalConfig", "LaserFusedStore",
    "LaserStore", "ModelConfig", "NoneStore", "Problem", "ProjectionConfig", "RunConfig", "Store", "SudokuTask", "Task",
    "TrainConfig", "TrainingConfig", "config_hash", "input_names", "parse_run", "to_json",
]  # fmt: skip
