"""A program with a subscription of a name: writes the number of each event to a file, and what it has acknowledged."""

import os
import sys

from playhead import subscribe

url, log, cursors, path = sys.argv[1:]
out = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
os.write(out, b"start\n")
with subscribe(url, log=log, stream="jobs", name="billing", cursors=cursors) as subscription:
    for received in subscription:
        number = int(received.event.id[1:])
        os.write(out, b"%d\n" % number)
        if number % 37 == 0:
            subscription.acknowledge()
            os.write(out, b"ack %d\n" % number)
