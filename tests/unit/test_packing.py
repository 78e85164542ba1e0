"""Commands as they go over the wire."""

import hiredis
import pytest

from playhead.streams.redis.connections import connect


@pytest.mark.parametrize("length", [2, 256, 257, 512, 1000])
@pytest.mark.parametrize("large", [0, 50_000, 70_000])
def test_a_command_in_pieces_is_the_same_bytes_as_in_one(length, large):
    arguments = ("EVALSHA", 1, *(b"x" * (n + large) if n % 2 else "é" * n for n in range(length - 2)))
    connection = connect("redis://localhost").connection_pool.make_connection()

    packed = connection.pack_command(*arguments)

    assert hiredis.pack_command(arguments) == b"".join(packed)


def test_a_large_argument_is_sent_from_where_it_is():
    large = b"x" * 1_000_000
    connection = connect("redis://localhost").connection_pool.make_connection()

    packed = connection.pack_command("SET", "key", large, "EX", 1)

    assert any(piece is large for piece in packed)
