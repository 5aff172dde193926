"""What the service bears, beside MLflow's server where that does the same: ``python -m benchmarks.service``."""
