"""The HTTP interface: a FastAPI application, and the server that runs it."""
