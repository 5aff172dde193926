"""The HTTP service: routes, authentication, streams, and the built web UI."""
