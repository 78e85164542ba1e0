"""The published data set: what `playhead publish` writes, and how it comes into its directory."""
