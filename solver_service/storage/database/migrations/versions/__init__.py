"""One module for each change of the tables. The newest is named in `migrate.HEAD`."""
