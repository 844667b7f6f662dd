"""Attention kernels: how a model computes attention, and on what machines."""
