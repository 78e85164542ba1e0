"""Workers of the stream `recordings`."""
