"""The only place that imports Forge's modules (``modules.*``, ``backend.*``)."""
