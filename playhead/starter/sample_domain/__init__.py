"""The domain sample-domain of Playhead."""
