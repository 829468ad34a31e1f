"""The public format, shared by server, workers and clients: JSON documents, results, problem documents."""
