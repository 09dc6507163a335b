//! Programs that ask and answer.

/// Answers each request with so many bytes and closes; resets one request in so many, where it is
/// not 0, when it has read it.
pub(super) const BACKEND: &str = r"
import itertools, socket, socketserver, struct, sys
port, size, one_in = map(int, sys.argv[1:])
answer = b'HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n' % size + bytes(size)
class Request(socketserver.BaseRequestHandler):
    def handle(self):
        asked = b''
        while not asked.endswith(b'\r\n\r\n'):
            more = self.request.recv(4096)
            if not more:
                return
            asked += more
        if one_in and next(self.server.asked) % one_in == 0:
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
            self.request.close()
        else:
            self.request.sendall(answer)
class Backend(socketserver.ThreadingTCPServer):
    request_queue_size = 512
    daemon_threads = True
    asked = itertools.count(1)
backend = Backend(('0.0.0.0', port), Request)
print('listening', flush=True)
backend.serve_forever()
";

/// Asks so often over so many connections, which stay open, each with a pause of so many seconds
/// between two requests, and prints how often which status came.
pub(super) const CLIENT: &str = r"
import collections, json, socket, sys, threading, time
address, lanes, count, pause = (sys.argv[1], int(sys.argv[2])), *map(int, sys.argv[3:5]), float(sys.argv[5])
said, lock = collections.Counter(), threading.Lock()
def ask(peer, reader):
    peer.sendall(b'GET / HTTP/1.1\r\nHost: shop\r\n\r\n')
    status, length = reader.readline().split()[1].decode(), 0
    while (line := reader.readline()) != b'\r\n':
        name, _, value = line.partition(b':')
        if name.lower() == b'content-length':
            length = int(value)
    if len(reader.read(length)) < length:
        raise EOFError
    return status
def lane():
    mine, left = collections.Counter(), count // lanes
    while left:
        with socket.create_connection(address) as peer:
            reader = peer.makefile('rb')
            try:
                while left:
                    mine[ask(peer, reader)] += 1
                    left -= 1
                    time.sleep(pause)
            except (IndexError, OSError):
                pass  # Closed before it answered: asked again, as browsers do.
    with lock:
        said.update(mine)
threads = [threading.Thread(target=lane) for _ in range(lanes)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(json.dumps(said), flush=True)
";
