// Answers every connection with one HTTP response.
//
// A guest of WASI preview 1 opens no sockets of its own: the host hands it a listener as an open
// descriptor, as systemd does with a socket unit. Descriptors 0 to 2 are stdio; the directories
// that a guest was given come next (this one asks for none), and then its listeners.

#include <array>
#include <cstdio>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <unistd.h>

constexpr int listener = 3;

constexpr std::string_view response =
    "HTTP/1.1 200 OK\r\n"
    "Content-Type: text/plain\r\n"
    "Content-Length: 12\r\n"
    "Connection: close\r\n"
    "\r\n"
    "Hello, WASM!";

// Longer request heads are cut off, so that no client can fill this guest's memory.
constexpr std::size_t head_bytes_max = 8 * 1024;

// An accepted connection, which closes itself.
class Connection {
public:
    Connection() : fd(accept(listener, nullptr, nullptr)) {}
    Connection(const Connection &) = delete;
    Connection &operator=(const Connection &) = delete;
    ~Connection() {
        if (fd >= 0) close(fd);
    }

    // Reads the request's head, up to its empty line, and answers; false, with errno, if it cannot.
    bool answer() {
        if (fd < 0) return false;
        std::string head;
        while (head.find("\r\n\r\n") == std::string::npos && head.size() < head_bytes_max) {
            std::array<char, 1024> part;
            const auto count = read(fd, part.data(), part.size());
            if (count < 0) return false;
            if (count == 0) break;
            head.append(part.data(), count);
        }
        for (auto rest = response; !rest.empty();) {
            const auto count = write(fd, rest.data(), rest.size());
            if (count < 0) return false;
            rest.remove_prefix(count);
        }
        return true;
    }

private:
    const int fd;
};

int main() {
    std::puts("hello: listening");
    std::fflush(stdout);
    for (;;) {
        if (!Connection().answer()) std::perror("hello");
    }
}
