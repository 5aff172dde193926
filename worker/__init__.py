"""The GPU workers: claim a run, supervise its training process, bring its events home."""
