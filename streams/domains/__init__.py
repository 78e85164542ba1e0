"""Declarations: what a domain says of itself, and the catalogue of every domain that is installed."""
