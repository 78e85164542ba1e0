"""The domain `content`: the payload of its event, which `Producer.archive` appends."""

from playhead.streams.content.events import Capture as Capture
