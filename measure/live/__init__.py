"""What a device is doing right now."""
