"""What assets are handed: stores, databases, registries, isolation. Knows no asset."""
