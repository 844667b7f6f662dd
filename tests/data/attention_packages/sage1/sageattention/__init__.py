from .core import sageattn

__all__ = ["sageattn"]
