"""Runs to tables: one module an output."""
