"""The ``wattbench`` command."""
