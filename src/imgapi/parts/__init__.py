"""What the settings make: the parts of a service."""
