// Keeps notes in its directory, looks at the clocks, and says what it did. Where anything is not as
// it should be, it says so and ends with exit code 1.
//
// AssemblyScript's library knows no files: this asks the host directly, and shows how.

import {
  clockid, clock_time_get, dirent, errno, errnoToString, event_fd_readwrite, eventtype, fd, fd_close, fd_read,
  fd_readdir, fd_write, fdflags, filestat, iovec, oflags, path_filestat_get, path_open, path_rename,
  path_unlink_file, poll_oneoff, proc_exit, rights, subscription_clock
} from "bindings/wasi_snapshot_preview1";

/** The first directory that the host gives, whatever its name is. */
const DATA: fd = 3;

const MINUTE: i64 = 60_000_000_000;
const NAP: u64 = 5_000_000;

/** Where the host puts a call's one result. */
const result = memory.data(sizeof<u64>());

function expect(holds: bool, what: string): void {
  if (holds) return;
  process.stderr.write("notes: " + what + "\n");
  proc_exit(1);
}

function must(error: errno, what: string): void {
  expect(error == errno.SUCCESS, what + ": " + errnoToString(error));
}

/** A string as the host reads it. */
class Bytes {
  private bytes: ArrayBuffer;
  constructor(text: string) { this.bytes = String.UTF8.encode(text); }
  get pointer(): usize { return changetype<usize>(this.bytes); }
  get length(): usize { return this.bytes.byteLength; }
}

function open(name: string, how: oflags, right: rights, flags: fdflags = 0): fd {
  const path = new Bytes(name);
  must(path_open(DATA, 0, path.pointer, path.length, how, right, 0, flags, result), name);
  return load<fd>(result);
}

/** Writes all of `text`, which the host could take in parts. */
function put(file: fd, text: string): void {
  const bytes = new Bytes(text);
  const part = new iovec();
  for (let written: usize = 0; written < bytes.length; written += load<usize>(result)) {
    part.buf = bytes.pointer + written;
    part.buf_len = bytes.length - written;
    must(fd_write(file, changetype<usize>(part), 1, result), "fd_write");
  }
  must(fd_close(file), "fd_close");
}

function read(name: string): string {
  const file = open(name, 0, rights.FD_READ);
  const buffer = new ArrayBuffer(64);
  const part = new iovec();
  part.buf = changetype<usize>(buffer);
  part.buf_len = buffer.byteLength;
  must(fd_read(file, changetype<usize>(part), 1, result), "fd_read");
  const length = load<usize>(result);
  must(fd_close(file), "fd_close");
  return String.UTF8.decodeUnsafe(part.buf, length);
}

function list(): void {
  const buffer = new ArrayBuffer(4096);
  const start = changetype<usize>(buffer);
  must(fd_readdir(DATA, start, buffer.byteLength, 0, result), "fd_readdir");
  const end = start + load<usize>(result);
  const names: string[] = [];
  for (let entry = start; entry < end;) {
    const name = entry + offsetof<dirent>();
    entry = name + changetype<dirent>(entry).namlen;
    names.push(String.UTF8.decodeUnsafe(name, entry - name));
  }
  console.log(names.filter(name => !name.startsWith(".")).sort().reduce((line, name) => line + " " + name, "listed"));
}

function remove(name: string): void {
  const path = new Bytes(name);
  must(path_unlink_file(DATA, path.pointer, path.length), name);
}

function now(clock: clockid): u64 {
  must(clock_time_get(clock, 0, result), "clock_time_get");
  return load<u64>(result);
}

put(open("draft.txt", oflags.CREAT | oflags.TRUNC, rights.FD_WRITE), "Hello, WASM!");
console.log("wrote 12 bytes");
put(open("draft.txt", 0, rights.FD_WRITE, fdflags.APPEND), " Goodbye.");
console.log("appended 9 bytes");

const draft = new Bytes("draft.txt"), a = new Bytes("a.txt");
must(path_rename(DATA, draft.pointer, draft.length, DATA, a.pointer, a.length), "path_rename");
put(open("b.txt", oflags.CREAT, rights.FD_WRITE), "");
list();
console.log("read " + read("a.txt"));

const stat = new filestat();
must(path_filestat_get(DATA, 0, a.pointer, a.length, stat), "path_filestat_get");
expect(abs(<i64>(now(clockid.REALTIME) - stat.mtim)) < MINUTE, "a file's time is not the clock's");
console.log("a.txt has " + stat.size.toString() + " bytes, changed just now");

remove("a.txt");
remove("b.txt");
expect(path_filestat_get(DATA, 0, a.pointer, a.length, stat) == errno.NOENT, "a deleted file is there");
list();

const start = now(clockid.MONOTONIC);
const nap = new subscription_clock();
nap.type = eventtype.CLOCK;
nap.clock_id = clockid.MONOTONIC;
nap.timeout = NAP;
must(poll_oneoff(changetype<usize>(nap), changetype<usize>(new event_fd_readwrite()), 1, result), "poll_oneoff");
expect(now(clockid.MONOTONIC) - start >= NAP, "woken too early");
console.log("slept");
