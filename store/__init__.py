"""The database: tables, migrations, run states and every SQL statement."""
