// Answers every connection with one HTTP response.
//
// A guest of WASI preview 1 opens no sockets of its own: the host hands it a listener as an open
// descriptor, as systemd does with a socket unit. Descriptors 0 to 2 are stdio; the directories
// that a guest was given come next (this one asks for none), and then its listeners.

import { errno, errnoToString, fd, fd_close, fd_read, fd_write, iovec } from "bindings/wasi_snapshot_preview1";

// The shim's bindings are older than this function.
// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "sock_accept")
declare function sock_accept(listener: fd, flags: u16, connection: usize): errno;

const LISTENER: fd = 3;

const RESPONSE = String.UTF8.encode(
  "HTTP/1.1 200 OK\r\n" +
  "Content-Type: text/plain\r\n" +
  "Content-Length: 12\r\n" +
  "Connection: close\r\n" +
  "\r\n" +
  "Hello, WASM!"
);

// Longer request heads are cut off, so that no client can fill this guest's memory.
const HEAD_BYTES_MAX: usize = 8 * 1024;
const head = new ArrayBuffer(<i32>HEAD_BYTES_MAX);

// Where the host puts a call's one result, and where it finds the bytes of a read or a write.
const result = memory.data(sizeof<usize>());
const part = new iovec();

function read(from: fd, buffer: ArrayBuffer, start: usize): errno {
  part.buf = changetype<usize>(buffer) + start;
  part.buf_len = <usize>buffer.byteLength - start;
  return fd_read(from, changetype<usize>(part), 1, result);
}

function write(to: fd, buffer: ArrayBuffer, start: usize): errno {
  part.buf = changetype<usize>(buffer) + start;
  part.buf_len = <usize>buffer.byteLength - start;
  return fd_write(to, changetype<usize>(part), 1, result);
}

// Reads the request's head, up to its empty line, and answers.
function answer(connection: fd): errno {
  let length: usize = 0;
  while (length < HEAD_BYTES_MAX && !String.UTF8.decodeUnsafe(changetype<usize>(head), length).includes("\r\n\r\n")) {
    const error = read(connection, head, length);
    if (error) return error;
    if (!load<usize>(result)) break;
    length += load<usize>(result);
  }
  for (let sent: usize = 0; sent < <usize>RESPONSE.byteLength; sent += load<usize>(result)) {
    const error = write(connection, RESPONSE, sent);
    if (error) return error;
  }
  return errno.SUCCESS;
}

console.log("hello: listening");
while (true) {
  let error = sock_accept(LISTENER, 0, result);
  if (!error) {
    const connection = load<fd>(result);
    error = answer(connection);
    fd_close(connection);
  }
  if (error) process.stderr.write("hello: " + errnoToString(error) + "\n");
}
