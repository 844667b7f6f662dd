"""From runs to statements: tables and comparisons, computed once and shown elsewhere."""
