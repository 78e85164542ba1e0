"""Invoices as a domain of Playhead."""
