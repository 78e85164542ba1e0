"""The log compared with every projection."""
