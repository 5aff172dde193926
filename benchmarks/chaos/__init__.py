"""The fault harness: a whole platform, struck at random and at chosen points while it trains; then every promise is checked.

python -m benchmarks.chaos --seed 1 --faults 200 --runs 100          # make chaos SEED=1 FAULTS=200 RUNS=100
python -m benchmarks.chaos --scenario flush | outage | stop | latency | namespaces
"""
