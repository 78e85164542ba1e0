pytest_plugins = ["playhead.testing.fixtures"]
