"""This machine and its disk: devices, folders, locks, signals, caches."""
