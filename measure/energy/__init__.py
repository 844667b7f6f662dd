"""From ticks and samples to joules: attribution, pooling over repeats, phases, totals."""
