"""A server on stdio whose words are somebody else's: stdin and stdout are joined with a socket at PORT."""

import os
import socket
import sys
import threading

peer = socket.create_connection(("127.0.0.1", int(sys.argv[1])))


def there() -> None:
    while data := os.read(0, 1 << 16):
        peer.sendall(data)
    peer.shutdown(socket.SHUT_WR)


threading.Thread(target=there, daemon=True).start()
try:
    while data := peer.recv(1 << 16):
        view = memoryview(data)
        while view:
            view = view[os.write(1, view) :]
except OSError:
    sys.stderr.write("the socket was cut\n")
    sys.stderr.flush()
os._exit(1)
