"""One recording: clock, windows, sampler, samples, ticks, memory, and the run they make."""
