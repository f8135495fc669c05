"""From a socket to the process, container and pod that own it."""
