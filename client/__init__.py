"""The `laser` command, the Python client and the local stack."""
