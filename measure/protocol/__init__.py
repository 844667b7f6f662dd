"""How a measurement is carried out: warm-ups, repeats, idle, and the journal of what came out."""
