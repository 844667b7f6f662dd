"""Host programs, one package each: the only places that know a host's own names."""
